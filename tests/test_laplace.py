"""The Laplace approximation: against closed forms, quadrature, statsmodels and differences of its own value."""

import importlib.util
from dataclasses import dataclass, field
from functools import cached_property

import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from vittles_ng.errors import (
    NonFiniteError,
    NotASolutionError,
    NotPositiveDefiniteError,
    PatternError,
    ShapeError,
)
from vittles_ng.laplace import LaplaceApproximation
from vittles_ng.laplace.maximum import Climb
from vittles_ng.laplace.mode import square_root
from vittles_ng.solvers import SOLVERS

HAS_CHOLMOD = importlib.util.find_spec("sksparse") is not None
HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)


def richardson(fun, at, h=2e-3):
    """Derivatives of a function of a vector in its last axis, by extrapolated centred differences."""
    columns = []
    for e in np.eye(at.size):
        d = [(fun(at + h / 2**j * e) - fun(at - h / 2**j * e)) / (2 * h / 2**j) for j in range(3)]
        d = [(4 * d[1] - d[0]) / 3, (4 * d[2] - d[1]) / 3]
        columns.append((16 * d[1] - d[0]) / 15)
    return np.stack(columns, axis=-1)


@dataclass
class Linear:
    """A linear mixed model with an intercept and a slope per group, in which the approximation is exact.

    The hyper is (log sd of noise, of intercepts, of slopes, coefficients); with ``reml`` the coefficients are input.
    """

    n_groups: int = 7
    per_group: int = 4
    reml: bool = False
    seed: int = 0
    sd: tuple = (0.7, 0.9, 0.5)
    x: np.ndarray = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        n = self.n_groups * self.per_group
        self.group = np.repeat(np.arange(self.n_groups), self.per_group)
        self.t = rng.standard_normal(n)
        self.x = np.column_stack([np.ones(n), rng.standard_normal(n)])
        b, s = rng.standard_normal((2, self.n_groups))
        noise = rng.standard_normal(n)
        self.y = self.x @ [1.0, -0.5] + self.sd[1] * b[self.group] + self.sd[2] * s[self.group] * self.t
        self.y += self.sd[0] * noise
        self.hyper0 = np.array([-0.2, 0.1, -0.6]) if self.reml else np.array([-0.2, 0.1, -0.6, 0.8, -0.3])
        self.input0 = np.zeros(2 * self.n_groups + (2 if self.reml else 0))

    def objective(self, u, hyper):
        beta, u = (u[:2], u[2:]) if self.reml else (hyper[3:], u)
        b, s = u[: self.n_groups], u[self.n_groups :]
        e = self.y - anp.dot(self.x, beta) - b[self.group] - s[self.group] * self.t
        terms = 0.0
        for values, log_sd in ((e, hyper[0]), (b, hyper[1]), (s, hyper[2])):
            terms = terms + 0.5 * anp.sum(values**2) * anp.exp(-2 * log_sd) + values.size * (log_sd + HALF_LOG_2PI)
        return terms

    @cached_property
    def parts(self):
        z = (self.group[:, None] == np.arange(self.n_groups)).astype(float)
        zt = z * self.t[:, None]
        return np.eye(self.y.size), z @ z.T, zt @ zt.T

    def log_marginal(self, hyper):
        v = sum(np.exp(2 * h) * part for h, part in zip(hyper[:3], self.parts, strict=True))
        if not self.reml:
            return multivariate_normal(self.x @ hyper[3:], v).logpdf(self.y)
        solved = np.linalg.solve(v, self.x)
        information = self.x.T @ solved
        beta = np.linalg.solve(information, solved.T @ self.y)
        rest = multivariate_normal(self.x @ beta, v).logpdf(self.y)
        return rest - 0.5 * np.linalg.slogdet(information)[1] + 2 * HALF_LOG_2PI

    def gradient(self, hyper):
        v = sum(np.exp(2 * h) * part for h, part in zip(hyper[:3], self.parts, strict=True))
        inverse = np.linalg.inv(v)
        if self.reml:
            information = self.x.T @ inverse @ self.x
            p = inverse - inverse @ self.x @ np.linalg.solve(information, self.x.T @ inverse)
            weighted, beta_part = p @ self.y, []
        else:
            p = inverse
            weighted = inverse @ (self.y - self.x @ hyper[3:])
            beta_part = self.x.T @ weighted
        dv = [2 * np.exp(2 * h) * part for h, part in zip(hyper[:3], self.parts, strict=True)]
        return np.array([0.5 * (weighted @ d @ weighted - np.sum(p * d)) for d in dv] + list(beta_part))

    def approximation(self, **options):
        return LaplaceApproximation(self.objective, self.input0, self.hyper0, **options)


