"""The engine: the Taylor expansion of an estimator in its hyperparameters, to any order, from one factorization.

Requires ``G(input_val0, hyper_val0) == 0``. Along a step d write ``input(t) = sum_k input_k t^k``. Then

    H input_k = -r_k,    H = dG/dinput at the base point,
    r_k = [t^k] G(input_0 + ... + input_{k-1} t^{k-1}, hyper_0 + t d),

one solve with one factor per order; ``r_k`` comes from Taylor arithmetic over a tape recorded once (Griewank & Walther,
"Evaluating Derivatives", ch. 13; Giordano, Jordan, Broderick, arXiv 1907.12116).
"""

import numpy as np

from .base_point import BasePoint, polished
from .errors import NonFiniteError
from .functionals import FunctionalExpansion
from .recursion import Recursion, checked_integer
from .tensors import derivative_tensors, save_expansion
from .tensors.evaluation import Evaluation
from .trust import refit

__all__ = ["ParametricSensitivityTaylorExpansion"]

_OPTIMUM_TOL = 1e-8
_REFUSED = {
    **dict.fromkeys(
        ("max_input_order", "max_hyper_order"),
        "the engine never drops derivatives; use vittles_ng.baselines.NestedJVPTaylorExpansion",
    ),
    "force": "no derivative arrays are formed, nothing needs forcing; leave the argument out",
    "hess_solver": "for an objective this argument is called hess0",
    "hess0": "for an estimating equation this argument is called hess_solver",
    "polish_optimum": "an estimating equation is not polished; solve it to a tighter tolerance",
}
_DEFAULTS = {"max_input_order": None, "max_hyper_order": None, "force": False}


