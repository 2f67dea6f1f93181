"""What the baselines share: the checks of arguments, and the Taylor sum over directional derivatives.

input(hyper_val0 + d) ~ sum_{k=0..K} (1/k!) D^k input [d, ..., d]          (Taylor)
"""

import operator
from abc import ABC, abstractmethod
from math import factorial

import numpy as np

from vittles_ng.baselines.equation import EquationAtBasePoint, tracing
from vittles_ng.errors import NonFiniteError, NotASolutionError

DEFAULT_OPTIMUM_TOL = 1e-8


class BaselineExpansion(ABC):
    """Taylor expansion of the solution of an estimating equation; a subclass gives ``_directional_derivs``."""

    def _build(self, function, input_val0, hyper_val0, order, optimum_tol, is_objective, hess_solver=None):
        self._order = operator.index(order)
        if self._order < 1:
            raise ValueError(f"order is {order}: it must be at least 1.")
        with tracing():
            self._equation = EquationAtBasePoint(function, input_val0, hyper_val0, is_objective)
            self._solver = self._equation.solver(hess_solver)
            self._check_base_point(optimum_tol)

    def _check_base_point(self, optimum_tol):
        input_val0 = self._equation.input.flat0
        step = np.abs(self._solver.solve(self._equation.residual0))
        relative = step / (1 + np.abs(input_val0))
        worst = np.argmax(relative)
        if not relative[worst] <= optimum_tol:
            raise NotASolutionError(
                f"Newton step {step[worst]:.1e} of input {worst} ({input_val0[worst]:.3g}) > tol {optimum_tol:.1e} * "
                "(1 + |input|) at the base point: re-optimise, or pass a larger optimum_tol."
            )

    def _check_derivative(self, k, values):
        n_bad = np.sum(~np.isfinite(values))
        if n_bad:
            raise NonFiniteError(
                f"derivative {k} has {n_bad} of {values.size} values NaN or infinite: the estimating equation is not "
                "smooth at the base point; ask for a lower order, or another base point."
            )

    @abstractmethod
    def _directional_derivs(self, dhyper, max_order):
        """The derivatives 1 .. max_order along `dhyper`, each (n_input,)."""

    def get_max_order(self):
        """The largest order that can be asked for.

        Returns
        -------
        int
            The `order` given to the constructor.

        Examples
        --------
        >>> from vittles_ng.baselines import NestedJVPTaylorExpansion
        >>> NestedJVPTaylorExpansion(lambda theta, eps: theta**2 - eps, 1.0, 1.0, order=3).get_max_order()
        3
        """
        return self._order

    def evaluate_input_derivs(self, dhyper, max_order=None):
        """Directional derivatives of the solution: ``d^k input / dt^k`` along ``hyper_val0 + t * dhyper`` at t = 0.

        Parameters
        ----------
        dhyper : array_like of shape (n_hyper,)
            The direction, flat or with the structure of `hyper_val0`.
        max_order : int, default=None
            The largest k; None is the order of the expansion.

        Returns
        -------
        list of ndarray of shape (n_input,)
            For k = 1 .. max_order; k!-scaled, as derivatives are.

        Raises
        ------
        ShapeError, NonFiniteError
            If `dhyper` has another shape, or it or a derivative is not finite.
        ValueError
            If `max_order` is not in 1 .. order.
        MissingRuleError
            If a primitive of the user's function has no JVP in autograd and the method needs it.

        Examples
        --------
        The square root at 1:

        >>> from vittles_ng.baselines import NestedJVPTaylorExpansion
        >>> expansion = NestedJVPTaylorExpansion(lambda theta, eps: theta**2 - eps, 1.0, 1.0, order=3)
        >>> expansion.evaluate_input_derivs(1.0)
        [array([0.5]), array([-0.25]), array([0.375])]
        """
        max_order = self._check_max_order(max_order)
        dhyper = self._equation.hyper.flatten(dhyper, "dhyper")
        with tracing():
            derivs = [np.array(deriv) for deriv in self._directional_derivs(dhyper, max_order)]
        for k, deriv in enumerate(derivs, start=1):
            self._check_derivative(k, deriv)
        return derivs

    def evaluate_taylor_series_terms(self, new_hyper_val, add_offset=True, max_order=None):
        """The terms ``(1/k!) d^k input`` of the Taylor series at `new_hyper_val`, k = 0 .. max_order.

        Parameters
        ----------
        new_hyper_val : array_like of shape (n_hyper,) or (n_steps, n_hyper)
            Where to evaluate; one value may also have the structure of `hyper_val0`.
        add_offset : bool, default=True
            Whether term 0 is `input_val0`; zero if False.
        max_order : int, default=None
            The largest k; None is the order of the expansion.

        Returns
        -------
        ndarray of shape (max_order + 1, n_input) or (max_order + 1, n_steps, n_input)

        Raises
        ------
        ShapeError, NonFiniteError, ValueError, MissingRuleError
            As :meth:`evaluate_input_derivs`.

        Examples
        --------
        >>> from vittles_ng.baselines import NestedJVPTaylorExpansion
        >>> expansion = NestedJVPTaylorExpansion(lambda theta, eps: theta**2 - eps, 1.0, 1.0, order=3)
        >>> expansion.evaluate_taylor_series_terms(2.0).ravel()
        array([ 1.    ,  0.5   , -0.125 ,  0.0625])
        """
        max_order = self._check_max_order(max_order)
        new_hyper_vals, is_batch = self._equation.hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        steps = new_hyper_vals - self._equation.hyper.flat0
        terms = np.empty((max_order + 1, len(steps), self._equation.input.size))
        terms[0] = self._equation.input.flat0 if add_offset else 0.0
        for i, step in enumerate(steps):
            for k, deriv in enumerate(self.evaluate_input_derivs(step, max_order), start=1):
                terms[k, i] = deriv / factorial(k)
        return terms if is_batch else terms[:, 0]

    def evaluate_taylor_series(self, new_hyper_val, add_offset=True, max_order=None, sum_terms=True):
        """The Taylor series of the solution at `new_hyper_val`.

        Parameters
        ----------
        new_hyper_val, add_offset, max_order
            As in :meth:`evaluate_taylor_series_terms`.
        sum_terms : bool, default=True
            Whether to return the sum of the terms, or the terms.

        Returns
        -------
        ndarray of shape (n_input,) or (n_steps, n_input)
            Or, if not `sum_terms`, what :meth:`evaluate_taylor_series_terms` returns.

        Raises
        ------
        ShapeError, NonFiniteError, ValueError, MissingRuleError
            As :meth:`evaluate_input_derivs`.

        Examples
        --------
        >>> from vittles_ng.baselines import NestedJVPTaylorExpansion
        >>> expansion = NestedJVPTaylorExpansion(lambda theta, eps: theta**2 - eps, 1.0, 1.0, order=3)
        >>> expansion.evaluate_taylor_series([[1.2], [0.8]]).round(6)
        array([[1.0955],
               [0.8945]])
        """
        terms = self.evaluate_taylor_series_terms(new_hyper_val, add_offset, max_order)
        return terms.sum(axis=0) if sum_terms else terms

    def _check_max_order(self, max_order, name="max_order"):
        max_order = self._order if max_order is None else operator.index(max_order)
        if not 1 <= max_order <= self._order:
            raise ValueError(f"{name} is {max_order}: it must be in 1..{self._order}, the order of the expansion.")
        return max_order
