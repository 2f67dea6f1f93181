"""Jackknives of what scikit-learn fitted, against scikit-learn fitted again with other sample weights."""

import logging
import subprocess
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import statsmodels.api as sm
import threadpoolctl
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.metrics import log_loss, mean_tweedie_deviance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from vittles_ng import errors
from vittles_ng.adapters import from_sklearn, from_statsmodels, sklearn_models
from vittles_ng.robustness import most_influential_set, t_statistic

N = 40


def outcomes(kind, n=N):
    """Covariates and outcomes for a kind of model."""
    rng = np.random.default_rng(8)
    x = rng.uniform(-1.0, 1.0, (n, 3)) * [1.0, 2.0, 0.5] + [0.0, 1.0, 0.0]
    eta = 0.3 + x @ [0.8, -0.5, 1.0]
    if kind == "real":
        return x, 5.0 + eta + 0.5 * rng.standard_normal(n)
    if kind == "positive":
        return x, np.exp(eta) * rng.gamma(4.0, 0.25, n)
    if kind == "counts":
        return x, rng.poisson(np.exp(eta)).astype(float)
    if kind == "zeros":
        return x, np.exp(eta) * rng.gamma(4.0, 0.25, n) * (rng.uniform(size=n) < 0.8)
    if kind == "two":
        return x, np.where(rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-eta)), "yes", "no")
    noise = rng.gumbel(size=(n, 3)) + np.outer(x[:, 0], [0.0, 1.0, -1.0])
    return x, np.array([2, 5, 7])[np.argmax(noise, axis=1)]


TIGHT = {"solver": "newton-cholesky", "tol": 1e-9, "max_iter": 500}


# scikit-learn 1.8 told the penalty by l1_ratio alone, and gave LogisticRegressionCV other attributes
HAS_RATIO = LogisticRegression().penalty == "deprecated"
L1 = {"l1_ratio": 1.0} if HAS_RATIO else {"penalty": "l1"}
MIXED = {"l1_ratio": 0.5} if HAS_RATIO else {"penalty": "elasticnet", "l1_ratio": 0.5}
WITH_CV = {"scoring": "neg_log_loss", **({"l1_ratios": (0,), "use_legacy_attributes": False} if HAS_RATIO else {})}


@dataclass
class Case:
    estimator: object
    kind: str
    is_averaged: bool = False


CASES = {
    "least squares": Case(LinearRegression(), "real"),
    "least squares, no intercept": Case(LinearRegression(fit_intercept=False), "real"),
    "ridge": Case(Ridge(alpha=3.0), "real"),
    "ridge of 0": Case(Ridge(alpha=0.0), "real"),
    "ridge, no intercept": Case(Ridge(alpha=np.array([3.0]), fit_intercept=False), "real"),
    "ridge, svd": Case(Ridge(alpha=0.1, solver="svd"), "real"),
    "logistic": Case(LogisticRegression(C=0.5, **TIGHT), "two"),
    "logistic, no intercept": Case(LogisticRegression(C=2.0, fit_intercept=False, **TIGHT), "two"),
    "logistic, no penalty": Case(LogisticRegression(C=np.inf, **TIGHT), "two"),
    "logistic, class weights": Case(LogisticRegression(class_weight={"yes": 2.5}, **TIGHT), "two"),
    "liblinear": Case(
        LogisticRegression(solver="liblinear", tol=1e-10, max_iter=10000, intercept_scaling=3.0, C=0.7), "two"
    ),
    "multinomial": Case(LogisticRegression(C=0.8, **TIGHT), "three"),
    "multinomial, no intercept": Case(LogisticRegression(C=0.8, fit_intercept=False, **TIGHT), "three"),
    "multinomial, no penalty": Case(LogisticRegression(C=np.inf, **TIGHT), "three"),
    "multinomial, no penalty or intercept": Case(LogisticRegression(C=np.inf, fit_intercept=False, **TIGHT), "three"),
    "multinomial, class weights": Case(LogisticRegression(class_weight={2: 0.5, 7: 3.0}, **TIGHT), "three"),
    "poisson": Case(PoissonRegressor(alpha=0.3, **TIGHT), "counts", True),
    "poisson, no penalty": Case(PoissonRegressor(alpha=0.0, **TIGHT), "counts", True),
    "poisson, no intercept": Case(PoissonRegressor(alpha=0.3, fit_intercept=False, **TIGHT), "counts", True),
    "gamma": Case(GammaRegressor(alpha=0.2, **TIGHT), "positive", True),
    "gamma, no penalty": Case(GammaRegressor(alpha=0.0, **TIGHT), "positive", True),
    "tweedie 0": Case(TweedieRegressor(power=0, alpha=0.1, **TIGHT), "real", True),
    "tweedie 0, log": Case(TweedieRegressor(power=0, alpha=0.01, link="log", **TIGHT), "real", True),
    "tweedie 1": Case(TweedieRegressor(power=1, alpha=0.1, **TIGHT), "counts", True),
    "tweedie 1.5": Case(TweedieRegressor(power=1.5, alpha=0.1, **TIGHT), "zeros", True),
    "tweedie 2": Case(TweedieRegressor(power=2, alpha=0.1, **TIGHT), "positive", True),
    "tweedie 3": Case(TweedieRegressor(power=3, alpha=0.1, **TIGHT), "positive", True),
    "tweedie -1, log": Case(TweedieRegressor(power=-1, alpha=0.1, link="log", **TIGHT), "real", True),
}
TOLERANCE = {"liblinear": 1e-5}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """For 40 observations scikit-learn's threads take longer to wake up than to compute."""
    with threadpoolctl.threadpool_limits(1):
        yield


