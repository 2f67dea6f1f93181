"""Study: polishing against a warm-started Newton refit, and new steps by derivative tensors.

Polishing keeps the expansion's factor. The rival is Newton's method from the base point whose Hessians come from the
package's own tapes (a recording, a Jacobian and a factor in every step), to the same size of the last step.
"""

import statistics
import time

import autograd.numpy as anp
import numpy as np

import vittles_ng as vn
from vittles_ng.tensors import derivative_tensors

ROUNDS = 7


def logistic(n_obs, n_input, seed=0):
    """Objective in (input, log penalty), base point and new hyper of a ridge-penalised logistic regression."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_obs, n_input))
    y = (rng.random(n_obs) < 1.0 / (1.0 + np.exp(-x @ rng.standard_normal(n_input) / np.sqrt(n_input)))).astype(float)

    def objective(b, h):
        z = anp.dot(x, b)
        return anp.sum(anp.logaddexp(0.0, z) - y * z) + 0.5 * anp.exp(h[0]) * anp.sum(b**2)

    return objective, np.zeros(n_input), np.zeros(1), np.array([0.3])


def poisson(n_obs, n_input, seed=1):
    """The same of a Poisson regression, in data weights: a tenth of the observations counts twice."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_obs, n_input)) / np.sqrt(n_input)
    y = rng.poisson(np.exp(x @ rng.standard_normal(n_input))).astype(float)

    def objective(b, w):
        z = anp.dot(x, b)
        return anp.sum(w * (anp.exp(z) - y * z)) + 0.5 * anp.sum(b**2)

    new = np.ones(n_obs)
    new[::10] = 2.0
    return objective, np.zeros(n_input), np.ones(n_obs), new


def newton(problem, hyper):
    """Newton steps from the base point at another hyper, to a last step of 1e-12 relative."""
    at = problem.at(problem.input.flat0, hyper)
    while True:
        step = at.factored().solve(at.residual0)
        if np.max(np.abs(step)) <= 1e-12 * max(1.0, np.max(np.abs(at.input.flat0))):
            return at.input.flat0 - step
        at = at.at(at.input.flat0 - step, hyper)


def _median(run):
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main():
    """Print both tables."""
    print(f"{'model':28s} {'polish, ms':>11s} {'Newton / polish':>16s} {'difference':>11s} {'new factors':>12s}")
    for title, made in (
        ("logistic 500 x 60", logistic(500, 60)),
        ("logistic 2000 x 200", logistic(2000, 200)),
        ("Poisson weights 5000 x 100", poisson(5000, 100)),
    ):
        objective, start, hyper0, new = made
        expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
            objective, start, hyper0, order=4, polish_optimum=True
        )
        found = expansion.refit(new, polish=True)
        exact = newton(expansion._problem, new)
        polish = _median(lambda e=expansion, h=new: e.refit(h, polish=True))
        rival = _median(lambda e=expansion, h=new: newton(e._problem, h))
        off = np.max(np.abs(found.value - exact))
        print(f"{title:28s} {1e3 * polish:11.1f} {rival / polish:16.2f} {off:11.1e} {found.n_factorizations:12d}")

    rng = np.random.default_rng(2)
    x, z = rng.standard_normal((2000, 50)), rng.standard_normal((2000, 5))
    y = (rng.random(2000) < 0.5).astype(float)

    def offsets(b, h):
        eta = anp.dot(x, b) + anp.dot(z, h)
        return anp.sum(anp.logaddexp(0.0, eta) - y * eta) + 0.5 * anp.sum(b**2)

    expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
        offsets, np.zeros(50), np.zeros(5), order=4, polish_optimum=True
    )
    steps = 0.05 * rng.standard_normal((100_000, 5))
    tensors = derivative_tensors(expansion._recursion, expansion.input_val0, expansion.hyper_val0, 4)
    by_tensors = _median(lambda: tensors.evaluate_taylor_series(steps))
    by_series = _median(lambda: expansion.evaluate_taylor_series(steps[:2000])) * 50
    print("\n50 inputs, 5 hypers, order 4, logistic 2000 x 50: new steps a second")
    print(f"derivative tensors {1e5 / by_tensors:.0f}, series {1e5 / by_series:.0f}")


if __name__ == "__main__":
    main()
