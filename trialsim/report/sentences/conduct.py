"""How patients come in and how they are allocated."""

from __future__ import annotations

from trialsim.conduct import Accrual, Randomization
from trialsim.report.sentences.passage import Passage
from trialsim.report.wording import capital, count, listed, rate, time, value
from trialsim.spec.protocol import Protocol
from trialsim.units import shortest


def accrual_and_randomisation(protocol: Protocol) -> Passage:
    """Accrual, then allocation."""
    n = protocol.population.planned_enrollment if protocol.population else None
    return Passage.of(
        "Accrual and randomisation",
        [_accrual(protocol.accrual, n)] if protocol.accrual else [],
        [_randomisation(protocol.randomization, tuple(protocol.arms))] if protocol.randomization else [],
    )


def _accrual(accrual: Accrual, n: int | None) -> str:
    who = f"the {count(n, 'patient')}" if n else "patients"
    if accrual.uniform is not None:
        return capital(f"{who} are randomised at evenly spaced times over {time(accrual.uniform)}.")
    steps = accrual.pieces()
    if len(steps) == 1:
        return capital(f"{who} are randomised as a Poisson process of {rate(steps[0].value, 'patients')}.")
    said = [
        f"{rate(piece.value, 'patients')} until {time(piece.until)}{' after accrual opens' if i == 0 else ''}"
        for i, piece in enumerate(steps[:-1])
        if piece.until is not None
    ]
    last = f"{rate(steps[-1].value, 'patients')} from then on"
    return capital(f"{who} are randomised as a Poisson process of {listed([*said, last])}.")


def _randomisation(randomization: Randomization, arms: tuple[str, ...]) -> str:
    ratio = randomization.ratio or dict.fromkeys(arms, 1)
    names = [arm for arm in arms if arm in ratio]
    shares = f"{' : '.join(str(ratio[arm]) for arm in names)} to {listed(names)}"
    size = randomization.block_size
    if isinstance(size, list):
        blocks = f"blocks of {listed((shortest(item) for item in size), 'or')} patients, drawn at random"
    else:
        blocks = f"blocks of {count(size or 2 * sum(ratio[arm] for arm in names), 'patient')}"
    method = {
        "simple": "by simple randomisation",
        "permuted_block": f"in permuted {blocks}",
        "stratified_block": f"in permuted {blocks} within the strata of {listed(randomization.stratify_by or ())}",
        "minimization": f"by minimisation over {listed(randomization.stratify_by or ())}",
        "response_adaptive": "by response-adaptive randomisation",
    }[randomization.method]
    adaptive = f" The rule: {value(randomization.response_adaptive)}." if randomization.response_adaptive else ""
    return f"Patients are allocated {shares}, {method}.{adaptive}"
