"""The entries of a block arrow, taken out of a sparse matrix a part at a time.

Ten million of them: what is made of a part stays in the cache, and no array as long as they are is made.
"""

import numpy as np
import scipy.sparse

from . import checks

__all__ = ["OutsideArrow", "Parts", "as_slice", "by_place", "column_chunks", "full_pattern", "placed", "targets"]

#: Nonzeros taken at a time.
CHUNK = 1 << 17
#: C is kept as an ndarray where that takes at most these bytes ...
DENSE_MAX_BYTES = 1 << 30
#: ... and this share of its entries is stored, or where it has at most a million; otherwise as a sparse array.
DENSE_MIN_FILL = 0.2


class OutsideArrow(ValueError):
    """An entry joins two blocks of the arrow."""


def column_chunks(matrix, columns, whole=1, most=None):
    """Entries of some columns of a csc_array, a part of the columns at a time.

    Parameters
    ----------
    matrix : csc_array of shape (n, n)
    columns : ndarray of shape (n_columns,)
    whole : int, default=1
        Columns are taken in multiples of this.
    most : int, default=None
        At most so many multiples at a time.

    Yields
    ------
    first, last : int
        The part, ``columns[first:last]``.
    indices, data, counts : ndarray
        Row indices and values of its entries, column by column (not to be written into), and how many in each column.
    """
    counts = np.diff(matrix.indptr)[columns]
    ends = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])[::whole]
    first = 0
    while first < columns.size:
        start = first // whole
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + CHUNK, side="right")) - 1)
        stop = stop if most is None else min(stop, start + most)
        last = stop * whole
        part = columns[first:last]
        run = as_slice(part)
        if isinstance(run, slice):
            where = slice(matrix.indptr[run.start], matrix.indptr[run.stop])
            yield first, last, matrix.indices[where], matrix.data[where], counts[first:last]
        else:
            taken = matrix[:, part]
            yield first, last, taken.indices, taken.data, counts[first:last]
        first = last


def as_slice(inputs):
    """Indices as a slice where they follow each other, which saves a copy."""
    if inputs.size and inputs[-1] - inputs[0] == inputs.size - 1 and np.all(inputs[1:] > inputs[:-1]):
        return slice(int(inputs[0]), int(inputs[-1]) + 1)
    return inputs


class Parts:
    """The blocks of a symmetric matrix in the order of its arrow, taken out a part at a time.

    Parameters
    ----------
    matrix : csc_array of shape (n, n)
        Finite, indices sorted, no duplicates.
    structure : Arrow

    Attributes
    ----------
    is_dense : bool
        Whether C, ``(n_local, n_global)``, is to be kept as an ndarray.
    """

    def __init__(self, matrix, structure):
        self._matrix, self._structure = matrix, structure
        self._order, self._place = structure.order, placed(structure)
        self._largest = None
        self.is_dense = _keeps_dense(matrix, structure)
        self._columns = self._dense_columns() if self.is_dense else self._sparse_columns()

    def _dense_columns(self):
        """The globals' columns as rows (n_global, n), in the matrix's own order: views where they are full."""
        matrix, inputs = self._matrix, self._structure.global_inputs
        n, (starts, stops) = matrix.shape[0], (matrix.indptr[:-1][inputs], matrix.indptr[1:][inputs])
        if np.all(stops - starts == n) and np.all(np.diff(starts) == n) and inputs.size:
            return matrix.data[starts[0] : stops[-1]].reshape(-1, n)
        columns = np.zeros((inputs.size, n))
        for column, start, stop in zip(columns, starts, stops, strict=True):
            column[matrix.indices[start:stop]] = matrix.data[start:stop]
        return columns

    def _sparse_columns(self):
        return by_place(self._matrix, self._structure, self._place)

    def _rows(self, first, last):
        """The globals' columns at places first to last, (last - first, n_global); not to be written into."""
        if not self.is_dense:
            return self._columns[first:last].toarray()
        return self._columns[:, as_slice(self._order[first:last])].T

    def d_block(self):
        """D, ``(n_global, n_global)``."""
        d = np.array(self._rows(self._structure.n_local, self._structure.n))
        return self._averaged(d, d.T)

    def local(self):
        """The local inputs, some blocks of one size at a time.

        Yields
        ------
        group : int
            Which array of ``structure.blocks``.
        start : int
            Where that begins in the arrow's order.
        first, last : int
            Which of its inputs.
        block : ndarray of shape (n_blocks, size, size)
        rows : ndarray of shape (n_blocks * size, n_global)
            Those of C. Both may be written into.
        """
        for group, start, size, first, last, data, target, outside in targets(
            self._matrix, self._structure, self._place
        ):
            if outside is not None:
                self._raise_outside(outside)
            found = np.zeros((last - first, size + self._structure.n_global))
            found.reshape(-1)[target] = data
            block = found[:, :size].reshape(-1, size, size)
            block = self._averaged(block, block.transpose(0, 2, 1))
            rows = self._averaged(found[:, size:], self._rows(start + first, start + last))
            yield group, start, first, last, block, rows

    def _averaged(self, one, other):
        if np.array_equal(one, other):
            return one
        with np.errstate(over="ignore"):
            difference = one - other
            worst = np.abs(difference).max()
        if self._largest is None:
            self._largest = max(self._matrix.data.max(), -self._matrix.data.min())
        if not worst <= checks.SYMMETRY_TOL * self._largest:
            self.check()
        return one - 0.5 * difference

    def check(self):
        """Raise where the matrix is not symmetric."""
        checks.symmetrised(self._matrix)

    def _raise_outside(self, outside):
        raise OutsideArrow(
            f"the matrix is not the block arrow given: {np.count_nonzero(outside)} entries or more join two blocks; "
            "let structure=None find the blocks, or use solver='cholmod' or 'superlu'."
        )