def quietly(fit, *arguments, **options):
    """scikit-learn's warnings of steps that reach the floor of rounding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(*arguments, **options)


def weighted(case, x, y, weights=None):
    return quietly(clone(case.estimator).fit, x, y, sample_weight=weights)


def flat(coef, intercept):
    """Coefficients and intercept in one vector; over several classes, whatever adds the same to all taken off."""
    both = np.column_stack([np.ravel(intercept), np.reshape(coef, (np.size(intercept), -1))])
    return (both - both.mean(axis=0) if len(both) > 1 else both).ravel()


def of(estimator):
    return flat(estimator.coef_, estimator.intercept_)


def at(jackknife, value):
    return flat(*jackknife.coefficients(np.asarray(value)))


@pytest.fixture(scope="module", params=list(CASES))
def fitted(request):
    """A tight fit and its jackknife."""
    case = CASES[request.param]
    x, y = outcomes(case.kind)
    estimator = weighted(case, x, y)
    return case, x, y, estimator, from_sklearn(estimator, x, y), TOLERANCE.get(request.param, 1e-7)


class TestRefits:
    def test_is_the_fit(self, fitted):
        _, _, _, estimator, jackknife, tol = fitted
        np.testing.assert_allclose(at(jackknife, jackknife.input_val0), of(estimator), atol=tol)
        assert np.max(np.abs(jackknife.polished_by)) < tol
        assert len(jackknife.parameter_names) == jackknife.n_input

    def test_exact_refits_are_those_of_sklearn(self, fitted):
        case, x, y, _, jackknife, tol = fitted
        rng = np.random.default_rng(3)
        weights = np.array([np.where(np.arange(N) == 4, 0.0, 1.0), rng.integers(0, 3, N), rng.uniform(0.2, 2.0, N)])
        found = jackknife.exact_refit(weights)
        for value, w in zip(found.value, weights, strict=True):
            np.testing.assert_allclose(at(jackknife, value), of(weighted(case, x, y, w)), atol=10.0 * tol)
        rows = np.repeat(np.arange(N), weights[1].astype(int))
        np.testing.assert_allclose(at(jackknife, found.value[1]), of(weighted(case, x[rows], y[rows])), atol=10.0 * tol)

    def test_fit_with_sample_weights(self, fitted):
        case, x, y, _, jackknife, tol = fitted
        weights = np.random.default_rng(4).integers(0, 4, N).astype(float)
        weights[:5] = 0.5
        there = from_sklearn(weighted(case, x, y, weights), x, y, sample_weight=weights)
        np.testing.assert_array_equal(there.weights0, weights)
        np.testing.assert_allclose(there.input_val0, jackknife.exact_refit(weights).value, atol=10.0 * tol)
        np.testing.assert_allclose(there.exact_refit(np.ones(N)).value, jackknife.input_val0, atol=1e-7)

    def test_leave_one_out(self, fitted):
        case, x, y, _, jackknife, tol = fitted
        some = np.arange(0, N, 9)
        exact = np.array([of(weighted(case, x, y, np.where(np.arange(N) == i, 0.0, 1.0))) for i in some])
        first, third = (
            np.abs([at(jackknife, v) for v in jackknife.leave_one_out(order=k)[some]] - exact).max() for k in (1, 3)
        )
        assert third < 0.4 * first + 10.0 * tol
        newton = np.abs([at(jackknife, v) for v in jackknife.leave_one_out(method="newton")[some]] - exact).max()
        assert newton < first + 10.0 * tol
        if case.kind == "real" and not hasattr(case.estimator, "power"):
            assert newton < 1e-9

    def test_losses(self, fitted):
        case, x, y, estimator, jackknife, _ = fitted
        found = np.mean(jackknife.model.losses(jackknife.input_val0))
        if hasattr(estimator, "classes_"):
            weights = None if estimator.class_weight is None else [estimator.class_weight.get(c, 1.0) for c in y]
            expected = log_loss(y, estimator.predict_proba(x), sample_weight=weights)
            expected *= 1.0 if weights is None else np.mean(weights)
        else:
            power = {PoissonRegressor: 1, GammaRegressor: 2}.get(type(estimator), getattr(estimator, "power", 0))
            expected = 0.5 * mean_tweedie_deviance(y, estimator.predict(x), power=power)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


class TestSparse:
    @pytest.mark.parametrize("name", ["ridge", "logistic", "liblinear", "multinomial", "poisson", "gamma"])
    def test_same_as_dense(self, name):
        case, kind = CASES[name], CASES[name].kind
        rng = np.random.default_rng(2)
        # one covariate an observation, and many without any: too few to be made dense
        x = np.eye(12)[np.arange(N) % 12] * (rng.uniform(size=(N, 1)) < 0.9) * rng.uniform(0.5, 1.5, (N, 1))
        y = outcomes(kind)[1]
        estimator = quietly(clone(case.estimator).fit, x, y)
        dense = from_sklearn(estimator, x, y)
        sparse = from_sklearn(estimator, scipy.sparse.csc_matrix(x), y)
        assert sparse.model.data[0].ndim == 1 and dense.model.data[0].ndim == 2
        weights = rng.uniform(0.7, 1.3, (2, N))
        for compute in (
            lambda j: j.input_val0,
            lambda j: j.reweight(weights),
            lambda j: j.exact_refit(weights).value,
            lambda j: j.leave_one_out(by="tensors"),
            lambda j: j.leave_one_out(by="series", order=3),
            lambda j: j.leave_one_out(method="newton"),
            lambda j: j.leave_out([[0, 7], [1]], method="newton"),
            lambda j: j.covariance(),
            lambda j: j.influence(),
            lambda j: j.bootstrap(3, 0).values,
            lambda j: j.cross_validate(folds=4),
            lambda j: 1.0 if j.dispersion is None else j.dispersion(j.input_val0, j.weights0),
        ):
            np.testing.assert_allclose(compute(sparse), compute(dense), rtol=1e-6, atol=1e-8)

    def test_dense_ones_are_made_dense(self):
        x, y = outcomes("real")
        jackknife = from_sklearn(Ridge().fit(x, y), scipy.sparse.coo_array(x), y)
        assert jackknife.model.data[0].shape == (N, 4)

    def test_iterated_least_squares(self):
        """Sparse covariates are fitted by conjugate gradients, even where the jackknife makes them dense."""
        x, y = outcomes("real")
        x = scipy.sparse.csr_array(x * [1.0, 10.0, 1.0])
        loose = Ridge(tol=1e-2).fit(x, y)
        found = from_sklearn(loose, x, y)
        assert np.max(np.abs(found.polished_by)) > 1e-4
        np.testing.assert_allclose(found.input_val0, of(Ridge().fit(x.toarray(), y)), rtol=1e-9)

    def test_too_large_to_be_made_dense(self, monkeypatch):
        x, y = outcomes("real")
        estimator = Ridge().fit(x, y)
        monkeypatch.setattr(sklearn_models, "memory_limit", lambda: 100)
        with pytest.raises(errors.SizeError, match="40 observations"):
            from_sklearn(estimator, scipy.sparse.coo_array(x), y)


class TestPenalties:
    def test_share_of_an_averaged_loss(self):
        """The penalty's weight against the losses grows as observations are left out, by n / (n - 1)."""
        x, y = outcomes("counts", 12)
        estimator = PoissonRegressor(alpha=0.5, **TIGHT).fit(x, y)
        jackknife = from_sklearn(estimator, x, y)
        without = jackknife.exact_refit(np.arange(12) != 3).value
        keep = np.arange(12) != 3
        fixed = PoissonRegressor(alpha=0.5 * 12 / 11, **TIGHT).fit(x[keep], y[keep])
        assert np.max(np.abs(without - of(PoissonRegressor(alpha=0.5, **TIGHT).fit(x[keep], y[keep])))) < 1e-9
        assert np.max(np.abs(without - of(fixed))) > 1e-3

    @pytest.mark.parametrize("name", ["ridge", "logistic", "multinomial", "poisson", "poisson, no penalty", "gamma"])
    def test_cross_validation_over_penalties(self, name):
        case = CASES[name]
        x, y = outcomes(case.kind)
        jackknife = from_sklearn(weighted(case, x, y), x, y, order=3)
        strengths = [0.3, 1.0, 4.0]
        found = jackknife.cross_validate(hypers=strengths, folds=5)
        parameter = "C" if hasattr(case.estimator, "C") else "alpha"
        for strength, value in zip(strengths, found, strict=True):
            held_out = []
            for fold in range(5):
                out = np.arange(N) % 5 == fold
                there = clone(case.estimator).set_params(
                    **{parameter: 1.0 / strength if parameter == "C" else strength}
                )
                there = quietly(there.fit, x[~out], y[~out])
                if parameter == "C":
                    probability = there.predict_proba(x[out])
                    held_out.append(-np.log(probability[np.arange(8), np.searchsorted(there.classes_, y[out])]))
                else:
                    power = {"ridge": 0, "gamma": 2}.get(name, 1)
                    pairs = zip(y[out], there.predict(x[out]), strict=True)
                    held_out.append([0.5 * mean_tweedie_deviance([a], [b], power=power) for a, b in pairs])
            np.testing.assert_allclose(value, np.mean(held_out), rtol=2e-3)

    @pytest.mark.parametrize(
        "name, hyper", [("ridge", 3.0), ("logistic", 2.0), ("poisson", 0.3), ("logistic, no penalty", 0.0)]
    )
    def test_hyper(self, name, hyper):
        case = CASES[name]
        x, y = outcomes(case.kind)
        jackknife = from_sklearn(weighted(case, x, y), x, y)
        assert jackknife.model.hyper == hyper
        assert jackknife.note == f"the hyper is {'1 / C' if hasattr(case.estimator, 'C') else 'alpha'}"

    @pytest.mark.parametrize(
        "name, note",
        [("least squares", ""), ("multinomial, no penalty", "the coefficients are relative to those of class 2")],
    )
    def test_no_hyper(self, name, note):
        case = CASES[name]
        x, y = outcomes(case.kind)
        jackknife = from_sklearn(weighted(case, x, y), x, y)
        assert jackknife.model.hyper is None and jackknife.note == note

    def test_intercept_scaling_of_liblinear_matters(self):
        x, y = outcomes("two")
        fits = [
            from_sklearn(LogisticRegression(solver="liblinear", tol=1e-8, intercept_scaling=s).fit(x, y), x, y)
            for s in (0.5, 50.0)
        ]
        assert abs(fits[0].input_val0[0] - fits[1].input_val0[0]) > 0.1

    @pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "sag", "saga", "newton-cholesky"])
    @pytest.mark.parametrize("kind", ["two", "three"])
    def test_loose_fits_are_polished(self, solver, kind, caplog):
        x, y = outcomes(kind)
        tight = from_sklearn(LogisticRegression(C=0.8, **TIGHT).fit(x, y), x, y)
        loose = LogisticRegression(C=0.8, solver=solver, tol=3e-3, max_iter=1000, random_state=0).fit(x, y)
        with caplog.at_level(logging.INFO, logger="vittles_ng"):
            found = from_sklearn(loose, x, y)
        np.testing.assert_allclose(found.input_val0, tight.input_val0, atol=1e-9)
        moved = np.abs(found.polished_by) / np.sqrt(np.diag(found.expansion.solver.solve(np.eye(found.n_input))))
        assert f"from_sklearn: polishing moved the fit by {moved.max():.1e} standard errors" in caplog.text
        assert caplog.records[-1].levelno == (logging.WARNING if moved.max() > 1e-3 else logging.INFO)

    def test_fits_that_stopped_early_are_polished(self, caplog):
        x, y = outcomes("two")
        with pytest.warns(ConvergenceWarning):
            early = LogisticRegression(max_iter=1).fit(x * [1.0, 100.0, 1.0], y)
        found = from_sklearn(early, x * [1.0, 100.0, 1.0], y)
        tight = LogisticRegression(**TIGHT).fit(x * [1.0, 100.0, 1.0], y)
        np.testing.assert_allclose(found.input_val0, of(tight), rtol=1e-7)
        assert caplog.records[-1].levelno == logging.WARNING

    def test_single_precision(self):
        x, y = outcomes("real")
        estimator = LinearRegression().fit(x.astype(np.float32), y.astype(np.float32))
        assert 0.0 < np.max(np.abs(from_sklearn(estimator, x, y).polished_by)) < 1e-5

    def test_perfect_fit(self):
        x, _ = outcomes("real")
        y = 1.0 + x @ [1.0, 2.0, 3.0]
        jackknife = from_sklearn(LinearRegression().fit(x, y), x, y)
        np.testing.assert_allclose(jackknife.input_val0, [1.0, 1.0, 2.0, 3.0], rtol=1e-12)


