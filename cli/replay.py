"""`trialsim replay`: one simulated trial again, alone, and its story."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from trialsim_cli.console import command, print_json

from trialsim.errors import TrialsimError

DAYS_PER_MONTH = 30.4375
DECISIONS = {
    "reject": "efficacy declared",
    "reject_wrong_direction": "efficacy declared against the test arm",
    "stop_futility": "futile",
    "continue": "goes on",
    "not_rejected": "efficacy not declared",
    "already_decided": "had decided before",
}


@command
def replay(
    directory: Annotated[str, typer.Argument(help="The directory of the run, or its URL.")],
    replicate: Annotated[int, typer.Option("--replicate", help="Which of the cell's simulated trials, counted from 0.")],
    scenario: Annotated[str | None, typer.Option("--scenario", help="The scenario; may be left out where the run has one.")] = None,
    design: Annotated[str | None, typer.Option("--design", help="The design; may be left out where the run has one.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Where it is simulated: cpu, cuda or auto; default: where the run was.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Simulate one trial of a run again and tell its story: who was enrolled, every look, why it stopped."""
    from trialsim.execution.replay import replay_trial

    found = replay_trial(directory, design=design, scenario=scenario, replicate=replicate, device=device)
    told = found.as_dict()
    if json:
        print_json(told)
    else:
        for line in sentences(told):
            print(line)
    if found.same_as_stored is False:
        because = f"; the run was made with {found.other_engine}" if found.other_engine else ""
        raise TrialsimError(f"{directory}: this is not what the run has stored of replicate {replicate}{because}")


def sentences(told: dict[str, Any]) -> Iterator[str]:
    """The story in lines of text."""
    cell = f"scenario {told['scenario']}" if told["design"] == "default" else f"design {told['design']}, scenario {told['scenario']}"
    yield f"{told['study']}, {cell}, replicate {told['replicate']}"
    yield f"{told['n_enrolled']:,} patients were randomised: {', '.join(f'{n:,} {arm}' for arm, n in told['allocated'].items())}"
    for look in told["looks"]:
        events = "".join(f", {n:,} events ({endpoint})" for endpoint, n in look["n_events"].items())
        yield f"{look['name']}, month {_month(look['look_time'])}: {look['n_enrolled']:,} patients{events}"
        for name, finding in look["analyses"].items():
            yield f"  {name}: {'; '.join(_found(finding))}: {DECISIONS[finding['decision']]}"
    yield f"stopped in month {_month(told['duration'])}: {told['why']}"
    if told["same_as_stored"]:
        yield "the numbers are those that the run has stored, bit for bit"


def _found(finding: dict[str, Any]) -> Iterator[str]:
    yield f"failed, {finding['failure']}" if finding["z"] is None else f"z = {finding['z']:.4f}"
    if finding["estimate"] is not None:
        scale = finding["scale"]
        if scale.startswith("log_") and abs(finding["estimate"]) < 700:
            yield f"{scale.removeprefix('log_').replace('_', ' ')} {math.exp(finding['estimate']):.3f}"
        else:
            yield f"{scale.replace('_', ' ')} {finding['estimate']:.3f} (SE {finding['std_error']:.3f})"
    if finding["efficacy_z"] is not None:
        yield f"efficacy from {finding['efficacy_z']:.4f}"
    if finding["futility_hazard_ratio"] is not None:
        yield f"futility if the hazard ratio is above {finding['futility_hazard_ratio']:g} (z below about {finding['futility_z']:.2f})"
    elif finding["futility_z"] is not None and finding["futility_z"] != finding["efficacy_z"]:  # equal: what is not rejected is over
        yield f"futility below {finding['futility_z']:.4f}"


def _month(days: float) -> str:
    return f"{days / DAYS_PER_MONTH:.1f}"
