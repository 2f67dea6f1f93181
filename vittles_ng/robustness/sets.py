"""Which observations a conclusion hangs on: the most influential set, and the smallest that reverses it.

Requires ``input_val0`` to solve the jackknife's estimating equation. Three ways to a set, one way to judge it: by the
exact refit without it, its weights exactly zero. What a result says of a reversal is what that refit shows.

Sources: Broderick, Giordano, Meager, "An Automatic Finite-Sample Robustness Metric", arXiv 2011.14999 (additive);
Kuschnig, Zens, Crespo Cuaresma, "Hidden in Plain Sight: Influential Sets in Linear Regression" (2021; greedy).
"""

from .question import Question
from .t_statistic import TStatistic, t_statistic

__all__ = ["most_influential_set", "smallest_reversing_set"]

_REVERSALS = ("sign", "significance", "both")
_DIRECTIONS = {"down": (-1.0,), "up": (1.0,), "either": (-1.0, 1.0)}


def most_influential_set(
    jackknife, functional, n_drop, method="greedy", *, direction="either", by_group=False, max_refits=1000
):
    """The set of at most ``n_drop`` observations whose removal moves a functional most.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    functional : int, str, callable or TStatistic
        Index or name of a coefficient; a scalar function of the input, or of input and weights, in ``autograd.numpy``;
        or what :func:`t_statistic` gives.
    n_drop : int or float
        How many may be left out; below 1 and not an integer: a fraction, rounded down. Observations that would move the
        functional back are not added to fill the number.
    method : {"greedy", "second-order", "additive"}, default="greedy"
        "additive" takes the largest influences at the fit; "second-order" ranks by the terms to order 2, and predicts
        by the series of order 2 along the removal of the whole set; "greedy" leaves out one after the other, finds the
        influences anew at each exact refit, and exchanges members afterwards.
    direction : {"either", "down", "up"}, default="either"
        Which way the functional is to move.
    by_group : bool, default=False
        Whether whole groups are left out; ``n_drop`` then counts groups.
    max_refits : int, default=1000
        Exact refits that "greedy" may make in each direction.

    Returns
    -------
    ReversingSet

    Raises
    ------
    DataError
        No groups to leave out; the functional is not finite at the fit.
    ValueError
        ``n_drop`` is negative or more than there are, or an argument is not known.

    Notes
    -----
    No method but the look at every set, which "greedy" takes where there are few, knows that there is none better.

    References
    ----------
    T. Broderick, R. Giordano, R. Meager, arXiv 2011.14999; N. Kuschnig, G. Zens, J. Crespo Cuaresma, "Hidden in Plain
    Sight: Influential Sets in Linear Regression" (2021).

    Examples
    --------
    The slope through the origin is ``sum(x y) / sum(x^2)``; two observations carry it:

    >>> import autograd.numpy as np
    >>> import vittles_ng as vn
    >>> from vittles_ng.robustness import most_influential_set
    >>> x = np.array([1.0, 1.0, 1.0, 1.0, 4.0, 4.0]); y = np.array([-1.0, -1.0, -1.0, -2.0, 2.0, 3.0])
    >>> loss = lambda b, x, y: 0.5 * (y - x * b[0]) ** 2
    >>> slope = vn.InfinitesimalJackknife(loss, [x @ y / (x @ x)], (x, y))
    >>> found = most_influential_set(slope, 0, 2, direction="down")
    >>> found.indices, round(found.initial, 3), round(found.refitted, 3), found.reversed
    (array([5, 4]), 0.417, -1.25, True)
    """
    question = Question(jackknife, functional, method, by_group, max_refits)
    limit = question.limit(n_drop, "n_drop")
    if direction not in _DIRECTIONS:
        raise ValueError(f"direction={direction!r} is not known: use one of {', '.join(map(repr, _DIRECTIONS))}.")
    found = [question.furthest(sign, limit) for sign in _DIRECTIONS[direction]]
    trial, message = max(found, key=lambda pair: question.moved(pair[0]))
    value = question.refitted(trial)
    return question.result(trial, bool(value * question.initial < 0.0), message)


def smallest_reversing_set(
    jackknife,
    functional,
    reverse="sign",
    max_drop=None,
    method="greedy",
    *,
    level=0.05,
    by_group=False,
    max_refits=1000,
):
    """The smallest set of observations found whose removal reverses a conclusion.

    Parameters
    ----------
    jackknife, functional, method, by_group, max_refits
        As of :func:`most_influential_set`. For "significance" and "both" the functional is a t-statistic; of anything
        else the model's own is taken (the sandwich's for an estimating equation).
    reverse : {"sign", "significance", "both"}, default="sign"
        "significance" makes a significant estimate insignificant, an insignificant one significant with either sign;
        "both" makes it significant with the other sign.
    max_drop : int or float, default=None
        The most observations to leave out, or a fraction; default: half of them.
    level : float, default=0.05
        Of the two-sided test.

    Returns
    -------
    ReversingSet
        ``reversed`` is False where no set was found; it then holds the set that came closest.

    Raises
    ------
    DataError
        The functional is zero at the fit, so that it has no sign; or as of :func:`most_influential_set`.
    ValueError
        As there.

    References
    ----------
    As of :func:`most_influential_set`.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> import vittles_ng as vn
    >>> from vittles_ng.robustness import smallest_reversing_set
    >>> x = np.array([1.0, 1.0, 1.0, 1.0, 4.0, 4.0]); y = np.array([-1.0, -1.0, -1.0, -2.0, 2.0, 3.0])
    >>> loss = lambda b, x, y: 0.5 * (y - x * b[0]) ** 2
    >>> slope = vn.InfinitesimalJackknife(loss, [x @ y / (x @ x)], (x, y))
    >>> found = smallest_reversing_set(slope, 0)
    >>> found.reversed, len(found), found.message
    (True, 2, 'without 2 of 6 observations coefficient 0 goes from 0.417 to -1.25')
    """
    if reverse not in _REVERSALS:
        raise ValueError(f"reverse={reverse!r} is not known: use one of {', '.join(map(repr, _REVERSALS))}.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level={level!r} must lie between 0 and 1.")
    if reverse != "sign" and not isinstance(functional, TStatistic):
        functional = t_statistic(functional, "model" if jackknife.model.is_objective else "sandwich")
    question = Question(jackknife, functional, method, by_group, max_refits)
    limit = question.limit(0.5 if max_drop is None else max_drop, "max_drop")
    goals = question.goals(reverse, level)
    found = [question.smallest(goal, limit) for goal in goals]
    found.sort(key=lambda one: (not one[0], one[1].size if one[0] else -one[3]))
    is_reversed, trial, message, _ = found[0]
    return question.result(trial, is_reversed, message)
