"""Covariance, influence and bias against statsmodels, closed forms, dense tensors and differences of exact refits."""

import autograd.numpy as anp
import numpy as np
import pytest
import statsmodels.api as sm
from autograd.scipy.special import gammaln
from scipy.special import expit
from statsmodels.stats.sandwich_covariance import cov_cluster, cov_white_simple

import vittles_ng as vn
from vittles_ng.errors import DataError, NonFiniteError, ShapeError
from vittles_ng.jackknife.covariance import model_covariance


def squares(b, x, y):
    return 0.5 * (y - anp.dot(x, b)) ** 2


def logistic(b, x, y):
    z = anp.dot(x, b)
    return anp.logaddexp(0.0, z) - y * z


def poisson(b, x, y):
    z = anp.dot(x, b)
    return anp.exp(z) - y * z


def probit(b, x, y):
    return -anp.log(0.5 * (1.0 + _erf((2.0 * y - 1.0) * anp.dot(x, b) / anp.sqrt(2.0))))


def _erf(z):
    from autograd.scipy.special import erf

    return erf(z)


def gamma_log(b, x, y):
    z = anp.dot(x, b)
    return y * anp.exp(-z) + z


def binomial_counts(b, x, y):
    return poisson_of_counts(anp.dot(x, b), y)


def poisson_of_counts(z, y):
    return anp.sum(y, axis=1) * anp.logaddexp(0.0, z) - y[:, 0] * z


def negative_binomial(b, x, y):
    z, size = anp.dot(x, b[:-1]), 1.0 / b[-1]
    logarithm = gammaln(y + size) - gammaln(size) + size * anp.log(size) + y * z
    return (y + size) * anp.log(size + anp.exp(z)) - logarithm


def standardised(x):
    x = np.asarray(x, dtype=float)
    return sm.add_constant((x - x.mean(axis=0)) / x.std(axis=0))


def statsmodels_case(name):
    """(loss, design, response, unfitted model, fit options)."""
    tight = {"maxiter": 200, "tol": 1e-14}
    newton = {"method": "newton", "disp": 0, "tol": 1e-14}
    data = getattr(sm.datasets, name.split()[0]).load_pandas()
    x, y = standardised(data.exog), np.asarray(data.endog, dtype=float)
    if name == "longley OLS":
        return squares, x, y / 1e4, sm.OLS(y / 1e4, x), {}
    if name == "stackloss OLS":
        return squares, x, y, sm.OLS(y, x), {}
    if name == "spector Logit":
        return logistic, x, y, sm.Logit(y, x), newton
    if name == "spector Probit":
        return probit, x, y, sm.Probit(y, x), newton
    if name == "anes96 GLM":
        return logistic, x, y >= 3, sm.GLM(y >= 3, x, family=sm.families.Binomial()), tight
    if name == "cpunish Poisson":
        return poisson, x, y, sm.Poisson(y, x), newton
    if name == "scotland GLM":  # a link that is not canonical: observed information
        return gamma_log, x, y, sm.GLM(y, x, family=sm.families.Gamma(sm.families.links.Log())), tight
    if name == "star98 GLM":
        return binomial_counts, x, y, sm.GLM(y, x, family=sm.families.Binomial()), tight
    x, y = x[:400, :4], y[:400]
    return negative_binomial, x, y, sm.NegativeBinomial(y, x), {"method": "newton", "disp": 0, "maxiter": 200}


STATSMODELS = [
    "longley OLS",
    "stackloss OLS",
    "spector Logit",
    "spector Probit",
    "anes96 GLM",
    "cpunish Poisson",
    "scotland GLM",
    "star98 GLM",
    "randhie NegativeBinomial",
]


