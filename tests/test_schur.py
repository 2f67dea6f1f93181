"""Block arrows: their structure found in any order, and the Schur factor against dense linear algebra and mpmath."""

import re

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp

from vittles_ng import errors
from vittles_ng.solvers import Arrow, Schur, arrow, arrow_parts, checks, choose, choose_solver, schur

EPS = np.finfo(float).eps


def generator():
    return np.random.default_rng(31)


def positive(n, condition=30.0):
    q = np.linalg.qr(generator().standard_normal((n, n)))[0]
    return (q * np.geomspace(1.0, 1.0 / condition, n)) @ q.T


def arrow_matrix(sizes, n_global, fill=1.0, shuffled=True, condition=30.0):
    """Dense positive definite block arrow: a Gram matrix of rows that see one block and the globals each."""
    rng = generator()
    n_local = sum(sizes)
    n = n_local + n_global
    matrix = np.zeros((n, n))
    matrix[n_local:, n_local:] = positive(n_global, condition) if n_global else 0.0
    start = 0
    for size in sizes:
        seen = np.flatnonzero(rng.random(n_global) < fill)
        inputs = np.concatenate([np.arange(start, start + size), n_local + seen])
        matrix[np.ix_(inputs, inputs)] += positive(inputs.size, condition)
        start += size
    if n_global and fill < 1:
        matrix[n_local:, n_local:] += 1e-3 * np.ones((n_global, n_global))
    order = rng.permutation(n) if shuffled else np.arange(n)
    matrix = (matrix + matrix.T) / 2
    return matrix[np.ix_(order, order)]


# sizes of the blocks, number of globals
MODELS = {
    "equal blocks": arrow_matrix([3] * 20, 4),
    "blocks of one": arrow_matrix([1] * 30, 3),
    "unequal blocks": arrow_matrix([1, 2, 5, 2, 7, 1, 3], 2),
    "one global": arrow_matrix([2] * 10, 1),
    "no global": arrow_matrix([3, 3, 1, 4], 0),
    "diagonal": np.diag(np.arange(1.0, 8.0)),
    "one block": positive(6),
    "one input": np.array([[4.0]]),
    "a global and a block": arrow_matrix([5], 1),
    "more globals than locals": arrow_matrix([1, 2], 9),
    "in order": arrow_matrix([4] * 6, 3, shuffled=False),
    "few globals a block": arrow_matrix([2] * 40, 12, fill=0.2),
    "units apart": (lambda m, d: d[:, None] * m * d)(arrow_matrix([2] * 6, 3), np.geomspace(1e-60, 1e60, 15)),
}


@pytest.fixture(params=["dense C", "sparse C"])
def kept(request, monkeypatch):
    if request.param == "sparse C":
        monkeypatch.setattr(arrow_parts, "_keeps_dense", lambda matrix, structure: False)


@pytest.fixture(params=["one part", "many parts"])
def parts(request, monkeypatch):
    if request.param == "many parts":
        monkeypatch.setattr(arrow_parts, "CHUNK", 16)
        monkeypatch.setattr(schur, "CHUNK_ELEMENTS", 8)
        monkeypatch.setattr(schur, "RHS_BLOCK", 2)


# --- the structure -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_arrow_is_found(name):
    matrix = MODELS[name]
    found = arrow(sp.csc_array(matrix))
    assert found.n == len(matrix) and np.array_equal(np.sort(found.order), np.arange(found.n))
    assert found.n_local + found.n_global == found.n and found.full_entries >= np.count_nonzero(matrix)
    label = np.full(found.n, -1)
    number = 0
    for blocks in found.blocks:
        for block in blocks:
            label[block] = number
            number += 1
    rows, columns = np.nonzero(matrix)
    local = (label[rows] >= 0) & (label[columns] >= 0)
    assert np.array_equal(label[rows[local]], label[columns[local]])


