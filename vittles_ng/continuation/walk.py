"""The walk along the legs: where base points are put, and when a path stops."""

import numpy as np

from ..errors import NonFiniteError, VittlesError
from .pieces import Base, NotReached, Overflow, Piece

__all__ = ["Leg", "Stopped", "Walk", "weakness"]

_EPS = np.finfo(float).eps
_STRETCH = 0.85  # of a range, from its edge to the next base point
_MAX_TRIES = 12
_MAX_UNITS = 8
_COLLAPSED = 1e-5  # of the longest range, and of what is left to go
_STUCK = 1e-10  # of the leg
_MAX_DENSE = 2000
_BISECTIONS = 20


class Leg:
    """What has been walked of a line: its pieces, and between which s they are good."""

    def __init__(self, first):
        self.pieces, self.low, self.high = [first], 0.0, 0.0

    def extend(self, side, s):
        """The leg is good up to s on a side."""
        if side > 0:
            self.high = s
        else:
            self.low = s

    def evaluate(self, s):
        """Values (n, n_input) and errors (n,); each s from the piece whose half of the overlap it lies in."""
        pieces = self.pieces
        borders = [
            min(max(0.5 * (a.high + b.low), a.s), b.s) if np.isfinite(a.high + b.low) else 0.5 * (a.s + b.s)
            for a, b in zip(pieces[:-1], pieces[1:], strict=True)
        ]
        which = np.searchsorted(borders, s)
        values, errors = np.empty((len(s), pieces[0].series.shape[1])), np.empty(len(s))
        for i in np.unique(which):
            there = which == i
            values[there], errors[there] = pieces[i].values(s[there]), pieces[i].errors(s[there])
        return values, errors


