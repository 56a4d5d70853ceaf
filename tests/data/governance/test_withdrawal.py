"""Withdrawal: the list, the models that become stale, and that nothing is written where somebody is unknown."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from trialsim.data.governance.audit import append, entries, verify
from trialsim.data.governance.consent import permitted
from trialsim.data.governance.manifest import manifest_path, read_manifest, require_fresh, write_manifest
from trialsim.data.governance.withdrawal import Person, manifests_below, models_in_log, withdraw
from trialsim.data.governance.withdrawn import read_withdrawn, withdrawn_path
from trialsim.errors import DataError

DAY = date(2026, 6, 15)
ROWS = "".join(f"secret-{n},{40 + n},1,2030-01-01,DE\n" for n in range(8))


@pytest.fixture
def clinic(written, tmp_path):
    """A table, and a function that 'fits' a model: its file and manifest."""
    table = written(ROWS)

    def fitted(name: str, ids, *, card="clinic", sha=table.sha256) -> Path:
        path = tmp_path / "models" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        write_manifest(path, ids=ids, purpose="simulate", data="clinic.csv", data_sha256=sha, card_id=card, counts={}, model_id=name)
        return path

    return table, fitted


def _withdraw(table, *ids, log, models):
    persons = [Person(person, file="the command line", line=None) for person in ids]
    return withdraw(persons, table=table, manifests=manifests_below(models), log=log, on=DAY)


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_models_that_have_read_the_person_become_stale_and_others_do_not(clinic, tmp_path):
    table, fitted = clinic
    ids = table.text["pid"]
    one, two = fitted("one", ids[:4]), fitted("two", ids[4:])
    done = _withdraw(table, "secret-0", "secret-3", log=tmp_path / "log.jsonl", models=[tmp_path / "models"])
    assert [(dependent.model, dependent.n) for dependent in done.stale] == [(one, 2)]
    assert (done.n_persons, done.n_new, done.n_in_data, done.n_models, done.undecided) == (2, 2, 2, 2, ())
    with pytest.raises(DataError, match="2 of its patients withdrew on 2026-06-15"):
        require_fresh(one)
    require_fresh(two)
    assert permitted(table, "simulate", on=DAY).withdrawn == 2


def test_an_identifier_is_written_nowhere(clinic, tmp_path):
    table, fitted = clinic
    fitted("one", table.text["pid"])
    _withdraw(table, "secret-0", log=tmp_path / "log.jsonl", models=[tmp_path])
    holding = [path for path, raw in _tree(tmp_path).items() if b"secret-0" in raw]
    assert holding == [str(table.path)]
    (entry,) = entries(tmp_path / "log.jsonl")
    assert entry.action == "withdraw"
    assert entry.details["persons"] == list(read_withdrawn(withdrawn_path(table.path)).persons)
    assert verify(tmp_path / "log.jsonl") == []


def test_again_changes_no_number(clinic, tmp_path):
    table, fitted = clinic
    one = fitted("one", table.text["pid"])
    first = _withdraw(table, "secret-0", log=tmp_path / "log.jsonl", models=[tmp_path])
    stale, listed = read_manifest(manifest_path(one)).stale, withdrawn_path(table.path).read_bytes()
    again = _withdraw(table, "secret-0", log=tmp_path / "log.jsonl", models=[tmp_path])
    assert (first.n_new, again.n_new) == (1, 0)
    assert (read_manifest(manifest_path(one)).stale, withdrawn_path(table.path).read_bytes()) == (stale, listed)


def test_an_unknown_person_and_nothing_is_written(clinic, tmp_path):
    table, fitted = clinic
    fitted("one", table.text["pid"])
    before = _tree(tmp_path)
    persons = [Person("secret-0", file="ids.txt", line=1), Person("nobody", file="ids.txt", line=2), Person("SECRET-1", file="ids.txt", line=3)]
    with pytest.raises(DataError) as caught:
        withdraw(persons, table=table, manifests=manifests_below([tmp_path]), log=tmp_path / "log.jsonl", on=DAY)
    assert [str(problem) for problem in caught.value.problems] == [
        "ids.txt:2  this person is neither in the data nor in a manifest",
        "ids.txt:3  this person is neither in the data nor in a manifest",
        "clinic.csv  2 of 3 identifiers are unknown; nothing was written",
    ]
    assert _tree(tmp_path) == before


def test_a_person_whose_row_is_gone_is_known_by_the_manifest(clinic, tmp_path):
    table, fitted = clinic
    one = fitted("one", ["gone", "secret-0"], sha="1" * 64)
    done = _withdraw(table, "gone", log=tmp_path / "log.jsonl", models=[tmp_path])
    assert (done.n_in_data, done.n_new, [dependent.model for dependent in done.stale]) == (0, 1, [one])


def test_models_of_other_data_with_the_same_identifiers_are_named_and_not_marked(clinic, tmp_path):
    table, fitted = clinic
    other = fitted("other", ["secret-0", "elsewhere"], card="another", sha="1" * 64)
    done = _withdraw(table, "secret-0", log=tmp_path / "log.jsonl", models=[tmp_path])
    assert (done.stale, done.undecided) == ((), (other,))
    require_fresh(other)
    with pytest.raises(DataError, match="1 of 1 identifiers are unknown"):
        _withdraw(table, "elsewhere", log=tmp_path / "log.jsonl", models=[tmp_path])


def test_models_without_identifiers(clinic, tmp_path):
    table, fitted = clinic
    same, version = fitted("same", None), fitted("version", None, sha="1" * 64)
    done = _withdraw(table, "secret-0", log=tmp_path / "log.jsonl", models=[tmp_path])
    assert [(dependent.model, dependent.n) for dependent in done.stale] == [(same, None)]
    assert done.undecided == (version,)


def test_models_named_by_the_log(clinic, tmp_path):
    table, fitted = clinic
    one, log = fitted("one", table.text["pid"]), tmp_path / "log.jsonl"
    append(log, "fit", {"model": str(one)})
    append(log, "fit", {"model": "models/moved"})
    append(log, "sample", {"model": "other"})
    assert models_in_log(log) == ([one], [tmp_path / "models" / "moved"])
    assert models_in_log(tmp_path / "none.jsonl") == ([], [])


def test_places_that_are_no_models(clinic, tmp_path):
    with pytest.raises(DataError) as caught:
        manifests_below([tmp_path / "none", tmp_path / "clinic.csv"])
    assert [problem.message for problem in caught.value.problems] == [
        "there is no such folder or model",
        "has no manifest, so nobody can say whose data it has read",
    ]


def test_data_without_identifiers(written, tmp_path):
    card = "id: c\ntitle: c\nsource: c\nlicence: CC0\npurposes: [simulate]\n"
    with pytest.raises(DataError, match="gives no column the role id"):
        _withdraw(written("40\n", card, header="age"), "a", log=tmp_path / "log.jsonl", models=[])


def test_a_broken_manifest_stops_before_anything_is_written(clinic, tmp_path):
    table, fitted = clinic
    manifest_path(fitted("one", table.text["pid"])).write_text("{")
    before = _tree(tmp_path)
    with pytest.raises(DataError, match="the manifest cannot be read"):
        _withdraw(table, "secret-0", log=tmp_path / "log.jsonl", models=[tmp_path])
    assert _tree(tmp_path) == before


def test_a_broken_log_does_not_undo_a_withdrawal(clinic, tmp_path):
    """The person's will counts first; the failure is told all the same."""
    table, fitted = clinic
    one, log = fitted("one", table.text["pid"]), tmp_path / "log.jsonl"
    log.write_text("nonsense\n")
    with pytest.raises(DataError, match="broken log"):
        _withdraw(table, "secret-0", log=log, models=[tmp_path])
    assert permitted(table, "simulate", on=DAY).withdrawn == 1
    with pytest.raises(DataError, match="is stale"):
        require_fresh(one)


def test_the_list_is_one_object_with_days(clinic, tmp_path):
    table, _ = clinic
    _withdraw(table, "secret-0", log=tmp_path / "log.jsonl", models=[])
    given = json.loads(withdrawn_path(table.path).read_text())
    assert given["schema"] == "trialsim.withdrawn/1"
    assert [entry["on"] for entry in given["persons"]] == ["2026-06-15"]
