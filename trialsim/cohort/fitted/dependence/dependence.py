"""What varies between kinds of fitted cohort models: how the normal scores of a patient's columns go together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from trialsim.cohort.fitted.margins import Scores


class Dependence(Protocol):
    """A joint law of normal scores, one per column that has a margin, each standard normal by itself.

    Margins (`margins.py`) turn scores into values and back, so that a dependence never sees a value. It is fitted to
    `Scores`: exact, known up to an interval (a level, an atom), or missing.
    """

    kind: ClassVar[str]
    """Its name in `model:` and in files."""

    @property
    def n_factors(self) -> int:
        """How many normals it needs beside one per column; they come from the streams `covariate/factor.<m>`."""
        ...

    def mix(self, own: Sequence[Float[Tensor, "*shape"]], factors: Sequence[Float[Tensor, "*shape"]]) -> None:
        """Turns independent standard normals, one tensor per column, into scores, in place.

        A patient's bits depend only on their own numbers (elementwise sums in a fixed order; no matrix product whose last
        bits depend on the batch).
        """
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Its parameters, by name, for the file of the model."""
        ...

    def options(self) -> Mapping[str, Any]:
        """What else it needs to be read back, as JSON."""
        ...

    @classmethod
    def fit(cls, columns: Sequence[Scores], *, linked: Collection[tuple[int, int]] = (), like: Self | None = None) -> Self:
        """The dependence of columns given as scores. Deterministic where the process's random state is (`inference.isolated`).

        `linked` pairs (places in `columns`) have a direct link in their margins: their scores count as uncorrelated.
        `like` was fitted to other rows of the same columns: a start, which may save time and nothing else.
        """
        ...

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Self:
        """The dependence that `tensors` and `options` came from."""
        ...


@runtime_checkable
class Reducible(Protocol):
    """A dependence of which some columns can be left out, so that what nobody asks for is not drawn."""

    def marginal(self, kept: Sequence[int]) -> Dependence:
        """The dependence of the columns at these places, in this order."""
        ...
