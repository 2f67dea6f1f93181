"""The report: approximate refits of a generalised linear model, checked against exact ones.

A fit is expanded in the data weights (leave-one-out, bootstrap) and, with a ridge penalty ``exp(rho)``, in ``rho`` (a
grid). Exact refits start Newton's method, with the closed-form Hessian, at the base point: the strongest simple rival.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import autograd.numpy as anp
import numpy as np

from .. import plots
from ..errors import DataError, optional_import
from ..expansion import ParametricSensitivityTaylorExpansion
from .data import FAIR_FORMULA, fair_data, glm_data, read_csv
from .model import fit_glm, solve_exactly
from .table import Line, footnotes, format_table, summary, write_csv

__all__ = ["Outcome", "Task", "make_tasks", "run_report", "run_task"]

# Verified refits of one task; values of a block of new hypers (16 MB); the penalty grid, as a factor around its base.
N_VERIFIED = 40
BLOCK_VALUES = 2**21
N_PENALTIES, PENALTY_RANGE = 101, 3.0


@dataclass(frozen=True)
class Task:
    """Refits of one kind: their objective, base point, new hypers and exact solution.

    ``hypers(rows)`` gives the new hypers of the refits numbered ``rows``, of shape ``(len(rows), n_hyper)``.
    """

    name: str
    objective: Callable
    input_val0: np.ndarray
    hyper_val0: np.ndarray
    n_refits: int
    hypers: Callable
    exact: Callable


@dataclass(frozen=True)
class Outcome:
    """A task's lines of the table, and the refits behind them.

    Attributes
    ----------
    task : Task
    lines : list of Line
    values : ndarray of shape (order, n_refits, n_input)
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


def make_tasks(fit, n_leave_out, n_bootstrap, seed):
    """Leave-one-out, bootstrap and penalty grid.

    Parameters
    ----------
    fit : Fit
    n_leave_out : int or None
        Observations to leave out, spread evenly over the file; None for all of them.
    n_bootstrap : int
        Resamples, drawn as multinomial counts.
    seed : int

    Returns
    -------
    list of Task
    """
    data, loss = fit.data, fit.family.loss
    n_obs = len(data.response)

    def weighted(input_val, weights):
        return anp.sum(weights * loss(anp.dot(data.design, input_val), data.response))

    def penalised(input_val, log_penalty):
        ridge = 0.5 * anp.exp(log_penalty[0]) * anp.sum(data.penalised * input_val**2)
        return anp.sum(loss(anp.dot(data.design, input_val), data.response)) + ridge

    def weights_without(left_out):
        weights = np.ones((len(left_out), n_obs))
        weights[np.arange(len(left_out)), left_out] = 0.0
        return weights

    n_left_out = min(n_leave_out or n_obs, n_obs)
    left_out = np.linspace(0, n_obs - 1, n_left_out).astype(int)
    counts = np.random.default_rng(seed).multinomial(n_obs, np.full(n_obs, 1.0 / n_obs), size=n_bootstrap)
    # A penalty of a tenth of the information on an average covariate shrinks visibly and keeps the model's shape.
    information = np.diag(fit.hessian)[data.penalised > 0].mean()
    log_penalty0 = math.log(0.1 * information)
    grid = log_penalty0 + math.log(PENALTY_RANGE) * np.linspace(-1.0, 1.0, N_PENALTIES)
    penalised0 = solve_exactly(data, fit.family, fit.input_val, penalty=math.exp(log_penalty0)).values[-1]

    def exact_weights(weights):
        return solve_exactly(data, fit.family, fit.input_val, weights)

    def exact_penalty(log_penalty):
        return solve_exactly(data, fit.family, penalised0, penalty=math.exp(log_penalty[0]))

    base = weighted, fit.input_val, np.ones(n_obs)
    penalised_base = penalised, penalised0, np.array([log_penalty0])
    return [
        Task("leave-one-out", *base, n_left_out, lambda i: weights_without(left_out[i]), exact_weights),
        Task("bootstrap", *base, n_bootstrap, lambda i: counts[i].astype(float), exact_weights),
        Task("penalty grid", *penalised_base, N_PENALTIES, lambda i: grid[i, None], exact_penalty),
    ]


