"""Conjugate gradients: options, preconditioners, many right-hand sides at once, and what stops them."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from vittles_ng import errors
from vittles_ng.solvers import (
    CGOptions,
    ConjugateGradient,
    DenseCholesky,
    as_solver,
    cg,
    choose_solver,
    conjugate_gradient,
    make_cg,
    preconditioners,
)

NOT_PD = errors.NotPositiveDefiniteError


def generator():
    return np.random.default_rng(77)


def spd(n, condition=50.0):
    q = np.linalg.qr(generator().standard_normal((n, n)))[0]
    a = (q * np.geomspace(1.0, 1.0 / condition, n)) @ q.T
    return (a + a.T) / 2


def blocky(n_blocks=8, size=4, n_global=2):
    """A block arrow whose blocks are ill conditioned and far apart in scale, and weakly coupled."""
    rng = generator()
    n = n_blocks * size + n_global
    matrix = np.zeros((n, n))
    for k in range(n_blocks):
        here = slice(k * size, (k + 1) * size)
        matrix[here, here] = 10.0**k * spd(size, 1e3)
    coupling = 1e-3 * rng.standard_normal((n - n_global, n_global))
    matrix[:-n_global, -n_global:] = coupling
    matrix[-n_global:, :-n_global] = coupling.T
    matrix[-n_global:, -n_global:] = 50.0 * spd(n_global, 10.0)
    return matrix


class Counted:
    """Products with a matrix, counted, one vector or rows of them at a time."""

    def __init__(self, matrix):
        self.matrix, self.calls, self.vectors = matrix, 0, 0

    def __call__(self, v):
        self.calls += 1
        self.vectors += 1 if v.ndim == 1 else len(v)
        return v @ self.matrix.T


# --- options -------------------------------------------------------------------------------------------------------


def test_options_are_frozen_and_checked():
    options = cg("diagonal", rtol=1e-9, maxiter=50, diagonal=np.ones(3))
    assert isinstance(options, CGOptions) and options != "cg" and options == options
    assert (options.preconditioner, options.rtol, options.maxiter) == ("diagonal", 1e-9, 50)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.rtol = 1.0
    for arguments in (dict(rtol=0.0), dict(rtol=1.0), dict(rtol=np.nan), dict(rtol=1e-17), dict(maxiter=0)):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            cg(**arguments)


OPTIONS = {
    "preconditioner": (cg("diagonal"), "diagonal preconditioner"),
    "rtol": (cg(rtol=1e-5), "relative residual 1e-05"),
    "blocks": (cg("block", blocks=[[0, 1]]), "block preconditioner"),
    "none": ("cg", "no preconditioner, relative residual 1e-12"),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", [np.asarray, sp.csc_array])
def test_options_are_taken_where_a_solver_is_named(name, kind):
    options, text = OPTIONS[name]
    matrix = spd(6)
    for solver in (
        choose_solver(kind(matrix), options, positive_definite=True),
        as_solver(kind(matrix), 6, solver=options),
        make_cg(options, None, 6, kind(matrix)),
    ):
        assert text in solver.description
        assert np.allclose(matrix @ solver.solve(np.ones(6)), 1.0, rtol=1e-4 if name == "rtol" else 1e-10)
    if name != "blocks":
        options = cg("diagonal", diagonal=np.diag(matrix)) if name == "preconditioner" else options
        assert text in make_cg(options, lambda v: matrix @ v, 6).description


def test_options_contradict():
    with pytest.raises(ValueError, match="rtol are for solver='cg' only"):
        choose_solver(spd(3), cg(), rtol=1e-3)
    with pytest.raises(ValueError, match="'cg' needs"):
        choose_solver(spd(3), cg(), symmetric=False)
    with pytest.raises(ValueError, match="use one of"):
        choose_solver(spd(3), 3)
    assert "1e-06" in choose_solver(spd(3), "cg", rtol=1e-6).description


# --- the iteration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes_rows", [False, True])
@pytest.mark.parametrize("block", [1, 3 * 12, 1 << 22])
def test_many_right_hand_sides(monkeypatch, takes_rows, block):
    monkeypatch.setattr(conjugate_gradient, "BLOCK_ELEMENTS", block)
    matrix = spd(12)
    product = Counted(matrix)
    solver = ConjugateGradient(product, 12, takes_rows=takes_rows)
    rhs = generator().standard_normal((12, 7)) * np.geomspace(1e-100, 1e100, 7)
    rhs[:, 3] = 0.0
    rhs[4, 5] = np.nan
    before, product.calls = rhs.copy(), 0
    x = solver.solve(rhs)
    assert np.array_equal(rhs, before, equal_nan=True) and np.isnan(x[:, 5]).all() and not x[:, 3].any()
    for k in (0, 1, 2, 4, 6):
        expected = np.linalg.solve(matrix, rhs[:, k])
        assert np.allclose(x[:, k], expected, rtol=0, atol=1e-10 * abs(expected).max())
    if takes_rows and block == 1 << 22:
        assert product.calls <= 20 < product.vectors


def test_a_column_done_does_no_harm_to_the_others():
    # The first column is an eigenvector and needs one iteration, the others all of them.
    matrix = np.diag(np.arange(1.0, 11.0))
    rhs = np.ones((10, 3))
    rhs[:, 0] = np.eye(10)[2]
    product = Counted(matrix)
    x = ConjugateGradient(product, 10, takes_rows=True).solve(rhs)
    assert np.allclose(x, rhs / np.diag(matrix)[:, None], rtol=1e-11)
    assert product.vectors < 2 + 3 + 2 * 12 + 3


def test_failure_names_the_worst_column():
    matrix = spd(30, 1e8)
    rhs = np.linalg.eigh(matrix)[1][:, :1] @ np.ones((1, 2))
    rhs[:, 1] = generator().standard_normal(30)
    with pytest.raises(errors.SolveFailed, match="after 9 iterations") as caught:
        ConjugateGradient(matrix, maxiter=9).solve(rhs)
    assert caught.value.iterations == 9 and caught.value.residual > 1e-12


@pytest.mark.parametrize("columns", [1, 3])
def test_curvature_that_is_excited(columns):
    matrix = np.diag([1.0, 2.0, -1.0, 3.0])
    solver = ConjugateGradient(lambda v: matrix @ v, 4)
    with pytest.raises(NOT_PD, match=r"curvature v.A v / v.v = -.* at iteration \d"):
        solver.solve(np.ones((4, columns)))
    assert np.allclose(solver.solve(np.array([1.0, 2.0, 0.0, 3.0])), [1, 1, 0, 1])


def test_products_that_are_nan_later():
    calls = []

    def product(v):
        calls.append(v)
        return v * (np.nan if len(calls) > 2 else 1.0)

    with pytest.raises(errors.NonFiniteError, match="3 NaN or infinite elements"):
        ConjugateGradient(product, 3).solve(np.ones(3))
    with pytest.raises(errors.NonFiniteError, match="6 NaN or infinite elements"):
        ConjugateGradient(lambda v: v * np.inf, 3)


def test_size_of_a_product_that_knows_it():
    class Product:
        n = 3

        def __call__(self, v):
            return 2.0 * v

    assert np.allclose(ConjugateGradient(Product()).solve(np.ones(3)), 0.5)
    with pytest.raises(errors.ShapeError, match=r"\(2, 2\)"):
        ConjugateGradient(lambda rows: rows[:, :2], 3, takes_rows=True)


# --- preconditioners -----------------------------------------------------------------------------------------------


def iterations(matrix, **options):
    product = Counted(matrix)
    solver = ConjugateGradient(matrix, **options)
    solver._products = product
    rhs = generator().standard_normal(len(matrix))
    x = solver.solve(rhs)
    assert np.linalg.norm(matrix @ x - rhs) <= 1e-11 * np.linalg.norm(rhs)
    return product.calls - 1


def test_preconditioners_save_iterations():
    matrix = blocky()
    n = len(matrix)
    blocks = [np.arange(4 * k, 4 * k + 4) for k in range(8)] + [[n - 2, n - 1]]
    nearby = DenseCholesky(matrix + 1e-2 * np.diag(np.diag(matrix)))
    taken = {
        "diagonal": iterations(matrix, preconditioner="diagonal", maxiter=5000),
        "some blocks": iterations(matrix, preconditioner="block", blocks=blocks[4:], maxiter=5000),
        "block": iterations(matrix, preconditioner="block", blocks=blocks),
        "arrow": iterations(matrix, preconditioner="block"),
        "nearby": iterations(matrix, preconditioner=nearby),
        "exact": iterations(matrix, preconditioner=DenseCholesky(matrix)),
    }
    assert taken["exact"] <= 2 and taken["nearby"] <= 15
    assert taken["block"] == taken["arrow"] <= 10
    assert taken["arrow"] < min(taken["some blocks"], taken["diagonal"])
    with pytest.raises(errors.SolveFailed):
        ConjugateGradient(matrix, maxiter=taken["diagonal"]).solve(generator().standard_normal(n))


def test_the_diagonal_of_a_function_is_given():
    matrix = blocky()
    product = Counted(matrix)
    rhs = np.ones(len(matrix))
    solver = ConjugateGradient(product, len(matrix), "diagonal", diagonal=np.diag(matrix), maxiter=5000)
    expected = ConjugateGradient(matrix, preconditioner="diagonal", maxiter=5000).solve(rhs)
    assert np.allclose(solver.solve(rhs), expected, rtol=1e-9)


class Vectors:
    """A solver of a user's own that knows vectors only."""

    def solve(self, r):
        return np.array([float(x) for x in r])


