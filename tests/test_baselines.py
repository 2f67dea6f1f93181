"""The baselines against closed forms, mpmath, exact refits and the numbers of vittles 0.173; and their named errors."""

import itertools
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from math import factorial

import autograd
import autograd.numpy as anp
import autograd.scipy.special as special
import mpmath
import numpy as np
import pytest
import scipy.sparse
from autograd.extend import defjvp, defvjp, primitive
from autograd.misc import flatten

from vittles_ng.baselines import NaiveTaylorExpansion, NestedJVPTaylorExpansion
from vittles_ng.baselines.nested import chain_rule_terms
from vittles_ng.errors import (
    MissingRuleError,
    NonFiniteError,
    NotASolutionError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    ShapeError,
    SingularError,
    SolveFailed,
)
from vittles_ng.solvers import DenseLU

CLASSES = [NaiveTaylorExpansion, NestedJVPTaylorExpansion]
METHODS = {
    "naive forward": (NaiveTaylorExpansion, {"forward": True}),
    "naive reverse": (NaiveTaylorExpansion, {"forward": False}),
    "nested": (NestedJVPTaylorExpansion, {}),
}


@pytest.fixture(params=METHODS)
def expand(request):
    cls, options = METHODS[request.param]
    return lambda *args, **kwargs: cls(*args, **options, **kwargs)


@pytest.fixture(params=METHODS)
def expand_objective(request):
    cls, options = METHODS[request.param]
    return lambda *args, **kwargs: cls.optimization_objective(*args, **options, **kwargs)


# A cubic with its one real root: theta^3 + theta = eps, theta = 2/sqrt(3) sinh(asinh(3 sqrt(3) eps / 2) / 3).
def cubic(theta, eps):
    return theta**3 + theta - eps


def cubic_root(eps):
    return 2 / mpmath.sqrt(3) * mpmath.sinh(mpmath.asinh(3 * mpmath.sqrt(3) * eps / 2) / 3)


def mixed(theta, eps):
    return theta * (1 + eps**2) - anp.sin(eps)


SCALAR_EQUATIONS = {
    # name: (G(theta, eps), eps0, theta(eps) for mpmath)
    "ridge mean": (lambda theta, lam: theta * (1 + lam) - 3.0, 0.5, lambda lam: 3 / (1 + lam)),
    "cubic": (cubic, 2.0, cubic_root),
    "exponential": (lambda theta, eps: anp.exp(theta) - eps, 1.5, mpmath.log),
    "mixed": (mixed, 0.7, lambda eps: mpmath.sin(eps) / (1 + eps**2)),
    "linear": (lambda theta, eps: theta - 2 * eps, 1.0, lambda eps: 2 * eps),
}


def exact_series(fun, eps0, order):
    """Normalised Taylor coefficients to 30 digits."""
    with mpmath.workdps(60):
        return np.array([float(c) for c in mpmath.taylor(fun, mpmath.mpf(eps0), order)])


@pytest.mark.parametrize("name", SCALAR_EQUATIONS)
def test_scalar_closed_forms(expand, name):
    equation, eps0, solution = SCALAR_EQUATIONS[name]
    order = 6
    series = exact_series(solution, eps0, order)
    expansion = expand(equation, series[:1], np.array([eps0]), order)
    step = 0.3
    terms = expansion.evaluate_taylor_series_terms(np.array([eps0 + step]))
    np.testing.assert_allclose(terms[:, 0], series * step ** np.arange(order + 1), rtol=1e-11, atol=1e-14)
    derivs = expansion.evaluate_input_derivs(np.array([1.0]))
    expected = [series[k] * factorial(k) for k in range(1, order + 1)]
    np.testing.assert_allclose(np.ravel(derivs), expected, rtol=1e-11, atol=1e-11)


def ridge_problem():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(9, 3))
    y = rng.normal(size=9)
    gram, moment = x.T @ x, x.T @ y
    return x, y, gram, moment


def test_ridge_path(expand_objective):
    # d^k/dlam^k (A + lam I)^{-1} b = (-1)^k k! (A + lam I)^{-(k + 1)} b
    x, y, gram, moment = ridge_problem()
    lam0, order = 0.4, 5
    shifted_inv = np.linalg.inv(gram + lam0 * np.eye(3))
    expansion = expand_objective(
        lambda theta, lam: 0.5 * anp.sum((y - x @ theta) ** 2) + 0.5 * lam[0] * anp.sum(theta**2),
        shifted_inv @ moment,
        np.array([lam0]),
        order,
    )
    for k, deriv in enumerate(expansion.evaluate_input_derivs(np.array([1.0])), start=1):
        expected = (-1) ** k * factorial(k) * np.linalg.matrix_power(shifted_inv, k + 1) @ moment
        np.testing.assert_allclose(deriv, expected, rtol=1e-10)


def test_system_that_is_no_gradient(expand):
    # Sum and product of two roots: theta = (s -+ sqrt(s^2 - 4 p)) / 2; the Jacobian [[1, 1], [theta_2, theta_1]].
    def equation(theta, eps):
        return anp.array([theta[0] + theta[1] - 3 - eps[0], theta[0] * theta[1] - 2 - eps[1]])

    direction, order = np.array([0.3, -0.2]), 5

    def root(sign):
        def path(t):
            total, product = 3 + mpmath.mpf(direction[0]) * t, 2 + mpmath.mpf(direction[1]) * t
            return (total + sign * mpmath.sqrt(total**2 - 4 * product)) / 2

        return path

    expected = np.stack([exact_series(root(sign), 0, order) for sign in (-1, 1)], axis=1)
    expansion = expand(equation, np.array([1.0, 2.0]), np.zeros(2), order)
    np.testing.assert_allclose(expansion.evaluate_taylor_series_terms(direction), expected, rtol=1e-10)


