"""The jackknife of data in blocks: data larger than memory, or on more than one machine.

Rows stay where they are; what travels is of the size of the input, of its Hessian, and of one weight per row. Every
result is that of the data in one piece, to rounding.
"""

import numpy as np

from ..errors import DataError, NonFiniteError, ShapeError, UnsupportedOnBlocksError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Structure
from ..taylor.recorded import Recorded
from ..tensors.derivatives import derivative_tensors
from ..tensors.multi_indices import factorials
from . import block_rows
from .block_expansion import BlockExpansion, BlockModel, BlockProblem
from .block_sums import blocks_from, is_dask_array
from .core import InfinitesimalJackknife
from .covariance import CORRECTIONS, _factor
from .influence import _penalty_share, group_sums, labels_of
from .leave_one_out import checked_way
from .results import Refits
from .sets import one_each
from .total_tensors import SeriesOfSum, n_variables, recorded_penalty

__all__ = ["BlockJackknife"]

_LARGEST_INPUT, _HIGHEST_ORDER = 64, 3


class BlockJackknife(InfinitesimalJackknife):
    """Approximate refits of a model whose rows are in blocks; made by :meth:`InfinitesimalJackknife.from_blocks`.

    What an :class:`InfinitesimalJackknife` does, except where a method needs all rows in one place: those raise
    :class:`~vittles_ng.errors.UnsupportedOnBlocksError`.
    """

    def __init__(
        self,
        loss,
        input_val0,
        blocks,
        penalty=None,
        hyper=None,
        weights0=None,
        groups=None,
        order=2,
        *,
        executor=None,
        estimating_equation=False,
        parameter_names=None,
        observation_names=None,
        optimum_tol=1e-8,
        polish_optimum=False,
        solver="auto",
    ):
        if estimating_equation and polish_optimum:
            raise TypeError("polish_optimum: an estimating equation is not polished; solve it to a tighter tolerance.")
        is_objective = not estimating_equation
        if not callable(loss):
            raise TypeError(f"loss must be a function of (input, *rows), got {type(loss).__name__}.")
        rows = blocks_from(loss, input_val0, is_objective, blocks, executor)
        model = BlockModel(loss, input_val0, rows, penalty, hyper, is_objective)
        weights0 = weights0.compute() if is_dask_array(weights0) else weights0
        self._build(model, weights0, groups, order, parameter_names, observation_names)
        problem = BlockProblem(model, self.weights0, solver)
        self.expansion = BlockExpansion(problem, self.order, optimum_tol, polish_optimum)

    @classmethod
    def from_estimating_equation(cls, *args, **options):
        """As ``InfinitesimalJackknife.from_blocks(..., estimating_equation=True)``."""
        return cls(*args, estimating_equation=True, **options)

    # ---- by the series, one sum over blocks for each order ----

    def reweight(self, weights, order=None, executor=None):
        """Approximate refits under other weights; as :meth:`InfinitesimalJackknife.reweight`.

        Parameters
        ----------
        weights : array_like or Dask array of shape (n_obs,) or (n_sets, n_obs)
            A Dask array stays on its workers. All sets share one pass over the data for each order.
        order : int, default=None
        executor : None
            The blocks' own executor is used.
        """
        self._no_executor(executor)
        if not (is_dask_array(weights) and self.model.blocks.are_chunks):
            return super().reweight(weights.compute() if is_dask_array(weights) else weights, order)
        order, is_batch = self._checked_order(order), weights.ndim == 2
        weights = weights if is_batch else weights[None, :]
        if weights.ndim != 2 or weights.shape[1] != self.n_obs:
            raise ShapeError(f"weights has shape {weights.shape}: ({self.n_obs},) or (n_sets, {self.n_obs}) is needed.")
        blocks = self.model.blocks
        found = blocks.map(block_rows.looked_at, [(w,) for w in blocks.split(weights)])
        n_nan, n_negative = sum(f[0] for f in found), sum(f[1] for f in found)
        if n_nan:
            raise NonFiniteError(f"{n_nan} of {weights.size} weights are NaN or infinite.")
        if n_negative:
            raise DataError(f"{n_negative} of {weights.size} weights are negative: a weight is an inclusion count.")
        terms, totals = np.empty((order, len(weights), self.n_input)), sum(f[2] for f in found)
        failed = (totals == 0.0) & (self.model.penalty is None)
        if failed.all():
            raise DataError("no observation has a weight: there is nothing to fit.")
        self.expansion._recursion.fill(blocks.split(weights), totals, terms)
        values = self.input_val0 + terms[::-1].sum(axis=0)
        values[failed] = np.nan
        if not is_batch:
            values, failed = values[0], failed[0]
        return Refits(values, "series", order, column_names=self.parameter_names, failed=failed)

    def exact_refit(self, weights, tol=None, executor=None):
        """Refits solved to rounding; as :meth:`InfinitesimalJackknife.exact_refit`, a few passes over the data each."""
        self._no_executor(executor)
        return super().exact_refit(weights, tol)

    def leave_out(self, index_sets, order=None, method="series", by="auto", executor=None):
        """Approximate refits without sets of observations, by the series.

        Parameters and result as of :meth:`InfinitesimalJackknife.leave_out`; ``by="tensors"`` and ``method="newton"``
        need the rows of a set in one place.
        """
        self._no_executor(executor)
        if method == "newton" or by == "tensors":
            raise UnsupportedOnBlocksError(
                "sets of rows of several blocks are left out by method='series', by='series'."
            )
        return super().leave_out(index_sets, order, method, "series")

    # ---- row by row, where the blocks are ----

    def leave_one_out(self, order=None, method="series", by="auto", executor=None):
        """Approximate refits without each observation; with groups, without each group.

        Of order 1 from scores, of orders 2 and 3 by tensors (for at most 64 inputs), or by one Newton step; groups by
        the series. The result, (n_obs, n_input), is held in memory.

        Parameters and result as of :meth:`InfinitesimalJackknife.leave_one_out`.

        Raises
        ------
        UnsupportedOnBlocksError
            What would need one pass over the data for each observation.
        """
        self._no_executor(executor)
        checked_way(method, order, by)
        if method == "series" and (self.groups is not None or by == "series"):
            sets = one_each(self)
            found = super().leave_out([sets[i] for i in range(len(sets))], order, method, "series")
            return Refits(found, "series", found.order, sets.names, self.parameter_names, found.failed)
        if self.groups is not None:
            raise UnsupportedOnBlocksError("groups may lie in several blocks: use method='series'.")
        if method == "newton":
            values, how = self._by_newton(), "newton"
        else:
            order, how = self._checked_order(order), "tensors"
            values = self._by_tensors(order)
        failed = ~np.isfinite(values).all(axis=1)
        if self.model.penalty is None and np.sum(self.weights0 > 0.0) == 1:
            failed |= self.weights0 > 0.0
        values[failed] = np.nan
        if failed.all():
            raise DataError(f"none of {self.n_obs} sets can be left out: no refit is finite or identified.")
        return Refits(values, how, order, self.observation_names, self.parameter_names, failed)

    def _by_newton(self):
        if n_variables(self, recorded_penalty(self)) > self.n_input:
            raise UnsupportedOnBlocksError("one Newton step with a penalty of sum(weights): use method='series'.")
        return self._row_by_row(block_rows.newton, ())

    def _by_tensors(self, order):
        if order > 1 and (order > _HIGHEST_ORDER or self.n_input > _LARGEST_INPUT):
            raise UnsupportedOnBlocksError(
                f"order {order} with {self.n_input} inputs needs a pass over the data for each observation: use an "
                f"order up to {_HIGHEST_ORDER} with at most {_LARGEST_INPUT} inputs, order 1, method='newton', or "
                "by='series', which does that."
            )
        penalty, coefficients = recorded_penalty(self), {}
        share = None if n_variables(self, penalty) == self.n_input else _penalty_share(self)
        if order > 1:
            parts = self.model.blocks.sum(block_rows.tensors, self._weights_by_block(), (self._point(), order))
            coefficients = dict(enumerate(parts, 2))
            if penalty is not None:
                coefficients = {k: _sum(p, coefficients[k]) for k, p in self._penalty_tensors(penalty, order).items()}
        return self._row_by_row(block_rows.one_by_one, (order, coefficients, share))

    def _penalty_tensors(self, penalty, order):
        n = n_variables(self, penalty)
        series, at = SeriesOfSum([(penalty, 1)], self.n_input), Structure(np.zeros(n), "variables")
        made = derivative_tensors(series, np.ones(self.n_input), at, order)
        return {k: made.packed[k - 1] / factorials(n, k) for k in range(2, order + 1)}

    def _row_by_row(self, function, common):
        n_bytes = 8 * self.n_obs * self.n_input
        remedy = "ask for the influence on a functional, or for leave_out() of some sets"
        check_size(n_bytes, "a row for each observation", memory_limit(), OF_MEMORY, remedy)
        return np.concatenate(self.model.blocks.map(function, self._weights_by_block(), (self._point(), *common)))

    def _weights_by_block(self):
        return [(w,) for w in self.model.blocks.split(np.array(self.weights0))]

    def _point(self):
        return np.array(self.input_val0), self.expansion._problem.jacobian(), self.expansion.solver

    def influence(self, functional=None, groups=None):
        """Derivative of a functional in each weight; as :meth:`InfinitesimalJackknife.influence`.

        ``functional`` is one of the input alone.
        """
        labels, flat = labels_of(self, groups), np.array(self.input_val0)
        if functional is None:
            matrix, shape = np.eye(self.n_input), (self.n_input,)
        else:
            unflatten = self.model.input.unflatten
            recorded = Recorded(lambda x: functional(unflatten(x)), (flat,))
            shape = recorded.values[0].shape
            products = (
                recorded.products(0, np.eye(self.n_input))
                if recorded.depends_on(0)
                else np.zeros((self.n_input, *shape))
            )
            matrix = products.reshape(self.n_input, -1)
        adjoint = -self.expansion.solver.solve_transpose(np.ascontiguousarray(matrix))
        n_bytes = 8 * self.n_obs * adjoint.shape[1]
        remedy = "ask for the influence on a scalar functional"
        check_size(n_bytes, "a row for each observation", memory_limit(), OF_MEMORY, remedy)
        share = _penalty_share(self)
        found = np.concatenate(self.model.blocks.map(block_rows.responses, None, (flat, share, adjoint)))
        found = found.reshape(self.n_obs, *shape)
        if labels is not None:
            found = group_sums((found.T * self.weights0).T, labels)[1]
        return found

    def covariance(self, groups=None, centered=False, correction=None):
        """The sandwich covariance, its meat a sum over blocks; as :meth:`InfinitesimalJackknife.covariance`."""
        if correction not in CORRECTIONS[:3]:
            return super().covariance(groups, centered, correction)
        weights, flat, share = self.weights0, np.array(self.input_val0), _penalty_share(self)
        n, labels = float(np.sum(weights)), labels_of(self, groups)
        blocks = self.model.blocks
        if labels is None:
            meat, total = blocks.sum(block_rows.meat, self._weights_by_block(), (flat, share))
            n_clusters = n
            if centered:
                meat = meat - np.outer(total, total) / n
        else:
            distinct, group = np.unique(labels, return_inverse=True)
            by_block = list(zip(blocks.split(np.array(weights)), blocks.split(group), strict=True))
            (rows,) = blocks.sum(block_rows.sums_by_group, by_block, (flat, share, len(distinct)))
            rows = rows[group_sums(weights, labels)[1] > 0.0]
            n_clusters = len(rows)
            if n_clusters < 2:
                raise DataError(f"{n_clusters} group has weight: at least two groups are needed.")
            rows = rows - rows.mean(axis=0) if centered else rows
            meat = rows.T @ rows
        solve = self.expansion.solver.solve
        found = solve(np.ascontiguousarray(solve(meat).T))
        return 0.5 * (found + found.T) * _factor(correction, n, self.n_input, n_clusters)

    # ---- not here ----

    def bias(self, functional=None, groups=None):
        """Not here: it replays a tape of all rows."""
        raise UnsupportedOnBlocksError("bias() replays a tape of all rows, which are in blocks.")

    def cross_validate(self, *args, **options):
        """Not here: it needs the rows of every fold."""
        raise UnsupportedOnBlocksError(
            "cross-validation needs the rows of every fold in one place: use leave_one_out() and each block's losses."
        )

    held_out_losses = cross_validate

    def bootstrap(self, *args, **options):
        """Not here: whether a resample leaves the model identified takes its rows."""
        raise UnsupportedOnBlocksError(
            "bootstrap() looks at the rows of resamples to see whether they identify the model: draw counts, such as "
            "rng.multinomial(n_obs, weights), and pass them to reweight() or exact_refit()."
        )

    @staticmethod
    def _no_executor(executor):
        if executor is not None:
            raise UnsupportedOnBlocksError("the blocks have an executor, which was given when they were made.")


def _sum(with_total, part):
    """Packed tensors in the input and the sum of the weights, plus those in the input alone, which come first."""
    found = with_total.copy()
    found[:, : part.shape[1]] += part
    return found
