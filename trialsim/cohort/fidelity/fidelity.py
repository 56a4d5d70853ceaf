"""Everything that is measured of how alike the tables are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trialsim.cohort.fidelity.classifier import ToldApart, classifier_auc
from trialsim.cohort.fidelity.dependence import Dependence, dependence
from trialsim.cohort.fidelity.margins import Margin, margin_distances
from trialsim.cohort.fidelity.missingness import Missingness, missingness
from trialsim.cohort.fidelity.side_by_side import SideBySide
from trialsim.cohort.fidelity.survival import SurvivalDistance, survival_distances
from trialsim.cohort.fidelity.utility import Utility, utilities


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The measures, in the order in which a reader wants them."""

    n_real: int
    n_synthetic: int
    margins: tuple[Margin, ...]
    dependence: Dependence
    missingness: Missingness
    survival: tuple[SurvivalDistance, ...]
    classifier: ToldApart
    utility: tuple[Utility, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "n_real": self.n_real,
            "n_synthetic": self.n_synthetic,
            "margins": [margin.as_json() for margin in self.margins],
            "correlations": self.dependence.as_json(),
            "missingness": self.missingness.as_json(),
            "survival": [distance.as_json() for distance in self.survival],
            "classifier": self.classifier.as_json(),
            "train_synthetic_test_real": [utility.as_json() for utility in self.utility],
        }


def measure_fidelity(pair: SideBySide, *, seed: int = 1, n_draws: int = 5) -> Fidelity:
    """Compares the tables. The synthetic one should be large; samples of the real size are taken from its head."""
    return Fidelity(
        n_real=pair.n_real,
        n_synthetic=pair.n_synthetic,
        margins=margin_distances(pair),
        dependence=dependence(pair),
        missingness=missingness(pair),
        survival=survival_distances(pair, seed=seed),
        classifier=classifier_auc(pair, n_draws=n_draws, seed=seed),
        utility=utilities(pair, n_draws=n_draws, seed=seed),
    )
