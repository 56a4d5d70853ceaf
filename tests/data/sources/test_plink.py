"""PLINK filesets against a scorer of dictionaries and against the same genotypes in VCF. All data are synthetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from witness.synthetic_genotypes import genotypes, score_rows, scores_by_hand, sites, write_plink, write_scoring_file, write_vcf

from trialsim.data.sources import Plink, Vcf
from trialsim.data.staging import Staging
from trialsim.errors import DataError


@pytest.fixture
def cohort(tmp_path):
    made, copies = sites(90, seed=5), genotypes(90, 29, seed=6)
    write_plink(tmp_path / "cohort.bed", made, copies)
    rows = score_rows(made, seed=7)
    write_scoring_file(tmp_path / "score.txt", rows)
    return tmp_path, made, copies, rows


def _read(folder: Path, files: str = "cohort.bed", kind: type = Plink, **options) -> Staging:
    staging = Staging.open()
    given = {"build": "GRCh38", "scores": {"prs": "score.txt"}, "least_matched": 0.0} | options
    kind(kind="plink" if kind is Plink else "vcf", files=files, **given).read(staging, name="genes", folder=folder, codes=frozenset())
    return staging


def _values(staging: Staging, code: str = "prs") -> list[float]:
    rows = staging.connection.execute("SELECT value FROM events WHERE code = ? ORDER BY CAST(person[2:] AS INTEGER)", [code]).fetchall()
    return [value for (value,) in rows]


def _message(folder: Path, **options) -> list[str]:
    with pytest.raises(DataError) as caught:
        _read(folder, **options)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("block", [32 * 2**20, 29 * 4 * 8])
def test_scores_are_those_of_a_scorer_of_dictionaries_and_of_a_vcf(cohort, monkeypatch, block):
    folder, made, copies, rows = cohort
    monkeypatch.setattr("trialsim.data.sources.genomics.plink._BYTES", block)
    monkeypatch.setattr("trialsim.data.sources.genomics.scoring._BYTES", block)
    staging = _read(folder)
    by_hand, counts = scores_by_hand(made, copies, rows)
    np.testing.assert_allclose(_values(staging), by_hand, rtol=1e-12, atol=1e-12)
    steps = {item.step: item.n for item in staging.filters}
    assert steps["prs: matched"] == counts["matched"]
    assert steps["prs: missing genotypes, imputed"] == counts["missing"]
    write_vcf(folder / "cohort.vcf", made, copies)
    np.testing.assert_allclose(_values(_read(folder, "cohort.vcf", Vcf)), by_hand, rtol=1e-12, atol=1e-12)


def test_single_variants_and_several_files(cohort):
    folder, made, copies, _ = cohort
    known = [value for value in copies[3].tolist() if value >= 0]
    assert _values(_read(folder, variants={"snp": {"rsid": made[3]["rsid"], "allele": made[3]["alt"]}}), "snp") == known
    whole = _values(_read(folder))
    write_plink(folder / "part1.bed", made[:40], copies[:40])
    write_plink(folder / "part2.bed", made[40:], copies[40:])
    np.testing.assert_allclose(_values(_read(folder, "part?.bed")), whole, rtol=1e-12, atol=1e-12)


def test_males_have_one_x(tmp_path):
    made = [{"chrom": "23", "pos": 5, "rsid": "rs5", "ref": "A", "alt": "G"}, {"chrom": "25", "pos": 6, "rsid": "rs6", "ref": "A", "alt": "G"}]
    write_plink(tmp_path / "cohort.bed", made, np.array([[2, 2, 1, -1], [2, 2, 1, 0]]), sexes=[1, 2, 2, 1])
    row = {"chrom": "X", "effect": "G", "other": "A"}
    write_scoring_file(tmp_path / "score.txt", [row | {"pos": 5, "rsid": "rs5", "weight": 1.0}, row | {"pos": 6, "rsid": "rs6", "weight": 10.0}])
    assert _values(_read(tmp_path)) == pytest.approx([22, 22, 11, 2 * 5 / 6])
    assert _values(_read(tmp_path, male_x="single")) == pytest.approx([21, 22, 11, 4 / 5])


def test_what_is_wrong_with_a_fileset(cohort):
    folder, made, *_ = cohort
    bed, bim, fam = (folder / f"cohort.{suffix}" for suffix in ("bed", "bim", "fam"))
    whole, sites_text, family = bed.read_bytes(), bim.read_text(), fam.read_text()
    bed.write_bytes(whole[:-5])
    assert _message(folder) == ["cohort.bed  is cut off: 718 bytes, where 90 variants of 29 samples need 723"]
    bed.write_bytes(b"x" + whole[1:])
    assert _message(folder) == ["cohort.bed  is no PLINK 1 file of genotypes by variant"]
    bed.write_bytes(whole)
    fam.write_text(family.replace(" s4 ", " s3 "))
    assert _message(folder) == ['cohort.fam:5  the sample "s3" occurs twice']
    fam.write_text(family.replace("f s2 0", "f s2"))
    assert _message(folder) == ["cohort.fam:3  the row has 5 cells, not 6"]
    fam.write_text(family)
    bim.write_text(sites_text.replace(f"\t{made[1]['pos']}\t", "\tabc\t"))
    assert _message(folder) == ['cohort.bim:2  the position "abc" is no whole number']
    bim.unlink()
    fam.unlink()
    assert _message(folder) == ["cohort.bed  there is no cohort.bim beside it", "cohort.bed  there is no cohort.fam beside it"]
