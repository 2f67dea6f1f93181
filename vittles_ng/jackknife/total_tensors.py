"""Derivative tensors of the whole estimating equation at the fit's own weights.

``F(input, total) = sum_n weights0_n g_n(input) + d penalty(input, hyper, total) / d input``, in the input and, where
the penalty depends on it, the sum of the weights as one more variable. With them ``[t^k] F`` along any series of the
input is a contraction (Griewank & Walther, "Evaluating Derivatives", ch. 13).
"""

import numpy as np

from ..problem import Structure
from ..taylor.recorded import Recorded
from ..taylor.series import Workspace
from ..tensors.derivatives import derivative_tensors
from ..tensors.multi_indices import count, factorials
from .symmetric import contraction

__all__ = ["SeriesOfSum", "TotalTensors", "n_variables", "recorded_penalty"]

_BLOCK_NUMBERS = 2**17  # of the data's rows times inputs that are one tape
_STEP_NUMBERS = 2**15  # rows times directions: coefficients of a replay that stay in cache


def recorded_penalty(jackknife):
    """The penalty's tape in (input, sum of weights), or None."""
    if jackknife.model.penalty is None:
        return None
    total = np.array([np.sum(jackknife.weights0)])
    return Recorded(jackknife.model.penalty_equation(), (jackknife.input_val0, total))


def n_variables(jackknife, penalty):
    """Number of variables of F: the inputs, and the sum of the weights where the penalty depends on it."""
    return jackknife.n_input + int(penalty is not None and penalty.depends_on(1))


class TotalTensors:
    """Coefficients of ``F`` along series of the input.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    order : int
        Highest coefficient, 2 or 3.
    penalty : Recorded or None
    rows : LinearRows or None
        Where the rows are such; otherwise tapes of blocks of rows are replayed.
    """

    def __init__(self, jackknife, order, penalty, rows):
        n, n_input = n_variables(jackknife, penalty), jackknife.n_input
        at = np.zeros(n)
        # what lengths of the variables are compared by: a step of one standard error where losses are log densities
        size = np.full(n_input, np.sqrt(np.max(np.abs(_unit_products(jackknife)))) or 1.0)
        functions = [] if penalty is None else [(penalty, 1)]
        if rows is None:
            functions += _row_blocks(jackknife)
        if functions:
            made = derivative_tensors(SeriesOfSum(functions, n_input), size, Structure(at, "variables"), order)
            packed = [p.copy() for p in made.packed]
        else:
            packed = [np.zeros((n_input, count(n, k))) for k in range(1, order + 1)]
        if rows is not None:
            for total, part in zip(packed, rows.derivatives(jackknife.weights0, order), strict=True):
                total[:, : part.shape[1]] += part  # multi-indices without the last variable come first
        #: T_i / i! of the orders 2..order
        self.coefficients = {k: p / factorials(n, k) for k, p in enumerate(packed, 1) if k > 1}

    @classmethod
    def of(cls, coefficients):
        """From the ``coefficients`` of others, such as sums of them over blocks of rows."""
        made = cls.__new__(cls)
        made.coefficients = coefficients
        return made

    def coefficient(self, series):
        """``[t^k] F`` along ``series[0] t + series[1] t^2 + ...``, k one more than its length, (n_sets, n_input).

        Parameters
        ----------
        series : list of ndarray of shape (n_sets, n_variables)
            One or two.
        """
        if len(series) == 1:
            return contraction(self.coefficients[2], 2, series[0])
        return contraction(self.coefficients[2], 2, *series) + contraction(self.coefficients[3], 3, series[0])


def _unit_products(jackknife):
    return jackknife.expansion._problem.jacobian_products(np.ones((1, jackknife.n_input)))


def _row_blocks(jackknife):
    """Tapes of the weighted sum over blocks of rows, as functions of the input."""
    model, n = jackknife.model, jackknife.n_obs
    length = max(64, _BLOCK_NUMBERS // jackknife.n_input)
    for start in range(0, n, length):
        rows = slice(start, min(start + length, n))
        equation, weights = model.equation(model.rows_function(rows)), jackknife.weights0[rows]
        fixed = Recorded(lambda x, of=equation, w=weights: of(x, w), (jackknife.input_val0,))
        yield fixed, rows.stop - rows.start


class SeriesOfSum:
    """Coefficients of a sum of recorded functions, in the form of a recursion for ``derivative_tensors``."""

    def __init__(self, functions, n_input):
        self._functions, self._n_input = list(functions), n_input

    def terms(self, new, origin, out):
        out[...] = 0.0
        for recorded, n_rows in self._functions:
            block = int(np.clip(_STEP_NUMBERS // max(n_rows, 1), 8, 512))
            workspaces = {}
            for start in range(0, len(new), block):
                steps = new[start : start + block] - origin
                ws = workspaces.setdefault(len(steps), Workspace(len(steps)))
                self._add(recorded, steps, ws, out[:, start : start + block])

    def _add(self, recorded, steps, ws, out):
        given = [np.ascontiguousarray(steps[:, : self._n_input])]
        if len(recorded.tapes[0].roots) == 2:
            n = self._n_input
            given.append(np.ascontiguousarray(steps[:, n:]) if steps.shape[1] > n else None)
        replay = recorded.start(len(steps), ws)
        for k in range(len(out)):
            (c,) = replay.coefficient(given if k == 0 else [None] * len(given))
            if c is not None:
                out[k] += c
