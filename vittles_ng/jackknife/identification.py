"""Which sets of weights leave the model unidentified: the case that residuals do not show.

Where no observation that is left says anything of some direction of the input - an indicator whose few ones were not
drawn - the estimating equation holds along all of that direction, and chord steps see nothing wrong. With

    H(w) = H + sum_n (w_n - w0_n) H_n

at the fit, that is a zero eigenvalue of ``H^{-1} H(w)``. It cannot be where ``sum_n |w_n - w0_n| a_n < 1``, ``a_n`` the
sum of absolute eigenvalues of ``H^{-1} H_n``: the leverage, of a generalised linear model (Weyl's inequality).
"""

import numpy as np
import scipy.sparse
from scipy.linalg import eigvalsh

from ..errors import SizeError, VittlesError
from ..taylor.recorded import Recorded
from .influence import group_sums
from .row_series import linear_rows

__all__ = ["judge_of", "unidentified", "unidentified_sets"]

#: Of resamples: with no more than this in one unit, twenty units would have to be missed that alone share a direction.
_MOST_IN_A_UNIT = 0.05
_SINGULAR, _NO_LESS = 1e-9, 1.0 - 1e-6
#: What is said of such a refit.
_RAN_AWAY = "the refit runs away: under these weights the minimum lies at infinity, as of separable data"
_MAX_INPUTS, _MAX_NUMBERS, _MAX_NUMBERS_FOR_SETS, _NUMBERS_AT_ONCE = 200, 2**24, 2**20, 2**21


