"""Linear response covariances of a variational approximation.

Let ``eta`` minimise an objective f, the distance of ``q(theta | eta)`` from a distribution p, and ``m(eta) = E_q[g]``.
Tilting p by ``exp(t . g)`` subtracts ``t . m(eta)`` from f; the mean of g under the tilted p has the derivative
``Cov_p(g)`` in t at zero, and its approximation by q has

    dm/dt = m_eta H^{-1} m_eta^T,    H = d^2 f / d eta^2,

the linear response covariance: exact where q's means are (Giordano, Broderick, Jordan, "Covariances, Robustness, and
Variational Bayes", arXiv 1709.02536).
"""

import autograd.numpy as anp
import numpy as np

from ..adjoint import pulled_back
from ..base_point import BasePoint
from ..errors import IndependentError, NonFiniteError, ShapeError
from ..problem import Structure, flatten_traced
from ..recursion import checked_positive
from ..taylor.recorded import Recorded
from .checks import SharedParts, check_newton_step, dense_array
from .location import solved_minimum

__all__ = ["LinearResponseCovariances"]


class LinearResponseCovariances(SharedParts):
    """Covariances of moments from the response of a variational optimum.

    Requires ``opt_par_value`` to minimise ``objective_fun``: the Hessian there must be positive definite.

    Parameters
    ----------
    objective_fun : callable
        ``objective(opt_par) -> scalar``, written in ``autograd.numpy``: a divergence, up to constants.
    opt_par_value : array_like of shape (n_input,), or nested
        The optimal parameters of the variational distribution.
    validate_optimum : bool, default=False
        Whether to check that the gradient is zero there.
    hessian_at_opt : array_like or sparse of shape (n_input, n_input), default=None
        The Hessian there; checked with one random vector. Default: formed from the tape.
    factorize_hessian : bool, default=True
        Whether to factor the Hessian. If not, conjugate gradients with products from the tape (or with
        ``hessian_at_opt``) solve, and the Hessian is formed for :meth:`get_hessian_at_opt` only.
    grad_tol : float, default=1e-8
        Largest Newton step ``|step_i| / (1 + |opt_par_i|)`` that passes for an optimum, and largest Newton decrement
        ``sqrt(g^T H^{-1} g / (1 + |objective|))``, g the gradient, which is in no units of the parameters.

    Raises
    ------
    NotPositiveDefiniteError
        The Hessian is not positive definite.
    NotASolutionError
        ``validate_optimum`` and the base point is no optimum.
    SolveFailed, NonFiniteError, ShapeError, MissingRuleError
        As for an expansion.

    References
    ----------
    R. Giordano, T. Broderick, M. I. Jordan, "Covariances, Robustness, and Variational Bayes", J. Mach. Learn. Res. 19
    (2018), arXiv 1709.02536.

    Examples
    --------
    A factorising normal approximation of a bivariate normal: its own variances are too small (3/4), the linear response
    covariance is exact.

    >>> import numpy as np, autograd.numpy as anp
    >>> from vittles_ng.linear import LinearResponseCovariances
    >>> precision = np.linalg.inv(np.array([[1.0, 0.5], [0.5, 1.0]]))
    >>> def kl(eta):
    ...     mean, log_var = eta[:2], eta[2:]
    ...     quadratic = anp.dot(mean, anp.dot(precision, mean)) + anp.dot(np.diag(precision), anp.exp(log_var))
    ...     return 0.5 * quadratic - 0.5 * anp.sum(log_var)
    >>> optimum = np.append(np.zeros(2), -np.log(np.diag(precision)))
    >>> covariances = LinearResponseCovariances(kl, optimum, validate_optimum=True)
    >>> covariances.get_lr_covariance(lambda eta: eta[:2]).round(12)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """

    def __init__(
        self,
        objective_fun,
        opt_par_value,
        validate_optimum=False,
        hessian_at_opt=None,
        factorize_hessian=True,
        grad_tol=1e-8,
    ):
        self._function, self._tol = objective_fun, grad_tol
        self.set_base_values(opt_par_value, hessian_at_opt, factorize_hessian, validate_optimum)

    def set_base_values(self, opt_par_value, hessian_at_opt=None, factorize_hessian=True, validate=True, grad_tol=None):
        """Move to another base point: a new tape and a new factor. Where that fails, the old one stays.

        The parameters, and the errors, are the constructor's; ``grad_tol`` None is the constructor's value.
        """
        tol = checked_positive(self._tol if grad_tol is None else grad_tol, "grad_tol", may_be_infinite=True)
        structure = Structure(opt_par_value, "opt_par_value")

        def tilted(flat, shift):
            return self._function(structure.unflatten(flat)) + anp.dot(flat, shift)

        # the tilt makes an objective of one argument one of two; at zero it changes neither gradient nor Hessian
        base = structure.flat0, np.zeros(structure.size)
        try:
            problem = BasePoint(tilted, *base, True, "auto" if factorize_hessian else "cg")
        except IndependentError as error:
            raise IndependentError(
                "the gradient of objective_fun does not depend on opt_par_value (the objective is constant or linear): "
                "it has no minimum; check that it uses its argument, and autograd.numpy."
            ) from error
        if hessian_at_opt is None and not factorize_hessian:
            solver, hessian = problem.factored(), None
        else:
            solver, hessian = solved_minimum(problem, hessian_at_opt)
        if validate:
            check_newton_step(problem.residual0, structure.flat0, solver, tol, "grad_tol", problem.objective0)
        self._structure, self._problem, self._solver, self._hessian = structure, problem, solver, hessian

    def __repr__(self):
        return f"<linear response covariances of {self._structure.size} parameters, {self._solver.description}>"

    @property
    def hess_solver(self):
        """The function ``v -> H^{-1} v`` at the base point."""
        return self._solver.solve

    def get_hessian_at_opt(self):
        """The objective's Hessian at the base point, ndarray or sparse (n_input, n_input): a copy."""
        if self._hessian is None:
            return self._problem.matrix()
        return self._hessian.copy()

    def get_moment_jacobian(self, calculate_moments):
        """Jacobian of moments at the base point.

        Parameters
        ----------
        calculate_moments : callable
            ``moments(opt_par)``, a number or an array, written in ``autograd.numpy``.

        Returns
        -------
        ndarray of shape (n_moments, n_input)
            Moments flattened in C order.

        Raises
        ------
        IndependentError
            The moments do not depend on the parameters.
        NonFiniteError
            The Jacobian is NaN or infinite.
        TypeError
            The moments are complex.
        """

        def moments(flat):
            return flatten_traced(calculate_moments(self._structure.unflatten(flat)))

        base = (self._structure.flat0,)
        recorded = Recorded(moments, base)
        if not recorded.depends_on(0):
            raise IndependentError(
                "the moments do not depend on the parameters: check that calculate_moments uses its argument and "
                "autograd.numpy."
            )
        if np.iscomplexobj(recorded.values[0]):
            raise TypeError("the moments are complex: stack real and imaginary parts.")
        jacobian = pulled_back(moments, recorded, base, 0, np.eye(recorded.values[0].size))
        if not np.all(np.isfinite(jacobian)):
            raise NonFiniteError(
                f"{np.sum(~np.isfinite(jacobian))} of {jacobian.size} derivatives of the moments are NaN or infinite: "
                "they have no derivative at the optimum."
            )
        return np.ascontiguousarray(jacobian)

    def get_lr_covariance_from_jacobians(self, moment_jacobian1, moment_jacobian2):
        """Linear response covariance between two vectors of moments.

        Parameters
        ----------
        moment_jacobian1, moment_jacobian2 : array_like of shape (n_moments1, n_input), (n_moments2, n_input)

        Returns
        -------
        ndarray of shape (n_moments1, n_moments2)

        Raises
        ------
        ShapeError, NonFiniteError
            A Jacobian of another shape, or with NaN.
        """
        first = self._checked(moment_jacobian1, "moment_jacobian1")
        second = self._checked(moment_jacobian2, "moment_jacobian2")
        return first @ self._solver.solve(second.T)

    def get_lr_covariance(self, calculate_moments):
        """Linear response covariance of a vector of moments.

        Parameters
        ----------
        calculate_moments : callable
            As for :meth:`get_moment_jacobian`.

        Returns
        -------
        ndarray of shape (n_moments, n_moments)
            Exactly symmetric.
        """
        jacobian = self.get_moment_jacobian(calculate_moments)
        covariance = jacobian @ self._solver.solve(jacobian.T)
        return 0.5 * (covariance + covariance.T)

    def _checked(self, jacobian, name):
        jacobian = dense_array(jacobian, name)
        if jacobian.ndim != 2 or jacobian.shape[1] != self._structure.size:
            raise ShapeError(
                f"{name} has shape {jacobian.shape}: (n_moments, {self._structure.size}) is needed, a row for each "
                "moment."
            )
        return jacobian
