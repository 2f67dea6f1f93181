"""The estimating equation at its base point: structures, the Jacobian from the tape, the check, and bad input."""

from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import autograd
import autograd.numpy as anp
import autograd.scipy.special as special
import numpy as np
import pytest
from problems import MODELS, names

import vittles_ng as vn
from vittles_ng.errors import (
    IndependentError,
    MissingRuleError,
    NonFiniteError,
    NonSmoothError,
    NotASolutionError,
    NotPositiveDefiniteError,
    ShapeError,
    SingularError,
    VittlesError,
)
from vittles_ng.problem import Problem, Structure

Expansion = vn.ParametricSensitivityTaylorExpansion
objective_expansion = Expansion.optimization_objective
Pair = namedtuple("Pair", ["first", "second"])


# ---- structures ----

STRUCTURES = {
    "vector": np.array([1.0, 2.0, 3.0]),
    "matrix": np.arange(6.0).reshape(2, 3),
    "number": 3.0,
    "zero-dimensional": np.array(3.0),
    "list of numbers": [1.0, 2.0],
    "dict": {"b": np.array([1.0, 2.0]), "a": np.array([[3.0], [4.0]])},
    "list": [np.array([1.0, 2.0]), 3.0],
    "tuple": (np.ones((2, 2)), np.zeros(1)),
    "nested": {"z": [1.0, (2.0, np.array([3.0, 4.0]))], "a": {"y": np.array([[5.0, 6.0]]), "x": 7.0}},
    "empty part": {"a": np.zeros((0, 3)), "b": np.ones(2)},
}


