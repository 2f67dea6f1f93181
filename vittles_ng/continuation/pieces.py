"""One re-expansion of a path: a polished base point, its series, and how far it has been shown to be good.

A path runs along a line ``u(s) = origin + s direction`` in a changed variable of the hyper, ``u = hyper`` or
``u = log(hyper)``. Changing the variable changes only the hyper's series, ``hyper(s) = sum_k hyper_k s^k``, that is fed
to the tape:

    identity: hyper_1 = direction,    log: hyper_k = hyper_0 direction^k / k!

**Polishing the whole series at once.** The tape is recorded at a predicted point x, which leaves a residual
``g = G(x, hyper_0)``. Let ``z(s, e)`` solve ``G(z, hyper(s)) = (1 - e) g`` with ``z(0, 0) = x``: a base point that is
exact. The path is ``z(s, 1)``. With ``z = sum_j a_j(s) e^j`` and ``a_j`` of the size of ``|H^-1 g|^j``,

    path = a_0(s) + a_1(s) + O(|H^-1 g|^2),

one Newton step on the base point and on all coefficients. Along ``e = s`` the coefficient of ``s^k`` is
``sum_j a_{j,k-j}``, so two series z0, with e = 0, and z1, with e = s, give ``a_{0,k} + a_{1,k}`` as
``z0_k + (z1_{k+1} - z0_{k+1})``: no second tape, no second factor. As ``a_1`` is small to begin with, z1 is needed to a
lower order. What is left is measured by a chord step at the base point.

**Range.** With ``scale = |input_0|`` the terms of the last orders up to K give

    range = min_k (scale / |input_k|)^(1/k) (tol / scale)^(1/K),

where a term of order K is tol (Cochelin, Comput. Struct. 53 (1994) 1181). There the user's function is called: with
chord steps ``s1 = H^-1 G(x)``, ``s2 = H^-1 G(x - s1)`` and ``rho = <s2, s1> / <s1, s1>`` the error is
``s1 + s2 / (1 - rho)``; it grows like ``s^(K+1)``, which gives the range where it is tol. Behind its base point a
series is compared with the one before, short of that one's edge. The terms alone are trusted nowhere.
"""

import math

import numpy as np

from ..errors import VittlesError

__all__ = ["CHANGES_OF_VARIABLE", "Base", "Identity", "Log", "NotReached", "Overflow", "Piece", "largest"]

_MAX_NEWTON = 8
_LAST_ORDERS = 4  # two may both be small by chance
_EPS = np.finfo(float).eps
# What a step's terms show is about ten times too cautious: the check decides, a little further out.
_TRIAL = 1.15
_MAX_TRIALS = 30
_MAX_CONTRACTION = 0.9
_SAFETY = 2.0
_LEFT = 0.02  # of tol, by polishing: of the base point, and of the coefficients


class NotReached(Exception):
    """A base point that could not be made; the message says why."""


class Overflow(NotReached):
    """A series that overflows in the unit that it is scaled by."""


class Identity:
    """The hyper itself."""

    to = staticmethod(np.asarray)
    back = staticmethod(np.asarray)

    @staticmethod
    def series(hyper, direction, order):
        """Coefficients 1..order of the hyper along a direction, None where they are zero."""
        return [direction] + [None] * (order - 1)


class Log:
    """The logarithm of a positive hyper."""

    to = staticmethod(np.log)
    back = staticmethod(np.exp)

    @staticmethod
    def series(hyper, direction, order):
        """Coefficients 1..order: ``hyper exp(s direction)``."""
        return [hyper * direction**k / math.factorial(k) for k in range(1, order + 1)]


CHANGES_OF_VARIABLE = {None: Identity, "log": Log}


def largest(x):
    """Largest magnitude of a component, NaN and infinity counted as infinite."""
    with np.errstate(all="ignore"):
        size = float(np.max(np.abs(x)))
    return size if np.isfinite(size) else np.inf


#: Orders polished beyond what an even decay of the terms asks for; with none, errors were up to 70 estimates.
_MORE_ORDERS = 3


