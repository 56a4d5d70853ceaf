"""The maximum, its inference and the sandwich against a plain likelihood, statsmodels and closed forms; leaving patients out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from witness import repeated_measures as witness

from trialsim.analysis.repeated_measures.contrasts import arm_at_visit, estimate_contrast
from trialsim.analysis.repeated_measures.covariance import FAMILIES, Structure
from trialsim.analysis.repeated_measures.fitting import fit_repeated_measures, leave_one_out
from trialsim.analysis.repeated_measures.likelihood import evaluate


def _patients(data, *, by_visit: bool = False) -> list:
    covariates = None if data.covariates is None else data.covariates[0].numpy()
    return witness.patients_of(data.value[0].numpy(), data.group[0].numpy(), covariates, by_visit=by_visit, n_groups=data.n_groups)


def _c(n_visits: int, columns: int, *, by_visit: bool, arms: int = 2) -> np.ndarray:
    """Arm 1 at the last visit in the witness's coding."""
    others = (arms - 1) + (n_visits - 1) + (columns * (n_visits - 1) if by_visit else 0)
    c = np.zeros(1 + columns + others + (arms - 1) * (n_visits - 1))
    c[1 + columns] = 1.0
    if n_visits > 1:
        c[1 + columns + others + n_visits - 2] = 1.0
    return c


@pytest.mark.parametrize("covariance", FAMILIES)
@pytest.mark.parametrize("monotone", [True, False])
def test_fit_is_the_witness_maximum(covariance, monotone, simulated_visits, replicate_of):
    data = replicate_of(simulated_visits(n=24, columns=1, monotone=monotone, missing=0.2, seed=3), 5)
    by_visit = monotone
    fit = fit_repeated_measures(data, covariance=covariance, covariate_by_visit=by_visit)
    patients = _patients(data, by_visit=by_visit)
    theta = fit.theta[:, 0].numpy()
    np.testing.assert_allclose(witness.sigma_of(theta, covariance, 3), fit.sigma[0], rtol=1e-12)
    assert fit.log_likelihood.item() == pytest.approx(-0.5 * witness.deviance(theta, covariance, 3, patients), rel=1e-12)
    search = witness.maximise(covariance, 3, patients)
    np.testing.assert_allclose(theta, search, rtol=1e-5, atol=1e-7)
    found = estimate_contrast(fit, arm_at_visit(fit, 2))
    adjusted = estimate_contrast(fit, arm_at_visit(fit, 2), df="kenward_roger")
    linear = estimate_contrast(fit, arm_at_visit(fit, 2), df="kenward_roger_linear")
    expected = witness.contrast(theta, _c(3, 1, by_visit=by_visit), covariance, 3, patients)
    assert found.estimate.item() == pytest.approx(expected["estimate"], rel=1e-9)
    assert found.std_error.item() == pytest.approx(expected["std_error"], rel=1e-9)
    assert found.df.item() == adjusted.df.item() == pytest.approx(expected["df"], rel=1e-6)
    assert adjusted.std_error.item() == pytest.approx(expected["kenward_roger"], rel=1e-7)
    assert linear.std_error.item() == pytest.approx(expected["kenward_roger_linear"], rel=1e-7)


def test_maximum_likelihood(simulated_visits, replicate_of):
    data = replicate_of(simulated_visits(n=20, columns=1, monotone=False, seed=4), 2)
    fit = fit_repeated_measures(data, reml=False)
    patients = _patients(data)
    theta = fit.theta[:, 0].numpy()
    search = witness.maximise("unstructured", 3, patients, reml=False)
    np.testing.assert_allclose(theta, search, rtol=1e-5, atol=1e-7)
    assert fit.log_likelihood.item() == pytest.approx(-0.5 * witness.deviance(theta, "unstructured", 3, patients, reml=False), rel=1e-12)
    expected = witness.contrast(theta, _c(3, 1, by_visit=False), "unstructured", 3, patients, reml=False)
    found = estimate_contrast(fit, arm_at_visit(fit, 2))
    assert found.df.item() == pytest.approx(expected["df"], rel=1e-6)
    assert found.std_error.item() == pytest.approx(expected["std_error"], rel=1e-9)


