"""The linear system ``H adjoint = F_input`` of a hypergradient: by a factor, or by conjugate gradients."""

import numpy as np

from ..errors import NotPositiveDefiniteError
from ..solvers import ConjugateGradient
from .spectrum import Extremes, extreme_eigenvalues

__all__ = ["FactorSystem", "IterativeSystem"]

_ROUGH_RTOL, _LEAST_RTOL, _MOST_RTOL = 1e-4, 1e-14, 1e-1
#: Relative error of a solution that serves an estimate of an error.
_ROUGH_ERROR = 1e-3


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

    def _conjugate_gradient(self, rtol):
        n = self._derivatives.input_val.size
        return ConjugateGradient(self._product, n, self._preconditioner, rtol=rtol)

    def _product(self, v):
        return self._derivatives.hessian(v)

    def solve(self, rhs):
        """The solution to a thousandth of its norm, for estimates of errors."""
        size = float(np.linalg.norm(rhs))
        if size == 0.0:
            return np.zeros_like(rhs)
        solution = self._conjugate_gradient(_ROUGH_RTOL).solve(rhs)
        # |error| <= |residual| / smallest: along eigenvectors of small eigenvalues it is large
        smallest = self.extremes.smallest if self.extremes.smallest > 0.0 else self.extremes.smallest_at_most
        length = float(np.linalg.norm(solution))
        rtol = max(_ROUGH_ERROR * smallest * length / size, self._reachable(length) / size, _LEAST_RTOL)
        return solution if rtol >= _ROUGH_RTOL else self._conjugate_gradient(rtol).solve(rhs)

    def solve_to(self, rhs, residual_norm):
        """The solution to a residual, or as near to it as the products' accuracy lets it come."""
        size = float(np.linalg.norm(rhs))
        if size == 0.0:
            return np.zeros_like(rhs)
        reachable = self._reachable(float(np.linalg.norm(self.solve(rhs)))) if self._is_inexact else 0.0
        rtol = float(np.clip(max(residual_norm, reachable) / size, _LEAST_RTOL, _MOST_RTOL))
        return self._conjugate_gradient(rtol).solve(rhs)

    def _reachable(self, length):
        """The residual of a solution of that length at which rounding of the products stops the iteration."""
        return 4.0 * self._derivatives.accuracy * self.extremes.largest * length if self._is_inexact else 0.0

    @property
    def _is_inexact(self):
        return self._derivatives.accuracy > 4.0 * np.finfo(float).eps
