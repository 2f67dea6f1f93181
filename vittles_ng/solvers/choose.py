"""Which solver suits a matrix."""

import functools
import logging

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from ..errors import NotPositiveDefiniteError, ShapeError
from . import checks
from .arrow import arrow
from .base import Solver
from .callable_solver import CallableSolver, check_solves
from .cholmod import Cholmod
from .conjugate_gradient import CGOptions, cg, make_cg
from .dense_cholesky import DenseCholesky
from .dense_lu import DenseLU
from .schur import Schur
from .superlu import SuperLU

__all__ = ["SOLVERS", "choose_solver", "as_solver"]

#: Values of ``solver``.
SOLVERS = ("auto", "cholesky", "lu", "cholmod", "superlu", "schur", "cg")
#: Those that need a symmetric positive definite matrix, and check that it is.
DEFINITE = {"cholesky": DenseCholesky, "cholmod": Cholmod, "schur": Schur}
#: A block arrow is factored as one from this size on, with as many globals, both as a number and for each input of a
#: block, and if it stores as large a share of a full arrow: measured, CHOLMOD is as fast or faster elsewhere.
SCHUR_MIN_N, SCHUR_MIN_GLOBAL, SCHUR_MIN_RATIO, SCHUR_MIN_FILL = 1000, 20, 2.0, 0.5


def choose_solver(
    matrix, solver="auto", symmetric=None, positive_definite=None, *, preconditioner=None, rtol=None, maxiter=None
):
    """Make a solver from a matrix; its ``description`` says what was chosen.

    Parameters
    ----------
    matrix : array_like or sparse of shape (n, n)
        Never changed.
    solver : {"auto", "cholesky", "lu", "cholmod", "superlu", "schur", "cg"} or CGOptions, default="auto"
        "auto" takes, for a positive definite matrix, dense Cholesky or, sparse, CHOLMOD (SuperLU where scikit-sparse is
        not installed), or :class:`Schur` where the pattern is a block arrow for which that is faster; for any other,
        dense LU or, sparse, SuperLU. A matrix of the other kind is converted. Conjugate gradients have options,
        :func:`cg`.
    symmetric : bool, default=None
        True claims it (checked); False treats the matrix as general; None looks.
    positive_definite : bool, default=None
        True claims it, as an objective's minimum must (checked, whichever the solver; implies ``symmetric``); False
        takes no solver that needs it; None tries.
    preconditioner, rtol, maxiter
        Of :func:`cg`; with ``solver="cg"`` only.

    Returns
    -------
    Solver

    Raises
    ------
    ShapeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError, SingularError
        If the matrix is not what is claimed or what the solver needs; each names the number and the remedy.
    ValueError
        If ``solver`` is unknown or contradicts the claims, or "schur" and the pattern is no block arrow.
    ImportError
        If CHOLMOD is asked for and not installed.

    Notes
    -----
    A block arrow is taken for one by "auto" where it has 1000 inputs and 20 globals at least, two globals for each
    input of a block, and stores half of a full arrow: there the Schur complement is 1.5 to 10 times faster than
    CHOLMOD; elsewhere, such as for blocks alone, CHOLMOD is.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import choose_solver
    >>> choose_solver(np.diag([1.0, 2.0]), positive_definite=True).description
    'dense Cholesky, 2 x 2'
    >>> choose_solver(np.array([[1.0, 2.0], [0.0, 1.0]])).description
    'dense LU, 2 x 2'
    """
    options = {"preconditioner": preconditioner, "rtol": rtol, "maxiter": maxiter}
    options = {name: value for name, value in options.items() if value is not None}
    _check_claims(solver, symmetric, positive_definite, options)
    is_sparse = scipy.sparse.issparse(matrix)
    if solver == "cg" or isinstance(solver, CGOptions):
        return make_cg(cg(**options) if solver == "cg" else solver, None, None, matrix)
    if solver in DEFINITE:
        return DEFINITE[solver](matrix)
    if solver == "auto" and positive_definite:
        return _definite(matrix, is_sparse)
    matrix = checks.as_sparse(matrix, copy=False) if is_sparse else checks.as_dense(matrix)
    if symmetric or positive_definite:
        matrix = checks.symmetrised(matrix)
    if solver == "auto":
        return _automatic(matrix, is_sparse, symmetric, positive_definite)
    if solver == "superlu":
        return SuperLU(matrix, positive_definite=bool(positive_definite))
    if positive_definite:
        # The claim is checked by factoring: the LU pivots do not show it.
        DenseCholesky(matrix)
    return DenseLU(matrix)


