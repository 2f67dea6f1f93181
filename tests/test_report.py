"""The report: reading data, exact fits, the table's claims against statsmodels' refits, the figure."""

import csv
import math
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from matplotlib.figure import Figure
from matplotlib.image import imread

from vittles_ng import plots
from vittles_ng.errors import DataError, VittlesError, optional_import
from vittles_ng.report.data import glm_data, read_csv
from vittles_ng.report.model import FAMILIES, NewtonPath, fit_glm, newton, solve_exactly
from vittles_ng.report.run import chosen_to_verify, make_tasks, newton_profile, run_report, run_task
from vittles_ng.report.table import Line, format_table

N_OBS = 120
FORMULAS = {
    "binomial": "y ~ income + age + C(region)",
    "poisson": "visits ~ income + age + C(region)",
    "gaussian": "price ~ income + age + C(region)",
}
SM_FAMILIES = {"binomial": sm.families.Binomial, "poisson": sm.families.Poisson, "gaussian": sm.families.Gaussian}


def no_tick(_):
    pass


@pytest.fixture(scope="module")
def frame():
    """Covariates in unlike units, so that a slip in the standardisation shows."""
    rng = np.random.default_rng(7)
    income, age = rng.normal(3e4, 9e3, N_OBS), rng.uniform(20, 70, N_OBS)
    region = rng.choice(["east", "north", "west"], N_OBS)
    eta = (income - 3e4) / 2e4 + (age - 45) / 40 + 0.4 * (region == "west")
    return pd.DataFrame(
        {
            "income": income,
            "age": age,
            "region": region,
            "y": (rng.random(N_OBS) < 1 / (1 + np.exp(-eta))).astype(int),
            "visits": rng.poisson(np.exp(1.0 + 0.3 * eta)),
            "price": 1e6 + 1e3 * (eta + rng.normal(size=N_OBS)),
        }
    )


