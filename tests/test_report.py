"""The report's data, exact fits and comparison of refits, whose claims are held against statsmodels' refits."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from report_models import FORMULAS, N_OBS, make_frame, statsmodels_fit

from vittles_ng.errors import DataError, VittlesError, optional_import
from vittles_ng.jackknife.resamples import Resamples
from vittles_ng.report.data import glm_data, read_csv
from vittles_ng.report.model import FAMILIES, NewtonPath, fit_glm, newton, solve_exactly
from vittles_ng.report.tasks import chosen_to_verify, make_tasks, newton_profile, run_task


def no_tick():
    pass


@pytest.fixture(scope="module")
def frame():
    return make_frame()


@pytest.fixture(scope="module", params=sorted(FORMULAS))
def fitted(request, frame):
    family = request.param
    return family, fit_glm(glm_data(frame, FORMULAS[family], family), family)


def test_coefficients_and_standard_errors_are_in_the_units_of_the_file(frame, fitted):
    family, fit = fitted
    oracle = statsmodels_fit(frame, family)
    assert fit.data.columns == ("Intercept", "C(region)[T.north]", "C(region)[T.west]", "income", "age")
    np.testing.assert_allclose(fit.estimates, oracle.params, rtol=1e-7)
    np.testing.assert_allclose(fit.standard_error, oracle.bse, rtol=1e-6)
    np.testing.assert_allclose(fit.changes(np.eye(5)) * fit.standard_error, fit.data.transform.T)
    np.testing.assert_allclose(fit.jackknife.input_val0, fit.input_val, atol=1e-12)
    assert fit.jackknife.parameter_names == list(fit.data.columns)


def test_exact_refits_are_statsmodels_refits(frame, fitted, rng):
    family, fit = fitted
    for weights in (rng.multinomial(N_OBS, np.full(N_OBS, 1 / N_OBS)).astype(float), np.r_[0.0, np.ones(N_OBS - 1)]):
        path = solve_exactly(fit.data, fit.family, fit.input_val, weights)
        assert path.solved
        ours = fit.data.transform @ path.values[-1] + fit.data.offset
        np.testing.assert_allclose(ours, statsmodels_fit(frame, family, weights).params, rtol=1e-7)


def test_penalised_refit_of_least_squares_is_the_ridge_solution(frame):
    data = glm_data(frame, FORMULAS["gaussian"], "gaussian")
    z, penalty = data.design, 17.0
    closed_form = np.linalg.solve(z.T @ z + penalty * np.diag([0.0, 1, 1, 1, 1]), z.T @ data.response)
    path = solve_exactly(data, FAMILIES["gaussian"], np.zeros(5), penalty=penalty)
    assert path.solved
    np.testing.assert_allclose(path.values[-1], closed_form, rtol=1e-12, atol=1e-14)


def test_damped_newton_converges_where_the_plain_one_overshoots():
    """One covariate, counts that start far from the optimum: the first plain step overflows exp."""
    data = glm_data(pd.DataFrame({"c": [0, 1, 2, 900, 1100], "x": [0.0, 0.1, 0.2, 5.0, 5.1]}), "c ~ x", "poisson")
    start = np.array([-30.0, 1.0])
    assert not newton(data, FAMILIES["poisson"], start).solved
    path = solve_exactly(data, FAMILIES["poisson"], start)
    assert path.solved
    residual = np.exp(data.design @ path.values[-1]) - data.response
    np.testing.assert_allclose(data.design.T @ residual, 0.0, atol=1e-6)


def exact_weights(name, n, seed, groups=None):
    """The weights of leave-one-out and of resamples."""
    labels = np.arange(N_OBS) if groups is None else np.unique(groups, return_inverse=True)[1]
    if name.startswith("leave"):
        return np.array([(labels != i).astype(float) for i in range(labels.max() + 1)])
    return Resamples(np.ones(N_OBS), groups, n, np.random.default_rng(seed)).weights(slice(None))


@pytest.mark.parametrize(
    ("name", "groups"),
    [("leave-one-out", None), ("bootstrap", None), ("leave-group-out", "village"), ("bootstrap", "village")],
)
def test_the_tables_errors_are_those_against_statsmodels(frame, family_of_groups, name, groups):
    family, fit = family_of_groups[groups]
    task = {task.name: task for task in make_tasks(fit, 3, 15, seed=1)}[name]
    outcome = run_task(fit, task, seed=1, tick=no_tick)
    oracle = statsmodels_fit(frame, family)
    weights = exact_weights(name, 15, 1, None if groups is None else frame[groups])
    exact = np.array([statsmodels_fit(frame, family, weights[row]).params for row in outcome.rows])
    for values, line in zip(outcome.values, outcome.lines, strict=True):
        error = np.max(np.abs(fit.in_units(values[outcome.rows]) - exact) / oracle.bse)
        assert line.max_error_in_standard_errors == pytest.approx(error, rel=1e-4, abs=1e-7)
    errors = [line.max_error_in_standard_errors for line in outcome.lines]
    assert errors[2] < 0.3 * errors[0]
    assert [line.order for line in outcome.lines] == [1, 2, 3] + ["newton"] * name.startswith("leave")
    assert outcome.n_unsolved == 0
    assert len(outcome.rows) == min(len(weights), 40)


@pytest.fixture(scope="module")
def family_of_groups(frame):
    def fit(groups):
        return "poisson", fit_glm(glm_data(frame, FORMULAS["poisson"], "poisson", groups), "poisson")

    return {groups: fit(groups) for groups in (None, "village")}


def test_the_grids_errors_are_those_against_the_ridge_solution(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    task = make_tasks(fit, 4, 1, seed=0)[-1]
    outcome = run_task(fit, task, seed=0, tick=no_tick)
    z = fit.data.design
    penalties = task.penalties[outcome.rows]
    exact = np.array(
        [
            np.linalg.solve(z.T @ z + penalty * np.diag([0.0, 1, 1, 1, 1]), z.T @ fit.data.response)
            for penalty in penalties
        ]
    )
    assert penalties[-1] / penalties[0] == pytest.approx(9.0)
    for values, line in zip(outcome.values, outcome.lines, strict=True):
        error = np.max(np.abs((values[outcome.rows] - exact) @ fit.data.transform.T) / fit.standard_error)
        assert line.max_error_in_standard_errors == pytest.approx(error, rel=1e-6, abs=1e-9)
    errors = [line.max_error_in_standard_errors for line in outcome.lines]
    assert errors[3] < 0.1 * errors[0]


def test_lines_are_consistent_and_every_refit_is_counted(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["binomial"], "binomial"), "binomial")
    cases = zip(make_tasks(fit, 2, 50, seed=0), (N_OBS, 50, 101), (40, 40, 21), (3, 2, 2), strict=True)
    for task, n_refits, n_verified, n_lines in cases:
        ticks = []
        outcome = run_task(fit, task, seed=0, tick=lambda ticks=ticks: ticks.append(1))
        assert len(ticks) == n_lines + 1
        assert outcome.values.shape == (n_lines, n_refits, 5)
        assert len(set(outcome.rows)) == n_verified
        for line in outcome.lines:
            assert (line.task, line.refits, line.verified) == (task.name, n_refits, n_verified)
            assert line.speed_up == pytest.approx(line.exact_seconds / line.seconds)
            assert line.equal_error_speed_up == pytest.approx(line.equal_error_exact_seconds / line.seconds)
            assert 0 < line.equal_error_exact_seconds <= line.exact_seconds
            assert line.seconds > task.set_up >= 0
    # The most displaced refits are among the verified ones, and which others are is the seed's choice.
    task = make_tasks(fit, 1, 50, seed=0)[0]
    outcomes = [run_task(fit, task, seed, no_tick) for seed in (0, 0, 1)]
    displaced = np.argsort(-fit.in_standard_errors(outcomes[0].values[0] - fit.input_val))[:20]
    assert all(set(displaced) <= set(outcome.rows) for outcome in outcomes)
    assert set(outcomes[0].rows) == set(outcomes[1].rows) != set(outcomes[2].rows)


def test_the_newton_step_is_exact_for_least_squares(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    lines = run_task(fit, make_tasks(fit, 1, 1, seed=0)[0], 0, no_tick).lines
    assert lines[1].order == "newton"
    assert lines[1].max_error_in_standard_errors < 1e-10 < lines[0].max_error_in_standard_errors


def test_leave_one_out_stays_at_orders_that_need_no_pass_for_each(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    assert [task.orders for task in make_tasks(fit, 5, 1, seed=0)] == [
        (1, 2, 3, "newton"),
        (1, 2, 3, 4, 5),
        (1, 2, 3, 4, 5),
    ]


def test_the_mean_time_of_newtons_method_is_that_of_all_refits():
    """Two refits that stand for themselves take 3 s, two that stand for 49 each take 1 s: 106 s in all, not 200."""
    fit = SimpleNamespace(in_standard_errors=lambda difference: np.abs(difference[:, 0]))
    slow = NewtonPath(np.array([[0.0], [0.5], [1.0]]), np.array([0.0, 1.0, 3.0]), np.eye(1), True)
    fast = NewtonPath(np.array([[0.0], [0.25]]), np.array([0.0, 1.0]), np.eye(1), True)
    errors, seconds = newton_profile(fit, [slow, slow, fast, fast], np.array([1.0, 1.0, 49.0, 49.0]))
    np.testing.assert_array_equal(errors, [1.0, 0.5, 0.0])
    np.testing.assert_allclose(100 * seconds, [0.0, 100.0, 104.0])


@pytest.mark.parametrize("n_refits", [3, 40, 41, 500])
def test_verified_refits_stand_for_all(frame, n_refits):
    fit = fit_glm(glm_data(frame, FORMULAS["binomial"], "binomial"), "binomial")
    task = make_tasks(fit, 1, n_refits, seed=0)[1]
    values = np.random.default_rng(0).standard_normal((n_refits, 5))
    rows, stands_for = chosen_to_verify(fit, task, values, np.random.default_rng(1))
    assert len(set(rows)) == len(rows) == min(n_refits, 40)
    assert stands_for.sum() == pytest.approx(n_refits)


def test_the_change_that_errors_compare_with_is_the_exact_one(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    outcome = run_task(fit, make_tasks(fit, 1, 1, seed=0)[0], seed=0, tick=no_tick)
    oracle = statsmodels_fit(frame, "gaussian")
    changes = [
        np.max(
            np.abs(statsmodels_fit(frame, "gaussian", (np.arange(N_OBS) != row) * 1.0).params - oracle.params)
            / oracle.bse
        )
        for row in outcome.rows
    ]
    assert outcome.lines[0].change_in_standard_errors == pytest.approx(max(changes), rel=1e-5)


def test_resamples_come_from_the_seed(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["binomial"], "binomial"), "binomial")
    draws = [make_tasks(fit, 1, 4, seed)[1].approximate(1) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.all(draws[0] != draws[2])


def test_nothing_verified_is_not_a_number_instead_of_zero(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    task = make_tasks(fit, 1, 1, seed=0)[1]
    none_solved = replace(task, exact=lambda i: newton(fit.data, fit.family, fit.input_val, np.zeros(N_OBS)))
    outcome = run_task(fit, none_solved, seed=0, tick=no_tick)
    assert (outcome.n_unsolved, outcome.lines[0].verified) == (1, 0)
    assert np.isnan(outcome.lines[0].max_error_in_standard_errors)
    assert np.isnan(outcome.lines[0].speed_up)


def test_no_approximation_beside_an_exact_refit_is_an_infinite_error(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["binomial"], "binomial"), "binomial")
    task = make_tasks(fit, 1, 3, seed=0)[1]
    outcome = run_task(fit, replace(task, approximate=lambda order: np.full((3, 5), np.nan)), 0, no_tick)
    assert outcome.lines[0].max_error_in_standard_errors == np.inf
    assert not outcome.lines[0].is_refit


def test_the_start_of_newtons_method_is_no_refit(frame):
    """Where the start is already better than the series, the rival still pays for one step."""
    fit = fit_glm(glm_data(frame, FORMULAS["binomial"], "binomial"), "binomial")
    task = make_tasks(fit, 1, 3, seed=0)[1]
    unmoved = replace(task, exact=lambda i: solve_exactly(fit.data, fit.family, fit.input_val))
    line = run_task(fit, unmoved, seed=0, tick=no_tick).lines[0]
    assert line.max_error_in_standard_errors > 0.1
    assert line.equal_error_exact_seconds > 0


RESPONSES = [
    ("y ~ income", "binomial", "y = 1"),
    ("I(y + 1) ~ income", "binomial", "I(y + 1) = 2"),
    ("np.where(y == 1, 'yes', 'no') ~ income", "binomial", "np.where(y == 1, 'yes', 'no')[yes]"),
    ("y > 0 ~ income", "binomial", "y > 0[True]"),
]


@pytest.mark.parametrize(("formula", "family", "name"), RESPONSES, ids=[case[2] for case in RESPONSES])
def test_two_level_responses_are_the_same_model(frame, formula, family, name):
    data = glm_data(frame, formula, family)
    assert data.response_name == name
    np.testing.assert_array_equal(data.response, frame["y"])


def test_covariates_are_standardised_except_without_an_intercept(frame):
    data = glm_data(frame, "y ~ income + age", "binomial")
    np.testing.assert_allclose(data.design.mean(axis=0), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(data.design[:, 1:].std(axis=0), 1)
    np.testing.assert_array_equal(data.penalised, [0, 1, 1])
    raw = np.column_stack([np.ones(N_OBS), frame["income"], frame["age"]])
    np.testing.assert_allclose(data.design, raw @ data.transform, atol=1e-9)
    bare = glm_data(frame, "y ~ income + age - 1", "binomial")
    np.testing.assert_allclose(np.mean(bare.design**2, axis=0), 1)
    np.testing.assert_array_equal(bare.penalised, [1, 1])


def test_names_with_spaces_are_quoted(frame):
    data = glm_data(frame.rename(columns={"age": "age in years"}), "y ~ Q('age in years')", "binomial")
    assert data.columns == ("Intercept", "Q('age in years')")


def test_the_callers_frame_is_not_changed(frame):
    before = frame.copy()
    fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("formula", ["y ~ who", "y ~ C(number)", "who ~ number"])
def test_labels_are_refused_before_their_columns_are_made(formula):
    """30000 labels would be a 7 GB design."""
    labels = pd.DataFrame({"y": np.arange(30000) % 2, "number": np.arange(30000)})
    labels["who"] = "person " + labels["number"].astype(str)
    with pytest.raises(DataError, match="(who|number) has 30000 different values: too many for categories"):
        glm_data(labels, formula, "binomial")


def test_interactions_are_counted_before_their_columns_are_made():
    parts = pd.DataFrame({"y": np.arange(2000) % 2, "a": np.arange(2000) % 100, "b": np.arange(2000) % 101})
    with pytest.raises(DataError, match="2000 rows cannot determine 10100 coefficients"):
        glm_data(parts, "y ~ C(a):C(b)", "binomial")


def test_large_responses_are_fitted_as_well(frame):
    shifted = frame.assign(price=1e9 + frame["price"] / 1e3)
    shifted_fit = fit_glm(glm_data(shifted, FORMULAS["gaussian"], "gaussian"), "gaussian")
    plain_fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    np.testing.assert_allclose(shifted_fit.standard_error, plain_fit.standard_error / 1e3, rtol=1e-5)


def test_csv_with_blanks_after_the_commas(tmp_path):
    path = tmp_path / "blanks.csv"
    path.write_text("y, x\n1, 2.5\n0, 3.5\n")
    assert list(read_csv(str(path)).columns) == ["y", "x"]


def test_a_missing_optional_dependency_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "patsy", None)
    with pytest.raises(VittlesError, match=r"needs patsy: pip install 'vittles-ng\[report\]'"):
        optional_import("patsy")


def test_groups_and_labels_are_columns(frame):
    data = glm_data(frame, "y ~ age", "binomial", "village", "region")
    np.testing.assert_array_equal(data.groups, frame["village"])
    assert data.row_names == tuple(frame["region"])
    assert data.group_name == "village"
    assert glm_data(frame, "y ~ age", "binomial").row_names[:2] == ("row 1", "row 2")
    mixed = glm_data(frame.assign(mixed=[1, "a"] * (N_OBS // 2)), "y ~ age", "binomial", "mixed")
    assert set(mixed.groups) == {"1", "a"}


BAD_LABELS = [
    ({"groups": "nowhere"}, "--groups: no column 'nowhere' in the data [(]columns: income"),
    ({"labels": "nowhere"}, "--labels: no column 'nowhere'"),
    ({"groups": "same"}, "--groups same: all 120 rows have the same value"),
    ({"groups": "gaps"}, "--groups gaps: 2 of 120 rows have no value"),
    ({"labels": "gaps"}, "--labels gaps: 2 of 120 rows have no value"),
]


@pytest.mark.parametrize(("given", "pattern"), BAD_LABELS, ids=[case[1][:30] for case in BAD_LABELS])
def test_bad_groups_and_labels(frame, given, pattern):
    bad = frame.assign(same=1, gaps=np.where(np.arange(N_OBS) < 2, np.nan, np.arange(N_OBS) % 3))
    with pytest.raises(DataError, match=pattern):
        glm_data(bad, "y ~ age", "binomial", **given)
