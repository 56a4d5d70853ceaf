"""A job on a Ray cluster, through its job server (the address of the dashboard, `http://HOST:8265`).

The log is asked for again and again instead of being streamed: a connection that breaks, or a laptop that sleeps, costs
nothing. The job does not depend on whoever follows it.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialsim.errors import IncompleteRunError, TrialsimError, UsageError

POLL_SECONDS = 1.0
ANSWER_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""How long a server that has stopped answering is asked again."""

_OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended: Ray's word for it, the exit code of its command where it has one, why, and the whole log."""

    status: str
    exit_code: int | None
    message: str
    log: str


class JobServer:
    """The job server at an address. UsageError, in one line, where none answers or it lets nobody in."""

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        if not self.address.startswith(("http://", "https://")):
            raise UsageError(f"--address {address}: write the address of the job server, for example http://HOST:8265")
        self._require_answer()
        with _ray_alone():
            try:
                from ray.job_submission import JobSubmissionClient

                self._client = JobSubmissionClient(self.address)
            except Exception as error:
                raise UsageError(f"--address {address}: {_one_line(error)}") from None

    def _require_answer(self) -> None:
        import requests

        try:
            answer = requests.get(f"{self.address}/api/version", timeout=ANSWER_SECONDS)
        except requests.exceptions.InvalidURL:
            raise UsageError(f"--address {self.address}: is not an address") from None
        except requests.exceptions.RequestException:
            raise UsageError(f"--address {self.address}: no Ray job server answers") from None
        if answer.status_code not in (200, 401, 403) or (answer.status_code == 200 and "ray_version" not in answer.text):
            raise UsageError(f"--address {self.address}: what answers is not a Ray job server")

    @property
    def ray_version(self) -> str:
        """Ray's version there; empty where it does not say."""
        return str(getattr(self._client, "_server_ray_version", None) or "")

    def submit(self, *, entrypoint: str, folder: Path, name: str, runtime_env: Mapping[str, Any]) -> str:
        """Sends the folder as the job's working directory and starts the command in it; the job's id."""
        with _ray_alone():
            try:
                found: str = self._client.submit_job(entrypoint=entrypoint, submission_id=name, runtime_env={**runtime_env, "working_dir": str(folder)})
            except Exception as error:
                raise TrialsimError(f"{self.address}: the job was not taken: {_one_line(error)}") from None
        return found

    def follow(self, job: str, show: Callable[[str], None], poll: float = POLL_SECONDS) -> Ending:
        """Waits for the end of a job and hands on its log, every line once. IncompleteRunError when the server stays away."""
        shown, heard = 0, time.monotonic()
        while True:
            try:
                with _ray_alone():
                    about = self._client.get_job_info(job)
                    log = self._client.get_job_logs(job)
            except RuntimeError as error:
                if "status code 404" in str(error):
                    raise UsageError(f"{self.address}: has no job {job}") from None
                self._lost(job, heard, error)
            except Exception as error:
                self._lost(job, heard, error)
            else:
                heard = time.monotonic()
                over = about.status.is_terminal()
                end = len(log) if over else log.rfind("\n") + 1
                if end > shown:
                    show(log[shown:end])
                    shown = end
                if over:
                    return Ending(about.status.value, about.driver_exit_code, (about.message or "").partition(", last available logs")[0], log)
            time.sleep(poll)

    def _lost(self, job: str, heard: float, error: Exception) -> None:
        if time.monotonic() - heard > PATIENCE_SECONDS:
            raise IncompleteRunError(f"{self.address}: no longer answers ({_one_line(error)}); job {job} may still be running there") from None


def _one_line(error: Exception) -> str:
    """What an exception says, short; how to show a token where that is what was wrong."""
    words = str(error).strip()
    if type(error).__name__ == "AuthenticationError":
        return "the cluster wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN)"
    if "ray[default]" in words:
        return 'this needs what Ray calls ray[default]: pip install "trialsim[cluster]"'
    return words.splitlines()[0] if words else type(error).__name__


@contextmanager
def _ray_alone() -> Iterator[None]:
    """Ray without its log lines, its warnings and its usage statistics, and with the address that was given, not one in the environment."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    hidden = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
        os.environ.update(hidden)
