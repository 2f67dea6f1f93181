"""Families and links of generalised linear models, in autograd: what an observation contributes to the loss.

With mean ``mu``, variance function ``V`` and scale ``phi``, an observation with the weight ``w`` has the
quasi-likelihood ``w q(y, mu) / phi``, ``dq / dmu = (y - mu) / V(mu)``. The *kernel* is ``-q`` up to a constant in mu;
less the kernel at ``mu = y`` (*saturated*) it is half the unit deviance.

Source: McCullagh and Nelder, Generalized Linear Models, 2nd ed. (1989), sections 2.2, 9.2; Tweedie's deviance:
Jorgensen, The Theory of Dispersion Models (1997), section 4.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import expit
from autograd.scipy.stats import norm
from scipy.special import gammaln, xlogy

__all__ = ["CANONICAL", "LINKS", "Family", "Link", "family_like", "link_like", "make_family", "power_link"]

_EPS = np.finfo(float).eps


@dataclass(frozen=True)
class Link:
    """An inverse link ``mean(eta)``; its logarithm and that of its complement, accurate where they are close to 0.

    Attributes
    ----------
    name : str
    mean, log_mean, log_complement : callable
        ``eta -> mu``, ``log mu`` and ``log(1 - mu)``.
    is_symmetric : bool
        ``1 - mean(eta) == mean(-eta)``.
    has_tail : bool
        The mean nears 0 or 1 only as eta goes to infinity: a fit can run away, as on separable data.
    parameter : float or None
        The exponent, or the negative binomial's alpha.
    """

    name: str
    mean: Callable
    log_mean: Callable
    log_complement: Callable
    is_symmetric: bool = False
    has_tail: bool = False
    parameter: float | None = None

    def __reduce__(self):
        return _link_again, (self.name, self.parameter)


def _link_again(name, parameter):
    return LINKS[name] if name in LINKS else _WITH_PARAMETER[name](parameter)


def _log_not_exp(x):
    # log(1 - e^x), x < 0: autograd differentiates expm1 by adding 1 to it, which cancels where e^x is tiny
    near = x > -0.7
    return anp.where(near, anp.log(-anp.expm1(anp.where(near, x, -1.0))), anp.log1p(-anp.exp(anp.where(near, -1.0, x))))


def _cauchy(eta):
    # 1/2 + arctan(eta) / pi, without cancellation where eta is very negative
    return anp.arctan2(1.0, -eta) / np.pi


def _symmetric(name, mean, log_mean):
    return Link(name, mean, log_mean, lambda eta: log_mean(-eta), is_symmetric=True, has_tail=True)


def _of_mean(name, mean, parameter):
    return Link(
        name, mean, lambda eta: anp.log(mean(eta)), lambda eta: anp.log1p(-mean(eta)), parameter=float(parameter)
    )


def power_link(exponent, name="power"):
    """The link ``eta = mu^exponent``."""
    simple = {1.0: lambda eta: eta, -1.0: lambda eta: 1.0 / eta, 0.5: lambda eta: eta**2}
    return _of_mean(name, simple.get(exponent, lambda eta: eta ** (1.0 / exponent)), exponent)


def _negative_binomial_link(alpha):
    # mu = 1 / (alpha (e^{-eta} - 1)), eta < 0
    return _of_mean("nbinom", lambda eta: 1.0 / (alpha * anp.expm1(-eta)), alpha)


_WITH_PARAMETER = {"power": power_link, "nbinom": _negative_binomial_link}


_LOGIT = _symmetric("logit", expit, lambda eta: -anp.logaddexp(0.0, -eta))
_PROBIT = _symmetric("probit", norm.cdf, norm.logcdf)
_CAUCHY = _symmetric("cauchy", _cauchy, lambda eta: anp.log(_cauchy(eta)))
_CLOGLOG = Link(
    "cloglog",
    lambda eta: -anp.expm1(-anp.exp(eta)),
    lambda eta: _log_not_exp(-anp.exp(eta)),
    lambda eta: -anp.exp(eta),
    has_tail=True,
)
_LOGLOG = Link(
    "loglog",
    lambda eta: anp.exp(-anp.exp(-eta)),
    lambda eta: -anp.exp(-eta),
    lambda eta: _log_not_exp(-anp.exp(-eta)),
    has_tail=True,
)
_LOG = Link("log", anp.exp, lambda eta: eta, _log_not_exp, has_tail=True)
_LOGC = Link("logc", lambda eta: -anp.expm1(eta), _log_not_exp, lambda eta: eta, has_tail=True)

#: The links without a parameter, by name.
LINKS = {
    link.name: link
    for link in (
        power_link(1.0, "identity"),
        power_link(-1.0, "inverse_power"),
        power_link(-2.0, "inverse_squared"),
        power_link(0.5, "sqrt"),
        _LOG,
        _LOGC,
        _LOGIT,
        _PROBIT,
        _CAUCHY,
        _CLOGLOG,
        _LOGLOG,
    )
}

# the inverse links that are distribution functions, by scipy's name of the distribution
_DISTRIBUTIONS = {"norm": _PROBIT, "cauchy": _CAUCHY, "logistic": _LOGIT, "gumbel_r": _LOGLOG, "gumbel_l": _CLOGLOG}


def _of_distribution(link):
    return _DISTRIBUTIONS.get(getattr(link.dbn, "name", None))


# by the name of the statsmodels class
_LINKS = {
    "Identity": lambda link: LINKS["identity"],
    "InversePower": lambda link: LINKS["inverse_power"],
    "InverseSquared": lambda link: LINKS["inverse_squared"],
    "Sqrt": lambda link: LINKS["sqrt"],
    "Log": lambda link: _LOG,
    "LogC": lambda link: _LOGC,
    "Logit": lambda link: _LOGIT,
    "CLogLog": lambda link: _CLOGLOG,
    "LogLog": lambda link: _LOGLOG,
    "Power": lambda link: power_link(link.power),
    "NegativeBinomial": lambda link: _negative_binomial_link(link.alpha),
    "Probit": _of_distribution,
    "Cauchy": _of_distribution,
    "CDFLink": _of_distribution,
}


def link_like(link):
    """The link that a statsmodels link object stands for; None where there is none here."""
    make = _LINKS.get(_name_in_statsmodels(link, "links"))
    return None if make is None else make(link)


def _name_in_statsmodels(thing, module):
    """The name of an object's class, or of the one that it is another spelling of (``links.logit``)."""
    cls = type(thing)
    if cls.__module__ != f"statsmodels.genmod.families.{module}":
        return None
    return cls.__name__ if cls.__name__[0].isupper() else cls.__mro__[1].__name__


