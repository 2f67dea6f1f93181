"""Arithmetic and elementary functions: series to order 8 against mpmath, gradients, tails and singular points."""

import autograd
import autograd.numpy as anp
import autograd.scipy.special as asp
import mpmath as mp
import numpy as np
import pytest
from jet_checks import check_all, check_batch, check_series, random_series

import vittles_ng as vn
from vittles_ng.errors import NonFiniteError, NonSmoothError

# name -> (function, the same in mpmath, base points)
UNARY = {
    "exp": (anp.exp, mp.exp, [0.0, 0.3, -30.0, 200.0]),
    "exp2": (anp.exp2, lambda x: mp.mpf(2) ** x, [0.0, 1.3, -8.0]),
    "expm1": (anp.expm1, mp.expm1, [0.0, 1e-9, -0.7, 20.0]),
    "log": (anp.log, mp.log, [0.02, 0.7, 1.0, 1e6]),
    "log2": (anp.log2, lambda x: mp.log(x, 2), [0.4, 3.0]),
    "log10": (anp.log10, mp.log10, [0.4, 300.0]),
    "log1p": (anp.log1p, mp.log1p, [0.0, -0.8, 1e-9, 50.0]),
    "sqrt": (anp.sqrt, mp.sqrt, [0.6, 100.0]),
    "square": (anp.square, lambda x: x**2, [0.0, -1.4]),
    "reciprocal": (anp.reciprocal, lambda x: 1 / x, [0.8, -3.0]),
    "sin": (anp.sin, mp.sin, [0.0, 0.4, 30.0]),
    "cos": (anp.cos, mp.cos, [0.0, 0.4, -2.0]),
    "tan": (anp.tan, mp.tan, [0.0, 0.4, -1.2]),
    "sinh": (anp.sinh, mp.sinh, [0.0, 0.4, -9.0]),
    "cosh": (anp.cosh, mp.cosh, [0.0, 0.4, -9.0]),
    "tanh": (anp.tanh, mp.tanh, [0.0, 0.4, -1.5]),
    "arcsin": (anp.arcsin, mp.asin, [0.0, 0.4, -0.8]),
    "arccos": (anp.arccos, mp.acos, [0.0, 0.4, -0.8]),
    "arctan": (anp.arctan, mp.atan, [0.0, 0.4, -20.0]),
    "arcsinh": (anp.arcsinh, mp.asinh, [0.0, 0.4, -20.0]),
    "arccosh": (anp.arccosh, mp.acosh, [1.4, 10.0]),
    "arctanh": (anp.arctanh, mp.atanh, [0.0, 0.4, -0.8]),
    "expit": (asp.expit, lambda x: 1 / (1 + mp.exp(-x)), [0.0, 1.4, -3.0]),
    "logit": (asp.logit, lambda x: mp.log(x / (1 - x)), [0.5, 0.1, 0.93]),
    "softplus": (lambda x: anp.logaddexp(0.0, x), lambda x: mp.log(1 + mp.exp(x)), [0.0, 2.0, -3.0]),
    "logaddexp2": (lambda x: anp.logaddexp2(x, 1.0), lambda x: mp.log(2 + mp.mpf(2) ** x, 2), [0.0, 2.0]),
    "x**0": (lambda x: x**0 + x, lambda x: 1 + x, [0.0, 1.3]),
    "x**1": (lambda x: x**1, lambda x: x, [0.0, 1.3]),
    "x**2": (lambda x: x**2, lambda x: x**2, [0.0, -1.3]),
    "x**3": (lambda x: x**3, lambda x: x**3, [0.0, -1.3]),
    "x**7": (lambda x: x**7.0, lambda x: x**7, [0.0, 0.9]),
    "x**-1": (lambda x: x**-1, lambda x: 1 / x, [1.3, -0.8]),
    "x**-3": (lambda x: x**-3.0, lambda x: x**-3, [1.3, -0.8]),
    "x**0.5": (lambda x: x**0.5, mp.sqrt, [1.3, 0.6]),
    "x**2.5": (lambda x: anp.power(x, 2.5), lambda x: x ** mp.mpf(2.5), [1.3, 40.0]),
    "2**x": (lambda x: 2.0**x, lambda x: mp.mpf(2) ** x, [0.0, -1.3]),
    "x**x": (lambda x: x**x, lambda x: x**x, [1.3, 0.5]),
    "1/x": (lambda x: 1.0 / x, lambda x: 1 / x, [1.3, -0.8]),
    "x/(1+x)": (lambda x: x / (1.0 + x), lambda x: x / (1 + x), [0.0, 1.3]),
    "true_divide": (lambda x: anp.true_divide(x, 4.0), lambda x: x / 4, [0.5]),
    "hypot with a constant": (lambda x: anp.hypot(x, 2.0), lambda x: mp.sqrt(x**2 + 4), [0.0, 1.3]),
    "arctan2 of a constant": (lambda x: anp.arctan2(1.5, x), lambda x: mp.atan2(1.5, x), [0.0, 1.3, -2.0]),
    "polynomial": (lambda x: 3.0 - 2.0 * x + x * x * x - -x, lambda x: 3 - x + x**3, [0.0, 1.3]),
}  # fmt: skip

