"""Sparse Cholesky by CHOLMOD (scikit-sparse 0.4.16): ``P A P^T = L D L^T`` with a fill-reducing permutation P.

CHOLMOD's simplicial factorization accepts an indefinite or NaN matrix, and reads one triangle only. So the matrix is
checked to be finite and symmetric before, and D to be positive after: A is positive definite exactly if all of D are
positive (Sylvester).
"""

import numpy as np
import scipy.sparse

from . import checks
from .base import Solver, column_blocks
from .selected_inverse import SelectedInverse

__all__ = ["Cholmod", "ORDERINGS"]

#: Values of ``ordering``.
ORDERINGS = ("default", "amd", "metis", "nesdis", "colamd", "natural", "best")
#: Scaling by powers of two changes no digit of a factor: it is needed only where products could leave the floats.
UNSCALED_RANGE = 2.0**200


class Cholmod(Solver):
    """Cholesky factorization of a sparse symmetric positive definite matrix by CHOLMOD.

    Parameters
    ----------
    matrix : sparse or array_like of shape (n, n)
        Symmetric to 1e-8 of its largest entry (then symmetrised) and positive definite. Not changed; its pattern is
        kept, its numbers are not. A csc_array of floats is not copied.
    ordering : {"default", "amd", "metis", "nesdis", "colamd", "natural", "best"}, default="default"
        How CHOLMOD finds the permutation. "default" is minimum degree (AMD), and nested dissection (METIS) where that
        leaves much fill. "nesdis" takes several times the time of one factorization and leaves a fifth less fill on
        grids: for a pattern that is factored many times, see :meth:`refactored`.

    Raises
    ------
    ImportError
        If scikit-sparse is not installed.
    ShapeError, NonFiniteError, NotSymmetricError
        If it is not square, not finite, not symmetric.
    NotPositiveDefiniteError
        If it is indefinite (names the smallest eigenvalue, of a large matrix the pivot) or singular to working
        precision.
    ValueError
        If ``ordering`` is none of these.

    Notes
    -----
    :meth:`refactored` analyses a matrix of the same pattern no second time. The supernodal part of CHOLMOD is under
    the GPL.
    """

    def __init__(self, matrix, ordering="default"):
        if ordering not in ORDERINGS:
            raise ValueError(f"ordering={ordering!r} is not known: use one of {', '.join(map(repr, ORDERINGS))}.")
        self._ordering = ordering
        self._set_up(matrix, None)

    def _refactored(self, matrix):
        new = object.__new__(type(self))
        new._ordering = self._ordering
        new._set_up(matrix, self)
        return new

    def _set_up(self, matrix, like):
        cholmod = _imported()
        matrix = checks.symmetrised(checks.as_sparse(matrix, copy=False))
        n = matrix.shape[0]
        rcond, self._log_det, self._scale = 1.0, 0.0, None
        self._indptr, self._indices = _own_pattern(matrix, like)
        if n:
            scale = checks.symmetric_scale(matrix)
            if scale.max() > UNSCALED_RANGE or scale.min() < 1.0 / UNSCALED_RANGE:
                self._scale = scale
            unit = matrix if self._scale is None else checks.scaled(matrix, scale, scale)
            analysed = like._factor if like is not None and like._indices is self._indices else None
            self._factor = _factored(cholmod, matrix, unit, analysed, self._ordering)
            self._log_det = self._checked_pivots(matrix, scale)
            rcond = self._checked_rcond(matrix, scale)
        super().__init__(n, f"CHOLMOD, {n} x {n}, {matrix.nnz} nonzeros", rcond)

    def _checked_pivots(self, matrix, scale):
        """Logarithm of the determinant, from pivots that are all positive."""
        pivots = self._factor.D()
        bad = np.flatnonzero(~(np.isfinite(pivots) & (pivots > 0)))
        if bad.size:
            at = self._factor.P()[bad[0]]
            pivot = pivots[bad[0]] * (scale[at] ** 2 if self._scale is None else 1.0)
            raise checks.not_positive_definite(matrix, f"pivot {pivot:.1e} (after scaling) of input {at}")
        undone = 0.0 if self._scale is None else 2.0 * np.log(self._scale).sum()
        return np.log(pivots).sum() - undone

    def _checked_rcond(self, matrix, scale):
        n = scale.size

        def solve(v):
            # With the scaled matrix S = D A D: S^{-1} v = D^{-1} A^{-1} D^{-1} v.
            return self._solve(v / scale) / scale

        rcond = 1.0 / (checks.scaled_one_norm(matrix, scale, scale) * checks.inverse_one_norm(solve, solve, n))
        if not rcond >= checks.singular_below(n):
            raise checks.not_identified(rcond, n, checks.weakest_direction(solve, solve, n))
        return rcond

    def _solve(self, rhs):
        if rhs.ndim == 1:
            return self._solve_block(rhs)
        x = np.empty(rhs.shape, order="F" if rhs.flags.f_contiguous else "C")
        for block in column_blocks(*rhs.shape):
            x[:, block] = self._solve_block(rhs[:, block])
        return x

    def _solve_block(self, rhs):
        if self._scale is None:
            return self._factor(rhs)
        return (self._scale * self._factor((self._scale * rhs.T).T).T).T

    def _log_determinant(self):
        return self._log_det

    def _inverse_diagonal(self):
        return self._selected().diagonal() if self.n else np.zeros(0)

    def _selected_inverse(self, pattern):
        if pattern is None:
            pattern = scipy.sparse.csc_array((self._indices, self._indices, self._indptr), shape=self.shape)
        return self._with_entries(pattern, self._selected() if self.n else None)

    def _selected(self):
        return SelectedInverse(self._factor.L(), self._factor.P(), self._scale)


def _imported():
    try:
        from sksparse import cholmod
    except ImportError as error:
        raise ImportError(
            "solver='cholmod' needs scikit-sparse: pip install 'vittles_ng[sparse]' (with SuiteSparse and its headers, "
            "on Debian apt-get install libsuitesparse-dev), or use solver='superlu'."
        ) from error
    return cholmod


def _own_pattern(matrix, like):
    """The pattern in arrays of its own; those of ``like`` where they are the same."""
    if (
        like is not None
        and np.array_equal(like._indptr, matrix.indptr)
        and np.array_equal(like._indices, matrix.indices)
    ):
        return like._indptr, like._indices
    return matrix.indptr.copy(), matrix.indices.copy()


def _factored(cholmod, matrix, unit, analysed, ordering):
    try:
        # A copy, because the factor of another solver must stay as it is.
        factor = cholmod.analyze(unit, ordering_method=ordering) if analysed is None else analysed.copy()
        factor.cholesky_inplace(unit)
        return factor
    except cholmod.CholmodNotPositiveDefiniteError:
        # The supernodal factorization stops without a number; the simplicial one goes on, and its D has the pivot.
        try:
            return cholmod.cholesky(unit, mode="simplicial", ordering_method=ordering)
        except cholmod.CholmodNotPositiveDefiniteError as error:
            raise checks.not_positive_definite(matrix, "a pivot is zero") from error