@dataclass(frozen=True)
class Family:
    """What a family contributes.

    Attributes
    ----------
    name : str
    kernel : callable
        ``(y, eta, link) -> (n_rows,)``, in autograd.
    saturated : callable
        ``y -> (n_rows,)``: the kernel where the mean is y.
    variance : callable
        ``mu -> (n_rows,)``, in autograd.
    constant : callable or None
        ``(y, trials) -> (n_rows,)``: what makes the kernel minus the log-likelihood, where the scale is known to be 1;
        None where the scale is estimated.
    recipe : tuple
        What it is made again from in another process.
    """

    name: str
    kernel: Callable
    saturated: Callable
    variance: Callable
    constant: Callable | None = None
    recipe: tuple = ()

    def __reduce__(self):
        return _family_again, self.recipe


def _family_again(name, parameter, is_binary):
    return replace(_FAMILIES[name](parameter, is_binary), recipe=(name, parameter, is_binary))


def _binomial_kernel(y, eta, link):
    return -(y * link.log_mean(eta) + (1.0 - y) * link.log_complement(eta))


def _binary_kernel(y, eta, link):
    # of a symmetric link: y = 1 at eta is y = 0 at -eta
    return -link.log_mean((2.0 * y - 1.0) * eta)


def _binomial_constant(y, trials):
    hits = y * trials
    return gammaln(hits + 1.0) + gammaln(trials - hits + 1.0) - gammaln(trials + 1.0)


def _binomial(parameter, is_binary):
    return Family(
        "Binomial",
        _binary_kernel if is_binary else _binomial_kernel,
        lambda y: -(xlogy(y, y) + xlogy(1.0 - y, 1.0 - y)),
        lambda mu: mu * (1.0 - mu),
        _binomial_constant,
    )