@dataclass
class Logistic:
    """A binary outcome with an intercept per group, integrated by quadrature; hyper: log sd, mean."""

    n_groups: int = 12
    per_group: int = 5
    seed: int = 1

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.group = np.repeat(np.arange(self.n_groups), self.per_group)
        u = rng.standard_normal(self.n_groups)
        self.y = (rng.random(self.group.size) < expit(0.3 + u[self.group])).astype(float)
        self.hyper0 = np.array([-0.1, 0.2])
        self.input0 = np.zeros(self.n_groups)

    def objective(self, u, hyper):
        eta = hyper[1] + u[self.group]
        prior = 0.5 * anp.sum(u**2) * anp.exp(-2 * hyper[0]) + self.n_groups * (hyper[0] + HALF_LOG_2PI)
        return anp.sum(anp.logaddexp(0.0, eta) - self.y * eta) + prior

    def log_marginal(self, hyper, n_nodes=2001):
        # the trapezoidal rule converges faster than any power on the whole line
        nodes, step = np.linspace(-12.0, 12.0, n_nodes, retstep=True)
        eta = hyper[1] + np.exp(hyper[0]) * nodes
        successes = np.bincount(self.group, self.y)[:, None]
        log_joint = successes * eta - self.per_group * np.logaddexp(0.0, eta) - 0.5 * nodes**2 - HALF_LOG_2PI
        return np.sum(logsumexp(log_joint, axis=1)) + self.n_groups * np.log(step)

    def approximation(self, **options):
        return LaplaceApproximation(self.objective, self.input0, self.hyper0, **options)


# ---- the value ----


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("sparsity", [None, "auto"])
@pytest.mark.parametrize("n_groups, per_group", [(7, 4), (1, 6), (5, 1)])
def test_exact_for_a_linear_mixed_model(reml, sparsity, n_groups, per_group):
    model = Linear(n_groups, per_group, reml)
    value, gradient = model.approximation(sparsity=sparsity).value_and_gradient(model.hyper0 + 0.1)
    assert value == pytest.approx(model.log_marginal(model.hyper0 + 0.1), rel=1e-11)
    np.testing.assert_allclose(gradient, model.gradient(model.hyper0 + 0.1), rtol=1e-9, atol=1e-10)
    assert isinstance(value, float)


