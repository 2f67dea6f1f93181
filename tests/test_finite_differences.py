"""Finite differences against derivatives in closed form, and their error estimates against true errors."""

import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from vittles_ng import errors
from vittles_ng.finite_differences import (
    CentralDifferences,
    RandomDirections,
    directional_derivatives,
    estimate_noise,
    hessian_product,
    two_point_gradient,
    zero_order_descent,
)
from vittles_ng.solvers import ConjugateGradient

EPS = np.finfo(float).eps


def generator():
    return np.random.default_rng(5)


def quadratic(n=6):
    half = generator().standard_normal((2 * n, n))
    return half.T @ half / n + np.eye(n)


# gradient, Hessian at x, x
CASES = {
    "quadratic": (lambda x: quadratic() @ x, lambda x: quadratic(), np.linspace(-1, 1, 6)),
    "exponential": (np.exp, lambda x: np.diag(np.exp(x)), np.linspace(-2, 1, 5)),
    "log": (lambda x: 1 - 1 / x, lambda x: np.diag(1 / x**2), np.array([0.5, 1.0, 3.0])),
    "large inputs": (lambda x: x**3 / 1e6, lambda x: np.diag(3 * x**2 / 1e6), np.array([1e5, -2e5, 3e5])),
    "coupled": (
        lambda x: np.array([x[0] * x[1] ** 2, x[0] ** 2 * x[1]]),
        lambda x: np.array([[x[1] ** 2, 2 * x[0] * x[1]], [2 * x[0] * x[1], x[0] ** 2]]),
        np.array([0.7, -1.3]),
    ),
    "one input": (np.sin, lambda x: np.cos(x)[:, None], np.array([0.3])),
}


@pytest.mark.parametrize("name", CASES)
def test_products(name):
    gradient, hessian, x = CASES[name]
    before = x.copy()
    product = hessian_product(gradient, x)
    assert product.n == x.size and EPS <= product.accuracy < 1e-7
    for v in (*np.eye(x.size), generator().standard_normal(x.size), 1e-200 * np.ones(x.size), 1e200 * np.ones(x.size)):
        exact = hessian(x) @ v
        error = np.linalg.norm((product(v) - exact) / abs(v).max()) / np.linalg.norm(exact / abs(v).max())
        assert error < 1e-8
        assert error <= 3 * product.error_estimate(v) + 100 * EPS ** (2 / 3)
    assert np.array_equal(product(np.zeros(x.size)), np.zeros(x.size)) and product.error_estimate(np.zeros(x.size)) == 0
    assert np.array_equal(x, before)


def test_error_falls_as_the_square_of_the_step():
    x, v = np.linspace(-1, 1, 4), np.array([1.0, -2.0, 0.5, 1.5])
    steps = np.array([4e-2, 2e-2, 1e-2, 5e-3])
    errors_, estimates = [], []
    for step in steps:
        product = hessian_product(np.exp, x, step=step)
        errors_.append(np.linalg.norm(product(v) - np.exp(x) * v) / np.linalg.norm(np.exp(x) * v))
        estimates.append(product.error_estimate(v))
    slopes = np.diff(np.log(errors_)) / np.diff(np.log(steps))
    assert np.all(abs(slopes - 2.0) < 0.02)
    # f(2h) - f(h) is 3 times the error
    assert np.allclose(np.array(estimates) / errors_, 3.0, rtol=0.02)


def test_no_input_moves_further_than_the_step():
    x = np.array([0.0, 1e6, -3.0])
    seen = []
    product = hessian_product(lambda z: seen.append(z) or z.copy(), x, step=1e-3)
    for v in (np.ones(3), np.array([0.0, 1e9, 1.0]), np.array([1e-8, 0.0, 0.0])):
        seen.clear()
        product(v)
        moved = np.max(abs(np.array(seen) - x) / (1 + abs(x)), axis=1)
        assert np.allclose(moved, 1e-3, rtol=1e-6) and len(seen) == 2


def test_nested_inputs_and_traced_gradients():
    def objective(p):
        return anp.sum(anp.exp(p["a"])) * anp.sum(p["b"] ** 2)

    p = {"a": np.array([0.1, 0.2]), "b": np.array([[1.0], [2.0]])}
    product = hessian_product(autograd.grad(objective), p)

    def flat(z):
        return objective({"a": z[:2], "b": anp.reshape(z[2:], (2, 1))})

    hessian = autograd.hessian(flat)(np.array([0.1, 0.2, 1.0, 2.0]))
    v = generator().standard_normal(4)
    assert np.allclose(product(v), hessian @ v, rtol=1e-8)


