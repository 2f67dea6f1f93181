"""Three estimators of the gradient of ``l(x) = min_z L(z, x)`` from an inexact minimum ``z_t``.

With ``e = |z_t - z*(x)|`` (Ablin, Peyre, Moreau, arXiv 2002.03722):

    analytic    g1 = L_x(z_t, x)                                      error of order e
    automatic   g2 = d/dx L(z_t(x), x) = L_x + J_t^T L_z              of order e^2 + e |J_t - J*|,  J_t = dz_t/dx
    implicit    g3 = L_x - L_xz L_zz^{-1} L_z                         of order e^2

since ``L_x(z_t) - l'(x) = L_xz (z_t - z*)`` to first order, which J* or ``-L_zz^{-1} L_zx`` takes away.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import NotPositiveDefiniteError
from ..problem import Equation
from ..recursion import checked_integer
from ..solvers import CGOptions, DenseCholesky, make_cg
from .chain import FACTOR_BYTES, Chain, checked_derivatives

__all__ = ["MinimumGradient", "analytic_gradient", "automatic_gradient", "implicit_gradient"]

#: Names of the estimators.
ESTIMATORS = ("analytic", "automatic", "implicit")
#: A product with second derivatives, in gradients: one taken alone is two to two and a half (Griewank & Walther,
#: "Evaluating Derivatives", SIAM 2008, section 3.2).
PRODUCT_COST = 2


@dataclass(frozen=True, eq=False)
class MinimumGradient:
    """An estimate of the gradient of a minimum, and what it took.

    Attributes
    ----------
    gradient : ndarray of shape (n_hyper,)
        In units of the objective over the hyper.
    input_val : ndarray of shape (n_input,)
        Where it was taken: the input given, or the last iterate.
    n_gradients : float
        Gradients of the objective, in input and hyper together or in one of them; those of a batch of observations
        count for its share. The checks at the start are not counted: an evaluation and, with a method, a gradient.
    n_products : float
        Products with its second derivatives, likewise.
    memory_bytes : int
        Of states, Jacobians and matrices held at one time, without what the objective itself takes.
    """

    gradient: np.ndarray
    input_val: np.ndarray
    n_gradients: float
    n_products: float
    memory_bytes: int

    @property
    def cost(self):
        """In gradients of the objective, a product with its second derivatives counted as two.

        Counted, not timed: a gradient takes longer where it is recorded, as it is in every iteration.
        """
        return self.n_gradients + PRODUCT_COST * self.n_products


def analytic_gradient(objective, input_val, hyper_val):
    """Analytic estimator, ``L_x(z_t, x)``: what the envelope theorem (Danskin) gives at an inexact minimum.

    Its error is proportional to that of the input. One gradient.

    Parameters
    ----------
    objective : callable
        ``objective(input, hyper)``, a scalar, in autograd.numpy.
    input_val : array_like, dict, list or tuple
        Near the minimum at ``hyper_val``.
    hyper_val : array_like, dict, list or tuple
        Nested inputs and hypers are flattened as by ``autograd.misc.flatten``.

    Returns
    -------
    MinimumGradient

    Raises
    ------
    IndependentError
        The objective does not depend on the input, or not on the hyper.
    NonFiniteError, ShapeError
        The objective is not defined there, or is not a scalar.

    References
    ----------
    P. Ablin, G. Peyre, T. Moreau, "Super-efficiency of automatic differentiation for functions defined as a minimum",
    ICML 2020 (arXiv 2002.03722).

    Examples
    --------
    ``l(x) = x^2 / 4``, the minimum in z of ``(z - x)^2 / 2 + z^2 / 2`` at ``z = x / 2``; its derivative at 2 is 1. From
    an input that is wrong by .1:

    >>> import autograd.numpy as np
    >>> from vittles_ng.minimum_gradients import analytic_gradient, implicit_gradient
    >>> def objective(z, x):
    ...     return 0.5 * np.sum((z - x) ** 2) + 0.5 * np.sum(z**2)
    >>> near, hyper = np.array([1.1]), np.array([2.0])
    >>> print(analytic_gradient(objective, near, hyper).gradient)
    [0.9]
    >>> print(implicit_gradient(objective, near, hyper).gradient)
    [1.]
    """
    derivatives, z = _at(objective, input_val, hyper_val)
    return MinimumGradient(np.array(derivatives.hyper_gradient), z, 1, 0, z.nbytes)


def implicit_gradient(objective, input_val, hyper_val, solver="cholesky", n_steps=None):
    """Implicit estimator, ``L_x - L_xz L_zz^{-1} L_z`` at an inexact minimum.

    Its error is proportional to the square of that of the input; with n steps of conjugate gradients, to the error
    itself as well, with a factor that decreases as they converge.

    Parameters
    ----------
    objective, input_val, hyper_val
        As in :func:`analytic_gradient`.
    solver : {"cholesky", "cg"} or CGOptions, default="cholesky"
        How to solve with the Hessian: exactly, with ``n_input`` products to form it, or by conjugate gradients
        (:func:`vittles_ng.solvers.cg` has their options).
    n_steps : int, default=None
        With ``solver="cg"``: stop after so many steps, whatever the residual; 0 gives the analytic estimator.

    Returns
    -------
    MinimumGradient

    Raises
    ------
    NotPositiveDefiniteError
        The Hessian is singular or indefinite. Truncated conjugate gradients see that only in the directions they go.
    SolveFailed
        Conjugate gradients did not converge.
    IndependentError, NonFiniteError, ShapeError
        As in :func:`analytic_gradient`.
    ValueError
        The solver is unknown, or ``n_steps`` is not a whole number from 0, or not with ``solver="cg"``.

    Notes
    -----
    With conjugate gradients to a tolerance a second system with a random right-hand side is solved first, since a
    Hessian that is indefinite in directions which ``L_z`` has no part in is not found out otherwise.

    References
    ----------
    As in :func:`analytic_gradient`.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from vittles_ng.minimum_gradients import implicit_gradient
    >>> def objective(z, x):
    ...     return 0.5 * np.sum(np.arange(1.0, 4.0) * (z - x) ** 2) + 0.5 * np.sum(z**2)
    >>> near, hyper = np.array([0.6, 0.7, 0.7]), np.ones(3)
    >>> for n_steps in range(4):
    ...     print(implicit_gradient(objective, near, hyper, solver="cg", n_steps=n_steps).gradient.round(3))
    [0.4 0.6 0.9]
    [0.467 0.667 0.7  ]
    [0.499 0.674 0.752]
    [0.5   0.667 0.75 ]
    """
    check_solver(solver, n_steps)
    derivatives, z = _at(objective, input_val, hyper_val)
    gradient, n_products, n_bytes = implicit_from(derivatives, solver, n_steps, check_definite=True)
    return MinimumGradient(gradient, z, 1, n_products, z.nbytes + n_bytes)


def automatic_gradient(objective, input_val0, hyper_val, method, n_iterations, mode="reverse", n_checkpoints=None):
    """Automatic estimator, ``d/dx L(z_T(x), x)``, through the iterations of a method.

    Its error is proportional to that of the last iterate times that of its Jacobian, which for gradient descent tends
    to zero nearly as fast. The start does not depend on the hyper.

    Parameters
    ----------
    objective : callable
        As in :func:`analytic_gradient`; with :class:`StochasticGradientDescent` ``objective(input, hyper, indices)``.
    input_val0 : array_like, dict, list or tuple
        Where the iterations start.
    hyper_val : array_like, dict, list or tuple
    method : GradientDescent, HeavyBall, Chebyshev, Accelerated, Newton or StochasticGradientDescent
        The first three are in :mod:`vittles_ng.unrolling`.
    n_iterations : int
        T, from 0.
    mode : {"reverse", "forward"}, default="reverse"
        Reverse: one product with second derivatives for each iteration, memory of all iterates. Forward: ``n_hyper``
        products for each, memory that does not grow with T, but for what stochastic gradient descent draws.
    n_checkpoints : int, default=None
        In reverse mode: hold at most so many states, and do steps again; all if None.

    Returns
    -------
    MinimumGradient

    Raises
    ------
    DivergenceError
        The iterates run away: the step size is too large.
    NotPositiveDefiniteError
        Newton's method met a Hessian that is not: start closer.
    MismatchError
        An objective of observations is not the mean over its indices.
    SizeError
        The iterates or Jacobians would not fit in memory.
    IndependentError, NonFiniteError, ShapeError
        As in :func:`analytic_gradient`.

    References
    ----------
    As in :func:`analytic_gradient`.

    Examples
    --------
    The problem of :func:`analytic_gradient`. After 5 iterations the input is wrong by 2e-2, the gradient by 4e-4:

    >>> import autograd.numpy as np
    >>> from vittles_ng.minimum_gradients import automatic_gradient
    >>> from vittles_ng.unrolling import GradientDescent
    >>> def objective(z, x):
    ...     return 0.5 * np.sum((z - x) ** 2) + 0.5 * np.sum(z**2)
    >>> result = automatic_gradient(objective, np.zeros(1), np.array([2.0]), GradientDescent(0.27), 5)
    >>> print(result.input_val.round(4), result.gradient.round(4), result.cost)
    [0.9794] [1.0004] 20.0
    """
    if mode not in ("reverse", "forward"):
        raise ValueError(f"mode={mode!r} is not known: use 'reverse' or 'forward'.")
    if n_checkpoints is not None and mode == "forward":
        raise ValueError("n_checkpoints is for mode='reverse': forward mode holds no states.")
    if n_checkpoints is not None:
        checked_integer(n_checkpoints, "n_checkpoints", 1)
    chain = Chain(objective, input_val0, hyper_val, method, n_iterations)
    growth = chain.growth()
    if mode == "reverse":
        end = None

        def adjoint(z):
            nonlocal end
            end = chain.end(growth, z)
            return end.gradient[None, :]

        (through,), _, z, n_forward, n_held = chain.pulled(growth, adjoint, n_checkpoints)
        costs = reverse_costs(chain, n_iterations, n_forward, max(n_held, 1))
    else:
        for z, jacobian in chain.tangents(growth):  # noqa: B007
            pass
        end = chain.end(growth, z)
        through, costs = jacobian.T @ end.gradient, forward_costs(chain, n_iterations)
    return MinimumGradient(end.hyper_gradient + through, np.array(z), *costs)


def reverse_costs(chain, n_iterations, n_forward, n_held):
    """Gradients, products and bytes of reverse mode."""
    n_steps = n_forward + n_iterations
    n_products = chain.share * (n_steps * chain.step_products + n_iterations * chain.direction_products)
    n_bytes = chain.held_bytes(n_iterations, n_held) + chain.step_bytes + n_iterations * chain.draw_bytes
    return 1 + chain.share * n_steps, n_products, n_bytes


def forward_costs(chain, n_iterations):
    """Gradients, products and bytes of forward mode."""
    n_products = chain.share * n_iterations * (chain.step_products + chain.n_hyper * chain.direction_products)
    n_bytes = chain.state_bytes + chain.step_bytes + chain.n_jacobians * 8 * chain.n_input * chain.n_hyper
    n_bytes += n_iterations * chain.draw_bytes
    return 1 + chain.share * n_iterations, n_products, n_bytes


def implicit_from(derivatives, solver, n_steps, check_definite):
    """``L_x - L_xz L_zz^{-1} L_z``, products with second derivatives, and bytes of what solves."""
    right, n = derivatives.gradient, derivatives.gradient.size
    n_products = 0

    def product(v):
        nonlocal n_products
        n_products += 1
        return derivatives.pulled(np.ascontiguousarray(v)[None, :])[0][0]

    if isinstance(solver, str) and solver == "cholesky":
        solution, n_bytes = DenseCholesky(derivatives.hessian()).solve(right), FACTOR_BYTES * n * n
        n_products += n
    elif n_steps is not None:
        solution, n_bytes = _truncated(product, right, n_steps), 4 * right.nbytes
    else:
        found, n_bytes = make_cg(solver, product, n), 4 * right.nbytes
        if check_definite:
            found.check_definite()
        solution = found.solve(right)
    of_hyper = derivatives.pulled(solution[None, :])[1][0]
    return derivatives.hyper_gradient - of_hyper, n_products + 1, n_bytes


def check_solver(solver, n_steps):
    """Raise unless a solver is known, and a number of steps is one of conjugate gradients."""
    if not isinstance(solver, CGOptions) and not (isinstance(solver, str) and solver in ("cholesky", "cg")):
        raise ValueError(f"solver={solver!r} is not known: use 'cholesky', 'cg' or cg(...).")
    if n_steps is not None:
        if not (isinstance(solver, str) and solver == "cg"):
            raise ValueError(f"n_steps is for solver='cg', not for solver={solver!r}.")
        checked_integer(n_steps, "n_steps", 0)


def _at(objective, input_val, hyper_val):
    equation = Equation(objective, input_val, hyper_val, is_objective=True)
    derivatives = checked_derivatives(equation)
    return derivatives, np.array(equation.input.flat0)


# Hestenes & Stiefel from zero: alpha = r.r / p.A p, x += alpha p, r -= alpha A p, p = r + (r.r / previous r.r) p
def _truncated(product, right, n_steps):
    size = np.max(np.abs(right))
    if size == 0.0:
        return np.zeros_like(right)
    x, r = np.zeros_like(right), right / size  # whose squares neither overflow nor vanish
    p, square0 = r.copy(), r @ r
    square = square0
    for step in range(n_steps):
        if square <= np.finfo(float).eps ** 2 * square0:
            break
        along = product(p)
        curvature = p @ along
        if not curvature > 0.0:
            raise NotPositiveDefiniteError(
                f"the Hessian is not positive definite: curvature v.H v / v.v = {curvature / (p @ p):.1e} at step "
                f"{step} of conjugate gradients: saddle or not identified; move the input towards a minimum."
            )
        x += (square / curvature) * p
        r -= (square / curvature) * along
        square, before = r @ r, square
        p = r + (square / before) * p
    return size * x
