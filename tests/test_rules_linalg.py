"""Linear equations, determinants, Cholesky factors, autograd.scipy.linalg: identities, gradients and refusals."""

import autograd
import autograd.numpy as anp
import autograd.scipy.linalg as asl
import mpmath as mp
import numpy as np
import pytest
import scipy.linalg
from jet_checks import check_all, check_gradient, directions, random_series

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError, NonSmoothError, ShapeError, SingularError
from vittles_ng.taylor.recorded import Recorded

ORDER = 6
NUMPY_2 = int(np.__version__.split(".")[0]) >= 2


def matrix(*shape, seed=0, shift=0.0):
    x = np.random.default_rng(seed).standard_normal(shape)
    return x + shift * np.eye(*shape[-2:]) if shift else x


def spd(*shape, seed=0):
    x = matrix(*shape, seed=seed)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-1])


def swap(x):
    return np.swapaxes(x, -1, -2)


def cauchy(product, a, b):
    """The series of a product of two series."""
    return np.stack([sum(product(a[j], b[k - j]) for j in range(k + 1)) for k in range(len(a))])


def constant(value, order=ORDER):
    return np.stack([value, *[np.zeros_like(value)] * order])


def assert_close(a, b, tol=1e-10):
    assert a.shape == b.shape
    assert np.max(np.abs(a - b)) <= tol * max(1.0, np.max(np.abs(b)))


A3 = matrix(3, 3, shift=3.0)
SPD3 = spd(3, 3)
STACK = matrix(2, 3, 3, seed=4, shift=4.0)


def times(a, x):
    return np.squeeze(a @ x[..., None], -1) if x.ndim == 1 else a @ x


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (A3, matrix(3)),
        (A3, matrix(3, 2)),
        (np.array([[-2.0]]), np.array([3.0])),
        (STACK, matrix(2, 3, 2)),
        (STACK, matrix(3, 2)),
        *([(STACK, matrix(3))] if NUMPY_2 else []),  # a ValueError of NumPy 1
        (A3, matrix(4, 3, 2)),
        (matrix(3, 1, 2, 2, shift=4.0), matrix(5, 2, 3)),
    ],
    ids=lambda x: "x".join(map(str, x.shape)),
)
def test_solve(a, b):
    sa, sb = random_series((a, b), ORDER)
    x = vn.jet(anp.linalg.solve, sa, sb)
    if b.ndim == 1:
        ax = cauchy(lambda p, q: (p @ q[..., None])[..., 0], sa, x)
    else:
        ax = cauchy(np.matmul, sa, x)
    assert_close(ax, np.broadcast_to(sb.reshape(len(sb), *(1,) * (ax.ndim - sb.ndim), *b.shape), ax.shape))
    assert_close(vn.jet(lambda b: anp.linalg.solve(a, b), sb)[1:], np.linalg.solve(a, sb[1:, ..., None])[..., 0]
                 if b.ndim == 1 and a.ndim == 2 else np.stack([np.linalg.solve(a, c) for c in sb[1:]]))  # fmt: skip
    check_all(anp.linalg.solve, (a, b))
    check_all(lambda a: anp.linalg.solve(a, b), a)


@pytest.mark.parametrize("a", [A3, STACK, np.array([[-0.5]])], ids=["one", "stack", "1x1"])
def test_inv(a):
    (s,) = random_series(a, ORDER)
    assert_close(
        cauchy(np.matmul, s, vn.jet(anp.linalg.inv, s)), constant(np.broadcast_to(np.eye(a.shape[-1]), a.shape))
    )
    check_all(anp.linalg.inv, a)


NEGATIVE = np.array([[1.0, 3.0, 0.2], [2.0, 1.0, 0.1], [0.3, 0.4, 1.0]])


def cofactor_series(s):
    """The determinant of 3 x 3 series by its definition."""
    total = np.zeros(len(s))
    for (i, j, k), sign in {
        (0, 1, 2): 1,
        (1, 2, 0): 1,
        (2, 0, 1): 1,
        (0, 2, 1): -1,
        (1, 0, 2): -1,
        (2, 1, 0): -1,
    }.items():
        total += sign * cauchy(np.multiply, cauchy(np.multiply, s[:, 0, i], s[:, 1, j]), s[:, 2, k])
    return total


@pytest.mark.parametrize("a", [A3, NEGATIVE, -A3], ids=["positive", "negative", "odd"])
def test_det(a):
    (s,) = random_series(a, ORDER)
    d = cofactor_series(s)
    assert_close(vn.jet(anp.linalg.det, s), d)
    sign, logdet = vn.jet(lambda a: tuple(anp.linalg.slogdet(a)), s)
    assert np.array_equal(sign, constant(np.sign(d[0])))
    assert_close(vn.jet(anp.exp, logdet), np.sign(d[0]) * d)
    check_all(anp.linalg.det, a)
    check_all(lambda a: anp.linalg.slogdet(a)[1], a)


