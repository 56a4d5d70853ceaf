"""Result rows against plain pandas and NumPy on the raw arrays, computed without looking at how the rows are."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from trialsim.evaluation.operating_characteristics import median_duration, operating_characteristics, size_quantiles
from trialsim.evaluation.results import ALL_MEASURES, CellLabels, Comparison
from trialsim.evaluation.trial_values import AnalysisLabels, trial_values
from trialsim.evaluation.truth import TrueValue
from trialsim.rng import Block

N = 1500
LABELS = CellLabels("n=500", "base", "alternative")
TRUTH = TrueValue(-0.25, 0.01, 1_000_000)


def comparison(**changes):
    given = {
        "analysis": "primary",
        "endpoint": "os",
        "arm": None,
        "scale": "log_hazard_ratio",
        "alpha_one_sided": 0.025,
        "sides": 1,
        "looks": (1, 2, 3),
        "futility": True,
        "null": False,
        "truth": TRUTH,
    }
    return Comparison(**{**given, **changes})


def evaluate(make, comparisons, *, n=N, chunk=400, **options):
    def chunks():
        return (make(Block(i, min(chunk, n - i)), analyses=tuple(comparisons), **options) for i in range(0, n, chunk))

    quantiles = size_quantiles(chunks, ("os",), n)
    return operating_characteristics(chunks, labels=LABELS, comparisons=comparisons, quantiles=quantiles), quantiles


def long_form(record, name="primary"):
    """One row per replicate and reached look."""
    analysis = record.analyses[name]
    frame = pd.DataFrame(
        [
            {
                "replicate": r,
                "look": k + 1,
                "time": record.cut_time[r, k].item(),
                "enrolled": record.n_enrolled[r, k].item(),
                "events": record.n_events["os"][r, k].item(),
                "reject": analysis.reject[r, k].item(),
                "wrong": analysis.reject_wrong_direction[r, k].item(),
                "futile": analysis.futile[r, k].item(),
                "failed": analysis.failure[r, k].item() != 0,
                "estimate": analysis.estimate[r, k].item(),
                "se": analysis.std_error[r, k].item(),
                "df": math.inf if analysis.df is None else analysis.df[r, k].item(),
            }
            for r in range(record.block.size)
            for k in range(len(record.looks))
            if record.reached[r, k]
        ]
    )
    return frame, frame.groupby("replicate").last()


def index(rows):
    return {(row.analysis, row.arm, row.look, row.measure): row for row in rows}


def expect(row, estimate, mcse, n):
    assert (row.estimate, row.mcse, row.n) == (pytest.approx(estimate, rel=1e-12, abs=1e-13), pytest.approx(mcse, rel=1e-9, abs=1e-12), n)


def expect_share(row, hits):
    p, n = float(np.mean(hits)), len(hits)
    q = p if 0 < p < 1 else (np.sum(hits) + 1) / (n + 2)
    expect(row, p, math.sqrt(q * (1 - q) / n), n)


def expect_mean(row, values):
    expect(row, values.mean(), values.std(ddof=1) / math.sqrt(len(values)), len(values))


@pytest.fixture(scope="module")
def one_sided(synthetic_record):
    rows, quantiles = evaluate(synthetic_record, {"primary": comparison()}, failure_rate=0.02)
    record = synthetic_record(Block(0, N), failure_rate=0.02)
    return index(rows), quantiles, record, *long_form(record)


def test_decisions(one_sided):
    rows, _, record, looks, _ = one_sided
    expect_share(rows["primary", None, None, "power"], looks.groupby("replicate").reject.any())
    expect_share(rows["primary", None, None, "power_ignoring_futility"], record.analyses["primary"].ignoring_futility.numpy())
    expect_share(rows["primary", None, None, "convergence_failure"], looks.groupby("replicate").failed.any())
    expect_share(rows[None, None, None, "target_not_reached"], record.target_not_reached.numpy())
    for look in (1, 2, 3):
        for measure, column in (("reject", "reject"), ("stop_futility", "futile"))[: 2 if look < 3 else 1]:
            expect_share(rows["primary", None, look, measure], looks[looks.look == look].set_index("replicate")[column].reindex(range(N), fill_value=False))
        expect_share(rows["primary", None, look, "convergence_failure"], looks[looks.look == look].failed)
    assert sum(rows["primary", None, look, "reject"].estimate for look in (1, 2, 3)) == pytest.approx(rows["primary", None, None, "power"].estimate)
    assert not any(measure == "reject_wrong_direction" for *_, measure in rows)
    assert ("primary", None, 3, "stop_futility") not in rows


def test_sizes_and_times(one_sided):
    rows, quantiles, record, looks, last = one_sided
    for measure, column in (("duration", "time"), ("n_enrolled", "enrolled"), ("n_events", "events")):
        expect_mean(rows[None, None, None, measure], last[column])
        for p in (0.1, 0.5, 0.9):
            assert rows[None, None, None, f"{measure}_quantile_{p * 100:.0f}"].estimate == pytest.approx(np.quantile(last[column], p), rel=1e-14)
    assert median_duration(quantiles) == np.median(last.time)
    for measure, column in (("look_time", "time"), ("n_enrolled", "enrolled"), ("n_events", "events")):
        for look in (1, 2, 3):
            expect_mean(rows[None, None, look, measure], looks[looks.look == look][column])
    expect_mean(rows[None, "experimental", None, "allocated"], record.n_per_arm["experimental"].numpy())
    assert rows[None, None, None, "n_events"].endpoint == "os"
    assert rows[None, None, None, "n_enrolled"].endpoint is None
    scales = {row.measure: row.scale for row in rows.values()}
    assert (scales["duration"], scales["look_time"], scales["n_enrolled"], scales["n_events"], scales["allocated"]) == (
        "days",
        "days",
        "patients",
        "events",
        "patients",
    )


def test_estimation(one_sided):
    rows, _, _, looks, last = one_sided
    for look, frame in ((None, last), *((k, looks[looks.look == k]) for k in (1, 2, 3))):
        frame = frame[~frame.failed]
        n, e, se = len(frame), frame.estimate, frame.se
        expect_mean(rows["primary", None, look, "estimate_mean"], e)
        expect_mean(rows["primary", None, look, "model_se_mean"], se)
        expect(rows["primary", None, look, "empirical_se"], e.std(ddof=1), e.std(ddof=1) / math.sqrt(2 * (n - 1)), n)
        expect(rows["primary", None, look, "bias"], e.mean() - TRUTH.value, math.hypot(e.std(ddof=1) / math.sqrt(n), TRUTH.mcse), n)
        squared = (e - TRUTH.value) ** 2
        rmse = math.sqrt(squared.mean())
        delta = math.hypot(squared.std(ddof=1) / math.sqrt(n) / (2 * rmse), (e.mean() - TRUTH.value) / rmse * TRUTH.mcse)
        expect(rows["primary", None, look, "rmse"], rmse, delta, n)
    final = last[~last.failed]
    half = stats.norm.isf(0.025) * final.se
    expect_share(rows["primary", None, None, "coverage"], (final.estimate - half <= TRUTH.value) & (TRUTH.value <= final.estimate + half))
    expect(rows["primary", None, None, "true_value"], TRUTH.value, TRUTH.mcse, TRUTH.n)
    assert rows["primary", None, None, "bias"].scale == "log_hazard_ratio"
    assert rows["primary", None, None, "coverage"].scale == "probability"


def test_coverage_with_degrees_of_freedom_uses_t(synthetic_record):
    rows = index(evaluate(synthetic_record, {"primary": comparison(alpha_one_sided=0.05)}, df=True)[0])
    last = long_form(synthetic_record(Block(0, N), df=True))[1]
    half = stats.t.isf(0.05, last.df) * last.se
    expect_share(rows["primary", None, None, "coverage"], abs(last.estimate - TRUTH.value) <= half)


def test_a_two_sided_test_counts_both_directions(synthetic_record):
    rows = index(evaluate(synthetic_record, {"primary": comparison(sides=2, futility=False)}, two_sided=True, seed=8)[0])
    looks = long_form(synthetic_record(Block(0, N), two_sided=True, seed=8))[0]
    by_trial = looks.groupby("replicate")
    assert by_trial.wrong.any().any()
    expect_share(rows["primary", None, None, "power"], by_trial.reject.any() | by_trial.wrong.any())
    expect_share(rows["primary", None, None, "reject_wrong_direction"], by_trial.wrong.any())
    first = looks[looks.look == 1]
    expect_share(rows["primary", None, 1, "reject"], first.reject | first.wrong)
    assert not any(measure == "stop_futility" for *_, measure in rows)


def test_several_arms_have_a_family(synthetic_record):
    members = {"primary:low": comparison(arm="low", null=True), "primary:high": comparison(arm="high")}
    rows = index(evaluate(synthetic_record, members)[0])
    record = synthetic_record(Block(0, N), analyses=tuple(members))
    low, high = (record.analyses[name].reject.numpy().any(axis=1) for name in members)
    expect_share(rows["primary", None, None, "power"], low | high)
    expect_share(rows["primary", None, None, "power_all"], low & high)
    expect_share(rows["primary", None, None, "fwer"], low)
    expect_share(rows["primary", "high", None, "power"], high)
    assert rows["primary", "low", None, "power"].null
    assert rows["primary", None, None, "fwer"].null
    assert not rows["primary", None, None, "power"].null


def test_the_same_bits_whatever_the_order_of_the_later_chunks(synthetic_record):
    records = [synthetic_record(Block(i, 100)) for i in range(0, 600, 100)]
    comparisons = {"primary": comparison()}
    quantiles = size_quantiles(lambda: records, ("os",), 600)
    first = operating_characteristics(lambda: records, labels=LABELS, comparisons=comparisons, quantiles=quantiles)
    assert first == operating_characteristics(lambda: [records[0], *records[:0:-1]], labels=LABELS, comparisons=comparisons, quantiles=quantiles)


def test_what_is_undefined_is_left_out(synthetic_record):
    one = index(evaluate(synthetic_record, {"primary": comparison()}, n=1)[0])
    assert {measure for *_, measure in one} <= {
        "power",
        "power_ignoring_futility",
        "reject",
        "stop_futility",
        "convergence_failure",
        "target_not_reached",
        "true_value",
    }
    without = evaluate(synthetic_record, {"primary": comparison(truth=None)}, n=50)[0]
    assert not {"bias", "rmse", "coverage", "true_value"} & {row.measure for row in without}
    untested = evaluate(synthetic_record, {"primary": comparison()}, n=50, estimates=False)[0]
    assert not {"bias", "rmse", "coverage", "true_value", "estimate_mean"} & {row.measure for row in untested}
    assert not any(row.measure == "power_ignoring_futility" for row in evaluate(synthetic_record, {"primary": comparison()}, n=50, ignoring=False)[0])


def test_every_number_is_finite_and_every_name_is_known(one_sided):
    for row in one_sided[0].values():
        assert math.isfinite(row.estimate)
        assert math.isfinite(row.mcse)
        assert row.mcse >= 0
        assert row.n > 0
        assert row.measure in ALL_MEASURES
        assert list(row.as_dict()) == ["design", "scenario", "role", "analysis", "endpoint", "arm", "look", "measure", "scale", "null", "estimate", "mcse", "n"]


def test_no_false_precision_when_every_trial_succeeds(synthetic_record):
    rows = index(evaluate(synthetic_record, {"primary": comparison()}, n=60, failure_rate=0.0)[0])
    failures = rows["primary", None, None, "convergence_failure"]
    assert failures.estimate == 0.0
    assert failures.mcse == pytest.approx(math.sqrt(1 / 62 * 61 / 62 / 60))


def test_a_family_that_spans_analyses_has_rows_of_its_own(synthetic_record):
    record = synthetic_record(Block(0, 300), analyses=("low", "high"))
    given = {
        name: Comparison(name, endpoint, None, "log_hazard_ratio", 0.025, 1, (1, 2, 3), futility=True, null=null, families=("main",))
        for name, endpoint, null in (("low", "os", True), ("high", "pfs", False))
    }
    quantiles = size_quantiles(lambda: [record], ["os"], 300)
    found = operating_characteristics(lambda: [record], labels=LABELS, comparisons=given, quantiles=quantiles)
    rows = {row.measure: row for row in found if row.analysis == "main"}
    low, high = (record.analyses[name].reject.numpy().any(axis=1) for name in ("low", "high"))
    assert rows["power"].estimate == (low | high).mean()
    assert rows["power_all"].estimate == (low & high).mean()
    assert rows["fwer"].estimate == low.mean()
    assert (rows["power"].null, rows["fwer"].null) == (False, True)
    without = np.stack([record.analyses[name].ignoring_futility.numpy() for name in ("low", "high")])
    assert rows["power_ignoring_futility"].estimate == without.any(axis=0).mean()
    assert {(row.arm, row.endpoint) for row in rows.values()} == {(None, None)}
    columns = {
        column.measure: values
        for column, values in trial_values(
            record, {name: AnalysisLabels(name, endpoint, None, 1, None, ("main",)) for name, endpoint in (("low", "os"), ("high", "pfs"))}
        ).items()
        if column.analysis == "main"
    }
    assert {measure: values.mean() for measure, values in columns.items()} == {measure: row.estimate for measure, row in rows.items() if measure != "fwer"}
