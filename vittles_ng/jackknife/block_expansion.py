"""The expansion in the weights where the data are blocks: every pass over the rows is a sum over blocks.

With ``w = weights0 + t d`` the recursion is the engine's, ``input_k = -H^{-1} r_k``,

    r_k = sum_b [t^k] sum_{n in b} (weights0_n + t d_n) g_n(input(t)) + [t^k] d penalty / d input,

one sum over blocks for each order. A block keeps nothing between orders: at order k it replays the orders before from
the series so far, which costs orders squared of arithmetic and saves holding any tape of any block.
"""

from dataclasses import dataclass, field

import numpy as np
from autograd import value_and_grad

from ..base_point import BasePoint, polished
from ..errors import NonFiniteError, UnsupportedOnBlocksError
from ..expansion import ParametricSensitivityTaylorExpansion
from ..problem import Structure
from ..recursion import checked_integer
from ..taylor.recorded import Recorded, block_size
from ..taylor.tracing import traced_code
from ..tensors.evaluation import Evaluation
from .weighted import WeightedModel, _with_three_arguments

__all__ = ["BlockExpansion", "BlockModel", "BlockProblem"]

_WEIGHTS_AT_ONCE = 2**24
_SOLVERS = ("auto", "cholesky", "lu")


class BlockModel(WeightedModel):
    """A weighted sum over the rows of blocks, with its penalty; parameters of :class:`WeightedModel`."""

    def __init__(self, loss, input_val0, blocks, penalty, hyper, is_objective):
        self.loss, self.hyper, self.is_objective = loss, hyper, is_objective
        self.blocks, self.n_obs = blocks, int(blocks.starts[-1])
        self.input = Structure(input_val0, "input_val0")
        self.penalty, self._penalty = penalty, _with_three_arguments(penalty, hyper)

    @property
    def data(self):
        """Not here: the rows are in blocks."""
        raise UnsupportedOnBlocksError(
            "this needs the data in one piece, which are in blocks: gather them, if they fit."
        )

    def scores(self, flat):
        """``g_n`` of every observation, (n_obs, n_input)."""
        return np.concatenate(self.blocks.map(scores, None, (flat,)))

    def losses(self, flat, index=None):
        """Losses of all observations at a flat input, (n_obs,)."""
        found = np.concatenate(self.blocks.map(losses, None, (flat,)))
        return found if index is None else found[index]

    def _check_rows(self):
        pass


def scores(parts, block, flat):
    """``g_n`` of the rows of a block."""
    return parts.model(block).scores(flat)


def losses(parts, block, flat):
    """Losses of the rows of a block, or their ``g``."""
    return parts.model(block).losses(flat)


def residual(parts, block, weights, flat):
    """A block's share of ``G`` and of the objective (zero where there is none)."""
    model = parts.model(block)
    function = model.rows_function(slice(None))
    with traced_code(), np.errstate(all="ignore"):
        if model.is_objective:
            value, gradient = value_and_grad(lambda x: function(model.input.unflatten(x), weights))(flat)
            return np.asarray(gradient, dtype=float), np.float64(value)
        return np.asarray(model.equation(function)(flat, weights), dtype=float), np.float64(0.0)


def jacobian(parts, block, weights, flat):
    """A block's share of ``dG/dinput``, in a tuple."""
    model = parts.model(block)
    equation = model.equation(model.rows_function(slice(None)))
    recorded = Recorded(lambda x: equation(x, weights), (flat,))
    n = len(flat)
    return ((recorded.products(0, np.eye(n)).T if recorded.depends_on(0) else np.zeros((n, n))),)


