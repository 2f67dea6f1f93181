"""Cross-validation against PRESS, explicit refits and Newton's method; identification against matrix ranks."""

import autograd.numpy as anp
import numpy as np
import pytest
from scipy.special import expit

import vittles_ng as vn
from vittles_ng.errors import DataError, IndependentError, NonFiniteError, ShapeError
from vittles_ng.jackknife.identification import unidentified


def squares(b, x, y):
    return 0.5 * (y - anp.dot(x, b)) ** 2


def half_ridge(b, h):
    return 0.5 * h * anp.sum(b**2)


def ridge_data(n=40, k=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, k))
    return x, x @ rng.standard_normal(k) + rng.standard_normal(n)


def ridge_fit(x, y, h, weights=None):
    weights = np.ones(len(x)) if weights is None else weights
    return np.linalg.solve((x.T * weights) @ x + h * np.eye(x.shape[1]), (x.T * weights) @ y)


def press(x, y, h):
    """Mean of the half squares ``(e_n / (1 - h_n))^2 / 2``."""
    hat = x @ np.linalg.solve(x.T @ x + h * np.eye(x.shape[1]), x.T)
    return 0.5 * np.mean(((y - hat @ y) / (1.0 - np.diag(hat))) ** 2)


def ridge(x, y, h=2.0, **options):
    weights = options.get("weights0")
    return vn.InfinitesimalJackknife(squares, ridge_fit(x, y, h, weights), (x, y), half_ridge, h, **options)


def logistic(b, x, y):
    z = anp.dot(x, b)
    return anp.logaddexp(0.0, z) - y * z


def logistic_fit(x, y, weights, h=0.0):
    b = np.zeros(x.shape[1])
    for _ in range(60):
        p = expit(x @ b)
        hessian = (x.T * (weights * p * (1.0 - p))) @ x + h * np.eye(len(b))
        b = b - np.linalg.solve(hessian, (weights * (p - y)) @ x + h * b)
    return b


def logistic_data(n=80, k=4, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, k))
    return x, (rng.random(n) < expit(x @ np.array([1.0, -1.0, 0.5, 0.0])[:k])).astype(float)


# ---- leave-one-out ----


def test_leave_one_out_of_ridge_is_press():
    x, y = ridge_data()
    assert np.isclose(ridge(x, y, order=25).cross_validate(), press(x, y, 2.0), rtol=1e-9)
    low = ridge(x, y, order=1)
    assert abs(low.cross_validate() / press(x, y, 2.0) - 1.0) < 5e-3
    assert abs(low.cross_validate(order=3) / press(x, y, 2.0) - 1.0) < 1e-3


def test_the_unverified_series_of_least_squares_is_geometric_in_the_leverage():
    x, y = ridge_data()
    hat = x @ np.linalg.solve(x.T @ x, x.T)
    e, h = y - hat @ y, np.diag(hat)
    for order in (1, 2, 4):
        # without n the residual e_n is left with e_n (1 + h + ... + h^order)
        expected = 0.5 * np.mean((e * sum(h**k for k in range(order + 1))) ** 2)
        jackknife = vn.InfinitesimalJackknife(squares, ridge_fit(x, y, 0.0), (x, y))
        assert np.isclose(jackknife.cross_validate(order=order, verdicts=False), expected, rtol=1e-10)


def test_every_held_out_loss_is_near_the_exact_one_whatever_the_order():
    x, y = logistic_data(60)
    exact = np.empty(60)
    for n in range(60):
        b = logistic_fit(x, y, (np.arange(60) != n).astype(float))
        exact[n] = logistic(b, x[n : n + 1], y[n : n + 1])[0]
    jackknife = vn.InfinitesimalJackknife(logistic, logistic_fit(x, y, np.ones(60)), (x, y), order=2)
    in_sample = np.asarray(logistic(jackknife.input_val0, x, y))
    for order in (1, 2, 3, 4):
        found = jackknife.held_out_losses(order)
        assert found.losses.shape == (60,) and len(found.failed) == 0 and found.order == order
        assert np.max(np.abs(found.losses - exact)) < 0.02 * np.max(np.abs(in_sample - exact))
        assert found.n_polished <= found.n_verified <= 60
    assert jackknife.held_out_losses(1).n_polished > jackknife.held_out_losses(3).n_polished
    everywhere = jackknife.held_out_losses(2, verdicts=True)
    assert everywhere.n_verified == 60 and "60 verified" in repr(everywhere)
    rows, verified = found.verify(10, rng=3)
    assert len(rows) == 10 and np.allclose(verified, exact[rows], rtol=1e-9)


