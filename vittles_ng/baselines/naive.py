"""The solution as an autograd primitive, differentiated again and again.

With ``H = dG/d input`` and ``theta(eps)`` the solution of ``G(theta(eps), eps) == 0``, by the implicit function theorem

    JVP:  dtheta = -H^{-1} (dG/deps) deps
    VJP:  ubar -> -(dG/deps)^T H^{-T} ubar

at ``(theta(eps), eps)``, where ``theta(eps)`` is the same primitive. So the rules can themselves be differentiated, and
``t -> theta(eps0 + t d)`` can be, K times, although it is never evaluated but at t = 0, where its value is known.

Source: Christianson, "Reverse accumulation and attractive fixed points", Optim. Methods Softw. 3 (1994) 311;
Griewank & Walther, "Evaluating Derivatives", 2nd ed. (2008), ch. 15. A forward derivative from two reverse ones:
Townsend, "A new trick for calculating Jacobian vector products" (2017).
"""

import autograd
import autograd.numpy as anp
import numpy as np
from autograd.differential_operators import make_jvp_reversemode
from autograd.extend import defjvp, defvjp, primitive

from vittles_ng.baselines.base import DEFAULT_OPTIMUM_TOL, BaselineExpansion

# autograd's own `solve` has no JVP, so the forward mode needs this one. x = A^{-1} b:
#   JVP:  dx = A^{-1} (db - dA x)        VJP:  bbar = A^{-T} xbar,  Abar = -bbar x^T
_solve = primitive(np.linalg.solve)
defjvp(
    _solve,
    lambda g, ans, matrix, rhs: -_solve(matrix, anp.dot(g, ans)),
    lambda g, ans, matrix, rhs: _solve(matrix, g),
)
defvjp(
    _solve,
    lambda ans, matrix, rhs: lambda g: -anp.outer(_solve(anp.transpose(matrix), g), ans),
    lambda ans, matrix, rhs: lambda g: _solve(anp.transpose(matrix), g),
)


@primitive
def _solution(hyper_val, equation):
    """theta(eps); it is only ever evaluated at the base point."""
    return equation.input.flat0


def _solution_jvp(dhyper, input_val, hyper_val, equation):
    equation_jvp = autograd.make_jvp(equation, 1)(input_val, hyper_val)
    return -_solve(equation.jacobian(input_val, hyper_val), equation_jvp(dhyper)[1])


def _solution_vjp(input_val, hyper_val, equation):
    def vjp(input_bar):
        equation_vjp, _ = autograd.make_vjp(equation, 1)(input_val, hyper_val)
        return -equation_vjp(_solve(anp.transpose(equation.jacobian(input_val, hyper_val)), input_bar))

    return vjp


defjvp(_solution, _solution_jvp)
defvjp(_solution, _solution_vjp)


def _forward_derivative(path):
    return lambda t: autograd.make_jvp(path)(t)(1.0)[1]


def _reverse_derivative(path):
    return lambda t: make_jvp_reversemode(path)(t)(1.0)


class NaiveTaylorExpansion(BaselineExpansion):
    """Taylor expansion of a solution in its hyperparameters, by differentiating it as an autograd primitive.

    Requires ``estimating_equation(input_val0, hyper_val0) == 0``.

    This is what one writes first, kept as an oracle and a rival of the engine: nothing is kept between levels, each
    forms ``dG/d input`` anew and solves with it anew, so time and memory grow exponentially with the order.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input, hyper) -> (n_input,)`` in ``autograd.numpy``.
    input_val0, hyper_val0 : array_like, or dict, list or tuple of them
        The base point; flattened, they have n_input and n_hyper values. Never changed; integers become floats.
    order : int
        The largest order that can be asked for, at least 1.
    forward : bool, default=True
        Differentiate by nested JVPs, which autograd has for about half of its primitives; otherwise by nested VJPs,
        two for each derivative.
    optimum_tol : float, default=1e-8
        The base point is a solution if each component of the Newton step is at most
        ``optimum_tol * (1 + |input_val0|)``.

    Raises
    ------
    NotASolutionError
        If the base point does not solve the estimating equation.
    SingularError
        If ``dG/d input`` is singular at the base point.
    ShapeError, NonFiniteError
        If a value at the base point has the wrong shape, or is NaN or infinite.
    ValueError
        If `order` is below 1.

    Notes
    -----
    Where the equation does not depend on the hyperparameters, all derivatives are zero. autograd's tracing is not
    thread-safe, and this class traces at every evaluation: threads take turns.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.baselines import NaiveTaylorExpansion
    >>> expansion = NaiveTaylorExpansion(lambda theta, lam: (1 + lam) * theta - 2, np.array([2.0]), np.array([0.0]), 3)
    >>> expansion.evaluate_taylor_series(np.array([0.1]), sum_terms=False).ravel().round(6)
    array([ 2.   , -0.2  ,  0.02 , -0.002])
    """

    def __init__(
        self, estimating_equation, input_val0, hyper_val0, order, forward=True, optimum_tol=DEFAULT_OPTIMUM_TOL
    ):
        self._build(estimating_equation, input_val0, hyper_val0, order, optimum_tol, is_objective=False)
        self._derivative = _forward_derivative if forward else _reverse_derivative

    @classmethod
    def optimization_objective(
        cls, objective_function, input_val0, hyper_val0, order, forward=True, optimum_tol=DEFAULT_OPTIMUM_TOL
    ):
        """Expand the minimum of an objective.

        Parameters
        ----------
        objective_function : callable
            ``objective_function(input, hyper) -> scalar`` in ``autograd.numpy``; `input_val0` is its minimum at
            `hyper_val0`.
        input_val0, hyper_val0, order, forward, optimum_tol
            As for the class.

        Returns
        -------
        NaiveTaylorExpansion

        Raises
        ------
        NotPositiveDefiniteError
            If the Hessian is not that of a minimum.
        ShapeError, NonFiniteError, NotASolutionError, ValueError
            As for the class; also if the objective is not scalar.

        Examples
        --------
        >>> import numpy as np
        >>> from vittles_ng.baselines import NaiveTaylorExpansion
        >>> expansion = NaiveTaylorExpansion.optimization_objective(
        ...     lambda theta, lam: np.sum((theta - 2) ** 2 + lam * theta**2), np.array([2.0]), np.array([0.0]), 2
        ... )
        >>> expansion.evaluate_taylor_series(np.array([0.1]))
        array([1.82])
        """
        self = cls.__new__(cls)
        self._build(objective_function, input_val0, hyper_val0, order, optimum_tol, is_objective=True)
        self._derivative = _forward_derivative if forward else _reverse_derivative
        return self

    def _directional_derivs(self, dhyper, max_order):
        def path(t):
            return _solution(self._equation.hyper.flat0 + t * dhyper, self._equation)

        derivs = []
        for _ in range(max_order):
            path = self._derivative(path)
            derivs.append(path(0.0))
        return derivs
