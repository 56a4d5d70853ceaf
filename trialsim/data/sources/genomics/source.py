"""What VCF files and PLINK filesets share: samples as persons, scores and single variants as their events."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from trialsim.data.card import Purpose
from trialsim.data.shown_path import shown_path
from trialsim.data.sources.genomics.alleles import chromosome_name
from trialsim.data.sources.genomics.builds import build_named
from trialsim.data.sources.genomics.scoring import Scoring, SingleVariant, Tally
from trialsim.data.sources.genomics.scoring_file import ScoringFile, read_scoring_file
from trialsim.data.sources.source import FileSource
from trialsim.data.staging import Staging
from trialsim.errors import DataError, Problem
from trialsim.parts import Part


class Genotypes(Protocol):
    """An opened file of genotypes."""

    shown: str
    samples: Sequence[str]
    build: str | None  # what the file says of its build, where it says anything

    def score(self, scoring: Scoring, order: NDArray[np.intp], *, doubled_x: bool) -> None:
        """Hands the dosages of every site that is wanted to `scoring`, samples in the given order.

        Raises DataError where the file cannot be read to its end.
        """


class Variant(Part):
    """A variant whose number of copies becomes an attribute: by `rsid`, or by `chromosome` and `position`."""

    rsid: str | None = Field(default=None, description="Its rsID.")
    chromosome: str | None = Field(default=None, description="Its chromosome.")
    position: int | None = Field(default=None, ge=1, description="Its position on the build of the genotypes, from 1.")
    allele: str = Field(pattern="^[ACGTacgt]+$", description="The allele that is counted, on the strand of the file.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        placed = self.chromosome is not None and self.position is not None
        if placed == (self.rsid is not None) or (self.chromosome is None) != (self.position is None):
            raise PydanticCustomError("variant", "needs either `rsid`, or `chromosome` and `position`")
        return self

    def wanted(self) -> SingleVariant:
        """The variant as it is looked for."""
        place = None if self.chromosome is None or self.position is None else (chromosome_name(self.chromosome), self.position)
        return SingleVariant(place, self.rsid or "", self.allele.upper())


class GenomicSource(FileSource):
    """Genotypes of one cohort, in one file or in several by chromosome: every sample is a person.

    A score of `scores` is an event of the kind `score`: Σ over its variants of weight · dosage of the effect allele. A
    variant is found by chromosome and position, or by its rsID where the scoring file has no position on a known build;
    its alleles must be those of the site, or their complements on the other strand. Variants whose strand cannot be told
    (A/T, C/G) are dropped, or with `ambiguous: keep` taken to be on the strand of the file. A missing genotype counts as
    ploidy × the frequency of the effect allele. Counted for the card: variants of each score, matched, on the other
    strand, ambiguous, with other alleles, not found, and missing genotypes.

    Problems, with file and line: a scoring file (or genotypes) on another build, a score of which less than `least_matched`
    is found, a sample that occurs twice, a file that is cut off, a single variant that is not there.
    Not handled: liftover; weights that are not additive; Y and mitochondrial genotypes count as the file codes them; FILTER
    and imputation quality are not looked at.

    **Source:** the matching is that of the PGS Catalog Calculator in its essentials: Lambert SA et al. Nat Genet
    2024;56:1989–1994, doi:10.1038/s41588-024-01937-x.
    """

    genomic_purpose: ClassVar[Purpose] = "genomic"

    build: Literal["GRCh37", "GRCh38"] = Field(description="The genome build of the positions.")
    scores: dict[str, str] = Field(default_factory=dict, description="Score → its scoring file (.txt or .txt.gz), relative to SOURCES.yaml.")
    variants: dict[str, Variant] = Field(default_factory=dict, description="Attribute → a variant whose copies are counted.")
    ambiguous: Literal["drop", "keep"] = Field(default="drop", description="What becomes of variants whose strand cannot be told (A/T, C/G).")
    least_matched: float = Field(default=0.75, ge=0, le=1, description="The least share of a score's variants that must be matched.")
    frequency: Literal["file", "score"] = Field(
        default="file", description="Which frequency a missing genotype gets: of the genotypes, or allelefrequency_effect of the scoring file where it has one."
    )
    male_x: Literal["doubled", "single"] = Field(
        default="doubled", description="A male's one X counts as two copies of its allele (as PLINK 2 scores by default), or as one."
    )

    @field_validator("build", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return build_named(given) or given if isinstance(given, str) else given

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if not self.scores and not self.variants:
            raise PydanticCustomError("genomics", "needs `scores` or `variants`: nothing is asked of the genotypes")
        return self

    def inputs(self, folder: Path) -> list[Path]:
        """The genotypes and the scoring files."""
        return [*super().inputs(folder), *(folder / file for file in dict.fromkeys(self.scores.values()) if (folder / file).is_file())]

    @abstractmethod
    def open(self, path: Path) -> Genotypes:
        """Opens one file; DataError with every problem of its header."""

    def read(self, staging: Staging, *, name: str, folder: Path, codes: frozenset[tuple[str, str]]) -> None:
        """Fills persons and events. `codes` do not matter."""
        problems: list[Problem] = []
        opened: list[Genotypes] = []
        paths = self.paths(folder)
        for path in paths:
            try:
                opened.append(self.open(path))
            except DataError as error:
                problems += error.problems
        for genotypes in opened:
            if genotypes.build not in (None, self.build):
                problems.append(Problem(f"its chromosomes are those of {genotypes.build}, but `build: {self.build}` is declared", file=genotypes.shown))
        files: dict[str, ScoringFile] = {}
        for score, given in self.scores.items():
            try:
                files[score] = read_scoring_file(folder / given, build=self.build, genotypes=shown_path(paths[0]))
            except DataError as error:
                problems += error.problems
        orders = [_order(opened[0], genotypes, problems) for genotypes in opened]
        if problems:
            raise DataError(problems)
        samples = opened[0].samples
        scoring = Scoring(
            list(files.values()),
            [variant.wanted() for variant in self.variants.values()],
            len(samples),
            keep_ambiguous=self.ambiguous == "keep",
            frequency=self.frequency,
        )
        for genotypes, order in zip(opened, orders, strict=True):
            genotypes.score(scoring, order, doubled_x=self.male_x == "doubled")
        scoring.finish()
        self._report(staging, name, files, scoring, shown=opened[0].shown)
        _insert(staging, name, opened[0].shown, samples, scores=dict(zip(files, scoring.scores, strict=True)), variants=self._copies(scoring))

    def _copies(self, scoring: Scoring) -> dict[str, NDArray[np.float64]]:
        return {name: scoring.dosages[number] for number, name in enumerate(self.variants)}

    def _report(self, staging: Staging, name: str, files: dict[str, ScoringFile], scoring: Scoring, *, shown: str) -> None:
        """Counts for the card; DataError for scores of which too little is found and variants that are not there."""
        problems = []
        for (score, file), tally in zip(files.items(), scoring.tallies(), strict=True):
            for step, n in _steps(tally).items():
                if n or step in ("variants in the score", "matched"):
                    staging.count(name, f"{score}: {step}", n)
            share = tally.matched / tally.variants
            if share < self.least_matched:
                lost = "; ".join(f"{n:,} {step}" for step, n in _steps(tally).items() if n and step in _LOST)
                found = (
                    f"{tally.matched:,} of {tally.variants:,} variants are matched in {shown} ({share:.3f}; least_matched is {self.least_matched:g}): {lost}"
                )
                problems.append(Problem(found, file=file.shown))
        for number, (variant, asked) in enumerate(self.variants.items()):
            if number not in scoring.dosages:
                where = asked.rsid or f"{asked.chromosome}:{asked.position}"
                problems.append(Problem(f'there is no variant {where} with the allele {asked.allele} ("{variant}")', file=shown))
        if problems:
            raise DataError(problems)


_LOST = ("ambiguous, dropped", "with other alleles", "not found", "without any genotype")


def _steps(tally: Tally) -> dict[str, int]:
    return {
        "variants in the score": tally.variants,
        "matched": tally.matched,
        "matched on the other strand": tally.flipped,
        "ambiguous, dropped": tally.ambiguous,
        "with other alleles": tally.different,
        "not found": tally.not_found,
        "without any genotype": tally.not_called,
        "further records of matched variants, not used": tally.repeated,
        "missing genotypes, imputed": tally.missing,
    }


def _order(first: Genotypes, other: Genotypes, problems: list[Problem]) -> NDArray[np.intp]:
    """Where the samples of the first file are in another one; notes where they are not the same."""
    places = {sample: place for place, sample in enumerate(other.samples)}
    lacking = [sample for sample in first.samples if sample not in places]
    if lacking or len(places) != len(first.samples):
        extra = len(places) - (len(first.samples) - len(lacking))
        words = f"its samples are not those of {first.shown}: {len(lacking):,} lack and {extra:,} are more"
        problems.append(Problem(words, file=other.shown))
        return np.zeros(0, dtype=np.intp)
    return np.array([places[sample] for sample in first.samples], dtype=np.intp)


def _insert(
    staging: Staging, source: str, shown: str, samples: Sequence[str], *, scores: dict[str, NDArray[np.float64]], variants: dict[str, NDArray[np.float64]]
) -> None:
    """Persons, an event of the kind `score` per score, and an attribute per single variant whose genotype is known."""
    import pyarrow as pa

    connection = staging.connection
    connection.register("genomic_samples", pa.table({"person": list(samples), "nth": range(1, len(samples) + 1)}))
    staging.insert("persons", "SELECT $1 AS source, person, $2 AS file FROM genomic_samples ORDER BY nth", [source, shown])
    connection.unregister("genomic_samples")
    for kind, columns in (("score", scores), ("attribute", variants)):
        for code, values in columns.items():
            connection.register("genomic_values", pa.table({"person": list(samples), "value": values, "nth": range(1, len(samples) + 1)}))
            staging.insert(
                "events",
                "SELECT $1 AS source, person, $2 AS kind, $3 AS code, value, '' AS unit, $4 AS file FROM genomic_values WHERE NOT isnan(value) ORDER BY nth",
                [source, kind, code, shown],
            )
            connection.unregister("genomic_values")
