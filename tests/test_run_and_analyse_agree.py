"""What a run finds in a simulated trial is what `analyse` finds in its patients, by the same protocol."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.execution.patients import patient_table
from trialsim.records import Block, TrialRecord
from trialsim.simulate import compile_trial, observe, simulate, true_values
from trialsim.spec import load

TREATMENT = "treatment: {test: new, reference: old}"
PROTOCOL = f"""\
spec: trialsim/1
study: {{id: AGREE}}
arms: {{new: {{type: experimental}}, old: {{type: active_comparator}}}}
population:
  planned_enrollment: 150
  covariates:
    grade: {{dist: categorical, probs: {{"1": 0.3, "2": 0.3, "3": 0.4}}}}
    base: {{dist: normal, mean: 20, sd: 4}}
visits: {{b: {{at: 0 days}}, w2: {{at: 2 weeks}}, w4: {{at: 4 weeks}}, w6: {{at: 6 weeks}}}}
endpoints:
  score: {{type: continuous, outcome: score, at: [w2, w4, w6]}}
  first: {{type: time_to_event, outcomes: [relapse, death]}}
truth:
  outcomes:
    score: {{model: linear_mixed, baseline: base, slope: 1 / week, slope_sd: 0.5 / week, residual: {{sd: 2}}}}
    relapse: {{dist: exponential, median: 8 weeks}}
    death: {{dist: exponential, median: 12 weeks}}
  effects: {{new: {{relapse: {{hr: 0.6}}, score: {{difference: {{w2: -2, w4: -2, w6: 0}}}}}}}}
  censoring: {{dropout: {{dist: exponential, median: 10 weeks}}}}
accrual: {{uniform: 10 weeks}}
randomization: {{method: permuted_block, block_size: 4}}
looks: {{end: {{when: {{calendar: 17 weeks}}}}}}
analyses:
  cox: {{endpoint: first, {TREATMENT}, method: cox, covariates: [grade]}}
  gray: {{endpoint: first, {TREATMENT}, method: gray, cause: relapse}}
  fine_gray: {{endpoint: first, {TREATMENT}, method: fine_gray, cause: death}}
  ancova: {{estimand: at_w4, method: ancova, covariates: [grade, base]}}
  mmrm: {{estimand: at_w4, method: mmrm, covariates: [base]}}
  clda: {{estimand: at_w4, method: clda}}
  gee: {{endpoint: score, {TREATMENT}, method: gee}}
estimands:
  at_w4: {{{TREATMENT}, variable: {{endpoint: score, at: w4}}, summary_measure: difference_in_means}}
simulation: {{seed: 5, replicates: 100}}
"""
MAPPING = "first.time=first_time,first.event=first_cause,arm=arm,score.value=value,score.visit=visit,score.id=patient,score.baseline=base"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agree")
    (path / "p.yaml").write_text(PROTOCOL)
    return path


@pytest.fixture(scope="module")
def record(folder: Path) -> TrialRecord:
    """One trial, and its patients as a file with a row per patient and one with a row per visit."""
    study = load(folder / "p.yaml")
    trial, block = compile_trial(study.cells()[0], study.directory), Block(3, 1)
    record = simulate(trial, block)
    wide = patient_table(trial, observe(trial, block), block, record.cut_time[:, -1]).to_pandas()
    wide.to_parquet(folder / "wide.parquet")
    seen = ["score_w2", "score_w4", "score_w6"]
    long = wide.melt(id_vars=["patient", "arm", "grade", "base"], value_vars=seen, var_name="visit", value_name="value").dropna(subset=["value"])
    # Patients without a visit stay in the data: their baseline is known.
    without = wide[wide[seen].isna().all(axis=1) & wide.randomized].assign(visit="score_w2", value=np.nan)
    assert len(without)
    long = long._append(without[long.columns]).assign(visit=lambda rows: rows.visit.str.removeprefix("score_"))
    long.to_parquet(folder / "long.parquet")
    assert pq.read_table(folder / "wide.parquet").column("first_cause").to_pandas().nunique() == 3
    return record


@pytest.mark.parametrize(
    "name, data", [("cox", "wide"), ("gray", "wide"), ("fine_gray", "wide"), ("ancova", "long"), ("mmrm", "long"), ("clda", "long"), ("gee", "long")]
)
def test_the_same_statistic(folder: Path, record: TrialRecord, name: str, data: str) -> None:
    mapping = MAPPING if name != "cox" else MAPPING.replace("first.event=first_cause", "first.event=first_event")
    if name == "ancova":  # of one visit: patients without it are left out by both
        mapping = mapping.replace(",score.baseline=base", "")
    found = CliRunner().invoke(
        app, ["analyse", str(folder / "p.yaml"), "--data", str(folder / f"{data}.parquet"), "--analysis", name, "--map", mapping, "--json"]
    )
    assert found.exit_code == 0, found.output
    row, simulated = json.loads(found.stdout)["results"][0], record.analyses[name]
    z, n = simulated.z[0, -1].item(), int(simulated.n[0, -1])
    if simulated.df is not None:
        import torch

        from trialsim.analysis.inference import normal_statistic
        from trialsim.records import Estimates

        statistic, df = (torch.tensor([row[key]], dtype=torch.float64) for key in ("statistic", "df"))
        row["statistic"] = normal_statistic(Estimates(statistic=statistic, n=torch.tensor([row["n"]]), failure=torch.tensor([0]), df=df)).item()
    assert row["statistic"] == pytest.approx(z, rel=1e-7)
    assert row["n"] == n


def test_what_says_whether_but_not_why_is_told_where_a_cause_is_asked_for(folder: Path, record: TrialRecord) -> None:
    mapping = MAPPING.replace("first.event=first_cause", "first.event=first_event")
    arguments = ["analyse", str(folder / "p.yaml"), "--data", str(folder / "wide.parquet"), "--analysis", "gray", "--map", mapping]
    assert 'gray: no event in event ("first_event") is of another cause' in CliRunner().invoke(app, arguments).stderr
    table = pq.read_table(folder / "wide.parquet").to_pandas()
    table.assign(first_event=table.first_event.map({True: "true", False: "false"})).to_csv(folder / "wide.csv", index=False)
    found = CliRunner().invoke(app, [*arguments[:3], str(folder / "wide.csv"), *arguments[4:]])
    assert found.exit_code == 3
    assert "says whether there was an event, not of which cause" in found.stderr


def test_an_undeclared_level_of_a_category_is_refused(folder: Path, record: TrialRecord) -> None:
    table = pq.read_table(folder / "wide.parquet").to_pandas()
    table["grade"] = table["grade"].astype(str)
    table.loc[2, "grade"] = "4"
    table.to_parquet(folder / "wrong.parquet")
    mapping = MAPPING.replace("first.event=first_cause", "first.event=first_event")
    found = CliRunner().invoke(app, ["analyse", str(folder / "p.yaml"), "--data", str(folder / "wrong.parquet"), "--analysis", "cox", "--map", mapping])
    assert found.exit_code == 3
    assert '"grade" is not one of its levels (1, 2, 3): row 3' in found.stderr


def test_one_effect_for_all_visits_has_their_average_as_its_truth(folder: Path) -> None:
    study = load(folder / "p.yaml")
    trial = compile_trial(study.cells()[0], study.directory)
    truth = true_values(trial, 100.0)
    assert truth["gee"].value == pytest.approx(-4 / 3)
    assert truth["mmrm"].value == pytest.approx(-2)
