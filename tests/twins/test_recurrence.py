"""Recurrent events: counts, waits and the first event against their laws; illness and death against quadrature and R's rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from trialsim.rng import Block
from trialsim.twins import Truth, problems

WIDE, N = Block(0, 400), 150
YEAR = 365.25
K = 0.6


def recurrent(dispersion: float = K, **more: Any) -> dict[str, Any]:
    return {"dist": "recurrent", "rate": "2 / year", "dispersion": dispersion} | more


def course(world: Any, arm: Any, block: Block = WIDE, n: int = N) -> Any:
    return world.model.recurrent_events("y", streams=world.streams, block=block, n=n, cohort=world.cohort(block, n), arm=arm)


def test_counts_have_the_negative_binomial_law_at_every_time(twins: Any) -> None:
    world = twins(recurrent(), {"experimental": {"rate_ratio": [{"until": "6 months", "value": 1.0}, {"value": 0.5}]}})
    for arm, days in ((1, 200.0), (0, 150.0), (0, 500.0)):
        mean = 2 / YEAR * (days if arm == 1 else min(days, YEAR / 2) + 0.5 * max(days - YEAR / 2, 0.0))
        counts = course(world, arm).count(torch.full((400, N), days, dtype=torch.float64)).numpy().ravel()
        law = stats.nbinom(1 / K, 1 / (1 + K * mean))
        observed = np.bincount(counts.astype(int), minlength=12)
        observed = np.append(observed[:11], observed[11:].sum())
        expected = np.append(law.pmf(np.arange(11)), law.sf(10)) * len(counts)
        assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_waits_given_the_frailty_are_independent_exponentials(twins: Any) -> None:
    """Without frailty the gaps are exponential and uncorrelated; with it the first event follows a Lomax law."""
    plain = course(twins(recurrent(0.0)), 1)
    gaps = [plain.event(1), plain.event(2) - plain.event(1), plain.event(3) - plain.event(2)]
    for gap in gaps:
        assert stats.kstest(gap.numpy().ravel(), stats.expon(scale=YEAR / 2).cdf).pvalue > 1e-4
    assert abs(float(np.corrcoef(gaps[0].ravel(), gaps[2].ravel())[0, 1])) < 4 / math.sqrt(gaps[0].numel())
    world = twins(recurrent())
    first = world.times(1, block=WIDE)
    assert torch.equal(first, course(world, 1).event(1))
    assert stats.kstest(first.numpy().ravel(), stats.lomax(1 / K, scale=YEAR / 2 / K).cdf).pvalue > 1e-4
    t = torch.tensor([10.0, 100.0, 1000.0], dtype=torch.float64)
    np.testing.assert_allclose(world.model.survival("y", 1, t).numpy(), stats.lomax(1 / K, scale=YEAR / 2 / K).sf(t.numpy()), rtol=1e-12)


def test_assigned_events_are_the_counterfactual_ones_at_any_block_size(twins: Any) -> None:
    world = twins(recurrent(prognostic={"ecog": {"rate_ratio": 2.0, "level": "1"}}), {"experimental": {"rate_ratio": 0.5}})
    whole, arm = course(world, world.assigned(WIDE, N)), world.assigned(WIDE, N).long()
    each = torch.stack([course(world, index).event(3) for index in range(3)])
    assert torch.equal(whole.event(3), each.gather(0, arm[None])[0])
    part = course(world, world.assigned(Block(17, 3), N), block=Block(17, 3))
    assert torch.equal(part.event(3), whole.event(3)[17:20])
    end = torch.full((3, N), 400.0, dtype=torch.float64)
    kept = part.within(end)
    assert torch.equal(torch.isfinite(torch.stack(kept)).sum(0).double(), part.count(end))
    assert torch.equal(part.count(end), whole.count(end, torch.arange(17, 20)))


# Illness and death ----------------------------------------------------------------------------------------------------------

COURSE: dict[str, Any] = {
    "dist": "illness_death",
    "progression": {"dist": "weibull", "shape": 1.3, "median": "9 months"},
    "death": {"dist": "exponential", "median": "30 months"},
    "death_after_progression": {"dist": "exponential", "median": "8 months", "prognostic": {"ecog": {"hr": 1.5, "level": "1"}}},
}


def model_of(twins: Any, effects: dict[str, Any]) -> Any:
    world = twins({"dist": "exponential", "median": "1 year"})
    from trialsim.twins import TwinModel

    truth = Truth.model_validate({"outcomes": {"course": COURSE}, "effects": {"experimental": effects}})
    world.model = TwinModel(truth, arms=("experimental", "control", "third"), cohort=world.cohort_model)
    return world


def test_illness_and_death_are_three_times_of_one_patient(twins: Any) -> None:
    world = model_of(twins, {"progression": {"hr": 0.6}, "death_after_progression": {"hr": 0.8}})
    where = {"streams": world.streams, "block": WIDE, "n": N, "cohort": world.cohort(WIDE, N), "arm": 0}
    names = ["progression", "death", "death_after_progression"]
    ill, dead, later = world.model.event_times(names, **where)
    for name, together in zip(names, (ill, dead, later), strict=True):
        assert torch.equal(together, world.model.event_time(name, **where))
    progressed = torch.isfinite(ill)
    assert (dead[progressed] > ill[progressed]).all()
    assert torch.equal(later[progressed], dead[progressed])
    assert torch.isinf(later[~progressed]).all()
    assert torch.isfinite(dead).all()
    assert torch.equal(world.model.end_of_follow_up(["progression"], **where), dead)
    assert world.model.end_of_follow_up(["progression", "death"], **where) is None


@pytest.mark.parametrize("t", [100.0, 400.0, 900.0])
def test_probabilities_are_those_of_quadrature_and_of_the_twins(twins: Any, t: float) -> None:
    """SciPy's adaptive quadrature of the same integrals, to 1e-6; shares of twins to 4 MCSE."""
    world = model_of(twins, {"progression": {"hr": 0.6}, "death_after_progression": {"hr": 0.8}})
    cohort = world.cohort(WIDE, N)
    scale = 273.9375 / math.log(2) ** (1 / 1.3)
    d, a = math.log(2) / 913.125, 0.8 * math.log(2) / 243.5
    density = lambda u: 0.6 * 1.3 / scale * (u / scale) ** 0.3 * math.exp(-0.6 * (u / scale) ** 1.3 - d * u)  # noqa: E731
    for level, hr in ((0.0, 1.0), (1.0, 1.5)):
        ill = integrate.quad(density, 0, t)[0]
        died = integrate.quad(lambda u, hr=hr: density(u) * -math.expm1(-a * hr * (t - u)), 0, t)[0]
        free = math.exp(-0.6 * (t / scale) ** 1.3 - d * t)
        expected = {"progression": 1 - ill, "death": free + ill - died, "death_after_progression": 1 - died}
        member = cohort.columns["ecog"] == level
        for name, chance in expected.items():
            found = world.model.survival(name, 0, t, cohort).expand(400, N)[member]
            assert float(found[0]) == pytest.approx(chance, abs=2e-6)
            times = world.model.event_time(name, streams=world.streams, block=WIDE, n=N, cohort=cohort, arm=0)[member]
            assert abs(float((times > t).double().mean()) - chance) < 4 * math.sqrt(chance * (1 - chance) / len(times))
        both = world.model.hazard_of_first(["progression", "death"], 0, torch.tensor(t, dtype=torch.float64), cohort).neg().exp().expand(400, N)[member]
        assert float(both[0]) == pytest.approx(free, rel=1e-12)


def test_an_effect_on_the_process_is_one_on_each_transition_without_its_own(twins: Any) -> None:
    world = model_of(twins, {"course": {"hr": 0.5}, "death": {"hr": 0.9}})
    assert world.model.constant_log_hr("progression", 0, 1) == pytest.approx(math.log(0.5))
    assert not world.model.effect_is_identity("death", 0, 1)
    assert world.model.effect_is_identity("death", 1, 2)
    assert world.model.constant_log_hr("death", 0, 1) is None


def test_names_that_a_process_yields_belong_to_it() -> None:
    truth = Truth.model_validate({"outcomes": {"course": COURSE, "death": {"dist": "exponential", "median": "1 year"}}})
    said = [str(problem) for problem in problems(truth, arms=("a",), visits={}, covariates=("ecog",), levels={"ecog": ("0", "1")}, units={"ecog": ""})]
    assert 'truth.outcomes.course: death already names what "death" yields' in said