def test_globals_and_blocks_are_the_expected_ones():
    matrix = arrow_matrix([3] * 20, 4)
    found = arrow(matrix)
    assert np.array_equal(found.global_inputs, np.flatnonzero((matrix != 0).all(axis=0)))
    assert [b.shape for b in found.blocks] == [(20, 3)]
    found = arrow(arrow_matrix([1, 2, 5, 2, 7, 1, 3], 2))
    assert found.n_global == 2 and [b.shape for b in found.blocks] == [(2, 1), (2, 2), (1, 3), (1, 5), (1, 7)]
    assert "2 blocks of 1, 2 blocks of 2, 1 block of 3, ..., 2 global" in repr(found)
    assert repr(arrow(np.zeros((0, 0)))) == "<block arrow of 0 inputs: no block, 0 global>"
    # a global that meets a third of the blocks only is one all the same
    assert arrow(arrow_matrix([2] * 40, 12, fill=0.3)).n_global == 12


def test_what_is_no_arrow():
    n = arrow_parts.CHUNK // 8
    chain = sp.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])
    assert arrow(chain) is None
    side = 40
    ones = np.ones((side, side))
    assert arrow(sp.csc_array(np.kron(np.eye(side), ones) + np.kron(ones, np.eye(side)))) is None
    with pytest.raises(ValueError, match="solver='schur' needs a block arrow.*'cholmod'"):
        Schur(chain + sp.eye_array(n))
    with pytest.raises(errors.ShapeError, match=r"\(2, 3\)"):
        arrow(np.ones((2, 3)))


def test_stored_zeros_are_entries():
    zeros = sp.csc_array((np.zeros(3), ([0, 1, 2], [0, 1, 2])), shape=(3, 3))
    zeros = zeros + sp.csc_array((np.zeros(2), ([0, 1], [1, 0])), shape=(3, 3))
    assert [b.shape for b in arrow(zeros).blocks] in ([(1, 1), (1, 2)], [(3, 1)])


BAD_ARROWS = {
    "missing": (5, [4], ([[0, 1], [2, 2]],)),
    "twice": (3, [0, 1], ([[1, 2]],)),
    "too few": (4, [3], ([[0, 1]],)),
    "out of range": (3, [3], ([[0, 1]],)),
    "flat": (3, [2], ([0, 1],)),
}


@pytest.mark.parametrize("name", BAD_ARROWS)
def test_bad_arrows(name):
    n, inputs, blocks = BAD_ARROWS[name]
    with pytest.raises(errors.ShapeError, match="each input must be in exactly one|arrays"):
        Arrow(n, inputs, blocks)


# --- the factor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("kept", "parts")
def test_solves_like_numpy(name):
    matrix = MODELS[name]
    n = len(matrix)
    units = 1 / np.sqrt(np.diag(matrix))
    unit = units[:, None] * matrix * units
    solver = Schur(sp.csc_array(matrix))
    assert solver.shape == (n, n) and "Schur" in solver.description
    many = generator().standard_normal((n, 7))
    for rhs in (many[:, 0], many, np.asfortranarray(many), many[:, ::3], np.arange(n), np.zeros((n, 2))):
        before = rhs.copy()
        x = solver.solve(rhs)
        assert x.shape == rhs.shape and np.array_equal(rhs, before) and not np.shares_memory(x, rhs)
        expected = (units * np.linalg.solve(unit, (units * rhs.T).T).T).T
        assert np.all(abs(x - expected).T / units <= 1e-11 * abs(expected.T / units).max())
        assert np.array_equal(solver.solve_transpose(rhs), x)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("kept", "parts")
def test_determinant_and_inverse(name):
    matrix = MODELS[name]
    units = 1 / np.sqrt(np.diag(matrix))
    unit = units[:, None] * matrix * units
    solver = Schur(sp.csc_array(matrix))
    log_det = np.linalg.slogdet(unit)[1] - 2 * np.log(units).sum()
    assert np.isclose(solver.log_determinant(), log_det, rtol=1e-12, atol=1e-11)
    inverse = np.linalg.inv(unit)
    size = abs(inverse).max()
    assert np.allclose(solver.inverse_diagonal() / units**2, np.diag(inverse), rtol=1e-11, atol=0)
    selected = solver.selected_inverse()
    pattern = sp.csc_array(matrix)
    assert np.array_equal(selected.indptr, pattern.indptr) and np.array_equal(selected.indices, pattern.indices)
    back = selected.toarray() / units[:, None] / units
    assert np.allclose(back, np.where(matrix != 0, inverse, 0), rtol=0, atol=1e-11 * size)
    wanted = sp.csc_array(generator().random(matrix.shape) < 0.4)
    selected = solver.selected_inverse(wanted)
    back = selected.toarray() / units[:, None] / units
    assert np.allclose(back, np.where(wanted.toarray(), inverse, 0), rtol=0, atol=1e-11 * size)


