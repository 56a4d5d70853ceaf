"""Builds of the human genome, and what a file says of its own."""

from __future__ import annotations

from collections.abc import Mapping

from trialsim.data.sources.genomics.alleles import chromosome_name

BUILDS = ("GRCh37", "GRCh38")
_NAMES = {"GRCH37": "GRCh37", "HG19": "GRCh37", "B37": "GRCh37", "HS37": "GRCh37", "GRCH38": "GRCh38", "HG38": "GRCh38", "B38": "GRCh38", "HS38": "GRCh38"}
# Lengths of the assembled chromosomes: GRCh37.p13 (GCA_000001405.14) and GRCh38.p14 (GCA_000001405.29) of the Genome Reference Consortium.
_LENGTHS = {
    "GRCh37": {
        "1": 249250621, "2": 243199373, "3": 198022430, "4": 191154276, "5": 180915260, "6": 171115067, "7": 159138663, "8": 146364022,
        "9": 141213431, "10": 135534747, "11": 135006516, "12": 133851895, "13": 115169878, "14": 107349540, "15": 102531392, "16": 90354753,
        "17": 81195210, "18": 78077248, "19": 59128983, "20": 63025520, "21": 48129895, "22": 51304566, "X": 155270560, "Y": 59373566,
    },
    "GRCh38": {
        "1": 248956422, "2": 242193529, "3": 198295559, "4": 190214555, "5": 181538259, "6": 170805979, "7": 159345973, "8": 145138636,
        "9": 138394717, "10": 133797422, "11": 135086622, "12": 133275309, "13": 114364328, "14": 107043718, "15": 101991189, "16": 90338345,
        "17": 83257441, "18": 80373285, "19": 58617616, "20": 64444167, "21": 46709983, "22": 50818468, "X": 156040895, "Y": 57227415,
    },
}  # fmt: skip


def build_named(text: str) -> str | None:
    """The build that a text names (GRCh37, hg19, b37, human_g1k_v37…), None where it names none or several."""
    folded = text.upper().replace("HUMAN_G1K_V37", "B37")
    found = {build for name, build in _NAMES.items() if name in folded}
    return found.pop() if len(found) == 1 else None


def build_of_lengths(lengths: Mapping[str, int]) -> str | None:
    """The build whose chromosomes have these lengths, None where they are those of neither or of both."""
    agreeing = {build: sum(of.get(chromosome_name(name)) == length for name, length in lengths.items()) for build, of in _LENGTHS.items()}
    best = [build for build, n in agreeing.items() if n and n == max(agreeing.values())]
    return best[0] if len(best) == 1 else None
