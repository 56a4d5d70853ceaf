"""What the likelihood of repeated measures needs of the data: cross-products of factors and values per missingness pattern.

Patients who were seen at the same visits share their covariance matrix, so  Σ x x',  Σ x y'  and  Σ y y'  over each pattern
are sufficient. Covariates are centred and divided by their SD, values are centred at each visit; the constant at every
visit takes that up, and `unstandardised` undoes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.analysis.repeated_measures.design import Design, Factor
from trialsim.analysis.repeated_measures.small_matrices import add_up

SMALL_PIVOT = 1e-10  # of a column's square given the columns before it
CACHED = 25_600  # values of a factor or visit that are worked on at a time, for the cache of a core
CONSTANT = 1e-12  # SD of a constant column, relative to its mean


@dataclass(frozen=True, slots=True)
class Sums:
    """Cross-products per pattern; the number of patients of a pattern is `xx[0, 0]`."""

    factors: tuple[Factor, ...]
    seen: Float[Tensor, "visit pattern"]
    xx: Float[Tensor, "factor factor pattern replicate"]
    xy: Float[Tensor, "factor visit pattern replicate"]
    yy: Float[Tensor, "visit visit pattern replicate"]
    shift: Float[Tensor, "visit replicate"]
    """The mean value at each visit."""
    centre: Float[Tensor, "factor replicate"]
    scale: Float[Tensor, "factor replicate"]

    @property
    def n_visits(self) -> int:
        """Visits, the baseline included where it is one."""
        return len(self.seen)

    @property
    def n_replicates(self) -> int:
        """Replicates."""
        return self.xx.shape[-1]

    @property
    def n_patients(self) -> Float[Tensor, "replicate"]:
        """Patients with a value."""
        return add_up(self.xx[0, 0])

    @property
    def n_values(self) -> Float[Tensor, "replicate"]:
        """Values of all patients."""
        return add_up(add_up(self.seen[..., None] * self.xx[0, 0]))

    def rows(self, which: Tensor | slice) -> Sums:
        """The sums of some replicates."""
        parts = {name: getattr(self, name)[..., which].contiguous() for name in ("xx", "xy", "yy", "shift", "centre", "scale")}
        return dataclasses.replace(self, **parts)

    def collapse(self, full: Tensor, axis: int = 0) -> Tensor:
        """Axes (factor, visit) at `axis` into one axis of coefficients: a coefficient for all visits gets their sum."""
        parts = []
        for a, factor in enumerate(self.factors):
            block = full.select(axis, a).movedim(axis, 0)
            parts.append(block[factor.from_visit :] if factor.by_visit else add_up(block[factor.from_visit :])[None])
        return torch.cat(parts).movedim(0, axis)

    def spread(self, coefficients: Tensor, axis: int = 0) -> Tensor:
        """An axis of coefficients at `axis` into axes (factor, visit): the coefficient that counts at each visit, or 0."""
        coefficients = coefficients.movedim(axis, 0)
        full = torch.zeros((len(self.factors), self.n_visits, *coefficients.shape[1:]), dtype=coefficients.dtype, device=coefficients.device)
        place = 0
        for a, factor in enumerate(self.factors):
            width = factor.width(self.n_visits)
            full[a, factor.from_visit :] = coefficients[place : place + width]
            place += width
        return full.movedim((0, 1), (axis, axis + 1))

    def kept(self) -> Float[Tensor, "column replicate"]:
        """1 for coefficients that can be estimated, 0 where the column is a combination of earlier ones (as R's lm drops it)."""
        together = self.seen[:, None] * self.seen[None]
        n = self.n_visits
        full = torch.zeros((len(self.factors), n, len(self.factors), n, self.n_replicates), dtype=self.xx.dtype, device=self.xx.device)
        eye = torch.eye(n, dtype=self.xx.dtype, device=self.xx.device)
        for o in range(self.seen.shape[1]):
            full += self.xx[:, None, :, None, o] * (together[..., o] * eye)[None, :, None, :, None]
        square = self.collapse(self.collapse(full, 2), 0)
        kept = torch.ones_like(square[0])
        whole = torch.stack([square[j, j] for j in range(len(square))])
        for j in range(len(square)):
            pivot = square[j, j].clone()
            kept[j] = (pivot > SMALL_PIVOT * whole[j]).to(pivot.dtype)
            inverse = torch.where(kept[j] > 0, 1.0 / pivot, 0.0)
            column = square[:, j].clone()
            square -= column[:, None] * (column * inverse)[None]
        return kept

    def unstandardised(self, coefficients: Float[Tensor, "column replicate"]) -> Float[Tensor, "column replicate"]:
        """Coefficients of the values and covariates as they were given."""
        full = self.spread(coefficients / self._scales())
        full[0] += self.shift
        for a in range(1, len(self.factors)):
            full[0] -= full[a] * self.centre[a]
        return self._first_of(full)

    def unstandardise_covariance(self, covariance: Float[Tensor, "column column replicate"]) -> Float[Tensor, "column column replicate"]:
        """The covariance matrix of `unstandardised` coefficients."""
        for axis in (0, 1):
            full = self.spread(covariance.movedim(axis, 0) / self._scales()[:, None])
            for a in range(1, len(self.factors)):
                full[0] -= full[a] * self.centre[a]
            covariance = self._first_of(full).movedim(0, axis)
        return covariance

    def standardised(self, contrast: Float[Tensor, "column replicate"]) -> Float[Tensor, "column replicate"]:
        """The contrast of standardised coefficients that equals a contrast of the given ones, but for `offset`."""
        full = torch.zeros((len(self.factors), self.n_visits, contrast.shape[-1]), dtype=contrast.dtype, device=contrast.device)
        place = 0
        for a, factor in enumerate(self.factors):
            width = factor.width(self.n_visits)
            if factor.by_visit:
                full[a, factor.from_visit :] = contrast[place : place + width]
            else:
                full[a, factor.from_visit] = contrast[place]
            place += width
        for a in range(1, len(self.factors)):
            full[a] -= self.centre[a] * full[0] if self.factors[a].by_visit else 0.0
            if not self.factors[a].by_visit:
                full[a, 0] -= self.centre[a] * add_up(full[0])
        parts = [full[a, factor.from_visit :] if factor.by_visit else full[a, factor.from_visit][None] for a, factor in enumerate(self.factors)]
        return torch.cat(parts) / self._scales()

    def offset(self, contrast: Float[Tensor, "column replicate"]) -> Float[Tensor, "replicate"]:
        """What a contrast of the given coefficients has beyond the standardised one: the means of the values."""
        return add_up(contrast[: self.n_visits] * self.shift)

    def _scales(self) -> Float[Tensor, "column replicate"]:
        return torch.cat([self.scale[a][None].expand(factor.width(self.n_visits), -1) for a, factor in enumerate(self.factors)])

    def log_scales(self, kept: Float[Tensor, "column replicate"]) -> Float[Tensor, "replicate"]:
        """Σ log of the scale of every kept coefficient's factor."""
        return add_up(torch.where(kept > 0, self._scales().log(), 0.0))

    def _first_of(self, full: Tensor) -> Tensor:
        parts = [full[a, factor.from_visit :] if factor.by_visit else full[a, factor.from_visit][None] for a, factor in enumerate(self.factors)]
        return torch.cat(parts)


def patterns_of(observed: Tensor) -> list[int]:
    """The codes Σ 2^visit of the patterns that occur, rising; patients without a value have none."""
    return [code for code in torch.unique(_codes(observed)).tolist() if code]


def _codes(observed: Tensor) -> Int[Tensor, "replicate patient"]:
    code = observed[..., 0].to(torch.int64)
    for visit in range(1, observed.shape[-1]):
        code = code + (observed[..., visit].to(torch.int64) << visit)
    return code


def standardise(design: Design) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Factors and values as the sums take them, and shift, centre and scale; zero where there is no value."""
    there = design.there.to(design.value.dtype)
    n = there.sum(-1).clamp(min=1.0)
    x, centre, scale = [there], [torch.zeros_like(n)], [torch.ones_like(n)]
    for factor, column in zip(design.factors[1:], design.x[1:], strict=True):
        column = column * there
        if factor.name.startswith("arm"):
            x.append(column)
            centre.append(torch.zeros_like(n))
            scale.append(torch.ones_like(n))
            continue
        mean = column.sum(-1) / n
        centred = (column - mean[:, None]) * there
        sd = ((centred * centred).sum(-1) / n).sqrt()
        constant = sd <= CONSTANT * mean.abs()
        sd = torch.where(constant, 1.0, sd)
        x.append(torch.where(constant[:, None], 0.0, centred / sd[:, None]))
        centre.append(mean)
        scale.append(sd)
    y, shift = [], []
    for visit in range(design.n_visits):
        seen = design.observed[..., visit]
        value = torch.where(seen, design.value[..., visit], 0.0)
        mean = value.sum(-1) / seen.sum(-1).clamp(min=1)
        y.append(torch.where(seen, value - mean[:, None], 0.0))
        shift.append(mean)
    return torch.stack(x), torch.stack(y), torch.stack(shift), torch.stack(centre), torch.stack(scale)


def sum_up(design: Design, patterns: Sequence[int]) -> Sums:
    """The sums over the patients of each pattern in `patterns` (at least those that occur)."""
    x, y, shift, centre, scale = standardise(design)
    code = _codes(design.observed)
    m, n_visits = len(x), design.n_visits
    z = torch.cat([x, y])
    products = torch.zeros((m + n_visits, m + n_visits, len(patterns), z.shape[1]), dtype=z.dtype, device=z.device)
    for start in range(0, z.shape[1], CACHED // z.shape[-1] or 1):
        rows = slice(start, start + (CACHED // z.shape[-1] or 1))
        part, of_part = z[:, rows].contiguous(), code[rows]
        for o, pattern in enumerate(patterns):
            own = part * (of_part == pattern).to(z.dtype)
            end = m + pattern.bit_length()  # later visits are missing; a visit missing before is 0
            for a in range(end):
                if a < m or pattern >> (a - m) & 1:
                    products[a, a:end, o, rows] = (own[a] * part[a:end]).sum(-1)
    for a in range(1, len(z)):
        products[a, :a] = products[:a, a]
    seen = torch.tensor([[pattern >> visit & 1 for pattern in patterns] for visit in range(n_visits)], dtype=z.dtype, device=z.device)
    return Sums(
        factors=design.factors,
        seen=seen,
        xx=products[:m, :m].contiguous(),
        xy=products[:m, m:].contiguous(),
        yy=products[m:, m:].contiguous(),
        shift=shift,
        centre=centre,
        scale=scale,
    )
