"""Paths of solutions against closed forms, mpmath and Newton's method in small steps."""

import autograd
import autograd.numpy as anp
import mpmath
import numpy as np
import pytest
from problems import MODELS, normal, solve_newton, uniform
from scipy.special import expit, lambertw

import vittles_ng as vn
from vittles_ng.continuation import follow_path
from vittles_ng.errors import NonFiniteError, PathError, ShapeError, VittlesError
from vittles_ng.problem import Problem

engine = vn.ParametricSensitivityTaylorExpansion

X = np.column_stack([np.ones(40), normal(40, 4, start=0.1)])
Y = normal(40, start=0.4) + X @ np.array([1.0, -2.0, 0.5, 0.0, 1.0])


def ridge_exact(penalty):
    return np.linalg.solve(X.T @ X + float(np.squeeze(penalty)) * np.eye(5), X.T @ Y)


def ridge(penalty0=1.0, order=3):
    def objective(b, penalty):
        return 0.5 * anp.sum((Y - anp.dot(X, b)) ** 2) + 0.5 * anp.sum(penalty * b**2)

    return engine.optimization_objective(objective, ridge_exact(penalty0), [penalty0], order=order)


def weighted_exact(hyper):
    """Weighted least squares with weights on the last observations and a ridge penalty 1."""
    weights = np.r_[np.ones(len(Y) - len(hyper)), hyper]
    return np.linalg.solve((X.T * weights) @ X + np.eye(5), X.T @ (weights * Y))


def weighted(n_hyper):
    def objective(b, hyper):
        errors = 0.5 * (Y - anp.dot(X, b)) ** 2
        n = len(Y) - n_hyper
        return anp.sum(errors[:n]) + anp.sum(hyper * errors[n:]) + 0.5 * anp.sum(b**2)

    return engine.optimization_objective(objective, weighted_exact(np.ones(n_hyper)), np.ones(n_hyper), order=2)


def errors_of(path, exact):
    return np.max(np.abs(path.values - np.array([exact(h) for h in path.hypers])), axis=1)


class CountedFactors:
    """How often a Jacobian was formed."""

    def __init__(self, monkeypatch):
        self.n, original = 0, Problem.jacobian

        def jacobian(problem):
            self.n += 1
            return original(problem)

        monkeypatch.setattr(Problem, "jacobian", jacobian)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("penalty0", [1e-3, 1.0, 2.7e3, 1e5], ids=["low end", "inside", "off the grid", "beyond"])
def test_ridge_path_is_good_to_tol_everywhere(tol, penalty0):
    path = follow_path(ridge(penalty0), np.geomspace(1e-3, 1e4, 150), tol)
    errors = errors_of(path, ridge_exact)
    assert np.all(errors <= tol)
    assert np.all(path.error_estimates <= tol)
    assert np.all(errors <= 10.0 * path.error_estimates + 1e-14)
    assert path.change_of_variable == "log" and path.n_expansions >= len(path.base_points) > 1


def test_dense_output_between_grid_points_is_good_to_tol():
    path = follow_path(ridge(30.0), np.geomspace(1e-2, 1e3, 4), 1e-9)
    t = np.geomspace(1e-2, 1e3, 301)
    exact = np.array([ridge_exact(p) for p in t])
    assert np.max(np.abs(path(t) - exact)) <= 1e-9
    assert np.array_equal(path(t[17]), path(t[17:18])[0])
    np.testing.assert_array_equal(path(path.t), path.values)
    for outside in (0.9e-2, 1.1e3, -1.0, np.nan):
        with pytest.raises(ValueError, match="not on the path"):
            path(outside)


def test_order_given_is_order_returned():
    penalties = np.array([5.0, 0.1, 300.0, 0.1, 2.0, 300.0, 2.0])
    path = follow_path(ridge(2.0), penalties, 1e-9)
    assert np.all(errors_of(path, ridge_exact) <= 1e-9)
    np.testing.assert_array_equal(path.hypers[:, 0], penalties)
    np.testing.assert_array_equal(path.values[1], path.values[3])
    column = follow_path(ridge(2.0), penalties[:, None], 1e-9)
    np.testing.assert_array_equal(path.values, column.values)
    np.testing.assert_array_equal(path.t, penalties)


