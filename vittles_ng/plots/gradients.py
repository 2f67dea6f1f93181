"""Derivatives through iterations: errors of unrolled Jacobians, and of gradients of a minimum, with their theory."""

import numpy as np

from ..errors import ShapeError, optional_import
from .style import COLOURS, MARKERS, given_axes, positive, tidy

__all__ = ["plot_gradient_errors", "plot_step_sizes", "plot_unrolling"]

_ESTIMATORS = {"analytic": 1, "automatic": 2, "implicit": 2}  # exponents, in units of the iterates'
_ABSCISSAE = {
    "iterations": "iteration",
    "log iterations": "iteration",
    "input": r"error of the input, $|z_t - z^*|$ (falling to the right)",
}
_EXPONENT = {
    "iterations": "rate (iterates: 1)",
    "log iterations": "power (iterates: 1)",
    "input": "order in $|z_t - z^*|$",
}
_MARKERS_SHOWN = 25
#: Heights that are a rise, and none of rounding.
_RISE = 1.0 + 1e-9


def plot_unrolling(quadratic, method, n_iterations, measured=None, ax=None):
    """Error of an unrolled Jacobian by iteration: predicted, bounded, measured, and its predicted peak.

    Parameters
    ----------
    quadratic : QuadraticUnrolling
        Or any object with its ``jacobian_error_norms``, ``bound`` and ``initial_rise``.
    method : GradientDescent, HeavyBall or Chebyshev
    n_iterations : int
        T.
    measured : array_like of shape (T + 1,), optional
        Errors that were measured, such as the ``jacobian_errors`` of :func:`vittles_ng.unrolling.unroll_forward`; drawn
        as points. Zeros are left out.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        There is not one measured error for each of the iterations 0 to T.

    References
    ----------
    D. Scieur, G. Gidel, Q. Bertrand, F. Pedregosa, "The curse of unrolling", NeurIPS 2022 (arXiv 2209.13271).

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.unrolling import GradientDescent, QuadraticUnrolling
    >>> scales = np.array([1.0, 10.0])
    >>> def ridge(z, x):
    ...     return 0.5 * np.sum(scales * (z - np.array([1.0, 20.0])) ** 2) + 0.5 * x[0] * np.sum(z**2)
    >>> quadratic = QuadraticUnrolling(ridge, np.zeros(2), np.array([0.01]))
    >>> ax = plot_unrolling(quadratic, GradientDescent.fastest(1.01, 10.01), 40, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['worst-case bound', 'predicted', 'predicted peak: iteration 5, 3.3 times the start']
    """
    predicted = quadratic.jacobian_error_norms(method, n_iterations)
    if measured is not None:
        measured = np.asarray(measured, dtype=float)
        if measured.shape != predicted.shape:
            raise ShapeError(
                f"measured has shape {measured.shape}: {predicted.shape} is needed, an error for each of the "
                f"iterations 0 to {n_iterations}."
            )
    ax, iterations = given_axes(ax), np.arange(n_iterations + 1)
    bound = positive(quadratic.bound(method, n_iterations))
    ax.semilogy(iterations, bound, "--", color="0.5", linewidth=1.5, label="worst-case bound")
    ax.semilogy(iterations, positive(predicted), color=COLOURS[0], linewidth=2, label="predicted")
    if measured is not None:
        shown = {"marker": "o", "markersize": 5, "markerfacecolor": "white", "markevery": _every(iterations)}
        ax.semilogy(iterations, positive(measured), linestyle="none", color=COLOURS[1], label="measured", **shown)
    rise = quadratic.initial_rise(method, n_iterations)
    if rise.height > _RISE:
        ax.axhline(predicted[0], color="0.7", linewidth=0.8, zorder=0)
        label = f"predicted peak: iteration {rise.iteration}, {rise.height:.2g} times the start"
        peak = {"marker": "v", "markersize": 9, "linestyle": "none", "color": "black", "zorder": 4}
        ax.plot([rise.iteration], [predicted[rise.iteration]], label=label, **peak)
    ax.set_xlabel("iteration")
    ax.set_ylabel(r"error of the Jacobian, $\|J_t - J^*\|$")
    ax.legend(frameon=False)
    tidy(ax, "Unrolled Jacobian")
    return ax


