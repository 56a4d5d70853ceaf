"""Ratio names the arms exactly, blocks fit the ratio, strata are categories."""

from __future__ import annotations

from collections.abc import Iterator

from trialsim.conduct import Randomization
from trialsim.spec.names import Names, is_not
from trialsim.spec.nodes import Found
from trialsim.spec.protocol import Protocol

SECTION = "randomization"


def check(protocol: Protocol, names: Names) -> Iterator[Found]:
    rule = protocol.randomization
    if rule is None:
        return
    yield from _ratio(rule, names)
    yield from _blocks(rule, names)
    strata = rule.stratify_by or []
    for index, covariate in enumerate(strata):
        if names.covariates is not None and covariate not in names.covariates:
            yield Found((SECTION, "stratify_by", index), is_not(covariate, "a covariate", names.covariates, "covariates"))
        elif covariate in names.units and covariate not in names.levels:
            yield Found((SECTION, "stratify_by", index), f'"{covariate}" is a number and has no levels to stratify by')
        elif covariate in strata[:index]:
            yield Found((SECTION, "stratify_by", index), f'"{covariate}" is named twice')
    if rule.method in ("stratified_block", "minimization") and not strata:
        yield Found((SECTION, "stratify_by"), f"missing; {rule.method} needs the covariates it balances")
    if strata and rule.method in ("simple", "permuted_block"):
        yield Found((SECTION, "stratify_by"), f"{rule.method} does not stratify; write method: stratified_block", on_key=True)
    if rule.response_adaptive is not None and rule.method != "response_adaptive":
        yield Found((SECTION, "response_adaptive"), "belongs to method: response_adaptive", on_key=True)


def _ratio(rule: Randomization, names: Names) -> Iterator[Found]:
    if rule.ratio is None:
        return
    for arm, share in rule.ratio.items():
        if arm not in names.arms:
            yield Found((SECTION, "ratio", arm), is_not(arm, "an arm", names.arms, "arms"), on_key=True)
        elif share < 1:
            yield Found((SECTION, "ratio", arm), f"{share} would leave the arm without patients; the ratio is a whole number from 1")
    for arm in names.arms:
        if arm not in rule.ratio:
            yield Found((SECTION, "ratio"), f'arm "{arm}" is missing; the ratio names every arm')


def _blocks(rule: Randomization, names: Names) -> Iterator[Found]:
    if rule.block_size is None:
        return
    if rule.method in ("simple", "response_adaptive", "minimization"):
        yield Found((SECTION, "block_size"), f"{rule.method} has no blocks", on_key=True)
        return
    ratio = rule.ratio if rule.ratio is not None else dict.fromkeys(names.arms, 1)
    total = sum(ratio.values())
    sizes = rule.block_size if isinstance(rule.block_size, list) else [rule.block_size]
    if not sizes:
        yield Found((SECTION, "block_size"), "should not be empty")
    for index, size in enumerate(sizes):
        if total > 0 and (size < 1 or size % total):
            path = (SECTION, "block_size", index) if isinstance(rule.block_size, list) else (SECTION, "block_size")
            yield Found(path, f"{size} is not a multiple of {total}, the sum of the ratio")
