"""Attacks on membership: how much more a real patient looks like one synthetic table than like another.

All are antisymmetric: exchanging the two tables changes a score's sign and nothing else. So half of the patients being
members of one table and half of the other, a score that tells nothing has an AUC of exactly ½ in expectation.

Two look at *individuals*, through the few synthetic rows nearest to a patient: the density ratio and the shadow model.
The third, tracing, looks at *aggregates*: every mean that is kept leans a little towards each patient in it, so that
against a model with p well-fitted parameters and n patients a side its AUC comes near Φ(√(p / n)) however honest the
model is (Φ(√(p / 2n)) where it sees n synthetic rows only); it falls with n alone.

There is no sharp line between the two: the wider the neighbourhood, the more of the aggregate it sees, so that how many
neighbours are asked is part of how strict the gate is. It asks two, which is what the usual distances look at: the
closest record, and the ratio of the first to the second. Against copulas of two halves of ACTG175 (1,069 patients each,
tables as long) the AUC of the shadow model was 0.527 with the first neighbour alone, 0.536 with two, 0.545 with the first,
second and fifth, and that of tracing 0.60; copies are told from others with 0.8 to 0.9 by any of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.space import Array, Points, nearest

NEIGHBOURS = (1, 2)
RATIO = 2  # the neighbour that the density ratio is read at
_LEAST = 1e-3  # a distance below this is a copy


def neighbour_features(real: Points, one: Points, two: Points) -> Array:
    """What neighbours tell of each real patient `[patient, 2 · neighbour]`.

    For k in 1, 2: log r_k(two) − log r_k(one), r_k the distance to the k-th nearest row of a synthetic
    table; then the same times the patient's remoteness, the standardised mean of log r_k over both tables. With equal
    tables of n rows in d dimensions the density at x is near k / (n c_d r_k^d), so that the first are log density
    ratios up to the factor d.

    **Source:** Loftsgaarden & Quesenberry 1965, Ann Math Statist 36:1049, doi 10.1214/aoms/1177700079.
    """
    most = max(NEIGHBOURS)
    places = [k - 1 for k in NEIGHBOURS]
    logs = [np.log(np.maximum(nearest(real, table, most)[0][:, places], _LEAST)) for table in (one, two)]
    ratio, level = logs[1] - logs[0], (logs[1] + logs[0]) / 2
    spread = level.std(0)
    remote = (level - level.mean(0)) / np.where(spread > 0, spread, 1.0)
    return np.concatenate((ratio, ratio * remote), axis=1)


def density_ratio(features: Array) -> Array:
    """The log density ratio `[…, patient]` at the second neighbour, of `neighbour_features` `[…, patient, feature]`."""
    return features[..., NEIGHBOURS.index(RATIO)]


class ShadowModel:
    """A logistic regression of membership on what neighbours tell, learned where membership is known.

        P(member of the first table) = 1 / (1 + exp(−w · f / s))

    with the features `f` scaled by their root mean squares `s`, no intercept (the features are antisymmetric) and a
    ridge penalty |w|² / 2. It learns on refits other than the one it is applied to, whose random halves are independent
    of those.

    **Source:** Shokri et al. 2017, IEEE Symposium on Security and Privacy, doi 10.1109/SP.2017.41 (shadow models);
    Stadler, Oprisanu & Troncoso 2022, USENIX Security 31:1451 (against synthetic data).
    """

    def __init__(self, features: Array, member: NDArray[np.bool_]):
        """`features` `[refit, patient, feature]`, `member` `[refit, patient]`: which patients the first table was made from."""
        from sklearn.linear_model import LogisticRegression

        x = features.reshape(-1, features.shape[-1])
        scale = np.sqrt((x**2).mean(0))
        self._scale = np.where(scale > 0, scale, 1.0)
        regression = LogisticRegression(fit_intercept=False, C=1.0, max_iter=1000)
        regression.fit(x / self._scale, member.ravel())
        self._weights = np.asarray(regression.coef_[0])

    def score(self, features: Array) -> Array:
        """The log odds of membership in the first table, `[…, patient]`."""
        return np.asarray((features / self._scale) @ self._weights)


def tracing_ratio(real: Points, one: Points, two: Points) -> Array:
    """The log odds `[patient]` of coming from the first synthetic table, by a classifier of the two tables' rows.

    Ridge logistic regression on all axes, the missing cells, and the products of every two axes (with C = 10⁻³ per
    standardised term): it sees means and pairwise dependence, which is what a copula fits.

    **Source:** Homer et al. 2008, PLoS Genetics 4:e1000167, doi 10.1371/journal.pgen.1000167; Dwork et al. 2015,
    FOCS, doi 10.1109/FOCS.2015.46 (tracing).
    """
    from sklearn.linear_model import LogisticRegression

    centre, spread = real.values.mean(0), real.values.std(0)
    tables = [_products(table, centre, np.where(spread > 0, spread, 1.0)) for table in (real, one, two)]
    middle, scale = tables[0].mean(0), tables[0].std(0)
    kept = scale > 1e-9
    patients, first, second = ((table[:, kept] - middle[kept]) / scale[kept] for table in tables)
    regression = LogisticRegression(C=1e-3, max_iter=200, tol=1e-3)
    regression.fit(np.concatenate((first, second)), np.repeat((1, 0), (len(first), len(second))))
    return np.asarray(regression.decision_function(patients))


def _products(points: Points, centre: Array, spread: Array) -> Array:
    """Axes, missing cells, and products of axes, `[patient, term]`."""
    z = (points.values - centre) / spread * points.known
    first, second = np.triu_indices(z.shape[1])
    return np.concatenate((z, 1.0 - points.known, z[:, first] * z[:, second]), axis=1)
