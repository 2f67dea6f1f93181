"""Influential sets against every subset, closed forms of least squares, refits in plain NumPy, and planted sets."""

import itertools
import warnings

import autograd.numpy as anp
import numpy as np
import pytest

import vittles_ng as vn
from benchmarks.robustness import planted
from vittles_ng.errors import DataError, ShapeError
from vittles_ng.robustness import most_influential_set, smallest_reversing_set, t_statistic
from vittles_ng.robustness.fits import Refitter
from vittles_ng.robustness.quantities import as_coefficient
from vittles_ng.robustness.t_statistic import TQuantity, TStatistic

METHODS = ("greedy", "second-order", "additive")


def squares(b, x, y):
    return 0.5 * (y - anp.dot(x, b)) ** 2


def logistic(b, x, y):
    z = anp.dot(x, b)
    return anp.logaddexp(0.0, z) - y * z


def instrumented(b, x, z, y):
    return z * anp.tanh(y - anp.dot(x, b))[:, None]


def variance(x, y):
    """The residual variance of least squares, as a dispersion."""
    return lambda b, w: anp.sum(w * (y - anp.dot(x, b)) ** 2) / (anp.sum(w) - x.shape[1])


def least_squares(x, y, w=None):
    """The fit in plain NumPy, with the usual variance and the sandwich's."""
    w = np.ones(len(y)) if w is None else w
    inverse = np.linalg.inv(x.T @ (w[:, None] * x))
    b = inverse @ (x.T @ (w * y))
    e = y - x @ b
    usual = inverse * (w @ e**2) / (w.sum() - x.shape[1])
    return b, usual, inverse @ (x.T @ ((w * e**2)[:, None] * x)) @ inverse


def of_least_squares(x, y, **options):
    return vn.InfinitesimalJackknife(squares, least_squares(x, y)[0], (x, y), **options)


def of_mean(y, **options):
    y = np.asarray(y, dtype=float)
    return vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [y.mean()], (y,), **options)


def regression(seed, n=12, slope=0.0, tail=2):
    rng = np.random.default_rng(seed)
    x = np.c_[rng.standard_normal((n, 2)), np.ones(n)]
    return x, slope * x[:, 0] + rng.standard_t(tail, n)


# ---- derivatives in the weights, against differences of refits in plain NumPy ----


class PenalisedLogistic:
    """A logistic regression with a penalty that takes the sum of the weights, in plain NumPy."""

    def __init__(self, rng):
        self.x = rng.standard_normal((40, 3))
        self.y = (rng.random(40) < 0.5 + 0.3 * np.sign(self.x[:, 0])).astype(float)
        self.w0 = rng.uniform(0.5, 2.0, 40)
        self.clusters = rng.integers(0, 7, 40)

    def jackknife(self):
        def penalty(b, hyper, total):
            return 0.3 * anp.sqrt(total) * anp.sum(b**2)

        return vn.InfinitesimalJackknife(
            logistic, np.zeros(3), (self.x, self.y), penalty, weights0=self.w0, polish_optimum=True
        )

    def dispersion(self, b, w):
        return anp.sum(w * (self.y - 1.0 / (1.0 + anp.exp(-anp.dot(self.x, b)))) ** 2) / (anp.sum(w) - 3.0)

    def at(self, w):
        b = np.zeros(3)
        for _ in range(30):
            p = 1.0 / (1.0 + np.exp(-self.x @ b))
            g = (p - self.y)[:, None] * self.x
            h = self.x.T @ ((w * p * (1.0 - p))[:, None] * self.x) + 0.6 * np.sqrt(w.sum()) * np.eye(3)
            b = b - np.linalg.solve(h, w @ g + 0.6 * np.sqrt(w.sum()) * b)
        return b, h, g


class Instrumented:
    """An estimating equation that is no gradient, in plain NumPy."""

    def __init__(self, rng):
        self.x = rng.standard_normal((40, 3))
        self.z = self.x + 0.3 * self.x**2
        self.y = self.x @ [1.0, -0.5, 0.2] + rng.standard_normal(40)
        self.w0 = rng.uniform(0.5, 2.0, 40)
        self.clusters = rng.integers(0, 7, 40)

    def jackknife(self):
        data = (self.x, self.z, self.y)
        return vn.InfinitesimalJackknife.from_estimating_equation(
            instrumented, self.at(self.w0)[0], data, weights0=self.w0
        )

    def at(self, w):
        b = np.array([1.0, -0.5, 0.2])
        for _ in range(30):
            r = np.tanh(self.y - self.x @ b)
            h = -self.z.T @ ((w * (1.0 - r**2))[:, None] * self.x)
            b = b - np.linalg.solve(h, w @ (self.z * r[:, None]))
        return b, h, self.z * r[:, None]


