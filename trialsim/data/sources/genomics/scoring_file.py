"""Scoring files of the PGS Catalog: which allele of which variant has which weight."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from trialsim.data.cells import MISSING
from trialsim.data.shown_path import shown_path
from trialsim.data.sources.genomics.alleles import chromosome_name
from trialsim.data.sources.genomics.builds import build_named
from trialsim.errors import DataError, Problem, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

_UNREAD = ("is_dominant", "is_recessive", "is_interaction", "is_haplotype", "is_diplotype")


@dataclass(frozen=True)
class ScoringFile:
    """The variants of a score, row by row: `weights` and `frequencies` are floats of shape (rows,), the rest lists.

    `positions` are (chromosome, position) on the build that was asked for, None where a row has none; `rsids` "" where it
    has none; `others` "" where the other allele is not given; `frequencies` (of the effect allele) NaN where not.
    """

    path: Path
    shown: str
    positions: tuple[tuple[str, int] | None, ...]
    rsids: tuple[str, ...]
    effects: tuple[str, ...]
    others: tuple[str, ...]
    weights: NDArray[np.float64]
    frequencies: NDArray[np.float64]

    @property
    def n(self) -> int:
        return len(self.effects)


def read_scoring_file(path: Path, *, build: str, genotypes: str) -> ScoringFile:
    """Reads a scoring file (`.txt`, `.txt.gz`); `build` is that of the genotypes in the file `genotypes`.

    Columns: effect_allele and effect_weight, and rsID or chr_name with chr_position; other_allele and
    allelefrequency_effect where given. Of a harmonised file hm_chr and hm_pos are used where its #HmPOS_build is `build`.

    Raises DataError with every problem, each with its line: another build, a column that is missing, a weight or position
    that is no number, a row with neither position nor rsID, an allele that is no sequence of A, C, G and T, a variant given
    twice, a weight that is not additive (is_dominant, is_recessive, is_interaction, is_haplotype, is_diplotype).

    **Source:** Lambert SA et al. The Polygenic Score Catalog as an open database for reproducibility and systematic
    evaluation. Nat Genet 2021;53:420–425, doi:10.1038/s41588-021-00783-5; format 2.0, https://www.pgscatalog.org/downloads.
    Not handled: HLA alleles and dosage-specific weights (dosage_0_weight …).
    """
    shown = shown_path(path)
    header, table, first = _cells(path, shown)
    names = table.column_names
    chromosome, position = _position_columns(header, names, build=build, shown=shown, genotypes=genotypes)
    lacking = [name for name in ("effect_allele", "effect_weight") if name not in names]
    problems = [Problem(f'there is no column "{name}"{did_you_mean(name, names)}', file=shown, line=first - 1) for name in lacking]
    if chromosome is None and "rsID" not in names:
        problems.append(Problem("there is neither a column rsID nor chr_name and chr_position on a known build", file=shown, line=first - 1))
    if problems:
        raise DataError(problems)
    column = {name: _column(table, name) for name in names}
    nothing = np.full(table.num_rows, "", dtype=object)
    rsids = np.array([rsid if rsid.startswith("rs") else "" for rsid in column.get("rsID", nothing)], dtype=object)
    effects, others = (np.array([allele.upper() for allele in column.get(name, nothing)], dtype=object) for name in ("effect_allele", "other_allele"))
    chromosomes = np.array([chromosome_name(name) for name in column[chromosome]], dtype=object) if chromosome else nothing
    at, not_whole = _numbers(column[position] if position else nothing)
    weights, not_numbers = _numbers(column["effect_weight"])
    frequencies, not_shares = _numbers(column.get("allelefrequency_effect", nothing))
    has_place = (chromosomes != "") & np.isfinite(at)
    wrong = {
        "the weight is no finite number": not_numbers | (column["effect_weight"] == ""),
        "the position is no whole number": not_whole | (np.isfinite(at) & ((at != np.floor(at)) | (at < 1))),
        "the frequency of the effect allele is not within 0 and 1": not_shares | (frequencies < 0) | (frequencies > 1),
        "the variant has neither a position nor an rsID": ~has_place & (rsids == ""),
        "the effect allele is no sequence of A, C, G and T": ~_are_bases(effects),
        "the other allele is no sequence of A, C, G and T": (others != "") & ~_are_bases(others),
        "the effect allele is the other allele": (effects == others) & (effects != ""),
    } | {
        f"the weight is not additive ({name}), which is not read": np.array([cell.lower() == "true" for cell in column[name]], dtype=bool)
        for name in _UNREAD
        if name in column
    }
    problems = [_problem(words, rows, shown, first) for words, rows in wrong.items() if rows.any()]
    positions = tuple(
        (str(name), int(place)) if known else None for name, place, known in zip(chromosomes, np.where(has_place, at, 0), has_place.tolist(), strict=True)
    )
    if not problems:
        problems = _repeated(positions, rsids, effects, others, shown, first)
    if problems:
        raise DataError(problems)
    return ScoringFile(path, shown, positions, tuple(rsids), tuple(effects), tuple(others), weights, frequencies)


def _cells(path: Path, shown: str) -> tuple[dict[str, str], pa.Table, int]:
    """The header (`#key=value`), the table as text, and the line of its first row."""
    import pyarrow as pa
    import pyarrow.csv

    header: dict[str, str] = {}
    n_header = 0
    try:
        with cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            content = file.read()
        for raw in content.split(b"\n"):
            if not raw.startswith(b"#"):
                break
            n_header += 1
            key, equals, value = raw.decode().strip().lstrip("#").partition("=")
            if equals:
                header[key.strip()] = value.strip()
        ragged: list[Any] = []

        def set_aside(row: Any) -> str:
            ragged.append(row)
            return "skip"

        body = content.split(b"\n", n_header)[-1].decode("utf-8-sig" if not n_header else "utf-8").encode()
        names = body.split(b"\n", 1)[0].decode().rstrip("\r").split("\t")
        table = pyarrow.csv.read_csv(
            pa.BufferReader(body),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False, invalid_row_handler=set_aside),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except FileNotFoundError:
        raise DataError(Problem("there is no such file", file=shown)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(Problem("the compressed file is cut off, or is none", file=shown)) from None
    except UnicodeDecodeError:
        raise DataError(Problem("is not UTF-8 text", file=shown)) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(Problem(f"is no scoring file: {' '.join(str(error).split())}", file=shown)) from None
    first = n_header + 2
    if ragged:
        row = ragged[0]
        line = None if row.number is None else n_header + row.number
        others = "" if len(ragged) == 1 else f"; {len(ragged)} rows are of another length"
        raise DataError(Problem(f"the row has {row.actual_columns} cells where the header has {row.expected_columns}{others}", file=shown, line=line))
    if len(set(names)) < len(names):
        raise DataError(Problem("two columns have one name", file=shown, line=first - 1))
    if table.num_rows == 0:
        raise DataError(Problem("the score has no variants", file=shown))
    return header, table, first


def _position_columns(header: Mapping[str, str], names: list[str], *, build: str, shown: str, genotypes: str) -> tuple[str | None, str | None]:
    """The columns of chromosome and position on the build of the genotypes; none where the file does not say its build.

    Raises DataError where it says that its build is another one.
    """
    harmonised, original = build_named(header.get("HmPOS_build", "")), build_named(header.get("genome_build", ""))
    if harmonised == build and {"hm_chr", "hm_pos"} <= set(names):
        return "hm_chr", "hm_pos"
    stated = dict.fromkeys(known for known in (original, harmonised) if known is not None)
    if stated and build not in stated:
        raise DataError(Problem(f"the positions are on {' and '.join(stated)}, but the genotypes of {genotypes} are on {build}", file=shown))
    if original == build and {"chr_name", "chr_position"} <= set(names):
        return "chr_name", "chr_position"
    return None, None


def _column(table: pa.Table, name: str) -> NDArray[np.object_]:
    """A column as text, "" where a cell is missing."""
    return np.array(["" if cell in MISSING else cell for cell in map(str.strip, table.column(name).to_pylist())], dtype=object)


def _numbers(cells: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The cells as numbers, NaN where one is missing or none; and which are none."""
    import pandas as pd

    numbers = pd.to_numeric(pd.Series(np.where(cells == "", "nan", cells)), errors="coerce").to_numpy(np.float64)
    wrong = (cells != "") & ~np.isfinite(numbers)
    return np.where(np.isfinite(numbers), numbers, np.nan), wrong.astype(bool)


def _are_bases(alleles: NDArray[np.object_]) -> NDArray[np.bool_]:
    bases = frozenset("ACGT")
    return np.array([allele != "" and bases.issuperset(allele) for allele in alleles], dtype=bool)


def _problem(words: str, rows: NDArray[np.bool_], shown: str, first: int) -> Problem:
    n = int(rows.sum())
    return Problem(words if n == 1 else f"{words}; {n:,} such rows (the first here)", file=shown, line=first + int(np.flatnonzero(rows)[0]))


def _repeated(positions: Any, rsids: Any, effects: Any, others: Any, shown: str, first: int) -> list[Problem]:
    """A variant that is given twice would count twice."""
    seen: dict[Any, int] = {}
    twice = []
    for row, (place, rsid, effect, other) in enumerate(zip(positions, rsids, effects, others, strict=True)):
        key = (place or rsid, *sorted((effect, other)))
        if key in seen:
            twice.append((row, seen[key]))
        seen.setdefault(key, row)
    if not twice:
        return []
    row, earlier = twice[0]
    more = "" if len(twice) == 1 else f"; {len(twice):,} rows repeat another"
    return [Problem(f"the variant is given twice (first on line {first + earlier}){more}", file=shown, line=first + row)]
