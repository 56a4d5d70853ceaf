"""The page of a check: well formed, self-contained, and saying what the report says."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from witness.samplers import MODELLED, ROLES, Bootstrap, Independent, trial

from trialsim.cohort.disclosure import Disclosure, GroupAuc, MembershipAuc
from trialsim.errors import UsageError
from trialsim.evaluation.cohort_check import CheckReport, check_cohort
from trialsim.report.cohort_page import render, write_cohort_page
from trialsim.report.figures.forest import Forest, ForestRow
from trialsim.report.figures.heat_map import HeatMap
from trialsim.report.figures.histogram import of_levels, of_numbers

VOID = {"meta", "br", "hr", "link"}


class Page(HTMLParser):
    """Checks nesting, counts tags, keeps texts and table rows."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.problems: list[str] = []
        self.counts: dict[str, int] = {}
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> CheckReport:
    real = trial(400, seed=1, missing=0.1)
    target = tmp_path_factory.mktemp("target") / "population.yaml"
    target.write_text("name: Everybody <here>\ncolumns: {age: {mean: 52, sd: 8}, sex: {proportions: {1: 0.5}}}\n")
    found = check_cohort(Independent(real, ROLES, MODELLED), real, recipe=None, n_draws=1, n_synthetic=3000, target=target)
    auc = MembershipAuc(
        0.5, 0.47, 0.53, 0.01, None, (GroupAuc("sex = 1", 160, 0.51, 0.44, 0.58),), {"density_ratio": 0.5, "shadow_model": 0.49, "tracing": 0.612}, 20
    )
    gate = Disclosure(
        "pass", auc, None, (), 200, {"of_members": 0.0}, {"median": 1.5}, {"x": {"emitted": 0.0}}, {"univariate": {"rate": 0.01}}, {"rate": 0.02}, {}
    )
    return replace(found, disclosure=gate, model={"id": "made <model>"}, data={"file": "made.csv", "permission": {"n_rows": 400}})


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(render(report))


def test_the_page_is_well_formed_and_stands_alone(page, report):
    assert page.problems == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    text = render(report)
    assert "made &lt;model&gt;" in text
    assert "<model>" not in text
    assert "Everybody &lt;here&gt;" in text
    assert "src=" not in text
    assert "nan" not in page.text.lower().split()


def test_the_verdict_comes_first_with_its_reasons(page, report):
    head = page.text[: page.text.index("Margins\n") if "Margins\n" in page.text else len(page.text)]
    assert "Fail" in head
    for reason in report.reasons:
        assert reason in page.text
    for criterion in report.criteria:
        assert criterion.sentence[: criterion.sentence.rfind(" (")] in page.text


def test_every_column_effect_curve_and_table_is_drawn(page, report):
    effects = {effect.name for effect in report.effects.effects}
    # a histogram per column, two matrices, one survival chart, a forest per effect, the membership forest, a key per curve
    assert page.counts["svg"] == len(MODELLED) + 2 + 1 + len(effects) + 1 + 4
    for words in ("Membership gate", "Enrolment goals", "Standardised differences", "Outcomes in every subgroup", "Weighted to the target"):
        assert words in page.text


def test_every_attack_stands_beside_the_gate_with_its_part_in_it(page):
    told = " ".join(page.text[page.text.index("Each attack by itself") :].split())
    assert "density ratio0.500yes shadow model0.490yes" in told
    assert "tracing0.612no: it looks at aggregates" in told


def test_a_check_without_disclosure_arms_or_outcomes_has_a_page():
    real = trial(200, seed=2)
    columns = ("x", "age", "sex")
    model = Bootstrap(real, replace(ROLES, arm=None, events={}, values={}), columns)
    found = check_cohort(model, real, recipe=None, n_draws=1, n_synthetic=500)
    page = Page(render(found))
    assert page.problems == []
    assert "Not checked." in page.text
    assert page.counts["svg"] == 3 + 2


def test_the_page_appears_whole_or_not_at_all(report, tmp_path):
    assert write_cohort_page(report, tmp_path / "page.html").read_text() == render(report)
    with pytest.raises(UsageError, match="cannot be written"):
        write_cohort_page(report, tmp_path / "no" / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_histograms_hold_everybody():
    rng = np.random.default_rng(1)
    found = of_numbers("x", rng.standard_normal(500), 3 + rng.standard_normal(900))
    assert sum(found.real) == pytest.approx(1)
    assert sum(found.synthetic) == pytest.approx(1)
    constant = of_numbers("x", np.ones(5), np.ones(9))
    assert max(constant.real) == 1.0
    levels = of_levels("s", np.array([0.0, 0.0, 1.0]), np.array([2.0]), ("a", "b", "c"))
    assert (levels.real, levels.synthetic) == (pytest.approx([2 / 3, 1 / 3, 0]), [0.0, 0.0, 1.0])
    for figure in (found, constant, levels):
        assert Page(figure.svg(id="h")).problems == []


def test_a_forest_and_a_matrix_of_one_and_of_nothing():
    forest = Forest("f", "x", [ForestRow("a <b> name that is much too long to be shown whole", 1.0, 1.0, 1.0)])
    assert Page(forest.svg(id="f")).problems == []
    assert "…" in forest.svg(id="f")
    low, high = Forest("f", "x", [ForestRow("a", 2.0, 1.0, 3.0, mark=5.0)]).x_range
    assert low < 0 < 5 < high
    matrix = HeatMap("m", ["a", "b"], np.array([[1.0, np.nan], [-0.5, 1.0]]))
    assert matrix.svg(id="m").count("<rect") == 1
    assert HeatMap("m", [], np.empty((0, 0))).svg(id="m").count("<rect") == 0