@pytest.mark.parametrize("kind", ["empirical", "bias_reduced", "jackknife"])
def test_sandwich(kind, simulated_visits, replicate_of):
    data = replicate_of(simulated_visits(n=30, columns=2, monotone=False, seed=5), 1)
    fit = fit_repeated_measures(data, covariance="heterogeneous_ar1")
    found = estimate_contrast(fit, arm_at_visit(fit, 2), robust=kind)
    std_error, df = witness.sandwich(fit.theta[:, 0].numpy(), _c(3, 2, by_visit=False), "heterogeneous_ar1", 3, _patients(data), kind)
    assert found.std_error.item() == pytest.approx(std_error, rel=1e-10)
    assert found.df.item() == pytest.approx(df, rel=1e-9)


def test_compound_symmetry_is_the_random_intercept_of_statsmodels(simulated_visits, replicate_of):
    data = replicate_of(simulated_visits(n=60, columns=1, monotone=False, seed=6), 0)
    fit = fit_repeated_measures(data, covariance="compound_symmetry")
    patients = _patients(data)
    x, y = np.concatenate([p[0] for p in patients]), np.concatenate([p[1] for p in patients])
    model = sm.MixedLM(y, x, groups=np.repeat(np.arange(len(patients)), [len(p[1]) for p in patients]))
    found = model.fit(reml=True, gtol=1e-10)
    # Its constant leaves out p/2 log 2π and has log|X'X|/2 more.
    assert fit.sigma[0, 0, 1].item() == pytest.approx(float(found.cov_re[0, 0]), rel=1e-4)
    assert fit.sigma[0, 0, 0].item() == pytest.approx(float(found.cov_re[0, 0]) + found.scale, rel=1e-4)
    c = _c(3, 1, by_visit=False)
    ours = estimate_contrast(fit, arm_at_visit(fit, 2))
    assert ours.estimate.item() == pytest.approx(float(c @ found.fe_params), rel=1e-5)
    assert ours.std_error.item() == pytest.approx(float((c @ found.cov_params()[: len(c), : len(c)] @ c) ** 0.5), rel=1e-4)


def test_complete_data_have_a_closed_form(simulated_visits):
    """Without covariates and missing values: means, the pooled covariance matrix, a t test with n - 2 degrees of freedom."""
    data = simulated_visits(n=30, missing=0.0, seed=7)
    fit = fit_repeated_measures(data)
    for row in range(len(data.value)):
        one, other = (data.value[row][data.group[row] == g].numpy() for g in (0, 1))
        pooled = (14 * np.cov(one.T) + 14 * np.cov(other.T)) / 28
        np.testing.assert_allclose(fit.sigma[row], pooled, rtol=1e-9, atol=1e-10)
        for df in ("satterthwaite", "kenward_roger_linear"):
            found = estimate_contrast(fit, arm_at_visit(fit, 1), df=df)
            assert found.estimate[row].item() == pytest.approx(other[:, 1].mean() - one[:, 1].mean(), rel=1e-12)
            assert found.std_error[row].item() == pytest.approx((pooled[1, 1] * 2 / 15) ** 0.5, rel=1e-9)
            assert found.df[row].item() == pytest.approx(28.0, rel=1e-8)


def test_three_arms_and_three_visits(simulated_visits, replicate_of):
    data = replicate_of(simulated_visits(n=45, arms=3, seed=8), 0)
    fit = fit_repeated_measures(data, covariance="ar1")
    patients = _patients(data)
    expected = witness.contrast(fit.theta[:, 0].numpy(), _c(3, 0, by_visit=False, arms=3), "ar1", 3, patients)
    found = estimate_contrast(fit, arm_at_visit(fit, 2))
    assert found.df.item() == pytest.approx(expected["df"], rel=1e-6)
    assert found.std_error.item() == pytest.approx(expected["std_error"], rel=1e-9)