def unidentified(jackknife, weights_of, n_sets, are_resamples=False, fold_of=None):
    """Sets whose weights leave the model unidentified at the fit.

    Models of more than 200 inputs, or of losses that are no function of one linear combination of the input and have
    more than 16 million second derivatives, are not looked at.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    weights_of : callable
        ``weights_of(rows) -> (n_rows, n_obs)`` for a slice of sets.
    n_sets : int
    are_resamples : bool, default=False
        Whether the sets are drawn at random, so that what needs twenty coincidences need not be looked for.
    fold_of : ndarray of int, shape (n_obs,), default=None
        Where set i leaves out the fold i: the fold of every observation.

    Returns
    -------
    ndarray of bool, shape (n_sets,)
    """
    found = np.zeros(n_sets, bool)
    if are_resamples and _is_spread(jackknife):
        return found
    rows = _rows(jackknife)
    if rows is None:
        return found
    weights0 = jackknife.weights0
    if fold_of is not None:
        for i in np.flatnonzero(np.bincount(fold_of, weights=weights0 * rows.leverages) >= _NO_LESS):
            found[i] = rows.smallest(weights_of(slice(i, i + 1)) - weights0)[0] < _SINGULAR
        return found
    chunk = max(1, _NUMBERS_AT_ONCE // max(jackknife.n_obs, jackknife.n_input**2))
    for start in range(0, n_sets, chunk):
        some = slice(start, min(start + chunk, n_sets))
        changes = weights_of(some) - weights0
        suspect = np.flatnonzero(np.abs(changes) @ rows.leverages >= _NO_LESS)
        if suspect.size:
            found[start + suspect] = rows.smallest(changes[suspect]) < _SINGULAR
    return found


def _is_spread(jackknife):
    """Whether no unit has so much of the leverage that resamples may miss a direction; leverages are found once."""
    if "_leverages" not in vars(jackknife):
        rows = _rows(jackknife)
        jackknife._leverages = None if rows is None else rows.leverages
    if jackknife._leverages is None:
        return True
    shares = jackknife.weights0 * jackknife._leverages
    shares = shares if jackknife.groups is None else group_sums(shares, jackknife.groups)[1]
    return bool(np.max(shares) <= _MOST_IN_A_UNIT)


def unidentified_sets(jackknife, sets):
    """Sets of observations without which the model is not identified at the fit.

    Limits as of :func:`unidentified`, but for a million second derivatives; rows in blocks are not looked at.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    sets : Sets

    Returns
    -------
    ndarray of bool, shape (n_sets,)
    """
    found, weights0 = np.zeros(len(sets), bool), jackknife.weights0
    if hasattr(jackknife.model, "blocks"):
        return found
    try:
        rows = _rows(jackknife, _MAX_NUMBERS_FOR_SETS)
    except SizeError:  # leverages need a row for each observation, where the series may not
        return found
    if rows is None:
        return found
    for i in np.flatnonzero(sets.totals((weights0 * rows.leverages)[sets.rows]) >= _NO_LESS):
        changes = np.zeros((1, len(weights0)))
        changes[0, sets[i]] = -weights0[sets[i]]
        found[i] = rows.smallest(changes)[0] < _SINGULAR
    return found


def judge_of(jackknife):
    """What says of a minimum whether it runs away: the Hessian there is nothing beside the fit's, as on separable data.

    Far out along such a direction gradient and Hessian vanish together, so that steps with the old factor are short.
    Compared are averages over the observations.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife

    Returns
    -------
    callable or None
        ``judge(tape, hessian, weights)``, see :func:`vittles_ng.polish.polish`; None for models of more than 200 inputs
        or without an objective, which are not looked at.
    """
    if not jackknife.model.is_objective or jackknife.n_input > _MAX_INPUTS:
        return None
    total0 = np.sum(jackknife.weights0)

    def judge(tape, hessian, weights):
        try:
            before, there = _fit_matrix(jackknife), _dense(tape.matrix()) if hessian is None else hessian
            share = min(np.sum(weights) / total0, 1.0)
            smallest = eigvalsh(0.5 * (there + there.T), 0.5 * (before + before.T), subset_by_index=[0, 0])[0]
        except (ArithmeticError, np.linalg.LinAlgError, VittlesError):  # what cannot be compared tells nothing
            return ""
        return _RAN_AWAY if smallest < _SINGULAR * share else ""

    return judge


def _fit_matrix(jackknife):
    """The fit's Hessian or Jacobian, (n_input, n_input), formed once."""
    if "_matrix" not in vars(jackknife):
        jackknife._matrix = _dense(jackknife.expansion._problem.matrix())
    return jackknife._matrix


def _dense(matrix):
    return matrix.toarray() if scipy.sparse.issparse(matrix) else matrix


def _rows(jackknife, max_numbers=_MAX_NUMBERS):
    model, n = jackknife.model, jackknife.n_input
    if n > _MAX_INPUTS:
        return None
    matrix = _fit_matrix(jackknife)
    flat = jackknife.input_val0.ravel()
    if model.is_objective:
        try:
            root = np.linalg.cholesky(0.5 * (matrix + matrix.T))
        except np.linalg.LinAlgError:  # definite to the solver, which scales it, and here to no digit
            return None
        linear = linear_rows(model, flat, model.scores(flat), 1)
        if linear is not None:
            return _LinearRows(linear.slopes @ np.linalg.inv(root).T, linear.curvatures())
    if jackknife.n_obs * n * n > max_numbers:
        return None
    if not model.is_objective:
        return _Matrices(np.linalg.solve(matrix, _jacobians(model, flat)), is_symmetric=False)
    inverse = np.linalg.inv(root)
    return _Matrices(inverse @ _hessians(model, flat) @ inverse.T, is_symmetric=True)


class _LinearRows:
    """``H_n = k_n p_n p_n^T``, p in coordinates in which H is one."""

    def __init__(self, slopes, curvatures):
        self._slopes, self._curvatures = slopes, curvatures
        self.leverages = np.abs(curvatures) * np.einsum("ij,ij->i", slopes, slopes)

    def smallest(self, changes):
        """Smallest absolute eigenvalue of ``H^{-1} H(w)`` of every set."""
        eye = np.eye(self._slopes.shape[1])
        sums = [eye + (self._slopes.T * (row * self._curvatures)) @ self._slopes for row in changes]
        return np.min(np.abs(np.linalg.eigvalsh(np.array(sums))), axis=1)


class _Matrices:
    """``H^{-1} H_n``, or the symmetric matrices similar to it, (n_obs, n_input, n_input)."""

    def __init__(self, matrices, is_symmetric):
        self._matrices, self._is_symmetric = matrices, is_symmetric
        n = matrices.shape[1]
        singular = np.linalg.svd(matrices, compute_uv=False)
        self.leverages = np.max(singular, axis=1) * n if not is_symmetric else np.sum(singular, axis=1)

    def smallest(self, changes):
        """As of :class:`_LinearRows`."""
        sums = np.eye(self._matrices.shape[1]) + np.tensordot(changes, self._matrices, axes=1)
        values = np.linalg.eigvalsh(sums) if self._is_symmetric else np.linalg.eigvals(sums)
        return np.min(np.abs(values), axis=1)


def _jacobians(model, flat):
    """Jacobians of every observation's rows of an estimating equation, (n_obs, n_input, n_input)."""
    recorded = Recorded(model.contributions, (flat,))
    if not recorded.depends_on(0):
        return np.zeros((model.n_obs, flat.size, flat.size))
    return np.moveaxis(recorded.products(0, np.eye(flat.size)), 0, 2)


def _hessians(model, flat):
    """Hessians of every observation's loss, by polarisation: ``H_ij = c(e_i + e_j) - c(e_i) - c(e_j)``, c of t^2."""
    n = flat.size
    recorded = Recorded(model.contributions, (flat,))
    i, j = np.triu_indices(n)
    found, eye = np.zeros((len(i), model.n_obs)), np.eye(n)
    directions = eye[i] + np.where(i == j, 0.0, 1.0)[:, None] * eye[j]
    chunk = max(1, _NUMBERS_AT_ONCE // recorded.size)
    with np.errstate(all="ignore"):
        for start in range(0, len(i), chunk):
            rows = directions[start : start + chunk]
            replay = recorded.start(len(rows))
            replay.coefficient([rows])
            (c,) = replay.coefficient([None])
            if c is not None:
                found[start : start + chunk] = c
    out, on_axis = np.empty((model.n_obs, n, n)), found[i == j]
    out[:, i, j] = np.where(i == j, 2.0 * found.T, (found - on_axis[i] - on_axis[j]).T)
    out[:, j, i] = out[:, i, j]
    return out
