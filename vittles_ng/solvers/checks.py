"""Checks on a matrix before and after it is factored.

The condition number is that of the scaled matrix, because the units of the inputs say nothing about whether the data
identify them: a symmetric matrix is scaled to a diagonal near one, which is within a factor ``n`` of the best diagonal
scaling (van der Sluis, Numer. Math. 14 (1969) 14); a general one to rows and columns with largest entries near one. All
scalings are powers of two, so that they round nothing.
"""

import numpy as np
import scipy.linalg
import scipy.sparse

from ..errors import NonFiniteError, NotPositiveDefiniteError, NotSymmetricError, ShapeError, SingularError

__all__ = [
    "SYMMETRY_TOL",
    "as_dense",
    "as_sparse",
    "is_symmetric",
    "symmetrised",
    "symmetric_scale",
    "row_column_scales",
    "scaled_one_norm",
    "inverse_one_norm",
    "singular_below",
    "weakest_direction",
    "scaled",
    "singular",
    "not_identified",
    "not_positive_definite",
]

#: Largest |A - A^T| relative to max|A| at which a matrix is still taken for symmetric (and then symmetrised).
SYMMETRY_TOL = 1e-8
#: Difference of ``A_ij`` and ``A_ji``, relative to the larger, up to which a matrix counts as symmetric unasked.
SYMMETRY_FOUND = 1e-12
#: Largest sparse matrix that is converted for a dense solver (200 MB).
DENSE_MAX_N = 5000
#: Largest matrix whose smallest eigenvalue is computed for an error message (a second or two).
EIGENVALUE_MAX_N = 2000

MINIMUM_REMEDY = (
    "move the base point to a minimum (optimise further, from another start), or fix, drop or penalise the "
    "inputs named; "
    "if it need not be a minimum, give the gradient as the estimating equation and use solver='lu' or 'superlu'"
)
SINGULAR_REMEDY = "fix, drop or penalise the inputs named, or remove the redundant equations"


def _check_real_square(shape, dtype):
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ShapeError(f"matrix of shape {tuple(shape)}: a solver needs a square one, (n_input, n_input).")
    if dtype.kind not in "fiub":
        raise TypeError(f"matrix of dtype {dtype}: a solver needs real numbers.")


def _check_finite(values, index_of):
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise NonFiniteError(
            f"NaN or infinite entries in the matrix: {bad.size}, the first at {index_of(bad[0])}: "
            "evaluate the function and its derivatives at the base point to find where they overflow."
        )


def as_dense(matrix):
    """The matrix as a checked float64 ndarray (not a copy where it is one already); see :func:`as_sparse`."""
    if scipy.sparse.issparse(matrix):
        _check_real_square(matrix.shape, matrix.dtype)
        if matrix.shape[0] > DENSE_MAX_N:
            raise ValueError(
                f"a sparse matrix of {matrix.shape[0]} rows is too large for a dense solver (at most {DENSE_MAX_N}): "
                "use solver='cholmod', 'superlu' or 'cg'."
            )
        matrix = matrix.toarray()
    matrix = np.asarray(matrix)
    _check_real_square(matrix.shape, matrix.dtype)
    matrix = matrix.astype(np.float64, copy=False)
    _check_finite(matrix.ravel(), lambda flat: tuple(int(i) for i in np.unravel_index(flat, matrix.shape)))
    return matrix


