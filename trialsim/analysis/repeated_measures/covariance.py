"""The covariance of a patient's visits, by a few unconstrained parameters.

Every structure is  Σ_ij = s_i s_j C_ij(φ),  with log s_i = θ_i at every visit (heterogeneous) or one θ_0 for all, and

    unstructured          C = L L', L unit lower triangular, φ its entries below the diagonal, row by row (s is then
                          the diagonal of Σ's Cholesky factor),
    compound_symmetry     C_ij = ρ,           ar1             C_ij = ρ^|i-j|,
    toeplitz              C_ij = ρ_|i-j|,     antedependence  C_ij = ρ_i ρ_(i+1) ... ρ_(j-1)     for i < j,

with each ρ = φ / (1 + φ²)^½, but for compound symmetry over n visits  ρ = (1 + a) / (1 + exp(-φ)) - a,  a = 1 / (n - 1). These
are the parameters of the R package mmrm: the Kenward-Roger adjustment depends on them. Toeplitz can leave the positive
definite matrices; the fit steps back where it does.

**Source:** Sabanes Bove et al., mmrm 0.3, "Covariance structures"; Zimmerman & Nunez-Anton 2009 (doi 10.1201/9781420011074)
for antedependence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trialsim.analysis.repeated_measures.small_matrices import add_up, multiply


@dataclass(frozen=True, slots=True)
class Shape:
    """C(φ) and its derivatives at every replicate's φ."""

    value: Float[Tensor, "visit visit replicate"]
    first: Float[Tensor, "phi visit visit replicate"]
    along: Callable[[Float[Tensor, "visit visit replicate"]], Float[Tensor, "phi phi replicate"]]
    """Σ_ij weight_ij ∂²C_ij/∂φ_r∂φ_s of a symmetric weight."""
    bent: Callable[[Float[Tensor, "phi phi replicate"]], Float[Tensor, "visit visit replicate"]]
    """Σ_rs weight_rs ∂²C/∂φ_r∂φ_s of a symmetric weight."""


def _unit(n_visits: int, phi: Tensor) -> Tensor:
    eye = torch.eye(n_visits, dtype=phi.dtype, device=phi.device)
    return eye[:, :, None].expand(n_visits, n_visits, phi.shape[-1]).clone()


class _Correlation:
    """A family of C(φ) over a number of visits."""

    def __init__(self, n_visits: int) -> None:
        self.n_visits = n_visits

    @property
    def n_phi(self) -> int:
        raise NotImplementedError

    def at(self, phi: Float[Tensor, "phi replicate"]) -> Shape:
        raise NotImplementedError

    def start(self, sigma: Float[Tensor, "visit visit replicate"]) -> tuple[Tensor, Tensor]:
        """log s [visit, replicate] and φ [phi, replicate] near a covariance matrix."""
        sd = torch.stack([sigma[i, i] for i in range(self.n_visits)]).sqrt()
        return sd.log(), self.phi_of(sigma / (sd[:, None] * sd[None]))

    def phi_of(self, correlation: Tensor) -> Tensor:
        raise NotImplementedError


