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

from trialsim.errors import UsageError, did_you_mean, nearest
from trialsim.evaluation.results import ALL_MEASURES, ResultRow
from trialsim.units import Quantity

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
LONGEST = 200
"""Characters of a message."""
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
    cells = tuple(cells)
    names = {name for design, scenario in cells for name in (scenario, f"{design},{scenario}")}
    cell = match["cell"].strip()
    if cell not in names:
        raise UsageError(_shortened(f'--assert "{text}": {_no_such_cell(cell, match["measure"], cells)}'))
    is_time = match["measure"].startswith(("duration", "look_time"))
    wanted = f"{match['measure']} is compared with {'a time, for example 30 months' if is_time else 'a number'}"
    try:
        bound = Quantity.parse(match["bound"])
    except PydanticCustomError:
        raise UsageError(f'--assert "{text}": {wanted}, not "{match["bound"]}"') from None
    if bound.dimension != ("time" if is_time else ""):
        raise UsageError(f'--assert "{text}": {wanted}')
    return Expectation(text, match["analysis"], match["measure"], cell, match["operator"], bound)


def _no_such_cell(cell: str, measure: str, cells: Sequence[tuple[str, str]]) -> str:
    """What is between the brackets instead of a scenario, and an example of what could be."""
    designs, scenarios = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    design = max((name for name in designs if cell == name or cell.startswith(f"{name},")), key=len, default="")
    comma, scenario = "," if design else "", cell[len(design) :].removeprefix(",") if design else cell
    inside = [name for name in scenarios if name.startswith(f"{scenario}[")] if scenario else []
    if inside:
        return f"{scenario} is a grid of {len(inside)} scenarios; name one, for example {measure}[{design}{comma}{inside[0]}]"
    if design:
        words = f'no scenario "{scenario}" in this run' if scenario else f"{design} is a design, not a scenario"
        return f"{words}; name one, for example {measure}[{design},{scenarios[0]}]"
    near = nearest(cell, {*scenarios, *(f"{one},{other}" for one, other in cells)})
    hint = f'; did you mean "{near}"?' if near else f"; allowed: {', '.join(scenarios)}"
    return f'no scenario "{cell}" in this run{hint}'


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 2]} …"


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
