"""The predecessor's classes: its own numbers, closed forms, finite differences of exact refits, and bad input."""

import copy
import functools
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from autograd.scipy.special import digamma, gammaln
from problems import MODELS, normal, uniform
from scipy.special import polygamma
from vittles_sessions import MODULES, NAMES, SESSIONS, X, Y, least_squares

import vittles_ng as vn
from vittles_ng import linear
from vittles_ng.errors import (
    IndependentError,
    MismatchError,
    MissingRuleError,
    NonFiniteError,
    NonSmoothError,
    NotASolutionError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    ShapeError,
    SizeError,
    SolveFailed,
)
from vittles_ng.linear import (
    CrossSensitivity,
    EstimatingEquationLinearApproximation,
    HyperparameterSensitivityLinearApproximation,
    LinearResponseCovariances,
    OptimumChecker,
)

ROOT_FOLDER = Path(__file__).resolve().parents[1]
VITTLES = json.loads((ROOT_FOLDER / "tests" / "data" / "vittles_linear_numbers.json").read_text())


# ---- vittles' numbers ----


@pytest.mark.parametrize("session", SESSIONS)
def test_sessions_give_the_numbers_of_vittles(session):
    numbers = SESSIONS[session](linear)
    assert numbers.keys() == VITTLES[session].keys()
    for name, value in numbers.items():
        expected = np.array(VITTLES[session][name])
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-11 * np.max(np.abs(expected)), err_msg=name)


def test_documented_example_prints_what_is_printed_there():
    numbers = SESSIONS["maximum_likelihood"](linear)
    sigma = [
        [1.06789931, 0.07906974, 0.04205564],
        [0.07906974, 1.89118719, -0.0359618],
        [0.04205564, -0.0359618, 2.90264779],
    ]
    # the optimum there came from an optimiser, and is good to 2e-8
    np.testing.assert_allclose(numbers["sigma"], sigma, rtol=0, atol=3e-8)
    np.testing.assert_allclose(numbers["mean"], [-0.04475159, 1.02902066, 1.85020216], rtol=0, atol=3e-8)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_order_of_arguments_are_those_of_vittles(name):
    for method, arguments in VITTLES["signatures"][name].items():
        callable_ = getattr(getattr(linear, name), method) if method else getattr(linear, name)
        assert list(inspect.signature(callable_).parameters)[: len(arguments)] == arguments, method


#: Of vittles 0.173, by class and method. Its ``cg_opts={}`` is ``None`` here.
DEFAULTS = {
    ("EstimatingEquationLinearApproximation", "__init__"): {
        "validate_solution": False,
        "estimating_equation_jac0": None,
        "hyper_par_estimating_equation": None,
        "solution_tol": 1e-8,
    },
    ("EstimatingEquationLinearApproximation", "set_location"): {"validate_solution": True, "solution_tol": None},
    ("HyperparameterSensitivityLinearApproximation", "__init__"): {
        "validate_optimum": False,
        "hessian_at_opt": None,
        "cross_hess_at_opt": None,
        "hyper_par_objective_fun": None,
        "grad_tol": 1e-8,
    },
    ("HyperparameterSensitivityLinearApproximation", "set_base_values"): {"validate_optimum": True, "grad_tol": None},
    ("LinearResponseCovariances", "__init__"): {
        "validate_optimum": False,
        "hessian_at_opt": None,
        "factorize_hessian": True,
        "grad_tol": 1e-8,
    },
    ("LinearResponseCovariances", "set_base_values"): {"factorize_hessian": True, "validate": True, "grad_tol": None},
    ("CrossSensitivity", "__init__"): {"term_ii": True, "term_i1": True, "term_i2": True, "term_12": True},
    ("CrossSensitivity", "evaluate"): {"di1": None, "di2": None, "debug": False},
    ("OptimumChecker", "correction"): {"dinput_dhyper": None, "newton_step": None},
    ("OptimumChecker", "evaluate"): {"dinput_dhyper": None, "newton_step": None},
    ("get_dense_cholesky_solver", ""): {"h_chol": None},
}


@pytest.mark.parametrize(("name", "method"), DEFAULTS)
def test_defaults_are_those_of_vittles(name, method):
    callable_ = getattr(getattr(linear, name), method) if method else getattr(linear, name)
    parameters = inspect.signature(callable_).parameters
    assert {key: parameters[key].default for key in DEFAULTS[name, method]} == DEFAULTS[name, method]


@pytest.mark.parametrize("module", MODULES)
def test_public_names_of_modules_are_there_or_on_the_migration_page(module):
    page = (ROOT_FOLDER / "docs" / "migration.rst").read_text(encoding="utf-8")
    ours = importlib.import_module(f"vittles_ng.{module}")
    for name in VITTLES["modules"][module]:
        if name in ours.__all__:
            assert getattr(ours, name) is getattr(vn, name)
        else:
            assert f"``{name}``" in page, name
    assert sorted(ours.__all__) == [name for name in VITTLES["modules"][module] if hasattr(vn, name)]


def test_modules_are_attributes_of_the_package():
    names = [f"vittles.{module}.__name__" for module in MODULES]  # in a new process, where nothing imported them
    code = f"import vittles_ng as vittles; print({', '.join(names)})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=ROOT_FOLDER)
    assert done.stdout.split() == [f"vittles_ng.{module}" for module in MODULES], done.stderr


# ---- linear approximations ----


def approximated(name, **options):
    model = MODELS[name]
    kind = HyperparameterSensitivityLinearApproximation if model.is_objective else EstimatingEquationLinearApproximation
    return kind(model.function, model.input_val0, model.hyper_val0, **options)


@pytest.mark.parametrize("name", MODELS)
def test_derivative_is_that_of_exact_refits(name):
    model, t = MODELS[name], 1e-3
    found = approximated(name).get_dinput_dhyper() @ model.step
    central = [
        (model.exact(model.hyper_val0 + s * model.step) - model.exact(model.hyper_val0 - s * model.step)) / (2 * s)
        for s in (t, t / 2)
    ]
    np.testing.assert_allclose(found, (4 * central[1] - central[0]) / 3, rtol=0, atol=2e-9 * np.max(np.abs(found)))


