"""What the report says, held against statsmodels and exact refits; its text, page, JSON and figures."""

import csv
import io
import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import statsmodels.api as sm
from matplotlib.image import imread
from report_models import FORMULAS, N_OBS, make_frame, statsmodels_fit
from scipy import stats

from vittles_ng.jackknife.resamples import Resamples
from vittles_ng.report import run_report
from vittles_ng.report.coefficients import uncertainty
from vittles_ng.report.contents import as_json, plain, warnings_of
from vittles_ng.report.data import glm_data
from vittles_ng.report.influence import best_approximation, held_out_loss, most_influential
from vittles_ng.report.model import fit_glm, solve_exactly
from vittles_ng.report.reversals import reversals
from vittles_ng.report.sections import sections
from vittles_ng.report.table import Line, align, number, wrapped
from vittles_ng.report.tasks import make_tasks, run_task, units_of

CASES = [("binomial", None), ("poisson", "village"), ("gaussian", None)]


def no_tick():
    pass


@pytest.fixture(scope="module")
def frame():
    return make_frame()


@pytest.fixture(scope="module", params=CASES, ids=[" ".join(filter(None, case)) for case in CASES])
def fitted(request, frame):
    family, groups = request.param
    return family, groups, fit_glm(glm_data(frame, FORMULAS[family], family, groups), family)


def outcomes_of(fit, n_resamples=60):
    return [run_task(fit, task, 3, no_tick) for task in make_tasks(fit, 3, n_resamples, 3)]


def test_standard_errors_are_statsmodels(frame, fitted):
    family, groups, fit = fitted
    found = uncertainty(fit, outcomes_of(fit)[1], 3, 60, 3).coefficients
    oracle = statsmodels_fit(frame, family)
    hc0 = statsmodels_fit(frame, family, cov_type="HC0").bse
    np.testing.assert_allclose([one.estimate for one in found], oracle.params, rtol=1e-7)
    np.testing.assert_allclose([one.standard_error for one in found], oracle.bse, rtol=1e-6)
    np.testing.assert_allclose([one.hc0 for one in found], hc0, rtol=1e-6)
    hc1 = hc0 * math.sqrt(N_OBS / (N_OBS - 5))
    if family == "gaussian":
        hc1 = sm.OLS(oracle.model.endog, oracle.model.exog).fit(cov_type="HC1").bse
    np.testing.assert_allclose([one.hc1 for one in found], hc1, rtol=1e-6)
    if groups is None:
        assert [one.clustered for one in found] == [None] * 5
    else:
        clustered = statsmodels_fit(frame, family, cov_type="cluster", cov_kwds={"groups": frame[groups]}).bse
        np.testing.assert_allclose([one.clustered for one in found], clustered, rtol=1e-6)


def test_bootstrap_intervals_are_those_of_exact_refits(frame, fitted):
    family, groups, fit = fitted
    jackknife = fit.jackknife
    resamples = Resamples(jackknife.weights0, jackknife.groups, 60, np.random.default_rng(3))
    weights = resamples.weights(slice(None))
    paths = [solve_exactly(fit.data, fit.family, fit.input_val, w) for w in weights]
    assert all(path.solved for path in paths)
    exact = fit.in_units(np.array([path.values[-1] for path in paths]))
    found = uncertainty(fit, outcomes_of(fit)[1], 3, 60, 3)
    ends = np.array([[one.bootstrap_low, one.bootstrap_high] for one in found.coefficients])
    # Every refit is within 0.02 standard errors, or polished.
    difference = ends.T - np.quantile(exact, [0.025, 0.975], axis=0)
    assert np.max(np.abs(difference) / fit.standard_error) < 0.02
    spread = [one.bootstrap_standard_error for one in found.coefficients]
    np.testing.assert_allclose(spread / fit.standard_error, exact.std(axis=0, ddof=1) / fit.standard_error, atol=0.02)
    told = found.bootstrap
    assert (told.n_resamples, told.n_failed, told.n_verified) == (60, 0, 40)
    assert told.largest_error < 0.02
    assert 0 <= told.n_polished <= told.n_looked_at <= 60
    assert any("groups are few" in warning for warning in found.warnings) == (groups is not None)


def test_too_few_resamples_have_no_interval(frame):
    fit = fit_glm(glm_data(frame, FORMULAS["gaussian"], "gaussian"), "gaussian")
    found = uncertainty(fit, outcomes_of(fit, 39)[1], 3, 39, 3)
    assert {one.bootstrap_low for one in found.coefficients} == {None}
    assert {one.bootstrap_standard_error for one in found.coefficients} == {None}
    assert any("39 resamples are too few for 95 % intervals, at least 40" in warning for warning in found.warnings)


