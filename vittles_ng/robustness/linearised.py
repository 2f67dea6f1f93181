"""Sets from the fit alone: by first-order influence, or by series of order 2; no refit but the one that judges them.

additive (Broderick, Giordano, Meager, arXiv 2011.14999): ``q(w) ~ q0 + sum_n dq/dw_n (w_n - w0_n)``, so that the sum
of the largest terms is the prediction. Second order: the terms of each unit's own removal to order 2 rank the units,
and the series of order 2 along the removal of the whole set predicts, the quantity taken at that approximate refit.
"""

import numpy as np

from .fits import FAILURES, Fit

__all__ = ["additive_set", "second_order_set"]


def additive_set(search, limit, until_reached):
    """The set of the largest first-order changes, and what they add up to.

    Parameters
    ----------
    search : Search
    limit : int
        Units at most.
    until_reached : bool
        Whether to stop at the first that is predicted to reach the threshold.

    Returns
    -------
    out : ndarray of bool, shape (n_units,)
    predicted : float
    """
    refitter = search.refitter
    changes = refitter.linear_changes(refitter.base)
    gains = np.where(refitter.usable, search.sign * changes, -np.inf)
    size = min(limit, search.needed(gains, search.margin(search.base))) if until_reached else limit
    out = search.top(gains, size)
    return out, refitter.base.value(refitter.quantity) + float(changes[out].sum())


def second_order_set(search, limit, until_reached):
    """The set of the largest changes to order 2, and the series' prediction; as :func:`additive_set`."""
    refitter = search.refitter
    gains = np.where(refitter.usable, search.sign * _changes(refitter), -np.inf)
    size = limit
    if until_reached:
        size = _fewest(lambda n: _predicted(refitter, search.top(gains, n)), search, limit)
    out = search.top(gains, size)
    return out, _predicted(refitter, out)


def _changes(refitter):
    """Changes by each unit's leaving: first order in the weights, and the second-order terms of the input."""
    base, jackknife = refitter.base, refitter.jackknife
    by_input, by_weights = base.gradients(refitter.quantity)
    changes = refitter.linear_changes(base)
    units = np.flatnonzero(refitter.usable)
    order = np.argsort(refitter.units, kind="stable")
    sets = np.split(order, np.cumsum(np.bincount(refitter.units))[:-1])
    try:
        moved = np.asarray(jackknife.leave_out([sets[unit] for unit in units], order=2)) - base.input
    except FAILURES:
        return changes
    direct = -np.bincount(refitter.units, refitter.weights0 * by_weights)
    of_order_two = moved @ by_input - (changes - direct)[units]
    changes[units] += np.where(np.isfinite(of_order_two), of_order_two, 0.0)
    return changes


def _predicted(refitter, out):
    """The quantity at the approximate refit of order 2 without a set; NaN where it has none there."""
    if not out.any():
        return refitter.base.value(refitter.quantity)
    weights = refitter.weights(out)
    try:
        flat = np.asarray(refitter.jackknife.reweight(weights, order=2))
        if hasattr(refitter.quantity, "value_at"):
            return refitter.quantity.value_at(flat, weights)
        problem = refitter.base.problem.at(flat, weights)
        return refitter.quantity.value(Fit(refitter.model, problem, problem.factored(as_minimum=False), out))
    except FAILURES:
        return np.nan


def _fewest(predict, search, limit):
    """The smallest size whose prediction reaches the threshold, as if it moved one way: doubling, then halving."""

    def reaches(size):
        return search.sign * (predict(size) - search.threshold) > 0.0

    low, high = 0, 1
    while high < limit and not reaches(high):
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
