"""Models with linear predictors, as the jackknife needs them: the rows, their loss, and the scale under weights.

Each has ``data`` (rows, n_obs first), ``loss(input, *rows)``, and

- ``predictors(input)``: an array, linear in the input, whose size does not depend on the units of the covariates;
- ``n_at_edge(input)``: how many fitted means are as good as at the end of their range, as on separable data;
- ``has_tail``: whether that range ends at infinite predictors only.
"""

import autograd.numpy as anp
import numpy as np
from autograd import elementwise_grad
from autograd.scipy.special import gammaln, logsumexp
from scipy.special import gammaln as plain_gammaln

from ..errors import DataError
from ..taylor.tracing import traced_code

__all__ = ["Counts", "GeneralisedLinear", "Multinomial"]

#: A mean closer than this to the end of its range, relative to the mean outcome of counts, is at the edge.
_EDGE = 1e-6


class _GeneralisedLinearLoss:
    """Losses of rows, (n_rows,); without the data, so that it can be sent to another process."""

    def __init__(self, family, link, extras):
        self.family, self.link, self.extras = family, link, extras

    def __call__(self, value, x, y, *extras):
        rows = dict(zip(self.extras, extras, strict=True))
        eta = anp.dot(x, value)
        if "offset" in rows:
            eta = eta + rows["offset"]
        losses = self.family.kernel(y, eta, self.link)
        if "weight" in rows:
            losses = rows["weight"] * losses
        return losses + rows["constant"] if "constant" in rows else losses


class GeneralisedLinear:
    """A generalised linear model; the losses are minus the log-likelihood, or half the deviance where there is a scale.

    Parameters
    ----------
    x : ndarray of shape (n_obs, n_input)
    y : ndarray of shape (n_obs,)
        Proportions where there are trials.
    family : Family
    link : Link
    offset : float or ndarray of shape (n_obs,), default=0.0
    frequency : ndarray of shape (n_obs,), default=None
        How many equal observations a row stands for.
    precision : ndarray of shape (n_obs,), default=None
        Divides the variance.
    trials : ndarray of shape (n_obs,), default=None
        Of a binomial proportion.
    """

    def __init__(self, x, y, family, link, offset=0.0, frequency=None, precision=None, trials=None):
        ones = np.ones(len(y))
        self.x, self.y, self.family, self.link = x, y, family, link
        self.frequency = ones if frequency is None else np.asarray(frequency, dtype=float)
        repeated = self.frequency if precision is None else self.frequency * np.asarray(precision, dtype=float)
        trials = ones if trials is None else np.asarray(trials, dtype=float)
        self.weight = repeated * trials
        self.offset = np.broadcast_to(np.asarray(offset, dtype=float), y.shape)
        with np.errstate(all="ignore"):
            if family.constant is None:
                self.constant = -self.weight * family.saturated(y)
            else:
                self.constant = repeated * family.constant(y, trials)
        self.has_tail = link.has_tail
        # rows that would change nothing are left out of the data and of every pass over it
        rows = {"offset": (self.offset, 0.0), "weight": (self.weight, 1.0), "constant": (self.constant, 0.0)}
        extras = {name: row for name, (row, neutral) in rows.items() if np.any(row != neutral)}
        self.data = (x, y, *extras.values())
        self.loss = _GeneralisedLinearLoss(family, link, tuple(extras))

    def predictors(self, value):
        """``x @ input``, (n_obs,)."""
        return self.x @ value

    def mean(self, value):
        """Fitted means, (n_obs,), in autograd."""
        return self.link.mean(anp.dot(self.x, value) + self.offset)

    def n_at_edge(self, value):
        """How many fitted means are at the end of their range."""
        with np.errstate(all="ignore"):
            mean = self.mean(value)
            room = (
                np.minimum(mean, 1.0 - mean) if self.family.name == "Binomial" else mean / max(np.mean(self.y), _EDGE)
            )
        return int(np.sum(~(room > _EDGE)))

    def pearson_dispersion(self, value, weights):
        """``sum_n w_n (y_n - mu_n)^2 / V(mu_n) / (sum_n w_n - n_input)``; of input and weights, in autograd."""
        mean = self.mean(value)
        squares = (self.y - mean) ** 2 / self.family.variance(mean)
        return anp.sum(weights * (self.weight * squares)) / self.degrees_of_freedom(weights)

    def deviance_dispersion(self, value, weights):
        """The deviance in place of Pearson's statistic."""
        kernel = self.family.kernel(self.y, anp.dot(self.x, value) + self.offset, self.link)
        halves = self.weight * (kernel - self.family.saturated(self.y))
        return 2.0 * anp.sum(weights * halves) / self.degrees_of_freedom(weights)

    def expected_information(self, value, weights):
        """``sum_n w_n mu'(eta_n)^2 / V(mu_n) x_n x_n^T`` at scale 1, (n_input, n_input), in autograd."""
        eta = anp.dot(self.x, value) + self.offset
        with traced_code():
            slope = elementwise_grad(self.link.mean)(eta)
        each = weights * (self.weight * slope**2 / self.family.variance(self.link.mean(eta)))
        return anp.dot(self.x.T, each[:, None] * self.x)

    def degrees_of_freedom(self, weights):
        """``sum_n w_n frequency_n - n_input``, in autograd."""
        left = anp.sum(weights * self.frequency) - self.x.shape[1]
        if not left > 0.0:
            raise DataError(
                f"no degrees of freedom are left for the scale: the weights sum to {left + self.x.shape[1]:.6g} for "
                f"{self.x.shape[1]} parameters; leave out fewer observations, or fit with a known scale."
            )
        return left