def test_gradient_and_hessian_are_derivatives_of_the_likelihood(simulated_visits, replicate_of):
    data = replicate_of(simulated_visits(n=18, columns=1, monotone=False, seed=9), 0)
    patients = _patients(data)
    for name in FAMILIES:
        fit = fit_repeated_measures(data, covariance=name)
        theta = fit.theta + 0.1  # away from the maximum
        point = evaluate(theta, fit.sums, fit.structure, fit.kept, reml=True, exact=True)

        def f(t, name=name):
            return witness.deviance(t, name, 3, patients)

        np.testing.assert_allclose(point.gradient[:, 0], witness.gradient(f, theta[:, 0].numpy()), rtol=1e-7, atol=1e-6)
        np.testing.assert_allclose(point.hessian[..., 0], witness.hessian(f, theta[:, 0].numpy()), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_structure_is_found_again_from_its_matrix(name):
    structure = Structure(name, 5)
    generator = torch.Generator().manual_seed(1)
    theta = 0.3 * torch.rand((structure.n_parameters, 4), generator=generator, dtype=torch.float64)
    covariance = structure.at(theta)
    torch.testing.assert_close(structure.start(covariance.sigma), theta, rtol=1e-9, atol=1e-9)
    for row in range(4):
        np.testing.assert_allclose(covariance.sigma[..., row], witness.sigma_of(theta[:, row].numpy(), name, 5), rtol=1e-12)


def test_second_derivatives_of_a_structure():
    generator = torch.Generator().manual_seed(2)
    for name in FAMILIES:
        structure = Structure(name, 4)
        theta = torch.randn((structure.n_parameters, 1), generator=generator, dtype=torch.float64) * 0.3
        weight = torch.randn((structure.n_parameters, structure.n_parameters, 1), generator=generator, dtype=torch.float64)
        weight = weight + weight.transpose(0, 1)
        second = witness.gradient(lambda t, name=name: witness.gradient(lambda u: witness.sigma_of(u, name, 4), t, 1e-2), theta[:, 0].numpy(), 1e-2)
        covariance = structure.at(theta)
        expected = np.einsum("rs,rsij->ij", weight[..., 0].numpy(), second)
        np.testing.assert_allclose(covariance.curvature(weight)[..., 0], expected, rtol=1e-6, atol=1e-6)
        pull = torch.randn((4, 4, 1), generator=generator, dtype=torch.float64)
        pull = pull + pull.transpose(0, 1)
        expected = np.einsum("ij,rsij->rs", pull[..., 0].numpy(), second)
        np.testing.assert_allclose(covariance.second_along(pull)[..., 0], expected, rtol=1e-6, atol=1e-6)


def test_leaving_patients_out(simulated_visits, replicate_of):
    data = simulated_visits(replicates=3, n=20, columns=1, monotone=False, seed=10)
    data.value[1, 4] = torch.nan  # a patient who is not in the analysis
    fit = fit_repeated_measures(data)
    each = leave_one_out(fit)
    assert each.beta.shape == (60, fit.design.n_columns)
    weight = 1.0 - torch.eye(20, dtype=torch.float64)
    for row in range(3):
        again = fit_repeated_measures(replicate_of(data, row), weight=weight)
        mine = slice(20 * row, 20 * (row + 1))
        torch.testing.assert_close(each.beta[mine], again.beta, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(each.sigma[mine], again.sigma, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(each.beta_covariance[mine], again.beta_covariance, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(each.beta[24], fit.beta[1], rtol=1e-10, atol=1e-11)


def test_large_offsets_and_scales_do_not_cost_digits(simulated_visits):
    data = simulated_visits(replicates=4, columns=2, monotone=False, seed=11)
    far = dataclasses.replace(data, value=1e-3 * data.value + 1e3, covariates=1e4 * data.covariates + 1e6)
    for by_visit in (False, True):
        near, moved = (fit_repeated_measures(one, covariate_by_visit=by_visit) for one in (data, far))
        one, other = (estimate_contrast(fit, arm_at_visit(fit, 2), df="kenward_roger") for fit in (near, moved))
        torch.testing.assert_close(other.estimate, 1e-3 * one.estimate, rtol=1e-6, atol=1e-10)
        torch.testing.assert_close(other.std_error, 1e-3 * one.std_error, rtol=1e-7, atol=0)
        torch.testing.assert_close(other.df, one.df, rtol=1e-6, atol=0)
        values = near.design.observed.sum((1, 2)) - near.design.n_columns
        shift = values * np.log(1e-3) + 2 * (3 if by_visit else 1) * np.log(1e4)
        torch.testing.assert_close(moved.log_likelihood, near.log_likelihood - shift, rtol=1e-7, atol=0)


def test_fitted_means_follow_the_coefficients(simulated_visits):
    data = simulated_visits(replicates=2, columns=1, arms=3, monotone=False, seed=12)
    fit = fit_repeated_measures(data)
    place = {name: k for k, name in enumerate(fit.design.names)}
    expected = fit.beta[1, place["constant at visit 2"]] + fit.beta[1, place["covariate 0"]] * data.covariates[1, 7, 0]
    assert data.group[1, 7] == 1
    own = expected + fit.beta[1, place["arm 1 at visit 2"]]
    assert fit.mean()[1, 7, 2].item() == pytest.approx(own.item(), rel=1e-12)
    assert fit.mean(group=0)[1, 7, 2].item() == pytest.approx(expected.item(), rel=1e-12)
    other = expected + fit.beta[1, place["arm 2 at visit 2"]]
    assert fit.mean(group=2)[1, 7, 2].item() == pytest.approx(other.item(), rel=1e-12)


def test_a_covariate_that_says_nothing_new_changes_nothing(simulated_visits):
    data = simulated_visits(replicates=3, columns=2, monotone=False, seed=13)
    extra = torch.cat([data.covariates, data.covariates.sum(-1, keepdim=True), torch.full((3, 60, 1), 0.1, dtype=torch.float64)], dim=-1)
    more = dataclasses.replace(data, covariates=extra)
    for by_visit in (False, True):
        plain, found = (fit_repeated_measures(one, covariate_by_visit=by_visit) for one in (data, more))
        for df in ("kenward_roger", "residual", "between_within"):
            one, other = (estimate_contrast(fit, arm_at_visit(fit, 2), df=df) for fit in (plain, found))
            torch.testing.assert_close(other.estimate, one.estimate, rtol=1e-9, atol=1e-10)
            torch.testing.assert_close(other.std_error, one.std_error, rtol=1e-9, atol=0)
            torch.testing.assert_close(other.df, one.df, rtol=1e-7, atol=0)
        torch.testing.assert_close(found.log_likelihood, plain.log_likelihood, rtol=1e-10, atol=0)


def test_many_replicates_are_fitted_some_at_a_time(simulated_visits):
    data = simulated_visits(replicates=300, n=24, columns=1, monotone=False, seed=14)
    data.value[7, data.group[7] == 1, 2] = torch.nan
    whole = fit_repeated_measures(data)
    some = dataclasses.replace(data, value=data.value[200:], group=data.group[200:], covariates=data.covariates[200:], baseline=None)
    part = fit_repeated_measures(some)
    for name in ("beta", "beta_covariance", "sigma", "log_likelihood", "failure"):
        assert torch.equal(getattr(whole, name)[200:], getattr(part, name)), name
    one, other = (estimate_contrast(fit, arm_at_visit(fit, 2), df="kenward_roger") for fit in (whole, part))
    assert torch.equal(one.std_error[200:], other.std_error)
    assert torch.equal(one.df[200:], other.df)
    assert whole.failure.nonzero().tolist() == [[7]]
