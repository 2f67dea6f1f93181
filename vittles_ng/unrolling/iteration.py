"""The iterations of a method on an objective: states, Jacobians beside them, and adjoints back through them.

Forwards and backwards are those of the steps (:mod:`.steps`). The states are wanted in reverse: all are kept, or
checkpoints, from which the others are made again.
"""

import numpy as np

from ..errors import DivergenceError, IndependentError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Equation
from ..recursion import checked_integer
from .checkpoints import reversed_states
from .methods import Method
from .penalty import L1Penalty
from .products import SecondDerivatives, gradient_at
from .steps import GradientStep

__all__ = ["Growth", "Iteration", "check_dependence", "iteration_of"]

#: Growth of the gradient and of the way gone that no method that converges shows.
_RUN_AWAY = 1e8


class Iteration:
    """A method's iterations on one objective, from one input, at one hyper.

    Parameters
    ----------
    equation : Equation
        Of the objective.
    n_iterations : int
    step_sizes, momenta, extrapolations : ndarray of shape (n_iterations or more,)
        h, m and b of :mod:`.steps`; one at least.
    penalty : L1Penalty, default=None
    """

    def __init__(self, equation, n_iterations, step_sizes, momenta, extrapolations, penalty=None):
        self.equation, self.n_iterations, self.penalty = equation, n_iterations, penalty
        self.z0 = equation.input.flat0
        self.n_input, self.n_hyper = equation.input.size, equation.hyper.size
        self.step_sizes, self.momenta, self._extrapolations = step_sizes, momenta, extrapolations
        self.has_momentum = bool(np.any(momenta[:n_iterations]) or np.any(extrapolations[:n_iterations]))
        self._is_checked = False

    @property
    def state_bytes(self):
        """Bytes of one state."""
        return 8 * self.n_input * (2 if self.has_momentum else 1)

    def held_bytes(self, n_iterations, n_held):
        """Bytes of that many states of a run; where they are all of them, each shares an iterate with the next."""
        return n_held * (8 * self.n_input if n_held >= n_iterations else self.state_bytes)

    def growth(self):
        """What watches a run for divergence, or None."""
        return Growth(self)

    def step(self, t, state, mode=None):
        """Step t, a :class:`GradientStep` or another with what it has."""
        step = GradientStep(self.equation, t, state, self._coefficients(t), mode, self.penalty)
        if step.derivatives is not None and not self._is_checked:
            check_dependence(step.derivatives, self.penalty)
            self._is_checked = True
        return step

    def advanced(self, t, state, growth=None):
        """The state after step t, without derivatives."""
        step = self.step(t, state)
        self._see(growth, t, step)
        return self._following(state, step)

    def tangents(self, growth, jacobian):
        """Iterates and their Jacobians (n_input, n_hyper), from ``z_0`` to ``z_T``; memory flat in T."""
        state, previous = (self.z0, self.z0), jacobian
        for t in range(self.n_iterations):
            yield state[0], jacobian
            step = self.step(t, state, "forward")
            self._see(growth, t, step)
            after = step.pushed(jacobian, previous)
            previous, jacobian = jacobian if self.has_momentum else after, after
            state = self._following(state, step)
            del step, after  # before the next one's second derivatives
        yield state[0], jacobian

    def pulled(self, growth, adjoint, n_checkpoints=None):
        """Adjoints backwards through the iterations.

        Parameters
        ----------
        growth : Growth or None
        adjoint : callable
            ``adjoint(z) -> (n_rows, n_input)``, of the last iterate.
        n_checkpoints : int or None
            Of states to hold, all if None.

        Returns
        -------
        of_hyper : ndarray of shape (n_rows, n_hyper)
        rows : ndarray of shape (n_rows, n_input)
            Adjoints of the first iterate.
        z : ndarray of shape (n_input,)
            The last iterate.
        n_forward, n_held : int
            Steps done forwards, and the most states held.
        """
        rows, n_forward, peak, z = None, 0, 0, self.z0

        def advance(t, state):
            nonlocal n_forward
            n_forward += 1
            return self.advanced(t, state, growth if rows is None else None)

        limit = min(n_checkpoints or self.n_iterations, self.n_iterations)
        n_bytes, what = self.held_bytes(self.n_iterations, limit), f"the set of {limit} iterates"
        check_size(n_bytes, what, memory_limit(), OF_MEMORY, f"pass n_checkpoints={min(limit, 20)}")
        found, weights, carried = 0.0, 0.0, None
        for t, state, n_held in reversed_states((self.z0, self.z0), advance, self.n_iterations, limit):
            peak, step = max(peak, n_held), self.step(t, state, "reverse")
            if rows is None:
                self._see(growth, t, step)
                z = step.after()
                rows = adjoint(z)
            rows, carried, of_hyper, of_weights = step.pulled(rows, carried)
            found = found + of_hyper
            if of_weights is not None:  # summed over the iterations: one product with their Jacobian at the end
                weights = weights + of_weights
            del step  # before the next one's second derivatives
        if rows is None:
            rows = adjoint(z)
            found = np.zeros((len(rows), self.n_hyper))
        if np.ndim(weights):
            found = found + self.penalty.of_hyper(weights)
        return found, rows, z, n_forward, peak

    def _coefficients(self, t):
        return self.step_sizes[t], self.momenta[t], self._extrapolations[t]

    def _see(self, growth, t, step):
        if growth is not None:
            growth.see(t, step.at, step.gradient)

    def _following(self, state, step):
        z = step.after()
        return z, state[0] if self.has_momentum else z

    def second_derivatives(self, z):
        """Those at z."""
        return SecondDerivatives(self.equation, z)

    def check_end(self, growth, z):
        """Raise where the last iterate shows that they ran away.

        Raises
        ------
        DivergenceError
        """
        growth.see(self.n_iterations, z, gradient_at(self.equation, z), is_end=True)

    def residual_norm(self, z, gradient):
        """Norm of the gradient; with a penalty, of the gradient mapping ``(z - S(z - h grad f, h w)) / h``."""
        if self.penalty is None:
            return float(np.linalg.norm(gradient))
        h = self.step_sizes[0]
        return float(np.linalg.norm(z - self.penalty.threshold(z - h * gradient, h)) / h)


