"""Approximate refits of a generalised linear model beside exact ones.

A fit is expanded in the data weights (leave-one-out, bootstrap) by its jackknife, and, with a ridge penalty
``exp(rho)``, in ``rho`` (a grid). Exact refits start Newton's method, with the closed-form Hessian, at the base point:
the strongest simple rival, and an oracle that shares no code with the jackknife.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import autograd.numpy as anp
import numpy as np

from ..expansion import ParametricSensitivityTaylorExpansion
from ..jackknife.resamples import Resamples
from .model import solve_exactly
from .table import NEWTON, Line

__all__ = ["Outcome", "Task", "chosen_to_verify", "left_out", "make_tasks", "run_task", "units_of"]

# Verified refits of one task; weights of a block of resamples (16 MB); the penalty grid, as a factor around its base.
N_VERIFIED = 40
BLOCK_VALUES = 2**21
N_PENALTIES, PENALTY_RANGE = 101, 3.0
# Orders that a jackknife leaves each observation out at without a pass over the data for each.
LEAVE_ONE_OUT_ORDER = 3


@dataclass(frozen=True)
class Task:
    """Refits of one kind: how they are approximated, and their exact solution.

    Attributes
    ----------
    name : str
    input_val0 : ndarray of shape (n_input,)
        The fit that they are expanded around.
    n_refits : int
    orders : tuple
        Orders, and ``NEWTON`` where that is a rival.
    approximate : callable
        ``approximate(order) -> (n_refits, n_input)``; a row of NaN where there is none.
    exact : callable
        ``exact(i) -> NewtonPath`` of refit i.
    set_up : float
        Seconds that every order takes beside ``approximate``.
    penalties : ndarray of shape (n_refits,) or None
        Of the penalty grid.
    """

    name: str
    input_val0: np.ndarray
    n_refits: int
    orders: tuple
    approximate: Callable
    exact: Callable
    set_up: float = 0.0
    penalties: np.ndarray | None = None


@dataclass(frozen=True)
class Outcome:
    """A task's lines of the table, and the refits behind them.

    Attributes
    ----------
    task : Task
    lines : list of Line
    values : ndarray of shape (n_orders, n_refits, n_input)
        Approximate refits.
    rows : ndarray of shape (n_verified,)
        Which refits have an exact one beside them.
    exact : ndarray of shape (n_verified, n_input)
    n_unsolved : int
        Refits chosen for verification that have no finite solution.
    """

    task: Task
    lines: list
    values: np.ndarray
    rows: np.ndarray
    exact: np.ndarray
    n_unsolved: int


def make_tasks(fit, order, n_resamples, seed):
    """Leave-one-out (of groups, where the fit has them), bootstrap and penalty grid.

    Parameters
    ----------
    fit : Fit
    order : int
        Highest order of the expansions; of leave-one-out at most 3.
    n_resamples : int
    seed : int

    Returns
    -------
    list of Task
    """
    jackknife = fit.jackknife
    resamples = Resamples(jackknife.weights0, jackknife.groups, n_resamples, np.random.default_rng(seed))
    units = units_of(jackknife)

    def exact(weights):
        return solve_exactly(fit.data, fit.family, fit.input_val, weights)

    def resampled(how):
        values = np.empty((n_resamples, jackknife.n_input))
        block = int(np.clip(BLOCK_VALUES // jackknife.n_obs, 1, 256))
        for first in range(0, n_resamples, block):
            rows = slice(first, min(first + block, n_resamples))
            values[rows] = jackknife.reweight(resamples.weights(rows), order=how)
        return values

    orders = tuple(range(1, order + 1))
    base = jackknife.input_val0
    leave_one_out = Task(
        "leave-one-out" if jackknife.groups is None else "leave-group-out",
        base,
        int(units.max()) + 1,
        (*orders[:LEAVE_ONE_OUT_ORDER], NEWTON),
        lambda how: left_out(jackknife, how),
        lambda i: exact((units != i).astype(float)),
        fit.set_up,
    )
    bootstrap = Task(
        "bootstrap",
        base,
        n_resamples,
        orders,
        resampled,
        lambda i: exact(resamples.weights(slice(i, i + 1))[0].astype(float)),
        fit.set_up,
    )
    return [leave_one_out, bootstrap, _penalty_grid(fit, orders)]


def left_out(jackknife, how):
    """Refits without each unit, (n_units, n_input), by the series of an order or by one Newton step."""
    if how == NEWTON:
        return np.asarray(jackknife.leave_one_out(method="newton"))
    return np.asarray(jackknife.leave_one_out(order=how))


def units_of(jackknife):
    """The number of the observation, or of its group, that each observation is left out with, (n_obs,)."""
    if jackknife.groups is None:
        return np.arange(jackknife.n_obs)
    return np.unique(jackknife.groups, return_inverse=True)[1].ravel()


def _penalty_grid(fit, orders):
    data, loss = fit.data, fit.family.loss

    def penalised(input_val, log_penalty):
        ridge = 0.5 * anp.exp(log_penalty[0]) * anp.sum(data.penalised * input_val**2)
        return anp.sum(loss(anp.dot(data.design, input_val), data.response)) + ridge

    # A penalty of a tenth of the information on an average covariate shrinks visibly and keeps the model's shape.
    information = np.diag(fit.hessian)[data.penalised > 0].mean()
    log_penalty0 = math.log(0.1 * information)
    grid = log_penalty0 + math.log(PENALTY_RANGE) * np.linspace(-1.0, 1.0, N_PENALTIES)
    base = solve_exactly(data, fit.family, fit.input_val, penalty=math.exp(log_penalty0)).values[-1]

    def approximate(order):
        expansion = ParametricSensitivityTaylorExpansion.optimization_objective(
            penalised, base, np.array([log_penalty0]), order
        )
        return expansion.evaluate_taylor_series(grid[:, None])

    approximate(orders[-1])  # what the first recording of a process loads belongs to no line
    return Task(
        "penalty grid",
        base,
        N_PENALTIES,
        orders,
        approximate,
        lambda i: solve_exactly(data, fit.family, base, penalty=math.exp(grid[i])),
        penalties=np.exp(grid),
    )


def chosen_to_verify(fit, task, values, rng):
    """Refits to solve exactly, and how many refits each of them stands for.

    Evenly spaced on a grid, otherwise the most displaced half, for themselves, and a random half, for all others.
    """
    n = task.n_refits
    if n <= N_VERIFIED:
        return np.arange(n), np.ones(n)
    if task.penalties is not None:
        return np.linspace(0, n - 1, N_VERIFIED // 2 + 1).astype(int), np.ones(N_VERIFIED // 2 + 1)
    displaced = fit.in_standard_errors(values - task.input_val0)
    ranked = np.argsort(-np.where(np.isfinite(displaced), displaced, np.inf), kind="stable")
    top, rest = ranked[: N_VERIFIED // 2], ranked[N_VERIFIED // 2 :]
    drawn = rng.choice(rest, N_VERIFIED - len(top), replace=False)
    stands_for = np.repeat([1.0, len(rest) / len(drawn)], [len(top), len(drawn)])
    return np.concatenate([top, drawn]), stands_for


def run_task(fit, task, seed, tick):
    """Approximate refits at every order of a task, and exact refits of some of them.

    Parameters
    ----------
    fit : Fit
    task : Task
    seed : int
        Chooses which refits are verified.
    tick : callable
        Called after each order, and after the exact refits.

    Returns
    -------
    Outcome
    """
    refits = []
    for how in task.orders:
        began = perf_counter()
        refits.append((task.approximate(how), perf_counter() - began + task.set_up))
        tick()
    chosen, stands_for = chosen_to_verify(fit, task, refits[0][0], np.random.default_rng(seed))
    paths = [task.exact(row) for row in chosen]
    tick()
    is_solved = np.array([path.solved for path in paths])
    rows, solved = chosen[is_solved], [path for path in paths if path.solved]
    exact = np.array([path.values[-1] for path in solved]).reshape(len(rows), len(task.input_val0))
    newton_errors, newton_seconds = newton_profile(fit, solved, stands_for[is_solved])
    change = float(np.max(fit.in_standard_errors(exact - task.input_val0))) if len(rows) else math.nan
    lines = []
    for how, (values, elapsed) in zip(task.orders, refits, strict=True):
        error, equal_step = math.nan, -1
        if len(rows):
            errors = fit.in_standard_errors(values[rows] - exact)
            error = float(np.max(np.where(np.isfinite(errors), errors, np.inf)))
            # The first Newton iterate that is as good; the start itself, known after no time, is no refit.
            equal_step = max(1, int(np.argmax(newton_errors <= error)))
        full, equal = task.n_refits * newton_seconds[[-1, equal_step]]
        speeds = full, full / elapsed, equal, equal / elapsed
        lines.append(Line(task.name, task.n_refits, len(rows), how, error, elapsed, *map(float, speeds), change))
    return Outcome(task, lines, np.array([values for values, _ in refits]), rows, exact, len(paths) - len(solved))


def newton_profile(fit, paths, stands_for):
    """Largest error (standard errors) and mean seconds of a refit after each Newton step, over several exact refits.

    The most displaced refits are over-represented among the verified ones and take more steps than most: the mean
    counts each path as often as it stands for.
    """
    if not paths:
        return np.array([math.nan]), np.array([math.nan])
    n_iterates = max(len(path.values) for path in paths)
    steps = [np.minimum(np.arange(n_iterates), len(path.values) - 1) for path in paths]
    errors = [fit.in_standard_errors(path.values[i] - path.values[-1]) for path, i in zip(paths, steps, strict=True)]
    seconds = [path.seconds[i] for path, i in zip(paths, steps, strict=True)]
    return np.max(errors, axis=0), np.average(seconds, axis=0, weights=stands_for)
