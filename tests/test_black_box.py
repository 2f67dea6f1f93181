"""Expansions of black boxes: against closed forms and exact solutions; their error estimates against true errors."""

import math

import autograd.numpy as anp
import mpmath
import numpy as np
import pytest
from problems import MODELS
from scipy.integrate import quad
from scipy.optimize import brentq, root

import vittles_ng as vn
from vittles_ng import errors
from vittles_ng.finite_differences import CentralDifferences, RandomDirections
from vittles_ng.finite_differences.recorded import differenced
from vittles_ng.taylor.recorded import Recorded

from_black_box = vn.ParametricSensitivityTaylorExpansion.from_black_box


def generator(seed=0):
    return np.random.default_rng(seed)


def lambert(order, **options):
    return from_black_box(lambda x, eps: [x[0] * math.exp(x[0]) - eps[0]], [1.0], [math.e], order, **options)


def noisy(sigma, seed=0):
    """exp(x) + x y = e1, y - x^2 / 2 = e2 at x = 0 with fresh noise in every call; the exact solution."""
    rng = generator(seed)

    def equation(x, eps):
        exact = np.array([math.exp(x[0]) + x[0] * x[1] - eps[0], x[1] - x[0] ** 2 / 2 - eps[1]])
        return exact + sigma * rng.standard_normal(2)

    def exact(eps):
        x = brentq(lambda x: math.exp(x) + x * (x**2 / 2 + eps[1]) - eps[0], -1, 1, xtol=1e-15)
        return np.array([x, x**2 / 2 + eps[1]])

    return equation, np.array([0.0, 0.3]), np.array([1.0, 0.3]), exact


@pytest.mark.parametrize("name", MODELS)
def test_series_of_the_shared_models(name):
    model = MODELS[name]
    expansion = from_black_box(model.equation, model.input_val0, model.hyper_val0, 3)
    new = model.hyper_val0 + 0.5 * model.step
    terms, exact = expansion.evaluate_taylor_series_terms(new), model.exact(new)
    engine = model.expand(3).evaluate_taylor_series_terms(new)
    change = np.max(abs(engine[1]))
    found = expansion.refit(new, tol=1e-3)
    assert np.max(abs(terms - engine)) < 1e-6 * change
    assert (
        found.trusted and np.array_equal(found.value, terms.sum(axis=0)) or np.allclose(found.value, terms.sum(axis=0))
    )
    assert np.max(abs(found.value - exact)) <= 2.0 * np.max(found.error_estimate)
    assert "differences contribute" in found.message and "noise of the equation" in found.message


