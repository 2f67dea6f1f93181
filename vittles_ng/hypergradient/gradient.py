"""The hypergradient, in three ways.

Requires ``df/dinput = 0`` at the input. By the implicit function theorem, with H the Hessian of f and B its cross
derivative ``d2f / dinput dhyper``,

    gradient = F_hyper - B^T adjoint,    H adjoint = F_input

(Bengio, Neural Computation 12 (2000) 1889; Pedregosa, arXiv 1602.02355): H factored, or solved with by conjugate
gradients. Unrolled, T iterations of a first-order method from the solution give ``(I - P_T(H)) dz*/dhyper`` with the
method's residual polynomial P_T, a truncated series for the same (Lorraine, Vicol, Duvenaud, arXiv 1911.02590).
"""

from dataclasses import dataclass

import numpy as np

from ..base_point import BasePoint
from ..errors import NotASolutionError
from ..recursion import checked_positive
from ..unrolling.methods import Method
from .bounds import inner_error, linear_error
from .derivatives import DifferenceDerivatives, ExactDerivatives
from .outer import OuterLoss
from .spectrum import cross_norm
from .systems import FactorSystem, IterativeSystem
from .unrolled import unrolled_gradient

__all__ = ["Hypergradient", "assessed", "hypergradient"]

_METHODS, _PRODUCTS = ("factor", "cg", "unrolled"), ("exact", "differences")
#: Part of the tolerance that linear solve or truncation may take.
_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """The gradient of an outer loss in the hypers, and how far it is to be trusted.

    Attributes
    ----------
    gradient : ndarray of shape (n_hyper,)
        Along the flat hyper.
    outer_loss : float
        At the inner solution that was given.
    error_bound : float
        Bound on ``|gradient - exact|`` (Euclidean norm), exact for the exact inner solution: the sum of the three parts
        below. Estimated from one Newton step, on the large side; not proven.
    inner_error, solve_error, rounding_error : float
        Its parts: from the inexact inner solution; from the linear system, or the truncation of the series; and from
        conditioning, the products' accuracy times ``condition |B| |adjoint|``, with that of ``B^T adjoint`` where it is
        a difference.
    input_error_bound : float
        Bound on the distance of the inner solution from the exact one, likewise.
    residual_norm : float
        ``|df/dinput|`` at the inner solution.
    condition : float
        Condition number of the inner Hessian (2-norm), rounded up; infinite where the smallest eigenvalue could not be
        told.
    n_products : int
        Products with the inner objective's second derivatives, ``H v``, ``B^T v`` or ``B w``: those for the factor,
        for the bound and the condition among them.
    n_iterations : int
        Of the method that was unrolled; 0 otherwise.
    trusted : bool
        Whether ``error_bound <= tol (1 + |gradient|)``.
    message : str
        What speaks for or against it.
    """

    gradient: np.ndarray
    outer_loss: float
    error_bound: float
    inner_error: float
    solve_error: float
    rounding_error: float
    input_error_bound: float
    residual_norm: float
    condition: float
    n_products: int
    n_iterations: int
    trusted: bool
    message: str


