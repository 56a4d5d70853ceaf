"""Terms of a regression: splines, indicators, and their weighted sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trialsim.cohort.fitted.columns import Covariate
from trialsim.cohort.fitted.features import Term, design_matrix, terms_of, weigh
from trialsim.records import Cohort


def _smooth(name: str, column: np.ndarray) -> Covariate:
    return Covariate(name=name, kind="smooth", column=column, unit="", values=np.empty(0), levels=())


def _stepped(name: str, column: np.ndarray, n: int, levels: tuple[str, ...] = ()) -> Covariate:
    return Covariate(name=name, kind="stepped", column=column, unit="", values=np.arange(float(n)), levels=levels)


def test_a_bend_is_a_restricted_cubic_spline():
    """Zero up to its knot, linear beyond the last, cubic between with two continuous derivatives (Harrell 2015, 2.4.5)."""
    knots = (0.0, 1.0, 2.5, 4.0)
    term = Term("x", "bend", (knots[0], knots[2], knots[3], knots[3] - knots[0]), 0.0, 1.0)

    def f(x: float) -> float:
        return term.raw(torch.tensor([x], dtype=torch.float64)).item()

    assert f(-3.0) == f(0.0) == 0.0
    assert f(1.5) == pytest.approx(1.5**3 / 16)  # only the first hinge is active, over the squared range
    h = 1e-3
    for knot in (knots[0], knots[2], knots[3]):
        second = [(f(knot + s + h) - 2 * f(knot + s) + f(knot + s - h)) / h**2 for s in (-2 * h, 2 * h)]
        assert abs(second[0] - second[1]) < 0.05
    slopes = [f(x + 1) - f(x) for x in (4.0, 7.0, 20.0)]
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)


def test_terms_are_standardised_and_without_copies():
    rng = np.random.default_rng(1)
    x, sex, stage = rng.gamma(2, 1, 400), rng.integers(0, 2, 400).astype(float), rng.integers(0, 3, 400).astype(float)
    days = np.where(rng.random(400) < 0.3, 0.0, rng.gamma(2, 50, 400))
    covariates = [
        _smooth("x", x),
        _stepped("sex", sex, 2, ("f", "m")),
        _stepped("copy", 1 - sex, 2, ("m", "f")),
        _stepped("stage", stage, 3, ("I", "II", "III")),
        _smooth("days", days),
    ]
    columns = {covariate.name: covariate.column for covariate in covariates}
    terms = terms_of(covariates, columns)
    assert [(term.column, term.kind) for term in terms] == [
        *(("x", kind) for kind in ("linear", "bend", "bend")),
        ("sex", "linear"),
        *(("stage", "level") for _ in range(2)),
        *(("days", kind) for kind in ("linear", "above", "bend", "bend")),
    ]
    design = design_matrix(terms, columns)
    np.testing.assert_allclose(design.mean(0).numpy(), 0.0, atol=1e-9)
    np.testing.assert_allclose(design.std(0, correction=0).numpy(), 1.0, rtol=1e-9)
    weights = rng.normal(size=len(terms)).tolist()
    cohort = Cohort({name: torch.from_numpy(column).reshape(4, 100) for name, column in columns.items()})
    np.testing.assert_allclose(weigh(terms, weights, cohort).flatten().numpy(), design.numpy() @ np.array(weights), rtol=1e-9, atol=1e-9)


def test_terms_survive_json():
    term = Term("x", "bend", (0.1, 0.2, 0.3, 0.2), 0.5, 2.0)
    assert Term.from_json(term.as_json()) == term
