"""Functions ``v -> H^{-1} v`` from a matrix, a Cholesky factor or products, as vittles has them.

Each is the ``solve`` of a solver of :mod:`vittles_ng.solvers`: ``v`` is ``(n,)`` or ``(n, n_rhs)``, and a matrix that
is not symmetric positive definite raises when the function is made, not when it is used.
"""

import numpy as np
import scipy.sparse
from scipy.linalg import cho_solve
from scipy.sparse.linalg import LinearOperator

from ..errors import MismatchError, NotPositiveDefiniteError, ShapeError, SolveFailed, VittlesError
from ..problem import real_array
from ..recursion import checked_integer
from ..solvers import CallableSolver, ConjugateGradient, DenseCholesky, Solver, check_solves, choose_solver
from ..solvers.checks import as_dense, symmetrised

__all__ = [
    "get_cg_solver",
    "get_cholesky_solver",
    "get_dense_cholesky_solver",
    "get_sparse_cholesky_solver",
    "unwrapped",
]

_REFUSED = {
    "atol": "an absolute tolerance depends on the units of the right-hand side; pass rtol",
    "x0": "one start cannot suit every right-hand side; pass M, an approximate inverse",
    "callback": "the residual and the iterations of a failed solve are on SolveFailed",
}
#: What errors of NumPy and SciPy about a vector of another length have in them.
_OF_LENGTH = ("shape", "dimension", "size", "broadcast")


def get_dense_cholesky_solver(h, h_chol=None):
    """Function that solves with a dense symmetric positive definite matrix, by its Cholesky factor.

    Parameters
    ----------
    h : array_like of shape (n, n), or None with ``h_chol``
        The matrix.
    h_chol : tuple, default=None
        What ``scipy.linalg.cho_factor`` gave: used in place of factoring ``h``. Where ``h`` is given too, the two are
        compared on a random vector.

    Returns
    -------
    callable
        ``v -> h^{-1} v`` for v of shape (n,) or (n, n_rhs).

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError
        The matrix or the factor is not what is needed.
    MismatchError
        ``h_chol`` is no factor of ``h``.

    Examples
    --------
    >>> import numpy as np, scipy.linalg
    >>> from vittles_ng.linear import get_dense_cholesky_solver
    >>> h = np.array([[4.0, 2.0], [2.0, 3.0]])
    >>> get_dense_cholesky_solver(h)(np.array([8.0, 8.0])).round(12)
    array([1., 2.])
    >>> solve = get_dense_cholesky_solver(None, h_chol=scipy.linalg.cho_factor(h))
    >>> solve(np.array([8.0, 8.0])).round(12)
    array([1., 2.])
    """
    if h_chol is None:
        if h is None:
            raise TypeError("neither a matrix h nor its factor h_chol was given.")
        return DenseCholesky(h).solve
    solver = _from_factor(h_chol)
    if h is not None:
        h = symmetrised(as_dense(h))
        if h.shape != solver.shape:
            raise ShapeError(f"h has shape {h.shape}, its factor h_chol {solver.shape}.")
        try:
            check_solves(solver, h)
        except SolveFailed as error:
            raise MismatchError(
                f"h_chol is no Cholesky factor of h: |h x - v| = {error.residual:.1e} |v| for a random v: pass "
                "scipy.linalg.cho_factor(h), or leave it out."
            ) from error
    return solver.solve


def _from_factor(h_chol):
    """The solver of what cho_factor gives: a matrix of which one triangle counts, and which one."""
    if not isinstance(h_chol, (tuple, list)) or len(h_chol) != 2:
        raise TypeError("h_chol must be the pair (factor, lower) that scipy.linalg.cho_factor returns.")
    factor, lower = np.asarray(h_chol[0]), bool(h_chol[1])
    if factor.ndim != 2 or factor.shape[0] != factor.shape[1]:
        raise ShapeError(f"h_chol has a factor of shape {factor.shape}: a square one is needed.")
    triangle = real_array(np.tril(factor) if lower else np.triu(factor), "h_chol")
    diagonal = triangle.diagonal()
    if not np.all(diagonal > 0.0):
        worst = int(np.argmin(diagonal))
        raise NotPositiveDefiniteError(
            f"h_chol has {diagonal[worst]:.1e} on its diagonal at {worst}: a Cholesky factor's is positive."
        )
    n = len(factor)
    return CallableSolver(lambda v: cho_solve((triangle, lower), v), n, symmetric=True, description="Cholesky given")


def get_sparse_cholesky_solver(h):
    """Function that solves with a sparse symmetric positive definite matrix.

    Parameters
    ----------
    h : sparse of shape (n, n)
        Of any SciPy format.

    Returns
    -------
    callable
        ``v -> h^{-1} v`` for v of shape (n,) or (n, n_rhs); by CHOLMOD, by a Schur complement where ``h`` is a block
        arrow, or by SuperLU where scikit-sparse is not installed.

    Raises
    ------
    ValueError
        ``h`` is not sparse.
    ShapeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError
        The matrix is not what is needed.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> from vittles_ng.linear import get_sparse_cholesky_solver
    >>> h = scipy.sparse.csc_array([[4.0, 2.0], [2.0, 3.0]])
    >>> get_sparse_cholesky_solver(h)(np.array([8.0, 8.0])).round(12)
    array([1., 2.])
    """
    if not scipy.sparse.issparse(h):
        raise ValueError(f"h of type {type(h).__name__} is not sparse: use get_dense_cholesky_solver.")
    return choose_solver(h, positive_definite=True).solve


