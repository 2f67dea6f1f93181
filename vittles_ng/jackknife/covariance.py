"""Sandwich covariances of the fit: plain, clustered, small-sample corrected, and by deletion.

    V = H^{-1} (sum_n w_n s_n s_n^T) H^{-T},

with ``s_n`` the score of an observation (and its part in a penalty of ``sum(weights)``); with groups the sum is over
the groups' own sums ``sum_{n in c} w_n s_n``. H is the observed information. Centred it is the covariance of the
first-order series over bootstrap weights, the infinitesimal jackknife's.

Sources: Huber, Proc. 5th Berkeley Symp. 1 (1967) 221; White, Econometrica 48 (1980) 817; Liang & Zeger, Biometrika 73
(1986) 13; MacKinnon & White, J. Econometrics 29 (1985) 305 (HC1, HC3, jackknife); Cameron & Miller, J. Human Resources
50 (2015) 317 (clusters and their corrections).
"""

import copy

import numpy as np

from ..errors import DataError, NonFiniteError
from .influence import group_sums, labels_of, weight_scores

__all__ = ["CORRECTIONS", "covariance", "model_covariance"]

CORRECTIONS = (None, "HC1", "stata", "HC3", "jackknife")


def covariance(jackknife, groups=None, centered=False, correction=None):
    """The sandwich covariance of the fit, (n_input, n_input)."""
    if correction not in CORRECTIONS:
        raise ValueError(f"correction={correction!r} is not known: use one of {', '.join(map(repr, CORRECTIONS))}.")
    labels = labels_of(jackknife, groups)
    weights, k = jackknife.weights0, jackknife.n_input
    n = float(np.sum(weights))
    if correction in ("HC3", "jackknife"):
        return _by_deletion(jackknife, labels, centered, correction)
    scores = weight_scores(jackknife)
    if labels is None:
        present, n_clusters = weights > 0.0, n
        if centered:
            scores = scores - weights @ scores / n
        rows = np.sqrt(weights)[:, None] * scores
    else:
        present = group_sums(weights, labels)[1] > 0.0
        n_clusters = int(np.sum(present))
        rows = group_sums(weights[:, None] * scores, labels)[1][present]
        if centered:
            rows = rows - rows.mean(axis=0)
        if n_clusters < 2:
            raise DataError(f"{n_clusters} group has weight: at least two groups are needed.")
    return _sandwich(jackknife, rows) * _factor(correction, n, k, n_clusters)


def _sandwich(jackknife, rows):
    """``H^{-1} rows^T rows H^{-T}``, exactly symmetric."""
    solve = jackknife.expansion.solver.solve
    found = solve(np.ascontiguousarray(solve(rows.T @ rows).T))
    return 0.5 * (found + found.T)


def _factor(correction, n, k, n_clusters):
    """HC1: n / (n - k);  stata: G / (G - 1) (n - 1) / (n - k), which is HC1's where every observation is a cluster."""
    if correction is None:
        return 1.0
    if not n > k:
        raise DataError(f"correction={correction!r} divides by n - k: {n:g} observations for {k} inputs are too few.")
    if correction == "HC1":
        return n / (n - k)
    return n_clusters / (n_clusters - 1.0) * (n - 1.0) / (n - k)


def _by_deletion(jackknife, labels, centered, correction):
    """Outer products of the moves by leaving out each observation, or group, by one Newton step.

    HC3 sums them about the fit; the jackknife about their mean, times (G - 1) / G. One Newton step is exact for least
    squares, where HC3's residuals divided by 1 - h come from it.
    """
    weights = jackknife.weights0
    if labels is None and not np.all((weights == 0.0) | (weights == 1.0)):
        raise DataError(
            f"correction={correction!r} leaves out one observation at a time: weights0 of 0 and 1, or groups, are "
            "needed."
        )
    units = np.arange(jackknife.n_obs) if labels is None else labels
    distinct, total = group_sums(weights, units)
    regrouped = copy.copy(jackknife)
    regrouped.groups = labels
    without = regrouped.leave_one_out(method="newton")
    moves = (np.asarray(without) - jackknife.input_val0)[total > 0.0]
    bad = ~np.isfinite(moves).all(axis=1)
    if bad.any():
        raise NonFiniteError(
            f"leaving out {distinct[total > 0.0][bad][0]} (and {bad.sum() - 1} others of {len(bad)}) leaves the model "
            f"unidentified: correction={correction!r} does not exist; use None, 'HC1' or 'stata'."
        )
    if correction == "jackknife" or centered:
        moves = moves - moves.mean(axis=0)
    found = moves.T @ moves
    return found * (len(moves) - 1.0) / len(moves) if correction == "jackknife" else found


def model_covariance(jackknife):
    """The model's own covariance of the fit, ``dispersion H^{-1}``, which is right only if the model is.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
        Of a loss that is a negative log density, up to ``jackknife.dispersion(input, weights)`` where it has that.

    Returns
    -------
    ndarray of shape (n_input, n_input)
        H is the observed information.

    Raises
    ------
    TypeError
        An estimating equation is no likelihood's.

    Examples
    --------
    >>> import numpy as np
    >>> import vittles_ng as vn
    >>> from vittles_ng.jackknife.covariance import model_covariance
    >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (np.array([1.0, 2.0, 6.0]),))
    >>> model_covariance(mean).round(4)  # unit variance
    array([[0.3333]])
    """
    if not jackknife.model.is_objective:
        raise TypeError("an estimating equation has no covariance of a model: use covariance(), the sandwich.")
    found = jackknife.expansion.solver.solve(np.eye(jackknife.n_input))
    dispersion = getattr(jackknife, "dispersion", None)
    scale = 1.0 if dispersion is None else float(dispersion(jackknife.input_val0, jackknife.weights0))
    return scale * 0.5 * (found + found.T)
