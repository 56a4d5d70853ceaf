"""The law of missing visits given the seen ones, straight from the joint normal law of all visits (matrix algebra)."""

from __future__ import annotations

import numpy as np


def joint_law(intercepts: np.ndarray, phi: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of y where y_t = intercept_t + sum_{s<t} phi_ts y_s + sigma_t e."""
    inverse = np.linalg.inv(np.eye(len(sigma)) - np.tril(phi, -1))
    return inverse @ intercepts, inverse @ np.diag(sigma**2) @ inverse.T


def strategy_mean(strategy: str, own: np.ndarray, reference: np.ndarray, leaves: int) -> np.ndarray:
    """The mean vector of Carpenter, Roger & Kenward (2013) for a patient who is not seen from visit `leaves` on."""
    if strategy == "mar" or leaves == len(own):
        return own
    if strategy == "copy_reference":
        return reference
    mean = own.copy()
    if strategy == "jump_to_reference":
        mean[leaves:] = reference[leaves:]
    elif strategy == "copy_increments":
        mean[leaves:] = reference[leaves:] if leaves == 0 else own[leaves - 1] + reference[leaves:] - reference[leaves - 1]
    else:
        mean[leaves:] = own[max(leaves - 1, 0)]
    return mean


def conditional(mean: np.ndarray, covariance: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the missing (NaN) entries given the others."""
    missing = np.isnan(y)
    seen = ~missing
    weights = covariance[np.ix_(missing, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)]) if seen.any() else np.zeros((missing.sum(), 0))
    left = covariance[np.ix_(missing, missing)] - weights @ covariance[np.ix_(seen, missing)]
    return mean[missing] + weights @ (y[seen] - mean[seen]), left
