"""The engine against closed forms, mpmath, exact refits, nested derivatives and the numbers of vittles 0.173."""

import copy
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import autograd
import autograd.numpy as anp
import mpmath
import numpy as np
import pytest
from problems import MODELS, names
from random_programs import cauchy_coefficients, random_program

import vittles_ng as vn
from vittles_ng.errors import NonFiniteError, NotASolutionError, NotPositiveDefiniteError, ShapeError
from vittles_ng.solvers import DenseCholesky
from vittles_ng.solvers.base import Solver

Expansion = vn.ParametricSensitivityTaylorExpansion
VITTLES = json.loads((Path(__file__).parent / "data" / "vittles_numbers.json").read_text())


def assert_terms_close(got, expected, rtol):
    """Each term to a tolerance relative to its largest element."""
    for k, (a, b) in enumerate(zip(got, expected, strict=True)):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)), err_msg=f"order {k}")


# ---- the numbers ----


@pytest.mark.parametrize("name", names(series=callable))
def test_closed_form_series(name):
    model = MODELS[name]
    terms = model.expand(8).evaluate_taylor_series_terms(model.hyper_val0 + model.step)
    assert_terms_close(terms, model.series(8), 1e-11)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("name", MODELS)
def test_error_against_exact_refits_falls_as_the_order_says(name, order):
    model = MODELS[name]
    scales = np.array([0.9, 0.45])
    steps = model.hyper_val0 + scales[:, None] * model.step
    errors = np.linalg.norm(model.expand(order).evaluate_taylor_series(steps) - [model.exact(s) for s in steps], axis=1)
    assert errors[1] > 1e-13, "no longer the error of the series but rounding: take a larger step"
    assert abs(np.log2(errors[0] / errors[1]) - (order + 1)) < 0.4


@pytest.mark.parametrize("name", VITTLES)
def test_numbers_of_vittles(name):
    model, kept = MODELS[name], VITTLES[name]
    np.testing.assert_allclose(model.input_val0, kept["input_val0"], rtol=1e-9)
    assert_terms_close(model.expand(5).evaluate_input_derivs(model.step), np.array(kept["derivs"]), 1e-10)


def test_every_model_meant_for_vittles_has_its_numbers():
    assert sorted(VITTLES) == sorted(names(in_vittles=True))


@pytest.mark.parametrize("name", ["poisson", "student t", "two equations", "instruments"])
def test_nested_derivatives(name):
    model = MODELS[name]
    make = vn.baselines.NestedJVPTaylorExpansion
    make = make.optimization_objective if model.is_objective else make
    nested = make(model.function, model.input_val0, model.hyper_val0, 4)
    assert_terms_close(
        model.expand(4).evaluate_input_derivs(model.step), nested.evaluate_input_derivs(model.step), 1e-9
    )


