"""What the membership gate does, over and over: to models that read nobody, that are fitted honestly, and that memorise."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
from scipy.stats import norm
from witness.membership_gate import Found, gate
from witness.recipes import FittedNormal, Honest, Memorising

from trialsim.cohort.disclosure.membership import group_estimates
from trialsim.cohort.disclosure.workers import share_out
from trialsim.cohort.sampler import Recipe

pytestmark = pytest.mark.slow


def repeated(recipe: Recipe, n: int, repeats: int) -> list[Found]:
    return share_out(partial(gate, recipe, n), repeats, workers=2)


def told(name: str, found: list[Found]) -> Counter[str]:
    """Prints the shares of the verdicts with their MCSE."""
    counts, n = Counter(row.verdict for row in found), len(found)
    shares = {verdict: counts[verdict] / n for verdict in ("pass", "inconclusive", "fail")}
    words = ", ".join(f"{verdict} {share:.3f} (MCSE {math.sqrt(share * (1 - share) / n):.3f})" for verdict, share in shares.items())
    estimates = np.array([row.estimate for row in found])
    print(f"\n{name}: {words}; AUC {estimates.mean():.3f}, SD {estimates.std(ddof=1):.4f}, mean SE {np.mean([row.std_error for row in found]):.4f}")
    return counts


@pytest.mark.parametrize(("n", "repeats", "least"), [(700, 200, 0.9), (2000, 60, 0.95)])
def test_a_model_that_reads_nobody_is_never_refused_and_mostly_passes(n: int, repeats: int, least: float):
    """Its AUC is ½. One refit with the naive interval refuses 37 % at n = 700; twenty refits refuse nobody and pass nearly all."""
    found = repeated(Honest(), n, repeats)
    counts = told(f"known law, n = {n}", found)
    assert counts["fail"] == 0
    assert counts["pass"] / repeats > least - 4 * math.sqrt(least * (1 - least) / repeats)
    estimates, errors, half = (np.array([getattr(row, name) for row in found]) for name in ("estimate", "std_error", "half_width"))
    assert abs(estimates.mean() - 0.5) < 4 * estimates.std() / math.sqrt(repeats)
    assert (np.abs(estimates - 0.5) <= half).mean() >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / repeats)
    assert errors.mean() > estimates.std(ddof=1) * (1 - 4 / math.sqrt(2 * repeats))  # the SE is not too small
    single = np.mean([row.single_refused for row in found])
    naive = math.sqrt((n + 1) / (3 * n * n))  # the SE of the AUC of two halves of n / 2
    expected = norm.sf((0.05 - 1.96 * naive) / naive)
    assert abs(single - expected) < 4 * math.sqrt(expected * (1 - expected) / repeats)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("bootstrap", Memorising()),
        ("bootstrap with 2 % jitter", Memorising(jitter=0.02)),
        ("half real rows, half of the true law", Memorising(fresh=0.5)),
    ],
)
@pytest.mark.parametrize(("n", "repeats"), [(700, 40), (2000, 10)])
def test_a_model_that_memorises_is_always_refused(name: str, recipe: Recipe, n: int, repeats: int):
    found = repeated(recipe, n, repeats)
    assert told(f"{name}, n = {n}", found)["fail"] == repeats
    assert min(row.estimate - row.half_width for row in found) > 0.55


@pytest.mark.parametrize(("n", "repeats"), [(700, 60), (2000, 30)])
def test_a_model_that_is_fitted_honestly_is_seldom_refused(n: int, repeats: int):
    """63 parameters: its AUC is above ½ by what fitting means, less the more patients there are."""
    found = repeated(FittedNormal(), n, repeats)
    counts = told(f"fitted normal law, n = {n}", found)
    assert counts["fail"] / repeats < 0.2 if n == 700 else counts["fail"] == 0
    assert np.mean([row.estimate for row in found]) < 0.55


def simulated(rng: np.random.Generator, *, refits: int, n: int, exposed: float) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Scores in which patients differ in how much they are told: S = ±g_i + e, with g_i exponential."""
    member = np.argsort(rng.random((refits, n)), axis=1) < n // 2
    scores = np.where(member, 1.0, -1.0) * exposed * rng.exponential(size=n) + rng.standard_normal((refits, n))
    return scores, member, {"a tenth": np.arange(n) < n // 10, "a half": rng.random(n) < 0.5}


@pytest.mark.parametrize("exposed", [0.0, 0.15, 0.5])
def test_intervals_cover_the_population_s_auc_simultaneously(exposed: float):
    """95 % of 1,000 simulated data sets (MCSE 0.7 %): within 4 of it below, and not wasteful above."""
    rng = np.random.default_rng(5)
    g = exposed * rng.exponential(size=(2, 1_000_000))
    truth = float(norm.cdf((g[0] + g[1]) / np.sqrt(2)).mean())  # a member told by g against a non-member told by g'
    covered = np.empty((1000, 3), dtype=bool)
    for row in covered:
        found = group_estimates(*simulated(rng, refits=20, n=300, exposed=exposed))
        row[:] = np.abs(found.estimate - truth) <= found.half_width
    print(f"\nexposed {exposed}: simultaneous coverage {covered.all(1).mean():.3f}, all patients {covered[:, 0].mean():.3f}")
    assert covered.all(1).mean() > 0.95 - 4 * 0.007
    assert covered[:, 0].mean() < 0.999
