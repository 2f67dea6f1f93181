"""Sparse derivatives against dense ones by plain autograd, and the patterns and products that they take."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse
from problems import MODELS, normal
from sparse_models import SPARSE_MODELS, arrow_pattern, grid_pattern

import vittles_ng as vn
from vittles_ng.assembly import Assembly, checked_pattern
from vittles_ng.errors import NonFiniteError, PatternError, ShapeError, SizeError

names = pytest.mark.parametrize("model", SPARSE_MODELS.values(), ids=SPARSE_MODELS)


def at_hyper(model):
    return lambda x: model.function(x, model.hyper_val0)


def sparse_of(model, sparsity="auto"):
    make = vn.SparseHessian if model.is_objective else vn.SparseJacobian
    return make(at_hyper(model), 0.1 * normal(model.n_input), sparsity)


def dense_of(model, x):
    function = at_hyper(model)
    return autograd.hessian(function)(x) if model.is_objective else autograd.jacobian(function)(x)


# ---- the assembly alone ----


def random_matrices():
    rng = np.random.default_rng(11)
    for trial in range(60):
        n = int(rng.integers(1, 40))
        matrix = rng.standard_normal((n, n)) * (rng.uniform(size=(n, n)) < rng.uniform(0.0, 0.4))
        if trial % 3 == 0:
            matrix[rng.integers(n)] = rng.standard_normal(n)
        if trial % 4 == 0:
            matrix[:, rng.integers(n)] = rng.standard_normal(n)
        yield matrix


def test_random_matrices_come_back_from_their_products():
    for matrix in random_matrices():
        n = len(matrix)
        assembly = Assembly(checked_pattern(matrix, n, False), symmetric=False)
        found = assembly.fill(lambda v, a=matrix: v @ a.T, lambda v, a=matrix: v @ a)
        np.testing.assert_allclose(found.toarray(), matrix, rtol=0, atol=0)
        assert assembly.n_products <= n + len(assembly.dense_rows)
        symmetric = matrix + matrix.T
        assembly = Assembly(checked_pattern(np.tril(symmetric), n, True), symmetric=True)
        found = assembly.fill(lambda v, a=symmetric: v @ a.T)
        np.testing.assert_allclose(found.toarray(), symmetric, rtol=0, atol=0)
        assert assembly.n_products <= n


@pytest.mark.parametrize(
    "pattern, n_dense, n_colours",
    [
        (arrow_pattern([5] * 30, 8), 8, 5),
        (arrow_pattern([5] * 30, 0), 0, 5),
        (arrow_pattern([4, 1, 2, 4, 3] * 5, 2), 2, 4),
        (np.eye(7, dtype=bool), 0, 1),
        (np.ones((4, 4), bool), 0, 4),
        (np.ones((1, 1), bool), 0, 1),
        (np.abs(np.subtract.outer(np.arange(50), np.arange(50))) <= 2, 0, 5),
    ],
    ids=["arrow", "blocks", "unequal blocks", "diagonal", "full", "one", "band"],
)
def test_numbers_of_products(pattern, n_dense, n_colours):
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(pattern))
    for p in (pattern, pattern[np.ix_(shuffled, shuffled)]):
        assembly = Assembly(checked_pattern(p, len(p), True), symmetric=True)
        assert len(assembly.dense) == n_dense
        assert assembly.n_products == n_dense + assembly.n_colours
        if p is pattern:
            assert assembly.n_colours == n_colours


def test_columns_of_one_colour_share_no_row():
    pattern = grid_pattern(9, 11)
    colours = Assembly(checked_pattern(pattern, 99, True), symmetric=True).colours
    for colour in range(colours.max() + 1):
        assert pattern[:, colours == colour].sum(axis=1).max() <= 1


def test_exactly_symmetric_although_products_round():
    rng = np.random.default_rng(1)
    matrix = np.where(arrow_pattern([3, 4, 2], 2), rng.standard_normal((11, 11)), 0.0)
    matrix = matrix + matrix.T
    assembly = Assembly(checked_pattern(matrix, 11, True), symmetric=True)

    def rounding(v):
        return v @ matrix * (1.0 + 1e-13 * rng.standard_normal((len(v), 11)))

    found = assembly.fill(rounding).toarray()
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, matrix, rtol=1e-12)


def test_a_pattern_is_completed_and_not_changed():
    lower = scipy.sparse.csr_array(np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 2.0]]))
    before = lower.toarray()
    np.testing.assert_array_equal(checked_pattern(lower, 3, True).toarray(), [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(checked_pattern(lower, 3, False).toarray(), before != 0)
    np.testing.assert_array_equal(lower.toarray(), before)
    duplicated = scipy.sparse.coo_array((np.zeros(300), (np.zeros(300, int), np.ones(300, int))), shape=(2, 2))
    np.testing.assert_array_equal(checked_pattern(duplicated, 2, False).toarray(), [[0, 1], [0, 0]])
    unsorted = scipy.sparse.csc_array((np.ones(2), np.array([1, 0]), np.array([0, 2, 2])), shape=(2, 2))
    np.testing.assert_array_equal(checked_pattern(unsorted, 2, False).toarray(), [[1, 0], [1, 0]])
    np.testing.assert_array_equal(unsorted.indices, [1, 0])


@pytest.mark.parametrize("shape", [(2, 3), (4, 4), (3,)])
def test_patterns_of_another_shape(shape):
    with pytest.raises(ShapeError, match="sparsity pattern has shape"):
        checked_pattern(np.ones(shape), 3, True)


@pytest.mark.parametrize(
    "bad, error", [(True, ShapeError), (3.0, ShapeError), ([["a"]], TypeError), ([[1j]], TypeError)]
)
def test_patterns_that_are_none(bad, error):
    with pytest.raises(error, match="sparsity pattern has"):
        checked_pattern(bad, 1, True)


@pytest.mark.parametrize("symmetric", [True, False])
def test_products_that_do_not_fit_are_refused_before_columns_are_coloured(symmetric, monkeypatch):
    monkeypatch.setattr(vn.assembly, "memory_limit", lambda: 16 * 7 * 7 - 1)
    monkeypatch.setattr(vn.assembly, "_coloured", None)
    with pytest.raises(SizeError, match="matrix of 7 inputs by 7 products or more takes 784 bytes"):
        Assembly(checked_pattern(np.ones((7, 7)), 7, symmetric), symmetric)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("symmetric", [True, False])
def test_entries_that_are_not_finite_are_no_missing_ones(value, symmetric):
    matrix = np.eye(4) + np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)
    matrix[1, 1] = value
    products = matrix[:, [0, 1, 2]].T  # of columns 0 and 3 together, then 1, then 2
    products[0] += matrix[:, 3]
    assembly = Assembly(checked_pattern(matrix, 4, symmetric), symmetric)
    by_colour = np.array([products[[0, 1, 2, 0][np.flatnonzero(d)[0]]] for d in assembly.directions()])
    given = iter([by_colour, np.full((1, 4), np.nan)])
    found = assembly.fill(lambda directions: next(given)).toarray()
    np.testing.assert_array_equal(found, matrix)


# ---- of functions ----


@names
@pytest.mark.parametrize("given", [False, True], ids=["auto", "given"])
def test_matrix_and_pattern(model, given):
    sparse = sparse_of(model, model.pattern if given else "auto")
    np.testing.assert_array_equal(sparse.pattern.toarray().astype(bool), model.pattern)
    for x in (0.1 * normal(model.n_input), 0.3 * normal(model.n_input, start=0.4)):
        found, exact = sparse.matrix(x), dense_of(model, x)
        assert isinstance(found, scipy.sparse.csc_array) and found.has_canonical_format
        np.testing.assert_allclose(found.toarray(), exact, rtol=1e-12, atol=1e-13 * np.abs(exact).max())
        v = normal(model.n_input, start=0.8)
        np.testing.assert_allclose(sparse.product(v), exact @ v, rtol=1e-11, atol=1e-12)
    if model.is_objective:
        assert (abs(found - found.T)).max() == 0.0
    if model.n_products is not None:
        assert sparse.n_products == model.n_products


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_table_has_the_same_matrix(name):
    model = MODELS[name]
    make = vn.SparseHessian if model.is_objective else vn.SparseJacobian
    sparse = make(lambda x: model.function(x, model.hyper_val0), model.input_val0)
    dense = vn.problem.Problem(model.function, model.input_val0, model.hyper_val0, model.is_objective).jacobian()
    found = sparse.matrix().toarray()
    np.testing.assert_allclose(found, dense, rtol=1e-12, atol=1e-13 * np.abs(dense).max())


def test_the_same_matrix_is_filled_again_and_the_function_recorded_once_a_point():
    n_calls = []

    def objective(x):
        n_calls.append(1)
        return anp.sum(anp.exp(x)) + anp.sum(x[1:] * x[:-1])

    sparse = vn.SparseHessian(objective, np.zeros(6))
    first = sparse.matrix()
    np.testing.assert_array_equal(first.diagonal(), np.ones(6))
    sparse.matrix(np.zeros(6))
    sparse.product(np.ones(6))
    assert len(n_calls) == 1
    second = sparse.matrix(np.log(2.0) * np.ones(6))
    assert second is first and len(n_calls) == 2
    np.testing.assert_allclose(first.diagonal(), 2.0 * np.ones(6))
    assert sparse.matrix() is first  # at the input of the last call
    np.testing.assert_allclose(first.diagonal(), 2.0 * np.ones(6))


def test_nested_inputs():
    inputs = {"b": np.ones((2, 2)), "a": 0.5}
    sparse = vn.SparseHessian(lambda x: x["a"] ** 2 * anp.sum(x["b"]) + anp.sum(x["b"] ** 3), inputs)
    found = sparse.matrix().toarray()
    expected = np.diag([8.0, 6.0, 6.0, 6.0, 6.0])
    expected[0, 1:] = expected[1:, 0] = 1.0
    np.testing.assert_allclose(found, expected)


def test_a_pattern_that_misses_entries_raises_with_the_row():
    def objective(x):
        return anp.sum(x**2) + 1e-3 * x[2] * x[5] ** 2

    x0 = np.ones(8)
    sparse = vn.SparseHessian(objective, x0, np.eye(8))
    with pytest.raises(PatternError, match=r"misses entries.*in row [25], and in 2 rows"):
        sparse.matrix()
    pattern = np.eye(8)
    pattern[5, 2] = 1.0
    np.testing.assert_allclose(vn.SparseHessian(objective, x0, pattern).matrix()[2, 5], 2e-3)


UNITS = {"tiny": [1.0, 1e-5, 1e-5, 1.0], "huge": [1e5, 1.0, 1.0, 1e5], "far apart": [1e4, 1.0, 0.1, 1e2]}


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("is_objective", [True, False])
def test_units_of_the_inputs_hide_no_entry(units, is_objective):
    units = np.array(units)
    coupled = np.array([[1.0, 0.3, 0.2, 0.0], [0.3, 1.0, 0.5, 0.0], [0.2, 0.5, 1.0, 0.1], [0.0, 0.0, 0.1, 1.0]])
    matrix = units[:, None] * coupled * units
    if is_objective:
        make, function = vn.SparseHessian, lambda x: 0.5 * anp.dot(x, anp.dot(matrix, x))
    else:
        make, function = vn.SparseJacobian, lambda x: anp.dot(matrix, x)
    for i, j in [(1, 0), (2, 0), (2, 1), (3, 2)]:
        pattern = coupled != 0.0
        pattern[i, j] = pattern[j, i] = False
        with pytest.raises(PatternError, match="misses entries"):
            make(function, np.ones(4), pattern).matrix()
    np.testing.assert_allclose(make(function, np.ones(4)).matrix().toarray(), matrix, rtol=1e-12)


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: x[0] * x[2], [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        (lambda x: 3.0 * anp.sum(x), np.zeros((3, 3))),
        (lambda x: 1e-300 * anp.sum(x**2), 2e-300 * np.eye(3)),
        (lambda x: 1e300 * x[0] ** 2 + x[1] ** 2, np.diag([2e300, 2.0, 0.0])),
    ],
    ids=["saddle", "linear", "tiny", "huge"],
)
def test_diagonals_that_have_no_scale(function, expected):
    np.testing.assert_array_equal(vn.SparseHessian(function, np.ones(3)).matrix().toarray(), expected)


def test_rounding_in_an_input_without_effect_is_no_missing_entry():
    rng = np.random.default_rng(2)
    weights = np.append(rng.uniform(10.0, 100.0, 20), 0.0)

    def objective(x):  # the last input's curvature is that of terms that cancel
        terms = weights * x**2 + anp.append(x[1:] * x[:-1], 0.0)
        return anp.sum(terms) - x[-1] * x[-2] + (x[-1] * np.pi) ** 2 - (np.pi**2) * x[-1] ** 2

    sparse = vn.SparseHessian(objective, np.ones(21))
    matrix = sparse.matrix().toarray()
    assert abs(matrix[-1, -1]) < 1e-13 and matrix[0, 0] == 2.0 * weights[0]


def test_another_branch_elsewhere_finds_its_own_pattern():
    def objective(x):
        if autograd.tracer.getval(x)[0] > 0.0:
            return anp.sum(x**2) + x[0] * x[3] ** 3
        return anp.sum(x**2)

    sparse = vn.SparseHessian(objective, -np.ones(4))
    assert sparse.pattern.nnz == 4
    sparse.matrix()
    np.testing.assert_allclose(sparse.matrix(np.ones(4)).toarray(), autograd.hessian(objective)(np.ones(4)))
    fixed = vn.SparseHessian(objective, -np.ones(4), np.eye(4))
    with pytest.raises(PatternError):
        fixed.matrix(np.ones(4))


def test_unknown_primitives_are_dense():
    @autograd.extend.primitive
    def cubed(x):
        return x**3

    autograd.extend.defvjp(cubed, lambda ans, x: lambda g: 3.0 * g * x**2)
    vn.defjet(
        cubed, lambda k, y, x: [c for c in (vn.jet(lambda t: t**3, np.stack([x[0], *(c[0] for c in x[1:])])),)][0][k]
    )
    sparse = vn.SparseHessian(lambda x: anp.sum(cubed(x)), np.ones(3))
    np.testing.assert_allclose(sparse.matrix().toarray(), 6.0 * np.eye(3))


@pytest.mark.parametrize("bad", [np.full(3, np.nan), np.ones(4), [1.0, np.inf, 0.0]])
def test_bad_inputs(bad):
    sparse = vn.SparseHessian(lambda x: anp.sum(x**3), np.ones(3))
    with pytest.raises((NonFiniteError, ShapeError)):
        sparse.matrix(bad)


def test_bad_arguments():
    with pytest.raises(ValueError, match="sparsity='dense' is not known"):
        vn.SparseHessian(lambda x: anp.sum(x**3), np.ones(3), "dense")
    with pytest.raises(ShapeError, match="v has shape"):
        vn.SparseHessian(lambda x: anp.sum(x**3), np.ones(3)).product(np.ones(4))
    with pytest.raises(ShapeError, match="a scalar is needed"):
        vn.SparseHessian(lambda x: x**3, np.ones(3))


# ---- the predecessor's class ----

BLOCKS = np.array([[0, 5], [1, 4], [6, 2]])


def blocks_and_a_global(x):
    total = 0.0
    for i, j in BLOCKS:
        total = total + anp.exp(0.2 * x[i] * x[j]) + x[i] ** 4 + anp.sin(x[j] * x[3])
    return total + x[3] ** 2


def test_block_hessian_parts():
    x = normal(7, start=0.3)
    exact = autograd.hessian(blocks_and_a_global)(x)
    hessian = vn.SparseBlockHessian(blocks_and_a_global, BLOCKS)
    whole = hessian.get_hessian(x)
    np.testing.assert_allclose(whole.toarray(), exact, rtol=1e-12, atol=1e-13)
    assert isinstance(whole, scipy.sparse.csc_matrix)
    local = exact.copy()
    local[3] = local[:, 3] = 0.0
    np.testing.assert_allclose(hessian.get_block_hessian(x).toarray(), local, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(hessian.get_global_hessian(x).toarray(), exact - local, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(hessian.get_global_hessian(x, global_inds=[3]).toarray(), exact - local, rtol=1e-12)
    assert hessian.get_global_hessian(x, global_inds=[]).nnz == 0


def test_block_hessian_without_globals_and_of_one_block():
    def objective(x):
        return (x[0] * x[1]) ** 2 + anp.exp(x[0])

    x = np.array([0.5, 2.0])
    found = vn.SparseBlockHessian(objective, [[1, 0]]).get_hessian(x)
    np.testing.assert_allclose(found.toarray(), autograd.hessian(objective)(x), rtol=1e-12)


def test_block_hessian_prints_progress_when_asked(capsys):
    hessian = vn.SparseBlockHessian(blocks_and_a_global, BLOCKS)
    hessian.get_hessian(np.ones(7))
    assert capsys.readouterr().out == ""
    hessian.get_block_hessian(np.ones(7), print_every=2)
    assert capsys.readouterr().out == "2 of 2 products\n"


def test_block_hessian_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="names an input twice"):
        vn.SparseBlockHessian(blocks_and_a_global, [[0, 1], [1, 2]])
    for bad in ([0, 1], [[-1, 0]], [[0.5, 1.0]]):
        with pytest.raises(ShapeError, match="n_blocks, block_size"):
            vn.SparseBlockHessian(blocks_and_a_global, bad)
    hessian = vn.SparseBlockHessian(blocks_and_a_global, BLOCKS)
    with pytest.raises(ShapeError, match="more than 6 elements"):
        hessian.get_hessian(np.ones(5))
    with pytest.raises(ValueError, match="global_inds has inputs that are in a block"):
        hessian.get_global_hessian(np.ones(7), global_inds=[2, 3])
    for bad in ([-1], [7], [2.7], [np.nan]):
        with pytest.raises(ValueError, match="indices from 0 to 6"):
            hessian.get_global_hessian(np.ones(7), global_inds=bad)
    with pytest.raises(PatternError, match="misses entries"):
        vn.SparseBlockHessian(lambda x: anp.sum(x) ** 3, [[0, 1], [2, 3]]).get_block_hessian(np.ones(4))
