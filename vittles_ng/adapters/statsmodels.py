"""From a model that statsmodels fitted to its infinitesimal jackknife.

Requires the fit to be an optimum of a sum over observations. The losses are minus the log-likelihood where the scale
is known to be 1, and half the deviance where it is estimated (Gaussian: half the squared residual): the scale does not
move the optimum.
"""

import numpy as np

from ..errors import DataError, NonFiniteError, NotASolutionError, NotPositiveDefiniteError, SingularError
from ..jackknife import InfinitesimalJackknife
from .checks import aligned, check_losses, check_settled, explained
from .statsmodels_fits import describer

__all__ = ["from_statsmodels"]


def from_statsmodels(results, groups=None, order=2):
    """The infinitesimal jackknife of a model that statsmodels fitted.

    Parameters
    ----------
    results : statsmodels results
        What ``fit()`` returned, from the formula or the array interface, of

        - ``OLS``, ``WLS``;
        - ``GLM``: families Gaussian, Binomial (counts of successes and failures too), Poisson, Gamma, InverseGaussian,
          NegativeBinomial (its alpha fixed), Tweedie; links identity, log, logit, probit, cauchy, cloglog, loglog,
          logc, sqrt, inverse_power, inverse_squared, Power, NegativeBinomial; offset, exposure, freq_weights,
          var_weights;
        - ``Logit``, ``Probit``, ``Poisson``, ``MNLogit``, ``NegativeBinomial`` (nb2, nb1, geometric) and
          ``NegativeBinomialP``, with offset and exposure.
    groups : array_like of shape (n_obs,), default=None
        A label for each observation: what is left out, resampled and clustered together. Labels of rows that
        statsmodels dropped for missing values may still be among them.
    order : int, default=2
        Of the series.

    Returns
    -------
    InfinitesimalJackknife
        The weights are inclusion counts, 1 for each row of the fit; they multiply freq_weights and var_weights (a row
        with freq_weight 5 is one observation: a weight of 0.8 leaves out one of the five). The input is
        ``results.params``, of ``MNLogit`` one class after another, under statsmodels' names. Beside its own attributes:

        ``dispersion`` : callable or None
            ``(input, weights) -> scalar``, in autograd: the scale under those weights and at that input, None where it
            is known to be 1. The model's covariance, by the observed information, is ``dispersion(input, weights) *
            H^{-1}``, H the Hessian.
        ``degrees_of_freedom`` : callable or None
            ``weights -> scalar``: of the t distribution, where the fit's tests are by it (``results.use_t``).
        ``information`` : callable or None
            ``(input, weights) -> (n_input, n_input)``, in autograd: the expected information that stands for H in
            statsmodels' own standard errors (``GLM`` fitted by IRLS, link not canonical); None where that is H.
        ``polished_by`` : ndarray of shape (n_input,)
            The minimum found by Newton's method from ``results.params``, less ``results.params``. It is logged to
            "vittles_ng" with its size in standard errors: a warning from a thousandth of one, else for information.

    Raises
    ------
    UnsupportedModelError
        Another model, a regularised or constrained fit, another family or link; says why, and what is supported.
    DataError
        The data are separable (statsmodels reports such fits as converged) or otherwise without a finite optimum; a
        fitted mean outside the family's range; data removed from the results; parameters that are NaN.
    NotASolutionError, NotPositiveDefiniteError
        No minimum was found from the fit, or it does not identify the parameters (collinear covariates).
    ShapeError
        Not as many groups as observations.

    Notes
    -----
    For canonical links without freq_weights ``leave_one_out(method="newton")`` is ``results.params`` less statsmodels'
    ``GLMInfluence.d_params``, whose sign is wrong for the decreasing ones (inverse_power, inverse_squared; statsmodels
    0.15). For other links ``GLMInfluence`` combines the leverage of the observed information with Pearson residuals,
    which belong to the expected one, and is not the Newton step.

    Where ``fit(scale="X2")`` was asked of binomial counts, the dispersion is Pearson's statistic with the number of
    trials (McCullagh and Nelder, section 4.5.2), ``results.pearson_chi2 / results.df_resid``; statsmodels 0.15 leaves
    the trials out of ``results.scale``.

    Examples
    --------
    From a fit to the observations that its dose coefficient rests on most:

    >>> import pandas as pd
    >>> import statsmodels.formula.api as smf
    >>> from vittles_ng import robustness
    >>> from vittles_ng.adapters import from_statsmodels
    >>> trial = pd.DataFrame({"cured": [0, 0, 1, 0, 1, 0, 1, 1], "dose": [1, 2, 2, 3, 3, 4, 4, 6]})
    >>> fit = smf.logit("cured ~ dose", trial).fit(disp=False)
    >>> jackknife = from_statsmodels(fit)
    >>> robustness.most_influential_set(jackknife, "dose", n_drop=1).labels
    ['5']
    >>> [float(b) for b in jackknife.exact_refit([1, 1, 1, 1, 1, 1, 1, 0]).value.round(6)]
    [-1.645551, 0.492909]
    """
    results = getattr(results, "_results", results)
    describe = describer(results)
    _check_fit(results)
    described = describe(results)
    start = np.array(results.params, dtype=float).ravel(order="F")
    check_losses(described.model, start)
    data = results.model.data
    try:
        jackknife = InfinitesimalJackknife(
            described.model.loss,
            start,
            described.model.data,
            groups=_labels(groups, data, len(described.model.x)),
            order=order,
            parameter_names=_parameter_names(data),
            observation_names=data.row_labels,
            polish_optimum=True,
        )
    except (NotASolutionError, NotPositiveDefiniteError, SingularError) as error:
        raise explained(error, described.model, start) from error
    jackknife.dispersion, jackknife.information = described.dispersion, described.information
    jackknife.degrees_of_freedom = described.model.degrees_of_freedom if getattr(results, "use_t", False) else None
    jackknife.polished_by = jackknife.input_val0 - start
    check_settled(jackknife, described.model)
    return jackknife


def _check_fit(results):
    if any(getattr(results.model, name, None) is None for name in ("endog", "exog")):
        raise DataError("the results hold no data (remove_data() was called, or they were saved without): refit.")
    params = np.asarray(results.params, dtype=float)
    if not np.all(np.isfinite(params)):
        raise NonFiniteError(
            f"{np.sum(~np.isfinite(params))} of {params.size} fitted parameters are NaN or infinite: refit, with "
            "missing='drop' if there are missing values."
        )


def _labels(groups, data, n_obs):
    """Groups without the rows that statsmodels dropped."""
    groups, dropped = aligned(groups, data.row_labels, "groups"), getattr(data, "missing_row_idx", None)
    if groups is None or dropped is None or np.shape(groups) != (n_obs + len(dropped),):
        return groups
    return np.delete(np.asarray(groups), dropped)


def _parameter_names(data):
    return [":".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in data.cov_names]
