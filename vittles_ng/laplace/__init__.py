"""Variance components by the Laplace approximation of a marginal likelihood."""

from .approximation import LaplaceApproximation
from .maximum import LaplaceFit

__all__ = ["LaplaceApproximation", "LaplaceFit"]
