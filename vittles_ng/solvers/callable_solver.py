"""Any function ``v -> H^{-1} v`` as a solver, and the check that a solver solves with the matrix at hand."""

import numpy as np

from ..errors import NonFiniteError, NotSymmetricError, ShapeError, SolveFailed
from . import checks
from .base import Solver

__all__ = ["CallableSolver", "check_solves"]


class CallableSolver(Solver):
    """A solver made of a function.

    Parameters
    ----------
    solve : callable
        ``v -> H^{-1} v`` of ``(n,)``. It gets a copy, so it may write into it.
    n : int
        Size.
    solve_transpose : callable, default=None
        ``v -> H^{-T} v``; not needed where ``symmetric``.
    symmetric : bool, default=False
        True claims that ``H`` is symmetric; checked with two random vectors.
    description : str, default="a function"
        What the function is.

    Raises
    ------
    ShapeError, NonFiniteError
        If the function turns a random vector of shape ``(n,)`` into something else, or something not finite.
    NotSymmetricError
        If ``symmetric`` is claimed wrongly.

    Notes
    -----
    Called with two columns once, at construction: if that gives what two calls give, it is trusted with all columns at
    once, otherwise it is called column by column.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import CallableSolver
    >>> CallableSolver(lambda v: v / 4.0, n=2, symmetric=True).solve(np.ones((2, 3)))
    array([[0.25, 0.25, 0.25],
           [0.25, 0.25, 0.25]])
    """

    def __init__(self, solve, n, solve_transpose=None, symmetric=False, description="a function"):
        super().__init__(n, f"{description}, {n} x {n}")
        self._function = solve
        self._function_transpose = solve if solve_transpose is None and symmetric else solve_transpose
        self._takes_columns = self._takes_columns_transpose = False
        if self.n:
            pair = np.random.default_rng(0).standard_normal((self.n, 2))
            solved = _by_column(solve, pair)
            if not np.isfinite(solved).all():
                raise NonFiniteError(
                    f"the solver turns a random vector into one with {np.sum(~np.isfinite(solved[:, 0]))} NaN "
                    f"or infinite entries: "
                    "the matrix that it was made from is singular or not finite."
                )
            if symmetric:
                _check_symmetric(pair, solved)
            self._takes_columns = _takes_columns(solve, pair, solved)
            if solve_transpose is not None:
                solved = _by_column(solve_transpose, pair)
                self._takes_columns_transpose = _takes_columns(solve_transpose, pair, solved)
            else:
                self._takes_columns_transpose = self._takes_columns

    def _solve(self, rhs):
        return _apply(self._function, rhs, self._takes_columns)

    def _solve_transpose(self, rhs):
        if self._function_transpose is None:
            raise TypeError(
                f"{self.description}: solve_transpose is not known. Make a CallableSolver with "
                f"solve_transpose=, or with "
                "symmetric=True if the matrix is symmetric."
            )
        return _apply(self._function_transpose, rhs, self._takes_columns_transpose)


def _apply(function, rhs, takes_columns):
    if rhs.ndim == 2 and not takes_columns:
        return _by_column(function, rhs)
    # Both copies are needed: the function may write into its argument, or keep what it returns.
    result = np.array(function(rhs.copy()), dtype=float)
    if result.shape != rhs.shape:
        raise ShapeError(f"the solver given turns an array of shape {rhs.shape} into one of shape {result.shape}.")
    return result


def _by_column(function, rhs):
    if rhs.shape[1] == 0:
        return np.zeros(rhs.shape)
    return np.stack([_apply(function, column, True) for column in rhs.T], axis=1)


def _takes_columns(function, pair, solved):
    try:
        together = _apply(function, pair, True)
    except Exception:  # whatever a function that knows vectors only may raise on a matrix
        return False
    return bool(np.allclose(together, solved, rtol=1e-9, atol=1e-12 * abs(solved).max()))


def _check_symmetric(pair, solved):
    (u, v), (hu, hv) = pair.T, solved.T
    difference = abs(v @ hu - u @ hv) / max(np.linalg.norm(v) * np.linalg.norm(hu), np.finfo(float).tiny)
    # Looser than for a matrix: the function may be an iteration, good to its own tolerance only.
    if not difference <= 1e-6:
        raise NotSymmetricError(
            f"the solver given is not symmetric: v.(S u) and u.(S v) differ by {difference:.1e} of |v| |S u| "
            f"(tolerance 1e-06): "
            "the Hessian of an objective is symmetric, check what the solver was made from."
        )


def check_solves(solver, matrix, tol=1e-6):
    """Check ``|H x - v| <= tol |v|`` for ``x = solver.solve(v)`` and a random v.

    Parameters
    ----------
    solver : Solver
    matrix : callable, sparse or array_like of shape (n, n)
        ``H``, or a function ``v -> H v``.
    tol : float, default=1e-6
        Raised to ``1000 eps |H| |x| / |v|`` (but not above .1) where H is so ill conditioned that no solver reaches it.

    Raises
    ------
    SolveFailed
        With the relative residual.
    """
    if solver.n == 0:
        return
    if not callable(matrix):
        matrix = matrix.__matmul__ if hasattr(matrix, "__matmul__") else checks.as_dense(matrix).__matmul__
    v = np.random.default_rng(1).standard_normal(solver.n)
    x = solver.solve(v)
    residual = np.linalg.norm(matrix(x.copy()) - v) / np.linalg.norm(v)
    growth = np.linalg.norm(matrix(v.copy())) * np.linalg.norm(x) / (v @ v)
    allowed = max(tol, min(1000 * np.finfo(float).eps * growth, 0.1))
    if not residual <= allowed:
        raise SolveFailed(
            residual,
            1,
            f"{solver.description} does not solve with the matrix at the base point (|H x - v| <= {allowed:.0e} "
            f"|v| is needed): "
            "compute it at the base point itself, as v -> H^{-1} v without a minus sign, or solve to a tighter "
            "tolerance",
        )
