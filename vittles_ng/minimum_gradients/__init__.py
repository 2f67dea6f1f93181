"""Gradient of a minimum, ``l(x) = min_z L(z, x)``, from an inexact one: three estimators and their comparison.

``l'(x) = L_x(z*(x), x)``. At an inexact ``z_t`` that formula has an error as large as that of ``z_t``
(:func:`analytic_gradient`); differentiation through the iterations that led there (:func:`automatic_gradient`), and a
solve with the Hessian (:func:`implicit_gradient`), square it. :func:`compare` shows it on a problem, with
what it costs; :func:`outer_descent` minimises l with them.

Here z stands for the input and x for the hyper in formulas, t for the iteration. Methods are those of
:mod:`vittles_ng.unrolling` (gradient descent, heavy ball, Chebyshev) and the three that are defined here.

Examples
--------
**Max-min**: a game in which z minimises and x maximises ``z.K x + c.z + |z|^2 - |x|^2 / 2``. Its saddle point solves
``(I + K^T K / 2) x = -K^T c / 2``. With three inner iterations, always from zero, the distance to it is

>>> import autograd.numpy as np
>>> from vittles_ng.minimum_gradients import outer_descent
>>> from vittles_ng.unrolling import GradientDescent
>>> K, c = np.array([[1.0, 0.5], [-0.5, 1.0], [0.3, 0.2]]), np.array([1.0, -2.0, 0.5])
>>> def payoff(z, x):
...     return np.dot(z, np.dot(K, x) + c) + np.sum(z**2) - 0.5 * np.sum(x**2)
>>> saddle = np.linalg.solve(np.eye(2) + K.T @ K / 2.0, -K.T @ c / 2.0)
>>> for name in ("analytic", "automatic", "implicit"):
...     run = outer_descent(payoff, np.zeros(3), np.zeros(2), GradientDescent(0.2), 3, 0.4, 30, name, maximise=True)
...     print(f"{name:10s} {np.linalg.norm(run.hyper_vals[-1] - saddle):.4f}")
analytic   0.1132
automatic  0.0228
implicit   0.0000

**Alternating minimisation**: each inner run starts where the last one stopped, and the bias goes. The best
``x z^T`` for a matrix Y, with ``w (|x|^2 + |z|^2) / 2`` added, is its first singular pair, at its value less w:

>>> Y, w = np.array([[2.0, 1.0], [0.0, 1.0], [1.0, -1.0]]), 0.3
>>> def objective(z, x):
...     return 0.5 * np.sum((Y - np.outer(x, z)) ** 2) + 0.5 * w * (np.sum(z**2) + np.sum(x**2))
>>> inner, start = GradientDescent(0.2), (np.ones(2), np.ones(3))
>>> run = outer_descent(objective, *start, inner, 2, 0.2, 60, "analytic", warm_start=True)
>>> x, z = run.hyper_vals[-1], run.input_val
>>> left, values, right = np.linalg.svd(Y)
>>> best = (values[0] - w) * np.outer(left[:, 0], right[0])
>>> bool(np.max(np.abs(np.outer(x, z) - best)) < 1e-6)
True

**Frechet mean** of shapes, ``min_x sum_i min_a |x - R(a) y_i|^2 / 2`` with rotations R of the plane: the squared
distance is a minimum itself. Of one triangle, turned by three angles, it is that triangle, whose inner products between
corners do not depend on how it is turned:

>>> def turned(a, shape):
...     return np.stack([np.cos(a) * shape[0] - np.sin(a) * shape[1], np.sin(a) * shape[0] + np.cos(a) * shape[1]])
>>> triangle = np.array([[1.0, -0.5, -0.5], [0.0, 0.8, -0.8]])
>>> shapes = [turned(a, triangle) for a in (-0.4, 0.1, 0.5)]
>>> def distance(angles, x):
...     return 0.5 * sum(np.sum((x - turned(a, y)) ** 2) for a, y in zip(angles, shapes))
>>> start = 0.8 * shapes[0]
>>> run = outer_descent(distance, np.zeros(3), start, GradientDescent(0.3), 5, 0.3, 15, warm_start=True)
>>> mean = run.hyper_vals[-1].reshape(2, 3)
>>> bool(np.max(np.abs(mean.T @ mean - triangle.T @ triangle)) < 1e-12)
True
"""

from .comparison import Comparison, compare
from .descent import OuterDescent, outer_descent
from .estimators import MinimumGradient, analytic_gradient, automatic_gradient, implicit_gradient
from .methods import Accelerated, Newton, StochasticGradientDescent

__all__ = [
    "Accelerated",
    "Comparison",
    "MinimumGradient",
    "Newton",
    "OuterDescent",
    "StochasticGradientDescent",
    "analytic_gradient",
    "automatic_gradient",
    "compare",
    "implicit_gradient",
    "outer_descent",
]