def test_no_inputs():
    solver = Schur(sp.csc_array((0, 0)))
    assert solver.solve(np.zeros(0)).shape == (0,) and solver.inverse_diagonal().shape == (0,)
    assert solver.log_determinant() == 0.0 and solver.selected_inverse().shape == (0, 0)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.coo_array, sp.csc_matrix, np.ndarray.tolist])
def test_kinds_of_matrix(kind):
    matrix = MODELS["equal blocks"]
    assert np.allclose(Schur(kind(matrix)).solve(matrix @ np.ones(64)), 1.0, rtol=1e-11)


def test_duplicates_and_unsorted_indices():
    matrix = sp.coo_array(MODELS["equal blocks"])
    rows, columns = matrix.coords
    order = generator().permutation(rows.size)
    rows, columns, data = rows[order], columns[order], matrix.data[order]
    twice = sp.coo_array((np.r_[data, data] / 2, (np.r_[rows, rows], np.r_[columns, columns])), shape=(64, 64))
    by_column = np.argsort(columns, kind="stable")
    pointers = np.r_[0, np.cumsum(np.bincount(columns, minlength=64))]
    unsorted = sp.csc_array((data[by_column], rows[by_column], pointers), shape=(64, 64))
    for other in (twice, unsorted):
        before = other.copy()
        assert np.allclose(Schur(other).solve(matrix @ np.ones(64)), 1.0, rtol=1e-11)
        assert np.array_equal(other.data, before.data)


def test_the_matrix_may_change_afterwards():
    matrix = sp.csc_array(MODELS["few globals a block"])
    expected = np.linalg.inv(MODELS["few globals a block"])
    solver = Schur(matrix)
    matrix.data *= 7.0
    matrix.indices[:] = 0
    assert np.allclose(solver.solve(np.eye(92)), expected, atol=1e-10)
    selected = solver.selected_inverse()
    assert np.allclose(selected.toarray(), np.where(MODELS["few globals a block"] != 0, expected, 0), atol=1e-10)


def test_nan_stays_in_its_column():
    for name in ("equal blocks", "no global"):
        matrix = MODELS[name]
        rhs = np.ones((len(matrix), 3))
        rhs[2, 1] = np.nan
        x = Schur(matrix).solve(rhs)
        assert np.isnan(x[:, 1]).all() and np.allclose(matrix @ x[:, [0, 2]], 1.0, rtol=1e-11)


@pytest.mark.parametrize("condition", [1e4, 1e6, 1e8, 1e10])
@pytest.mark.parametrize("sizes", [[5, 5, 5], [1, 1, 1, 1], [12]])
def test_forward_error_is_the_condition_number_times_rounding(condition, sizes):
    matrix = arrow_matrix(sizes, 4, condition=condition)
    condition = np.linalg.cond(matrix)
    n = len(matrix)
    solver = Schur(matrix)
    with mpmath.workdps(40):
        for rhs in (generator().standard_normal(n), matrix @ generator().standard_normal(n)):
            exact = np.array([float(v) for v in mpmath.lu_solve(mpmath.matrix(matrix.tolist()), mpmath.matrix(rhs))])
            assert np.linalg.norm(solver.solve(rhs) - exact) <= 10 * EPS * condition * np.linalg.norm(exact)


def test_rcond_is_the_condition_number():
    for condition in (10.0, 1e4, 1e8):
        matrix = arrow_matrix([4] * 6, 3, condition=condition)
        unit = matrix / np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
        assert 0.1 < Schur(matrix).rcond * np.linalg.cond(unit, 1) < 10.0