def placed(structure):
    """Where each input is in the order blocks, globals: ndarray of shape (n,)."""
    place = np.empty(structure.n, dtype=np.int32 if structure.n < 2**31 else np.int64)
    place[structure.order] = np.arange(structure.n)
    return place


def by_place(matrix, structure, place):
    """The globals' columns of a csc_array as a csr_array (n, n_global), rows in the order blocks, globals."""
    taken = matrix[:, structure.global_inputs]
    return scipy.sparse.csc_array((taken.data, place[taken.indices], taken.indptr), shape=taken.shape).tocsr()


def targets(matrix, structure, place):
    """Where the entries of the locals' columns go in rows ``[block, C]`` of ``size + n_global``.

    Yields
    ------
    group, start, size, first, last : int
        Columns ``first`` to ``last`` of the inputs of ``structure.blocks[group]``, which begins at ``start``.
    data : ndarray of shape (n_entries,)
    target : ndarray of shape (n_entries,)
        Flat index in an array ``(last - first, size + n_global)``.
    outside : ndarray of shape (n_entries,), bool, or None
        Entries that have no place there, because they join two blocks; None where there are none.
    """
    start, n_local, unsigned = 0, structure.n_local, np.dtype(f"u{place.dtype.itemsize}")
    for group, blocks in enumerate(structure.blocks):
        size = blocks.shape[1]
        width = size + structure.n_global
        most = max(1, 4 * CHUNK // (width * size))
        for first, last, indices, data, counts in column_chunks(matrix, blocks.ravel(), size, most):
            at = np.arange(last - first, dtype=place.dtype)
            block_start = start + first + at // size * size
            found, spread = place[indices], _repeater(counts)
            if spread is None:
                found, block_start, row = (
                    found.reshape(at.size, found.size // at.size),
                    block_start[:, None],
                    at[:, None] * width,
                )
            else:
                block_start, row = spread(block_start), spread(at * width)
            in_block = found - block_start
            is_global = found >= n_local
            # seen as unsigned, a place before the block is beyond it
            beyond, outside = in_block.view(unsigned) >= size, None
            if np.count_nonzero(beyond) > np.count_nonzero(is_global):
                outside = (beyond & ~is_global).ravel()
            target = np.where(is_global, found + (size - n_local), in_block)
            target += row
            yield group, start, size, first, last, data, target.ravel(), outside
        start += blocks.size


def _repeater(counts):
    """A function that repeats an array by the counts; None where they are all equal."""
    if counts.size == 0 or np.all(counts == counts[0]):
        return None
    return lambda values: np.repeat(values, counts)


def _keeps_dense(matrix, structure):
    size = structure.n_local * structure.n_global
    stored = np.diff(matrix.indptr)[structure.global_inputs].sum() - structure.n_global**2
    return size <= 10**6 or (8 * size <= DENSE_MAX_BYTES and stored >= DENSE_MIN_FILL * size)


def full_pattern(structure):
    """The pattern of a full arrow: csc_array of shape (n, n), rows sorted."""
    n, inputs = structure.n, structure.global_inputs
    counts = np.full(n, n)
    for blocks in structure.blocks:
        counts[blocks] = blocks.shape[1] + inputs.size
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.empty(indptr[-1], dtype=np.int32 if indptr[-1] < 2**31 else np.int64)
    for blocks in structure.blocks:
        n_blocks, size = blocks.shape
        shared = np.broadcast_to(inputs, (n_blocks, inputs.size))
        # the columns of a block have the same rows
        rows = np.sort(np.concatenate([blocks, shared], axis=1), axis=1)
        indices[indptr[blocks][:, :, None] + np.arange(rows.shape[1])] = rows[:, None, :]
    for column in inputs:
        indices[indptr[column] : indptr[column + 1]] = np.arange(n)
    return scipy.sparse.csc_array((indices, indices, indptr.astype(indices.dtype)), shape=(n, n))
