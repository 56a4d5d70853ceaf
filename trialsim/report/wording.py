"""Numbers, units and lists as an English sentence needs them.

What belongs on one line (a number and its unit) is joined by a no-break space; `prose` turns it into a plain one after
wrapping, HTML keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from trialsim.units import DAYS, Quantity

NB = "\u00a0"
MINUS = "−"
_TRIAL_UNITS = ("month", "week", "day", "year")
_AGE_UNITS = ("year", "month", "week", "day")
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_UNIT_OF_TIME = re.compile(r"(day|week|month|year)s?$")


def _plain(value: float) -> str:
    """At most twelve significant digits, no exponent where a reader would not write one, no trailing zeros."""
    text = f"{value:.12g}"
    if "e" in text and 1e-6 <= abs(value) < 1e15:
        text = f"{value:.18f}".rstrip("0").rstrip(".")
    return text


def number(value: float) -> str:
    """`0.7`, `−3`, `12,000`: as the protocol states it, with a real minus sign and thousands apart."""
    text = _plain(abs(value))
    whole, dot, rest = text.partition(".")
    if whole.isdigit() and len(whole) > 4:
        whole = f"{int(whole):,}"
    return (MINUS if value < 0 else "") + whole + dot + rest


def signed(value: float) -> str:
    """`+49.4`, `−3`, `0`."""
    return f"+{number(value)}" if value > 0 else number(value)


def count(value: float, noun: str = "", plural: str | None = None) -> str:
    """`1 look`, `10,000 trials`."""
    text = f"{value:,.0f}" if float(value).is_integer() else number(value)
    return text if not noun else f"{text}{NB}{noun if value == 1 else plural or noun + 's'}"


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """`three looks`; numerals above twelve."""
    words = _SMALL[value] if 0 <= value < len(_SMALL) else f"{value:,}"
    return f"{words} {noun if value == 1 else plural or noun + 's'}"


def share(value: float) -> str:
    """`30 %`."""
    return f"{number(float(f'{value * 100:.12g}'))}{NB}%"


def probability(value: float) -> str:
    """A probability as a statistician states alpha: `0.025`."""
    return number(value)


def time(days: float, *, ages: bool = False) -> str:
    """A time in the unit in which it is shortest to write; not years, for trial times, unless much shorter: `12 months`."""
    if days == 0:
        return f"0{NB}{'years' if ages else 'months'}"
    candidates = [(number(float(f"{days / DAYS[unit]:.12g}")), unit) for unit in (_AGE_UNITS if ages else _TRIAL_UNITS)]
    text, unit = min(candidates, key=lambda found: len(found[0].replace(",", "")) + (3 if found[1] == "year" and not ages else 0))
    return f"{text}{NB}{unit if text == '1' else unit + 's'}"


def rate(per_day: float, what: str = "") -> str:
    """`20 patients per month`, `0.01 per month`."""
    text, unit = min(((number(float(f"{per_day * DAYS[unit]:.12g}")), unit) for unit in ("month", "year", "week", "day")), key=lambda found: len(found[0]))
    noun = f"{NB}{what if text != '1' else what.removesuffix('s')}" if what else ""
    return f"{text}{noun} per{NB}{unit}"


def quantity(value: Quantity, *, ages: bool = True) -> str:
    """A quantity in words; times are ages unless said otherwise."""
    if value.dimension == "time":
        return time(value.value, ages=ages)
    if value.dimension == "rate":
        return rate(value.value)
    unit = value.dimension
    return f"{number(value.value)}{NB}{unit}" if unit else number(value.value)


def value(given: Any, *, ages: bool = False) -> str:
    """Any value of the language in words: numbers, quantities with their unit, lists, words."""
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, int | float):
        return number(float(given))
    if given is None:
        return "none"
    if isinstance(given, Quantity):
        return quantity(given, ages=ages)
    if isinstance(given, Mapping):
        inside = {name: value(item, ages=ages) for name, item in given.items()}
        return listed(f"{str(name).replace('_', ' ')} {f'({inside[name]})' if isinstance(given[name], Mapping) else inside[name]}" for name in given)
    if isinstance(given, list | tuple):
        return listed(f"({value(item, ages=ages)})" if isinstance(item, Mapping) else value(item, ages=ages) for item in given)
    return _written(str(given), ages=ages)


def _written(text: str, *, ages: bool) -> str:
    """A word as it is; a quantity written with its unit, with the unit as a reader says it."""
    try:
        parsed = Quantity.parse(text)
    except PydanticCustomError:
        return text.removeprefix("$")
    if parsed.dimension == "time":
        amount, unit = text.split(None, 1) if " " in text.strip() else (text, "")
        known = _UNIT_OF_TIME.match(unit.strip())
        # A unit other than days was chosen by the author: keep it.
        if known and known[1] != "day":
            return f"{number(float(amount))}{NB}{known[1]}{'' if float(amount) == 1 else 's'}"
        return time(parsed.value, ages=ages)
    if text.strip().endswith("%"):
        return share(parsed.value)
    return quantity(parsed, ages=ages)


def listed(items: Iterable[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; with semicolons where an item has a comma of its own."""
    found = list(items)
    if len(found) <= 1:
        return "".join(found)
    comma = "; " if any(", " in item for item in found) else ", "
    return f"{comma.join(found[:-1])}{';' if comma == '; ' else ''} {word} {found[-1]}"


def capital(text: str) -> str:
    """The text with its first letter a capital."""
    return text[:1].upper() + text[1:]


def fixed(value: float, places: int) -> str:
    """A number with `places` decimals, thousands apart, a real minus sign and no negative zero."""
    text = f"{abs(value):,.{places}f}"
    return f"{MINUS}{text}" if value < 0 and any(digit in "123456789" for digit in text) else text


def article(noun: str) -> str:
    """`a truncated normal`, `an exponential`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' and not noun.startswith('uni') else 'a'} {noun}"
