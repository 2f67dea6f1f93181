"""Study: unrolled differentiation. The curse of unrolling, predicted and measured, and what the two modes cost.

``python -m benchmarks.unrolling``. The data are scikit-learn's diabetes (442 x 10) with a ridge penalty, from a random
point. The predictions come from the eigenvalues before any iteration; "measured" is the recurrence of the Jacobian run
beside the iterates. The second table is of a sparse code (ISTA) of a 6 x 6 patch in a dictionary of 54 atoms, 1944
hypers.
"""

import argparse
import time

import autograd.numpy as anp
import numpy as np
from sklearn.datasets import load_diabetes

from vittles_ng.unrolling import (
    Chebyshev,
    GradientDescent,
    HeavyBall,
    ProximalGradient,
    QuadraticUnrolling,
    unroll_forward,
    unroll_reverse,
)


def ridge_of_diabetes():
    """The objective (input, hyper), its start and its hyper."""
    X, y = load_diabetes(return_X_y=True)
    X, y = X / X.std(axis=0), (y - y.mean()) / y.std()

    def objective(z, x):
        return 0.5 * anp.sum((anp.dot(X, z) - y) ** 2) / len(y) + 0.5 * x[0] * anp.sum(z**2)

    return objective, np.random.default_rng(0).standard_normal(X.shape[1]), np.array([0.1])


def curse(n_iterations):
    """Print what is predicted and measured for the methods."""
    problem = ridge_of_diabetes()
    theory = QuadraticUnrolling(*problem)
    low, high = theory.eigenvalues[[0, -1]]
    methods = {
        "gradient descent, 0.5/L": GradientDescent(0.5 / high),
        "gradient descent, 1/L": GradientDescent.short(high),
        "gradient descent, 1.8/L": GradientDescent(1.8 / high),
        "gradient descent, 2/(L+l)": GradientDescent.fastest(low, high),
        "heavy ball, Polyak's": HeavyBall.fastest(low, high),
        "Chebyshev": Chebyshev(low, high),
    }
    print(f"\nRidge on diabetes: eigenvalues {low:.4f} to {high:.4f}, error of the Jacobian relative to the start's")
    print(
        f"{'method':27}{'peak at':>9}{'measured':>9}{'height':>9}{'measured':>9}{'bound':>8}{'last':>9}{'identity':>10}"
    )
    for name, method in methods.items():
        rise = theory.initial_rise(method, n_iterations)
        run = unroll_forward(*problem, method, n_iterations, keep=True, exact_jacobian=theory.solution_jacobian)
        errors, bound = run.jacobian_errors, theory.bound(method, n_iterations)
        told = np.flatnonzero(errors > 1e-11 * errors[0])[1:]  # at the start the bound is the error itself
        peak, height = int(np.argmax(errors)), np.max(errors) / errors[0]
        gap = run.jacobians - theory.solution_jacobian - theory.jacobian_errors(method, n_iterations)
        print(
            f"{name:27}{rise.iteration:9d}{peak:9d}{rise.height:9.3f}{height:9.3f}"
            f"{np.max(errors[told] / bound[told]):8.3f}{errors[-1] / errors[0]:9.1e}"
            f"{np.max(np.abs(gap)) / np.max(errors):10.1e}"
        )
    print("bound: largest error over bound, from iteration 1; last: last error; identity: its gap from the measured")


def trade_off(n_iterations):
    """Print what a longer step of gradient descent brings at the end and costs at the peak, predicted and measured."""
    problem = ridge_of_diabetes()
    theory = QuadraticUnrolling(*problem)
    low, high = theory.eigenvalues[[0, -1]]
    step_sizes = np.append(np.array([0.25, 0.5, 1.0, 1.5, 1.9]) / high, 2.0 / (high + low))
    trade = theory.step_size_trade_off(step_sizes, n_iterations)
    print(f"\nStep size of gradient descent, {n_iterations} iterations: error of the Jacobian relative to the start's")
    print(f"{'step * L':>9}{'rate':>9}{'peak at':>9}{'height':>9}{'measured':>9}{'last':>10}{'measured':>10}")
    for i, step_size in enumerate(step_sizes):
        run = unroll_forward(
            *problem, GradientDescent(step_size), n_iterations, exact_jacobian=theory.solution_jacobian
        )
        measured = run.jacobian_errors / run.jacobian_errors[0]
        print(
            f"{step_size * high:9.3f}{trade.rates[i]:9.4f}{trade.peaks[i]:9d}{trade.heights[i]:9.3f}"
            f"{np.max(measured):9.3f}{trade.final_errors[i]:10.1e}{measured[-1]:10.1e}"
        )


def modes(n_iterations):
    """Print time and memory of the modes on a sparse code."""
    rng = np.random.default_rng(0)
    D = rng.standard_normal((36, 54)) / 6.0
    signal = D @ (rng.standard_normal(54) * (rng.random(54) < 0.1))

    def objective(z, D):
        return 0.5 * anp.sum((anp.dot(D, z) - signal) ** 2)

    args = (objective, np.zeros(54), D, ProximalGradient(1.0 / np.linalg.norm(D, 2) ** 2, 0.05), n_iterations)
    w = np.ones(54)
    runs = {"forward": lambda: unroll_forward(*args), "reverse": lambda: unroll_reverse(*args, w)}
    for n_checkpoints in (16, 4):
        runs[f"reverse, {n_checkpoints} checkpoints"] = lambda c=n_checkpoints: unroll_reverse(
            *args, w, n_checkpoints=c
        )
    print(f"\nSparse code, {n_iterations} iterations of ISTA, {D.size} hypers")
    print(f"{'mode':27}{'seconds':>9}{'gradients':>11}{'products':>10}{'kB held':>10}{'gap':>10}")
    expected = None
    for name, run in runs.items():
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
        gradient = result.gradient if expected is not None else w @ result.jacobian
        expected = gradient if expected is None else expected
        gap = np.max(np.abs(gradient - expected)) / np.max(np.abs(expected))
        kb = result.memory_bytes / 1000
        print(f"{name:27}{seconds:9.2f}{result.n_gradients:11d}{result.n_products:10d}{kb:10.1f}{gap:10.1e}")
    print(f"{np.sum(result.input_val != 0.0)} of 54 atoms are active")


def main(argv=None):
    """Run the study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unrolling", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few iterations: whether it runs")
    quick = parser.parse_args(argv).quick
    curse(40 if quick else 400)
    trade_off(40 if quick else 150)
    modes(5 if quick else 60)


if __name__ == "__main__":
    main()
