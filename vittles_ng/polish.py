"""An exact refit from an approximate one, with the factor of the base point.

Chord steps ``s = H0^{-1} G(input, new_hyper)`` are mixed (Anderson, J. ACM 12 (1965) 547; Walker & Ni, SIAM J. Numer.
Anal. 49 (2011) 1715): with the last differences of points and of steps in the columns of ``dX`` and ``dS``,

    input <- input - s - (dX - dS) gamma,    gamma = argmin |s - dS gamma|.

Where that is slow, Newton steps ``H p = G`` with H at the present point, known by its products (a tape recorded there)
and preconditioned by H0: conjugate gradients stopped at negative curvature (Steihaug, SIAM J. Numer. Anal. 20 (1983)
626) for an objective, GMRES for an equation; halved until the objective, or ``|s|``, decreases.
"""

import contextlib
from typing import NamedTuple

import numpy as np
from scipy.linalg import lstsq
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh, gmres

from .errors import NotPositiveDefiniteError, VittlesError

__all__ = ["MAX_CONTRACTION", "Point", "Polished", "evaluate", "is_positive_definite", "polish"]

_EPS = np.finfo(float).eps
#: Largest contraction at which chord steps are evidence of an error.
MAX_CONTRACTION = 0.9
#: What user functions, factorizations and iterations raise where they are not defined or do not converge.
_FAILURES = (ArithmeticError, ValueError, np.linalg.LinAlgError, ArpackError, VittlesError)
#: Newton step, relative to max(1, |input|), that is polished to; "at rounding" below the second.
_TARGET, _AT_ROUNDING = 5e-13, 1e-9
_DEPTH = 6
_MAX_CHORD, _MAX_NEWTON, _MAX_KRYLOV, _MAX_HALVINGS = 60, 40, 300, 14
_KRYLOV_RTOL = 1e-6
#: Mixing stops where the step has not shrunk by a factor 10 over so many steps, or where more than so many are left and
#: the step is short enough for few Newton steps with one tape (which an objective's Hessian needs in any case).
_SLOW_AFTER, _MANY_LEFT, _MANY_LEFT_OBJECTIVE, _SHORT = 4, 8, 3, 1e-4
#: A tape serves on while each step is at most this part of the one before.
_SERVES = 0.1
_MAX_FACTORED, _MAX_EIGENVALUES = 5000, 500
#: Newton step at a polished point from which on it is no solution.
_RUNS_AWAY = 1e-4


class Point(NamedTuple):
    """The estimating equation and the chord step at a point; arrays of NaN where it is undefined."""

    input: np.ndarray
    residual: np.ndarray
    step: np.ndarray
    objective: float
    reason: str  # why it is undefined; empty where it is not

    @property
    def size(self):
        """Largest component of the step relative to max(1, |input|); infinite where undefined."""
        return np.inf if self.reason else relative_size(self.step, self.input)


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


def relative_size(step, value):
    """Largest component of a step relative to max(1, |value|)."""
    return float(np.max(np.abs(step)) / max(1.0, np.max(np.abs(value))))


def evaluate(problem, solver, value, hyper):
    """The :class:`Point` at an input and a hyper, by one call of the user's function."""
    objectives, reason = [], ""
    residual = np.full(value.shape, np.nan)
    try:
        with np.errstate(all="ignore"):
            residual = problem.residual(value, hyper, objectives.append)
            step = solver.solve(residual)
    except _FAILURES as error:
        reason = f"the function raises {type(error).__name__}: {error}"
    objective = objectives[-1] if objectives else np.nan
    if not reason and problem.is_objective and not np.isfinite(objective):
        reason = f"the objective is {objective}"
    if not reason and not np.all(np.isfinite(residual)):
        n_bad = np.sum(~np.isfinite(residual))
        reason = f"{n_bad} of {residual.size} components of the estimating equation are NaN or infinite"
    if not reason and not np.vdot(step, step) < np.inf:
        reason = "the chord step overflows"
    if reason:
        nothing = np.full(value.shape, np.nan)
        return Point(value, nothing, nothing, objective, reason)
    return Point(value, residual, step, objective, "")


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
    newton = _Newton(problem, solver, hyper)
    step, message = to_error * best.step, ""
    # a chord step is no evidence where it does not contract: far out it is short beside an input that ran away
    converged = contraction < MAX_CONTRACTION and to_error * best.size <= _TARGET
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
        if to_error * best.size <= _TARGET or _is_slow(sizes, to_error, many_left):
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
    return rate >= 1.0 or np.log(_TARGET / (to_error * sizes[-1])) < many_left * np.log(rate)


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


