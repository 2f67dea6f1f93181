"""What single observations contribute to a series, without a pass over all of them.

Along ``weights0 + t d``, d nonzero for the few rows of a set, the estimating equation is that of all rows at
``weights0`` plus ``t sum_n d_n g_n(input)``. So ``r_k`` takes from the rows of the set

    sum_n d_n [t^{k-1}] g_n(input_0 + input_1 t + ...).

Many losses depend on the input through one linear combination of it, ``loss_n = phi_n(p_n . (input - input_0))``, as
those of generalised linear models do: then ``p_n`` is the score and the coefficients of ``phi_n`` along one direction
are those along every other. Whether they do is found out by trying other directions. Where they do not, the rows of a
block are one tape.
"""

import math

import numpy as np

from ..executors import progress
from ..taylor.recorded import Recorded
from ..taylor.series import Workspace
from .symmetric import moments

__all__ = ["LinearRows", "TapedRows", "linear_rows"]

_BLOCK_ROWS, _BLOCK_ROWS_OF_JACOBIANS = 128, 32
_N_CANDIDATES = 3
_TOL = 1e-10
_OF_USUAL, _OF_LARGEST = 1e-14, 1e-16  # parts of the rows' coefficients that are rounding
_OF_SUM = 1e-12
_ROUNDING = 16.0 * np.finfo(float).eps


class LinearRows:
    """Rows whose losses depend on the input through one linear combination each.

    Parameters
    ----------
    slopes : ndarray of shape (n_obs, n_input)
        ``p_n``, which is ``g_n``.
    coefficients : ndarray of shape (order + 1, n_obs)
        Of the series ``phi_n(z) = loss_n(0) + sum_k coefficients[k - 1, n] z^k``.
    """

    def __init__(self, slopes, coefficients):
        self.slopes, self.coefficients = slopes, coefficients

    def own(self, series, sets, changes):
        """``sum_n d_n [t^{k-1}] g_n`` of every set, (n_sets, n_input), for k one more than the length of the series.

        Parameters
        ----------
        series : list of ndarray of shape (n_sets, n_input)
            ``input_1 .. input_{k-1}`` of every set; at most two.
        sets : Sets
        changes : ndarray
            ``d_n`` for ``sets.rows``.
        """
        slopes, set_of_row = self.slopes[sets.rows], sets.set_of_row()
        phi = self.coefficients[:, sets.rows]
        z = [np.einsum("ij,ij->i", slopes, c[set_of_row]) for c in series]
        if not z:
            value = phi[0]
        elif len(z) == 1:
            value = 2.0 * phi[1] * z[0]
        else:
            value = 2.0 * phi[1] * z[1] + 3.0 * phi[2] * z[0] ** 2
        return sets.sums(changes * value, self.slopes)

    def curvatures(self):
        """``k_n`` in ``H_n = k_n p_n p_n^T``, (n_obs,)."""
        return 2.0 * self.coefficients[1]

    def derivatives(self, weights, order):
        """Derivatives of order 1..order of ``sum_n w_n g_n``: list of packed ndarrays (n_input, n_packed).

        They are ``(k + 1)! sum_n w_n phi_{n,k+1} p_n (p_n x ... x p_n)``, k + 1 factors p_n, symmetric in all.
        """
        return [
            moments(self.slopes, math.factorial(k + 1) * weights * self.coefficients[k], k) for k in range(1, order + 1)
        ]


def linear_rows(model, flat, scores, order):
    """The :class:`LinearRows` of a model to an order of its scores' series, or None if its losses are not such.

    Parameters
    ----------
    model : WeightedModel
    flat : ndarray of shape (n_input,)
        The base point.
    scores : ndarray of shape (n_obs, n_input)
    order : int
    """
    if not model.is_objective:
        return None
    # in units that make all inputs alike; an input that no row depends on may have any
    units = np.max(np.abs(scores), axis=0)
    units = np.where(units > 0.0, units, 1.0)
    signs = np.random.default_rng(4).choice([-1.0, 1.0], (2 * _N_CANDIDATES, flat.size))
    stretch = np.random.default_rng(5).uniform(0.5, 1.5, signs.shape)
    directions = signs * stretch / units
    found = _series_of(model, flat, directions, order + 1)
    along = scores @ directions.T
    with np.errstate(all="ignore"):
        best = np.argmax(np.abs(along[:, :_N_CANDIDATES]), axis=1)
        rows, powers = np.arange(len(scores)), np.arange(1, order + 2)[:, None]
        coefficients = found[:, best, rows] / along[rows, best] ** powers
        coefficients[:, ~np.any(scores, axis=1)] = 0.0
        coefficients[0] = 1.0
        if not _is_linear(scores, units, directions, coefficients, found, along):
            return None
    return LinearRows(scores, coefficients)