def loss_of(family, oracle, response, mean):
    if family == "gaussian":
        return (response - mean) ** 2
    if family == "poisson":
        return -stats.poisson.logpmf(response, mean)
    return -stats.bernoulli.logpmf(response, mean)


def test_held_out_loss_is_that_of_all_exact_refits(frame, fitted):
    family, groups, fit = fitted
    outcome = outcomes_of(fit)[0]
    told, losses = held_out_loss(fit, outcome)
    oracle = statsmodels_fit(frame, family)
    y, design = oracle.model.endog, oracle.model.exog
    exact = np.empty(N_OBS)
    units = units_of(fit.jackknife)
    for unit in range(units.max() + 1):
        without = statsmodels_fit(frame, family, (units != unit).astype(float))
        out = units == unit
        exact[out] = loss_of(family, oracle, y[out], without.predict(design[out]))
    scale = exact.std()
    np.testing.assert_allclose(losses, exact, atol=0.02 * scale, rtol=0.02)
    assert told.held_out == pytest.approx(exact.mean(), abs=2e-3 * scale)
    assert told.in_sample == pytest.approx(loss_of(family, oracle, y, oracle.fittedvalues).mean(), rel=1e-7)
    assert (told.n_left_out, told.n_failed) == (units.max() + 1, 0)
    verified = np.isin(units, outcome.rows)
    assert told.n_verified == verified.sum()
    assert told.largest_error == pytest.approx(np.max(np.abs(losses - exact)[verified]), rel=1e-3, abs=1e-7 * scale)
    assert told.mean_error == pytest.approx(np.mean((losses - exact)[verified]), rel=1e-2, abs=1e-7 * scale)
    if groups is None:
        assert told.standard_error == pytest.approx(losses.std(ddof=1) / math.sqrt(N_OBS))
    else:
        sums = np.bincount(units, losses - losses.mean())
        assert told.standard_error == pytest.approx(math.sqrt(24 / 23 * sums @ sums) / N_OBS)


def test_the_most_influential_are_those_of_exact_refits(frame, fitted):
    family, groups, fit = fitted
    outcome = outcomes_of(fit)[0]
    best = best_approximation(outcome)
    how = outcome.task.orders[best]
    losses = np.arange(N_OBS, dtype=float)
    found, largest = most_influential(fit, fit.by_observation, losses, how)
    oracle = statsmodels_fit(frame, family)
    exact = np.array(
        [
            (statsmodels_fit(frame, family, (np.arange(N_OBS) != n).astype(float)).params - oracle.params) / oracle.bse
            for n in range(N_OBS)
        ]
    )
    assert found[0].row == np.argmax(np.max(np.abs(exact), axis=1)) + 1
    assert [abs(one.change) for one in found] == sorted((abs(one.change) for one in found), reverse=True)
    np.testing.assert_allclose(largest, np.max(np.abs(exact), axis=1), atol=0.01)
    for one in found:
        j = fit.data.columns.index(one.coefficient)
        assert one.exact_change == pytest.approx(exact[one.row - 1, j], abs=1e-5)
        assert one.change == pytest.approx(one.exact_change, abs=0.01)
        np.testing.assert_allclose(one.changes, exact[one.row - 1], atol=0.01)
        assert (one.label, one.n_rows, one.held_out_loss) == (f"row {one.row}", 1, one.row - 1)
    if groups is not None:
        of_groups, _ = most_influential(fit, fit.jackknife, losses, how, outcome.values[best])
        for one in of_groups:
            village = float(one.label.removeprefix("village = "))
            without = statsmodels_fit(frame, family, (frame["village"] != village).to_numpy(dtype=float))
            changes = (without.params - oracle.params) / oracle.bse
            assert one.exact_change == pytest.approx(changes[fit.data.columns.index(one.coefficient)], abs=1e-5)
            assert (one.row, one.n_rows) == (None, 5)


