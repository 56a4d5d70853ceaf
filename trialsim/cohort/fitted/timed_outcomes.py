"""Prognosis that changes with time: what synthetic patients have beyond proportional hazards.

Early events and early losses to follow-up hang on other things than late ones: a low cell count says more of the next months
than of the third year, and those who will leave treatment leave the study early, while the others are followed to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from trialsim.cohort.fitted.features import Term, prior_sd
from trialsim.cohort.fitted.outcomes import Companions, FittedOutcomes
from trialsim.cohort.fitted.outcomes.calibration import calibrated
from trialsim.cohort.fitted.outcomes.newton import Array, best_scale
from trialsim.cohort.fitted.outcomes.outcomes import Outcome, Scored
from trialsim.cohort.fitted.outcomes.predictor import DesignPredictors, Predictors

SCALES = (0.0, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0)
_ASKED = 0.25  # the scale at which each term is asked whether it is wanted
ENDS = {"event": (0.2, 0.4, 0.6, 0.8), "censoring": (0.05, 0.1, 0.2, 0.4, 0.7)}
FEWEST = 40  # who end in a phase
_LEVEL_SD = 1.0


@dataclass(frozen=True, slots=True)
class Phases:
    """Phases of follow-up, and how the log hazard differs in each from the proportional one: c_p + x·δ_p + arm.

    `reached` are the cumulative hazards at linear predictor 0 by arm at the ends of all phases but the last.
    """

    reached: Mapping[str, tuple[float, ...]]
    levels: tuple[float, ...]
    terms: tuple[Term, ...]
    weights: tuple[tuple[float, ...], ...]
    arms: tuple[Mapping[str, float], ...]
    scales: tuple[float, ...]

    def score(self, score: Float[Tensor, "patient"], log_hr: Float[Tensor, "patient"], predictors: Predictors) -> Float[Tensor, "patient"]:
        """The score at which the proportional model has the time that these phases have at `score`.

        With E = −log Φ(score) the cumulative hazard that is reached and H_p that of the proportional model up to the end of
        phase p, the patient goes through phase p as far as E allows at the rate exp(lp + c_p + x·δ_p).
        """
        left = torch.special.log_ndtr(score).neg_()
        gone = torch.zeros_like(left)
        before = torch.zeros_like(left)
        for place, level in enumerate(self.levels):
            extra = predictors.weigh(self.terms, self.weights[place]).add_(level).add_(predictors.by_arm(self.arms[place]))
            rate = extra.add_(log_hr).exp_()
            if place + 1 < len(self.levels):
                end = predictors.by_arm({arm: ends[place] for arm, ends in self.reached.items()})
                used = torch.minimum(left, (end - before).mul_(rate))
                before = end
            else:
                used = left.clone()
            gone.add_(used / rate)
            left.sub_(used)
        hazard = gone.mul_(log_hr.exp())
        return torch.where(hazard > 0.7, torch.special.ndtri(torch.exp(-hazard)), -torch.special.ndtri(-torch.expm1(-hazard)))

    def store(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "reached": [[arm, list(ends)] for arm, ends in self.reached.items()],
            "levels": list(self.levels),
            "terms": [term.as_json() for term in self.terms],
            "weights": [list(row) for row in self.weights],
            "arms": [list(row.items()) for row in self.arms],
            "scales": list(self.scales),
        }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Phases:
        """What `store` wrote."""
        return cls(
            reached={arm: tuple(ends) for arm, ends in given["reached"]},
            levels=tuple(given["levels"]),
            terms=tuple(Term.from_json(term) for term in given["terms"]),
            weights=tuple(tuple(row) for row in given["weights"]),
            arms=tuple(dict(row) for row in given["arms"]),
            scales=tuple(given["scales"]),
        )


@dataclass(frozen=True)
class TimedOutcomes(FittedOutcomes):
    """Fitted outcomes whose events and censoring go through phases, by (event or censoring, outcome)."""

    phases: Mapping[tuple[str, str], Phases] = field(default_factory=dict)

    def observed(self, score: Mapping[Scored, Tensor], predictors: Predictors) -> dict[Outcome, Tensor]:
        """The outcomes of some patients whose scores are given."""
        timed = dict(score)
        for (kind, name), phases in self.phases.items():
            timed[kind, name, ""] = phases.score(score[kind, name, ""], self.log_hr(kind, name, predictors), predictors)
        return super().observed(timed, predictors)

    def options(self) -> dict[str, Any]:
        """What else it needs to be read back, as JSON."""
        return {**super().options(), "phases": [[*key, phases.store()] for key, phases in self.phases.items()]}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> TimedOutcomes:
        """The outcomes that `tensors` and `options` came from."""
        plain = FittedOutcomes.of(tensors, options)
        return _with_phases(plain, {(kind, name): Phases.read(given) for kind, name, given in options["phases"]})


def _with_phases(outcomes: FittedOutcomes, phases: Mapping[tuple[str, str], Phases]) -> TimedOutcomes:
    return TimedOutcomes(**{each.name: getattr(outcomes, each.name) for each in fields(FittedOutcomes)}, phases=phases)


def fit_phases(
    outcomes: FittedOutcomes,
    *,
    events: Mapping[str, tuple[Array, Array]],
    values: Mapping[Outcome, Array],
    reference: int,
    arm: NDArray[np.int64],
    design: Float[Tensor, "patient term"],
    companions: Companions | None = None,
    like: FittedOutcomes | None = None,
) -> TimedOutcomes:
    """The outcomes with phases where the evidence asks for them, and then `calibrated` again.

    In each phase the hazard of the proportional model is multiplied by exp(c + x·δ + arm), with c ~ Normal(0, 1) and δ and
    the arm ~ Normal(0, s), s of largest evidence; 0 stands for none. Terms whose own Bayes factor (of its score at 0,
    s = 0.25) is below 1 stay at 0, so that many that matter at no time do not hide a few that do. Phases end at corners of the fitted hazard
    near fifths of the events (5, 10, 20, 40 and 70 % of the censored, most of whom end together), each with at least 40 of them. `like` gives the scales.
    An arm's effect on an event is left as it is; what outcomes share beyond the baseline is too.

    **Source:** Cox 1972, JRSS-B 34:187, section 4 (time-dependent effects); MacKay 1992, doi 10.1162/neco.1992.4.3.415.
    """
    found: dict[tuple[str, str], Phases] = {}
    before = like.phases if isinstance(like, TimedOutcomes) else {}
    levels = {} if companions is None else {name: torch.from_numpy(index) for name, index in companions.index.items()}
    predictors = DesignPredictors(design, torch.from_numpy(arm), outcomes.names, levels)
    straight = [place for place, term in enumerate(_terms(outcomes)) if term.kind != "bend"]
    for name, (time, event) in events.items():
        seen = ~np.isnan(time) & ~np.isnan(event)
        log_hr = {
            kind: outcomes.log_hr(kind, name, predictors).numpy()[seen] for kind in ("event", "censoring") if kind == "event" or name in outcomes.censoring
        }
        fit = _Fit(outcomes, name, time[seen], event[seen], arm[seen], design[torch.from_numpy(seen)], log_hr, straight, reference)
        for kind in ("event", "censoring"):
            if kind in log_hr:
                phases = fit.phases(kind, before.get((kind, name)))
                if phases is not None:
                    found[kind, name] = phases
    timed = _with_phases(outcomes, found)
    if not found:
        return timed
    return _with_phases(calibrated(timed, design=design, arm=arm, values=values, companions=companions), found)


def _terms(outcomes: FittedOutcomes) -> tuple[Term, ...]:
    return next((event.terms for event in outcomes.events.values()), ())


class _Fit:
    """One outcome: patients whose time and event are known."""

    def __init__(
        self,
        outcomes: FittedOutcomes,
        name: str,
        time: Array,
        event: Array,
        arm: NDArray[np.int64],
        design: Float[Tensor, "patient term"],
        log_hr: Mapping[str, Array],
        straight: Sequence[int],
        reference: int,
    ):
        self.outcomes, self.name, self.time, self.event, self.arm, self.straight = outcomes, name, time, event, arm, list(straight)
        self.x, self.log_hr, self.reference = design.numpy(), log_hr, reference

    def phases(self, kind: str, like: Phases | None) -> Phases | None:
        """The phases of an event or its censoring; None where there is one, or the evidence asks for none."""
        outcomes, names = self.outcomes, self.outcomes.names
        terms = outcomes.events[self.name].terms
        treated = [place for place in range(len(names)) if place != self.reference and kind == "censoring"]
        ended = self.event == (1.0 if kind == "event" else 0.0)
        corners = outcomes.events[self.name].breaks if kind == "event" else outcomes.censoring[self.name].times
        ends = _ends(np.unique(corners), self.time[ended], ENDS[kind])
        if not len(ends):
            return None
        x = np.concatenate(
            (self.x[:, self.straight], np.stack([self.arm == place for place in treated], axis=1) if treated else np.zeros((len(self.arm), 0))), axis=1
        )
        spread = np.concatenate((prior_sd([terms[place] for place in self.straight]).numpy(), np.ones(len(treated))))
        levels, rows, shifts, scales = [], [], [], []
        edges = (0.0, *ends, np.inf)
        for place in range(len(ends) + 1):
            smooth, jump, came = self._in_phase(kind, ended, edges[place], edges[place + 1])
            risk = np.exp(self.log_hr[kind])
            regression = _Regression(x, smooth * risk, jump * risk, came)
            tried = SCALES if like is None or len(like.scales) <= place else (like.scales[place],)
            wanted = regression.wanted(spread)
            sds = [np.concatenate(([_LEVEL_SD], spread * wanted * scale)) for scale in tried]
            mode, best = best_scale(regression.log_likelihood, np.zeros(x.shape[1] + 1), centre=np.zeros(x.shape[1] + 1), sds=sds)
            weights = np.zeros(len(terms))
            weights[self.straight] = mode.place[1 : 1 + len(self.straight)]
            levels.append(float(mode.place[0]))
            rows.append(tuple(weights.tolist()))
            found = dict(zip((names[t] for t in treated), mode.place[1 + len(self.straight) :].tolist(), strict=True))
            shifts.append({name: found.get(name, 0.0) for name in names})
            scales.append(tried[best])
        if not any(scales):
            return None
        reached = {name: tuple(self._hazard(kind, place, np.array(ends)).tolist()) for place, name in enumerate(names)}
        return Phases(reached, tuple(levels), terms, tuple(rows), tuple(shifts), tuple(scales))

    def _hazard(self, kind: str, arm: int, t: Array, *, before: bool = False) -> Array:
        """The cumulative hazard at linear predictor 0 in an arm (`before`: an atom at t)."""
        if kind == "censoring":
            law = self.outcomes.censoring[self.name]
            return law.cumulative_hazard(t) if before else law.cumulative_hazard_after(t)
        event = self.outcomes.events[self.name]
        edges = np.array((0.0, *event.breaks))
        width = np.append(np.diff(edges), np.inf)
        return np.asarray(np.clip(t[:, None] - edges, 0.0, width) @ np.array(event.varied.hazards[self.outcomes.names[arm]]))

    def _in_phase(self, kind: str, ended: NDArray[np.bool_], start: float, end: float) -> tuple[Array, Array, Array]:
        """Each patient's hazard in a phase before a jump, the jump they ended at (0: none), and whether they ended in it."""
        smooth, jump = np.zeros(len(self.time)), np.zeros(len(self.time))
        for arm in range(len(self.outcomes.names)):
            rows = self.arm == arm
            time = self.time[rows]
            inside, here = np.clip(time, start, end), (time > start) & (time <= end)
            up_to, after = self._hazard(kind, arm, inside, before=True), self._hazard(kind, arm, inside)
            passed = np.where(here, up_to, after)
            smooth[rows] = np.where(time > start, passed - self._hazard(kind, arm, np.full(len(time), start)), 0.0)
            jump[rows] = np.where(here & ended[rows], after - up_to, 0.0)
        came = (ended & (self.time > start) & (self.time <= end)).astype(np.float64)
        return np.maximum(smooth, 0.0), np.where(jump > 1e-9, jump, 0.0), came