def logistic_problem():
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(30), rng.normal(size=(30, 2))])
    y = (rng.uniform(size=30) < 1 / (1 + np.exp(-x @ np.array([0.2, 1.0, -0.5])))).astype(float)

    def objective(theta, weights):
        eta = x @ theta
        return anp.sum(weights * (anp.log1p(anp.exp(eta)) - y * eta)) + 0.05 * anp.sum(theta**2)

    def refit(weights):
        theta = np.zeros(3)
        for _ in range(50):
            prob = 1 / (1 + np.exp(-x @ theta))
            gradient = x.T @ (weights * (prob - y)) + 0.1 * theta
            theta = theta - np.linalg.solve((x.T * (weights * prob * (1 - prob))) @ x + 0.1 * np.eye(3), gradient)
        return theta

    return objective, refit, rng.normal(size=30)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_error_against_exact_refits_falls_with_the_order(expand_objective, order):
    objective, refit, direction = logistic_problem()
    weights0 = np.ones(30)
    expansion = expand_objective(objective, refit(weights0), weights0, order)
    scales = np.array([0.08, 0.04])
    steps = weights0 + scales[:, None] * direction
    errors = np.linalg.norm(expansion.evaluate_taylor_series(steps) - [refit(step) for step in steps], axis=1)
    slope = np.log2(errors[0] / errors[1])
    assert abs(slope - (order + 1)) < 0.3


# Input and derivatives along POISSON_STEP from vittles 0.173 on autograd 1.9.1 and NumPy 2.4:
# ParametricSensitivityTaylorExpansion.optimization_objective(poisson_objective, ..., order=5) and its
# evaluate_input_derivs(POISSON_STEP).
POISSON_X = np.column_stack([np.ones(12), np.cos(np.arange(12.0)), np.arange(12.0) / 12 - 0.4])
POISSON_Y = np.array([2.0, 0, 1, 0, 3, 1, 4, 2, 1, 6, 2, 5])
POISSON_HYPER0 = np.array([1.0, 0.2])
POISSON_STEP = np.array([0.5, -0.3])
POISSON_INPUT0 = np.array([0.6533345920205309, 0.08759480184657664, 1.323886347238282])
VITTLES_DERIVS = [
    [0.02078375196084405, -0.054085341695516403, -0.2833040626636082],
    [-0.0188675769594055, -0.020045438302391028, -0.00046221456246872705],
    [0.0007151395033508442, 0.0005433798341573943, -0.007001211247884377],
    [-0.0023379779845988467, -0.0009019647568368782, 0.00544399187912731],
    [0.0016500826314576665, -0.00029245910215727603, -0.005930015815002015],
]
# The same with max_input_order=2, max_hyper_order=1.
VITTLES_LIMITED_DERIVS = [
    [0.02078375196084405, -0.054085341695516403, -0.2833040626636082],
    [-0.021120886420747914, 0.015848596305967015, 0.10095696300041535],
    [0.015388785324725473, -0.009681758965694938, -0.06152726820255085],
    [-0.015616651779450768, 0.009144952823931442, 0.05686571650378819],
    [0.021106530316819257, -0.011912434616689817, -0.0729851054128214],
]


def poisson_objective(theta, hyper):
    eta = POISSON_X @ theta
    return anp.sum(anp.exp(eta) - POISSON_Y * eta) + 0.5 * hyper[0] * anp.sum((theta - hyper[1]) ** 2)


def test_vittles_numbers(expand_objective):
    expansion = expand_objective(poisson_objective, POISSON_INPUT0, POISSON_HYPER0, 5)
    np.testing.assert_allclose(expansion.evaluate_input_derivs(POISSON_STEP), VITTLES_DERIVS, rtol=1e-10)


def test_vittles_numbers_with_limited_partials():
    expansion = NestedJVPTaylorExpansion.optimization_objective(
        poisson_objective, POISSON_INPUT0, POISSON_HYPER0, 5, max_input_order=2, max_hyper_order=1
    )
    np.testing.assert_allclose(expansion.evaluate_input_derivs(POISSON_STEP), VITTLES_LIMITED_DERIVS, rtol=1e-10)


LIMITED = [
    # G at base point (0, 0), options, the path once the partials above the limit are gone
    (lambda theta, eps: theta + theta**2 - eps, {"max_input_order": 1}, [0, 1, 0, 0]),
    (lambda theta, eps: theta - eps - eps**2, {"max_hyper_order": 1}, [0, 1, 0, 0]),
    (lambda theta, eps: theta - eps - eps**2 - eps**3, {"max_hyper_order": 2}, [0, 1, 1, 0]),
    (lambda theta, eps: theta + theta**2 - eps - eps**2, {"max_input_order": 1}, [0, 1, 1, 0]),
    (lambda theta, eps: theta - eps - eps**2, {"max_input_order": 9, "max_hyper_order": 9}, [0, 1, 1, 0]),
]


