"""What `trialsim doctor` finds: what is installed, what the machine has, and whether a Ray cluster is within reach."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trialsim.execution.cluster.knock import knock

PACKAGES = ("trialsim", "torch", "pyro-ppl", "numpy", "scipy", "pyarrow", "ray", "fsspec", "s3fs", "gcsfs")


@dataclass(frozen=True, slots=True)
class Examination:
    """`memory_bytes` and `memory_free_bytes` are None where the system does not say; a version is None where there is no such package."""

    python: str
    platform: str
    versions: dict[str, str | None]
    cores: int
    memory_bytes: int | None
    memory_free_bytes: int | None
    torch_threads: int
    instructions: str
    cuda: str | None
    cache: str
    cache_writable: bool
    ray_address: str
    ray_reachable: bool
    ray: str

    def as_dict(self) -> dict[str, Any]:
        return {"schema": "trialsim.doctor/1", **asdict(self)}


def examine(address: str | None = None) -> Examination:
    """Looks around. `address`: of the Ray cluster to look for (`auto`, `HOST:6379`, `http://HOST:8265`); None: `RAY_ADDRESS`, else `auto`."""
    import torch

    from trialsim.cohort.fitted.storage import cache_file
    from trialsim.execution.executors import n_cores

    cache = cache_file("0" * 32).parent.parent
    where = address or os.environ.get("RAY_ADDRESS") or "auto"
    reachable, words = _job_server(where) if where.startswith(("http://", "https://")) else _cluster(where)
    cuda = None
    if torch.cuda.is_available():
        cuda = f"CUDA {torch.version.cuda}, {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return Examination(
        python=platform.python_version(),
        platform=platform.platform(),
        versions={name: _version(name) for name in PACKAGES},
        cores=n_cores(),
        memory_bytes=_memory("MemTotal"),
        memory_free_bytes=_memory("MemAvailable"),
        torch_threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        cuda=cuda,
        cache=str(cache),
        cache_writable=_writable(cache),
        ray_address=where,
        ray_reachable=reachable,
        ray=words,
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory(entry: str) -> int | None:
    """Bytes, by /proc/meminfo."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{entry}:")), None)


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def _job_server(address: str) -> tuple[bool, str]:
    """Whether a job server answers, and whether it would let this client in."""
    from trialsim.errors import TrialsimError
    from trialsim.execution.cluster.jobs import JobServer

    try:
        return True, f"a job server, Ray {JobServer(address).ray_version}".rstrip()
    except TrialsimError as error:
        return False, str(error).removeprefix(f"--address {address.rstrip('/')}: ")


def _cluster(address: str) -> tuple[bool, str]:
    """Connects to a cluster as `run --executor ray --address` does, and lets go of it again. A process that is connected stays so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with warnings.catch_warnings(action="ignore"):
        import ray

        ours = not ray.is_initialized()
        try:
            if ours:
                knock(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
            has = ray.cluster_resources()
            n_nodes = sum(node["Alive"] for node in ray.nodes())
        except Exception as error:
            words = str(error).strip().splitlines()
            return False, words[0] if words else type(error).__name__
        finally:
            if ours and ray.is_initialized():
                ray.shutdown()
    return True, f"{n_nodes} machines, {has.get('CPU', 0):g} cores, {has.get('GPU', 0):g} GPUs"