def test_logistic_series_to_order_eight_by_mpmath():
    x = np.array([[1.0, -1.0], [1.0, -0.5], [1.0, 0.25], [1.0, 0.75], [1.0, 2.0], [1.0, 1.25]])
    y = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    step = np.array([0.2, -0.1, 0.15, 0.05, -0.2, 0.1, 0.25])

    def objective(b, hyper):
        eta = x @ b
        return anp.sum(hyper[:6] * (anp.logaddexp(0.0, eta) - y * eta)) + 0.5 * hyper[6] * anp.sum(b**2)

    def gradient(t, b0, b1):
        total = [b * (1 + mpmath.mpf(step[6]) * t) for b in (b0, b1)]
        for row, label, s in zip(x, y, step[:6], strict=True):
            slope = 1 / (1 + mpmath.exp(-(row[0] * b0 + row[1] * b1))) - label
            for i in range(2):
                total[i] += (1 + mpmath.mpf(s) * t) * slope * row[i]
        return total

    with mpmath.workdps(50):
        start = [mpmath.mpf("0.1"), mpmath.mpf("0.2")]

        def path(i):
            return lambda t: mpmath.findroot(lambda b0, b1: gradient(t, b0, b1), start)[i]

        expected = np.array([[float(c) for c in mpmath.taylor(path(i), 0, 8)] for i in range(2)]).T
    expansion = Expansion.optimization_objective(objective, expected[0], np.ones(7), 8)
    assert_terms_close(expansion.evaluate_taylor_series_terms(1.0 + step), expected, 1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_random_equations_by_cauchy_integrals(seed):
    # M (x + p(x, h) / 5 - h) = 0 with a random p of slope below 5: the fixed point of x = h - p(x, h) / 5
    rng = np.random.default_rng(seed)
    h0, directions = 0.5 * rng.standard_normal(5), 0.1 * rng.standard_normal((3, 5))
    mixing = np.eye(5) + 0.3 * rng.standard_normal((5, 5))
    program = random_program(rng, h0)

    def fixed_point(h, x):
        for _ in range(200):
            last, x = x, h - 0.2 * program(0.5 * x + 0.5 * h)
            if np.max(np.abs(x - last)) < 1e-16:
                break
        return x

    x0 = fixed_point(h0, h0)
    expansion = Expansion(lambda x, h: anp.dot(mixing, x + 0.2 * program(0.5 * x + 0.5 * h) - h), x0, h0, 6)
    batch = expansion.evaluate_taylor_series_terms(h0 + directions)
    for i, d in enumerate(directions):
        expected = cauchy_coefficients(lambda z, d=d: fixed_point(h0 + z * d, x0 + 0j), 6, n_points=32)
        np.testing.assert_allclose(batch[:, i], expected, rtol=0, atol=1e-14)
        expansion.evaluate_taylor_series(h0 + d, max_order=3)
        np.testing.assert_allclose(expansion.evaluate_taylor_series_terms(h0 + d), expected, rtol=0, atol=1e-14)


# ---- what happens once ----


@pytest.mark.parametrize("name", ["logistic", "instruments"])
def test_one_run_of_the_function_and_one_factor(name, monkeypatch):
    model, runs, factors = MODELS[name], [], []
    construct = Solver.__init__

    def counted(solver, *args, **kwargs):
        factors.append(solver)
        construct(solver, *args, **kwargs)

    def function(b, hyper):
        runs.append(1)
        return model.function(b, hyper)

    monkeypatch.setattr(Solver, "__init__", counted)
    make = Expansion.optimization_objective if model.is_objective else Expansion
    expansion = make(function, model.input_val0, model.hyper_val0, 7)
    expansion.evaluate_taylor_series(model.hyper_val0 + model.step)
    rng = np.random.default_rng(0)
    expansion.evaluate_taylor_series(model.hyper_val0 + 0.05 * rng.standard_normal((40, model.hyper_val0.size)))
    expansion.evaluate_input_derivs(model.step, max_order=3)
    assert (len(runs), len(factors)) == (1, 1)
    assert expansion.solver is factors[0]


class CountingSolver:
    """A factor of a matrix that counts the right-hand sides it solves for."""

    def __init__(self, matrix):
        self.factor, self.count = DenseCholesky(matrix), 0
        self.shape = matrix.shape

    def solve(self, rhs):
        self.count += 1 if rhs.ndim == 1 else rhs.shape[1]
        return self.factor.solve(rhs)


def test_a_higher_order_continues_where_the_lower_stopped():
    model = MODELS["poisson"]
    solver = CountingSolver(autograd.hessian(model.function)(model.input_val0, model.hyper_val0))
    expansion = model.expand(6, hess0=solver)
    new = model.hyper_val0 + model.step
    solver.count = 0
    low = expansion.evaluate_taylor_series_terms(new, max_order=2)
    assert solver.count == 2
    high = expansion.evaluate_taylor_series_terms(new, max_order=6)
    assert solver.count == 6
    np.testing.assert_array_equal(expansion.evaluate_taylor_series_terms(new, max_order=4), high[:5])
    assert solver.count == 6
    np.testing.assert_array_equal(low, high[:3])
    np.testing.assert_array_equal(high, model.expand(6, hess0=solver).evaluate_taylor_series_terms(new))


def test_collinear_steps_share_one_series():
    model = MODELS["poisson"]
    solver = CountingSolver(autograd.hessian(model.function)(model.input_val0, model.hyper_val0))
    expansion = model.expand(5, hess0=solver)
    solver.count = 0
    t = np.array([0.5, -1.0, 0.25, 0.0, 1e-3, 1.1])
    terms = expansion.evaluate_taylor_series_terms(model.hyper_val0 + t[:, None] * model.step)
    assert solver.count == 5
    unit = expansion.evaluate_input_derivs(model.step)
    for i, s in enumerate(t):
        expected = [model.input_val0] + [d * s**k / math.factorial(k) for k, d in enumerate(unit, 1)]
        assert_terms_close(terms[:, i], expected, 1e-11)


# ---- batches ----


@pytest.mark.parametrize("n_steps", [1, 2, 7, 600])
@pytest.mark.parametrize("name", ["logistic", "mixture", "net", "two equations", "lambert"])
def test_batches_equal_single_steps(name, n_steps, rng):
    model = MODELS[name]
    size = np.max(np.abs(model.step))
    steps = model.hyper_val0 + size * rng.uniform(-1.0, 1.0, (n_steps, model.hyper_val0.size))
    expansion = model.expand(4)
    batch = expansion.evaluate_taylor_series_terms(steps)
    assert batch.shape == (5, n_steps, model.input_val0.size)
    for i in range(0, n_steps, 97):
        assert_terms_close(batch[:, i], expansion.evaluate_taylor_series_terms(steps[i]), 1e-10)


def test_nearly_collinear_steps_keep_their_own_directions():
    # the second hyper starts at zero, so that its steps are known exactly: a difference of 1e-10 is no rounding
    expansion = Expansion(lambda x, eps: x - eps[1], 0.0, np.array([1e6, 0.0]), 1)
    steps = np.array([[1e6 + 1.0, 1e-10], [1e6 + 1.0, 3e-10], [1e6 + 2.0, 5e-10]])
    np.testing.assert_allclose(expansion.evaluate_taylor_series(steps)[:, 0], steps[:, 1], rtol=1e-12)


def test_empty_batch():
    model = MODELS["logistic"]
    assert model.expand(2).evaluate_taylor_series(np.empty((0, 31))).shape == (0, 3)
    assert model.expand(2).evaluate_taylor_series_terms(np.empty((0, 31))).shape == (3, 0, 3)


def test_zero_steps():
    model = MODELS["logistic"]
    expansion = model.expand(3)
    np.testing.assert_array_equal(expansion.evaluate_taylor_series(model.hyper_val0), model.input_val0)
    batch = np.stack([model.hyper_val0, model.hyper_val0 + model.step, model.hyper_val0])
    terms = expansion.evaluate_taylor_series_terms(batch)
    np.testing.assert_array_equal(terms[1:, [0, 2]], 0.0)
    assert_terms_close(terms[:, 1], expansion.evaluate_taylor_series_terms(batch[1]), 1e-12)
    assert all(not np.any(d) for d in expansion.evaluate_input_derivs(np.zeros(31)))


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-150, 1e-20, 1e-8, 1e8, 1e60])
def test_tiny_and_huge_steps_scale_exactly(scale):
    # exp(theta) = 1 + eps at 0: theta = log(1 + eps) = eps - eps^2/2 + eps^3/3 - ...
    expansion = Expansion(lambda x, eps: anp.exp(x) - 1.0 - eps, 0.0, 0.0, 5)
    with np.errstate(under="ignore"):
        expected = [-((-1.0) ** k) * scale**k / k for k in range(1, 6)]
    terms = expansion.evaluate_taylor_series_terms(scale)
    np.testing.assert_allclose(terms[1:, 0], expected, rtol=1e-13)
    np.testing.assert_allclose(expansion.evaluate_taylor_series_terms([[scale], [-scale]])[:, 0], terms, rtol=1e-13)


