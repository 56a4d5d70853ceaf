"""Polygenic scores from VCF against a scorer of dictionaries, and every way in which a file can be wrong. All data are synthetic."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from witness.synthetic_genotypes import genotypes, score_rows, scores_by_hand, sites, write_scoring_file, write_vcf

from trialsim.data.ingest import ingest
from trialsim.data.sources import Vcf
from trialsim.data.staging import Staging
from trialsim.errors import DataError

FIRST = 9  # the line of the first record of a written VCF


@pytest.fixture
def cohort(tmp_path):
    made, copies = sites(120, seed=1), genotypes(120, 37, seed=2)
    write_vcf(tmp_path / "cohort.vcf", made, copies)
    rows = score_rows(made, seed=3)
    write_scoring_file(tmp_path / "score.txt", rows)
    return tmp_path, made, copies, rows


def _read(folder: Path, files: str = "cohort.vcf", **options) -> Staging:
    staging = Staging.open()
    given = {"build": "GRCh38", "scores": {"prs": "score.txt"}, "least_matched": 0.0} | options
    Vcf(kind="vcf", files=files, **given).read(staging, name="genes", folder=folder, codes=frozenset())
    return staging


def _values(staging: Staging, code: str = "prs") -> list[float]:
    rows = staging.connection.execute("SELECT value FROM events WHERE code = ? ORDER BY CAST(person[2:] AS INTEGER)", [code]).fetchall()
    return [value for (value,) in rows]


def _steps(staging: Staging) -> dict[str, int]:
    return {item.step: item.n for item in staging.filters}


def _message(folder: Path, *args, **options) -> list[str]:
    with pytest.raises(DataError) as caught:
        _read(folder, *args, **options)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("ambiguous", ["drop", "keep"])
def test_scores_are_those_of_a_scorer_of_dictionaries(cohort, ambiguous):
    folder, made, copies, rows = cohort
    staging = _read(folder, ambiguous=ambiguous)
    by_hand, counts = scores_by_hand(made, copies, rows, keep_ambiguous=ambiguous == "keep")
    np.testing.assert_allclose(_values(staging), by_hand, rtol=1e-12, atol=1e-12)
    steps = _steps(staging)
    assert steps["prs: variants in the score"] == 123
    assert steps["prs: matched"] == counts["matched"]
    assert steps["prs: matched on the other strand"] == counts["flipped"] > 5
    assert steps.get("prs: ambiguous, dropped", 0) == counts["ambiguous"]
    assert (counts["ambiguous"] > 5) == (ambiguous == "drop")
    assert steps["prs: missing genotypes, imputed"] == counts["missing"] > 50
    assert steps["prs: not found"] == counts["absent"] == 3
    assert staging.row("SELECT count(*), count(DISTINCT person), min(kind), min(unit) FROM events") == (37, 37, "score", "")
    assert staging.row("SELECT count(*) FROM persons")[0] == 37


def test_compressed_files_chunks_and_rsids_give_the_same(cohort, monkeypatch):
    folder, made, copies, rows = cohort
    plain = _values(_read(folder))
    write_vcf(folder / "zipped.vcf.gz", made, copies, prefix="")
    write_scoring_file(folder / "score.txt.gz", rows, positions=False)
    monkeypatch.setattr("trialsim.data.sources.genomics.scoring._BYTES", 37 * 4 * 7)
    np.testing.assert_allclose(_values(_read(folder, "zipped.vcf.gz", scores={"prs": "score.txt.gz"})), plain, rtol=1e-12, atol=1e-12)


def test_files_by_chromosome_add_up_whatever_the_order_of_samples(cohort):
    folder, made, copies, _ = cohort
    whole = _values(_read(folder))
    for chrom in "123":
        rows = [place for place, site in enumerate(made) if site["chrom"] == chrom]
        write_vcf(folder / f"part{chrom}.vcf", [made[row] for row in rows], copies[rows])
    text = (folder / "part2.vcf").read_text().splitlines()
    turned = [line if line.startswith("##") else "\t".join((*line.split("\t")[:9], *reversed(line.split("\t")[9:]))) for line in text]
    (folder / "part2.vcf").write_text("\n".join(turned) + "\n")
    np.testing.assert_allclose(_values(_read(folder, "part*.vcf")), whole, rtol=1e-12, atol=1e-12)
    write_vcf(folder / "part3.vcf", made[:2], copies[:2, :30])
    assert _message(folder, "part*.vcf") == [f"part3.vcf  its samples are not those of {folder}/part1.vcf: 7 lack and 0 are more".replace(f"{folder}/", "")]


def _one(folder: Path, records: list[str], rows: list[dict], **options) -> list[float]:
    """Scores of three samples by a few records, written out."""
    write_vcf(folder / "one.vcf", [], np.zeros((0, 3), int), extra="".join(record.replace(" ", "\t") + "\n" for record in records))
    write_scoring_file(folder / "one.txt", [{"chrom": "X", "pos": 5, "rsid": "rs5", "weight": 1.0} | row for row in rows])
    return _values(_read(folder, "one.vcf", scores={"prs": "one.txt"}, **options))


def test_haploid_calls_on_x_count_once_or_twice(tmp_path):
    record, rows = ["chrX 5 rs5 A G . . . GT 1 0/1 ."], [{"effect": "G", "other": "A"}]
    # Two copies (doubled), one, and a missing haploid call: f = (2 + 1)/4 of two copies, or (1 + 1)/3 of one.
    assert _one(tmp_path, record, rows) == [2, 1, pytest.approx(2 * 3 / 4)]
    assert _one(tmp_path, record, rows, male_x="single") == [1, 1, pytest.approx(2 / 3)]


def test_several_alternative_alleles_and_dosages(tmp_path):
    record = ["chrX 5 rs5 A G,T . . . GT 0/2 1/2 2/2"]
    assert _one(tmp_path, record, [{"effect": "T", "other": "G"}]) == [1, 1, 2]
    assert _one(tmp_path, record, [{"effect": "A", "other": "G"}]) == [1, 0, 0]
    stated = ["chrX 5 rs5 A G,C . . . GT:DS 0/0:0.25,0.5 0/1:1.5,0 ./.:."]
    found = _one(tmp_path, stated, [{"effect": "G", "other": "A"}])
    assert found == pytest.approx([0.25, 1.5, (0.25 + 1.5) / 2])
    assert _one(tmp_path, stated, [{"effect": "A", "other": "G"}])[:2] == pytest.approx([1.25, 0.5])
    split = ["chrX 5 . A C . . . GT 0/0 0/1 1/1", "chrX 5 . A G . . . GT 0/1 0/0 0/0"]
    assert _one(tmp_path, split, [{"effect": "G", "other": "A"}]) == [1, 0, 0]


def test_single_variants_are_attributes(cohort):
    folder, made, copies, _ = cohort
    site = made[4]
    variants = {"snp": {"rsid": site["rsid"], "allele": site["alt"]}, "same": {"chromosome": "chr1", "position": site["pos"], "allele": site["ref"]}}
    staging = _read(folder, scores={}, variants=variants)
    known = [value for value in copies[4].tolist() if value >= 0]
    assert _values(staging, "snp") == known
    assert _values(staging, "same") == [2 - value for value in known]
    assert staging.row("SELECT DISTINCT kind FROM events") == ("attribute",)
    assert _message(folder, variants={"snp": {"rsid": "rs1", "allele": "A"}}) == ['cohort.vcf  there is no variant rs1 with the allele A ("snp")']


def test_another_build_names_both_files(cohort):
    folder, made, copies, rows = cohort
    write_scoring_file(folder / "score.txt", rows, build="GRCh37")
    assert _message(folder) == ["score.txt  the positions are on GRCh37, but the genotypes of cohort.vcf are on GRCh38"]
    write_vcf(folder / "cohort.vcf", made, copies, build="GRCh37")
    assert _message(folder) == [
        "cohort.vcf  its chromosomes are those of GRCh37, but `build: GRCh38` is declared",
        "score.txt  the positions are on GRCh37, but the genotypes of cohort.vcf are on GRCh38",
    ]
    assert len(_values(_read(folder, build="hg19"))) == 37


def test_a_score_of_which_too_little_is_found(cohort):
    folder, made, copies, rows = cohort
    _, counts = scores_by_hand(made, copies, rows)
    assert counts["matched"] / 123 < 0.75  # a third of the sites are A/T or C/G
    (message,) = _message(folder, least_matched=0.75)
    assert message == (
        f"score.txt  {counts['matched']} of 123 variants are matched in cohort.vcf ({counts['matched'] / 123:.3f}; least_matched is 0.75): "
        f"{counts['ambiguous']} ambiguous, dropped; 3 not found"
    )


def test_files_that_are_cut_off_or_none(cohort):
    folder, made, copies, _ = cohort
    write_vcf(folder / "zipped.vcf.gz", made, copies)
    whole = (folder / "zipped.vcf.gz").read_bytes()
    (folder / "cut.vcf.gz").write_bytes(whole[:-60])
    assert _message(folder, "cut.vcf.gz") == ["cut.vcf.gz  is cut off: the block that ends a BGZF file is missing"]
    (folder / "cut.vcf.gz").write_bytes(gzip.compress((folder / "cohort.vcf").read_bytes())[:-30])
    assert _message(folder, "cut.vcf.gz") == ["cut.vcf.gz  the compressed file is cut off"]
    text = (folder / "cohort.vcf").read_text()
    (folder / "cut.vcf").write_text(text[: -(37 * 4) // 2])
    (message,) = _message(folder, "cut.vcf")
    n = len(text.splitlines())
    assert message.startswith(f"cut.vcf:{n}  is cut off: the last line has ")
    (folder / "none.vcf").write_text("hello\n")
    assert _message(folder, "none.vcf") == ["none.vcf:1  is no VCF: there is no line #CHROM after its header"]
    (folder / "twice.vcf").write_text(text.replace("\ts4\t", "\ts3\t"))
    assert _message(folder, "twice.vcf") == [f'twice.vcf:{FIRST - 1}  the sample "s3" occurs twice']
    assert _message(folder, "absent.vcf") == ["absent.vcf  there is no such file"]


def test_a_record_that_cannot_be_read_is_named_by_its_line(cohort):
    folder, *_ = cohort
    lines = (folder / "cohort.vcf").read_text().splitlines()
    lines[20] = "\t".join(lines[20].split("\t")[:5])
    (folder / "cohort.vcf").write_text("\n".join(lines) + "\n")
    (message,) = _message(folder)
    assert message.startswith("cohort.vcf:21  ")


def test_an_ingest_without_the_genomic_purpose_is_refused(cohort):
    folder, *_ = cohort
    text = (
        "ingest: trialsim.ingest/1\nid: x\ntitle: X\nsource: synthetic\nlicence: CC0-1.0\npurposes: [simulate]\nsources:\n"
        "  genes: {kind: vcf, files: cohort.vcf, build: GRCh38, scores: {prs: score.txt}, least_matched: 0}\nfeatures:\n  prs: {score: prs}\n"
    )
    (folder / "SOURCES.yaml").write_text(text)
    with pytest.raises(DataError, match=r'SOURCES\.yaml:6:.*purposes: the source "genes" holds genotypes, which needs the purpose genomic'):
        ingest(folder / "SOURCES.yaml")
    (folder / "SOURCES.yaml").write_text(text.replace("[simulate]", "[simulate, genomic]"))
    found = ingest(folder / "SOURCES.yaml").table
    assert dict(zip(found["person"].to_pylist(), found["prs"].to_pylist(), strict=True)) == pytest.approx(
        {f"s{place}": value for place, value in enumerate(_values(_read(folder)))}
    )


def test_whoever_does_not_permit_the_genomic_purpose_has_no_score(cohort):
    folder, *_ = cohort
    rows = [f"s{place},{1 if place % 3 else 0},{1 if place != 5 else ''},{40 + place}" for place in range(37)]
    (folder / "people.csv").write_text("pid,simulate,genomic,age\n" + "\n".join(rows) + "\n")
    (folder / "SOURCES.yaml").write_text(
        "ingest: trialsim.ingest/1\nid: x\ntitle: X\nsource: synthetic\nlicence: CC0-1.0\npurposes: [simulate, genomic]\nsources:\n"
        "  genes: {kind: vcf, files: cohort.vcf, build: GRCh38, scores: {prs: score.txt}, least_matched: 0}\n"
        "  people: {kind: table, files: people.csv, person: pid, attributes: [age], consent: {purposes: {simulate: simulate, genomic: genomic}}}\n"
        "features:\n  prs: {score: prs}\n  age: {attribute: age}\nconsent: {sources: [people]}\n"
    )
    found = ingest(folder / "SOURCES.yaml").table.to_pylist()
    assert {row["person"]: row["prs"] is None for row in found} == {f"s{place}": place == 5 for place in range(37)}
    assert all(row["age"] is not None for row in found)
    (folder / "people.csv").write_text("pid,simulate,genomic,age\n" + "".join(f"s{place},1,0,50\n" for place in range(37)))
    with pytest.raises(DataError, match='no person who permits genomic has a value in the column "prs"'):
        ingest(folder / "SOURCES.yaml")


def test_cyvcf2s_own_readings_agree(cohort):
    """A single site's copies against cyvcf2's gt_types, another path through it."""
    from cyvcf2 import VCF

    folder, made, *_ = cohort
    reader = VCF(str(folder / "cohort.vcf"), gts012=True)
    types = next(variant.gt_types.tolist() for variant in reader if made[7]["pos"] == variant.POS)
    reader.close()
    staging = _read(folder, scores={}, variants={"snp": {"rsid": made[7]["rsid"], "allele": made[7]["alt"]}})
    assert _values(staging, "snp") == [copies for copies in types if copies != 3]
