"""The Jacobian of an exact minimum, by the implicit function theorem: what unrolled Jacobians tend to.

``dz*/dx = -H^{-1} B``; with an l1 penalty, on the active set S: ``-H_SS^{-1} (B_S + sign(z_S) dw_S)``, and 0 off it
(Bertrand et al., arXiv 2002.08943).
"""

import numpy as np

from ..errors import NonSmoothError, NotASolutionError
from ..solvers import DenseCholesky
from .iteration import check_dependence, iteration_of
from .methods import GradientDescent, ProximalGradient

__all__ = ["implicit_jacobian"]

#: Distance of a gradient from its penalty, relative to it, that cannot be told from none.
_TIE = 1e-10


def implicit_jacobian(objective, input_val, hyper_val, penalty=None, optimum_tol=1e-6):
    """Derivative of a minimum in the hyper, ``dz*/dx``, by one dense solve.

    Requires that ``input_val`` is the minimum.

    Parameters
    ----------
    objective : callable
        ``objective(input, hyper)``, in autograd.numpy; without the penalty.
    input_val : array_like, dict, list or tuple
        The minimum.
    hyper_val : array_like, dict, list or tuple
    penalty : float or callable, default=None
        The weight of an l1 penalty, as in :class:`ProximalGradient`. What is not zero in ``input_val`` is active.
    optimum_tol : float, default=1e-6
        How large components of the Newton step may be, relative to ``1 + |input|``, and how far gradients of inputs
        that are zero may lie over the penalty, relative to it.

    Returns
    -------
    jacobian : ndarray of shape (n_input, n_hyper)

    Raises
    ------
    NotASolutionError
        The input is not the minimum to tolerance.
    NotPositiveDefiniteError
        The Hessian, on the active set, is not positive definite.
    NonSmoothError
        An input that is zero is about to become active: the solution has a kink at this hyper.
    IndependentError
        Neither objective nor penalty depends on the hyper.
    SizeError
        The Hessian would not fit in memory.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from vittles_ng.unrolling import implicit_jacobian
    >>> y = np.array([3.0, -0.5, -2.0])  # soft thresholding at 1
    >>> loss = lambda z, hyper: 0.5 * np.sum((z - y) ** 2)
    >>> print(implicit_jacobian(loss, np.array([2.0, 0.0, -1.0]), np.ones(1), lambda hyper: hyper[0]).ravel())
    [-1.  0.  1.]
    """
    method = GradientDescent(1.0) if penalty is None else ProximalGradient(1.0, penalty)
    iteration = iteration_of(objective, input_val, hyper_val, method, 0)
    z, jacobian = iteration.z0, np.zeros((iteration.n_input, iteration.n_hyper))
    derivatives = iteration.second_derivatives(z)
    check_dependence(derivatives, iteration.penalty)
    right, gradient, active = derivatives.pushed(jacobian), derivatives.gradient, np.ones(iteration.n_input, bool)
    if iteration.penalty is not None:
        weights = np.broadcast_to(iteration.penalty.weights, z.shape)
        active = (z != 0.0) | (weights == 0.0)
        _check_inactive(np.abs(gradient), weights, ~active, iteration.penalty.is_kink(z), optimum_tol)
        gradient = gradient + np.sign(z) * weights
        if iteration.penalty.depends_on_hyper:
            right = right + np.sign(z)[:, None] * iteration.penalty.jacobian
    if active.any():
        factor = DenseCholesky(derivatives.hessian()[np.ix_(active, active)])
        step = np.abs(factor.solve(gradient[active])) / (1.0 + np.abs(z[active]))
        if not np.max(step) <= optimum_tol:
            raise NotASolutionError(
                f"Newton step (relative to 1 + |input|) {np.max(step):.1e} > tol {optimum_tol:.1e}: the input is not "
                "the minimum; solve to a tighter tolerance, or pass a larger optimum_tol, which accepts that error."
            )
        jacobian[active] = -factor.solve(right[active])
    return jacobian


def _check_inactive(sizes, weights, inactive, kinks, tol):
    over = np.where(inactive, sizes - weights, -np.inf)
    worst = int(np.argmax(over))
    if over[worst] > tol * weights[worst]:
        raise NotASolutionError(
            f"the input {worst} is zero where its gradient {sizes[worst]:.3g} is over the penalty {weights[worst]:.3g}:"
            " the input is not the minimum; solve to a tighter tolerance."
        )
    tie = (inactive & (np.abs(sizes - weights) <= _TIE * weights)) | kinks
    if tie.any():
        raise NonSmoothError(
            f"the input {int(np.flatnonzero(tie)[0])} is zero with a gradient equal to its penalty: it is about to "
            "become active and has no derivative; change the penalty a little."
        )