@pytest.mark.parametrize("scale", [1e80, 1e300])
def test_steps_whose_terms_overflow_raise(scale):
    expansion = Expansion(lambda x, eps: anp.exp(x) - 1.0 - eps, 0.0, 0.0, 5)
    with pytest.raises(NonFiniteError, match="overflow"):
        expansion.evaluate_taylor_series(scale)
    with pytest.raises(NonFiniteError, match="overflow"):
        expansion.evaluate_taylor_series([[1.0], [scale]])
    assert np.isfinite(expansion.evaluate_taylor_series(scale, max_order=1))


# ---- options of the evaluation ----


def test_sum_terms_and_add_offset():
    model = MODELS["poisson"]
    expansion = model.expand(4)
    new = model.hyper_val0 + model.step
    terms = expansion.evaluate_taylor_series(new, sum_terms=False)
    assert terms.shape == (5, 3)
    np.testing.assert_array_equal(terms, expansion.evaluate_taylor_series_terms(new))
    np.testing.assert_array_equal(terms[0], model.input_val0)
    np.testing.assert_allclose(expansion.evaluate_taylor_series(new), terms.sum(axis=0), rtol=1e-15)
    change = expansion.evaluate_taylor_series(new, add_offset=False)
    np.testing.assert_allclose(change, terms[1:].sum(axis=0), rtol=1e-14)
    np.testing.assert_array_equal(expansion.evaluate_taylor_series(new, False, 2, False)[0], 0.0)
    batch = expansion.evaluate_taylor_series([new, new], sum_terms=False)
    assert batch.shape == (5, 2, 3)
    np.testing.assert_allclose(batch[:, 1], terms, rtol=1e-13)


