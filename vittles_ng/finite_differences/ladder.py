"""One Taylor coefficient of a function of one variable, from its values at ``t = +-h_j``, ``h_j = h q^j``.

The odd and even parts of ``f(t) = sum_k c_k t^k``,

    (f(t) - f(-t)) / 2 = c_1 t + c_3 t^3 + ...,    (f(t) + f(-t)) / 2 - f(0) = c_2 t^2 + c_4 t^4 + ...,

are interpolated over m neighbouring levels: central differences and their Richardson extrapolations (Richardson, Phil.
Trans. R. Soc. A 226 (1927) 299; Ridders, Adv. Eng. Software 4 (1982) 75). The error of one such window is what leaving
out its longest step changes, which shows the truncation, and the noise of the function times the weights. The first
step is that which balances the two for a smooth function on the scale of one, ``eps^(1 / (k + 6))``; levels are added
on the side that limits: nothing depends on the function's units. The ratio q is no simple fraction: by halving, a wave
of which a step skips whole periods passes for a slow one at all of them.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..errors import NonFiniteError, NonSmoothError

__all__ = ["SIGMAS", "Coefficient", "coefficient"]

_EPS, _TINY = np.finfo(float).eps, np.finfo(float).tiny
_RATIO = 0.53
_MAX_WIDTH, _MAX_LEVELS = 6, 26
#: Level of steps that are rounding of the point: at those the function may seem to be defined, and constant.
_LAST = int(np.log(1e2 * _EPS) / np.log(_RATIO))
#: The odd part falls like the step, by the ratio; the even part like its square.
_SHRINKS = 0.75
#: Levels of shorter steps that must not contradict a window whose noise forbids the accuracy asked for.
_CHECKS = 3
#: Steps longer than the first that are tried for a coefficient of which nothing is seen.
_MAX_UNSEEN = 5
#: Longer steps in a row that do not make the error less, after which no more are tried.
_MAX_VAIN = 2
#: Level of the first step, by order: rounding of a function that varies on the scale of one.
_FIRST = {k: int(np.ceil(np.log(4.0 * _EPS ** (1.0 / (k + 6))) / np.log(_RATIO))) for k in (1, 2, 3)}
#: A window has resolved the function where neither its longest nor its shortest step changes the value by more than
#: this part of the function's variation over the shortest.
_RESOLVED = 0.02
#: Standard deviations of noise that count as its error.
SIGMAS = 3.0


class Coefficient(NamedTuple):
    """A coefficient and its error; arrays of the function's shape (n,)."""

    value: np.ndarray
    truncation: np.ndarray  # signed: what a less accurate window says more
    noise: np.ndarray  # standard deviation
    longest: int  # level of the longest step
    shortest: int

    @property
    def error(self):
        """Estimate of ``|value - exact|``."""
        return np.abs(self.truncation) + SIGMAS * self.noise


