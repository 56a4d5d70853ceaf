"""What cannot be in a truth section, given the arms, visits and covariates of the protocol around it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from trialsim.errors import Problem, did_you_mean
from trialsim.parts import Part
from trialsim.twins.effects import ByCovariate, Effect
from trialsim.twins.events import EventTimeLaw, IllnessDeath
from trialsim.twins.events.illness_death import TRANSITIONS
from trialsim.twins.parametrisation import listed
from trialsim.twins.process import OutcomeProcess
from trialsim.twins.truth import Truth

Place = tuple[str, ...]


class _Covariates:
    """The covariates of the cohort model: names, levels of the categorical ones, dimensions."""

    def __init__(self, names: tuple[str, ...], levels: Mapping[str, tuple[str, ...]], units: Mapping[str, str]):
        self.names, self.levels, self.units = names, levels, units

    def unknown(self, name: str) -> str | None:
        if name in self.names:
            return None
        return f'"{name}" is not a covariate{did_you_mean(name, self.names) if self.names else "; the population has none"}'

    def is_number(self, name: str) -> bool:
        """Levels named 0, 1, 2, … are numbers too: an effect may be per unit of them."""
        return all(level == str(place) for place, level in enumerate(self.levels.get(name, ())))

    def bad_level(self, name: str, level: str) -> str | None:
        if name in self.levels:
            return None if level in self.levels[name] else f'"{level}" is not a level of {name}{did_you_mean(level, self.levels[name])}'
        try:
            float(level)
        except ValueError:
            return f'{name} is a number, so its level "{level}" must be one too'
        return None


def _prognostic(process: OutcomeProcess, covariates: _Covariates) -> Iterator[tuple[Place, str]]:
    for name, effect in process.prognostic.items():
        place = ("prognostic", name)
        unknown = covariates.unknown(name)
        if unknown:
            yield place, unknown
            continue
        if effect.kind not in process.prognostic_kinds:
            kinds = process.prognostic_kinds
            yield place, f"{effect.kind} means nothing for this outcome; allowed: {listed(kinds) if kinds else 'nothing'}"
        if effect.level is not None:
            wrong = covariates.bad_level(name, effect.level)
            if wrong:
                yield (*place, "level"), wrong
        elif not covariates.is_number(name):
            yield place, f"{name} is categorical: say which level has the effect; levels: {listed(covariates.levels[name])}"
        for key, quantity in (("per", effect.per), ("center", effect.center)):
            unit = covariates.units.get(name, "")
            if quantity is not None and quantity.dimension != unit:
                yield (*place, key), f"{quantity} does not have the unit of {name}{f' ({unit})' if unit else ', which is a bare number'}"


def _effect(effect: Effect, process: OutcomeProcess, visits: Mapping[str, float], covariates: _Covariates) -> Iterator[tuple[Place, str]]:
    kind, profile = effect.kind, effect.profile
    if kind not in process.effect_kinds:
        yield (kind,), f"{kind} means nothing for this outcome; allowed: {listed(process.effect_kinds) if process.effect_kinds else 'nothing'}"
        return
    yield from (((kind,), message) for message in process.effect_problems(effect))
    if isinstance(profile, ByCovariate):
        unknown = covariates.unknown(profile.by.covariate)
        if unknown:
            yield (kind, "by", "covariate"), unknown
            return
        for level in profile.by.values:
            wrong = covariates.bad_level(profile.by.covariate, level)
            if wrong:
                yield (kind, "by", "values", level), wrong
        missing = [level for level in covariates.levels.get(profile.by.covariate, ()) if level not in profile.by.values]
        if missing:
            yield (kind, "by", "values"), f"every level of {profile.by.covariate} needs a value; missing: {listed(missing)}"
    elif isinstance(profile, Mapping):
        for visit in profile:
            if visit not in visits:
                yield (kind, visit), f'"{visit}" is not a visit{did_you_mean(visit, visits) if visits else "; the protocol has none"}'


def _shared_targets(truth: Truth, outcome: str, process: OutcomeProcess) -> Iterator[str]:
    """An illness-death process names its events itself; no other outcome may have these names."""
    own = set(process.targets(outcome)) - {outcome}
    for other, second in truth.outcomes.items():
        if other != outcome and own & set(second.targets(other)):
            yield f'{listed(sorted(own & set(second.targets(other))))} already names what "{other}" yields'


def problems(
    truth: Truth,
    *,
    arms: tuple[str, ...],
    visits: Mapping[str, float],
    covariates: tuple[str, ...] = (),
    levels: Mapping[str, tuple[str, ...]] | None = None,
    units: Mapping[str, str] | None = None,
) -> Iterator[Problem]:
    """Every reference in `truth` that leads nowhere and every effect that means nothing, with its path from `truth`.

    `covariates`, `levels` and `units` are the cohort model's names, levels and dimensions.
    """
    known = _Covariates(covariates, levels or {}, units or {})
    targets = {target: process for outcome, process in truth.outcomes.items() for target in process.targets(outcome)}
    found: list[tuple[Place, str]] = []
    for outcome, process in truth.outcomes.items():
        found += [(("outcomes", outcome, *place), message) for place, message in _prognostic(process, known)]
        found += [(("outcomes", outcome), message) for message in _shared_targets(truth, outcome, process)]
        if isinstance(process, IllnessDeath):
            for transition in TRANSITIONS:
                found += [(("outcomes", outcome, transition, *place), message) for place, message in _prognostic(getattr(process, transition), known)]
    for arm, effects in truth.effects.items():
        if arm not in arms:
            found.append((("effects", arm), _no_arm(arm, arms)))
        for outcome, effect in effects.items():
            if outcome not in targets:
                found.append((("effects", arm, outcome), f'"{outcome}" is not an outcome{did_you_mean(outcome, targets) if targets else ""}'))
                continue
            found += [(("effects", arm, outcome, *place), message) for place, message in _effect(effect, targets[outcome], visits, known)]
            if isinstance(targets[outcome], IllnessDeath) and isinstance(effect.profile, tuple) and outcome not in ("progression", "death"):
                message = "time runs from progression here: an effect in pieces of time since randomisation cannot be placed; give a number, or by covariate"
                found.append((("effects", arm, outcome, "hr"), message))
    dropout = truth.censoring.dropout
    laws: dict[Place, EventTimeLaw] = {}
    if isinstance(dropout, Part):
        laws[()] = dropout
    elif dropout is not None:
        laws = {(arm,): law for arm, law in dropout.items()}
        found += [(("censoring", "dropout", arm), _no_arm(arm, arms)) for arm in dropout if arm not in arms]
    for place, law in laws.items():
        found += [(("censoring", "dropout", *place, *inner), message) for inner, message in _prognostic(law, known)]
    for name, event in truth.intercurrent_events.items():
        found += [(("intercurrent_events", name, "arm_hr", arm), _no_arm(arm, arms)) for arm in event.arm_hr if arm not in arms]
    for outcome in truth.missing_data:
        if outcome not in targets:
            found.append((("missing_data", outcome), f'"{outcome}" is not an outcome{did_you_mean(outcome, targets) if targets else ""}'))
    for where, message in found:
        yield Problem(message, path=".".join(("truth", *where)))


def _no_arm(arm: str, arms: Collection[str]) -> str:
    return f'"{arm}" is not an arm' + (did_you_mean(arm, arms) if arms else "; the protocol has no arms")
