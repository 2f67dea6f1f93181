"""The figures of the report: intervals, influential observations, reversals, and errors beside the penalty path."""

import numpy as np

from ..errors import optional_import
from .orders import plot_error_against_order
from .paths import plot_penalty_path
from .style import COLOURS, given_axes, shortened, tidy

__all__ = ["plot_changes", "plot_influence", "plot_intervals", "plot_reversals", "report_figure"]

# Zeros further off than so many standard errors are not marked.
REACH = 4.0
MAX_BARS, MAX_COLUMNS, MAX_LABEL = 30, 12, 24


def plot_intervals(coefficients, critical=1.96, ax=None):
    """Intervals of coefficients about their estimates, in classical standard errors, so that the kinds compare.

    Parameters
    ----------
    coefficients : list of Coefficient
        Of the report; of more than 30 the first.
    critical : float, default=1.96
        Half the width, in their standard errors, of all but the bootstrap's intervals.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.report.coefficients import Coefficient
    >>> age = Coefficient("age", 3.0, 1.0, 1.1, 1.2, None, 1.0, 1.2, 5.1)
    >>> [text.get_text() for text in plot_intervals([age], ax=Figure().subplots()).get_yticklabels()]
    ['age']
    """
    ax, shown = given_axes(ax), coefficients[:MAX_BARS]
    heights = np.arange(len(shown))[::-1]
    kinds = [
        ("classical", lambda one: _about(one, one.standard_error, critical)),
        ("sandwich (HC1)", lambda one: _about(one, one.hc1, critical)),
    ]
    if any(one.clustered is not None for one in shown):
        kinds.append(("clustered", lambda one: _about(one, one.clustered, critical)))
    if any(one.bootstrap_low is not None for one in shown):
        kinds.append(("bootstrap percentiles", lambda one: (one.bootstrap_low, one.bootstrap_high)))
    gap = 0.7 / len(kinds)
    ax.axvline(0.0, color="0.6", linewidth=0.8)
    for i, (label, ends_of) in enumerate(kinds):
        ends = np.array([ends_of(one) for one in shown], dtype=float)
        scaled = [(e - one.estimate) / one.standard_error for e, one in zip(ends, shown, strict=True)]
        levels = heights + gap * (0.5 * (len(kinds) - 1) - i)
        ax.hlines(levels, *np.array(scaled).T, color=COLOURS[i], linewidth=3.5, label=label)
    zeros = np.array([-one.estimate / one.standard_error for one in shown])
    near = np.abs(zeros) < REACH
    if near.any():
        ax.plot(zeros[near], heights[near], "x", color="black", markersize=8, markeredgewidth=1.8, label="zero")
    ax.set_yticks(heights, [shortened(one.coefficient, MAX_LABEL) for one in shown])
    ax.set_ylim(-0.6, len(shown) - 0.4)
    ax.set_xlabel("interval less estimate (classical standard errors)")
    tidy(ax, "95 % intervals about the estimates")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    return ax


def _about(one, error, critical):
    return one.estimate - critical * error, one.estimate + critical * error


def plot_influence(largest, influential, ax=None):
    """Largest change of a coefficient without each observation, the most influential ones named.

    Parameters
    ----------
    largest : ndarray of shape (n_obs,)
        In standard errors, in the order of the file.
    influential : list of Influential
        Observations; exact refits are drawn as circles.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.report.influence import Influential
    >>> one = Influential("row 2", 2, 1, "age", -0.3, -0.31, [-0.3], 0.9)
    >>> ax = plot_influence(np.array([0.1, 0.3, 0.05]), [one], Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['row 2']
    """
    ax, rows = given_axes(ax), np.arange(1, len(largest) + 1)
    small = len(largest) <= 200
    ax.plot(rows, largest, "." if not small else "o", color=COLOURS[5], markersize=3 if not small else 4, zorder=1)
    named = [one for one in influential if one.row is not None]
    for one in named:
        size = abs(one.change)
        ax.plot(one.row, size, "o", color=COLOURS[1], markersize=5)
        if one.exact_change is not None:
            ax.plot(one.row, abs(one.exact_change), "o", color="black", markersize=9, markerfacecolor="none")
    exact = [abs(one.exact_change) for one in named if one.exact_change is not None]
    top = max([0.0, *largest[np.isfinite(largest)], *exact])
    ax.set_ylim(0.0, 1.08 * top if top > 0.0 else 1.0)
    ax.set_xlim(0.5 - 0.02 * len(largest), len(largest) + 0.5 + 0.02 * len(largest))
    _name(ax, [(one.row, abs(one.change), one.label) for one in named], len(largest), 1.08 * top)
    ax.set_xlabel("row of the file")
    ax.set_ylabel("largest change of a coefficient (s.e.)")
    tidy(ax, "Leaving out each observation (circles: exact refits)")
    return ax


