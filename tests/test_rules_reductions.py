"""Products and statistics along axes, small linear maps, complex parts: against NumPy at complex points."""

import autograd
import autograd.numpy as anp
import mpmath as mp
import numpy as np
import pytest
from jet_checks import check_all, check_series, random_series

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError, NonSmoothError

ORDER = 5
RNG = np.random.default_rng(11)
V, W = RNG.standard_normal(5), RNG.standard_normal(3)
M, N = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 3))
T = RNG.standard_normal((2, 3, 4))
Z = np.array([[0.0, 1.5, 0.0], [0.7, 0.0, -1.2]])  # a product with one zero factor, and with two


def polynomial(x0, seed=1):
    (series,) = random_series(x0, ORDER, seed=seed)
    return series


def by_points(fun, *series, order=ORDER):
    """Coefficients of ``fun(x(t))`` from its values on a circle in the complex plane: Cauchy's integral, which is exact
    to rounding for analytic functions and needs nothing but NumPy's own function at complex points."""
    n, r = 64, 0.25
    t = r * np.exp(2j * np.pi * np.arange(n) / n)
    values = np.stack([fun(*(sum(c * tt**k for k, c in enumerate(s)) for s in series)) for tt in t])
    coefficients = np.fft.fft(values, axis=0)[: order + 1] / n
    return np.real(coefficients / (r ** np.arange(order + 1)).reshape((-1,) + (1,) * (values.ndim - 1)))


def np_var(x, axis=None, ddof=0, keepdims=False):
    """Analytic (no complex modulus)."""
    d = x - np.mean(x, axis=axis, keepdims=True)
    n = x.size if axis is None else np.prod([x.shape[a] for a in np.atleast_1d(axis)])
    return np.sum(d * d, axis=axis, keepdims=keepdims) / (n - ddof)


