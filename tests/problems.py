"""The table of models that the tests share: each with its exact solution at any hyper.

An exact solution is a closed form, or Newton's method on formulas that are written out beside the objective (first and
second derivatives by plain autograd where these are long). Data are made by formulas, not drawn, so that the numbers
kept in ``tests/data`` belong to them on any machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import autograd
import autograd.numpy as anp
import mpmath
import numpy as np
from scipy.special import expit, ndtri

import vittles_ng as vn

__all__ = ["MODELS", "Model", "names", "normal", "solve_newton", "uniform"]


@dataclass(frozen=True)
class Model:
    """A model, its exact solution, and a step on which its series converges quickly.

    Attributes
    ----------
    name : str
    function : callable
        ``(input, hyper)`` in ``autograd.numpy``: the objective, or the estimating equation.
    exact : callable
        ``hyper (n_hyper,) -> input (n_input,)``, independent of the engine.
    hyper_val0, step : ndarray of shape (n_hyper,)
        The series along ``step`` has a radius of convergence of about 10.
    is_objective : bool
    series : callable, optional
        ``order -> (order + 1, n_input)``, the coefficients along ``step`` in closed form.
    in_vittles : bool
        Whether its numbers by vittles 0.173 are kept.
    """

    name: str
    function: Callable
    exact: Callable
    hyper_val0: np.ndarray
    step: np.ndarray
    is_objective: bool = True
    series: Callable | None = field(default=None, repr=False)
    in_vittles: bool = False

    @cached_property
    def input_val0(self):
        """The solution at ``hyper_val0``, (n_input,)."""
        return self.exact(self.hyper_val0)

    def expand(self, order, **options):
        """The engine's expansion at the base point."""
        engine = vn.ParametricSensitivityTaylorExpansion
        make = engine.optimization_objective if self.is_objective else engine
        return make(self.function, self.input_val0, self.hyper_val0, order, **options)

    @property
    def equation(self):
        """The estimating equation, by plain autograd for an objective."""
        return autograd.grad(self.function) if self.is_objective else self.function


def uniform(*shape, start=0.0):
    """Numbers spread evenly over (0, 1): the fractional parts of multiples of the golden ratio."""
    n = int(np.prod(shape))
    return ((start + np.arange(1, n + 1) * (np.sqrt(5.0) - 1.0) / 2.0) % 1.0).reshape(shape)


def normal(*shape, start=0.0):
    """Normal quantiles of :func:`uniform`."""
    return ndtri(uniform(*shape, start=start))


def solve_newton(equation, jacobian, start, hyper):
    """Solve ``equation(input, hyper) = 0`` until the Newton step stops getting smaller."""
    value, last = np.array(start, dtype=float), np.inf
    for _ in range(100):
        step = np.linalg.solve(jacobian(value, hyper), equation(value, hyper))
        size = np.max(np.abs(step))
        value = value - step
        if size < 1e-9 and size >= 0.5 * last or size == 0.0:
            return value
        last = size
    raise RuntimeError(f"Newton step {last:.1e} after 100 steps")


def _by_autograd(objective, start):
    """Exact solution of an objective by Newton with plain first and second derivatives."""
    gradient, hessian = autograd.grad(objective), autograd.hessian(objective)
    return lambda hyper: solve_newton(gradient, hessian, start, np.asarray(hyper, dtype=float))


def _design(n, p, start):
    return np.column_stack([np.ones(n), normal(n, p - 1, start=start)])


def _ridge_path():
    x, y = _design(12, 3, 0.1), normal(12, start=0.3)
    gram, moment = x.T @ x, x.T @ y
    penalty0, step = 2.0, np.array([0.8])

    def objective(b, penalty):
        return 0.5 * anp.sum((y - x @ b) ** 2) + 0.5 * penalty[0] * anp.sum(b**2)

    def series(order):
        # (A + (p + t s) I)^{-1} m = sum_k (-s t)^k (A + p I)^{-(k+1)} m
        terms = [np.linalg.solve(gram + penalty0 * np.eye(3), moment)]
        for _ in range(order):
            terms.append(np.linalg.solve(gram + penalty0 * np.eye(3), -step[0] * terms[-1]))
        return np.array(terms)

    def exact(penalty):
        return np.linalg.solve(gram + penalty[0] * np.eye(3), moment)

    return Model("ridge path", objective, exact, np.array([penalty0]), step, series=series)


def _ridge_weights():
    x, y = _design(15, 3, 0.2), normal(15, start=0.7)

    def objective(b, weights):
        return 0.5 * anp.sum(weights * (y - anp.dot(x, b)) ** 2) + 0.25 * anp.sum(b**2)

    def exact(weights):
        return np.linalg.solve((x.T * weights) @ x + 0.5 * np.eye(3), x.T @ (weights * y))

    return Model("ridge weights", objective, exact, np.ones(15), 0.3 * normal(15, start=0.45))