class TestAgainstStatsmodels:
    def test_least_squares(self):
        x, y = outcomes("real")
        results = sm.OLS(y, sm.add_constant(x)).fit()
        jackknife, other = from_sklearn(LinearRegression().fit(x, y), x, y), from_statsmodels(results)
        np.testing.assert_allclose(jackknife.covariance(), results.get_robustcov_results("HC0").cov_params(), rtol=1e-9)
        w = np.random.default_rng(1).integers(0, 3, N).astype(float)
        value = jackknife.input_val0 + 0.1
        for weights in (w, jackknife.weights0):
            np.testing.assert_allclose(jackknife.dispersion(value, weights), other.dispersion(value, weights))
        np.testing.assert_allclose(jackknife.dispersion(results.params, np.ones(N)), results.scale)

    def test_sample_weights_are_counts_or_with_groups_precisions(self):
        x, y = outcomes("real")
        weights = np.random.default_rng(6).integers(1, 4, N)
        estimator, rows = LinearRegression().fit(x, y, weights), np.repeat(np.arange(N), weights)
        repeated = sm.OLS(y[rows], sm.add_constant(x[rows])).fit(cov_type="HC0")
        jackknife = from_sklearn(estimator, x, y, weights)
        np.testing.assert_allclose(jackknife.covariance(), repeated.cov_params(), rtol=1e-9)
        np.testing.assert_allclose(jackknife.dispersion(jackknife.input_val0, weights), repeated.scale)
        by_precision = sm.WLS(y, sm.add_constant(x), weights).fit(cov_type="HC0")
        jackknife = from_sklearn(estimator, x, y, weights, groups=np.arange(N))
        np.testing.assert_allclose(jackknife.covariance(groups=True), by_precision.cov_params(), rtol=1e-9)

    @pytest.mark.parametrize(
        "estimator, family, kind",
        [
            (GammaRegressor(alpha=0.0, **TIGHT), sm.families.Gamma(sm.families.links.Log()), "positive"),
            (TweedieRegressor(power=1.5, alpha=0.0, **TIGHT), sm.families.Tweedie(var_power=1.5), "zeros"),
            (PoissonRegressor(alpha=0.0, **TIGHT), sm.families.Poisson(), "counts"),
        ],
        ids=["gamma", "tweedie", "poisson"],
    )
    def test_scale_and_covariance(self, estimator, family, kind):
        x, y = outcomes(kind)
        results = sm.GLM(y, sm.add_constant(x), family).fit(tol=1e-13)
        jackknife = from_sklearn(estimator.fit(x, y), x, y)
        np.testing.assert_allclose(jackknife.input_val0, results.params, rtol=1e-7)
        scale = 1.0 if jackknife.dispersion is None else jackknife.dispersion(jackknife.input_val0, np.ones(N))
        np.testing.assert_allclose(scale, results.scale, rtol=1e-7)
        other = from_statsmodels(results)
        np.testing.assert_allclose(jackknife.covariance(), other.covariance(), rtol=1e-6)

    def test_reference_class(self):
        x, y = outcomes("three")
        results = sm.MNLogit(y, sm.add_constant(x)).fit(method="newton", tol=1e-13, disp=False)
        jackknife = from_sklearn(LogisticRegression(C=np.inf, **TIGHT).fit(x, y), x, y)
        np.testing.assert_allclose(jackknife.input_val0, from_statsmodels(results).input_val0, rtol=1e-8)
        assert jackknife.parameter_names[:2] == ["5:intercept", "5:x0"]
        names = from_sklearn(LogisticRegression(**TIGHT).fit(x, y), x, y).parameter_names
        assert names[:5] == ["2:x0", "2:x1", "2:x2", "5:intercept", "5:x0"]


