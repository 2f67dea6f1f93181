"""Study: how fast three estimators of the gradient of a minimum converge on logistic regression, and what they cost.

Errors are from the minimum found to rounding; costs are gradients of the objective, a product with its second
derivatives counted as two.
"""

import argparse
import time
import tracemalloc

import autograd.numpy as anp
import numpy as np
from autograd import grad

from vittles_ng.minimum_gradients import (
    Accelerated,
    Newton,
    StochasticGradientDescent,
    analytic_gradient,
    automatic_gradient,
    compare,
    implicit_gradient,
)
from vittles_ng.unrolling import GradientDescent, HeavyBall

ESTIMATORS = ("analytic", "automatic", "implicit")
THEORY = {"analytic": 1.0, "automatic": 2.0, "implicit": 2.0}


def data(n_obs, n_input, seed=0):
    """Regressors times labels of -1 and 1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_obs, n_input))
    y = np.sign(x @ np.linspace(1.5, -1.0, n_input) + rng.logistic(size=n_obs))
    return x * y[:, None]


def logistic(n_obs, n_input, penalty):
    """The objective, a start, the log penalties, and the largest eigenvalue that the Hessian has anywhere."""
    rows = data(n_obs, n_input)

    def objective(z, x):
        return anp.mean(anp.logaddexp(0.0, -anp.dot(rows, z))) + 0.5 * anp.sum(anp.exp(x) * z**2)

    start, x = np.zeros(n_input), np.full(n_input, np.log(penalty))
    largest = np.linalg.eigvalsh(rows.T @ rows / (4.0 * n_obs))[-1] + penalty
    return objective, start, x, largest


def copies(n_copies, n_obs=20, penalty=0.3, n_repeats=100):
    """Copies of a logistic regression side by side, each with its own order of the observations and its own penalty.

    An iteration of stochastic gradient descent moves all of them, and the norms of errors are root sums of squares.
    They draw the same index together: so many repeats that they seldom do so twice, which would make them alike.
    """
    rows = data(n_obs, 2)
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(n_obs), (n_copies, n_repeats)), axis=1)

    def objective(z, x, indices):
        # all repeats together are the observations themselves
        drawn = rows[None] if len(indices) == n_obs * n_repeats else rows[orders[:, indices]]
        margins = anp.sum(drawn * z[:, None, :], axis=2)
        losses = anp.mean(anp.logaddexp(0.0, -margins), axis=1)
        return anp.sum(losses + 0.5 * anp.exp(x) * anp.sum(z**2, axis=1))

    return objective, np.zeros((n_copies, 2)), np.full(n_copies, np.log(penalty)), n_obs * n_repeats


def print_exponential(penalty):
    """Exponential rates of the estimators, in units of the iterates'."""
    objective, start, x, largest = logistic(200, 5, penalty)
    methods = {
        "gradient descent": (GradientDescent(1.0 / largest), 250),
        "heavy ball": (HeavyBall(1.0 / largest, 0.8), 200),
        "accelerated": (Accelerated(1.0 / largest, 0.8), 200),
    }
    print("exponential rates, in units of that of the iterates; the automatic estimator's once after its factor t")
    print(f"{'method':18s} {'iterates':>9s}" + "".join(f"{name:>11s}" for name in ESTIMATORS) + f"{'auto. / t':>11s}")
    for name, (method, n_iterations) in methods.items():
        run = compare(objective, start, x, method, n_iterations)
        rates = run.rates()
        ratios = [rates[key] / rates["input"] for key in ESTIMATORS]
        at = (run.errors["automatic"] > run.rounding["automatic"]) & (run.iterations > 0)
        at &= run.iterations > np.max(run.iterations[at]) // 2
        t = run.iterations[at]
        slope = np.polyfit(t, np.log(run.errors["automatic"][at] / t), 1)[0]
        corrected = slope / np.polyfit(t, np.log(run.input_errors[at]), 1)[0]
        print(f"{name:18s} {rates['input']:9.4f}" + "".join(f"{r:11.3f}" for r in (*ratios, corrected)))
    print(f"{'theory':18s} {'':9s}" + "".join(f"{THEORY[key]:11.3f}" for key in ESTIMATORS) + f"{2.0:11.3f}")
    run = compare(objective, start, x, Newton(), 5)
    print("\nNewton's method, errors:")
    print(f"{'iterates':12s}" + "".join(f"{error:10.1e}" for error in run.input_errors))
    for name in ESTIMATORS:
        print(f"{name:12s}" + "".join(f"{error:10.1e}" for error in run.errors[name]))


