"""An estimating equation on flat arrays at its base point: flattening, checks, and the factor of its Jacobian.

Requires ``G(input_val0, hyper_val0) == 0``; :class:`vittles_ng.baselines.base.BaselineExpansion` checks it.
"""

import warnings
from contextlib import contextmanager

import autograd
import autograd.builtins as builtins
import autograd.numpy as anp
import numpy as np
from autograd.extend import vspace
from scipy.linalg import cho_factor, cho_solve, lu_factor, lu_solve

from vittles_ng.errors import (
    MissingRuleError,
    NonFiniteError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    ShapeError,
    SingularError,
)

# A Hessian by automatic differentiation is symmetric to rounding; this allows for one made by finite differences.
SYMMETRY_TOL = 1e-6


@contextmanager
def tracing():
    """Run the user's function under autograd: silence about independence, and a remedy where a JVP is missing.

    autograd warns where an output does not depend on the argument; the derivative is then zero, which is all there is
    to say.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Output seems independent of input", UserWarning)
        try:
            yield
        except NotImplementedError as error:
            if not str(error).startswith("JVP of"):
                raise
            raise MissingRuleError(
                f"autograd: {error}: use NaiveTaylorExpansion(..., forward=False), or the engine, "
                "ParametricSensitivityTaylorExpansion."
            ) from error


def as_float_leaves(name, value):
    """`value` with every array or number in it as a new array of finite floats."""
    if isinstance(value, dict):
        return {key: as_float_leaves(f"{name}[{key!r}]", leaf) for key, leaf in value.items()}
    if isinstance(value, (list, tuple)):
        leaves = [as_float_leaves(f"{name}[{i}]", leaf) for i, leaf in enumerate(value)]
        return leaves if isinstance(value, list) else tuple(leaves)
    if np.iscomplexobj(value):
        raise TypeError(f"{name} is complex: pass its real and imaginary parts as separate values.")
    leaf = np.array(value, dtype=float)
    n_bad = np.sum(~np.isfinite(leaf))
    if n_bad:
        raise NonFiniteError(f"{name} has {n_bad} of {leaf.size} values NaN or infinite: pass finite numbers.")
    return leaf


# autograd.misc.flatten and its inverse give the same order, but break in the second reverse derivative (autograd 1.9.1:
# "'ArrayVSpace' object has no attribute '_subval'").
def flatten(value):
    """`value` as one flat array, differentiable; dict entries in the order of their sorted keys."""
    if builtins.isinstance(value, dict):
        value = [value[key] for key in sorted(value.keys())]
    if builtins.isinstance(value, (list, tuple)):
        return anp.concatenate([flatten(part) for part in value]) if len(value) else np.empty(0)
    return value if anp.ndim(value) == 1 else anp.ravel(value)


def unflatten_like(template, flat):
    """The values of `flat` in the structure of `template`: the inverse of :func:`flatten`, differentiable."""
    start = 0

    def build(node):
        nonlocal start
        if isinstance(node, dict):
            parts = {key: build(node[key]) for key in sorted(node)}
            return {key: parts[key] for key in node}
        if isinstance(node, (list, tuple)):
            return type(node)(build(part) for part in node)
        start += node.size
        return anp.reshape(flat[start - node.size : start], node.shape)

    if isinstance(template, np.ndarray) and template.ndim == 1:
        return flat
    return build(template)


def flatten_base_value(name, leaves):
    flat = np.array(flatten(leaves))
    if flat.size == 0:
        raise ShapeError(f"{name} has no values: there is nothing to expand.")
    flat.setflags(write=False)
    return flat


def objective_gradient(objective_function, input_val0, hyper_val0):
    """The gradient of `objective_function` in its first argument, flat, after a check that the objective is scalar."""
    if not callable(objective_function):
        raise TypeError(f"objective_function must be callable, not {type(objective_function).__name__}.")
    template = as_float_leaves("input_val0", input_val0)
    value = objective_function(template, as_float_leaves("hyper_val0", hyper_val0))
    if np.size(value) != 1:
        raise ShapeError(f"the objective returns an array of shape {np.shape(value)}: return a scalar, e.g. its sum.")

    # The template was the function's own to write into; its shapes are all that is used from here on.
    def flat_objective(flat, hyper_val):
        return objective_function(unflatten_like(template, flat), hyper_val)

    flat_gradient = autograd.grad(flat_objective)

    def gradient(input_val, hyper_val):
        return flat_gradient(flatten(input_val), hyper_val)

    return gradient


def cholesky_solver(hessian, n_input):
    """``v -> hessian^{-1} v`` by Cholesky; an error says why, if the Hessian is not that of a minimum."""
    check_matrix("Hessian", hessian, n_input)
    asymmetry, scale = np.max(np.abs(hessian - hessian.T)), np.max(np.abs(hessian))
    if asymmetry > SYMMETRY_TOL * scale:
        raise NotSymmetricError(
            f"the Hessian differs from its transpose by {asymmetry:.1e} (largest entry {scale:.1e}): "
            "pass the matrix of second derivatives of the objective."
        )
    eigenvalues = np.linalg.eigvalsh(hessian)
    if eigenvalues[0] <= len(hessian) * np.finfo(float).eps * np.max(np.abs(eigenvalues)):
        raise NotPositiveDefiniteError(
            f"the Hessian's smallest eigenvalue is {eigenvalues[0]:.1e} (largest {eigenvalues[-1]:.1e}) at the base "
            "point: saddle or not identified; re-optimise, or add a penalty."
        )
    factor = cho_factor(hessian)
    return lambda v: cho_solve(factor, v)


def lu_solver(jacobian, n_input):
    """``v -> jacobian^{-1} v`` by an LU factorization."""
    check_matrix("Jacobian of the estimating equation", jacobian, n_input)
    condition = np.linalg.cond(jacobian)
    if not condition < 1 / np.finfo(float).eps:
        raise SingularError(
            f"the Jacobian of the estimating equation has condition number {condition:.1e} at the base point: "
            "the input is not identified; drop a redundant parameter, or add a penalty."
        )
    factor = lu_factor(jacobian)
    return lambda v: lu_solve(factor, v)


def check_matrix(name, matrix, n_input):
    if matrix.shape != (n_input, n_input):
        raise ShapeError(f"the {name} has shape {matrix.shape}: it must be {(n_input, n_input)}.")
    n_bad = np.sum(~np.isfinite(matrix))
    if n_bad:
        raise NonFiniteError(f"the {name} has {n_bad} of {matrix.size} entries NaN or infinite at the base point.")


class EquationAtBasePoint:
    """An estimating equation on flat arrays, and the base point where it is zero.

    The base values are read-only, so a user's function that writes into its arguments raises instead of moving them.
    """

    def __init__(self, estimating_equation, input_val0, hyper_val0):
        if not callable(estimating_equation):
            raise TypeError(f"estimating_equation must be callable, not {type(estimating_equation).__name__}.")
        self._estimating_equation = estimating_equation
        self._input_template = as_float_leaves("input_val0", input_val0)
        self._hyper_template = as_float_leaves("hyper_val0", hyper_val0)
        self.input_val0 = flatten_base_value("input_val0", self._input_template)
        self.hyper_val0 = flatten_base_value("hyper_val0", self._hyper_template)
        self.residual = self._checked_residual()

    def _checked_residual(self):
        with tracing():
            output = self._evaluate(self.input_val0, self.hyper_val0)
        is_array = not isinstance(output, (dict, list, tuple))
        residual = np.array(flatten(output), dtype=float)
        allowed_shapes = (self.input_val0.shape, getattr(self._input_template, "shape", None))
        if residual.shape != self.input_val0.shape or (is_array and np.shape(output) not in allowed_shapes):
            raise ShapeError(
                f"the estimating equation returns shape {np.shape(output) if is_array else residual.shape} for an "
                f"input of {self.input_val0.size} values: return {self.input_val0.shape}, one equation a value."
            )
        n_bad = np.sum(~np.isfinite(residual))
        if n_bad:
            raise NonFiniteError(
                f"{n_bad} of {residual.size} estimating equations are NaN or infinite at the base point."
            )
        return residual

    def _evaluate(self, input_val, hyper_val):
        return self._estimating_equation(
            unflatten_like(self._input_template, input_val), unflatten_like(self._hyper_template, hyper_val)
        )

    def __call__(self, input_val, hyper_val):
        return flatten(self._evaluate(input_val, hyper_val))

    @property
    def hyper_space(self):
        """The vector space of the hyperparameters, equal for values of the same structure."""
        return vspace(self._hyper_template)

    def jacobian(self, input_val, hyper_val):
        """dG/d input, of shape (n_input, n_input), itself differentiable."""
        return autograd.jacobian(self, 0)(input_val, hyper_val)

    def jacobian_at_base_point(self):
        with tracing():
            return self.jacobian(self.input_val0, self.hyper_val0)
