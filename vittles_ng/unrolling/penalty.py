"""A weighted l1 penalty: its weights at one hyper, their derivative, and its soft threshold.

``S(v, s) = sign(v) max(|v| - s, 0)``, ``dS = dv - sign(v) ds`` on the active set ``|v| > s`` and 0 off it (Bertrand et
al., arXiv 2002.08943). At ``|v| = s > 0`` there is no derivative.
"""

from functools import cached_property

import numpy as np

from ..adjoint import pulled_back
from ..errors import NonFiniteError, NonSmoothError, ShapeError
from ..problem import flatten_traced
from ..taylor.recorded import Recorded

__all__ = ["L1Penalty"]

#: Distance of an input from its threshold, relative to it, that is rounding.
_TIE = 4.0 * np.finfo(float).eps


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
    depends_on_hyper : bool
    """

    def __init__(self, penalty, equation):
        self.depends_on_hyper = False
        if not callable(penalty):
            self.weights = np.array([float(penalty)])
            return
        hyper = equation.hyper
        self._base = (hyper.flat0,)
        self._function = lambda x: flatten_traced(penalty(hyper.unflatten(x)))
        self._recorded = Recorded(self._function, self._base)
        self.weights = np.asarray(self._recorded.values[0])
        if self.weights.dtype.kind not in "buif":
            raise TypeError(f"the penalty has elements of type {self.weights.dtype}: real numbers are needed.")
        self.weights = self.weights.astype(np.float64)
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
        self.depends_on_hyper = self._recorded.depends_on(0)

    @cached_property
    def jacobian(self):
        """Derivative of the weights in the hyper, (1 or n_input, n_hyper); only where they depend on it."""
        return self.of_hyper(np.eye(self.weights.size))

    def of_hyper(self, of_weights):
        """Adjoints (n_rows, n_weights) of the weights as adjoints (n_rows, n_hyper) of the hyper."""
        found = pulled_back(self._function, self._recorded, self._base, 0, of_weights)
        if not np.all(np.isfinite(found)):
            raise NonFiniteError("the derivative of the penalty in the hyper is NaN or infinite at this hyper.")
        return found

    def threshold(self, v, step_size):
        """``S(v, step_size * weights)``."""
        shrunk = np.abs(v) - step_size * self.weights
        return np.where(shrunk > 0.0, np.sign(v) * shrunk, 0.0)

    def signs(self, v, step_size, t):
        """What is active and with which sign: two arrays (n_input,).

        Raises
        ------
        NonSmoothError
            At ``|v| = s > 0``, to rounding, and at ``v = s = 0`` where s depends on the hyper.
        """
        s = step_size * self.weights
        tie = (np.abs(np.abs(v) - s) <= _TIE * s) & (s > 0.0)
        tie |= self.is_kink(v)
        if tie.any():
            raise NonSmoothError(
                f"at iteration {t} the input {int(np.flatnonzero(tie)[0])} is exactly at the threshold of the penalty, "
                f"{np.max(np.abs(v[tie])):.3g}, and has no derivative: change the penalty or input_val0 a little."
            )
        return (np.abs(v) > s) | (s == 0.0), np.sign(v)

    def is_kink(self, v):
        """Which inputs are zero with a weight that is zero here but not at other hypers, (n_input,)."""
        both = (v == 0.0) & (self.weights == 0.0)
        if not (self.depends_on_hyper and both.any()):
            return np.zeros(v.shape, dtype=bool)
        at = np.flatnonzero(both) if self.weights.size > 1 else [0]
        moves = np.zeros(self.weights.size, dtype=bool)
        moves[at] = self.of_hyper(np.eye(self.weights.size)[at]).any(axis=1)
        return both & moves

    def pushed(self, dv, signs, step_size):
        """Derivatives (n_input, n_hyper) after the threshold, from those before, in place."""
        active, sign = signs
        if self.depends_on_hyper:
            dv -= (step_size * sign)[:, None] * self.jacobian
        dv[~active] = 0.0
        return dv

    def pulled(self, rows, signs, step_size):
        """Adjoints ``rows`` (n_rows, n_input) back through the threshold, and those of the weights or None."""
        active, sign = signs
        rows = np.where(active, rows, 0.0)
        if not self.depends_on_hyper:
            return rows, None
        of_weights = -step_size * sign * rows
        return rows, of_weights if self.weights.size > 1 else np.sum(of_weights, axis=1, keepdims=True)
