"""Leave-one-out and leave-out: closed forms, exact refits, two ways of the same series, the Newton step."""

import autograd.numpy as anp
import numpy as np
import pytest
from jackknife_models import MODELS, make, names, ols

import vittles_ng as vn
from vittles_ng.errors import DataError, ShapeError, SizeError
from vittles_ng.jackknife.row_series import linear_rows
from vittles_ng.jackknife.sets import Sets
from vittles_ng.jackknife.symmetric import contraction, moments

LEAST_SQUARES = {
    "as a square": lambda b, x, y: 0.5 * (y - anp.dot(x, b)) ** 2,
    "expanded": lambda b, x, y: 0.5 * anp.dot(x, b) ** 2 - y * anp.dot(x, b),
}


def removed_sets(model):
    """What leave-one-out leaves out, by hand."""
    if model.groups is None:
        return [[i] for i in range(model.n_obs)]
    return [np.flatnonzero(model.groups == label) for label in sorted(set(model.groups))]


@pytest.mark.parametrize("by", ["tensors", "series"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("loss", LEAST_SQUARES.values(), ids=LEAST_SQUARES)
def test_least_squares_errors_are_geometric_in_the_leverage(loss, order, by):
    x, y, beta, residuals, h = ols()
    refits = vn.InfinitesimalJackknife(loss, beta, (x, y)).leave_one_out(order, by=by)
    left_out = y - np.einsum("ij,ij->i", x, refits)
    expected = residuals * sum(h**j for j in range(order + 1))
    np.testing.assert_allclose(left_out, expected, rtol=0, atol=1e-12)
    assert refits.method == by and refits.order == order


def test_least_squares_of_a_high_order():
    x, y, beta, residuals, h = ols()
    refits = vn.InfinitesimalJackknife(LEAST_SQUARES["expanded"], beta, (x, y)).leave_one_out(9)
    assert refits.method == "series"
    expected = residuals * (1 - h**10) / (1 - h)
    np.testing.assert_allclose(y - np.einsum("ij,ij->i", x, refits), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("model", MODELS, ids=names)
def test_tensors_and_series_are_the_same_expansion(model, order):
    jackknife = model.jackknife(order)
    tensors, series = jackknife.leave_one_out(by="tensors"), jackknife.leave_one_out(by="series")
    assert (tensors.method, series.method) == ("tensors", "series")
    moved = np.abs(series - jackknife.input_val0).max()
    np.testing.assert_allclose(tensors, series, rtol=0, atol=1e-10 * moved + 1e-15)
    weights = [model.without(rows) for rows in removed_sets(model)]
    np.testing.assert_allclose(series, jackknife.reweight(weights), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["logistic, total", "poisson", "curve", "t regression", "instruments"])
def test_error_falls_as_the_next_power_of_the_removed_weight(name):
    model = make(name)
    jackknife = model.jackknife(3)
    rows = removed_sets(model)[1]
    for order in (1, 2, 3):
        errors = []
        for part in (0.1, 0.05):
            weights = model.weights.copy()
            weights[rows] *= 1 - part
            exact = model.exact(weights, jackknife.input_val0)
            errors.append(np.linalg.norm(jackknife.reweight(weights, order) - exact))
        assert abs(np.log2(errors[0] / errors[1]) - (order + 1)) < 0.2, (order, errors)


@pytest.mark.parametrize("model", MODELS, ids=names)
def test_higher_orders_come_closer_to_exact_refits(model):
    jackknife, sets = model.jackknife(3), removed_sets(model)[:6]
    exact = np.array([model.exact(model.without(rows), jackknife.input_val0) for rows in sets])
    refits = [np.asarray(jackknife.leave_out(sets, order)) for order in (1, 2, 3)]
    errors = [np.linalg.norm(refit - exact) for refit in refits]
    assert errors[2] < errors[1] < errors[0] < np.linalg.norm(jackknife.input_val0 - exact)


@pytest.mark.parametrize("model", MODELS, ids=names)
def test_newton_step_is_that_of_the_reduced_problem(model):
    """The step by plain autograd derivatives of the sum without the set."""
    import autograd

    jackknife = model.jackknife()
    found, start = jackknife.leave_one_out(method="newton"), jackknife.input_val0
    assert (found.method, found.order) == ("newton", None)
    for refit, rows in list(zip(found, removed_sets(model), strict=True))[:8]:
        equation = model._equation(model.without(rows))
        step = np.linalg.solve(autograd.jacobian(equation)(start), equation(start))
        np.testing.assert_allclose(refit, start - step, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("sizes", [[1] * 12, [2] * 6, [5, 3, 4]], ids=["one", "few", "as many as inputs"])
@pytest.mark.parametrize("loss", LEAST_SQUARES.values(), ids=LEAST_SQUARES)
def test_newton_is_exact_for_least_squares(loss, sizes):
    x, y, beta, *_ = ols()
    sets = np.split(np.random.default_rng(1).permutation(12), np.cumsum(sizes)[:-1])
    weights0 = np.linspace(0.5, 2.0, 12)
    root = np.sqrt(weights0)
    beta = np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]
    jackknife = vn.InfinitesimalJackknife(loss, beta, (x, y), weights0=weights0)
    found = jackknife.leave_out(sets, method="newton")
    for refit, rows in zip(found, sets, strict=True):
        kept = np.setdiff1d(np.arange(12), rows)
        expected = np.linalg.lstsq((x * root[:, None])[kept], (y * root)[kept], rcond=None)[0]
        np.testing.assert_allclose(refit, expected, rtol=0, atol=1e-12)


def test_newton_marks_what_is_not_identified_and_keeps_the_rest():
    """Observation 2 alone tells the second coefficient: its leverage is one."""
    x = np.column_stack([np.ones(5), [0.0, 0.0, 1.0, 0.0, 0.0]])
    y = np.array([1.0, 2.0, 5.0, 3.0, 1.5])
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    jackknife = vn.InfinitesimalJackknife(LEAST_SQUARES["as a square"], beta, (x, y + 0.0), groups=[0, 1, 2, 3, 3])
    for found in (
        jackknife.leave_one_out(method="newton"),
        jackknife.leave_out([[0], [1], [2, 1, 4], [3, 4]], method="newton"),
    ):
        assert found.failed.tolist() == [False, False, True, False]
        assert np.isnan(found[2]).all() and np.isfinite(found[[0, 1, 3]]).all()
        np.testing.assert_allclose(found[3], np.linalg.lstsq(x[:3], y[:3], rcond=None)[0], atol=1e-12)
    with pytest.raises(DataError, match="none of 1 sets"):
        jackknife.leave_out([[2]], method="newton")


@pytest.mark.parametrize("by", ["tensors", "series"])
@pytest.mark.parametrize("kind", ["loss", "equation", "two combinations"])
def test_the_series_marks_what_is_not_identified_and_keeps_the_rest(kind, by):
    x = np.column_stack([np.ones(6), np.arange(6) == 5, np.arange(6) % 2])
    y = np.array([1.0, 2.0, 3.0, 2.0, 1.0, 5.0])
    fit = np.linalg.lstsq(x, y, rcond=None)[0]
    if kind == "loss":
        jackknife = vn.InfinitesimalJackknife(lambda b, x, y: 0.5 * (y - anp.dot(x, b)) ** 2, fit, (x, y), order=3)
    elif kind == "equation":

        def equation(b, x, y):
            return x * (y - anp.dot(x, b))[:, None]

        jackknife = vn.InfinitesimalJackknife.from_estimating_equation(equation, fit, (x, y), order=3)
    else:

        def loss(b, x, y):
            return 0.5 * (y - anp.dot(x, b)) ** 2 + 0.5 * (y - anp.dot(x, b) - x[:, 2]) ** 2

        fit = np.linalg.lstsq(x, y - 0.5 * x[:, 2], rcond=None)[0]
        jackknife = vn.InfinitesimalJackknife(loss, fit, (x, y), order=3)
    left_out = jackknife.leave_one_out(by=by)
    assert left_out.failed.tolist() == [False] * 5 + [True]
    assert np.isnan(left_out[5]).all() and np.isfinite(left_out[:5]).all()
    assert jackknife.leave_out([[0], [5, 0], []], by=by).failed.tolist() == [False, True, False]


def test_newton_marks_a_singular_equation():
    z = np.array([1.0, 1.0, 2.0])
    x = np.array([1.0, -1.0, 1.0])  # without observation 2 sum z x = 0
    y = np.array([1.0, 0.5, 2.0])
    equation = vn.InfinitesimalJackknife.from_estimating_equation(
        lambda b, z, x, y: (z * (y - x * b))[:, None], [z @ y / (z @ x)], (z, x, y)
    )
    found = equation.leave_one_out(method="newton")
    assert found.failed.tolist() == [False, False, True]
    np.testing.assert_allclose(found[:2, 0], [(z @ y - 1.0) / 1.0, (z @ y - 0.5) / 3.0], rtol=1e-12)


def test_newton_marks_a_hessian_that_is_not_positive_definite():
    """Losses (m - a)^2 / 2 and -(m - b)^2 / 4: a maximum is left where the first is gone."""
    curvature, a = np.array([1.0, 1.0, -0.5, -0.6]), np.array([0.0, 0.5, 0.3, 0.2])
    fit = curvature @ a / curvature.sum()
    concave = vn.InfinitesimalJackknife(lambda m, c, a: 0.5 * c * (m - a) ** 2, [fit], (curvature, a))
    found = concave.leave_one_out(method="newton")
    assert found.failed.tolist() == [True, True, False, False]
    pairs = concave.leave_out([[0, 2], [2, 3], [0, 2, 3]], method="newton")  # what is left: .4, 2 and 1
    assert not pairs.failed.any()
    keep = np.delete(curvature * a, [0, 2]).sum() / np.delete(curvature, [0, 2]).sum()
    np.testing.assert_allclose(pairs[0], keep, rtol=1e-12)


def test_newton_of_several_inputs_with_negative_curvatures():
    """By few ranks: the inertia formula against eigenvalues of the Hessian itself."""
    rng = np.random.default_rng(5)
    x, c = rng.standard_normal((14, 4)), np.where(np.arange(14) % 4 == 3, -0.25, 1.0)
    a = rng.standard_normal(14)
    hessian = (x.T * c) @ x
    assert np.linalg.eigvalsh(hessian)[0] > 0
    fit = np.linalg.solve(hessian, x.T @ (c * a))
    jackknife = vn.InfinitesimalJackknife(lambda b, x, c, a: 0.5 * c * (anp.dot(x, b) - a) ** 2, fit, (x, c, a))
    sets = [rng.choice(14, 3, replace=False) for _ in range(60)]
    found = jackknife.leave_out(sets, method="newton")
    assert 5 < found.failed.sum() < 55
    for refit, failed, rows in zip(found, found.failed, sets, strict=True):
        kept = np.setdiff1d(np.arange(14), rows)
        h = (x[kept].T * c[kept]) @ x[kept]
        assert failed == (np.linalg.eigvalsh(h)[0] < 0)
        if not failed:
            np.testing.assert_allclose(refit, np.linalg.solve(h, x[kept].T @ (c * a)[kept]), rtol=1e-8)


def test_rows_of_one_linear_combination_are_found():
    for model in MODELS:
        jackknife = model.jackknife()
        flat = jackknife.input_val0
        rows = linear_rows(jackknife.model, flat, jackknife.model.scores(flat), 3)
        assert (rows is not None) == model.is_linear, model.name


@pytest.mark.parametrize("scale", [4.0, 20.0])
def test_saturated_rows(scale):
    """Fitted probabilities within rounding of 0 and 1: scores that are rounding, or zero."""
    rng = np.random.default_rng(8)
    x = np.column_stack([np.ones(300), scale * rng.standard_normal((300, 3))])
    labels = (rng.random(300) < 1 / (1 + np.exp(-np.clip(x @ [0.0, 1, 1, 1], -500, 500)))).astype(float)
    model = make("logistic, ridge")
    jackknife = vn.InfinitesimalJackknife(
        model.contributions, np.zeros(4), (x, labels), model.penalty, polish_optimum=True
    )
    assert np.abs(jackknife.model.scores(jackknife.input_val0)).max(axis=1).min() < 1e-6
    for order in (2, 3):
        tensors, series = (jackknife.leave_one_out(order, by=by) for by in ("tensors", "series"))
        np.testing.assert_allclose(tensors, series, rtol=0, atol=1e-10 * np.abs(series - jackknife.input_val0).max())


def test_an_outlier_does_not_hide_the_other_rows():
    """Beside a row 10^6 times as large as the others, that these are of several combinations is still found."""
    model = make("t regression")
    x, y = model.data
    x = x.copy()
    x[0] *= 1e6
    jackknife = vn.InfinitesimalJackknife(model.contributions, model.fitted(), (x, y), polish_optimum=True)
    flat = jackknife.input_val0
    assert linear_rows(jackknife.model, flat, jackknife.model.scores(flat), 2) is None
    tensors, series = (jackknife.leave_one_out(2, by=by) for by in ("tensors", "series"))
    np.testing.assert_allclose(tensors, series, rtol=0, atol=1e-10 * np.abs(series - flat).max())


@pytest.mark.parametrize(
    "penalty", [lambda b: 0.0, lambda b, s, total: total, lambda b, s: 0.0 * s * anp.sum(b**2)], ids=["0", "w", "0 b"]
)
def test_penalties_that_do_nothing(penalty):
    model = make("logistic")
    hyper = None if penalty.__code__.co_argcount == 1 else 1.0
    nothing = vn.InfinitesimalJackknife(model.contributions, model.fitted(), model.data, penalty, hyper)
    for options in ({"by": "tensors"}, {"by": "series"}, {"method": "newton"}):
        expected = model.jackknife().leave_one_out(**options)
        np.testing.assert_allclose(nothing.leave_one_out(**options), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("residual", [0.0, 1e-9])
def test_a_row_that_fits_perfectly(residual):
    """Its score is zero, but its Hessian is not."""
    x, y, beta, *_ = ols()
    y = np.where(np.arange(12) == 4, x @ beta + residual, y)
    beta = np.linalg.lstsq(np.delete(x, 4, 0), np.delete(y, 4), rcond=None)[0]
    y[4] = x[4] @ beta  # the fit goes through it
    jackknife = vn.InfinitesimalJackknife(LEAST_SQUARES["as a square"], beta, (x, y))
    h = np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x)
    expected = (y - x @ beta) * (1 + h + h**2)
    found = jackknife.leave_one_out(2, by="tensors")
    np.testing.assert_allclose(y - np.einsum("ij,ij->i", x, found), expected, rtol=0, atol=1e-12)
    newton = jackknife.leave_one_out(method="newton")
    np.testing.assert_allclose(newton[4], beta, rtol=0, atol=1e-12)


def test_columns_of_different_units():
    """A column in millionths and one in millions change nothing but the units of the coefficients."""
    model = make("logistic, ridge")
    x, labels = model.data
    units = np.array([1.0, 1e-6, 1e6])
    plain = make("logistic").jackknife()
    scaled = vn.InfinitesimalJackknife(model.contributions, plain.input_val0 / units, (x * units, labels))
    for options in ({"order": 3, "by": "tensors"}, {"method": "newton"}):
        expected = plain.leave_one_out(**options)
        np.testing.assert_allclose(scaled.leave_one_out(**options) * units, expected, rtol=1e-9, atol=1e-11)


def test_the_rule_that_picks():
    model = make("logistic")  # 6 directions of order 2, 10 of order 3
    jackknife = model.jackknife()
    assert jackknife.leave_one_out().method == "tensors"
    assert jackknife.leave_one_out(3).method == "tensors"
    assert jackknife.leave_one_out(4).method == "series"
    assert jackknife.leave_out([[0], [1]]).method == "series"
    x, y = np.random.default_rng(0).standard_normal((70, 65)), np.zeros(70)
    wide = vn.InfinitesimalJackknife(LEAST_SQUARES["as a square"], np.zeros(65), (x, y))
    assert wide.leave_one_out(1).method == "series"


def test_leave_out_sets():
    model = make("logistic, ridge")
    jackknife = model.jackknife()
    mask = np.zeros(model.n_obs, bool)
    mask[[3, 5]] = True
    for by in ("tensors", "series"):
        found = jackknife.leave_out([[3, 5], [], mask, [5, 3], np.arange(4)], by=by)
        np.testing.assert_array_equal(found[1], jackknife.input_val0)
        np.testing.assert_allclose(found[[2, 3]], found[[0, 0]], rtol=0, atol=1e-14)
        np.testing.assert_allclose(found[4], jackknife.reweight(model.without(range(4))), rtol=0, atol=1e-13)
    newton = jackknife.leave_out([[3, 5], []], method="newton")
    np.testing.assert_allclose(newton[1], jackknife.input_val0, rtol=0, atol=1e-15)
    assert jackknife.leave_out([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("sets", "error", "match"),
    [
        ([[0, 0]], DataError, "set 0 holds observation 0 2 times"),
        ([[1], [40]], DataError, "set 1 holds the index 40"),
        ([[-1]], DataError, "index -1"),
        ([[0.5]], TypeError, "float64"),
        ([np.zeros(3, bool)], ShapeError, "mask of 3"),
        ([0, 1], ShapeError, r"set 0 has shape \(\)"),
        ([[[0, 1]]], ShapeError, r"set 0 has shape \(1, 2\)"),
        (np.arange(3), ShapeError, "list of index arrays"),
    ],
)
def test_bad_sets(sets, error, match):
    with pytest.raises(error, match=match):
        make("logistic").jackknife().leave_out(sets)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "alo"}, "'alo'"),
        ({"by": "tensor"}, "'tensor'"),
        ({"by": "tensors", "order": 4}, "up to 3, not 4"),
        ({"method": "newton", "order": 2}, "has no order"),
        ({"method": "newton", "by": "series"}, "not done by tensors or series"),
        ({"order": 0}, "order must be at least 1"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        make("logistic").jackknife().leave_one_out(**options)


def test_nothing_is_left():
    loss = lambda m, y: 0.5 * (y - m) ** 2  # noqa: E731
    one = vn.InfinitesimalJackknife(loss, [2.0], (np.array([2.0]),))
    for method in ("series", "newton"):
        with pytest.raises(DataError, match="no observation with a weight is left"):
            one.leave_one_out(method=method)
    two = vn.InfinitesimalJackknife(loss, [2.0], (np.array([2.0, 7.0]),), weights0=[1.0, 0.0])
    for options in ({}, {"by": "series"}, {"by": "tensors", "order": 1}, {"method": "newton"}):
        found = two.leave_out([[0], [1]], **options)
        assert found.failed.tolist() == [True, False]
        np.testing.assert_array_equal(found, [[np.nan], [2.0]])
    prior = vn.InfinitesimalJackknife(loss, [1.0], (np.array([2.0]),), lambda m: 0.5 * anp.sum(m**2))
    np.testing.assert_allclose(prior.leave_one_out(method="newton"), [[0.0]], atol=1e-15)
    np.testing.assert_allclose(prior.leave_one_out(2), [[0.25]], rtol=1e-15)  # 1 - 1/2 - 1/4


def test_a_penalty_that_is_not_defined_without_a_set():
    model = make("logistic, total")
    jackknife = vn.InfinitesimalJackknife(
        model.contributions,
        np.zeros(3),
        model.data,
        lambda b, s, total: anp.sum(b**2) / (total - 38.0),
        1.0,
        polish_optimum=True,
    )
    found = jackknife.leave_out([[0], [1, 2], [3]], method="newton")
    assert found.failed.tolist() == [False, True, False]


def test_duplicated_rows_have_equal_refits():
    x, labels = make("logistic").data
    twice = vn.InfinitesimalJackknife(
        make("logistic").contributions, make("logistic").fitted(), (np.repeat(x, 2, 0), np.repeat(labels, 2))
    )
    for options in ({"by": "tensors"}, {"by": "series"}, {"method": "newton"}):
        found = np.asarray(twice.leave_one_out(**options))
        np.testing.assert_allclose(found[::2], found[1::2], rtol=0, atol=1e-14)


def test_groups_are_in_the_order_of_sorted_labels_and_named():
    model = make("logistic, hyper")
    found = model.jackknife(parameter_names=["a", "b", "c"]).leave_one_out()
    assert found.row_names == sorted(set(model.groups)) and found.column_names == ["a", "b", "c"]
    alone = model.jackknife(groups=np.r_[0, np.ones(39)])
    expected = model.jackknife(groups=None).leave_one_out()[0]
    np.testing.assert_allclose(alone.leave_one_out()[0], expected, rtol=0, atol=1e-14)


def test_observation_names_come_along():
    names_of = [f"r{i}" for i in range(40)]
    assert make("logistic").jackknife(observation_names=names_of).leave_one_out().row_names == names_of


def test_moments_and_contractions():
    """Against tensors written out in full."""
    rng = np.random.default_rng(3)
    v, c, x, y = rng.standard_normal((2500, 4)), rng.standard_normal(2500), *rng.standard_normal((2, 1100, 4))
    second = moments(v, c, 2)
    full = np.einsum("n,na,ni,nj->aij", c, v, v, v)
    pairs = [(i, j) for j in range(4) for i in range(j + 1)]
    np.testing.assert_allclose(second, np.array([full[:, i, j] for i, j in pairs]).T, atol=1e-12)
    scaled = second / [2.0 if i == j else 1.0 for i, j in pairs]
    np.testing.assert_allclose(contraction(scaled, 2, x), np.einsum("aij,ni,nj->na", full, x, x) / 2, atol=1e-11)
    np.testing.assert_allclose(contraction(scaled, 2, x, y), np.einsum("aij,ni,nj->na", full, x, y), atol=1e-11)
    third = moments(v, c, 3)
    full = np.einsum("n,na,ni,nj,nk->aijk", c, v, v, v, v)
    triples = [(i, j, k) for k in range(4) for j in range(k + 1) for i in range(j + 1)]
    np.testing.assert_allclose(third, np.array([full[:, i, j, k] for i, j, k in triples]).T, atol=1e-12)
    sizes = [{1: 6.0, 2: 2.0, 3: 1.0}[len(set(t))] for t in triples]
    expected = np.einsum("aijk,ni,nj,nk->na", full, x, x, x) / 6
    np.testing.assert_allclose(contraction(third / sizes, 3, x), expected, atol=1e-11)


def test_sums_and_rows_in_several_blocks(monkeypatch):
    """The same refits whatever the blocks of rows, directions and sets are."""
    monkeypatch.setattr(vn.jackknife.total_tensors, "_BLOCK_NUMBERS", 100)
    monkeypatch.setattr(vn.jackknife.total_tensors, "_STEP_NUMBERS", 100)
    monkeypatch.setattr(vn.jackknife.row_series, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(vn.jackknife.row_series, "_BLOCK_ROWS_OF_JACOBIANS", 5)
    monkeypatch.setattr(vn.jackknife.newton_step, "_MATRIX_NUMBERS", 50)
    model = make("t regression")
    x, y = (np.tile(a, (5, 1) if a.ndim == 2 else 5) for a in model.data)
    wide = vn.InfinitesimalJackknife(model.contributions, model.fitted(), (x, y))
    for order in (2, 3):
        tensors, series = (wide.leave_one_out(order, by=by) for by in ("tensors", "series"))
        np.testing.assert_allclose(tensors, series, rtol=0, atol=1e-14)
    found = wide.leave_one_out(method="newton")
    monkeypatch.undo()
    np.testing.assert_allclose(found, wide.leave_one_out(method="newton"), rtol=0, atol=1e-13)


def test_one_input():
    y = np.array([1.0, 2.0, 6.0, 6.0, 3.0])  # with ties
    jackknife = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [y.mean()], (y,))
    for order in (1, 2, 3):
        expected = y.mean() - (y - y.mean()) * sum(0.2**j for j in range(1, order + 1))
        for by in ("tensors", "series"):
            np.testing.assert_allclose(jackknife.leave_one_out(order, by=by)[:, 0], expected, rtol=1e-14)


def test_a_leverage_of_one_in_an_ill_conditioned_design():
    """Rounding makes the leverage 1 - 1e-8, so that a finite step would be found."""
    t = np.linspace(0.0, 1.0, 40)
    x = np.column_stack([t**k for k in range(7)] + [np.arange(40) == 11])
    y = np.sin(5 * t)
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    loss = LEAST_SQUARES["as a square"]
    jackknife = vn.InfinitesimalJackknife(loss, beta, (x, y), polish_optimum=True)
    failed = jackknife.leave_one_out(method="newton").failed
    assert np.flatnonzero(failed).tolist() == [11]


def test_what_does_not_fit_in_memory(monkeypatch):
    jackknife = make("logistic").jackknife()
    monkeypatch.setattr(vn.jackknife.leave_one_out, "memory_limit", lambda: 1000)
    with pytest.raises(SizeError, match="leaving out 40 sets with 3 inputs"):
        jackknife.leave_one_out()
    monkeypatch.undo()
    monkeypatch.setattr(vn.jackknife.weighted, "memory_limit", lambda: 100)
    with pytest.raises(SizeError, match="scores of 40 observations"):
        jackknife.leave_one_out()
    monkeypatch.undo()
    monkeypatch.setattr(vn.jackknife.newton_step, "memory_limit", lambda: 100)
    with pytest.raises(SizeError, match="dense Hessian"):
        make("curve").jackknife().leave_one_out(method="newton")


def test_blocks_of_sets():
    sets = Sets(np.arange(10), np.array([0, 3, 3, 4, 9, 10]))
    for n_rows in (1, 2, 4, 100):
        blocks = list(sets.blocks(n_rows))
        assert [i for block in blocks for i in range(block.start, block.stop)] == list(range(5))
        assert all(sets.starts[b.stop] - sets.starts[b.start] <= n_rows for b in blocks if b.stop - b.start > 1)
