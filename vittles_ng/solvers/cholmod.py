"""Sparse Cholesky by CHOLMOD (scikit-sparse 0.4.16): ``P A P^T = L D L^T`` with a fill-reducing permutation P.

CHOLMOD's simplicial factorization accepts an indefinite or NaN matrix, and reads one triangle only. So the matrix is
checked to be finite and symmetric before, and D to be positive after: A is positive definite exactly if all of D are
positive (Sylvester).
"""

import numpy as np

from . import checks
from .base import Solver

__all__ = ["Cholmod"]


class Cholmod(Solver):
    """Cholesky factorization of a sparse symmetric positive definite matrix by CHOLMOD.

    Parameters
    ----------
    matrix : sparse or array_like of shape (n, n)
        Symmetric to 1e-8 of its largest entry (then symmetrised) and positive definite. Not changed, and not kept.

    Raises
    ------
    ImportError
        If scikit-sparse is not installed.
    ShapeError, NonFiniteError, NotSymmetricError
        If it is not square, not finite, not symmetric.
    NotPositiveDefiniteError
        If it is indefinite (names the smallest eigenvalue, of a large matrix the pivot) or singular to working
        precision.

    Notes
    -----
    The supernodal part of CHOLMOD is under the GPL.
    """

    def __init__(self, matrix):
        try:
            from sksparse import cholmod
        except ImportError as error:
            raise ImportError(
                "solver='cholmod' needs scikit-sparse: pip install 'vittles_ng[sparse]' (with SuiteSparse and "
                "its headers, "
                "on Debian apt-get install libsuitesparse-dev), or use solver='superlu'."
            ) from error
        matrix = checks.symmetrised(checks.as_sparse(matrix))
        n = matrix.shape[0]
        rcond = 1.0
        if n:
            self._scale = checks.symmetric_scale(matrix)
            unit = checks.scaled(matrix, self._scale, self._scale)
            self._factor = _factored(cholmod, matrix, unit)
            self._check_pivots(matrix)
            rcond = self._checked_rcond(unit)
        super().__init__(n, f"CHOLMOD, {n} x {n}, {matrix.nnz} nonzeros", rcond)

    def _check_pivots(self, matrix):
        pivots = self._factor.D()
        bad = np.flatnonzero(~(np.isfinite(pivots) & (pivots > 0)))
        if bad.size:
            number = f"pivot {pivots[bad[0]]:.1e} (after scaling) of input {self._factor.P()[bad[0]]}"
            raise checks.not_positive_definite(matrix, number)

    def _checked_rcond(self, unit):
        n = unit.shape[0]
        rcond = 1.0 / (abs(unit).sum(axis=0).max() * checks.inverse_one_norm(self._factor, self._factor, n))
        if not rcond >= checks.singular_below(n):
            raise checks.not_identified(rcond, n, checks.weakest_direction(self._factor, self._factor, n))
        return rcond

    def _solve(self, rhs):
        return (self._scale * self._factor((self._scale * rhs.T).T).T).T


def _factored(cholmod, matrix, unit):
    try:
        return cholmod.cholesky(unit)
    except cholmod.CholmodNotPositiveDefiniteError:
        # The supernodal factorization stops without a number; the simplicial one goes on, and its D has the pivot.
        try:
            return cholmod.cholesky(unit, mode="simplicial")
        except cholmod.CholmodNotPositiveDefiniteError as error:
            raise checks.not_positive_definite(matrix, "a pivot is zero") from error
