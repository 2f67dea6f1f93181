"""Entries of the inverse from sparse factors, against the dense inverse, 50-digit mpmath and closed forms."""

import importlib.util
import weakref

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp

from vittles_ng import errors
from vittles_ng.solvers import Cholmod, DenseCholesky, DenseLU, SuperLU
from vittles_ng.solvers import selected_inverse as module
from vittles_ng.solvers.selected_inverse import SelectedInverse


def superlu_definite(matrix):
    return SuperLU(matrix, positive_definite=True)


SPARSE = {"superlu definite": superlu_definite}
if importlib.util.find_spec("sksparse"):
    SPARSE["cholmod"] = Cholmod
    SPARSE["cholmod natural"] = lambda matrix: Cholmod(matrix, ordering="natural")
SPARSE_ALL = SPARSE | {"superlu": SuperLU}
DENSE = {"cholesky": DenseCholesky, "lu": DenseLU}


def rng():
    return np.random.default_rng(4)


def tridiagonal(n):
    return sp.diags_array([np.full(n - 1, -1.0), np.full(n, 2.5), np.full(n - 1, -1.0)], offsets=[-1, 0, 1]).tocsc()


def grid(k, diagonal=0.1):
    line = sp.diags_array([np.full(k - 1, -1.0), np.full(k, 2.0), np.full(k - 1, -1.0)], offsets=[-1, 0, 1])
    eye = sp.eye_array(k)
    return sp.csc_array(sp.kron(line, eye) + sp.kron(eye, line) + diagonal * sp.eye_array(k * k))


def arrow(n_blocks, size, n_global):
    n = n_blocks * size
    dense = np.zeros((n + n_global, n + n_global))
    for first in range(0, n, size):
        dense[first : first + size, first : first + size] = rng().standard_normal((size, size))
    dense[n:] = rng().standard_normal((n_global, n + n_global))
    dense = dense + dense.T
    return sp.csc_array(dense + np.diag(abs(dense).sum(axis=1)))


def random(n, density):
    half = sp.random_array((n, n), density=density, rng=rng(), format="csc")
    return sp.csc_array(half @ half.T + sp.eye_array(n))


def shuffled(matrix):
    order = rng().permutation(matrix.shape[0])
    return sp.csc_array(matrix[order][:, order])


def in_units(matrix, units):
    return sp.csc_array(sp.diags_array(units) @ matrix @ sp.diags_array(units))


MATRICES = {
    "one": sp.csc_array([[4.0]]),
    "two": sp.csc_array([[2.0, 1.0], [1.0, 3.0]]),
    "diagonal": sp.csc_array(sp.diags_array(np.arange(1.0, 80.0))),
    "tridiagonal": tridiagonal(120),
    "grid": grid(15),
    "shuffled grid": shuffled(grid(14)),
    "arrow": arrow(40, 3, 4),
    "shuffled arrow": shuffled(arrow(15, 5, 6)),
    "arrow of single inputs": arrow(60, 1, 1),
    "random": random(150, 0.01),
    "random, denser": random(120, 0.08),
    "full": random(40, 0.5),
    "separate parts": sp.csc_array(sp.block_diag([grid(5), tridiagonal(40), arrow(6, 2, 3), sp.eye_array(9)])),
    "units apart": in_units(shuffled(grid(9)), np.geomspace(1e-8, 1e8, 81)),
    "units far apart": in_units(grid(6), np.geomspace(1e-70, 1e70, 36)),
    "explicit zeros": sp.csc_array((np.array([2.0, 0.0, 0.0, 3.0]), [0, 1, 0, 1], [0, 2, 4])),
}


for _matrix in MATRICES.values():
    _matrix.sort_indices()


def columns_of(matrix):
    return np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))


def relative_error(entries, oracle):
    """Largest error of csc entries relative to the geometric mean of the two diagonal entries of the inverse."""
    size = np.sqrt(abs(oracle.diagonal()))
    rows, columns = entries.indices, columns_of(entries)
    return (abs(entries.data - oracle[rows, columns]) / (size[rows] * size[columns])).max()


def oracle_of(matrix):
    """The dense inverse, of the matrix in units of its diagonal, which rounding does not spoil."""
    units = 1.0 / np.sqrt(matrix.diagonal())
    inverse = np.linalg.inv((units[:, None] * matrix.toarray()) * units)
    return (units[:, None] * inverse) * units


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("solver", SPARSE_ALL)
def test_pattern_and_diagonal_like_the_dense_inverse(solver, name):
    matrix = MATRICES[name]
    before = matrix.copy()
    oracle, made = oracle_of(matrix), SPARSE_ALL[solver](matrix)
    inverse = made.selected_inverse()
    assert isinstance(inverse, sp.csc_array) and inverse.has_canonical_format
    assert np.array_equal(inverse.indptr, matrix.indptr) and np.array_equal(inverse.indices, matrix.indices)
    assert relative_error(inverse, oracle) < 1e-10
    assert np.allclose(made.inverse_diagonal(), oracle.diagonal(), rtol=1e-10, atol=0)
    assert np.array_equal(matrix.data, before.data) and np.array_equal(matrix.indices, before.indices)


