"""The table of refits that the verdicts are measured on: ten models, lines in their hypers, and the exact solutions.

An exact solution is the root reached from the base point by small steps in the hyper, each solved by damped Newton with
plain autograd derivatives: the root on the same branch, by code that shares nothing with the engine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import autograd
import autograd.numpy as anp
import numpy as np
from problems import normal, uniform
from scipy.special import expit

import vittles_ng as vn

__all__ = ["TRUST_MODELS", "Case", "TrustModel", "cases"]

ORDERS = (2, 4, 6)
LENGTHS = (0.1, 0.25, 0.5, 0.7, 0.85, 1.0)
#: Parts that the way to the longest step is cut into; every length is a multiple of one part.
N_PARTS = 20


@dataclass(frozen=True)
class TrustModel:
    """A model and the lines in its hyper.

    Attributes
    ----------
    name : str
    function : callable
        ``(input, hyper)``, an objective or an estimating equation.
    start : ndarray of shape (n_input,)
        Near the base point's input.
    hyper_val0 : ndarray of shape (n_hyper,)
    lines : ndarray of shape (n_lines, n_hyper)
        The longest step of each line.
    is_objective : bool
    """

    name: str
    function: Callable = field(repr=False)
    start: np.ndarray = field(repr=False)
    hyper_val0: np.ndarray = field(repr=False)
    lines: np.ndarray = field(repr=False)
    is_objective: bool = True

    @cached_property
    def equation(self):
        """The estimating equation by plain autograd."""
        return autograd.grad(self.function) if self.is_objective else self.function

    @cached_property
    def jacobian(self):
        """Its Jacobian in the input by plain autograd."""
        return autograd.jacobian(self.equation)

    def newton_step(self, value, hyper):
        """The Newton step at a point."""
        return np.linalg.solve(self.jacobian(value, hyper), self.equation(value, hyper))

    def solve(self, start, hyper):
        """Damped Newton, the Jacobian kept while it serves, until the step stops getting smaller."""
        value, last, inverse = np.array(start, dtype=float), np.inf, None
        residual = self.equation(value, hyper)
        for _ in range(200):
            if inverse is None:
                inverse = np.linalg.inv(self.jacobian(value, hyper))
            step = inverse @ residual
            size = np.max(np.abs(step))
            if size == 0.0 or (size < 1e-10 and size >= 0.5 * last):
                return value
            if size > 0.2 * last:
                inverse = None
            last, t = size, 1.0
            norm = np.linalg.norm(residual)
            residual = self.equation(value - step, hyper)
            while t > 1e-3 and not np.linalg.norm(residual) < max(norm, 1e-9):
                t, inverse = t / 2.0, None
                residual = self.equation(value - t * step, hyper)
            value = value - t * step
        raise RuntimeError(f"{self.name}: Newton step {size:.1e} after 200 steps")

    @cached_property
    def input_val0(self):
        """The solution at the base point, (n_input,)."""
        return self.solve(self.start, self.hyper_val0)

    @cached_property
    def expansion(self):
        """The engine's expansion to the highest order of the table."""
        engine = vn.ParametricSensitivityTaylorExpansion
        make = engine.optimization_objective if self.is_objective else engine
        return make(self.function, self.input_val0, self.hyper_val0, max(ORDERS))

    def exact_along(self, line):
        """Exact solutions at the lengths of a line, (n_lengths, n_input)."""
        value, found = self.input_val0, []
        for part in range(1, N_PARTS + 1):
            value = self.solve(value, self.hyper_val0 + part / N_PARTS * line)
            if np.any(np.isclose(LENGTHS, part / N_PARTS)):
                found.append(value)
        return np.array(found)


@dataclass(frozen=True)
class Case:
    """One refit of the table."""

    model: TrustModel
    line: int
    length: float
    order: int
    new_hyper: np.ndarray = field(repr=False)
    exact: np.ndarray = field(repr=False)


def _design(n, p, start):
    return np.column_stack([np.ones(n), normal(n, p - 1, start=start)])