def iteration_of(objective, input_val0, hyper_val0, method, n_iterations):
    """The :class:`Iteration` of one of this package's methods."""
    if not isinstance(method, Method):
        raise TypeError(f"method is a {type(method).__name__}: one of vittles_ng.unrolling's methods is needed.")
    checked_integer(n_iterations, "n_iterations", 0)
    equation = Equation(objective, input_val0, hyper_val0, is_objective=True)
    step_sizes, momenta = method.coefficients(max(n_iterations, 1))
    penalty = None if method.penalty is None else L1Penalty(method.penalty, equation)
    return Iteration(equation, n_iterations, step_sizes, momenta, np.zeros_like(momenta), penalty)


class Growth:
    """Watches a run of an iteration for divergence.

    Attributes
    ----------
    residual_norms : list of float
        Of all iterates seen.
    """

    def __init__(self, iteration):
        self._iteration = iteration
        self._first = self._last = None
        self.residual_norms = []

    def see(self, t, z, gradient, is_end=False):
        """Take note of iterate t, and raise where the iterates run away.

        They do where the step was beyond what the curvature along it allows, ``h c > 2 (1 + m)``, and gradient and way
        have grown without measure or, at the end, the gradient is larger than at the start; or where both have grown
        without measure at the end. Growth alone is none before the end: iterates that leave a saddle show it too.

        Raises
        ------
        DivergenceError
        """
        size = self._iteration.residual_norm(z, gradient)
        self.residual_norms.append(size)
        if self._first is None:
            self._first, self._last = (z, size), (z, gradient)
            return
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

    def _stability(self, t, z, gradient):
        before, gradient_before = self._last
        way = np.linalg.norm(z - before)
        curvature = np.linalg.norm(gradient - gradient_before) / way if way > 0.0 else 0.0
        h, m = self._iteration.step_sizes[t - 1], self._iteration.momenta[t - 1]
        return h * curvature, 2.0 * (1.0 + m)


def check_dependence(derivatives, penalty):
    """Raise where neither an objective's gradient nor a penalty depends on the hyper.

    Parameters
    ----------
    derivatives : SecondDerivatives
    penalty : L1Penalty or None

    Raises
    ------
    IndependentError
    """
    if not derivatives.depends_on_hyper() and (penalty is None or not penalty.depends_on_hyper):
        raise IndependentError(
            "neither the objective's gradient nor a penalty depends on the hyper (hyper_val0): check the order of the "
            "arguments, objective(input, hyper), and that it uses autograd.numpy."
        )
