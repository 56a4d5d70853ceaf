"""Success rates of attacks against a control baseline."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054


def risk(success: NDArray[np.bool_], control: NDArray[np.bool_]) -> dict[str, float]:
    """How much better an attack does on patients in the data than on patients not in them.

        R = (r − c) / (1 − c),   r, c = (successes + z² / 2) / (n + z²) with z = 1.96

    with Wilson's standard errors √(p (1 − p) / n + z² / (4 n²)) / (1 + z² / n) carried over to R. `risk` may be below 0
    by chance. The attacks count as independent.

    **Source:** Giomi, Boenisch, Wehmeyer & Tasnádi 2023, PoPETs 2023:312, doi 10.56553/popets-2023-0055, equations 1–4;
    Wilson 1927, JASA 22:209, doi 10.1080/01621459.1927.10502953.
    """
    (r, r_error), (c, c_error) = _wilson(success), _wilson(control)
    value = (r - c) / (1.0 - c)
    error = Z * sqrt((r_error / (1.0 - c)) ** 2 + ((1.0 - r) / (1.0 - c) ** 2 * c_error) ** 2)
    return {
        "attacks": float(len(success)),
        "success": float(success.mean()) if len(success) else 0.0,
        "control": float(control.mean()) if len(control) else 0.0,
        "risk": value,
        "ci_low": max(-1.0, value - error),
        "ci_high": min(1.0, value + error),
    }


def _wilson(success: NDArray[np.bool_]) -> tuple[float, float]:
    """The centre and the standard error of Wilson's interval."""
    n, count = len(success), float(success.sum())
    if n == 0:
        return 0.5, 0.5 / Z
    p = count / n
    return (count + Z * Z / 2) / (n + Z * Z), sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