class TestRobustness:
    @pytest.mark.parametrize("name", ["least squares", "ridge", "logistic", "poisson", "gamma"])
    def test_t_statistic_without_a_set(self, name):
        case = CASES[name]
        x, y = outcomes(case.kind)
        jackknife = from_sklearn(weighted(case, x, y), x, y)
        found = most_influential_set(jackknife, t_statistic("x0"), 3)
        left = np.setdiff1d(np.arange(N), found.indices)
        again = from_sklearn(weighted(case, x[left], y[left]), x[left], y[left])
        scale = 1.0 if again.dispersion is None else again.dispersion(again.input_val0, again.weights0)
        variance = scale * np.linalg.inv(again.expansion._problem.jacobian())[1, 1]
        np.testing.assert_allclose(found.refitted, again.input_val0[1] / np.sqrt(variance), rtol=1e-7)


FRAME = pd.DataFrame(outcomes("real")[0], columns=["age", "dose", "time"], index=[f"row {i}" for i in range(N)])


class TestWrappers:
    def test_pipeline(self):
        x, y = outcomes("real")
        pipeline = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), Ridge()).fit(FRAME, y)
        jackknife = from_sklearn(pipeline, FRAME, y)
        transformed = pipeline[:-1].transform(FRAME)
        without = Ridge().fit(transformed[1:], y[1:])
        np.testing.assert_allclose(jackknife.exact_refit(np.arange(N) > 0).value, of(without), atol=1e-9)
        assert jackknife.parameter_names[:5] == ["intercept", "age", "dose", "time", "age^2"]
        assert jackknife.observation_names == list(FRAME.index)
        held = "the preprocessing is held as it was fitted: standardscaler, polynomialfeatures"
        assert jackknife.note == f"the hyper is alpha; {held}"

    def test_pipeline_with_sparse_steps(self):
        x, y = outcomes("counts", 60)
        groups = np.arange(60) % 12
        pipeline = make_pipeline(OneHotEncoder(), PoissonRegressor(alpha=0.1, **TIGHT)).fit(groups[:, None], y)
        jackknife = from_sklearn(pipeline, groups[:, None], y)
        assert jackknife.model.data[0].ndim == 1 and jackknife.parameter_names[1] == "x0_0"
        np.testing.assert_allclose(at(jackknife, jackknife.input_val0), of(pipeline[-1]), atol=1e-8)

    def test_pipeline_of_one_step_and_of_nameless_ones(self):
        x, y = outcomes("real")
        alone = from_sklearn(make_pipeline(Ridge()).fit(FRAME, y), FRAME, y)
        assert alone.parameter_names == ["intercept", "age", "dose", "time"] and alone.note == "the hyper is alpha"
        nameless = make_pipeline(FunctionTransformer(np.cos), Ridge()).fit(x, y)
        assert from_sklearn(nameless, x, y).parameter_names == ["intercept", "x0", "x1", "x2"]

    @pytest.mark.parametrize("inside", [True, False])
    def test_searches(self, inside):
        x, y = outcomes("real")
        grid = {"alpha": [0.1, 5.0]} if inside else {"ridge__alpha": [0.1, 5.0]}
        if inside:
            search = make_pipeline(StandardScaler(), GridSearchCV(Ridge(), grid)).fit(x, y)
            best = search[-1].best_estimator_
        else:
            search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), grid).fit(x, y)
            best = search.best_estimator_[-1]
        jackknife = from_sklearn(search, x, y)
        np.testing.assert_allclose(jackknife.input_val0, of(best), rtol=1e-9)
        assert jackknife.model.hyper == best.alpha
        assert "the parameters that GridSearchCV chose are held" in jackknife.note
        assert "the preprocessing is held as it was fitted: standardscaler" in jackknife.note

    def test_ridge_cv(self):
        x, y = outcomes("real")
        estimator = RidgeCV(alphas=[0.1, 1.0, 10.0]).fit(x, y)
        jackknife = from_sklearn(estimator, x, y)
        np.testing.assert_allclose(jackknife.input_val0, of(estimator), rtol=1e-9)
        assert jackknife.model.hyper == estimator.alpha_

    @pytest.mark.parametrize("kind", ["two", "three"])
    def test_logistic_cv(self, kind):
        x, y = outcomes(kind)
        estimator = quietly(LogisticRegressionCV(Cs=[0.1, 1.0], **WITH_CV, **TIGHT).fit, x, y)
        jackknife = from_sklearn(estimator, x, y)
        np.testing.assert_allclose(at(jackknife, jackknife.input_val0), of(estimator), atol=1e-8)
        assert jackknife.model.hyper == 1.0 / np.ravel(estimator.C_)[0]

    def test_names_groups_and_order(self):
        x, y = outcomes("real")
        groups = pd.Series(np.arange(N) % 4)
        jackknife = from_sklearn(LinearRegression().fit(FRAME, y), FRAME, y, groups=groups, order=3)
        assert jackknife.leave_one_out().shape == (4, 4) and jackknife.order == 3
        assert jackknife.parameter_names == ["intercept", *FRAME.columns]
        series = pd.Series(y, index=FRAME.index)
        assert from_sklearn(LinearRegression().fit(x, series), x, series).observation_names == list(FRAME.index)
        assert from_sklearn(LinearRegression().fit(x, y), x, y).observation_names is None

    def test_one_column_of_outcomes(self):
        x, y = outcomes("real")
        jackknife = from_sklearn(LinearRegression().fit(x, y[:, None]), x, y[:, None])
        np.testing.assert_allclose(jackknife.input_val0, of(LinearRegression().fit(x, y)), rtol=1e-12)

    def test_coefficients_of_many_refits_go_back_into_the_estimator(self):
        x, y = outcomes("three")
        estimator = LogisticRegression(**TIGHT).fit(x, y)
        jackknife = from_sklearn(estimator, x, y)
        coef, intercept = jackknife.coefficients(jackknife.leave_one_out())
        assert coef.shape == (N, 3, 3) and intercept.shape == (N, 3)
        expected = estimator.predict_proba(x)
        estimator.coef_, estimator.intercept_ = jackknife.coefficients(jackknife.input_val0)
        np.testing.assert_allclose(estimator.predict_proba(x), expected, atol=1e-9)

    def test_nothing_is_written_into(self):
        x, y = outcomes("two")
        weights = np.ones(N)
        estimator = LogisticRegression(**TIGHT).fit(x, y)
        kept = [array.copy() for array in (x, weights, estimator.coef_, estimator.intercept_)]
        for array in (x, y, weights, estimator.coef_, estimator.intercept_):
            array.flags.writeable = False
        from_sklearn(estimator, x, y, weights).leave_one_out()
        for before, after in zip(kept, (x, weights, estimator.coef_, estimator.intercept_), strict=True):
            np.testing.assert_array_equal(before, after)


