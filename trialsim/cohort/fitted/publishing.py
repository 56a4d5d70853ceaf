"""A fitted model as files that belong together: the model, its manifest, its card, and a line in the audit log."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from trialsim.cohort.fitted.cohort import FittedCohort
from trialsim.data import shown_path
from trialsim.data.card import Purpose
from trialsim.data.governance import audit
from trialsim.data.governance.files import write_whole
from trialsim.data.governance.manifest import manifest_path, write_manifest
from trialsim.data.governance.model_card import Figure, ModelCard, model_card
from trialsim.data.governance.persons import are_among
from trialsim.data.governance.withdrawn import read_withdrawn, withdrawn_path
from trialsim.errors import DataError, Problem, UsageError

METHODS = {
    "copula": "Gaussian copula in factor form with smooth margins; hazards and normal regressions for outcomes, joined by a copula of their residuals",
    "latent_class": "mixture of low-rank Gaussians with smooth margins; hazards and normal regressions for outcomes, joined by a copula of their residuals",
    "flow": "normalising flow with smooth margins; hazards and normal regressions for outcomes, joined by a copula of their residuals",
}
LIMITS = (
    "dependence that neither the covariates' model nor the regressions of outcomes hold is not there: rare combinations, interactions of three columns",
    "levels seen in fewer than 5 patients are merged with a neighbour, and columns that nearly never vary are left out",
    "beyond the last observed time an event's hazard stays what it was",
)


def card_path(path: Path) -> Path:
    """`<model>.card.md`, beside the model."""
    return path.with_name(f"{path.name}.card.md")


def require_place(path: Path, *, replace: bool) -> None:
    """Raises UsageError where the model cannot be written: a file is there (and may not be replaced), or the folder cannot be written to."""
    if path.is_dir():
        raise UsageError(f"{shown_path(path)} is a folder")
    for file in (path, manifest_path(path), card_path(path)):
        if file.is_dir():
            raise UsageError(f"{shown_path(file)} is a folder")
        if file.exists() and not replace:
            raise UsageError(f"{shown_path(file)} is there already; give another --out, or --replace")
    require_folder(path)


def require_apart(path: Path, *files: Path | None) -> None:
    """Raises UsageError where what is written would take the place of a file that the command itself reads or adds to."""
    place = path.absolute().resolve()
    if any(file is not None and file.absolute().resolve() == place for file in files):
        raise UsageError(f"{shown_path(path)} is a file that this command itself needs; give another --out")


def require_folder(path: Path) -> None:
    """Raises UsageError where no file can be made in the folder of `path`; makes the folder."""
    folder = path.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name[:40]}.")
    except OSError as error:
        raise UsageError(f"{shown_path(path)} cannot be written: {error.strerror}") from None
    os.close(handle)
    Path(name).unlink()


def publish(model: FittedCohort, path: Path, *, data: Path, ids: Iterable[str | None] | None, log: Path, replace: bool = False) -> dict[str, Any]:
    """Writes the model, `<model>.manifest.json`, `<model>.card.md` and one line of the audit log: all of them or none.

    `ids` are the identifiers of the permitted rows, for withdrawals. Everything is written in a folder beside first; if a
    step fails, what was there before is put back. Where the log of the data's folder is another one, the line is written there
    too, so that a withdrawal finds the model wherever it lies; `found_by_withdrawals` is false where that folder cannot be
    written to. Returns the paths and the entry, for JSON.

    Raises DataError, with nothing left, where a patient withdrew while the model was fitted.
    """
    require_place(path, replace=replace)
    files = [path, manifest_path(path), card_path(path)]
    card = model.card
    known = None if ids is None else list(ids)
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=f".{path.name[:40]}.") as made:
        folder = Path(made)
        new, old = folder / path.name, folder / "before"
        old.mkdir()
        model.save(new)
        write_manifest(
            new,
            ids=known,
            purpose=cast("Purpose", card["purpose"]),
            data=str(data.absolute()),
            data_sha256=card["data"]["sha256"],
            card_id=card["data"]["id"],
            counts=card["permission"],
            model_id=model.id,
        )
        write_whole(card_path(new), model_card(described(model)))
        try:
            for file in files:
                if file.exists():
                    shutil.copy2(file, old / file.name)
                os.replace(folder / file.name, file)
            details = {"model": str(path.absolute()), "model_id": model.id, "data": str(data.absolute()), "data_sha256": card["data"]["sha256"]}
            details |= {"card": card["data"]["id"], "purpose": card["purpose"], "permission": card["permission"], "n": card["n"]}
            entry = audit.append(log, "fit", details)
            found = known is None or _told_to_data(data, log, details)
            if (gone := _withdrawn_since(data, known)) > 0:
                audit.append(log, "fit_undone", {"model": str(path.absolute()), "model_id": model.id, "withdrawn": gone})
                raise DataError(Problem(f"{gone} of its patients withdrew while the model was fitted; fit it anew", file=shown_path(path)))
        except OSError as error:
            _put_back(files, old)
            raise DataError(Problem(f"cannot be written: {error.strerror}", file=shown_path(error.filename or path))) from None
        except BaseException:
            _put_back(files, old)
            raise
    return {"manifest": str(files[1]), "card": str(files[2]), "audit": str(log), "audit_sequence": entry.sequence, "found_by_withdrawals": found}


def _told_to_data(data: Path, log: Path, details: Mapping[str, Any]) -> bool:
    """Whether the log in which a withdrawal from these data looks for models names this one."""
    place = audit.default_path(data)
    if place.resolve() == log.resolve():
        return True
    try:
        audit.append(place, "fit", details)
    except DataError:  # a folder of data is often read-only
        return False
    return True


def _withdrawn_since(data: Path, ids: list[str | None] | None) -> int:
    """How many of the persons that a model has read are on the data's withdrawal list now."""
    withdrawn = read_withdrawn(withdrawn_path(data))
    return len({person for person, gone in zip(ids or (), are_among(withdrawn.salt, withdrawn.persons, ids or ()), strict=True) if gone})


