"""The name of a file in a message: a path that the user can open from where they are."""

from __future__ import annotations

import os
from pathlib import Path


def shown_path(path: Path | str) -> str:
    """Relative to the working directory, or absolute where that is shorter (or there is no relative one, as between drives)."""
    absolute = os.path.abspath(path)
    try:
        relative = os.path.relpath(absolute)
    except (OSError, ValueError):  # the working directory is gone; another drive
        return absolute
    return min(relative, absolute, key=len)
