"""From the words of `multiplicity` to adjusted p-values and rejections."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import dunnett as scipy_dunnett
from scipy.stats import multivariate_normal
from statsmodels.stats.multitest import multipletests

from trialsim.analysis.multiplicity import GraphProcedure, Multiplicity
from trialsim.conduct.multiplicity import ManyToOne, adjust, of_family, rejected, weighting_of
from trialsim.design.multiplicity import dunnett

P = [0.012, 0.021, 0.004, 0.3]
NAMES = ["a", "b", "c", "d"]


def graph(test: str = "bonferroni") -> GraphProcedure:
    weights = {"a": 0.5, "b": 0.5, "c": 0.0, "d": 0.0}
    return GraphProcedure.model_validate(
        {"graph": {"weights": weights, "transitions": {"a": {"c": 1}, "b": {"d": 1}, "c": {"b": 1}, "d": {"a": 1}}}, "test": test}
    )


@pytest.mark.parametrize(
    ("procedure", "theirs"), [("bonferroni", "bonferroni"), ("sidak", "sidak"), ("holm", "holm"), ("hochberg", "simes-hochberg"), ("hommel", "hommel")]
)
def test_against_statsmodels(procedure: Multiplicity, theirs: str) -> None:
    assert adjust(P, NAMES, procedure) == pytest.approx(multipletests(P, method=theirs)[1], abs=1e-12)


def test_the_order_of_names_is_the_order_of_testing() -> None:
    assert adjust(P, NAMES, "fixed_sequence") == [0.012, 0.021, 0.021, 0.3]
    assert adjust(P, NAMES, "none") == P
    # Each has a quarter: c is first with 0.004 / 0.25, then a with 0.012 / 0.25; b has inherited, 0.021 / 0.5; d has all in the end.
    assert adjust(P, NAMES, "fallback") == pytest.approx([0.048, 0.048, 0.016, 0.3])


def test_a_graph_by_hand() -> None:
    # a: 0.012 / 0.5; it passes on to c, c to b: 0.021 / 1; b to d.
    assert adjust(P, NAMES, graph()) == pytest.approx([0.024, 0.024, 0.024, 0.3])
    assert all(by_simes <= by_weight + 1e-15 for by_simes, by_weight in zip(adjust(P, NAMES, graph("simes")), adjust(P, NAMES, graph()), strict=True))


def test_a_failed_analysis_counts_as_one() -> None:
    first, failed, last = adjust([0.01, None, 0.02], NAMES[:3], "holm")
    assert failed is None
    assert (first, last) == pytest.approx((0.03, 0.04))


@pytest.mark.parametrize("sides", [1, 2])
def test_dunnett_against_scipy(sides: int) -> None:
    """SciPy's integral is by simulation (1e-4); the first step of the step-down test is its single step."""
    rng = np.random.default_rng(5)
    reference, *arms = (rng.normal(mean, 1.0, n) for mean, n in ((0.0, 20), (0.3, 15), (0.9, 18), (0.1, 12)))
    theirs = scipy_dunnett(*arms, control=reference, alternative="greater" if sides == 1 else "two-sided", rng=np.random.default_rng(1))
    df = sum(map(len, [reference, *arms])) - 4
    from scipy.special import stdtr

    raw = [sides * stdtr(df, -abs(t) if sides == 2 else -t) for t in theirs.statistic]
    ours = adjust([float(p) for p in raw], NAMES[:3], "dunnett", sides=sides, n=[15, 18, 12], n_reference=20, df=df)
    first = int(np.argmin(raw))
    assert ours[first] == pytest.approx(theirs.pvalue[first], abs=5e-4)
    assert all(mine is not None and mine <= single + 5e-4 for mine, single in zip(ours, theirs.pvalue, strict=True))
    with pytest.raises(ValueError, match="patients in every arm"):
        adjust([0.1], ["a"], "dunnett")


