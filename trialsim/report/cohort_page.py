"""The page of `trialsim cohort check`: the verdict, then everything it rests on."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trialsim.cohort.fidelity.side_by_side import SideBySide
from trialsim.cohort.fidelity.survival import SurvivalCurve, SurvivalDistance
from trialsim.errors import UsageError
from trialsim.evaluation.cohort_check import CheckReport
from trialsim.report.figures.chart import Chart, Series
from trialsim.report.figures.forest import Forest, ForestRow
from trialsim.report.figures.heat_map import HeatMap
from trialsim.report.figures.histogram import Histogram, of_levels, of_numbers
from trialsim.report.wording import MINUS, fixed

_HERE = Path(__file__).parent
_VERDICTS = {
    "pass": ("Pass", "It may be released: the declared thresholds are met, and so is the membership gate."),
    "fail": ("Fail", "It may not be released."),
    "inconclusive": ("Inconclusive", "It may not be released: nothing fails, but whether it tells whom it was fitted to is not settled."),
}
GATED = frozenset({"density_ratio", "shadow_model"})
Z = 1.959963984540054


def write_cohort_page(report: CheckReport, out: str | os.PathLike[str]) -> Path:
    """Writes the page; it appears whole or not at all. Raises UsageError where it cannot be written."""
    target = Path(out)
    page = render(report)
    temporary = target.with_name(f".{target.name}.writing-{os.getpid()}")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def render(report: CheckReport) -> str:
    """The page as text: one file without outside references. It shows aggregates of real patients and is no part of a release."""
    word, meaning = _VERDICTS[report.verdict]
    context: dict[str, Any] = {
        "css": Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        "report": report,
        "word": word,
        "meaning": meaning,
        "tiles": _tiles(report),
        "criteria": _criteria(report),
        "margins": _margins(report.pair),
        "margin_rows": _margin_rows(report),
        "correlation": _correlation_map(report),
        "errors": _error_map(report),
        "survival": [_survival_chart(outcome, curves) for outcome, curves in _by_outcome(report.fidelity.survival)],
        "effects": _effect_forests(report),
        "membership": _membership(report),
        "attacks": _attacks(report),
        "disclosed": _disclosed(report),
        "calibration": _calibration_rows(report),
        "facts": _facts(report),
    }
    return _environment().get_template("cohort.html.j2").render(context).lstrip()


@cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["figure"] = _figure
    made.filters["percent"] = lambda value: "–" if value is None or not math.isfinite(value) else f"{fixed(100 * value, 1)}\u00a0%"
    made.filters["count"] = lambda value: f"{value:,}"
    return made


def _figure(value: float | None, places: int = 3) -> str:
    """A number in a table; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else fixed(value, places)


@dataclass(frozen=True, slots=True)
class Tile:
    """A number at the head of the page."""

    label: str
    value: str
    note: str


def _tiles(report: CheckReport) -> list[Tile]:
    found = []
    if report.disclosure is not None:
        auc = report.disclosure.membership_auc
        found.append(Tile("Membership AUC", _figure(auc.estimate), f"{_figure(auc.ci_low)} to {_figure(auc.ci_high)}; the gate is 0.55"))
    told = report.fidelity.classifier.worst
    low, high = told.interval()
    found.append(Tile("Classifier AUC", _figure(told.estimate), f"{_figure(low)} to {_figure(high)}; real against synthetic, n {told.n_real:,} each"))
    if report.fidelity.dependence.worst:
        worst = report.fidelity.dependence.worst[0]
        found.append(Tile("Largest error of a correlation", _figure(abs(worst.error.estimate)), f"± {_figure(worst.error.se)}; {worst.one} and {worst.two}"))
    hazards = [effect for effect in report.effects.overall if effect.scale == "log_hazard_ratio"]
    for effect in (hazards or list(report.effects.overall))[:1]:
        note = f"{_figure(effect.synthetic)} instead of {_figure(effect.real)} ± {_figure(effect.real_se)}"
        found.append(Tile("Error of the log hazard ratio" if hazards else f"Error of the difference in {effect.outcome}", _figure(effect.error), note))
    return found


