"""The card of a data file: where it comes from, what may be done with it, what its columns mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from trialsim.data.part_file import plain, read_part
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.parts import Part

ColumnType = Literal["continuous", "binary", "categorical", "integer", "date", "text"]
Role = Literal["covariate", "outcome", "arm", "id", "post_baseline", "consent"]
Purpose = Literal["train", "simulate", "external_control", "commercial", "genomic"]

_COMPANION_TYPES = {"expiry": ("date", "text"), "jurisdiction": ("text", "categorical")}


class Column(Part):
    """What one column of a data file means."""

    type: ColumnType = Field(
        description="How its cells are read. `binary` is 0 or 1 (or the second of two levels); `categorical` has levels; `date` is ISO 8601."
    )
    unit: str = Field(default="", description="The unit of its numbers, for example years, kg or cells/mm3.")
    role: Role = Field(
        default="covariate",
        description="What it is in the study. Only a `covariate` describes the patient at baseline; everything measured after randomisation is an `outcome` or `post_baseline`; "
        "`consent` columns say what a patient permits and are never modelled.",
    )
    levels: tuple[str, ...] = Field(default=(), description="The levels in order, as written in the data; absent: those found.")
    description: str = Field(default="", description="In words.")

    @model_validator(mode="after")
    def _levels(self) -> Self:
        if self.levels and self.type not in ("binary", "categorical"):
            raise PydanticCustomError("column", "levels belong to a binary or categorical column, not to {type}", {"type": self.type})
        if self.levels and self.type == "binary" and len(self.levels) != 2:
            raise PydanticCustomError("column", "a binary column has two levels; {n} are given", {"n": len(self.levels)})
        if len(set(self.levels)) < len(self.levels):
            raise PydanticCustomError("column", "a level is given twice")
        return self


class Consent(Part):
    """Which columns say what each patient permits. A purpose without a column is permitted by nobody."""

    columns: dict[Purpose, str] = Field(
        description="Purpose → the column that permits it (1, true, yes, permit) or not (0, false, no, deny); any other cell permits nothing."
    )
    expiry: str | None = Field(default=None, description="The column with the last day of the consent (ISO 8601). A missing cell permits nothing.")
    jurisdiction: str | None = Field(default=None, description="The column with the jurisdiction the consent was given under, for example DE.")

    @property
    def named(self) -> dict[str, str]:
        """Every column of the section, by its key in it."""
        companions = {"expiry": self.expiry, "jurisdiction": self.jurisdiction}
        return {f"columns.{purpose}": column for purpose, column in self.columns.items()} | {key: name for key, name in companions.items() if name is not None}


class Card(Part):
    """The provenance and the permitted uses of a data file. Without a licence nothing is fitted to it."""

    id: str = Field(description="A short name.")
    title: str = Field(description="A title.")
    source: str = Field(description="Where the file comes from.")
    licence: str | None = Field(default=None, description="The licence. Absent: the data may be looked at, but no model is fitted.")
    purposes: tuple[Purpose, ...] = Field(default=(), description="What the data may be used for. A cohort model needs `simulate`.")
    citation: str = Field(default="", description="What to cite.")
    columns: dict[str, Column] = Field(
        default_factory=dict, description="Column → meaning. Absent: types are inferred and every column that is not an outcome or an arm is a covariate."
    )
    consent: Consent | None = Field(default=None, description="Which columns hold each patient's consent. Absent: `purposes` holds for every row.")
    ingested: Annotated[dict[str, Any], BeforeValidator(plain)] | None = Field(
        default=None, description="How the file was made: sources, their hashes, row counts at every filter."
    )

    @model_validator(mode="after")
    def _consent_columns(self) -> Self:
        """A column of consent is declared as one, so that it is never taken for a covariate."""
        wrong = []
        for key, name in (self.consent.named if self.consent is not None else {}).items():
            types = _COMPANION_TYPES.get(key, ("binary", "integer", "categorical", "text"))
            column = self.columns.get(name)
            if column is None:
                wrong.append(f'{key} names "{name}", which `columns` does not describe{did_you_mean(name, self.columns)}')
            elif column.role != "consent":
                wrong.append(f'{key} names "{name}", whose role is {column.role}; it must be consent')
            elif column.type not in types:
                wrong.append(f'{key} names "{name}", whose type is {column.type}; it must be {" or ".join(types)}')
        if wrong:
            raise PydanticCustomError("consent", "{wrong}", {"key": "consent", "wrong": "; ".join(wrong)})
        return self

    def require(self, purpose: Purpose, file: str = "") -> None:
        """Raises DataError unless the card has a licence and permits this purpose."""
        if not (self.licence or "").strip():
            raise DataError(Problem(f'the card "{self.id}" has no licence, so no model is fitted to its data', file=file, path="licence"))
        if purpose not in self.purposes:
            permitted = ", ".join(self.purposes) or "none"
            raise DataError(Problem(f'the card "{self.id}" does not permit the purpose "{purpose}" (permitted: {permitted})', file=file, path="purposes"))


def load_card(path: Path | str, shown: str | None = None) -> Card:
    """The card in a YAML file. Raises DataError with every problem, each with its line and column; `shown` names the file in them."""
    return read_part(path, Card, is_a="a card is a map with id, title, source, licence and purposes", shown=shown)