def _put_back(files: Iterable[Path], old: Path) -> None:
    """Undoes a publication: the files that were there come back, the others go."""
    for file in files:
        before = old / file.name
        if before.exists():
            os.replace(before, file)
        else:
            file.unlink(missing_ok=True)


def described(model: FittedCohort) -> ModelCard:
    """The model's card. What a check of the model would say is not assessed yet."""
    card = model.card
    figures = [
        Figure(
            "largest error of a correlation between covariates", f"{card['largest_correlation_error']:.3f}", "≤ 0.05", card["largest_correlation_error"] <= 0.05
        )
    ]
    effects = [
        Figure(f"log hazard ratio of {arm} on {name} in the model", f"{log_hr:.3f} (SD {event['log_hr_sd'][arm]:.3f})")
        for name, event in _items(card["events"])
        for arm, log_hr in event["log_hr"].items()
        if arm in event["log_hr_sd"]
    ]
    effects += [
        Figure(f"difference in {name} of {arm} in the model", f"{difference:.4g} (SD {value['difference_sd'][arm]:.3g})")
        for name, value in _items(card["values"])
        for arm, difference in value["difference"].items()
        if arm in value["difference_sd"]
    ]
    return ModelCard(
        model_id=model.id,
        title=f"Cohort model of {card['data']['title']}",
        purpose=card["purpose"],
        data={**card["data"], "patients used": card["n"], "columns modelled": list(model.modelled)},
        permission=card["permission"],
        left_out=card["left_out"],
        missing=card["missing"],
        privacy=card.get("privacy", {}),
        method=METHODS.get(card["model"], card["model"]),
        assumptions=tuple(card["assumptions"]),
        fidelity=figures,
        effects=effects,
        limits=LIMITS,
    )


def _items(given: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(given.items())