def plot_step_sizes(trade_off, ax=None):
    """Rate in the end against the initial rise, over step sizes of gradient descent.

    The curve runs through the step sizes in their order: small ones are slow and do not rise. Beyond the step size of
    the best rate both get worse.

    Parameters
    ----------
    trade_off : StepSizeTradeOff
        Of :meth:`vittles_ng.unrolling.QuadraticUnrolling.step_size_trade_off`. Infinite heights are left out.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes
        The abscissa is the iterations for a factor of ten, ``log 10 / -log rate``.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.unrolling import StepSizeTradeOff
    >>> trade_off = StepSizeTradeOff(
    ...     step_sizes=np.array([0.1, 0.2, 0.3, 0.4]), rates=np.array([0.9, 0.8, 0.7, 0.95]),
    ...     peaks=np.array([0, 0, 4, 20]), heights=np.array([1.0, 1.0, 1.5, 9.0]), final_errors=np.ones(4))
    >>> ax = plot_step_sizes(trade_off, Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['longest step of no rise: 0.2', 'best rate in the end: 0.3']
    """
    ax = given_axes(ax)
    order = np.argsort(trade_off.step_sizes)
    order = order[np.isfinite(trade_off.heights[order])]
    step_sizes, rates, heights = (getattr(trade_off, key)[order] for key in ("step_sizes", "rates", "heights"))
    with np.errstate(divide="ignore"):
        decades = -np.log(10.0) / np.log(rates)
    ax.loglog(decades, heights, "o-", color=COLOURS[0], linewidth=2, markersize=3.5)
    marks = []
    if np.any(heights <= _RISE):
        marks.append((np.flatnonzero(heights <= _RISE)[-1], "longest step of no rise", COLOURS[2], "s"))
    if len(rates):
        marks.append((int(np.argmin(rates)), "best rate in the end", COLOURS[1], "^"))
    for i, label, colour, marker in marks:
        style = {"linestyle": "none", "color": colour, "marker": marker, "markersize": 10, "zorder": 4}
        ax.plot([decades[i]], [heights[i]], label=f"{label}: {step_sizes[i]:.3g}", **style)
    for i in (0, -1)[: len(rates)]:
        place = {"xytext": (-4, 7), "textcoords": "offset points", "fontsize": 8, "color": "0.35"}
        ax.annotate(f"{step_sizes[i]:.3g}", (decades[i], heights[i]), **place)
    ticker = optional_import("matplotlib.ticker")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    ax.set_xlabel("iterations for a factor of ten, in the end")
    ax.set_ylabel("largest error, over the error at the start")
    if marks:
        ax.legend(frameon=False, title="step size", alignment="left")
    tidy(ax, "Step sizes: rate against initial rise")
    return ax