BINARY = {
    "multiply": (lambda x, y: x * y, lambda x, y: x * y, [(0.0, 0.0), (1.2, -0.7)]),
    "divide": (lambda x, y: x / y, lambda x, y: x / y, [(0.0, 1.3), (1.2, -0.7)]),
    "power": (lambda x, y: x**y, lambda x, y: x**y, [(1.2, -0.7), (0.8, 0.0), (0.8, 1.0), (2.0, 3.0)]),
    "logaddexp": (anp.logaddexp, lambda x, y: mp.log(mp.exp(x) + mp.exp(y)), [(0.3, 0.3), (1.0, -4.0), (-2.0, 3.0)]),
    "logaddexp2": (anp.logaddexp2, lambda x, y: mp.log(mp.mpf(2) ** x + mp.mpf(2) ** y, 2), [(0.3, 1.3)]),
    "hypot": (anp.hypot, lambda x, y: mp.sqrt(x**2 + y**2), [(0.0, 1.0), (-1.2, 0.7)]),
    "arctan2": (anp.arctan2, mp.atan2, [(0.0, 1.0), (-1.2, 0.7), (0.4, -1.1), (1.0, -0.05)]),
}

POINTS = [(name, x0) for name, (_, _, points) in UNARY.items() for x0 in points]
PAIRS = [(name, *xy) for name, (_, _, points) in BINARY.items() for xy in points]


def tilted(fun):
    """The function times a sum: the squares of sqrt and hypot, which the checks form, would be polynomials."""
    return lambda *args: fun(*args) * (2.0 + anp.sum(anp.sin(args[0])))


@pytest.mark.parametrize("name, x0", POINTS)
def test_unary(name, x0):
    fun, reference, _ = UNARY[name]
    scale = 0.3 * min(1.0, abs(x0)) if 0.0 < abs(x0) < 1.0 else 0.3  # stay clear of the nearest singular point
    check_series(fun, reference, x0, scale=max(scale, 0.01), dps=60)


@pytest.mark.parametrize("name, x0", POINTS)
def test_gradient_of_unary(name, x0):
    """A third of the orders suffices: the gradient is made of the same rules."""
    fun, reference, _ = UNARY[name]
    scale = 0.3 * min(1.0, abs(x0)) if 0.0 < abs(x0) < 1.0 else 0.3
    series = random_series(x0, 3, scale=max(scale, 0.01))[0]
    got = vn.jet(autograd.grad(fun), series)
    with mp.workdps(60):
        derivatives = [d * mp.factorial(k) for k, d in enumerate(mp.taylor(reference, mp.mpf(x0), 4))][1:]
        s = [mp.mpf(float(c)) for c in series]
        d1, d2, d3, d4 = derivatives
        # Faa di Bruno for f'(x_0 + s_1 t + s_2 t^2 + s_3 t^3)
        expected = [
            d1,
            d2 * s[1],
            d2 * s[2] + d3 * s[1] ** 2 / 2,
            d2 * s[3] + d3 * s[1] * s[2] + d4 * s[1] ** 3 / 6,
        ]
        expected = np.array([float(mp.re(e)) for e in expected])
    assert np.allclose(got, expected, rtol=1e-11, atol=1e-12 * np.max(np.abs(expected)))


