"""Products with a Hessian by finite differences, against Hessians in closed form."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from vittles_ng import errors
from vittles_ng.finite_differences import hessian_product
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
    "a step of zero": (np.exp, np.ones(2), {"step": 0.0}, ValueError, "step=0.0"),
    "a negative step": (np.exp, np.ones(2), {"step": -1.0}, ValueError, "step=-1.0"),
    "a step of NaN": (np.exp, np.ones(2), {"step": np.nan}, ValueError, "step=nan"),
    "an input of NaN": (np.exp, np.array([1.0, np.nan]), {}, errors.NonFiniteError, "input_val0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused(name):
    gradient, x, arguments, error, text = BAD[name]
    with pytest.raises(error, match=text):
        hessian_product(gradient, x, **arguments)


def test_directions_are_checked():
    product = hessian_product(np.exp, np.zeros(3))
    with pytest.raises(errors.NonFiniteError, match="the direction"):
        product(np.array([1.0, np.nan, 0.0]))
    with pytest.raises(errors.ShapeError, match="the direction"):
        product(np.ones(2))