class Base:
    """The problem recorded and factored near a solution.

    Parameters
    ----------
    problem : Problem
    solver : Solver
        Of its Jacobian.
    """

    def __init__(self, problem, solver):
        self.problem, self.solver = problem, solver
        self.step = solver.solve(problem.residual0)

    @property
    def hyper(self):
        """Its hyper, (n_hyper,)."""
        return self.problem.hyper.flat0

    def moved(self, value, hyper=None):
        """Another one, at another input, and hyper where one is given."""
        try:
            problem = self.problem.at(value, hyper)
            return Base(problem, problem.factored(self.solver))
        except (VittlesError, ArithmeticError, ValueError) as error:
            raise NotReached(f"{type(error).__name__}: {error}") from error

    def chord(self, value, hyper):
        """The chord step ``H^{-1} G`` at a point, by the user's function; NaN where that is not defined."""
        try:
            with np.errstate(all="ignore"):
                residual = self.problem.residual(value, hyper)
                return self.solver.solve(residual)
        except (VittlesError, ArithmeticError, ValueError):
            return np.full_like(value, np.nan)

    def series(self, change, direction, order, tol, workspace):
        """Coefficients 0..order of the path, (order + 1, n_input), and up to which order they are polished.

        What polishing leaves at the edge of the range is a hundredth of tol.
        """
        hypers = [h if h is None else h[None, :] for h in change.series(self.hyper, direction, order)]
        series = self._replayed(hypers, workspace, None)
        size, n = largest(self.step), order + 1
        if size > 1e-3 * tol:
            # in the range |s| <= 1 / q the terms of a_1 fall like step q^k, those of the path like scale q^k to tol
            q = (tol / max(largest(series[0]), 2.0 * tol)) ** (1.0 / order)
            n = math.ceil(math.log(0.01 * tol / size) / math.log(q)) + _MORE_ORDERS
            n = int(np.clip(n, 1, order))
            perturbed = self._replayed(hypers[:n], workspace, self.problem.residual0)
            series[:n] += perturbed[1:] - series[1 : n + 1]
        if not np.all(np.isfinite(series)):
            raise Overflow(f"the series overflows at hyper {self.hyper}")
        return series, n

    def _replayed(self, hypers, workspace, residual):
        """Coefficients along hypers; with a residual, of the equation ``G = (1 - s) residual``."""
        replay = self.problem.recorded.start(1, workspace.get("ws"))
        workspace["ws"] = replay.ws
        series = [self.problem.input.flat0]
        with np.errstate(all="ignore"):
            for k, hyper_k in enumerate(hypers, start=1):
                (r,) = replay.coefficient([None, hyper_k])
                r = np.zeros_like(series[0]) if r is None else r[0]
                if k == 1 and residual is not None:
                    r = r + residual
                c = -self.solver.solve(r)
                replay.correct(c[None, :] if c.any() else None)
                series.append(c)
        return np.array(series)


