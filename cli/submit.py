"""`trialsim submit`: run a protocol on a Ray cluster that is elsewhere, and fetch the results."""

from __future__ import annotations

import inspect
import re
import secrets
import shlex
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from trialsim_cli.console import command, print_json, say
from trialsim_cli.run import INTERRUPTED, assignments, run

from trialsim.errors import TrialsimError, UsageError

if TYPE_CHECKING:
    from trialsim.execution.cluster.jobs import Ending, JobServer

SETTLED = ("protocol", "json", "executor", "address", "out")
"""Options of `run` that are settled here; all others are taken as they are."""


def _options_of_run() -> list[inspect.Parameter]:
    return [parameter for name, parameter in inspect.signature(run, eval_str=True).parameters.items() if name not in SETTLED]


@command
def submit(
    protocol: Annotated[Path | None, typer.Argument(help="The protocol (YAML).")] = None,
    address: Annotated[str, typer.Option("--address", envvar="RAY_API_SERVER_ADDRESS", help="The job server: http://HOST:8265.")] = "",
    out: Annotated[
        str | None,
        typer.Option("--out", help="Where the job stores the run: a URL (s3://bucket/run) or folder that all machines share; default: a folder of the head."),
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder here for the results, new or empty; default: runs/<study>-<hash>-<time>.")] = None,
    job: Annotated[str | None, typer.Option("--job", help="Follow this job instead of submitting one, and fetch its results.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="--no-wait: print the job's id and leave.")] = True,
    installed: Annotated[bool, typer.Option("--installed", help="Use the trialsim that is installed there; otherwise the code of this one travels.")] = False,
    runtime_env: Annotated[Path | None, typer.Option("--runtime-env", help="More of Ray's runtime environment (YAML): env_vars, pip, ….")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")] = False,
    **options: Any,
) -> None:
    """Run on a Ray cluster: the protocol and the files it reads travel, the log is followed, the results are fetched.

    The numbers are those of `trialsim run`. Ctrl-C stops following; the job goes on.
    """
    if (protocol is None) == (job is None):
        raise UsageError("give a protocol, or --job of one that was submitted before")
    if not address:
        raise UsageError("--address: write the address of the job server, for example http://HOST:8265")
    from trialsim.execution.cluster.jobs import JobServer

    if to is not None and to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"--to {to}: is not empty; choose a new or empty directory")
    sha256 = None
    if protocol is not None:
        server, job, sha256 = _submit(protocol, address, out, installed=installed, runtime_env=runtime_env, options=options)
        if not wait:
            print(job)
            say(f"follow it with `{_how_to_follow(job, server.address, to)}`")
            return
    else:
        server = JobServer(address)
    assert job is not None
    ending = _follow(server, job, to)
    _fetch(ending, job, to, sha256, json=json)


def _submit(protocol: Path, address: str, out: str | None, *, installed: bool, runtime_env: Path | None, options: dict[str, Any]) -> tuple[JobServer, str, str]:
    """Checks all that can be checked here, packs, submits; the server, the job's id and the protocol's hash."""
    import trialsim_cli

    import trialsim
    from trialsim.execution.cluster.jobs import JobServer
    from trialsim.execution.cluster.parcel import pack, parcel_of
    from trialsim.spec import load

    study = load(protocol, sets=assignments(options.get("set_"), "--set"), seed=options.get("seed"))
    study.require_runnable()
    if not study.cells(assignments(options.get("only"), "--only")):
        raise UsageError("--only: no cell is left to run")
    environment = _runtime_env(runtime_env)
    parcel = parcel_of(study)
    server = JobServer(address)
    word = re.sub(r"[^A-Za-z0-9_-]+", "-", study.id).strip("-") or "study"
    name = f"trialsim-{word}-{study.sha256[:8]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    place = out or f"/tmp/trialsim/{name}"
    line = ["python", "-m", "trialsim_cli.job", parcel.protocol, "--executor", "ray", "--address", "auto", "--out", place, *_written(options)]
    with TemporaryDirectory(prefix="trialsim-") as folder:
        pack(parcel, Path(folder), code=() if installed else (trialsim, trialsim_cli))
        job = server.submit(entrypoint=shlex.join(line), folder=Path(folder), name=name, runtime_env=environment)
    travelled = ", ".join(str(file.relative_to(parcel.root)) for file in parcel.files)
    say(f"job {job}: sent {travelled}{'' if installed else ' and the code of trialsim'}; the run is stored there in {place}")
    return server, job, study.sha256


def _written(options: dict[str, Any]) -> list[str]:
    """Options of `run` as they are written on a command line."""
    words: list[str] = []
    for parameter in _options_of_run():
        value = options.get(parameter.name)
        (option,) = parameter.annotation.__metadata__
        flag = option.default if isinstance(option.default, str) else option.param_decls[0]
        if value is None or value == parameter.default:
            continue
        if value is True:
            words.append(flag)
            continue
        for item in value if isinstance(value, list | tuple) else [value]:
            words += [flag, str(item)]
    return words


def _runtime_env(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe").load(path)
    except (OSError, YAMLError) as error:
        raise UsageError(f"--runtime-env {path}: cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict) or "working_dir" in found:
        raise UsageError(f"--runtime-env {path}: should be a map like {{env_vars: {{NAME: value}}}}, without working_dir")
    return found


def _how_to_follow(job: str, address: str, to: Path | None) -> str:
    return shlex.join(["trialsim", "submit", "--job", job, "--address", address, *(["--to", str(to)] if to else [])])


def _follow(server: JobServer, job: str, to: Path | None) -> Ending:
    from trialsim.execution.cluster.delivery import BEGIN

    quiet = False

    def show(text: str) -> None:
        nonlocal quiet
        if not quiet:
            before, begin, _ = text.partition(BEGIN)
            quiet = bool(begin)
            if before.strip():
                say(before.rstrip("\n"))

    try:
        return server.follow(job, show)
    except KeyboardInterrupt:
        say(f"job {job} goes on; follow it with `{_how_to_follow(job, server.address, to)}`, stop it with `ray job stop {job} --address {server.address}`")
        raise typer.Exit(INTERRUPTED) from None


def _fetch(ending: Ending, job: str, to: Path | None, sha256: str | None, *, json: bool) -> None:
    """The results into a folder here and onto stdout; then the exit code of the run."""
    import json as reader

    from trialsim.execution.cluster.delivery import unpacked
    from trialsim.execution.store import default_directory

    files = unpacked(ending.log)
    if "results.json" not in files:
        if ending.status == "STOPPED":
            say(f"job {job} was stopped before it was done")
            raise typer.Exit(4)
        if ending.exit_code in (None, 0):
            raise TrialsimError(f"job {job} did not run: {ending.message.splitlines()[0] if ending.message else ending.status}")
        raise typer.Exit(ending.exit_code)
    results = reader.loads(files["results.json"])
    if sha256 is not None and results["protocol_sha256"] != sha256:
        raise TrialsimError(f"job {job}: its protocol has another hash than the one here: is the trialsim there another version?")
    folder = to or default_directory(results["study"], results["protocol_sha256"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if json:
        print_json(results)
    else:
        from trialsim_cli.result_table import print_results

        print_results(results["results"])
    say(f"{folder}: {', '.join(files)} of job {job}")
    if ending.exit_code:
        raise typer.Exit(ending.exit_code)


_own = [parameter for parameter in inspect.signature(submit, eval_str=True).parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
submit.__signature__ = inspect.Signature([*_own, *_options_of_run()])
