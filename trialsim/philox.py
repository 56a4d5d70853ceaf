"""Philox4x64-10 in torch's 64-bit integers: the bits of NumPy's generator on any device.

A round turns a counter of four 64-bit words into another one, with a key of two words that grows by a constant each time:

    (c0, c1, c2, c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0))

`hi` and `lo` are the halves of the 128-bit product. Torch has no unsigned 64-bit arithmetic: its int64 wraps, which is `lo`, and
`hi` is put together from products of 32-bit halves, with a mask after every right shift, which would carry the sign.

Source: Salmon, Moraes, Dror & Shaw 2011, section 3.3 (doi 10.1145/2063384.2063405); constants as in Random123 1.14.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDS = 10
M0, M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
W0, W1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
LOW, WORD = (1 << 32) - 1, (1 << 64) - 1
PER_COUNTER = 4

Words = tuple[Int[Tensor, "*shape"], Int[Tensor, "*shape"], Int[Tensor, "*shape"], Int[Tensor, "*shape"]]


def signed(word: int) -> int:
    """The int64 with the bits of an unsigned 64-bit word."""
    word &= WORD
    return word - (1 << 64) if word >> 63 else word


def philox4x64(counter: Words, key: tuple[int, int]) -> Words:
    """The four output words of every counter; all are int64 with the bits of unsigned words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = _product(c0, M0)
        high1, low1 = _product(c2, M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ signed(k0), low1, high0 ^ c3 ^ signed(k1), low0
        k0, k1 = (k0 + W0) & WORD, (k1 + W1) & WORD
    return c0, c1, c2, c3


def _product(x: Int[Tensor, "*shape"], constant: int) -> tuple[Int[Tensor, "*shape"], Int[Tensor, "*shape"]]:
    """High and low word of x · constant, both taken as unsigned."""
    high, low = constant >> 32, constant & LOW
    x_high, x_low = (x >> 32) & LOW, x & LOW
    # Each product of halves is below 2^64 - 2^33 + 2, so that half a word may be added to it without a carry.
    middle = x_low * high + ((x_low * low >> 32) & LOW)
    other = x_high * low + (middle & LOW)
    return x_high * high + ((middle >> 32) & LOW) + ((other >> 32) & LOW), x * signed(constant)


def lanes(key: tuple[int, int], start: int, n_rows: int, n_lanes: int, blocks: int, device: str) -> Float[Tensor, "row lane number"]:
    """Uniforms k 2^-53 in [0, 1): row r and lane l hold `4 · blocks` numbers, from counter start + blocks · r + l · 2^64 on.

    `start` is a 256-bit counter, which wraps; `blocks` a power of two, of which it is a multiple.
    """
    start %= 1 << 256
    until_carry = ((1 << 64) - (start & WORD)) // blocks
    if until_carry < n_rows:  # the lowest word overflows between two rows
        first = lanes(key, start, until_carry, n_lanes, blocks, device)
        return torch.cat([first, lanes(key, start + blocks * until_carry, n_rows - until_carry, n_lanes, blocks, device)])
    lowest = torch.arange(n_rows * blocks, dtype=torch.int64, device=device).view(n_rows, 1, blocks) + signed(start)
    upper = [start + (lane << 64) for lane in range(n_lanes)]
    words = [torch.tensor([signed(counter >> shift) for counter in upper], dtype=torch.int64, device=device) for shift in (64, 128, 192)]
    shape = n_rows, n_lanes, blocks
    counter = lowest.expand(shape), *(word.view(1, n_lanes, 1).expand(shape) for word in words)
    drawn = torch.stack(philox4x64(counter, key), dim=-1)  # type: ignore[arg-type]
    return ((drawn >> 11) & ((1 << 53) - 1)).to(torch.float64).mul_(2.0**-53).view(n_rows, n_lanes, PER_COUNTER * blocks)
