"""`run`, `resume` and `status` as a user meets them: streams, exit codes, and kills for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner


@pytest.fixture
def trialsim(tmp_path, monkeypatch):
    """`trialsim("run", path, …)` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_json_is_all_there_is_on_stdout(trialsim, small_protocol, tmp_path):
    result = trialsim("run", small_protocol, "--json", "--workers", 1)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["schema"], found["study"], found["seed"]) == ("trialsim.results/1", "SMALL", 11)
    assert set(found["results"][0]) == {
        "design",
        "scenario",
        "role",
        "analysis",
        "endpoint",
        "arm",
        "look",
        "measure",
        "scale",
        "null",
        "estimate",
        "mcse",
        "n",
    }
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith(f"SMALL-{found['protocol_sha256'][:8]}-")
    assert json.loads((made / "results.json").read_text()) == found
    assert f"runs/{made.name}: done in" in result.stderr


def test_a_table_without_json(trialsim, small_protocol):
    result = trialsim("run", small_protocol, "--out", "run")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split() == ["scenario", "power", "patients", "events", "months", "trials"]
    assert "by look" in lines
    assert "* type I error: the true effect lies in the null hypothesis" in lines


def test_set_only_replicates_and_seed(trialsim, small_protocol):
    def rows(*more):
        result = trialsim("run", small_protocol, "--json", *more)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    plain = rows("--only", "scenario=base", "--replicates", 64)
    assert {(row["scenario"], row["n"]) for row in plain["results"] if row["measure"] == "power"} == {("base", 64)}
    assert rows("--only", "scenario=base", "--replicates", 64, "--seed", 12)["protocol_sha256"] != plain["protocol_sha256"]
    stronger = rows("--only", "scenario=base", "--replicates", 64, "--set", "hr=0.3")
    power = {name: next(row["estimate"] for row in found["results"] if row["measure"] == "power") for name, found in (("plain", plain), ("stronger", stronger))}
    assert power["stronger"] > power["plain"]


def test_expectations_decide_the_exit_code(trialsim, small_protocol):
    met = trialsim("run", small_protocol, "--assert", "power[base] >= 0.2", "--assert", "power_ignoring_futility[h0] <= 0.1")
    assert met.exit_code == 0, met.stderr
    missed = trialsim("run", small_protocol, "--json", "--assert", "power[base] >= 0.99")
    assert missed.exit_code == 5
    assert json.loads(missed.stdout)["results"]
    line = missed.stderr.splitlines()[-1]
    assert line.startswith("not met: power[base] >= 0.99: primary.power[base] = 0.")
    assert ", MCSE 0.0" in line
    assert line.endswith(", n 200")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--assert", "power[bse] >= 0.9"), 2, 'no scenario "bse" in this run; did you mean "base"?'),
        (("--assert", "power >= 0.9"), 2, "write for example"),
        (("--only", "scenario=bse"), 2, "bse"),
        (("--only", "base"), 2, '--only "base": write name=value'),
        (("--set", "hr=0.5", "--set", "hr=0.6"), 2, "--set: hr is given twice"),
        (("--replicates", "0"), 2, "replicates"),
        (("--executor", "slurm"), 2, "must be one of local, ray"),
        (("--device", "gpu"), 2, "must be cpu, cuda or auto"),
        (("--set", "hr=-1"), 3, "hr"),
    ],
)
def test_what_cannot_be_run_is_refused_and_leaves_nothing(trialsim, small_protocol, tmp_path, arguments, code, words):
    result = trialsim("run", small_protocol, *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_missing_file_and_an_occupied_directory(trialsim, small_protocol, tmp_path):
    assert trialsim("run", "nowhere.yaml").exit_code == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("x")
    occupied = trialsim("run", small_protocol, "--out", "mine")
    assert occupied.exit_code == 2
    assert "is not empty" in occupied.stderr
    assert trialsim("resume", "mine").exit_code == trialsim("status", "mine").exit_code == 2


def test_status_says_how_far_a_run_is(trialsim, small_protocol):
    assert trialsim("run", small_protocol, "--out", "run").exit_code == 0
    words = trialsim("status", "run").stdout
    assert words.startswith("SMALL, started ")
    assert words.splitlines()[0].endswith(": complete")
    assert "  base: 200 of 200 replicates" in words
    found = json.loads(trialsim("status", "run", "--json").stdout)
    assert (found["state"], found["cells"][0]["stored"]) == ("complete", 200)


REPLICATES = 9000


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, small_protocol_text):
    """The rows of the run that the tests below interrupt."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "small.yaml").write_text(small_protocol_text)
    result = CliRunner().invoke(
        app, ["run", str(folder / "small.yaml"), "--json", "--replicates", str(REPLICATES), "--out", str(folder / "run"), "--workers", "1"]
    )
    return json.loads(result.stdout)["results"]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_resumes_to_the_same_bits(trialsim, small_protocol, tmp_path, undisturbed, kind):
    arguments = ["run", str(small_protocol), "--replicates", str(REPLICATES), "--out", "run", "--workers", "1", "--block-size", "16"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from trialsim_cli.main import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("run/cells/000/chunk-0-4096-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert trialsim("status", "run").stdout.splitlines()[0].endswith(": running")
    assert trialsim("resume", "run").exit_code == 2  # the directory is locked
    os.kill(process.pid, kind)
    out, err = process.communicate(timeout=60)
    assert out == ""
    if kind == signal.SIGKILL:
        assert process.returncode == -kind
    else:
        assert process.returncode == 130
        (line,) = err.splitlines()
        assert line.startswith("interrupted: ")
        assert line.endswith("of 18,000 replicates are stored; continue with `trialsim resume run`")
    assert "incomplete; continue with `trialsim resume run`" in trialsim("status", "run").stdout
    resumed = trialsim("resume", "run", "--json", "--workers", "1")
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["results"] == undisturbed
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["state"] == "complete"


def test_ctrl_c_twice_ends_like_once(trialsim, small_protocol, tmp_path, undisturbed):
    arguments = ["run", str(small_protocol), "--replicates", str(REPLICATES), "--out", "run", "--workers", "2", "--block-size", "16"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from trialsim_cli.main import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("run/cells/000/chunk-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    for pause in (0.0, 0.05, 0.2):  # to all processes of the terminal, as a keyboard would; twice, and once more in good measure
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    (line,) = err.splitlines()
    assert line.startswith("interrupted: ")
    assert "incomplete; continue with `trialsim resume run`" in trialsim("status", "run").stdout
    assert not list((tmp_path / "run").rglob("*.writing-*"))
    resumed = trialsim("resume", "run", "--json", "--workers", "1")
    assert json.loads(resumed.stdout)["results"] == undisturbed