@pytest.mark.parametrize("name", ["ridge path", "instruments", "net"])
def test_prediction_is_linear_and_takes_batches(name):
    model, approximation = MODELS[name], approximated(name)
    hypers = model.hyper_val0 + np.outer([0.0, 0.5, -2.0], model.step)
    rows = np.array([approximation.predict_input_par_from_hyper_par(h) for h in hypers])
    np.testing.assert_allclose(approximation.predict_input_par_from_hyper_par(hypers), rows, rtol=1e-14)
    assert np.array_equal(rows[0], model.input_val0)
    np.testing.assert_allclose(rows[2] - rows[0], -4.0 * (rows[1] - rows[0]), rtol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_prediction_is_differentiable_anywhere(name):
    approximation = approximated(name)
    predict, hyper0 = approximation.predict_input_par_from_hyper_par, np.ravel(MODELS[name].hyper_val0)
    sensitivity, away = approximation.get_dinput_dhyper(), hyper0 + uniform(hyper0.size, start=0.4)
    direction = uniform(hyper0.size, start=0.9)
    for at in (hyper0, away):
        np.testing.assert_allclose(autograd.jacobian(predict)(at), sensitivity, rtol=1e-12)
        value, derivative = autograd.make_jvp(predict)(at)(direction)
        np.testing.assert_array_equal(value, predict(at))
        np.testing.assert_allclose(derivative, sensitivity @ direction, rtol=1e-12, atol=1e-14)


MEANS = np.array([1.0, 2.0, 6.0])


def weighted_mean():
    """Its derivative in the weights is ``(MEANS - 3) / 3``."""
    return HyperparameterSensitivityLinearApproximation(
        lambda mean, weights: 0.5 * anp.sum(weights * (MEANS - mean) ** 2), np.array([3.0]), np.ones(3)
    )


@pytest.mark.parametrize("modes", ["rr", "rf", "fr", "ff"])
def test_prediction_inside_a_function_is_differentiable_twice(modes):
    predict, at = weighted_mean().predict_opt_par_from_hyper_par, np.array([0.3, -0.2, 0.5])
    derivative = {"r": autograd.jacobian, "f": forward}

    def composed(h):
        return anp.exp(predict(h**2)[0] / 10.0)

    a = (MEANS - 3.0) / 30.0
    value = np.exp(0.3 + a @ (at**2 - 1.0))
    inner = derivative[modes[1]](composed)
    np.testing.assert_allclose(np.ravel(inner(at)), value * 2.0 * a * at, rtol=1e-13)
    expected = value * (np.outer(2.0 * a * at, 2.0 * a * at) + np.diag(2.0 * a))
    np.testing.assert_allclose(np.squeeze(derivative[modes[0]](inner)(at)), expected, rtol=1e-12)


def test_prediction_inside_other_models():
    predict, hyper0 = weighted_mean().predict_opt_par_from_hyper_par, np.array([1.0, 0.5, 2.0])

    def equation(x, h):  # x = prediction^2
        return x - predict(h) ** 2

    a, at0 = (MEANS - 3.0) / 3.0, predict(hyper0)
    expansion = vn.ParametricSensitivityTaylorExpansion(equation, at0**2, hyper0, order=2)
    new = hyper0 + np.array([0.3, -0.4, 0.2])
    np.testing.assert_allclose(expansion.evaluate_taylor_series(new), (at0 + a @ (new - hyper0)) ** 2, rtol=1e-13)
    outer = EstimatingEquationLinearApproximation(equation, at0**2, hyper0)
    np.testing.assert_allclose(outer.get_dinput_dhyper(), 2.0 * at0[0] * a[None], rtol=1e-13)


def test_prediction_from_traced_batches_lists_and_parts():
    predict, a = weighted_mean().predict_opt_par_from_hyper_par, (MEANS - 3.0) / 3.0
    batch = np.array([[1.0, 0.0, 1.0], [2.0, 1.0, 1.0]])
    of_batch = autograd.grad(lambda h: anp.sum(predict(h)[:, 0] * np.array([1.0, 10.0])))
    np.testing.assert_allclose(of_batch(batch), np.outer([1.0, 10.0], a), rtol=1e-13)
    np.testing.assert_allclose(autograd.grad(lambda t: predict([t, 1.0, t])[0])(2.0), a[0] + a[2], rtol=1e-13)

    nested = HyperparameterSensitivityLinearApproximation(
        lambda mean, weights: 0.5 * anp.sum(anp.append(weights["b"], weights["a"]) * (MEANS - mean) ** 2),
        np.array([3.0]),
        {"b": np.ones(2), "a": 1.0},
    )
    of_parts = autograd.grad(lambda weights: nested.predict_opt_par_from_hyper_par(weights)[0])
    found = of_parts({"a": 0.2, "b": np.array([0.5, 3.0])})
    np.testing.assert_allclose(found["a"], a[2], rtol=1e-13)
    np.testing.assert_allclose(found["b"], a[:2], rtol=1e-13)
    of_some = autograd.grad(lambda t: nested.predict_opt_par_from_hyper_par({"a": 1.0, "b": t * np.ones(2)})[0])
    np.testing.assert_allclose(of_some(0.5), a[0] + a[1], rtol=1e-13)


@pytest.mark.parametrize(
    ("wrong", "error"), [(np.ones(2), ShapeError), (0.5, ShapeError), (np.array([1.0, np.nan, 1.0]), NonFiniteError)]
)
def test_bad_hypers_of_predictions(wrong, error):
    predict = weighted_mean().predict_opt_par_from_hyper_par
    for call in (predict, autograd.jacobian(predict)):
        with pytest.raises(error, match="new_hyper_par_value"):
            call(wrong)


def copied():
    """An object of each class, what gives its numbers, and what moves it to another base point."""
    one, two, factor = np.ones(1), np.array([2.0]), scipy.sparse.csc_array(3.0 * np.eye(1))

    def cubic(x, h):  # its minimum is at h, with the Hessian 3 h^2
        return anp.sum(x**4 / 4 - x * h**3)

    def numbers_of(a):
        return np.concatenate([a.predict_input_par_from_hyper_par(3.0 * one), np.ravel(a.hess_solver()(one))])

    def of_covariances(a):
        return np.append(a.get_lr_covariance(lambda x: x), a.get_hessian_at_opt())

    gradient = autograd.grad(cubic)
    return {
        "optimum": (
            HyperparameterSensitivityLinearApproximation(cubic, one, one),
            numbers_of,
            lambda a: a.set_base_values(two, two),
        ),
        "optimum, sparse factor": (
            HyperparameterSensitivityLinearApproximation(cubic, one, one, hessian_at_opt=factor),
            numbers_of,
            lambda a: a.set_base_values(two, two),
        ),
        "solution": (
            EstimatingEquationLinearApproximation(gradient, one, one, lambda v: v / 3.0),
            numbers_of,
            lambda a: a.set_location(two, two),
        ),
        "covariances": (
            LinearResponseCovariances(lambda x: anp.sum((x - 1.0) ** 2 * (x - 2.0) ** 2), one),
            of_covariances,
            lambda a: a.set_base_values(1.0001 * one, validate=False),
        ),
        "cross sensitivity": (
            CrossSensitivity(lambda x, h, k: x**3 - h**3 * k**3, factor, one, one, one),
            lambda a: a.evaluate(one, one),
            None,
        ),
        "checker": (OptimumChecker(gradient, factor, one, one), lambda a: a.correction(two), None),
    }


@pytest.mark.parametrize("name", copied())
def test_deep_copies_are_the_same_and_move_alone(name):
    original, numbers, move = copied()[name]
    before = numbers(original)
    other = copy.deepcopy(original)
    assert other is not original
    np.testing.assert_array_equal(numbers(other), before)
    if move is not None:
        move(other)
        moved = numbers(other)
        assert not np.allclose(moved, before, rtol=1e-6)
        np.testing.assert_array_equal(numbers(original), before)
        again = copy.deepcopy(original)
        move(original)
        np.testing.assert_array_equal(numbers(again), before)
        np.testing.assert_allclose(numbers(original), moved, rtol=1e-12)


def test_copies_of_copies_and_in_containers():
    held = copy.deepcopy({"a": [weighted_mean()], "b": copy.deepcopy(weighted_mean())})
    for approximation in (held["a"][0], held["b"]):
        np.testing.assert_allclose(approximation.get_dopt_dhyper()[0], (MEANS - 3.0) / 3.0, rtol=1e-14)


def test_the_function_runs_once_however_many_predictions():
    calls = []

    def objective(x, h):
        calls.append(1)
        return 0.5 * anp.sum(x**2) - anp.sum(x * h)

    approximation = HyperparameterSensitivityLinearApproximation(objective, np.ones(2), np.ones(2))
    approximation.predict_opt_par_from_hyper_par(np.zeros(2))
    n_calls = len(calls)
    for i in range(5):
        approximation.predict_opt_par_from_hyper_par(np.full(2, i))
        approximation.get_dopt_dhyper()
    assert len(calls) == n_calls <= 3


def test_nested_input_and_hyper():
    def objective(par, hyper):
        return 0.5 * anp.sum((par["b"] - hyper[0]) ** 2) + 0.5 * (par["a"] - anp.sum(hyper[1])) ** 2

    approximation = HyperparameterSensitivityLinearApproximation(
        objective, {"b": np.array([1.0, 2.0]), "a": 3.0}, [np.array([1.0, 2.0]), 3.0], validate_optimum=True
    )
    predicted = approximation.predict_opt_par_from_hyper_par([np.array([1.5, 2.0]), 4.0])
    np.testing.assert_allclose(predicted, [4.0, 1.5, 2.0])  # a comes before b
    solution = approximation.get_opt_par_function()
    slope = autograd.grad(lambda s: solution([np.array([1.0, 2.0]) * s, 3.0 * s])[0])(1.0)
    assert slope == pytest.approx(3.0)


def test_scalar_hyper_and_one_input():
    approximation = EstimatingEquationLinearApproximation(lambda x, eps: x * anp.exp(x) - eps, 1.0, np.e)
    assert approximation.get_dinput_dhyper() == pytest.approx(np.array([[0.5 / np.e]]))
    solution = approximation.get_input_par_function(2)
    assert autograd.grad(autograd.grad(lambda eps: solution(eps)[0]))(np.e) == pytest.approx(-3 / (8 * np.e**2))


def test_callers_arrays_are_copied():
    x, h, hessian, cross = np.ones(2), np.ones(2), np.eye(2), -np.eye(2)
    approximation = HyperparameterSensitivityLinearApproximation(
        lambda x, h: 0.5 * anp.sum((x - h) ** 2), x, h, hessian_at_opt=hessian, cross_hess_at_opt=cross
    )
    for array in (x, h, hessian, cross, approximation.get_dopt_dhyper(), approximation.get_hessian_at_opt()):
        array[...] = 7.0
    assert np.array_equal(approximation.predict_opt_par_from_hyper_par(np.array([2.0, 3.0])), [2.0, 3.0])
    assert np.array_equal(approximation.get_hessian_at_opt(), np.eye(2))


def test_what_they_are_is_printed():
    checker = OptimumChecker(autograd.grad(least_squares), None, finished(), np.ones(len(Y)))
    for printed, expected in [
        (of_minimum(), "<linear approximation of 2 inputs in 2 hypers, dense Cholesky, 2 x 2>"),
        (
            LinearResponseCovariances(gamma_divergence, GAMMA0),
            "<linear response covariances of 2 parameters, dense Cholesky, 2 x 2>",
        ),
        (cross_of_ridge(), "<mixed derivative of 2 inputs in 2 and 1 hypers>"),
        (checker, "<optimum checker of 3 inputs in 40 hypers>"),
    ]:
        assert repr(printed) == expected


# ---- what can be given ----


def shifted(x, h):
    """Its minimum is at ``h**2``."""
    return 0.5 * anp.sum(x**2) + shift(x, h)


def shift(x, h):
    return -anp.sum(x * h**2)


X0, H0 = np.array([1.0, 4.0]), np.array([1.0, 2.0])
CROSS0 = -np.diag(2.0 * H0)


def of_minimum(**options):
    return HyperparameterSensitivityLinearApproximation(shifted, X0, H0, **options)


def of_equation(**options):
    return EstimatingEquationLinearApproximation(lambda x, h: x - h**2, X0, H0, **options)


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (of_minimum, {"hessian_at_opt": np.eye(2) * (1 + 1e-8)}),
        (of_minimum, {"cross_hess_at_opt": CROSS0 * (1 + 1e-8)}),
        (of_minimum, {"hyper_par_objective_fun": lambda x, h: (1 + 1e-8) * shift(x, h)}),
        (of_equation, {"hess_solver": lambda v: v * (1 + 1e-8)}),
        (of_equation, {"hess_solver": np.eye(2) * (1 + 1e-8)}),
        (of_equation, {"estimating_equation_jac0": CROSS0 * (1 + 1e-8)}),
        (of_equation, {"hyper_par_estimating_equation": lambda x, h: -(1 + 1e-8) * h**2}),
    ],
)
def test_what_is_given_is_used(make, given):
    difference = make(**given).get_dinput_dhyper() - np.diag(2.0 * H0)
    assert 1e-9 < np.max(np.abs(difference)) < 1e-7


