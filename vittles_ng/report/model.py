"""Generalised linear models with canonical links: exact fits by Newton's method, and jackknives of statsmodels' fit.

The penalised negative log-likelihood ``sum_n w_n loss(z_n @ b, y_n) + penalty / 2 * sum_j p_j b_j^2``, with ``p_j = 0``
at the intercept and 1 elsewhere, has the gradient ``Z' w (mu - y) + penalty p b`` and the Hessian
``Z' diag(w v(mu)) Z + penalty diag(p)`` (McCullagh and Nelder, Generalized Linear Models, 2nd ed., ch. 2).
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import autograd.numpy as anp
import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigvalsh
from scipy.special import expit

from ..adapters.statsmodels import from_statsmodels
from ..errors import DataError, optional_import
from ..jackknife import InfinitesimalJackknife
from .data import GlmData

__all__ = ["FAMILIES", "Family", "Fit", "NewtonPath", "fit_glm", "newton", "solve_exactly"]

# Z' diag(v) Z stays above about Z'Z / n in each direction that has both outcomes, or a count; a separated one loses it.
SEPARATED = 1e-9


@dataclass(frozen=True)
class Family:
    """A generalised linear model with its canonical link: ``loss`` (in autograd), mean and variance function.

    ``loss_name`` is what readers know ``loss_factor`` times an observation's contribution to the jackknife's loss as.
    """

    loss: Callable
    mean: Callable
    variance: Callable
    statsmodels_name: str
    loss_name: str
    loss_factor: float = 1.0


FAMILIES = {
    "binomial": Family(
        lambda eta, y: anp.logaddexp(0.0, eta) - y * eta, expit, lambda mu: mu * (1.0 - mu), "Binomial", "log loss"
    ),
    "poisson": Family(
        lambda eta, y: anp.exp(eta) - y * eta, np.exp, lambda mu: mu, "Poisson", "negative log-likelihood"
    ),
    "gaussian": Family(
        lambda eta, y: 0.5 * (y - eta) ** 2, lambda eta: eta, np.ones_like, "Gaussian", "squared error", 2.0
    ),
}


@dataclass(frozen=True)
class NewtonPath:
    """Newton's iterates, from the start to the solution.

    Attributes
    ----------
    values : ndarray of shape (n_steps + 1, n_input)
    seconds : ndarray of shape (n_steps + 1,)
        Time since the start at which each iterate was known.
    hessian : ndarray of shape (n_input, n_input)
        At the last iterate but one.
    solved : bool
        False where Newton's method did not converge or the data do not identify the coefficients.
    """

    values: np.ndarray
    seconds: np.ndarray
    hessian: np.ndarray
    solved: bool


@dataclass(frozen=True)
class Fit:
    """A model at its optimum, on the standardised scale of its data, with standard errors in the file's units.

    Attributes
    ----------
    data : GlmData
    family : Family
    input_val : ndarray of shape (n_input,)
    hessian : ndarray of shape (n_input, n_input)
    standard_error : ndarray of shape (n_input,)
        Classical, in the units of the file.
    jackknife : InfinitesimalJackknife
        Of statsmodels' fit, with the data's groups.
    by_observation : InfinitesimalJackknife
        The same without groups.
    first_call, set_up : float
        Seconds that the process's first jackknife took, and that the next one took.
    """

    data: GlmData
    family: Family
    input_val: np.ndarray
    hessian: np.ndarray
    standard_error: np.ndarray
    jackknife: InfinitesimalJackknife
    by_observation: InfinitesimalJackknife
    first_call: float
    set_up: float

    @property
    def estimates(self):
        """The coefficients in the units of the file, (n_input,)."""
        return self.in_units(self.input_val)

    def in_units(self, values):
        """Coefficients in the units of the file, ``(..., n_input)`` as the given ones on the standardised scale."""
        return values @ self.data.transform.T + self.data.offset

    def changes(self, difference):
        """Changes of all coefficients in standard errors of the file's units, ``(..., n_input)``."""
        return difference @ self.data.transform.T / self.standard_error

    def in_standard_errors(self, difference):
        """Largest change of a coefficient, in standard errors: ``(..., n_input)`` to ``(...)``."""
        return np.max(np.abs(self.changes(difference)), axis=-1)


