"""The iterations of a method on an objective: states, Jacobians beside them, and adjoints back through them."""

import copy

import numpy as np

from ..errors import DivergenceError, IndependentError, NonFiniteError, ShapeError
from ..problem import Equation
from ..taylor.tracing import traced_code
from ..unrolling.checkpoints import reversed_states
from ..unrolling.iteration import Growth
from ..unrolling.methods import check_n_iterations
from .methods import Newton, StochasticGradientDescent, check_method, linear_coefficients
from .steps import Derivatives, GradientStep, NewtonStep

__all__ = ["FACTOR_BYTES", "Chain", "checked_derivatives"]

#: Bytes, times n_input^2, of a Hessian and of the three copies that its Cholesky factor is made by; where the factor
#: is inverted, as small ones are, there are two more.
FACTOR_BYTES = 32
#: How far Newton's iterates go, in units of the first step and of the start, where they do not converge.
_NEWTON_FAR = 1e4
#: Batches whose gradients show how large they are at the start.
_N_FIRST = 20


class Chain:
    """A method's iterations on one objective, from one input, at one hyper.

    Parameters
    ----------
    objective, input_val0, hyper_val0, method, n_iterations
        Of :func:`automatic_gradient`.

    Attributes
    ----------
    equation : Equation
        Of the objective, of all observations.
    share : float
        Cost of a step's gradient, in gradients of the objective.
    """

    def __init__(self, objective, input_val0, hyper_val0, method, n_iterations):
        check_method(method)
        check_n_iterations(n_iterations)
        self.n_iterations = n_iterations
        self.is_newton = isinstance(method, Newton)
        self.is_stochastic = isinstance(method, StochasticGradientDescent)
        self._objective, self._indices, self.share = objective, None, 1.0
        if self.is_stochastic:
            everything = np.arange(method.n_obs)
            self._indices, self.share = method.indices(n_iterations), method.batch_size / method.n_obs
            objective = lambda z, x: self._objective(z, x, everything)  # noqa: E731
        self.equation = Equation(objective, input_val0, hyper_val0, is_objective=True)
        self.z0 = self.equation.input.flat0
        self.n_input, self.n_hyper = self.equation.input.size, self.equation.hyper.size
        checked_derivatives(self.equation)
        if self.is_stochastic:
            self._check_mean(method)
        if self.is_newton:
            self.step_sizes, self.momenta, self._extrapolations = np.ones(n_iterations), *np.zeros((2, n_iterations))
        else:
            self.step_sizes, self.momenta, self._extrapolations = linear_coefficients(method, n_iterations)
        self.has_momentum = bool(np.any(self.momenta))
        self._first_newton = 0.0

    def _check_mean(self, method):
        """At the start, and beside it, since a penalty may be zero there."""
        x = self.equation.hyper.unflatten(self.equation.hyper.flat0)
        for flat in (self.z0, self.z0 + 0.01 * (1.0 + np.abs(self.z0))):
            z = self.equation.input.unflatten(np.array(flat))
            with traced_code(), np.errstate(all="ignore"):
                method.check_objective(lambda indices, z=z: float(self._objective(z, x, indices)))

    @property
    def state_bytes(self):
        """Bytes of one state."""
        return 8 * self.n_input * (2 if self.has_momentum else 1)

    @property
    def step_bytes(self):
        """Bytes of Newton's Hessian while it is factored."""
        return FACTOR_BYTES * self.n_input**2 if self.is_newton else 0

    @property
    def draw_bytes(self):
        """Bytes of what is drawn for an iteration."""
        return 0 if self._indices is None else self._indices.itemsize * self._indices.shape[1]

    def held_bytes(self, n_iterations, n_held):
        """Bytes of that many states of a run; where they are all of them, each shares an iterate with the next."""
        return n_held * (8 * self.n_input if n_held >= n_iterations else self.state_bytes)

    @property
    def step_products(self):
        """Products with second derivatives in a step: the columns of Newton's Hessian."""
        return self.n_input if self.is_newton else 0

    @property
    def direction_products(self):
        """Those in its derivative along one direction."""
        return NewtonStep.n_products if self.is_newton else 1

    def residual_norm(self, z, gradient):
        """What :class:`Growth` watches."""
        return float(np.linalg.norm(gradient))

    def derivatives(self, z):
        """Derivatives of the objective of all observations, in input and hyper."""
        return Derivatives(self.equation, z, transposed=True)

    def growth(self):
        """What watches a run for divergence, or None: Newton's Hessians are checked instead."""
        if self.is_newton:
            return None
        growth = Growth(self)
        if self.is_stochastic:  # one batch, or all observations, may have no gradient at the start
            first = [_gradient(self._equation(t), self.z0) for t in range(min(_N_FIRST, self.n_iterations))]
            if first:
                growth.see(0, self.z0, max(first, key=np.linalg.norm))
        return growth

    def check_end(self, growth, z, gradient):
        """Raise where the iterates ran away, from the objective's gradient at the last one.

        Raises
        ------
        DivergenceError
        """
        if growth is not None:
            growth.see(self.n_iterations, z, gradient, is_end=not self.is_stochastic)
        way, size = np.linalg.norm(z - self.z0), max(np.linalg.norm(self.z0), self._first_newton)
        if self.is_newton and way > _NEWTON_FAR * size:
            raise DivergenceError(
                f"Newton's iterates run away: after {self.n_iterations} full steps they are {way:.1e} from the start, "
                f"and the first step was {self._first_newton:.1e}: start closer to the minimum."
            )

    def states(self, growth):
        """Iterates ``z_0`` to ``z_T``."""
        state = (self.z0, self.z0)
        for t in range(self.n_iterations):
            yield state[0]
            state = self._advanced(t, state, growth)
        yield state[0]

    def tangents(self, growth):
        """Iterates and their Jacobians (n_input, n_hyper), from ``z_0`` to ``z_T``; memory flat in T."""
        state = (self.z0, self.z0)
        jacobian = previous = np.zeros((self.n_input, self.n_hyper))
        for t in range(self.n_iterations):
            yield state[0], jacobian
            step = self._step(t, state)
            self._see(growth, t, state, step.gradient)
            jacobian, previous = step.pushed(jacobian, previous), jacobian
            state = self._following(state, step.after())
            del step  # before the next one's Hessian
        yield state[0], jacobian

    def pulled(self, growth, n_checkpoints=None):
        """``L_z(z_T) @ dz_T/dx`` backwards through the iterations.

        Returns
        -------
        of_hyper : ndarray of shape (n_hyper,)
        z : ndarray of shape (n_input,)
            The last iterate.
        end : Derivatives
            There.
        n_forward, n_held : int
            Steps done forwards, and the most states held.
        """
        found, n_forward, peak, z, end = np.zeros(self.n_hyper), 0, 1, self.z0, None

        def advance(t, state):
            nonlocal n_forward
            n_forward += 1
            return self._advanced(t, state, growth if end is None else None)

        limit = n_checkpoints or max(self.n_iterations, 1)
        for t, state, n_held in reversed_states((self.z0, self.z0), advance, self.n_iterations, limit):
            peak, step = max(peak, n_held), self._step(t, state, transposed=True)
            if end is None:
                self._see(growth, t, state, step.gradient)
                z = step.after()
                end = self.derivatives(z)
                self.check_end(growth, z, end.gradient)
                adjoint, adjoint_previous = end.gradient, np.zeros(self.n_input)
            adjoint, adjoint_previous, of_hyper = step.pulled(adjoint, adjoint_previous)
            found += of_hyper
            del step  # before the next one's Hessian
        return found, z, self.derivatives(z) if end is None else end, n_forward, peak

    def _equation(self, t):
        if self._indices is None:
            return self.equation
        indices, one = self._indices[t], copy.copy(self.equation)
        one.function = lambda z, x: self._objective(z, x, indices)
        return one

    def _step(self, t, state, transposed=False):
        if self.is_newton:
            step = NewtonStep(self.equation, state, transposed)
            if t == 0:
                self._first_newton = np.linalg.norm(step.after() - state[0])
            return step
        parts = self.step_sizes[t], self.momenta[t], self._extrapolations[t]
        return GradientStep(self._equation(t), state, *parts, transposed)

    def _advanced(self, t, state, growth):
        """The next state, without derivatives of the step."""
        if self.is_newton:
            return self._following(state, self._step(t, state).after())
        gradient = _gradient(self._equation(t), GradientStep.at(state, self._extrapolations[t]))
        self._see(growth, t, state, gradient)
        return self._following(state, GradientStep.moved(state, gradient, self.step_sizes[t], self.momenta[t]))

    def _see(self, growth, t, state, gradient):
        if growth is not None:
            growth.see(t, GradientStep.at(state, self._extrapolations[t]), gradient)

    def _following(self, state, z):
        return (z, state[0]) if self.has_momentum else (z, z)