def test_of_the_gamma_function_is_stirlings_formula():
    # Gamma(a) = integral of exp(a u - exp(u)) du
    laplace = LaplaceApproximation(lambda u, a: anp.exp(u) - a * u, 0.0, 1.0)
    for a in (0.5, 3.0, 40.0):
        assert laplace.log_marginal(a) == pytest.approx(a * np.log(a) - a - 0.5 * np.log(a) + HALF_LOG_2PI, rel=1e-12)
        np.testing.assert_allclose(laplace.gradient(a), [np.log(a) - 0.5 / a], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(laplace.mode(a), [np.log(a)], rtol=1e-11, atol=1e-12)


def test_error_against_quadrature_falls_with_the_size_of_the_groups():
    errors = []
    for per_group in (5, 100, 400, 1600):
        model = Logistic(20, per_group)
        errors.append((model.approximation().log_marginal(model.hyper0) - model.log_marginal(model.hyper0)) / 20)
    # O(1/m) a group (Tierney & Kadane 1986); the posterior of a logit has heavier tails than the normal at its mode has
    assert -0.02 < errors[0] < 0.0
    np.testing.assert_allclose(np.array(errors[1:-1]) / errors[2:], 4.0, rtol=0.15)


def test_quadrature_of_the_oracle_has_converged():
    model = Logistic()
    assert model.log_marginal(model.hyper0, 1001) == pytest.approx(model.log_marginal(model.hyper0), rel=1e-13)


# ---- the gradient ----


@pytest.mark.parametrize("sparsity", [None, "auto"])
def test_gradient_is_the_derivative_of_the_value(sparsity):
    model = Logistic()
    laplace = model.approximation(sparsity=sparsity)
    for hyper in (model.hyper0, np.array([0.7, -0.4])):
        expected = richardson(laplace.log_marginal, hyper)
        np.testing.assert_allclose(laplace.gradient(hyper), expected, rtol=1e-7)


def test_gradient_with_third_derivatives_across_inputs_and_hypers():
    def objective(u, h):
        coupling = anp.sum(u[:-1] ** 2 * u[1:] ** 2) + anp.sin(h[1]) * anp.sum(u[::2]) * u[0]
        return anp.sum(anp.cosh(u - h[0])) + 0.1 * anp.exp(h[1]) * coupling + 0.05 * h[2] * anp.sum(u**3)

    laplace = LaplaceApproximation(objective, np.full(6, 0.1), np.array([0.5, -0.3, 0.2]))
    hyper = np.array([0.4, -0.2, 0.3])
    np.testing.assert_allclose(laplace.gradient(hyper), richardson(laplace.log_marginal, hyper), rtol=1e-8)


@pytest.mark.parametrize("sparsity", [None, "auto"])
def test_units_of_the_inputs_do_not_matter(sparsity):
    model = Linear(reml=True)
    units = 10.0 ** np.resize([-6.0, 0.0, 5.0], model.input0.size)

    def objective(u, hyper):
        cubic = 0.01 * anp.sum((u * units) ** 3) * anp.exp(hyper[0])
        return model.objective(u * units, hyper) + cubic

    def plain(u, hyper):
        return model.objective(u, hyper) + 0.01 * anp.sum(u**3) * anp.exp(hyper[0])

    found = LaplaceApproximation(objective, model.input0, model.hyper0, sparsity=sparsity)
    expected = LaplaceApproximation(plain, model.input0, model.hyper0, sparsity=None)
    shift = -np.sum(np.log(units))
    assert found.log_marginal(model.hyper0) == pytest.approx(expected.log_marginal(model.hyper0) + shift, rel=1e-11)
    np.testing.assert_allclose(found.gradient(model.hyper0), expected.gradient(model.hyper0), rtol=1e-9)


def test_gradient_costs_no_more_for_many_hypers():
    model, calls = Logistic(), [0]

    def objective(u, hyper):
        calls[0] += 1
        eta = u[model.group]
        losses = anp.logaddexp(0.0, eta) - model.y * eta
        return anp.sum(hyper["weights"] * losses) + 0.5 * anp.sum(u**2) * anp.exp(-2 * hyper["log_sd"])

    def weigh(x):
        return {"log_sd": 0.3, "weights": x}

    counts = []
    for n in (1, model.group.size):
        laplace = LaplaceApproximation(objective, model.input0, weigh(np.ones(n)))
        before = calls[0]
        gradient = laplace.gradient(weigh(np.ones(n)))
        counts.append(calls[0] - before)
    assert counts[0] == counts[1]
    assert gradient.shape == (model.group.size + 1,)
    at = np.concatenate([[0.3], np.ones(model.group.size)])
    chosen = [0, 1, 17, 60]
    difference = [
        (laplace.log_marginal(at + 1e-4 * e) - laplace.log_marginal(at - 1e-4 * e)) / 2e-4
        for e in np.eye(at.size)[chosen]
    ]
    np.testing.assert_allclose(gradient[chosen], difference, rtol=1e-6)


def test_value_and_gradient_are_the_two():
    model = Logistic()
    laplace = model.approximation()
    value, gradient = laplace.value_and_gradient(model.hyper0)
    assert laplace.log_marginal(model.hyper0) == value
    gradient[:] = 0.0  # a copy
    assert np.all(laplace.gradient(model.hyper0) != 0.0)


# ---- sparse and dense ----


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "cg" and (name != "cholmod" or HAS_CHOLMOD)])
def test_solvers_agree(solver):
    model = Linear(reml=True)
    dense, sparse = model.approximation(sparsity=None), model.approximation(solver=solver)
    for hyper in (model.hyper0, model.hyper0 + [0.3, -0.2, 0.1]):  # the second by a factor that uses the first again
        assert sparse.log_marginal(hyper) == pytest.approx(dense.log_marginal(hyper), rel=1e-11)
        np.testing.assert_allclose(sparse.gradient(hyper), dense.gradient(hyper), rtol=1e-9)
        np.testing.assert_allclose(sparse.standard_errors(hyper), dense.standard_errors(hyper), rtol=1e-9)


