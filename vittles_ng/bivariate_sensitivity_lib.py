"""Mixed derivatives in two hypers and the check of an optimum, where vittles has them."""

from .linear import CrossSensitivity, OptimumChecker

__all__ = ["CrossSensitivity", "OptimumChecker"]
