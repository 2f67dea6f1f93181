"""The figures: the artists hold the data, and names come from the data."""

from types import SimpleNamespace

import autograd.numpy as anp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from vittles_ng import plots
from vittles_ng.errors import ShapeError
from vittles_ng.minimum_gradients import Comparison
from vittles_ng.report.coefficients import Coefficient
from vittles_ng.report.influence import Influential
from vittles_ng.report.reversals import Reversal
from vittles_ng.report.table import Line
from vittles_ng.unrolling import Chebyshev, GradientDescent, HeavyBall, QuadraticUnrolling, StepSizeTradeOff

ORDERS = [1, 2, 3]
ERRORS = np.array([[1e-1, 0.5], [1e-3, 0.9], [0.0, 2.0]])
T = np.linspace(1.0, 3.0, 9)
PATH = SimpleNamespace(
    t=T,
    hypers=np.column_stack([T, 10.0 ** (2 * T)]),
    values=np.outer(1 / T, [1.0, -2.0]),
    error_estimates=0.01 * T,
    base_points=[SimpleNamespace(hyper=np.array([t, 10.0 ** (2 * t)]), value=np.array([1, -2]) / t) for t in (1, 2)],
)

LINES = [Line(task, 1, 1, k, 10.0**-k, 1, 1, 1, 1, 1, 3.0) for task in ("bootstrap", "jackknife") for k in ORDERS]
PENALTIES = np.geomspace(1, 9, 5)
COEFFICIENTS = [
    Coefficient("age", 3.0, 1.0, 1.1, 1.2, 1.4, 1.0, 1.2, 5.1),
    Coefficient("income", -200.0, 10.0, 11.0, 12.0, 9.0, 10.0, -215.0, -182.0),
]
INFLUENTIAL = [
    Influential("row 3", 3, 1, "age", -0.4, -0.41, [-0.4, 0.1], 0.9),
    Influential("row 1", 1, 1, "income", 0.2, None, [0.001, 0.2], 0.7),
]
REVERSALS = [
    Reversal("age", "sign", 3.0, True, 7, 0.07, -0.1, -0.1, "greedy", 7, list(range(7)), ["a"] * 7, ""),
    Reversal("age", "significance lost", 3.0, True, 2, 0.02, 1.0, 1.1, "greedy", 7, [4, 1], ["b", "c"], ""),
    Reversal("income", "sign", -200.0, False, 25, 0.25, -1.0, -2.0, "additive", 1, [], [], ""),
    Reversal("income", "significance gained", -1.0, False, 25, 0.25, -1.0, -1.1, "additive", 1, [], [], ""),
]

SCALES = np.array([1.0, 10.0])
QUADRATIC = QuadraticUnrolling(
    lambda z, x: 0.5 * anp.sum(SCALES * (z - np.array([1.0, 20.0])) ** 2) + 0.5 * x[0] * anp.sum(z**2),
    np.zeros(2),
    np.array([0.01]),
)
FAST, SHORT = GradientDescent.fastest(1.01, 10.01), GradientDescent.short(10.01)
TRADE_OFF = StepSizeTradeOff(
    step_sizes=np.array([0.4, 0.1, 0.3, 0.2]),
    rates=np.array([0.9, 0.1, 0.01, 0.1]),
    peaks=np.array([9, 0, 4, 0]),
    heights=np.array([8.0, 1.0, 1.5, 1.0]),
    final_errors=np.ones(4),
)


def comparison(of_input, at, floor=1e-14):
    """One with the errors e, 5 e^2 and e^2 / 2 exactly."""
    errors = {"analytic": 1.0 * of_input, "automatic": 5.0 * of_input**2, "implicit": 0.5 * of_input**2}
    nothing = dict.fromkeys(errors)
    rounding = dict.fromkeys([*errors, "input"], floor)
    return Comparison(at, of_input, of_input, errors, nothing, nothing, nothing, None, None, rounding)


EXPONENTIAL = comparison(10.0 ** (-0.25 * np.arange(41)), np.arange(41))


