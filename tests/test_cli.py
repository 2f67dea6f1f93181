"""The command: what it prints, its exit status, and one line on stderr for every bad input."""

import io
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import tqdm

import vittles_ng
from vittles_ng.cli import main

N_OBS = 60
QUICK = ["--resamples", "10", "--max-refits", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a good file and several bad ones."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x1, x2 = rng.normal(size=(2, N_OBS))
    y = (rng.random(N_OBS) < 1 / (1 + np.exp(-x1))).astype(int)
    good = pd.DataFrame({"x1": x1, "x2": x2, "y": y, "z": x1 + rng.normal(size=N_OBS)})
    good["count"] = rng.poisson(np.exp(0.3 * x1 + 1))
    good["letter"] = rng.choice(["a", "b", "c"], N_OBS)
    good["total"] = x1 + x2
    good["ones"] = 1
    good["gaps"] = np.where(np.arange(N_OBS) % 20 == 3, np.nan, x2)
    good["gaps2"] = np.where(np.arange(N_OBS) % 20 == 4, np.nan, x2)
    good["perfect"] = np.where(y == 1, 1.0, -1.0) * (1 + rng.random(N_OBS))
    # No event wherever `never` is 1, but both outcomes elsewhere: quasi-complete separation.
    good["never"] = ((y == 0) & (x2 > 0.3)).astype(int)
    good["above"] = (x2 > 1).astype(int)
    good["none_above"] = np.where(x2 > 1, 0, good["count"])
    good["debt"] = good["count"] - 3
    good["half"] = good["count"] / 2
    good["two words"] = good["a.b"] = good["class"] = x2
    good["village"] = np.arange(N_OBS) % 20
    good["label"] = [f"person {i}" for i in range(N_OBS)]
    good.to_csv(folder / "good.csv", index=False)
    good.head(3).to_csv(folder / "short.csv", index=False)
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("y,x1\n")
    (folder / "ragged.csv").write_text("y,x1\n1,2\n1,2,3,4\n")
    (folder / "semicolons.csv").write_text("y;x1\n1;2\n0;3\n")
    (folder / "tabs.csv").write_text("y\tx1\n1\t2\n0\t3\n")
    (folder / "latin.csv").write_text("gr\u00f6\u00dfe,x1\n1,2\n0,3\n", encoding="latin-1")
    (folder / "binary.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff" * 20)
    return folder


def report(folder, out, *options):
    return main(["report", "--data", str(folder), "--output", str(out), *QUICK, *options])


def assert_one_line(capsys, status, pattern):
    assert status == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"vittles-ng: [^\n]*{pattern}[^\n]*\n", printed.err), printed.err


