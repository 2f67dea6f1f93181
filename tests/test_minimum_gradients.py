"""Gradients of minima: three estimators, their rates, their costs, and what they are used for."""

import tracemalloc

import autograd.numpy as anp
import mpmath
import numpy as np
import pytest
from autograd import grad
from scipy.optimize import root

from vittles_ng.errors import (
    DivergenceError,
    IndependentError,
    MismatchError,
    NonFiniteError,
    NonSmoothError,
    NotASolutionError,
    NotPositiveDefiniteError,
    ShapeError,
    SizeError,
)
from vittles_ng.minimum_gradients import (
    Accelerated,
    Newton,
    StochasticGradientDescent,
    analytic_gradient,
    automatic_gradient,
    compare,
    implicit_gradient,
    outer_descent,
)
from vittles_ng.minimum_gradients.methods import linear_coefficients
from vittles_ng.solvers import cg
from vittles_ng.unrolling import Chebyshev, GradientDescent, HeavyBall, ProximalGradient

NAMES = ("analytic", "automatic", "implicit")

# ---------------------------------------------------------------- models


class Logistic:
    """A logistic regression with a log penalty for each coefficient; its derivatives written out."""

    def __init__(self, n_obs=60, n_input=3, penalty=0.02, seed=0):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n_obs, n_input))
        y = np.sign(X @ np.linspace(1.5, -1.0, n_input) + rng.logistic(size=n_obs))
        self.A, self.n_obs = X * y[:, None], n_obs
        self.z0, self.x = np.zeros(n_input), np.log(penalty) + 0.1 * np.arange(n_input)

    def objective(self, z, x):
        return anp.mean(anp.logaddexp(0.0, -anp.dot(self.A, z))) + 0.5 * anp.sum(anp.exp(x) * z**2)

    def of_observations(self, z, x, indices):
        return anp.mean(anp.logaddexp(0.0, -anp.dot(self.A[indices], z))) + 0.5 * anp.sum(anp.exp(x) * z**2)

    def gradient(self, z, x, rows=slice(None)):
        A = self.A[rows]
        return -A.T @ (1.0 / (1.0 + np.exp(A @ z))) / len(A) + np.exp(x) * z

    def hessian(self, z, x):
        s = 1.0 / (1.0 + np.exp(self.A @ z))
        return (self.A.T * (s * (1.0 - s))) @ self.A / self.n_obs + np.diag(np.exp(x))

    def solved(self, x):
        z = self.z0
        for _ in range(60):
            z = z - np.linalg.solve(self.hessian(z, x), self.gradient(z, x))
        return z

    def minimum(self, x):
        return float(self.objective(self.solved(x), x))

    def spectrum(self):
        ends = np.linalg.eigvalsh(self.hessian(self.solved(self.x), self.x))
        return ends[0], np.linalg.eigvalsh(self.hessian(self.z0, self.x))[-1]


def logistic_run(model, method, x, n_iterations):
    """The last iterate, by the formulas of each method."""
    z = previous = model.z0
    if isinstance(method, StochasticGradientDescent):
        indices = method.indices(n_iterations)
    for t in range(n_iterations):
        if isinstance(method, Newton):
            z = z - np.linalg.solve(model.hessian(z, x), model.gradient(z, x))
        elif isinstance(method, StochasticGradientDescent):
            h = method.step_size / (1.0 + t / method.delay) ** method.power
            z = z - h * model.gradient(z, x, indices[t])
        elif isinstance(method, Accelerated):
            y = z + (method.momentum * (z - previous) if t else 0.0)
            z, previous = y - method.step_size * model.gradient(y, x), z
        else:
            h, m, _ = linear_coefficients(method, n_iterations)
            z, previous = z - h[t] * model.gradient(z, x) + m[t] * (z - previous), z
    return z


def finite_differences(function, x, step=1e-5):
    """Central differences with one Richardson extrapolation."""

    def central(h):
        return np.array([(function(x + h * e) - function(x - h * e)) / (2.0 * h) for e in np.eye(len(x))])

    return (4.0 * central(step / 2) - central(step)) / 3.0


def quadratic(seed=0, n=4, q=3):
    """``z.A z / 2 - z.(B x + c) + x.C x / 2``, its matrices, and the gradient of its minimum."""
    rng = np.random.default_rng(seed)
    A, B, c, C = rng.standard_normal((n, n)), rng.standard_normal((n, q)), rng.standard_normal(n), np.eye(q)
    A = A @ A.T + np.eye(n)

    def objective(z, x):
        return 0.5 * anp.dot(z, anp.dot(A, z)) - anp.dot(z, anp.dot(B, x) + c) + 0.5 * anp.dot(x, anp.dot(C, x))

    return objective, A, B, lambda x: C @ x - B.T @ np.linalg.solve(A, B @ x + c)


def method_of(name, spectrum=(0.1, 0.4), n_obs=60):
    low, high = spectrum
    return {
        "gradient descent": GradientDescent(1.0 / high),
        "heavy ball": HeavyBall(1.0 / high, 0.5),
        "accelerated": Accelerated(1.0 / high, 0.5),
        "Chebyshev": Chebyshev(low, high),
        "Newton": Newton(),
        "stochastic": StochasticGradientDescent(2.0, n_obs, power=0.8, delay=3.0, batch_size=5, seed=4),
    }[name]


METHODS = ("gradient descent", "heavy ball", "accelerated", "Chebyshev", "Newton", "stochastic")


def objective_for(model, method):
    return model.of_observations if isinstance(method, StochasticGradientDescent) else model.objective


# ---------------------------------------------------------------- at one point


def test_analytic_and_implicit_of_a_quadratic(rng):
    objective, A, B, exact = quadratic()
    z, x = rng.standard_normal(4), rng.standard_normal(3)
    result = analytic_gradient(objective, z, x)
    assert np.allclose(result.gradient, x - B.T @ z, atol=1e-13)
    assert (result.n_gradients, result.n_products, result.cost, result.memory_bytes) == (1, 0, 1, 32)
    # its minimum is quadratic too: the implicit one is exact from anywhere
    result = implicit_gradient(objective, z, x)
    assert np.allclose(result.gradient, exact(x), atol=1e-12)
    assert (result.n_gradients, result.n_products, result.cost) == (1, 5, 11)
    assert np.array_equal(result.input_val, z)