def empty_axes():
    return Figure().subplots()


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def curves(ax, style="-"):
    """Curves of a line style that hold data."""
    return [line for line in ax.lines if line.get_linestyle() == style and len(line.get_xdata()) > 2]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.plot_refit_errors(ORDERS, ERRORS, ax=ax),
        lambda ax: plots.plot_coefficients(ERRORS, ax=ax),
        lambda ax: plots.plot_path(PATH, ax=ax),
        lambda ax: plots.plot_error_against_order(LINES, ax=ax),
        lambda ax: plots.plot_penalty_path(PENALTIES, np.ones((5, 1)), ["age"], ax=ax),
        lambda ax: plots.plot_intervals(COEFFICIENTS, ax=ax),
        lambda ax: plots.plot_influence(np.array([0.2, 0.1, 0.4]), INFLUENTIAL, ax=ax),
        lambda ax: plots.plot_reversals(REVERSALS, 100, ax=ax),
        lambda ax: plots.plot_unrolling(QUADRATIC, FAST, 30, ax=ax),
        lambda ax: plots.plot_step_sizes(TRADE_OFF, ax=ax),
        lambda ax: plots.plot_gradient_errors(EXPONENTIAL, ax=ax),
    ],
    ids=[
        "errors",
        "coefficients",
        "path",
        "orders",
        "penalties",
        "intervals",
        "influence",
        "reversals",
        "unrolling",
        "step sizes",
        "gradient errors",
    ],
)
def test_each_takes_and_returns_axes(draw):
    ax = empty_axes()
    assert draw(ax) is ax
    own = draw(None)
    assert own.figure in map(plt.figure, plt.get_fignums())
    own.figure.canvas.draw()
    plt.close("all")
    assert own.get_xlabel() and own.get_title(loc="left")
    assert own.get_ylabel() or {"age", "income"} <= {label.get_text() for label in own.get_yticklabels()}


def test_errors_of_named_refits():
    ax = plots.plot_refit_errors(ORDERS, ERRORS, 2 * ERRORS, ["near", "far"], empty_axes())
    assert legend(ax) == ["near", "far", "estimated"]
    for i, (error, estimate) in enumerate(zip(curves(ax), curves(ax, "--"), strict=True)):
        expected = np.where(ERRORS[:, i] > 0, ERRORS[:, i], np.nan)
        np.testing.assert_array_equal(error.get_xdata(), ORDERS)
        np.testing.assert_array_equal(error.get_ydata(), expected)
        np.testing.assert_array_equal(estimate.get_ydata(), 2 * expected)
        assert error.get_color() == estimate.get_color()
    assert ax.get_yscale() == "log"


def test_errors_of_many_refits_show_their_median():
    errors = np.outer(10.0 ** -np.arange(3), np.linspace(1, 3, 21))
    ax = plots.plot_refit_errors(ORDERS, errors, errors * 3, ax=empty_axes())
    assert legend(ax) == ["error (median)", "estimated (median)"]
    np.testing.assert_allclose(curves(ax)[-1].get_ydata(), [2.0, 0.2, 0.02])
    np.testing.assert_allclose(curves(ax, "--")[-1].get_ydata(), [6.0, 0.6, 0.06])
    assert len(curves(ax)) == 22


def test_coefficients_and_the_decay_of_their_radius():
    k = np.arange(1, 9)
    series = np.outer(3.0**-k / k, [0.5, -7.0, 1.0])  # log(1 - t / 3) has these: radius 3
    ax = plots.plot_coefficients(series, 3.0, ["a", "b", "c"], empty_axes())
    largest, *inputs = curves(ax)
    np.testing.assert_allclose(largest.get_ydata(), 7 * 3.0**-k / k)
    np.testing.assert_allclose(curves(ax, "--")[0].get_ydata(), 7 * 3.0**-k / k)
    np.testing.assert_allclose([line.get_ydata() for line in inputs], np.abs(series.T))
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    assert legend(ax) == ["largest coefficient", "estimated radius: 3 steps"]
    heights = [text.xyann[1] for text in ax.texts]  # b above c above a, as the curves end
    assert heights[1] > heights[2] > heights[0]


@pytest.mark.parametrize("radius", [np.nan, np.inf])
def test_a_radius_that_is_not_known_is_not_drawn(radius):
    ax = plots.plot_coefficients(ERRORS, radius, ax=empty_axes())
    assert legend(ax) == ["largest coefficient"]
    assert curves(ax, "--") == []


def test_a_series_of_zeros_is_drawn_empty():
    ax = plots.plot_coefficients(np.zeros((3, 2)), 2.0, ["a", "b"], empty_axes())
    ax.figure.canvas.draw()
    assert np.isnan(curves(ax)[0].get_ydata()).all()


