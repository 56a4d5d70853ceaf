"""Designs of stored runs compared pair by pair: the numbers are NumPy's on the stored trials, and what has no pairs is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from trialsim.errors import UsageError
from trialsim.execution.compare import compare_designs
from trialsim.execution.manifest import Settings
from trialsim.execution.run import start_run
from trialsim.spec import load

DESIGNS = "designs: {early: {set: {events: 30}}, late: {set: {events: 40}}, one_look: {set: {events: 20}}}\n"


@pytest.fixture
def protocol(small_protocol, small_protocol_text):
    """The small trial with three designs that differ in their number of events."""
    text = small_protocol_text.replace("final: 40", "final: $events").replace("{hr: 0.55}", "{hr: 0.55, events: 40}")
    small_protocol.write_text(text + DESIGNS)
    return small_protocol


@pytest.fixture
def start(protocol, small_chunks, tmp_path, quiet):
    def run(name, *, only=None, replicates=200, seed=None, sets=None):
        study = load(protocol, seed=seed, sets=sets or {})
        start_run(study, only=only or {}, replicates=replicates, out=tmp_path / name, settings=Settings(workers=1), progress=quiet())
        return tmp_path / name

    return run


def stored(path, design, scenario):
    """Reject, duration, final estimate and events of every stored trial."""
    cells = json.loads((path / "manifest.json").read_text())["cells"]
    index = next(i for i, cell in enumerate(cells) if (cell["design"], cell["scenario"]) == (design, scenario))
    trials = pd.read_parquet(path / "cells" / f"{index:03d}").sort_values(["replicate", "look"]).groupby("replicate")
    return {
        "power": trials.reject.any().to_numpy(dtype=float),
        "duration": trials.cut_time.last().to_numpy(),
        "estimate_mean": trials.estimate.last().to_numpy(),
        "n_events": trials.events_os.last().to_numpy(dtype=float),
        "n_enrolled": trials.n_enrolled.last().to_numpy(dtype=float),
    }


def agrees(row, a, b):
    assert row.n == len(a) == len(b)
    assert row.n_unpaired == 0
    assert row.difference == pytest.approx((a - b).mean(), rel=1e-9, abs=1e-12)
    assert row.mcse == pytest.approx((a - b).std(ddof=1) / math.sqrt(len(a)), rel=1e-9)
    assert row.independent_mcse == pytest.approx(math.sqrt((a.var() + b.var()) / len(a)), rel=5e-3)


def test_two_designs_of_a_run_are_numpy_s_differences(start):
    path = start("run")
    found = compare_designs(path, designs=("early", "late"))
    assert (found.replicates, found.notes) == ({"h0": 200, "base": 200}, ())
    for scenario in ("h0", "base"):
        a, b = stored(path, "early", scenario), stored(path, "late", scenario)
        rows = {row.measure: row for row in found.rows if row.scenario == scenario}
        for measure in a:
            agrees(rows[measure], a[measure], b[measure])
    base = {row.measure: row for row in found.rows if row.scenario == "base"}
    assert base["duration"].difference < 0 < base["duration"].correlation
    assert base["estimate_mean"].mcse_ratio > 1.3


def test_the_other_way_round_is_the_negative(start):
    path = start("run", only={"scenario": "base"})
    there, back = (compare_designs(path, designs=pair).rows for pair in (("early", "late"), ("late", "early")))
    assert [-row.difference for row in there] == pytest.approx([row.difference for row in back])
    assert [row.mcse for row in there] == pytest.approx([row.mcse for row in back])


def test_two_runs_of_different_length_share_their_first_replicates(start):
    a, b = start("a", only={"design": "early", "scenario": "base"}, replicates=200), start("b", only={"design": "late", "scenario": "base"}, replicates=150)
    found = compare_designs(a, b)
    assert found.replicates == {"base": 150}
    assert found.notes == ("scenario base: the first 150 replicates, which both have (of 200 in A and 150 in B)",)
    rows = {row.measure: row for row in found.rows}
    of_a, of_b = stored(a, "early", "base"), stored(b, "late", "base")
    for measure in of_a:
        agrees(rows[measure], of_a[measure][:150], of_b[measure])
    told = found.as_dict()
    assert (told["schema"], told["seed"], told["a"]["design"], told["b"]["design"]) == ("trialsim.compare/1", 11, "early", "late")
    json.dumps(told, allow_nan=False)


def test_what_is_missing_in_the_middle_ends_the_common_replicates(start):
    path = start("run", only={"scenario": "base"})
    next((path / "cells" / "001").glob("chunk-128-*")).unlink()
    found = compare_designs(path, designs=("early", "late"))
    assert found.replicates == {"base": 128}
    a, b = stored(path, "early", "base")["duration"][:128], stored(path, "late", "base")["duration"][:128]
    assert next(row for row in found.rows if row.measure == "duration").difference == pytest.approx(np.mean(a - b))


def test_another_truth_under_the_same_name_is_said(start):
    one = {"design": "late", "scenario": "base"}
    found = compare_designs(start("a", only=one), start("b", only=one, sets={"hr": "0.8"}))
    assert found.notes == ("scenario base: A and B differ in `truth`, not only in design: the differences are of both",)


def test_what_cannot_be_paired_is_refused_in_one_line(start):
    run = start("run", replicates=20)
    early, other = start("early", only={"design": "early"}, replicates=20), start("other", only={"design": "late"}, replicates=20, seed=12)
    half = start("half", only={"design": "late", "scenario": "base"}, replicates=20)
    for arguments, options, message in (
        ((early, other), {}, rf"^{early} has seed 11 and {other} seed 12: they share no random numbers$"),
        ((run,), {}, r"run: name the two designs to compare, --design A --design B, of: early, late, one_look$"),
        ((run,), {"designs": ("early",)}, r"name the two designs to compare"),
        ((run,), {"designs": ("early", "early")}, r"^--design early: is given twice; name two designs$"),
        ((run,), {"designs": ("early", "lat")}, r'^--design lat: no design "lat" in .*run; did you mean "late"\?$'),
        ((early,), {}, r"early: has one design; name a second run to compare it with$"),
        ((run, early), {}, r"run: has several designs; name the one of each run, --design A --design B, here of: early, late, one_look$"),
        ((early, half), {}, r"^scenario h0: is in .*early and not in .*half; choose one of both with --scenario: base$"),
        ((early, half), {"scenario": "h0"}, r'^--scenario h0: no scenario "h0" in .*half; allowed: base$'),
        ((early, early.parent), {}, r"holds no run"),
    ):
        with pytest.raises(UsageError, match=message):
            compare_designs(*arguments, **options)
    assert compare_designs(early, half, scenario="base").replicates == {"base": 20}
