"""Conjugate gradients for symmetric positive definite ``A``, known by its products ``A v`` alone.

The residual is computed afresh at the end: the recursively updated one that the iteration stops by drifts away from it
(van der Vorst & Ye, SIAM J. Sci. Comput. 22 (2000) 835). Each product checks the curvature ``v.A v > 0``.
"""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, cg

from ..errors import NotPositiveDefiniteError, NotSymmetricError, ShapeError, SolveFailed
from . import checks
from .base import Solver

__all__ = ["ConjugateGradient"]


class ConjugateGradient(Solver):
    """Conjugate gradient solver, one column of the right-hand side after the other.

    Parameters
    ----------
    matrix : callable, sparse or array_like of shape (n, n)
        Symmetric positive definite, or a function ``v -> A v`` of ``(n,)``.
    n : int, default=None
        Size; needed where ``matrix`` is a function.
    preconditioner : callable, solver or "diagonal", default=None
        Symmetric positive definite approximation of ``A^{-1}``: a function ``v -> M v``, anything with ``solve``, or
        ``"diagonal"`` for the reciprocal diagonal of a matrix that is given as such.
    rtol : float, default=1e-12
        Largest true residual ``|A x - b| / |b|``. Where rounding forbids it, ``10 eps |A| |x| / |b|`` is accepted.
    maxiter : int, default=None
        Most iterations for a column; ``10 n``, at least 100, if None.

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError
        At construction from what can be seen of the matrix there.

    Notes
    -----
    ``solve`` raises :class:`SolveFailed` with the residual and the iteration count where the tolerance is not
    reached, and :class:`NotPositiveDefiniteError` where it meets a direction of non-positive curvature. A matrix that
    is indefinite in directions which no right-hand side excites is not found out; its solutions are right all the same.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import ConjugateGradient
    >>> ConjugateGradient(lambda v: 2.0 * v, n=3).solve(np.ones(3))
    array([0.5, 0.5, 0.5])
    """

    def __init__(self, matrix, n=None, preconditioner=None, rtol=1e-12, maxiter=None):
        if not (np.finfo(float).eps <= rtol < 1):
            raise ValueError(f"rtol={rtol}: a relative residual between 2.2e-16 and 1 is needed.")
        if maxiter is not None and maxiter < 1:
            raise ValueError(f"maxiter={maxiter}: at least 1 iteration is needed.")
        diagonal = None
        if callable(matrix) and not isinstance(matrix, LinearOperator):
            if n is None:
                raise ShapeError("the matrix is given as a function, its size is not known: pass n.")
            self._product = matrix
        elif isinstance(matrix, LinearOperator):
            n = matrix.shape[0] if n is None else n
            self._product = matrix.matvec
        else:
            own = checks.as_sparse(matrix) if scipy.sparse.issparse(matrix) else checks.as_dense(matrix).copy()
            own = checks.symmetrised(own)
            if n is not None and n != own.shape[0]:
                raise ShapeError(f"matrix of shape {own.shape}, but n = {n}.")
            n = own.shape[0]
            diagonal = own.diagonal()
            if n:
                checks.symmetric_scale(own)
            self._product = own.__matmul__
        self._rtol = rtol
        self._maxiter = max(10 * n, 100) if maxiter is None else int(maxiter)
        self._preconditioner, name = _as_preconditioner(preconditioner, diagonal)
        super().__init__(n, f"conjugate gradient, {n} x {n}, {name}, relative residual {rtol:.0e}")
        if n and diagonal is None:
            self._check_symmetry()

    def _check_symmetry(self):
        u, v = np.random.default_rng(0).standard_normal((2, self.n))
        au, av = self._apply(u), self._apply(v)
        difference = abs(v @ au - u @ av) / max(np.linalg.norm(v) * np.linalg.norm(au), np.finfo(float).tiny)
        if not difference <= checks.SYMMETRY_TOL:
            raise NotSymmetricError(
                f"the product is not symmetric: v.(A u) and u.(A v) differ by {difference:.1e} of |v| |A u| "
                f"(tolerance {checks.SYMMETRY_TOL:.0e}): use solver='lu' or 'superlu' if it is no Hessian."
            )

    def _apply(self, v):
        result = np.array(self._product(v.copy()), dtype=float)
        if result.shape != (self.n,):
            raise ShapeError(f"the product with a vector of shape ({self.n},) has shape {result.shape}.")
        return result

    def _solve(self, rhs):
        if rhs.ndim == 1:
            return self._solve_column(rhs)
        return np.stack([self._solve_column(column) for column in rhs.T], axis=1)

    def _solve_column(self, rhs):
        if not np.isfinite(rhs).all():
            return np.full(self.n, np.nan)
        size = abs(rhs).max()
        if size == 0:
            return np.zeros(self.n)
        # Scaled to norm one: SciPy's stopping rule squares the entries.
        b = rhs / size
        norm = np.linalg.norm(b)
        return self._iterate(b / norm) * norm * size

    def _iterate(self, b):
        """Solution for ``|b| = 1``."""
        watch = _Watch(self._apply, self._preconditioner, self.n)
        # Half the tolerance, because the true residual drifts away from the one that SciPy stops by.
        x, _ = cg(
            watch.operator,
            b,
            rtol=0.5 * self._rtol,
            maxiter=self._maxiter,
            M=watch.preconditioner,
            callback=watch.count,
        )
        residual = np.linalg.norm(self._apply(x) - b)
        rounding = 10 * np.finfo(float).eps * watch.largest * np.linalg.norm(x)
        # Rounding excuses a residual of 1e-3 at most: beyond it nothing of the solution is known.
        if not residual <= max(self._rtol, min(rounding, 1e-3)):
            raise SolveFailed(residual, watch.iterations)
        return x


