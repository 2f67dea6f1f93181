"""The report: approximate refits of a generalised linear model, checked against exact ones.

A fit is expanded in the data weights (leave-one-out, bootstrap) and, with a ridge penalty ``exp(rho)``, in ``rho`` (a
grid). Exact refits start Newton's method, with the closed-form Hessian, at the base point: the strongest simple rival.
"""

import csv
import math
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import autograd.numpy as anp
import numpy as np

from .. import plots
from ..errors import DataError, optional_import
from ..expansion import ParametricSensitivityTaylorExpansion
from .data import FAIR_FORMULA, fair_data, glm_data, read_csv
from .model import fit_glm, solve_exactly

__all__ = ["Line", "Outcome", "Task", "format_table", "make_tasks", "run_report", "run_task"]

# Errors above this many standard errors are pointed out.
USELESS = 0.1
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
class Line:
    """One line of the table; times are in seconds and for all refits of the task."""

    task: str
    refits: int
    verified: int
    order: int
    max_error_in_standard_errors: float
    seconds: float
    exact_seconds: float
    speed_up: float
    equal_error_exact_seconds: float
    equal_error_speed_up: float


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
    """Refits to solve exactly: evenly spaced on a grid, otherwise the most displaced half and a random half."""
    if task.n_refits <= N_VERIFIED:
        return np.arange(task.n_refits)
    if len(task.hyper_val0) == 1:
        return np.linspace(0, task.n_refits - 1, N_VERIFIED // 2 + 1).astype(int)
    ranked = np.argsort(-fit.in_standard_errors(values - task.input_val0))
    top, rest = ranked[: N_VERIFIED // 2], ranked[N_VERIFIED // 2 :]
    return np.concatenate([top, rng.choice(rest, N_VERIFIED - len(top), replace=False)])


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
    chosen = chosen_to_verify(fit, task, refits[0][0], np.random.default_rng(seed))
    paths = [task.exact(task.hypers(np.array([row]))[0]) for row in chosen]
    solved = [path for path in paths if path.solved]
    rows = np.array([row for row, path in zip(chosen, paths, strict=True) if path.solved], dtype=int)
    exact = np.array([path.values[-1] for path in solved]).reshape(len(rows), len(task.input_val0))
    newton_errors, newton_seconds = newton_profile(fit, solved)
    lines = []
    for k, (values, elapsed) in enumerate(refits, start=1):
        error, equal_step = math.nan, -1
        if len(rows):
            error = float(np.max(fit.in_standard_errors(values[rows] - exact)))
            # The first Newton iterate that is as good; the start itself, known after no time, is no refit.
            equal_step = max(1, int(np.argmax(newton_errors <= error)))
        full, equal = task.n_refits * newton_seconds[[-1, equal_step]]
        lines.append(
            Line(task.name, task.n_refits, len(rows), k, error, elapsed, full, full / elapsed, equal, equal / elapsed)
        )
    return Outcome(task, lines, np.array([values for values, _ in refits]), rows, exact, len(paths) - len(solved))


def newton_profile(fit, paths):
    """Largest error (standard errors) and mean seconds after each Newton step, over several exact refits."""
    if not paths:
        return np.array([math.nan]), np.array([math.nan])
    n_iterates = max(len(path.values) for path in paths)
    steps = [np.minimum(np.arange(n_iterates), len(path.values) - 1) for path in paths]
    errors = [fit.in_standard_errors(path.values[i] - path.values[-1]) for path, i in zip(paths, steps, strict=True)]
    seconds = [path.seconds[i] for path, i in zip(paths, steps, strict=True)]
    return np.max(errors, axis=0), np.mean(seconds, axis=0)


def format_table(lines):
    """The table as text, at most 100 characters wide.

    Examples
    --------
    >>> print(format_table([Line("bootstrap", 200, 40, 3, 2.5e-3, 0.5, 2.0, 4.0, 1.0, 2.0)]))
    task       refits  verified  order  error (s.e.)  time (s)  exact (s)  speed-up  at equal error
    -----------------------------------------------------------------------------------------------
    bootstrap     200        40      3       2.5e-03       0.5          2      4.0x            2.0x
    """
    head = "task,refits,verified,order,error (s.e.),time (s),exact (s),speed-up,at equal error".split(",")
    cells = [
        [
            line.task,
            f"{line.refits}",
            f"{line.verified}",
            f"{line.order}",
            f"{line.max_error_in_standard_errors:.1e}",
            f"{line.seconds:.2g}",
            f"{line.exact_seconds:.2g}",
            f"{line.speed_up:.1f}x",
            f"{line.equal_error_speed_up:.1f}x",
        ]
        for line in lines
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    aligned = [
        "  ".join([row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)])
        for row in [head, *cells]
    ]
    tasks = [None, *(line.task for line in lines)]
    for i in range(len(lines), 0, -1):
        if tasks[i] != tasks[i - 1]:
            aligned.insert(i, "" if i > 1 else "-" * len(aligned[0]))
    return "\n".join(aligned)


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
        Folder for ``report.csv`` and ``report.png``, made where it is missing.
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
    print(footnotes(outcomes, folder))
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


def write_csv(path, rows):
    """Dictionaries as the rows of a table, at full precision."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def summary(source, formula, fit, family):
    """What was fitted."""
    n_obs, n_input = fit.data.design.shape
    text = f"{source}: {n_obs} observations, {n_input} coefficients. "
    text += f"{family.capitalize()} model of {fit.data.response_name}: {formula}"
    return "\n" + textwrap.fill(text, 100) + "\n"


def footnotes(outcomes, folder):
    """What the columns mean, and what could not be verified."""
    notes = [
        "error: largest |approximate - exact refit| of any coefficient among the verified refits, in standard errors "
        "of the fit. Verified: the most displaced and as many random ones; on the grid, evenly spaced.",
        "time: all refits at this order, one recording of the model and one factorization included. exact: the same "
        "refits by Newton's method from the base point to rounding, estimated from the verified ones; at equal error: "
        "stopped as soon as its error is as small as this order's.",
    ]
    notes += [
        f"{outcome.task.name}: {outcome.n_unsolved} of the refits to verify have no finite optimum (separable, or a "
        "coefficient not identified without the observations left out) and are not in the error."
        for outcome in outcomes
        if outcome.n_unsolved
    ]
    notes += [
        f"{outcome.task.name}: off by {outcome.lines[-1].max_error_in_standard_errors:.2g} standard errors at order "
        f"{outcome.lines[-1].order}: these steps are too long for the series, use exact refits."
        for outcome in outcomes
        if outcome.lines[-1].max_error_in_standard_errors > USELESS
    ]
    notes.append(f"Written into {folder}: report.csv (this table), coefficients.csv, report.png")
    return "\n" + "\n".join(textwrap.fill(note, 100) for note in notes)
