"""The check of a cohort model's disclosure: refits to halves of the data, attacks on them, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trialsim.cohort.disclosure.closeness import mean_of, more_than_chance, with_ratios
from trialsim.cohort.disclosure.disclosure import Disclosure, GroupAuc, MembershipAuc
from trialsim.cohort.disclosure.membership import GroupEstimates, group_estimates, stronger_scores
from trialsim.cohort.disclosure.rates import risk
from trialsim.cohort.disclosure.refit import Refit, refit
from trialsim.cohort.disclosure.space import is_category, labels_of
from trialsim.cohort.disclosure.verdict import CHANCE, LIMIT, patients_needed, reasons_for, verdict_of
from trialsim.cohort.disclosure.workers import Progress, one_thread, share_out
from trialsim.cohort.sampler import Recipe
from trialsim.data import PatientTable
from trialsim.errors import DataError, Problem, UsageError

Flags = NDArray[np.bool_]

FEWEST_REFITS = 4
SMALLEST_GROUP = 50


def check_disclosure(
    recipe: Recipe,
    table: PatientTable,
    *,
    refits: int = 20,
    seed: int = 1,
    workers: int = 1,
    subgroups: Mapping[str, Flags] | None = None,
    n_synthetic: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Disclosure:
    """Whether models made by `recipe` tell which patients they were fitted to.

    `refits` times the patients are split at random into halves A and B (each arm alike), the recipe is fitted to both,
    and a synthetic table is drawn from each. Two attacks score every real patient for having been in A and not in B:
    a density ratio by nearest neighbours, and a shadow model that learns on other refits what neighbours tell; A's
    patients are the members of the one model and the non-members of the other. The AUC of the stronger, averaged over
    refits, with intervals that hold simultaneously for all patients and for every subgroup, decides:

        fail          ci_low > 0.5 and estimate > 0.55, in all patients or in a subgroup
        pass          ci_high < 0.55 in all patients and in every subgroup
        inconclusive  else

    `subgroups` are rows `[patient]` of the table by name; None takes the levels of the arm and of every other column of
    categories modelled. Those of fewer than 50 patients are not judged. `n_synthetic` is the length of the synthetic
    tables (default: as many as the model was fitted to); a longer table tells more, so a release should not be longer
    than what was checked. `strict` lets the tracing attack, which looks at aggregates, take part in the gate: an honest
    model of p parameters fails that below some 30 p patients.

    What is checked is a model of half of the patients, which leaks more than one of them all. The result depends on the
    arguments but `workers` (processes, each of one thread; `recipe` must be picklable for more than one) and `progress`
    (called with the refits done and in all).

    Raises UsageError for fewer than 4 refits and for subgroups of another length; what the recipe raises comes as it is.
    Not handled: attackers with auxiliary data beyond the patient's own row, and models that are published whole.
    """
    _check_arguments(table, refits, workers, n_synthetic, subgroups)
    found = share_out(partial(_refit, recipe, table, seed, n_synthetic), refits, workers=workers, progress=progress)
    names = [name for name in found[0].modelled if all(name in each.modelled for each in found)]
    chosen = _discrete_levels(table, names) if subgroups is None else subgroups
    judged = _judged(chosen, table.n)
    with one_thread():
        scores, own, alike = _scores(found, strict=strict)
        groups = group_estimates(scores, np.stack([each.member for each in found]), judged, alike=alike)
    verdict = verdict_of(groups)
    needed = patients_needed(groups)
    hits = found[0].hits
    unique = {name: np.array([each.unique[name] for each in found]) for name in found[0].unique if all(name in each.unique for each in found)}
    return Disclosure(
        verdict=verdict,
        membership_auc=_membership(groups, own, refits),
        n_needed=needed,
        reasons=reasons_for(groups, verdict, needed),
        n_synthetic=found[0].n_synthetic,
        copies={"of_members": float(np.mean([each.copies[0] for each in found])), "expected": float(np.mean([each.copies[1] for each in found]))},
        distances=with_ratios(mean_of([side for each in found for side in each.distances])),
        unique_values={name: more_than_chance(counts) for name, counts in unique.items()},
        singling_out={kind: risk(*hits[f"singling_out/{kind}"]) for kind in ("univariate", "multivariate")},
        linkability=risk(*hits["linkability"]),
        attribute_inference={key.split("/", 1)[1]: risk(*pair) for key, pair in hits.items() if key.startswith("attribute_inference/")},
    )


def _refit(recipe: Recipe, table: PatientTable, seed: int, n_synthetic: int | None, index: int) -> Refit:
    return refit(recipe, table, index=index, seed=seed, n_synthetic=n_synthetic)


def _check_arguments(table: PatientTable, refits: int, workers: int, n_synthetic: int | None, subgroups: Mapping[str, Flags] | None) -> None:
    if refits < FEWEST_REFITS:
        raise UsageError(f"{refits} refits are too few to judge disclosure by; at least {FEWEST_REFITS} are needed (20 or more are meant)")
    if workers < 1:
        raise UsageError(f"workers: {workers}; at least 1 is needed")
    if n_synthetic is not None and n_synthetic < SMALLEST_GROUP:
        raise UsageError(f"n_synthetic: {n_synthetic}; at least {SMALLEST_GROUP} are needed")
    wrong = [name for name, rows in (subgroups or {}).items() if len(rows) != table.n]
    if wrong:
        raise UsageError(f'the subgroup "{wrong[0]}" has {len((subgroups or {})[wrong[0]])} flags for {table.n} patients')
    if table.n < 2 * SMALLEST_GROUP:
        raise DataError(Problem(f"{table.n} patients are too few to judge disclosure; at least {2 * SMALLEST_GROUP} are needed", file=table.file))


def _scores(found: Sequence[Refit], *, strict: bool) -> tuple[NDArray[np.float64], dict[str, float], float]:
    """See `stronger_scores`."""
    member, features, tracing = (np.stack([getattr(each, name) for each in found]) for name in ("member", "features", "tracing"))
    return stronger_scores(features, member, tracing=tracing, compete=strict)


def _membership(groups: GroupEstimates, own: Mapping[str, float], refits: int) -> MembershipAuc:
    rows = [
        GroupAuc(name, int(n), float(at), max(0.0, float(at - half)), min(1.0, float(at + half)))
        for name, n, at, half in zip(groups.names, groups.n, groups.estimate, groups.half_width, strict=True)
    ]
    worst = max(rows[1:], key=lambda row: (row.ci_low > CHANCE and row.estimate > LIMIT, row.ci_high), default=None)
    return MembershipAuc(
        estimate=rows[0].estimate,
        ci_low=rows[0].ci_low,
        ci_high=rows[0].ci_high,
        std_error=float(groups.std_error[0]),
        worst_subgroup=worst,
        subgroups=tuple(rows[1:]),
        attacks=dict(own),
        refits=refits,
    )


def _judged(groups: Mapping[str, Flags], n: int) -> dict[str, Flags]:
    """The groups of at least 50 patients, but not of all, and each set of patients once."""
    seen: dict[bytes, str] = {}
    flags = {name: np.asarray(rows, dtype=bool) for name, rows in groups.items()}
    for name, rows in flags.items():
        if SMALLEST_GROUP <= int(rows.sum()) < n:
            seen.setdefault(rows.tobytes(), name)
    return {name: flags[name] for name in seen.values()}


def _discrete_levels(table: PatientTable, names: Iterable[str]) -> dict[str, Flags]:
    """The rows of each level of the arm and of the columns of categories among `names`."""
    arms = [name for name, meaning in table.meaning.items() if meaning.role == "arm" and name in table.columns]
    chosen = dict.fromkeys([*arms, *names])
    return {
        f"{name} = {label}": table.columns[name] == code for name in chosen if is_category(table, name) for code, label in enumerate(labels_of(table, name))
    }