def product(b):
    return anp.exp(b[0]) * b[1]


def product_gradient(b):
    return np.array([np.exp(b[0]) * b[1], np.exp(b[0]), 0.0])


def standard_error(model, at, w, a, kind, dispersion=None):
    b, h, g = at
    if kind == "model":
        return np.sqrt(a @ np.linalg.solve(h, a) * (1.0 if dispersion is None else dispersion(b, w)))
    scores = w[:, None] * g
    if kind == "clustered":
        scores = np.array([scores[model.clusters == c].sum(axis=0) for c in np.unique(model.clusters)])
    meat = scores.T @ scores if kind == "clustered" else g.T @ scores
    return np.sqrt(np.linalg.solve(h.T, a) @ meat @ np.linalg.solve(h.T, a))


def cases(model, kinds):
    """Functionals beside the same in plain NumPy, of weights."""
    e1 = np.array([0.0, 1.0, 0.0])
    yield 1, lambda w: model.at(w)[0][1]
    yield product, lambda w: product(model.at(w)[0])
    yield (lambda b, w: anp.dot(w, anp.dot(model.x, b)) / anp.sum(w)), lambda w: w @ model.x @ model.at(w)[0] / w.sum()
    for kind in kinds:
        options = {"standard_error": "model" if kind == "model" else "sandwich"}
        if kind == "clustered":
            options["groups"] = model.clusters
        yield (
            t_statistic(1, **options),
            lambda w, k=kind: model.at(w)[0][1] / standard_error(model, model.at(w), w, e1, k),
        )
        yield (
            t_statistic(product, **options),
            lambda w, k=kind: (
                product(model.at(w)[0]) / standard_error(model, model.at(w), w, product_gradient(model.at(w)[0]), k)
            ),
        )
    if "model" in kinds:
        yield (
            t_statistic(1, dispersion=model.dispersion),
            lambda w: model.at(w)[0][1] / standard_error(model, model.at(w), w, e1, "model", model.dispersion),
        )


@pytest.mark.parametrize(
    ("make", "kinds"),
    [(PenalisedLogistic, ("model", "sandwich", "clustered")), (Instrumented, ("sandwich", "clustered"))],
)
def test_values_and_influences(make, kinds, rng):
    model = make(rng)
    jackknife = model.jackknife()
    for functional, plain in cases(model, kinds):
        is_t = isinstance(functional, TStatistic)
        quantity = TQuantity(jackknife, functional) if is_t else as_coefficient(jackknife, functional)
        base = Refitter(jackknife, quantity, np.arange(40)).base
        assert base.value(quantity) == pytest.approx(plain(model.w0), rel=1e-9)
        influence = base.influence(quantity)
        for n in (0, 7, 23):
            e = 1e-3 * np.eye(40)[n]
            one, two = plain(model.w0 + e) - plain(model.w0 - e), plain(model.w0 + 2.0 * e) - plain(model.w0 - 2.0 * e)
            assert influence[n] == pytest.approx((8.0 * one - two) / 12e-3, rel=1e-6, abs=1e-8)


# ---- least squares in closed form ----


def test_changes_of_least_squares_are_exact():
    x, y = regression(3, n=15)
    jackknife = of_least_squares(x, y)
    refitter = Refitter(jackknife, as_coefficient(jackknife, 0), np.arange(15))
    b = least_squares(x, y)[0][0]
    without = [least_squares(np.delete(x, n, 0), np.delete(y, n))[0][0] for n in range(15)]
    np.testing.assert_allclose(refitter.changes(refitter.base), np.array(without) - b, rtol=1e-9)
    out = np.zeros(15, bool)
    out[[2, 5]] = True
    fit, reason = refitter.refit(out, refitter.base)
    assert not reason
    reduced = np.array([np.delete(np.arange(15), [5]), np.delete(np.arange(15), [2])])
    brought_back = [least_squares(x[kept], y[kept])[0][0] - fit.input[0] for kept in reduced]
    np.testing.assert_allclose(-refitter.changes(fit)[[2, 5]], brought_back, rtol=1e-9)


