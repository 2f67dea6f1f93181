"""Storage and elementary sums for coefficients of truncated power series.

A series is a Python list ``[c_0, c_1, ...]`` of normalised Taylor coefficients ``c_k = (1/k!) d^k x / dt^k``.
``c_0`` is the value at the base point and has the shape of the value; ``c_k`` for k >= 1 carries a leading step axis,
shape ``(n_steps, *shape)``, because all steps of a batch share the base point. ``None`` stands for a coefficient that
is known to be zero. The coefficient of a tuple, list or dict is a dict from position or key to coefficient.
"""

import math
import sys

import numpy as np

__all__ = ["Workspace", "add_coefficients", "add_to", "lift", "product_sum", "self_product"]

_ALIGN = 64  # bytes; NumPy's own 16-byte alignment makes wide vector loads straddle cache lines
_SMALL = 256  # elements; below this NumPy's own small-block cache is as fast
_NOT_POOLED = ()


def _counts_when_free():
    """What sys.getrefcount says of a pooled array and of the memory behind it when nobody else refers to either."""
    pool = [_aligned((_SMALL,), np.dtype(np.float64))]
    for array, raw in pool:
        return sys.getrefcount(array), sys.getrefcount(raw)


def _aligned(shape, dtype):
    """An uninitialised aligned array and the buffer that it is a view of."""
    raw = np.empty(int(np.prod(shape)) * dtype.itemsize + _ALIGN, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % _ALIGN), raw


_ARRAY_FREE, _RAW_FREE = _counts_when_free()
_FLOAT = np.dtype(np.float64)


class Workspace:
    """Aligned arrays that are used again as soon as nothing refers to them.

    A pooled array is free when nobody but the pool refers to it, and nobody but itself to the memory behind it: NumPy
    makes that memory the ``base`` of every view, so a view that outlives the array keeps it from being handed out. One
    workspace belongs to one replay, in one thread.

    Parameters
    ----------
    n_steps : int
        Length of the leading step axis of all coefficients of order >= 1.
    """

    __slots__ = ("n_steps", "_pools")

    def __init__(self, n_steps):
        self.n_steps = n_steps
        self._pools = {}

    def empty(self, shape, dtype=_FLOAT):
        """An uninitialised array of the shape."""
        pool = self._pools.get((shape, dtype))
        if pool is None:
            pool = self._pools[shape, dtype] = [] if math.prod(shape) >= _SMALL else _NOT_POOLED
        if pool is _NOT_POOLED:
            return np.empty(shape, dtype)
        for i in range(len(pool) - 1, -1, -1):  # the last used first: it is the likeliest to be in cache
            entry = pool[i]
            array, raw = entry
            if sys.getrefcount(array) == _ARRAY_FREE and sys.getrefcount(raw) == _RAW_FREE:
                if i + 1 < len(pool):
                    del pool[i]
                    pool.append(entry)
                return array
        pool.append(_aligned(shape, np.dtype(dtype)))
        return pool[-1][0]

    def multiply(self, a, b):
        """``a * b`` in a buffer of the workspace."""
        return np.multiply(a, b, out=self.empty(*_result(a, b)))

    def add(self, a, b):
        """``a + b`` in a buffer of the workspace; either may be None (zero)."""
        if a is None:
            return b
        if b is None:
            return a
        return np.add(a, b, out=self.empty(*_result(a, b)))


def _result(a, b):
    """Shape and dtype of an elementwise operation; the common cases without NumPy's general machinery."""
    s, t = a.shape, b.shape
    shape = s if s == t or s[1:] == t else t if t[1:] == s else np.broadcast_shapes(s, t)
    return shape, a.dtype if a.dtype is b.dtype else np.result_type(a, b)


def add_coefficients(ws, a, b):
    """Sum of two coefficients, containers included; either may be None."""
    if a is None:
        return b
    if b is None:
        return a
    if isinstance(a, dict):
        return {key: add_coefficients(ws, a.get(key), b.get(key)) for key in {**a, **b}}
    return ws.add(a, b)


def lift(coefficient, ndim, k):
    """Insert unit axes so that a coefficient broadcasts in a result of ``ndim`` axes (the step axis stays first)."""
    if k == 0 or coefficient is None or coefficient.ndim == ndim + 1:
        return coefficient
    shape = coefficient.shape
    return coefficient.reshape(shape[:1] + (1,) * (ndim + 1 - len(shape)) + shape[1:])


def product_sum(ws, a, b, k, first, last):
    """``sum_{j=first..last} a_j b_{k-j}``, in a buffer of its own; None when every term is zero."""
    total, term = None, None
    for j in range(first, last + 1):
        p, q = a[j], b[k - j]
        if p is None or q is None:
            continue
        if total is None:
            total = ws.multiply(p, q)
        elif term is None:
            term = ws.multiply(p, q)
            total = add_to(ws, total, term)
        elif term.shape == total.shape and term.dtype == total.dtype == np.result_type(p, q):
            np.multiply(p, q, out=term)
            np.add(total, term, out=total)
        else:
            total = add_to(ws, total, ws.multiply(p, q))
    return total


def add_to(ws, total, term):
    """``total + term``, in place where ``total``, which must be the caller's own, can hold it; None is zero."""
    if total is None or term is None:
        return term if total is None else total
    if total.shape == term.shape and total.dtype is term.dtype:
        return np.add(total, term, out=total)
    return ws.add(total, term)


def self_product(ws, a, k, first=0):
    """``sum_{i+j=k, i,j >= first} a_i a_j``: the coefficient of a square, each product formed once."""
    total = product_sum(ws, a, a, k, first, (k - 1) // 2)
    if total is not None:
        total = np.multiply(total, 2.0, out=total)
    if k % 2 == 0 and k // 2 >= first and a[k // 2] is not None:
        total = add_to(ws, total, ws.multiply(a[k // 2], a[k // 2]))
    return total