def test_built_in_data(tmp_path, capsys):
    out = tmp_path / "report"
    assert main(["report", "--output", str(out), "--resamples", "40", "--max-refits", "2", "--order", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert max(map(len, printed.out.splitlines())) <= 100
    assert "6366 observations, 9 coefficients" in printed.out
    table = pd.read_csv(out / "report.csv")
    assert list(table["task"].unique()) == ["leave-one-out", "bootstrap", "penalty grid"]
    assert list(table["refits"].unique()) == [6366, 40, 101]
    assert list(table["order"]) == ["1", "2", "newton", "1", "2", "1", "2"]
    for _, rows in table.groupby("task"):
        first, second = rows["max_error_in_standard_errors"][:2]
        assert second < 0.5 * first
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    data = sm.datasets.fair.load_pandas().data
    covariates = sm.add_constant(data.drop(columns="affairs"))
    oracle = sm.Logit((data["affairs"] > 0).astype(float), covariates).fit(disp=0, tol=1e-12)
    coefficients = pd.read_csv(out / "coefficients.csv", index_col=0)
    np.testing.assert_allclose(coefficients["estimate"], oracle.params, rtol=1e-8)
    np.testing.assert_allclose(coefficients["standard_error"], oracle.bse, rtol=1e-6)


@pytest.mark.parametrize(
    ("family", "formula"),
    [("binomial", "y ~ x1 + x2"), ("poisson", "count ~ x1 + letter"), ("gaussian", "z ~ x1 * x2 + letter")],
)
def test_each_family_on_a_file(folder, tmp_path, capsys, family, formula):
    options = ["--formula", formula, "--family", family, "--order", "3"]
    assert report(folder / "good.csv", tmp_path, *options) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert family.capitalize() in printed.out
    table = pd.read_csv(tmp_path / "report.csv")
    assert list(table["refits"]) == [N_OBS] * 4 + [10] * 3 + [101] * 3
    errors = table["max_error_in_standard_errors"]
    assert errors[2] < errors[0]
    assert errors[9] < errors[7]


def test_options_reach_the_report(folder, tmp_path, capsys):
    def found(*options):
        given = ["--formula", "z ~ x1", "--family", "gaussian", "--json", *options]
        assert report(folder / "good.csv", tmp_path, *given) == 0
        return json.loads(capsys.readouterr().out)

    def sizes(told):
        return [(line["task"], line["order"], line["refits"]) for line in told["approximations"]]

    base, again = found("--order", "1"), found("--order", "1", "--seed", "0")
    assert sizes(base)[::2] == [("leave-one-out", 1, N_OBS), ("bootstrap", 1, 10)]
    assert {one["method"] for one in base["reversals"]} == {"additive"}
    assert (again["bootstrap"], again["coefficients"]) == (base["bootstrap"], base["coefficients"])
    given = ["--order", "2", "--resamples", "7", "--seed", "1", "--groups", "village", "--labels", "letter"]
    other = found(*given, "--max-refits", "9")
    assert [size[1] for size in sizes(other)] == [1, 2, "newton", 1, 2, 1, 2]
    assert [size[2] for size in sizes(other)][1::2] == [20, 7, 101]
    assert other["bootstrap"]["largest_error"] != base["bootstrap"]["largest_error"]
    assert (other["groups"], other["n_groups"], other["df"]) == ("village", 20, 19)
    assert other["coefficients"][0]["clustered"] > 0
    assert {one["label"] for one in other["influential"]} <= {"a", "b", "c"}
    assert "greedy" in {one["method"] for one in other["reversals"]}


def test_json_into_a_file_leaves_the_tables_on_standard_output(folder, tmp_path, capsys):
    given = ["--formula", "z ~ x1", "--family", "gaussian", "--order", "1", "--json", str(tmp_path / "all.json")]
    assert report(folder / "good.csv", tmp_path, *given) == 0
    assert "How few observations reverse a conclusion" in capsys.readouterr().out
    assert json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["schema"] == 1


def test_json_that_cannot_be_written(folder, tmp_path, capsys):
    given = ["--formula", "z ~ x1", "--family", "gaussian", "--order", "1", "--json", str(tmp_path / "no" / "all.json")]
    assert_one_line(capsys, report(folder / "good.csv", tmp_path, *given), "all.json")


def test_a_formula_alone_reads_the_built_in_data(tmp_path, capsys):
    options = ["--formula", "children ~ age", "--family", "gaussian", *QUICK]
    assert main(["report", "--output", str(tmp_path), "--order", "1", *options]) == 0
    assert "6366 observations, 2 coefficients" in capsys.readouterr().out


BAD_FILES = [
    ("nowhere.csv", "nowhere.csv: no such file"),
    ("", "cannot be read"),
    ("empty.csv", "is empty"),
    ("header.csv", "no rows"),
    ("ragged.csv", "not a comma-separated text file.*line 3"),
    ("binary.csv", "is not UTF-8 text .byte 0x89.: save it as UTF-8"),
    ("latin.csv", "is not UTF-8 text .byte 0xf6.: save it as UTF-8"),
    ("semicolons.csv", "separated by semicolons: save it separated by commas"),
    ("tabs.csv", "separated by tabs: save it separated by commas"),
    ("short.csv", "3 rows cannot determine 3 coefficients"),
]


@pytest.mark.parametrize(("name", "pattern"), BAD_FILES, ids=[name or "a folder" for name, _ in BAD_FILES])
def test_bad_file(folder, tmp_path, capsys, name, pattern):
    formula = "y ~ x1 + x2" if name == "short.csv" else "y ~ x1"
    assert_one_line(capsys, report(folder / name, tmp_path, "--formula", formula), pattern)


BAD_FORMULAS = [
    ("y ~ x9", "binomial", "no column 'x9' in the data"),
    ("y ~ id", "binomial", "no column 'id' in the data"),
    ("y ~ nonsense(x1)", "binomial", "no function 'nonsense': NumPy's are at hand"),
    ("y ~ log(x1)", "binomial", r"no function 'log': .*np[.]log"),
    ("y ~ two words", "binomial", r"cannot be read: .*are quoted: Q\('two words'\)"),
    ("y ~ a.b", "binomial", r"no column 'a' .*are quoted: Q\('a[.]b'\)"),
    ("y ~ class", "binomial", r"are quoted: Q\('class'\)"),
    ("y ~ x1 +", "binomial", "cannot be used: expected a noun"),
    ("y ~ x1 x2", "binomial", "cannot be read: invalid syntax"),
    ("y ~ (x1", "binomial", "cannot be used"),
    ("~ x1", "binomial", "has no response"),
    ("y ~ 1", "binomial", "has no covariates"),
    ("y ~ I(x1 * 1j)", "binomial", "does not give numbers"),
    ("y ~ np.log(x1 - x1)", "binomial", "infinite, above 1e[+]150 or not a number in 60 of 60 rows"),
    ("y ~ I(x1 * 1e200)", "binomial", "infinite, above 1e[+]150 or not a number"),
    ("y ~ x1 + gaps", "binomial", r"3 of 60 rows have missing values \(gaps: 3\)"),
    ("y ~ gaps + gaps2", "binomial", r"6 of 60 rows have missing values \(gaps: 3, gaps2: 3\)"),
    ("y ~ x1 + x2 + total", "binomial", "rank 3 of 4 columns: x1, x2, total are linearly dependent"),
    ("y ~ letter + ones - 1", "binomial", r"letter\[a\], letter\[b\], letter\[c\], ones are linearly dependent"),
    ("y ~ x1 + I(0 * x2)", "binomial", r"rank 2 of 3 columns: I\(0 [*] x2\) is constant"),
    ("y ~ label", "binomial", "60 rows cannot determine 60 coefficients"),
    ("y ~ perfect", "binomial", "separable .Hessian condition number .*, largest linear predictor .*: drop or merge"),
    ("y ~ never + x1", "binomial", "separable"),
    ("ones ~ x1", "binomial", "'ones' is constant"),
    ("z ~ x1", "binomial", "'z' takes 60 values, binomial needs two"),
    ("letter ~ x1", "binomial", "'letter' takes 3 values"),
    ("y + z ~ x1", "binomial", "has 2 columns"),
    ("debt ~ x1", "poisson", r"negative or not an integer in \d+ rows: poisson needs counts"),
    ("half ~ x1", "poisson", "negative or not an integer"),
    ("none_above ~ above", "poisson", "separable"),
    ("ones ~ x1", "poisson", "constant"),
    ("letter ~ x1", "gaussian", "'letter' is not numeric"),
    ("total ~ x1 + x2", "gaussian", "determine 'total' exactly"),
    ("ones ~ x1", "gaussian", "constant"),
]


@pytest.mark.parametrize(
    ("formula", "family", "pattern"), BAD_FORMULAS, ids=[f"{case[1]}: {case[0]}" for case in BAD_FORMULAS]
)
def test_bad_formula_or_data(folder, tmp_path, capsys, formula, family, pattern):
    status = report(folder / "good.csv", tmp_path, "--formula", formula, "--family", family)
    assert_one_line(capsys, status, pattern)
    assert list(tmp_path.iterdir()) == []


def test_a_file_needs_a_formula(folder, tmp_path, capsys):
    assert_one_line(capsys, report(folder / "good.csv", tmp_path), "--data needs --formula")


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (["--groups", "nowhere"], "--groups: no column 'nowhere' in the data"),
        (["--groups", "ones"], "--groups ones: all 60 rows have the same value"),
        (["--groups", "gaps"], "--groups gaps: 3 of 60 rows have no value"),
        (["--labels", "nowhere"], "--labels: no column 'nowhere' in the data"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_groups_and_labels(folder, tmp_path, capsys, options, pattern):
    status = report(folder / "good.csv", tmp_path, "--formula", "z ~ x1", "--family", "gaussian", *options)
    assert_one_line(capsys, status, pattern)


def test_an_output_that_is_a_file(folder, capsys):
    status = report(folder / "good.csv", folder / "empty.csv", "--formula", "y ~ x1")
    assert_one_line(capsys, status, "cannot write into")


def test_a_table_that_cannot_be_written(folder, tmp_path, capsys):
    (tmp_path / "report.csv").mkdir()
    options = ["--formula", "z ~ x1", "--family", "gaussian", "--order", "1"]
    assert_one_line(capsys, report(folder / "good.csv", tmp_path, *options), "report.csv")


def test_interrupted(folder, tmp_path, capsys, monkeypatch):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vittles_ng.report.run_report", interrupt)
    assert report(folder / "good.csv", tmp_path, "--formula", "y ~ x1") == 130
    assert capsys.readouterr().err == "vittles-ng: interrupted\n"


INTERRUPTED = """
import os, signal, sys
import vittles_ng.report.run as run
from vittles_ng.cli import main
run.fit_glm = lambda *arguments: os.kill(os.getpid(), signal.SIGINT)
sys.exit(main(["report", "--formula", "children ~ age", "--family", "gaussian", "--output", sys.argv[1]]))
"""


def test_control_c_ends_without_a_traceback(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "vittles-ng: interrupted\n")


def test_a_reader_that_goes_away(folder, tmp_path):
    """As `vittles-ng report | head -0`: everything is written, and nothing complains."""
    command = [sys.executable, "-m", "vittles_ng", "report", "--data", str(folder / "good.csv"), "--formula", "z ~ x1"]
    options = ["--family", "gaussian", "--order", "1", "--output", str(tmp_path), *QUICK]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) == (128 + signal.SIGPIPE, b"")
    assert (tmp_path / "report.html").exists()


def test_progress_counts_every_step_and_stays_out_of_stdout(folder, tmp_path, monkeypatch):
    bars = []

    class Bar(tqdm.tqdm):
        def __init__(self, **options):
            super().__init__(file=io.StringIO(), **(options | {"disable": False}))
            bars.append((self, options))

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    options = ["--formula", "z ~ x1", "--family", "gaussian", "--order", "2"]
    assert report(folder / "good.csv", tmp_path, *options) == 0
    ((bar, options),) = bars
    # Orders and exact refits of each task; three sections; two reversals of each coefficient.
    assert bar.n == bar.total == (3 + 1) + (2 + 1) + (2 + 1) + 3 + 2 * 2
    assert (options["delay"], options["disable"]) == (2, None)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (["--order", "0"], "--order: 0 is below 1"),
        (["--order", "many"], "--order: invalid int value: 'many'"),
        (["--resamples", "0"], "--resamples: 0 is below 1"),
        (["--max-refits", "-1"], "--max-refits: -1 is below 0"),
        (["--seed", "-1"], "--seed: -1 is below 0"),
        (["--family", "gamma"], "--family: invalid choice: 'gamma'"),
        (["--unheard-of"], "unrecognized arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_option(capsys, options, pattern):
    with pytest.raises(SystemExit) as stopped:
        main(["report", *options])
    assert_one_line(capsys, stopped.value.code, pattern)


def test_no_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert_one_line(capsys, stopped.value.code, "COMMAND")


@pytest.mark.parametrize("name", ["pandas", "patsy", "statsmodels.api", "matplotlib.figure", "tqdm", "jinja2"])
def test_missing_optional_dependency(folder, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    status = report(folder / "good.csv", tmp_path, "--formula", "y ~ x1", "--order", "1")
    assert_one_line(capsys, status, rf"the report needs {name.split('.')[0]}: pip install 'vittles-ng\[report\]'")


WITHOUT_EXTRAS = """
import runpy, sys
for name in ("statsmodels", "pandas", "patsy", "matplotlib", "tqdm", "jinja2"):
    sys.modules[name] = None
sys.argv = ["vittles-ng", {option!r}]
runpy.run_module("vittles_ng", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("option", "expected"), [("--version", f"vittles-ng {vittles_ng.__version__}"), ("--help", "usage: vittles-ng")]
)
def test_help_and_version_need_no_extras(option, expected):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_EXTRAS.format(option=option)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(expected)
