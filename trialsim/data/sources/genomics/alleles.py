"""Alleles on two strands: which allele of a site is the one that a score weighs."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

_COMPLEMENT = str.maketrans("ACGT", "TGCA")
_CHROMOSOMES = {"23": "X", "24": "Y", "25": "X", "26": "MT", "XY": "X", "M": "MT", "PAR1": "X", "PAR2": "X"}


class Match(Enum):
    """How an allele of a score was found at a site."""

    DIRECT = "direct"
    FLIPPED = "flipped"
    AMBIGUOUS = "ambiguous"
    NONE = "none"


def chromosome_name(name: str) -> str:
    """`chr1`, `1` and `01` are one chromosome; so are X, 23 and PLINK's 25 (its pseudo-autosomal part), MT, M and 26."""
    short = name.strip().upper().removeprefix("CHR").lstrip("0")
    return _CHROMOSOMES.get(short, short)


def complement(allele: str) -> str:
    """The same allele on the other strand, read in its direction."""
    return allele.translate(_COMPLEMENT)[::-1]


def find_allele(effect: str, other: str, alleles: Sequence[str], *, keep_ambiguous: bool) -> tuple[Match, int]:
    """How the effect allele matches one of a site's `alleles`, and which (−1 for none).

    Both alleles of the score (or its effect allele, where it gives no other) must be alleles of the site, or their
    complements must: then the strand is flipped. The strand of a pair whose alleles are each other's complements (A/T, C/G)
    cannot be told: such are AMBIGUOUS, or with `keep_ambiguous` taken to be on the strand of the site. Where no other
    allele is given, the site's other alleles decide.
    """
    flipped, others = complement(effect), (other,) if other else ()
    direct = effect in alleles and all(allele in alleles for allele in others)
    reverse = flipped in alleles and all(complement(allele) in alleles for allele in others)
    if not direct and not reverse:
        return Match.NONE, -1
    if (other == flipped) if other else (direct and reverse):
        return (Match.DIRECT, alleles.index(effect)) if keep_ambiguous and direct else (Match.AMBIGUOUS, -1)
    return (Match.DIRECT, alleles.index(effect)) if direct else (Match.FLIPPED, alleles.index(flipped))
