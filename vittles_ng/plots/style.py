"""What all figures share: colours, axes, labels at the ends of curves."""

import numpy as np

from ..errors import optional_import

__all__ = [
    "COLOURS",
    "MARKERS",
    "given_axes",
    "label_ends",
    "largest_columns",
    "positive",
    "shortened",
    "tidy",
]

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^")
MAX_PATHS, MAX_NAME = 8, 40
# From the middle of a label's left edge to the end of its curve.
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "relpos": (0.0, 0.5), "shrinkA": 0, "shrinkB": 3}


def given_axes(ax):
    """The axes, or those of a new figure."""
    return optional_import("matplotlib.pyplot").subplots(layout="constrained")[1] if ax is None else ax


def tidy(ax, title):
    """Title at the left, no frame, a light grid."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)


def label_ends(ax, x, ends, names):
    """Each curve's name right of the axes, in its colour, at or near the height where the curve ends."""
    low, high = ax.get_ylim()
    to_fraction = (ax.transScale + ax.transLimits).transform
    heights = spread(np.array([to_fraction((x, end))[1] for end in ends]), 0.055)
    for end, height, name, colour in zip(ends, heights, names, COLOURS, strict=False):
        ax.annotate(
            shortened(name),
            (x, end),
            xytext=(1.03, height),
            textcoords=("axes fraction", "axes fraction"),
            color=colour,
            fontsize=9,
            va="center",
            arrowprops={**LEADER, "color": colour},
        )
    ax.set_ylim(low, high)


def spread(heights, gap):
    """Label heights at least ``gap`` apart, in the same order: crowded ones are spaced evenly around their mean."""
    order = np.argsort(heights)
    groups = [[height] for height in heights[order]]
    i = 0
    while i < len(groups) - 1:
        needed = 0.5 * gap * (len(groups[i]) + len(groups[i + 1]))
        if np.mean(groups[i + 1]) - np.mean(groups[i]) < needed:
            groups[i] += groups.pop(i + 1)
            i = max(i - 1, 0)
        else:
            i += 1
    spread = np.empty(len(heights))
    spread[order] = [np.mean(group) + gap * (k - 0.5 * (len(group) - 1)) for group in groups for k in range(len(group))]
    return spread


def largest_columns(table):
    """Columns with the 8 largest entries, in their own order."""
    return np.sort(np.argsort(-np.nanmax(np.abs(table), axis=0, initial=0.0))[:MAX_PATHS])


def positive(values):
    """Absolute values, NaN where there is nothing that a log scale could show."""
    sizes = np.abs(np.asarray(values, dtype=float))
    return np.where(sizes > 0.0, sizes, np.nan)


def shortened(name, length=MAX_NAME):
    """A name of at most so many characters."""
    return name if len(name) <= length else name[: length - 3] + "..."
