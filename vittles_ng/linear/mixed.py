"""An estimating equation of an input and two hypers: its derivatives along directions, and mixed ones along two.

Mixed second derivatives are those of :meth:`vittles_ng.taylor.recorded.Recorded.mixed`: those along either direction
alone do not swamp them, and nothing is subtracted, whatever the units.
"""

import numpy as np

from ..errors import IndependentError, NonFiniteError, ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Structure, flatten_traced
from ..solvers import as_solver, choose_solver
from ..taylor.recorded import Recorded
from .solver_functions import unwrapped

__all__ = ["Linearised"]


class Linearised:
    """An estimating equation of an input and two hypers, recorded at its base point, and what solves with its Jacobian.

    Parameters
    ----------
    equation : callable
        ``G(input, hyper1, hyper2) -> (n_input,)``.
    solver : callable, solver, matrix or None
    names, values : sequence
        Of the three arguments.
    """

    def __init__(self, equation, solver, names, values):
        self.arguments = [Structure(value, name) for value, name in zip(values, names, strict=True)]
        self._base = [structure.flat0 for structure in self.arguments]

        def flat(*arguments):
            return flatten_traced(equation(*(s.unflatten(x) for s, x in zip(self.arguments, arguments, strict=True))))

        self._recorded = Recorded(flat, self._base)
        (self.residual0,) = self._recorded.values
        n = self._base[0].size
        if self.residual0.shape != (n,):
            raise ShapeError(
                f"the estimating equation returned {self.residual0.size} values for {n} inputs: {n} needed."
            )
        if np.iscomplexobj(self.residual0):
            raise TypeError("the estimating equation has complex values: stack real and imaginary parts.")
        if not np.all(np.isfinite(self.residual0)):
            raise NonFiniteError("the estimating equation is NaN or infinite at the base point.")
        for i, name in enumerate(names):
            if not self._recorded.depends_on(i):
                raise IndependentError(
                    f"the estimating equation does not depend on {name}: check the order of its arguments, and that it "
                    "uses autograd.numpy."
                )
        if solver is None:
            what = f"the dense matrix dG/dinput of {n} inputs"
            check_size(16 * n * n, what, memory_limit(), OF_MEMORY, "pass a solver")
            self.solver = choose_solver(self._recorded.products(0, np.eye(n)).T)
        else:
            self.solver = as_solver(unwrapped(solver), n, matrix=lambda v: self.along(0, v))

    def along(self, argnum, direction):
        """Derivative of ``G`` along a direction of one argument, (n_input,)."""
        return self._recorded.pushed(argnum, direction[None, :])[0]

    def mixed(self, pairs):
        """``D^2 G[u, v]`` for pairs of ``((argnum, u), (argnum, v))``, a list of (n_input,)."""
        directions = [[self._of_all(*pair[i]) for pair in pairs] for i in (0, 1)]
        (found,) = self._recorded.mixed(*([np.stack(part) for part in zip(*d, strict=True)] for d in directions))
        if not np.all(np.isfinite(found)):
            raise NonFiniteError("a second derivative of the estimating equation is NaN or infinite at the base point.")
        return list(found)

    def _of_all(self, argnum, direction):
        """A direction of one argument as one of all three."""
        return [direction if i == argnum else np.zeros_like(x) for i, x in enumerate(self._base)]
