"""Series through autograd.scipy.special against mpmath, and the points where they have none."""

import autograd
import autograd.numpy as anp
import autograd.scipy.special as asp
import mpmath as mp
import numpy as np
import pytest
import scipy.special as sp
from jet_checks import check_all, check_batch, check_gradient, check_series, check_two_pass

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError, NonSmoothError


def _log_abs_gamma(x):
    return mp.log(abs(mp.gamma(x)))


def _ive(n, x):
    return mp.besseli(n, x) * mp.exp(-x if mp.re(x) > 0 else x)


# name, function, mpmath's, base point, relative tolerance; a straight line of step .3 times a normal number
SCALAR = [
    ("psi", asp.psi, mp.digamma, 0.8, 1e-12),
    ("psi negative", asp.psi, mp.digamma, -2.4, 1e-12),
    ("digamma", asp.digamma, mp.digamma, 5.5, 1e-12),
    ("digamma large", asp.digamma, mp.digamma, 1e6, 1e-12),
    ("polygamma 0", lambda x: asp.polygamma(0, x), mp.digamma, 1.7, 1e-12),
    ("polygamma 2", lambda x: asp.polygamma(2, x), lambda x: mp.polygamma(2, x), 1.7, 1e-12),
    ("gammaln", asp.gammaln, mp.loggamma, 0.6, 1e-12),
    ("gammaln large", asp.gammaln, mp.loggamma, 1e6, 1e-12),
    ("gammaln negative", asp.gammaln, _log_abs_gamma, -1.6, 1e-12),
    ("gamma", asp.gamma, mp.gamma, 3.3, 1e-12),
    ("gamma negative", asp.gamma, mp.gamma, -1.6, 1e-12),
    ("gamma large", asp.gamma, mp.gamma, 150.5, 1e-12),
    ("rgamma", asp.rgamma, mp.rgamma, 2.2, 1e-12),
    ("rgamma at a zero", asp.rgamma, mp.rgamma, -3.0, 1e-12),
    ("rgamma at 0", asp.rgamma, mp.rgamma, 0.0, 1e-12),
    ("beta first", lambda x: asp.beta(x, 1.3), lambda x: mp.beta(x, mp.mpf(1.3)), 0.7, 1e-12),
    ("betaln second", lambda x: asp.betaln(4.0, x), lambda x: mp.log(mp.beta(4, x)), 0.7, 1e-12),
    (
        "multigammaln",
        lambda x: asp.multigammaln(x, 3),
        lambda x: mp.mpf(1.5) * mp.log(mp.pi) + sum(mp.loggamma(x - mp.mpf(j) / 2) for j in range(3)),
        2.5,
        1e-12,
    ),
    ("gammainc", lambda x: asp.gammainc(1.7, x), lambda x: mp.gammainc(mp.mpf(1.7), 0, x, True), 0.9, 1e-12),
    ("gammaincc", lambda x: asp.gammaincc(2.5, x), lambda x: mp.gammainc(2.5, x, mp.inf, True), 3.0, 1e-12),
    ("gammainc at 0", lambda x: asp.gammainc(2, x), lambda x: 1 - (1 + x) * mp.exp(-x), 0.0, 1e-12),
    ("gammainc large a", lambda x: asp.gammainc(300.0, x), lambda x: mp.gammainc(300, 0, x, True), 280.0, 1e-11),
    ("betainc", lambda x: asp.betainc(1.5, 2.5, x), lambda x: mp.betainc(1.5, 2.5, 0, x, True), 0.4, 1e-12),
    ("betainc at 0", lambda x: asp.betainc(2, 3, x), lambda x: 6 * x**2 - 8 * x**3 + 3 * x**4, 0.0, 1e-12),
    ("betainc at 1", lambda x: asp.betainc(2, 3, x), lambda x: 6 * x**2 - 8 * x**3 + 3 * x**4, 1.0, 1e-12),
    ("j0", asp.j0, lambda x: mp.besselj(0, x), 1.3, 1e-12),
    ("j0 at 0", asp.j0, lambda x: mp.besselj(0, x), 0.0, 1e-12),
    ("j1", asp.j1, lambda x: mp.besselj(1, x), 1.3, 1e-12),
    ("j1 negative", asp.j1, lambda x: mp.besselj(1, x), -2.3, 1e-12),
    ("jn 0", lambda x: asp.jn(0, x), lambda x: mp.besselj(0, x), 2.9, 1e-12),
    ("jn 1 at 0", lambda x: asp.jn(1, x), lambda x: mp.besselj(1, x), 0.0, 1e-12),
    ("jn 2.5", lambda x: asp.jn(2.5, x), lambda x: mp.besselj(2.5, x), 2.9, 1e-12),
    ("y0", asp.y0, lambda x: mp.bessely(0, x), 1.3, 1e-12),
    ("i0", asp.i0, lambda x: mp.besseli(0, x), 1.3, 1e-12),
    ("i0 at 0", asp.i0, lambda x: mp.besseli(0, x), 0.0, 1e-12),
    ("i0 large", asp.i0, lambda x: mp.besseli(0, x), 300.0, 1e-12),
    ("i1", asp.i1, lambda x: mp.besseli(1, x), -1.3, 1e-12),
    ("iv 2 at 0", lambda x: asp.iv(2, x), lambda x: mp.besseli(2, x), 0.0, 1e-12),
    ("iv 1.5", lambda x: asp.iv(1.5, x), lambda x: mp.besseli(1.5, x), 2.0, 1e-12),
    ("ive 0", lambda x: asp.ive(0, x), lambda x: _ive(0, x), 2.0, 1e-12),
    ("ive 2 negative", lambda x: asp.ive(2, x), lambda x: _ive(2, x), -2.0, 1e-12),
    ("ive 1 large", lambda x: asp.ive(1, x), lambda x: _ive(1, x), 500.0, 1e-12),
    ("ive 3 negative large", lambda x: asp.ive(3, x), lambda x: _ive(3, x), -500.0, 1e-12),
    ("ive 1.5 large", lambda x: asp.ive(1.5, x), lambda x: _ive(1.5, x), 45.0, 1e-12),
    ("ive 10 near 0", lambda x: asp.ive(10, x), lambda x: _ive(10, x), 1.2, 1e-12),
    ("ive 10", lambda x: asp.ive(10, x), lambda x: _ive(10, x), 20.0, 1e-11),
    ("ive 400", lambda x: asp.ive(400, x), lambda x: _ive(400, x), 250.0, 1e-9),
    ("ive 0.5", lambda x: asp.ive(0.5, x), lambda x: _ive(0.5, x), 2.0, 1e-11),
    ("erf", asp.erf, mp.erf, 0.4, 1e-12),
    ("erf at 0", asp.erf, mp.erf, 0.0, 1e-12),
    ("erfc tail", asp.erfc, mp.erfc, 9.0, 1e-12),
    ("erfinv", asp.erfinv, mp.erfinv, 0.3, 1e-12),
    ("erfinv at 0", asp.erfinv, mp.erfinv, 0.0, 1e-12),
    ("erfcinv", asp.erfcinv, lambda x: mp.erfinv(1 - x), 1.3, 1e-12),
]