def print_powers(n_copies, n_runs, n_iterations):
    """Powers of t of the estimators along stochastic gradient descent, one observation a step."""
    objective, start, x, n_obs = copies(n_copies)
    print(f"\nstochastic gradient descent, {n_copies * n_runs} runs: powers of t in units of half that of the steps")
    print(f"{'steps':18s} {'iterates':>9s}" + "".join(f"{name:>11s}" for name in ESTIMATORS))
    for power, step_size, first in ((1.0, 2.0, n_iterations // 50), (0.75, 1.0, n_iterations // 20)):
        at = np.unique(np.geomspace(first, n_iterations, 12).astype(int))
        method = StochasticGradientDescent(step_size, n_obs, power, delay=4.0)
        run = compare(objective, start, x, method, n_iterations, at=at, n_runs=n_runs)
        powers = run.rates("log iterations", first=first)
        shown = [2.0 * powers[key] / power for key in ("input", *ESTIMATORS)]
        print(f"{f't^-{power:g}':18s} {shown[0]:9.3f}" + "".join(f"{value:11.3f}" for value in shown[1:]))
    print(f"{'theory':18s} {1.0:9.3f}" + "".join(f"{THEORY[key]:11.3f}" for key in ESTIMATORS))


def print_costs(penalty):
    """Gradients and bytes that each estimator needs for an error, by the number of inputs."""
    print("\ngradient descent: iterations, cost in gradients and kB held, to a relative error of the gradient of 1e-6")
    print(
        f"{'inputs':>8s}" + "".join(f"{name:>24s}" for name in ("analytic", "automatic", "implicit", "implicit, 5 CG"))
    )
    for n_input in (5, 50):
        objective, start, x, largest = logistic(4 * n_input + 200, n_input, penalty)
        method, at = GradientDescent(1.0 / largest), range(0, 241, 2)
        run = compare(objective, start, x, method, 240, at=at)
        truncated = compare(objective, start, x, method, 240, at=at, solver="cg", n_steps=5)
        cells = []
        for result, name, key in (
            (run, "analytic", "analytic"),
            (run, "automatic", "automatic_reverse"),
            (run, "implicit", "implicit"),
            (truncated, "implicit", "implicit"),
        ):
            reached = result.errors[name] <= 1e-6 * np.linalg.norm(result.exact_gradient)
            i = int(np.argmax(reached))
            text = f"{result.iterations[i]} {result.costs[key][i]:.0f} {result.memory_bytes[key][i] / 1e3:.1f}"
            cells.append(text if reached.any() else "not reached")
        print(f"{n_input:8d}" + "".join(f"{cell:>24s}" for cell in cells))


def measured(run, n_times=5):
    """The result of a call, its median seconds, and the most bytes that it held at one time."""
    run()
    times = []
    for _ in range(n_times):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    tracemalloc.start()
    result = run()
    n_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, np.median(times), n_bytes


def print_times(penalty):
    """Cost as counted, and the time that it takes, both in gradients by autograd."""
    objective, start, x, largest = logistic(2000, 20, penalty)
    method, n_iterations = GradientDescent(1.0 / largest), 20
    both = grad(objective, (0, 1))
    runs = {
        "analytic": lambda: analytic_gradient(objective, start, x),
        "implicit": lambda: implicit_gradient(objective, start, x),
        "implicit, 5 CG": lambda: implicit_gradient(objective, start, x, "cg", 5),
        "automatic, reverse": lambda: automatic_gradient(objective, start, x, method, n_iterations),
        "automatic, forward": lambda: automatic_gradient(objective, start, x, method, n_iterations, mode="forward"),
    }
    _, unit, _ = measured(lambda: both(start, x), 50)
    print(f"\none estimate, 2000 x 20; {n_iterations} iterations where automatic; in gradients by autograd")
    print(f"{'':20s} {'counted':>9s} {'time':>9s}")
    for name, run in runs.items():
        result, seconds, _ = measured(run)
        print(f"{name:20s} {result.cost:9.0f} {seconds / unit:9.1f}")


def print_memory():
    """Bytes counted beside those measured, both over the analytic estimate's, where there are many inputs."""
    objective, start, x, largest = logistic(20, 600, 0.02)
    hyper = x[:1]
    shared = lambda z, one: objective(z, one * anp.ones(600))  # noqa: E731
    gd, ball = GradientDescent(1.0 / largest), HeavyBall(1.0 / largest, 0.5)
    runs = {
        "implicit": lambda: implicit_gradient(shared, start, hyper),
        "reverse, 100 of gradient descent": lambda: automatic_gradient(shared, start, hyper, gd, 100),
        "reverse, 100 of heavy ball": lambda: automatic_gradient(shared, start, hyper, ball, 100),
        "the same, 10 checkpoints": lambda: automatic_gradient(shared, start, hyper, ball, 100, n_checkpoints=10),
        "forward, 100 of heavy ball": lambda: automatic_gradient(shared, start, hyper, ball, 100, mode="forward"),
    }
    least, _, least_bytes = measured(lambda: analytic_gradient(shared, start, hyper), 1)
    print("\nmemory over that of the analytic estimate, 20 x 600, one hyper, MB")
    print(f"{'':34s} {'counted':>9s} {'measured':>9s}")
    for name, run in runs.items():
        result, _, n_bytes = measured(run, 1)
        shown = (result.memory_bytes - least.memory_bytes) / 1e6, (n_bytes - least_bytes) / 1e6
        print(f"{name:34s}" + "".join(f"{value:10.2f}" for value in shown))


def main(argv=None):
    """Print rates, powers, costs and times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.minimum_gradients")
    parser.add_argument("--runs", type=int, default=3, help="times 160 runs of stochastic gradient descent")
    parser.add_argument("--iterations", type=int, default=1000, help="of stochastic gradient descent")
    arguments = parser.parse_args(argv)
    print_exponential(0.02)
    print_powers(160, arguments.runs, arguments.iterations)
    print_costs(0.02)
    print_times(0.02)
    print_memory()


if __name__ == "__main__":
    main()