def as_sparse(matrix, copy=True):
    """The matrix as a canonical float64 csc_array, checked to be real, square and finite.

    Parameters
    ----------
    matrix : sparse or array_like of shape (n, n)
        Never changed.
    copy : bool, default=True
        False allows the result to share the caller's memory, for one who neither writes into it nor keeps it.

    Returns
    -------
    matrix : csc_array of shape (n, n)
        Rows sorted in each column, no duplicates, 32-bit indices where they suffice.

    Raises
    ------
    ShapeError, TypeError, NonFiniteError
    """
    given = matrix if scipy.sparse.issparse(matrix) else np.asarray(matrix)
    _check_real_square(given.shape, given.dtype)
    own = scipy.sparse.csc_array(given, dtype=np.float64, copy=copy)
    kind = np.int32 if max(own.nnz, own.shape[0]) < 2**31 else np.int64
    indices, indptr = own.indices.astype(kind, copy=False), own.indptr.astype(kind, copy=False)
    # A new object: whether it is canonical is looked at and not taken from a flag that the caller may have outdated.
    own = scipy.sparse.csc_array((own.data, indices, indptr), shape=own.shape)
    if not own.has_canonical_format:
        own = own.copy()
        own.sum_duplicates()

    def index_of(entry):
        return int(own.indices[entry]), int(np.searchsorted(own.indptr, entry, side="right") - 1)

    _check_finite(own.data, index_of)
    return own


def is_symmetric(matrix):
    """Whether a matrix about which nothing is claimed is symmetric: each entry to the rounding of its own.

    Beside a strong equation a weak one may be asymmetric, in its own units, by less than the rounding of the largest
    entry. A symmetric matrix is not seen as one where entries are nothing but rounding; it is then solved with as a
    general one, and as well.
    """
    magnitude = abs(matrix)
    with np.errstate(over="ignore"):  # of a difference, which is then not small
        difference = abs(matrix - matrix.T)
    if scipy.sparse.issparse(matrix):
        excess = difference - SYMMETRY_FOUND * magnitude.maximum(magnitude.T)
        return bool(excess.data.max(initial=0.0) <= 0.0)
    return bool(np.all(difference <= SYMMETRY_FOUND * np.maximum(magnitude, magnitude.T)))


def _transposed(matrix):
    """The transpose, of the matrix's own kind; None for a sparse matrix that is seen to be symmetric."""
    if not scipy.sparse.issparse(matrix):
        return matrix.T
    return None if _products_agree(matrix) else scipy.sparse.csc_array(matrix.T)