def test_a_path_with_its_band_and_base_points():
    ax = plots.plot_path(PATH, names=["age", "income"], band=3.0, ax=empty_axes())
    for line, values in zip(curves(ax), PATH.values.T, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), T)
        np.testing.assert_array_equal(line.get_ydata(), values)
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    for band, values in zip(bands, PATH.values.T, strict=True):
        corners = band.get_paths()[0].vertices
        for t, value, half in zip(T, values, 3.0 * PATH.error_estimates, strict=True):
            here = corners[np.isclose(corners[:, 0], t), 1]
            np.testing.assert_allclose([here.min(), here.max()], [value - half, value + half])
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "o"]
    assert points == [(1, 1.0), (1, -2.0), (2, 0.5), (2, -1.0)]
    assert [text.get_text() for text in ax.texts] == ["age", "income"]
    assert "2 expansions" in ax.get_title(loc="left") and "x 3" in ax.get_title(loc="left")
    assert ax.get_xscale() == "linear"


def test_a_path_in_another_hyper_on_a_log_scale():
    ax = plots.plot_path(PATH, hyper=1, ax=empty_axes())
    np.testing.assert_array_equal(curves(ax)[0].get_xdata(), PATH.hypers[:, 1])
    assert ax.get_xscale() == "log"
    assert not ax.texts
    assert "band" not in ax.get_title(loc="left")


def test_a_path_asked_for_out_of_order_and_stopped_early():
    shuffled = np.random.default_rng(2).permutation(9)
    fields = {name: getattr(PATH, name)[shuffled] for name in ("t", "hypers", "values", "error_estimates")}
    beyond = fields["t"] > 2.5
    fields["values"][beyond], fields["error_estimates"][beyond] = np.nan, np.inf
    ax = plots.plot_path(SimpleNamespace(**fields, base_points=PATH.base_points), names=["a", "b"], ax=empty_axes())
    np.testing.assert_array_equal(curves(ax)[0].get_xdata(), T[T <= 2.5])
    np.testing.assert_array_equal(curves(ax)[0].get_ydata(), PATH.values[T <= 2.5, 0])
    assert [text.xy for text in ax.texts] == [(2.5, 0.4), (2.5, -0.8)]


def test_only_the_largest_inputs_are_drawn():
    path = SimpleNamespace(**{**vars(PATH), "values": np.outer(T, np.arange(12.0)), "base_points": []})
    ax = plots.plot_path(path, names=[f"x{i}" for i in range(12)], ax=empty_axes())
    assert [text.get_text() for text in ax.texts] == [f"x{i}" for i in range(4, 12)]
    assert len(curves(ax)) == 8