class Piece:
    """A base point on a line and its series, good to tol between ``low`` and ``high``.

    Parameters
    ----------
    base : Base
        At ``line.hyper(s)``, to Newton's quadratic reach.
    line : Line
        With ``change``, ``direction`` and ``hyper(s)``.
    s : float
        Where it is on the line.
    unit : float
        Length that the series is scaled by, about its range.
    order : int
    tol : float
    workspace : dict
        Keeps the memory of one replay for the next.
    """

    def __init__(self, base, line, s, unit, order, tol, workspace):
        self.line, self.s, self.unit, self.order, self.tol = line, s, unit, order, tol
        for _ in range(_MAX_NEWTON):
            base = _within_reach(base, tol)
            self.series, self.n_polished = base.series(line.change, unit * line.direction, order, tol, workspace)
            rounding = 8.0 * _EPS * largest(self.series[0])
            self.floor = max(largest(base.chord(self.series[0], base.hyper)), rounding)
            if self.floor <= max(_LEFT * tol, 2.0 * rounding):
                break
            base = base.moved(self.series[0])
        else:
            raise NotReached(f"polishing stops at a Newton step of {self.floor:.1e} at hyper {base.hyper}")
        self.base = base
        scale = max(largest(self.series[0]), tol)
        sizes = [(k, largest(self.series[k])) for k in range(max(1, order - _LAST_ORDERS + 1), order + 1)]
        radius = min(((scale / c) ** (1.0 / k) for k, c in sizes if c > 0.0), default=np.inf)
        self.range = unit * radius * (tol / scale) ** (1.0 / order)
        self.reach = {1: (self.range, 0.5 * tol), -1: (self.range, 0.5 * tol)}

    low = property(lambda self: self.s - self.reach[-1][0], doc="Lower end of its range.")
    high = property(lambda self: self.s + self.reach[1][0], doc="Upper end of its range.")

    def edge(self, side):
        """The end of its range on a side, 1 or -1."""
        return self.high if side > 0 else self.low

    def values(self, s):
        """The path at positions (n,), as (n, n_input)."""
        return np.vander((s - self.s) / self.unit, self.order + 1, increasing=True) @ self.series

    def errors(self, s):
        """Estimated largest error of a component at positions (n,)."""
        s = np.asarray(s) - self.s
        left = np.minimum(np.abs(s) / self.range, 1.0) ** self.n_polished
        out = _SAFETY * self.floor + _LEFT * self.tol * left
        for side, (reach, error) in self.reach.items():
            there = s * side > 0.0
            out[there] += _SAFETY * error * (np.abs(s[there]) / reach) ** self.order
        return out

    def predicted_error(self, distance, side):
        """The error expected at a distance beyond its range."""
        reach, error = self.reach[side]
        return max(error, 1e-3 * self.tol) * (distance / reach) ** (self.order + 1)

    def newton_reach(self):
        """The largest error of a prediction that polishing the series takes care of."""
        return _newton_reach(self.series[0], self.tol)

    def joins(self, before, side):
        """Compare with the piece before where that is surely good; returns whether they agree, and keeps the range."""
        at = before.joint(side)
        distance = (self.s - at) * side
        there = np.array([at])
        error = largest(self.values(there) - before.values(there)) + before.errors(there)[0]
        if distance > 0.0 and error <= self._left_for_series():
            self.reach[-side] = (distance, error / _SAFETY)
            return True
        return False

    def joint(self, side):
        """A position short of its edge, where its error is at most a fifth of tol."""
        return self.s + 0.2 ** (1.0 / self.order) * side * self.reach[side][0]

    def verify(self, side, limit):
        """Call the user's function as far out as the terms allow, or at ``limit``, and keep the range this shows."""
        reach = min(_TRIAL * self.range, limit)
        allowed = self._left_for_series() / _SAFETY
        for _ in range(_MAX_TRIALS):
            error = self._measured(self.s + side * reach)
            if error <= allowed:
                self.reach[side] = (reach, error)
                return
            if error <= 100.0 * allowed:
                self.reach[side] = (reach * (allowed / error) ** (1.0 / (self.order + 1)), allowed)
                return
            reach *= 0.7
        raise NotReached(f"the series is not good to {self.tol:.1e} at any distance tried")

    def _left_for_series(self):
        return (1.0 - _LEFT) * self.tol - _SAFETY * self.floor

    def _measured(self, s):
        """The error at a position, by two chord steps; infinite where these do not tell."""
        value, hyper = self.values(np.array([s]))[0], self.line.hyper(s)
        first = self.base.chord(value, hyper)
        size = largest(first)
        if size <= 0.01 * self.tol or not size < np.inf:
            return size
        second = self.base.chord(value - first, hyper)
        with np.errstate(all="ignore"):
            rho = float(second @ first) / float(first @ first)
        if not rho < _MAX_CONTRACTION:
            return np.inf
        return max(largest(first + second / (1.0 - rho)), 0.1 * size)


def _newton_reach(value, tol):
    """A Newton step whose square, in units of the largest input, is a tenth of tol."""
    return math.sqrt(0.1 * tol * max(largest(value), tol))


def _within_reach(base, tol):
    """A base whose Newton step is small enough for one Newton step to be nearly all: ``step^2 << tol``."""
    for _ in range(_MAX_NEWTON):
        value, size = base.problem.input.flat0, largest(base.step)
        if size <= max(_newton_reach(value, tol), _LEFT * tol):
            return base
        moved = base.moved(value - base.step)
        if not largest(moved.step) <= 0.5 * size:
            raise NotReached(
                f"Newton's method does not converge at hyper {base.hyper}: steps {size:.1e}, {largest(moved.step):.1e}"
            )
        base = moved
    raise NotReached(f"Newton's method needs more than {_MAX_NEWTON} steps at hyper {base.hyper}")