@pytest.mark.parametrize(
    ("make", "given", "error"),
    [
        (of_minimum, {"hessian_at_opt": 2.0 * np.eye(2)}, SolveFailed),
        (of_minimum, {"hessian_at_opt": np.eye(3)}, ShapeError),
        (of_minimum, {"hessian_at_opt": np.diag([1.0, np.nan])}, NonFiniteError),
        (of_minimum, {"hessian_at_opt": -np.eye(2)}, NotPositiveDefiniteError),
        (of_minimum, {"hessian_at_opt": np.array([[1.0, 0.5], [0.0, 1.0]])}, NotSymmetricError),
        (of_minimum, {"hessian_at_opt": lambda v: v}, TypeError),
        (of_minimum, {"cross_hess_at_opt": CROSS0.T + 1.0}, MismatchError),
        (of_minimum, {"cross_hess_at_opt": CROSS0[:, :1]}, ShapeError),
        (of_minimum, {"cross_hess_at_opt": CROSS0 * 1j}, TypeError),
        (of_minimum, {"hessian_at_opt": np.eye(2) * 1j}, TypeError),
        (of_minimum, {"cross_hess_at_opt": CROSS0 * np.nan}, NonFiniteError),
        (of_minimum, {"hyper_par_objective_fun": lambda x, h: 2.0 * shift(x, h)}, MismatchError),
        (of_minimum, {"hyper_par_objective_fun": lambda x, h: anp.sum(x**2)}, IndependentError),
        (of_equation, {"hess_solver": lambda v: -v}, SolveFailed),
        (of_equation, {"hess_solver": lambda v: v[:1]}, ShapeError),
        (of_equation, {"hess_solver": np.zeros((2, 2))}, np.linalg.LinAlgError),
        (of_equation, {"estimating_equation_jac0": -CROSS0}, MismatchError),
        (of_equation, {"hyper_par_estimating_equation": lambda x, h: x - h}, MismatchError),
    ],
)
def test_what_is_given_wrongly_is_refused(make, given, error):
    with pytest.raises(error):
        make(**given)


@pytest.mark.parametrize("form", [np.asarray, np.ndarray.tolist, scipy.sparse.coo_matrix, scipy.sparse.csc_array])
def test_hessian_given_in_any_form(form):
    approximation = of_minimum(hessian_at_opt=form(np.eye(2)))
    np.testing.assert_allclose(approximation.get_dopt_dhyper(), np.diag(2.0 * H0), rtol=1e-14)
    hessian = approximation.get_hessian_at_opt()
    assert np.array_equal(hessian.toarray() if scipy.sparse.issparse(hessian) else hessian, np.eye(2))


def test_a_wrong_derivative_shows_in_inputs_of_any_size():
    sizes = np.array([1.0, 1e4])
    cross = -np.diag(sizes**2)
    for wrong in (np.diag([1.5, 1.0]), np.diag([1.0, 1.5])):
        with pytest.raises(MismatchError, match="input"):
            HyperparameterSensitivityLinearApproximation(
                lambda x, h: 0.5 * anp.sum((sizes * (x - h)) ** 2),
                np.ones(2),
                np.ones(2),
                cross_hess_at_opt=wrong @ cross,
            )


@pytest.mark.parametrize("units", [(1e10, 1.0), (1.0, 1e-9)], ids=str)
@pytest.mark.parametrize("wrong", [0, 1])
def test_a_wrong_derivative_shows_in_hypers_of_any_units(units, wrong):
    units = np.array(units)
    faulty = units * np.where(np.arange(2) == wrong, 1.01, 1.0)

    def objective(x, h, units=units):
        return 0.5 * anp.sum(x**2) - anp.sum(x) * anp.sum(units * h)

    def part(x, h):
        return -anp.sum(x) * anp.sum(faulty * h)

    base = objective, np.zeros(3), np.zeros(2)
    for given in ({"cross_hess_at_opt": -np.tile(faulty, (3, 1))}, {"hyper_par_objective_fun": part}):
        with pytest.raises(MismatchError):
            HyperparameterSensitivityLinearApproximation(*base, **given)
    HyperparameterSensitivityLinearApproximation(*base, cross_hess_at_opt=-np.tile(units, (3, 1)))


@pytest.mark.parametrize("name", MODELS)
def test_right_derivatives_pass_in_any_units_of_the_hypers(name):
    model = MODELS[name]
    units = 10.0 ** (12.0 * uniform(model.hyper_val0.size) - 6.0)
    kind = HyperparameterSensitivityLinearApproximation if model.is_objective else EstimatingEquationLinearApproximation
    gradient = autograd.grad(model.function) if model.is_objective else model.function

    def function(x, h):
        return model.function(x, h / units)

    cross = autograd.jacobian(lambda h: gradient(model.input_val0, h / units))(model.hyper_val0 * units)
    names = kind._names
    for given in ({names["cross"]: cross}, {names["part"]: function}):
        kind(function, model.input_val0, model.hyper_val0 * units, **given)


def test_a_hyper_that_has_no_effect_at_the_base_point():
    cross = np.array([[-1.0, 0.0]])
    approximation = HyperparameterSensitivityLinearApproximation(
        lambda x, h: 0.5 * x[0] ** 2 - x[0] * (h[0] + h[1] ** 2), np.zeros(1), np.zeros(2), cross_hess_at_opt=cross
    )
    assert np.array_equal(approximation.get_dopt_dhyper(), -cross)
    approximation = HyperparameterSensitivityLinearApproximation(
        lambda x, h: 0.5 * x[0] ** 2 - x[0] * h[0] ** 2, np.zeros(1), np.zeros(1), cross_hess_at_opt=np.zeros((1, 1))
    )
    assert approximation.get_dopt_dhyper() == 0.0
    with pytest.raises(MismatchError):
        approximation.set_base_values(np.zeros(1), np.zeros(1), cross_hess_at_opt=np.full((1, 1), 1e-9))


def test_a_large_model_with_a_sparse_hessian_stays_sparse():
    n = 50_000  # n x n floats would take 20 GB
    approximation = HyperparameterSensitivityLinearApproximation(
        lambda x, h: 0.5 * anp.sum((x - h[0]) ** 2) - h[1] * x[-1],
        np.zeros(n),
        np.zeros(2),
        hessian_at_opt=scipy.sparse.eye_array(n),
    )
    expected = np.zeros((n, 2))
    expected[:, 0] = expected[-1, 1] = 1.0
    assert np.array_equal(approximation.get_dopt_dhyper(), expected)


def test_solver_given_is_the_solver_that_is_handed_out():
    matrix = np.array([[2.0, 1.0], [0.0, 3.0]])
    approximation = EstimatingEquationLinearApproximation(
        lambda x, h: anp.dot(matrix, x) - h, np.zeros(2), np.zeros(2), scipy.linalg.inv(matrix).__matmul__
    )
    np.testing.assert_allclose(approximation.hess_solver()(np.ones(2)), np.linalg.solve(matrix, np.ones(2)))
    np.testing.assert_allclose(approximation.get_dinput_dhyper(), np.linalg.inv(matrix))


