"""Second derivatives of an objective at one point, by directions on a tape of its gradient.

With ``H = d2f/dz2`` and ``B = d2f/dz dx``, the gradient in z changes by ``H dz + B dx`` along ``(dz, dx)``;
the gradient in both changes by ``(H w, B^T w)`` along ``(w, 0)``, since an objective's second derivatives are
symmetric. So forward and reverse mode take the same one pass over the tape.
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad

from ..errors import NonFiniteError, ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import flatten_traced
from ..taylor.recorded import Recorded, block_size

__all__ = ["SecondDerivatives", "check_objective"]


def check_objective(value):
    """Raise where an objective's value is not finite."""
    if not np.isfinite(value):
        raise NonFiniteError(
            f"the objective is {value} at an iterate: it is not defined there (log of a negative number, overflow), or "
            "the iterates have run away from a step size that is too large."
        )


class SecondDerivatives:
    """An objective's second derivatives at one point.

    Parameters
    ----------
    equation : Equation
        Of an objective.
    z : ndarray of shape (n_input,)
    transposed : bool
        Whether :meth:`pulled` is wanted, or else :meth:`pushed`.

    Attributes
    ----------
    gradient : ndarray of shape (n_input,)
    """

    def __init__(self, equation, z, transposed=False):
        self._n_input, self._n_hyper = equation.input.size, equation.hyper.size
        function = _both(equation) if transposed else lambda z, x: equation(z, x, check_objective)
        self._recorded = Recorded(function, (z, equation.hyper.flat0))
        self.gradient = np.asarray(self._recorded.values[0], dtype=np.float64)

    def depends_on_hyper(self):
        """Whether the gradient in the input depends on the hyper, wherever it is taken."""
        return self._recorded.depends_on(1)

    def pushed(self, jacobian):
        """``H J + B``, (n_input, n_hyper)."""
        out = np.empty((self._n_input, self._n_hyper))
        for part in self._blocks(self._n_hyper, self._n_hyper):
            rows = jacobian[:, part].T
            out[:, part] = self._along(rows if rows.any() else None, _unit_rows(part, self._n_hyper))[0].T
        return out

    def pulled(self, rows):
        """``rows @ H`` and ``rows @ B``."""
        of_input, of_hyper = np.zeros_like(rows), np.zeros((len(rows), self._n_hyper))
        for part in self._blocks(len(rows)):
            if rows[part].any():
                of_input[part], of_hyper[part] = self._along(rows[part], None)
        return of_input, of_hyper

    def hessian(self):
        """H, (n_input, n_input).

        Raises
        ------
        SizeError
            It would not fit in memory.
        """
        n = self._n_input
        remedy = "use a method that needs no dense Hessian"
        check_size(8 * n * n, f"the dense Hessian of {n} inputs", memory_limit(), OF_MEMORY, remedy)
        out = np.empty((n, n))
        for part in self._blocks(n):
            out[:, part] = self._along(_unit_rows(part, n), None)[0].T
        return out

    # With c_2(u, v) the coefficient of t^2 of the gradient along (u, v): c_2(u, v) - c_2(0, v) = (dH/dx v) u.
    def hessian_slopes(self, step):
        """``dH/dx``, (n_input, n_input, n_hyper), where the objective is quadratic in the input.

        Parameters
        ----------
        step : float
            How far to go along each input: the larger the better, as nothing but rounding depends on it.
        """
        n, n_hyper = self._n_input, self._n_hyper
        remedy = "take fewer hypers at a time"
        check_size(8 * n * n * n_hyper, f"dH/dx of {n} inputs and {n_hyper} hypers", memory_limit(), OF_MEMORY, remedy)
        out = np.empty((n, n, n_hyper))
        for j in range(n_hyper):
            of_hyper = _unit_rows(slice(j, j + 1), n_hyper)
            (at_rest,) = self._along(None, of_hyper, order=2)
            for part in self._blocks(n, n_hyper):
                rows = step * _unit_rows(part, n)
                (moved,) = self._along(rows, np.repeat(of_hyper, len(rows), axis=0), order=2)
                out[:, part, j] = (moved - at_rest).T / step
        return out

    def _blocks(self, n_rows, width=1):
        block = block_size(max(self._recorded.size, width))
        return (slice(start, min(start + block, n_rows)) for start in range(0, n_rows, block))

    def _along(self, of_input, of_hyper, order=1):
        """Coefficients of the gradients along rows in input and hyper, None for zeros: one array per output."""
        given = [None if rows is None else np.ascontiguousarray(rows) for rows in (of_input, of_hyper)]
        n_rows = next(len(rows) for rows in given if rows is not None)
        with np.errstate(all="ignore"):
            replay = self._recorded.start(n_rows)
            found = replay.coefficient(given)
            for _ in range(order - 1):
                found = replay.coefficient([None, None])
        found = [
            np.zeros((n_rows, np.size(value))) if c is None else c
            for c, value in zip(found, self._recorded.values, strict=True)
        ]
        if not all(np.all(np.isfinite(c)) for c in found):
            raise NonFiniteError(
                "second derivatives of the objective are NaN or infinite at an iterate: they overflow, or its gradient "
                "is not differentiable there."
            )
        return found


def _unit_rows(part, n):
    """Those rows of the identity (n, n)."""
    rows = np.zeros((part.stop - part.start, n))
    rows[:, part] = np.eye(len(rows))
    return rows


def _both(equation):
    """The gradient of an equation's objective in input and hyper."""

    def objective(z, x):
        value = equation.function(equation.input.unflatten(z), equation.hyper.unflatten(x))
        if anp.shape(value) != ():
            raise ShapeError(f"the objective returned an array of shape {anp.shape(value)}: a scalar is needed.")
        # the term that is zero: autograd warns of objectives that do not depend on the hyper, and these may not
        return value + 0.0 * anp.sum(x)

    gradients = grad(objective, (0, 1))

    def both(z, x):
        return tuple(flatten_traced(part) for part in gradients(z, x))

    return both
