"""Second derivatives of an objective at one point, by directions on a tape of its gradient.

With ``H = d2f/dz2`` and ``B = d2f/dz dx``, the gradient in z changes by ``H dz + B dx`` along ``(dz, dx)``;
the gradient in both changes by ``(H w, B^T w)`` along ``(w, 0)``, since an objective's second derivatives are
symmetric. So forward and reverse mode take the same one pass over the tape.
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad

from ..errors import NonFiniteError
from ..problem import flatten_traced
from ..taylor.recorded import Recorded, block_size

__all__ = ["SecondDerivatives", "check_objective", "unit_rows"]


def check_objective(value):
    """Raise where an objective's value is not finite."""
    if not np.isfinite(value):
        raise NonFiniteError(
            f"the objective is {value} at an iterate: it is not defined there (log of a negative number, overflow), or "
            "the iterates have run away from a step size that is too large."
        )


def unit_rows(n, size):
    """Blocks of the rows of an identity (n, n), each with its slice, for a tape with a largest value of that size."""
    block = block_size(size)
    for start in range(0, n, block):
        rows = np.zeros((min(block, n - start), n))
        rows[:, start : start + block] = np.eye(len(rows))
        yield slice(start, start + len(rows)), rows


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
        out = np.zeros((self._n_input, self._n_hyper))
        for columns, unit in unit_rows(self._n_hyper, max(self._recorded.size, self._n_hyper)):
            rows = np.ascontiguousarray(jacobian[:, columns].T)
            (c,) = self._along(rows if rows.any() else None, unit)
            if c is not None:
                out[:, columns] = c.T
        return out

    def pulled(self, rows):
        """``rows @ H`` and ``rows @ B``."""
        of_input, of_hyper = np.zeros_like(rows), np.zeros((len(rows), self._n_hyper))
        block = block_size(self._recorded.size)
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            if rows[part].any():
                for out, c in zip((of_input, of_hyper), self._along(rows[part], None), strict=True):
                    if c is not None:
                        out[part] = c
        return of_input, of_hyper

    def hessian(self):
        """H, (n_input, n_input)."""
        out = np.zeros((self._n_input, self._n_input))
        for columns, unit in unit_rows(self._n_input, self._recorded.size):
            c = self._along(unit, None)[0]
            if c is not None:
                out[:, columns] = c.T
        return out

    def _along(self, of_input, of_hyper):
        with np.errstate(all="ignore"):
            given = [None if rows is None else np.ascontiguousarray(rows) for rows in (of_input, of_hyper)]
            n_steps = next(len(rows) for rows in given if rows is not None)
            return self._recorded.start(n_steps).coefficient(given)


def _both(equation):
    """The gradient of an equation's objective in input and hyper."""

    def objective(z, x):
        # the term that is zero: autograd warns of objectives that do not depend on the hyper, and these may not
        return equation.function(equation.input.unflatten(z), equation.hyper.unflatten(x)) + 0.0 * anp.sum(x)

    gradients = grad(objective, (0, 1))

    def both(z, x):
        return tuple(flatten_traced(part) for part in gradients(z, x))

    return both