def coefficient(parts, block, weights0, weights, flat, series):
    """A block's share of ``r_k``, (n_sets, n_input), k one more than the length of the series, in a tuple."""
    model = parts.model(block)
    steps = np.asarray(weights, dtype=np.float64) - weights0
    recorded = Recorded(model.equation(model.rows_function(slice(None))), (flat, np.array(weights0)))
    out, length = np.zeros((len(steps), len(flat))), block_size(recorded.size)
    with np.errstate(all="ignore"):
        for start in range(0, len(steps), length):
            rows = slice(start, start + length)
            replay = recorded.start(len(steps[rows]))
            for k in range(len(series) + 1):
                c_input = np.ascontiguousarray(series[k][rows]) if k < len(series) else None
                (c,) = replay.coefficient([c_input, np.ascontiguousarray(steps[rows]) if k == 0 else None])
            if c is not None:
                out[rows] = c
    return (out,)


class BlockProblem(BasePoint):
    """The estimating equation at its base point; its hyper are the weights.

    Parameters
    ----------
    model : BlockModel
    weights0 : ndarray of shape (n_obs,)
    solver : {"auto", "cholesky", "lu"}
    """

    def __init__(self, model, weights0, solver):
        if solver not in _SOLVERS:
            raise UnsupportedOnBlocksError(
                f"solver={solver!r}: sums over blocks give a dense Hessian; use {', '.join(map(repr, _SOLVERS))}."
            )
        self._model = model
        super().__init__(self._whole, model.input.unflatten(model.input.flat0), weights0, model.is_objective, solver)

    def _whole(self, *_):
        raise UnsupportedOnBlocksError(
            "the estimating equation of blocks is a sum over them, no function of one point."
        )

    @property
    def recorded(self):
        """Not here: no tape holds all rows."""
        raise UnsupportedOnBlocksError(
            "this replays a tape of all rows, which are in blocks: gather the data, if they fit, or use the methods of "
            "the jackknife."
        )

    def _record(self):
        flat = self.input.flat0
        objectives = []
        self.residual0 = self.residual(flat, self.hyper.flat0, objectives.append)
        self.objective0 = objectives[0] if self.is_objective else None
        (self._jacobian,) = self._model.blocks.sum(jacobian, _alone(self._split(self.hyper.flat0)), (np.array(flat),))
        penalty = self._penalty_at(flat, self.hyper.flat0)
        if penalty is not None and penalty.depends_on(0):
            self._jacobian = self._jacobian + penalty.products(0, np.eye(len(flat))).T
        found = [self.residual0, self._jacobian, 0.0 if self.objective0 is None else self.objective0]
        if not all(np.all(np.isfinite(f)) for f in found):
            raise NonFiniteError(
                "the weighted sum of the losses, its gradient or its Hessian is NaN or infinite at the base point: it "
                "is not defined there (log of a negative number, division by zero, overflow)."
            )

    def _split(self, weights):
        return self._model.blocks.split(np.array(weights))

    def _penalty_at(self, flat, weights):
        if self._model.penalty is None:
            return None
        return Recorded(self._model.penalty_equation(), (np.array(flat), np.array([np.sum(weights)])))

    def residual(self, input_flat, hyper_flat, see_objective=None):
        """``G`` at any point, a sum over blocks; the objective's value is handed to ``see_objective``."""
        flat, model = np.array(input_flat), self._model
        total, objective = model.blocks.sum(residual, _alone(self._split(hyper_flat)), (flat,))
        if model.penalty is not None:

            def penalty(x):
                return model._penalty(model.input.unflatten(x), model.hyper, float(np.sum(hyper_flat)))

            with traced_code():
                value, gradient = value_and_grad(penalty)(flat)
            total, objective = total + gradient, objective + value
        if see_objective is not None and self.is_objective:
            see_objective(float(objective))
        return total

    def jacobian(self):
        """``dG/dinput`` at the base point, (n_input, n_input)."""
        return self._jacobian.copy()

    def jacobian_products(self, directions):
        """``dG/dinput v`` for rows v of ``directions``."""
        return np.asarray(directions) @ self._jacobian.T


def _alone(values):
    return [(value,) for value in values]