class _CountsLoss:
    """Losses of rows, (n_rows,): minus the log-likelihood."""

    def __init__(self, p):
        self.p = p

    def __call__(self, value, x, y, constant, *offset):
        alpha = value[-1]
        eta = anp.dot(x, value[:-1])
        if offset:
            eta = eta + offset[0]
        size = (anp.exp((2.0 - self.p) * eta) if self.p != 2.0 else anp.ones(len(y))) / alpha
        log_ratio = anp.log(alpha) + ((self.p - 1.0) * eta if self.p != 1.0 else anp.zeros(len(y)))
        return constant + gammaln(size) - gammaln(y + size) + (y + size) * anp.log1p(anp.exp(log_ratio)) - y * log_ratio


class Counts:
    """Negative binomial regression with its heterogeneity alpha as the last element of the input.

    The mean is ``mu = exp(x @ beta + offset)``, the variance ``mu + alpha mu^p``: p = 2 is nb2, p = 1 nb1. With
    ``size = mu^(2-p) / alpha`` the likelihood is ``Gamma(y + size) / (Gamma(size) y!) r^y / (1 + r)^(y + size)``,
    ``r = mu / size`` (Greene, Economics Letters 99 (2008) 585).

    Parameters
    ----------
    x : ndarray of shape (n_obs, n_input - 1)
    y : ndarray of shape (n_obs,)
    p : float
    offset : float or ndarray of shape (n_obs,)
    """

    has_tail = True

    def __init__(self, x, y, p, offset):
        self.x, self.y, self.loss = x, y, _CountsLoss(float(p))
        offset = np.broadcast_to(np.asarray(offset, dtype=float), y.shape)
        constant = plain_gammaln(y + 1.0)
        self.data = (x, y, constant, offset) if np.any(offset != 0.0) else (x, y, constant)

    def predictors(self, value):
        """``x @ beta`` and alpha, (n_obs + 1,)."""
        return np.append(self.x @ value[:-1], value[-1])

    def n_at_edge(self, value):
        """How many fitted means are as good as zero."""
        mean = np.exp(self.x @ value[:-1] + (self.data[3] if len(self.data) == 4 else 0.0))
        return int(np.sum(mean < _EDGE * np.mean(self.y)))


def _multinomial_loss(value, x, chosen):
    """Losses of rows, (n_rows,): minus the log-likelihood."""
    eta = anp.dot(x, _coefficients(value, x.shape[1]).T)
    # log sum_j exp(eta_j - eta_chosen); the chosen class's own term is a constant zero, so that its gradient, minus
    # the sum of the others' probabilities, does not cancel where these are tiny
    return logsumexp((1.0 - chosen) * (eta - anp.sum(chosen * eta, axis=1, keepdims=True)), axis=1)


class Multinomial:
    """Multinomial logistic regression; the input is the coefficients of classes 1, 2, ..., one class after another.

    Parameters
    ----------
    x : ndarray of shape (n_obs, n_covariates)
    chosen : ndarray of shape (n_obs, n_classes)
        1 at the class observed, 0 elsewhere; class 0 is the reference.
    """

    has_tail = True

    def __init__(self, x, chosen):
        self.x, self.chosen = x, chosen
        self.data, self.loss = (x, chosen), _multinomial_loss

    def predictors(self, value):
        """``x @ beta_j``, (n_obs, n_classes)."""
        return self.x @ _coefficients(value, self.x.shape[1]).T

    def n_at_edge(self, value):
        """How many observations were all but certain."""
        return int(np.sum(self.loss(value, self.x, self.chosen) < _EDGE))


def _coefficients(value, n_covariates):
    """One row of coefficients a class, those of class 0 zero."""
    return anp.concatenate([anp.zeros((1, n_covariates)), anp.reshape(value, (-1, n_covariates))])