def newton(data, family, start, weights=None, penalty=0.0, damped=False, max_steps=60):
    """Minimise the weighted, ridge-penalised negative log-likelihood.

    Parameters
    ----------
    data : GlmData
    family : Family
    start : ndarray of shape (n_input,)
    weights : ndarray of shape (n_obs,), optional
    penalty : float
    damped : bool
        Divide each step by ``1 + decrement``: slower, and safe far from the optimum.
    max_steps : int

    Returns
    -------
    NewtonPath
        Not solved where no penalty helps and the Hessian has lost all but 1e-9 of ``Z'Z`` in some direction.

    Examples
    --------
    >>> import pandas
    >>> from vittles_ng.report.data import glm_data
    >>> data = glm_data(pandas.DataFrame({"c": [2, 1, 3, 6], "x": [0, 0, 1, 1]}), "c ~ x", "poisson")
    >>> path = newton(data, FAMILIES["poisson"], [0.0, 0.0])
    >>> path.solved
    True
    >>> np.exp(data.transform @ path.values[-1]).round(10)  # the mean where x = 0, and the ratio of the means
    array([1.5, 3. ])
    """
    began = perf_counter()
    design, response, ridge = data.design, data.response, penalty * data.penalised
    values, seconds, decrement = [np.array(start, dtype=float)], [0.0], math.inf
    hessian = np.zeros((len(start), len(start)))
    while decrement > 1e-8 and len(values) <= max_steps:
        with np.errstate(over="ignore", invalid="ignore"):
            mean = family.mean(design @ values[-1])
            residual, curvature = mean - response, family.variance(mean)
            if weights is not None:
                residual, curvature = weights * residual, weights * curvature
            gradient = design.T @ residual + ridge * values[-1]
            hessian = (design.T * curvature) @ design
        hessian[np.diag_indices_from(hessian)] += ridge
        try:
            step = cho_solve(cho_factor(hessian), gradient)
        except (np.linalg.LinAlgError, ValueError):  # singular, or overflowed to NaN
            decrement = math.inf
            break
        decrement = math.sqrt(max(gradient @ step, 0.0))
        values.append(values[-1] - step / (1.0 + damped * decrement))
        seconds.append(perf_counter() - began)
    solved = decrement <= 1e-8 and (penalty > 0 or bool(eigvalsh(hessian, data.gram)[0] > SEPARATED))
    return NewtonPath(np.array(values), np.array(seconds), hessian, solved)


def solve_exactly(data, family, start, weights=None, penalty=0.0):
    """Newton's method from ``start``; damped, and from the origin, where the plain one fails."""
    path = newton(data, family, start, weights, penalty)
    if not path.solved:
        path = newton(data, family, np.zeros_like(start), weights, penalty, damped=True, max_steps=400)
    return path


def fit_glm(data, family_name):
    """Fit with statsmodels, polish the optimum by Newton's method, check that it is one and take its jackknife.

    Parameters
    ----------
    data : GlmData
    family_name : {"binomial", "poisson", "gaussian"}

    Returns
    -------
    Fit

    Raises
    ------
    DataError
        No finite optimum: the data are separable, or no fit was found.
    """
    statsmodels = optional_import("statsmodels.api")
    perfect_separation = optional_import("statsmodels.tools.sm_exceptions").PerfectSeparationError
    family = FAMILIES[family_name]
    design = optional_import("pandas").DataFrame(data.design, index=data.row_names, columns=data.columns)
    response = optional_import("pandas").Series(data.response, index=data.row_names, name=data.response_name)
    model = statsmodels.GLM(response, design, getattr(statsmodels.families, family.statsmodels_name)())
    start = np.zeros(data.design.shape[1])
    with warnings.catch_warnings():
        # statsmodels warns where it cannot tell, and is silent where it should: the check below is ours.
        warnings.simplefilter("ignore")
        try:
            start = np.asarray(model.fit(maxiter=50).params)
        except (perfect_separation, ValueError, np.linalg.LinAlgError):
            pass
        path = solve_exactly(data, family, start)
        _check_solved(data, path)
        results = model.fit(start_params=path.values[-1], maxiter=50, use_t=family_name == "gaussian")
    input_val = path.values[-1]
    scale = 1.0
    if family_name == "gaussian":
        residual = data.response - data.design @ input_val
        scale = residual @ residual / (len(residual) - len(input_val))
        if scale <= 1e-24:
            raise DataError(f"the covariates determine {data.response_name!r} exactly: its standard errors are zero")
    covariance = scale * data.transform @ np.linalg.inv(path.hessian) @ data.transform.T
    times = [perf_counter()]
    jackknives = []
    for groups in (data.groups, None):
        jackknives.append(from_statsmodels(results, groups))
        times.append(perf_counter())
    seconds = np.diff(times)
    return Fit(data, family, input_val, path.hessian, np.sqrt(np.diag(covariance)), *jackknives, *seconds)


def _check_solved(data, path):
    if path.solved:
        return
    with np.errstate(all="ignore"):
        largest = np.max(np.abs(data.design @ path.values[-1]))
        condition = np.linalg.cond(path.hessian) if np.all(np.isfinite(path.hessian)) else math.inf
    raise DataError(
        f"no finite optimum, the data are separable (Hessian condition number {condition:.1e}, largest linear "
        f"predictor {largest:.1f}): drop or merge the covariates that predict the response perfectly"
    )
