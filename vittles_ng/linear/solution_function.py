"""The solution as a function of the hyper that autograd differentiates, to a stated order, at the base point.

The derivative of order m is a tensor ``T_m`` of shape (n_input, n_hyper, ..., n_hyper), known at the base point only.
Each is an autograd primitive of the hyper whose derivative is the next one,

    forward:  d T_m [g] = T_{m+1} g,        reverse:  u^T dT_m = u . T_{m+1}    (u contracted with all axes of T_m),

so forward and reverse mode nest in any way up to the order, and what is beyond it raises. Along a series
``hyper0 + d(t)`` of the hyper it is ``sum_j T_{m+j} d(t)^j / j!``: with that rule the function may stand in what other
classes of this package differentiate.
"""

import math

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, primitive

from ..errors import MissingRuleError
from ..problem import flatten_traced
from ..recursion import checked_integer
from ..taylor.rules import Nonlinear, defrule

__all__ = ["solution_function"]

_AT_BASE = 1e-8


def solution_function(location, order):
    """The solution at ``location`` as a differentiable function of the hyper.

    Parameters
    ----------
    location : Location
    order : int
        Highest order of derivative, from 1.

    Returns
    -------
    callable
        ``hyper -> input``, (n_input,); the hyper in the structure of the base point's or flat.
    """
    order = checked_integer(order, "order", 1)
    tensors = [location.tensor(m) for m in range(order, -1, -1)][::-1]  # the highest first: its directions serve all
    known = _Known(location.hyper.flat0, tensors)
    return lambda hyper: _derivative(flatten_traced(hyper), known, 0)


class _Known:
    """The derivatives of the solution at the base point, ``tensors[m]`` of shape (n_input,) + m (n_hyper,)."""

    def __init__(self, hyper0, tensors):
        self.hyper0, self.tensors = hyper0, tensors

    def tensor(self, m):
        """``T_m``; above the order an error says what to pass."""
        order = len(self.tensors) - 1
        if m > order:
            raise MissingRuleError(
                f"a derivative of order {m} of the solution was asked for, order={order} was made: pass order={m}."
            )
        return self.tensors[m]

    def check(self, hyper_flat):
        """Raise away from the base point."""
        hyper0 = self.hyper0
        if hyper_flat.shape != hyper0.shape or np.any(
            ~(np.abs(hyper_flat - hyper0) <= _AT_BASE * (1.0 + np.abs(hyper0)))
        ):
            raise ValueError(
                f"this function is known at the base point's hyper only ({_short(hyper0)}), it was asked for "
                f"{_short(hyper_flat)}: evaluate the linear approximation or a Taylor expansion there."
            )


@primitive
def _derivative(hyper_flat, known, m):
    """``T_m`` as a function of the hyper, at the base point."""
    known.check(hyper_flat)
    return known.tensor(m).copy()


defvjp(
    _derivative,
    lambda ans, hyper_flat, known, m: lambda u: anp.tensordot(u, _derivative(hyper_flat, known, m + 1), m + 1),
    argnums=(0,),
)
defjvp(
    _derivative,
    lambda g, ans, hyper_flat, known, m: anp.dot(_derivative(hyper_flat, known, m + 1), g),
    argnums=(0,),
)


class _Series(Nonlinear):
    """``y_k = sum_{j=1..k} (1/j!) sum_{i_1 + ... + i_j = k} T_{m+j} x_{i_1} ... x_{i_j}``."""

    def __init__(self, call):
        _, self._known, self._m = call.args

    def coefficient(self, ws, k, x, y, aux):
        (series,) = x
        powers = [self._contracted(None, series, self._m + j, j, k) for j in range(1, k + 1)]
        terms = [power / math.factorial(j) for j, power in enumerate(powers, 1) if power is not None]
        return sum(terms[1:], terms[0]) if terms else None

    def _contracted(self, partial, series, m, j, k):
        """``T_m`` with its last j axes contracted, in all ways of total order k; None for zero.

        ``partial`` is the tensor with some axes contracted, (n_steps, ...), None where none is.
        """
        total = None
        for i in range(1, k - j + 2):
            if series[i] is None or not _is_sum(series, j - 1, k - i):
                continue
            tensor, steps = (self._known.tensor(m), "") if partial is None else (partial, "s")
            found = np.einsum(f"{steps}...h,sh->s...", tensor, series[i])
            if j > 1:
                found = self._contracted(found, series, m, j - 1, k - i)
            total = found if total is None else total + found
        return total


def _is_sum(series, j, k):
    """Whether k is the sum of j orders whose coefficients are not zero."""
    if j == 0:
        return k == 0
    return any(series[i] is not None and _is_sum(series, j - 1, k - i) for i in range(1, k - j + 2))


defrule(_derivative, _Series)


def _short(hyper):
    return np.array2string(hyper, threshold=6, edgeitems=2)
