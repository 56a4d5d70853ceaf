"""Whether anything listens at the address of a Ray cluster. Ray itself would try for minutes, and write about it."""

from __future__ import annotations

import os
import socket
import warnings

ANSWER_SECONDS = 5.0


def knock(address: str) -> None:
    """ConnectionError within seconds where nothing listens at `auto`, `HOST:6379` or `ray://HOST:10001`.

    `auto` is what Ray takes it for: `RAY_ADDRESS`, the cluster last started on this machine, or one that runs here.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address == "auto":
        with warnings.catch_warnings(action="ignore"):
            from ray._private.services import find_bootstrap_address, find_gcs_addresses

            address = find_bootstrap_address(None) or next(iter(find_gcs_addresses()), "")
        if not address:
            raise ConnectionError("no cluster has been started on this machine")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        raise ConnectionError("write auto, HOST:6379 or http://HOST:8265")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"nothing answers at {host}:{port} ({error.strerror or error})") from None
