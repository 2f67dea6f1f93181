"""Every solver against every bad matrix, claimed to be positive definite: none is let through, in any form or mode.

The matrices are given to the solvers themselves, to :func:`choose_solver` and :func:`as_solver`, dense and sparse, and
as the Hessians of objectives to the engine.
"""

import importlib

import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse as sp

from vittles_ng import ParametricSensitivityTaylorExpansion, errors, solvers

try:
    importlib.import_module("sksparse.cholmod")
    HAS_CHOLMOD = True
except ImportError:
    HAS_CHOLMOD = False

#: Values of ``sparsity`` that the engine is tried with.
SPARSITIES = [None, "auto"]
#: Values of ``solver``.
NAMES = [name for name in solvers.SOLVERS if HAS_CHOLMOD or name != "cholmod"]
OPTIONS = {name: name for name in NAMES} | {"cg diagonal": solvers.cg("diagonal"), "cg block": solvers.cg("block")}
NOT_PD, NOT_FINITE, NOT_SYMMETRIC = errors.NotPositiveDefiniteError, errors.NonFiniteError, errors.NotSymmetricError
#: What conjugate gradients, which see a matrix by its products only, may raise at the first solve instead.
AT_SOLVE = (NOT_PD, errors.SolveFailed)
N_BLOCKS, SIZE, N_GLOBAL = 6, 3, 2
N = N_BLOCKS * SIZE + N_GLOBAL


def generator():
    return np.random.default_rng(12)


def good():
    """A block arrow in the order blocks, globals."""
    rng = generator()
    design = np.zeros((20 * N_BLOCKS, N))
    for k in range(N_BLOCKS):
        rows = slice(20 * k, 20 * k + 20)
        design[rows, SIZE * k : SIZE * (k + 1)] = rng.standard_normal((20, SIZE))
        design[rows, -N_GLOBAL:] = rng.standard_normal((20, N_GLOBAL))
    return design.T @ design / 20 + 0.1 * np.eye(N)


def both(matrix, i, j, value):
    matrix[i, j] = matrix[j, i] = value
    return matrix


def bad_local_block():
    return both(good(), 4, 5, 5.0)


def bad_schur_complement():
    matrix = good()
    eliminated = np.linalg.solve(matrix[:-2, :-2], matrix[:-2, -2:])
    matrix[-2:, -2:] = matrix[-2:, :-2] @ eliminated + np.diag([1.0, -1e-2])
    matrix[-2:, -2:] = (matrix[-2:, -2:] + matrix[-2:, -2:].T) / 2
    return matrix


def rank_deficient():
    """The last input of each block adds up to a global: a level that the data do not identify."""
    design = np.zeros((20 * N_BLOCKS, N))
    rng = generator()
    for k in range(N_BLOCKS):
        rows = slice(20 * k, 20 * k + 20)
        design[rows, SIZE * k : SIZE * (k + 1)] = rng.standard_normal((20, SIZE))
        design[rows, SIZE * (k + 1) - 1] = 1.0
        design[rows, -2] = rng.standard_normal(20)
    design[:, -1] = 1.0
    return design.T @ design / 20


def zero_row():
    matrix = good()
    matrix[7] = matrix[:, 7] = 0.0
    return matrix


def duplicate_inputs():
    matrix = good()
    matrix[1], matrix[:, 1] = matrix[0], matrix[:, 0]
    matrix[1, 1] = matrix[0, 0]
    return matrix


def with_entry(i, j, value):
    return lambda: both(good(), i, j, value)


def asymmetric():
    matrix = good()
    matrix[4, 5] += 0.1
    return matrix


def asymmetric_coupling():
    matrix = good()
    matrix[4, -1] += 0.1
    return matrix


def rotated(eigenvalue):
    """A full matrix, no arrow, with one eigenvalue given and the others from 1 to 2."""
    q = np.linalg.qr(generator().standard_normal((12, 12)))[0]
    matrix = (q * np.r_[np.linspace(1.0, 2.0, 11), eigenvalue]) @ q.T
    return (matrix + matrix.T) / 2


