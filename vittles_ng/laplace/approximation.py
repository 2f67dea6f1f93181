"""The Laplace approximation of a marginal likelihood; formulas and sources in :mod:`.mode`.

Requires an objective ``f(input, hyper) = -log p(data, input | hyper)`` with a minimum in the input.
"""

import numpy as np

from ..base_point import BasePoint
from ..expansion import ParametricSensitivityTaylorExpansion
from .maximum import Climb, LaplaceFit
from .mode import minimised, square_root

__all__ = ["LaplaceApproximation"]


class LaplaceApproximation:
    """The Laplace approximation of a marginal likelihood, its exact gradient in the hyper, and its maximum.

    Requires ``objective_function(input, hyper)`` to be the negative log of the joint density of data and input, with
    all terms that depend on the hyper, and to have a minimum in the input.

    Parameters
    ----------
    objective_function : callable
        ``objective(input, hyper) -> scalar``, written in ``autograd.numpy``.
    input_val0 : array_like of shape (n_input,), or nested dict, list or tuple of arrays
        The random effects, and whatever else is integrated out: where the search for their mode begins.
    hyper_val0 : array_like of shape (n_hyper,), or nested
        The variance components, best on a scale without bounds (logarithms): where :meth:`fit` begins.
    sparsity : None, "auto" or pattern, default="auto"
        Of the Hessian in the input, see :class:`~vittles_ng.ParametricSensitivityTaylorExpansion`.
    solver : str, default="auto"
        A direct one: the log-determinant is needed, so not "cg".

    Raises
    ------
    ValueError
        ``solver`` or ``sparsity`` is unknown, or has no determinant.
    IndependentError, NonFiniteError, NonSmoothError, MissingRuleError
        The objective cannot be expanded at the point given.

    Notes
    -----
    The mode at a new hyper is searched from the first-order prediction off the last hyper that was asked for; a joint
    density of several modes may lead to different ones on different ways.

    References
    ----------
    L. Tierney and J. B. Kadane, J. Amer. Statist. Assoc. 81 (1986) 82.
    H. J. Skaug and D. A. Fournier, Comput. Statist. Data Anal. 51 (2006) 699.
    K. Kristensen, A. Nielsen, C. W. Berg, H. Skaug, B. M. Bell, J. Statist. Softw. 70(5) (2016), TMB.

    Examples
    --------
    Three groups of two, ``y_gi = u_g + noise`` of variance one, ``u_g`` normal with log variance ``hyper``. For
    balanced data the maximum is known: the variance of the group means (about zero), less 1/2 for the noise in them.

    >>> import numpy as np, autograd.numpy as anp
    >>> import vittles_ng as vn
    >>> y = np.array([[1.0, 3.0], [-2.0, -1.0], [0.5, 0.0]])
    >>> def objective(u, log_variance):
    ...     return (0.5 * anp.sum((y - u[:, None]) ** 2) + 0.5 * anp.sum(u**2) * anp.exp(-log_variance)
    ...             + 0.5 * 3 * log_variance + 0.5 * 9 * np.log(2 * np.pi))
    >>> fit = vn.LaplaceApproximation(objective, np.zeros(3), 0.0).fit()
    >>> print(np.exp(fit.hyper).round(6), np.mean(y.mean(axis=1) ** 2).round(6) - 0.5)
    [1.604167] 1.604167
    """

    def __init__(self, objective_function, input_val0, hyper_val0, sparsity="auto", solver="auto"):
        self._problem0 = BasePoint(objective_function, input_val0, hyper_val0, True, solver, sparsity)
        if solver == "cg" or not isinstance(solver, str):
            raise ValueError("solver='cg' has no determinant, but the marginal likelihood has: use a direct solver.")
        self._function, self._options = objective_function, {"sparsity": sparsity, "solver": solver}
        self._last = None

    def __repr__(self):
        n_input, n_hyper = self._problem0.input.size, self._problem0.hyper.size
        return f"<Laplace approximation: {n_input} inputs integrated out, {n_hyper} hypers>"

    # ---- the marginal likelihood ----

    def log_marginal(self, hyper):
        """The log marginal likelihood, approximately.

        Parameters
        ----------
        hyper : array_like of shape (n_hyper,), or nested as ``hyper_val0``

        Returns
        -------
        float

        Raises
        ------
        NonFiniteError
            The hyper, or the objective there, is NaN or infinite.
        NotASolutionError, NotPositiveDefiniteError
            The objective has no minimum in the input at this hyper, or none was reached.
        """
        return self._at(hyper).log_marginal

    def gradient(self, hyper):
        """The derivative of :meth:`log_marginal` in the hyper, (n_hyper,): exact, not a difference."""
        return self.value_and_gradient(hyper)[1]

    def value_and_gradient(self, hyper):
        """:meth:`log_marginal` and :meth:`gradient` at one hyper, as a pair."""
        mode = self._at(hyper)
        return mode.log_marginal, mode.gradient()

    def mode(self, hyper):
        """The minimum in the input at a hyper, (n_input,); parameters and errors as in :meth:`log_marginal`."""
        return self._at(hyper).problem.input.flat0.copy()

    def standard_errors(self, hyper=None, covariance=None):
        """Standard errors of the input.

        Parameters
        ----------
        hyper : array_like of shape (n_hyper,), or nested, default=None
            Default: ``hyper_val0``, where no covariance is given.
        covariance : array_like of shape (n_hyper, n_hyper), default=None
            Of the hyper, such as :attr:`LaplaceFit.covariance`. Then what the hyper is uncertain by is added, ``J
            covariance J^T`` with ``J = du/dhyper``: the delta method. Default: the hyper counts as known.

        Returns
        -------
        ndarray of shape (n_input,)
            ``sqrt(diag(H^{-1} + J covariance J^T))``; no dense inverse is formed.

        Raises
        ------
        ShapeError, NotPositiveDefiniteError
            ``covariance`` has another shape, or is none.
        ValueError
            ``covariance`` is given without the hyper that it belongs to.

        References
        ----------
        R. E. Kass and D. Steffey, J. Amer. Statist. Assoc. 84 (1989) 717.
        """
        if hyper is None and covariance is not None:
            raise ValueError(
                "covariance belongs to the hyper where it was found, and none is given: "
                "standard_errors(fit.hyper, fit.covariance)."
            )
        mode = self._at(self._problem0.hyper.flat0 if hyper is None else hyper)
        variance = mode.factor.inverse_diagonal()
        if covariance is not None:
            for root in square_root(covariance, self._problem0.hyper.size):
                variance = variance + mode.sensitivity(root) ** 2
        return np.sqrt(variance)

    def expansion(self, order, hyper=None):
        """The Taylor expansion of the mode in the hyper, with the factor that is there already.

        Parameters
        ----------
        order : int
        hyper : array_like of shape (n_hyper,), or nested, default=None
            The base point, such as :attr:`LaplaceFit.hyper`; default: ``hyper_val0``.

        Returns
        -------
        ParametricSensitivityTaylorExpansion
        """
        mode = self._at(self._problem0.hyper.flat0 if hyper is None else hyper)
        problem = mode.problem
        return ParametricSensitivityTaylorExpansion.optimization_objective(
            self._function,
            problem.input.unflatten(problem.input.flat0),
            problem.hyper.unflatten(problem.hyper.flat0),
            order,
            hess0=mode.factor,
            **self._options,
        )

    # ---- its maximum ----

    def fit(self, tol=1e-4):
        """Maximise the marginal likelihood from ``hyper_val0``.

        By quasi-Newton steps (BFGS), and Newton steps at the end, with second derivatives from centred differences of
        the exact gradient: some 3 n_hyper + 10 evaluations of it, so for few hypers.

        Parameters
        ----------
        tol : float, default=1e-4
            Largest distance from the maximum, in standard errors of the hyper.

        Returns
        -------
        LaplaceFit

        Raises
        ------
        NotASolutionError
            No maximum was reached.
        NotPositiveDefiniteError
            The marginal likelihood has no curvature along some hyper: a variance of zero, or one that the data do not
            identify.

        References
        ----------
        J. Nocedal and S. J. Wright, "Numerical Optimization", Springer 2006, ch. 6.
        """
        if not tol > 0:
            raise ValueError(f"tol must be positive, got {tol}.")
        climb = Climb(self.value_and_gradient, self._problem0.hyper.flat0.copy())
        climb.quasi_newton()
        covariance, distance = climb.newton(tol)
        hyper, value = climb.hyper, climb.value
        return LaplaceFit(hyper, self.mode(hyper), value, covariance, distance, climb.n_evaluations)

    # ---- the mode ----

    def _at(self, hyper):
        """The mode at a hyper; the last one is kept."""
        hyper = self._problem0.hyper.flatten(hyper, "hyper")
        last = self._last
        if last is None or not np.array_equal(last.problem.hyper.flat0, hyper):
            problem = self._problem0.at(self._problem0.input.flat0, hyper) if last is None else last.predicted(hyper)
            last = self._last = minimised(problem, None if last is None else last.factor)
        return last