def assert_same(a, b):
    if isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            assert_same(a[key], b[key])
    elif isinstance(b, (list, tuple)) and not all(np.isscalar(x) for x in b):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert np.shape(a) == np.shape(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_lie_as_autograd_flattens_them(name):
    value = STRUCTURES[name]
    structure = Structure(value, "input_val0")
    np.testing.assert_array_equal(structure.flat0, autograd.misc.flatten(value)[0])
    assert structure.flat0.dtype == np.float64
    assert_same(structure.unflatten(structure.flat0), value)


@pytest.mark.parametrize("value", [[1, 2, 3], (1, 2, 3), np.array([1, 2, 3]), np.array([1, 2, 3], dtype=np.uint8)])
def test_integers_become_floats(value):
    structure = Structure(value, "input_val0")
    np.testing.assert_array_equal(structure.flat0, [1.0, 2.0, 3.0])
    assert structure.flat0.dtype == np.float64
    np.testing.assert_array_equal(Structure([True, False], "input_val0").flat0, [1.0, 0.0])
    np.testing.assert_array_equal(Structure({"a": 2, "b": np.array([3])}, "input_val0").flat0, [2.0, 3.0])


def test_named_tuples_stay_named_tuples():
    structure = Structure(Pair(np.array([1.0, 2.0]), 3.0), "input_val0")
    value = structure.unflatten(np.array([4.0, 5.0, 6.0]))
    assert isinstance(value, Pair)
    assert_same(value, Pair(np.array([4.0, 5.0]), np.array(6.0)))


def test_structures_do_not_keep_the_callers_containers():
    part = np.array([1.0, 2.0])
    value = {"a": part, "b": 3.0}
    structure = Structure(value, "hyper_val0")
    part[:] = 7.0
    value["c"] = 8.0
    np.testing.assert_array_equal(structure.flat0, [1.0, 2.0, 3.0])
    assert list(structure.unflatten(np.zeros(3))) == ["a", "b"]


# ---- the Jacobian and the residual ----


@pytest.mark.parametrize("name", MODELS)
def test_jacobian_from_the_tape(name):
    model = MODELS[name]
    problem = Problem(model.function, model.input_val0, model.hyper_val0, model.is_objective)
    expected = autograd.jacobian(model.equation)(model.input_val0, model.hyper_val0)
    np.testing.assert_allclose(problem.jacobian(), expected, rtol=1e-10, atol=1e-12)
    v = np.cos(np.arange(model.input_val0.size))
    np.testing.assert_allclose(problem.jacobian_product(v), expected @ v, rtol=1e-10, atol=1e-12)
    new = model.input_val0 + 0.01 * v
    hyper = model.hyper_val0 + 0.3 * model.step
    np.testing.assert_allclose(problem.residual(new, hyper), model.equation(new, hyper), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        problem.residual0, model.equation(model.input_val0, model.hyper_val0), rtol=0, atol=1e-13
    )


def test_jacobian_of_many_inputs_in_blocks():
    # 60 inputs with 100000 numbers on the tape: fewer columns than inputs fit in a block
    x = np.cos(np.outer(np.arange(100_000.0), np.arange(1.0, 61.0)))

    def equation(b, h):
        return anp.dot(x.T, anp.tanh(anp.dot(x, b))) / 1e5 - h

    problem = Problem(equation, np.zeros(60), np.zeros(60), is_objective=False)
    np.testing.assert_allclose(problem.jacobian(), x.T @ x / 1e5, rtol=1e-11, atol=1e-12)


def test_another_base_point_is_another_object():
    model = MODELS["poisson"]
    problem = Problem(model.function, model.input_val0, model.hyper_val0, is_objective=True)
    before = problem.residual0.copy(), problem.objective0, problem.input.flat0.copy()
    moved = problem.at(model.input_val0 + 0.1)
    assert moved is not problem and moved.recorded is not problem.recorded
    np.testing.assert_allclose(moved.residual0, model.equation(model.input_val0 + 0.1, model.hyper_val0), rtol=1e-12)
    np.testing.assert_allclose(moved.objective0, model.function(model.input_val0 + 0.1, model.hyper_val0), rtol=1e-14)
    np.testing.assert_array_equal(problem.residual0, before[0])
    np.testing.assert_array_equal(problem.input.flat0, before[2])
    assert problem.objective0 == before[1]


# ---- the check of the base point ----


def test_newton_step_of_an_estimating_equation():
    model = MODELS["instruments"]
    problem = Problem(model.function, model.input_val0, model.hyper_val0, is_objective=False)
    size = 1.0 + np.abs(model.input_val0)
    problem.check_solution(0.99e-8 * size, 1e-8)
    with pytest.raises(
        NotASolutionError, match=r"1\.1e-08 > tol 1\.0e-08.*at input 1.*solve it to a tighter tolerance"
    ):
        problem.check_solution(1e-9 * size + [0.0, 1e-8 * size[1]], 1e-8)
    with pytest.raises(NotASolutionError):
        problem.check_solution(np.array([np.nan, 0.0]), 1e-8)


def test_newton_decrement_does_not_depend_on_the_units():
    # minimise (b - 1)^2 / 2 in units u: at b = 1 + 1e-6 the decrement is 1e-6 whatever u is
    for unit in (1e-8, 1.0, 1e8):
        with pytest.raises(NotASolutionError, match=r"1\.0e-06 > tol 5\.0e-07"):
            objective_expansion(
                lambda b, h, u=unit: 0.5 * anp.sum((b / u - h) ** 2), [(1.0 + 1e-6) * unit], [1.0], 1, optimum_tol=5e-7
            )
        objective_expansion(
            lambda b, h, u=unit: 0.5 * anp.sum((b / u - h) ** 2), [(1.0 + 1e-6) * unit], [1.0], 1, optimum_tol=2e-6
        )


@pytest.mark.parametrize("name", names(is_objective=True))
def test_base_points_that_are_no_solution(name):
    model = MODELS[name]
    off = model.input_val0 + 1e-3 * np.cos(np.arange(model.input_val0.size))
    with pytest.raises(NotASolutionError, match="at the base point.*largest residual.*re-optimise"):
        objective_expansion(model.function, off, model.hyper_val0, 1)
    with pytest.raises(NotASolutionError, match="Newton step.*at the base point"):
        Expansion(autograd.grad(model.function), off, model.hyper_val0, 1)


SADDLES = {
    "maximum": lambda b, h: -anp.sum((b - h) ** 2),
    "saddle": lambda b, h: (b[0] - h[0]) ** 2 - (b[1] - h[1]) ** 2,
    "not identified": lambda b, h: (b[0] + b[1] - h[0] - h[1]) ** 2,
}


@pytest.mark.parametrize("name", SADDLES)
def test_stationary_points_that_are_no_minimum(name):
    with pytest.raises(NotPositiveDefiniteError, match="saddle or not identified"):
        objective_expansion(SADDLES[name], [1.0, 1.0], [1.0, 1.0], 1)


def test_a_given_solver_does_not_hide_a_maximum():
    # the solver is right for -|b - h|^2, whose Hessian is -2: the Newton decrement is negative
    with pytest.raises(NotPositiveDefiniteError, match="saddle or not identified"):
        objective_expansion(SADDLES["maximum"], [5.0, 5.0], [1.0, 1.0], 1, hess0=lambda v: -0.5 * v)


def test_a_given_solver_does_not_hide_a_saddle_that_is_stationary():
    with pytest.raises(NotPositiveDefiniteError, match="saddle or not identified"):
        objective_expansion(SADDLES["saddle"], [1.0, 1.0], [1.0, 1.0], 1, hess0=lambda v: v * np.array([0.5, -0.5]))


def test_singular_estimating_equations():
    with pytest.raises(SingularError):
        Expansion(lambda b, h: anp.array([b[0] + b[1] - h[0], 2.0 * (b[0] + b[1] - h[0])]), [0.5, 0.5], [1.0], 1)
    with pytest.raises(SingularError, match="no equation depends on input 1"):
        Expansion(lambda b, h: anp.array([b[0] - h[0], b[0] ** 2 - h[0]]), [1.0, 1.0], [1.0], 1)


# ---- bad input ----


def quadratic(b, h):
    return 0.5 * anp.sum((b - h) ** 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad):
    with pytest.raises(NonFiniteError, match="1 of 2 elements of input_val0 are NaN or infinite, the first at 1"):
        objective_expansion(quadratic, [1.0, bad], [1.0, 1.0], 1)
    with pytest.raises(NonFiniteError, match="1 of 2 elements of hyper_val0 are NaN or infinite, the first at 0"):
        objective_expansion(quadratic, [1.0, 1.0], [bad, 1.0], 1)
    with pytest.raises(NonFiniteError, match="input_val0"):
        objective_expansion(lambda b, h: quadratic(b["a"], h), {"a": np.array([1.0, bad])}, [1.0, 1.0], 1)


@pytest.mark.parametrize("bad", [np.array([1j]), np.array(["1"]), np.array([None]), "one", [[1.0], "a"], None])
def test_values_that_are_no_real_numbers(bad):
    with pytest.raises(TypeError, match="input_val0.*real numbers are needed"):
        objective_expansion(quadratic, bad, 1.0, 1)
    with pytest.raises(TypeError, match="hyper_val0.*real numbers are needed"):
        objective_expansion(quadratic, 1.0, bad, 1)


@pytest.mark.parametrize("empty", [[], {}, (), np.zeros(0), {"a": np.zeros((0, 2))}])
def test_empty_values(empty):
    with pytest.raises(ShapeError, match="input_val0 is empty"):
        objective_expansion(quadratic, empty, 1.0, 1)
    with pytest.raises(ShapeError, match="hyper_val0 is empty"):
        objective_expansion(quadratic, 1.0, empty, 1)


@pytest.mark.parametrize("function", [None, 3.0, np.ones(3), "objective"])
def test_functions_that_are_none(function):
    with pytest.raises(TypeError, match="expected a function of"):
        objective_expansion(function, 1.0, 1.0, 1)


@pytest.mark.parametrize(
    "function", [lambda b, h: (b - h) ** 2, lambda b, h: anp.array([[anp.sum((b - h) ** 2)]]), lambda b, h: (b - h)[:1]]
)
def test_objectives_that_return_an_array(function):
    with pytest.raises(ShapeError, match="the objective returned an array of shape.*a scalar is needed"):
        objective_expansion(function, [1.0, 1.0], [1.0, 1.0], 1)


@pytest.mark.parametrize("returned", [None, "0", (1.0, 2.0), {"a": 1.0}, [1.0]])
def test_objectives_that_return_no_number(returned):
    with pytest.raises((TypeError, VittlesError), match="objective|scalar"):
        objective_expansion(lambda b, h: returned, 1.0, 1.0, 1)


@pytest.mark.parametrize(
    "function", [lambda b, h: anp.sum(b - h), lambda b, h: anp.concatenate([b - h, b]), lambda b, h: (b - h)[:1]]
)
def test_equations_of_the_wrong_size(function):
    with pytest.raises(ShapeError, match="returned [14] values for 2 inputs: as many equations as inputs"):
        Expansion(function, [1.0, 1.0], [1.0, 1.0], 1)


@pytest.mark.parametrize("returned", [None, "0", object()])
def test_equations_that_return_no_numbers(returned):
    with pytest.raises((TypeError, VittlesError)):
        Expansion(lambda b, h: returned, 1.0, 1.0, 1)


IGNORED = {
    "hyper": (lambda b, h: anp.sum((b - 1.0) ** 2), r"does not depend on the hyper \(hyper_val0\)"),
    "hyper, added only": (lambda b, h: anp.sum((b - 1.0) ** 2) + anp.sum(h), "objective's gradient.*on the hyper"),
    "input": (lambda b, h: anp.sum(h**2), r"does not depend on the input \(input_val0\)"),
    "both": (lambda b, h: 0.0, "does not depend on the input"),
    "hyper, by rounding": (lambda b, h: anp.sum((b - anp.floor(h)) ** 2), "does not depend on the hyper"),
}


@pytest.mark.parametrize("name", IGNORED)
@pytest.mark.filterwarnings("ignore:Output seems independent of input")
def test_arguments_that_an_objective_ignores(name):
    function, match = IGNORED[name]
    with pytest.raises(IndependentError, match=match):
        objective_expansion(function, [1.0], [1.0], 1)


def test_arguments_that_an_equation_ignores():
    with pytest.raises(IndependentError, match="equation does not depend on the hyper.*order of the arguments"):
        Expansion(lambda b, h: b - 1.0, [1.0], [1.0], 1)
    with pytest.raises(IndependentError, match="estimating equation does not depend on the input"):
        Expansion(lambda b, h: h - 1.0, [1.0], [1.0], 1)


def test_one_hyper_of_several_may_be_ignored():
    expansion = Expansion(lambda b, h: b - h[:1], [1.0], [1.0, 5.0], 2)
    np.testing.assert_array_equal(expansion.evaluate_taylor_series([2.0, 9.0]), [2.0])
    np.testing.assert_array_equal(expansion.evaluate_taylor_series([1.0, 9.0]), [1.0])
    np.testing.assert_array_equal(expansion.evaluate_taylor_series([[1.0, 9.0], [3.0, 5.0]]), [[1.0], [3.0]])


@pytest.mark.parametrize(
    "function",
    [
        lambda b, h: anp.sum(-anp.log(b - h)),
        lambda b, h: anp.sum((b - h) ** 2) / (b[0] - 1.0),
        lambda b, h: anp.sum(anp.exp(1e3 * b * h)),
    ],
)
def test_functions_that_are_not_finite_at_the_base_point(function):
    with pytest.raises(NonFiniteError, match="at the base point"):
        objective_expansion(function, [1.0], [2.0], 1)


@pytest.mark.parametrize(
    "function",
    [
        lambda b, h: anp.sum(anp.abs(b - h)),
        lambda b, h: anp.max(anp.array([b[0] - h[0], h[0] - b[0]])),
        lambda b, h: anp.sum(anp.sqrt((b - h) ** 2)),
    ],
)
def test_functions_that_are_not_smooth_at_the_base_point(function):
    with pytest.raises((NonSmoothError, NonFiniteError)):
        objective_expansion(function, [1.0], [1.0], 2).evaluate_taylor_series([1.1])


def test_traced_arguments_without_a_derivative():
    # autograd has no VJP for the order of a Bessel or polygamma function
    with pytest.raises(VittlesError, match="polygamma"):
        Expansion(lambda b, h: b - special.polygamma(h, 2.0), [0.6449340668482264], [1.0], 1)
    with pytest.raises(VittlesError, match="jn"):
        Expansion(lambda b, h: b - special.jn(h, 2.0), [0.5767248077568734], [1.0], 1)
    with pytest.raises(NotImplementedError, match="polygamma"):
        objective_expansion(lambda b, h: anp.sum((special.polygamma(b, 2.0) - h) ** 2), [1.0], [1.0], 1)


def test_primitives_without_a_rule_are_named():
    @autograd.extend.primitive
    def mystery(x):
        return np.array(x)

    autograd.extend.defvjp(mystery, lambda ans, x: lambda g: g)
    with pytest.raises(MissingRuleError, match="'mystery'.*defjet"):
        Expansion(lambda b, h: b - mystery(h), [1.0], [1.0], 1)


def test_functions_written_in_plain_numpy_are_refused():
    with pytest.raises(TypeError, match="array element.*autograd.numpy"):
        Expansion(lambda b, h: np.asarray(b, dtype=float) - h, [1.0], [1.0], 1)


def write_item(b, h):
    b[0] = 7.0
    return anp.sum((b - h) ** 2)


def write_hyper(b, h):
    h[...] = 7.0
    return anp.sum((b - h) ** 2)


def write_by_numpy(b, h):
    np.ndarray.fill(b, 7.0)
    return anp.sum((b - h) ** 2)


@pytest.mark.parametrize("function", [write_item, write_hyper, write_by_numpy])
def test_functions_that_write_into_an_argument_raise(function):
    b, h = np.ones(2), np.ones(2)
    with pytest.raises((TypeError, ValueError)):
        objective_expansion(function, b, h, 1)
    np.testing.assert_array_equal(b, 1.0)
    np.testing.assert_array_equal(h, 1.0)


def augmented(b, h):
    b -= h  # binds a new array: a traced array has no addition in place
    return anp.sum(b**2)


def popping(b, h):
    return anp.sum((b.pop("a") - h.pop()) ** 2)


def test_functions_that_rebind_or_empty_their_arguments():
    b, h = np.ones(2), np.ones(2)
    expansion = objective_expansion(augmented, b, h, 2)
    np.testing.assert_allclose(expansion.evaluate_taylor_series([2.0, 3.0]), [2.0, 3.0], rtol=1e-14)
    np.testing.assert_array_equal(b, 1.0)
    inputs, hypers = {"a": np.ones(2)}, [np.ones(2)]
    expansion = objective_expansion(popping, inputs, hypers, 2)
    np.testing.assert_allclose(expansion.evaluate_taylor_series([[2.0, 3.0]]), [2.0, 3.0], rtol=1e-14)
    assert list(inputs) == ["a"] and len(hypers) == 1


def test_writable_arguments_at_other_points():
    # at a new point the equation gets copies, so that a function that writes changes nothing of the caller's
    def equation(b, h):
        if isinstance(b, np.ndarray):
            b[...] = b - h
            return b
        return b - h

    problem = Problem(equation, [1.0], [1.0], is_objective=False)
    b, h = np.array([3.0]), np.array([1.0])
    np.testing.assert_array_equal(problem.residual(b, h), [2.0])
    np.testing.assert_array_equal((b, h), ([3.0], [1.0]))


# ---- functions that call grad inside, and threads ----


def inner_gradient(b, h):
    """A score equation whose log-likelihood is differentiated inside."""

    def log_likelihood(theta):
        return anp.sum(h * anp.log1p(anp.exp(-theta * anp.array([1.0, 2.0, -1.0])))) + anp.sum(theta**2)

    return autograd.grad(log_likelihood)(b)


def inner_objective(b, h):
    """A penalty on a derivative: the slope at 0.3 of a curve with coefficients b, pulled towards h."""
    slope = autograd.grad(lambda x: anp.sum(b * anp.sin(x * anp.array([1.0, 2.0]))))(0.3)
    return (slope - h[0]) ** 2 + anp.sum((b - 1.0) ** 2)


def inner_base_point():
    # the slope is c.b with c = (cos 0.3, 2 cos 0.6): a linear problem
    c = np.array([np.cos(0.3), 2.0 * np.cos(0.6)])
    return lambda h: np.linalg.solve(np.outer(c, c) + np.eye(2), 1.0 + c * h)


def test_functions_that_call_grad_inside():
    exact = inner_base_point()
    expansion = objective_expansion(inner_objective, exact(0.5), [0.5], 3)
    np.testing.assert_allclose(expansion.evaluate_taylor_series([0.9]), exact(0.9), rtol=1e-13)
    nested = vn.baselines.NestedJVPTaylorExpansion
    root = autograd_root()
    ours = Expansion(inner_gradient, root, np.ones(3), 4).evaluate_input_derivs([0.3, -0.2, 0.1])
    theirs = nested(inner_gradient, root, np.ones(3), 4).evaluate_input_derivs([0.3, -0.2, 0.1])
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def autograd_root():
    """Where ``inner_gradient`` vanishes at unit weights, by Newton with formulas."""
    x, b = np.array([1.0, 2.0, -1.0]), 0.0
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(b * x))
        b -= (np.sum(-x * p) + 2.0 * b) / (np.sum(x**2 * p * (1.0 - p)) + 2.0)
    return np.array([b])


def test_functions_that_call_grad_inside_from_several_threads():
    exact, root = inner_base_point(), autograd_root()
    expected = Expansion(inner_gradient, root, np.ones(3), 3).evaluate_input_derivs([0.3, -0.2, 0.1])

    def work(i):
        if i % 2:
            h = 0.5 + 0.01 * i
            expansion = objective_expansion(inner_objective, exact(h), [h], 3)
            return np.abs(expansion.evaluate_taylor_series([h + 0.4]) - exact(h + 0.4)).max()
        expansion = Expansion(inner_gradient, root, np.ones(3), 3)
        return np.abs(np.subtract(expansion.evaluate_input_derivs([0.3, -0.2, 0.1]), expected)).max()

    with ThreadPoolExecutor(6) as pool:
        assert max(pool.map(work, range(60))) < 1e-12


def test_complex_estimating_equations_are_refused_with_the_size_of_the_imaginary_part():
    with pytest.raises(TypeError, match=r"imaginary parts up to 2\.0e\+00.*real ones are needed"):
        Expansion(lambda x, h: x - h + 2.0j, [1.0], [1.0], 2)