def test_orders_of_several_tasks_with_the_newton_step():
    newton = Line("jackknife", 1, 1, "newton", 3e-3, 1, 1, 1, 1, 1, 3.0)
    ax = plots.plot_error_against_order([*LINES, newton], empty_axes())
    assert legend(ax) == ["bootstrap", "jackknife", "jackknife, one Newton step"]
    np.testing.assert_allclose(curves(ax)[0].get_ydata(), [0.1, 0.01, 0.001])
    (level,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert set(level.get_ydata()) == {3e-3}
    assert level.get_color() == curves(ax)[1].get_color()
    assert ax.get_yscale() == "log"
    assert list(ax.get_xticks()) == ORDERS


@pytest.mark.parametrize("error", [0.0, np.nan, np.inf])
def test_errors_that_a_log_scale_has_not_are_left_out(error):
    line = Line("bootstrap", 1, 1, 1, error, 1, 1, 1, 1, 1, 3.0)
    ax = plots.plot_error_against_order(
        [line, Line("bootstrap", 1, 1, "newton", error, 1, 1, 1, 1, 1, 3.0)], empty_axes()
    )
    ax.figure.canvas.draw()
    assert [list(drawn.get_ydata()) for drawn in ax.lines] == [[]]


def test_penalty_path_with_exact_refits():
    paths = np.outer(1 / PENALTIES, [3.0, 2.0, 2.0])
    ax = plots.plot_penalty_path(PENALTIES, paths, ["age", "income", "rent"], PENALTIES[:2], paths[:2], empty_axes())
    labels = [text for text in ax.texts if text.get_text()]
    assert [label.get_text() for label in labels] == ["age", "income", "rent"]
    heights = [label.xyann[1] for label in labels]
    assert heights[0] > max(heights[1:])
    assert min(np.diff(sorted(heights))) > 0.054


def test_only_the_largest_penalised_coefficients_are_drawn():
    names = [f"x{i}" for i in range(12)]
    ax = plots.plot_penalty_path(PENALTIES, np.outer(1 / PENALTIES, np.arange(12)), names, ax=empty_axes())
    assert {text.get_text() for text in ax.texts} == set(names[4:])


def test_long_names_leave_room_for_the_paths():
    name = "C(region_of_residence_at_first_interview)[T.north-east]"
    ax = plots.plot_penalty_path(PENALTIES, np.ones((5, 1)), [name], ax=empty_axes())
    assert ax.texts[0].get_text() == name[:37] + "..."


def bars(ax):
    """Horizontal lines as (left, right, height), one array a kind of interval."""
    return [np.array(c.get_segments())[:, :, 0] for c in ax.collections]


def test_intervals_are_about_the_estimate_in_standard_errors():
    ax = plots.plot_intervals(COEFFICIENTS, 2.0, empty_axes())
    assert legend(ax) == ["classical", "sandwich (HC1)", "clustered", "bootstrap percentiles", "zero"]
    expected = [
        [[-2, 2], [-2, 2]],
        [[-2.4, 2.4], [-2.4, 2.4]],
        [[-2.8, 2.8], [-1.8, 1.8]],
        [[-1.8, 2.1], [-1.5, 1.8]],
    ]
    np.testing.assert_allclose(bars(ax), expected)
    (zeros,) = [line for line in ax.lines if line.get_marker() == "x"]
    assert list(zeros.get_xdata()) == [-3.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["age", "income"]


def test_intervals_that_were_not_asked_for_are_not_drawn():
    plain = Coefficient("age", 30.0, 1.0, 1.1, 1.2, None, None, None, None)
    ax = plots.plot_intervals([plain], ax=empty_axes())
    assert legend(ax) == ["classical", "sandwich (HC1)"]
    np.testing.assert_allclose(bars(ax)[0], [[-1.96, 1.96]])


def test_influential_observations_are_named_where_they_are():
    largest = np.array([0.2, 0.1, 0.4, np.nan])
    ax = plots.plot_influence(largest, INFLUENTIAL, empty_axes())
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), largest)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3, 4])
    assert {text.get_text(): text.xy for text in ax.texts} == {"row 3": (3, 0.4), "row 1": (1, 0.2)}
    circles = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in circles] == [(3, 0.41)]
    assert ax.get_ylim()[1] > 0.41


def test_names_of_influential_observations_do_not_cover_each_other():
    crowd = [Influential(f"row {i}", i, 1, "age", 0.4 - 1e-3 * i, None, [0.4], 1.0) for i in range(1, 11)]
    ax = plots.plot_influence(np.linspace(0.4, 0.1, 1000), crowd, Figure(figsize=(5.5, 4.8)).subplots())
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert boxes
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_no_influence_at_all_is_drawn_empty():
    still = Influential("row 1", 1, 1, "age", 0.0, 0.0, [0.0], 1.0)
    ax = plots.plot_influence(np.zeros(3), [still], empty_axes())
    assert ax.get_ylim() == (0.0, 1.0)
    plots.plot_changes([still], ["age"], ax.figure.add_subplot()).figure.canvas.draw()


