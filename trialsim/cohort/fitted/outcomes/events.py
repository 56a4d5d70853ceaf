"""Event times a cohort model learned: a stepwise hazard, prognostic terms, and the effect of each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.columns import Array
from trialsim.cohort.fitted.features import PRIOR_SCALES, Term, weigh
from trialsim.cohort.fitted.inference import Posterior, fit_laplace
from trialsim.cohort.fitted.outcomes.companions import LEVEL_SCALES, LevelDesign
from trialsim.cohort.fitted.outcomes.effects import MODIFIER_SCALES, STEP_SCALES, ArmDesign
from trialsim.cohort.fitted.outcomes.hazards import Follow, HazardRegression, Scales, breaks_at, equal_shares
from trialsim.cohort.fitted.outcomes.newton import Mode
from trialsim.cohort.fitted.outcomes.stored import read_posterior, store_posterior
from trialsim.cohort.fitted.outcomes.varied import VariedHazard
from trialsim.records import Cohort

PIECES = 8
EARLY = (0.02, 0.05)
_PER_PIECE, _FEWEST_EARLY = 3, 8


@dataclass(frozen=True, slots=True)
class FittedEvent:
    """An event time with hazard λ_j exp(lp + log HR of the arm) on piece j.

    `breaks` (days) end every piece but the last; `hazards` (per day) are those of the reference arm at linear predictor
    0, the average patient. `arm_log_hr` has every arm; the reference arm's is 0. `log_hr_sd` are posterior SDs.
    `posterior` holds log hazards, log HRs and weights with their full covariance. `varied` is the same outcome with
    effects that may differ between patients and over time.
    """

    breaks: tuple[float, ...]
    hazards: tuple[float, ...]
    arm_log_hr: Mapping[str, float]
    log_hr_sd: Mapping[str, float]
    terms: tuple[Term, ...]
    weights: tuple[float, ...]
    prior_scale: float
    posterior: Posterior
    varied: VariedHazard

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
            "varied": self.varied.store(),
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
            varied=VariedHazard.read(given["varied"]),
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
    step_scales: Sequence[float] = STEP_SCALES,
    levels: LevelDesign | None = None,
    level_scales: Sequence[float] = LEVEL_SCALES,
) -> FittedEvent:
    """A piecewise-exponential proportional-hazards regression, in Pyro with a full-covariance Laplace guide.

        log L = Σ_i [ δ_i (η_{j(i)} + x_i β + γ_{a(i)}) − Σ_j E_ij exp(η_j + x_i β + γ_{a(i)}) ]

    with E_ij the days of patient i in piece j. Breaks are at the eighths of the event times, the first
    cut again at a 50th and a 20th, all rounded. Priors: η_j normal
    around the crude log hazard with SD 2, γ ~ Normal(0, 2), β on standardised terms Normal(0, s), spline bends
    Normal(0, s / 2), with s the value of largest evidence among `prior_scales`: unshrunk, the predictor of a small or
    noisy data set would spread patients more than their true prognosis does, and so dilute a marginal hazard ratio.

    `varied` adds x_i ω_a, ω ~ Normal(0, m), steps of an arm's log HR over the pieces, Normal(0, v), and what the levels of
    companions add within their arm (`levels`), Normal(0, l), with m, v and l of largest evidence, where 0 stands for
    none; its mode alone is kept. Scales are found by Newton's method.

    `time` in days and `event` (0/1) are `[patient]`, NaN where missing (the row is masked); `arm` is the place in
    `arms`. The hazard of the last piece continues beyond the data.

    **Source:** Holford 1980, Biometrics 36:299, doi 10.2307/2529982; Laird & Olivier 1981, JASA 76:231,
    doi 10.1080/01621459.1981.10477634.
    """
    seen = ~np.isnan(time) & ~np.isnan(event)
    time, event = time[seen], event[seen]
    x = design[torch.from_numpy(seen)]
    breaks = breaks_at(time[event == 1], float(time.max()), shares=_shares(int((event == 1).sum())), known=time)
    arm_design = ArmDesign.of(arms=arms, reference=reference, arm=arm[seen], terms=terms, design=x)
    levels = levels or LevelDesign.of(None, arms=arms, arm=arm)
    regression = HazardRegression.of(Follow.of(time, event, breaks, arm_design), arm_design, x, terms, levels.columns[seen])
    alike, scales = regression.best(prior_scales)
    posterior = _posterior(regression, alike.place, scales)
    varied, chosen = regression.best((scales.weights,), modifier_scales, step_scales, level_scales, start=alike.place)
    names = arm_design.others
    log_hr = dict(zip(names, posterior.mode["log_hr"].tolist() if names else [], strict=True))
    return FittedEvent(
        breaks=tuple(breaks.tolist()),
        hazards=tuple(torch.exp(posterior.mode["log_hazard"]).tolist()),
        arm_log_hr={name: log_hr.get(name, 0.0) for name in arms},
        log_hr_sd=dict(zip(names, posterior.sd("log_hr").tolist() if names else [], strict=True)),
        terms=terms,
        weights=tuple(posterior.mode["weights"].tolist()) if terms else (),
        prior_scale=scales.weights,
        posterior=posterior,
        varied=_varied(regression, arm_design, levels, arms, varied, chosen),
    )


def _shares(n_events: int) -> Array:
    """Eighths, and a 50th and a 20th at the start: hazards change most while effects and visits begin. Fewer where events are few."""
    eighths = equal_shares(int(min(PIECES, max(1, n_events // _PER_PIECE))))
    return np.concatenate(([share for share in EARLY if share * n_events >= _FEWEST_EARLY], eighths))


def _varied(regression: HazardRegression, arm_design: ArmDesign, levels: LevelDesign, arms: tuple[str, ...], mode: Mode, scales: Scales) -> VariedHazard:
    parts = dict(zip(regression.sizes, np.split(mode.place, np.cumsum(list(regression.sizes.values()))[:-1]), strict=True))
    log_hazard = parts["log_hazard"] + regression.steps(mode.place, regression.contrasts()) + np.append(0.0, parts["log_hr"])[:, None]
    row = {name: place + 1 for place, name in enumerate(arm_design.others)}
    return VariedHazard(
        hazards={name: tuple(np.exp(log_hazard[row.get(name, 0)]).tolist()) for name in arms},
        weights=tuple(parts["weights"].tolist()),
        modifiers=arm_design.by_arm(parts["modifiers"]),
        modifier_scale=scales.modifiers,
        step_scale=scales.steps,
        companions=levels.effects(parts["levels"]),
        level_scale=scales.levels,
    )


def _posterior(regression: HazardRegression, mode: Array, scales: Scales) -> Posterior:
    """The model with effects that are alike in Pyro, from its mode."""
    import pyro
    import pyro.distributions as dist

    follow, n_pieces = regression.follow, regression.n_pieces
    sites = {site: size for site, size in regression.sizes.items() if size and site in ("log_hazard", "log_hr", "weights")}
    ends = np.cumsum([0, *sites.values()]).tolist()
    slices = {site: slice(first, last) for site, first, last in zip(sites, ends[:-1], ends[1:], strict=True)}
    centre, sd, start = (torch.from_numpy(array) for array in (regression.centre(), regression.sd(scales), mode.copy()))
    columns = torch.from_numpy(regression.columns[:, : ends[-1] - n_pieces])
    exposure, events, total = torch.from_numpy(follow.exposure), torch.from_numpy(follow.events.sum(0)), torch.from_numpy(follow.happened) @ columns

    def model() -> None:
        drawn = {site: pyro.sample(site, dist.Normal(centre[part], sd[part]).to_event(1)) for site, part in slices.items()}
        weights = torch.cat([drawn[site] for site in sites if site != "log_hazard"] or [torch.zeros(0, dtype=torch.float64)])
        expected = (torch.exp(columns @ weights) @ exposure) @ torch.exp(drawn["log_hazard"])
        pyro.factor("events", events @ drawn["log_hazard"] + total @ weights - expected)

    return fit_laplace(model, {site: start[part].clone() for site, part in slices.items()})
