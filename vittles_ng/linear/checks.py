"""What is checked of the arrays and base points that a user gives."""

import numpy as np
import scipy.sparse

from ..errors import NonFiniteError, NotASolutionError

__all__ = ["check_newton_step", "real_array"]


def real_array(value, name):
    """A copy of an array of finite real numbers, dense and of floats.

    Raises
    ------
    TypeError
        It holds something else than real numbers.
    NonFiniteError
        It holds NaN or infinities.
    """
    array = value.toarray() if scipy.sparse.issparse(value) else np.asarray(value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has elements of type {array.dtype}: real numbers are needed.")
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise NonFiniteError(f"{np.sum(~np.isfinite(array))} of {array.size} elements of {name} are NaN or infinite.")
    return array


def check_newton_step(residual0, input_val0, solver, tol, tol_name):
    """Raise unless every component of the Newton step obeys ``|step_i| <= tol (1 + |input_i|)``.

    Parameters
    ----------
    residual0, input_val0 : ndarray of shape (n_input,)
        The estimating equation at the base point, and the base point.
    solver : Solver
    tol : float
    tol_name : str
        What the caller calls the tolerance, for the error.
    """
    if isinstance(tol, bool) or not tol > 0.0:
        raise ValueError(f"{tol_name} must be a positive number, got {tol}.")
    size = np.abs(solver.solve(residual0)) / (1.0 + np.abs(input_val0))
    worst = int(np.argmax(size))
    if not size[worst] <= tol:
        raise NotASolutionError(
            f"Newton step {size[worst]:.1e} (relative to 1 + |input|, at input {worst}) > {tol_name} {tol:.1e}, the "
            f"largest residual is {np.max(np.abs(residual0)):.1e}: solve to a tighter tolerance; a larger {tol_name} "
            "accepts an error of that size, OptimumChecker tells what it does to a sensitivity."
        )
