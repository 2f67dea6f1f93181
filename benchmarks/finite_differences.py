"""Study: derivatives by differences against automatic differentiation, their error estimates, and descent without one.

Functions: the textbook ones and the loss of multidimensional scaling, ``sum_ij (|W_i - W_j|^2 - D_ij)^2``, each with
its gradient and Hessian in closed form, against which errors are measured (relative, largest element). Calls are those
of the function by the user's code: one where it is recorded. Times are multiples of one plain call of the function,
medians of interleaved turns.
"""

import argparse
from typing import NamedTuple

import autograd
import autograd.numpy as anp
import numpy as np
from scipy.optimize import minimize

import vittles_ng as vn
from benchmarks.timing import Cell, interleaved_medians
from vittles_ng.finite_differences import (
    CentralDifferences,
    RandomDirections,
    directional_derivatives,
    estimate_noise,
    hessian_product,
    two_point_gradient,
    zero_order_descent,
)
from vittles_ng.taylor.recorded import Recorded


class Function(NamedTuple):
    """A function of a flat vector with its derivatives in closed form."""

    title: str
    fun: object
    gradient: object
    hessian: object
    x: np.ndarray


def quadratic_form(rng, n):
    """``<x, A x> - b^T x + c``."""
    a, b, x = rng.standard_normal((n, n)), rng.standard_normal(n), rng.standard_normal(n)

    def fun(z):
        return anp.dot(z, anp.dot(a, z)) - anp.dot(b, z) + 3.0

    return Function(f"<x, A x> - b x + c, n = {n}", fun, lambda z: (a + a.T) @ z - b, lambda z: a + a.T, x)


def log_form(rng, n):
    """``log <x, A x>`` with a positive definite A."""
    half, x = rng.standard_normal((n, n)), rng.standard_normal(n)
    a = half @ half.T / n + np.eye(n)

    def hessian(z):
        q, v = z @ a @ z, a @ z
        return 2.0 * a / q - 4.0 * np.outer(v, v) / q**2

    def fun(z):
        return anp.log(anp.dot(z, anp.dot(a, z)))

    return Function(f"log <x, A x>, n = {n}", fun, lambda z: 2.0 * a @ z / (z @ a @ z), hessian, x)


def softplus(rng, n):
    """``log(1 + exp <a, x>)``."""
    a, x = rng.standard_normal(n), rng.standard_normal(n) / np.sqrt(n)

    def p(z):
        return 1.0 / (1.0 + np.exp(-a @ z))

    def fun(z):
        return anp.log(1.0 + anp.exp(anp.dot(a, z)))

    return Function(
        f"log(1 + exp <a, x>), n = {n}",
        fun,
        lambda z: p(z) * a,
        lambda z: p(z) * (1.0 - p(z)) * np.outer(a, a),
        x,
    )


def scaling(rng, n_points, noise=0.05):
    """The loss of multidimensional scaling in two dimensions at a configuration near its minimum."""
    truth = rng.standard_normal((n_points, 2))
    d = np.sum((truth[:, None] - truth[None]) ** 2, axis=2)
    jitter = 1.0 + noise * rng.standard_normal((n_points, n_points))
    d = d * (np.triu(jitter, 1) + np.triu(jitter, 1).T)

    def fun(z):
        w = anp.reshape(z, (n_points, 2))
        gap = anp.expand_dims(w, 1) - anp.expand_dims(w, 0)
        return anp.sum((anp.sum(gap**2, axis=2) - d) ** 2)

    def parts(z):
        w = z.reshape(n_points, 2)
        gap = w[:, None] - w[None]
        return gap, np.sum(gap**2, axis=2) - d

    def gradient(z):
        gap, excess = parts(z)
        return 8.0 * np.einsum("ij,ijk->ik", excess, gap).ravel()

    def hessian(z):
        gap, excess = parts(z)
        blocks = -8.0 * (excess[:, :, None, None] * np.eye(2) + 2.0 * gap[..., :, None] * gap[..., None, :])
        rows = np.arange(n_points)
        blocks[rows, rows] = 0.0
        blocks[rows, rows] = -blocks.sum(axis=1)
        return blocks.transpose(0, 2, 1, 3).reshape(2 * n_points, 2 * n_points)

    x = (truth + 0.1 * rng.standard_normal(truth.shape)).ravel()
    return Function(f"scaling of {n_points} points, n = {2 * n_points}", fun, gradient, hessian, x), d


