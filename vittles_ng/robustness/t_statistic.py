"""The t-statistic of an estimate as a function of the weights, standard error included.

With ``a = dq/d input`` and H the Jacobian of the estimating equation, ``t = q / sqrt(s v)``, s the dispersion and

    model       v = a^T H^{-1} a
    sandwich    v = lambda^T M lambda,   lambda = H^{-T} a,   M = sum_n w_n g_n g_n^T

(clustered: ``M = sum_c g_c g_c^T`` with ``g_c`` the weighted sum in a cluster; White, Econometrica 48 (1980) 817; Liang
& Zeger, Biometrika 73 (1986) 13). Their differentials, with ``u = H^{-1} a`` and ``mu = H^{-1} M lambda``, are

    model       dv = 2 u^T da - u^T dH u
    sandwich    dv = lambda^T dM lambda + 2 mu^T da - 2 lambda^T dH mu,

where dH moves with the input (a third derivative of the objective, from the tape's coefficients of order 2) and with
each weight, by that observation's own Hessian.
"""

from dataclasses import dataclass

import autograd.numpy as anp
import numpy as np
from autograd import grad
from scipy.special import ndtri, stdtrit

from ..errors import DataError, ShapeError
from ..taylor.recorded import Recorded
from ..taylor.tracing import traced_code
from .quantities import Function, as_coefficient, mixed

__all__ = ["TQuantity", "TStatistic", "t_statistic"]

_KINDS = ("model", "sandwich")


@dataclass(frozen=True, eq=False)
class TStatistic:
    """What :func:`t_statistic` describes; bound to a jackknife where it is used."""

    coefficient: object
    standard_error: str = "model"
    groups: object = None
    dispersion: object = None
    df: float | None = None


def t_statistic(coefficient, standard_error="model", groups=None, dispersion=None, df=None):
    """The t-statistic of an estimate, with everything in it re-estimated under the weights.

    Parameters
    ----------
    coefficient : int, str or callable
        Index or name of a coefficient, or a function of the input, whose standard error is then by the delta method.
    standard_error : {"model", "sandwich"}, default="model"
        The model's own, ``sqrt(dispersion * H^{-1})`` with the observed information, or the robust one (HC0).
    groups : bool or array_like of shape (n_obs,), default=None
        Clusters of the sandwich; True for the jackknife's own groups.
    dispersion : callable, default=None
        ``dispersion(input, weights)``, such as the residual variance, written in ``autograd.numpy``; default: that of
        the jackknife (``jackknife.dispersion``) where it has one, else 1. Of the model's standard error only.
    df : float, default=None
        Degrees of freedom of the critical value, whatever is left out; default: those of the jackknife under the
        weights (``jackknife.degrees_of_freedom``; of a clustered sandwich one less than the clusters) where it has
        them, else the normal distribution's.

    Returns
    -------
    TStatistic
        To be passed as a functional.

    Raises
    ------
    ValueError
        An unknown standard error, or arguments that contradict it.

    Examples
    --------
    The mean of four numbers over its standard error, without the observation that lowers it most:

    >>> import autograd.numpy as np
    >>> import vittles_ng as vn
    >>> from vittles_ng.robustness import most_influential_set, t_statistic
    >>> y = np.array([1.0, 2.0, 3.0, -4.0])
    >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [0.5], (y,))
    >>> found = most_influential_set(mean, t_statistic(0, "sandwich"), 1, direction="up")
    >>> found.indices, round(found.refitted, 6)  # 2 / sqrt(2 / 9)
    (array([3]), 4.242641)
    """
    if standard_error not in _KINDS:
        raise ValueError(f"standard_error={standard_error!r} is not known: use one of {', '.join(map(repr, _KINDS))}.")
    if standard_error == "model" and groups is not None and groups is not False:
        raise ValueError("groups are of the sandwich: pass standard_error='sandwich' with them.")
    if standard_error == "sandwich" and dispersion is not None:
        raise ValueError("the dispersion is of the model's standard error: leave it out with the sandwich.")
    if df is not None and not 0.0 < df < np.inf:
        raise ValueError(f"df must be positive, got {df!r}.")
    return TStatistic(coefficient, standard_error, None if groups is False else groups, dispersion, df)