def hypergradient(
    outer_loss,
    objective,
    input_val,
    hyper_val,
    method="factor",
    products="exact",
    tol=1e-6,
    factor=None,
    solver="auto",
    sparsity=None,
    unrolling=None,
):
    """Gradient of an outer loss in the hypers, through the minimum of an inner objective.

    Requires that ``input_val`` minimises ``objective(., hyper_val)``, to the tolerance.

    Parameters
    ----------
    outer_loss : callable
        ``outer_loss(input, hyper)`` or ``outer_loss(input)``, a scalar in autograd.numpy: a held-out loss.
    objective : callable
        ``objective(input, hyper)``, a scalar in autograd.numpy.
    input_val : array_like of shape (n_input,), or nested dict, list or tuple of arrays
        The inner solution.
    hyper_val : array_like of shape (n_hyper,), or nested
    method : {"factor", "cg", "unrolled"}, default="factor"
        The linear system by a factor of the Hessian; by conjugate gradients, matrix-free; or by unrolling a first-order
        method from ``input_val`` in reverse mode, with as many iterations as the tolerance needs.
    products : {"exact", "differences"}, default="exact"
        Products with second derivatives from a tape, or by centred differences of the objective's gradients: for
        objectives that autograd cannot differentiate twice. Unrolling takes exact ones.
    tol : float, default=1e-6
        Largest error of the gradient, ``|error| <= tol (1 + |gradient|)``, that linear solve and inner solution may
        leave. Infinity takes what comes.
    factor : solver, callable or matrix, default=None
        What solves with the Hessian, or it itself, for ``method="factor"``; for "cg" a preconditioner, such as the
        factor at a nearby hyper.
    solver, sparsity
        Of :class:`~vittles_ng.ParametricSensitivityTaylorExpansion`, for ``method="factor"`` with exact products.
    unrolling : GradientDescent, HeavyBall or Chebyshev, default=None
        What to unroll, for ``method="unrolled"``; Chebyshev between the Hessian's extreme eigenvalues if None.

    Returns
    -------
    Hypergradient

    Raises
    ------
    NotASolutionError
        The inner problem is not solved: the hypergradient's error from it is beyond ``tol``.
    NotPositiveDefiniteError
        The inner Hessian is singular or indefinite.
    NonFiniteError
        The outer loss or the objective, or a gradient of theirs, is NaN or infinite.
    NonSmoothError
        The objective has no second derivatives there.
    IndependentError
        The inner objective's gradient does not depend on the hyper or the input.
    SolveFailed
        Conjugate gradients or the unrolled method do not get to ``tol``.
    DivergenceError
        The step size of ``unrolling`` is too large for the Hessian.
    ValueError, TypeError
        An argument is unknown, or belongs to another method.

    Notes
    -----
    An expansion of the inner problem at ``hyper_val`` has its factor: pass ``factor=expansion.solver``. One Newton step
    further a second tape is recorded, for ``inner_error``; where only the gradient is wanted,
    ``expansion.functional(outer_loss).gradient()`` is cheaper.

    References
    ----------
    F. Pedregosa, "Hyperparameter optimization with approximate gradient", ICML 2016 (arXiv 1602.02355). Y. Bengio,
    "Gradient-based optimization of hyperparameters", Neural Computation 12 (2000) 1889. D. Maclaurin, D. Duvenaud,
    R. Adams, ICML 2015 (arXiv 1502.03492), for unrolling. J. Lorraine, P. Vicol, D. Duvenaud, AISTATS 2020 (arXiv
    1911.02590).

    Examples
    --------
    A mean shrunk to ``2 / (1 + penalty)``; its squared distance from 1.5 has the derivative ``2 (z - 1.5) dz``, at
    penalty 1 ``2 (-.5) (-.5)``:

    >>> import autograd.numpy as np
    >>> from vittles_ng.hypergradient import hypergradient
    >>> inner = lambda z, penalty: 0.5 * np.sum((z - 2.0) ** 2) + 0.5 * penalty[0] * np.sum(z**2)
    >>> found = hypergradient(lambda z: np.sum((z - 1.5) ** 2), inner, np.ones(1), np.ones(1))
    >>> print(found.gradient, found.trusted)
    [0.5] True
    """
    _check_arguments(method, products, tol, factor, solver, sparsity, unrolling)
    if products == "exact":
        derivatives = ExactDerivatives(BasePoint(objective, input_val, hyper_val, True, solver, sparsity))
    else:
        derivatives = DifferenceDerivatives(objective, input_val, hyper_val)
    outer = OuterLoss(outer_loss, *derivatives.structures)
    outer(derivatives.input_val, derivatives.hyper_val)  # refused before anything is factored
    if method == "factor":
        own = derivatives.factored() if factor is None else derivatives.given(factor)
        return assessed(derivatives, outer, FactorSystem(derivatives, own), tol)
    system = IterativeSystem(derivatives, factor)
    if method == "cg":
        return assessed(derivatives, outer, system, tol)

    def unrolled(target):
        return unrolled_gradient(objective, derivatives, outer, system.extremes, unrolling, target)

    return assessed(derivatives, outer, system, tol, unrolled)


