"""The membership AUC over refits, with an interval that counts patients and refits as random, for all and for subgroups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.attacks import ShadowModel, density_ratio
from trialsim.cohort.disclosure.space import Array

Flags = NDArray[np.bool_]

ALL = "all patients"
LEVEL = 0.95
_DRAWS = 40_000


@dataclass(frozen=True, slots=True)
class GroupEstimates:
    """AUCs of groups, the first of which is all patients, as arrays `[group]`; `critical` is the quantile of the largest |t|."""

    names: tuple[str, ...]
    n: NDArray[np.int64]
    estimate: Array
    std_error: Array
    critical: float

    @property
    def half_width(self) -> Array:
        """Of the simultaneous intervals."""
        return self.critical * self.std_error


def stronger_scores(features: Array, member: Flags, *, tracing: Array | None = None, compete: bool = False) -> tuple[Array, dict[str, float], float]:
    """The scores `[refit, patient]` of the strongest attack, each attack's own mean AUC, and how alike the two halves' scores are.

    Refits are in two halves, even and odd. In each half the shadow models learn on one part and are tried on the rest;
    the attack with the largest mean AUC there is then used on the *other* half, with the shadow model learned on the
    whole of this one. So neither the choice nor the learning has seen the refits it is applied to, and taking the
    largest does not raise the estimate. `tracing` are scores by that attack; with `compete` they may be chosen.

    The last is the correlation, over all refits and patients and at least 0, between the scores by what was learned on
    the even and on the odd refits; see `group_estimates`.
    """
    even = np.arange(len(member)) % 2 == 0
    scores = np.empty(member.shape)
    own: dict[str, Array] = {}
    used = []
    for here, there in ((even, ~even), (~even, even)):
        tried = {"density_ratio": float(aucs(density_ratio(features[here]), member[here]).mean()), "shadow_model": _tried_shadow(features[here], member[here])}
        ready = {"density_ratio": density_ratio(features), "shadow_model": ShadowModel(features[here], member[here]).score(features)}
        if tracing is not None:
            ready["tracing"] = tracing
            if compete:
                tried["tracing"] = float(aucs(tracing[here], member[here]).mean())
        for name, score in ready.items():
            own.setdefault(name, np.empty(len(member)))[there] = aucs(score[there], member[there])
        used.append(ready[max(tried, key=lambda name: tried[name])])
        scores[there] = used[-1][there]
    spread = np.sqrt((used[0] ** 2).mean() * (used[1] ** 2).mean())
    alike = float(np.clip((used[0] * used[1]).mean() / spread, 0.0, 1.0)) if spread > 0 else 1.0
    return scores, {name: float(found.mean()) for name, found in own.items()}, alike


def _tried_shadow(features: Array, member: Flags) -> float:
    """The mean AUC of shadow models on some refits, each learning on one half of them and tried on the other."""
    half = np.arange(len(member)) < len(member) // 2
    tried = [aucs(ShadowModel(features[rows], member[rows]).score(features[~rows]), member[~rows]).mean() for rows in (half, ~half)]
    return float(np.mean(tried))


def placements(score: Array, member: Flags) -> Array:
    """For each patient `[patient]` the share of the other half that their score tells apart from them rightly.

    u_i = (#{j in the other half: S_i beyond S_j} + ½ #{S_j = S_i}) / (size of that half), where beyond is above for a
    member and below for a non-member. Its mean over members is the AUC, and over non-members too.

    **Source:** DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837, doi 10.2307/2531595 (placement values).
    """
    return share_beaten(score, member, np.ones(len(score), dtype=bool))


def share_beaten(score: Array, member: Flags, group: Flags) -> Array:
    """For each patient the share of the group's patients in the other half that their score tells apart from them rightly."""
    out = np.empty(len(score))
    for side, sign in ((member, 1.0), (~member, -1.0)):
        others = np.sort(sign * score[~side & group])
        mine = sign * score[side]
        below, to = np.searchsorted(others, mine, "left"), np.searchsorted(others, mine, "right")
        out[side] = (below + to) / (2.0 * max(len(others), 1))
    return out


def aucs(scores: Array, member: Flags) -> Array:
    """The AUC of each refit, of scores and membership `[refit, patient]`."""
    return np.array([placements(score, flags)[flags].mean() for score, flags in zip(scores, member, strict=True)])


def group_estimates(scores: Array, member: Flags, groups: Mapping[str, Flags], *, alike: float = 1.0) -> GroupEstimates:
    """The membership AUC of all patients and of each group, averaged over refits, with simultaneous standard errors.

    In refit s with halves A and B the AUC of group g is

        θ_gs = ½ [P(S_i > S_j | i in g ∩ A, j in B) + P(S_i > S_j | i in A, j in g ∩ B)]

    how well the group's patients are told from everybody of the other half; for all patients it is the ordinary AUC. A
    patient's influence on it, as a member of g and as one whom g is compared with (h the half of i),

        ψ_gsi = [i in g] (u_si − mean of u over g ∩ h) / (2 |g ∩ h|) + (v_gsi − mean of v over h) / (2 |h|),

    u the placement among the other half, v among the group's part of it. Refits and patients are crossed random
    effects: with D the mean over s of Σ_i ψ², R = Σ_i (mean over s of ψ)² and C the variance of θ_gs over s,

        σ²_refit + σ²_rest / S = C / S,   σ²_rest / S = (D − R) / (S − 1),
        V = (2 − r²) C / S + max(0, R − (D − R) / (S − 1)).

    r (`alike`) is how alike the scores are that were learned on either half of the refits. What one half learned by
    chance is applied to the other and the other way round, so that where nothing stable was learned (r = 0, a model
    that tells nobody) the halves' means go up and down together and the variance of their mean is twice C / S, the
    largest it can be; with one stable rule (r = 1) they are independent. C / S alone, the naive variance, is that of another choice of halves of the *same* patients. Averaged over few
    refits it is most of V where the attack tells little, and far too small where patients differ in how exposed they
    are. The influence of a patient on the fits themselves is in V only as far as it shows in C.

    Degrees of freedom are Satterthwaite's; the critical value is the 95 % quantile of the largest |t| over groups,
    simulated with their estimated correlation and a fixed seed.

    **Source:** Gallas 2006, Acad Radiol 13:353, doi 10.1016/j.acra.2005.11.030 (cases and readers both random);
    Owen 2007, Ann Appl Stat 1:386, doi 10.1214/07-AOAS122 (crossed random effects); DeLong et al. 1988.
    """
    everyone = np.ones(member.shape[1], dtype=bool)
    flags = {ALL: everyone, **groups}
    refits, n = member.shape
    theta = np.empty((len(flags), refits))
    total = np.zeros((len(flags), n))
    within = np.zeros(len(flags))
    for s in range(refits):
        u = placements(scores[s], member[s])
        for place, group in enumerate(flags.values()):
            theta[place, s], influence = _influence(scores[s], member[s], group, u)
            total[place] += influence
            within[place] += (influence**2).sum()
    rows = total / refits
    between_patients, within, between_refits = (rows**2).sum(1), within / refits, (2.0 - alike**2) * theta.var(1, ddof=1) / refits
    patients = np.maximum(0.0, between_patients - (within - between_patients) / (refits - 1))
    variance = between_refits + patients
    cross = rows @ rows.T + (2.0 - alike**2) * np.cov(theta).reshape(len(flags), -1) / refits
    df = _satterthwaite(between_refits, patients, refits, flags)
    return GroupEstimates(
        names=tuple(flags),
        n=np.array([int(group.sum()) for group in flags.values()]),
        estimate=theta.mean(1),
        std_error=np.sqrt(variance),
        critical=largest_t(cross, df),
    )


def _influence(score: Array, member: Flags, group: Flags, u: Array) -> tuple[float, Array]:
    """θ of a group in one refit, and every patient's influence on it `[patient]`."""
    influence, mean = np.zeros(len(score)), 0.0
    v = u if group.all() else share_beaten(score, member, group)
    for half in (member, ~member):
        ours = half & group
        if not ours.any():  # nobody of the group is in this half: it tells nothing
            mean += 0.25
            continue
        centre = float(u[ours].mean())
        mean += centre / 2
        influence[ours] += (u[ours] - centre) / (2 * ours.sum())
        if (~half & group).any():
            influence[half] += (v[half] - v[half].mean()) / (2 * half.sum())
    return mean, influence


def _satterthwaite(between_refits: Array, patients: Array, refits: int, groups: Mapping[str, Flags]) -> float:
    """The smallest of the groups' degrees of freedom."""
    sizes = np.array([group.sum() for group in groups.values()], dtype=np.float64)
    spread = between_refits**2 / (refits - 1) + patients**2 / np.maximum(sizes - 1, 1)
    total = (between_refits + patients) ** 2
    df = np.where(spread > 0, total / np.where(spread > 0, spread, 1.0), np.inf)
    return float(df.min())


def largest_t(covariance: Array, df: float, level: float = LEVEL) -> float:
    """The `level` quantile of max |t_k| of a multivariate t with this covariance's correlation and `df` degrees of freedom.

    By simulation with a fixed seed; its own standard error is near 0.01. Groups without variance take no part.

    **Source:** Hothorn, Bretz & Westfall 2008, Biom J 50:346, doi 10.1002/bimj.200810425.
    """
    spread = np.sqrt(covariance.diagonal())
    moving = spread > 0
    if not moving.any():
        return 0.0
    correlation = covariance[np.ix_(moving, moving)] / np.outer(spread[moving], spread[moving])
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    generator = np.random.Generator(np.random.Philox(1))
    normal = generator.standard_normal((_DRAWS, len(root))) @ root.T
    scale = np.sqrt(generator.chisquare(df, _DRAWS) / df) if np.isfinite(df) else np.ones(_DRAWS)
    return float(np.quantile(np.abs(normal).max(1) / scale, level))
