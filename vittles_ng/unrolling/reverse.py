"""Reverse mode: adjoints back through the iterations.

With ``a_t`` the adjoint of ``z_t`` and ``u_t`` that of ``v_t``, the iterate before the threshold (the iterate itself
where there is no penalty):

    a_t = (1 + m_t) u_{t+1} - h_t H_t u_{t+1} - m_{t+1} u_{t+2},   gradient -= h_t B_t^T u_{t+1}.

The states ``z_t`` are wanted in reverse: all are kept, or checkpoints, from which the others are made again.
"""

import numbers
from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import real_array
from ..taylor.tracing import traced_code
from .checkpoints import reversed_states
from .forward import check_dependence, checked_jacobian
from .iteration import Growth, Iteration

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
    _check_checkpoints(n_checkpoints)
    iteration = Iteration(objective, input_val0, hyper_val0, method, n_iterations)
    limit = max(n_iterations, 1)
    if n_checkpoints is not None:
        limit = min(limit, n_checkpoints)
    n_bytes, what = _state_bytes(iteration, limit), f"the set of {limit} iterates"
    check_size(n_bytes, what, memory_limit(), OF_MEMORY, f"pass n_checkpoints={min(limit, 20)}")
    if jacobian0 is not None:
        jacobian0 = checked_jacobian(jacobian0, (iteration.n_input, iteration.n_hyper), "jacobian0")
    if not callable(adjoint):
        _rows(adjoint, iteration.n_input)  # refused before the iterations
    backward, n_forward, peak_states = None, 0, 0

    def advance(t, state):
        nonlocal n_forward
        n_forward += 1
        gradient = iteration.gradient(state[0])
        if backward is None:
            growth.see(t, state[0], gradient)
        return iteration.step(t, state, gradient)

    growth = Growth(iteration)
    for t, state, n_held in reversed_states(iteration.state0, advance, n_iterations, limit):
        peak_states = max(peak_states, n_held)
        derivatives = iteration.second_derivatives(state[0], transposed=True)
        if backward is None:
            check_dependence(derivatives, iteration.penalty)
            growth.see(t, state[0], derivatives.gradient)
            last = iteration.step(t, state, derivatives.gradient)[0]
            growth.see(n_iterations, last, iteration.gradient(last), is_end=True)
            backward = _Backward(iteration, adjoint, last)
        backward.step(t, state, derivatives)
    if backward is None:
        last = iteration.z0
        backward = _Backward(iteration, adjoint, last)
    gradient = backward.gradient()
    if jacobian0 is not None:
        gradient += backward.adjoint @ jacobian0
    return UnrolledGradient(
        gradient=gradient if backward.is_batch else gradient[0],
        input_val=np.array(last),
        n_gradients=n_forward + n_iterations + (1 if n_iterations else 0),
        n_products=n_iterations * len(backward.adjoint),
        peak_states=peak_states,
        memory_bytes=_state_bytes(iteration, peak_states),
    )


def _state_bytes(iteration, n_states):
    """Bytes of states held: where all are, each shares its iterate before with the next one."""
    if n_states >= iteration.n_iterations:
        return 8 * iteration.n_input * n_states
    return n_states * iteration.state_bytes


class _Backward:
    """Adjoints on their way back."""

    def __init__(self, iteration, adjoint, last):
        self._iteration = iteration
        if callable(adjoint):
            with traced_code():
                adjoint = adjoint(np.array(last))
        self.adjoint, self.is_batch = _rows(adjoint, iteration.n_input)
        self._of_hyper = np.zeros((len(self.adjoint), iteration.n_hyper))
        self._of_weights = 0.0  # of the penalty, summed over the iterations: one product with their Jacobian at the end
        self._carried = None  # what the step after, through its momentum, adds

    def step(self, t, state, derivatives):
        iteration = self._iteration
        h, m, rows = iteration.step_sizes[t], iteration.momenta[t], self.adjoint
        if iteration.penalty is not None:
            v = iteration.before_threshold(t, state, derivatives.gradient)
            rows, of_weights = iteration.penalty.pulled(rows, iteration.penalty.signs(v, h, t), h)
            if of_weights is not None:
                self._of_weights = self._of_weights + of_weights
        of_input, of_hyper = derivatives.pulled(rows)
        self._of_hyper -= h * of_hyper
        before = rows - h * of_input
        if m:
            before += m * rows
        if self._carried is not None:
            before += self._carried
        self._carried = -m * rows if m else None
        self.adjoint = before

    def gradient(self):
        """Adjoints of the hyper, (n_rows, n_hyper), that of the first iterate's dependence on it left out."""
        penalty = self._iteration.penalty
        if penalty is None or not penalty.depends_on_hyper or np.ndim(self._of_weights) == 0:
            return self._of_hyper
        return self._of_hyper + penalty.of_hyper(self._of_weights)


def _rows(value, n_input):
    """An adjoint as rows, a copy, and whether there are several."""
    rows = real_array(value, "the adjoint")
    if rows.ndim not in (1, 2) or rows.shape[-1] != n_input:
        raise ShapeError(f"the adjoint has shape {rows.shape}: ({n_input},) or (n_rows, {n_input}) is needed.")
    return (rows if rows.ndim == 2 else rows[None, :]), rows.ndim == 2


def _check_checkpoints(n_checkpoints):
    if n_checkpoints is None:
        return
    if not isinstance(n_checkpoints, numbers.Integral) or isinstance(n_checkpoints, bool) or n_checkpoints < 1:
        raise ValueError(f"n_checkpoints={n_checkpoints!r}: a whole number from 1, or None for all, is needed.")
