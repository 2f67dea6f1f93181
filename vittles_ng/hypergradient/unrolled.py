"""A hypergradient by unrolling a first-order method from the inner solution, in reverse mode.

Started at the solution the iterates stay, and on the derivative the method acts as on a quadratic: after T iterations
it is ``(I - P_T(H)) dz*/dhyper``, with the residual polynomial P_T: the number of iterations is known beforehand.
"""

import numpy as np

from ..errors import NotPositiveDefiniteError, SolveFailed
from ..unrolling import Chebyshev, residual_polynomials, unroll_reverse

__all__ = ["unrolled_gradient"]

_FIRST, _MOST, _GRID = 16, 16_384, 100
_LEAST = 1e-15


def unrolled_gradient(objective, derivatives, outer, extremes, method, target):
    """The gradient, how much of the derivative is missing, and the number of iterations.

    Parameters
    ----------
    objective : callable
    derivatives : ExactDerivatives
    outer : OuterLoss
    extremes : Extremes
        Of the Hessian.
    method : GradientDescent, HeavyBall or Chebyshev, or None
    target : float
        Largest ``|P_T|`` on the spectrum to end with.

    Returns
    -------
    gradient : ndarray of shape (n_hyper,)
    missing : float
        ``max |P_T|`` on the spectrum.
    n_iterations : int
    """
    if not extremes.smallest > 0.0:
        raise NotPositiveDefiniteError(
            f"the Hessian's smallest eigenvalue could not be told from zero (it is {extremes.smallest_at_most:.1e} at "
            f"most, the largest {extremes.largest:.1e}): use method='factor'."
        )
    if method is None:
        method = Chebyshev(extremes.smallest, extremes.largest)
    n_iterations, missing = _iterations(method, extremes, max(target, _LEAST))
    z, x = (structure.unflatten(structure.flat0) for structure in derivatives.structures)
    run = unroll_reverse(objective, z, x, method, n_iterations, lambda last: outer(last, derivatives.hyper_val)[1])
    derivatives.n_products += run.n_products
    return outer(run.input_val, derivatives.hyper_val)[2] + run.gradient, missing, n_iterations


def _iterations(method, extremes, target):
    """The first T at which ``max |P_T|`` is under the target, and the maximum."""
    method.check_spectrum(extremes.largest)
    grid = np.geomspace(extremes.smallest, extremes.largest, _GRID)
    n = _FIRST
    while True:
        values = residual_polynomials(method, grid, n)[0]
        largest = np.max(np.abs(values), axis=1)
        under = np.flatnonzero(largest[1:] <= target)
        if under.size:
            t = int(under[0]) + 1
            return t, float(largest[t])
        if n >= _MOST:
            raise SolveFailed(
                largest[-1],
                n,
                "the derivative converges too slowly for tol: use method='factor' or 'cg', or a larger tol",
            )
        n *= 2
