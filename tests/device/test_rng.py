"""Streams on a device: uniforms to the bit, other laws to 1e-9."""

from __future__ import annotations

import pytest
import torch

from trialsim.rng import Block, Stream, Streams

BLOCK, N = Block(2**31, 40), 200


def test_streams_know_their_device(pretend_cuda):
    drawn = Streams(9, "cuda")("outcome/death").uniform(BLOCK, N, index=2, second=3)
    assert drawn.device.type == "cuda"
    assert torch.equal(drawn.cpu(), Streams(9)("outcome/death").uniform(BLOCK, N, index=2, second=3))


@pytest.mark.parametrize("law", ["exponential", "normal"])
def test_laws_agree(pretend_cuda, law):
    here, there = (getattr(Stream(9, "dropout", device), law)(BLOCK, N, index=1) for device in ("cpu", "cuda"))
    torch.testing.assert_close(there.cpu(), here, rtol=1e-9, atol=1e-9)