# ---- folds, groups, weights, losses ----


@pytest.mark.parametrize("kind", ["number", "labels", "groups", "groups overridden"])
def test_folds_are_refitted_without_their_rows(kind):
    x, y = ridge_data()
    labels = {
        "number": np.arange(40) % 5,
        "labels": np.array(list("abcdefgh"))[np.arange(40) // 5],
        "groups": np.arange(40) // 10,
        "groups overridden": np.arange(40) % 8,
    }[kind]
    jackknife = ridge(x, y, order=4, groups=np.arange(40) // 10 if "groups" in kind else None)
    folds = {"number": 5, "labels": labels, "groups": None, "groups overridden": labels}[kind]
    exact = np.empty(40)
    for fold in np.unique(labels):
        out = labels == fold
        exact[out] = 0.5 * (y[out] - x[out] @ ridge_fit(x[~out], y[~out], 2.0)) ** 2
    found = jackknife.held_out_losses(folds=folds)
    assert found.n_folds == len(np.unique(labels))
    assert np.allclose(found.losses, exact, rtol=0.03, atol=1e-3)
    assert np.isclose(jackknife.cross_validate(folds=folds), exact.mean(), rtol=5e-3)
    rows, verified = found.verify(2)
    assert np.allclose(verified, exact[rows], rtol=1e-9)


def test_weights_are_frequencies():
    x, y = ridge_data()
    weights = np.arange(40) % 3.0
    jackknife = ridge(x, y, order=20, weights0=weights)
    losses = np.empty(40)
    for n in range(40):
        without = weights * (np.arange(40) != n)
        losses[n] = 0.5 * (y[n] - x[n] @ ridge_fit(x, y, 2.0, without)) ** 2
    assert np.isclose(jackknife.cross_validate(), weights @ losses / weights.sum(), rtol=1e-6)


def test_another_loss_scores():
    x, y = logistic_data()
    jackknife = vn.InfinitesimalJackknife(logistic, logistic_fit(x, y, np.ones(80)), (x, y))
    wrong = jackknife.held_out_losses(loss=lambda b, x, y: (x @ b > 0.0) != y)
    refits = [logistic_fit(x, y, (np.arange(80) != n).astype(float)) for n in range(80)]
    expected = np.array([(x[n] @ refits[n] > 0.0) != y[n] for n in range(80)])
    assert np.array_equal(wrong.losses, expected)
    assert jackknife.cross_validate(loss=lambda b, x, y: (x @ b > 0.0) != y) == expected.mean()


def test_an_estimating_equation_needs_a_loss():
    x, y = ridge_data()
    jackknife = vn.InfinitesimalJackknife.from_estimating_equation(
        lambda b, x, y: x * (y - anp.dot(x, b))[:, None], ridge_fit(x, y, 0.0), (x, y), order=20
    )
    with pytest.raises(TypeError, match="no loss"):
        jackknife.cross_validate()
    assert np.isclose(jackknife.cross_validate(loss=squares), press(x, y, 0.0), rtol=1e-8)


# ---- a grid of hypers ----


def test_a_grid_of_ridge_penalties_is_press_at_each():
    x, y = ridge_data()
    hypers = np.array([30.0, 0.01, 2.0, 1000.0, 0.5])
    found = ridge(x, y, order=25).cross_validate(hypers=hypers)
    assert np.allclose(found, [press(x, y, h) for h in hypers], rtol=1e-8)
    zero_too = ridge(x, y, order=25).cross_validate(hypers=[0, 1.0])
    assert np.allclose(zero_too, [press(x, y, 0.0), press(x, y, 1.0)], rtol=1e-8)


def test_a_grid_of_vector_hypers_for_a_logistic_model_by_folds():
    x, y = logistic_data()
    folds = np.arange(80) % 4

    def penalty(b, h, total):
        return 0.5 * total / 80.0 * (h["all"] * anp.sum(b**2) + h["first"] * b[0] ** 2)

    start = {"all": 1.0, "first": 0.0}
    jackknife = vn.InfinitesimalJackknife(
        logistic, np.zeros(4), (x, y), penalty, start, polish_optimum=True, order=4, groups=folds
    )
    hypers = [{"all": 0.1, "first": 0.0}, {"all": 20.0, "first": 3.0}]
    found = jackknife.cross_validate(hypers=hypers)
    for hyper, value in zip(hypers, found, strict=True):
        losses = np.empty(80)
        for fold in range(4):
            out = folds == fold
            matrix = np.diag([hyper["all"] + hyper["first"], *[hyper["all"]] * 3]) * 0.75
            b = np.zeros(4)
            for _ in range(60):
                p = expit(x[~out] @ b)
                hessian = (x[~out].T * (p * (1.0 - p))) @ x[~out] + matrix
                b = b - np.linalg.solve(hessian, (p - y[~out]) @ x[~out] + matrix @ b)
            losses[out] = logistic(b, x[out], y[out])
        assert np.isclose(value, losses.mean(), rtol=2e-3)


def test_a_grid_for_an_estimating_equation():
    x, y = ridge_data()
    jackknife = vn.InfinitesimalJackknife.from_estimating_equation(
        lambda b, x, y: x * (anp.dot(x, b) - y)[:, None], ridge_fit(x, y, 2.0), (x, y), half_ridge, 2.0, order=25
    )
    found = jackknife.cross_validate(hypers=[0.3, 5.0], loss=squares)
    assert np.allclose(found, [press(x, y, 0.3), press(x, y, 5.0)], rtol=1e-8)


def test_a_hyper_without_a_fit_is_infinite_and_the_others_are_kept():
    x, y = ridge_data(k=3)
    x = np.column_stack([x, x[:, 0]])  # not identified without a penalty
    found = ridge(x, y, order=25).cross_validate(hypers=[0.0, 1.0, 4.0])
    assert found[0] == np.inf
    assert np.allclose(found[1:], [press(x, y, 1.0), press(x, y, 4.0)], rtol=1e-7)
    assert np.argmin(found) == np.argmin([np.inf, press(x, y, 1.0), press(x, y, 4.0)])


# ---- what cannot be refitted ----


def lone_indicator():
    x = np.column_stack([np.ones(12), np.arange(12) == 7])
    y = np.random.default_rng(0).standard_normal(12)
    return x, y


@pytest.mark.parametrize("order", [1, 2, 6])
def test_a_fold_without_which_the_model_is_not_identified_is_named(order):
    x, y = lone_indicator()
    jackknife = vn.InfinitesimalJackknife(squares, ridge_fit(x, y, 0.0), (x, y), order=order)
    found = jackknife.held_out_losses()
    assert list(found.failed) == [7] and np.flatnonzero(np.isnan(found.losses)).tolist() == [7]
    with pytest.raises(DataError, match="without fold 7 .1 of 12"):
        jackknife.cross_validate()
    others = np.delete(np.arange(12), 7)
    mean = (y[others].sum() - y[others]) / 10.0
    assert np.allclose(found.losses[others], 0.5 * (y[others] - mean) ** 2, rtol=0.05, atol=2e-3)
    assert np.isnan(found.verify(12)[1][7])


def test_separation_by_a_fold_is_infinite_on_a_grid_and_an_error_alone():
    x = np.array([-2.0, -1.0, 0.5, 1.0, 2.0, 3.0])[:, None]
    y = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])  # without observation 3 (or 2) the two classes are separated
    fit = logistic_fit(x, y, np.ones(6), 1e-9)
    jackknife = vn.InfinitesimalJackknife(logistic, fit, (x, y), half_ridge, 1e-9, polish_optimum=True)
    unpenalised = vn.InfinitesimalJackknife(logistic, fit, (x, y), polish_optimum=True, order=3)
    with pytest.raises(DataError, match="no refit without fold 3"):
        unpenalised.cross_validate()
    found = jackknife.cross_validate(hypers=[0.0, 0.5])
    assert found[0] == np.inf and np.isfinite(found[1])