class ParametricSensitivityTaylorExpansion(Evaluation):
    """Taylor expansion of the solution of an estimating equation in its hyperparameters.

    Requires ``estimating_equation(input_val0, hyper_val0) == 0``. The user's function runs once, one factorization is
    made; both serve every order and every step.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input, hyper) -> (n_input,)`` written in ``autograd.numpy``; need not be a gradient. It must not keep state:
        arrays that it closes over must not be changed afterwards.
    input_val0 : array_like of shape (n_input,), or nested dict, list or tuple of arrays
        The solution at ``hyper_val0``; flattened in the order of ``autograd.misc.flatten``.
    hyper_val0 : array_like of shape (n_hyper,), or nested
        Where it was solved; a scalar counts as (1,), and is a scalar to the function.
    order : int
        Highest order that may be asked for, from 1.
    hess_solver : callable, solver or matrix, default=None
        ``v -> H^{-1} v``, an object with ``solve(rhs)``, or ``H`` itself; checked with one random vector. Default:
        ``H`` is formed from the tape and factored.
    optimum_tol : float, default=1e-8
        Largest Newton step allowed at the base point: ``|step_i| <= optimum_tol (1 + |input_i|)``.
    solver : {"auto", "cholesky", "lu", "cholmod", "superlu", "schur", "cg"} or options, default="auto"
        How ``H`` is solved with; "auto" looks at it, see :func:`vittles_ng.solvers.choose_solver`. "cg" is matrix-free,
        its options are those of :func:`vittles_ng.solvers.cg`.
    sparsity : None, "auto" or pattern, default=None
        Whether ``H`` is sparse: None for dense, "auto" for the pattern found on the tape, or a sparse matrix or array
        (n_input, n_input) of it (of an objective's Hessian one triangle is enough).

    Raises
    ------
    NotASolutionError
        The base point does not solve the equation; names the Newton step.
    SingularError, NotPositiveDefiniteError
        ``H`` cannot be solved with, or a claimed minimum is a saddle or not identified.
    IndependentError
        The equation does not depend on the input or on the hyper.
    NonSmoothError
        The equation is not differentiable at the base point.
    MissingRuleError
        The equation uses a primitive without a Taylor rule; see :func:`vittles_ng.defjet`.
    TypeError
        For vittles' arguments that have no meaning here.

    References
    ----------
    R. Giordano, M. I. Jordan, T. Broderick, "A Higher-Order Swiss Army Infinitesimal Jackknife", arXiv 1907.12116.

    Examples
    --------
    The solution of ``x exp(x) = eps`` (Lambert's W) at eps = e, expanded to order 6:

    >>> import numpy as np, autograd.numpy as anp
    >>> import vittles_ng as vn
    >>> expansion = vn.ParametricSensitivityTaylorExpansion(
    ...     lambda x, eps: x * anp.exp(x) - eps, input_val0=[1.0], hyper_val0=[np.e], order=6)
    >>> expansion.evaluate_taylor_series([3.0]).round(6)
    array([1.049909])
    """

    def __init__(
        self,
        estimating_equation,
        input_val0,
        hyper_val0,
        order,
        hess_solver=None,
        optimum_tol=_OPTIMUM_TOL,
        solver="auto",
        sparsity=None,
        **unsupported,
    ):
        _refuse(unsupported)
        problem = BasePoint(estimating_equation, input_val0, hyper_val0, False, solver, sparsity)
        self._build(problem, order, hess_solver, optimum_tol)

    @classmethod
    def optimization_objective(
        cls,
        objective_function,
        input_val0,
        hyper_val0,
        order,
        hess0=None,
        optimum_tol=_OPTIMUM_TOL,
        polish_optimum=False,
        solver="auto",
        sparsity=None,
        **unsupported,
    ):
        """Expansion of a minimum of an objective.

        Requires ``input_val0`` to minimise ``objective_function(., hyper_val0)``: the Hessian there must be positive
        definite, the Newton decrement small.

        Parameters
        ----------
        objective_function : callable
            ``objective(input, hyper) -> scalar``, written in ``autograd.numpy``.
        hess0 : ndarray of shape (n_input, n_input), default=None
            The Hessian at the base point where it is known, or what solves with it (the constructor's
            ``hess_solver``); checked with one random vector.
        optimum_tol : float, default=1e-8
            Largest Newton decrement ``sqrt(g^T H^{-1} g)`` allowed, relative to ``sqrt(1 + |objective|)``.
        polish_optimum : bool, default=False
            Whether to go on to the optimum by Newton steps first; the base point is then the polished one (a new tape,
            a new factor), see ``input_val0``.

        The other parameters are the constructor's.

        Examples
        --------
        Ridge regression in its penalty; the exact solution at 1.5 beside it:

        >>> import numpy as np, autograd.numpy as anp
        >>> import vittles_ng as vn
        >>> x = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]); y = np.array([1.0, 2.0, 4.0])
        >>> ridge = lambda b, penalty: anp.sum((y - x @ b) ** 2) + penalty * anp.sum(b ** 2)
        >>> solve = lambda penalty: np.linalg.solve(x.T @ x + penalty * np.eye(2), x.T @ y)
        >>> expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
        ...     ridge, solve(1.0), 1.0, order=8)
        >>> np.abs(expansion.evaluate_taylor_series(1.5) - solve(1.5)).max() < 1e-4
        np.True_
        """
        _refuse(unsupported)
        problem = BasePoint(objective_function, input_val0, hyper_val0, True, solver, sparsity)
        self = cls.__new__(cls)
        if polish_optimum:
            if hess0 is not None:
                raise ValueError("hess0 belongs to input_val0, which polish_optimum=True moves: pass one of the two.")
            problem = polished(problem)
        self._build(problem, order, hess0, optimum_tol)
        return self

    @staticmethod
    def from_black_box(estimating_equation, input_val0, hyper_val0, order, **options):
        """Expansion, to order 3 at most, of an equation that autograd cannot trace, by finite differences.

        Parameters are those of :class:`~vittles_ng.black_box.BlackBoxTaylorExpansion`, which is returned; its ``refit``
        reports the error of the differences with the rest.

        Examples
        --------
        >>> import math
        >>> import vittles_ng as vn
        >>> expansion = vn.ParametricSensitivityTaylorExpansion.from_black_box(
        ...     lambda x, eps: [x[0] * math.exp(x[0]) - eps[0]], [1.0], [math.e], order=3)
        >>> expansion.evaluate_taylor_series([2.8]).round(5)
        array([1.01486])
        """
        from .black_box import BlackBoxTaylorExpansion  # a subclass of this class

        return BlackBoxTaylorExpansion(estimating_equation, input_val0, hyper_val0, order, **options)

    def _build(self, problem, order, hess_solver, optimum_tol):
        super().__init__(problem.input.flat0, problem.hyper, checked_integer(order, "order", 1))
        # vittles' sixth positional argument was forward_mode: True would pass for a tolerance of 1.
        if isinstance(optimum_tol, (bool, np.bool_)):
            raise TypeError(
                f"optimum_tol must be a number, got {optimum_tol}; vittles' forward_mode has no place here."
            )
        if not optimum_tol > 0:
            raise ValueError(f"optimum_tol must be positive, got {optimum_tol}.")
        self._problem = problem
        if hess_solver is None:
            self.solver = problem.factored()
        else:
            problem.with_pattern_of(hess_solver)
            self.solver = problem.solver_given(hess_solver)
        problem.check_solution(self.solver.solve(problem.residual0), optimum_tol)
        self._recursion = Recursion(problem.recorded, self.solver, problem.input.size, problem.hyper.size)

    def __repr__(self):
        return (
            f"<Taylor expansion of {self._problem.input.size} inputs in {self._problem.hyper.size} hypers, "
            f"order {self._order}, {self.solver.description}>"
        )

    # ---- how far it can be trusted ----

    def refit(self, new_hyper_val, tol=None, polish=False, max_order=None):
        """The approximate solution at new hypers with a verdict, and on request the exact one.

        The estimating equation is called at the new point, and two chord steps with the expansion's own factor give the
        contraction and an error estimate: evidence at the new point, whatever the series looks like.

        Parameters
        ----------
        new_hyper_val : array_like of shape (n_hyper,) or (n_steps, n_hyper), or nested as ``hyper_val0``
        tol : float, default=None
            Absolute bound on the largest component of the error estimate for a value to be trusted; default
            ``1e-3 max|value - input_val0|``.
        polish : bool, default=False
            Whether to go on to the exact refit, with the same factor.
        max_order : int, default=None
            Order of the series; default: all.

        Returns
        -------
        Refit
            For a batch one whose fields have a leading step axis.

        Raises
        ------
        NonFiniteError
            One new hyper at which the equation is not defined; in a batch such rows are marked.
        ValueError
            ``tol`` is not positive, or below rounding.

        Examples
        --------
        >>> import autograd.numpy as anp
        >>> import vittles_ng as vn
        >>> expansion = vn.ParametricSensitivityTaylorExpansion(lambda x, eps: anp.exp(x) - eps, 0.0, 1.0, order=4)
        >>> near, far = expansion.refit(1.1), expansion.refit(3.0)
        >>> bool(near.trusted), bool(far.trusted)
        (True, False)
        """
        return self._refit(new_hyper_val, tol, polish, max_order)

    def _refit(self, new_hyper_val, tol, polish, max_order=None, judge=None):
        """:meth:`refit`, with a judge of polished minima; see :func:`vittles_ng.polish.polish`."""
        max_order = self._checked_max_order(max_order)
        new, is_batch = self._hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        terms = np.empty((max_order + 1, len(new), self._input_val0.size))
        terms[0] = self._input_val0
        try:
            self._terms(new, self._hyper.flat0, terms[1:])
        except NonFiniteError:
            if not is_batch:
                raise
            self._terms_row_by_row(new, terms[1:])
        return refit(self._problem, self.solver, terms if is_batch else terms[:, 0], new, tol, polish, judge)

    def derivative_tensor(self, k):
        """The derivative ``d^k input / d hyper^k``, exactly symmetric in its hyper axes.

        Parameters
        ----------
        k : int
            From 0 (the base point itself) to the expansion's order.

        Returns
        -------
        ndarray of shape (n_input, n_hyper, ..., n_hyper)
            k!-scaled, as a derivative is.

        Raises
        ------
        ValueError
            ``k`` is negative or above the order.
        SizeError
            The tensor would not fit in memory; names its size.

        References
        ----------
        A. Griewank, J. Utke, A. Walther, Math. Comp. 69 (2000) 1117.

        Examples
        --------
        >>> import autograd.numpy as anp
        >>> import vittles_ng as vn
        >>> expansion = vn.ParametricSensitivityTaylorExpansion(
        ...     lambda x, h: x - h[0] * h[1] ** 2, [4.0], [1.0, 2.0], order=2)
        >>> expansion.derivative_tensor(2)
        array([[[0., 4.],
                [4., 2.]]])
        """
        k = checked_integer(k, "k", 0)
        if k > self._order:
            raise ValueError(f"k={k} exceeds the expansion's order {self._order}: expand to more.")
        if k == 0:
            return self.input_val0
        return derivative_tensors(self._recursion, self._input_val0, self._hyper, k).tensor(k)

    def functional(self, fun):
        """The expansion of a quantity of interest along the solution.

        Parameters
        ----------
        fun : callable
            ``fun(input, hyper)`` or ``fun(input)``, a scalar or an array, written in ``autograd.numpy``.

        Returns
        -------
        FunctionalExpansion
            With ``evaluate_taylor_series`` and, by one adjoint solve, ``gradient``.

        Examples
        --------
        >>> import autograd.numpy as anp
        >>> import vittles_ng as vn
        >>> expansion = vn.ParametricSensitivityTaylorExpansion(lambda x, eps: anp.exp(x) - eps, 0.0, 1.0, order=4)
        >>> odds = expansion.functional(lambda x, eps: anp.exp(x))  # which is eps itself
        >>> float(odds.evaluate_taylor_series(1.5))
        1.5
        """
        return FunctionalExpansion(self._problem, self.solver, self._recursion, self._order, fun)

    def save(self, file, directions=None):
        """Save the series for evaluation without the user's function, the data or the model.

        Parameters
        ----------
        file : str or path
            Written as ``.npz``; :func:`vittles_ng.load` reads it.
        directions : array_like of shape (n_directions, n_hyper), default=None
            Directions to save the series along, where the tensors of all of them would be too large.

        Raises
        ------
        SizeError
            The tensors would be too large; names their size.
        """
        save_expansion(file, self._recursion, self._input_val0, self._hyper, self._order, directions)

    def print_terms(self, k=None):
        """Not here: derivative terms are never formed; see :class:`vittles_ng.baselines.NestedJVPTaylorExpansion`."""
        raise TypeError(
            "print_terms: the engine forms no derivative terms; use vittles_ng.baselines.NestedJVPTaylorExpansion."
        )

    def _terms(self, new, origin, out):
        self._recursion.terms(new, origin, out)

    def _terms_row_by_row(self, new, out):
        """The terms of a batch in which some direction has no series: NaN for that one, so that it is marked."""
        for i in range(len(new)):
            try:
                self._terms(new[i : i + 1], self._hyper.flat0, out[:, i : i + 1])
            except NonFiniteError:
                out[:, i] = np.nan


def _refuse(unsupported):
    """vittles' arguments that would be accepted and ignored; its defaults, which ask for nothing, may stand."""
    if unsupported.pop("forward_mode", True) is not True:
        raise TypeError("forward_mode: the engine has one mode, Taylor arithmetic; leave the argument out.")
    for name in (name for name, value in unsupported.items() if name not in _DEFAULTS or value is not _DEFAULTS[name]):
        if name in _REFUSED:
            raise TypeError(f"{name}: {_REFUSED[name]}.")
        raise TypeError(f"unexpected keyword argument '{name}'.")
