"""The covariate laws, one per file; the union below is the registry."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trialsim.cohort.laws.bernoulli import Bernoulli
from trialsim.cohort.laws.beta import Beta
from trialsim.cohort.laws.categorical import Categorical
from trialsim.cohort.laws.exponential import Exponential
from trialsim.cohort.laws.gamma import Gamma
from trialsim.cohort.laws.gompertz import Gompertz
from trialsim.cohort.laws.law import CovariateLaw
from trialsim.cohort.laws.loglogistic import Loglogistic
from trialsim.cohort.laws.lognormal import Lognormal
from trialsim.cohort.laws.negative_binomial import NegativeBinomial
from trialsim.cohort.laws.normal import Normal
from trialsim.cohort.laws.poisson import Poisson
from trialsim.cohort.laws.truncated_normal import TruncatedNormal
from trialsim.cohort.laws.uniform import Uniform
from trialsim.cohort.laws.weibull import Weibull

LAWS = (
    Normal,
    TruncatedNormal,
    Lognormal,
    Uniform,
    Beta,
    Gamma,
    Exponential,
    Weibull,
    Gompertz,
    Loglogistic,
    Bernoulli,
    Categorical,
    Poisson,
    NegativeBinomial,
)

AnyLaw = Annotated[
    Normal
    | TruncatedNormal
    | Lognormal
    | Uniform
    | Beta
    | Gamma
    | Exponential
    | Weibull
    | Gompertz
    | Loglogistic
    | Bernoulli
    | Categorical
    | Poisson
    | NegativeBinomial,
    Field(discriminator="dist"),
]
"""Any covariate law, told apart by `dist`."""

__all__ = ["LAWS", "AnyLaw", "CovariateLaw"]
