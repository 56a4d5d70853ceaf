"""The section `population`: how many patients, who they are, and who may enter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from trialsim.cohort.calibration.targets import Target, mismatches
from trialsim.cohort.correlation import Correlation
from trialsim.cohort.eligibility import Criterion, check_criteria
from trialsim.cohort.laws import AnyLaw
from trialsim.cohort.model import CohortModel
from trialsim.data import shown_path
from trialsim.errors import DataError, Problem, did_you_mean
from trialsim.parts import Part

ArmValue = str | int | float


class EventColumns(Part):
    """The columns of a time-to-event outcome."""

    time: str = Field(description="The column of the follow-up time since randomisation; its unit is in the card (days where the card gives none).")
    event: str = Field(description="The column that is 1 where the event was observed and 0 where follow-up was censored.")


class ValueColumns(Part):
    """The columns of a continuous outcome, by visit."""

    columns: dict[str, str] = Field(
        min_length=1, description="Visit → column. The column of the visit `baseline` is a covariate.", examples=[{"baseline": "cd40", "w20": "cd420"}]
    )


def _shape_of_outcome(given: Any) -> str:
    has_columns = "columns" in given if isinstance(given, dict) else isinstance(given, ValueColumns)
    return "value_columns" if has_columns else "event_columns"


OutcomeColumns = Annotated[Annotated[EventColumns, Tag("event_columns")] | Annotated[ValueColumns, Tag("value_columns")], Discriminator(_shape_of_outcome)]


def _named(given: Any) -> Any:
    return {str(key): value for key, value in given.items()} if isinstance(given, dict) else given


def _texts(given: Any) -> Any:
    return {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else given


class DataSource(Part):
    """A cohort model to be fitted to patient-level data."""

    data: str = Field(description="The data file (CSV or Parquet), relative to the protocol's folder.")
    card: str | None = Field(default=None, description="The data's card (YAML): source, licence, purposes, columns. Without a card nothing is fitted.")
    model: Literal["copula", "latent_class", "flow"] = Field(default="copula", description="The kind of model for how columns go together.")
    arm: str | None = Field(default=None, description="The column of the treatment arm; absent where the data have one arm and no effect is wanted.")
    arms: Annotated[dict[str, ArmValue], BeforeValidator(_named)] = Field(
        default_factory=dict, description="Arm of the protocol → its value in the arm column. Rows of other arms are not used."
    )
    outcomes: dict[str, OutcomeColumns] = Field(default_factory=dict, description="Outcome → its columns.")

    def unsupported(self) -> Iterator[str]:
        from trialsim.cohort.fitted.dependence import DEPENDENCES

        if self.model not in DEPENDENCES:
            yield f"population.source.model {self.model}"

    @model_validator(mode="after")
    def _arms(self) -> Self:
        if (self.arm is None) != (not self.arms):
            raise PydanticCustomError("source", "arm (the column) and arms (each arm's value in it) go together")
        if len(set(map(str, self.arms.values()))) < len(self.arms):
            raise PydanticCustomError("source", "two arms have the same value in the data")
        return self


class FittedSource(Part):
    """A cohort model fitted earlier."""

    cohort: str = Field(description="The file of a fitted cohort model, relative to the protocol's folder.")
    arms: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(
        default_factory=dict, description="Arm of the protocol → its name in the model. Absent: they have the same names."
    )


def _kind_of_source(given: Any) -> str:
    is_fitted = "cohort" in given if isinstance(given, dict) else isinstance(given, FittedSource)
    return "fitted_source" if is_fitted else "data_source"


Source = Annotated[Annotated[FittedSource, Tag("fitted_source")] | Annotated[DataSource, Tag("data_source")], Discriminator(_kind_of_source)]


class Population(Part):
    """Who is enrolled: declared covariates, or a cohort model by `source`, or neither; then eligibility."""

    planned_enrollment: int = Field(ge=1, description="The number of patients to be randomised, after eligibility.", examples=[400])
    covariates: dict[str, AnyLaw] = Field(default_factory=dict, description="Covariate → its law.")
    source: Source | None = Field(default=None, description="A fitted cohort model, or the data to fit one to; instead of `covariates`.")
    correlation: Correlation | None = Field(default=None, description="How declared covariates go together; absent: independent.")
    eligibility: dict[str, Criterion] = Field(default_factory=dict, description="Criterion id → criterion; a patient must pass all.")
    calibrate_to: dict[str, Target] | None = Field(
        default=None,
        description="Covariate → what a paper says of the enrolled: the eligible patients are reweighted to it by entropy balancing.",
        examples=[{"age": {"mean": "61 years", "sd": "9 years"}, "sex": {"proportions": {"female": 0.4}}}],
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        wrong: list[InitErrorDetails] = []

        def add(message: str, *place: str | int) -> None:
            wrong.append({"type": PydanticCustomError("population", "{message}", {"message": message}), "loc": place, "input": None})

        if self.source is not None:
            if self.covariates:
                add("give covariates or source, not both", "source")
            if self.correlation is not None:
                add("correlation is between declared covariates; a cohort from a source has its own", "correlation")
        else:
            for index, (first, second, _) in enumerate(self.correlation.pairs if self.correlation else ()):
                for place, name in enumerate((first, second)):
                    if name not in self.covariates:
                        add(f'"{name}" is not a covariate{did_you_mean(name, self.covariates)}', "correlation", "pairs", index, place)
            for key, criterion in self.eligibility.items():
                law = self.covariates.get(criterion.covariate)
                if law is None:
                    add(f'"{criterion.covariate}" is not a covariate{did_you_mean(criterion.covariate, self.covariates)}', "eligibility", key, "covariate")
                else:
                    for field, message in criterion.mismatches(levels=law.levels, dimension=law.dimension):
                        add(message, "eligibility", key, field)
            levels, units = {name: law.levels for name, law in self.covariates.items()}, {name: law.dimension for name, law in self.covariates.items()}
            for below, message in mismatches(self.calibrate_to or {}, levels_of=levels, units=units):
                add(message, "calibrate_to", *below.split(".", 1))
            if self.correlation is not None and not wrong:
                for at, message in self.correlation.impossible(self.covariates):
                    add(message, "correlation", "pairs", *([] if at is None else [at]))
        if wrong:
            raise ValidationError.from_exception_data("Population", wrong)
        return self

    def cohort_model(self, directory: Path) -> CohortModel:
        """The generator of this population; `directory` is the protocol's folder. Fits (or finds in the cache) a cohort from data.

        Raises ProtocolError where eligibility names a covariate the source does not have, DataError where the data or
        their card cannot be used, or a fitted cohort is stale, has no manifest or is for another purpose, NotSupportedError for what the engine cannot do yet.
        """
        model = self._model(directory)
        check_criteria(self.eligibility, model)
        if not self.calibrate_to:
            return model
        from trialsim.cohort.calibration.calibrated import calibrated_once

        key = f"{self.model_dump_json(exclude={'planned_enrollment'})} {directory} {getattr(model, 'card', {}).get('key', '')}"
        return calibrated_once(key, model, self.calibrate_to, self.eligibility)

    def _model(self, directory: Path) -> CohortModel:
        if self.source is None:
            from trialsim.cohort.declared import DeclaredCohort

            return DeclaredCohort(self.covariates, self.correlation)
        if isinstance(self.source, FittedSource):
            from trialsim.cohort.fitted import FittedCohort
            from trialsim.data.governance.manifest import require_fresh

            file = directory / self.source.cohort
            model = FittedCohort.load(file)
            fitted_for = require_fresh(file).purpose
            if fitted_for != "simulate":
                raise DataError(
                    Problem(
                        f'the model was fitted for the purpose "{fitted_for}", and a trial simulates (cohort fit --purpose simulate)', file=shown_path(file)
                    )
                )
            return model.with_arms(self.source.arms, file=shown_path(file)) if self.source.arms else model
        from trialsim.cohort.fitted import fit_source

        return fit_source(self.source, directory)