def test_changes_of_the_coefficients_that_move_most():
    many = [Influential("row 1", 1, 1, "x5", 0.4, None, list(np.linspace(-0.4, 12.0, 15)), 1.0)]
    ax = plots.plot_changes(many, [f"x{i}" for i in range(15)], empty_axes())
    assert len(ax.get_xticklabels()) == 12
    assert "x0" not in [label.get_text() for label in ax.get_xticklabels()]
    ax = plots.plot_changes(INFLUENTIAL, ["age", "income"], empty_axes())
    assert [text.get_text() for text in ax.texts] == ["\u2212.40", "+.10", "0", "+.20"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["row 3", "row 1"]
    np.testing.assert_array_equal(ax.images[0].get_array(), [[-0.4, 0.1], [0.001, 0.2]])
    assert ax.images[0].get_clim() == (-0.4, 0.4)


def test_reversals_that_were_found_and_those_that_were_not():
    ax = plots.plot_reversals(REVERSALS, 100, empty_axes())
    assert legend(ax) == ["sign", "significance lost"]
    marked = [list(line.get_xdata()) for line in ax.lines if line.get_marker() in "so^"]
    assert marked == [[7], [2]]
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["7", "2", "no set found", "1 %", "10 %", "all"]
    assert ax.get_xscale() == "log"


def test_no_reversal_at_all():
    ax = plots.plot_reversals(REVERSALS[2:], 20, empty_axes())
    ax.figure.canvas.draw()
    assert ax.get_legend() is None
    assert [text.get_text() for text in ax.texts] == ["no set found", "10 %", "all"]


def drawn(ax):
    """Curves by the names that the legend has for them."""
    return {line.get_label(): line for line in ax.lines}


def gradient_descent_errors(n_iterations):
    """Of the Jacobian, by its recurrence: the Hessian is diag(scales) + x, the mixed derivative the iterate."""
    hessian, z, jacobian = SCALES + 0.01, np.zeros(2), np.zeros(2)
    solution = SCALES * np.array([1.0, 20.0]) / hessian
    errors = [np.linalg.norm(jacobian + solution / hessian)]
    for _ in range(n_iterations):
        jacobian = jacobian - FAST.step_size * (hessian * jacobian + z)
        z = z - FAST.step_size * hessian * (z - solution)
        errors.append(np.linalg.norm(jacobian + solution / hessian))
    return np.array(errors)


def test_predicted_and_measured_errors_of_an_unrolled_jacobian():
    measured = gradient_descent_errors(30)
    ax = plots.plot_unrolling(QUADRATIC, FAST, 30, measured, empty_axes())
    peak = "predicted peak: iteration 5, 3.3 times the start"
    assert legend(ax) == ["worst-case bound", "predicted", "measured", peak]
    lines = drawn(ax)
    np.testing.assert_allclose(lines["predicted"].get_ydata(), measured, rtol=1e-9)
    np.testing.assert_array_equal(lines["measured"].get_ydata(), measured)
    np.testing.assert_array_equal(lines["predicted"].get_xdata(), np.arange(31))
    assert np.all(lines["worst-case bound"].get_ydata() >= measured * (1 - 1e-12))
    assert lines[peak].get_xdata() == [np.argmax(measured)]
    np.testing.assert_allclose(lines[peak].get_ydata(), np.max(measured))
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize("method", [HeavyBall.fastest(1.01, 10.01), Chebyshev(1.01, 10.01)])
def test_the_peak_is_marked_on_the_predicted_curve(method):
    lines = drawn(plots.plot_unrolling(QUADRATIC, method, 30, ax=empty_axes()))
    (peak,) = [line for name, line in lines.items() if name.startswith("predicted peak")]
    heights = lines["predicted"].get_ydata()
    assert (peak.get_xdata()[0], peak.get_ydata()[0]) == (np.argmax(heights), np.max(heights))
    assert "measured" not in lines


def test_an_unrolling_that_does_not_rise_has_no_peak():
    assert legend(plots.plot_unrolling(QUADRATIC, SHORT, 30, ax=empty_axes())) == ["worst-case bound", "predicted"]


@pytest.mark.parametrize("n_iterations", [0, 1])
def test_an_unrolling_of_hardly_any_iteration(n_iterations):
    ax = plots.plot_unrolling(QUADRATIC, SHORT, n_iterations, np.ones(n_iterations + 1), empty_axes())
    ax.figure.canvas.draw()
    assert len(drawn(ax)["predicted"].get_xdata()) == n_iterations + 1


@pytest.mark.parametrize("measured", [np.ones(30), np.ones((31, 1)), 1.0])
def test_measured_errors_that_do_not_match_the_iterations(measured):
    with pytest.raises(ShapeError, match=r"\(31,\) is needed"):
        plots.plot_unrolling(QUADRATIC, FAST, 30, measured, empty_axes())


def test_step_sizes_in_their_order():
    ax = plots.plot_step_sizes(TRADE_OFF, empty_axes())
    assert legend(ax) == ["longest step of no rise: 0.2", "best rate in the end: 0.3"]
    (curve,) = curves(ax)
    np.testing.assert_allclose(curve.get_xdata(), [1.0, 1.0, 0.5, -1 / np.log10(0.9)])
    np.testing.assert_array_equal(curve.get_ydata(), [1.0, 1.0, 1.5, 8.0])
    marks = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_label() in legend(ax)]
    np.testing.assert_allclose(marks, [(1.0, 1.0), (0.5, 1.5)])
    assert [text.get_text() for text in ax.texts] == ["0.1", "0.4"]


