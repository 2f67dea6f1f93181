"""A weighted sum over observations: ``sum_n weights_n loss_n(input) + penalty(input, hyper, sum(weights))``.

Or an estimating equation of that form, ``sum_n weights_n g_n(input) + d penalty / d input``. What a row contributes
depends on that row alone; this is checked on a sample, because everything that leaves rows out rests on it.
"""

import inspect

import autograd.numpy as anp
import numpy as np
from autograd import grad

from ..errors import DataError, NonFiniteError, ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Structure, flatten_traced
from ..taylor.recorded import Recorded
from ..taylor.tracing import traced_code

__all__ = ["WeightedModel"]

_MIXING_TOL, _ROUNDING, _SAMPLE = 1e-8, 1e-16, 7


class WeightedModel:
    """The contributions of observations, and what is added to their weighted sum.

    Parameters
    ----------
    loss : callable
        ``loss(input, *rows) -> (n_rows,)``, or with ``is_objective=False`` ``g(input, *rows) -> (n_rows, n_input)``.
    input_val0 : array_like of shape (n_input,), or nested
    data : tuple of array_like, n_obs first
        A single array counts as a tuple of one.
    penalty : callable or None
        Of (input), (input, hyper) or (input, hyper, sum(weights)); a scalar.
    hyper
        Handed to the penalty as it is.
    is_objective : bool
    """

    def __init__(self, loss, input_val0, data, penalty, hyper, is_objective):
        if not callable(loss):
            raise TypeError(f"loss must be a function of (input, *rows), got {type(loss).__name__}.")
        self.loss, self.hyper, self.is_objective = loss, hyper, is_objective
        self.data = _checked_data(data)
        self.n_obs = len(self.data[0])
        self.input = Structure(input_val0, "input_val0")
        self.penalty = penalty
        self._penalty = _with_three_arguments(penalty, hyper)
        self._check_rows()

    def rows(self, index):
        """The data of some observations."""
        return tuple(array[index] for array in self.data)

    def contributions(self, flat, index=None):
        """Losses (n_rows,), or ``g`` (n_rows, n_input), at a flat input, which may be traced; default: of all rows."""
        rows = self.data if index is None else self.rows(index)
        return self.loss(self.input.unflatten(flat), *rows)

    def function(self, index=None):
        """The weighted sum of all or some rows, with the penalty: a function of (input, weights) for the engine."""
        rows = self.data if index is None else self.rows(index)

        def of_rows(input_val, weights):
            total = self._sum(input_val, weights, rows)
            if self.penalty is None:
                return total
            return total + self._penalised(input_val, anp.sum(weights))

        return of_rows

    def rows_function(self, index):
        """The weighted sum of some rows without the penalty: a function of (input, weights of these rows)."""
        rows = self.rows(index)
        return lambda input_val, weights: self._sum(input_val, weights, rows)

    def equation(self, function):
        """The estimating equation of a function of (input, other), on a flat input."""
        if self.is_objective:
            return lambda x, other: grad(lambda v: function(self.input.unflatten(v), other))(x)
        return lambda x, other: flatten_traced(function(self.input.unflatten(x), other))

    def penalty_equation(self):
        """The penalty's share of the estimating equation, of (flat input, sum(weights) as an array of one)."""

        def of_flat(v, total):
            # autograd warns of what does not depend on the input, as a penalty of strength zero may not
            return self._penalty(self.input.unflatten(v), self.hyper, total) + 0.0 * anp.sum(v)

        return lambda x, total: grad(of_flat)(x, total[0])

    def _sum(self, input_val, weights, rows):
        contributions = self.loss(input_val, *rows)
        return anp.sum(weights * contributions) if self.is_objective else anp.dot(weights, contributions)

    def _penalised(self, input_val, total_weight):
        if self.is_objective:
            return self._penalty(input_val, self.hyper, total_weight)
        return self.penalty_equation()(flatten_traced(input_val), anp.reshape(total_weight, (1,)))

    def scores(self, flat):
        """``g_n`` of every observation, (n_obs, n_input): gradients of the losses, from a tape."""
        flat = np.asarray(flat, dtype=np.float64)
        what = f"the scores of {self.n_obs} observations in {flat.size} inputs"
        check_size(8 * self.n_obs * flat.size, what, memory_limit(), OF_MEMORY, "use methods that need no scores")
        if not self.is_objective:
            with traced_code():
                return np.array(self.contributions(flat), dtype=np.float64)
        recorded = Recorded(self.contributions, (flat,))
        return np.ascontiguousarray(recorded.products(0, np.eye(flat.size)).T)

    def losses(self, flat, index=None):
        """Losses of all or some observations at a flat input, (n_rows,)."""
        with traced_code():
            return np.asarray(self.contributions(np.asarray(flat, dtype=np.float64), index), dtype=np.float64)

    def _check_rows(self):
        """Contributions of the right shape, finite, and each from its own row."""
        flat, n = self.input.flat0, self.n_obs
        what = "loss" if self.is_objective else "g"
        with np.errstate(all="ignore"):
            whole = self.losses(flat)
            expected = (n,) if self.is_objective else (n, flat.size)
            if whole.shape != expected:
                raise ShapeError(
                    f"{what}(input, *rows) has shape {whole.shape} for {n} observations: {expected} is needed, "
                    f"{'one loss' if self.is_objective else 'one row of estimating equations'} for each row."
                )
            bad = np.flatnonzero(~np.isfinite(whole.reshape(n, -1)).all(axis=1))
            if bad.size:
                raise NonFiniteError(
                    f"the {what} of {bad.size} of {n} observations is NaN or infinite at input_val0, the first is "
                    f"observation {bad[0]}: drop those rows (missing values?), or correct the data."
                )
            if n > 1:
                # at another input too: where a coefficient is zero, so is what its column's mean would do
                nearby = flat + 1e-3 * (1.0 + np.abs(flat)) * np.where(np.arange(flat.size) % 2, 1.0, -1.0)
                there = self.losses(nearby)
                # losses that vanish at a perfect fit are rounding, which differs with the number of rows
                rounding = _ROUNDING * np.max(np.abs(there[np.isfinite(there)]), initial=0.0)
                self._check_mixing(what, flat, whole, rounding)
                self._check_mixing(what, nearby, there, rounding)

    def _check_mixing(self, what, flat, whole, rounding):
        sample = np.unique(np.linspace(0, self.n_obs - 1, min(self.n_obs - 1, _SAMPLE)).astype(int))
        found, expected = self.losses(flat, sample), whole[sample]
        if found.shape == expected.shape:
            allowed = _MIXING_TOL * (np.max(np.abs(whole[np.isfinite(whole)]), initial=0.0) + 1e-300) + rounding
            # undefined at the nearby input: no evidence
            differs = np.abs(found - expected).reshape(len(sample), -1).max(axis=1) > allowed
        else:
            differs = np.ones(len(sample), bool)
        if differs.any():
            raise DataError(
                f"the {what} mixes rows: that of observation {sample[np.argmax(differs)]} is another one when "
                f"{len(sample)} rows are given instead of all {self.n_obs}; a row's must depend on that row alone (no "
                "centring by means of the rows, no sums or averages over them: do that to the data beforehand)."
            )


