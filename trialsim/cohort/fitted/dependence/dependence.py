"""What varies between kinds of fitted cohort models: how the normal scores of a patient's columns go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from jaxtyping import Float
from torch import Tensor


class Dependence(Protocol):
    """A joint law of normal scores, one per column that has a margin, each standard normal by itself.

    Margins (`margins.py`) turn scores into values and back, so that a dependence never sees a value. It is fitted to
    `Scores`: exact, known up to an interval (a level, an atom), or missing.
    """

    kind: ClassVar[str]
    """Its name in `model:` and in files."""

    @property
    def n_factors(self) -> int:
        """How many normals it needs beside one per column; they come from the streams `covariate/factor.<m>`."""
        ...

    def mix(self, own: Sequence[Float[Tensor, "*shape"]], factors: Sequence[Float[Tensor, "*shape"]]) -> None:
        """Turns independent standard normals, one tensor per column, into scores, in place.

        A patient's bits depend only on their own numbers (elementwise sums in a fixed order; no matrix product whose last
        bits depend on the batch).
        """
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Its parameters, by name, for the file of the model."""
        ...

    def options(self) -> Mapping[str, Any]:
        """What else it needs to be read back, as JSON."""
        ...

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Dependence:
        """The dependence that `tensors` and `options` came from."""
        ...
