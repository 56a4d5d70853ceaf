"""*Synthetic* genotypes and scoring files, made by a seeded generator, and a scorer of dictionaries. No real person is in them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

PAIRS = [("A", "G"), ("C", "T"), ("A", "C"), ("G", "T"), ("A", "T"), ("C", "G")]
OTHER_STRAND = {"A": "T", "T": "A", "C": "G", "G": "C"}


def sites(n: int, seed: int) -> list[dict]:
    """Biallelic sites on chromosomes 1 to 3, one every few hundred bases."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(50, 900, n)) + 10_000
    made = []
    for place in range(n):
        ref, alt = PAIRS[rng.integers(len(PAIRS))]
        if rng.random() < 0.5:
            ref, alt = alt, ref
        made.append({"chrom": str(1 + 3 * place // n), "pos": int(at[place]), "rsid": f"rs{1000 + place}", "ref": ref, "alt": alt})
    return made


def genotypes(n_sites: int, n_samples: int, seed: int, *, missing: float = 0.03) -> np.ndarray:
    """Copies of the alternative allele, −1 where missing, of shape (sites, samples)."""
    rng = np.random.default_rng(seed)
    copies = rng.binomial(2, rng.uniform(0.05, 0.6, n_sites)[:, None], (n_sites, n_samples))
    return np.where(rng.random(copies.shape) < missing, -1, copies)


def write_vcf(path: Path, made: list[dict], copies: np.ndarray, *, build: str = "GRCh38", prefix: str = "chr", extra: str = "") -> Path:
    """A VCF with GT; bgzipped where the name ends in .gz (by cyvcf2's writer)."""
    length = {"GRCh38": 248956422, "GRCh37": 249250621}[build]
    names = "\t".join(f"s{place}" for place in range(copies.shape[1]))
    contigs = "".join(f"##contig=<ID={prefix}{chrom},length={length if chrom == '1' else 10**9}>\n" for chrom in ("1", "2", "3", "X"))
    lines = [
        f'##fileformat=VCFv4.2\n{contigs}##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        '##FORMAT=<ID=DS,Number=A,Type=Float,Description="Dosage">\n'
        f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{names}\n"
    ]
    words = {-1: "./.", 0: "0/0", 1: "0/1", 2: "1/1"}
    for site, row in zip(made, copies.tolist(), strict=True):
        start = f"{prefix}{site['chrom']}\t{site['pos']}\t{site['rsid']}\t{site['ref']}\t{site['alt']}\t.\tPASS\t.\tGT\t"
        lines.append(start + "\t".join(words[value] for value in row) + "\n")
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    plain.write_text("".join(lines) + extra)
    if path.suffix == ".gz":
        from cyvcf2 import VCF, Writer

        reader = VCF(str(plain))
        writer = Writer(str(path), reader, mode="wz")
        for variant in reader:
            writer.write_record(variant)
        writer.close()
        reader.close()
        plain.unlink()
    return path


def write_plink(path: Path, made: list[dict], copies: np.ndarray, *, sexes: list[int] | None = None) -> Path:
    """A fileset whose A1 is the alternative allele, packed by hand: 00 two copies of A1, 01 missing, 10 one, 11 none."""
    n_samples = copies.shape[1]
    codes = np.select([copies == 2, copies == -1, copies == 1], [0, 1, 2], 3).astype(np.uint8)
    padded = np.zeros((len(made), -(-n_samples // 4) * 4), np.uint8)
    padded[:, :n_samples] = codes
    quads = padded.reshape(len(made), -1, 4)
    packed = quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6
    path.write_bytes(b"\x6c\x1b\x01" + packed.tobytes())
    path.with_suffix(".bim").write_text("".join(f"{s['chrom']}\t{s['rsid']}\t0\t{s['pos']}\t{s['alt']}\t{s['ref']}\n" for s in made))
    path.with_suffix(".fam").write_text("".join(f"f s{place} 0 0 {(sexes or [0] * n_samples)[place]} -9\n" for place in range(n_samples)))
    return path


def score_rows(made: list[dict], seed: int, *, absent: int = 3) -> list[dict]:
    """A row per site, some with alleles swapped, some on the other strand, and a few of sites that there are not."""
    rng = np.random.default_rng(seed)
    rows = []
    for site in made:
        effect, other = (site["alt"], site["ref"]) if rng.random() < 0.5 else (site["ref"], site["alt"])
        if rng.random() < 0.3:
            effect, other = OTHER_STRAND[effect], OTHER_STRAND[other]
        rows.append(
            {"chrom": site["chrom"], "pos": site["pos"], "rsid": site["rsid"], "effect": effect, "other": other, "weight": round(rng.normal(0, 0.1), 6)}
        )
    rows += [{"chrom": "3", "pos": 900_000_000 + place, "rsid": f"rs9{place}", "effect": "A", "other": "G", "weight": 0.1} for place in range(absent)]
    return rows


def write_scoring_file(path: Path, rows: list[dict], *, build: str = "GRCh38", positions: bool = True) -> Path:
    """The format 2.0 of the PGS Catalog; compressed where the name ends in .gz."""
    head = f"###PGS CATALOG SCORING FILE\n#format_version=2.0\n#pgs_id=PGS000000\n#genome_build={build}\n"
    names = ["rsID", *(["chr_name", "chr_position"] if positions else []), "effect_allele", "other_allele", "effect_weight"]
    body = ""
    for row in rows:
        place = [row["chrom"], str(row["pos"])] if positions else []
        body += "\t".join([row["rsid"], *place, row["effect"], row["other"], repr(row["weight"])]) + "\n"
    text = head + "\t".join(names) + "\n" + body
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def scores_by_hand(made: list[dict], copies: np.ndarray, rows: list[dict], *, keep_ambiguous: bool = False) -> tuple[list[float], dict[str, int]]:
    """Every sample's score, one genotype at a time, and what became of the rows."""
    there = {(site["chrom"], site["pos"]): (site, copies[place].tolist()) for place, site in enumerate(made)}
    totals = [0.0] * copies.shape[1]
    counts = {"matched": 0, "flipped": 0, "ambiguous": 0, "missing": 0, "absent": 0}
    for row in rows:
        if (row["chrom"], row["pos"]) not in there:
            counts["absent"] += 1
            continue
        site, calls = there[row["chrom"], row["pos"]]
        alleles = {site["ref"], site["alt"]}
        effect = row["effect"]
        if OTHER_STRAND[effect] == row["other"] and not keep_ambiguous:
            counts["ambiguous"] += 1
            continue
        if {effect, row["other"]} != alleles:
            effect = OTHER_STRAND[effect]
            counts["flipped"] += 1
        counts["matched"] += 1
        known = [call if effect == site["alt"] else 2 - call for call in calls if call >= 0]
        for sample, call in enumerate(calls):
            if call < 0:
                counts["missing"] += 1
                totals[sample] += row["weight"] * sum(known) / len(known)
            else:
                totals[sample] += row["weight"] * (call if effect == site["alt"] else 2 - call)
    return totals, counts
