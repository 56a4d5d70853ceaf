"""`trialsim submit` against a real Ray head with its job server, on this machine, with a token of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests
from trialsim_cli.main import app
from typer.testing import CliRunner

BIN = Path(sys.executable).parent
START_SECONDS = 90


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """A Ray head of two cores with a job server on the loopback; yields the environment of its clients, `ADDRESS` included."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        port, gcs = _free_port(), _free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
        }
        low = 40000 + os.getpid() % 200 * 100
        command = [
            *(BIN / "ray", "start", "--head", "--block", "--num-cpus", "2", "--temp-dir", folder, "--disable-usage-stats"),
            *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1", "--dashboard-port", port, "--port", gcs),
            *("--ray-client-server-port", _free_port(), "--dashboard-agent-listen-port", _free_port(), "--min-worker-port", low, "--max-worker-port", low + 99),
        ]
        log = Path(folder) / "start.log"
        with open(log, "w") as out:
            process = subprocess.Popen([str(word) for word in command], env=environment, stdout=out, stderr=out, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{port}"
            _await(lambda: _answers(f"{address}/api/version", environment["RAY_AUTH_TOKEN"]), process, log)
            yield {**environment, "ADDRESS": address}
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # asked politely, Ray takes half a minute
            process.wait(10)
            for left in _processes_of(folder):
                os.kill(left, signal.SIGKILL)


def _processes_of(folder: str) -> list[int]:
    """What the head has started and not ended: it has the head's own folder on its command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def _answers(url: str, token: str) -> bool:
    try:
        return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _await(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for the job server; fails with what Ray has said when it does not come."""
    until = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            pytest.fail(f"the Ray head did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.3)


class Client:
    """`trialsim …` in a process and a folder of its own, as a client of the head."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self._environment = folder, environment

    def start(self, *words: object, **more: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([BIN / "trialsim", *map(str, words)], cwd=self.folder, env={**self._environment, **more}, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *words: object, **more: str) -> tuple[int, str, list[str]]:
        """Its exit code, its stdout, and the lines of its stderr."""
        return ended(self.start(*words, **more))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.splitlines()


@pytest.fixture(scope="module")
def trialsim(head, tmp_path_factory) -> Client:
    return Client(tmp_path_factory.mktemp("client"), head)


OPTIONS = ("--set", "hr=0.6", "--seed", "3", "--replicates", "150", "--assert", "power[base] >= 0.999")


@pytest.fixture(scope="module")
def jobs(trialsim, head, small_protocol_text) -> dict[str, str]:
    """How to follow two jobs: `sent`, and `refused` for its --out. They run while other tests do."""
    folder = trialsim.folder
    (folder / "small.yaml").write_text(small_protocol_text)
    (folder / "taken").mkdir()
    (folder / "taken" / "thesis.doc").write_text("x")
    where = ("--address", head["ADDRESS"], "--no-wait", "--out")
    started = {
        "sent": trialsim.start("submit", "small.yaml", *where, folder / "there", *OPTIONS),
        "refused": trialsim.start("submit", "small.yaml", *where, folder / "taken", "--installed"),
    }
    found = {}
    for name, process in started.items():
        code, out, lines = ended(process)
        assert code == 0, lines
        job = out.strip()
        assert out == f"{job}\n"
        assert job.startswith("trialsim-SMALL-")
        found[name] = f"submit --job {job} --address {head['ADDRESS']}"
        assert lines[-1] == f"follow it with `trialsim {found[name]}`"
        code_too, place = (" and the code of trialsim", "there") if name == "sent" else ("", "taken")
        assert lines[0] == f"job {job}: sent small.yaml{code_too}; the run is stored there in {folder / place}"
    return found


@pytest.fixture
def here(tmp_path, monkeypatch) -> Callable[..., object]:
    """`here("submit", …)` in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_leaving_a_job_does_not_end_it(trialsim, jobs, head):
    follower = trialsim.start(*jobs["sent"].split())
    heard = follower.stderr.readline()  # it follows
    follower.send_signal(signal.SIGINT)
    code, out, lines = ended(follower)
    assert (code, out) == (130, ""), heard
    job = jobs["sent"].split()[2]
    assert lines[-1] == f"job {job} goes on; follow it with `trialsim {jobs['sent']}`, stop it with `ray job stop {job} --address {head['ADDRESS']}`"


def test_an_unknown_job_and_strangers(trialsim, jobs, head, here):
    unknown = trialsim.start("submit", "--job", "nobody", "--address", head["ADDRESS"])
    stranger = trialsim.start("submit", "small.yaml", "--address", head["ADDRESS"], RAY_AUTH_TOKEN="not-the-token-of-this-cluster-000000")
    assert ended(unknown) == (2, "", [f"{head['ADDRESS']}: has no job nobody"])
    wants = f"--address {head['ADDRESS']}: the cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN)"
    assert ended(stranger) == (2, "", [wants])
    doctor = json.loads(here("doctor", "--json", "--address", head["ADDRESS"]).stdout)
    assert (doctor["ray_reachable"], doctor["ray"]) == (False, wants.partition(": ")[2])


def test_what_is_refused_there_is_refused_here(trialsim, jobs):
    """The line that `run` says there is in the log, and its exit code is ours."""
    code, out, lines = trialsim(*jobs["refused"].split())
    assert (code, out) == (2, "")
    assert any(line.startswith(f"--out {trialsim.folder / 'taken'}: is not empty") for line in lines)
    assert not (trialsim.folder / "runs").exists()


def test_the_same_bits_come_back(trialsim, jobs, here):
    """With the exit code of an --assert that does not hold."""
    local = here("run", trialsim.folder / "small.yaml", "--json", "--workers", 1, *OPTIONS)
    assert local.exit_code == 5
    code, out, lines = trialsim(*jobs["sent"].split(), "--to", "fetched", "--json")
    assert code == 5, lines
    found = json.loads(out)
    assert found["engine"]["executor"] == "ray"
    assert found["results"] == json.loads(local.stdout)["results"]
    folder = trialsim.folder / "fetched"
    assert json.loads((folder / "results.json").read_text()) == found
    assert "<html" in (folder / "report.html").read_text()
    assert {path.name for path in folder.iterdir()} == {"results.json", "results.parquet", "report.html", "protocol.yaml"}
    assert (trialsim.folder / "there" / "manifest.json").is_file()
    assert any("working_dir_files" in line and line.startswith("trialsim from ") for line in lines)  # the code that travelled is what ran
    assert any(line.startswith("not met: power[base] >= 0.999") for line in lines)
    assert not [line for line in lines if "BEGIN" in line or len(line) > 1000]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("P", "--address", "http://127.0.0.1:1"), 2, "--address http://127.0.0.1:1: no Ray job server answers"),
        (("P", "--address", "127.0.0.1:6379"), 2, "--address 127.0.0.1:6379: write the address of the job server, for example http://HOST:8265"),
        (("P",), 2, "--address: write the address of the job server, for example http://HOST:8265"),
        (("--address", "http://127.0.0.1:1"), 2, "give a protocol, or --job of one that was submitted before"),
        (("P", "--job", "x", "--address", "http://127.0.0.1:1"), 2, "give a protocol, or --job of one that was submitted before"),
        (("P", "--address", "http://127.0.0.1:1", "--to", "."), 2, "--to .: is not empty; choose a new or empty directory"),
        (("P", "--address", "http://127.0.0.1:1", "--set", "hr=-1"), 3, "hr"),
        (("P", "--address", "http://127.0.0.1:1", "--only", "scenario=bse"), 2, "bse"),
        (("P", "--address", "http://127.0.0.1:1", "--runtime-env", "none.yaml"), 2, "--runtime-env none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_submitted_is_refused_in_a_line(here, small_protocol, words, code, said):
    result = here("submit", *(small_protocol if word == "P" else word for word in words))
    assert result.exit_code == code
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_another_web_server_is_not_a_job_server(here, small_protocol):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"It works!")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        result = here("submit", small_protocol, "--address", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert result.exit_code == 2
    assert result.stderr.strip().endswith("what answers is not a Ray job server")


def test_every_option_of_run_is_taken_and_written_again(here):
    """`submit` offers what `run` offers, and puts it on the job's command line as it was given."""
    import inspect

    from trialsim_cli.run import run
    from trialsim_cli.submit import SETTLED, _written, submit

    offered = set(inspect.signature(submit).parameters)
    assert set(inspect.signature(run).parameters) - {"executor"} <= offered
    options = {name: parameter.default for name, parameter in inspect.signature(run).parameters.items() if name not in SETTLED}
    assert _written(options) == []
    changed = options | {"set_": ["hr=0.6", "n=3"], "seed": 0, "device": "auto", "expect": ["power[base] >= 0.9"]}
    words = _written(changed)
    pairs = list(zip(words[::2], words[1::2], strict=True))
    assert sorted(pairs) == sorted([("--set", "hr=0.6"), ("--set", "n=3"), ("--seed", "0"), ("--device", "auto"), ("--assert", "power[base] >= 0.9")])
