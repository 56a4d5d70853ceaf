"""Manifests: who was read can be asked and not listed, and a stale or unknown model is refused."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import date

import pytest

from trialsim.data.governance.manifest import contains, manifest_path, mark_stale, model_path_of, read_manifest, require_fresh, write_manifest
from trialsim.errors import DataError

DAY = date(2026, 6, 15)
COUNTS = {"purpose": "simulate", "n_rows": 4, "n_permitted": 3}


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"a model")
    return path


def _write(model, ids=("b", "a", "Ünal", "a")):
    return write_manifest(model, ids=ids, purpose="simulate", data="d.csv", data_sha256="0" * 64, card_id="c", counts=COUNTS, model_id="m-1")


def test_who_was_read(model):
    manifest = _write(model)
    assert manifest == read_manifest(manifest_path(model)) == require_fresh(model)
    assert [contains(manifest, person) for person in ("a", "b", "Ünal", "c", "A", "")] == [True, True, True, False, False, False]
    assert model_path_of(manifest_path(model)) == model


def test_the_file_holds_sorted_salted_hashes_and_no_identifier(model):
    _write(model)
    given = json.loads(manifest_path(model).read_text())
    salt = bytes.fromhex(given["salt"])
    assert len(salt) == 32
    assert given["n_persons"] == 3
    assert given["persons"] == sorted(hmac.new(salt, person.encode(), hashlib.sha256).hexdigest() for person in ("a", "b", "Ünal"))
    assert given["model_sha256"] == hashlib.sha256(b"a model").hexdigest()
    assert "nal" not in manifest_path(model).read_text()


def test_two_manifests_cannot_be_joined(model):
    assert not _write(model).persons & _write(model).persons


@pytest.mark.parametrize("ids", [None, ["a", None]])
def test_without_identifiers_nobody_can_say(model, ids):
    manifest = _write(model, ids)
    assert manifest.persons is None
    assert json.loads(manifest_path(model).read_text())["persons"] is None
    assert contains(manifest, "a") is None
    mark_stale(manifest_path(model), None, on=DAY, reason="withdrawal")
    with pytest.raises(DataError, match=r"is stale: patients withdrew whose rows it may have read on 2026-06-15; fit it anew"):
        require_fresh(model)


def test_a_stale_model_is_refused_and_nobody_counts_twice(model):
    _write(model)
    mark_stale(manifest_path(model), ["a"], on=date(2026, 6, 1), reason="withdrawal")
    mark_stale(manifest_path(model), ["b", "a"], on=DAY, reason="withdrawal")
    with pytest.raises(DataError) as caught:
        require_fresh(model)
    assert str(caught.value) == "m.safetensors  the model m.safetensors is stale: 2 of its patients withdrew on 2026-06-15; fit it anew without them"
    _write(model, ids=["Ünal"])  # fitted anew
    require_fresh(model)


def test_a_model_without_manifest_is_refused(model):
    with pytest.raises(DataError, match=r"m.safetensors has no manifest \(m.safetensors.manifest.json\)"):
        require_fresh(model)


def test_the_manifest_of_another_file_is_refused(model):
    _write(model)
    model.write_bytes(b"another")
    with pytest.raises(DataError, match="is that of another file than the model"):
        require_fresh(model)
    model.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        require_fresh(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given.pop("persons"),
        lambda given: given.update(n_persons=7),
        lambda given: given.update(schema="x"),
        lambda given: given.update(more=1),
        lambda given: given.update(salt="zz"),
    ],
)
def test_what_is_not_a_manifest(model, change):
    _write(model)
    given = json.loads(manifest_path(model).read_text())
    change(given)
    manifest_path(model).write_text(json.dumps(given))
    with pytest.raises(DataError, match=r"is not a manifest of the schema trialsim.cohort_manifest/1"):
        require_fresh(model)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_broken_manifest(model, text):
    manifest_path(model).write_text(text)
    with pytest.raises(DataError, match="manifest"):
        require_fresh(model)


def test_nothing_is_left_beside_a_manifest_but_its_lock(model):
    _write(model)
    assert sorted(path.name for path in model.parent.iterdir()) == [".m.safetensors.manifest.json.lock", "m.safetensors", "m.safetensors.manifest.json"]
