"""Solvers ``v -> H^{-1} v``, where vittles has them."""

from .linear import get_cg_solver, get_cholesky_solver, get_dense_cholesky_solver, get_sparse_cholesky_solver

__all__ = ["get_cg_solver", "get_cholesky_solver", "get_dense_cholesky_solver", "get_sparse_cholesky_solver"]