# matrix, its error; whether it can be seen in a solve only by an iteration
BAD = {
    "indefinite": (lambda: rotated(-0.5), NOT_PD, True),
    "negative definite": (lambda: -good(), NOT_PD, False),
    "singular": (lambda: rotated(0.0), NOT_PD, True),
    "rank deficient arrow": (rank_deficient, NOT_PD, True),
    "duplicate inputs": (duplicate_inputs, NOT_PD, True),
    "zero row": (zero_row, NOT_PD, False),
    "zero": (lambda: np.zeros((4, 4)), NOT_PD, False),
    "zero 1x1": (lambda: np.zeros((1, 1)), NOT_PD, False),
    "negative 1x1": (lambda: -np.ones((1, 1)), NOT_PD, False),
    "bad local block": (bad_local_block, NOT_PD, True),
    "bad Schur complement": (bad_schur_complement, NOT_PD, True),
    "negative diagonal of a global": (with_entry(N - 1, N - 1, -1.0), NOT_PD, False),
    "NaN in a block": (with_entry(4, 5, np.nan), NOT_FINITE, False),
    "NaN on the diagonal": (with_entry(4, 4, np.nan), NOT_FINITE, False),
    "NaN in C": (with_entry(4, N - 1, np.nan), NOT_FINITE, False),
    "NaN in D": (with_entry(N - 2, N - 1, np.nan), NOT_FINITE, False),
    "inf in a block": (with_entry(4, 5, np.inf), NOT_FINITE, False),
    "inf on the diagonal": (with_entry(4, 4, np.inf), NOT_FINITE, False),
    "-inf in C": (with_entry(4, N - 1, -np.inf), NOT_FINITE, False),
    "asymmetric": (asymmetric, NOT_SYMMETRIC, False),
    "asymmetric C": (asymmetric_coupling, NOT_SYMMETRIC, False),
    "one triangle": (lambda: np.tril(good()), NOT_SYMMETRIC, False),
    "not square": (lambda: np.ones((3, 4)), errors.ShapeError, False),
}
FORMS = {"dense": np.asarray, "csc": sp.csc_array}
ALL_FORMS = FORMS | {"csr": sp.csr_matrix, "coo": sp.coo_array, "matrix": sp.csc_matrix}


def solved(make, matrix):
    """Construct and solve, with a right-hand side that excites every direction."""
    solver = make(matrix)
    return solver.solve(generator().standard_normal(matrix.shape[0]))


def check(make, matrix, error, seen_in_a_solve, is_iteration):
    error = AT_SOLVE if is_iteration and seen_in_a_solve else error
    with pytest.raises(error) as caught:
        solved(make, matrix)
    assert len(str(caught.value)) > 40, "an error says what, the number, and the remedy"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("solver", OPTIONS)
def test_claimed_positive_definite(solver, name, form):
    matrix, error, seen_in_a_solve = BAD[name]
    matrix = FORMS[form](matrix())

    def make(m):
        return solvers.choose_solver(m, OPTIONS[solver], positive_definite=True)

    check(make, matrix, error, seen_in_a_solve, "cg" in solver)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("solver", OPTIONS)
def test_given_as_a_matrix(solver, name, form):
    """What a user passes as hess0."""
    matrix, error, seen_in_a_solve = BAD[name]
    matrix = FORMS[form](matrix())

    def make(m):
        return solvers.as_solver(m, m.shape[0], matrix=m, solver=OPTIONS[solver], positive_definite=True)

    check(make, matrix, error, seen_in_a_solve, "cg" in solver)


CLASSES = {
    "dense Cholesky": solvers.DenseCholesky,
    "SuperLU": lambda m: solvers.SuperLU(m, positive_definite=True),
    "Schur": solvers.Schur,
    "CG": solvers.ConjugateGradient,
}
if HAS_CHOLMOD:
    CLASSES["CHOLMOD"] = solvers.Cholmod


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("solver", CLASSES)
def test_given_to_the_class(solver, name, form):
    matrix, error, seen_in_a_solve = BAD[name]
    check(CLASSES[solver], FORMS[form](matrix()), error, seen_in_a_solve, solver == "CG")


