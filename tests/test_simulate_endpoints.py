"""Endpoints of every kind through whole trials: rpact's simulations, equal bits, and what each method is given at a cut."""

from __future__ import annotations

import csv
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from trialsim.conduct.comparison import Comparison
from trialsim.records import AnalysisRecord, Block, EventData, HierarchyData, RecurrentData, TrialRecord, ValueData, VisitData
from trialsim.simulate import Trial, compile_trial, observe, simulate
from trialsim.spec import load

KINDS = Path(__file__).parent / "specs" / "valid" / "endpoints_of_every_kind.yaml"
RATES = Path(__file__).parent / "reference" / "simulated_rates_rpact.csv"
N = 20_480

TRIAL = """
spec: trialsim/1
study: {id: RATES}
arms: {drug: {}, placebo: {}}
population: {planned_enrollment: 300}
visits: {reply: {at: 0 days}}
endpoints: {response: {type: binary, outcome: response, at: [reply]}}
truth: {outcomes: {response: {dist: bernoulli, p: 0.3}}, effects: {drug: {response: {p: 0.4}}}}
accrual: {uniform: 300 days}
randomization: {ratio: {drug: 1, placebo: 1}, method: permuted_block, block_size: 2}
analyses: {primary: {endpoint: response, treatment: {test: drug, reference: placebo}, method: proportions, test: pooled, alpha: 0.025, sides: 1}}
simulation: {seed: 3}
"""
LOOKS = "interims: {timing: {information: completers, at_visit: reply, at: [150, 225], final: 300}, efficacy: {spending: lan_demets_obrien_fleming}}\n"


def compiled(path: Path, **sets: Any) -> Trial:
    study = load(path, sets)
    return compile_trial(next(cell for cell in study.cells() if cell.role != "null_hypothesis"), study.directory)


def rpact(case: str) -> dict[tuple[str, str], tuple[float, float]]:
    with RATES.open() as file:
        return {
            (row["output"], row["index"]): (float(row["value"]), float(row["mcse"]) if row["mcse"] != "NA" else 0.0)
            for row in csv.DictReader(file)
            if row["case"] == case
        }


def close(share: float, expected: tuple[float, float], n: int = N) -> bool:
    """Within 3 combined MCSEs."""
    return abs(share - expected[0]) < 3 * math.hypot(math.sqrt(share * (1 - share) / n), expected[1])