def test_a_reversal_is_one_by_statsmodels_refit(frame, fitted):
    family, groups, fit = fitted
    ticks = []
    found = reversals(fit, 6, lambda: ticks.append(1))
    assert len(ticks) == len(found) == 10
    df = {None: N_OBS - 5 if family == "gaussian" else None, "village": 23}[groups]
    critical = stats.norm.ppf(0.975) if df is None else stats.t.ppf(0.975, df)
    assert any(one.found for one in found)
    for one in found:
        j = fit.data.columns.index(one.coefficient)
        assert one.n_dropped == len(one.rows) == len(set(one.rows)) <= N_OBS // 4
        assert one.share == one.n_dropped / N_OBS
        assert one.labels == [f"row {row}" for row in one.rows]
        weights = np.ones(N_OBS)
        weights[np.array(one.rows, dtype=int) - 1] = 0.0
        statistics = []
        for w in (np.ones(N_OBS), weights):
            refit = statsmodels_fit(frame[w > 0], family)
            if one.question == "sign":
                statistics.append(refit.params[j])
                continue
            error = refit.bse[j]
            if groups is not None:
                options = {"groups": frame[groups][w > 0], "use_correction": False}
                error = statsmodels_fit(frame[w > 0], family, cov_type="cluster", cov_kwds=options).bse[j]
            statistics.append(refit.params[j] / error)
        before, after = statistics
        assert one.initial == pytest.approx(before, rel=1e-5)
        assert one.refitted == pytest.approx(after, rel=1e-4, abs=1e-8)
        assert (
            one.found
            == {
                "sign": before * after < 0,
                "significance lost": abs(before) > critical > abs(after),
                "significance gained": abs(before) < critical < abs(after),
            }[one.question]
        )


