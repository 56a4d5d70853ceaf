"""What every analysis of a protocol has in common, whatever its method.

A method is a frozen part that extends `Analysis` with its options and, where the engine can run it, the kernel
`estimate(data, favours=…) -> Estimates`, batched over replicates. Monitoring (looks, information, efficacy, futility)
is not here: it belongs to conduct.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from jaxtyping import Float
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from trialsim.analysis.margins import against_margin, allowed_loss, wald_statistic_at
from trialsim.analysis.missing_data import Imputation, estimate_imputed
from trialsim.analysis.multiplicity import Multiplicity
from trialsim.parts import Part
from trialsim.records import AnalysisData, Estimates, EventData, HierarchyData, RecurrentData, ValueData, VisitData
from trialsim.units import Probability, Share

EndpointType = Literal["time_to_event", "continuous", "binary", "count", "ordinal", "composite"]


Takes = type[EventData] | type[ValueData] | type[VisitData] | type[RecurrentData] | type[HierarchyData]


def _one_or_many(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
"""One name, or a list of names."""
Cause = Annotated[str, BeforeValidator(lambda given: str(given) if isinstance(given, int) and not isinstance(given, bool) else given)]
"""The event of interest: an outcome's name, or its code in data."""


class Treatment(Part):
    """Which arm is tested against which: `{test: experimental, reference: control}`."""

    test: str | tuple[str, ...] = Field(description="The arm under test, or a list of arms, each compared with the reference.")
    reference: str = Field(description="The arm it is compared with.")

    @property
    def tests(self) -> tuple[str, ...]:
        """The arms under test, always as a tuple."""
        return (self.test,) if isinstance(self.test, str) else self.test

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.tests:
            raise ValueError("treatment.test names no arm")
        if len(set(self.tests)) < len(self.tests):
            raise ValueError("treatment.test names an arm twice")
        if self.reference in self.tests:
            raise ValueError(f'arm "{self.reference}" is both test and reference')
        return self


