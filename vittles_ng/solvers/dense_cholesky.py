"""Dense Cholesky: ``A = L L^T`` for symmetric positive definite A.

With ``d`` powers of two, ``D A D = S`` has a diagonal near one; S is factored, and ``L = D^{-1} L_S``. Small and well
conditioned matrices are solved with by a product with ``A^{-1} = D S^{-1} D``, several times faster than two
triangular solves. Its forward error is of the same order, ``n eps cond(S)``: the symmetric inverse has ``|X A - I| =
|A X - I|``, which is of that order (Higham, Accuracy and Stability of Numerical Algorithms, section 14.3).
"""

import numpy as np
from scipy.linalg import lapack

from . import checks
from .dense import INVERSE_MAX_N, INVERSE_MIN_RCOND, Dense, product

__all__ = ["DenseCholesky"]


class DenseCholesky(Dense):
    """Cholesky factorization of a dense symmetric positive definite matrix.

    Parameters
    ----------
    matrix : array_like or sparse of shape (n, n)
        Symmetric to 1e-8 of its largest entry (then symmetrised) and positive definite. Not changed, and not kept. A
        sparse one is converted, up to n = 5000.

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError
        If it is not square, not finite, not symmetric.
    NotPositiveDefiniteError
        If it is indefinite (names the smallest eigenvalue) or singular to working precision (names the inputs).
    ValueError
        If it is sparse and too large.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import DenseCholesky
    >>> solver = DenseCholesky(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> solver.solve(np.array([3.0, 3.0])).round(12)
    array([1., 1.])
    >>> solver.description
    'dense Cholesky, 2 x 2'
    """

    def __init__(self, matrix):
        matrix = checks.symmetrised(checks.as_dense(matrix))
        n = matrix.shape[0]
        self._factor, rcond = None, 1.0
        if n:
            scale = checks.symmetric_scale(matrix)
            factor, rcond = self._factored(matrix, scale)
            self._log_det = 2.0 * (np.log(factor.diagonal()) - np.log(scale)).sum()
            if n <= INVERSE_MAX_N and rcond > INVERSE_MIN_RCOND:
                lower = np.tril(lapack.dpotri(factor, lower=1)[0])
                self._inverse = checks.scaled(lower + np.tril(lower, -1).T, scale, scale)
            else:
                self._factor = np.asfortranarray(factor / scale[:, None])
        super().__init__(n, f"dense Cholesky, {n} x {n}", rcond)

    @staticmethod
    def _factored(matrix, scale):
        n = scale.size
        unit = checks.scaled(matrix, scale, scale)
        factor, failed_at = lapack.dpotrf(unit, lower=1, clean=1)
        if failed_at:
            raise checks.not_positive_definite(matrix, f"pivot {failed_at - 1} of {n} is not positive")
        rcond = lapack.dpocon(factor, abs(unit).sum(axis=0).max(), uplo="L")[0]
        if rcond < checks.singular_below(n):

            def solve(v):
                return lapack.dpotrs(factor, v, lower=1)[0].ravel()

            raise checks.not_identified(rcond, n, checks.weakest_direction(solve, solve, n))
        return factor, rcond

    def _solve(self, rhs):
        if self._inverse is not None:
            return product(self._inverse, rhs)
        return lapack.dpotrs(self._factor, rhs, lower=1)[0].reshape(rhs.shape)
