"""Linear approximation of a solution or an optimum in its hypers, in the names of vittles.

Requires ``G(input_val0, hyper_val0) == 0``. The approximation is ``input0 + (d input / d hyper) (hyper - hyper0)`` with
``d input / d hyper = -H^{-1} G_hyper`` (the implicit function theorem; Giordano et al., "A Swiss Army Infinitesimal
Jackknife", arXiv 1806.00550). For orders above one, batches of many hypers and verdicts there is
:class:`~vittles_ng.ParametricSensitivityTaylorExpansion`.
"""

from ..base_point import BasePoint
from ..problem import Structure
from ..recursion import checked_positive
from .checks import SharedParts, check_newton_step
from .location import Location, solved_minimum
from .solution_function import solution_function
from .solver_functions import unwrapped

__all__ = ["EstimatingEquationLinearApproximation", "HyperparameterSensitivityLinearApproximation"]


class EstimatingEquationLinearApproximation(SharedParts):
    """Linear approximation of the solution of an estimating equation in its hyper.

    Requires ``estimating_equation(input_val0, hyper_val0) == 0``.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input, hyper) -> (n_input,)``, written in ``autograd.numpy``; need not be a gradient.
    input_val0 : array_like of shape (n_input,), or nested
        The solution at ``hyper_val0``.
    hyper_val0 : array_like of shape (n_hyper,), or nested
    hess_solver : callable, solver or matrix, default=None
        ``v -> H^{-1} v`` with ``H = dG/dinput`` at the base point, or ``H`` itself; checked with one random vector.
        Default: ``H`` is formed from the tape and factored.
    validate_solution : bool, default=False
        Whether to check that the base point is a solution.
    estimating_equation_jac0 : array_like of shape (n_input, n_hyper), default=None
        ``dG/dhyper`` at the base point; checked along one random direction. Default: from the equation.
    hyper_par_estimating_equation : callable, default=None
        The part of ``estimating_equation`` that depends on the hyper, where it is cheaper to differentiate; checked
        along one random direction against the whole.
    solution_tol : float, default=1e-8
        Largest Newton step ``|step_i| / (1 + |input_i|)`` that passes for a solution.

    Raises
    ------
    NotASolutionError
        ``validate_solution`` and the base point is no solution.
    SolveFailed, SingularError
        The solver given does not solve with ``H``; ``H`` cannot be solved with.
    MismatchError
        What is given contradicts the equation.
    IndependentError, NonFiniteError, ShapeError, MissingRuleError
        As for an expansion.

    References
    ----------
    R. Giordano, W. Stephenson, R. Liu, M. I. Jordan, T. Broderick, "A Swiss Army Infinitesimal Jackknife", arXiv
    1806.00550.

    Examples
    --------
    The solution of ``x exp(x) = eps`` at eps = e has the derivative ``1 / (2 e)``:

    >>> import numpy as np, autograd.numpy as anp
    >>> from vittles_ng.linear import EstimatingEquationLinearApproximation
    >>> approximation = EstimatingEquationLinearApproximation(
    ...     lambda x, eps: x * anp.exp(x) - eps, np.array([1.0]), np.array([np.e]), lambda v: v / (2 * np.e))
    >>> approximation.predict_input_par_from_hyper_par(np.array([3.0])).round(4)
    array([1.0518])
    """

    _is_objective = False
    _names = {
        "input": "input_val0",
        "hyper": "hyper_val0",
        "tol": "solution_tol",
        "cross": "estimating_equation_jac0",
        "part": "hyper_par_estimating_equation",
    }

    def __init__(
        self,
        estimating_equation,
        input_val0,
        hyper_val0,
        hess_solver=None,
        validate_solution=False,
        estimating_equation_jac0=None,
        hyper_par_estimating_equation=None,
        solution_tol=1e-8,
    ):
        self._function, self._part, self._tol = estimating_equation, hyper_par_estimating_equation, solution_tol
        self._locate(input_val0, hyper_val0, hess_solver, estimating_equation_jac0, validate_solution, None)

    def __repr__(self):
        problem, solver = self._location.problem, self._location.solver
        return (
            f"<linear approximation of {problem.input.size} inputs in {problem.hyper.size} hypers, "
            f"{solver.description}>"
        )

    def set_location(
        self,
        input_val0,
        hyper_val0,
        estimating_equation_jac0=None,
        validate_solution=True,
        solution_tol=None,
        hess_solver=None,
    ):
        """Move to another base point: a new tape and a new solver. Where that fails, the old one stays.

        Parameters
        ----------
        hess_solver : callable, solver or matrix, default=None
            For the new base point; the one given before belongs to the old. Default: formed and factored anew.

        The other parameters, and the errors, are the constructor's; ``solution_tol`` None is the constructor's value.
        """
        self._locate(input_val0, hyper_val0, hess_solver, estimating_equation_jac0, validate_solution, solution_tol)

    def _locate(self, input_val0, hyper_val0, hess_solver, cross0, validate, tol):
        names = self._names
        tol = checked_positive(self._tol if tol is None else tol, names["tol"], may_be_infinite=True)
        for value, name in ((input_val0, "input"), (hyper_val0, "hyper")):
            Structure(value, names[name])  # its errors, in the caller's words
        problem = BasePoint(self._function, input_val0, hyper_val0, self._is_objective)
        solver, matrix = self._solved(problem, hess_solver)
        if validate:
            at, objective0 = problem.input.flat0, problem.objective0
            check_newton_step(problem.residual0, at, solver, tol, names["tol"], objective0)
        self._location = Location(problem, solver, cross0, names["cross"], self._part, names["part"])
        self._matrix = matrix

    def _solved(self, problem, hess_solver):
        """The solver at a base point, and the matrix where it is of use later."""
        if hess_solver is None:
            return problem.factored(), None
        return problem.solver_given(unwrapped(hess_solver)), None

    def get_dinput_dhyper(self):
        """``d input / d hyper`` at the base point.

        Returns
        -------
        ndarray of shape (n_input, n_hyper)
            A copy.

        Raises
        ------
        SizeError
            It would not fit in memory.
        """
        return self._location.sensitivity.copy()

    def hess_solver(self):
        """The function ``v -> H^{-1} v`` at the base point."""
        return self._location.solver.solve

    def predict_input_par_from_hyper_par(self, new_hyper_par_value):
        """The linear approximation at new hypers; autograd can differentiate it, in any mode, at any of them.

        Parameters
        ----------
        new_hyper_par_value : array_like of shape (n_hyper,) or (n_steps, n_hyper), or nested as ``hyper_val0``

        Returns
        -------
        ndarray of shape (n_input,) or (n_steps, n_input)
            Flat also where the input is nested.
        """
        return self._location.predicted(new_hyper_par_value, "new_hyper_par_value")

    def get_input_par_function(self, order=1):
        """The solution as a function of the hyper that autograd can differentiate at the base point.

        Parameters
        ----------
        order : int, default=1
            Highest order of derivative that will be asked for. Forward and reverse mode nest in any way.

        Returns
        -------
        callable
            ``hyper -> input``, (n_input,). It raises ValueError away from the base point (by more than 1e-8 relative to
            ``1 + |hyper|``) and NotImplementedError for derivatives above the order. It may stand in the objective of
            another approximation or expansion.

        Raises
        ------
        SizeError
            The tensor of n_input n_hyper^order derivatives would not fit in memory.

        Examples
        --------
        The second derivative of the solution of ``x exp(x) = eps`` at eps = e is ``-3 / (8 e^2)``:

        >>> import numpy as np, autograd, autograd.numpy as anp
        >>> from vittles_ng.linear import EstimatingEquationLinearApproximation
        >>> approximation = EstimatingEquationLinearApproximation(
        ...     lambda x, eps: x * anp.exp(x) - eps, np.array([1.0]), np.array([np.e]))
        >>> solution = approximation.get_input_par_function(order=2)
        >>> second = autograd.hessian(lambda eps: solution(eps)[0])(np.array([np.e]))
        >>> bool(np.isclose(second[0, 0], -3 / (8 * np.e**2)))
        True
        """
        return solution_function(self._location, order)


