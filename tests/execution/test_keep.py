"""What is kept of single trials: patients whose re-analysis gives the stored numbers, and stories that are the stored records."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.formula.api as smf
from lifelines.statistics import logrank_test

from trialsim.execution import chunks
from trialsim.execution.manifest import Settings
from trialsim.execution.progress import Tally
from trialsim.execution.run import resume_run, start_run
from trialsim.spec import load

RICH = """\
spec: trialsim/1
study: {id: RICH}
parameters: {hr: 0.5}
arms: {low: {type: experimental}, high: {type: experimental}, none: {type: placebo_comparator}}
population:
  planned_enrollment: 90
  covariates:
    grade: {dist: categorical, probs: {mild: 0.4, fair: 0.3, poor: 0.3}}
    age: {dist: normal, mean: 60 years, sd: 8 years}
    dropout: {dist: bernoulli, p: 0.5}
visits: {w4: {at: 4 weeks}, w8: {at: 8 weeks}}
endpoints:
  os: {type: time_to_event, outcome: death, level: primary}
  pain: {type: continuous, outcome: pain, at: [w4, w8], direction: lower_is_better, level: secondary}
  score: {type: continuous, outcome: score, at: [w8], level: secondary}
truth:
  outcomes:
    death: {dist: exponential, median: 8 months, prognostic: {grade: {hr: 1.6, level: poor}}}
    pain: {dist: normal, mean: 5, sd: 2}
    score: {dist: normal, mean: 20, sd: 4, prognostic: {age: {shift: 1, per: 10 years, center: 60 years}}}
  effects: {high: {death: {hr: $hr}, pain: {difference: -1}, score: {difference: 2}}}
  censoring: {dropout: {dist: exponential, rate: 0.04 / month}}
accrual: {rate: 6 / month}
randomization: {method: stratified_block, stratify_by: [grade], block_size: 6}
analyses:
  primary: {endpoint: os, treatment: {test: high, reference: none}, method: logrank, stratify_by: [grade], estimate: cox, alpha: 0.025, sides: 1}
  pain: {endpoint: pain, treatment: {test: high, reference: none}, method: t_test, variance: pooled, alpha: 0.05, sides: 2}
  score: {endpoint: score, treatment: {test: high, reference: none}, method: ancova, covariates: [age], alpha: 0.05, sides: 2}
interims:
  analysis: primary
  timing: {information: events, final: 50, fractions: [0.4, 0.7], not_after: 25 months}
  efficacy: {spending: lan_demets_pocock}
  futility: {hazard_ratio_above: [1.1, 0.9], binding: false}
