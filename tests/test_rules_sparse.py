"""``sparse_dot`` against the dense product: values, derivatives of every kind and order, and bad input."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse
from jet_checks import check_all, random_series

import vittles_ng as vn
from vittles_ng.errors import MutationError, OperandError, ShapeError
from vittles_ng.taylor.recorded import Recorded
from vittles_ng.taylor.tape import record

RNG = np.random.default_rng(5)
DENSE = np.where(RNG.uniform(size=(7, 4)) < 0.45, RNG.standard_normal((7, 4)), 0.0)
DENSE[2] = 0.0  # an empty row
DENSE[:, 1] = 0.0  # an empty column
X = RNG.standard_normal(4)
KINDS = {
    f"{format}_{kind}": getattr(scipy.sparse, f"{format}_{kind}")(DENSE)
    for format in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
    for kind in ("array", "matrix")
}
EXPLICIT_ZERO = scipy.sparse.csr_array(DENSE)
EXPLICIT_ZERO.data[0] = 0.0
MATRICES = {
    **KINDS,
    "one entry": scipy.sparse.csr_array([[2.0]]),
    "no entry": scipy.sparse.csr_array((3, 4)),
    "explicit zero": EXPLICIT_ZERO,
    "integers": scipy.sparse.csr_array(np.array([[1, 0, -2], [0, 3, 0]])),
    "duplicates": scipy.sparse.coo_array(([1.0, 2.0, -4.0], ([0, 0, 1], [1, 1, 2])), shape=(2, 3)),
    "wide": scipy.sparse.csr_array(DENSE.T),
}


OF_OBJECTS = scipy.sparse.csr_array(DENSE)
OF_OBJECTS.data = OF_OBJECTS.data.astype(object)


def dense(A):
    return np.asarray(A.toarray(), dtype=float)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("columns", [None, 1, 3])
def test_equals_the_dense_product(name, columns):
    A = MATRICES[name]
    x = np.random.default_rng(1).standard_normal(A.shape[1:] if columns is None else (A.shape[1], columns))
    value = vn.sparse_dot(A, x)
    assert type(value) is np.ndarray
    assert np.allclose(value, dense(A) @ x, rtol=1e-14, atol=1e-14)

    def sparse_objective(x):
        return anp.sum(anp.exp(vn.sparse_dot(A, x)) + vn.sparse_dot(A, x) ** 3)

    def dense_objective(x):
        return anp.sum(anp.exp(anp.dot(dense(A), x)) + anp.dot(dense(A), x) ** 3)

    v = np.random.default_rng(2).standard_normal(x.shape)
    for derivative in (
        autograd.grad,
        autograd.hessian,
        lambda f: autograd.grad(lambda x: anp.sum(v * autograd.grad(f)(x))),
        lambda f: lambda x: autograd.make_jvp(f)(x)(v)[1],
        lambda f: lambda x: autograd.make_jvp(autograd.grad(f))(x)(v)[1],
    ):
        got, expected = derivative(sparse_objective)(x), derivative(dense_objective)(x)
        assert np.allclose(got, expected, rtol=1e-12, atol=1e-12)
    series = random_series(x, 4, seed=3)
    got, expected = (vn.jet(autograd.grad(f), *series) for f in (sparse_objective, dense_objective))
    assert np.allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["csr_array", "csc_matrix", "coo_array", "no entry"])
@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_series_identities(name, shape):
    x = np.random.default_rng(4).standard_normal(shape)
    check_all(lambda x: anp.sin(vn.sparse_dot(MATRICES[name], x)), x)


def test_of_plain_input():
    assert np.array_equal(vn.sparse_dot(KINDS["csr_array"], [1, 2, 3, 4]), DENSE @ [1.0, 2.0, 3.0, 4.0])
    before = [np.array(part) for part in (KINDS["csr_array"].data, KINDS["csr_array"].indices)]
    record(autograd.grad(lambda x: anp.sum(vn.sparse_dot(KINDS["csr_array"], x) ** 2)), X)
    assert all(map(np.array_equal, before, (KINDS["csr_array"].data, KINDS["csr_array"].indices)))


@pytest.mark.parametrize("A, shape", [
    (scipy.sparse.csr_array((3, 0)), (0,)), (scipy.sparse.csr_array((0, 4)), (4,)), (KINDS["csr_array"], (4, 0)),
])  # fmt: skip
def test_empty(A, shape):
    x = np.ones(shape)
    assert np.array_equal(vn.sparse_dot(A, x), A.toarray() @ x)
    assert np.array_equal(autograd.grad(lambda x: anp.sum(vn.sparse_dot(A, x) ** 2))(x), np.zeros(shape))


def test_complex_matrix_and_vector():
    A = scipy.sparse.csr_array(DENSE + 1j * DENSE[::-1])
    z = X + 0.5j
    assert np.allclose(vn.sparse_dot(A, z), A.toarray() @ z)
    got = autograd.grad(lambda x: anp.sum(anp.real(vn.sparse_dot(A, x)) ** 2 + anp.imag(vn.sparse_dot(A, x)) ** 3))(X)
    assert got.dtype == np.float64
    assert np.allclose(got, 2.0 * DENSE.T @ DENSE @ X + 3.0 * DENSE[::-1].T @ (DENSE[::-1] @ X) ** 2)


def test_equal_calls_are_one():
    """By content where the matrix is small, by place and content where it is large; the transpose is another call."""
    small = [scipy.sparse.csr_array(DENSE) for _ in range(2)]
    tape = record(lambda x: vn.sparse_dot(small[0], x) * anp.exp(vn.sparse_dot(small[1], x)), X)[0]
    assert tape.names.count("sparse_product") == 1
    large = scipy.sparse.random_array((400, 300), density=0.1, rng=np.random.default_rng(0), format="csr")
    tape = record(lambda x: vn.sparse_dot(large, x) * vn.sparse_dot(large, x), np.ones(300))[0]
    assert tape.names.count("sparse_product") == 1
    tape = record(autograd.grad(lambda x: anp.sum(vn.sparse_dot(large, x) ** 2)), np.ones(300))[0]
    assert tape.names.count("sparse_product") == 2
    other = large.copy()
    other.data[7] *= 2.0
    tape = record(lambda x: vn.sparse_dot(large, x) * vn.sparse_dot(other, x), np.ones(300))[0]
    assert tape.names.count("sparse_product") == 2


@pytest.mark.parametrize("n", [5, 5000])
@pytest.mark.parametrize("part", ["data", "indices"])
@pytest.mark.parametrize("format", ["csr", "csc"])
def test_a_change_of_the_matrix_is_caught(n, part, format):
    A = scipy.sparse.diags_array(np.arange(1.0, n + 1.0)).asformat(format)

    def fun(x):
        y = vn.sparse_dot(A, x)
        array = getattr(A, part)
        array[[0, 1]] = array[[1, 0]]
        return anp.sum(y**2)

    with pytest.raises(MutationError, match="sparse_product"):
        record(autograd.grad(fun), np.ones(n))


def test_transpose_is_not_converted(monkeypatch):
    """Reverse mode and series use the arrays of a CSR or CSC matrix as they are."""

    def refuse(*args, **kwargs):
        raise AssertionError("converted")

    A, C = KINDS["csr_array"].copy(), KINDS["csc_array"].copy()
    for cls in (scipy.sparse.csr_array, scipy.sparse.csc_array):
        for name in ("tocsr", "tocsc", "tocoo"):
            monkeypatch.setattr(cls, name, refuse)
    gradient = autograd.grad(lambda x: anp.sum(vn.sparse_dot(A, x) ** 4 + vn.sparse_dot(C, x) ** 2))
    assert vn.jet(gradient, *random_series(X, 3)).shape == (4, 4)


def _poisson(product, y):
    def objective(b, hyper):
        eta = product(b)
        return anp.sum(hyper[:-1] * (anp.exp(eta) - y * eta)) + 0.5 * hyper[-1] * anp.sum(b**2)

    return objective


def test_poisson_regression_equals_the_dense_one():
    rng = np.random.default_rng(11)
    design = np.where(rng.uniform(size=(40, 6)) < 0.3, rng.standard_normal((40, 6)), 0.0)
    A, y = scipy.sparse.csr_array(design), rng.poisson(1.5, 40).astype(float)
    hyper = np.append(np.ones(40), 0.7)
    steps = hyper + 0.3 * rng.standard_normal((5, 41))
    found = []
    for product in (lambda b: vn.sparse_dot(A, b), lambda b: anp.dot(design, b)):
        expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
            _poisson(product, y), _newton(design, y, hyper), hyper, 4
        )
        found.append((expansion.evaluate_taylor_series(steps), expansion.evaluate_taylor_series(steps[0])))
    for got, expected in zip(*found, strict=True):
        assert np.max(np.abs(got - expected)) <= 1e-12 * np.max(np.abs(expected))


def _newton(design, y, hyper):
    """The minimum, by Newton's method on the formulas."""
    b, penalty = np.zeros(design.shape[1]), hyper[-1] * np.eye(design.shape[1])
    for _ in range(50):
        mean = np.exp(design @ b)
        b = b - np.linalg.solve((design.T * mean) @ design + penalty, design.T @ (mean - y) + penalty @ b)
    return b


