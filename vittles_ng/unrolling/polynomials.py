"""Residual polynomials: what a first-order method does to a quadratic, one eigenvalue at a time.

On a quadratic with Hessian H, ``z_t - z* = P_t(H) (z_0 - z*)`` with a polynomial P_t of degree t, ``P_t(0) = 1``:

    P_{t+1}  = P_t  - h_t lambda P_t            + m_t (P_t  - P_{t-1}),
    P_{t+1}' = P_t' - h_t (P_t + lambda P_t')   + m_t (P_t' - P_{t-1}').

Gradient descent has ``P_t(lambda) = (1 - h lambda)^t`` and ``P_t' = -t h (1 - h lambda)^(t-1)``. (A common misprint has
the exponent -t, which would be an error that grows.)
"""

import numpy as np

from ..errors import DivergenceError, NonFiniteError, OperandError, ShapeError
from ..recursion import checked_integer
from .methods import Chebyshev, GradientDescent, Method, checked_interval

__all__ = ["check_linear", "gradient_descent_peak", "residual_polynomials", "worst_case_factors"]

#: Points of the grid for each degree of the polynomials; the maximum is over by 1 / cos(pi / 16), 2%, at most.
_POINTS_PER_DEGREE = 8


def check_linear(method):
    """Raise unless a method has residual polynomials: it is one of these, and has no penalty."""
    if not isinstance(method, Method):
        raise TypeError(f"method is a {type(method).__name__}: GradientDescent, HeavyBall or Chebyshev is needed.")
    if method.penalty is not None:
        raise OperandError("a method with a penalty is not linear in the input and has no residual polynomials.")


def residual_polynomials(method, eigenvalues, n_iterations):
    """Residual polynomials of a method and their derivatives, at given eigenvalues.

    Parameters
    ----------
    method : GradientDescent, HeavyBall or Chebyshev
    eigenvalues : array_like of shape (n,)
    n_iterations : int
        T.

    Returns
    -------
    values, derivatives : ndarray of shape (T + 1, n)
        ``P_t(lambda)`` and ``P_t'(lambda)``, by the recurrence.

    Raises
    ------
    OperandError
        Proximal gradient is not linear and has no residual polynomials.
    DivergenceError
        They overflow: the method diverges for one of the eigenvalues.

    References
    ----------
    B. Fischer, "Polynomial based iteration methods for symmetric linear systems", SIAM 2011.

    Examples
    --------
    >>> from vittles_ng.unrolling import GradientDescent, residual_polynomials
    >>> values, derivatives = residual_polynomials(GradientDescent(0.5), [1.0, 4.0], 3)
    >>> values[3], derivatives[3]  # (1 - h lambda)^3, -3 h (1 - h lambda)^2
    (array([ 0.125, -1.   ]), array([-0.375, -1.5  ]))
    """
    check_linear(method)
    eigenvalues = np.array(eigenvalues, dtype=np.float64)
    if eigenvalues.ndim != 1:
        raise ShapeError(f"eigenvalues have shape {eigenvalues.shape}: (n,) is needed.")
    if not np.all(np.isfinite(eigenvalues)):
        raise NonFiniteError("eigenvalues are NaN or infinite.")
    step_sizes, momenta = method.coefficients(n_iterations)
    values, derivatives = np.zeros((2, n_iterations + 1, len(eigenvalues)))
    values[0] = 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        for t, (h, m) in enumerate(zip(step_sizes, momenta, strict=True)):
            values[t + 1] = values[t] - h * eigenvalues * values[t]
            derivatives[t + 1] = derivatives[t] - h * (values[t] + eigenvalues * derivatives[t])
            if m:
                values[t + 1] += m * (values[t] - values[t - 1])
                derivatives[t + 1] += m * (derivatives[t] - derivatives[t - 1])
    is_finite = np.isfinite(values) & np.isfinite(derivatives)
    if not np.all(is_finite):
        at, i = np.argwhere(~is_finite)[0]
        raise DivergenceError(
            f"{method!r} diverges for the eigenvalue {eigenvalues[i]:.3g}: its residual polynomial overflows at "
            f"iteration {at}: reduce the step size, or ask for fewer iterations."
        )
    return values, derivatives