def test_rejections_are_adjusted_p_values_below_alpha() -> None:
    rng = np.random.default_rng(3)
    n, n_reference = [40.0, 30.0, 20.0, 30.0], 40.0
    loadings = np.repeat(dunnett.loadings(n_reference, np.array([n])), 60, axis=0)
    z = rng.normal(1.6, 1.0, (60, 4))
    z[0, 1] = np.nan
    p = ndtr(-z)
    arms = ManyToOne(z, loadings, None, 1)
    for procedure in (
        "bonferroni",
        "sidak",
        "holm",
        "hochberg",
        "hommel",
        "fixed_sequence",
        "fallback",
        "dunnett",
        graph(),
        graph("simes"),
        graph("parametric"),
    ):
        hit = rejected(p, procedure, NAMES, alpha=0.05, arms=arms, groups=[range(4)])  # type: ignore[arg-type]
        for row in range(60):
            given = [None if np.isnan(value) else float(value) for value in p[row]]
            adjusted = adjust(given, NAMES, procedure, sides=1, n=n, n_reference=n_reference)  # type: ignore[arg-type]
            assert hit[row].tolist() == [value is not None and value <= 0.05 for value in adjusted]
        assert 20 < hit.sum() < 230


def test_what_hands_on_alpha_is_a_weighting() -> None:
    for procedure in ("bonferroni", "holm", "fixed_sequence", "fallback", graph()):
        weighting = weighting_of(procedure, NAMES)  # type: ignore[arg-type]
        assert weighting is not None
        assert weighting.shares(0).sum() == pytest.approx(1.0)
    for procedure in ("none", "sidak", "hochberg", "hommel", "dunnett", graph("simes"), graph("parametric")):
        assert weighting_of(procedure, NAMES) is None  # type: ignore[arg-type]


def test_a_parametric_graph_knows_the_correlations_of_arms_of_one_analysis_only() -> None:
    """Two endpoints of two arms each: between endpoints the joint distribution is unknown, and Bonferroni's inequality stands in."""
    names = ["a:low", "a:high", "b:low", "b:high"]
    pairs = {name: {names[k ^ 1]: 1.0} for k, name in enumerate(names)}
    procedure = GraphProcedure.model_validate({"graph": {"weights": dict.fromkeys(names, 0.25), "transitions": pairs}, "test": "parametric"})
    p, sizes = [0.004, 0.006, 0.9, 0.8], {"n": [40, 40, 40, 40], "n_reference": 40}
    first = adjust(p, names, procedure, **sizes, groups=[(0, 1), (2, 3)])[0]
    z = -ndtri(0.004)
    joint = 1 - multivariate_normal(cov=[[1, 0.5], [0.5, 1]], allow_singular=False).cdf([z, z])
    assert first == pytest.approx(2 * joint, abs=1e-5), "half of alpha for each analysis"
    ring = {name: {names[(k + 1) % 4]: 1.0} for k, name in enumerate(names)}
    procedure = GraphProcedure.model_validate({"graph": {"weights": dict.fromkeys(names, 0.25), "transitions": ring}, "test": "parametric"})
    p = [0.0040, 0.0041, 0.0042, 0.0043]
    known, taken_for_known = (np.array(adjust(p, names, procedure, **sizes, groups=groups)) for groups in ([(0, 1), (2, 3)], None))
    assert (known >= taken_for_known).all()
    assert known.max() > 1.02 * taken_for_known.max(), "correlations taken for known are too kind"


def test_a_one_sided_test_counts_twice_in_a_two_sided_family() -> None:
    assert of_family(0.0354, tested_sides=1, sides=2) == pytest.approx(0.0708)
    assert of_family(0.0354, tested_sides=2, sides=2) == of_family(0.0354, tested_sides=1, sides=1) == 0.0354
    assert of_family(0.6, tested_sides=1, sides=2) == 1.0
    assert of_family(None, tested_sides=1, sides=2) is None
