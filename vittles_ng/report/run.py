"""The report: what is asked of a fit, in order, and what is written."""

import importlib
import io
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from .. import plots
from ..errors import DataError, optional_import
from .coefficients import LEVEL, critical_value, degrees_of_freedom, uncertainty
from .contents import Contents, as_json, warnings_of
from .data import FAIR_FORMULA, fair_data, glm_data, read_csv
from .influence import best_approximation, held_out_loss, most_influential
from .model import fit_glm
from .page import page
from .reversals import reversals
from .sections import sections, summary
from .table import wrapped, write_csv
from .tasks import make_tasks, run_task

__all__ = ["run_report"]

DPI = 150


def run_report(
    path=None,
    formula=None,
    family="binomial",
    output="report",
    order=4,
    n_resamples=1000,
    seed=0,
    groups=None,
    labels=None,
    max_refits=30,
    json_file=None,
):
    """Fit, refit approximately and exactly, and say what came of it: in text, figures, a page and JSON.

    Parameters
    ----------
    path : str, optional
        CSV file; default: the built-in data on extramarital affairs (``statsmodels.datasets.fair``).
    formula : str, optional
        Needed with ``path``.
    family : {"binomial", "poisson", "gaussian"}
    output : str
        Folder for ``report.html``, ``report.csv``, ``coefficients.csv`` and the figures, made where it is missing.
    order : int
        Highest order of the expansions.
    n_resamples : int
        Of the bootstrap.
    seed : int
        Of the resamples, and of the choice which refits are verified.
    groups : str, optional
        Column of the clusters: what is left out, resampled and clustered together.
    labels : str, optional
        Column with the names of the rows.
    max_refits : int
        Exact refits that each greedy search for a reversing set may make; 0 for no search.
    json_file : str, optional
        Where the JSON goes; ``"-"`` for standard output, which then has nothing else.

    Returns
    -------
    Contents

    Raises
    ------
    VittlesError
        Unusable data, formula or output folder; a missing optional dependency.
    """
    began = perf_counter()
    frame = fair_data() if path is None else read_csv(path)
    formula = formula or (FAIR_FORMULA if path is None else None)
    if formula is None:
        raise DataError('--data needs --formula, such as "y ~ x1 + x2"')
    data = glm_data(frame, formula, family, groups, labels)
    for name in ("matplotlib.figure", "jinja2"):
        optional_import(name)
    fit = fit_glm(data, family)
    folder = make_folder(output)
    tasks = make_tasks(fit, order, n_resamples, seed)
    n_steps = sum(len(task.orders) + 1 for task in tasks) + 3 + 2 * len(data.columns)
    with optional_import("tqdm").tqdm(total=n_steps, unit=" steps", delay=2, disable=None, leave=False) as bar:
        found = _find(fit, tasks, order, n_resamples, seed, max_refits, bar)
    unit = "observation" if groups is None else "group"
    influential = found.influential_groups + found.influential
    contents = Contents(
        version=importlib.import_module(__package__.split(".")[0]).__version__,
        source="statsmodels' fair survey" if path is None else path,
        formula=formula,
        family=family,
        response=data.response_name,
        n_obs=fit.jackknife.n_obs,
        n_coefficients=len(data.columns),
        groups=groups,
        n_groups=None if groups is None else len(np.unique(data.groups)),
        order=order,
        n_resamples=n_resamples,
        seed=seed,
        max_refits=max_refits,
        level=LEVEL,
        critical=critical_value(degrees_of_freedom(fit)),
        df=degrees_of_freedom(fit),
        seconds=perf_counter() - began,
        warnings=found.told.warnings
        + warnings_of(found.told.bootstrap, found.held_out, influential, found.reversals, unit),
        coefficients=found.told.coefficients,
        bootstrap=found.told.bootstrap,
        held_out=found.held_out,
        influential=found.influential,
        influential_groups=found.influential_groups,
        reversals=found.reversals,
        approximations=[line for outcome in found.outcomes for line in outcome.lines],
    )
    parts = sections(contents, found.outcomes)
    written = _write(folder, contents, parts, figures(fit, contents, found))
    _publish(contents, parts, folder, written, json_file)
    return contents


