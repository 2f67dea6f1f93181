"""Sparse LU by SuperLU: ``R A C`` with R and C powers of two, fill-reducing column order.

For a positive definite matrix the pivots stay on the diagonal (symmetric mode, minimum degree on the pattern of A +
A^T). Then ``P S P^T = L U`` with ``U = diag(U) L^T``, and S is positive definite exactly if all of diag(U) are
positive (Sylvester).
"""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import splu

from . import checks
from .base import Solver, column_blocks
from .selected_inverse import SelectedInverse

__all__ = ["SuperLU"]

#: A column with more than this many times sqrt(n) entries is dense, as COLAMD has it.
DENSE_COLUMN = 10.0


class SuperLU(Solver):
    """LU factorization of a sparse matrix by SciPy's SuperLU.

    Parameters
    ----------
    matrix : sparse or array_like of shape (n, n)
        Not changed, and not kept.
    positive_definite : bool, default=False
        True claims that the matrix is symmetric positive definite: it is checked, and factored with pivots on the
        diagonal, which leaves less fill.
    note : str, default=""
        Added to the description.

    Raises
    ------
    ShapeError, NonFiniteError
        If it is not square, not finite.
    SingularError
        If it is singular to working precision.
    NotSymmetricError, NotPositiveDefiniteError
        If ``positive_definite`` is claimed wrongly.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> from vittles_ng.solvers import SuperLU
    >>> SuperLU(scipy.sparse.eye_array(3) * 2.0).solve(np.ones(3))
    array([0.5, 0.5, 0.5])
    """

    def __init__(self, matrix, positive_definite=False, note=""):
        matrix = checks.as_sparse(matrix, copy=False)
        n = matrix.shape[0]
        rcond, fill = 1.0, 0
        self._options = {"positive_definite": positive_definite, "note": note}
        self._indptr, self._indices = matrix.indptr.copy(), matrix.indices.copy()
        if positive_definite:
            matrix = checks.symmetrised(matrix)
        if n:
            if positive_definite:
                self._rows = self._columns = checks.symmetric_scale(matrix)
            else:
                self._rows, self._columns = checks.row_column_scales(matrix)
            unit = checks.scaled(matrix, self._rows, self._columns)
            self._lu = self._diagonal_pivots(matrix, unit) if positive_definite else self._partial_pivots(unit)
            rcond = self._checked_rcond(unit, positive_definite)
            fill = self._lu.nnz
        super().__init__(n, f"SuperLU, {n} x {n}, {matrix.nnz} nonzeros, {fill} in the factors{note}", rcond)

    @staticmethod
    def _partial_pivots(unit):
        try:
            return splu(unit, permc_spec="COLAMD")
        except RuntimeError as error:
            raise checks.singular("a pivot is zero", _null_direction(unit)) from error

    @staticmethod
    def _diagonal_pivots(matrix, unit):
        # Minimum degree takes a minute over a matrix of 100000 with 50 dense columns; COLAMD puts those last.
        has_dense = np.diff(unit.indptr).max() > max(16.0, DENSE_COLUMN * np.sqrt(unit.shape[0]))
        ordering = "COLAMD" if has_dense else "MMD_AT_PLUS_A"
        try:
            lu = splu(unit, permc_spec=ordering, diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except RuntimeError as error:
            raise checks.not_positive_definite(matrix, "a pivot is zero") from error
        if not np.array_equal(lu.perm_r, lu.perm_c):
            raise checks.not_positive_definite(matrix, "a diagonal pivot is zero")
        pivots = lu.U.diagonal()[lu.perm_c]
        worst = int(pivots.argmin())
        if not pivots[worst] > 0:
            raise checks.not_positive_definite(matrix, f"pivot {pivots[worst]:.1e} (after scaling) of input {worst}")
        return lu

    def _checked_rcond(self, unit, positive_definite):
        n = unit.shape[0]

        def solve_transpose(v):
            return self._lu.solve(v, trans="T")

        ones = np.ones(n)
        rcond = 1.0 / (
            checks.scaled_one_norm(unit, ones, ones) * checks.inverse_one_norm(self._lu.solve, solve_transpose, n)
        )
        if not rcond >= checks.singular_below(n):
            direction = checks.weakest_direction(self._lu.solve, solve_transpose, n)
            if positive_definite:
                raise checks.not_identified(rcond, n, direction)
            number = f"reciprocal condition {rcond:.1e} < {checks.singular_below(n):.1e} after scaling"
            raise checks.singular(number, direction)
        return rcond

    def _solve(self, rhs):
        return self._solved(rhs, self._rows, self._columns, "N")

    def _solve_transpose(self, rhs):
        return self._solved(rhs, self._columns, self._rows, "T")

    def _solved(self, rhs, before, after, trans):
        if rhs.ndim == 1:
            return after * self._lu.solve(before * rhs, trans=trans)
        x = np.empty(rhs.shape, order="F" if rhs.flags.f_contiguous else "C")
        for block in column_blocks(*rhs.shape):
            x[:, block] = (after * self._lu.solve((before * rhs[:, block].T).T, trans=trans).T).T
        return x

    def _log_determinant(self):
        if not self.n:
            return 0.0
        pivots = abs(self._lu.U.diagonal())
        return (np.log(pivots) - np.log(self._rows) - np.log(self._columns)).sum()

    def _inverse_diagonal(self):
        if self._options["positive_definite"] and self.n:
            return self._selected().diagonal()
        return self._solved_diagonal()

    def _selected_inverse(self, pattern):
        if pattern is None:
            pattern = self._pattern_with_diagonal()
        return self._with_entries(pattern, self._selected() if self._options["positive_definite"] and self.n else None)

    def _pattern_with_diagonal(self):
        ones = np.ones(self._indices.size, dtype=bool)
        pattern = scipy.sparse.csc_array((ones, self._indices, self._indptr), shape=self.shape)
        return scipy.sparse.csc_array(pattern + scipy.sparse.eye_array(self.n, dtype=bool))

    def _selected(self):
        # L has a unit diagonal, and U = diag(U) L^T.
        lower = scipy.sparse.csc_array(self._lu.L, copy=True)
        lower.sort_indices()
        lower.data *= np.repeat(np.sqrt(self._lu.U.diagonal()), np.diff(lower.indptr))
        return SelectedInverse(lower, np.argsort(self._lu.perm_c), self._rows)

    def _refactored(self, matrix):
        return type(self)(matrix, **self._options)


def _null_direction(unit):
    """Null vector of a singular matrix with entries near one, from a copy that is moved off singularity a little."""
    n = unit.shape[0]
    moved = unit.copy()
    moved.setdiag(moved.diagonal() + np.sqrt(np.finfo(float).eps))
    try:
        lu = splu(moved.tocsc())
    except RuntimeError:
        return None
    return checks.weakest_direction(lu.solve, lambda v: lu.solve(v, trans="T"), n)
