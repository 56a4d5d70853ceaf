"""Charts: geometry, ticks, and what is drawn."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialsim.report.figures.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Band, Chart, Series, label, ticks


def chart(**changes: object) -> Chart:
    given_ = {
        "title": "A & B",
        "x_title": "x",
        "y_title": "y",
        "x_range": (0.0, 10.0),
        "y_range": (0.0, 1.0),
        "series": [Series("first", [(0.0, 1.0), (5.0, 0.5), (10.0, 0.25)], 1, step=True), Series("second <", [(0.0, 0.0), (10.0, 1.0)], 2, markers=True)],
        "bands": [Band([0.0, 10.0], [0.1, 0.2], [0.3, 0.4], 1)],
    }
    return Chart(**{**given_, **changes})  # type: ignore[arg-type]


def test_corners_of_the_data_are_corners_of_the_drawing() -> None:
    drawn = chart()
    assert (drawn.x(0.0), drawn.y(1.0)) == (LEFT, TOP)
    assert (drawn.x(10.0), drawn.y(0.0)) == (WIDTH - RIGHT, HEIGHT - BOTTOM)


def test_the_drawing_is_xml_with_escaped_text() -> None:
    root = ET.fromstring(chart().svg(id="a"))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert {"title", "desc", "path", "circle", "line", "text"} <= names
    assert "second <" in "".join(root.itertext())
    assert root.attrib["aria-labelledby"] == "a-title a-desc"


def test_a_step_goes_across_before_it_goes_down() -> None:
    drawn = chart()
    path = re.search(r'class="line series-1 solid" d="([^"]+)"', drawn.svg(id="a"))
    assert path
    middle, right = f"{drawn.x(5.0):.2f}", f"{drawn.x(10.0):.2f}"
    assert path[1] == f"M{drawn.x(0.0):.2f} {drawn.y(1.0):.2f}H{middle}V{drawn.y(0.5):.2f}H{right}V{drawn.y(0.25):.2f}"


def test_nothing_is_drawn_outside() -> None:
    text = chart(series=[Series("high", [(0.0, 5.0), (10.0, -3.0)], 1)], bands=[]).svg(id="a")
    path = re.search(r'class="line series-1 solid" d="M([0-9.]+) ([0-9.]+)L([0-9.]+) ([0-9.]+)"', text)
    assert path
    assert [float(value) for value in path.groups()] == [LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM]


@given(st.floats(-1e3, 1e3), st.floats(1e-2, 1e4))
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    high = low + width
    found = ticks(low, high)
    assert 2 <= len(found) <= 13
    assert all(low - 1e-6 * width <= tick <= high + 1e-6 * width for tick in found)
    steps = {round(b - a, 6) for a, b in itertools.pairwise(found)}
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


def test_labels_have_real_minus_signs() -> None:
    assert label(-0.5) == "−0.5"
    assert label(2.0) == "2"