class _Newton:
    """Newton steps by an iteration that the old factor preconditions; one tape serves as long as it contracts.

    Attributes
    ----------
    n_evaluations, n_factorizations : int
        Runs of the user's function, for tapes too; factors made.
    tape : Problem or None
        The last one recorded.
    hessian : ndarray or None
        Its Hessian, where it is formed as a dense matrix.
    """

    def __init__(self, problem, solver, hyper):
        self.problem, self.solver, self.hyper = problem, solver, hyper
        self.n_evaluations = self.n_factorizations = 0
        self.tape = self.hessian = None
        self._is_dense = problem.is_objective and problem.input.size <= _MAX_EIGENVALUES and problem.assembly is None

    def run(self, point):
        """The point reached, the Newton step there, whether it is a solution, and why not."""
        last, is_fresh, step = np.inf, False, point.step
        for _ in range(_MAX_NEWTON):
            try:
                if self.tape is None:
                    self._record(point.input)
                    is_fresh = True
                for newton_step in (self._iterated, self._factored) if is_fresh else (self._iterated,):
                    found = newton_step(point.residual)
                    step = point.step if found is None else found
                    size = np.inf if found is None else relative_size(step, point.input)
                    if size <= _TARGET:
                        return point, step, True, ""
                    if size <= _AT_ROUNDING and size >= 0.5 * last:
                        return point, step, True, f"Newton step {size:.0e} at rounding level"
                    serves = found is not None and (is_fresh or size <= _SERVES * last)
                    trial = self._search(point, step) if serves else None
                    if trial is not None:
                        break
            except _FAILURES as error:
                return point, point.step, False, f"polishing stopped, {type(error).__name__}: {error}"
            if trial is not None:
                point, last, is_fresh = trial, size, False
            elif is_fresh:
                return point, step, False, f"polishing stopped at Newton step {size:.1e}: no step length decreases it"
            else:
                self.tape = None
        return point, step, False, f"polishing stopped after {_MAX_NEWTON} Newton steps, the last {size:.1e}"

    def _record(self, value):
        self.tape = self.problem.at(value, self.hyper)
        self.n_evaluations += 1
        self.hessian = self.tape.jacobian() if self._is_dense else None

    def _product(self, v):
        return self.tape.jacobian_product(v) if self.hessian is None else self.hessian @ v

    def is_minimum(self, point):
        """Whether a solution is a minimum (None where it cannot be told), and what to say if not."""
        try:
            # the Hessian of a tape close by, under which steps contract, has as many positive eigenvalues
            if self.tape is None or relative_size(self.tape.input.flat0 - point.input, point.input) > 1e-3:
                self._record(point.input)
            if self.tape.assembly is not None:
                self.n_factorizations += 1
                with contextlib.suppress(NotPositiveDefiniteError):  # then its eigenvalue is looked for
                    self.tape.factored(self.solver)
                    return True, ""
            positive, smallest = is_positive_definite(self.tape, self.problem, self.solver, self.hessian)
        except _FAILURES as error:
            return None, f"the Hessian there cannot be looked at, {type(error).__name__}: {error}"
        if positive:
            return True, ""
        return False, f"the Hessian there is not positive definite (smallest eigenvalue {smallest:.1e}): no minimum"

    def step_left(self, point):
        """Size of the Newton step at a point near the tape's.

        Where the objective flattens out, as on separable data, gradient and Hessian vanish together: chord steps are
        short there, Newton's are not.
        """
        step = self._iterated(point.residual)
        return 0.0 if step is None else relative_size(step, point.input)

    def _iterated(self, residual):
        """The Newton step without factoring, or None."""
        if not np.any(residual):
            return np.zeros_like(residual)
        product, precondition = self._product, self.solver.solve
        if self.problem.is_objective:
            return _conjugate_gradients(product, precondition, residual)
        n = residual.size
        norm = np.linalg.norm(residual)
        step, failed = gmres(
            LinearOperator((n, n), matvec=product, dtype=float),
            residual / norm,
            rtol=_KRYLOV_RTOL,
            restart=min(n, _MAX_KRYLOV),
            maxiter=1,
            M=LinearOperator((n, n), matvec=precondition, dtype=float),
        )
        return None if failed else step * norm

    def _factored(self, residual):
        """The Newton step by a factor made here."""
        if residual.size > _MAX_FACTORED and self.tape.assembly is None:
            raise ArithmeticError(f"no decrease by iteration, and {residual.size} inputs are too many to factor anew")
        self.n_factorizations += 1
        return self.tape.factored(as_minimum=False).solve(residual)

    def _search(self, point, step):
        """The point at the first of the lengths 1, 1/2, ... that decreases enough, or None."""
        slope = float(point.residual @ step)
        if self.problem.is_objective and not slope > 0.0:
            return None
        t = 1.0
        for _ in range(_MAX_HALVINGS):
            trial = evaluate(self.problem, self.solver, point.input - t * step, self.hyper)
            self.n_evaluations += 1
            if not trial.reason and self._decreases(point, trial, 1e-4 * t, slope):
                return trial
            t /= 2.0
        return None

    def _decreases(self, point, trial, part, slope):
        """Whether the objective does or, close to a solution where that is rounding, or of an equation, ``|s|``."""
        is_shorter = np.linalg.norm(trial.step) <= (1.0 - part) * np.linalg.norm(point.step)
        if not self.problem.is_objective:
            return is_shorter
        rounding = 1e-13 * (1.0 + abs(point.objective))
        allowed = point.objective + rounding if is_shorter else point.objective - part * slope
        return trial.objective <= allowed


