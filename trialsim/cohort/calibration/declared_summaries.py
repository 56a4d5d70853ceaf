"""From what a paper prints (means and SDs, quantiles) to the parameters of a law.

Everything here takes and gives plain numbers in one unit, and raises the one-sentence error of a law where the summaries
cannot be those of the law.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticCustomError
from scipy.optimize import brentq, least_squares
from scipy.special import betainc, betaincc, expit, gammainc, gammaincc, logit, ndtr, ndtri

Array = NDArray[np.float64]

MISFIT = 0.1
"""The largest error of a stated quantile, on the scale of normal scores, before more than two of them contradict a law (0.1 is 4 points of
percentage at the median). Quantiles of an age rounded to whole years are off by 0.03."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("law", "{sentence}", {"sentence": sentence})


def lognormal_of_moments(mean: float, sd: float) -> tuple[float, float]:
    """The median and sd_log of the lognormal with this mean and SD (both above 0).

        sd_log² = log(1 + (sd / mean)²),  median = mean / √(1 + (sd / mean)²)

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, equation 14.8.
    """
    ratio = sd / mean
    if not 1e-150 < ratio < 1e150:
        raise _wrong(f"sd is {sd:g} and mean is {mean:g}; no lognormal is so spread out or so narrow that numbers could hold it")
    square = ratio**2
    return mean / math.sqrt(1.0 + square), math.sqrt(math.log1p(square))


def gamma_of_moments(mean: float, sd: float) -> tuple[float, float]:
    """The shape and rate of the gamma with this mean and SD (both above 0): shape = (mean / sd)², rate = mean / sd².

    **Source:** Johnson, Kotz & Balakrishnan 1994, Continuous Univariate Distributions 1, section 17.7.
    """
    return (mean / sd) ** 2, mean / sd**2


def beta_of_moments(mean: float, sd: float) -> tuple[float, float]:
    """The shapes of the beta with this mean and SD.

        α = mean · ν, β = (1 − mean) · ν with ν = mean (1 − mean) / sd² − 1

    An error where the mean is not between 0 and 1, or sd² ≥ mean (1 − mean), which no share can exceed.

    **Source:** Johnson, Kotz & Balakrishnan 1995, Continuous Univariate Distributions 2, section 25.4.
    """
    if not 0.0 < mean < 1.0:
        raise _wrong(f"mean is {mean:g}; that of a share is between 0 and 1")
    largest = math.sqrt(mean * (1.0 - mean))
    if sd >= largest:
        raise _wrong(f"sd is {sd:g}; with a mean of {mean:g} that of a share is below {largest:.4g}")
    nu = mean * (1.0 - mean) / sd**2 - 1.0
    return mean * nu, (1.0 - mean) * nu


def truncated_normal_moments(mu: float, sigma: float, low: float, high: float) -> tuple[float, float]:
    """The mean and SD after truncation of Normal(mu, sigma) to [low, high] (either end may be infinite).

    By Gauss–Legendre on the part of [low, high] that holds all but 1e-16 of the probability, with the density taken
    relative to its largest value there, so that nothing is lost where the normal's mean lies far outside.
    """
    mode = min(max(mu, low), high)
    reach = 13.0 * sigma
    if mode != mu:  # the density falls off like exp(−|mode − mu| t / sigma²) from the end nearest to mu
        reach = min(reach, 45.0 * sigma**2 / abs(mode - mu))
    first, last = max(low, mode - reach), min(high, mode + reach)
    t = 0.5 * (last - first) * (_NODES + 1.0) + (first - mode)
    weights = _WEIGHTS * np.exp(-t * (t + 2.0 * (mode - mu)) / (2.0 * sigma**2))
    weights = weights / weights.sum()
    shift = float(weights @ t)
    return mode + shift, math.sqrt(float(weights @ (t - shift) ** 2))