def _logistic():
    x = _design(30, 3, 0.15)
    y = (uniform(30, start=0.6) < expit(x @ np.array([0.2, 0.8, -0.5]))).astype(float)

    def objective(b, hyper):
        weights, penalty = hyper[:-1], hyper[-1]
        eta = anp.dot(x, b)
        return anp.sum(weights * (anp.log1p(anp.exp(eta)) - y * eta)) + 0.5 * penalty * anp.sum(b**2)

    def gradient(b, hyper):
        return x.T @ (hyper[:-1] * (expit(x @ b) - y)) + hyper[-1] * b

    def hessian(b, hyper):
        p = expit(x @ b)
        return (x.T * (hyper[:-1] * p * (1 - p))) @ x + hyper[-1] * np.eye(3)

    def exact(hyper):
        return solve_newton(gradient, hessian, np.zeros(3), np.asarray(hyper))

    hyper_val0 = np.append(np.ones(30), 1.0)
    step = 0.2 * np.append(normal(30, start=0.35), 1.0)
    return Model("logistic", objective, exact, hyper_val0, step, in_vittles=True)


def _poisson():
    x = _design(20, 3, 0.05)
    y = np.floor(4.0 * uniform(20, start=0.9))

    def objective(b, hyper):
        eta = x @ b
        return anp.sum(anp.exp(eta) - y * eta) + 0.5 * hyper[0] * anp.sum((b - hyper[1]) ** 2)

    def gradient(b, hyper):
        return x.T @ (np.exp(x @ b) - y) + hyper[0] * (b - hyper[1])

    def hessian(b, hyper):
        return (x.T * np.exp(x @ b)) @ x + hyper[0] * np.eye(3)

    def exact(hyper):
        return solve_newton(gradient, hessian, np.zeros(3), np.asarray(hyper))

    return Model("poisson", objective, exact, np.array([2.0, 0.1]), np.array([0.6, 0.2]), in_vittles=True)


def _mixture():
    y = np.concatenate([-1.5 + 0.6 * normal(12), 2.0 + 0.9 * normal(14, start=0.4)])

    def objective(theta, weights):
        # logit of the first proportion, two means, two log standard deviations
        logit, m1, m2, s1, s2 = theta[0], theta[1], theta[2], theta[3], theta[4]
        first = -anp.log1p(anp.exp(-logit)) - s1 - 0.5 * ((y - m1) * anp.exp(-s1)) ** 2
        second = -anp.log1p(anp.exp(logit)) - s2 - 0.5 * ((y - m2) * anp.exp(-s2)) ** 2
        return -anp.sum(weights * anp.logaddexp(first, second)) + 0.5 * anp.sum(theta**2)

    exact = _by_autograd(objective, [-0.1, -1.4, 1.7, -0.4, -0.1])
    return Model("mixture", objective, exact, np.ones(26), 0.15 * normal(26, start=0.8), in_vittles=True)


def _student():
    x = _design(16, 2, 0.55)
    y = x @ np.array([1.0, -0.7]) + 0.5 * normal(16, start=0.25)
    y[3] += 4.0

    def objective(theta, hyper):
        b, s = theta[:2], theta[2]
        nu = hyper[0]
        r = (y - x @ b) * anp.exp(-s)
        return anp.sum(s + 0.5 * (nu + 1.0) * anp.log1p(r**2 / nu)) + 0.5 * hyper[1] * anp.sum(b**2)

    exact = _by_autograd(objective, [1.0, -0.7, -0.7])
    return Model("student t", objective, exact, np.array([4.0, 0.5]), np.array([0.4, 0.1]), in_vittles=True)


def _net():
    x = np.linspace(-1.5, 1.5, 14)
    y = np.sin(1.7 * x) + 0.1 * normal(14, start=0.65)

    def objective(theta, hyper):
        hidden = anp.tanh(x[:, None] * theta[0:2] + theta[2:4])
        fit = anp.dot(hidden, theta[4:6]) + theta[6]
        return 0.5 * anp.sum((hyper[1] * y - fit) ** 2) + 0.5 * hyper[0] * anp.sum(theta**2)

    exact = _by_autograd(objective, [1.64, 0.38, 0.06, 0.01, 1.15, -0.62, -0.02])
    return Model("net", objective, exact, np.array([0.1, 1.0]), np.array([0.008, 0.03]), in_vittles=True)


def _coefficients(paths, order):
    """Coefficients of scalar functions of t at 0, (order + 1, n), to 30 digits."""
    with mpmath.workdps(60):
        return np.array([[float(c) for c in mpmath.taylor(path, mpmath.mpf(0), order)] for path in paths]).T


