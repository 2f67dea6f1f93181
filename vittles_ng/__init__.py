"""Higher-order Taylor expansions of estimators in hyperparameters and data weights.

Requires ``G(input_val0, hyper_val0) == 0``: an estimator that was solved once. Gives what it would have been at other
hyperparameters, without solving again.
"""

from . import baselines, errors, solvers
from .expansion import ParametricSensitivityTaylorExpansion
from .taylor.jet import defjet, jet

__version__ = "0.1.0"

__all__ = ["ParametricSensitivityTaylorExpansion", "baselines", "defjet", "errors", "jet", "solvers"]