@pytest.mark.parametrize("name", STATSMODELS)
def test_covariances_are_those_of_statsmodels(name):
    loss, x, y, model, options = statsmodels_case(name)
    groups = np.arange(len(x)) % 7
    fit = model.fit(**options)
    jackknife = vn.InfinitesimalJackknife(
        loss, fit.params, (x, y), groups=groups, polish_optimum=True, optimum_tol=1e-6, order=1
    )
    same_point = np.max(np.abs(jackknife.input_val0 / fit.params - 1.0))
    assert same_point < 1e-9
    cases = (
        ({}, model.fit(**options, cov_type="HC0").cov_params()),
        # cov_type="HC1" has a factor in linear models only
        ({"correction": "HC1"}, cov_white_simple(fit, use_correction=True)),
        ({"groups": groups}, cov_cluster(fit, groups, use_correction=False)),
        ({"groups": True, "correction": "stata"}, cov_cluster(fit, groups, use_correction=True)),
    )
    for ours, theirs in cases:
        found = jackknife.covariance(**ours)
        size = np.sqrt(np.outer(np.diag(found), np.diag(found)))
        assert np.max(np.abs(found - theirs) / size) < 1e-8, ours
        assert np.array_equal(found, found.T)


def ols(n=30, k=3, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.standard_normal((n, k - 1))])
    y = x @ rng.standard_normal(k) + rng.standard_normal(n) * (1.0 + np.abs(x[:, 1]))
    return x, y, np.linalg.lstsq(x, y, rcond=None)[0]


def test_deletion_covariances_of_least_squares():
    x, y, b = ols()
    groups = np.repeat(np.arange(10), 3)
    jackknife = vn.InfinitesimalJackknife(squares, b, (x, y), groups=groups)
    fit = sm.OLS(y, x).fit()
    assert np.allclose(jackknife.covariance(correction="HC3"), fit.cov_HC3, rtol=1e-10, atol=1e-14)
    for labels, factor in ((np.arange(30), 29.0 / 30.0), (groups, 0.9)):
        without = np.array([np.linalg.lstsq(x[labels != g], y[labels != g], rcond=None)[0] for g in np.unique(labels)])
        moves = without - without.mean(axis=0)
        found = jackknife.covariance(groups=labels, correction="jackknife")
        assert np.allclose(found, factor * moves.T @ moves, rtol=1e-10)
        about_fit = (without - b).T @ (without - b)
        assert np.allclose(jackknife.covariance(groups=labels, correction="HC3"), about_fit, rtol=1e-10)
    assert jackknife.groups is groups or np.array_equal(jackknife.groups, groups)


def test_frequencies_count_as_repeated_rows():
    x, y, _ = ols()
    weights = np.random.default_rng(1).integers(0, 4, 30).astype(float)
    rows = np.repeat(np.arange(30), weights.astype(int))
    b = np.linalg.lstsq(x[rows], y[rows], rcond=None)[0]
    groups = np.arange(30) // 5
    weighted = vn.InfinitesimalJackknife(squares, b, (x, y), weights0=weights, groups=groups)
    repeated = vn.InfinitesimalJackknife(squares, b, (x[rows], y[rows]), groups=groups[rows])
    for options in ({}, {"correction": "HC1"}, {"groups": True, "correction": "stata"}, {"centered": True}):
        assert np.allclose(weighted.covariance(**options), repeated.covariance(**options), rtol=1e-10)
    assert np.allclose(weighted.bias(), repeated.bias(), atol=1e-14)
    assert np.allclose(weighted.bias(groups=True), repeated.bias(groups=True), atol=1e-14)
    with pytest.raises(DataError, match="weights0 of 0 and 1"):
        weighted.covariance(correction="HC3")


