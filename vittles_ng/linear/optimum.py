"""What an optimisation that stopped early does to a sensitivity.

At a point where ``G = G(input_base, hyper_base)`` is small but not zero, ``G(input, hyper) + lam = 0`` holds with
``lam = -G``; at ``lam = 0`` it is the equation that should have been solved. To first order in ``lam`` the solution
moves by the Newton step ``-H^{-1} G``, and its derivative in the hyper by the mixed derivative

    d^2 input / dhyper dlam [dhyper, G] = -H^{-1} (G_ii[di, step] + G_ih[step, dhyper]),    di = -H^{-1} G_h dhyper.
"""

import autograd.numpy as anp
import numpy as np

from ..errors import ShapeError
from ..problem import Structure, flatten_traced
from .checks import SharedParts
from .cross import CrossSensitivity

__all__ = ["OptimumChecker"]


class _Tilted(CrossSensitivity):
    """The cross sensitivity of an equation with a tilt, in the words of its caller."""

    _names = ("input_base", "hyper_base", "lam")


class OptimumChecker(SharedParts):
    """Error of a sensitivity that was taken where the estimating equation is only nearly solved.

    Requires ``dG/dinput`` to be regular at the base point, and the Newton step there to be small.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input, hyper) -> (n_input,)``, written in ``autograd.numpy``; of an objective ``autograd.grad`` of it.
    solver : callable, solver or matrix, or None
        ``v -> H^{-1} v`` with ``H = dG/dinput`` at the base point, or ``H`` itself; checked with one random vector.
        None: formed from the tape and factored.
    input_base : array_like of shape (n_input,), or nested
        Near the solution at ``hyper_base``.
    hyper_base : array_like of shape (n_hyper,), or nested

    Raises
    ------
    SolveFailed, SingularError, NonFiniteError, ShapeError, MissingRuleError
        As for :class:`CrossSensitivity`.

    References
    ----------
    R. Giordano, T. Broderick, M. I. Jordan, "Covariances, Robustness, and Variational Bayes", arXiv 1709.02536, for
    sensitivity to a linear perturbation.

    Examples
    --------
    ``x^2 = eps`` at eps = 4, solved to 2.1 only. The derivative 1 / (2 x) is 0.2381 there, 0.25 at the solution:

    >>> import numpy as np
    >>> from vittles_ng.linear import OptimumChecker
    >>> checker = OptimumChecker(lambda x, eps: x**2 - eps, None, np.array([2.1]), np.array([4.0]))
    >>> derivative, correction = checker.get_dinput_dhyper(np.ones(1)), checker.correction(np.array([5.0]))
    >>> derivative.round(4), (derivative + correction).round(4)
    (array([0.2381]), array([0.2492]))
    """

    def __init__(self, estimating_equation, solver, input_base, hyper_base):
        def tilted(x, hyper, lam):
            value = flatten_traced(estimating_equation(x, hyper))
            if anp.shape(value) != anp.shape(lam):
                raise ShapeError(
                    f"the estimating equation returned {anp.size(value)} values for {anp.size(lam)} inputs: of an "
                    "objective pass autograd.grad of it."
                )
            return value + lam

        # G + lam is linear in lam: the two other terms are zero, and the derivatives are the same at any lam
        self._cross = _Tilted(
            tilted,
            solver,
            input_base,
            hyper_base,
            np.zeros(Structure(input_base, "input_base").size),
            term_i2=False,
            term_12=False,
            solution_tol=np.inf,
        )
        self._input, self._hyper, _ = self._cross.arguments
        self._residual0 = self._cross.residual0

    def __repr__(self):
        return f"<optimum checker of {self._input.size} inputs in {self._hyper.size} hypers>"

    def get_newton_step(self):
        """The Newton step ``-H^{-1} G`` from the base point, (n_input,): how far it is from the solution."""
        return self._cross.get_di2(self._residual0)

    def get_dinput_dhyper(self, dhyper):
        """Derivative of the input along ``dhyper``, taken at the base point, (n_input,)."""
        return self._cross.get_di1(dhyper)

    def correction(self, hyper_new, dinput_dhyper=None, newton_step=None):
        """What a Newton step changes in the derivative along ``hyper_new - hyper_base``, to first order.

        Parameters
        ----------
        hyper_new : array_like of shape (n_hyper,), or nested as ``hyper_base``
        dinput_dhyper, newton_step : array_like of shape (n_input,), or nested as ``input_base``, default=None
            Where they are known; used as they are.

        Returns
        -------
        ndarray of shape (n_input,)
            Large beside ``get_dinput_dhyper``: optimise further.
        """
        return self._cross.evaluate(self._dhyper(hyper_new), self._residual0, di1=dinput_dhyper, di2=newton_step)

    def evaluate(self, hyper_new, dinput_dhyper=None, newton_step=None):
        """The linear approximation at a new hyper with the corrected derivative; parameters of :meth:`correction`.

        Returns
        -------
        ndarray of shape (n_input,)
            ``input_base + dinput + correction``, as in vittles. The solution itself is at about this plus
            :meth:`get_newton_step`.
        """
        dhyper = self._dhyper(hyper_new)
        if dinput_dhyper is None:
            dinput = self.get_dinput_dhyper(dhyper)
        else:
            dinput = self._input.flatten(dinput_dhyper, "dinput_dhyper")
        return self._input.flat0 + dinput + self._cross.evaluate(dhyper, self._residual0, di1=dinput, di2=newton_step)

    def _dhyper(self, hyper_new):
        return self._hyper.flatten(hyper_new, "hyper_new") - self._hyper.flat0