@pytest.mark.parametrize(("equation", "options", "series"), LIMITED)
def test_partials_above_the_limit_are_taken_as_zero(equation, options, series):
    expansion = NestedJVPTaylorExpansion(equation, np.zeros(1), np.zeros(1), 3, **options)
    np.testing.assert_allclose(expansion.evaluate_taylor_series_terms(np.ones(1))[:, 0], series, atol=1e-15)


def test_chain_rule_terms_are_those_of_faa_di_bruno():
    for k, terms in enumerate(chain_rule_terms(7), start=1):
        expected = {}
        for orders in itertools.product(*(range(k // i + 1) for i in range(1, k + 1))):
            n = k - sum(i * m for i, m in enumerate(orders, start=1))
            if n >= 0:
                divisor = factorial(n)
                for i, m in enumerate(orders, start=1):
                    divisor *= factorial(m) * factorial(i) ** m
                expected[orders, n] = factorial(k) // divisor
        assert {(term.input_orders, term.hyper_order): term.multiplicity for term in terms} == expected
        assert len(terms) == len(expected)


def test_print_terms(capsys):
    expansion = NestedJVPTaylorExpansion(cubic, np.ones(1), 2 * np.ones(1), 3)
    expansion.print_terms(2)
    order_2 = (
        "\nTerms for order 2:\n"
        "Order: 2\t1.0 * eta[0, 0] * eps[2]\n"
        "Order: 2\t2.0 * eta[1, 0] * eps[1]\n"
        "Order: 2\t1.0 * eta[2, 0] * eps[0]\n"
        "Order: 2\t1.0 * eta[0, 1] * eps[0]\n"
    )
    assert capsys.readouterr().out == order_2
    expansion.print_terms()
    printed = capsys.readouterr().out
    assert order_2 in printed
    assert printed.count("Terms for order") == 3
    limited = NestedJVPTaylorExpansion(cubic, np.ones(1), 2 * np.ones(1), 3, max_input_order=1, max_hyper_order=1)
    limited.print_terms(2)
    assert capsys.readouterr().out == "\n".join(order_2.split("\n")[i] for i in (0, 1, 3, 5)) + "\n"
    for k in (0, 4):
        with pytest.raises(ValueError, match=rf"k is {k}: it must be in 1\.\.3"):
            expansion.print_terms(k)


def test_shapes_batches_and_options(expand_objective):
    expansion = expand_objective(poisson_objective, POISSON_INPUT0, POISSON_HYPER0, 3)
    assert expansion.get_max_order() == 3
    steps = POISSON_HYPER0 + np.array([[0.1, 0.0], [-0.2, 0.3], [0.0, 0.0], [0.4, 0.1]])
    terms = expansion.evaluate_taylor_series(steps, sum_terms=False)
    assert terms.shape == (4, 4, 3)
    np.testing.assert_array_equal(terms, expansion.evaluate_taylor_series_terms(steps))
    np.testing.assert_allclose(expansion.evaluate_taylor_series(steps), terms.sum(axis=0), rtol=1e-15)
    np.testing.assert_array_equal(terms[:, 2], [POISSON_INPUT0, *np.zeros((3, 3))])
    for i, step in enumerate(steps):
        single = expansion.evaluate_taylor_series_terms(step)
        assert single.shape == (4, 3)
        np.testing.assert_array_equal(single, terms[:, i])
        derivs = expansion.evaluate_input_derivs(step - POISSON_HYPER0)
        np.testing.assert_allclose(single[1:], [d / factorial(k) for k, d in enumerate(derivs, start=1)], rtol=1e-15)
    without = expansion.evaluate_taylor_series_terms(steps, add_offset=False)
    np.testing.assert_array_equal(without[0], np.zeros((4, 3)))
    np.testing.assert_array_equal(without[1:], terms[1:])
    np.testing.assert_allclose(
        expansion.evaluate_taylor_series(steps[0], add_offset=False, max_order=2), terms[1:3, 0].sum(axis=0), rtol=1e-14
    )
    np.testing.assert_allclose(
        expansion.evaluate_taylor_series_terms(steps, max_order=2), terms[:3], rtol=1e-10, atol=1e-14
    )
    assert len(expansion.evaluate_input_derivs(POISSON_STEP, max_order=1)) == 1
    assert expansion.evaluate_taylor_series(np.empty((0, 2))).shape == (0, 3)
    for max_order in (0, -1, 4):
        with pytest.raises(ValueError, match=f"max_order is {max_order}"):
            expansion.evaluate_taylor_series(steps, max_order=max_order)


def test_structured_input_and_hyper(expand_objective):
    input_val0 = {"slope": POISSON_INPUT0[1:], "intercept": POISSON_INPUT0[0]}
    hyper_val0 = [POISSON_HYPER0[0], (np.array([[POISSON_HYPER0[1]]]),)]

    def objective(theta, hyper):
        flat = anp.concatenate([anp.reshape(theta["intercept"], 1), theta["slope"]])
        return poisson_objective(flat, anp.array([hyper[0], hyper[1][0][0, 0]]))

    expansion = expand_objective(objective, input_val0, hyper_val0, 4)
    np.testing.assert_array_equal(flatten(input_val0)[0], POISSON_INPUT0)
    np.testing.assert_allclose(expansion.evaluate_input_derivs(POISSON_STEP), VITTLES_DERIVS[:4], rtol=1e-10)
    new = POISSON_HYPER0 + POISSON_STEP
    flat_result = expansion.evaluate_taylor_series(new)
    built_result = expansion.evaluate_taylor_series([new[0], (np.array([[new[1]]]),)])
    np.testing.assert_array_equal(built_result, flat_result)
    for wrong in ({"a": new[0], "b": new[1]}, [new[0], (np.ones((1, 2)),)]):
        with pytest.raises(ShapeError, match="another structure"):
            expansion.evaluate_taylor_series(wrong)


def test_equation_that_calls_grad_on_a_structure(expand):
    def objective(theta, hyper):
        return poisson_objective(anp.concatenate([anp.reshape(theta[0], 1), theta[1]["slope"]]), hyper)

    input_val0 = (POISSON_INPUT0[0], {"slope": POISSON_INPUT0[1:]})
    expansion = expand(autograd.grad(objective), input_val0, POISSON_HYPER0, 3)
    np.testing.assert_allclose(expansion.evaluate_input_derivs(POISSON_STEP), VITTLES_DERIVS[:3], rtol=1e-10)


def test_equation_that_returns_the_structure_of_the_input(expand):
    def equation(theta, eps):
        return {"b": theta["b"] ** 2 - theta["a"], "a": theta["a"] - eps}

    expansion = expand(equation, {"a": 4.0, "b": 2.0}, 4.0, 3)
    series = exact_series(mpmath.sqrt, 4, 3)
    terms = expansion.evaluate_taylor_series_terms(5.0)
    np.testing.assert_allclose(terms, np.stack([[4, 1, 0, 0], series], axis=1), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("hyper_val0", [2.0, np.array([2.0]), np.array(2), [2], np.array([[2]])])
def test_scalars_and_integers(expand, hyper_val0):
    def equation(theta, eps):
        return cubic(theta, anp.ravel(eps[0] if isinstance(eps, list) else eps))

    series = exact_series(cubic_root, 2, 3)
    expansion = expand(equation, np.array([1]), hyper_val0, 3)
    for new_hyper_val in (3, np.array([3]), [3]):
        terms = expansion.evaluate_taylor_series_terms(new_hyper_val)
        assert terms.dtype == float
        np.testing.assert_allclose(terms[:, 0], series, rtol=1e-12)
    assert expansion.evaluate_taylor_series(np.array([[3], [4]])).shape == (2, 1)


def test_scalar_input(expand):
    expansion = expand(cubic, 1.0, 2.0, 3)
    terms = expansion.evaluate_taylor_series_terms(3.0)
    np.testing.assert_allclose(terms[:, 0], exact_series(cubic_root, 2, 3), rtol=1e-12)


def test_matrix_input_and_matrix_hyper(expand):
    # (A + E) theta = B for a matrix theta, hyper the matrix E: theta = sum_k (-A^{-1} E)^k A^{-1} B
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2)) + 3 * np.eye(2), rng.normal(size=(2, 3))
    base, change = np.linalg.solve(a, b), 0.1 * rng.normal(size=(2, 2))
    expansion = expand(lambda theta, e: anp.dot(a + e, theta) - b, base, np.zeros((2, 2)), 4)
    ratio = -np.linalg.solve(a, change)
    expected = [(np.linalg.matrix_power(ratio, k) @ base).ravel() for k in range(5)]
    np.testing.assert_allclose(expansion.evaluate_taylor_series_terms(change), expected, rtol=1e-11)
    np.testing.assert_array_equal(
        expansion.evaluate_taylor_series(change), expansion.evaluate_taylor_series(change.ravel())
    )


def test_hyper_that_is_ignored(expand, expand_objective):
    equation_expansion = expand(lambda theta, eps: theta**2 - 4.0, np.array([2.0]), np.array([1.0]), 3)
    objective_expansion = expand_objective(
        lambda theta, eps: anp.sum(anp.cosh(theta - 2.0)), 2 * np.ones(2), {"unused": 1.0}, 3
    )
    for expansion, n_input in ((equation_expansion, 1), (objective_expansion, 2)):
        np.testing.assert_array_equal(expansion.evaluate_input_derivs(np.array([1.0])), np.zeros((3, n_input)))
        np.testing.assert_array_equal(expansion.evaluate_taylor_series(np.array([9.0])), 2 * np.ones(n_input))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_equation_of_another_shape(expand, shape):
    expansion = expand(lambda theta, eps: anp.reshape(cubic(theta, eps), shape), np.ones(1), 2 * np.ones(1), 3)
    terms = expansion.evaluate_taylor_series_terms(np.array([3.0]))
    np.testing.assert_allclose(terms[:, 0], exact_series(cubic_root, 2, 3), rtol=1e-12)


def test_namedtuples(expand):
    Pair = namedtuple("Pair", "root square")

    def equation(theta, hyper):
        return Pair(root=theta.root**2 - theta.square, square=theta.square - hyper.scale * hyper.eps[0])

    base = Pair(2.0, np.array([4.0])), namedtuple("Hyper", "scale eps")(2.0, [2.0])
    expansion = expand(equation, *base, 3)
    terms = expansion.evaluate_taylor_series_terms(base[1]._replace(eps=[2.5]))
    np.testing.assert_allclose(
        terms, np.stack([exact_series(mpmath.sqrt, 4, 3), [4, 1, 0, 0]], axis=1), rtol=1e-13, atol=1e-15
    )


def test_containers_of_the_caller_may_change(expand):
    input_val0, hyper_val0 = {"a": np.ones(1)}, [np.array([2.0])]
    expansion = expand(lambda theta, eps: cubic(theta["a"], eps[0]), input_val0, hyper_val0, 3)
    input_val0["b"] = hyper_val0[0] = None
    terms = expansion.evaluate_taylor_series_terms([np.array([3.0])])
    np.testing.assert_allclose(terms[:, 0], exact_series(cubic_root, 2, 3), rtol=1e-12)


def psi_inverse_derivs(theta):
    """First three derivatives of the inverse of digamma at digamma(theta)."""
    f1, f2, f3 = (float(mpmath.polygamma(k, theta)) for k in (1, 2, 3))
    return [1 / f1, -f2 / f1**3, 3 * f2**2 / f1**5 - f3 / f1**4]


MATRIX = np.array([[2.0, 0.5], [-0.3, 1.0]])
NO_JVP = {
    # name of the primitive in the error: (G, theta0, eps0, derivatives along ones)
    "psi": (
        lambda t, e: special.psi(t) - e,
        [2.5],
        [float(mpmath.digamma(2.5))],
        [[d] for d in psi_inverse_derivs(2.5)],
    ),
    "expit": (lambda t, e: special.expit(t) - e, [0.0], [0.5], [[4.0], [0.0], [32.0]]),
    "solve": (
        lambda t, e: anp.linalg.solve(MATRIX, t) - e,
        [0.0, 0.0],
        [0.0, 0.0],
        [MATRIX.sum(axis=1), [0.0, 0.0], [0.0, 0.0]],
    ),
}


@pytest.mark.parametrize("name", NO_JVP)
def test_primitives_without_jvp(name):
    equation, input_val0, hyper_val0, derivs = NO_JVP[name]
    base = (equation, np.array(input_val0), np.array(hyper_val0), 3)
    direction = np.ones(len(hyper_val0))
    found = NaiveTaylorExpansion(*base, forward=False).evaluate_input_derivs(direction)
    np.testing.assert_allclose(found, derivs, rtol=1e-11, atol=1e-12)
    for expansion in (NestedJVPTaylorExpansion(*base), NaiveTaylorExpansion(*base, forward=True)):
        with pytest.raises(MissingRuleError, match=rf"JVP of {name} .*forward=False"):
            expansion.evaluate_input_derivs(direction)
        with pytest.raises(NotImplementedError):
            expansion.evaluate_taylor_series(np.array(hyper_val0) + direction)


def test_objective_with_gammaln_in_reverse():
    def objective(theta, eps):
        return anp.sum(special.gammaln(theta) - eps * theta)

    expansion = NaiveTaylorExpansion.optimization_objective(
        objective, np.array([2.5]), np.array([float(mpmath.digamma(2.5))]), 3, forward=False
    )
    np.testing.assert_allclose(
        np.ravel(expansion.evaluate_input_derivs(np.ones(1))), psi_inverse_derivs(2.5), rtol=1e-11
    )


def half_defined(define):
    """x * y, with a derivative in x only."""

    @primitive
    def product(x, y):
        return x * y

    if define == "VJP":
        defvjp(product, lambda ans, x, y: lambda g: g * y)
    else:
        defvjp(product, lambda ans, x, y: lambda g: g * y, lambda ans, x, y: lambda g: g * x)
    defjvp(product, lambda g, ans, x, y: g * y)
    return product


def test_primitive_with_a_jvp_in_one_argument_only():
    product = half_defined("JVP")
    base = (lambda theta, eps: theta - product(eps, eps), np.ones(1), np.ones(1), 2)
    for cls in CLASSES:
        with pytest.raises(MissingRuleError, match=r"JVP of product wrt argnum 1 not defined.*forward=False"):
            cls(*base).evaluate_input_derivs(np.ones(1))
        with pytest.raises(MissingRuleError, match="JVP of clip wrt argnum 1"):
            cls(lambda t, e: t - anp.clip(0.5, e, 9.0), np.ones(1), np.ones(1), 2).evaluate_input_derivs(np.ones(1))
    found = NaiveTaylorExpansion(*base, forward=False).evaluate_input_derivs(np.ones(1))
    np.testing.assert_allclose(np.ravel(found), [2.0, 2.0], rtol=1e-14)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (half_defined("VJP"), "product wrt argnums 0, 1"),
        (primitive(lambda x, y: x * y), "<lambda> wrt argnums"),
    ],
)
def test_primitive_without_vjp(expand, function, name):
    with pytest.raises(MissingRuleError, match=f"VJP of {name}.*defvjp"):
        expand(lambda theta, eps: function(theta, theta) - eps, np.ones(1), np.ones(1), 2)


