"""The bootstrap against exact refits by Newton's method, linear programming, SciPy's intervals, and closed forms."""

import pickle
import warnings
from types import SimpleNamespace

import autograd.numpy as anp
import numpy as np
import pytest
import scipy.stats
from scipy.optimize import linprog
from scipy.special import expit

import vittles_ng as vn
from vittles_ng.errors import DataError, ShapeError
from vittles_ng.jackknife.resamples import Resamples
from vittles_ng.jackknife.verdicts import Approximations, Verdict, estimates_of, settle


def mean_of(y, **options):
    return vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [np.mean(y)], (y,), **options)


def logistic_data(n_obs, n_input, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_obs, n_input))
    return x, (rng.random(n_obs) < expit(x @ rng.standard_normal(n_input) / np.sqrt(n_input))).astype(float)


def newton(x, y, weights, ridge, start):
    """Damped Newton to rounding, or NaN."""
    b = start.copy()

    def objective(b):
        z = x @ b
        return weights @ (np.logaddexp(0.0, z) - y * z) + 0.5 * ridge * b @ b

    for _ in range(200):
        p = expit(x @ b)
        hessian = (x.T * (weights * p * (1.0 - p))) @ x + ridge * np.eye(len(b))
        step = np.linalg.solve(hessian, (weights * (p - y)) @ x + ridge * b)
        t = 1.0
        while objective(b - t * step) > objective(b) + 1e-12 and t > 1e-8:
            t /= 2.0
        b = b - t * step
        if np.max(np.abs(step)) < 1e-11:
            return b
    return np.full(len(b), np.nan)


def logistic_jackknife(n_obs, n_input, ridge=0.0, seed=0, **options):
    x, y = logistic_data(n_obs, n_input, seed)
    fit = newton(x, y, np.ones(n_obs), ridge, np.zeros(n_input))

    def loss(b, x, y):
        z = anp.dot(x, b)
        return anp.logaddexp(0.0, z) - y * z

    penalty = (lambda b: 0.5 * ridge * anp.sum(b**2)) if ridge else None
    return vn.InfinitesimalJackknife(loss, fit, (x, y), penalty=penalty, **options), x, y


def errors_in_units(bootstrap, jackknife, exact):
    """Errors, and those of the first-order values' root mean square: the unit of ``tol``."""
    moves = (bootstrap.weights - jackknife.weights0) @ jackknife.influence()
    unit = np.sqrt(np.mean(moves**2, axis=0))
    return np.max(np.abs(bootstrap.values - exact) / unit, axis=1)


# ---- resamples ----


def test_resamples_are_multinomial_counts():
    rng = np.random.default_rng(0)
    counts = Resamples(np.ones(5), None, 20_000, rng).weights(slice(None))
    assert np.array_equal(counts.sum(axis=1), np.full(20_000, 5.0))
    assert np.allclose(counts.mean(axis=0), 1.0, atol=0.03)
    assert np.allclose(np.cov(counts.T), np.eye(5) - 0.2, atol=0.04)


def test_weights_are_frequencies_and_zeros_are_never_drawn():
    weights0 = np.array([2.0, 0.0, 1.0, 3.0])
    counts = Resamples(weights0, None, 20_000, np.random.default_rng(0)).weights(slice(None))
    assert np.array_equal(counts.sum(axis=1), np.full(20_000, 6.0)) and np.all(counts[:, 1] == 0.0)
    assert np.allclose(counts.mean(axis=0), weights0, atol=0.04)
    assert np.allclose(np.cov(counts.T), np.diag(weights0) - np.outer(weights0, weights0) / 6.0, atol=0.06)
    fractions = Resamples(np.array([0.5, 0.75, 1.5]), None, 20_000, np.random.default_rng(0)).weights(slice(None))
    assert np.allclose(fractions.mean(axis=0), [0.5, 0.75, 1.5], atol=0.03)


def test_the_largest_draw_is_of_the_last_unit():
    # these weights' running sum, over their sum, ends below one
    weights0 = np.random.default_rng(5).uniform(0.5, 1.5, 10)
    assert (np.cumsum(weights0) / np.sum(weights0))[-1] < 1.0
    drawing = Resamples(weights0, None, 3, np.random.default_rng(0))._drawing
    assert np.searchsorted(drawing.cumulative, np.nextafter(1.0, 0.0), side="right") == 9


