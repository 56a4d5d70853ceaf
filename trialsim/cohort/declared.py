"""Cohorts of declared covariates: laws, and a Gaussian copula where they are correlated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.correlation import Correlation
from trialsim.cohort.laws import CovariateLaw
from trialsim.cohort.laws.lognormal import Lognormal
from trialsim.cohort.laws.normal import Normal
from trialsim.records import Cohort
from trialsim.rng import Block, Streams


class DeclaredCohort:
    """A cohort model from the laws of a protocol.

    Covariate j has its own stream `covariate/<id>`, with the attempt as its index. Uncorrelated, its value is the law's
    inverse CDF of that uniform. Correlated, the normal scores are z = L e with L the Cholesky factor of the correlation
    matrix (covariates in protocol order) and e the normals of the streams; then x = F⁻¹(Φ(z)).

    Scores are summed term by term, so that a patient's bits do not depend on the block.

    **Source:** Cario & Nelson 1997, Modeling and generating random vectors with arbitrary marginal distributions and
    correlation matrix (NORTA). `pairs` are correlations of scores, those of the values are then somewhat smaller; with `scale: values` they are
    correlations of the values.
    """

    def __init__(self, laws: Mapping[str, CovariateLaw], correlation: Correlation | None = None):
        self.laws = dict(laws)
        self.names = tuple(self.laws)
        self.levels = {name: law.levels for name, law in self.laws.items() if law.levels}
        self.units = {name: law.dimension for name, law in self.laws.items()}
        correlation = correlation.of_scores(self.laws) if correlation is not None else None
        pairs = correlation.pairs if correlation is not None else ()
        self._correlated = tuple(name for name in self.names if any(name in pair[:2] for pair in pairs))
        self._factor = (
            np.linalg.cholesky(correlation.matrix(self.names)[np.ix_(*[[self.names.index(c) for c in self._correlated]] * 2)])
            if correlation and self._correlated
            else None
        )

    def sample(self, streams: Streams, block: Block, n: int, *, attempt: int = 0) -> Cohort:
        """The baselines `[replicate, patient]` of patients 0..n-1 at this attempt."""
        scores = self._scores(streams, block, n, attempt)
        columns: dict[str, Float[Tensor, "replicate patient"]] = {}
        for name, law in self.laws.items():
            stream = streams(f"covariate/{name}")
            if name in scores:
                columns[name] = law.from_normal_score(scores[name])
            elif isinstance(law, Normal | Lognormal):
                columns[name] = law.from_normal_score(stream.normal(block, n, index=attempt))
            else:
                columns[name] = law.quantile(stream.uniform(block, n, index=attempt))
        return Cohort(columns=columns, levels=self.levels)

    def _scores(self, streams: Streams, block: Block, n: int, attempt: int) -> dict[str, Float[Tensor, "replicate patient"]]:
        if self._factor is None:
            return {}
        noise = [streams(f"covariate/{name}").normal(block, n, index=attempt) for name in self._correlated]
        scores: dict[str, Float[Tensor, "replicate patient"]] = {}
        for row, name in enumerate(self._correlated):
            total = noise[row] * float(self._factor[row, row])
            for column in range(row):
                weight = float(self._factor[row, column])
                if weight != 0.0:
                    total = torch.add(total, noise[column], alpha=weight)
            scores[name] = total
        return scores
