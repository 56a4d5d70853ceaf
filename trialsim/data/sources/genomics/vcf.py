"""VCF and BCF files as a source: `kind: vcf`."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from trialsim.data.shown_path import shown_path
from trialsim.data.sources.genomics.alleles import chromosome_name
from trialsim.data.sources.genomics.builds import build_named, build_of_lengths
from trialsim.data.sources.genomics.scoring import Scoring, by_allele
from trialsim.data.sources.genomics.source import GenomicSource, Genotypes
from trialsim.errors import DataError, Problem

if TYPE_CHECKING:
    from cyvcf2 import Variant

_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends every BGZF file (SAM/BAM format specification, section 4.1.2)."""
_FIXED = 9  # columns of a record before those of the samples


class Vcf(GenomicSource):
    """VCF 4.x (plain, or compressed by gzip or bgzip) and BCF, through cyvcf2.

    The dosage of an allele is DS where a record has it (that of REF is the ploidy less the others), else the copies in GT;
    a genotype with a missing allele is missing. Haploid genotypes have one copy, on X two with `male_x: doubled`. A record
    may have several alternative alleles. The build is also told from ##reference and the lengths of ##contig.
    """

    kind: Literal["vcf"]

    def open(self, path: Path) -> Genotypes:
        return VcfFile(path)


class VcfFile:
    """One file, its header read."""

    def __init__(self, path: Path):
        try:
            import cyvcf2  # noqa: F401
        except ModuleNotFoundError:
            raise DataError('cyvcf2 is needed to read VCF files: pip install "trialsim[data]"') from None
        self.path, self.shown = path, shown_path(path)
        header = self._header()
        names = header[-1].rstrip("\r\n").split("\t")
        self.samples: Sequence[str] = names[_FIXED:]
        self.n_header = len(header)
        twice = [sample for sample, n in Counter(self.samples).items() if n > 1]
        if twice:
            others = "" if len(twice) == 1 else f"; so do {len(twice) - 1:,} others"
            raise DataError(Problem(f'the sample "{twice[0]}" occurs twice{others}', file=self.shown, line=self.n_header))
        if not self.samples:
            raise DataError(Problem("has no samples", file=self.shown, line=self.n_header))
        self.build = self._build(header)
        self.has_dosage = any(line.startswith("##FORMAT=<ID=DS,") for line in header)
        self._check_end()

    def _header(self) -> list[str]:
        """The lines of the header, the last the one with the samples."""
        if self.path.suffix == ".bcf":
            return [line for line in self._vcf().raw_header.splitlines() if line.startswith("#")]
        header: list[str] = []
        try:
            with self.path.open("rb") as file:
                zipped = file.read(2) == b"\x1f\x8b"
            with cast("IO[bytes]", gzip.open(self.path) if zipped else self.path.open("rb")) as lines:
                for line in lines:
                    if not line.startswith(b"#"):
                        break
                    header.append(line.decode("utf-8"))
                    if line.startswith(b"#CHROM"):
                        return header
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise DataError(Problem("the compressed file is cut off in its header", file=self.shown)) from None
        except UnicodeDecodeError:
            raise DataError(Problem("is not UTF-8 text", file=self.shown, line=len(header) + 1)) from None
        raise DataError(Problem("is no VCF: there is no line #CHROM after its header", file=self.shown, line=len(header) + 1))

    def _check_end(self) -> None:
        """Raises DataError where the file ends within a block or a line."""
        with self.path.open("rb") as file:
            start = file.read(18)
            size = file.seek(0, 2)
            file.seek(max(0, size - len(_END)))
            end = file.read()
        if start[:4] == _END[:4] and start[12:14] == b"BC":
            if end != _END:
                raise DataError(Problem("is cut off: the block that ends a BGZF file is missing", file=self.shown))
        elif start[:2] == b"\x1f\x8b":
            try:
                with gzip.open(self.path) as lines:
                    while lines.read(1 << 20):
                        pass
            except (EOFError, zlib.error, gzip.BadGzipFile):
                raise DataError(Problem("the compressed file is cut off", file=self.shown)) from None
        elif not end.endswith(b"\n"):
            n, last = 0, b""
            with self.path.open("rb") as file:
                for n, last in enumerate(file, 1):  # noqa: B007
                    pass
            if last.count(b"\t") != _FIXED + len(self.samples) - 1:
                cells = last.count(b"\t") + 1
                raise DataError(Problem(f"is cut off: the last line has {cells:,} of {_FIXED + len(self.samples):,} cells", file=self.shown, line=n))

    def _build(self, header: list[str]) -> str | None:
        lengths = {}
        for line in header:
            found = re.match(r"##contig=<.*?ID=([^,>]+).*?length=(\d+)", line)
            if found:
                lengths[found[1]] = int(found[2])
        named = {
            build_named(line) for line in header if line.startswith(("##reference=", "##contig=<")) and ("assembly" in line or line.startswith("##reference"))
        }
        named.discard(None)
        return build_of_lengths(lengths) or (named.pop() if len(named) == 1 else None)

    def _vcf(self) -> Any:
        import cyvcf2

        try:
            return cyvcf2.VCF(str(self.path), gts012=False)
        except Exception as error:  # cyvcf2 raises what it likes
            raise DataError(Problem(f"cannot be read as VCF: {' '.join(str(error).split())}", file=self.shown)) from None

    def score(self, scoring: Scoring, order: NDArray[np.intp], *, doubled_x: bool) -> None:
        reader, n = self._vcf(), 0
        straight = bool((order == np.arange(len(order))).all())
        try:
            for variant in reader:
                n += 1
                chromosome = chromosome_name(variant.CHROM)
                alleles = [variant.REF.upper(), *(allele.upper() for allele in variant.ALT)]
                uses = scoring.match((chromosome, variant.POS), variant.ID or "", alleles)
                if not uses:
                    continue
                calls = _Calls(variant, self.has_dosage, doubled=doubled_x and chromosome == "X")
                for allele, of in by_allele(uses).items():
                    dosage, ploidy = calls.dosage(allele)
                    scoring.add(dosage if straight else dosage[order], of, ploidy if straight or ploidy is None else ploidy[order])
        except DataError:
            raise
        except Exception as error:  # htslib's errors reach Python as several types
            raise DataError(
                Problem(f"the record cannot be read (cut off?): {' '.join(str(error).split())}", file=self.shown, line=self.n_header + n + 1)
            ) from None
        finally:
            reader.close()


