"""Two-point gradient estimates along random directions, and gradient descent with them.

With u standard normal, ``g = (f(x + h u) - f(x - h u)) / (2 h) u`` has as its mean the gradient of f averaged over the
neighbourhood, ``E f(x + h u)``, whatever the dimension n; its mean square is about ``(n + 2) |grad f|^2``. So a step
can be only 1 / (n + 2) of the one that the gradient would bear: the price of not having it is the dimension
(Nesterov & Spokoiny; Duchi et al.).
"""

from typing import NamedTuple

import numpy as np

from ..errors import DivergenceError, NonFiniteError
from ..recursion import checked_integer, checked_positive
from ..taylor.tracing import traced_code
from .options import checked_generator
from .values import FAILURES, returned_array

__all__ = ["Descent", "TwoPointGradient", "two_point_gradient", "zero_order_descent"]

_STEP = np.finfo(float).eps ** (1 / 3)


class TwoPointGradient(NamedTuple):
    """An estimate of a gradient and its error.

    Attributes
    ----------
    value : ndarray of the shape of x
    standard_error : ndarray of the shape of x
        Of the average over the directions; NaN for one direction.
    """

    value: np.ndarray
    standard_error: np.ndarray


class Descent(NamedTuple):
    """Where a descent ended.

    Attributes
    ----------
    value : ndarray of the shape of the start
    objectives : ndarray of shape (n_steps + 1,)
        Before and after every step.
    n_steps : int
    n_evaluations : int
        Calls of the objective for the estimates, without those that look at its progress.
    reached : bool
        Whether the target was.
    """

    value: np.ndarray
    objectives: np.ndarray
    n_steps: int
    n_evaluations: int
    reached: bool

    @property
    def n_calls(self):
        """All calls of the objective: those for the estimates, one at the start and one after every step."""
        return self.n_evaluations + len(self.objectives)


def two_point_gradient(fun, x, rng, n_directions=1, step=None):
    """Unbiased estimate of the gradient of a smoothed function, from pairs of values in random directions.

    Parameters
    ----------
    fun : callable
        ``fun(x) -> float``.
    x : array_like
    rng : numpy.random.Generator
    n_directions : int, default=1
        Pairs of values to average over.
    step : float, default=None
        The h above, the same for all elements; default: ``(eps a b^2)^(1/3)`` with a the largest and b the smallest
        ``1 + |x|``, which balances the rounding of the one with the curvature of the other.

    Returns
    -------
    TwoPointGradient

    Raises
    ------
    NonFiniteError
        A value is NaN or infinite, or the function raises ArithmeticError or ValueError; or x is not finite.
    TypeError
        Values that are no real numbers, or a generator of another kind.

    References
    ----------
    Y. Nesterov, V. Spokoiny, Found. Comput. Math. 17 (2017) 527; J. C. Duchi, M. I. Jordan, M. J. Wainwright,
    A. Wibisono, IEEE Trans. Inform. Theory 61 (2015) 2788.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.finite_differences import two_point_gradient
    >>> found = two_point_gradient(lambda x: np.sum(x**2), [1.0, 0.0], np.random.default_rng(0), n_directions=4000)
    >>> bool(np.all(abs(found.value - [2.0, 0.0]) < 4 * found.standard_error))
    True
    """
    x = _point(x)
    checked_generator(rng)
    n_directions = checked_integer(n_directions, "n_directions", 1)
    h = _default_step(x) if step is None else step
    if not (np.isfinite(h) and h > 0.0):
        raise ValueError(f"step={step}: a positive number is needed.")
    total, squares = np.zeros(x.shape), np.zeros(x.shape)
    for n in range(1, n_directions + 1):
        u = rng.standard_normal(x.shape)
        estimate = (_value(fun, x + h * u) - _value(fun, x - h * u)) / (2.0 * h) * u
        # Welford, Technometrics 4 (1962) 419
        change = estimate - total
        total += change / n
        squares += change * (estimate - total)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(squares / np.float64(n_directions - 1) / n_directions)
    return TwoPointGradient(total, error)


def zero_order_descent(objective, input_val0, smoothness, rng, n_steps, n_directions=1, step=None, target=None):
    """Gradient descent by two-point estimates.

    ``x <- x - g / (L (1 + (n + 1) / q))``, with g averaged over q directions and L a bound on the second derivative:
    the step that is best for the mean square ``(1 + (n + 1) / q) |grad f|^2`` of g. Gradient descent takes 1 / L.

    Parameters
    ----------
    objective : callable
        ``objective(x) -> float``.
    input_val0 : array_like
        Where to start.
    smoothness : float
        L, the largest eigenvalue of the Hessian.
    rng : numpy.random.Generator
    n_steps : int
        At most.
    n_directions : int, default=1
        q.
    step : float, default=None
        Of :func:`two_point_gradient`.
    target : float, default=None
        Value of the objective at which to stop.

    Returns
    -------
    Descent

    Raises
    ------
    DivergenceError
        The objective grows without bound: the smoothness is larger than was said.
    NonFiniteError
        It is NaN or infinite at the start.

    References
    ----------
    Y. Nesterov, V. Spokoiny, "Random gradient-free minimization of convex functions", Found. Comput. Math. 17 (2017)
    527.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.finite_differences import zero_order_descent
    >>> found = zero_order_descent(
    ...     lambda x: 0.5 * np.sum(x**2), np.ones(5), 1.0, np.random.default_rng(0), n_steps=500, target=1e-6)
    >>> found.reached, found.n_evaluations == 2 * found.n_steps
    (True, True)
    """
    smoothness = checked_positive(smoothness, "smoothness")
    n_steps = checked_integer(n_steps, "n_steps", 0)
    n_directions = checked_integer(n_directions, "n_directions", 1)
    if target is not None and np.isnan(target):
        raise ValueError("target=nan: a number is needed, or None.")
    checked_generator(rng)
    x = _point(input_val0)
    length = 1.0 / (smoothness * (1.0 + (x.size + 1.0) / n_directions))
    objectives = [_value(objective, x)]
    while len(objectives) <= n_steps and not (target is not None and objectives[-1] <= target):
        try:
            x = x - length * two_point_gradient(objective, x, rng, n_directions, step).value
            objectives.append(_value(objective, x))
        except NonFiniteError as error:
            raise DivergenceError(
                f"the objective went from {objectives[0]:.1e} to {objectives[-1]:.1e} in {len(objectives) - 1} steps, "
                f"then: {error} The smoothness {smoothness:.1e} is too small, or the objective not convex."
            ) from error
    done = len(objectives) - 1
    reached = target is not None and bool(objectives[-1] <= target)
    return Descent(x, np.array(objectives), done, 2 * n_directions * done, reached)


def _point(x):
    x = np.array(x, dtype=np.float64)
    if not np.all(np.isfinite(x)):
        raise NonFiniteError(f"{np.sum(~np.isfinite(x))} of {x.size} elements of x are NaN or infinite.")
    return x


def _default_step(x):
    units = 1.0 + np.abs(x)
    return _STEP * np.cbrt(units.max()) * np.cbrt(units.min()) ** 2 if x.size else _STEP


def _value(fun, x):
    try:
        with traced_code(), np.errstate(all="ignore"):
            value = returned_array(fun(x.copy()))
    except FAILURES as error:
        raise NonFiniteError(f"the function raises {type(error).__name__} at a point: {error}.") from error
    if value.size != 1:
        raise TypeError(f"the function returned an array of shape {value.shape}: a number is needed.")
    value = float(value.reshape(()))
    if not np.isfinite(value):
        raise NonFiniteError(f"the function is {value} at a point.")
    return value
