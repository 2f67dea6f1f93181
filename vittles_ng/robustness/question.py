"""A question to a jackknife: its units, its goals, the search, and the answer in terms of observations."""

import numpy as np

from ..errors import DataError
from .fits import Refitter
from .linearised import additive_set, second_order_set
from .quantities import as_coefficient
from .results import ReversingSet
from .search import Search, Trial
from .t_statistic import TQuantity, TStatistic

__all__ = ["Question"]

_METHODS = ("additive", "second-order", "greedy")
_LINEARISED = {"additive": additive_set, "second-order": second_order_set}


class Question:
    """What is asked of a jackknife, by one method; a set is judged by its exact refit, whichever the method.

    Parameters
    ----------
    jackknife, functional, method, by_group, max_refits
        As of :func:`~vittles_ng.robustness.most_influential_set`.
    """

    def __init__(self, jackknife, functional, method, by_group, max_refits):
        if method not in _METHODS:
            raise ValueError(f"method={method!r} is not known: use one of {', '.join(map(repr, _METHODS))}.")
        if isinstance(max_refits, bool) or not isinstance(max_refits, (int, np.integer)) or max_refits < 1:
            raise ValueError(f"max_refits must be a positive integer, got {max_refits!r}.")
        self.jackknife, self.method, self.max_refits = jackknife, method, int(max_refits)
        is_t = isinstance(functional, TStatistic)
        self.quantity = TQuantity(jackknife, functional) if is_t else as_coefficient(jackknife, functional)
        self.labels, units = None, np.arange(jackknife.n_obs)
        if by_group:
            if jackknife.groups is None:
                raise DataError("by_group=True, but the jackknife has no groups: pass groups to it.")
            self.labels, units = np.unique(jackknife.groups, return_inverse=True)
        self.refitter = Refitter(jackknife, self.quantity, units.ravel())
        self.initial = self.refitter.base.value(self.quantity)
        if not np.isfinite(self.initial):
            raise DataError(f"{self.quantity.name} is {self.initial} at the fit: nothing can be said of its change.")

    def limit(self, number, name):
        """A number of units from a number or a fraction."""
        n = int(self.refitter.usable.sum())
        what = "groups" if self.labels is not None else "observations"
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name} must be a number or a fraction of the {what}, got {number!r}.")
        if isinstance(number, (float, np.floating)) and not float(number).is_integer():
            if not 0.0 < number < 1.0:
                raise ValueError(f"{name}={number}: an integer or a fraction between 0 and 1 is needed.")
            return int(np.floor(number * n))
        if not 0 <= number <= n:
            raise ValueError(f"{name}={number}: there are {n} {what} to leave out.")
        return int(number)

    def goals(self, reverse, level):
        """Sign, threshold, how far beyond it counts, and what scales both, of each way to the reversal."""
        way = -np.sign(self.initial)
        if way == 0.0:
            raise DataError(f"{self.quantity.name} is zero at the fit: it has no sign that could change.")
        if reverse == "sign":
            return [(way, 0.0, np.inf)]
        critical = self.quantity.critical(self.refitter.weights0, level)

        def stretch(out):
            return self.quantity.critical(self.refitter.weights(out), level) / critical

        if reverse == "both":
            return [(way, way * critical, np.inf, stretch)]
        if abs(self.initial) > critical:
            return [(way, -way * critical, 2.0 * critical, stretch)]
        return [(-1.0, -critical, np.inf, stretch), (1.0, critical, np.inf, stretch)]

    def moved(self, trial):
        """How far a set moved the quantity; minus infinity without a refit."""
        value = self.refitted(trial)
        return abs(value - self.initial) if np.isfinite(value) else -np.inf

    def refitted(self, trial):
        """The quantity at a set's refit, or NaN."""
        return np.nan if trial.fit is None else trial.fit.value(self.quantity)

    def search(self, sign, threshold, far=np.inf, stretch=None):
        """A search from the fit."""
        return Search(self.refitter, sign, threshold, far, self.max_refits, stretch)

    def furthest(self, sign, limit):
        """The set that moves the quantity most one way, and what to say."""
        search = self.search(sign, self.initial)
        if not limit:
            return search.base, "nothing was to be left out"
        if self.method in _LINEARISED:
            out, predicted = _LINEARISED[self.method](search, limit, False)
            trial, _ = self._judged(search, out, predicted)
        else:
            trial = search.furthest(limit)
        if trial is None:
            return search.base, f"no set moves {self.quantity.name} {'up' if sign > 0 else 'down'}{_why(search)}"
        message = self._told(trial)
        return trial, message + (_why(search) if trial.fit is None or trial.size < limit else "")

    def smallest(self, goal, limit):
        """Whether a goal was reached, by which set, what to say, and the margin."""
        search = self.search(*goal)
        trial, is_reached = search.base, False
        if limit and self.method in _LINEARISED:
            out, predicted = _LINEARISED[self.method](search, limit, True)
            trial, is_reached = self._judged(search, out, predicted)
        elif limit:
            best = search.smallest(limit)
            is_reached = search.reaches(best)
            trial = best if is_reached else (search.closest or search.base)
        message = self._told(trial)
        if not is_reached:
            message = f"no reversal shown: {message}{_why(search)}"
        return is_reached, trial, message, search.margin(trial) if trial.fit is not None else -np.inf

    def _judged(self, search, out, predicted):
        """A set that was predicted, with its refit, and whether that reaches the goal."""
        if not out.any():
            return search.base, False
        trial = search.trial(out, search.base)
        if trial is None:
            return Trial(out, None, predicted), False
        trial = trial._replace(predicted=predicted)
        return trial, search.reaches(trial)

    def _told(self, trial):
        n, value = int(self.refitter.usable.sum()), self.refitted(trial)
        what = "groups" if self.labels is not None else "observations"
        without = f"without {trial.size} of {n} {what}"
        if trial.fit is None:
            return f"{without} there is no refit"
        return f"{without} {self.quantity.name} goes from {self.initial:.3g} to {value:.3g}"

    def result(self, trial, is_reversed, message):
        """The answer in terms of observations, those that matter most first."""
        refitter, jackknife = self.refitter, self.jackknife
        units = np.flatnonzero(trial.out)
        if units.size:
            changes = refitter.changes(refitter.base if trial.fit is None else trial.fit)[units]
            units = units[np.argsort(-np.abs(changes), kind="stable")]
        position = np.full(refitter.n_units, -1)
        position[units] = np.arange(units.size)
        dropped = np.flatnonzero(trial.out[refitter.units] & (refitter.weights0 > 0.0))
        dropped = dropped[np.argsort(position[refitter.units[dropped]], kind="stable")]
        names = jackknife.observation_names
        return ReversingSet(
            indices=dropped,
            predicted=float(trial.predicted),
            refitted=float(self.refitted(trial)),
            reversed=bool(is_reversed),
            initial=float(self.initial),
            n_refits=refitter.n_refits,
            method=self.method,
            message=message,
            input=None if trial.fit is None else trial.fit.input.copy(),
            weights=refitter.weights(trial.out),
            influence=refitter.base.influence(self.quantity)[dropped],
            labels=[int(n) if names is None else names[n] for n in dropped],
            groups=None if self.labels is None else self.labels[units],
        )


def _why(search):
    """What stood in the way of going on."""
    reasons = list(dict.fromkeys(search.failures))
    told = []
    if search.is_spent:
        told.append("the search ended before it was done")
    if reasons:
        n = len(search.failures)
        told.append(f"{n} {'set' if n == 1 else 'sets'} tried left no refit, unidentified or separated ({reasons[0]})")
    return f"; {'; '.join(told)}" if told else ""
