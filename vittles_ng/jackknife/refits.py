"""Refits under any weights: approximate by the series, and exact."""

from dataclasses import replace

import numpy as np

from ..errors import DataError, NonFiniteError, VittlesError
from .identification import judge_of
from .parallel import distributed
from .results import Refits
from .verdicts import terms_of

__all__ = ["exact_refit", "reweight"]

_NOTHING = "no observation has a weight: there is nothing to fit"


def reweight(jackknife, weights, is_batch, order, executor=None):
    """The series at many weights; sets of a batch without a refit are rows of NaN, marked.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    weights : ndarray of shape (n_sets, n_obs)
    is_batch : bool
    order : int

    Returns
    -------
    Refits
    """
    failed = _nothing_to_fit(jackknife, weights, is_batch)
    if is_batch:
        with distributed(jackknife, executor) as some:
            terms = terms_of(jackknife, weights, order) if some is None else some.terms_of(weights, order)
    else:
        terms = np.empty((order, 1, jackknife.n_input))
        jackknife.expansion._terms(weights, jackknife.weights0, terms)
    with np.errstate(all="ignore"):
        values = jackknife.input_val0 + terms[::-1].sum(axis=0)
    failed |= ~np.isfinite(values).all(axis=1)
    values[failed] = np.nan
    if not is_batch:
        if failed[0]:
            raise NonFiniteError(
                f"the terms up to order {order} overflow: such weights are far beyond any use of them."
            )
        values, failed = values[0], failed[0]
    return Refits(values, "series", order, column_names=jackknife.parameter_names, failed=failed)


def exact_refit(jackknife, weights, is_batch, tol, executor=None):
    """Polished refits at many weights; a set that cannot be refitted is marked.

    Returns
    -------
    Refit
    """
    nothing = _nothing_to_fit(jackknife, weights, is_batch)
    if not is_batch:
        refit = jackknife.expansion._refit(weights[0], tol, True, judge=judge_of(jackknife))
        singular = _singular(jackknife, refit.value, weights[0]) if refit.trusted else ""
        return replace(refit, trusted=False, message=singular) if singular else refit
    solvable = np.where(nothing[:, None], jackknife.weights0, weights) if nothing.any() else weights
    with distributed(jackknife, executor) as some:
        refit = refits(jackknife, solvable, tol) if some is None else some.refits(solvable, tol)
    for i in np.flatnonzero(nothing):
        refit.value[i], refit.error_estimate[i], refit.residual_norm[i] = np.nan, np.inf, np.nan
        refit.contraction[i], refit.trusted[i], refit.message[i] = np.inf, False, _NOTHING
        refit.radius[i], refit.positive_definite[i], refit.n_polish[i] = np.nan, None, 0
    return refit


def refits(jackknife, weights, tol):
    """Polished refits at many weights, each of which leaves something to fit: a Refit of arrays."""
    refit = jackknife.expansion._refit(weights, tol, True, judge=judge_of(jackknife))
    for i in np.flatnonzero(refit.trusted):
        singular = _singular(jackknife, refit.value[i], weights[i])
        if singular:
            refit.trusted[i], refit.message[i] = False, singular
    return refit


def _nothing_to_fit(jackknife, weights, is_batch):
    """Sets whose weights are all zero, where no penalty is left either."""
    if jackknife.model.penalty is not None:
        return np.zeros(len(weights), bool)
    nothing = ~np.any(weights, axis=1)
    if nothing.any() and (not is_batch or nothing.all()):
        raise DataError(f"{_NOTHING}.")
    return nothing


def _singular(jackknife, value, weights):
    """Why a solution of an estimating equation is not the only one nearby, or nothing; minima have been judged."""
    if jackknife.model.is_objective:
        return ""
    try:
        jackknife.expansion._problem.at(value, weights).factored()
    except VittlesError as error:
        return f"not identified under these weights: {error}"
    return ""