@pytest.mark.parametrize("name", ["gradient descent", "heavy ball", "accelerated", "Chebyshev"])
def test_all_errors_of_a_quadratic_are_known(name):
    """``z_t - z* = P_t(A) (z_0 - z*)`` and ``J_t - J* = -P_t(A) J*``, P_t the method's residual polynomial."""
    objective, A, B, exact = quadratic()
    values, vectors = np.linalg.eigh(A)
    method = method_of(name, values[[0, -1]])
    h, m, b = linear_coefficients(method, 25)
    before = P = np.ones(4)
    polynomials = [P]
    for t in range(25):
        y = P + b[t] * (P - before)
        P, before = P + m[t] * (P - before) - h[t] * values * y, P
        polynomials.append(P)
    z0, x = np.ones(4), np.array([1.0, -0.5, 2.0])
    jacobian = np.linalg.solve(A, B)
    c = A @ z0 - grad(objective)(z0, x) - B @ x
    away = z0 - np.linalg.solve(A, B @ x + c)
    run = compare(objective, z0, x, method, 25)
    for t, P in enumerate(polynomials):
        P = (vectors * P) @ vectors.T
        assert run.input_errors[t] == pytest.approx(np.linalg.norm(P @ away), abs=1e-13)
        assert run.jacobian_errors[t] == pytest.approx(np.linalg.norm(P @ jacobian), abs=1e-13)
        analytic, automatic = -B.T @ P @ away, -(jacobian.T @ P) @ A @ P @ away
        assert np.allclose(run.gradients["analytic"][t] - run.exact_gradient, analytic, atol=1e-12)
        assert np.allclose(run.gradients["automatic"][t] - run.exact_gradient, automatic, atol=1e-12)
        assert run.errors["implicit"][t] < 1e-12
    assert np.allclose(run.exact_gradient, x - B.T @ np.linalg.solve(A, B @ x + c), atol=1e-12)


def test_rates_where_an_estimator_is_exact():
    run = compare(lambda z, x: 0.5 * anp.sum(x * (z - 1.0) ** 2), np.zeros(2), [1.0, 2.0], GradientDescent(0.45), 40)
    rate = -np.log(0.55)
    assert run.rates()["input"] == pytest.approx(rate, rel=0.01)
    objective, A, B, exact = quadratic()
    method = GradientDescent.fastest(*np.linalg.eigvalsh(A)[[0, -1]])
    rates = compare(objective, np.ones(4), np.ones(3), method, 60).rates()
    assert rates["implicit"] == np.inf
    assert [rates["analytic"] / rates["input"], rates["automatic"] / rates["input"]] == pytest.approx([1, 2], rel=0.01)
    # of an ill-conditioned Hessian the solve leaves rounding that is not a rate
    scale = np.array([1.0, 1e7])
    stiff = lambda z, x: 0.5 * anp.sum(scale * (z - x) ** 2) + 0.5 * (z[0] + z[1] - x[0]) ** 2  # noqa: E731
    rates = compare(stiff, np.zeros(2), np.ones(2), GradientDescent(1e-7), 40).rates()
    assert rates["implicit"] == np.inf
    run = compare(lambda z, x: 0.5 * anp.sum(z**2) + x[0], np.ones(2), np.ones(1), GradientDescent(0.5), 20)
    assert run.rates() == pytest.approx({"input": np.log(2.0), **dict.fromkeys(NAMES, np.inf)})


def test_minimum_that_is_given_inexactly_is_improved():
    model = Logistic()
    z = model.solved(model.x)
    nearly = z + 3e-7 * (1.0 + np.abs(z))
    run = compare(model.objective, model.z0, model.x, GradientDescent(2.0), 200, at=[200], exact_input=nearly)
    jacobian = -np.linalg.solve(model.hessian(z, model.x), np.diag(np.exp(model.x) * z))
    assert np.allclose(run.exact_input, z, atol=1e-14)
    assert np.allclose(run.exact_gradient, 0.5 * np.exp(model.x) * z**2, atol=1e-15)
    assert run.jacobian_errors[0] < 1e-12 * np.linalg.norm(jacobian)


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e150, 1e200])
def test_truncated_conjugate_gradients_in_any_units(scale):
    w = np.arange(1.0, 4.0)
    objective = lambda z, x: scale * anp.sum(0.5 * w * (z - x) ** 2 + 0.5 * z**2)  # noqa: E731
    found = implicit_gradient(objective, np.array([0.6, 0.7, 0.7]), np.ones(3), "cg", n_steps=3)
    assert np.allclose(found.gradient / scale, w / (1.0 + w), rtol=1e-12)
    at_minimum = implicit_gradient(objective, w / (1.0 + w), np.ones(3), "cg", n_steps=3)
    assert np.allclose(at_minimum.gradient / scale, w / (1.0 + w), rtol=1e-12)


def test_implicit_of_a_logistic_regression_by_the_formula():
    model = Logistic()
    z = model.solved(model.x) + 0.1
    expected = 0.5 * np.exp(model.x) * z**2 - np.exp(model.x) * z * np.linalg.solve(
        model.hessian(z, model.x), model.gradient(z, model.x)
    )
    for solver in ("cholesky", "cg", cg(rtol=1e-13)):
        found = implicit_gradient(model.objective, z, model.x, solver)
        assert np.allclose(found.gradient, expected, rtol=1e-11), solver


@pytest.mark.parametrize("n_steps", range(6))
def test_truncated_conjugate_gradients_minimise_over_the_krylov_space(rng, n_steps):
    objective, A, B, exact = quadratic(n=5)
    z, x = rng.standard_normal(5), rng.standard_normal(3)
    right = A @ z - (grad(objective, 0)(np.zeros(5), x) * -1.0)
    solution = np.zeros(5)
    if n_steps:
        basis = np.linalg.qr(np.stack([np.linalg.matrix_power(A, k) @ right for k in range(n_steps)], axis=1))[0]
        solution = basis @ np.linalg.solve(basis.T @ A @ basis, basis.T @ right)
    found = implicit_gradient(objective, z, x, solver="cg", n_steps=n_steps)
    assert np.allclose(found.gradient, x - B.T @ z + B.T @ solution, rtol=1e-8, atol=1e-9)
    assert found.n_products == n_steps + 1


def test_more_steps_than_inputs_stop_at_the_solution():
    found = implicit_gradient(lambda z, x: 0.5 * anp.sum((z - x) ** 2), np.ones(3), np.zeros(3), "cg", n_steps=50)
    assert np.allclose(found.gradient, 0.0, atol=1e-15)
    assert found.n_products == 2  # the Hessian is the identity: one step, and the product with the solution


# ---------------------------------------------------------------- through the iterations


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("n_iterations", [0, 1, 2, 7])
def test_automatic_against_finite_differences(name, n_iterations):
    model = Logistic(penalty=0.1)
    method = method_of(name)
    n_iterations = min(n_iterations, 4) if name == "Newton" else n_iterations

    def value(x):
        return float(model.objective(logistic_run(model, method, x, n_iterations), x))

    expected = finite_differences(value, model.x, 1e-3)
    for options in ({"mode": "forward"}, {"mode": "reverse"}, {"n_checkpoints": 2}):
        found = automatic_gradient(objective_for(model, method), model.z0, model.x, method, n_iterations, **options)
        assert np.allclose(found.gradient, expected, rtol=1e-8, atol=1e-10), options
        assert np.allclose(found.input_val, logistic_run(model, method, model.x, n_iterations), atol=1e-13)