def truncated_normal_of_moments(mean: float, sd: float, low: float, high: float) -> tuple[float, float]:
    """The mean and SD of the normal that has this mean and SD after truncation to [low, high] (either end may be infinite).

    For each σ there is one μ with the mean asked for, and along these the SD after truncation rises with σ, from σ itself
    to that of the exponential law on [low, high] with this mean (an exponential family's Schur complement is positive);
    two nested root searches (Brent), no starting value. An error where the mean is not between the ends, and where the SD
    is not below that limit: no truncated normal is as spread out.

    **Source:** Barndorff-Nielsen 1978, Information and Exponential Families, theorem 9.13 (which means are attained);
    Cohen 1991, Truncated and Censored Samples, chapter 2.
    """
    if not low < mean < high:
        raise _wrong(f"truncated_mean is {mean:g}; it must lie between low and high")
    if math.isinf(low) and math.isinf(high):
        return mean, sd
    limit = _largest_sd(mean, low, high)
    said = f"truncated_sd is {sd:g}; with this mean and these ends that of a truncated normal is below {limit:.4g}"
    if sd >= limit:
        raise _wrong(said)

    def centre(sigma: float) -> float:
        least = mean if math.isinf(low) else low - 1.01 * sigma**2 / (mean - low) - 1e-9 * sigma
        most = mean if math.isinf(high) else high + 1.01 * sigma**2 / (high - mean) + 1e-9 * sigma
        return float(
            brentq(
                lambda mu: truncated_normal_moments(mu, sigma, low, high)[0] - mean, least - 1e-6 * sigma, most + 1e-6 * sigma, xtol=1e-13 * sigma, rtol=1e-15
            )
        )

    def error(sigma: float) -> float:
        return truncated_normal_moments(centre(sigma), sigma, low, high)[1] - sd

    wide = 2.0 * sd
    while error(wide) < 0.0:
        wide *= 2.0
        if wide > 64.0 * limit:
            raise _wrong(f"{said}, and this is too close to it")
    sigma = float(brentq(error, 0.999 * sd, wide, xtol=1e-13 * sd, rtol=1e-14))
    return centre(sigma), sigma


def _largest_sd(mean: float, low: float, high: float) -> float:
    """The SD of the exponential law on [low, high], rising or falling, that has this mean."""
    if math.isinf(high):
        return mean - low
    if math.isinf(low):
        return high - mean
    x = 0.5 * (_NODES + 1.0)
    share = (mean - low) / (high - low)

    def tilted(tilt: float) -> Array:
        weights = _WEIGHTS * np.exp(tilt * (x - (tilt > 0)))
        return np.asarray(weights / weights.sum())

    if min(share, 1.0 - share) < 0.02:  # the far end is beyond reach: as with one end
        return min(mean - low, high - mean)
    weights = tilted(float(brentq(lambda tilt: float(tilted(tilt) @ x) - share, -60.0, 60.0, xtol=1e-12)))
    return (high - low) * math.sqrt(float(weights @ (x - share) ** 2))


def normal_of_quantiles(quantiles: Mapping[float, float]) -> tuple[float, float]:
    """The mean and SD of the normal with these quantiles (probability → value).

    Two determine it. Of more, the least squares of the normal scores, Σ ((x_i − mean) / sd − Φ⁻¹(p_i))², are taken,
    and it is an error if one is missed by more than `MISFIT` scores.
    """
    p, x = _in_order(quantiles)
    slope, intercept = np.polyfit(x, ndtri(p), 1)
    if slope <= 0.0:
        raise _misfit("normal", p, x, np.full(len(p), 0.5))
    mean, sd = -intercept / slope, 1.0 / slope
    _check("normal", p, x, (x - mean) / sd)
    return float(mean), float(sd)


def lognormal_of_quantiles(quantiles: Mapping[float, float]) -> tuple[float, float]:
    """The median and sd_log of the lognormal with these quantiles: those of a normal on the logarithms."""
    p, x = _in_order(quantiles, low=0.0)
    slope, intercept = np.polyfit(np.log(x), ndtri(p), 1)
    _check("lognormal", p, x, np.log(x) * slope + intercept)
    return math.exp(-intercept / slope), float(1.0 / slope)


def gamma_of_quantiles(quantiles: Mapping[float, float]) -> tuple[float, float]:
    """The shape and rate of the gamma with these quantiles (as for the normal: exact for two, least squares of scores for more)."""
    p, x = _in_order(quantiles, low=0.0)

    def scores(theta: Array) -> Array:
        shape, rate = np.exp(theta)
        return _score(gammainc(shape, x * rate), gammaincc(shape, x * rate))

    spread = float((ndtri(p[-1]) - ndtri(p[0])) / np.log(x[-1] / x[0]))  # 1 / sd_log of a lognormal through the outer two
    middle = float(np.exp(np.interp(0.0, ndtri(p), np.log(x))))
    starts = [(math.log(shape), math.log(shape / middle)) for shape in (spread**2, max(spread, 0.05), 1.0)]
    shape, rate = np.exp(_fitted("gamma", p, x, scores, starts))
    return float(shape), float(rate)


def beta_of_quantiles(quantiles: Mapping[float, float]) -> tuple[float, float]:
    """The shapes of the beta with these quantiles (as for the normal: exact for two, least squares of scores for more)."""
    p, x = _in_order(quantiles, low=0.0, high=1.0)

    def shapes(theta: Array) -> tuple[float, float]:
        mean, size = float(expit(theta[0])), math.exp(theta[1])
        return mean * size, (1.0 - mean) * size

    def scores(theta: Array) -> Array:
        return _score(betainc(*shapes(theta), x), betaincc(*shapes(theta), x))

    middle = float(np.interp(0.0, ndtri(p), logit(x)))
    spread = float((ndtri(p[-1]) - ndtri(p[0])) / (logit(x[-1]) - logit(x[0])))
    variance = float(expit(middle) * (1.0 - expit(middle)))
    starts = [(middle, math.log(size)) for size in (spread**2 / variance, 2.0, 0.5)]
    return shapes(_fitted("beta", p, x, scores, starts))


