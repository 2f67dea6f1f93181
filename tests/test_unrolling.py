"""Unrolled differentiation: recurrences in both modes, checkpoints, the Lasso, and the theory of quadratics."""

import pickle
import tracemalloc

import autograd.numpy as anp
import mpmath
import numpy as np
import pytest
from autograd import grad, jacobian
from scipy.special import eval_chebyt
from sklearn.linear_model import Lasso

from vittles_ng.errors import (
    DivergenceError,
    IndependentError,
    NonFiniteError,
    NonSmoothError,
    NotASolutionError,
    NotCommutingError,
    NotPositiveDefiniteError,
    NotQuadraticError,
    OperandError,
    ShapeError,
    SizeError,
)
from vittles_ng.taylor.recorded import Recorded
from vittles_ng.unrolling import (
    Chebyshev,
    GradientDescent,
    HeavyBall,
    ProximalGradient,
    QuadraticUnrolling,
    gradient_descent_peak,
    implicit_jacobian,
    residual_polynomials,
    unroll_forward,
    unroll_reverse,
    worst_case_factors,
)
from vittles_ng.unrolling.checkpoints import reversed_states

# ---------------------------------------------------------------- models


def logistic(n_obs=30, n_input=3, seed=0):
    """A logistic regression with a log penalty and a shift of the observations."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n_obs, n_input)), rng.integers(0, 2, n_obs) * 1.0

    def objective(z, x):
        eta = anp.dot(X, z) + x[1]
        return anp.sum(anp.logaddexp(0.0, eta) - y * eta) + 0.5 * anp.exp(x[0]) * anp.sum(z**2)

    return objective, 0.1 * rng.standard_normal(n_input), np.array([0.2, -0.1])


def ridge(n_obs=12, n_input=5, penalty=0.3, seed=0, shares=None):
    """A ridge regression, its start, hyper, and the exact minimum and its derivative, by linear algebra.

    ``shares``: the parts of that derivative along the eigenvectors of the Hessian, up to sign, the largest last.
    """
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n_obs, n_input)), rng.standard_normal(n_obs)
    if shares is not None:  # H^-2 X'y = V shares
        values, vectors = np.linalg.eigh(X.T @ X)
        y = X @ (vectors @ ((values + penalty) ** 2 / values * shares))

    def objective(z, x):
        return 0.5 * anp.sum((anp.dot(X, z) - y) ** 2) + 0.5 * x[0] * anp.sum(z**2)

    H = X.T @ X + penalty * np.eye(n_input)
    solution = np.linalg.solve(H, X.T @ y)
    exact = {"H": H, "solution": solution, "jacobian": -np.linalg.solve(H, solution)[:, None]}
    return objective, rng.standard_normal(n_input), np.array([penalty]), exact


def ends(H):
    """The smallest and largest eigenvalue."""
    return np.linalg.eigvalsh(H)[[0, -1]]


def lasso(n_obs=60, n_input=8, seed=3):
    """A Lasso's data, its smooth part as a function of input and log penalty, and a step size."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_obs, n_input))
    y = X[:, :3] @ np.array([2.0, -1.5, 1.0]) + 0.3 * rng.standard_normal(n_obs)

    def objective(z, x):
        return 0.5 * anp.sum((anp.dot(X, z) - y) ** 2) / n_obs

    return X, y, objective, n_obs / np.linalg.norm(X, 2) ** 2


def log_penalty(x):
    return anp.exp(x[0])


METHODS = {
    "gradient descent": GradientDescent(0.05),
    "heavy ball": HeavyBall(0.05, 0.6),
    "chebyshev": Chebyshev(1.0, 14.0),
    "chebyshev of one eigenvalue": Chebyshev(20.0, 20.0),
}


def plain_iterates(objective, z0, x, method, n_iterations):
    """The last iterate by autograd alone, to be differentiated through."""
    gradient = grad(objective)
    z = before = z0
    for h, m in zip(*method.coefficients(n_iterations), strict=True):
        z, before = z - h * gradient(z, x) + m * (z - before), z
    return z


