"""The report's sections: a table, what its columns mean, what was approximated and how that was verified."""

from dataclasses import dataclass

import numpy as np

from .influence import best_approximation
from .reversals import GREEDY_COEFFICIENTS, GREEDY_UP_TO, LARGEST_SHARE
from .table import NEWTON, align, number, wrapped

__all__ = ["Section", "sections", "summary"]

# Errors above this many standard errors are pointed out.
USELESS = 0.1


@dataclass(frozen=True)
class Section:
    """A titled table with notes, and the name of the figure that goes with it.

    ``n_left`` columns hold names; ``parted``: a gap stands where the first column changes.
    """

    title: str
    head: list
    rows: list
    notes: list
    figure: str
    n_left: int = 1
    parted: bool = False

    def as_text(self):
        """The section for a terminal, at most 100 columns wide."""
        table = align(self.head, self.rows, self.n_left, self.parted)
        return f"{self.title}\n{'=' * len(self.title)}\n{table}\n{wrapped(self.notes)}\n"


def summary(contents):
    """What was fitted, in one paragraph."""
    n = contents.n_coefficients
    text = f"{contents.source}: {contents.n_obs} observations, {n} coefficient{'s' if n > 1 else ''}"
    if contents.groups is not None:
        text += f", {contents.n_groups} groups ({contents.groups})"
    return f"{text}. {contents.family.capitalize()} model of {contents.response}: {contents.formula}"


def sections(contents, outcomes):
    """All sections in their order.

    Parameters
    ----------
    contents : Contents
    outcomes : list of Outcome

    Returns
    -------
    list of Section
    """
    how = outcomes[0].task.orders[best_approximation(outcomes[0])]
    made = [_coefficients(contents), _held_out(contents), _influential(contents, how)]
    return [*made, _reversals(contents), _approximations(contents, outcomes)]


def _coefficients(contents):
    has_groups = contents.groups is not None
    tail = 50.0 * (1.0 - contents.level)
    ends = [f"bootstrap {tail:g} %", f"{100.0 - tail:g} %"]
    head = ["coefficient", "estimate", "classical", "HC0", "HC1", *["clustered"] * has_groups, *ends]
    rows = []
    for one in contents.coefficients:
        errors = [one.standard_error, one.hc0, one.hc1, *[one.clustered] * has_groups]
        ends = [one.bootstrap_low, one.bootstrap_high]
        rows.append([one.coefficient, *(number(x) for x in [one.estimate, *errors, *ends])])
    told = contents.bootstrap
    drawn = "groups" if has_groups else "observations"
    clustered = (
        f" clustered: scores are summed within {contents.groups} first, times G / (G - 1) (n - 1) / (n - k)."
        if has_groups
        else ""
    )
    notes = [
        "Standard errors. classical: right if the model is. HC0, HC1: the sandwich (White 1980), right in large "
        f"samples where the model is wrong, without and with the factor n / (n - k).{clustered}",
        f"Bootstrap: percentiles of {told.n_resamples} resamples of {drawn}, refitted by the series of order "
        f"{told.order} in the weights, seed {contents.seed}. {_looked_at(told)} {told.n_polished} were not within "
        f"{told.tol:g} standard errors and polished, {told.n_failed} have no finite fit. Verified at {told.n_verified} "
        f"exact refits: the largest error is {number(told.largest_error, 2)} standard errors.",
    ]
    return Section("Coefficients", head, rows, notes, "coefficients")


def _looked_at(told):
    if told.n_looked_at == told.n_resamples:
        return "The model was run at all of them."
    return (
        f"The model was run at {told.n_looked_at} of them, the others were accepted by the terms of their series, "
        "scaled by what those showed."
    )


def _held_out(contents):
    told = contents.held_out
    unit = "observation" if contents.groups is None else "group"
    head = ["mean loss", told.loss]
    rows = [
        ["at the fit", number(told.in_sample, 6)],
        ["held out", number(told.held_out, 6)],
        ["difference", number(told.held_out - told.in_sample, 3)],
        ["standard error (held out)", number(told.standard_error, 3)],
        [f"mean error ({told.n_verified} verified)", number(told.mean_error, 2)],
        ["largest error", number(told.largest_error, 2)],
    ]
    notes = [
        f"Held out: the {told.loss} of observations that the fit has not seen, at the {told.n_left_out} approximate "
        f"refits (order {told.order}) without each {unit}. {told.n_polished} of them were not trusted and polished. "
        f"Verified at exact refits without the {unit}s that move the fit most and random ones.",
    ]
    return Section("Leave-one-out loss" if unit == "observation" else "Leave-group-out loss", head, rows, notes, "")


