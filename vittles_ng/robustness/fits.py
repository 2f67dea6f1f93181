"""Exact refits with observations left out, each a base point of its own, and what every observation does there.

The influence of an observation is that at the reduced data, for those that are out too: what masks each other at the
full fit shows where the others are gone. Leaving out one unit moves a quantity by

    -w_n dq/dw_n / (1 - rho_n),    rho_n = w_n (u^T h_n H^{-1} g_n) / (u^T g_n),

h_n the observation's own Hessian, u the adjoint: the geometric series of the terms that are its own. Where h_n has
rank one, rho_n is the leverage and this is the Newton step with the downdated Hessian, exact for least squares (Cook,
JASA 72 (1977) 15; Pregibon, Ann. Statist. 9 (1981) 705). Bringing one back: ``1 + rho_n``.
"""

import numpy as np

from ..adjoint import pulled_back
from ..chord import evaluate
from ..errors import VittlesError
from ..polish import polish
from ..taylor.recorded import Recorded
from .quantities import mixed

__all__ = ["FAILURES", "Fit", "Refitter"]

#: What refits raise where there is none.
FAILURES = (ArithmeticError, ValueError, np.linalg.LinAlgError, VittlesError)
#: Newton step relative to max(1, |input|) that a refit is solved to; and what passes for rounding in bad conditions.
_TARGET, _AT_ROUNDING = 5e-13, 1e-9
#: Chord steps that shrink less than this are continued with a new factor, at most so many times.
_SLOW, _MAX_FACTORS, _MAX_CHORD = 0.1, 4, 40
_MAX_RHO = 0.95
#: Inputs and numbers up to which the own terms of rows are formed, and rows of the shortlist beyond.
_MAX_INPUTS, _AT_ONCE, _SHORTLIST = 500, 2_000_000, 4000
_MAX_CONSTRAINED, _CLOSE = 12, 1e-3


class Fit:
    """An input at some weights with its tape and factor.

    Parameters
    ----------
    model : WeightedModel
    problem : BasePoint
        Recorded there.
    solver : Solver
    out : ndarray of bool, shape (n_units,)
        The units that are left out.
    """

    def __init__(self, model, problem, solver, out):
        self.model, self.problem, self.solver, self.out = model, problem, solver, out
        self.input, self.weights = problem.input.flat0, problem.hyper.flat0
        self.changes = None  # of every unit, once they are asked for
        self.kept = None  # what a quantity keeps of what it has found here
        self._value = self._gradients = self._rows = None

    def value(self, quantity):
        """The quantity here, kept."""
        if self._value is None:
            self._value = quantity.value(self)
        return self._value

    def _recorded_rows(self):
        if self._rows is None:
            self._rows = Recorded(self.model.contributions, (self.input,))
        return self._rows

    def scores_along(self, direction):
        """``g_n^T direction`` of every observation, (n_obs,)."""
        rows = self._recorded_rows()
        if not self.model.is_objective:
            return rows.values[0] @ direction
        return rows.pushed(0, direction[None, :])[0]

    def own_curvature(self, left, right):
        """``left^T h_n right`` of every observation's own Hessian, (n_obs,)."""
        rows = self._recorded_rows()
        if not self.model.is_objective:
            return rows.pushed(0, right[None, :])[0] @ left
        return mixed(rows, [left], [right[None, :]])[0]

    def gradients(self, quantity):
        """The quantity's partial derivatives here, kept."""
        if self._gradients is None:
            self._gradients = quantity.gradients(self)
        return self._gradients

    def influence(self, quantity):
        """``dq/dw_n`` of every observation, (n_obs,)."""
        by_input, by_weights = self.gradients(quantity)
        adjoint = self.solver.solve_transpose(by_input)
        base = (self.input, self.weights)
        return by_weights - pulled_back(self.problem, self.problem.recorded, base, 1, adjoint[None, :])[0]