@pytest.mark.parametrize("name", ["gradient descent", "accelerated", "Newton"])
def test_automatic_in_one_variable_against_mpmath(name):
    h, m, n_iterations = 0.5, 0.3, 4
    method = {"gradient descent": GradientDescent(h), "accelerated": Accelerated(h, m), "Newton": Newton()}[name]

    def objective(z, x):
        return anp.log(1.0 + anp.exp(-z[0] * x[0])) + 0.5 * x[0] ** 2 * z[0] ** 2

    with mpmath.workdps(40):

        def exact(x):
            L = lambda z: mpmath.log(1 + mpmath.exp(-z * x)) + x**2 * z**2 / 2  # noqa: E731
            first = lambda z: -x / (1 + mpmath.exp(z * x)) + x**2 * z  # noqa: E731
            z = before = mpmath.mpf("0.3")
            for t in range(n_iterations):
                if name == "Newton":
                    s = 1 / (1 + mpmath.exp(z * x))
                    z = z - first(z) / (x**2 * s * (1 - s) + x**2)
                else:
                    y = z + (mpmath.mpf(m) * (z - before) if t and name == "accelerated" else 0)
                    z, before = y - h * first(y), z
            return L(z)

        expected = float(mpmath.diff(exact, mpmath.mpf("1.2")))
    for mode in ("forward", "reverse"):
        found = automatic_gradient(objective, [0.3], [1.2], method, n_iterations, mode=mode)
        assert abs(found.gradient[0] - expected) <= 1e-14


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_newton_does_not_depend_on_the_units_of_another_input(mode, unit):
    """The second input, which the hyper has no part in, in any units; the first by the derivative of its one step."""

    def objective(z, x):
        apart = anp.logaddexp(0.0, -z[1] / unit) + 0.5 * (z[1] / unit) ** 2
        return z[0] ** 3 / 3.0 + 0.5 * anp.exp(x[0]) * z[0] ** 2 - z[0] + apart

    z, w = 0.7, 0.5
    step = (z**2 + w * z - 1.0) / (2.0 * z + w)
    last, slope = z - step, (step - z) / (2.0 * z + w)
    expected = w * (0.5 * last**2 + (last**2 + w * last - 1.0) * slope)
    found = automatic_gradient(objective, [z, 2.0 * unit], [np.log(w)], Newton(), 1, mode)
    assert found.gradient == pytest.approx([expected], rel=1e-14)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_newton_at_a_jump_of_the_third_derivative(mode):
    objective = lambda z, x: anp.sum(anp.abs(z) ** 3) + 0.5 * anp.sum((z - x) ** 2)  # noqa: E731
    with pytest.raises(NonSmoothError):
        automatic_gradient(objective, np.zeros(1), np.ones(1), Newton(), 1, mode)


@pytest.mark.parametrize("name", METHODS)
def test_modes_and_comparison_agree_in_value_and_cost(name):
    model, n_iterations = Logistic(penalty=0.1), 5
    method = method_of(name)
    objective = objective_for(model, method)
    run = compare(objective, model.z0, model.x, method, n_iterations, at=[0, 1, n_iterations])
    for i, t in enumerate(run.iterations):
        for mode in ("forward", "reverse"):
            one = automatic_gradient(objective, model.z0, model.x, method, int(t), mode=mode)
            assert np.allclose(one.gradient, run.gradients["automatic"][i], rtol=1e-10, atol=1e-14)
            assert one.cost == pytest.approx(run.costs[f"automatic_{mode}"][i])
            # forward mode holds a state of momentum only where there is a second step
            if t > 1:
                assert one.memory_bytes == run.memory_bytes[f"automatic_{mode}"][i]
    last = logistic_run(model, method, model.x, n_iterations)
    at_last = [function(model.objective, last, model.x) for function in (analytic_gradient, implicit_gradient)]
    for estimate, which in zip(at_last, ("analytic", "implicit"), strict=True):
        assert np.allclose(estimate.gradient, run.gradients[which][-1], rtol=1e-10)
    assert run.costs["implicit"][-1] - run.costs["analytic"][-1] == at_last[1].cost - at_last[0].cost


def test_reverse_memory_grows_and_forward_and_checkpoints_do_not():
    model = Logistic()
    method, memory = GradientDescent(1.0), {}
    for n_iterations in (10, 40):
        for options in ({}, {"mode": "forward"}, {"n_checkpoints": 3}):
            found = automatic_gradient(model.objective, model.z0, model.x, method, n_iterations, **options)
            memory.setdefault(str(options), []).append((found.memory_bytes, found.cost))
    ((few, _), (many, cost)), flat, (held_few, held_many) = memory.values()
    assert many == 4 * few == 40 * model.z0.nbytes
    assert flat[0][0] == flat[1][0]
    assert held_few[0] == held_many[0] == 3 * model.z0.nbytes and held_many[1] > cost


def peak_bytes(run):
    """Bytes allocated at one time, and what was counted."""
    run()
    tracemalloc.start()
    try:
        counted = run().memory_bytes
        return tracemalloc.get_traced_memory()[1], counted
    finally:
        tracemalloc.stop()


def separable(n):
    w = np.linspace(1.0, 2.0, n)
    objective = lambda z, x: anp.sum(w * anp.log(anp.cosh(z - x[0]))) + 0.5 * x[1] * anp.sum(z**2)  # noqa: E731
    return objective, np.zeros(n), np.array([0.5, 1.0])


@pytest.mark.parametrize("method", [GradientDescent(0.3), HeavyBall(0.3, 0.3)])
@pytest.mark.parametrize("options", [{}, {"mode": "forward"}, {"n_checkpoints": 4}])
def test_memory_that_grows_with_the_iterations_is_the_counted_one(method, options):
    problem, found = separable(2000), []
    for n_iterations in (5, 35):
        run = lambda T=n_iterations: automatic_gradient(*problem, method, T, **options)  # noqa: E731
        found.append(peak_bytes(run))
    measured, counted = np.subtract(*found[::-1])
    assert counted == (0 if options else 30 * 8 * 2000)
    assert abs(measured - counted) < 200_000


@pytest.mark.parametrize("method", [GradientDescent(0.3), HeavyBall(0.3, 0.3), Accelerated(0.3, 0.3), Newton()])
def test_memory_of_jacobians_is_the_counted_one(method):
    def objective(z, x):
        return 0.5 * anp.sum((z - 1.0) ** 2) + 0.5 * anp.sum(x) * anp.sum(z**2)

    n_input, n_hyper = (100, 1000) if isinstance(method, Newton) else (200, 1200)
    problem = objective, np.zeros(n_input), np.full(n_hyper, 0.2 / n_hyper)
    measured, counted = peak_bytes(lambda: automatic_gradient(*problem, method, 2, mode="forward"))
    assert counted == pytest.approx(measured, rel=0.25)