class _Regression:
    """log L = Σ d η (no jump) + Σ d log(1 − exp(−J e^η)) (a jump J) − Σ Λ e^η, with η = c + x·δ."""

    def __init__(self, x: Array, smooth: Array, jump: Array, came: Array):
        self.columns = np.concatenate((np.ones((len(x), 1)), x), axis=1)
        self.smooth, self.jump, self.came = smooth, jump, came

    def wanted(self, spread: Array) -> Array:
        """1 for each column whose score at δ = 0 speaks for it, else 0: log BF = ½ U² / (I + s⁻²) − ½ log(1 + I s²)."""
        n = self.columns.shape[1]
        level = np.concatenate(([_LEVEL_SD], np.zeros(n - 1)))
        mode, _ = best_scale(self.log_likelihood, np.zeros(n), centre=np.zeros(n), sds=[level])
        _, score, information = self.log_likelihood(mode.place)
        own = np.maximum(information.diagonal()[1:] - information[0, 1:] ** 2 / information[0, 0], 1e-9)
        variance = (spread * _ASKED) ** 2
        return (0.5 * score[1:] ** 2 / (own + 1.0 / variance) > 0.5 * np.log1p(own * variance)).astype(np.float64)

    def log_likelihood(self, theta: Array) -> tuple[float, Array, Array]:
        """The value, its gradient, and the information."""
        eta = np.clip(self.columns @ theta, -30.0, 30.0)
        rate = np.exp(eta)
        expected = self.smooth * rate
        at = self.jump > 0
        size = np.where(at, self.jump * rate, 1.0)
        odds = size / np.expm1(np.minimum(size, 500.0))
        plain = self.came * ~at
        value = plain @ eta - expected.sum() + (np.log(-np.expm1(-size))[at & (self.came == 1)]).sum()
        first = plain - expected + np.where(at, self.came * odds, 0.0)
        curve = expected + np.where(at, self.came * odds * (odds + size - 1.0), 0.0)
        return float(value), first @ self.columns, (self.columns * np.maximum(curve, 0.0)[:, None]).T @ self.columns


def _ends(corners: Array, times: Array, shares: Sequence[float]) -> tuple[float, ...]:
    """Corners near these shares of the times, such that at least 40 lie in every phase."""
    inner = corners[(corners > 0) & (corners < times.max(initial=0.0))]
    found: list[float] = []
    for share in shares:
        if not len(inner):
            break
        end = float(inner[np.argmin(np.abs((times[:, None] <= inner).mean(axis=0) - share))])
        last = found[-1] if found else 0.0
        if end > last and ((times > last) & (times <= end)).sum() >= FEWEST and (times > end).sum() >= FEWEST:
            found.append(end)
    return tuple(found)
