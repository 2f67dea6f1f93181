"""How far a hypergradient is from that of the exact inner solution.

Let g be the gradient of f in the input at an inexact solution z, ``s = H^{-1} g`` the Newton step, and for any l

    L_z = F_z - H l,    L_x = F_x - B^T l        (H, B, F_z, F_x at the point where L is taken).

The hypergradient at a point is ``p = L_x - B^T H^{-1} L_z`` whatever l is; with the adjoint l that was found at z,
``L_z(z) = r`` is the residual of its linear system. So, with z* replaced by ``z - s``,

    p(z) - p(z*) = [L_x(z) - L_x(z - s)] + B^T H^{-1} [L_z(z - s) - L_z(z)],    B at z - s, H at z* or nearly,
    error of the linear solve = B^T H^{-1} r.

Norms of the parts are added, so that they cannot cancel. Kantorovich's theorem scales them from the Newton step to the
distance: with ``h = 2 |s'| / |s|``, s' the next step, ``|z - z*| <= |s| (1 - sqrt(1 - 2 h)) / h`` where ``h <= 1/2``
(Ortega & Rheinboldt, "Iterative Solution of Nonlinear Equations in Several Variables", 12.6; h from one direction,
hence an estimate). Pedregosa's Theorem 1 (arXiv 1602.02355) is the worst case over all directions of the same terms.
"""

from typing import NamedTuple

import numpy as np

from ..errors import NonFiniteError, NotASolutionError

__all__ = ["InnerError", "inner_error", "linear_error"]

_EPS = np.finfo(float).eps
#: Newton step, relative to 1 + |input|, below which one that does not contract is rounding, whatever the condition.
_AT_ROUNDING = 1e-8
#: Roundings of the gradient, turned into a Newton step by the condition of H.
_ROUNDINGS = 8.0


class InnerError(NamedTuple):
    """What an inexact inner solution does."""

    of_gradient: float
    of_input: float


def inner_error(derivatives, outer, system, adjoint, lagrangian):
    """Bounds of the errors of hypergradient and input from an inexact inner solution.

    Parameters
    ----------
    derivatives : ExactDerivatives or DifferenceDerivatives
    outer : OuterLoss
    system : FactorSystem or IterativeSystem
    adjoint : ndarray of shape (n_input,)
    lagrangian : pair of ndarray
        ``L_z`` and ``L_x`` at the inner solution.

    Returns
    -------
    InnerError

    Raises
    ------
    NotASolutionError
        Newton's method does not converge from there, by Kantorovich's criterion.
    """
    z, gradient = derivatives.input_val, derivatives.gradient
    step = system.solve(gradient)
    length = float(np.linalg.norm(step))
    if np.max(np.abs(step) / (1.0 + np.abs(z))) <= 4.0 * _EPS:
        return InnerError(0.0, length)
    try:
        there = derivatives.at(z - step)
        _, by_input, by_hyper = outer(z - step, derivatives.hyper_val)
    except NonFiniteError as error:
        raise NotASolutionError(
            f"the Newton step from input_val, of length {length:.1e}, leads nowhere: {error}"
        ) from None
    h = 2.0 * float(np.linalg.norm(system.solve(there.gradient))) / length
    extremes = system.extremes
    condition = extremes.largest / max(extremes.smallest, extremes.smallest_at_most)
    growth = _growth(h, step, z, max(_AT_ROUNDING, _ROUNDINGS * derivatives.accuracy * condition))
    change_input = by_input - there.hessian(adjoint) - lagrangian[0]
    change_hyper = by_hyper - there.pulled(adjoint) - lagrangian[1]
    through_input = there.pulled(system.solve(change_input))
    derivatives.n_products += there.n_products
    first = np.linalg.norm(change_hyper) + np.linalg.norm(through_input)
    return InnerError(float(growth * first), growth * length)


def _growth(h, step, z, rounding):
    """How much longer than the Newton step, and than what it does at first order, the whole error may be."""
    if h >= 0.5:
        size = float(np.max(np.abs(step) / (1.0 + np.abs(z))))
        if size > rounding:
            raise NotASolutionError(
                f"input_val does not solve the inner problem: the Newton step is {size:.1e} of 1 + |input| and the "
                f"next one {0.5 * h:.1e} of it (0.25 at most is needed for a bound): solve the inner problem first."
            )
        return 2.0
    kantorovich = (1.0 - np.sqrt(1.0 - 2.0 * h)) / h if h > _EPS**0.5 else 1.0
    return float(kantorovich * (1.0 + 2.0 * h))


def linear_error(derivatives, system, residual):
    """Twice the error ``|B^T H^{-1} r|`` of a hypergradient whose linear system was solved to residual r."""
    if not residual.any():
        return 0.0
    return 2.0 * float(np.linalg.norm(derivatives.pulled(system.solve(residual))))
