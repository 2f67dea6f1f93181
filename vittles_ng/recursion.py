"""The recursion ``input_k = -H^{-1} r_k``, along one direction or a batch of them.

Along ``hyper_0 + t d`` the solution is ``input(t) = sum_k input_k t^k``; ``r_k`` is the coefficient of t^k of
``G(input_0 + ... + input_{k-1} t^{k-1}, hyper_0 + t d)``, which a replay of the tape gives order by order.
"""

import numbers
import threading
from collections import OrderedDict

import numpy as np

from .errors import NonFiniteError
from .executors import progress
from .taylor.recorded import block_size
from .taylor.series import Workspace

__all__ = ["Recursion", "checked_integer", "checked_max_order", "checked_positive"]

_DIRECTIONS_KEPT = 2
_IDLE_KEPT = 2


class Recursion:
    """Series of the solution along directions in the hyper.

    Parameters
    ----------
    recorded : Recorded
        The estimating equation of (input, hyper), to be corrected in the input.
    solver : object with ``solve(rhs)``
        The factor of ``dG/dinput`` at the base point.
    n_input, n_hyper : int
    """

    def __init__(self, recorded, solver, n_input, n_hyper):
        self._recorded, self._solver, self._n_input, self._n_hyper = recorded, solver, n_input, n_hyper
        self._block = block_size(recorded.size)
        self._directions = OrderedDict()  # walks along the last directions asked for
        self._idle = {}  # walks not in use, by number of steps
        self._lock = threading.Lock()

    def __deepcopy__(self, memo):
        """Another that shares what never changes, the tape and the factor."""
        return Recursion(self._recorded, self._solver, self._n_input, self._n_hyper)

    def along(self, direction, order):
        """Coefficients 1..order along one direction (n_hyper,), as (order, n_input).

        Lower orders found before are continued, not formed again.
        """
        key = direction.tobytes()
        with self._lock:  # taken out of the cache while in use: a walk serves one thread at a time
            walk = self._directions.pop(key, None)
        if walk is None:
            walk = self._walk(1)
            walk.directions[0] = direction
            walk.restart()
        out = np.empty((order, 1, self._n_input))
        walk.fill(out)
        with self._lock:
            self._directions[key] = walk
            n_old = len(self._directions) - _DIRECTIONS_KEPT
            evicted = [self._directions.popitem(last=False)[1] for _ in range(n_old)]
        for old in evicted:
            self._retire(old)
        return out[:, 0]

    def terms(self, new, origin, out):
        """Terms ``input_k t^k`` at t = 1 of the steps ``new - origin``.

        Directions are scaled to a largest component of one, so that no step is too short or too long for the series;
        steps that lie on one line share one series.

        Parameters
        ----------
        new : ndarray of shape (n_steps, n_hyper)
        origin : ndarray of shape (n_hyper,)
        out : ndarray of shape (order, n_steps, n_input)
            Written into.
        """
        orders = np.arange(1, len(out) + 1)[:, None]
        with np.errstate(all="ignore"):
            line = _one_line(new, origin)
            if line is None:

                def rows(start, stop, directions):
                    np.subtract(new[start:stop], origin, out=directions)
                    size = np.vdot(directions, directions)
                    if 1e-200 < size ** len(out) < 1e200:  # of |d|^order: neither overflow nor underflow is near
                        return None
                    return _scaled(directions)[1] ** orders

                self.batch(rows, len(new), out)
            elif line[0].any():
                direction, lengths = line
                series = self.along(direction, len(out))
                np.multiply(series[:, None, :], (lengths**orders)[:, :, None], out=out)
            else:
                out[...] = 0.0

    def batch(self, rows, n_directions, out):
        """Coefficients along many directions, in blocks.

        Parameters
        ----------
        rows : callable
            ``rows(start, stop, directions) -> factors`` writes ``directions`` (stop - start, n_hyper), and returns what
            to multiply the coefficients by, (order, stop - start), or None.
        n_directions : int
        out : ndarray of shape (order, n_directions, n_input)
            Written into.
        """
        for start in progress(range(0, n_directions, self._block), what="series"):
            stop = min(start + self._block, n_directions)
            walk = self._walk(stop - start)
            factors = rows(start, stop, walk.directions)
            walk.restart()
            walk.fill(out[:, start:stop])
            if factors is not None:
                out[:, start:stop] *= factors[:, :, None]
            self._retire(walk)

    def _walk(self, n_steps):
        with self._lock:
            idle = self._idle.get(n_steps)
            if idle:
                return idle.pop()
        return _Walk(self._recorded, self._solver, n_steps, self._n_hyper)

    def _retire(self, walk):
        """Keep a walk that is done with."""
        n_steps = len(walk.directions)
        if n_steps not in (1, self._block):
            return  # the rest of some batch: the next batch's may have another size
        with self._lock:
            idle = self._idle.setdefault(n_steps, [])
            if len(idle) < _IDLE_KEPT:
                idle.append(walk)


