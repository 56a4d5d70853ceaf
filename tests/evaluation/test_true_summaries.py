"""True values against closed forms: of proportions, odds, rates, restricted means, milestones, incidences, medians and wins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special

from trialsim.evaluation.true_contrasts import true_median_contrast
from trialsim.evaluation.true_pairs import true_median_of_differences, true_win_measure
from trialsim.evaluation.true_regressions import common_log_odds_ratio, conditional_log_odds_ratio, proportional_log_odds_ratio
from trialsim.evaluation.true_summaries import TrueQuestion, true_summary
from trialsim.evaluation.truth import TrueValue, TwinSampler
from trialsim.records import Cohort, EventData, HierarchyData, ValueData
from trialsim.rng import Block, Streams
from trialsim.twins import Truth, TwinModel

YEAR = 365.25
LEVELS = {"sex": ("0", "1")}


class Sex:
    names, levels, units = ("sex",), LEVELS, {"sex": ""}

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        return Cohort({"sex": (streams("covariate/sex").uniform(block, n) < 0.4).double()}, LEVELS)


def truth_of(outcomes: dict[str, Any], effects: dict[str, Any], question: dict[str, Any], n_twins: int = 200_000) -> TrueValue | None:
    model = TwinModel(Truth.model_validate({"outcomes": outcomes, "effects": {"drug": effects}}), arms=("drug", "placebo"), visits={"w26": 182.0}, cohort=Sex())
    streams = Streams("5/truth")
    sampler = TwinSampler(
        streams=streams,
        n=1000,
        entry_times=lambda block: torch.linspace(0, 365, 1000, dtype=torch.float64)[None],
        cohort=lambda block: Sex().sample(streams, block, 1000),
    )
    asked = {"outcomes": tuple(outcomes), "test": 0, "reference": 1, "cut_time": 2 * YEAR} | question
    return true_summary(model, TrueQuestion(**asked), sampler, n_twins)


def agrees(found: TrueValue | None, expected: float) -> bool:
    assert found is not None
    return abs(found.value - expected) <= (4 * found.mcse if found.mcse else 1e-12)


BINARY = {"y": {"dist": "bernoulli", "p": 0.3, "prognostic": {"sex": {"or": 3.0, "level": "1"}}}}


def shifted(p: float, odds_ratio: float) -> float:
    return p * odds_ratio / (1 - p + p * odds_ratio)


@pytest.mark.parametrize("measure", ["difference", "risk_ratio", "odds_ratio"])
def test_marginal_contrasts_of_proportions_average_over_the_covariate(measure: str) -> None:
    p0 = 0.6 * 0.3 + 0.4 * shifted(0.3, 3.0)
    p1 = 0.6 * shifted(0.3, 2.0) + 0.4 * shifted(0.3, 6.0)
    expected = {"difference": p1 - p0, "risk_ratio": math.log(p1 / p0), "odds_ratio": float(special.logit(p1) - special.logit(p0))}
    asked = {"measure": measure, "kind": "binary", "visit": "w26"}
    assert agrees(truth_of(BINARY, {"y": {"or": 2.0}}, asked), expected[measure])
    plain = {"y": {"dist": "bernoulli", "p": 0.3}}
    exact = truth_of(plain, {"y": {"p": 0.5}}, asked)
    assert exact is not None
    assert exact.mcse == 0.0
    assert exact.value == pytest.approx({"difference": 0.2, "risk_ratio": math.log(5 / 3), "odds_ratio": math.log(7 / 3)}[measure], rel=1e-12)


def test_a_conditional_odds_ratio_is_the_declared_one_and_not_the_marginal() -> None:
    asked = {"measure": "odds_ratio", "kind": "binary", "visit": "w26", "conditional": True}
    adjusted = truth_of(BINARY, {"y": {"or": 2.0}}, asked | {"covariates": lambda block, cohort: cohort.columns["sex"][..., None]})
    stratified = truth_of(BINARY, {"y": {"or": 2.0}}, asked | {"strata": lambda cohort: cohort.columns["sex"].long()})
    for found in (adjusted, stratified):
        assert found is not None
        assert found.value == pytest.approx(math.log(2.0), abs=1e-9)


def test_limits_of_regressions_are_those_of_a_general_optimiser() -> None:
    """A misspecified conditional model (a covariate left out of it) and Mantel-Haenszel over unequal odds ratios."""
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=4000), rng.normal(size=4000)
    p1, p0 = special.expit(0.4 + 0.8 * x + 1.5 * z), special.expit(-0.3 + 0.8 * x + 1.5 * z)

    def minus_log_likelihood(beta: np.ndarray) -> float:
        total = 0.0
        for p, weight, arm in ((p1, 2.0, 1.0), (p0, 1.0, 0.0)):
            eta = beta[0] + beta[1] * x + beta[2] * arm
            total += weight * float(np.sum(p * eta - np.logaddexp(0, eta)))
        return -total

    expected = optimize.minimize(minus_log_likelihood, np.zeros(3), method="BFGS", options={"gtol": 1e-6}).x[2]
    found = conditional_log_odds_ratio(p1, p0, x[:, None], weights=(2.0, 1.0))
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-5)
    assert 0 < found.value < 0.7
    stratum = (x > 0).astype(np.int64)
    a = [(p1[stratum == s].mean(), p0[stratum == s].mean(), (stratum == s).sum()) for s in (0, 1)]
    limit = math.log(sum(n * p * (1 - q) for p, q, n in a) / sum(n * q * (1 - p) for p, q, n in a))
    strata = common_log_odds_ratio(p1, p0, stratum, weights=(2.0, 1.0))
    assert strata is not None
    assert strata.value == pytest.approx(limit, rel=1e-12)


def test_the_marginal_ordinal_odds_ratio_is_that_of_a_general_optimiser() -> None:
    ordinal = {"y": {"dist": "ordinal", "probs": {"a": 0.2, "b": 0.3, "c": 0.5}, "prognostic": {"sex": {"or": 4.0, "level": "1"}}}}
    asked = {"measure": "odds_ratio", "kind": "ordinal", "visit": "w26"}
    found = truth_of(ordinal, {"y": {"or": 2.0}}, asked)
    above = {arm: 0.6 * shifted_all((0.8, 0.5), r) + 0.4 * shifted_all((0.8, 0.5), 4 * r) for arm, r in ((1, 2.0), (0, 1.0))}

    def minus(theta: np.ndarray) -> float:
        total = 0.0
        for arm, chance in above.items():
            p = -np.diff([1.0, *chance, 0.0])
            q = -np.diff([1.0, *special.expit(theta[:2] + arm * theta[2]), 0.0])
            total += float(np.sum(p * np.log(np.maximum(q, 1e-300))))
        return -total

    best = optimize.minimize(minus, np.array([1.0, 0.0, 0.5]), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000}).x[2]
    assert agrees(found, best)
    assert best < math.log(2.0)
    exact = truth_of({"y": {"dist": "ordinal", "probs": {"a": 0.2, "b": 0.3, "c": 0.5}}}, {"y": {"or": 2.0}}, asked)
    assert exact == TrueValue(math.log(2.0))
    p1, p0 = (np.broadcast_to(shifted_all((0.8, 0.5), r), (2000, 2)) for r in (2.0, 1.0))
    fitted = proportional_log_odds_ratio(p1, p0, weights=(1.0, 1.0))
    assert fitted is not None
    assert fitted.value == pytest.approx(math.log(2.0), abs=1e-9)


def shifted_all(chances: tuple[float, ...], odds_ratio: float) -> np.ndarray:
    return np.array([shifted(p, odds_ratio) for p in chances])


def test_rates_collapse_and_differ_by_category() -> None:
    asked = {"measure": "rate_ratio", "kind": "count", "visit": "w26"}
    count = {"y": {"dist": "negative_binomial", "rate": "1 / year", "dispersion": 1.0, "prognostic": {"sex": {"rate_ratio": 3.0, "level": "1"}}}}
    assert truth_of(count, {"y": {"rate_ratio": 0.7}}, asked) == TrueValue(math.log(0.7))
    by = {"y": {"rate_ratio": {"by": {"covariate": "sex", "values": {"0": 0.5, "1": 0.9}}}}}
    assert agrees(truth_of(count, by, asked), math.log((0.6 * 0.5 + 0.4 * 3 * 0.9) / (0.6 + 0.4 * 3)))
    late = {"y": {"rate_ratio": [{"until": "91 days", "value": 1.0}, {"value": 0.5}]}}
    assert agrees(truth_of(count, late, asked), math.log(0.75))
    # Followed to the cut: entries are uniform on a year, the cut is after two, so follow-up is uniform on 365.5 to 730.5 days.
    t = np.linspace(0, 365, 1000)
    followed = 2 * YEAR - t
    expected = math.log((91 + 0.5 * (followed - 91)).mean() / followed.mean())
    assert agrees(truth_of(count, late, asked | {"visit": None}), expected)


EVENTS = {"a": {"dist": "exponential", "rate": "1 / year"}, "b": {"dist": "exponential", "rate": "0.5 / year"}}


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("rmst_difference", (1 - math.exp(-1.1)) / 1.1 - (1 - math.exp(-1.5)) / 1.5),
        ("rmst_ratio", math.log((1 - math.exp(-1.1)) / 1.1) - math.log((1 - math.exp(-1.5)) / 1.5)),
        ("milestone_difference", math.exp(-1.1) - math.exp(-1.5)),
        ("average_hazard_ratio", math.log(1.1 / 1.5)),
        ("median_difference", math.log(2) / 1.1 - math.log(2) / 1.5),
        ("cumulative_incidence_difference", 0.6 / 1.1 * (1 - math.exp(-1.1)) - 1 / 1.5 * (1 - math.exp(-1.5))),
    ],
)
def test_times_to_the_first_of_two_events(measure: str, expected: float) -> None:
    """Exponential hazards 1 and 0.5 per year, the first times 0.6 under the drug; up to one year."""
    found = truth_of(EVENTS, {"a": {"hr": 0.6}}, {"measure": measure, "kind": "time_to_event", "time": YEAR, "cause": 0})
    in_days = YEAR if measure in ("rmst_difference", "median_difference") else 1.0
    assert agrees(found, expected * in_days)


def test_the_subdistribution_hazard_ratio_solves_its_score_equation() -> None:
    """With F_a the incidences of the cause and follow-up uniform over the entries, the limit solves integral of (z - E) dF = 0."""
    found = truth_of(EVENTS, {"a": {"hr": 0.6}}, {"measure": "subdistribution_hazard_ratio", "kind": "time_to_event", "cause": 0, "cut_time": 365.0 + YEAR})
    entry = np.linspace(0, 365, 1000)

    def incidence(hazard: float, t: np.ndarray) -> np.ndarray:
        return hazard / (hazard + 0.5) * -np.expm1(-(hazard + 0.5) * t)

    def score(beta: float) -> float:
        def at(t: float) -> float:
            followed = float((365.0 + YEAR - entry >= t * YEAR).mean())
            if followed == 0.0:
                return 0.0
            risk = [followed * (1 - float(incidence(h, np.array(t)))) for h in (0.6, 1.0)]
            density = [followed * h * math.exp(-(h + 0.5) * t) for h in (0.6, 1.0)]
            mean = risk[0] * math.exp(beta) / (risk[0] * math.exp(beta) + risk[1])
            return density[0] * (1 - mean) - density[1] * mean

        grid = np.linspace(0, 2.0, 2_001)
        return float(integrate.trapezoid([at(t) for t in grid], grid))

    assert agrees(found, optimize.brentq(score, -1, 0.2))


def test_what_depends_on_the_data_or_on_death_is_left_out() -> None:
    assert truth_of(EVENTS, {"a": {"hr": 0.6}}, {"measure": "rmst_difference", "kind": "time_to_event"}) is None
    course = {
        "c": {"dist": "illness_death"} | {name: {"dist": "exponential", "median": "1 year"} for name in ("progression", "death", "death_after_progression")}
    }
    asked = {"measure": "milestone_difference", "kind": "time_to_event", "time": 100.0, "outcomes": ("progression",)}
    assert truth_of(course, {"progression": {"hr": 0.6}}, asked) is None
    assert agrees(truth_of(course, {"progression": {"hr": 0.6}}, asked | {"measure": "hazard_ratio"}), math.log(0.6))
    assert truth_of(course, {}, asked) == TrueValue(0.0)


def test_median_contrasts_carry_the_error_of_paired_medians() -> None:
    """Replicated: the MCSE is the standard deviation over independent sets of twins."""
    rng = np.random.default_rng(8)
    found = [true_median_contrast(e / 0.7, e, "difference") for e in rng.exponential(size=(400, 3000))]
    values = np.array([each.value for each in found if each is not None])
    assert abs(values.mean() - math.log(2) * (1 / 0.7 - 1)) < 4 * values.std() / 20
    mcse = np.mean([each.mcse for each in found if each is not None])
    assert values.std() == pytest.approx(mcse, rel=0.15)
    assert true_median_contrast(np.full(10, np.inf), np.ones(10), "difference") is None


def hierarchies(pairs: int, better: float) -> Iterator[HierarchyData]:
    """Death with hazards 0.5 and 1 followed to time 1, then a score; patients of the arms alternate."""
    generator = torch.Generator().manual_seed(11)
    for _ in range(pairs // 1000):
        group = (torch.arange(2000) % 2 == 0).to(torch.int8)[None]
        time = torch.rand((1, 2000), generator=generator, dtype=torch.float64).log().neg() / torch.where(group == 1, 0.5, 1.0)
        event = time <= 1.0
        score = torch.randn((1, 2000), generator=generator, dtype=torch.float64) + better * group
        yield HierarchyData((EventData(time.clamp(max=1.0), event, group), ValueData(score, group)), (1, 1), (0.0, 0.0))


@pytest.mark.parametrize("measure", ["win_ratio", "net_benefit", "win_odds"])
def test_wins_of_independent_pairs(measure: str) -> None:
    """P(test wins on death) = integral of the reference's density times the test patient's survival, and so on; ties go to the score."""
    win = 1 / 1.5 * -math.expm1(-1.5)
    loss = 0.5 / 1.5 * -math.expm1(-1.5)
    on_score = special.ndtr(0.4 / math.sqrt(2))
    tie = 1 - win - loss
    win, loss = win + tie * on_score, loss + tie * (1 - on_score)
    expected = {"win_ratio": math.log(win / loss), "net_benefit": win - loss, "win_odds": math.log((1 + win - loss) / (1 - win + loss))}[measure]
    assert agrees(true_win_measure(hierarchies(200_000, 0.4), measure, common=False, horizon=None), expected)


def test_the_median_of_differences_of_shifted_and_scaled_values() -> None:
    generator = torch.Generator().manual_seed(2)
    test = torch.randn(100_000, generator=generator, dtype=torch.float64) * 2 + 0.3
    reference = torch.randn(100_000, generator=generator, dtype=torch.float64)
    found = true_median_of_differences(test, reference)
    assert agrees(found, 0.3)
    assert found is not None
    assert found.mcse == pytest.approx(math.sqrt(math.pi / 2 * 5 / 100_000), rel=0.15)
