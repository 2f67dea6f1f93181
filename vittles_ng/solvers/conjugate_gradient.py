"""Conjugate gradients for symmetric positive definite ``A``, known by its products ``A v`` alone.

Several right-hand sides go side by side, each with its own step lengths, so that a product that takes several vectors
is called once an iteration. The residual is computed afresh at the end: the recursively updated one that the iteration
stops by drifts away from it (van der Vorst & Ye, SIAM J. Sci. Comput. 22 (2000) 835). Each product checks the curvature
``v.A v > 0``.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from ..errors import NonFiniteError, NotPositiveDefiniteError, NotSymmetricError, ShapeError, SolveFailed
from . import checks
from .base import Solver
from .preconditioners import make_preconditioner

__all__ = ["CGOptions", "ConjugateGradient", "cg", "make_cg"]

#: Elements of one of the arrays of an iteration: more right-hand sides than fit are solved for in turns.
BLOCK_ELEMENTS = 1 << 22
#: Residual of :meth:`ConjugateGradient.check_definite`: below the part that any direction has in a random vector.
DEFINITE_RTOL = 1e-6


@dataclass(frozen=True, eq=False)
class CGOptions:
    """How conjugate gradients are to solve; made by :func:`cg`, taken wherever ``solver`` takes ``"cg"``.

    Parameters
    ----------
    preconditioner, rtol, maxiter, diagonal, blocks
        Of :class:`ConjugateGradient`.
    """

    preconditioner: object = None
    rtol: float = 1e-12
    maxiter: int | None = None
    diagonal: object = None
    blocks: object = None

    def __post_init__(self):
        if not (np.finfo(float).eps <= self.rtol < 1):
            raise ValueError(f"rtol={self.rtol}: a relative residual between 2.2e-16 and 1 is needed.")
        if self.maxiter is not None and self.maxiter < 1:
            raise ValueError(f"maxiter={self.maxiter}: at least 1 iteration is needed.")


def cg(preconditioner=None, rtol=1e-12, maxiter=None, *, diagonal=None, blocks=None):
    """Options of conjugate gradients, for the ``solver`` argument of an expansion or of :func:`choose_solver`.

    Parameters
    ----------
    preconditioner, rtol, maxiter, diagonal, blocks
        Of :class:`ConjugateGradient`.

    Returns
    -------
    CGOptions

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng import solvers
    >>> solver = solvers.choose_solver(np.diag([1.0, 4.0]), solvers.cg("diagonal", rtol=1e-10))
    >>> solver.solve(np.ones(2))
    array([1.  , 0.25])
    """
    return CGOptions(preconditioner, rtol, maxiter, diagonal, blocks)


def make_cg(options, product, n, matrix=None, takes_rows=False):
    """The conjugate gradient solver of a matrix that is known by its products, and perhaps as a matrix too.

    Parameters
    ----------
    options : CGOptions or "cg"
    product : callable
        ``v -> A v`` of ``(n,)``.
    n : int
        Size.
    matrix : sparse or array_like of shape (n, n), default=None
        A itself, where it is known: used for the products and the preconditioner.
    takes_rows : bool, default=False
        Whether ``product`` takes vectors as rows, ``(n_vectors, n)``, in place of one.

    Returns
    -------
    ConjugateGradient

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import make_cg
    >>> make_cg("cg", lambda v: 2.0 * v, 3).solve(np.ones(3))
    array([0.5, 0.5, 0.5])
    """
    options = CGOptions() if options == "cg" else options
    arguments = {name: getattr(options, name) for name in options.__dataclass_fields__}
    if matrix is not None:
        return ConjugateGradient(matrix, n, **arguments)
    return ConjugateGradient(product, n, takes_rows=takes_rows, **arguments)


class ConjugateGradient(Solver):
    """Conjugate gradient solver.

    Parameters
    ----------
    matrix : callable, sparse or array_like of shape (n, n)
        Symmetric positive definite, or a function ``v -> A v`` of ``(n,)``. A function may have an ``accuracy``, the
        relative error of its products (:func:`vittles_ng.finite_differences.hessian_product` has): its symmetry is
        checked to 10 times that.
    n : int, default=None
        Size; needed where ``matrix`` is a function without an attribute ``n``.
    preconditioner : callable, solver, "diagonal" or "block", default=None
        Symmetric positive definite approximation of ``A^{-1}``: a function ``v -> M v``; anything with ``solve``, such
        as the factor at a nearby point; ``"diagonal"``, the reciprocal diagonal; ``"block"``, the inverses of the
        diagonal blocks.
    rtol : float, default=1e-12
        Largest true residual ``|A x - b| / |b|``. Where rounding forbids it, ``10 eps |A| |x| / |b|`` is accepted.
    maxiter : int, default=None
        Most iterations for a column; ``10 n``, at least 100, if None.
    diagonal : array_like of shape (n,), default=None
        The diagonal for ``"diagonal"``; needed where ``matrix`` is a function.
    blocks : sequence of index arrays, default=None
        Inputs that make a block each, for ``"block"``; inputs in none are blocks of one. None: the blocks and the
        globals of the arrow (:func:`arrow`) that ``matrix`` is.
    takes_rows : bool, default=False
        Whether the function ``matrix`` takes several vectors as rows, ``(n_vectors, n)``, and is called so.

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError
        At construction from what can be seen of the matrix there.

    Notes
    -----
    ``solve`` raises :class:`SolveFailed` with the residual and the iteration count where the tolerance is not
    reached, and :class:`NotPositiveDefiniteError` where it meets a direction of non-positive curvature. A matrix that
    is indefinite in directions which no right-hand side excites is found out by :meth:`check_definite` alone, which
    costs a solve; an expansion calls it.

    References
    ----------
    M. R. Hestenes, E. Stiefel, J. Res. Natl. Bur. Stand. 49 (1952) 409.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import ConjugateGradient
    >>> ConjugateGradient(lambda v: 2.0 * v, n=3).solve(np.ones(3))
    array([0.5, 0.5, 0.5])
    """

    def __init__(
        self,
        matrix,
        n=None,
        preconditioner=None,
        rtol=1e-12,
        maxiter=None,
        diagonal=None,
        blocks=None,
        takes_rows=False,
    ):
        options = CGOptions(preconditioner, rtol, maxiter, diagonal, blocks)
        own = None
        if callable(matrix) and not isinstance(matrix, LinearOperator):
            n = getattr(matrix, "n", None) if n is None else n
            if n is None:
                raise ShapeError("the matrix is given as a function, its size is not known: pass n.")
            products = matrix if takes_rows else _by_row(matrix)
        elif isinstance(matrix, LinearOperator):
            n = matrix.shape[0] if n is None else n
            products = _by_row(matrix.matvec)
        else:
            own = _own(matrix, n)
            n = own.shape[0]
            products = _by_matrix(own)
        self._products, self._accuracy = products, float(getattr(matrix, "accuracy", 0.0))
        self._rtol, self._maxiter = rtol, max(10 * n, 100) if maxiter is None else int(maxiter)
        self._precondition, name = make_preconditioner(options, n, own)
        super().__init__(n, f"conjugate gradient, {n} x {n}, {name}, relative residual {rtol:.0e}")
        if n and own is None:
            self._check_symmetry()

    def _check_symmetry(self):
        u, v = pair = np.random.default_rng(0).standard_normal((2, self.n))
        au, av = self._apply(pair)
        tol = max(checks.SYMMETRY_TOL, 10.0 * self._accuracy)
        difference = abs(v @ au - u @ av) / max(np.linalg.norm(v) * np.linalg.norm(au), np.finfo(float).tiny)
        if not difference <= tol:
            raise NotSymmetricError(
                f"the product is not symmetric: v.(A u) and u.(A v) differ by {difference:.1e} of |v| |A u| "
                f"(tolerance {tol:.0e}): use solver='lu' or 'superlu' if it is no Hessian."
            )

    def check_definite(self):
        """Solve with a random right-hand side, which has a part along every direction, to 1e-6 (``rtol`` if larger).

        Raises
        ------
        NotPositiveDefiniteError, SolveFailed
            The matrix is indefinite, singular or too ill conditioned.
        """
        if self.n:
            b = np.random.default_rng(2).standard_normal((1, self.n))
            with np.errstate(over="ignore", invalid="ignore"):
                self._iterate(b / _norms(b)[:, None], max(self._rtol, DEFINITE_RTOL))

    def _apply(self, rows):
        result = np.array(self._products(rows.copy()), dtype=float)
        if result.shape != rows.shape:
            raise ShapeError(f"the product with vectors of shape {rows.shape} has shape {result.shape}.")
        # Directions beyond that are those of an iteration that diverges, whose curvature is found out.
        if not np.isfinite(result).all() and np.abs(rows).max() < 1e100:
            raise NonFiniteError(
                f"the product A v has {np.count_nonzero(~np.isfinite(result))} NaN or infinite elements: evaluate the "
                "function and its derivatives at the base point to find where they overflow."
            )
        return result

    def _solve(self, rhs):
        rows = rhs[None, :] if rhs.ndim == 1 else rhs.T
        x = np.empty(rows.shape)
        n_rows = max(1, BLOCK_ELEMENTS // self.n)
        for start in range(0, len(rows), n_rows):
            x[start : start + n_rows] = self._solve_rows(rows[start : start + n_rows])
        return x[0] if rhs.ndim == 1 else x.T

    def _solve_rows(self, rows):
        x = np.zeros(rows.shape)
        finite = np.isfinite(rows).all(axis=1)
        x[~finite] = np.nan
        size = np.max(np.abs(rows), axis=1)
        todo = np.flatnonzero(finite & (size > 0))
        if todo.size:
            # Scaled to norm one in two steps: squares of the entries may be out of range.
            b = rows[todo] / size[todo, None]
            norm = _norms(b)[:, None]
            # A singular matrix drives the iteration beyond the range of numbers, which the checks then name.
            with np.errstate(over="ignore", invalid="ignore"):
                solved = self._iterate(b / norm, self._rtol)
            x[todo] = solved * norm * size[todo, None]
        return x

    def _iterate(self, b, rtol):
        """Solutions for rows b of norm one; Hestenes & Stiefel's iteration, for each row on its own.

        alpha = r.z / p.A p,  x += alpha p,  r -= alpha A p,  z = M r,  p = z + (r.z / previous r.z) p
        """
        x, r = np.zeros(b.shape), b.copy()
        iterations = np.zeros(len(b), dtype=int)
        largest = np.zeros(len(b))  # lower bound of the 2-norm of A
        z, rz = self._preconditioned(r)
        p = z.copy()
        going = np.arange(len(b))
        for iteration in range(1, self._maxiter + 1):
            product, curvature = self._curved(p, iteration - 1)
            alpha = (rz / curvature)[:, None]
            x[going] += alpha * p
            r -= alpha * product
            iterations[going] = iteration
            largest[going] = np.maximum(largest[going], _norms(product) / _norms(p))
            # Half the tolerance, because the true residual drifts away from this one.
            on = ~(_norms(r) <= 0.5 * rtol)
            if not on.any():
                break
            going, r, p = going[on], r[on], p[on]
            z, new = self._preconditioned(r)
            p = z + (new / rz[on])[:, None] * p
            rz = new
        self._check_residuals(x, b, iterations, largest, rtol)
        return x

    def _curved(self, p, iteration):
        """``A p`` and ``p.A p`` for rows p, which must be positive."""
        product = self._apply(p)
        square = np.einsum("ij,ij->i", p, p)
        curvature = np.einsum("ij,ij->i", p, product)
        bad = np.flatnonzero(~(curvature > 0))
        if bad.size:
            worst = curvature[bad[0]] / square[bad[0]]
            raise NotPositiveDefiniteError(
                f"the matrix is not positive definite: curvature v.A v / v.v = {worst:.1e} at iteration {iteration}: "
                f"saddle or not identified; {checks.MINIMUM_REMEDY}."
            )
        return product, curvature

    def _preconditioned(self, r):
        """``z = M r`` and ``r.z`` for rows r, which must be positive."""
        z = r.copy() if self._precondition is None else self._precondition(r)
        rz = np.einsum("ij,ij->i", r, z)
        bad = np.flatnonzero(~(rz > 0))
        if bad.size:
            raise NotPositiveDefiniteError(
                f"the preconditioner M is not positive definite: r.M r = {rz[bad[0]]:.1e}: pass an approximate "
                "inverse of the matrix that is symmetric positive definite, or preconditioner='diagonal'."
            )
        return z, rz

    def _check_residuals(self, x, b, iterations, largest, rtol):
        residual = _norms(self._apply(x) - b)
        rounding = 10 * np.finfo(float).eps * largest * _norms(x)
        # Rounding excuses a residual of 1e-3 at most: beyond it nothing of the solution is known.
        excess = residual / np.maximum(rtol, np.minimum(rounding, 1e-3))
        worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
        if excess[worst] <= 1:
            return
        reachable = self._accuracy * largest[worst] * np.linalg.norm(x[worst])
        if reachable > 0.1 * rtol:
            raise SolveFailed(
                residual[worst],
                iterations[worst],
                f"the products are good to about {self._accuracy:.0e} only, the residual to {reachable:.0e}, and "
                f"rtol={rtol:.0e} was asked for: pass rtol={min(10 * reachable, 0.1):.0e} or more, or exact "
                "products",
            )
        raise SolveFailed(residual[worst], iterations[worst])


def _own(matrix, n):
    """A checked copy of a matrix."""
    own = checks.as_sparse(matrix) if scipy.sparse.issparse(matrix) else checks.as_dense(matrix).copy()
    own = checks.symmetrised(own)
    if n is not None and n != own.shape[0]:
        raise ShapeError(f"matrix of shape {own.shape}, but n = {n}.")
    if own.shape[0]:
        checks.symmetric_scale(own)
    return own


def _by_matrix(matrix):
    # one vector: no product with a transposed copy
    return lambda rows: (matrix @ rows[0])[None, :] if len(rows) == 1 else (matrix @ rows.T).T


def _by_row(product):
    def products(rows):
        results = [np.array(product(row), dtype=float) for row in rows]
        for result in results:
            if result.shape != rows.shape[1:]:
                raise ShapeError(f"the product with a vector of shape {rows.shape[1:]} has shape {result.shape}.")
        return np.stack(results)

    return products


def _norms(rows):
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))