@pytest.mark.parametrize(
    ("objective", "x0"),
    [
        (lambda x, h: x[0] ** 2 - x[1] ** 2 + anp.sum(x * h), np.zeros(2)),
        (lambda x, h: -anp.sum(x**2) + anp.sum(x * h), np.zeros(2)),
        (lambda x, h: (x[0] + x[1]) ** 2 + anp.sum(x * h), np.zeros(2)),
    ],
    ids=["saddle", "maximum", "not identified"],
)
def test_no_minimum_raises(objective, x0):
    with pytest.raises(NotPositiveDefiniteError):
        HyperparameterSensitivityLinearApproximation(objective, x0, np.zeros(2))


def test_validation():
    off = X0 + 1e-4
    for make, flag, tol, function in [
        (HyperparameterSensitivityLinearApproximation, "validate_optimum", "grad_tol", shifted),
        (EstimatingEquationLinearApproximation, "validate_solution", "solution_tol", lambda x, h: x - h**2),
    ]:
        make(function, off, H0)
        with pytest.raises(NotASolutionError, match=tol):
            make(function, off, H0, **{flag: True})
        make(function, off, H0, **{flag: True, tol: 1e-3})
        for wrong in (0.0, -1.0, np.nan, True, "small", None):
            for validates in (True, False):
                with pytest.raises(ValueError, match=tol):
                    make(function, X0, H0, **{flag: validates, tol: wrong})


def test_validation_is_relative_to_the_size_of_the_input():
    for x0, passes in [(1e6, True), (1.0, False)]:
        off = np.array([x0 + 1e-3])
        arguments = lambda x, h: x - h, off, np.array([x0]), None, True
        if passes:
            EstimatingEquationLinearApproximation(*arguments)
        else:
            with pytest.raises(NotASolutionError):
                EstimatingEquationLinearApproximation(*arguments)


@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1.0, 1e9])
def test_validation_of_an_optimum_does_not_depend_on_units(unit):
    """The minimum is at ``unit``; three times that passes in no units, a rounding error in all."""

    def objective(x, h):
        return 0.5 * anp.sum((x / unit - h) ** 2)

    for x0, passes in [(3.0 * unit, False), (unit * (1 + 1e-10), True)]:
        base = objective, np.array([x0]), np.ones(1)
        makes = (
            lambda base=base: HyperparameterSensitivityLinearApproximation(*base, validate_optimum=True),
            lambda base=base: LinearResponseCovariances(lambda x: objective(x, 1.0), base[1], validate_optimum=True),
        )
        for make in makes:
            if passes:
                make()
            else:
                with pytest.raises(NotASolutionError, match="grad_tol"):
                    make()


def test_set_base_values_moves_everything():
    def cubic(x, h):  # its minimum is at h, with the Hessian 3 h^2
        return anp.sum(x**4 / 4 - x * h**3)

    moved = HyperparameterSensitivityLinearApproximation(cubic, np.ones(1), np.ones(1))
    two = np.array([2.0])
    moved.set_base_values(two, two, None, None)
    assert moved.get_hessian_at_opt() == pytest.approx(12.0)
    assert moved.hess_solver()(np.ones(1)) == pytest.approx(1 / 12)
    assert moved.get_dopt_dhyper() == pytest.approx(1.0)
    assert moved.predict_opt_par_from_hyper_par(np.array([2.5])) == pytest.approx(2.5)
    assert moved.get_opt_par_function()(two) == pytest.approx(2.0)
    for arguments, options, error in [
        ((two, 1.1 * two, None, None), {}, NotASolutionError),
        ((two, two, np.eye(1), None), {}, SolveFailed),
        ((two, two, None, np.eye(1)), {}, MismatchError),
        ((0.0 * two, 0.0 * two), {}, NotPositiveDefiniteError),
        ((two * (1 + 1e-6), two), {"grad_tol": 1e-7}, NotASolutionError),
    ]:
        with pytest.raises(error):
            moved.set_base_values(*arguments, **options)
    assert moved.predict_opt_par_from_hyper_par(np.array([2.5])) == pytest.approx(2.5)
    moved.set_base_values(two, 1.1 * two, validate_optimum=False)
    moved.set_base_values(two * (1 + 1e-6), two, grad_tol=1e-5)
    moved.set_base_values(two, two, hessian_at_opt=12.0 * np.eye(1), cross_hess_at_opt=-12.0 * np.eye(1))


def test_set_location_takes_a_solver_of_its_own():
    moved = EstimatingEquationLinearApproximation(
        lambda x, h: x**3 - h**3, np.ones(1), np.ones(1), hess_solver=lambda v: v / 3
    )
    two = np.array([2.0])
    moved.set_location(two, two, None)
    assert moved.hess_solver()(np.ones(1)) == pytest.approx(1 / 12)
    assert moved.get_dinput_dhyper() == pytest.approx(1.0)
    moved.set_location(two, two, hess_solver=lambda v: v / 12 * (1 + 1e-8))
    assert 0 < moved.get_dinput_dhyper() - 1.0 < 1e-7
    with pytest.raises(SolveFailed):
        moved.set_location(np.ones(1), np.ones(1), hess_solver=lambda v: v / 12)
    with pytest.raises(NotASolutionError):
        moved.set_location(two, two * 1.001)
    moved.set_location(two, two * 1.001, solution_tol=0.1)


def test_too_large_a_matrix_is_named():
    n = 2_000_000
    approximation = HyperparameterSensitivityLinearApproximation(
        lambda x, h: 0.5 * anp.sum(x**2) * (1.0 + anp.sum(h)), np.zeros(1000), np.zeros(n)
    )
    with pytest.raises(SizeError, match="1000 inputs in 2000000 hypers"):
        approximation.get_dopt_dhyper()


# ---- the solution as a differentiable function ----

RIDGE_X, RIDGE_Y = normal(12, 2), normal(12, start=0.4)


def ridge(b, h):
    """Weights of the first two observations, and a penalty in logarithms."""
    weights = anp.concatenate([h[:2], np.ones(10)])
    return 0.5 * anp.sum(weights * (RIDGE_Y - anp.dot(RIDGE_X, b)) ** 2) + 0.5 * anp.exp(h[2]) * anp.sum(b**2)


def ridge_solution(h):
    weights = anp.concatenate([h[:2], np.ones(10)])
    gram = anp.dot(RIDGE_X.T * weights, RIDGE_X) + anp.exp(h[2]) * np.eye(2)
    return anp.linalg.solve(gram, anp.dot(RIDGE_X.T, weights * RIDGE_Y))


RIDGE_H0 = np.array([1.0, 0.5, -0.3])


def ridge_function(order):
    approximation = HyperparameterSensitivityLinearApproximation(
        ridge, ridge_solution(RIDGE_H0), RIDGE_H0, validate_optimum=True
    )
    return approximation.get_opt_par_function(order=order)


def reverse(f):
    return autograd.jacobian(f)


def forward(f):
    def along_axes(h):
        push = autograd.make_jvp(f)(h)
        return anp.stack([push(e)[1] for e in np.eye(3)], axis=-1)

    return along_axes


def composed(solution):
    return lambda h: anp.sin(h[1] * solution(h)) * anp.exp(solution(h)[0] + h[2])


def differentiated(f, ways):
    for way in ways:
        f = way(f)
    return f


@functools.cache
def exact_derivatives(order):
    """In reverse, because ``anp.linalg.solve`` has no forward mode."""
    return differentiated(composed(ridge_solution), [reverse] * order)(RIDGE_H0)


@pytest.mark.parametrize(
    "modes",
    [
        [reverse],
        [forward],
        [reverse, reverse],
        [forward, reverse],
        [reverse, forward],
        [forward, forward],
        [reverse, reverse, reverse],
        [forward, reverse, forward],
    ],
    ids=lambda modes: " of ".join(m.__name__ for m in modes),
)
def test_derivatives_of_a_function_of_the_optimum(modes):
    found = differentiated(composed(ridge_function(len(modes))), modes)(RIDGE_H0)
    expected = exact_derivatives(len(modes))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.max(np.abs(expected)))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("mode", [reverse, forward])
def test_derivatives_above_the_order_raise(order, mode):
    f = ridge_function(order)
    for _ in range(order + 1):
        f = mode(f)
    with pytest.raises(NotImplementedError, match=f"pass order={order + 1}"):
        f(RIDGE_H0)
    assert issubclass(MissingRuleError, NotImplementedError)


def test_too_large_a_tensor_is_named():
    approximation = HyperparameterSensitivityLinearApproximation(
        lambda x, h: 0.5 * anp.sum(x**2) - x[0] * anp.sum(h**2), np.zeros(1), np.zeros(5000)
    )
    with pytest.raises(SizeError, match="5000 hypers"):
        approximation.get_opt_par_function(order=3)


def test_the_function_is_known_at_the_base_point_only():
    solution = ridge_function(1)
    np.testing.assert_allclose(solution(RIDGE_H0 + 1e-9), ridge_solution(RIDGE_H0), rtol=1e-13)
    for wrong in (RIDGE_H0 + 1e-6, RIDGE_H0 + 1.0, RIDGE_H0 * np.nan, RIDGE_H0[:2]):
        for call in (solution, autograd.jacobian(solution)):
            with pytest.raises(ValueError, match="base point"):
                call(wrong)
    for wrong, error in [(0, ValueError), (1.0, TypeError), (True, TypeError)]:
        with pytest.raises(error):
            ridge_function(wrong)


