from __future__ import annotations

import io

import pytest
from rich.console import Console
from trialsim_cli.result_table import plus_minus, print_results


def row(measure, estimate, mcse, *, design="default", scenario="base", analysis=None, look=None, scale="probability", null=False, endpoint=None):
    return {
        "design": design,
        "scenario": scenario,
        "role": "alternative",
        "analysis": analysis,
        "endpoint": endpoint,
        "arm": None,
        "look": look,
        "measure": measure,
        "scale": scale,
        "null": null,
        "estimate": estimate,
        "mcse": mcse,
        "n": 10_000,
    }


def shown(rows, width=100):
    console = Console(file=io.StringIO(), width=width)
    print_results(rows, console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("estimate", "mcse", "text"),
    [
        (0.90216, 0.00297, "0.902 ± 0.003"),
        (400.0, 0.0, "400"),
        (31.416, 0.12, "31.4 ± 0.1"),
        (-0.00012, 0.000004, "-0.00012 ± 0.00000"),
        (350.2, 14.0, "350 ± 14"),
        (0.3567, 0.0, "0.357"),
    ],
)
def test_digits_follow_the_standard_error(estimate, mcse, text):
    assert plus_minus(estimate, mcse) == text


def test_every_number_has_its_mcse_and_type_i_errors_are_marked():
    rows = [
        row("power", 0.0217, 0.0005, scenario="h0", analysis="primary", null=True, endpoint="os"),
        row("power_ignoring_futility", 0.0249, 0.0005, scenario="h0", analysis="primary", null=True, endpoint="os"),
        row("power", 0.902, 0.003, analysis="primary", endpoint="os"),
        row("duration", 900.0, 2.0, scale="days"),
        row("n_events", 300.5, 0.7, scale="events", endpoint="os"),
        row("n_events", 999.0, 0.7, scale="events", endpoint="pfs"),
    ]
    text = shown(rows)
    assert "0.0217 ± 0.0005*" in text
    assert "0.0249 ± 0.0005†" in text
    assert "* type I error" in text
    assert "0.902 ± 0.003" in text
    assert text.count("10,000") == 2
    assert "29.57 ± 0.07" in text
    assert "300.5 ± 0.7" in text
    assert "999" not in text
    assert "design" not in text


def test_a_table_by_look_where_there_are_several_and_nothing_wider_than_a_hundred_columns():
    rows = []
    for design in ("n=450", "n=500"):
        for scenario in ("base", "stress[hr=0.65,delay=0 months]"):
            place = {"design": design, "scenario": scenario}
            rows += [row("power", 0.9, 0.003, analysis="primary", **place), row("bias", -0.0123, 0.0012, analysis="primary", **place)]
            rows += [row("coverage", 0.951, 0.002, analysis="primary", **place), row("duration", 900.0, 2.0, scale="days", **place)]
            rows += [row("n_enrolled", 480.0, 0.5, scale="patients", **place), row("n_events", 300.0, 0.5, scale="events", endpoint="os", **place)]
            for look in (1, 2):
                rows += [
                    row("reject", 0.45, 0.005, analysis="primary", look=look, **place),
                    row("look_time", 500.0 * look, 2.0, look=look, scale="days", **place),
                ]
                rows.append(row("n_enrolled", 400.0 + look, 0.5, look=look, scale="patients", **place))
    text = shown(rows)
    assert max(map(len, text.splitlines())) <= 100
    assert "rejects here" in text
    assert "401.0 ± 0.5" in text
    assert "…" not in text
