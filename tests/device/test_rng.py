"""Streams on a device: uniforms to the bit, other laws to 1e-9."""

from __future__ import annotations

import pytest
import torch

from trialsim.rng import Block, Stream, Streams

BLOCK, N = Block(2**31, 40), 200


def test_streams_know_their_device(cuda):
    drawn = Streams(9, "cuda")("outcome/death").uniform(BLOCK, N, index=2, second=3)
    assert drawn.device.type == "cuda"
    assert torch.equal(drawn.cpu(), Streams(9)("outcome/death").uniform(BLOCK, N, index=2, second=3))


def test_uniforms_have_the_same_bits(cuda):
    size = 1300 if torch.cuda.device_count() else 60  # over a million numbers where there is a device
    for first, n in ((0, 500), (2**60 - size // 2, 333)):  # the second block carries from one counter word to the next
        block = Block(first, size)
        assert torch.equal(Stream("9/truth", "dropout", "cuda").uniform(block, n).cpu(), Stream("9/truth", "dropout").uniform(block, n))


@pytest.mark.parametrize("law", ["exponential", "normal"])
def test_laws_agree(cuda, law):
    here, there = (getattr(Stream(9, "dropout", device), law)(BLOCK, N, index=1) for device in ("cpu", "cuda"))
    torch.testing.assert_close(there.cpu(), here, rtol=1e-9, atol=1e-9)
