"""Every coefficient, contrast, covariance matrix and mean that R's mmrm, nlme and emmeans report for three trials.

At the covariance matrix that R reports all our numbers are R's, to the digits printed. R's optimisers stop a little before the
maximum: ours has the larger likelihood, and is as far from R's as that explains (3e-4 standard errors at most).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch

from trialsim.analysis.repeated_measures.contrasts import arm_at_visit, estimate_contrast
from trialsim.analysis.repeated_measures.fitting import Fit, fit_repeated_measures
from trialsim.analysis.repeated_measures.likelihood import evaluate
from trialsim.analysis.repeated_measures.marginal_means import marginal_means
from trialsim.analysis.repeated_measures.small_matrices import invert

ROWS = pd.read_csv(Path(__file__).parents[2] / "reference" / "repeated_measures.csv", keep_default_na=False, dtype={"term": str})
CASES = list(ROWS.case.unique())
COVARIATES = {"RACEBlack or African American": 0, "RACEWhite": 1, "SEXFemale": 2}
VISITS = {
    "fev_data": {"VIS1": 0, "VIS2": 1, "VIS3": 2, "VIS4": 3},
    "Orthodont": {"8": 0, "10": 1, "12": 2, "14": 3},
    "antidepressant": {"4": 0, "5": 1, "6": 2, "7": 3},
}


def test_all_cases_are_here() -> None:
    assert len(CASES) == 27
    assert len(ROWS) == 1672


def _case(case: str, trials) -> tuple[Fit, pd.DataFrame, dict]:
    rows = ROWS[ROWS.case == case]
    first = rows.iloc[0]
    by_visit = first.data == "antidepressant"
    fit = fit_repeated_measures(trials[first.data], covariance=first.covariance, reml=first.likelihood == "reml", covariate_by_visit=by_visit)
    return fit, rows, {"df": first.df, "robust": first.robust or None}


def _r_contrast(fit: Fit, term: str, visits: dict[str, int]) -> torch.Tensor:
    """The coefficient of R's coding (first visit and first arm as reference) as a contrast of ours."""
    contrast = torch.zeros(fit.design.n_columns, dtype=torch.float64)
    names = fit.design.names
    if term in COVARIATES:
        contrast[names.index(f"covariate {COVARIATES[term]}")] = 1.0
        return contrast
    of_arm = term.startswith(("ARMCD", "Sex"))
    factor = "arm 1" if of_arm else "constant"
    last = term.split(":")[-1].removeprefix("AVISIT").removeprefix("age")
    if last in visits:
        contrast[names.index(f"{factor} at visit {visits[last]}")] = 1.0
        contrast[names.index(f"{factor} at visit 0")] -= 1.0
    else:
        contrast[names.index(f"{factor} at visit 0")] = 1.0
    return contrast


def _sigma(rows: pd.DataFrame) -> torch.Tensor:
    """The covariance matrix R reports, [visit, visit, replicate]."""
    data = rows.iloc[0].data
    sigma = torch.zeros((4, 4, 1), dtype=torch.float64)
    for row in rows[rows.output == "varcor"].itertuples():
        a, b = (int(name) - 1 if data == "antidepressant" else VISITS[data][name] for name in row.term.split(":"))
        sigma[a, b] = sigma[b, a] = row.value
    assert (sigma != 0).all()
    return sigma


def _at(fit: Fit, sigma: torch.Tensor) -> Fit:
    """The same data at another covariance matrix."""
    theta = fit.structure.start(sigma)
    point = evaluate(theta, fit.sums, fit.structure, fit.kept, reml=fit.reml, exact=True)
    return dataclasses.replace(fit, theta=theta, point=point, theta_covariance=2.0 * invert(point.hessian)[0])


def _compare(fit: Fit, rows: pd.DataFrame, options: dict, *, estimate: float, other: float) -> int:
    """Checks estimates in standard errors, the rest relatively; returns how many numbers were compared."""
    visits = VISITS[rows.iloc[0].data]
    values = {(row.output, row.term): row.value for row in rows.itertuples()}
    asked = [(_r_contrast(fit, term, visits), *((name, term) for name in ("estimate", "se", "df"))) for name, term in values if name == "estimate"]
    asked += [(arm_at_visit(fit, visits[term]), *((name, term) for name in ("diff", "se", "df"))) for name, term in values if name == "diff"]
    if ("contrast", "est") in values:
        asked.append((arm_at_visit(fit, 3), *(("contrast", name) for name in ("est", "se", "df"))))
    compared = 0
    for contrast, *keys in asked:
        found = estimate_contrast(fit, contrast, **options)
        for number, key in zip((found.estimate, found.std_error, found.df), keys, strict=True):
            if key in values:
                tolerance = {"abs": estimate * values[keys[1]], "rel": 0} if key is keys[0] else {"rel": other}
                assert number.item() == pytest.approx(values[key], **tolerance), key
                compared += 1
    return compared


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("MM-034", "MM-042")])
def test_numbers_at_their_parameters(case, trials):
    fit, rows, options = _case(case, trials)
    compared = _compare(_at(fit, _sigma(rows)), rows, options, estimate=1e-8, other=2e-9)
    assert compared == {"fev_data": 36, "Orthodont": 24, "antidepressant": 12}[rows.iloc[0].data]


@pytest.mark.parametrize("case", [case for case in CASES if case != "MM-042"])
def test_our_maximum_is_theirs_or_larger(case, trials):
    fit, rows, options = _case(case, trials)
    assert fit.failure.item() == 0
    assert _compare(fit, rows, options, estimate=3e-4, other=2e-4) >= 12
    likelihood = next(row.value if row.output == "loglik" else -0.5 * row.value for row in rows.itertuples() if row.output in ("loglik", "minus2logLik"))
    assert likelihood - 6e-7 < fit.log_likelihood.item() < likelihood + 1e-5


def test_marginal_means_with_equal_weights(trials):
    fit, rows, _ = _case("MM-042", trials)
    at_theirs = _at(fit, _sigma(ROWS[ROWS.case == "MM-001"]))
    found = marginal_means(at_theirs, covariates=torch.tensor([[1 / 3, 1 / 3, 1 / 2]], dtype=torch.float64))
    assert len(rows) == 24
    for row in rows.itertuples():
        arm, visit = row.term.split(" ")
        place = (0, ["PBO", "TRT"].index(arm), VISITS["fev_data"][visit])
        number = {"emmean": found.mean, "se": found.std_error, "df": found.df}[row.output][place].item()
        assert number == pytest.approx(row.value, rel=5e-9)


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith(("-Sa", "-Ke"))])
def test_marginal_means_at_the_mean_over_rows(case, trials):
    fit, rows, options = _case(case, trials)
    found = marginal_means(_at(fit, _sigma(rows)), **options)
    rows = rows[rows.output.isin(["lsmean", "lsmean_se"])]
    assert len(rows) == 16
    for row in rows.itertuples():
        arm, visit = row.term.split(" ")
        number = (found.mean if row.output == "lsmean" else found.std_error)[0, ["PLACEBO", "DRUG"].index(arm), VISITS["antidepressant"][visit]]
        assert number.item() == pytest.approx(row.value, rel=2e-9)