def truncated_normal_of_quantiles(quantiles: Mapping[float, float], low: float, high: float) -> tuple[float, float]:
    """The mean and SD before truncation to [low, high] of the truncated normal with these quantiles.

    As for the normal: exact for two where there is one (some pairs lie closer to uniform than any truncated normal), least
    squares of scores for more.
    """
    p, x = _in_order(quantiles, low=low, high=high)

    def scores(theta: Array) -> Array:
        mu, sigma = middle + spread * theta[0], spread * math.exp(theta[1])
        a, b, z = (low - mu) / sigma, (high - mu) / sigma, (x - mu) / sigma
        if a > 0:  # the upper tail, by its mirror image
            a, b, z = -b, -a, -z
            whole = max(float(ndtr(b) - ndtr(a)), 1e-300)
            return -_score((ndtr(z) - ndtr(a)) / whole, (ndtr(b) - ndtr(z)) / whole)
        whole = max(float(ndtr(b) - ndtr(a)), 1e-300)
        return _score((ndtr(z) - ndtr(a)) / whole, (ndtr(b) - ndtr(z)) / whole)

    slope, intercept = np.polyfit(x, ndtri(p), 1)
    spread, middle = float(1.0 / slope), float(-intercept / slope)
    theta = _fitted("truncated normal", p, x, scores, [(0.0, 0.0), (0.0, 1.0), (-3.0, 1.0), (3.0, 1.0)])
    return middle + spread * float(theta[0]), spread * math.exp(float(theta[1]))


def _in_order(quantiles: Mapping[float, float], *, low: float = -math.inf, high: float = math.inf) -> tuple[Array, Array]:
    """Probabilities and values, ascending; an error where they are too few, not rising, or outside of the law's support."""
    if len(quantiles) < 2:
        raise _wrong("quantiles needs at least two")
    pairs = sorted(quantiles.items())
    for p, x in pairs:
        if not 0.0 < p < 1.0:
            raise _wrong(f"quantiles: the probability {p:g} is not between 0 and 1")
        if not low < x < high:
            where = f"above {low:g}" if math.isinf(high) else f"below {high:g}" if math.isinf(low) else f"between {low:g} and {high:g}"
            raise _wrong(f"quantiles: {p:g} is {x:g}; every value of this law lies {where}")
    for (before, less), (after, more) in pairwise(pairs):
        if less >= more:
            raise _wrong(f"quantiles: {before:g} is {less:g} and {after:g} is {more:g}; they must rise with the probability")
    return np.array([p for p, _ in pairs]), np.array([x for _, x in pairs])


def _score(below: Array, above: Array) -> Array:
    """The normal score, from whichever tail is the smaller; bounded, so that a search can leave where a tail is empty."""
    bounded = (np.clip(tail, 1e-300, 1.0) for tail in (below, above))
    lower, upper = bounded
    return np.where(below < 0.5, ndtri(np.minimum(lower, 0.5)), -ndtri(np.minimum(upper, 0.5)))


def _fitted(law: str, p: Array, x: Array, scores: Callable[[Array], Array], starts: Sequence[tuple[float, float]]) -> Array:
    """The least squares of the scores from the best of some starting values."""
    wanted = ndtri(p)

    def missed(theta: Array) -> Array:
        return scores(theta) - wanted

    best = None
    for start in starts:
        found = least_squares(missed, np.clip(start, -199.0, 199.0), xtol=1e-15, ftol=1e-15, gtol=1e-15, bounds=(-200.0, 200.0))
        best = found if best is None or found.cost < best.cost else best
        if best.cost < 1e-22:
            break
    assert best is not None
    _check(law, p, x, scores(best.x))
    return np.asarray(best.x)


def _check(law: str, p: Array, x: Array, scores: Array) -> None:
    """An error where the law misses a quantile: at all where two are stated, by more than `MISFIT` where more are."""
    tolerance = 1e-7 if len(p) == 2 else MISFIT
    if np.abs(scores - ndtri(p)).max() > tolerance:
        raise _misfit(law, p, x, ndtr(scores))


def _misfit(law: str, p: Array, x: Array, found: Array) -> PydanticCustomError:
    worst = int(np.argmax(np.abs(ndtri(np.clip(found, 1e-12, 1 - 1e-12)) - ndtri(p))))
    return _wrong(f"the quantiles contradict a {law} law: the closest one has {found[worst]:.1%} at or below {x[worst]:g}, where {p[worst]:.4g} is stated")
