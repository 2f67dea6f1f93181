"""Functionals against identities, closed forms and exact refits; the adjoint gradient against finite differences."""

import functools
from concurrent.futures import ThreadPoolExecutor

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.extend import defvjp, primitive
from problems import MODELS, normal

import vittles_ng as vn
from vittles_ng import functionals
from vittles_ng.errors import IndependentError, NonFiniteError, NonSmoothError, ShapeError

Expansion = vn.ParametricSensitivityTaylorExpansion
X_NEW = normal(5, 3, start=0.77)


def held_out_loss(b):
    eta = anp.dot(X_NEW, b)
    return anp.mean(anp.logaddexp(0.0, eta) - np.array([1.0, 0.0, 0.0, 1.0, 1.0]) * eta)


QUANTITIES = {
    "ridge prediction": ("ridge path", lambda b: anp.dot(X_NEW, b)),
    "ridge profile": ("ridge path", MODELS["ridge path"].function),
    "ridge one coefficient of many weights": ("ridge weights", lambda b: b[1] / b[2]),
    "odds ratios": ("logistic", lambda b: anp.exp(b)),
    "held-out loss": ("logistic", held_out_loss),
    "penalised loss": ("logistic", lambda b, hyper: held_out_loss(b) + hyper[-1] * anp.sum(b**2)),
    "logistic profile": ("logistic", MODELS["logistic"].function),
    "mixture proportion": ("mixture", lambda theta: 1.0 / (1.0 + anp.exp(-theta[0]))),
    "matrix of rates": ("poisson", lambda b, hyper: anp.exp(anp.outer(b, hyper))),
    "net prediction": ("net", lambda theta: anp.dot(anp.tanh(0.3 * theta[0:2] + theta[2:4]), theta[4:6]) + theta[6]),
    "instruments": ("instruments", lambda b, weights: anp.sum(b**2) * anp.mean(weights)),
    "two roots": ("two equations", lambda roots, eps: roots[0] ** 2 * roots[1] + eps[0]),
}


def exact_values(name, hypers):
    model, fun = MODELS[QUANTITIES[name][0]], QUANTITIES[name][1]
    n_arguments = fun.__code__.co_argcount
    return np.array([fun(*(model.exact(h), h)[:n_arguments]) for h in hypers])


# ---- the numbers ----


@pytest.mark.parametrize("order", [1, 2, 4, 6])
@pytest.mark.parametrize("name", QUANTITIES)
def test_error_against_exact_refits_falls_as_the_order_says(name, order):
    model, fun = MODELS[QUANTITIES[name][0]], QUANTITIES[name][1]
    scales = np.array([0.9, 0.45]) * (2.0 if order == 6 else 1.0)
    hypers = model.hyper_val0 + scales[:, None] * model.step
    got = model.expand(order).functional(fun).evaluate_taylor_series(hypers)
    errors = np.linalg.norm((got - exact_values(name, hypers)).reshape(2, -1), axis=1)
    assert errors[1] > 1e-13, "no longer the error of the series but rounding: take a larger step"
    assert abs(np.log2(errors[0] / errors[1]) - (order + 1)) < 0.6


@pytest.mark.parametrize(
    ("name", "fun", "expected"),
    [
        # what the estimating equation makes of the solution is known to every order
        ("lambert", lambda x: x * anp.exp(x), lambda eps, d: [eps, d, 0 * d, 0 * d, 0 * d]),
        (
            "lambert",
            lambda x, eps: anp.log(x) + x - anp.log(eps) + eps**3,
            lambda eps, d: [eps**3, 3 * eps**2 * d, 3 * eps * d**2, d**3, 0 * d],
        ),
        ("cubic", lambda x: x**3 + x, lambda eps, d: [eps, d, 0 * d, 0 * d, 0 * d]),
        (
            "two equations",  # x^2 + y^2 = (x + y)^2 - 2 x y
            lambda roots: anp.sum(roots**2),
            lambda eps, d: [5.0, 6 * d[0] - 2 * d[1], d[0] ** 2, 0.0, 0.0],
        ),
        ("two equations", lambda roots, eps: eps[1] ** 2, lambda eps, d: [0.0, 0.0, d[1] ** 2, 0.0, 0.0]),
    ],
)
def test_series_known_from_identities(name, fun, expected):
    model = MODELS[name]
    steps = np.array([1.0, -0.5, 2.0])[:, None] * model.step
    expansion = model.expand(4).functional(fun)
    terms = expansion.evaluate_taylor_series_terms(model.hyper_val0 + steps)
    wanted = np.array([[expected(model.hyper_val0, d)[k] for d in steps] for k in range(5)])
    np.testing.assert_allclose(terms, wanted.reshape(terms.shape), rtol=0, atol=2e-13)


