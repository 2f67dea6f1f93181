"""A black box behind the interface of a recorded function: series and derivatives by differences.

Along known curves ``x(t) = (input(t), hyper(t))`` the coefficient of ``t^k`` of ``G(x(t))`` is one of a function of one
variable, whatever the number of inputs and hypers. By central differences it is that of the values on the curve itself;
by random directions it is put together from derivatives of G at the base point (Faa di Bruno),

    [t]   G = D x_1,
    [t^2] G = D x_2 + 1/2 D^2 (x_1, x_1),
    [t^3] G = D x_3 + D^2 (x_1, x_2) + 1/6 D^3 (x_1, x_1, x_1),

and those are means over standard normal u, with a and b the odd and even differences of G at ``x +- h u``,

    D v          = E a <u, v>,                         a = (G(x + h u) - G(x - h u)) / (2 h),
    D^2 (v, w)   = E b (<u, v> <u, w> - <v, w>),       b = (G(x + h u) + G(x - h u) - 2 G(x)) / (2 h^2),
    D^3 (v, v, v) = E a (<u, v>^3 - 3 <u, v> <v, v>) / h^2,

Stein's identity for the function averaged over its neighbourhood. The linear part of a, as the other directions tell
it, is subtracted, and in the first added again: the mean is the same, and the error is that of what is left.
"""

import numpy as np

from ..errors import NonFiniteError, ShapeError
from ..taylor.series import Workspace
from .directional import MAX_ORDER
from .ladder import coefficient
from .noise import noise_level
from .options import CentralDifferences, RandomDirections, noise_told
from .values import FAILURES, Values

__all__ = ["Differenced", "differenced"]

_SMALL = 1e-4


def differenced(equation, base, options, noise=None):
    """A black box ready to be differenced.

    Parameters
    ----------
    equation : callable
        ``equation(input, hyper) -> (n_output,)`` of flat vectors.
    base : sequence of two ndarray
        The base point.
    options : CentralDifferences or RandomDirections
    noise : ndarray of shape (n_output,), default=None
        Where it is known already.
    """
    if isinstance(options, RandomDirections):
        return _RandomlyDifferenced(equation, base, options, noise)
    if isinstance(options, CentralDifferences):
        return Differenced(equation, base, options, noise)
    raise TypeError(
        f"differences={options!r}: CentralDifferences(...) or RandomDirections(...) of vittles_ng.finite_differences "
        "is needed."
    )


class Differenced:
    """What :class:`~vittles_ng.taylor.recorded.Recorded` is to a function that can be traced; see :func:`differenced`.

    Attributes
    ----------
    values : list of one ndarray of shape (n_output,)
        At the base point.
    size : int
        Numbers that one direction needs.
    can_log : bool
        False: coefficients are not arithmetic on arrays that could be repeated.
    noise : ndarray of shape (n_output,)
        Standard deviation of the values.
    n_evaluations : int
        Calls of the equation so far.
    """

    can_log = False
    is_tuple = False

    def __init__(self, equation, base, options, noise=None):
        self._equation, self.options = equation, options
        self.base = [np.array(part) for part in base]
        self.n_evaluations = 0
        self.values = [self.at(self.base)]
        if not np.all(np.isfinite(self.values[0])):
            raise NonFiniteError(
                f"{np.sum(~np.isfinite(self.values[0]))} of {self.values[0].size} values of the estimating equation "
                "are NaN or infinite at the base point: it is not defined there."
            )
        self.size = sum(part.size for part in self.base)
        self._units = [1.0 + np.abs(part) for part in self.base]
        self.noise = self._noise() if noise is None else noise

    def at(self, point):
        """The equation at a point, (n_output,)."""
        self.n_evaluations += 1
        return self._equation(*point)

    def _noise(self):
        value0 = self.values[0]
        if self.options.noise is not None:
            return noise_told(self.options.noise, value0.size)
        signs = [np.random.default_rng(0).choice([-1.0, 1.0], part.size) for part in self.base]

        def near(t):
            moved = [part + t * sign * unit for part, sign, unit in zip(self.base, signs, self._units, strict=True)]
            return self._defined(moved)

        return noise_level(near)

    def _defined(self, point):
        """The equation at a point where it must be defined."""
        try:
            value = self.at(point)
            reason = "" if np.all(np.isfinite(value)) else f"{np.sum(~np.isfinite(value))} values NaN or infinite"
        except ShapeError:
            raise
        except FAILURES as error:
            reason = f"{type(error).__name__}: {error}"
        if reason:
            raise NonFiniteError(
                f"the estimating equation is not defined close to the base point, {reason}: move the base point away "
                "from the edge of where it is, or pass a smaller step of random directions."
            )
        return value

    def depends_on(self, argnum):
        """Whether the equation depends on an argument: whether it changes when all elements are moved a little."""
        rng = np.random.default_rng(1 + argnum)
        for size in (_SMALL, 1e-2, 0.3):
            moved = list(self.base)
            moved[argnum] = self.base[argnum] + size * self._units[argnum] * rng.uniform(0.5, 1.0, moved[argnum].size)
            try:
                change = np.abs(self.at(moved) - self.values[0])
            except FAILURES:
                return True
            if not np.all(change <= 4.0 * self.noise):  # NaN: it does
                return True
        return False

    def curve(self, series):
        """The function ``t -> G(x(t))`` along coefficients 1, 2, ... of each argument (None: zero), and its scale."""
        rates = [
            float(np.max(np.abs(c) / unit)) ** (1.0 / k)
            for part, unit in zip(series, self._units, strict=True)
            for k, c in enumerate(part, start=1)
            if c is not None and c.any()
        ]

        def at(t):
            point = [part.copy() for part in self.base]
            for x, coefficients in zip(point, series, strict=True):
                for k, c in enumerate(coefficients, start=1):
                    if c is not None:
                        x += t**k * c
            return self.at(point)

        return at, (1.0 / max(rates) if rates else None)

    def start(self, n_steps, ws=None):
        """A fresh replay for a batch of steps; ``ws`` is a workspace of that size to use again."""
        return _Replay(self, n_steps, ws)

    def pushed(self, argnum, directions, ws=None):
        """Derivatives along directions (n_directions, n) of an argument, (n_directions, n_output)."""
        return self.pushed_with_errors(argnum, directions)[0]

    def pushed_with_errors(self, argnum, directions):
        """As :meth:`pushed`, with signed truncation and standard deviation of the noise of each, of the same shape."""
        replay = _Replay(self, len(directions), None)
        given = [None] * len(self.base)
        given[argnum] = np.asarray(directions)
        (value,) = replay.coefficient(given)
        return value, *replay.errors[0]

    def products(self, argnum, directions):
        """As :meth:`pushed`."""
        return self.pushed(argnum, directions)


