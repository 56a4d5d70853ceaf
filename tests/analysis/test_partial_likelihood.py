"""The partial likelihood against its definition with automatic differentiation, and its behaviour where R has conventions."""

from __future__ import annotations

import math

import pytest
import torch

from trialsim.analysis.partial_likelihood import evaluate, maximise, standardised
from trialsim.analysis.risk_sets import risk_sets


def _plain_log_likelihood(b, x, time, event, stratum, ties):
    """Patient by patient; differentiable in b."""
    total = torch.zeros((), dtype=torch.float64)
    theta = torch.exp(x @ b)
    for level in stratum.unique():
        for moment in time[event & (stratum == level)].unique():
            dying = event & (time == moment) & (stratum == level)
            at_risk = (time >= moment) & (stratum == level)
            d = int(dying.sum())
            total = total + (x[dying] @ b).sum()
            for k in range(d):
                share = k / d if ties == "efron" else 0.0
                total = total - torch.log(theta[at_risk].sum() - share * theta[dying].sum())
    return total


def _laid_out(data, ties):
    risk = risk_sets(data.time, data.event, data.stratum, ties=ties)
    columns = [*data.covariates.unbind(-1), data.group.to(torch.float64)]
    there = torch.ones_like(data.time)
    x, sd = standardised(torch.stack([column.gather(-1, risk.order) for column in columns]), there)
    return x, there, risk, sd


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("strata", [1, 3])
def test_value_and_derivatives_are_those_of_the_definition(simulated_events, ties, strata):
    data = simulated_events(replicates=2, n=40, columns=2, strata=strata, tied=True, seed=21)
    x, there, risk, _ = _laid_out(data, ties)
    b = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    point = evaluate(b[:, None].expand(3, 2).contiguous(), x, there, risk, arm_free=True)
    for row in range(2):
        order = risk.order[row]
        stratum = torch.zeros(40, dtype=torch.int64) if data.stratum is None else data.stratum[row][order]

        def plain(b, row=row, order=order, stratum=stratum):
            return _plain_log_likelihood(b, x[:, row].T, data.time[row][order], data.event[row][order], stratum, ties)

        free = b.clone().requires_grad_(True)
        value = plain(free)
        (gradient,) = torch.autograd.grad(value, free)
        information = -torch.autograd.functional.hessian(plain, b)
        assert point.log_likelihood[row].item() == pytest.approx(value.item(), rel=1e-12)
        torch.testing.assert_close(point.score[:, row], gradient, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(point.step[:, row], torch.linalg.solve(information, gradient), rtol=1e-8, atol=1e-10)
        # The arm's last pivot is its information given the covariates: 1 / [I^-1]_arm,arm.
        assert point.pivots[-1, row].item() == pytest.approx(1.0 / torch.linalg.inv(information)[-1, -1].item(), rel=1e-9)


def test_at_the_maximum_the_score_is_zero(simulated_events):
    data = simulated_events(replicates=20, columns=3, tied=True, seed=22)
    x, there, risk, _ = _laid_out(data, "efron")
    found = maximise(x, there, risk)
    assert found.converged.all()
    assert evaluate(found.coefficients, x, there, risk, arm_free=True).score.abs().max() < 1e-8
    held = maximise(x, there, risk, arm_free=False)
    assert torch.equal(held.coefficients[-1], torch.zeros(20, dtype=torch.float64))
    assert evaluate(held.coefficients, x, there, risk, arm_free=False).score[:-1].abs().max() < 1e-8


def test_a_covariate_that_says_nothing_new_changes_nothing(simulated_events):
    data = simulated_events(replicates=4, columns=2, seed=23)
    x, there, risk, _ = _laid_out(data, "efron")
    plain = maximise(x, there, risk)
    more = torch.stack([x[0], x[1], 0.6 * x[0] - 0.8 * x[1], torch.zeros_like(x[0]), x[2]])
    with_copies = maximise(more, there, risk)
    assert with_copies.converged.all()
    torch.testing.assert_close(with_copies.coefficients[-1], plain.coefficients[-1], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(with_copies.point.pivots[-1], plain.point.pivots[-1], rtol=1e-7, atol=0)


def test_an_arm_that_is_a_covariate_has_no_information_left(simulated_events):
    data = simulated_events(replicates=2, columns=1, seed=24)
    x, there, risk, _ = _laid_out(data, "efron")
    found = maximise(torch.stack([x[-1], x[-1]]), there, risk)
    assert found.point.pivots[-1].tolist() == [0.0, 0.0]


def test_the_arm_is_estimated_in_the_limit_of_a_level_without_events(simulated_events):
    # Without events at its level the coefficient of an indicator runs to minus infinity: those patients drop out of every risk set.
    data = simulated_events(replicates=6, n=150, columns=1, seed=25)
    rare = (torch.arange(150) < 7).expand(6, 150)
    event = data.event & ~rare
    columns = [rare.to(torch.float64), data.group.to(torch.float64)]
    risk = risk_sets(data.time, event, None)
    there = torch.ones_like(data.time)
    x, sd = standardised(torch.stack([column.gather(-1, risk.order) for column in columns]), there)
    found = maximise(x, there, risk)
    assert found.converged.all()
    without = risk_sets(torch.where(rare, -1.0, data.time), event, None)
    present = (~rare).gather(-1, without.order).to(torch.float64)
    y, sd_without = standardised(columns[1].gather(-1, without.order)[None], present)
    limit = maximise(y, present, without)
    torch.testing.assert_close(found.coefficients[-1] / sd[-1], limit.coefficients[-1] / sd_without[-1], rtol=1e-6, atol=1e-7)
    assert not math.isnan(found.point.pivots[-1].sum().item())
