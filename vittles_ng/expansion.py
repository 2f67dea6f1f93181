"""The engine: the Taylor expansion of an estimator in its hyperparameters, to any order, from one factorization.

Requires ``G(input_val0, hyper_val0) == 0``. Along a step d write ``input(t) = sum_k input_k t^k``. Then

    H input_k = -r_k,    H = dG/dinput at the base point,
    r_k = [t^k] G(input_0 + ... + input_{k-1} t^{k-1}, hyper_0 + t d),

one solve with one factor per order; ``r_k`` comes from Taylor arithmetic over a tape recorded once (Griewank & Walther,
"Evaluating Derivatives", ch. 13; Giordano, Jordan, Broderick, arXiv 1907.12116).
"""

import math

import numpy as np

from .errors import NonFiniteError, NotASolutionError, NotPositiveDefiniteError, VittlesError
from .problem import Problem
from .recursion import Recursion
from .solvers import ConjugateGradient, as_solver, choose_solver

__all__ = ["ParametricSensitivityTaylorExpansion"]

_OPTIMUM_TOL = 1e-8
_MAX_POLISH = 30
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


class ParametricSensitivityTaylorExpansion:
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
    solver : {"auto", "cholesky", "lu", "cholmod", "superlu", "cg"}, default="auto"
        How ``H`` is solved with: "auto" is LU here and Cholesky for an objective; "cg" is matrix-free.
    sparsity : None
        Only dense Hessians are formed.

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
        problem = Problem(estimating_equation, input_val0, hyper_val0, is_objective=False)
        self._build(problem, order, hess_solver, optimum_tol, solver, sparsity)

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
        problem = Problem(objective_function, input_val0, hyper_val0, is_objective=True)
        self = cls.__new__(cls)
        if polish_optimum:
            if hess0 is not None:
                raise ValueError("hess0 belongs to input_val0, which polish_optimum=True moves: pass one of the two.")
            problem = _polished(problem, solver)
        self._build(problem, order, hess0, optimum_tol, solver, sparsity)
        return self

    def _build(self, problem, order, hess_solver, optimum_tol, solver, sparsity):
        self._order = _checked_order(order)
        if sparsity is not None:
            raise NotImplementedError(
                f"sparsity={sparsity!r}: only dense Hessians are formed; pass sparsity=None, "
                "or a factor as hess_solver."
            )
        # vittles' sixth positional argument was forward_mode: True would pass for a tolerance of 1.
        if isinstance(optimum_tol, (bool, np.bool_)):
            raise TypeError(
                f"optimum_tol must be a number, got {optimum_tol}; vittles' forward_mode has no place here."
            )
        if not optimum_tol > 0:
            raise ValueError(f"optimum_tol must be positive, got {optimum_tol}.")
        self._problem = problem
        self.solver = _make_solver(problem, hess_solver, solver)
        problem.check_solution(self.solver.solve(problem.residual0), optimum_tol)
        self._recursion = Recursion(problem.recorded, self.solver, problem.input.size, problem.hyper.size)

    # ---- what it is ----

    @property
    def input_val0(self):
        """The base point's input, flat, (n_input,): a copy."""
        return self._problem.input.flat0.copy()

    @property
    def hyper_val0(self):
        """The base point's hyper, flat, (n_hyper,): a copy."""
        return self._problem.hyper.flat0.copy()

    def get_max_order(self):
        """The highest order that may be asked for."""
        return self._order

    def __repr__(self):
        return (
            f"<Taylor expansion of {self._problem.input.size} inputs in {self._problem.hyper.size} hypers, "
            f"order {self._order}, {self.solver.description}>"
        )

    # ---- evaluation ----

    def evaluate_taylor_series(self, new_hyper_val, add_offset=True, max_order=None, sum_terms=True):
        """The approximate solution at new hypers.

        Parameters
        ----------
        new_hyper_val : array_like of shape (n_hyper,) or (n_steps, n_hyper), or nested as ``hyper_val0``
            One new hyper or a batch of them. A batch of nested ones is an array, each row flattened with
            ``autograd.misc.flatten``.
        add_offset : bool, default=True
            Whether to add the base point; otherwise the change from it is returned.
        max_order : int, default=None
            Order to use, at most the expansion's; default: all.
        sum_terms : bool, default=True
            Whether to sum the terms.

        Returns
        -------
        ndarray of shape (n_input,) or (n_steps, n_input)
            Flat also where the input is nested: ``autograd.misc.flatten(input_val0)[1]`` nests a row again. With
            ``sum_terms=False`` the terms, (max_order + 1, [n_steps,] n_input), the base point (or zero) first.
        """
        terms = self.evaluate_taylor_series_terms(new_hyper_val, add_offset, max_order)
        return terms[::-1].sum(axis=0) if sum_terms else terms

    def evaluate_taylor_series_terms(self, new_hyper_val, add_offset=True, max_order=None):
        """The terms of the series, ``input_k t^k`` at t = 1; parameters of :meth:`evaluate_taylor_series`.

        Returns
        -------
        ndarray of shape (max_order + 1, [n_steps,] n_input)
        """
        max_order = self._checked_max_order(max_order)
        new, is_batch = self._problem.hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        terms = np.empty((max_order + 1, len(new), self._problem.input.size))
        terms[0] = self._problem.input.flat0 if add_offset else 0.0
        self._recursion.terms(new, self._problem.hyper.flat0, terms[1:])
        _check_no_overflow(terms)
        return terms if is_batch else terms[:, 0]

    def evaluate_input_derivs(self, dhyper, max_order=None):
        """Directional derivatives ``d^k input(hyper_val0 + t dhyper) / dt^k`` at t = 0.

        Parameters
        ----------
        dhyper : array_like of shape (n_hyper,)
            The direction.
        max_order : int, default=None

        Returns
        -------
        list of ndarray of shape (n_input,)
            Orders 1 to ``max_order``, k!-scaled.
        """
        max_order = self._checked_max_order(max_order)
        direction = self._problem.hyper.flatten(dhyper, "dhyper")
        terms = np.empty((max_order, 1, self._problem.input.size))
        self._recursion.terms(direction[None, :], np.zeros_like(direction), terms)
        _check_no_overflow(terms)
        return [math.factorial(k) * terms[k - 1, 0] for k in range(1, max_order + 1)]

    def print_terms(self, k=None):
        """Not here: derivative terms are never formed; see :class:`vittles_ng.baselines.NestedJVPTaylorExpansion`."""
        raise TypeError(
            "print_terms: the engine forms no derivative terms; use vittles_ng.baselines.NestedJVPTaylorExpansion."
        )

    # ---- inside ----

    def _checked_max_order(self, max_order):
        if max_order is None:
            return self._order
        max_order = _checked_order(max_order, "max_order")
        if max_order > self._order:
            raise ValueError(f"max_order={max_order} exceeds the expansion's order {self._order}: expand to more.")
        return max_order


