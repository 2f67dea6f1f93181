"""The search for sets: forward, from the other side, by exchange; every set tried is refitted exactly.

A set is read off at a fit: the units whose leaving moves the quantity most, those that are out already included (the
concentration step of least trimmed squares; Rousseeuw & Van Driessen, Data Min. Knowl. Disc. 12 (2006) 29). It is
refitted, read off again, until it stays the same. Where the sets come from: units left out one after the other, the
influences found anew each time (Kuschnig, Zens, Crespo Cuaresma, "Hidden in Plain Sight", 2021; Huang et al., arXiv
2408.09008, on what single linearisations miss); and the fit with the quantity held where it is to go, at which units
that hide one another are seen.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

__all__ = ["Search", "Trial"]

_EXCHANGES, _SWAPS, _CANDIDATES = 6, 12, 5
#: Members and others of which pairs are tried; all of them where there are no more pairs than so many.
_PAIRS, _ALL_PAIRS = 3, 64
#: Where there are no more sets of a size than so many, all of them are refitted in the end.
_ALL_SETS = 128
#: Where the quantity is held to find the furthest set, beyond what was reached, relative to the way there; of how many
#: sets members are then swapped.
_STRETCHES, _SWAPPED = (0.0, 0.5, 1.5), 2
#: Sets without a refit after which a search ends: they cost the most, and come where the data no longer identify.
_MAX_FAILURES = 40
#: A forward step leaves out one unit, or this part of what it still needs.
_PART = 0.05
#: How far a quantity must be beyond its threshold, relative to where it started, to count.
_BEYOND = 1e-10
#: Relative change below which nothing was moved.
_ROUNDING = 1e-13


class Trial(NamedTuple):
    """A set of units, the exact refit without them, and what had been predicted for it."""

    out: np.ndarray
    fit: object
    predicted: float

    @property
    def size(self):
        """Number of units."""
        return int(self.out.sum())


class Search:
    """Sets of units that push a quantity one way.

    Parameters
    ----------
    refitter : Refitter
    sign : {1.0, -1.0}
        The way.
    threshold : float
        Where it is to go; the value at the fit where there is no such place.
    far : float, default=inf
        How far beyond the threshold still counts: a t-statistic that loses significance must not gain it on the other
        side.
    max_refits : int
    stretch : callable, default=None
        ``stretch(out)``: what threshold and ``far`` are multiplied by without a set; a critical value grows as degrees
        of freedom go. Default: 1.

    Attributes
    ----------
    closest : Trial or None
        The one that went furthest of all that were refitted.
    failures : list of str
        Why sets could not be refitted.
    """

    def __init__(self, refitter, sign, threshold, far=np.inf, max_refits=1000, stretch=None):
        self.refitter, self.sign, self.threshold, self.far = refitter, sign, threshold, far
        self._last_refit = refitter.n_refits + max_refits
        self._beyond = _BEYOND * abs(refitter.base.value(refitter.quantity) - threshold)
        self._stretch = (lambda out: 1.0) if stretch is None else stretch
        self.failures, self.closest = [], None
        self._margins = {}  # of the sets that were refitted
        self.base = Trial(refitter.base.out, refitter.base, refitter.base.value(refitter.quantity))

    @property
    def is_spent(self):
        """Whether as many refits were made as may be, or too many in vain."""
        return self.refitter.n_refits >= self._last_refit or len(self.failures) >= _MAX_FAILURES

    def margin(self, trial):
        """How far beyond the threshold a set takes the quantity."""
        return self.sign * (trial.fit.value(self.refitter.quantity) - self.threshold * self._stretch(trial.out))

    def reaches(self, trial):
        """Whether the refit without a set is beyond the threshold."""
        return trial is not None and self._beyond < self.margin(trial) < self.far * self._stretch(trial.out)

    def gains(self, fit):
        """What each unit's being out adds the wanted way, (n_units,)."""
        return np.where(self.refitter.usable, self.sign * self.refitter.changes(fit), -np.inf)

    def top(self, gains, size):
        """The set of the largest gains; units that would push the wrong way are not in it."""
        chosen = np.argsort(-gains, kind="stable")[:size]
        out = np.zeros(gains.size, bool)
        out[chosen[gains[chosen] > 0.0]] = True
        return out

    def needed(self, gains, margin):
        """How many of the largest gains take a margin above zero; the number of units if all do not."""
        gains = -np.sort(-gains[gains > 0.0])
        reached = np.flatnonzero(margin + np.cumsum(gains) > self._beyond)
        return int(reached[0]) + 1 if reached.size else self.refitter.n_units

    def trial(self, out, near):
        """The refit without a set, from another one; None where there is none."""
        if self.is_spent:
            return None
        fit, reason = self.refitter.refit(out, near.fit)
        if fit is None:
            self.failures.append(reason)
            return None
        changes, was_out = self.refitter.changes(near.fit), near.fit.out
        predicted = self.refitter.offset(near.fit) + changes[out & ~was_out].sum() - changes[was_out & ~out].sum()
        trial = Trial(out, fit, float(predicted))
        self._margins[out.tobytes()] = self.margin(trial)
        if self.closest is None or self.margin(trial) > self.margin(self.closest):
            self.closest = trial
        return trial

    # ---- ways to sets ----

    def forward(self, limit, until_reached=True, start=None):
        """Leave out unit after unit: the last trial, and all sets on the way."""
        trial, path = start or self.base, []
        while trial.size < limit and not (until_reached and self.reaches(trial)):
            gains = self.gains(trial.fit)
            gains[trial.out] = -np.inf
            left = limit - trial.size
            if until_reached:
                left = min(left, self.needed(gains, self.margin(trial)))
            following = self._next(trial, gains, min(max(1, int(_PART * left)), limit - trial.size))
            if following is None:
                break
            trial = following
            path.append(trial.out)
        return trial, path

    def _next(self, trial, gains, n):
        """One unit more, or n; the next best ones where there is no refit without the best."""
        if n > 1:
            found = self.trial(trial.out | self.top(gains, n), trial)
            if found is not None:
                return found
        for unit in np.argsort(-gains, kind="stable")[:_CANDIDATES]:
            if not gains[unit] > 0.0:
                return None
            out = trial.out.copy()
            out[unit] = True
            found = self.trial(out, trial)
            if found is not None:
                return found
        return None

    def exchange(self, out, near, until_reached=True):
        """Read the set off anew at the refit without it, until it stays: the best trial on the way, or None."""
        size, best, seen = int(out.sum()), None, set()
        for _ in range(_EXCHANGES):
            if out.tobytes() in seen or not size:
                break
            seen.add(out.tobytes())
            trial = self.trial(out, near)
            if trial is None:
                break
            if best is None or self.margin(trial) > self.margin(best):
                best = trial
            if until_reached and self.reaches(trial):
                return trial
            near, out = trial, self.top(self.gains(trial.fit), size)
        return best

    def swap(self, trial, until_reached=True):
        """Change one member for another as long as that moves the quantity further."""
        for _ in range(_SWAPS):
            if until_reached and self.reaches(trial):
                break
            least = self.margin(trial) + max(self._beyond, _BEYOND * abs(self.margin(trial)))
            better = next((found for found in self._swapped(trial) if self.margin(found) > least), None)
            if better is None:
                break
            trial = better
        return trial

    def _swapped(self, trial):
        """Refits with one of the weakest members changed for one of the strongest others, most promising first."""
        gains = self.gains(trial.fit)
        members = np.flatnonzero(trial.out)
        others = np.flatnonzero(~trial.out & self.refitter.usable)
        if members.size * others.size > _ALL_PAIRS:
            members = members[np.argsort(gains[members], kind="stable")[:_PAIRS]]
            others = others[np.argsort(-gains[others], kind="stable")[:_PAIRS]]
        pairs = [(gains[j] - gains[i], i, j) for i in members for j in others]
        for _, i, j in sorted(pairs, key=lambda pair: -pair[0]):
            out = trial.out.copy()
            out[[i, j]] = False, True
            if self._margins.get(out.tobytes(), np.inf) <= self.margin(trial):
                continue
            found = self.trial(out, trial)
            if found is not None:
                yield found

    def every(self, size):
        """Refits without each set of a size, where there are few such sets; not of those that were refitted before."""
        usable = np.flatnonzero(self.refitter.usable)
        if math.comb(usable.size, size) > _ALL_SETS:
            return
        for units in itertools.combinations(usable, size):
            out = np.zeros(self.refitter.n_units, bool)
            out[list(units)] = True
            if out.tobytes() in self._margins:
                continue
            trial = self.trial(out, self.base)
            if trial is not None:
                yield trial

    # ---- what is asked ----

    def smallest(self, limit):
        """The smallest set found that reaches the threshold, of at most ``limit`` units; None where none does."""
        seen_from = self.refitter.constrained(self.threshold)
        held = None if seen_from is None else Trial(seen_from.out, seen_from, self.threshold)
        best = None if held is None else self._from_held(held, limit)
        forward, path = self.forward(limit if best is None else best.size - 1)
        if self.reaches(forward):
            best = forward
        if best is None:
            trial = self.exchange(forward.out, forward)
            trial = None if trial is None else self.swap(trial)
            best = trial if self.reaches(trial) else None
        sizes = {int(out.sum()): out for out in path}
        while best is not None and best.size > 1:
            smaller = self._smaller(best, held, sizes)
            if smaller is None:
                break
            best = smaller
        return best

    def _from_held(self, held, limit):
        """Sets read off where the quantity is held at the threshold: as few as do, found by doubling and halving."""
        gains = self.gains(held.fit)
        size = min(limit, self.needed(gains, self.sign * (self.refitter.offset(held.fit) - self.threshold)))
        low, best = 0, None
        while size > low and not self.is_spent:
            trial = self.exchange(self.top(gains, size), held)
            if self.reaches(trial):
                best = trial
            else:
                low = size
            if best is not None:
                size = (low + best.size) // 2
            elif size < limit:
                size = min(limit, size + max(1, size // 4))
        return best

    def _smaller(self, best, held, sizes):
        """A set with fewer units that reaches the threshold too, or None."""
        gains = self.gains(best.fit)
        hopeful = self._fewest(best, gains)
        if hopeful < best.size - 1:
            trial = self.exchange(self.top(gains, hopeful), best)
            if self.reaches(trial):
                return trial
        size, found = best.size - 1, []
        starts = [self.top(np.where(best.out, gains, -np.inf), size), self.top(gains, size)]
        if held is not None:
            starts.append(self.top(self.gains(held.fit), size))
        if size in sizes:
            starts.append(sizes[size])
        for out in {out.tobytes(): out for out in starts}.values():
            trial = self.exchange(out, best)
            if self.reaches(trial):
                return trial
            if trial is not None:
                found.append(trial)
        trial = self.swap(max(found, key=self.margin)) if found else None
        return trial if self.reaches(trial) else next(filter(self.reaches, self.every(size)), None)

    def _fewest(self, best, gains):
        """How many of the largest gains are predicted to be enough, seen from a refit."""
        everything = self.margin(best) - gains[best.out].sum()
        return self.needed(gains, everything)

    def furthest(self, size):
        """The set found of at most ``size`` units that moves the quantity furthest; None where none moves it so."""
        trial, _ = self.forward(size, until_reached=False)
        found = [trial] if trial.size else []

        def look(start, near):
            seen = self.exchange(start, near, until_reached=False)
            found.extend([] if seen is None else [seen])

        look(self.top(self.gains(self.base.fit), size), self.base)
        further, _ = self.forward(trial.size + max(2, size // 4), until_reached=False, start=trial)
        look(self.top(self.gains(further.fit), size), further)
        if not found:
            return None
        initial, reached = self.base.predicted, max(found, key=self.margin).fit.value(self.refitter.quantity)
        for part in _STRETCHES:
            held = self.refitter.constrained(reached + part * (reached - initial))
            if held is not None:
                look(self.top(self.gains(held), size), Trial(held.out, held, initial))
        different = {t.out.tobytes(): t for t in found}.values()
        best = [self.swap(t, False) for t in sorted(different, key=self.margin, reverse=True)[:_SWAPPED]]
        best = max(itertools.chain(best, self.every(size)), key=self.margin)
        if self.closest.size <= size and self.margin(self.closest) > self.margin(best):
            best = self.closest  # a set on the way to a larger one
        return best if self.margin(best) > _ROUNDING * abs(initial) else None