def test_input_derivs_are_factorial_times_the_terms():
    model = MODELS["lambert"]
    expansion = model.expand(6)
    derivs = expansion.evaluate_input_derivs(model.step)
    expected = [math.factorial(k) * c for k, c in enumerate(model.series(6))][1:]
    assert len(derivs) == 6
    assert_terms_close(derivs, expected, 1e-12)
    assert len(expansion.evaluate_input_derivs(model.step, max_order=2)) == 2
    # the derivatives are homogeneous in the direction
    doubled = expansion.evaluate_input_derivs(-2.0 * model.step)
    assert_terms_close(doubled, [(-2.0) ** k * d for k, d in enumerate(derivs, 1)], 1e-13)


def test_order_limits():
    model = MODELS["cubic"]
    for order in (0, -1):
        with pytest.raises(ValueError, match=f"order must be at least 1, got {order}"):
            model.expand(order)
    for order in (1.5, "2", None, True):
        with pytest.raises(TypeError, match="order must be an integer"):
            model.expand(order)
    expansion = model.expand(np.int64(3))
    assert expansion.get_max_order() == 3
    for evaluate in (
        expansion.evaluate_taylor_series,
        expansion.evaluate_taylor_series_terms,
        expansion.evaluate_input_derivs,
    ):
        with pytest.raises(ValueError, match="max_order must be at least 1, got 0"):
            evaluate(model.step, max_order=0)
        with pytest.raises(ValueError, match="max_order=4 exceeds the expansion's order 3"):
            evaluate(model.step, max_order=4)


# ---- structured input and hyper ----


def poisson_in_structures(structure):
    """The Poisson model with its three coefficients and two hypers in other containers."""
    model = MODELS["poisson"]
    b, (p, c) = model.input_val0, model.hyper_val0
    return {
        "dict": ({"slope": b[1:], "intercept": b[0]}, {"penalty": p, "centre": np.array([[c]])}),
        "list": ([b[0], b[1:]], [np.array(p), [c]]),
        "tuple": ((b[:2], (b[2],)), (p, (np.array([c]),))),
        "nested": ({"z": [b[2]], "a": (b[0], {"m": b[1:2]})}, ({"p": p}, {"c": [c]})),
        "matrix": (b.reshape(1, 3), np.array([[p], [c]])),
    }[structure]


def leaves(value):
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for v in value for leaf in leaves(v)]
    return [value]


@pytest.mark.parametrize("structure", ["dict", "list", "tuple", "nested", "matrix"])
def test_structured_input_and_hyper(structure):
    model = MODELS["poisson"]
    input_val0, hyper_val0 = poisson_in_structures(structure)

    def flat(value):
        return anp.concatenate([anp.ravel(leaf) for leaf in leaves(value)])

    input_order = np.concatenate([np.ravel(leaf) for leaf in leaves(input_val0)])
    hyper_order = np.concatenate([np.ravel(leaf) for leaf in leaves(hyper_val0)])
    input_of = [int(np.flatnonzero(input_order == b)[0]) for b in model.input_val0]
    hyper_of = [int(np.flatnonzero(hyper_order == h)[0]) for h in model.hyper_val0]

    def objective(value, hyper):
        assert type(value) is type(input_val0) or structure == "matrix"
        return model.function(flat(value)[np.array(input_of)], flat(hyper)[np.array(hyper_of)])

    expansion = Expansion.optimization_objective(objective, input_val0, hyper_val0, 4)
    np.testing.assert_array_equal(expansion.input_val0, autograd.misc.flatten(input_val0)[0])
    np.testing.assert_array_equal(expansion.hyper_val0, autograd.misc.flatten(hyper_val0)[0])
    expected = model.expand(4).evaluate_taylor_series(model.hyper_val0 + model.step)
    new_flat = hyper_order.copy()
    new_flat[hyper_of] += model.step
    _, unflatten = autograd.misc.flatten(hyper_val0)
    np.testing.assert_allclose(expansion.evaluate_taylor_series(new_flat)[input_of], expected, rtol=1e-13)
    np.testing.assert_allclose(expansion.evaluate_taylor_series(unflatten(new_flat))[input_of], expected, rtol=1e-13)
    batch = expansion.evaluate_taylor_series(np.stack([new_flat, hyper_order]))
    np.testing.assert_allclose(batch[0][input_of], expected, rtol=1e-13)
    derivs = expansion.evaluate_input_derivs(unflatten(new_flat - hyper_order))
    assert_terms_close(derivs, expansion.evaluate_input_derivs(new_flat - hyper_order), 1e-13)


