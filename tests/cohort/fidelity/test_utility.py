"""Train on synthetic, test on real: no loss under the true law, all of it where the link is broken."""

from __future__ import annotations

import numpy as np
from witness.samplers import MODELLED, ROLES, Independent, Truth, table_of, trial

from trialsim.cohort.fidelity import side_by_side
from trialsim.cohort.fidelity.utility import utilities
from trialsim.cohort.sampler import OutcomeRoles


def test_the_true_law_trains_as_well_as_the_data():
    real = trial(1000, seed=3, missing=0.1)
    pair, _ = side_by_side(real, Truth(missing=0.1).synthesise(6000, seed=1), modelled=MODELLED, roles=ROLES)
    found = {each.outcome: each for each in utilities(pair, n_draws=2)}
    assert (found["death"].score, found["value"].score) == ("C", "R²")
    assert found["value"].loss.n_real == np.sum(~np.isnan(real.columns["value"]))
    # y = 10 + 2 x + 1.5 arm + ε explains 4.56 of 5.56, and a tree sees most of it
    assert 0.70 < found["value"].real < 4.56 / 5.56
    for each in found.values():
        assert abs(each.loss.estimate) < 4 * each.loss.se
        assert 0 < each.loss.se < 0.03


def test_a_broken_link_loses_everything():
    real = trial(800, seed=4)
    pair, _ = side_by_side(real, Independent(real, ROLES, MODELLED).synthesise(6000, seed=1), modelled=MODELLED, roles=ROLES)
    found = {each.outcome: each for each in utilities(pair, n_draws=2)}
    assert found["value"].synthetic < 0.05
    assert found["value"].loss.estimate > 0.6
    assert abs(found["death"].synthetic - 0.5) < 0.06
    assert found["death"].loss.estimate > 3 * found["death"].loss.se


def test_a_yes_or_no_value_has_an_auc_and_rare_ones_none():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(600)
    columns = {"x": x, "yes": (x + rng.standard_normal(600) > 0).astype(float), "rare": (np.arange(600) < 5).astype(float)}
    table = table_of(columns)
    roles = OutcomeRoles(None, {}, {"yes": None, "rare": None})
    pair, _ = side_by_side(table, table, modelled=["x", "yes", "rare"], roles=roles)
    (found,) = utilities(pair)
    assert (found.outcome, found.score) == ("yes", "AUC")
    assert 0.75 < found.real < 0.88  # P(the order of x + ε is that of x) = 0.5 + 2/π · arctan… ≈ 0.83
