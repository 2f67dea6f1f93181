"""The linear system ``H adjoint = F_input`` of a hypergradient: by a factor, or by conjugate gradients."""

import numpy as np

from ..errors import NotPositiveDefiniteError
from ..solvers import ConjugateGradient
from .spectrum import Extremes, extreme_eigenvalues

__all__ = ["FactorSystem", "IterativeSystem"]

_ROUGH_RTOL, _LEAST_RTOL, _MOST_RTOL = 1e-4, 1e-14, 1e-1


class FactorSystem:
    """Solves with a factor of H.

    Parameters
    ----------
    derivatives : ExactDerivatives or DifferenceDerivatives
    solver : object with ``solve``
    """

    def __init__(self, derivatives, solver):
        self.solve = solver.solve
        n = derivatives.input_val.size
        largest = extreme_eigenvalues(derivatives.hessian, n, "largest").largest
        smallest = 1.0 / extreme_eigenvalues(solver.solve, n, "largest").largest
        self.extremes = Extremes(smallest, largest, smallest)

    def solve_to(self, rhs, residual_norm):
        """The solution, to rounding whatever residual is asked for."""
        return self.solve(rhs)


class IterativeSystem:
    """Solves by conjugate gradients, with products alone.

    Parameters
    ----------
    derivatives : ExactDerivatives or DifferenceDerivatives
    preconditioner : solver or callable, default=None
        Of :class:`~vittles_ng.solvers.ConjugateGradient`.

    Raises
    ------
    NotPositiveDefiniteError
        H has an eigenvalue that is negative, or zero to working precision.
    """

    def __init__(self, derivatives, preconditioner=None):
        self._derivatives, self._preconditioner = derivatives, preconditioner
        n = derivatives.input_val.size
        self.extremes = extreme_eigenvalues(derivatives.hessian, n)
        limit = n * derivatives.accuracy * self.extremes.largest
        if not self.extremes.smallest_at_most > limit:
            raise NotPositiveDefiniteError(
                f"the Hessian's smallest eigenvalue is {self.extremes.smallest_at_most:.1e}, the largest "
                f"{self.extremes.largest:.1e}: saddle, or a parameter that is not identified: move input_val to a "
                "minimum, or add a penalty."
            )
        self._rough = self._conjugate_gradient(_ROUGH_RTOL)

    def _conjugate_gradient(self, rtol):
        n = self._derivatives.input_val.size
        return ConjugateGradient(self._product, n, self._preconditioner, rtol=rtol)

    def _product(self, v):
        return self._derivatives.hessian(v)

    def solve(self, rhs):
        """The solution to four digits of the residual, for estimates of errors."""
        return self._rough.solve(rhs)

    def solve_to(self, rhs, residual_norm):
        """The solution to a residual, or as near to it as the products' accuracy lets it come."""
        size = float(np.linalg.norm(rhs))
        if size == 0.0:
            return np.zeros_like(rhs)
        rtol = residual_norm / size
        accuracy = self._derivatives.accuracy
        if accuracy > 4.0 * np.finfo(float).eps:
            # rounding of the products stops the iteration there
            reachable = accuracy * self.extremes.largest * np.linalg.norm(self.solve(rhs)) / size
            rtol = max(rtol, 4.0 * reachable)
        rtol = float(np.clip(rtol, _LEAST_RTOL, _MOST_RTOL))
        return self._conjugate_gradient(rtol).solve(rhs)
