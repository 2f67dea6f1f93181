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
    """Counts of resamples, drawn with replacement when they are asked for, and kept as small integers.

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

    Attributes
    ----------
    counts : ndarray of int, shape (n_resamples, n_units)
        Of observations, or of groups in sorted order.

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
        seed = tuple(int(word) for word in rng.integers(0, 2**32, size=4))
        cumulative = None if np.all(share == share[0]) else np.cumsum(share) / np.sum(share)
        self._drawing = _Drawing(
            seed, len(share), n_draws, cumulative, np.sum(share) / n_draws, group, None if group is None else weights0
        )
        self._counts = np.empty((n_resamples, len(share)), dtype=np.min_scalar_type(n_draws))
        self._is_drawn = np.zeros(-(-n_resamples // self._drawing.length), dtype=bool)

    def __len__(self):
        return len(self._counts)

    @property
    def counts(self):
        return self._drawn(slice(None))

    def _drawn(self, rows):
        start, stop, _ = rows.indices(len(self))
        length = self._drawing.length
        for block in range(start // length, -(-stop // length)):
            if not self._is_drawn[block]:
                of_block = slice(block * length, min((block + 1) * length, len(self)))
                self._counts[of_block] = self._drawing.block(block)[: of_block.stop - of_block.start]
                self._is_drawn[block] = True
        return self._counts[rows]

    def weights(self, rows):
        """The weights of some resamples, (n_rows, n_obs), for a slice; on average ``weights0``."""
        return self._drawing.weights(self._drawn(rows))

    def to_be_drawn(self, rows):
        """The same for another process: a function without arguments that draws them there."""
        return partial(self._drawing.anew, *rows.indices(len(self))[:2])


class _Drawing(NamedTuple):
    """How blocks of resamples are drawn: ``n_draws`` of ``n_units``, with their share where these are not alike."""

    seed: tuple
    n_units: int
    n_draws: int
    cumulative: np.ndarray | None
    per_draw: float
    group: np.ndarray | None
    weights0: np.ndarray | None  # with groups

    @property
    def length(self):
        """Resamples in a block."""
        return max(1, _DRAWS_AT_ONCE // self.n_draws)

    def block(self, number):
        """Multinomial counts (length, n_units): of draws, which takes an eighth of the time that binomials do."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        shape = (self.length, self.n_draws)
        if self.cumulative is None:
            draws = rng.integers(0, self.n_units, size=shape)
        else:
            draws = np.searchsorted(self.cumulative, rng.random(shape), side="right")
        draws += (np.arange(self.length) * self.n_units)[:, None]
        return np.bincount(draws.ravel(), minlength=self.length * self.n_units).reshape(self.length, self.n_units)

    def weights(self, counts):
        return counts * self.per_draw if self.group is None else counts[:, self.group] * self.weights0

    def anew(self, start, stop):
        """Weights of the resamples from ``start`` to ``stop``, (stop - start, n_obs)."""
        n_obs = self.n_units if self.group is None else len(self.group)
        out = np.empty((stop - start, n_obs))
        for number in range(start // self.length, -(-stop // self.length)):
            first = number * self.length
            rows = slice(max(start - first, 0), stop - first)
            out[first + rows.start - start : first + self.length - start] = self.weights(self.block(number)[rows])
        return out


def generator(rng):
    """The generator that an argument ``rng`` asks for: a Generator, or the seed of one."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng must be a numpy.random.Generator or an integer seed, got {type(rng).__name__}.")
    return np.random.default_rng(rng)
