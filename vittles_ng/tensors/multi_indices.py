"""Multi-indices, their order in packed storage, and the interpolation of derivatives from univariate series.

A multi-index of degree k in n variables is kept as the non-decreasing sequence ``a_1 <= ... <= a_k`` of the variables
that it counts. Packed storage has them in colexicographic order (the last entry counts most), where

    rank(a) = sum_i C(a_i + i - 1, i),

whatever n is, and the multi-indices whose last entry is p are those of degree k - 1 over the variables 0..p, in their
own order, with p appended: monomials and tables are built from prefixes.

Interpolation (Griewank, Utke, Walther, Math. Comp. 69 (2000) 1117): with ``F_k(s)`` the coefficient of t^k of
``f(x + t s)``, and every direction j a multi-index of ONE degree K >= |i| = k,

    d^i f = sum_{|j| = K} gamma_ij F_k(j),
    gamma_ij = sum_{0 < m <= i} (-1)^{|i - m|} C(i, m) C(K m / |m|, j) (|m| / K)^{|i|},

with products of generalised binomials. ``C(0, j_p)`` makes gamma zero unless the support of j lies in that of i, and
gamma depends only on the pairs ``(i_p, j_p)`` there, in any order: few are computed, in exact integers. The sum
``sum_j |gamma_ij| |j|^k / k!``, which bounds how rounding grows, is C(2 k - 1, k) at worst where k = K and less below:
10, 35, 126 at orders 3, 4, 5.
"""

import itertools
import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

__all__ = ["count", "factorials", "insertions", "interpolate", "multi_indices", "ranks", "total"]

_ENTRIES = 2_000_000  # of the interpolation matrix formed at a time


def count(n, degree):
    """Number of multi-indices of a degree in n variables."""
    return math.comb(n + degree - 1, degree)


def total(n, order):
    """Number of multi-indices of the degrees 1..order in n variables."""
    return math.comb(n + order, order) - 1


def multi_indices(n, degree):
    """All multi-indices of a degree as sequences, (count, degree), in packed order."""
    sequences = np.zeros((1, 0), dtype=np.intp)
    for k in range(1, degree + 1):
        prefixes, sequences = sequences, np.empty((count(n, k), k), dtype=np.intp)
        start = 0
        for p in range(n):
            stop = start + count(p + 1, k - 1)
            sequences[start:stop, :-1] = prefixes[: stop - start]
            sequences[start:stop, -1] = p
            start = stop
    return sequences


def ranks(sequences, n):
    """Places in packed storage of non-decreasing sequences, (..., degree) -> (...)."""
    rank = np.zeros(sequences.shape[:-1], dtype=np.intp)
    for i in range(sequences.shape[-1]):
        table = np.array([math.comb(p + i, i + 1) for p in range(n)], dtype=np.intp)
        rank += table[sequences[..., i]]
    return rank


def insertions(n, degree):
    """Rank of each multi-index of degree - 1 with one more variable, (count of degree - 1, n)."""
    shorter = multi_indices(n, degree - 1)
    longer = np.empty((len(shorter), n, degree), dtype=np.intp)
    longer[:, :, :-1] = shorter[:, None, :]
    longer[:, :, -1] = np.arange(n)
    longer.sort(axis=2)
    return ranks(longer, n)


def factorials(n, degree):
    """``i! = prod_p i_p!`` of every multi-index of a degree, (count,), in packed order."""
    sequences = multi_indices(n, degree)
    value = np.ones(len(sequences))
    run = np.ones(len(sequences))
    for k in range(1, degree):
        run = np.where(sequences[:, k] == sequences[:, k - 1], run + 1.0, 1.0)
        value *= run
    return value


@lru_cache(maxsize=2**14)
def _gamma(pairs):
    """``gamma_ij`` of the pairs ``(i_p, j_p)`` on the support of i; the terms of equal |m| share a denominator."""
    i, j = zip(*pairs, strict=True)
    k, degree = sum(i), sum(j)
    numerators = [0] * (k + 1)
    for m in itertools.product(*(range(i_p + 1) for i_p in i)):
        size = sum(m)
        term = (-1) ** (k - size)
        for i_p, m_p, j_p in zip(i, m, j, strict=True):
            term *= math.comb(i_p, m_p) * math.prod(degree * m_p - q * size for q in range(j_p))
        numerators[size] += term
    inner = sum(Fraction(numerators[size], size ** (degree - k)) for size in range(1, k + 1))
    return inner / (degree**k * math.prod(map(math.factorial, j)))


def _patterns(sequences):
    """Groups of multi-indices that count equally often in the same order: (places, supports, multiplicities)."""
    is_new = sequences[:, 1:] != sequences[:, :-1]
    codes = is_new @ (1 << np.arange(is_new.shape[1]))
    for code in np.unique(codes):
        group = np.flatnonzero(codes == code)
        starts = np.append(0, 1 + np.flatnonzero(is_new[group[0]]))
        yield group, sequences[group][:, starts], np.diff(np.append(starts, sequences.shape[1]))


def interpolate(coefficients, n, k, degree, position):
    """Derivatives of order k from the coefficients of order k along all directions of a degree.

    Parameters
    ----------
    coefficients : ndarray of shape (n_directions, n_input)
        ``F_k`` along each direction.
    n, k, degree : int
        Number of variables, order 1 <= k <= degree of the derivatives, degree of the directions.
    position : ndarray of int, of shape (n_directions,)
        Row of the coefficients where the direction of each rank is.

    Returns
    -------
    ndarray of shape (count(n, k), n_input)
        ``d^i f`` in packed order.
    """
    sequences = multi_indices(n, k)
    out = np.empty((len(sequences), coefficients.shape[1]))
    for group, supports, multiplicities in _patterns(sequences):
        local = multi_indices(len(multiplicities), degree)
        counts = [np.bincount(row, minlength=len(multiplicities)).tolist() for row in local]
        keys = (tuple(sorted(zip(multiplicities.tolist(), j, strict=True))) for j in counts)
        gamma = np.array([float(_gamma(key)) for key in keys])
        block = max(1, _ENTRIES // len(local))
        for start in range(0, len(group), block):
            chunk = slice(start, start + block)
            columns = position[ranks(supports[chunk][:, local], n)]
            pointers = np.arange(0, columns.size + 1, len(local))
            values = np.tile(gamma, len(columns))
            matrix = csr_array((values, columns.ravel(), pointers), shape=(len(columns), len(coefficients)))
            out[group[chunk]] = matrix @ coefficients
    return out