def test_rounding_asymmetry_is_averaged_away():
    matrix = MODELS["equal blocks"]
    noisy = matrix + 1e-10 * generator().standard_normal(matrix.shape) * (matrix != 0)
    expected = np.linalg.solve((noisy + noisy.T) / 2, np.ones(64))
    assert np.allclose(Schur(noisy).solve(np.ones(64)), expected, rtol=1e-13)


def test_the_structure_given_is_used(monkeypatch):
    matrix = MODELS["equal blocks"]
    structure = arrow(matrix)
    coarser = Arrow(64, structure.global_inputs, (structure.blocks[0].reshape(10, 6),))
    monkeypatch.setattr(schur, "arrow", None)
    for given in (structure, coarser):
        solver = Schur(matrix, given)
        assert solver.structure is given and np.allclose(solver.solve(matrix @ np.ones(64)), 1.0, rtol=1e-11)
        assert np.allclose(solver.selected_inverse().toarray()[matrix != 0], np.linalg.inv(matrix)[matrix != 0])
    halves = Arrow(64, structure.global_inputs, (structure.blocks[0][:9], structure.blocks[0][9:]))
    selected = Schur(matrix, halves).selected_inverse()
    assert np.allclose(selected.toarray(), np.where(matrix != 0, np.linalg.inv(matrix), 0), atol=1e-11)
    finer = Arrow(64, structure.global_inputs, (structure.blocks[0].reshape(60, 1),))
    with pytest.raises(ValueError, match="join two blocks"):
        Schur(matrix, finer)
    with pytest.raises(errors.ShapeError, match="64 inputs"):
        Schur(np.eye(3), structure)


def test_refactored_looks_for_no_structure_where_it_is_the_same(monkeypatch):
    matrix = MODELS["equal blocks"]
    first = Schur(matrix)
    found = []
    monkeypatch.setattr(schur, "arrow", lambda m: found.append(m) or arrow(m))
    second = first.refactored(2.0 * matrix)
    assert found == [] and second.structure is first.structure
    assert np.allclose(second.solve(matrix @ np.ones(64)), 0.5, rtol=1e-11)
    assert np.allclose(first.solve(matrix @ np.ones(64)), 1.0, rtol=1e-11)
    other = arrow_matrix([4] * 15, 4)
    third = second.refactored(other)
    assert len(found) == 1 and np.allclose(third.solve(other @ np.ones(64)), 1.0, rtol=1e-11)


# --- bad matrices --------------------------------------------------------------------------------------------------

NOT_PD = errors.NotPositiveDefiniteError


def parts_of(matrix):
    structure = arrow(matrix)
    return structure.blocks[0], structure.global_inputs


def bad_block(matrix):
    blocks, _ = parts_of(matrix)
    matrix[blocks[7, 0], blocks[7, 1]] = matrix[blocks[7, 1], blocks[7, 0]] = 9.0


def bad_complement(matrix):
    _, inputs = parts_of(matrix)
    matrix[inputs[2], inputs[2]] *= 0.5


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (bad_block, r"smallest eigenvalue -.* of the local block of inputs {block}"),
        (
            bad_complement,
            r"smallest eigenvalue -.* of the Schur complement of the 4 global inputs, mostly along input \d",
        ),
    ],
)
@pytest.mark.usefixtures("kept")
def test_indefinite_parts_are_named(monkeypatch, spoil, text, large):
    matrix = MODELS["equal blocks"].copy()
    spoil(matrix)
    smallest = np.linalg.eigvalsh(matrix)[0]
    assert smallest < -0.01
    text = text.format(block=", ".join(map(str, parts_of(matrix)[0][7])))
    if large:
        monkeypatch.setattr(checks, "EIGENVALUE_MAX_N", 5)
    else:
        text = re.escape(f"smallest eigenvalue {smallest:.1e}")
    with pytest.raises(NOT_PD, match=text):
        Schur(matrix)