class _Calls:
    """The genotypes of one record."""

    def __init__(self, variant: Variant, has_dosage: bool, *, doubled: bool):
        formats = variant.FORMAT or []
        self.stated: NDArray[np.float32] | None = variant.format("DS") if has_dosage and "DS" in formats else None
        self.copies: NDArray[np.int16] | None = variant.genotype.array()[:, :-1] if "GT" in formats else None
        if self.stated is None and self.copies is None:
            raise DataError(f"{variant.CHROM}:{variant.POS} has neither GT nor DS")
        self.ploidy: NDArray[np.float32] | None = None
        self.scale: NDArray[np.float32] | None = None
        if self.copies is not None and (self.copies.shape[1] != 2 or (self.copies[:, 1] == -2).any()):
            ploidy = (self.copies != -2).sum(axis=1).astype(np.float32)
            if doubled:
                self.scale = np.where(ploidy == 1, np.float32(2), np.float32(1))
                ploidy = ploidy * self.scale
            self.ploidy = ploidy

    def dosage(self, allele: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The dosage of an allele (NaN where missing), of shape (samples,), and the ploidy where it is not 2 for all."""
        if self.stated is not None:
            found = self._stated_dosage(allele)
        else:
            copies = self.copies
            assert copies is not None
            found = (copies == allele).sum(axis=1, dtype=np.int8).astype(np.float32)
            found[(copies == -1).any(axis=1)] = np.nan
        return (found if self.scale is None else found * self.scale), self.ploidy

    def _stated_dosage(self, allele: int) -> NDArray[np.float32]:
        assert self.stated is not None
        if allele:
            return self.stated[:, allele - 1].astype(np.float32)
        whole: Any = np.float32(2) if self.ploidy is None else self.ploidy if self.scale is None else self.ploidy / self.scale
        return (whole - self.stated.sum(axis=1)).astype(np.float32)
