"""Fisher's exact test against R and SciPy; ends of the range, same bits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from scipy import stats
from scipy.stats.contingency import odds_ratio

from trialsim.analysis import p_value
from trialsim.analysis.methods.fisher import Fisher
from trialsim.records import ValueData

LINES = (Path(__file__).parents[2] / "reference" / "two_by_two" / "rows.jsonl").read_text().splitlines()
ROWS = [row for row in map(json.loads, LINES) if row["pkg"] == "stats" and row["case"].startswith("TT")]
UNIROOT = 1.3e-4
"""R solves for the odds ratio, or its inverse where that is below 1, to 1.22e-4."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["case"])
def test_p_values_and_estimates_are_those_of_r(row, table_data, method_of):
    inputs, out = row["inputs"], row["out"]
    data = table_data(inputs["x1"], inputs["n1"], inputs["x2"], inputs["n2"])
    found = method_of(Fisher).estimate(data, favours=1)
    assert p_value(found, sides=2).item() == pytest.approx(out["fisher_two"]["1"], rel=1e-9)
    for favours, name in ((1, "fisher_greater"), (-1, "fisher_less")):
        one_sided = method_of(Fisher, sides=1).estimate(data, favours=favours)
        assert p_value(one_sided, sides=1).item() == pytest.approx(out[name]["1"], rel=1e-9)
    for ours, theirs in ((found.estimate, out["or_cmle"]["1"]), (found.ci_low, out["or_ci"]["1"]), (found.ci_high, out["or_ci"]["2"])):
        ours, theirs = math.exp(ours.item()), float(theirs)
        assert ours == theirs or min(ours, 1 / ours) == pytest.approx(min(theirs, 1 / theirs), abs=UNIROOT)


@pytest.mark.parametrize("counts", [(15, 40, 8, 42), (3, 9, 7, 12), (9, 80, 15, 85), (30, 200, 45, 190)])
def test_the_odds_ratio_and_its_limits_are_those_of_scipy(counts, table_data, method_of):
    x1, n1, x0, n0 = counts
    found = method_of(Fisher).estimate(table_data(*counts), favours=1)
    theirs = odds_ratio([[x1, n1 - x1], [x0, n0 - x0]], kind="conditional")
    interval = theirs.confidence_interval(0.95)
    assert math.exp(found.estimate.item()) == pytest.approx(theirs.statistic, rel=1e-8)
    assert (math.exp(found.ci_low.item()), math.exp(found.ci_high.item())) == pytest.approx((interval.low, interval.high), rel=1e-8)
    assert p_value(found, sides=2).item() == pytest.approx(stats.fisher_exact([[x1, n1 - x1], [x0, n0 - x0]]).pvalue, rel=1e-9)


def test_the_ends_of_the_range(table_data, method_of):
    none = method_of(Fisher).estimate(table_data(0, 20, 0, 30), favours=1)
    assert none.failure.item() == 0
    assert p_value(none, sides=2).item() == 1.0
    assert math.isnan(none.estimate.item())
    all_of_one = method_of(Fisher, sides=1).estimate(table_data(20, 20, 0, 30), favours=1)
    assert all_of_one.estimate.item() == math.inf
    assert p_value(all_of_one, sides=1).item() == pytest.approx(1 / math.comb(50, 20), rel=1e-9)


def test_an_empty_arm_fails(simulated, method_of):
    data = simulated("binary", replicates=2, n=20)
    value = data.value.masked_fill((data.group == 1) & (torch.arange(2) == 1)[:, None], torch.nan)
    found = method_of(Fisher).estimate(ValueData(value=value, group=data.group), favours=1)
    assert found.failure.tolist() == [0, 2]


@pytest.mark.parametrize("sides", [1, 2])
def test_numbers_do_not_depend_on_the_block(sides, simulated, assert_same_bits, method_of):
    data = simulated("binary", replicates=16, n=150, absent=True)
    value = data.value.clone()
    value[::2, 20:] = torch.nan  # small tables beside large ones
    assert_same_bits(method_of(Fisher, sides=sides), ValueData(value=value, group=data.group))