class _Walk:
    """A block of directions, followed order by order.

    What an order takes is the same arithmetic on the same arrays for every block of this size: where there is a second
    block its replay is logged, and later blocks repeat the log. The first is not: many expansions serve one direction.

    Attributes
    ----------
    directions : ndarray of shape (n_steps, n_hyper)
        To be written before :meth:`restart`.
    """

    def __init__(self, recorded, solver, n_steps, n_hyper):
        self._recorded, self._solver = recorded, solver
        self._ws = Workspace(n_steps)
        self.directions = self._ws.empty((n_steps, n_hyper))
        self._replay, self._logs, self._series, self._done = None, [], [], 0
        self._n_starts = 0

    @property
    def _is_logged(self):
        return self._recorded.can_log and self._n_starts > 1

    def restart(self):
        """Begin anew, along the directions as they now are."""
        self._done, self._n_starts = 0, self._n_starts + 1
        if not self._logs:
            self._replay, self._series = None, []

    def fill(self, out):
        """Write the coefficients 1..order into ``out`` (order, n_steps, n_input); those found before are kept."""
        with np.errstate(all="ignore"):
            while self._done < len(out):
                if self._done < len(self._logs):
                    for f, a, b, result in self._logs[self._done]:
                        f(a, b, result)
                else:
                    self._form()
                _check_finite(self._series[self._done], self._done + 1)
                self._done += 1
        for c, row in zip(self._series, out, strict=False):
            row[...] = 0.0 if c is None else c

    def _form(self):
        """The next order by the replay."""
        ws = self._ws
        if self._replay is None:
            self._replay = self._recorded.start(ws.n_steps, ws)
        ws.log = [] if self._is_logged else None
        (r,) = self._replay.coefficient([None, None if self._series else self.directions])
        c = None if r is None else ws.run(self._solve, r, None, ws.empty(r.shape))
        self._replay.correct(c)
        if ws.log is not None:
            self._logs.append(ws.log)
            ws.log = None
        self._series.append(c)

    def _solve(self, r, _, out):
        """``-H^{-1} r`` for r of shape (n_steps, n_input)."""
        if len(r) == 1:
            np.negative(self._solver.solve(r[0]), out=out[0])
        else:
            np.negative(self._solver.solve(r.T).T, out=out)


def checked_integer(value, name, least):
    """An integer argument that must not be below its least value."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    return int(value)


def checked_positive(value, name, may_be_infinite=False):
    """An argument that must be one positive number, finite unless it may be infinite; ValueError names it otherwise."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not (is_number and value > 0.0 and (may_be_infinite or value < np.inf)):
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    return float(value)


def checked_max_order(max_order, order):
    """The order to use of an expansion to ``order``; all of it for None."""
    if max_order is None:
        return order
    max_order = checked_integer(max_order, "max_order", 1)
    if max_order > order:
        raise ValueError(f"max_order={max_order} exceeds the expansion's order {order}: expand to more.")
    return max_order


def _check_finite(c, k):
    if c is not None and not np.isfinite(np.vdot(c, c)) and not np.all(np.isfinite(c)):  # the product may overflow
        bad = np.sum(~np.isfinite(c).all(axis=1))
        raise NonFiniteError(
            f"the coefficient of order {k} is NaN or infinite in {bad} of {len(c)} directions: "
            f"the series overflows or does not exist there; use max_order={k - 1}."
        )


def _scaled(steps):
    """Directions with a largest component of one, and the steps' lengths in that norm; a zero step stays zero.

    The directions overwrite the steps.
    """
    lengths = np.maximum(steps.max(axis=1), -steps.min(axis=1))
    scale = np.where(lengths > 0.0, lengths, 1.0)[:, None]
    return np.divide(steps, scale, out=steps), lengths


def _one_line(new, origin):
    """Direction and signed lengths if all steps lie on one line, to the rounding of forming them; else None."""
    if len(new) == 0:
        return None
    (direction,), (length,) = _scaled(new[:1] - origin)
    if len(new) == 1:
        return direction, np.array([length])
    if length == 0.0 or not _is_along(new[-1:], origin, direction, length):  # one row tells most batches from a line
        return None
    if not _is_along(new, origin, direction, length):
        return None
    largest = np.argmax(np.abs(direction))
    return direction, (new[:, largest] - origin[largest]) / direction[largest]


def _is_along(new, origin, direction, length):
    """Whether steps are multiples of a direction whose own step had a length."""
    directions, lengths = _scaled(new - origin)
    largest = np.argmax(np.abs(direction))
    signed = np.sign(directions[:, largest] * direction[largest])[:, None] * direction
    # forming a component of a step rounds it by eps times the hyper's own component
    inverse = 1.0 / np.where(lengths > 0.0, lengths, 1.0) + 1.0 / length
    tolerance = 8.0 * np.finfo(float).eps * (np.abs(direction) + np.abs(origin) * inverse[:, None])
    return bool(np.all((np.abs(directions - signed) <= np.minimum(tolerance, 1e-9)) | (lengths == 0.0)[:, None]))
