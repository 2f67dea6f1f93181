"""What every solver has: a checked right-hand side, a size, and a sentence that says what it is.

Direct solvers also give the log-determinant and entries of the inverse, which are the standard errors and the Laplace
approximation of a large model.
"""

import numpy as np
import scipy.sparse

from ..errors import ShapeError

__all__ = ["Solver", "column_blocks"]

#: Numbers in one block of right-hand sides (16 MB), so that an inverse is never held whole.
BLOCK_NUMBERS = 2**21


def column_blocks(n, n_columns):
    """Slices of columns, each of which makes a block of n rows that stays small."""
    size = max(1, min(64, BLOCK_NUMBERS // max(n, 1)))
    return [slice(first, min(first + size, n_columns)) for first in range(0, n_columns, size)]


class Solver:
    """A matrix ``H`` of shape ``(n, n)``, factored or otherwise ready to be solved with.

    A new solver is a subclass with ``_solve`` and, where ``H`` is not symmetric, ``_solve_transpose``; each gets a
    float64 array of shape ``(n,)`` or ``(n, n_rhs)`` with at least one element, must not write into it and returns
    the same shape. One that factors ``H`` also has ``_log_determinant``, ``_refactored`` and, where there is a better
    way than solving with unit vectors, ``_inverse_diagonal`` and ``_selected_inverse``. Solvers do not change after
    construction.

    Parameters
    ----------
    n : int
        Number of rows and columns.
    description : str
        What the solver is, such as ``"dense Cholesky, 20 x 20"``.
    rcond : float, default=None
        Estimate of the reciprocal condition number in the one-norm after scaling by powers of two; None where unknown.
    """

    def __init__(self, n, description, rcond=None):
        self._n = int(n)
        self._description = description
        self._rcond = None if rcond is None else float(rcond)

    def __deepcopy__(self, memo):
        """Itself: it does not change, and the factors of libraries cannot be copied."""
        return self

    n = property(lambda self: self._n, doc="Number of rows and columns.")
    shape = property(lambda self: (self._n, self._n), doc="Shape of the matrix.")
    description = property(lambda self: self._description, doc="What the solver is, in a few words.")
    rcond = property(
        lambda self: self._rcond, doc="Estimated reciprocal condition number of the scaled matrix, or None."
    )

    def solve(self, rhs):
        """Solve ``H x = rhs``.

        Parameters
        ----------
        rhs : ndarray of shape (n,) or (n, n_rhs)
            Right-hand sides in columns; never written into. A column that holds NaN gives a column of NaN and leaves
            the others as they are.

        Returns
        -------
        x : ndarray of the shape of ``rhs``, float64

        Raises
        ------
        ShapeError
            If ``rhs`` has another shape.
        TypeError
            If ``rhs`` is complex.
        """
        rhs = self._checked(rhs)
        return self._solve(rhs) if rhs.size else np.zeros(rhs.shape)

    def solve_transpose(self, rhs):
        """Solve ``H^T x = rhs``; arguments, result and errors as in :meth:`solve`."""
        rhs = self._checked(rhs)
        return self._solve_transpose(rhs) if rhs.size else np.zeros(rhs.shape)

    def log_determinant(self):
        """Natural logarithm of ``|det H|``; of a positive definite matrix of ``det H``.

        Returns
        -------
        log_determinant : float
            0.0 where n is 0.

        Raises
        ------
        TypeError
            If the solver has no factor.

        Examples
        --------
        >>> import numpy as np
        >>> from vittles_ng.solvers import DenseCholesky
        >>> print(f"{DenseCholesky(np.diag([2.0, 4.0])).log_determinant():.12f}")  # log 8
        2.079441541680
        """
        return float(self._log_determinant())

    def inverse_diagonal(self):
        """Diagonal of ``H^{-1}``: of a Hessian the squared standard errors, where the objective is a log density.

        Returns
        -------
        diagonal : ndarray of shape (n,)

        Raises
        ------
        TypeError
            If the solver has no factor.

        Notes
        -----
        Sparse factors of positive definite matrices take Takahashi's selected inverse, a few times the cost of the
        factor. A sparse LU solves with the n unit vectors in blocks: as much work as n solves, never the memory of the
        inverse.

        Examples
        --------
        >>> import numpy as np
        >>> from vittles_ng.solvers import DenseCholesky
        >>> DenseCholesky(np.diag([2.0, 4.0])).inverse_diagonal()
        array([0.5 , 0.25])
        """
        return self._inverse_diagonal()

    def selected_inverse(self, pattern=None):
        """Entries of ``H^{-1}``, as many as are asked for.

        Parameters
        ----------
        pattern : sparse of shape (n, n), default=None
            Stored entries, zeros too, are where the inverse is wanted. None asks for the pattern of ``H`` and the
            diagonal.

        Returns
        -------
        inverse : csc_array of shape (n, n), or ndarray of shape (n, n)
            The entries in the order of ``scipy.sparse.csc_array(pattern)``. A dense factor gives the whole inverse, as
            an ndarray, where ``pattern`` is None.

        Raises
        ------
        ShapeError
            If ``pattern`` has another shape.
        TypeError
            If ``pattern`` is not sparse, or the solver has no factor.

        Notes
        -----
        Entries that lie in the pattern of a sparse Cholesky factor, as all of ``H``'s do, come together, for a few
        times the cost of the factor; a column with any others is solved for.

        Examples
        --------
        >>> import numpy as np, scipy.sparse
        >>> from vittles_ng.solvers import SuperLU
        >>> matrix = scipy.sparse.csc_array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 4.0]])
        >>> inverse = SuperLU(matrix, positive_definite=True).selected_inverse()
        >>> inverse.nnz, np.allclose(inverse.toarray(), np.linalg.inv(matrix.toarray()))
        (5, True)
        """
        if pattern is not None:
            if not scipy.sparse.issparse(pattern):
                raise TypeError(f"pattern of type {type(pattern).__name__}: a SciPy sparse matrix is needed.")
            if pattern.shape != self.shape:
                raise ShapeError(f"pattern of shape {pattern.shape}: the matrix has {self.shape}.")
            pattern = scipy.sparse.csc_array(pattern)
        return self._selected_inverse(pattern)

    def refactored(self, matrix):
        """A new solver of the same kind and options for another matrix, such as the Hessian at a new base point.

        Parameters
        ----------
        matrix : as at construction
            Where its pattern is that of this solver's matrix, what depends on the pattern alone is used again.

        Returns
        -------
        solver : Solver
            This one stays as it is.

        Raises
        ------
        VittlesError
            Whatever the class raises for a bad matrix.
        TypeError
            If the solver was not made from a matrix.

        Examples
        --------
        >>> import numpy as np
        >>> from vittles_ng.solvers import DenseCholesky
        >>> DenseCholesky(np.eye(2)).refactored(2.0 * np.eye(2)).solve(np.ones(2))
        array([0.5, 0.5])
        """
        return self._refactored(matrix)

    def _solve(self, rhs):
        raise NotImplementedError(f"{type(self).__name__} must define _solve(rhs)")

    def _solve_transpose(self, rhs):
        return self._solve(rhs)

    def _log_determinant(self):
        raise self._has_no("log_determinant()")

    def _inverse_diagonal(self):
        raise self._has_no("inverse_diagonal()")

    def _selected_inverse(self, pattern):
        raise self._has_no("selected_inverse()")

    def _refactored(self, matrix):
        raise self._has_no("refactored()")

    def _has_no(self, method):
        return TypeError(
            f"{self.description} has no {method}: it needs a factor of the matrix: use solver='cholesky', 'lu', "
            f"'cholmod', 'superlu' or 'schur'."
        )

    def _solved_diagonal(self):
        """The diagonal of the inverse by solves with unit vectors, in blocks."""
        diagonal = np.empty(self._n)
        for block in column_blocks(self._n, self._n):
            columns = np.arange(block.start, block.stop)
            diagonal[columns] = self._solve(self._units(columns))[columns, columns - block.start]
        return diagonal

    def _solved_entries(self, rows, columns):
        """Values of the inverse at entries sorted by column, by solves with unit vectors, in blocks."""
        values = np.empty(rows.size)
        needed, first = np.unique(columns, return_index=True)
        ends = np.append(first, rows.size)
        for block in column_blocks(self._n, needed.size):
            part = slice(ends[block.start], ends[block.stop])
            inverse = self._solve(self._units(needed[block]))
            values[part] = inverse[rows[part], np.searchsorted(needed[block], columns[part])]
        return values

    def _units(self, columns):
        units = np.zeros((self._n, columns.size), order="F")
        units[columns, np.arange(columns.size)] = 1.0
        return units

    def _with_entries(self, pattern, selected=None):
        """``pattern`` with entries of the inverse: from a SelectedInverse, and from solves those that it has not."""
        rows = pattern.indices
        columns = np.repeat(np.arange(self._n, dtype=rows.dtype), np.diff(pattern.indptr))
        if selected is None:
            values = self._solved_entries(rows, columns)
        else:
            values = selected.at(pattern)
            missing = np.flatnonzero(np.isnan(values))
            values[missing] = self._solved_entries(rows[missing], columns[missing])
        return scipy.sparse.csc_array((values, rows.copy(), pattern.indptr.copy()), shape=self.shape)

    def _checked(self, rhs):
        rhs = np.asarray(rhs)
        if rhs.dtype != np.float64:
            if rhs.dtype.kind == "c":
                raise TypeError("the right-hand side is complex: solve with its real and imaginary parts separately.")
            rhs = rhs.astype(np.float64)
        if rhs.ndim not in (1, 2) or rhs.shape[0] != self._n:
            raise ShapeError(
                f"right-hand side of shape {rhs.shape}: expected ({self._n},) or ({self._n}, n_rhs), right-hand "
                f"sides in columns."
            )
        return rhs

    def __repr__(self):
        return f"<{self._description}>"