def _two_equations():
    step = np.array([0.02, -0.015])

    def equation(theta, eps):
        # sum and product of the roots of a quadratic; the Jacobian [[1, 1], [theta_1, theta_0]] is not symmetric
        return anp.array([theta[0] + theta[1] - 3.0 - eps[0], theta[0] * theta[1] - 2.0 - eps[1]])

    def root(sign, eps0, eps1, sqrt):
        total, product = 3 + eps0, 2 + eps1
        return (total + sign * sqrt(total**2 - 4 * product)) / 2

    def series(order):
        s = [mpmath.mpf(float(d)) for d in step]
        return _coefficients([lambda t, i=i: root(i, s[0] * t, s[1] * t, mpmath.sqrt) for i in (-1, 1)], order)

    def exact(eps):
        return np.array([root(sign, eps[0], eps[1], np.sqrt) for sign in (-1, 1)])

    return Model("two equations", equation, exact, np.zeros(2), step, is_objective=False, series=series)


def _lambert():
    eps0, step = np.array([np.e]), np.array([0.3])

    def series(order):
        return _coefficients([lambda t: mpmath.lambertw(mpmath.mpf(np.e) + mpmath.mpf(0.3) * t).real], order)

    def exact(eps):
        return np.array([float(mpmath.lambertw(eps[0]).real)])

    def equation(x, eps):
        return x * anp.exp(x) - eps

    return Model("lambert", equation, exact, eps0, step, is_objective=False, series=series)


def _cubic():
    def root(eps, m):
        # x^3 + x = eps: x = 2 / sqrt(3) sinh(asinh(3 sqrt(3) eps / 2) / 3)
        return 2 / m.sqrt(3) * m.sinh(m.asinh(3 * m.sqrt(3) * eps / 2) / 3)

    def series(order):
        return _coefficients([lambda t: root(2 + mpmath.mpf(0.2) * t, mpmath)], order)

    def exact(eps):
        return np.array([float(root(mpmath.mpf(float(eps[0])), mpmath))])

    def equation(x, eps):
        return x**3 + x - eps

    return Model("cubic", equation, exact, np.array([2.0]), np.array([0.2]), is_objective=False, series=series)


def _covariance(name, gaussian):
    """Covariance under weights and an inverse-Wishart-like prior: Sigma = (sum w y y^T + psi I) / (sum w + nu)."""
    y = normal(12, 2, start=0.2) @ np.array([[1.0, 0.4], [0.0, 0.8]])
    nu = 2.0

    def objective(theta, hyper):
        weights, psi = hyper[:-1], hyper[-1]
        sigma = anp.array([[theta[0], theta[1]], [theta[1], theta[2]]])
        log_det, forms, trace_inverse = gaussian(sigma, y)
        return 0.5 * (anp.sum(weights) + nu) * log_det + 0.5 * (anp.sum(weights * forms) + psi * trace_inverse)

    def exact(hyper):
        sigma = ((y.T * hyper[:-1]) @ y + hyper[-1] * np.eye(2)) / (np.sum(hyper[:-1]) + nu)
        return sigma[[0, 0, 1], [0, 1, 1]]

    return Model(name, objective, exact, np.append(np.ones(12), 1.5), 0.4 * normal(13, start=0.1))


def _by_slogdet(sigma, y):
    inverse = anp.linalg.inv(sigma)
    return anp.linalg.slogdet(sigma)[1], anp.sum(y * anp.linalg.solve(sigma, y.T).T, axis=1), anp.trace(inverse)


def _by_cholesky(sigma, y):
    factor = anp.linalg.cholesky(sigma)
    half = anp.linalg.solve(factor, y.T)
    inverse_factor = anp.linalg.solve(factor, np.eye(2))
    return 2.0 * anp.sum(anp.log(anp.diag(factor))), anp.sum(half**2, axis=0), anp.sum(inverse_factor**2)


def _instruments():
    z = _design(18, 2, 0.75)
    x = z + 0.5 * normal(18, 2, start=0.33)
    y = x @ np.array([0.5, 1.0]) + normal(18, start=0.12)

    def equation(b, weights):
        return anp.dot(z.T, weights * (y - anp.dot(x, b)))

    def exact(weights):
        return np.linalg.solve((z.T * weights) @ x, z.T @ (weights * y))

    return Model("instruments", equation, exact, np.ones(18), 0.2 * normal(18, start=0.58), is_objective=False)


MODELS = {
    model.name: model
    for model in (
        _ridge_path(),
        _ridge_weights(),
        _logistic(),
        _poisson(),
        _mixture(),
        _student(),
        _net(),
        _two_equations(),
        _lambert(),
        _cubic(),
        _covariance("covariance by slogdet", _by_slogdet),
        _covariance("covariance by cholesky", _by_cholesky),
        _instruments(),
    )
}


def names(**wanted):
    """Names of the models whose attributes have these values; a callable value is a test."""
    return [
        name
        for name, model in MODELS.items()
        if all(test(getattr(model, k)) if callable(test) else getattr(model, k) == test for k, test in wanted.items())
    ]
