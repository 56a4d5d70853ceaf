"""Adjusted p-values against R packages: stats, graphicalMCP, gMCPLite, mvtnorm, multcomp."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trialsim.design.multiplicity import Graph, adjustment, closed_test, dunnett, sequentially_rejective

FOLDER = Path(__file__).parents[2] / "reference" / "multiplicity"
Case = dict[str, Any]


def rows(file: str) -> list[Any]:
    read = [json.loads(line) for line in (FOLDER / f"{file}.jsonl").read_text().splitlines()]
    return [pytest.param(row, id=f"{row['case']} {row['pkg']} {row['label'][:50]}") for row in read]


def values(out: dict[str, float]) -> np.ndarray:
    return np.array([out[str(index + 1)] for index in range(len(out))])


@pytest.mark.parametrize("row", rows("p_adjust"))
def test_procedures_without_weights(row: Case) -> None:
    p = np.array([row["inputs"]["p"]])
    for name, out in row["out"].items():
        label = {"BH": "benjamini_hochberg", "BY": "benjamini_yekutieli"}.get(row["label"], row["label"]) if name == "adjusted_p" else name
        np.testing.assert_allclose(getattr(adjustment, label)(p)[0], values(out), rtol=0, atol=1e-9)


def options(given: dict[str, Any], kind: str, n: int) -> dict[str, Any]:
    if "groups" in given:
        correlation = np.full((n, n), given["rho"])
        np.fill_diagonal(correlation, 1.0)
        return {"groups": [[j - 1 for j in group] for group in given["groups"]], "test": given["types"], "correlation": correlation}
    if "parametric" in kind:
        return {"test": "parametric", "correlation": np.array(given["corr_rows"], dtype=float), "upscaled": "upscaled" in kind}
    return {"test": kind}


@functools.cache
def closure_of(inputs: str, kind: str) -> np.ndarray:
    """Several packages did the same case; ours is done once."""
    given = json.loads(inputs)
    graph = Graph(tuple(map(float, given["weights"])), tuple(tuple(map(float, edges)) for edges in given["transition_rows"]))
    return closed_test(np.array([given["p"]]), graph, **options(given, kind, graph.n))


@pytest.mark.parametrize("row", rows("graphical_mcp"))
def test_graphs(row: Case) -> None:
    given, kind, out = row["inputs"], row["label"].split("|")[1].strip(), row["out"]
    graph = Graph(tuple(map(float, given["weights"])), tuple(tuple(map(float, edges)) for edges in given["transition_rows"]))
    p = np.array([given["p"]])
    if kind in ("bonferroni", "bonferroni shortcut"):
        adjusted = sequentially_rejective(p, graph)[0]
    else:
        test = next(name for name in ("parametric", "simes", "bonferroni") if name in kind)
        adjusted = closure_of(json.dumps(given), f"{test} upscaled" if "TRUE" in kind else test)[0]
    # Packages that integrate by simulation are right to about 1e-5; mvtnorm was asked for 1e-7.
    tolerance = 1e-9 if "parametric" not in kind or "simes" in kind else 1e-6 if row["pkg"] == "mvtnorm" else 2e-4
    np.testing.assert_allclose(adjusted, values(out["adjusted_p"]), rtol=0, atol=tolerance)
    assert (adjusted <= given["alpha"] + 1e-12).tolist() == values(out["rejected"]).astype(bool).tolist()
    if "final_weights" in out:
        rejected = sum(1 << j for j, gone in enumerate(values(out["rejected"])) if gone)
        np.testing.assert_allclose(graph.shares(rejected), values(out["final_weights"]), rtol=0, atol=1e-9)
        edges = [[out["final_transitions"][f"{i + 1},{j + 1}"] for j in range(graph.n)] for i in range(graph.n)]
        np.testing.assert_allclose(graph.edges(rejected), edges, rtol=0, atol=1e-9)


@pytest.mark.parametrize("row", rows("dunnett"))
def test_dunnett(row: Case) -> None:
    given, out = row["inputs"], row["out"]
    if "critical" in out:
        b = np.full(given["k"], np.sqrt(given["rho"]))
        assert dunnett.critical_value(b, float(given["df"]), alpha=given["alpha"]) == pytest.approx(out["critical"]["1"], abs=1e-7)
        return
    n, t = np.array([given["n"]], dtype=float), np.array([given["t"]])
    b = dunnett.loadings(n[:, :1], n[:, 1:])
    df = None if "one-sided z" in row["label"] else np.array([float(given["df"])])
    np.testing.assert_allclose(dunnett.single_step(t, b, df)[0], values(out["single_step"]), rtol=0, atol=5e-6)
    np.testing.assert_allclose(dunnett.step_down(t, b, df)[0], values(out["step_down"]), rtol=0, atol=5e-6)
    if "two_sided_single_step" in out:
        np.testing.assert_allclose(dunnett.single_step(t, b, df, sides=2)[0], values(out["two_sided_single_step"]), rtol=0, atol=5e-6)
