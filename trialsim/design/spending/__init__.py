"""Spending functions, one a file. A new one is a new file and its name in `LAWS`."""

from __future__ import annotations

from trialsim.design.spending.exponential import Exponential
from trialsim.design.spending.hwang_shih_decani import HwangShihDeCani
from trialsim.design.spending.kim_demets import KimDeMets
from trialsim.design.spending.lan_demets_obrien_fleming import LanDeMetsOBrienFleming
from trialsim.design.spending.lan_demets_pocock import LanDeMetsPocock
from trialsim.design.spending.law import SpendingLaw
from trialsim.design.spending.user import UserSpending

LAWS: tuple[type[SpendingLaw], ...] = (LanDeMetsOBrienFleming, LanDeMetsPocock, HwangShihDeCani, KimDeMets, Exponential, UserSpending)

__all__ = ["LAWS", "Exponential", "HwangShihDeCani", "KimDeMets", "LanDeMetsOBrienFleming", "LanDeMetsPocock", "SpendingLaw", "UserSpending"]
