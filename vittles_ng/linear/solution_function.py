"""The solution as a function of the hyper that autograd differentiates, to a stated order, at the base point.

The derivative of order k is a tensor ``T_k`` of shape (n_input, n_hyper, ..., n_hyper), known at the base point only.
Each is an autograd primitive of the hyper whose derivative is the next one,

    forward:  d T_k [g] = T_{k+1} g,        reverse:  u^T dT_k = u . T_{k+1}    (u contracted with all axes of T_k),

so forward and reverse mode nest in any way up to the order, and what is beyond it raises.
"""

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, primitive

from ..errors import MissingRuleError
from ..problem import flatten_traced
from ..recursion import checked_integer

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
    hyper0 = location.hyper.flat0
    values = [location.tensor(k) for k in range(order, -1, -1)][::-1]  # the highest first: its directions serve all

    def checked(hyper_flat):
        if hyper_flat.shape != hyper0.shape or np.any(
            ~(np.abs(hyper_flat - hyper0) <= _AT_BASE * (1.0 + np.abs(hyper0)))
        ):
            raise ValueError(
                f"this function is known at the base point's hyper only ({_short(hyper0)}), it was asked for "
                f"{_short(hyper_flat)}: evaluate the linear approximation or a Taylor expansion there."
            )

    def beyond(hyper_flat):
        raise MissingRuleError(
            f"a derivative of order {order + 1} of the solution was asked for, order={order} was made: pass "
            f"order={order + 1}."
        )

    derivative = beyond
    for k, value in reversed(list(enumerate(values))):
        derivative = _primitive(value, k, checked, derivative)
    return lambda hyper: derivative(flatten_traced(hyper))


def _primitive(value, k, checked, following):
    """The primitive ``hyper -> T_k``; ``following`` is that of ``T_{k+1}``."""

    @primitive
    def derivative(hyper_flat):
        checked(hyper_flat)
        return value.copy()

    defvjp(derivative, lambda ans, hyper_flat: lambda u: anp.tensordot(u, following(hyper_flat), k + 1))
    defjvp(derivative, lambda g, ans, hyper_flat: anp.dot(following(hyper_flat), g))
    return derivative


def _short(hyper):
    return np.array2string(hyper, threshold=6, edgeitems=2)