@pytest.mark.parametrize("name, x0, y0", PAIRS)
def test_binary(name, x0, y0):
    fun, reference, _ = BINARY[name]
    check_series(fun, reference, x0, y0, scale=0.2, dps=60)
    check_series(lambda x: fun(x, y0), lambda x: reference(x, mp.mpf(y0)), x0, scale=0.2, dps=60)
    if (name, x0) != ("power", 0.0):
        check_series(lambda y: fun(x0, y), lambda y: reference(mp.mpf(x0), y), y0, scale=0.2, dps=60)


@pytest.mark.parametrize("name, x0, y0", PAIRS)
def test_gradient_of_binary(name, x0, y0):
    check_all(tilted(BINARY[name][0]), (x0, y0), scale=0.2)


# ---- broadcasting in batches of steps ----

RNG = np.random.default_rng(6)
COLUMN, ROW, CUBE = RNG.uniform(0.5, 1.5, (3, 1)), RNG.uniform(0.5, 1.5, 4), RNG.uniform(0.5, 1.5, (2, 3, 4))


@pytest.mark.parametrize("fun", [
    anp.add, anp.subtract, anp.multiply, anp.divide, anp.power, anp.logaddexp, anp.hypot, anp.arctan2, anp.maximum,
], ids=lambda f: f.__name__)  # fmt: skip
@pytest.mark.parametrize(
    "args", [(COLUMN, ROW), (ROW, CUBE), (CUBE, COLUMN), (np.float64(0.7), CUBE), (ROW, np.float64(0.9))]
)
def test_broadcasting(fun, args):
    a, b = args
    check_all(tilted(fun), (a, b))
    check_batch(lambda x: fun(x, b), a)
    check_batch(lambda y: fun(a, y), b)
    # each entry is the scalar function of its operands
    sa, sb = random_series((a, b), 3)
    got = vn.jet(fun, sa, sb)
    full = [np.broadcast_to(s.reshape(4, *(1,) * (got.ndim - s.ndim), *s.shape[1:]), got.shape) for s in (sa, sb)]
    where = tuple(n - 1 for n in got.shape[1:])
    assert np.allclose(got[(slice(None), *where)], vn.jet(fun, *(s[(slice(None), *where)] for s in full)), rtol=1e-13)


@pytest.mark.parametrize("name", UNARY)
def test_arrays_in_batches_and_passes(name):
    fun, _, points = UNARY[name]
    check_all(tilted(fun), np.full((2, 2), points[-1]), scale=0.05)


# ---- powers where the base or the exponent is special ----


def test_array_of_exponents_with_zero_bases():
    """x**[0, 1, 2, 5] at 0 and at 1.7: polynomials, each entry by itself."""
    exponents = np.array([0.0, 1.0, 2.0, 5.0])
    for x0 in (0.0, 1.7):
        series = random_series(x0, 6)[0]
        got = vn.jet(lambda x: x**exponents, series)
        power = np.eye(7)[0]
        expected = []
        for p in range(6):
            if p in exponents:
                expected.append(power)
            power = np.convolve(power, series)[:7]
        assert np.allclose(got, np.stack(expected, axis=1), rtol=1e-12, atol=1e-15)
        check_all(lambda x: x**exponents, x0)


def test_mixed_bases_and_exponents():
    x0, p = np.array([0.0, 2.0, -1.5, 0.0]), np.array([3.0, -0.5, 4.0, 2.0])
    fun = lambda x: x**p  # noqa: E731
    series = random_series(x0, 5)[0]
    for i in range(4):
        assert np.allclose(vn.jet(fun, series)[:, i], vn.jet(lambda x, i=i: x ** p[i], series[:, i]), rtol=1e-12)
    check_all(fun, x0)


def test_traced_exponent_at_zero():
    """d^2 x**y / dx dy at y = 0 is 1 / x; autograd's own VJP says y x**(y-1) with y frozen where it is 0."""
    mixed = autograd.grad(lambda y: autograd.grad(lambda x: x**y)(2.0))
    assert np.allclose(vn.jet(mixed, np.array([0.0, 1.0]))[0], 0.5, rtol=1e-14)
    # x**y = exp(y log x) along y = t, the x-gradient is t 2**(t - 1)
    t = np.array([0.0, 1.0, 0.0, 0.0])
    log2 = np.log(2.0)
    got = vn.jet(lambda y: autograd.grad(lambda x: x**y)(2.0), t)
    assert np.allclose(got, [0.0, 0.5, 0.5 * log2, 0.25 * log2**2], rtol=1e-14)
    check_all(lambda x, y: x**y, (np.array([2.0, 0.7]), np.array([0.0, 1.0])))