@dataclass
class BlockRecursion:
    """Series along directions in the weights, as :class:`vittles_ng.recursion.Recursion` gives them."""

    problem: BlockProblem
    solver: object
    _block: int = field(default=1, init=False)

    def along(self, direction, order):
        """Coefficients 1..order along one direction (n_obs,), as (order, n_input)."""
        out = np.empty((order, 1, self.problem.input.size))
        self.terms(self.problem.hyper.flat0 + direction[None], self.problem.hyper.flat0, out)
        return out[:, 0]

    def terms(self, new, origin, out):
        """Terms ``input_k`` of the steps ``new - origin`` into ``out`` (order, n_steps, n_input)."""
        n_at_once = max(1, _WEIGHTS_AT_ONCE // new.shape[1])
        for start in range(0, len(new), n_at_once):
            rows = slice(start, start + n_at_once)
            weights = new[rows] + (self.problem.hyper.flat0 - origin)
            self.fill(self.problem._model.blocks.split(weights), weights.sum(axis=1), out[:, rows])

    def batch(self, rows, n_directions, out):
        """As :meth:`vittles_ng.recursion.Recursion.batch`."""
        n_obs = self.problem.hyper.size
        n_at_once = max(1, _WEIGHTS_AT_ONCE // n_obs)
        for start in range(0, n_directions, n_at_once):
            stop = min(start + n_at_once, n_directions)
            steps = np.zeros((stop - start, n_obs))
            factors = rows(start, stop, steps)
            self.terms(self.problem.hyper.flat0 + steps, self.problem.hyper.flat0, out[:, start:stop])
            if factors is not None:
                out[:, start:stop] *= factors[:, :, None]

    def fill(self, weights, totals, out):
        """The recursion: one sum over blocks for each order.

        Parameters
        ----------
        weights : list
            Of every block, (n_sets, n_rows), or what Dask makes of it.
        totals : ndarray of shape (n_sets,)
            Sums of the weights.
        out : ndarray of shape (order, n_sets, n_input)
        """
        problem, blocks = self.problem, self.problem._model.blocks
        by_block = list(zip(problem._split(problem.hyper.flat0), weights, strict=True))
        flat, series = np.array(problem.input.flat0), []
        change = (totals - np.sum(problem.hyper.flat0))[:, None]
        penalty = problem._penalty_at(flat, problem.hyper.flat0)
        with np.errstate(all="ignore"):
            for k in range(len(out)):
                (r,) = blocks.sum(coefficient, by_block, (flat, np.array(series)))
                r = r + _of_penalty(penalty, change, series)
                series.append(-self.solver.solve(np.ascontiguousarray(r.T)).T)
                if not np.all(np.isfinite(series[-1])):
                    bad = np.sum(~np.isfinite(series[-1]).all(axis=1))
                    raise NonFiniteError(
                        f"the coefficient of order {k + 1} is NaN or infinite in {bad} of {len(r)} directions: the "
                        f"series overflows or does not exist there; use order={k}."
                    )
        out[...] = series


def _of_penalty(penalty, change, series):
    """The penalty's part of ``r_k``, (n_sets, n_input), or 0."""
    if penalty is None:
        return 0.0
    replay = penalty.start(len(change))
    for k in range(len(series) + 1):
        c_input = np.ascontiguousarray(series[k]) if k < len(series) else None
        (c,) = replay.coefficient([c_input, change if k == 0 else None])
    return 0.0 if c is None else c


class BlockExpansion(ParametricSensitivityTaylorExpansion):
    """The expansion of the fit in the weights of rows in blocks.

    Parameters
    ----------
    problem : BlockProblem
    order : int
    optimum_tol : float
    polish_optimum : bool
    """

    def __init__(self, problem, order, optimum_tol, polish_optimum):
        problem = polished(problem) if polish_optimum else problem
        Evaluation.__init__(self, problem.input.flat0, problem.hyper, checked_integer(order, "order", 1))
        if not optimum_tol > 0:
            raise ValueError(f"optimum_tol must be positive, got {optimum_tol}.")
        self._problem, self.solver = problem, problem.factored()
        problem.check_solution(self.solver.solve(problem.residual0), optimum_tol)
        self._recursion = BlockRecursion(problem, self.solver)
