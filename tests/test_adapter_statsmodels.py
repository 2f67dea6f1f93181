"""Jackknives of what statsmodels fitted, against statsmodels: its influence measures, covariances and refits."""

import contextlib
import logging
import pickle
import warnings

import autograd
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
import statsmodels.formula.api as smf

from vittles_ng import errors
from vittles_ng.adapters import from_statsmodels
from vittles_ng.adapters.families import LINKS, link_like, make_family
from vittles_ng.robustness import smallest_reversing_set, t_statistic
from vittles_ng.robustness.t_statistic import TQuantity

FAMILIES, LINK = sm.families, sm.families.links


@contextlib.contextmanager
def quietly():
    """statsmodels warns of links that leave a family's range, and of separation where it sees it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load(name, response, covariates=None):
    frame = getattr(sm.datasets, name).load_pandas().data
    exog = frame.drop(columns=response) if covariates is None else frame[covariates]
    return frame[response], sm.add_constant(exog)


def ols(name, response, covariates=None):
    return lambda: sm.OLS(*load(name, response, covariates))


def glm(name, response, family, covariates=None):
    return lambda: sm.GLM(*load(name, response, covariates), family=family())


def star98():
    data = sm.datasets.star98.load_pandas()
    return sm.GLM(data.endog, sm.add_constant(data.exog.iloc[:, :7]), family=FAMILIES.Binomial())


def inverse_gaussian():
    y, x = load("engel", "foodexp")
    return sm.GLM(y / 1000.0, x.assign(income=1e6 / x["income"] ** 2), family=FAMILIES.InverseGaussian())


def discrete(model, name, response, covariates=None, rows=None, **options):
    def make():
        y, x = load(name, response, covariates)
        return model(y[:rows], x[:rows], **options)

    return make


FAIR = ["rate_marriage", "age", "yrs_married", "religious"]
LEAST_SQUARES = {
    "longley": ols("longley", "TOTEMP"),
    "stackloss": ols("stackloss", "STACKLOSS"),
    "engel": ols("engel", "foodexp"),
    "statecrime": ols("statecrime", "murder", ["urban", "poverty", "hs_grad", "single"]),
    "ccard": ols("ccard", "AVGEXP"),
}
CANONICAL = {
    "spector": glm("spector", "GRADE", FAMILIES.Binomial),
    "star98": star98,
    "cpunish": glm("cpunish", "EXECUTIONS", FAMILIES.Poisson, ["INCOME", "PERPOVERTY", "SOUTH", "DEGREE"]),
    "scotland": glm("scotland", "YES", FAMILIES.Gamma),
    "stackloss": glm("stackloss", "STACKLOSS", FAMILIES.Gaussian),
    "committee": glm("committee", "BILLS104", FAMILIES.Poisson),
    "cancer": glm("cancer", "cancer", FAMILIES.Poisson),
    "inverse_gaussian": inverse_gaussian,
}
DISCRETE = {
    "logit": discrete(sm.Logit, "spector", "GRADE"),
    "probit": discrete(sm.Probit, "spector", "GRADE"),
    "poisson": discrete(sm.Poisson, "committee", "BILLS104"),
    "nb2": discrete(sm.NegativeBinomial, "committee", "BILLS104"),
    "nb1": discrete(sm.NegativeBinomial, "committee", "BILLS104", loglike_method="nb1"),
    "geometric": discrete(sm.NegativeBinomial, "committee", "BILLS104", loglike_method="geometric"),
    "nbp": discrete(sm.NegativeBinomialP, "committee", "BILLS104", p=1),
    "mnlogit": discrete(sm.MNLogit, "anes96", "PID", ["logpopul", "selfLR", "age"]),
}


def fitted(model, **options):
    """A tight fit."""
    with quietly():
        if isinstance(model, sm.GLM):
            return model.fit(tol=1e-13, maxiter=200, **options)
        if isinstance(model, sm.WLS):
            return model.fit(**options)
        start = {}
        if isinstance(model, sm.NegativeBinomial | sm.NegativeBinomialP):
            start = {"start_params": model.fit(maxiter=300, disp=False).params}
        return model.fit(method="newton", maxiter=200, tol=1e-13, disp=False, **start, **options)


@pytest.fixture(
    scope="module",
    params=[
        f"{kind}:{name}"
        for kind, table in [("least squares", LEAST_SQUARES), ("glm", CANONICAL), ("discrete", DISCRETE)]
        for name in table
    ],
)
def case(request):
    """A tight fit to a data set of statsmodels, and its jackknife."""
    kind, name = request.param.split(":")
    with quietly():
        model = {"least squares": LEAST_SQUARES, "glm": CANONICAL, "discrete": DISCRETE}[kind][name]()
    results = fitted(model)
    return results, from_statsmodels(results)


def flat(parameters):
    return np.asarray(parameters, dtype=float).ravel(order="F")


def rebuilt(results, rows):
    """The same model on some of the rows, one after another."""
    model = results.model
    options = {}
    if isinstance(model, sm.GLM):
        y = np.column_stack([model.endog * model.n_trials, (1 - model.endog) * model.n_trials])
        y = y if np.any(model.n_trials != 1) else model.endog
        options = {"family": type(model.family)(model.family.link)}
    elif isinstance(model, sm.MNLogit):
        y = model.endog
    else:
        y = model.endog
    if hasattr(model, "loglike_method"):
        options["loglike_method"] = model.loglike_method
    if hasattr(model, "parameterization"):
        options["p"] = 2 - model.parameterization
    return fitted_from(type(model)(y[rows], model.exog[rows], **options), results)


def fitted_from(model, results):
    with quietly():
        if isinstance(model, sm.WLS):
            return model.fit()
        options = {"tol": 1e-13, "start_params": results.params, "maxiter": 200}
        if not isinstance(model, sm.GLM):
            options = {**options, "start_params": flat(results.params), "method": "newton", "disp": False}
        return model.fit(**options)


def dispersion(jackknife):
    return 1.0 if jackknife.dispersion is None else jackknife.dispersion(jackknife.input_val0, jackknife.weights0)


def hessian(jackknife):
    return jackknife.expansion._problem.jacobian()


def standard_errors(jackknife):
    information = jackknife.information
    matrix = hessian(jackknife) if information is None else information(jackknife.input_val0, jackknife.weights0)
    return np.sqrt(dispersion(jackknife) * np.diag(np.linalg.inv(matrix)))


class TestDataSets:
    def test_is_the_fit(self, case):
        results, jackknife = case
        errors_of = flat(results.bse)
        assert np.max(np.abs(jackknife.input_val0 - flat(results.params)) / errors_of) < 1e-6
        np.testing.assert_array_equal(jackknife.input_val0 - flat(results.params), jackknife.polished_by)
        np.testing.assert_allclose(standard_errors(jackknife), errors_of, rtol=1e-6)
        if jackknife.dispersion is None:
            np.testing.assert_allclose(np.sum(jackknife.model.losses(jackknife.input_val0)), -results.llf, rtol=1e-10)

    def test_names(self, case):
        results, jackknife = case
        names = [":".join(name) if isinstance(name, tuple) else name for name in results.cov_params().index]
        assert jackknife.parameter_names == names
        assert jackknife.observation_names == [str(label) for label in results.model.data.row_labels]

    def test_exact_refits_are_those_of_statsmodels(self, case):
        results, jackknife = case
        n = jackknife.n_obs
        counts = np.ones((2, n))
        counts[0, n // 2] = 0.0
        counts[1, :: max(n // 7, 2)] = 3.0
        found = jackknife.exact_refit(counts)
        for value, trusted, count in zip(found.value, found.trusted, counts, strict=True):
            with quietly():
                again = rebuilt(results, np.repeat(np.arange(n), count.astype(int)))
            assert trusted
            assert np.max(np.abs(value - flat(again.params)) / flat(again.bse)) < 1e-6
            if jackknife.dispersion is not None and not isinstance(results.model, sm.GLM):
                np.testing.assert_allclose(jackknife.dispersion(value, count), again.scale, rtol=1e-8)

    @pytest.mark.parametrize("kind", ["HC0", "HC1", "cluster"])
    def test_covariances(self, case, kind):
        results, jackknife = case
        n, k = jackknife.n_obs, jackknife.n_input
        labels = np.arange(n) % 7
        options = {"cov_kwds": {"groups": labels, "use_correction": True}} if kind == "cluster" else {}
        # statsmodels knows HC1 for least squares only, and returns HC0 in its place for the others
        is_linear = isinstance(results.model, sm.OLS)
        expected = np.asarray(fitted(results.model, cov_type=kind, **options).cov_params())
        if kind == "HC1" and not is_linear:
            expected = expected * n / (n - k)
        found = {
            "HC0": lambda: jackknife.covariance(),
            "HC1": lambda: jackknife.covariance(correction="HC1"),
            "cluster": lambda: jackknife.covariance(groups=labels, correction="stata"),
        }[kind]()
        scale = np.sqrt(np.diag(expected))
        atol = 1e-8 if np.linalg.cond(results.model.exog) < 1e9 else 1e-7
        np.testing.assert_allclose(found / np.outer(scale, scale), expected / np.outer(scale, scale), atol=atol)


class TestInfluence:
    @pytest.mark.parametrize("name", CANONICAL)
    def test_glm(self, name):
        with quietly():
            results = fitted(CANONICAL[name]())
        jackknife, reference = from_statsmodels(results), results.get_influence()
        moved = jackknife.leave_one_out(method="newton") - jackknife.input_val0
        unit = np.max(np.abs(reference.d_params), axis=0)
        # statsmodels loses the sign of the slope of the mean; its refits do not (see the exact refits above)
        sign = np.sign(results.model.family.link.deriv(np.asarray(results.fittedvalues)))[:, None]
        np.testing.assert_allclose(moved / unit, -sign * reference.d_params / unit, atol=1e-8)
        cook = np.einsum("ni,ij,nj->n", moved, hessian(jackknife), moved) / dispersion(jackknife) / jackknife.n_input
        np.testing.assert_allclose(cook, reference.cooks_distance[0], rtol=1e-7, atol=1e-10)
        # the Newton step is the first-order one over 1 - leverage
        first = jackknife.leave_one_out(order=1) - jackknife.input_val0
        largest = np.argmax(np.abs(moved / unit), axis=1), np.arange(len(moved))
        leverage = 1.0 - first.T[largest] / moved.T[largest]
        np.testing.assert_allclose(leverage, reference.hat_matrix_diag, atol=1e-8)

    @pytest.mark.parametrize("name", LEAST_SQUARES)
    def test_ols(self, name):
        results = fitted(LEAST_SQUARES[name]())
        jackknife, reference = from_statsmodels(results), results.get_influence()
        y, x = results.model.endog, results.model.exog
        left_out = np.asarray(jackknife.leave_one_out(method="newton"))
        residual = y - np.einsum("nk,nk->n", x, left_out)
        np.testing.assert_allclose(residual, reference.resid_press, rtol=1e-7)
        scale = [
            jackknife.dispersion(value, weights) for value, weights in zip(left_out, 1.0 - np.eye(len(y)), strict=True)
        ]
        np.testing.assert_allclose(scale, reference.sigma2_not_obsi, rtol=1e-7)
        moved = jackknife.input_val0 - left_out
        inverse = np.linalg.inv(x.T @ x / np.outer(norms := np.linalg.norm(x, axis=0), norms)) / np.outer(norms, norms)
        betas = moved / np.sqrt(np.outer(scale, np.diag(inverse)))
        np.testing.assert_allclose(betas, reference.dfbetas, atol=1e-7 * np.max(np.abs(betas)))
        fits = np.einsum("nk,nk->n", x, moved) / np.sqrt(scale * reference.hat_matrix_diag)
        np.testing.assert_allclose(fits, reference.dffits[0], atol=1e-7 * np.max(np.abs(fits)))

    def test_other_links_take_the_observed_information_throughout(self):
        y, x = load("spector", "GRADE")
        results = fitted(sm.GLM(y, x, family=FAMILIES.Binomial(LINK.CLogLog())))
        model, jackknife = results.model, from_statsmodels(results)
        scores, curvature = model.score_obs(results.params), model.hessian_factor(results.params)
        steps = [
            np.linalg.solve(-model.hessian(results.params) - c * np.outer(row, row), -score)
            for row, score, c in zip(model.exog, scores, curvature, strict=True)
        ]
        moved = jackknife.leave_one_out(method="newton") - jackknife.input_val0
        np.testing.assert_allclose(moved, steps, rtol=1e-6)
        assert np.max(np.abs(moved + results.get_influence().d_params)) > 1e-3


RANGES = {  # of the linear predictor
    "Identity": (3.0, 7.0),
    "Log": (0.5, 1.5),
    "InversePower": (0.2, 0.5),
    "InverseSquared": (0.05, 0.3),
    "Sqrt": (1.5, 3.0),
    "Power": (8.0, 20.0),
    "NegativeBinomial": (-0.6, -0.2),
    "Logit": (-1.0, 1.0),
    "Probit": (-0.7, 0.7),
    "Cauchy": (-1.0, 1.0),
    "CLogLog": (-1.0, 0.5),
    "LogLog": (-0.5, 1.0),
    "LogC": (-1.2, -0.3),
}
COUNT_RANGES = {"CLogLog": (-1.6, -0.4)}
PROBABILITY_RANGES = {"Identity": (0.3, 0.7), "Log": (-1.2, -0.3)}


def link_named(name):
    return (
        LINK.Power(1.7)
        if name == "Power"
        else LINK.NegativeBinomial(0.7)
        if name == "NegativeBinomial"
        else (getattr(LINK, name)())
    )


MAKE_FAMILY = {
    "Gaussian": FAMILIES.Gaussian,
    "Binomial": FAMILIES.Binomial,
    "Poisson": FAMILIES.Poisson,
    "Gamma": FAMILIES.Gamma,
    "InverseGaussian": FAMILIES.InverseGaussian,
    "NegativeBinomial": lambda link: FAMILIES.NegativeBinomial(link, alpha=0.7),
    "Tweedie 1.6": lambda link: FAMILIES.Tweedie(link, var_power=1.6),
    "Tweedie 3.4": lambda link: FAMILIES.Tweedie(link, var_power=3.4),
    "Tweedie 0": lambda link: FAMILIES.Tweedie(link, var_power=0.0),
    "Tweedie 1": lambda link: FAMILIES.Tweedie(link, var_power=1.0),
    "Tweedie 2": lambda link: FAMILIES.Tweedie(link, var_power=2.0),
}


def accepted():
    """Every pair of family and link that statsmodels takes."""
    pairs = []
    for family, make in MAKE_FAMILY.items():
        for link in RANGES:
            with contextlib.suppress(ValueError):
                make(link_named(link))
                pairs.append((family, link))
    return pairs


class TestFamiliesAndLinks:
    @pytest.mark.parametrize("family, link", accepted())
    def test_all_pairs(self, family, link):
        rng = np.random.default_rng(abs(hash((len(family), len(link)))) % 1000)
        n, is_binomial = 50, family == "Binomial"
        x = np.column_stack([np.ones(n), rng.uniform(-1.0, 1.0, (n, 2))])
        low, high = (PROBABILITY_RANGES if is_binomial else COUNT_RANGES).get(link, RANGES[link])
        start = np.array([(low + high) / 2, (high - low) / 6, -(high - low) / 7])
        mean = link_named(link).inverse(x @ start)
        if is_binomial:
            trials = rng.integers(20, 40, n)
            hits = rng.binomial(trials, mean)
            y = np.column_stack([hits, trials - hits])
        elif family in ("Poisson", "NegativeBinomial"):
            y = rng.poisson(mean)
        else:
            y = mean * rng.gamma(20.0, 0.05, n)
        repeats, precision = rng.integers(1, 4, n), rng.uniform(0.5, 2.0, n)
        with quietly():
            model = sm.GLM(
                y, x, MAKE_FAMILY[family](link_named(link)), offset=None, freq_weights=repeats, var_weights=precision
            )
            results = model.fit(start_params=start, tol=1e-13, maxiter=200)
        jackknife = from_statsmodels(results)
        value = jackknife.input_val0
        assert np.max(np.abs(jackknife.polished_by) / results.bse) < 1e-5
        np.testing.assert_allclose(standard_errors(jackknife), results.bse, rtol=1e-5)

        near = value + 0.03 * start
        difference = np.sum(jackknife.model.losses(near)) - np.sum(jackknife.model.losses(value))
        np.testing.assert_allclose(difference, -self.log_likelihood(model, near, value), rtol=1e-7)
        if jackknife.dispersion is not None:
            np.testing.assert_allclose(2.0 * np.sum(jackknife.model.losses(value)), results.deviance, rtol=1e-8)
            np.testing.assert_allclose(dispersion(jackknife), results.pearson_chi2 / results.df_resid, rtol=1e-6)
        found, expected = hessian(jackknife), -model.hessian(value, scale=1.0)
        np.testing.assert_allclose(found, expected, atol=2e-6 * np.max(np.abs(expected)))

    @staticmethod
    def log_likelihood(model, near, value):
        """Its growth from ``value`` to ``near`` at scale 1, by the deviance where statsmodels has no likelihood."""
        growth = model.loglike(near, scale=1.0) - model.loglike(value, scale=1.0)
        if np.isfinite(growth):
            return growth
        weights = model.var_weights, model.freq_weights
        return 0.5 * (
            model.family.deviance(model.endog, model.predict(value), *weights)
            - model.family.deviance(model.endog, model.predict(near), *weights)
        )

    @pytest.mark.parametrize("name", LINKS)
    def test_tails_are_accurate(self, name):
        link = LINKS[name]
        eta = {"logc": -1e-9, "log": -30.0, "loglog": -3.4, "probit": -12.0, "cauchy": -1e12}.get(name, -30.0)
        if not link.has_tail:
            eta = 0.3
        np.testing.assert_allclose(link.log_mean(np.array([eta])), np.log(link.mean(np.array([eta]))), rtol=1e-9)
        if link.is_symmetric:
            np.testing.assert_array_equal(link.log_complement(np.array([-eta])), link.log_mean(np.array([eta])))

    @pytest.mark.parametrize("name", ["glm", "nb", "mn"])
    def test_losses_and_scales_can_be_sent_to_another_process(self, name):
        of = TestWeightsAndOffsets
        model = {
            "glm": lambda: of.MODELS["glm"](of, np.arange(of.n)),
            "nb": lambda: of.MODELS["nb"](of, np.arange(of.n)),
            "mn": lambda: sm.MNLogit(np.arange(of.n) % 3, of.x),
        }[name]()
        jackknife = from_statsmodels(fitted(model))
        sent = pickle.dumps((jackknife.model.loss, link_like(link_named("Power")), jackknife.dispersion))
        loss, power, scale = pickle.loads(sent)
        value = jackknife.input_val0
        np.testing.assert_array_equal(loss(value, *jackknife.model.data), jackknife.model.losses(value))
        np.testing.assert_array_equal(power.mean(2.0), 2.0 ** (1 / 1.7))
        assert len(pickle.dumps(jackknife.model.loss)) < 1000
        if scale is not None:
            assert scale(value, jackknife.weights0) == dispersion(jackknife)

    def test_other_spellings_of_a_link(self):
        import scipy.stats

        assert link_like(LINK.CDFLink(scipy.stats.norm)) is link_like(LINK.Probit())
        assert link_like(LINK.CDFLink(scipy.stats.logistic)) is LINKS["logit"]
        assert link_like(LINK.CDFLink(scipy.stats.t(3))) is None
        with quietly():
            assert link_like(LINK.cloglog()) is LINKS["cloglog"]

        class Mine(LINK.Log):
            pass

        assert link_like(Mine()) is None

    def test_binary_outcomes_of_a_symmetric_link_agree_with_proportions(self):
        y, eta = np.array([0.0, 1.0, 1.0]), np.array([0.3, -2.0, 40.0])
        for name in ("logit", "probit", "cauchy"):
            binary = make_family("Binomial", y, LINKS[name]).kernel(y, eta, LINKS[name])
            whole = make_family("Binomial", np.append(y, 0.5), LINKS[name]).kernel(y, eta, LINKS[name])
            np.testing.assert_allclose(binary, whole, rtol=1e-12)


class TestWeightsAndOffsets:
    rng = np.random.default_rng(8)
    n = 40
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    exposure, offset = rng.uniform(1.0, 3.0, n), rng.normal(size=n) / 3
    counts = rng.poisson(exposure * np.exp(0.4 + 0.3 * x[:, 1]))
    outcome = np.exp(x @ [0.3, 0.2, -0.4] + offset) * rng.gamma(8.0, 1 / 8, n)
    binary = (rng.uniform(size=n) < 0.5).astype(float)
    repeats, precision = rng.integers(1, 4, n).astype(float), rng.uniform(0.5, 2.0, n)

    MODELS = {
        "glm": lambda s, i: sm.GLM(
            s.outcome[i],
            s.x[i],
            FAMILIES.Gamma(LINK.Log()),
            offset=s.offset[i],
            freq_weights=s.repeats[i],
            var_weights=s.precision[i],
        ),
        "glm exposure": lambda s, i: sm.GLM(s.counts[i], s.x[i], FAMILIES.Poisson(), s.offset[i], s.exposure[i]),
        "glm proportions": lambda s, i: sm.GLM(
            s.binary[i] * 0.5 + 0.25, s.x[i], FAMILIES.Binomial(), var_weights=4 * s.repeats[i]
        ),
        "wls": lambda s, i: sm.WLS(s.outcome[i], s.x[i], weights=s.precision[i]),
        "poisson": lambda s, i: sm.Poisson(s.counts[i], s.x[i], offset=s.offset[i], exposure=s.exposure[i]),
        "nb": lambda s, i: sm.NegativeBinomial(s.counts[i] ** 2, s.x[i], exposure=s.exposure[i]),
        "logit": lambda s, i: sm.Logit(s.binary[i], s.x[i], offset=s.offset[i]),
    }

    @pytest.mark.parametrize("name", MODELS)
    def test_leave_one_out(self, name):
        results = fitted(self.MODELS[name](self, np.arange(self.n)))
        jackknife = from_statsmodels(results, order=3)
        assert jackknife.order == 3
        weights = (1.0 - np.eye(self.n))[[0, 17]]
        found = jackknife.exact_refit(weights)
        for value, kept in zip(found.value, weights, strict=True):
            again = fitted_from(self.MODELS[name](self, np.flatnonzero(kept)), results)
            np.testing.assert_allclose(value, flat(again.params), atol=1e-7)
            if jackknife.dispersion is not None:
                np.testing.assert_allclose(jackknife.dispersion(value, kept), again.scale, rtol=1e-6)

    def test_inclusion_counts_multiply_freq_weights(self):
        make = self.MODELS["glm"]
        results = fitted(make(self, np.arange(self.n)))
        jackknife = from_statsmodels(results)
        counts = np.arange(self.n) % 3 * 1.0
        with quietly():
            again = sm.GLM(
                self.outcome, self.x, FAMILIES.Gamma(LINK.Log()), offset=self.offset,
                freq_weights=self.repeats * counts, var_weights=self.precision,
            ).fit(tol=1e-13)  # fmt: skip
        value = jackknife.exact_refit(counts).value
        np.testing.assert_allclose(value, again.params, atol=1e-7)
        np.testing.assert_allclose(jackknife.dispersion(value, counts), again.scale, rtol=1e-7)

    @pytest.mark.parametrize("scale, expected", [(None, None), ("X2", "chi2"), ("dev", "dev"), (2.5, 2.5), (1.0, None)])
    def test_scales(self, scale, expected):
        with quietly():
            results = sm.GLM(self.counts, self.x, FAMILIES.Poisson(), freq_weights=self.repeats).fit(
                scale=scale, tol=1e-13
            )
        jackknife = from_statsmodels(results)
        assert (jackknife.dispersion is None) == (expected is None)
        np.testing.assert_allclose(dispersion(jackknife), results.scale, rtol=1e-8)
        np.testing.assert_allclose(standard_errors(jackknife), results.bse, rtol=1e-6)

    def test_scale_of_binomial_counts_uses_the_trials(self):
        trials = 5 + np.arange(self.n) % 4
        hits = np.round(trials * np.linspace(0.1, 0.9, self.n))
        model = sm.GLM(np.column_stack([hits, trials - hits]), self.x, FAMILIES.Binomial())
        results = model.fit(scale="X2", tol=1e-13)
        jackknife = from_statsmodels(results)
        np.testing.assert_allclose(dispersion(jackknife), results.pearson_chi2 / results.df_resid, rtol=1e-8)

    @pytest.mark.parametrize("name, scale", [("glm", "X2"), ("glm", "dev"), ("wls", None)])
    def test_dispersion_is_differentiable(self, name, scale):
        results = fitted(self.MODELS[name](self, np.arange(self.n)), **({} if scale is None else {"scale": scale}))
        jackknife = from_statsmodels(results)
        value, weights = jackknife.input_val0, np.linspace(0.5, 1.5, self.n)
        for argument in (0, 1):
            gradient = autograd.grad(jackknife.dispersion, argument)(value, weights)
            at = [value, weights]
            for i in (0, 2):
                ends = []
                for sign in (1, -1):
                    moved = [a.copy() for a in at]
                    moved[argument][i] += sign * 1e-6
                    ends.append(jackknife.dispersion(*moved))
                np.testing.assert_allclose(gradient[i], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-9)

    def test_dispersion_without_degrees_of_freedom(self):
        jackknife = from_statsmodels(sm.OLS(self.outcome, self.x).fit())
        with pytest.raises(errors.DataError, match="weights sum to 3 for 3 parameters"):
            jackknife.dispersion(jackknife.input_val0, 1.0 * (np.arange(self.n) < 3))
        saturated = from_statsmodels(sm.OLS(self.outcome[:3], self.x[:3]).fit())
        np.testing.assert_allclose(saturated.model.losses(saturated.input_val0), 0.0, atol=1e-20)

    def test_information_is_that_of_the_weights(self):
        y, x = load("spector", "GRADE")
        jackknife = from_statsmodels(fitted(sm.GLM(y, x, family=FAMILIES.Binomial(LINK.Probit()))))
        counts = 1.0 + np.arange(len(y)) % 2
        again = sm.GLM(np.repeat(y, counts.astype(int)), x.loc[x.index.repeat(counts.astype(int))],
                       family=FAMILIES.Binomial(LINK.Probit()))  # fmt: skip
        value = jackknife.input_val0
        np.testing.assert_allclose(jackknife.information(value, counts), again.information(value) * -1, rtol=1e-8)
        gradient = from_statsmodels(sm.GLM(y, x, family=FAMILIES.Binomial(LINK.Probit())).fit(method="newton"))
        assert gradient.information is None


class TestNamesAndRows:
    frame = pd.DataFrame(
        {
            "y": [1.0, 2.0, 4.0, 3.0, np.nan, 6.0, 5.0],
            "x": [1.0, 2.0, np.nan, 4.0, 5.0, 6.0, 7.5],
            "s": list("aabbccc"),
        },
        index=[f"household {i}" for i in range(7)],
    )

    def kept(self):
        return [f"household {i}" for i in (0, 1, 3, 5, 6)]

    def test_missing_rows(self):
        by_formula = from_statsmodels(smf.ols("y ~ x", self.frame).fit(), groups=self.frame["s"])
        by_arrays = from_statsmodels(
            sm.OLS(self.frame["y"], sm.add_constant(self.frame["x"]), missing="drop").fit(), groups=self.frame["s"]
        )
        for jackknife, first in ((by_formula, "Intercept"), (by_arrays, "const")):
            assert jackknife.observation_names == self.kept()
            assert jackknife.parameter_names == [first, "x"]
            assert jackknife.groups.tolist() == list("aabcc")
        with pytest.raises(errors.ShapeError, match="groups"):
            from_statsmodels(smf.ols("y ~ x", self.frame).fit(), groups=list("abcd"))

    def test_weights_and_offsets_of_a_frame_lose_the_missing_rows_too(self):
        frame = self.frame.assign(w=np.arange(1.0, 8.0), p=np.linspace(0.5, 2.0, 7))
        options = {"freq_weights": frame["w"], "var_weights": frame["p"], "offset": frame["p"] / 3}
        results = smf.glm("y ~ x", frame, family=FAMILIES.Gamma(LINK.Log()), **options).fit(tol=1e-13)
        jackknife = from_statsmodels(results)
        assert jackknife.observation_names == self.kept()
        np.testing.assert_allclose(standard_errors(jackknife), results.bse, rtol=1e-6)
        assert np.max(np.abs(jackknife.polished_by) / results.bse) < 1e-6

    def test_arrays_have_no_observation_names(self):
        x = np.column_stack([np.ones(6), np.arange(6.0)])
        jackknife = from_statsmodels(sm.OLS(np.arange(6.0) ** 2, x).fit())
        assert jackknife.observation_names is None
        assert jackknife.parameter_names == ["const", "x1"]

    def test_results_are_not_changed(self):
        results = smf.ols("y ~ x", self.frame).fit()
        before = [np.array(a) for a in (results.params, results.model.exog, results.model.endog)]
        jackknife = from_statsmodels(results)
        jackknife.exact_refit(np.linspace(0.5, 1.5, 5))
        for old, new in zip(before, (results.params, results.model.exog, results.model.endog), strict=True):
            np.testing.assert_array_equal(old, new)


class TestConvergence:
    def test_loose_fit_is_polished_and_said_so(self, caplog):
        y, x = load("spector", "GRADE")
        with quietly():
            loose = sm.Logit(y, x).fit(method="bfgs", maxiter=8, disp=False)
        tight = sm.Logit(y, x).fit(disp=False, tol=1e-12)
        with caplog.at_level(logging.INFO, "vittles_ng"):
            jackknife = from_statsmodels(loose)
            np.testing.assert_allclose(jackknife.input_val0, tight.params, rtol=1e-8)
            np.testing.assert_allclose(jackknife.polished_by, tight.params - loose.params, rtol=1e-6)
            from_statsmodels(tight)
        first, second = (record for record in caplog.records if "polishing moved" in record.getMessage())
        assert first.levelno == logging.WARNING
        assert second.levelno == logging.INFO
        size = np.max(np.abs(jackknife.polished_by / tight.bse))
        np.testing.assert_allclose(first.args[0], size, rtol=1e-5)

    rng = np.random.default_rng(1)
    z = rng.normal(size=60)
    cell = (np.arange(60) < 8).astype(float)
    noise = rng.integers(0, 2, 60).astype(float)

    SEPARABLE = {
        "logit": (sm.Logit, "z", None),
        "probit": (sm.Probit, "z", None),
        "glm logit": (sm.GLM, "z", LINK.Logit),
        "glm cloglog": (sm.GLM, "z", LINK.CLogLog),
        "glm cauchy": (sm.GLM, "z", LINK.Cauchy),
        "cell logit": (sm.Logit, "cell", None),
        "cell glm": (sm.GLM, "cell", LINK.Logit),
        "cell loglog": (sm.GLM, "cell", LINK.LogLog),
        "cell poisson": (sm.Poisson, "cell", None),
        "cell nb": (sm.NegativeBinomial, "cell", None),
        "cell mnlogit": (sm.MNLogit, "cell", None),
    }

    @pytest.mark.parametrize("unit", [1.0, 1e6])
    @pytest.mark.parametrize("name", SEPARABLE)
    def test_separable(self, name, unit):
        model, by, link = self.SEPARABLE[name]
        if by == "z":
            y, x = (self.z > 0).astype(float), sm.add_constant(self.z * unit)
        else:
            counts = self.rng.poisson(3.0, 60) if "poisson" in name or "nb" in name else self.noise
            counts = np.arange(60) % 3 if "mn" in name else counts
            y = np.where(self.cell == 1.0, 0, counts)
            x = np.column_stack([np.ones(60), self.z, self.cell * unit])
        options = {} if link is None else {"family": FAMILIES.Binomial(link())}
        with quietly():
            results = model(y, x, **options).fit(**({} if model is sm.GLM else {"disp": False}))
        # with a covariate in millionths statsmodels stops elsewhere, some fits at NaN
        expected = errors.DataError if unit == 1.0 else errors.VittlesError
        with pytest.raises(expected, match="separable" if unit == 1.0 else None):
            from_statsmodels(results)

    def test_far_observation_is_not_taken_for_separation(self):
        z, y = self.z.copy(), self.noise.copy()
        z[0], y[0] = 1e6, 1.0
        from_statsmodels(sm.Logit(y, sm.add_constant(z)).fit(disp=False))
        rare = np.zeros(5000)
        rare[:2] = 1.0
        assert from_statsmodels(sm.Logit(rare, np.ones((5000, 1))).fit(disp=False, maxiter=100)).n_input == 1

    @pytest.mark.parametrize("y_unit, x_unit", [(1.0, 1.0), (1e-9, 1e12), (1e9, 1e-9), (1.0, 1e12)])
    def test_units_do_not_matter(self, y_unit, x_unit):
        y = 1.0 + self.z + self.rng.normal(size=60)
        results = sm.OLS(y_unit * y, sm.add_constant(x_unit * self.z)).fit()
        jackknife = from_statsmodels(results)
        left_out = jackknife.exact_refit(1.0 * (np.arange(60) > 0)).value
        again = sm.OLS(y_unit * y[1:], sm.add_constant(x_unit * self.z[1:])).fit()
        assert np.max(np.abs(left_out - again.params) / again.bse) < 1e-5

    def test_perfect_fit(self):
        jackknife = from_statsmodels(sm.OLS(1.0 + 2.0 * self.z, sm.add_constant(self.z)).fit())
        np.testing.assert_allclose(jackknife.input_val0, [1.0, 2.0], rtol=1e-12)


class TestRefused:
    rng = np.random.default_rng(5)
    n = 60
    x = sm.add_constant(rng.normal(size=n))
    y = x @ [1.0, 0.5] + rng.normal(size=n)
    binary = (y > 1.0).astype(float) * (np.arange(n) % 5 > 0)
    counts = rng.poisson(2.0, n)
    groups = np.arange(n) // 4

    UNSUPPORTED = {
        "QuantReg": (lambda s: sm.QuantReg(s.y, s.x).fit(), "kink"),
        "GLS": (lambda s: sm.GLS(s.y, s.x).fit(), "correlated"),
        "RLM": (lambda s: sm.RLM(s.y, s.x).fit(), "median"),
        "MixedLM": (lambda s: sm.MixedLM(s.y, s.x, groups=s.groups).fit(), "random effects"),
        "GEE": (lambda s: sm.GEE(s.y, s.x, groups=s.groups).fit(), "correlation"),
        "PHReg": (lambda s: sm.PHReg(np.exp(s.y), s.x[:, 1]).fit(), "at risk"),
        "GeneralizedPoisson": (lambda s: sm.GeneralizedPoisson(s.counts, s.x).fit(disp=0), "not known here"),
        "L1": (lambda s: sm.Logit(s.binary, s.x).fit_regularized(alpha=1.0, disp=0), "penalty"),
        "ridge": (lambda s: sm.OLS(s.y, s.x).fit_regularized(alpha=0.1, L1_wt=0.0), "penalty"),
        "elastic net, refitted": (lambda s: sm.OLS(s.y, s.x).fit_regularized(alpha=0.01, refit=True), "penalty"),
        "constrained": (
            lambda s: sm.GLM(s.counts, s.x, FAMILIES.Poisson()).fit_constrained("x1 = 0.5"), "constraints",
        ),
        "own link": (lambda s: sm.GLM(s.y**2, s.x, FAMILIES.Gamma(OwnLink())).fit(), "link OwnLink"),
        "own family": (lambda s: sm.GLM(s.y, s.x, OwnFamily()).fit(), "family OwnFamily"),
        "fractional probit": (lambda s: sm.Probit(s.binary * 0.9, s.x, offset=0 * s.y).fit(disp=0), "GLM"),
        "unfitted": (lambda s: sm.OLS(s.y, s.x), "call it first"),
        "not a fit": (lambda s: 3, "results of a model's fit"),
    }  # fmt: skip

    @pytest.mark.parametrize("name", UNSUPPORTED)
    def test_unsupported(self, name):
        make, reason = self.UNSUPPORTED[name]
        with quietly(), contextlib.redirect_stdout(None):
            results = make(self)
        with pytest.raises(errors.UnsupportedModelError, match=reason) as raised:
            from_statsmodels(results)
        assert isinstance(raised.value, TypeError)
        if name != "fractional probit" and "is not" in str(raised.value):
            assert "MNLogit" in str(raised.value)

    def test_data_removed(self):
        results = sm.OLS(self.y, self.x).fit()
        results.remove_data()
        with pytest.raises(errors.DataError, match="remove_data"):
            from_statsmodels(results)

    def test_parameters_that_are_nan(self):
        results = sm.OLS(self.y, self.x).fit()
        results.params[0] = np.nan
        with pytest.raises(errors.NonFiniteError, match="1 of 2 fitted parameters"):
            from_statsmodels(results)

    def test_collinear_covariates(self):
        with quietly():
            results = sm.OLS(self.y, np.column_stack([self.x, self.x[:, 1]])).fit()
        with pytest.raises(errors.NotPositiveDefiniteError):
            from_statsmodels(results)

    def test_mean_out_of_range(self):
        with quietly():
            results = sm.GLM((self.y > 1.0) * 1.0, self.x, FAMILIES.Binomial(LINK.Identity())).fit()
        with pytest.raises(errors.DataError, match="identity link"):
            from_statsmodels(results)

    def test_no_overdispersion(self):
        with quietly():
            results = sm.NegativeBinomial(np.round(5 + 0.2 * self.x[:, 1]), self.x).fit(disp=False)
        with pytest.raises(errors.DataError, match="Poisson"):
            from_statsmodels(results)


class OwnLink(LINK.Log):
    """A user's subclass may compute anything."""