def test_pattern():
    gradient = autograd.grad(lambda x: anp.sum(vn.sparse_dot(KINDS["csr_array"], x) ** 4))
    pattern = Recorded(gradient, [X]).pattern(0)
    assert np.array_equal(pattern.toarray(), DENSE.T @ DENSE != 0.0)
    columns = Recorded(lambda x: vn.sparse_dot(KINDS["csc_array"], x), [np.ones((4, 2))]).pattern(0)
    assert np.array_equal(columns.toarray(), np.kron(DENSE, np.eye(2)) != 0.0)
    assert Recorded(lambda x: vn.sparse_dot(KINDS["csc_array"], x), [np.ones((4, 0))]).pattern(0).shape == (0, 0)
    empty = Recorded(lambda x: vn.sparse_dot(MATRICES["no entry"], x), [X]).pattern(0)
    assert (empty.shape, empty.nnz) == ((3, 4), 0)


@pytest.mark.parametrize("A, x, error, message", [
    (DENSE, X, OperandError, "A is a ndarray.*autograd.numpy's dot"),
    (list(DENSE), X, OperandError, "A is a list"),
    (None, X, OperandError, "A is a NoneType"),
    (OF_OBJECTS, X, OperandError, "A has dtype object"),
    (KINDS["csr_array"], X.astype(object), OperandError, "x has dtype object"),
    (KINDS["csr_array"], ["a"] * 4, OperandError, "x has dtype <U1"),
    (KINDS["csr_array"], scipy.sparse.csr_array(np.ones((4, 1))), OperandError, "x is sparse"),
    (scipy.sparse.coo_array(np.ones(4)), X, ShapeError, "A has 1 axis"),
    (KINDS["csr_array"], np.ones(3), ShapeError, r"x has shape \(3,\).*\(7, 4\) takes \(4,\) or \(4, k\)"),
    (KINDS["csr_array"], np.ones(7), ShapeError, r"x has shape \(7,\)"),
    (KINDS["csr_array"], np.ones((1, 4)), ShapeError, r"x has shape \(1, 4\)"),
    (KINDS["csr_array"], np.ones((4, 2, 2)), ShapeError, r"x has shape \(4, 2, 2\)"),
    (KINDS["csr_array"], np.float64(1.0), ShapeError, r"x has shape \(\)"),
])  # fmt: skip
def test_bad_input(A, x, error, message):
    with pytest.raises(error, match=message):
        vn.sparse_dot(A, x)


def test_traced_matrix_and_bad_traced_vector():
    with pytest.raises(OperandError, match=r"A is a traced value of shape \(4, 4\)"):
        autograd.grad(lambda x: anp.sum(vn.sparse_dot(x[:, None] * np.ones(4), X)))(X)
    with pytest.raises(ShapeError, match=r"x has shape \(3,\)"):
        autograd.grad(lambda x: anp.sum(vn.sparse_dot(KINDS["csr_array"], x[1:])))(X)
    with pytest.raises(OperandError, match="A is a traced value"):
        record(lambda x: vn.sparse_dot(x, X), DENSE)