def test_proportions_reject_as_often_as_in_rpact_and_by_enumeration(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(TRIAL)
    power = float(simulate(compiled(path), Block(0, N)).analyses["primary"].reject.any(-1).double().mean())
    assert close(power, rpact("OC-R-048")["overallReject", "1"])
    # Every pair of binomial counts of 150 patients, by the formula of the pooled z.
    k = torch.arange(151, dtype=torch.float64)
    a, b = k[:, None] / 150, k[None] / 150
    pooled = (a + b) / 2
    z = (a - b) / (pooled * (1 - pooled) * 2 / 150).sqrt()
    chance = torch.from_numpy(stats.binom(150, 0.4).pmf(k.numpy()))[:, None] * torch.from_numpy(stats.binom(150, 0.3).pmf(k.numpy()))[None]
    assert close(power, (float((chance * (z >= stats.norm.isf(0.025))).sum()), 0.0))


def test_a_group_sequential_trial_of_proportions_is_rpacts(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(TRIAL + LOOKS)
    record = simulate(compiled(path), Block(0, N))
    expected, reject = rpact("OC-R-049"), record.analyses["primary"].reject.double()
    for look in range(3):
        assert close(float(reject[:, look].mean()), expected["rejectPerStage", f"{look + 1},1"])
    n = record.n_enrolled.amax(-1).double()
    assert abs(float(n.mean()) - expected["expectedNumberOfSubjects", "1"][0]) < 3 * float(n.std()) * math.sqrt(1 / N + 1 / 50_000)
    assert sorted(set(n.tolist())) == [150.0, 225.0, 300.0]


def everything(record: TrialRecord) -> list[Tensor]:
    tensors = [record.cut_time, record.n_enrolled, record.stop_look, *record.n_events.values()]
    for analysis in record.analyses.values():
        tensors += [value for field in fields(AnalysisRecord) if (value := getattr(analysis, field.name)) is not None]
    return tensors


@pytest.mark.parametrize("size", [1, 7])
def test_trials_of_every_kind_of_endpoint_have_the_same_bits_in_any_block(size: int) -> None:
    trial = compiled(KINDS)
    whole = everything(simulate(trial, Block(0, 14)))
    parts = [everything(simulate(trial, Block(first, size))) for first in range(0, 14, size)]
    for index, expected in enumerate(whole):
        found = torch.cat([part[index] for part in parts])
        assert torch.equal(found.double().nan_to_num(-9.0), expected.double().nan_to_num(-9.0))


# What a method is given -----------------------------------------------------------------------------------------------------

BLOCK = Block(0, 6)
SEEN, LATE = 365.25, 550.0


@pytest.fixture(scope="module")
def world() -> Any:
    trial = compiled(KINDS)
    return trial, observe(trial, BLOCK)


def at_cut(world: Any, name: str, cut: float = SEEN, rows: list[int] | None = None, **changes: Any) -> Any:
    from dataclasses import replace

    trial, observables = world
    chosen = torch.tensor(rows if rows is not None else list(range(BLOCK.size)))
    plan = replace(trial.analyses[name], **changes)
    return Comparison(plan, observables, name, len(trial.arms)).data(torch.full((len(chosen),), cut, dtype=torch.float64), chosen)


def test_visits_up_to_the_analysed_one_as_seen_by_the_cut(world: Any) -> None:
    _, observables = world
    data, entry = at_cut(world, "primary", cut=LATE), observables.enrolment.entry_time
    assert isinstance(data, VisitData)
    assert data.value.shape == (6, 240, 2)
    assert data.at == 1
    for place, day in enumerate((182.0, 364.0)):
        too_late = (entry + day > LATE).expand(6, 240)
        assert data.value[..., place][too_late].isnan().all()
        seen = ~too_late & ~(observables.dropout_time < day)
        missing = data.value[..., place][seen].isnan().double().mean()
        assert 0.01 < float(missing) < 0.12  # 5 % are missing though the patient came
    assert torch.equal(data.baseline.nan_to_num(-1.0)[:, entry[0] <= LATE], observables.cohort.columns["start"][:, entry[0] <= LATE])
    assert torch.equal(at_cut(world, "primary", cut=LATE, visit="w26", visits=("w26",)).value[..., 0].nan_to_num(-9), data.value[..., 0].nan_to_num(-9))
    part = at_cut(world, "primary", cut=LATE, rows=[4, 1])
    assert torch.equal(part.value.nan_to_num(-9), data.value[[4, 1]].nan_to_num(-9))


def test_counts_are_of_the_time_observed(world: Any) -> None:
    _, observables = world
    data, entry = at_cut(world, "flares"), observables.enrolment.entry_time
    assert isinstance(data, ValueData)
    observed = torch.minimum((SEEN - entry).clamp(max=364.0), observables.dropout_time)
    there = observed > 0
    assert torch.equal(there, ~data.value.isnan())
    assert torch.equal(data.exposure[there], observed[there])
    course = observables.counts["flares", "w52"].course
    by_hand = sum((course.event(number) <= observed).double() for number in range(1, 40))
    assert torch.equal(data.value[there], by_hand[there])
    later = at_cut(world, "flares", cut=2 * SEEN)
    assert (later.value >= data.value)[there].all()
    alone = at_cut(world, "lesions", rows=[2])
    assert alone.exposure is None
    assert torch.equal(alone.value.nan_to_num(-9), at_cut(world, "lesions").value[[2]].nan_to_num(-9))


def test_recurrent_events_lie_within_follow_up(world: Any) -> None:
    from trialsim.analysis.methods.lwyy import Lwyy

    method = Lwyy.model_validate({"method": "lwyy", "endpoint": "stays", "treatment": {"test": "drug", "reference": "placebo"}})
    _, observables = world
    data = at_cut(world, "flares", endpoint="stays", visit=None, method=method)
    assert isinstance(data, RecurrentData)
    entry = observables.enrolment.entry_time
    assert torch.equal(data.follow_up < 0, (entry > SEEN).expand(6, 240))
    finite = data.time.isfinite()
    assert (data.time[finite] <= data.follow_up[..., None].expand_as(data.time)[finite]).all()
    assert (data.time[..., 1:] >= data.time[..., :-1]).all()
    assert torch.equal(finite.sum(-1).double(), observables.counts["stays", None].course.count(data.follow_up))
    few = at_cut(world, "flares", endpoint="stays", visit=None, method=method, rows=[5])
    width = few.time.shape[-1]
    assert torch.equal(few.time, data.time[[5], :, :width])


def test_causes_compete(world: Any) -> None:
    _, observables = world
    data = at_cut(world, "cause", cut=500.0)
    assert isinstance(data, EventData)
    assert data.competing is not None
    assert not bool((data.event & data.competing).any())
    time, any_event = observables.events["pfs"].at(torch.full((6,), 500.0, dtype=torch.float64), observables.enrolment.entry_time)
    assert torch.equal(data.event | data.competing, any_event)
    assert torch.equal(data.time, time)
    other = at_cut(world, "cause", cut=500.0, cause=None)
    assert other.competing is None
    assert 0 < int(data.competing.sum()) < int(data.event.sum())


def test_a_hierarchy_has_its_parts_in_the_same_patients(world: Any) -> None:
    data = at_cut(world, "wins")
    assert isinstance(data, HierarchyData)
    assert [type(part) for part in data.parts] == [EventData, ValueData]
    assert data.favours == (1, -1)  # a longer time wins, a lower score wins
    assert torch.equal(data.parts[0].group, data.parts[1].group)


def test_the_arms_of_a_joint_model_are_numbered_and_others_left_out(tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "arms.yaml"
    path.write_text(
        TRIAL.replace("arms: {drug: {}, placebo: {}}", "arms: {low: {}, drug: {}, placebo: {}, high: {}}")
        .replace("ratio: {drug: 1, placebo: 1}", "ratio: {low: 1, drug: 1, placebo: 1, high: 1}")
        .replace("block_size: 2", "block_size: 4")
    )
    trial = compiled(path)
    observables, plan = observe(trial, BLOCK), trial.analyses["primary"]
    cut, rows = torch.full((6,), 400.0, dtype=torch.float64), torch.arange(6)
    arm = observables.enrolment.arm
    two = Comparison(plan, observables, "primary", 4).data(cut, rows)
    assert torch.equal(~two.value.isnan(), (arm == 1) | (arm == 2))
    three = Comparison(replace(plan, others=(0,)), observables, "primary", 4).data(cut, rows)
    assert three.n_groups == 3
    for code, group in ((1, 1), (2, 0), (0, 2)):
        assert (three.group[arm == code] == group).all()
    assert torch.equal(~three.value.isnan(), arm != 3)


def test_information_of_a_count_is_its_patients(tmp_path: Path) -> None:
    """A final look that comes before its patients do spends at patients, not at the events they had."""
    path = tmp_path / "counts.yaml"
    text = TRIAL.replace("{type: binary, outcome: response, at: [reply]}", "{type: count, outcome: response, at: [reply], direction: lower_is_better}")
    text = text.replace("{dist: bernoulli, p: 0.3}", "{dist: poisson, mean: 9}").replace("{p: 0.4}", "{rate_ratio: 1}")
    text = text.replace("method: proportions, test: pooled", "method: poisson")
    late = "{spending: lan_demets_obrien_fleming}"
    path.write_text(text + f"interims: {{timing: {{information: calendar, at: [150 days], final: 300 days}}, efficacy: {late}}}\n")
    path.write_text(path.read_text().replace("method: poisson", "method: poisson, information: {planned: 300}"))
    found = simulate(compiled(path), Block(0, 4)).analyses["primary"]
    # Half of the patients are there at day 150, though they had several times 300 events.
    assert found.n[:, 0].tolist() == [150] * 4
    assert torch.allclose(found.efficacy_z[:, 0], torch.tensor(2.9626, dtype=torch.float64), atol=1e-4)
