"""Treatment effects: how an arm changes an outcome, against the reference process.

An effect is constant, piecewise in time since randomisation, by the category of a baseline covariate, or (differences)
by visit. An arm without a declared effect on an outcome has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part
from trialsim.twins.parametrisation import check_pieces, listed
from trialsim.twins.prognosis import level_name
from trialsim.units import Duration, Number, Probability, Share

KINDS = ("hr", "or", "difference", "ratio", "rate_ratio", "p", "percent_slowing", "acceleration", "shift", "fitted")


class EffectPiece(Part):
    """A value and the time since randomisation at which it ends; the last piece has no end."""

    until: Duration | None = Field(None, description="Where the piece ends; absent in the last piece.")
    value: Number = Field(description="The effect in the piece.")


def _levels(given: Any) -> Any:
    return {level_name(level): value for level, value in given.items()} if isinstance(given, Mapping) else given


class CovariateValues(Part):
    """A value for each category of a baseline covariate; a patient with another or a missing value has no effect."""

    covariate: str = Field(description="The baseline covariate.")
    values: Annotated[dict[str, Number], BeforeValidator(_levels)] = Field(description="Category -> effect.")


class ByCovariate(Part):
    """`{by: {covariate: biomarker, values: {positive: 0.5, negative: 1.0}}}`."""

    by: CovariateValues = Field(description="The covariate and the effect in each of its categories.")


def _form(given: Any) -> str:
    if isinstance(given, list | tuple):
        return "pieces in time"
    if isinstance(given, ByCovariate) or (isinstance(given, Mapping) and "by" in given):
        return "categories"
    return "visit values" if isinstance(given, Mapping) else "constant"


def _ordered(pieces: tuple[EffectPiece, ...]) -> tuple[EffectPiece, ...]:
    check_pieces([piece.until for piece in pieces], "an effect")
    return pieces


Pieces = Annotated[tuple[EffectPiece, ...], AfterValidator(_ordered)]


def _no_visits(given: Any) -> Any:
    if _form(given) == "visit values":
        raise PydanticCustomError("effect", "{text}", {"text": "an effect is a number, pieces [{until, value}, …, {value}], or {by: {covariate, values}}"})
    return given


def values_of(profile: Any) -> tuple[float, ...]:
    """Every number of an effect, whatever its form."""
    if isinstance(profile, tuple):
        return tuple(piece.value for piece in profile)
    if isinstance(profile, ByCovariate):
        return tuple(profile.by.values.values())
    return tuple(profile.values()) if isinstance(profile, Mapping) else (float(profile),)


def _positive(profile: Any) -> Any:
    wrong = [value for value in values_of(profile) if not value > 0]
    if wrong:
        raise PydanticCustomError("effect", "a ratio must be positive; {value} given", {"value": f"{wrong[0]:g}"})
    return profile


Profile = Annotated[
    Annotated[Number, Tag("constant")] | Annotated[Pieces, Tag("pieces in time")] | Annotated[ByCovariate, Tag("categories")],
    Discriminator(_form),
    BeforeValidator(_no_visits),
]
"""A number, pieces in time, or by category."""
Ratio = Annotated[Profile, AfterValidator(_positive)]
"""A profile whose numbers are positive."""
Difference = Annotated[
    Annotated[Number, Tag("constant")]
    | Annotated[Pieces, Tag("pieces in time")]
    | Annotated[ByCovariate, Tag("categories")]
    | Annotated[dict[str, Number], Tag("visit values")],
    Discriminator(_form),
]
"""A profile, or visit -> number."""


class Effect(Part):
    """What an arm does to an outcome: exactly one kind of effect."""

    hr: Ratio | None = Field(None, description="Hazard ratio, conditional on the covariates.")
    odds_ratio: Ratio | None = Field(None, alias="or", description="Odds ratio.")
    difference: Difference | None = Field(None, description="Difference in the outcome's own unit: at every visit, or visit -> difference.")
    ratio: Ratio | None = Field(None, description="Ratio of means or of proportions.")
    rate_ratio: Ratio | None = Field(None, description="Ratio of event rates.")
    p: Probability | None = Field(None, description="The probability of a yes in this arm.")
    percent_slowing: Share | None = Field(None, description="By how much the slope is reduced (`30 %`).")
    onset: Duration | None = Field(None, description="When a slowing begins, in time since randomisation.")
    acceleration: Ratio | None = Field(None, description="By how much time to event is stretched (accelerated failure time).")
    shift: Profile | None = Field(None, description="A shift in the outcome's own unit at every visit; the same as a constant difference.")
    fitted: Number | None = Field(None, description="The fitted log effect (or difference) times this: 1 as estimated, 0 the null.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if self.value_of(kind) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "effect", "{text}", {"text": f"an effect needs exactly one of {listed(KINDS, 'or')}; {listed(given) + ' given' if given else 'none given'}"}
            )
        if self.onset is not None and given != ["percent_slowing"]:
            raise PydanticCustomError("effect", "{text}", {"text": f"onset belongs to percent_slowing; for {given[0]} write pieces in time"})
        return self

    def value_of(self, kind: str) -> Any:
        """What is declared under the key `kind` (None: nothing)."""
        return getattr(self, "odds_ratio" if kind == "or" else kind)

    @property
    def kind(self) -> str:
        """The key under which the effect is declared."""
        return next(kind for kind in KINDS if self.value_of(kind) is not None)

    @property
    def profile(self) -> Any:
        """The declared number, pieces, categories or visits."""
        return self.value_of(self.kind)

    def unsupported(self) -> Iterator[str]:
        if self.kind == "acceleration":
            yield f"an effect given as {self.kind}"
