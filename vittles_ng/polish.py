"""An exact refit from an approximate one, with the factor of the base point.

Chord steps ``s = H0^{-1} G(input, new_hyper)`` are mixed (Anderson, J. ACM 12 (1965) 547; Walker & Ni, SIAM J. Numer.
Anal. 49 (2011) 1715): with the last differences of points and of steps in the columns of ``dX`` and ``dS``,

    input <- input - s - (dX - dS) gamma,    gamma = argmin |s - dS gamma|.

Where that is slow, Newton steps go on (see :mod:`vittles_ng.newton`).
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import lstsq

from .chord import evaluate
from .newton import TARGET, Newton

__all__ = ["MAX_CONTRACTION", "Polished", "polish"]

_EPS = np.finfo(float).eps
#: Largest contraction at which chord steps are evidence of an error.
MAX_CONTRACTION = 0.9
_DEPTH, _MAX_CHORD = 6, 60
#: Mixing stops where the step has not shrunk by a factor 10 over so many steps, or where more than so many are left and
#: the step is short enough for few Newton steps with one tape (which an objective's Hessian needs in any case).
_SLOW_AFTER, _MANY_LEFT, _MANY_LEFT_OBJECTIVE, _SHORT = 4, 8, 3, 1e-4
#: Newton step at a polished point from which on it is no solution.
_RUNS_AWAY = 1e-4


class Polished(NamedTuple):
    """What :func:`polish` reached."""

    value: np.ndarray
    error_estimate: np.ndarray
    residual: np.ndarray
    converged: bool
    n_polish: int
    n_factorizations: int
    positive_definite: bool | None
    message: str


def polish(problem, solver, points, hyper, contraction, judge=None):
    """Solve ``G(input, hyper) = 0`` from points near the solution.

    Parameters
    ----------
    problem : Problem
    solver : Solver
        The factor at the base point.
    points : list of Point
        Where to start, oldest first; each defined.
    hyper : ndarray of shape (n_hyper,)
    contraction : float
        Of the chord iteration; scales its step to the error that is left.
    judge : callable, default=None
        ``judge(tape, hessian, hyper)`` says why what looks like a minimum is none, or nothing; ``tape`` is a problem
        recorded there or close by, ``hessian`` its Hessian where it has been formed as a dense matrix, else None.

    Returns
    -------
    Polished
        Never raises for what the function does at the points tried: then ``converged`` is False and the message says
        why.
    """
    to_error = 1.0 / (1.0 - min(contraction, 0.95)) if np.isfinite(contraction) else 20.0
    many_left = _MANY_LEFT_OBJECTIVE if problem.is_objective else _MANY_LEFT
    best, n = _mix(lambda x: evaluate(problem, solver, x, hyper), points, to_error, many_left)
    newton = Newton(problem, solver, hyper)
    step, message = to_error * best.step, ""
    # a chord step is no evidence where it does not contract: far out it is short beside an input that ran away
    converged = contraction < MAX_CONTRACTION and to_error * best.size <= TARGET
    if not converged:
        best, step, converged, message = newton.run(best)
    positive = None
    if problem.is_objective and converged:
        positive, told = newton.is_minimum(best)
        left = newton.step_left(best) if positive else 0.0
        if left > _RUNS_AWAY:
            converged = False
            told = f"a Newton step there is still {left:.1e}: the input runs away, there is no minimum"
        elif positive and judge is not None:
            told = judge(newton.tape, newton.hessian, hyper)
            positive = not told
        message = "; ".join(filter(None, (message, told)))
    n, n_new = n + newton.n_evaluations, newton.n_factorizations
    error = np.abs(step) + _EPS * np.max(np.abs(best.input))
    return Polished(best.input, error, best.residual, converged, n, n_new, positive, message)


def _mix(at, points, to_error, many_left):
    """Chord steps with Anderson mixing: the best point, and how many were tried."""
    history = list(points)
    best = min(history, key=lambda point: point.size)
    sizes = [point.size for point in history]
    for n in range(_MAX_CHORD):
        if to_error * best.size <= TARGET or _is_slow(sizes, to_error, many_left):
            return best, n
        trial = at(_mixed(history))
        if trial.size <= 2.0 * best.size:
            history = [*history, trial][-_DEPTH - 1 :]
        elif len(history) > 1:
            history = [best]
        else:
            return best, n + 1
        best = min(best, trial, key=lambda point: point.size)
        sizes.append(best.size)
    return best, _MAX_CHORD


def _is_slow(sizes, to_error, many_left):
    if len(sizes) > _SLOW_AFTER and sizes[-1] > 0.1 * sizes[-1 - _SLOW_AFTER]:
        return True
    if len(sizes) < 3 or sizes[-1] > _SHORT:
        return False
    rate = (sizes[-1] / sizes[0]) ** (1.0 / (len(sizes) - 1))
    return rate >= 1.0 or np.log(TARGET / (to_error * sizes[-1])) < many_left * np.log(rate)


def _mixed(history):
    """The next point from the last ones."""
    x, s = history[-1].input, history[-1].step
    if len(history) == 1:
        return x - s
    dx = np.diff([point.input for point in history], axis=0).T
    ds = np.diff([point.step for point in history], axis=0).T
    # columns of very different length: those of the last steps are much shorter
    lengths = np.maximum(np.linalg.norm(ds, axis=0), np.finfo(float).tiny)
    gamma = lstsq(ds / lengths, s, cond=1e-10)[0] / lengths
    return x - s - (dx - ds) @ gamma
