"""The protocol as prose that a statistician would sign.

`passages` says everything that matters in a protocol, in the order of a synopsis; `explain` prints it wrapped. Where designs
or scenarios differ, the values are those of one cell, which is named; the differences follow under "Designs and scenarios".
"""

from __future__ import annotations

import textwrap

from trialsim.report.sentences.analyses import the_analyses
from trialsim.report.sentences.conduct import accrual_and_randomisation
from trialsim.report.sentences.endpoints import the_endpoints
from trialsim.report.sentences.estimands import the_estimands
from trialsim.report.sentences.looks import the_looks
from trialsim.report.sentences.other import costs, dose_escalation
from trialsim.report.sentences.passage import Passage
from trialsim.report.sentences.population import the_population
from trialsim.report.sentences.scenarios import described_cell, designs_and_scenarios, the_simulation
from trialsim.report.sentences.study import the_study, what_is_tested
from trialsim.report.sentences.truth import the_assumptions
from trialsim.report.wording import NB
from trialsim.spec import Cell, Study

WIDTH = 100


def passages(study: Study, described: Cell | None = None) -> tuple[Passage, ...]:
    """The protocol by topic, with the values of one cell; topics it says nothing about are left out."""
    cell = described or described_cell(study)
    protocol = cell.protocol
    found = (
        the_study(protocol),
        what_is_tested(protocol),
        the_population(protocol),
        the_endpoints(protocol),
        the_estimands(protocol),
        the_assumptions(protocol),
        accrual_and_randomisation(protocol),
        dose_escalation(protocol),
        the_analyses(protocol),
        the_looks(protocol),
        designs_and_scenarios(study),
        the_simulation(study, protocol),
        costs(protocol),
        not_supported(study),
    )
    return tuple(_with_cell(passage, study, cell.design, cell.scenario) for passage in found if passage.paragraphs)


def _with_cell(passage: Passage, study: Study, design: str, scenario: str) -> Passage:
    """The first passage says which cell the values are of, where there are several."""
    if passage.title != "The study" or len(study.cells()) == 1:
        return passage
    of = f"the scenario {scenario}" if design == "default" else f"the design {design} under the scenario {scenario}"
    note = f"Where designs or scenarios differ, the values given here are those of {of}."
    return Passage(passage.title, (*passage.paragraphs, note))


def not_supported(study: Study) -> Passage:
    """What the language says and the engine cannot do yet."""
    notes = study.notes()
    if not notes:
        return Passage.of("Not supported yet")
    said = list(dict.fromkeys(note.message.removeprefix("not supported yet: ").rstrip(".") for note in notes))
    return Passage.of("Not supported yet", ["The engine cannot run this protocol yet; what it lacks:", "; ".join(said) + "."])


def explain(study: Study) -> str:
    """The protocol as prose, wrapped at 100 columns."""
    return as_text(passages(study))


def as_text(found: tuple[Passage, ...]) -> str:
    """Passages as plain text, wrapped at 100 columns."""
    blocks = []
    for passage in found:
        wrapped = ["\n".join(textwrap.wrap(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)) for paragraph in passage.paragraphs]
        blocks.append("\n\n".join([passage.title.upper(), *wrapped]))
    return "\n\n".join(blocks).replace(NB, " ") + "\n"
