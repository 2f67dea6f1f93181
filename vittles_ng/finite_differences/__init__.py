"""Derivatives without a derivative: differences of functions that can be called and nothing else.

Central differences with Richardson extrapolation and steps that follow the function's noise, of orders 1 to 3; the
two-point estimator along random directions; and both behind the interface of the tape, so that a black box can be
expanded: :meth:`vittles_ng.ParametricSensitivityTaylorExpansion.from_black_box`.
"""

from .directional import DirectionalDerivatives, directional_derivatives
from .hessian import HessianProduct, hessian_product
from .noise import estimate_noise
from .options import CentralDifferences, RandomDirections
from .zero_order import Descent, TwoPointGradient, two_point_gradient, zero_order_descent

__all__ = [
    "CentralDifferences",
    "Descent",
    "DirectionalDerivatives",
    "HessianProduct",
    "RandomDirections",
    "TwoPointGradient",
    "directional_derivatives",
    "estimate_noise",
    "hessian_product",
    "two_point_gradient",
    "zero_order_descent",
]
