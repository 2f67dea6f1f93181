"""The maximum of a marginal likelihood in few hypers, from its value and exact gradient.

BFGS steps, each halved until the value grows enough (Nocedal & Wright, "Numerical Optimization", Springer 2006, ch. 6),
then Newton steps; second derivatives are differences of the gradient, one-sided where they only scale the first step,
with the moduli of the eigenvalues in place of these (ch. 3.4), and centred at the end. What is left to go is measured
in standard errors, ``sqrt(g . C g)`` with C the inverse of minus the Hessian, whatever the hyper's units. On a plateau,
where a variance is as good as zero, that gets small too; but there a Newton step does not make it much smaller.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import NonFiniteError, NotASolutionError, NotPositiveDefiniteError

__all__ = ["Climb", "LaplaceFit"]

_MAX_STEPS, _MAX_NEWTON, _MAX_HALVINGS = 200, 10, 30
_ARMIJO = 1e-4
_NEAR = 1e-3  # distance in standard errors, as far as BFGS knows them, at which Newton steps take over
_SAME = 3e-3  # distance over which a covariance is kept
_LONGEST = 0.5  # step, relative to 1 + |hyper|
_DIFFERENCE = 1e-4  # relative to 1 + |hyper|
#: Smallest curvature, over steps of 1 + |hyper|, that tells where the maximum is.
_FLAT = 1e-4
#: Distances that need no Newton step to be believed; from which one must shorten them, and to which part.
_ROUNDING, _CLOSE, _CONTRACTION = 1e-7, 0.3, 0.2
#: What the marginal likelihood raises where it does not exist.
_UNDEFINED = (NonFiniteError, NotASolutionError, NotPositiveDefiniteError, ArithmeticError)


@dataclass(frozen=True, eq=False)
class LaplaceFit:
    """The maximum of a marginal likelihood; made by :meth:`LaplaceApproximation.fit`.

    Attributes
    ----------
    hyper : ndarray of shape (n_hyper,)
        Where it is.
    input : ndarray of shape (n_input,)
        The mode of the random effects there.
    log_marginal : float
        The log marginal likelihood there.
    covariance : ndarray of shape (n_hyper, n_hyper)
        Of the hyper: the inverse of minus the Hessian of the log marginal likelihood.
    distance : float
        How far the maximum is still away, in standard errors: ``sqrt(g . covariance g)`` for its gradient g.
    n_evaluations : int
        Of the log marginal likelihood and its gradient.
    """

    hyper: np.ndarray
    input: np.ndarray
    log_marginal: float
    covariance: np.ndarray
    distance: float
    n_evaluations: int


class Climb:
    """A search for a maximum.

    Parameters
    ----------
    function : callable
        ``hyper -> value, gradient``.
    start : ndarray of shape (n_hyper,)

    Attributes
    ----------
    hyper, value, gradient
        The best point so far.
    n_evaluations : int
    """

    def __init__(self, function, start):
        self._function, self.n_evaluations = function, 1
        self.hyper = start
        self.value, self.gradient = function(start)

    def quasi_newton(self):
        """BFGS steps until the maximum is near, or no step goes up."""
        inverse = self._scale()
        for _ in range(_MAX_STEPS):
            step = inverse @ self.gradient
            if self.gradient @ step <= _NEAR**2:
                return
            before, gradient = self.hyper, self.gradient
            if not self._up(step):
                return
            s, y = self.hyper - before, gradient - self.gradient
            if s @ y > 1e-10 * np.linalg.norm(s) * np.linalg.norm(y):
                inverse = _updated(inverse, s, y)

    def newton(self, tol):
        """Newton steps until the maximum is at most ``tol`` standard errors away: the covariance and the distance."""
        covariance, moved, last = None, 0.0, np.inf
        for _ in range(_MAX_NEWTON):
            if covariance is None or moved > _SAME:
                covariance, moved = self._inverse(-self._hessian()), 0.0
            step = covariance @ self.gradient
            distance = float(np.sqrt(self.gradient @ step))
            if distance <= tol and (last < np.inf or distance <= _ROUNDING):
                return covariance, distance
            if last <= _CLOSE and distance > max(_CONTRACTION * last, _ROUNDING):
                raise self._flat(
                    step * step, f"Newton steps do not converge ({last:.1e}, {distance:.1e} standard errors)"
                )
            if not self._up(step):
                break
            moved, last = moved + distance, distance
        raise NotASolutionError(
            f"the marginal likelihood's maximum is {distance:.1e} standard errors away (tol {tol:.1e}) after "
            f"{self.n_evaluations} evaluations, at hyper {self.hyper}: start closer, or accept a larger tol."
        )

    def _scale(self):
        """A positive definite estimate of minus the inverse Hessian, to begin with."""
        size = 1.0 + np.abs(self.hyper)
        rows = []
        for step in np.diag(_DIFFERENCE * size):
            found = self._evaluate(self.hyper + step)
            if found is None:
                return np.eye(size.size) / max(1.0, np.linalg.norm(self.gradient))
            rows.append((self.gradient - found[1]) / np.sum(step))
        curvature = 0.5 * (np.array(rows) + np.transpose(rows)) * np.outer(size, size)
        eigenvalues, vectors = np.linalg.eigh(curvature)
        return (vectors / np.maximum(np.abs(eigenvalues), _FLAT)) @ vectors.T * np.outer(size, size)

    def _up(self, step):
        """Go the first of the lengths 1, 1/2, ... that goes up enough; False where none does."""
        # a longer one may end on a plateau, where a variance is zero to all purposes
        step = step / max(1.0, float(np.max(np.abs(step) / (1.0 + np.abs(self.hyper)))) / _LONGEST)
        slope, t = float(self.gradient @ step), 1.0
        rounding = 1e-12 * (1.0 + abs(self.value))
        for _ in range(_MAX_HALVINGS):
            trial = self.hyper + t * step
            found = self._evaluate(trial)
            if found is not None and found[0] >= self.value + _ARMIJO * t * slope - rounding:
                self.hyper, (self.value, self.gradient) = trial, found
                return True
            t /= 2.0
        return False

    def _evaluate(self, hyper):
        self.n_evaluations += 1
        try:
            value, gradient = self._function(hyper)
        except _UNDEFINED:
            return None
        return (value, gradient) if np.isfinite(value) and np.all(np.isfinite(gradient)) else None

    def _hessian(self):
        lengths = _DIFFERENCE * (1.0 + np.abs(self.hyper))
        rows = []
        for step in np.diag(lengths):
            (_, after), (_, before) = self._function(self.hyper + step), self._function(self.hyper - step)
            rows.append((after - before) / (2.0 * np.sum(step)))
        self.n_evaluations += 2 * len(rows)
        return 0.5 * (np.array(rows) + np.transpose(rows))

    def _inverse(self, curvature):
        size = 1.0 + np.abs(self.hyper)
        eigenvalues, vectors = np.linalg.eigh(curvature * np.outer(size, size))
        if not eigenvalues[0] > _FLAT:
            raise self._flat(vectors[:, 0], f"the curvature is {-eigenvalues[0]:.1e} in some direction")
        return (vectors / eigenvalues) @ vectors.T * np.outer(size, size)

    def _flat(self, direction, what):
        flattest = int(np.argmax(np.abs(direction)))
        return NotPositiveDefiniteError(
            f"the marginal likelihood is flat in hyper {flattest} at hyper {self.hyper}: {what}. A variance that goes "
            "to zero, or components that the data do not tell apart: drop it, fix it, add a prior to the objective, or "
            "begin with a larger variance."
        )


# BFGS: B <- (I - s y^T / s.y) B (I - y s^T / s.y) + s s^T / s.y, of the inverse Hessian
def _updated(inverse, s, y):
    left = np.eye(s.size) - np.outer(s, y) / (s @ y)
    return left @ inverse @ left.T + np.outer(s, s) / (s @ y)
