"""The expansion of a black box: an estimating equation that can be called and nothing else.

Requires ``G(input_val0, hyper_val0) == 0``. The recursion is the engine's, with differences in place of the tape (see
:mod:`vittles_ng.finite_differences.recorded`). With errors ``e_k`` of the coefficients ``r_k`` and E of the Jacobian,

    error of input_k = H^{-1} (e_k + E input_k) + what the errors of lower orders do to r_k;

the last, relative to ``input_k``, at most about k times the largest relative error before: ``r_k`` is a sum of products
of lower coefficients whose orders add up to k. Noise sigma of the equation leaves ``H^{-1} sigma`` in any solution.
"""

from collections import OrderedDict
from dataclasses import fields, replace

import numpy as np

from .base_point import BasePoint
from .errors import IndependentError, NonFiniteError, NonSmoothError, SingularError
from .expansion import ParametricSensitivityTaylorExpansion
from .finite_differences import CentralDifferences
from .finite_differences.directional import MAX_ORDER
from .finite_differences.ladder import SIGMAS
from .finite_differences.recorded import differenced
from .finite_differences.values import FAILURES
from .memory import OF_MEMORY, check_size, memory_limit
from .recursion import checked_integer
from .solvers import as_solver, choose_solver
from .taylor.tracing import traced_code
from .trust import DEFAULT_TOL, Refit, refit, stacked

__all__ = ["BlackBoxPoint", "BlackBoxTaylorExpansion"]

_EPS = np.finfo(float).eps
#: Standard deviations within which a residual may be noise alone, whose level is known to a factor of two.
_WITHIN = 6.0
#: Noise in the input, relative to ``1 + |input|``, below which polishing goes to rounding.
_ROUNDING = 1e-14
_MAX_CHORD = 60
_DIRECTIONS_KEPT = 16
#: Relative error of the inverse from which it says nothing.
_SINGULAR = 0.5


class BlackBoxPoint(BasePoint):
    """The base point of a black box.

    Parameters
    ----------
    function : callable
        ``G(input, hyper) -> (n_input,)``.
    input_val0, hyper_val0
        Of any structure.
    differences : CentralDifferences or RandomDirections

    Attributes
    ----------
    recorded : Differenced
        In place of a tape.
    jacobian_error : tuple of two ndarray of shape (n_input, n_input), or None
        Signed truncation and noise of the Jacobian that was formed last.
    n_calls : int
        Calls of the function, here and at all base points made from this one.
    """

    def __init__(self, function, input_val0, hyper_val0, differences):
        self._differences, self._noise, self._calls = differences, None, [0]
        super().__init__(function, input_val0, hyper_val0, is_objective=False)

    @property
    def n_calls(self):
        return self._calls[0]

    def __call__(self, input_flat, hyper_flat, see_objective=None):
        """``G``, (n_input,)."""
        self._calls[0] += 1
        value = np.asarray(super().__call__(input_flat, hyper_flat))
        if value.dtype.kind not in "buif":
            raise TypeError(f"the estimating equation has values of type {value.dtype}: real numbers are needed.")
        return value.astype(np.float64)

    def _record(self):
        def at(input_flat, hyper_flat):
            with traced_code(), np.errstate(all="ignore"):
                return self(np.array(input_flat), np.array(hyper_flat))

        base, options = (self.input.flat0, self.hyper.flat0), self._differences
        if self._noise is not None:  # a point on the way of polishing, for which no pairs in random directions are made
            options = CentralDifferences(rtol=options.rtol)
        self.recorded = differenced(at, base, options, self._noise)
        self._noise, self.objective0, self.jacobian_error = self.recorded.noise, None, None
        (self.residual0,) = self.recorded.values
        for argnum, structure in enumerate((self.input, self.hyper)):
            if not self.recorded.depends_on(argnum):
                raise IndependentError(
                    f"the estimating equation does not depend on the {'input' if argnum == 0 else 'hyper'} "
                    f"({structure.name}), or by less than its noise of {np.max(self._noise):.1e}: check the order of "
                    "the arguments, function(input, hyper)."
                )

    def jacobian(self):
        """``dG/dinput`` at the base point by differences, one column after the other."""
        n = self.input.size
        what = f"the dense matrix dG/dinput of {n} inputs and its errors"
        check_size(24 * n * n, what, memory_limit(), OF_MEMORY, "pass a hess_solver")
        columns, truncation, noise = self.recorded.pushed_with_errors(0, np.eye(n))
        self.jacobian_error = truncation.T, noise.T
        return np.ascontiguousarray(columns.T)

    def factored(self, like=None, as_minimum=True):
        """The factor of the Jacobian, unless that may be singular within its errors."""
        # never as a symmetric matrix: what the differences leave of a small entry may be its asymmetry
        solver = choose_solver(self.matrix(), "lu")
        truncation, noise = self.jacobian_error
        # the largest relative error of H^{-1}, whatever the units of inputs and equations
        errors = np.abs(solver.solve(np.eye(solver.n))) @ (np.abs(truncation) + SIGMAS * noise)
        relative = float(np.max(np.abs(np.linalg.eigvals(errors))))
        if not relative < _SINGULAR:
            raise SingularError(
                f"dG/dinput is singular to the accuracy of its differences (relative error of the inverse "
                f"{relative:.1g}): the solution is not identified, or the noise too large; lower it, or pass a "
                "hess_solver."
            )
        return solver

    def solver_given(self, given):
        """A solver from what the user gave, checked with a random vector to the accuracy of differences."""
        v = np.random.default_rng(1).standard_normal((1, self.input.size))
        product, truncation, noise = self.recorded.pushed_with_errors(0, v)
        accuracy = np.linalg.norm(np.abs(truncation) + SIGMAS * noise) / max(np.linalg.norm(product), _EPS)
        return as_solver(given, self.input.size, matrix=self.jacobian_product, tol=max(1e-6, 10.0 * accuracy))

    def check_solution(self, step, tol):
        """Raise unless the Newton step is small, or the equation zero to its noise."""
        if not np.all(np.abs(self.residual0) <= _WITHIN * self._noise):
            super().check_solution(step, tol)


