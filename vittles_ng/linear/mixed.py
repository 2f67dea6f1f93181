"""Mixed second derivatives of an equation along two directions, from univariate series.

With ``c_3(u, v)`` the coefficient of t^3 of ``G(base + t u + t^2 v)``,

    c_3(u, v) = D^2 G[u, v] + D^3 G[u, u, u] / 6,    D^2 G[u, v] = (c_3(u, v) - c_3(u, -v)) / 2

(Taylor arithmetic: Griewank & Walther, "Evaluating Derivatives", ch. 13). The second derivatives along ``u`` alone and
along ``v`` alone are in the coefficients of t^2 and t^4: unlike in the difference of second derivatives along ``u + v``
and ``u - v``, they cannot swamp what is wanted. The one term that cancels is of third order in ``u``, which is scaled
to change ``G`` by little, in whatever units.
"""

import numpy as np

from ..errors import IndependentError, NonFiniteError, ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Structure, flatten_traced
from ..solvers import as_solver, choose_solver
from ..taylor.recorded import Recorded
from .solver_functions import unwrapped

__all__ = ["Linearised"]

#: Change along a direction, relative to that along one with other signs, which is taken for rounding.
_NO_CHANGE = 1e-12
_LARGEST_EXPONENT = 300  # of two: cubes of what is scaled stay floats
#: How much the first direction changes ``G``, the second one by about one: what cancels is of the square of this.
_SMALL = 2.0**-26


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
        small, large = ([self._scaled(*pair[i]) for pair in pairs] for i in (0, 1))
        firsts, seconds = [], []
        for (u, _), (v, _) in zip(small, large, strict=True):
            firsts += [[_SMALL * part for part in u]] * 2
            seconds += [v, [-part for part in v]]
        c = self._third(firsts, seconds)
        return [
            (0.5 / _SMALL) * (c[2 * i] - c[2 * i + 1]) / scale_u / scale_v
            for i, ((_, scale_u), (_, scale_v)) in enumerate(zip(small, large, strict=True))
        ]

    def _scaled(self, argnum, direction):
        """A direction of one argument as one of all three, scaled to change ``G`` by about one; and the scale."""
        exponent = np.clip(np.round(np.log2(self._size(argnum, direction))), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        scale = np.exp2(-exponent)
        return [scale * direction if i == argnum else np.zeros_like(x) for i, x in enumerate(self._base)], scale

    def _size(self, argnum, direction):
        """How much ``G`` changes along a direction; the direction's own length where that is nothing but rounding."""
        length = np.max(np.abs(direction)) or 1.0
        unit = direction / length
        change = np.max(np.abs(self.along(argnum, unit)))
        signs = np.random.default_rng(5).standard_normal(unit.size)
        cancels = change <= _NO_CHANGE * np.max(np.abs(self.along(argnum, signs * unit)))
        return length if cancels else change * length

    def _third(self, firsts, seconds):
        """``c_3`` of paths with the coefficients of t and t^2, each a list of three vectors: (n_paths, n_input)."""
        replay = self._recorded.start(len(firsts))
        with np.errstate(all="ignore"):
            for directions in (firsts, seconds):
                replay.coefficient([np.stack(part) for part in zip(*directions, strict=True)])
            (c,) = replay.coefficient([None] * len(self._base))
        if c is None:
            return np.zeros((len(firsts), len(self.residual0)))
        if not np.all(np.isfinite(c)):
            raise NonFiniteError("a second derivative of the estimating equation is NaN or infinite at the base point.")
        return np.array(c)
