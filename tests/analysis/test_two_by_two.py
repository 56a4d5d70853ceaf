"""Score statistics and intervals of proportions against ratesci, gsDesign and R; the restricted maximum against a search."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from scipy import optimize
from scipy.special import ndtri, xlogy

from trialsim.analysis.two_by_two import (
    Table,
    agresti_caffo,
    clopper_pearson,
    effect,
    recovered,
    restricted,
    score,
    score_interval,
    unpooled_variance,
    wilson,
)

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "reference" / "two_by_two" / "rows.jsonl").read_text().splitlines()]
QUANTILE = float(ndtri(0.975))
MEASURES = {"RD": "difference", "Difference": "difference", "RR": "ratio", "OR": "odds_ratio"}


def _number(value: float) -> torch.Tensor:
    return torch.tensor([float(value)], dtype=torch.float64)


def _table(inputs: dict[str, float]) -> Table:
    return Table(*(_number(inputs[name]) for name in ("x1", "n1", "x2", "n2")))


def _natural(measure: str, value: torch.Tensor) -> float:
    return value.item() if measure == "difference" else math.exp(value.item())


def _measure(label: str) -> str:
    return next(MEASURES[word] for word in label.split() if word in MEASURES)


def _rows(pkg: str, *words: str) -> list:
    found = [row for row in ROWS if row["pkg"] == pkg and any(word in row["label"] for word in words)]
    assert found
    return [pytest.param(row, id=f"{row['case']} {row['label'][:45]}") for row in found]


@pytest.mark.parametrize("row", _rows("ratesci", "Miettinen-Nurminen", "Mee/Koopman"))
def test_score_intervals_are_those_of_ratesci(row):
    measure, corrected = _measure(row["label"]), "Miettinen" in row["label"]
    low, high = score_interval(_table(row["inputs"]), measure, quantile=QUANTILE, corrected=corrected)
    theirs = row["out"]["est"]
    assert _natural(measure, low) == pytest.approx(float(theirs["1"]), rel=1e-6, abs=1e-6)
    assert _natural(measure, high) == pytest.approx(float(theirs["3"]), rel=1e-6, abs=1e-6)
    assert _natural(measure, effect(_table(row["inputs"]), measure)) == pytest.approx(float(theirs["2"]), abs=1e-9)
    if "pval" in row["out"]:
        z = score(_table(row["inputs"]), measure, _number(0.0), corrected=corrected)
        assert z.item() == pytest.approx(row["out"]["pval"]["scorenull"], abs=1e-8)


@pytest.mark.parametrize("row", _rows("ratesci", "MOVER"))
def test_newcombes_intervals_are_those_of_ratesci(row):
    measure = _measure(row["label"])
    low, high = recovered(_table(row["inputs"]), measure, lambda x, n: wilson(x, n, quantile=QUANTILE))
    theirs = row["out"]["est"]
    assert _natural(measure, low) == pytest.approx(float(theirs["1"]), rel=1e-9, abs=1e-9)
    # Without a responder in the reference the ratio has no upper limit; ratesci says NaN.
    assert _natural(measure, high) == (pytest.approx(float(theirs["3"]), rel=1e-9) if theirs["3"] != "NaN" else math.inf)


@pytest.mark.parametrize("row", _rows("gsDesign", "testBinomial"))
def test_score_statistics_against_a_value_are_those_of_gsdesign(row):
    inputs = row["inputs"]
    z = score(_table(inputs), "difference", _number(inputs["delta0"]), corrected=inputs["adj"] == 1)
    assert z.item() == pytest.approx(row["out"]["z"]["1"], abs=1e-9)


@pytest.mark.parametrize("row", _rows("gsDesign", "ciBinomial"))
def test_score_intervals_are_those_of_gsdesign_to_its_own_precision(row):
    measure = _measure(row["label"])
    limits = score_interval(_table(row["inputs"]), measure, quantile=QUANTILE, corrected="adj=1" in row["label"])
    for limit, index in zip(limits, "12", strict=True):
        theirs = float(row["out"]["ci"][index])  # -Inf: no lower limit, which is 0 for an odds ratio
        assert _natural(measure, limit) == pytest.approx(0.0 if theirs == -math.inf else theirs, rel=5e-5, abs=5e-5)


@pytest.mark.parametrize("row", _rows("base", "Wald RD CI"))
def test_simple_intervals_are_those_of_the_formula(row):
    table, out = _table(row["inputs"]), row["out"]
    for name, measure in (("wald_rd", "difference"), ("katz", "ratio"), ("woolf", "odds_ratio")):
        if name in out:
            half = QUANTILE * unpooled_variance(table, measure).sqrt()
            for sign, index in ((-1, "1"), (1, "2")):
                assert _natural(measure, effect(table, measure) + sign * half) == pytest.approx(out[name][index], rel=1e-9)
    for limit, index in zip(agresti_caffo(table, quantile=QUANTILE), "12", strict=True):
        assert limit.item() == pytest.approx(out["agresti_caffo"][index], rel=1e-9)


@pytest.mark.parametrize("row", [row for row in ROWS if row["case"].startswith("BI")], ids=lambda row: row["case"])
def test_intervals_of_one_proportion_are_those_of_r(row):
    x, n = _number(row["inputs"]["x"]), _number(row["inputs"]["n"])
    for limits, name in ((clopper_pearson(x, n, alpha_one_sided=0.025), "cp"), (wilson(x, n, quantile=QUANTILE), "wilson")):
        assert [limit.item() for limit in limits] == pytest.approx([row["out"][name]["1"], row["out"][name]["2"]], rel=1e-10)


@pytest.mark.parametrize(
    "measure, null", [("difference", -0.2), ("difference", 0.35), ("ratio", -0.5), ("ratio", 0.9), ("odds_ratio", -1.2), ("odds_ratio", 0.7)]
)
@pytest.mark.parametrize("counts", [(15, 40, 8, 42), (0, 12, 5, 30), (9, 9, 3, 11), (1, 60, 0, 20), (25, 40, 30, 35)])
def test_the_restricted_maximum_is_the_one_a_search_finds(measure, null, counts):
    x1, n1, x0, n0 = counts

    def other(p0: float) -> float:
        if measure == "difference":
            return p0 + null
        return p0 * math.exp(null) if measure == "ratio" else p0 * math.exp(null) / (1 - p0 + p0 * math.exp(null))

    def against(p0: float) -> float:
        p1 = min(max(other(p0), 0.0), 1.0)
        return -(xlogy(x1, p1) + xlogy(n1 - x1, 1 - p1) + xlogy(x0, p0) + xlogy(n0 - x0, 1 - p0))

    low, high = {"difference": (max(0.0, -null), min(1.0, 1 - null)), "ratio": (0.0, min(1.0, math.exp(-null))), "odds_ratio": (0.0, 1.0)}[measure]
    theirs = optimize.minimize_scalar(against, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    p1, p0 = restricted(Table(*map(_number, counts)), measure, _number(null))
    assert p1.item() == pytest.approx(other(p0.item()), abs=1e-9)
    assert against(p0.item()) <= theirs.fun + 1e-7
    assert p0.item() == pytest.approx(theirs.x, abs=2e-5)
