"""Derivatives of a function along a direction, from its values alone."""

from typing import NamedTuple

import numpy as np

from ..errors import NonFiniteError, ShapeError
from ..recursion import checked_integer
from ..taylor.tracing import traced_code
from .ladder import coefficient
from .noise import noise_level
from .options import CentralDifferences

__all__ = ["DirectionalDerivatives", "FAILURES", "MAX_ORDER", "Values", "directional_derivatives"]

MAX_ORDER = 3
#: What a function raises where it is not defined.
FAILURES = (ArithmeticError, ValueError, np.linalg.LinAlgError)
_FACTORIALS = np.array([1.0, 2.0, 6.0])


class DirectionalDerivatives(NamedTuple):
    """Derivatives ``d^k fun(x + t v) / dt^k`` at t = 0, k = 1, 2, ...

    Attributes
    ----------
    values : ndarray of shape (order, *shape)
        k!-scaled, as derivatives are.
    error_estimates : ndarray of shape (order, *shape)
        Estimates of ``|value - exact|``.
    n_evaluations : int
        Calls of the function.
    """

    values: np.ndarray
    error_estimates: np.ndarray
    n_evaluations: int


class Values:
    """Flat values of a function of one variable, each formed once.

    Parameters
    ----------
    fun : callable
        ``fun(t)``, an array.

    Attributes
    ----------
    n_evaluations : int
        Calls so far.
    shape : tuple of int
        Of the last value.
    """

    def __init__(self, fun):
        self._fun, self._values, self.n_evaluations, self.shape = fun, {}, 0, None

    def __call__(self, t):
        """The value at t, flat, or a string that says why there is none."""
        if t not in self._values:
            self.n_evaluations += 1
            try:
                with np.errstate(all="ignore"):
                    value = self._fun(t)
                self.shape, value = np.shape(value), np.ravel(value)
            except FAILURES as error:
                value = f"{type(error).__name__}: {error}"
            if not isinstance(value, str) and not np.all(np.isfinite(value)):
                value = f"{np.sum(~np.isfinite(value))} of {value.size} values NaN or infinite"
            self._values[t] = value
        return self._values[t]


def directional_derivatives(fun, x, direction, order=1, differences=None):
    """Derivatives of a function at a point along a direction, of orders 1 to 3, by central differences.

    Parameters
    ----------
    fun : callable
        ``fun(x)``, a number or an array; plain NumPy or anything else.
    x : array_like
        The point.
    direction : array_like of the shape of x
    order : int, default=1
        Highest order, from 1 to 3.
    differences : CentralDifferences, default=None
        Noise and accuracy; default: estimated, and 1e-8.

    Returns
    -------
    DirectionalDerivatives

    Raises
    ------
    NonFiniteError
        The function is not defined at x, or not on both sides of it.
    NonSmoothError
        The differences do not settle: a jump, a kink, or noise that the function was said not to have.
    ShapeError
        The direction is not of the shape of x.

    References
    ----------
    C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Adv. Eng. Software 4 (1982) 75; J. J. More,
    S. M. Wild, "Estimating derivatives of noisy simulations", ACM Trans. Math. Software 38 (2012) 19.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.finite_differences import directional_derivatives
    >>> found = directional_derivatives(lambda x: np.exp(x[0] * x[1]), [0.0, 0.0], [1.0, 1.0], order=2)
    >>> found.values.round(6) + 0.0, bool(np.all(found.error_estimates < 1e-6))
    (array([0., 2.]), True)
    """
    order = checked_integer(order, "order", 1)
    if order > MAX_ORDER:
        raise ValueError(f"order={order}: differences give orders 1 to {MAX_ORDER}.")
    differences = CentralDifferences() if differences is None else differences
    x, v = np.array(x, dtype=np.float64), np.array(direction, dtype=np.float64)
    if x.shape != v.shape:
        raise ShapeError(f"the direction has shape {v.shape}, x has {x.shape}.")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(v))):
        raise NonFiniteError("x and the direction must be finite.")

    def at(t):
        with traced_code():
            return np.array(fun(x + t * v), dtype=np.float64)

    values = Values(at)
    value0 = values(0.0)
    if isinstance(value0, str):
        raise NonFiniteError(f"the function is not defined at x: {value0}.")
    shape = values.shape
    if not v.any():
        zero = np.zeros((order, *shape))
        return DirectionalDerivatives(zero, zero.copy(), values.n_evaluations)
    scale = 1.0 / float(np.max(np.abs(v) / (1.0 + np.abs(x))))
    noise = _noise(differences.noise, values, scale, value0)
    found = [coefficient(values, value0, k, noise, differences.rtol, scale) for k in range(1, order + 1)]
    factorials = _FACTORIALS[:order, None]
    derivatives, errors = (factorials * [getattr(c, name) for c in found] for name in ("value", "error"))
    return DirectionalDerivatives(
        derivatives.reshape(order, *shape), errors.reshape(order, *shape), values.n_evaluations
    )


def _noise(given, values, scale, value0):
    if given is not None:
        return np.broadcast_to(np.ravel(np.asarray(given, dtype=np.float64)), value0.shape)

    def at(t):
        value = values(t * scale)
        if isinstance(value, str):
            raise NonFiniteError(f"the function is not defined close to x: {value}.")
        return value

    return noise_level(at)
