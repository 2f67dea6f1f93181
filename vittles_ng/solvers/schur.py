"""Cholesky factorization of a block arrow ``[[B, C], [C^T, D]]``, B block diagonal, in batched operations.

With ``B = L L^T`` block by block, ``W = L^{-1}`` and ``Y = W C``::

    [B    C]   [L     0] [I    0] [L^T  Y]
    [C^T  D] = [Y^T   I] [0    S] [0    I],    S = D - Y^T Y = D - C^T B^{-1} C,

and the matrix is positive definite exactly if B and the Schur complement S are (Haynsworth, Linear Algebra Appl. 1
(1968) 73). The inverse, of which the entries in the arrow are cheap::

    Z_DD = S^{-1},    Z_BD = -W^T Y S^{-1},    Z_BB = W^T (I + Y S^{-1} Y^T) W.

L is inverted, because products of many small matrices are several times faster than substitutions. ``|W L - I| <= c eps
cond(L)^2``, so that an error in ``W b`` is of order ``eps cond(B)``, as that of the solve is anyway (Higham, Accuracy
and Stability of Numerical Algorithms, section 14.2).
"""

import numpy as np
import scipy.sparse
from scipy.linalg import lapack

from ..errors import ShapeError
from . import checks
from .arrow import MAX_BLOCK, MAX_GLOBAL, arrow
from .arrow_parts import OutsideArrow, Parts, as_slice, by_place, full_pattern, placed, targets
from .base import Solver

__all__ = ["Schur"]

#: Right-hand sides solved for together.
RHS_BLOCK = 128
#: Elements of the right-hand sides that are worked on at a time, so that they stay in the cache.
CHUNK_ELEMENTS = 1 << 15


