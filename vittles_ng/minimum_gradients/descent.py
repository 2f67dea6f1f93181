"""Gradient descent on ``l(x) = min_z L(z, x)`` itself, with gradients from inexact minima."""

from dataclasses import dataclass

import numpy as np

from ..errors import DivergenceError
from ..problem import Structure
from ..recursion import checked_integer
from ..unrolling.methods import GradientDescent
from .chain import Chain
from .estimators import ESTIMATORS, PRODUCT_COST, MinimumGradient, automatic_gradient, implicit_from
from .methods import StochasticGradientDescent, check_method

__all__ = ["OuterDescent", "outer_descent"]

#: Growth of the gradient that no descent that converges shows, and the outer steps whose gradients it is of: the first
#: may be zero where the start is a stationary point, or a batch has none.
_RUN_AWAY, _N_FIRST = 1e8, 3


@dataclass(frozen=True, eq=False)
class OuterDescent:
    """What :func:`outer_descent` gives.

    Attributes
    ----------
    hyper_vals : ndarray of shape (n_outer + 1, n_hyper)
        From the start to the last.
    gradients : ndarray of shape (n_outer, n_hyper)
        The estimates, at all of them but the last.
    input_val : ndarray of shape (n_input,)
        The last inexact minimum, at the last hyper but one.
    n_gradients, n_products : float
        Of all estimates together, as in :class:`MinimumGradient`.
    memory_bytes : int
        The most that an estimate held.
    """

    hyper_vals: np.ndarray
    gradients: np.ndarray
    input_val: np.ndarray
    n_gradients: float
    n_products: float
    memory_bytes: int

    @property
    def cost(self):
        """In gradients of the objective, a product with its second derivatives counted as two."""
        return self.n_gradients + PRODUCT_COST * self.n_products


def outer_descent(
    objective,
    input_val0,
    hyper_val0,
    method,
    n_iterations,
    step_size,
    n_outer,
    estimator="automatic",
    warm_start=False,
    maximise=False,
):
    """Gradient descent in the hyper on the minimum over the input: ``x_{k+1} = x_k - s g(x_k)``, g an estimate.

    It stops where the estimate is zero, which is as far from the minimum in the hyper as the estimate is wrong: a few
    inner iterations are enough for the automatic and implicit estimators where the analytic one has a bias. With a warm
    start the input converges too, and the bias of all of them goes.

    Parameters
    ----------
    objective, input_val0, hyper_val0, method, n_iterations
        As in :func:`automatic_gradient`, for the inner iterations. Stochastic gradient descent draws anew for every
        outer step, with the seeds that follow the method's.
    step_size : float
        s, of the outer steps.
    n_outer : int
        How many outer steps.
    estimator : {"automatic", "analytic", "implicit"}, default="automatic"
        Of the gradient in the hyper; the automatic one in reverse mode, the implicit one by Cholesky.
    warm_start : bool, default=False
        Start the inner iterations where the last ones stopped, not at ``input_val0``.
    maximise : bool, default=False
        Go up in the hyper, for ``max_x min_z L(z, x)``.

    Returns
    -------
    OuterDescent

    Raises
    ------
    DivergenceError
        The hypers, or the inner iterations, run away: a step size is too large.
    NotPositiveDefiniteError, MismatchError, IndependentError, NonFiniteError, ShapeError
        As in :func:`automatic_gradient`.
    ValueError
        The estimator is unknown, or a number is out of its range.

    References
    ----------
    As in :func:`analytic_gradient`, section 4.

    Examples
    --------
    ``min_z (z - x)^2 / 2 + z^2 / 2`` is ``x^2 / 4``; with ``(x - 3)^2 / 4`` added, the minimum is at 1.5. After three
    inner iterations from zero the input is wrong by 0.53^3 = 15%:

    >>> import autograd.numpy as np
    >>> from vittles_ng.minimum_gradients import outer_descent
    >>> from vittles_ng.unrolling import GradientDescent
    >>> def objective(z, x):
    ...     return 0.5 * (z[0] - x[0]) ** 2 + 0.5 * z[0] ** 2 + 0.25 * (x[0] - 3.0) ** 2
    >>> for estimator in ("analytic", "automatic", "implicit"):
    ...     run = outer_descent(objective, [0.0], [0.0], GradientDescent(0.235), 3, 0.8, 40, estimator)
    ...     print(f"{estimator:10s} {run.hyper_vals[-1, 0]:.4f}  cost {run.cost:g}")
    analytic   1.3961  cost 160
    automatic  1.4836  cost 480
    implicit   1.5000  cost 320
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator={estimator!r} is not known: use 'analytic', 'automatic' or 'implicit'.")
    check_method(method)
    checked_integer(n_outer, "n_outer", 0)
    step = GradientDescent(step_size).step_size * (-1.0 if maximise else 1.0)
    inputs, hypers = Structure(input_val0, "input_val0"), Structure(hyper_val0, "hyper_val0")
    z, x = inputs.flat0, hypers.flat0
    path, estimates = [x], []
    for k in range(n_outer):
        inner = method.with_seed(method.seed + k) if isinstance(method, StochasticGradientDescent) else method
        start = inputs.unflatten(np.array(z if warm_start else inputs.flat0))
        one = _estimate(estimator, objective, start, hypers.unflatten(np.array(x)), inner, n_iterations)
        estimates.append(one)
        _check_growth(estimates, step_size)
        z, x = one.input_val, x - step * one.gradient
        path.append(x)
    return OuterDescent(
        hyper_vals=np.array(path),
        gradients=np.array([one.gradient for one in estimates]).reshape(n_outer, hypers.size),
        input_val=np.array(z),
        n_gradients=sum(one.n_gradients for one in estimates),
        n_products=sum(one.n_products for one in estimates),
        memory_bytes=max((one.memory_bytes for one in estimates), default=0),
    )


def _estimate(estimator, objective, input_val0, hyper_val, method, n_iterations):
    """One estimate from inner iterations, their cost included."""
    if estimator == "automatic":
        return automatic_gradient(objective, input_val0, hyper_val, method, n_iterations)
    chain = Chain(objective, input_val0, hyper_val, method, n_iterations)
    z, end = chain.last()
    gradient, n_products, n_bytes = np.array(end.hyper_gradient), 0, 0
    if estimator == "implicit":
        gradient, n_products, n_bytes = implicit_from(end, "cholesky", None, check_definite=True)
    n_products += chain.share * n_iterations * chain.step_products
    n_gradients = 1 + chain.share * n_iterations
    return MinimumGradient(gradient, z, n_gradients, n_products, chain.state_bytes + max(chain.step_bytes, n_bytes))


def _check_growth(estimates, step_size):
    first = max(np.linalg.norm(one.gradient) for one in estimates[:_N_FIRST])
    last = np.linalg.norm(estimates[-1].gradient)
    if last > _RUN_AWAY * first > 0.0:
        raise DivergenceError(
            f"the hypers run away: after {len(estimates) - 1} outer steps the gradient is {last / first:.1e} times "
            f"that at the start: reduce step_size={step_size:g}."
        )
