"""The base point of an expansion: the factor of the Jacobian there, and Newton's method to reach it.

A new base point is a new problem: a new tape and a new factor, because ``input_k = -H^{-1} r_k`` holds only with the H
of the tape's own point.
"""

import numpy as np

from .errors import NotASolutionError, NotPositiveDefiniteError, VittlesError
from .solvers import ConjugateGradient, as_solver, choose_solver

__all__ = ["factored", "polished"]

_MAX_POLISH = 30


def factored(problem, given, solver):
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


def polished(problem, solver):
    """The problem at its minimum: Newton steps, halved while they do not decrease the residual's Newton step."""
    best = None
    for _ in range(_MAX_POLISH):
        factor = factored(problem, None, solver)
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
