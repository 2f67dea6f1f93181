"""Rules of the multivariate densities of ``autograd.scipy.stats``: dirichlet and multivariate_normal.

The covariance matrix of the normal must be symmetric at the base point; around it, it is read as its symmetric part
``(C + C^T) / 2``, and its cotangent is symmetric too, so that series and gradient agree along any path. autograd's own
gradient holds for a symmetric matrix only.
"""

import math

import autograd.numpy as anp
import autograd.scipy.special as asp
import autograd.scipy.stats as ast
import numpy as np
from autograd.numpy.numpy_vjps import unbroadcast

from ..errors import MissingRuleError, NotSymmetricError, ShapeError
from .primitives import isbox
from .rules import Expansion, defrule
from .rules_special import from_logarithm

_LOG_2PI = math.log(2.0 * math.pi)


def _enter(primitive, log_density, log_vjp, is_log):
    """A log-density, or its density: ``y_0 exp(log y - log y_0)``, with cotangents y times those of log y."""

    def fun(value, *args, **kwargs):
        log_value = log_density(np.shape(value), *args, **kwargs)
        return log_value if is_log else from_logarithm(value, log_value)

    def vjp(argnums, ans, args, kwargs):
        return lambda g: tuple(log_vjp(g if is_log else g * ans, argnums, *args, **kwargs))

    defrule(primitive, lambda call: Expansion(fun), vjp=vjp)


# ---- dirichlet: log f = sum (alpha_i - 1) log x_i - sum log Gamma(alpha_i) + log Gamma(sum alpha) ----


def _columns(x, alpha):
    """alpha against the leading axis of x."""
    if np.shape(x)[0] != np.shape(alpha)[0]:
        raise ShapeError(
            f"dirichlet: x has {np.shape(x)[0]} entries and alpha {np.shape(alpha)[0]}: give x its last entry too."
        )
    return anp.reshape(alpha, np.shape(alpha) + (1,) * (np.ndim(x) - 1))


def _exponents(alpha, x):
    """alpha - 1 and log x, where a constant exponent 0 leaves x = 0 out."""
    if isbox(alpha) or not np.any(np.asarray(alpha) == 1.0):
        return alpha - 1.0, x
    return alpha - 1.0, anp.where(np.asarray(alpha) == 1.0, 1.0, x)


def _dirichlet(shape, x, alpha):
    exponent, base = _exponents(_columns(x, alpha), x)
    return anp.sum(exponent * anp.log(base), axis=0) - anp.sum(asp.gammaln(alpha)) + asp.gammaln(anp.sum(alpha))


def _dirichlet_vjp(g, argnums, x, alpha):
    for i in argnums:
        if i == 0:
            exponent, base = _exponents(_columns(x, alpha), x)
            yield g * exponent / base
        else:
            w = asp.psi(anp.sum(alpha)) - asp.psi(_columns(x, alpha)) + anp.log(x)
            yield unbroadcast(anp.reshape(g * w, (np.shape(alpha)[0], -1)).sum(axis=1), anp.metadata(alpha))


_enter(ast.dirichlet.logpdf, _dirichlet, _dirichlet_vjp, True)
_enter(ast.dirichlet.pdf, _dirichlet, _dirichlet_vjp, False)


# ---- multivariate_normal: log f = -(d log 2 pi + log det C + (x - m)^T C^-1 (x - m)) / 2 ----


def _matrix(cov, dim):
    """The covariance (dim, dim) of a scalar, a diagonal or a matrix, symmetric."""
    if np.ndim(cov) == 0:
        return cov * np.eye(dim)
    if np.ndim(cov) == 1:
        return anp.diag(cov)
    difference = anp.isclose(cov, anp.transpose(cov), rtol=1e-8, atol=0.0)
    if not np.all(difference):
        raise NotSymmetricError(
            f"multivariate_normal: {int(np.sum(~difference)) // 2} pairs of entries of cov differ by more than 1e-8: "
            "give a symmetric matrix (SciPy reads its lower triangle only)."
        )
    return 0.5 * (cov + anp.transpose(cov))


def _parts(x, mean=None, cov=1.0, allow_singular=False):
    """``x - mean`` as (n, d), the covariance (d, d) and ``C^-1 (x - mean)`` as (n, d)."""
    if allow_singular:
        raise MissingRuleError(
            "multivariate_normal with allow_singular=True has no Taylor rule: the density lies on a subspace that "
            "moves with cov. Use a non-singular covariance of fewer variables."
        )
    mean = 0.0 if mean is None else mean
    dim = max(np.size(mean), np.shape(cov)[0] if np.ndim(cov) else 1)
    diff = anp.reshape(x, (-1, dim)) - anp.reshape(mean, (-1,))
    matrix = _matrix(cov, dim)
    return diff, matrix, anp.transpose(anp.linalg.solve(matrix, anp.transpose(diff)))


def _normal(shape, *args, **kwargs):
    diff, matrix, solved = _parts(*args, **kwargs)
    quadratic = anp.reshape(anp.sum(diff * solved, axis=1), shape)
    return -0.5 * (quadratic + anp.linalg.slogdet(matrix)[1] + len(matrix) * _LOG_2PI)


def _cov_cotangent(matrix_cotangent, cov):
    """From the symmetric cotangent of the matrix to that of cov as it was given."""
    if np.ndim(cov) == 2:
        return matrix_cotangent
    diagonal = anp.diag(matrix_cotangent)
    return diagonal if np.ndim(cov) == 1 else anp.sum(diagonal)


def _normal_vjp(g, argnums, *args, **kwargs):
    """d/dm = C^-1 (x - m) = -d/dx,  d/dC = (C^-1 (x - m) (x - m)^T C^-1 - C^-1) / 2."""
    diff, matrix, solved = _parts(*args, **kwargs)
    rows = anp.reshape(g, (-1, 1)) * solved
    for i in argnums:
        if i == 0:
            yield anp.reshape(-rows, np.shape(args[0]))
        elif i == 1:
            yield anp.reshape(anp.sum(rows, axis=0), np.shape(args[1]))
        else:
            inverse = anp.linalg.inv(matrix)
            symmetric = 0.5 * (anp.dot(anp.transpose(rows), solved) - anp.sum(g) * inverse)
            yield _cov_cotangent(0.5 * (symmetric + anp.transpose(symmetric)), args[2])


_enter(ast.multivariate_normal.logpdf, _normal, _normal_vjp, True)
_enter(ast.multivariate_normal.pdf, _normal, _normal_vjp, False)


def _entropy_matrix(mean, cov):
    return _matrix(cov, max(np.size(mean), np.shape(cov)[0] if np.ndim(cov) else 1))


def _entropy(value, mean=None, cov=1.0):
    """(d (1 + log 2 pi) + log det C) / 2, whatever the mean."""
    matrix = _entropy_matrix(mean, cov)
    return 0.5 * (anp.linalg.slogdet(matrix)[1] + len(matrix) * (1.0 + _LOG_2PI))


def _entropy_vjp(argnums, ans, args, kwargs):
    def to(i, g):
        if i == 0:
            return np.zeros(np.shape(args[0]))
        inverse = anp.linalg.inv(_entropy_matrix(args[0], args[1]))
        return _cov_cotangent(0.5 * g * inverse, args[1])

    return lambda g: tuple(to(i, g) for i in argnums)


defrule(ast.multivariate_normal.entropy, lambda call: Expansion(_entropy), vjp=_entropy_vjp)
