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
from ..taylor.tracing import traced_code

__all__ = ["SecondDerivatives", "gradient_at", "unit_rows"]


def _check_objective(value):
    """Raise where an objective's value is not finite."""
    if not np.isfinite(value):
        raise NonFiniteError(
            f"the objective is {value} at an input or iterate: it is not defined there (log of a negative number, "
            "overflow), or iterates have run away from a step size that is too large."
        )


def gradient_at(equation, z):
    """An objective's gradient in the input, (n_input,), by the user's function.

    Raises
    ------
    NonFiniteError
        It is not finite, or the objective is not.
    """
    with traced_code(), np.errstate(all="ignore"):
        gradient = np.asarray(equation(np.array(z), equation.hyper.flat0, _check_objective), dtype=np.float64)
    if not np.all(np.isfinite(gradient)):
        raise NonFiniteError(
            f"{np.sum(~np.isfinite(gradient))} of {gradient.size} elements of the objective's gradient are NaN or "
            "infinite: it is not defined there, or iterates have run away from a step size that is too large."
        )
    return gradient


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
        function = _both(equation) if transposed else lambda z, x: equation(z, x, _check_objective)
        try:
            self._recorded = Recorded(function, (z, equation.hyper.flat0))
        except NonFiniteError as error:  # which speaks of a base point
            gradient_at(equation, z)
            what = "gradient in the hyper" if transposed else "gradient"
            raise NonFiniteError(f"the objective's {what} is NaN or infinite at an input or iterate.") from error
        self.gradient = np.asarray(self._recorded.values[0], dtype=np.float64)

    def depends_on_hyper(self):
        """Whether the gradient in the input depends on the hyper, wherever it is taken."""
        return self._recorded.depends_on(1)

    def pushed(self, jacobian):
        """``H J + B``, (n_input, n_hyper)."""
        out = np.empty((self._n_input, self._n_hyper))
        for part in self._blocks(self._n_hyper, self._n_hyper):
            rows = jacobian[:, part].T
            out[:, part] = self._along(rows if rows.any() else None, unit_rows(part, self._n_hyper))[0].T
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
            out[:, part] = self._along(unit_rows(part, n), None)[0].T
        return out

    def hessian_slopes(self):
        """``dH/dx``, (n_input, n_input, n_hyper)."""
        n, n_hyper = self._n_input, self._n_hyper
        remedy = "take fewer hypers at a time"
        check_size(8 * n * n * n_hyper, f"dH/dx of {n} inputs and {n_hyper} hypers", memory_limit(), OF_MEMORY, remedy)
        out = np.empty((n, n, n_hyper))
        for j in range(n_hyper):
            of_hyper = unit_rows(slice(j, j + 1), n_hyper)
            for part in self._blocks(n, n_hyper):
                rows = unit_rows(part, n)
                out[:, part, j] = self._mixed(None, np.repeat(of_hyper, len(rows), axis=0), rows)[0].T
        return out

    def _mixed(self, of_input, of_hyper, then_of_input):
        """``D^2 F[a, b]`` for rows a in input and hyper, None for zeros, and b in the input; one array per output."""
        if len(self._recorded.tapes) > 1:  # a step's own derivative needs both sides to agree along b alone as well
            replay = self._recorded.start(len(then_of_input))
            with np.errstate(all="ignore"):
                replay.coefficient([then_of_input if of_input is None else of_input + then_of_input, of_hyper])
                replay.coefficient([None, None])
        return self._checked(self._recorded.mixed([of_input, of_hyper], [then_of_input, None]))

    def _blocks(self, n_rows, width=1):
        block = block_size(max(self._recorded.size, width))
        return (slice(start, min(start + block, n_rows)) for start in range(0, n_rows, block))

    def _along(self, of_input, of_hyper):
        """Derivatives of the gradients along rows in input and hyper, None for zeros: one array per output."""
        given = [None if rows is None else np.ascontiguousarray(rows) for rows in (of_input, of_hyper)]
        n_rows = next(len(rows) for rows in given if rows is not None)
        with np.errstate(all="ignore"):
            found = self._recorded.start(n_rows).coefficient(given)
        return self._checked(
            np.zeros((n_rows, np.size(value))) if c is None else c
            for c, value in zip(found, self._recorded.values, strict=True)
        )

    @staticmethod
    def _checked(found):
        found = list(found)
        if not all(np.all(np.isfinite(c)) for c in found):
            raise NonFiniteError(
                "second derivatives of the objective are NaN or infinite at an input or iterate: they overflow, or its "
                "gradient is not differentiable there."
            )
        return found


def unit_rows(part, n):
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
