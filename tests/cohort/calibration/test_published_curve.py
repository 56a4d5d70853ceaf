"""A published curve in a protocol: read once, part of the resolved form, and what simulated trials then show."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from lifelines.datasets import load_lung
from pydantic import ValidationError

from trialsim.cohort.calibration.published_curve import DIRECTORY, PublishedCurve
from trialsim.rng import Block, Streams
from trialsim.simulate import compile_trial, draw
from trialsim.spec import load
from trialsim.spec.resolution import to_yaml

ROOT = Path(__file__).parents[3]
CURVE = "time,survival\n" + "".join(f"{month},{np.exp(-((month / 14) ** 1.3)):.3f}\n" for month in range(1, 31))


@pytest.fixture
def protocol(tmp_path: Path, small_protocol_text: str) -> Path:
    """The small trial, with age as a covariate and a curve for death."""
    (tmp_path / "curve.csv").write_text(CURVE)
    text = small_protocol_text.replace(
        "death: {dist: exponential, median: 10 months}",
        "death: {from_curve: curve.csv, time_unit: months, of: population, prognostic: {age: {hr: 3, per: 10 years, center: 50 years}}}",
    ).replace("{planned_enrollment: 60}", "{planned_enrollment: 60, covariates: {age: {dist: normal, mean: 63 years, sd: 9 years}}}")
    path = tmp_path / "curve.yaml"
    path.write_text(text)
    return path


def test_the_resolved_protocol_holds_the_hazard_and_needs_no_file(protocol: Path):
    study = load(protocol)
    again = protocol.with_name("resolved.yaml")
    again.write_text(to_yaml(study.resolved()))
    (protocol.parent / "curve.csv").unlink()
    assert load(again).sha256 == study.sha256


def test_another_curve_is_another_protocol(protocol: Path):
    before = load(protocol).sha256
    (protocol.parent / "curve.csv").write_text(CURVE.replace("\n30,", "\n40,"))
    assert load(protocol).sha256 != before


def test_the_population_has_the_curve(protocol: Path):
    """120,000 twins under control: the MCSE of a proportion is at most 0.0015; 20,000 others found the hazard, which adds up to 0.0035."""
    study = load(protocol)
    trial = compile_trial(next(cell for cell in study.cells() if cell.scenario == "base"), study.directory)
    streams, block, n = Streams(5), Block(0, 2000), 60
    time = trial.twins.event_time("death", streams=streams, block=block, n=n, cohort=draw(trial, streams, block, n), arm=1).numpy()
    for month in (3, 6, 12, 18, 24, 30):
        wanted = np.exp(-((month / 14) ** 1.3))
        assert (time > month * 30.4375).mean() == pytest.approx(
            wanted, abs=4 * np.hypot(0.0015, 0.0035) + 0.005 + 0.0005
        )  # tolerance of the curve, its rounding


def test_numbers_at_risk_make_a_smoother_hazard(tmp_path: Path):
    data = load_lung().dropna(subset=["time"])
    time, event = data["time"].to_numpy(dtype=float), data["status"].to_numpy() == 1
    survival, rows = 1.0, ["time,survival,at_risk"]
    for at in np.unique(time[event]):
        survival *= 1 - (time[event] == at).sum() / (time >= at).sum()
        rows.append(f"{at:g},{survival:.4f},")
    (tmp_path / "without.csv").write_text("\n".join(rows))
    (tmp_path / "with.csv").write_text("\n".join([*rows, *(f"{mark},,{(time >= mark).sum()}" for mark in range(0, 1000, 200))]))
    read = {
        name: PublishedCurve.model_validate({"from_curve": f"{name}.csv", "time_unit": "days"}, context={DIRECTORY: tmp_path}) for name in ("with", "without")
    }
    assert len(read["with"].pieces) < len(read["without"].pieces) / 2


def test_pieces_must_end_but_for_the_last():
    with pytest.raises(ValidationError, match="every piece of a curve but the last needs until"):
        PublishedCurve.model_validate({"from_curve": "c.csv", "pieces": [{"rate": "1 / day"}, {"rate": "2 / day"}]})


@pytest.mark.parametrize("ends", [("5 days", "3 days"), ("5 days", "5 days"), ("0 days", "5 days")])
def test_pieces_written_by_hand_come_in_order_of_time(ends: tuple[str, str]):
    pieces = [*({"until": end, "rate": "0.1 / day"} for end in ends), {"rate": "0.2 / day"}]
    with pytest.raises(ValidationError, match="must grow from above 0"):
        PublishedCurve.model_validate({"from_curve": "c.csv", "pieces": pieces})


def test_a_fitted_outcome_is_moved_to_a_published_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """ACTG175's prognosis on another trial's curve. 100,000 twins under zidovudine: MCSE 0.0016 at most, and 0.0035 from the twins that found it."""
    monkeypatch.setenv("TRIALSIM_CACHE", os.environ.get("TRIALSIM_CACHE", str(ROOT / ".trialsim-cache")))
    (tmp_path / "curve.csv").write_text(CURVE)
    text = (ROOT / "trials" / "actg175.yaml").read_text().replace("data/actg175", f"{ROOT / 'trials' / 'data'}/actg175")
    moved = tmp_path / "moved.yaml"
    moved.write_text(text.replace("event: {dist: fitted}", "event: {dist: fitted, calibrate_to: {from_curve: curve.csv, time_unit: months}}"))
    study = load(moved)
    trial = compile_trial(next(cell for cell in study.cells() if cell.scenario == "base"), study.directory)
    streams, block, n = Streams(6), Block(0, 250), 400
    cohort = draw(trial, streams, block, n)
    zdv, combination = (trial.twins.event_time("event", streams=streams, block=block, n=n, cohort=cohort, arm=arm).numpy() for arm in (1, 0))
    for month in (3, 9, 18, 27):
        wanted = np.exp(-((month / 14) ** 1.3))
        assert (zdv > month * 30.4375).mean() == pytest.approx(wanted, abs=4 * np.hypot(0.0016, 0.0035) + 0.0055)
    assert (combination > zdv).all()  # the fitted effect stays