def test_conjugate_gradients_end_to_end():
    rng = generator()
    design, y = rng.standard_normal((60, 5)), rng.random(60) < 0.5

    def gradient(x):
        return design.T @ (1 / (1 + np.exp(-design @ x)) - y) + x

    x = 0.1 * np.ones(5)
    p = 1 / (1 + np.exp(-design @ x))
    hessian = (design.T * (p * (1 - p))) @ design + np.eye(5)
    product = hessian_product(gradient, x)
    rhs = rng.standard_normal((5, 3))
    for options in ({}, {"preconditioner": "diagonal", "diagonal": np.diag(hessian)}):
        solver = ConjugateGradient(product, rtol=1e-8, **options)
        assert np.allclose(solver.solve(rhs), np.linalg.solve(hessian, rhs), rtol=1e-6, atol=1e-8)
    with pytest.raises(errors.SolveFailed, match="the products are good to about .* only.*pass rtol="):
        ConjugateGradient(product, rtol=1e-15).solve(rhs)
    with pytest.raises(errors.NotPositiveDefiniteError, match="curvature"):
        ConjugateGradient(hessian_product(lambda z: -gradient(z), x), rtol=1e-8).solve(rhs)


BAD = {
    "NaN at the base point": (lambda x: x * np.nan, np.ones(2), {}, errors.NonFiniteError, "2 of 2 .* the gradient"),
    "NaN at a step": (lambda x: np.log(1.0 - 1e-9 - x) if x[0] < 1 else x * np.inf, np.ones(1) - 1e-9, {},
                      errors.NonFiniteError, "at a step of 1.2e-05|at a step of"),
    "another shape": (lambda x: x[:1], np.ones(2), {}, errors.ShapeError, "the gradient"),
    "no function": (3.0, np.ones(2), {}, TypeError, "float"),
    "a step of zero": (np.exp, np.ones(2), {"step": 0.0}, ValueError, "step must be a positive number"),
    "a negative step": (np.exp, np.ones(2), {"step": -1.0}, ValueError, "step must be a positive number"),
    "a step of NaN": (np.exp, np.ones(2), {"step": np.nan}, ValueError, "step must be a positive number"),
    "an input of NaN": (np.exp, np.array([1.0, np.nan]), {}, errors.NonFiniteError, "input_val0"),
    "raises at a step": (lambda x: [math.log(x[0])], np.array([1e-9]), {}, errors.NonFiniteError, "smaller step"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused(name):
    gradient, x, arguments, error, text = BAD[name]
    with pytest.raises(error, match=text):
        hessian_product(gradient, x, **arguments)


def test_a_gradient_that_raises_is_told_in_a_sentence():
    with pytest.raises(errors.NonFiniteError, match=r"the gradient: ZeroDivisionError: division by zero\. This is at"):
        hessian_product(lambda x: [1 / 0], [1.0])


def test_directions_are_checked():
    product = hessian_product(np.exp, np.zeros(3))
    with pytest.raises(errors.NonFiniteError, match="the direction"):
        product(np.array([1.0, np.nan, 0.0]))
    with pytest.raises(errors.ShapeError, match="the direction"):
        product(np.ones(2))


# ---- noise ----


def noisy(smooth, sigma, seed=0):
    rng = np.random.default_rng(seed)
    return lambda x: smooth(x) + sigma * rng.standard_normal(np.shape(smooth(x)))


NOISY = {
    "cosine": (np.cos, 1.0, 1e-3),
    "cosine, little": (np.cos, 1.0, 1e-9),
    "steep": (lambda x: np.exp(20 * x), 0.3, 1e-2),
    "large input": (lambda x: np.sin(1e-4 * x), 2e4, 1e-6),
    "several": (lambda x: np.array([np.sum(x), np.prod(x), 1e6 * x[0]]), np.array([0.5, 2.0]), 1e-5),
}


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_found_to_a_factor(name):
    smooth, x, sigma = NOISY[name]
    found = np.array([estimate_noise(noisy(smooth, sigma, seed), x) for seed in range(20)]).reshape(20, -1)
    assert np.all((found > sigma / 5) & (found < 5 * sigma))
    assert np.all(abs(np.log(np.median(found, axis=0) / sigma)) < np.log(2))


def test_noise_of_exact_functions_is_rounding():
    for fun, x in ((np.cos, 1.0), (lambda x: x**3 - 1e3, 10.0), (lambda x: np.exp(x) - np.e, 1.0)):
        size = abs(fun(x)) + 1e3 * (x == 10.0) + np.e * (x == 1.0)
        assert estimate_noise(fun, x) < 4 * EPS * size
    assert estimate_noise(lambda x: 3.0, 1.0) == 0.0
    assert estimate_noise(lambda x: abs(x - 1.0), 1.0) < 1e-12  # a kink is none


def test_noise_options():
    calls = []

    def coarse(x):  # constant within cells of 1e-4: noise of a kind that is not seen from close by
        calls.append(x)
        return np.round(np.sin(x), 4)

    assert estimate_noise(coarse, 1.0, spacing=1e-9) == 0.0
    assert len(calls) == 9
    assert 1e-5 < estimate_noise(coarse, 1.0, spacing=3.1e-3) < 1e-3
    along = estimate_noise(noisy(lambda x: x[0], 1e-3), np.zeros(2), direction=np.array([0.0, 1.0]))
    assert 2e-4 < along < 5e-3


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ((np.log, 0.0, -1.0), errors.NonFiniteError, "NaN"),
        ((math.log, -1.0), errors.NonFiniteError, "math domain error"),
        ((lambda x: 1j * x, 1.0), TypeError, "complex"),
        ((np.cos, 0.0, 0.0), ValueError, "direction is zero"),
        ((np.cos, 0.0, [1.0, 2.0]), errors.ShapeError, "shape"),
        ((np.cos, 0.0, None, 0.0), ValueError, "spacing"),
        ((np.cos, 0.0, None, np.nan), ValueError, "spacing"),
    ],
)
def test_noise_refused(arguments, error, text):
    with np.errstate(all="ignore"), pytest.raises(error, match=text):
        estimate_noise(*arguments)


