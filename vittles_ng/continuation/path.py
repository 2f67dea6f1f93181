"""What following a path gives."""

from typing import NamedTuple

import numpy as np

from .pieces import largest

__all__ = ["BasePoint", "Path"]

_EPS = np.finfo(float).eps


class BasePoint(NamedTuple):
    """Where a path was expanded.

    Attributes
    ----------
    hyper : ndarray of shape (n_hyper,)
    value : ndarray of shape (n_input,)
        The polished solution there.
    t : float
    range : tuple of float
        The series is good to the path's tolerance for t between these two.
    """

    hyper: np.ndarray
    value: np.ndarray
    t: float
    range: tuple


class Path:
    """Solutions along a path; made by :func:`follow_path`. A function of t, for t between any two on it.

    For a scalar hyper t is the hyper. Otherwise t is the length walked from the expansion's base point, in the
    Euclidean norm of the changed variable; on a line through the base point it is negative on the side that is walked
    second.

    Attributes
    ----------
    hypers : ndarray of shape (n, n_hyper)
        As given.
    values : ndarray of shape (n, n_input)
        The solutions there, in the order given; NaN where the path stopped before.
    error_estimates : ndarray of shape (n,)
        Estimated largest ``|value - exact|`` of a component; infinite where the path stopped before.
    t : ndarray of shape (n,)
        Where the hypers are on the path.
    base_points : list of BasePoint
        Where it was expanded, the expansion's own base point among them, in the order of t on each leg.
    n_expansions : int
        Series that were made, rejected ones included.
    change_of_variable : str or None
        The one that was used.
    order : int
        Of the series.
    message : str
    """

    def __init__(self, walk, hypers, message):
        self._lines, self._done = walk.lines[: len(walk.legs)], walk.legs
        self.hypers, self.message = hypers, message
        self.n_expansions, self.order, self.change_of_variable = walk.n_expansions, walk.order, walk.change_name
        self.values = np.full((len(hypers), walk.problem.input.size), np.nan)
        self.error_estimates, self.t = np.full(len(hypers), np.inf), np.empty(len(hypers))
        for line in walk.lines:  # a scalar's own value, not its logarithm's exponential
            self.t[line.index] = hypers[line.index, 0] if hypers.shape[1] == 1 else self._t_of(line, line.s)
        for line, leg in zip(self._lines, self._done, strict=True):
            there = (line.s >= leg.low) & (line.s <= leg.high)
            self.values[line.index[there]], self.error_estimates[line.index[there]] = leg.evaluate(line.s[there])
        self.base_points = [self._base_point(piece) for leg in self._done for piece in leg.pieces]

    def __call__(self, t):
        """The solution at any t on the path.

        Parameters
        ----------
        t : float or array_like of shape (n_t,)
            For a scalar hyper, hypers; see the class for what t is otherwise.

        Returns
        -------
        ndarray of shape (n_input,) or (n_t, n_input)

        Raises
        ------
        ValueError
            If the path does not reach some t.
        """
        t = np.asarray(t, dtype=float)
        flat = np.atleast_1d(t)
        values, seen = np.empty((flat.size, self.values.shape[1])), np.zeros(flat.size, dtype=bool)
        for line, leg in zip(self._lines, self._done, strict=True):
            with np.errstate(all="ignore"):
                s = self._s_of(line, flat)
            slack = 8.0 * _EPS * (1.0 + abs(leg.low) + abs(leg.high) + largest(line.origin))
            there = (s >= leg.low - slack) & (s <= leg.high + slack) & ~seen
            values[there] = leg.evaluate(s[there])[0]
            seen |= there
        if not seen.all():
            ends = [
                float(x)
                for line, leg in zip(self._lines, self._done, strict=True)
                for x in self._t_of(line, np.array([leg.low, leg.high]))
            ]
            raise ValueError(
                f"t = {flat[~seen][0]} is not on the path, which goes from t = {min(ends):.6g} to {max(ends):.6g}."
            )
        return values[0] if t.ndim == 0 else values

    def __repr__(self):
        return f"<Path through {len(self.hypers)} hypers by {self.n_expansions} series of order {self.order}>"

    @staticmethod
    def _t_of(line, s):
        if line.origin.size > 1:
            return line.offset + s
        return line.change.back(line.origin[0] + s)

    @staticmethod
    def _s_of(line, t):
        if line.origin.size > 1:
            return t - line.offset
        return line.change.to(t) - line.origin[0]

    def _base_point(self, piece):
        line = piece.line
        ends = np.clip([piece.low, piece.high], line.low, line.high)
        t, low, high = self._t_of(line, np.array([piece.s, *ends]))
        return BasePoint(piece.base.hyper.copy(), piece.series[0].copy(), float(t), (float(low), float(high)))
