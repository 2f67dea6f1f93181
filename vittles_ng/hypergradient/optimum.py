"""The best hypers: L-BFGS-B on an outer loss with hypergradients; its inner problems are predicted, and counted."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import ShapeError, VittlesError
from ..functionals import of_input_and_hyper
from ..recursion import checked_integer, checked_positive
from .derivatives import ExactDerivatives
from .gradient import Hypergradient, assessed
from .inner import InnerProblem, Variables
from .outer import OuterLoss
from .schedules import tolerance_schedule
from .systems import FactorSystem

__all__ = ["HyperOptimum", "optimise_hypers"]

#: How far hypers that are optimised by their logarithms may go from where they start, without bounds.
_DECADES = 6.0
_EPS = np.finfo(float).eps
#: Error of an input, relative to ``1 + max|input|``, up to which it is not solved for again at the end.
_AS_EXACT = 1e-9


@dataclass(frozen=True, eq=False)
class HyperOptimum:
    """What :func:`optimise_hypers` found. n is the number of inner problems solved.

    Attributes
    ----------
    hyper : ndarray of shape (n_hyper,)
        The flat hyper with the smallest outer loss met; with a schedule, of the loss and what the error of the inner
        solution may add to it.
    input : ndarray of shape (n_input,)
        The inner solution there.
    outer_loss : float
        There.
    hypergradient : Hypergradient
        There, with its error bound, in the variables that were optimised: logarithms where those were.
    converged : bool
        Whether the projected gradient got under ``tol``, or the outer loss stopped falling but for rounding.
    message : str
        Why it ended.
    hypers : ndarray of shape (n, n_hyper)
        All hypers tried, in order.
    outer_losses : ndarray of shape (n,)
        There, at the inner solutions as they were; NaN where there was none.
    n_inner_solves : int
        n.
    n_polished : int
        Of these, how many predictions were not good enough as they were.
    n_evaluations : int
        Runs of the inner objective under autograd, for gradients, tapes and products.
    """

    hyper: np.ndarray
    input: np.ndarray
    outer_loss: float
    hypergradient: Hypergradient
    converged: bool
    message: str
    hypers: np.ndarray
    outer_losses: np.ndarray
    n_inner_solves: int
    n_polished: int
    n_evaluations: int


class _Stop(Exception):
    """Ends the outer iteration."""


def optimise_hypers(
    outer_loss,
    objective,
    input_val0,
    hyper_val0,
    log=False,
    bounds=None,
    max_inner_solves=30,
    tol=1e-5,
    order=3,
    schedule=None,
    solver="auto",
    sparsity=None,
):
    """Minimise an outer loss in the hypers of an inner problem.

    L-BFGS-B with hypergradients by the cached factor; each inner problem starts from the prediction of the Taylor
    expansion at the last one.

    Parameters
    ----------
    outer_loss : callable
        ``outer_loss(input, hyper)`` or ``outer_loss(input)``, a scalar in autograd.numpy: a held-out loss.
    objective : callable
        ``objective(input, hyper)``, a scalar in autograd.numpy, with a minimum in the input.
    input_val0 : array_like of shape (n_input,), or nested dict, list or tuple of arrays
        Where to start the first inner problem.
    hyper_val0 : array_like of shape (n_hyper,), or nested
        Where to start.
    log : bool or array_like of bool of shape (n_hyper,), default=False
        Which (flat) hypers to optimise by their logarithms, such as penalties; these stay positive.
    bounds : array_like of shape (n_hyper, 2), default=None
        Lower and upper bounds of the flat hypers, infinite for none. If None, logarithms move by six decades at most,
        others freely.
    max_inner_solves : int, default=30
        Inner problems to solve at most, the first and those of line searches among them.
    tol : float, default=1e-5
        The iteration ends where no element of the projected gradient is larger, in units of the outer loss per unit of
        the hyper, or of its logarithm.
    order : int, default=3
        Of the predictions; 0 starts from the last solution.
    schedule : {"exponential", "quadratic", "cubic"} or callable, default=None
        Tolerances ``k -> tolerance`` of the inner problems, as in :func:`tolerance_schedule`: the error of the input,
        relative to ``1 + max|input|``, with which a prediction is taken as it is. None solves all to rounding. The last
        solve is kept for the end, which is solved to rounding; the iteration goes on from there if it is no minimum.
    solver, sparsity
        Of :class:`~vittles_ng.ParametricSensitivityTaylorExpansion`.

    Returns
    -------
    HyperOptimum

    Raises
    ------
    VittlesError
        What the expansion or the outer loss raises at the start. Where that happens later the iteration ends there, and
        ``message`` says why.
    ValueError
        An argument is out of its range.

    Notes
    -----
    An inner solve is an inner problem at hypers of its own, whether its prediction was polished or, with a schedule,
    taken as it is; one that failed counts. The smallest held-out loss is not an estimate of the loss on new data: many
    hypers overfit a small held-out set, so keep a third set for that.

    In the logarithms of penalties an outer loss is flat where they are far too small or too large: from such a start
    little is gained in many solves. Begin at the best of a few values common to all.

    References
    ----------
    F. Pedregosa, ICML 2016 (arXiv 1602.02355). R. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16 (1995) 1190.

    Examples
    --------
    The penalty that shrinks a mean of 2 to 1.5, ``2 / (1 + penalty) = 1.5``:

    >>> import autograd.numpy as np
    >>> from vittles_ng.hypergradient import optimise_hypers
    >>> inner = lambda z, penalty: 0.5 * np.sum((z - 2.0) ** 2) + 0.5 * penalty[0] * np.sum(z**2)
    >>> found = optimise_hypers(lambda z: np.sum((z - 1.5) ** 2), inner, np.zeros(1), np.ones(1), log=True)
    >>> print(found.hyper.round(4), found.converged)
    [0.3333] True
    """
    variables = Variables(hyper_val0, log)
    limits = _limits(bounds, variables)
    checked_integer(max_inner_solves, "max_inner_solves", 1)
    tol = checked_positive(tol, "tol")
    if schedule is not None and not callable(schedule):
        schedule = tolerance_schedule(schedule)
    inner = InnerProblem(
        variables.function(objective), input_val0, checked_integer(order, "order", 0), solver, sparsity
    )
    search = _Search(inner, variables, outer_loss, schedule, max_inner_solves, tol)
    return search.result(*search.run(limits))


class _Point(NamedTuple):
    """An evaluation: outer loss, its gradient, the most that the loss may be, whether the solution is exact."""

    variables: np.ndarray
    value: float
    gradient: np.ndarray
    at_most: float
    is_exact: bool
    expansion: object


class _Search:
    """The outer loss and its gradient, as scipy.optimize wants them, and the best point so far."""

    def __init__(self, inner, variables, outer_loss, schedule, max_inner_solves, tol):
        self._inner, self._variables, self._schedule, self._tol = inner, variables, schedule, tol
        self._max, self._reserved = max_inner_solves, 0 if schedule is None else 1
        self._outer_loss = variables.function(of_input_and_hyper(outer_loss))
        self._outer, self._best, self._path, self._first, self._scale = None, None, [], None, 1.0
        self._failed = False

    def run(self, limits):
        """Minimise; whether it converged, and why it ended."""
        self._evaluated(self._variables.start)
        # L-BFGS-B's first step has the length of the gradient, one at most: one in whatever units the outer loss is
        size = float(np.linalg.norm(self._best.gradient))
        self._scale = 1.0 / size if size > 0.0 else 1.0
        converged, message = self._minimised(limits)
        if converged and self._inner.n_solves == 1 and np.any(limits[:, 0] < limits[:, 1]):
            return True, (
                f"the projected gradient at the start, {self._projected(limits):.1e}, is under tol={self._tol:.0e} "
                "already: a minimum, or a part where the outer loss is flat, as where penalties are too small or too "
                "large to matter: start elsewhere, or pass a smaller tol, in units of the outer loss"
            )
        if self._reserved == 0:
            return converged, message
        # what an inexact solution says may be wrong: the end is solved for to rounding, and gone on from
        self._schedule, self._reserved = None, 0
        if not self._best.is_exact:
            try:
                self._evaluated(self._best.variables, is_final=True)
            except _Stop as stop:
                return False, str(stop)
        if not self._failed and self._inner.n_solves < self._max and self._projected(limits) > self._tol:
            return self._minimised(limits)
        return converged, message

    def _minimised(self, limits):
        """L-BFGS-B from the best point."""
        from scipy.optimize import minimize

        self._first = self._best
        options = {"gtol": self._tol * self._scale, "ftol": 10.0 * _EPS, "maxiter": 10**6, "maxfun": 10**6}
        try:
            ended = minimize(self, self._best.variables, jac=True, method="L-BFGS-B", bounds=limits, options=options)
        except _Stop as stop:
            return False, str(stop)
        return bool(ended.success), str(ended.message)

    def _projected(self, limits):
        """Largest element of the projected gradient at the best point."""
        x = self._best.variables
        moved = np.clip(x - self._scale * self._best.gradient, *limits.T)
        return float(np.max(np.abs(x - moved))) / self._scale

    def __call__(self, point):
        found = self._first if np.array_equal(point, self._first.variables) else self._evaluated(point)
        return self._scale * found.value, self._scale * found.gradient

    def _evaluated(self, variables, is_final=False):
        variables = np.array(variables)
        k = self._inner.n_solves + 1
        if k > self._max - self._reserved and k > 1:
            raise _Stop(f"all {self._max} inner solves are spent: raise max_inner_solves to go on")
        hyper = np.array(self._variables.hyper(variables))
        try:
            expansion = self._inner.solve(variables, None if self._schedule is None else self._schedule(k))
            found = self._at(variables, expansion)
        except (VittlesError, ArithmeticError) as error:
            if self._best is None:
                raise
            self._path.append((hyper, np.nan))
            self._failed = True
            shown = np.array2string(hyper, precision=3, threshold=6)
            raise _Stop(
                f"stopped at hyper {shown}, {type(error).__name__}: {error} Pass bounds to stay away."
            ) from error
        self._path.append((hyper, found.value))
        best = self._best
        if best is None or found.at_most < best.at_most or is_final:
            self._best = found
        return found

    def _at(self, variables, expansion):
        problem = expansion._problem
        if self._outer is None:
            self._outer = OuterLoss(self._outer_loss, problem.input, problem.hyper)
        derivatives = ExactDerivatives(problem)
        value, by_input, by_hyper = self._outer(problem.input.flat0, problem.hyper.flat0)
        gradient = by_hyper - derivatives.pulled(expansion.solver.solve(by_input))
        error = self._inner.input_error * np.ones_like(by_input)
        at_most = value + float(np.abs(by_input) @ error)
        is_exact = np.max(error) <= _AS_EXACT * (1.0 + np.max(np.abs(problem.input.flat0)))
        return _Point(variables, value, gradient, at_most, bool(is_exact), expansion)

    def result(self, converged, message):
        """The :class:`HyperOptimum`."""
        expansion = self._best.expansion
        derivatives = ExactDerivatives(expansion._problem)
        found = assessed(derivatives, self._outer, FactorSystem(derivatives, expansion.solver), np.inf)
        inner = self._inner
        return HyperOptimum(
            hyper=np.array(self._variables.hyper(expansion.hyper_val0)),
            input=expansion.input_val0,
            outer_loss=self._best.value,
            hypergradient=found,
            converged=converged,
            message=message,
            hypers=np.array([hyper for hyper, _ in self._path]),
            outer_losses=np.array([value for _, value in self._path]),
            n_inner_solves=inner.n_solves,
            n_polished=inner.n_polished,
            n_evaluations=inner.n_evaluations,
        )


def _limits(bounds, variables):
    """Bounds of the variables, (n, 2)."""
    start, log = variables.start, variables.log
    if bounds is None:
        reach = np.where(log, _DECADES * np.log(10.0), np.inf)
        return np.stack([start - reach, start + reach], axis=1)
    bounds = np.array(bounds, dtype=np.float64)
    if bounds.shape != (start.size, 2):
        raise ShapeError(f"bounds have shape {bounds.shape}: ({start.size}, 2) is needed, infinite for none.")
    if np.any(np.isnan(bounds)):
        raise ValueError("bounds have NaN or None: use infinity for none.")
    flat = variables.structure.flat0
    bad = ~((bounds[:, 0] <= flat) & (flat <= bounds[:, 1]))
    if bad.any():
        worst = int(np.flatnonzero(bad)[0])
        raise ValueError(f"hyper {worst} starts at {flat[worst]:.3g}, outside its bounds {bounds[worst]}.")
    if np.any(bounds[log, 0] < 0.0):
        raise ValueError("a hyper that is optimised by its logarithm has a negative lower bound: use 0 or more.")
    return np.stack([variables.of_hyper(side) for side in bounds.T], axis=1)
