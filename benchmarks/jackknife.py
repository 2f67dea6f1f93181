"""Study: all leave-one-outs, and a bootstrap on one and two processes, against exact refits and one Newton step.

Exact refits are warm-started Newton with the closed-form Hessian in NumPy, to steps of 1e-10. They are timed on a
sample of 50 and extrapolated; errors are those of this sample and of the 50 observations that move the fit most, in
standard errors. The one-Newton-step rival is the package's (``method="newton"``, any loss) and, beside it, the formula
for logistic regression in three lines of NumPy. "Equal error" is tuned Newton with the fewest steps whose error is as
small; for the bootstrap batched chord steps too. Exact bootstrap refits are timed on 200.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from multiprocessing import get_context

import numpy as np
from scipy.special import expit

from benchmarks.bootstrap import (
    NEWTON_TOL,
    ChordRefits,
    NewtonRefits,
    NumPyNewtonRefits,
    fewest_steps,
    logistic_jackknife,
)
from benchmarks.models import logistic
from benchmarks.timing import Cell, interleaved_medians, load

N_SAMPLE, N_EXACT = 50, 200
ORDER_OF_BOOTSTRAP = 4
SECONDS_PER_METHOD = 20.0
BUILD, EXACT = "building the jackknife", "exact, NumPy Newton"
STEP, STEP_IN_NUMPY = "one Newton step", "one Newton step, NumPy formula"


def newton_steps_in_numpy(model):
    """One Newton step without each observation: ``b + H^{-1} x_n (p_n - y_n) / (1 - h_n)``, (n_obs, n_input)."""
    x, b = model.design, model.input_val0
    p = expit(x @ b)
    solved = x @ np.linalg.inv((x * (p * (1.0 - p))[:, None]).T @ x)
    leverage = p * (1.0 - p) * np.einsum("ij,ij->i", solved, x)
    return b + solved * ((p - model.response) / (1.0 - leverage))[:, None]


def leave_one_out(n_obs, n_input, order, rounds):
    """Print times and errors of all leave-one-outs of a logistic regression."""
    model = logistic(n_obs, n_input)
    jackknife = logistic_jackknife(model, order)
    ways = {f"series, order {k}": lambda k=k: jackknife.leave_one_out(order=k) for k in range(1, order + 1)}
    ways |= {
        STEP: lambda: jackknife.leave_one_out(method="newton"),
        STEP_IN_NUMPY: lambda: newton_steps_in_numpy(model),
    }
    values = {name: np.asarray(way()) for name, way in ways.items()}
    moves = np.max(np.abs(values["series, order 1"] - model.input_val0) / model.standard_errors, axis=1)
    sample = np.random.default_rng(0).choice(n_obs, N_SAMPLE, replace=False)
    checked = np.union1d(sample, np.argsort(-moves)[:N_SAMPLE])
    weights, of_checked = _without(n_obs, sample), _without(n_obs, checked)
    newton, tuned = NumPyNewtonRefits(model), NewtonRefits(model)
    exact = newton.to_tolerance(of_checked)
    errors = {name: (found[checked] - exact) / model.standard_errors for name, found in values.items()}

    runs = {BUILD: lambda: logistic_jackknife(model, order), EXACT: lambda: newton.to_tolerance(weights), **ways}
    steps = {}
    for name in (f"series, order {order}", STEP):
        target = _rms(errors[name]) * (1.0 + 1e-6)
        steps[name] = fewest_steps(model, tuned.by_steps, of_checked, exact, target)[0]
        runs["equal error", name] = lambda n=steps[name]: tuned.by_steps(weights, n)
    cells = {name: Cell(lambda _, run=run: run(), lambda: None) for name, run in runs.items()}
    seconds = interleaved_medians(cells, rounds, allowance=SECONDS_PER_METHOD)
    for name in (EXACT, *(("equal error", n) for n in steps)):
        seconds[name] *= n_obs / N_SAMPLE
    print(f"all {n_obs} leave-one-outs, {model.title}; building the jackknife takes {seconds[BUILD]:.3f} s")
    _print_leave_one_out(seconds, errors, steps)


def _print_leave_one_out(seconds, errors, steps):
    columns = f"{'s':>9s} {'exact / it':>11s} {'with build':>11s} {'max error':>10s} {'rms':>9s}"
    print(f"{'method':32s} {columns}  equal error / it")
    print(f"{EXACT:32s} {seconds[EXACT]:9.1f} {1:11.1f}   (of {N_SAMPLE}, extrapolated)")
    for name, off in errors.items():
        whole = f"{seconds[EXACT] / (seconds[name] + seconds[BUILD]):11.1f}" if name != STEP_IN_NUMPY else f"{'':11s}"
        equal = ""
        if name in steps:
            equal = f"{seconds['equal error', name] / seconds[name]:6.1f} (tuned Newton, {_plural(steps[name])})"
        print(
            f"{name:32s} {seconds[name]:9.3f} {seconds[EXACT] / seconds[name]:11.1f} {whole} "
            f"{np.max(np.abs(off)):10.1e} {_rms(off):9.1e}  {equal}".rstrip()
        )
    print()


def bootstrap(n_obs, n_input, n_resamples, rounds):
    """Print throughput of a bootstrap, verdicts off and on, in this process and in two others, and what is exact."""
    model = logistic(n_obs, n_input)
    jackknife = logistic_jackknife(model, ORDER_OF_BOOTSTRAP)
    newton, seeds = NumPyNewtonRefits(model), count(1)
    found = {verdicts: jackknife.bootstrap(n_resamples, 0, verdicts=verdicts) for verdicts in (False, "auto")}
    weights = found[False].weights[:N_EXACT]
    exact = newton.to_tolerance(weights)
    errors = {verdicts: model.rms_error(b.values[:N_EXACT], exact) for verdicts, b in found.items()}
    rivals = {"tuned Newton": NewtonRefits(model), "batched chord": ChordRefits(model)}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        cells = {EXACT: Cell(lambda _: newton.to_tolerance(weights), lambda: None)}
        for name, rival in rivals.items():
            n, _ = fewest_steps(model, rival.by_steps, weights, exact, errors[False])
            run = partial(rival.by_steps, n_steps=n)
            cells[f"{name}, {_plural(n)}"] = Cell(run, lambda: weights)
        for verdicts in found:
            for executor in (None, pool):
                run = partial(jackknife.bootstrap, n_resamples, verdicts=verdicts, executor=executor)
                cells[verdicts, executor is pool] = Cell(run, lambda: next(seeds))
        seconds = interleaved_medians(cells, rounds, allowance=SECONDS_PER_METHOD)
    rates = {name: (len(weights) if isinstance(name, str) else n_resamples) / s for name, s in seconds.items()}
    print(f"{n_resamples} bootstrap refits of {model.title}, order {ORDER_OF_BOOTSTRAP}; the drawing is included")
    _print_bootstrap(found, rates, errors)


def _print_bootstrap(found, rates, errors):
    print(f"{'method':46s} {'refits/s':>9s} {'it / exact':>11s} {'it / best at its error':>23s} {'rms error':>10s}")
    rivals = [name for name in rates if isinstance(name, str)]
    for name in rivals:
        note = f", to {NEWTON_TOL:.0e}" if name == EXACT else ""
        print(f"{name + note:46s} {rates[name]:9.0f} {rates[name] / rates[EXACT]:11.1f}")
    best = max(rates[name] for name in rivals)
    for verdicts, resamples in found.items():
        said = "off" if verdicts is False else f"on ({resamples.n_polished} polished)"
        for is_pool, where in ((False, "this process"), (True, "two processes")):
            rate, label = rates[verdicts, is_pool], f"bootstrap, verdicts {said}, {where}"
            ratios = f"{rate / rates[EXACT]:11.1f} {rate / best:23.2f}"
            print(f"{label:46s} {rate:9.0f} {ratios} {errors[verdicts]:10.1e}")
    ratios = [rates[verdicts, True] / rates[verdicts, False] for verdicts in (False, "auto")]
    print(f"two processes / this one: {ratios[0]:.2f} with verdicts off, {ratios[1]:.2f} on")


def _plural(n_steps):
    return f"{n_steps} step" + ("s" if n_steps > 1 else "")


def _rms(errors):
    return np.sqrt(np.mean(errors**2))


def _without(n_obs, left_out):
    weights = np.ones((len(left_out), n_obs))
    weights[np.arange(len(left_out)), left_out] = 0.0
    return weights


def main(argv=None):
    """Print the tables; ``--quick`` for small sizes: whether it runs, not how fast."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jackknife", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    quick = parser.parse_args(argv).quick
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "default")
    print(
        f"{os.cpu_count()} cores, BLAS threads: {threads}, load before the start: {load()}; medians, methods in turns\n"
    )
    for n_obs, n_input, order in ((1000, 10, 2), (500, 5, 3)) if quick else ((20_000, 50, 2), (2000, 20, 3)):
        leave_one_out(n_obs, n_input, order, rounds=2 if quick else 5)
    bootstrap(*((500, 5, 200) if quick else (2000, 20, 1000)), rounds=2 if quick else 5)


if __name__ == "__main__":
    main()
