"""The addressed generator against the Random123 known-answer vectors and a second implementation from the paper."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy import special

from trialsim.rng import Block, Stream, Streams, _normal, philox_key

MASK = (1 << 64) - 1


def philox4x64_10(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, ...]:
    """Salmon et al. 2011, section 3.3, written out."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (p1 >> 64) ^ c1 ^ k0, p1 & MASK, (p0 >> 64) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


@pytest.mark.parametrize(
    "counter, key, expected",
    [
        ((0, 0, 0, 0), (0, 0), (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)),
        ((MASK,) * 4, (MASK, MASK), (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0)),
        (
            (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
            (0x452821E638D01377, 0xBE5466CF34E90C6C),
            (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
        ),
    ],
)
def test_witness_meets_the_known_answers(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert philox4x64_10(counter, key) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("replicate, patient, index, second", [(0, 0, 0, 0), (0, 70, 0, 0), (3, 1, 2, 0), (12345, 399, 0, 7), (2**40, 64, 5, 1)])
def test_every_number_is_the_one_its_address_says(replicate: int, patient: int, index: int, second: int) -> None:
    drawn = Stream(42, "outcome/death").uniform(Block(replicate, 1), patient + 1, index=index, second=second)[0, patient].item()
    counter = 16 * replicate + (patient % 64) // 4, patient // 64, index, second
    word = philox4x64_10(counter, philox_key(42, "outcome/death"))[patient % 4]
    assert drawn == max((word >> 11) * 2.0**-53, 2.0**-54)


@pytest.mark.parametrize("law", ["uniform", "exponential", "normal"])
def test_same_bits_at_any_block_size_and_enrolment(law: str) -> None:
    whole = getattr(Streams(1)("dropout"), law)(Block(0, 128), 400)
    for size in (1, 7, 64):
        pieces = [getattr(Streams(1)("dropout"), law)(Block(first, min(size, 128 - first)), 400) for first in range(0, 128, size)]
        assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(getattr(Streams(1)("dropout"), law)(Block(5, 3), 129), whole[5:8, :129])


def test_laws_are_the_inverse_cdf_of_the_uniforms() -> None:
    stream, block = Stream(7, "accrual"), Block(11, 5)
    u = stream.uniform(block, 100).numpy()
    np.testing.assert_allclose(stream.exponential(block, 100), -np.log(u), rtol=1e-14)
    np.testing.assert_allclose(stream.normal(block, 100), special.ndtri(u), rtol=1e-12, atol=1e-14)


def test_normals_are_exact_into_the_tails() -> None:
    """Against mpmath at the smallest and the largest uniforms there are, and around the median."""
    ends = [2.0**-54, *(k * 2.0**-53 for k in (1, 2, 3, 1000, 2**30, 2**45)), 0.02, 0.13533528323661270, 0.5 - 2.0**-53, 0.5 + 2.0**-53, 0.75, 0.9, 0.98]
    uniform = np.array([*ends, *(1.0 - k * 2.0**-53 for k in (1, 2, 1000, 2**30))])
    found = _normal(torch.from_numpy(uniform.copy())).numpy()
    with mpmath.workdps(40):
        for u, z in zip(uniform, found, strict=True):
            exact = mpmath.findroot(lambda x, u=u: mpmath.ncdf(x) - mpmath.mpf(float(u)), float(special.ndtri(u)))
            assert abs(mpmath.mpf(float(z)) / exact - 1) < 1e-15
    assert _normal(torch.tensor([0.5], dtype=torch.float64)).item() == 0.0


def test_purposes_and_seeds_have_streams_of_their_own() -> None:
    block = Block(0, 50)
    draws = [Stream(seed, purpose).uniform(block, 200).flatten() for seed, purpose in ((1, "dropout"), (1, "accrual"), (2, "dropout"))]
    correlation = np.corrcoef(torch.stack(draws).numpy())
    # 10,000 pairs of independent uniforms: correlations have standard error 0.01.
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 4 * 0.01