def families():
    rng = np.random.default_rng(2)
    x = np.column_stack([np.ones(14), rng.standard_normal(14), np.arange(14) >= 12])
    y = rng.standard_normal(14)
    start = np.append(np.linalg.lstsq(x, y, rcond=None)[0], 0.0)

    def scaled(b, x, y):  # depends on two combinations of the input
        return 0.5 * ((y - anp.dot(x, b[:3])) * anp.exp(-b[3])) ** 2 + b[3]

    start[3] = 0.5 * np.log(np.mean((y - x @ start[:3]) ** 2))
    return {
        "one combination": vn.InfinitesimalJackknife(squares, start[:3], (x, y)),
        "two combinations": vn.InfinitesimalJackknife(scaled, start, (x, y)),
        "estimating equation": vn.InfinitesimalJackknife.from_estimating_equation(
            lambda b, x, y: x * (y - anp.dot(x, b))[:, None], start[:3], (x, y)
        ),
    }


@pytest.mark.parametrize("name", ["one combination", "two combinations", "estimating equation"])
def test_identification_is_the_rank_of_what_is_left(name):
    jackknife = families()[name]
    x = jackknife.model.data[0]
    rng = np.random.default_rng(0)
    weights = rng.multinomial(14, np.full(14, 1.0 / 14.0), size=150).astype(float)
    expected = np.array([np.linalg.matrix_rank(x * w[:, None]) < 3 for w in weights])
    assert 5 < expected.sum() < 100
    for are_resamples in (False, True):
        assert np.array_equal(unidentified(jackknife, lambda rows: weights[rows], 150, are_resamples), expected)
    bootstrap = jackknife.bootstrap(60, 3, order=4)
    lost = np.array([np.linalg.matrix_rank(x * w[:, None]) < 3 for w in bootstrap.weights])
    assert lost.any() and not bootstrap.trusted[lost].any()
    if name != "two combinations":  # there a resample may also fit exactly
        assert bootstrap.trusted[~lost].all()