class HyperparameterSensitivityLinearApproximation(EstimatingEquationLinearApproximation):
    """Linear approximation of a minimum in its hyper.

    Requires ``opt_par_value`` to minimise ``objective_fun(., hyper_par_value)``: the Hessian there must be positive
    definite.

    Parameters
    ----------
    objective_fun : callable
        ``objective(opt_par, hyper_par) -> scalar``, written in ``autograd.numpy``.
    opt_par_value : array_like of shape (n_input,), or nested
        The minimum at ``hyper_par_value``.
    hyper_par_value : array_like of shape (n_hyper,), or nested
    validate_optimum : bool, default=False
        Whether to check that the gradient is zero there.
    hessian_at_opt : array_like or sparse of shape (n_input, n_input), default=None
        The Hessian there; checked with one random vector. Default: formed from the tape.
    cross_hess_at_opt : array_like of shape (n_input, n_hyper), default=None
        The derivative of the gradient in the hyper; checked along one random direction. Default: from the objective.
    hyper_par_objective_fun : callable, default=None
        The terms of ``objective_fun`` that depend on the hyper, where they are cheaper to differentiate; checked along
        one random direction against the whole.
    grad_tol : float, default=1e-8
        Largest Newton step ``|step_i| / (1 + |opt_par_i|)`` that passes for an optimum, and largest Newton decrement
        ``sqrt(g^T H^{-1} g / (1 + |objective|))``, g the gradient, which is in no units of the parameters.

    Raises
    ------
    NotPositiveDefiniteError
        The Hessian is not positive definite: a saddle, a maximum, or a direction that is not identified.
    NotASolutionError, SolveFailed, MismatchError, IndependentError, NonFiniteError, ShapeError, MissingRuleError
        As for :class:`EstimatingEquationLinearApproximation`.

    References
    ----------
    R. Giordano, W. Stephenson, R. Liu, M. I. Jordan, T. Broderick, "A Swiss Army Infinitesimal Jackknife", arXiv
    1806.00550.

    Examples
    --------
    A weighted mean: leaving out the last of three values moves it by about ``-(6 - 3) / 3``.

    >>> import numpy as np, autograd.numpy as anp
    >>> from vittles_ng.linear import HyperparameterSensitivityLinearApproximation
    >>> y = np.array([1.0, 2.0, 6.0])
    >>> loss = lambda mean, weights: 0.5 * anp.sum(weights * (y - mean) ** 2)
    >>> approximation = HyperparameterSensitivityLinearApproximation(loss, np.array([3.0]), np.ones(3))
    >>> approximation.predict_opt_par_from_hyper_par(np.array([1.0, 1.0, 0.0]))
    array([2.])
    >>> approximation.get_dopt_dhyper().round(4)
    array([[-0.6667, -0.3333,  1.    ]])
    """

    _is_objective = True
    _names = {
        "input": "opt_par_value",
        "hyper": "hyper_par_value",
        "tol": "grad_tol",
        "cross": "cross_hess_at_opt",
        "part": "hyper_par_objective_fun",
    }

    def __init__(
        self,
        objective_fun,
        opt_par_value,
        hyper_par_value,
        validate_optimum=False,
        hessian_at_opt=None,
        cross_hess_at_opt=None,
        hyper_par_objective_fun=None,
        grad_tol=1e-8,
    ):
        self._function, self._part, self._tol = objective_fun, hyper_par_objective_fun, grad_tol
        self._locate(opt_par_value, hyper_par_value, hessian_at_opt, cross_hess_at_opt, validate_optimum, None)

    def set_base_values(
        self,
        opt_par_value,
        hyper_par_value,
        hessian_at_opt=None,
        cross_hess_at_opt=None,
        validate_optimum=True,
        grad_tol=None,
    ):
        """Move to another base point: a new tape and a new factor. Where that fails, the old one stays.

        The parameters, and the errors, are the constructor's; ``grad_tol`` None is the constructor's value.
        """
        self._locate(opt_par_value, hyper_par_value, hessian_at_opt, cross_hess_at_opt, validate_optimum, grad_tol)

    def _solved(self, problem, hess_solver):
        return solved_minimum(problem, hess_solver)

    def get_dopt_dhyper(self):
        """``d opt_par / d hyper_par`` at the base point, (n_input, n_hyper): a copy."""
        return self.get_dinput_dhyper()

    def get_hessian_at_opt(self):
        """The objective's Hessian at the base point, ndarray or sparse (n_input, n_input): a copy."""
        return self._matrix.copy()

    def predict_opt_par_from_hyper_par(self, new_hyper_par_value):
        """The linear approximation of the optimum at new hypers; autograd can differentiate it, at any of them.

        Parameters
        ----------
        new_hyper_par_value : array_like of shape (n_hyper,) or (n_steps, n_hyper), or nested as ``hyper_par_value``

        Returns
        -------
        ndarray of shape (n_input,) or (n_steps, n_input)
        """
        return self.predict_input_par_from_hyper_par(new_hyper_par_value)

    def get_opt_par_function(self, order=1):
        """The optimum as a function of the hyper that autograd can differentiate at the base point.

        Parameters
        ----------
        order : int, default=1
            Highest order of derivative that will be asked for; see :meth:`get_input_par_function`.

        Examples
        --------
        The gradient of a function of the optimum in the data weights:

        >>> import numpy as np, autograd, autograd.numpy as anp
        >>> from vittles_ng.linear import HyperparameterSensitivityLinearApproximation
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> loss = lambda mean, weights: 0.5 * anp.sum(weights * (y - mean) ** 2)
        >>> approximation = HyperparameterSensitivityLinearApproximation(loss, np.array([3.0]), np.ones(3))
        >>> mean = approximation.get_opt_par_function()
        >>> autograd.grad(lambda weights: anp.sum(mean(weights) ** 2))(np.ones(3))
        array([-4., -2.,  6.])
        """
        return self.get_input_par_function(order)
