"""Linear response covariances, where vittles has them."""

from .linear import LinearResponseCovariances

__all__ = ["LinearResponseCovariances"]
