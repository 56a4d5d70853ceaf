"""The section `multiplicity`: families of hypotheses that span analyses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trialsim.analysis import Multiplicity
from trialsim.parts import Part
from trialsim.units import Probability


class Family(Part):
    """Analyses that share one error rate."""

    members: tuple[str, ...] = Field(min_length=1, description="Analyses, or `analysis:arm` for one comparison of a multi-arm analysis.")
    alpha: Annotated[Probability, Field(gt=0, lt=1)] = Field(description="Type I error of the family, total over sides.")
    procedure: Multiplicity = Field(description="How the members share it.")