def test_singleton_groups_are_plain_and_centring_takes_off_the_mean():
    x, y, _ = ols()
    penalty = 3.0
    b = np.linalg.solve(x.T @ x + penalty * np.eye(3), x.T @ y)
    jackknife = vn.InfinitesimalJackknife(squares, b, (x, y), penalty=lambda b: 0.5 * penalty * anp.sum(b**2))
    scores = -x * (y - x @ b)[:, None]
    inverse = np.linalg.inv(x.T @ x + penalty * np.eye(3))
    for centered in (False, True):
        rows = scores - centered * scores.mean(axis=0)
        expected = inverse @ rows.T @ rows @ inverse
        assert np.allclose(jackknife.covariance(centered=centered), expected, rtol=1e-10)
        assert np.allclose(jackknife.covariance(groups=np.arange(30), centered=centered), expected, rtol=1e-10)
    assert not np.allclose(scores.mean(axis=0), 0.0)
    stata = jackknife.covariance(groups=np.arange(30), correction="stata")
    assert np.allclose(stata, jackknife.covariance(correction="HC1"), rtol=1e-12)
    assert np.allclose(stata, jackknife.covariance(correction="stata"), rtol=1e-12)


def instrumental(n=40, seed=3):
    rng = np.random.default_rng(seed)
    z = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    hidden = rng.standard_normal(n)
    x = np.column_stack([np.ones(n), z[:, 1] + 0.5 * hidden, z[:, 2] - z[:, 1] + hidden])
    y = x @ np.array([1.0, 2.0, -1.0]) + hidden
    b = np.linalg.solve(z.T @ x, z.T @ y)

    def equations(b, z, x, y):
        return z * (y - anp.dot(x, b))[:, None]

    return equations, b, (z, x, y)


def test_sandwich_of_an_estimating_equation_that_is_no_gradient():
    equations, b, (z, x, y) = instrumental()
    jackknife = vn.InfinitesimalJackknife.from_estimating_equation(equations, b, (z, x, y))
    inverse = np.linalg.inv(z.T @ x)
    residuals = y - x @ b
    expected = inverse @ (z.T * residuals**2) @ z @ inverse.T
    assert np.allclose(jackknife.covariance(), expected, rtol=1e-9)
    assert np.allclose(jackknife.influence(), (inverse @ (z * residuals[:, None]).T).T, rtol=1e-8, atol=1e-12)
    with pytest.raises(TypeError, match="sandwich"):
        model_covariance(jackknife)


def test_model_covariance_takes_the_dispersion():
    x, y, b = ols()
    jackknife = vn.InfinitesimalJackknife(squares, b, (x, y))
    assert np.allclose(model_covariance(jackknife), np.linalg.inv(x.T @ x), rtol=1e-10)
    jackknife.dispersion = lambda b, weights: weights @ (y - x @ b) ** 2 / (weights.sum() - 3)
    assert np.allclose(model_covariance(jackknife), sm.OLS(y, x).fit().cov_params(), rtol=1e-10)


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"correction": "HC9"}, ValueError, "HC9"),
        ({"groups": True}, ValueError, "without groups"),
        ({"groups": np.zeros(30)}, DataError, "one group"),
        ({"groups": np.zeros(29)}, ShapeError, "29"),
        ({"groups": np.full(30, np.nan)}, NonFiniteError, "NaN"),
    ],
)
def test_bad_covariance_arguments_are_named(arguments, error, match):
    x, y, b = ols()
    with pytest.raises(error, match=match):
        vn.InfinitesimalJackknife(squares, b, (x, y)).covariance(**arguments)


def test_too_few_observations_for_a_correction():
    jackknife = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [2.0], (np.array([2.0]),))
    assert jackknife.covariance() == 0.0
    with pytest.raises(DataError, match="too few"):
        jackknife.covariance(correction="HC1")
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    jackknife = vn.InfinitesimalJackknife(
        lambda m, y: 0.5 * (y - m) ** 2, [1.5], (np.arange(1.0, 5.0),), None, None, weights
    )
    with pytest.raises(DataError, match="has weight"):
        jackknife.covariance(groups=[0, 0, 1, 1])
    x = np.column_stack([np.ones(6), np.arange(6) == 2])  # observation 2 alone identifies the second input
    y = np.arange(6.0) ** 2
    lone = vn.InfinitesimalJackknife(squares, np.linalg.lstsq(x, y, rcond=None)[0], (x, y))
    with pytest.raises(NonFiniteError, match="out 2"):
        lone.covariance(correction="HC3")


