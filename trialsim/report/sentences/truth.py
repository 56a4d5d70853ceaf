"""What is assumed to be true: how outcomes come about, what the arms do to them, who is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from trialsim.report.sentences.passage import Passage, law, levels, options, pieces
from trialsim.report.wording import listed, number, quantity, share, signed, time, value
from trialsim.report.wording import rate as per_time
from trialsim.spec.protocol import Protocol
from trialsim.twins.effects import ByCovariate, Effect
from trialsim.twins.events import IllnessDeath, Recurrent
from trialsim.twins.events.from_curve import FromCurve
from trialsim.twins.missing_values import MissingData
from trialsim.twins.not_yet import IntercurrentEvent
from trialsim.twins.process import EventLaw, OutcomeProcess
from trialsim.twins.prognosis import Prognostic
from trialsim.twins.values import LinearMixed, Ordinal

_RATIO_NOUNS = {"hr": "hazard", "or": "odds", "rate_ratio": "event rate"}
_EFFECT_NOUNS = {
    "hr": "the hazard ratio for {outcome}{given} is",
    "or": "the odds ratio for {outcome}{given} is",
    "rate_ratio": "the rate ratio for {outcome}{given} is",
    "ratio": "the ratio of {outcome} is",
    "p": "the probability of {outcome} is",
    "acceleration": "the time to {outcome} is stretched by the factor",
    "difference": "the difference in {outcome} is",
    "shift": "{outcome} is shifted by",
}


def the_assumptions(protocol: Protocol) -> Passage:
    """Outcomes, effects, intercurrent events, dropout and missing data, a paragraph each."""
    truth = protocol.truth
    if truth is None:
        return Passage.of("Assumptions")
    outcomes = [text for name, process in truth.outcomes.items() for text in _outcome(name, process)]
    return Passage.of(
        "Assumptions",
        outcomes,
        list(_effects(protocol)),
        [_intercurrent(name, event) for name, event in truth.intercurrent_events.items()],
        [*_dropout(protocol), *[_missing(name, item) for name, item in truth.missing_data.items()]],
    )


def _outcome(name: str, process: OutcomeProcess) -> Iterator[str]:
    kind = getattr(process, "dist", None) or getattr(process, "model", "")
    unit = f" (in {process.unit})" if process.unit else ""
    base = ", at the reference level or centre of every prognostic covariate," if process.prognostic else ""
    baseline = getattr(process, "baseline", None)
    if kind == "fitted":
        yield f"Under the reference arm {name}{unit} follows the model fitted to the data, given each patient's baseline."
        curve = getattr(process, "calibrate_to", None)
        if curve is not None:
            yield f"Its hazard is moved until the survival of the whole population without {name} is that of {curve.from_curve}."
    elif isinstance(process, IllnessDeath):
        laws = [
            (process.progression, "progression"),
            (process.death, "death without progression"),
            (process.death_after_progression, "death, from progression on,"),
        ]
        times = listed(f"the time to {what} follows {law(part, hazard=True, what='have it')}" for part, what in laws)
        yield f"Under the reference arm{base} {name} is an illness–death process: {times}."
    elif isinstance(process, LinearMixed):
        yield f"Under the reference arm{base} {name}{unit} changes along a straight line in each patient: {_line(process)}."
    elif isinstance(process, Recurrent):
        frailty = f", with a gamma frailty of variance {number(process.dispersion)} between patients" if process.dispersion else ""
        yield f"Under the reference arm{base} events of {name} come again at random at a mean rate of {per_time(process.rate)}{frailty}."
    elif isinstance(process, Ordinal):
        yield f"Under the reference arm{base} {name} is an ordered category: {levels(process.probs)}, from the lowest to the highest."
    elif isinstance(process, FromCurve):
        whose = "of the whole population" if process.of == "population" else "of the published curve"
        where = "" if process.of == "population" else base
        yield (
            f"Under the reference arm{where} the survival {whose} without {name} is that of {process.from_curve}, "
            f"as a hazard that is constant in {len(process.pieces)} pieces."
        )
    elif isinstance(process, EventLaw):
        yield f"Under the reference arm{base} the time to {name} follows {law(process, hazard=True, what='have the event')}."
    elif hasattr(process, "dist"):
        yield f"Under the reference arm{base} {name}{unit} follows {law(process, hazard=False)}."
    else:
        said = options(process, skip=("model", "unit", "prognostic", "time_trend", "dependence"))
        yield f"Under the reference arm{base} {name}{unit} follows a {str(kind).replace('_', ' ')} model" + (f" with {listed(said)}" if said else "") + "."
    if hasattr(process, "dist") and isinstance(baseline, str):
        yield f"Its value at baseline is the covariate {baseline}."
    for covariate, effect in process.prognostic.items():
        yield _prognostic(name, covariate, effect)
    if process.time_trend is not None:
        yield f"It drifts in calendar time: {listed(options(process.time_trend))}."
    if process.dependence is not None:
        yield f"It depends on another outcome: {listed(options(process.dependence))}."


def _line(process: LinearMixed) -> str:
    start = f"the covariate {process.baseline}" if isinstance(process.baseline, str) else number(process.baseline)
    spread = f" (standard deviation {per_time(process.slope_sd)} between patients)" if process.slope_sd is not None else ""
    said = [f"it starts at {start}", f"its mean slope is {per_time(process.slope)}{spread}"]
    if process.residual is not None:
        corr = (
            listed(f"{key.replace('_', ' ')} correlation {number(item)}" for key, item in process.residual.corr.model_dump(exclude_none=True).items())
            if process.residual.corr
            else ""
        )
        said.append(f"the visits vary about it with standard deviation {number(process.residual.sd)}" + (f" and {corr}" if corr else ""))
    if process.prognosis_correlation is not None:
        said.append(f"the slope that the twin predicts has correlation {number(process.prognosis_correlation)} with the patient's own")
    return listed(said)


def _prognostic(outcome: str, covariate: str, effect: Prognostic) -> str:
    if effect.level is not None:
        where = f"in patients with {covariate} {effect.level}"
    else:
        per = f"per {quantity(effect.per)} of {covariate}" if effect.per is not None else f"per unit of {covariate}"
        where = per + (f", centred at {quantity(effect.center)}" if effect.center is not None else "")
    if effect.kind in _RATIO_NOUNS:
        ratio = effect.odds_ratio if effect.kind == "or" else getattr(effect, effect.kind)
        assert ratio is not None
        return f"The {_RATIO_NOUNS[effect.kind]} of {outcome} is multiplied by {number(ratio)} {where}."
    if effect.kind == "slope":
        assert effect.slope is not None
        return f"The slope of {outcome} changes by {quantity(effect.slope)} {where}."
    assert effect.shift is not None
    return f"{outcome} is shifted by {signed(effect.shift)} {where}."


def _effects(protocol: Protocol) -> Iterator[str]:
    truth = protocol.truth
    assert truth is not None
    for arm, effects in truth.effects.items():
        for outcome, effect in effects.items():
            conditional = any(outcome in process.targets(name) and _has_prognosis(process) for name, process in truth.outcomes.items())
            yield f"Under {arm}, {effect_words(outcome, effect, conditional=conditional)}."
    without = [arm for arm in protocol.arms if not truth.effects.get(arm)]
    if truth.outcomes and without:
        yield f"{listed(without)} {'follows' if len(without) == 1 else 'follow'} the reference process." if truth.effects else "No arm has an effect."


def _has_prognosis(process: OutcomeProcess) -> bool:
    return bool(process.prognostic) or "fitted" in (getattr(process, "dist", ""), getattr(process, "model", ""))


def effect_words(outcome: str, effect: Effect, *, conditional: bool) -> str:
    """`the hazard ratio for death is 1 until 3 months after randomisation and 0.7 thereafter`.

    `conditional`: covariates move the outcome, so that a ratio is one between patients with the same covariates.
    """
    if effect.fitted is not None:
        note = {1.0: ", that is, as estimated", 0.0: ", that is, none"}.get(effect.fitted, "")
        return f"the effect on {outcome} is the one fitted to the data (a log hazard ratio or a difference) times {number(effect.fitted)}{note}"
    if effect.percent_slowing is not None:
        onset = f", from {time(effect.onset)} after randomisation" if effect.onset else ""
        return f"the slope of {outcome} is reduced by {share(effect.percent_slowing)}{onset}"
    return f"{_EFFECT_NOUNS[effect.kind].format(outcome=outcome, given=', conditional on the covariates,' if conditional else '')} {_profile(effect.profile, signs=effect.kind in ('difference', 'shift'))}"


def _profile(profile: Any, *, signs: bool) -> str:
    say = signed if signs else number
    if isinstance(profile, ByCovariate):
        return listed(f"{say(item)} where {profile.by.covariate} is {level}" for level, item in profile.by.values.items())
    if isinstance(profile, tuple):
        return pieces([(None if piece.until is None else f"{piece.until} days", say(piece.value)) for piece in profile])
    if isinstance(profile, dict):
        return listed(f"{say(item)} at {visit}" for visit, item in profile.items())
    return say(profile)


_NOT_ITS_TIME = frozenset({"probability", "at", "arm_hr", "afterwards", "effect", "stops_follow_up"})


def _intercurrent(name: str, event: IntercurrentEvent) -> str:
    if event.probability is not None:
        when = f"happens to {share(event.probability)} of patients, at a uniformly distributed time"
    elif event.dist is None:
        assert event.cumulative is not None
        assert event.by is not None
        when = f"happens to {share(event.cumulative)} of patients by {time(event.by)}"
    else:
        when = f"happens at a time that follows {law(event, hazard=True, what='have the event', skip=_NOT_ITS_TIME)}"
    said = [f"The intercurrent event {name} {when}"]
    if event.arm_hr:
        said.append(listed(f"its hazard ratio is {number(item)} under {arm}" for arm, item in event.arm_hr.items()))
    if event.afterwards != "unchanged":
        said.append(
            {
                "control_slope": "afterwards the outcome follows the slope of the control arm",
                "return_to_baseline": "afterwards the outcome returns to baseline",
            }[event.afterwards]
        )
    for outcome, change in event.effect.items():
        said.append(f"it changes {outcome} by {value(change)}")
    if event.stops_follow_up:
        said.append(f"it ends the follow-up of {share(event.stops_follow_up)} of the patients who have it")
    return "; ".join(said) + "."


def _dropout(protocol: Protocol) -> Iterable[str]:
    truth = protocol.truth
    assert truth is not None
    dropout = truth.censoring.dropout
    if dropout is None:
        return ["No patient is lost to follow-up."] if truth.outcomes else []
    if isinstance(dropout, dict):
        return [f"Under {arm} the time to loss to follow-up follows {law(part, hazard=True, what='are lost')}." for arm, part in dropout.items()]
    return [f"In every arm the time to loss to follow-up follows {law(dropout, hazard=True, what='are lost')}."]


def _missing(outcome: str, item: MissingData) -> str:
    mechanism = {"mcar": "completely at random", "mar": "at random", "mnar": "not at random"}[item.mechanism]
    depends = f", depending on {item.depends_on}" if item.depends_on else ""
    odds = f" (log odds {signed(item.log_odds_per_unit)} per unit)" if item.log_odds_per_unit is not None else ""
    return f"At each visit {share(item.rate)} of the values of {outcome} are missing {mechanism}{depends}{odds}."
