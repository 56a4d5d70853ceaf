"""A finished run to report on, and one of a cohort fitted to real patients."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trialsim.execution.manifest import Settings
from trialsim.execution.progress import Tally
from trialsim.execution.run import start_run
from trialsim.spec import load

HERE = Path(__file__).parent


class Quiet(Tally):
    def say(self, text: str) -> None:
        pass


def run(protocol: Path, out: Path, *, replicates: int | None = None, only: dict[str, str] | None = None) -> Path:
    path, _ = start_run(
        load(protocol),
        only=only or {},
        replicates=replicates,
        out=out,
        settings=Settings(workers=1, command=("trialsim", "run", protocol.name)),
        progress=Quiet(),
    )
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a complete run: two scenarios, two analyses, three looks."""
    return run(HERE / "protocols" / "mutable.yaml", tmp_path_factory.mktemp("runs") / "mutable")


@pytest.fixture(scope="session")
def fitted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A protocol whose cohort is fitted to 300 patients of ACTG175, with few covariates, in a folder of its own."""
    folder = tmp_path_factory.mktemp("fitted")
    lines = (HERE.parents[1] / "trials/data/actg175.csv").read_text().splitlines()
    (folder / "patients.csv").write_text("\n".join(lines[:301]) + "\n")
    shutil.copy(HERE / "protocols/patients.card.yaml", folder)
    shutil.copy(HERE / "protocols/fitted.yaml", folder)
    return folder


@pytest.fixture(scope="session")
def finished_fitted(fitted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of the fitted cohort, analysed with the prognosis of the same model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIALSIM_CACHE", str(fitted_folder / "cache"))
        return run(fitted_folder / "fitted.yaml", tmp_path_factory.mktemp("runs") / "fitted")
