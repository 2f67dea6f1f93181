"""Tables: aligned text of at most 100 columns, CSV, and the line that compares approximate with exact refits."""

import csv
import math
import textwrap
from dataclasses import dataclass

__all__ = ["NEWTON", "WIDTH", "Line", "align", "number", "wrapped", "write_csv"]

#: In place of an order: one Newton step with the Hessian of the observations that are left.
NEWTON = "newton"
WIDTH = 100
MAX_NAME, MIN_NAME = 32, 12


@dataclass(frozen=True)
class Line:
    """One line of the comparison of refits; times are in seconds and for all refits of the task.

    ``order`` is that of the series, or "newton" for one Newton step. ``change_in_standard_errors`` is what an error has
    to be compared with: how far the verified refits are, at most, from the fit that they are expanded around.
    """

    task: str
    refits: int
    verified: int
    order: int | str
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

    def cells(self):
        """What the table shows."""
        return [
            self.task,
            f"{self.refits}",
            f"{self.verified}",
            str(self.order),
            f"{self.max_error_in_standard_errors:.1e}",
            f"{self.seconds:.2g}",
            f"{self.exact_seconds:.2g}",
            f"{self.speed_up:.1f}x" if self.is_refit else "-",
            f"{self.equal_error_speed_up:.1f}x" if self.is_refit else "-",
        ]


def align(head, rows, n_left=1, parted=False):
    """Rows of cells as text, the first columns to the left and the others to the right.

    Parameters
    ----------
    head : list of str
    rows : list of list of str
    n_left : int
        Columns to the left.
    parted : bool
        Whether an empty line stands where the first column changes.

    Examples
    --------
    >>> print(align(["coefficient", "estimate"], [["age", "0.25"], ["educ", "-1.5"]]))
    coefficient  estimate
    ---------------------
    age              0.25
    educ             -1.5
    """
    rows = [[short(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    excess = sum(widths) + 2 * (len(widths) - 1) - WIDTH
    if excess > 0:
        widths[0] = max(widths[0] - excess, MIN_NAME)
        rows = [[short(row[0], widths[0]), *row[1:]] for row in rows]
    lines = []
    for row in [head, *rows]:
        cells = [
            cell.ljust(w) if i < n_left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    if parted:
        for i in range(len(rows) - 1, 0, -1):
            if rows[i][0] != rows[i - 1][0]:
                lines.insert(i + 2, "")
    return "\n".join(lines)


def short(text, length=MAX_NAME):
    """A text without its end where it is too long."""
    return text if len(text) <= length else text[: length - 3] + "..."


def number(value, digits=4):
    """A number to some digits; a dash where there is none.

    Examples
    --------
    >>> number(0.123456), number(12345.6), number(None)
    ('0.1235', '1.235e+04', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def wrapped(paragraphs, bullet=""):
    """Paragraphs in lines of at most 100 columns, indented behind a bullet."""
    filled = [
        textwrap.fill(text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet)) for text in paragraphs
    ]
    return "\n".join(filled)


def write_csv(path, rows):
    """Dictionaries as the rows of a table, at full precision."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
