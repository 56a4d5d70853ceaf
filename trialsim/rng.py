"""Addressed random numbers: every draw is a pure function of (seed, purpose, replicate, patient, index).

Philox4x64-10 (Salmon et al. 2011, doi 10.1145/2063384.2063405) as NumPy implements it. The key is 128 bits of
BLAKE2b(seed/purpose). For replicate r, index k, patient i and second index j the number is number `i mod 64` of the
run of Philox blocks that starts at counter (16 r, i // 64, k, j). So one contiguous fill serves a lane of 64 patients
for any range of replicates, and no number depends on block size, enrolment, design, visits or looks.

Purposes: `accrual`, `allocation`, `allocation/size`, `covariate/<id>`, `outcome/<id>`, `dropout`, `intercurrent/<id>`.
The scenario is not in the key: scenarios share their noise.

Uniforms are max((x >> 11) 2^-53, 2^-54), open at both ends. Other laws follow by inverse CDF, one number each.

On a CPU NumPy fills; on CUDA torch does (`philox`). Uniforms have the same bits on every device. Exponentials and normals
take torch's log and normal quantile of the device, whose last bits differ: they agree to 1e-9.
"""

from __future__ import annotations

import math
from hashlib import blake2b

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.block import Block
from trialsim.philox import PER_COUNTER, lanes

LANE = 64
SMALLEST = 2.0**-54


def philox_key(seed: int | str, purpose: str) -> tuple[int, int]:
    """The two 64-bit words of the key: BLAKE2b of "seed/purpose", little-endian."""
    digest = blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


# MKL's inverse error function takes half the time of ndtri and is as exact; without MKL torch's loses its tails.
HAS_MKL = torch.backends.mkl.is_available()


def _normal(uniform: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Φ⁻¹(u) = √2 erf⁻¹(2u - 1) of this module's uniforms, which it overwrites: 2u - 1 is exact for multiples of 2^-53 and for 2^-54."""
    if HAS_MKL:
        return uniform.mul_(2.0).sub_(1.0).erfinv_().mul_(math.sqrt(2.0))
    return torch.special.ndtri(uniform, out=uniform)


class Stream:
    """All random numbers of one purpose under one seed.

    Draws return `[replicate, patient]` float64 tensors for the replicates of a block and patients 0..n-1.
    `index` (k) separates steps, attempts or strata; `second` (j) imputations or posterior draws. The tensors are on `device`.
    """

    def __init__(self, seed: int | str, purpose: str, device: str = "cpu"):
        self.seed, self.purpose, self.device = seed, purpose, device
        self._key = philox_key(seed, purpose)
        self._bits = np.random.Philox(key=np.array(self._key, dtype=np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._state = self._bits.state
        self._state["buffer_pos"] = 4

    def _fill(self, lane: np.ndarray, first: int, patient_lane: int, index: int, second: int) -> None:
        # NumPy increments the counter before it generates, so the state holds the counter minus one.
        counter = (16 * first + (patient_lane << 64) + (index << 128) + (second << 192) - 1) % (1 << 256)
        words = self._state["state"]["counter"]
        for word in range(4):
            words[word] = (counter >> (64 * word)) & 0xFFFFFFFFFFFFFFFF
        self._bits.state = self._state
        self._generator.random(out=lane)

    def _draw_by_torch(self, block: Block, n: int, index: int, second: int, transform: str) -> Float[Tensor, "replicate patient"]:
        n_lanes = -(-n // LANE)
        start = 16 * block.first + (index << 128) + (second << 192)
        filled = lanes(self._key, start, block.size, n_lanes, LANE // PER_COUNTER, self.device)
        out = filled.view(block.size, n_lanes * LANE)[:, :n].clamp(min=SMALLEST)
        if transform == "exponential":
            return out.log_().neg_()
        return torch.special.ndtri(out) if transform == "normal" else out

    def _draw(self, block: Block, n: int, index: int, second: int, transform: str) -> Float[Tensor, "replicate patient"]:
        if self.device != "cpu":
            return self._draw_by_torch(block, n, index, second, transform)
        out = np.empty((block.size, n))
        lane = np.empty((block.size, LANE))
        for start in range(0, n, LANE):
            width = min(LANE, n - start)
            self._fill(lane, block.first, start // LANE, index, second)
            np.maximum(lane[:, :width], SMALLEST, out=out[:, start : start + width])
        drawn = torch.from_numpy(out)
        if transform == "exponential":
            return torch.log(drawn, out=drawn).neg_()
        return _normal(drawn) if transform == "normal" else drawn

    def uniform(self, block: Block, n: int, *, index: int = 0, second: int = 0) -> Float[Tensor, "replicate patient"]:
        """Uniforms on the open unit interval."""
        return self._draw(block, n, index, second, "uniform")

    def exponential(self, block: Block, n: int, *, index: int = 0, second: int = 0) -> Float[Tensor, "replicate patient"]:
        """Unit exponentials, -log(u): small uniforms are long times."""
        return self._draw(block, n, index, second, "exponential")

    def normal(self, block: Block, n: int, *, index: int = 0, second: int = 0) -> Float[Tensor, "replicate patient"]:
        """Standard normals, the inverse CDF of the uniforms."""
        return self._draw(block, n, index, second, "normal")


class Streams:
    """The streams of one seed by purpose: `streams("outcome/death").exponential(block, n)`, on `device`.

    A seed such as "7/truth" gives streams that are independent of those of seed 7.
    """

    def __init__(self, seed: int | str, device: str = "cpu"):
        self.seed, self.device = seed, device
        self._streams: dict[str, Stream] = {}

    def __call__(self, purpose: str) -> Stream:
        if purpose not in self._streams:
            self._streams[purpose] = Stream(self.seed, purpose, self.device)
        return self._streams[purpose]