@lru_cache(maxsize=64)
def _weights(k, width):
    """Weights of the parts at 1, q, ..., q^(width - 1) in ``c_k``."""
    nodes = _RATIO ** np.arange(width)
    powers = np.arange(2 - k % 2, 2 * width + 1, 2)
    inverse = np.linalg.inv(nodes[:, None] ** powers)
    return inverse[(k - 1) // 2]


class _Ladder:
    """The levels evaluated and the windows over them."""

    def __init__(self, at, value0, k, noise, scale):
        self.at, self.value0, self.k, self.noise, self.scale = at, value0, k, noise, scale
        self.parts = {}  # of level j, at scale q^j: ladders of several orders share their values
        self.others = {}  # the parts of the other parity
        self._windows = {}
        self.sizes = {}  # largest values of a level, whose rounding is noise at least
        self.unit = None
        self.reason = "NaN or infinite"

    def length(self, j):
        return self.scale * _RATIO**j

    def add(self, j):
        """Whether the function is defined at both points of a level."""
        pair = [self.at(t) for t in (self.length(j), -self.length(j))]
        if any(isinstance(value, str) for value in pair):
            self.reason = next(value for value in pair if isinstance(value, str))
            return False
        up, down = pair
        odd, even = 0.5 * (up - down), 0.5 * (up + down) - self.value0
        self.parts[j], self.others[j] = (odd, even) if self.k % 2 else (even, odd)
        variation = np.maximum(np.abs(up - self.value0), np.abs(down - self.value0))
        self.sizes[j] = np.maximum(np.abs(self.value0), np.maximum(np.abs(up), np.abs(down)))
        if self.unit is None:  # what makes components in different units comparable; those that stay do not count
            sigma = self.sigma(j)
            is_seen, unit = variation > 6.0 * sigma, np.maximum(variation, np.maximum(sigma, _TINY))
            self.unit = np.where(is_seen, unit, np.inf) if is_seen.any() else unit
        return True

    def sigma(self, j, width=1):
        """Noise of the values at so many levels from level j on; at longer steps they may be far larger."""
        return np.maximum(self.noise, 0.25 * _EPS * np.max([self.sizes[j + i] for i in range(width)], axis=0))

    def norm(self, v):
        """The largest component in units of the function's variation."""
        with np.errstate(over="ignore"):  # of a jump in a function without noise
            return float(np.max(np.abs(v) / self.unit, initial=0.0))

    def gain(self, j, width):
        """Standard deviation of a window's value for noise of one."""
        w = _weights(self.k, width)
        shared = 0.0 if self.k % 2 else np.sum(w) ** 2  # f(0) is in every even part
        return np.sqrt(0.5 * np.sum(w**2) + shared) / self.length(j) ** self.k

    def value(self, j, width):
        w = _weights(self.k, width)
        return sum(w[i] * self.parts[j + i] for i in range(width)) / self.length(j) ** self.k

    def least_error(self, j):
        """What the noise leaves at least in a window whose shortest step is a level's."""
        least = (self.k - 1) // 2 + 1
        return SIGMAS * self.norm(self.gain(j - least, least + 1) * self.sigma(j - 1))

    def windows(self):
        """All windows that have resolved the function, from those of the shortest steps on."""
        least = (self.k - 1) // 2 + 1
        for j in sorted(self.parts, reverse=True):
            for width in range(least + 1, _MAX_WIDTH + 1):
                if j + width - 1 not in self.parts:
                    break
                if (j, width) not in self._windows:
                    self._windows[j, width] = self._window(j, width, least)
                if self._windows[j, width] is not None:
                    yield self._windows[j, width]

    def _window(self, j, width, least):
        """The window of so many levels from level j on, or None if it has not resolved the function."""
        shortest = j + width - 1
        if not self.shrinks(shortest):
            return None
        sigma = self.sigma(j, width)
        values = np.array([self.value(j + i, width - i) for i in range(width - least + 1)])
        value, truncation = values[0], values[1] - values[0]
        other = np.abs(self.value(j, width - 1) - value)
        unit = self.length(shortest) ** self.k
        limit = _RESOLVED * np.abs(self.parts[shortest]) + 6.0 * unit * self.gain(j + 1, width - 1) * sigma
        if np.any(unit * np.maximum(np.abs(truncation), other) > limit):
            return None
        size = np.maximum(np.abs(truncation), self._expected(values, j, width))
        return Coefficient(value, np.copysign(size, truncation), self.gain(j, width) * sigma, j, shortest)

    def _expected(self, values, j, width):
        """What leaving out the longest step should change, as the next two did: less is coincidence.

        The changes fall by ``(h / radius)^2``, that of the next longer step by its longer h. Where the steps reach
        beyond the radius of convergence they go up and down, and one may be small by chance.
        """
        if len(values) < 3:
            return 0.0
        changes = np.abs(np.diff(values, axis=0, append=0.0))[1:]  # the last: of the shortest window against nothing
        longer, shorter = changes[:-1], _RATIO**2 * changes[1:]
        falls = np.max(longer / np.maximum(np.maximum(longer, shorter), _TINY), axis=0)
        is_noise = changes[0] <= 6.0 * self.gain(j + 2, width - 2) * self.sigma(j + 2, width - 2)
        return np.where(is_noise, 0.0, changes[0] * falls)

    def shrinks(self, j):
        """Whether both parts get smaller with the step: it is seen how the function varies."""
        pairs = [np.abs([part[j], part[j - 1]]) for part in (self.parts, self.others)]
        return all(np.all(short <= _SHRINKS * long + 6.0 * self.sigma(j - 1, 2)) for short, long in pairs)

    def is_kinked(self):
        """Whether the even part falls like the step itself over the shortest steps, and not like its square."""
        shortest = max(self.parts)
        for j in (shortest, shortest + 1, shortest + 2):
            if j not in self.parts and not self.add(j):
                return True
            short, long = (np.abs(self.others[i]) for i in (j, j - 1))
            kinked = (np.abs(short - _RATIO * long) <= 0.05 * short) & (short > 20.0 * self.sigma(j - 1, 2))
            if not kinked.any():
                return False
        return True

    def best(self):
        """The window of least error that those of shorter steps do not contradict, or None.

        A window far out, where the function is level, has a small error by its own account.
        """
        windows = list(self.windows())
        if not windows:
            return None
        values, errors = np.array([found.value for found in windows]), np.array([found.error for found in windows])
        longest, accepted = np.array([found.longest for found in windows]), np.zeros(len(windows), dtype=bool)
        for i in range(len(windows)):
            rivals = accepted & (longest > longest[i])
            accepted[i] = np.all(np.abs(values[i] - values[rivals]) <= errors[i] + errors[rivals])
        sizes = np.where(accepted, np.max(errors / self.unit, axis=1), np.inf)
        return windows[int(np.argmin(sizes))]


def coefficient(at, value0, k, noise, rtol, scale):
    """The coefficient of ``t^k`` of a function at t = 0.

    Parameters
    ----------
    at : callable
        ``at(t) -> ndarray of shape (n,)``, or a string that says why it is not defined there.
    value0 : ndarray of shape (n,)
        ``at(0)``.
    k : int
        From 1 to 3.
    noise : ndarray of shape (n,)
        Standard deviation of the function's values.
    rtol : float
        Error, relative to the coefficient, that is small enough.
    scale : float
        Length in t on which the function is expected to vary.

    Returns
    -------
    Coefficient

    Raises
    ------
    NonFiniteError
        The function is not defined on both sides of t = 0, however close.
    NonSmoothError
        The differences do not settle.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.finite_differences.ladder import coefficient
    >>> found = coefficient(lambda t: np.exp(np.array([t])), np.ones(1), 3, np.full(1, 1e-16), 1e-8, 1.0)
    >>> found.value.round(8), bool(found.error[0] < 1e-8)
    (array([0.16666667]), True)
    """
    ladder, first = _started(at, value0, k, noise, scale, _FIRST[k])
    lowest, highest, n_vain = max(ladder.parts), first, 0
    for _ in range(_MAX_LEVELS):
        best = ladder.best()
        if best is not None and ladder.norm(best.error) <= rtol * ladder.norm(best.value):
            break
        error = np.inf if best is None else ladder.norm(best.error)
        is_noisy = best is not None and SIGMAS * ladder.norm(best.noise) > ladder.norm(best.truncation)
        is_unseen = is_noisy and ladder.norm(best.value) <= 2.0 * error
        goes_up = is_noisy and n_vain < _MAX_VAIN and not (is_unseen and first - highest >= _MAX_UNSEEN)
        if goes_up and ladder.add(highest - 1):
            highest -= 1
        else:
            is_done = is_noisy or ladder.least_error(lowest + 1) > error
            if (is_done and lowest >= best.shortest + _CHECKS) or not ladder.add(lowest + 1):
                break
            lowest += 1
        found = ladder.best()
        if goes_up:
            n_vain = n_vain + 1 if ladder.norm(found.error) > 0.7 * error else 0
    best = ladder.best()
    if best is None or (k == 1 and ladder.is_kinked()):
        raise NonSmoothError(
            f"the differences of order {k} do not settle at any step from {ladder.length(highest):.1e} to "
            f"{ladder.length(lowest):.1e}: the function jumps, has a kink, or noise above the {np.max(noise):.1e} "
            "assumed: smooth it, fix its random numbers, or pass the noise that it has."
        )
    return best


def _started(at, value0, k, noise, scale, first):
    """A ladder with its first levels, the longest where the function is defined, and which level that is."""
    for level in range(first, _LAST, 3):
        ladder = _Ladder(at, value0, k, noise, scale)
        if all(ladder.add(level + j) for j in range((k - 1) // 2 + 2)):
            return ladder, level
    raise NonFiniteError(
        f"the function is not defined on both sides of the base point ({ladder.reason}), however close: move the base "
        "point away from the edge of where it is."
    )