@pytest.mark.parametrize("name, fun, reference, x0, rtol", SCALAR, ids=[row[0] for row in SCALAR])
def test_series_against_mpmath(name, fun, reference, x0, rtol):
    """Along a straight line, where coefficient k is f^(k)/k! alone, and along a curve."""
    dps = 60 if "large" in name else 25  # small derivatives of large values need more digits
    check_series(fun, reference, x0, linear=name not in _VANISHING, rtol=rtol, dps=dps)
    check_series(fun, reference, x0, rtol=rtol, dps=dps, seed=1)


# functions some derivative of which is 0 at the base point: relative to the other coefficients
_VANISHING = {"j0 at 0", "jn 1 at 0", "i0 at 0", "iv 2 at 0", "erf at 0", "erfinv at 0"} | {
    "gammainc at 0",
    "betainc at 0",
    "betainc at 1",
    "rgamma at 0",
}


def test_bessel_functions_of_the_second_kind_obey_their_identities():
    """J_1 Y_0 - J_0 Y_1 = 2 / (pi x) and Y_3 = (8/x^2 - 1) Y_1 - 4/x Y_0: DLMF 10.5.2, 10.6.1."""
    series = np.random.default_rng(2).uniform(0.5, 1.0, 9) * 0.3 ** np.arange(9)
    wronskian = lambda x: asp.j1(x) * asp.y0(x) - asp.j0(x) * asp.y1(x) - 2.0 / (np.pi * x)  # noqa: E731
    third = lambda x: asp.yn(3, x) / ((8.0 / x**2 - 1.0) * asp.y1(x) - 4.0 / x * asp.y0(x))  # noqa: E731
    np.testing.assert_allclose(vn.jet(wronskian, series), np.zeros(9), atol=1e-12)
    np.testing.assert_allclose(vn.jet(third, series), np.eye(9)[0], atol=1e-11)


@pytest.mark.parametrize(
    "fun, reference",
    [(asp.beta, mp.beta), (asp.betaln, lambda a, b: mp.log(mp.beta(a, b)))],
    ids=["beta", "betaln"],
)
def test_beta_in_both_operands(fun, reference):
    check_series(fun, reference, 1.2, 0.7, dps=25)