@pytest.mark.parametrize("mode", ["reverse", "forward", "implicit"])
def test_memory_of_dense_hessians_is_the_counted_one(mode):
    problem = separable(700)
    if mode == "implicit":
        measured, counted = peak_bytes(lambda: implicit_gradient(*problem))
    else:
        measured, counted = peak_bytes(lambda: automatic_gradient(*problem, Newton(), 2, mode=mode))
    assert counted == pytest.approx(measured, rel=0.15)


def test_gradients_counted_are_evaluations_of_the_objective():
    """But for the checks at the start: an evaluation and, with a method, a gradient."""
    objective, z, x = separable(5)
    calls = []

    def counting(z, x):
        calls.append(1)
        return objective(z, x)

    gd = GradientDescent(0.3)
    for run, n_checks in (
        (lambda: analytic_gradient(counting, z, x), 1),
        (lambda: implicit_gradient(counting, z, x), 1),
        (lambda: automatic_gradient(counting, z, x, gd, 30), 2),
        (lambda: automatic_gradient(counting, z, x, gd, 30, "forward"), 2),
        (lambda: automatic_gradient(counting, z, x, gd, 30, n_checkpoints=3), 2),
        (lambda: automatic_gradient(counting, z, x, Newton(), 3), 2),
        (lambda: outer_descent(counting, z, x, gd, 7, 1e-3, 1, "analytic"), 2),
        (lambda: outer_descent(counting, z, x, gd, 7, 1e-3, 1, "automatic"), 2),
        (lambda: outer_descent(counting, z, x, gd, 7, 1e-3, 1, "implicit"), 2),
    ):
        calls.clear()
        assert run().n_gradients + n_checks == len(calls)


def test_what_would_not_fit_in_memory_is_refused(monkeypatch):
    for module in ("minimum_gradients.chain", "unrolling.iteration"):
        monkeypatch.setattr(f"vittles_ng.{module}.memory_limit", lambda: 10_000)
    objective = lambda z, x: 0.5 * anp.sum(z**2) * anp.sum(x)  # noqa: E731
    few, many = (objective, np.ones(20), np.full(2, 0.5)), (objective, np.ones(20), np.full(100, 0.01))
    method = GradientDescent(0.1)
    assert automatic_gradient(*many, method, 60).gradient.shape == (100,)
    for run in (lambda: automatic_gradient(*many, method, 2, "forward"), lambda: compare(*many, method, 2)):
        with pytest.raises(SizeError, match="reverse mode"):
            run()
    with pytest.raises(SizeError, match="n_checkpoints=20"):
        automatic_gradient(*few, method, 80)
    for options in ({"n_checkpoints": 20}, {"mode": "forward"}):
        assert automatic_gradient(*few, method, 80, **options).gradient.shape == (2,)


def test_draws_are_counted_in_the_memory():
    model, memory = Logistic(), {}
    for batch_size in (1, 11):
        method = StochasticGradientDescent(0.1, 60, batch_size=batch_size)
        for mode in ("reverse", "forward"):
            found = automatic_gradient(model.of_observations, model.z0, model.x, method, 6, mode)
            memory.setdefault(mode, []).append(found.memory_bytes)
    assert [b - a for a, b in memory.values()] == [6 * 10 * 8] * 2


def test_nested_input_and_hyper_and_arguments_left_alone():
    def objective(z, x):
        return 0.5 * anp.sum((z["a"] - x[0]) ** 2) + 0.5 * (z["b"] - x[1][0]) ** 2 + 0.5 * anp.sum(z["a"] ** 2)

    start, hyper = {"b": 0.0, "a": np.zeros(2)}, (np.array([1.0, 2.0]), [3.0])
    result = automatic_gradient(objective, start, hyper, GradientDescent(0.4), 60)
    assert np.allclose(result.gradient, [0.5, 1.0, 0.0], atol=1e-12)
    assert np.allclose(result.input_val, [0.5, 1.0, 3.0])
    assert np.array_equal(start["a"], np.zeros(2)) and np.array_equal(hyper[0], [1.0, 2.0])
    near = {"b": 2.5, "a": np.ones(2)}
    assert np.allclose(implicit_gradient(objective, near, hyper).gradient, [0.5, 1.0, 0.0])
    assert np.allclose(analytic_gradient(objective, near, hyper).gradient, [0.0, 1.0, 0.5])


# ---------------------------------------------------------------- rates


def test_exact_minimum_and_gradient_against_finite_differences():
    model = Logistic()
    run = compare(model.objective, model.z0, model.x, GradientDescent(2.0), 30)
    assert np.allclose(run.exact_input, model.solved(model.x), atol=1e-13)
    assert np.allclose(run.exact_gradient, finite_differences(model.minimum, model.x, 1e-2), rtol=1e-8)
    nearly = model.solved(model.x) + 1e-7
    given = compare(model.objective, model.z0, model.x, GradientDescent(2.0), 30, exact_input=nearly)
    assert np.allclose(given.errors["automatic"], run.errors["automatic"], atol=1e-13)
    assert np.allclose(given.input_errors, run.input_errors, atol=1e-12)


RATES = {  # method from the spectrum, iterations
    "gradient descent": (lambda low, high: GradientDescent(1.0 / high), 160),
    "fast gradient descent": (lambda low, high: GradientDescent.fastest(low, high), 100),
    "heavy ball": (lambda low, high: HeavyBall(1.0 / high, 0.75), 150),
    "accelerated": (lambda low, high: Accelerated(1.0 / high, 0.8), 160),
}


@pytest.mark.parametrize("name", RATES)
def test_exponential_rates_on_logistic_regression(name):
    """Once, twice and twice the rate of the iterates, within 10%; the automatic one twice after its factor t."""
    model = Logistic(penalty=0.02)
    make, n_iterations = RATES[name]
    run = compare(
        model.objective, model.z0, model.x, make(*model.spectrum()), n_iterations, at=range(0, n_iterations, 2)
    )
    rates = run.rates()
    ratios = {key: rates[key] / rates["input"] for key in NAMES}
    assert ratios == pytest.approx({"analytic": 1.0, "automatic": 2.0, "implicit": 2.0}, rel=0.1)
    # what the theory says of each in full: e, e |J - J*| + e^2 and e^2
    jacobian_too = run.input_errors * (run.jacobian_errors + run.input_errors)
    bounds = {"analytic": run.input_errors, "automatic": jacobian_too, "implicit": run.input_errors**2}
    for key, bound in bounds.items():
        at = run.errors[key] > run.rounding[key]
        assert np.max(run.errors[key][at] / bound[at]) < 1.0, key