def statsmodels_fit(frame, family, weights=None):
    """The oracle: statsmodels' IRLS in the units of the file, with the design written by hand."""
    design = np.column_stack(
        [
            np.ones(len(frame)),
            frame["region"] == "north",
            frame["region"] == "west",
            frame["income"],
            frame["age"],
        ]
    ).astype(float)
    response = frame[FORMULAS[family].split()[0]].to_numpy(dtype=float)
    model = sm.GLM(response, design, SM_FAMILIES[family](), freq_weights=weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(tol=1e-14, tol_criterion="params", maxiter=200)


@pytest.fixture(scope="module", params=sorted(FORMULAS))
def fitted(request, frame):
    family = request.param
    return family, fit_glm(glm_data(frame, FORMULAS[family], family), family)


def test_coefficients_and_standard_errors_are_in_the_units_of_the_file(frame, fitted):
    family, fit = fitted
    oracle = statsmodels_fit(frame, family)
    rows = fit.coefficients()
    assert [row["coefficient"] for row in rows] == [
        "Intercept",
        "C(region)[T.north]",
        "C(region)[T.west]",
        "income",
        "age",
    ]
    np.testing.assert_allclose([row["estimate"] for row in rows], oracle.params, rtol=1e-7)
    np.testing.assert_allclose([row["standard_error"] for row in rows], oracle.bse, rtol=1e-6)


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


@pytest.mark.parametrize("name", ["leave-one-out", "bootstrap"])
def test_the_tables_errors_are_those_against_statsmodels(frame, fitted, name):
    family, fit = fitted
    task = {task.name: task for task in make_tasks(fit, 15, 15, seed=1)}[name]
    outcome = run_task(fit, task, 3, seed=1, tick=no_tick)
    oracle = statsmodels_fit(frame, family)
    left_out = np.linspace(0, N_OBS - 1, 15).astype(int)
    if name == "leave-one-out":
        weights = [np.delete(np.ones(N_OBS + 1), 0) - (np.arange(N_OBS) == row) for row in left_out]
    else:
        weights = np.random.default_rng(1).multinomial(N_OBS, np.full(N_OBS, 1 / N_OBS), size=15).astype(float)
    exact = np.array([statsmodels_fit(frame, family, w).params for w in weights])
    for values, line in zip(outcome.values, outcome.lines, strict=True):
        ours = values @ fit.data.transform.T + fit.data.offset
        error = np.max(np.abs(ours - exact) / oracle.bse)
        assert line.max_error_in_standard_errors == pytest.approx(error, rel=1e-4, abs=1e-7)
    errors = [line.max_error_in_standard_errors for line in outcome.lines]
    assert errors[2] < 0.3 * errors[0]
    assert (outcome.n_unsolved, len(outcome.rows)) == (0, 15)


def test_the_grids_errors_are_those_against_the_ridge_solution(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    task = make_tasks(fit, 1, 1, seed=0)[-1]
    outcome = run_task(fit, task, 4, seed=0, tick=no_tick)
    z = fit.data.design
    penalties = np.exp(task.hypers(outcome.rows)[:, 0])
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
    ticks = []
    for task, n_refits, n_verified in zip(
        make_tasks(fit, None, 50, seed=0), (N_OBS, 50, 101), (40, 40, 21), strict=True
    ):
        before = sum(ticks)
        outcome = run_task(fit, task, 2, seed=0, tick=ticks.append)
        assert sum(ticks) - before == 2 * n_refits
        assert outcome.values.shape == (2, n_refits, 5)
        assert len(set(outcome.rows)) == n_verified
        for order, line in enumerate(outcome.lines, start=1):
            assert (line.task, line.refits, line.verified, line.order) == (task.name, n_refits, n_verified, order)
            assert line.speed_up == pytest.approx(line.exact_seconds / line.seconds)
            assert line.equal_error_speed_up == pytest.approx(line.equal_error_exact_seconds / line.seconds)
            assert 0 < line.equal_error_exact_seconds <= line.exact_seconds
    # The most displaced refits are among the verified ones, and which others are is the seed's choice.
    outcomes = [run_task(fit, make_tasks(fit, None, 50, seed=0)[0], 1, seed, no_tick) for seed in (0, 0, 1)]
    displaced = np.argsort(-fit.in_standard_errors(outcomes[0].values[0] - fit.input_val))[:20]
    assert all(set(displaced) <= set(outcome.rows) for outcome in outcomes)
    assert set(outcomes[0].rows) == set(outcomes[1].rows) != set(outcomes[2].rows)


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
    task = make_tasks(fit, None, n_refits, seed=0)[1]
    values = np.random.default_rng(0).standard_normal((n_refits, 5))
    rows, stands_for = chosen_to_verify(fit, task, values, np.random.default_rng(1))
    assert len(set(rows)) == len(rows) == min(n_refits, 40)
    assert stands_for.sum() == pytest.approx(n_refits)


def test_an_approximation_worse_than_the_fit_itself_has_no_speed_up():
    good = Line("bootstrap", 9, 9, 1, 0.5, 1.0, 8.0, 8.0, 4.0, 4.0, 0.6)
    bad = replace(good, order=2, max_error_in_standard_errors=0.7)
    _, _, first, second = format_table([good, bad]).splitlines()
    assert first.split()[-2:] == ["8.0x", "4.0x"]
    assert second.split()[-2:] == ["-", "-"]


def test_the_change_that_errors_compare_with_is_the_exact_one(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    outcome = run_task(fit, make_tasks(fit, 5, 1, seed=0)[0], 1, seed=0, tick=no_tick)
    oracle = statsmodels_fit(frame, "gaussian")
    changes = [
        np.max(
            np.abs(statsmodels_fit(frame, "gaussian", (np.arange(N_OBS) != row) * 1.0).params - oracle.params)
            / oracle.bse
        )
        for row in np.linspace(0, N_OBS - 1, 5).astype(int)
    ]
    assert outcome.lines[0].change_in_standard_errors == pytest.approx(max(changes), rel=1e-5)


def test_resamples_come_from_the_seed(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["binomial"], "binomial"), "binomial")
    draws = [make_tasks(fit, 1, 4, seed)[1].hypers(np.arange(4)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.any(draws[0] != draws[2])
    np.testing.assert_array_equal(draws[0].sum(axis=1), N_OBS)


def test_refits_without_a_solution_are_counted_and_said(frame, tmp_path, capsys):
    """One house stands alone in its region: without it the region's coefficient is not identified."""
    lonely = frame.head(40).assign(region=["south"] + list(frame["region"][1:40]))
    path = tmp_path / "lonely.csv"
    lonely.to_csv(path, index=False)
    lines = run_report(str(path), FORMULAS["gaussian"], "gaussian", str(tmp_path), order=1, n_bootstrap=5)
    loo = [line for line in lines if line.task == "leave-one-out"]
    assert (loo[0].refits, loo[0].verified) == (40, 39)
    text = " ".join(capsys.readouterr().out.split())
    assert "leave-one-out: 1 of the refits to verify have no finite optimum" in text


def test_a_useless_order_is_pointed_out(frame, tmp_path, capsys):
    """Thirty observations: a bootstrap step is far too long for order 1."""
    path = tmp_path / "few.csv"
    frame.head(30).to_csv(path, index=False)
    lines = run_report(str(path), "y ~ income + age", "binomial", str(tmp_path), order=1, n_bootstrap=20)
    assert max(line.max_error_in_standard_errors for line in lines if line.task == "bootstrap") > 0.1
    assert "bootstrap: off by" in capsys.readouterr().out


def test_nothing_verified_is_not_a_number_instead_of_zero(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    task = make_tasks(fit, 1, 1, seed=0)[1]
    none_solved = replace(task, exact=lambda weights: newton(fit.data, fit.family, fit.input_val, 0.0 * weights))
    outcome = run_task(fit, none_solved, 1, seed=0, tick=no_tick)
    assert (outcome.n_unsolved, outcome.lines[0].verified) == (1, 0)
    assert math.isnan(outcome.lines[0].max_error_in_standard_errors)
    assert math.isnan(outcome.lines[0].speed_up)


def test_the_start_of_newtons_method_is_no_refit(frame):
    """Where the start is already better than the series, the rival still pays for one step."""
    fit = fit_glm(glm_data(frame, FORMULAS["binomial"], "binomial"), "binomial")
    task = make_tasks(fit, 1, 3, seed=0)[1]
    unmoved = replace(task, exact=lambda weights: solve_exactly(fit.data, fit.family, fit.input_val))
    line = run_task(fit, unmoved, 1, seed=0, tick=no_tick).lines[0]
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


def test_written_files_say_what_was_printed(frame, tmp_path, capsys):
    source = tmp_path / "houses.csv"
    frame.to_csv(source, index=False)
    folder = tmp_path / "deep" / "folder"
    lines = run_report(str(source), FORMULAS["poisson"], "poisson", str(folder), order=2, n_bootstrap=10)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert format_table(lines) in printed
    assert sorted(path.name for path in folder.iterdir()) == ["coefficients.csv", "report.csv", "report.png"]
    with open(folder / "report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], int(row["order"])) for row in rows] == [
        (task, order) for task in ("leave-one-out", "bootstrap", "penalty grid") for order in (1, 2)
    ]
    for row, line in zip(rows, lines, strict=True):
        assert float(row["max_error_in_standard_errors"]) == line.max_error_in_standard_errors
    with open(folder / "coefficients.csv", newline="", encoding="utf-8") as file:
        estimates = [float(row["estimate"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(estimates, statsmodels_fit(frame, "poisson").params, rtol=1e-7)
    image = imread(folder / "report.png")
    assert image.shape[0] > 500
    assert image.shape[1] > 1000
    assert np.ptp(image) > 0.5


def test_table_is_aligned_and_parted_by_task():
    lines = [
        Line(task, 6366, 40, 1, 2.5e-3, 0.5, 1234.5, 2469.0, 1.0, 2.0, 3.0) for task in ("leave-one-out", "bootstrap")
    ]
    rows = format_table(lines).splitlines()
    assert [len(row) for row in rows] == [len(rows[0]), len(rows[0]), len(rows[0]), 0, len(rows[0])]
    assert rows[1] == "-" * len(rows[0])
    assert len(rows[0]) <= 100


@pytest.mark.parametrize("given", [True, False], ids=["ax given", "own ax"])
def test_plots_return_their_axes_labelled_with_the_datas_names(given):
    import matplotlib.pyplot as plt

    lines = [
        Line(task, 1, 1, k, 10.0**-k, 1, 1, 1, 1, 1, 3.0) for task in ("bootstrap", "jackknife") for k in (1, 2, 3)
    ]
    ax = Figure().subplots() if given else None
    drawn = plots.plot_error_against_order(lines, ax)
    assert drawn is ax or not given
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["bootstrap", "jackknife"]
    np.testing.assert_allclose(drawn.lines[0].get_ydata(), [0.1, 0.01, 0.001])
    assert drawn.get_yscale() == "log"
    ax = Figure().subplots() if given else None
    penalties = np.geomspace(1, 9, 5)
    paths = np.outer(1 / penalties, [3.0, 2.0, 2.0])
    drawn = plots.plot_penalty_path(penalties, paths, ["age", "income", "rent"], penalties[:2], paths[:2], ax)
    assert drawn is ax or not given
    labels = [text for text in drawn.texts if text.get_text()]
    assert [label.get_text() for label in labels] == ["age", "income", "rent"]
    heights = [label.xyann[1] for label in labels]
    assert heights[0] > max(heights[1:])
    assert min(np.diff(sorted(heights))) > 0.054
    plt.close("all")


def test_only_the_largest_paths_are_drawn():
    penalties = np.geomspace(1, 9, 5)
    names = [f"x{i}" for i in range(12)]
    ax = plots.plot_penalty_path(penalties, np.outer(1 / penalties, np.arange(12)), names, ax=Figure().subplots())
    assert {text.get_text() for text in ax.texts} == set(names[4:])


def test_long_names_leave_room_for_the_paths():
    name = "C(region_of_residence_at_first_interview)[T.north-east]"
    ax = plots.plot_penalty_path(np.geomspace(1, 9, 5), np.ones((5, 1)), [name], ax=Figure().subplots())
    assert ax.texts[0].get_text() == name[:37] + "..."
