"""Models with data weights, each with its exact refit written out apart from the jackknife.

Exact refits are closed forms, or Newton's method on the weighted sum with plain autograd derivatives.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import autograd
import autograd.numpy as anp
import numpy as np
from autograd.misc import flatten

import vittles_ng as vn

__all__ = ["MODELS", "Weighted", "make", "names", "ols"]


@dataclass(frozen=True)
class Weighted:
    """A model of weighted observations.

    Attributes
    ----------
    contributions : callable
        ``(input, *rows)``: losses, or rows of an estimating equation.
    start : array_like or nested
        Where Newton's method begins.
    """

    name: str
    contributions: Callable = field(repr=False)
    data: tuple = field(repr=False)
    start: object = field(repr=False)
    is_objective: bool = True
    penalty: Callable | None = field(default=None, repr=False)
    hyper: object = None
    weights0: np.ndarray | None = field(default=None, repr=False)
    groups: np.ndarray | None = field(default=None, repr=False)
    is_linear: bool = False  # a row's loss depends on one linear combination

    @property
    def n_obs(self):
        return len(self.data[0])

    @property
    def weights(self):
        """The fit's own weights."""
        return np.ones(self.n_obs) if self.weights0 is None else self.weights0

    def _equation(self, weights):
        flat0, unflatten = flatten(self.start)

        def penalised(x):
            if self.penalty is None:
                return 0.0
            n = self.penalty.__code__.co_argcount
            return self.penalty(*(unflatten(x), self.hyper, np.sum(weights))[:n])

        if self.is_objective:
            return autograd.grad(
                lambda x: anp.sum(weights * self.contributions(unflatten(x), *self.data)) + penalised(x)
            )
        return lambda x: (
            anp.dot(weights, self.contributions(unflatten(x), *self.data))
            + (0.0 if self.penalty is None else autograd.grad(penalised)(x))
        )

    def exact(self, weights, start=None):
        """The refit, flat: Newton until the step stops getting smaller."""
        equation = self._equation(np.asarray(weights, dtype=float))
        jacobian = autograd.jacobian(equation)
        value, last = flatten(self.start)[0] if start is None else np.array(start), np.inf
        for _ in range(60):
            step = np.linalg.solve(jacobian(value), equation(value))
            size = np.max(np.abs(step))
            value = value - step
            if (size < 1e-9 and size >= 0.5 * last) or size == 0.0:
                return value
            last = size
        raise RuntimeError(f"{self.name}: Newton step {last:.1e} after 60 steps")

    def fitted(self):
        """The fit, nested as ``start``."""
        return flatten(self.start)[1](self.exact(self.weights))

    def jackknife(self, order=2, **options):
        """The jackknife at the fit."""
        make_one = vn.InfinitesimalJackknife
        if not self.is_objective:
            make_one = make_one.from_estimating_equation
        given = {"weights0": self.weights0, "groups": self.groups} | options
        return make_one(self.contributions, self.fitted(), self.data, self.penalty, self.hyper, order=order, **given)

    def without(self, indices):
        """The fit's weights with those of some observations zero."""
        weights = self.weights.copy()
        weights[indices] = 0.0
        return weights


def _design(rng, n, p):
    return np.column_stack([np.ones(n), 0.7 * rng.standard_normal((n, p - 1))])


def _logistic(b, x, y):
    eta = anp.dot(x, b)
    return anp.logaddexp(0.0, eta) - y * eta


def _poisson(b, x, y):
    eta = anp.dot(x, b)
    return anp.exp(eta) - y * eta


def _curve(theta, x, y):
    return 0.5 * (y - theta[0] * anp.exp(-theta[1] * x) - theta[2]) ** 2


def _t_regression(theta, x, y):
    z = (y - anp.dot(x, theta["beta"])) / anp.exp(theta["log_scale"])
    return 2.5 * anp.log1p(z**2 / 4.0) + theta["log_scale"]


def _two_stage(theta, z, x, y):
    """x on z, and y on what that predicts: stacked."""
    fitted = theta[0] * z
    return anp.stack([z * (x - fitted), fitted * (y - theta[1] * fitted)], axis=1)


def _instruments(theta, z, x, y):
    return z * (y - anp.dot(x, theta))[:, None]


def ols(n=12, p=3, seed=0):
    """Least squares: x, y, coefficients, residuals and leverages."""
    rng = np.random.default_rng(seed)
    x, y = _design(rng, n, p), rng.standard_normal(n)
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    leverage = np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x)
    return x, y, beta, y - x @ beta, leverage


def _make():
    rng = np.random.default_rng(11)
    n = 40
    x = _design(rng, n, 3)
    labels = (rng.random(n) < 1.0 / (1.0 + np.exp(-x @ [0.3, 1.0, -0.5]))).astype(float)
    counts = rng.poisson(np.exp(x @ [0.8, 0.5, -0.3])).astype(float)
    weights = rng.uniform(0.5, 2.0, n)
    weights[7] = 0.0
    groups = rng.permutation(np.repeat(["d", "a", "c", "b", "e", "f", "g", "h", "i", "j"], 4))
    t = np.linspace(0.0, 3.0, n)
    decay = 2.0 * np.exp(-1.1 * t) + 0.5 + 0.1 * rng.standard_normal(n)
    z = 1.0 + rng.standard_normal(n)
    endogenous = 0.8 * z + 0.3 * rng.standard_normal(n)
    outcome = 1.5 * endogenous + 0.3 * rng.standard_normal(n)
    pair = np.column_stack([np.ones(n), endogenous])
    ridge = {"penalty": lambda b: 0.5 * anp.sum(b**2)}
    shared = {
        "penalty": lambda b, s, total: 0.5 * s * total * anp.sum(b**2) + 0.1 * anp.sum(b**4) / total,
        "hyper": 0.05,
    }
    zero = np.zeros(3)
    heavy = x @ [0.5, 1.0, -1.0] + 0.4 * rng.standard_t(4, n)
    nested = {"beta": np.array([0.5, 1.0, -1.0]), "log_scale": np.log(0.4)}
    return [
        Weighted("logistic", _logistic, (x, labels), zero, is_linear=True),
        Weighted("logistic, ridge", _logistic, (x, labels), zero, **ridge, is_linear=True),
        Weighted("logistic, hyper", _logistic, (x, labels), zero, penalty=lambda b, s: s * anp.sum(b**4),
                 hyper=0.2, groups=groups, is_linear=True),
        Weighted("logistic, total", _logistic, (x, labels), zero, **shared, weights0=weights, is_linear=True),
        Weighted("poisson", _poisson, (x, counts), zero, weights0=weights, is_linear=True),
        Weighted("poisson, groups", _poisson, (x, counts), zero, **shared, groups=groups, is_linear=True),
        Weighted("curve", _curve, (t, decay), np.array([2.0, 1.0, 0.5])),
        Weighted("curve, total", _curve, (t, decay), np.array([2.0, 1.0, 0.5]), **shared, weights0=weights),
        Weighted("t regression", _t_regression, (x, heavy), nested, groups=groups),
        Weighted("two stage", _two_stage, (z, endogenous, outcome), np.array([0.8, 1.5]), False),
        Weighted("instruments", _instruments, (np.column_stack([np.ones(n), z]), pair, outcome), np.zeros(2), False,
                 **shared, weights0=weights),
    ]  # fmt: skip


MODELS = _make()
names = [model.name for model in MODELS]


def make(name):
    """The model of a name."""
    return MODELS[names.index(name)]
