"""A titled piece of prose, and how parts of the language become phrases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trialsim.parts import Part
from trialsim.report.wording import article, listed, number, share, value


@dataclass(frozen=True, slots=True)
class Passage:
    """A title and its paragraphs; no paragraphs where the protocol says nothing."""

    title: str
    paragraphs: tuple[str, ...]

    @classmethod
    def of(cls, title: str, *paragraphs: Iterable[str]) -> Passage:
        """Each argument is the sentences of a paragraph; empty ones are left out."""
        joined = (" ".join(filter(None, sentences)) for sentences in paragraphs)
        return cls(title, tuple(text for text in joined if text))


LABELS = {
    "sd": "standard deviation",
    "sd_log": "standard deviation of the logarithm",
    "nu": "ν",
    "rho": "ρ",
    "gamma": "γ",
    "delta": "Δ",
    "p": "probability",
    "rate": "rate",
}
"""How options are called in a sentence, where not by their own name."""


def options(part: Part, *, skip: Iterable[str] = (), labels: Mapping[str, str] | None = None, ages: bool = False) -> list[str]:
    """What a part states beside `skip`, as `shape 1.1`, `median 12 months`; defaults it leaves alone are not repeated."""
    names = {**LABELS, **(labels or {})}
    stated = part.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    return [f"{names.get(key, key.replace('_', ' '))} {value(item, ages=ages)}" for key, item in stated.items() if key not in set(skip)]


_NOT_OF_THE_LAW = frozenset({"dist", "unit", "prognostic", "time_trend", "dependence", "baseline"})


def law(part: Part, *, hazard: bool, what: str = "", skip: Iterable[str] = (), ages: bool = False) -> str:
    """A distribution: `a Weibull distribution with shape 1.1 and median 12 months`.

    `hazard`: it is a law of event times. `what` those do who are counted by `cumulative`: `have the event`.
    """
    said: dict[str, Any] = part.model_dump(by_alias=True, exclude_none=True, exclude={*_NOT_OF_THE_LAW, *skip})
    name = str(getattr(part, "dist", ""))
    noun = _LAWS.get(name, f"{name.replace('_', ' ')} distribution")
    phrases: list[str] = []
    such = ""
    if "cumulative" in said:
        where, when = share(said.pop("cumulative")), value(said.pop("by"), ages=ages)
        such = f" such that {where} {what} by {when}" if what else f" such that {where} are at or below {when}"
    if "pieces" in said:
        phrases.append(f"hazard {pieces([(piece.get('until'), value(piece['rate'])) for piece in said.pop('pieces')])}")
    if "uncured" in said:
        del said["uncured"]
        others = law(part.uncured, hazard=hazard, what=what)  # type: ignore[attr-defined]
        phrases.append(f"{share(said.pop('cured'))} of patients who never have the event and for the others {others}")
    if "probs" in said:
        phrases.append(f"levels {levels(said.pop('probs'))}")
    if "p" in said:
        phrases.append(f"probability {number(said.pop('p'))}")
    labels = {**LABELS, "rate": "hazard" if hazard else "rate", "low": "lower limit", "high": "upper limit"}
    phrases += [f"{labels.get(key, key.replace('_', ' '))} {value(item, ages=ages)}" for key, item in said.items()]
    return f"{article(noun)}" + (f" with {listed(phrases)}" if phrases else "") + such


def pieces(given: list[tuple[str | None, str]], *, origin: str = "randomisation") -> str:
    """`1 until 3 months after randomisation and 0.7 thereafter`; pieces of no length say nothing."""
    found, start = [], 0.0
    for until, words in given:
        end = None if until is None else float(str(until).split()[0])
        if end is None or end > start:
            found.append((until, words))
            start = start if end is None else end
    if len(found) == 1:
        return found[0][1]
    said = [f"{words} until {value(until)}{f' after {origin}' if index == 0 else ''}" for index, (until, words) in enumerate(found[:-1])]
    return listed([*said, f"{found[-1][1]} thereafter"])


def levels(probabilities: Mapping[str, float]) -> str:
    """`0 (40 %) and 1 (60 %)`."""
    return listed(f"{level} ({share(p)})" for level, p in probabilities.items())


_LAWS = {
    "weibull": "Weibull distribution",
    "gompertz": "Gompertz distribution",
    "bernoulli": "Bernoulli distribution",
    "categorical": "categorical distribution",
    "poisson": "Poisson distribution",
    "truncated_normal": "truncated normal distribution",
    "loglogistic": "log-logistic distribution",
    "lognormal": "log-normal distribution",
    "piecewise_exponential": "piecewise exponential distribution",
    "cure_mixture": "cure mixture",
    "negative_binomial": "negative binomial distribution",
}
