"""The whole check: who is refused and who passes, bits at any number of workers, errors, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from witness.recipes import Failing, Honest, Memorising
from witness.samplers import table_of, trial

from trialsim.cohort.disclosure import check_disclosure
from trialsim.cohort.disclosure.halves import arm_strata, random_half
from trialsim.cohort.disclosure.workers import share_out
from trialsim.cohort.sampler import Sampler
from trialsim.data import PatientTable
from trialsim.errors import DataError, IncompleteRunError, UsageError


def test_halves_are_halves_of_every_arm():
    table = trial(301, seed=1)
    strata = arm_strata(replace(table, meaning={**table.meaning, "arm": table.meaning["arm"].model_copy(update={"role": "arm"})}))
    assert set(strata) == {0, 1}
    rng = np.random.default_rng(2)
    sizes = np.array([[half.sum(), *(half[strata == arm].sum() for arm in (0, 1))] for half in (random_half(strata, rng) for _ in range(200))])
    assert set(sizes[:, 0]) == {150, 151}
    for arm in (0, 1):
        n = (strata == arm).sum()
        assert set(sizes[:, 1 + arm]) <= {n // 2, (n + 1) // 2}
    assert (arm_strata(table) == 0).all()  # no column has the role of an arm


def test_a_memorising_model_is_refused():
    found = check_disclosure(Memorising(), trial(300, seed=1), refits=4, seed=2)
    assert found.verdict == "fail"
    assert found.membership_auc.estimate > 0.7
    assert found.membership_auc.ci_low > 0.5
    assert found.n_needed is None
    assert found.copies["of_members"] == 300.0
    assert found.copies["expected"] == 0.0
    assert found.unique_values["x"]["p_value"] < 0.001
    assert found.singling_out["multivariate"]["ci_low"] > 0.1
    assert found.distances["share_closer_to_train"] > 0.95


def test_a_model_that_reads_nobody_is_not_refused():
    found = check_disclosure(Honest(missing=0.2), trial(1200, seed=3, missing=0.2), refits=10, seed=4, subgroups={})
    auc = found.membership_auc
    assert found.verdict == "pass"
    assert auc.ci_low < 0.5 < auc.ci_high < 0.55
    assert auc.worst_subgroup is None
    assert found.copies == {"of_members": 0.0, "expected": 0.0}
    assert found.n_synthetic == 600
    assert 0.45 < auc.attacks["tracing"] < 0.55
    assert all(row["p_value"] == 1.0 for row in found.unique_values.values())
    json.dumps(found.as_json(), allow_nan=False)


def test_a_small_table_is_inconclusive_and_says_how_many_patients_settle_it():
    found = check_disclosure(Honest(), trial(160, seed=5), refits=4, seed=6)
    assert found.verdict == "inconclusive"
    assert found.n_needed is not None
    assert found.n_needed > 160
    assert found.reasons[-1] == f"about {found.n_needed:,} patients would settle it"


def test_one_memorised_subgroup_is_enough():
    """Patients of the west are copied, others are of the true law."""
    table = trial(1000, seed=7)
    found = check_disclosure(CopiesTheWest(), table, refits=8, seed=8)
    worst = found.membership_auc.worst_subgroup
    assert found.verdict == "fail"
    assert worst is not None
    assert worst.name == "site = west"
    assert worst.n == (table.columns["site"] == 2).sum()
    assert worst.estimate > 0.6
    assert any("site = west" in reason for reason in found.reasons)


@dataclass(frozen=True)
class CopiesTheWest:
    def fit(self, table: PatientTable) -> Sampler:
        return West(table)


@dataclass(frozen=True)
class West:
    table: PatientTable
    roles = Honest().fit(None).roles  # type: ignore[arg-type]
    modelled = Honest().fit(None).modelled  # type: ignore[arg-type]

    def synthesise(self, n: int, *, seed: int) -> PatientTable:
        made = trial(n, seed=seed + 9)
        west = np.flatnonzero(self.table.columns["site"] == 2)
        rows = np.flatnonzero(made.columns["site"] == 2)
        drawn = np.random.default_rng(seed).choice(west, len(rows))
        columns = {name: column.copy() for name, column in made.columns.items()}
        for name, column in columns.items():
            column[rows] = self.table.columns[name][drawn]
        return replace(made, columns=columns)


def test_default_subgroups_are_levels_of_50_patients_once():
    table = trial(300, seed=9)
    doubled = replace(table, columns={**table.columns, "high": table.columns["sex"]})
    found = check_disclosure(Honest(), doubled, refits=4, seed=1)
    names = [group.name for group in found.membership_auc.subgroups]
    assert names[:4] == ["sex = 0", "sex = 1", "site = north", "site = south"]
    assert not any(name.startswith("high") for name in names)
    assert all(group.n >= 50 for group in found.membership_auc.subgroups)


def test_bits_do_not_depend_on_the_number_of_workers():
    table = trial(200, seed=10, missing=0.1)
    seen: list[tuple[int, int]] = []
    one = check_disclosure(Memorising(jitter=0.02), table, refits=5, seed=11, workers=1, progress=lambda done, n: seen.append((done, n)))
    assert seen == [(done, 5) for done in range(6)]
    assert check_disclosure(Memorising(jitter=0.02), table, refits=5, seed=11, workers=3).as_json() == one.as_json()
    assert check_disclosure(Memorising(jitter=0.02), table, refits=5, seed=12).membership_auc != one.membership_auc


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_recipe_comes_as_itself(workers: int):
    with pytest.raises(DataError) as caught:
        check_disclosure(Failing(), trial(200, seed=1), refits=4, workers=workers)
    assert str(caught.value) == 'made.csv:7  the column "age" is broken'


def test_a_worker_that_dies_is_named():
    with pytest.raises(IncompleteRunError, match="a worker process died"):
        share_out(_die, 3, workers=2)


def _die(index: int) -> int:
    os._exit(3)


def test_arguments_are_checked():
    table = trial(200, seed=1)
    for arguments, message in (
        ({"refits": 3}, "3 refits are too few"),
        ({"workers": 0}, "workers: 0"),
        ({"n_synthetic": 10}, "n_synthetic: 10"),
        ({"subgroups": {"old": np.ones(7, dtype=bool)}}, 'the subgroup "old" has 7 flags for 200 patients'),
    ):
        with pytest.raises(UsageError, match=message):
            check_disclosure(Honest(), table, **arguments)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="99 patients are too few"):
        check_disclosure(Honest(), trial(99, seed=1))


def test_nothing_to_compare_is_an_error():
    with pytest.raises(DataError, match="no modelled column has two different values"):
        check_disclosure(Honest(), table_of({name: np.full(120, 1.0) for name in trial(2, seed=1).columns}), refits=4)


SLOW = """
import os, sys, time
from witness.samplers import trial
from trialsim.cohort.disclosure import check_disclosure

class Slow:
    def fit(self, table):
        open(sys.argv[1] + f"/{os.getpid()}", "w").close()
        time.sleep(600)

if __name__ == "__main__":
    check_disclosure(Slow(), trial(200, seed=1), refits=4, workers=2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_no_worker(tmp_path: Path):
    script, marks = tmp_path / "slow.py", tmp_path / "marks"
    script.write_text(SLOW)
    marks.mkdir()
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[3])])
    process = subprocess.Popen([sys.executable, str(script), str(marks)], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 120
        while len(list(marks.iterdir())) < 2 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    finally:
        process.kill()
    workers = [int(mark.name) for mark in marks.iterdir()]
    assert len(workers) == 2
    assert words.rstrip().endswith("KeyboardInterrupt")
    assert "SpawnProcess" not in words  # no worker has a word of its own
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