_GAUSSIAN = Family(
    "Gaussian", lambda y, eta, link: 0.5 * (y - link.mean(eta)) ** 2, np.zeros_like, lambda mu: anp.ones(mu.shape)
)
_POISSON = Family(
    "Poisson",
    lambda y, eta, link: link.mean(eta) - y * link.log_mean(eta),
    lambda y: y - xlogy(y, y),
    lambda mu: mu,
    lambda y, trials: gammaln(y + 1.0),
)
_GAMMA = Family(
    "Gamma",
    lambda y, eta, link: y / link.mean(eta) + link.log_mean(eta),
    lambda y: 1.0 + np.log(np.maximum(y, _EPS)),
    lambda mu: mu**2,
)
_INVERSE_GAUSSIAN = Family(
    "InverseGaussian",
    lambda y, eta, link: (y / link.mean(eta) - 1.0) ** 2 / (2.0 * y),
    np.zeros_like,
    lambda mu: mu**3,
)


def _negative_binomial(alpha, is_binary):
    size = 1.0 / alpha

    def constant(y, trials):
        return gammaln(size) + gammaln(y + 1.0) - gammaln(y + size) - y * np.log(alpha)

    return Family(
        "NegativeBinomial",
        lambda y, eta, link: (y + size) * anp.log1p(alpha * link.mean(eta)) - y * link.log_mean(eta),
        lambda y: (y + size) * np.log1p(alpha * y) - xlogy(y, y),
        lambda mu: mu + alpha * mu**2,
        constant,
    )


def _tweedie(p, is_binary):
    def kernel(y, eta, link):
        # mu^(2-p) / (2-p) - y mu^(1-p) / (1-p)
        if link.name == "log":
            return anp.exp((2.0 - p) * eta) / (2.0 - p) - y * anp.exp((1.0 - p) * eta) / (1.0 - p)
        mu = link.mean(eta)
        return mu ** (2.0 - p) / (2.0 - p) - y * mu ** (1.0 - p) / (1.0 - p)

    special = {0.0: _GAUSSIAN, 1.0: _POISSON, 2.0: _GAMMA}.get(p)
    if special is not None:
        return Family("Tweedie", special.kernel, special.saturated, special.variance)
    return Family("Tweedie", kernel, lambda y: -(y ** (2.0 - p)) / ((1.0 - p) * (2.0 - p)), lambda mu: mu**p)


_FAMILIES = {
    "Gaussian": lambda *_: _GAUSSIAN,
    "Binomial": _binomial,
    "Poisson": lambda *_: _POISSON,
    "Gamma": lambda *_: _GAMMA,
    "InverseGaussian": lambda *_: _INVERSE_GAUSSIAN,
    "NegativeBinomial": _negative_binomial,
    "Tweedie": _tweedie,
}
_PARAMETER = {"NegativeBinomial": "alpha", "Tweedie": "var_power"}

#: The canonical links, of which observed and expected information are equal.
CANONICAL = {
    "Gaussian": "identity",
    "Binomial": "logit",
    "Poisson": "log",
    "Gamma": "inverse_power",
    "InverseGaussian": "inverse_squared",
}


def make_family(name, y, link, parameter=None):
    """A family by its name.

    Parameters
    ----------
    name : {"Gaussian", "Binomial", "Poisson", "Gamma", "InverseGaussian", "NegativeBinomial", "Tweedie"}
    y : ndarray of shape (n_obs,)
        The outcomes; proportions where there are trials.
    link : Link
    parameter : float, default=None
        The negative binomial's alpha; the exponent of Tweedie's variance.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([2.0])
    >>> poisson = make_family("Poisson", y, LINKS["log"])
    >>> poisson.kernel(y, np.array([0.0]), LINKS["log"]) - poisson.saturated(y)  # half the deviance: 2 log 2 - (2 - 1)
    array([0.38629436])
    """
    is_binary = name == "Binomial" and link.is_symmetric and bool(np.all((y == 0.0) | (y == 1.0)))
    return _family_again(name, parameter, is_binary)


def family_like(family, y, link):
    """The family that a statsmodels family object stands for, None if there is none; see :func:`make_family`."""
    name = _name_in_statsmodels(family, "family")
    if name not in _FAMILIES:
        return None
    parameter = float(getattr(family, _PARAMETER[name])) if name in _PARAMETER else None
    return make_family(name, y, link, parameter)
