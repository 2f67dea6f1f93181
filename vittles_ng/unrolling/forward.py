"""Forward mode: the recurrence of the Jacobian beside the iterates.

    J_{t+1} = J_t - h_t (H_t J_t + B_t) + m_t (J_t - J_{t-1}),   H_t = d2f/dz2, B_t = d2f/dz dx at z_t,

J the derivative of the iterate in the hyper; with a penalty, on its active set. Memory does not grow with t.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import real_array
from .iteration import iteration_of

__all__ = ["UnrolledJacobian", "checked_jacobian", "unroll_forward"]


@dataclass(frozen=True, eq=False)
class UnrolledJacobian:
    """What :func:`unroll_forward` gives. T is the number of iterations.

    Attributes
    ----------
    input_val : ndarray of shape (n_input,)
        The last iterate.
    jacobian : ndarray of shape (n_input, n_hyper)
        Its derivative in the hyper.
    residual_norms : ndarray of shape (T + 1,)
        Norm of the gradient at every iterate; with a penalty, of the gradient mapping.
    input_errors, jacobian_errors : ndarray of shape (T + 1,), or None
        ``|z_t - z*|`` and ``|J_t - J*|`` (Frobenius), where the exact ones were given.
    inputs : ndarray of shape (T + 1, n_input), or None
        All iterates, where asked for.
    jacobians : ndarray of shape (T + 1, n_input, n_hyper), or None
        All Jacobians, likewise.
    n_gradients : int
        Gradients of the objective.
    n_products : int
        Products with its second derivatives, in the time of a few gradients each.
    memory_bytes : int
        Of iterates and Jacobians held at one time, the next ones among them.
    """

    input_val: np.ndarray
    jacobian: np.ndarray
    residual_norms: np.ndarray
    input_errors: np.ndarray | None
    jacobian_errors: np.ndarray | None
    inputs: np.ndarray | None
    jacobians: np.ndarray | None
    n_gradients: int
    n_products: int
    memory_bytes: int


def unroll_forward(
    objective,
    input_val0,
    hyper_val0,
    method,
    n_iterations,
    jacobian0=None,
    keep=False,
    exact_input=None,
    exact_jacobian=None,
):
    """Derivative of a method's iterate in the hyper, in forward mode.

    One direction for each hyper in every iteration; memory that does not grow with their number.

    Parameters
    ----------
    objective : callable
        ``objective(input, hyper)``, a scalar, in autograd.numpy. With :class:`ProximalGradient` its smooth part.
    input_val0 : array_like, dict, list or tuple
        Where the iterations start.
    hyper_val0 : array_like, dict, list or tuple
    method : GradientDescent, HeavyBall, Chebyshev or ProximalGradient
    n_iterations : int
        From 0.
    jacobian0 : ndarray of shape (n_input, n_hyper), default=None
        Derivative of ``input_val0`` in the hyper; zero if None.
    keep : bool, default=False
        Whether to keep all iterates and Jacobians: memory then grows with their number.
    exact_input, exact_jacobian : ndarray of shape (n_input,) and (n_input, n_hyper), default=None
        What to measure errors from, such as :func:`implicit_jacobian` gives.

    Returns
    -------
    UnrolledJacobian

    Raises
    ------
    DivergenceError
        The iterates run away: the step size is too large.
    NonFiniteError
        The objective is not defined at an iterate.
    IndependentError
        Neither objective nor penalty depends on the hyper.
    NonSmoothError
        An iterate is at a kink of the objective, or exactly at the threshold of the penalty.
    SizeError
        The Jacobians would not fit in memory.

    Notes
    -----
    The gradient is recorded anew at every iterate, in about the time of ten gradients of a small model. Nested inputs
    and hypers are flattened as by ``autograd.misc.flatten``. To leave the first iterations out of the
    derivative, which spares its initial rise (Mehmood, Knoll & Ochs, arXiv 2602.19733), run them with no derivative
    and start here from the input that they gave.

    References
    ----------
    S. Mehmood and P. Ochs, "Automatic differentiation of some first-order methods in parametric optimization", AISTATS
    2020. D. Scieur, G. Gidel, Q. Bertrand, F. Pedregosa, "The curse of unrolling", NeurIPS 2022 (arXiv 2209.13271).

    Examples
    --------
    The derivative of a ridge regression's solution, ``-2 / (1 + 1)^2`` here, in its penalty:

    >>> import autograd.numpy as np
    >>> from vittles_ng.unrolling import GradientDescent, unroll_forward
    >>> def objective(z, x):
    ...     return 0.5 * np.sum((z - 2.0) ** 2) + 0.5 * x[0] * np.sum(z**2)
    >>> run = unroll_forward(objective, np.zeros(1), np.ones(1), GradientDescent(0.4), 30)
    >>> print(run.input_val.round(6), run.jacobian.round(6))
    [1.] [[-0.5]]
    """
    iteration = iteration_of(objective, input_val0, hyper_val0, method, n_iterations)
    shape = (iteration.n_input, iteration.n_hyper)
    if exact_input is not None:
        exact_input = iteration.equation.input.flatten(exact_input, "exact_input")
    if exact_jacobian is not None:
        exact_jacobian = checked_jacobian(exact_jacobian, shape, "exact_jacobian")
    held, kept = _held_bytes(iteration, keep)
    start = np.zeros(shape) if jacobian0 is None else checked_jacobian(jacobian0, shape, "jacobian0")
    growth = iteration.growth()
    tangents = iteration.tangents(growth, start)
    del start  # not held beside the others
    n_kept = n_iterations + 1 if keep else 0
    inputs, jacobians = np.empty((n_kept, iteration.n_input)), np.empty((n_kept, *shape))
    input_errors, jacobian_errors = [], []
    for t, (z, jacobian) in enumerate(tangents):
        if exact_input is not None:
            input_errors.append(np.linalg.norm(z - exact_input))
        if exact_jacobian is not None:
            jacobian_errors.append(np.linalg.norm(jacobian - exact_jacobian))
        if keep:
            inputs[t], jacobians[t] = z, jacobian
    iteration.check_end(growth, z)
    return UnrolledJacobian(
        input_val=np.array(z),
        jacobian=jacobian,
        residual_norms=np.array(growth.residual_norms),
        input_errors=np.array(input_errors) if exact_input is not None else None,
        jacobian_errors=np.array(jacobian_errors) if exact_jacobian is not None else None,
        inputs=inputs if keep else None,
        jacobians=jacobians if keep else None,
        n_gradients=n_iterations + 1,
        n_products=n_iterations * iteration.n_hyper,
        memory_bytes=held + kept,
    )


def checked_jacobian(value, shape, name):
    """An array of finite floats of that shape, a copy."""
    value = real_array(value, name)
    if value.shape != shape:
        raise ShapeError(f"{name} has shape {value.shape}: (n_input, n_hyper) = {shape} is needed.")
    return value


def _held_bytes(iteration, keep):
    """Bytes of the states and Jacobians at work, and of those to be kept."""
    of_one = 8 * iteration.n_input * (1 + iteration.n_hyper)
    n_held = 4 if iteration.has_momentum else 2  # the next one, and the one before times its momentum
    if iteration.penalty is not None and iteration.penalty.depends_on_hyper:
        n_held += 1  # the penalty's part
    held = of_one * n_held
    kept = of_one * (iteration.n_iterations + 1) if keep else 0
    remedy = "pass keep=False" if keep else "use unroll_reverse, or take fewer hypers at a time"
    check_size(held + kept, "the set of iterates and Jacobians", memory_limit(), OF_MEMORY, remedy)
    return held, kept
