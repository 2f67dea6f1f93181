"""Newton steps to a solution from near by, by an iteration that the base point's factor preconditions.

``H p = G`` with H at the present point, known by its products (a tape recorded there) and preconditioned by the factor
of H0: conjugate gradients stopped at negative curvature (Steihaug, SIAM J. Numer. Anal. 20 (1983) 626) for an
objective, GMRES for an equation; halved until the objective, or the chord step, decreases.
"""

import contextlib

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh, gmres

from .chord import FAILURES, evaluate, relative_size
from .errors import NotPositiveDefiniteError

__all__ = ["TARGET", "Newton", "is_positive_definite"]

_EPS = np.finfo(float).eps
#: Newton step, relative to max(1, |input|), that is polished to; "at rounding" below the second.
TARGET, _AT_ROUNDING = 5e-13, 1e-9
_MAX_NEWTON, _MAX_KRYLOV, _MAX_HALVINGS = 40, 300, 14
_KRYLOV_RTOL = 1e-6
#: A tape serves on while each step is at most this part of the one before.
_SERVES = 0.1
_MAX_FACTORED, _MAX_EIGENVALUES = 5000, 500


class Newton:
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
                    if size <= TARGET:
                        return point, step, True, ""
                    if size <= _AT_ROUNDING and size >= 0.5 * last:
                        return point, step, True, f"Newton step {size:.0e} at rounding level"
                    serves = found is not None and (is_fresh or size <= _SERVES * last)
                    trial = self._search(point, step) if serves else None
                    if trial is not None:
                        break
            except FAILURES as error:
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
        except FAILURES as error:
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