def test_the_base_point_alone_is_a_path():
    path = follow_path(ridge(2.0), [2.0], 1e-9)
    np.testing.assert_allclose(path.values[0], ridge_exact(2.0), rtol=0, atol=1e-12)
    assert path.n_expansions == 1


def test_change_of_variable_changes_the_expansions():
    grid = np.geomspace(1e-2, 1e3, 50)
    log, auto, raw = (follow_path(ridge(1.0), grid, 1e-8, change_of_variable=c) for c in ("log", "auto", None))
    assert [p.change_of_variable for p in (log, auto, raw)] == ["log", "log", None]
    np.testing.assert_array_equal(log.values, auto.values)
    assert len(log.base_points) < len(raw.base_points)
    for path in (log, raw):
        assert np.all(errors_of(path, ridge_exact) <= 1e-8)


def test_auto_takes_the_hyper_itself_where_one_is_not_positive():
    path = follow_path(ridge(1.0), [0.0, 0.5, 1.0], 1e-8)
    assert path.change_of_variable is None
    assert np.all(errors_of(path, ridge_exact) <= 1e-8)


def test_log_of_several_hypers():
    path = follow_path(weighted(2), np.geomspace([1.0, 1.0], [1e-2, 5.0], 20), 1e-9, change_of_variable="log")
    assert np.all(errors_of(path, weighted_exact) <= 1e-9)
    assert np.all(np.diff(path.t) > 0.0) and path.t[-1] == pytest.approx(np.hypot(np.log(100.0), np.log(5.0)))


def test_leaving_observations_out_along_a_line():
    grid = np.linspace(1.0, 0.0, 21)[:, None] * np.ones(6)
    path = follow_path(weighted(6), grid, 1e-10)
    assert path.change_of_variable is None
    assert np.all(errors_of(path, weighted_exact) <= 1e-10)
    assert path.t[-1] == pytest.approx(np.sqrt(6.0))
    middle = weighted_exact(np.full(6, 0.375))
    assert np.max(np.abs(path(0.625 * np.sqrt(6.0)) - middle)) <= 1e-10


def test_a_line_through_the_base_point_is_walked_both_ways():
    grid = np.outer([3.0, -0.5, 0.0, 8.0], [1.0, -0.1, 0.05]) + 1.0
    path = follow_path(weighted(3), grid, 1e-10)
    assert np.all(errors_of(path, weighted_exact) <= 1e-10)
    assert path.t[2] == 0.0 and np.sign(path.t[1]) == -np.sign(path.t[0])


POLYLINES = {
    "corners": [[3.0, 1.0], [3.0, 4.0], [0.0, 4.0], [0.0, 4.0], [0.0, 0.5]],
    "there and back": [[3.0, 2.0], [1.0, 0.5], [3.0, 2.0]],
    "line off the base point": [[4.0, 0.5], [2.0, 0.5], [0.0, 0.5], [3.0, 0.5]],
    "back to the start": [[2.0, 3.0], [0.2, 0.4], [1.0, 1.0]],
}


@pytest.mark.parametrize("name", POLYLINES)
def test_polyline(name):
    path = follow_path(weighted(2), POLYLINES[name], 1e-9)
    assert np.all(errors_of(path, weighted_exact) <= 1e-9)
    np.testing.assert_allclose(path(path.t), path.values, rtol=0, atol=2e-9)


def test_dense_output_on_a_polyline():
    path = follow_path(weighted(2), [[3.0, 1.0], [3.0, 4.0]], 1e-10)
    np.testing.assert_allclose(path.t, [2.0, 5.0])
    for t, hyper in ((0.5, [1.5, 1.0]), (2.75, [3.0, 1.75]), (5.0, [3.0, 4.0])):
        assert np.max(np.abs(path(t) - weighted_exact(np.array(hyper)))) <= 1e-10


def test_base_points_are_solutions():
    path = follow_path(ridge(1.0), np.geomspace(1e-3, 1e3, 10), 1e-9)
    assert [p.t for p in path.base_points] == sorted(p.t for p in path.base_points)
    assert path.base_points[0].range[0] == pytest.approx(1e-3) and path.base_points[-1].range[1] == pytest.approx(1e3)
    for point, following in zip(path.base_points, [*path.base_points[1:], None], strict=True):
        assert np.max(np.abs(point.value - ridge_exact(point.hyper))) <= 1e-10
        assert point.t == pytest.approx(point.hyper[0])
        assert following is None or following.range[0] <= point.range[1] * (1.0 + 1e-12)