def test_additive_prediction_is_the_sum_of_influences():
    x, y = regression(4, n=30)
    b, *_ = least_squares(x, y)
    influence = ((y - x @ b)[:, None] * x @ np.linalg.inv(x.T @ x))[:, 0]
    found = most_influential_set(of_least_squares(x, y), 0, 4, "additive", direction="up")
    np.testing.assert_array_equal(np.sort(found.indices), np.sort(np.argsort(influence)[:4]))
    np.testing.assert_allclose(found.influence, influence[found.indices], rtol=1e-10)
    assert found.predicted == pytest.approx(b[0] - influence[found.indices].sum(), rel=1e-10)
    assert found.n_refits == 1


def test_second_order_prediction_is_the_series():
    x, y = regression(5, n=30)
    found = most_influential_set(of_least_squares(x, y), 0, 3, "second-order", direction="up")
    inverse, s = np.linalg.inv(x.T @ x), x[found.indices]
    b = inverse @ x.T @ y
    first = -inverse @ s.T @ (y[found.indices] - s @ b)
    second = inverse @ s.T @ s @ first
    assert found.predicted == pytest.approx((b + first + second)[0], rel=1e-10)
    assert abs(found.predicted - found.refitted) < abs((b + first)[0] - found.refitted)


@pytest.mark.parametrize("robust", [False, True])
def test_t_statistic_of_least_squares(robust):
    x, y = regression(6, n=40, slope=0.8, tail=6)
    functional = t_statistic(0, "sandwich") if robust else t_statistic(0, dispersion=variance(x, y))
    found = most_influential_set(of_least_squares(x, y), functional, 4, direction="down")
    b, *covariances = least_squares(x, y)
    assert found.initial == pytest.approx(b[0] / np.sqrt(covariances[robust][0, 0]), rel=1e-9)
    kept = np.delete(np.arange(40), found.indices)
    b, *covariances = least_squares(x[kept], y[kept])
    assert found.refitted == pytest.approx(b[0] / np.sqrt(covariances[robust][0, 0]), rel=1e-9)
    assert len(found) == 4


def test_dispersion_of_the_jackknife_is_used():
    x, y = regression(6, n=40, slope=0.8)
    jackknife = of_least_squares(x, y)
    plain = most_influential_set(jackknife, t_statistic(0), 0).initial
    jackknife.dispersion = variance(x, y)
    b, usual, _ = least_squares(x, y)
    assert most_influential_set(jackknife, t_statistic(0), 0).initial == pytest.approx(b[0] / np.sqrt(usual[0, 0]))
    assert plain != pytest.approx(b[0] / np.sqrt(usual[0, 0]))


# ---- every subset ----


def furthest_of_all(x, y, sign, at_most):
    """The largest first coefficient, times the sign, without any set of so many observations."""
    values = [
        sign * least_squares(np.delete(x, s, 0), np.delete(y, s))[0][0]
        for m in range(1, at_most + 1)
        for s in itertools.combinations(range(len(y)), m)
    ]
    return max(values)


def test_greedy_finds_the_most_influential_set_or_nearly():
    best, found = [], []
    for seed in range(5):
        x, y = regression(seed, n=16)
        best.append(furthest_of_all(x, y, 1.0, 3))
        jackknife = of_least_squares(x, y)
        found.append([most_influential_set(jackknife, 0, 3, method, direction="up").refitted for method in METHODS])
    best, found = np.array(best), np.array(found)
    assert np.all(found <= best[:, None] * (1.0 + 1e-9)) and np.all(found[:, :1] >= found * (1.0 - 1e-9))
    share = np.mean(found >= best[:, None] * (1.0 - 1e-9), axis=0)
    assert share[0] >= 0.8 > max(share[1:])


def test_where_sets_are_few_all_are_looked_at():
    x, y = regression(1, n=9)
    found = [most_influential_set(of_least_squares(x, y), 0, m, direction="up") for m in (1, 2, 3)]
    best = [furthest_of_all(x, y, 1.0, m) for m in (1, 2, 3)]
    assert [one.refitted for one in found] == pytest.approx(best, rel=1e-9)
    assert found[2].n_refits >= 84 > found[1].n_refits


