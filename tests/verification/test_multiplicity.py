"""Families of hypotheses in simulated trials: the family-wise error rate, and power against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trialsim.design.multiplicity import dunnett
from trialsim.rng import Block
from trialsim.simulate import Trial, compile_trial, simulate
from trialsim.spec import load

REPLICATES, BLOCK = 20_000, 250
ALPHA = 0.05
PROTOCOL = """\
spec: trialsim/1
study: {{id: DOSES}}
arms: {{low: {{}}, mid: {{}}, high: {{}}, placebo: {{}}}}
population: {{planned_enrollment: {n}}}
visits: {{w12: {{at: 12 weeks}}}}
endpoints:
  score: {{type: continuous, outcome: score, at: [w12]}}
  walk: {{type: continuous, outcome: walk, at: [w12]}}
truth:
  outcomes: {{score: {{dist: normal, mean: 0, sd: 1}}, walk: {{dist: normal, mean: 0, sd: 1}}}}
  effects:
    low: {{score: {{difference: {effects[0]}}}, walk: {{difference: {effects[3]}}}}}
    mid: {{score: {{difference: {effects[1]}}}}}
    high: {{score: {{difference: {effects[2]}}}}}
accrual: {{uniform: 12 months}}
randomization: {{method: permuted_block, block_size: 4}}
analyses:
{analyses}
{rest}
scenarios: {{base: {{role: null_hypothesis}}}}
simulation: {{seed: 19}}
"""
GRAPH = "{graph: {weights: {low: 0.5, mid: 0.3, high: 0.2}, transitions: {low: {mid: 0.5, high: 0.5}, mid: {low: 1}, high: {low: 0.4, mid: 0.6}}}"


def one(procedure: str) -> str:
    return f"  score: {{endpoint: score, treatment: {{test: [low, mid, high], reference: placebo}}, method: t_test, variance: pooled, sides: 1, alpha: {ALPHA}, multiplicity: {procedure}}}"


def monitored(analysis: str = "score") -> str:
    return f"interims:\n  analysis: {analysis}\n  timing: {{information: completers, at_visit: w12, fractions: [0.4, 0.7]}}\n  efficacy: {{spending: lan_demets_pocock}}\n  futility: {{z: [-0.5, 0]}}\n"


def compiled(folder: Path, *, analyses: str, rest: str = "", effects: tuple[float, ...] = (0, 0, 0, 0), n: int = 80) -> Trial:
    file = folder / "p.yaml"
    file.write_text(PROTOCOL.format(analyses=analyses, rest=rest, effects=effects, n=n))
    study = load(file)
    study.require_runnable()
    return compile_trial(study.cells()[0], folder)


def rejected(trial: Trial, *, ignoring: bool = False) -> dict[str, np.ndarray]:
    found: dict[str, list[torch.Tensor]] = {}
    for first in range(0, REPLICATES, BLOCK):
        for name, analysis in simulate(trial, Block(first, BLOCK)).analyses.items():
            flags = analysis.ignoring_futility if ignoring else (analysis.reject | analysis.reject_wrong_direction).any(-1)
            assert flags is not None
            found.setdefault(name, []).append(flags)
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def within(rate: float, expected: float, mcses: float = 3.0) -> bool:
    return abs(rate - expected) <= mcses * math.sqrt(expected * (1 - expected) / REPLICATES)


def at_most(rate: float, limit: float) -> bool:
    return rate <= limit + 3 * math.sqrt(limit * (1 - limit) / REPLICATES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "procedure", ["bonferroni", "holm", "hochberg", "hommel", "dunnett", GRAPH + "}", GRAPH + ", test: simes}", GRAPH + ", test: parametric}"]
)
@pytest.mark.parametrize("effects", [(0, 0, 0, 0), (0.9, 0, 0, 0)])
def test_the_family_wise_error_rate(tmp_path: Path, procedure: str, effects: tuple[float, ...]) -> None:
    """Three arms against one placebo, correlation a half; all null, or one arm with an effect whose alpha the others inherit."""
    found = rejected(compiled(tmp_path, analyses=one(procedure), effects=effects))
    nulls = [found[f"score:{arm}"] for arm, effect in zip(("low", "mid", "high"), effects, strict=False) if effect == 0]
    rate = np.logical_or.reduce(nulls).mean()
    assert at_most(rate, ALPHA)
    if procedure == "dunnett":
        # Exact where all are null; and where one is true for certain to be rejected, what is left is the test of two.
        assert within(rate, ALPHA) or effects[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("procedure", ["bonferroni", "holm", "fixed_sequence", "fallback", GRAPH + "}"])
@pytest.mark.parametrize("effects", [(0, 0, 0, 0), (0.7, 0, 0, 0)])
def test_the_family_wise_error_rate_of_group_sequential_families(tmp_path: Path, procedure: str, effects: tuple[float, ...]) -> None:
    """Three looks, Pocock spending at each local level; futility rules that are non-binding are ignored here."""
    found = rejected(compiled(tmp_path, analyses=one(procedure), rest=monitored(), effects=effects), ignoring=True)
    nulls = [found[f"score:{arm}"] for arm, effect in zip(("low", "mid", "high"), effects, strict=False) if effect == 0]
    rate = np.logical_or.reduce(nulls).mean()
    assert at_most(rate, ALPHA)
    if procedure == "fixed_sequence" and effects[0] == 0:
        assert within(rate, ALPHA)


@pytest.mark.slow
def test_the_power_of_dunnetts_test_is_its_integral(tmp_path: Path) -> None:
    """Any rejection is a maximum beyond the critical value; t statistics with means δ / √(2 / n) and 76 degrees of freedom."""
    effects = (0.3, 0.5, 0.7)
    found = rejected(compiled(tmp_path, analyses=one("dunnett"), effects=(*effects, 0)))
    b = np.full(3, math.sqrt(0.5))
    critical = dunnett.critical_value(b, 76.0, alpha=ALPHA)
    shift = np.array(effects) / math.sqrt(2 / 20)
    expected = 1 - dunnett.probability_within(np.full(3, critical), b, np.array([76.0]), shift=shift)[0]
    assert within(np.logical_or.reduce(list(found.values())).mean(), expected)


@pytest.mark.slow
def test_the_power_of_bonferroni_on_independent_endpoints_is_a_product(tmp_path: Path) -> None:
    """Two endpoints of the same comparison: disjunctive, conjunctive and marginal power; Holm's all is both at its full levels."""
    written = "".join(
        f"  {name}: {{endpoint: {name}, treatment: {{test: low, reference: placebo}}, method: t_test, variance: pooled, sides: 1, alpha: 0.025}}\n"
        for name in ("score", "walk")
    )
    effects, n = (0.45, 0.0, 0.0, 0.6), 400
    z = np.array([effects[0], effects[3]]) / math.sqrt(2 / 100)

    def power(level: float) -> np.ndarray:
        # Noncentral t with 198 degrees of freedom, by its integral.
        critical = dunnett.critical_value(np.zeros(1), 198.0, alpha=level)
        return np.array([1 - dunnett.probability_within(np.array([critical]), np.zeros(1), np.array([198.0]), shift=np.array([mean]))[0] for mean in z])

    half, full = power(0.0125), power(0.025)
    for procedure, both in (("bonferroni", half.prod()), ("holm", full.prod() - (full - half).prod())):
        family = f"multiplicity: {{main: {{members: [score, walk], alpha: 0.025, procedure: {procedure}}}}}"
        found = rejected(compiled(tmp_path, analyses=written, rest=family, effects=effects, n=n))
        assert within((found["score"] | found["walk"]).mean(), 1 - (1 - half).prod())
        assert within((found["score"] & found["walk"]).mean(), both)
    assert within(found["score"].mean(), half[0] + (full[0] - half[0]) * half[1])


