"""What leaving out each observation does: the held-out loss with its verification, and the most influential ones."""

import math
from dataclasses import dataclass

import numpy as np

from .model import solve_exactly
from .table import NEWTON
from .tasks import LEAVE_ONE_OUT_ORDER, left_out, units_of

__all__ = ["HeldOutLoss", "Influential", "held_out_loss", "most_influential"]

N_INFLUENTIAL = 10


@dataclass(frozen=True)
class HeldOutLoss:
    """The mean loss of observations at the fit, and at the approximate fits without them (or their groups).

    Attributes
    ----------
    loss : str
        What it is called.
    in_sample, held_out : float
        Means over the observations.
    standard_error : float
        Of the held-out mean, from its spread between the units that are left out.
    order, n_left_out : int
        Of the series; how many observations or groups were left out, one at a time.
    n_polished, n_failed : int
        Refits that the series did not give well enough; units without which there is no finite fit, which are not in
        the means.
    n_verified : int
        Observations whose loss at the exact refit is known.
    mean_error, largest_error : float or None
        Of those, the mean and the largest absolute difference to the approximate loss.
    """

    loss: str
    in_sample: float
    held_out: float
    standard_error: float
    order: int
    n_left_out: int
    n_polished: int
    n_failed: int
    n_verified: int
    mean_error: float | None
    largest_error: float | None


@dataclass(frozen=True)
class Influential:
    """An observation, or a group, and how the fit changes without it.

    Attributes
    ----------
    label : str
    row : int or None
        Number in the file, the first is 1; of an observation.
    n_rows : int
    coefficient : str
        The one that moves most.
    change, exact_change : float
        Of that coefficient, in its classical standard errors: by the series, and by the exact refit (None where there
        is none).
    changes : list of float
        Of all coefficients.
    held_out_loss : float or None
    """

    label: str
    row: int | None
    n_rows: int
    coefficient: str
    change: float
    exact_change: float | None
    changes: list
    held_out_loss: float | None


def held_out_loss(fit, outcome):
    """The leave-one-out loss, checked at the exact refits of the leave-one-out task.

    Parameters
    ----------
    fit : Fit
    outcome : Outcome
        Of leave-one-out.

    Returns
    -------
    HeldOutLoss
    losses : ndarray of shape (n_obs,)
        Held-out losses; NaN where there is no refit.
    """
    jackknife, factor = fit.jackknife, fit.family.loss_factor * fit.data.response_scale**2
    order, units = LEAVE_ONE_OUT_ORDER, units_of(jackknife)
    found = jackknife.held_out_losses(order=order)
    losses = factor * found.losses
    known = np.isfinite(losses)
    errors = []
    for unit, exact in zip(outcome.rows, outcome.exact, strict=True):
        rows = np.flatnonzero(units == unit)
        errors.append(losses[rows] - factor * jackknife.model.losses(exact, rows))
    errors = np.concatenate(errors) if errors else np.empty(0)
    errors = errors[np.isfinite(errors)]
    mean = losses[known].mean()
    sums = np.bincount(units[known], losses[known] - mean, minlength=found.n_folds)
    n_units = found.n_folds - len(found.failed)
    spread = math.sqrt(n_units / max(n_units - 1, 1) * np.sum(sums**2)) / known.sum()
    told = HeldOutLoss(
        fit.family.loss_name,
        float(factor * jackknife.model.losses(fit.input_val)[known].mean()),
        float(mean),
        spread,
        order,
        found.n_folds,
        found.n_polished,
        len(found.failed),
        len(errors),
        float(errors.mean()) if len(errors) else None,
        float(np.abs(errors).max()) if len(errors) else None,
    )
    return told, losses


def most_influential(fit, jackknife, losses, how, values=None):
    """The observations, or the groups of a jackknife that has them, without which a coefficient moves most.

    Parameters
    ----------
    fit : Fit
    jackknife : InfinitesimalJackknife
    losses : ndarray of shape (n_obs,)
        Held-out losses.
    how : int or "newton"
        Order of the series, or one Newton step.
    values : ndarray of shape (n_units, n_input), optional
        Approximate refits where they were made.

    Returns
    -------
    list of Influential
        The most influential first; a change is judged in standard errors of each coefficient.
    largest : ndarray of shape (n_units,)
        Largest change of a coefficient without each of them.
    """
    units = units_of(jackknife)
    if values is None:
        values = left_out(jackknife, how)
    changes = fit.changes(values - fit.input_val)
    largest = np.max(np.abs(changes), axis=1)
    ranked = np.argsort(-np.where(np.isfinite(largest), largest, np.inf), kind="stable")[:N_INFLUENTIAL]
    names = fit.data.row_names if jackknife.groups is None else np.unique(jackknife.groups)
    found = []
    for unit in ranked:
        rows = np.flatnonzero(units == unit)
        j = int(np.argmax(np.nan_to_num(np.abs(changes[unit]))))
        path = solve_exactly(fit.data, fit.family, fit.input_val, (units != unit).astype(float))
        exact = float(fit.changes(path.values[-1] - fit.input_val)[j]) if path.solved else None
        held_out = losses[rows].mean()
        found.append(
            Influential(
                _label(names[unit]) if jackknife.groups is None else f"{fit.data.group_name} = {_label(names[unit])}",
                int(rows[0]) + 1 if jackknife.groups is None else None,
                len(rows),
                fit.data.columns[j],
                float(changes[unit, j]),
                exact,
                [float(change) for change in changes[unit]],
                float(held_out) if np.isfinite(held_out) else None,
            )
        )
    return found, largest


def best_approximation(outcome):
    """The number of the highest order or of the Newton step, whichever is nearer to the exact refits."""
    orders = outcome.task.orders
    last = max(i for i, how in enumerate(orders) if how != NEWTON)
    rivals = [last, *(i for i, how in enumerate(orders) if how == NEWTON)]
    errors = [outcome.lines[i].max_error_in_standard_errors for i in rivals]
    return rivals[int(np.argmin(np.nan_to_num(errors, nan=np.inf)))]


def _label(value):
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
