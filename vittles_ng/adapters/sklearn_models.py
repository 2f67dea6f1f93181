"""Models with linear predictors and a ridge penalty, as scikit-learn writes them: rows, losses and coefficients.

Each has ``data`` (rows, n_obs first), ``loss(input, *rows)``, ``factors`` (n_input,), what multiplies the squares of
the input in the penalty, ``coefficients(input) -> (coef, intercept)``, and what :mod:`vittles_ng.adapters.checks` asks
for: ``x``, ``predictors``, ``n_at_edge``, ``has_tail``.
"""

import autograd.numpy as anp
import numpy as np
import scipy.sparse
from autograd.scipy.special import logsumexp

from ..errors import DataError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..taylor.rules_sparse import sparse_dot

__all__ = ["Design", "GeneralisedLinear", "Multinomial", "ridge"]

#: A mean this close to the end of its range, relative to the mean outcome of counts, is at the edge.
_EDGE = 1e-6
#: A sparse matrix that is denser than this is kept dense.
_DENSE = 0.1


class Design:
    """The covariates of all observations, after a column of ones where there is an intercept.

    Sparse rows are not data of the jackknife, which are arrays: their numbers are.

    Parameters
    ----------
    x : ndarray or sparse matrix of shape (n_obs, n_features)
    fit_intercept : bool
    """

    def __init__(self, x, fit_intercept):
        self.n_features, self.fit_intercept = x.shape[1], bool(fit_intercept)
        n, self.was_sparse = x.shape[0], scipy.sparse.issparse(x)
        if scipy.sparse.issparse(x) and x.nnz > _DENSE * n * x.shape[1]:
            what = f"the dense covariates of {n} observations ({x.nnz} of {n * x.shape[1]} are not zero)"
            check_size(8 * n * x.shape[1], what, memory_limit(), OF_MEMORY, "use fewer observations or features")
            x = x.toarray()
        self.is_sparse = scipy.sparse.issparse(x)
        if self.is_sparse:
            x = scipy.sparse.csr_array(x)
            self.matrix = scipy.sparse.hstack([np.ones((n, 1)), x], format="csr") if fit_intercept else x
        else:
            self.matrix = np.column_stack([np.ones(n), x]) if fit_intercept else x
        self.rows = np.arange(n) if self.is_sparse else self.matrix

    def dot(self, rows, value):
        """Some rows of ``data`` times the coefficients, (n_rows, ...), in autograd."""
        if not self.is_sparse:
            return anp.dot(rows, value)
        is_all = len(rows) == len(self.rows) and np.array_equal(rows, self.rows)
        return sparse_dot(self.matrix if is_all else self.matrix[rows], value)


class GeneralisedLinear:
    """One linear predictor; the losses are half the deviance, of a binary outcome minus the log-likelihood.

    Parameters
    ----------
    design : Design
    y : ndarray of shape (n_obs,)
    family : Family
    link : Link
    constant : float or ndarray of shape (n_obs,), default=0.0
        Added to the family's kernel.
    multiplier : ndarray of shape (n_obs,), default=None
        Multiplies the losses.
    of_intercept : float, default=0.0
        The share of the intercept's square in the penalty.
    is_penalised : bool, default=False
        Whether the fit was.
    """

    def __init__(self, design, y, family, link, constant=0.0, multiplier=None, of_intercept=0.0, is_penalised=False):
        self.design, self.y, self.family, self.link = design, y, family, link
        self.x = design.rows
        self.has_tail = link.has_tail and not is_penalised
        self.factors = np.ones(design.matrix.shape[1])
        if design.fit_intercept:
            self.factors[0] = of_intercept
        constant = np.broadcast_to(constant, y.shape)
        self._has = [np.any(constant != 0.0), multiplier is not None]
        self.data = (self.x, y, *([constant] if self._has[0] else []), *([multiplier] if self._has[1] else []))

    def loss(self, value, rows, y, *extras):
        """Losses of rows, (n_rows,)."""
        losses = self.family.kernel(y, self.design.dot(rows, value), self.link)
        if self._has[0]:
            losses = losses + extras[0]
        return extras[-1] * losses if self._has[1] else losses

    def coefficients(self, value):
        """``coef`` (..., n_features) and ``intercept`` (...,) of flat inputs (..., n_input)."""
        if self.design.fit_intercept:
            return value[..., 1:], value[..., 0]
        return value, anp.zeros(anp.shape(value)[:-1])

    def start(self, coef, intercept):
        """The input of a fit."""
        return np.append(intercept, coef) if self.design.fit_intercept else np.array(coef, dtype=float)

    def names(self, features):
        """Of the input."""
        return ["intercept", *features] if self.design.fit_intercept else list(features)

    def predictors(self, value):
        """Linear predictors, (n_obs,)."""
        return self.design.matrix @ value

    def mean(self, value):
        """Fitted means, (n_obs,), in autograd."""
        return self.link.mean(self.design.dot(self.design.rows, value))

    def n_at_edge(self, value):
        """How many fitted means are at the end of their range."""
        with np.errstate(all="ignore"):
            mean = self.mean(value)
            is_binary = self.family.name == "Binomial"
            room = np.minimum(mean, 1.0 - mean) if is_binary else mean / max(np.mean(self.y), _EDGE)
        return int(np.sum(~(room > _EDGE)))

    def dispersion(self, value, weights):
        """``sum_n w_n (y_n - mu_n)^2 / V(mu_n) / (sum_n w_n - n_input)``; of input and weights, in autograd."""
        mean, k = self.mean(value), len(self.factors)
        left = anp.sum(weights) - k
        if not left > 0.0:
            raise DataError(
                f"no degrees of freedom are left for the scale: the weights sum to {left + k:.6g} for {k} parameters; "
                "leave out fewer observations, or use the sandwich's standard errors."
            )
        return anp.sum(weights * ((self.y - mean) ** 2 / self.family.variance(mean))) / left


