"""Primitives that pick a branch: its series off a kink; on one, agreement of the branches or a named error."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from jet_checks import check_all, random_series

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError, NonSmoothError

X = np.array([0.7, -1.3, 2.1, -0.4, 1.6])
M = np.random.default_rng(5).standard_normal((3, 4, 2))
ORDER = 4


def rows(value):
    """x(t) = x_0 + x_1 t + ... with random directions."""
    (series,) = random_series(value, ORDER, seed=3)
    return series


def pick(index, axis):
    """Every coefficient at the index of the base point's winner."""
    return lambda s: np.stack([np.take_along_axis(c, index, axis) for c in s])


# ---- off the kinks: (function, base point, expected series from the argument's) ----

SIGN = np.sign(X)
OFF = {
    "abs": (anp.abs, X, lambda s: s * SIGN),
    "absolute": (anp.absolute, X, lambda s: s * SIGN),
    "fabs": (anp.fabs, X, lambda s: s * SIGN),
    "builtin abs": (abs, X, lambda s: s * SIGN),
    "max": (anp.max, X, lambda s: s[:, 2]),
    "amin": (anp.amin, X, lambda s: s[:, 1]),
    "min, method": (lambda x: x.min(), X, lambda s: s[:, 1]),
    "max, negative axis": (
        lambda x: anp.max(x, axis=-2), M, lambda s: pick(M.argmax(-2)[:, None], -2)(s)[:, :, 0],
    ),
    "amax, positional axis, keepdims": (
        lambda x: anp.amax(x, 2, keepdims=True), M, lambda s: pick(M.argmax(2)[..., None], 2)(s),
    ),
    "min, tuple of axes": (
        lambda x: anp.min(x, axis=(0, -1)), M,
        lambda s: np.stack([c.transpose(1, 0, 2).reshape(4, 6)[
            np.arange(4), M.transpose(1, 0, 2).reshape(4, 6).argmin(1)] for c in s]),
    ),
    "maximum with a constant": (
        lambda x: anp.maximum(x, 0.5), X, lambda s: np.concatenate([np.maximum(s[:1], 0.5), s[1:] * (X > 0.5)]),
    ),
    "maximum of a constant": (
        lambda x: anp.maximum(np.zeros((2, 1)), x), X, lambda s: np.stack([s * (X > 0)] * 2, axis=1),
    ),
    "minimum of two": (
        lambda x: anp.minimum(x[:3], x[1:4]), X, lambda s: np.where(X[:3] < X[1:4], s[:, :3], s[:, 1:4]),
    ),
    "fmax broadcast": (
        lambda x: anp.fmax(x[:, None], x), X,
        lambda s: np.where(X[:, None] > X, s[:, :, None], s[:, None, :]),
    ),
    "fmin": (lambda x: anp.fmin(x, -x), X, lambda s: -s * SIGN),
    "clip": (
        lambda x: anp.clip(x, -1.0, 1.0), X,
        lambda s: np.concatenate([np.clip(s[:1], -1, 1), s[1:] * (np.abs(X) < 1)]),
    ),
    "clip below only": (
        lambda x: anp.clip(x, 0.0, None), X, lambda s: s * (X > 0),
    ),
    "clip method, array bounds": (
        lambda x: x.clip(np.full(5, -9.0), np.full(5, 9.0)), X, lambda s: s,
    ),
    "clip with traced bounds": (
        lambda x: anp.clip(x[2:], x[3], x[0]), X, lambda s: np.stack([s[:, 0], s[:, 3], s[:, 0]], axis=1),
    ),
    "sort": (anp.sort, X, lambda s: s[:, np.argsort(X)]),
    "partition": (lambda x: anp.partition(x, 2)[2], X, lambda s: s[:, np.argsort(X)[2]]),
    "mod": (
        lambda x: anp.mod(x, 0.6), X, lambda s: np.concatenate([np.mod(s[:1], 0.6), s[1:]]),
    ),
    "remainder of a traced divisor": (
        lambda x: anp.remainder(2.5, x), X,
        lambda s: np.concatenate([2.5 + 0 * s[:1], 0 * s[1:]]) - np.floor(2.5 / X) * s,
    ),
    "percent sign": (
        lambda x: x[:2] % x[2], X, lambda s: s[:, :2] - np.floor(X[:2] / X[2]) * s[:, 2:3],
    ),
    "sign is constant": (lambda x: anp.sign(x) * x, X, lambda s: s * SIGN),
    "where on a comparison": (lambda x: anp.where(x > 0, x, -2.0 * x), X, lambda s: np.where(X > 0, s, -2 * s)),
    "select": (
        lambda x: anp.select([x > 1.0, x > 0.0], [x, 3.0 * x], default=0.5), X,
        lambda s: np.where(X > 1, s, np.where(X > 0, 3 * s, np.concatenate([0.5 + 0 * s[:1], 0 * s[1:]]))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OFF)
def test_series_off_the_kink(name):
    fun, x0, expected = OFF[name]
    series = rows(x0)
    expected = expected(series)
    got = vn.jet(fun, series)
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", OFF)
def test_batches_passes_and_gradient(name):
    fun, x0, _ = OFF[name]
    check_all(fun, x0)


# ---- on a kink, where the choice does not matter: the closed form ----


def softplus(x):
    return anp.maximum(x, 0.0) + anp.log1p(anp.exp(-anp.abs(x)))


def log_sum_exp(x):
    shift = anp.max(x)
    return anp.log(anp.sum(anp.exp(x - shift))) + shift


TIED = np.array([1.0, 1.0, 1.0])
SMOOTH = {
    "log-sum-exp, all tied": (log_sum_exp, lambda x: anp.log(anp.sum(anp.exp(x))), TIED),
    "rows of log-sum-exp": (
        lambda x: anp.sum(anp.log(anp.sum(anp.exp(anp.reshape(x, (2, 2)) - anp.max(
            anp.reshape(x, (2, 2)), axis=1, keepdims=True)), axis=1)) + anp.max(anp.reshape(x, (2, 2)), axis=1)),
        lambda x: anp.sum(anp.log(anp.sum(anp.exp(anp.reshape(x, (2, 2))), axis=1))),
        np.array([0.0, 0.0, 2.0, 2.0]),
    ),
    "softplus by maximum(x, 0) and abs": (
        lambda x: anp.sum(softplus(x)), lambda x: anp.sum(anp.logaddexp(0.0, x)), np.zeros(3),
    ),
    "softplus by maximum(0, x)": (
        lambda x: anp.sum(anp.maximum(0.0, x) + anp.log1p(anp.exp(-anp.abs(x)))),
        lambda x: anp.sum(anp.logaddexp(0.0, x)),
        np.array([0.0, 0.3, -0.2, 0.0]),
    ),
    "softplus of an entry taken twice": (
        lambda x: anp.maximum(x[0], 0.0) + anp.log1p(anp.exp(-anp.abs(x[0]))), lambda x: anp.logaddexp(0.0, x[0]),
        np.zeros(2),
    ),
    "shift computed twice": (
        lambda x: anp.log(anp.sum(anp.exp(2.0 * x - anp.max(2.0 * x)))) + anp.max(2.0 * x),
        lambda x: anp.log(anp.sum(anp.exp(2.0 * x))), TIED,
    ),
    "clip and its complement": (
        lambda x: anp.clip(x[0], 0.0, 5.0) ** 2 + anp.minimum(x[0], 0.0) ** 2, lambda x: x[0] ** 2, np.zeros(2),
    ),
    "square of abs": (lambda x: anp.sum(anp.abs(x) ** 2), lambda x: anp.sum(x**2), np.zeros(3)),
    "maximum + minimum": (
        lambda x: anp.maximum(x[0], x[1]) ** 2 + anp.minimum(x[0], x[1]) ** 2, lambda x: anp.sum(x**2), np.ones(2),
    ),
    "a constant row of zeros": (
        lambda x: anp.sum(anp.abs(anp.array([x[0], 0.0 * x[0], x[1]]))), lambda x: x[0] - x[1], np.array([1.0, -2.0]),
    ),
    "sum of a sorted array": (
        lambda x: anp.sum(anp.sort(x) ** 3), lambda x: anp.sum(x**3), np.array([2.0, 1.0, 2.0, 2.0]),
    ),
    "clip whose bound is itself": (lambda x: anp.clip(x, x, None)[0] ** 2, lambda x: x[0] ** 2, np.array([0.5, 1.0])),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("in_gradient", [False, True])
def test_a_kink_that_does_not_matter(name, in_gradient):
    fun, smooth, x0 = SMOOTH[name]
    if in_gradient:
        fun, smooth = autograd.grad(fun), autograd.grad(smooth)
    series = rows(x0)
    assert np.allclose(vn.jet(fun, series), vn.jet(smooth, series), rtol=1e-11, atol=1e-13)


# ---- on a kink, where it does: a named error that says which primitive, how many entries and the order ----

KINKED = {
    "abs": (anp.abs, 0.0, [1.0], "abs at 0.*1 entry.*order 1"),
    "gradient of abs": (autograd.grad(anp.abs), 0.0, [1.0], "abs at 0.*order 0"),
    "x |x| has no second derivative": (lambda x: x * anp.abs(x), 0.0, [1.0], "order 2"),
    "relu": (lambda x: anp.sum(anp.maximum(x, 0.0)), np.zeros(2), [[1.0, 2.0]], "tie.*2 entries"),
    "gradient of relu squared": (
        autograd.grad(lambda x: anp.maximum(x, 0.0) ** 2), 0.0, [1.0], "maximum.*order 1",
    ),
    "distance of two": (lambda x: anp.maximum(x[0], x[1]) - anp.minimum(x[0], x[1]), np.ones(2), [[1.0, 0.5]], "tie"),
    "terms that cancel": (lambda x: anp.sum(anp.abs(x)), np.zeros(2), [[1.0, -1.0]], "2 entries"),
    "terms written one by one that cancel": (
        lambda x: anp.abs(x[0]) + anp.abs(x[1]), np.zeros(2), [[1.0, -1.0]], "abs",
    ),
    "maxima of equal values": (
        lambda x: anp.max(x[:2]) + anp.max(x[2:]), np.ones(4), [[1.0, -1.0, -1.0, 1.0]], "max at a tie",
    ),
    "transposed": (lambda x: anp.sum(anp.abs(anp.reshape(x, (2, 2)).T)), np.zeros(4), [[1.0, -1.0, 1.0, -1.0]], "abs"),
    "three terms that cancel": (lambda x: anp.sum(anp.abs(x)), np.zeros(3), [[1.0, 1.0, -2.0]], "3 entries"),
    "a hundred terms that cancel": (
        lambda x: anp.sum(anp.abs(x)), np.zeros(100), [np.r_[np.ones(50), -np.ones(50)]], "100 entries",
    ),
    "max whose first and last winner agree": (anp.max, np.zeros(3), [[0.0, 1.0, 0.0]], "max at a tie"),
    "min along an axis": (
        lambda x: anp.min(anp.reshape(x, (2, 2)), axis=1), np.zeros(4), [[0.0, 1.0, 2.0, 3.0]], "2 minimum",
    ),
    "median by sort": (lambda x: anp.sort(x)[1], np.ones(3), [[1.0, 2.0, 3.0]], "sort at a tie"),
    "quantile by partition": (lambda x: anp.partition(x, 1)[1], np.ones(3), [[1.0, 2.0, 3.0]], "partition at a tie"),
    "clip at its bound": (lambda x: anp.clip(x, 0.0, 1.0), 1.0, [1.0], "clip"),
    "a jump": (lambda x: anp.mod(x, 1.0), 2.0, [1.0], "multiple of the divisor"),
    "abs of a complex zero": (lambda x: anp.abs(x + 1j * x), 0.0, [1.0], "complex 0"),
    "gradient of abs of a complex zero": (autograd.grad(lambda x: anp.abs(x + 1j * x)), 0.0, [1.0], "complex 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINKED)
def test_a_kink_that_matters(name):
    fun, x0, higher, message = KINKED[name]
    series = np.zeros((4, *np.shape(x0)))
    series[0] = x0
    series[1 : 1 + len(higher)] = higher
    with pytest.raises(NonSmoothError, match=message):
        vn.jet(fun, series)


def test_directions_along_the_kink_are_smooth():
    """max of two that stay equal is their common series."""
    series = np.array([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5]])
    assert np.allclose(vn.jet(anp.max, series), series[:, 0])


def test_branches_of_a_complex_modulus():
    """|z| = sqrt(re^2 + im^2) off zero, its gradient too."""
    fun = lambda x: anp.sum(anp.abs(x + 1j * x**2))  # noqa: E731
    same = lambda x: anp.sum(anp.sqrt(x**2 + x**4))  # noqa: E731
    series = rows(X)
    assert np.allclose(vn.jet(fun, series), vn.jet(same, series), rtol=1e-12)
    assert np.allclose(vn.jet(autograd.grad(fun), series), vn.jet(autograd.grad(same), series), rtol=1e-11)


@pytest.mark.parametrize("fun, word", [
    (lambda x: anp.max(x, initial=3.0), "initial"),
    (lambda x: anp.min(x, where=np.ones(5, bool), initial=9.0), "initial"),
    (lambda x: anp.clip(x, 0.0, 1.0, dtype=float), "dtype"),
])  # fmt: skip
@pytest.mark.parametrize("in_gradient", [False, True])
def test_arguments_are_refused_rather_than_ignored(fun, word, in_gradient):
    called = autograd.grad(lambda x: anp.sum(fun(x))) if in_gradient else fun
    with pytest.raises(MissingRuleError, match=f"{word}="):
        vn.jet(called, rows(X))


def test_the_callers_array_is_left_alone():
    series = rows(X)
    before = series.copy()
    vn.jet(lambda x: anp.sort(anp.abs(x)) + anp.maximum(x, 0.1), series)
    assert np.array_equal(series, before)