scenarios: {h0: {role: null_hypothesis, set: {hr: 1.0}}, base: {}}
simulation: {seed: 5, replicates: 80, keep: {example_trials: 70, patient_level: 66}}
"""


def run(folder: Path, text: str, *, replicates: int | None = None) -> Path:
    protocol = folder / "p.yaml"
    protocol.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", 64)
        path, _ = start_run(load(protocol), only={}, replicates=replicates, out=folder / "run", settings=Settings(workers=1, block_size=16), progress=Tally())
    return path


@pytest.fixture(scope="module")
def rich(tmp_path_factory) -> Path:
    """Three arms, three looks, strata, event and value endpoints; two chunks a cell, the first 66 of 80 replicates kept."""
    return run(tmp_path_factory.mktemp("rich"), RICH)


@pytest.fixture(scope="module")
def patients(rich) -> pd.DataFrame:
    return pd.read_parquet(rich / "cells" / "001" / "patients.parquet")


@pytest.fixture(scope="module")
def stored(rich) -> pd.DataFrame:
    """The stored trials of the same cell in long form; the last look of each."""
    return pd.concat(pd.read_parquet(path) for path in sorted((rich / "cells" / "001").glob("chunk-*.parquet"))).sort_values(["analysis", "replicate", "look"])


def last(stored: pd.DataFrame, analysis: str) -> pd.DataFrame:
    return stored[stored.analysis == analysis].groupby("replicate").last()


def test_the_columns_and_who_is_there(patients, stored):
    assert list(patients.columns) == [
        *("replicate", "patient", "randomized", "entry_time", "arm", "stratum", "grade", "age", "covariate_dropout"),
        *("os_time", "os_event", "pain_w4", "pain_w8", "score_w8", "dropout"),
    ]
    assert list(patients.replicate.unique()) == list(range(66))
    assert (patients.groupby("replicate").patient.nunique() == 90).all()
    trials = last(stored, "primary").loc[:65]
    assert (patients.groupby("replicate").randomized.sum() == trials.n_enrolled).all()
    for arm in ("low", "high", "none"):
        assert ((patients.arm == arm).groupby(patients.replicate).sum() == trials[f"allocated_{arm}"]).all()
    assert (patients.os_event.eq(True).groupby(patients.replicate).sum() == trials.events_os).all()
    assert (patients.grade.cat.codes[patients.randomized] == patients.stratum[patients.randomized]).all()
    assert set(patients.grade) == {"mild", "fair", "poor"}


def test_nothing_is_seen_after_the_cut(patients, stored):
    cut = patients.replicate.map(last(stored, "primary").cut_time)
    absent = patients[~patients.randomized]
    assert 0 < len(absent) < len(patients)
    assert (patients.randomized == (patients.entry_time <= cut)).all()
    assert absent[["arm", "stratum", "os_time", "os_event", "pain_w4", "pain_w8", "score_w8", "dropout"]].isna().all().all()
    there, cut = patients[patients.randomized], cut[patients.randomized]
    assert there[["arm", "stratum", "os_time", "os_event", "dropout"]].notna().all().all()
    assert (there.entry_time + there.os_time <= cut + 1e-9).all()
    # Whoever had neither event nor dropout is censored at the cut, to the last bit.
    under_observation = ~there.os_event.astype(bool) & ~there.dropout.astype(bool)
    assert (there.os_time[under_observation] == (cut - there.entry_time)[under_observation]).all()
    for days, column in ((28, "pain_w4"), (56, "pain_w8"), (56, "score_w8")):
        reached = there.entry_time + days <= cut
        assert there[column][~reached].isna().all()
        # A visit that was reached is missing exactly after a dropout; a death does not end visits in this protocol.
        lost = there.dropout.astype(bool) & ~there.os_event.astype(bool) & (there.os_time < days)
        alive_or_dead_later = ~there.os_event.astype(bool) | (there.os_time >= days)
        assert (there[column].isna() == lost)[reached & alive_or_dead_later].all()


def stratified_logrank_z(time: np.ndarray, event: np.ndarray, test: np.ndarray, stratum: np.ndarray) -> float:
    """From the definition: observed minus expected over hypergeometric variance, positive where the test arm fares better."""
    score = variance = 0.0
    for level in np.unique(stratum):
        t, e, g = time[stratum == level], event[stratum == level], test[stratum == level]
        for moment in np.unique(t[e]):
            n, n1, d = (t >= moment).sum(), (g & (t >= moment)).sum(), (e & (t == moment)).sum()
            score += (e & g & (t == moment)).sum() - d * n1 / n
            variance += d * (n1 / n) * (1 - n1 / n) * (n - d) / max(n - 1, 1)
    return -score / math.sqrt(variance)


def test_kept_patients_give_the_stored_statistics(patients, stored):
    """An independent log-rank, t-test and ANCOVA of every kept trial at its stopping cut."""
    for replicate, trial in patients[patients.arm.isin(["high", "none"])].groupby("replicate"):
        is_test = (trial.arm == "high").to_numpy()
        primary = last(stored, "primary").loc[replicate]
        event = trial.os_event.to_numpy(dtype=bool)
        z = stratified_logrank_z(trial.os_time.to_numpy(), event, is_test, trial.stratum.to_numpy())
        assert primary.z == pytest.approx(z, rel=1e-9)
        assert (primary.n, primary.n_events) == (len(trial), event.sum())
        frame = trial.assign(test=is_test.astype(float))
        for analysis, formula in (("pain", "pain_w8 ~ test"), ("score", "score_w8 ~ test + age")):
            fit = smf.ols(formula, frame).fit()
            found = last(stored, analysis).loc[replicate]
            assert found.estimate == pytest.approx(fit.params["test"], rel=1e-8)
            assert found.std_error == pytest.approx(fit.bse["test"], rel=1e-8)
            assert found.n == fit.nobs


def test_an_unstratified_trial_against_lifelines(tmp_path, small_protocol_text):
    path = run(tmp_path, _with_keep(small_protocol_text, "{patient_level: 12}"))
    patients = pd.read_parquet(path / "cells" / "001" / "patients.parquet")
    primary = last(pd.concat(map(pd.read_parquet, (path / "cells" / "001").glob("chunk-0-64*.parquet"))), "primary")
    assert not (path / "cells" / "001" / "examples.json").exists()
    for replicate, trial in patients[patients.randomized].groupby("replicate"):
        arms = [trial[trial.arm == arm] for arm in ("experimental", "control")]
        times, events = [arm.os_time for arm in arms], [arm.os_event.astype(bool) for arm in arms]
        chi2 = logrank_test(*times, *events).test_statistic
        assert primary.z.loc[replicate] ** 2 == pytest.approx(chi2, rel=1e-9)


def _with_keep(text: str, keep: str) -> str:
    return text.replace("replicates: 200}", f"replicates: 200, keep: {keep}}}")


def test_stories_are_the_stored_records(rich, stored):
    told = json.loads((rich / "cells" / "001" / "examples.json").read_text())
    assert (told["schema"], told["design"], told["scenario"], told["role"]) == ("trialsim.examples/1", "default", "base", "alternative")
    assert [trial["replicate"] for trial in told["trials"]] == list(range(70))
    for trial in told["trials"]:
        rows = stored[stored.replicate == trial["replicate"]]
        assert [look["name"] for look in trial["looks"]] == ["look1", "look2", "final"][: rows.stop_look.iloc[0]]
        for look in trial["looks"]:
            for name, finding in look["analyses"].items():
                row = rows[(rows.analysis == name) & (rows["look"] == look["look"])].iloc[0]
                assert (look["look_time"], look["n_enrolled"], look["n_events"]) == (row.cut_time, row.n_enrolled, {"os": row.events_os})
                assert (finding["z"], finding["efficacy_z"], finding["n"]) == (row.z, row.efficacy_z, row.n)
                assert (finding["decision"] == "reject", finding["decision"] == "stop_futility") == (row.reject, row.futile)
                assert finding["scale"] == ("log_hazard_ratio" if name == "primary" else "difference")
            assert set(look["analyses"]) == ({"primary", "pain", "score"} if look is trial["looks"][-1] else {"primary"})
            limit = look["analyses"]["primary"]["futility_hazard_ratio"]
            assert limit == {"look1": 1.1, "look2": 0.9, "final": None}[look["name"]]
    assert {trial["reason"] for trial in told["trials"]} >= {"efficacy", "futility", "last_look"}


def test_no_more_is_kept_than_there_is(tmp_path):
    path = run(tmp_path, RICH, replicates=5)
    assert pd.read_parquet(path / "cells" / "000" / "patients.parquet").replicate.max() == 4
    assert len(json.loads((path / "cells" / "000" / "examples.json").read_text())["trials"]) == 5


def test_keep_does_not_change_the_hash_or_a_number(tmp_path, small_protocol_text):
    kept, bare = tmp_path / "kept", tmp_path / "bare"
    for folder, text in ((kept, _with_keep(small_protocol_text, "{example_trials: 2, patient_level: 3}")), (bare, small_protocol_text)):
        folder.mkdir()
        run(folder, text)
    found = [json.loads((folder / "run" / "results.json").read_text()) for folder in (kept, bare)]
    assert found[0]["protocol_sha256"] == found[1]["protocol_sha256"]
    assert found[0]["results"] == found[1]["results"]
    assert all(path.name.startswith("chunk-") for path in (bare / "run" / "cells" / "000").iterdir())


def test_a_resumed_run_keeps_the_same(rich):
    cell = rich / "cells" / "001"
    before = pq.read_table(cell / "patients.parquet"), (cell / "examples.json").read_bytes()
    for path in (cell / "patients.parquet", cell / "examples.json", *cell.glob("chunk-64-16*.parquet")):
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK", 64)
        resume_run(rich, settings=Settings(workers=1, block_size=7), progress=Tally())
    assert pq.read_table(cell / "patients.parquet").equals(before[0])
    assert (cell / "examples.json").read_bytes() == before[1]