class Multinomial:
    """Multinomial logistic regression; the input is the coefficients of one class after another.

    Adding the same to the coefficients of all classes changes no probability. Without a penalty all coefficients of the
    first class are zero and no part of the input; with one only its intercept is, because the intercepts are not
    penalised.

    Parameters
    ----------
    design : Design
    chosen : ndarray of shape (n_obs, n_classes)
        1 at the class observed, 0 elsewhere.
    classes : sequence
        Their labels.
    is_penalised : bool
    multiplier : ndarray of shape (n_obs,), default=None
        Multiplies the losses.
    """

    def __init__(self, design, chosen, classes, is_penalised, multiplier=None):
        self.design, self.chosen, self.classes = design, chosen, classes
        self.x = design.rows
        self.has_tail, self._is_penalised = not is_penalised, is_penalised
        self._shape = (len(classes), design.matrix.shape[1])
        self._n_fixed = int(design.fit_intercept) if is_penalised else self._shape[1]
        factors = np.ones(self._shape)
        if design.fit_intercept:
            factors[:, 0] = 0.0
        self.factors = factors.ravel()[self._n_fixed :]
        self.data = (self.x, chosen) if multiplier is None else (self.x, chosen, multiplier)

    def loss(self, value, rows, chosen, *multiplier):
        """Losses of rows, (n_rows,): minus the log-likelihood."""
        eta = self.design.dot(rows, anp.transpose(self._matrix(value)))
        # log sum_j exp(eta_j - eta_chosen); the chosen class's own term is a constant zero, so that its gradient, minus
        # the sum of the others' probabilities, does not cancel where these are tiny
        losses = logsumexp((1.0 - chosen) * (eta - anp.sum(chosen * eta, axis=1, keepdims=True)), axis=1)
        return multiplier[0] * losses if multiplier else losses

    def _matrix(self, value):
        """All coefficients, the fixed ones included, (..., n_classes, n_columns)."""
        batch = anp.shape(value)[:-1]
        full = anp.concatenate([anp.zeros((*batch, self._n_fixed)), value], axis=-1)
        return anp.reshape(full, (*batch, *self._shape))

    def coefficients(self, value):
        """``coef`` (..., n_classes, n_features) and ``intercept`` (..., n_classes), summing to zero over classes."""
        full = self._matrix(value)
        full = full - anp.mean(full, axis=-2, keepdims=True)
        if self.design.fit_intercept:
            return full[..., 1:], full[..., 0]
        return full, anp.zeros(anp.shape(full)[:-1])

    def start(self, coef, intercept):
        """The input of a fit."""
        if self.design.fit_intercept:
            coef = np.column_stack([intercept - intercept[0], coef])
        if not self._is_penalised:
            coef = coef - coef[0]
        return np.ravel(coef)[self._n_fixed :].astype(float)

    @property
    def note(self):
        """What is no part of the input."""
        what = "intercept is" if self._is_penalised else "coefficients are"
        return f"the {what} relative to those of class {self.classes[0]}" if self._n_fixed else None

    def names(self, features):
        """Of the input."""
        columns = ["intercept", *features] if self.design.fit_intercept else features
        return [f"{label}:{column}" for label in self.classes for column in columns][self._n_fixed :]

    def predictors(self, value):
        """Linear predictors, (n_obs, n_classes)."""
        return self.design.matrix @ self._matrix(value).T

    def n_at_edge(self, value):
        """How many observations were all but certain."""
        return int(np.sum(self.loss(value, *self.data) < _EDGE))


def ridge(factors, is_averaged):
    """The penalty ``strength / 2 sum_i factors_i input_i^2``, where losses are averaged times the sum of the weights.

    Averaged losses, ``sum_n w_n loss_n / sum_n w_n + penalty``, have the minimum of ``sum_n w_n loss_n + sum_n w_n
    penalty``.
    """

    def penalty(value, strength):
        return 0.5 * strength * anp.sum(factors * value**2)

    def averaged(value, strength, total_weight):
        return total_weight * penalty(value, strength)

    return averaged if is_averaged else penalty