def test_automatic_estimator_of_gradient_descent_has_the_factor_t():
    model = Logistic(penalty=0.02)
    run = compare(model.objective, model.z0, model.x, GradientDescent(1.0 / model.spectrum()[1]), 120)
    at = (run.iterations > 30) & (run.errors["automatic"] > run.rounding["automatic"])
    t = run.iterations[at]
    slope, _ = np.polyfit(t, np.log(run.errors["automatic"][at] / t), 1)
    assert slope == pytest.approx(2.0 * np.polyfit(t, np.log(run.input_errors[at]), 1)[0], rel=0.01)


@pytest.mark.parametrize("kind", [HeavyBall, Accelerated])
@pytest.mark.parametrize(("n_input", "width", "n_iterations"), [(1, 25.0, 60), (3, 1.0, 20)])
def test_automatic_estimator_of_the_best_momentum_has_the_factor_t_squared(kind, n_input, width, n_iterations):
    """A double root at the smallest eigenvalue: the iterates' error has a factor t of its own, the Jacobian's t^3."""
    model = Logistic(n_input=n_input, penalty=0.1 if n_input == 1 else 0.02)
    ends = np.linalg.eigvalsh(model.hessian(model.solved(model.x), model.x))
    run = compare(model.objective, model.z0, model.x, kind.fastest(ends[0], width * ends[-1]), n_iterations)
    at = np.cumprod((run.errors["automatic"] > run.rounding["automatic"]) | (run.iterations == 0)).astype(bool)
    at &= run.iterations >= np.sum(at) // 2
    t, errors = run.iterations[at], run.input_errors[at]
    order = np.polyfit(np.log(errors), np.log(run.errors["automatic"][at] / t**2), 1)[0]
    assert order == pytest.approx(2.0, rel=0.1)
    if n_input == 1:  # with several, the others' oscillations are beside it
        assert order == pytest.approx(2.0, rel=0.01)
        power = np.polyfit(np.log(t), np.log(run.jacobian_errors[at] / errors), 1)[0]
        assert power == pytest.approx(2.0, rel=0.1)


def test_rate_of_gradient_descent_is_that_of_the_spectrum():
    model = Logistic(n_input=1)
    low, _ = model.spectrum()
    rates = compare(model.objective, model.z0, model.x, GradientDescent(0.4 / low), 60).rates(first=10)
    expected = -np.log(0.6)
    assert [rates[key] for key in ("input", "analytic")] == pytest.approx([expected, expected], rel=1e-3)
    assert rates["implicit"] == pytest.approx(2.0 * expected, rel=1e-3)


def test_newton_squares_the_error_and_the_estimators_square_that():
    model = Logistic(penalty=0.05)
    run = compare(model.objective, model.z0, model.x, Newton(), 6)
    first, second = np.log(run.input_errors[1:4:2])
    assert second / first > 3.0
    rates = run.rates("input", first=1, last=3)
    along, automatic = np.log(run.input_errors[1:4]), np.log(run.errors["automatic"][1:4] / 2.0 ** np.arange(1, 4))
    orders = [rates["analytic"], rates["implicit"], np.polyfit(along, automatic, 1)[0]]
    assert orders == pytest.approx([1.0, 2.0, 2.0], rel=0.1)


def test_newton_iterates_that_run_away():
    """``z -> -z^3`` about the minimum of ``sqrt(1 + (z - x)^2)``."""
    objective = lambda z, x: anp.sqrt(1.0 + (z[0] - x[0]) ** 2)  # noqa: E731
    for run in (
        lambda: automatic_gradient(objective, [3.0], [1.0], Newton(), 3),
        lambda: automatic_gradient(objective, [3.0], [1.0], Newton(), 3, mode="forward"),
        lambda: outer_descent(objective, [3.0], [1.0], Newton(), 3, 0.1, 1, "analytic"),
        lambda: compare(objective, [3.0], [1.0], Newton(), 3),
    ):
        with pytest.raises(DivergenceError, match="start closer"):
            run()
    assert abs(automatic_gradient(objective, [1.5], [1.0], Newton(), 6).gradient[0]) < 1e-12


def replicated(n_copies, n_obs=20, penalty=0.1, n_repeats=100):
    """Many copies of a logistic regression, each with its own order of the observations, input and penalty.

    All copies draw the same index together: so many repeats that they seldom do so twice, which would make them alike.
    """
    model = Logistic(n_obs, 2, penalty)
    orders = np.tile(np.arange(n_obs), (n_copies, n_repeats))
    orders = np.random.default_rng(0).permuted(orders, axis=1)

    def objective(z, x, indices):
        # all repeats together are the observations themselves
        rows = model.A[None] if len(indices) == orders.shape[1] else model.A[orders[:, indices]]
        margins = anp.sum(rows * z[:, None, :], axis=2)
        losses = anp.mean(anp.logaddexp(0.0, -margins), axis=1)
        return anp.sum(losses + 0.5 * anp.exp(x) * anp.sum(z**2, axis=1))

    return objective, np.zeros((n_copies, 2)), model.x[0] * np.ones(n_copies), orders.shape[1]


def test_powers_of_stochastic_gradient_descent_on_logistic_regression():
    """Half, once and once the power of the steps, within 10%.

    Over so many copies, and over a factor of 50 in t, that the seed does not matter.
    """
    objective, z0, x, n_obs = replicated(80, penalty=0.3)
    minimum = np.tile(Logistic(20, 2).solved(x[:2]), (80, 1))
    method = StochasticGradientDescent(2.0, n_obs, power=1.0, delay=4.0)
    at = np.unique(np.geomspace(20, 1000, 12).astype(int))
    powers = compare(objective, z0, x, method, 1000, at=at, exact_input=minimum).rates("log iterations", first=20)
    assert powers == pytest.approx({"input": 0.5, "analytic": 0.5, "automatic": 1.0, "implicit": 1.0}, rel=0.1)


# ---------------------------------------------------------------- comparison


def test_runs_are_averaged():
    model = Logistic(n_obs=20)
    method = StochasticGradientDescent(1.0, 20, seed=3)
    arguments = model.of_observations, model.z0, model.x
    singles = [compare(*arguments, method.with_seed(seed), 6) for seed in (3, 4, 5)]
    run = compare(*arguments, method, 6, n_runs=3)
    assert np.allclose(run.input_errors, np.mean([one.input_errors for one in singles], axis=0))
    for name in NAMES:
        assert np.allclose(run.errors[name], np.mean([one.errors[name] for one in singles], axis=0))
    assert not np.allclose(singles[0].input_errors, singles[1].input_errors)


