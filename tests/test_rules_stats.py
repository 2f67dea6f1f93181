"""Series through autograd.scipy.stats against mpmath, SciPy's values, and what is refused."""

import autograd
import autograd.numpy as anp
import autograd.scipy.stats as ast
import mpmath as mp
import numpy as np
import pytest
import scipy.special as sp
import scipy.stats
from jet_checks import check_all, check_batch, check_gradient, check_series, check_two_pass

import vittles_ng as vn
from vittles_ng.errors import DataError, MissingRuleError, NonFiniteError, NonSmoothError, NotSymmetricError, ShapeError

# ---- mpmath's densities; the last two arguments are loc and scale ----


def _density(standard):
    return lambda x, *args: standard((x - args[-2]) / args[-1], *args[:-2]) / args[-1]


def _t(z, df):
    c = mp.gamma((df + 1) / 2) / mp.gamma(df / 2) / mp.sqrt(df * mp.pi)
    return c * (1 + z * z / df) ** (-(df + 1) / 2)


PDF = {
    "norm": _density(mp.npdf),
    "gamma": _density(lambda z, a: z ** (a - 1) * mp.exp(-z) / mp.gamma(a)),
    "chi2": _density(lambda z, df: z ** (df / 2 - 1) * mp.exp(-z / 2) / 2 ** (df / 2) / mp.gamma(df / 2)),
    "beta": _density(lambda z, a, b: z ** (a - 1) * (1 - z) ** (b - 1) / mp.beta(a, b)),
    "t": _density(_t),
}
# t's distribution function, DLMF 8.17: an incomplete beta function in the lower tail
CDF = {
    "norm": lambda x, loc, scale: mp.ncdf((x - loc) / scale),
    "gamma": lambda x, a, loc, scale: mp.gammainc(a, 0, (x - loc) / scale, True),
    "chi2": lambda x, df, loc, scale: mp.gammainc(df / 2, 0, (x - loc) / scale / 2, True),
    "beta": lambda x, a, b, loc, scale: mp.betainc(a, b, 0, (x - loc) / scale, True),
    "t": lambda x, df, loc, scale: mp.betainc(df / 2, 0.5, 0, df / (df + ((x - loc) / scale) ** 2), True) / 2,
}
POINTS = {
    "norm": (0.7, 0.2, 1.4),
    "gamma": (2.1, 1.6, 0.2, 1.3),
    "chi2": (3.1, 4.7, -0.2, 1.3),
    "beta": (0.6, 1.6, 2.3, 0.1, 1.3),
    "t": (-1.1, 4.3, 0.2, 1.4),
}
FAMILIES = sorted(POINTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_densities_in_all_operands_at_once(name):
    module, point = getattr(ast, name), POINTS[name]
    check_series(module.pdf, PDF[name], *point, dps=25, scale=0.1)
    check_series(module.logpdf, lambda *args: mp.log(PDF[name](*args)), *point, dps=25, scale=0.1)


@pytest.mark.parametrize("name", FAMILIES)
def test_distribution_functions_in_x_loc_and_scale(name):
    x, *shapes, loc, scale = POINTS[name]
    module = getattr(ast, name)
    fun = lambda x, loc, scale: module.cdf(x, *shapes, loc, scale)  # noqa: E731
    exact = lambda x, loc, scale: CDF[name](x, *(mp.mpf(s) for s in shapes), loc, scale)  # noqa: E731
    check_series(fun, exact, x, loc, scale, order=6, dps=20, scale=0.1)


def test_logarithm_of_the_distribution_function_of_t():
    fun = lambda x, loc, scale: ast.t.logcdf(x, 4.3, loc, scale)  # noqa: E731
    exact = lambda x, loc, scale: mp.log(CDF["t"](x, mp.mpf(4.3), loc, scale))  # noqa: E731
    check_series(fun, exact, -1.1, 0.2, 1.4, order=6, dps=20, scale=0.1)
    check_series(fun, exact, -300.0, 0.2, 1.4, order=6, dps=20, scale=0.1)


@pytest.mark.parametrize("z", [-40.0, -30.0, -5.0, -1.05, -0.9, 0.0, 3.0, 10.0])
def test_normal_tails(z):
    """log Phi far out, where Phi underflows at -39; and the gradient of it."""
    log_phi = lambda z: mp.log(mp.erfc(-z / mp.sqrt(2)) / 2)  # noqa: E731
    hazard = lambda z: mp.npdf(z) / mp.ncdf(z)  # noqa: E731
    linear = z not in (-0.9, 0.0, 3.0)  # where no coefficient is small by cancellation
    with mp.workdps(60):
        check_series(ast.norm.logcdf, log_phi, z, linear=linear, dps=60)
        check_series(lambda z: ast.norm.logsf(-z), log_phi, z, linear=linear, dps=60)
        check_series(autograd.grad(ast.norm.logcdf), hazard, z, linear=linear, dps=60, order=6)
    near = min(abs(z), 12.0)  # the tail itself, where it does not underflow
    check_series(ast.norm.sf, lambda z: mp.erfc(z / mp.sqrt(2)) / 2, near, dps=60)


def test_log_phi_is_flat_far_up():
    np.testing.assert_array_equal(vn.jet(ast.norm.logcdf, np.array([60.0, 1.0, 0.0, 0.0])), np.zeros(4))
    np.testing.assert_array_equal(vn.jet(autograd.grad(ast.norm.logcdf), np.array([60.0, 1.0, 0.0])), np.zeros(3))


def test_second_gradient_of_log_phi_inside_a_function():
    """A Hessian taken in the user's function: -h (z + h) with h = phi / Phi."""
    second = autograd.grad(autograd.grad(ast.norm.logcdf))
    hazard = lambda z: mp.npdf(z) / mp.ncdf(z)  # noqa: E731
    check_series(second, lambda z: -hazard(z) * (z + hazard(z)), -1.3, order=5, dps=25)


COLUMN = np.array([[0.3], [-0.2]])
X = np.array([-4.0, -1.0, 2.0])
POSITIVE = np.array([0.6, 1.9, 4.2])
LOC_SCALE = (COLUMN, np.array(1.3))
UNIT = np.array([0.35, 0.5, 0.8])
ARRAYS = {
    "norm": ("pdf logpdf cdf sf logcdf logsf", (X, *LOC_SCALE), ()),
    "norm of x alone": ("pdf logpdf cdf sf logcdf logsf", (X,), ()),
    "t": ("pdf logpdf", (X, np.array([2.5, 8.0, 3.0]), *LOC_SCALE), ()),
    "gamma": ("pdf logpdf", (POSITIVE, np.array([0.7, 2.0, 3.5]), COLUMN, np.array(1.3)), ()),
    "chi2": ("pdf logpdf", (POSITIVE, np.array([0.7, 2.0, 3.5])), ()),
    "beta": ("pdf logpdf", (UNIT, np.array([0.7, 2.0, 3.5]), np.array([[1.2], [2.0]])), ()),
    "poisson": ("pmf logpmf cdf", (POSITIVE,), (np.array([0.0, 2.0, 5.0]),)),
}
ROWS = [(name, what) for name, row in ARRAYS.items() for what in row[0].split()]


@pytest.mark.parametrize("name, what", ROWS)
def test_batches_two_passes_and_gradients(name, what):
    _, x0, first = ARRAYS[name]
    primitive = getattr(getattr(ast, name.split()[0]), what)
    check_all(lambda *args: primitive(*first, *args), x0, scale=0.1)


@pytest.mark.parametrize("name", ["beta", "chi2", "gamma", "t"])
def test_distribution_functions_of_arrays(name):
    _, x0, _ = ARRAYS[name]
    shapes = x0[1 : len(POINTS[name]) - 2]
    for what in ("cdf", "logcdf") if name == "t" else ("cdf",):
        primitive = getattr(getattr(ast, name), what)
        check_all(lambda x, s: primitive(x, *shapes, 0.01, s), (x0[0], np.array(1.3)), scale=0.1)  # noqa: B023


@pytest.mark.parametrize("name", FAMILIES)
def test_order_zero_and_keywords_are_scipys(name):
    """loc and scale by keyword, held constant, mean what they mean in SciPy."""
    x, *shapes, loc, scale = POINTS[name]
    for what in ("pdf", "logpdf", "cdf"):
        fun, scipys = getattr(getattr(ast, name), what), getattr(getattr(scipy.stats, name), what)
        by_keyword = vn.jet(lambda x: fun(x, *shapes, loc=loc, scale=scale), np.array([x, 1.0, 0.2]))  # noqa: B023
        by_position = vn.jet(lambda x: fun(x, *shapes, loc, scale), np.array([x, 1.0, 0.2]))  # noqa: B023
        np.testing.assert_array_equal(by_keyword, by_position)
        assert by_keyword[0] == scipys(x, *shapes, loc, scale)


def test_chi2_with_fractional_degrees_of_freedom():
    """autograd's gradient is 0 there; it is (df - 2) / (2 x) - 1 / 2."""
    got = vn.jet(autograd.grad(ast.chi2.logpdf), np.array([2.0, 1.0, 0.0]), np.array([3.5, 0.0, 0.0]))
    np.testing.assert_allclose(got, [1.5 / 4 - 0.5, -1.5 / 8, 1.5 / 16], rtol=1e-14)


def test_large_parameters_keep_their_digits():
    """Densities whose logarithm is a difference of large terms: values are SciPy's, coefficients relative to them."""
    a = 1e4
    series = np.array([a, 1.0, 0.0, 0.0])
    got = vn.jet(lambda x: ast.gamma.pdf(x, a), series)
    with mp.workdps(60):
        exact = mp.taylor(lambda t: mp.exp((a - 1) * mp.log(a + t) - a - t - mp.loggamma(a)), 0, 3, chop=False)
    np.testing.assert_allclose(got / got[0], [float(c / exact[0]) for c in exact], rtol=1e-11)


# ---- ends of the support, and outside it ----

ENDS = [
    (lambda x: ast.gamma.logpdf(x, 1.0), 0.0),
    (lambda a: ast.gamma.logpdf(0.0, a), 1.0),
    (lambda loc: ast.gamma.pdf(2.0, 1.5, loc), 2.0),
    (lambda x: ast.chi2.pdf(x, 2.0), 0.0),
    (lambda x: ast.beta.logpdf(x, 2.0, 1.0), 1.0),
    (lambda x: ast.beta.cdf(x, 1.0, 2.0), 0.0),
]


@pytest.mark.parametrize("fun, x0", ENDS)
def test_ends_of_the_support_are_refused(fun, x0):
    with pytest.raises((NonSmoothError, NonFiniteError)):
        vn.jet(fun, np.array([x0, 1.0]))
    with pytest.raises((NonSmoothError, NonFiniteError)):
        vn.jet(autograd.grad(fun), np.array([x0, 1.0]))


def test_exponential_data_at_zero_with_a_moving_scale():
    """gamma with a = 1 at x = 0 is -log(scale)."""
    fun = lambda scale: ast.gamma.logpdf(np.array([0.0, 1.0]), 1.0, 0.0, scale)  # noqa: E731
    series = np.array([2.0, 0.3, 0.1, 0.0])
    expected = vn.jet(lambda s: anp.array([-anp.log(s), -anp.log(s) - 1.0 / s]), series)
    np.testing.assert_allclose(vn.jet(fun, series), expected, rtol=1e-13)
    check_gradient(fun, 2.0)


def test_outside_the_support():
    series = np.array([-1.0, 1.0, 0.0])
    for fun in (ast.gamma.pdf, ast.gamma.cdf, ast.chi2.pdf, ast.chi2.cdf):
        np.testing.assert_array_equal(vn.jet(lambda x: fun(x, 2.5), series), np.zeros(3))  # noqa: B023
    with pytest.raises(NonFiniteError):
        vn.jet(lambda x: ast.gamma.logpdf(x, 2.5), series)


def test_infinite_degrees_of_freedom_are_refused():
    with pytest.raises(NonSmoothError, match="use norm"):
        vn.jet(lambda x: ast.t.logpdf(x, np.inf), np.array([0.5, 1.0]))


# ---- poisson ----


def _log_pmf(k):
    return lambda mu: k * mp.log(mu) - mu - mp.loggamma(k + 1)


@pytest.mark.parametrize("k", [0, 3, 40])
def test_poisson(k):
    check_series(lambda mu: ast.poisson.logpmf(k, mu), _log_pmf(k), 2.7, dps=25)
    check_series(lambda mu: ast.poisson.pmf(k, mu), lambda mu: mp.exp(_log_pmf(k)(mu)), 2.7, dps=25)
    cdf = lambda mu: mp.gammainc(k + 1, mu, mp.inf, True)  # noqa: E731
    check_series(lambda mu: ast.poisson.cdf(k + 0.5, mu), cdf, 2.7, dps=25)


def test_poisson_counts():
    """No counts at a rate of 0, a probability of a negative count, a shifted distribution; and what is no count."""
    np.testing.assert_allclose(vn.jet(lambda mu: ast.poisson.logpmf(0, mu), np.array([0.0, 1.0, 0.0])), [0, -1, 0])
    np.testing.assert_array_equal(vn.jet(lambda mu: ast.poisson.pmf(-1, mu), np.array([2.0, 1.0])), [0.0, 0.0])
    shifted = vn.jet(lambda mu: ast.poisson.logpmf(5, mu, 2), np.array([2.0, 1.0, 0.3]))
    np.testing.assert_allclose(shifted, vn.jet(lambda mu: ast.poisson.logpmf(3, mu), np.array([2.0, 1.0, 0.3])))
    counts = np.array([1.0, 2.5, 3.0, -1.0])
    with pytest.raises(DataError, match="2 of 4 counts.*2.5"):
        vn.jet(autograd.grad(lambda mu: anp.sum(anp.exp(ast.poisson.logpmf(counts, mu)))), np.array([2.0, 1.0]))
    with pytest.raises(DataError, match="1 of 4 counts"):
        vn.jet(lambda mu: ast.poisson.pmf(counts, mu), np.array([2.0, 1.0]))


# ---- operands without a derivative ----

REFUSED = {
    "gamma.cdf in a": lambda a: ast.gamma.cdf(0.5, a),
    "chi2.cdf in df": lambda df: ast.chi2.cdf(0.5, df),
    "beta.cdf in b": lambda b: ast.beta.cdf(0.5, 2.0, b),
    "t.cdf in df": lambda df: ast.t.cdf(0.5, df),
    "t.logcdf in df": lambda df: ast.t.logcdf(0.5, df),
    "poisson.pmf in k": lambda k: ast.poisson.pmf(k, 1.5),
    "poisson.cdf in k": lambda k: ast.poisson.cdf(k, 1.5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operands_without_a_derivative_are_refused(name):
    primitive, operand = name.split(" in ")
    match = f"{primitive} has no Taylor rule in its operand '{operand}'"
    with pytest.raises(MissingRuleError, match=match):
        vn.jet(REFUSED[name], np.array([3.0, 1.0]))
    with pytest.raises(MissingRuleError, match=match):
        vn.jet(autograd.grad(REFUSED[name]), np.array([3.0, 1.0]))


# a traced value passed by keyword is invisible to autograd: never a number
@pytest.mark.parametrize(
    "fun",
    [
        lambda a: ast.norm.logpdf(0.3, loc=a),
        lambda a: ast.norm.logcdf(a, scale=a),
        lambda a: ast.gamma.logpdf(np.array([0.3, 2.0]), a=a),
        lambda a: ast.poisson.logpmf(np.array([3, 1]), mu=a),
        lambda a: ast.multivariate_normal.logpdf(np.ones(2), mean=a * np.ones(2)),
    ],
)
def test_traced_keywords_fail(fun):
    with pytest.raises((TypeError, ValueError)):
        vn.jet(fun, np.array([1.3, 1.0]))
    with pytest.raises((TypeError, ValueError)):
        vn.jet(autograd.grad(lambda a: anp.sum(fun(a))), np.array([1.3, 1.0]))


# ---- dirichlet ----

ALPHA = np.array([1.5, 2.2, 0.7])
SIMPLEX = np.array([0.2, 0.5, 0.3])


def test_dirichlet_is_its_definition():
    steps = np.random.default_rng(3).standard_normal((2, 6, 3)) * 0.1
    alpha = np.stack([ALPHA, *steps[0]])
    x = np.stack([SIMPLEX, *(steps[1] - steps[1].mean(axis=1, keepdims=True))])
    got = vn.jet(ast.dirichlet.logpdf, x, alpha)
    for k, exact in enumerate(
        mp.taylor(
            lambda t: (
                sum(
                    (a(t) - 1) * mp.log(z(t)) - mp.loggamma(a(t)) for a, z in zip(_paths(alpha), _paths(x), strict=True)
                )
                + mp.loggamma(sum(a(t) for a in _paths(alpha)))
            ),
            0,
            6,
        )
    ):
        assert abs(got[k] - float(exact)) <= 1e-12 * max(1.0, abs(float(exact)))
    np.testing.assert_allclose(vn.jet(anp.log, vn.jet(ast.dirichlet.pdf, x, alpha)), got, rtol=1e-10, atol=1e-12)


def _paths(series):
    return [lambda t, c=c: mp.fsum(mp.mpf(float(v)) * t**k for k, v in enumerate(c)) for c in series.T]


@pytest.mark.parametrize("x", [SIMPLEX, np.stack([SIMPLEX, SIMPLEX[::-1]], axis=1)], ids=["one", "two columns"])
@pytest.mark.parametrize("what", ["pdf", "logpdf"])
def test_dirichlet_batches_and_gradients(x, what):
    primitive = getattr(ast.dirichlet, what)
    np.testing.assert_array_equal(vn.jet(lambda a: primitive(x, a), ALPHA[None])[0], primitive(x, ALPHA))
    check_all(lambda a: primitive(x, a), ALPHA, scale=0.1)
    on_simplex = lambda y: primitive(anp.concatenate([y, 1.0 - anp.sum(y, axis=0, keepdims=True)]), ALPHA)  # noqa: E731
    check_all(on_simplex, x[:2], scale=0.02)


def test_dirichlet_edges():
    """A zero in x where alpha is 1 is left out; the short form of x is refused."""
    alpha = np.array([2.0, 1.0, 3.0])
    x = np.array([[0.4, 0.0, 0.6], [0.1, 0.0, -0.1], [0.0, 0.0, 0.0]])
    expected = vn.jet(lambda x: anp.log(x[0]) + 2 * anp.log(x[2]) + sp.gammaln(6.0) - sp.gammaln(3.0), x)
    np.testing.assert_allclose(vn.jet(lambda x: ast.dirichlet.logpdf(x, alpha), x), expected, rtol=1e-13)
    with pytest.raises(ShapeError, match="last entry"):
        vn.jet(lambda a: ast.dirichlet.logpdf(SIMPLEX[:2], a), np.stack([ALPHA, np.ones(3)]))


# ---- multivariate_normal ----

MEAN = np.array([0.3, -0.4, 1.0])
ROOT = np.array([[1.2, 0.0, 0.0], [0.4, 0.9, 0.0], [-0.3, 0.2, 0.7]])
POINT = np.array([0.1, 0.5, -0.2])
SEVERAL = np.array([[0.1, 0.5, -0.2], [1.0, -1.0, 0.3]])


def _by_the_root(x, mean, root):
    """The density through C = L L^T by explicit forward substitution."""
    d = x - mean
    z0 = d[..., 0] / root[0, 0]
    z1 = (d[..., 1] - root[1, 0] * z0) / root[1, 1]
    z2 = (d[..., 2] - root[2, 0] * z0 - root[2, 1] * z1) / root[2, 2]
    log_det = sum(anp.log(root[i, i]) for i in range(3))
    return -0.5 * (z0**2 + z1**2 + z2**2 + 3 * np.log(2 * np.pi)) - log_det


@pytest.mark.parametrize("x", [POINT, SEVERAL], ids=["one", "rows"])
def test_normal_density_by_its_cholesky_factor(x):
    rng = np.random.default_rng(8)
    series = [np.stack([c, *(0.2 * rng.standard_normal((6, *c.shape)))]) for c in (x, MEAN, ROOT)]
    series[2] = np.tril(series[2])
    got = vn.jet(lambda x, m, r: ast.multivariate_normal.logpdf(x, m, anp.dot(r, r.T)), *series)
    expected = vn.jet(_by_the_root, *series)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)
    density = vn.jet(lambda x, m, r: anp.log(ast.multivariate_normal.pdf(x, m, anp.dot(r, r.T))), *series)
    np.testing.assert_allclose(density, expected, rtol=1e-10, atol=1e-11)
    assert got.shape == (7, *x.shape[:-1])


COVARIANCES = {
    "matrix": ROOT @ ROOT.T,
    "diagonal": np.array([1.2, 0.7, 0.9]),
    "scalar": np.array(1.3),
}


@pytest.mark.parametrize("kind", COVARIANCES)
@pytest.mark.parametrize("what", ["pdf", "logpdf"])
def test_normal_batches_and_gradients(kind, what):
    """Free entries of the covariance, asymmetric directions included."""
    primitive, cov = getattr(ast.multivariate_normal, what), COVARIANCES[kind]
    for x in (POINT, SEVERAL):
        np.testing.assert_array_equal(vn.jet(lambda m: primitive(x, m, cov), MEAN[None])[0], primitive(x, MEAN, cov))  # noqa: B023
        check_gradient(primitive, (x, MEAN, cov), scale=0.1)
    check_all(primitive, (SEVERAL, MEAN, cov), scale=0.1)


def test_normal_in_one_dimension_is_norm():
    x, m, v = np.array([0.3, -1.0, 2.0]), np.array(0.4), np.array(1.7)
    series = [np.stack([c, np.ones(c.shape), 0.1 * np.ones(c.shape)]) for c in (x, m, v)]
    got = vn.jet(ast.multivariate_normal.logpdf, *series)
    expected = vn.jet(lambda x, m, v: ast.norm.logpdf(x, m, anp.sqrt(v)), *series)
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    check_gradient(ast.multivariate_normal.logpdf, (x, m, v))


@pytest.mark.parametrize("kind", COVARIANCES)
def test_entropy(kind):
    cov = COVARIANCES[kind]
    entropy = ast.multivariate_normal.entropy
    fun = lambda c: entropy(MEAN, c)  # noqa: E731
    if kind == "matrix":
        direct = lambda r: 1.5 * (1 + np.log(2 * np.pi)) + sum(anp.log(r[i, i]) for i in range(3))  # noqa: E731
        root = np.stack([ROOT, 0.3 * ROOT.T @ ROOT, 0.1 * ROOT])
        root = np.tril(root)
        np.testing.assert_allclose(vn.jet(lambda r: fun(anp.dot(r, r.T)), root), vn.jet(direct, root), rtol=1e-12)
    assert vn.jet(fun, cov[None])[0] == pytest.approx(float(scipy.stats.multivariate_normal.entropy(MEAN, cov)))
    check_batch(fun, cov)
    check_two_pass(fun, cov)
    check_gradient(fun, cov, scale=0.1)
    np.testing.assert_array_equal(vn.jet(autograd.grad(entropy), MEAN[None], cov[None]), np.zeros((1, 3)))


def test_normal_refusals():
    lopsided = COVARIANCES["matrix"] + np.triu(np.full((3, 3), 1e-3), 1)
    with pytest.raises(NotSymmetricError, match="3 pairs"):
        vn.jet(lambda m: ast.multivariate_normal.logpdf(POINT, m, lopsided), np.stack([MEAN, MEAN]))
    with pytest.raises(MissingRuleError, match="allow_singular"):
        vn.jet(lambda m: ast.multivariate_normal.logpdf(POINT, m, np.eye(3), True), np.stack([MEAN, MEAN]))


@pytest.mark.parametrize("name, what", ROWS)
def test_gradients_of_gradients(name, what):
    """A second gradient taken inside the function, through the same VJPs."""
    _, x0, first = ARRAYS[name]
    primitive = getattr(getattr(ast, name.split()[0]), what)
    check_gradient(autograd.grad(lambda *x: anp.sum(anp.sin(primitive(*first, *x)))), x0, order=4, scale=0.1)


@pytest.mark.parametrize("kind", COVARIANCES)
def test_gradients_of_gradients_of_the_normal(kind):
    fun = autograd.grad(lambda m, c: anp.sum(ast.multivariate_normal.logpdf(SEVERAL, m, c)), 1)
    check_gradient(fun, (MEAN, COVARIANCES[kind]), order=4, scale=0.1)
