"""Dense LU with partial pivoting: ``P R A C = L U``, with R and C diagonal scalings by powers of two.

Small and well conditioned matrices are solved with by a product with ``X = A^{-1}``. X is computed row by row, from
``A^T X^T = I``: then ``|X A - I|``, which multiplies the solution in the forward error of ``X b``, is of order ``n
eps cond(A)``; computed column by column it could be that times ``cond(A)`` (Higham, Accuracy and Stability of
Numerical Algorithms, ch. 14).
"""

import numpy as np
from scipy.linalg import lapack

from . import checks
from .dense import INVERSE_MAX_N, INVERSE_MIN_RCOND, Dense, product

__all__ = ["DenseLU"]


class DenseLU(Dense):
    """LU factorization of a dense general matrix.

    Parameters
    ----------
    matrix : array_like or sparse of shape (n, n)
        Not changed, and not kept. A sparse one is converted, up to n = 5000.

    Raises
    ------
    ShapeError, NonFiniteError
        If it is not square, not finite.
    SingularError
        If it is singular to working precision; names the reciprocal condition and the inputs of the null direction.
    ValueError
        If it is sparse and too large.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import DenseLU
    >>> solver = DenseLU(np.array([[0.0, 2.0], [1.0, 0.0]]))
    >>> solver.solve(np.array([2.0, 3.0])), solver.solve_transpose(np.array([2.0, 3.0]))
    (array([3., 1.]), array([1.5, 2. ]))
    """

    def __init__(self, matrix):
        matrix = checks.as_dense(matrix)
        n = matrix.shape[0]
        rcond = 1.0
        if n:
            self._rows, self._columns = checks.row_column_scales(matrix)
            rcond = self._factor(checks.scaled(matrix, self._rows, self._columns))
            pivots = abs(self._lu.diagonal())
            self._log_det = (np.log(pivots) - np.log(self._rows) - np.log(self._columns)).sum()
            if n <= INVERSE_MAX_N and rcond > INVERSE_MIN_RCOND:
                inverse = lapack.dgetrs(self._lu, self._pivots, np.eye(n), trans=1)[0].T
                self._inverse = checks.scaled(inverse, self._columns, self._rows)
        super().__init__(n, f"dense LU, {n} x {n}", rcond)

    def _factor(self, unit):
        n = unit.shape[0]
        self._lu, self._pivots, failed_at = lapack.dgetrf(unit)
        if failed_at:
            direction = np.linalg.svd(unit)[2][-1] * self._columns if n <= checks.EIGENVALUE_MAX_N else None
            raise checks.singular(f"pivot {failed_at - 1} of {n} is zero", direction)
        rcond = lapack.dgecon(self._lu, abs(unit).sum(axis=0).max(), norm="1")[0]
        if rcond < checks.singular_below(n):

            def solve(v, trans=0):
                return lapack.dgetrs(self._lu, self._pivots, v, trans=trans)[0].ravel()

            direction = checks.weakest_direction(solve, lambda v: solve(v, 1), n)
            number = f"reciprocal condition {rcond:.1e} < {checks.singular_below(n):.1e} after scaling"
            raise checks.singular(number, direction)
        return rcond

    def _solve(self, rhs):
        if self._inverse is not None:
            return product(self._inverse, rhs)
        return self._solve_factored(rhs, self._rows, self._columns, trans=0)

    def _solve_transpose(self, rhs):
        return self._solve_factored(rhs, self._columns, self._rows, trans=1)

    def _solve_factored(self, rhs, before, after, trans):
        x = lapack.dgetrs(self._lu, self._pivots, (before * rhs.T).T, trans=trans)[0].reshape(rhs.shape)
        return (after * x.T).T