class _Found(NamedTuple):
    outcomes: list
    told: object
    held_out: object
    influential: list
    influential_groups: list
    largest: np.ndarray
    reversals: list


def _find(fit, tasks, order, n_resamples, seed, max_refits, bar):
    """All that the report says, a step of the bar at a time."""
    outcomes = []
    for task in tasks:
        bar.set_description(task.name, refresh=False)
        outcomes.append(run_task(fit, task, seed, bar.update))
    bar.set_description("bootstrap", refresh=False)
    told = uncertainty(fit, outcomes[1], order, n_resamples, seed)
    bar.update()
    bar.set_description("held-out loss", refresh=False)
    held_out, losses = held_out_loss(fit, outcomes[0])
    bar.update()
    bar.set_description("influence", refresh=False)
    best = best_approximation(outcomes[0])
    how, refits = tasks[0].orders[best], outcomes[0].values[best]
    if fit.jackknife.groups is None:
        influential_groups = []
        influential, largest = most_influential(fit, fit.jackknife, losses, how, refits)
    else:
        influential_groups, _ = most_influential(fit, fit.jackknife, losses, how, refits)
        influential, largest = most_influential(fit, fit.by_observation, losses, how)
    bar.update()
    bar.set_description("reversals", refresh=False)
    found = reversals(fit, max_refits, bar.update)
    return _Found(outcomes, told, held_out, influential, influential_groups, largest, found)


def figures(fit, contents, found):
    """The figures as PNG files: bytes by name."""
    make = optional_import("matplotlib.figure").Figure
    n_bars = min(contents.n_coefficients, plots.report.MAX_BARS)

    def new(width, height):
        return make(figsize=(width, height), layout="constrained")

    drawn = {"coefficients": new(9.0, 1.6 + 0.42 * n_bars), "influence": new(11.0, 4.8)}
    drawn |= {"reversals": new(9.0, 1.6 + 0.5 * n_bars), "report": new(11.0, 5.3)}
    plots.plot_intervals(contents.coefficients, contents.critical, drawn["coefficients"].subplots())
    left, right = drawn["influence"].subplots(1, 2, width_ratios=(1, 1.1))
    plots.plot_influence(found.largest, contents.influential, left)
    plots.plot_changes(contents.influential_groups or contents.influential, fit.data.columns, right)
    plots.plot_reversals(contents.reversals, contents.n_obs, drawn["reversals"].subplots())
    plots.report_figure(drawn["report"], fit, found.outcomes)
    return {name: _png(figure) for name, figure in drawn.items()}


def _png(figure):
    with io.BytesIO() as file:
        figure.savefig(file, dpi=DPI, format="png")
        return file.getvalue()


def _write(folder, contents, parts, images):
    """Names of the files written."""
    (folder / "report.html").write_text(page(contents, parts, images), encoding="utf-8")
    write_csv(folder / "report.csv", [asdict(line) for line in contents.approximations])
    write_csv(folder / "coefficients.csv", [asdict(one) for one in contents.coefficients])
    for name, image in images.items():
        (folder / f"{name}.png").write_bytes(image)
    return ["report.html", "report.csv", "coefficients.csv", *(f"{name}.png" for name in images)]


def _publish(contents, parts, folder, written, json_file):
    """What goes to standard output, and the JSON."""
    text = None if json_file is None else json.dumps(as_json(contents), indent=2, allow_nan=False, ensure_ascii=False)
    if json_file == "-":
        print(text)
        return
    if json_file is not None:
        Path(json_file).write_text(text + "\n", encoding="utf-8")
        written = [*written, f"and {json_file}"]
    print(f"\n{wrapped([summary(contents)])}\n")
    if contents.warnings:
        print(f"Read this first\n===============\n{wrapped(contents.warnings, '- ')}\n")
    for part in parts:
        print(part.as_text())
    print(wrapped([f"Written into {folder}: {', '.join(written)}"]))


def make_folder(output):
    """The output folder, made where it is missing; refused before the work if nothing can be written there."""
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"cannot write into {output}: {error.strerror}") from None
    return folder