def _influential(contents, how):
    rows = [*contents.influential_groups, *contents.influential]
    head = ["left out", "rows", "moves most", "change (s.e.)", "exact", contents.held_out.loss]
    cells = [
        [
            one.label,
            f"{one.n_rows}",
            one.coefficient,
            number(one.change, 3),
            "no refit" if one.exact_change is None else number(one.exact_change, 3),
            number(one.held_out_loss, 3),
        ]
        for one in rows
    ]
    is_grouped = contents.groups is not None
    way, rival = ("the series", "one Newton step") if how != NEWTON else ("one Newton step", "the series")
    what = "groups, then observations," if is_grouped else "observations"
    with_group = ", held out with its group" if is_grouped else ""
    notes = [
        f"The {what} without which a coefficient moves most, in its classical standard errors: by {way} (which was "
        f"nearer to the exact refits than {rival}), and by an exact refit. Last column: the mean "
        f"{contents.held_out.loss} of what is left out{with_group}."
    ]
    title = f"Most influential {'groups and ' * is_grouped}observations"
    return Section(title, head, cells, notes, "influence")


def _reversals(contents):
    by_name = {}
    for one in contents.reversals:
        by_name.setdefault(one.coefficient, []).append(one)
    head = ["coefficient", "sign flips without", "then", "t", "significance", "changes without", "then t"]
    rows = []
    for coefficient, estimate in zip(contents.coefficients, by_name.values(), strict=True):
        sign, t = estimate
        rows.append(
            [
                coefficient.coefficient,
                _dropped(sign),
                number(sign.refitted if sign.found else None, 2),
                number(t.initial, 3),
                t.question.removeprefix("significance "),
                _dropped(t),
                number(t.refitted if t.found else None, 3),
            ]
        )
    error = "classical" if contents.groups is None else "clustered (no small-sample factor)"
    against = "normal" if contents.df is None else f"{contents.df} degrees of freedom"
    notes = [
        "How few observations have to be left out for the estimate to change its sign, and for it to lose (or gain) "
        f"significance: |t| against {contents.critical:.2f} ({against}), t with the {error} standard error, both "
        "re-estimated. "
        "Every number is that of an exact refit without the set; a smaller set may exist.",
        f"The set has the largest first-order influences (Broderick, Giordano, Meager 2020).{_searched(contents)} "
        f"-: not shown by that set, of at most {100 * LARGEST_SHARE:g} % of the observations (too few, or beyond: "
        "significant with the other sign).",
    ]
    return Section("How few observations reverse a conclusion", head, rows, notes, "reversals")


def _searched(contents):
    if not contents.max_refits or contents.n_coefficients > GREEDY_COEFFICIENTS:
        return " A greedy search for fewer was not made."
    return (
        f" Where that takes at most {GREEDY_UP_TO}, a greedy search for fewer makes up to {contents.max_refits} exact "
        "refits in each direction."
    )


def _dropped(one):
    return f"{one.n_dropped} ({100 * one.share:.2g} %)" if one.found else "-"


def _approximations(contents, outcomes):
    head = "refits,number,verified,order,error (s.e.),time (s),exact (s),speed-up,equal error".split(",")
    rows = [line.cells() for line in contents.approximations]
    changes = [(outcome.task.name, outcome.lines[-1].change_in_standard_errors) for outcome in outcomes]
    compared = ", ".join(f"{change:.2g} ({name})" for name, change in changes if np.isfinite(change))
    notes = [
        "error: largest |approximate - exact refit| of any coefficient among the verified refits, in standard errors "
        "of the fit. Verified: the most displaced and as many random ones; on the grid, evenly spaced. To compare "
        f"with: these refits move the coefficients by up to {compared} standard errors.",
        "order: of the series, without polishing; newton: one Newton step with the Hessian of what is left. time: all "
        "refits at this order, recording of the model and factorization included. exact: the same refits one by one "
        "with Newton's method from the base point to rounding, estimated from the verified ones; equal error: "
        "stopped as soon as its error is as small as this line's. -: no nearer to the exact refits than the fit is.",
    ]
    for outcome in outcomes:
        name, last = outcome.task.name, [line for line in outcome.lines if line.order != NEWTON][-1]
        if outcome.n_unsolved:
            notes.append(
                f"{name}: {outcome.n_unsolved} of the refits to verify have no finite optimum and are not in the "
                "error; their approximations mean nothing."
            )
        if last.max_error_in_standard_errors > USELESS:
            notes.append(
                f"{name}: the bare series is off by {last.max_error_in_standard_errors:.2g} standard errors at order "
                f"{last.order}: some of these steps are too long for it. The sections above polish such refits."
            )
    return Section("Approximate against exact refits", head, rows, notes, "report", parted=True)
