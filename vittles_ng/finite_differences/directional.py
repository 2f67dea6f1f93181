"""Derivatives of a function along a direction, from its values alone."""

from typing import NamedTuple

import numpy as np

from ..errors import NonFiniteError, ShapeError
from ..recursion import checked_integer
from ..taylor.tracing import traced_code
from .ladder import coefficient
from .noise import noise_level
from .options import CentralDifferences, noise_told
from .values import Values, returned_array

__all__ = ["DirectionalDerivatives", "MAX_ORDER", "directional_derivatives"]

MAX_ORDER = 3
_FACTORIALS = np.array([1.0, 2.0, 6.0])


class DirectionalDerivatives(NamedTuple):
    """Derivatives ``d^k fun(x + t v) / dt^k`` at t = 0, k = 1, 2, ...

    Attributes
    ----------
    values : ndarray, an order in each row, then the shape of the value
        k!-scaled, as derivatives are.
    error_estimates : ndarray, likewise
        Estimates of ``|value - exact|``.
    n_evaluations : int
        Calls of the function.
    """

    values: np.ndarray
    error_estimates: np.ndarray
    n_evaluations: int


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
        The function is not defined at x, or not on both sides of it; a derivative overflows.
    NonSmoothError
        The differences do not settle: a jump, a kink, or noise that the function was said not to have.
    ShapeError
        The direction is not of the shape of x, or the function's values not of one shape.
    TypeError
        Values that are no real numbers.

    Notes
    -----
    What is differentiated is the function that is computed. A solver or integrator inside it that stops early makes
    an error that mostly varies smoothly: it is no noise, and not in the error estimate. Tighten its tolerance.

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
    if not isinstance(differences, CentralDifferences):
        raise TypeError(f"differences={differences!r}: CentralDifferences(...) is needed.")
    x, v = np.array(x, dtype=np.float64), np.array(direction, dtype=np.float64)
    if x.shape != v.shape:
        raise ShapeError(f"the direction has shape {v.shape}, x has {x.shape}.")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(v))):
        raise NonFiniteError("x and the direction must be finite.")
    rate = float(np.max(np.abs(v) / (1.0 + np.abs(x)), initial=0.0))  # the length of v in units of x
    unit = v / rate if rate > 0.0 else v

    def at(t):
        with traced_code():
            return returned_array(fun(x + t * unit))

    values = Values(at)
    value0 = values(0.0)
    if isinstance(value0, str):
        raise NonFiniteError(f"the function is not defined at x: {value0}.")
    shape = values.shape
    if not rate > 0.0 or not value0.size:
        zero = np.zeros((order, *shape))
        return DirectionalDerivatives(zero, zero.copy(), values.n_evaluations)
    noise = _noise(differences.noise, values, value0)
    found = [coefficient(values, value0, k, noise, differences.rtol, 1.0) for k in range(1, order + 1)]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        powers = _FACTORIALS[:order, None] * np.float64(rate) ** np.arange(1, order + 1)[:, None]
        derivatives, errors = (powers * [getattr(c, name) for c in found] for name in ("value", "error"))
    if not (np.all(np.isfinite(derivatives)) and np.all(np.isfinite(errors))):
        raise NonFiniteError(
            f"a derivative overflows: the direction is {rate:.1e} times as long as 1 + |x|; take a shorter one, or "
            "scale the function."
        )
    return DirectionalDerivatives(
        derivatives.reshape(order, *shape), errors.reshape(order, *shape), values.n_evaluations
    )


def _noise(given, values, value0):
    if given is not None:
        return noise_told(given, value0.size)

    def at(t):
        value = values(t)
        if isinstance(value, str):
            raise NonFiniteError(f"the function is not defined close to x: {value}.")
        return value

    return noise_level(at)
