"""Equal means at baseline: against the plain likelihood and closed forms; changes from baseline, same bits, failures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from witness import repeated_measures as witness

from trialsim.analysis.methods.clda import Clda
from trialsim.analysis.methods.mmrm import Mmrm
from trialsim.analysis.repeated_measures.contrasts import arm_at_visit, estimate_contrast
from trialsim.analysis.repeated_measures.fitting import fit_repeated_measures
from trialsim.records import VisitData


def _visits(*, replicates: int = 12, n: int = 40, visits: int = 2, missing: float = 0.15, columns: int = 0, seed: int = 0) -> VisitData:
    generator = torch.Generator().manual_seed(seed)
    patient, noise = (torch.randn((replicates, n, k), generator=generator, dtype=torch.float64) for k in (1, visits + 1))
    group = (torch.arange(n) % 2).to(torch.int8).expand(replicates, n).contiguous()
    value = patient + 0.7 * noise
    value[..., 1:] += 0.5 * group[..., None]
    gone = torch.rand(value.shape, generator=generator) < missing
    value[gone] = torch.nan
    covariates = torch.randn((replicates, n, columns), generator=generator, dtype=torch.float64) if columns else None
    return VisitData(value=value[..., 1:], baseline=value[..., 0], group=group, at=visits - 1, covariates=covariates)


@pytest.mark.parametrize("covariance", ["unstructured", "heterogeneous_toeplitz", "ar1"])
def test_it_is_the_witness_model_without_an_arm_at_baseline(covariance, method_of):
    data = _visits(columns=1, n=24)
    whole = torch.cat([data.baseline[..., None], data.value], dim=-1)
    row = 3
    patients = witness.patients_of(whole[row].numpy(), data.group[row].numpy(), data.covariates[row].numpy())
    # Columns of the witness: constant, covariate, arm, visits 1 and 2, arm at visits 1 and 2; the arm alone goes.
    patients = [(np.delete(x, 2, axis=1), y, seen) for x, y, seen in patients]
    theta = witness.maximise(covariance, 3, patients)
    expected = witness.contrast(theta, np.array([0, 0, 0, 0, 0, 1.0]), covariance, 3, patients)
    for df, name in (("satterthwaite", "std_error"), ("kenward_roger", "kenward_roger")):
        found = method_of(Clda, covariance=covariance, df=df).estimate(data, favours=1)
        assert found.estimate[row].item() == pytest.approx(expected["estimate"], rel=1e-6)
        assert found.std_error[row].item() == pytest.approx(expected[name], rel=1e-6)
        assert found.df[row].item() == pytest.approx(expected["df"], rel=1e-5)
    last = method_of(Clda, covariance=covariance, df="between_within").estimate(data, favours=1)
    n, values = len(patients), sum(len(y) for _, y, _ in patients)
    assert last.df[row].item() == values - n - 4  # 2 visits and 2 arms by visit are within patients


def test_complete_data_adjust_for_the_baseline(method_of):
    """Given Σ, the difference less Σ_t0 / Σ_00 times the difference at baseline."""
    data = _visits(missing=0.0)
    fit = fit_repeated_measures(data, constrained=True)
    of = [[part[:, data.group[0] == g].mean(1) for g in (0, 1)] for part in (data.baseline, data.value[..., 1])]
    slope = fit.sigma[:, 2, 0] / fit.sigma[:, 0, 0]
    expected = (of[1][1] - of[1][0]) - slope * (of[0][1] - of[0][0])
    torch.testing.assert_close(method_of(Clda).estimate(data, favours=1).estimate, expected, rtol=1e-10, atol=1e-12)


def test_changes_from_baseline_give_the_same_difference(method_of):
    data = _visits()
    known = ~torch.isnan(data.baseline)
    data = dataclasses.replace(data, value=torch.where(known[..., None], data.value, torch.nan))
    change = dataclasses.replace(data, value=data.value - data.baseline[..., None])
    one, other = (method_of(Clda).estimate(which, favours=1) for which in (data, change))
    for name in ("estimate", "std_error", "df"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-7, atol=1e-9)


def test_it_is_more_precise_than_ignoring_the_baseline(method_of):
    data = _visits(n=200)
    assert (method_of(Clda).estimate(data, favours=1).std_error < method_of(Mmrm).estimate(data, favours=1).std_error).all()


def test_arms_and_visits_are_named_with_the_baseline_first():
    fit = fit_repeated_measures(_visits(), constrained=True)
    assert fit.design.names == ("constant at visit 0", "constant at visit 1", "constant at visit 2", "arm 1 at visit 1", "arm 1 at visit 2")
    assert torch.equal(estimate_contrast(fit, arm_at_visit(fit, 2)).estimate, fit.beta[:, 4])


def test_numbers_do_not_depend_on_the_block(assert_same_bits, method_of):
    assert_same_bits(method_of(Clda, df="kenward_roger"), _visits(replicates=15, columns=1))


def test_a_replicate_that_cannot_be_analysed_says_why(method_of):
    data = _visits(replicates=4)
    data.value[1, data.group[1] == 1, 1] = torch.nan
    data.baseline[2] = torch.nan
    found = method_of(Clda).estimate(data, favours=1)
    assert found.failure.tolist() == [0, 8, 8, 0]
    with pytest.raises(ValueError, match="needs the baseline"):
        method_of(Clda).estimate(dataclasses.replace(data, baseline=None), favours=1)