def _conjugate_gradients(product, precondition, b):
    """``A x = b`` to a small residual; along the first direction of negative curvature it stops with what it has."""
    x, r = np.zeros_like(b), b.copy()
    z = precondition(r)
    d, rz = z, float(r @ z)
    enough = _KRYLOV_RTOL**2 * rz
    for i in range(_MAX_KRYLOV):
        if not rz > 0.0 or rz <= enough:
            break
        ad = product(d)
        curvature = float(d @ ad)
        if not curvature > 0.0:
            return x if i else d
        length = rz / curvature
        x = x + length * d
        r = r - length * ad
        z = precondition(r)
        rz, last = float(r @ z), rz
        d = z + (rz / last) * d
    return x


def is_positive_definite(problem, base, solver, hessian=None):
    """Whether the Hessian H at a problem's base point is positive definite, and its smallest eigenvalue.

    Beyond 500 inputs by the Lanczos iteration from products alone, of ``H0^{-1} H``: as many eigenvalues are positive
    (Sylvester), and they lie close to one.

    Parameters
    ----------
    problem : Problem
    base : Problem
        Where the Hessian is H0, positive definite.
    solver : Solver
        Of H0.
    hessian : ndarray of shape (n_input, n_input), default=None
        H where it has been formed.

    Returns
    -------
    is_positive : bool
    smallest : float
        Of H, scaled to a unit diagonal where it is as small as rounding; beyond 500 inputs of ``H0^{-1} H``.
    """
    n = problem.input.size
    if n <= _MAX_EIGENVALUES:
        hessian = problem.jacobian() if hessian is None else hessian
        hessian = 0.5 * (hessian + hessian.T)
        eigenvalues = np.linalg.eigvalsh(hessian)
        diagonal = hessian.diagonal()
        if abs(eigenvalues[0]) <= n * _EPS * eigenvalues[-1] and np.all(diagonal > 0.0):
            # the signs do not depend on the units of the inputs (Sylvester), how well rounding lets them be told does
            units = 1.0 / np.sqrt(diagonal)
            eigenvalues = np.linalg.eigvalsh(hessian * np.outer(units, units))
        smallest, largest = eigenvalues[0], np.max(np.abs(eigenvalues))
    else:
        here, there, inverse = (
            LinearOperator((n, n), matvec=f, dtype=float)
            for f in (problem.jacobian_product, base.jacobian_product, solver.solve)
        )
        start = np.random.default_rng(3).standard_normal(n)
        values = eigsh(here, k=1, M=there, Minv=inverse, which="SA", v0=start, tol=1e-3, return_eigenvectors=False)
        smallest, largest = values[0], 1.0
    return bool(smallest > n * _EPS * largest), float(smallest)