@pytest.mark.parametrize("seed", range(3))
def test_greedy_finds_the_smallest_of_all_sets(seed):
    x, y = regression(100 + seed, n=12, slope=0.3)
    sign = -np.sign(least_squares(x, y)[0][0])
    sizes = [m for m in (1, 2, 3) if furthest_of_all(x, y, sign, m) > 0.0]
    for method in METHODS:
        found = smallest_reversing_set(of_least_squares(x, y), 0, max_drop=3, method=method)
        assert found.reversed == (sign * found.refitted > 0.0)
        if found.reversed:
            assert len(found) >= sizes[0]
        if method == "greedy":
            assert found.reversed == bool(sizes)
            assert not sizes or len(found) == sizes[0]


# ---- planted sets ----


@pytest.mark.parametrize("seed", [0, 19, 27, 46])
def test_planted_sets_are_found(seed):
    case = planted(seed)
    found = smallest_reversing_set(case.jackknife, 0)
    assert found.reversed and len(found) <= len(case.planted)
    weights = np.ones(case.jackknife.n_obs)
    weights[found.indices] = 0.0
    np.testing.assert_array_equal(found.weights, weights)
    x, y = (array[weights > 0.0] for array in case.jackknife.model.data)
    if case.model == "least squares":
        value = least_squares(x, y)[0][0]
    else:
        reduced = vn.InfinitesimalJackknife(logistic, found.input, (x, y), polish_optimum=True)
        value = reduced.input_val0[0]
    assert value > 0.0
    assert found.refitted == pytest.approx(value, rel=1e-8)


def test_masked_sets_escape_one_linearisation():
    case = planted(38)
    sizes = {method: smallest_reversing_set(case.jackknife, 0, method=method) for method in METHODS}
    assert len(sizes["greedy"]) <= len(case.planted)
    for method in METHODS[1:]:
        assert not sizes[method].reversed or len(sizes[method]) > len(case.planted)


def test_a_promise_that_the_refit_breaks_is_no_reversal():
    x = np.r_[np.linspace(-1.0, 1.0, 21), 10.0, 10.0]
    y = np.r_[0.3 * np.linspace(-1.0, 1.0, 21), 1.0, -1.6]
    loss = lambda b, x, y: 0.5 * (y - x * b[0]) ** 2  # noqa: E731
    jackknife = vn.InfinitesimalJackknife(loss, [x @ y / (x @ x)], (x, y))
    for method in METHODS:
        for limit in (1, 2, 5):
            found = smallest_reversing_set(jackknife, 0, max_drop=limit, method=method)
            kept = np.delete(np.arange(23), found.indices)
            value = x[kept] @ y[kept] / (x[kept] @ x[kept])
            assert found.refitted == pytest.approx(value, rel=1e-9)
            assert found.reversed == (value * found.initial < 0.0)


# ---- kinds of reversal ----


def plain_t(y):
    return y.mean() / np.sqrt(((y - y.mean()) ** 2).sum()) * len(y)


@pytest.mark.parametrize(
    ("shift", "reverse", "is_met"),
    [
        (0.6, "sign", lambda t: t < 0.0),
        (0.6, "significance", lambda t: abs(t) < 1.959964),
        (0.6, "both", lambda t: t < -1.959964),
        (0.2, "significance", lambda t: abs(t) > 1.959964),
        (-0.2, "both", lambda t: t > 1.959964),
    ],
)
def test_reversals(shift, reverse, is_met):
    y = np.random.default_rng(11).standard_normal(40)
    y = y - y.mean() + shift
    found = smallest_reversing_set(of_mean(y), t_statistic(0, "sandwich"), reverse, max_drop=30)
    assert found.reversed
    assert found.refitted == pytest.approx(plain_t(np.delete(y, found.indices)), rel=1e-9)
    assert is_met(found.refitted) and not is_met(found.initial)
    order = np.argsort(y)
    fewer = len(found) - 1
    for some in (order[:fewer], order[len(y) - fewer :]):  # of the mean no smaller set from either end does
        assert not is_met(plain_t(np.delete(y, some)))


