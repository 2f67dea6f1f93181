"""Checks that a fitted model is at a finite optimum of the losses that its adapter wrote down.

Fitting programs stop at loose tolerances, and report fits as converged whose optimum lies at infinity.
"""

import logging

import numpy as np

from ..errors import DataError, NotASolutionError
from .models import Counts, GeneralisedLinear

__all__ = ["aligned", "check_losses", "check_settled", "explained"]

#: A Newton step that is left after polishing and moves linear predictors by more, relatively, is that of a runaway fit.
_RUNS_AWAY = 1e-5
#: A Newton step of more standard errors is an optimum that was not found.
_NOT_SETTLED = 1e-6
#: ... unless it is as small as this in the linear predictors, relatively: rounding of a perfect fit.
_ROUNDING = 1e-10
#: A negative binomial alpha below this is at the end of its range.
_NO_ALPHA = 1e-4


def aligned(values, labels, what):
    """Values, unless they are a Series of the rows' labels in another order: its place and its label then disagree.

    Raises
    ------
    DataError
        They do.
    """
    index = getattr(values, "index", None)
    if labels is None or index is None or callable(index):
        return values
    index, labels = list(index), list(labels)
    if len(set(index)) < len(index) or not set(labels) <= set(index):
        return values
    among = set(labels)
    there = [label for label in index if label in among]
    if there != labels:
        first = next(i for i, (a, b) in enumerate(zip(there, labels, strict=True)) if a != b)
        raise DataError(
            f"{what} is a Series whose index has the rows of the fit in another order (row {first} is {labels[first]!r}"
            f", there {there[first]!r}): reindex it like the data, or pass its values."
        )
    return values


def check_losses(model, start):
    """Raise if the loss of an observation is not finite at the fit."""
    with np.errstate(all="ignore"):
        bad = np.flatnonzero(~np.isfinite(model.loss(start, *model.data)))
        if not bad.size or not isinstance(model, GeneralisedLinear):
            return
        n, family, mean = bad[0], model.family.name, model.mean(start)[bad[0]]
    what = (
        f"the loss of {bad.size} of {len(model.y)} observations is not finite at the fit; observation {n} has the "
        f"outcome {model.y[n]:g} and the fitted mean {mean:g}"
    )
    if model.has_tail and mean in (0.0, 1.0) and np.isfinite(model.y[n]):
        raise _separable(f"{model.n_at_edge(start)} of {len(model.y)} fitted means are at the end of their range", what)
    raise DataError(
        f"{what}, which are not both in the range of the {family} family (statsmodels clips the means that the "
        f"{model.link.name} link lets out of it): use another link, or correct the data."
    )


def explained(error, model, start):
    """The error of a fit that has no minimum close by, with the likely cause."""
    alpha = start[-1] if isinstance(model, Counts) else 1.0
    if alpha < _NO_ALPHA:
        return DataError(
            f"the fitted alpha is {alpha:.1e}, at the end of its range: the counts show no overdispersion; fit a "
            f"Poisson model. ({error})"
        )
    at_edge = model.n_at_edge(start) if model.has_tail else 0
    if not at_edge:
        return error
    return _separable(f"{at_edge} of {len(model.x)} fitted means are at the end of their range", str(error))


def _separable(what, error):
    return DataError(
        f"no finite optimum, the data look separable: {what}, even where the fit was reported as converged. Drop or "
        f"merge the covariates that predict the outcome perfectly, or penalise. ({error})"
    )


def _standard_errors(jackknife):
    """By the observed information; NaN where no degrees of freedom are left for the scale."""
    variances = jackknife.expansion.solver.inverse_diagonal()
    try:
        scale = 1.0 if jackknife.dispersion is None else jackknife.dispersion(jackknife.input_val0, jackknife.weights0)
    except DataError:
        scale = np.nan
    return np.sqrt(scale * variances)


def check_settled(jackknife, model, adapter="from_statsmodels"):
    """Raise unless the last Newton step is negligible; log and return how far polishing moved, in standard errors."""
    value, solver = jackknife.input_val0, jackknife.expansion.solver
    step = solver.solve(jackknife.expansion._problem.residual0)
    eta, shift = model.predictors(value), model.predictors(step)
    moves = np.max(np.abs(shift) / (1.0 + np.abs(eta)))
    if model.has_tail and moves > _RUNS_AWAY:
        raise _separable(f"a Newton step still moves linear predictors by {np.max(np.abs(shift)):.1e}", "they run away")
    errors = _standard_errors(jackknife)
    if np.any(np.abs(step) > _NOT_SETTLED * errors) and moves > _ROUNDING:
        raise NotASolutionError(
            f"a Newton step of {np.max(np.abs(step) / errors):.1e} standard errors is left after polishing: bring the "
            "covariates to similar units and refit to a tighter tolerance."
        )
    with np.errstate(all="ignore"):
        moved = float(np.nanmax(np.abs(jackknife.polished_by) / errors, initial=0.0))
    logging.getLogger("vittles_ng").log(
        logging.WARNING if moved > 1e-3 else logging.INFO,
        f"{adapter}: polishing moved the fit by %.1e standard errors (largest over parameters).",
        moved,
    )
    return moved