@pytest.mark.slow
def test_a_group_sequential_sequence_tests_the_second_at_full_alpha(tmp_path: Path) -> None:
    """With an endpoint that is always shown first, the second is a group sequential test at full alpha: its own power by integration."""
    from trialsim.design import bounds
    from trialsim.design.spending import LanDeMetsPocock

    looks = "looks: {a: {when: {completers: 200, at_visit: w12}}, b: {when: {completers: 400, at_visit: w12}}}\n"
    written = "".join(
        f"  {name}: {{endpoint: {name}, treatment: {{test: low, reference: placebo}}, method: t_test, sides: 1, alpha: 0.025, looks: [a, b], efficacy: {{spending: lan_demets_pocock}}}}\n"
        for name in ("walk", "score")
    )
    family = "multiplicity: {main: {members: [walk, score], alpha: 0.025, procedure: fixed_sequence}}\n"
    found = rejected(compiled(tmp_path, analyses=written, rest=looks + family, effects=(0.3, 0, 0, 3.0), n=400))
    assert found["walk"].all()
    solved = bounds(efficacy=LanDeMetsPocock(spending="lan_demets_pocock"), futility=None, alpha=0.025, sides=1, information=[0.5, 1.0])
    expected = solved.power(drift=0.3 / math.sqrt(2 / 100))
    assert abs(found["score"].mean() - expected) < 3 * math.sqrt(expected * (1 - expected) / REPLICATES) + 0.004  # t against z