def test_level_and_degrees_of_freedom_move_the_threshold():
    y = np.random.default_rng(12).standard_normal(40) + 0.7
    sizes = [
        len(smallest_reversing_set(of_mean(y), t_statistic(0, "sandwich", df=df), "significance", level=level))
        for level, df in ((0.2, None), (0.01, None), (0.01, 4.0))
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_significance_of_a_coefficient_takes_its_own_standard_error():
    y = np.random.default_rng(13).standard_normal(30) + 0.6
    by_index = smallest_reversing_set(of_mean(y), 0, "significance")
    by_hand = smallest_reversing_set(of_mean(y), t_statistic(0), "significance")
    assert by_index.initial == by_hand.initial == pytest.approx(y.mean() * np.sqrt(30.0))
    np.testing.assert_array_equal(by_index.indices, by_hand.indices)
    iv = Instrumented(np.random.default_rng(1))
    robust = smallest_reversing_set(iv.jackknife(), 0, "significance", method="additive")
    assert robust.initial == most_influential_set(iv.jackknife(), t_statistic(0, "sandwich"), 0).initial


def test_clusters_change_the_robust_standard_error():
    y = np.repeat(np.random.default_rng(14).standard_normal(10), 4) + 0.3
    labels = np.repeat(np.arange(10), 4)
    jackknife = of_mean(y, groups=labels)
    plain, *clustered = (
        most_influential_set(jackknife, t_statistic(0, "sandwich", groups=g), 0).initial for g in (None, True, labels)
    )
    assert clustered[0] == clustered[1] == pytest.approx(y.mean() * 10.0 / np.linalg.norm((y - y.mean())[::4]))
    assert plain != pytest.approx(clustered[0])


# ---- functionals, directions, groups, labels ----


def test_functional_of_nested_input_and_names():
    x, y = regression(7, n=25, slope=0.4)
    b = least_squares(x, y)[0]

    def loss(inputs, x, y):
        return 0.5 * (y - anp.dot(x, anp.concatenate([inputs["slopes"], inputs["level"]]))) ** 2

    names, rows = ["level", "first", "second"], [f"row {n}" for n in range(25)]
    nested = vn.InfinitesimalJackknife(
        loss, {"slopes": b[:2], "level": b[2:]}, (x, y), parameter_names=names, observation_names=rows
    )
    by_function = most_influential_set(nested, lambda inputs: inputs["slopes"][0], 2, direction="up")
    by_name = most_influential_set(nested, "first", 2, direction="up")
    flat = most_influential_set(of_least_squares(x, y), 0, 2, direction="up")
    for found in (by_function, by_name):
        np.testing.assert_array_equal(found.indices, flat.indices)
        assert found.refitted == pytest.approx(flat.refitted, rel=1e-10)
    assert by_name.labels == [f"row {n}" for n in flat.indices]
    assert "first goes from" in by_name.message
    frame = by_name.to_frame()
    assert list(frame["observation"]) == by_name.labels and list(frame["index"]) == list(flat.indices)
    np.testing.assert_array_equal(frame["influence"], by_name.influence)


def test_prediction_of_a_function_of_weights():
    y = np.array([1.0, 2.0, 3.0, 10.0])
    found = most_influential_set(of_mean(y), lambda m, w: m[0] * anp.sum(w), 1, direction="down")
    assert found.initial == pytest.approx(16.0) and found.refitted == pytest.approx(6.0)


def test_direction():
    mean = of_mean([0.0, 1.0, 2.0, 3.0, 9.0])
    up, down, either = (most_influential_set(mean, 0, 1, direction=d) for d in ("up", "down", "either"))
    assert (list(up.indices), list(down.indices), list(either.indices)) == ([0], [4], [4])


@pytest.mark.parametrize("method", METHODS)
def test_whole_groups_are_left_out(method):
    labels = np.array(list("aabbccdd"))
    y = np.array([1.0, 1.0, 1.0, 1.0, -3.0, -2.0, 5.0, 6.0])
    found = smallest_reversing_set(of_mean(y, groups=labels), 0, by_group=True, method=method)
    assert found.reversed and list(found.groups) == ["d"]
    assert found.refitted == pytest.approx(y[:6].mean())
    assert sorted(found.indices) == [6, 7] and "1 of 4 groups" in found.message


def test_group_of_least_squares_against_every_pair():
    x, y = regression(8, n=18)
    labels = np.arange(18) % 6
    jackknife = of_least_squares(x, y, groups=labels)
    values = [
        least_squares(x[~np.isin(labels, pair)], y[~np.isin(labels, pair)])[0][0]
        for pair in itertools.combinations(range(6), 2)
    ]
    found = most_influential_set(jackknife, 0, 2, by_group=True, direction="down")
    assert found.refitted == pytest.approx(min(values), rel=1e-9)


def test_estimating_equation():
    x, z, y = (np.array(v) for v in ([1.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 1.0], [2.0, 1.0, 4.0, -12.0]))
    iv = vn.InfinitesimalJackknife.from_estimating_equation(
        lambda b, z, x, y: (z * (y - x * b))[:, None], [z @ y / (z @ x)], (z, x, y)
    )
    found = most_influential_set(iv, 0, 1, direction="up")
    assert list(found.indices) == [3] and found.refitted == pytest.approx(z[:3] @ y[:3] / (z[:3] @ x[:3]))


# ---- data that are left with no refit ----


def separable():
    x = np.c_[np.ones(24), np.linspace(-3.0, 3.0, 24)]
    y = (x[:, 1] > 0.0).astype(float)
    y[[8, 16]] = 1.0 - y[[8, 16]]
    return vn.InfinitesimalJackknife(logistic, np.zeros(2), (x, y), polish_optimum=True)


@pytest.mark.parametrize("method", METHODS[1:])
def test_separated_data_are_reported(method):
    found = most_influential_set(separable(), 1, 2, method, direction="up")
    assert sorted(found.indices) == [8, 16]
    assert np.isnan(found.refitted) and not found.reversed and found.input is None
    assert "separated" in found.message


def test_greedy_goes_around_separated_data():
    found = most_influential_set(separable(), 1, 2, direction="up")
    assert len(found) == 2 and np.isfinite(found.refitted) and found.refitted > found.initial


@pytest.mark.parametrize("method", METHODS)
def test_a_coefficient_that_loses_its_observations(method):
    rng = np.random.default_rng(15)
    dummy = (np.arange(20) < 3).astype(float)
    x = np.c_[dummy, np.ones(20)]
    y = rng.standard_normal(20) + 4.0 * dummy
    found = smallest_reversing_set(of_least_squares(x, y), 0, max_drop=3, method=method)
    assert not found.reversed and np.all(np.isfinite([found.refitted, found.initial]))
    assert "no reversal shown" in found.message
    if method == "greedy":
        everything = most_influential_set(of_least_squares(x, y), 0, 20)
        assert np.isfinite(everything.refitted) and len(everything) < 20


def test_a_penalty_identifies_what_the_data_do_not():
    mean = vn.InfinitesimalJackknife(
        lambda m, y: 0.5 * (y - m[0]) ** 2, [2.0], (np.array([3.0, 3.0]),), lambda m: 0.5 * anp.sum(m**2)
    )
    found = most_influential_set(mean, 0, 2)
    assert sorted(found.indices) == [0, 1] and found.refitted == pytest.approx(0.0, abs=1e-12)


# ---- degenerate questions ----


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_leave_out(method):
    mean = of_mean([1.0, 2.0, 6.0])
    for found in (most_influential_set(mean, 0, 0, method), smallest_reversing_set(mean, 0, max_drop=0, method=method)):
        assert len(found) == 0 and found.predicted == found.refitted == found.initial == 3.0
        assert not found.reversed and found.n_refits == 0


@pytest.mark.parametrize("method", METHODS)
def test_one_observation(method):
    found = smallest_reversing_set(of_mean([2.0]), 0, max_drop=1, method=method)
    assert not found.reversed


@pytest.mark.parametrize("method", METHODS)
def test_ties_are_broken_by_position(method):
    mean = of_mean([1.0, 5.0, 5.0, 5.0, 1.0])
    assert list(most_influential_set(mean, 0, 1, method, direction="down").indices) == [1]
    nothing = most_influential_set(of_mean([2.0, 2.0, 2.0]), 0, 2, method)
    assert nothing.refitted == 2.0 and len(nothing) == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_functional_that_nothing_moves(method):
    mean = of_mean([1.0, 2.0, 6.0])
    assert len(most_influential_set(mean, lambda m: 3.0, 1, method)) == 0
    assert not smallest_reversing_set(mean, lambda m: 3.0, method=method).reversed
    of_some = most_influential_set(mean, lambda m, w: w[0] + 0.0 * m[0], 3, method)
    assert list(of_some.indices) == [0] and of_some.refitted == 0.0


def test_weights_of_the_fit():
    y, w = np.array([-1.0, 7.0, 2.0, 3.0]), np.array([1.0, 0.0, 2.0, 1.0])
    mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [1.5], (y,), weights0=w)
    up = most_influential_set(mean, 0, 1, direction="up")
    assert list(up.indices) == [0] and up.refitted == pytest.approx(7.0 / 3.0)
    down = most_influential_set(mean, 0, 3, direction="down")
    assert 1 not in down.indices and down.refitted == pytest.approx(-1.0)
    with pytest.raises(ValueError, match="there are 3 observations"):
        most_influential_set(mean, 0, 4)


