"""What must hold between the keys of SOURCES.yaml, and reading it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from trialsim.data.card import Purpose
from trialsim.data.ingest.declaration import AGGREGATED, LAST_SEEN, Ingest
from trialsim.data.part_file import Rule, read_part
from trialsim.data.shown_path import shown_path
from trialsim.errors import did_you_mean

PERSON, INDEX_DATE, UNTIL, JURISDICTION = "person", "index_date", "consent_until", "consent_jurisdiction"
_A_NAME = re.compile(r"[^\W\d]\w*")


def read_ingest(path: Path | str) -> Ingest:
    """What SOURCES.yaml declares. Raises DataError with every problem, each with its line and column."""
    return read_part(path, Ingest, is_a="SOURCES.yaml is a map with ingest, id, title, source, sources and features", shown=shown_path(path), rules=_rules)


def consent_column(purpose: Purpose) -> str:
    """The column that permits a purpose."""
    return f"consent_{purpose}"


def columns_of(declared: Ingest, name: str) -> tuple[str, ...]:
    """The columns that a feature becomes."""
    return (f"{name}_days", f"{name}_event") if declared.features[name].event is not None else (name,)


def _rules(declared: Ingest) -> Iterator[Rule]:
    yield from _sources(declared)
    yield from _genomic(declared)
    yield from _codes(declared)
    yield from _columns(declared)
    for name, feature in declared.features.items():
        needs = feature.origin if feature.origin in (*AGGREGATED, "event") else "as: age" if feature.as_ == "age" else None
        if declared.index is None and needs is not None:
            yield ("features", name), f"is counted from the index date ({needs}), so `index` must be declared"
    if declared.consent is not None and not declared.purposes:
        yield ("consent",), "needs `purposes`: there is nothing to consent to"


def _sources(declared: Ingest) -> Iterator[Rule]:
    named: list[tuple[tuple[str | int, ...], str]] = []
    if declared.link is not None:
        named += [(("link", "columns", source), source) for source in declared.link.columns]
    if declared.index is not None:
        named += [(("index", "source"), source) for source in declared.index.source or ()]
    for name, feature in declared.features.items():
        named += [(("features", name, "source"), source) for source in feature.source or ()]
    if declared.consent is not None:
        named += [(("consent", "sources", place), source) for place, source in enumerate(declared.consent.sources)]
    for path, source in named:
        if source not in declared.sources:
            yield path, f'there is no source "{source}"{did_you_mean(source, declared.sources)}'


def _genomic(declared: Ingest) -> Iterator[Rule]:
    """Genotypes are for a purpose of their own, which the card must permit."""
    for name, source in declared.sources.items():
        purpose = getattr(source, "genomic_purpose", None)
        if purpose is not None and purpose not in declared.purposes:
            yield ("purposes",), f'the source "{name}" holds genotypes, which needs the purpose {purpose}; without it, leave the source out'


def _codes(declared: Ingest) -> Iterator[Rule]:
    used: list[tuple[tuple[str | int, ...], Sequence[str]]] = []
    if declared.index is not None and declared.index.codes is not None:
        used.append((("index", "codes"), declared.index.codes))
    for name, feature in declared.features.items():
        used += [(("features", name, key), lists) for key in ("codes", "event") if (lists := getattr(feature, key)) is not None]
        if not isinstance(feature.until, date) and feature.until != LAST_SEEN:
            used.append((("features", name, "until"), feature.until))
    for path, lists in used:
        is_event = path[-1] == "event"
        for name in lists:
            if name not in declared.codes and not (is_event and name == "death"):
                others = {"event": ["death"], "until": list(LAST_SEEN)}.get(str(path[-1]), [])
                yield path, f'there is no code list "{name}"{did_you_mean(name, [*declared.codes, *others])}'
        pairs = [(declared.codes[name].system, code) for name in dict.fromkeys(lists) if name in declared.codes for code in set(declared.codes[name].codes)]
        twice = sorted({pair for pair in pairs if pairs.count(pair) > 1})
        if twice or len(set(lists)) < len(lists):
            yield path, "names a code list twice" if len(set(lists)) < len(lists) else f"{twice[0][1]} of {twice[0][0]} is in several of these code lists"
    for name, what in (("death", "the death of a person"), ("last_seen", "a person's last record")):
        if name in declared.codes:
            yield ("codes", name), f"is reserved for {what}; name the code list otherwise"


def _columns(declared: Ingest) -> Iterator[Rule]:
    taken = {PERSON: "the id", INDEX_DATE: "the index date"}
    if declared.consent is not None:
        taken |= dict.fromkeys((UNTIL, JURISDICTION, *map(consent_column, declared.purposes)), "consent")
    folded = {column.lower(): what for column, what in taken.items()}
    for name in declared.features:
        if _A_NAME.fullmatch(name) is None:
            yield ("features", name), "a column is a letter and then letters, digits and _"
        for column in columns_of(declared, name):
            if column.lower() in folded:
                yield ("features", name), f'the column "{column}" is that of {folded[column.lower()]}'
            folded[column.lower()] = f"the feature {name}"