def worst_case_factors(method, smallest, largest, n_iterations):
    """Largest ``|P_t - lambda P_t'|`` and ``|P_t'|`` on an interval of eigenvalues: the worst-case rates.

    The error of the Jacobian is at most the first times that of ``dz_0/dx`` plus the second times the norm of the
    derivative of the gradient at the start.

    Parameters
    ----------
    method : GradientDescent, HeavyBall or Chebyshev
    smallest, largest : float
        Of the eigenvalues, ``0 < smallest <= largest``.
    n_iterations : int
        T.

    Returns
    -------
    of_start : ndarray of shape (T + 1,)
    of_gradient : ndarray of shape (T + 1,)
        In units of one over the eigenvalues'.

    Raises
    ------
    DivergenceError
        The method diverges for the largest eigenvalue.

    Notes
    -----
    With l and L the ends of the interval: gradient descent has the larger of ``|1 - h lambda|^(t-1) (1 + (t-1) h
    lambda)`` at the ends, and ``h t |1 - h lambda|^(t-1)`` likewise. Chebyshev on its own interval has ``(2 t^2 / (1 -
    l/L) - 1) c_t`` and ``2 t^2 / (L - l) c_t`` with ``c_t = 2 / (r^t + r^-t)``, ``r = (1 - sqrt(l/L)) / (1 +
    sqrt(l/L))``, for t from 1. Others are bounded from above, by at most 2%, from a grid of N Chebyshev points, by
    ``1 / cos(pi t / (2 N))`` times the largest value there (Ehlich & Zeller).

    The sum of the two maxima is a bound; the maximum of the sum is none where they are attained at different
    eigenvalues.

    References
    ----------
    D. Scieur, G. Gidel, Q. Bertrand, F. Pedregosa, "The curse of unrolling", NeurIPS 2022 (arXiv 2209.13271).
    H. Ehlich and K. Zeller, "Schwankung von Polynomen zwischen Gitterpunkten", Math. Z. 86 (1964) 41.

    Examples
    --------
    >>> from vittles_ng.unrolling import GradientDescent, worst_case_factors
    >>> of_start, of_gradient = worst_case_factors(GradientDescent(0.5), 1.0, 3.0, 3)
    >>> print(of_start, of_gradient)
    [1.   1.   1.25 1.  ] [0.    0.5   0.5   0.375]
    """
    check_linear(method)
    checked_integer(n_iterations, "n_iterations", 0)
    smallest, largest = checked_interval(smallest, largest)
    method.check_spectrum(largest)
    if isinstance(method, GradientDescent):
        return _at_ends(method, smallest, largest, n_iterations)
    is_own = isinstance(method, Chebyshev) and (method.smallest, method.largest) == (smallest, largest)
    if is_own and smallest < largest:
        return _of_chebyshev(smallest, largest, n_iterations)
    n_points = _POINTS_PER_DEGREE * max(n_iterations, 1)
    middle, half = 0.5 * (largest + smallest), 0.5 * (largest - smallest)
    points = np.clip(middle + half * np.cos(np.pi * np.arange(n_points + 1) / n_points), smallest, largest)
    values, derivatives = residual_polynomials(method, points, n_iterations)
    between = 1.0 / np.cos(np.pi * np.arange(n_iterations + 1) / (2.0 * n_points)) if smallest < largest else 1.0
    of_start = np.max(np.abs(values - points * derivatives), axis=1)
    return between * of_start, between * np.max(np.abs(derivatives), axis=1)


def _at_ends(method, smallest, largest, n_iterations):
    ends = np.array([smallest, largest])
    values, derivatives = residual_polynomials(method, ends, n_iterations)
    return np.max(np.abs(values - ends * derivatives), axis=1), np.max(np.abs(derivatives), axis=1)


def _of_chebyshev(smallest, largest, n_iterations):
    t = np.arange(n_iterations + 1.0)
    root = np.sqrt(smallest / largest)
    log_r = np.log1p(-root) - np.log1p(root)
    # 2 / (r^t + r^-t), which must not overflow
    c = 2.0 * np.exp(t * log_r) / (1.0 + np.exp(2.0 * t * log_r))
    of_start = (2.0 * t**2 / (1.0 - smallest / largest) - 1.0) * c
    of_start[0] = 1.0
    return of_start, 2.0 * t**2 / (largest - smallest) * c


def gradient_descent_peak(step_size, eigenvalue):
    """Where the error of the Jacobian along one eigenvector is largest, for gradient descent from where G is zero.

    ``|1 - u|^(t-1) (1 + (t-1) u)``, ``u = h lambda``, is largest at ``t = 1 - 1 / log|1 - u| - 1 / u`` for u over 1. As
    it is 1 at t = 0 and 1 and ``u^2 - 1`` at t = 2, whole iterations see a rise for u over the square root of 2.

    Parameters
    ----------
    step_size, eigenvalue : float
        h and lambda. The largest eigenvalue rises most.

    Returns
    -------
    peak : float
        In iterations, not rounded; 0 for ``h lambda <= 1``.

    Raises
    ------
    DivergenceError
        Gradient descent diverges, ``h lambda >= 2``.
    ValueError
        The step size or the eigenvalue is not a positive number.

    Examples
    --------
    >>> from vittles_ng.unrolling import gradient_descent_peak
    >>> round(gradient_descent_peak(1.98, 1.0), 2), gradient_descent_peak(1.0, 1.0)
    (49.99, 0.0)
    """
    GradientDescent(step_size).check_spectrum(eigenvalue)
    u = step_size * eigenvalue
    return 1.0 - 1.0 / float(np.log(u - 1.0)) - 1.0 / u if u > 1.0 else 0.0