def real(estimator):
    x, y = outcomes("real")
    return quietly(estimator.fit, x, y), x, y


def two(**options):
    x, y = outcomes("two")
    return quietly(LogisticRegression(**options).fit, x, y), x, y


REFUSED = {
    "lasso": (lambda: real(Lasso()), "Lasso is not supported: coefficients at the kink 0"),
    "elastic net": (lambda: real(ElasticNet()), "leave or enter"),
    "l1": (lambda: two(solver="liblinear", **L1), "LogisticRegression with an L1 penalty"),
    "mixed": (lambda: two(solver="saga", **MIXED), "LogisticRegression with an L1 penalty"),
    "l1 by its older name": (lambda: two(penalty="l1", solver="liblinear"), "LogisticRegression with an L1 penalty"),
    "balanced": (lambda: two(class_weight="balanced"), "each observation's weight depend on all the others"),
    "positive ridge": (lambda: real(Ridge(positive=True)), r"Ridge\(positive=True\) is not supported"),
    "positive": (lambda: real(LinearRegression(positive=True)), r"LinearRegression\(positive=True\)"),
    "quantile": (lambda: real(QuantileRegressor()), "kink"),
    "huber": (lambda: real(HuberRegressor()), "derivatives that jump"),
    "stochastic": (lambda: real(SGDRegressor()), "not at the minimum"),
    "bayesian": (lambda: real(BayesianRidge()), "fit Ridge"),
    "classifier": (lambda: (RidgeClassifier().fit(*outcomes("two")), *outcomes("two")), "outcomes of -1 and 1"),
    "tree": (lambda: real(DecisionTreeRegressor()), "its loss is not known here. Supported: LinearRegression, Ridge"),
    "target": (lambda: real(TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp)), "regressor_"),
    "calibrated": (lambda: (CalibratedClassifierCV().fit(*outcomes("two")), *outcomes("two")), "not known here"),
    "a pipeline's end": (lambda: real(make_pipeline(StandardScaler(), Lasso())), "Lasso is not supported"),
    "not fitted": (lambda: (Ridge(), *outcomes("real")), r"this Ridge is not fitted: call fit\(X, y\) first"),
    "pipeline not fitted": (lambda: (make_pipeline(StandardScaler(), Ridge()), *outcomes("real")), "not fitted"),
    "search not fitted": (
        lambda: (GridSearchCV(Ridge(), {"alpha": [1.0]}), *outcomes("real")),
        "GridSearchCV is not fitted",
    ),
    "no refit": (lambda: real(GridSearchCV(Ridge(), {"alpha": [1.0]}, refit=False)), "refit=False"),
    "two outcomes": (
        lambda: (Ridge().fit(x := outcomes("real")[0], x[:, :2]), x, x[:, :2]),
        "2 outcomes at once: their fits are separate",
    ),
    "no estimator": (lambda: (None, *outcomes("real")), "NoneType is not supported"),
    "class of the user's": (lambda: real(type("Ridge", (Ridge,), {"__module__": "mine"})()), "not known here"),
}


