"""How a model was made: fits the same kind of model, with the same options, to other rows."""

from __future__ import annotations

from dataclasses import dataclass

from trialsim.cohort.fitted.cohort import FittedCohort
from trialsim.cohort.fitted.table import Options, fit_table
from trialsim.data import PatientTable
from trialsim.errors import DataError


@dataclass(frozen=True, slots=True)
class FittedRecipe:
    """Fits models like `model`. Every fit is a real one: margins, links, dependence and outcomes of the rows given.

    What is kept of `model` are its options, where its climbs start, and the scales of its outcomes' priors.
    """

    model: FittedCohort

    def fit(self, table: PatientTable) -> FittedCohort:
        """The model of these rows."""
        if "options" not in self.model.card:
            raise DataError("this model does not say how it was made; fit it anew with `trialsim cohort fit`")
        options = Options.from_json(self.model.card["options"])
        return fit_table(
            table,
            model=options.model,
            outcomes=options.outcomes,
            arm=options.arm,
            arms=options.arms,
            purpose=options.purpose,
            on=options.on,
            randomised=options.randomised,
            reference=options.reference,
            seed=options.seed,
            like=self.model,
        )
