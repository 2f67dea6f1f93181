"""The figures of trust: the artists hold the data, and names come from the data."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from vittles_ng import plots

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
    ],
    ids=["errors", "coefficients", "path"],
)
def test_each_takes_and_returns_axes(draw):
    ax = empty_axes()
    assert draw(ax) is ax
    own = draw(None)
    assert own.figure in map(plt.figure, plt.get_fignums())
    own.figure.canvas.draw()
    plt.close("all")
    assert own.get_xlabel() and own.get_ylabel() and own.get_title(loc="left")


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
