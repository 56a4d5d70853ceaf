"""Random halves of a table, and seeds for what is drawn for them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from trialsim.data import PatientTable


def seed_of(seed: int, purpose: str) -> int:
    """A seed of 32 bits for one purpose: the first bytes of BLAKE2b("seed/purpose")."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/disclosure/{purpose}".encode(), digest_size=4).digest(), "little")


def stream(seed: int, purpose: str) -> np.random.Generator:
    """A generator for one purpose."""
    return np.random.Generator(np.random.Philox(seed_of(seed, purpose)))


def random_half(strata: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.bool_]:
    """A random half of the patients, and of each stratum up to one patient; odd ones are shared out as evenly as can be."""
    order = generator.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]  # stratum by stratum, at random within each
    member = np.zeros(len(strata), dtype=bool)
    member[order[int(generator.integers(2)) :: 2]] = True
    return member


def arm_strata(table: PatientTable) -> NDArray[np.int64]:
    """The number of each patient's combination of the columns whose role is `arm` (0 for all where there is none)."""
    codes = np.zeros(table.n, dtype=np.int64)
    for name, meaning in table.meaning.items():
        if meaning.role != "arm":
            continue
        if name in table.text:
            cells = np.unique([cell or "" for cell in table.text[name]], return_inverse=True)[1]
        else:
            cells = np.unique(np.nan_to_num(table.columns[name], nan=-np.inf), return_inverse=True)[1]
        codes = np.unique(np.stack((codes, cells)), axis=1, return_inverse=True)[1].ravel()
    return codes
