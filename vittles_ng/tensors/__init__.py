"""Derivative tensors from one batch of univariate series, and expansions saved without the user's function."""

from .derivatives import DerivativeTensors, derivative_tensors
from .saved import SavedExpansion, load, save_expansion

__all__ = ["DerivativeTensors", "SavedExpansion", "derivative_tensors", "load", "save_expansion"]