def plot_gradient_errors(comparison, against="iterations", first=None, last=None, ax=None):
    """Errors of the three estimators of the gradient of a minimum, with the exponents of the theory.

    Dashed lines are the errors of the iterates, to the power 1 for the analytic and 2 for the automatic and implicit
    estimators, through the errors from which the exponents are measured. In the shaded part errors are of rounding.

    Parameters
    ----------
    comparison : Comparison
        Of :func:`vittles_ng.minimum_gradients.compare`. The legend shows its ``rates``, where it has enough errors to
        measure.
    against : {"iterations", "log iterations", "input"}, default="iterations"
        The abscissa, as in :meth:`vittles_ng.minimum_gradients.Comparison.rates`: iterations, on a log scale for the
        powers of stochastic gradient descent, or the error of the input.
    first, last : int, optional
        The iterations between which to measure exponents, likewise. Default: the later half of those over rounding.
    ax : matplotlib.axes.Axes, optional
        Default: a new figure's.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        ``against`` is unknown.

    References
    ----------
    P. Ablin, G. Peyre, T. Moreau, "Super-efficiency of automatic differentiation for functions defined as a minimum",
    ICML 2020 (arXiv 2002.03722).

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from matplotlib.figure import Figure
    >>> from vittles_ng.minimum_gradients import compare
    >>> from vittles_ng.unrolling import GradientDescent
    >>> def objective(z, x):
    ...     return np.log(1.0 + np.exp(-z[0] * x[0])) + 0.5 * z[0] ** 2
    >>> run = compare(objective, np.zeros(1), np.ones(1), GradientDescent(0.2), 60)
    >>> ax = plot_gradient_errors(run, against="input", ax=Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['analytic (1.00)', 'automatic (1.88)', 'implicit (2.00)', 'theory: 1, 2, 2', 'rounding']
    """
    if against not in _ABSCISSAE:
        raise ValueError(f"against={against!r} is not known: use 'iterations', 'log iterations' or 'input'.")
    ax, inputs = given_axes(ax), positive(comparison.input_errors)
    x = inputs if against == "input" else comparison.iterations
    shown = np.isfinite(x) & (x > 0) if against != "iterations" else np.ones(len(x), dtype=bool)
    rates = _relative_rates(comparison, against, first, last)
    draw = ax.semilogy if against == "iterations" else ax.loglog
    floor = max(comparison.rounding[name] for name in _ESTIMATORS)
    usable, measured, theory = inputs > comparison.rounding["input"], _between(comparison, first, last), []
    for (name, power), colour, marker in zip(_ESTIMATORS.items(), COLOURS, MARKERS, strict=False):
        error = positive(comparison.errors[name])
        style = {"color": colour, "linewidth": 2, "marker": marker, "markersize": 5, "markevery": _every(x[shown])}
        draw(x[shown], error[shown], label=name if rates is None else f"{name} ({rates[name]:.2f})", **style)
        theory.append(_through(error, inputs**power, usable & (error > floor), measured))
    for i, line in enumerate(theory):
        label = "theory: 1, 2, 2" if i == 0 else None
        draw(x[shown], line[shown], "--", color="black", linewidth=1.1, zorder=3, label=label)
    if floor > ax.get_ylim()[0]:
        _shade_below(ax, floor, "rounding")
    if against == "input":
        ax.xaxis.set_inverted(True)
    ax.set_xlabel(_ABSCISSAE[against])
    ax.set_ylabel("error of the gradient")
    ax.legend(frameon=False, title=None if rates is None else _EXPONENT[against], alignment="left")
    tidy(ax, "Three gradients of a minimum")
    return ax


def _shade_below(ax, level, label):
    """Shade the axes below a level, and leave their limits as they are."""
    rectangle = optional_import("matplotlib.patches").Rectangle
    low = np.finfo(float).tiny
    place = {"transform": ax.get_yaxis_transform(), "color": "0.93", "linewidth": 0, "zorder": 0}
    ax.add_artist(rectangle((0.0, low), 1.0, level - low, label=label, **place))


def _relative_rates(comparison, against, first, last):
    """Measured exponents in units of the iterates', or None where there are too few errors."""
    try:
        rates = comparison.rates(against, first, last)
    except ValueError:
        return None
    return {name: rates[name] / rates["input"] for name in _ESTIMATORS}


def _between(comparison, first, last):
    """Which iterations are asked for; None for no wish."""
    if first is None and last is None:
        return None
    low, high = 0 if first is None else first, np.inf if last is None else last
    return (comparison.iterations >= low) & (comparison.iterations <= high)


def _through(error, shape, usable, measured):
    """A multiple of a curve through an error's usable, or later half; NaN where both are of rounding."""
    at = np.flatnonzero(usable if measured is None else usable & measured)
    if len(at) == 0:
        return np.full(len(shape), np.nan)
    at = at[len(at) // 2 :] if measured is None else at
    return np.where(usable, shape * np.exp(np.mean(np.log(error[at] / shape[at]))), np.nan)


def _every(values):
    return max(1, len(values) // _MARKERS_SHOWN)