def _criteria(report: CheckReport) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of the table of thresholds by section, the gate among them."""
    sections: dict[str, list[dict[str, Any]]] = {}
    for criterion in report.criteria:
        sections.setdefault(criterion.section.capitalize(), []).append(_criterion_row(criterion))
    if report.disclosure is not None:
        auc, verdict = report.disclosure.membership_auc, report.disclosure.verdict
        words = f"the membership AUC lies between {_figure(auc.ci_low)} and {_figure(auc.ci_high)}" + (": not settled" if verdict == "inconclusive" else "")
        row = {"name": "Membership gate", "words": words, "value": _figure(auc.estimate), "limit": "0.550", "met": {"pass": True, "fail": False}.get(verdict)}
        sections["Disclosure"] = [row]
    return list(sections.items())


def _criterion_row(criterion: Any) -> dict[str, Any]:
    places = 0 if criterion.name.endswith("how many") else 3 if max(abs(criterion.value), criterion.limit) < 10 else 1
    words = criterion.sentence[: criterion.sentence.rfind(" (")]
    return {
        "name": criterion.name[:1].upper() + criterion.name[1:],
        "words": words,
        "value": _figure(criterion.value, places),
        "limit": _figure(criterion.limit, places),
        "met": criterion.met,
    }


def _margins(pair: SideBySide) -> list[tuple[str, Histogram]]:
    found = []
    for column in pair.columns:
        real, synthetic = (side[~np.isnan(side)] for side in (column.real, column.synthetic))
        if not len(real) or not len(synthetic):
            continue
        title = f"{column.name}: real and synthetic patients"
        if column.levels:
            found.append((column.name, of_levels(title, real, synthetic, column.levels)))
        elif column.is_stepped:
            values = np.unique(real)
            places = [np.abs(side[:, None] - values).argmin(1).astype(np.float64) for side in (real, synthetic)]
            found.append((column.name, of_levels(title, places[0], places[1], [f"{value:g}" for value in values])))
        else:
            found.append((column.name, of_numbers(title, real, synthetic)))
    return found


def _margin_rows(report: CheckReport) -> list[dict[str, Any]]:
    rates = {rate.column: rate for rate in report.fidelity.missingness.rates}
    rows = []
    for margin in report.fidelity.margins:
        distance = margin.ks or margin.tv
        assert distance is not None
        rate = rates.get(margin.column)
        rows.append(
            {
                "column": margin.column,
                "kind": "KS" if margin.ks else "TV",
                "distance": distance,
                "wasserstein": margin.wasserstein,
                "missing_real": 0.0 if rate is None else rate.real,
                "missing_synthetic": 0.0 if rate is None else rate.synthetic,
            }
        )
    return rows


def _correlation_map(report: CheckReport) -> HeatMap:
    dependence = report.fidelity.dependence
    both = np.where(np.tril(np.ones_like(dependence.real, dtype=bool)), dependence.real, dependence.synthetic)
    return HeatMap("Correlations: real patients below the diagonal, synthetic ones above", dependence.features, both)


def _error_map(report: CheckReport) -> HeatMap:
    dependence = report.fidelity.dependence
    error = np.where(dependence.compared, dependence.synthetic - dependence.real, np.nan)
    return HeatMap("Errors of correlations, synthetic minus real", dependence.features, error, full=2 * (report.thresholds.correlation or 0.05))


def _by_outcome(curves: Sequence[SurvivalDistance]) -> list[tuple[str, list[SurvivalDistance]]]:
    found: dict[str, list[SurvivalDistance]] = {}
    for curve in curves:
        found.setdefault(curve.outcome, []).append(curve)
    return list(found.items())


def _survival_chart(outcome: str, curves: Sequence[SurvivalDistance]) -> dict[str, Any]:
    series = []
    for place, curve in enumerate(curves):
        colour = place % 6 + 1
        series.append(Series(f"arm {curve.arm}, real", _steps(curve.real, curve.until), colour, step=True))
        series.append(Series(f"arm {curve.arm}, synthetic", _steps(curve.synthetic, curve.until), colour, style="dashed", step=True))
    until = max(curve.until for curve in curves) or 1.0
    chart = Chart(
        title=f"Survival without {outcome}",
        x_title="Time (as in the data)",
        y_title=f"Share without {outcome}",
        x_range=(0.0, until),
        y_range=(0.0, 1.0),
        series=series,
        y_ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    )
    return {"outcome": outcome, "chart": chart, "curves": curves}


def _steps(curve: SurvivalCurve, until: float, points: int = 300) -> list[tuple[float, float]]:
    """The curve at its own steps where they are few, else on a grid: no more can be seen."""
    times = curve.time[curve.time <= until]
    if len(times) > points:
        times = np.linspace(0.0, until, points)
    times = np.concatenate(([0.0], times, [until]))
    return list(zip(times.tolist(), curve.at(times).tolist(), strict=True))


def _effect_forests(report: CheckReport) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(effect.name for effect in report.effects.effects):
        effects = [effect for effect in report.effects.effects if effect.name == name]
        rows = [
            ForestRow("everybody" if e.subgroup is None else e.subgroup, e.real, e.real - Z * e.real_se, e.real + Z * e.real_se, e.synthetic) for e in effects
        ]
        axis = "Log hazard ratio" if effects[0].scale == "log_hazard_ratio" else "Difference in means"
        found.append({"name": name, "forest": Forest(name, f"{axis}, {effects[0].arm} against {effects[0].reference}", rows), "effects": effects})
    return found


def _membership(report: CheckReport) -> Forest | None:
    if report.disclosure is None:
        return None
    auc = report.disclosure.membership_auc
    rows = [ForestRow("everybody", auc.estimate, auc.ci_low, auc.ci_high)]
    rows += [ForestRow(group.name, group.estimate, group.ci_low, group.ci_high) for group in auc.subgroups]
    return Forest(
        "Membership AUC with simultaneous intervals", "Membership AUC (0.5: nobody's membership can be told; 0.55: the gate)", rows, lines=(0.5, 0.55)
    )


def _attacks(report: CheckReport) -> list[tuple[str, float, bool]]:
    """Every membership attack, its AUC, and whether it takes part in the gate."""
    if report.disclosure is None:
        return []
    return [(_words(name), auc, name in GATED) for name, auc in report.disclosure.membership_auc.attacks.items()]


def _disclosed(report: CheckReport) -> list[tuple[str, str]]:
    """The further measures of disclosure as names and numbers, flat."""
    if report.disclosure is None:
        return []
    rows: list[tuple[str, str]] = []
    for name in ("copies", "distances", "unique_values", "singling_out", "linkability", "attribute_inference"):
        for key, value in getattr(report.disclosure, name).items():
            shown = ", ".join(f"{_words(inner)} {_number(item)}" for inner, item in value.items()) if isinstance(value, dict) else _number(value)
            rows.append((f"{_words(name)}: {_words(key)}", shown))
    return rows


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if not math.isfinite(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) or float(value).is_integer() else f"{value:.3g}".replace("-", MINUS)


def _calibration_rows(report: CheckReport) -> list[dict[str, Any]]:
    """Every outcome in every subgroup, as many digits as its standard error bears."""
    rows = []
    for each in report.calibration:
        places = 3 if each.unit == "probability" else max(0, min(6, 1 - math.floor(math.log10(each.error.se)) if each.error.se > 0 else 2))
        rows.append(
            {"what": each, "real": _figure(each.real, places), "synthetic": _figure(each.synthetic, places), "error": _figure(each.error.estimate, places)}
        )
    return rows


def _facts(report: CheckReport) -> list[tuple[str, str]]:
    facts = [(f"Model: {_words(name)}", str(value)) for name, value in report.model.items()]
    facts += [(f"Data: {_words(name)}", _flat(value)) for name, value in report.data.items()]
    facts += [("Seed", str(report.seed)), ("Synthetic patients", f"{report.fidelity.n_synthetic:,}")]
    return facts + [(f"Threshold: {_words(name)}", "not judged" if value is None else f"{value:g}") for name, value in report.thresholds.model_dump().items()]


def _flat(value: Any) -> str:
    return "; ".join(f"{_words(name)} {item}" for name, item in value.items()) if isinstance(value, dict) else str(value)
