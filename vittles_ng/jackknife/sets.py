"""Sets of observations that are left out together."""

import numpy as np
from scipy.sparse import csr_array

from ..errors import DataError, ShapeError

__all__ = ["Sets", "checked_sets", "one_each"]


class Sets:
    """Sets of observations, one after another: set i is ``rows[starts[i] : starts[i + 1]]``.

    Parameters
    ----------
    rows : ndarray of int
    starts : ndarray of int, of shape (n_sets + 1,)
    names : sequence or None
        Of the sets.
    """

    def __init__(self, rows, starts, names=None):
        self.rows, self.starts, self.names = rows, starts, names

    def __len__(self):
        return len(self.starts) - 1

    def __getitem__(self, i):
        return self.rows[self.starts[i] : self.starts[i + 1]]

    def chosen(self, which):
        """Some of the sets, and where their rows are among all."""
        places = [np.arange(self.starts[i], self.starts[i + 1]) for i in which]
        places = np.concatenate([np.zeros(0, np.intp), *places])
        sizes = np.diff(self.starts)[which]
        return Sets(self.rows[places], np.append(0, np.cumsum(sizes)).astype(np.intp)), places

    def set_of_row(self):
        """The set that each of ``rows`` is in."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def sums(self, values, matrix):
        """``sum_n values_n matrix[n]`` over the rows of every set, (n_sets, n_columns)."""
        return csr_array((values, self.rows, self.starts), shape=(len(self), len(matrix))) @ matrix

    def totals(self, values):
        """Sums of values over the rows of every set, (n_sets,)."""
        return np.bincount(self.set_of_row(), weights=values, minlength=len(self))

    def blocks(self, n_rows):
        """Slices of consecutive sets, of at most so many sets and, where sets are smaller, rows."""
        start = 0
        while start < len(self):
            end = np.searchsorted(self.starts, self.starts[start] + n_rows, side="right") - 1
            stop = min(max(int(end), start + 1), start + n_rows, len(self))
            yield slice(start, stop)
            start = stop


def one_each(jackknife):
    """The sets that leave-one-out leaves out: observations, or groups in the order of their sorted labels."""
    n = jackknife.n_obs
    if jackknife.groups is None:
        return Sets(np.arange(n), np.arange(n + 1), jackknife.observation_names)
    labels, group = np.unique(jackknife.groups, return_inverse=True)
    sizes = np.bincount(group, minlength=len(labels))
    return Sets(np.argsort(group, kind="stable"), np.append(0, np.cumsum(sizes)), labels.tolist())


def checked_sets(index_sets, n_obs):
    """Sets from a list of index arrays or boolean masks."""
    if isinstance(index_sets, np.ndarray) and index_sets.ndim != 2 and index_sets.dtype != object:
        raise ShapeError(
            f"index_sets has shape {index_sets.shape}: a list of index arrays is needed, one for each set."
        )
    sets = [_checked_set(indices, i, n_obs) for i, indices in enumerate(index_sets)]
    rows = np.concatenate(sets) if sets else np.zeros(0, np.intp)
    return Sets(rows, np.append(0, np.cumsum([len(rows) for rows in sets])).astype(np.intp))


def _checked_set(indices, i, n_obs):
    """The indices of one set, from a boolean mask too."""
    array = np.asarray(indices)
    if array.ndim != 1:
        raise ShapeError(f"set {i} has shape {array.shape}: an array of indices, or a mask ({n_obs},), is needed.")
    if array.dtype == bool:
        if array.shape != (n_obs,):
            raise ShapeError(f"set {i} is a mask of {array.size} observations: ({n_obs},) is needed.")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.zeros(0, np.intp)
    if array.dtype.kind not in "iu":
        raise TypeError(f"set {i} has elements of type {array.dtype}: indices of observations are needed.")
    outside = array[(array < 0) | (array >= n_obs)]
    if outside.size:
        raise DataError(f"set {i} holds the index {outside[0]}: indices from 0 to {n_obs - 1} are needed.")
    values, counts = np.unique(array, return_counts=True)
    if len(values) < len(array):
        raise DataError(f"set {i} holds observation {values[np.argmax(counts)]} {counts.max()} times: name it once.")
    return array.astype(np.intp)