def _name(ax, points, n_obs, top):
    """Names beside points, on a side where they cover no other named point; none where there is no such side."""
    at = np.array([(x / n_obs, y / top) for x, y, _ in points]).reshape(-1, 2) if top > 0.0 else np.zeros((0, 2))
    taken = [(x - 0.012, x + 0.012, y) for x, y in at]
    for i in np.argsort(-at[:, 1], kind="stable"):
        label = shortened(points[i][2], MAX_LABEL)
        width = 0.021 * len(label)
        for side, start in (("left", at[i, 0] + 0.025), ("right", at[i, 0] - 0.025 - width)):
            others = taken[:i] + taken[i + 1 :]
            if (
                start < 0.0
                or start + width > 1.02
                or any(a < start + width and b > start and abs(y - at[i, 1]) < 0.036 for a, b, y in others)
            ):
                continue
            taken.append((start, start + width, at[i, 1]))
            shift = (8, 0) if side == "left" else (-8, 0)
            place = {"xytext": shift, "textcoords": "offset points", "ha": side, "va": "center"}
            ax.annotate(label, points[i][:2], fontsize=9, **place)
            break


def plot_changes(influential, names, ax=None):
    """Changes of all coefficients without each of the most influential observations.

    Parameters
    ----------
    influential : list of Influential
    names : sequence of str
        Of the coefficients; of more than 12 those that move most are drawn.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.report.influence import Influential
    >>> one = Influential("row 2", 2, 1, "age", -0.3, -0.31, [0.1, -0.3], 0.9)
    >>> ax = plot_changes([one], ["educ", "age"], Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['+.10', '−.30']
    """
    ax, table = given_axes(ax), np.nan_to_num(np.array([one.changes for one in influential]))
    columns = np.sort(np.argsort(-np.abs(table).max(axis=0), kind="stable")[:MAX_COLUMNS])
    table = table[:, columns]
    limit = max(float(np.abs(table).max()), 1e-300)
    ax.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        ax.text(
            j,
            i,
            _signed(value),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if abs(value) > 0.6 * limit else "0.2",
        )
    ax.set_xticks(range(len(columns)), [shortened(names[j], MAX_LABEL) for j in columns], rotation=40, ha="right")
    ax.set_yticks(range(len(table)), [shortened(one.label, MAX_LABEL) for one in influential])
    tidy(ax, "Change of each coefficient (s.e.)")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def _signed(value):
    """A change to two decimals, the leading zero left off."""
    if abs(value) < 0.005:
        return "0"
    text = f"{abs(value):.2f}" if abs(value) < 10.0 else f"{abs(value):.0f}"
    return ("\u2212" if value < 0.0 else "+") + text.removeprefix("0")


def plot_reversals(reversals, n_obs, ax=None):
    """How few observations reverse each coefficient's sign and significance, on a log scale.

    Parameters
    ----------
    reversals : list of Reversal
    n_obs : int
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.report.reversals import Reversal
    >>> sign = Reversal("age", "sign", 0.2, True, 3, 0.03, -0.1, -0.1, "greedy", 7, [4, 1, 9], ["a", "b", "c"], "")
    >>> ax = plot_reversals([sign], 100, Figure().subplots())
    >>> ax.lines[0].get_xdata()
    array([3])
    """
    ax = given_axes(ax)
    names = list(dict.fromkeys(one.coefficient for one in reversals))[:MAX_BARS]
    heights = dict(zip(names, np.arange(len(names))[::-1], strict=True))
    kinds = [("sign", "s", 0.2), ("significance lost", "o", -0.2), ("significance gained", "^", -0.2)]
    for i, (question, marker, shift) in enumerate(kinds):
        found = [one for one in reversals if one.question == question and one.found and one.coefficient in heights]
        if found:
            sizes = np.array([one.n_dropped for one in found])
            levels = [heights[one.coefficient] + shift for one in found]
            ax.plot(sizes, levels, marker, color=COLOURS[i], markersize=8, label=question)
            for size, level in zip(sizes, levels, strict=True):
                ax.annotate(
                    f"{size}", (size, level), xytext=(7, 0), textcoords="offset points", va="center", fontsize=9
                )
    reversed_names = {one.coefficient for one in reversals if one.found}
    for name in heights.keys() - reversed_names:
        ax.annotate("no set found", (1.0, heights[name]), fontsize=9, color="0.4", va="center")
    ax.set_xscale("log")
    ax.set_xlim(0.7, max(1.5 * n_obs, 10))
    for share, text in ((0.01, "1 %"), (0.1, "10 %"), (1.0, "all")):
        if share * n_obs >= 1.0:
            ax.axvline(share * n_obs, color="0.6", linewidth=0.8, linestyle=":")
            ax.annotate(
                text,
                (share * n_obs, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                va="top",
                fontsize=8,
                color="0.4",
            )
    ticker = optional_import("matplotlib.ticker")
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    ax.set_yticks(list(heights.values()), [shortened(name, MAX_LABEL) for name in names])
    ax.set_ylim(-0.6, len(names) - 0.2)
    ax.set_xlabel("observations left out, verified by an exact refit")
    tidy(ax, "How few observations reverse a conclusion")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    return ax


def report_figure(figure, fit, outcomes):
    """The report's comparison: error against order, and the penalty path.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    fit : Fit
    outcomes : list of Outcome
        The last one is the penalty grid's.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure.get_layout_engine().set(wspace=0.06)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    plot_error_against_order([line for outcome in outcomes for line in outcome.lines], left)
    grid = outcomes[-1]
    penalties = grid.task.penalties
    slopes = fit.data.penalised > 0
    names = [name for name, slope in zip(fit.data.columns, slopes, strict=True) if slope]
    plot_penalty_path(penalties, grid.values[-1][:, slopes], names, penalties[grid.rows], grid.exact[:, slopes], right)
    tidy(right, f"Ridge path: order {len(grid.values)} (lines), exact refits (points)")
    return figure
