"""Words for numbers: what is said reads back as what was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.report import wording
from trialsim.report.wording import NB, count, counted, fixed, listed, number, rate, share, signed, time, value
from trialsim.units import DAYS, Quantity, parse_rate, parse_share, parse_time


def plain(text: str) -> str:
    return text.replace(NB, " ").replace("−", "-").replace(",", "")


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (12 * DAYS["month"], "12 months"),
        (DAYS["month"], "1 month"),
        (26 * 7.0, "26 weeks"),
        (7.0, "1 week"),
        (35.0, "5 weeks"),
        (180.0, "180 days"),
        (60 * DAYS["month"], "60 months"),
        (0.5 * DAYS["month"], "0.5 months"),
        (0.0, "0 months"),
    ],
)
def test_trial_times_are_in_the_unit_a_trialist_would_write(days: float, words: str) -> None:
    assert plain(time(days)) == words


@pytest.mark.parametrize(("days", "words"), [(63 * DAYS["year"], "63 years"), (18 * DAYS["year"], "18 years"), (DAYS["year"], "1 year")])
def test_ages_are_in_years(days: float, words: str) -> None:
    assert plain(time(days, ages=True)) == words


@given(st.integers(1, 5000), st.sampled_from(sorted(DAYS)), st.booleans())
def test_a_time_reads_back_as_the_same_time(amount: int, unit: str, ages: bool) -> None:
    days = amount / 8 * DAYS[unit]
    assert parse_time(plain(time(days, ages=ages))) == pytest.approx(days, rel=1e-11)


@given(st.integers(1, 5000), st.sampled_from(sorted(DAYS)))
def test_a_rate_reads_back_as_the_same_rate(amount: int, unit: str) -> None:
    per_day = amount / 1000 / DAYS[unit]
    assert parse_rate(plain(rate(per_day)).replace(" per ", " / ")) == pytest.approx(per_day, rel=1e-11)


@given(st.floats(-1e9, 1e9, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-5))
def test_a_number_reads_back_to_twelve_digits(x: float) -> None:
    assert float(plain(number(x))) == pytest.approx(x, rel=1e-11)


@given(st.integers(0, 1000))
def test_a_share_reads_back_as_the_same_share(thousandths: int) -> None:
    assert parse_share(plain(share(thousandths / 1000))) == pytest.approx(thousandths / 1000, rel=1e-12)


def test_rates_name_what_they_count() -> None:
    assert plain(rate(parse_rate("20 / month"), "patients")) == "20 patients per month"
    assert plain(rate(parse_rate("1 / month"), "patients")) == "1 patient per month"
    assert plain(rate(parse_rate("0.01 / month"))) == "0.01 per month"
    assert plain(rate(parse_rate("1.3 / year"))) == "1.3 per year"


def test_lists_and_counts() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert listed(["a (x, y)", "b"]) == "a (x, y); and b"
    assert counted(1, "look") == "one look"
    assert counted(3, "look") == "three looks"
    assert counted(1200, "look") == "1,200 looks"
    assert plain(count(1, "patient")) == "1 patient"
    assert count(10000, "patient") == f"10,000{NB}patients"


def test_signs_are_real_minus_signs_and_zero_has_none() -> None:
    assert signed(49.4) == "+49.4"
    assert signed(-3) == "−3"
    assert signed(0) == "0"
    assert fixed(-0.00004, 3) == "0.000"
    assert fixed(-1234.5, 1) == "−1,234.5"


def test_values_of_the_language() -> None:
    assert plain(value("6 months")) == "6 months"
    assert plain(value("1 years")) == "1 year"
    assert plain(value("30 %")) == "30 %"
    assert plain(value("182.625 days")) == "6 months"
    assert value("unstructured") == "unstructured"
    assert value(True) == "yes"
    assert plain(value([1, 2.5])) == "1 and 2.5"
    assert plain(value(Quantity(10, "mg/kg"))) == "10 mg/kg"


def test_nothing_here_is_unused() -> None:
    """Every public function of the file is used by the report."""
    from pathlib import Path

    source = "".join(path.read_text() for path in Path(wording.__file__).parent.rglob("*.py") if path.name != "wording.py")
    own = Path(wording.__file__).read_text()
    names = [name for name in vars(wording) if callable(getattr(wording, name)) and not name.startswith("_") and f"def {name}(" in own]
    assert names
    assert [name for name in names if f"{name}(" not in source and f"{name} as" not in source and own.count(f"{name}(") == 1] == []
