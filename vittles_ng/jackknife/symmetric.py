"""Products of packed symmetric tensors with many vectors, as products of matrices.

Packed storage (see :mod:`vittles_ng.tensors.multi_indices`) has the multi-indices whose last entry is p together: they
are those over 0..p of one degree less, with p appended. So one product of matrices for each p does what forming all
monomials would need memory and time for.
"""

import numpy as np

from ..tensors.multi_indices import count, insertions

__all__ = ["contraction", "moments"]

_LEAST_COLUMNS, _CACHED = 64, 2**18  # vectors of a block; numbers of a block that stay in cache


def _blocks(vectors, degree):
    """Blocks of vectors as columns, with their monomials of a degree, (n_monomials, block)."""
    n = vectors.shape[1]
    length = int(np.clip(_CACHED // max(n, count(n, degree)), _LEAST_COLUMNS, 1024))
    for start in range(0, len(vectors), length):
        columns = np.ascontiguousarray(vectors[start : start + length].T)
        powers = np.ones((1, columns.shape[1])) if degree == 0 else columns
        for k in range(2, degree + 1):
            powers = np.concatenate([powers[: count(p + 1, k - 1)] * columns[p] for p in range(n)])
        yield slice(start, start + length), columns, powers


def moments(vectors, factors, degree):
    """``sum_n c_n v_n (v_n x ... x v_n)``, symmetric, packed in the last ``degree`` factors.

    Parameters
    ----------
    vectors : ndarray of shape (n_vectors, n)
    factors : ndarray of shape (n_vectors,)
    degree : int
        From 1.

    Returns
    -------
    ndarray of shape (n, n_packed)

    Examples
    --------
    >>> import numpy as np
    >>> moments(np.array([[1.0, 2.0]]), np.array([1.0]), 2)
    array([[1., 2., 4.],
           [2., 4., 8.]])
    """
    n = vectors.shape[1]
    sums = [np.zeros((count(p + 1, degree - 1), p + 1)) for p in range(n)]
    for block, columns, powers in _blocks(vectors, degree - 1):
        for p, total in enumerate(sums):  # entries whose largest index is p
            total += (powers[: len(total)] * (factors[block] * columns[p])) @ columns[: p + 1].T
    places, start = insertions(n, degree + 1), 0
    symmetric = np.empty(count(n, degree + 1))
    for p, total in enumerate(sums):
        symmetric[places[start : start + len(total), : p + 1]] = total
        start += len(total)
    return symmetric[places].T


def contraction(coefficients, degree, vectors, others=None):
    """``sum_i c_i x^i`` over the multi-indices i of a degree, for each of many vectors x.

    Parameters
    ----------
    coefficients : ndarray of shape (n_out, n_packed)
        Of a tensor T they are ``T_i / i!``: then the result is ``T[x, ..., x] / degree!``.
    degree : int
        From 1.
    vectors : ndarray of shape (n_vectors, n)
    others : ndarray of shape (n_vectors, n), default=None
        Of degree 2: y, for ``T[x, y]``.

    Returns
    -------
    ndarray of shape (n_vectors, n_out)

    Examples
    --------
    ``x_0^2 + 3 x_0 x_1``:

    >>> import numpy as np
    >>> contraction(np.array([[1.0, 3.0, 0.0]]), 2, np.array([[1.0, 2.0]]))
    array([[7.]])
    """
    n, out = vectors.shape[1], np.empty((len(vectors), len(coefficients)))
    for block, columns, powers in _blocks(vectors, degree - 1):
        pairs = [(powers, columns)]
        if others is not None:
            ys = np.ascontiguousarray(others[block].T)
            pairs = [(powers, ys), (ys, columns)]
        total, product = np.zeros((2, len(coefficients), columns.shape[1]))
        for lower, last in pairs:
            start = 0
            for p in range(n):
                stop = start + count(p + 1, degree - 1)
                np.matmul(coefficients[:, start:stop], lower[: stop - start], out=product)
                product *= last[p]
                total += product
                start = stop
        out[block] = total.T
    return out