class _Unstructured(_Correlation):
    @property
    def _entries(self) -> list[tuple[int, int]]:
        return [(i, j) for i in range(self.n_visits) for j in range(i)]

    @property
    def n_phi(self) -> int:
        return self.n_visits * (self.n_visits - 1) // 2

    def at(self, phi: Tensor) -> Shape:
        n, device = self.n_visits, phi.device
        i, j = torch.tril_indices(n, n, -1, device=device)
        lower = _unit(n, phi)
        lower[i, j] = phi
        half = torch.zeros((self.n_phi, n, n, phi.shape[-1]), dtype=phi.dtype, device=device)
        half[torch.arange(self.n_phi, device=device), i] = lower[:, j].transpose(0, 1)
        same_column = (j[:, None] == j[None]).to(phi.dtype)[..., None]

        def along(weight: Tensor) -> Tensor:
            return 2.0 * weight[i[:, None], i[None]] * same_column

        def bent(weight: Tensor) -> Tensor:
            total = torch.zeros_like(lower)
            for k in range(n - 1):
                rows = torch.nonzero(j == k)[:, 0]
                total[k + 1 :, k + 1 :] += 2.0 * weight[rows[:, None], rows[None]]
            return total

        return Shape(value=multiply(lower, lower.transpose(0, 1)), first=half + half.transpose(1, 2), along=along, bent=bent)

    def start(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        n = self.n_visits
        lower = torch.zeros_like(sigma)
        for i in range(n):
            for j in range(i + 1):
                rest = sigma[i, j]
                for k in range(j):
                    rest = rest - lower[i, k] * lower[j, k]
                lower[i, j] = rest.sqrt() if i == j else rest / lower[j, j]
        sd = torch.stack([lower[i, i] for i in range(n)])
        return sd.log(), torch.stack([lower[i, j] / sd[i] for i, j in self._entries]) if n > 1 else sd[:0]


class _ByEntry(_Correlation):
    """C_ij is a product of correlations: which ones, a subclass says."""

    def factors(self, i: int, j: int) -> list[tuple[int, int]]:
        """(k, power) of the correlations whose powers multiply to C_ij."""
        raise NotImplementedError

    def correlations(self, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ρ and its first two derivatives in φ."""
        root = 1.0 / (1.0 + phi * phi).sqrt()
        slope = root * root * root
        return phi * root, slope, -3.0 * phi * slope * root * root

    def parameters(self, rho: Tensor) -> Tensor:
        """φ of correlations, which are kept from their limits."""
        rho = rho.clamp(-0.99, 0.99)
        return rho / (1.0 - rho * rho).sqrt()

    def at(self, phi: Tensor) -> Shape:
        n = self.n_visits
        rho, slope, bend = self.correlations(phi)
        value = _unit(n, phi)
        first = torch.zeros((self.n_phi, n, n, phi.shape[-1]), dtype=phi.dtype, device=phi.device)
        pairs = [(i, j, self.factors(i, j)) for i in range(n) for j in range(i + 1, n)]
        for i, j, factors in pairs:
            value[i, j] = value[j, i] = _product(rho, factors)
            for k, power in factors:
                derivative = power * slope[k] * _product(rho, _lowered(factors, k))
                first[k, i, j] = first[k, j, i] = derivative

        def second() -> Iterator[tuple[int, int, int, int, Tensor]]:
            for i, j, factors in pairs:
                for place, (k, power) in enumerate(factors):
                    once = _lowered(factors, k)
                    own = power * bend[k] * _product(rho, once)
                    if power > 1:
                        own = own + power * (power - 1) * slope[k] * slope[k] * _product(rho, _lowered(once, k))
                    yield k, k, i, j, own
                    for other, times in factors[place + 1 :]:
                        yield k, other, i, j, power * times * slope[k] * slope[other] * _product(rho, _lowered(once, other))

        def along(weight: Tensor) -> Tensor:
            total = torch.zeros((self.n_phi, self.n_phi, phi.shape[-1]), dtype=phi.dtype, device=phi.device)
            for r, s, i, j, value in second():
                term = 2.0 * weight[i, j] * value
                total[r, s] += term
                if r != s:
                    total[s, r] += term
            return total

        def bent(weight: Tensor) -> Tensor:
            total = torch.zeros_like(value)
            for r, s, i, j, entry in second():
                total[i, j] += (weight[r, s] if r == s else 2.0 * weight[r, s]) * entry
            return total + total.transpose(0, 1)

        return Shape(value=value, first=first, along=along, bent=bent)

    def phi_of(self, correlation: Tensor) -> Tensor:
        wanted: list[list[Tensor]] = [[] for _ in range(self.n_phi)]
        for i in range(self.n_visits):
            for j in range(i + 1, self.n_visits):
                factors = self.factors(i, j)
                if len(factors) == 1 and factors[0][1] == 1:
                    wanted[factors[0][0]].append(correlation[i, j])
        return torch.stack([self.parameters(add_up(torch.stack(values)) / len(values)) for values in wanted])


def _product(rho: Tensor, factors: list[tuple[int, int]]) -> Tensor:
    total = torch.ones_like(rho[0])
    for k, power in factors:
        for _ in range(power):
            total = total * rho[k]
    return total


def _lowered(factors: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    return [(which, power - (which == k)) for which, power in factors]


class _CompoundSymmetry(_ByEntry):
    @property
    def n_phi(self) -> int:
        return 1

    def correlations(self, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        least = 1.0 / (self.n_visits - 1)
        share = 1.0 / (1.0 + (-phi).exp())
        slope = (1.0 + least) * share * (1.0 - share)
        return (1.0 + least) * share - least, slope, slope * (1.0 - 2.0 * share)

    def parameters(self, rho: Tensor) -> Tensor:
        least = 1.0 / (self.n_visits - 1)
        share = ((rho + least) / (1.0 + least)).clamp(0.005, 0.995)
        return (share / (1.0 - share)).log()

    def factors(self, i: int, j: int) -> list[tuple[int, int]]:
        return [(0, 1)]


class _Autoregressive(_ByEntry):
    @property
    def n_phi(self) -> int:
        return 1

    def factors(self, i: int, j: int) -> list[tuple[int, int]]:
        return [(0, j - i)]


class _Toeplitz(_ByEntry):
    @property
    def n_phi(self) -> int:
        return self.n_visits - 1

    def factors(self, i: int, j: int) -> list[tuple[int, int]]:
        return [(j - i - 1, 1)]


class _Antedependence(_Toeplitz):
    def factors(self, i: int, j: int) -> list[tuple[int, int]]:
        return [(k, 1) for k in range(i, j)]


FAMILIES: dict[str, tuple[type[_Correlation], bool]] = {
    "unstructured": (_Unstructured, True),
    "ar1": (_Autoregressive, False),
    "heterogeneous_ar1": (_Autoregressive, True),
    "compound_symmetry": (_CompoundSymmetry, False),
    "heterogeneous_compound_symmetry": (_CompoundSymmetry, True),
    "toeplitz": (_Toeplitz, False),
    "heterogeneous_toeplitz": (_Toeplitz, True),
    "antedependence": (_Antedependence, False),
    "heterogeneous_antedependence": (_Antedependence, True),
}


class Structure:
    """A named covariance structure over some visits; θ is [parameter, replicate]: log s first, then φ."""

    def __init__(self, name: str, n_visits: int) -> None:
        family, self.heterogeneous = FAMILIES[name]
        self.name, self.n_visits = name, n_visits
        self.correlation = family(n_visits)
        self.n_scales = n_visits if self.heterogeneous else 1
        self.n_parameters = self.n_scales + (self.correlation.n_phi if n_visits > 1 else 0)
        self.pairs = [(i, j) for i in range(n_visits) for j in range(i + 1)]
        """The entries of Σ on and below its diagonal."""

    def places(self, device: torch.device) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
        """Row and column of every pair."""
        i, j = torch.tril_indices(self.n_visits, self.n_visits, device=device)
        return i, j

    def at(self, theta: Float[Tensor, "parameter replicate"]) -> Covariance:
        """Σ and what its derivatives are made of."""
        scales = theta[: self.n_scales].exp()
        if not self.heterogeneous:
            scales = scales.expand(self.n_visits, -1)
        product = scales[:, None] * scales[None]
        shape = self.correlation.at(theta[self.n_scales :])
        return Covariance(structure=self, product=product, shape=shape, sigma=product * shape.value)

    def start(self, sigma: Float[Tensor, "visit visit replicate"]) -> Float[Tensor, "parameter replicate"]:
        """Parameters near a covariance matrix."""
        log_sd, phi = self.correlation.start(sigma)
        if not self.heterogeneous:
            log_sd = (add_up(torch.stack([sigma[i, i] for i in range(self.n_visits)])) / self.n_visits).log()[None] * 0.5
        return torch.cat([log_sd, phi])


@dataclass(frozen=True, slots=True)
class Covariance:
    """Σ of every replicate, and its derivatives in θ."""

    structure: Structure
    product: Float[Tensor, "visit visit replicate"]
    shape: Shape
    sigma: Float[Tensor, "visit visit replicate"]

    def jacobian(self) -> Float[Tensor, "parameter pair replicate"]:
        """∂Σ_ij/∂θ_r for the pairs of the structure."""
        i, j = self.structure.places(self.sigma.device)
        entries = self.sigma[i, j]
        if self.structure.heterogeneous:
            visit = torch.arange(self.structure.n_visits, device=i.device)[:, None]
            scales = ((i == visit).to(entries.dtype) + (j == visit).to(entries.dtype))[..., None] * entries
        else:
            scales = 2.0 * entries[None]
        return torch.cat([scales, self.shape.first[:, i, j] * self.product[i, j]])

    def second_along(self, gradient: Float[Tensor, "visit visit replicate"]) -> Float[Tensor, "parameter parameter replicate"]:
        """Σ_ij gradient_ij ∂²Σ_ij/∂θ_r∂θ_s, for a symmetric `gradient`."""
        own, scaled = gradient * self.sigma, gradient * self.product
        mixed = 2.0 * add_up((self.shape.first * scaled).movedim(1, 0))  # phi visit replicate
        if self.structure.heterogeneous:
            scales = 2.0 * (own + torch.diag_embed(add_up(own).T).movedim(0, -1))
        else:
            scales = 4.0 * add_up(add_up(own))[None, None]
            mixed = add_up(mixed.movedim(1, 0))[:, None]
        above = torch.cat([scales, mixed.transpose(0, 1)], dim=1)
        return torch.cat([above, torch.cat([mixed, self.shape.along(scaled)], dim=1)])

    def curvature(self, weight: Float[Tensor, "parameter parameter replicate"]) -> Float[Tensor, "visit visit replicate"]:
        """Σ_rs weight_rs ∂²Σ/∂θ_r∂θ_s, for a symmetric `weight`."""
        s, n = self.structure.n_scales, self.structure.n_visits
        scales, mixed = weight[:s, :s], weight[:s, s:]
        if not self.structure.heterogeneous:
            scales, mixed = scales.expand(n, n, -1), mixed.expand(n, -1, -1)
        own = torch.stack([scales[i, i] for i in range(n)])
        total = (own[:, None] + own[None] + 2.0 * scales) * self.sigma
        if s < len(weight):
            both = add_up((mixed[:, None] + mixed[None]).movedim(2, 0) * self.shape.first)
            total = total + (2.0 * both + self.shape.bent(weight[s:, s:])) * self.product
        return total