def test_the_function_keeps_its_base_point_when_the_approximation_moves():
    approximation = of_minimum()
    solution = approximation.get_opt_par_function()
    approximation.set_base_values(X0 * 4.0, H0 * 2.0)
    assert np.array_equal(solution(H0), X0)
    np.testing.assert_allclose(autograd.jacobian(solution)(H0), np.diag(2.0 * H0))
    solution(H0)[...] = 7.0
    assert np.array_equal(solution(H0), X0)


def inner_optimum(order):
    """``sin h`` as an optimum."""
    h0 = np.array([1.0, 0.3])
    inner = HyperparameterSensitivityLinearApproximation(
        lambda x, h: 0.5 * anp.sum((x - anp.sin(h)) ** 2), np.sin(h0), h0
    )
    return inner.get_opt_par_function(order), h0


def test_an_optimum_in_the_objective_of_another():
    """``y = sin(h)^2``; vittles gives the first derivative."""
    optimum, h0 = inner_optimum(3)
    outer = lambda y, h: 0.5 * anp.sum((y - optimum(h) ** 2) ** 2)  # noqa: E731
    approximation = HyperparameterSensitivityLinearApproximation(outer, np.sin(h0) ** 2, h0, validate_optimum=True)
    np.testing.assert_allclose(approximation.get_dopt_dhyper(), np.diag(np.sin(2 * h0)), rtol=1e-12, atol=1e-14)
    second = autograd.jacobian(autograd.jacobian(approximation.get_opt_par_function(2)))(h0)
    np.testing.assert_allclose(np.einsum("iii->i", second), 2 * np.cos(2 * h0), rtol=1e-11)
    assert np.count_nonzero(np.abs(second) > 1e-12) == 2
    arguments = outer, np.sin(h0) ** 2, h0
    expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(*arguments, order=3)
    step = np.array([1.0, -2.0])
    found = expansion.evaluate_input_derivs(step)
    expected = np.sin(2 * h0) * step, 2 * np.cos(2 * h0) * step**2, -4 * np.sin(2 * h0) * step**3
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    with pytest.raises(MissingRuleError, match="pass order=4"):
        vn.ParametricSensitivityTaylorExpansion.optimization_objective(*arguments, order=4).evaluate_input_derivs(step)


def test_an_optimum_as_the_argument_of_an_outer_optimum():
    """The h at which ``sin h`` is ``c sin h0``: the series of ``arcsin(c sin h0)`` in c at c = 1."""
    optimum, h0 = inner_optimum(3)

    def outer(h, c):
        return anp.sum((optimum(h) - c[0] * np.sin(h0)) ** 2)

    tuned = HyperparameterSensitivityLinearApproximation(outer, h0, np.ones(1), validate_optimum=True)
    np.testing.assert_allclose(tuned.get_dopt_dhyper()[:, 0], np.tan(h0), rtol=1e-12)
    expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(outer, h0, np.ones(1), order=2)
    np.testing.assert_allclose(expansion.evaluate_input_derivs(np.ones(1))[1], np.tan(h0) ** 3, rtol=1e-11)


def test_series_through_an_optimum():
    """Of a function of two hypers that interact, against the series of its closed form."""
    series = np.array([RIDGE_H0, [0.3, -1.0, 0.5], [0.0, 2.0, 0.0], [1.0, 0.0, -0.7]])
    expected = vn.jet(ridge_solution, series)
    np.testing.assert_allclose(vn.jet(ridge_function(3), series), expected, rtol=0, atol=1e-12)
    still = np.array([RIDGE_H0, 0.0 * RIDGE_H0, series[1], series[2]])  # nothing of second order until t^4
    np.testing.assert_allclose(vn.jet(ridge_function(1), still), vn.jet(ridge_solution, still), rtol=0, atol=1e-12)


# ---- linear response covariances ----


def gamma_divergence(flat):
    """From Gamma(3, 2), of Gamma(shape, rate) with both in logarithms."""
    shape, rate = anp.exp(flat[0]), anp.exp(flat[1])
    mean, mean_log = shape / rate, digamma(shape) - flat[1]
    return shape * flat[1] - gammaln(shape) + (shape - 3.0) * mean_log - rate * mean + 2.0 * mean


def gamma_moments(flat):
    return anp.array([anp.exp(flat[0] - flat[1]), digamma(anp.exp(flat[0])) - flat[1]])


GAMMA0 = np.log([3.0, 2.0])


@pytest.mark.parametrize(
    "options",
    [{}, {"factorize_hessian": False}, {"hessian_at_opt": True}, {"hessian_at_opt": True, "factorize_hessian": False}],
    ids=str,
)
def test_covariance_is_exact_where_the_family_holds_the_distribution(options):
    options = dict(options)
    if options.get("hessian_at_opt"):
        options["hessian_at_opt"] = LinearResponseCovariances(gamma_divergence, GAMMA0).get_hessian_at_opt()
    covariances = LinearResponseCovariances(gamma_divergence, GAMMA0, validate_optimum=True, **options)
    exact = np.array([[3.0 / 4.0, 1.0 / 2.0], [1.0 / 2.0, polygamma(1, 3.0)]])  # of x and log x
    found = covariances.get_lr_covariance(gamma_moments)
    np.testing.assert_allclose(found, exact, rtol=1e-11)
    assert np.array_equal(found, found.T)
    exact_mean = covariances.get_lr_covariance(lambda flat: gamma_moments(flat)[0])
    np.testing.assert_allclose(exact_mean, exact[:1, :1], rtol=1e-11)
    np.testing.assert_allclose(covariances.hess_solver(covariances.get_hessian_at_opt()), np.eye(2), atol=1e-10)


def test_covariance_is_the_response_of_the_means_to_a_tilt():
    precision = np.array([[2.0, 0.7], [0.7, 1.0]])

    def divergence(flat, tilt=0.0):  # of a factorising normal; the distribution has a quartic term
        mean, variance = flat[:2], anp.exp(flat[2:])
        fourth = mean**4 + 6.0 * mean**2 * variance + 3.0 * variance**2
        quadratic = anp.dot(mean, anp.dot(precision, mean)) + anp.dot(np.diag(precision), variance)
        energy = 0.5 * quadratic + 0.1 * anp.sum(fourth) - anp.sum(mean)
        return energy - 0.5 * anp.sum(flat[2:]) - tilt * moments(flat)[0]

    def moments(flat):
        return anp.array([flat[0], flat[1] ** 2 + anp.exp(flat[3])])

    def optimum(tilt):
        flat = np.array([0.3, 0.3, -1.0, -1.0])
        for _ in range(30):
            step = np.linalg.solve(autograd.hessian(divergence)(flat, tilt), autograd.grad(divergence)(flat, tilt))
            flat = flat - step * min(1.0, 0.5 / np.max(np.abs(step)))
        return flat

    covariances = LinearResponseCovariances(divergence, optimum(0.0), validate_optimum=True)
    t = 1e-4
    response = (moments(optimum(t)) - moments(optimum(-t))) / (2 * t)
    np.testing.assert_allclose(covariances.get_lr_covariance(moments)[0], response, rtol=1e-6)


def test_one_parameter_and_nested_parameters():
    one = LinearResponseCovariances(lambda x: 2.0 * (x[0] - 1.0) ** 2, np.ones(1), validate_optimum=True)
    assert one.get_lr_covariance(lambda x: x) == pytest.approx(np.array([[0.25]]))
    nested = LinearResponseCovariances(
        lambda par: 2.0 * anp.sum(par["m"] ** 2) + (par["v"] - 1.0) ** 2, {"m": np.zeros((2, 1)), "v": 1.0}
    )
    assert np.array_equal(nested.get_lr_covariance(lambda par: par["m"]), 0.25 * np.eye(2))