# ---- derivatives ----


class Counted:
    """A function and how often it was called."""

    def __init__(self, fun):
        self.fun, self.n_calls = fun, 0

    def __call__(self, x):
        self.n_calls += 1
        return self.fun(x)


def forward_gradient(fun, x):
    """Recorded once, all directions in one replay."""
    return Recorded(fun, (x,)).pushed(0, np.eye(x.size))


def central_gradient(fun, x):
    """One direction of differences after the other."""
    known = CentralDifferences(noise=estimate_noise(fun, x))
    return np.array([directional_derivatives(fun, x, e, differences=known).values[0] for e in np.eye(x.size)])


def random_gradient(fun, x):
    """As many values as the central differences of a smooth function take."""
    return two_point_gradient(fun, x, np.random.default_rng(0), n_directions=3 * x.size).value


def _directions(n):
    """The axes, and their sums by pairs, as (rows, columns) of the Hessian and an array of directions."""
    rows, columns = np.tril_indices(n)
    return rows, columns, np.eye(n)[rows] + (rows != columns)[:, None] * np.eye(n)[columns]


def _polarised(rows, columns, seconds):
    """The Hessian of second derivatives along :func:`_directions`."""
    n = rows[-1] + 1
    hessian = np.zeros((n, n))
    hessian[rows, columns] = seconds
    diagonal = hessian.diagonal().copy()
    below = rows != columns
    i, j = rows[below], columns[below]
    hessian[i, j] = 0.5 * (hessian[i, j] - diagonal[i] - diagonal[j])
    hessian[j, i] = hessian[i, j]
    return hessian


def forward_hessian(fun, x):
    """Series of order 2 along the axes and their sums, recorded once, all directions in one replay."""
    rows, columns, directions = _directions(x.size)
    replay = Recorded(fun, (x,)).start(len(directions))
    replay.coefficient([directions])
    (c,) = replay.coefficient([None])
    return _polarised(rows, columns, 2.0 * c)


def reverse_hessian(fun, x):
    """Reverse over reverse, row by row."""
    return autograd.hessian(fun)(x)


def forward_over_reverse_hessian(fun, x):
    """The engine's way: the gradient recorded once, all directions in one replay."""
    return Recorded(autograd.grad(fun), (x,)).products(0, np.eye(x.size))


def differenced_gradient_hessian(fun, x):
    """Centred differences of the gradient by reverse mode."""
    product = hessian_product(autograd.grad(fun), x)
    return np.array([product(e) for e in np.eye(x.size)])


def differenced_value_hessian(fun, x):
    """Second differences of values along the axes and their sums."""
    rows, columns, directions = _directions(x.size)
    known = CentralDifferences(noise=estimate_noise(fun, x))
    seconds = [directional_derivatives(fun, x, v, 2, known).values[1] for v in directions]
    return _polarised(rows, columns, seconds)


GRADIENTS = {
    "reverse": lambda fun, x: autograd.grad(fun)(x),
    "forward": forward_gradient,
    "central differences": central_gradient,
    "two-point, random": random_gradient,
}
HESSIANS = {
    "reverse over reverse": reverse_hessian,
    "forward over reverse (tape)": forward_over_reverse_hessian,
    "forward (series)": forward_hessian,
    "differences of the gradient": differenced_gradient_hessian,
    "differences of values": differenced_value_hessian,
}


def table(function, methods, exact, rounds):
    """Print calls, time and error of every method."""
    x = function.x
    cells = {"call": Cell(function.fun, lambda: x)}
    cells |= {name: Cell(lambda z, m=method: m(function.fun, z), lambda: x) for name, method in methods.items()}
    seconds = interleaved_medians(cells, rounds, slot=0.01, allowance=1.0)
    for name, method in methods.items():
        counted = Counted(function.fun)
        found = method(counted, x)
        error = np.max(np.abs(found - exact)) / np.max(np.abs(exact))
        print(f"  {name:30s} {counted.n_calls:8d} {seconds[name] / seconds['call']:12.0f} {error:10.1e}")


def derivatives(n, n_points, rounds):
    """Print the tables of gradients and Hessians."""
    rng = np.random.default_rng(0)
    functions = [quadratic_form(rng, n), log_form(rng, n), softplus(rng, n), scaling(rng, n_points)[0]]
    for what, methods in (("gradient", GRADIENTS), ("Hessian", HESSIANS)):
        print(f"\n{what:32s} {'calls':>8s} {'time / call':>12s} {'error':>10s}")
        for function in functions:
            print(function.title)
            exact = (function.gradient if what == "gradient" else function.hessian)(function.x)
            table(function, methods, exact, rounds)


