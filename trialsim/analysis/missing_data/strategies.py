"""What a patient is expected to do after leaving, by strategy: the mean the missing values are imputed around.

With m(a) the patient's mean at the visits under arm a (own arm a, reference 0) and d the first visit after the last value,

    mar                         m(a)
    jump_to_reference           m(a) before d, m(0) from d on
    copy_reference              m(0)
    copy_increments             m(a) before d, m(a)_{d-1} + m(0) - m(0)_{d-1} from d on (m(0) when d is the first visit)
    last_mean_carried_forward   m(a) before d, m(a)_{d-1} from d on (m(a)_0 when d is the first visit).

The values are then normal around that mean with the common covariance, given what was seen. Patients of the reference
arm are their own reference: every strategy but the last is missing at random for them.

**Source:** Carpenter, Roger & Kenward 2013 (doi 10.1080/10543406.2013.834911).
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Strategy = Literal["mar", "jump_to_reference", "copy_reference", "copy_increments", "last_mean_carried_forward"]


def expected(
    strategy: Strategy, own: list[Float[Tensor, "row draw patient"]], reference: list[Float[Tensor, "row draw patient"]], leaves: Int[Tensor, "row patient"]
) -> list[Float[Tensor, "row draw patient"]]:
    """The mean at every visit. `leaves` is the first visit after the last value (the number of visits: never left)."""
    if strategy == "mar":
        return own
    if strategy == "copy_reference":
        # Those who never left keep their own mean: nothing of theirs is imputed by reference.
        stays = (leaves == len(own))[:, None]
        return [torch.where(stays, mine, theirs) for mine, theirs in zip(own, reference, strict=True)]
    found: list[Tensor] = []
    for visit, (mine, theirs) in enumerate(zip(own, reference, strict=True)):
        gone: Bool[Tensor, "row 1 patient"] = (leaves <= visit)[:, None]
        if strategy == "jump_to_reference":
            after = theirs
        elif strategy == "copy_increments":
            after = theirs if visit == 0 else found[-1] + theirs - reference[visit - 1]
        else:
            after = mine if visit == 0 else found[-1]
        found.append(torch.where(gone, after, mine))
    return found
