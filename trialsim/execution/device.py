"""Where patients are simulated, on the CPU or on CUDA: settled once, when a command is called, and handed down."""

from __future__ import annotations

import socket

import torch

from trialsim.errors import UsageError

DEVICES = ("cpu", "cuda", "auto")


def resolve_device(asked: str, *, elsewhere: bool = False) -> str:
    """`cpu` or `cuda`. `auto` is CUDA where this machine has it, else the CPU.

    `elsewhere`: the work is done by machines of a cluster, so that CUDA is taken on trust here; every worker looks for itself.
    UsageError where CUDA is asked for and is not there.
    """
    if asked not in DEVICES:
        raise UsageError(f"--device {asked}: must be cpu, cuda or auto")
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not elsewhere:
        require_device(asked)
    return asked


def require_device(device: str) -> None:
    """UsageError where this machine has no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise UsageError(f"--device cuda: {why} on {socket.gethostname()}; use --device cpu")
