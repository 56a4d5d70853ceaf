"""Outcomes drawn from the model of ACTG175, against those of the real trial: distributions, curves, and effects by subgroup."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from scipy import stats

from trialsim.cohort.fitted.table import fit_table
from trialsim.cohort.population import EventColumns, ValueColumns
from trialsim.data import load_card, read_table

TRIALS = Path(__file__).parents[2] / "trials"
N = 200_000
VALUES = ("cd420", "cd496", "cd820")
AFTER = {*VALUES, "days", "cens", "treat", "arms", "offtrt", "r"}


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    real = read_table(TRIALS / "data" / "actg175.csv", load_card(TRIALS / "data" / "actg175.card.yaml"))
    outcomes = {
        "event": EventColumns(time="days", event="cens"),
        "cd4": ValueColumns(columns={"baseline": "cd40", "w20": "cd420", "w96": "cd496"}),
        "cd8": ValueColumns(columns={"baseline": "cd80", "w20": "cd820"}),
    }
    model = fit_table(real, outcomes=outcomes, arm="treat", arms={"combination": 1, "zdv": 0}, randomised=True, on=date(2026, 1, 1))
    synthetic = model.synthesise(N, seed=4)
    return pd.DataFrame(dict(real.columns)), pd.DataFrame(dict(synthetic.columns))


def _log_hr(frame: pd.DataFrame) -> tuple[float, float]:
    cox = CoxPHFitter().fit(frame[["days", "cens", "treat"]], "days", "cens")
    return float(cox.params_["treat"]), float(cox.standard_errors_["treat"])


def _difference(frame: pd.DataFrame, name: str) -> tuple[float, float]:
    new, old = (frame.loc[frame["treat"] == arm, name].dropna() for arm in (1, 0))
    return float(new.mean() - old.mean()), float(np.sqrt(new.var() / len(new) + old.var() / len(old)))


def _subgroups(real: pd.DataFrame, synthetic: pd.DataFrame, fewest: int = 300):
    """Levels of stepped covariates, halves of smooth ones."""
    for name in real.columns.intersection(synthetic.columns):
        column = real[name]
        if name in AFTER or column.nunique() < 2:
            continue
        if column.nunique() <= 10:
            found = [(f"{name} = {level:g}", column == level, synthetic[name] == level) for level in np.unique(column)]
        else:
            middle = column.median()
            found = [(f"{name} ≤ {middle:g}", column <= middle, synthetic[name] <= middle), (f"{name} > {middle:g}", column > middle, synthetic[name] > middle)]
        yield from ((label, real[one], synthetic[two]) for label, one, two in found if one.sum() >= fewest)


@pytest.mark.slow
def test_distributions_in_every_arm(tables):
    """KS of every outcome in every arm, 12 of them; the p-values are of the real sample against an (almost) exact law.

    The law was fitted to the sample, so they are not too small; 0.01 / 12 is Bonferroni's.
    """
    real, synthetic = tables
    for arm in (0, 1):
        one, two = real[real["treat"] == arm], synthetic[synthetic["treat"] == arm]
        for name in VALUES:
            assert stats.ks_2samp(one[name].dropna(), two[name].dropna()).pvalue > 0.01 / 12, (arm, name)
        for event in (0, 1):
            assert stats.ks_2samp(one.loc[one["cens"] == event, "days"], two.loc[two["cens"] == event, "days"]).pvalue > 0.01 / 12, (arm, event)
        assert abs(one["cens"].mean() - two["cens"].mean()) < 3 * 0.5 / np.sqrt(len(one))
        assert abs(one["cd496"].isna().mean() - two["cd496"].isna().mean()) < 3 * 0.5 / np.sqrt(len(one))


@pytest.mark.slow
def test_curves_of_events_and_of_censoring(tables):
    """Kaplan–Meier and reverse Kaplan–Meier within 3 standard errors (Greenwood) of the real curve at 20 days."""
    real, synthetic = tables
    days = np.linspace(60, 1150, 20)
    for arm in (0, 1):
        for event in (1, 0):
            curves = []
            for frame in (real, synthetic):
                of = frame[frame["treat"] == arm]
                fitter = KaplanMeierFitter().fit(of["days"], of["cens"] == event)
                curves.append(fitter.survival_function_at_times(days).to_numpy())
                if frame is real:
                    band = fitter.confidence_interval_survival_function_
                    width = (band.iloc[:, 1] - band.iloc[:, 0]).to_numpy() / (2 * 1.96)
                    se = np.interp(days, band.index.to_numpy(), width)
            assert (np.abs(curves[0] - curves[1]) < 3 * np.maximum(se, 0.005)).all(), (arm, event)


@pytest.mark.slow
def test_effects_overall_early_late_and_in_subgroups(tables):
    """Log HR within 0.03 overall; within 2 SE of the real estimate, plus the synthetic table's own, in the rest."""
    real, synthetic = tables
    (truth, _), (found, _) = _log_hr(real), _log_hr(synthetic)
    assert abs(found - truth) <= 0.03
    middle = real.loc[real["cens"] == 1, "days"].median()
    for part in (
        lambda frame: frame.assign(cens=frame["cens"] * (frame["days"] <= middle), days=frame["days"].clip(upper=middle)),
        lambda frame: frame[frame["days"] > middle],
    ):
        (truth, se), (found, own) = _log_hr(part(real)), _log_hr(part(synthetic))
        assert abs(found - truth) <= 2 * np.hypot(se, own)
    for name in VALUES:
        (truth, se), (found, own) = _difference(real, name), _difference(synthetic, name)
        assert abs(found - truth) <= 2 * np.hypot(se, own)
    for label, one, two in _subgroups(real, synthetic):
        (truth, se), (found, own) = _log_hr(one), _log_hr(two)
        assert abs(found - truth) <= 2 * np.hypot(se, own), label
        for name in VALUES:
            (truth, se), (found, own) = _difference(one, name), _difference(two, name)
            assert abs(found - truth) <= 2 * np.hypot(se, own), (label, name)


@pytest.mark.slow
def test_a_fall_in_cd4_raises_the_later_hazard(tables):
    """The Cox coefficient per 100 cells at week 20, given baseline and arm; independent outcomes would have 0."""
    found = []
    for frame in tables:
        of = frame[["days", "cens", "treat"]].assign(cd40=frame["cd40"] / 100, change=(frame["cd420"] - frame["cd40"]) / 100)
        cox = CoxPHFitter().fit(of.iloc[:40_000], "days", "cens")
        found.append((cox.params_["change"], cox.standard_errors_["change"]))
    assert found[0][0] < -0.7
    assert abs(found[1][0] - found[0][0]) < 2 * found[0][1]