def test_fractions_and_the_number_of_refits():
    x, y = regression(9, n=25, slope=0.5)
    jackknife = of_least_squares(x, y)
    assert len(most_influential_set(jackknife, 0, 0.13)) == 3
    few = most_influential_set(jackknife, 0, 10, direction="down", max_refits=2)
    assert few.n_refits == 2 and len(few) < 10 and "ended before" in few.message


def test_nothing_of_the_callers_is_changed():
    x, y = regression(10, n=20, slope=0.5)
    jackknife = of_least_squares(x, y)
    weights, fit = jackknife.weights0.copy(), jackknife.input_val0.copy()
    found = smallest_reversing_set(jackknife, t_statistic(0, "sandwich"), "significance")
    np.testing.assert_array_equal(jackknife.weights0, weights)
    np.testing.assert_array_equal(jackknife.input_val0, fit)
    again = smallest_reversing_set(jackknife, t_statistic(0, "sandwich"), "significance")
    np.testing.assert_array_equal(found.indices, again.indices)


@pytest.mark.parametrize(
    ("ask", "error", "match"),
    [
        (lambda m: most_influential_set(m, "slope", 1), ValueError, "has none"),
        (lambda m: most_influential_set(m, 1, 1), ValueError, "1 coefficients"),
        (lambda m: most_influential_set(m, None, 1), TypeError, "index or name"),
        (lambda m: most_influential_set(m, True, 1), TypeError, "index or name"),
        (lambda m: most_influential_set(m, lambda b: anp.array([1.0, 2.0]) * b[0], 1), ShapeError, "one number"),
        (lambda m: most_influential_set(m, lambda b: (b[0], b[0]), 1), TypeError, "tuple"),
        (lambda m: most_influential_set(m, lambda b: anp.log(-b[0]), 1), DataError, "nan at the fit"),
        (lambda m: most_influential_set(m, lambda: 1.0, 1), TypeError, "takes fun"),
        (lambda m: most_influential_set(m, 0, -1), ValueError, "3 observations"),
        (lambda m: most_influential_set(m, 0, 4), ValueError, "3 observations"),
        (lambda m: most_influential_set(m, 0, 1.5), ValueError, "fraction"),
        (lambda m: most_influential_set(m, 0, True), TypeError, "number"),
        (lambda m: most_influential_set(m, 0, 1, "best"), ValueError, "method='best'"),
        (lambda m: most_influential_set(m, 0, 1, direction="left"), ValueError, "direction='left'"),
        (lambda m: most_influential_set(m, 0, 1, by_group=True), DataError, "no groups"),
        (lambda m: most_influential_set(m, 0, 1, max_refits=0), ValueError, "max_refits"),
        (lambda m: smallest_reversing_set(m, 0, "flip"), ValueError, "reverse='flip'"),
        (lambda m: smallest_reversing_set(m, 0, "both", level=1.0), ValueError, "level"),
        (lambda m: smallest_reversing_set(m, lambda b: 0.0 * b[0]), DataError, "zero at the fit"),
        (lambda m: smallest_reversing_set(m, t_statistic(0, "sandwich", groups=True)), DataError, "no groups"),
        (lambda m: smallest_reversing_set(m, t_statistic(0, "sandwich", groups=[1])), ShapeError, "a label"),
        (lambda m: t_statistic(0, "robust"), ValueError, "standard_error='robust'"),
        (lambda m: t_statistic(0, groups=True), ValueError, "sandwich"),
        (lambda m: t_statistic(0, "sandwich", dispersion=lambda b, w: 1.0), ValueError, "dispersion"),
        (lambda m: t_statistic(0, df=-1.0), ValueError, "df"),
    ],
)
def test_bad_questions(ask, error, match):
    with pytest.raises(error, match=match), warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(of_mean([1.0, 2.0, 6.0]))


def test_the_model_has_no_standard_error_for_an_equation():
    with pytest.raises(ValueError, match="standard_error='sandwich'"):
        most_influential_set(Instrumented(np.random.default_rng(0)).jackknife(), t_statistic(0), 1)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="coefficients mean"):
        most_influential_set(of_mean([1.0, 2.0], parameter_names=["mean"]), "slope", 1)
