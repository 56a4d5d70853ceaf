"""Model cards: the order of their parts, and that what is missing is said."""

from __future__ import annotations

import dataclasses
import re

from trialsim.data.governance.model_card import ALWAYS_RULED_OUT, Figure, ModelCard, model_card

FULL = ModelCard(
    model_id="m-1",
    title="ACTG175 copula",
    question="What power does a trial of 400 have?",
    context_of_use="Baselines of simulated trials",
    purpose="simulate",
    not_for=("external control arms",),
    influence="medium",
    consequence="low",
    risk="low",
    risk_rationale="Pilot data follow",
    data={"id": "actg175", "source": "a | b\nc", "licence": "MIT", "citation": "Hammer 1996", "sha256": "0" * 64, "n": 2139, "share": 0.25},
    permission={"n_rows": 2139, "n_permitted": 2000, "by_row": True},
    left_out={"zprior": "it is constant"},
    missing={"cd496": 797},
    privacy={
        "neighbours": "one patient more",
        "epsilon": 3.0,
        "delta": 1e-6,
        "largest_membership_auc": 0.75,
        "noise": "the operating system's",
        "without": [],
        "releases": [{"purpose": "counts | arms", "numbers": 12, "sensitivity": 1.5, "sigma": 2.25, "epsilon": 1.25}],
    },
    method="Gaussian copula",
    assumptions=("hazards are proportional",),
    verdict="pass",
    reasons=("membership gate passed",),
    fidelity=(Figure("largest correlation error", "0.03", "≤ 0.05", True),),
    effects=(Figure("log HR error", "0.01"),),
    disclosure=(Figure("membership AUC", "0.58", "< 0.55", False),),
    fairness=(Figure("SMD of sex", "0.02", "≤ 0.1", True),),
    limits=("adults only",),
)


def test_the_parts_come_in_order():
    headings = re.findall(r"^## (.*)$", model_card(FULL), flags=re.MULTILINE)
    assert headings == ["1 Context of use", "2 Model risk", "3 Data", "4 Performance", "5 Limits"]


def test_everything_that_is_known_is_printed():
    text = model_card(FULL)
    assert "not assessed" not in text
    for words in (
        "# ACTG175 copula",
        "| Context of use | Baselines of simulated trials |",
        "- external control arms",
        "| Model risk | low |",
        "| Source | a \\| b c |",
        "| n permitted | 2000 |",
        "| by row | yes |",
        "| zprior | it is constant |",
        "| cd496 | 797 |",
        "| share | 0.25 |",
        "| ε | 3 |",
        "| δ | 1e-06 |",
        "| columns left out | none |",
        "| counts \\| arms | 12 | 1.5 | 2.25 | 1.25 |",
        "| largest correlation error | 0.03 | ≤ 0.05 | yes |",
        "| log HR error | 0.01 | – | – |",
        "| membership AUC | 0.58 | < 0.55 | **no** |",
        "- adults only",
        *(f"- {words}" for words in ALWAYS_RULED_OUT),
    ):
        assert words in text.splitlines(), words


def test_what_is_missing_is_said_and_never_left_out():
    full, bare = model_card(FULL), model_card(ModelCard("m-1", "m"))
    lines = bare.splitlines()
    assert [line for line in full.splitlines() if line.startswith("#")][1:] == [line for line in lines if line.startswith("#")][1:]
    for name in (
        "Question of interest",
        "Context of use",
        "Influence",
        "Consequence of a wrong decision",
        "Model risk",
        "Licence",
        "Verdict of the checks",
        "Method",
    ):
        assert f"| {name} | *not assessed* |" in lines
    for heading in (
        "Consent and permission",
        "Columns left out",
        "Missing cells",
        "Fidelity",
        "Effect preservation",
        "Disclosure",
        "Assumptions",
        "Known limits",
    ):
        assert lines[lines.index(f"### {heading}") + 2] == "*not assessed*"


def test_each_field_left_empty_adds_a_not_assessed():
    """No field of the card can be missing without a word."""
    empty = ModelCard("m-1", "m")
    for field in dataclasses.fields(ModelCard):
        if field.name not in ("model_id", "title", "not_for", "reasons", "data"):
            text = model_card(dataclasses.replace(FULL, **{field.name: getattr(empty, field.name)}))
            assert text.count("*not assessed*") == 1, field.name
    assert model_card(dataclasses.replace(FULL, data={})).count("*not assessed*") == 4


def test_nothing_left_out_is_another_thing_than_not_recorded():
    lines = model_card(dataclasses.replace(FULL, left_out={}, missing={})).splitlines()
    assert lines[lines.index("### Columns left out") + 2] == "None."


def test_a_model_without_privacy_says_so():
    lines = model_card(dataclasses.replace(FULL, privacy={})).splitlines()
    assert lines[lines.index("### Differential privacy") + 2] == "None: the model was fitted to the patients themselves, without noise."


def test_it_never_claims_compliance():
    assert "complian" not in model_card(FULL).lower()
