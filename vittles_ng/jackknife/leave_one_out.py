"""Approximate refits without some of the observations: every one in turn, groups, any sets.

With d = -weights0 on a set and zero elsewhere, ``r_k`` of the recursion ``input_k = -H^{-1} r_k`` is

    [t^k] F(input(t), total + t sum(d)) + sum_n d_n [t^{k-1}] g_n(input(t)),

F the estimating equation of all rows at their own weights. Its part comes from derivative tensors, made once for all
sets; the sum takes the few rows of the set. So none of the many sets needs a pass over all rows. Where the input is
large or the order high the tensors are too large, and directions are followed in batches.
"""

import numpy as np

from ..errors import DataError, NonFiniteError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..tensors.multi_indices import count
from .identification import unidentified_sets
from .newton_step import newton_without
from .parallel import distributed
from .results import Refits
from .row_series import TapedRows, linear_rows
from .total_tensors import TotalTensors, n_variables, recorded_penalty

__all__ = ["checked_way", "with_totals", "without"]

_LARGEST_INPUT, _HIGHEST_ORDER = 64, 3
_WAYS = ("auto", "tensors", "series")


def without(jackknife, sets, order, method, by, executor=None):
    """Refits without sets of observations.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    sets : Sets
    order : int or None
    method : {"series", "newton"}
    by : {"auto", "tensors", "series"}
    executor : default=None
        See :func:`vittles_ng.executors.workers`.

    Returns
    -------
    Refits
    """
    checked_way(method, order, by)
    what = f"leaving out {len(sets)} sets with {jackknife.n_input} inputs"
    check_size(32 * len(sets) * jackknife.n_input, what, memory_limit(), OF_MEMORY, "leave out fewer at a time")
    nothing_left = _nothing_left(jackknife, sets)
    with np.errstate(all="ignore"):  # what overflows is marked
        if method == "newton":
            order, how, function, arguments = None, "newton", newton_without, ()
        else:
            order = jackknife._checked_order(order)
            penalty = recorded_penalty(jackknife)
            how = _way(by, order, n_variables(jackknife, penalty), jackknife.n_input, len(sets))
            function, arguments = (_by_tensors if how == "tensors" else _by_series), (order,)
        with distributed(jackknife, executor) as some:
            if some is None:
                values = function(jackknife, sets, *arguments)
            else:
                if how == "tensors" and order > 1:
                    arguments = (order, _tensors(jackknife, order, penalty).coefficients)
                values = some.by_sets(function, sets, *arguments)
        lost = unidentified_sets(jackknife, sets) if method == "series" else False
    failed = nothing_left | lost | ~np.isfinite(values).all(axis=1)
    values[failed] = np.nan
    if failed.any() and failed.all():
        raise DataError(
            f"none of {len(sets)} sets can be left out: "
            + ("no observation with a weight is left." if nothing_left.all() else "no refit is finite or identified.")
        )
    return Refits(values, how, order, sets.names, jackknife.parameter_names, failed)


def checked_way(method, order, by):
    """Raise for a method or a way that is not known, or that takes no order."""
    if method not in ("series", "newton"):
        raise ValueError(f"method={method!r} is not known: use 'series' or 'newton'.")
    if by not in _WAYS:
        raise ValueError(f"by={by!r} is not known: use one of {', '.join(map(repr, _WAYS))}.")
    if method == "newton" and (order is not None or by != "auto"):
        raise ValueError("method='newton' is one Newton step: it has no order and is not done by tensors or series.")


def _way(by, order, n_variables, n_input, n_sets):
    """Whether tensors or series: tensors for few inputs and low orders, where they need fewer directions than sets."""
    if by == "tensors" and order > _HIGHEST_ORDER:
        raise ValueError(f"by='tensors' has orders up to {_HIGHEST_ORDER}, not {order}: use by='series'.")
    if by != "auto":
        return by
    is_small = n_input <= _LARGEST_INPUT and order <= _HIGHEST_ORDER
    return "tensors" if is_small and n_sets >= count(n_variables, order) else "series"


def _nothing_left(jackknife, sets):
    """Sets without which no observation has a weight, where no penalty is left either."""
    if jackknife.model.penalty is not None:
        return np.zeros(len(sets), bool)
    has_weight = jackknife.weights0 > 0.0
    return sets.totals(has_weight[sets.rows].astype(float)) == has_weight.sum()


def _tensors(jackknife, order, penalty):
    scores = jackknife.model.scores(jackknife.input_val0)
    return TotalTensors(jackknife, order, penalty, linear_rows(jackknife.model, jackknife.input_val0, scores, order))


def _by_tensors(jackknife, sets, order, coefficients=None):
    """Refits, (n_sets, n_input), through tensors, which may have been made before."""
    penalty = recorded_penalty(jackknife)
    solve, flat = jackknife.expansion.solver.solve, jackknife.input_val0
    changes, scores = -jackknife.weights0[sets.rows], jackknife.model.scores(flat)
    r, totals = sets.sums(changes, scores), None
    if n_variables(jackknife, penalty) > len(flat):
        totals = sets.totals(changes)[:, None]
        r += totals * penalty.pushed(1, np.ones((1, 1)))
    series = [-solve(r.T).T]
    if order > 1:
        rows = linear_rows(jackknife.model, flat, scores, order)
        if coefficients is None:
            tensors = TotalTensors(jackknife, order, penalty, rows)
        else:
            tensors = TotalTensors.of(coefficients)
        rows = TapedRows(jackknife.model, flat) if rows is None else rows
    while len(series) < order:
        r = rows.own(series, sets, changes) + tensors.coefficient(with_totals(series, totals))
        series.append(-solve(r.T).T)
    return sum(series[::-1]) + flat


def with_totals(series, totals):
    """Series of the variables of F: those of the input, and that of the sum of the weights, which is linear."""
    if totals is None:
        return series
    return [np.hstack([c, totals if k == 0 else np.zeros_like(totals)]) for k, c in enumerate(series)]


def _by_series(jackknife, sets, order):
    """Refits, (n_sets, n_input), along directions in batches; NaN where one overflows."""
    terms = np.empty((order, len(sets), jackknife.n_input))
    try:
        _fill(jackknife, sets, 0, terms)
    except NonFiniteError:
        for i in range(len(sets)):
            try:
                _fill(jackknife, sets, i, terms[:, i : i + 1])
            except NonFiniteError:
                terms[:, i] = np.nan
    return terms[::-1].sum(axis=0) + jackknife.input_val0


def _fill(jackknife, sets, first, out):
    def directions_of(start, stop, directions):
        directions[...] = 0.0
        for i in range(start, stop):
            rows = sets[first + i]
            directions[i - start, rows] = -jackknife.weights0[rows]

    jackknife.expansion._recursion.batch(directions_of, out.shape[1], out)