def _is_linear(scores, units, directions, coefficients, found, along):
    """Whether the rows' series along all directions are those of one linear combination each, to rounding."""
    sizes = np.abs(directions) @ np.abs(scores).T
    # scores that are small beside the others' may be differences of large terms, with an error of its own in every
    # component; it may be let be where the row is nothing beside the sum
    lengths = np.max(np.abs(scores) / units, axis=1)
    noise = np.where(lengths > 0.0, _ROUNDING / np.where(lengths > 0.0, lengths, 1.0), 0.0)
    for k, (c, values) in enumerate(zip(coefficients, found, strict=True), 1):
        usual = np.abs(values)
        negligible = np.maximum(_OF_USUAL * np.median(usual, axis=1), _OF_LARGEST * usual.max(axis=1))
        size = np.abs(c) * sizes**k
        noisy = np.minimum(k * noise * size, _OF_SUM * usual.sum(axis=1, keepdims=True))
        allowed = _TOL * size + noisy + negligible[:, None]
        if not np.all(np.abs(values - c * along.T**k) <= allowed):
            return False
    return True


def _series_of(model, flat, directions, order):
    """Coefficients 1..order of every loss along directions, (order, n_directions, n_obs)."""
    recorded = Recorded(model.contributions, (flat,))
    out = np.zeros((order, len(directions), model.n_obs))
    with np.errstate(all="ignore"):
        replay = recorded.start(len(directions))
        for k in range(order):
            (c,) = replay.coefficient([directions if k == 0 else None])
            if c is not None:
                out[k] = c
    return out


class TapedRows:
    """Any rows: one tape for a block of them.

    Parameters
    ----------
    model : WeightedModel
    flat : ndarray of shape (n_input,)
        The base point.
    """

    def __init__(self, model, flat):
        self._model, self._flat = model, flat

    def own(self, series, sets, changes):
        """As :meth:`LinearRows.own`, of any order."""
        out = np.zeros((len(sets), self._flat.size))
        for block in progress(list(sets.blocks(_BLOCK_ROWS)), what="rows"):
            rows = slice(sets.starts[block.start], sets.starts[block.stop])
            if rows.stop > rows.start:
                weights = np.zeros((block.stop - block.start, rows.stop - rows.start))
                weights[sets.set_of_row()[rows] - block.start, np.arange(weights.shape[1])] = changes[rows]
                out[block] = self._of_block(sets.rows[rows], weights, [c[block] for c in series])
        return out

    def jacobians(self, sets, changes):
        """``sum_n d_n H_n`` over the rows of every set, (n_sets, n_input, n_input)."""
        n, out = self._flat.size, np.zeros((len(sets), self._flat.size, self._flat.size))
        for block in sets.blocks(_BLOCK_ROWS_OF_JACOBIANS):
            rows, n_sets = slice(sets.starts[block.start], sets.starts[block.stop]), block.stop - block.start
            if rows.stop > rows.start:
                weights = np.zeros((n_sets, rows.stop - rows.start))
                weights[sets.set_of_row()[rows] - block.start, np.arange(weights.shape[1])] = changes[rows]
                products = self._of_block(
                    sets.rows[rows], np.repeat(weights, n, axis=0), [np.tile(np.eye(n), (n_sets, 1))]
                )
                out[block] = np.reshape(products, (n_sets, n, n)).transpose(0, 2, 1)
        return out

    def _of_block(self, rows, weights, series):
        """At weights zero what a direction of the weights adds at order k is the sum that is wanted."""
        model = self._model
        recorded = Recorded(model.equation(model.rows_function(rows)), (self._flat, np.zeros(len(rows))))
        with np.errstate(all="ignore"):
            replay = recorded.start(len(weights), Workspace(len(weights)))
            for k in range(len(series) + 1):
                c_input = np.ascontiguousarray(series[k]) if k < len(series) else None
                (c,) = replay.coefficient([c_input, weights if k == 0 else None])
        return np.zeros((len(weights), self._flat.size)) if c is None else c
