"""Weighted sums of dosages over the variants of several scores, block by block, for all samples at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trialsim.data.sources.genomics.alleles import Match, find_allele
from trialsim.data.sources.genomics.scoring_file import ScoringFile

_BYTES = 32 * 1024 * 1024
"""How large a block of dosages is: memory stays bounded whatever the number of samples and variants."""
_UNSEEN, _DIFFERENT, _AMBIGUOUS, _NOT_CALLED, _DIRECT, _FLIPPED = range(6)


@dataclass(frozen=True, slots=True)
class SingleVariant:
    """A variant whose dosage is wanted itself: by its position or else its rsID."""

    place: tuple[str, int] | None
    rsid: str
    allele: str


@dataclass(frozen=True, slots=True)
class Use:
    """That a score (or, with score −1, the single variant number `row`) needs the dosage of a site's allele."""

    score: int
    row: int
    allele: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the variants of a score; `missing` counts genotypes, the others variants."""

    variants: int
    matched: int
    flipped: int
    ambiguous: int
    different: int
    not_called: int
    repeated: int
    missing: int

    @property
    def not_found(self) -> int:
        return self.variants - self.matched - self.ambiguous - self.different - self.not_called


@dataclass
class Scoring:
    """Scores Σ weight · dosage of the effect allele, of shape (scores, samples).

    Sites come one at a time: `match` says which of their alleles are needed, `add` takes the dosages of one. A missing
    genotype counts as ploidy · p, where p is the frequency of the allele among the called ones of the file (with
    `frequency="score"`, and where none is called, that of the scoring file). A variant that occurs in several records
    counts at the first that matches; later ones are counted.
    """

    files: Sequence[ScoringFile]
    variants: Sequence[SingleVariant]
    n_samples: int
    keep_ambiguous: bool
    frequency: Literal["file", "score"]
    scores: NDArray[np.float64] = field(init=False)
    dosages: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scores = np.zeros((len(self.files), self.n_samples))
        self._status = [np.full(file.n, _UNSEEN, dtype=np.int8) for file in self.files]
        self._repeated = [0] * len(self.files)
        self._missing = np.zeros(len(self.files), dtype=np.int64)
        self._by_place: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self._by_rsid: dict[str, list[tuple[int, int]]] = {}
        for score, file in enumerate(self.files):
            for row, (place, rsid) in enumerate(zip(file.positions, file.rsids, strict=True)):
                self._want(place, rsid, (score, row))
        for number, variant in enumerate(self.variants):
            self._want(variant.place, variant.rsid, (-1, number))
        self._block = np.empty((max(1, _BYTES // (4 * max(1, self.n_samples))), self.n_samples), dtype=np.float32)
        self._uses: list[Sequence[Use]] = []
        self._ploidies: dict[int, NDArray[np.float32]] = {}

    def _want(self, place: tuple[str, int] | None, rsid: str, what: tuple[int, int]) -> None:
        if place is not None:
            self._by_place.setdefault(place, []).append(what)
        else:
            self._by_rsid.setdefault(rsid, []).append(what)

    @property
    def places(self) -> Iterable[tuple[str, int]]:
        """The positions that are wanted."""
        return self._by_place.keys()

    @property
    def rsids(self) -> Iterable[str]:
        """The rsIDs that are wanted where no position is known."""
        return self._by_rsid.keys()

    def match(self, place: tuple[str, int], ids: str, alleles: Sequence[str]) -> list[Use]:
        """Which alleles of a site are needed; `ids` are its IDs, several separated by `;`."""
        wanted = self._by_place.get(place, [])
        if self._by_rsid and ids:
            wanted = wanted + [what for name in ids.split(";") for what in self._by_rsid.get(name, ())]
        uses = []
        for score, row in wanted:
            if score < 0:
                if row not in self.dosages and self.variants[row].allele in alleles:
                    uses.append(Use(score, row, alleles.index(self.variants[row].allele)))
                continue
            status, file = self._status[score], self.files[score]
            how, allele = find_allele(file.effects[row], file.others[row], alleles, keep_ambiguous=self.keep_ambiguous)
            if status[row] >= _DIRECT:
                self._repeated[score] += how is not Match.NONE
            elif how in (Match.DIRECT, Match.FLIPPED):
                status[row] = _DIRECT if how is Match.DIRECT else _FLIPPED
                uses.append(Use(score, row, allele))
            elif how is Match.AMBIGUOUS or status[row] == _UNSEEN:
                status[row] = _AMBIGUOUS if how is Match.AMBIGUOUS else _DIFFERENT
        return uses

    def add(self, dosage: NDArray[np.float32], uses: Sequence[Use], ploidy: NDArray[np.float32] | None = None) -> None:
        """Takes the dosages of an allele, of shape (samples,), NaN where missing; `ploidy` where it is not 2 for all."""
        for use in uses:
            if use.score < 0:
                self.dosages[use.row] = dosage.astype(np.float64)
        scored = [use for use in uses if use.score >= 0]
        if scored:
            place = len(self._uses)
            self._block[place] = dosage
            if ploidy is not None:
                self._ploidies[place] = ploidy
            self._uses.append(scored)
            if len(self._uses) == len(self._block):
                self.finish()

    def finish(self) -> None:
        """Adds what is in the block to the scores."""
        n = len(self._uses)
        if not n:
            return
        block = self._block[:n]
        missing = np.isnan(block)
        n_missing = missing.sum(axis=1)
        copies = 2.0 * (self.n_samples - n_missing)
        for place, ploidy in self._ploidies.items():
            copies[place] = ploidy[~missing[place]].sum()
        block = np.where(missing, np.float32(0), block).astype(np.float64)
        with np.errstate(invalid="ignore"):
            observed = np.where(copies > 0, block.sum(axis=1) / np.where(copies > 0, copies, 1), np.nan)
        weights, imputed = np.zeros((2, len(self.files), n))
        for place, uses in enumerate(self._uses):
            for use in uses:
                file = self.files[use.score]
                own = file.frequencies[use.row]
                share = own if np.isfinite(own) and (self.frequency == "score" or not copies[place]) else observed[place]
                if n_missing[place] and not np.isfinite(share):
                    self._status[use.score][use.row] = _NOT_CALLED
                    continue
                weights[use.score, place] += file.weights[use.row]
                imputed[use.score, place] += file.weights[use.row] * (share if n_missing[place] else 0.0)
                self._missing[use.score] += n_missing[place]
        self.scores += weights @ block
        gaps = np.flatnonzero(n_missing)
        if len(gaps):
            expected = missing[gaps] * np.stack([self._ploidies.get(int(place), np.full(self.n_samples, 2, np.float32)) for place in gaps])
            self.scores += imputed[:, gaps] @ expected.astype(np.float64)
        self._uses, self._ploidies = [], {}

    def tallies(self) -> list[Tally]:
        """What became of the variants of each score."""
        return [
            Tally(
                variants=file.n,
                matched=int((status >= _DIRECT).sum()),
                flipped=int((status == _FLIPPED).sum()),
                ambiguous=int((status == _AMBIGUOUS).sum()),
                different=int((status == _DIFFERENT).sum()),
                not_called=int((status == _NOT_CALLED).sum()),
                repeated=repeated,
                missing=int(missing),
            )
            for file, status, repeated, missing in zip(self.files, self._status, self._repeated, self._missing, strict=True)
        ]


def by_allele(uses: Sequence[Use]) -> Mapping[int, list[Use]]:
    """The uses of each allele of a site."""
    found: dict[int, list[Use]] = {}
    for use in uses:
        found.setdefault(use.allele, []).append(use)
    return found