def get_cholesky_solver(h):
    """Function that solves with a symmetric positive definite matrix, dense or sparse.

    Parameters
    ----------
    h : array_like or sparse of shape (n, n)

    Returns
    -------
    callable
        ``v -> h^{-1} v`` for v of shape (n,) or (n, n_rhs).

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError
        The matrix is not what is needed.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.linear import get_cholesky_solver
    >>> get_cholesky_solver(np.diag([2.0, 4.0]))(np.ones(2))
    array([0.5 , 0.25])
    """
    return get_sparse_cholesky_solver(h) if scipy.sparse.issparse(h) else get_dense_cholesky_solver(h)


def get_cg_solver(mat_times_vec, dim, cg_opts=None):
    """Function that solves with a symmetric positive definite matrix known by its products, by conjugate gradients.

    Parameters
    ----------
    mat_times_vec : callable
        ``v -> h v`` for v of shape (dim,).
    dim : int
        Length of the vectors; ``mat_times_vec`` is called with one of ones, to see that it takes it.
    cg_opts : dict, default=None
        ``rtol`` (``tol`` in older SciPy), the largest true residual ``|h x - v| / |v|``, default 1e-12; ``maxiter``,
        default ``10 dim``, at least 100; ``M``, an approximate inverse: a matrix, a ``LinearOperator`` or a function.
        ``atol``, ``x0`` and ``callback`` are refused.

    Returns
    -------
    callable
        ``v -> h^{-1} v`` for v of shape (dim,) or (dim, n_rhs).

    Raises
    ------
    SolveFailed
        The tolerance is not reached, with the residual and the iterations; when the function is made, or when it is
        used.
    NotSymmetricError, NotPositiveDefiniteError
        The products are not those of such a matrix; found by a solve with a random vector when the function is made.
    ShapeError
        ``mat_times_vec`` does not make a vector of length ``dim`` of one.
    TypeError
        Options that are not known, or that would have no effect.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.linear import get_cg_solver
    >>> solve = get_cg_solver(lambda v: np.array([2.0, 4.0]) * v, 2, {"rtol": 1e-10})
    >>> solve(np.ones(2)).round(9)
    array([0.5 , 0.25])
    """
    dim = checked_integer(dim, "dim", 0)
    if not isinstance(cg_opts, (dict, type(None))):
        raise TypeError(f"cg_opts must be a dict of options, got {type(cg_opts).__name__}.")
    options = dict(cg_opts or {})
    for name in options:
        if name in _REFUSED:
            raise TypeError(f"cg_opts[{name!r}]: {_REFUSED[name]}.")
        if name not in ("rtol", "tol", "maxiter", "M"):
            raise TypeError(f"cg_opts[{name!r}] is not known: rtol, maxiter and M are.")
    if "tol" in options and "rtol" in options:
        raise TypeError("cg_opts has both tol and rtol, two names of one thing: pass rtol.")
    chosen = {"rtol": options.get("rtol", options.get("tol")), "maxiter": options.get("maxiter")}
    chosen["preconditioner"] = _preconditioner(options.get("M"), dim)
    chosen = {name: value for name, value in chosen.items() if value is not None}
    _check_length(mat_times_vec, dim)
    solver = ConjugateGradient(mat_times_vec, dim, **chosen)
    solver.check_definite()
    return solver.solve


def _check_length(mat_times_vec, dim):
    """Raise unless products turn vectors of length dim into such."""
    if dim == 0 or not callable(mat_times_vec):
        return
    remedy = f"dim={dim} must be the number of rows and columns of the matrix."
    try:
        shape = np.shape(mat_times_vec(np.ones(dim)))
    except (ValueError, IndexError) as error:
        if isinstance(error, VittlesError) or not any(word in str(error) for word in _OF_LENGTH):
            raise
        raise ShapeError(f"mat_times_vec does not take a vector of shape ({dim},) ({error}): {remedy}") from error
    if shape != (dim,):
        raise ShapeError(f"mat_times_vec turns a vector of shape ({dim},) into an array of shape {shape}: {remedy}")


def _preconditioner(given, dim):
    """What conjugate gradients take: a function of one vector in place of a matrix."""
    if isinstance(given, (np.ndarray, list)):
        given = real_array(given, "cg_opts['M']")
    elif scipy.sparse.issparse(given):
        given = given.copy()
    elif not isinstance(given, LinearOperator):
        return given
    if given.shape != (dim, dim):
        raise ShapeError(f"cg_opts['M'] has shape {given.shape}: ({dim}, {dim}) is needed.")
    return lambda v: given @ v


def unwrapped(solver):
    """The solver whose ``solve`` a function is, where it is one: it knows its transpose and its condition."""
    owner = getattr(solver, "__self__", None)
    return owner if isinstance(owner, Solver) and getattr(solver, "__name__", "") == "solve" else solver