@pytest.mark.parametrize("where", ["block", "C", "D"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_entries_that_are_not_finite(where, value):
    matrix = MODELS["equal blocks"].copy()
    blocks, inputs = parts_of(matrix)
    i, j = {"block": blocks[3, :2], "C": (blocks[3, 1], inputs[0]), "D": inputs[:2]}[where]
    matrix[i, j] = matrix[j, i] = value
    with pytest.raises(errors.NonFiniteError, match=": 2, the first at"):
        Schur(matrix)
    matrix[j, i] = 0.1
    with pytest.raises(errors.NonFiniteError, match=": 1, the first at"):
        Schur(matrix)


@pytest.mark.parametrize("where", ["block", "C", "D"])
@pytest.mark.usefixtures("kept")
def test_asymmetric_parts(where):
    matrix = MODELS["equal blocks"].copy()
    blocks, inputs = parts_of(matrix)
    i, j = {"block": blocks[3, :2], "C": (blocks[3, 1], inputs[0]), "D": inputs[:2]}[where]
    matrix[i, j] += 1e-6
    with pytest.raises(errors.NotSymmetricError, match=re.escape(f"({i}, {j})") + "|" + re.escape(f"({j}, {i})")):
        Schur(matrix)


def test_one_triangle_is_not_symmetric():
    with pytest.raises(errors.NotSymmetricError):
        Schur(np.tril(MODELS["equal blocks"]))


def test_singular_matrices_name_the_inputs():
    # The level of all blocks and a global are one direction.
    n_blocks = 6
    design = np.zeros((40, n_blocks + 1))
    design[np.arange(40), np.arange(40) % n_blocks] = 1.0
    design[:, n_blocks] = 1.0
    with pytest.raises(NOT_PD, match="not identified"):
        Schur(design.T @ design)
    exact = np.array([[1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(NOT_PD):
        Schur(np.kron(np.eye(3), exact))
    with pytest.raises(NOT_PD, match=r"mostly along input (2, 3|3, 2)"):
        Schur(sp.block_diag([np.eye(2), exact + np.diag([0.0, EPS]), np.eye(2)]))


def test_entries_beyond_the_range_of_numbers():
    for i, j in ((0, 1), (1, 2), (2, 3)):
        matrix = np.diag([1e-300, 1e-300, 1e-300, 1e-300, 1.0])
        matrix[i, j] = matrix[j, i] = 1e300
        for inputs, blocks in (([2, 3], ([[0, 1]], [[4]])), ([], ([[0, 1, 2, 3]], [[4]]))):
            with pytest.raises(NOT_PD):
                Schur(matrix, Arrow(5, inputs, blocks))
    coupled = np.diag([1.0, 1.0, 1.0])
    coupled[0, 2] = coupled[2, 0] = 1e200
    with pytest.raises(NOT_PD):
        Schur(coupled, Arrow(3, [2], ([[0], [1]],)))


# --- the choice ----------------------------------------------------------------------------------------------------


def test_chosen_where_it_is_faster(monkeypatch):
    many_globals = sp.csc_array(arrow_matrix([1] * 60, 25))
    few_globals = sp.csc_array(arrow_matrix([3] * 20, 4))
    banded = sp.diags_array([-np.ones(84), 2.5 * np.ones(85), -np.ones(84)], offsets=[-1, 0, 1]).tocsc()
    hollow = sp.csc_array(arrow_matrix([1] * 60, 25, fill=0.2))
    assert "Schur" not in choose_solver(many_globals, positive_definite=True).description
    monkeypatch.setattr(choose, "SCHUR_MIN_N", 50)
    for matrix, expected in ((many_globals, True), (few_globals, False), (banded, False), (hollow, False)):
        for claims in ({}, {"symmetric": True}, {"positive_definite": True}):
            solver = choose_solver(matrix, **claims)
            assert ("Schur" in solver.description) is expected
            assert np.allclose(matrix @ solver.solve(np.ones(matrix.shape[0])), 1.0, rtol=1e-10)
    assert "Schur" in choose_solver(few_globals, "schur", positive_definite=True).description
    assert "dense Cholesky" in choose_solver(many_globals.toarray(), positive_definite=True).description
    negative = -many_globals
    assert "SuperLU" in choose_solver(negative).description
    with pytest.raises(NOT_PD):
        choose_solver(negative, positive_definite=True)
    with pytest.raises(ValueError, match="'schur' needs a symmetric positive definite"):
        choose_solver(many_globals, "schur", positive_definite=False)
