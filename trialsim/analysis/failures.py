"""Why a replicate cannot be analysed, as codes of `records.FAILURES`; kernels never raise."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trialsim.records import EventData

NO_EVENTS, NO_PATIENTS, NO_VARIANCE, SINGULAR, DID_NOT_CONVERGE, NO_EVENTS_IN_AN_ARM = (
    torch.tensor(code, dtype=torch.int8, device="cpu") for code in range(1, 7)
)
COMPLETE_SEPARATION = torch.tensor(7, dtype=torch.int8)
NO_VALUES_AT_VISIT = torch.tensor(8, dtype=torch.int8, device="cpu")
FOLLOW_UP_ENDS, NOT_REACHED = (torch.tensor(code, dtype=torch.int8, device="cpu") for code in (9, 10))


def event_failures(data: EventData) -> Int[Tensor, "replicate"]:
    """0, or: an arm without patients, no event, an arm without events. Of several arms, the two compared (groups 0 and 1)."""
    there = data.time >= 0
    test = there & (data.group == 1)
    reference = there & (data.group == 0)
    event = data.event & there
    failure = torch.where((event & test).any(-1) & (event & reference).any(-1), torch.zeros_like(NO_EVENTS), NO_EVENTS_IN_AN_ARM)
    failure = torch.where(event.any(-1), failure, NO_EVENTS)
    return torch.where(test.any(-1) & reference.any(-1), failure, NO_PATIENTS)


def empty_arm(data: EventData) -> Int[Tensor, "replicate"]:
    """0, or: no patients in one of the two arms compared."""
    there = data.time >= 0
    both = (there & (data.group == 1)).any(-1) & (there & (data.group == 0)).any(-1)
    return torch.where(both, torch.zeros_like(NO_PATIENTS), NO_PATIENTS)


def complete_cases(covariates: Float[Tensor, "replicate patient covariate"] | None) -> Bool[Tensor, "replicate patient"] | None:
    """Patients without a missing covariate; None when there are no covariates."""
    return None if covariates is None else ~torch.isnan(covariates).any(-1)


def fail(failure: Int[Tensor, "replicate"], *numbers: Float[Tensor, "replicate"]) -> tuple[Float[Tensor, "replicate"], ...]:
    """The numbers, NaN where the analysis failed."""
    failed = failure != 0
    return tuple(torch.where(failed, torch.nan, number) for number in numbers)