# ---------------------------------------------------------------- both modes against autograd


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("n_iterations", [0, 1, 2, 6])
def test_modes_agree_with_autograd_through_the_iterations(name, n_iterations):
    objective, z0, x0 = logistic()
    method, start = METHODS[name], np.array([[1.0, 0.5], [0.0, -1.0], [2.0, 0.3]])

    def last(x):
        return plain_iterates(objective, z0 + anp.dot(start, x - x0), x, method, n_iterations)

    expected = jacobian(last)(x0)
    run = unroll_forward(objective, z0, x0, method, n_iterations, jacobian0=start)
    np.testing.assert_allclose(run.input_val, last(x0), rtol=1e-12)
    np.testing.assert_allclose(run.jacobian, expected, rtol=1e-11, atol=1e-13)
    for n_checkpoints in (None, 1, 2, 3):
        back = unroll_reverse(
            objective, z0, x0, method, n_iterations, np.eye(3), jacobian0=start, n_checkpoints=n_checkpoints
        )
        np.testing.assert_allclose(back.gradient, expected, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(back.input_val, run.input_val, rtol=1e-13)


def test_one_input_one_hyper_closed_form():
    # z_{t+1} = z - h (x z - 1): z_t = (1 - (1 - h x)^t) / x from 0
    h, x, T = 0.3, 1.7, 9
    q = 1.0 - h * x
    expected = T * h * q ** (T - 1) / x - (1.0 - q**T) / x**2
    run = unroll_forward(lambda z, x: 0.5 * x * z**2 - z, 0.0, x, GradientDescent(h), T, keep=True)
    np.testing.assert_allclose(run.jacobian, [[expected]], rtol=1e-13)
    np.testing.assert_allclose(run.inputs[:, 0], (1.0 - q ** np.arange(T + 1)) / x, rtol=1e-13, atol=1e-16)
    back = unroll_reverse(lambda z, x: 0.5 * x * z**2 - z, 0.0, x, GradientDescent(h), T, lambda z: 3.0 * z)
    np.testing.assert_allclose(back.gradient, 3.0 * run.input_val * expected, rtol=1e-13)


def test_nested_input_and_hyper():
    objective, z0, x0 = logistic()
    method = METHODS["heavy ball"]
    flat = unroll_forward(objective, z0, x0, method, 5)

    def nested(z, x):
        return objective(anp.concatenate((z["a"], anp.reshape(z["b"], (1,)))), anp.array([x[0], x[1]]))

    start = {"a": z0[:2], "b": z0[2]}
    run = unroll_forward(nested, start, (x0[0], x0[1]), method, 5)
    np.testing.assert_allclose(run.jacobian, flat.jacobian, rtol=1e-12)
    back = unroll_reverse(nested, start, (x0[0], x0[1]), method, 5, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(back.gradient, np.array([1.0, 2.0, 3.0]) @ flat.jacobian, rtol=1e-11)


def test_converged_jacobian_is_that_of_the_minimum():
    objective, z0, x0 = logistic()
    method = HeavyBall(0.12, 0.5)
    z = plain_iterates(objective, z0, x0, method, 150)
    exact = implicit_jacobian(objective, z, x0)
    run = unroll_forward(objective, z0, x0, method, 80, exact_input=z, exact_jacobian=exact, keep=True)
    assert run.jacobian_errors[-1] < 1e-9 and run.input_errors[0] == np.linalg.norm(z0 - z)
    assert run.residual_norms[-1] < 1e-9
    np.testing.assert_allclose(run.jacobian_errors, np.linalg.norm(run.jacobians - exact, axis=(1, 2)), rtol=1e-12)
    assert run.inputs.shape == (81, 3) and run.jacobians.shape == (81, 3, 2)
    step = 1e-5 * np.vstack((np.eye(2), -np.eye(2)))
    solved = np.array([plain_iterates(objective, z, x0 + d, method, 80) for d in step])
    np.testing.assert_allclose(exact, (solved[:2] - solved[2:]).T / 2e-5, rtol=1e-7)


def test_arguments_are_left_alone_and_counts_are_right():
    objective, z0, x0 = logistic()
    given = z0.copy(), x0.copy(), np.ones((3, 2)), np.ones(3)
    run = unroll_forward(objective, z0, x0, METHODS["heavy ball"], 4, jacobian0=given[2], keep=True)
    back = unroll_reverse(objective, z0, x0, METHODS["heavy ball"], 4, given[3], jacobian0=given[2])
    for before, now in zip(given, (z0, x0, np.ones((3, 2)), np.ones(3)), strict=True):
        np.testing.assert_array_equal(before, now)
    run.jacobians[0] += 1.0
    assert np.all(given[2] == 1.0)
    assert (run.n_gradients, run.n_products) == (5, 8)
    assert (back.n_gradients, back.n_products, back.peak_states) == (3 + 4 + 1, 4, 4)
    assert back.memory_bytes == 4 * 3 * 8  # neighbours share an iterate


def test_calls_of_the_objective_are_as_counted():
    n_calls = 0
    objective, z0, x0 = logistic()

    def counted(z, x):
        nonlocal n_calls
        n_calls += 1
        return objective(z, x)

    run = unroll_forward(counted, z0, x0, METHODS["gradient descent"], 7)
    assert n_calls == run.n_gradients
    for n_checkpoints in (None, 1, 3):
        n_calls = 0
        back = unroll_reverse(counted, z0, x0, METHODS["chebyshev"], 7, np.ones(3), n_checkpoints=n_checkpoints)
        assert n_calls == back.n_gradients


@pytest.mark.parametrize("n_iterations", [0, 1, 6])
def test_products_are_as_counted(n_iterations, monkeypatch):
    n_directions, start = 0, Recorded.start

    def counted(self, n_steps, ws=None):
        nonlocal n_directions
        n_directions += n_steps
        return start(self, n_steps, ws)

    monkeypatch.setattr(Recorded, "start", counted)
    objective, z0, x0 = logistic()
    run = unroll_forward(objective, z0, x0, METHODS["heavy ball"], n_iterations)
    assert n_directions == run.n_products == 2 * n_iterations
    n_directions = 0
    back = unroll_reverse(objective, z0, x0, METHODS["heavy ball"], n_iterations, np.eye(3), n_checkpoints=2)
    assert n_directions == back.n_products == 3 * n_iterations


# ---------------------------------------------------------------- mixed second derivatives


@pytest.mark.parametrize("x_unit", [1e-8, 1.0, 1e12])
@pytest.mark.parametrize("y_unit", [1e-8, 1e3, 1e12])
def test_mixed_derivatives_by_closed_forms_in_any_units(x_unit, y_unit, rng):
    """``exp(p) sin(q)`` and ``p.M q``, ``p = x / x_unit`` and ``q = y / y_unit``, along pairs in both arguments."""
    M, (p, q), (pa, qa, pb, qb) = rng.normal(size=(3, 3)), rng.normal(size=(2, 3)), rng.normal(size=(4, 5, 3))

    def function(x, y):
        return anp.exp(x / x_unit) * anp.sin(y / y_unit), anp.dot(x / x_unit, anp.dot(M, y / y_unit))

    recorded = Recorded(function, [x_unit * p, y_unit * q])
    elementwise, bilinear = recorded.mixed([x_unit * pa, y_unit * qa], [x_unit * pb, y_unit * qb])
    expected = np.exp(p) * (np.sin(q) * (pa * pb - qa * qb) + np.cos(q) * (pa * qb + qa * pb))
    np.testing.assert_allclose(elementwise, expected, rtol=0, atol=1e-14 * np.max(np.abs(expected)))
    expected = np.sum(pa @ M * qb, axis=1) + np.sum(pb @ M * qa, axis=1)
    np.testing.assert_allclose(bilinear, expected, rtol=0, atol=1e-14 * np.max(np.abs(expected)))


@pytest.mark.parametrize("curvature", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("size", [1e-8, 1.0, 1e12])
def test_mixed_derivatives_beside_far_larger_ones(curvature, size):
    """Those along either direction alone, and third ones, leave no rounding in what is wanted."""
    recorded = Recorded(lambda x, y: x * y**2 + curvature * (anp.exp(x) + x**3 + anp.cosh(y)), [np.ones(1)] * 2)
    a, b = np.full((1, 1), size), np.full((1, 1), 3.0)
    for first, second in (([a, None], [None, b]), ([None, b], [a, None])):
        np.testing.assert_allclose(recorded.mixed(first, second), [[[6.0 * size]]], rtol=1e-15)


def test_mixed_derivatives_along_zero_directions():
    recorded = Recorded(lambda x, y: (anp.exp(x) * y, anp.sum(x * y, axis=0), 2.0 * y), [np.ones((2, 3))] * 2)
    one, zero = np.ones((4, 2, 3)), np.zeros((4, 2, 3))
    for first, second in (([one, one], [zero, None]), ([None, zero], [one, one]), ([zero, zero], [zero, zero])):
        found = recorded.mixed(first, second)
        assert [c.shape for c in found] == [(4, 2, 3), (4, 3), (4, 2, 3)]
        assert not any(c.any() for c in found)
    found = recorded.mixed([np.stack([one[0], zero[0]]), None], [None, one[:2]])
    np.testing.assert_allclose(found[0], np.exp(1.0) * np.stack([one[0], zero[0]]), rtol=1e-15)
    np.testing.assert_allclose(found[1], np.outer([2.0, 0.0], np.ones(3)), rtol=1e-15)
    assert not found[2].any()


def test_mixed_derivatives_at_kinks():
    one, zero = np.ones((1, 1)), np.zeros(1)
    for function, smooth in [
        (lambda x, y: anp.abs(x) ** 3 + 2.0 * x * y, 2.0),
        (lambda x, y: x * anp.abs(x) + 2.0 * x * y, 2.0),  # not twice differentiable along x, but the mixed one is
        (grad(lambda x, y: anp.sum(anp.abs(x + y) ** 3)), None),
        (lambda x, y: x * y + anp.abs(x), None),
        (lambda x, y: x * y + anp.abs(y), None),
        (lambda x, y: 1e12 + x * anp.abs(y), None),
    ]:
        recorded = Recorded(function, [zero, zero])
        if smooth is not None:
            np.testing.assert_allclose(recorded.mixed([one, None], [None, one]), [[[smooth]]])
            continue
        for first, second in (([one, None], [None, one]), ([None, one], [one, one])):
            with pytest.raises(NonSmoothError, match="depends on the side"):
                recorded.mixed(first, second)


# ---------------------------------------------------------------- memory and checkpoints


def peak_memory(run):
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_flat_forward_linear_in_reverse_and_flat_with_checkpoints():
    n = 5000

    def objective(z, x):
        return 0.5 * anp.sum((z - 1.0) ** 2) + 0.5 * x[0] * anp.sum(z**2)

    def memory(run, n_iterations, **kwargs):
        args = (objective, np.zeros(n), np.ones(1), GradientDescent(0.3), n_iterations)
        return peak_memory(lambda: run(*args, **kwargs))

    memory(unroll_forward, 2)
    adjoint = {"adjoint": np.ones(n)}
    assert memory(unroll_forward, 22) < memory(unroll_forward, 7) + 6 * 8 * n  # 6 vectors for 15 iterations
    few, many = memory(unroll_reverse, 7, **adjoint), memory(unroll_reverse, 17, **adjoint)
    assert 0.9 < (many - few) / (10 * 8 * n) < 1.1
    assert memory(unroll_reverse, 17, n_checkpoints=4, **adjoint) < few


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    "method",
    [GradientDescent(0.3), HeavyBall(0.3, 0.3), ProximalGradient(0.3, lambda x: 0.01 * anp.sum(anp.exp(x)) ** 2)],
)
def test_memory_forward_is_as_told(method, keep):
    def objective(z, x):
        return 0.5 * anp.sum((z - 1.0) ** 2) + 0.5 * anp.sum(x) * anp.sum(z**2)

    found = []
    args = (objective, np.zeros(200), np.full(1200, 2e-4), method, 4)
    unroll_forward(*args)
    peak = peak_memory(lambda: found.append(unroll_forward(*args, keep=keep)))
    assert 0.75 < peak / found[0].memory_bytes < 1.15


def test_memory_in_reverse_with_momentum_is_as_told():
    def objective(z, x):
        return 0.5 * anp.sum((z - 1.0) ** 2) + 0.5 * x[0] * anp.sum(z**2)

    found, peaks = [], []
    for n_iterations in (5, 10, 50):
        args = (objective, np.zeros(5000), np.ones(1), HeavyBall(0.3, 0.3), n_iterations, np.ones(5000))
        peaks.append(peak_memory(lambda args=args: found.append(unroll_reverse(*args))))
    told = found[2].memory_bytes - found[1].memory_bytes
    assert 0.9 < (peaks[2] - peaks[1]) / told < 1.1


def test_memory_in_reverse_does_not_grow_with_the_weights_by_the_hypers():
    n = 1500
    y = np.random.default_rng(0).standard_normal(n)
    args = (lambda z, x: 0.5 * anp.sum((z - y) ** 2), np.zeros(n), np.full(n, -2.0), ProximalGradient(0.5, anp.exp), 4)
    found = []
    assert peak_memory(lambda: found.append(unroll_reverse(*args, np.ones(n)))) < 8 * n * n / 10
    expected = -np.sign(y) * (1.0 - 0.5**4) * np.exp(-2.0)  # soft thresholding, on its way
    active = found[0].input_val != 0.0
    assert 0 < active.sum() < n
    np.testing.assert_allclose(found[0].gradient, np.where(active, expected, 0.0), rtol=1e-12)


def test_what_would_not_fit_in_memory_is_refused(monkeypatch):
    for module in ("forward", "iteration", "products"):
        monkeypatch.setattr(f"vittles_ng.unrolling.{module}.memory_limit", lambda: 100_000)

    def objective(z, x):
        return 0.5 * anp.sum((z - 1.0) ** 2) * anp.sum(x)

    def args(n_input, n_hyper, n_iterations):
        return objective, np.ones(n_input), np.full(n_hyper, 1.0 / n_hyper), GradientDescent(0.3), n_iterations

    assert unroll_forward(*args(20, 2, 100)).jacobian.shape == (20, 2)
    with pytest.raises(SizeError, match="keep=False"):
        unroll_forward(*args(20, 2, 1000), keep=True)
    with pytest.raises(SizeError, match="use unroll_reverse"):
        unroll_forward(*args(20, 2000, 3))
    with pytest.raises(SizeError, match="n_checkpoints=20"):
        unroll_reverse(*args(20, 2, 1000), np.ones(20))
    assert unroll_reverse(*args(20, 2, 30), np.ones(20), n_checkpoints=20).peak_states == 20
    with pytest.raises(SizeError, match="dense Hessian"):
        implicit_jacobian(objective, np.ones(200), np.ones(1))
    with pytest.raises(SizeError, match="dH/dx"):
        QuadraticUnrolling(*args(100, 3, 0)[:3])


@pytest.mark.parametrize("n_checkpoints", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("n_steps", [0, 1, 2, 3, 7, 10, 20, 40])
def test_checkpoints_reverse_a_chain_at_the_least_cost(n_steps, n_checkpoints):
    advanced, most = [], 0

    def advance(t, state):
        assert state == t  # the state is its own number
        advanced.append(t)
        return t + 1

    visited = []
    for t, state, n_held in reversed_states(0, advance, n_steps, n_checkpoints):
        assert state == t
        visited.append(t)
        most = max(most, n_held)
    assert visited == list(range(n_steps))[::-1]
    assert most <= n_checkpoints
    assert len(advanced) == cheapest(n_steps, n_checkpoints)


def cheapest(n_steps, n_checkpoints, _known={}):  # noqa: B006
    """By dynamic programming over where the next checkpoint goes."""
    if n_steps < 2:
        return 0
    if n_checkpoints == 1:
        return n_steps * (n_steps - 1) // 2
    key = n_steps, n_checkpoints
    if key not in _known:
        _known[key] = min(
            m + cheapest(n_steps - m, n_checkpoints - 1) + cheapest(m, n_checkpoints) for m in range(1, n_steps)
        )
    return _known[key]


def test_long_chains_need_few_checkpoints():
    args = (lambda z, x: 0.5 * x * z**2 - z, 0.0, 1.0, GradientDescent(0.02), 60)
    full = unroll_reverse(*args, np.ones(1))
    few = unroll_reverse(*args, np.ones(1), n_checkpoints=6)
    assert full.gradient == few.gradient
    assert (full.peak_states, few.peak_states) == (60, 6)
    assert few.n_gradients <= 4 * 60 and few.memory_bytes * 10 == full.memory_bytes


# ---------------------------------------------------------------- proximal gradient


def test_lasso_against_scikit_learn():
    X, y, objective, step_size = lasso()
    x0 = np.log([0.2])
    ista = ProximalGradient(step_size, log_penalty)
    fit = Lasso(alpha=0.2, fit_intercept=False, tol=1e-14, max_iter=100000).fit(X, y)
    run = unroll_forward(objective, np.zeros(8), x0, ista, 100)
    np.testing.assert_allclose(run.input_val, fit.coef_, atol=1e-9)
    np.testing.assert_array_equal(run.input_val != 0.0, fit.coef_ != 0.0)
    active = fit.coef_ != 0.0
    assert 0 < active.sum() < 8
    # on the active set: (X'X/n) z = X'y/n - alpha sign(z), differentiated in log alpha
    expected = np.zeros(8)
    expected[active] = -0.2 * np.linalg.solve(X[:, active].T @ X[:, active] / len(y), np.sign(fit.coef_[active]))
    np.testing.assert_allclose(run.jacobian[:, 0], expected, atol=1e-9)
    np.testing.assert_allclose(implicit_jacobian(objective, fit.coef_, x0, log_penalty)[:, 0], expected, atol=1e-10)
    back = unroll_reverse(objective, np.zeros(8), x0, ista, 100, lambda z: z, n_checkpoints=20)
    np.testing.assert_allclose(back.gradient, run.input_val @ run.jacobian, rtol=1e-10)


@pytest.mark.parametrize("n_iterations", [1, 3, 12])
def test_weights_for_each_input_by_finite_differences(n_iterations):
    X, y, _, step_size = lasso()

    def objective(z, x):  # the hyper is in the smooth part too
        return 0.5 * anp.sum((anp.dot(X, z) - y - x["shift"]) ** 2) / len(y)

    def weights(x):
        return anp.exp(x["logs"])

    x0 = {"logs": np.log(np.linspace(0.05, 0.4, 8)), "shift": np.array(0.1)}
    ista = ProximalGradient(step_size, weights)
    z0 = 0.3 * np.ones(8)
    run = unroll_forward(objective, z0, x0, ista, n_iterations)
    back = unroll_reverse(objective, z0, x0, ista, n_iterations, np.eye(8), n_checkpoints=3)
    np.testing.assert_allclose(back.gradient, run.jacobian, rtol=1e-11, atol=1e-14)
    for j in range(9):
        moved = []
        for d in (1e-6, -1e-6):
            flat = np.append(x0["logs"], x0["shift"])
            flat[j] += d
            x = {"logs": flat[:8], "shift": flat[8]}
            moved.append(unroll_forward(objective, z0, x, ista, n_iterations).input_val)
        np.testing.assert_allclose(run.jacobian[:, j], (moved[0] - moved[1]) / 2e-6, atol=1e-8)


def test_lasso_all_zero():
    X, y, objective, step_size = lasso()
    x0 = np.log([1.1 * np.max(np.abs(X.T @ y)) / len(y)])
    ista = ProximalGradient(step_size, log_penalty)
    run = unroll_forward(objective, np.zeros(8), x0, ista, 20)
    assert not run.input_val.any() and not run.jacobian.any() and not run.residual_norms.any()
    assert not implicit_jacobian(objective, run.input_val, x0, log_penalty).any()
    assert not unroll_reverse(objective, np.zeros(8), x0, ista, 20, np.ones(8)).gradient.any()
    # from elsewhere the derivative is forgotten when the input becomes zero
    assert not unroll_forward(objective, np.ones(8), x0, ista, 40).jacobian.any()


def test_no_penalty_is_gradient_descent():
    objective, z0, x0 = logistic()
    plain = unroll_forward(objective, z0, x0, GradientDescent(0.1), 5)
    for penalty in (0.0, lambda x: 0.0 * x[0]):
        run = unroll_forward(objective, z0, x0, ProximalGradient(0.1, penalty), 5)
        np.testing.assert_allclose(run.jacobian, plain.jacobian, rtol=1e-13)
    with_number = unroll_forward(objective, z0, x0, ProximalGradient(0.1, 0.4), 5)
    as_function = unroll_forward(objective, z0, x0, ProximalGradient(0.1, lambda x: 0.4), 5)
    assert np.max(np.abs(with_number.jacobian - plain.jacobian)) > 1e-3
    np.testing.assert_array_equal(with_number.jacobian, as_function.jacobian)


def test_dictionary_learning_gradient():
    """Sparse codes of three signals by ISTA, differentiated in the dictionary, backwards with checkpoints."""
    rng = np.random.default_rng(5)
    signals, dictionary = rng.standard_normal((4, 3)), rng.standard_normal((4, 6))

    def objective(codes, D):
        return 0.5 * anp.sum((anp.dot(D, codes) - signals) ** 2)

    ista = ProximalGradient(0.5 / np.linalg.norm(dictionary, 2) ** 2, 0.3)
    args = (np.zeros((6, 3)), dictionary, ista, 25)

    def adjoint(flat):
        return (dictionary.T @ (dictionary @ flat.reshape(6, 3) - signals)).ravel()

    back = unroll_reverse(objective, *args, adjoint, n_checkpoints=4)
    codes = back.input_val.reshape(6, 3)
    gradient = back.gradient.reshape(4, 6) + (dictionary @ codes - signals) @ codes.T

    def loss(D):
        return objective(unroll_forward(objective, args[0], D, ista, 25).input_val.reshape(6, 3), D)

    direction = rng.standard_normal((4, 6))
    difference = (loss(dictionary + 1e-5 * direction) - loss(dictionary - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(np.sum(gradient * direction), difference, rtol=1e-7)
    assert back.n_products == 25 and 0 < np.sum(codes == 0.0) < codes.size


def test_dictionary_learning_jacobian_against_scikit_learn():
    """The sparse code's derivative in every entry of the dictionary, by solving again beside it."""
    rng = np.random.default_rng(7)
    signal, dictionary = rng.standard_normal(6), rng.standard_normal((6, 4))

    def objective(code, D):
        return 0.5 * anp.sum((anp.dot(D, code) - signal) ** 2)

    def code(D):
        return Lasso(alpha=0.4 / 6, fit_intercept=False, tol=1e-15, max_iter=100000).fit(D, signal).coef_

    ista = ProximalGradient(1.0 / np.linalg.norm(dictionary, 2) ** 2, 0.4)
    run = unroll_forward(objective, np.zeros(4), dictionary, ista, 250)
    exact = code(dictionary)
    np.testing.assert_allclose(run.input_val, exact, atol=1e-10)
    assert 0 < np.sum(exact != 0.0) < 4
    implicit = implicit_jacobian(objective, exact, dictionary, 0.4)
    np.testing.assert_allclose(run.jacobian, implicit, atol=1e-9)
    back = unroll_reverse(objective, np.zeros(4), dictionary, ista, 250, np.eye(4))
    np.testing.assert_allclose(back.gradient, run.jacobian, atol=1e-13)
    for j, step in enumerate(1e-5 * np.eye(24).reshape(24, 6, 4)):
        difference = (code(dictionary + step) - code(dictionary - step)) / 2e-5
        np.testing.assert_allclose(implicit[:, j], difference, atol=1e-7)


def test_at_the_threshold_to_rounding_is_refused():
    # 3 * 0.1 is over 0.3 by rounding: on one side the derivative is 0, on the other -3
    args = (lambda z, x: 0.5 * anp.sum((z - 0.3) ** 2), np.zeros(1), np.array([0.1]))
    ista = ProximalGradient(1.0, lambda x: 3.0 * x[0])
    for run in (unroll_forward, lambda *args: unroll_reverse(*args, np.ones(1))):
        with pytest.raises(NonSmoothError, match="exactly at the threshold"):
            run(*args, ista, 1)
    for factor, slope in ((1.0 - 1e-12, -3.0), (1.0 + 1e-12, 0.0)):
        beside = unroll_forward(args[0], args[1], factor * args[2], ista, 1)
        np.testing.assert_allclose(beside.jacobian, [[slope]], rtol=1e-9)


def test_zero_weights():
    """A weight that is zero is no penalty, unless it grows with the hyper where the input is zero: a kink."""

    def objective(z, x):
        return 0.5 * anp.sum((z - anp.array([1.0, 1.0]) * x[1] - anp.array([2.0, 0.0])) ** 2)

    grows, stays = (lambda x: x[0] * anp.array([1.0, 1.0])), (lambda x: x[0] ** 2 * anp.array([1.0, 1.0]))
    first = lambda x: x[0] * anp.array([1.0, 0.0])  # noqa: E731
    z0, x0 = np.zeros(2), np.zeros(2)
    minimum = np.array([2.0, 0.0])
    for penalty in (grows, lambda x: x[0]):
        for run in (unroll_forward, lambda *args: unroll_reverse(*args, np.ones(2))):
            with pytest.raises(NonSmoothError, match="input 1"):
                run(objective, z0, x0, ProximalGradient(1.0, penalty), 2)
        with pytest.raises(NonSmoothError, match="input 1"):
            implicit_jacobian(objective, minimum, x0, penalty)
    for penalty, expected in ((stays, [[0.0, 1.0], [0.0, 1.0]]), (first, [[-1.0, 1.0], [0.0, 1.0]])):
        method = ProximalGradient(1.0, penalty)
        np.testing.assert_allclose(unroll_forward(objective, z0, x0, method, 2).jacobian, expected)
        np.testing.assert_allclose(unroll_reverse(objective, z0, x0, method, 2, np.eye(2)).gradient, expected)
        np.testing.assert_allclose(implicit_jacobian(objective, minimum, x0, penalty), expected)


def test_exactly_at_the_threshold_is_refused():
    def objective(z, x):
        return 0.5 * anp.sum((z - 1.0) ** 2)

    ista = ProximalGradient(1.0, lambda x: x[0])
    for run in (unroll_forward, lambda *args: unroll_reverse(*args, np.ones(2))):
        with pytest.raises(NonSmoothError, match="exactly at the threshold"):
            run(objective, np.zeros(2), np.ones(1), ista, 3)
    with pytest.raises(NonSmoothError, match="about to become active"):
        implicit_jacobian(objective, np.zeros(2), np.ones(1), lambda x: x[0])


# ---------------------------------------------------------------- residual polynomials

SPECTRA = {"several": [0.7, 1.0, 2.5, 6.0], "one": [2.0], "equal": [3.0, 3.0]}
POLYNOMIAL_METHODS = {
    "gradient descent": GradientDescent(0.3),
    "heavy ball": HeavyBall.fastest(0.7, 6.0),
    "no momentum": HeavyBall(0.3, 0.0),
    "chebyshev": Chebyshev(0.7, 6.0),
    "chebyshev of one eigenvalue": Chebyshev(3.0, 3.0),
}


@pytest.mark.parametrize("name", POLYNOMIAL_METHODS)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_polynomials_against_mpmath(name, spectrum):
    method, T = POLYNOMIAL_METHODS[name], 12
    values, derivatives = residual_polynomials(method, SPECTRA[spectrum], T)
    with mpmath.workdps(40):
        polynomial = mp_polynomial(method)
        for t in (0, 1, 2, 7, T):
            for i, eigenvalue in enumerate(SPECTRA[spectrum]):
                value = polynomial(t, mpmath.mpf(eigenvalue))
                slope = mpmath.diff(lambda s, t=t: polynomial(t, s), mpmath.mpf(eigenvalue))
                assert abs(values[t, i] - value) < 1e-13 * (1 + abs(value))
                assert abs(derivatives[t, i] - slope) < 1e-13 * (1 + abs(slope)) * (t + 1)


def mp_polynomial(method):
    """Closed forms."""
    if isinstance(method, Chebyshev):
        low, high = mpmath.mpf(method.smallest), mpmath.mpf(method.largest)
        if low == high:
            return lambda t, s: (1 - s / low) ** t

        def chebyshev(t, s):
            return mpmath.chebyt(t, (high + low - 2 * s) / (high - low)) / mpmath.chebyt(t, (high + low) / (high - low))

        return chebyshev
    h, m = mpmath.mpf(method.step_size), mpmath.mpf(getattr(method, "momentum", 0.0))
    if m == 0:
        return lambda t, s: (1 - h * s) ** t

    def heavy_ball(t, s):  # m^(t/2) (U_t - sqrt(m) U_{t-1}) at (1 + m - h s) / (2 sqrt(m))
        root = mpmath.sqrt(m)
        u = (1 + m - h * s) / (2 * root)
        before = mpmath.chebyu(t - 1, u) if t else 0
        return root**t * (mpmath.chebyu(t, u) - root * before)

    return heavy_ball


def test_gradient_descent_exponent_is_t():
    values, derivatives = residual_polynomials(GradientDescent(0.25), [1.0], 4)
    np.testing.assert_allclose(values[:, 0], 0.75 ** np.arange(5.0))  # and not 0.75^-t
    np.testing.assert_allclose(derivatives[1:, 0], -0.25 * np.arange(1, 5) * 0.75 ** np.arange(4.0))


@pytest.mark.parametrize("name", ["gradient descent", "fast", "chebyshev", "heavy ball", "wide chebyshev"])
def test_worst_case_factors_bound_a_fine_grid_closely(name):
    low, high, T = 0.5, 9.0, 40
    method = {
        "gradient descent": GradientDescent(1.0 / high),
        "fast": GradientDescent.fastest(low, high),
        "chebyshev": Chebyshev(low, high),
        "heavy ball": HeavyBall.fastest(low, high),
        "wide chebyshev": Chebyshev(0.3, 10.0),
    }[name]
    grid = np.linspace(low, high, 20001)
    values, derivatives = residual_polynomials(method, grid, T)
    found = worst_case_factors(method, low, high, T)
    for factor, exact in zip(found, (values - grid * derivatives, derivatives), strict=True):
        exact = np.max(np.abs(exact), axis=1)
        assert np.all(factor >= exact * (1.0 - 1e-10))
        assert np.all(factor <= exact * 1.021 + 1e-300)


def test_the_maximum_of_the_sum_is_no_bound():
    """The start's error along the largest eigenvector, the gradient's along the smallest: only the sum of maxima is."""
    low, high, t = 0.01, 1.0, 60
    h = 2.0 / (high + low) - 0.0114  # the factors at the two ends differ by 2 after t iterations
    ends = np.array([low, high])
    values, derivatives = residual_polynomials(GradientDescent(h), ends, t)
    of_start, of_gradient = np.abs(values - ends * derivatives)[t], np.abs(derivatives)[t]
    assert of_start[1] > of_start[0] and of_gradient[0] > of_gradient[1]
    g = 2.0 * of_start[1] / of_gradient[0]

    def objective(z, x):  # J_0 = 0, J* = (0, -1), G = (g, 0)
        linear = anp.array([low * g, -high]) + (x[0] - 1.0) * anp.array([g, 0.0])
        return 0.5 * anp.sum((ends + x[0] - 1.0) * z**2) + anp.dot(linear, z)

    theory = QuadraticUnrolling(objective, np.zeros(2), np.ones(1))
    error = theory.jacobian_error_norms(GradientDescent(h), t)
    np.testing.assert_allclose(error[[0, t]], [1.0, np.hypot(of_start[1], of_gradient[0] * g)], rtol=1e-10)
    assert error[t] > np.max(of_start + of_gradient * g)
    assert np.all(error <= theory.bound(GradientDescent(h), t) * (1.0 + 1e-12))


def test_closed_form_of_the_chebyshev_rate():
    low, high = 0.5, 9.0
    of_start, of_gradient = worst_case_factors(Chebyshev(low, high), low, high, 30)
    t = np.arange(31)
    c = 1.0 / eval_chebyt(t, (high + low) / (high - low))
    np.testing.assert_allclose(of_gradient, 2 * t**2 / (high - low) * c, rtol=1e-12)
    np.testing.assert_allclose(of_start[1:], ((2 * t**2 / (1 - low / high) - 1) * c)[1:], rtol=1e-12)
    long = worst_case_factors(Chebyshev(low, high), low, high, 3000)
    assert np.all(np.isfinite(long)) and np.max(np.abs(np.array(long)[:, -1])) == 0.0


# ---------------------------------------------------------------- quadratics


def random_ridge(seed):
    """A random quadratic of ridge type in two hypers: penalty and a factor of the linear part.

    For odd seeds the start is far off and does not depend on the hyper, and errors rise.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    X, b, c = rng.standard_normal((n + 3, n)), rng.standard_normal(n), rng.standard_normal(n)

    def objective(z, x):
        quadratic = 0.5 * anp.sum(anp.dot(X, z) ** 2) + 0.5 * anp.exp(x[0]) * anp.sum(z**2)
        return quadratic - anp.sin(x[1]) * anp.dot(b, z) + x[0] * anp.dot(c, z)

    x0 = np.array([rng.normal(), rng.normal()])
    H = X.T @ X + np.exp(x0[0]) * np.eye(n)
    z0, jacobian0 = rng.standard_normal(n), rng.standard_normal((n, 2))
    return objective, *((20.0 * z0, x0, 0.0 * jacobian0) if seed % 2 else (z0, x0, jacobian0)), ends(H)


def methods_on(low, high):
    return {
        "fastest": GradientDescent.fastest(low, high),
        "short": GradientDescent.short(high),
        "large step": GradientDescent(1.9 / high),
        "heavy ball": HeavyBall.fastest(low, high),
        "chebyshev": Chebyshev(0.9 * low, 1.1 * high),
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["fastest", "short", "large step", "heavy ball", "chebyshev"])
def test_identity_bound_and_peak_on_random_ridge_type_quadratics(seed, name):
    objective, z0, x0, jacobian0, (low, high) = random_ridge(seed)
    method, T = methods_on(low, high)[name], 30
    theory = QuadraticUnrolling(objective, z0, x0, jacobian0=jacobian0)
    run = unroll_forward(
        objective, z0, x0, method, T, jacobian0=jacobian0, keep=True, exact_jacobian=theory.solution_jacobian
    )
    predicted = theory.jacobian_errors(method, T)
    measured = run.jacobians - theory.solution_jacobian
    assert np.max(np.abs(predicted - measured)) <= 1e-10 * np.max(np.abs(measured))
    np.testing.assert_allclose(theory.jacobian_error_norms(method, T), run.jacobian_errors, rtol=1e-8, atol=1e-12)
    rounding = 1e-13 * run.jacobian_errors.max()
    for interval in (None, (0.5 * low, 1.04 * high)):
        assert np.all(run.jacobian_errors <= theory.bound(method, T, interval) * (1.0 + 1e-9) + rounding)
    peak = int(np.argmax(run.jacobian_errors))
    assert abs(theory.initial_rise(method, T).iteration - peak) <= 1
    assert peak > 0 or seed % 2 == 0


def test_solution_and_spectrum_of_a_ridge_regression():
    objective, z0, x0, exact = ridge()
    theory = QuadraticUnrolling(objective, z0, x0)
    np.testing.assert_allclose(theory.eigenvalues, np.linalg.eigvalsh(exact["H"]), rtol=1e-12)
    np.testing.assert_allclose(theory.solution, exact["solution"], rtol=1e-11)
    np.testing.assert_allclose(theory.solution_jacobian, exact["jacobian"], rtol=1e-11)
    np.testing.assert_allclose(implicit_jacobian(objective, exact["solution"], x0), exact["jacobian"], rtol=1e-11)
    assert theory.commutator_norm < 1e-14
    vectors = theory.eigenvectors
    np.testing.assert_allclose(vectors @ np.diag(theory.eigenvalues) @ vectors.T, exact["H"], atol=1e-12)


def test_small_steps_never_rise_and_the_fastest_do():
    objective, _, x0, exact = ridge(penalty=0.1, shares=[1.0, 1.0, 1.0, 1.0, 5.0])
    low, high = ends(exact["H"])
    theory = QuadraticUnrolling(objective, np.zeros(5), x0)  # from zero a ridge penalty has no gradient: G = 0
    small = unroll_forward(
        objective, np.zeros(5), x0, GradientDescent.short(high), 60, exact_jacobian=exact["jacobian"]
    )
    assert np.all(np.diff(small.jacobian_errors) <= 0.0)
    rise = theory.initial_rise(GradientDescent.short(high), 60)
    assert (rise.iteration, rise.height, rise.recovered) == (0, 1.0, 0)
    # while the error of the input falls at every step
    fast = GradientDescent(1.95 / high)
    run = unroll_forward(
        objective, np.zeros(5), x0, fast, 150, exact_jacobian=exact["jacobian"], exact_input=exact["solution"]
    )
    rise = theory.initial_rise(fast, 150)
    assert np.all(np.diff(run.input_errors) <= 1e-15) and rise.iteration > 0
    np.testing.assert_allclose(rise.height, run.jacobian_errors.max() / run.jacobian_errors[0], rtol=1e-10)
    over = run.jacobian_errors > run.jacobian_errors[0]
    assert over[rise.recovered - 1] and not over[rise.recovered :].any()
    assert theory.initial_rise(fast, rise.iteration).recovered is None


@pytest.mark.parametrize("step", [1.2, 1.5, 1.9, 1.99])
def test_peak_from_the_largest_eigenvalue_alone(step):
    # the solution lies along the eigenvector that rises most
    scales, b = np.array([0.2, 1.0, 8.0]), np.array([0.01, 0.05, 40.0])

    def objective(z, x):
        return 0.5 * anp.sum((scales + x[0]) * z**2) - anp.dot(b, z)

    method, x0 = GradientDescent(step / 8.1), np.array([0.1])
    exact = -b / (scales + 0.1) ** 2
    run = unroll_forward(objective, np.zeros(3), x0, method, 110, exact_jacobian=exact[:, None])
    measured = int(np.argmax(run.jacobian_errors))
    assert abs(gradient_descent_peak(method.step_size, 8.1) - measured) <= 1.0
    assert QuadraticUnrolling(objective, np.zeros(3), x0).initial_rise(method, 110).iteration == measured


@pytest.mark.parametrize("u, rises", [(0.5, False), (1.0, False), (1.2, False), (1.41, False), (1.42, True)])
def test_a_rise_begins_at_the_square_root_of_two(u, rises):
    of_start, _ = worst_case_factors(GradientDescent(u), 1e-3, 1.0, 60)
    assert (np.max(of_start) > 1.0 + 1e-12) == rises
    assert abs(gradient_descent_peak(u, 1.0) - 1 - np.argmax(of_start[1:])) <= 1.0  # those at 0 and 1 are equal


def test_step_size_trade_off_against_measured():
    objective, z0, x0, exact = ridge(penalty=0.2, shares=[1.0, 1.0, 1.0, 1.0, 5.0])
    low, high = ends(exact["H"])
    theory = QuadraticUnrolling(objective, 0.0 * z0, x0)
    steps = np.array([0.5, 1.0, 1.6, 2.0 * high / (high + low)]) / high
    trade = theory.step_size_trade_off(steps, 40)
    for i, h in enumerate(steps):
        errors = unroll_forward(
            objective, 0.0 * z0, x0, GradientDescent(h), 40, exact_jacobian=exact["jacobian"]
        ).jacobian_errors
        assert trade.peaks[i] == np.argmax(errors)
        np.testing.assert_allclose(trade.heights[i], errors.max() / errors[0], rtol=1e-9)
        np.testing.assert_allclose(trade.final_errors[i], errors[-1] / errors[0], rtol=1e-6)
        assert trade.rates[i] == pytest.approx(max(abs(1 - h * low), abs(1 - h * high)))
    assert np.argmin(trade.rates) == 3 and trade.heights[3] > 1.0 and np.all(trade.heights[:2] == 1.0)
    with pytest.raises(DivergenceError, match="must be under"):
        theory.step_size_trade_off([2.0 / high], 5)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4, 1e8])
def test_quadratics_of_any_scale_commute(scale):
    """All of the objective times exp(x): H commutes with its derivative, which is H, and J* = 0."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 4)), rng.standard_normal(6)

    def objective(z, x):
        return 0.5 * anp.exp(x[0]) * anp.sum((anp.dot(X, z) - scale * y) ** 2)

    theory = QuadraticUnrolling(objective, np.zeros(4), np.zeros(1))
    assert theory.commutator_norm < 1e-14
    np.testing.assert_allclose(theory.solution, scale * np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-11)
    assert np.max(np.abs(theory.solution_jacobian)) < 1e-11 * scale


@pytest.mark.parametrize("scale", [1e8, 1e10])
def test_terms_that_show_only_far_off_are_found(scale):
    # beside the start the cubic term is under the rounding of the linear one; at the minimum it is not
    def objective(z, x):
        return 0.5 * anp.sum((1.0 + x[0]) * z**2) + scale * anp.sum(z) + 1e-3 * anp.sum(z**3)

    with pytest.raises(NotQuadraticError):
        QuadraticUnrolling(objective, np.zeros(2), np.ones(1))


def test_identity_fails_where_the_hessian_does_not_commute():
    objective, z0, x0, exact = ridge()

    def per_input(z, x):
        return objective(z, anp.array([0.1])) + 0.5 * x[0] * z[0] ** 2

    with pytest.raises(NotCommutingError, match="does not commute") as caught:
        QuadraticUnrolling(per_input, z0, x0)
    A = np.zeros((5, 5))
    A[0, 0] = 1.0
    H = exact["H"] + (0.1 - x0[0]) * np.eye(5) + x0[0] * A
    expected = np.linalg.norm(A @ H - H @ A) / np.linalg.norm(H)
    assert caught.value.commutator_norm == pytest.approx(expected, rel=1e-10)
    assert pickle.loads(pickle.dumps(caught.value)).commutator_norm == caught.value.commutator_norm
    with pytest.raises(NotCommutingError):
        QuadraticUnrolling(per_input, z0, x0, commutator_tol=np.nan)
    # with a tolerance that lets it pass the identity is wrong, which is why it is refused
    method = GradientDescent.fastest(*ends(H))
    theory = QuadraticUnrolling(per_input, z0, x0, commutator_tol=1.0)
    run = unroll_forward(per_input, z0, x0, method, 10, exact_jacobian=theory.solution_jacobian)
    assert np.max(np.abs(run.jacobian_errors - theory.jacobian_error_norms(method, 10))) > 1e-3


def test_already_at_the_minimum():
    objective, _, x0, exact = ridge()
    method = GradientDescent(0.9 / ends(exact["H"])[1])
    run = unroll_forward(objective, exact["solution"], x0, method, 20, exact_jacobian=exact["jacobian"])
    theory = QuadraticUnrolling(objective, exact["solution"], x0, jacobian0=exact["jacobian"])
    assert theory.jacobian_error_norms(method, 5).max() < 1e-13
    assert run.jacobian_errors[0] == np.linalg.norm(exact["jacobian"]) and run.residual_norms.max() < 1e-12


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("factor, n_iterations", [(2.5, 10), (4.0, 100), (2.3, 150), (1e3, 100)])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_step_too_large_is_named(factor, n_iterations, momentum):
    objective, z0, x0, exact = ridge()
    h = factor * (1.0 + momentum) / ends(exact["H"])[1]
    method = HeavyBall(h, momentum) if momentum else GradientDescent(h)
    for run in (unroll_forward, lambda *args: unroll_reverse(*args, np.ones(5), n_checkpoints=9)):
        with pytest.raises(DivergenceError, match="run away.*reduce the step size"):
            run(objective, z0, x0, method, n_iterations)
    with pytest.raises(DivergenceError, match="must be under"):
        QuadraticUnrolling(objective, z0, x0).bound(method, 3)


def test_proximal_gradient_with_too_large_a_step_is_named():
    _, _, objective, step_size = lasso()
    with pytest.raises(DivergenceError):
        unroll_forward(objective, np.zeros(8), np.log([0.1]), ProximalGradient(3.0 * step_size, log_penalty), 100)
    with pytest.raises(DivergenceError, match="must be under"):
        ProximalGradient(1.0, 0.1).check_spectrum(3.0)
    with pytest.raises(DivergenceError, match="pass largest"):
        Chebyshev(1.0, 2.0).check_spectrum(3.5)


def test_slow_convergence_is_no_divergence():
    objective, z0, x0, exact = ridge(penalty=1e-4)
    high = ends(exact["H"])[1]
    for method in (GradientDescent(1.999 / high), HeavyBall(3.7 / high, 0.9), Chebyshev(1e-4 * high, high)):
        for n_iterations in (1, 2, 5, 30):
            assert np.all(np.isfinite(unroll_forward(objective, z0, x0, method, n_iterations).jacobian))


def test_leaving_a_saddle_is_no_divergence():
    """From beside a maximum the gradient grows by nine orders before it falls: z_t tends to x + pi."""
    args = (lambda z, x: anp.sum(anp.cos(z - x)), np.array([1e-9]), np.zeros(1), GradientDescent(0.5))
    run = unroll_forward(*args, 200)
    np.testing.assert_allclose(run.input_val, np.pi, rtol=1e-12)
    np.testing.assert_allclose(run.jacobian, [[1.0]], rtol=1e-9)
    assert run.residual_norms.max() > 1e8 * run.residual_norms[0]
    np.testing.assert_allclose(unroll_reverse(*args, 200, np.ones(1), n_checkpoints=20).gradient, [1.0], rtol=1e-9)


def test_an_objective_without_minimum_is_named():
    def objective(z, x):
        return -0.5 * x[0] * anp.sum(z**2)

    for run in (unroll_forward, lambda *args: unroll_reverse(*args, np.ones(1))):
        with pytest.raises(DivergenceError, match="no minimum there"):
            run(objective, np.ones(1), np.ones(1), GradientDescent(0.5), 100)


def test_second_derivatives_that_overflow_are_named():
    def objective(z, x):  # the gradient is 1e148, its derivative in x 1e313
        return anp.sum(z) / x[0] ** 0.9 + 0.5 * anp.sum(z**2)

    for run in (unroll_forward, lambda *args: unroll_reverse(*args, np.ones(1))):
        with pytest.raises(NonFiniteError, match="NaN or infinite"):
            run(objective, np.ones(1), np.array([1e-165]), GradientDescent(0.5), 1)


def test_a_gradient_that_is_not_finite_at_an_iterate_is_named():
    in_input = lambda z, x: anp.sum(anp.sqrt(z)) * x[0], np.zeros(1), np.ones(1)  # noqa: E731
    in_hyper = lambda z, x: anp.sum(z**2) * anp.sqrt(x[0]), np.ones(1), np.zeros(1)  # noqa: E731
    forward, reverse = unroll_forward, lambda *args: unroll_reverse(*args, np.ones(1))
    for run, model, what in [
        (forward, in_input, "1 of 1 elements of the objective's gradient"),
        (reverse, in_input, "1 of 1 elements of the objective's gradient"),
        (reverse, in_hyper, "gradient in the hyper is NaN or infinite at an input or iterate"),
    ]:
        with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=what):
            run(*model, GradientDescent(0.1), 1)


@pytest.mark.parametrize("run", [unroll_forward, lambda *args: unroll_reverse(*args, np.ones(2))])
def test_one_iteration_checks_as_many_do(run):
    with pytest.raises(ShapeError, match="a scalar is needed"):
        run(lambda z, x: z * x[0], np.zeros(2), np.ones(1), GradientDescent(0.1), 1)
    with pytest.raises(NonFiniteError, match="objective is nan"):
        run(lambda z, x: anp.sum(z) * x[0] + np.nan, np.zeros(2), np.ones(1), GradientDescent(0.1), 1)


BAD_CALLS = {
    "method": (TypeError, dict(method="gradient descent")),
    "negative iterations": (ValueError, dict(n_iterations=-1)),
    "half iterations": (TypeError, dict(n_iterations=1.5)),
    "true iterations": (TypeError, dict(n_iterations=True)),
    "shape of the start": (ShapeError, dict(jacobian0=np.zeros((2, 3)))),
    "NaN in the start": (NonFiniteError, dict(jacobian0=np.full((3, 2), np.nan))),
    "vector objective": (ShapeError, dict(objective=lambda z, x: z * x[0])),
    "NaN objective": (NonFiniteError, dict(objective=lambda z, x: anp.sum(anp.log(z - 10.0) * x[0]))),
    "independent": (IndependentError, dict(objective=lambda z, x: anp.sum(z**2))),
    "negative penalty": (ValueError, dict(method=ProximalGradient(0.1, lambda x: x[1]))),
    "NaN penalty": (NonFiniteError, dict(method=ProximalGradient(0.1, lambda x: anp.log(x[1])))),
    "complex start": (TypeError, dict(jacobian0=np.zeros((3, 2)) * 1j)),
    "complex penalty": (TypeError, dict(method=ProximalGradient(0.1, lambda x: 1j * x[0]))),
    "number of weights": (ShapeError, dict(method=ProximalGradient(0.1, lambda x: x))),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name):
    objective, z0, x0 = logistic()
    error, changes = BAD_CALLS[name]
    call = dict(objective=objective, input_val0=z0, hyper_val0=x0, method=GradientDescent(0.1), n_iterations=3)
    call |= changes
    with pytest.raises(error):
        unroll_forward(**call)
    with pytest.raises(error):
        unroll_reverse(**call, adjoint=np.ones(3))


@pytest.mark.parametrize(
    "error, changes",
    [
        (ShapeError, dict(adjoint=np.ones(2))),
        (ShapeError, dict(adjoint=np.ones((1, 1, 3)))),
        (ShapeError, dict(adjoint=lambda z: np.ones(4))),
        (NonFiniteError, dict(adjoint=np.array([1.0, np.inf, 0.0]))),
        (TypeError, dict(adjoint=np.ones(3) * 1j)),
        (TypeError, dict(adjoint=None)),
        (ValueError, dict(n_checkpoints=0)),
        (TypeError, dict(n_checkpoints=2.0)),
    ],
)
def test_bad_adjoints_and_checkpoints(error, changes):
    objective, z0, x0 = logistic()
    with pytest.raises(error):
        unroll_reverse(objective, z0, x0, GradientDescent(0.1), 3, **(dict(adjoint=np.ones(3)) | changes))


def test_bad_exact_values():
    objective, z0, x0 = logistic()
    with pytest.raises(ShapeError):
        unroll_forward(objective, z0, x0, GradientDescent(0.1), 3, exact_jacobian=np.zeros((3, 1)))
    with pytest.raises(ShapeError):
        unroll_forward(objective, z0, x0, GradientDescent(0.1), 3, exact_input=np.zeros(4))


@pytest.mark.parametrize(
    "make",
    [
        lambda: GradientDescent(0.0),
        lambda: GradientDescent(np.nan),
        lambda: GradientDescent([0.1, 0.2]),
        lambda: HeavyBall(0.1, 1.0),
        lambda: HeavyBall(0.1, -0.1),
        lambda: Chebyshev(2.0, 1.0),
        lambda: Chebyshev(0.0, 1.0),
        lambda: ProximalGradient(0.1, -1.0),
        lambda: worst_case_factors(GradientDescent(0.1), 0.0, 1.0, 3),
        lambda: residual_polynomials(GradientDescent(0.1), 1.0, 3),
        lambda: residual_polynomials(GradientDescent(0.1), [np.nan], 3),
        lambda: worst_case_factors(Chebyshev(1.0, 2.0), 1.0, 2.0, -1),
        lambda: HeavyBall(0.1, [0.1, 0.2]),
        lambda: ProximalGradient(0.1, [0.1, 0.2]),
        lambda: gradient_descent_peak(1.0, 0.0),
        lambda: gradient_descent_peak(1.0, -1.0),
        lambda: gradient_descent_peak(1.0, np.nan),
        lambda: GradientDescent(0.1).check_spectrum(0.0),
        lambda: Chebyshev(1.0, 2.0).check_spectrum(np.nan),
    ],
)
def test_bad_methods(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: GradientDescent("a"),
        lambda: ProximalGradient(0.1, "a"),
        lambda: HeavyBall(0.1, None),
        lambda: worst_case_factors(Chebyshev(1.0, 2.0), 1.0, 2.0, 2.5),
    ],
)
def test_methods_of_what_is_no_number(make):
    with pytest.raises(TypeError, match="a number is needed|must be an integer"):
        make()


def test_polynomials_that_overflow_are_named():
    with pytest.raises(DivergenceError, match="eigenvalue 1e\\+03.*overflows at iteration 78"):  # 9999^78 = 1e312
        residual_polynomials(GradientDescent(10.0), [1.0, 1000.0], 500)


def test_polynomials_of_what_is_not_linear_are_refused():
    with pytest.raises(OperandError, match="not linear"):
        residual_polynomials(ProximalGradient(0.1, 1.0), [1.0], 3)
    objective, z0, x0, _ = ridge()
    theory = QuadraticUnrolling(objective, z0, x0)
    for call in (residual_polynomials, lambda method, *_: theory.bound(method, 3), theory.jacobian_errors):
        with pytest.raises(TypeError, match="Chebyshev is needed"):
            call("chebyshev", *([[1.0], 3] if call is residual_polynomials else [3]))
    with pytest.raises(TypeError, match="Chebyshev is needed"):
        worst_case_factors("chebyshev", 1.0, 2.0, 3)


@pytest.mark.parametrize(
    "error, objective",
    [
        (NotQuadraticError, lambda z, x: anp.sum(anp.exp(z)) + x[0] * anp.sum(z**2)),
        (NotQuadraticError, lambda z, x: anp.sum(z**2) * x[0] + (x[0] - 1.0) * anp.sum(z**4)),
        (NotPositiveDefiniteError, lambda z, x: x[0] * anp.dot(anp.array([1.0, -1.0]), z**2)),
        (NotPositiveDefiniteError, lambda z, x: x[0] * anp.sum(z) ** 2),
        (IndependentError, lambda z, x: anp.sum(z**2)),
    ],
)
def test_quadratics_that_are_none(error, objective):
    with pytest.raises(error):
        QuadraticUnrolling(objective, np.array([0.3, 0.4]), np.ones(1))


def test_a_quadratic_at_a_kink_in_the_hyper_is_refused():
    with pytest.raises(NonSmoothError):
        QuadraticUnrolling(lambda z, x: anp.sum((1.0 + anp.abs(x)) * z**2) + anp.sum(z * x), np.ones(2), np.zeros(1))


def test_an_interval_that_misses_eigenvalues_is_refused():
    objective, z0, x0, exact = ridge()
    low, high = ends(exact["H"])
    theory = QuadraticUnrolling(objective, z0, x0)
    for interval in ((low, 0.9 * high), (1.1 * low, high)):
        with pytest.raises(ValueError, match="not all in the interval"):
            theory.bound(GradientDescent(0.01), 3, interval)


def test_implicit_jacobian_refuses_what_is_no_minimum():
    objective, z0, x0, exact = ridge()
    with pytest.raises(NotASolutionError, match="Newton step"):
        implicit_jacobian(objective, z0, x0)
    implicit_jacobian(objective, exact["solution"] + 1e-3, x0, optimum_tol=1.0)
    with pytest.raises(NotPositiveDefiniteError):
        implicit_jacobian(lambda z, x: x[0] * anp.sum(z) ** 2, np.zeros(2), np.ones(1))
    with pytest.raises(IndependentError):
        implicit_jacobian(lambda z, x: anp.sum(z**2), np.zeros(2), np.ones(1))
    _, _, smooth, _ = lasso()
    with pytest.raises(NotASolutionError, match="over the penalty"):
        implicit_jacobian(smooth, np.zeros(8), np.log([0.1]), log_penalty)