def _check_claims(solver, symmetric, positive_definite, cg_options):
    name = "cg" if isinstance(solver, CGOptions) else solver
    if not isinstance(name, str) or name not in SOLVERS:
        raise ValueError(f"solver={solver!r} is not known: use one of {', '.join(map(repr, SOLVERS))}, or cg(...).")
    if cg_options and solver != "cg":
        raise ValueError(f"{', '.join(cg_options)} are for solver='cg' only, not for solver={solver!r}.")
    if positive_definite and symmetric is False:
        raise ValueError(
            "positive_definite=True contradicts symmetric=False: a positive definite matrix is symmetric here."
        )
    if (name in DEFINITE or name == "cg") and (symmetric is False or positive_definite is False):
        raise ValueError(f"solver={name!r} needs a symmetric positive definite matrix: use 'lu' or 'superlu'.")


def _automatic(matrix, is_sparse, symmetric, positive_definite):
    general = SuperLU if is_sparse else DenseLU
    if symmetric is None:
        symmetric = checks.is_symmetric(matrix)
    if not symmetric or positive_definite is False:
        return general(matrix)
    try:
        return _definite(matrix, is_sparse)
    except NotPositiveDefiniteError:
        return general(matrix)


def _definite(matrix, is_sparse):
    if not is_sparse:
        return DenseCholesky(matrix)
    matrix = checks.as_sparse(matrix, copy=False)
    structure = arrow(matrix) if matrix.shape[0] >= SCHUR_MIN_N else None
    if structure is not None and _schur_is_faster(structure, matrix.nnz):
        return Schur(matrix, structure)
    try:
        return Cholmod(matrix)
    except ImportError:
        _say_once("CHOLMOD is not installed (pip install 'vittles_ng[sparse]'): using SciPy's SuperLU instead.")
        return SuperLU(matrix, positive_definite=True, note=" (CHOLMOD is not installed)")


def _schur_is_faster(structure, n_entries):
    n_blocks = sum(len(blocks) for blocks in structure.blocks)
    least = max(SCHUR_MIN_GLOBAL, SCHUR_MIN_RATIO * structure.n_local / max(n_blocks, 1))
    return structure.n_global >= least and n_entries >= SCHUR_MIN_FILL * structure.full_entries


@functools.cache
def _say_once(message):
    logging.getLogger("vittles_ng").info(message)


def as_solver(given, n, matrix=None, *, solver="auto", symmetric=None, positive_definite=None, tol=1e-6):
    """A :class:`Solver` of size n from whatever a user has.

    Parameters
    ----------
    given : Solver, object with ``solve``, callable ``v -> H^{-1} v``, or matrix ``H`` (array_like or sparse)
        An object may also have ``solve_transpose``; a ``scipy.sparse.linalg.SuperLU`` is one.
    n : int
        Number of inputs.
    matrix : callable, array_like or sparse of shape (n, n), default=None
        ``H``, or ``v -> H v``, where it is known: then the solver is checked by a random probe.
    solver, symmetric, positive_definite
        As in :func:`choose_solver`. For anything but a matrix, ``symmetric`` (or ``positive_definite``) claims that
        ``solve_transpose`` is ``solve``, which is checked, and nothing else is looked at.
    tol : float, default=1e-6
        Relative residual allowed in the probe.

    Raises
    ------
    SolveFailed
        If the probe's relative residual ``|H x - v| / |v|`` is too large.
    ShapeError
        If the size is not n.
    TypeError
        If ``given`` is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import as_solver
    >>> as_solver(lambda v: v / 2.0, 3, matrix=2.0 * np.eye(3)).solve(np.ones(3))
    array([0.5, 0.5, 0.5])
    """
    claimed_symmetric = bool(symmetric or positive_definite)
    if isinstance(given, Solver):
        result = given
    elif isinstance(given, (np.ndarray, list)) or scipy.sparse.issparse(given):
        result = choose_solver(given, solver, symmetric, positive_definite)
    elif isinstance(given, scipy.sparse.linalg.SuperLU):
        _check_size(given.shape, n)
        result = CallableSolver(
            given.solve, n, solve_transpose=functools.partial(given.solve, trans="T"), description="SuperLU given"
        )
    elif hasattr(given, "solve"):
        _check_size(getattr(given, "shape", (n, n)), n)
        name = getattr(given, "description", type(given).__name__)
        transpose = getattr(given, "solve_transpose", None)
        result = CallableSolver(given.solve, n, transpose, claimed_symmetric, description=name)
    elif callable(given):
        result = CallableSolver(given, n, symmetric=claimed_symmetric)
    else:
        raise TypeError(
            f"a solver of type {type(given).__name__}: expected a function v -> H^-1 v, an object with "
            f"solve(rhs), or a matrix."
        )
    _check_size(result.shape, n)
    if matrix is not None:
        check_solves(result, matrix, tol)
    return result


def _check_size(shape, n):
    if tuple(shape) != (n, n):
        raise ShapeError(
            f"the solver or matrix given has shape {tuple(shape)}, the input has {n} elements: ({n}, {n}) is needed."
        )