def test_rates_are_slopes_between_the_iterations_asked_for():
    model = Logistic()
    run = compare(model.objective, model.z0, model.x, GradientDescent(2.0), 30)
    at = slice(5, 16)
    for against, along in (
        ("iterations", -run.iterations[at]),
        ("log iterations", -np.log(run.iterations[at])),
        ("input", np.log(run.input_errors[at])),
    ):
        rates = run.rates(against, first=5, last=15)
        for name in NAMES:
            assert rates[name] == pytest.approx(np.polyfit(along, np.log(run.errors[name][at]), 1)[0])


def test_truncation_keeps_a_part_of_the_error():
    model = Logistic(n_input=6)
    arguments = model.objective, model.z0, model.x, GradientDescent(1.0 / model.spectrum()[1]), 40
    errors = [compare(*arguments, solver="cg", n_steps=n).errors["implicit"][20] for n in (0, 1, 3, 6)]
    assert np.all(np.diff(errors) < 0.0)
    analytic, exact = (compare(*arguments).errors[name] for name in ("analytic", "implicit"))
    assert errors[0] == analytic[20] and np.allclose(errors[-1], exact[20], rtol=1e-6)
    assert np.allclose(compare(*arguments, solver="cg").errors["implicit"], exact, rtol=1e-4, atol=1e-14)


def test_draws_are_the_same_whatever_the_number_of_iterations():
    method = StochasticGradientDescent(1.0, 7, batch_size=2, seed=9)
    assert np.array_equal(method.indices(50)[:20], method.indices(20))
    assert set(np.unique(method.indices(200))) == set(range(7))
    assert np.allclose(StochasticGradientDescent(2.0, 5, 0.5, 3.0).step_sizes(4)[3], 2.0 / np.sqrt(2.0))


def test_already_at_the_minimum():
    model = Logistic()
    z = model.solved(model.x)
    exact = 0.5 * np.exp(model.x) * z**2
    for method in (GradientDescent(1.0), HeavyBall(1.0, 0.5), Accelerated(1.0, 0.5), Newton()):
        run = compare(model.objective, z, model.x, method, 8)
        for name in NAMES:
            assert np.allclose(run.gradients[name], exact, atol=1e-14), (method, name)
        assert run.jacobian_errors[-1] < run.jacobian_errors[0]
        with pytest.raises(ValueError, match="above rounding"):
            run.rates()


def test_minimum_that_does_not_move_with_the_hyper():
    """``f(z) + g(x)``: the gradient is g' from any input, by any estimator."""

    def objective(z, x):
        return 0.5 * anp.sum(z**2) + 3.0 * x[0]

    run = compare(objective, np.ones(2), np.ones(1), GradientDescent(0.5), 5)
    assert all(np.array_equal(run.gradients[name], np.full((6, 1), 3.0)) for name in NAMES)
    assert np.all(run.jacobian_errors == 0.0)


# ---------------------------------------------------------------- refusals

FINE = (lambda z, x: 0.5 * anp.sum((z - x) ** 2), np.ones(2), np.ones(2))
FLAT = (lambda z, x: 0.5 * (z[0] + z[1] - x[0]) ** 2, np.ones(2), np.ones(1))
SADDLE = (lambda z, x: 0.5 * z[0] ** 2 - 0.5 * z[1] ** 2 + z[0] * x[0], np.ones(2), np.ones(1))


@pytest.mark.parametrize("problem", [FLAT, SADDLE])
@pytest.mark.parametrize(
    "run",
    [
        lambda *p: implicit_gradient(*p),
        lambda *p: implicit_gradient(*p, solver="cg"),
        lambda *p: compare(*p, GradientDescent(0.1), 3),
        lambda *p: compare(*p, GradientDescent(0.1), 3, exact_input=np.array([0.5, 0.5])),
        lambda *p: automatic_gradient(*p, Newton(), 2),
    ],
)
def test_hessian_that_is_not_positive_definite(problem, run):
    with pytest.raises(NotPositiveDefiniteError):
        run(*problem)


def test_truncated_conjugate_gradients_name_negative_curvature():
    with pytest.raises(NotPositiveDefiniteError, match="curvature"):
        implicit_gradient(*SADDLE, solver="cg", n_steps=2)


def estimators(objective, z, x):
    return [
        lambda: analytic_gradient(objective, z, x),
        lambda: implicit_gradient(objective, z, x),
        lambda: automatic_gradient(objective, z, x, GradientDescent(0.1), 2),
        lambda: automatic_gradient(objective, z, x, GradientDescent(0.1), 0),
        lambda: automatic_gradient(objective, z, x, GradientDescent(0.1), 2, mode="forward"),
        lambda: compare(objective, z, x, GradientDescent(0.1), 2),
    ]


BAD_OBJECTIVES = [
    (lambda z, x: anp.sum(z**2), IndependentError, "hyper"),
    (lambda z, x: anp.sum(x**2), IndependentError, "input"),
    (lambda z, x: anp.log(z[0] - 5.0) * x[0], NonFiniteError, "objective is nan"),
    (lambda z, x: 0.5 * (z - x) ** 2, ShapeError, "scalar"),
    (lambda z, x: anp.reshape(0.5 * anp.sum((z - x) ** 2), (1,)), ShapeError, "scalar"),
]


@pytest.mark.parametrize(("objective", "error", "match"), BAD_OBJECTIVES)
def test_objectives_that_are_refused(objective, error, match):
    for run in estimators(objective, np.ones(2), np.ones(2)):
        with np.errstate(all="ignore"), pytest.raises(error, match=match):
            run()


def test_gradient_in_the_hyper_that_is_not_finite():
    for run in estimators(lambda z, x: 0.5 * anp.sum(z**2) + anp.sum(anp.sqrt(x)), np.ones(1), np.zeros(1)):
        with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="infinite"):
            run()


@pytest.mark.parametrize("method", [GradientDescent(2.5), HeavyBall(5.0, 0.5), Accelerated(3.0, 0.9)])
def test_iterates_that_run_away(method):
    for run in (
        lambda: automatic_gradient(*FINE[:1], np.zeros(2), np.ones(2), method, 60),
        lambda: automatic_gradient(*FINE[:1], np.zeros(2), np.ones(2), method, 60, mode="forward"),
        lambda: compare(*FINE[:1], np.zeros(2), np.ones(2), method, 60),
    ):
        with pytest.raises(DivergenceError):
            run()


def test_stochastic_iterates_that_run_away():
    objective = lambda z, x, indices: 0.5 * anp.mean((z[0] - x[0] * indices) ** 2)  # noqa: E731
    with pytest.raises(DivergenceError):
        automatic_gradient(objective, [0.0], [1.0], StochasticGradientDescent(4.0, 3, power=0.0), 60)


def test_stochastic_iterates_that_leave_the_minimum_do_not_run_away():
    y = np.array([-1.0, 0.0, 1.0])
    objective = lambda z, x, indices: 0.5 * anp.mean((z[0] - x[0] * y[indices]) ** 2)  # noqa: E731
    method = StochasticGradientDescent(0.5, 3, power=0.5, seed=2)
    run = compare(objective, [0.0], [1.0], method, 40)
    assert run.input_errors[0] < 1e-15 and 1e-3 < run.input_errors[-1] < 1.0
    assert np.allclose(run.exact_gradient, 2.0 / 3.0)


