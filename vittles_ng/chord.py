"""The chord step at a point: what one call of the user's function says of a value.

``s = H0^{-1} G(input, hyper)``, H0 the Jacobian at the base point, whose factor is there already.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import ArpackError

from .errors import VittlesError

__all__ = ["FAILURES", "Point", "evaluate", "relative_size"]

#: What user functions, factorizations and iterations raise where they are not defined or do not converge.
FAILURES = (ArithmeticError, ValueError, np.linalg.LinAlgError, ArpackError, VittlesError)


class Point(NamedTuple):
    """The estimating equation and the chord step at a point; arrays of NaN where it is undefined."""

    input: np.ndarray
    residual: np.ndarray
    step: np.ndarray
    objective: float
    reason: str  # why it is undefined; empty where it is not

    @property
    def size(self):
        """Largest component of the step relative to max(1, |input|); infinite where undefined."""
        return np.inf if self.reason else relative_size(self.step, self.input)


def relative_size(step, value):
    """Largest component of a step relative to max(1, |value|)."""
    return float(np.max(np.abs(step)) / max(1.0, np.max(np.abs(value))))


def evaluate(problem, solver, value, hyper):
    """The :class:`Point` at an input and a hyper, by one call of the user's function."""
    objectives, reason = [], ""
    residual = np.full(value.shape, np.nan)
    try:
        with np.errstate(all="ignore"):
            residual = problem.residual(value, hyper, objectives.append)
            step = solver.solve(residual)
    except FAILURES as error:
        reason = f"the function raises {type(error).__name__}: {error}"
    objective = objectives[-1] if objectives else np.nan
    if not reason and problem.is_objective and not np.isfinite(objective):
        reason = f"the objective is {objective}"
    if not reason and not np.all(np.isfinite(residual)):
        n_bad = np.sum(~np.isfinite(residual))
        reason = f"{n_bad} of {residual.size} components of the estimating equation are NaN or infinite"
    if not reason and not np.vdot(step, step) < np.inf:
        reason = "the chord step overflows"
    if reason:
        nothing = np.full(value.shape, np.nan)
        return Point(value, nothing, nothing, objective, reason)
    return Point(value, residual, step, objective, "")