# ---- folds and singular points ----


def fold(x, h):
    return x**2 + h


def test_a_fold_stops_the_path_with_the_path_so_far():
    expansion = engine(fold, [1.0], [-1.0], order=2)
    hypers = np.array([-0.9, -0.1, -1e-3, 0.5])
    with pytest.raises(PathError, match="the path stops at hyper .* singular values of the Jacobian from") as caught:
        follow_path(expansion, hypers, 1e-8)
    path = caught.value.path
    assert abs(path.base_points[-1].hyper[0]) < 1e-4
    assert np.max(np.abs(path.values[:3, 0] - np.sqrt(-hypers[:3]))) <= 1e-8
    assert np.isnan(path.values[3, 0]) and np.isinf(path.error_estimates[3])
    assert path(-0.05)[0] == pytest.approx(np.sqrt(0.05), abs=1e-8)


def test_the_fold_itself_is_not_reached_but_what_is_near_it_is():
    expansion = engine(fold, [1.0], [-1.0], order=2)
    near = follow_path(expansion, [-1e-3], 1e-8)
    assert near.values[0, 0] == pytest.approx(np.sqrt(1e-3), abs=1e-8)
    with pytest.raises(PathError):
        follow_path(expansion, [0.0], 1e-8)


def test_a_minimum_that_meets_a_maximum_stops_the_path():
    expansion = engine.optimization_objective(lambda x, h: anp.sum(x**3 / 3.0 + h * x), [1.0], [-1.0], order=2)
    with pytest.raises(PathError, match="eigenvalues of the Hessian from"):
        follow_path(expansion, [-0.5, 1.0], 1e-8)


def test_a_minimum_that_becomes_a_saddle_stops_the_path():
    """x = 0 is a solution for all h, a minimum for h < 0 only; y follows h all the way."""

    def pitchfork(z, h):
        return z[0] ** 4 / 4.0 - h[0] * z[0] ** 2 / 2.0 + 0.5 * (z[1] - h[0]) ** 2

    expansion = engine.optimization_objective(pitchfork, [0.0, -1.0], [-1.0], order=2)
    with pytest.raises(PathError, match="not positive definite") as caught:
        follow_path(expansion, [-0.5, 1.0], 1e-8)
    assert caught.value.path.values[0] == pytest.approx([0.0, -0.5], abs=1e-8)
    assert np.isnan(caught.value.path.values[1]).all()
    assert caught.value.path.base_points[-1].hyper[0] < 0.0


def test_a_domain_that_ends_stops_the_path():
    expansion = engine(lambda x, h: anp.log(x) - anp.log(1.0 - h), [1.0], [0.0], order=2)
    with pytest.raises(PathError):
        follow_path(expansion, [0.5, 1.5], 1e-8)


# ---- harder models ----


@pytest.mark.parametrize("tol", [1e-5, 1e-9])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_model_is_followed_to_tol(model, tol):
    path = follow_path(model.expand(2), model.hyper_val0 + np.outer(np.linspace(-1.0, 3.0, 9), model.step), tol)
    errors = errors_of(path, model.exact)
    assert np.all(errors <= tol) and np.all(path.error_estimates <= tol)
    assert np.all(errors <= 2.0 * path.error_estimates)


def test_lambert_w_over_decades_against_mpmath():
    hypers = np.geomspace(1e-2, 1e6, 60)
    expansion = engine(lambda x, h: x * anp.exp(x) - h, [1.0], [np.e], order=4)
    path = follow_path(expansion, hypers, 1e-10)
    exact = np.array([float(mpmath.lambertw(h)) for h in hypers])
    assert np.max(np.abs(path.values[:, 0] - exact)) <= 1e-10


def test_the_branch_is_kept_where_another_solution_is_near():
    """x^3 - 3 d^2 x + h = 0 has three roots; the largest is followed past where the others meet, h = -2 d^3."""
    d = 0.3
    expansion = engine(lambda x, h: x**3 - 3.0 * d**2 * x + h, [np.sqrt(3.0) * d], [0.0], order=2)
    hypers = np.linspace(0.0, -1.0, 30)
    path = follow_path(expansion, hypers, 1e-9)
    exact = [max(np.roots([1.0, 0.0, -3.0 * d**2, h]).real) for h in hypers]
    assert np.max(np.abs(path.values[:, 0] - exact)) <= 1e-9


