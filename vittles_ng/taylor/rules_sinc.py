"""Rule of sinc, an entire function whose own formula divides by its argument."""

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive

from .kernels import Derivatives
from .rules import defrule

__all__ = ["sinc_derivative"]

# sinc(x) = sin(pi x) / (pi x) = int_0^1 cos(pi x u) du

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
_FAR = 12.0  # up to here 64 nodes integrate cos(pi x u) to rounding


def _turned_cosine(x, m):
    """``cos(x + m pi / 2)``, by quarter turns that are exact."""
    turned = np.sin(x) if m % 2 else np.cos(x)
    return -turned if m % 4 in (1, 2) else turned


@primitive
def sinc_derivative(x, m):
    """The m-th derivative of sinc: ``int_0^1 (pi u)^m cos(pi x u + m pi / 2) du``; for large x the recurrence
    ``x d_m = pi^(m-1) sin(pi x + m pi / 2) - m d_(m-1)``, from the m-th derivative of ``x sinc(x)``."""
    x = np.asarray(x, dtype=float)
    near = np.where(np.abs(x) <= _FAR, x, 0.0)
    u = np.pi * _NODES
    value = (_turned_cosine(near[..., None] * u, m) * u**m) @ _WEIGHTS
    far = np.where(np.abs(x) <= _FAR, _FAR, x)
    d = np.sinc(far)
    for i in range(1, m + 1):
        d = (np.pi ** (i - 1) * _turned_cosine(np.pi * far, i - 1) - i * d) / far
    return np.where(np.abs(x) <= _FAR, value, d)


def _sinc_derivative(call):
    x, m = call.args
    return Derivatives(lambda j: sinc_derivative(x, m + j))


defvjp(sinc_derivative, lambda ans, x, m: lambda g: g * sinc_derivative(x, m + 1), argnums=(0,))
defrule(sinc_derivative, _sinc_derivative)


def _sinc(call):
    (x,) = call.args
    return Derivatives(lambda j: sinc_derivative(x, j))


defrule(anp.sinc, _sinc, vjp=lambda argnums, ans, args, kwargs: lambda g: (g * sinc_derivative(args[0], 1),))