A, B = np.array([0.7, 1.9, 4.2]), np.array([[1.3], [0.4]])
X = np.array([0.2, 0.45, 0.8])
ARRAYS = {
    "psi": (asp.psi, A),
    "digamma": (asp.digamma, A),
    "polygamma": (lambda x: asp.polygamma(1, x), A),
    "polygamma of several n": (lambda x: asp.polygamma(np.array([[1], [2]]), x), A),
    "gammaln": (asp.gammaln, A),
    "gamma": (asp.gamma, A - 2.0),
    "rgamma": (asp.rgamma, A - 2.0),
    "beta": (asp.beta, (A, B)),
    "betaln": (asp.betaln, (A, B)),
    "multigammaln": (lambda x: asp.multigammaln(x, 2), A),
    "gammainc": (lambda x: asp.gammainc(B, x), A),
    "gammaincc": (lambda x: asp.gammaincc(200.0, x), 50.0 * A),
    "betainc": (lambda x: asp.betainc(B, 2.0, x), X),
    "j0": (asp.j0, A - 0.7),
    "j1": (asp.j1, A - 0.7),
    "jn": (lambda x: asp.jn(B.astype(int), x), A),
    "y0": (asp.y0, A),
    "y1": (asp.y1, A),
    "yn": (lambda x: asp.yn(2, x), A),
    "i0": (asp.i0, A - 0.7),
    "i1": (asp.i1, A - 0.7),
    "iv": (lambda x: asp.iv(B, x), A),
    "ive": (lambda x: asp.ive(np.array([[0.0], [1.5]]), x), A),
    "erf": (asp.erf, A - 0.7),
    "erfc": (asp.erfc, A - 0.7),
    "erfinv": (asp.erfinv, X - 0.2),
    "erfcinv": (asp.erfcinv, X),
}
LOGSUMEXP = {
    "all": {},
    "axis 0": {"axis": 0},
    "last axis": {"axis": -1, "keepdims": True},
    "two axes": {"axis": (0, 2)},
    "weighted": {"axis": 1, "b": np.array([[0.5], [2.0], [0.0]])},
    "weighted, kept": {"b": 3.0, "keepdims": True},
}
Z = np.random.default_rng(5).standard_normal((2, 3, 2))
ARRAYS.update({f"logsumexp {n}": (lambda x, kw=kw: asp.logsumexp(x, **kw), Z) for n, kw in LOGSUMEXP.items()})


@pytest.mark.parametrize("name", ARRAYS)
def test_batches_two_passes_and_gradients(name):
    fun, x0 = ARRAYS[name]
    check_all(fun, x0, scale=0.1)


@pytest.mark.parametrize("name", LOGSUMEXP)
def test_logsumexp_is_its_definition(name):
    kwargs = dict(LOGSUMEXP[name])
    b = kwargs.pop("b", 1.0)
    series = np.stack([Z, *np.random.default_rng(1).standard_normal((6, *Z.shape))])
    got = vn.jet(lambda x: asp.logsumexp(x, b=b, **kwargs), series)
    expected = vn.jet(lambda x: anp.log(anp.sum(b * anp.exp(x), **kwargs)), series)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_logsumexp_of_large_masked_and_weighted():
    """Values of 1000 do not overflow, a -inf entry is a constant 0, weights may be traced."""
    series = np.zeros((4, 3))
    series[0], series[1] = (1000.0, 1001.0, 999.0), (1.0, -1.0, 0.5)
    shifted = series.copy()
    shifted[0] -= 1000.0
    got, expected = vn.jet(asp.logsumexp, series), vn.jet(asp.logsumexp, shifted)
    np.testing.assert_allclose(got - [1000.0, 0, 0, 0], expected, rtol=1e-12)
    masked = vn.jet(lambda x: asp.logsumexp(anp.concatenate([x, np.array([-np.inf])])), shifted)
    np.testing.assert_allclose(masked, expected, rtol=1e-13)
    weighted = lambda x, b: asp.logsumexp(x, 0, b)  # noqa: E731
    b = np.array([0.5, 1.0, 2.0])
    b_series = np.stack([b, [0.1, -0.2, 0.3], np.zeros(3), np.zeros(3)])
    direct = vn.jet(lambda x, b: anp.log(anp.sum(b * anp.exp(x))), shifted, b_series)
    np.testing.assert_allclose(vn.jet(weighted, shifted, b_series), direct, rtol=1e-12)
    check_gradient(weighted, (shifted[0], b))


