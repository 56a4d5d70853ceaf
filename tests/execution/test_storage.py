"""Local folders and object stores hold the same run; `memory://` stands for every store that fsspec knows."""

from __future__ import annotations

import json
import pickle
import uuid

import pytest
from trialsim_cli.main import app
from typer.testing import CliRunner

from trialsim.errors import UsageError
from trialsim.execution.manifest import Settings
from trialsim.execution.run import resume_run
from trialsim.execution.status import run_status
from trialsim.execution.storage import LocalStorage, ObjectStorage, open_storage


@pytest.fixture
def url():
    return f"memory://bucket-{uuid.uuid4().hex}/runs/first"


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path, url):
    return open_storage(tmp_path / "run" if request.param == "local" else url)


def test_files_are_written_whole_found_and_removed(storage):
    assert storage.names() == []
    storage.write("cells/000/a", lambda file: file.write(b"one"))
    storage.write("b", lambda file: file.write(b"two"))
    storage.write("b", lambda file: file.write(b"three"))
    assert (storage.read("b"), storage.read("cells/000/a")) == (b"three", b"one")
    assert storage.names() == ["b", "cells"]
    assert storage.names("cells/000") == ["a"]
    assert storage.names("cells/001") == []
    assert (storage.exists("b"), storage.exists("cells"), storage.exists("c")) == (True, False, False)
    with storage.on_disk(["b"]) as folder:
        assert (folder / "b").read_bytes() == b"three"
    storage.remove("b")
    storage.remove("b")
    assert not storage.exists("b")
    with pytest.raises(FileNotFoundError):
        storage.read("b")


def test_what_fails_half_way_leaves_what_was_there(storage):
    storage.write("a", lambda file: file.write(b"sound"))

    def half(file):
        file.write(b"ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        storage.write("a", half)
    assert (storage.names(), storage.read("a")) == (["a"], b"sound")


def test_it_crosses_to_other_processes(storage):
    again = pickle.loads(pickle.dumps(storage))
    storage.write("a", lambda file: file.write(b"x"))
    assert (again.where, again.shared, again.read("a")) == (storage.where, storage.shared, b"x")


def test_urls(tmp_path):
    assert isinstance(open_storage(f"file://{tmp_path}"), LocalStorage)
    assert open_storage(f"file://{tmp_path}").where == tmp_path
    assert isinstance(open_storage("memory://x/y/"), ObjectStorage)
    assert open_storage("memory://x/y/").where == "memory://x/y"
    with pytest.raises(UsageError, match=r'memry://x: no storage is called memry://; did you mean "memory"\?'):
        open_storage("memry://x")


@pytest.mark.parametrize(("protocol", "package"), [("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_missing_package_is_named_in_one_line(small_protocol, protocol, package):
    try:
        __import__(package)
        pytest.skip(f"{package} is installed")
    except ImportError:
        pass
    result = CliRunner().invoke(app, ["run", str(small_protocol), "--out", f"{protocol}://bucket/x"])
    assert result.exit_code == 2
    assert result.stderr == f"{protocol}://bucket/x: {protocol}:// needs the Python package {package}; install it with `pip install {package}`\n"


def test_a_driver_s_own_errors_become_plain_ones(url, monkeypatch):
    storage = open_storage(url)

    class BotoError(Exception):
        pass

    def refuse(*arguments, **options):
        raise BotoError("Unable to locate credentials\nand a page of detail")

    monkeypatch.setattr(type(storage._fs), "put_file", refuse)
    with pytest.raises(OSError, match="Unable to locate credentials") as raised:
        storage.write("a", lambda file: file.write(b"x"))
    assert (raised.value.strerror, raised.value.filename) == ("Unable to locate credentials", f"{url}/a")


def test_a_run_in_an_object_store_is_the_run_in_a_folder(small_protocol, small_chunks, run_small, quiet, url):
    _, local = run_small("local")
    where, results = run_small(url)
    assert where == url
    assert results["results"] == local["results"]
    storage = open_storage(url)
    assert {"manifest.json", "protocol.yaml", "results.json", "results.parquet", "cells"} == set(storage.names())
    assert len(storage.names("cells/000")) == 4
    status = run_status(url)
    assert (status.state, status.verified, [cell.stored for cell in status.cells]) == ("complete", False, [200, 200])
    damaged = storage.names("cells/001")[0]
    storage.write(f"cells/001/{damaged}", lambda file: file.write(b"PAR1 and so on"))
    status = run_status(url, verify=True)
    assert status.state == "incomplete"
    assert status.damaged == (f"{url}/cells/001/{damaged}: it is damaged (its checksum does not agree)",)
    progress = quiet()
    assert resume_run(url, settings=Settings(), progress=progress)[1]["results"] == local["results"]
    assert damaged in progress.said[0]
    assert run_status(url, verify=True).state == "complete"
    with pytest.raises(UsageError, match="already holds a run"):
        run_small(url)


def test_the_command_line_on_an_object_store(small_protocol, small_protocol_text, url):
    small_protocol.write_text(small_protocol_text.replace("replicates: 200", "replicates: 200, keep: {example_trials: 2}"))

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.stderr
        return result

    ran = invoke("run", small_protocol, "--replicates", 30, "--out", url, "--json")
    assert f"{url}: done in" in ran.stderr
    page = open_storage(url).read("report.html")
    assert page.startswith(b"<!")
    assert page.count(b"Replicate 1: ") == 2  # one of each cell
    assert json.loads(invoke("status", url, "--json").stdout)["state"] == "complete"
    assert json.loads(invoke("resume", url, "--json").stdout)["results"] == json.loads(ran.stdout)["results"]
    assert invoke("report", url).stdout == f"{url}/report.html\n"
    assert "bit for bit" in invoke("replay", url, "--scenario", "base", "--replicate", 7).stdout


def test_other_processes_cannot_write_into_this_one_s_memory(run_small, url):
    for settings in ({"workers": 2}, {"executor": "ray"}):
        with pytest.raises(UsageError, match="lies in the memory of this process, where no other can write"):
            run_small(url, **settings)