def test_groups_are_drawn_whole():
    weights0, groups = np.array([1.0, 2.0, 1.0, 0.0, 1.0]), np.array(["b", "b", "a", "a", "c"])
    counts = Resamples(weights0, groups, 5000, np.random.default_rng(0)).weights(slice(None))
    assert np.array_equal(counts[:, 1], 2.0 * counts[:, 0]) and np.all(counts[:, 3] == 0.0)
    assert np.array_equal(counts[:, 0] + counts[:, 2] + counts[:, 4], np.full(5000, 3.0))
    assert np.allclose(counts.mean(axis=0), weights0, atol=0.08)


@pytest.mark.parametrize(
    "weights0, groups",
    [
        (np.ones(500), None),
        (np.array([2.0, 0.0, 1.0, 3.0]), None),
        (np.array([0.5, 0.75, 1.5]), None),
        (np.array([1.0, 2.0, 1.0, 0.0, 1.0]), np.array(["b", "b", "a", "a", "c"])),
    ],
)
def test_resamples_do_not_depend_on_where_and_in_which_order_they_are_drawn(weights0, groups):
    n_resamples = 100 if weights0.size == 500 else 20_000  # several blocks
    whole = Resamples(weights0, groups, n_resamples, np.random.default_rng(0)).weights(slice(None))
    other = Resamples(weights0, groups, 2 * n_resamples, np.random.default_rng(0))
    for rows in (slice(70, 71), slice(31, 70), slice(n_resamples - 3, n_resamples), slice(5, 5), slice(0, 33)):
        assert np.array_equal(other.weights(rows), whole[rows])
        drawn_there = pickle.loads(pickle.dumps(other.to_be_drawn(rows)))
        assert np.array_equal(drawn_there(), whole[rows])
    assert len(np.unique(whole[:50], axis=0)) > 3  # blocks and resamples differ
    assert not np.array_equal(other.weights(slice(n_resamples, 2 * n_resamples)), whole)


def test_a_seed_and_its_generator_are_the_same_and_the_stream_moves_on():
    jackknife = mean_of(np.arange(6.0))
    generator = np.random.default_rng(3)
    first = jackknife.bootstrap(10, generator)
    assert np.array_equal(first.weights, jackknife.bootstrap(10, 3).weights)
    assert not np.array_equal(first.weights, jackknife.bootstrap(10, generator).weights)


# ---- values and verdicts ----


def test_values_of_the_mean_are_the_resampled_means():
    y = np.random.default_rng(0).gamma(2.0, size=40)
    bootstrap = mean_of(y, order=3).bootstrap(200, 1)
    assert np.allclose(bootstrap.values[:, 0], bootstrap.weights @ y / 40.0, rtol=1e-12)
    assert bootstrap.trusted.all() and bootstrap.n_polished == bootstrap.n_failed == 0
    assert bootstrap.standard_errors()[0] == np.std(bootstrap.values, ddof=1)
    assert bootstrap.bias()[0] == bootstrap.values.mean() - bootstrap.estimate[0]


@pytest.mark.parametrize(
    "n_obs, n_input, ridge, order, tol, n_resamples",
    [
        (600, 5, 0.0, 4, 0.02, 120),
        (600, 5, 0.0, 2, 0.02, 60),
        (600, 5, 0.0, 1, 0.05, 40),
        (200, 10, 0.0, 4, 0.02, 60),
        (200, 10, 0.0, 6, 0.002, 60),
        (150, 50, 1.0, 4, 0.02, 25),  # the series diverges
    ],
)
def test_every_value_is_within_the_tolerance_of_the_exact_refit(n_obs, n_input, ridge, order, tol, n_resamples):
    jackknife, x, y = logistic_jackknife(n_obs, n_input, ridge, order=order)
    bootstrap = jackknife.bootstrap(n_resamples, 5, tol=tol)
    exact = np.array([newton(x, y, w, ridge, jackknife.input_val0) for w in bootstrap.weights])
    errors = errors_in_units(bootstrap, jackknife, exact)
    assert bootstrap.trusted.all()
    assert errors.max() <= 1.2 * tol
    assert np.all(bootstrap.error_estimates <= tol)
    assert np.array_equal(bootstrap.polished & ~bootstrap.verified, np.zeros(n_resamples, bool))
    raw = np.max(np.abs(np.asarray(jackknife.reweight(bootstrap.weights)) - exact), axis=1)
    untouched = ~bootstrap.polished
    assert np.allclose(bootstrap.values[untouched], jackknife.reweight(bootstrap.weights)[untouched], rtol=1e-12)
    if n_input == 50:
        assert np.median(raw) > 0.5 and bootstrap.n_polished == n_resamples


