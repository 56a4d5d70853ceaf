"""Private models: sensitivities on neighbouring data, the noise that is drawn, what is refused, and what is kept of the data."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from witness.samplers import trial

from trialsim.cohort.fitted import private
from trialsim.cohort.fitted.cohort import FittedCohort
from trialsim.cohort.fitted.privacy_ledger import Accountant, Noise
from trialsim.cohort.fitted.private import PrivateRecipe, _coded, fit_private
from trialsim.cohort.fitted.private_bounds import load_bounds
from trialsim.cohort.fitted.private_cells import Bounds, cell_scores, cells_of, number_cells, shares_of
from trialsim.cohort.fitted.private_law import Coded, nearest_correlation, release_law, worst_first
from trialsim.cohort.population import EventColumns, ValueColumns
from trialsim.data import Column, PatientTable
from trialsim.errors import DataError, NotSupportedError, UsageError

ON = date(2026, 11, 24)
BOUNDS = {"x": Bounds(-4, 4), "age": Bounds(18, 90, 1), "time": Bounds(0, 80), "value": Bounds(-5, 25)}
OUTCOMES = {"death": EventColumns(time="time", event="event"), "score": ValueColumns(columns={"after": "value"})}
ROLE = {"arm": "arm", "time": "outcome", "event": "outcome", "value": "outcome"}


def declared(n: int, *, seed: int, missing: float = 0.0) -> PatientTable:
    """A trial of the known law whose card describes its columns."""
    table = trial(n, seed=seed, missing=missing)
    columns = {name: Column(type=meaning.type, levels=meaning.levels, role=ROLE.get(name, "covariate")) for name, meaning in table.meaning.items()}  # type: ignore[arg-type]
    assert table.card is not None
    return replace(table, meaning=columns, card=table.card.model_copy(update={"columns": columns}))


def coded(table: PatientTable) -> Coded:
    return _coded(table, OUTCOMES, "arm", table.columns["arm"].astype(np.int64), 2, dict(BOUNDS), set())


class Recording(Accountant):
    """An accountant that keeps what it was asked to release, before noise, and answers with the noisy numbers of a first run."""

    def __init__(self, answers: list[np.ndarray] | None = None):
        super().__init__(1.0, 1e-6, Noise(3))
        self.exact: list[np.ndarray] = []
        self.answers = answers
        self.given: list[np.ndarray] = []

    def release(self, purpose, values, *, sensitivity, share):
        noisy = super().release(purpose, values, sensitivity=sensitivity, share=share)
        self.exact.append(values.copy())
        if self.answers is not None:
            noisy = self.answers[len(self.exact) - 1]
        self.given.append(noisy)
        return noisy


def test_no_neighbour_is_farther_than_the_stated_sensitivity():
    """One patient more or less, ordinary and extreme, given the same earlier releases: the distance of every release is within Δ."""
    table = declared(60, seed=1, missing=0.2)
    first = Recording()
    release_law(coded(table), first)
    extreme = {name: column.copy() for name, column in table.columns.items()}
    for row, side in ((0, 1e9), (1, -1e9)):
        for name in ("x", "age", "time", "value"):
            extreme[name][row] = side
    wild = replace(table, columns=extreme)
    base = Recording(first.given)
    release_law(coded(wild), base)
    closest = 0.0
    for gone in range(60):
        other = Recording(first.given)
        release_law(coded(wild.take(np.delete(np.arange(60), gone))), other)
        for release, one, two in zip(base.releases, base.exact, other.exact, strict=True):
            apart = float(np.sqrt(((one - two) ** 2).sum()))
            assert apart <= release.sensitivity * (1 + 1e-9), release.purpose
            closest = max(closest, apart / release.sensitivity)
    assert closest == pytest.approx(1.0)  # and counts reach it
    assert [release.purpose for release in base.releases] == [
        "counts of cells and arms",
        "counts of arm, time and event",
        "sums of values' scores by arm",
        "sums of products of scores",
    ]


def test_products_of_a_vector_are_as_long_as_stated():
    """‖(s_j s_k for j < k, s_j² / √2)‖ = ‖s‖² / √2 for every s."""
    rng = np.random.default_rng(2)
    for p in (2, 5, 30):
        first, second = np.triu_indices(p)
        for _ in range(20):
            s = rng.standard_normal(p) ** 3
            products = np.outer(s, s)[first, second] * np.where(first == second, math.sqrt(0.5), 1.0)
            assert np.linalg.norm(products) == pytest.approx(s @ s / math.sqrt(2))


def test_released_numbers_have_the_stated_noise():
    """SD of each release over 300 repeats against its σ, all numbers pooled, within 4 MCSE."""
    data = coded(declared(300, seed=4))
    noisy: list[list[np.ndarray]] = []
    releases = ()
    for repeat in range(300):
        accountant = Accountant(1.0, 1e-6, Noise(100 + repeat))
        kept = []
        give = accountant.release
        accountant.release = lambda *a, give=give, kept=kept, **k: kept.append(give(*a, **k)) or kept[-1]  # type: ignore[method-assign]
        release_law(data, accountant)
        noisy.append(kept)
        releases = accountant.releases
    for place in (0, 1):  # exact counts are the same in every repeat; later releases depend on earlier ones
        numbers = np.stack([kept[place] for kept in noisy])
        spread = math.sqrt((numbers.var(0, ddof=1)).mean())
        assert abs(spread / releases[place].sigma - 1) < 4 / math.sqrt(2 * 299 * numbers.shape[1])


def test_the_budget_is_spent_in_full_whatever_the_table_has():
    table = declared(200, seed=5)
    for outcomes, arm in ((OUTCOMES, "arm"), ({}, "arm"), ({}, None), ({"death": OUTCOMES["death"]}, None)):
        place = table.columns["arm"].astype(np.int64) if arm else np.zeros(200, dtype=np.int64)
        accountant = Accountant(3.0, 1e-6, Noise(1))
        release_law(_coded(table, outcomes, arm, place, 2 if arm else 1, dict(BOUNDS), set()), accountant)
        assert accountant.ledger().epsilon == pytest.approx(3.0, rel=1e-9)


def test_with_little_noise_the_law_is_that_of_the_data():
    """ε = 100 on 4,000 patients: shares, effects, events and correlations are the data's, and draws are the law's.

    Correlations are up to 0.07 low (0.545 for 0.6): shortened rows, and a first-order polyserial formula beside a pair
    that is bound by a rule (`high` is x > 0.5).
    """
    table = declared(4000, seed=6, missing=0.2)
    data = coded(table)
    law = release_law(data, Accountant(100.0, 1e-6, Noise(8)))
    assert law.n == pytest.approx(4000, abs=5)
    assert law.missing["value"] == pytest.approx(np.isnan(table.columns["value"]).mean(), abs=0.005)
    assert law.missing["x"] == 0.0
    np.testing.assert_allclose(law.shares["site"], np.bincount(table.columns["site"].astype(int)) / 4000, atol=0.003)
    names = [*data.cells, "death"]
    assert law.correlation[names.index("x"), names.index("age")] == pytest.approx(0.6, abs=0.07)
    arm, columns, events = law.draw(4000, np.random.default_rng(1))
    assert abs(arm.mean() - table.columns["arm"].mean()) < 0.002
    known = ~np.isnan(table.columns["value"])
    for values, whom in ((table.columns["value"][known], table.columns["arm"][known]), (columns["value"], arm)):
        values, whom = values[~np.isnan(values)], whom[~np.isnan(values)]
        assert values[whom == 1].mean() - values[whom == 0].mean() == pytest.approx(1.5, abs=0.3)
    for group in (0, 1):
        real = table.columns["arm"] == group
        drawn = arm == group
        assert events["death"][1][drawn].mean() == pytest.approx(table.columns["event"][real].mean(), abs=0.01)
        assert events["death"][0][drawn].mean() == pytest.approx(table.columns["time"][real].mean(), rel=0.03)
    assert spearmanr(columns["x"], events["death"][0]).statistic < -0.1  # x shortens life, as in the data
    assert columns["age"].min() >= 18
    assert (columns["age"] == np.round(columns["age"])).all()  # on the declared step


def test_cells_hold_every_value_and_give_values_back():
    rng = np.random.default_rng(9)
    for cells in (number_cells("a", Bounds(0, 10)), number_cells("a", Bounds(0, 5, 1)), number_cells("a", Bounds(-3, 90, 0.5))):
        column = np.concatenate((rng.uniform(-20, 120, 500), [np.nan, cells.edges[0, 0], cells.edges[-1, 1]]))
        places = cells.places(column)
        assert places[500] == cells.n
        known = ~np.isnan(column)
        inside = np.clip(column[known], cells.edges[0, 0], cells.edges[-1, 1])
        low, high = cells.edges[places[known]].T
        if cells.n > 6:
            assert ((inside >= low - 1e-12) & (inside <= high + 1e-12)).all()
            assert places[501] == 0
            assert places[502] == cells.n - 1
        again = cells.values(places[known], rng.random(known.sum()))
        width = max((cells.edges[:, 1] - cells.edges[:, 0]).max(), cells.step)
        assert np.abs(again - inside).max() <= width + cells.step + 1e-9
    binary = declared(10, seed=1)
    assert cells_of(binary, "sex", {}).n == 2  # type: ignore[union-attr]


def test_shares_are_the_nearest_ones():
    """The projection on the simplex satisfies its conditions: one shift for all that stay above 0."""
    rng = np.random.default_rng(10)
    counts = rng.normal(20, 30, 40)
    shares = shares_of(counts)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1.0)
    shift = counts / counts.sum() - shares
    assert np.ptp(shift[shares > 0]) < 1e-12
    assert (shift[shares == 0] <= shift[shares > 0].min() + 1e-12).all()
    np.testing.assert_array_equal(shares_of(np.array([-3.0, -1.0])), [0.5, 0.5])


def test_scores_are_means_of_a_normal_in_its_cells():
    z = np.sort(np.random.default_rng(11).standard_normal(1_000_000))
    cuts = np.array([0, 100_000, 550_000, 1_000_000])
    expected = [z[a:b].mean() for a, b in pairwise(cuts)]
    np.testing.assert_allclose(cell_scores(np.array([0.1, 0.45, 0.45])), expected, atol=4e-3)


def test_early_events_are_worst_and_late_censoring_is_best():
    order = worst_first(np.array([0.0, 10.0, 5.0, 10.0, 40.0, 5.0]))  # (censored, event) in three periods
    assert order.tolist() == [1, 3, 5, 0, 2, 4]


def test_the_nearest_correlation_matrix_is_highams():
    """Higham 2002, section 4: the matrix of ones beside −1 … his published answer to four figures."""
    given = np.array([[2.0, -1, 0, 0], [-1, 2, -1, 0], [0, -1, 2, -1], [0, 0, -1, 2]])
    expected = [[1.0, -0.8084, 0.1916, 0.1068], [-0.8084, 1.0, -0.6562, 0.1916], [0.1916, -0.6562, 1.0, -0.8084], [0.1068, 0.1916, -0.8084, 1.0]]
    np.testing.assert_allclose(nearest_correlation(given, least=0.0, steps=2000), expected, atol=1e-4)
    valid = np.array([[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(nearest_correlation(valid), valid, atol=1e-9)


def test_everything_undeclared_is_named_at_once():
    table = declared(200, seed=12)
    assert table.card is not None
    columns = {**table.card.columns, "site": Column(type="categorical")}
    table = replace(table, meaning={**table.meaning, "site": columns["site"]}, card=table.card.model_copy(update={"columns": columns}))
    with pytest.raises(DataError) as caught:
        fit_private(table, epsilon=1, delta=1e-6, bounds={"x": Bounds(3, -3), "agee": Bounds(0, 1)}, on=ON, outcomes=OUTCOMES, arm="arm")
    assert [str(problem) for problem in caught.value.problems] == [
        'made.csv  there is no column "agee"; did you mean "age"?',
        'made.csv  the bounds of "x" are not in order (3 to -3)',
        'made.csv  no bounds are declared for "age", and the range of the data is private',
        'made.csv  the card does not declare the levels of "site", and those found in the data are private',
        'made.csv  no bounds are declared for "value", and the range of the data is private',
        'made.csv  no bounds are declared for "time", and the range of the data is private',
    ]
    with pytest.raises(DataError, match='the card does not describe "arm"'):
        fit_private(trial(200, seed=1), epsilon=1, delta=1e-6, bounds=BOUNDS, on=ON, arm="arm")
    for arguments, message in (
        ({"epsilon": 0, "delta": 1e-6}, "epsilon: 0"),
        ({"epsilon": 1, "delta": 1}, "delta: 1"),
        ({"epsilon": np.nan, "delta": 0.1}, "epsilon"),
    ):
        with pytest.raises(UsageError, match=message):
            fit_private(table, bounds=BOUNDS, on=ON, **arguments)
    with pytest.raises(NotSupportedError, match="the model flow"):
        fit_private(table, epsilon=1, delta=1e-6, bounds=BOUNDS, on=ON, model="flow")


def test_the_whole_model_is_fitted_to_what_was_released(monkeypatch: pytest.MonkeyPatch):
    """The fit sees a drawn table and no row of the data; the card has the ledger; a seed is confessed."""
    table = declared(1500, seed=13)
    seen: list[PatientTable] = []
    real = private.fit_table
    monkeypatch.setattr(private, "fit_table", lambda given, **options: seen.append(given) or real(given, **options))
    fitted = fit_private(table, epsilon=10, delta=1e-6, bounds=BOUNDS, on=ON, outcomes=OUTCOMES, arm="arm", noise_seed=14)
    (drawn,) = seen
    assert drawn.n == pytest.approx(1500, abs=60)
    assert not np.isin(drawn.columns["x"], table.columns["x"]).any()
    privacy = fitted.card["privacy"]
    assert privacy["epsilon"] == pytest.approx(10)
    assert [row["numbers"] for row in privacy["releases"]][1] == 2 * (2 * 18 + 1)
    assert "not private" in privacy["noise"]
    assert fitted.card["data"]["sha256"] == table.sha256
    made = fitted.synthesise(3000, seed=1)
    assert set(fitted.modelled) == set(table.names)
    assert abs(np.nanmean(made.columns["x"])) < 0.2
    assert np.corrcoef(made.columns["x"], made.columns["age"])[0, 1] > 0.3
    recipe = PrivateRecipe.of(fitted)
    assert recipe == PrivateRecipe(10, 1e-6, BOUNDS, ON, OUTCOMES, "arm", {"0": 0, "1": 1})
    again = recipe.fit(table)
    assert isinstance(again, FittedCohort)
    assert "cryptographic" in again.card["privacy"]["noise"]
    assert again.id != fitted.id


def test_bounds_are_read_with_the_lines_of_what_is_wrong(tmp_path: Path):
    file = tmp_path / "bounds.yaml"
    file.write_text("age: [18, 90, 1]\nx: [-4, 4]\n")
    assert load_bounds(file) == {"age": Bounds(18, 90, 1), "x": Bounds(-4, 4)}
    file.write_text("age: [18]\nx: [4, -4]\ny: [0, yes]\n")
    with pytest.raises(DataError) as caught:
        load_bounds(file, shown="b.yaml")
    assert [str(problem) for problem in caught.value.problems] == [
        'b.yaml:1  the bounds of "age" are not [low, high] or [low, high, step]',
        'b.yaml:2  the bounds of "x" are not in order (4 to -4)',
        'b.yaml:3  the bounds of "y" are not [low, high] or [low, high, step]',
    ]
    for text, message in (("[1, 2]", "bounds are a map"), ("a: [1", "is not valid YAML")):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            load_bounds(file)
    with pytest.raises(DataError, match="there is no such file"):
        load_bounds(tmp_path / "none.yaml")