def test_three_arguments_of_which_one_has_no_vjp(expand):
    function = primitive(lambda x, y, z: x * y * z)
    defvjp(function, *[lambda ans, x, y, z: lambda g: g] * 2)
    with pytest.raises(MissingRuleError, match="VJP of <lambda> wrt argnum 2 not defined.*defvjp"):
        expand(lambda theta, eps: function(theta, theta, theta) - eps, np.ones(1), np.ones(1), 2)


def test_other_key_errors_pass_through(expand, expand_objective):
    for build in (expand, expand_objective):
        with pytest.raises(KeyError, match="slope"):
            build(lambda theta, eps: theta["slope"] - eps["x"], {"intercept": 1.0}, {"x": 1.0}, 2)


def test_threads_take_turns(expand):
    equation = autograd.grad(lambda theta, eps: anp.sum(theta**4 / 4 + theta**2 / 2 - eps * theta))
    expansions = [expand(equation, np.ones(1), 2 * np.ones(1), 3) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda i: expansions[i % 4].evaluate_taylor_series_terms(3.0)[:, 0], range(40)))
    finally:
        sys.setswitchinterval(interval)
    np.testing.assert_allclose(results, [exact_series(cubic_root, 2, 3)] * 40, rtol=1e-12)


def test_other_not_implemented_errors_pass_through(expand):
    equation_calls = itertools.count()

    def equation(theta, eps):
        if next(equation_calls) > 1:
            raise NotImplementedError("the user's own")
        return theta - eps

    expansion = expand(equation, np.ones(1), np.ones(1), 1)
    with pytest.raises(NotImplementedError, match="^the user's own$"):
        expansion.evaluate_input_derivs(np.ones(1))


