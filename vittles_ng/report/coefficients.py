"""The coefficients with what may be said of their uncertainty: four kinds of standard errors, bootstrap intervals."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

__all__ = ["LEVEL", "Coefficient", "Resampled", "Uncertainty", "critical_value", "degrees_of_freedom", "uncertainty"]

#: Confidence level of intervals, and one minus the level of tests.
LEVEL = 0.95
#: Largest error of a bootstrap refit in standard errors, above which it is polished.
TOL = 0.02
# Cameron & Miller, J. Human Resources 50 (2015) 317, sec. VI: with fewer clusters the standard errors are too small.
FEW_GROUPS = 40


@dataclass(frozen=True)
class Coefficient:
    """One coefficient in the units of the file; None where a number does not exist or was not asked for."""

    coefficient: str
    estimate: float
    standard_error: float
    hc0: float
    hc1: float
    clustered: float | None
    bootstrap_standard_error: float | None
    bootstrap_low: float | None
    bootstrap_high: float | None


@dataclass(frozen=True)
class Resampled:
    """How the bootstrap refits came about.

    Attributes
    ----------
    n_resamples, order : int
    n_looked_at : int
        Resamples at which the model was run; the others were accepted by the terms of their series.
    n_polished, n_failed : int
        Refits that were not within the tolerance before they were polished; resamples without a finite fit.
    tol : float
        In standard errors.
    n_verified : int
        Refits that have an exact one beside them.
    largest_error : float or None
        Of those, polished where they were, in standard errors.
    """

    n_resamples: int
    order: int
    n_looked_at: int
    n_polished: int
    n_failed: int
    tol: float
    n_verified: int
    largest_error: float | None


@dataclass(frozen=True)
class Uncertainty:
    """The coefficients, how the bootstrap went, and what a reader should be warned of."""

    coefficients: list
    bootstrap: Resampled
    warnings: list


def uncertainty(fit, outcome, order, n_resamples, seed):
    """Standard errors and percentile intervals of all coefficients.

    Parameters
    ----------
    fit : Fit
    outcome : Outcome
        Of the bootstrap's task, which has the same resamples.
    order : int
        Of the bootstrap's series.
    n_resamples, seed : int

    Returns
    -------
    Uncertainty

    Notes
    -----
    Classical: ``dispersion * H^{-1}``. HC0, HC1: the sandwich, without and with ``n / (n - k)``. Clustered: sums within
    groups first, times ``G / (G - 1) (n - 1) / (n - k)``.
    """
    jackknife, names = fit.jackknife, fit.data.columns
    has_groups = jackknife.groups is not None

    def errors(**options):
        covariance = fit.data.transform @ jackknife.covariance(**options) @ fit.data.transform.T
        return np.sqrt(np.diag(covariance))

    clustered = errors(groups=True, correction="stata") if has_groups else [None] * len(names)
    bootstrap = jackknife.bootstrap(n_resamples, seed, order=order, tol=TOL)
    spread, ends, notes = _spread(fit, bootstrap)
    rows = zip(names, fit.estimates, fit.standard_error, errors(), errors(correction="HC1"), clustered, strict=True)
    coefficients = [
        Coefficient(name, *(None if x is None else float(x) for x in (*numbers, spread[j], *ends[j])))
        for j, (name, *numbers) in enumerate(rows)
    ]
    if has_groups and (n_groups := len(np.unique(jackknife.groups))) < FEW_GROUPS:
        notes.append(
            f"{n_groups} groups are few: clustered standard errors and bootstrap intervals are then too small, the "
            f"more so the more unequal the groups are (at least {FEW_GROUPS} are a common rule)."
        )
    errors_of = fit.in_standard_errors(bootstrap.values[outcome.rows] - outcome.exact)
    told = Resampled(
        n_resamples,
        order,
        int(bootstrap.verified.sum()),
        bootstrap.n_polished,
        bootstrap.n_failed,
        TOL,
        len(outcome.rows),
        float(np.max(errors_of)) if len(errors_of) else None,
    )
    return Uncertainty(coefficients, told, notes)


def _spread(fit, bootstrap):
    """Standard errors (n_input,) and percentile intervals (n_input, 2) of the resamples, with what is to be said."""
    n_failed, n = bootstrap.n_failed, bootstrap.n_resamples
    none, notes = [None] * len(fit.data.columns), []
    if n_failed:
        notes.append(
            f"{n_failed} of {n} resamples have no finite fit (separable, or a coefficient not identified) and are left "
            "out: the bootstrap's standard errors and intervals are too small."
        )
    needed = int(np.ceil(2.0 / (1.0 - LEVEL) - 1e-9))
    if n - n_failed < needed:
        notes.append(
            f"{n - n_failed} resamples are too few for {100 * LEVEL:g} % intervals, at least {needed} are needed: "
            "use --resamples."
        )
        return none, [none[:1] * 2] * len(none), notes
    in_units = bootstrap.functional(lambda input_val: fit.in_units(input_val))
    return in_units.standard_errors("omit"), in_units.interval(LEVEL, "percentile", "omit"), notes


def degrees_of_freedom(fit):
    """Of the t distribution that estimates are held against: G - 1, n - k, or None for the normal distribution.

    The first with groups (Cameron & Miller 2015, sec. VI), the second where a Gaussian scale is estimated.
    """
    if fit.jackknife.groups is not None:
        return len(np.unique(fit.jackknife.groups)) - 1
    return fit.jackknife.n_obs - len(fit.input_val) if fit.jackknife.dispersion is not None else None


def critical_value(df):
    """Of a two-sided test at one minus the level."""
    tail = 0.5 + 0.5 * LEVEL
    return float(ndtri(tail) if df is None else stdtrit(df, tail))
