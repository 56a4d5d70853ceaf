"""Event times a cohort model learned: a stepwise hazard, prognostic terms, and the effect of each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.columns import Array
from trialsim.cohort.fitted.features import PRIOR_SCALES, Term, weigh
from trialsim.cohort.fitted.inference import Posterior, fit_laplace
from trialsim.cohort.fitted.outcomes.effects import MODIFIER_SCALES, ArmDesign
from trialsim.cohort.fitted.outcomes.hazards import Follow, HazardRegression, breaks_at
from trialsim.cohort.fitted.outcomes.stored import read_posterior, store_posterior
from trialsim.records import Cohort

PIECES = 8
_PER_PIECE = 3


@dataclass(frozen=True, slots=True)
class FittedEvent:
    """An event time with hazard λ_j exp(lp + log HR of the arm + x·ω of the arm) on piece j.

    `breaks` (days) end every piece but the last; `hazards` (per day) are those of the reference arm at linear predictor
    0, the average patient. `arm_log_hr` has every arm; the reference arm's is 0, another's is its log HR at the average
    patient. `modifiers` ω, by arm, say how it changes with each term; empty where the evidence is against that.
    `log_hr_sd` are posterior SDs. `posterior` holds log hazards, log HRs, weights and modifiers with their full covariance.
    """

    breaks: tuple[float, ...]
    hazards: tuple[float, ...]
    arm_log_hr: Mapping[str, float]
    log_hr_sd: Mapping[str, float]
    terms: tuple[Term, ...]
    weights: tuple[float, ...]
    prior_scale: float
    posterior: Posterior
    modifiers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    modifier_scale: float = 0.0

    @property
    def reference(self) -> str | None:
        """The arm whose log HR is 0 (None: the data had one arm)."""
        return next((arm for arm in self.arm_log_hr if arm not in self.log_hr_sd), None)

    def linear_predictor(self, cohort: Cohort) -> Float[Tensor, "replicate patient"]:
        """The prognostic log hazard ratio of each patient against the average one, under the reference arm."""
        return weigh(self.terms, self.weights, cohort)

    def store(self, key: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """The event as JSON; its tensors go to `tensors` under names that start with `key`."""
        return {
            **store_posterior(self.posterior, key, tensors),
            "breaks": list(self.breaks),
            "hazards": list(self.hazards),
            "log_hr": list(self.arm_log_hr.items()),
            "log_hr_sd": dict(self.log_hr_sd),
            "terms": [term.as_json() for term in self.terms],
            "weights": list(self.weights),
            "prior_scale": self.prior_scale,
            "modifiers": {arm: list(row) for arm, row in self.modifiers.items()},
            "modifier_scale": self.modifier_scale,
        }

    @classmethod
    def read(cls, given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FittedEvent:
        """The event that `store` wrote."""
        return cls(
            breaks=tuple(given["breaks"]),
            hazards=tuple(given["hazards"]),
            arm_log_hr=dict(given["log_hr"]),
            log_hr_sd=dict(given["log_hr_sd"]),
            terms=tuple(Term.from_json(term) for term in given["terms"]),
            weights=tuple(given["weights"]),
            prior_scale=given["prior_scale"],
            posterior=read_posterior(given, tensors),
            modifiers={arm: tuple(row) for arm, row in given["modifiers"].items()},
            modifier_scale=given["modifier_scale"],
        )


def fit_event(
    time: Array,
    event: Array,
    *,
    arms: tuple[str, ...],
    reference: int,
    arm: NDArray[np.int64],
    terms: tuple[Term, ...],
    design: Float[Tensor, "patient term"],
    prior_scales: Sequence[float] = PRIOR_SCALES,
    modifier_scales: Sequence[float] = MODIFIER_SCALES,
) -> FittedEvent:
    """A piecewise-exponential proportional-hazards regression, in Pyro with a full-covariance Laplace guide.

        log L = Σ_i [ δ_i (η_{j(i)} + γ_{a(i)} + x_i β + x_i ω_{a(i)}) − Σ_j E_ij exp(η_j + γ_{a(i)} + x_i β + x_i ω_{a(i)}) ]

    with E_ij the days of patient i in piece j. Breaks are at the eighths of the event times (rounded). Priors: η_j normal
    around the crude log hazard with SD 2, γ ~ Normal(0, 2), β on standardised terms Normal(0, s), spline bends
    Normal(0, s / 2), with s the value of largest evidence among `prior_scales`: unshrunk, the predictor of a small or
    noisy data set would spread patients more than their true prognosis does, and so dilute a marginal hazard ratio.
    Effect modifiers ω ~ Normal(0, m), with m of largest evidence among `modifier_scales`; 0 is no modification, and
    then γ_a is the effect in everybody. The scales are found by Newton's method; the posterior is Pyro's.

    `time` in days and `event` (0/1) are `[patient]`, NaN where missing (the row is masked); `arm` is the place in
    `arms`. The hazard of the last piece continues beyond the data. Not handled: effects that change over time.

    **Source:** Holford 1980, Biometrics 36:299, doi 10.2307/2529982; Laird & Olivier 1981, JASA 76:231,
    doi 10.1080/01621459.1981.10477634.
    """
    seen = ~np.isnan(time) & ~np.isnan(event)
    time, event = time[seen], event[seen]
    x = design[torch.from_numpy(seen)]
    pieces = int(min(PIECES, max(1, (event == 1).sum() // _PER_PIECE)))
    breaks = breaks_at(time[event == 1], float(time.max()), pieces=pieces, known=time)
    arm_design = ArmDesign.of(arms=arms, reference=reference, arm=arm[seen], terms=terms, design=x)
    regression = HazardRegression.of(Follow.of(time, event, breaks), arm_design, x, terms)
    mode, scale, modifier_scale = regression.best(prior_scales, modifier_scales)
    posterior = _posterior(regression, mode.place, scale, modifier_scale)
    names = arm_design.others
    log_hr = dict(zip(names, posterior.mode["log_hr"].tolist() if names else [], strict=True))
    return FittedEvent(
        breaks=tuple(breaks.tolist()),
        hazards=tuple(torch.exp(posterior.mode["log_hazard"]).tolist()),
        arm_log_hr={name: log_hr.get(name, 0.0) for name in arms},
        log_hr_sd=dict(zip(names, posterior.sd("log_hr").tolist() if names else [], strict=True)),
        terms=terms,
        weights=tuple(posterior.mode["weights"].tolist()) if terms else (),
        prior_scale=scale,
        posterior=posterior,
        modifiers=arm_design.by_arm(posterior.mode["modifiers"].numpy()) if "modifiers" in posterior.mode else {},
        modifier_scale=modifier_scale,
    )


def _posterior(regression: HazardRegression, mode: Array, scale: float, modifier_scale: float) -> Posterior:
    """The same model in Pyro, from its mode."""
    import pyro
    import pyro.distributions as dist

    n_modifiers = regression.n_modifiers if modifier_scale > 0 else 0
    sizes = {"log_hazard": regression.n_pieces, "log_hr": regression.n_arms, "weights": len(regression.terms), "modifiers": n_modifiers}
    sites = {site: size for site, size in sizes.items() if size}
    ends = np.cumsum([0, *sites.values()])
    slices = {site: slice(int(first), int(last)) for site, first, last in zip(sites, ends[:-1], ends[1:], strict=True)}
    centre, sd, start = (torch.from_numpy(array) for array in (regression.centre(), regression.sd(scale, modifier_scale), mode.copy()))
    columns = torch.from_numpy(regression.columns[:, : int(ends[-1]) - regression.n_pieces])
    exposure, events, happened = (torch.from_numpy(array) for array in (regression.follow.exposure, regression.follow.events, regression.follow.happened))
    total = happened @ columns

    def model() -> None:
        drawn = {site: pyro.sample(site, dist.Normal(centre[part], sd[part]).to_event(1)) for site, part in slices.items()}
        weights = torch.cat([drawn[site] for site in sites if site != "log_hazard"] or [torch.zeros(0, dtype=torch.float64)])
        expected = (torch.exp(columns @ weights) @ exposure) @ torch.exp(drawn["log_hazard"])
        pyro.factor("events", events @ drawn["log_hazard"] + total @ weights - expected)

    return fit_laplace(model, {site: start[part].clone() for site, part in slices.items()})