def test_logistic_ridge_path_against_newton():
    y = (uniform(40, start=0.3) < expit(X @ np.array([0.5, 1.0, -1.0, 0.0, 0.5]))).astype(float)

    def objective(b, penalty):
        z = anp.dot(X, b)
        return anp.sum(anp.logaddexp(0.0, z) - y * z) + 0.5 * penalty[0] * anp.sum(b**2)

    def gradient(b, h):
        return X.T @ (expit(X @ b) - y) + h * b

    def hessian(b, h):
        p = expit(X @ b)
        return (X.T * (p * (1.0 - p))) @ X + h * np.eye(5)

    def exact(h):
        return solve_newton(gradient, hessian, np.zeros(5), float(h[0]))

    # solved loosely: the path polishes its own first base point
    start = exact([10.0]) + 1e-7
    expansion = engine.optimization_objective(objective, start, [10.0], order=2, optimum_tol=1e-4)
    path = follow_path(expansion, np.geomspace(1e-2, 1e3, 80), 1e-10)
    assert np.all(errors_of(path, exact) <= 1e-10)


def test_a_net_whose_series_diverges_is_followed():
    x, y = normal(30, 2, start=0.1), np.sin(2.0 * normal(30, start=0.35))

    def net(z, penalty):
        hidden = anp.tanh(anp.dot(x, z[:8].reshape(2, 4)) + z[8:12])
        return 0.5 * anp.sum((y - anp.dot(hidden, z[12:16]) - z[16]) ** 2) + 0.5 * penalty[0] * anp.sum(z**2)

    gradient, hessian = autograd.grad(net), autograd.hessian(net)
    penalty0 = np.array([0.03])
    start = descend(net, gradient, hessian, 0.5 * normal(17, start=0.2), penalty0)
    expansion = engine.optimization_objective(net, start, penalty0, order=8)
    value = start
    for penalty in np.linspace(penalty0, 1.5 * penalty0, 26)[1:]:
        value = solve_newton(gradient, hessian, value, penalty)
    terms = np.max(np.abs(expansion.evaluate_taylor_series_terms(1.5 * penalty0)), axis=1)
    assert terms[8] > terms[4]  # the series diverges
    path = follow_path(expansion, [1.5 * penalty0], 1e-8)
    assert np.max(np.abs(path.values[0] - value)) <= 1e-8
    assert len(path.base_points) > 1


def descend(objective, gradient, hessian, start, hyper):
    """A minimum, by Newton steps with a shifted Hessian that go down."""
    value = start
    for _ in range(300):
        g, h = gradient(value, hyper), hessian(value, hyper)
        least = np.linalg.eigvalsh(h)[0]
        step = np.linalg.solve(h + max(0.0, 1e-3 - 1.5 * least) * np.eye(len(g)), g)
        t = 1.0
        while t > 1e-12 and not objective(value - t * step, hyper) <= objective(value, hyper):
            t /= 2.0
        value = value - t * step
        if np.max(np.abs(step)) < 1e-10 and least > 0.0:
            return value
    raise RuntimeError("no minimum found")


def test_nested_inputs_are_flattened():
    def objective(z, penalty):
        return 0.5 * anp.sum((Y - z["a"] - anp.dot(X[:, 1:], z["b"])) ** 2) + 0.5 * penalty * (
            z["a"] ** 2 + anp.sum(z["b"] ** 2)
        )

    value = ridge_exact(1.0)
    expansion = engine.optimization_objective(objective, {"a": value[0], "b": value[1:]}, 1.0, order=2)
    path = follow_path(expansion, [0.1, 10.0, 100.0], 1e-9)
    assert np.all(errors_of(path, ridge_exact) <= 1e-9)


def test_a_walk_over_many_ranges_in_the_raw_variable():
    """x = 1 / h from h = 1e-8 to 1: a series in units of the way overflows, the first range is 1e-8 of it."""
    hypers = np.geomspace(1e-8, 1.0, 9)
    expansion = engine(lambda x, h: x * h - 1.0, [1e8], [1e-8], order=2)
    path = follow_path(expansion, hypers, 1e-4, change_of_variable=None, order=24)
    assert np.max(np.abs(path.values[:, 0] - 1.0 / hypers)) <= 1e-4


# ---- options ----