# ---- error estimates ----


def random_sum(rng, spread):
    """A sum of three waves, exponentials and bells at rates within ``10^+-spread``: its derivatives at 0, its size."""
    kinds, shifts = rng.integers(0, 3, 3), rng.uniform(-2.0, 2.0, 3)
    weights, rates = 10.0 ** rng.uniform(-2.0, 2.0, 3), 10.0 ** rng.uniform(-spread, spread, 3)

    def fun(t):
        values = []
        for kind, r, p in zip(kinds, rates, shifts, strict=True):
            z = r * t + p
            values.append([np.sin(z), np.exp(r * t), 1.0 / (1.0 + z**2)][kind])
        return weights @ values

    exact = np.zeros(3)
    for kind, w, r, p in zip(kinds, weights, rates, shifts, strict=True):
        q = 1.0 + p**2
        bell = [-2.0 * p / q**2, (6.0 * p**2 - 2.0) / q**3, 24.0 * p * (1.0 - p**2) / q**4]
        derivatives = [[np.cos(p), -np.sin(p), -np.cos(p)], [1.0, 1.0, 1.0], bell][kind]
        exact += w * r ** np.arange(1.0, 4.0) * derivatives
    return fun, exact, np.sum(weights)


def calibration(n_functions):
    """Print how often the true error of a derivative is above its estimate, over random functions."""
    print(f"\nerror estimates, {n_functions} functions: calls, then for orders 1, 2, 3 relative error (median),")
    print("share of true errors above the estimate, and above three times it; largest ratio")
    for title, spread, sigma, is_told in (
        ("rates 0.1 to 10", 1.0, 0.0, False),
        ("rates 0.001 to 1000", 3.0, 0.0, False),
        ("noise 1e-10, told", 1.0, 1e-10, True),
        ("noise 1e-10, estimated", 1.0, 1e-10, False),
        ("noise 1e-6, told", 1.0, 1e-6, True),
        ("noise 1e-6, estimated", 1.0, 1e-6, False),
        ("noise 1e-3, told", 1.0, 1e-3, True),
        ("noise 1e-3, estimated", 1.0, 1e-3, False),
    ):
        ratios, errors, calls = [], [], []
        for seed in range(n_functions):
            rng = np.random.default_rng(seed)
            smooth, exact, size = random_sum(rng, spread)
            noise = sigma * size

            def fun(t, smooth=smooth, noise=noise, rng=rng):
                return smooth(t) + noise * rng.standard_normal()

            options = CentralDifferences(noise=noise) if is_told else CentralDifferences()
            found = directional_derivatives(fun if sigma else smooth, 0.0, 1.0, 3, options)
            off = np.abs(found.values - exact)
            ratios.append(off / np.maximum(found.error_estimates, np.finfo(float).tiny))
            errors.append(off / np.abs(exact))
            calls.append(found.n_evaluations)
        ratios, errors = np.array(ratios), np.median(errors, axis=0)
        shares = [" ".join(f"{share:5.3f}" for share in np.mean(ratios > bound, axis=0)) for bound in (1.0, 3.0)]
        sizes = " ".join(f"{error:7.1e}" for error in errors)
        print(f"  {title:24s} {np.mean(calls):5.0f}   {sizes}   {shares[0]}   {shares[1]}   {np.max(ratios):7.1f}")


# ---- an expansion ----