def test_terms_against_lamberts_function():
    order, h = 3, 0.1
    with mpmath.workdps(30):
        w = mpmath.taylor(lambda z: mpmath.lambertw(z), mpmath.e, order)
    terms = lambert(order).evaluate_taylor_series_terms([math.e + h])
    assert np.allclose(terms[:, 0], [float(c) * h**k for k, c in enumerate(w)], rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_error_falls_with_the_power_of_the_order(order):
    expansion = lambert(order)
    steps = np.array([0.8, 0.4, 0.2, 0.1])
    exact = [float(mpmath.lambertw(math.e + h).real) for h in steps]
    off = abs(expansion.evaluate_taylor_series(math.e + steps[:, None])[:, 0] - exact)
    slopes = -np.diff(np.log2(off))
    assert abs(slopes[-1] - (order + 1)) < 0.25


def test_derivative_tensors_functionals_and_paths():
    def equation(x, h):
        return [x[0] - h[0] * h[1] ** 2]

    expansion = from_black_box(equation, [4.0], [1.0, 2.0], 3)
    assert np.allclose(expansion.derivative_tensor(1), [[4.0, 4.0]], atol=1e-8)
    assert np.allclose(expansion.derivative_tensor(2), [[[0.0, 4.0], [4.0, 2.0]]], atol=1e-6)
    third = np.zeros((1, 2, 2, 2))
    third[0, 0, 1, 1] = third[0, 1, 0, 1] = third[0, 1, 1, 0] = 2.0
    assert np.allclose(expansion.derivative_tensor(3), third, atol=1e-5)
    functional = expansion.functional(lambda x, h: anp.log(x[0]))
    assert np.allclose(functional.gradient(), [1.0, 1.0], atol=1e-8)
    path = vn.follow_path(lambert(3), np.array([[3.0], [6.0]]), tol=1e-5, order=3)
    exact = [float(mpmath.lambertw(h).real) for h in (3.0, 6.0)]
    assert np.max(abs(path.values[:, 0] - exact)) < 2e-5


def test_a_black_box_that_integrates_and_branches():
    """E exp(-u x) over a uniform u equals eps: by quadrature, with an early return, which no tracer follows."""

    def mean(x):
        if abs(x) < 1e-12:
            return 1.0
        return quad(lambda u: math.exp(-u * x), 0.0, 1.0, epsabs=1e-13)[0]

    def exact(eps):
        return brentq(lambda x: -math.expm1(-x) / x - eps, 0.1, 9.0, xtol=1e-15)

    expansion = from_black_box(lambda x, eps: np.array([mean(float(x[0])) - eps[0]]), [exact(0.5)], [0.5], 3)
    for new in (0.52, 0.45):
        found = expansion.refit([new], tol=1e-2)
        assert found.trusted and abs(found.value[0] - exact(new)) <= 1.5 * found.error_estimate[0]
        polished = expansion.refit([new], tol=1e-8, polish=True)
        assert polished.trusted and abs(polished.value[0] - exact(new)) < 1e-11


def test_close_to_where_it_is_not_defined():
    """math.log raises; steps that leave the domain are shortened."""
    expansion = from_black_box(lambda x, e: [math.log(x[0]) - math.log(e[0])], [1e-3], [1e-3], 3)
    terms = expansion.evaluate_taylor_series_terms([1.1e-3])
    assert np.allclose(terms[:, 0], [1e-3, 1e-4, 0.0, 0.0], rtol=1e-6, atol=1e-10)
    with pytest.raises(errors.NonFiniteError, match="not defined close to the base point, ValueError"):
        from_black_box(lambda x, e: [math.sqrt(1.0 - x[0] * e[0])], [1.0], [1.0], 1)


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e8, 1e-8), (1e-8, 1e8), (1e8, 1e8), (1e-30, 1e30)])
def test_units_of_the_equations_change_nothing(units):
    """x0^2 = h, x1^3 = h x0: once, what units left of the Jacobian's asymmetry was taken for rounding."""

    def equation(x, h):
        return [units[0] * (x[0] ** 2 - h[0]), units[1] * (x[1] ** 3 - h[0] * x[0])]

    expansion = from_black_box(equation, [2.0, 2.0], [4.0], 3)
    found = expansion.refit([4.04], tol=1e-6)
    assert found.trusted and np.max(abs(found.value - math.sqrt(4.04))) <= 1.5 * np.max(found.error_estimate) < 1e-8


