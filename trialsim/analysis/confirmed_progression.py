"""When a patient first got worse by a threshold and stayed so: confirmed progression on a scale measured at visits.

A visit at time t is the onset of confirmed progression when the change from baseline there is at least the threshold in the
direction of worsening, so is the change at every later visit up to the first one at least `window` after t, and that
confirming visit was made. Missing visits are passed over: they neither confirm nor refute. The event time is the onset's
(`event_at: onset`) or that of the confirming visit (`event_at: confirmation`); who does not progress is censored at the last
visit with a value. A last visit that is bad enough but has no visit to confirm it is not an event.

Patients without a baseline, or without a value after it, are followed for no time (time 0, no event) if they have a baseline, and are not
in the analysis (time -1) if they have none.

**Source:** Kappos et al. 2018 (doi 10.1016/S0140-6736(18)30475-6), disability progression confirmed after three months in multiple sclerosis.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trialsim.records import EventData, VisitData


def confirmed_progression(
    data: VisitData,
    visit_time: Float[Tensor, "visit"] | Float[Tensor, "replicate patient visit"],
    *,
    threshold: float | Float[Tensor, "replicate patient"],
    window: float,
    worse: Literal["higher", "lower"] = "higher",
    event_at: Literal["onset", "confirmation"] = "onset",
) -> EventData:
    """Time to confirmed progression of every patient (days, as `visit_time` and `window`; visits in rising order, after baseline).

    `threshold` is a positive change, the same for all or each patient's own (as for scales whose step depends on the baseline).
    """
    assert data.baseline is not None, "progression is a change from baseline"
    when = visit_time.expand(data.value.shape)
    change = data.value - data.baseline[..., None]
    if worse == "lower":
        change = -change
    limit = threshold[..., None] if isinstance(threshold, Tensor) else threshold
    seen = ~torch.isnan(change)
    bad = seen & (change >= limit)
    onset, confirmation = _confirmed(seen, bad, when, window)
    last = torch.where(seen, when, 0.0).amax(-1)
    first = (onset if event_at == "onset" else confirmation).amin(-1)
    event = torch.isfinite(first)
    time = torch.where(torch.isnan(data.baseline), -1.0, torch.where(event, first, last))
    return EventData(
        time=time,
        event=event & (time >= 0),
        group=data.group,
        stratum=data.stratum,
        n_strata=data.n_strata,
        covariates=data.covariates,
        n_groups=data.n_groups,
    )


def _confirmed(seen: Bool[Tensor, "*b visit"], bad: Bool[Tensor, "*b visit"], when: Float[Tensor, "*b visit"], window: float) -> tuple[Tensor, Tensor]:
    """Onset and confirmation time at every visit that is the onset of confirmed progression, infinite at the others."""
    n_visits = seen.shape[-1]
    onset, confirmation = torch.full_like(when, torch.inf), torch.full_like(when, torch.inf)
    for v in range(n_visits):
        sustained, confirmed_at = bad[..., v], torch.full_like(when[..., v], torch.inf)
        for later in range(v + 1, n_visits):
            open_yet = torch.isinf(confirmed_at)
            sustained = sustained & (~open_yet | bad[..., later] | ~seen[..., later])
            confirms = open_yet & sustained & bad[..., later] & (when[..., later] - when[..., v] >= window)
            confirmed_at = torch.where(confirms, when[..., later], confirmed_at)
        holds = sustained & torch.isfinite(confirmed_at)
        onset[..., v] = torch.where(holds, when[..., v], torch.inf)
        confirmation[..., v] = torch.where(holds, confirmed_at, torch.inf)
    return onset, confirmation
