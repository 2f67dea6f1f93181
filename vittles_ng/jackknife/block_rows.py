"""What is asked of the rows of a block, where it is; each function gets the model without data, and the block."""

from types import SimpleNamespace

import numpy as np

from .leave_one_out import with_totals
from .newton_step import newton_without
from .row_series import TapedRows, linear_rows
from .sets import Sets
from .total_tensors import TotalTensors

__all__ = ["looked_at", "meat", "newton", "one_by_one", "responses", "sums_by_group", "tensors"]


def looked_at(_, __, weights):
    """How many weights are not finite, how many negative, and the sums of the sets."""
    return np.sum(~np.isfinite(weights)), np.sum(weights < 0.0), np.asarray(weights, dtype=float).sum(axis=1)


def responses(parts, block, flat, share, adjoint):
    """Scores times columns, (n_rows, n_columns)."""
    return (parts.model(block).scores(flat) + share) @ adjoint


def meat(parts, block, weights, flat, share):
    """``sum_n w_n s_n s_n^T`` and ``sum_n w_n s_n``."""
    scores = parts.model(block).scores(flat) + share
    return (scores * weights[:, None]).T @ scores, weights @ scores


def sums_by_group(parts, block, weights, group, flat, share, n_groups):
    """``sum_n w_n s_n`` of every group, (n_groups, n_input), in a tuple."""
    sums = np.zeros((n_groups, len(flat)))
    np.add.at(sums, group, weights[:, None] * (parts.model(block).scores(flat) + share))
    return (sums,)


def _as_jackknife(parts, block, weights, point):
    """The rows of a block as what functions of a jackknife ask for; H and its factor are those of all rows."""
    flat, matrix, solver = point
    problem = SimpleNamespace(jacobian_products=lambda v: v @ matrix.T, matrix=lambda: matrix)
    model = parts.model(block)
    expansion = SimpleNamespace(solver=solver, _problem=problem)
    weights = np.array(weights)
    return SimpleNamespace(
        model=model, weights0=weights, input_val0=flat, n_input=len(flat), n_obs=model.n_obs, expansion=expansion
    )


def newton(parts, block, weights, point):
    """One Newton step from the fit, without each row of a block, (n_rows, n_input)."""
    some = _as_jackknife(parts, block, weights, point)
    return newton_without(some, Sets(np.arange(some.n_obs), np.arange(some.n_obs + 1)))


def tensors(parts, block, weights, point, order):
    """A block's share of ``T_i / i!`` of orders 2..order."""
    some = _as_jackknife(parts, block, weights, point)
    rows = linear_rows(some.model, some.input_val0, some.model.scores(some.input_val0), order)
    made = TotalTensors(some, order, None, rows)
    return tuple(made.coefficients[k] for k in range(2, order + 1))


def one_by_one(parts, block, weights, point, order, coefficients, share):
    """Refits without each row of a block, (n_rows, n_input)."""
    some = _as_jackknife(parts, block, weights, point)
    flat, solve = some.input_val0, some.expansion.solver.solve
    scores, changes, totals = some.model.scores(flat), -some.weights0, None
    sets, r = Sets(np.arange(len(changes)), np.arange(len(changes) + 1)), changes[:, None] * scores
    if share is not None:
        totals = changes[:, None]
        r = r + totals * share
    series = [-solve(np.ascontiguousarray(r.T)).T]
    if order > 1:
        rows = linear_rows(some.model, flat, scores, order)
        rows = TapedRows(some.model, flat) if rows is None else rows
        tensors = TotalTensors.of(coefficients)
    while len(series) < order:
        r = rows.own(series, sets, changes) + tensors.coefficient(with_totals(series, totals))
        series.append(-solve(np.ascontiguousarray(r.T)).T)
    return flat + sum(series[::-1])