def test_hess_solver_is_used_for_every_solve():
    rhs_seen = []

    def solver(rhs):
        rhs_seen.append(rhs)
        return np.linalg.solve(autograd.hessian(poisson_objective)(POISSON_INPUT0, POISSON_HYPER0), rhs)

    args = (autograd.grad(poisson_objective), POISSON_INPUT0, POISSON_HYPER0, 4)
    expansion = NestedJVPTaylorExpansion(*args, hess_solver=solver)
    n_to_check = len(rhs_seen)
    np.testing.assert_allclose(expansion.evaluate_input_derivs(POISSON_STEP), VITTLES_DERIVS[:4], rtol=1e-10)
    assert len(rhs_seen) == n_to_check + 4
    with pytest.raises(SolveFailed, match=r"residual 5\.0e-01"):
        NestedJVPTaylorExpansion(*args, hess_solver=lambda rhs: solver(rhs) / 2)
    with pytest.raises(ShapeError, match=r"turns an array of shape \(3,\) into one of shape \(1, 3\)"):
        NestedJVPTaylorExpansion(*args, hess_solver=lambda rhs: rhs[None])
    with pytest.raises(NonFiniteError, match="solve"):
        NestedJVPTaylorExpansion(*args, hess_solver=lambda rhs: rhs * np.nan)
    with pytest.raises(TypeError, match="a solver of type float"):
        NestedJVPTaylorExpansion(*args, hess_solver=1.0)