def test_pattern_given():
    model = Linear(reml=True)
    n, i = model.input0.size, np.arange(model.n_groups)
    pattern = scipy.sparse.lil_array((n, n))
    pattern[:2] = 1
    pattern[2 + i, 2 + model.n_groups + i] = 1
    given, dense = model.approximation(sparsity=pattern.tocsc()), model.approximation(sparsity=None)
    np.testing.assert_allclose(given.gradient(model.hyper0), dense.gradient(model.hyper0), rtol=1e-9)
    with pytest.raises(PatternError):
        model.approximation(sparsity=scipy.sparse.eye_array(n)).log_marginal(model.hyper0)


# ---- the mode and its standard errors ----


def test_nothing_depends_on_what_was_asked_before():
    model = Logistic()
    fresh, used = model.approximation(), model.approximation()
    for far in ([3.0, 4.0], [-2.0, -3.0]):
        used.log_marginal(far)
    np.testing.assert_allclose(used.mode([0.4, 0.1]), fresh.mode([0.4, 0.1]), rtol=1e-11, atol=1e-12)
    assert used.log_marginal([0.4, 0.1]) == pytest.approx(fresh.log_marginal([0.4, 0.1]), rel=1e-13)


def test_a_start_of_negative_curvature():
    # a double well, started on its top: the minimum is at sqrt(h) on the side of the start
    laplace = LaplaceApproximation(lambda u, h: anp.sum((u**2 - h) ** 2), np.array([0.05, 0.1, 0.2]), 1.5)
    np.testing.assert_allclose(laplace.mode(1.5), np.sqrt(1.5), rtol=1e-11)
    expected = 3 * (HALF_LOG_2PI - 0.5 * np.log(8 * 1.5))
    assert laplace.log_marginal(1.5) == pytest.approx(expected, rel=1e-11)


def test_a_hyper_at_which_only_the_prediction_is_defined():
    # the mode is h, the domain |u - h| < 1
    laplace = LaplaceApproximation(lambda u, h: -anp.sum(anp.log(1.0 - (u - h) ** 2)), np.zeros(2), 0.0)
    assert laplace.log_marginal(0.0) == pytest.approx(laplace.log_marginal(5.0), rel=1e-12)
    with pytest.raises(NonFiniteError):
        LaplaceApproximation(lambda u, h: -anp.sum(anp.log(1.0 - (u - h) ** 2)), np.zeros(2), 0.0).log_marginal(5.0)


def test_the_value_of_a_mode_cannot_be_written_into():
    model = Logistic()
    laplace = model.approximation()
    laplace.mode(model.hyper0)[:] = 7.0
    assert np.max(np.abs(laplace.mode(model.hyper0))) < 3.0
    np.testing.assert_array_equal(model.input0, 0.0)