@pytest.mark.parametrize("x0", [5.0, 39.0, 60.0, 3e5])
def test_scaled_bessel_functions_do_not_cancel(x0):
    """kappa -> log I_0(kappa), the von Mises normalising constant, over a step of a tenth of kappa."""
    series = np.zeros(9)
    series[:2] = x0, 0.1 * x0
    got = vn.jet(lambda x: anp.log(asp.ive(0, x)) + x, series)
    with mp.workdps(30):
        expected = mp.taylor(lambda t: mp.log(_ive(0, mp.mpf(x0) * (1 + t / 10))), 0, 8, chop=False)
    np.testing.assert_allclose(got[2:], [float(c) for c in expected[2:]], rtol=1e-12)


def test_gammasgn_is_constant_between_poles():
    np.testing.assert_array_equal(vn.jet(asp.gammasgn, np.array([-0.5, 1.0, 2.0])), [-1.0, 0.0, 0.0])
    check_gradient(lambda x: asp.gammasgn(x) * x**2, -0.5)


POLES = [
    (asp.gammaln, -2.0),
    (asp.psi, 0.0),
    (asp.digamma, -1.0),
    (lambda x: asp.polygamma(1, x), -3.0),
    (asp.gammasgn, -1.0),
    (asp.y0, 0.0),
    (lambda x: asp.yn(1, x), -0.5),
    (lambda x: asp.jn(0.5, x), 0.0),
    (lambda x: asp.iv(1.5, x), 0.0),
    (lambda x: asp.ive(0, x), 0.0),
    (asp.erfinv, 1.0),
    (asp.erfcinv, 0.0),
    (lambda x: asp.gammainc(1.5, x), 0.0),
    (lambda x: asp.betainc(1.5, 2.0, x), 0.0),
    (lambda x: asp.betainc(2.0, 0.5, x), 1.0),
]


@pytest.mark.parametrize("fun, x0", POLES)
def test_singular_points_are_refused(fun, x0):
    with pytest.raises((NonSmoothError, vn.errors.NonFiniteError)):
        vn.jet(lambda x: anp.sum(fun(x)), np.array([[0.7, x0], [1.0, 1.0]]))


def test_gradient_of_rgamma_at_its_zero_is_refused():
    with pytest.raises((NonSmoothError, vn.errors.NonFiniteError)):
        vn.jet(autograd.grad(asp.rgamma), np.array([-1.0, 1.0]))


# a traced operand without a derivative; autograd's gradient there is a silent zero for all but the incomplete functions
REFUSED = {
    "n": [asp.jn, asp.yn, asp.iv, asp.ive, asp.polygamma],
    "a": [asp.gammainc, asp.gammaincc, lambda a, x: asp.betainc(a, 2.0, x)],
    "b": [lambda b, x: asp.betainc(2.0, b, x)],
}
REFUSED = [(name, fun) for name, funs in REFUSED.items() for fun in funs]


@pytest.mark.parametrize("name, fun", REFUSED)
def test_operands_without_a_derivative_are_refused(name, fun):
    with pytest.raises(MissingRuleError, match=f"operand '{name}'"):
        vn.jet(lambda n: fun(n, 0.4), np.array([2.0, 1.0]))
    with pytest.raises(MissingRuleError, match=f"operand '{name}'"):
        vn.jet(autograd.grad(lambda n: fun(n, 0.4)), np.array([2.0, 1.0]))
    np.testing.assert_array_equal(vn.jet(lambda x: fun(2.0, x), np.array([0.4, 0.0])), [fun(2.0, 0.4), 0.0])


def test_multigammaln_dimension_cannot_be_traced():
    with pytest.raises((TypeError, ValueError)):
        vn.jet(lambda d: asp.multigammaln(3.0, d), np.array([2.0, 1.0]))


def test_mixed_orders_and_signs_in_one_array():
    """Elements with zeros of 1/Gamma and without, in one call."""
    x0 = np.array([-2.0, -0.5, 0.0, 1.5])
    series = np.stack([x0, np.ones(4), np.zeros(4)])
    got = vn.jet(asp.rgamma, series)
    for i, x in enumerate(x0):
        expected = [float(c) for c in mp.taylor(mp.rgamma, mp.mpf(x), 2)]
        np.testing.assert_allclose(got[:, i], expected, rtol=1e-12, atol=1e-14)
    check_batch(asp.rgamma, x0)
    check_two_pass(asp.rgamma, x0)
    assert np.all(got[0] == sp.rgamma(x0))


NESTED = ["polygamma", "gamma", "rgamma", "beta", "gammainc", "betainc", "jn", "yn", "iv", "ive", "erfinv"]


@pytest.mark.parametrize("name", [*NESTED, "logsumexp axis 0", "logsumexp weighted"])
def test_gradients_of_gradients(name):
    """A second gradient taken inside the function, through the same VJPs."""
    fun, x0 = ARRAYS[name]
    x0 = x0 if isinstance(x0, tuple) else (x0,)
    check_gradient(autograd.grad(lambda *x: anp.sum(fun(*x) ** 2)), x0, order=4, scale=0.1)
