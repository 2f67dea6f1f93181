"""The methods that are timed against each other.

Series methods share a form: ``build(model, order, hess0=None)`` gives an expansion with
``evaluate_taylor_series(new_hyper, max_order=k)``. With `hess0` they are spared the Hessian, which is timed apart.

Solvers of one refit share a form too: ``solver(model, hyper, n_steps)`` from the base point::

    Newton:  theta <- theta - H(theta, eps)^{-1} G(theta, eps)
    chord:   theta <- theta - H0^{-1} G(theta, eps),     H0 = H(theta0, eps0)

with G and H in closed form for the generalised linear models and by autograd for the others.
"""

import re
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version

import autograd.numpy as anp
import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vittles_ng.baselines import NaiveTaylorExpansion, NestedJVPTaylorExpansion
from vittles_ng.expansion import ParametricSensitivityTaylorExpansion

VITTLES_VERSION = "0.173"
INSTALL_HINT = "pip install --no-deps -r benchmarks/requirements.txt"


def build_engine(model, order, hess0=None):
    """The package's own expansion."""
    return ParametricSensitivityTaylorExpansion.optimization_objective(
        model.objective, model.input_val0, model.hyper_val0, order=order, hess0=hess0
    )


def build_nested(model, order, hess0=None):
    """The chain rule's terms by nested JVPs."""
    return NestedJVPTaylorExpansion.optimization_objective(
        model.objective, model.input_val0, model.hyper_val0, order=order, hess0=hess0
    )


def build_naive(model, order, hess0=None):
    """The solution as a primitive, differentiated over and over; it forms its own Hessian at every level."""
    return NaiveTaylorExpansion.optimization_objective(model.objective, model.input_val0, model.hyper_val0, order=order)


@cache
def _vittles():
    """The predecessor, or None where it is not installed.

    It is installed without its dependencies, so they are checked here; its ``np.product`` is gone from NumPy.
    """
    try:
        installed = version("vittles")
        needs = requires("vittles") + requires("paragami")
    except PackageNotFoundError:
        return None
    for need in needs:
        version(re.match(r"[\w.-]+", need).group())
    if installed != VITTLES_VERSION:
        raise RuntimeError(f"vittles {installed} is installed, {VITTLES_VERSION} is the yardstick: {INSTALL_HINT}")
    anp.product = anp.prod
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vittles
    return vittles


def has_vittles():
    """Whether the predecessor is installed."""
    return _vittles() is not None


def build_vittles(model, order, hess0=None):
    """The predecessor's expansion, in its forward mode."""
    return _vittles().ParametricSensitivityTaylorExpansion.optimization_objective(
        model.objective, model.input_val0, model.hyper_val0, order=order, hess0=hess0
    )


def series_methods():
    """Name -> build function, of the methods that can run here, the engine first."""
    methods = {"engine": build_engine}
    if has_vittles():
        methods["vittles"] = build_vittles
    return methods | {"nested JVPs": build_nested, "naive": build_naive}


def newton(model, hyper, n_steps):
    """`n_steps` Newton steps from the base point, the gradient and the Hessian of each computed together."""
    value = model.input_val0
    for _ in range(n_steps):
        gradient, hessian = model.newton_system(value, hyper)
        value = value - cho_solve(cho_factor(hessian, check_finite=False), gradient, check_finite=False)
    return value


def chord(model, hyper, n_steps):
    """`n_steps` steps from the base point with the Hessian of the base point."""
    value = model.input_val0
    for _ in range(n_steps):
        value = value - model.inverse_hess0 @ model.gradient(value, hyper)
    return value


def matrix_products(design, n_pairs):
    """``argument -> None``: `n_pairs` times ``X @ v`` and ``X.T @ u``, what any method for such a model reads X for."""
    rng = np.random.default_rng(0)
    v, u = rng.standard_normal(design.shape[1]), rng.standard_normal(design.shape[0])

    def run(_):
        for _ in range(n_pairs):
            design @ v
            design.T @ u

    return run