# ---- bad input ----


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"folds": 1}, ValueError, "folds"),
        ({"folds": 41}, DataError, "exceeds"),
        ({"folds": 2.5}, TypeError, "folds"),
        ({"folds": np.arange(39)}, ShapeError, "39"),
        ({"folds": np.zeros(40)}, DataError, "one group"),
        ({"folds": np.full(40, np.nan)}, NonFiniteError, "missing"),
        ({"order": 0}, ValueError, "order"),
        ({"loss": 3}, TypeError, "function"),
        ({"loss": lambda b, x, y: 1.0}, ShapeError, "is needed"),
        ({"loss": lambda b, x, y: np.full(len(y), np.nan)}, NonFiniteError, "observation 0 is NaN"),
        ({"hypers": []}, ValueError, "empty"),
        ({"hypers": [1.0, np.nan]}, NonFiniteError, "hypers"),
        ({"hypers": [[1.0, 2.0]]}, ShapeError, "hypers"),
    ],
)
def test_bad_arguments_are_named(arguments, error, match):
    x, y = ridge_data()
    with pytest.raises(error, match=match):
        ridge(x, y).cross_validate(**arguments)


def test_hypers_need_a_penalty_that_depends_on_them():
    x, y = ridge_data()
    without = vn.InfinitesimalJackknife(squares, ridge_fit(x, y, 0.0), (x, y))
    with pytest.raises(ValueError, match="penalty"):
        without.cross_validate(hypers=[1.0])
    ignored = vn.InfinitesimalJackknife(squares, ridge_fit(x, y, 2.0), (x, y), lambda b, h: anp.sum(b**2), 2.0)
    with pytest.raises(IndependentError):
        ignored.cross_validate(hypers=[1.0])


def test_nothing_left_to_fit():
    jackknife = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [2.0], (np.array([2.0]),))
    with pytest.raises(DataError, match="nothing"):
        jackknife.cross_validate()
