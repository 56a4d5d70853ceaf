"""Kaplan-Meier curves against survfit on real data and lifelines on simulated trials."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
import torch
from lifelines import KaplanMeierFitter
from lifelines.utils import median_survival_times

from trialsim.analysis.kaplan_meier import first_time_below, kaplan_meier, quantile_interval, quantile_time, survival_at, survival_interval
from trialsim.records import EventData

CASES = ["SV-054", "SV-055", "SV-074", "SV-075", "SV-076", "SV-118", "SV-138", "SV-173"]
NORMAL = 1.959963984540054


@pytest.mark.parametrize("case", CASES)
def test_survival_median_and_their_limits_are_those_of_survfit(case, survival_method_rows, survival_data):
    own = survival_method_rows[survival_method_rows.case == case]
    values = {(output, int(index)): value for output, index, value in zip(own.output, own["index"], own.value, strict=True)}
    transform, at = re.search(r"conf\.type=([\w-]+) surv at t=(\d+)", own.spec.iloc[0]).groups()
    transform = transform.replace("-", "_")
    curves = kaplan_meier(survival_data(own.dataset.iloc[0]))
    found = survival_at(curves, torch.tensor([float(at)], dtype=torch.float64))
    low, high = survival_interval(found.survival, found.log_std_error, transform=transform, quantile=NORMAL)
    median, (early, late) = quantile_time(curves), quantile_interval(curves, transform=transform, quantile=NORMAL)
    computed = {
        "surv": found.survival,
        "surv_se": found.std_error,
        "surv_lower": low,
        "surv_upper": high,
        "n_risk": found.at_risk,
        "median": median,
        "median_lower": early,
        "median_upper": late,
    }
    assert {output for output, _ in values} == set(computed)
    for (output, arm), value in values.items():
        ours = computed[output][arm - 1].item()
        assert ours == (math.inf if math.isnan(value) else pytest.approx(value, rel=1e-6)), (output, arm)


def test_every_reference_case_is_used(survival_method_rows):
    assert sorted(survival_method_rows[survival_method_rows.method == "km"].case.unique()) == CASES


def test_curves_of_three_arms_are_those_of_lifelines(simulated_events):
    data = simulated_events(replicates=4, n=90, tied=True, absent=True, seed=71)
    group = (torch.arange(90) % 3).to(torch.int8).expand(4, 90)
    curves = kaplan_meier(EventData(data.time, data.event & (data.time >= 0), group, n_groups=3))
    median, (low, high) = quantile_time(curves), quantile_interval(curves, transform="log_log", quantile=NORMAL)
    for row in range(4):
        for arm in range(3):
            mine = ((data.time[row] >= 0) & (group[row] == arm)).numpy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit = KaplanMeierFitter().fit(data.time[row].numpy()[mine], data.event[row].numpy()[mine])
                theirs = median_survival_times(fit.confidence_interval_survival_function_).iloc[0]
            for at in (0.5, 3.0, 8.0):
                found = survival_at(curves, torch.full((4,), at, dtype=torch.float64))
                assert found.survival[arm, row].item() == pytest.approx(fit.predict(at), rel=1e-12)
                assert found.at_risk[arm, row].item() == (data.time[row].numpy()[mine] >= at).sum()
            if abs(fit.predict(fit.median_survival_time_) - 0.5) > 1e-9:  # where survival rests on 0.5 lifelines takes the first time, survfit the middle
                assert median[arm, row].item() == fit.median_survival_time_
            assert (low[arm, row].item(), high[arm, row].item()) == (theirs.iloc[0], theirs.iloc[1])


def test_a_curve_that_rests_on_a_half_has_its_median_in_the_middle():
    time = torch.tensor([[1.0, 2.0, 4.0, 7.0, 1.0, 9.0]], dtype=torch.float64)
    event = torch.tensor([[True, True, True, True, True, False]])
    curves = kaplan_meier(EventData(time, event, torch.tensor([[0, 0, 0, 0, 1, 1]], dtype=torch.int8)))
    assert quantile_time(curves)[:, 0].tolist() == [3.0, 1.0]  # the other arm rests on 0.5 for good: its first time, as survfit
    assert quantile_time(curves, 0.75)[:, 0].tolist() == [5.5, math.inf]
    assert curves.ends(torch.tensor([9.5]))[:, 0].tolist() == [False, True]


def test_before_the_first_event_survival_is_one_and_after_the_last_patient_it_stays():
    time = torch.tensor([[3.0, 5.0, 2.0, 4.0, -1.0]], dtype=torch.float64)
    event = torch.tensor([[True, False, True, True, False]])
    curves = kaplan_meier(EventData(time, event, torch.tensor([[0, 0, 1, 1, 0]], dtype=torch.int8)))
    expected = {1.0: ([1.0, 1.0], [2, 2]), 3.0: ([0.5, 0.5], [2, 1]), 99.0: ([0.5, 0.0], [0, 0])}
    for at, (survival, at_risk) in expected.items():
        found = survival_at(curves, torch.tensor([at], dtype=torch.float64))
        assert found.survival[:, 0].tolist() == survival
        assert found.at_risk[:, 0].tolist() == at_risk
    assert curves.last_time[:, 0].tolist() == [5.0, 4.0]


def test_limits_that_have_no_scale_are_not_numbers():
    survival, log_error = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64), torch.tensor([0.2, 0.0, 0.1], dtype=torch.float64)
    for transform, known in (("plain", [False, True, True]), ("log", [False, True, True]), ("log_log", [False, False, True])):
        low, high = survival_interval(survival, log_error, transform=transform, quantile=NORMAL)
        assert torch.isfinite(low).tolist() == known
        assert torch.isfinite(high).tolist() == known
        assert 0.3 < low[2] < 0.5 < high[2] < 0.7


def test_curves_do_not_depend_on_the_block(simulated_events):
    data = simulated_events(replicates=30, tied=True, absent=True, seed=72)
    whole = kaplan_meier(data)
    for row in range(30):
        part = kaplan_meier(EventData(data.time[row : row + 1], data.event[row : row + 1], data.group[row : row + 1]))
        for field in ("survival", "steps", "at_risk"):
            assert torch.equal(getattr(part, field), getattr(whole, field)[:, row : row + 1])


def test_the_first_time_below_ignores_what_is_not_known():
    curve = torch.tensor([[[torch.nan, 0.6, 0.4, 0.45]]], dtype=torch.float64)
    assert first_time_below(torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64), curve, torch.tensor([[0.5]], dtype=torch.float64)).item() == 3.0
    assert np.isinf(first_time_below(torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64), curve, torch.tensor([[0.1]], dtype=torch.float64)).item())
