"""Running sums over sorted patients against risk sets read off the definition, patient by patient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.analysis.risk_sets import risk_sets


def _plain(time, event, stratum, weight, ties):
    """For each patient's own event: the weight at risk, less Efron's share; for each patient: which events see it."""
    n = len(time)
    at_risk = np.full(n, np.nan)
    share_of = np.zeros(n)
    for i in range(n):
        if not event[i]:
            continue
        tied = [j for j in range(n) if event[j] and time[j] == time[i] and stratum[j] == stratum[i]]
        share_of[i] = tied.index(i) / len(tied) if ties == "efron" else 0.0
        whole = sum(weight[j] for j in range(n) if stratum[j] == stratum[i] and time[j] >= time[i])
        at_risk[i] = whole - share_of[i] * sum(weight[j] for j in tied)
    return at_risk


def _data(seed, n_strata, tied):
    generator = np.random.default_rng(seed)
    n = 37
    time = generator.exponential(5.0, n)
    if tied:
        time = np.ceil(time)
    event = generator.random(n) < 0.6
    stratum = generator.integers(0, n_strata, n)
    weight = generator.normal(size=n)
    absent = generator.random(n) < 0.15
    time[absent], event[absent], weight[absent] = -1.0, False, 0.0
    return time, event, stratum, weight


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("n_strata", [1, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_sums_over_risk_sets_are_those_of_the_definition(ties, n_strata, tied):
    sets = [_data(seed, n_strata, tied) for seed in range(4)]
    time, event, stratum, weight = (torch.tensor(np.stack(column)) for column in zip(*sets, strict=True))
    layout = risk_sets(time, event, stratum if n_strata > 1 else None, ties=ties)
    found = layout.at_risk(weight.gather(-1, layout.order))
    for row, (t, e, s, w) in enumerate(sets):
        plain = _plain(t, e, s if n_strata > 1 else 0 * s, w, ties)
        happened = layout.event[row] == 1
        # Within a group of tied events the order is free: compare the values of the group as a set.
        ranks = layout.order[row][happened].numpy()
        for moment in np.unique(t[e]):
            for level in np.unique(s):
                group = [k for k, i in enumerate(ranks) if t[i] == moment and (n_strata == 1 or s[i] == level)]
                mine = np.sort(found[row][happened].numpy()[group])
                theirs = np.sort(plain[ranks[group]])
                np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("n_strata", [1, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_accumulated_is_the_transpose_of_at_risk(ties, n_strata, tied):
    time, event, stratum, weight = (torch.tensor(column)[None] for column in _data(9, n_strata, tied))
    layout = risk_sets(time, event, stratum if n_strata > 1 else None, ties=ties)
    weight = weight.gather(-1, layout.order)
    increment = layout.event * torch.linspace(0.5, 2.0, weight.shape[-1], dtype=torch.float64)
    left = (increment * layout.at_risk(weight)).sum()
    right = (weight * layout.accumulated(increment)).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-12)


def test_a_block_without_tied_events_needs_no_correction():
    time = torch.tensor([[3.0, 3.0, 1.0, -1.0]], dtype=torch.float64)
    event = torch.tensor([[True, False, True, False]])
    layout = risk_sets(time, event, None)
    assert layout.first is None
    assert layout.share is None
    assert layout.at_risk(torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)).tolist() == [[1.0, 2.0, 3.0, 3.0]]
    assert layout.order.tolist() == [[1, 0, 2, 3]], "the censored first, the absent last"
