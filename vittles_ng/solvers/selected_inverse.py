"""Entries of the inverse of a sparse matrix at the pattern of its Cholesky factor, without the rest of the inverse.

With ``S = L L^T`` and ``Z = S^{-1}``, a group of columns J and the rows R below it in which their columns of L have
entries,

    Z_RJ = -Z_RR M,    Z_JJ = (L_JJ L_JJ^T)^{-1} - M^T Z_RJ,    M = L_RJ L_JJ^{-1},

from the last group to the first. All of Z_RR is known by then: R lies in the front ``J' + R'`` of the group J' that
holds the first row of R, its parent in the elimination tree. A front is dense, and let go when its children are done.

References
----------
K. Takahashi, J. Fagan, M.-S. Chin, Proc. 8th PICA Conf. (1973) 63: the recursion, one column at a time.
A. M. Erisman, W. F. Tinney, Comm. ACM 18 (1975) 177: which entries it can give.
P. R. Amestoy, I. S. Duff, Y. Robert, F.-H. Rouet, B. Ucar, SIAM J. Sci. Comput. 34 (2012) A1975: groups of columns.
"""

import numpy as np
import scipy.sparse
from scipy.linalg import lapack

__all__ = ["SelectedInverse"]

#: Subtrees of the elimination tree of up to so many columns become one group: small fronts cost more time than flops.
LEAF_COLUMNS = 32
#: A column joins the group before it while the group has no more columns than this ...
SMALL_GROUP = 8
#: ... or if no more than this part of the group's entries are zeros that L does not have.
ZEROS_ALLOWED = 0.15
#: Entries looked up at a time.
CHUNK = 2**20


class SelectedInverse:
    """Entries of ``H^{-1}`` at the pattern of L, where ``P D H D P^T = L L^T``.

    Parameters
    ----------
    lower : csc_array of shape (n, n)
        L, rows sorted in each column, all diagonal entries stored and positive. Not changed.
    permutation : ndarray of shape (n,)
        Row k of L belongs to input ``permutation[k]``.
    scale : ndarray of shape (n,), default=None
        Diagonal of D by input; None for ones.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> from vittles_ng.solvers.selected_inverse import SelectedInverse
    >>> matrix = np.array([[4.0, 2.0], [2.0, 5.0]])
    >>> lower = scipy.sparse.csc_array(np.linalg.cholesky(matrix))
    >>> SelectedInverse(lower, np.arange(2)).diagonal() * np.linalg.det(matrix)
    array([5., 4.])
    """

    def __init__(self, lower, permutation, scale=None):
        n = lower.shape[0]
        self._n, self._scale = n, scale
        lower, order = _postordered(lower)
        self._position = np.empty(n, dtype=np.int64)
        self._position[permutation[order]] = np.arange(n)
        columns = np.repeat(np.arange(n, dtype=np.int64), np.diff(lower.indptr))
        self._values = _takahashi(lower, columns)
        self._diagonal = self._values[lower.indptr[:-1]][self._position]
        # Entries of L are sorted by column, then by row.
        self._keys = columns * n + lower.indices

    def diagonal(self):
        """Diagonal of ``H^{-1}``, of shape ``(n,)``."""
        return self._diagonal if self._scale is None else self._diagonal * self._scale**2

    def at(self, pattern):
        """Entries of ``H^{-1}`` at the stored entries of a csc_array.

        Returns
        -------
        values : ndarray of shape (nnz,)
            In the order of ``pattern.data``; NaN where an entry is not in the pattern of L.
        """
        values = np.empty(pattern.nnz)
        columns = np.repeat(np.arange(self._n, dtype=pattern.indices.dtype), np.diff(pattern.indptr))
        for first in range(0, pattern.nnz, CHUNK):
            part = slice(first, first + CHUNK)
            values[part] = self._looked_up(pattern.indices[part], columns[part])
        return values

    def _looked_up(self, rows, columns):
        i, j = self._position[rows], self._position[columns]
        keys = np.minimum(i, j) * self._n + np.maximum(i, j)
        at = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        values = np.where(self._keys[at] == keys, self._values[at], np.nan)
        return values if self._scale is None else values * self._scale[rows] * self._scale[columns]


def _takahashi(lower, columns):
    """Entries of ``(L L^T)^{-1}`` at the pattern of L, in the order of ``lower.data``."""
    indptr, indices, data = lower.indptr, lower.indices, lower.data
    starts = _groups(lower)
    below, parent = _rows_below(lower, starts)
    waiting = np.bincount(parent[parent >= 0], minlength=parent.size)
    values = np.empty(data.size)
    fronts = {}
    for group in range(len(below) - 1, -1, -1):
        first, end, rows, above = starts[group], starts[group + 1], below[group], parent[group]
        width = end - first
        front = np.concatenate([np.arange(first, end), rows])
        part = slice(indptr[first], indptr[end])
        entries = np.searchsorted(front, indices[part]), columns[part] - first
        panel = np.zeros((front.size, width), order="F")
        panel[entries] = data[part]
        z_rr = None
        if rows.size:
            above_front, above_z = fronts[above]
            at = np.searchsorted(above_front, rows)
            z_rr = above_z[at[:, None], at]
            waiting[above] -= 1
            if not waiting[above]:
                del fronts[above]
        z_j = _front_columns(panel, width, z_rr)
        values[part] = z_j[entries]
        if waiting[group]:
            fronts[group] = front, _whole_front(z_j, width, z_rr)
    return values


