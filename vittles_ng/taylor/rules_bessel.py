"""Rules of the Bessel functions of ``autograd.scipy.special``, from all their derivatives at the base point.

DLMF (https://dlmf.nist.gov) 10.6, 10.29, 10.32, 10.40. Orders are constants: autograd's gradient in them is a silent
zero, here they are refused.
"""

import autograd.numpy as anp
import autograd.scipy.special as asp
import numpy as np
import scipy.special as sp

from .rules_special import composed, slopes_vjp


def _neighbours(m, sign, bessel, n, x):
    """f_n^(m) = 2^-m sum_{i=0..m} sign^i C(m, i) f_{n-m+2i}, from f_n' = (f_{n-1} + sign f_{n+1}) / 2."""
    return sum(sign**i * sp.binom(m, i) * bessel(n - m + 2 * i, x) for i in range(m + 1)) / 2.0**m


def _not_positive(*args):
    return ~(args[-1] > 0.0)


def _branch_point(n, x):
    """A fractional order at 0."""
    return (n != np.floor(n)) & (x == 0.0)


def _bessel(name, sign, bessel, order=None, undefined=None):
    """A Bessel function of a constant order, or of the order in its first operand."""
    primitive = getattr(asp, name)
    if order is not None:
        composed(primitive, ("x",), lambda m, x: _neighbours(m, sign, bessel, order, x), undefined, name=name)
        return

    def slope(ans, n, x):
        return (primitive(n - 1, x) + sign * primitive(n + 1, x)) / 2.0

    operands = ("n", "x")
    composed(
        primitive,
        operands,
        lambda m, n, x: _neighbours(m, sign, bessel, n, x),
        undefined,
        vjp=slopes_vjp(name, operands, None, slope),
        name=name,
    )


_bessel("j0", -1, sp.jv, 0)
_bessel("j1", -1, sp.jv, 1)
_bessel("jn", -1, sp.jv, None, _branch_point)
_bessel("y0", -1, sp.yv, 0, _not_positive)
_bessel("y1", -1, sp.yv, 1, _not_positive)
_bessel("yn", -1, sp.yv, None, _not_positive)
_bessel("i0", 1, sp.iv, 0)
_bessel("i1", 1, sp.iv, 1)
_bessel("iv", 1, sp.iv, None, _branch_point)

_N_NODES = 400  # of the midpoint rule
_ANGLES = np.pi * (np.arange(_N_NODES) + 0.5) / _N_NODES


def _ive_by_quadrature(m, n, x):
    """Integer n, 10.32.3: 1/pi int_0^pi cos(n t) (cos t - s)^m e^(x cos t - |x|) dt with s = sign(x).

    The integrand is periodic, so the midpoint rule converges geometrically; no digits cancel.
    """
    rate = np.cos(_ANGLES) - np.sign(x)[:, None]
    return np.mean(np.cos(n[:, None] * _ANGLES) * rate**m * np.exp(x[:, None] * rate), axis=-1)


def _ive_far_out(m, n, x):
    """10.40.1 term by term: e^-x I_n(x) ~ (2 pi x)^(-1/2) sum_k (-1)^k a_k(n) x^-k; even or odd for x < 0."""
    s, x = np.sign(x), np.abs(x)
    total, a = np.zeros(x.shape), np.ones(x.shape)  # a = (-1)^k a_k(n) x^-k
    for k in range(40):
        total += a * sp.poch(k + 0.5, m)
        a = -a * (4.0 * n**2 - (2.0 * k + 1.0) ** 2) / (8.0 * (k + 1.0) * x)
    return np.where(s < 0.0, (-1.0) ** n.astype(int), 1.0) * (-s) ** m * total / np.sqrt(2.0 * np.pi * x) / x**m


def _ive_by_neighbours(m, n, x):
    """Leibniz' rule on e^-|x| I_n: loses about (2 |x|)^m / m! units of the last place."""
    return sum(sp.binom(m, j) * (-np.sign(x)) ** (m - j) * _neighbours(j, 1, sp.ive, n, x) for j in range(m + 1))


def _ive_derivative(m, n, x):
    """d^m/dx^m e^-|x| I_n(x), to rounding but for fractional or large n at moderate x."""
    n, x = np.broadcast_arrays(np.asarray(n, dtype=float), x)
    far = np.abs(x) > np.maximum(40.0, n**2)
    # the integral itself cancels to about e^(-n^2 / 2|x|)
    quadrature = ~far & (n == np.floor(n)) & (n**2 < 14.0 * np.maximum(np.abs(x), 1.0)) & (np.abs(x) < 4000.0)
    out = np.empty(x.shape)
    for where, fun in (
        (far, _ive_far_out),
        (quadrature, _ive_by_quadrature),
        (~far & ~quadrature, _ive_by_neighbours),
    ):
        if np.any(where):
            out[where] = fun(m, n[where], x[where])
    return out


composed(
    asp.ive,
    ("n", "x"),
    _ive_derivative,
    lambda n, x: np.broadcast_to(x == 0.0, np.broadcast_shapes(n.shape, x.shape)),
    vjp=slopes_vjp("ive", ("n", "x"), None, lambda ans, n, x: ans * (n / x - anp.sign(x)) + asp.ive(n + 1, x)),
)