def _checked_data(data):
    data = data if isinstance(data, (tuple, list)) else (data,)
    arrays = tuple(_as_array(array, i).view() for i, array in enumerate(data))
    for array in arrays:
        array.setflags(write=False)
    if not arrays or any(array.ndim == 0 for array in arrays) or len({len(array) for array in arrays}) != 1:
        shapes = [array.shape for array in arrays]
        raise ShapeError(f"data has shapes {shapes}: a tuple of arrays with one row per observation each is needed.")
    if len(arrays[0]) == 0:
        raise ShapeError("data has no observations.")
    return arrays


def _as_array(values, i):
    """An array of one type: objects that are numbers, as in a table of several types, become numbers."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"data[{i}] is no array: {error}") from error
    if array.dtype.kind != "O":
        return array
    kinds = {type(value) for value in array.ravel()}
    if all(issubclass(kind, (bool, np.bool_, int, float, np.integer, np.floating)) for kind in kinds):
        return array.astype(np.float64)
    if array.ndim > 1:
        raise DataError(
            f"data[{i}] has elements of types {sorted(kind.__name__ for kind in kinds)}: pass the columns that are "
            "numbers, and the others, as arrays of their own."
        )
    return array


def _with_three_arguments(penalty, hyper):
    """A penalty of (input, hyper, sum(weights)) from one of the first few of these."""
    if penalty is None:
        if hyper is not None:
            raise TypeError("hyper is given but no penalty, which alone would get it.")
        return None
    if not callable(penalty):
        raise TypeError(f"penalty must be a function, got {type(penalty).__name__}.")
    parameters = inspect.signature(penalty).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return penalty
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    n_required = sum(p.default is p.empty for p in positional)
    n = min(max(n_required, 1 if hyper is None else 2), len(positional))
    if not 1 <= n <= 3:
        raise TypeError(f"penalty takes {n} arguments: (input), (input, hyper) or (input, hyper, sum(weights)).")
    if hyper is not None and n == 1:
        raise TypeError("hyper is given but the penalty takes the input alone: let it take (input, hyper).")
    return lambda *arguments: penalty(*arguments[:n])