def test_moments_in_a_matrix_are_rows_in_c_order():
    covariances = LinearResponseCovariances(lambda x: 0.5 * anp.sum(x**2), np.zeros(2))
    jacobian = covariances.get_moment_jacobian(lambda x: anp.stack([x, 3.0 * x[::-1]]))
    assert np.array_equal(jacobian, [[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [3.0, 0.0]])


def test_matrix_free_covariances_form_no_hessian(monkeypatch):
    formed = []
    monkeypatch.setattr("vittles_ng.problem.Problem.jacobian", lambda self: formed.append(1))
    covariances = LinearResponseCovariances(gamma_divergence, GAMMA0, True, factorize_hessian=False)
    covariances.get_lr_covariance(gamma_moments)
    assert formed == []


def two_minima(x):
    """At -1 and 2, with the second derivatives 9 and 18; a maximum at 0."""
    return 0.75 * x[0] ** 4 - x[0] ** 3 - 3.0 * x[0] ** 2


def test_set_base_values_of_covariances():
    covariances = LinearResponseCovariances(two_minima, np.array([-1.0]), validate_optimum=True)
    assert covariances.get_lr_covariance(lambda x: x) == pytest.approx(1 / 9)
    covariances.set_base_values(np.array([2.0]), None)
    assert covariances.get_lr_covariance(lambda x: x) == pytest.approx(1 / 18)
    with pytest.raises(NotASolutionError):
        covariances.set_base_values(np.array([2.001]), None)
    with pytest.raises(NotPositiveDefiniteError):
        covariances.set_base_values(np.array([0.0]), None)
    with pytest.raises(SolveFailed):
        covariances.set_base_values(np.array([2.0]), np.array([[9.0]]))
    assert covariances.get_lr_covariance(lambda x: x) == pytest.approx(1 / 18)
    covariances.set_base_values(np.array([2.001]), None, grad_tol=0.01)
    covariances.set_base_values(np.array([2.001]), None, validate=False)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.get_lr_covariance(lambda flat: np.ones(2)), IndependentError),
        (lambda c: c.get_lr_covariance(lambda flat: flat * 1j), TypeError),
        (lambda c: c.get_lr_covariance(lambda flat: anp.sqrt(flat - GAMMA0)), NonSmoothError),
        (lambda c: c.get_lr_covariance_from_jacobians(np.ones((2, 3)), np.eye(2)), ShapeError),
        (lambda c: c.get_lr_covariance_from_jacobians(np.eye(2), np.ones((2, 3))), ShapeError),
        (lambda c: c.get_lr_covariance_from_jacobians(np.ones(2), np.eye(2)), ShapeError),
        (lambda c: c.get_lr_covariance_from_jacobians(np.eye(2), np.eye(2)[:, :, None]), ShapeError),
        (lambda c: c.get_lr_covariance_from_jacobians(np.eye(2) * np.nan, np.eye(2)), NonFiniteError),
    ],
)
def test_bad_moments(call, error):
    with pytest.raises(error):
        call(LinearResponseCovariances(gamma_divergence, GAMMA0))


def test_covariances_where_there_is_no_optimum():
    LinearResponseCovariances(gamma_divergence, GAMMA0 + 1e-4)
    for options, error in [({}, NotASolutionError), ({"grad_tol": 1e-5}, NotASolutionError)]:
        with pytest.raises(error, match="grad_tol"):
            LinearResponseCovariances(gamma_divergence, GAMMA0 + 1e-4, validate_optimum=True, **options)
    LinearResponseCovariances(gamma_divergence, GAMMA0 + 1e-4, validate_optimum=True, grad_tol=1e-3)
    for factorize in (True, False):
        with pytest.raises(NotPositiveDefiniteError):
            LinearResponseCovariances(lambda x: x[0] ** 2 - x[1] ** 2, np.zeros(2), factorize_hessian=factorize)


@pytest.mark.parametrize("objective", [anp.sum, lambda x: 1.0 + 0.0 * x[0]], ids=["linear", "constant"])
def test_objectives_without_curvature_are_named(objective):
    with pytest.raises(IndependentError, match="depend on opt_par_value"):
        LinearResponseCovariances(objective, np.ones(2))


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, True, "small"])
def test_bad_tolerances_of_covariances(wrong):
    with pytest.raises(ValueError, match="grad_tol"):
        LinearResponseCovariances(gamma_divergence, GAMMA0, grad_tol=wrong)


# ---- the mixed second derivative ----


def weighted(b, weights, penalty):
    return autograd.grad(ridge)(b, anp.concatenate([weights, penalty]))


def cross_of_ridge(**options):
    return CrossSensitivity(weighted, None, ridge_solution(RIDGE_H0), RIDGE_H0[:2], RIDGE_H0[2:], **options)


def test_mixed_derivative_of_ridge():
    dh1, dh2 = np.array([0.7, -0.2]), np.array([1.3])
    cross = cross_of_ridge()
    second = autograd.jacobian(autograd.jacobian(ridge_solution))(RIDGE_H0)
    np.testing.assert_allclose(cross.evaluate(dh1, dh2), second[:, :2, 2] @ dh1 * 1.3, rtol=1e-11)
    first = autograd.jacobian(ridge_solution)(RIDGE_H0)
    np.testing.assert_allclose(cross.get_di1(dh1), first[:, :2] @ dh1, rtol=1e-12)
    np.testing.assert_allclose(cross.get_di2(dh2), first[:, 2] * 1.3, rtol=1e-12)


def test_mixed_derivative_of_exact_refits():
    model = MODELS["logistic"]
    h1, h2 = model.hyper_val0[:-1], model.hyper_val0[-1:]
    gradient = autograd.grad(model.function)
    cross = CrossSensitivity(
        lambda b, weights, penalty: gradient(b, anp.concatenate([weights, penalty])), None, model.input_val0, h1, h2
    )
    dh1, dh2 = uniform(len(h1)) - 0.5, np.array([0.3])

    def exact(s, t):
        return model.exact(np.concatenate([h1 + s * dh1, h2 + t * dh2]))

    def difference(s):
        return (exact(s, s) - exact(s, -s) - exact(-s, s) + exact(-s, -s)) / (4 * s * s)

    expected = (4 * difference(0.01) - difference(0.02)) / 3
    np.testing.assert_allclose(cross.evaluate(dh1, dh2), expected, rtol=0, atol=1e-6 * np.max(np.abs(expected)))


@pytest.mark.parametrize("scale1", [1e-10, 1.0, 1e10])
@pytest.mark.parametrize("scale2", [1e-7, 1e9])
def test_units_of_the_hypers_do_not_matter(scale1, scale2):
    """``x = log(1 + h1) + h1 h2^2`` in whatever units."""

    def equation(x, h1, h2):
        h1, h2 = h1 / scale1, h2 / scale2
        return anp.exp(x) - (1.0 + h1) * anp.exp(h1 * h2**2)

    h1, h2 = np.array([0.5]), np.array([2.0])
    cross = CrossSensitivity(equation, None, np.log1p(h1) + h1 * h2**2, h1 * scale1, h2 * scale2)
    found = cross.evaluate(np.ones(1), np.ones(1)) * scale1 * scale2
    assert found == pytest.approx(4.0, rel=1e-12)


@pytest.mark.parametrize("curvature", [1.0, 1e6, 1e12])
@pytest.mark.parametrize("power", [2, 3])
def test_curvature_along_one_hyper_does_not_swamp_the_mixed_derivative(curvature, power):
    a, b, mixed = 3.0 * np.eye(3) + normal(3, 3), normal(3, 4, start=0.2), normal(3, 4, 2, start=0.4)
    first, second = curvature * normal(3, 4, start=0.6), curvature * normal(3, 2, start=0.9)

    def equation(x, h1, h2):
        pure = anp.dot(first, h1**power) + anp.dot(second, h2**power) + curvature * x**power
        return anp.dot(a, x) + anp.dot(b, h1) + anp.dot(b[:, :2], h2) + pure + anp.dot(anp.dot(mixed, h2), h1)

    cross = CrossSensitivity(equation, None, np.zeros(3), np.zeros(4), np.zeros(2), term_ii=False)
    dh1, dh2 = uniform(4) - 0.5, uniform(2, start=0.3) - 0.5
    expected = -np.linalg.solve(a, mixed @ dh2 @ dh1)
    np.testing.assert_allclose(cross.evaluate(dh1, dh2), expected, rtol=0, atol=1e-13 * np.max(np.abs(expected)))


def test_each_term():
    def equation(x, h1, h2):
        return x**2 + x * h1 * h2 + (x - 1.0) * (h1 + h2) + 0.5 * h1 * h2 - x - 9.0

    base = np.array([1.0]), np.array([2.0]), np.array([3.0])
    h = 2.0 * 1.0 + 2.0 * 3.0 + 2.0 + 3.0 - 1.0
    dh1, dh2, di1, di2 = np.array([0.3]), np.array([-0.5]), np.array([0.7]), np.array([1.1])
    expected = {"ii": 2.0 * di1 * di2, "i1": 4.0 * di2 * dh1, "i2": 3.0 * di1 * dh2, "12": 1.5 * dh1 * dh2}
    cross = CrossSensitivity(equation, None, *base)
    terms = cross.evaluate_terms(dh1, dh2, di1, di2)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name] == pytest.approx(value, rel=1e-13), name
        chosen = {f"term_{other}": other == name for other in expected}
        alone = CrossSensitivity(equation, None, *base, **chosen)
        used = {"di1": di1 if name in ("ii", "i2") else None, "di2": di2 if name in ("ii", "i1") else None}
        assert alone.evaluate(dh1, dh2, **used) == pytest.approx(-value / h, rel=1e-13), name
    assert cross.evaluate(dh1, dh2, di1, di2) == pytest.approx(-sum(expected.values()) / h, rel=1e-13)