@pytest.mark.parametrize("solver", SPARSE_ALL)
def test_any_pattern(solver):
    matrix = shuffled(grid(12))
    oracle, made = np.linalg.inv(matrix.toarray()), SPARSE_ALL[solver](matrix)
    full = np.ones(matrix.shape, dtype=bool)
    assert not matrix.has_sorted_indices
    patterns = {
        "part of H": sp.csc_array(sp.tril(matrix)),
        "everything": sp.csc_array(full),
        "two columns, one entry elsewhere": sp.csc_array((np.ones(4), ([0, 143, 7, 7], [3, 3, 90, 100])), matrix.shape),
        "coo of integers": sp.coo_array((np.zeros(2, dtype=int), ([5, 140], [140, 5])), matrix.shape),
        "rows": sp.csr_array(matrix),
        "empty": sp.csc_array(matrix.shape),
    }
    for name, pattern in patterns.items():
        before = pattern.copy()
        inverse = made.selected_inverse(pattern)
        expected = sp.csc_array(pattern)
        assert np.array_equal(inverse.indices, expected.indices), name
        assert np.array_equal(inverse.indptr, expected.indptr), name
        assert np.allclose(inverse.data, oracle[inverse.indices, columns_of(inverse)], rtol=1e-10), name
        # What is returned is the caller's to write into.
        inverse.data[:] = inverse.indices[:] = inverse.indptr[:] = 0
        assert abs(sp.csc_array(pattern) - sp.csc_array(before)).nnz == 0
    made.selected_inverse().indices[:] = 0
    inverse = made.selected_inverse()
    assert inverse.has_canonical_format and inverse.nnz == matrix.nnz
    assert np.allclose(inverse.data, oracle[inverse.indices, columns_of(inverse)], rtol=1e-10)


@pytest.mark.parametrize("solver", DENSE)
def test_dense_factors_give_the_whole_inverse(monkeypatch, solver):
    matrix = random(30, 0.2)
    oracle = np.linalg.inv(matrix.toarray())
    for largest in (512, 0):
        monkeypatch.setattr(f"vittles_ng.solvers.{DENSE[solver].__module__.split('.')[-1]}.INVERSE_MAX_N", largest)
        made = DENSE[solver](matrix.toarray())
        inverse = made.selected_inverse()
        assert isinstance(inverse, np.ndarray) and np.allclose(inverse, oracle, rtol=0, atol=1e-13)
        inverse[:] = 0.0
        diagonal = made.inverse_diagonal()
        assert np.allclose(diagonal, oracle.diagonal(), rtol=1e-12)
        diagonal[:] = 0.0
        assert np.allclose(made.solve(np.eye(30)), oracle, rtol=0, atol=1e-13)
        entries = made.selected_inverse(matrix)
        assert np.array_equal(entries.indices, matrix.indices) and relative_error(entries, oracle) < 1e-12


def test_unsymmetric_inverse():
    dense = rng().standard_normal((25, 25)) * (rng().random((25, 25)) < 0.2) + np.roll(np.eye(25), 1, axis=0)
    assert (dense.diagonal() == 0).any()
    oracle = np.linalg.inv(dense)
    for make in (SuperLU, DenseLU):
        made = make(sp.csc_array(dense))
        assert np.allclose(made.inverse_diagonal(), oracle.diagonal(), rtol=1e-10, atol=1e-11)
        entries = made.selected_inverse(sp.csc_array(dense))
        assert np.allclose(entries.data, oracle[entries.indices, columns_of(entries)], rtol=1e-9, atol=1e-10)
    # The diagonal is there where the matrix has none.
    entries = SuperLU(sp.csc_array(dense)).selected_inverse()
    assert entries.nnz == np.count_nonzero((dense != 0) | np.eye(25, dtype=bool))


@pytest.mark.parametrize("solver", SPARSE_ALL | DENSE)
def test_no_inputs_and_bad_patterns(solver):
    make = (SPARSE_ALL | DENSE)[solver]
    empty = make(sp.csc_array((0, 0)))
    assert empty.inverse_diagonal().shape == (0,) and empty.selected_inverse().shape == (0, 0)
    assert empty.selected_inverse(sp.csc_array((0, 0))).shape == (0, 0)
    made = make(tridiagonal(4))
    with pytest.raises(errors.ShapeError, match=r"pattern of shape \(3, 3\): the matrix has \(4, 4\)"):
        made.selected_inverse(sp.eye_array(3))
    with pytest.raises(TypeError, match="pattern of type ndarray"):
        made.selected_inverse(np.eye(4))