class TQuantity:
    """The t-statistic of a jackknife: a quantity as :class:`~vittles_ng.robustness.quantities.Coefficient` is.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    spec : TStatistic
    """

    def __init__(self, jackknife, spec):
        self._model, self._df = jackknife.model, spec.df
        self._df_of = getattr(jackknife, "degrees_of_freedom", None)
        self.estimate = as_coefficient(jackknife, spec.coefficient)
        self.name = f"t of {self.estimate.name}"
        self._is_model = spec.standard_error == "model"
        if self._is_model and not self._model.is_objective:
            raise ValueError(
                "the model's standard error needs an objective: with an estimating equation pass "
                "standard_error='sandwich'."
            )
        dispersion = getattr(jackknife, "dispersion", None) if spec.dispersion is None else spec.dispersion
        self._dispersion = Function(dispersion, self._model) if self._is_model and dispersion is not None else None
        self._clusters = None if spec.groups is None else _clusters(jackknife, spec.groups)

    def critical(self, weights, level):
        """What the t-statistic of a two-sided test at a level must exceed, under weights; infinite without freedom."""
        df = self._df
        if df is None and self._df_of is not None:
            try:
                df = self._df_of(weights) if self._clusters is None else self._n_clusters(weights) - 1.0
            except DataError:
                return np.inf
        if df is None:
            return float(ndtri(1.0 - 0.5 * level))
        return float(stdtrit(df, 1.0 - 0.5 * level)) if df > 0.0 else np.inf

    def _n_clusters(self, weights):
        return float(np.sum(np.bincount(self._clusters, weights) > 0.0))

    def value(self, fit):
        """The t-statistic at a fit; NaN where the variance is not positive."""
        parts = self._parts(fit)
        with np.errstate(all="ignore"):
            return float(self.estimate.value(fit) / np.sqrt(parts.variance * self._scale(fit)))

    def gradients(self, fit):
        """Partial derivatives in the input (n_input,) and in the weights (n_obs,)."""
        parts = self._parts(fit)
        by_input, by_weights = (self._model_gradients if self._is_model else self._sandwich_gradients)(fit, parts)
        scale = self._scale(fit)
        error = np.sqrt(parts.variance * scale)
        t = self.estimate.value(fit) / error
        relative = [by_input / parts.variance, by_weights / parts.variance]
        if self._dispersion is not None:
            relative = [r + g / scale for r, g in zip(relative, self._dispersion.gradients(fit), strict=True)]
        return [d / error - 0.5 * t * r for d, r in zip(parts.gradients, relative, strict=True)]

    def adjoint(self, fit, by_input):
        """The adjoint of the estimate."""
        return fit.solver.solve_transpose(self.estimate.gradients(fit)[0])

    def _scale(self, fit):
        return 1.0 if self._dispersion is None else self._dispersion.value(fit)

    def _parts(self, fit):
        """What the variance is made of, kept on the fit."""
        if fit.kept is None:
            fit.kept = self._new_parts(fit)
        return fit.kept

    def _new_parts(self, fit):
        gradients = self.estimate.gradients(fit)
        adjoint = fit.solver.solve_transpose(gradients[0])
        if self._is_model:
            return _Parts(gradients, adjoint, float(gradients[0] @ adjoint), None, None)
        scores = fit.scores_along(adjoint)
        weighted = fit.weights * scores
        if self._clusters is None:
            return _Parts(gradients, adjoint, float(weighted @ scores), scores, scores**2)
        sums = np.bincount(self._clusters, weighted)
        reach = sums[self._clusters]
        return _Parts(gradients, adjoint, float(sums @ sums), reach, 2.0 * reach * scores)

    def _model_gradients(self, fit, parts):
        u = parts.adjoint
        by_input, by_weights = _jacobian_change(fit, u, u)
        return 2.0 * self.estimate.hessian_product(fit, u) - by_input, -by_weights

    def _sandwich_gradients(self, fit, parts):
        adjoint, v = parts.adjoint, fit.weights * parts.reach
        mu = fit.solver.solve(_weighted_gradient(self._model, v, fit.input))
        by_input, by_weights = _jacobian_change(fit, adjoint, mu)
        through_scores = _score_change(self._model, v, adjoint, fit.input)
        by_estimate = self.estimate.hessian_product(fit, mu)
        return 2.0 * (through_scores + by_estimate - by_input), parts.direct - 2.0 * by_weights


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a variance is made of; reach and direct are of the sandwich's meat."""

    gradients: list
    adjoint: np.ndarray
    variance: float
    reach: np.ndarray | None
    direct: np.ndarray | None


def _clusters(jackknife, groups):
    if groups is True:
        if jackknife.groups is None:
            raise DataError("groups=True, but the jackknife has no groups: pass the labels.")
        groups = jackknife.groups
    groups = np.asarray(groups)
    if groups.shape != (jackknife.n_obs,):
        raise ShapeError(f"groups has shape {groups.shape}: ({jackknife.n_obs},) is needed, a label per observation.")
    return np.unique(groups, return_inverse=True)[1].ravel()


def _jacobian_change(fit, left, right):
    """Gradients of ``left^T H right`` in the input (n_input,) and in the weights (n_obs,), left and right held."""
    recorded, model = fit.problem.recorded, fit.model
    if model.is_objective:  # left^T D^2 G[right, .] is symmetric in all three
        by_input = mixed(recorded, [right, None], [left[None, :], None])[0]
    else:
        by_input = mixed(recorded, [right, None], [np.eye(right.size), None]) @ left
    by_weights = fit.own_curvature(left, right)
    if model.penalty is not None:  # which may depend on the sum of the weights; the same for every weight
        least = int(np.argmin(np.abs(by_weights)))
        unit = np.zeros((1, by_weights.size))
        unit[0, least] = 1.0
        by_weights = by_weights + (mixed(recorded, [right, None], [None, unit])[0] @ left - by_weights[least])
    return by_input, by_weights


def _weighted_gradient(model, v, flat):
    """``sum_n v_n g_n``, (n_input,)."""
    with traced_code():
        if not model.is_objective:
            return np.asarray(v @ model.contributions(np.array(flat)), dtype=np.float64)
        return np.asarray(grad(lambda x: anp.dot(v, model.contributions(x)))(np.array(flat)), dtype=np.float64)


def _score_change(model, v, direction, flat):
    """Gradient of ``sum_n v_n g_n^T direction`` in the input, (n_input,)."""
    if model.is_objective:  # the Hessian of sum_n v_n loss_n, times the direction
        recorded = Recorded(grad(lambda x: anp.dot(v, model.contributions(x))), (flat,))
        return recorded.pushed(0, direction[None, :])[0]
    with traced_code():
        return np.asarray(grad(lambda x: anp.dot(v, anp.dot(model.contributions(x), direction)))(np.array(flat)))