def _products_agree(matrix):
    """Whether ``A x`` and ``A^T x`` are equal to the last bit for a random x, as for symmetric A they are.

    Both sums run through the same products in the same order. An asymmetry ``E = A - A^T`` above the rounding of the
    sums, which is below SYMMETRY_TOL, is missed only where the random ``E x`` happens to cancel in every row. Two
    products cost a fraction of a transposition.

    References
    ----------
    R. Freivalds, Proc. IFIP Congress 77 (1977) 839: products are checked by random vectors.
    """
    x = np.random.default_rng(1).uniform(1.0, 2.0, matrix.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        product = matrix @ x
        return bool(np.isfinite(product).all()) and np.array_equal(product, matrix.T @ x)


def _difference(matrix, transposed):
    if transposed is None or matrix.shape[0] == 0 or (largest := abs(matrix).max()) == 0:
        return 0.0, (0, 0)
    difference = abs(matrix - transposed)
    if scipy.sparse.issparse(difference):
        difference = difference.tocoo()
        if difference.nnz == 0:
            return 0.0, (0, 0)
        at = difference.data.argmax()
        return difference.data[at] / largest, (int(difference.row[at]), int(difference.col[at]))
    at = np.unravel_index(difference.argmax(), difference.shape)
    return difference[at] / largest, (int(at[0]), int(at[1]))


def symmetrised(matrix, tol=SYMMETRY_TOL):
    """``(A + A^T) / 2`` where the asymmetry is rounding, at most ``tol`` relative to ``max|A|``.

    Raises
    ------
    NotSymmetricError
        If the asymmetry is larger.
    """
    transposed = _transposed(matrix)
    size, (row, column) = _difference(matrix, transposed)
    if size > tol:
        raise NotSymmetricError(
            f"the matrix is not symmetric: entries ({row}, {column}) and ({column}, {row}) differ by {size:.1e} "
            f"of the largest entry (tolerance {tol:.0e}): pass both triangles, or use solver='lu' (sparse: 'superlu') "
            f"if it is no Hessian."
        )
    if size == 0:
        return matrix
    # Halved first: the sum of two entries near the largest float must not overflow.
    symmetric = 0.5 * matrix + 0.5 * transposed
    return scipy.sparse.csc_array(symmetric) if scipy.sparse.issparse(matrix) else symmetric


def symmetric_scale(matrix):
    """Powers of two ``d`` of shape ``(n,)`` for which ``d_i A_ii d_i`` is between 1/2 and 2.

    Raises
    ------
    NotPositiveDefiniteError
        If a diagonal entry is not positive.
    """
    diagonal = matrix.diagonal()
    worst = int(diagonal.argmin()) if diagonal.size else 0
    if diagonal.size and diagonal[worst] <= 0:
        raise not_positive_definite(matrix, f"diagonal entry {diagonal[worst]:.1e} of input {worst}")
    return np.exp2(-np.round(0.5 * np.log2(diagonal)))


def row_column_scales(matrix):
    """Powers of two ``r``, ``c`` of shape ``(n,)``: the largest entry of each row and column of ``r A c`` is near 1.

    Rows and columns are divided by the square roots of their largest entries, again and again: unlike rows first and
    columns then, this finds the units of the inputs in a Hessian (Ruiz, RAL-TR-2001-034).

    Raises
    ------
    SingularError
        If a row or a column is zero.
    """
    rows, columns = np.ones(matrix.shape[0]), np.ones(matrix.shape[0])
    if matrix.shape[0] == 0:
        return rows, columns
    magnitude = abs(matrix)
    in_rows, in_columns = _largest(magnitude, rows, columns)
    for size, text in (
        (in_columns, "column {0}: no equation depends on input {0}"),
        (in_rows, "row {0}: equation {0} has no input"),
    ):
        zero = np.flatnonzero(size == 0)
        if zero.size:
            raise SingularError(
                f"the matrix is singular: zero {text.format(zero[0])} ({zero.size} of {rows.size} are zero); "
                f"{SINGULAR_REMEDY}."
            )
    # Each sweep halves the logarithms, which begin at 1000 bits at most.
    for _ in range(12):
        if max(in_rows.max(), in_columns.max()) < 2 and min(in_rows.min(), in_columns.min()) > 0.5:
            break
        rows, columns = rows / np.sqrt(in_rows), columns / np.sqrt(in_columns)
        in_rows, in_columns = _largest(magnitude, rows, columns)
    return np.exp2(np.round(np.log2(rows))), np.exp2(np.round(np.log2(columns)))


def _largest(magnitude, rows, columns):
    """Largest entries of the rows and of the columns of ``rows[:, None] * magnitude * columns``."""
    current = scaled(magnitude, rows, columns)
    if not scipy.sparse.issparse(current):
        return current.max(axis=1), current.max(axis=0)
    in_rows, in_columns = np.zeros(rows.size), np.zeros(columns.size)
    np.maximum.at(in_rows, current.indices, current.data)
    filled = np.flatnonzero(np.diff(current.indptr))
    if filled.size:
        in_columns[filled] = np.maximum.reduceat(current.data, current.indptr[filled])
    return in_rows, in_columns


def scaled(matrix, rows, columns):
    """``rows[:, None] * matrix * columns``, of the matrix's own kind."""
    if scipy.sparse.issparse(matrix):
        data = matrix.data * rows[matrix.indices]
        data *= np.repeat(columns, np.diff(matrix.indptr))
        # The pattern is shared: nobody writes into it.
        return scipy.sparse.csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    return (rows[:, None] * matrix) * columns


def scaled_one_norm(matrix, rows, columns):
    """One-norm of ``rows[:, None] * matrix * columns`` of a csc_array, without the product."""
    magnitude = scipy.sparse.csc_array((abs(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
    return float(((rows @ magnitude) * columns).max())


def inverse_one_norm(solve, solve_transpose, n):
    """Lower bound, nearly always within a factor 3, of the one-norm of ``A^{-1}`` from at most 6 solves with A and 5
    with A^T, most often from 3 and 1.

    References
    ----------
    N. J. Higham, ACM Trans. Math. Softw. 14 (1988) 381, algorithm 4.1, as in LAPACK's xLACN2.
    """
    x = np.full(n, 1.0 / n)
    estimate, last_signs = 0.0, None
    for sweep in range(5):
        y = solve(x)
        if not np.isfinite(y).all():
            return np.inf
        larger = abs(y).sum()
        signs = np.where(y >= 0, 1.0, -1.0)
        if sweep > 0 and (not larger > estimate or np.array_equal(signs, last_signs)):
            estimate = max(estimate, larger)
            break
        estimate, last_signs = max(estimate, larger), signs
        z = solve_transpose(signs)
        j = abs(z).argmax()
        if not np.isfinite(z).all() or (sweep > 0 and abs(z[j]) <= z @ x):
            break
        x = np.zeros(n)
        x[j] = 1.0
    alternating = (-1.0) ** np.arange(n) * (1.0 + np.arange(n) / max(n - 1, 1))
    return max(estimate, 2.0 * abs(solve(alternating)).sum() / (3.0 * n))


def singular_below(n):
    """Reciprocal condition under which a matrix of size n is singular to working precision: ``max(n, 10) * eps``."""
    return max(n, 10) * np.finfo(float).eps


def weakest_direction(solve, solve_transpose, n):
    """Unit vector ``v`` of shape ``(n,)`` with ``A v`` nearly as small as it gets: inverse iteration with ``A^T A``."""
    v = np.random.default_rng(0).standard_normal(n)
    for _ in range(3):
        v = solve(solve_transpose(v / np.linalg.norm(v)))
        if not np.isfinite(v).all():
            return None
    return v / np.linalg.norm(v)


def _along(direction):
    """The inputs, three at most, that carry a direction; nothing where it is not known."""
    if direction is None:
        return ""
    size = abs(direction)
    largest = [int(i) for i in np.argsort(-size, kind="stable")[:3] if size[i] > 0.1 * size.max()]
    return f", mostly along input {', '.join(map(str, largest))}"


def singular(number, direction=None):
    """A :class:`SingularError` with the number that shows it and the inputs of the null direction."""
    return SingularError(
        f"the matrix is singular to working precision: {number}{_along(direction)}: "
        f"a direction that the equations do not determine; {SINGULAR_REMEDY}."
    )


def not_identified(rcond, n, direction):
    """A :class:`NotPositiveDefiniteError` for a matrix that is positive definite in name only."""
    return NotPositiveDefiniteError(
        f"the matrix is not positive definite to working precision: reciprocal condition {rcond:.1e} < "
        f"{singular_below(n):.1e} "
        f"after scaling{_along(direction)}: saddle or not identified (a direction that the data do not identify); "
        f"{MINIMUM_REMEDY}."
    )


def not_positive_definite(matrix, pivot):
    """A :class:`NotPositiveDefiniteError` with the smallest eigenvalue, or the pivot where the matrix is large."""
    if matrix.shape[0] <= EIGENVALUE_MAX_N:
        dense = matrix.toarray() if scipy.sparse.issparse(matrix) else matrix
        values, vectors = scipy.linalg.eigh(dense, subset_by_index=[0, 0])
        number = f"smallest eigenvalue {values[0]:.1e} (largest entry {abs(dense).max():.1e}){_along(vectors[:, 0])}"
    else:
        number = pivot
    return NotPositiveDefiniteError(
        f"the matrix is not positive definite: {number}: saddle or not identified; {MINIMUM_REMEDY}."
    )