class _Replay:
    """The curves of a batch of steps, and the coefficients along them; as :class:`~vittles_ng.taylor.replay.Replay`.

    Attributes
    ----------
    errors : list of tuple of two ndarray of shape (n_steps, n_output)
        For every order formed the signed truncation and the noise of its coefficients.
    """

    def __init__(self, differenced, n_steps, ws):
        self.differenced, self.n_steps = differenced, n_steps
        self.ws = Workspace(n_steps) if ws is None else ws
        self._series = [[] for _ in differenced.base]
        self.errors = []

    @property
    def order(self):
        """Orders formed so far."""
        return len(self.errors)

    def coefficient(self, given):
        """Coefficients of the next order, from those of the arguments (None: zero, or corrected later)."""
        k = self.order + 1
        if k > MAX_ORDER:
            raise ValueError(f"order {k} of a black box: differences give orders 1 to {MAX_ORDER}, pass one of them.")
        for part, c in zip(self._series, given, strict=True):
            # a copy: the caller may write the next batch into the same array
            part.append(None if c is None else np.array(np.broadcast_to(c, (self.n_steps, c.shape[-1]))))
        value, truncation, noise = self._coefficients(k)
        self.errors.append((truncation, noise))
        return [value]

    def correct(self, c):
        """Supply the present order's coefficient of the first argument, or None."""
        self._series[0][-1] = None if c is None else np.array(c)

    def _coefficients(self, k):
        rows = [self._row(i, k) for i in range(self.n_steps)]
        return [np.array([row[j] for row in rows]) for j in range(3)]

    def _row(self, i, k):
        source = self.differenced
        value0 = source.values[0]
        series = [[None if c is None else c[i] for c in part] for part in self._series]
        at, scale = source.curve(series)
        if scale is None:
            return np.zeros_like(value0), np.zeros_like(value0), np.zeros_like(value0)
        values = Values(at)
        return coefficient(values, value0, k, source.noise, source.options.rtol, scale)


class _RandomlyDifferenced(Differenced):
    """Pairs of values in random directions, which answer every direction; the first argument's Jacobian is central."""

    def __init__(self, equation, base, options, noise=None):
        super().__init__(equation, base, options, noise)
        m, h = options.n_directions, options.step
        self.directions = options.rng.standard_normal((m, self.size))
        value0 = self.values[0]
        self.odd, self.even = np.empty((m, value0.size)), np.empty((m, value0.size))
        for i, u in enumerate(self.directions):
            up, down = (self._defined(self._moved(sign * h * u)) for sign in (1.0, -1.0))
            self.odd[i] = (up - down) / (2.0 * h)
            self.even[i] = (up + down - 2.0 * value0) / (2.0 * h * h)
        self.linear, self.rest = self._linear_part_and_rest()

    def _moved(self, u):
        first = self.base[0].size
        parts = (u[:first], u[first:])
        return [x + unit * part for x, unit, part in zip(self.base, self._units, parts, strict=True)]

    def _linear_part_and_rest(self):
        """The mean of ``a u^T``, weighted against its noise, and a without what the other directions' mean says."""
        u, a = self.directions, self.odd
        m, n = u.shape
        weight, total = m / (m + n), u.T @ a
        others = (u @ total - a * np.sum(u**2, axis=1)[:, None]) / (m - 1.0)
        return weight * total / m, a - weight * others

    def scaled(self, parts):
        """One coefficient of both arguments (None: zero) in units of the base point, (n_input + n_hyper,)."""
        pairs = zip(parts, self._units, strict=True)
        return np.concatenate([np.zeros(unit.size) if c is None else c / unit for c, unit in pairs])

    def start(self, n_steps, ws=None):
        """As :meth:`Differenced.start`; replays call the equation no more."""
        return _RandomReplay(self, n_steps, ws)


class _RandomReplay(_Replay):
    def _row(self, i, k):
        source = self.differenced
        x = [source.scaled([None if c is None else c[i] for c in both]) for both in zip(*self._series, strict=True)]
        along = [c @ source.directions.T for c in x]  # <u, x_k>, (n_directions,)
        samples = along[k - 1][:, None] * source.rest + x[k - 1] @ source.linear
        if k > 1:
            half = 0.5 if k == 2 else 1.0
            samples += (half * (along[0] * along[k - 2] - x[0] @ x[k - 2]))[:, None] * source.even
        if k == 3:
            weight = (along[0] ** 3 - 3.0 * along[0] * (x[0] @ x[0])) / (6.0 * source.options.step**2)
            samples += weight[:, None] * source.rest
        noise = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
        return samples.mean(axis=0), np.zeros_like(noise), noise