class TestRefused:
    @pytest.mark.parametrize("name", REFUSED)
    def test_says_why(self, name):
        make, message = REFUSED[name]
        with pytest.raises(errors.UnsupportedModelError, match=message):
            from_sklearn(*make())

    @pytest.mark.parametrize(
        "x, message, error",
        [
            (lambda x: x[:, :2], r"X has shape \(40, 2\): \(n_obs, 3\)", errors.ShapeError),
            (lambda x: x[0], r"X has shape \(3,\)", errors.ShapeError),
            (lambda x: x[1:], r"y has shape \(40,\) where X has 39 rows", errors.ShapeError),
            (lambda x: np.where(np.arange(N)[:, None] == 6, np.nan, x), "the first is 6", errors.NonFiniteError),
            (lambda x: scipy.sparse.csr_array(x * np.inf), "40 of 40 rows of X", errors.NonFiniteError),
            (lambda x: scipy.sparse.csr_array(np.diag([0, np.nan, 1.0])), "1 of 3 rows of X", errors.NonFiniteError),
            (lambda x: FRAME[["dose", "age", "time"]], "pass X as fitted", errors.DataError),
            (lambda x: x.astype(str).astype(object) + "a", "X is not numeric", errors.DataError),
            (lambda x: x + np.arange(N)[:, None], "the minimum for these data is", errors.NotASolutionError),
        ],
    )
    def test_covariates(self, x, message, error):
        values, y = outcomes("real")
        with pytest.raises(error, match=message), np.errstate(all="ignore"):
            from_sklearn(LinearRegression().fit(FRAME, y), x(values), y)

    @pytest.mark.parametrize(
        "change, message, error",
        [
            (lambda y: y[1:], r"y has shape \(39,\)", errors.ShapeError),
            (lambda y: np.where(np.arange(N) == 3, np.nan, y), "1 of 40 outcomes", errors.NonFiniteError),
            (lambda y: y.astype(str) + "a", "y is not numeric", errors.DataError),
            (lambda y: y[::-1], "standard errors from the fit", errors.NotASolutionError),
        ],
    )
    def test_outcomes(self, change, message, error):
        x, y = outcomes("real")
        with pytest.raises(error, match=message):
            from_sklearn(LinearRegression().fit(x, y), x, change(y))

    def test_unknown_class(self):
        estimator, x, y = two()
        with pytest.raises(errors.DataError, match="observation 0 has the class perhaps"):
            from_sklearn(estimator, x, np.append("perhaps", y[1:]))

    @pytest.mark.parametrize(
        "weights, error",
        [(np.ones(3), errors.ShapeError), (-np.ones(N), errors.DataError), (np.full(N, np.nan), errors.NonFiniteError)],
    )
    def test_sample_weights(self, weights, error):
        with pytest.raises(error, match="weight"):
            from_sklearn(*real(Ridge()), sample_weight=weights)

    def test_sample_weights_left_out(self):
        x, y = outcomes("real")
        weights = np.random.default_rng(0).uniform(0.2, 2.0, N)
        estimator = Ridge().fit(x, y, sample_weight=weights)
        with pytest.raises(errors.NotASolutionError, match="sample_weight"):
            from_sklearn(estimator, x, y)
        from_sklearn(estimator, x, y, weights)

    def test_parameters_set_after_the_fit(self):
        estimator, x, y = real(Ridge())
        with pytest.raises(errors.NotASolutionError, match="no parameters set after fit"):
            from_sklearn(estimator.set_params(alpha=50.0), x, y)

    @pytest.mark.parametrize("n_columns", [3, 60])
    def test_not_identified(self, n_columns):
        x, y = outcomes("real")
        wide = np.column_stack([x, x.sum(axis=1)]) if n_columns == 3 else np.random.default_rng(0).normal(size=(N, 60))
        with pytest.raises(errors.NotPositiveDefiniteError, match="one of many minima"):
            from_sklearn(LinearRegression().fit(wide, y), wide, y)
        assert from_sklearn(Ridge().fit(wide, y), wide, y).n_input == wide.shape[1] + 1

    def test_no_degrees_of_freedom(self):
        x, y = np.random.default_rng(0).normal(size=(N, 60)), outcomes("real")[1]
        jackknife = from_sklearn(Ridge().fit(x, y), x, y)
        with pytest.raises(errors.DataError, match="no degrees of freedom"):
            jackknife.dispersion(jackknife.input_val0, jackknife.weights0)

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_separable(self, n_classes):
        x = np.linspace(0.0, 3.0, 30)[:, None]
        y = np.digitize(x[:, 0], [1.0, 2.0] if n_classes == 3 else [1.0])
        estimator = quietly(LogisticRegression(C=np.inf, max_iter=300).fit, x, y)
        with pytest.raises(errors.DataError, match="separable"):
            from_sklearn(estimator, x, y)
        assert from_sklearn(LogisticRegression(**TIGHT).fit(x, y), x, y).n_obs == 30

    def test_averages_of_folds(self):
        x, y = outcomes("two")
        estimator = quietly(LogisticRegressionCV(Cs=[1.0], refit=False, **WITH_CV).fit, x, y)
        with pytest.raises(errors.UnsupportedModelError, match="averages the fits of folds"):
            from_sklearn(estimator, x, y)

    def test_coefficients_that_are_not_finite(self):
        estimator, x, y = real(Ridge())
        estimator.coef_ = estimator.coef_ * np.nan
        with pytest.raises(errors.NonFiniteError, match="3 of 3 elements of coef_"):
            from_sklearn(estimator, x, y)

    def test_column_transformers_keep_their_names(self):
        y = outcomes("real")[1]
        table = FRAME.assign(site=np.where(np.arange(N) % 3, "north", "south"))
        steps = ColumnTransformer([("site", OneHotEncoder(drop="first"), ["site"])], remainder="passthrough")
        jackknife = from_sklearn(make_pipeline(steps, LinearRegression()).fit(table, y), table, y)
        assert jackknife.parameter_names[:3] == ["intercept", "site__site_south", "remainder__age"]


def test_scikit_learn_is_not_imported():
    code = "import sys; import vittles_ng.adapters.sklearn; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
