"""What the baselines share: the checks of arguments, and the Taylor sum over directional derivatives.

input(hyper_val0 + d) ~ sum_{k=0..K} (1/k!) D^k input [d, ..., d]          (Taylor)
"""

import operator
from abc import ABC, abstractmethod
from math import factorial

import numpy as np
from autograd.extend import vspace

from vittles_ng.baselines.equation import EquationAtBasePoint, as_float_leaves, flatten, lu_solver, tracing
from vittles_ng.errors import NonFiniteError, NotASolutionError, ShapeError

DEFAULT_OPTIMUM_TOL = 1e-8


class BaselineExpansion(ABC):
    """Taylor expansion of the solution of an estimating equation; a subclass gives ``_directional_derivs``."""

    def __init__(self, estimating_equation, input_val0, hyper_val0, order, optimum_tol, hess_solver=None):
        self._order = operator.index(order)
        if self._order < 1:
            raise ValueError(f"order is {order}: it must be at least 1.")
        self._equation = EquationAtBasePoint(estimating_equation, input_val0, hyper_val0)
        if hess_solver is None:
            hess_solver = lu_solver(self._equation.jacobian_at_base_point(), self._equation.input_val0.size)
        self._hess_solver = hess_solver
        self._check_base_point(optimum_tol)

    def _check_base_point(self, optimum_tol):
        input_val0 = self._equation.input_val0
        step = np.abs(self._checked_solve(self._equation.residual))
        relative = step / (1 + np.abs(input_val0))
        worst = np.argmax(relative)
        if not relative[worst] <= optimum_tol:
            raise NotASolutionError(
                f"Newton step {step[worst]:.1e} of input {worst} ({input_val0[worst]:.3g}) > tol {optimum_tol:.1e} * "
                "(1 + |input|) at the base point: re-optimise, or pass a larger optimum_tol."
            )

    def _checked_solve(self, rhs):
        solution = np.asarray(self._hess_solver(rhs), dtype=float)
        if solution.shape != rhs.shape:
            raise ShapeError(f"hess_solver returns shape {solution.shape} for a right-hand side of shape {rhs.shape}.")
        if not np.all(np.isfinite(solution)):
            raise NonFiniteError("the solve with the Jacobian of the estimating equation gives NaN or infinity.")
        return solution

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
        dhyper = self._flatten_hyper("dhyper", dhyper)
        if dhyper.ndim != 1:
            raise ShapeError(f"dhyper has shape {dhyper.shape}: pass one direction, {self._equation.hyper_val0.shape}.")
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
        new_hyper_val = self._flatten_hyper("new_hyper_val", new_hyper_val)
        steps = np.atleast_2d(new_hyper_val - self._equation.hyper_val0)
        terms = np.empty((max_order + 1, len(steps), self._equation.input_val0.size))
        terms[0] = self._equation.input_val0 if add_offset else 0.0
        for i, step in enumerate(steps):
            for k, deriv in enumerate(self.evaluate_input_derivs(step, max_order), start=1):
                terms[k, i] = deriv / factorial(k)
        return terms if new_hyper_val.ndim == 2 else terms[:, 0]

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

    def _flatten_hyper(self, name, value):
        """`value` as (n_hyper,) or (n_steps, n_hyper); a single one may have the structure of `hyper_val0`."""
        n_hyper, leaves = self._equation.hyper_val0.size, as_float_leaves(name, value)
        is_batch = isinstance(leaves, np.ndarray) and leaves.ndim == 2 and leaves.shape[1] == n_hyper
        if not is_batch and vspace(leaves) == self._equation.hyper_space:
            leaves = flatten(leaves)
        try:
            flat = np.atleast_1d(np.array(leaves, dtype=float))
        except (TypeError, ValueError):  # a dict, or a ragged list
            flat = np.empty(0)
        if flat.ndim > 2 or flat.shape[-1] != n_hyper:
            raise ShapeError(
                f"{name} has {f'shape {flat.shape}' if flat.size else 'another structure than hyper_val0'}: "
                f"pass ({n_hyper},), (n_steps, {n_hyper}), or one value built like hyper_val0."
            )
        return flat