# ---- influence ----


def penalised_case(n_arguments):
    rng = np.random.default_rng(7)
    x = rng.standard_normal((25, 3))
    y = (rng.random(25) < expit(x @ np.array([1.0, -1.0, 0.5]))).astype(float)
    weights = rng.integers(1, 4, 25).astype(float)
    penalties = {
        1: lambda b: anp.sum(b**2),
        2: lambda b, h: h * anp.sum(b**2),
        3: lambda b, h, total: h * total**1.5 * anp.sum(b**2) + anp.log(total) * b[0],
    }
    groups = np.arange(25) // 3
    return vn.InfinitesimalJackknife(
        logistic,
        np.zeros(3),
        (x, y),
        penalties[n_arguments],
        None if n_arguments == 1 else 0.02,
        weights,
        groups,
        order=2,
        polish_optimum=True,
    )


@pytest.mark.parametrize("n_arguments", [1, 2, 3])
def test_influence_is_the_difference_of_exact_refits(n_arguments):
    jackknife = penalised_case(n_arguments)
    h = 1e-4
    steps = h * np.eye(25)
    up, down = (jackknife.exact_refit(jackknife.weights0 + sign * steps).value for sign in (1, -1))
    expected = (up - down) / (2.0 * h)
    found = jackknife.influence()
    assert found.shape == (25, 3)
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-8)
    ratio = jackknife.influence(lambda b: b[0] / b[1])
    assert ratio.shape == (25,)
    assert np.allclose(ratio, (up[:, 0] / up[:, 1] - down[:, 0] / down[:, 1]) / (2.0 * h), rtol=1e-5, atol=1e-8)
    vector = jackknife.influence(lambda b: anp.exp(b[:2]))
    assert np.allclose(vector, (np.exp(up) - np.exp(down))[:, :2] / (2.0 * h), rtol=1e-5, atol=1e-7)
    by_weights = jackknife.influence(lambda b, weights: b[0] * anp.sum(weights))
    total = jackknife.weights0.sum()
    assert np.allclose(by_weights, found[:, 0] * total + jackknife.input_val0[0], rtol=1e-8)
    covariance = (found.T * jackknife.weights0) @ found
    assert np.allclose(jackknife.covariance(), covariance, rtol=1e-9)


def test_influence_of_groups_is_the_share_of_their_weights():
    jackknife = penalised_case(3)
    labels, group = np.unique(jackknife.groups, return_inverse=True)
    each = jackknife.influence() * jackknife.weights0[:, None]
    sums = np.array([each[group == g].sum(axis=0) for g in range(len(labels))])
    assert np.allclose(jackknife.influence(groups=True), sums, rtol=1e-12)
    assert np.allclose(jackknife.influence(lambda b: b[1], groups=jackknife.groups), sums[:, 1], rtol=1e-9)
    assert np.allclose(jackknife.influence(lambda b: b[1:], groups=True), sums[:, 1:], rtol=1e-9)


def test_influence_of_a_nested_input():
    y = np.array([1.0, 2.0, 6.0, 7.0])
    fit = {"mean": np.array(4.0), "more": [np.array([8.0])]}
    jackknife = vn.InfinitesimalJackknife(
        lambda t, y: 0.5 * (y - t["mean"]) ** 2 + 0.5 * (2 * y - t["more"][0][0]) ** 2, fit, (y,)
    )
    assert np.allclose(jackknife.influence(), np.column_stack([y - 4.0, 2 * y - 8.0]) / 4.0)
    assert np.allclose(jackknife.influence(lambda t: t["more"][0][0]), (2 * y - 8.0) / 4.0)


