"""The jackknife's core: what it takes and refuses, approximate and exact refits, labelled results."""

import copy
import pickle

import autograd.numpy as anp
import numpy as np
import pytest
from jackknife_models import MODELS, make, names, ols

import vittles_ng as vn
from vittles_ng.errors import (
    DataError,
    NonFiniteError,
    NotASolutionError,
    NotPositiveDefiniteError,
    ShapeError,
    SingularError,
)
from vittles_ng.jackknife import Refits

Y = np.array([1.0, 2.0, 6.0, 3.0])


def square(m, y):
    return 0.5 * (y - m) ** 2


def mean(y=Y, **options):
    weights = options.get("weights0")
    return vn.InfinitesimalJackknife(square, [np.average(y, weights=weights)], (y,), **options)


# ---- approximate refits ----


@pytest.mark.parametrize("order", [1, 2, 5])
def test_weighted_means_in_closed_form(order):
    """Along t d the mean is m + t d.r / (n + t sum(d)): a geometric series."""
    weights = np.random.default_rng(0).uniform(0.3, 2.0, (5, 4))
    d, residual = weights - 1.0, Y - Y.mean()
    ratio = -d.sum(axis=1) / 4
    expected = Y.mean() + d @ residual / 4 * sum(ratio**k for k in range(order))
    found = mean().reweight(weights, order)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-14)
    np.testing.assert_allclose(mean(order=order).reweight(weights[0]), expected[:1], rtol=1e-14)
    assert found.method == "series" and found.order == order and not found.failed.any()


@pytest.mark.parametrize("model", MODELS, ids=names)
def test_small_changes_of_all_weights(model):
    jackknife = model.jackknife(3)
    rng = np.random.default_rng(1)
    weights = model.weights * rng.uniform(0.95, 1.05, (3, model.n_obs))
    exact = np.array([model.exact(w, jackknife.input_val0) for w in weights])
    errors = [np.max(np.abs(jackknife.reweight(weights, order) - exact)) for order in (1, 3)]
    assert errors[1] < 1e-5 and errors[1] < 0.05 * errors[0]


def test_reweight_at_the_fit_is_the_fit():
    for model in MODELS:
        jackknife = model.jackknife()
        np.testing.assert_array_equal(jackknife.reweight(model.weights), jackknife.input_val0)
        assert jackknife.reweight(np.zeros((0, model.n_obs))).shape == (0, jackknife.n_input)


def test_nothing_to_fit():
    for method in (mean().reweight, mean().exact_refit):
        with pytest.raises(DataError, match="no observation has a weight"):
            method(np.zeros(4))
        with pytest.raises(DataError, match="no observation has a weight"):
            method(np.zeros((2, 4)))
    found = mean().reweight([[1, 1, 0, 0], [0, 0, 0, 0]])
    assert found.failed.tolist() == [False, True] and np.isnan(found[1, 0]) and np.isfinite(found[0, 0])


def test_terms_that_overflow_are_marked_in_a_batch():
    jackknife = mean(order=3)
    with pytest.raises(NonFiniteError, match="order"):
        jackknife.reweight([1e200, 1, 1, 1])
    found = jackknife.reweight([[1e200, 1, 1, 1], [1, 1, 1, 2]])
    assert found.failed.tolist() == [True, False]
    np.testing.assert_array_equal(found[1], jackknife.reweight([1, 1, 1, 2]))


# ---- exact refits ----


@pytest.mark.parametrize("model", MODELS, ids=names)
def test_exact_refits(model):
    jackknife = model.jackknife()
    rows = [[0, 3], [5], np.arange(6)]
    weights = np.array([model.without(r) for r in rows])
    found = jackknife.exact_refit(weights)
    exact = [model.exact(w, jackknife.input_val0) for w in weights]
    np.testing.assert_allclose(found.value, exact, rtol=0, atol=1e-10)
    assert found.trusted.all()
    one = jackknife.exact_refit(weights[0])
    np.testing.assert_allclose(one.value, exact[0], rtol=0, atol=1e-10)
    assert one.trusted


