"""Study 2: many bootstrap refits of one model on one core, ``python -m benchmarks.bootstrap``.

The weighted logistic regression 2000 x 20; its hyper is one weight per observation, its steps are multinomial counts.
Beside the engine there is ``InfinitesimalJackknife.bootstrap``, which draws the counts itself, without and with
verdicts on its values.
The study runs in a process of its own with one BLAS thread on one core: see `run_on_one_core`.
"""

import argparse
import json
import os
import subprocess
import sys
from itertools import count

import autograd.numpy as anp
import numpy as np
from scipy.linalg.lapack import dposv, dpotrs
from scipy.special import expit

import vittles_ng as vn
from benchmarks.models import exact_refit, logistic
from benchmarks.orders import AGREEMENT_TOL, MethodsDisagree
from benchmarks.rivals import build_engine, build_nested
from benchmarks.timing import Cell, interleaved_medians

ORDER = 4
NEWTON_TOL = 1e-10
NUMPY_NEWTON, TUNED_NEWTON = "NumPy Newton to 1e-10", "tuned Newton to 1e-10"
CHORD_BLOCK = 16
MAX_STEPS = 12
N_NESTED = 16
SECONDS_PER_METHOD = 10.0
ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


class NewtonRefits:
    """Warm-started Newton, one resample at a time, with the closed-form Hessian, tuned.

    ``theta <- theta - H^{-1} X^T (w (p - y))``, ``H = X^T diag(w p (1 - p)) X``, in a buffer that is made once;
    LAPACK's Cholesky without checks, and a last step with the factor at hand.
    """

    def __init__(self, model):
        self._design, self._response, self._start = model.design, model.response, model.input_val0
        self._design_t = np.ascontiguousarray(model.design.T)
        self._scaled_t = np.empty_like(self._design_t)

    def _newton_step(self, mean, weights, gradient):
        np.multiply(self._design_t, weights * mean * (1.0 - mean), out=self._scaled_t)
        factor, step, _ = dposv(self._scaled_t @ self._design, gradient)
        return factor, step

    def _mean_and_gradient(self, value, weights):
        mean = expit(self._design @ value)
        return mean, (weights * (mean - self._response)) @ self._design

    def by_steps(self, all_weights, n_steps):
        """`n_steps` Newton steps for each row of weights, (n_resamples, n_input)."""
        values = np.empty((len(all_weights), self._start.size))
        for i, weights in enumerate(all_weights):
            value = self._start
            for _ in range(n_steps):
                mean, gradient = self._mean_and_gradient(value, weights)
                value = value - self._newton_step(mean, weights, gradient)[1]
            values[i] = value
        return values

    def to_tolerance(self, all_weights, tol=NEWTON_TOL):
        """Newton steps until one with the last factor, which needs no new Hessian, is at most `tol`."""
        values = np.empty((len(all_weights), self._start.size))
        for i, weights in enumerate(all_weights):
            value, factor = self._start, None
            while True:
                mean, gradient = self._mean_and_gradient(value, weights)
                if factor is not None:
                    step = dpotrs(factor, gradient)[0]
                    if np.max(np.abs(step)) <= tol:
                        values[i] = value - step
                        break
                factor, step = self._newton_step(mean, weights, gradient)
                value = value - step
        return values


class NumPyNewtonRefits(NewtonRefits):
    """The same as one writes it in NumPy: a new Hessian and ``np.linalg.solve`` in every step, until one is small."""

    def to_tolerance(self, all_weights, tol=NEWTON_TOL):
        """Newton steps until one is at most `tol`."""
        values = np.empty((len(all_weights), self._start.size))
        for i, weights in enumerate(all_weights):
            value, step = self._start, np.inf
            while np.max(np.abs(step)) > tol:
                mean, gradient = self._mean_and_gradient(value, weights)
                hessian = (self._design * (weights * mean * (1.0 - mean))[:, None]).T @ self._design
                step = np.linalg.solve(hessian, gradient)
                value = value - step
            values[i] = value
        return values


class ChordRefits:
    """Chord steps for a block of resamples at once: two matrix products a step, and the first step shares its mean."""

    def __init__(self, model):
        self._design, self._response, self._start = model.design, model.response, model.input_val0
        self._design_t = np.ascontiguousarray(model.design.T)
        self._inverse = model.inverse_hess0
        self._residual0 = expit(model.design @ model.input_val0) - model.response
        self._buffer = np.empty((CHORD_BLOCK, len(model.design)))

    def by_steps(self, all_weights, n_steps):
        """`n_steps` chord steps for each row of weights, (n_resamples, n_input)."""
        values = np.empty((len(all_weights), self._start.size))
        for begin in range(0, len(all_weights), CHORD_BLOCK):
            weights = all_weights[begin : begin + CHORD_BLOCK]
            buffer = self._buffer[: len(weights)]
            np.multiply(weights, self._residual0, out=buffer)
            block = self._start - buffer @ self._design @ self._inverse
            for _ in range(n_steps - 1):
                np.matmul(block, self._design_t, out=buffer)
                expit(buffer, out=buffer)
                buffer -= self._response
                buffer *= weights
                block -= buffer @ self._design @ self._inverse
            values[begin : begin + CHORD_BLOCK] = block
        return values


def logistic_loss(b, x, y):
    """Negative log likelihoods of labels 0 and 1."""
    z = anp.dot(x, b)
    return anp.logaddexp(0.0, z) - y * z