@pytest.mark.parametrize("kind", ["matrix", "sparse matrix", "object"])
def test_hess_solver_of_other_kinds(kind):
    hess = autograd.hessian(poisson_objective)(POISSON_INPUT0, POISSON_HYPER0)

    def build(hess):
        given = {"matrix": hess, "sparse matrix": scipy.sparse.csc_array(hess), "object": DenseLU(hess)}[kind]
        return NestedJVPTaylorExpansion(
            autograd.grad(poisson_objective), POISSON_INPUT0, POISSON_HYPER0, 3, hess_solver=given
        )

    np.testing.assert_allclose(build(hess).evaluate_input_derivs(POISSON_STEP), VITTLES_DERIVS[:3], rtol=1e-10)
    with pytest.raises(SolveFailed, match="does not solve with the matrix at the base point"):
        build(hess + np.eye(3))
    with pytest.raises(ShapeError, match=r"\(3, 3\) is needed"):
        build(np.eye(2))


def test_one_jacobian_at_any_order_and_number_of_steps(monkeypatch):
    n_jacobians = itertools.count()
    jacobian = autograd.jacobian
    monkeypatch.setattr(autograd, "jacobian", lambda *args: (next(n_jacobians), jacobian(*args))[1])
    expansion = NestedJVPTaylorExpansion(cubic, np.ones(1), 2 * np.ones(1), 4)
    expansion.evaluate_taylor_series(np.array([[2.1], [2.2]]))
    assert next(n_jacobians) == 1


def test_hess0():
    hess0 = autograd.hessian(poisson_objective)(POISSON_INPUT0, POISSON_HYPER0)

    def build(hess0):
        return NestedJVPTaylorExpansion.optimization_objective(
            poisson_objective, POISSON_INPUT0, POISSON_HYPER0, 3, hess0=hess0
        )

    np.testing.assert_allclose(build(hess0).evaluate_input_derivs(POISSON_STEP), VITTLES_DERIVS[:3], rtol=1e-10)
    with pytest.raises(SolveFailed, match=r"residual 5\.0e-01"):
        build(2 * hess0)
    with pytest.raises(ShapeError, match=r"matrix of shape \(2, 3\)"):
        build(hess0[:2])
    with pytest.raises(ShapeError, match=r"matrix given has shape \(2, 2\), the input has 3"):
        build(hess0[:2, :2])
    with pytest.raises(NotSymmetricError, match=r"entries \(0, 1\) and \(1, 0\)"):
        build(hess0 + np.triu(np.ones((3, 3)), 1))
    with pytest.raises(NotPositiveDefiniteError, match="smallest eigenvalue -.*saddle"):
        build(-hess0)
    with pytest.raises(NonFiniteError, match="entries in the matrix: 9,"):
        build(np.full((3, 3), np.nan))