def test_noise_of_fast_waves_is_rounding():
    """At the first spacing they look like noise; closer by they shrink."""
    for rate in (1e7, 1e8):
        assert estimate_noise(lambda x: np.sin(rate * x), 1.0 / rate) < 1e-6  # noqa: B023


def test_noise_of_values_that_change_shape():
    with pytest.raises(errors.ShapeError, match=r"shapes \(1,\), \(2,\)"):
        estimate_noise(lambda x: np.ones(1 if x > 1.000001 else 2), 1.0)


def test_noise_close_to_an_edge():
    """The spacing is shortened where the function ends, and not widened past that for a component that is constant."""
    assert estimate_noise(lambda x: np.log(1.0 - x), 1.0 - 1e-9) < 1e-6
    found = estimate_noise(lambda x: [math.log(1e-3 - x), 1.0], 0.0)
    assert 0.0 < found[0] < 1e-14 and found[1] == 0.0


def test_noise_of_large_values():
    assert 0.1 * EPS < estimate_noise(lambda x: 1e300 * np.exp(x), 0.3) / 1e300 < 10 * EPS


# ---- directional derivatives ----


def textbook():
    """The three textbook functions, and their derivatives of order 1 to 3 along v in closed form."""
    rng = generator()
    n = 4
    a, b = rng.standard_normal((n, n)), rng.standard_normal(n)
    spd = a @ a.T + np.eye(n)
    x, v = rng.standard_normal(n), rng.standard_normal(n)
    symmetric = a + a.T
    quadratic_form = (lambda z: z @ a @ z - b @ z + 2.0, [v @ symmetric @ x - b @ v, v @ symmetric @ v, 0.0])
    q, q1, q2 = x @ spd @ x, 2 * v @ spd @ x, 2 * v @ spd @ v
    log_form = (
        lambda z: np.log(z @ spd @ z),
        [q1 / q, q2 / q - q1**2 / q**2, -3 * q1 * q2 / q**2 + 2 * q1**3 / q**3],
    )
    p, s = 1 / (1 + np.exp(-b @ x)), b @ v
    softplus = (
        lambda z: np.log1p(np.exp(b @ z)),
        [p * s, p * (1 - p) * s**2, p * (1 - p) * (1 - 2 * p) * s**3],
    )
    hessians = [
        symmetric,
        2 * spd / q - 4 * np.outer(spd @ x, spd @ x) / q**2,
        p * (1 - p) * np.outer(b, b),
    ]
    gradients = [
        lambda z: symmetric @ z - b,
        lambda z: 2 * spd @ z / (z @ spd @ z),
        lambda z: b / (1 + np.exp(-b @ z)),
    ]
    names = ["quadratic", "log", "softplus"]
    return (
        x,
        v,
        dict(zip(names, zip((quadratic_form, log_form, softplus), gradients, hessians, strict=True), strict=True)),
    )


@pytest.mark.parametrize("name", ["quadratic", "log", "softplus"])
def test_textbook_derivatives(name):
    x, v, cases = textbook()
    (fun, exact), gradient, hessian = cases[name]
    found = directional_derivatives(fun, x, v, order=3)
    assert np.all(abs(found.values - exact) <= 2 * found.error_estimates + 1e-12)
    assert np.all(found.error_estimates <= [1e-7, 1e-6, 1e-5])
    product = hessian_product(gradient, x)
    columns = np.array([product(e) for e in np.eye(x.size)])
    assert np.allclose(columns, hessian, atol=1e-9 * abs(hessian).max())
    # the same by second differences of values, and polarisation
    seconds = {}
    for i in range(x.size):
        for j in range(i, x.size):
            direction = np.eye(x.size)[i] + (i != j) * np.eye(x.size)[j]
            seconds[i, j] = directional_derivatives(fun, x, direction, order=2).values[1]
    for (i, j), second in seconds.items():
        entry = second if i == j else 0.5 * (second - seconds[i, i] - seconds[j, j])
        assert abs(entry - hessian[i, j]) < 1e-7 * abs(hessian).max()


