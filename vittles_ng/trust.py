"""How far a series can be trusted: error estimates at the new point, radius of convergence, exact refits.

With ``G`` by the user's function at the new hyper and H the factor of the base point, two chord steps

    s1 = H^{-1} G(value),    s2 = H^{-1} G(value - s1)

show the error of the value, ``value - exact = s1 + M s1 + M^2 s1 + ...`` with ``M = I - H^{-1} dG/dinput``:
``s2 = M s1``, so that ``|s2| / |s1|`` is the contraction and the tail is a geometric series,

    error = s1 + s2 / (1 - rho),    rho = <s2, s1> / <s1, s1>.

For an objective lengths and angles are those of the Hessian, ``<u, v> = u^T H v``, in which M is symmetric (when the
Hessian at the new point is), and which do not depend on the units of the inputs; they cost nothing, ``H s = G``.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from .chord import evaluate
from .errors import NonFiniteError, ShapeError
from .executors import progress
from .polish import MAX_CONTRACTION
from .polish import polish as polish_point
from .radius import convergence_radius, range_of_validity

__all__ = ["DEFAULT_TOL", "Refit", "convergence_radius", "evidence", "range_of_validity", "refit", "stacked"]

_EPS = np.finfo(float).eps
#: Bound on the error estimate, relative to the largest change of an input, where none is given.
DEFAULT_TOL = 1e-3
#: Relative chord step below which a poor contraction may be that of rounding errors.
_MAYBE_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Refit:
    """An approximate refit and the evidence for it; every field of a batch has a leading step axis.

    Attributes
    ----------
    value : ndarray of shape (n_input,)
        The series' value at the new hyper; polished where that was asked for and converged.
    error_estimate : ndarray of shape (n_input,)
        Estimate of ``|value - exact|`` per component; infinite where there is no evidence.
    residual_norm : float
        ``|G(value, new_hyper)|``, the Euclidean norm, by the user's function.
    contraction : float
        Of the chord iteration at the series' value: the error's part that is left by one more step with the factor of
        the base point. Infinite where the function is not defined at one of the two points.
    radius : float
        Estimate of the series' radius of convergence in units of the step; NaN where it cannot be told. Advice:
        estimates from few orders are often too large.
    trusted : bool
        Whether the contraction is below 1 with a margin and the error estimate under the tolerance (polished:
        whether it converged, to a minimum for an objective, and the error estimate is). Where the contraction is above
        1 a polished value solves the equation, but may lie on another branch than the base point.
    order : int
        Of the series.
    n_polish : int
        Evaluations of the equation spent on polishing.
    message : str
        What speaks for or against it.
    positive_definite : bool or None
        Whether the Hessian at a polished value is positive definite; None where it was not asked.
    n_factorizations : int
        New factorizations that polishing needed.
    """

    value: np.ndarray
    error_estimate: np.ndarray
    residual_norm: float
    contraction: float
    radius: float
    trusted: bool
    order: int
    n_polish: int
    message: str
    positive_definite: bool | None = None
    n_factorizations: int = 0


def refit(problem, solver, terms, new_hypers, tol=None, polish=False, judge=None):
    """The values of a series at new hypers with a verdict on each.

    Parameters
    ----------
    problem : Problem
        Recorded at the base point.
    solver : Solver
        The factor of its Jacobian.
    terms : ndarray of shape (order + 1, n_input) or (order + 1, n_steps, n_input)
        The terms of the series at the new hypers, the base point first. Rows of a batch that overflowed are marked.
    new_hypers : ndarray of shape (n_steps, n_hyper)
        One row where the terms have no step axis.
    tol : float, default=None
        Absolute bound on the largest component of the error estimate; default ``1e-3 max|value - input_val0|`` of each
        step.
    polish : bool, default=False
        Whether to go on to the exact refit.
    judge : callable, default=None
        Of polished minima; see :func:`vittles_ng.polish.polish`.

    Returns
    -------
    Refit
        Of one step where the terms have no step axis, of arrays otherwise.

    Raises
    ------
    NonFiniteError
        The function is not defined at the new point, or the series overflows. In a batch such rows are marked
        instead.
    ValueError
        ``tol`` is not positive, or below the rounding of the input.
    """
    is_batch = terms.ndim == 3
    terms = terms if is_batch else terms[:, None, :]
    if terms.shape[1] != len(new_hypers):
        raise ShapeError(f"terms of {terms.shape[1]} steps, but {len(new_hypers)} new hypers.")
    _check_tol(tol, problem.input.flat0)
    radii = np.atleast_1d(convergence_radius(terms[1:])) if len(new_hypers) else np.zeros(0)
    step = _Step(problem, solver, tol, polish, is_batch, judge)
    with np.errstate(all="ignore"):  # a step far too long overflows, which is found out where it is used
        hypers = enumerate(progress(new_hypers, what="refits"))
        rows = [step.refit(terms[:, i], hyper, float(radii[i])) for i, hyper in hypers]
    return stacked(rows, terms.shape[2]) if is_batch else rows[0]


def _check_tol(tol, input_val0):
    if tol is None:
        return
    if not (np.ndim(tol) == 0 and 0.0 < tol < np.inf):
        raise ValueError(f"tol must be a positive number, got {tol!r}.")
    rounding = _EPS * float(np.max(np.abs(input_val0)))
    if tol < rounding:
        raise ValueError(
            f"tol {tol:.1e} is below the rounding of the input, {rounding:.1e} = eps * max|input_val0|: "
            "no value is known so well; pass a larger tol."
        )


class _Step:
    """The refit of one step after the other."""

    def __init__(self, problem, solver, tol, polish, is_batch, judge):
        self.problem, self.solver, self.tol, self.polish, self.is_batch = problem, solver, tol, polish, is_batch
        self.judge = judge

    def refit(self, terms, hyper, radius):
        value = terms[::-1].sum(axis=0)
        input_val0 = self.problem.input.flat0
        points, undefined = [], ""
        if np.all(np.isfinite(terms)):
            points = self._chord_points(value, hyper)
            undefined = points[0].reason
        else:
            undefined = "the series overflows"
        is_zero = not np.any(hyper - self.problem.hyper.flat0)
        tol = DEFAULT_TOL * np.max(np.abs(value - input_val0)) if self.tol is None else float(self.tol)
        if undefined and not self.polish and not self.is_batch:
            raise NonFiniteError(f"{undefined} at the new hyper: {_REMEDY}.")
        contraction, error = (
            (np.inf, np.full(value.size, np.inf)) if undefined else evidence(self.problem, self.solver, points, hyper)
        )
        found = Refit(
            value=value,
            error_estimate=error,
            residual_norm=float(np.linalg.norm(points[0].residual)) if points else np.nan,
            contraction=contraction,
            radius=radius,
            trusted=False,
            order=len(terms) - 1,
            n_polish=0,
            message="",
        )
        if self.polish:
            return self._polished(found, points, terms, hyper, tol)
        # at the base point itself the default bound is zero, and the value is what was checked to be a solution
        if is_zero and self.tol is None:
            tol = np.inf
        trusted, message = _verdict(found, undefined, points, tol)
        return replace(found, trusted=trusted, message=message)

    def _chord_points(self, value, hyper):
        first = evaluate(self.problem, self.solver, value, hyper)
        if first.reason:
            return [first]
        return [first, evaluate(self.problem, self.solver, value - first.step, hyper)]

    def _polished(self, found, points, terms, hyper, tol):
        n, n_factorizations, result = 0, 0, None
        for n_new, starts in self._starts(found.contraction, points, terms, hyper):
            n += n_new
            # the best last, where mixing goes on from; of points that lie far apart the best alone
            starts = sorted((start for start in starts if not start.reason), key=lambda point: -point.size)
            if starts:
                starts = starts if found.contraction < MAX_CONTRACTION else starts[-1:]
                result = polish_point(self.problem, self.solver, starts, hyper, found.contraction, self.judge)
                n += result.n_polish
                n_factorizations += result.n_factorizations
                if result.converged:
                    break
        found = replace(found, n_polish=n, n_factorizations=n_factorizations)
        if result is not None:
            found = _as_refit(found, result, tol) if result.converged else replace(found, message=result.message)
            anew = f"; {n_factorizations} new factorizations were needed" if n_factorizations else ""
            return replace(found, message=found.message + anew)
        reason = f"{points[0].reason if points else 'the series overflows'} at the new hyper"
        message = f"{reason}, and at the base point's input too: {_REMEDY}"
        if not self.is_batch:
            raise NonFiniteError(f"{message}.")
        return replace(found, message=message)

    def _starts(self, contraction, points, terms, hyper):
        """Points to polish from, the next where the last ones failed, each with the number of evaluations made."""

        def at(value):
            return evaluate(self.problem, self.solver, value, hyper)

        if contraction < MAX_CONTRACTION:
            yield 0, points
            yield 1, [at(terms[0])]
        else:  # the series may have left for nowhere: its first order and the base point are safer
            first, base = at(terms[0] + terms[1]), at(terms[0])
            yield 2, [*points, first, base]
            yield 0, [base]


def _as_refit(found, result, tol):
    """The refit of a polished value."""
    error = result.error_estimate
    largest = float(np.max(error))
    is_minimum = result.positive_definite is not False
    rounding = 1e-12 * max(1.0, np.max(np.abs(result.value)))
    return replace(
        found,
        value=result.value,
        error_estimate=error,
        residual_norm=float(np.linalg.norm(result.residual)),
        trusted=bool(is_minimum and largest <= max(tol, rounding)),
        message=result.message or f"polished, error estimate {largest:.1e}",
        positive_definite=result.positive_definite,
    )


_REMEDY = "take a shorter step, or go there with follow_path"


def evidence(problem, solver, points, hyper):
    """Contraction and error estimate per component from two chord steps.

    Parameters
    ----------
    problem : Problem
    solver : Solver
        The factor at the base point.
    points : list of two Point
        At a value, where the equation is defined, and one chord step further; see :func:`vittles_ng.chord.evaluate`.
    hyper : ndarray of shape (n_hyper,)

    Returns
    -------
    contraction : float
    error_estimate : ndarray of shape (n_input,)
        Infinite where there is no evidence.
    """
    first, second = points
    s1, s2 = first.step, second.step
    if second.reason:
        return np.inf, np.full(s1.size, np.inf)
    noise = 8.0 * _EPS * np.max(np.abs(first.input))
    size1, size2 = np.max(np.abs(s1)), np.max(np.abs(s2))
    contraction, along = _contraction(problem, first, second)
    if contraction > 0.5 and first.size < _MAYBE_ROUNDING:
        rounding = _rounding(problem, solver, first, hyper)
        # steps that do not answer to the input's rounding are none: the input is huge where the equation is flat
        noise = max(noise, rounding) if rounding > 0.1 * noise else rounding
    if size1 <= noise or size2 <= noise:
        return 0.0, np.abs(s1) + noise
    if not contraction < 1.0:
        return contraction, np.full(s1.size, np.inf)
    tail = 1.0 / (1.0 - min(along, contraction))
    # components in which s1 and the tail cancel by chance are as uncertain as the next term is
    return contraction, np.abs(s1 + tail * s2) + 0.1 * contraction * tail * np.abs(s2) + noise


def _contraction(problem, first, second):
    """``|s2| / |s1|``, the larger of the Euclidean and the Hessian's, and ``<s2, s1> / <s1, s1>``."""
    s1, s2 = first.step, second.step
    squared = float(s1 @ s1)
    if squared == 0.0:
        return 0.0, 0.0
    euclid, along = np.sqrt(float(s2 @ s2) / squared), float(s2 @ s1) / squared
    if problem.is_objective:
        e1, e2 = float(first.residual @ s1), float(second.residual @ s2)
        if e1 > 0.0 and e2 >= 0.0:
            return float(max(np.sqrt(e2 / e1), euclid)), float(first.residual @ s2) / e1
    return float(euclid), along


