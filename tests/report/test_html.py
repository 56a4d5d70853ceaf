"""The page: complete, self-contained, well formed, readable."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from trialsim.errors import IncompleteRunError, UsageError
from trialsim.report import write_report
from trialsim.report.numbers import figure, measure_name
from trialsim.report.prose import passages
from trialsim.report.source import read_run
from trialsim.report.wording import NB

VOID = {"meta", "br", "hr", "img", "input", "link", "col"}
SELF_CLOSED = {"path", "line", "circle", "rect"}


class Page(HTMLParser):
    """Checks nesting while reading, and keeps what the tests ask about."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.problems: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.row_classes: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
            self.row_classes.append(dict(attrs).get("class") or "")
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID | SELF_CLOSED:
            self.problems.append(f"<{tag}/>")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1][0] if self.open else 'nothing'}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        names = {tag for tag, _ in self.open}
        if self.rows and names & {"td", "th"}:
            self.rows[-1][-1] += data
        for tag in names:
            self.texts[tag][-1] += data

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="session")
def page_text(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(finished, tmp_path_factory.mktemp("pages") / "mutable.html").read_text()


@pytest.fixture(scope="session")
def page(page_text: str) -> Page:
    return Page(page_text)


@pytest.fixture(scope="session")
def fitted_page(finished_fitted: Path, fitted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIALSIM_CACHE", str(fitted_folder / "cache"))
        return Page(write_report(finished_fitted, tmp_path_factory.mktemp("pages") / "fitted.html").read_text())


def spaced(text: str) -> str:
    return " ".join(text.replace(NB, " ").split())


def everything(page: Page) -> str:
    return spaced(page.texts["body"][0])


def rows_of(run: Path) -> list[dict[str, Any]]:
    return list(json.loads((run / "results.json").read_text())["results"])


@pytest.mark.parametrize("which", ["page", "fitted_page"])
def test_the_page_is_well_formed(which: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(which)
    assert page.problems == []
    assert page.open == []
    ids = [str(attrs["id"]) for _, attrs in page.tags if "id" in attrs]
    assert sorted(ids) == sorted(set(ids))
    references = [str(attrs[key]) for _, attrs in page.tags for key in ("aria-labelledby",) if key in attrs]
    references += [str(attrs["href"]).removeprefix("#") for attrs in page.having("a")]
    assert {name for reference in references for name in reference.split()} <= set(ids)


@pytest.mark.parametrize("which", ["page", "fitted_page"])
def test_nothing_is_loaded_from_anywhere(which: str, request: pytest.FixtureRequest) -> None:
    page = request.getfixturevalue(which)
    assert {name for name, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base"} == set()
    for name, attrs in page.tags:
        for key, value in attrs.items():
            if key in ("href", "src", "srcset", "action", "xlink:href"):
                assert (value or "").startswith("#"), (name, key, value)
            elif key != "xmlns":
                assert "://" not in (value or ""), (name, key, value)
    style = page.texts["style"][0]
    assert not re.search(r"url\(|@import|https?:", style)
    assert "prefers-color-scheme: dark" in style


def test_every_result_row_is_there_with_its_mcse_and_n(page: Page, finished: Path) -> None:
    shown = [row for row, kind in zip(page.rows, page.row_classes, strict=True) if kind == "result"]
    rows = rows_of(finished)
    assert len(shown) == len(rows) > 100
    for cells, row in zip(shown, rows, strict=True):
        number = figure(row)
        assert number is not None
        assert cells[0] == measure_name(row)
        assert cells[2] == ("whole trial" if row["look"] is None else f"look {row['look']}")
        assert cells[3:6] == [number.estimate, number.mcse, f"{row['n']:,}"]


def test_the_summary_gives_power_of_every_scenario_with_its_mcse(page: Page, finished: Path) -> None:
    text = everything(page)
    for row in rows_of(finished):
        if row["measure"] == "power":
            number = figure(row)
            assert number is not None
            assert f"{number.estimate} ± {number.mcse}, n {row['n']:,}" in text


def test_type_i_error_is_named_where_the_null_is_true_and_nowhere_else(page: Page, finished: Path) -> None:
    table = {spaced(row[0]): [spaced(cell) for cell in row[1:]] for row in page.rows if len(row) == 3}
    assert [cell.split("0.")[0].strip() for cell in table["none null hypothesis"]] == ["type I error", "power"]  # points differs under "none" too
    assert [cell.split("0.")[0].split("1.")[0].strip() for cell in table["expected alternative"]] == ["power", "power"]


def test_the_prose_is_there(page: Page, finished: Path) -> None:
    text = everything(page)
    run = read_run(finished)
    for passage in passages(run.study, run.described):
        assert passage.title in text
        for paragraph in passage.paragraphs:
            assert spaced(paragraph) in text


def test_headings_figures_and_tables_are_accessible(page: Page) -> None:
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert page.having("html")[0]["lang"] == "en"
    assert len(page.having("caption")) == len(page.having("table")) > 0
    assert all(attrs.get("scope") in ("col", "row", "rowgroup") for attrs in page.having("th"))
    figures = page.having("figure")
    assert len(figures) == len(page.having("figcaption")) > 0
    charts = [attrs for attrs in page.having("svg") if attrs.get("role") == "img"]
    assert len(charts) == len(figures)
    assert all(attrs.get("aria-labelledby") for attrs in charts)
    assert all(attrs.get("aria-hidden") == "true" for attrs in page.having("svg") if attrs.get("role") != "img")


def test_figures_take_their_colours_from_the_page(page_text: str) -> None:
    for chart in re.findall(r'<svg class="chart".*?</svg>', page_text, flags=re.DOTALL):
        assert not re.search(r'(?:fill|stroke|style|color)="', chart)
        assert not re.search(r"\bnan\b", chart)


def test_the_boundary_plot_and_table_show_the_planned_bounds(page: Page) -> None:
    rows = [row for row in page.rows if row[0] in ("look1", "look2", "final") and len(row) == 7]
    assert [row[:4] for row in rows] == [["look1", "80", "0.400", "3.3569"], ["look2", "150", "0.750", "2.3449"], ["final", "200", "1.000", "2.0125"]]
    assert [row[-1] for row in rows] == ["0.1000", "0.6000", "–"]
    assert {"3.357", "2.345", "2.012", "0.100", "0.600"} <= set(page.texts["text"])


def test_the_run_can_be_done_again(page: Page, finished: Path) -> None:
    text = everything(page)
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["protocol_sha256"] in text
    assert "trialsim run mutable.yaml" in text
    for name in ("trialsim", "torch", "numpy", "python"):
        assert f"{name} {manifest['engine'][name]}" in text
    assert spaced((finished / "protocol.yaml").read_text()) in text
    assert "100 simulated trials: 60 in each null hypothesis cell and 40 in each alternative cell." in text


def test_cells_that_share_their_noise_are_said_to(page: Page, fitted_page: Page) -> None:
    assert "never pool their standard errors" in everything(page)
    assert "never pool their standard errors" not in everything(fitted_page)


def test_real_patients_stand_beside_simulated_ones(fitted_page: Page) -> None:
    text = everything(fitted_page)
    assert "The cohort and the data" in text
    assert "Kaplan–Meier estimates of 300 real patients" in text
    assert "averaged over 20,000 simulated patients" in text
    assert "MIT (as distributed with lifelines)" in text
    legend = [spaced(item) for item in fitted_page.texts["li"]]
    assert {"combination, real patients", "combination, simulated", "zdv, real patients", "zdv, simulated"} <= set(legend)
    heads = {row[0] for row in fitted_page.rows}
    assert {"age", "karnof", "gender", "strat: 1", "strat: 2", "strat: 3", "cd40"} <= heads


def test_the_gain_from_adjustment_is_said_to_be_optimistic_where_the_same_model_generates(page: Page, fitted_page: Page) -> None:
    assert "The gain from adjustment is optimistic: the analysis cd4_adjusted adjusts for twin_prognosis" in everything(fitted_page)
    assert "optimistic" not in everything(page)


def test_the_protocol_s_own_text_is_escaped(fitted_page: Page) -> None:
    assert "a cohort fitted to patients & data <b>" in everything(fitted_page)
    assert fitted_page.having("b") == []


def test_data_that_are_gone_are_said_to_be_gone(finished_fitted: Path, fitted_folder: Path, tmp_path: Path) -> None:
    data = fitted_folder / "patients.csv"
    hidden = data.rename(fitted_folder / "elsewhere.csv")
    try:
        text = write_report(finished_fitted, tmp_path / "page.html").read_text()
    finally:
        hidden.rename(data)
    assert "The data are not shown: patients.csv" in text


def test_where_it_is_written(finished: Path, tmp_path: Path) -> None:
    assert write_report(finished) == finished / "report.html"
    assert write_report(str(finished), str(tmp_path / "other.html")) == tmp_path / "other.html"
    assert (tmp_path / "other.html").read_text() == (finished / "report.html").read_text()
    (finished / "report.html").unlink()
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(finished, tmp_path / "nowhere" / "page.html")


def test_runs_that_are_not_there_or_not_finished_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        write_report(tmp_path)
    (tmp_path / "manifest.json").write_text((finished / "manifest.json").read_text().replace('"complete"', '"incomplete"'))
    with pytest.raises(IncompleteRunError, match="trialsim resume"):
        write_report(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        write_report(tmp_path)


# Contrast ----------------------------------------------------------------------------------------------------------------


def themes() -> list[dict[str, str]]:
    css = (Path(__file__).parents[2] / "trialsim/report/report.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)[:2]
    return [dict(re.findall(r"(--[a-z0-9]+): (#[0-9a-f]{6});", block)) for block in (light, dark)]


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["--paper", "--sheet"])
@pytest.mark.parametrize("ink", ["--ink", "--soft", "--accent", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6"])
def test_contrast_is_enough_for_small_text(theme: dict[str, str], ground: str, ink: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    first, second = sorted((luminance(theme[ground]), luminance(theme[ink])), reverse=True)
    assert (first + 0.05) / (second + 0.05) >= 4.5