def _counts(n, start):
    """Numbers of inclusions in a resample of n, minus one: a bootstrap step of the weights."""
    drawn = np.floor(n * uniform(n, start=start)).astype(int)
    mixed = (drawn * drawn + 7 * drawn + np.arange(n) // 3) % n
    return np.bincount(mixed, minlength=n) - 1.0


def _left_out(n, which):
    step = np.zeros(n)
    step[list(which)] = -1.0
    return step


def _poisson():
    x = _design(40, 4, 0.05)
    y = np.floor(3.0 * uniform(40, start=0.9) * np.exp(0.4 * x[:, 1]))

    def objective(b, hyper):
        eta = anp.dot(x, b)
        return anp.sum(anp.exp(eta) - y * eta) + 0.5 * hyper[0] * anp.sum((b - hyper[1]) ** 2)

    lines = np.array([[4.0, 0.0], [-1.8, 0.0], [1.0, 1.0], [12.0, 0.5]])
    return TrustModel("poisson with ridge", objective, np.zeros(4), np.array([2.0, 0.1]), lines)


def _logistic():
    x = _design(60, 4, 0.15)
    y = (uniform(60, start=0.6) < expit(x @ np.array([0.2, 0.9, -0.6, 0.3]))).astype(float)

    def objective(b, weights):
        eta = anp.dot(x, b)
        return anp.sum(weights * (anp.logaddexp(0.0, eta) - y * eta)) + 0.1 * anp.sum(b**2)

    lines = np.array([_counts(60, 0.3), _counts(60, 0.71), _left_out(60, range(12)), _left_out(60, [7])])
    return TrustModel("logistic with weights", objective, np.zeros(4), np.ones(60), lines)


def _mixture():
    y = np.concatenate([-1.5 + 0.6 * normal(18), 1.6 + 0.9 * normal(22, start=0.4)])

    def objective(theta, weights):
        logit, m1, m2, s1, s2 = theta[0], theta[1], theta[2], theta[3], theta[4]
        first = -anp.logaddexp(0.0, -logit) - s1 - 0.5 * ((y - m1) * anp.exp(-s1)) ** 2
        second = -anp.logaddexp(0.0, logit) - s2 - 0.5 * ((y - m2) * anp.exp(-s2)) ** 2
        return -anp.sum(weights * anp.logaddexp(first, second)) + 0.5 * anp.sum(theta**2)

    lines = np.array([_counts(40, 0.2), _left_out(40, range(0, 18, 4)), _left_out(40, [39]), 0.3 * normal(40)])
    return TrustModel("mixture", objective, np.array([-0.1, -1.4, 1.5, -0.4, -0.1]), np.ones(40), lines)


def _net():
    x = np.linspace(-1.5, 2.0, 20)
    y = np.sin(2.0 * x) + 0.4 * normal(20, start=0.65)

    def objective(theta, penalty):
        hidden = anp.tanh(anp.outer(x, theta[0:3]) + theta[3:6])
        fit = anp.dot(hidden, theta[6:9]) + theta[9]
        return 0.5 * anp.sum((y - fit) ** 2) + 0.5 * penalty[0] * anp.sum(theta**2)

    # two hidden units merge as the penalty grows: branch points near the real line at 1.2 times the penalty
    start = np.array([-1.293, 1.371, -0.628, 2.14, -0.167, -0.926, 1.981, 1.639, 1.086, -0.86])
    lines = 0.09 * np.array([[0.5], [-0.4], [0.15], [0.05]])
    return TrustModel("net", objective, start, np.array([0.09]), lines)


def _student():
    x = _design(24, 3, 0.55)
    y = x @ np.array([1.0, -0.7, 0.4]) + 0.5 * normal(24, start=0.25)
    y[3] += 4.0

    def objective(theta, hyper):
        b, s = theta[:3], theta[3]
        r = (y - anp.dot(x, b)) * anp.exp(-s)
        likelihood = anp.sum(hyper[2:] * (s + 0.5 * (hyper[0] + 1.0) * anp.log1p(r**2 / hyper[0])))
        return likelihood + 0.5 * hyper[1] * anp.sum(b**2)

    step = np.concatenate([[0.0, 0.0], _counts(24, 0.4)])
    lines = np.array(
        [
            np.append([-2.5, 0.0], np.zeros(24)),
            np.append([6.0, 0.3], np.zeros(24)),
            0.6 * step,
            np.append([0.0, 4.0], _left_out(24, [3])),
        ]
    )
    hyper = np.concatenate([[4.0, 0.5], np.ones(24)])
    return TrustModel("student t", objective, np.array([1.0, -0.7, 0.4, -0.7]), hyper, lines)


def _two_equations():
    def equation(theta, eps):
        # the Jacobian is not symmetric
        first = theta[0] * anp.exp(theta[1]) + eps[0] * theta[0] ** 2 - 1.0
        return anp.stack([first, anp.tanh(theta[0]) - theta[1] + eps[1] + 0.3 * anp.sin(eps[0] * theta[1])])

    lines = np.array([[0.8, 0.0], [0.0, 1.5], [-0.3, -0.4], [1.0, 1.0]])
    return TrustModel("two equations", equation, np.array([0.6, 0.6]), np.array([0.2, 0.1]), lines, False)


def _elastic_net():
    x = _design(40, 4, 0.35)
    y = (uniform(40, start=0.2) < expit(x @ np.array([-0.6, 1.6, -1.1, 0.9]))).astype(float)

    def objective(b, hyper):
        eta = anp.dot(x, b)
        return (
            anp.sum(anp.logaddexp(0.0, eta) - y * eta) + hyper[0] * anp.sum(anp.abs(b)) + 0.5 * hyper[1] * anp.sum(b**2)
        )

    lines = np.array([[0.8, 0.0], [0.0, 2.0], [-0.4, -0.35], [0.4, 1.0]])
    return TrustModel("elastic net", objective, np.array([-0.6, 1.6, -1.1, 0.9]), np.array([0.5, 0.4]), lines)


def _cox():
    x = normal(36, 3, start=0.45)
    time = -np.log(uniform(36, start=0.85)) * np.exp(-x @ np.array([0.7, -0.5, 0.2]))
    is_event = uniform(36, start=0.15) < 0.7
    at_risk = (time[None, :] >= time[:, None])[is_event].astype(float)

    def objective(b, hyper):
        weights, eta = hyper[:-1], anp.dot(x, b)
        in_risk_set = anp.log(anp.dot(at_risk, weights * anp.exp(eta)))
        return anp.sum(weights[is_event] * (in_risk_set - eta[is_event])) + 0.5 * hyper[-1] * anp.sum(b**2)

    lines = np.array(
        [
            np.append(0.8 * _counts(36, 0.6), 0.0),
            np.append(_left_out(36, [2, 9, 17, 25]), 0.0),
            np.append(np.zeros(36), 8.0),
            np.append(0.3 * normal(36, start=0.5), -0.4),
        ]
    )
    return TrustModel("cox", objective, np.array([0.6, -0.4, 0.2]), np.append(np.ones(36), 0.5), lines)


def _matrix_variate():
    rows = np.array([[1.0, 0.0], [0.5, 0.8]])
    columns = np.array([[1.0, 0.3], [0.0, 1.2]])
    y = rows @ normal(10, 2, 2, start=0.2) @ columns

    def objective(theta, hyper):
        # Y_n ~ matrix normal(0, A, B), A = L L^T by its Cholesky factor, B as it is; inverse-Wishart-like priors
        weights, psi_a, psi_b = hyper[:-2], hyper[-2], hyper[-1]
        a = anp.array([[theta[0], theta[1]], [theta[1], theta[2]]])
        b = anp.array([[theta[3], theta[4]], [theta[4], theta[5]]])
        low = anp.linalg.cholesky(a)
        log_det_a, log_det_b = 2.0 * anp.sum(anp.log(anp.diag(low))), anp.linalg.slogdet(b)[1]
        precision_a, precision_b = anp.linalg.inv(a), anp.linalg.inv(b)
        forms = anp.einsum("nij,ik,nkl,lj->n", y, precision_a, y, precision_b)
        prior = psi_a * anp.trace(precision_a) + psi_b * anp.trace(precision_b)
        n = anp.sum(weights)
        return 0.5 * (2 * n + 4.0) * (log_det_a + log_det_b) + 0.5 * anp.sum(weights * forms) + 0.5 * prior

    lines = np.array(
        [
            np.append(0.7 * _counts(10, 0.9), [0.0, 0.0]),
            np.append(_left_out(10, [4]), [0.0, 0.0]),
            np.append(np.zeros(10), [2.0, -0.8]),
            np.append(0.3 * normal(10), [3.0, 3.0]),
        ]
    )
    start = np.array([0.607, 0.165, 1.34, 0.945, -0.184, 0.767])
    return TrustModel("matrix variate", objective, start, np.append(np.ones(10), [1.5, 1.5]), lines)


def _economy():
    taste = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.2, 0.5]])
    endowment = np.array([[1.0, 0.4, 0.2], [0.3, 1.2, 0.5], [0.6, 0.1, 0.9]])

    def equation(log_price, hyper):
        # clearing of two markets (the third follows by Walras' law) of consumers with constant elasticity sigma
        sigma, growth = hyper[0], hyper[1:]
        price = anp.concatenate([anp.ones(1), anp.exp(log_price)])
        owned = endowment * anp.exp(growth)[:, None]
        share = taste * price ** (1.0 - sigma)
        demand = share / price * (anp.dot(owned, price) / anp.sum(share, axis=1))[:, None]
        return anp.sum(demand - owned, axis=0)[1:]

    lines = np.array([[1.5, 0.0, 0.0, 0.0], [-0.4, 0.0, 0.0, 0.0], [0.0, 1.5, -0.5, 0.0], [-0.2, 0.0, 0.7, -0.7]])
    return TrustModel("economy", equation, np.zeros(2), np.array([0.7, 0.0, 0.0, 0.0]), lines, False)


TRUST_MODELS = {
    model.name: model
    for model in (
        _poisson(),
        _logistic(),
        _mixture(),
        _net(),
        _student(),
        _two_equations(),
        _elastic_net(),
        _cox(),
        _matrix_variate(),
        _economy(),
    )
}


def cases():
    """All refits: every length of every line, the orders in turn."""
    found = []
    for model in TRUST_MODELS.values():
        for i, line in enumerate(model.lines):
            exact = model.exact_along(line)
            for j, length in enumerate(LENGTHS):
                order = ORDERS[(i + j) % len(ORDERS)]
                found.append(Case(model, i, length, order, model.hyper_val0 + length * line, exact[j]))
    return found
