"""Higher-order Taylor expansions of estimators in hyperparameters and data weights.

Requires ``G(input_val0, hyper_val0) == 0``: an estimator that was solved once. Gives what it would have been at other
hyperparameters, without solving again.
"""

from . import (
    adapters,
    baselines,
    bivariate_sensitivity_lib,
    errors,
    finite_differences,
    hypergradient,
    lr_cov_lib,
    minimum_gradients,
    robustness,
    sensitivity_lib,
    solver_lib,
    solvers,
    sparse_hessian_lib,
    unrolling,
)
from .continuation import Path, follow_path
from .expansion import ParametricSensitivityTaylorExpansion
from .functionals import FunctionalExpansion
from .jackknife import InfinitesimalJackknife
from .laplace import LaplaceApproximation, LaplaceFit
from .linear import (
    CrossSensitivity,
    EstimatingEquationLinearApproximation,
    HyperparameterSensitivityLinearApproximation,
    LinearResponseCovariances,
    OptimumChecker,
    get_cg_solver,
    get_cholesky_solver,
    get_dense_cholesky_solver,
    get_sparse_cholesky_solver,
)
from .sparse_hessian import SparseBlockHessian, SparseHessian, SparseJacobian
from .taylor.jet import defjet, jet
from .taylor.rules_sparse import sparse_dot
from .tensors import SavedExpansion, load
from .trust import Refit

__version__ = "0.1.0"

__all__ = [
    "CrossSensitivity",
    "EstimatingEquationLinearApproximation",
    "FunctionalExpansion",
    "HyperparameterSensitivityLinearApproximation",
    "InfinitesimalJackknife",
    "LaplaceApproximation",
    "LaplaceFit",
    "LinearResponseCovariances",
    "OptimumChecker",
    "ParametricSensitivityTaylorExpansion",
    "Path",
    "Refit",
    "SavedExpansion",
    "SparseBlockHessian",
    "SparseHessian",
    "SparseJacobian",
    "adapters",
    "baselines",
    "bivariate_sensitivity_lib",
    "defjet",
    "errors",
    "finite_differences",
    "follow_path",
    "from_sklearn",
    "from_statsmodels",
    "get_cg_solver",
    "get_cholesky_solver",
    "get_dense_cholesky_solver",
    "get_sparse_cholesky_solver",
    "hypergradient",
    "jet",
    "load",
    "lr_cov_lib",
    "minimum_gradients",
    "robustness",
    "sensitivity_lib",
    "solver_lib",
    "solvers",
    "sparse_dot",
    "sparse_hessian_lib",
    "unrolling",
]


def __getattr__(name):
    if name in adapters.__all__:
        return getattr(adapters, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