def test_the_series_of_a_linear_functional_is_that_of_the_input():
    model = MODELS["ridge path"]
    terms = (
        model.expand(8)
        .functional(lambda b: anp.dot(X_NEW, b))
        .evaluate_taylor_series_terms(model.hyper_val0 + model.step)
    )
    np.testing.assert_allclose(terms, model.series(8) @ X_NEW.T, rtol=0, atol=1e-13)


# ---- shapes and arguments ----


@pytest.mark.parametrize("numbers_at_once", [1, 4_000_000])
@pytest.mark.parametrize("name", QUANTITIES)
def test_a_batch_is_its_steps(name, numbers_at_once, monkeypatch):
    monkeypatch.setattr(functionals, "_NUMBERS_AT_ONCE", numbers_at_once)
    model, fun = MODELS[QUANTITIES[name][0]], QUANTITIES[name][1]
    rng = np.random.default_rng(4)
    hypers = model.hyper_val0 + 0.3 * model.step * rng.standard_normal((700, len(model.step)))
    expansion = model.expand(3).functional(fun)
    together = expansion.evaluate_taylor_series(hypers)
    assert together.shape == (700, *expansion.value0.shape)
    chosen = [0, 1, 350, 511, 512, 699]
    alone = np.array([expansion.evaluate_taylor_series(hypers[i]) for i in chosen])
    np.testing.assert_allclose(together[chosen], alone, rtol=1e-12, atol=1e-14)


def test_terms_offset_and_order():
    model = MODELS["logistic"]
    expansion = model.expand(4).functional(QUANTITIES["odds ratios"][1])
    hypers = model.hyper_val0 + np.array([[1.0], [-0.5]]) * model.step
    terms = expansion.evaluate_taylor_series(hypers, sum_terms=False)
    assert terms.shape == (5, 2, 3)
    np.testing.assert_array_equal(terms, expansion.evaluate_taylor_series_terms(hypers))
    np.testing.assert_array_equal(terms[0], [np.exp(model.input_val0)] * 2)
    assert not expansion.evaluate_taylor_series_terms(hypers, add_offset=False)[0].any()
    np.testing.assert_allclose(expansion.evaluate_taylor_series(hypers), terms.sum(axis=0), rtol=1e-14)
    np.testing.assert_allclose(expansion.evaluate_taylor_series(hypers, max_order=2), terms[:3].sum(axis=0), rtol=1e-14)
    np.testing.assert_allclose(
        expansion.evaluate_taylor_series(hypers, add_offset=False), terms[1:].sum(axis=0), rtol=1e-12
    )
    assert expansion.evaluate_taylor_series_terms(hypers[0], max_order=1).shape == (2, 3)
    assert expansion.get_max_order() == 4
    assert "shape (3,)" in repr(expansion) and "order 4" in repr(expansion)


def test_shapes_of_a_scalar_functional():
    model = MODELS["ridge path"]
    expansion = model.expand(2).functional(lambda b: b[0])
    assert expansion.value0.shape == np.shape(expansion.evaluate_taylor_series(2.1)) == ()
    assert expansion.evaluate_taylor_series([[2.1], [2.2], [2.3]]).shape == (3,)
    assert expansion.evaluate_taylor_series(np.zeros((0, 1))).shape == (0,)
    assert expansion.evaluate_taylor_series_terms([[2.1], [2.2]]).shape == (3, 2)
    assert expansion.gradient().shape == (1,)


