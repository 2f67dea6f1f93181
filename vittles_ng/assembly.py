"""A sparse Jacobian from few products: which directions to probe, and where each result goes.

Columns of a matrix that have no row in common are found by one product with the sum of their unit vectors (Curtis,
Powell & Reid, J. Inst. Maths Applics 13 (1974) 117); a group of such columns is a colour. Dense columns - inputs that
enter every term, the global parameters of a hierarchical model - would leave no two columns in a group, so each is
probed by itself, and so are dense rows: of a symmetric matrix they are the dense columns, of any other one product with
the transpose each.
"""

import numpy as np
import scipy.sparse

from .errors import PatternError, ShapeError
from .memory import OF_MEMORY, check_size, memory_limit

__all__ = ["Assembly", "checked_pattern"]

_CANDIDATES = 16  # numbers of dense columns to choose among
#: The check looks for entries in the units of the rows and columns, down to this part of the largest of these, so that
#: it sees entries from about 1e-13 of the largest on: below it, rounding in the products would pass for an entry.
_SMALLEST_UNIT = 1e-2


class Assembly:
    """A fixed pattern, the directions that find its entries, and where in the products they stand.

    Parameters
    ----------
    pattern : sparse of shape (n, n)
        Where entries may be; see :func:`checked_pattern`.
    symmetric : bool
        Whether the matrix is symmetric; the pattern must then be.

    Raises
    ------
    SizeError
        The products would not fit in memory.

    Attributes
    ----------
    pattern : csc_array of shape (n, n)
    dense : ndarray of int
        Columns that are probed one by one.
    dense_rows : ndarray of int
        Rows that are; empty where the matrix is symmetric.
    colours : ndarray of shape (n,)
        The colour of every other column, -1 for a dense one.
    n_colours, n_products : int
        Colours, and products with the matrix (and its transpose) that one assembly takes.
    source : ndarray of int of shape (nnz,)
        Where each entry stands in the stack of products, (n_products, n) raveled.
    """

    def __init__(self, pattern, symmetric):
        pattern = scipy.sparse.csc_array(pattern)
        n = pattern.shape[0]
        self.pattern, self.symmetric = pattern, symmetric
        columns = np.repeat(np.arange(n, dtype=pattern.indices.dtype), np.diff(pattern.indptr))
        self.dense, self.dense_rows = _dense_lines(pattern, columns, symmetric)
        is_dense_column, is_dense_row = _mask(self.dense, n), _mask(self.dense if symmetric else self.dense_rows, n)
        kept = ~(is_dense_column[columns] | is_dense_row[pattern.indices])
        rows = pattern.indices[kept]
        self._check_size(n, int(np.bincount(rows, minlength=1).max()))
        self.colours = _coloured(rows, columns[kept], n)
        self.colours[is_dense_column] = -1
        used, self.colours[~is_dense_column] = np.unique(self.colours[~is_dense_column], return_inverse=True)
        self.n_colours = len(used)
        self.n_products = len(self.dense) + self.n_colours + len(self.dense_rows)
        self.source = self._sources(columns)

    def _check_size(self, n, fewest_colours):
        """Raise, before columns are coloured, where directions and products would not fit in memory."""
        n_products = len(self.dense) + fewest_colours + len(self.dense_rows)
        what = f"finding the entries of a matrix of {n} inputs by {n_products} products or more"
        remedy = "the pattern is close to dense: use products with the matrix alone (sparsity=None, solver='cg')"
        check_size(16 * n_products * n, what, memory_limit(), OF_MEMORY, remedy)

    @property
    def nnz(self):
        """Entries of the pattern."""
        return self.pattern.nnz

    def _sources(self, columns):
        """For every entry its position in the stack of products, (n_products, n) raveled."""
        n, rows = self.pattern.shape[0], self.pattern.indices
        if self.symmetric:  # both triangles are read at one place, so that they are equal to the last bit
            rows, columns = np.maximum(rows, columns), np.minimum(rows, columns)
        n_dense = len(self.dense)
        kind = np.int32 if (self.n_products + 1) * n < 2**31 else np.int64
        product_of = np.empty(n, kind)
        product_of[:] = n_dense + self.colours
        product_of[self.dense] = np.arange(n_dense)
        position = product_of[columns] * kind(n) + rows.astype(kind)
        row_products = self.dense if self.symmetric else self.dense_rows
        first = 0 if self.symmetric else n_dense + self.n_colours
        of_row = np.full(n, -1, kind)
        of_row[row_products] = first + np.arange(len(row_products))
        across = (of_row[rows] >= 0) & (self.colours[columns] >= 0)
        position[across] = of_row[rows[across]] * kind(n) + columns[across].astype(kind)
        return position

    def directions(self):
        """What to multiply by the matrix, (len(dense) + n_colours, n)."""
        n, n_dense = self.pattern.shape[0], len(self.dense)
        directions = np.zeros((n_dense + self.n_colours, n))
        directions[np.arange(n_dense), self.dense] = 1.0
        others = np.flatnonzero(self.colours >= 0)
        directions[n_dense + self.colours[others], others] = 1.0
        return directions

    def matrix(self):
        """A matrix of the pattern, to be filled; its index arrays are shared with all others."""
        shared = (np.zeros(self.nnz), self.pattern.indices, self.pattern.indptr)
        return scipy.sparse.csc_array(shared, shape=self.pattern.shape)

    def fill(self, product, transposed=None, out=None, check=None):
        """The matrix from its products.

        Parameters
        ----------
        product : callable
            ``product(directions) -> J directions`` for rows of vectors, (k, n) -> (k, n).
        transposed : callable, default=None
            The same with the transpose; needed where there are dense rows.
        out : csc_array, default=None
            A matrix of :meth:`matrix` whose ``data`` are overwritten; default: a new one.
        check : callable, default=None
            ``product`` for the random direction; default: ``product`` itself.

        Returns
        -------
        csc_array of shape (n, n)

        Raises
        ------
        PatternError
            The product with a random direction is not the matrix's: entries are missing from the pattern.
        """
        out = self.matrix() if out is None else out
        n = self.pattern.shape[0]
        found = product(self.directions())
        if len(self.dense_rows):
            rows = np.zeros((len(self.dense_rows), n))
            rows[np.arange(len(rows)), self.dense_rows] = 1.0
            found = np.concatenate([found, transposed(rows)])
        np.take(np.ascontiguousarray(found).ravel(), self.source, out=out.data, mode="clip")
        self._check(out, product if check is None else check)
        return out

    def _check(self, matrix, product):
        """Compare ``J v`` of the assembled matrix with the product, for a random v in the units of the inputs."""
        with np.errstate(over="ignore", invalid="ignore"):
            magnitude = scipy.sparse.csc_array((np.abs(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
            of_rows, of_columns = _scales(magnitude, self.symmetric)
            probe = of_columns * np.random.default_rng(4).standard_normal(len(of_columns))
            expected = product(probe[None, :])[0]
            difference = of_rows * np.abs(matrix @ probe - expected)
            size = of_rows * (magnitude @ np.abs(probe))
            allowed = 1e-6 * size + 1e-9 * max(float(np.max(size)), float(np.max(of_rows * np.abs(expected))))
        bad = np.flatnonzero(difference > allowed)  # a NaN is the matrix's own and is named when it is factored
        if bad.size:
            worst = int(bad[np.argmax(difference[bad])])
            raise PatternError(
                f"the pattern misses entries: the product of the assembled matrix with a random vector differs from "
                f"that of the tape by {difference[worst] / of_rows[worst]:.1e} in row {worst}, and in {bad.size} rows "
                "in all: pass sparsity='auto', or a pattern with these rows' entries."
            )


def _scales(magnitude, symmetric):
    """What brings entries of all rows and columns near one, so that small units hide no entry: (n,) each."""
    largest = float(np.max(magnitude.data, initial=0.0)) or 1.0
    if symmetric:
        units = 1.0 / np.maximum(np.sqrt(magnitude.diagonal()), _SMALLEST_UNIT * np.sqrt(largest))
        return units, units
    of_columns = 1.0 / np.maximum(magnitude.max(axis=0).toarray().ravel(), _SMALLEST_UNIT * largest)
    in_units = magnitude.multiply(of_columns[None, :]).tocsr()
    return 1.0 / np.maximum(in_units.max(axis=1).toarray().ravel(), _SMALLEST_UNIT), of_columns


def _mask(indices, n):
    mask = np.zeros(n, bool)
    mask[indices] = True
    return mask


def _dense_lines(pattern, columns, symmetric):
    """The dense columns, and the dense rows where the matrix is not symmetric.

    With the k densest columns (and rows) probed by themselves at least as many colours are needed as the fullest row of
    the rest has entries; k is chosen to make the sum least, among those at which the number of entries drops most.
    """
    n = pattern.shape[0]
    per_column, per_row = np.diff(pattern.indptr), np.bincount(pattern.indices, minlength=n)
    lines = [per_column] if symmetric else [per_column, per_row]
    counts = np.concatenate(lines)
    order = np.argsort(-counts, kind="stable")
    falling = counts[order]
    drops = np.flatnonzero(falling[:-1] > falling[1:]) + 1
    steepest = np.argsort(-(falling[drops - 1] / np.maximum(falling[drops], 1)), kind="stable")[:_CANDIDATES]
    best, fewest = order[:0], int(per_row.max(initial=0))
    for k in np.sort(drops[steepest]):
        if k >= fewest:
            break
        chosen = order[:k]
        dense_columns = _mask(chosen[chosen < n], n)
        dense_rows = dense_columns if symmetric else _mask(chosen[chosen >= n] - n, n)
        kept = ~(dense_columns[columns] | dense_rows[pattern.indices])
        fullest = int(np.bincount(pattern.indices[kept], minlength=1).max())
        if k + fullest < fewest:
            best, fewest = chosen, int(k + fullest)
    return np.sort(best[best < n]), np.sort(best[best >= n] - n)


def _coloured(rows, columns, n):
    """Colours of columns such that no two of one colour share a row; SciPy's greedy colouring in two orders."""
    from scipy.optimize._numdiff import (
        group_columns,  # SciPy has it for sparse finite differences, without a public name
    )

    rest = scipy.sparse.csc_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    fullest_first = np.argsort(-np.diff(rest.indptr), kind="stable")
    found = [group_columns(rest, np.arange(n)), group_columns(rest, fullest_first)]
    return min(found, key=np.max).astype(np.int64)


def checked_pattern(pattern, n, symmetric):
    """A user's pattern as a csc_array of ones, explicit zeros included as entries.

    Parameters
    ----------
    pattern : sparse or array_like of shape (n, n)
        Stored entries of a sparse matrix, nonzeros of an array.
    n : int
    symmetric : bool
        Whether to add the transpose and the diagonal, so that one triangle is enough.

    Raises
    ------
    ShapeError
        It is not (n, n).
    TypeError
        Its elements are no numbers.
    """
    if not scipy.sparse.issparse(pattern):
        pattern = np.asarray(pattern)
        if pattern.dtype.kind not in "biuf":
            raise TypeError(f"the sparsity pattern has elements of type {pattern.dtype}: zeros and ones are needed.")
        pattern = scipy.sparse.coo_array(pattern) if pattern.ndim == 2 else pattern
    if pattern.shape != (n, n):
        raise ShapeError(
            f"the sparsity pattern has shape {pattern.shape}, the input has {n} elements: ({n}, {n}) is needed."
        )
    result = _ones(scipy.sparse.csc_array(pattern))
    if symmetric:
        missing = scipy.sparse.eye_array(n, dtype=np.int8, format="csc")
        for other in (missing, scipy.sparse.csc_array(result.T)):
            if not _contains(result, other):
                result = _ones(result + _ones(other))
    return result


def _ones(pattern):
    """A csc_array of ones with the pattern's indices, sorted and without duplicates."""
    result = scipy.sparse.csc_array(
        (np.ones(pattern.nnz, np.int8), pattern.indices, pattern.indptr), shape=pattern.shape
    )
    if not result.has_canonical_format:
        result = result.copy()
        result.sum_duplicates()
        result.data[:] = 1
    return result


def _contains(pattern, other):
    """Whether a pattern has all entries of another; both canonical csc_arrays."""
    if np.array_equal(pattern.indptr, other.indptr) and np.array_equal(pattern.indices, other.indices):
        return True
    return (pattern.astype(bool) + other.astype(bool)).nnz == pattern.nnz
