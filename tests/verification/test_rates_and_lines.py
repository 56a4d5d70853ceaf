"""Power of a rate ratio and of a slope against closed forms, level of both, within 3 Monte Carlo standard errors.

Source: Zhu & Lakkis 2014, doi 10.1002/sim.5947 (negative binomial rates); the exact covariance of a linear mixed model.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from scipy import stats

from trialsim.records import Block
from trialsim.simulate import Trial, compile_trial, simulate
from trialsim.spec import load

N = 20_000
COUNTS = """
spec: trialsim/1
study: {{id: COUNTS}}
arms: {{drug: {{}}, placebo: {{}}}}
population: {{planned_enrollment: 1200}}
visits: {{w52: {{at: 365.25 days}}}}
endpoints: {{flares: {{type: count, outcome: flares, at: [w52], direction: lower_is_better}}}}
truth: {{outcomes: {{flares: {{dist: {dist}, rate: 0.9 / year, dispersion: 0.8}}}}, effects: {{drug: {{flares: {{rate_ratio: {ratio}}}}}}}}}
accrual: {{uniform: 6 months}}
randomization: {{ratio: {{drug: 1, placebo: 1}}, method: permuted_block, block_size: 2}}
analyses: {{primary: {{endpoint: flares, treatment: {{test: drug, reference: placebo}}, method: negative_binomial, alpha: 0.025, sides: 1}}}}
simulation: {{seed: 17}}
"""
LINES = """
spec: trialsim/1
study: {{id: LINES}}
arms: {{drug: {{}}, placebo: {{}}}}
population: {{planned_enrollment: 200}}
visits: {{w0: {{at: 0 days}}, w26: {{at: 182 days}}, w52: {{at: 365.25 days}}}}
endpoints: {{score: {{type: continuous, outcome: score, at: [w52], change_from: w0, direction: lower_is_better}}}}
truth: {{outcomes: {{score: {{model: linear_mixed, baseline: 10, slope: 3 / year, slope_sd: 2 / year, residual: {{sd: 1.5, corr: {{ar1: 0.5}}}}}}}}, effects: {{drug: {{score: {{percent_slowing: {slowing}}}}}}}}}
accrual: {{uniform: 6 months}}
randomization: {{ratio: {{drug: 1, placebo: 1}}, method: permuted_block, block_size: 2}}
analyses: {{primary: {{endpoint: score, treatment: {{test: drug, reference: placebo}}, method: t_test, variance: pooled, alpha: 0.025, sides: 1}}}}
simulation: {{seed: 18}}
"""


def power(tmp_path: Path, text: str) -> float:
    path = tmp_path / "protocol.yaml"
    path.write_text(text)
    study = load(path)
    trial: Trial = compile_trial(study.cells()[0], study.directory)
    return float(torch.cat([simulate(trial, Block(first, 250)).analyses["primary"].reject.any(-1) for first in range(0, N, 250)]).double().mean())


@pytest.mark.slow
@pytest.mark.parametrize(("dist", "ratio"), [("negative_binomial", 1.0), ("recurrent", 0.8)])
def test_negative_binomial_regression_has_the_power_of_the_formula(tmp_path: Path, dist: str, ratio: float) -> None:
    variance = (1 / (0.9 * ratio) + 1 / 0.9 + 2 * 0.8) / 600
    expected = stats.norm.sf(stats.norm.isf(0.025) + math.log(ratio) / math.sqrt(variance))
    found = power(tmp_path, COUNTS.format(dist=dist, ratio=ratio))
    assert abs(found - expected) < 3 * math.sqrt(expected * (1 - expected) / N)


@pytest.mark.slow
@pytest.mark.parametrize("slowing", [0.0, 0.3])
def test_a_slowed_line_has_the_power_of_its_covariance(tmp_path: Path, slowing: float) -> None:
    """Change over a year: variance 4 + 2 * 2.25 * (1 - 0.5 ** 2), as w0 and w52 are two visits apart."""
    variance = 4 + 2 * 2.25 * (1 - 0.25)
    shift = 3 * slowing / math.sqrt(variance * 2 / 100)
    expected = stats.nct(198, shift).sf(stats.t(198).isf(0.025)) if slowing else 0.025
    found = power(tmp_path, LINES.format(slowing=slowing))
    assert abs(found - expected) < 3 * math.sqrt(expected * (1 - expected) / N)
