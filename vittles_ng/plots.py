"""Figures: each takes an axes and returns it, and is labelled with the data's own names."""

import numpy as np

from .errors import optional_import

__all__ = ["plot_error_against_order", "plot_penalty_path", "report_figure"]

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^")
MAX_PATHS, MAX_NAME = 8, 40
# From the middle of a label's left edge to the end of its curve.
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "relpos": (0.0, 0.5), "shrinkA": 0, "shrinkB": 3}


def _axes(ax):
    return optional_import("matplotlib.pyplot").subplots(layout="constrained")[1] if ax is None else ax


def _tidy(ax, title):
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)


def plot_error_against_order(lines, ax=None):
    """Error of approximate refits against the order of the expansion, one curve a task.

    Parameters
    ----------
    lines : list of Line
        Lines of the report's table.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.report.run import Line
    >>> lines = [Line("bootstrap", 200, 40, k, 0.1**k, 1.0, 9.0, 9.0, 5.0, 5.0) for k in (1, 2, 3)]
    >>> plot_error_against_order(lines, Figure().subplots()).get_ylabel()
    'largest error (standard errors)'
    """
    ax = _axes(ax)
    for i, name in enumerate(dict.fromkeys(line.task for line in lines)):
        chosen = [line for line in lines if line.task == name and np.isfinite(line.max_error_in_standard_errors)]
        ax.semilogy(
            [line.order for line in chosen],
            [line.max_error_in_standard_errors for line in chosen],
            color=COLOURS[i],
            marker=MARKERS[i % len(MARKERS)],
            linewidth=2,
            markersize=7,
            label=name,
        )
    ax.set_xticks(sorted({line.order for line in lines}))
    ax.set_xlabel("order of the expansion")
    ax.set_ylabel("largest error (standard errors)")
    ax.legend(frameon=False)
    _tidy(ax, "Approximate against exact refits")
    return ax


def plot_penalty_path(penalties, paths, names, exact_penalties=None, exact=None, ax=None):
    """Coefficients along a ridge penalty, with exact refits as points.

    Parameters
    ----------
    penalties : ndarray of shape (n_penalties,)
        Increasing and positive.
    paths : ndarray of shape (n_penalties, n_coefficients)
    names : sequence of str
        Names of the coefficients; the 8 largest are drawn, with names of at most 40 characters.
    exact_penalties : ndarray of shape (n_exact,), optional
    exact : ndarray of shape (n_exact, n_coefficients), optional
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> penalties = np.geomspace(1, 100, 30)
    >>> ax = plot_penalty_path(penalties, 1 / (1 + penalties[:, None]), ["age"], ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['age']
    """
    ax = _axes(ax)
    largest = np.sort(np.argsort(-np.max(np.abs(paths), axis=0))[:MAX_PATHS])
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    for i, j in enumerate(largest):
        ax.semilogx(penalties, paths[:, j], color=COLOURS[i], linewidth=2)
        if exact is not None:
            ax.plot(exact_penalties, exact[:, j], "o", color=COLOURS[i], markersize=4.5, markerfacecolor="white")
    low, high = ax.get_ylim()
    heights = _spread(paths[-1, largest], 0.055 * (high - low))
    for i, j in enumerate(largest):
        ax.annotate(
            names[j] if len(names[j]) <= MAX_NAME else names[j][: MAX_NAME - 3] + "...",
            (penalties[-1], paths[-1, j]),
            xytext=(1.03, (heights[i] - low) / (high - low)),
            textcoords=("axes fraction", "axes fraction"),
            color=COLOURS[i],
            fontsize=9,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": COLOURS[i],
                "linewidth": 0.6,
                "relpos": (0.0, 0.5),
                "shrinkA": 0,
                "shrinkB": 3,
            },
        )
    ax.set_ylim(low, high)
    ticker = optional_import("matplotlib.ticker")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.set_xlabel("ridge penalty")
    ax.set_ylabel("standardised coefficient")
    _tidy(ax, "Ridge path: expansion (lines), exact refits (points)")
    return ax


def _spread(heights, gap):
    """Label heights at least ``gap`` apart, in the same order: crowded ones are spaced evenly around their mean."""
    order = np.argsort(heights)
    groups = [[height] for height in heights[order]]
    i = 0
    while i < len(groups) - 1:
        needed = 0.5 * gap * (len(groups[i]) + len(groups[i + 1]))
        if np.mean(groups[i + 1]) - np.mean(groups[i]) < needed:
            groups[i] += groups.pop(i + 1)
            i = max(i - 1, 0)
        else:
            i += 1
    spread = np.empty(len(heights))
    spread[order] = [np.mean(group) + gap * (k - 0.5 * (len(group) - 1)) for group in groups for k in range(len(group))]
    return spread


def report_figure(figure, fit, outcomes):
    """The report's figure: error against order, and the penalty path.

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
    n_obs, n_input = fit.data.design.shape
    title = f"{fit.data.response_name}: {n_obs} observations, {n_input} coefficients"
    figure.suptitle(title, x=0.01, ha="left", color="0.35", fontsize=10)
    figure.get_layout_engine().set(wspace=0.06)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    plot_error_against_order([line for outcome in outcomes for line in outcome.lines], left)
    grid = outcomes[-1]
    penalties = np.exp(grid.task.hypers(np.arange(grid.task.n_refits))[:, 0])
    slopes = fit.data.penalised > 0
    names = [name for name, slope in zip(fit.data.columns, slopes, strict=True) if slope]
    plot_penalty_path(penalties, grid.values[-1][:, slopes], names, penalties[grid.rows], grid.exact[:, slopes], right)
    right.set_title(
        f"Ridge path: order {len(grid.values)} (lines), exact refits (points)",
        loc="left",
        fontsize=11,
        fontweight="bold",
    )
    return figure
