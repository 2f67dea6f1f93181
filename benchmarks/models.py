"""The models that are timed: each an objective, its base point, and the steps that are taken from it.

Every model is a minimum of ``objective(input, hyper)`` written in ``autograd.numpy``, as a user would write it, beside
the NumPy that a rival would use. Generalised linear models have closed forms: with ``z = X input``, ``mu = b'(z)`` and
weights ``w``::

    gradient = X^T (w (mu - y)) + penalty',    Hessian = X^T diag(w mu') X + penalty''

(McCullagh and Nelder, Generalized Linear Models, 2nd ed., section 2.5). The mixture and the net use autograd for both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import autograd
import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import logsumexp
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import expit

BASE_TOL = 1e-12
MAX_NEWTON_STEPS = 100
SYMMETRIC_UPDATE_COLUMNS = 40


@dataclass(frozen=True)
class Model:
    """A model at its base point.

    Attributes
    ----------
    name, title, step : str
        Key in the results, name in the tables, and what the steps are.
    objective : callable
        ``(input, hyper) -> float`` in ``autograd.numpy``; its minimum at ``hyper_val0`` is ``input_val0``.
    gradient : callable
        ``(input, hyper) -> (n_input,)``, the objective's gradient in the input.
    newton_system : callable
        ``(input, hyper) -> (gradient (n_input,), Hessian (n_input, n_input))``, sharing what they have in common.
    input_val0, hyper_val0 : ndarray of shape (n_input,), (n_hyper,)
    draw : callable
        ``Generator -> ndarray of shape (n_hyper,)``, a new hyper.
    design, response : ndarray of shape (n_obs, n_input), (n_obs,), optional
        The matrix X and the observations y of a generalised linear model.
    """

    name: str
    title: str
    step: str
    objective: Callable
    gradient: Callable
    newton_system: Callable
    input_val0: np.ndarray
    hyper_val0: np.ndarray
    draw: Callable
    design: np.ndarray | None = field(default=None, repr=False)
    response: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def hess0(self):
        """Hessian at the base point, (n_input, n_input)."""
        return self.newton_system(self.input_val0, self.hyper_val0)[1]

    @cached_property
    def inverse_hess0(self):
        """Inverse of the Hessian at the base point: well conditioned here, and faster to apply than a factor."""
        return np.linalg.inv(self.hess0)

    @cached_property
    def standard_errors(self):
        """Square roots of the diagonal of the inverse Hessian, the unit in which errors are quoted, (n_input,)."""
        return np.sqrt(np.diag(self.inverse_hess0))

    def rms_error(self, values, exact):
        """Root mean square of ``values - exact``, (n_steps, n_input) each, in standard errors."""
        return float(np.sqrt(np.mean(((values - exact) / self.standard_errors) ** 2)))

    @cached_property
    def base_newton_step(self):
        """Largest component of the Newton step that is left at the base point."""
        return float(np.max(np.abs(self.inverse_hess0 @ self.gradient(self.input_val0, self.hyper_val0))))


def solve_newton(newton_system, start, hyper, tol=BASE_TOL):
    """Solve ``gradient(input, hyper) = 0`` by NumPy Newton until the step is at most `tol` in every component.

    Raises
    ------
    RuntimeError
        The step is larger than `tol` after `MAX_NEWTON_STEPS` steps.
    numpy.linalg.LinAlgError
        A Hessian on the way is not positive definite.
    """
    value = np.array(start, dtype=float)
    for _ in range(MAX_NEWTON_STEPS):
        gradient, hessian = newton_system(value, hyper)
        step = cho_solve(cho_factor(hessian), gradient)
        value = value - step
        size = np.max(np.abs(step) / (1.0 + np.abs(value)))
        if size <= tol:
            return value
    raise RuntimeError(f"Newton step {size:.1e} > {tol:.0e} after {MAX_NEWTON_STEPS} steps: no minimum is near.")


def exact_refit(model, hyper):
    """The estimator at `hyper`, solved from the base point to a Newton step of 1e-12, (n_input,)."""
    return solve_newton(model.newton_system, model.input_val0, hyper)


def weighted_gram(design, scale):
    """``X^T diag(scale) X`` the faster way: by a symmetric rank update, half the work, from about 40 columns on."""
    if design.shape[1] < SYMMETRIC_UPDATE_COLUMNS:
        return design.T @ (scale[:, None] * design)
    root = design * np.sqrt(scale)[:, None]
    return root.T @ root


def _multinomial_weights(n_obs):
    def draw(rng):
        return rng.multinomial(n_obs, np.full(n_obs, 1.0 / n_obs)).astype(float)

    return draw


def logistic(n_obs, n_input, seed=0):
    """Weighted logistic regression; the hyper is one weight per observation, its steps are bootstrap counts."""
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((n_obs, n_input))
    truth = rng.standard_normal(n_input) / np.sqrt(n_input)
    response = (rng.random(n_obs) < expit(design @ truth)).astype(float)

    def objective(input_val, weights):
        z = anp.dot(design, input_val)
        return anp.sum(weights * (anp.logaddexp(0.0, z) - response * z))

    def gradient(input_val, weights):
        return (weights * (expit(design @ input_val) - response)) @ design

    def newton_system(input_val, weights):
        mean = expit(design @ input_val)
        return (weights * (mean - response)) @ design, weighted_gram(design, weights * mean * (1.0 - mean))

    weights0 = np.ones(n_obs)
    return Model(
        name=f"logistic_{n_obs}x{n_input}",
        title=f"logistic {n_obs} x {n_input}",
        step="data weights: all ones to bootstrap counts",
        objective=objective,
        gradient=gradient,
        newton_system=newton_system,
        input_val0=solve_newton(newton_system, np.zeros(n_input), weights0),
        hyper_val0=weights0,
        draw=_multinomial_weights(n_obs),
        design=design,
        response=response,
    )


def poisson_ridge(n_obs=5000, n_input=50, n_blocks=5, seed=1):
    """Poisson regression; the hyper is the log ridge penalty of each block of coefficients."""
    rng = np.random.default_rng(seed)
    size = n_input // n_blocks
    design = rng.standard_normal((n_obs, n_input)) / np.sqrt(n_input)
    truth = rng.standard_normal(n_input)
    response = rng.poisson(np.exp(design @ truth)).astype(float)

    def objective(input_val, log_penalties):
        z = anp.dot(design, input_val)
        squares = anp.sum(anp.reshape(input_val, (n_blocks, size)) ** 2, axis=1)
        return anp.sum(anp.exp(z) - response * z) + 0.5 * anp.sum(anp.exp(log_penalties) * squares)

    def penalties(log_penalties):
        return np.repeat(np.exp(log_penalties), size)

    def gradient(input_val, log_penalties):
        return (np.exp(design @ input_val) - response) @ design + penalties(log_penalties) * input_val

    def newton_system(input_val, log_penalties):
        mean, penalty = np.exp(design @ input_val), penalties(log_penalties)
        hessian = weighted_gram(design, mean) + np.diag(penalty)
        return (mean - response) @ design + penalty * input_val, hessian

    log_penalties0 = np.full(n_blocks, np.log(50.0))
    return Model(
        name=f"poisson_ridge_{n_obs}x{n_input}",
        title=f"Poisson ridge {n_obs} x {n_input}",
        step=f"log ridge penalties of {n_blocks} blocks: log 50, each moved by up to 0.5",
        objective=objective,
        gradient=gradient,
        newton_system=newton_system,
        input_val0=solve_newton(newton_system, np.zeros(n_input), log_penalties0),
        hyper_val0=log_penalties0,
        draw=lambda rng: log_penalties0 + rng.uniform(-0.5, 0.5, n_blocks),
        design=design,
        response=response,
    )


def _autograd_derivatives(objective):
    gradient = autograd.grad(objective, 0)
    hessian = autograd.hessian(objective, 0)
    return gradient, lambda input_val, hyper: (gradient(input_val, hyper), hessian(input_val, hyper))


def mixture(n_obs=1000, seed=2):
    """Gaussian mixture of three components in the plane; the hyper is one weight per observation."""
    rng = np.random.default_rng(seed)
    n_comp, dim = 3, 2
    centres = np.array([[-2.0, 0.0], [2.0, 0.5], [0.0, 3.0]])
    data = centres[rng.integers(n_comp, size=n_obs)] + 0.7 * rng.standard_normal((n_obs, dim))

    def objective(input_val, weights):
        logits = anp.concatenate((input_val[: n_comp - 1], anp.zeros(1)))
        means = anp.reshape(input_val[n_comp - 1 : n_comp - 1 + n_comp * dim], (n_comp, dim))
        log_scales = anp.reshape(input_val[n_comp - 1 + n_comp * dim :], (n_comp, dim))
        z = (data[:, None, :] - means) * anp.exp(-log_scales)
        log_parts = logits - logsumexp(logits) - anp.sum(0.5 * z**2 + log_scales, axis=2)
        return -anp.sum(weights * logsumexp(log_parts, axis=1))

    gradient, newton_system = _autograd_derivatives(objective)
    weights0 = np.ones(n_obs)
    start = np.concatenate([np.zeros(n_comp - 1), centres.ravel(), np.full(n_comp * dim, np.log(0.7))])
    return Model(
        name="mixture",
        title=f"Gaussian mixture {n_obs} x {dim}, {n_comp} components",
        step="data weights: all ones to bootstrap counts",
        objective=objective,
        gradient=gradient,
        newton_system=newton_system,
        input_val0=solve_newton(newton_system, start, weights0),
        hyper_val0=weights0,
        draw=_multinomial_weights(n_obs),
    )


def neural_net(n_obs=300, n_features=3, n_hidden=6, seed=3):
    """A tanh net of one hidden layer; the hyper is the log ridge penalty of each layer, all parameters penalised."""
    rng = np.random.default_rng(seed)
    n_first = (n_features + 1) * n_hidden
    features = rng.standard_normal((n_obs, n_features))
    response = np.sin(features[:, 0]) + 0.5 * features[:, 1] * features[:, 2] + 0.3 * rng.standard_normal(n_obs)

    def objective(input_val, log_penalties):
        first, last = input_val[:n_first], input_val[n_first:]
        layer = anp.reshape(first, (n_features + 1, n_hidden))
        hidden = anp.tanh(anp.dot(features, layer[:-1]) + layer[-1])
        residual = response - anp.dot(hidden, last[:-1]) - last[-1]
        penalties = anp.exp(log_penalties)
        ridge = penalties[0] * anp.sum(first**2) + penalties[1] * anp.sum(last**2)
        return 0.5 * anp.sum(residual**2) / 0.09 + 0.5 * ridge

    gradient, newton_system = _autograd_derivatives(objective)
    log_penalties0 = np.log([5.0, 5.0])
    start = minimize(
        objective,
        rng.standard_normal(n_first + n_hidden + 1),
        args=(log_penalties0,),
        jac=gradient,
        method="BFGS",
        options={"maxiter": 5000, "gtol": 1e-3},
    )
    return Model(
        name="neural_net",
        title=f"tanh net {n_features}-{n_hidden}-1, {n_obs} observations",
        step="log ridge penalties of 2 layers: log 5, each moved by up to 0.2",
        objective=objective,
        gradient=gradient,
        newton_system=newton_system,
        input_val0=solve_newton(newton_system, start.x, log_penalties0),
        hyper_val0=log_penalties0,
        draw=lambda rng: log_penalties0 + rng.uniform(-0.2, 0.2, 2),
    )


def quick_models():
    """The models of a smoke run."""
    return [logistic(2000, 20), neural_net()]


def all_models():
    """Every model that is benchmarked, smallest first."""
    return [logistic(2000, 20), poisson_ridge(), mixture(), neural_net(), logistic(50000, 50)]
