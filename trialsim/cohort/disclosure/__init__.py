"""Does a cohort model tell who it was fitted to?"""

from __future__ import annotations

from trialsim.cohort.disclosure.check import check_disclosure
from trialsim.cohort.disclosure.disclosure import Disclosure, GroupAuc, MembershipAuc, Verdict

__all__ = ["Disclosure", "GroupAuc", "MembershipAuc", "Verdict", "check_disclosure"]
