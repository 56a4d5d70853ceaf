"""Futility by spending: of beta at the alternative, or of null probability."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from trialsim.design.futility.rule import FutilityRule
from trialsim.design.spending import LAWS, SpendingLaw
from trialsim.units import Share

Level = Annotated[Share, Field(gt=0, lt=1)]


class SpendingFutility(FutilityRule, SpendingLaw):
    """A spending function for the lower bound.

    With `beta`, its spending is the probability of stopping for futility at the drift that has power 1 − beta with both
    bounds obeyed, and the final lower bound equals the efficacy bound. With `alpha`, it is the same probability under
    the null hypothesis, the final look included.

    **Source**: Pampallona, Tsiatis & Kim 2001, doi 10.1177/009286150103500408; Anderson & Clark 2010, doi 10.1002/sim.3737.
    """

    key = "spending"
    beta: Level | None = Field(default=None, description="Type II error to spend, at the alternative with power 1 − beta.")
    alpha: Level | None = Field(default=None, description="Probability below the lower bound to spend under the null hypothesis.")

    @model_validator(mode="after")
    def _spends_one_error(self) -> Self:
        if (self.beta is None) == (self.alpha is None):
            raise PydanticCustomError("futility", "futility by spending needs beta (spent at the alternative) or alpha (spent under the null), one of them")
        return self


def _futility(law: type[SpendingLaw]) -> Any:
    base: Any = (SpendingFutility, law)
    return create_model(f"{law.__name__}Futility", __base__=base, __module__=__name__, __doc__=f"Futility by the spending function {law.__name__}.")


SPENDING_FUTILITY: tuple[type[SpendingFutility], ...] = tuple(_futility(law) for law in LAWS)
# By name in this module, so that instances can be pickled.
globals().update({model.__name__: model for model in SPENDING_FUTILITY})
