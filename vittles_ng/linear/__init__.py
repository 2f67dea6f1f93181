"""The predecessor's other classes: linear approximations, linear response covariances, cross sensitivities, solvers.

Requires ``G(input_val0, hyper_val0) == 0``. Names and signatures are those of vittles 0.173; each derivative comes from
a tape recorded once, each solve from one checked factor, as in the expansion.
"""

from .approximations import EstimatingEquationLinearApproximation, HyperparameterSensitivityLinearApproximation
from .covariances import LinearResponseCovariances
from .cross import CrossSensitivity
from .optimum import OptimumChecker
from .solver_functions import get_cg_solver, get_cholesky_solver, get_dense_cholesky_solver, get_sparse_cholesky_solver

__all__ = [
    "CrossSensitivity",
    "EstimatingEquationLinearApproximation",
    "HyperparameterSensitivityLinearApproximation",
    "LinearResponseCovariances",
    "OptimumChecker",
    "get_cg_solver",
    "get_cholesky_solver",
    "get_dense_cholesky_solver",
    "get_sparse_cholesky_solver",
]
