"""The check as a whole: who passes, who fails and why, in words and in JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from witness.recipes import Memorising
from witness.samplers import MODELLED, ROLES, Bootstrap, Independent, Truth, trial

from trialsim.cohort.disclosure import Disclosure, MembershipAuc
from trialsim.errors import DataError
from trialsim.evaluation.cohort_check import CheckReport, check_cohort, conclude
from trialsim.evaluation.cohort_thresholds import Thresholds, load_thresholds

N = 1000


@pytest.fixture(scope="module")
def real():
    return trial(N, seed=1, missing=0.15)


@pytest.fixture(scope="module")
def faithful(real) -> CheckReport:
    """A bootstrap of the rows is as faithful as can be (and would tell everybody: that is the gate's part)."""
    return check_cohort(Bootstrap(real, ROLES, MODELLED), real, recipe=None, n_draws=1, n_synthetic=20_000)


@pytest.fixture(scope="module")
def broken(real) -> CheckReport:
    return check_cohort(Independent(real, ROLES, MODELLED), real, recipe=None, n_draws=1, n_synthetic=20_000)


def _gate(verdict: str, estimate: float, low: float, high: float, n_needed: int | None = None) -> Disclosure:
    auc = MembershipAuc(estimate, low, high, 0.01, None, (), {}, 20)
    fields = {name: {} for name in Disclosure.__dataclass_fields__}
    return Disclosure(**{**fields, "verdict": verdict, "membership_auc": auc, "n_needed": n_needed, "reasons": ("about 4,200 patients would settle it",)})


def test_a_faithful_model_meets_every_threshold(faithful):
    assert [criterion.sentence for criterion in faithful.criteria if not criterion.met] == []
    assert {criterion.section for criterion in faithful.criteria} == {"fidelity", "effects", "fairness"}
    assert faithful.verdict == "inconclusive"
    assert faithful.reasons[0].startswith("Disclosure was not checked")


def test_a_broken_model_fails_with_sentences_and_numbers(broken):
    assert broken.verdict == "fail"
    missed = {criterion.name for criterion in broken.criteria if not criterion.met}
    assert {"correlations", "rules", "classifier", "log hazard ratios overall", "subgroup effects, how many", "means in subgroups"} <= missed
    assert "margins" not in missed
    assert any(reason.startswith("The correlation of x and value is 0.8") for reason in broken.reasons)
    assert all(reason[0].isupper() or reason[0].isdigit() for reason in broken.reasons)


@pytest.mark.parametrize(
    "gate, verdict, words",
    [
        (("pass", 0.51, 0.49, 0.54), "pass", "All 1"),
        (("fail", 0.62, 0.56, 0.66), "fail", "The model fails the membership gate: AUC 0.620 in all patients (simultaneous 95 % interval 0.560 to 0.660)."),
        (("inconclusive", 0.53, 0.49, 0.57, 4200), "inconclusive", "The model is inconclusive at the membership gate: AUC 0.530"),
    ],
)
def test_the_gate_decides_where_nothing_else_fails(faithful, gate, verdict, words):
    found, reasons = conclude(faithful.criteria, _gate(*gate), same_data=True)
    assert found == verdict
    assert words in reasons[0]
    assert reasons[1 if verdict != "pass" else 2] == "About 4,200 patients would settle it."


def test_a_missed_threshold_fails_whatever_the_gate_says(broken):
    for gate in (_gate("pass", 0.5, 0.49, 0.52), _gate("inconclusive", 0.53, 0.49, 0.57)):
        assert conclude(broken.criteria, gate, same_data=True)[0] == "fail"


def test_the_json_is_the_normative_one(broken):
    report = json.loads(json.dumps(broken.as_json(), allow_nan=False))
    assert list(report)[:6] == ["schema", "verdict", "reasons", "fidelity", "disclosure", "fairness"]
    assert report["schema"] == "trialsim.cohort_check/1"
    overall = [effect for effect in report["effects"] if effect["subgroup"] is None]
    assert [effect["name"] for effect in overall] == ["death: log hazard ratio, 1 against 0", "value: difference in means, 1 against 0"]
    for effect in report["effects"]:
        assert effect["error"] == pytest.approx(effect["synthetic"] - effect["real"])
        assert effect["real_se"] > 0
    assert report["fidelity"]["correlations"]["largest"]["columns"] == ["x", "value"]
    assert report["disclosure"]["membership_auc"] is None
    assert report["data"]["n_compared"] == N


def test_the_disclosure_is_in_the_json_with_its_gate(faithful):
    report = replace(faithful, disclosure=_gate("fail", 0.62, 0.56, float("nan"))).as_json()
    auc = report["disclosure"]["membership_auc"]
    assert (auc["estimate"], auc["ci_low"], auc["ci_high"], auc["worst_subgroup"]) == (0.62, 0.56, None, None)


def test_the_gate_looks_into_what_is_known_at_baseline(monkeypatch):
    """No group of patients whom an event or a column known only later makes."""
    made = trial(600, seed=3)
    seen = {name: made.meaning[name].model_copy(update={"role": role}) for name, role in (("high", "post_baseline"), ("arm", "arm"))}
    real = replace(made, meaning={**made.meaning, **seen})
    asked = {}

    def gate(recipe, table, *, subgroups, **more):
        asked.update(subgroups)
        return _gate("pass", 0.5, 0.47, 0.53)

    monkeypatch.setattr("trialsim.evaluation.cohort_check.check_disclosure", gate)
    check_cohort(Bootstrap(real, ROLES, MODELLED), real, recipe=Memorising(ROLES, MODELLED), refits=4, n_draws=1, n_synthetic=2000)
    assert list(asked) == ["arm = 0", "arm = 1", "sex = 0", "sex = 1", "site = north", "site = south", "site = west"]
    np.testing.assert_array_equal(asked["site = south"], real.columns["site"] == 1)


def test_fidelity_is_measured_by_one_thread(real, monkeypatch):
    """Threads that wait for each other made it eight times slower on a machine that is busy."""
    from threadpoolctl import threadpool_info

    from trialsim.evaluation import cohort_check

    measure, seen = cohort_check.measure_fidelity, []

    def watched(*args, **more):
        seen.extend(each["num_threads"] for each in threadpool_info())
        return measure(*args, **more)

    monkeypatch.setattr(cohort_check, "measure_fidelity", watched)
    check_cohort(Bootstrap(real, ROLES, MODELLED), real, recipe=None, n_draws=1, n_synthetic=2000)
    assert set(seen) == {1}


def test_other_data_are_allowed_their_sampling_error_and_it_is_said(real):
    report = check_cohort(Truth(missing=0.15), real, recipe=None, n_draws=1, n_synthetic=20_000, same_data=False)
    assert [criterion.sentence for criterion in report.criteria if not criterion.met] == []
    assert "The model was fitted to other data than these" in report.reasons[-1]


def test_a_measure_that_is_not_judged_cannot_fail(real):
    open_ended = {name: None for name, field in Thresholds.model_fields.items() if field.annotation == float | None}
    report = check_cohort(Independent(real, ROLES, MODELLED), real, recipe=None, n_draws=1, n_synthetic=5000, thresholds=Thresholds(**open_ended))
    assert report.criteria == ()
    assert report.verdict == "inconclusive"


def test_the_target_is_read_and_may_be_judged(real, tmp_path):
    target = tmp_path / "target.yaml"
    target.write_text("columns: {age: {mean: 60, sd: 8}}\ngoals: {sex: {1: 0.6}}\n")
    thresholds = Thresholds(standardised_difference=0.2)
    report = check_cohort(Bootstrap(real, ROLES, MODELLED), real, recipe=None, n_draws=1, n_synthetic=5000, thresholds=thresholds, target=target)
    assert report.verdict == "fail"
    off = abs(np.mean(real.columns["age"]) - 60) / 8
    assert off == pytest.approx(1.25, abs=0.1)
    assert any(reason.startswith("The column age is 1.2") for reason in report.reasons), report.reasons
    assert report.as_json()["fairness"]["target"]["enrolment_goals"][0]["met"] is False


def test_the_report_is_a_function_of_the_seed(real, faithful):
    again = check_cohort(Bootstrap(real, ROLES, MODELLED), real, recipe=None, n_draws=1, n_synthetic=20_000)
    assert again.as_json() == faithful.as_json()


def test_too_few_patients(real):
    few = real.take(np.arange(40))
    with pytest.raises(DataError, match="40 patients are too few to check"):
        check_cohort(Bootstrap(few, ROLES, MODELLED), few, recipe=None, n_draws=1, n_synthetic=1000)


def test_thresholds_in_a_file(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text("classifier_auc: 0.7\nmargin: null\n")
    found = load_thresholds("t.yaml")
    assert (found.classifier_auc, found.margin, found.correlation) == (0.7, None, 0.05)
    Path("t.yaml").write_text("clasifier_auc: 0.7\nmargin: -1\n")
    with pytest.raises(DataError) as error:
        load_thresholds("t.yaml")
    assert sorted(str(problem) for problem in error.value.problems) == [
        't.yaml:1:1  clasifier_auc: unknown key; did you mean "classifier_auc"?',
        "t.yaml:2:1  margin: Input should be greater than 0",
    ]


def test_a_memorising_model_is_as_faithful_as_can_be_and_is_refused():
    few = trial(300, seed=3)
    report = check_cohort(Bootstrap(few, ROLES, MODELLED), few, recipe=Memorising(), refits=6, n_draws=1, n_synthetic=5000)
    assert [criterion.sentence for criterion in report.criteria if not criterion.met] == []
    assert report.verdict == "fail"
    assert report.disclosure.membership_auc.ci_low > 0.5
    assert report.reasons[0].startswith("The model fails the membership gate: AUC")