@pytest.mark.parametrize("sparsity", [None, "auto"])
def test_standard_errors_of_a_linear_mixed_model(sparsity):
    model = Linear(reml=True)
    laplace = model.approximation(sparsity=sparsity)
    z = (model.group[:, None] == np.arange(model.n_groups)).astype(float)
    design = np.hstack([model.x, z, z * model.t[:, None]])
    noise, intercept, slope = np.exp(-2 * model.hyper0)
    prior = np.repeat([0.0, intercept, slope], [2, model.n_groups, model.n_groups])
    covariance = np.linalg.inv(noise * design.T @ design + np.diag(prior))
    np.testing.assert_allclose(laplace.standard_errors(), np.sqrt(np.diag(covariance)), rtol=1e-10)

    of_hyper = np.array([[0.04, 0.01, 0.0], [0.01, 0.02, -0.01], [0.0, -0.01, 0.05]])
    slopes = richardson(laplace.mode, model.hyper0)
    total = np.sqrt(np.diag(covariance + slopes @ of_hyper @ slopes.T))
    np.testing.assert_allclose(laplace.standard_errors(model.hyper0, of_hyper), total, rtol=1e-8)
    known = laplace.standard_errors(model.hyper0, np.zeros((3, 3)))
    np.testing.assert_allclose(known, np.sqrt(np.diag(covariance)), rtol=1e-10)


def test_standard_errors_at_a_hyper():
    model = Logistic()
    laplace = model.approximation()
    np.testing.assert_array_equal(laplace.standard_errors(), laplace.standard_errors(model.hyper0))
    assert np.all(laplace.standard_errors([0.8, 0.2]) > laplace.standard_errors(model.hyper0))


# ---- the expansion ----


@pytest.mark.parametrize("sparsity", [None, "auto"])
def test_expansion_follows_the_mode(sparsity):
    model = Logistic()
    laplace = model.approximation(sparsity=sparsity)
    base, step = np.array([0.2, 0.1]), np.array([0.1, -0.1])
    expansion = laplace.expansion(4, base)
    assert expansion.get_max_order() == 4
    errors = []
    for length in (1.0, 0.5):
        exact = laplace.mode(base + length * step)
        errors.append(np.max(np.abs(expansion.evaluate_taylor_series(base + length * step) - exact)))
    assert errors[0] < 1e-6
    assert errors[0] / errors[1] == pytest.approx(2.0**5, rel=0.2)
    np.testing.assert_allclose(laplace.expansion(1).evaluate_taylor_series(model.hyper0), laplace.mode(model.hyper0))


def test_expansion_of_nested_inputs():
    model = Logistic()

    def objective(u, hyper):
        return model.objective(u["effects"], anp.array([hyper["log_sd"], u["mean"]])) + 0.1 * u["mean"] ** 2

    laplace = LaplaceApproximation(objective, {"mean": 0.0, "effects": model.input0}, {"log_sd": 0.0})
    assert laplace.mode({"log_sd": 0.2}).shape == (13,)
    expansion = laplace.expansion(3, {"log_sd": 0.2})
    exact = laplace.mode({"log_sd": 0.21})
    np.testing.assert_allclose(expansion.evaluate_taylor_series({"log_sd": 0.21}), exact, atol=1e-7)


# ---- the maximum ----


@pytest.mark.parametrize("reml", [False, True])
def test_fit_of_a_linear_mixed_model(reml):
    model = Linear(12, 5, reml, seed=4)
    fit = model.approximation().fit(tol=1e-7)
    np.testing.assert_allclose(model.gradient(fit.hyper), 0.0, atol=1e-5)
    assert fit.log_marginal == pytest.approx(model.log_marginal(fit.hyper), rel=1e-10)
    hessian = richardson(model.gradient, fit.hyper)
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(-hessian), rtol=3e-3, atol=1e-4)
    assert fit.distance <= 1e-7