@pytest.mark.parametrize("hyper_val0", [2.0, 2, np.float32(2.0), np.array(2.0), [2.0], (2,), np.array([2])])
@pytest.mark.parametrize("input_val0", [1.0, 1, np.array([1]), [1.0]])
def test_scalars_and_integers(input_val0, hyper_val0):
    model = MODELS["cubic"]
    expansion = Expansion(model.function, input_val0, hyper_val0, 4)
    for new in (2.2, [2.2], np.array([2.2]), np.array(2.2)):
        terms = expansion.evaluate_taylor_series_terms(new)
        assert terms.shape == (5, 1)
        assert_terms_close(terms, model.series(4), 1e-12)
    assert expansion.evaluate_taylor_series(np.array([[2.2], [2.4], [3]])).shape == (3, 1)


def test_smallest_sizes():
    # one observation, one input, one hyper, order 1: minimise (b - 3)^2 w / 2 + b^2 / 2, so b = 3 w / (w + 1)
    expansion = Expansion.optimization_objective(
        lambda b, w: 0.5 * anp.sum(w * (b - 3.0) ** 2) + 0.5 * anp.sum(b**2), [1.5], [1.0], 1
    )
    np.testing.assert_allclose(expansion.evaluate_input_derivs([1.0]), [[0.75]], rtol=1e-14)
    np.testing.assert_allclose(expansion.evaluate_taylor_series([0.0]), [0.75], rtol=1e-14)


def test_series_that_ends_is_followed_to_its_end():
    # theta = eps^2: terms above the second are exactly zero
    expansion = Expansion(lambda x, eps: 2.0 * (x - eps**2), 1.0, 1.0, 6)
    np.testing.assert_allclose(expansion.evaluate_taylor_series_terms(4.0)[:, 0], [1, 6, 9, 0, 0, 0, 0], rtol=1e-14)


# ---- solvers, polishing, the base point ----


@pytest.mark.parametrize(
    ("solver", "says"),
    [
        ("auto", "Cholesky"),
        ("cholesky", "Cholesky"),
        ("lu", "LU"),
        ("superlu", "SuperLU"),
        ("cg", "conjugate gradient"),
    ],
)
def test_solver_names_for_an_objective(solver, says):
    model = MODELS["logistic"]
    expansion = model.expand(3, solver=solver)
    assert says in expansion.solver.description
    new = model.hyper_val0 + model.step
    np.testing.assert_allclose(
        expansion.evaluate_taylor_series(new), model.expand(3).evaluate_taylor_series(new), rtol=1e-9
    )


def test_solver_names_for_an_estimating_equation():
    model = MODELS["instruments"]
    assert "LU" in model.expand(1).solver.description
    assert "SuperLU" in model.expand(1, solver="superlu").solver.description
    with pytest.raises(ValueError, match="cg.*symmetric"):
        model.expand(1, solver="cg")
    with pytest.raises(ValueError, match="'best' is not known"):
        model.expand(1, solver="best")
    with pytest.raises(ValueError, match="symmetric"):
        model.expand(1, solver="cholesky")


@pytest.mark.parametrize("form", ["matrix", "callable", "factor"])
@pytest.mark.parametrize("name", ["logistic", "instruments"])
def test_given_hessians(name, form):
    model = MODELS[name]
    hess = autograd.jacobian(model.equation)(model.input_val0, model.hyper_val0)
    kept = hess.copy()
    given = {"matrix": hess, "callable": lambda v: np.linalg.solve(hess, v), "factor": vn.solvers.DenseLU(hess)}[form]
    argument = "hess0" if model.is_objective else "hess_solver"
    new = model.hyper_val0 + model.step
    expansion = model.expand(4, **{argument: given})
    np.testing.assert_allclose(
        expansion.evaluate_taylor_series(new), model.expand(4).evaluate_taylor_series(new), rtol=1e-12
    )
    np.testing.assert_array_equal(hess, kept)
    wrong = {
        "matrix": hess + 0.1 * np.eye(len(hess)),
        "callable": lambda v: 0.99 * np.linalg.solve(hess, v),
        "factor": vn.solvers.DenseLU(2.0 * hess),
    }[form]
    with pytest.raises(vn.errors.SolveFailed, match="residual"):
        model.expand(4, **{argument: wrong})