@pytest.mark.parametrize("n_obs", [1, 2, 7])
def test_sums_over_observations_are_refused_where_means_are_needed(n_obs):
    y = 1.0 + np.arange(n_obs)
    total = lambda z, x, indices: anp.sum((z[0] - y[indices]) ** 2) + x[0] * z[0] ** 2  # noqa: E731
    mean = lambda z, x, indices: anp.mean((z[0] - y[indices]) ** 2) + x[0] * z[0] ** 2  # noqa: E731
    method = StochasticGradientDescent(0.1, n_obs)
    with pytest.raises(MismatchError, match="mean"):
        automatic_gradient(total, [0.0], [1.0], method, 3)
    automatic_gradient(mean, [0.0], [1.0], method, 3)
    # the penalty is zero at the start
    penalty = lambda z, x, indices: anp.mean((z[0] - y[indices]) ** 2) + x[0] * z[0] ** 2 * len(indices)  # noqa: E731
    with pytest.raises(MismatchError, match="mean"):
        automatic_gradient(penalty, [0.0], [1.0], method, 3)


def test_minimum_given_must_be_one():
    with pytest.raises(NotASolutionError, match="Newton step"):
        compare(*FINE, GradientDescent(0.5), 3, exact_input=np.zeros(2))


BAD_ARGUMENTS = [
    (lambda: implicit_gradient(*FINE, solver="qr"), ValueError, "'qr'"),
    (lambda: implicit_gradient(*FINE, n_steps=2), ValueError, "n_steps"),
    (lambda: implicit_gradient(*FINE, solver="cg", n_steps=-1), ValueError, "n_steps"),
    (lambda: automatic_gradient(*FINE, GradientDescent(1.0), 2, mode="sideways"), ValueError, "sideways"),
    (lambda: automatic_gradient(*FINE, GradientDescent(1.0), -1), ValueError, "n_iterations"),
    (lambda: automatic_gradient(*FINE, GradientDescent(1.0), 2, n_checkpoints=0), ValueError, "n_checkpoints"),
    (lambda: automatic_gradient(*FINE, GradientDescent(1.0), 2, "forward", 3), ValueError, "n_checkpoints"),
    (lambda: automatic_gradient(*FINE, ProximalGradient(1.0, 0.1), 2), TypeError, "ProximalGradient"),
    (lambda: automatic_gradient(FINE[0], np.array([np.nan]), np.ones(1), Newton(), 2), NonFiniteError, "input_val0"),
    (lambda: compare(*FINE, GradientDescent(1.0), 2, n_runs=2), ValueError, "n_runs"),
    (lambda: compare(*FINE, GradientDescent(1.0), 2, n_runs=0), ValueError, "n_runs"),
    (lambda: compare(*FINE, GradientDescent(1.0), 2, at=[3]), ValueError, "n_iterations=2"),
    (lambda: compare(*FINE, GradientDescent(1.0), 2, at=[]), ValueError, "n_iterations=2"),
    (lambda: compare(*FINE, GradientDescent(1.0), 2, at=[0.5]), ValueError, "n_iterations=2"),
    (lambda: compare(*FINE, GradientDescent(0.1), 20).rates("time"), ValueError, "'time'"),
    (lambda: compare(*FINE, GradientDescent(0.1), 20).rates(first=19), ValueError, "3 at least"),
    (lambda: outer_descent(*FINE, GradientDescent(0.1), 2, 1.0, 1, "exact"), ValueError, "'exact'"),
    (lambda: outer_descent(*FINE, GradientDescent(0.1), 2, -1.0, 1), ValueError, "step_size"),
    (lambda: outer_descent(*FINE, GradientDescent(0.1), 2, 1.0, 1.5), TypeError, "n_outer"),
    (lambda: StochasticGradientDescent(1.0, 3).step_sizes(-1), ValueError, "n_iterations"),
    (lambda: StochasticGradientDescent(1.0, 3).indices(-1), ValueError, "n_iterations"),
    (lambda: analytic_gradient(lambda z, x: None, np.ones(1), np.ones(1)), TypeError, "NoneType"),
    (lambda: Accelerated(1.0, 1.0), ValueError, "momentum"),
    (lambda: Accelerated(-1.0, 0.5), ValueError, "step_size"),
    (lambda: StochasticGradientDescent(0.0, 3), ValueError, "step_size"),
    (lambda: StochasticGradientDescent(1.0, 0), ValueError, "n_obs"),
    (lambda: StochasticGradientDescent(1.0, 3, power=2.0), ValueError, "power"),
    (lambda: StochasticGradientDescent(1.0, 3, delay=0.0), ValueError, "delay"),
    (lambda: StochasticGradientDescent(1.0, 3, batch_size=1.5), TypeError, "batch_size"),
]


@pytest.mark.parametrize(("run", "error", "match"), BAD_ARGUMENTS)
def test_arguments_that_are_refused(run, error, match):
    with pytest.raises(error, match=match):
        run()


# ---------------------------------------------------------------- worked examples


def estimate(name, objective, z, x, step_size, n_iterations):
    """The gradient of the minimum from that many iterations of gradient descent."""
    return outer_descent(objective, z, x, GradientDescent(step_size), n_iterations, 1.0, 1, name).gradients[0]


def test_max_min_by_gradient_ascent():
    """A game with logistic payoffs: from few inner iterations the bias of the analytic estimator stays."""
    rng = np.random.default_rng(1)
    K, c, d = rng.standard_normal((3, 2)), rng.standard_normal(3), rng.standard_normal(2)

    def payoff(z, x):  # the one minimises over z, the other maximises over x
        bilinear = anp.dot(z, anp.dot(K, x)) + anp.dot(c, z) + anp.dot(d, x)
        return bilinear + anp.sum(z**2) + anp.sum(anp.log(anp.cosh(z))) - 0.5 * anp.sum(x**2)

    def stationary(both):
        z, x = both[:3], both[3:]
        return np.r_[K @ x + c + 2.0 * z + np.tanh(z), K.T @ z + d - x]

    saddle = root(stationary, np.zeros(5), tol=1e-14).x
    errors = {}
    for name in NAMES:
        run = outer_descent(payoff, np.zeros(3), np.zeros(2), GradientDescent(0.25), 3, 0.25, 25, name, maximise=True)
        errors[name] = np.linalg.norm(run.hyper_vals[-1] - saddle[3:])
    assert errors["analytic"] > 1e-3
    assert errors["automatic"] < 0.2 * errors["analytic"] and errors["implicit"] < 0.2 * errors["analytic"]