def test_structured_input_and_hyper():
    x, y = normal(9, 2, start=0.2), normal(9, start=0.5)

    def objective(theta, hyper):
        residual = y - anp.dot(x, theta["slope"]) - theta["level"]
        return anp.sum(hyper["weights"] * residual**2) + hyper["penalty"] * anp.sum(theta["slope"] ** 2)

    def exact(hyper):
        design = np.column_stack([np.ones(9), x])
        gram = (design.T * hyper["weights"]) @ design + hyper["penalty"] * np.diag([0.0, 1.0, 1.0])
        level, *slope = np.linalg.solve(gram, design.T @ (hyper["weights"] * y))
        return {"level": level, "slope": np.array(slope)}

    hyper0 = {"weights": np.ones(9), "penalty": 0.7}
    expansion = Expansion.optimization_objective(objective, exact(hyper0), hyper0, 6)

    def prediction(theta, hyper):
        return (theta["level"] + anp.dot(X_NEW[:, :2], theta["slope"])) * hyper["penalty"]

    got = expansion.functional(prediction)
    new = {"weights": 1.0 + 0.05 * normal(9, start=0.4), "penalty": 0.75}
    np.testing.assert_allclose(got.evaluate_taylor_series(new), prediction(exact(new), new), rtol=0, atol=1e-8)
    assert got.gradient().shape == (5, 10)


@pytest.mark.parametrize(
    ("fun", "value"),
    [
        (lambda b, hyper: b[0] * hyper[0], lambda b, h: b[0] * h[0]),
        (lambda *args: args[0][0] * args[1][0], lambda b, h: b[0] * h[0]),
        (lambda b, scale=3.0: scale * b[0], lambda b, h: 3 * b[0]),
        (functools.partial(lambda scale, b: scale * b[0], 2.0), lambda b, h: 2 * b[0]),
        (anp.exp, lambda b, h: np.exp(b)),
    ],
    ids=["two", "any", "default", "partial", "primitive"],
)
def test_arguments_are_told_by_the_signature(fun, value):
    model = MODELS["ridge path"]
    got = model.expand(2).functional(fun).value0
    np.testing.assert_allclose(got, value(model.input_val0, model.hyper_val0), rtol=1e-15)


def test_the_function_runs_once_and_the_callers_arrays_stay():
    model, runs = MODELS["logistic"], []

    def fun(b, hyper):
        runs.append(1)
        return anp.sum(b) * hyper[0]

    hypers = model.hyper_val0 + normal(600, 1, start=0.3) * model.step
    kept = hypers.copy()
    expansion = model.expand(5).functional(fun)
    expansion.evaluate_taylor_series(hypers)
    expansion.evaluate_taylor_series_terms(hypers[0])
    assert len(runs) == 1
    np.testing.assert_array_equal(hypers, kept)
    with pytest.raises(ValueError, match="read-only"):
        expansion.value0[...] = 0.0


def test_threads_share_an_expansion():
    model = MODELS["logistic"]
    expansion = model.expand(4).functional(held_out_loss)
    hypers = model.hyper_val0 + normal(40, 1, start=0.2) * model.step
    alone = [expansion.evaluate_taylor_series(hyper) for hyper in hypers]
    gradient = expansion.gradient()
    with ThreadPoolExecutor(4) as pool:
        gradients = [pool.submit(expansion.gradient) for _ in range(8)]
        np.testing.assert_array_equal(list(pool.map(expansion.evaluate_taylor_series, hypers)), alone)
        for found in gradients:
            np.testing.assert_array_equal(found.result(), gradient)


# ---- the gradient ----


