"""Random analytic functions of a vector, and the series of any analytic function by Cauchy's integral."""

import autograd.numpy as anp
import numpy as np

__all__ = ["cauchy_coefficients", "random_program"]


def cauchy_coefficients(path, order, n_points=64):
    """Taylor coefficients at 0 of a function analytic well beyond the unit circle, (order + 1, *shape).

    ``c_k = 1 / (2 pi) int path(exp(i phi)) exp(-i k phi) d phi``, by the trapezoidal rule, which converges
    geometrically (Trefethen and Weideman, SIAM Review 56 (2014) 385).
    """
    circle = np.array([path(z) for z in np.exp(2j * np.pi * np.arange(n_points) / n_points)])
    return np.fft.fft(circle, axis=0)[: order + 1].real / n_points


MATRIX = np.cos(np.arange(1.0, 26.0)).reshape(5, 5) / 2.0
MASK, PERMUTED, REPEATED = np.array([True, False, False, True, True]), [3, 1, 4, 0, 2], np.array([1, 1, 4, 0, 1])
OPERATIONS = [
    # functions of one vector of 5 entries or two, analytic near the origin
    lambda a: anp.exp(0.3 * a),
    lambda a: anp.sin(a),
    lambda a: anp.log(6.0 + a),
    lambda a: 1.0 / (5.0 + a),
    lambda a: a**3,
    lambda a: anp.sqrt(6.0 + a),
    lambda a: MATRIX @ a,
    lambda a: anp.dot(a, MATRIX),
    lambda a: a[PERMUTED],
    lambda a: a[REPEATED],
    lambda a: anp.concatenate([a[2:], a[:2]]),
    lambda a: anp.reshape(anp.reshape(a, (1, 5)).T, (5,)),
    lambda a: anp.array([a[0], a[3], 1.0, a[1] * a[2], a[4]]),
    lambda a: anp.mean(a) * a[::-1],
    lambda a: anp.einsum("i,ij->j", a, MATRIX),
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (5.0 + b),
    lambda a, b: anp.where(MASK, a, b),
    lambda a, b: a * anp.sum(b),
    lambda a, b: anp.dot(a, b) * a,
    lambda a, b: anp.sum(a[:, None] * b[None, :] * MATRIX, axis=0),
    lambda a, b: a[0] * b + b[1],
    lambda a, b: (a + b) + (a + b),
]


def random_program(rng, x0):
    """A random function of a vector: operations on earlier results, each scaled to at most 1 at ``x0``."""
    steps = []
    for n in range(1, 3 + rng.integers(20)):
        operation = OPERATIONS[rng.integers(len(OPERATIONS))]
        steps.append((operation, rng.integers(n, size=operation.__code__.co_argcount)))

    def run(x, scales):
        values = [x]
        for i, (operation, operands) in enumerate(steps):
            value = operation(*(values[j] for j in operands))
            if len(scales) == i:
                scales.append(1.0 / max(1.0, 2.0 * np.max(np.abs(value))))
            values.append(value * scales[i])
        return values[-1] + values[len(values) // 2] * values[-2]

    scales = []
    run(x0, scales)
    return lambda x: run(x, scales)
