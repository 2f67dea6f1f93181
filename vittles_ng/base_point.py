"""The base point of an expansion: its Jacobian, dense or sparse, the factor, and Newton's method to reach it.

A new base point is a new problem: a new tape and a new factor, because ``input_k = -H^{-1} r_k`` holds only with the H
of the tape's own point. What stays is the pattern: the directions that are probed, and the factor's symbolic analysis.
"""

import numpy as np
import scipy.sparse

from .adjoint import pulled_back
from .assembly import Assembly, checked_pattern
from .errors import NotASolutionError, NotPositiveDefiniteError, PatternError, VittlesError
from .problem import Problem
from .solvers import SOLVERS, CGOptions, Cholmod, Schur, as_solver, choose_solver, make_cg

__all__ = ["BasePoint", "descended", "polished"]

_MAX_POLISH, _MAX_HALVINGS = 30, 40
_ARMIJO = 1e-4


class BasePoint(Problem):
    """A problem and how its Jacobian is formed and solved with.

    Parameters
    ----------
    function, input_val0, hyper_val0, is_objective
        Of :class:`~vittles_ng.problem.Problem`.
    solver : str or CGOptions
        See :func:`~vittles_ng.solvers.choose_solver`.
    sparsity : None, "auto" or pattern
        None for a dense matrix, "auto" for the pattern that the tape shows, or a pattern (n_input, n_input).

    Attributes
    ----------
    assembly : Assembly or None
        How the sparse matrix is found; None for a dense one.
    """

    def __init__(self, function, input_val0, hyper_val0, is_objective, solver="auto", sparsity=None):
        if not isinstance(solver, CGOptions) and solver not in SOLVERS:
            raise ValueError(f"solver={solver!r} is not known: use one of {', '.join(map(repr, SOLVERS))}.")
        is_cg = solver == "cg" or isinstance(solver, CGOptions)
        if is_cg and not is_objective:
            raise ValueError("solver='cg' needs a symmetric matrix: use 'lu' or 'superlu' for an estimating equation.")
        if isinstance(sparsity, str) and sparsity != "auto":
            raise ValueError(f"sparsity={sparsity!r} is not known: use None, 'auto' or a pattern.")
        super().__init__(function, input_val0, hyper_val0, is_objective)
        self._solver, self._is_cg = solver, is_cg
        self._finds_pattern = isinstance(sparsity, str)
        self.assembly = None
        if sparsity is not None:
            self._assemble_by(self.recorded.pattern(0) if self._finds_pattern else sparsity)

    @property
    def is_matrix_free(self):
        """Whether the Jacobian is solved with by its products alone."""
        return self._is_cg

    def _assemble_by(self, pattern):
        self.assembly = Assembly(checked_pattern(pattern, self.input.size, self.is_objective), self.is_objective)

    def with_pattern_of(self, matrix):
        """The same base point with the pattern of a sparse matrix, where it has none of its own."""
        if self.assembly is None and scipy.sparse.issparse(matrix):
            self._assemble_by(matrix)

    def matrix(self):
        """``dG/dinput`` at the base point: a csc_array where there is a pattern, else an ndarray."""
        if self.assembly is None:
            return self.jacobian()
        try:
            return self.assembly.fill(self.jacobian_products, self._transposed_products)
        except PatternError:
            if not self._finds_pattern:
                raise
        # another branch of the user's function than where the pattern was found
        self._assemble_by(self.recorded.pattern(0))
        return self.assembly.fill(self.jacobian_products, self._transposed_products)

    def _transposed_products(self, rows):
        base = self.input.flat0, self.hyper.flat0
        return pulled_back(self, self.recorded, base, 0, rows)

    def factored(self, like=None, as_minimum=True):
        """The factor of the Jacobian.

        Parameters
        ----------
        like : Solver, default=None
            The factor at another base point, whose symbolic analysis is used again.
        as_minimum : bool, default=True
            Whether an objective's Hessian must be positive definite.
        """
        if self._is_cg and as_minimum:
            matrix = None if self.assembly is None else self.matrix()
            solver = make_cg(self._solver, self.jacobian_products, self.input.size, matrix, takes_rows=True)
            solver.check_definite()
            return solver
        matrix = self.matrix()
        if not (self.is_objective and as_minimum):
            return choose_solver(matrix, self._solver if as_minimum else "auto")
        if isinstance(like, (Cholmod, Schur)) and self.assembly is not None:
            return like.refactored(matrix)
        return choose_solver(matrix, self._solver, symmetric=True, positive_definite=True)

    def solver_given(self, given):
        """A solver from what the user gave: checked with random vectors against products from the tape."""
        claims = {"symmetric": True, "positive_definite": True} if self.is_objective else {}
        given = as_solver(given, self.input.size, matrix=self.jacobian_product, solver=self._solver, **claims)
        if self.is_objective:
            _check_positive(given)
        return given


def _check_positive(solver):
    """Raise if a given solver shows a direction of negative curvature; a factored matrix has been checked wholly."""
    v = np.random.default_rng(2).standard_normal((solver.n, 4))
    curvature = np.einsum("ij,ij->j", v, solver.solve(v))
    if not np.all(curvature > 0.0):
        raise NotPositiveDefiniteError(
            f"the solver given has v . H^-1 v = {np.min(curvature):.1e} for a random v: the base point is no minimum, "
            "saddle or not identified; at a maximum pass the negative of the objective."
        )


def polished(problem):
    """The problem at its minimum: Newton steps, halved while they do not decrease the residual's Newton step."""
    best = factor = None
    for _ in range(_MAX_POLISH):
        factor = problem.factored(factor)
        step = factor.solve(problem.residual0)
        size = float(np.max(np.abs(step) / (1.0 + np.abs(problem.input.flat0))))
        if size <= 4.0 * np.finfo(float).eps or (best is not None and size <= 1e-10 and size >= 0.5 * best):
            return problem
        best = size if best is None else min(best, size)
        problem = descended(problem, step)
        if problem is None:
            raise NotASolutionError(
                "polishing: no step length decreases the objective; check that it has a minimum, and is smooth."
            )
    raise NotASolutionError(
        f"polishing did not reach a minimum in {_MAX_POLISH} Newton steps (the last step was {size:.1e} relative): "
        "start closer, or check that the objective has a minimum."
    )


def descended(problem, step):
    """The problem at ``input - t step``, t = 1, 1/2, ... until the objective falls enough (Armijo), or None.

    Parameters
    ----------
    problem : BasePoint
        Of an objective.
    step : ndarray of shape (n_input,)
        A Newton step.
    """
    slope, t = float(problem.residual0 @ step), 1.0
    rounding = 1e-12 * (1.0 + abs(problem.objective0))
    for _ in range(_MAX_HALVINGS):
        try:
            trial = problem.at(problem.input.flat0 - t * step)
        except (VittlesError, ArithmeticError):
            trial = None
        if trial is not None and trial.objective0 <= problem.objective0 - _ARMIJO * t * slope + rounding:
            return trial
        t /= 2.0
    return None
