"""The chain rule written out, each of its terms by nested Jacobian-vector products.

Differentiating ``G(theta(t), eps0 + t d) == 0`` k times gives, after like terms are joined (Faa di Bruno),

    0 = sum over (n, m_1, ..., m_k) with n + sum_i i m_i = k of
        k! / (n! prod_i m_i! (i!)^{m_i})  D_theta^{m_1 + ... + m_k} D_eps^n G [theta_1^{m_1}, ..., theta_k^{m_k}, d^n]

with ``theta_i`` the i-th derivative of the path. Only one term holds theta_k: ``H theta_k``, so ``theta_k`` is -H^{-1}
times the sum of the others. The terms of order k + 1 come from those of order k by differentiating each and joining
like ones; the factors stay integers. Their number grows as the partitions of k, and the cost of one as
2^(number of its derivatives).

Source: Giordano, Jordan, Broderick, "A Higher-Order Swiss Army Infinitesimal Jackknife", arXiv 1907.12116; the method
is that of vittles 0.173.
"""

import operator
from collections import Counter
from typing import NamedTuple

import autograd
import numpy as np

from vittles_ng.baselines.base import DEFAULT_OPTIMUM_TOL, BaselineExpansion


class DerivativeTerm(NamedTuple):
    """``multiplicity * D_theta^{sum(m)} D_eps^n G [theta_1^{m_1}, ..., theta_k^{m_k}, d^n]``."""

    input_orders: tuple  # (m_1, ..., m_k)
    hyper_order: int  # n
    multiplicity: int

    @property
    def total_input_order(self):
        return sum(self.input_orders)

    def __str__(self):
        # vittles' line, to the letter.
        return (
            f"Order: {len(self.input_orders)}\t{float(self.multiplicity)} * "
            f"eta{list(self.input_orders)} * eps[{self.hyper_order}]"
        )

    def differentiate(self):
        """Yield the terms of the total derivative in t, which are of order k + 1."""
        orders = (*self.input_orders, 0)
        yield DerivativeTerm(orders, self.hyper_order + 1, self.multiplicity)
        yield DerivativeTerm((orders[0] + 1, *orders[1:]), self.hyper_order, self.multiplicity)
        for i, count in enumerate(self.input_orders):
            if count:
                raised = (*orders[:i], count - 1, orders[i + 1] + 1, *orders[i + 2 :])
                yield DerivativeTerm(raised, self.hyper_order, self.multiplicity * count)


def chain_rule_terms(order):
    """The joined terms of each order: a list of lists of DerivativeTerm, entry k - 1 for order k."""
    terms = [[DerivativeTerm((0,), 1, 1), DerivativeTerm((1,), 0, 1)]]
    for _ in range(1, order):
        multiplicities = Counter()
        for term in terms[-1]:
            for *key, multiplicity in term.differentiate():
                multiplicities[tuple(key)] += multiplicity
        terms.append([DerivativeTerm(*key, multiplicity) for key, multiplicity in multiplicities.items()])
    return terms


def _append_jvp(fun, argnum):
    """``fun(theta, eps, *vectors)`` differentiated once more, in argument `argnum`, along one more, last, vector."""
    make_jvp = autograd.make_jvp(fun, argnum)

    def directional_derivative(input_val, hyper_val, *vectors):
        return make_jvp(input_val, hyper_val, *vectors[:-1])(vectors[-1])[1]

    return directional_derivative


def _check_limits(**limits):
    for name, limit in limits.items():
        if limit is not None and operator.index(limit) < 1:
            raise ValueError(f"{name} is {limit}: it must be at least 1, or None.")


