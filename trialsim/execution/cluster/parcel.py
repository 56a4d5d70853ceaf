"""What travels to the cluster: the files that a protocol reads and, unless trialsim is installed there, its own code.

    protocol/…                  the protocol, the files it extends, data, card, cohort: laid out as they lie here
    trialsim/, trialsim_cli/    the code that checked the protocol here
    trialsim-<version>.dist-info    so that the code there knows its version

Nothing else does: no repository, no virtual environment, no caches, no earlier runs. A path that the protocol writes as
absolute does not travel; it has to exist on the cluster's head.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from trialsim.cohort.calibration.published_curve import PublishedCurve
from trialsim.cohort.population import DataSource, FittedSource
from trialsim.errors import UsageError
from trialsim.parts import walk
from trialsim.spec import Study
from trialsim.spec.loading import read_file

PROTOCOL_FOLDER = "protocol"
MOST_BYTES = 400 * 2**20
"""Ray takes 500 MiB of a job at most."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """`files`: absolute, the protocol first. `root`: the innermost folder that holds them all."""

    root: Path
    files: tuple[Path, ...]

    @property
    def protocol(self) -> str:
        """The protocol's path in the parcel."""
        return f"{PROTOCOL_FOLDER}/{self.files[0].relative_to(self.root).as_posix()}"

    @property
    def n_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


def parcel_of(study: Study) -> Parcel:
    """The files a study reads. UsageError where one is missing, or all are too large for Ray to carry."""
    protocol = _absolute(Path(study.path))
    files = list(dict.fromkeys((*_extended(protocol), *_sources(study))))
    for file in files:
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file, and the protocol reads it")
    parcel = Parcel(Path(os.path.commonpath([file.parent for file in files])), tuple(files))
    if parcel.n_bytes > MOST_BYTES:
        raise UsageError(
            f"the files of {study.path} have {parcel.n_bytes / 2**20:,.0f} MiB, a job carries {MOST_BYTES / 2**20:,.0f}: "
            "put the data where the cluster's head sees them and write their absolute path"
        )
    return parcel


def pack(parcel: Parcel, into: Path, *, code: Sequence[ModuleType] = ()) -> None:
    """Lays the parcel out in an empty folder, with the code of these packages."""
    for file in parcel.files:
        target = into / PROTOCOL_FOLDER / file.relative_to(parcel.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    for package in code:
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, into / package.__name__, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
    if code:
        about = into / f"trialsim-{version('trialsim')}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: trialsim\nVersion: {version('trialsim')}\n", encoding="utf-8")


def _absolute(path: Path) -> Path:
    """Absolute and without `..`; links are not followed, so that files lie to each other as the protocol says."""
    return Path(os.path.normpath(path.absolute()))


def _extended(protocol: Path) -> Iterator[Path]:
    """The protocol and the files it extends, one after the other. It has been read once: there is no cycle."""
    while True:
        yield protocol
        root = read_file(protocol).value
        extends = root.get("extends") if isinstance(root, dict) else None
        if extends is None:
            return
        protocol = _absolute(protocol.parent / str(extends.value))


def _sources(study: Study) -> Iterator[Path]:
    """Data, cards, fitted cohorts and published curves of all cells, but for those with an absolute path."""
    folder = _absolute(Path(study.path)).parent
    for cell in study.cells():
        source = cell.protocol.population.source if cell.protocol.population is not None else None
        named: tuple[str | None, ...] = ()
        if isinstance(source, DataSource):
            named = (source.data, source.card)
        elif isinstance(source, FittedSource):
            named = (source.cohort,)
        named = (*named, *(part.from_curve for _, part in walk(cell.protocol) if isinstance(part, PublishedCurve)))
        yield from (_absolute(folder / name) for name in named if name is not None and not os.path.isabs(name))