def test_given_hessians_of_the_wrong_kind():
    model = MODELS["logistic"]
    hess = autograd.hessian(model.function)(model.input_val0, model.hyper_val0)
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        model.expand(1, hess0=hess[:2, :2])
    with pytest.raises(vn.errors.NotSymmetricError):
        model.expand(1, hess0=hess + np.triu(np.ones((3, 3)), 1))
    with pytest.raises(NotPositiveDefiniteError, match="saddle or not identified"):
        model.expand(1, hess0=-hess)
    with pytest.raises(TypeError, match="str"):
        model.expand(1, hess0="cholesky")


def test_polish_optimum_moves_the_base_point():
    model = MODELS["poisson"]
    rough = model.input_val0 + np.array([0.3, -0.2, 0.1])
    kept = rough.copy()
    make = Expansion.optimization_objective
    with pytest.raises(NotASolutionError, match="polish_optimum=True"):
        make(model.function, rough, model.hyper_val0, 4)
    expansion = make(model.function, rough, model.hyper_val0, 4, polish_optimum=True)
    np.testing.assert_array_equal(rough, kept)
    np.testing.assert_allclose(expansion.input_val0, model.input_val0, rtol=1e-13)
    derivs = expansion.evaluate_input_derivs(model.step)
    assert_terms_close(derivs, np.array(VITTLES["poisson"]["derivs"])[:4], 1e-10)
    with pytest.raises(ValueError, match="hess0 belongs to input_val0"):
        make(model.function, rough, model.hyper_val0, 4, hess0=np.eye(3), polish_optimum=True)


def test_polishing_where_there_is_no_minimum():
    make = Expansion.optimization_objective
    with pytest.raises(NotPositiveDefiniteError, match="saddle or not identified"):
        make(lambda x, eps: anp.sum(anp.cos(x * eps)), 0.1, 1.0, 1, polish_optimum=True)
    with pytest.raises(NotASolutionError, match="polishing"):
        make(lambda x, eps: anp.sum(anp.exp(-x * eps)), 1.0, 1.0, 1, polish_optimum=True)


def test_optimum_tol():
    model = MODELS["logistic"]
    near = model.input_val0 + 1e-5
    make = Expansion.optimization_objective
    with pytest.raises(NotASolutionError, match=r"Newton decrement.*> tol 1.0e-08 at the base point.*optimum_tol"):
        make(model.function, near, model.hyper_val0, 2)
    expansion = make(model.function, near, model.hyper_val0, 2, optimum_tol=1e-3)
    np.testing.assert_array_equal(expansion.input_val0, near)
    equation = autograd.grad(model.function)
    with pytest.raises(NotASolutionError, match=r"Newton step.*> tol 1.0e-08 at the base point.*optimum_tol"):
        Expansion(equation, near, model.hyper_val0, 2)
    Expansion(equation, near, model.hyper_val0, 2, optimum_tol=1e-3)
    for tol in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="optimum_tol must be positive"):
            make(model.function, near, model.hyper_val0, 2, optimum_tol=tol)


@pytest.mark.parametrize("tol", [True, False, np.True_])
def test_a_positional_forward_mode_of_vittles_is_no_tolerance(tol):
    model = MODELS["logistic"]
    with pytest.raises(TypeError, match="forward_mode"):
        Expansion.optimization_objective(model.function, model.input_val0 + 1e-2, model.hyper_val0, 2, None, tol)
    with pytest.raises(TypeError, match="forward_mode"):
        Expansion(autograd.grad(model.function), model.input_val0 + 1e-2, model.hyper_val0, 2, None, tol)


def test_the_other_constructors_arguments_are_pointed_out():
    model = MODELS["logistic"]
    base = model.input_val0, model.hyper_val0, 2
    with pytest.raises(TypeError, match="hess_solver: for an objective this argument is called hess0"):
        Expansion.optimization_objective(model.function, *base, hess_solver=np.eye(3))
    with pytest.raises(TypeError, match="hess0: for an estimating equation this argument is called hess_solver"):
        Expansion(autograd.grad(model.function), *base, hess0=np.eye(3))
    with pytest.raises(TypeError, match="polish_optimum: an estimating equation is not polished"):
        Expansion(autograd.grad(model.function), *base, polish_optimum=True)