class _Watch:
    """The operators handed to SciPy, which check the curvature of each product and keep count."""

    def __init__(self, apply, preconditioner, n):
        self.iterations = 0
        self.largest = 0.0  # lower bound of the 2-norm of A
        self._apply, self._precondition = apply, preconditioner
        self.operator = LinearOperator((n, n), matvec=self._product, dtype=float)
        self.preconditioner = None
        if preconditioner is not None:
            self.preconditioner = LinearOperator((n, n), matvec=self._preconditioned, dtype=float)

    def count(self, _):
        self.iterations += 1

    def _product(self, v):
        result = self._apply(v)
        norm = np.linalg.norm(v)
        curvature = (v / norm) @ result / norm if norm else 1.0
        if not curvature > 0:
            raise NotPositiveDefiniteError(
                f"the matrix is not positive definite: curvature v.A v / v.v = {curvature:.1e} at iteration "
                f"{self.iterations}: "
                f"saddle or not identified; {checks.MINIMUM_REMEDY}."
            )
        self.largest = max(self.largest, np.linalg.norm(result) / norm if norm else 0.0)
        return result

    def _preconditioned(self, r):
        result = np.array(self._precondition(r.copy()), dtype=float)
        if result.shape != r.shape:
            raise ShapeError(f"the preconditioner turns a vector of shape {r.shape} into one of shape {result.shape}.")
        if np.any(r) and not r @ result > 0:
            raise NotPositiveDefiniteError(
                f"the preconditioner M is not positive definite: r.M r = {r @ result:.1e}: pass an approximate "
                f"inverse of the matrix "
                "that is symmetric positive definite, or preconditioner='diagonal'."
            )
        return result


def _as_preconditioner(preconditioner, diagonal):
    """The function ``r -> M r`` (or None) and its name."""
    if preconditioner is None:
        return None, "no preconditioner"
    if isinstance(preconditioner, str):
        if preconditioner != "diagonal":
            raise ValueError(f"preconditioner {preconditioner!r}: expected 'diagonal', a function, or a solver.")
        if diagonal is None:
            raise ValueError("preconditioner 'diagonal' needs the matrix itself: pass r -> r / diagonal as a function.")
        return (lambda r: r / diagonal), "diagonal preconditioner"
    if hasattr(preconditioner, "solve"):
        return preconditioner.solve, f"preconditioner: {getattr(preconditioner, 'description', 'a solver')}"
    if callable(preconditioner):
        return preconditioner, "preconditioner: a function"
    raise TypeError(
        f"preconditioner of type {type(preconditioner).__name__}: expected a function, a solver or 'diagonal'."
    )
