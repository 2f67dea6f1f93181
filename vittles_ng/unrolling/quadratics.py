"""Unrolled differentiation of a quadratic, known before the first iteration.

For ``f(z, x) = z^T H(x) z / 2 + b(x)^T z + c(x)`` where H commutes with its derivatives in the hyper, as for a ridge
penalty, differentiating ``z_t - z* = P_t(H) (z_0 - z*)`` gives the error of the Jacobian exactly:

    J_t - J* = (P_t(H) - H P_t'(H)) (J_0 - J*) + P_t'(H) G,    G = d/dx grad f(z_0(x), x).

Source: D. Scieur, G. Gidel, Q. Bertrand, F. Pedregosa, "The curse of unrolling: rate of differentiating through
optimization", NeurIPS 2022 (arXiv 2209.13271). Where they do not commute, ``d P_t(H)`` is not ``P_t'(H) dH``, and the
class refuses.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import NotCommutingError, NotPositiveDefiniteError, NotQuadraticError
from .forward import checked_jacobian
from .iteration import check_dependence, iteration_of
from .methods import GradientDescent
from .polynomials import check_linear, residual_polynomials, worst_case_factors

__all__ = ["InitialRise", "QuadraticUnrolling", "StepSizeTradeOff"]

#: Relative differences of gradients that are no rounding.
_NOT_QUADRATIC = 1e-8


@dataclass(frozen=True)
class InitialRise:
    """How the error of the Jacobian rises before it falls.

    Attributes
    ----------
    iteration : int
        Where the error is largest; 0 where it does not rise. The last one that was asked for if it still rises there.
    height : float
        The error there, relative to that at iteration 0; infinite where that is zero.
    recovered : int or None
        From which iteration on the error is not above that at iteration 0; None if not within the iterations asked for.
    """

    iteration: int
    height: float
    recovered: int | None


@dataclass(frozen=True, eq=False)
class StepSizeTradeOff:
    """What step sizes of gradient descent cost and bring; every array is (n_step_sizes,).

    Attributes
    ----------
    step_sizes : ndarray
    rates : ndarray
        Largest ``|1 - h lambda|``: factor an iteration, in the end.
    peaks : ndarray of int
        Iteration with the largest error of the Jacobian.
    heights : ndarray
        That error, relative to the one at iteration 0.
    final_errors : ndarray
        Error after the last iteration, likewise.
    """

    step_sizes: np.ndarray
    rates: np.ndarray
    peaks: np.ndarray
    heights: np.ndarray
    final_errors: np.ndarray


class QuadraticUnrolling:
    """The exact error of unrolled Jacobians of a quadratic whose Hessian commutes with its derivatives.

    Parameters
    ----------
    objective : callable
        ``objective(input, hyper)``, quadratic in the input with a positive definite Hessian, in autograd.numpy.
    input_val0 : array_like, dict, list or tuple
        Where the iterations start.
    hyper_val0 : array_like, dict, list or tuple
    jacobian0 : ndarray of shape (n_input, n_hyper), default=None
        Derivative of ``input_val0`` in the hyper; zero if None.
    commutator_tol : float, default=1e-10
        Largest ``|A H - H A| / (|A| |H|)`` that counts as commuting, A the derivative of H in one hyper.

    Attributes
    ----------
    eigenvalues : ndarray of shape (n_input,)
        Of the Hessian, rising.
    eigenvectors : ndarray of shape (n_input, n_input)
        In columns.
    solution : ndarray of shape (n_input,)
        The minimum z*.
    solution_jacobian : ndarray of shape (n_input, n_hyper)
        J*, its derivative in the hyper.
    commutator_norm : float
        The largest of the hypers.

    Raises
    ------
    NotCommutingError
        The Hessian does not commute with its derivative in a hyper, as for a penalty for each input.
    NotQuadraticError
        The objective is not quadratic in the input, at this hyper or near it.
    NotPositiveDefiniteError
        There is no one minimum.
    IndependentError
        The objective does not depend on the hyper.
    SizeError
        The derivatives of the Hessian would not fit in memory.

    Notes
    -----
    Takes four recordings of the objective's gradient, ``n_input`` products with its second derivatives, as many series
    of order 3 for every hyper, and one eigendecomposition. Whether the objective is quadratic is looked at at the
    minimum, at a random point near the start, and at one as far from it as the minimum.

    Examples
    --------
    The step size of the best rate makes the error rise first, to over three times what it is without any iteration:

    >>> import autograd.numpy as np
    >>> from vittles_ng.unrolling import GradientDescent, QuadraticUnrolling
    >>> scales = np.array([1.0, 10.0])
    >>> def ridge(z, x):
    ...     return 0.5 * np.sum(scales * (z - np.array([1.0, 20.0])) ** 2) + 0.5 * x[0] * np.sum(z**2)
    >>> quadratic = QuadraticUnrolling(ridge, np.zeros(2), np.array([0.01]))
    >>> rise = quadratic.initial_rise(GradientDescent.fastest(1.01, 10.01), 100)
    >>> rise.iteration, round(rise.height, 2), rise.recovered
    (5, 3.32, 18)
    >>> quadratic.initial_rise(GradientDescent.short(10.01), 100)
    InitialRise(iteration=0, height=1.0, recovered=0)
    """

    def __init__(self, objective, input_val0, hyper_val0, jacobian0=None, commutator_tol=1e-10):
        iteration = iteration_of(objective, input_val0, hyper_val0, GradientDescent(1.0), 0)
        z0, shape = iteration.z0, (iteration.n_input, iteration.n_hyper)
        jacobian0 = np.zeros(shape) if jacobian0 is None else checked_jacobian(jacobian0, shape, "jacobian0")
        start = iteration.second_derivatives(z0)
        check_dependence(start, None)
        hessian = start.hessian()
        hessian = 0.5 * (hessian + hessian.T)
        self.eigenvalues, self.eigenvectors = np.linalg.eigh(hessian)
        smallest, largest = self.eigenvalues[0], self.eigenvalues[-1]
        if not smallest > len(z0) * np.finfo(float).eps * max(largest, 0.0):
            raise NotPositiveDefiniteError(
                f"the Hessian's eigenvalues go from {smallest:.3g} to {largest:.3g}: there is no one minimum; add a "
                "penalty."
            )
        way = -self._of_eigenvalues(1.0 / self.eigenvalues, start.gradient[:, None])[:, 0]
        self.solution = z0 + way
        mixed, slopes = start.pushed(np.zeros(shape)), start.hessian_slopes()
        _check_quadratic(iteration, start.gradient, hessian, mixed, slopes, way)
        self.commutator_norm = _check_commuting(hessian, slopes, commutator_tol)
        at_solution = mixed + np.tensordot(slopes, way, (1, 0))
        self.solution_jacobian = -self._of_eigenvalues(1.0 / self.eigenvalues, at_solution)
        # both in the basis of the eigenvectors
        self._start_error = self.eigenvectors.T @ (jacobian0 - self.solution_jacobian)
        self._start_gradient = self.eigenvectors.T @ (hessian @ jacobian0 + mixed)

    def _of_eigenvalues(self, values, rows):
        return self.eigenvectors @ (values[:, None] * (self.eigenvectors.T @ rows))

    def jacobian_errors(self, method, n_iterations):
        """``J_t - J*``, with its sign, for t from 0 to T: ndarray (T + 1, n_input, n_hyper).

        Parameters
        ----------
        method : GradientDescent, HeavyBall or Chebyshev
        n_iterations : int
            T.
        """
        return self.eigenvectors @ self._errors(method, n_iterations)

    def jacobian_error_norms(self, method, n_iterations):
        """Frobenius norms of :meth:`jacobian_errors`, (T + 1,)."""
        return np.linalg.norm(self._errors(method, n_iterations), axis=(1, 2))

    def _errors(self, method, n_iterations):
        check_linear(method)
        method.check_spectrum(self.eigenvalues[-1])
        values, derivatives = residual_polynomials(method, self.eigenvalues, n_iterations)
        of_start = values - self.eigenvalues * derivatives
        return of_start[:, :, None] * self._start_error + derivatives[:, :, None] * self._start_gradient

    def bound(self, method, n_iterations, interval=None):
        """Worst-case bound on :meth:`jacobian_error_norms`, from an interval of eigenvalues alone: (T + 1,).

        Parameters
        ----------
        method : GradientDescent, HeavyBall or Chebyshev
        n_iterations : int
            T.
        interval : tuple of two floats, default=None
            Holds all eigenvalues; from the smallest to the largest one if None.

        Returns
        -------
        bound : ndarray of shape (T + 1,)
            ``max|P_t - lambda P_t'| |J_0 - J*| + max|P_t'| |G|``; see :func:`worst_case_factors`.

        Raises
        ------
        ValueError
            An eigenvalue lies outside of the interval.
        """
        smallest, largest = self.eigenvalues[[0, -1]]
        low, high = (smallest, largest) if interval is None else interval
        slack = 1e-12 * largest
        if not (low <= smallest + slack and largest - slack <= high):
            raise ValueError(
                f"the eigenvalues, from {smallest:.6g} to {largest:.6g}, are not all in the interval {low:.6g} to "
                f"{high:.6g}."
            )
        of_start, of_gradient = worst_case_factors(method, low, high, n_iterations)
        return of_start * np.linalg.norm(self._start_error) + of_gradient * np.linalg.norm(self._start_gradient)

    def initial_rise(self, method, n_iterations):
        """Where and how high the error of the Jacobian rises, among so many iterations.

        Known from the eigenvalues and the error's parts along their eigenvectors, without any iteration.

        Parameters
        ----------
        method : GradientDescent, HeavyBall or Chebyshev
        n_iterations : int

        Returns
        -------
        InitialRise
        """
        norms = self.jacobian_error_norms(method, n_iterations)
        peak = int(np.argmax(norms))
        over = np.flatnonzero(norms > norms[0] * (1.0 + 1e-12))
        recovered = 0 if not len(over) else int(over[-1]) + 1
        return InitialRise(
            iteration=peak,
            height=_ratio(norms[peak], norms[0]),
            recovered=recovered if recovered <= n_iterations else None,
        )

    def step_size_trade_off(self, step_sizes, n_iterations):
        """Rates and initial rises of gradient descent over step sizes.

        Parameters
        ----------
        step_sizes : array_like of shape (n_step_sizes,)
            All below ``2 / L``.
        n_iterations : int

        Returns
        -------
        StepSizeTradeOff

        Raises
        ------
        DivergenceError
            One of them is too large.
        """
        step_sizes = np.array(step_sizes, dtype=np.float64).ravel()
        norms = [self.jacobian_error_norms(GradientDescent(h), n_iterations) for h in step_sizes]
        peaks = np.array([int(np.argmax(n)) for n in norms], dtype=int)
        return StepSizeTradeOff(
            step_sizes=step_sizes,
            rates=np.max(np.abs(1.0 - np.outer(step_sizes, self.eigenvalues[[0, -1]])), axis=1),
            peaks=peaks,
            heights=np.array([_ratio(n[p], n[0]) for n, p in zip(norms, peaks, strict=True)]),
            final_errors=np.array([_ratio(n[-1], n[0]) for n in norms]),
        )


def _ratio(value, start):
    if start > 0.0:
        return float(value / start)
    return np.inf if value > 0.0 else 1.0


def _check_quadratic(iteration, gradient, hessian, mixed, slopes, to_minimum):
    """The gradient, and its derivative in the hyper, must be affine in the input."""
    z0, none = iteration.z0, np.zeros(mixed.shape)
    random = np.random.default_rng(0).standard_normal((2, len(z0)))
    for way in (random[0] * (1.0 + np.abs(z0)), to_minimum, random[1] * np.max(np.abs(to_minimum))):
        there = iteration.second_derivatives(z0 + way)
        for found, start, slope in ((there.gradient, gradient, hessian), (there.pushed(none), mixed, slopes)):
            change = np.tensordot(slope, way, (1, 0))
            scale = np.max(np.abs(start)) + np.max(np.tensordot(np.abs(slope), np.abs(z0) + np.abs(way), (1, 0)))
            gap = np.max(np.abs(found - start - change))
            if gap > _NOT_QUADRATIC * scale:
                raise NotQuadraticError(
                    f"the objective is not quadratic in the input: at another point its derivatives are off by "
                    f"{gap / scale:.1e} of their size; measure with unroll_forward instead."
                )


def _check_commuting(hessian, slopes, tol):
    """The largest relative commutator of the Hessian with its derivatives."""
    worst = 0.0
    size = np.linalg.norm(hessian)
    for slope in np.moveaxis(slopes, 2, 0):
        product = slope @ hessian
        norm = np.linalg.norm(slope)
        if norm > 0.0:
            worst = max(worst, float(np.linalg.norm(product - hessian @ slope) / (norm * size)))
    if not worst <= tol:
        raise NotCommutingError(
            f"the Hessian H does not commute with its derivative A in the hyper, |A H - H A| / (|A| |H|) = {worst:.1e}"
            f" > commutator_tol {tol:.1e}: the error of the Jacobian is no polynomial of H (it is for a ridge penalty, "
            "which adds to all eigenvalues alike); measure it with unroll_forward.",
            worst,
        )
    return worst