class Analysis(Part):
    """An entry of `analyses`: the question, its error rate, and (in a subclass) the method that answers it.

    `alpha` is the total over `sides`; left out, it is 0.025 per side. `type: non_inferiority` and `equivalence` need a
    `margin`, a positive allowed loss (differences) or a ratio (ratios).
    """

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ()
    """The endpoints the method can analyse."""
    scale: ClassVar[str | None] = None
    """The natural scale of the estimate: hazard_ratio, difference, …"""
    std_error_scale: ClassVar[str | None] = None
    """The scale of inference: log_hazard_ratio, difference, …"""
    takes_covariates: ClassVar[bool] = False
    takes_strata: ClassVar[bool] = False
    needs_endpoint: ClassVar[bool] = True
    takes: ClassVar[Takes] = EventData
    """The record its kernel takes."""
    joint: ClassVar[bool] = False
    """Whether several test arms are levels of one model; otherwise each comparison sees its two arms only."""
    imputable: ClassVar[bool] = False
    """Whether its kernel may be put to imputed values: it takes values and gives an estimate with its standard error."""

    estimand: str | None = Field(default=None, description="The estimand this analysis answers. Or give `endpoint` and `treatment`.")
    endpoint: str | None = Field(default=None, description="The endpoint analysed, where no estimand is named.")
    treatment: Treatment | None = Field(default=None, description="Test and reference arm, where no estimand is named.")
    alpha: Annotated[Probability, Field(gt=0, lt=1)] = Field(default=0.05, description="Type I error allowed, total over `sides`. Left out: 0.025 per side.")
    sides: Literal[1, 2] = Field(default=2, description="1: only a benefit of the test arm counts. 2: either direction.")
    type: Literal["superiority", "non_inferiority", "equivalence"] = Field(
        default="superiority", description="What is to be shown. Non-inferiority and equivalence are one-sided tests at alpha / sides, and so is their p-value."
    )
    margin: Annotated[Share, Field(gt=0)] | None = Field(default=None, description="The allowed loss (differences) or ratio of non-inferiority or equivalence.")
    covariates: Names = Field(default=(), description="Baseline covariates the analysis adjusts for; `twin_prognosis` is the cohort model's prediction.")
    stratify_by: Names = Field(default=(), description="Covariates whose crossed levels are strata of the analysis.")
    multiplicity: Multiplicity = Field(default="none", description="How the comparisons of several test arms share alpha.")
    imputation: Imputation | None = Field(default=None, description="How missing values are imputed.")

    @model_validator(mode="before")
    @classmethod
    def _alpha_per_side(cls, given: Any) -> Any:
        if isinstance(given, dict) and "alpha" not in given and given.get("sides") == 1:
            return {**given, "alpha": 0.025}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        name = getattr(self, "method", type(self).__name__)
        if self.estimand is not None and (self.endpoint is not None or self.treatment is not None):
            raise ValueError("give either estimand, or endpoint and treatment, not both")
        if self.estimand is None and (self.treatment is None or (self.endpoint is None and self.needs_endpoint)):
            raise ValueError("give an estimand, or endpoint and treatment")
        if self.type != "superiority" and self.margin is None:
            raise ValueError(f"type: {self.type} needs a margin")
        if self.type == "superiority" and self.margin is not None:
            raise ValueError("a margin needs type: non_inferiority or equivalence")
        if self.margin is not None and self.allowed_loss == 0.0:
            raise ValueError("a margin of 1 on a ratio allows no loss")
        if self.covariates and not self.takes_covariates:
            raise ValueError(f"method {name} takes no covariates")
        if self.stratify_by and not self.takes_strata:
            raise ValueError(f"method {name} takes no stratify_by" + ("; name them in covariates" if self.takes_covariates else ""))
        for field in ("covariates", "stratify_by"):
            names = getattr(self, field)
            if len(set(names)) < len(names):
                raise ValueError(f"{field} names a covariate twice")
        return self

    @property
    def alpha_one_sided(self) -> float:
        """Alpha of the direction that favours the test arm: alpha / sides."""
        return self.alpha / self.sides

    def comparing(self, test: str) -> Self:
        """This analysis of one of its comparisons: `test` comes first, so that groups 0, 1, 2, … are the reference and `treatment.tests`."""
        if self.treatment is None or self.treatment.tests[0] == test:
            return self
        tests = (test, *(arm for arm in self.treatment.tests if arm != test))
        return self.model_copy(update={"treatment": self.treatment.model_copy(update={"test": tests})})

    @property
    def tested_sides(self) -> Literal[1, 2]:
        """The sides of the test that is made: a test against a margin has one, at alpha / sides."""
        return self.sides if self.type == "superiority" else 1

    @property
    def allowed_loss(self) -> float:
        """The margin as a distance on the scale of inference; 0 without one."""
        return allowed_loss(self.margin, self.std_error_scale)

    @property
    def record(self) -> Takes:
        """The record this analysis needs: its kernel's, or all visits where missing values are imputed."""
        return self.takes if self.imputation is None else VisitData

    def answer(self, data: AnalysisData, *, favours: int) -> Estimates:
        """What the analysis says of the data it needs (`record`): the kernel's estimates, of imputed values where it imputes,
        with the statistic against the margin where there is one; see `estimate` and `margins`.
        """
        if self.imputation is not None:
            assert isinstance(data, VisitData)
            found = estimate_imputed(self, data, favours=favours)
        else:
            found = self.estimate(data, favours=favours)
        return found if self.type == "superiority" else against_margin(self, data, found, favours=favours)

    def statistic_at(self, data: AnalysisData, found: Estimates, value: float, *, favours: int) -> Float[Tensor, "replicate"]:
        """The statistic of the hypothesis that the effect is `value` (scale of inference), positive where it is better.

        `found` are the estimates of the same data. Wald's; a method whose test against a value is another one overrides it.
        """
        return wald_statistic_at(found, value, favours=favours)

    def unsupported(self) -> Iterator[str]:
        yield from super().unsupported()
        if self.imputation is not None and not self.imputable:
            yield f"imputation with method {getattr(self, 'method', type(self).__name__)}"
        if self.type != "superiority" and self.scale is None:
            yield f"type: {self.type} of {getattr(self, 'method', type(self).__name__)}, which estimates nothing"

    def estimate(self, data: AnalysisData, *, favours: int) -> Estimates:
        """Test against reference in every replicate.

        `favours` is +1 when a larger estimate favours the test arm and -1 when a smaller one does; it signs `statistic`
        only. Replicates that cannot be analysed carry a code of `records.FAILURES` and NaN elsewhere; nothing is raised.
        The numbers of a replicate do not depend, to the last bit, on the other replicates of the block.
        """
        raise NotImplementedError(f"{type(self).__name__} has no kernel")
