"""`trialsim design`: bounds, look times and the power they promise, without simulating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say

if TYPE_CHECKING:
    from trialsim.design import Bounds
    from trialsim.evaluation.planned import PlannedLooks
    from trialsim.evaluation.prediction import LooksAhead, Prospect
    from trialsim.simulate import Trial
    from trialsim.spec import Cell, Protocol, Study

    Ahead = tuple[Trial, Prospect, dict[str, LooksAhead]]
Row = dict[str, Any]


@command
def design(
    protocol: Annotated[Path, typer.Argument(help="The protocol (YAML). Bounds need analyses and interims only.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Set a parameter of the protocol: hr=0.8 (may be repeated).")] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only these cells: scenario=base, design=n=500, role=alternative (may be repeated).")] = None,
) -> None:
    """Print efficacy and futility bounds, when looks are expected, and the power that each scenario implies."""
    from trialsim_cli.run import assignments

    from trialsim.evaluation.planned import SCHEMA
    from trialsim.spec import load

    study = load(protocol, sets=assignments(set_, "--set"))
    looks, scenarios = design_study(study, assignments(only, "--only"))
    if json:
        print_json({"schema": SCHEMA, "looks": looks, "scenarios": scenarios})
    else:
        from trialsim_cli.design_table import print_design

        print_design(study.id, looks, scenarios)


def design_study(study: Study, only: Mapping[str, str]) -> tuple[list[Row], list[Row]]:
    """The look rows and the scenario rows of every design asked for."""
    study.require("analyses")
    designs: dict[str, list[Cell]] = {}
    for cell in study.cells(only):
        designs.setdefault(cell.design, []).append(cell)
    looks: list[Row] = []
    scenarios: list[Row] = []
    said: set[str] = set()
    for cells in designs.values():
        # Look times are those of the scenario that the trial is planned for: the first alternative.
        shown = next((cell for cell in cells if cell.role == "alternative"), cells[0])
        for cell in cells:
            ahead = _ahead(study, cell, said)
            if cell is shown:
                looks = [*looks, *_look_rows(cell, ahead)]
            scenarios += _scenario_rows(cell, ahead)
    return looks, scenarios


def _ahead(study: Study, cell: Cell, said: set[str]) -> Ahead | None:
    """What the cell's truth lets us expect; None, and a line on stderr, where the engine cannot run it."""
    from trialsim.errors import NotSupportedError
    from trialsim.evaluation.prediction import N_TWINS, Prospect, looks_ahead
    from trialsim.rng import Block, Streams
    from trialsim.simulate import compile_trial, draw

    protocol = cell.protocol
    needed = ("truth", "accrual", "population", "randomization", "arms", "endpoints")
    if any(not getattr(protocol, section) for section in needed) or protocol.interims is not None:
        return None
    try:
        trial = compile_trial(cell, study.directory)
    except NotSupportedError as error:
        for what in error.what:
            if what not in said:
                say(f"no look times and no power: not supported yet: {what}")
                said.add(what)
        return None
    streams = Streams(f"{trial.seed}/design")
    prospect = Prospect(
        twins=trial.twins,
        looks=trial.looks,
        entry_time=trial.accrual.expected_entry(trial.n).numpy(),
        ratio=trial.ratio,
        outcomes={name: endpoint.outcomes for name, endpoint in trial.endpoints.items()},
        change_from={name: endpoint.change_from for name, endpoint in trial.endpoints.items()},
        visits=trial.visits,
        cohort=None if trial.cohort_model is None else draw(trial, streams, Block(0, 1), N_TWINS),
        streams=streams,
    )
    expected = prospect.expected_trial()
    monitored = {name: plan for name, plan in trial.analyses.items() if plan.looks} or trial.analyses
    return trial, prospect, {name: looks_ahead(prospect, expected, plan, primary_endpoint=trial.primary_endpoint) for name, plan in monitored.items()}


def _scenario_rows(cell: Cell, ahead: Ahead | None) -> list[Row]:
    from trialsim.evaluation.planned import scenario_row
    from trialsim.evaluation.prediction import predict, predictable

    if ahead is None:
        return []
    trial, prospect, looks = ahead
    alone = len({key for key, plan in trial.analyses.items() if plan.looks}) <= 1
    return [
        scenario_row(
            design=cell.design,
            scenario=cell.scenario,
            role=cell.role,
            analysis=plan.analysis or name,
            arm=plan.arm,
            bounds=looks[name].bounds,
            looks=predict(prospect, looks[name], plan),
            n_looks=max(len(plan.looks), 1),
            alone=alone,
        )
        for name, plan in trial.analyses.items()
        if name in looks and predictable(plan)
    ]