@pytest.mark.parametrize("cls", CLASSES)
def test_optimum_tol(cls):
    off = 1 + 1e-4
    with pytest.raises(NotASolutionError, match=r"Newton step 1\.0e-04 of input 0 .*optimum_tol"):
        cls(cubic, np.array([off]), np.array([2.0]), 2)
    with pytest.raises(NotASolutionError, match=r"Newton step 1\.0e-04"):
        cls.optimization_objective(
            lambda theta, eps: anp.sum((theta - eps) ** 2), np.array([off]), np.array([1.0]), 2, optimum_tol=1e-6
        )
    loose = cls(cubic, np.array([off]), np.array([2.0]), 2, optimum_tol=1e-3)
    np.testing.assert_allclose(loose.evaluate_input_derivs(np.ones(1))[0], 1 / (1 + 3 * off**2), rtol=1e-12)
    with pytest.raises(NotASolutionError, match="Newton step"):
        cls(cubic, np.array([off]), np.array([2.0]), 2, optimum_tol=np.nan)


def sum_of_squares(theta, eps):
    return anp.sum((theta - eps) ** 2)


BAD_EQUATIONS = {
    # name: (error, message, G, input_val0, hyper_val0, order)
    "order 0": (ValueError, "order is 0: it must be at least 1", cubic, [1.0], [2.0], 0),
    "order negative": (ValueError, "order is -2", cubic, [1.0], [2.0], -2),
    "order a float": (TypeError, "integer", cubic, [1.0], [2.0], 2.0),
    "input NaN": (NonFiniteError, "1 of 2 elements of input_val0", cubic, [np.nan, 1.0], [2.0], 2),
    "hyper infinite": (NonFiniteError, "1 of 1 elements of hyper_val0", cubic, [1.0], [np.inf], 2),
    "input complex": (TypeError, "input_val0 has elements of type complex128", cubic, [1.0 + 0j], [2.0], 2),
    "input empty": (ShapeError, "input_val0 is empty", cubic, [], [2.0], 2),
    "hyper empty": (ShapeError, "hyper_val0 is empty", cubic, [1.0], [], 2),
    "too few equations": (ShapeError, "returned 1 values for 2 inputs", lambda t, e: t[:1] - e, [1.0, 1.0], [1.0], 2),
    "a scalar": (ShapeError, "returned 1 values for 2", lambda t, e: anp.sum(t - e), [1.0, 1.0], [1.0], 2),
    "a matrix": (ShapeError, "returned 4 values for 2", lambda t, e: t - e * np.ones((2, 1)), [1.0, 1.0], [1.0], 2),
    "equation NaN": (NonFiniteError, "1 of 2 estimating equations", lambda t, e: t * [np.nan, 1], [1.0, 0.0], [1.0], 2),
    "no function": (TypeError, "a function .* got str", "cubic", [1.0], [2.0], 2),
    "input ignored": (SingularError, "no equation depends on input 0", lambda t, e: e - 1.0, [1.0], [1.0], 2),
    "rank one": (
        SingularError,
        "pivot 1 of 2 is zero",
        lambda t, e: anp.ones(2) * (anp.sum(t) - e),
        [1.0, 1.0],
        [2.0],
        2,
    ),
    "Jacobian infinite": (NonFiniteError, "in the matrix: 1,", lambda t, e: e * anp.tan(t) ** 0.5, [0.0], [1.0], 2),
    "not a solution": (NotASolutionError, r"Newton step 5\.0e-01", lambda t, e: 2 * t - e, [1.0], [1.0], 2),
}


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name", BAD_EQUATIONS)
def test_bad_equations(cls, name):
    error, message, equation, input_val0, hyper_val0, order = BAD_EQUATIONS[name]
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        cls(equation, np.array(input_val0), np.array(hyper_val0), order)


BAD_OBJECTIVES = {
    # name: (error, message, objective, input_val0)
    "array": (ShapeError, r"the objective returned an array of shape \(2,\)", lambda t, e: (t - e) ** 2, [1.0, 1.0]),
    "maximum": (NotPositiveDefiniteError, "smallest eigenvalue -2.0e", lambda t, e: -sum_of_squares(t, e), [1.0]),
    "saddle": (NotPositiveDefiniteError, "saddle", lambda t, e: (t[0] - e[0]) * (t[1] - e[0]), [1.0, 1.0]),
    "not identified": (NotPositiveDefiniteError, "not identified", lambda t, e: (anp.sum(t) - e[0]) ** 2, [0.5, 0.5]),
    "input ignored": (NotPositiveDefiniteError, "not identified", lambda t, e: anp.sum(e**2), [1.0]),
    "no function": (TypeError, "a function .* got NoneType", None, [1.0]),
    "not a minimum": (NotASolutionError, r"Newton step 2\.0e\+00", sum_of_squares, [3.0]),
}


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name", BAD_OBJECTIVES)
def test_bad_objectives(cls, name):
    error, message, objective, input_val0 = BAD_OBJECTIVES[name]
    with pytest.raises(error, match=message):
        cls.optimization_objective(objective, np.array(input_val0), np.array([1.0]), 2)


