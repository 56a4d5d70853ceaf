"""From the `population.source` of a protocol to a fitted cohort, fitted once and then found in the cache."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from trialsim.cohort.fitted.cohort import FittedCohort
from trialsim.cohort.fitted.dependence import DEPENDENCES
from trialsim.cohort.fitted.storage import cache_file
from trialsim.cohort.fitted.table import Options, content_key, fit_table
from trialsim.data import PatientTable, load_card, read_table, shown_path
from trialsim.data.governance.consent import permitted
from trialsim.errors import DataError, NotSupportedError, Problem

if TYPE_CHECKING:
    from trialsim.cohort.population import DataSource


def fit_source(source: DataSource, directory: Path) -> FittedCohort:
    """The cohort model of a protocol's `population.source`; `directory` is the protocol's folder.

    Cached by the content of the data, which rows may be used today, the card, the options and the code under
    `$TRIALSIM_CACHE` (else `~/.cache/trialsim`). Raises DataError where the card is missing or permits no simulation
    (before the data are read for anything else), and where the data do not fit the protocol; it names files as they can
    be opened from here.
    """
    if source.model not in DEPENDENCES:
        raise NotSupportedError(f"population.source.model {source.model}")
    if source.card is None:
        raise DataError(Problem("has no card (population.source.card), so no model is fitted to it", file=shown_path(directory / source.data)))
    card_file, data_file = directory / source.card, directory / source.data
    card = load_card(card_file, shown=shown_path(card_file))
    card.require("simulate", file=shown_path(card_file))
    table = read_table(data_file, card, shown=shown_path(data_file))
    permission = permitted(table, "simulate", on=date.today(), card_file=shown_path(card_file))
    key = content_key(permission.apply(table), _options(source, permission.on))
    file = cache_file(hashlib.sha256(f"{key} {permission.sha256()}".encode()).hexdigest())
    if file.exists():
        try:
            return FittedCohort.load(file)
        except DataError:  # an unreadable cache entry is fitted anew
            file.unlink(missing_ok=True)
    cohort = fit_cohort(table, source)
    with suppress(OSError):  # a cache that cannot be written only costs the next run a fit
        cohort.save(file)
    return cohort


def fit_cohort(table: PatientTable, source: DataSource) -> FittedCohort:
    """The model of a table that a source asks for, of the rows whose arm is in `arms`. See `fit_table`."""
    options = _options(source, date.today())
    return fit_table(table, model=options.model, outcomes=options.outcomes, arm=options.arm, arms=options.arms, purpose="simulate", on=options.on)


def _options(source: DataSource, on: date) -> Options:
    return Options(model=source.model, outcomes=source.outcomes, arm=source.arm, arms=source.arms, purpose="simulate", on=on)