def _gradient(equation, z):
    """The gradient in the input, by the user's function."""
    with traced_code(), np.errstate(all="ignore"):
        gradient = np.asarray(equation(np.array(z), equation.hyper.flat0), dtype=np.float64)
    if not np.all(np.isfinite(gradient)):
        raise NonFiniteError(
            f"{np.sum(~np.isfinite(gradient))} of {gradient.size} elements of the objective's gradient are NaN or "
            "infinite: it is not defined there, or the iterates have run away from a step size that is too large."
        )
    return gradient


def checked_derivatives(equation):
    """Derivatives of an objective in input and hyper, at an equation's base point.

    Raises
    ------
    ShapeError, TypeError
        The objective is not a scalar, or not a real number.
    IndependentError
        It does not depend on both its arguments.
    """
    z, x = (part.unflatten(np.array(part.flat0)) for part in (equation.input, equation.hyper))
    with traced_code(), np.errstate(all="ignore"):
        value = equation.function(z, x)
    if np.shape(value) != ():
        raise ShapeError(f"the objective returned an array of shape {np.shape(value)}: a scalar is needed, sum it.")
    if np.asarray(value).dtype.kind not in "buif":
        raise TypeError(f"the objective returned a {type(value).__name__}: a real number is needed.")
    found = Derivatives(equation, equation.input.flat0, transposed=True)
    on_hyper = found.depends_on_hyper() or np.any(found.hyper_gradient)
    for depends, name in ((found.depends_on_input(), "input"), (on_hyper, "hyper")):
        if not depends:
            raise IndependentError(
                f"the objective does not depend on the {name}: check the order of the arguments, "
                "objective(input, hyper), and that it uses autograd.numpy."
            )
    return found
