"""A weighted l1 penalty: its weights at one hyper, their derivative, and its soft threshold.

``S(v, s) = sign(v) max(|v| - s, 0)``, ``dS = dv - sign(v) ds`` on the active set ``|v| > s`` and 0 off it (Bertrand et
al., arXiv 2002.08943). At ``|v| = s > 0`` there is no derivative.
"""

import numpy as np

from ..errors import NonFiniteError, NonSmoothError, ShapeError
from ..problem import flatten_traced
from ..taylor.recorded import Recorded
from .products import unit_rows

__all__ = ["L1Penalty"]


class L1Penalty:
    """The weights of the l1 norm at the hyper of an equation.

    Parameters
    ----------
    penalty : float or callable
        See :class:`ProximalGradient`.
    equation : Equation

    Attributes
    ----------
    weights : ndarray of shape (1,) or (n_input,)
    jacobian : ndarray of shape (1 or n_input, n_hyper), or None
        Their derivative in the hyper; None where they do not depend on it.
    """

    def __init__(self, penalty, equation):
        self.jacobian = None
        if not callable(penalty):
            self.weights = np.array([float(penalty)])
            return
        hyper = equation.hyper
        recorded = Recorded(lambda x: flatten_traced(penalty(hyper.unflatten(x))), (hyper.flat0,))
        self.weights = np.asarray(recorded.values[0], dtype=np.float64)
        if self.weights.size not in (1, equation.input.size):
            raise ShapeError(
                f"the penalty returned {self.weights.size} weights for {equation.input.size} inputs: one number, or "
                "one for each input, is needed."
            )
        if not np.all(np.isfinite(self.weights)):
            raise NonFiniteError("the penalty is NaN or infinite at this hyper.")
        if np.any(self.weights < 0.0):
            raise ValueError(
                f"the penalty has the weight {np.min(self.weights):.3g} < 0 at this hyper: weights from 0 are needed "
                "(take the exponential of a log penalty)."
            )
        if recorded.depends_on(0):
            rows = unit_rows(hyper.size, recorded.size)
            self.jacobian = np.concatenate([recorded.pushed(0, unit) for _, unit in rows]).T

    def threshold(self, v, step_size):
        """``S(v, step_size * weights)``."""
        shrunk = np.abs(v) - step_size * self.weights
        return np.where(shrunk > 0.0, np.sign(v) * shrunk, 0.0)

    def signs(self, v, step_size, t):
        """What is active and with which sign: two arrays (n_input,).

        Raises
        ------
        NonSmoothError
            At ``|v| = s > 0``.
        """
        s = step_size * self.weights
        tie = (np.abs(v) == s) & (s > 0.0)
        if tie.any():
            raise NonSmoothError(
                f"at iteration {t} the input {int(np.flatnonzero(tie)[0])} is exactly at the threshold of the penalty, "
                f"{np.max(np.abs(v[tie])):.3g}, and has no derivative: change the penalty or input_val0 a little."
            )
        return (np.abs(v) > s) | (s == 0.0), np.sign(v)

    def pushed(self, dv, signs, step_size):
        """Derivatives (n_input, n_hyper) after the threshold, from those before."""
        active, sign = signs
        if self.jacobian is not None:
            dv = dv - step_size * sign[:, None] * self.jacobian
        return np.where(active[:, None], dv, 0.0)

    def pulled(self, rows, signs, step_size):
        """Adjoints ``rows`` (n_rows, n_input) back through the threshold, and their part in the hyper or None."""
        active, sign = signs
        rows = np.where(active, rows, 0.0)
        if self.jacobian is None:
            return rows, None
        signed = -step_size * sign * rows
        if len(self.jacobian) == 1:
            return rows, np.sum(signed, axis=1, keepdims=True) * self.jacobian
        return rows, signed @ self.jacobian