@pytest.mark.parametrize("units", [(1e8, 1e-8), (1e-8, 1e8), (1.0, 1e-8)])
def test_units_of_the_inputs(units):
    def equation(x, h):
        a, b = x[0] / units[0], x[1] / units[1]
        return [a**2 - h[0], b**3 - h[0] * a]

    expansion = from_black_box(equation, 2.0 * np.array(units), [4.0], 3)
    assert np.allclose(expansion.evaluate_taylor_series([4.04]) / units, math.sqrt(4.04), rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_an_equation_in_small_units_is_not_lost_in_the_noise_of_another(order):
    expansion = from_black_box(
        lambda x, eps: np.array([1e-8 * (math.exp(x[0]) - eps[0]), 1e6 * (x[1] - eps[0])]),
        [0.0, 1.0],
        [1.0],
        order,
        differences=CentralDifferences(noise=[1e-24, 1e-2]),
    )
    found = expansion.refit([1.1], tol=1e-4)
    assert not found.trusted
    assert found.error_estimate[0] > 0.5 * abs(found.value[0] - math.log(1.1))


def test_an_input_in_small_units_polished_beside_a_noisy_one():
    expansion = from_black_box(
        lambda x, eps: np.array([math.exp(1e4 * x[0]) - eps[0], x[1] - eps[0]]),
        [0.0, 1.0],
        [1.0],
        2,
        differences=CentralDifferences(noise=[1e-16, 1e-9]),
    )
    found = expansion.refit([1.1], polish=True)
    errors_made = np.abs(found.value - [1e-4 * math.log(1.1), 1.1])
    assert found.trusted
    assert np.all(errors_made <= found.error_estimate)
    assert found.error_estimate[0] < 1e-15


def test_values_of_another_shape_close_by():
    with pytest.raises(errors.ShapeError, match="2 values for 1 inputs"):
        from_black_box(lambda x, eps: np.zeros(1 if x[0] == 1.0 else 2), [1.0], [1.0], 1)


def test_refits_cover_their_errors_over_random_equations():
    """Equations of random size in random units, with noise or without: true errors against estimates."""
    ratios, polished = [], []
    for seed in range(24):
        rng = generator(seed)
        n, sigma = rng.integers(1, 5), [0.0, 1e-8, 1e-4][seed % 3]
        a, rate = rng.standard_normal((n, n)) + 4.0 * np.eye(n), 10 ** rng.uniform(-1, 1, n)
        units, x0, v = 10 ** rng.uniform(-6, 6, n), rng.standard_normal(n), rng.standard_normal(n)

        def smooth(x, a=a, rate=rate):
            return a @ x + 0.5 * np.sin(rate * x) / rate + 0.3 * x**3

        offset = smooth(x0)

        def remainder(x, h, smooth=smooth, offset=offset, v=v):
            return smooth(x) - offset - np.tanh(h) * v

        def equation(x, h, remainder=remainder, units=units, sigma=sigma, rng=rng):
            return units * (remainder(x, h[0]) + sigma * rng.standard_normal(x.size))

        given = CentralDifferences(noise=sigma * units) if sigma else None
        expansion = from_black_box(equation, x0, [0.0], 3, optimum_tol=1e-8 + 100 * sigma, differences=given)
        exact = root(remainder, x0, args=(0.1,), tol=1e-14).x
        for polish, kept in ((False, ratios), (True, polished)):
            found = expansion.refit([0.1], tol=1.0, polish=polish)
            kept.append(max(np.max(abs(found.value - exact)) - 1e-13, 0.0) / np.max(found.error_estimate))
    assert np.max(ratios) < 1.5 and np.max(polished) < 3.0 and np.median(ratios) > 0.01


@pytest.mark.parametrize("differences", [None, RandomDirections(200, np.random.default_rng(0))])
def test_saved_and_loaded(tmp_path, differences):
    """The series without the equation: by tensors, and along directions."""

    def equation(x, h):
        return [x[0] - h[0] * h[1] ** 2, x[1] - math.sin(h[0])]

    expansion = from_black_box(equation, [4.0, math.sin(1.0)], [1.0, 2.0], 3, differences=differences)
    new, direction = np.array([1.1, 2.1]), np.array([1.0, 1.0])
    expected = expansion.evaluate_taylor_series(new)
    for options in ({}, {"directions": direction[None]}):
        expansion.save(tmp_path / "box.npz", **options)
        before = expansion.n_calls
        loaded = vn.load(tmp_path / "box.npz")
        assert np.allclose(loaded.evaluate_taylor_series(new), expected, rtol=1e-6, atol=1e-9)
        assert expansion.n_calls == before
    exact = [1.1 * 2.1**2, math.sin(1.1)]
    assert differences is not None or np.allclose(expected, exact, atol=1e-5)


# ---- the verdict ----


def test_polished_and_what_it_cost():
    calls = []
    expansion = from_black_box(lambda x, e: calls.append(1) or [x[0] * math.exp(x[0]) - e[0]], [1.0], [math.e], 2)
    assert expansion.n_calls == len(calls)
    before = len(calls)
    series = expansion.refit([3.5])
    spent = len(calls) - before
    polished = expansion.refit([3.5], polish=True)
    assert len(calls) == expansion.n_calls == before + spent + 2 + polished.n_polish  # the series is kept
    exact = float(mpmath.lambertw(3.5).real)
    assert series.n_polish == 0 and 0 < polished.n_polish < 30 and polished.trusted
    assert abs(polished.value[0] - exact) < 1e-12 < abs(series.value[0] - exact)
    assert "polished" in polished.message and "differences" not in polished.message


def test_the_errors_of_the_differences_are_in_the_estimate():
    """A step so short that the series' truncation is nothing beside the noise of the differences."""
    equation, x0, h0, exact = noisy(1e-7)
    expansion = from_black_box(equation, x0, h0, 3, optimum_tol=1e-5)
    new = h0 + np.array([1e-2, -1e-2])
    found = expansion.refit(new, tol=1e-4)
    assert found.trusted
    assert np.all(abs(found.value - exact(new)) <= found.error_estimate)
    assert np.max(found.error_estimate) < 1e-4
    assert not expansion.refit(new, tol=1e-9).trusted and "> tol" in expansion.refit(new, tol=1e-9).message


@pytest.mark.parametrize("sigma", [1e-9, 1e-6, 1e-4])
def test_estimates_cover_noise(sigma):
    covered, n = 0, 12
    for seed in range(n):
        equation, x0, h0, exact = noisy(sigma, seed)
        expansion = from_black_box(equation, x0, h0, 3, differences=CentralDifferences(noise=sigma))
        new = h0 + np.array([0.05, -0.05])
        found = expansion.refit(new, tol=1.0)
        covered += bool(np.all(abs(found.value - exact(new)) <= 1.5 * found.error_estimate))
        polished = expansion.refit(new, tol=20.0 * sigma, polish=True)
        assert polished.trusted and "to the noise" in polished.message
        assert np.all(abs(polished.value - exact(new)) <= polished.error_estimate)
    assert covered >= n - 1


def test_noise_that_was_not_told():
    equation, x0, h0, _ = noisy(1e-4)
    with pytest.raises(errors.NonSmoothError, match="noise above the 1.0e-09 assumed"):
        from_black_box(equation, x0, h0, 2, differences=CentralDifferences(noise=1e-9), optimum_tol=1e-2)


def test_a_batch_has_the_rows_of_its_steps():
    expansion = lambert(3)
    new = np.array([[math.e], [3.0], [3.2]])
    batch = expansion.refit(new)
    assert batch.value.shape == (3, 1) and batch.trusted.dtype == bool and batch.trusted[0]
    for i in (1, 2):
        one = expansion.refit(new[i])
        assert np.allclose(batch.value[i], one.value) and batch.trusted[i] == one.trusted
        assert np.allclose(batch.error_estimate[i], one.error_estimate, rtol=1e-6)
    assert expansion.refit(np.empty((0, 1))).value.shape == (0, 1)
    assert np.array_equal(expansion.refit(math.e).value, [1.0])


def test_steps_on_one_line_share_one_series():
    expansion = lambert(3)
    before = expansion.n_calls
    expansion.refit([[3.0]])
    one = expansion.n_calls - before
    found = expansion.refit(np.linspace(2.3, 3.2, 11)[:, None])  # on both sides of e
    assert expansion.n_calls - before - one == 11 * 2
    exact = np.array([brentq(lambda x, eps=eps: x * math.exp(x) - eps, 0, 2) for eps in np.linspace(2.3, 3.2, 11)])
    assert np.all(np.abs(found.value[:, 0] - exact) <= 1.5 * found.error_estimate[:, 0])


def test_rows_without_a_series_are_marked():
    """|h1| has no derivative at zero, along h0 there is nothing to it."""
    expansion = from_black_box(lambda x, h: [x[0] - h[0] ** 2 - abs(h[1])], [1.0], [1.0, 0.0], 2)
    batch = expansion.refit([[1.1, 0.0], [1.0, 0.1]], tol=1e-6)
    assert batch.trusted.tolist() == [True, False]
    assert np.allclose(batch.value[0], 1.21) and np.all(np.isnan(batch.value[1])) and "kink" in batch.message[1]
    with pytest.raises(errors.NonSmoothError, match="kink"):
        expansion.refit([1.0, 0.1])


# ---- options ----


def test_a_hess_solver_saves_the_columns():
    h = MODELS["logistic"]
    given = np.linalg.inv(np.array([h.expand(1)._problem.jacobian_product(e) for e in np.eye(3)]).T)
    ways = [from_black_box(h.equation, h.input_val0, h.hyper_val0, 2, hess_solver=s) for s in (None, given.__matmul__)]
    values = [way.evaluate_taylor_series(h.hyper_val0 + h.step) for way in ways]
    assert np.allclose(*values, rtol=1e-9) and ways[1].n_calls < ways[0].n_calls
    with pytest.raises(errors.SolveFailed):
        from_black_box(h.equation, h.input_val0, h.hyper_val0, 2, hess_solver=lambda v: 1.001 * given @ v)


def test_rtol_saves_calls_for_accuracy():
    def calls_and_error(rtol):
        expansion = lambert(3, differences=CentralDifferences(rtol=rtol))
        terms = expansion.evaluate_taylor_series_terms([math.e + 1.0])
        exact = [float(c) for c in mpmath.taylor(lambda z: mpmath.lambertw(z), mpmath.e, 3)]
        return expansion.n_calls, np.max(abs(terms[:, 0] - exact))

    few, rough = calls_and_error(1e-2)
    many, fine = calls_and_error(1e-10)
    assert few < many and rough > fine and rough < 1e-2


def test_nested_inputs_and_hypers():
    def equation(p, h):
        return {"a": p["a"] - h["s"] * np.array([1.0, 2.0]), "b": np.exp(p["b"]) - h["s"] - np.sum(p["a"])}

    p0 = {"a": np.array([1.0, 2.0]), "b": np.array([math.log(4.0)])}
    expansion = from_black_box(equation, p0, {"s": 1.0}, 2)
    found = expansion.refit({"s": 1.01}, tol=1e-4)
    assert found.trusted and np.allclose(found.value, [1.01, 2.02, math.log(4.04)], atol=1e-6)


def test_callers_arrays_stay_as_they_are():
    x0, h0 = np.array([1.0]), np.array([math.e])

    def writes(x, eps):
        value = np.array([x[0] * math.exp(x[0]) - eps[0]])
        x[:] = eps[:] = np.nan
        return value

    expansion = from_black_box(writes, x0, h0, 3)
    assert abs(expansion.evaluate_taylor_series([3.0])[0] - 1.0499) < 1e-4
    assert x0 == 1.0 and h0 == math.e


BAD = {
    "not a solution": (lambda x, e: [x[0] - e[0] + 1e-3], {}, errors.NotASolutionError, "Newton step"),
    "independent of the input": (lambda x, e: [e[0] - 1.0], {}, errors.IndependentError, "input_val0"),
    "independent of the hyper": (lambda x, e: [x[0] - 1.0], {}, errors.IndependentError, "hyper_val0"),
    "NaN": (lambda x, e: [math.nan], {}, errors.NonFiniteError, "base point"),
    "at an edge": (lambda x, e: [math.sqrt(x[0] - 1.0) - (e[0] - 1.0)], {}, errors.NonFiniteError, "base point"),
    "a kink": (lambda x, e: [abs(x[0] - 1.0) + x[0] - e[0]], {}, errors.NonSmoothError, "kink"),
    "a jump": (lambda x, e: [x[0] - e[0] + 0.1 * (x[0] > 1.0)], {}, errors.NonSmoothError, "jumps"),
    "singular": (lambda x, e: [(x[0] - 1.0) ** 3 - (e[0] - 1.0)], {}, errors.SingularError, "singular"),
    "another shape": (lambda x, e: [x[0] - e[0], 0.0], {}, errors.ShapeError, "2 values for 1 inputs"),
    "noise of another size": (
        lambda x, e: [x[0] - e[0]],
        {"differences": CentralDifferences(noise=[1e-3, 1e-3])},
        errors.ShapeError,
        "noise of 2 components",
    ),
    "complex": (lambda x, e: np.array([1j * (x[0] - e[0])]), {}, TypeError, "complex"),
    "order 4": (lambda x, e: [x[0] - e[0]], {"order": 4}, ValueError, "orders 1 to 3"),
    "order 0": (lambda x, e: [x[0] - e[0]], {"order": 0}, ValueError, "at least 1"),
    "no function": (3.0, {}, TypeError, "float"),
    "no options": (lambda x, e: [x[0] - e[0]], {"differences": "central"}, TypeError, "CentralDifferences"),
    "a tolerance of zero": (lambda x, e: [x[0] - e[0]], {"optimum_tol": 0.0}, ValueError, "optimum_tol"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name):
    equation, options, error, text = BAD[name]
    with pytest.raises(error, match=text):
        from_black_box(equation, [1.0], [1.0], **{"order": 2, **options})


def test_no_objective():
    with pytest.raises(TypeError, match="gradient"):
        lambert(1).optimization_objective(lambda x, h: 0.0, [1.0], [1.0], 1)


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda: CentralDifferences(noise=-1.0), ValueError),
        (lambda: CentralDifferences(noise=np.nan), ValueError),
        (lambda: CentralDifferences(rtol=0.0), ValueError),
        (lambda: RandomDirections(1, generator()), ValueError),
        (lambda: RandomDirections(True, generator()), TypeError),
        (lambda: RandomDirections(10, 7), TypeError),
        (lambda: RandomDirections(10, generator(), step=0.0), ValueError),
        (lambda: RandomDirections(10, generator(), rtol=2.0), ValueError),
    ],
)
def test_options_refused(make, error):
    with pytest.raises(error):
        make()


