"""Win ratio, net benefit and win odds: all pairs of a test and a reference patient, compared on a hierarchy of endpoints.

With W and L the shares of the n1 n0 pairs that the test arm wins and loses (how a pair is compared: see `pairwise`),

    win ratio = W / L,   net benefit = W - L,   win odds = (1 + W - L) / (1 - W + L);

the ratio and the odds are tested and bounded on the log scale, the net benefit as it is. The variance is that of a
two-sample U-statistic: with w_i and w_j the shares of pairs that test patient i wins and that are won against reference
patient j (l likewise),

    V_WW = Σ_i (w_i - W)² / n1² + Σ_j (w_j - W)² / n0²,   V_LL and V_WL likewise,
    Var log(W/L) = V_WW/W² - 2 V_WL/(W L) + V_LL/L²,   Var(W - L) = V_WW - 2 V_WL + V_LL,
    Var log odds = (2 / (1 - (W - L)²))² Var(W - L).

Strata: pairs are formed within strata; W = Σ_s v_s W_s with Mantel-Haenszel weights v_s ∝ n1s n0s/(n1s + n0s), L likewise,
and the (co)variances are Σ_s v_s² V_s. A stratum without patients of one arm has no weight.

`test: finkelstein_schoenfeld` replaces the Wald statistic by T/√V, T = wins - losses (Σ over strata), V the permutation
variance Σ_s n1s n0s/(n_s(n_s - 1)) Σ_i U_i², U_i = wins - losses of patient i against everyone of the stratum.

With 100 patients the one-sided level of the net benefit's Wald test at a nominal 0.025 is 0.028, that of the ratio and the odds 0.024.

A replicate fails where the test arm wins no pair or loses none (ratio), all pairs go one way (odds), or there is no variance.
Ties and pairs undecided because of censoring count half in the odds, nothing in the ratio. Censoring is not
reweighted (Peron's, IPCW): with unequal follow-up the estimand is that of the trial's own follow-up.

**Source:** Pocock et al. 2012 (doi 10.1093/eurheartj/ehr352); variance: Bebu & Lachin 2016 (doi 10.1093/biostatistics/kxv032),
Ozenne, Budtz-Jorgensen & Peron 2021 (doi 10.1177/09622802211037067); win odds: Brunner, Vandemeulebroecke & Mutze 2021 (doi
10.1002/sim.8967); strata: Dong et al. 2018 (doi 10.1080/10543406.2017.1397007); Finkelstein & Schoenfeld 1999 (doi
10.1002/(SICI)1097-0258(19990615)18:11<1341::AID-SIM129>3.0.CO;2-7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from trialsim.analysis.analysis import Analysis, EndpointType
from trialsim.analysis.failures import fail
from trialsim.analysis.pairwise import PairCounts, Side, count_pairs, everyone, sides
from trialsim.records import Estimates, HierarchyData
from trialsim.units import PositiveTime, Quantity

Measure = Literal["win_ratio", "net_benefit", "win_odds"]
NO_PATIENTS, NO_VARIANCE, ONE_WAY = 2, 3, 11


class WinRatio(Analysis):
    """Win ratio, net benefit or win odds over a hierarchy of endpoints; see the module."""

    endpoint_types: ClassVar[tuple[EndpointType, ...]] = ("time_to_event", "continuous", "binary", "count", "ordinal", "composite")
    takes = HierarchyData
    takes_strata: ClassVar[bool] = True
    needs_endpoint: ClassVar[bool] = False

    method: Literal["win_ratio"] = Field(description="Pairwise comparison of patients.")
    hierarchy: tuple[str, ...] = Field(min_length=1, description="Endpoints, the most important first.")
    thresholds: dict[str, Quantity] | None = Field(default=None, description="Smallest difference that counts as a win, by endpoint.")
    follow_up: Literal["own", "common"] = Field(default="own", description="Whether a pair is compared over each patient's own or their common follow-up.")
    measure: Measure = Field(default="win_ratio", description="What is estimated.")
    test: Literal["wald", "finkelstein_schoenfeld"] = Field(
        default="wald", description="Estimate over standard error, or the permutation test of wins - losses."
    )
    horizon: PositiveTime | None = Field(default=None, description="Events are compared up to this time only; left out, over all follow-up.")

    @property
    def scale(self) -> str:  # type: ignore[override]
        """The measure."""
        return self.measure

    @property
    def std_error_scale(self) -> str:  # type: ignore[override]
        """Log for the ratio and the odds."""
        return self.measure if self.measure == "net_benefit" else f"log_{self.measure}"

    def estimate(self, data: HierarchyData, *, favours: int = 1) -> Estimates:  # type: ignore[override]
        """The measure, its standard error and the test; a win favours the test arm whatever `favours` says (the parts have their own)."""
        common = self.follow_up == "common"
        test, reference = sides(data, common=common, horizon=self.horizon)
        shares = win_shares(test, reference, count_pairs(test, reference, data.favours), n_strata=data.parts[0].n_strata)
        estimate, variance, failure = _measure(shares, self.measure)
        std_error = variance.sqrt()
        statistic = estimate / std_error
        if self.test == "finkelstein_schoenfeld":
            t, v = finkelstein_schoenfeld(data, common=common, horizon=self.horizon)
            statistic = t / v.sqrt()
            failure = torch.where((failure == 0) & ~(v > 0), NO_VARIANCE, failure)
        failure = torch.where((test.n == 0) | (reference.n == 0) | ~(shares.weight > 0), NO_PATIENTS, failure)
        statistic, estimate, std_error = fail(failure, statistic, estimate, std_error)
        return Estimates(statistic=statistic, n=test.n + reference.n, failure=failure, estimate=estimate, std_error=std_error)


@dataclass(frozen=True, slots=True)
class WinShares:
    """Shares of pairs won and lost by the test arm, and their variances and covariance. `weight` is that of all strata before scaling."""

    win: Float[Tensor, "replicate"]
    loss: Float[Tensor, "replicate"]
    win_variance: Float[Tensor, "replicate"]
    loss_variance: Float[Tensor, "replicate"]
    covariance: Float[Tensor, "replicate"]
    weight: Float[Tensor, "replicate"]


def win_counts(
    data: HierarchyData, *, common: bool = False, horizon: float | None = None
) -> tuple[Int[Tensor, "level replicate"], Int[Tensor, "level replicate"]]:
    """Pairs won and pairs lost by the test arm at each level of the hierarchy."""
    test, reference = sides(data, common=common, horizon=horizon)
    counts = count_pairs(test, reference, data.favours, by_level=True)
    return torch.stack(counts.wins), torch.stack(counts.losses)


def win_shares(test: Side, reference: Side, counts: PairCounts, *, n_strata: int = 1) -> WinShares:
    """Weighted over strata; see the module. Counts are integers, so nothing here depends on how they were added up."""
    strata = range(n_strata) if test.stratum is not None else (None,)
    zero = torch.zeros(len(test.n), dtype=torch.float64, device=test.n.device)
    total, sums = zero, [zero] * 5
    for stratum in strata:
        n1, won, lost = _members(test, stratum, counts.won, counts.lost)
        n0, lost_by, won_by = _members(reference, stratum, counts.lost_by_reference, counts.won_by_reference)
        pairs = (n1 * n0).to(torch.float64)
        weight = torch.where(pairs > 0, pairs / (n1 + n0), 0.0)
        safe = pairs.clamp(min=1.0)
        w, l = won.sum(-1), lost.sum(-1)
        moments = []
        for (a, total_a, aj), (b, total_b, bj) in (
            ((won, w, lost_by), (won, w, lost_by)),
            ((lost, l, won_by), (lost, l, won_by)),
            ((won, w, lost_by), (lost, l, won_by)),
        ):
            # Σ_i (a_i - mean)(b_i - mean) of the shares is [n Σ a_i b_i - (Σ a)(Σ b)] / n, over n0² (or n1²) pairs each.
            by_test = (n1 * (a * b).sum(-1) - total_a * total_b).to(torch.float64)
            by_reference = (n0 * (aj * bj).sum(-1) - total_a * total_b).to(torch.float64)
            moments.append((by_test / n1.clamp(min=1) + by_reference / n0.clamp(min=1)) / (safe * safe))
        numbers = (w / safe, l / safe)
        total = total + weight
        sums = [
            *(before + weight * number for before, number in zip(sums[:2], numbers, strict=True)),
            *(before + weight * weight * moment for before, moment in zip(sums[2:], moments, strict=True)),
        ]
    win, loss = (number / total for number in sums[:2])
    win_variance, loss_variance, covariance = (moment / (total * total) for moment in sums[2:])
    return WinShares(win, loss, win_variance, loss_variance, covariance, total)


def _members(side: Side, stratum: int | None, *counts: Int[Tensor, "replicate patient"]) -> tuple[Tensor, ...]:
    """How many patients a side has in a stratum, and their counts (0 elsewhere)."""
    if stratum is None or side.stratum is None:
        return side.n, *counts
    mine = (side.stratum == stratum) & (torch.arange(side.place.shape[1], device=side.n.device) < side.n[:, None])
    return mine.sum(-1), *(count * mine for count in counts)


def _measure(shares: WinShares, measure: Measure) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate and variance on the scale of inference, and the failure."""
    w, l = shares.win, shares.loss
    net = w - l
    net_variance = shares.win_variance - 2.0 * shares.covariance + shares.loss_variance
    failure = torch.zeros(len(w), dtype=torch.int8, device=w.device)
    if measure == "win_ratio":
        estimate = torch.log(w / l)
        variance = shares.win_variance / (w * w) - 2.0 * shares.covariance / (w * l) + shares.loss_variance / (l * l)
        one_way = (w == 0) | (l == 0)
    elif measure == "win_odds":
        estimate = torch.log((1.0 + net) / (1.0 - net))
        slope = 2.0 / ((1.0 - net) * (1.0 + net))
        variance = slope * slope * net_variance
        one_way = net.abs() >= 1.0
    else:
        estimate, variance = net, net_variance
        one_way = torch.zeros_like(w, dtype=torch.bool)
    # What rounding leaves of a variance of zero is nothing.
    failure = torch.where(variance > 1e-24, failure, NO_VARIANCE)
    failure = torch.where(one_way, ONE_WAY, failure)
    return estimate, variance, failure


def finkelstein_schoenfeld(
    data: HierarchyData, *, common: bool = False, horizon: float | None = None
) -> tuple[Float[Tensor, "replicate"], Float[Tensor, "replicate"]]:
    """T = wins - losses of the test arm and its permutation variance, summed over strata; see the module."""
    all_patients = everyone(data, common=common, horizon=horizon)
    counts = count_pairs(all_patients, all_patients, data.favours)
    net = counts.won - counts.lost
    is_test = data.parts[0].group.gather(-1, all_patients.place) == 1
    strata = range(data.parts[0].n_strata) if all_patients.stratum is not None else (None,)
    t = v = torch.zeros(len(net), dtype=torch.float64, device=net.device)
    for stratum in strata:
        one = (torch.arange(net.shape[1], device=net.device) < all_patients.n[:, None]).to(torch.int64)
        n, own, here = _members(all_patients, stratum, net, one)
        n1 = (here * is_test).sum(-1)
        t = t + (own * is_test).sum(-1)
        v = v + (n1 * (n - n1)).to(torch.float64) * (own * own).sum(-1) / (n * (n - 1)).clamp(min=1)
    return t, v