def approximate(task, order, tick):
    """All refits at one order, from a new expansion: values ``(n_refits, n_input)`` and seconds, set-up included."""
    began = perf_counter()
    expansion = ParametricSensitivityTaylorExpansion.optimization_objective(
        task.objective, task.input_val0, task.hyper_val0, order
    )
    block = int(np.clip(BLOCK_VALUES // len(task.hyper_val0), 1, 256))
    values = np.empty((task.n_refits, len(task.input_val0)))
    for first in range(0, task.n_refits, block):
        rows = np.arange(first, min(first + block, task.n_refits))
        values[rows] = expansion.evaluate_taylor_series(task.hypers(rows))
        tick(len(rows))
    return values, perf_counter() - began


def chosen_to_verify(fit, task, values, rng):
    """Refits to solve exactly, and how many refits each of them stands for.

    Evenly spaced on a grid, otherwise the most displaced half, for themselves, and a random half, for all others.
    """
    n = task.n_refits
    if n <= N_VERIFIED:
        return np.arange(n), np.ones(n)
    if len(task.hyper_val0) == 1:
        return np.linspace(0, n - 1, N_VERIFIED // 2 + 1).astype(int), np.ones(N_VERIFIED // 2 + 1)
    ranked = np.argsort(-fit.in_standard_errors(values - task.input_val0))
    top, rest = ranked[: N_VERIFIED // 2], ranked[N_VERIFIED // 2 :]
    drawn = rng.choice(rest, N_VERIFIED - len(top), replace=False)
    stands_for = np.repeat([1.0, len(rest) / len(drawn)], [len(top), len(drawn)])
    return np.concatenate([top, drawn]), stands_for


def run_task(fit, task, order, seed, tick):
    """Approximate refits at orders 1 to ``order``, and exact refits of some of them.

    Parameters
    ----------
    fit : Fit
    task : Task
    order : int
    seed : int
        Chooses which refits are verified.
    tick : callable
        Called with the number of refits just made.

    Returns
    -------
    Outcome
    """
    refits = [approximate(task, k, tick) for k in range(1, order + 1)]
    chosen, stands_for = chosen_to_verify(fit, task, refits[0][0], np.random.default_rng(seed))
    paths = [task.exact(task.hypers(np.array([row]))[0]) for row in chosen]
    is_solved = np.array([path.solved for path in paths])
    rows, solved = chosen[is_solved], [path for path in paths if path.solved]
    exact = np.array([path.values[-1] for path in solved]).reshape(len(rows), len(task.input_val0))
    newton_errors, newton_seconds = newton_profile(fit, solved, stands_for[is_solved])
    change = float(np.max(fit.in_standard_errors(exact - task.input_val0))) if len(rows) else math.nan
    lines = []
    for k, (values, elapsed) in enumerate(refits, start=1):
        error, equal_step = math.nan, -1
        if len(rows):
            error = float(np.max(fit.in_standard_errors(values[rows] - exact)))
            # The first Newton iterate that is as good; the start itself, known after no time, is no refit.
            equal_step = max(1, int(np.argmax(newton_errors <= error)))
        full, equal = task.n_refits * newton_seconds[[-1, equal_step]]
        speeds = full, full / elapsed, equal, equal / elapsed
        lines.append(Line(task.name, task.n_refits, len(rows), k, error, elapsed, *speeds, change))
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


def run_report(
    path=None, formula=None, family="binomial", output="report", order=4, n_bootstrap=200, leave_out=None, seed=0
):
    """Fit, expand, refit approximately and exactly; print a table and write it with a figure.

    Parameters
    ----------
    path : str, optional
        CSV file; default: the built-in data on extramarital affairs (``statsmodels.datasets.fair``).
    formula : str, optional
        Needed with ``path``.
    family : {"binomial", "poisson", "gaussian"}
    output : str
        Folder for ``report.csv``, ``coefficients.csv`` and ``report.png``, made where it is missing.
    order : int
        Highest order of the expansions.
    n_bootstrap : int
    leave_out : int, optional
        How many observations to leave out, one at a time; default: all.
    seed : int

    Returns
    -------
    list of Line

    Raises
    ------
    VittlesError
        Unusable data, formula or output folder; a missing optional dependency.
    """
    frame = fair_data() if path is None else read_csv(path)
    formula = formula or (FAIR_FORMULA if path is None else None)
    if formula is None:
        raise DataError('--data needs --formula, such as "y ~ x1 + x2"')
    data = glm_data(frame, formula, family)
    figure = optional_import("matplotlib.figure").Figure(figsize=(11, 4.8), layout="constrained")
    fit = fit_glm(data, family)
    folder = make_folder(output)
    tasks = make_tasks(fit, leave_out, n_bootstrap, seed)
    # The first expansion of a process loads and warms up what all others use: apart, or one line would carry it.
    _, first_call = approximate(replace(tasks[-1], n_refits=1), order, lambda n_refits: None)
    bar = optional_import("tqdm").tqdm(
        total=order * sum(task.n_refits for task in tasks), unit=" refits", delay=2, disable=None, leave=False
    )
    with bar:
        outcomes = [run_task(fit, task, order, seed, bar.update) for task in tasks]
    lines = [line for outcome in outcomes for line in outcome.lines]
    write_csv(folder / "report.csv", [asdict(line) for line in lines])
    write_csv(folder / "coefficients.csv", fit.coefficients())
    plots.report_figure(figure, fit, outcomes).savefig(folder / "report.png", dpi=150)
    print(summary("statsmodels' fair survey" if path is None else path, formula, fit, family))
    print(format_table(lines))
    print(footnotes(outcomes, first_call, folder))
    return lines


def make_folder(output):
    """The output folder, made where it is missing; refused before the work if nothing can be written there."""
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"cannot write into {output}: {error.strerror}") from None
    return folder
