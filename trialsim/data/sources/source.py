"""What every kind of source has: where its files are, and how it is read into the staging area."""

from __future__ import annotations

import glob
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from trialsim.data.shown_path import shown_path
from trialsim.data.staging import Staging
from trialsim.errors import DataError, Problem
from trialsim.parts import Part


class Source(Part):
    """One source of an ingest. A subclass has `kind: Literal["…"]`, its options, and `read`."""

    extra: ClassVar[str] = "data"

    @abstractmethod
    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Inserts everything the source says into `staging`, with `name` in the column `source`.

        `folder` is that of SOURCES.yaml; `codes` are the (system, code) pairs that any feature asks for, so that a source
        may leave out other observations (it still counts them); empty: every event is wanted, because a person's last
        record is. Rows that cannot be read are noted with
        `staging.problem`, every one with file, line and what was found there; a source whose files are missing raises DataError.
        """

    def inputs(self, folder: Path) -> list[Path]:
        """The files that are read, for their hashes in the card. A source that reads other files than `files` adds them."""
        return []


class FileSource(Source):
    """A source of files."""

    files: str = Field(description="The file, folder or pattern (`fhir/*.ndjson`), relative to SOURCES.yaml.")

    def paths(self, folder: Path) -> list[Path]:
        """The files in order of their names; DataError where there are none."""
        pattern = str(folder / self.files)
        found = sorted(Path(path) for path in glob.glob(pattern, recursive=True))
        if not found:
            raise DataError(Problem("there is no such file", file=shown_path(pattern)))
        return found

    def inputs(self, folder: Path) -> list[Path]:
        """Every file, also those in a folder that is named whole."""
        return [file for path in self.paths(folder) for file in ([path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file()))]