@pytest.mark.parametrize(
    ("heights", "names"),
    [([2.0, np.inf, 3.0, 1.5], ["best rate in the end: 0.3"]), ([np.inf] * 4, None)],
    ids=["all rise", "none finite"],
)
def test_step_sizes_of_which_none_is_without_a_rise(heights, names):
    ax = plots.plot_step_sizes(SimpleNamespace(**{**vars(TRADE_OFF), "heights": np.array(heights)}), empty_axes())
    ax.figure.canvas.draw()
    assert np.all(np.isfinite(ax.lines[0].get_ydata()))
    assert (ax.get_legend() and legend(ax)) == names


def test_gradients_of_a_minimum_with_the_exponents_of_the_theory():
    ax = plots.plot_gradient_errors(EXPONENTIAL, ax=empty_axes())
    assert legend(ax) == ["analytic (1.00)", "automatic (2.00)", "implicit (2.00)", "theory: 1, 2, 2", "rounding"]
    assert ax.get_legend().get_title().get_text() == "rate (iterates: 1)"
    for line, theory, error in zip(curves(ax), curves(ax, "--"), EXPONENTIAL.errors.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), error)
        over = error > 1e-14  # here the errors are multiples of powers of the input's: the theory's lines
        np.testing.assert_allclose(theory.get_ydata()[over], error[over], rtol=1e-9)
        assert np.isnan(theory.get_ydata()[~over]).all()
    (shade,) = ax.patches
    assert shade.get_y() + shade.get_height() == pytest.approx(1e-14)
    assert ax.get_ylim()[1] < 100


def test_gradients_against_the_error_of_the_input():
    ax = plots.plot_gradient_errors(EXPONENTIAL, "input", ax=empty_axes())
    assert ax.get_legend().get_title().get_text().startswith("order")
    np.testing.assert_array_equal(curves(ax)[0].get_xdata(), EXPONENTIAL.input_errors)
    left, right = ax.get_xlim()
    assert left > right and ax.get_xscale() == "log"


def test_gradients_along_stochastic_gradient_descent():
    t = np.arange(0, 101, 5)
    run = comparison(np.maximum(t, 1.0) ** -0.5, t)
    ax = plots.plot_gradient_errors(run, "log iterations", ax=empty_axes())
    assert ax.get_xscale() == "log"
    np.testing.assert_array_equal(curves(ax)[0].get_xdata(), t[1:])  # 0 has no place
    assert legend(ax)[:3] == ["analytic (1.00)", "automatic (2.00)", "implicit (2.00)"]
    assert "rounding" not in legend(ax)  # far below


def test_exponents_between_two_iterations():
    t = np.arange(41)
    slowing = comparison(10.0 ** (-0.25 * np.minimum(t, 20) - 0.05 * np.maximum(t - 20, 0)), t)
    slowing.errors["analytic"][:] = 10.0 ** (-0.25 * t)  # the iterates' rate at first, five times that later
    early = plots.plot_gradient_errors(slowing, first=0, last=20, ax=empty_axes())
    late = plots.plot_gradient_errors(slowing, first=20, ax=empty_axes())
    assert (legend(early)[0], legend(late)[0]) == ("analytic (1.00)", "analytic (5.00)")
    np.testing.assert_allclose(curves(early, "--")[0].get_ydata()[:21], slowing.errors["analytic"][:21])
    assert curves(late, "--")[0].get_ydata()[20] < 0.2 * slowing.errors["analytic"][20]


def test_few_errors_have_curves_and_no_exponents():
    ax = plots.plot_gradient_errors(comparison(np.array([1.0, 0.1]), np.arange(2)), ax=empty_axes())
    assert legend(ax)[:3] == ["analytic", "automatic", "implicit"]


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("against", ["iterations", "log iterations", "input"])
def test_errors_of_zero_are_drawn_empty(n, against):
    ax = plots.plot_gradient_errors(comparison(np.zeros(n), np.arange(n)), against, ax=empty_axes())
    ax.figure.canvas.draw()
    assert all(np.isnan(line.get_ydata()).all() for line in ax.lines)


def test_an_unknown_abscissa_is_refused():
    with pytest.raises(ValueError, match="against='time'"):
        plots.plot_gradient_errors(EXPONENTIAL, "time", ax=empty_axes())
