"""The report's table: its lines, as text and as CSV, and the notes that say what its columns mean."""

import csv
import math
import textwrap
from dataclasses import dataclass

__all__ = ["Line", "footnotes", "format_table", "summary", "write_csv"]

# Errors above this many standard errors are pointed out.
USELESS = 0.1


@dataclass(frozen=True)
class Line:
    """One line of the table; times are in seconds and for all refits of the task.

    ``change_in_standard_errors`` is what an error has to be compared with: how far the verified refits are, at most,
    from the fit that they are expanded around.
    """

    task: str
    refits: int
    verified: int
    order: int
    max_error_in_standard_errors: float
    seconds: float
    exact_seconds: float
    speed_up: float
    equal_error_exact_seconds: float
    equal_error_speed_up: float
    change_in_standard_errors: float

    @property
    def is_refit(self):
        """Whether the approximation is nearer to the exact refits than the fit itself, which costs nothing, is."""
        return self.max_error_in_standard_errors < self.change_in_standard_errors


def format_table(lines):
    """The table as text, at most 100 characters wide.

    Examples
    --------
    >>> print(format_table([Line("bootstrap", 200, 40, 3, 2.5e-3, 0.5, 2.0, 4.0, 1.0, 2.0, 3.1)]))
    task       refits  verified  order  error (s.e.)  time (s)  exact (s)  speed-up  at equal error
    -----------------------------------------------------------------------------------------------
    bootstrap     200        40      3       2.5e-03       0.5          2      4.0x            2.0x
    """
    head = "task,refits,verified,order,error (s.e.),time (s),exact (s),speed-up,at equal error".split(",")
    cells = [
        [
            line.task,
            f"{line.refits}",
            f"{line.verified}",
            f"{line.order}",
            f"{line.max_error_in_standard_errors:.1e}",
            f"{line.seconds:.2g}",
            f"{line.exact_seconds:.2g}",
            f"{line.speed_up:.1f}x" if line.is_refit else "-",
            f"{line.equal_error_speed_up:.1f}x" if line.is_refit else "-",
        ]
        for line in lines
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    aligned = [
        "  ".join([row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)])
        for row in [head, *cells]
    ]
    tasks = [None, *(line.task for line in lines)]
    for i in range(len(lines), 0, -1):
        if tasks[i] != tasks[i - 1]:
            aligned.insert(i, "" if i > 1 else "-" * len(aligned[0]))
    return "\n".join(aligned)


def summary(source, formula, fit, family):
    """What was fitted."""
    n_obs, n_input = fit.data.design.shape
    text = f"{source}: {n_obs} observations, {n_input} coefficient{'s' if n_input > 1 else ''}. "
    text += f"{family.capitalize()} model of {fit.data.response_name}: {formula}"
    return "\n" + textwrap.fill(text, 100) + "\n"


def footnotes(outcomes, first_call, folder):
    """What the columns mean, what the errors compare with, and what could not be verified.

    Parameters
    ----------
    outcomes : list of Outcome
    first_call : float
        Seconds of the process's first expansion.
    folder : path-like
    """
    changes = [(outcome.task.name, outcome.lines[-1].change_in_standard_errors) for outcome in outcomes]
    notes = [
        "error: largest |approximate - exact refit| of any coefficient among the verified refits, in standard errors "
        "of the fit. Verified: the most displaced and as many random ones; on the grid, evenly spaced. To compare "
        "with: these refits move the coefficients by up to "
        + ", ".join(f"{change:.2g} ({name})" for name, change in changes if math.isfinite(change))
        + " standard errors.",
        "time: all refits at this order, one recording of the model and one factorization included, without the "
        f"{first_call:.2g} s that the first expansion of a process takes. exact: the same refits one by one with "
        "Newton's method from the base point to rounding, estimated from the verified ones; at equal error: stopped as "
        "soon as its error is as small as this order's. -: no nearer to the exact refits than the fit itself.",
    ]
    for outcome in outcomes:
        name, last = outcome.task.name, outcome.lines[-1]
        if outcome.n_unsolved:
            notes.append(
                f"{name}: {outcome.n_unsolved} of the refits to verify have no finite optimum (separable, or a "
                "coefficient not identified without the observations left out) and are not in the error; their "
                "approximations mean nothing."
            )
        if last.max_error_in_standard_errors > USELESS:
            notes.append(
                f"{name}: off by {last.max_error_in_standard_errors:.2g} standard errors at order {last.order}: "
                "some of these steps are too long for the series, refit exactly."
            )
    notes.append(f"Written into {folder}: report.csv (this table), coefficients.csv, report.png")
    return "\n" + "\n".join(textwrap.fill(note, 100) for note in notes)


def write_csv(path, rows):
    """Dictionaries as the rows of a table, at full precision."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
