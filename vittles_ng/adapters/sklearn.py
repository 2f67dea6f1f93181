"""From an estimator that scikit-learn fitted to its infinitesimal jackknife.

Requires the fit to be an optimum of a weighted sum over observations plus a ridge penalty. Objectives that average the
losses over the weights are taken times ``sum(weights)``, which does not move their optimum: the penalty's share then
grows with that sum.
"""

import numpy as np

from ..errors import NotASolutionError, NotPositiveDefiniteError, ShapeError, SingularError
from ..jackknife import InfinitesimalJackknife
from .checks import aligned, check_settled, explained
from .sklearn_fits import described, unwrapped
from .sklearn_models import ridge

__all__ = ["from_sklearn"]

#: Predictors that move by less than this part of the largest are at the minimum: rounding of single precision.
_ROUNDING = 1e-5


def from_sklearn(estimator, X, y, sample_weight=None, groups=None, order=2):
    """The infinitesimal jackknife of an estimator that scikit-learn fitted.

    Parameters
    ----------
    estimator : fitted estimator
        One of

        - ``LinearRegression``, ``Ridge``, ``RidgeCV``;
        - ``LogisticRegression``, ``LogisticRegressionCV``: two classes or multinomial, with the l2 penalty or none, any
          solver, ``class_weight`` as a dict;
        - ``PoissonRegressor``, ``GammaRegressor``, ``TweedieRegressor``;
        - a ``Pipeline`` that ends in one of them: its preprocessing is held as it was fitted to all observations;
        - a search over parameters (``GridSearchCV`` and others) of one of them: the parameters that it chose are held,
          as are those that ``RidgeCV`` and ``LogisticRegressionCV`` chose.
    X : array_like, DataFrame or sparse matrix of shape (n_obs, n_features)
        What the estimator was fitted to.
    y : array_like of shape (n_obs,)
        What the estimator was fitted to.
    sample_weight : array_like of shape (n_obs,), default=None
        What the estimator was fitted with. They are the jackknife's ``weights0``.
    groups : array_like of shape (n_obs,), default=None
        A label for each observation: what is left out, resampled and clustered together.
    order : int, default=2
        Of the series.

    Returns
    -------
    InfinitesimalJackknife
        Its weights are sample weights: ``reweight(w)`` approximates the fit with ``sample_weight=w``. The input is the
        intercept, if there is one, and the coefficients; of a multinomial model those of one class after another, the
        intercept of the first class being 0, without a penalty its coefficients too. Beside its own attributes:

        ``coefficients`` : callable
            ``input -> (coef_, intercept_)`` of flat inputs (..., n_input), in autograd; those of a multinomial model
            sum to zero over the classes.
        ``dispersion`` : callable or None
            ``(input, weights) -> scalar``, in autograd: Pearson's statistic over ``sum(weights) - n_input``, for
            squared errors, Gamma and Tweedie; None where the scale is known to be 1.
        ``polished_by`` : ndarray of shape (n_input,)
            The minimum found by Newton's method from the fit, less the fit. It is logged to "vittles_ng" with its size
            in standard errors: a warning from a thousandth of one, else for information.
        ``note`` : str
            What the hyper is, what is no part of the input, and what is held rather than fitted again.

    Raises
    ------
    UnsupportedModelError
        Another estimator, an L1 penalty, ``positive=True``, ``class_weight="balanced"``, several outcomes, not fitted;
        says why, and what is supported.
    NotASolutionError
        The minimum is further from the fit than its solver's tolerance explains: the fit was made with other data,
        parameters or sample weights. That is a hundredth of a standard error where least squares were solved, one where
        a solver iterated; any distance is polished away where it reached ``max_iter``, or ``tol`` is larger than 1e-4.
    NotPositiveDefiniteError, DataError
        The fit does not identify the parameters (collinear features without a penalty, as from a one-hot encoder beside
        an intercept), or has no finite optimum (separable data without a penalty).
    ShapeError, NonFiniteError, DataError
        X and y do not fit the estimator, or have values that are NaN.

    Notes
    -----
    The jackknife's objective, with ``w`` the sample weights and the intercept not penalised:

    ==================================================  ===========================================  =========
    estimator                                           objective                                    hyper
    ==================================================  ===========================================  =========
    LinearRegression                                    ``sum w r^2 / 2``                            none
    Ridge                                               ``sum w r^2 / 2 + alpha |coef|^2 / 2``       ``alpha``
    LogisticRegression                                  ``sum w l + |coef|^2 / (2 C)``               ``1 / C``
    PoissonRegressor, GammaRegressor, TweedieRegressor  ``sum w d / 2 + sum(w) alpha |coef|^2 / 2``  ``alpha``
    ==================================================  ===========================================  =========

    r a residual, l minus the log-likelihood, d the unit deviance. ``cross_validate(hypers=...)`` takes a grid of the
    hyper (for ``LogisticRegression`` of ``1 / C``; a multinomial model without a penalty has none).
    ``solver="liblinear"`` also penalises the intercept, by ``(intercept / intercept_scaling)^2 / (2 C)``.

    Sample weights count observations: one of 2 is two observations to ``covariance``, ``bootstrap`` and ``dispersion``.
    Where each row is one observation of its own precision, pass ``groups=np.arange(n_obs)``: rows are then what is
    resampled, and what ``covariance(groups=True)`` sums over (White's, of weighted least squares).

    Held preprocessing is what a pipeline refitted under other weights would fit again: its share in the moves of the
    estimate is left out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from vittles_ng.adapters import from_sklearn
    >>> X, y = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([0.0, 1.0, 1.0, 4.0])
    >>> jackknife = from_sklearn(Ridge(alpha=2.0).fit(X, y), X, y)
    >>> jackknife.parameter_names, jackknife.model.hyper
    (['intercept', 'x0'], 2.0)
    >>> jackknife.exact_refit([1, 1, 1, 0]).value.round(6)
    array([0.416667, 0.25    ])
    >>> without_last = Ridge(alpha=2.0).fit(X[:3], y[:3])
    >>> without_last.intercept_.round(6), without_last.coef_.round(6)
    (np.float64(0.416667), array([0.25]))
    """
    found, x, names, notes = unwrapped(estimator, X)
    fit = described(found, x, y)
    if sample_weight is not None and np.shape(sample_weight) != (fit.model.x.shape[0],):
        raise ShapeError(
            f"sample_weight has shape {np.shape(sample_weight)}: ({fit.model.x.shape[0]},) is needed, one for each row."
        )
    has_penalty, labels = fit.strength is not None, _row_labels(X, y)
    try:
        jackknife = InfinitesimalJackknife(
            fit.model.loss,
            fit.start,
            fit.model.data,
            penalty=ridge(fit.model.factors, fit.is_averaged) if has_penalty else None,
            hyper=fit.strength,
            weights0=aligned(sample_weight, labels, "sample_weight"),
            groups=aligned(groups, labels, "groups"),
            order=order,
            parameter_names=fit.model.names(_features(found, names, fit.model.design.n_features)),
            observation_names=labels,
            polish_optimum=True,
        )
    except (NotASolutionError, NotPositiveDefiniteError, SingularError) as error:
        raise _explained(error, fit) from error
    jackknife.coefficients = fit.model.coefficients
    jackknife.dispersion = fit.model.dispersion if fit.has_scale else None
    jackknife.polished_by = jackknife.input_val0 - fit.start
    facts = [f"the hyper is {fit.hyper_name}" if has_penalty else None, getattr(fit.model, "note", None), *notes]
    jackknife.note = "; ".join(fact for fact in facts if fact)
    _check_is_the_fit(jackknife, fit)
    return jackknife