def test_exact_refits_mark_what_cannot_be_fitted():
    """Without rows 0 and 1 the classes are separated; without 2 a coefficient is not identified; nothing is left."""
    x = np.column_stack([np.ones(8), [1.0, -1.0, 0.5, -2.0, -1.5, 2.0, 1.5, 1.2]])
    labels = np.array([0.0, 1, 1, 0, 0, 1, 1, 1])
    model = make("logistic")
    logistic = vn.InfinitesimalJackknife(model.contributions, np.zeros(2), (x, labels), polish_optimum=True)
    weights = np.ones((3, 8))
    weights[0, :2] = 0
    weights[1] = 0
    found = logistic.exact_refit(weights)
    assert found.trusted.tolist() == [False, False, True]
    assert found.message[1].startswith("no observation has a weight") and np.isnan(found.value[1]).all()

    dummy = np.column_stack([np.ones(5), [0.0, 0, 1, 0, 0]])
    y = np.array([1.0, 2.0, 5.0, 3.0, 1.5])
    beta = np.linalg.lstsq(dummy, y, rcond=None)[0]
    least_squares = vn.InfinitesimalJackknife(lambda b, x, y: 0.5 * (y - x @ b) ** 2, beta, (dummy, y))
    normal = vn.InfinitesimalJackknife.from_estimating_equation(
        lambda b, x, y: x * (y - anp.dot(x, b))[:, None], beta, (dummy, y)
    )
    for jackknife in (least_squares, normal):
        found = jackknife.exact_refit(1.0 - np.eye(5)[[0, 2]])
        assert found.trusted.tolist() == [True, False], found.message
        assert not jackknife.exact_refit(1.0 - np.eye(5)[2]).trusted


def test_exact_refit_tolerance():
    with pytest.raises(ValueError, match="tol"):
        mean().exact_refit([1, 1, 1, 0], tol=-1.0)


# ---- what it takes ----


def test_a_single_array_is_data_of_one():
    assert vn.InfinitesimalJackknife(square, [3.0], Y).n_obs == 4


@pytest.mark.parametrize("kind", ["one", "two", "three", "any", "default"])
def test_penalties_of_every_kind(kind):
    """Posterior mean of a normal mean with a prior of precision s (times the sum of the weights)."""
    penalty, precision = {
        "one": (lambda m: 1.5 * anp.sum(m**2) / 2, lambda w: 1.5),
        "two": (lambda m, s: s * anp.sum(m**2) / 2, lambda w: 2.0),
        "three": (lambda m, s, total: s * total * anp.sum(m**2) / 2, lambda w: 2.0 * np.sum(w)),
        "any": (lambda *a: a[1] * a[2] * anp.sum(a[0] ** 2) / 2, lambda w: 2.0 * np.sum(w)),
        "default": (lambda m, s=1.0, other=3.0: s * other * anp.sum(m**2) / 2, lambda w: 6.0),
    }[kind]
    hyper = None if kind == "one" else 2.0

    def exact(w):
        return np.array([w @ Y / (np.sum(w) + precision(w))])

    jackknife = vn.InfinitesimalJackknife(square, exact(np.ones(4)), (Y,), penalty, hyper, order=1)
    for w in (np.array([1.0, 1.0, 0.0, 1.0]), np.array([2.0, 1.0, 0.5, 1.0])):
        np.testing.assert_allclose(jackknife.exact_refit(w).value, exact(w), rtol=1e-12)
        step = 1e-6
        slope = (exact(1 + step * (w - 1)) - exact(1 - step * (w - 1))) / (2 * step)
        np.testing.assert_allclose(jackknife.reweight(w) - jackknife.input_val0, slope, rtol=1e-8)
    newton = jackknife.leave_one_out(method="newton")
    np.testing.assert_allclose(newton, [exact(1 - e) for e in np.eye(4)], rtol=1e-12)