# ---- the interface of the tape ----


def tape_like(x, h):
    a = anp.array([[1.0, 0.5, -0.2], [0.3, 2.0, 0.1]])
    return anp.dot(a, anp.exp(0.3 * x)) * anp.sin(h[0]) + h[1] ** 2 * x[0] * x[1] + anp.array([0.0, 1.0])


BASE = (np.array([0.2, -0.4, 0.7]), np.array([0.9, 1.3]))


def both(options=None):
    return Recorded(tape_like, BASE, corrected=0), differenced(tape_like, BASE, options or CentralDifferences())


def coefficients(recorded, n_steps=3):
    """Three orders with corrections, as the recursion asks for them."""
    rng = generator(4)
    direction, given = rng.standard_normal((n_steps, 2)), rng.standard_normal((3, n_steps, 3))
    replay, found = recorded.start(n_steps), []
    for k in range(3):
        (c,) = replay.coefficient([None, direction if k == 0 else None])
        found.append(np.array(c))
        replay.correct(given[k])
    return np.array(found), replay


def test_interface_agrees_with_the_tape():
    tape, box = both()
    assert np.array_equal(tape.values[0], box.values[0]) and not box.can_log and box.size == 5
    assert box.depends_on(0) and box.depends_on(1)
    expected, found = coefficients(tape)[0], coefficients(box)
    assert np.allclose(found[0], expected, rtol=1e-7, atol=1e-9)
    for k, (truncation, noise) in enumerate(found[1].errors):
        assert np.all(abs(found[0][k] - expected[k]) <= 5.0 * (abs(truncation) + 3.0 * noise) + 1e-13)
    v = generator().standard_normal((4, 3))
    assert np.allclose(box.products(0, v), tape.products(0, v), rtol=1e-8)
    assert np.allclose(box.pushed(1, v[:, :2]), tape.pushed(1, v[:, :2]), rtol=1e-8)
    x, h = v[:, :3], v[:, :2]
    assert np.allclose(box.start(4).coefficient([x, h]), tape.start(4).coefficient([x, h]), rtol=1e-8)
    with pytest.raises(ValueError, match="order 4"):
        found[1].coefficient([None, None])


