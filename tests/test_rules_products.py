"""Bilinear primitives: the series of the result is the Cauchy product of the series, formed with NumPy's function."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from jet_checks import check_all, check_batch, random_series

import vittles_ng as vn

ORDER = 4
RNG = np.random.default_rng(21)


def r(*shape):
    return RNG.standard_normal(shape)


S = np.float64(1.3)

# name -> (function written for a module ``np`` that is autograd's or NumPy's, a, b)
CASES = {
    "dot, vectors": (lambda np, a, b: np.dot(a, b), r(4), r(4)),
    "dot, matrix and vector": (lambda np, a, b: np.dot(a, b), r(3, 4), r(4)),
    "dot, vector and matrix": (lambda np, a, b: np.dot(a, b), r(3), r(3, 4)),
    "dot, matrices": (lambda np, a, b: np.dot(a, b), r(3, 4), r(4, 2)),
    "dot, three axes and matrix": (lambda np, a, b: np.dot(a, b), r(2, 3, 4), r(4, 5)),
    "dot, matrix and three axes": (lambda np, a, b: np.dot(a, b), r(3, 4), r(2, 4, 5)),
    "dot, three axes and vector": (lambda np, a, b: np.dot(a, b), r(2, 3, 4), r(4)),
    "dot, three axes both": (lambda np, a, b: np.dot(a, b), r(2, 3, 4), r(5, 4, 2)),
    "dot, scalar and matrix": (lambda np, a, b: np.dot(a, b), S, r(3, 4)),
    "dot, matrix and scalar": (lambda np, a, b: np.dot(a, b), r(3, 4), S),
    "dot, scalars": (lambda np, a, b: np.dot(a, b), S, np.float64(0.2)),
    "inner, vectors": (lambda np, a, b: np.inner(a, b), r(4), r(4)),
    "inner, matrices": (lambda np, a, b: np.inner(a, b), r(3, 4), r(2, 4)),
    "inner, three axes": (lambda np, a, b: np.inner(a, b), r(2, 3, 4), r(5, 4)),
    "inner, scalar": (lambda np, a, b: np.inner(a, b), S, r(2, 3)),
    "outer": (lambda np, a, b: np.outer(a, b), r(3), r(4)),
    "tensordot, default": (lambda np, a, b: np.tensordot(a, b), r(2, 3, 4), r(3, 4, 5)),
    "tensordot, 0": (lambda np, a, b: np.tensordot(a, b, 0), r(2, 3), r(4)),
    "tensordot, 1": (lambda np, a, b: np.tensordot(a, b, axes=1), r(2, 3), r(3, 2, 2)),
    "tensordot, numbers": (lambda np, a, b: np.tensordot(a, b, axes=(0, 1)), r(2, 3), r(4, 2)),
    "tensordot, pairs": (lambda np, a, b: np.tensordot(a, b, axes=([0, 2], [1, 0])), r(2, 3, 4), r(4, 2, 5)),
    "tensordot, negative": (lambda np, a, b: np.tensordot(a, b, axes=([-1, 0], [0, -2])), r(2, 3, 4), r(4, 2, 5)),
    "tensordot, all": (lambda np, a, b: np.tensordot(a, b, axes=([0, 1], [1, 0])), r(2, 3), r(3, 2)),
    "matmul, vectors": (lambda np, a, b: np.matmul(a, b), r(4), r(4)),
    "matmul, operator": (lambda np, a, b: a @ b, r(3, 4), r(4, 2)),
    "matmul, matrix and vector": (lambda np, a, b: a @ b, r(3, 4), r(4)),
    "matmul, vector and matrix": (lambda np, a, b: a @ b, r(3), r(3, 4)),
    "matmul, stacks": (lambda np, a, b: a @ b, r(2, 3, 4), r(2, 4, 5)),
    "matmul, stack and matrix": (lambda np, a, b: a @ b, r(2, 3, 4), r(4, 5)),
    "matmul, matrix and stack": (lambda np, a, b: a @ b, r(3, 4), r(2, 4, 5)),
    "matmul, stack and vector": (lambda np, a, b: a @ b, r(2, 3, 4), r(4)),
    "matmul, vector and stack": (lambda np, a, b: a @ b, r(3), r(2, 3, 4)),
    "matmul, broadcast stacks": (lambda np, a, b: a @ b, r(2, 1, 3, 4), r(5, 4, 2)),
    "einsum, matrix product": (lambda np, a, b: np.einsum("ij,jk->ik", a, b), r(3, 4), r(4, 2)),
    "einsum, implicit output": (lambda np, a, b: np.einsum("ij,jk", a, b), r(3, 4), r(4, 2)),
    "einsum, swapped output": (lambda np, a, b: np.einsum("ij,jk->ki", a, b), r(3, 4), r(4, 2)),
    "einsum, batch": (lambda np, a, b: np.einsum("nij,njk->nik", a, b), r(2, 3, 4), r(2, 4, 5)),
    "einsum, elementwise and summed": (lambda np, a, b: np.einsum("ij,ij->j", a, b), r(3, 4), r(3, 4)),
    "einsum, outer": (lambda np, a, b: np.einsum("i,j->ij", a, b), r(3), r(4)),
    "einsum, to a scalar": (lambda np, a, b: np.einsum("ij,ij->", a, b), r(3, 4), r(3, 4)),
    "einsum, an axis summed alone": (lambda np, a, b: np.einsum("ik,j->ij", a, b), r(3, 2), r(4)),
    "einsum, ellipsis": (lambda np, a, b: np.einsum("...ij,...j->...i", a, b), r(2, 3, 4), r(2, 4)),
    "einsum, ellipsis of one": (lambda np, a, b: np.einsum("...ij,j->...i", a, b), r(2, 3, 4), r(4)),
    "einsum, broadcast unit axis": (lambda np, a, b: np.einsum("...i,...i->...i", a, b), r(2, 3), r(1, 3)),
    "einsum, lists": (lambda np, a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), r(3, 4), r(4, 2)),
    "einsum, scalar operand": (lambda np, a, b: np.einsum(",ij->ji", a, b), S, r(2, 3)),
    "einsum, three operands": (lambda np, a, b: np.einsum("i,ij,j->", a, b, np.ones(4)), r(3), r(3, 4)),
    "multiply, ranks": (lambda np, a, b: a * b, r(3, 4), r(2, 1, 4)),
    "multiply, scalar": (lambda np, a, b: np.multiply(a, b), S, r(2, 3)),
}  # fmt: skip


def rows(x0, seed):
    (series,) = random_series(x0, ORDER, seed=seed)
    return series


def close(got, expected):
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_cauchy_product(name):
    fun, a0, b0 = CASES[name]
    a, b = rows(a0, 1), rows(b0, 2)
    expected = np.stack([sum(fun(np, a[j], b[k - j]) for j in range(k + 1)) for k in range(ORDER + 1)])
    close(vn.jet(lambda x, y: fun(anp, x, y), a, b), expected)


@pytest.mark.parametrize("name", CASES)
def test_one_operand_constant(name):
    fun, a0, b0 = CASES[name]
    a, b = rows(a0, 1), rows(b0, 2)
    close(vn.jet(lambda x: fun(anp, x, b0), a), np.stack([fun(np, c, b0) for c in a]))
    close(vn.jet(lambda y: fun(anp, a0, y), b), np.stack([fun(np, a0, c) for c in b]))
    check_batch(lambda x: fun(anp, x, b0), a0)
    check_batch(lambda y: fun(anp, a0, y), b0)


@pytest.mark.parametrize("name", CASES)
def test_batches_passes_and_gradient(name):
    fun, a0, b0 = CASES[name]
    check_all(lambda x, y: fun(anp, x, y), (a0, b0))


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_transpose(name):
    """grad <c, f(a, b)> in a, the linear map a -> f(a, b) formed column by column."""
    fun, a0, b0 = CASES[name]
    c = RNG.standard_normal(np.shape(fun(np, a0, b0)))
    series_a, series_b = rows(a0, 1), rows(b0, 2)
    units = np.eye(np.size(a0)).reshape(-1, *np.shape(a0))
    expected = [np.reshape([np.sum(c * fun(np, e, bk)) for e in units], np.shape(a0)) for bk in series_b]
    gradient = autograd.grad(lambda x, y: anp.sum(c * fun(anp, x, y)))
    close(vn.jet(gradient, series_a, series_b), np.stack(expected))


# ---- einsum of one, and of three traced operands ----


@pytest.mark.parametrize("subscripts, shape", [
    ("ij->ji", (3, 4)), ("ij->", (3, 4)), ("ij->i", (3, 4)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("...j->...", (2, 3, 4)), ("iij->j", (3, 3, 2)),
])  # fmt: skip
def test_einsum_of_one(subscripts, shape):
    series = rows(r(*shape), 1)
    fun = lambda x: anp.einsum(subscripts, x)  # noqa: E731
    close(vn.jet(fun, series), np.stack([np.einsum(subscripts, c) for c in series]))
    check_batch(fun, series[0])


def test_einsum_of_one_has_a_gradient():
    check_all(lambda x: anp.einsum("ij->j", x), r(3, 4))


@pytest.mark.parametrize("subscripts, shapes", [
    ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 2))),
    ("i,i,i->i", ((3,), (3,), (3,))),
    ("ni,ij,nj->n", ((4, 3), (3, 2), (4, 2))),
    ("i,ij,j", ((3,), (3, 2), (2,))),
    ("...i,ij,...j->...", ((4, 3), (3, 2), (4, 2))),
])  # fmt: skip
def test_einsum_of_three(subscripts, shapes):
    args = [r(*s) for s in shapes]
    series = [rows(a, i) for i, a in enumerate(args)]
    fun = lambda *x: anp.einsum(subscripts, *x)  # noqa: E731
    expected = np.stack([
        sum(
            np.einsum(subscripts, series[0][i], series[1][j], series[2][k - i - j])
            for i in range(k + 1) for j in range(k + 1 - i)
        )
        for k in range(ORDER + 1)
    ])  # fmt: skip
    close(vn.jet(fun, *series), expected)
    check_all(fun, tuple(args))


def test_einsum_of_three_in_list_form():
    a, b, c = r(2, 3), r(3, 4), r(4)
    fun = lambda x, y, z: anp.einsum(x, [0, 1], y, [1, 2], z, [2], [0])  # noqa: E731
    same = lambda x, y, z: x @ y @ z  # noqa: E731
    series = [rows(x, i) for i, x in enumerate((a, b, c))]
    close(vn.jet(fun, *series), vn.jet(same, *series))
    check_all(fun, (a, b, c))


def test_the_same_operand_twice():
    """x^T A x: 2 A x is its gradient, 2 A its Hessian (A symmetric)."""
    a = r(4, 4)
    a = a + a.T
    series = rows(r(4), 3)
    for fun in (lambda x: x @ a @ x, lambda x: anp.einsum("i,ij,j->", x, a, x), lambda x: anp.dot(x, anp.dot(a, x))):
        expected = np.stack([sum(series[j] @ a @ series[k - j] for j in range(k + 1)) for k in range(ORDER + 1)])
        close(vn.jet(fun, series), expected)
        close(vn.jet(autograd.grad(fun), series), 2.0 * series @ a)


def test_matrix_powers():
    """Products nested: the series of X^3 by Cauchy products of matrices."""
    series = rows(r(3, 3), 5)
    square = np.stack([sum(series[j] @ series[k - j] for j in range(k + 1)) for k in range(ORDER + 1)])
    cube = np.stack([sum(square[j] @ series[k - j] for j in range(k + 1)) for k in range(ORDER + 1)])
    close(vn.jet(lambda x: x @ x @ x, series), cube)
    check_all(lambda x: x @ x @ x, r(3, 3))
