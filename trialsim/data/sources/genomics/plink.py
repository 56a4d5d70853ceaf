"""PLINK 1 filesets (.bed, .bim, .fam) as a source: `kind: plink`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trialsim.data.shown_path import shown_path
from trialsim.data.sources.genomics.alleles import chromosome_name
from trialsim.data.sources.genomics.scoring import Scoring, Use, by_allele
from trialsim.data.sources.genomics.source import GenomicSource, Genotypes
from trialsim.errors import DataError, Problem

_MAGIC = b"\x6c\x1b\x01"
_BYTES = 32 * 1024 * 1024
_MISSING = -127  # how bed-reader writes a missing genotype


class Plink(GenomicSource):
    """Filesets `NAME.bed` with NAME.bim and NAME.fam beside it, through bed-reader; a person is the individual's ID (IID).

    The dosage is the number of copies of A1 or A2. A male's X is coded as two copies of its allele; with `male_x: single`
    it counts as one (sex of .fam; PLINK's chromosome 25, the pseudo-autosomal part, is diploid). A fileset does not say its build.
    """

    kind: Literal["plink"]

    def inputs(self, folder: Path) -> list[Path]:
        """The .bed files with their .bim and .fam, and the scoring files."""
        given = super().inputs(folder)
        beside = [path.with_suffix(suffix) for path in given if path.suffix == ".bed" for suffix in (".bim", ".fam")]
        return [*given, *(path for path in beside if path.is_file())]

    def open(self, path: Path) -> Genotypes:
        return BedFile(path)


class BedFile:
    """One fileset, its .bim and .fam read and its size checked."""

    build: str | None = None

    def __init__(self, path: Path):
        try:
            import bed_reader  # noqa: F401
        except ModuleNotFoundError:
            raise DataError('bed-reader is needed to read PLINK filesets: pip install "trialsim[data]"') from None
        self.path, self.shown = path, shown_path(path)
        if path.suffix != ".bed":
            raise DataError(Problem("is no .bed file", file=self.shown))
        beside = [path.with_suffix(suffix) for suffix in (".bim", ".fam")]
        lacking = [f"there is no {file.name} beside it" for file in beside if not file.is_file()]
        if lacking:
            raise DataError(Problem(words, file=self.shown) for words in lacking)
        self.sites = _table(beside[0], 6)
        family = _table(beside[1], 6)
        self.samples: Sequence[str] = family[:, 1].tolist()
        self.is_male = family[:, 4] == "1"
        twice = [sample for sample, n in Counter(self.samples).items() if n > 1]
        if twice:
            line = [place for place, sample in enumerate(self.samples, 1) if sample == twice[0]][1]
            others = "" if len(twice) == 1 else f"; so do {len(twice) - 1:,} others"
            raise DataError(Problem(f'the sample "{twice[0]}" occurs twice{others}', file=shown_path(beside[1]), line=line))
        self._check_size()

    def _check_size(self) -> None:
        with self.path.open("rb") as file:
            magic = file.read(3)
        if magic != _MAGIC:
            raise DataError(Problem("is no PLINK 1 file of genotypes by variant", file=self.shown))
        needed, size = 3 + len(self.sites) * ((len(self.samples) + 3) // 4), self.path.stat().st_size
        if size != needed:
            how = "is cut off" if size < needed else "does not fit its .bim and .fam"
            words = f"{how}: {size:,} bytes, where {len(self.sites):,} variants of {len(self.samples):,} samples need {needed:,}"
            raise DataError(Problem(words, file=self.shown))

    def _wanted(self, scoring: Scoring) -> dict[int, list[Use]]:
        """Site → what it is needed for."""
        names = {name: chromosome_name(name) for name in np.unique(self.sites[:, 0])}
        places = set(scoring.places)
        rsids = set(scoring.rsids)
        wanted: dict[int, list[Use]] = {}
        for row, (name, rsid, position) in enumerate(self.sites[:, [0, 1, 3]].tolist()):
            place = (names[name], int(position))
            if place in places or rsid in rsids:
                alleles = [allele.upper() for allele in self.sites[row, 4:6].tolist()]
                uses = scoring.match(place, rsid, alleles)
                if uses:
                    wanted[row] = uses
        return wanted

    def score(self, scoring: Scoring, order: NDArray[np.intp], *, doubled_x: bool) -> None:
        from bed_reader import open_bed

        wanted = self._wanted(scoring)
        rows = np.fromiter(wanted, dtype=np.int64, count=len(wanted))
        straight = bool((order == np.arange(len(order))).all())
        step = max(1, _BYTES // max(1, len(self.samples)))
        single_x = None if doubled_x or not self.is_male.any() else np.where(self.is_male, np.float32(1), np.float32(2))[order]
        with open_bed(str(self.path), iid_count=len(self.samples), sid_count=len(self.sites), properties=dict.fromkeys(_PROPERTIES)) as bed:
            for first in range(0, len(rows), step):
                here = rows[first : first + step]
                try:
                    copies = bed.read(index=np.s_[:, here], dtype="int8", order="F").T
                except (OSError, ValueError) as error:
                    raise DataError(Problem(f"cannot be read: {error}", file=self.shown)) from None
                for row, counted in zip(here.tolist(), copies, strict=True):
                    counted = counted if straight else counted[order]
                    first_allele = counted.astype(np.float32)
                    first_allele[counted == _MISSING] = np.nan
                    is_x = single_x is not None and self.sites[row, 0].upper().removeprefix("CHR") in ("23", "X")
                    for allele, uses in by_allele(wanted[row]).items():
                        dosage = 2 - first_allele if allele else first_allele
                        if is_x and single_x is not None:
                            scoring.add(dosage * (single_x / 2), uses, single_x)
                        else:
                            scoring.add(dosage, uses)


_PROPERTIES = ("fid", "iid", "father", "mother", "sex", "pheno", "chromosome", "sid", "cm_position", "bp_position", "allele_1", "allele_2")
"""Properties that bed-reader need not read: the files are read here, for the lines of what is wrong."""


def _table(path: Path, width: int) -> NDArray[np.object_]:
    """The cells of a .bim or .fam, of shape (rows, width). DataError for a row of another length or without a position."""
    shown = shown_path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(Problem("is not UTF-8 text", file=shown)) from None
    cells = [line.split() for line in lines]
    problems = []
    for number, row in enumerate(cells, 1):
        if len(row) != width:
            problems.append(Problem(f"the row has {len(row)} cells, not {width}", file=shown, line=number))
        elif path.suffix == ".bim" and not row[3].lstrip("-").isdigit():
            problems.append(Problem(f'the position "{row[3]}" is no whole number', file=shown, line=number))
    if len(problems) > 1:
        problems = [Problem(f"{problems[0].message}; {len(problems):,} such rows (the first here)", file=shown, line=problems[0].line)]
    if not cells:
        problems = [Problem("the file is empty", file=shown)]
    if problems:
        raise DataError(problems)
    return np.array(cells, dtype=object)
