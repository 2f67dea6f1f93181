"""Inputs along a path of hypers."""

import numpy as np

from ..errors import optional_import
from .style import COLOURS, given_axes, label_ends, largest_columns, tidy

__all__ = ["plot_path", "plot_penalty_path"]


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
    ax = given_axes(ax)
    largest = largest_columns(paths)
    ax.axhline(0.0, color="0.6", linewidth=0.8)
    for i, j in enumerate(largest):
        ax.semilogx(penalties, paths[:, j], color=COLOURS[i], linewidth=2)
        if exact is not None:
            ax.plot(exact_penalties, exact[:, j], "o", color=COLOURS[i], markersize=4.5, markerfacecolor="white")
    label_ends(ax, penalties[-1], paths[-1, largest], [names[j] for j in largest])
    ticker = optional_import("matplotlib.ticker")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.set_xlabel("ridge penalty")
    ax.set_ylabel("standardised coefficient")
    tidy(ax, "Ridge path: expansion (lines), exact refits (points)")
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
    ax = given_axes(ax)
    walked = [i for i in np.argsort(path.t) if np.isfinite(path.error_estimates[i])]
    x, values, half = path.hypers[walked, hyper], path.values[walked], band * path.error_estimates[walked]
    largest = largest_columns(values)
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
        label_ends(ax, x[-1], values[-1, largest], [names[j] for j in largest])
    ax.set_xlabel("hyper")
    ax.set_ylabel("input")
    times = "" if band == 1.0 else f" (band: estimated error x {band:g})"
    tidy(ax, f"Path: {len(path.base_points)} expansions{times}")
    return ax
