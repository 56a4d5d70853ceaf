"""The prose of a protocol: what it says, that it says everything, and that it is English."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ruamel.yaml import YAML

from trialsim.analysis import METHODS
from trialsim.errors import TrialsimError
from trialsim.report.prose import WIDTH, explain
from trialsim.report.sentences import analyses
from trialsim.spec import Study, load

ROOT = Path(__file__).parents[2]
TRIALS = ROOT / "trials"
NAMES = ("actg175", "alzheimers_twin", "copd_exacerbations", "depression_mmrm", "oncology_group_sequential", "ulcerative_colitis_remission")


@pytest.fixture(scope="module")
def studies() -> dict[str, Study]:
    return {name: load(TRIALS / f"{name}.yaml") for name in NAMES}


@pytest.fixture(scope="module")
def texts(studies: dict[str, Study]) -> dict[str, str]:
    return {name: explain(study) for name, study in studies.items()}


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("oncology_group_sequential", "500 patients are to be randomised to two arms"),
        ("oncology_group_sequential", "ecog is one of 0 (40 %) and 1 (60 %)."),
        ("oncology_group_sequential", "age follows a truncated normal distribution with mean 63 years, standard deviation 9 years and lower limit 18 years."),
        ("oncology_group_sequential", "A patient may enter when age is at least 18 years (I01)."),
        ("oncology_group_sequential", "os is the primary endpoint: the time from randomisation to death; fewer or later events are better."),
        ("oncology_group_sequential", "subsequent_therapy, by the treatment policy strategy (the variable is used whether or not the event occurs)"),
        ("oncology_group_sequential", "the time to death follows a Weibull distribution with shape 1.1 and median 12 months."),
        ("oncology_group_sequential", "The hazard of death is multiplied by 1.5 in patients with ecog 1."),
        ("oncology_group_sequential", "is 1 until 3 months after randomisation and 0.7 thereafter."),
        ("oncology_group_sequential", "an exponential distribution with hazard 0.01 per month."),
        ("oncology_group_sequential", "15 patients per month until 6 months after accrual opens and 30 patients per month from then on."),
        ("oncology_group_sequential", "Patients are allocated 1 : 1 to experimental and control, in permuted blocks of 4 patients within the strata of ecog."),
        ("oncology_group_sequential", "uses the log-rank test stratified by ecog to compare experimental with control on os (estimand e1)."),
        (
            "oncology_group_sequential",
            "The look look1 is made when 176 events of os have occurred, all arms pooled, and at the latest 60 months after accrual opens.",
        ),
        ("oncology_group_sequential", "Lan–DeMets spending of the O'Brien–Fleming type, for a total one-sided alpha of 0.025."),
        ("oncology_group_sequential", "The rule is non-binding: the efficacy bounds ignore it."),
        ("oncology_group_sequential", "the trial stops for futility when the estimated hazard ratio exceeds 0.9 (z below about 0.8560)."),
        ("oncology_group_sequential", "100,000 trials in each null-hypothesis scenario and 10,000 trials in each alternative and sensitivity scenario."),
        ("oncology_group_sequential", "stress (sensitivity analysis) sets hr to 0.65 or 0.75 and delay to 0 months or 6 months, in every combination."),
        ("actg175", "fitted to the patient-level data in data/actg175.csv"),
        ("actg175", "the column treat is the treatment: combination where it is 1 and zdv where it is 0"),
        ("actg175", "the difference in cd4 is +49.4."),
        ("actg175", "The look final is made 41 months after accrual opens."),
        ("actg175", "analysis of covariance adjusted for cd40 and twin_prognosis"),
        ("actg175", "The critical value of z is 1.9600."),
        ("actg175", "The hazard ratio is estimated by Cox regression."),
        ("actg175", "allocated 3 : 1 to combination and zdv, in permuted blocks of 8 patients."),
        ("alzheimers_twin", "the slope of cdrsb is reduced by 30 %, from 12 weeks after randomisation."),
        ("alzheimers_twin", "its mean slope is 1.3 per year (standard deviation 1.1 per year between patients)"),
        ("alzheimers_twin", "death, by the composite strategy (the event is part of the variable, with the value worst score)"),
        ("alzheimers_twin", "correlation −0.5 between mmse and cdrsb_baseline, and 0 between all other pairs."),
        ("alzheimers_twin", "share alpha by Hochberg's procedure."),
        ("alzheimers_twin", "efficacy is declared when |z| is at least 2.2414"),
        ("alzheimers_twin", "Critical values of high are those at an alpha of 0.025, which suffices whatever the others show."),
    ],
)
def test_key_sentences(texts: dict[str, str], name: str, sentence: str) -> None:
    assert sentence in flat(texts[name])


def test_what_is_not_supported_is_named_at_the_end(texts: dict[str, str], studies: dict[str, Study]) -> None:
    last = flat(texts["alzheimers_twin"]).rpartition("NOT SUPPORTED YET")[2]
    for note in studies["alzheimers_twin"].notes():
        assert note.message.removeprefix("not supported yet: ") in last
    for name in ("actg175", "oncology_group_sequential"):
        assert studies[name].notes() == ()
        assert "NOT SUPPORTED YET" not in texts[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_protocol_appears(texts: dict[str, str], studies: dict[str, Study], name: str) -> None:
    study, text = studies[name], flat(texts[name])
    cells = study.cells()
    protocol = cells[0].protocol
    assert protocol.population is not None
    assert protocol.truth is not None
    wanted = {
        *protocol.arms,
        *protocol.interventions,
        *protocol.population.covariates,
        *protocol.population.eligibility,
        *protocol.endpoints,
        *protocol.estimands,
        *protocol.visits,
        *protocol.analyses,
        *protocol.looks,
        *protocol.truth.outcomes,
        *protocol.truth.intercurrent_events,
        *(cell.design for cell in cells if cell.design != "default"),
        *(cell.scenario for cell in cells),
        *(event for estimand in protocol.estimands.values() for event in estimand.intercurrent_events),
        *(covariate for analysis in protocol.analyses.values() for covariate in analysis.covariates),
    }
    assert sorted(word for word in wanted if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)) == []


@pytest.mark.parametrize("path", [*sorted(TRIALS.glob("*.yaml")), *sorted((ROOT / "tests/specs/valid").glob("*.yaml"))], ids=lambda path: path.stem)
def test_every_valid_protocol_is_typeset_as_english(path: Path) -> None:
    text = explain(load(path))
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert not re.search(r"  |None|\{|\}|\(\)|\.\.|,\.|;\.|\bnan\b| [.,;:](?!\d)(?! \d)", text), re.search(
        r".{30}(?:  |None|\{|\}|\(\)|\.\.|,\.|;\.| [.,;]).{10}", text
    )
    paragraphs = [paragraph for paragraph in text.split("\n\n") if not paragraph.isupper()]
    assert all(paragraph.rstrip().endswith(".") for paragraph in paragraphs)


def test_critical_values_are_those_of_gsdesign() -> None:
    with open(ROOT / "tests/reference/gs_boundaries.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["case"] == "GSB-G-045"]  # sfLDOF, one-sided 0.025, looks at 0.4, 0.75, 1
    assert [row["info_frac"] for row in rows] == ["0.4", "0.75", "1"]
    text = flat(explain(load(ROOT / "tests/report/protocols/mutable.yaml")))
    said = re.findall(r"efficacy is declared when z is at least ([0-9.]+) \(one-sided p at most [0-9.]+; alpha spent so far ([0-9.]+)\)", text)
    assert [float(z) for z, _ in said] == pytest.approx([float(row["z_upper"]) for row in rows], abs=1e-4)
    assert [float(spent) for _, spent in said] == pytest.approx([float(row["cum_alpha"]) for row in rows], abs=1e-5)


# Changing a number changes the prose -------------------------------------------------------------------------------------

QUANTITY = re.compile(r"^([0-9.]+)( ?[%/a-z].*)$")
MUTATED = ("tests/report/protocols/mutable.yaml", "trials/alzheimers_twin.yaml")
NO_OTHER_VALUE = {
    ("analyses", "primary", "sides"),  # 2 is refused beside futility; the other analysis of the file has it
    ("visits", "baseline", "at"),  # the baseline is at 0
}


def protocol_of(name: str) -> Any:
    """A protocol as written, without the designs and scenarios that only make it slow to load."""
    protocol = YAML(typ="safe").load((ROOT / name).read_text())
    protocol.pop("designs", None)
    protocol["scenarios"] = {key: item for key, item in protocol["scenarios"].items() if "grid" not in item}
    return protocol


def numbers(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict | list):
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from numbers(item, (*path, key))
    elif (isinstance(node, int | float) and not isinstance(node, bool)) or (isinstance(node, str) and QUANTITY.match(node)):
        yield path


def changed(value: Any) -> Iterator[Any]:
    """Other values of the same kind, some of which a protocol will accept."""
    if isinstance(value, str):
        match = QUANTITY.match(value)
        assert match
        yield from (f"{float(match[1]) * factor:g}{match[2]}" for factor in (1.25, 0.75, 2.0) if float(match[1]))
        yield f"1{match[2]}"
    elif isinstance(value, int):
        yield from (value + 1, value * 2, value * 3, value * 4, value - 1, 3 - value)
    else:
        yield from (other for other in (value * 1.25, value * 0.75, value * 0.5, value + 0.1) if other != value)


@cache
def prose_of(name: str) -> str:
    return explain(study_of(protocol_of(name)))


def study_of(protocol: Any) -> Study:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "protocol.yaml"
        with open(path, "w") as file:
            YAML(typ="safe").dump(protocol, file)
        return load(path)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, id=".".join(map(str, (Path(name).stem, *path))))
        for name in MUTATED
        for path in numbers(protocol_of(name))
        if path not in NO_OTHER_VALUE
    ],
)
def test_changing_a_number_changes_the_prose(name: str, path: tuple[Any, ...]) -> None:
    def inner(protocol: Any) -> Any:
        for step in path[:-1]:
            protocol = protocol[step]
        return protocol

    old = inner(protocol_of(name))[path[-1]]
    for new in changed(old):
        protocol = protocol_of(name)
        inner(protocol)[path[-1]] = new
        if path[-2] == "probs":  # they add up to 1
            inner(protocol)[next(level for level in inner(protocol) if level != path[-1])] += old - new
        try:
            study = study_of(protocol)
        except TrialsimError:
            continue
        assert explain(study) != prose_of(name)
        return
    pytest.fail(f"no other value of {path} makes a valid protocol")


# The short form, where the total is not known ---------------------------------------------------------------------------


BARE = """\
spec: trialsim/1
study: {id: BARE}
arms: {test: {}, reference: {}}
endpoints: {y: {type: time_to_event}}
analyses: {primary: {endpoint: y, treatment: {test: test, reference: reference}, method: logrank, alpha: 0.025, sides: 1}}
interims:
  timing: {information: events, fractions: [0.4, 0.75]}
  efficacy: {spending: lan_demets_obrien_fleming}
  futility: {spending: hwang_shih_decani, gamma: -2, beta: 0.1, binding: false}
"""


def test_a_bare_boundary_is_told_by_its_fractions(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text(BARE)
    text = flat(explain(load(tmp_path / "bare.yaml")))
    with open(ROOT / "tests/reference/gs_boundaries.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["case"] == "GSF-G-170"]  # gsDesign, test.type = 4, sfLDOF and sfHSD(-2)
    assert "The analysis primary is made at 0.400, 0.750 and 1.000 of its planned events, a total that is not stated." in text
    assert "spends a type II error of 0.1 by the gamma family of Hwang, Shih and De Cani with γ −2." in text
    upper = [float(z) for z in re.findall(r"z is at least ([0-9.]+)", text)]
    lower = [float(z) for z in re.findall(r"stops for futility when z is below ([0-9]+[.][0-9]+)", text)]
    assert upper == pytest.approx([float(row["z_upper"]) for row in rows], abs=1e-4)
    assert lower == pytest.approx([float(row["z_lower"]) for row in rows[:-1]], abs=1e-4)


# The registries ----------------------------------------------------------------------------------------------------------


def test_every_method_has_words() -> None:
    names = {str(method.model_fields["method"].annotation.__args__[0]) for method in METHODS}  # type: ignore[union-attr]
    assert names == set(analyses.METHODS)
