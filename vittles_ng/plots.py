"""Figures: each takes an axes and returns it, and is labelled with the data's own names."""

import numpy as np

from .errors import optional_import

__all__ = [
    "plot_coefficients",
    "plot_error_against_order",
    "plot_path",
    "plot_penalty_path",
    "plot_refit_errors",
    "report_figure",
]

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
    >>> from vittles_ng.report.table import Line
    >>> lines = [Line("bootstrap", 200, 40, k, 0.1**k, 1.0, 9.0, 9.0, 5.0, 5.0, 3.0) for k in (1, 2, 3)]
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
    largest = _largest(paths)
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    for i, j in enumerate(largest):
        ax.semilogx(penalties, paths[:, j], color=COLOURS[i], linewidth=2)
        if exact is not None:
            ax.plot(exact_penalties, exact[:, j], "o", color=COLOURS[i], markersize=4.5, markerfacecolor="white")
    _label_ends(ax, penalties[-1], paths[-1, largest], [names[j] for j in largest])
    ticker = optional_import("matplotlib.ticker")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.set_xlabel("ridge penalty")
    ax.set_ylabel("standardised coefficient")
    _tidy(ax, "Ridge path: expansion (lines), exact refits (points)")
    return ax


def _label_ends(ax, x, ends, names):
    """Each curve's name right of the axes, in its colour, at or near the height where the curve ends."""
    low, high = ax.get_ylim()
    to_fraction = (ax.transScale + ax.transLimits).transform
    heights = _spread(np.array([to_fraction((x, end))[1] for end in ends]), 0.055)
    for end, height, name, colour in zip(ends, heights, names, COLOURS, strict=False):
        ax.annotate(
            name if len(name) <= MAX_NAME else name[: MAX_NAME - 3] + "...",
            (x, end),
            xytext=(1.03, height),
            textcoords=("axes fraction", "axes fraction"),
            color=colour,
            fontsize=9,
            va="center",
            arrowprops={**LEADER, "color": colour},
        )
    ax.set_ylim(low, high)


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


def plot_refit_errors(orders, errors, estimates=None, names=None, ax=None):
    """Errors of refits by expansion against the order, one curve a refit.

    Parameters
    ----------
    orders : sequence of int, (n_orders,)
    errors : array_like of shape (n_orders, n_refits)
        Such as ``max(abs(value - exact))``; zeros are left out.
    estimates : array_like of shape (n_orders, n_refits), optional
        The refits' own estimates of their errors, drawn as open points on dashed lines.
    names : sequence of str, (n_refits,), optional
        Names of the refits. Unnamed ones are drawn alike, with their median.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = plot_refit_errors([1, 2, 3], [[1e-2, 0.5], [1e-4, 0.9], [1e-6, 2.0]], names=["near", "far"],
    ...                        ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['near', 'far']
    """
    ax = _axes(ax)
    shown = {"marker": "o", "markersize": 6, "linewidth": 2}
    asked = {"marker": "o", "markersize": 6, "linewidth": 1, "linestyle": "--", "markerfacecolor": "white"}
    tables = [(_positive(errors), shown, "error")]
    if estimates is not None:
        tables.append((_positive(estimates), asked, "estimated"))
    for table, style, label in tables:
        if names is None:
            ax.semilogy(orders, table, color="0.75", linewidth=0.8, linestyle=style.get("linestyle", "-"), zorder=1)
            ax.semilogy(orders, np.nanmedian(table, axis=1), color=COLOURS[0], label=f"{label} (median)", **style)
        else:
            for i, name in enumerate(names):
                extra = {} if label == "estimated" else {"label": name}
                ax.semilogy(orders, table[:, i], color=COLOURS[i % len(COLOURS)], **style, **extra)
    if names is not None and estimates is not None:
        ax.plot([], [], color="0.4", label="estimated", **asked)
    ax.set_xticks(orders)
    ax.set_xlabel("order of the expansion")
    ax.set_ylabel("error")
    ax.legend(frameon=False)
    _tidy(ax, "Error of refits by expansion")
    return ax