def test_a_direction_in_which_the_change_is_rounding():
    w, h1 = np.array([0.1, 0.7, 0.3]), np.array([1.0, 0.4, 0.2])
    dh1 = np.cross(w, np.array([0.3, 0.2, 0.9]))  # orthogonal to w
    assert w @ dh1 != 0.0
    x0 = np.array([2.0 * np.tanh(w @ h1)])
    cross = CrossSensitivity(lambda x, h1, h2: x - h2 * anp.tanh(anp.dot(h1, w)), None, x0, h1, np.array([2.0]))
    np.testing.assert_allclose(cross.evaluate(dh1, np.ones(1)), 0.0, atol=1e-15)


def test_zero_directions():
    cross = cross_of_ridge()
    for dh1, dh2 in [(np.zeros(2), np.ones(1)), (np.ones(2), np.zeros(1)), (np.zeros(2), np.zeros(1))]:
        np.testing.assert_allclose(cross.evaluate(dh1, dh2), 0.0, atol=1e-15)


def test_bad_input_of_cross_sensitivities():
    cross, one, two = cross_of_ridge(), np.ones(1), np.ones(2)
    for wrong in (0.0, np.nan, "small"):
        with pytest.raises(ValueError, match="solution_tol"):
            cross_of_ridge(solution_tol=wrong)
    for arguments, options, error in [
        ((two, two), {}, ShapeError),
        ((one, one), {}, ShapeError),
        ((two * np.nan, one), {}, NonFiniteError),
        ((two, one), {"di1": one}, ShapeError),
        ((two, one), {"debug": True}, TypeError),
    ]:
        with pytest.raises(error):
            cross.evaluate(*arguments, **options)
    with pytest.raises(ValueError, match="di1"):
        cross_of_ridge(term_ii=False, term_i2=False).evaluate(two, one, di1=two)
    with pytest.raises(ValueError, match="switched off"):
        cross_of_ridge(term_ii=False, term_i1=False, term_i2=False, term_12=False)


@pytest.mark.parametrize(
    ("equation", "solver", "base", "error"),
    [
        (lambda x, a, b: x - a * b, None, (2.0, 1.0, 1.0), NotASolutionError),
        (lambda x, a, b: x - a * b, lambda v: 2.0 * v, (1.0, 1.0, 1.0), SolveFailed),
        (lambda x, a, b: x * 0.0 + a * b, None, (1.0, 1.0, 0.0), np.linalg.LinAlgError),
        (lambda x, a, b: a * b, None, (1.0, 1.0, 0.0), IndependentError),
        (lambda x, a, b: x - a, None, (1.0, 1.0, 0.0), IndependentError),
        (lambda x, a, b: anp.log(x - a) + b, None, (1.0, 1.0, 0.0), NonFiniteError),
        (lambda x, a, b: anp.concatenate([x - a * b, x]), None, (1.0, 1.0, 1.0), ShapeError),
        (lambda x, a, b: x * 1j - a * b, None, (1.0, 1.0, 1.0), TypeError),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_equations(equation, solver, base, error):
    with pytest.raises(error):
        CrossSensitivity(equation, solver, *(np.array([value]) for value in base))


def test_too_large_a_jacobian_is_named():
    with pytest.raises(SizeError, match="300000 inputs"):
        CrossSensitivity(lambda x, a, b: x * (1.0 + a * b), None, np.zeros(300_000), np.ones(1), np.ones(1))


def test_solution_tol_of_cross_sensitivities():
    base = np.array([2.001]), np.ones(1), np.array([2.0])
    found = CrossSensitivity(lambda x, a, b: x - a * b, None, *base, solution_tol=0.01).evaluate(np.ones(1), np.ones(1))
    assert found == pytest.approx(1.0)


# ---- unfinished optimisation ----


def finished():
    theta, weights = np.array([0.2, -0.1, 0.1]), np.ones(len(Y))
    for _ in range(20):
        theta = theta - np.linalg.solve(
            autograd.hessian(least_squares)(theta, weights), autograd.grad(least_squares)(theta, weights)
        )
    return theta


def test_correction_leaves_an_error_of_second_order():
    optimum, weights = finished(), np.ones(len(X))
    left_out = weights.copy()
    left_out[1] = 0.0
    gradient = autograd.grad(least_squares)

    def checked(t):
        return OptimumChecker(gradient, None, optimum + t * np.array([0.1, 0.05, -0.1]), weights)

    exact = checked(0.0).get_dinput_dhyper(left_out - weights)
    plain, corrected, steps = [], [], []
    for t in (0.2, 0.1):
        checker = checked(t)
        found = checker.get_dinput_dhyper(left_out - weights)
        plain.append(np.linalg.norm(found - exact))
        corrected.append(np.linalg.norm(found + checker.correction(left_out) - exact))
        steps.append(np.linalg.norm(checker.get_newton_step() + t * np.array([0.1, 0.05, -0.1])))
    assert np.log2(plain[0] / plain[1]) == pytest.approx(1.0, abs=0.2)
    assert np.log2(corrected[0] / corrected[1]) == pytest.approx(2.0, abs=0.3)
    assert np.log2(steps[0] / steps[1]) == pytest.approx(2.0, abs=0.3)
    assert np.linalg.norm(checked(0.0).correction(left_out)) < 1e-12
    known = checker.evaluate(left_out, dinput_dhyper=found, newton_step=checker.get_newton_step())
    np.testing.assert_allclose(checker.evaluate(left_out), known, rtol=1e-14)
    at = optimum + 0.1 * np.array([0.1, 0.05, -0.1])
    np.testing.assert_allclose(known, at + found + checker.correction(left_out), rtol=1e-14)


def test_bad_input_of_the_checker():
    gradient, theta, weights = autograd.grad(least_squares), finished(), np.ones(len(Y))
    with pytest.raises(SolveFailed):
        OptimumChecker(gradient, lambda v: v, theta, weights)
    with pytest.raises(ShapeError, match="autograd.grad"):
        OptimumChecker(least_squares, None, theta, weights)
    checker = OptimumChecker(gradient, None, theta, weights)
    for call in (checker.correction, checker.evaluate, checker.get_dinput_dhyper):
        with pytest.raises(ShapeError):
            call(np.ones(3))


@pytest.mark.parametrize("x0", [{"a": 2.1, "b": np.array([3.1])}, np.array([[2.1], [3.1]])], ids=["dict", "matrix"])
def test_the_checker_takes_what_is_known_as_the_input_is_built(x0):
    is_dict = isinstance(x0, dict)

    def equation(x, h):
        return anp.concatenate([anp.ravel(x["a"]), x["b"]]) ** 2 - h if is_dict else anp.ravel(x) ** 2 - h

    def built(flat):
        return {"a": flat[0], "b": flat[1:]} if is_dict else flat[:, None]

    checker = OptimumChecker(equation, None, x0, np.array([4.0, 9.0]))
    new, flat0 = np.array([5.0, 9.0]), np.array([2.1, 3.1])
    derivative, step = checker.get_dinput_dhyper(new - np.array([4.0, 9.0])), checker.get_newton_step()
    np.testing.assert_allclose(derivative, [1 / 4.2, 0.0])
    found = checker.evaluate(new, dinput_dhyper=built(derivative), newton_step=built(step))
    # the derivative of 1 / (2 x) along the step
    np.testing.assert_allclose(found, flat0 + derivative * (1.0 - step / flat0), rtol=1e-13)
    np.testing.assert_allclose(checker.evaluate(new), found, rtol=1e-13)


def test_errors_name_the_arguments_that_were_given():
    nan, one = np.array([np.nan]), np.ones(1)
    equation, objective = (lambda x, h: x - h), (lambda x, h: 0.5 * anp.sum((x - h) ** 2))
    for make, arguments, name in [
        (HyperparameterSensitivityLinearApproximation, (objective, nan, one), "opt_par_value"),
        (HyperparameterSensitivityLinearApproximation, (objective, one, nan), "hyper_par_value"),
        (EstimatingEquationLinearApproximation, (equation, nan, one), "input_val0"),
        (EstimatingEquationLinearApproximation, (equation, one, nan), "hyper_val0"),
        (LinearResponseCovariances, (objective, nan), "opt_par_value"),
        (OptimumChecker, (equation, None, nan, one), "input_base"),
        (OptimumChecker, (equation, None, one, nan), "hyper_base"),
        (CrossSensitivity, (lambda x, a, b: x - a * b, None, one, nan, one), "hyper1_base"),
        (CrossSensitivity, (lambda x, a, b: x - a * b, None, one, one, nan), "hyper2_base"),
    ]:
        with pytest.raises(NonFiniteError, match=name):
            make(*arguments)
    with pytest.raises(IndependentError, match="hyper_base"):
        OptimumChecker(lambda x, h: x - 1.0, None, one, one)


# ---- solver functions ----

ROOT = uniform(6, 6)
DEFINITE = ROOT + ROOT.T + 6.0 * np.eye(6)
V = uniform(6, 2, start=0.7)


def cg(matrix, **options):
    return linear.get_cg_solver(lambda v: matrix @ v, len(matrix), options)


MAKERS = {
    "dense": linear.get_dense_cholesky_solver,
    "sparse": lambda h: linear.get_sparse_cholesky_solver(scipy.sparse.coo_matrix(h)),
    "either, dense": linear.get_cholesky_solver,
    "either, sparse": lambda h: linear.get_cholesky_solver(scipy.sparse.csr_array(h)),
    "cg": cg,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_solvers_solve(maker):
    h, v = DEFINITE.copy(), V.copy()
    solve = MAKERS[maker](h)
    expected = np.linalg.solve(DEFINITE, V)
    np.testing.assert_allclose(solve(v), expected, rtol=1e-10)
    np.testing.assert_allclose(solve(v[:, 0]), expected[:, 0], rtol=1e-10)
    assert np.array_equal(h, DEFINITE) and np.array_equal(v, V)
    np.testing.assert_allclose(MAKERS[maker](np.array([[4.0]]))(np.ones(1)), 0.25)


BAD = {
    "indefinite": np.diag([1.0, 2.0, -1.0]),
    "negative": -np.eye(3),
    "singular": np.diag([1.0, 0.0, 2.0]),
    "rank one": np.ones((3, 3)),
    "not symmetric": np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 2.0]]),
    "nan": np.diag([1.0, np.nan, 1.0]),
}


