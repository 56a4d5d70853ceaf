"""What travels is what the protocol reads, laid out so that it is found there; and the code, whole."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trialsim_cli

import trialsim
from trialsim.errors import UsageError
from trialsim.execution.cluster import parcel as parcels
from trialsim.execution.cluster.parcel import pack, parcel_of
from trialsim.spec import load

TRIALS = Path(__file__).resolve().parents[3] / "trials"


def _everything_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def study(tmp_path):
    """A protocol in `trials/`, extending one that lies beside that folder, with data and card in a third; among much else."""
    text = (TRIALS / "actg175.yaml").read_text().replace("data/actg175", "../real/actg175")
    (tmp_path / "base.yaml").write_text(text)
    for folder in ("trials", "real", ".git", ".venv", "runs", "trials/runs"):
        (tmp_path / folder).mkdir()
    for name in ("actg175.csv", "actg175.card.yaml"):
        (tmp_path / "real" / name).write_bytes((TRIALS / "data" / name).read_bytes())
    for name in (".git/config", ".venv/pyvenv.cfg", "runs/results.json", "trials/runs/x.parquet", "real/other.csv", "trials/other.yaml"):
        (tmp_path / name).write_text("not to travel")
    (tmp_path / "trials" / "mine.yaml").write_text("extends: ../base.yaml\nstudy: {id: MINE}\n")
    return load(tmp_path / "trials" / "mine.yaml")


def test_only_what_the_protocol_reads_travels(study, tmp_path):
    parcel = parcel_of(study)
    assert parcel.files[0] == tmp_path / "trials" / "mine.yaml"
    pack(parcel, there := tmp_path / "there")
    assert _everything_in(there) == {"protocol/trials/mine.yaml", "protocol/base.yaml", "protocol/real/actg175.csv", "protocol/real/actg175.card.yaml"}
    assert parcel.n_bytes == sum(path.stat().st_size for path in there.rglob("*") if path.is_file())
    arrived = load(there / parcel.protocol)
    assert arrived.sha256 == study.sha256
    assert arrived.directory == there / "protocol" / "trials"


def test_a_protocol_alone(small_protocol, tmp_path):
    parcel = parcel_of(load(small_protocol))
    pack(parcel, there := tmp_path / "there")
    assert _everything_in(there) == {"protocol/small.yaml"}


def test_an_absolute_path_stays_where_it_is(study, tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text(base.read_text().replace("../real/actg175.csv", str(tmp_path / "real" / "actg175.csv")))
    names = {path.name for path in parcel_of(load(tmp_path / "trials" / "mine.yaml")).files}
    assert names == {"mine.yaml", "base.yaml", "actg175.card.yaml"}


def test_a_missing_file_and_too_large_a_parcel(study, tmp_path, monkeypatch):
    monkeypatch.setattr(parcels, "MOST_BYTES", 1000)
    with pytest.raises(UsageError, match="put the data where the cluster's head sees them"):
        parcel_of(study)
    (tmp_path / "real" / "actg175.csv").unlink()
    with pytest.raises(UsageError, match=r"real/actg175\.csv: there is no such file"):
        parcel_of(study)


def test_the_code_that_travels_is_enough_to_run(small_protocol, tmp_path):
    """In a Python that sees the parcel before this checkout, trialsim is the parcel's, and knows its version."""
    parcel = parcel_of(load(small_protocol))
    pack(parcel, there := tmp_path / "there", code=(trialsim, trialsim_cli))
    assert not [name for name in _everything_in(there) if "__pycache__" in name]
    wanted = {path.relative_to(Path(trialsim.__file__).parent).as_posix() for path in Path(trialsim.__file__).parent.rglob("*.py")}
    assert wanted == {name.removeprefix("trialsim/") for name in _everything_in(there) if name.startswith("trialsim/") and name.endswith(".py")}
    ask = "import trialsim, trialsim_cli.main, importlib.metadata as m; print(trialsim.__file__, trialsim_cli.__file__, m.distribution('trialsim')._path)"
    said = subprocess.run([sys.executable, "-c", ask], cwd=there, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""}).stdout
    assert [(there / word).is_relative_to(there) for word in said.split()] == [True] * 3
    assert importlib.metadata.version("trialsim") in next(name for name in _everything_in(there) if name.endswith("METADATA"))
