"""Newton's step at one state, and its derivatives forwards and backwards.

With ``F = grad f`` at z and ``F' = H dz + B dx``, the step s, ``H s = F``, has ``H ds = F' - D^2F[(dz, dx), (s, 0)]``;
backwards, for the adjoint a' of the next iterate, with ``w = H^{-1} a'``,

    a = a' - H w + D^2F[(w, 0), (s, 0)] in z,    gradient in x: -B^T w + the same in x.
"""

import numpy as np

from ..solvers import DenseCholesky
from ..unrolling.products import SecondDerivatives, unit_rows

__all__ = ["Derivatives", "NewtonStep"]

#: Products of second derivatives that a mixed third derivative is counted as: a series of order 3, each order of which
#: costs more than the one before.
_MIXED_COST = 4


class Derivatives(SecondDerivatives):
    """Derivatives of an objective at one point, to third order along pairs of directions.

    Attributes
    ----------
    gradient : ndarray of shape (n_input,)
    hyper_gradient : ndarray of shape (n_hyper,), or None
        Where ``transposed``.
    """

    def __init__(self, equation, z, transposed=False):
        super().__init__(equation, z, transposed)
        self.hyper_gradient = np.asarray(self._recorded.values[1], dtype=np.float64) if transposed else None

    def depends_on_input(self):
        """Whether the objective depends on the input."""
        return self._recorded.depends_on(0) or bool(np.any(self.gradient))

    def mixed(self, rows, step, beside_hypers=False):
        """``D^2 F[(u, v), (step, 0)]`` for rows u, F the gradient: in z, and in x where ``transposed``.

        v is zero or, ``beside_hypers``, the hyper of the row's number.
        """
        found = [np.zeros((len(rows), np.size(value))) for value in self._recorded.values]
        for part in self._blocks(len(rows), self._n_hyper if beside_hypers else 1):
            hypers = unit_rows(part, self._n_hyper) if beside_hypers else None
            steps = np.tile(step, (part.stop - part.start, 1))
            for out, c in zip(found, self._mixed(rows[part], hypers, steps), strict=True):
                out[part] = c
        return found


class NewtonStep:
    """A full Newton step, with what a :class:`vittles_ng.unrolling.steps.GradientStep` has.

    Raises
    ------
    NotPositiveDefiniteError
        The Hessian is not positive definite.
    """

    #: of a step's derivative along one direction, in products with second derivatives
    n_products = 1 + _MIXED_COST

    def __init__(self, equation, state, mode):
        self.at = state[0]
        self.derivatives = Derivatives(equation, self.at, mode == "reverse")
        self.gradient = self.derivatives.gradient
        self._factor = DenseCholesky(self.derivatives.hessian())
        self._step = self._factor.solve(self.gradient)

    def after(self):
        """The next iterate."""
        return self.at - self._step

    def pushed(self, jacobian, previous):
        """Jacobian of the next iterate."""
        right = self.derivatives.pushed(jacobian)
        right -= self.derivatives.mixed(jacobian.T, self._step, beside_hypers=True)[0].T
        after = self._factor.solve(right)
        return np.subtract(jacobian, after, out=after)

    def pulled(self, rows, carried):
        """As :meth:`GradientStep.pulled`; nothing is carried, and there is no penalty."""
        through = self._factor.solve(rows.T).T
        of_input, of_hyper = self.derivatives.pulled(through)
        mixed_input, mixed_hyper = self.derivatives.mixed(through, self._step)
        return rows - of_input + mixed_input, None, mixed_hyper - of_hyper, None