class BlackBoxTaylorExpansion(ParametricSensitivityTaylorExpansion):
    """Taylor expansion of the solution of a black box; :meth:`ParametricSensitivityTaylorExpansion.from_black_box`.

    Requires ``estimating_equation(input_val0, hyper_val0) == 0`` to the tolerance, or to its noise.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input, hyper) -> (n_input,)``: plain NumPy or SciPy, a simulation, another program. Random numbers in it
        should be the same ones in every call; fresh ones are noise. Where it raises ArithmeticError or ValueError it is
        taken as not defined.
    input_val0, hyper_val0
        The solution and where it was solved, of any structure.
    order : int
        From 1 to 3.
    hess_solver, optimum_tol
        As of the base class. Without a ``hess_solver`` the Jacobian is found column by column.
    differences : CentralDifferences or RandomDirections, default=None
        How to difference it; default: centrally, with the noise estimated. See :mod:`vittles_ng.finite_differences`.

    Raises
    ------
    NonSmoothError
        The differences do not settle: a jump, a kink.
    NonFiniteError
        The equation is not defined at, or on both sides of, the base point.
    NotASolutionError, SingularError, IndependentError, TypeError, ValueError
        As of the base class, and for orders above 3.

    Notes
    -----
    A derivative takes 4 to 10 calls; an expansion some ``6 n_input`` for the Jacobian and 6 for each order along each
    direction.

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> import vittles_ng as vn
    >>> expansion = vn.ParametricSensitivityTaylorExpansion.from_black_box(
    ...     lambda x, eps: np.array([math.exp(x[0]) - eps[0]]), [0.0], [1.0], order=3)
    >>> found = expansion.refit([1.1], tol=1e-4)
    >>> bool(found.trusted), bool(abs(found.value[0] - math.log(1.1)) <= found.error_estimate[0])
    (True, True)
    """

    def __init__(
        self, estimating_equation, input_val0, hyper_val0, order, hess_solver=None, optimum_tol=1e-8, differences=None
    ):
        if checked_integer(order, "order", 1) > MAX_ORDER:
            raise ValueError(f"order={order}: differences of a black box give orders 1 to {MAX_ORDER}.")
        differences = CentralDifferences() if differences is None else differences
        problem = BlackBoxPoint(estimating_equation, input_val0, hyper_val0, differences)
        self._build(problem, order, hess_solver, optimum_tol)
        self._inverse = self.solver.solve(np.eye(problem.input.size))
        self._noise = SIGMAS * np.sqrt(self._inverse**2 @ problem.recorded.noise**2)
        self._jacobian_error = problem.jacobian_error
        self._kept = OrderedDict()

    @classmethod
    def optimization_objective(cls, *args, **kwargs):
        """Not here: the minimum of a black box is known by its gradient."""
        raise TypeError("a black box has no objective: pass its gradient to from_black_box as the estimating equation.")

    @property
    def n_calls(self):
        """Calls of the estimating equation so far."""
        return self._problem.n_calls

    def refit(self, new_hyper_val, tol=None, polish=False, max_order=None):
        """As of the base class; the error estimate is at least that of the differences.

        The verdict rests on the equation at the new point, so it sees the whole error of the value; where it is more
        optimistic than the errors of the differences, theirs are reported, and that of the equation's noise is added.

        Parameters
        ----------
        new_hyper_val, tol, polish, max_order
            As there. With noise, polishing ends where the steps are noise.

        Returns
        -------
        Refit
        """
        max_order = self._checked_max_order(max_order)
        new, is_batch = self._hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        rows = [self._refit_row(hyper, tol, polish, max_order, is_batch) for hyper in new]
        if not is_batch:
            return rows[0]
        if not rows:
            return super().refit(new_hyper_val, tol, polish, max_order)
        return stacked(rows, self._input_val0.size)

    def _refit_row(self, hyper, tol, polish, order, is_batch):
        """The refit at one hyper; in a batch one without a value is marked, otherwise it raises."""
        terms, errors, failure = self._terms_with_errors(hyper, order, is_batch)
        n_before, has_noise = self._problem.n_calls, np.any(self._noise > _ROUNDING * (1.0 + np.abs(self._input_val0)))
        given = terms[:, None] if is_batch else terms
        found = refit(self._problem, self.solver, given, hyper[None], tol, polish and not has_noise)
        if is_batch:
            found = Refit(**{f.name: getattr(found, f.name)[0] for f in fields(Refit)})
        value, message = terms.sum(axis=0), failure or found.message
        is_polished = not failure and polish and not np.array_equal(found.value, value)
        if polish and has_noise and not failure:
            found, is_polished, message = self._polished_to_noise(found, value, hyper)
        if polish:
            found = replace(found, n_polish=max(self._problem.n_calls - n_before - 2, 0))
        return self._completed(found, errors, hyper, tol, message, is_polished)

    def _terms_with_errors(self, hyper, order, is_batch):
        """Terms 0 to order at a hyper, the sum of their errors, and why there are none (NaN, in a batch)."""
        step = hyper - self._hyper.flat0
        length = float(np.max(np.abs(step)))
        terms, failure = np.zeros((order + 1, self._input_val0.size)), ""
        terms[0] = self._input_val0
        errors = np.zeros_like(terms[0])
        if length > 0.0:
            signed = float(np.copysign(length, step[np.argmax(step != 0.0)]))  # back along a line is the same line
            powers = np.arange(1.0, order + 1)[:, None]
            try:
                c, own = self._along(step / signed, order)
                terms[1:], errors = c * signed**powers, np.sum(own * length**powers, axis=0)
            except (NonFiniteError, NonSmoothError) as error:
                if not is_batch:
                    raise
                terms[1:], failure = np.nan, str(error)
        return terms, errors, failure

    def _along(self, direction, order):
        """As :meth:`_series`; those of the last directions are kept."""
        key = direction.tobytes(), order
        if key not in self._kept:
            self._kept[key] = self._series(direction, order)
            while len(self._kept) > _DIRECTIONS_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _series(self, direction, order):
        """Coefficients along a direction and estimates of their errors, (order, n_input) each."""
        problem, unit = self._problem, 1.0 + np.abs(self._input_val0)
        replay = problem.recorded.start(1)
        coefficients, errors, worst = [], [], 0.0
        for k in range(1, order + 1):
            (r,) = replay.coefficient([None, direction[None] if k == 1 else None])
            c = -self.solver.solve(r[0])
            replay.correct(c[None])
            truncation, noise = (e[0] for e in replay.errors[-1])
            own, variance = np.abs(self._inverse @ truncation), noise**2
            if self._jacobian_error is not None:
                of_jacobian, noise_of_jacobian = self._jacobian_error
                own, variance = own + np.abs(self._inverse @ (of_jacobian @ c)), variance + noise_of_jacobian**2 @ c**2
            own = own + SIGMAS * np.sqrt(self._inverse**2 @ variance)
            coefficients.append(c)
            errors.append(own + k * worst * np.abs(c))
            size = np.max(np.abs(c) / unit)
            worst = max(worst, float(np.max(errors[-1] / unit) / size) if size > 0.0 else 0.0)
        return np.array(coefficients), np.array(errors)

    def _polished_to_noise(self, found, value, hyper):
        """Chord steps until they are within the noise: the refit, whether it is polished, and what to say."""
        noise, last = np.maximum(self._noise, _EPS * (1.0 + np.abs(value))), np.inf
        for n in range(_MAX_CHORD):
            residual = self._residual(value, hyper)
            step = self.solver.solve(residual) if np.all(np.isfinite(residual)) else np.full_like(value, np.nan)
            size = float(np.max(np.abs(step) / noise))
            if size <= 1.0:  # the step is taken: what it leaves is new noise, and not chosen for being small
                value = value - step
                norm = float(np.linalg.norm(self._residual(value, hyper)))
                message = f"polished to the noise of the equation in {n + 1} chord steps"
                error = np.maximum(self._noise, np.abs(step))
                return replace(found, value=value, error_estimate=error, residual_norm=norm), True, message
            if not size < 2.0 * last:
                break
            value, last = value - step, size
        return found, False, f"{found.message}; polishing stopped at a chord step of {np.max(np.abs(step)):.1e}"

    def _residual(self, value, hyper):
        """The equation at a point, NaN where it is not defined."""
        try:
            with np.errstate(all="ignore"):
                return self._problem.residual(value, hyper)
        except FAILURES:
            return np.full_like(value, np.nan)

    def _step_of_noise(self, found, hyper):
        """The chord step from a refit where it may be noise alone, in every input; else None."""
        if not found.residual_norm <= _WITHIN * np.linalg.norm(self._problem.recorded.noise):
            return None
        residual = self._residual(found.value, hyper)
        if not np.all(np.isfinite(residual)):
            return None
        # equations in small units are lost in the norm, their part of the step is not
        step = self.solver.solve(residual)
        floor = np.maximum(self._noise, _EPS * (1.0 + np.abs(found.value)))
        return step if np.all(np.abs(step) <= _WITHIN / SIGMAS * floor) else None

    def _completed(self, found, errors, hyper, tol, message, is_polished):
        """A refit whose error estimate and verdict include the differences and the noise."""
        estimate, is_noise = found.error_estimate, False
        if not (is_polished or found.trusted) or not np.all(estimate <= self._noise):
            step = self._step_of_noise(found, hyper)
            is_noise = step is not None
            if is_noise:  # steps that are noise neither contract nor show an error
                estimate = np.maximum(self._noise, np.abs(step))
        if not is_polished:
            estimate = np.maximum(estimate, errors)
        estimate = estimate + self._noise
        is_zero = not np.any(hyper - self._hyper.flat0)
        bound = DEFAULT_TOL * np.max(np.abs(found.value - self._input_val0)) if tol is None else tol
        bound = np.inf if is_zero and tol is None else max(bound, _EPS * np.max(np.abs(found.value)))
        is_small = bool(np.max(estimate) <= bound)
        trusted = bool(is_small and (found.trusted or is_polished or is_noise))
        if is_polished or (found.trusted and not trusted):
            verdict = message if is_polished else "refused"
            message = verdict if is_small else f"{verdict}: error estimate {np.max(estimate):.1e} > tol {bound:.1e}"
        shares = f"noise of the equation {np.max(self._noise):.1e}"
        if not is_polished:
            shares = f"differences contribute {np.max(errors):.1e}, {shares}"
        return replace(found, error_estimate=estimate, trusted=trusted, message=f"{message}; {shares}")
