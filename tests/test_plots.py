"""The figures: the artists hold the data, and names come from the data."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from vittles_ng import plots
from vittles_ng.report.coefficients import Coefficient
from vittles_ng.report.influence import Influential
from vittles_ng.report.reversals import Reversal
from vittles_ng.report.table import Line

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
    ],
    ids=["errors", "coefficients", "path", "orders", "penalties", "intervals", "influence", "reversals"],
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
