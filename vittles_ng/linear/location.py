"""A base point and what is linear there: the checked solver, the cross derivative, the sensitivity.

Requires ``G(input_val0, hyper_val0) == 0``. Differentiating ``G(input(hyper), hyper) == 0`` once,

    d input / d hyper = -H^{-1} G_hyper,    H = dG/dinput,

and to higher orders by the recursion (Giordano, Jordan, Broderick, arXiv 1907.12116).
"""

from functools import cached_property

import autograd.numpy as anp
import numpy as np
import scipy.sparse

from ..adjoint import pulled_back
from ..errors import IndependentError, MismatchError, ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Equation, flatten_traced, real_array
from ..recursion import Recursion
from ..solvers import choose_solver
from ..taylor.recorded import Recorded
from ..tensors import derivative_tensors
from .checks import behind_trace, dense_array, is_traced

__all__ = ["Location", "solved_minimum"]

#: Relative disagreement, along a random direction, between a derivative that is given and the function's own.
AGREEMENT = 1e-6
#: What that may miss, relative to the largest component: one that is zero comes out as rounding.
ROUNDING = 1e-13
#: Effect of a hyper, relative to the largest one's, below which it may be rounding.
NO_CHANGE = 1e-9


class Location:
    """The solution linearised at one base point; does not change.

    Parameters
    ----------
    problem : BasePoint
    solver : Solver
        Of ``dG/dinput`` there.
    cross0 : array_like of shape (n_input, n_hyper), default=None
        ``dG/dhyper`` where it is known.
    cross_name : str, default="estimating_equation_jac0"
        What the caller calls it, for errors.
    part : callable, default=None
        The part of the problem's function that depends on the hyper, of the same kind.
    part_name : str, default=""
        What the caller calls that.
    """

    def __init__(self, problem, solver, cross0=None, cross_name="estimating_equation_jac0", part=None, part_name=""):
        self.problem, self.solver = problem, solver
        self.input_val0, self.hyper = problem.input.flat0, problem.hyper
        self._base = problem.input.flat0, problem.hyper.flat0
        self._part = None if part is None else self._recorded_part(part, part_name)
        self._cross0 = None if cross0 is None else self._checked_cross(cross0, cross_name)
        self.recursion = Recursion(problem.recorded, solver, problem.input.size, problem.hyper.size)
        self._tensors = None

    def _recorded_part(self, part, part_name):
        """The part's equation and its tape, after a look at whether it is the part that depends on the hyper."""
        problem, (x, h) = self.problem, self._base
        equation = Equation(part, problem.input.unflatten(x), problem.hyper.unflatten(h), problem.is_objective)
        recorded = Recorded(equation, self._base)
        if not recorded.depends_on(1):
            raise IndependentError(
                f"{part_name} does not depend on the hyper: it must be the part of the function that does."
            )
        v = self._probe
        self._compare(recorded.pushed(1, v)[0], problem.recorded.pushed(1, v)[0], part_name)
        return equation, recorded

    @cached_property
    def _probe(self):
        """A random direction along which each hyper changes ``G`` by about as much, (1, n_hyper).

        A fault in one hyper then does not hide behind another that is in larger units.
        """
        problem, rng = self.problem, np.random.default_rng(4)
        u = rng.standard_normal((1, problem.input.size))
        size = np.abs(pulled_back(problem, problem.recorded, self._base, 1, u)[0])
        largest = np.max(size)
        size = size + NO_CHANGE * largest if largest > 0.0 else np.ones_like(size)
        return rng.standard_normal((1, problem.hyper.size)) / size

    def _checked_cross(self, cross0, name):
        cross = dense_array(cross0, name)
        expected = (self.problem.input.size, self.hyper.size)
        if cross.shape != expected:
            raise ShapeError(f"{name} has shape {cross.shape}: (n_input, n_hyper) = {expected} is needed.")
        v = self._probe
        _, recorded = self._part or (None, self.problem.recorded)
        own = recorded.pushed(1, v)[0]
        self._compare(cross @ v[0], own, name, np.abs(cross) @ np.abs(v[0]))
        return cross

    @staticmethod
    def _compare(given, own, name, scale=0.0):
        scale = np.maximum(scale, np.maximum(np.abs(given), np.abs(own)))
        excess = np.abs(given - own) - AGREEMENT * scale
        worst = int(np.argmax(excess))
        if not excess[worst] <= ROUNDING * np.max(scale):
            raise MismatchError(
                f"{name} contradicts the whole function: derivatives in the hyper along a random direction are "
                f"{given[worst]:.6e} and {own[worst]:.6e} for input {worst}: evaluate it at the base point, or "
                "leave it out."
            )

    @cached_property
    def cross(self):
        """``dG/dhyper``, (n_input, n_hyper): as given, of the part that depends on the hyper, or of the whole."""
        n_input, n_hyper = self.problem.input.size, self.hyper.size
        what = f"the matrix d input / d hyper of {n_input} inputs in {n_hyper} hypers"
        remedy = "use ParametricSensitivityTaylorExpansion, which forms products with it only"
        check_size(16 * n_input * n_hyper, what, memory_limit(), OF_MEMORY, remedy)
        if self._cross0 is not None:
            return self._cross0
        equation, recorded = self._part or (self.problem, self.problem.recorded)
        if n_hyper <= n_input:
            return recorded.products(1, np.eye(n_hyper)).T
        return pulled_back(equation, recorded, self._base, 1, np.eye(n_input))

    @cached_property
    def sensitivity(self):
        """``d input / d hyper``, (n_input, n_hyper); read-only."""
        sensitivity = -self.solver.solve(self.cross)
        sensitivity.setflags(write=False)
        return sensitivity

    def predicted(self, new, name):
        """``input0 + (d input / d hyper) (new - hyper0)``, which autograd can differentiate wherever ``new`` is.

        Parameters
        ----------
        new : array_like of shape (n_hyper,) or (n_steps, n_hyper), or nested as the hyper
            May be traced.
        name : str
            What the caller calls it, for errors.

        Returns
        -------
        ndarray of shape (n_input,) or (n_steps, n_input)
        """
        steps, is_batch = self.hyper.flatten_steps(behind_trace(new), name)
        if is_traced(new):
            steps = anp.reshape(flatten_traced(new), steps.shape)
        value = self.input_val0 + anp.dot(steps - self.hyper.flat0, self.sensitivity.T)
        return value if is_batch else value[0]

    def tensor(self, k):
        """``d^k input / d hyper^k`` for k >= 0; order 1 is the sensitivity."""
        if k == 0:
            return self.input_val0
        if k == 1:
            return self.sensitivity
        if self._tensors is None or self._tensors.get_max_order() < k:
            self._tensors = derivative_tensors(self.recursion, self.input_val0, self.hyper, k)
        return self._tensors.tensor(k)


def solved_minimum(problem, hessian):
    """The factor of an objective's Hessian and the matrix itself, formed where it is not given."""
    if hessian is None:
        hessian = problem.matrix()
        return choose_solver(hessian, symmetric=True, positive_definite=True), hessian
    if callable(hessian) or hasattr(hessian, "solve"):
        raise TypeError("hessian_at_opt must be a matrix: what solves goes to EstimatingEquationLinearApproximation.")
    hessian = hessian.copy() if scipy.sparse.issparse(hessian) else real_array(hessian, "hessian_at_opt")
    return problem.solver_given(hessian), hessian