def _front_columns(panel, width, z_rr):
    """Columns J of Z, of shape ``(n_J + n_R, n_J)``, from those of L and Z_RR."""
    inverse = lapack.dtrtri(panel[:width], lower=1)[0]
    z_j = np.empty(panel.shape)
    z_j[:width] = inverse.T @ inverse
    if z_rr is not None:
        m = panel[width:] @ inverse
        z_j[width:] = -(z_rr @ m)
        z_j[:width] -= m.T @ z_j[width:]
    return z_j


def _whole_front(z_j, width, z_rr):
    if z_rr is None:
        return z_j
    front = np.empty((z_j.shape[0], z_j.shape[0]))
    front[:, :width] = z_j
    front[:width, width:] = z_j[width:].T
    front[width:, width:] = z_rr
    return front


def _tree(lower):
    """Elimination tree: each column's parent (n for a root), the size of its subtree, and the first column there."""
    n = lower.shape[0]
    parent = np.full(n, n)
    has_parent = np.diff(lower.indptr) > 1
    parent[has_parent] = lower.indices[lower.indptr[:-1][has_parent] + 1]
    parent, size, first = parent.tolist(), [1] * n, list(range(n))
    for j, above in enumerate(parent):
        if above < n:
            size[above] += size[j]
            first[above] = min(first[above], first[j])
    return parent, size, first


def _postordered(lower):
    """L with each subtree in a range of columns, and the row of the given L for each of its rows.

    Then groups are larger, and the fronts that wait for children are those on one path to the root.
    """
    n = lower.shape[0]
    parent, size, first = _tree(lower)
    if all(j - first[j] + 1 == size[j] for j in range(n)):
        return lower, np.arange(n)
    position, free, next_root = np.empty(n, dtype=np.int64), [0] * n, 0
    for j in range(n - 1, -1, -1):
        above = parent[j]
        if above < n:
            free[j] = free[above]
            free[above] += size[j]
        else:
            free[j], next_root = next_root, next_root + size[j]
        position[j] = free[j] + size[j] - 1
    rows, columns = position[lower.indices], np.repeat(position, np.diff(lower.indptr))
    if (rows < columns).any():
        # Entries that cancelled to zero and were dropped left no elimination tree: any order that is lower will do.
        return lower, np.arange(n)
    reordered = scipy.sparse.csc_array((lower.data, (rows, columns)), shape=(n, n))
    reordered.sort_indices()
    return reordered, np.argsort(position)


def _groups(lower):
    """First columns of the groups, and n: subtrees of few columns, then chains of columns that are alike.

    Any division into groups gives the right inverse; this one makes fronts that are few and nearly full.
    """
    n = lower.shape[0]
    count = np.diff(lower.indptr).tolist()
    parent, size, first_of = _tree(lower)
    leaf_end = _small_subtrees(parent, size, first_of)
    starts, j = [], 0
    while j < n:
        starts.append(j)
        if leaf_end[j] > j:
            j = leaf_end[j]
            continue
        first, nonzeros = j, 0
        while True:
            nonzeros += count[j]
            j += 1
            if j == n or parent[j - 1] != j or leaf_end[j] > j:
                break
            width = j + 1 - first
            full = width * (count[j] - 1) + width * (width + 1) // 2
            if width > SMALL_GROUP and full - nonzeros - count[j] > ZEROS_ALLOWED * full:
                break
    return [*starts, n]


def _small_subtrees(parent, size, first):
    """For the first column of each group of whole small subtrees the end of it, 0 for all other columns.

    Neighbours with the same parent are put together.
    """
    n = len(parent)
    end = [0] * n
    last_start, last_parent = 0, -1
    for j, above in enumerate(parent):
        if size[j] > LEAF_COLUMNS or (above < n and size[above] <= LEAF_COLUMNS) or j - first[j] + 1 != size[j]:
            continue
        start = first[j]
        if start > 0 and end[last_start] == start and above == last_parent and j + 1 - last_start <= LEAF_COLUMNS:
            start = last_start
        end[start] = j + 1
        last_start, last_parent = start, above
    return end


def _rows_below(lower, starts):
    """For each group its rows below, closed under elimination, and its parent (-1 for a root).

    A parent's front holds the rows of its children even where L dropped entries that cancelled to zero.
    """
    n_groups = len(starts) - 1
    group_of = np.repeat(np.arange(n_groups), np.diff(starts))
    from_children = [[] for _ in range(n_groups)]
    below, parent = [], np.full(n_groups, -1)
    for group in range(n_groups):
        end = starts[group + 1]
        rows = lower.indices[lower.indptr[starts[group]] : lower.indptr[end]]
        rows = np.unique(np.concatenate([rows, *from_children[group]]))
        rows = rows[np.searchsorted(rows, end) :]
        from_children[group] = ()
        below.append(rows)
        if rows.size:
            above = parent[group] = group_of[rows[0]]
            passed_on = rows[np.searchsorted(rows, starts[above + 1]) :]
            if passed_on.size:
                from_children[above].append(passed_on)
    return below, parent
