"""Files in messages are named as the user can open them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trialsim.data.shown_path import shown_path


@pytest.mark.parametrize(
    "here, file, shown",
    [
        ("study", "study/data/d.csv", "data/d.csv"),
        (".", "study/data/d.csv", "study/data/d.csv"),
        ("study/notes", "study/data/d.csv", "../data/d.csv"),
        ("study", "study/../other/d.csv", "../other/d.csv"),
    ],
)
def test_a_file_is_shown_relative_to_the_working_directory(tmp_path, monkeypatch, here, file, shown):
    (tmp_path / "study" / "notes").mkdir(parents=True)
    target = (tmp_path / file).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("x")
    monkeypatch.chdir(tmp_path / here)
    assert shown_path(tmp_path / file) == shown
    assert Path(shown).samefile(target)


def test_a_file_far_away_is_shown_absolute(tmp_path, monkeypatch):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    assert shown_path("/d.csv") == "/d.csv"