class Schur(Solver):
    """Cholesky factorization of a symmetric positive definite block arrow.

    Parameters
    ----------
    matrix : sparse or array_like of shape (n, n)
        Symmetric to 1e-8 of its largest entry (then symmetrised) and positive definite; both triangles are read. Not
        changed, and not kept.
    structure : Arrow, default=None
        Its globals and blocks; None: found by :func:`arrow`.

    Attributes
    ----------
    structure : Arrow

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError
        If it is not square, not finite, not symmetric.
    NotPositiveDefiniteError
        If it is indefinite (names the smallest eigenvalue, of a large matrix that of the local block or of the Schur
        complement) or singular to working precision.
    ValueError
        If it is no block arrow, or not the one given.

    Notes
    -----
    C is kept as an ndarray ``(n_local, n_global)`` where that takes at most 1 GiB and a fifth of it is stored, or where
    it is small; otherwise as a sparse array.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import Schur
    >>> solver = Schur(np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0], [1.0, 1.0, 3.0]]))
    >>> solver.solve(np.array([3.0, 3.0, 5.0])).round(12)
    array([1., 1., 1.])
    """

    def __init__(self, matrix, structure=None):
        matrix = checks.as_sparse(matrix, copy=False)
        if structure is None:
            structure = arrow(matrix)
            if structure is None:
                raise ValueError(
                    f"solver='schur' needs a block arrow: no {MAX_GLOBAL} inputs or fewer leave blocks of {MAX_BLOCK} "
                    "or fewer when they are taken out; use solver='cholmod' or 'superlu', or give the structure "
                    "(solvers.Arrow)."
                )
        n = matrix.shape[0]
        if structure.n != n:
            raise ShapeError(f"an arrow of {structure.n} inputs was given for a matrix of shape {matrix.shape}.")
        self.structure = structure
        self._order = structure.order
        one_norm = self._factor(matrix, Parts(matrix, structure))
        # A dense C makes every element of a solution depend on every one of the right-hand side, and NaN of it.
        self._spreads_nan = isinstance(self._coupling, np.ndarray) and structure.n_global > 0
        # A full arrow, the usual one, is known without its ten million indices.
        is_full = matrix.nnz == structure.full_entries
        self._pattern = None if is_full else (matrix.indices.copy(), matrix.indptr.copy())
        rcond = self._checked_rcond(one_norm) if n else 1.0
        super().__init__(n, f"Schur complement, {n} x {n}, {structure!r}", rcond)

    def _factor(self, matrix, parts):
        """Factor the scaled matrix, and give its one-norm."""
        structure = self.structure
        n_local, n_global = structure.n_local, structure.n_global
        schur = parts.d_block()
        d = self._scale = np.ones(structure.n)
        d_global = d[n_local:] = self._powers(matrix, parts, schur.diagonal())
        sums, log_diagonal = np.zeros(structure.n), 0.0
        with np.errstate(over="ignore"):
            schur *= d_global[:, None] * d_global
            sums[n_local:] = np.abs(schur).sum(axis=0)
        self._inverses = [np.empty((len(b), b.shape[1], b.shape[1])) for b in structure.blocks]
        coupling = np.empty((n_local, n_global)) if parts.is_dense else []
        for group, start, first, last, block, rows in parts.local():
            here, size = slice(start + first, start + last), block.shape[-1]
            d[here] = self._powers(matrix, parts, np.diagonal(block, axis1=1, axis2=2).ravel())
            d_block = d[here].reshape(-1, size)
            # Only of a matrix that is not positive definite can an entry leave the range of numbers.
            with np.errstate(over="ignore"):
                rows = rows * d[here, None]
                rows *= d_global
                block *= d_block[:, :, None] * d_block[:, None, :]
                magnitude = np.abs(rows)
                sums[here] = np.abs(block).sum(axis=2).ravel() + magnitude.sum(axis=1)
                sums[n_local:] += magnitude.sum(axis=0)
            if not np.isfinite(sums[here]).all():
                raise self._indefinite(matrix, parts, "entries are beyond the range of numbers after scaling")
            lower = self._blocks_factored(matrix, parts, block, here)
            log_diagonal += np.log(np.diagonal(lower, axis1=1, axis2=2)).sum()
            inverse = self._inverses[group][first // size : last // size] = _inverse_lower(lower)
            with np.errstate(over="ignore", invalid="ignore"):
                solved = (inverse @ _in_blocks(rows, inverse)).reshape(rows.shape)
                if parts.is_dense:
                    coupling[here] = solved
                    schur -= solved.T @ solved
                else:
                    coupling.append(scipy.sparse.csr_array(solved))
                    schur -= (coupling[-1].T @ coupling[-1]).toarray()
        self._coupling = coupling if parts.is_dense else scipy.sparse.vstack(coupling, format="csr")
        self._schur = self._schur_factored(matrix, parts, schur)
        self._log_det = 2.0 * (log_diagonal + np.log(np.diagonal(self._schur)).sum() - np.log(d).sum())
        return sums.max(initial=0.0)

    @staticmethod
    def _powers(matrix, parts, diagonal):
        """Powers of two that scale a diagonal to about one."""
        if not np.all(diagonal > 0):
            parts.check()
            checks.symmetric_scale(matrix)
        return np.exp2(-np.round(0.5 * np.log2(diagonal)))

    @staticmethod
    def _indefinite(matrix, parts, number):
        """The error for a matrix that is not positive definite; raises another one if it is not even symmetric."""
        parts.check()
        return checks.not_positive_definite(matrix, number)

    def _blocks_factored(self, matrix, parts, block, here):
        try:
            return np.linalg.cholesky(block)
        except np.linalg.LinAlgError:
            smallest = np.linalg.eigvalsh(block)[:, 0]
        worst = int(smallest.argmin())
        size = block.shape[-1]
        inputs = self._order[here][worst * size : (worst + 1) * size]
        number = (
            f"smallest eigenvalue {smallest[worst]:.1e} (after scaling) of the local block of input"
            f"{'s' * (size > 1)} {', '.join(map(str, inputs[:5]))}{', ...' * (size > 5)}"
        )
        raise self._indefinite(matrix, parts, number)

    def _schur_factored(self, matrix, parts, schur):
        if schur.size == 0:
            return schur
        if not np.isfinite(schur).all():
            raise self._indefinite(matrix, parts, "the Schur complement of the global inputs overflows")
        factor, failed_at = lapack.dpotrf(schur, lower=1, clean=1)
        if failed_at:
            values, vectors = np.linalg.eigh(schur)
            at = self._order[self.structure.n_local + int(np.abs(vectors[:, 0]).argmax())]
            number = (
                f"smallest eigenvalue {values[0]:.1e} (after scaling) of the Schur complement of the "
                f"{len(schur)} global inputs, mostly along input {at}"
            )
            raise self._indefinite(matrix, parts, number)
        return factor

    def _checked_rcond(self, one_norm):
        n = self.structure.n
        ones = np.ones(n)

        def solve(v):
            return self._solve_columns(v[:, None], ones, np.empty((n, 1)))[:, 0]

        rcond = 1.0 / (one_norm * checks.inverse_one_norm(solve, solve, n))
        if not rcond >= checks.singular_below(n):
            raise checks.not_identified(rcond, n, checks.weakest_direction(solve, solve, n))
        return rcond

    def _chunks(self, n_columns):
        """The local inputs, some blocks of a size at a time: where they are, and W."""
        start = 0
        for inverse in self._inverses:
            n_blocks, size = inverse.shape[:2]
            step = max(1, CHUNK_ELEMENTS // (size * max(n_columns, size)))
            for first in range(0, n_blocks, step):
                part = inverse[first : first + step]
                yield slice(start + first * size, start + (first + len(part)) * size), part
            start += n_blocks * size

    def _solve(self, rhs):
        x = np.empty_like(rhs)
        columns, solved = (rhs[:, None], x[:, None]) if rhs.ndim == 1 else (rhs, x)
        for start in range(0, columns.shape[1], RHS_BLOCK):
            here = slice(start, start + RHS_BLOCK)
            self._solve_columns(columns[:, here], self._scale, solved[:, here])
        return x

    def _solve_columns(self, rhs, scale, x):
        """Write into x the solution with ``D^{-1} S D^{-1}``: S is what is factored, D the scale in its order."""
        n_local, n_columns = self.structure.n_local, rhs.shape[1]
        order, scale = self._order, scale[:, None]
        half = np.empty((n_local, n_columns))
        reduced = rhs[order[n_local:]] * scale[n_local:]
        for here, inverse in self._chunks(n_columns):
            b = rhs[as_slice(order[here])] * scale[here]
            np.matmul(inverse, _in_blocks(b, inverse), out=_in_blocks(half[here], inverse))
            reduced -= self._coupling[here].T @ half[here]
        if reduced.size:
            reduced = lapack.dpotrs(self._schur, reduced, lower=1)[0]
            x[order[n_local:]] = reduced * scale[n_local:]
        for here, inverse in self._chunks(n_columns):
            half[here] -= self._coupling[here] @ reduced
            solved = inverse.transpose(0, 2, 1) @ _in_blocks(half[here], inverse)
            x[as_slice(order[here])] = solved.reshape(-1, n_columns) * scale[here]
        if not self._spreads_nan:
            x[:, np.isnan(x).any(axis=0)] = np.nan
        return x

    def _log_determinant(self):
        return self._log_det

    def _refactored(self, matrix):
        try:
            return Schur(matrix, self.structure)
        except OutsideArrow:
            return Schur(matrix)

    def _inverse_diagonal(self):
        diagonal = np.empty(self.n)
        root = _inverse_lower(self._schur[None])[0]
        n_local = self.structure.n_local
        diagonal[self._order[n_local:]] = np.square(root).sum(axis=0) * self._scale[n_local:] ** 2
        for here, inverse in self._chunks(max(self.structure.n_global, 1)):
            across = self._across(here, inverse, root)
            local = np.square(inverse).sum(axis=1) + np.square(across).sum(axis=2)
            diagonal[self._order[here]] = local.ravel() * self._scale[here] ** 2
        return diagonal

    def _across(self, here, inverse, root):
        """``P = W^T Y R^T`` with ``S^{-1} = R^T R``, so that ``Z_BB = W^T W + P P^T`` and ``Z_BD = -P R``."""
        return inverse.transpose(0, 2, 1) @ _in_blocks(self._coupling[here] @ root.T, inverse)

    def _selected_inverse(self, pattern):
        if pattern is None:
            pattern = full_pattern(self.structure) if self._pattern is None else self._own_pattern()
        return self._with_entries(pattern, self)

    def _own_pattern(self):
        indices, indptr = self._pattern
        return scipy.sparse.csc_array((indices, indices, indptr), shape=self.shape)

    def at(self, pattern):
        """Entries of the inverse at a pattern; NaN where it joins two blocks.

        Parameters
        ----------
        pattern : csc_array of shape (n, n)

        Returns
        -------
        values : ndarray of shape (pattern.nnz,)
        """
        structure, values = self.structure, np.empty(pattern.nnz)
        positions = scipy.sparse.csc_array((np.arange(pattern.nnz), pattern.indices, pattern.indptr), shape=self.shape)
        root = _inverse_lower(self._schur[None])[0]
        place, d_global = placed(structure), self._scale[structure.n_local :]
        of_globals = by_place(positions, structure, place)
        within = of_globals[structure.n_local :]
        inverse_schur = (root.T @ root) * d_global[:, None] * d_global
        values[within.data] = inverse_schur[_row_numbers(within), within.indices]
        for group, start, size, first, last, data, target, outside in targets(positions, structure, place):
            here = slice(start + first, start + last)
            inverse = self._inverses[group][first // size : last // size]
            across = self._across(here, inverse, root)
            rows = np.empty((last - first, size + structure.n_global))
            block = inverse.transpose(0, 2, 1) @ inverse + across @ across.transpose(0, 2, 1)
            d = self._scale[here]
            d_rows = d.reshape(-1, size)
            rows[:, :size] = (block * d_rows[:, :, None] * d_rows[:, None, :]).reshape(-1, size)
            rows[:, size:] = -(across.reshape(len(d), structure.n_global) @ root) * d[:, None] * d_global
            if outside is None:
                values[data] = rows.reshape(-1)[target]
            else:
                values[data[~outside]] = rows.reshape(-1)[target[~outside]]
                values[data[outside]] = np.nan
            mirrored = of_globals[here]
            values[mirrored.data] = rows[:, size:][_row_numbers(mirrored), mirrored.indices]
        return values


def _in_blocks(rows, inverse):
    """Rows (n_blocks * size, k) as (n_blocks, size, k)."""
    return rows.reshape(inverse.shape[0], inverse.shape[1], rows.shape[1])


def _row_numbers(matrix):
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _inverse_lower(lower):
    """Inverses of lower triangular matrices (n_blocks, size, size), by halves.

    [A 0]^-1   [ A^-1           0  ]
    [B C]    = [-C^-1 B A^-1   C^-1]
    """
    size = lower.shape[-1]
    if size <= 1:
        return 1.0 / lower
    half = size // 2
    inverse = np.zeros_like(lower)
    inverse[:, :half, :half] = _inverse_lower(lower[:, :half, :half])
    inverse[:, half:, half:] = _inverse_lower(lower[:, half:, half:])
    inverse[:, half:, :half] = -inverse[:, half:, half:] @ (lower[:, half:, :half] @ inverse[:, :half, :half])
    return inverse
