"""The card of a cohort model: what it is for, what hangs on it, what it was made from, how good it is, where it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

NOT_ASSESSED = "not assessed"
Level = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One result of a check: what was measured, its value in words, its threshold and whether it was met (None: no threshold)."""

    name: str
    value: str
    threshold: str = ""
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a cohort model. What is left empty is printed as "not assessed".

    `influence` is how much the decision rests on the model beside other evidence, `consequence` how bad a wrong decision
    would be, `risk` what follows from the two: a judgement that people make, no formula. `data` describes the data set
    (name → value), `permission` is `consent.Permission.counts()`, `not_for` adds to what is always ruled out. `left_out`
    (column → why) and `missing` (column → cells) may be empty, which is then said. `privacy` is the ledger of a model with
    differential privacy (`epsilon`, `delta`, `releases`, …), and empty for one without. The verdict and the figures are those
    of `cohort check`.
    """

    model_id: str
    title: str
    question: str = ""
    context_of_use: str = ""
    purpose: str = ""
    not_for: tuple[str, ...] = ()
    influence: Level | None = None
    consequence: Level | None = None
    risk: Level | None = None
    risk_rationale: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    permission: Mapping[str, Any] | None = None
    left_out: Mapping[str, str] | None = None
    missing: Mapping[str, int] | None = None
    privacy: Mapping[str, Any] | None = None
    method: str = ""
    assumptions: tuple[str, ...] = ()
    verdict: str = ""
    reasons: tuple[str, ...] = ()
    fidelity: Sequence[Figure] = ()
    effects: Sequence[Figure] = ()
    disclosure: Sequence[Figure] = ()
    fairness: Sequence[Figure] = ()
    limits: tuple[str, ...] = ()


ALWAYS_RULED_OUT = (
    "deciding about the care of any one person: a synthetic patient is nobody, and the model was not validated for single patients",
    "finding out whether somebody, or what of somebody, was in the data",
    "being shown, shared or pooled as if its patients were real: every row is synthetic",
    "populations, treatments or times that its data do not cover",
    "purposes that its patients' consent or the data's licence does not name",
)


def model_card(card: ModelCard) -> str:
    """The card as Markdown, in the order context of use, model risk, data, performance, limits.

    The order and the terms follow the credibility framework of the FDA's draft guidance (question of interest, context of
    use, model risk = influence and consequence) and ASME V&V 40. A part that is missing is printed as "not assessed",
    never left out. The card describes; it is no claim that a model is credible for its context of use, nor that it or
    its records comply with a regulation.

    **Source:** FDA 2025, Considerations for the use of artificial intelligence to support regulatory decision-making for
    drug and biological products, draft guidance, docket FDA-2024-D-4689, section IV; ASME V&V 40-2018; Mitchell et al.
    2019, Model cards for model reporting, doi 10.1145/3287560.3287596.
    """
    parts = [f"# {_text(card.title) or card.model_id}", f"Model `{card.model_id}`. Everything that it generates is synthetic."]
    parts += _context(card) + _risk(card) + _data(card) + _performance(card) + _limits(card)
    return "\n\n".join(parts) + "\n"


def _context(card: ModelCard) -> list[str]:
    ruled_out = (*card.not_for, *ALWAYS_RULED_OUT)
    return [
        "## 1 Context of use",
        _rows({"Question of interest": card.question, "Context of use": card.context_of_use, "Purpose that was permitted": card.purpose}),
        "It must not be used for:",
        _bullets(ruled_out),
    ]


def _risk(card: ModelCard) -> list[str]:
    return [
        "## 2 Model risk",
        _rows({"Influence": card.influence, "Consequence of a wrong decision": card.consequence, "Model risk": card.risk, "Why": card.risk_rationale}),
    ]


def _data(card: ModelCard) -> list[str]:
    known = {key: value for key, value in card.data.items() if key not in ("source", "licence", "citation", "sha256")}
    described = {
        "Source": card.data.get("source"),
        "Licence": card.data.get("licence"),
        "Citation": card.data.get("citation"),
        "SHA-256": card.data.get("sha256"),
    }
    return [
        "## 3 Data",
        _rows(described | {_heading(key): value for key, value in known.items()}),
        "### Consent and permission",
        _table(card.permission),
        "### Columns left out",
        _table(card.left_out),
        "### Missing cells",
        _table(card.missing),
        "### Differential privacy",
        *_privacy(card.privacy),
    ]


def _privacy(ledger: Mapping[str, Any] | None) -> list[str]:
    """The whole of what was spent, and every release; the releases' ε do not add up to the total."""
    if not ledger:
        return [_absent() if ledger is None else "None: the model was fitted to the patients themselves, without noise."]
    shown = [("ε", "epsilon"), ("δ", "delta"), ("neighbours", "neighbours"), ("largest membership AUC of any attack", "largest_membership_auc")]
    rows = [(name, ledger.get(key)) for name, key in (*shown, ("noise", "noise"), ("columns left out", "without"))]
    lines = [
        f"| {_cell(row.get('purpose'))} | {_cell(row.get('numbers'))} | {_cell(row.get('sensitivity'))} | {_cell(row.get('sigma'))} | {_cell(row.get('epsilon'))} |"
        for row in ledger.get("releases", ())
    ]
    released = ["| release | numbers | sensitivity | σ | ε by itself |", "|---|---|---|---|---|", *lines]
    return [_rows({name: value if value != [] else "none" for name, value in rows}), "\n".join(released)]


def _performance(card: ModelCard) -> list[str]:
    sections = {"Fidelity": card.fidelity, "Effect preservation": card.effects, "Disclosure": card.disclosure, "Fairness and representativeness": card.fairness}
    out = ["## 4 Performance", _rows({"Verdict of the checks": card.verdict})]
    if card.reasons:
        out.append(_bullets(card.reasons))
    for name, figures in sections.items():
        out += [f"### {name}", _figures(figures)]
    return out


def _limits(card: ModelCard) -> list[str]:
    return [
        "## 5 Limits",
        _rows({"Method": card.method}),
        "### Assumptions",
        _bullets(card.assumptions),
        "### Known limits",
        _bullets(card.limits),
        "This card supports a credibility assessment; it does not replace one.",
    ]


def _figures(figures: Sequence[Figure]) -> str:
    if not figures:
        return _absent()
    met = {True: "yes", False: "**no**", None: "–"}
    lines = [f"| {_cell(f.name)} | {_cell(f.value)} | {_cell(f.threshold or '–')} | {met[f.met]} |" for f in figures]
    return "\n".join(["| measure | value | threshold | met |", "|---|---|---|---|", *lines])


def _rows(values: Mapping[str, Any]) -> str:
    """A table of two columns."""
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _table(values: Mapping[str, Any] | None) -> str:
    """A table of what was recorded; in words where nothing was, or there was nothing to record."""
    if not values:
        return _absent() if values is None else "None."
    return _rows({_heading(key): value for key, value in values.items()})


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {_text(item)}" for item in items) or _absent()


def _absent() -> str:
    return f"*{NOT_ASSESSED}*"


def _cell(value: Any) -> str:
    """A value as the cell of a table, on one line."""
    if value is None or (isinstance(value, str | Sequence | Mapping) and len(value) == 0):
        return _absent()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{_text(key)} {_cell(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_cell(item) for item in value)
    return _text(f"{value:g}" if isinstance(value, float) else value).replace("|", "\\|")


def _text(value: Any) -> str:
    return " ".join(str(value).split())


def _heading(key: str) -> str:
    return str(key).replace("_", " ")