@pytest.mark.parametrize("matrix", BAD)
@pytest.mark.parametrize("maker", MAKERS)
def test_bad_matrices_raise_when_the_solver_is_made(maker, matrix):
    with pytest.raises((np.linalg.LinAlgError, NonFiniteError)):
        MAKERS[maker](BAD[matrix])


def test_sparse_solver_takes_sparse_matrices_only():
    with pytest.raises(ValueError, match="not sparse"):
        linear.get_sparse_cholesky_solver(DEFINITE)


@pytest.mark.parametrize("lower", [False, True])
def test_a_factor_that_is_given_is_used(lower):
    factor = scipy.linalg.cho_factor(DEFINITE, lower=lower)
    expected = np.linalg.solve(DEFINITE, V)
    for h in (None, DEFINITE, DEFINITE * (1 + 1e-9), DEFINITE.tolist(), scipy.sparse.csr_array(DEFINITE)):
        solve = linear.get_dense_cholesky_solver(h, h_chol=factor)
        np.testing.assert_allclose(solve(V), expected, rtol=1e-12)
    factor[0][...] = 0.0
    np.testing.assert_allclose(solve(V), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("h", "h_chol", "error"),
    [
        (None, None, TypeError),
        (2.0 * np.eye(2), (np.eye(2), True), MismatchError),
        (np.eye(3), (np.eye(2), True), ShapeError),
        (None, (np.ones((2, 3)), True), ShapeError),
        (None, (np.diag([1.0, np.nan]), True), NonFiniteError),
        (None, (np.diag([1.0, 0.0]), True), NotPositiveDefiniteError),
        (None, (np.diag([1.0, -1.0]), False), NotPositiveDefiniteError),
        (None, np.eye(2)[0], TypeError),
        (None, np.eye(3), TypeError),
        (np.diag([1.0, np.nan]), (np.eye(2), True), NonFiniteError),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), (np.eye(2), True), NotSymmetricError),
        (np.eye(2) * 1j, (np.eye(2), True), TypeError),
    ],
)
def test_bad_factors(h, h_chol, error):
    with pytest.raises(error):
        linear.get_dense_cholesky_solver(h, h_chol)


def counted(matrix):
    calls = []

    def product(v):
        calls.append(1)
        return matrix @ v

    return product, calls


@pytest.mark.parametrize("name", ["rtol", "tol"])
def test_tolerance_of_conjugate_gradients(name):
    errors = [
        np.linalg.norm(DEFINITE @ cg(DEFINITE, **{name: tol})(V[:, 0]) - V[:, 0]) / np.linalg.norm(V[:, 0])
        for tol in (1e-2, 1e-8)
    ]
    assert 1e-8 < errors[0] <= 1e-2 and errors[1] <= 1e-8


def test_conjugate_gradients_that_do_not_converge_raise():
    matrix = np.diag(np.logspace(0, 6, 60))
    with pytest.raises(SolveFailed) as failed:
        cg(matrix, maxiter=5)
    assert failed.value.iterations == 5
    assert failed.value.residual > 1e-6


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        np.ndarray.tolist,
        scipy.sparse.csr_array,
        scipy.sparse.linalg.aslinearoperator,
        lambda inverse: inverse.__matmul__,
    ],
)
def test_preconditioner_of_conjugate_gradients(form):
    matrix = np.diag(np.logspace(0, 6, 60)) + 0.01 * np.ones((60, 60))
    product, calls = counted(matrix)
    inverse = np.diag(1.0 / np.diag(matrix))
    options = {"M": form(inverse), "rtol": 1e-10}
    solve = linear.get_cg_solver(product, 60, options)
    calls.clear()
    found = solve(np.ones(60))
    assert len(calls) < 10
    np.testing.assert_allclose(found, np.linalg.solve(matrix, np.ones(60)), rtol=1e-8)
    assert options.keys() == {"M", "rtol"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"atol": 1e-8}, TypeError, "atol"),
        ({"x0": np.ones(6)}, TypeError, "x0"),
        ({"callback": print}, TypeError, "callback"),
        ({"tolerance": 1e-8}, TypeError, "tolerance"),
        ({"tol": 1e-8, "rtol": 1e-8}, TypeError, "rtol"),
        ({"rtol": 2.0}, ValueError, "rtol"),
        ({"maxiter": 0}, ValueError, "maxiter"),
        ({"M": np.eye(5)}, ShapeError, "M"),
        ({"M": -np.eye(6)}, NotPositiveDefiniteError, "preconditioner"),
    ],
)
def test_options_of_conjugate_gradients_that_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        cg(DEFINITE, **options)


@pytest.mark.parametrize(("dim", "options"), [(2.5, None), (True, None), (2, 1e-8), (2, [])])
def test_arguments_of_conjugate_gradients_of_another_kind(dim, options):
    with pytest.raises(TypeError):
        linear.get_cg_solver(lambda v: v, dim, options)


SIZED = np.diag([1.0, 2.0, 3.0])


@pytest.mark.parametrize("dim", [1, 2, 4])
@pytest.mark.parametrize(
    "product",
    [
        SIZED.__matmul__,
        lambda v: np.dot(SIZED, v),
        lambda v: np.diag(SIZED) * v,
        lambda v: np.einsum("ij,j->i", SIZED, v),
        lambda v: np.reshape(v, (3, 1))[:, 0],
        lambda v: np.array([v[0], v[1], v[2]]),
        scipy.sparse.csr_array(SIZED).__matmul__,
        scipy.sparse.linalg.aslinearoperator(SIZED),
    ],
)
def test_a_wrong_dim_of_conjugate_gradients_is_named(product, dim):
    with pytest.raises(ShapeError, match=f"dim={dim} must be"):
        linear.get_cg_solver(product, dim)
    np.testing.assert_allclose(linear.get_cg_solver(product, 3)(product(np.ones(3))), np.ones(3), rtol=1e-11)


def test_other_errors_of_products_are_left_alone():
    def broken(v):
        raise ValueError("no licence")

    with pytest.raises(ValueError, match="^no licence$"):
        linear.get_cg_solver(broken, 3)


@pytest.mark.parametrize("maker", MAKERS)
def test_complex_right_hand_sides_are_refused(maker):
    with pytest.raises(TypeError, match="complex"):
        MAKERS[maker](DEFINITE)(1j * V)


def test_solver_functions_serve_the_approximations():
    for maker in MAKERS.values():
        solver = maker(np.diag([2.0, 3.0]))
        approximation = EstimatingEquationLinearApproximation(
            lambda x, h: np.array([2.0, 3.0]) * x - h, np.zeros(2), np.zeros(2), solver
        )
        np.testing.assert_allclose(approximation.get_dinput_dhyper(), np.diag([1 / 2, 1 / 3]), atol=1e-11)
        assert approximation.hess_solver() == solver  # and not a function around it


def test_an_optimum_to_the_last_bit_is_one_whatever_the_units_of_the_objective():
    def objective(z, h):
        return 0.5e20 * anp.sum((z - h) ** 2)

    def approximation(z):
        return vn.HyperparameterSensitivityLinearApproximation(objective, z, np.ones(3), validate_optimum=True)

    found = approximation(np.full(3, np.nextafter(1.0, 2.0))).predict_opt_par_from_hyper_par(np.full(3, 2.0))
    np.testing.assert_allclose(found, 2.0, rtol=1e-15)
    with pytest.raises(NotASolutionError):
        approximation(np.full(3, 1.0 + 1e-12))