def test_verdicts_tolerance_and_order_have_effect():
    jackknife, _, _ = logistic_jackknife(600, 5, order=2)
    auto, everywhere, nowhere = (jackknife.bootstrap(60, 5, order=4, verdicts=v) for v in ("auto", True, False))
    assert auto.order == 4 and "order 4" in repr(auto)
    assert everywhere.verified.all() and not nowhere.verified.any() and 16 <= auto.verified.sum() < 60
    assert not nowhere.trusted.any() and np.all(np.isnan(nowhere.error_estimates))
    assert np.array_equal(nowhere.values, np.asarray(jackknife.reweight(nowhere.weights, order=4)))
    counts = [
        jackknife.bootstrap(60, 5, order=order, tol=tol).n_polished for order, tol in ((2, 0.01), (2, 10.0), (5, 0.01))
    ]
    assert counts[0] > 30 and counts[1] == 0 and counts[2] < 10


def test_estimates_from_terms():
    orders = np.arange(1, 6)[:, None]
    geometric = 0.5 * np.array([0.1, 0.5, 0.9]) ** orders
    for order in (2, 3, 5):
        remainder = geometric[order - 1] * [1 / 9, 1.0, 9.0]
        assert np.allclose(estimates_of(geometric[:order]), remainder, rtol=1e-9)
    assert np.array_equal(estimates_of(geometric[:1]), geometric[0])
    cases = np.array(
        [
            [1.0, 1.0, 1.0, 1.0, 1.0],  # does not fall
            [1.0, 0.1, 0.02, 0.05, 0.15],  # falls, then grows
            [1.0, np.inf, np.inf, np.inf, np.inf],
            [0.0, 0.0, 0.0, 0.0, 0.0],  # the fit itself
            [1.0, 0.5, 0.25, 0.125, 1e-12],  # the last is small by chance
            [0.0, 0.5, 0.2, 0.1, 0.0],  # the first vanishes
        ]
    )
    found = estimates_of(cases.T)
    assert np.array_equal(np.isinf(found), [True, True, True, False, False, True])
    assert found[3] == 0.0 and np.isclose(found[4], 0.0625)


@pytest.mark.parametrize("factor", [0.5, 1.0, 8.0, np.inf])
def test_sets_are_looked_at_until_the_rest_is_within_the_tolerance(factor):
    """With errors that are a constant times what the terms say; infinite where they say nothing."""
    jackknife = mean_of(np.arange(4.0))
    rng = np.random.default_rng(0)
    q = rng.exponential(0.002, 400)
    sizes = np.array([np.ones(400), q / (1.0 + q)])  # rho = a_2 / a_1, q = a_2 rho / (1 - rho)
    q = estimates_of(sizes)
    looked = []

    def looked_at(indices):
        looked.extend(indices)
        return [Verdict(np.zeros(1), 0.0, factor * max(q[i], 1e-300), True, True, "") for i in indices]

    tol = 2e-5
    settled = settle(jackknife, Approximations(np.zeros((400, 1)), sizes), None, tol, 1.0, "auto", looked_at)
    assert len(set(looked)) == len(looked) == settled.verified.sum()
    unseen = ~settled.verified
    assert np.all(factor * q[unseen] <= tol) and settled.trusted.all()
    assert unseen.any() == np.isfinite(factor)
    assert np.all(settled.errors[unseen] >= factor * q[unseen]) and not settled.polished[unseen].any()


def test_a_sparse_factor_gives_the_same():
    rng = np.random.default_rng(5)
    y = rng.poisson(3.0, (12, 8)).astype(float)

    def loss(b, y):  # the last input is shared, the others have columns of their own
        z = b[:8] + b[8]
        return anp.sum(anp.exp(z) - y * z, axis=1)

    options = {"penalty": lambda b: anp.sum(b**2), "polish_optimum": True, "order": 4}
    start = np.append(np.log(y.mean(axis=0)), 0.0)
    dense = vn.InfinitesimalJackknife(loss, start, (y,), **options)
    sparse = vn.InfinitesimalJackknife(loss, start, (y,), sparsity="auto", **options)
    assert sparse.expansion._problem.assembly is not None
    assert np.allclose(sparse.covariance(), dense.covariance(), rtol=1e-9)
    assert np.allclose(sparse.bias(), dense.bias(), rtol=1e-8)
    assert np.allclose(sparse.bootstrap(20, 1).values, dense.bootstrap(20, 1).values, rtol=1e-6)
    assert np.isclose(sparse.cross_validate(), dense.cross_validate(), rtol=1e-6)