def test_a_batch_of_nested_hypers_is_an_array():
    def objective(x, hyper):
        return 0.5 * anp.sum((x - hyper["shift"]) ** 2) * hyper["scale"] + anp.sum(x) * 0.0

    hyper = {"shift": np.ones(2), "scale": 1.0}
    expansion = Expansion.optimization_objective(objective, np.ones(2), hyper, 2)
    with pytest.raises(ShapeError, match=r"array \(n_steps, 3\), each row as autograd.misc.flatten"):
        expansion.evaluate_taylor_series([hyper, hyper])
    rows = [autograd.misc.flatten({"shift": np.full(2, shift), "scale": 2.0})[0] for shift in (1.5, 3.0)]
    np.testing.assert_allclose(expansion.evaluate_taylor_series(np.array(rows)), [[1.5, 1.5], [3.0, 3.0]])


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ({"forward_mode": False}, "forward_mode: the engine has one mode"),
        ({"force": True}, "force: .*leave the argument out"),
        ({"max_input_order": 2}, "max_input_order: .*NestedJVPTaylorExpansion"),
        ({"max_hyper_order": 2}, "max_hyper_order: .*NestedJVPTaylorExpansion"),
        ({"oder": 2}, "unexpected keyword argument 'oder'"),
    ],
)
@pytest.mark.parametrize("name", ["ridge path", "cubic"])
def test_arguments_without_meaning_here_are_refused(name, argument, match):
    with pytest.raises(TypeError, match=match):
        MODELS[name].expand(2, **argument)


@pytest.mark.parametrize("name", ["ridge path", "cubic"])
def test_the_predecessors_defaults_ask_for_nothing(name):
    model = MODELS[name]
    plain = model.expand(2)
    given = model.expand(2, forward_mode=True, max_input_order=None, max_hyper_order=None, force=False)
    new = plain.hyper_val0 * 1.1
    np.testing.assert_array_equal(given.evaluate_taylor_series(new), plain.evaluate_taylor_series(new))


@pytest.mark.parametrize("solver, sparsity", [("auto", None), ("superlu", "auto")])
@pytest.mark.parametrize("name", ["ridge path", "cubic"])
def test_a_deep_copy_is_another_expansion_with_the_same_values(name, solver, sparsity):
    expansion = MODELS[name].expand(3, solver=solver, sparsity=sparsity)
    new = expansion.hyper_val0 * 1.1
    values = expansion.evaluate_taylor_series(new)
    other = copy.deepcopy(expansion)
    assert other is not expansion
    np.testing.assert_array_equal(other.evaluate_taylor_series(new), values)
    np.testing.assert_array_equal(other.derivative_tensor(1), expansion.derivative_tensor(1))


def test_a_solution_to_the_last_bit_is_one_whatever_the_units_of_the_objective():
    def objective(x, h):
        return 0.5e20 * anp.sum((x - h) ** 2)

    base = np.full(3, np.nextafter(1.0, 2.0))
    expansion = Expansion.optimization_objective(objective, base, np.ones(3), 1)
    np.testing.assert_allclose(expansion.evaluate_taylor_series(np.full(3, 2.0)), 2.0, rtol=1e-15)
    with pytest.raises(NotASolutionError):
        Expansion.optimization_objective(objective, np.full(3, 1.0 + 1e-12), np.ones(3), 1)


@pytest.mark.parametrize("name", ["ridge path", "cubic"])
@pytest.mark.parametrize(
    "sparsity, error, match",
    [
        ("found", ValueError, "sparsity='found' is not known"),
        (np.ones((2, 3), dtype=bool), ShapeError, r"pattern has shape \(2, 3\)"),
    ],
)
def test_sparsity_that_is_none_is_refused(name, sparsity, error, match):
    with pytest.raises(error, match=match):
        MODELS[name].expand(2, sparsity=sparsity)


def test_print_terms_is_refused():
    with pytest.raises(TypeError, match="NestedJVPTaylorExpansion"):
        MODELS["cubic"].expand(2).print_terms(1)


def test_repr_says_what_it_is():
    assert repr(MODELS["logistic"].expand(5)) == (
        "<Taylor expansion of 3 inputs in 31 hypers, order 5, dense Cholesky, 3 x 3>"
    )


# ---- new hypers that are wrong; arrays that must not change; threads ----


@pytest.mark.parametrize(
    "new",
    [
        np.ones(30),
        np.ones((2, 30)),
        np.ones((31, 1)),
        np.ones((1, 1, 31)),
        1.0,
        [],
        [[1.0], [1.0, 2.0]],
        {"w": np.ones(31)},
    ],
)
def test_new_hypers_of_the_wrong_shape(new):
    with pytest.raises(ShapeError, match=r"new_hyper_val has (shape .*\(31,\).*\(n_steps, 31\)|another structure)"):
        MODELS["logistic"].expand(1).evaluate_taylor_series(new)


