"""The inner problem at one hyper after another, each started from the Taylor prediction of the last.

The last point has an expansion; its series predicts the minimum at the next hyper, two chord steps tell how good the
prediction is, and where it is not good enough it is polished, with the same factor while that serves. There a new
expansion is made.
"""

import autograd.numpy as anp
import numpy as np

from ..errors import NonFiniteError, VittlesError
from ..expansion import ParametricSensitivityTaylorExpansion
from ..problem import Structure
from ..recursion import checked_positive
from ..trust import refit

__all__ = ["InnerProblem", "Variables"]

#: Error of an input that is said to be solved for, and Newton decrement of its base point.
_TIGHT = 1e-6
#: Tolerance of a schedule that rounding allows.
_LEAST = 1e-14


class Variables:
    """Hypers as they are optimised: some by their logarithms.

    Parameters
    ----------
    hyper_val0 : array_like, dict, list or tuple
    log : bool or array_like of bool of shape (n_hyper,)
        Which of the flat hypers to optimise by their logarithms.
    """

    def __init__(self, hyper_val0, log):
        self.structure = Structure(hyper_val0, "hyper_val0")
        log = np.asarray(log)
        if log.dtype != bool or log.shape not in ((), (self.structure.size,)):
            raise ValueError(
                f"log is {log.dtype} of shape {log.shape}: True, False, or one of them for each of the "
                f"{self.structure.size} hypers is needed."
            )
        self.log = np.broadcast_to(log, self.structure.size).copy()
        flat = self.structure.flat0
        if np.any(flat[self.log] <= 0.0):
            worst = int(np.flatnonzero(self.log & (flat <= 0.0))[0])
            raise ValueError(f"hyper {worst} is {flat[worst]:.3g}: one that is optimised by its logarithm is positive.")
        self.start = self.of_hyper(flat)

    def of_hyper(self, flat):
        """Variables of flat hypers."""
        variables = np.array(flat, dtype=np.float64)
        with np.errstate(divide="ignore"):
            variables[self.log] = np.log(variables[self.log])
        return variables

    def hyper(self, variables):
        """Flat hypers, which may be traced, of variables."""
        if self.log.all():
            return anp.exp(variables)
        if not self.log.any():
            return variables
        # no exponential of what is none: it may overflow
        return anp.where(self.log, anp.exp(self.log * variables), variables)

    def function(self, function):
        """A function of (input, hyper) as one of (input, variables)."""
        return lambda z, variables: function(z, self.structure.unflatten(self.hyper(variables)))


class InnerProblem:
    """Minima of an inner objective.

    Parameters
    ----------
    objective : callable
        Of (input, variables).
    input_val0 : array_like, dict, list or tuple
        Where to start at the first variables.
    order : int
        Of the prediction; 0 starts from the last solution.
    solver, sparsity
        Of the expansion.

    Attributes
    ----------
    expansion : ParametricSensitivityTaylorExpansion or None
        At the last solution.
    n_solves, n_evaluations, n_polished : int
        Inner problems solved; runs of the objective under autograd; predictions that were polished.
    input_error : float or ndarray of shape (n_input,)
        Estimated error of the last solution, 0 where it was solved to rounding.
    """

    def __init__(self, objective, input_val0, order, solver, sparsity):
        self._objective, self._input_val0, self._order = objective, input_val0, order
        self._options = {"solver": solver, "sparsity": sparsity}
        self.expansion, self.n_solves, self.n_evaluations, self.n_polished = None, 0, 0, 0
        self.input_error = 0.0

    def _counted(self, z, variables):
        self.n_evaluations += 1
        return self._objective(z, variables)

    def solve(self, variables, tolerance=None):
        """The expansion at the minimum for some variables.

        Parameters
        ----------
        variables : ndarray of shape (n,)
        tolerance : float, default=None
            Largest error of the input, relative to ``1 + max|input|``, for a prediction to be taken as it is; exact if
            None.

        Raises
        ------
        NotASolutionError
            No minimum is found.
        """
        self.n_solves += 1
        self.input_error = 0.0
        if self.expansion is None:
            self.expansion = self._expanded(self._input_val0, variables, polish=True)
        elif tolerance is None or not self._taken(variables, tolerance):
            self._polish(variables)
        return self.expansion

    def _expanded(self, value, variables, polish=False, optimum_tol=1e-8):
        return ParametricSensitivityTaylorExpansion.optimization_objective(
            self._counted, value, variables, max(self._order, 1), None, optimum_tol, polish, **self._options
        )

    def _taken(self, variables, tolerance):
        """Whether the prediction is good to the tolerance, and taken as the solution."""
        found = self._predicted(variables, tolerance)
        if found is None or not found.trusted:
            return False
        try:
            self.expansion = self._expanded(self._unflattened(found.value), variables, optimum_tol=np.inf)
        except VittlesError:  # near a minimum, but the Hessian need not be positive definite yet
            return False
        self.input_error = found.error_estimate
        return True

    def _polish(self, variables):
        self.n_polished += 1
        found = self._predicted(variables)
        if found is None or found.positive_definite is False or not _relative_error(found) <= _TIGHT:
            # damped Newton steps need no contraction
            start = self._unflattened(self.expansion.input_val0)
            self.expansion = self._expanded(start, variables, polish=True, optimum_tol=_TIGHT)
        else:
            self.expansion = self._expanded(self._unflattened(found.value), variables, optimum_tol=_TIGHT)

    def _unflattened(self, value):
        return self.expansion._problem.input.unflatten(value)

    def _predicted(self, variables, tolerance=None):
        """The refit, polished where no tolerance is given; None where the objective is not defined."""
        here = self.expansion.input_val0
        tol = None
        if tolerance is not None:
            tolerance = checked_positive(
                tolerance, f"the tolerance that the schedule gave at inner solve {self.n_solves}"
            )
            tol = max(tolerance, _LEAST) * (1.0 + float(np.max(np.abs(here))))
        try:
            if self._order:
                return self.expansion.refit(variables, tol, polish=tolerance is None)
            problem, solver = self.expansion._problem, self.expansion.solver
            still = np.array([here, np.zeros_like(here)])
            return refit(problem, solver, still, variables[None, :], tol, polish=tolerance is None)
        except NonFiniteError:
            return None


def _relative_error(found):
    return float(np.max(found.error_estimate)) / (1.0 + float(np.max(np.abs(found.value))))
