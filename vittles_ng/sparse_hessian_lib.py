"""Hessians of independent blocks, where vittles has them."""

from .sparse_hessian import SparseBlockHessian

__all__ = ["SparseBlockHessian"]