@pytest.mark.parametrize("reml", [False, True])
def test_fit_is_that_of_statsmodels(reml):
    model = Linear(15, 6, reml, seed=2)
    both = np.column_stack([np.ones(model.y.size), model.t])
    free = MixedLMParams.from_components(np.ones(2), np.eye(2))
    rival = MixedLM(model.y, model.x, model.group, exog_re=both)
    found = rival.fit(reml=reml, free=free, method=["bfgs"], gtol=1e-8)
    fit = model.approximation().fit(tol=1e-6)
    ours = np.exp(2 * fit.hyper[:3])
    theirs = np.array([found.scale, *np.diag(np.asarray(found.cov_re))])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    beta = fit.input[:2] if reml else fit.hyper[3:]
    np.testing.assert_allclose(beta, np.asarray(found.fe_params), rtol=1e-5)
    assert fit.log_marginal == pytest.approx(found.llf, abs=1e-6)
    effects = fit.input[-2 * model.n_groups :].reshape(2, -1).T
    theirs = np.array([np.asarray(found.random_effects[g]) for g in range(model.n_groups)])
    np.testing.assert_allclose(effects, theirs, atol=1e-4)
    if reml:
        errors = model.approximation().standard_errors(fit.hyper)[:2]
        np.testing.assert_allclose(errors, np.asarray(found.bse_fe), rtol=1e-2)  # theirs allow for the variances


def test_fit_of_a_logistic_model_is_its_maximum():
    model = Logistic(60, 8, seed=3)
    laplace = model.approximation()
    fit = laplace.fit()
    assert fit.distance <= 1e-4
    np.testing.assert_allclose(fit.input, laplace.mode(fit.hyper))
    errors = np.sqrt(np.diag(fit.covariance))
    for direction in np.eye(2):
        for sign in (-1, 1):
            assert laplace.log_marginal(fit.hyper + 0.1 * sign * errors * direction) < fit.log_marginal
    # near the maximum of the likelihood itself
    exact = np.array([model.log_marginal(fit.hyper + s * errors[0] * np.array([1.0, 0.0])) for s in (-1, 0, 1)])
    assert np.argmax(exact) == 1


def test_tol_is_reached():
    model = Logistic(30, 6)
    loose, tight = (model.approximation().fit(tol=tol) for tol in (10.0, 1e-8))
    assert tight.distance <= 1e-8 < loose.distance
    assert tight.n_evaluations > loose.n_evaluations
    with pytest.raises(ValueError, match="positive"):
        model.approximation().fit(tol=0.0)


def test_a_start_far_from_the_maximum():
    model = Linear(12, 5, seed=4)
    near = model.approximation().fit(tol=1e-6)
    model.hyper0 = np.array([1.0, -1.0, 1.0, 5.0, -5.0])
    np.testing.assert_allclose(model.approximation().fit(tol=1e-6).hyper, near.hyper, rtol=1e-5)


def test_a_variance_of_zero_is_named():
    model = Linear(8, 4)
    model.y = model.y * 0.0 + np.tile([1.0, -1.0, 1.0, -1.0], 8)  # group means of zero: no variance between them
    model.t = model.t * 0.0 + np.tile([1.0, 1.0, -1.0, -1.0], 8)

    def objective(u, log_sd):
        return model.objective(u, anp.array([0.0, log_sd, -1.0, 0.0, 0.0]))

    with pytest.raises(NotPositiveDefiniteError, match="flat in hyper 0.*variance that goes to zero"):
        LaplaceApproximation(objective, model.input0, -1.0).fit()


def test_hypers_that_cannot_be_told_apart_are_named():
    model = Logistic(40, 6)

    def objective(u, hyper):
        return model.objective(u, anp.array([hyper[0], hyper[1] + hyper[2]]))

    with pytest.raises(NotPositiveDefiniteError, match="do not tell apart"):
        LaplaceApproximation(objective, model.input0, np.array([-0.1, 0.1, 0.1])).fit()


def test_a_likelihood_without_a_maximum_is_named():
    with pytest.raises((NotASolutionError, NotPositiveDefiniteError)):
        LaplaceApproximation(lambda u, h: anp.sum((u - h) ** 2) - anp.sum(h), np.zeros(2), np.zeros(1)).fit()