@pytest.mark.parametrize("name", QUANTITIES)
def test_gradient_against_finite_differences_of_exact_refits(name):
    model, fun = MODELS[QUANTITIES[name][0]], QUANTITIES[name][1]
    expansion = model.expand(1).functional(fun)
    n_hyper = len(model.hyper_val0)
    directions = np.random.default_rng(6).uniform(-1.0, 1.0, (min(n_hyper, 3), n_hyper))

    def difference(h):
        ahead, back = (exact_values(name, model.hyper_val0 + sign * h * directions) for sign in (1, -1))
        return np.moveaxis(ahead - back, 0, -1) / (2 * h)

    gradient = expansion.gradient()
    expected = (4 * difference(5e-4) - difference(1e-3)) / 3  # Richardson
    assert gradient.shape == (*expansion.value0.shape, n_hyper)
    np.testing.assert_allclose(gradient @ directions.T, expected, rtol=0, atol=5e-9 * np.max(np.abs(expected)))


@pytest.mark.parametrize("name", QUANTITIES)
def test_gradient_is_the_first_order_of_the_series(name):
    model, fun = MODELS[QUANTITIES[name][0]], QUANTITIES[name][1]
    expansion = model.expand(1).functional(fun)
    first = expansion.evaluate_taylor_series_terms(model.hyper_val0 + model.step)[1]
    np.testing.assert_allclose(expansion.gradient() @ model.step, first, rtol=0, atol=1e-12 * (1 + np.abs(first).max()))


class Counting:
    """A solver that counts the right-hand sides."""

    def __init__(self, solver):
        self.solver, self.n_solve, self.n_transpose = solver, 0, 0

    def solve(self, rhs):
        self.n_solve += rhs[0].size
        return self.solver.solve(rhs)

    def solve_transpose(self, rhs):
        self.n_transpose += rhs[0].size
        return self.solver.solve_transpose(rhs)


@pytest.mark.parametrize("name", ["logistic", "instruments"])
def test_one_solve_per_functional(name):
    model = MODELS[name]
    expansion = model.expand(2)
    solver = Counting(expansion.solver)
    runs = []

    def fun(b):
        runs.append(1)
        return anp.array([b[0] * b[1], anp.exp(b[0])])

    made = vn.FunctionalExpansion(expansion._problem, solver, expansion._recursion, 2, fun)
    made.gradient()
    assert (solver.n_solve, solver.n_transpose) == (0, 2)
    assert len(runs) <= 3


def test_a_gradient_of_a_profile_needs_no_solution_derivative():
    # envelope theorem: at a minimum of the objective the solution's own derivative does not matter
    model = MODELS["logistic"]
    gradient = model.expand(1).functional(model.function).gradient()
    b = model.input_val0
    partial = autograd.grad(model.function, 1)(b, model.hyper_val0)
    np.testing.assert_allclose(gradient, partial, rtol=1e-12, atol=1e-13)


def test_a_reverse_pass_that_is_wrong_is_not_believed():
    # autograd's rule for x**y branches on y == 0: d/dh of h x**(h - 1) at h = 0 is 1 / x = 1/2, nested reverse says 2
    def objective(theta, hyper):
        return 0.5 * anp.sum((theta - 2.0) ** 2) + anp.sum(theta[0] ** hyper)

    theta0, hyper0 = np.array([2.0, 2.0]), np.zeros(2)
    nested = autograd.jacobian(autograd.grad(objective), 1)(theta0, hyper0)
    assert np.abs(nested[0] - 0.5).max() > 1.0
    expansion = Expansion.optimization_objective(objective, theta0, hyper0, 1)
    np.testing.assert_allclose(expansion.functional(lambda theta: theta[0]).gradient(), [-0.5, -0.5], rtol=1e-12)


@primitive
def cube(x):
    return x**3


@primitive
def cube_slope(x):
    return 3 * x**2


defvjp(cube, lambda ans, x: lambda g: g * cube_slope(x))  # cube_slope has no derivative in autograd
vn.defjet(cube, lambda k, y, x: sum(x[a] * x[b] * x[k - a - b] for a in range(k + 1) for b in range(k + 1 - a)))
vn.defjet(cube_slope, lambda k, y, x: 3 * sum(x[a] * x[k - a] for a in range(k + 1)))


