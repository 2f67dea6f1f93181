"""What is checked of the arrays, tolerances and base points that a user gives, and what is told of traced ones."""

import copy

import numpy as np
import scipy.sparse

from ..errors import NotASolutionError
from ..problem import real_array
from ..taylor.primitives import isbox, plain

__all__ = ["SharedParts", "behind_trace", "check_newton_step", "dense_array", "is_traced"]


class SharedParts:
    """A class whose parts never change: setters put others in their place, methods hand out copies.

    A deep copy shares the parts, so that it costs nothing, and factors that cannot be copied do not stand in its way.
    """

    def __deepcopy__(self, memo):
        return copy.copy(self)


def is_traced(value):
    """Whether autograd traces an array, or any part of a dict, list or tuple."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return isbox(value) or any(is_traced(part) for part in parts)


def behind_trace(value):
    """The numbers of a value of which parts may be traced, with the same keys."""
    value = plain(value)
    if isinstance(value, dict):
        return {key: behind_trace(part) for key, part in value.items()}
    return [behind_trace(part) for part in value] if isinstance(value, (list, tuple)) else value


def dense_array(value, name):
    """:func:`~vittles_ng.problem.real_array`, of a sparse matrix too."""
    return real_array(value.toarray() if scipy.sparse.issparse(value) else value, name)


def check_newton_step(residual0, input_val0, solver, tol, tol_name, objective0=None):
    """Raise unless the Newton step at the base point is small.

    Every component must obey ``|step_i| <= tol (1 + |input_i|)``. Inputs in small units pass that wherever they are;
    for an objective the Newton decrement, which does not depend on the units of the inputs (but on the objective's),
    must be small too: ``sqrt(G^T H^{-1} G) <= tol sqrt(1 + |objective|)``. A step of a few roundings of the input is
    small.

    Parameters
    ----------
    residual0, input_val0 : ndarray of shape (n_input,)
        The estimating equation at the base point, and the base point.
    solver : Solver
    tol : float
        Checked before.
    tol_name : str
        What the caller calls the tolerance, for the error.
    objective0 : float, default=None
        The objective at the base point, where there is one.
    """
    step = solver.solve(residual0)
    size = np.abs(step) / (1.0 + np.abs(input_val0))
    worst = int(np.argmax(size))
    remedy = (
        f"the largest residual is {np.max(np.abs(residual0)):.1e}: solve to a tighter tolerance; a larger {tol_name} "
        "accepts an error of that size, OptimumChecker tells what it does to a sensitivity."
    )
    if not size[worst] <= tol:
        raise NotASolutionError(
            f"Newton step {size[worst]:.1e} (relative to 1 + |input|, at input {worst}) > {tol_name} {tol:.1e}, "
            + remedy
        )
    if objective0 is not None and not size[worst] <= 4.0 * np.finfo(float).eps:
        decrement = np.sqrt(max(residual0 @ step, 0.0) / (1.0 + abs(objective0)))
        if not decrement <= tol:
            raise NotASolutionError(
                f"Newton decrement {decrement:.1e} (relative to sqrt(1 + |objective|)) > {tol_name} {tol:.1e}, {remedy}"
            )