@pytest.mark.parametrize(
    ("error", "message", "new_hyper_val"),
    [
        (ShapeError, r"new_hyper_val has shape \(3,\)", np.ones(3)),
        (ShapeError, r"new_hyper_val has shape \(2, 3\)", np.ones((2, 3))),
        (ShapeError, r"new_hyper_val has shape \(1, 1, 2\)", np.ones((1, 1, 2))),
        (ShapeError, r"new_hyper_val has shape \(\)", 1.0),
        (ShapeError, "another structure", {"a": 1.0, "b": 2.0}),
        (ShapeError, "another structure", [[1.0, 2.0], [3.0]]),
        (NonFiniteError, "1 of 2 elements of new_hyper_val", np.array([1.0, np.nan])),
        (TypeError, "new_hyper_val has elements of type complex128", np.array([1.0, 1j])),
    ],
)
def test_bad_new_hyper(expand_objective, error, message, new_hyper_val):
    expansion = expand_objective(poisson_objective, POISSON_INPUT0, POISSON_HYPER0, 2)
    with pytest.raises(error, match=message):
        expansion.evaluate_taylor_series(new_hyper_val)
    with pytest.raises(error, match=message.replace("new_hyper_val", "dhyper")):
        expansion.evaluate_input_derivs(new_hyper_val)


def test_one_direction_at_a_time(expand):
    expansion = expand(cubic, np.ones(1), 2 * np.ones(1), 2)
    with pytest.raises(ShapeError, match=r"dhyper has shape \(4, 1\)"):
        expansion.evaluate_input_derivs(np.ones((4, 1)))


def test_derivative_that_is_not_finite(expand):
    expansion = expand(lambda theta, eps: theta - anp.abs(eps) ** 1.5, np.zeros(1), np.zeros(1), 2)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="derivative 2 has 1 of 1 values"):
        expansion.evaluate_input_derivs(np.ones(1))


@pytest.mark.parametrize("option", ["max_input_order", "max_hyper_order"])
@pytest.mark.parametrize("build", [NestedJVPTaylorExpansion, NestedJVPTaylorExpansion.optimization_objective])
def test_limits_below_one(option, build):
    with pytest.raises(ValueError, match=f"{option} is 0"):
        build(sum_of_squares, np.ones(1), np.ones(1), 2, **{option: 0})


def test_arrays_of_the_caller_are_never_changed(expand_objective):
    input_val0, hyper_val0 = POISSON_INPUT0.copy(), POISSON_HYPER0.copy()
    expansion = expand_objective(poisson_objective, input_val0, hyper_val0, 3)
    step = POISSON_STEP.copy()
    new_hyper_val = POISSON_HYPER0 + POISSON_STEP
    before = expansion.evaluate_taylor_series_terms(new_hyper_val)
    derivs = expansion.evaluate_input_derivs(step)
    for array, original in (
        (input_val0, POISSON_INPUT0),
        (hyper_val0, POISSON_HYPER0),
        (step, POISSON_STEP),
        (new_hyper_val, POISSON_HYPER0 + POISSON_STEP),
    ):
        np.testing.assert_array_equal(array, original)
        assert array.flags.writeable
        array[:] = 99.0
    results = [expansion.evaluate_taylor_series_terms(POISSON_HYPER0 + POISSON_STEP)]
    for returned in (*derivs, before):
        returned[:] = 99.0
    results.append(expansion.evaluate_taylor_series_terms(POISSON_HYPER0 + POISSON_STEP))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0][0], POISSON_INPUT0)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("argnum", [0, 1])
@pytest.mark.parametrize("nested", [False, True])
def test_function_that_writes_into_its_argument(cls, argnum, nested):
    def equation(*values):
        theta, eps = (v["x"] for v in values) if nested else values
        (theta, eps)[argnum][0] = 1.0
        return theta - eps

    base = {"x": np.ones(1)} if nested else np.ones(1)
    with pytest.raises(ValueError, match="read-only"):
        cls(equation, base, base, 2)


@pytest.mark.parametrize(
    ("error", "message", "leaf"),
    [
        (NonFiniteError, r"1 of 2 elements of {}\['a'\]\[1\] are NaN or infinite, the first at 0", [np.inf, 1.0]),
        (TypeError, r"{}\['a'\]\[1\] has elements of type complex128", [1j, 1.0]),
        (ShapeError, r"new_hyper_val\['a'\]\[1\] has another structure: its shape is \(3,\)", np.ones(3)),
        (ShapeError, r"new_hyper_val\['a'\]\[1\] has another structure: .* not a dict", {"b": np.ones(2)}),
    ],
)
def test_errors_name_the_leaf(expand, error, message, leaf):
    def nested(leaf):
        return {"a": [1.0, leaf if isinstance(leaf, dict) else np.array(leaf)]}

    def equation(theta, hyper):
        return theta - hyper["a"][0] * hyper["a"][1]

    expansion = expand(equation, np.ones(2), nested([1.0, 1.0]), 2)
    with pytest.raises(error, match=message.format("new_hyper_val")):
        expansion.evaluate_taylor_series(nested(leaf))
    if "{}" in message:
        with pytest.raises(error, match=message.format("hyper_val0")):
            expand(equation, np.ones(2), nested(leaf), 2)
