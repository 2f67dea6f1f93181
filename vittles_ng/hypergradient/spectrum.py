"""Extreme eigenvalues of a symmetric matrix, and the norm of a rectangular one, from their products alone."""

from typing import NamedTuple

import numpy as np

from ..errors import NonFiniteError

__all__ = ["Extremes", "cross_norm", "extreme_eigenvalues"]

_LEAST_STEPS, _MAX_STEPS, _POWER_STEPS = 40, 150, 4
#: Relative error of an eigenvalue, and how often the largest may be missed by more.
_SHARP, _FAILURES = 0.1, 1e-3


class Extremes(NamedTuple):
    """Smallest and largest eigenvalue, each moved outwards by its error, and a value that the smallest is not above."""

    smallest: float
    largest: float
    smallest_at_most: float


# Lanczos: A Q = Q T + beta q e_m^T, T tridiagonal. A Ritz pair T y = theta y has an eigenvalue of A within beta |y_m|
# of theta (Parlett, The Symmetric Eigenvalue Problem, sec. 13.2), but not always the outermost one: a start that has
# little of that needs steps to find it. After k steps from a random start the largest of a positive definite matrix is
# found to a part e but with probability 1.648 sqrt(n) exp(-sqrt(e) (2 k - 1)) (Kuczynski & Wozniakowski, SIAM J. Matrix
# Anal. Appl. 13 (1992) 1094). All q are orthogonalised twice against all before.
def extreme_eigenvalues(product, n, which="both"):
    """Extreme eigenvalues of a positive definite matrix by the Lanczos iteration, from a random start.

    Parameters
    ----------
    product : callable
        ``v -> A v``, A symmetric.
    n : int
    which : {"both", "largest"}
        Which must be good to 10%.

    Returns
    -------
    Extremes
        Exact to rounding where n steps were made. Otherwise the largest plus 10%, and the smallest Ritz value minus its
        error bound, which may leave it negative: then it is too small, beside the largest, to be told.

    Raises
    ------
    NonFiniteError
        A product is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.hypergradient.spectrum import extreme_eigenvalues
    >>> found = extreme_eigenvalues(lambda v: np.array([1.0, 2.0, 5.0]) * v, 3)
    >>> round(found.smallest, 12), round(found.largest, 12)
    (1.0, 5.0)
    """
    q = np.random.default_rng(4).standard_normal(n)
    most = min(n, _MAX_STEPS)
    basis, diagonal, off = np.empty((most, n)), [], []
    basis[0] = q / np.linalg.norm(q)
    enough = 0.5 * (np.log(1.648 * np.sqrt(n) / _FAILURES) / np.sqrt(_SHARP) + 1.0)
    for m in range(1, most + 1):
        w = np.asarray(product(basis[m - 1]), dtype=np.float64)
        if not np.all(np.isfinite(w)):
            raise NonFiniteError(
                f"{np.sum(~np.isfinite(w))} elements of a product with the Hessian are NaN or infinite: the objective "
                "has no second derivatives at the point; move it, or smooth the function there."
            )
        diagonal.append(float(basis[m - 1] @ w))
        for _ in range(2):
            w = w - basis[:m].T @ (basis[:m] @ w)
        beta = float(np.linalg.norm(w))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
        error = beta * abs(vectors[-1, 0])
        if m == n or beta <= n * np.finfo(float).eps * np.max(np.abs(values)):
            return Extremes(float(values[0]), float(values[-1]), float(values[0]))
        is_sharp = which == "largest" or (m >= _LEAST_STEPS and error <= _SHARP * abs(values[0]))
        if m == most or (is_sharp and m >= enough):
            return Extremes(float(values[0] - error), float(values[-1] / (1.0 - _SHARP)), float(values[0]))
        off.append(beta)
        basis[m] = w / beta


def cross_norm(pushed, pulled, n_hyper):
    """Largest singular value of B by power steps on ``B^T B``; from below, good to a few per cent as a rule.

    Parameters
    ----------
    pushed, pulled : callable
        ``w -> B w`` and ``v -> B^T v``.
    n_hyper : int
    """
    w, size = np.random.default_rng(5).standard_normal(n_hyper), 0.0
    for _ in range(1 if n_hyper == 1 else _POWER_STEPS):
        norm = np.linalg.norm(w)
        if norm == 0.0:
            return size
        v = pushed(w / norm)
        size = max(size, float(np.linalg.norm(v)))
        w = pulled(v)
    return size