def test_det_of_stack_and_of_1x1():
    check_all(anp.linalg.det, STACK)
    check_all(lambda a: anp.linalg.slogdet(a)[1], STACK)
    s = np.array([-2.0, 1.0, 0.5]).reshape(3, 1, 1)
    assert_close(vn.jet(anp.linalg.det, s), s[:, 0, 0])


def test_det_beyond_the_range_of_floats_relative_to_itself():
    a = 1e-60 * A3
    (s,) = random_series(A3, 3)
    d = vn.jet(anp.linalg.det, 1e-60 * s)
    assert_close(d * 1e180, cofactor_series(s))
    assert np.linalg.det(a) == pytest.approx(d[0])


@pytest.mark.parametrize("a", [spd(3, 3), spd(2, 3, 3), np.array([[2.0]])], ids=["one", "stack", "1x1"])
def test_cholesky(a):
    (s,) = random_series(a, ORDER)
    s = 0.5 * (s + swap(s))
    factor = vn.jet(anp.linalg.cholesky, s)
    assert np.array_equal(factor, np.tril(factor))
    assert_close(cauchy(lambda p, q: p @ swap(q), factor, factor), s)
    check_all(lambda a: anp.sin(anp.linalg.cholesky(a)), a)


def test_cholesky_reads_one_triangle():
    (s,) = random_series(SPD3, ORDER)
    s[:, 0, 2] += 5.0
    full = np.tril(s) + swap(np.tril(s, -1))
    assert np.array_equal(vn.jet(anp.linalg.cholesky, s), vn.jet(anp.linalg.cholesky, full))
    gradient = vn.jet(autograd.grad(lambda a: anp.sum(anp.linalg.cholesky(a) ** 3)), s)
    assert np.array_equal(gradient, np.tril(gradient))
    step = 1e-6 * np.eye(3)[1][:, None] * np.eye(3)[0]
    slope = np.sum(np.linalg.cholesky(SPD3 + step) ** 3 - np.linalg.cholesky(SPD3 - step) ** 3) / 2e-6
    assert gradient[0][1, 0] == pytest.approx(slope, rel=1e-7)


def test_cholesky_upper():
    (s,) = random_series(SPD3, ORDER)
    s = 0.5 * (s + swap(s))
    if not NUMPY_2:
        with pytest.raises(TypeError):
            vn.jet(lambda a: anp.linalg.cholesky(a, upper=True), s)
        return
    upper = vn.jet(lambda a: anp.linalg.cholesky(a, upper=True), s)
    assert_close(upper, swap(vn.jet(anp.linalg.cholesky, s)))
    check_all(lambda a: anp.sin(anp.linalg.cholesky(a, upper=True)), SPD3)


def test_gaussian_likelihood_in_mpmath():
    """Log-density of a Gaussian through cholesky and solve, its second derivatives against mpmath."""
    b = np.array([0.3, -1.0, 2.0])
    base, direction = SPD3, spd(3, 3, seed=9)

    def negloglik(t):
        factor = anp.linalg.cholesky(base + anp.exp(t) * direction)
        z = anp.linalg.solve(factor, b)
        return 0.5 * anp.sum(z * z) + anp.sum(anp.log(anp.diag(factor)))

    def reference(t):
        m = mp.matrix(base.tolist()) + mp.exp(t) * mp.matrix(direction.tolist())
        v = mp.matrix(b.tolist())
        return (v.T * mp.lu_solve(m, v))[0] / 2 + mp.log(mp.det(m)) / 2

    with mp.workdps(40):
        expected = [float(c) for c in mp.taylor(reference, mp.mpf(0.1), ORDER + 1)]
    s = np.array([0.1, 1.0] + [0.0] * (ORDER - 1))
    np.testing.assert_allclose(vn.jet(negloglik, s), expected[:-1], rtol=1e-11)
    slopes = vn.jet(autograd.grad(negloglik), s)
    np.testing.assert_allclose(slopes, [(k + 1) * expected[k + 1] for k in range(ORDER + 1)], rtol=1e-10)


# ---- autograd.scipy.linalg ----


@pytest.mark.parametrize("trans", [0, "T", 2, "N"])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit_diagonal", [False, True])
@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_solve_triangular(trans, lower, unit_diagonal, shape):
    a, b = matrix(4, 4, shift=3.0), matrix(*shape, seed=2)

    def fun(a, b):
        return asl.solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit_diagonal)

    sa, sb = random_series((a, b), ORDER)
    x = vn.jet(fun, sa, sb)
    t = np.tril(sa) if lower else np.triu(sa)
    if unit_diagonal:
        t = t * (1.0 - np.eye(4)) + constant(np.eye(4))
    assert_close(cauchy(np.matmul, t if trans in (0, "N") else swap(t), x), sb)
    check_gradient(fun, (a, b))


def test_solve_triangular_steps():
    a, b = matrix(4, 4, shift=3.0), matrix(4, 2)
    check_all(asl.solve_triangular, (a, b))
    check_all(lambda b: asl.solve_triangular(a, b, 1, True), b[:, 0])