def test_preconditioners_of_a_users_own():
    matrix = spd(5)
    for given in (Vectors(), lambda r: np.array([float(x) for x in r]), choose_solver(sp.csc_array(matrix))):
        x = ConjugateGradient(matrix, preconditioner=given).solve(np.ones((5, 3)))
        assert np.allclose(matrix @ x, 1.0, rtol=1e-10)


def test_block_jacobi_is_the_inverse_of_the_blocks():
    matrix = spd(9)
    blocks = [[7, 2], [0, 3, 8], [], [5, 1]]
    expected = np.zeros((9, 9))
    for block in [*blocks, [4], [6]]:
        expected[np.ix_(block, block)] = np.linalg.inv(matrix[np.ix_(block, block)]) if block else 0.0
    for kind in (np.asarray, sp.csc_array, sp.csr_matrix):
        assert np.allclose(preconditioners.block_jacobi(kind(matrix), blocks).solve(np.eye(9)), expected, atol=1e-12)


REFUSED = {
    "diagonal of another shape": (cg("diagonal", diagonal=np.ones(5)), errors.ShapeError, r"\(5,\)"),
    "diagonal with NaN": (cg("diagonal", diagonal=[1, 1, np.nan, 1, 1, 1]), errors.NonFiniteError, "diagonal= has 1"),
    "diagonal with zero": (cg("diagonal", diagonal=[1, 1, 0, 1, 1, 1]), NOT_PD, "input 2"),
    "diagonal for nothing": (cg(diagonal=np.ones(6)), ValueError, "diagonal= is for"),
    "blocks for nothing": (cg("diagonal", blocks=[[0]]), ValueError, "blocks= is for"),
    "blocks that overlap": (cg("block", blocks=[[0, 1], [1, 2]]), ValueError, "block 1 .* in a block already"),
    "an index twice": (cg("block", blocks=[[0, 0]]), ValueError, "in a block already"),
    "an index too large": (cg("block", blocks=[[0, 6]]), ValueError, "from 0 to 5"),
    "a negative index": (cg("block", blocks=[[-1]]), ValueError, "from 0 to 5"),
    "no indices": (cg("block", blocks=[[0.5]]), ValueError, "from 0 to 5"),
    "another name": (cg("ilu"), ValueError, "'ilu'"),
    "a factor of another size": (cg(DenseCholesky(np.eye(3))), errors.ShapeError, r"\(3, 3\)"),
    "a number": (cg(3.0), TypeError, "float"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", [np.asarray, sp.csc_array])
def test_refused(name, kind):
    options, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        make_cg(options, None, 6, kind(spd(6)))


def test_what_needs_the_matrix():
    with pytest.raises(ValueError, match="'diagonal' needs the matrix itself, or its diagonal"):
        make_cg(cg("diagonal"), lambda v: v, 3)
    with pytest.raises(ValueError, match="'block' needs the matrix itself"):
        make_cg(cg("block", blocks=[[0, 1]]), lambda v: v, 3)
    chain = sp.diags_array([-np.ones(399), 2.5 * np.ones(400), -np.ones(399)], offsets=[-1, 0, 1])
    with pytest.raises(ValueError, match="no block arrow.*pass blocks="):
        make_cg(cg("block"), None, 400, chain)
    indefinite = spd(6)
    indefinite[2, 3] = indefinite[3, 2] = 5.0
    with pytest.raises(NOT_PD, match="saddle"):
        make_cg(cg("block", blocks=[[2, 3]]), None, 6, indefinite)
    assert make_cg(cg("block"), None, 0, np.zeros((0, 0))).solve(np.zeros(0)).shape == (0,)


# --- products known to a few digits --------------------------------------------------------------------------------


class Rounded:
    """A product good to ``accuracy``, the same each time."""

    def __init__(self, matrix, accuracy):
        noise = generator().standard_normal(matrix.shape)
        self.matrix = matrix * (1.0 + accuracy * (noise - noise.T))
        self.n, self.accuracy, self._exact = len(matrix), accuracy, matrix

    def __call__(self, v):
        wobble = np.sin(1e6 * v @ np.arange(1.0, self.n + 1))
        return self.matrix @ v + self.accuracy * wobble * np.linalg.norm(self._exact @ v) / np.sqrt(self.n)


def test_accuracy_of_the_product_is_read():
    matrix = spd(10)
    product = Rounded(matrix, 1e-6)
    with pytest.raises(errors.NotSymmetricError, match="tolerance 1e-08"):
        ConjugateGradient(lambda v: product(v), 10)
    x = ConjugateGradient(product, rtol=1e-3).solve(np.ones(10))
    assert np.allclose(x, np.linalg.solve(matrix, np.ones(10)), rtol=0.1)
    with pytest.raises(errors.SolveFailed, match=r"good to about 1e-06 only.*rtol=1e-12 was asked for: pass rtol="):
        ConjugateGradient(product).solve(np.ones(10))
