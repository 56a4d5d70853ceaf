"""The classifier's intervals over many pairs of tables of one law."""

from __future__ import annotations

import numpy as np
import pytest
from witness.samplers import Truth, trial

from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.fidelity.classifier import classifier_auc
from trialsim.cohort.sampler import OutcomeRoles

MODELLED = ("x", "age", "sex", "site", "high")


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["trees", "logistic"])
def test_intervals_hold_chance_as_often_as_they_say(learner):
    """100 pairs of tables of one law: |mean of z| < 4 / √100; its SD is at most 1 (+ 4 / √200), and not so small that nothing could be seen."""
    z = []
    for seed in range(100):
        pair, _ = side_by_side(trial(300, seed=seed), Truth().synthesise(600, seed=seed), modelled=MODELLED, roles=OutcomeRoles(None, {}, {}))
        auc = getattr(classifier_auc(pair, n_draws=2, seed=seed), learner)
        z.append((auc.estimate - 0.5) / auc.se)
    assert abs(np.mean(z)) < 0.4
    assert 0.5 < np.std(z) < 1.29