class Page(HTMLParser):
    """Well-formed: every tag is closed in its turn; what could load something, and the text."""

    VOID = ("meta", "img")

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.text, self.cells = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def parsed(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def written(frame, tmp_path_factory):
    """A grouped report of a file whose names need escaping, with its printed text."""
    folder = tmp_path_factory.mktemp("written")
    named = frame.assign(
        name=[f"<b>house & {i}</b>" for i in range(N_OBS)], village=[f"<v{i % 24}>" for i in range(N_OBS)]
    )
    source = folder / "<i>houses.csv"
    named.to_csv(source, index=False)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", printed)
        contents = run_report(
            str(source),
            FORMULAS["gaussian"],
            "gaussian",
            str(folder / "deep" / "er"),
            order=2,
            n_resamples=60,
            groups="village",
            labels="name",
            max_refits=4,
            json_file=str(folder / "report.json"),
        )
    return contents, folder, printed.getvalue()


def test_files_of_a_report(written):
    contents, folder, printed = written
    names = ["coefficients.csv", "coefficients.png", "influence.png", "report.csv", "report.html", "report.png"]
    assert sorted(path.name for path in (folder / "deep" / "er").iterdir()) == [*names, "reversals.png"]
    assert max(map(len, printed.splitlines())) <= 100
    for name in [*names, "report.json"]:
        assert name in printed
    with open(folder / "deep" / "er" / "report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["order"]) for row in rows] == [
        ("leave-group-out", "1"),
        ("leave-group-out", "2"),
        ("leave-group-out", "newton"),
        ("bootstrap", "1"),
        ("bootstrap", "2"),
        ("penalty grid", "1"),
        ("penalty grid", "2"),
    ]
    for row, line in zip(rows, contents.approximations, strict=True):
        assert float(row["max_error_in_standard_errors"]) == line.max_error_in_standard_errors
    with open(folder / "deep" / "er" / "coefficients.csv", newline="", encoding="utf-8") as file:
        for row, one in zip(csv.DictReader(file), contents.coefficients, strict=True):
            assert {key: type(getattr(one, key))(value) for key, value in row.items()} == vars(one)


@pytest.mark.parametrize("name", ["coefficients", "influence", "reversals", "report"])
def test_figures_are_drawn(written, name):
    image = imread(written[1] / "deep" / "er" / f"{name}.png")
    assert image.shape[0] > 400
    assert image.shape[1] > 1000
    assert np.mean(image[..., :3].min(axis=2) < 0.9) > 0.01


def test_the_page_is_one_file_that_says_what_the_json_says(written):
    contents, folder, printed = written
    path = folder / "deep" / "er" / "report.html"
    page = parsed(path)
    assert len(page.loaded) == 4
    assert all(value.startswith("data:image/png;base64,") for value in page.loaded)
    source = path.read_text(encoding="utf-8")
    assert "http" not in source
    assert "@import" not in source and "url(" not in source and "<script" not in source and "<b>" not in source
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for one in found["coefficients"]:
        for key in ("estimate", "standard_error", "hc0", "hc1", "clustered", "bootstrap_low", "bootstrap_high"):
            assert number(one[key]) in page.cells
            assert number(one[key]) in printed
    for one in found["influential"] + found["influential_groups"]:
        assert {one["label"], one["coefficient"], number(one["change"], 3)} <= set(page.cells)
    for one in found["reversals"]:
        assert one["found"] == (f"{one['n_dropped']} ({100 * one['share']:.2g} %)" in page.cells) or not one["found"]
    for line in found["approximations"]:
        assert f"{line['max_error_in_standard_errors']:.1e}" in page.cells
    assert number(found["held_out"]["held_out"], 6) in page.cells
    text = " ".join(" ".join(page.text).split())
    for warning in found["warnings"]:
        assert warning in text
    assert text.index("Read this first") < text.index("Coefficients")
    assert "24 groups are few" in text


KEYS = {
    "schema": int,
    "version": str,
    "source": str,
    "formula": str,
    "family": str,
    "response": str,
    "n_obs": int,
    "n_coefficients": int,
    "groups": str,
    "n_groups": int,
    "order": int,
    "n_resamples": int,
    "seed": int,
    "max_refits": int,
    "level": float,
    "critical": float,
    "df": int,
    "seconds": float,
    "warnings": list,
    "coefficients": list,
    "bootstrap": dict,
    "held_out": dict,
    "influential": list,
    "influential_groups": list,
    "reversals": list,
    "approximations": list,
}


def test_the_json_has_the_documented_keys(written, request):
    text = (written[1] / "report.json").read_text(encoding="utf-8")

    def refuse(token):
        raise AssertionError(token)

    found = json.loads(text, parse_constant=refuse)
    assert {key: type(value) for key, value in found.items()} == KEYS
    assert found == plain(as_json(written[0]))
    manual = (request.config.rootpath / "docs" / "report.rst").read_text(encoding="utf-8")
    keys = set(found)
    for value in found.values():
        for part in [value] if isinstance(value, dict) else value if isinstance(value, list) else []:
            keys |= set(part) if isinstance(part, dict) else set()
    assert [key for key in sorted(keys) if f"``{key}``" not in manual] == []


def test_what_json_does_not_have_becomes_null():
    given = {"a": (1, math.nan), "b": [{"c": math.inf}], "d": "nan"}
    assert plain(given) == {"a": [1, None], "b": [{"c": None}], "d": "nan"}


@pytest.fixture(scope="module")
def lonely(frame, tmp_path_factory):
    """One house stands alone in its region: without it the region's coefficient is not identified."""
    folder = tmp_path_factory.mktemp("lonely")
    few = frame.head(40).assign(region=["south"] + list(frame["region"][1:40]))
    few.to_csv(folder / "lonely.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", printed := io.StringIO())
        contents = run_report(
            str(folder / "lonely.csv"),
            FORMULAS["gaussian"],
            "gaussian",
            str(folder),
            order=1,
            n_resamples=45,
            max_refits=0,
        )
    return contents, " ".join(printed.getvalue().split()), folder


def test_refits_without_a_solution_are_counted_and_said(lonely):
    contents, text, folder = lonely
    loo = contents.approximations[0]
    assert (loo.refits, loo.verified) == (40, 39)
    assert "leave-one-out: 1 of the refits to verify have no finite optimum" in text
    assert "There is no finite fit without 1 observation, one at a time" in text
    assert "There is no finite fit without row 1: a coefficient hangs on it alone" in text
    assert f"{contents.bootstrap.n_failed} of 45 resamples have no finite fit" in text
    assert contents.bootstrap.n_failed > 5
    assert contents.held_out.n_failed == 1
    assert (contents.influential[0].label, contents.influential[0].exact_change) == ("row 1", None)
    assert "no refit" in parsed(folder / "report.html").cells
    json.dumps(as_json(contents), allow_nan=False)


def test_failed_resamples_leave_an_honest_remainder(lonely):
    """45 resamples of which 40 have a fit are enough, fewer are not."""
    contents, text, _ = lonely
    enough = 45 - contents.bootstrap.n_failed >= 40
    assert (contents.coefficients[0].bootstrap_low is not None) == enough
    assert ("too few for 95 % intervals" in text) != enough


def test_greedy_search_needs_no_more_observations(frame):
    fit = fit_glm(glm_data(frame, "y ~ income + age", "binomial"), "binomial")
    additive = reversals(fit, 0, no_tick)
    greedy = reversals(fit, 20, no_tick)
    assert {one.method for one in additive} == {"additive"}
    assert "greedy" in {one.method for one in greedy}
    sizes = [(a.n_dropped, g.n_dropped) for a, g in zip(additive, greedy, strict=True) if a.found]
    assert all(g <= a for a, g in sizes)
    assert any(g < a for a, g in sizes)


def test_many_coefficients_are_searched_by_influence_alone(frame, monkeypatch):
    fit = fit_glm(glm_data(frame, "y ~ income + age", "binomial"), "binomial")
    monkeypatch.setattr("vittles_ng.report.reversals.GREEDY_COEFFICIENTS", 2)
    assert {one.method for one in reversals(fit, 20, no_tick)} == {"additive"}


def test_a_useless_series_is_pointed_out_and_not_used(frame, tmp_path, capsys):
    """Thirty observations: a bootstrap step is far too long for order 1."""
    path = tmp_path / "few.csv"
    frame.head(30).to_csv(path, index=False)
    contents = run_report(
        str(path), "visits ~ income + age", "poisson", str(tmp_path), order=1, n_resamples=40, max_refits=0
    )
    lines = [line for line in contents.approximations if line.task == "bootstrap"]
    assert max(line.max_error_in_standard_errors for line in lines) > 0.1
    text = " ".join(capsys.readouterr().out.split())
    assert "bootstrap: the bare series is off by" in text
    assert contents.bootstrap.largest_error < 0.02
    assert contents.bootstrap.n_polished > 0


def test_a_bad_bootstrap_a_fragile_and_a_reassuring_result(written):
    contents = written[0]
    bad = replace(contents.bootstrap, largest_error=0.3)
    assert "off by up to 0.3 standard errors" in warnings_of(bad, contents.held_out, [], [], "group")[0]
    one = replace(
        contents.reversals[1], question="significance lost", found=True, n_dropped=3, share=0.01, refitted=1.0
    )
    one = replace(one, initial=2.5, labels=["a", "b", "c"])
    told = warnings_of(contents.bootstrap, contents.held_out, [], [one], "group")
    assert told == [
        f"{one.coefficient} is significant (t = 2.50), but not without 3 observations (1 % of them; t = 1.00): a, b, c."
    ]
    for other in (replace(one, found=False), replace(one, share=0.011), replace(one, question="significance gained")):
        assert warnings_of(contents.bootstrap, contents.held_out, [], [other], "group") == []
    single = replace(one, n_dropped=1, share=0.2, labels=["a"])
    assert "without 1 observation (20 %" in warnings_of(contents.bootstrap, contents.held_out, [], [single], "group")[0]


def test_an_approximation_worse_than_the_fit_itself_has_no_speed_up():
    good = Line("bootstrap", 9, 9, 1, 0.5, 1.0, 8.0, 8.0, 4.0, 4.0, 0.6)
    bad = Line("bootstrap", 9, 9, 2, 0.7, 1.0, 8.0, 8.0, 4.0, 4.0, 0.6)
    assert good.cells()[-2:] == ["8.0x", "4.0x"]
    assert bad.cells()[-2:] == ["-", "-"]


def test_tables_are_aligned_parted_and_narrow_enough():
    rows = [["a" * 40, "1", "2.5"], ["a" * 40, "10", "-2"], ["b", "3", "0"]]
    lines = align(["name", "n", "change"], rows, parted=True).splitlines()
    assert lines[2].startswith("a" * 29 + "...")
    assert lines[4] == ""
    assert {len(line) for line in lines if line} == {len(lines[1])}
    wide = align(["name", *["a number"] * 10], [["x" * 32, *["1234567890"] * 10]]).splitlines()
    assert wide[2].split()[0] == "x" * 9 + "..."
    narrow = align(["name", *["a number"] * 7], [["x" * 32, *["1234567890"] * 7]]).splitlines()
    assert len(narrow[2]) == 100
    assert wrapped(["word " * 40], "- ").splitlines()[1].startswith("  word")


def test_sections_hold_all_coefficients(written):
    contents = written[0]
    parts = {part.title: part for part in sections(contents, outcomes_of_contents(contents))}
    assert [row[0] for row in parts["Coefficients"].rows] == [one.coefficient for one in contents.coefficients]
    assert len(parts["How few observations reverse a conclusion"].rows) == 5
    assert all(len(row) == len(part.head) for part in parts.values() for row in part.rows)


def outcomes_of_contents(contents):
    """The tasks' lines without the refits behind them, all that the sections read."""
    names = dict.fromkeys(line.task for line in contents.approximations)
    made = []
    for name in names:
        lines = [line for line in contents.approximations if line.task == name]
        task = SimpleNamespace(name=name, orders=[line.order for line in lines])
        made.append(SimpleNamespace(task=task, lines=lines, n_unsolved=0))
    return made
