"""What every solver has: a checked right-hand side, a size, and a sentence that says what it is."""

import numpy as np

from ..errors import ShapeError

__all__ = ["Solver"]


class Solver:
    """A matrix ``H`` of shape ``(n, n)``, factored or otherwise ready to be solved with.

    A new solver is a subclass with ``_solve`` and, where ``H`` is not symmetric, ``_solve_transpose``; each gets a
    float64 array of shape ``(n,)`` or ``(n, n_rhs)`` with at least one element, must not write into it and returns
    the same shape. Solvers do not change after construction.

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

    def _solve(self, rhs):
        raise NotImplementedError(f"{type(self).__name__} must define _solve(rhs)")

    def _solve_transpose(self, rhs):
        return self._solve(rhs)

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