def expansions(n_directions):
    """Print cost and error of the terms of a logistic regression's expansion, by the tape and without it."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((200, 6)), (rng.random(200) < 0.5).astype(float)

    def equation(b, h):
        return anp.dot(x.T, 1.0 / (1.0 + anp.exp(-anp.dot(x, b))) - y) + anp.exp(h[0]) * b + h[1] * b**3

    h0 = np.array([0.5, 1.0])
    b0 = np.zeros(6)
    for _ in range(30):
        b0 = b0 - np.linalg.solve(autograd.jacobian(equation)(b0, h0), equation(b0, h0))
    new = h0 + np.array([0.5, -0.5])
    make = vn.ParametricSensitivityTaylorExpansion
    exact = make(equation, b0, h0, 3).evaluate_taylor_series_terms(new)
    print(f"\nterms of an expansion in 2 hypers, 6 inputs: {'calls':>8s}   relative error of order 1, 2, 3")
    for name, options in (
        ("central differences", CentralDifferences()),
        ("central differences, rtol 1e-2", CentralDifferences(rtol=1e-2)),
        *((f"{m} random directions", RandomDirections(m, np.random.default_rng(2))) for m in n_directions),
    ):
        expansion = make.from_black_box(equation, b0, h0, 3, differences=options)
        terms = expansion.evaluate_taylor_series_terms(new)
        errors = np.max(np.abs(terms - exact), axis=1)[1:] / np.max(np.abs(exact), axis=1)[1:]
        print(f"  {name:40s} {expansion.n_calls:10d}   " + " ".join(f"{error:9.1e}" for error in errors))


# ---- descent ----


def gradient_descent(gradient, objective, x, smoothness, target, n_steps=200_000):
    """Steps of 1 / L to the target."""
    for step in range(n_steps):
        if objective(x) <= target:
            return step
        x = x - gradient(x) / smoothness
    raise RuntimeError(f"{n_steps} steps do not reach {target:.1e}")


def quadratic_descent(dimensions, seeds):
    """Print iterations to a 1e-4 of the objective, by dimension, at a condition number of 10."""
    print(f"\nquadratic, condition number 10{'n':>8s} {'descent':>9s} {'zero-order':>11s} {'ratio / (n + 2)':>16s}")
    for n in dimensions:
        curvature = np.geomspace(0.1, 1.0, n)

        def objective(z, c=curvature):
            return 0.5 * np.sum(c * z**2)

        x0 = np.ones(n)
        target = 1e-4 * objective(x0)
        plain = gradient_descent(lambda z, c=curvature: c * z, objective, x0, 1.0, target)
        rngs = [np.random.default_rng(seed) for seed in range(seeds)]
        runs = [zero_order_descent(objective, x0, 1.0, rng, 1_000_000, target=target).n_steps for rng in rngs]
        print(f"{'':30s}{n:8d} {plain:9d} {np.mean(runs):11.0f} {np.mean(runs) / plain / (n + 2):16.2f}")


def classical_scaling(d):
    """Classical multidimensional scaling: the leading eigenvectors of the doubly centred distances (Torgerson 1952)."""
    n = len(d)
    centre = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ d @ centre)
    return (vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0.0))).ravel()


def scaling_descent(sizes, seeds):
    """Print the steps from the classical solution to all but a hundredth of what the loss can still fall by."""
    print("\nscaling, from the classical solution: steps until 1% of what the loss can fall by is left")
    print(
        f"{'points':>8s} {'n':>5s} {'loss, classical / least':>24s} {'descent':>9s} {'zero-order':>11s} "
        f"{'ratio / (n + 2)':>16s}"
    )
    for n_points in sizes:
        function, d = scaling(np.random.default_rng(n_points), n_points, noise=0.2)
        start = classical_scaling(d)
        least = minimize(function.fun, start, jac=function.gradient, method="BFGS", options={"gtol": 1e-8})
        first = function.fun(start)
        target = least.fun + 0.01 * (first - least.fun)
        smoothness = 1.5 * max(np.linalg.eigvalsh(function.hessian(z))[-1] for z in (start, least.x))
        plain = gradient_descent(function.gradient, function.fun, start, smoothness, target)
        rngs = [np.random.default_rng(seed) for seed in range(seeds)]
        runs = [
            zero_order_descent(function.fun, start, smoothness, rng, 1_000_000, target=target).n_steps for rng in rngs
        ]
        ratio = np.mean(runs) / plain / (2 * n_points + 2)
        print(
            f"{n_points:8d} {2 * n_points:5d} {first / least.fun:24.3f} {plain:9d} {np.mean(runs):11.0f} {ratio:16.2f}"
        )


def main(argv=None):
    """Print all tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finite_differences")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    quick = parser.parse_args(argv).quick
    derivatives(4 if quick else 20, 3 if quick else 10, 2 if quick else 7)
    calibration(5 if quick else 400)
    expansions((100,) if quick else (100, 1000, 10_000))
    quadratic_descent((2, 5) if quick else (5, 10, 20, 40, 80), 1 if quick else 5)
    scaling_descent((4,) if quick else (5, 10, 20), 1 if quick else 3)


if __name__ == "__main__":
    main()
