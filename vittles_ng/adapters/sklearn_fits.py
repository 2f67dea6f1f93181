"""Fitted scikit-learn estimators, described: their model, their penalty, where they are, and why others are refused.

An estimator is told by the name of its class, so that scikit-learn is not imported.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from ..errors import DataError, NonFiniteError, ShapeError, UnsupportedModelError
from .families import LINKS, make_family
from .sklearn_models import Design, GeneralisedLinear, Multinomial

__all__ = ["Described", "described", "unwrapped"]

#: Standard errors to the minimum: of least squares solved in single precision; of a loose tolerance.
_SOLVED, _ITERATED = 1e-2, 1.0
#: Of scikit-learn's solvers.
_DEFAULT_TOL = 1e-4


@dataclass(frozen=True)
class Described:
    """A fitted estimator.

    Attributes
    ----------
    model : GeneralisedLinear or Multinomial
    start : ndarray of shape (n_input,)
        The fit.
    strength : float or None
        Of the penalty; None where there is none to have.
    hyper_name : str or None
        What the strength is in scikit-learn's words.
    is_averaged : bool
        Whether the losses are averaged over the weights.
    has_scale : bool
        Whether the family has a scale that is estimated.
    slack : float
        Standard errors that its solver's tolerance may leave to the minimum.
    """

    model: object
    start: np.ndarray
    strength: float | None = None
    hyper_name: str | None = None
    is_averaged: bool = False
    has_scale: bool = False
    slack: float = 1.0


# --- what is wrapped around an estimator


def unwrapped(estimator, x):
    """The estimator inside searches and pipelines, its covariates, their names (or None), and notes on what is held."""
    notes, names = [], _columns(x)
    while True:
        name = type(estimator).__name__
        if _is_of(estimator, "sklearn.model_selection") and name.endswith("SearchCV"):
            if not hasattr(estimator, "best_estimator_"):
                what = "holds no fit (refit=False)" if hasattr(estimator, "cv_results_") else "is not fitted"
                raise UnsupportedModelError(f"this {name} {what}: pass an estimator fitted to X and y.")
            notes.append(f"the parameters that {name} chose are held: {estimator.best_params_}")
            estimator = estimator.best_estimator_
        elif _is_of(estimator, "sklearn.pipeline") and name == "Pipeline":
            _check_fitted(_innermost(estimator))
            if len(estimator.steps) > 1:
                steps = estimator[:-1]
                x = steps.transform(x)
                names = _columns(x) or _names_out(steps)
                held = ", ".join(step for step, _ in steps.steps)
                notes.append(f"the preprocessing is held as it was fitted: {held}")
            estimator = estimator.steps[-1][1]
        else:
            return estimator, x, names, notes


def _innermost(estimator):
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        else:
            return estimator


def _is_of(estimator, module):
    return type(estimator).__module__.startswith(f"{module}.") or type(estimator).__module__ == module


def _columns(x):
    columns = getattr(x, "columns", None)
    return None if columns is None else [str(name) for name in columns]


def _names_out(transformer):
    try:
        return [str(name) for name in transformer.get_feature_names_out()]
    except (AttributeError, ValueError):  # transformers without names
        return None


# --- the estimators


def described(estimator, x, y):
    """The description of a fitted estimator, with the covariates and outcomes that it was fitted to.

    Parameters
    ----------
    estimator : scikit-learn estimator
    x : array_like, DataFrame or sparse matrix of shape (n_obs, n_features)
    y : array_like of shape (n_obs,)
    """
    kind = type(estimator)
    describe = _BUILDERS.get(kind.__name__) if _is_of(estimator, "sklearn.linear_model") else None
    if describe is None:
        raise UnsupportedModelError(f"{kind.__name__} is not supported: {_reason(estimator)}. {SUPPORTED}")
    _check_fitted(estimator)
    for name in ("coef_", "intercept_"):
        bad = np.sum(~np.isfinite(getattr(estimator, name)))
        if bad:
            raise NonFiniteError(
                f"{bad} of {np.size(getattr(estimator, name))} elements of {name} are not finite: refit."
            )
    if getattr(estimator, "positive", False):
        raise UnsupportedModelError(
            f"{kind.__name__}(positive=True) is not supported: coefficients at the bound 0 are no zeros of the "
            f"gradient and leave or enter the bound as the weights change. {SUPPORTED}"
        )
    x = _covariates(x, estimator)
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    n = 1 if hasattr(estimator, "classes_") or np.ndim(estimator.coef_) < 2 else len(estimator.coef_)
    if y.ndim == 2 or n > 1:
        n = y.shape[1] if y.ndim == 2 else n
        raise UnsupportedModelError(
            f"{kind.__name__} was fitted to {n} outcomes at once: their fits are separate, fit and pass one by one."
        )
    if y.shape != (x.shape[0],):
        raise ShapeError(f"y has shape {y.shape} where X has {x.shape[0]} rows.")
    return describe(estimator, Design(x, estimator.fit_intercept), y)


def _check_fitted(estimator):
    if not hasattr(estimator, "coef_") and type(estimator).__name__ in _BUILDERS:
        raise UnsupportedModelError(f"this {type(estimator).__name__} is not fitted: call fit(X, y) first.")


def _covariates(x, estimator):
    """As finite floats, ndarray or CSR, of the features that the estimator was fitted to."""
    fitted, given = getattr(estimator, "feature_names_in_", None), _columns(x)
    if fitted is not None and given is not None and list(fitted) != given:
        raise DataError(f"the columns of X are {given} where the fit's features are {list(fitted)}: pass X as fitted.")
    try:
        x = scipy.sparse.csr_array(x, dtype=float) if scipy.sparse.issparse(x) else np.asarray(x, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"X is not numeric ({error}): pass what the estimator was fitted to.") from error
    if x.ndim != 2 or x.shape[1] != np.shape(estimator.coef_)[-1]:
        raise ShapeError(
            f"X has shape {x.shape}: (n_obs, {np.shape(estimator.coef_)[-1]}) is needed, as it was fitted."
        )
    if scipy.sparse.issparse(x):
        bad = np.unique(x.tocoo().coords[0][~np.isfinite(x.data)])
    else:
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if bad.size:
        raise NonFiniteError(
            f"{bad.size} of {x.shape[0]} rows of X have values that are NaN or infinite, the first is {bad[0]}: drop "
            "them, or impute before the fit."
        )
    return x


def _outcomes(y):
    try:
        y = y.astype(float)
    except (TypeError, ValueError) as error:
        raise DataError(f"y is not numeric ({error}).") from error
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        raise NonFiniteError(
            f"{bad.size} of {y.size} outcomes are NaN or infinite, the first is {bad[0]}: drop those rows."
        )
    return y


def _least_squares(estimator, design, y):
    y, link = _outcomes(y), LINKS["identity"]
    # RidgeCV's choice, Ridge's parameter; LinearRegression has neither
    strength = getattr(estimator, "alpha_", getattr(estimator, "alpha", None))
    strength = None if strength is None else float(np.ravel(strength)[0])
    model = GeneralisedLinear(design, y, make_family("Gaussian", y, link), link)
    iterated = getattr(estimator, "solver", "auto") in ("sag", "saga", "lsqr", "sparse_cg")
    return Described(
        model,
        model.start(np.ravel(estimator.coef_), np.ravel(estimator.intercept_)),
        strength,
        None if strength is None else "alpha",
        has_scale=True,
        slack=_slack(estimator) if iterated or design.was_sparse else _SOLVED,
    )


def _slack(estimator):
    """Any distance, which is reported, where a loose tolerance was asked for or the limit of iterations was reached."""
    taken, most = getattr(estimator, "n_iter_", None), getattr(estimator, "max_iter", None)
    is_cut_off = taken is not None and most is not None and np.any(np.asarray(taken) >= most)
    return np.inf if is_cut_off or getattr(estimator, "tol", 0.0) > _DEFAULT_TOL else _ITERATED


_POWERS = {"PoissonRegressor": 1.0, "GammaRegressor": 2.0}


def _averaged(estimator, design, y):
    y = _outcomes(y)
    power = _POWERS.get(type(estimator).__name__)
    name = "log"
    if power is None:
        power, name = float(estimator.power), estimator.link
        if name == "auto":
            name = "identity" if power <= 0.0 else "log"
    link, strength = LINKS[name], float(estimator.alpha)
    family = make_family("Tweedie", y, link, power)
    saturated = family.saturated(np.maximum(y, 0.0) if power < 0.0 else y)
    model = GeneralisedLinear(design, y, family, link, constant=-saturated, is_penalised=strength > 0.0)
    return Described(
        model,
        model.start(estimator.coef_, estimator.intercept_),
        strength,
        "alpha",
        is_averaged=True,
        has_scale=power != 1.0,
        slack=_slack(estimator),
    )


def _logistic(estimator, design, y):
    strength = _logistic_strength(estimator)
    classes = np.asarray(estimator.classes_)
    unknown = np.flatnonzero(~np.isin(y, classes))
    if unknown.size:
        raise DataError(
            f"observation {unknown[0]} has the class {y[unknown[0]]}, which the fit does not know: {classes}."
        )
    codes, multiplier = np.searchsorted(classes, y), _class_weights(estimator, classes)
    multiplier = None if multiplier is None else multiplier[codes]
    scheme, slack = getattr(estimator, "multi_class", "auto"), _slack(estimator)
    if len(classes) == 2:
        if scheme == "multinomial":
            raise UnsupportedModelError("multi_class='multinomial' of two classes: leave it out, and refit.")
        y, link = codes.astype(float), LINKS["logit"]
        of_intercept = 1.0 / estimator.intercept_scaling**2 if estimator.solver == "liblinear" else 0.0
        family = make_family("Binomial", y, link)
        model = GeneralisedLinear(design, y, family, link, 0.0, multiplier, of_intercept, strength > 0.0)
        start = model.start(np.ravel(estimator.coef_), np.ravel(estimator.intercept_))
        return Described(model, start, strength, "1 / C", slack=slack)
    if scheme == "ovr" or estimator.solver == "liblinear":
        raise UnsupportedModelError(
            "one-versus-rest of several classes is one fit for each class: fit and pass them one by one, or use the "
            "multinomial model."
        )
    model = Multinomial(design, np.eye(len(classes))[codes], classes.tolist(), strength > 0.0, multiplier)
    start = model.start(estimator.coef_, estimator.intercept_)
    return Described(model, start, *((strength, "1 / C") if strength > 0.0 else ()), slack=slack)


def _logistic_strength(estimator):
    """1 / C, 0 without a penalty."""
    ratio = getattr(estimator, "l1_ratio_", getattr(estimator, "l1_ratio", None))
    ratio, penalty = np.ravel(0.0 if ratio is None else ratio), getattr(estimator, "penalty", "deprecated")
    has_l1 = penalty in ("l1", "elasticnet") or (penalty == "deprecated" and np.any(ratio.astype(float) != 0.0))
    name = type(estimator).__name__
    if penalty == "elasticnet" and not np.any(ratio.astype(float) != 0.0):
        has_l1 = False
    if has_l1:
        raise UnsupportedModelError(f"{name} with an L1 penalty is not supported: {_L1}. {SUPPORTED}")
    if penalty in (None, "none"):
        return 0.0
    if not getattr(estimator, "refit", True):
        raise UnsupportedModelError(f"{name}(refit=False) averages the fits of folds: pass a fit to all of X and y.")
    return 1.0 / float(np.ravel(getattr(estimator, "C_", getattr(estimator, "C", None)))[0])


def _class_weights(estimator, classes):
    weights = estimator.class_weight
    if weights is None:
        return None
    if isinstance(weights, str):
        raise UnsupportedModelError(
            f"class_weight={weights!r} is not supported: it makes each observation's weight depend on all the others; "
            "fit with class_weight as a dict of those numbers, or with sample_weight."
        )
    return np.array([float(weights.get(label, 1.0)) for label in classes.tolist()])


_BUILDERS = {
    "LinearRegression": _least_squares,
    "Ridge": _least_squares,
    "RidgeCV": _least_squares,
    "LogisticRegression": _logistic,
    "LogisticRegressionCV": _logistic,
    "PoissonRegressor": _averaged,
    "GammaRegressor": _averaged,
    "TweedieRegressor": _averaged,
}
SUPPORTED = (
    f"Supported: {', '.join(_BUILDERS)} of scikit-learn, pipelines that end in one of them, and searches over their "
    "parameters; for another model whose loss is a sum over observations, write that loss and use "
    "vittles_ng.InfinitesimalJackknife."
)
_L1 = "coefficients at the kink 0 are no zeros of the gradient and leave or enter it as the weights change"
_STOCHASTIC = "it stops after so many steps along a learning rate, not at the minimum of its objective"
_REASONS = {
    **dict.fromkeys(
        ["Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"]
        + ["MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV"],
        _L1,
    ),
    **dict.fromkeys(
        ["SGDClassifier", "SGDRegressor", "SGDOneClassSVM", "Perceptron"]
        + ["PassiveAggressiveClassifier", "PassiveAggressiveRegressor", "MLPClassifier", "MLPRegressor"],
        _STOCHASTIC,
    ),
    "OrthogonalMatchingPursuit": "it chooses features one by one",
    "QuantileRegressor": "its loss has a kink at residuals of zero, and the fit passes through some observations",
    "RANSACRegressor": "it is fitted to a random choice of the observations",
    "TheilSenRegressor": "its loss is not a sum over observations",
    "BayesianRidge": "its penalty is estimated from the same data: fit Ridge(alpha=lambda_ / alpha_)",
    "ARDRegression": "its penalties are estimated from the same data",
    "HuberRegressor": "its loss has second derivatives that jump, and its scale is estimated with the coefficients",
    "RidgeClassifier": "fit Ridge to outcomes of -1 and 1, which is the same",
    "RidgeClassifierCV": "fit Ridge to outcomes of -1 and 1, which is the same",
    "LinearSVC": "its hinge has second derivatives that jump",
    "LinearSVR": "its loss has second derivatives that jump",
    "SVC": "its solution rests on few observations, and changes with which they are",
    "SVR": "its solution rests on few observations, and changes with which they are",
    "TransformedTargetRegressor": "pass its regressor_ with the transformed outcomes",
}


def _reason(estimator):
    known = _REASONS.get(type(estimator).__name__) if _is_of(estimator, "sklearn") else None
    return known or "its loss is not known here"