@pytest.mark.parametrize("direction", [np.ones(30), np.ones((2, 31)), np.ones((31, 1)), 1.0])
def test_directions_of_the_wrong_shape(direction):
    with pytest.raises(ShapeError, match="31"):
        MODELS["logistic"].expand(1).evaluate_input_derivs(direction)


def test_new_hypers_of_another_structure():
    function = MODELS["poisson"].function
    expansion = Expansion.optimization_objective(
        lambda b, hyper: function(b, anp.array([hyper["p"], hyper["c"]])),
        MODELS["poisson"].input_val0,
        {"p": 2.0, "c": 0.1},
        1,
    )
    assert expansion.evaluate_taylor_series({"c": 0.1, "p": 2.0}).shape == (3,)
    for wrong in (
        {"a": 0.1, "b": 2.0},
        {"p": 2.0},
        {"p": 2.0, "c": 0.1, "d": 0.0},
        {"p": [2.0, 1.0], "c": 0.1},
        {"p": {"p": 2.0}, "c": 0.1},
    ):
        with pytest.raises(ShapeError, match="structure"):
            expansion.evaluate_taylor_series(wrong)
        with pytest.raises(ShapeError, match="structure"):
            expansion.evaluate_input_derivs(wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_new_hypers_that_are_not_finite(bad):
    model = MODELS["poisson"]
    expansion = model.expand(1)
    with pytest.raises(NonFiniteError, match="1 of 2 elements.*NaN or infinite"):
        expansion.evaluate_taylor_series([1.0, bad])
    with pytest.raises(NonFiniteError, match="1 of 4 elements.*1, 0"):
        expansion.evaluate_taylor_series([[1.0, 1.0], [bad, 1.0]])
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        expansion.evaluate_input_derivs([1.0, bad])


@pytest.mark.parametrize("bad", [1j * np.ones(2), np.array(["a", "b"]), np.array([None, 1.0])])
def test_new_hypers_that_are_no_real_numbers(bad):
    expansion = MODELS["poisson"].expand(1)
    with pytest.raises(TypeError, match="real numbers are needed"):
        expansion.evaluate_taylor_series(bad)
    with pytest.raises(TypeError, match="real numbers are needed"):
        expansion.evaluate_input_derivs(bad)


def test_nothing_of_the_callers_is_changed_or_kept():
    model = MODELS["logistic"]
    input_val0, hyper_val0 = model.input_val0.copy(), model.hyper_val0.copy()
    expansion = Expansion.optimization_objective(model.function, input_val0, hyper_val0, 4)
    new = model.hyper_val0 + np.outer([1.0, -0.5, 0.3], model.step) + 0.01 * np.eye(3, 31)
    kept = new.copy()
    expected = expansion.evaluate_taylor_series(new)
    single = expansion.evaluate_taylor_series(new[0])
    np.testing.assert_array_equal(new, kept)
    np.testing.assert_array_equal(input_val0, model.input_val0)
    np.testing.assert_array_equal(hyper_val0, model.hyper_val0)
    # neither the caller's arrays nor what was returned are read again
    input_val0[:], hyper_val0[:] = 7.0, 7.0
    expansion.input_val0[:], expansion.hyper_val0[:] = 7.0, 7.0
    expansion.evaluate_taylor_series_terms(new[0])[:] = 7.0
    for deriv in expansion.evaluate_input_derivs(new[0] - model.hyper_val0):
        deriv[:] = 7.0
    np.testing.assert_array_equal(expansion.evaluate_taylor_series(new), expected)
    np.testing.assert_array_equal(expansion.evaluate_taylor_series(new[0]), single)


def test_threads_share_an_expansion_while_others_record():
    model = MODELS["mixture"]
    expansion = model.expand(5)
    rng = np.random.default_rng(1)
    batches = [model.hyper_val0 + 0.05 * rng.standard_normal((n, 26)) for n in (1, 1, 3, 20) * 6]
    expected = [model.expand(5).evaluate_taylor_series_terms(b) for b in batches]
    for name in ("logistic", "student t", "net"):
        assert len(MODELS[name].input_val0)  # found here: plain autograd is not thread-safe
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(MODELS[n].expand, 3) for n in ("logistic", "student t", "net") * 4]
        got = list(pool.map(expansion.evaluate_taylor_series_terms, batches))
        made = [future.result() for future in made]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-15)
    for e, name in zip(made, ("logistic", "student t", "net") * 4, strict=True):
        assert_terms_close(e.evaluate_input_derivs(MODELS[name].step), np.array(VITTLES[name]["derivs"])[:3], 1e-10)
