"""What statsmodels fitted: the losses, scale and information of its results, or the reason why there are none."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..errors import UnsupportedModelError
from .families import CANONICAL, LINKS, family_like, link_like, make_family
from .models import Counts, GeneralisedLinear, Multinomial

__all__ = ["Described", "describer"]


@dataclass(frozen=True)
class Described:
    """A model, its scale and the information that statsmodels' standard errors rest on."""

    model: object
    dispersion: object = None
    information: object = None


def _linear(results):
    model = results.model
    y, link = _floats(model.endog), LINKS["identity"]
    weights = np.broadcast_to(_floats(model.weights), y.shape)
    linear = GeneralisedLinear(_floats(model.exog), y, make_family("Gaussian", y, link), link, precision=weights)
    return Described(linear, linear.pearson_dispersion)


def _glm(results):
    model = results.model
    y, link = _floats(model.endog), link_like(model.family.link)
    family = None if link is None else family_like(model.family, y, link)
    if family is None:
        of = model.family.link if link is None else model.family
        raise UnsupportedModelError(
            f"the {'link' if link is None else 'family'} {type(of).__name__} is not one of statsmodels' own, so its "
            f"derivatives are not known. {_SUPPORTED}"
        )
    glm = GeneralisedLinear(
        _floats(model.exog),
        y,
        family,
        link,
        offset=model._offset_exposure,
        frequency=model.freq_weights,
        precision=model.var_weights,
        trials=model.n_trials,
    )
    by_expected = results.method == "IRLS" and CANONICAL.get(family.name) != link.name
    return Described(glm, _dispersion(model.scaletype, glm), glm.expected_information if by_expected else None)


def _dispersion(scaletype, glm):
    """The scale that ``GLM.fit(scale=...)`` asked for."""
    if isinstance(scaletype, str):
        return glm.deviance_dispersion if scaletype.lower() == "dev" else glm.pearson_dispersion
    if scaletype is None:
        return None if glm.family.constant is not None else glm.pearson_dispersion
    known = float(scaletype)
    return None if known == 1.0 else partial(_known_scale, known)


def _known_scale(known, value, weights):
    return known


def _discrete(family, link):
    def build(results):
        model = results.model
        y = _floats(model.endog)
        fractional = y[(y != 0.0) & (y != 1.0)]
        if family == "Binomial" and fractional.size:
            raise UnsupportedModelError(
                f"{type(model).__name__} was fitted to {fractional[0]:g} among zeros and ones, where its score is not "
                "the derivative of its log-likelihood: fit proportions by GLM with families.Binomial and var_weights."
            )
        return Described(
            GeneralisedLinear(
                _floats(model.exog), y, make_family(family, y, LINKS[link], 1.0), LINKS[link], offset=_offset(model)
            )
        )

    return build


def _counts(results):
    model = results.model
    method = getattr(model, "loglike_method", None)
    if method == "geometric":
        return _discrete("NegativeBinomial", "log")(results)
    # NegativeBinomialP keeps 2 - p
    p = {"nb2": 2.0, "nb1": 1.0}[method] if method else 2.0 - model.parameterization
    return Described(Counts(_floats(model.exog), _floats(model.endog), p, _offset(model)))


def _multinomial(results):
    return Described(Multinomial(_floats(results.model.exog), _floats(results.model.wendog)))


def _offset(model):
    """The sum of a discrete model's offset and logarithm of exposure."""
    return getattr(model, "offset", 0.0) + getattr(model, "exposure", 0.0)


def _floats(array):
    return np.asarray(array, dtype=float)


_BUILDERS = {
    "regression.linear_model.OLS": _linear,
    "regression.linear_model.WLS": _linear,
    "genmod.generalized_linear_model.GLM": _glm,
    "discrete.discrete_model.Logit": _discrete("Binomial", "logit"),
    "discrete.discrete_model.Probit": _discrete("Binomial", "probit"),
    "discrete.discrete_model.Poisson": _discrete("Poisson", "log"),
    "discrete.discrete_model.NegativeBinomial": _counts,
    "discrete.discrete_model.NegativeBinomialP": _counts,
    "discrete.discrete_model.MNLogit": _multinomial,
}
_SUPPORTED = (
    f"Supported: {', '.join(name.split('.')[-1] for name in _BUILDERS)} of statsmodels; for another model whose "
    "loss is a sum over observations, write that loss and use vittles_ng.InfinitesimalJackknife."
)
_REASONS = {
    "QuantReg": "its loss has a kink at residuals of zero, and a quantile fit passes through some of the observations",
    "GLS": "its errors are correlated, so that the loss is not a sum over observations",
    "GLSAR": "its errors are correlated, so that the loss is not a sum over observations",
    "RLM": "it re-estimates its scale from a median while it is fitted",
    "MixedLM": "observations of a group share random effects, so that the loss is not a sum over observations",
    "GEE": "observations of a group are correlated, and their correlation is estimated while it is fitted",
    "PHReg": "its partial likelihood compares each observation with all that are at risk",
    "ConditionalLogit": "its likelihood is conditional on the totals of groups",
    "ConditionalPoisson": "its likelihood is conditional on the totals of groups",
    "ConditionalMNLogit": "its likelihood is conditional on the totals of groups",
    "GLMGam": "its smoothing penalty is not among the results",
    "RecursiveLS": "it is a filter: the order of the observations matters",
}


def describer(results):
    """What describes this model, or an error that says why none does."""
    model = getattr(results, "model", None)
    kind = type(model)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if model is None or not hasattr(results, "params"):
        what = f"{type(results).__name__}: the results of a model's fit() are needed"
        raise UnsupportedModelError(f"got {what}{', call it first' if hasattr(results, 'fit') else ''}. {_SUPPORTED}")
    if name.removeprefix("statsmodels.") not in _BUILDERS or not name.startswith("statsmodels."):
        reason = _REASONS.get(kind.__name__, "its loss is not known here")
        raise UnsupportedModelError(f"{kind.__name__} is not supported: {reason}. {_SUPPORTED}")
    fitted = type(results).__name__
    if fitted.startswith(("L1", "Regularized")) or getattr(results, "regularized", False):
        raise UnsupportedModelError(
            f"{kind.__name__} was fitted by fit_regularized: an L1 penalty has kinks, and the results do not hold the "
            "penalty. For a ridge penalty pass loss, data and penalty to vittles_ng.InfinitesimalJackknife."
        )
    if getattr(results, "k_constr", 0) or getattr(results, "constraints", None) is not None:
        raise UnsupportedModelError(
            f"{kind.__name__} was fitted under constraints, so that it is no minimum of the loss: put the constraints "
            "into the design (replace columns by their combinations) and refit."
        )
    return _BUILDERS[name.removeprefix("statsmodels.")]