# ---- bias ----


def normal(t, y):
    return 0.5 * t[1] + 0.5 * (y - t[0]) ** 2 * anp.exp(-t[1])


def test_bias_of_the_variance_with_divisor_n():
    y = np.random.default_rng(2).gamma(2.0, size=15)
    groups = np.repeat(np.arange(5), 3)
    jackknife = vn.InfinitesimalJackknife(normal, [y.mean(), np.log(y.var())], (y,), groups=groups)
    assert np.allclose(jackknife.bias(lambda t: anp.exp(t[1])), -y.var() / 15, rtol=1e-10)
    assert np.allclose(jackknife.bias()[0], 0.0, atol=1e-14)
    means = y.reshape(5, 3).mean(axis=1)
    assert np.allclose(jackknife.bias(lambda t: anp.exp(t[1]), groups=True), -means.var() / 5, rtol=1e-10)
    both = jackknife.bias(lambda t: anp.array([anp.exp(t[1]), t[0] ** 2]))
    assert np.allclose(both, [-y.var() / 15, y.var() / 15], rtol=1e-10)


def test_bias_of_a_ratio_of_means():
    rng = np.random.default_rng(4)
    x, y = 2.0 + rng.random(20), rng.gamma(3.0, size=20)
    ratio = y.mean() / x.mean()
    jackknife = vn.InfinitesimalJackknife.from_estimating_equation(
        lambda r, x, y: (y - r * x)[:, None], [ratio], (x, y)
    )
    covariance = np.cov(x, y, ddof=0)
    closed_form = (ratio * covariance[0, 0] - covariance[0, 1]) / (20 * x.mean() ** 2)
    found = jackknife.bias()
    assert np.allclose(found, closed_form, rtol=1e-10)
    counts = rng.multinomial(20, np.full(20, 0.05), size=200_000)
    exact = (counts @ y) / (counts @ x)
    noise = exact.std() / np.sqrt(len(exact))
    assert abs(exact.mean() - ratio - found[0]) < 4.0 * noise + 0.05 * abs(found[0])
    assert abs(found[0]) > 0.5 * noise


@pytest.mark.parametrize("n_arguments", [1, 2, 3])
def test_bias_is_half_the_trace_of_the_second_derivative(n_arguments):
    jackknife = penalised_case(n_arguments)
    tensor = jackknife.expansion.derivative_tensor(2)
    weights, group = jackknife.weights0, jackknife.groups
    of_counts = np.diag(weights) - np.outer(weights, weights) / weights.sum()
    assert np.allclose(jackknife.bias(), 0.5 * np.einsum("imn,mn->i", tensor, of_counts), rtol=1e-9)
    units = (np.arange(group.max() + 1)[:, None] == group) * weights
    n_groups = len(units)
    of_groups = units.T @ (np.eye(n_groups) - 1.0 / n_groups) @ units
    assert np.allclose(jackknife.bias(groups=True), 0.5 * np.einsum("imn,mn->i", tensor, of_groups), rtol=1e-9)


def test_bias_of_a_functional_of_the_weights_is_refused():
    with pytest.raises(ValueError, match="weights too"):
        penalised_case(1).bias(lambda b, weights: b[0] * anp.sum(weights))


def test_fewer_observations_than_inputs():
    x, y = np.eye(2, 4) + 0.1, np.array([1.0, 2.0])
    b = np.linalg.solve(x.T @ x + np.eye(4), x.T @ y)
    jackknife = vn.InfinitesimalJackknife(squares, b, (x, y), penalty=lambda b: 0.5 * anp.sum(b**2))
    tensor = jackknife.expansion.derivative_tensor(2)
    of_counts = np.eye(2) - 0.5
    assert np.allclose(jackknife.bias(), 0.5 * np.einsum("imn,mn->i", tensor, of_counts), rtol=1e-9)
    assert jackknife.influence().shape == (2, 4)