def test_where_reverse_fails_the_tape_serves():
    # 3 h_0 (h_0 x)^2 = 12 h_1: x = 2 sqrt(h_1) h_0^(-3/2)
    def equation(x, hyper):
        return autograd.grad(lambda z: cube(z[0] * hyper[0]) - 12.0 * hyper[1] * z[0])(x)

    expansion = Expansion(equation, [2.0], [1.0, 1.0], 3)
    got = expansion.functional(lambda x: x[0])
    with pytest.raises(NotImplementedError):
        autograd.jacobian(lambda h: equation(np.array([2.0]), h))(np.ones(2))
    np.testing.assert_allclose(got.gradient(), [-3.0, 1.0], rtol=1e-13)
    terms = got.evaluate_taylor_series_terms([1.0, 1.1])
    np.testing.assert_allclose(terms, [2.0, 0.1, -0.0025, 0.000125], rtol=1e-12)


def test_gradient_needs_the_transpose():
    model = MODELS["instruments"]
    h = autograd.jacobian(model.function)(model.input_val0, model.hyper_val0)
    expansion = model.expand(1, hess_solver=lambda v: np.linalg.solve(h, v))
    with pytest.raises(TypeError, match="solve_transpose is not known"):
        expansion.functional(lambda b: b[0]).gradient()
    assert np.isfinite(expansion.functional(lambda b: b[0]).evaluate_taylor_series(model.hyper_val0 * 1.1))


# ---- bad input ----


@pytest.mark.parametrize(
    ("fun", "error", "message"),
    [
        ("not a function", TypeError, "fun\\(input, hyper\\)"),
        (lambda: 1.0, TypeError, "no argument"),
        (lambda b, hyper, third: 1.0, TypeError, "third"),
        (lambda b, hyper: 3.0, IndependentError, "neither the input nor the hyper"),
        (lambda b, hyper: anp.array([1.0, 2.0]), IndependentError, "neither the input nor the hyper"),
        (lambda b: (b[0], b[1]), TypeError, "returned a tuple"),
        (lambda b: [b[0], b[1]], TypeError, "returned a list"),
        (lambda b: {"first": b[0]}, TypeError, "returned a dict"),
        (lambda b: anp.fft.fft(b), TypeError, "complex128"),
        (lambda b: None, TypeError, "returned"),
        (lambda b: "two", TypeError, "returned"),
        (lambda b: anp.log(-anp.sum(b**2)), NonFiniteError, "not defined there"),
        (lambda b: b[0] / (b[1] - b[1]), NonFiniteError, "not defined there"),
        (lambda b: anp.abs(b[0] - MODELS["logistic"].input_val0[0]), NonSmoothError, "abs"),
    ],
)
def test_refused_functionals(fun, error, message):
    with pytest.raises(error, match=message):
        MODELS["logistic"].expand(2).functional(fun).evaluate_taylor_series(MODELS["logistic"].hyper_val0 * 1.01)


def test_refused_steps_and_orders():
    model = MODELS["ridge path"]
    expansion = model.expand(3).functional(lambda b: anp.exp(b))
    for wrong, error in [([1.0, 2.0, 3.0], ShapeError), ([np.nan], NonFiniteError), (["a"], TypeError)]:
        with pytest.raises(error):
            expansion.evaluate_taylor_series(wrong)
    for max_order, error in [(0, ValueError), (4, ValueError), (1.5, TypeError), (True, TypeError)]:
        with pytest.raises(error, match="max_order"):
            expansion.evaluate_taylor_series([2.1], max_order=max_order)
    with pytest.raises(NonFiniteError, match="order 2 .* at step 1"):
        expansion.evaluate_taylor_series([[2.1], [1e200], [2.2]])
    with pytest.raises(NonFiniteError, match="order 2 .* at step 0"):
        MODELS["logistic"].expand(2).functional(held_out_loss).evaluate_taylor_series(
            MODELS["logistic"].hyper_val0 + 1e180 * MODELS["logistic"].step
        )
