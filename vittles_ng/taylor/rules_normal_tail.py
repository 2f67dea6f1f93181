"""log Phi, the logarithm of the standard normal distribution function, and its slope, accurate in the far tails.

Both are primitives that the rules of ``autograd.scipy.stats.norm`` use in place of ``logcdf`` and ``logsf``.
"""

import math

import numpy as np
import scipy.special as sp
from autograd.extend import defvjp, primitive

from .kernels import Derivatives
from .rules import defrule

__all__ = ["inverse_mills", "log_ndtr"]


@primitive
def log_ndtr(z):
    """log Phi(z), Phi the standard normal distribution function."""
    return sp.log_ndtr(z)


@primitive
def inverse_mills(z):
    """(log Phi)'(z) = phi(z) / Phi(z)."""
    return math.sqrt(2.0 / math.pi) / sp.erfcx(-np.asarray(z) / math.sqrt(2.0))


defvjp(log_ndtr, lambda ans, z: lambda g: g * inverse_mills(z))
defvjp(inverse_mills, lambda ans, z: lambda g: -g * ans * (z + ans))


class LogNdtrSeries:
    """Taylor coefficients ``c_1, c_2, ...`` of log Phi at ``z``, extended as asked.

    For z >= -1 from ``h' = -h (z + h)`` for ``h = phi/Phi``. Below, that recurrence is unstable: there
    ``log Phi(z) = -z^2/2 + log I_0(-z) + const`` with ``I_m(x) = int_0^inf t^m exp(-x t - t^2/2) dt``, whose slope is
    ``d/dz I_m(-z) = I_{m+1}(-z)``. The ratios ``r_m = I_m / I_{m-1} = m / (x + r_{m+1})`` (integration by parts) come
    from the backward recurrence (DLMF 7.18, 3.6).
    """

    _MARGIN = 300  # orders above the last one wanted where the backward recurrence starts: enough for x >= 1

    def __init__(self, z):
        self.z = np.asarray(z)
        self._coefficients = [None]

    def derivative(self, m):
        """``d^m log Phi / dz^m``."""
        if m >= len(self._coefficients):
            self._coefficients = self._made(max(2 * m, 8))
        return self._coefficients[m] * math.factorial(m)

    def _made(self, n):
        tail = self.z < -1.0
        above, below = self._above(np.where(tail, 0.0, self.z), n), self._below(np.where(tail, -self.z, 1.0), n)
        return [None] + [np.where(tail, b, a) for a, b in zip(above, below, strict=True)]

    @staticmethod
    def _above(z, n):
        h = [inverse_mills(z)]
        for k in range(n - 1):
            total = z * h[k] + sum(h[i] * h[k - i] for i in range(k + 1)) + (h[k - 1] if k else 0.0)
            h.append(-total / (k + 1))
        return [h[m - 1] / m for m in range(1, n + 1)]

    def _below(self, x, n):
        last = n + self._MARGIN
        r = 0.5 * (np.sqrt(x * x + 4.0 * last) - x)
        ratios = []
        for m in range(last, 0, -1):
            r = m / (x + r)
            ratios.append(r)
        ratios = ratios[::-1][:n]
        q = [np.ones_like(x)]  # I_m / (m! I_0)
        for m, r in enumerate(ratios, 1):
            q.append(q[-1] * r / m)
        c = [None]  # of log I_0: m c_m = m q_m - sum_{j=1..m-1} j c_j q_{m-j}
        for m in range(1, n + 1):
            c.append(q[m] - sum(j * c[j] * q[m - j] for j in range(1, m)) / m)
        return [c[1] + x, c[2] - 0.5, *c[3:]]


defrule(log_ndtr, lambda call: Derivatives(LogNdtrSeries(call.args[0]).derivative))


def _inverse_mills(call):
    series = LogNdtrSeries(call.args[0])
    return Derivatives(lambda m: series.derivative(m + 1))


defrule(inverse_mills, _inverse_mills)