def _look_rows(cell: Cell, ahead: Ahead | None) -> list[Row]:
    from trialsim.design import bounds
    from trialsim.errors import Problem, ProtocolError
    from trialsim.spec.looks import monitored_analysis

    protocol, interims = cell.protocol, cell.protocol.interims
    if interims is None:
        monitored = [name for name, analysis in protocol.analyses.items() if analysis.looks] or list(protocol.analyses)
        known = {} if ahead is None else ahead[2]
        return [
            row
            for name in monitored
            for key, arm in _hypotheses(protocol, name).items()
            for row in _planned(cell, name, key=key, arm=arm, ahead=known.get(key)).rows()
        ]
    # The totals are not known: the bounds by the stated fractions.
    name = monitored_analysis(protocol)
    if name is None:
        raise ProtocolError(Problem("say which analysis it is about", path="interims.analysis"))
    if interims.timing.information == "calendar":
        raise ProtocolError(Problem("missing; calendar looks need the time of the final look", path="interims.timing.final"))
    analysis, fractions = protocol.analyses[name], [*(interims.timing.fractions or ()), 1.0]
    rows = []
    for key, arm in _hypotheses(protocol, name).items():
        alpha = _first_alpha(protocol, name, key)
        solved = bounds(efficacy=interims.efficacy, futility=interims.futility, alpha=alpha, sides=analysis.tested_sides, information=fractions)
        rows += _of_looks(cell, name, solved, arm=arm).rows()
    return rows


def _hypotheses(protocol: Protocol, name: str) -> dict[str, str | None]:
    from trialsim.spec.families import hypotheses

    return hypotheses(protocol, name) if protocol.analyses[name].estimand in (None, *protocol.estimands) else {name: None}


def _first_alpha(protocol: Protocol, name: str, key: str) -> float:
    """The alpha of a hypothesis: what it holds at first where it is in a family."""
    from trialsim.spec.families import families
    from trialsim.spec.planning import first_alpha

    analysis = protocol.analyses[name]
    family = next((family for family in families(protocol).values() if key in family.members), None)
    return analysis.alpha_one_sided * analysis.tested_sides if family is None else first_alpha(family, key, analysis)


def _planned(cell: Cell, name: str, *, key: str, arm: str | None, ahead: LooksAhead | None) -> PlannedLooks:
    """The bounds of a comparison at its own looks, or where the trial ends."""
    from trialsim.errors import Problem, ProtocolError
    from trialsim.spec.looks import endpoint_name
    from trialsim.spec.planning import arms_of, information_target, monitoring_plan, shares_of

    protocol, analysis = cell.protocol, cell.protocol.analyses[name]
    is_event, endpoint = _is_event(protocol, name), endpoint_name(protocol, analysis) or ""
    looks = [protocol.looks[look] for look in analysis.looks or ()]
    if is_event and not protocol.looks:
        raise ProtocolError(Problem("a time-to-event analysis needs interims.timing or looks, which say when the data are cut", path=f"analyses.{name}"))
    shares = shares_of(protocol, analysis, arm or arms_of(protocol, analysis)[0][0])
    plan = monitoring_plan(name, analysis, looks, endpoint=endpoint, is_event=is_event, shares=shares).at_level(_first_alpha(protocol, name, key))
    if plan.by_calendar and ahead is None:
        raise ProtocolError(
            Problem("bounds at calendar looks depend on the events expected by then: they need truth, accrual and population", path=f"analyses.{name}")
        )
    stated = [information_target(look.when, endpoint=endpoint, is_event=is_event) for look in looks]
    targets: list[float | None] = list(stated) if stated else [None]
    at: list[float | None] = [None] * len(targets)
    if ahead is not None:
        at[: len(ahead.time)] = ahead.time
        counted = [*ahead.counted, *targets[len(ahead.counted) :]]
        targets = [expected if target is None or plan.by_calendar else target for target, expected in zip(targets, counted, strict=True)]
    met = ahead.bounds if plan.by_calendar and ahead is not None else plan.at_plan
    return _of_looks(cell, name, met, targets, at, arm=arm, compared_share=plan.compared_share)


def _of_looks(
    cell: Cell,
    name: str,
    solved: Bounds,
    targets: Sequence[float | None] | None = None,
    at: Sequence[float | None] | None = None,
    *,
    arm: str | None = None,
    compared_share: float = 1.0,
) -> PlannedLooks:
    from trialsim.evaluation.planned import PlannedLooks
    from trialsim.spec.planning import favours_of

    endpoint = _endpoint(cell.protocol, name)
    return PlannedLooks(
        design=cell.design,
        analysis=name,
        arm=arm,
        bounds=solved,
        is_event=_is_event(cell.protocol, name),
        targets=targets,
        look_time=at,
        test_share=_test_share(cell.protocol, name, arm),
        compared_share=compared_share,
        favours=1 if endpoint is None else favours_of(cell.protocol, endpoint),
    )


def _endpoint(protocol: Protocol, name: str) -> str | None:
    from trialsim.spec.looks import endpoint_name

    endpoint = endpoint_name(protocol, protocol.analyses[name])
    return endpoint if endpoint in protocol.endpoints else None


def _is_event(protocol: Protocol, name: str) -> bool:
    endpoint = _endpoint(protocol, name)
    return endpoint is not None and protocol.endpoints[endpoint].is_event


def _test_share(protocol: Protocol, name: str, arm: str | None = None) -> float | None:
    """The test arm's share of the patients: of the two compared arms. None where several arms are tested at once or the protocol does not say."""
    analysis = protocol.analyses[name]
    estimand = protocol.estimands.get(analysis.estimand or "")
    treatment = analysis.treatment if estimand is None else estimand.treatment
    if treatment is None or (len(treatment.tests) != 1 and arm is None):
        return None
    ratio = (protocol.randomization.ratio if protocol.randomization is not None else None) or dict.fromkeys(protocol.arms, 1)
    test, reference = ratio.get(arm or treatment.tests[0], 1), ratio.get(treatment.reference, 1)
    return test / (test + reference)