class NestedJVPTaylorExpansion(BaselineExpansion):
    """Taylor expansion of a solution in its hyperparameters, by the chain rule's terms and nested JVPs.

    Requires ``estimating_equation(input_val0, hyper_val0) == 0``.

    An oracle and a rival of the engine, and the place for `max_input_order`, `max_hyper_order` and
    :meth:`print_terms`. Exponential in the order; every primitive of the user's function must have a JVP in autograd.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input, hyper) -> (n_input,)`` in ``autograd.numpy``.
    input_val0, hyper_val0 : array_like, or dict, list or tuple of them
        The base point; flattened, they have n_input and n_hyper values. Never changed; integers become floats.
    order : int
        The largest order that can be asked for, at least 1.
    hess_solver : callable, solver or matrix, default=None
        ``v -> H^{-1} v`` with ``H = dG/d input`` at the base point and v of shape (n_input,), an object with
        ``solve(rhs)``, or H itself; checked with one random vector. None: H is formed by autograd. Factored once.
    max_input_order, max_hyper_order : int, default=None
        Partial derivatives of the estimating equation of a higher order than this in the input, or in the
        hyperparameter, are taken to be zero without being computed. None: all are computed.
    optimum_tol : float, default=1e-8
        The base point is a solution if each component of the Newton step is at most
        ``optimum_tol * (1 + |input_val0|)``.

    Raises
    ------
    NotASolutionError
        If the base point does not solve the estimating equation.
    SingularError
        If ``dG/d input`` is singular at the base point.
    SolveFailed
        If `hess_solver` does not solve with ``dG/d input``.
    ShapeError, NonFiniteError
        If a value at the base point has the wrong shape, or is NaN or infinite.
    ValueError
        If `order`, `max_input_order` or `max_hyper_order` is below 1.

    Notes
    -----
    Where the equation does not depend on the hyperparameters, all derivatives are zero. autograd's tracing is not
    thread-safe, and this class traces at every evaluation: threads take turns.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.baselines import NestedJVPTaylorExpansion
    >>> expansion = NestedJVPTaylorExpansion(lambda theta, eps: theta**2 - eps, np.array([1.0]), np.array([1.0]), 2)
    >>> expansion.evaluate_taylor_series(np.array([1.1]))
    array([1.04875])
    """

    def __init__(
        self,
        estimating_equation,
        input_val0,
        hyper_val0,
        order,
        hess_solver=None,
        max_input_order=None,
        max_hyper_order=None,
        optimum_tol=DEFAULT_OPTIMUM_TOL,
    ):
        _check_limits(max_input_order=max_input_order, max_hyper_order=max_hyper_order)
        self._build(estimating_equation, input_val0, hyper_val0, order, optimum_tol, False, hess_solver)
        self._choose_terms(max_input_order, max_hyper_order)

    @classmethod
    def optimization_objective(
        cls,
        objective_function,
        input_val0,
        hyper_val0,
        order,
        hess0=None,
        max_input_order=None,
        max_hyper_order=None,
        optimum_tol=DEFAULT_OPTIMUM_TOL,
    ):
        """Expand the minimum of an objective.

        Parameters
        ----------
        objective_function : callable
            ``objective_function(input, hyper) -> scalar`` in ``autograd.numpy``; `input_val0` is its minimum at
            `hyper_val0`.
        hess0 : array_like of shape (n_input, n_input), default=None
            The Hessian at the base point, checked with one random vector; None: formed by autograd. Factored once.
        input_val0, hyper_val0, order, max_input_order, max_hyper_order, optimum_tol
            As for the class.

        Returns
        -------
        NestedJVPTaylorExpansion

        Raises
        ------
        NotPositiveDefiniteError, NotSymmetricError
            If the Hessian is not that of a minimum.
        SolveFailed
            If `hess0` is not the Hessian.
        ShapeError, NonFiniteError, NotASolutionError, ValueError
            As for the class; also if the objective is not scalar.

        Examples
        --------
        >>> import numpy as np
        >>> from vittles_ng.baselines import NestedJVPTaylorExpansion
        >>> expansion = NestedJVPTaylorExpansion.optimization_objective(
        ...     lambda theta, lam: np.sum((theta - 2) ** 2 + lam * theta**2), np.array([2.0]), np.array([0.0]), 2
        ... )
        >>> expansion.evaluate_taylor_series(np.array([0.1]))
        array([1.82])
        """
        _check_limits(max_input_order=max_input_order, max_hyper_order=max_hyper_order)
        self = cls.__new__(cls)
        self._build(objective_function, input_val0, hyper_val0, order, optimum_tol, True, hess0)
        self._choose_terms(max_input_order, max_hyper_order)
        return self

    def print_terms(self, k=None):
        """Print the terms that are summed, of order `k`, or of all orders if None.

        A line gives the multiplicity, the number of factors ``theta_1, theta_2, ...`` (eta), and of steps (eps).

        Parameters
        ----------
        k : int, default=None

        Raises
        ------
        ValueError
            If `k` is not in 1 .. order.

        Examples
        --------
        >>> from vittles_ng.baselines import NestedJVPTaylorExpansion
        >>> expansion = NestedJVPTaylorExpansion(lambda theta, eps: theta**2 - eps, 1.0, 1.0, order=2)
        >>> expansion.print_terms(2)  # doctest: +NORMALIZE_WHITESPACE
        <BLANKLINE>
        Terms for order 2:
        Order: 2    1.0 * eta[0, 0] * eps[2]
        Order: 2    2.0 * eta[1, 0] * eps[1]
        Order: 2    1.0 * eta[2, 0] * eps[0]
        Order: 2    1.0 * eta[0, 1] * eps[0]
        """
        orders = range(1, self._order + 1) if k is None else [self._check_max_order(k, "k")]
        for order in orders:
            print(f"\nTerms for order {order}:")
            for term in self._terms[order - 1]:
                print(term)

    def _choose_terms(self, max_input_order, max_hyper_order):
        self._terms = [
            [
                term
                for term in terms
                if (max_input_order is None or term.total_input_order <= max_input_order)
                and (max_hyper_order is None or term.hyper_order <= max_hyper_order)
            ]
            for terms in chain_rule_terms(self._order)
        ]
        self._partials = self._build_partials()

    def _build_partials(self):
        """The functions ``D_theta^m D_eps^n G`` that the terms need, by (m, n)."""
        needed = {(term.total_input_order, term.hyper_order) for terms in self._terms for term in terms}
        partials = {(0, 0): self._equation}
        for m, n in sorted(needed):
            if m and not n:
                partials[m, n] = _append_jvp(partials[m - 1, n], 0)
            else:
                partials[m, n] = _append_jvp(partials[m, n - 1], 1)
        return partials

    def _directional_derivs(self, dhyper, max_order):
        derivs = []
        for k, terms in enumerate(self._terms[:max_order], start=1):
            others = np.zeros(self._equation.input.size)
            for term in terms:
                if not term.input_orders[-1]:
                    others += term.multiplicity * self._evaluate(term, derivs, dhyper)
            self._check_derivative(k, others)
            derivs.append(-self._solver.solve(others))
        return derivs

    def _evaluate(self, term, derivs, dhyper):
        vectors = [deriv for deriv, count in zip(derivs, term.input_orders, strict=False) for _ in range(count)]
        vectors += [dhyper] * term.hyper_order
        partial = self._partials[term.total_input_order, term.hyper_order]
        return partial(self._equation.input.flat0, self._equation.hyper.flat0, *vectors)