@pytest.mark.parametrize("name", NAMES)
def test_alternating_minimisation_of_a_rank_one_factorization(name):
    """``|Y - x z^T|^2 / 2 + w (|x|^2 + |z|^2) / 2``: the product is the first singular pair, at its value less w."""
    Y, w = np.random.default_rng(3).standard_normal((4, 3)), 0.3

    def objective(z, x):
        return 0.5 * anp.sum((Y - anp.outer(x, z)) ** 2) + 0.5 * w * (anp.sum(z**2) + anp.sum(x**2))

    left, values, right = np.linalg.svd(Y)
    # each starts where the other stopped: all converge, whichever estimator
    inner = GradientDescent(0.2)
    run = outer_descent(objective, np.zeros(3), np.ones(4), inner, 2, 0.3, 30, name, warm_start=True)
    x, z = run.hyper_vals[-1], run.input_val
    assert np.allclose(np.outer(x, z), (values[0] - w) * np.outer(left[:, 0], right[0]), atol=1e-5)


def test_frechet_mean_of_shapes_up_to_rotation():
    """``sum_i min_a |x - R(a_i) y_i|^2 / 2`` in the plane, whose minimum in the angles is closed."""
    rng = np.random.default_rng(5)
    shape = rng.standard_normal(5) + 1j * rng.standard_normal(5)
    angles = 0.4 * rng.standard_normal(6)
    Y = (shape + 0.1 * (rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5)))) * np.exp(1j * angles)[:, None]

    def objective(angles, x):
        cos, sin = anp.cos(angles)[:, None], anp.sin(angles)[:, None]
        real, imaginary = Y.real * cos - Y.imag * sin, Y.real * sin + Y.imag * cos
        return 0.5 * anp.sum((x[0] - real) ** 2 + (x[1] - imaginary) ** 2)

    def exact_gradient(x):
        x = x[0] + 1j * x[1]
        turned = Y * np.exp(1j * np.angle(np.conj(Y) @ x))[:, None]
        return np.stack([(6 * x - turned.sum(axis=0)).real, (6 * x - turned.sum(axis=0)).imag])

    x = np.stack([Y[0].real, Y[0].imag])
    errors = {}
    for name in NAMES:
        gradient = estimate(name, objective, np.zeros(6), x, 0.08, 8)
        errors[name] = np.linalg.norm(gradient - exact_gradient(x).ravel())
    assert max(errors["automatic"], errors["implicit"]) < 0.2 * errors["analytic"]
    run = outer_descent(objective, np.zeros(6), x, GradientDescent(0.1), 8, 1.0 / 6.0, 12)
    x = run.hyper_vals[-1].reshape(x.shape)
    assert np.max(np.abs(exact_gradient(x))) < 1e-3


def test_outer_gradient_descent_stops_nearer_with_better_gradients():
    """``min_x min_z`` over coefficients z and log penalties x, with few inner iterations, always from zero."""
    model = Logistic(penalty=0.1)

    def objective(z, x):
        return model.objective(z, x) + 0.5 * anp.sum((x - model.x) ** 2) * 0.05

    def solved(x):
        z = model.solved(x)
        return 0.5 * np.exp(x) * z**2 + 0.05 * (x - model.x)

    best, errors = root(solved, model.x, tol=1e-13).x, {}
    for name in NAMES:
        run = outer_descent(objective, model.z0, model.x, GradientDescent(3.0), 5, 10.0, 20, name)
        errors[name] = np.linalg.norm(run.hyper_vals[-1] - best)
    assert max(errors["automatic"], errors["implicit"]) < 0.3 * errors["analytic"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("maximise", [False, True])
def test_outer_descent_of_a_quadratic_by_its_recurrence(name, warm_start, maximise):
    """``z' = (1 - 2h)^T z + (1 - (1 - 2h)^T) x / 2`` for ``(z - x)^2 / 2 + z^2 / 2``, likewise its slope."""
    objective = lambda z, x: 0.5 * anp.sum((z - x["a"]) ** 2) + 0.5 * anp.sum(z**2)  # noqa: E731
    h, n_iterations, s = 0.1, 3, -0.2 if maximise else 0.2
    shrink, z, x, path = (1.0 - 2.0 * h) ** n_iterations, 0.7, 2.0, [2.0]
    for _ in range(4):
        z = shrink * (z if warm_start else 0.7) + (1.0 - shrink) * x / 2.0
        slope = {"analytic": 0.0, "automatic": (1.0 - shrink) / 2.0, "implicit": 0.5}[name]
        x = x - s * (x - z + slope * (2.0 * z - x))
        path.append(x)
    run = outer_descent(
        objective, [0.7], {"a": 2.0}, GradientDescent(h), n_iterations, 0.2, 4, name, warm_start, maximise
    )
    assert np.allclose(run.hyper_vals[:, 0], path, rtol=1e-12) and np.allclose(run.input_val, z, rtol=1e-12)
    assert np.allclose(run.gradients[:, 0], -np.diff(path) / s, rtol=1e-10)
    assert run.cost == 4 * {"analytic": 4, "automatic": 12, "implicit": 8}[name]


def test_outer_descent_of_stochastic_gradients_draws_anew():
    model = Logistic()
    method = StochasticGradientDescent(0.5, 60, batch_size=6, seed=3)
    run = outer_descent(model.of_observations, model.z0, model.x, method, 4, 0.1, 3)
    for k in range(3):
        one = automatic_gradient(model.of_observations, model.z0, run.hyper_vals[k], method.with_seed(3 + k), 4)
        assert np.array_equal(one.gradient, run.gradients[k])
    none = outer_descent(model.of_observations, model.z0, model.x, method, 4, 0.1, 0)
    assert none.hyper_vals.shape == (1, 3) and none.gradients.shape == (0, 3) and none.cost == none.memory_bytes == 0


def test_outer_descent_that_runs_away():
    with pytest.raises(DivergenceError, match="step_size=50"):
        outer_descent(*FINE[:1], np.ones(2), np.zeros(2), GradientDescent(0.1), 1, 50.0, 40, "analytic")


def test_outer_descent_from_where_the_estimate_is_zero():
    """The first inner iterate is where ``L_x = x - z`` is zero, the later ones are not: no divergence."""
    objective = lambda z, x: 0.5 * (z[0] - x[0]) ** 2 + 0.5 * (z[0] - 3.0) ** 2  # noqa: E731
    z, x, path = 0.0, 1.0, [1.0]
    for _ in range(6):
        z = z - 0.25 * (2.0 * z - x - 3.0)
        x = x - 0.2 * (x - z)
        path.append(x)
    run = outer_descent(objective, [0.0], [1.0], GradientDescent(0.25), 1, 0.2, 6, "analytic", warm_start=True)
    assert path[1] == path[0] < path[2]
    assert np.allclose(run.hyper_vals[:, 0], path, rtol=1e-14)