def dense_of(band, lower, upper):
    n = band.shape[-1]
    dense = np.zeros((*band.shape[:-2], n, n))
    for i in range(n):
        for j in range(max(0, i - lower), min(n, i + upper + 1)):
            dense[..., i, j] = band[..., upper + i - j, j]
    return dense


@pytest.mark.parametrize(("lower", "upper"), [(1, 1), (2, 1), (0, 2), (1, 0), (0, 0), (5, 5)])
@pytest.mark.parametrize("shape", [(6,), (6, 2)])
def test_solve_banded(lower, upper, shape):
    band, b = matrix(lower + upper + 1, 6), matrix(*shape, seed=2)
    band[upper] += 6.0

    def fun(band, b):
        return asl.solve_banded((lower, upper), band, b)

    sa, sb = random_series((band, b), ORDER)
    assert_close(cauchy(np.matmul, dense_of(sa, lower, upper), vn.jet(fun, sa, sb)), sb)
    check_all(fun, (band, b))


def test_solve_sylvester():
    a, b, q = matrix(3, 3, shift=4.0), matrix(2, 2, seed=1, shift=3.0), matrix(3, 2, seed=2)
    sa, sb, sq = random_series((a, b, q), ORDER)
    x = vn.jet(asl.solve_sylvester, sa, sb, sq)
    assert_close(cauchy(np.matmul, sa, x) + cauchy(np.matmul, x, sb), sq)
    check_all(asl.solve_sylvester, (a, b, q))
    check_all(lambda a: asl.solve_sylvester(a, b, q), a)
    check_all(lambda a: asl.solve_sylvester(a, a, np.eye(3)), a)


@pytest.mark.parametrize("a", [SPD3, matrix(3, 3, seed=5) @ np.diag([0.1, 0.2, 0.1]) + 2 * np.eye(3), np.eye(2),
                               np.array([[4.0]]), np.array([[1.0, -2.0], [2.0, 1.0]])],
                         ids=["symmetric", "general", "identity", "1x1", "rotation"])  # fmt: skip
def test_sqrtm(a):
    (s,) = random_series(a, ORDER)
    x = vn.jet(asl.sqrtm, s)
    assert_close(cauchy(np.matmul, x, x), s)
    check_all(asl.sqrtm, a)


# ---- what is refused, and how often a matrix is factored ----

SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
NEARLY = np.array([[1.0, 1.0], [1.0, 1.0 + 2e-16]])
REFUSED = {
    "det": (anp.linalg.det, SINGULAR, SingularError, "reciprocal condition number 0"),
    "grad det": (autograd.grad(anp.linalg.det), SINGULAR, SingularError, "det"),
    "grad slogdet": (autograd.grad(lambda a: anp.linalg.slogdet(a)[1]), SINGULAR, SingularError, "slogdet"),
    "inv": (anp.linalg.inv, NEARLY, SingularError, "reciprocal condition number"),
    "solve": (lambda a: anp.linalg.solve(a, np.ones(2)), NEARLY, SingularError, "ridge"),
    "stack": (lambda a: anp.linalg.solve(anp.stack([a, a]), np.ones(2)), NEARLY, SingularError, "solve"),
    "sqrtm at 0": (asl.sqrtm, np.diag([1.0, 0.0]), NonSmoothError, "eigenvalue at 0"),
    "sqrtm": (asl.sqrtm, np.diag([1.0, -2.0]), NonSmoothError, "negative real axis"),
    "sylvester": (
        lambda a: asl.solve_sylvester(a, np.array([[-1.0]]), np.ones((2, 1))),
        np.diag([1.0 + 1e-16, 2.0]),
        SingularError,
        "share an eigenvalue",
    ),
    "triangular stack": (
        lambda a: asl.solve_triangular(anp.stack([a, a]), np.ones((2, 2, 1))),
        np.eye(2),
        ShapeError,
        "each matrix",
    ),
    "complex cholesky": (
        lambda a: anp.real(anp.linalg.cholesky(a + 0j)),
        np.eye(2),
        MissingRuleError,
        "real symmetric",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
def test_refusals(name):
    fun, a, error, match = REFUSED[name]
    with pytest.raises(error, match=match):
        vn.jet(fun, np.stack([a, np.ones_like(a), np.zeros_like(a)]))


def test_one_factorization_at_any_order(monkeypatch):
    counts = []
    factor = scipy.linalg.lu_factor
    monkeypatch.setattr(scipy.linalg, "lu_factor", lambda *args, **kwargs: counts.append(1) or factor(*args, **kwargs))
    sa, sb = random_series((A3, matrix(3)), 8)
    vn.jet(anp.linalg.solve, sa, sb)
    assert len(counts) == 1


def test_operands_are_left_alone():
    a = matrix(3, 3, shift=3.0)
    given = directions((a,), 3)[0]
    kept = [c.copy() for c in given]

    replay = Recorded(lambda a: anp.linalg.cholesky(a @ a.T) + anp.linalg.inv(a) * anp.linalg.det(a), (a,)).start(3)
    for c in given:
        replay.coefficient([c])
    assert all(np.array_equal(c, kept_c) for c, kept_c in zip(given, kept, strict=True))