class TestClimb:
    def test_quadratic(self):
        hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
        climb = Climb(lambda h: (-0.5 * h @ hessian @ h, -hessian @ h), np.array([4.0, -3.0]))
        climb.quasi_newton()
        covariance, distance = climb.newton(1e-8)
        np.testing.assert_allclose(covariance, np.linalg.inv(hessian), rtol=1e-9)
        assert distance <= 1e-8
        np.testing.assert_allclose(climb.hyper, 0.0, atol=1e-8)

    def test_steps_beyond_the_domain_are_shortened(self):
        def function(h):  # log h - h
            if not h[0] > 0.0:
                raise NonFiniteError("outside")
            return float(np.log(h[0]) - h[0]), 1.0 / h - 1.0

        climb = Climb(function, np.array([5.0]))
        climb.quasi_newton()
        climb.newton(1e-8)
        np.testing.assert_allclose(climb.hyper, 1.0, atol=1e-7)

    def test_a_wrong_gradient_is_noticed(self):
        climb = Climb(lambda h: (float(-np.sum(h**2)), 1.0 - 2.0 * h), np.array([0.3]))
        climb.quasi_newton()
        with pytest.raises(NotASolutionError, match="standard errors away"):
            climb.newton(1e-8)


# ---- bad input ----


@pytest.mark.parametrize(
    "hyper, error",
    [
        ([np.nan, 0.0], NonFiniteError),
        ([np.inf, 0.0], NonFiniteError),
        ([0.0], ShapeError),
        ([[0.0, 0.0], [1.0, 1.0]], ShapeError),
        ([-800.0, 0.0], NonFiniteError),
        (["a", "b"], TypeError),
    ],
)
def test_bad_hypers(hyper, error):
    model = Logistic()
    laplace = model.approximation()
    for method in (laplace.log_marginal, laplace.gradient, laplace.value_and_gradient, laplace.mode):
        with pytest.raises(error):
            method(hyper)
    with pytest.raises(error):
        laplace.standard_errors(hyper)
    assert np.isfinite(laplace.log_marginal(model.hyper0))  # still of use


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"solver": "cg"}, ValueError, "determinant"),
        ({"solver": "none"}, ValueError, "not known"),
        ({"sparsity": "none"}, ValueError, "not known"),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        Logistic().approximation(**options)


def test_no_minimum_is_named():
    def objective(u, h):  # successes only, and no prior: the mode is at infinity, where the gradient rounds to zero
        return anp.sum(anp.logaddexp(0.0, u) - u) + h[0] * u[0] ** 2

    with pytest.raises(NotASolutionError, match="flattens out"):
        LaplaceApproximation(objective, np.zeros(12), np.ones(1)).log_marginal([1.0])
    with pytest.raises((NotASolutionError, NotPositiveDefiniteError)):
        LaplaceApproximation(lambda u, h: anp.sum(u) * h + anp.sum(u[:2] ** 2), np.zeros(3), 1.0).mode(1.0)
    with pytest.raises(NotPositiveDefiniteError):  # a saddle that is stationary
        LaplaceApproximation(lambda u, h: u[0] ** 2 - h[0] * u[1] ** 2, np.zeros(2), np.ones(1)).log_marginal([1.0])


@pytest.mark.parametrize("sparsity", [None, "auto"])
def test_inputs_that_are_not_identified_are_named(sparsity):
    model = Linear(reml=True)
    model.x[:, 1] = 2.0 * model.x[:, 0]
    with pytest.raises(NotPositiveDefiniteError, match="identified"):
        model.approximation(sparsity=sparsity).log_marginal(model.hyper0)


def test_bad_covariances():
    model = Logistic()
    laplace = model.approximation()
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        laplace.standard_errors(model.hyper0, np.eye(3))
    with pytest.raises(NotPositiveDefiniteError, match="eigenvalue"):
        laplace.standard_errors(model.hyper0, -np.eye(2))
    with pytest.raises(NonFiniteError):
        laplace.standard_errors(model.hyper0, np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="standard_errors\\(fit.hyper, fit.covariance\\)"):
        laplace.standard_errors(covariance=np.eye(2))


def test_square_root():
    given = np.array([[4.0, 2.0], [2.0, 1.0]])  # of rank one
    root = square_root(given, 2)
    np.testing.assert_allclose(root.T @ root, given, atol=1e-14)


def test_repr():
    assert repr(Logistic().approximation()) == "<Laplace approximation: 12 inputs integrated out, 2 hypers>"
