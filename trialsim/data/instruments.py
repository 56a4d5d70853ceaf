"""Scored questionnaires: from the answers to items to one number per response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.parts import Part

Standard = Literal["phq9", "gad7", "eq5d5l"]

# The answers of PHQ-9 and GAD-7, LOINC answer list LL358-3.
_FREQUENCY = {"LA6568-5": 0.0, "LA6569-3": 1.0, "LA6570-1": 2.0, "LA6571-9": 3.0}

# PHQ-9: Kroenke, Spitzer and Williams 2001, doi 10.1046/j.1525-1497.2001.016009606.x. Items are LOINC codes of panel 44249-1, in
# order. GAD-7: Spitzer, Kroenke, Williams and Löwe 2006, doi 10.1001/archinte.166.10.1092; panel 69737-5. Both may be
# reproduced and used without permission (Pfizer). EQ-5D-5L: Herdman et al. 2011, doi 10.1007/s11136-011-9903-x; © EuroQol
# Research Foundation, whose licence its use needs; the level sum score and the profile need no value set (Devlin, Parkin
# and Janssen 2020, doi 10.1007/978-3-030-47622-9, chapter 2).
STANDARDS: Mapping[str, Mapping[str, Any]] = {
    "phq9": {
        "items": ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8"),
        "low": 0.0,
        "high": 3.0,
        "answers": _FREQUENCY,
    },
    "gad7": {
        "items": ("69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7"),
        "low": 0.0,
        "high": 3.0,
        "answers": _FREQUENCY,
    },
    "eq5d5l": {"items": ("mobility", "self-care", "usual-activities", "pain-discomfort", "anxiety-depression"), "low": 1.0, "high": 5.0, "profile": True},
}


class Instrument(Part):
    """A score of items that share a scale from `low` to `high`: their sum, or their mean.

    With m answered items of k, x_j reversed to low + high − x_j where item j is in `reverse`,

        mean = Σ_answered x_j / m,    sum = k · mean,

    and no score where m < `at_least` (absent: k, so that nothing is filled in). `at_least: 7` of nine items is the usual
    rule for PHQ-9. Known ones: `phq9`, `gad7` and `eq5d5l` (level sum score 5 to 25, and the profile as text).

    **Source:** see `STANDARDS`; person-mean substitution: Schafer and Graham 2002, doi 10.1037/1082-989X.7.2.147.
    Not handled: items on different scales, weights, sub-scales (declare one instrument each), utilities from value sets
    (EQ-5D, SF-6D), item response scores.
    """

    standard: Standard | None = Field(default=None, description="A known instrument, whose items, range and answers hold where they are not given here.")
    items: tuple[str, ...] = Field(min_length=1, description="The linkIds of its items in order (a leading `/` does not count).")
    low: float = Field(description="The lowest answer to an item.")
    high: float = Field(description="The highest answer to an item.")
    score: Literal["sum", "mean"] = Field(default="sum", description="The sum of the items, or their mean.")
    reverse: tuple[str, ...] = Field(default=(), description="The items that are counted the other way round.")
    at_least: int | None = Field(default=None, ge=1, description="How many items must be answered; the mean of those stands for the others. Absent: all.")
    answers: dict[str, float] = Field(default_factory=dict, description="Code of an answer → its number, for coded answers.")
    questionnaire: str | None = Field(default=None, description="The canonical URL of the questionnaire, if only its responses count.")
    profile: bool = Field(default=False, description="Whether the answers are kept as a row of digits too (11121).")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        standard = given.get("standard") if isinstance(given, Mapping) else None
        return {**STANDARDS[standard], **given} if isinstance(standard, str) and standard in STANDARDS else given

    @model_validator(mode="after")
    def _consistent(self) -> Instrument:
        if not self.low < self.high:
            raise PydanticCustomError("instrument", "`low` must be below `high`")
        if len({item.lstrip("/") for item in self.items}) < len(self.items):
            raise PydanticCustomError("instrument", "an item is given twice")
        unknown = [item for item in self.reverse if item not in self.items]
        if unknown:
            raise PydanticCustomError("instrument", 'the reversed item "{item}" is none of the items', {"item": unknown[0]})
        if self.at_least is not None and self.at_least > len(self.items):
            raise PydanticCustomError("instrument", "`at_least` is {n}, but there are {k} items", {"n": self.at_least, "k": len(self.items)})
        outside = [code for code, value in self.answers.items() if not self.low <= value <= self.high]
        if outside:
            raise PydanticCustomError("instrument", 'the answer "{code}" is outside {low} to {high}', {"code": outside[0], "low": self.low, "high": self.high})
        if self.profile and not all(float(bound).is_integer() and 0 <= bound <= 9 for bound in (self.low, self.high)):
            raise PydanticCustomError("instrument", "a profile needs answers from 0 to 9")
        return self

    def out_of_range(self, answers: Float[NDArray[np.float64], "response item"]) -> NDArray[np.bool_]:
        """Where an answer is outside `low` to `high` (or, for a profile, no whole number); shape as given."""
        wrong = (answers < self.low) | (answers > self.high) | np.isinf(answers)
        return wrong | (self.profile & ~np.isnan(answers) & (answers != np.round(answers)))

    def scores(self, answers: Float[NDArray[np.float64], "response item"]) -> Float[NDArray[np.float64], "response"]:
        """The score of every response; NaN where too few items are answered. Columns are `items`, NaN is not answered."""
        reversed_ = np.isin(self.items, self.reverse)
        values = np.where(reversed_, self.low + self.high - answers, answers)
        answered = ~np.isnan(values)
        m, k = answered.sum(axis=1), len(self.items)
        total = np.where(answered, values, 0.0).sum(axis=1)
        enough = m >= (k if self.at_least is None else self.at_least)
        mean = np.divide(total, m, out=np.full(len(answers), np.nan), where=enough)
        return mean if self.score == "mean" else np.where(m == k, total, mean * k)

    def profiles(self, answers: Float[NDArray[np.float64], "response item"]) -> list[str | None]:
        """The answers as digits (`11121`), None where one is missing."""
        complete = np.asarray(~np.isnan(answers).any(axis=1)).tolist()
        digits = np.where(np.isnan(answers), 0, answers).astype(np.int64).astype(str)
        return ["".join(row) if whole else None for row, whole in zip(digits, complete, strict=True)]