FUNCTIONS = {  # function, x, derivatives 1, 2, 3
    "exp": (np.exp, 0.0, [1.0, 1.0, 1.0]),
    "steep": (lambda x: np.exp(30 * x), 0.0, [30.0, 900.0, 27000.0]),
    "slow": (lambda x: np.exp(1e-3 * x), 0.0, [1e-3, 1e-6, 1e-9]),
    "wave": (lambda x: np.sin(1e5 * x + 1.0), 0.0, [1e5 * np.cos(1), -1e10 * np.sin(1), -1e15 * np.cos(1)]),
    "close to an edge": (np.log, 1e-4, [1e4, -1e8, 2e12]),
    "pole": (lambda x: 1 / x, 1.0, [-1.0, 2.0, -6.0]),
    "large input": (lambda x: x**3, 1e5, [3e10, 6e5, 6.0]),
    "cubic": (lambda x: (x - 2) ** 3 + x, 2.0, [1.0, 0.0, 6.0]),
    "line": (lambda x: 3 * x - 3, 1.0, [3.0, 0.0, 0.0]),
    "constant": (lambda x: 7.0, 1.0, [0.0, 0.0, 0.0]),
    "inverse tangent": (np.arctan, 1.0, [0.5, -0.5, 0.5]),
    "a wave on a wave": (
        lambda x: np.sin(x) + 1e-3 * np.sin(1e3 * x),
        0.4,
        [
            np.cos(0.4) + np.cos(400.0),
            -np.sin(0.4) - 1e3 * np.sin(400.0),
            -np.cos(0.4) - 1e6 * np.cos(400.0),
        ],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_variable(name):
    fun, x, exact = FUNCTIONS[name]
    calls = []
    found = directional_derivatives(lambda z: calls.append(z) or fun(z), x, 1.0, order=3)
    scale = np.array([max(abs(np.array(exact))) if e == 0 else abs(e) for e in exact]) + 1e-300
    assert found.n_evaluations == len(calls) < 90
    assert np.all(abs(found.values - exact) <= 3 * found.error_estimates + [1e-10, 1e-9, 1e-8] * scale)
    assert np.all(found.error_estimates <= [1e-7, 1e-6, 1e-5] * scale + [1e-13, 1e-12, 1e-11])


ATOMS = {  # functions of r t + p at t = 0, with derivatives 1 to 3 in closed form
    "sine": lambda r, p: (lambda t: np.sin(r * t + p), [np.cos(p), -np.sin(p), -np.cos(p)]),
    "exponential": lambda r, p: (lambda t: np.exp(r * t), [1.0, 1.0, 1.0]),
    "log": lambda r, p: (lambda t: np.log1p(r * t), [1.0, -1.0, 2.0]),
    "tanh": lambda r, p: (
        lambda t: np.tanh(r * t + p),
        np.cosh(p) ** -2 * np.array([1.0, -2 * np.tanh(p), 4 * np.tanh(p) ** 2 - 2 / np.cosh(p) ** 2]),
    ),
    "bell": lambda r, p: (
        lambda t: 1 / (1 + (r * t + p) ** 2),
        [-2 * p / (1 + p * p) ** 2, (6 * p * p - 2) / (1 + p * p) ** 3, 24 * p * (1 - p * p) / (1 + p * p) ** 4],
    ),
    "root": lambda r, p: (
        lambda t: np.sqrt(1 + (r * t + p) ** 2),
        [p / np.sqrt(1 + p * p), (1 + p * p) ** -1.5, -3 * p * (1 + p * p) ** -2.5],
    ),
}  # fmt: skip


def random_sum(seed, spread, units=0.0):
    """A sum of one to three of them at rates within ``10^+-spread``, its derivatives, and its size."""
    rng = np.random.default_rng(seed)
    parts, exact = [], np.zeros(3)
    for name in rng.choice(list(ATOMS), rng.integers(1, 4)):
        rate, weight = 10 ** rng.uniform(-spread, spread), 10 ** rng.uniform(-2, 2) * rng.choice([-1, 1])
        fun, derivatives = ATOMS[name](rate, rng.uniform(-2, 2))
        parts.append((weight, fun))
        exact += weight * rate ** np.arange(1.0, 4.0) * derivatives
    unit = 10 ** rng.uniform(-units, units)
    return lambda t: unit * sum(w * f(t) for w, f in parts), unit * exact, unit * sum(abs(w) for w, _ in parts)


@pytest.mark.parametrize("spread, units, sigma", [(1, 0, 0), (1, 8, 0), (3, 0, 0), (1, 0, 1e-6), (1, 8, 1e-4)])
def test_error_estimates_are_calibrated(spread, units, sigma):
    """Over random functions of several scales at once, in any unit, with noise or without: true / estimated errors."""
    ratios = []
    for seed in range(60):
        fun, exact, size = random_sum(seed, spread, units)
        level = sigma * size
        given = CentralDifferences(noise=level) if sigma else None
        found = directional_derivatives(noisy(fun, level, seed) if sigma else fun, 0.0, 1.0, 3, given)
        ratios.append(abs(found.values - exact) / (found.error_estimates + 1e-300))
    ratios = np.array(ratios)
    assert np.all(np.mean(ratios > 1, axis=0) < 0.15) and np.all(np.mean(ratios > 3, axis=0) < 0.06)
    assert np.max(ratios) < 12.0


def test_waves_too_fast_for_the_first_steps_are_not_missed():
    """Order 3 of a line with a small wave, and a wave of rate 1e8, once answered 0 with an error estimate near it."""
    found = directional_derivatives(lambda x: x + 1e-3 * np.sin(1e4 * x), 0.4, 1.0, 3)
    exact = 1.0 * np.array([1 + 10 * np.cos(4e3), -1e5 * np.sin(4e3), -1e9 * np.cos(4e3)])
    assert np.all(abs(found.values - exact) <= 3 * found.error_estimates)
    assert np.all(found.error_estimates < 1e-5 * abs(exact))
    found = directional_derivatives(lambda x: np.sin(1e8 * x), 1e-8, 1.0)
    assert abs(found.values[0] - 1e8 * np.cos(1.0)) <= 3 * found.error_estimates[0] < 1e-3 * 1e8
    # too fast for any step: noise about the line
    found = directional_derivatives(lambda x: 1 + x + 0.1 * np.sin(1e9 * x), 1e-9, 1.0)
    assert abs(found.values[0] - 1.0) <= 3 * found.error_estimates[0] and found.error_estimates[0] > 0.01


@pytest.mark.parametrize("x0", [0.0, 0.12345, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("decimals", [2, 3, 6, 8])
def test_values_rounded_to_a_grid_on_which_the_steps_happen_to_lie(decimals, x0):
    """Slopes whose multiples are on the grid: the values are exactly a line, and constant closer by."""
    for slope in (0.3, 0.5, 1.0, 2.5, 5.0, 7.0, 31.0, 100.0, 123.456, 200.0, 1e3, 1e5):
        found = directional_derivatives(lambda x, a=slope: round(float(a * x[0] + x[0] ** 2), decimals), [x0], [1.0])
        assert abs(found.values[0] - (slope + 2 * x0)) <= 3 * found.error_estimates[0]


@pytest.mark.parametrize("unit", [2.0**-90, 2.0**-27, 2.0**27, 2.0**90])
def test_the_functions_unit_changes_nothing(unit):
    fun = lambda x: np.array([np.exp(3 * x), np.sin(x) + 2.0])  # noqa: E731
    one = directional_derivatives(fun, 0.3, 1.0, 3)
    other = directional_derivatives(lambda x: unit * fun(x), 0.3, 1.0, 3)
    assert np.array_equal(other.values, unit * one.values)
    assert np.array_equal(other.error_estimates, unit * one.error_estimates)
    assert other.n_evaluations == one.n_evaluations


@pytest.mark.parametrize("rate", [1e2, 1e3, 1e4, 1e6, 1e8])
def test_functions_that_grow_by_hundreds_of_decades_over_the_first_steps(rate):
    found = directional_derivatives(lambda x: np.exp(rate * x), 0.0, 1.0, 3)
    of_one = rate ** np.arange(1.0, 4.0)
    assert np.all(np.abs(found.values / of_one - 1.0) <= np.minimum(3.0 * found.error_estimates / of_one, 1e-5))


@pytest.mark.parametrize("function, order", [(lambda x: np.maximum(x, 0.0) ** 2, 2), (lambda x: abs(x) ** 3, 3)])
def test_kinks_of_higher_derivatives(function, order):
    with pytest.raises(errors.NonSmoothError, match="do not settle"):
        directional_derivatives(function, 0.0, 1.0, order)


def test_constant_components_do_not_spoil_the_others():
    """Their differences are noise alone, which no step makes less."""
    alone = directional_derivatives(lambda x: np.array([np.sin(50 * x)]), 0.3, 1.0, 3)
    beside = directional_derivatives(lambda x: np.array([np.sin(50 * x), 7.0, 1e8]), 0.3, 1.0, 3)
    assert np.all(beside.error_estimates[:, 0] <= 2.0 * alone.error_estimates[:, 0])
    assert np.all(beside.values[:, 1:] == 0.0)


EDGES = {  # function, its edge, and which way it is defined
    "log": (np.log, 0.0, 1.0),
    "math.log, which raises": (math.log, 0.0, 1.0),
    "log from below": (lambda x: np.log(1.0 - x), 1.0, -1.0),
}


@pytest.mark.parametrize(
    "name, distance",
    [(name, d) for name in ("log", "math.log, which raises") for d in (1e-3, 1e-6, 1e-8, 1e-11)]
    + [("log from below", d) for d in (1e-3, 1e-6)],
)
def test_close_to_the_domains_edge(name, distance):
    """In both directions."""
    fun, edge, sign = EDGES[name]
    x = edge + sign * distance
    exact = 1.0 / (x - edge)
    for way in (1.0, -1.0):
        found = directional_derivatives(fun, x, way)
        assert abs(way * found.values[0] - exact) <= 3.0 * found.error_estimates[0]
        assert found.error_estimates[0] < 0.05 * abs(exact)


ROUNDED = {
    "4 digits": (lambda x: np.round(np.sin(x), 4), np.cos(0.7)),
    "integers": (lambda x: int(1e4 * np.exp(x)), 1e4 * np.exp(0.7)),
    "single": (lambda x: np.float32(np.sin(x)), np.cos(0.7)),
    "half": (lambda x: np.float16(np.sin(x)), np.cos(0.7)),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_output_has_the_trend_of_its_steps(name):
    fun, exact = ROUNDED[name]
    found = directional_derivatives(fun, 0.7, 1.0)
    assert abs(found.values[0] - exact) <= 2.0 * found.error_estimates[0] < 0.05 * abs(exact)


def test_very_long_and_short_directions():
    for length in (1e-300, 1e-20, 1e20, 1e300):
        found = directional_derivatives(np.exp, 0.0, length)
        assert np.isclose(found.values[0], length, rtol=1e-8) and found.error_estimates[0] < 1e-8 * length
    with pytest.raises(errors.NonFiniteError, match="overflows"):
        directional_derivatives(np.exp, 0.0, 1e200, 3)
    assert np.isclose(directional_derivatives(lambda x: 2.0 * x, 1e300, 1.0).values[0], 2.0)


def test_a_function_that_writes_into_its_argument():
    def writes(x):
        value = np.sum(x**2)
        x[:] = np.nan
        return value

    x = np.array([1.0, 2.0])
    assert np.isclose(directional_derivatives(writes, x, [1.0, 0.0]).values[0], 2.0)
    assert estimate_noise(writes, x) < 1e-14
    found = zero_order_descent(writes, x, 2.0, generator(), 300, target=1e-3)
    assert found.reached and np.sum(found.value**2) == found.objectives[-1]
    assert np.array_equal(x, [1.0, 2.0])


def test_units_of_elements_do_not_matter():
    units = np.array([1.0, 1e8, 1e-8])
    fun = lambda x: units * np.array([np.exp(x), np.sin(x), np.cos(x)])  # noqa: E731
    found = directional_derivatives(fun, 0.3, 1.0, order=3)
    exact = units * [[np.exp(0.3), np.cos(0.3), -np.sin(0.3)], [np.exp(0.3), -np.sin(0.3), -np.cos(0.3)],
                     [np.exp(0.3), -np.cos(0.3), np.sin(0.3)]]  # fmt: skip
    assert found.values.shape == (3, 3) and np.all(abs(found.values - exact) < 1e-8 * units)


def test_direction_length_and_shapes():
    x = np.array([[0.1, 0.2], [0.3, 0.4]])
    fun = lambda z: np.exp(z @ z)  # noqa: E731
    v = generator().standard_normal((2, 2))
    one, long = (directional_derivatives(fun, x, s * v, order=2) for s in (1.0, 100.0))
    assert one.values.shape == (2, 2, 2)
    assert np.allclose(long.values[0], 100 * one.values[0], rtol=1e-7)
    assert np.allclose(long.values[1], 1e4 * one.values[1], rtol=1e-6)
    assert not directional_derivatives(fun, x, np.zeros((2, 2)), order=3).values.any()


@pytest.mark.parametrize("sigma", [1e-10, 1e-6, 1e-3])
def test_error_estimates_cover_noise(sigma):
    functions = {"exp": (np.exp, lambda x: np.exp(x) * np.ones(3)),
                 "sine": (np.sin, lambda x: np.array([np.cos(x), -np.sin(x), -np.cos(x)]))}  # fmt: skip
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        for smooth, derivatives in functions.values():
            rate, x = 10 ** rng.uniform(-1, 1), rng.uniform(0.3, 2.0)
            fun = noisy(lambda z: smooth(rate * z), sigma, seed)  # noqa: B023
            found = directional_derivatives(fun, x, 1.0, 3, CentralDifferences(noise=sigma))
            exact = derivatives(rate * x) * rate ** np.arange(1, 4)
            ratios.append(abs(found.values - exact) / found.error_estimates)
    ratios = np.array(ratios)
    assert np.all(np.mean(ratios < 1, axis=0) > 0.85) and np.all(np.mean(ratios < 3, axis=0) > 0.96)


def test_error_of_noise_is_of_the_best_possible_order():
    """With noise the first derivative is good to about ``noise^(1 - 1 / (k + p))``, far better than its root."""
    for sigma, allowed in ((1e-10, 1e-7), (1e-6, 2e-4)):
        found = [directional_derivatives(noisy(np.exp, sigma, s), 0.0, 1.0, 1).values[0] - 1 for s in range(10)]
        assert np.median(np.abs(found)) < allowed


def test_options_of_differences():
    few = directional_derivatives(np.exp, 0.0, 1.0, 1, CentralDifferences(rtol=1e-2))
    many = directional_derivatives(np.exp, 0.0, 1.0, 1, CentralDifferences(rtol=1e-13))
    assert few.n_evaluations < many.n_evaluations and few.error_estimates[0] > many.error_estimates[0]
    told = directional_derivatives(np.exp, 0.0, 1.0, 1, CentralDifferences(noise=1e-4, rtol=1e-12))
    assert told.error_estimates[0] > 1e-6


def steps_at_kink(x):
    return abs(x - 1.0)


NOT_SMOOTH = {
    "a kink": (steps_at_kink, 1.0, 1, errors.NonSmoothError, "kink"),
    "a kink, half": (lambda x: np.maximum(x, 1.0), 1.0, 1, errors.NonSmoothError, "kink"),
    "a kink, order 2": (steps_at_kink, 1.0, 2, errors.NonSmoothError, "settle|kink"),
    "a jump": (lambda x: float(x >= 1.0) + x, 1.0, 1, errors.NonSmoothError, "jumps"),
    "an edge": (lambda x: np.sqrt(x), 0.0, 1, errors.NonFiniteError, "both sides|close to"),
    "undefined": (np.log, 0.0, 1, errors.NonFiniteError, "not defined at x"),
    "raises": (lambda x: 1 / 0, 1.0, 1, errors.NonFiniteError, "ZeroDivisionError"),
    "order 4": (np.exp, 1.0, 4, ValueError, "orders 1 to 3"),
    "order 0": (np.exp, 1.0, 0, ValueError, "at least 1"),
    "x of NaN": (np.exp, np.nan, 1, errors.NonFiniteError, "finite"),
}


@pytest.mark.parametrize("name", NOT_SMOOTH)
def test_not_differenced(name):
    fun, x, order, error, text = NOT_SMOOTH[name]
    with pytest.raises(error, match=text):
        directional_derivatives(fun, x, 1.0, order)


def test_a_direction_of_another_shape():
    with pytest.raises(errors.ShapeError, match="direction"):
        directional_derivatives(np.sum, np.ones(3), np.ones(2))


@pytest.mark.parametrize(
    "fun, differences, error, text",
    [
        (lambda x: 1j * x, None, TypeError, "complex"),
        (lambda x: None, None, TypeError, "real numbers"),
        (lambda x: "one", None, TypeError, "real numbers"),
        (lambda x: np.ones(2 if x[0] > 1.0 else 3), None, errors.ShapeError, r"shape \(3,\) at x, of \(2,\)"),
        (lambda x: x, CentralDifferences(noise=[1e-3, 1e-3]), errors.ShapeError, "noise of 2 components .* 1 values"),
        (lambda x: x, RandomDirections(10, np.random.default_rng(0)), TypeError, "CentralDifferences"),
        (lambda x: x, 1e-4, TypeError, "CentralDifferences"),
    ],
)
def test_directional_derivatives_refused(fun, differences, error, text):
    with pytest.raises(error, match=text):
        directional_derivatives(fun, [1.0], [1.0], 1, differences)


def test_no_values():
    found = directional_derivatives(lambda x: np.zeros(0), [1.0], [1.0], 2)
    assert found.values.shape == found.error_estimates.shape == (2, 0) and found.n_evaluations == 1


# ---- two-point estimates ----


def test_two_point_gradient_is_unbiased_with_the_error_it_tells():
    half = quadratic()
    x = np.linspace(-1, 1, 6)
    exact, scores = half @ x, []
    for seed in range(100):
        found = two_point_gradient(lambda z: 0.5 * z @ half @ z, x, np.random.default_rng(seed), n_directions=50)
        scores.append((found.value - exact) / found.standard_error)
    scores = np.array(scores)
    assert np.max(abs(scores.mean(axis=0))) < 0.5 and 0.8 < np.std(scores) < 1.25


def test_two_point_gradient_grows_with_the_dimension():
    """``E |g|^2 = (n + 2) |grad f|^2`` for one direction."""
    for n in (2, 10, 40):
        c, rng = np.linspace(1, 2, n), generator()
        squares = [np.sum(two_point_gradient(lambda z: c @ z, np.zeros(n), rng).value ** 2) for _ in range(3000)]  # noqa: B023
        assert abs(np.mean(squares) / np.sum(c**2) / (n + 2) - 1) < 0.15


def test_two_point_options():
    rng = generator
    smooth = two_point_gradient(lambda z: np.sum(np.abs(z)), np.full(3, 1e-3), rng(), 4000, step=1.0)
    sharp = two_point_gradient(lambda z: np.sum(np.abs(z)), np.full(3, 1e-3), rng(), 4000, step=1e-6)
    assert np.all(abs(smooth.value) < 0.2) and np.all(abs(sharp.value - 1) < 0.2)
    assert np.all(np.isnan(two_point_gradient(np.sum, np.ones(3), rng()).standard_error))
    for arguments, error in (({"step": 0.0}, ValueError), ({"n_directions": 0}, ValueError)):
        with pytest.raises(error):
            two_point_gradient(np.sum, np.ones(3), rng(), **arguments)
    with pytest.raises(errors.NonFiniteError):
        two_point_gradient(lambda z: np.nan, np.ones(3), rng())
    with pytest.raises(TypeError, match="a number is needed"):
        two_point_gradient(lambda z: z, np.ones(3), rng())


def test_two_point_step_of_unlike_elements():
    """One element of 1e8 and one of 1: the step of the one would pass over all of the other's waves."""
    x = np.array([1e8, 1.0])
    found = two_point_gradient(lambda z: np.sin(1e-8 * z[0]) + np.sin(z[1]), x, generator(), 4000)
    assert abs(found.value[1] - np.cos(1.0)) < 4 * found.standard_error[1] < 0.1


def test_descent_counts_all_calls():
    calls = []
    found = zero_order_descent(lambda z: calls.append(1) or z @ z, np.ones(3), 2.0, generator(), 7, n_directions=2)
    assert found.n_evaluations == 28 and found.n_calls == len(calls) == 28 + 8


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ((np.sum, [1.0], 7), TypeError, "Generator"),
        ((np.sum, [np.nan], np.random.default_rng(0)), errors.NonFiniteError, "x are NaN"),
        ((lambda z: math.log(z[0]), [-1.0], np.random.default_rng(0)), errors.NonFiniteError, "math domain error"),
        ((lambda z: 1j * z[0], [1.0], np.random.default_rng(0)), TypeError, "complex"),
    ],
)
def test_two_point_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        two_point_gradient(*arguments)
    fun, x, rng = arguments
    with pytest.raises(error, match=text):
        zero_order_descent(fun, x, 1.0, rng, 3)


def test_zero_order_descent_takes_the_dimension_times_longer():
    def steps(n, seed):
        curvature = np.linspace(0.2, 1.0, n)

        def objective(z):
            return 0.5 * np.sum(curvature * z**2)

        x0 = np.ones(n)
        target = 1e-4 * objective(x0)
        z, exact = x0, 0
        while objective(z) > target:
            z, exact = z - curvature * z, exact + 1
        found = zero_order_descent(objective, x0, 1.0, np.random.default_rng(seed), 20_000, target=target)
        assert found.reached and found.n_evaluations == 2 * found.n_steps
        assert len(found.objectives) == found.n_steps + 1 and found.objectives[-1] <= target
        return found.n_steps / exact

    for n in (5, 20):
        ratio = np.mean([steps(n, seed) for seed in range(3)])
        assert 0.6 * (n + 2) < ratio < 2.5 * (n + 2)


def test_zero_order_descent_options():
    def objective(z):
        return 0.5 * np.sum(z**2)

    one = zero_order_descent(objective, np.ones(10), 1.0, generator(), 30)
    ten = zero_order_descent(objective, np.ones(10), 1.0, generator(), 30, n_directions=10)
    assert not one.reached and one.n_steps == 30 and ten.n_evaluations == 10 * one.n_evaluations
    assert ten.objectives[-1] < one.objectives[-1] < one.objectives[0]
    with pytest.raises(errors.DivergenceError, match="smoothness"):
        zero_order_descent(lambda z: 0.5e4 * np.sum(z**2), np.ones(10), 1.0, generator(), 400)
    with pytest.raises(ValueError, match="target"):
        zero_order_descent(objective, np.ones(2), 1.0, generator(), 3, target=np.nan)
    with pytest.raises(ValueError, match="smoothness"):
        zero_order_descent(objective, np.ones(2), 0.0, generator(), 3)
    with pytest.raises(errors.NonFiniteError):
        zero_order_descent(lambda z: np.inf, np.ones(2), 1.0, generator(), 3)
