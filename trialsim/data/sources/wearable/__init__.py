"""Wearables and other long time series: one row of features per person, day and measure."""

from __future__ import annotations

from trialsim.data.sources.wearable.source import Wearable

__all__ = ["Wearable"]
