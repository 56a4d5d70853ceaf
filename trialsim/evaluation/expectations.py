"""What a user expects of a run: `--assert "power[base] >= 0.9"`.

    measure[scenario] op number              in every design of the run
    measure[design,scenario] op number       in one cell
    analysis.measure[…] op number            of a named analysis (default: every analysis that has the measure)
    measure[…] op 30 months                  for times

`op` is one of >=, <=, >, <. It is about the whole trial (no look), and about the family where an analysis has several arms.
The estimate itself is compared; the message gives its MCSE, so that a near miss can be told from a failure.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from trialsim.errors import UsageError, did_you_mean
from trialsim.evaluation.results import ALL_MEASURES, ResultRow
from trialsim.units import Quantity

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_FORM = re.compile(r"^\s*(?:(?P<analysis>[^\s.\[\]]+)\.)?(?P<measure>\w+)\s*\[(?P<cell>.*)\]\s*(?P<operator>>=|<=|>|<)\s*(?P<bound>.+?)\s*$")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One parsed `--assert`. `cell` is as written, between the brackets."""

    text: str
    analysis: str | None
    measure: str
    cell: str
    operator: str
    bound: Quantity

    def concerns(self, row: ResultRow) -> bool:
        """Whether the row is one that this is about."""
        return (
            row.measure == self.measure
            and row.look is None
            and row.arm is None
            and (self.analysis is None or row.analysis == self.analysis)
            and self.cell in (row.scenario, f"{row.design},{row.scenario}")
        )

    def holds(self, row: ResultRow) -> bool:
        """Whether the row's estimate is as expected."""
        return bool(OPERATORS[self.operator](row.estimate, self.bound.value))


def parse_expectation(text: str, cells: Iterable[tuple[str, str]]) -> Expectation:
    """Parse and check against the cells (design, scenario) of the run. Raises UsageError."""
    match = _FORM.match(text)
    if match is None:
        raise UsageError(f'--assert "{text}": write for example "power[base] >= 0.9"')
    if match["measure"] not in ALL_MEASURES:
        raise UsageError(f'--assert "{text}": no measure "{match["measure"]}"{did_you_mean(match["measure"], ALL_MEASURES)}')
    names = {name for design, scenario in cells for name in (scenario, f"{design},{scenario}")}
    cell = match["cell"].strip()
    if cell not in names:
        raise UsageError(f'--assert "{text}": no scenario "{cell}" in this run{did_you_mean(cell, names)}')
    try:
        bound = Quantity.parse(match["bound"])
    except PydanticCustomError as error:
        raise UsageError(f'--assert "{text}": {error.message()}') from None
    is_time = match["measure"].startswith(("duration", "look_time"))
    if bound.dimension != ("time" if is_time else ""):
        wanted = "a time, for example 30 months" if is_time else "a number"
        raise UsageError(f'--assert "{text}": {match["measure"]} is compared with {wanted}')
    return Expectation(text, match["analysis"], match["measure"], cell, match["operator"], bound)


def unmet(expectations: Sequence[Expectation], rows: Sequence[ResultRow]) -> list[str]:
    """A line for every expectation that does not hold, with the value and its MCSE; one without any result does not hold."""
    lines = []
    for expectation in expectations:
        found = [row for row in rows if expectation.concerns(row)]
        if not found:
            lines.append(f"not met: {expectation.text}: this run has no such result")
        for row in found:
            if not expectation.holds(row):
                where = row.scenario if row.design == "default" else f"{row.design},{row.scenario}"
                analysis = f"{row.analysis}." if row.analysis is not None else ""
                lines.append(f"not met: {expectation.text}: {analysis}{row.measure}[{where}] = {row.estimate:.6g}, MCSE {row.mcse:.2g}, n {row.n:,}")
    return lines