def plot_coefficients(series, radius=np.nan, names=None, ax=None):
    """Sizes of the series' coefficients against the order, with the decay that an estimated radius stands for.

    Parameters
    ----------
    series : array_like of shape (n_orders, n_input)
        Coefficients (or terms) of orders 1, 2, ....
    radius : float, default=nan
        Estimated radius of convergence in units of the step, drawn as the decay ``radius**-k / k`` through the middle
        of the upper half of the orders; nothing is drawn for NaN.
    names : sequence of str, (n_input,), optional
        Names of the inputs: the 8 largest get a curve of their own.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = plot_coefficients([[0.5], [0.125], [0.0416]], radius=2.0, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['largest coefficient', 'estimated radius: 2 steps']
    """
    ax, sizes = _axes(ax), _positive(series)
    orders, norms = np.arange(1, len(sizes) + 1), np.nanmax(sizes, axis=1, initial=0.0)
    ax.semilogy(orders, _positive(norms), "o-", color="0.25", linewidth=2.5, markersize=7, label="largest coefficient")
    if np.isfinite(radius) and norms[len(norms) // 2 :].any():
        decay = radius ** -orders.astype(float) / orders
        decay *= np.exp(np.nanmean(np.log(_positive(norms / decay)[len(norms) // 2 :])))
        ax.semilogy(orders, decay, "--", color="0.5", linewidth=1.8, label=f"estimated radius: {radius:.2g} steps")
    if names is not None:
        largest = _largest(sizes)
        for colour, j in zip(COLOURS, largest, strict=False):
            ax.semilogy(orders, sizes[:, j], color=colour, linewidth=1.2, alpha=0.6, zorder=1)
        _label_ends(ax, orders[-1], sizes[-1, largest], [names[j] for j in largest])
    ax.set_xticks(orders)
    ax.set_xlabel("order")
    ax.set_ylabel("size of the coefficient")
    ax.legend(frameon=False)
    _tidy(ax, "Coefficients of the series")
    return ax


def plot_path(path, hyper=0, names=None, band=1.0, ax=None):
    """Inputs along a path, with the band of estimated errors and the points where it was expanded again.

    Parameters
    ----------
    path : Path
        Or any object with ``t`` (n,), ``hypers`` (n, n_hyper), ``values`` (n, n_input), ``error_estimates`` (n,) and
        ``base_points``, each with ``hyper`` and ``value``. Drawn in the order of ``t``, as far as it was followed.
    hyper : int, default=0
        Which hyper is the abscissa: on a log scale where it is positive and spans more than a factor of 20.
    names : sequence of str, (n_input,), optional
        Names of the inputs. The 8 largest are drawn.
    band : float, default=1.0
        What the band's half width is multiplied by, so that errors far below a line's width are seen.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from matplotlib.figure import Figure
    >>> t = np.linspace(1.0, 2.0, 5)
    >>> path = SimpleNamespace(t=t, hypers=t[:, None], values=1 / t[:, None], error_estimates=np.full(5, 1e-2),
    ...                        base_points=[SimpleNamespace(hyper=np.array([1.0]), value=np.array([1.0]))])
    >>> [text.get_text() for text in plot_path(path, names=["slope"], ax=Figure().subplots()).texts]
    ['slope']
    """
    ax = _axes(ax)
    walked = [i for i in np.argsort(path.t) if np.isfinite(path.error_estimates[i])]
    x, values, half = path.hypers[walked, hyper], path.values[walked], band * path.error_estimates[walked]
    largest = _largest(values)
    for colour, j in zip(COLOURS, largest, strict=False):
        ax.plot(x, values[:, j], color=colour, linewidth=2)
        ax.fill_between(x, values[:, j] - half, values[:, j] + half, color=colour, alpha=0.2, linewidth=0)
    for point in path.base_points:
        ax.axvline(point.hyper[hyper], color="0.8", linewidth=0.8, zorder=0)
        for colour, j in zip(COLOURS, largest, strict=False):
            ax.plot(point.hyper[hyper], point.value[j], "o", color=colour, markersize=5, markerfacecolor="white")
    if np.min(x) > 0.0 and np.max(x) > 20.0 * np.min(x):
        ax.set_xscale("log")
    if names is not None:
        _label_ends(ax, x[-1], values[-1, largest], [names[j] for j in largest])
    ax.set_xlabel("hyper")
    ax.set_ylabel("input")
    times = "" if band == 1.0 else f" (band: estimated error x {band:g})"
    _tidy(ax, f"Path: {len(path.base_points)} expansions{times}")
    return ax


def _largest(table):
    """Columns with the 8 largest entries, in their own order."""
    return np.sort(np.argsort(-np.nanmax(np.abs(table), axis=0, initial=0.0))[:MAX_PATHS])


def _positive(values):
    """Absolute values, NaN where there is nothing that a log scale could show."""
    sizes = np.abs(np.asarray(values, dtype=float))
    return np.where(sizes > 0.0, sizes, np.nan)


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
