"""Study: a ridge path, 1000 penalties of a logistic model to 1e-8, by continuation and by warm-started Newton.

The rivals are Newton's method with the closed-form gradient and Hessian, warm-started at the last solution or at a
linear predictor from the last two (in log(penalty)). "NumPy Newton" is what one writes: ``np.linalg.solve`` until a
step is at most tol. The others are tuned: a symmetric update, Cholesky without checks, and an oracle: the largest last
step that leaves no error above tol is found beforehand, untimed, by comparison with exact solutions, so no step is
spent on finding out. The continuation gets no such help; it is timed with and without the expansion at its base point.
"""

import statistics
import time
from typing import NamedTuple

import autograd.numpy as anp
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

import vittles_ng as vn
from vittles_ng.continuation import follow_path

TOL = 1e-8
STOPS = 10.0 ** np.arange(-8.0, 0.25, 0.25)


class RidgePath(NamedTuple):
    """A logistic model and the grid of penalties, ascending."""

    x: np.ndarray
    y: np.ndarray
    penalties: np.ndarray

    def objective(self, b, penalty):
        """Penalised negative log-likelihood, as a user writes it."""
        z = anp.dot(self.x, b)
        return anp.sum(anp.logaddexp(0.0, z) - self.y * z) + 0.5 * penalty * anp.sum(b**2)

    def newton_step(self, b, penalty):
        """``H^{-1} g`` with the closed-form gradient and Hessian."""
        mean = expit(self.x @ b)
        gradient = self.x.T @ (mean - self.y) + penalty * b
        weighted = self.x * np.sqrt(mean * (1.0 - mean))[:, None]
        hessian = weighted.T @ weighted  # NumPy sees one matrix and uses a symmetric update
        hessian.flat[:: len(b) + 1] += penalty
        return cho_solve(cho_factor(hessian, overwrite_a=True, check_finite=False), gradient, check_finite=False)

    def numpy_step(self, b, penalty):
        """The same step as one writes it in NumPy."""
        mean = 1.0 / (1.0 + np.exp(-self.x @ b))
        gradient = self.x.T @ (mean - self.y) + penalty * b
        hessian = self.x.T @ (self.x * (mean * (1.0 - mean))[:, None]) + penalty * np.eye(len(b))
        return np.linalg.solve(hessian, gradient)


def make_problem(n_obs=2000, n_input=50, n_penalties=1000, low=1e-2, high=1e3, seed=0):
    """Standard normal columns, a signal of two standard deviations in all."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_obs, n_input))
    signal = x @ rng.standard_normal(n_input) * 2.0 / np.sqrt(n_input)
    y = (rng.random(n_obs) < expit(signal)).astype(float)
    return RidgePath(x, y, np.geomspace(low, high, n_penalties))


def solve(problem, penalty, start):
    """The solution to rounding."""
    b = np.array(start)
    for _ in range(50):
        step = problem.newton_step(b, penalty)
        b = b - step
        if np.max(np.abs(step)) < 1e-11:
            return b
    raise RuntimeError(f"Newton's method did not converge at penalty {penalty}")


def newton_path(problem, start, stop, predict, step_of=RidgePath.newton_step):
    """Solutions along the grid, downwards; returns (n, n_input) in the grid's order, and the number of steps."""
    values, n_steps = np.empty((len(problem.penalties), len(start))), 0
    last, before = start, start
    for i in range(len(problem.penalties) - 1, -1, -1):
        b = 2.0 * last - before if predict else last
        while True:
            step = step_of(problem, b, problem.penalties[i])
            b, n_steps = b - step, n_steps + 1
            if np.max(np.abs(step)) <= stop:
                break
        values[i] = b
        last, before = b, last
    return values, n_steps


def loosest_stop(problem, start, exact, predict):
    """The largest last step after which no error on the path is above tol."""
    for stop in STOPS[::-1]:
        values, n_steps = newton_path(problem, start, stop, predict)
        if np.max(np.abs(values - exact)) <= TOL:
            return stop, n_steps
    raise RuntimeError("Newton's method does not reach the tolerance")


def _expand(problem, start):
    """The expansion that the path starts from: its tape and its factor."""
    return vn.ParametricSensitivityTaylorExpansion.optimization_objective(
        problem.objective, start, problem.penalties[-1], order=1
    )


def study(problem, rounds=9):
    """Median seconds of each method, the methods taking turns; errors and counts beside them.

    Returns
    -------
    dict of dict
        method -> seconds, error (largest, of a component), count (series, or Newton steps).
    """
    start = solve(problem, problem.penalties[-1], np.zeros(problem.x.shape[1]))
    exact, b = np.empty((len(problem.penalties), len(start))), start
    for i in range(len(problem.penalties) - 1, -1, -1):
        exact[i] = b = solve(problem, problem.penalties[i], b)
    path = follow_path(_expand(problem, start), problem.penalties, TOL)
    expansion = _expand(problem, start)
    runs = {
        "continuation": lambda: follow_path(_expand(problem, start), problem.penalties, TOL),
        "continuation, expanded": lambda: follow_path(expansion, problem.penalties, TOL),
    }
    results = {name: {"error": _error(path.values, exact), "count": path.n_expansions} for name in runs}
    for name, predict in (("NumPy Newton, warm start", False), ("NumPy Newton, linear predictor", True)):
        runs[name] = lambda predict=predict: newton_path(problem, start, TOL, predict, RidgePath.numpy_step)
        values, count = runs[name]()
        results[name] = {"error": _error(values, exact), "count": count}
    for name, predict in (("tuned Newton, warm start", False), ("tuned Newton, linear predictor", True)):
        stop, count = loosest_stop(problem, start, exact, predict)
        runs[name] = lambda stop=stop, predict=predict: newton_path(problem, start, stop, predict)
        results[name] = {"error": _error(runs[name]()[0], exact), "count": count}
    samples = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            samples[name].append(time.perf_counter() - began)
    for name, seconds in samples.items():
        results[name]["seconds"] = statistics.median(seconds)
    return results


def _error(values, exact):
    return float(np.max(np.abs(values - exact)))


def main():
    """Print the table."""
    results = study(make_problem())
    reference = results["continuation"]["seconds"]
    print(f"{'method':32s} {'ms':>8s} {'times':>7s} {'error':>9s} {'series or steps':>16s}")
    for name, row in results.items():
        print(
            f"{name:32s} {1e3 * row['seconds']:8.1f} {row['seconds'] / reference:7.1f} {row['error']:9.1e} "
            f"{row['count']:16d}"
        )


if __name__ == "__main__":
    main()
