"""The straight legs of a walk through given hypers."""

from typing import NamedTuple

import numpy as np

from .pieces import largest

__all__ = ["Line", "legs_through"]

_EPS = np.finfo(float).eps


class Line(NamedTuple):
    """A leg: ``u(s) = origin + s direction``, low <= s <= high; walked from s = 0, where t is ``offset``."""

    change: type
    origin: np.ndarray
    direction: np.ndarray
    low: float
    high: float
    offset: float
    index: np.ndarray  # requested hypers on it, and where
    s: np.ndarray

    def hyper(self, s):
        return self.change.back(self.origin + s * self.direction)


def legs_through(change, start, points):
    """The legs of the walk through all points."""
    direct = _positions(start, points)
    if direct is not None:
        direction, s = direct
        return [Line(change, start, direction, min(0.0, s.min()), max(0.0, s.max()), 0.0, np.arange(len(s)), s)]
    order = np.arange(len(points))
    own = _positions(points[0], points)
    if own is not None:
        order = np.argsort(own[1], kind="stable")
        if np.linalg.norm(points[order[-1]] - start) < np.linalg.norm(points[order[0]] - start):
            order = order[::-1]
    lines, offset = [], 0.0
    while order.size:
        n, direction, s = _straight(start, points[order])
        lines.append(Line(change, start, direction, 0.0, s[-1], offset, order[:n], s))
        start, offset, order = points[order[n - 1]], offset + s[-1], order[n:]
    return lines


def _straight(start, points):
    """How many of the points can be walked to straight ahead, the direction, and where they are."""
    n, direction, s = 0, np.eye(1, start.size)[0], np.zeros(0)
    while n < len(points):
        step = points[n] - start
        length = float(np.linalg.norm(step))
        if length > 0.0 and s.any():
            ahead = float(step @ direction)
            if ahead < s[-1] or largest(step - ahead * direction) > _slack(start, points[n], length):
                break
            length = ahead
        elif length > 0.0:
            direction = step / length
        elif s.any():
            break
        s = np.append(s, length)
        n += 1
    return n, direction, s


def _positions(origin, points):
    """Direction and signed distances from an origin where all points lie on one line with it; else None."""
    steps = points - origin
    if origin.size == 1:
        return np.ones(1), steps[:, 0]
    lengths = np.linalg.norm(steps, axis=1)
    farthest = int(np.argmax(lengths))
    if lengths[farthest] == 0.0:
        return np.eye(1, origin.size)[0], lengths
    direction = steps[farthest] / lengths[farthest]
    s = steps @ direction
    off = np.max(np.abs(steps - s[:, None] * direction), axis=1)
    slack = np.array([_slack(origin, p, lengths[farthest]) for p in points])
    return (direction, s) if np.all(off <= slack) else None


def _slack(start, point, length):
    """Rounding of a point of a line."""
    return 32.0 * _EPS * (largest(start) + largest(point) + length)
