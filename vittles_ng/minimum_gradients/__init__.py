"""Gradient of a minimum, ``l(x) = min_z L(z, x)``, from an inexact one: three estimators and their comparison.

``l'(x) = L_x(z*(x), x)``. At an inexact ``z_t`` that formula has an error as large as that of ``z_t``
(:func:`analytic_gradient`); differentiation through the iterations that led there (:func:`automatic_gradient`), and a
solve with the Hessian (:func:`implicit_gradient`), square it. :func:`compare` shows it on a problem, with
what it costs.

Here z stands for the input and x for the hyper in formulas, t for the iteration. Methods are those of
:mod:`vittles_ng.unrolling` (gradient descent, heavy ball, Chebyshev) and the three that are defined here.
"""

from .comparison import Comparison, compare
from .estimators import MinimumGradient, analytic_gradient, automatic_gradient, implicit_gradient
from .methods import Accelerated, Newton, StochasticGradientDescent

__all__ = [
    "Accelerated",
    "Comparison",
    "MinimumGradient",
    "Newton",
    "StochasticGradientDescent",
    "analytic_gradient",
    "automatic_gradient",
    "compare",
    "implicit_gradient",
]
