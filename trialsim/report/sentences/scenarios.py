"""What is compared (designs), under which states of nature (scenarios), and how often it is simulated."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from trialsim.report.sentences.passage import Passage
from trialsim.report.wording import NB, capital, count, counted, listed, value
from trialsim.spec import Cell, Study
from trialsim.spec.protocol import Protocol

ROLES = {
    "null_hypothesis": "null hypothesis",
    "alternative": "alternative",
    "sensitivity": "sensitivity analysis",
    "assurance": "assurance",
}


def described_cell(study: Study, among: Container[tuple[str, str]] | None = None) -> Cell:
    """The cell whose values the prose gives: the design and the alternative that leave parameters as the protocol states them.

    `among` are the (design, scenario) to choose from; default: all.
    """
    cells = [cell for cell in study.cells() if among is None or (cell.design, cell.scenario) in among]
    parameters = study.resolved().get("parameters") or {}

    def distance(cell: Cell) -> tuple[int, int]:
        changed = sum(not _is_own(token, parameters) for token in _tokens(cell.design))
        return ("alternative", "sensitivity", "assurance", "null_hypothesis").index(cell.role), changed

    return min(cells, key=distance)


def _tokens(name: str) -> list[tuple[str, str]]:
    inside = name.split("[", 1)[1].rstrip("]") if "[" in name else name
    return [(key, text) for part in inside.split(",") if "=" in part for key, _, text in [part.partition("=")]]


def _is_own(token: tuple[str, str], parameters: Mapping[str, Any]) -> bool:
    key, text = token
    return key in parameters and value(parameters[key]) == value(text)


def designs_and_scenarios(study: Study) -> Passage:
    """The varying parameters, the designs, the scenarios."""
    cells = study.cells()
    resolved = study.resolved()
    if not _has_truth(study) and len(cells) == 1:
        return Passage.of("Designs and scenarios")
    designs = list(dict.fromkeys(cell.design for cell in cells))
    scenarios = {cell.scenario: cell for cell in cells}
    return Passage.of(
        "Designs and scenarios",
        list(_parameters(resolved)),
        list(_designs(designs, resolved.get("designs"))),
        list(_scenarios(list(scenarios.values()), resolved.get("scenarios") or {})),
    )


def _has_truth(study: Study) -> bool:
    return any(cell.protocol.truth is not None for cell in study.cells())


def _parameters(resolved: Mapping[str, Any]) -> Iterator[str]:
    parameters = resolved.get("parameters") or {}
    used = _uses({key: section for key, section in resolved.items() if key not in ("parameters", "designs", "scenarios")})
    said = []
    for name, own in parameters.items():
        where = listed(dict.fromkeys(_place(path) for path in used.get(name, ())))
        said.append(f"{name} ({where or 'used by other parameters'}), {value(own)} unless set")
    if said:
        yield f"Designs and scenarios set {'this parameter' if len(said) == 1 else 'these parameters'}: {'; '.join(said)}."


def _uses(section: Any, path: tuple[str, ...] = ()) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    items = section.items() if isinstance(section, Mapping) else enumerate(section) if isinstance(section, list | tuple) else ()
    if isinstance(section, str) and section.startswith("$"):
        found.setdefault(section[1:], []).append(path)
    for key, item in items:
        for name, places in _uses(item, (*path, str(key))).items():
            found.setdefault(name, []).extend(places)
    return found


def _place(path: tuple[str, ...]) -> str:
    """Where a parameter stands, in words."""
    match path:
        case ("population", "planned_enrollment"):
            return "the planned enrolment"
        case ("truth", "effects", arm, outcome, *_, "until" | "onset"):
            return f"when the effect of {arm} on {outcome} changes"
        case ("truth", "effects", arm, outcome, *_):
            return f"the effect of {arm} on {outcome}"
        case ("truth", "outcomes", outcome, *rest):
            return f"the {rest[0].replace('_', ' ')} of {outcome}" if rest else f"the law of {outcome}"
        case ("truth", "censoring", *_):
            return "loss to follow-up"
        case ("truth", "intercurrent_events", event, *_):
            return f"the intercurrent event {event}"
        case ("accrual", *_):
            return "accrual"
        case ("randomization", *_):
            return "randomisation"
        case ("looks" | "interims", *_):
            return "the timing of the looks"
        case ("analyses", name, *_):
            return f"the analysis {name}"
        case ("population", "covariates", name, *_):
            return f"the law of {name}"
        case _:
            return ".".join(path)


def _designs(names: list[str], section: Any) -> Iterator[str]:
    if len(names) == 1:
        yield f"One design is simulated, {names[0]}." if section else "One design is simulated."
    else:
        yield f"{capital(counted(len(names), 'design'))} are compared: {listed(_unbroken(names))}."
    if isinstance(section, Mapping) and set(section) == {"grid"}:
        yield f"They set {_grid(section['grid'])}."
    elif isinstance(section, Mapping):
        for name, item in section.items():
            if said := _sets(item or {}):
                yield f"{name} {said}."


def _grid(grid: Mapping[str, Any]) -> str:
    return listed(f"{name} to {listed((value(item) for item in items), 'or') if isinstance(items, list) else value(items)}" for name, items in grid.items())


def _unbroken(names: list[str]) -> list[str]:
    """Names that a line break would spoil."""
    return [name.replace(" ", NB) for name in names]


def _sets(item: Mapping[str, Any]) -> str:
    if item.get("set"):
        return "sets " + listed(f"{name} to {value(given)}" for name, given in item["set"].items())
    if item.get("grid"):
        return f"sets {_grid(item['grid'])}{', in every combination' if len(item['grid']) > 1 else ''}"
    if draw := item.get("draw"):
        return f"draws parameters anew in every replicate: {value(draw)}"
    return ""


def _scenarios(cells: list[Cell], section: Mapping[str, Any]) -> Iterator[str]:
    names = [cell.scenario for cell in cells]
    yield f"{capital(counted(len(cells), 'scenario'))} {'is' if len(cells) == 1 else 'are'} simulated: {listed(_unbroken(names))}."
    role = {cell.scenario.split("[", 1)[0]: cell.role for cell in cells}
    for name, item in (section or {key: {} for key in role}).items():
        kind = ROLES[role.get(name, "alternative")]
        yield f"{name} ({kind}) {_sets(item or {}) or 'leaves every parameter as stated'}."


def the_simulation(study: Study, protocol: Protocol) -> Passage:
    """Replicates, seed, precision, what is kept."""
    if not _has_truth(study):
        return Passage.of("Simulation")
    by_role: dict[int, list[str]] = {}
    for cell in study.cells():
        roles = by_role.setdefault(cell.replicates, [])
        if (kind := cell.role.replace("_", "-")) not in roles:
            roles.append(kind)
    said = listed(f"{count(n, 'trial')} in each {listed(roles)} scenario" for n, roles in by_role.items())
    if len(by_role) == 1:
        said = f"{count(next(iter(by_role)), 'trial')} in each scenario"
    simulation = protocol.simulation
    seed = f" The seed is {simulation.seed}." if simulation.seed is not None else " No seed is given yet; a run needs one."
    precision = (
        "In each of them, simulation stops as soon as the Monte Carlo standard error is at most "
        f"{listed(f'{value(item)} for {key}' for key, item in simulation.target_mcse.items())}; so many trials are the most there may be."
        if simulation.target_mcse
        else ""
    )
    kept = []
    if simulation.keep.example_trials:
        kept.append(f"{count(simulation.keep.example_trials, 'example trial')}")
    if simulation.keep.patient_level:
        kept.append(f"the patient-level data of {count(simulation.keep.patient_level, 'replicate')}")
    keep = f"{capital(listed(kept))} of each cell {'is' if len(kept) == 1 and simulation.keep.example_trials == 1 else 'are'} to be kept." if kept else ""
    noise = "All designs and scenarios share their random numbers, so that they differ by what differs between them only." if len(study.cells()) > 1 else ""
    return Passage.of("Simulation", [f"Each design is simulated by {said}.{seed}", precision, keep, noise])