def _check_arguments(method, products, tol, factor, solver, sparsity, unrolling):
    for name, value, known in (("method", method, _METHODS), ("products", products, _PRODUCTS)):
        if value not in known:
            raise ValueError(f"{name}={value!r} is not known: use one of {', '.join(map(repr, known))}.")
    checked_positive(tol, "tol", may_be_infinite=True)
    if unrolling is not None and not isinstance(unrolling, Method):
        raise TypeError(f"unrolling={unrolling!r}: GradientDescent, HeavyBall or Chebyshev of vittles_ng.unrolling.")
    if method == "unrolled" and products != "exact":
        raise ValueError("method='unrolled' takes exact products: leave products out, or use method='cg'.")
    if unrolling is not None and method != "unrolled":
        raise ValueError(f"unrolling= belongs to method='unrolled', and method={method!r}.")
    if factor is not None and (method == "unrolled" or products == "differences" and method == "factor"):
        raise ValueError("factor= belongs to method='factor' with exact products, and to method='cg'.")
    is_default = isinstance(solver, str) and solver == "auto" and sparsity is None
    if not is_default and (method != "factor" or products != "exact" or factor is not None):
        raise ValueError("solver= and sparsity= belong to method='factor' with exact products and no factor given.")


def assessed(derivatives, outer, system, tol, unrolled=None):
    """The hypergradient from a system that is ready, with its bound.

    Parameters
    ----------
    derivatives : ExactDerivatives or DifferenceDerivatives
    outer : OuterLoss
    system : FactorSystem or IterativeSystem
    tol : float
    unrolled : callable, default=None
        ``unrolled(target) -> (gradient, missing, n_iterations)``, which makes the gradient in place of the system,
        with ``target`` of the derivative missing at most.

    Returns
    -------
    Hypergradient
    """
    value, by_input, by_hyper = outer(derivatives.input_val, derivatives.hyper_val)
    size = cross_norm(derivatives.pushed, derivatives.pulled, derivatives.hyper_val.size)
    extremes = system.extremes
    is_told = extremes.smallest > 0.0
    # |H^{-1} r| and |B| turn residuals into errors of the gradient
    gain = max(size / (extremes.smallest if is_told else extremes.smallest_at_most), np.finfo(float).tiny)
    target = _SHARE * tol * (1.0 + float(np.linalg.norm(by_hyper))) / gain
    adjoint = system.solve_to(by_input, target) if unrolled is None else system.solve(by_input)
    residual = by_input - derivatives.hessian(adjoint)
    gradient = by_hyper - derivatives.pulled(adjoint)
    inner = inner_error(derivatives, outer, system, adjoint, (residual, gradient))
    if unrolled is None:
        solve_error, n_iterations = linear_error(derivatives, system, residual), 0
    else:
        outer_size = max(float(np.linalg.norm(by_input)), np.finfo(float).tiny)
        gradient, missing, n_iterations = unrolled(target / outer_size)
        solve_error = missing * outer_size * gain
    condition = extremes.largest / extremes.smallest if is_told else np.inf
    rounding = derivatives.accuracy * condition * size * float(np.linalg.norm(adjoint)) if size else 0.0
    rounding += derivatives.pulled_error(adjoint)
    bound, limit = inner.of_gradient + solve_error + rounding, tol * (1.0 + float(np.linalg.norm(gradient)))
    residual_norm = float(np.linalg.norm(derivatives.gradient))
    _check_solved(inner.of_gradient, limit, residual_norm, tol)
    return Hypergradient(
        gradient=gradient,
        outer_loss=value,
        error_bound=bound,
        inner_error=inner.of_gradient,
        solve_error=solve_error,
        rounding_error=rounding,
        input_error_bound=inner.of_input,
        residual_norm=residual_norm,
        condition=condition,
        n_products=derivatives.n_products,
        n_iterations=n_iterations,
        trusted=bool(bound <= limit and is_told),
        message=f"error bound {bound:.1e}: inner solution {inner.of_gradient:.1e}, "
        f"{'truncation' if unrolled else 'linear solve'} {solve_error:.1e}, conditioning {rounding:.1e}"
        f"{'' if is_told else '; the smallest eigenvalue of the Hessian could not be told'}",
    )


def _check_solved(error, limit, residual_norm, tol):
    if not error <= limit:
        raise NotASolutionError(
            f"the inner problem is not solved: |df/dinput| = {residual_norm:.1e} leaves an error of about {error:.1e} "
            f"in the hypergradient, and tol={tol:.0e} allows {limit:.1e}: solve it to a tighter tolerance, or pass a "
            "larger tol."
        )
