"""Who the patients are, and who may enter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from trialsim.cohort import CovariateLaw, Criterion, Population
from trialsim.cohort.calibration.targets import Target
from trialsim.cohort.laws import Bernoulli, Categorical
from trialsim.cohort.population import DataSource, EventColumns
from trialsim.report.sentences.passage import Passage, law, levels
from trialsim.report.wording import counted, listed, number, quantity, share, value
from trialsim.spec.protocol import Protocol


def the_population(protocol: Protocol) -> Passage:
    """Covariates or their source, correlation, eligibility."""
    population = protocol.population
    if population is None:
        return Passage.of("Population")
    who = _covariates(population) if population.source is None else _source(population)
    entry = ""
    if population.eligibility:
        entry = f"{_criteria(population.eligibility)} A missing value fails a criterion of either kind."
    target = ""
    if population.calibrate_to:
        said = listed(f"{what} of {name}" for name, part in population.calibrate_to.items() for what in target_words(part))
        target = f"The eligible patients are reweighted by entropy balancing to what is published of them: {said}."
    return Passage.of("Population", who, [entry, target])


def target_words(target: Target) -> Iterator[str]:
    """`a mean of 61 years`, one for each number."""
    if target.mean is not None:
        yield f"a mean of {quantity(target.mean)}" + (f" (SD {quantity(target.sd)})" if target.sd is not None else "")
    for probability, at in sorted(target.below.items()):
        yield f"a {'median' if probability == 0.5 else f'{number(100 * probability)} % quantile'} of {quantity(at)}"
    if target.proportions:
        yield "the shares " + listed(f"{level} {share(proportion)}" for level, proportion in target.proportions.items())


def _covariates(population: Population) -> Iterable[str]:
    if not population.covariates:
        yield "No baseline covariates are described; patients differ by chance only."
        return
    yield f"Each patient has {counted(len(population.covariates), 'baseline covariate')}."
    for name, part in population.covariates.items():
        yield f"{name} {_covariate(part)}."
    if population.correlation and population.correlation.pairs:
        pairs = listed(f"{number(r)} between {a} and {b}" for a, b, r in population.correlation.pairs)
        what = "under which their values" if population.correlation.scale == "values" else "whose normal scores"
        yield f"The covariates are joined by a Gaussian copula {what} have correlation {pairs}, and 0 between all other pairs."
    elif len(population.covariates) > 1:
        yield "The covariates are independent of each other."


def _covariate(part: CovariateLaw) -> str:
    if isinstance(part, Bernoulli):
        return f"is 1 with probability {number(part.p)} and 0 otherwise"
    if isinstance(part, Categorical):
        return f"is one of {levels(part.probs)}"
    return f"follows {law(part, hazard=False, ages=True)}"


def _source(population: Population) -> Iterable[str]:
    source = population.source
    if not isinstance(source, DataSource):
        yield f"Patients are drawn from the fitted cohort model in {getattr(source, 'cohort', '')}."
        return
    kind = "a Gaussian copula" if source.model == "copula" else "a latent class model"
    card = f", used as its card {source.card} allows" if source.card else ""
    yield f"Patients are drawn from a cohort model fitted to the patient-level data in {source.data}{card}: {kind} of the baseline covariates."
    if source.arms:
        arms = listed(f"{arm} where it is {value(code)}" for arm, code in source.arms.items())
        yield f"In the data the column {source.arm} is the treatment: {arms}; other rows are not used."
    for outcome, columns in source.outcomes.items():
        if isinstance(columns, EventColumns):
            yield f"The model also learns the outcome {outcome} from the columns {columns.time} (follow-up time) and {columns.event} (event indicator)."
        else:
            visits = listed(f"{column} (at {visit})" for visit, column in columns.columns.items())
            yield f"The model also learns the outcome {outcome} from {'the columns' if len(columns.columns) > 1 else 'the column'} {visits}."


def _criteria(criteria: Mapping[str, Criterion]) -> str:
    said = {
        category: listed(f"{criterion_words(item)} ({key})" for key, item in criteria.items() if item.category == category)
        for category in ("inclusion", "exclusion")
    }
    phrases = [f"{verb} when {said[category]}" for category, verb in (("inclusion", "may enter"), ("exclusion", "may not enter")) if said[category]]
    return f"A patient {listed(phrases, 'but')}."


def criterion_words(criterion: Criterion) -> str:
    """`age is at least 18 years and at most 75 years`."""
    said = []
    if criterion.min is not None:
        said.append(f"at least {quantity(criterion.min)}")
    if criterion.max is not None:
        said.append(f"at most {quantity(criterion.max)}")
    if criterion.in_ is not None:
        said.append(f"one of {listed((value(item) for item in criterion.in_), 'or')}")
    if criterion.equals is not None:
        said.append(value(criterion.equals))
    return f"{criterion.covariate} is {listed(said)}"