def _explained(error, fit):
    is_at_edge = fit.model.has_tail and fit.model.n_at_edge(fit.start)
    if not isinstance(error, NotPositiveDefiniteError) or fit.strength or is_at_edge:
        return explained(error, fit.model, fit.start)
    n, k = fit.model.x.shape[0], len(fit.start)
    return NotPositiveDefiniteError(
        f"the fit is one of many minima: {k} parameters of {n} observations are not identified without a penalty. Drop "
        "collinear features (an encoder of categories beside an intercept: drop='first'), or use a ridge penalty. "
        f"({error})"
    )


def _check_is_the_fit(jackknife, fit):
    moved = check_settled(jackknife, fit.model, "from_sklearn")
    eta, shift = fit.model.predictors(jackknife.input_val0), fit.model.predictors(jackknife.polished_by)
    if moved > fit.slack and np.max(np.abs(shift)) > _ROUNDING * np.max(np.abs(eta)):
        raise NotASolutionError(
            f"the minimum for these data is {moved:.1e} standard errors from the fit: pass the X, y and sample_weight "
            "that it was fitted with, and no parameters set after fit(); or refit with a smaller tol and more steps."
        )


def _features(estimator, names, n_features):
    """Names of the features, as scikit-learn makes them up where there are none."""
    fitted = getattr(estimator, "feature_names_in_", None)
    names = names if fitted is None else [str(name) for name in fitted]
    return names if names is not None and len(names) == n_features else [f"x{i}" for i in range(n_features)]


def _row_labels(x, y):
    """The index of a DataFrame or Series."""
    for table in (x, y):
        if hasattr(table, "index") and hasattr(table, "iloc"):
            return list(table.index)
    return None
