"""The AUC and Harrell's C against scikit-learn and lifelines; their uncertainty against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

from trialsim.cohort.fidelity.concordance import harrell, placements


@pytest.mark.parametrize("ties", [False, True])
def test_the_mean_placement_is_the_auc(ties):
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(0.5, 1, 57), rng.normal(0, 1, 123)
    if ties:
        positive, negative = np.round(positive), np.round(negative)
    first, second = placements(positive, negative)
    expected = roc_auc_score(np.repeat([1, 0], [57, 123]), np.concatenate((positive, negative)))
    assert first.mean() == pytest.approx(expected, rel=1e-12)
    assert second.mean() == pytest.approx(expected, rel=1e-12)


def test_delongs_variance_is_that_of_repeated_samples():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(4000):
        first, second = placements(rng.normal(0.7, 1, 80), rng.normal(0, 1, 150))
        found.append((first.mean(), np.sqrt(first.var(ddof=1) / 80 + second.var(ddof=1) / 150)))
    estimates, errors = np.array(found).T
    assert errors.mean() == pytest.approx(estimates.std(), rel=0.04)


@pytest.mark.parametrize("ties", [False, True])
def test_harrells_c_is_that_of_lifelines(ties):
    rng = np.random.default_rng(3)
    n = 700  # more than a chunk of cases
    risk, event = rng.standard_normal(n), rng.random(n) < 0.9
    time = rng.exponential(np.exp(-risk))
    if ties:
        risk = np.round(risk, 1)
        time = np.ceil(10 * time)
    c, influence = harrell(risk, time, event)
    if not ties:  # lifelines counts events tied in time as half where risks tie, and not otherwise; here they are not comparable
        assert c == pytest.approx(concordance_index(time, -risk, event), rel=1e-12)
    slow = _slow(risk, time, event)
    assert c == pytest.approx(slow, rel=1e-12)
    assert abs(influence.mean()) < 1e-12


def _slow(risk, time, event):
    right = pairs = 0.0
    for i in np.flatnonzero(event):
        for j in range(len(risk)):
            if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                pairs += 1
                right += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    return right / pairs


def test_the_influences_give_the_standard_error_of_c():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(1500):
        risk = rng.standard_normal(150)
        time, censored = rng.exponential(np.exp(-0.7 * risk)), rng.exponential(2.0, 150)
        c, influence = harrell(risk, np.minimum(time, censored), time <= censored)
        found.append((c, influence.std(ddof=1) / np.sqrt(150)))
    estimates, errors = np.array(found).T
    assert errors.mean() == pytest.approx(estimates.std(), rel=0.08)


def test_nothing_is_comparable_without_events():
    c, influence = harrell(np.arange(3.0), np.arange(3.0), np.zeros(3, dtype=bool))
    assert np.isnan(c)
    assert influence.tolist() == [0.0, 0.0, 0.0]
