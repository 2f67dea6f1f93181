"""The recursion ``input_k = -H^{-1} r_k``, along one direction or a batch of them.

Along ``hyper_0 + t d`` the solution is ``input(t) = sum_k input_k t^k``; ``r_k`` is the coefficient of t^k of
``G(input_0 + ... + input_{k-1} t^{k-1}, hyper_0 + t d)``, which a replay of the tape gives order by order.
"""

import threading
from collections import OrderedDict

import numpy as np

from .errors import NonFiniteError

__all__ = ["Recursion"]

_DIRECTIONS_KEPT = 4
_IDLE_KEPT = 2


class Recursion:
    """Series of the solution along directions in the hyper.

    Parameters
    ----------
    recorded : Recorded
        The estimating equation of (input, hyper), to be corrected in the input.
    solver : object with ``solve(rhs)``
        The factor of ``dG/dinput`` at the base point.
    n_input : int
    """

    def __init__(self, recorded, solver, n_input):
        self._recorded, self._solver, self._n_input = recorded, solver, n_input
        self._block = _block_size(recorded.size)
        self._directions = OrderedDict()  # replay and coefficients of the last directions asked for
        self._idle = {}  # workspaces not in use, by number of steps
        self._lock = threading.Lock()

    def along(self, direction, order):
        """Coefficients 1..order along one direction (n_hyper,), as (order, n_input).

        Lower orders found before are continued, not formed again.
        """
        key = direction.tobytes()
        with self._lock:  # taken out of the cache while in use: a replay serves one thread at a time
            kept = self._directions.pop(key, None)
        replay, series = kept if kept is not None else (self._start(1), [])
        series = self._extended(replay, direction[None, :], series, order)
        with self._lock:
            self._directions[key] = replay, series
            n_old = len(self._directions) - _DIRECTIONS_KEPT
            evicted = [self._directions.popitem(last=False)[1] for _ in range(n_old)]
        for old, _ in evicted:
            self._retire(old)
        return np.concatenate(series[:order])

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
                    if 1e-100 < size < 1e100:  # neither overflow nor underflow is near
                        return None
                    return _scaled(directions)[1] ** orders

                self.batch(rows, *new.shape, len(out), out)
            elif line[0].any():
                direction, lengths = line
                series = self.along(direction, len(out))
                np.multiply(series[:, None, :], (lengths**orders)[:, :, None], out=out)
            else:
                out[...] = 0.0

    def batch(self, rows, n_directions, n_hyper, order, out):
        """Coefficients 1..order along many directions, in blocks.

        Parameters
        ----------
        rows : callable
            ``rows(start, stop, out) -> factors`` writes directions into ``out``, (stop - start, n_hyper), and returns
            what to multiply the coefficients by, (order, stop - start), or None.
        n_directions, n_hyper, order : int
        out : ndarray of shape (order, n_directions, n_input)
            Written into.
        """
        for start in range(0, n_directions, self._block):
            stop = min(start + self._block, n_directions)
            replay = self._start(stop - start)
            directions = replay.ws.empty((stop - start, n_hyper))
            factors = rows(start, stop, directions)
            for k, c in enumerate(self._extended(replay, directions, [], order)):
                out[k, start:stop] = c if factors is None else c * factors[k][:, None]
            self._retire(replay)

    def _extended(self, replay, directions, series, order):
        """The coefficients of a block of directions, continued to an order."""
        series = list(series)
        with np.errstate(all="ignore"):
            for k in range(len(series) + 1, order + 1):
                (r,) = replay.coefficient([None, directions if k == 1 else None])
                if r is None:
                    input_k = None
                else:
                    _check_finite(r, k)
                    input_k = -self._solve(r)
                replay.correct(input_k)
                series.append(np.zeros((len(directions), self._n_input)) if input_k is None else input_k)
        return series

    def _solve(self, r):
        return self._solver.solve(r[0])[None, :] if len(r) == 1 else self._solver.solve(r.T).T

    def _start(self, n_steps):
        with self._lock:
            idle = self._idle.get(n_steps)
            ws = idle.pop() if idle else None
        return self._recorded.start(n_steps, ws)

    def _retire(self, replay):
        """Keep the workspace of a replay that is done with."""
        if replay.ws.n_steps not in (1, self._block):
            return  # the rest of some batch: the next batch's may have another size
        with self._lock:
            idle = self._idle.setdefault(replay.ws.n_steps, [])
            if len(idle) < _IDLE_KEPT:
                idle.append(replay.ws)


def _block_size(size):
    """Steps in a block: coefficients of a block stay in cache, or at least share each pass over a large matrix."""
    return int(np.clip(40_000 // size, min(8, 1 + 20_000_000 // size), 512))


def _check_finite(r, k):
    if not np.isfinite(np.vdot(r, r)) and not np.all(np.isfinite(r)):  # the product may also overflow
        bad = np.sum(~np.isfinite(r).all(axis=1))
        raise NonFiniteError(
            f"the coefficient of order {k} is NaN or infinite in {bad} of {len(r)} directions: "
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