def _check_no_overflow(terms):
    if not np.all(np.isfinite(terms)):
        bad = np.flatnonzero(~np.isfinite(terms).all(axis=(0, 2)))
        order = int(np.argmin(np.isfinite(terms).all(axis=(1, 2))))
        raise NonFiniteError(
            f"terms overflow from order {order + 1} on for {bad.size} of {terms.shape[1]} steps, the first is step "
            f"{bad[0]}: such a step is far beyond any use of a series; leave it out or use a lower max_order."
        )


def _checked_order(order, name="order"):
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {order!r}.")
    if order < 1:
        raise ValueError(f"{name} must be at least 1, got {order}.")
    return int(order)


def _refuse(unsupported):
    """vittles' arguments that would be accepted and ignored."""
    if unsupported.pop("forward_mode", True) is not True:
        raise TypeError("forward_mode: the engine has one mode, Taylor arithmetic; leave the argument out.")
    for name in unsupported:
        if name in _REFUSED:
            raise TypeError(f"{name}: {_REFUSED[name]}.")
        raise TypeError(f"unexpected keyword argument '{name}'.")


def _make_solver(problem, given, solver):
    """The factor of H at the problem's base point."""
    n = problem.input.size
    claims = {"symmetric": True, "positive_definite": True} if problem.is_objective else {}
    if given is not None:
        given = as_solver(given, n, matrix=problem.jacobian_product, solver=solver, **claims)
        if problem.is_objective:
            _check_positive(given)
        return given
    if solver == "cg":
        if not problem.is_objective:
            raise ValueError("solver='cg' needs a symmetric matrix: use 'lu' for an estimating equation.")
        return ConjugateGradient(problem.jacobian_product, n)
    return choose_solver(problem.jacobian(), solver, **claims)


def _check_positive(solver):
    """Raise if a given solver shows a direction of negative curvature; a factored matrix has been checked wholly."""
    v = np.random.default_rng(2).standard_normal((solver.n, 4))
    curvature = np.einsum("ij,ij->j", v, solver.solve(v))
    if not np.all(curvature > 0.0):
        raise NotPositiveDefiniteError(
            f"the solver given has v . H^-1 v = {np.min(curvature):.1e} for a random v: the base point is no minimum, "
            "saddle or not identified; at a maximum pass the negative of the objective."
        )


def _polished(problem, solver):
    """The problem at its minimum: Newton steps, halved while they do not decrease the residual's Newton step."""
    best = None
    for _ in range(_MAX_POLISH):
        factor = _make_solver(problem, None, solver)
        step = factor.solve(problem.residual0)
        size = float(np.max(np.abs(step) / (1.0 + np.abs(problem.input.flat0))))
        if size <= 4.0 * np.finfo(float).eps or (best is not None and size <= 1e-10 and size >= 0.5 * best):
            return problem
        best = size if best is None else min(best, size)
        problem = _line_search(problem, step)
    raise NotASolutionError(
        f"polishing did not reach a minimum in {_MAX_POLISH} Newton steps (the last step was {size:.1e} relative): "
        "start closer, or check that the objective has a minimum."
    )


def _line_search(problem, step):
    """The problem at ``input - t step``, t = 1, 1/2, ... until the objective does not grow (Armijo)."""
    slope, t = float(problem.residual0 @ step), 1.0
    while t > 1e-6:
        try:
            trial = problem.at(problem.input.flat0 - t * step)
        except (VittlesError, FloatingPointError):
            t /= 2.0
            continue
        rounding = 1e-12 * (1.0 + abs(problem.objective0))
        if trial.objective0 <= problem.objective0 - 1e-4 * t * slope + rounding:
            return trial
        t /= 2.0
    raise NotASolutionError("polishing: no step length decreases the objective; check that it has a minimum.")
