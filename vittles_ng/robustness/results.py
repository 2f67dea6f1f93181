"""What the search for a set of observations gives back."""

from dataclasses import dataclass

import numpy as np

from ..errors import optional_import

__all__ = ["ReversingSet"]


@dataclass(frozen=True, eq=False)
class ReversingSet:
    """Observations whose removal moves a functional, with the refit that shows it.

    Made by :func:`most_influential_set` and :func:`smallest_reversing_set`; its length is the number of observations.

    Attributes
    ----------
    indices : ndarray of int, shape (n_dropped,)
        The observations left out, those that move the functional most first.
    predicted : float
        The functional without them as it was predicted before they were left out.
    refitted : float
        The functional of the exact refit without them; NaN where there is none, see ``message``.
    reversed : bool
        Whether the refit shows the reversal that was asked for; of the most influential set whether the sign changed.
    initial : float
        The functional at the fit.
    n_refits : int
        Exact refits made in the search.
    method : str
    message : str
        What was found, or why nothing was.
    input : ndarray of shape (n_input,) or None
        The exact refit.
    weights : ndarray of shape (n_obs,)
        The weights without the set, exactly zero in it.
    influence : ndarray of shape (n_dropped,)
        ``d functional / d weight`` of the observations at the fit.
    labels : list
        Names of the observations where the jackknife has them, their indices otherwise.
    groups : ndarray or None
        Labels of the groups left out, where whole groups were.
    """

    indices: np.ndarray
    predicted: float
    refitted: float
    reversed: bool
    initial: float
    n_refits: int
    method: str
    message: str
    input: np.ndarray | None
    weights: np.ndarray
    influence: np.ndarray
    labels: list
    groups: np.ndarray | None = None

    def to_frame(self):
        """A pandas DataFrame, a row for each observation left out: its label, index and influence at the fit."""
        pandas = optional_import("pandas")
        columns = {"observation": self.labels, "index": self.indices, "influence": self.influence}
        return pandas.DataFrame(columns)

    def __len__(self):
        return len(self.indices)
