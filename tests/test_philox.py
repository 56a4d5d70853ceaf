"""Torch's Philox4x64-10 has the bits of the known answers, of the paper written out, and of NumPy, at any address."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from trialsim.philox import lanes, philox4x64, signed
from trialsim.rng import LANE, Block, Stream, philox_key

MASK = (1 << 64) - 1
KNOWN = [  # Random123 1.14, kat_vectors: philox4x64, 10 rounds
    ((0, 0, 0, 0), (0, 0), (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)),
    ((MASK,) * 4, (MASK, MASK), (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0)),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


def by_paper(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Salmon et al. 2011, section 3.3, in whole numbers of any length."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (p1 >> 64) ^ c1 ^ k0, p1 & MASK, (p0 >> 64) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


def by_torch(counters: list[tuple[int, ...]], key: tuple[int, int]) -> list[tuple[int, ...]]:
    words = tuple(torch.tensor([signed(counter[word]) for counter in counters]) for word in range(4))
    return [tuple(int(word) & MASK for word in row) for row in zip(*(column.tolist() for column in philox4x64(words, key)), strict=True)]


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_known_answers(counter, key, expected):
    assert by_torch([counter], key) == [expected]
    assert by_paper(counter, key) == expected


def test_hard_words():
    """Words of all ones, single bits and halves, where carries between the halves of a product would go wrong."""
    words = random.Random(1)
    edges = [0, 1, 2, (1 << 31), (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 63) - 1, 1 << 63, MASK - 1, MASK]
    counters = [tuple(words.choice(edges) for _ in range(4)) for _ in range(400)] + [tuple(words.getrandbits(64) for _ in range(4)) for _ in range(400)]
    for key in ((0, 0), (MASK, 1 << 63), (words.getrandbits(64), words.getrandbits(64))):
        assert by_torch(counters, key) == [by_paper(counter, key) for counter in counters]


ADDRESSES = [
    (1, "outcome/death", 0, 2048, 400, 0, 0),
    ("7/truth", "covariate/age", 12_345, 300, 1000, 3, 0),
    (2**40, "dropout", 2**40, 64, 130, 5, 9),
    (3, "allocation", 2**59 + 7, 33, 65, 2**32 - 1, 2**40),
    (4, "accrual", 2**60 - 2, 5, 64, 1, 0),  # the lowest counter word overflows within the block
    (5, "accrual", 2**60 - 1, 4, 191, 2**64 - 1, 2**64 - 1),  # and the carry runs through all words
    (6, "intercurrent/stop", 2**62, 3, 1, 2**63, 2**63 + 1),
]


def by_torch_at(address):
    seed, purpose, first, size, n, index, second = address
    n_lanes = -(-n // LANE)
    filled = lanes(philox_key(seed, purpose), 16 * first + (index << 128) + (second << 192), size, n_lanes, 16, "cpu")
    assert filled.shape == (size, n_lanes, LANE)
    return filled.view(size, -1)[:, :n].clamp(min=2.0**-54)


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_number_is_numpys(address):
    seed, purpose, first, size, n, index, second = address
    expected = Stream(seed, purpose).uniform(Block(first, size), n, index=index, second=second)
    assert torch.equal(by_torch_at(address), expected)


def test_they_are_a_million_and_uniform():
    assert sum(size * n for _, _, _, size, n, _, _ in ADDRESSES) > 1_000_000
    numbers = by_torch_at(ADDRESSES[0]).flatten().numpy()
    # 819,200 uniforms: the mean has a standard error of 0.0003, each of 64 shares of 0.00014.
    assert abs(numbers.mean() - 0.5) < 4 * 0.00032
    assert np.abs(np.histogram(numbers, 64, (0, 1))[0] / len(numbers) - 1 / 64).max() < 4.5 * 0.000137


@pytest.mark.parametrize("size", [1, 7])
def test_blocks_do_not_matter(size):
    whole = by_torch_at((1, "dropout", 2**60 - 8, 16, 100, 0, 0))
    pieces = [by_torch_at((1, "dropout", 2**60 - 8 + first, min(size, 16 - first), 100, 0, 0)) for first in range(0, 16, size)]
    assert torch.equal(torch.cat(pieces), whole)
