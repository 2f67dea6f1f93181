"""Expansions and linear approximations, where vittles has them."""

from .expansion import ParametricSensitivityTaylorExpansion
from .linear import EstimatingEquationLinearApproximation, HyperparameterSensitivityLinearApproximation

__all__ = [
    "EstimatingEquationLinearApproximation",
    "HyperparameterSensitivityLinearApproximation",
    "ParametricSensitivityTaylorExpansion",
]