REFACTORED = [name for name in CLASSES if name != "CG"]


@pytest.mark.parametrize("name", [name for name in BAD if BAD[name][0]().shape == (N, N)])
@pytest.mark.parametrize("solver", REFACTORED)
def test_given_to_a_factor_of_a_good_one(solver, name):
    matrix, error, seen_in_a_solve = BAD[name]
    check(CLASSES[solver](sp.csc_array(good())).refactored, sp.csc_array(matrix()), error, seen_in_a_solve, False)


@pytest.mark.parametrize("form", ALL_FORMS)
@pytest.mark.parametrize("solver", OPTIONS)
def test_the_good_one_is_let_through(solver, form):
    x = solved(lambda m: solvers.choose_solver(m, OPTIONS[solver], positive_definite=True), ALL_FORMS[form](good()))
    assert np.allclose(good() @ x, generator().standard_normal(N), rtol=1e-9, atol=1e-9)


# --- the engine ----------------------------------------------------------------------------------------------------

HESSIANS = {name: matrix for name, (matrix, error, _) in BAD.items() if error is NOT_PD}


def quadratic(matrix):
    """An objective with this Hessian at hyper 0, whose hyper pulls in every direction."""
    pull = generator().standard_normal(len(matrix))
    return lambda x, hyper: 0.5 * anp.dot(x, anp.dot(matrix, x)) + hyper[0] * (anp.dot(pull, x) + 0.5 * anp.sum(x**2))


def expand(objective, n, solver, sparsity):
    """Build and evaluate: an iteration shows what it cannot do when it solves."""
    expansion = ParametricSensitivityTaylorExpansion.optimization_objective(
        objective, np.zeros(n), np.zeros(1), order=2, solver=solver, sparsity=sparsity
    )
    return expansion.evaluate_taylor_series(np.array([0.1]))


@pytest.mark.parametrize("sparsity", SPARSITIES, ids=repr)
@pytest.mark.parametrize("name", HESSIANS)
@pytest.mark.parametrize("solver", OPTIONS)
def test_hessians_of_objectives(solver, name, sparsity):
    # without a pattern there is no matrix for the preconditioners that need one, and that is said
    needs_matrix = sparsity is None and solver in ("cg diagonal", "cg block")
    error = ValueError if needs_matrix else AT_SOLVE if "cg" in solver else NOT_PD
    matrix = HESSIANS[name]()
    with pytest.raises(error):
        expand(quadratic(matrix), len(matrix), OPTIONS[solver], sparsity)


@pytest.mark.parametrize("sparsity", SPARSITIES, ids=repr)
@pytest.mark.parametrize("solver", NAMES)
def test_a_good_hessian_of_an_objective(solver, sparsity):
    value = expand(quadratic(good()), N, solver, sparsity)
    # (A + hyper) x = -hyper p: x = -hyper A^-1 p + hyper^2 A^-2 p - ...
    first = np.linalg.solve(good(), generator().standard_normal(N))
    expected = -0.1 * first + 0.01 * np.linalg.solve(good(), first)
    assert np.allclose(value, expected, rtol=1e-9, atol=1e-12)


def no_second_derivative(x, hyper):
    """Finite at 0 with its gradient, and not with its Hessian."""
    return anp.sum(anp.abs(x) ** 1.5) + hyper[0] * anp.sum(x) + anp.sum(x**2)


@pytest.mark.parametrize("sparsity", SPARSITIES, ids=repr)
@pytest.mark.parametrize("solver", NAMES)
def test_hessians_that_are_not_finite(solver, sparsity):
    with np.errstate(all="ignore"), pytest.raises(errors.VittlesError):
        expand(no_second_derivative, 3, solver, sparsity)
