from __future__ import annotations

import pytest

from trialsim.errors import UsageError
from trialsim.evaluation.expectations import parse_expectation, unmet
from trialsim.evaluation.results import ResultRow

CELLS = [(design, scenario) for design in ("n=450", "n=500") for scenario in ("h0", "base", "stress[hr=0.65,delay=0 months]")]


def row(design="n=500", scenario="base", *, analysis="primary", arm=None, look=None, measure="power", estimate=0.9, mcse=0.003):
    return ResultRow(design, scenario, "alternative", analysis, "os", arm, look, measure, "probability", False, estimate, mcse, 10_000)


@pytest.mark.parametrize(
    ("text", "estimate", "met"),
    [
        ("power[base] >= 0.9", 0.9, True),
        ("power[base] >= 90 %", 0.9, True),
        ("power[base]>0.9", 0.9, False),
        ("power[base] < 0.9", 0.8999, True),
        ("power[base] <= 0.9", 0.9001, False),
        ("primary.power[n=500,base] >= 0.9", 0.91, True),
        ("secondary.power[base] >= 0.9", 0.99, False),
    ],
)
def test_one_cell(text, estimate, met):
    assert (unmet([parse_expectation(text, CELLS)], [row(estimate=estimate)]) == []) is met


def test_without_a_design_every_design_must_hold_and_the_message_has_value_and_mcse():
    rows = [row("n=450", estimate=0.871), row("n=500", estimate=0.902)]
    assert unmet([parse_expectation("power[base] >= 0.9", CELLS)], rows) == [
        "not met: power[base] >= 0.9: primary.power[n=450,base] = 0.871, MCSE 0.003, n 10,000"
    ]
    assert unmet([parse_expectation("power[n=500,base] >= 0.9", CELLS)], rows) == []


def test_names_with_commas_and_brackets():
    name = "stress[hr=0.65,delay=0 months]"
    assert parse_expectation(f"power[{name}] > 0.5", CELLS).concerns(row(scenario=name))
    assert parse_expectation(f"power[n=450,{name}] > 0.5", CELLS).concerns(row("n=450", name))


def test_only_the_whole_trial_and_the_family_count():
    rows = [row(look=1, estimate=0.1), row(arm="high", estimate=0.1), row(estimate=0.95)]
    assert unmet([parse_expectation("power[base] >= 0.9", CELLS)], rows) == []


def test_times_need_a_unit():
    long = row(analysis=None, measure="duration", estimate=950.0)
    assert unmet([parse_expectation("duration[base] <= 32 months", CELLS)], [long]) == []
    assert len(unmet([parse_expectation("duration[base] <= 30 months", CELLS)], [long])) == 1


def test_a_result_that_is_not_there_is_not_met():
    assert unmet([parse_expectation("coverage[base] >= 0.9", CELLS)], [row()]) == ["not met: coverage[base] >= 0.9: this run has no such result"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("power >= 0.9", 'write for example "power[base] >= 0.9"'),
        ("power[base] == 0.9", "write for example"),
        ("powr[base] >= 0.9", 'no measure "powr"; did you mean "power"?'),
        ("power[bse] >= 0.9", 'no scenario "bse" in this run; did you mean "base"?'),
        ("power[base] >= a lot", 'power is compared with a number, not "a lot"'),
        ("duration[base] >= long", 'duration is compared with a time, for example 30 months, not "long"'),
        ("power[n=450] >= 0.9", "n=450 is a design, not a scenario; name one, for example power[n=450,h0]"),
        ("power[n=450,zz] >= 0.9", 'no scenario "zz" in this run; name one, for example power[n=450,h0]'),
        ("power[zz] >= 0.9", 'no scenario "zz" in this run; allowed: h0, base, stress[hr=0.65,delay=0 months]'),
        ("power[] >= 0.9", 'no scenario "" in this run; allowed: h0'),
        ("power[base] >= 3 months", "power is compared with a number"),
        ("duration[base] <= 30", "duration is compared with a time, for example 30 months"),
    ],
)
def test_what_cannot_be_read_is_refused(text, words):
    with pytest.raises(UsageError) as refused:
        parse_expectation(text, CELLS)
    assert words in str(refused.value)


GRID = [("default", "h0"), *(("default", f"s[hr={hr / 100},delay={months} months]") for hr in range(55, 100, 5) for months in range(0, 12, 2))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("power[s] >= 0.9", "s is a grid of 54 scenarios; name one, for example power[s[hr=0.55,delay=0 months]]"),
        ("power[default,s] >= 0.9", "s is a grid of 54 scenarios; name one, for example power[default,s[hr=0.55,delay=0 months]]"),
        ("power[zzz] >= 0.9", 'no scenario "zzz" in this run; allowed: h0, s[hr=0.55'),
    ],
)
def test_a_grid_is_refused_with_one_of_its_cells_in_a_short_line(text, words):
    with pytest.raises(UsageError) as refused:
        parse_expectation(text, GRID)
    said = str(refused.value)
    assert words in said
    assert len(said) <= 200
    if "for example " in said:
        example = said.partition("for example ")[2]
        assert parse_expectation(f"{example} >= 0.9", GRID).concerns(row("default", "s[hr=0.55,delay=0 months]"))
