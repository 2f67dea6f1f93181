"""For each coefficient: how few observations carry its sign, and its significance."""

from dataclasses import dataclass

import autograd.numpy as anp

from ..errors import VittlesError
from ..robustness import smallest_reversing_set, t_statistic
from .coefficients import LEVEL, critical_value, degrees_of_freedom

__all__ = ["GREEDY_COEFFICIENTS", "GREEDY_UP_TO", "LARGEST_SHARE", "Reversal", "reversals"]

#: Sets of more observations than this share are of no interest.
LARGEST_SHARE = 0.25
#: Where first-order influence finds no more than so many, a greedy search tries to do with fewer; in models of at most
#: so many coefficients, since each takes two searches.
GREEDY_UP_TO, GREEDY_COEFFICIENTS = 30, 30


@dataclass(frozen=True)
class Reversal:
    """A set of observations without which a conclusion about a coefficient is another one, or that none was found.

    Attributes
    ----------
    coefficient : str
    question : str
        "sign", "significance lost" or "significance gained".
    initial : float
        The estimate, or its t-statistic.
    found : bool
        Whether an exact refit shows the reversal; a smaller set may exist.
    n_dropped : int
        Observations in the set; where none was found those of the set that came nearest.
    share : float
        Of all observations.
    predicted, refitted : float or None
        The estimate or t-statistic without them, as predicted and as the exact refit shows it.
    method : str
        How the set was found: "greedy" or "additive".
    n_refits : int
    rows : list of int
        Numbers in the file, the first is 1; those that matter most first.
    labels : list of str
    message : str
    """

    coefficient: str
    question: str
    initial: float
    found: bool
    n_dropped: int
    share: float
    predicted: float | None
    refitted: float | None
    method: str
    n_refits: int
    rows: list
    labels: list
    message: str


def reversals(fit, max_refits, tick):
    """Two reversals a coefficient: of its sign, and of its significance.

    Parameters
    ----------
    fit : Fit
    max_refits : int
        Exact refits that each greedy search may make; 0 for none.
    tick : callable
        Called after each.

    Returns
    -------
    list of Reversal

    Notes
    -----
    The t-statistic has the classical standard error, with groups the clustered one (without small-sample factor),
    re-estimated at every refit. The set of the largest first-order influences is refitted; where it is small, a greedy
    search with exact refits tries to do with fewer.
    """
    found, df = [], degrees_of_freedom(fit)
    own = df if fit.jackknife.degrees_of_freedom is None else None  # else those of what is left, at every refit
    max_refits = max_refits if len(fit.input_val) <= GREEDY_COEFFICIENTS else 0
    for j, name in enumerate(fit.data.columns):
        coefficient = _coefficient(fit, j, name)
        if fit.jackknife.groups is None:
            t = t_statistic(coefficient, "model", df=own)
        else:
            t = t_statistic(coefficient, "sandwich", groups=True, df=own)
        for functional, reverse in ((coefficient, "sign"), (t, "significance")):
            found.append(_reversal(fit, name, functional, reverse, critical_value(df), max_refits))
            tick()
    return found


def _coefficient(fit, j, name):
    """A coefficient in the units of the file, which on the standardised scale is a combination of coefficients."""
    row, offset = fit.data.transform[j], fit.data.offset[j]

    def coefficient(input_val):
        return anp.dot(row, input_val) + offset

    coefficient.__name__ = name
    return coefficient


def _reversal(fit, name, functional, reverse, critical, max_refits):
    n = fit.jackknife.n_obs
    try:
        best = smallest_reversing_set(fit.jackknife, functional, reverse, LARGEST_SHARE, "additive", level=1.0 - LEVEL)
        n_refits = best.n_refits
        if max_refits and 1 < len(best) <= GREEDY_UP_TO:
            limit = len(best) - 1 if best.reversed else int(LARGEST_SHARE * n)
            fewer = smallest_reversing_set(
                fit.jackknife, functional, reverse, limit, "greedy", level=1.0 - LEVEL, max_refits=max_refits
            )
            n_refits += fewer.n_refits
            best = fewer if fewer.reversed else best
    except VittlesError as error:
        return Reversal(name, reverse, float("nan"), False, 0, 0.0, None, None, "", 0, [], [], str(error))
    question = "sign"
    if reverse == "significance":
        question = "significance lost" if abs(best.initial) > critical else "significance gained"
    return Reversal(
        name,
        question,
        best.initial,
        best.reversed,
        len(best),
        len(best) / n,
        best.predicted,
        best.refitted,
        best.method,
        n_refits,
        [int(i) + 1 for i in best.indices],
        [fit.data.row_names[i] for i in best.indices],
        best.message,
    )