def test_constant_zero_base_with_a_traced_exponent():
    """0**y is 0 for y > 0, and its series too."""
    fun = lambda y: anp.power(np.array([0.0, 2.0]), y)  # noqa: E731
    series = np.array([1.5, 0.3, 0.1])
    assert np.allclose(vn.jet(fun, series)[:, 0], 0.0)
    assert np.allclose(vn.jet(fun, series)[:, 1], vn.jet(lambda y: 2.0**y, series), rtol=1e-14)


# ---- tails: nothing overflows, nothing is lost ----


@pytest.mark.parametrize("x0", [-800.0, -40.0, 40.0, 800.0])
def test_logaddexp_in_its_tails(x0):
    """logaddexp(0, x) is exp(x) far left and x far right, with its gradient and second derivative."""
    softplus = lambda x: anp.logaddexp(0.0, x)  # noqa: E731
    series = np.array([x0, 1.0, 0.5, 0.25])
    for depth in range(3 if x0 < 0 else 2):  # 1 - expit(40) is 0, absolutely right
        fun = softplus
        for _ in range(depth):
            fun = autograd.grad(fun)
        got = vn.jet(fun, series)
        tail = vn.jet(anp.exp, np.array([-abs(x0), *(np.sign(x0) * -series[1:])]))
        if x0 < 0:
            expected = vn.jet(anp.exp, series)
        elif depth == 0:
            expected = series + tail
        else:
            expected = np.eye(4)[0] - tail
        assert np.allclose(got, expected, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("x0", [-800.0, -40.0, 40.0])
def test_expit_in_its_tails(x0):
    """expit(x) is exp(x) far left; far right 1 - expit is exp(-x), which survives in the derivatives."""
    series = np.array([x0, 1.0, 0.5])
    got = vn.jet(asp.expit, series)
    if x0 < 0:
        assert np.allclose(got, vn.jet(anp.exp, series), rtol=1e-12, atol=0.0)
    else:
        tail = -vn.jet(anp.exp, -series)
        assert got[0] == 1.0
        assert np.allclose(got[1:], tail[1:], rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("x0", [-30.0, 30.0, 800.0])
def test_tanh_in_its_tails(x0):
    """1 - tanh(x)^2 is 4 exp(-2 |x|), in the series; the gradient is good to rounding of 1 and does not
    overflow as cosh does."""
    series = np.array([x0, 1.0, 0.5])
    slope = 4.0 * vn.jet(anp.exp, -2.0 * np.sign(x0) * series)
    got, gradient = vn.jet(anp.tanh, series), vn.jet(autograd.grad(anp.tanh), series)
    assert np.isclose(got[1], slope[0] * series[1], rtol=1e-9, atol=0.0)
    assert np.allclose(gradient, slope, rtol=0.0, atol=1e-15)


# ---- singular points are refused by name ----


@pytest.mark.parametrize("fun, x0, message", [
    (anp.sqrt, 0.0, "sqrt"),
    (lambda x: x**0.5, 0.0, "power"),
    (lambda x: x**1.5, 0.0, "power"),
    (lambda x: anp.arcsin(x), 1.0, "arcsin"),
    (lambda x: anp.arccosh(x), 1.0, "arccosh"),
    (lambda x: x**x, 0.0, "power"),
    (lambda x: (x - 3.0) ** (1.0 + x), 1.0, "positive base"),
    (anp.log, 0.0, "log|infinite"),
    (lambda x: 1.0 / x, 0.0, "infinite"),
    (lambda x: x**-2, 0.0, "power|infinite"),
    (anp.arctanh, 1.0, "arctanh|infinite"),
    (lambda x: anp.log(x), -1.0, "NaN"),
    (lambda x: anp.hypot(x, x), 0.0, "sqrt|hypot"),
    (lambda x: anp.arctan2(x, x), 0.0, "arctan2|NaN|infinite"),
])  # fmt: skip
def test_singular_points(fun, x0, message):
    with pytest.raises((NonSmoothError, NonFiniteError), match=message):
        vn.jet(fun, np.array([x0, 1.0, 0.0]))
