"""Influence: how a functional of the fit moves with the weight of each observation.

With ``G(input, w) = sum_n w_n g_n(input) + d penalty(input, hyper, sum(w)) / d input`` the first-order response is

    d input / d w_n = -H^{-1} s_n,    s_n = g_n + d/d(sum w) d penalty / d input,

and for a functional q one adjoint solve, ``d q / d w_n = -lambda^T s_n`` with ``H^T lambda = dq/dinput``. Leaving out
observation n moves the functional by about minus w_n times that.

Sources: Hampel, J. Amer. Statist. Assoc. 69 (1974) 383; Cook & Weisberg, "Residuals and Influence in Regression"
(1982); Giordano et al., "A Swiss Army Infinitesimal Jackknife", arXiv 1806.00550.
"""

import numpy as np

from ..memory import OF_MEMORY, check_size, memory_limit
from ..taylor.recorded import Recorded
from .checks import checked_groups

__all__ = ["group_sums", "influence", "labels_of", "weight_scores"]


def influence(jackknife, functional=None, groups=None):
    """Derivative of a functional in the weight of each observation, or of each group."""
    if functional is None:
        found = -jackknife.expansion.solver.solve(np.ascontiguousarray(weight_scores(jackknife).T)).T
    else:
        found = jackknife.expansion.functional(functional).gradient()
        found = np.moveaxis(found, -1, 0)
    labels = labels_of(jackknife, groups)
    if labels is not None:
        found = group_sums((found.T * jackknife.weights0).T, labels)[1]
    return np.ascontiguousarray(found)


def weight_scores(jackknife):
    """``d G / d w_n`` at the fit: every observation's own term, and its part in a penalty of ``sum(weights)``.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife

    Returns
    -------
    ndarray of shape (n_obs, n_input)

    Raises
    ------
    SizeError
        It would not fit in memory.
    """
    n_bytes = 8 * jackknife.n_obs * jackknife.n_input
    remedy = "ask for the influence on a functional, which needs one solve"
    check_size(n_bytes, "a row of scores for each observation", memory_limit(), OF_MEMORY, remedy)
    return jackknife.model.scores(jackknife.input_val0.ravel()) + _penalty_share(jackknife)


def _penalty_share(jackknife):
    """Derivative of the penalty's gradient in ``sum(weights)``, (n_input,)."""
    model, flat = jackknife.model, jackknife.input_val0.ravel()
    if model.penalty is None:
        return np.zeros(flat.size)
    equation = model.penalty_equation()
    recorded = Recorded(lambda total: equation(flat, total), (np.array([np.sum(jackknife.weights0)]),))
    return recorded.pushed(0, np.ones((1, 1)))[0] if recorded.depends_on(0) else np.zeros(flat.size)


def labels_of(jackknife, groups):
    """Group labels that an argument ``groups`` asks for.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    groups : None or False, True, or array_like of shape (n_obs,)
        No groups, the jackknife's own, or others.

    Returns
    -------
    ndarray of shape (n_obs,) or None

    Raises
    ------
    ValueError
        True where the jackknife has no groups.
    DataError
        All observations are in one group.
    """
    if groups is None or groups is False:
        return None
    if groups is not True:
        return checked_groups(groups, jackknife.n_obs)
    if jackknife.groups is None:
        raise ValueError(
            "groups=True, but the jackknife was made without groups: pass the labels, one per observation."
        )
    return jackknife.groups


def group_sums(rows, labels):
    """Sums of rows (n_obs, ...) within groups: the sorted distinct labels, and the sums (n_groups, ...)."""
    distinct, group = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(distinct), *rows.shape[1:]))
    np.add.at(sums, group, rows)
    return distinct, sums
