"""How fast genotypes are scored: 5,000 samples; `extra_info` holds variants per second. Made-up genotypes."""

from __future__ import annotations

import numpy as np
import pytest
from witness.synthetic_genotypes import genotypes, score_rows, sites, write_plink, write_scoring_file, write_vcf

from trialsim.data.sources import Plink, Vcf
from trialsim.data.staging import Staging

SAMPLES = 5_000


@pytest.mark.parametrize("kind, n", [("plink", 100_000), ("vcf", 5_000)])
def test_five_thousand_samples(benchmark, tmp_path, kind, n):
    made = sites(n, seed=1)
    write_scoring_file(tmp_path / "score.txt.gz", score_rows(made, seed=2))
    part = genotypes(min(n, 5_000), SAMPLES, seed=3)
    copies = np.tile(part.astype(np.int8), (n // len(part), 1))
    file = write_plink(tmp_path / "x.bed", made, copies) if kind == "plink" else write_vcf(tmp_path / "x.vcf.gz", made, copies)
    source = (Plink if kind == "plink" else Vcf)(kind=kind, files=file.name, build="GRCh38", scores={"prs": "score.txt.gz"}, least_matched=0.5)

    def read() -> None:
        staging = Staging.open()
        source.read(staging, name="genes", folder=tmp_path, codes=frozenset())
        assert staging.row("SELECT count(*) FROM events")[0] == SAMPLES

    benchmark.pedantic(read, rounds=1)
    benchmark.extra_info["variants_per_second"] = round(n / benchmark.stats.stats.min)
