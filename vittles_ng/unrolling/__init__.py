"""Unrolled differentiation: the derivative of a method's iterate in the hyper, ``dz_t/dx``.

The iterates of a method are functions of the hyper, and so can be differentiated, beside the iterates
(:func:`unroll_forward`) or backwards through them (:func:`unroll_reverse`). The derivative tends to that of the minimum
where the iterates tend to it, but not in step with them: at the step sizes that are best for the iterates its error can
*rise* first. For quadratics all of this is known before the first iteration (:class:`QuadraticUnrolling`).

Here z stands for the input and x for the hyper in formulas, t for the iteration.

Forward mode gives the whole Jacobian, at the cost of a product with the second derivatives for every hyper in every
iteration; reverse mode gives the gradient of one function of the last iterate, at the cost of one product, whatever the
number of hypers, and keeps the iterates (or checkpoints, and does iterations again). At an exact minimum
:func:`implicit_jacobian` needs no iterations.

Examples
--------
Dictionary learning: how a sparse code's loss changes with every entry of the dictionary, through twenty iterations of
ISTA. The loss depends on the dictionary directly as well, and its gradient along that way is added:

>>> import autograd.numpy as np
>>> from vittles_ng.unrolling import ProximalGradient, unroll_reverse
>>> signal, D = np.array([2.0, 1.0]), np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]])
>>> def objective(code, D):
...     return 0.5 * np.sum((np.dot(D, code) - signal) ** 2)
>>> ista = ProximalGradient(0.5, 0.3)  # step size 1 / |D|^2, and the weight of the l1 penalty
>>> run = unroll_reverse(objective, np.zeros(3), D, ista, 20, lambda code: D.T @ (D @ code - signal))
>>> code = run.input_val
>>> print(code.round(2))
[1.07 0.   1.06]
>>> print((run.gradient.reshape(2, 3) + np.outer(D @ code - signal, code)).round(3))
[[-0.055  0.    -0.057]
 [-0.028  0.    -0.029]]
"""

from .forward import UnrolledJacobian, unroll_forward
from .implicit import implicit_jacobian
from .methods import Chebyshev, GradientDescent, HeavyBall, ProximalGradient
from .polynomials import gradient_descent_peak, residual_polynomials, worst_case_factors
from .quadratics import InitialRise, QuadraticUnrolling, StepSizeTradeOff
from .reverse import UnrolledGradient, unroll_reverse

__all__ = [
    "Chebyshev",
    "GradientDescent",
    "HeavyBall",
    "InitialRise",
    "ProximalGradient",
    "QuadraticUnrolling",
    "StepSizeTradeOff",
    "UnrolledGradient",
    "UnrolledJacobian",
    "gradient_descent_peak",
    "implicit_jacobian",
    "residual_polynomials",
    "unroll_forward",
    "unroll_reverse",
    "worst_case_factors",
]
