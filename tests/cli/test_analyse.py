"""The command `analyse`: the published results of ACTG 175, one row per analysis, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
ACTG = ROOT / "trials" / "data" / "actg175.csv"
ARMS = "arms: {test: {type: experimental}, reference: {type: active_comparator}}\n"
TREATMENT = "treatment: {test: test, reference: reference}"


def _protocol(folder: Path, *, kind: str = "time_to_event", options: str, more: str = "", endpoint: str = "") -> Path:
    file = folder / "p.yaml"
    file.write_text(
        f"spec: trialsim/1\nstudy: {{id: A, title: an analysis}}\n{ARMS}endpoints: {{y: {{type: {kind}, outcome: y, level: primary{endpoint}}}}}\n"
        f"analyses: {{primary: {{endpoint: y, {TREATMENT}, alpha: 0.05, sides: 2, {options}}}}}\n{more}"
    )
    return file


def _call(*arguments: object):
    return CliRunner().invoke(app, ["analyse", *map(str, arguments)])


def _results(*arguments: object) -> list[dict]:
    found = _call(*arguments, "--json")
    assert found.exit_code == 0, found.output
    printed = json.loads(found.stdout)
    assert printed["schema"] == "trialsim.analysis/1"
    return printed["results"]


def test_the_hazard_ratio_of_actg175(tmp_path):
    (row,) = _results(_protocol(tmp_path, options="method: cox"), "--data", ACTG, "--map", "time=days,event=cens,arm=treat", "--arms", "test=1,reference=0")
    assert (round(row["estimate"], 3), round(row["ci_low"], 3), round(row["ci_high"], 3)) == (0.535, 0.447, 0.641)
    assert row["n"] == 2139


@pytest.mark.parametrize(
    "options, estimate, std_error",
    [
        ("method: t_test", 46.8, 6.76),
        ("method: ancova, covariates: [cd40]", 49.4, 5.78),
        ("method: ancova, covariates: [cd40], robust: hc3", 49.4, 5.29),
    ],
)
def test_the_cd4_difference_of_actg175(tmp_path, options, estimate, std_error):
    protocol = _protocol(tmp_path, kind="continuous", options=options)
    (row,) = _results(protocol, "--data", ACTG, "--map", "value=cd420", "--map", "arm=treat", "--arms", "test=1,reference=0")
    assert row["estimate"] == pytest.approx(estimate, abs=0.05)
    assert row["std_error"] == pytest.approx(std_error, abs=0.005)
    assert row["scale"] == "difference"


def test_a_change_adjusted_for_baseline_differs_as_the_value_does(tmp_path):
    more = "visits: {baseline: {at: 0 weeks}, w20: {at: 20 weeks}}\n"
    protocol = _protocol(tmp_path, kind="continuous", options="method: ancova, covariates: [cd40]", endpoint=", at: [w20], change_from: baseline", more=more)
    (change,) = _results(protocol, "--data", ACTG, "--map", "value=cd420,baseline=cd40,arm=treat", "--arms", "test=1,reference=0")
    protocol = _protocol(tmp_path, kind="continuous", options="method: ancova, covariates: [cd40]", endpoint=", at: [w20]", more=more)
    (value,) = _results(protocol, "--data", ACTG, "--map", "value=cd420,arm=treat", "--arms", "test=1,reference=0")
    assert change["visit"] == "w20"
    for field in ("estimate", "std_error", "df"):
        assert change[field] == pytest.approx(value[field], rel=1e-9)


def test_the_protocol_of_actg175_names_its_own_columns_arms_and_card():
    (row,) = _results(ROOT / "trials" / "actg175.yaml", "--data", ACTG, "--analysis", "primary")
    assert (row["test"], row["reference"], row["method"]) == ("combination", "zdv", "logrank")
    assert round(row["estimate"], 3) == 0.535
    assert row["p_value"] < 1e-10
    assert row["n_events"] == 521


def test_a_visit_of_data_in_long_form_is_that_of_r(tmp_path):
    reference = ROOT / "tests" / "reference"
    rows = pd.read_csv(reference / "ancova.csv")
    expected = {row.output: row.value for row in rows[(rows.case == "MM-041") & (rows.term == "ARMCDTRT")].itertuples()}
    protocol = _protocol(
        tmp_path,
        kind="continuous",
        options="method: ancova, covariates: [FEV1_BL, SEX, RACE]",
        endpoint=", at: [VIS3, VIS4]",
        more="visits: {VIS3: {at: 12 weeks}, VIS4: {at: 16 weeks}}\n",
    )
    mapping = "value=FEV1,visit=AVISIT,arm=ARMCD,id=USUBJID"
    (row,) = _results(protocol, "--data", reference / "fev_data.csv", "--map", mapping, "--arms", "test=TRT,reference=PBO")
    assert row["visit"] == "VIS4"
    assert row["estimate"] == pytest.approx(expected["estimate"], rel=1e-8)
    assert row["std_error"] == pytest.approx(expected["se"], rel=1e-8)
    assert row["p_value"] == pytest.approx(expected["p"], rel=1e-6)


def test_the_twins_prognosis_is_what_the_protocol_says_it_is(tmp_path):
    """With a prognosis linear in x, adjusting for it is adjusting for x."""
    generator = np.random.default_rng(5)
    x, arm = generator.normal(size=200), np.arange(200) % 2
    y = 2.0 * x + 0.5 * arm + generator.normal(size=200)
    data = tmp_path / "data.csv"
    data.write_text("x,arm,value\n" + "".join(f"{a!r},{b},{c!r}\n" for a, b, c in zip(x.tolist(), arm.tolist(), y.tolist(), strict=True)))
    more = (
        "population: {planned_enrollment: 200, covariates: {x: {dist: normal, mean: 0, sd: 1}}}\nvisits: {w4: {at: 4 weeks}}\n"
        "truth: {outcomes: {y: {dist: normal, mean: 1, sd: 1, prognostic: {x: {shift: 2, per: 1}}}}}\n"
    )
    rows = []
    for covariate in ("twin_prognosis", "x"):
        protocol = _protocol(tmp_path, kind="continuous", options=f"method: ancova, covariates: [{covariate}]", endpoint=", at: [w4]", more=more)
        rows += _results(protocol, "--data", data, "--arms", "test=1,reference=0")
    for field in ("estimate", "std_error", "df", "statistic"):
        assert rows[0][field] == pytest.approx(rows[1][field], rel=1e-9)
    assert rows[0]["std_error"] < 0.2


def test_a_result_reads_as_a_sentence(tmp_path):
    found = _call(_protocol(tmp_path, options="method: cox"), "--data", ACTG, "--map", "time=days,event=cens,arm=arms", "--arms", "test=1,reference=0")
    assert found.exit_code == 0
    assert found.stdout.startswith("primary (cox): test against reference; hazard ratio 0.4947 (0.3884 to 0.6303); z = 5.697, p = ")
    assert found.stdout.rstrip().endswith("1054 patients, 284 events")
    assert "1085 of 2139 rows belong to neither arm and are left out" in found.stderr


def _four(folder: Path, time: str = "1 2 3 4", event: str = "1 0 1 1", arm: str = "1 0 1 0") -> Path:
    file = folder / "four.csv"
    rows = zip(time.split(), event.split(), arm.split(), strict=True)
    file.write_text("time,event,arm\n" + "".join(",".join(row) + "\n" for row in rows))
    return file


def test_events_may_be_true_and_false(tmp_path):
    protocol, arms = _protocol(tmp_path, options="method: logrank"), ("--arms", "test=1,reference=0")
    coded = _results(protocol, "--data", _four(tmp_path), *arms)
    assert _results(protocol, "--data", _four(tmp_path, event="TRUE FALSE TRUE TRUE"), *arms) == coded


def test_no_minus_before_zero(tmp_path):
    """Two arms with the same times: the log-rank numerator is a rounding error away from 0."""
    data = _four(tmp_path, time="1 1 2 2", event="1 1 1 1")
    found = _call(_protocol(tmp_path, options="method: logrank"), "--data", data, "--arms", "test=1,reference=0")
    assert found.exit_code == 0, found.stderr
    assert "z = 0.000, p = 1;" in found.stdout
    swapped = _call(_protocol(tmp_path, options="method: logrank"), "--data", data, "--arms", "test=0,reference=1")
    assert "z = 0.000, p = 1;" in swapped.stdout


@pytest.mark.parametrize(
    "columns, arguments, said",
    [
        ({"time": "1 2 abc 4"}, (), 'four.csv:4  "abc" in the column "time" is not a number'),
        ({"time": "1 inf 3 4"}, (), 'four.csv:3  "inf" in the column "time" is not a number'),
        ({"time": "1 1e308 3 4"}, ("--time-unit", "years"), 'four.csv  time ("time") is too large: row 2 (1e+308)'),
        ({"arm": "1 0 1 1"}, ("--arms", "test=1,reference=1"), 'four.csv  the arms "test" and "reference" are both arm = 1; give each its value with --arms'),
    ],
)
def test_a_row_that_cannot_be_analysed_is_named_in_one_line(tmp_path, monkeypatch, columns, arguments, said):
    monkeypatch.chdir(tmp_path)
    _four(tmp_path, **columns)
    arguments = arguments if "--arms" in arguments else ("--arms", "test=1,reference=0", *arguments)
    found = _call(_protocol(tmp_path, options="method: cox"), "--data", "four.csv", *arguments)
    assert found.exit_code == 3
    assert found.stdout == ""
    assert found.stderr == said + "\n"


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--map", "time=days,event=cens,arm=treat", "--arms", "test=1,reference=5"], 3, 'no patient has treat = 5 (arm "reference")'),
        (["--map", "tme=days", "--arms", "test=1,reference=0"], 2, '--map: "tme" is not a role of a column; did you mean "time"?'),
        (["--map", "time"], 2, '--map: "time" is not of the form name=value'),
        (["--map", "z.time=days"], 2, '"z" is not an endpoint'),
        (["--arms", "tests=1"], 2, '--arms: "tests" is not an arm of the protocol; did you mean "test"?'),
        (["--map", "time=day,event=cens,arm=treat"], 3, 'there is no column "day"; did you mean "days"?'),
        (["--map", "time=days,event=cd40,arm=treat", "--arms", "test=1,reference=0"], 3, 'event ("cd40") is not 0 (censored) or 1 (event): row 1 (422)'),
        (["--map", "time=days,event=cens,arm=treat", "--time-unit", "moons"], 2, '--time-unit: "moons" is not a unit of time'),
        (["--analysis", "secondary"], 2, '--analysis: "secondary" is not an analysis; allowed: primary'),
    ],
)
def test_a_wrong_call_gets_one_line(tmp_path, arguments, code, message):
    found = _call(_protocol(tmp_path, options="method: cox"), "--data", ACTG, *arguments)
    assert found.exit_code == code
    assert found.stdout == ""
    assert message in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("continuous", "method: bayesian", "not supported yet: analyses.primary: bayesian"),
        ("time_to_event", "method: cox, ties: exact, robust: true", "not supported yet: analyses.primary: "),
        ("time_to_event", "method: t_test", "continuous"),
    ],
)
def test_what_cannot_be_analysed_is_refused(tmp_path, kind, options, message):
    found = _call(
        _protocol(tmp_path, kind=kind, options=options), "--data", ACTG, "--map", "time=days,event=cens,value=cd420,arm=treat", "--arms", "test=1,reference=0"
    )
    assert found.exit_code == 3
    assert message in found.stderr
    assert found.stdout == ""


def test_a_missing_file_is_named(tmp_path):
    found = _call(_protocol(tmp_path, options="method: cox"), "--data", tmp_path / "none.csv")
    assert found.exit_code == 3
    assert found.stderr.strip().endswith("none.csv  there is no such file")


COLON = ROOT / "tests" / "reference" / "multi_state" / "colon_illdeath.csv"


def _colon(folder: Path, analysis: str, outcome: str = "r") -> list[dict]:
    """Analyses of the three-arm colon cancer trial (recurrence: r, death: d)."""
    file = folder / "colon.yaml"
    file.write_text(
        "spec: trialsim/1\nstudy: {id: C, title: colon}\narms: {both: {type: experimental}, lev: {type: experimental}, obs: {type: no_treatment}}\n"
        "endpoints: {y: {type: time_to_event, outcome: y}}\n"
        f"analyses: {{a: {{endpoint: y, treatment: {{test: [both, lev], reference: obs}}, {analysis}}}}}\n"
    )
    return _results(file, "--data", COLON, "--map", f"time={outcome}time,event={outcome}stat,arm=rx", "--arms", "both=Lev+5FU,lev=Lev,obs=Obs")


@pytest.mark.parametrize("outcome, published", [("r", (0.599, 0.475, 0.756)), ("d", (0.690, 0.546, 0.870))])
def test_the_three_arm_cox_model_of_the_colon_cancer_trial(tmp_path, outcome, published):
    both, lev = _colon(tmp_path, "method: cox", outcome)
    assert (both["test"], lev["test"]) == ("both", "lev")
    assert tuple(round(both[key], 3) for key in ("estimate", "ci_low", "ci_high")) == published


def test_several_arms_have_adjusted_p_values_and_one_test_of_any_difference(tmp_path):
    both, lev, any_difference = _colon(tmp_path, "method: logrank, multiplicity: holm")
    assert both["adjusted_p_value"] == pytest.approx(2 * both["p_value"])
    assert lev["adjusted_p_value"] == pytest.approx(max(both["adjusted_p_value"], lev["p_value"]))
    assert any_difference["test"] is None
    assert any_difference["df"] == 2
    assert any_difference["p_value"] == pytest.approx(float(np.exp(-any_difference["statistic"] / 2))), "chi-squared with two degrees of freedom"
    weighted = _colon(tmp_path, "method: logrank, weights: {fleming_harrington: {rho: 0, gamma: 1}}")
    assert [row["test"] for row in weighted] == ["both", "lev"], "the test of any difference has no weights"
    (trend,) = _colon(tmp_path, "method: logrank, trend: {obs: 0, lev: 1, both: 2}")
    assert trend["n"] == 929


def test_families_across_analyses_have_adjusted_p_values(tmp_path):
    file = tmp_path / "family.yaml"
    file.write_text(
        "spec: trialsim/1\nstudy: {id: F, title: family}\narms: {both: {type: experimental}, obs: {type: no_treatment}}\n"
        "endpoints: {r: {type: time_to_event, outcome: r}, d: {type: time_to_event, outcome: d}}\n"
        "analyses:\n  death: {endpoint: d, treatment: {test: both, reference: obs}, method: logrank}\n"
        "  recurrence: {endpoint: r, treatment: {test: both, reference: obs}, method: logrank}\n"
        "multiplicity: {both_endpoints: {members: [death, recurrence], alpha: 0.05, procedure: hochberg}}\n"
    )
    mapping = "d.time=dtime,d.event=dstat,r.time=rtime,r.event=rstat,arm=rx"
    death, recurrence = _results(file, "--data", COLON, "--map", mapping, "--arms", "both=Lev+5FU,obs=Obs")
    assert death["p_value"] > recurrence["p_value"]
    assert death["adjusted_p_value"] == pytest.approx(death["p_value"])
    assert recurrence["adjusted_p_value"] == pytest.approx(min(2 * recurrence["p_value"], death["p_value"]))


def test_limits_that_do_not_exist_are_null(tmp_path):
    aml = ROOT / "tests" / "reference" / "survival" / "aml.csv"
    (row,) = _results(
        _protocol(tmp_path, options="method: median_survival, transform: log"),
        "--data",
        aml,
        "--map",
        "time=time,event=event,arm=arm",
        "--arms",
        "test=1,reference=0",
    )
    assert row["estimate"] == 8.0
    assert row["ci_high"] is None or row["ci_high"] > 8.0


def test_dunnett_pools_the_variance_of_all_arms_wherever_it_is_declared(tmp_path):
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"arm": np.repeat(["p", "l", "h"], [8, 9, 10]), "y": rng.normal(size=27)})
    data.to_csv(tmp_path / "d.csv", index=False)
    head = "spec: trialsim/1\nstudy: {id: D, title: doses}\narms: {p: {}, l: {}, h: {}}\nendpoints: {y: {type: continuous, outcome: y}}\n"
    analysis = "analyses: {a: {endpoint: y, treatment: {test: [l, h], reference: p}, method: t_test, variance: pooled%s}}\n"
    found = []
    for name, text in (
        ("own", head + analysis % ", multiplicity: dunnett"),
        ("family", head + analysis % "" + "multiplicity: {f: {members: [a], alpha: 0.05, procedure: dunnett}}\n"),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
        found.append(_results(tmp_path / f"{name}.yaml", "--data", tmp_path / "d.csv", "--map", "value=y"))
    assert found[0] == found[1]
    assert [row["df"] for row in found[0]] == [24, 24]
    groups = [data.y[data.arm == arm] for arm in "plh"]
    pooled = sum(((each - each.mean()) ** 2).sum() for each in groups) / 24
    assert found[0][0]["std_error"] == pytest.approx(np.sqrt(pooled * (1 / 8 + 1 / 9)))