@pytest.mark.parametrize("solver", SPARSE)
def test_closed_form(solver):
    """Second differences of n inputs: the inverse is ``min(i, j) (n + 1 - max(i, j)) / (n + 1)``."""
    n = 400
    matrix = sp.csc_array(tridiagonal(n) - 0.5 * sp.eye_array(n))
    i = np.arange(1.0, n + 1.0)
    made = SPARSE[solver](matrix)
    assert np.allclose(made.inverse_diagonal(), i * (n + 1 - i) / (n + 1), rtol=1e-11)
    inverse = made.selected_inverse()
    assert np.allclose(inverse.diagonal(k=1), i[:-1] * (n - i[:-1]) / (n + 1), rtol=1e-11)


@pytest.mark.parametrize("solver", SPARSE)
def test_ill_conditioned_against_mpmath(solver):
    matrix = grid(5, diagonal=1e-9)
    matrix = sp.csc_array(matrix - sp.diags_array(np.asarray(matrix.sum(axis=1)) - 1e-9))
    with mpmath.workdps(50):
        inverse = mpmath.inverse(mpmath.matrix(matrix.toarray().tolist()))
        oracle = np.array([[float(inverse[i, j]) for j in range(25)] for i in range(25)])
    condition = np.linalg.cond(matrix.toarray())
    assert condition > 1e9
    assert relative_error(SPARSE[solver](matrix).selected_inverse(), oracle) < 1e-15 * condition


@pytest.mark.parametrize(
    ("leaf", "small", "zeros"), [(1, 1, 0.0), (1, 1, 1.0), (2, 3, 0.1), (8, 1, 0.0), (10**6, 1, 0.0), (32, 10**6, 1.0)]
)
def test_any_division_into_groups_gives_the_same(monkeypatch, leaf, small, zeros):
    monkeypatch.setattr(module, "LEAF_COLUMNS", leaf)
    monkeypatch.setattr(module, "SMALL_GROUP", small)
    monkeypatch.setattr(module, "ZEROS_ALLOWED", zeros)
    monkeypatch.setattr(module, "CHUNK", 17)
    for matrix in (grid(9), arrow(10, 3, 2), MATRICES["separate parts"], MATRICES["diagonal"]):
        for make in SPARSE.values():
            assert relative_error(make(matrix).selected_inverse(), np.linalg.inv(matrix.toarray())) < 1e-12


def test_entries_of_the_factor_that_cancelled():
    """A factor without its stored zeros has no elimination tree; the entries at the rest of it are right."""
    seen = 0
    for seed in range(20):
        r = np.random.default_rng(seed)
        lower = np.tril(r.integers(-1, 2, (12, 12)).astype(float), -1) * (r.random((12, 12)) < 0.4)
        np.fill_diagonal(lower, 1.0 + r.random(12))
        stored = sp.csc_array(lower)
        oracle = np.linalg.inv(lower @ lower.T)
        selected = SelectedInverse(stored, np.arange(12))
        assert np.allclose(selected.diagonal(), oracle.diagonal(), rtol=1e-9)
        assert np.allclose(selected.at(stored), oracle[stored.indices, columns_of(stored)], rtol=1e-9, atol=1e-9)
        full = sp.csc_array(np.ones((12, 12)))
        values = selected.at(full).reshape(12, 12)
        known = ~np.isnan(values)
        assert np.array_equal(known, (lower != 0) | (lower != 0).T)
        assert np.allclose(values[known], oracle[known], rtol=1e-9, atol=1e-9)
        seen += not known.all()
    assert seen == 20


def test_fronts_are_let_go(monkeypatch):
    """No more fronts are alive than lie on a path of the tree, and none at the end."""
    alive, most, total = set(), [0], [0]
    original = module._whole_front

    def counted(*arguments):
        front = original(*arguments)
        total[0] += 1
        alive.add(total[0])
        weakref.finalize(front, alive.discard, total[0])
        most[0] = max(most[0], len(alive))
        return front

    monkeypatch.setattr(module, "_whole_front", counted)
    for make in SPARSE.values():
        most[0], total[0] = 0, 0
        make(grid(60)).inverse_diagonal()
        assert total[0] > 50 and most[0] < total[0] / 3 and not alive


@pytest.mark.parametrize("solver", SPARSE)
def test_large_grid_against_columns_of_the_inverse(solver):
    matrix = grid(70)
    made = SPARSE[solver](matrix)
    inverse, diagonal = made.selected_inverse(), made.inverse_diagonal()
    chosen = rng().choice(matrix.shape[0], 20, replace=False)
    unit = np.zeros((matrix.shape[0], 20))
    unit[chosen, np.arange(20)] = 1.0
    columns = sp.linalg.spsolve(matrix, sp.csc_array(unit)).toarray()
    for k, j in enumerate(chosen):
        part = slice(inverse.indptr[j], inverse.indptr[j + 1])
        assert np.allclose(inverse.data[part], columns[inverse.indices[part], k], rtol=1e-10)
        assert np.isclose(diagonal[j], columns[j, k], rtol=1e-11)
