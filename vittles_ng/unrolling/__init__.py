"""Unrolled differentiation: the derivative of a method's iterate in the hyper, ``dz_t/dx``.

The iterates of a method are functions of the hyper, and so can be differentiated, beside the iterates
(:func:`unroll_forward`) or backwards through them (:func:`unroll_reverse`). The derivative tends to that of the minimum
where the iterates tend to it, but not in step with them: at the step sizes that are best for the iterates its error can
*rise* first. For quadratics all of this is known before the first iteration (:class:`QuadraticUnrolling`).

Here z stands for the input and x for the hyper in formulas, t for the iteration.
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