def test_zero_directions_and_order():
    _, box = both()
    replay = box.start(2)
    assert replay.order == 0
    (c,) = replay.coefficient([None, np.array([[0.0, 0.0], [1.0, 0.0]])])
    assert replay.order == 1 and np.array_equal(c[0], [0.0, 0.0]) and c[1].any()


def test_random_directions_estimate_the_same_within_their_errors():
    """Averaged over a small neighbourhood: bias below the errors, whose size is checked by their spread."""
    tape, _ = both()
    expected, scores = coefficients(tape)[0], []
    for seed in range(5):
        box = differenced(tape_like, BASE, RandomDirections(2000, generator(seed), step=0.02))
        before = box.n_evaluations
        found, replay = coefficients(box)
        assert box.n_evaluations == before  # answered from the pairs made at the start
        scores.append([(found[k] - expected[k]) / replay.errors[k][1] for k in range(3)])
    scores = np.array(scores)
    assert np.max(abs(scores)) < 5.0
    spread = np.sqrt(np.mean(scores**2, axis=(0, 2, 3)))
    assert np.all((spread > 0.6) & (spread < 1.5))


def test_error_of_random_directions_falls_with_their_number():
    sizes = []
    for n in (250, 4000):
        box = differenced(tape_like, BASE, RandomDirections(n, generator(1), step=0.1))
        sizes.append([np.mean(noise) for _, noise in coefficients(box)[1].errors])
    ratio = np.array(sizes[0]) / sizes[1]
    assert np.all(ratio > 2.5)  # 4, more at order 3, where the linear part is known better, too


def test_an_expansion_by_random_directions_knows_how_bad_it_is():
    model = MODELS["logistic"]
    expansion = from_black_box(
        model.equation,
        model.input_val0,
        model.hyper_val0,
        2,
        differences=RandomDirections(500, generator(2), step=0.05),
    )
    new = model.hyper_val0 + 0.2 * model.step
    calls = expansion.n_calls
    expansion.evaluate_taylor_series(model.hyper_val0 + generator().standard_normal((20, len(model.step))))
    assert expansion.n_calls == calls
    found, exact = expansion.refit(new), model.exact(new)
    off = abs(found.value - exact)
    assert np.all(off <= 1.5 * found.error_estimate) and np.max(off) > 1e-6 and not found.trusted
    polished = expansion.refit(new, polish=True)
    assert polished.trusted and np.max(abs(polished.value - exact)) < 1e-11 and polished.n_polish < 100
