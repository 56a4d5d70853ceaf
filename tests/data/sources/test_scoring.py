"""Scoring files and the matching of alleles."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest

from trialsim.data.sources.genomics.alleles import Match, chromosome_name, complement, find_allele
from trialsim.data.sources.genomics.builds import build_named, build_of_lengths
from trialsim.data.sources.genomics.scoring import Scoring
from trialsim.data.sources.genomics.scoring_file import read_scoring_file
from trialsim.errors import DataError

HEAD = "#pgs_id=PGS1\n#genome_build=GRCh38\n"
NAMES = "rsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\n"


def _read(path, text, build="GRCh38"):
    path.write_text(text)
    return read_scoring_file(path, build=build, genotypes="cohort.vcf")


def _messages(path, text, build="GRCh38"):
    with pytest.raises(DataError) as caught:
        _read(path, text, build)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("effect, other", list(itertools.permutations("ACGT", 2)))
@pytest.mark.parametrize("alleles", list(itertools.permutations("ACGT", 2)))
def test_a_pair_of_bases_is_found_on_either_strand(effect, other, alleles):
    how, place = find_allele(effect, other, alleles, keep_ambiguous=False)
    same, turned = {effect, other} == set(alleles), {complement(effect), complement(other)} == set(alleles)
    if same and turned:
        assert (how, place) == (Match.AMBIGUOUS, -1)
        assert find_allele(effect, other, alleles, keep_ambiguous=True) == (Match.DIRECT, alleles.index(effect))
    elif same:
        assert (how, alleles[place]) == (Match.DIRECT, effect)
    elif turned:
        assert (how, alleles[place]) == (Match.FLIPPED, complement(effect))
    else:
        assert (how, place) == (Match.NONE, -1)


def test_longer_alleles_and_absent_other_alleles():
    assert find_allele("AC", "A", ("A", "AC"), keep_ambiguous=False) == (Match.DIRECT, 1)
    assert find_allele("GT", "T", ("A", "AC"), keep_ambiguous=False) == (Match.FLIPPED, 1)
    assert find_allele("A", "", ("C", "A"), keep_ambiguous=False) == (Match.DIRECT, 1)
    assert find_allele("A", "", ("T", "A"), keep_ambiguous=False) == (Match.AMBIGUOUS, -1)
    assert find_allele("G", "", ("C", "A"), keep_ambiguous=False) == (Match.FLIPPED, 0)


def test_names_of_chromosomes_and_builds():
    assert {chromosome_name(name) for name in ("chr1", "1", "01", "CHR1")} == {"1"}
    assert [chromosome_name(name) for name in ("23", "chrX", "25", "chrM", "chr20")] == ["X", "X", "X", "MT", "20"]
    assert [build_named(name) for name in ("hg19", "human_g1k_v37.fasta", "GRCh38.p14", "T2T")] == ["GRCh37", "GRCh37", "GRCh38", None]
    assert build_of_lengths({"chr1": 248956422}) == "GRCh38"
    assert build_of_lengths({"2": 243199373, "x": 1}) == "GRCh37"
    assert build_of_lengths({"1": 5}) is None


def test_a_harmonised_file_uses_the_positions_of_its_build(tmp_path):
    text = "#genome_build=GRCh37\n#HmPOS_build=GRCh38\n" + NAMES.rstrip("\n") + "\thm_chr\thm_pos\n" + "rs1\t1\t100\ta\tG\t0.5\t1\t200\n"
    assert _read(tmp_path / "s.txt", text).positions == (("1", 200),)
    found = _read(tmp_path / "s.txt", text, "GRCh37")
    assert found.positions == (("1", 100),)
    assert (found.effects, found.others, found.weights.tolist()) == (("A",), ("G",), [0.5])


def test_a_file_that_does_not_say_its_build_is_matched_by_rsid(tmp_path):
    found = _read(tmp_path / "s.txt", "#genome_build=NR\n" + NAMES + "rs1\t1\t100\tA\tG\t0.5\n")
    assert (found.positions, found.rsids) == ((None,), ("rs1",))
    text = "#genome_build=NR\nchr_name\tchr_position\teffect_allele\teffect_weight\n1\t1\tA\t1\n"
    assert _messages(tmp_path / "s.txt", text) == ["s.txt:2  there is neither a column rsID nor chr_name and chr_position on a known build"]


@pytest.mark.parametrize(
    "text, messages",
    [
        (HEAD + NAMES.replace("effect_weight", "weight") + "rs1\t1\t1\tA\tG\t1\n", ['s.txt:3  there is no column "effect_weight"; did you mean "weight"?']),
        (HEAD.replace("38", "37") + NAMES + "rs1\t1\t1\tA\tG\t1\n", ["s.txt  the positions are on GRCh37, but the genotypes of cohort.vcf are on GRCh38"]),
        (HEAD + NAMES + "rs1\t1\t1\tA\tG\t1\nrs2\t1\t2\tA\tG\tinf\n", ["s.txt:5  the weight is no finite number"]),
        (HEAD + NAMES + "rs1\t1\t1.5\tA\tG\t1\n\t1\t2\tP\tG\t1\n", ["s.txt:4  the position is no whole number", "s.txt:5  the effect allele is no sequence of A, C, G and T"]),
        (HEAD + NAMES + "HLA\t\t\tA\tG\t1\n", ["s.txt:4  the variant has neither a position nor an rsID"]),
        (HEAD + NAMES + "rs1\t1\t1\tA\tG\t1\nrs1\t1\t1\tG\tA\t2\n", ["s.txt:5  the variant is given twice (first on line 4)"]),
        (HEAD + NAMES + "rs1\t1\t1\tA\n", ["s.txt:4  the row has 4 cells where the header has 6"]),
        (HEAD + NAMES, ["s.txt  the score has no variants"]),
        (HEAD + NAMES.rstrip("\n") + "\tis_dominant\nrs1\t1\t1\tA\tG\t1\tTrue\n", ["s.txt:4  the weight is not additive (is_dominant), which is not read"]),
        (HEAD + NAMES.rstrip("\n") + "\tallelefrequency_effect\nrs1\t1\t1\tA\tG\t1\t1.2\n", ["s.txt:4  the frequency of the effect allele is not within 0 and 1"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_scoring_file(tmp_path, text, messages):
    assert _messages(tmp_path / "s.txt", text) == messages


def test_files_that_are_absent_or_cut_off(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_scoring_file(tmp_path / "none.txt", build="GRCh38", genotypes="x")
    (tmp_path / "s.txt.gz").write_bytes(gzip.compress((HEAD + NAMES + "rs1\t1\t1\tA\tG\t1\n" * 50).encode())[:-15])
    with pytest.raises(DataError, match="is cut off"):
        read_scoring_file(tmp_path / "s.txt.gz", build="GRCh38", genotypes="x")


@pytest.mark.parametrize("frequency, expected", [("file", 2 * 3 / 6), ("score", 2 * 0.9)])
def test_missing_genotypes_get_the_frequency_of_the_file_or_of_the_score(tmp_path, frequency, expected):
    text = HEAD + NAMES.rstrip("\n") + "\tallelefrequency_effect\nrs1\t1\t1\tA\tG\t1\t0.9\nrs2\t1\t2\tA\tG\t100\t0.2\nrs3\t1\t3\tA\tG\t10000\t\n"
    scoring = Scoring([_read(tmp_path / "s.txt", text)], [], 4, keep_ambiguous=False, frequency=frequency)
    for place, dosage in ((1, [2, 1, 0, np.nan]), (2, [np.nan] * 4), (3, [np.nan] * 4)):
        scoring.add(np.array(dosage, np.float32), scoring.match(("1", place), "", ("G", "A")))
    scoring.finish()
    # rs2 has no genotype, but a frequency of its own; rs3 has neither and is not used.
    assert scoring.scores[0] == pytest.approx([42, 41, 40, 40 + expected])
    (tally,) = scoring.tallies()
    assert (tally.matched, tally.not_called, tally.missing, tally.not_found) == (2, 1, 5, 0)