def test_separable_resamples_are_marked_and_no_others():
    jackknife, x, y = logistic_jackknife(60, 12, order=4)
    bootstrap = jackknife.bootstrap(60, 2)
    signed = (2.0 * y - 1.0)[:, None] * x

    def separates(weights):
        rows = -signed[weights > 0.0]
        return linprog(np.zeros(12), A_ub=rows, b_ub=-np.ones(len(rows)), bounds=(None, None)).status == 0

    separable = np.array([separates(weights) for weights in bootstrap.weights])
    assert separable.sum() == bootstrap.n_failed > 0
    assert np.array_equal(~bootstrap.trusted, separable)
    assert np.isnan(bootstrap.values[separable]).all() and all(bootstrap.message[separable])
    for call in (bootstrap.standard_errors, bootstrap.bias, lambda **k: bootstrap.interval(0.9, **k)):
        with pytest.raises(DataError, match=f"{separable.sum()} of 60 resamples have no refit"):
            call()
        assert np.isfinite(call(failed="omit")).all()
    kept = bootstrap.values[~separable]
    assert np.array_equal(bootstrap.standard_errors(failed="omit"), kept.std(axis=0, ddof=1))
    assert np.isnan(bootstrap.functional(lambda b: b[0]).values[separable]).all()


def _rare_indicator(n_obs, n_rare, seed):
    """Logistic data with an indicator of the first few rows, whose outcomes are 1, 0, 1; the fit, by Newton steps."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n_obs), rng.normal(size=(n_obs, 2)), np.arange(n_obs) < n_rare])
    y = (rng.random(n_obs) < 0.5).astype(float)
    y[:n_rare] = np.array([1.0, 0.0, 1.0])[:n_rare]
    fit = np.zeros(4)
    for _ in range(30):
        mean = expit(x @ fit)
        fit = fit - np.linalg.solve((x.T * (mean * (1.0 - mean))) @ x, x.T @ (mean - y))
    return x, y, fit


def _logistic_loss(b, x, y):
    eta = anp.dot(x, b)
    return anp.logaddexp(0.0, eta) - y * eta


def test_a_refit_that_ran_away_is_no_solution():
    # far out along the indicator's coefficient gradient and Hessian vanish together: the Newton step there is 1
    x, y, fit = _rare_indicator(60, 3, 1)
    jackknife = vn.InfinitesimalJackknife(_logistic_loss, fit, (x, y), order=4)
    draws = np.random.default_rng(3).integers(0, 60, size=(300, 60))
    weights = np.array([np.bincount(row, minlength=60) for row in draws], dtype=float)
    separates = (weights[:, 1] == 0.0) & (weights[:, 0] + weights[:, 2] > 0.0)
    separates |= (weights[:, 1] > 0.0) & (weights[:, 0] + weights[:, 2] == 0.0)
    some = np.append(np.flatnonzero(separates)[::12], [1, 252, 259])
    assert separates[some].all()
    refit = jackknife.exact_refit(weights[some])
    assert not refit.trusted.any() and all(refit.message)
    assert not any(jackknife.exact_refit(weights[i]).trusted for i in (1, 252, 259))
    others = np.flatnonzero(~separates & (weights[:, :3].sum(axis=1) > 0.0))[:10]
    assert jackknife.exact_refit(weights[others]).trusted.all()
    assert jackknife.exact_refit(1e-12 * weights[others]).trusted.all()  # small weights are no flat direction


def test_separable_resamples_of_an_equation_are_those_of_the_objective():
    x, y, fit = _rare_indicator(200, 2, 0)

    def gradient(b, x, y):
        return (1.0 / (1.0 + anp.exp(-anp.dot(x, b))) - y)[:, None] * x

    make = (vn.InfinitesimalJackknife, vn.InfinitesimalJackknife.from_estimating_equation)
    of_objective, of_equation = (
        kind(fun, fit, (x, y), order=3).bootstrap(16, 2)
        for kind, fun in zip(make, (_logistic_loss, gradient), strict=True)
    )
    assert of_equation.n_failed > 0
    assert np.array_equal(of_equation.trusted, of_objective.trusted)


def test_bca_of_shares_that_one_observation_outweighs():
    y = np.append(np.linspace(-0.1, 0.1, 99), 100.0)
    weights = np.full(100, 0.1)
    mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [y.mean()], (y,), weights0=weights, order=4)
    bootstrap = mean.bootstrap(4000, 1)
    assert bootstrap.acceleration()[0] > 0.5
    with pytest.raises(DataError, match="acceleration of component 0 is too large"):
        bootstrap.interval(0.999, "bca")


def test_a_resample_without_what_identifies_a_parameter_is_marked():
    x = np.column_stack([np.ones(8), np.arange(8) >= 6])
    y = np.arange(8.0) ** 2 / 10.0
    fit = np.linalg.lstsq(x, y, rcond=None)[0]
    jackknife = vn.InfinitesimalJackknife(lambda b, x, y: 0.5 * (y - anp.dot(x, b)) ** 2, fit, (x, y), order=4)
    bootstrap = jackknife.bootstrap(100, 4)
    unidentified = bootstrap.weights[:, 6:].sum(axis=1) == 0.0
    assert np.array_equal(~bootstrap.trusted, unidentified) and unidentified.any()
    for weights, value in zip(bootstrap.weights[~unidentified], bootstrap.values[~unidentified], strict=True):
        exact = np.linalg.lstsq(x * np.sqrt(weights)[:, None], y * np.sqrt(weights), rcond=None)[0]
        assert np.allclose(value, exact, atol=0.05 * bootstrap.standard_errors(failed="omit").max())


def test_bootstrap_of_an_estimating_equation_by_groups():
    rng = np.random.default_rng(6)
    z = rng.standard_normal((60, 2))
    x = z @ np.array([[1.0, 0.3], [-0.2, 1.0]]) + 0.3 * rng.standard_normal((60, 2))
    y = x @ np.array([1.0, -1.0]) + rng.standard_normal(60)
    jackknife = vn.InfinitesimalJackknife.from_estimating_equation(
        lambda b, z, x, y: z * (y - anp.dot(x, b))[:, None],
        np.linalg.solve(z.T @ x, z.T @ y),
        (z, x, y),
        groups=np.arange(60) // 4,
        order=4,
    )
    bootstrap = jackknife.bootstrap(60, 1)
    exact = np.array([np.linalg.solve((z.T * w) @ x, (z.T * w) @ y) for w in bootstrap.weights])
    assert bootstrap.trusted.all() and errors_in_units(bootstrap, jackknife, exact).max() <= 0.024
    assert np.array_equal(bootstrap.weights[:, 0], bootstrap.weights[:, 3])


@pytest.mark.parametrize("n_obs", [1, 3])
def test_few_observations_ties_and_no_spread(n_obs):
    bootstrap = mean_of(np.full(n_obs, 2.0)).bootstrap(50, 0)
    assert np.allclose(bootstrap.values, 2.0, rtol=1e-12) and bootstrap.trusted.all()
    assert np.allclose(bootstrap.interval(0.9, "percentile"), 2.0)
    assert np.allclose(bootstrap.acceleration(), 0.0)


def test_one_resample():
    bootstrap = mean_of(np.arange(5.0)).bootstrap(1, 0)
    assert bootstrap.values.shape == (1, 1)
    with pytest.raises(DataError, match="at least 2"):
        bootstrap.standard_errors()


# ---- intervals, functionals ----


def scipy_interval(y, statistic, values, level, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scipy.stats.bootstrap(
            (y,),
            statistic,
            n_resamples=0,
            bootstrap_result=SimpleNamespace(bootstrap_distribution=values),
            confidence_level=level,
            method=method,
        )
    return np.array(found.confidence_interval)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("kind", ["percentile", "basic", "bca"])
def test_intervals_of_the_mean_are_those_of_scipy(kind, level):
    y = np.random.default_rng(1).gamma(0.7, size=30)
    bootstrap = mean_of(y, order=3).bootstrap(400, 2)
    method = "BCa" if kind == "bca" else kind
    expected = scipy_interval(y, np.mean, bootstrap.values[:, 0], level, method)
    assert np.allclose(bootstrap.interval(level, kind), expected[None], rtol=1e-9)


def test_bca_of_a_functional_has_its_own_acceleration():
    y = np.random.default_rng(1).gamma(0.7, size=30)
    bootstrap = mean_of(y, order=3).bootstrap(400, 2)
    logarithm = bootstrap.functional(lambda m: anp.log(m[0]))
    assert logarithm.values.shape == (400,) and logarithm.interval(kind="bca").shape == (2,)
    # a monotone functional of the mean: the interval transforms, up to interpolation between order statistics
    transformed = np.exp(logarithm.interval(0.9, "bca"))
    assert np.allclose(transformed, bootstrap.interval(0.9, "bca")[0], rtol=1e-3)
    assert not np.allclose(np.exp(logarithm.interval(0.9, "basic")), bootstrap.interval(0.9, "basic")[0], rtol=1e-2)
    both = bootstrap.functional(lambda m: anp.array([m[0], 1.0 / m[0]]))
    centred = y - y.mean()
    skewness = np.sum(centred**3) / np.sum(centred**2) ** 1.5 / 6.0
    assert np.allclose(both.acceleration(), [skewness, -skewness], rtol=1e-9)
    assert both.interval().shape == (2, 2) and both.standard_errors().shape == (2,)
    with pytest.raises(TypeError, match="first bootstrap"):
        both.functional(lambda m: m)


def test_acceleration_of_groups_and_of_frequencies():
    y = np.random.default_rng(1).gamma(0.7, size=12)
    groups = np.arange(12) // 3
    sums = (y - y.mean()).reshape(4, 3).sum(axis=1)
    grouped = mean_of(y, groups=groups).bootstrap(5, 0)
    assert np.allclose(grouped.acceleration(), np.sum(sums**3) / np.sum(sums**2) ** 1.5 / 6.0, rtol=1e-9)
    weights = np.arange(12.0) % 3
    repeated = np.repeat(y, weights.astype(int))
    weighted = vn.InfinitesimalJackknife(
        lambda m, y: 0.5 * (y - m) ** 2, [repeated.mean()], (y,), weights0=weights
    ).bootstrap(5, 0)
    assert np.allclose(weighted.acceleration(), mean_of(repeated).bootstrap(5, 0).acceleration(), rtol=1e-9)


def test_standard_errors_are_near_the_centred_sandwich():
    jackknife, _, _ = logistic_jackknife(600, 5, ridge=5.0, order=4)
    bootstrap = jackknife.bootstrap(1500, 3)
    sandwich = np.sqrt(np.diag(jackknife.covariance(centered=True)))
    assert np.allclose(bootstrap.standard_errors() / sandwich, 1.0, atol=0.1)


def test_frames_carry_names():
    jackknife = mean_of(np.arange(5.0), parameter_names=["location"])
    frame = jackknife.bootstrap(7, 0).to_frame()
    assert list(frame.columns) == ["location"] and frame.shape == (7, 1)


# ---- bad input ----


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"n_resamples": 0}, ValueError, "n_resamples"),
        ({"n_resamples": 2.5}, TypeError, "n_resamples"),
        ({"rng": None}, TypeError, "rng"),
        ({"rng": True}, TypeError, "rng"),
        ({"rng": np.random.RandomState(0)}, TypeError, "rng"),
        ({"order": 0}, ValueError, "order"),
        ({"tol": 0.0}, ValueError, "tol"),
        ({"tol": [0.1]}, ValueError, "tol"),
        ({"verdicts": "some"}, ValueError, "verdicts"),
    ],
)
def test_bad_bootstrap_arguments_are_named(arguments, error, match):
    with pytest.raises(error, match=match):
        mean_of(np.arange(5.0)).bootstrap(**({"n_resamples": 10, "rng": 0} | arguments))


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"level": 95}, ValueError, "between 0 and 1"),
        ({"level": 0.0}, ValueError, "between 0 and 1"),
        ({"level": 0.99}, ValueError, "at least 200"),
        ({"kind": "normal"}, ValueError, "normal"),
        ({"failed": "drop"}, ValueError, "drop"),
    ],
)
def test_bad_interval_arguments_are_named(arguments, error, match):
    bootstrap = mean_of(np.arange(5.0)).bootstrap(50, 0)
    with pytest.raises(error, match=match):
        bootstrap.interval(**arguments)


def test_bca_needs_values_on_both_sides():
    y = np.random.default_rng(0).random(9)
    bootstrap = mean_of(y).bootstrap(50, 0).functional(lambda m: (m[0] - y.mean()) ** 2)
    with pytest.raises(DataError, match="one side"):
        bootstrap.interval(0.9, "bca")
    with pytest.raises(ShapeError, match="scalar or a vector"):
        mean_of(np.arange(5.0)).bootstrap(5, 0).functional(lambda m: np.ones((2, 2)))


@pytest.mark.parametrize(
    "weights0, groups, match",
    [
        (np.full(4, 0.25), None, "counts"),
        (np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1]), "1 group has weight"),
    ],
)
def test_nothing_to_draw_from(weights0, groups, match):
    with pytest.raises(DataError, match=match):
        Resamples(weights0, groups, 5, np.random.default_rng(0))
