"""Study 1: time against order for one new direction, and time at equal achieved error."""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.models import exact_refit
from benchmarks.rivals import chord, matrix_products, newton, series_methods
from benchmarks.timing import Cell, interleaved_medians

AGREEMENT_TOL = 1e-8
# Errors below this, in standard errors, are rounding; a solver is not asked to do better.
ERROR_FLOOR = 1e-11
N_ERROR_STEPS = 16
MAX_SOLVER_STEPS = {"chord": 60, "Newton": 12}
SOLVERS = {"chord": chord, "Newton": newton}
FIRST_CALL_ORDER = 4
# No rival's time grows faster from order to order; a measured ratio above it is a hiccup of the first call.
MAX_GROWTH = 4.0


@dataclass(frozen=True)
class Options:
    """How long the study may take: orders 1 to `max_order`, `rounds` samples, `budget` seconds for one evaluation."""

    max_order: int = 8
    rounds: int = 9
    slot: float = 0.02
    budget: float = 3.0


class MethodsDisagree(RuntimeError):
    """Two methods give different values for the same series: no time of either means anything."""


def probe(model, options, hyper):
    """Evaluate every series method at `hyper`, order by order, and compare with the engine, before anything is timed.

    A method is dropped from the order on whose evaluation would, by the growth of the last two, exceed the budget, or
    which a rival cannot do: nested JVPs of a quotient ``g / y`` hold ``y**(2**k)`` and overflow.

    Returns
    -------
    evaluators : dict of dict
        method -> order -> ``hyper -> value``.
    differences : dict of float
        method -> largest difference from the engine, relative to the largest change of the input.
    failures : dict of str
        rival -> the order it failed at, and how.

    Raises
    ------
    MethodsDisagree
        If a difference exceeds 1e-8.
    """
    evaluators, differences, failures, reference = {}, {}, {}, {}
    for method, build in series_methods().items():
        expansion = build(model, options.max_order, hess0=model.hess0)
        evaluators[method], worst, seconds, growth = {}, 0.0, 0.0, 1.0
        for order in range(1, options.max_order + 1):
            if seconds * min(growth, MAX_GROWTH) > options.budget:
                break
            evaluate = partial(expansion.evaluate_taylor_series, max_order=order)
            start = time.perf_counter()
            try:
                with np.errstate(all="ignore"):
                    value = evaluate(hyper)
            except ValueError as error:
                if method == "engine":
                    raise
                failures[method] = f"order {order}: {str(error).split(':')[0]}"
                break
            elapsed = time.perf_counter() - start
            growth, seconds = (elapsed / seconds if seconds else 1.0), elapsed
            change = reference.setdefault(order, value) - model.input_val0
            worst = max(worst, float(np.max(np.abs(value - reference[order])) / np.max(np.abs(change))))
            evaluators[method][order] = evaluate
        if not worst <= AGREEMENT_TOL:
            raise MethodsDisagree(
                f"{model.title}: {method} differs from the engine by {worst:.1e} > {AGREEMENT_TOL:.0e} relative: "
                "find out which is wrong before timing either."
            )
        differences[method] = worst
    return evaluators, differences, failures


def series_errors(model, evaluate_at_order, hypers, exact):
    """order -> root-mean-square error of the series over `hypers`, in standard errors."""
    return {
        order: model.rms_error(np.array([evaluate(hyper) for hyper in hypers]), exact)
        for order, evaluate in evaluate_at_order.items()
    }


def solver_steps(model, solver, targets, hypers, exact):
    """order -> (steps, error): the fewest steps of a solver whose error is at most that of the series of that order.

    None where `MAX_SOLVER_STEPS` do not reach it, as where the iteration diverges.
    """
    single_step = SOLVERS[solver]
    errors = []
    for n_steps in range(1, MAX_SOLVER_STEPS[solver] + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.array([single_step(model, hyper, n_steps) for hyper in hypers])
        errors.append(model.rms_error(values, exact))
        if errors[-1] <= max(min(targets.values()), ERROR_FLOOR) or not np.isfinite(errors[-1]):
            break
    steps = {}
    for order, target in targets.items():
        reached = [n for n, error in enumerate(errors, start=1) if error <= max(target, ERROR_FLOOR)]
        steps[order] = (reached[0], errors[reached[0] - 1]) if reached else None
    return steps


def first_calls(model, evaluators, options, draw):
    """method -> (order, seconds) from the bare objective to the first value: tape, Hessian, factor, evaluation."""
    cells, orders = {}, {}
    for method, build in series_methods().items():
        order = orders[method] = min(FIRST_CALL_ORDER, max(evaluators[method]))
        cells[method] = Cell(
            lambda hyper, build=build, order=order: build(model, order).evaluate_taylor_series(hyper), draw
        )
    seconds = interleaved_medians(cells, rounds=min(3, options.rounds), slot=options.slot)
    return {method: {"order": orders[method], "seconds": seconds[method]} for method in cells}


def run_model(model, options, seed=0):
    """Time every method on one model.

    Returns
    -------
    dict
        Of plain numbers, as it is written to the JSON: the record of the model.
    """
    rng = np.random.default_rng(seed)
    draw = partial(model.draw, rng)
    evaluators, differences, failures = probe(model, options, draw())
    hypers = [draw() for _ in range(N_ERROR_STEPS)]
    exact = np.array([exact_refit(model, hyper) for hyper in hypers])
    errors = series_errors(model, evaluators["engine"], hypers, exact)
    steps = {solver: solver_steps(model, solver, errors, hypers, exact) for solver in SOLVERS}

    cells = {
        (method, order): Cell(evaluate, draw)
        for method, by_order in evaluators.items()
        for order, evaluate in by_order.items()
    }
    for solver, by_order in steps.items():
        for n_steps in {reached[0] for reached in by_order.values() if reached}:
            cells[solver, n_steps] = Cell(
                lambda hyper, run=SOLVERS[solver], n_steps=n_steps: run(model, hyper, n_steps), draw
            )
    if model.design is not None:
        for order in evaluators["engine"]:
            cells["products", order] = Cell(matrix_products(model.design, order), draw)
    seconds = interleaved_medians(cells, options.rounds, options.slot)

    return {
        "title": model.title,
        "step": model.step,
        "n_input": model.input_val0.size,
        "n_hyper": model.hyper_val0.size,
        "base_newton_step": model.base_newton_step,
        "difference_from_engine": differences,
        "failures": failures,
        "error": errors,
        "seconds": {
            method: {order: seconds[method, order] for order in by_order} for method, by_order in evaluators.items()
        },
        "equal_error": {
            solver: {
                order: reached and {"steps": reached[0], "error": reached[1], "seconds": seconds[solver, reached[0]]}
                for order, reached in by_order.items()
            }
            for solver, by_order in steps.items()
        },
        "products": {order: seconds["products", order] for method, order in cells if method == "products"},
        "first_call": first_calls(model, evaluators, options, draw),
    }
