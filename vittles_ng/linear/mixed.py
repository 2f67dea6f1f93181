"""Mixed second derivatives of an equation along two directions, from univariate series.

With ``c_2(w)`` the coefficient of t^2 of ``G(base + t w)``,

    D^2 G[u, v] = (c_2(u + v) - c_2(u - v)) / 2

(Griewank, Utke, Walther, Math. Comp. 69 (2000) 1117). The directions are first scaled so that both change ``G`` by as
much at first order: then neither ``c_2(u)`` nor ``c_2(v)``, which cancel, swamps what is wanted, in whatever units.
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
_LARGEST_EXPONENT = 500  # of two: squares of what is scaled stay floats


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
        lone = [part for pair in pairs for part in pair]
        scales = self._scales(lone)
        scaled = [self._placed(i, scale * w) for (i, w), scale in zip(lone, scales, strict=True)]
        both = []
        for u, v in zip(scaled[::2], scaled[1::2], strict=True):
            both += [[a + b for a, b in zip(u, v, strict=True)], [a - b for a, b in zip(u, v, strict=True)]]
        c = self._second(both)
        return [0.5 * (c[i] - c[i + 1]) / scales[i] / scales[i + 1] for i in range(0, len(c), 2)]

    def _scales(self, directions):
        """Powers of two that make the first-order changes of ``G`` along directions near one in size."""
        exponents = np.log2([self._size(argnum, w) for argnum, w in directions])
        return np.exp2(-np.clip(np.round(exponents), -_LARGEST_EXPONENT, _LARGEST_EXPONENT))

    def _size(self, argnum, direction):
        """How much ``G`` changes along a direction; the direction's own length where that is nothing but rounding."""
        length = np.max(np.abs(direction)) or 1.0
        unit = direction / length
        change = np.max(np.abs(self.along(argnum, unit)))
        signs = np.random.default_rng(5).standard_normal(unit.size)
        cancels = change <= _NO_CHANGE * np.max(np.abs(self.along(argnum, signs * unit)))
        return length if cancels else change * length

    def _placed(self, argnum, direction):
        return [direction if i == argnum else np.zeros_like(x) for i, x in enumerate(self._base)]

    def _second(self, directions):
        """``c_2`` along directions, each a list of three vectors: (n_directions, n_input)."""
        replay = self._recorded.start(len(directions))
        with np.errstate(all="ignore"):
            replay.coefficient([np.stack(part) for part in zip(*directions, strict=True)])
            (c,) = replay.coefficient([None] * len(self._base))
        if c is None:
            return np.zeros((len(directions), len(self.residual0)))
        if not np.all(np.isfinite(c)):
            raise NonFiniteError("a second derivative of the estimating equation is NaN or infinite at the base point.")
        return np.array(c)