# name -> (function of autograd.numpy's arrays, the same in NumPy for complex points or None for the same, arguments)
CASES = {
    "prod": (anp.prod, np.prod, V),
    "prod, negative axis, keepdims": (
        lambda x: anp.prod(x, axis=-2, keepdims=True), lambda x: np.prod(x, axis=-2, keepdims=True), T,
    ),
    "prod, tuple of axes": (lambda x: anp.prod(x, axis=(0, -1)), lambda x: np.prod(x, axis=(0, -1)), T),
    "prod, positional axis": (lambda x: anp.prod(x, 1), lambda x: np.prod(x, 1), M),
    "prod, zeros": (lambda x: anp.prod(x, axis=1), lambda x: np.prod(x, axis=1), Z),
    "prod, all": (anp.prod, np.prod, Z),
    "prod of one": (lambda x: anp.prod(x[:1]), lambda x: x[0], V),
    "prod of a scalar": (anp.prod, np.prod, np.float64(0.4)),
    "prod, dtype": (lambda x: anp.prod(x, dtype=float), np.prod, V),
    "cumsum": (anp.cumsum, np.cumsum, M),
    "cumsum, axis 0": (lambda x: anp.cumsum(x, axis=0), lambda x: np.cumsum(x, axis=0), M),
    "cumsum, negative axis": (lambda x: anp.cumsum(x, -1), lambda x: np.cumsum(x, -1), T),
    "var": (anp.var, np_var, M),
    "var, ddof, axis, keepdims": (
        lambda x: anp.var(x, axis=-1, ddof=1, keepdims=True), lambda x: np_var(x, -1, 1, True), M,
    ),
    "var, tuple of axes": (lambda x: x.var(axis=(0, 2)), lambda x: np_var(x, (0, 2)), T),
    "std": (anp.std, lambda x: np.sqrt(np_var(x)), M),
    "std, axis, ddof": (lambda x: anp.std(x, 0, ddof=1), lambda x: np.sqrt(np_var(x, 0, 1)), M),
    "std, negative axis, keepdims": (
        lambda x: anp.std(x, axis=-2, keepdims=True), lambda x: np.sqrt(np_var(x, -2, 0, True)), T,
    ),
    "std of a list": (lambda x: anp.std([x[0], x[1], x[3]]), lambda x: np.sqrt(np_var(x[[0, 1, 3]])), V),
    "mean, dtype, keepdims": (
        lambda x: anp.mean(x, axis=(0, -1), dtype=float, keepdims=True),
        lambda x: np.mean(x, (0, -1), keepdims=True), T,
    ),
    "mean, positional": (lambda x: anp.mean(x, 1), lambda x: np.mean(x, 1), M),
    "mean of a list": (lambda x: anp.mean([x[0], x[2]]), lambda x: (x[0] + x[2]) / 2, V),
    "sum, negative tuple": (lambda x: anp.sum(x, axis=(-1, 0)), lambda x: np.sum(x, axis=(-1, 0)), T),
    "sum, keepdims": (lambda x: x.sum(axis=1, keepdims=True), lambda x: x.sum(axis=1, keepdims=True), T),
    "diff": (anp.diff, np.diff, V),
    "diff, n, axis 0": (lambda x: anp.diff(x, 2, axis=0), lambda x: np.diff(x, 2, axis=0), T[0]),
    "diff, negative axis": (lambda x: anp.diff(x, n=3, axis=-1), lambda x: np.diff(x, n=3, axis=-1), T),
    "trace": (anp.trace, np.trace, M),
    "trace, offset": (lambda x: anp.trace(x, 1), lambda x: np.trace(x, 1), M),
    "trace, below the diagonal": (lambda x: anp.trace(x, offset=-2), lambda x: np.trace(x, offset=-2), M),
    "linspace": (lambda a, b: anp.linspace(a, b, 6), lambda a, b: a + (b - a) * np.arange(6) / 5, (0.3, 1.9)),
    "linspace from a constant": (lambda b: anp.linspace(0.0, b, 4), lambda b: b * np.arange(4) / 3, np.float64(1.2)),
    "linspace of arrays, open": (
        lambda a, b: anp.linspace(a, b, num=5, endpoint=False),
        lambda a, b: a + (b - a) * np.arange(5)[:, None] / 5, (W, np.float64(2.0)),
    ),
    "cross": (anp.cross, np.cross, (W, V[:3])),
    "cross, broadcast": (lambda a, b: anp.cross(a, b), np.cross, (N, W)),
    "cross, axes": (
        lambda a, b: anp.cross(a, b, axisa=0, axisb=-1, axisc=0),
        lambda a, b: np.cross(a, b, axisa=0, axisb=-1, axisc=0), (M, N),
    ),
    "cross, axis": (lambda a: anp.cross(a, np.ones((3, 4)), axis=0), lambda a: np.cross(a, np.ones((3, 4)), axis=0), M),
    "kron": (anp.kron, np.kron, (M, N)),
    "kron of vector and matrix": (anp.kron, np.kron, (W, N)),
    "kron of matrix and vector": (anp.kron, np.kron, (M, W)),
    "kron, three axes": (anp.kron, np.kron, (T, M)),
    "kron with a scalar": (anp.kron, np.kron, (np.float64(0.8), M)),
    "kron with itself": (lambda x: anp.kron(x, x), lambda x: np.kron(x, x), W),
    "outer": (anp.outer, np.outer, (V, W)),
    "outer of matrices": (anp.outer, np.outer, (M, T)),
    "outer with itself": (lambda x: anp.outer(x, x), lambda x: np.outer(x, x), V),
    "sinc": (anp.sinc, np.sinc, V),
    "real and imag": (
        lambda x: anp.real((x + 2j * x) * (1 - 1j)) * anp.imag(1j * x + 3.0), lambda x: 3.0 * x * x, V,
    ),
    "real and imag of reals": (lambda x: anp.real(x) + anp.imag(x), lambda x: x, V),
    "conj": (lambda x: anp.real(anp.conj(x + 1j * x) * (1 + 1j)), lambda x: 2.0 * x, V),
    "angle": (
        lambda x: anp.angle(x + 1j * (1.0 + x**2)), lambda x: np.pi / 2 - np.arctan(x / (1.0 + x**2)), V,
    ),
    "angle in degrees": (lambda x: anp.angle(x) + x, lambda x: 0.0 * x + x, np.abs(V)),
    "real_if_close": (anp.real_if_close, lambda x: x, V),
    "astype": (lambda x: x.astype(float) * x.astype(np.float64), lambda x: x * x, V),
    "astype complex": (lambda x: anp.real(x.astype(complex) * (1.0 + 2.0j)), lambda x: x, V),
    "full": (lambda a: anp.full((2, 3), a), lambda a: np.full((2, 3), a), np.float64(0.6)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_series(name):
    fun, reference, args = CASES[name]
    args = args if isinstance(args, tuple) else (args,)
    series = [polynomial(a, seed=i + 1) for i, a in enumerate(args)]
    expected = by_points(reference, *series)
    got = vn.jet(fun, *series)
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-9, atol=1e-9 * np.max(np.abs(expected)))


@pytest.mark.parametrize("name", CASES)
def test_batches_passes_and_gradient(name):
    fun, _, args = CASES[name]
    check_all(fun, args)


@pytest.mark.parametrize("x0", [1e-9, 0.3, -0.95, 2.6, 11.9, 12.1, -30.3])
def test_sinc_to_thirty_digits(x0):
    slope = lambda x: (mp.pi * x * mp.cospi(x) - mp.sinpi(x)) / (mp.pi * x**2)  # noqa: E731
    check_series(anp.sinc, lambda x: mp.sinpi(x) / (mp.pi * x), x0, dps=80)
    check_series(autograd.grad(anp.sinc), slope, x0, dps=80)


def test_sinc_at_zero_is_its_maclaurin_series():
    """sinc(t) = sum (-1)^m (pi t)^(2m) / (2m + 1)!, and its gradient, term by term."""
    t = np.zeros(9)
    t[1] = 1.0
    expected = np.zeros(10)
    expected[::2] = [(-1) ** m * np.pi ** (2 * m) / float(mp.factorial(2 * m + 1)) for m in range(5)]
    assert np.allclose(vn.jet(anp.sinc, t), expected[:9], rtol=1e-13, atol=0.0)
    slope = np.append(expected[1:] * np.arange(1, 10), 0.0)[:9]
    assert np.allclose(vn.jet(autograd.grad(anp.sinc), t), slope, rtol=1e-13, atol=0.0)


def test_gradient_of_a_product_with_zeros():
    """d prod / dx_i is the product of the others: autograd's own VJP gives NaN here."""
    series = polynomial(np.array([0.0, 2.0, 0.0, 3.0]))
    others = lambda x: np.array([x[1] * x[2] * x[3], x[0] * x[2] * x[3], x[0] * x[1] * x[3], x[0] * x[1] * x[2]])  # noqa: E731
    got = vn.jet(autograd.grad(anp.prod), series)
    assert np.allclose(got, by_points(others, series), rtol=1e-10, atol=1e-11)


MASK = np.array([True, False, True, True, True])
REFUSALS = [
    (lambda x: anp.std(0.0 * x), NonSmoothError, "std"),
    (lambda x: anp.std(x[:1]), NonSmoothError, "std"),
    (lambda x: anp.cross(x[:2], np.ones(2)), MissingRuleError, "cross"),
    (lambda x: anp.angle(x * (1 + 1j) - x * (1 + 1j)), NonSmoothError, "angle"),
    (lambda x: anp.prod(x, where=MASK), MissingRuleError, "where="),
    (lambda x: anp.prod(x, initial=2.0), MissingRuleError, "initial="),
    (lambda x: anp.sum(x, where=MASK), MissingRuleError, "where="),
    (lambda x: anp.sum(x, initial=2.0), MissingRuleError, "initial="),
    (lambda x: anp.mean(x, where=MASK), MissingRuleError, "where="),
    (lambda x: anp.var(x, where=MASK), MissingRuleError, "where="),
    (lambda x: anp.sum(anp.outer(x, x), axis=0, dtype=int), MissingRuleError, "dtype="),
    (lambda x: anp.mean(x, dtype=np.float32), MissingRuleError, "dtype="),
    (lambda x: anp.prod(anp.outer(x, x), axis=0, dtype=int), MissingRuleError, "dtype="),
    (lambda x: x.astype(int), MissingRuleError, "astype"),
]


@pytest.mark.parametrize("fun, error, message", REFUSALS)
@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")
@pytest.mark.parametrize("in_gradient", [False, True])
def test_refusals(fun, error, message, in_gradient):
    called = autograd.grad(lambda x: anp.sum(fun(x))) if in_gradient else fun
    with pytest.raises(error, match=message):
        vn.jet(called, polynomial(V))


def test_ddof_and_offset_change_the_result():
    series = polynomial(M)
    assert not np.allclose(vn.jet(lambda x: anp.var(x, ddof=1), series), vn.jet(anp.var, series))
    assert not np.allclose(vn.jet(lambda x: anp.trace(x, 1), series), vn.jet(anp.trace, series))
    degrees = vn.jet(lambda x: anp.angle(x + 1j, deg=True), series)
    assert np.allclose(degrees, 180.0 / np.pi * vn.jet(lambda x: anp.angle(x + 1j), series))


def test_complex_variance():
    """var of complex numbers is var of the real plus var of the imaginary parts."""
    series = polynomial(V)
    fun = lambda x: anp.var(x + 1j * x**2)  # noqa: E731
    same = lambda x: anp.var(x) + anp.var(x**2)  # noqa: E731
    assert np.allclose(vn.jet(fun, series), vn.jet(same, series), rtol=1e-12)
    assert np.allclose(vn.jet(autograd.grad(fun), series), vn.jet(autograd.grad(same), series), rtol=1e-11)
