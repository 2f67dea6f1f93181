"""Errors of refits and sizes of coefficients against the order."""

import numpy as np

from .style import COLOURS, MARKERS, given_axes, label_ends, largest_columns, positive, tidy

__all__ = ["plot_coefficients", "plot_error_against_order", "plot_refit_errors"]


def plot_error_against_order(lines, ax=None):
    """Error of approximate refits against the order of the expansion, one curve a task.

    Parameters
    ----------
    lines : list of Line
        Lines of the report's table; the order "newton", one Newton step, is drawn as a level.
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
    ax = given_axes(ax)
    orders = sorted({line.order for line in lines if line.order != "newton"})
    for i, name in enumerate(dict.fromkeys(line.task for line in lines)):
        chosen = [line for line in lines if line.task == name and 0.0 < line.max_error_in_standard_errors < np.inf]
        of_series = [line for line in chosen if line.order != "newton"]
        ax.semilogy(
            [line.order for line in of_series],
            [line.max_error_in_standard_errors for line in of_series],
            color=COLOURS[i],
            marker=MARKERS[i % len(MARKERS)],
            linewidth=2,
            markersize=7,
            label=name,
        )
        for line in chosen:
            if line.order == "newton":
                level = line.max_error_in_standard_errors
                ax.axhline(level, linestyle="--", color=COLOURS[i], label=f"{name}, one Newton step")
    ax.set_xticks(orders)
    ax.set_xlabel("order of the expansion")
    ax.set_ylabel("largest error (standard errors)")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, -0.13), ncols=2)
    tidy(ax, "Approximate against exact refits")
    return ax


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
    ax = given_axes(ax)
    shown = {"marker": "o", "markersize": 6, "linewidth": 2}
    asked = {"marker": "o", "markersize": 6, "linewidth": 1, "linestyle": "--", "markerfacecolor": "white"}
    tables = [(positive(errors), shown, "error")]
    if estimates is not None:
        tables.append((positive(estimates), asked, "estimated"))
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
    tidy(ax, "Error of refits by expansion")
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
    ax, sizes = given_axes(ax), positive(series)
    orders, norms = np.arange(1, len(sizes) + 1), np.nanmax(sizes, axis=1, initial=0.0)
    ax.semilogy(orders, positive(norms), "o-", color="0.25", linewidth=2.5, markersize=7, label="largest coefficient")
    if np.isfinite(radius) and norms[len(norms) // 2 :].any():
        decay = radius ** -orders.astype(float) / orders
        decay *= np.exp(np.nanmean(np.log(positive(norms / decay)[len(norms) // 2 :])))
        ax.semilogy(orders, decay, "--", color="0.5", linewidth=1.8, label=f"estimated radius: {radius:.2g} steps")
    if names is not None:
        largest = largest_columns(sizes)
        for colour, j in zip(COLOURS, largest, strict=False):
            ax.semilogy(orders, sizes[:, j], color=colour, linewidth=1.2, alpha=0.6, zorder=1)
        label_ends(ax, orders[-1], sizes[-1, largest], [names[j] for j in largest])
    ax.set_xticks(orders)
    ax.set_xlabel("order")
    ax.set_ylabel("size of the coefficient")
    ax.legend(frameon=False)
    tidy(ax, "Coefficients of the series")
    return ax
