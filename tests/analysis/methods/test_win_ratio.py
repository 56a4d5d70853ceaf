"""Win ratio, net benefit and win odds against R's rows, a loop over all pairs, and what must hold of them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from tests.witness.win_ratio import pair_matrix, statistics
from trialsim.analysis.methods.win_ratio import WinRatio, finkelstein_schoenfeld, win_counts, win_shares
from trialsim.analysis.pairwise import count_pairs, sides
from trialsim.records import EventData, HierarchyData, ValueData

REFERENCE = Path(__file__).parents[2] / "reference" / "win_ratio"
ROWS = [json.loads(line) for line in (REFERENCE / "rows.jsonl").read_text().splitlines()]
MEASURES = ("win_ratio", "net_benefit", "win_odds")


def hierarchy(row: dict, *, strata: bool = False, levels: int | None = None) -> HierarchyData:
    table = pd.read_csv(REFERENCE / Path(row["inputs"]["data"]).name)
    group = torch.tensor(table.arm.to_numpy(np.int8))[None]
    stratum = torch.tensor(table.stratum.to_numpy(np.int64) - 1)[None] if strata else None
    n_strata = int(stratum.max()) + 1 if strata else 1
    parts: list[EventData | ValueData] = [
        EventData(torch.tensor(table[time].to_numpy(float))[None], torch.tensor(table[event].to_numpy() == 1)[None], group, stratum, n_strata)
        for time, event in (("death_time", "death"), ("recur_time", "recur"))
    ]
    if row["case"].endswith("3lev"):
        parts.append(ValueData(torch.tensor(table.qol.to_numpy(float))[None], group, stratum, n_strata))
    parts = parts[:levels]
    return HierarchyData(tuple(parts), (1,) * len(parts), (0.0,) * len(parts))


@pytest.fixture(scope="module")
def method(method_of):
    return lambda **options: method_of(WinRatio, **{"hierarchy": ["death", "recurrence"], **options})


def natural(measure: str, estimate: float) -> float:
    return estimate if measure == "net_benefit" else math.exp(estimate)


@pytest.mark.parametrize("row", [row for row in ROWS if row["pkg"] == "base"], ids=lambda row: f"{row['case']}-{row['inputs'].get('horizon')}")
def test_counts_estimates_and_errors_are_those_of_all_pairs_in_r(row, method):
    out = {name: next(iter(value.values())) for name, value in row["out"].items()}
    data, given = hierarchy(row), row["inputs"].get("horizon")
    horizon = None if given is None else float(given)
    wins, losses = win_counts(data, horizon=horizon)
    assert (wins.sum().item(), losses.sum().item()) == (out["wins"], out["losses"])
    if "wins_level1" in out:
        assert wins[:, 0].tolist() == [out["wins_level1"], out["wins_level2"]]
        assert losses[:, 0].tolist() == [out["losses_level1"], out["losses_level2"]]
    options = {} if horizon is None else {"horizon": f"{horizon} days"}
    for measure, name, error in (("win_ratio", "wr", "log_wr_se"), ("net_benefit", "nb", "nb_se"), ("win_odds", "win_odds", "log_wo_se")):
        found = method(measure=measure, **options).estimate(data, favours=1)
        if name in out:
            assert natural(measure, found.estimate.item()) == pytest.approx(out[name], rel=1e-9)
            assert found.std_error.item() == pytest.approx(out[error], rel=1e-9)
    if "fs_T" in out:
        t, variance = finkelstein_schoenfeld(data)
        assert (t.item(), variance.item()) == (out["fs_T"], pytest.approx(out["fs_var"], rel=1e-9))
        assert method(test="finkelstein_schoenfeld").estimate(data, favours=1).statistic.item() == pytest.approx(out["fs_z"], rel=1e-9)


@pytest.mark.parametrize("row", [row for row in ROWS if row["pkg"] == "BuyseTest"], ids=lambda row: f"{row['case']}-{row['label'].split()[-1]}")
def test_every_level_is_that_of_buysetest(row, method):
    """BuyseTest lets an event win against a censoring at the same time, which is no strictly longer follow-up: in colon that is one pair."""
    kind = row["label"].split()[-1]
    for level, estimate in row["out"]["estimate"].items():
        data = hierarchy(row, levels=int(level))
        if row["case"] == "WR-colon":
            later = tuple(dataclasses.replace(part, time=torch.where(part.event, part.time, part.time + 0.5)) for part in data.parts)
            data = dataclasses.replace(data, parts=later)
        if kind in ("favorable", "unfavorable"):
            test, reference = sides(data)
            shares = win_shares(test, reference, count_pairs(test, reference, data.favours))
            won = kind == "favorable"
            found, error = (shares.win, shares.win_variance.sqrt()) if won else (shares.loss, shares.loss_variance.sqrt())
            found, error = found.item(), error.item()
        else:
            measure = {"netBenefit": "net_benefit", "winRatio": "win_ratio"}[kind]
            result = method(measure=measure).estimate(data, favours=1)
            found = natural(measure, result.estimate.item())
            error = result.std_error.item() * (found if measure == "win_ratio" else 1.0)
        assert found == pytest.approx(estimate, rel=1e-9)
        assert error == pytest.approx(row["out"]["se"][level], rel=1e-9)


@pytest.mark.parametrize("row", [row for row in ROWS if row["pkg"] == "WINS"], ids=lambda row: f"{row['case']}-{row['label'].split()[-1]}")
def test_estimates_are_those_of_wins(row, method):
    out = row["out"]["Win_statistic"]
    data = hierarchy(row, strata="MH" in row["label"])
    for measure, name in zip(MEASURES, ("Win_Ratio.WR", "Net_Benefit.NB", "Win_Odds.WO"), strict=True):
        assert natural(measure, method(measure=measure).estimate(data, favours=1).estimate.item()) == pytest.approx(out[name], rel=1e-9)


@pytest.mark.parametrize("row", [row for row in ROWS if row["pkg"] == "WR"], ids=lambda row: row["case"])
def test_the_log_ratio_is_that_of_the_package_wr(row, method):
    found = method().estimate(hierarchy(row), favours=1)
    assert found.estimate.item() == pytest.approx(row["out"]["log_LWR"]["weights"], rel=1e-9)
    assert found.std_error.item() == pytest.approx(row["out"]["se_LWR"]["1,1"], rel=1e-9)


def simulated(replicates: int, n: int = 60, *, seed: int = 0, log_hr: float = 0.0, coarse: bool = False, strata: int = 1, shift: float = 0.0) -> HierarchyData:
    """A death, a sooner-is-better recovery and a value with missing ones; two patients of five in the test arm, one of ten not there."""
    generator = torch.Generator().manual_seed(seed)

    def uniform() -> torch.Tensor:
        return torch.rand((replicates, n), generator=generator, dtype=torch.float64)

    group = (torch.arange(n) % 5 < 2).to(torch.int8).expand(replicates, n).contiguous()
    absent = uniform() < 0.1
    stratum = torch.randint(0, strata, (replicates, n), generator=generator) if strata > 1 else None
    parts: list[EventData | ValueData] = []
    censoring = 0.3 + uniform()
    for rate in (1.0, 2.0):
        time = -torch.log(uniform()) / rate / torch.exp(log_hr * group)
        event, time = time <= censoring, torch.minimum(time, censoring)
        time = (time * 8).ceil() if coarse else time
        parts.append(EventData(time.masked_fill(absent, -1.0), event & ~absent, group, stratum, strata))
        censoring = censoring * (0.6 + 0.4 * uniform())
    value = torch.randn((replicates, n), generator=generator, dtype=torch.float64) + shift * group
    value[(uniform() < 0.2) | absent] = torch.nan
    parts.append(ValueData(value.round() if coarse else value, group, stratum, strata))
    return HierarchyData(tuple(parts), (1, -1, 1), (0.0, 0.0, 0.0))


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("follow_up", ["own", "common"])
@pytest.mark.parametrize("favours, thresholds", [((1, -1, 1), (0.0, 0.0, 0.0)), ((1, 1, -1), (0.2, 0.1, 0.7)), ((-1, 1, 1), (0.1, 0.0, 1.0))])
def test_a_loop_over_all_pairs_gives_the_same(follow_up, favours, thresholds, coarse, method):
    data = dataclasses.replace(simulated(4, seed=3, coarse=coarse), favours=favours, thresholds=thresholds)
    there = data.parts[0].time >= 0
    differ = False
    for r in range(4):
        rows = there[r].nonzero()[:, 0].tolist()
        patients = [[(p.time[r, i].item(), p.event[r, i].item()) if isinstance(p, EventData) else p.value[r, i].item() for p in data.parts] for i in rows]
        group, kinds = data.parts[0].group[r, rows].numpy(), ["event", "event", "value"]
        pairs = pair_matrix(patients, group, kinds, list(favours), list(thresholds), common=follow_up == "common")
        differ |= not np.array_equal(pairs, pair_matrix(patients, group, kinds, list(favours), list(thresholds), common=follow_up != "common"))
        wins, losses = win_counts(data, common=follow_up == "common")
        assert (wins[:, r].sum().item(), losses[:, r].sum().item()) == ((pairs == 1).sum(), (pairs == -1).sum())
        for measure, (estimate, error) in statistics(pairs).items():
            found = method(measure=measure, follow_up=follow_up).estimate(data, favours=1)
            assert found.estimate[r].item() == pytest.approx(estimate, rel=1e-10, abs=1e-12)
            assert found.std_error[r].item() == pytest.approx(error, rel=1e-10)
    assert differ, "follow-up of the second part is shorter: own and common must differ somewhere"


def test_strata_are_pooled_by_mantel_haenszel_weights(method):
    data = simulated(6, n=90, seed=5, strata=3)
    stratum = data.parts[0].stratum
    numbers = []
    for level in range(3):
        inside = stratum == level
        parts = tuple(
            dataclasses.replace(p, time=torch.where(inside, p.time, -1.0), event=p.event & inside, stratum=None, n_strata=1)
            if isinstance(p, EventData)
            else dataclasses.replace(p, value=torch.where(inside, p.value, torch.nan), stratum=None, n_strata=1)
            for p in data.parts
        )
        own = method(measure="net_benefit").estimate(dataclasses.replace(data, parts=parts), favours=1)
        n1 = ((parts[0].time >= 0) & (parts[0].group == 1)).sum(-1)
        numbers.append(((n1 * (own.n - n1)).double() / own.n, own.estimate, own.std_error))
    weight = torch.stack([w for w, _, _ in numbers])
    weight = weight / weight.sum(0)
    found = method(measure="net_benefit").estimate(data, favours=1)
    torch.testing.assert_close(found.estimate, (weight * torch.stack([e for _, e, _ in numbers])).sum(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.std_error, (weight**2 * torch.stack([s for _, _, s in numbers]) ** 2).sum(0).sqrt(), rtol=1e-12, atol=0)


def test_a_difference_that_only_rounding_makes_exceed_the_threshold_is_a_tie():
    group = torch.tensor([[1, 1, 0]], dtype=torch.int8)
    value = torch.tensor([[0.3, 0.31, 0.1]], dtype=torch.float64)
    assert 0.3 - 0.1 < 0.2 < 7.3 - 7.1  # rounding goes either way
    for shift, decimals in ((0.0, 2), (7.0, 2)):
        data = HierarchyData((ValueData((value + shift).round(decimals=decimals), group),), (1,), (0.2,))
        wins, losses = win_counts(data)
        assert (wins.item(), losses.item()) == (1, 0)


def test_exchanging_the_arms_changes_the_sign_only(method):
    data = simulated(5, seed=8, coarse=True)
    other = dataclasses.replace(data, parts=tuple(dataclasses.replace(p, group=1 - p.group) for p in data.parts))
    for measure in MEASURES:
        for test in ("wald", "finkelstein_schoenfeld"):
            one, two = (method(measure=measure, test=test).estimate(d, favours=1) for d in (data, other))
            torch.testing.assert_close(one.statistic, -two.statistic, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(one.estimate, -two.estimate, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"measure": "win_odds", "follow_up": "common"}, {"test": "finkelstein_schoenfeld"}])
@pytest.mark.parametrize("strata", [1, 3])
def test_numbers_do_not_depend_on_the_block(options, strata, method, assert_same_bits):
    data = simulated(70, n=101, strata=strata, seed=2)
    for part in data.parts:
        part.group[::3, :20] = 1  # arms of different sizes
    assert_same_bits(method(**options), data)


def test_large_data_is_compared_some_patients_at_a_time(method, monkeypatch):
    data = simulated(3, n=200, seed=4, coarse=True)
    whole = method().estimate(data, favours=1)
    monkeypatch.setattr("trialsim.analysis.pairwise.PAIRS_AT_ONCE", 1000)
    pieces = method().estimate(data, favours=1)
    assert torch.equal(whole.estimate, pieces.estimate)
    assert torch.equal(whole.std_error, pieces.std_error)


def test_a_replicate_that_cannot_be_analysed_says_why(method):
    group = torch.tensor([0, 0, 1, 1], dtype=torch.int8).repeat(5, 1)
    group[1] = 1
    value = torch.tensor([[1.0, 2.0, 1.5, 3.0]], dtype=torch.float64).repeat(5, 1)
    value[2] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    value[3] = 1.0
    value[4, 2:] = torch.nan
    data = HierarchyData((ValueData(value, group),), (1,), (0.0,))
    codes = {measure: method(measure=measure).estimate(data, favours=1) for measure in MEASURES}
    assert codes["win_ratio"].failure.tolist() == [0, 2, 11, 11, 2]
    assert codes["win_odds"].failure.tolist() == [0, 2, 11, 3, 2]
    assert codes["net_benefit"].failure.tolist() == [0, 2, 3, 3, 2]
    for found in codes.values():
        assert torch.equal(torch.isnan(found.statistic), found.failure != 0)
        assert torch.equal(torch.isnan(found.estimate), found.failure != 0)


def test_the_scale_is_that_of_the_measure(method):
    assert [(method(measure=m).scale, method(measure=m).std_error_scale) for m in MEASURES] == [
        ("win_ratio", "log_win_ratio"),
        ("net_benefit", "net_benefit"),
        ("win_odds", "log_win_odds"),
    ]
    with pytest.raises(ValidationError, match="at least 1 item"):
        method(hierarchy=[])


def test_an_effect_favours_the_test_arm(method):
    found = method().estimate(dataclasses.replace(simulated(8, n=300, log_hr=-1.2, seed=6), favours=(1, 1, 1)), favours=1)
    assert (found.statistic > 2).all()
    assert (found.estimate > 0).all()


def test_null_trials_are_rejected_and_covered_as_they_should(method):
    """2,000 null trials of 100 patients: each tail within 3 MCSE (0.0105) of 0.025, plus 0.003 for the small sample; bias of log WR within 4 MCSE."""
    data = simulated(2000, n=100, seed=77)
    found = method().estimate(data, favours=1)
    z = found.statistic[found.failure == 0]
    assert len(z) == 2000
    for rejected in (z > 1.959964, z < -1.959964):
        assert abs(rejected.double().mean().item() - 0.025) < 3 * math.sqrt(0.025 * 0.975 / 2000) + 0.003
    assert abs(found.estimate.mean().item()) < 4 * found.estimate.std().item() / math.sqrt(2000)
