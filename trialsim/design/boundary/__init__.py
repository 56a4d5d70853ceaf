"""Boundaries by shape, one a file. A new one is a new file and its name in `BOUNDARIES`."""

from __future__ import annotations

from trialsim.design.boundary.boundary import Boundary
from trialsim.design.boundary.haybittle_peto import HaybittlePeto
from trialsim.design.boundary.obrien_fleming import OBrienFleming
from trialsim.design.boundary.p import FixedP
from trialsim.design.boundary.pocock import Pocock
from trialsim.design.boundary.wang_tsiatis import WangTsiatis
from trialsim.design.boundary.z import FixedZ

BOUNDARIES: tuple[type[Boundary], ...] = (OBrienFleming, Pocock, WangTsiatis, HaybittlePeto, FixedZ, FixedP)

__all__ = ["BOUNDARIES", "Boundary", "FixedP", "FixedZ", "HaybittlePeto", "OBrienFleming", "Pocock", "WangTsiatis"]