def _rounding(problem, solver, point, hyper):
    """How far the chord step moves when every component of the input does by a few units in the last place."""
    signs = np.where(np.arange(point.input.size) % 2, 1.0, -1.0)
    moved = evaluate(problem, solver, point.input * (1.0 + 4.0 * _EPS * signs), hyper)
    return 0.0 if moved.reason else 4.0 * float(np.max(np.abs(moved.step - point.step)))


def _verdict(found, undefined, points, tol):
    if undefined:
        return False, f"{undefined} at the new hyper: {_REMEDY}"
    if points[1].reason:
        return False, f"no evidence, one chord step further {points[1].reason}: {_REMEDY}"
    error = float(np.max(found.error_estimate))
    rounding = _EPS * float(np.max(np.abs(found.value)))
    if not found.contraction < MAX_CONTRACTION:
        return False, (
            f"refused: the contraction {found.contraction:.2g} is not below {MAX_CONTRACTION}, the error cannot be "
            f"told: {_REMEDY}, or pass polish=True"
        )
    if not error <= max(tol, rounding):
        return False, f"refused: error estimate {error:.1e} > tol {tol:.1e}: use a higher order or pass polish=True"
    return True, f"contraction {found.contraction:.2g}, error estimate {error:.1e}"


def stacked(rows, n_input):
    """One Refit of arrays from those of the steps."""
    n = len(rows)
    shapes = {"value": (n, n_input), "error_estimate": (n, n_input)}
    kinds = {"trusted": bool, "order": int, "n_polish": int, "n_factorizations": int}
    kinds |= {"message": object, "positive_definite": object}
    columns = {}
    for field in fields(Refit):
        column = np.empty(shapes.get(field.name, n), dtype=kinds.get(field.name, float))
        for i, row in enumerate(rows):
            column[i] = getattr(row, field.name)
        columns[field.name] = column
    return Refit(**columns)
