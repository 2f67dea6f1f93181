"""Resamples of observations or groups, as weights.

A resample of N observations is a multinomial vector of counts (Efron, "The Jackknife, the Bootstrap and Other
Resampling Plans", 1982, ch. 6); with groups, groups are drawn (Davison & Hinkley, "Bootstrap Methods and their
Application", 1997, sec. 3.8).
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from .influence import group_sums

__all__ = ["Resamples", "generator"]

_DRAWS_AT_ONCE = 16_384


class Resamples:
    """Resamples, drawn with replacement whenever they are asked for.

    Blocks of resamples have streams of their own, by their number, so that whichever are asked for, and wherever they
    are drawn, they are the same (numpy.random, "Parallel random number generation").

    Parameters
    ----------
    weights0 : ndarray of shape (n_obs,)
        Inclusion counts of the fit.
    groups : ndarray of shape (n_obs,) or None
        What is drawn together.
    n_resamples : int
    rng : Generator
        Gives the streams' seed.

    Raises
    ------
    DataError
        There is nothing to draw from, or ``weights0`` sums to too little to be counts.
    """

    def __init__(self, weights0, groups, n_resamples, rng):
        if groups is None:
            group, share, n_draws = None, weights0, int(np.round(np.sum(weights0)))
            if n_draws < min(2, np.sum(weights0 > 0.0)) or n_draws == 0:
                raise DataError(
                    f"weights0 sums to {np.sum(weights0):.3g}: a resample has as many draws as that, so counts of "
                    "observations are needed, not shares."
                )
        else:
            group = np.unique(groups, return_inverse=True)[1]
            share = (group_sums(weights0, groups)[1] > 0.0).astype(float)
            n_draws = int(np.sum(share))
            if n_draws < 2:
                raise DataError(f"{n_draws} group has weight: at least two groups are needed.")
        self._n_resamples, running = n_resamples, np.cumsum(share)
        self._drawing = _Drawing(
            seed=tuple(int(word) for word in rng.integers(0, 2**32, size=4)),
            n_units=len(share),
            n_draws=n_draws,
            cumulative=None if np.all(share == share[0]) else running / running[-1],
            per_draw=np.sum(share) / n_draws,
            group=group,
            weights0=None if group is None else weights0,
        )

    def __len__(self):
        return self._n_resamples

    def weights(self, rows):
        """The weights of some resamples, (n_rows, n_obs), for a slice; on average ``weights0``."""
        return self.to_be_drawn(rows)()

    def to_be_drawn(self, rows):
        """The same for another process: a function without arguments that draws them there."""
        return partial(self._drawing.weights, *rows.indices(len(self))[:2])


class _Drawing(NamedTuple):
    """How blocks of resamples are drawn: ``n_draws`` of ``n_units``, with their share where these are not alike."""

    seed: tuple
    n_units: int
    n_draws: int
    cumulative: np.ndarray | None
    per_draw: float
    group: np.ndarray | None
    weights0: np.ndarray | None  # with groups

    def weights(self, start, stop):
        """Of the resamples from ``start`` to ``stop``, (stop - start, n_obs)."""
        out = np.empty((stop - start, self.n_units if self.group is None else len(self.group)))
        length = max(1, _DRAWS_AT_ONCE // self.n_draws)
        for number in range(start // length, -(-stop // length)):
            first = number * length
            counts = self._counts(number, length)[max(start - first, 0) : stop - first]
            rows = out[max(first - start, 0) :][: len(counts)]
            if self.group is None:
                np.multiply(counts, self.per_draw, out=rows)
            else:
                np.multiply(counts[:, self.group], self.weights0, out=rows)
        return out

    def _counts(self, number, length):
        """Multinomial counts of a block: of draws, which takes an eighth of the time that binomials do."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        shape = (length, self.n_draws)
        if self.cumulative is None:
            draws = rng.integers(0, self.n_units, size=shape)
        else:
            draws = np.searchsorted(self.cumulative, rng.random(shape), side="right")
        draws += (np.arange(length) * self.n_units)[:, None]
        return np.bincount(draws.ravel(), minlength=length * self.n_units).reshape(length, self.n_units)


def generator(rng):
    """The generator that an argument ``rng`` asks for: a Generator, or the seed of one."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng must be a numpy.random.Generator or an integer seed, got {type(rng).__name__}.")
    return np.random.default_rng(rng)
