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

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trialsim.analysis.repeated_measures.small_matrices import add_up

Second = list[tuple[int, int, int, int, Tensor]]
"""Second derivatives that are not zero: (r, s, i, j, ∂²C_ij/∂φ_r∂φ_s) with r <= s and i <= j."""


@dataclass(frozen=True, slots=True)
class Shape:
    """C(φ) and its derivatives at every replicate's φ."""

    value: Float[Tensor, "visit visit replicate"]
    first: Float[Tensor, "phi visit visit replicate"]
    second: Callable[[], Second]


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
        n = self.n_visits
        lower = _unit(n, phi)
        for row, (i, j) in enumerate(self._entries):
            lower[i, j] = phi[row]
        value = lower[:, 0, None] * lower[None, :, 0]
        for k in range(1, n):
            value += lower[:, k, None] * lower[None, :, k]
        first = torch.zeros((self.n_phi, n, n, phi.shape[-1]), dtype=phi.dtype, device=phi.device)
        for row, (i, j) in enumerate(self._entries):
            first[row, i] += lower[:, j]
            first[row, :, i] += lower[:, j]
        one = torch.ones_like(value[0, 0])

        def second() -> Second:
            found: Second = []
            for r, (i, k) in enumerate(self._entries):
                for s, (j, m) in enumerate(self._entries[r:], start=r):
                    if k == m:
                        found.append((r, s, min(i, j), max(i, j), 2.0 * one if i == j else one))
            return found

        return Shape(value=value, first=first, second=second)

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

        def second() -> Second:
            found: Second = []
            for i, j, factors in pairs:
                for place, (k, power) in enumerate(factors):
                    once = _lowered(factors, k)
                    own = power * bend[k] * _product(rho, once)
                    if power > 1:
                        own = own + power * (power - 1) * slope[k] * slope[k] * _product(rho, _lowered(once, k))
                    found.append((k, k, i, j, own))
                    for other, times in factors[place + 1 :]:
                        found.append((k, other, i, j, power * times * slope[k] * slope[other] * _product(rho, _lowered(once, other))))
            return found

        return Shape(value=value, first=first, second=second)

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
        structure = self.structure
        jacobian = torch.zeros((structure.n_parameters, len(structure.pairs), self.sigma.shape[-1]), dtype=self.sigma.dtype, device=self.sigma.device)
        scaled = self.shape.first * self.product
        for k, (i, j) in enumerate(structure.pairs):
            for visit in (i, j):
                jacobian[visit if structure.heterogeneous else 0, k] += self.sigma[i, j]
            jacobian[structure.n_scales :, k] = scaled[:, i, j]
        return jacobian

    def second_along(self, gradient: Float[Tensor, "visit visit replicate"]) -> Float[Tensor, "parameter parameter replicate"]:
        """Σ_ij gradient_ij ∂²Σ_ij/∂θ_r∂θ_s, for a symmetric `gradient`."""
        structure, n = self.structure, self.structure.n_visits
        own = gradient * self.sigma
        by_row = add_up(own)
        scaled = gradient * self.product
        mixed = torch.stack([2.0 * add_up(part * scaled) for part in self.shape.first]) if len(self.shape.first) else own[:0, 0]
        q, s = structure.n_parameters, structure.n_scales
        found = torch.zeros((q, q, own.shape[-1]), dtype=own.dtype, device=own.device)
        if structure.heterogeneous:
            found[:s, :s] = 2.0 * own
            for visit in range(n):
                found[visit, visit] += 2.0 * by_row[visit]
            for r in range(len(self.shape.first)):
                found[s + r, :s] = mixed[r]
                found[:s, s + r] = mixed[r]
        else:
            found[0, 0] = 4.0 * add_up(by_row)
            for r in range(len(self.shape.first)):
                found[s + r, 0] = found[0, s + r] = add_up(mixed[r])
        for r, t, i, j, value in self.shape.second():
            term = scaled[i, j] * value if i == j else 2.0 * scaled[i, j] * value
            found[s + r, s + t] += term
            if r != t:
                found[s + t, s + r] += term
        return found

    def curvature(self, weight: Float[Tensor, "parameter parameter replicate"]) -> Float[Tensor, "visit visit replicate"]:
        """Σ_rs weight_rs ∂²Σ/∂θ_r∂θ_s, for a symmetric `weight`."""
        structure, n = self.structure, self.structure.n_visits
        s = structure.n_scales
        bent = torch.zeros_like(self.sigma)
        for r, t, i, j, value in self.shape.second():
            term = weight[s + r, s + t] * value
            bent[i, j] += term if r == t else 2.0 * term
        total = torch.zeros_like(self.sigma)
        for i in range(n):
            for j in range(i + 1):
                a, b = (i, j) if structure.heterogeneous else (0, 0)
                entry = (weight[a, a] + weight[b, b] + 2.0 * weight[a, b]) * self.sigma[i, j]
                for r in range(len(self.shape.first)):
                    entry = entry + 2.0 * (weight[a, s + r] + weight[b, s + r]) * self.shape.first[r, i, j] * self.product[i, j]
                total[i, j] = total[j, i] = entry + bent[j, i] * self.product[i, j]
        return total
