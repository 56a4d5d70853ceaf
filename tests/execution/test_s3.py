"""A run in `s3://`, against a server of its own (moto) that speaks S3 over HTTP."""

from __future__ import annotations

import json
import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.errors import UsageError
from trialsim.execution.manifest import Settings
from trialsim.execution.run import InterruptedRunError, resume_run
from trialsim.execution.status import run_status
from trialsim.execution.storage import open_storage


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def url(server, monkeypatch):
    """A place in a new bucket. The driver finds server and credentials as on any machine: in the environment."""
    for name, value in (("AWS_ENDPOINT_URL", server), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/runs/first"


def test_a_pool_stores_the_same_run_in_s3_as_in_a_folder(run_small, url):
    _, here = run_small("here")
    where, there = run_small(url, workers=2)
    assert (where, there["results"]) == (url, here["results"])
    assert run_status(url, verify=True).state == "complete"
    assert json.loads(open_storage(url).read("results.json"))["results"] == here["results"]
    with pytest.raises(UsageError, match="already holds a run"):
        run_small(url)


def test_a_run_that_is_interrupted_and_damaged_ends_in_the_same_bits(run_small, quiet, url):
    _, whole = run_small("whole")

    class Interrupting(quiet):
        def stored(self, cell, n, rejected, *, fresh=True):
            super().stored(cell, n, rejected, fresh=fresh)
            if sum(self.n) >= 192:
                assert run_status(url).state == "running"
                with pytest.raises(UsageError, match="another trialsim process"):
                    resume_run(url, settings=Settings(workers=1), progress=quiet())
                raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError):
        run_small(url, progress=Interrupting())
    storage = open_storage(url)
    name = f"cells/000/{storage.names('cells/000')[0]}"
    content = bytearray(storage.read(name))
    content[100] ^= 1
    storage.write(name, lambda file: file.write(content))
    status = run_status(url, verify=True)
    assert (status.state, len(status.damaged)) == ("incomplete", 1)
    assert resume_run(url, settings=Settings(workers=1), progress=quiet())[1]["results"] == whole["results"]
    assert "run.lock" not in storage.names()


def test_the_command_line(small_protocol, url):
    ran = CliRunner().invoke(app, ["run", str(small_protocol), "--replicates", "30", "--out", url, "--json"])
    assert ran.exit_code == 0, ran.stderr
    assert open_storage(url).read("report.html").startswith(b"<!")
    refused = CliRunner().invoke(app, ["run", str(small_protocol), "--replicates", "30", "--out", "s3://no-such-bucket-here/run"])
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "no-such-bucket-here" in refused.stderr