def test_matrix_free_paths_form_no_matrix(monkeypatch):
    def objective(b, penalty):
        return 0.5 * anp.sum((Y - anp.dot(X, b)) ** 2) + 0.5 * penalty[0] * anp.sum(b**2)

    expansion = engine.optimization_objective(objective, ridge_exact(1.0), [1.0], order=2, solver="cg")
    counted = CountedFactors(monkeypatch)
    path = follow_path(expansion, np.geomspace(0.1, 10.0, 7), 1e-7)
    assert np.all(errors_of(path, ridge_exact) <= 1e-7)
    assert counted.n == 0 and len(path.base_points) > 1


def test_the_given_base_point_is_not_factored_again(monkeypatch):
    expansion = ridge(1.0)
    counted = CountedFactors(monkeypatch)
    path = follow_path(expansion, np.geomspace(1e-2, 1e2, 9), 1e-8)
    assert counted.n <= path.n_expansions + 1  # the first has its factor; both ends are shown to be minima


def test_order_and_max_expansions():
    grid = np.geomspace(1e-2, 1e2, 9)
    low, high = (follow_path(ridge(1.0), grid, 1e-8, order=k) for k in (4, 18))
    assert (low.order, high.order) == (4, 18) and len(low.base_points) > len(high.base_points)
    for path in (low, high):
        assert np.all(errors_of(path, ridge_exact) <= 1e-8)
    with pytest.raises(PathError, match="max_expansions=3") as caught:
        follow_path(ridge(1.0), grid, 1e-8, order=4, max_expansions=3)
    done = np.isfinite(caught.value.path.error_estimates)
    assert 0 < done.sum() < len(grid)
    assert np.all(errors_of(caught.value.path, ridge_exact)[done] <= 1e-8)


@pytest.mark.parametrize(
    "hypers, options, error, message",
    [
        ([], {}, ShapeError, "at least one hyper"),
        (np.ones((2, 3)), {}, ShapeError, r"\(n, 1\) is needed"),
        ([1.0, np.nan], {}, NonFiniteError, r"hypers\[1\]"),
        ([1.0, np.inf], {}, NonFiniteError, "1 of 2"),
        ([2.0], {"tol": 0.0}, ValueError, "tol must be positive"),
        ([2.0], {"tol": -1.0}, ValueError, "tol must be positive"),
        ([2.0], {"tol": np.nan}, ValueError, "tol must be positive"),
        ([2.0], {"tol": 1e-17}, ValueError, "below rounding"),
        ([0.0, 2.0], {"change_of_variable": "log"}, ValueError, "the least of hypers is 0"),
        ([2.0], {"change_of_variable": "sqrt"}, ValueError, "'sqrt' is not known"),
        ([2.0], {"order": 1}, ValueError, "order must be"),
        ([2.0], {"order": 2.5}, ValueError, "order must be"),
    ],
)
def test_bad_input(hypers, options, error, message):
    with pytest.raises(error, match=message):
        follow_path(ridge(1.0), hypers, **{"tol": 1e-8, **options})


def test_log_of_a_base_point_that_is_not_positive():
    expansion = engine(lambda x, h: x - h, [-1.0], [-1.0], order=1)
    with pytest.raises(ValueError, match="the expansion's hyper is -1"):
        follow_path(expansion, [1.0], 1e-8, change_of_variable="log")


def test_only_expansions_with_their_function_can_be_followed():
    with pytest.raises(TypeError, match="not a int"):
        follow_path(3, [1.0], 1e-8)


def test_errors_are_of_the_package():
    assert issubclass(PathError, VittlesError) and issubclass(PathError, RuntimeError)


@pytest.mark.parametrize("tol", [1e-3, 1e-5, 1e-6, 1e-8, 1e-10])
def test_ten_decades_of_lambert_w(tol):
    # terms that decay unevenly: what is left unpolished in the coefficients must not spoil estimates or stop the walk
    expansion = vn.ParametricSensitivityTaylorExpansion(lambda x, h: x * anp.exp(x) - h, [1.0], [np.e], 6)
    hypers = np.geomspace(0.01, 1e8, 200)
    path = vn.follow_path(expansion, hypers, tol)
    error = np.abs(path.values[:, 0] - lambertw(hypers).real)
    assert np.max(error) <= tol
    assert np.max(error / path.error_estimates) <= 10.0