def logistic_jackknife(model, order):
    """The jackknife of a logistic model at its base point."""
    return vn.InfinitesimalJackknife(logistic_loss, model.input_val0, (model.design, model.response), order=order)


def fewest_steps(model, by_steps, all_weights, exact, target):
    """(steps, error): the fewest steps whose root-mean-square error is at most `target`.

    Raises
    ------
    RuntimeError
        If `MAX_STEPS` do not reach it.
    """
    for n_steps in range(1, MAX_STEPS + 1):
        error = model.rms_error(by_steps(all_weights, n_steps), exact)
        if error <= target:
            return n_steps, error
    raise RuntimeError(f"error {error:.1e} > {target:.1e} standard errors after {MAX_STEPS} steps.")


def run(n_resamples, rounds, n_exact=200):
    """Time the methods on `n_resamples` resamples, new ones in every round; errors are of the first `n_exact`.

    Returns
    -------
    dict
        Of plain numbers: the record of the study.
    """
    model = logistic(2000, 20)
    expansion = build_engine(model, ORDER)
    rng = np.random.default_rng(5)
    n_obs = model.hyper_val0.size

    def draw(n=n_resamples):
        return rng.multinomial(n_obs, np.full(n_obs, 1.0 / n_obs), size=n).astype(float)

    def engine_loop(all_weights):
        return np.array([expansion.evaluate_taylor_series(weights) for weights in all_weights])

    weights = draw(n_exact)
    exact = np.array([exact_refit(model, row) for row in weights])
    batch = expansion.evaluate_taylor_series(weights)
    nested = build_nested(model, ORDER).evaluate_taylor_series(weights[:N_NESTED])
    differences = {}
    for other, values in (("engine loop", engine_loop(weights)), ("nested JVPs", nested)):
        change = np.max(np.abs(values - model.input_val0))
        differences[other] = float(np.max(np.abs(batch[: len(values)] - values)) / change)
        if not differences[other] <= AGREEMENT_TOL:
            raise MethodsDisagree(f"the engine's batch and {other} differ by {differences[other]:.1e} relative.")
    jackknife, seeds = logistic_jackknife(model, ORDER), count(1)
    newton, numpy_newton, chord = NewtonRefits(model), NumPyNewtonRefits(model), ChordRefits(model)
    errors = {"engine batch": model.rms_error(batch, exact)}
    errors["engine loop"] = errors["engine batch"]
    by_jackknife = {"bootstrap(), no verdicts": False, "bootstrap(), verdicts": "auto"}
    for name, verdicts in by_jackknife.items():
        resamples = jackknife.bootstrap(n_exact, 0, verdicts=verdicts)
        theirs = np.array([exact_refit(model, row) for row in resamples.weights])
        errors[name] = model.rms_error(resamples.values, theirs)
    for name, solver in ((NUMPY_NEWTON, numpy_newton), (TUNED_NEWTON, newton)):
        solved = solver.to_tolerance(weights)
        if not np.max(np.abs(solved - exact)) <= NEWTON_TOL:
            raise MethodsDisagree(f"{name} is off by {np.max(np.abs(solved - exact)):.1e}.")
        errors[name] = model.rms_error(solved, exact)
    newton_steps, newton_error = fewest_steps(model, newton.by_steps, weights, exact, errors["engine batch"])
    chord_steps, chord_error = fewest_steps(model, chord.by_steps, weights, exact, errors["engine batch"])
    newton_name, chord_name = f"tuned Newton, {newton_steps} steps", f"batched chord, {chord_steps} steps"
    errors |= {newton_name: newton_error, chord_name: chord_error}

    cells = {
        "engine batch": Cell(expansion.evaluate_taylor_series, draw),
        "engine loop": Cell(engine_loop, draw),
        **{
            name: Cell(lambda seed, v=v: jackknife.bootstrap(n_resamples, seed, verdicts=v), lambda: next(seeds))
            for name, v in by_jackknife.items()
        },
        NUMPY_NEWTON: Cell(numpy_newton.to_tolerance, draw),
        TUNED_NEWTON: Cell(newton.to_tolerance, draw),
        newton_name: Cell(lambda weights: newton.by_steps(weights, newton_steps), draw),
        chord_name: Cell(lambda weights: chord.by_steps(weights, chord_steps), draw),
    }
    seconds = interleaved_medians(cells, rounds, allowance=SECONDS_PER_METHOD)
    return {
        "model": model.title,
        "order": ORDER,
        "n_resamples": n_resamples,
        "difference_from_batch": differences,
        "worst_error_of_series": float(np.max(np.abs(batch - exact) / model.standard_errors)),
        "equal_error": {"Newton": newton_name, "chord": chord_name},
        "refits_per_second": {name: n_resamples / seconds[name] for name in cells},
        "error": {name: errors[name] for name in cells},
    }


def run_on_one_core(n_resamples, rounds):
    """The record of `run`, from a process of its own with one BLAS thread, kept to one core where the system can."""
    command = [sys.executable, "-m", "benchmarks.bootstrap", "--resamples", str(n_resamples), "--rounds", str(rounds)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main():
    """Keep to one core, run the study, print its record as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bootstrap", description=run.__doc__.splitlines()[0])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        parser.error(f"set {', '.join(ONE_THREAD)} to 1 first: BLAS reads them when it is loaded.")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(run(arguments.resamples, arguments.rounds)))


if __name__ == "__main__":
    main()
