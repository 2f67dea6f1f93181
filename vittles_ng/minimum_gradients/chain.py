"""The iterations of a method whose gradients can be estimated: those of unrolling, Newton's, and of drawn batches."""

import copy

import numpy as np

from ..errors import DivergenceError, IndependentError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Equation
from ..recursion import checked_integer
from ..taylor.tracing import traced_code
from ..unrolling.iteration import Iteration
from ..unrolling.products import gradient_at
from ..unrolling.steps import GradientStep
from .methods import Newton, StochasticGradientDescent, check_method, linear_coefficients
from .steps import Derivatives, NewtonStep

__all__ = ["FACTOR_BYTES", "Chain", "checked_derivatives"]

#: Bytes, times n_input^2, of a Hessian and of the three copies that its Cholesky factor is made by; where the factor
#: is inverted, as small ones are, there are two more.
FACTOR_BYTES = 32
#: How far Newton's iterates go, in units of the first step and of the start, where they do not converge.
_NEWTON_FAR = 1e4
#: Batches whose gradients show how large they are at the start.
_N_FIRST = 20


class Chain(Iteration):
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
        checked_integer(n_iterations, "n_iterations", 0)
        self.is_newton = isinstance(method, Newton)
        self.is_stochastic = isinstance(method, StochasticGradientDescent)
        self._objective, self._indices, self.share = objective, None, 1.0
        if self.is_stochastic:
            everything = np.arange(method.n_obs)
            self._indices, self.share = method.indices(n_iterations), method.batch_size / method.n_obs
            objective = lambda z, x: self._objective(z, x, everything)  # noqa: E731
        equation = Equation(objective, input_val0, hyper_val0, is_objective=True)
        super().__init__(equation, n_iterations, *linear_coefficients(method, max(n_iterations, 1)))
        checked_derivatives(equation)
        if self.is_stochastic:
            self._check_mean(method)
        self._first_newton = 0.0

    def _check_mean(self, method):
        """At the start, and beside it, since a penalty may be zero there."""
        x = self.equation.hyper.unflatten(self.equation.hyper.flat0)
        for flat in (self.z0, self.z0 + 0.01 * (1.0 + np.abs(self.z0))):
            z = self.equation.input.unflatten(np.array(flat))
            with traced_code(), np.errstate(all="ignore"):
                method.check_objective(lambda indices, z=z: float(self._objective(z, x, indices)))

    @property
    def step_bytes(self):
        """Bytes of Newton's Hessian while it is factored."""
        return FACTOR_BYTES * self.n_input**2 if self.is_newton else 0

    @property
    def draw_bytes(self):
        """Bytes of what is drawn for an iteration."""
        return 0 if self._indices is None else self._indices.itemsize * self._indices.shape[1]

    @property
    def step_products(self):
        """Products with second derivatives in a step: the columns of Newton's Hessian."""
        return self.n_input if self.is_newton else 0

    @property
    def n_jacobians(self):
        """Jacobians held at one time: the next one, what it is made from, and products or solves on the way."""
        return 4 if self.has_momentum or self.is_newton else 2

    @property
    def direction_products(self):
        """Those in its derivative along one direction."""
        return NewtonStep.n_products if self.is_newton else 1

    def derivatives(self, z):
        """Derivatives of the objective of all observations, in input and hyper."""
        return Derivatives(self.equation, z, transposed=True)

    def growth(self):
        """What watches a run for divergence, or None: Newton's Hessians are checked instead."""
        if self.is_newton:
            return None
        growth = super().growth()
        if self.is_stochastic:  # one batch, or all observations, may have no gradient at the start
            first = [gradient_at(self._equation(t), self.z0) for t in range(min(_N_FIRST, self.n_iterations))]
            if first:
                growth.see(0, self.z0, max(first, key=np.linalg.norm))
        return growth

    def step(self, t, state, mode=None):
        """See :meth:`Iteration.step`."""
        if not self.is_newton:
            return GradientStep(self._equation(t), t, state, self._coefficients(t), mode)
        step = NewtonStep(self.equation, state, mode)
        if t == 0:
            self._first_newton = np.linalg.norm(step.after() - state[0])
        return step

    def end(self, growth, z):
        """The :class:`Derivatives` at the last iterate.

        Raises
        ------
        DivergenceError
            The iterates ran away.
        """
        found = self.derivatives(z)
        if growth is not None:
            growth.see(self.n_iterations, z, found.gradient, is_end=not self.is_stochastic)
        way, size = np.linalg.norm(z - self.z0), max(np.linalg.norm(self.z0), self._first_newton)
        if self.is_newton and way > _NEWTON_FAR * size:
            raise DivergenceError(
                f"Newton's iterates run away: after {self.n_iterations} full steps they are {way:.1e} from the start, "
                f"and the first step was {self._first_newton:.1e}: start closer to the minimum."
            )
        return found

    def last(self):
        """The last iterate, and the :class:`Derivatives` there."""
        growth, state = self.growth(), (self.z0, self.z0)
        for t in range(self.n_iterations):
            state = self.advanced(t, state, growth)
        return state[0], self.end(growth, state[0])

    def tangents(self, growth):
        """As :meth:`Iteration.tangents`, from an input that does not depend on the hyper."""
        n_bytes = self.n_jacobians * 8 * self.n_input * self.n_hyper
        remedy = "use automatic_gradient in reverse mode, or take fewer hypers at a time"
        check_size(n_bytes, "the set of Jacobians", memory_limit(), OF_MEMORY, remedy)
        return super().tangents(growth, np.zeros((self.n_input, self.n_hyper)))

    def _equation(self, t):
        if self._indices is None:
            return self.equation
        indices, one = self._indices[t], copy.copy(self.equation)
        one.function = lambda z, x: self._objective(z, x, indices)
        return one


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
