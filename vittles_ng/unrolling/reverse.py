"""Reverse mode: the gradient of a function of the last iterate, by adjoints back through the iterations."""

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..problem import real_array
from ..recursion import checked_integer
from ..taylor.tracing import traced_code
from .forward import checked_jacobian
from .iteration import iteration_of

__all__ = ["UnrolledGradient", "unroll_reverse"]


@dataclass(frozen=True, eq=False)
class UnrolledGradient:
    """What :func:`unroll_reverse` gives. T is the number of iterations.

    Attributes
    ----------
    gradient : ndarray of shape (n_hyper,) or (n_rows, n_hyper)
        ``adjoint @ dz_T/dx``.
    input_val : ndarray of shape (n_input,)
        The last iterate.
    n_gradients : int
        Gradients of the objective: T at least, and those of iterations that were done again.
    n_products : int
        Products with its second derivatives, in the time of a few gradients each.
    peak_states : int
        States held at one time.
    memory_bytes : int
        What they take; at most so many where checkpoints are neighbours, which share an iterate.
    """

    gradient: np.ndarray
    input_val: np.ndarray
    n_gradients: int
    n_products: int
    peak_states: int
    memory_bytes: int


def unroll_reverse(
    objective, input_val0, hyper_val0, method, n_iterations, adjoint, jacobian0=None, n_checkpoints=None
):
    """Gradient, in the hyper, of a function of a method's last iterate, in reverse mode.

    One direction in every iteration, whatever the number of hypers; memory that grows with the number of iterations, or
    of checkpoints.

    Parameters
    ----------
    objective, input_val0, hyper_val0, method, n_iterations, jacobian0
        As in :func:`unroll_forward`.
    adjoint : callable, or ndarray of shape (n_input,) or (n_rows, n_input)
        Gradient of the function in the last iterate: ``adjoint(input)``, with the flat last iterate, or an array. The
        rows of an identity give the whole Jacobian.
    n_checkpoints : int, default=None
        How many states to hold at one time, from 1; all if None. Steps are done again from the nearest one, as seldom
        as can be: with c states and r repetitions ``(c + r)! / (c! r!)`` iterations can be reversed.

    Returns
    -------
    UnrolledGradient
        Not with the function's direct dependence on the hyper: add its gradient in the hyper.

    Raises
    ------
    DivergenceError, NonFiniteError, IndependentError, NonSmoothError
        As in :func:`unroll_forward`.
    ShapeError
        The adjoint has another shape.
    SizeError
        The states would not fit in memory.

    References
    ----------
    A. Griewank and A. Walther, "Revolve", ACM Trans. Math. Softw. 26 (2000) 19.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from vittles_ng.unrolling import GradientDescent, unroll_reverse
    >>> def objective(z, x):
    ...     return 0.5 * np.sum((z - 2.0) ** 2) + 0.5 * x[0] * np.sum(z**2)
    >>> start, method = (np.zeros(1), np.ones(1)), GradientDescent(0.4)
    >>> run = unroll_reverse(objective, *start, method, 30, adjoint=lambda z: 2.0 * z, n_checkpoints=4)
    >>> print(run.gradient.round(6), run.peak_states, run.n_gradients)  # of z_30^2
    [-1.] 4 100
    """
    iteration = iteration_of(objective, input_val0, hyper_val0, method, n_iterations)
    if n_checkpoints is not None:
        checked_integer(n_checkpoints, "n_checkpoints", 1)
    if jacobian0 is not None:
        jacobian0 = checked_jacobian(jacobian0, (iteration.n_input, iteration.n_hyper), "jacobian0")
    if not callable(adjoint):
        _rows(adjoint, iteration.n_input)  # refused before the iterations
    growth, is_batch = iteration.growth(), False

    def rows_at(last):
        nonlocal is_batch
        if n_iterations:
            iteration.check_end(growth, last)
        rows = adjoint
        if callable(adjoint):
            with traced_code():
                rows = adjoint(np.array(last))
        rows, is_batch = _rows(rows, iteration.n_input)
        return rows

    gradient, rows, last, n_forward, peak_states = iteration.pulled(growth, rows_at, n_checkpoints)
    if jacobian0 is not None:
        gradient += rows @ jacobian0
    return UnrolledGradient(
        gradient=gradient if is_batch else gradient[0],
        input_val=np.array(last),
        n_gradients=n_forward + n_iterations + (1 if n_iterations else 0),
        n_products=n_iterations * len(rows),
        peak_states=peak_states,
        memory_bytes=iteration.held_bytes(n_iterations, peak_states),
    )


def _rows(value, n_input):
    """An adjoint as rows, a copy, and whether there are several."""
    rows = real_array(value, "the adjoint")
    if rows.ndim not in (1, 2) or rows.shape[-1] != n_input:
        raise ShapeError(f"the adjoint has shape {rows.shape}: ({n_input},) or (n_rows, {n_input}) is needed.")
    return (rows if rows.ndim == 2 else rows[None, :]), rows.ndim == 2
