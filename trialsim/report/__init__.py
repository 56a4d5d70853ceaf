"""Reports: the protocol in prose, and a finished run as one self-contained page."""

from __future__ import annotations

from trialsim.report.html import write_report
from trialsim.report.prose import explain

__all__ = ["explain", "write_report"]