class OwnFamily(FAMILIES.Gaussian):
    """Likewise."""


@pytest.mark.parametrize("seed", range(12))
def test_significance_is_that_of_the_refit_of_statsmodels(seed):
    # of 12 observations each one left out moves the critical value of the t distribution
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=12)})
    table["y"] = 0.45 * table.x + rng.normal(size=12)
    fit = smf.ols("y ~ x", table).fit()
    found = smallest_reversing_set(from_statsmodels(fit), "x", reverse="significance", max_drop=4)
    reduced = smf.ols("y ~ x", table.drop(index=found.indices)).fit()
    assert found.refitted == pytest.approx(reduced.tvalues["x"], abs=1e-9)
    assert found.reversed == ((fit.pvalues["x"] < 0.05) != (reduced.pvalues["x"] < 0.05))


def test_degrees_of_freedom():
    table = pd.DataFrame({"x": np.arange(8.0), "y": np.arange(8) % 3, "g": np.repeat([0, 1, 2, 3], 2)})
    linear = from_statsmodels(smf.ols("y ~ x", table).fit(), groups=table.g)
    assert linear.degrees_of_freedom(np.ones(8)) == 6.0
    assert from_statsmodels(smf.poisson("y ~ x", table).fit(disp=False)).degrees_of_freedom is None
    cases = [("model", None, 6.0), ("sandwich", None, 6.0), ("sandwich", True, 3.0)]
    for error, groups, df in cases:
        quantity = TQuantity(linear, t_statistic("x", error, groups))
        assert quantity.critical(np.ones(8), 0.1) == pytest.approx(scipy.stats.t.ppf(0.95, df))
    without = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert quantity.critical(without, 0.1) == pytest.approx(scipy.stats.t.ppf(0.95, 2.0))
    fixed = TQuantity(linear, t_statistic("x", df=4.0))
    assert fixed.critical(without, 0.1) == pytest.approx(scipy.stats.t.ppf(0.95, 4.0))
    assert TQuantity(linear, t_statistic("x")).critical(np.arange(8) < 2.0, 0.1) == np.inf


@pytest.mark.parametrize("has_missing", [False, True])
def test_groups_in_another_order_than_the_rows_are_refused(has_missing):
    table = pd.DataFrame({"x": np.arange(8.0), "y": np.arange(8) % 3, "g": np.repeat(list("abcd"), 2)})
    table.index = list("stuvwxyz")
    if has_missing:
        table.loc["u", "x"] = np.nan
    fit = smf.ols("y ~ x", table).fit()
    assert from_statsmodels(fit, groups=table.g).groups.tolist() == [
        g for g, x in zip(table.g, table.x, strict=True) if np.isfinite(x)
    ]
    with pytest.raises(errors.DataError, match="row 0 is 's', there 'z'"):
        from_statsmodels(fit, groups=table.g[::-1])
    assert from_statsmodels(fit, groups=table.g[::-1].to_numpy()).groups[0] == "d"
