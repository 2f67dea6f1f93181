"""One method on one objective: its steps, and the derivatives of its steps.

A state is ``(z_t, z_{t-1})``, or ``(z_t, z_t)`` where the method has no momentum.
"""

import numpy as np

from ..errors import DivergenceError, NonFiniteError
from ..problem import Equation
from ..taylor.tracing import traced_code
from .methods import Method
from .penalty import L1Penalty
from .products import SecondDerivatives, check_objective

__all__ = ["Growth", "Iteration"]

#: Growth of the gradient and of the way gone that no method that converges shows.
_RUN_AWAY = 1e8


class Iteration:
    """One method on one objective, from one input, at one hyper.

    Parameters
    ----------
    objective : callable
    input_val0, hyper_val0
    method : Method
    n_iterations : int
    """

    def __init__(self, objective, input_val0, hyper_val0, method, n_iterations):
        if not isinstance(method, Method):
            raise TypeError(f"method is a {type(method).__name__}: one of vittles_ng.unrolling's methods is needed.")
        self.equation = Equation(objective, input_val0, hyper_val0, is_objective=True)
        self.z0 = self.equation.input.flat0
        self.n_input, self.n_hyper = self.equation.input.size, self.equation.hyper.size
        self.n_iterations = n_iterations
        self.step_sizes, self.momenta = method.coefficients(n_iterations)
        self.has_momentum = bool(np.any(self.momenta))
        self.penalty = None if method.penalty is None else L1Penalty(method.penalty, self.equation)
        self._first_step_size = method.coefficients(1)[0][0]

    @property
    def state0(self):
        """The first state."""
        return self.z0, self.z0

    @property
    def state_bytes(self):
        """Bytes of one state."""
        return 8 * self.n_input * (2 if self.has_momentum else 1)

    def second_derivatives(self, z, transposed=False):
        """Those at z; their gradient is finite."""
        found = SecondDerivatives(self.equation, z, transposed)
        self._check_finite(found.gradient)
        return found

    def gradient(self, z):
        """``grad f`` at z, (n_input,)."""
        with traced_code(), np.errstate(all="ignore"):
            gradient = np.asarray(
                self.equation(np.array(z), self.equation.hyper.flat0, check_objective), dtype=np.float64
            )
        self._check_finite(gradient)
        return gradient

    def before_threshold(self, t, state, gradient):
        """``z_t - h grad f + m (z_t - z_{t-1})``."""
        z, previous = state
        v = z - self.step_sizes[t] * gradient
        return v + self.momenta[t] * (z - previous) if self.momenta[t] else v

    def step(self, t, state, gradient):
        """The state after iteration t."""
        v = self.before_threshold(t, state, gradient)
        z = v if self.penalty is None else self.penalty.threshold(v, self.step_sizes[t])
        return z, state[0] if self.has_momentum else z

    def residual_norm(self, z, gradient):
        """Norm of the gradient; with a penalty, of the gradient mapping ``(z - S(z - h grad f, h w)) / h``."""
        if self.penalty is None:
            return float(np.linalg.norm(gradient))
        h = self._first_step_size
        return float(np.linalg.norm(z - self.penalty.threshold(z - h * gradient, h)) / h)

    @staticmethod
    def _check_finite(gradient):
        if not np.all(np.isfinite(gradient)):
            raise NonFiniteError(
                f"{np.sum(~np.isfinite(gradient))} of {gradient.size} elements of the objective's gradient are NaN or "
                "infinite: the objective is not defined there, or the iterates have run away from a step size that is "
                "too large."
            )


class Growth:
    """Watches a run of an iteration for divergence."""

    def __init__(self, iteration):
        self._iteration = iteration
        self._first = self._last = None

    def see(self, t, z, gradient, is_end=False):
        """Take note of iterate t, and raise where the iterates run away.

        They do where the step was beyond what the curvature along it allows, ``h c > 2 (1 + m)``, and gradient and way
        have grown without measure or, at the end, the gradient is larger than at the start; or where both have grown
        without measure at the end. Growth alone is none before the end: iterates that leave a saddle show it too.

        Returns
        -------
        residual_norm : float

        Raises
        ------
        DivergenceError
        """
        size = self._iteration.residual_norm(z, gradient)
        if self._first is None:
            self._first, self._last = (z, size), (z, gradient)
            return size
        z0, size0 = self._first
        way0 = max(np.linalg.norm(z0), self._iteration.step_sizes[0] * size0)
        way = np.linalg.norm(z - z0)
        ran_away = size > _RUN_AWAY * size0 and way > _RUN_AWAY * way0
        product, limit = self._stability(t, z, gradient)
        # a start at the minimum moves by rounding only, whose curvature means nothing
        unstable = is_end and size > 2.0 * size0 and way > way0 / _RUN_AWAY
        if product > limit and (ran_away or unstable):
            raise DivergenceError(
                f"the iterates run away: after {t} iterations the gradient is {size / max(size0, 1e-300):.1e} times "
                f"that at the start, and the step size times the curvature along the last step is {product:.3g}, "
                f"where the limit is {limit:.3g}: reduce the step size."
            )
        if ran_away and t == self._iteration.n_iterations:
            raise DivergenceError(
                f"the iterates run away: after {t} iterations the gradient is {size / max(size0, 1e-300):.1e} times "
                "that at the start, though the steps are not too long for the curvature along them: the objective has "
                "no minimum there, or the iterates have not come to it; start elsewhere, or take more iterations."
            )
        self._last = z, gradient
        return size

    def _stability(self, t, z, gradient):
        before, gradient_before = self._last
        way = np.linalg.norm(z - before)
        curvature = np.linalg.norm(gradient - gradient_before) / way if way > 0.0 else 0.0
        h, m = self._iteration.step_sizes[t - 1], self._iteration.momenta[t - 1]
        return h * curvature, 2.0 * (1.0 + m)