def test_nested_inputs_and_polishing():
    model = make("t regression")
    start = {"beta": model.fitted()["beta"] + 1e-3, "log_scale": model.fitted()["log_scale"]}
    with pytest.raises(NotASolutionError):
        vn.InfinitesimalJackknife(model.contributions, start, model.data)
    polished = vn.InfinitesimalJackknife(model.contributions, start, model.data, polish_optimum=True)
    np.testing.assert_allclose(polished.input_val0, model.exact(model.weights), rtol=0, atol=1e-12)
    loose = vn.InfinitesimalJackknife(model.contributions, start, model.data, optimum_tol=1.0)
    np.testing.assert_array_equal(loose.input_val0, np.r_[start["beta"], start["log_scale"]])
    np.testing.assert_allclose(
        polished.leave_one_out(), model.jackknife(groups=None).leave_one_out(), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("options", [{"solver": "lu"}, {"solver": "cg"}, {"sparsity": "auto"}])
def test_solvers(options):
    """A random intercept for each group, with its prior: a bordered block-diagonal Hessian."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(12), 5)
    y = rng.standard_normal(12)[group] + rng.standard_normal(60)
    indicator = np.eye(12)[group]

    def loss(theta, member, y):
        return 0.5 * (y - theta[0] - anp.dot(member, theta[1:])) ** 2

    def prior(theta):
        return 0.5 * anp.sum(theta[1:] ** 2)

    design = np.column_stack([np.ones(60), indicator])
    fit = np.linalg.solve(design.T @ design + np.diag(np.r_[0, np.ones(12)]), design.T @ y)
    dense = vn.InfinitesimalJackknife(loss, fit, (indicator, y), prior, groups=group)
    other = vn.InfinitesimalJackknife(loss, fit, (indicator, y), prior, groups=group, **options)
    assert other.expansion.solver.description != dense.expansion.solver.description
    for arguments in ({"by": "series"}, {"order": 1, "by": "tensors"}, {"by": "tensors"}, {"method": "newton"}):
        expected = dense.leave_one_out(**arguments)
        np.testing.assert_allclose(other.leave_one_out(**arguments), expected, rtol=0, atol=1e-9)
    kept = group != 4
    exact = np.linalg.solve(design[kept].T @ design[kept] + np.diag(np.r_[0, np.ones(12)]), design[kept].T @ y[kept])
    np.testing.assert_allclose(other.leave_one_out(method="newton")[4], exact, rtol=0, atol=1e-9)


def test_the_callers_arrays_stay_and_may_change():
    weights0, groups, y = np.ones(4), np.array([0, 0, 1, 1]), Y.copy()
    jackknife = mean(weights0=weights0, groups=groups)
    expected = jackknife.leave_one_out()
    weights0[0] = groups[0] = 7
    np.testing.assert_array_equal(jackknife.leave_one_out(), expected)
    weights = np.array([[1.0, 0.0, 1.0, 1.0]])
    kept = weights.copy()
    jackknife.reweight(weights)
    jackknife.exact_refit(weights)
    np.testing.assert_array_equal(weights, kept)

    def writes(m, y):
        y[0] = 0.0
        return 0.5 * (y - m) ** 2

    with pytest.raises(ValueError, match="read-only"):
        vn.InfinitesimalJackknife(writes, [3.0], (y,))
    assert y.flags.writeable


# ---- what it refuses ----


@pytest.mark.parametrize(
    ("weights", "error", "match"),
    [
        ([1, 1, -0.5, 1], DataError, "1 of 4 weights are negative.*-0.5 of observation 2"),
        ([[1, 1, 1, 1], [1, -1, 1, -2]], DataError, "2 of 8 .*observation 1 of set 1"),
        ([1, 1, np.nan, 1], NonFiniteError, "NaN or infinite.*observation 2"),
        ([[1, 1, 1, np.inf]], NonFiniteError, "observation 3 of set 0"),
        ([1, 1, 1], ShapeError, r"shape \(3,\)"),
        (np.ones((2, 3)), ShapeError, r"\(2, 3\)"),
        (np.ones((1, 2, 4)), ShapeError, r"\(1, 2, 4\)"),
        (1.0, ShapeError, r"\(\)"),
        (["a"] * 4, TypeError, "real numbers"),
        ([1j] * 4, TypeError, "complex"),
    ],
)
def test_bad_weights(weights, error, match):
    for method in (mean().reweight, mean().exact_refit):
        with pytest.raises(error, match=match):
            method(weights)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"weights0": [1, 1, -1, 1]}, DataError, "weights0 are negative"),
        ({"weights0": np.ones(3)}, ShapeError, "weights0 has shape"),
        ({"weights0": np.ones((2, 4))}, ShapeError, "those of the fit"),
        ({"weights0": np.zeros(4)}, DataError, "all weights0 are zero"),
        ({"groups": [0, 1]}, ShapeError, "groups has shape"),
        ({"groups": [0, 0, 0, 0]}, DataError, "one group"),
        ({"groups": [0, 1, np.nan, 1]}, NonFiniteError, "missing.*observation 2"),
        ({"groups": np.array(["a", None, "b", "b"], object)}, NonFiniteError, "observation 1"),
        ({"groups": np.array(["a", 1, "b", "b"], object)}, DataError, r"types \['int', 'str'\]"),
        ({"order": 0}, ValueError, "order"),
        ({"order": 1.5}, TypeError, "order"),
        ({"parameter_names": ["a", "b"]}, ShapeError, "parameter_names has 2"),
        ({"observation_names": ["a"]}, ShapeError, "observation_names has 1"),
        ({"penalty": 3.0}, TypeError, "penalty must be a function"),
        ({"penalty": lambda: 0.0}, TypeError, "penalty takes 0"),
        ({"penalty": lambda a, b, c, d: 0.0}, TypeError, "penalty takes 4"),
        ({"penalty": lambda m: anp.sum(m**2), "hyper": 1.0}, TypeError, "takes the input alone"),
        ({"hyper": 1.0}, TypeError, "no penalty"),
        ({"solver": "magic"}, ValueError, "'magic'"),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        vn.InfinitesimalJackknife(square, [Y.mean()], (Y,), **options)


@pytest.mark.parametrize(
    ("loss", "error", "match"),
    [
        (lambda m, y: 0.5 * (y - anp.mean(y) - m + 3.0) ** 2, DataError, "mixes rows"),
        (lambda m, y: 0.5 * (y - m) ** 2 / len(y), DataError, "mixes rows"),
        (lambda m, y: 0.5 * (y - m) ** 2 + 0.0 * y + anp.arange(len(y)), DataError, "mixes rows"),
        (lambda m, y: (y - m) ** 2 + anp.sum(m**2) * (y - anp.mean(y)), DataError, "mixes rows"),
        (lambda m, y: anp.sum((y - m) ** 2), ShapeError, r"shape \(\)"),
        (lambda m, y: (y - m)[:, None] ** 2, ShapeError, r"shape \(4, 1\)"),
        (lambda m, y: -((y - m) ** 2), NotPositiveDefiniteError, "not positive definite"),
        (lambda m, y: (y - m + 1.0) ** 2, NotASolutionError, "decrement|re-optimise"),
        (3.0, TypeError, "loss must be a function"),
    ],
)
def test_bad_losses(loss, error, match):
    with pytest.raises(error, match=match):
        vn.InfinitesimalJackknife(loss, [3.0], (Y,))


def test_mixing_that_the_fit_hides():
    """The slope is zero, and so is all that centring by the mean does there."""
    x = np.array([1.0, 2.0, 3.0, 5.0])
    with pytest.raises(DataError, match="mixes rows"):
        vn.InfinitesimalJackknife(lambda b, x: (b[0] * (x - anp.mean(x))) ** 2, [0.0], (x,))


def test_two_rows_are_enough_to_find_mixing():
    with pytest.raises(DataError, match="mixes rows"):
        vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2 / len(y), [1.5], (Y[:2],))


def test_bad_equations():
    equation = vn.InfinitesimalJackknife.from_estimating_equation
    with pytest.raises(ShapeError, match=r"\(4,\) for 4 observations: \(4, 1\)"):
        equation(lambda m, y: y - m, [3.0], (Y,))
    with pytest.raises(DataError, match="the g mixes rows"):
        equation(lambda m, y: (y - anp.mean(y) - m + 3.0)[:, None], [3.0], (Y,))
    with pytest.raises(SingularError):
        equation(lambda m, y: anp.stack([y - m[0], 2.0 * (y - m[0]) + 0.0 * m[1]], axis=1), [3.0, 0.0], (Y,))


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        ((np.array([1.0, np.nan, 3.0]),), NonFiniteError, "1 of 3 observations.*observation 1"),
        ((Y, Y[:3]), ShapeError, r"\[\(4,\), \(3,\)\]"),
        ((Y, 1.0), ShapeError, "one row per observation"),
        ((np.zeros(0),), ShapeError, "no observations"),
        ((), ShapeError, "one row per observation"),
        (([[1.0], [2.0, 3.0]],), ShapeError, r"data\[0\] is no array"),
        ((np.array([[1.0, "a"], [2.0, "b"]], dtype=object),), DataError, r"types \['float', 'str'\]"),
    ],
)
def test_bad_data(data, error, match):
    with pytest.raises(error, match=match):
        vn.InfinitesimalJackknife(lambda m, y, *rest: 0.5 * (y - m) ** 2, [2.0], data)


def test_data_of_any_type():
    label = np.array(["a", "b", "a", "a"])
    found = [
        vn.InfinitesimalJackknife(
            lambda m, y, s: 0.5 * (y - anp.where(s == "a", m[0], m[1])) ** 2, [3.0, 2.0], (numbers, texts)
        ).leave_one_out(method="newton", order=None)[0]
        for numbers in ([1, 2, 3, 5], np.array([1.0, 2, 3, 5], dtype=object))
        for texts in (label, label.astype(object))
    ]
    assert np.allclose(found, [[4.0, 2.0]] * 4, atol=1e-14)


def test_a_parameter_that_is_not_identified():
    x, y, beta, *_ = ols()
    x = np.column_stack([x, x[:, 0]])
    with pytest.raises(NotPositiveDefiniteError):
        vn.InfinitesimalJackknife(lambda b, x, y: 0.5 * (y - x @ b) ** 2, np.r_[beta, 0.0], (x, y))


# ---- labelled results ----

REFITS = Refits(np.arange(6.0).reshape(3, 2), "series", 2, ["a", "b", "c"], ["x", "y"], [False, True, False])


@pytest.mark.parametrize(
    "same",
    [lambda r: r - [1.0, 2.0], lambda r: 2.0 * r, np.exp, np.copy, lambda r: r.copy(), copy.copy, copy.deepcopy],
    ids=["subtract", "scale", "exp", "np.copy", "copy", "copy.copy", "deepcopy"],
)
def test_labels_survive_what_keeps_rows_and_columns(same):
    found = same(REFITS)
    if same is np.copy:
        assert type(found) is np.ndarray
        return
    assert found.row_names == ["a", "b", "c"] and found.column_names == ["x", "y"]
    assert (found.method, found.order, found.failed.tolist()) == ("series", 2, [False, True, False])


@pytest.mark.parametrize(
    "other",
    [np.sort, np.flipud, lambda r: np.roll(r, 1), lambda r: r.T, lambda r: r.reshape(2, 3), lambda r: r[:, ::-1],
     lambda r: r.sum(axis=0), lambda r: r + np.zeros((2, 3, 2)), lambda r: r > 1, np.asarray, lambda r: r[0],
     lambda r: r[None], lambda r: np.take(r, [1, 0, 2], axis=0)],
)  # fmt: skip
def test_labels_do_not_survive_what_moves_rows_or_columns(other):
    found = other(REFITS)
    assert getattr(found, "row_names", None) is None or found.row_names == ["c", "b", "a"]
    np.testing.assert_array_equal(found, other(np.asarray(REFITS)))


def test_choosing_rows_chooses_names():
    for key, expected in (
        (slice(1, None), ["b", "c"]),
        ([2, 0], ["c", "a"]),
        (np.array([True, False, True]), ["a", "c"]),
        (slice(None, None, -1), ["c", "b", "a"]),
    ):
        found = REFITS[key]
        assert found.row_names == expected and found.column_names == ["x", "y"]
        np.testing.assert_array_equal(found.failed, REFITS.failed[key])
    assert isinstance(REFITS[0, 1], float) and type(REFITS[0]) is np.ndarray
    assert type(REFITS[REFITS > 1]) is np.ndarray


def test_results_are_arrays():
    np.testing.assert_array_equal(np.asarray(REFITS), np.arange(6.0).reshape(3, 2))
    assert repr(REFITS) == repr(np.asarray(REFITS))
    assert (REFITS @ np.ones(2)).tolist() == [1.0, 5.0, 9.0]
    out = np.empty((3, 2))
    assert np.add(REFITS, 1.0, out=out) is out
    changed = REFITS.copy()
    changed += 1.0
    assert changed.row_names == ["a", "b", "c"] and changed[0, 0] == 1.0 and REFITS[0, 0] == 0.0
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(REFITS, protocol))
        np.testing.assert_array_equal(again, REFITS)
        assert again.row_names == ["a", "b", "c"] and again.method == "series"


def test_frames():
    frame = REFITS.to_frame()
    assert frame.index.tolist() == ["a", "b", "c"] and frame.columns.tolist() == ["x", "y"]
    assert frame.loc["b", "y"] == 3.0
    one = make("logistic").jackknife(parameter_names=["a", "b", "c"]).reweight(np.ones(40))
    assert one.to_frame().shape == (1, 3) and one.column_names == ["a", "b", "c"]


@pytest.mark.parametrize(
    "arguments",
    [{"row_names": ["a"]}, {"column_names": ["a", "b", "c"]}, {"row_names": []}, {"failed": [True]}],
)
def test_bad_labels(arguments):
    with pytest.raises(ShapeError):
        Refits(np.zeros((3, 2)), "series", **arguments)