class Refitter:
    """Refits of a jackknife without some units, and the changes that each unit makes.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    quantity : Coefficient, Function or TQuantity
    units : ndarray of int, shape (n_obs,)
        The unit of each observation.

    Attributes
    ----------
    n_refits : int
    base : Fit
        The jackknife's own.
    usable : ndarray of bool, shape (n_units,)
        Units that have any weight.
    """

    def __init__(self, jackknife, quantity, units):
        self.jackknife, self.quantity, self.units = jackknife, quantity, units
        self.weights0, self.model = np.asarray(jackknife.weights0), jackknife.model
        self.n_units, self.n_refits = int(units.max()) + 1, 0
        self.usable = self._summed(self.weights0) > 0.0
        expansion = jackknife.expansion
        self.base = Fit(self.model, expansion._problem, expansion.solver, np.zeros(self.n_units, bool))
        self._failures = {}

    def _summed(self, values):
        return np.bincount(self.units, values, minlength=self.n_units)

    def weights(self, out):
        """The weights without some units."""
        return np.where(out[self.units], 0.0, self.weights0)

    def refit(self, out, near):
        """The exact refit without some units, from a fit near by.

        Returns
        -------
        Fit or None
        str
            Why there is none.
        """
        key = out.tobytes()
        if key in self._failures:
            return None, self._failures[key]
        self.n_refits += 1
        weights = self.weights(out)
        try:
            value = self._solved(near, weights)
            problem = near.problem.at(value, weights)
            fit = Fit(self.model, problem, problem.factored(), out.copy())
            step = fit.solver.solve(problem.residual0)
            size = float(np.max(np.abs(step)) / max(1.0, np.max(np.abs(value))))
            reason = "" if size <= _AT_ROUNDING else f"the refit stopped at a Newton step of {size:.1e}"
            if not reason and not np.isfinite(fit.value(self.quantity)):
                reason = f"{self.quantity.name} is {fit.value(self.quantity)}"
        except FAILURES as error:
            reason = str(error)
        if reason:
            self._failures[key] = reason
            return None, reason
        return fit, ""

    def _solved(self, near, weights):
        """The input of a refit: chord steps, with a new factor where they are slow, or the engine's polishing."""
        problem, solver, flat = near.problem, near.solver, near.input
        last, n_factors = np.inf, 0
        for _ in range(_MAX_CHORD):
            point = evaluate(problem, solver, flat, weights)
            if point.reason or not point.size < 0.9 * last:
                break
            if point.size <= _TARGET:
                return flat - point.step
            step = point.step
            if point.size > _SLOW * last:
                if n_factors == _MAX_FACTORS:
                    break
                try:
                    problem = problem.at(flat, weights)
                    solver = problem.factored()
                except FAILURES:
                    break
                n_factors += 1
                step = solver.solve(problem.residual0)
            last, flat = point.size, flat - step
        return self._polished(near, weights)

    def _polished(self, near, weights):
        start = evaluate(near.problem, near.solver, near.input, weights)
        if start.reason:
            raise ArithmeticError(start.reason)
        found = polish(near.problem, near.solver, [start], weights, np.inf)
        if not found.converged or found.positive_definite is False:
            raise ArithmeticError(found.message)
        return found.value

    def linear_changes(self, fit):
        """Changes of the quantity by each unit's leaving, to first order in the weights, (n_units,)."""
        return -self._summed(self.weights0 * fit.influence(self.quantity))

    def changes(self, fit):
        """Changes of the quantity by each unit's leaving, or by its being out, (n_units,); kept on the fit."""
        if fit.changes is None:
            try:
                with np.errstate(all="ignore"):
                    changes = self._changes(fit)
            except FAILURES:
                if fit is self.base:
                    raise
                changes = np.zeros(self.n_units)  # a point where the quantity has no derivative leads nowhere
            fit.changes = np.where(np.isfinite(changes), changes, 0.0)
        return fit.changes

    def _changes(self, fit):
        influence = self.weights0 * fit.influence(self.quantity)
        rho = self._rho(fit, influence)
        shrinks = np.where(fit.out, 1.0 + np.maximum(rho, 0.0), 1.0 - np.clip(rho, -1.0, _MAX_RHO))
        return -self._summed(influence) / shrinks

    def _rho(self, fit, influence):
        """The ratio of each unit's own terms, (n_units,)."""
        n_input, n_obs = fit.input.size, fit.weights.size
        if n_input > _MAX_INPUTS:
            return np.zeros(self.n_units)
        rows = np.arange(n_obs)
        if n_obs > _SHORTLIST and 2 * n_obs * n_input > _AT_ONCE:
            among = np.argpartition(-np.abs(influence), _SHORTLIST)[:_SHORTLIST]
            chosen = np.zeros(self.n_units, bool)
            chosen[self.units[among]] = True
            rows = np.flatnonzero((chosen | fit.out)[self.units])
        u = self.quantity.adjoint(fit, fit.gradients(self.quantity)[0])
        scores, bent = np.zeros((self.n_units, n_input)), np.zeros((self.n_units, n_input))
        block = max(64, _AT_ONCE // (2 * n_input))
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            g, hu = self._own(fit, some, u)
            weights = self.weights0[some, None]
            for sums, parts in ((scores, weights * g), (bent, weights * hu)):
                if self.n_units == self.weights0.size:
                    sums[some] = parts
                else:
                    np.add.at(sums, self.units[some], parts)
        along = scores @ u
        steps = fit.solver.solve(np.ascontiguousarray(scores.T)).T
        products = np.einsum("ij,ij->i", bent, steps)
        tiny = np.abs(along) <= 1e-12 * np.linalg.norm(scores, axis=1) * np.linalg.norm(u)
        return np.where(tiny, 0.0, products / np.where(tiny, 1.0, along))

    def _own(self, fit, rows, u):
        """``g_n`` and ``h_n u`` of some observations, each (n_rows, n_input)."""
        flat, model = fit.input, self.model
        recorded = Recorded(lambda x: model.contributions(x, rows), (flat,))
        if not model.is_objective:
            hu = recorded.pushed(0, u[None, :])[0]  # this is h_n u, where h_n^T u would be transposed
            return recorded.values[0], hu
        axes = np.eye(flat.size)
        return recorded.pushed(0, axes).T, mixed(recorded, [u], [axes]).T

    def constrained(self, target):
        """The input that solves the full data's equation but for the quantity, which is held at a target: or None.

        ``G + kappa dq/dinput = 0, q = target`` by Newton steps: what an observation does to the quantity is told there
        from residuals that no set of observations has pulled to itself, as in a score test (Rao, 1948).
        """
        try:
            with np.errstate(all="ignore"):  # there may be no such point: a t-statistic is bounded
                return self._constrained(target)
        except FAILURES:
            return None

    def _constrained(self, target):
        fit = self.base
        for _ in range(_MAX_CONSTRAINED):
            by_input = fit.gradients(self.quantity)[0]
            newton, along = fit.solver.solve(np.stack([fit.problem.residual0, by_input], axis=1)).T
            missing = target - fit.value(self.quantity) + by_input @ newton
            step = missing / (by_input @ along) * along - newton
            if not np.all(np.isfinite(step)):
                return None
            problem = fit.problem.at(fit.input + step)
            fit = Fit(self.model, problem, problem.factored(), self.base.out)
            if np.max(np.abs(step)) <= _CLOSE * max(1.0, np.max(np.abs(fit.input))):
                return fit if np.all(np.isfinite(fit.gradients(self.quantity)[0])) else None
        return None

    def offset(self, fit):
        """What the quantity would be at the fit's weights, by one Newton step from a point that is no solution."""
        by_input = fit.gradients(self.quantity)[0]
        return fit.value(self.quantity) - float(by_input @ fit.solver.solve(fit.problem.residual0))