class Walk:
    """The walk along all legs.

    Parameters
    ----------
    expansion : ParametricSensitivityTaylorExpansion
    lines : list of Line
    tol : float
    order : int
    change_name : str or None
        The change of variable's name.
    max_expansions : int

    Attributes
    ----------
    legs : list of Leg
        What was walked, one for each of the first of the lines.
    n_expansions : int
    """

    def __init__(self, expansion, lines, tol, order, change_name, max_expansions):
        self.problem, self.lines, self.tol, self.order = expansion._problem, lines, tol, order
        self.change_name, self.max_expansions = change_name, max_expansions
        self.n_expansions, self.longest, self.legs, self._workspace = 0, 0.0, [], {}
        self.start = Base(expansion._problem, expansion.solver)

    def run(self):
        """Walk every leg."""
        base, unit = self.start, None
        for line in self.lines:
            extent = max(line.high, -line.low) or 1.0
            first = self._first(base, line, min(unit or extent, extent))
            leg = Leg(first)
            self.legs.append(leg)
            for side, end in ((1, line.high), (-1, line.low)):
                if end * side > 0.0:
                    base, unit = self._side(leg, first, end, side)

    def _first(self, base, line, unit):
        """The piece at the start of a leg, where nothing but the leg's length is known of its range."""
        for _ in range(_MAX_UNITS):
            try:
                return self._piece(base, line, 0.0, unit)
            except Overflow as error:
                unit, reason = 1e-3 * unit, error
            except NotReached as error:
                reason = error
                break
        raise Stopped(base, f"no series at the start of a leg: {reason}") from reason

    def _piece(self, base, line, s, unit):
        if self.n_expansions >= self.max_expansions:
            raise Stopped(base, f"max_expansions={self.max_expansions} series were not enough", is_fold=False)
        self.n_expansions += 1
        try:
            return Piece(base, line, s, unit, self.order, self.tol, self._workspace)
        except NonFiniteError as error:
            raise Overflow(str(error)) from error
        except (VittlesError, ArithmeticError) as error:
            raise NotReached(str(error)) from error

    def _side(self, leg, piece, end, side):
        """Walk from s = 0 to an end; returns a base there and the last range."""
        try:
            piece.verify(side, abs(end))
        except NotReached as error:
            raise Stopped(piece.base, str(error)) from error
        ahead = []
        while True:
            edge = piece.edge(side)
            if (end - edge) * side <= 4.0 * _EPS * abs(end):
                break
            leg.extend(side, edge)
            self._check_progress(piece, end, side)
            if not ahead or self._gap(piece, ahead[-1], side):
                self._place(piece, end, side, ahead)
                continue
            new = ahead.pop()
            if new.joins(piece, side):  # one that does not is of another solution
                leg.pieces.insert(len(leg.pieces) if side > 0 else 0, new)
                piece = new
        return self._arrive(leg, piece, end, side), piece.range

    def _check_progress(self, piece, end, side):
        reach, left = piece.reach[side][0], abs(end - piece.s)
        self.longest = max(self.longest, reach)
        if reach < _COLLAPSED * min(self.longest, left) or reach < _STUCK * abs(end):
            raise Stopped(piece.base, f"the range of validity has shrunk to {reach:.1e} with {left:.1e} to go")

    @staticmethod
    def _gap(piece, new, side):
        return (new.s - side * new.range - piece.joint(side)) * side > 0.0

    def _place(self, piece, end, side, ahead):
        """Put the next base point on top of ``ahead``: beyond the edge, or nearer until its range reaches back."""
        edge, line = piece.edge(side), piece.line
        reach = piece.reach[side][0]
        stretch, reason = _STRETCH * reach, ""
        if ahead:  # there is a gap: the piece beyond says how long ranges are there
            stretch = min(stretch, _STRETCH * ahead[-1].range, 0.7 * abs(ahead[-1].s - edge))
        allowed = 0.5 * piece.newton_reach()
        while stretch > 1e-3 * reach and piece.predicted_error(reach + stretch, side) > allowed:
            stretch *= 0.95
        for _ in range(_MAX_TRIES):
            s = self._next_point(edge, end, side, stretch)
            try:
                base = piece.base.moved(piece.values(np.array([s]))[0], line.hyper(s))
                new = self._piece(base, line, s, min(piece.range, abs(end)))
                if s != end:
                    new.verify(side, abs(end - s))
            except NotReached as error:
                stretch, reason = 0.5 * stretch, str(error)
                continue
            if self._gap(piece, new, side) or new.joins(piece, side):
                ahead.append(new)
                return
            stretch, reason = 0.5 * stretch, "polishing reaches another solution than the one that is followed"
        raise Stopped(piece.base, f"no base point beyond it can be polished ({reason})")

    def _next_point(self, edge, end, side, stretch):
        left = abs(end - edge)
        if left <= stretch:  # a minimum must be shown to be one at the end: a base point there does
            return end if self.problem.is_objective else edge + 0.5 * side * left
        return edge + side * (0.5 * left if left <= 1.5 * stretch else stretch)

    def _arrive(self, leg, piece, end, side):
        """A base at the end; for an objective this shows that the Hessian is positive definite still."""
        is_last = piece.line is self.lines[-1]
        leg.extend(side, end)
        if piece.s == end or (is_last and not self.problem.is_objective):
            return piece.base
        hyper = piece.line.hyper
        try:
            return piece.base.moved(piece.values(np.array([end]))[0], hyper(end))
        except NotReached as error:
            good, bad, base, reason = piece.s, end, piece.base, str(error)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (good + bad)
            try:
                base, good = piece.base.moved(piece.values(np.array([middle]))[0], hyper(middle)), middle
            except NotReached as error:
                bad, reason = middle, str(error)
        leg.extend(side, good)
        raise Stopped(base, reason)


class Stopped(Exception):
    """The walk cannot go on; ``base`` is the last good one."""

    def __init__(self, base, reason, is_fold=True):
        super().__init__(reason)
        self.base, self.is_fold = base, is_fold


def weakness(base):
    """How near to singular the Jacobian at a base is, in words."""
    if base.problem.input.size > _MAX_DENSE:
        return f"reciprocal condition {base.solver.rcond}"
    jacobian = base.problem.jacobian()
    if base.problem.is_objective:
        values = np.linalg.eigvalsh(0.5 * (jacobian + jacobian.T))
        return f"eigenvalues of the Hessian from {values[0]:.1e} to {values[-1]:.1e}"
    values = np.linalg.svd(jacobian, compute_uv=False)
    return f"singular values of the Jacobian from {values[-1]:.1e} to {values[0]:.1e}"
