"""Storage and elementary sums for coefficients of truncated power series.

A series is a Python list ``[c_0, c_1, ...]`` of normalised Taylor coefficients ``c_k = (1/k!) d^k x / dt^k``.
``c_0`` is the value at the base point and has the shape of the value; ``c_k`` for k >= 1 carries a leading step axis,
shape ``(n_steps, *shape)``, because all steps of a batch share the base point. ``None`` stands for a coefficient that is
known to be zero. The coefficient of a tuple, list or dict is a dict from position or key to coefficient.
"""

import sys

import numpy as np

__all__ = ["Workspace", "add_coefficients", "lift", "product_sum", "self_product"]

_ALIGN = 64  # bytes; NumPy's own 16-byte alignment makes wide vector loads straddle cache lines
_SMALL = 256  # elements; below this NumPy's small-block cache is as fast


def _lone_count():
    """What sys.getrefcount says of an array that only a list holds, seen from a loop over that list."""
    pool = [np.empty(1)]
    for raw in pool:
        return sys.getrefcount(raw)


_LONE = _lone_count()


class Workspace:
    """Aligned buffers that are used again as soon as nothing refers to them.

    A buffer is free when its only reference is the pool's own: every array handed out, and every view of one, has the
    buffer as its ``base`` and so holds a reference. One workspace belongs to one replay, in one thread.

    Parameters
    ----------
    n_steps : int
        Length of the leading step axis of all coefficients of order >= 1.
    """

    __slots__ = ("n_steps", "_pools")

    def __init__(self, n_steps):
        self.n_steps = n_steps
        self._pools = {}

    def empty(self, shape, dtype=np.float64):
        """An uninitialised array of the shape."""
        size = 1
        for n in shape:
            size *= n
        if size < _SMALL:
            return np.empty(shape, dtype)
        dtype = np.dtype(dtype)
        nbytes = size * dtype.itemsize
        pool = self._pools.get(nbytes)
        if pool is None:
            pool = self._pools[nbytes] = []
        for raw in pool:
            if sys.getrefcount(raw) == _LONE:
                break
        else:
            raw = np.empty(nbytes + _ALIGN, np.uint8)
            pool.append(raw)
        start = -raw.ctypes.data % _ALIGN
        return np.ndarray(shape, dtype, raw, start)

    def multiply(self, a, b):
        """``a * b`` in a buffer of the workspace."""
        shape = np.broadcast_shapes(a.shape, b.shape) if a.shape != b.shape else a.shape
        return np.multiply(a, b, out=self.empty(shape, np.result_type(a, b)))

    def add(self, a, b):
        """``a + b`` in a buffer of the workspace; either may be None (zero)."""
        if a is None:
            return b
        if b is None:
            return a
        shape = np.broadcast_shapes(a.shape, b.shape) if a.shape != b.shape else a.shape
        return np.add(a, b, out=self.empty(shape, np.result_type(a, b)))


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
            total = _accumulate(ws, total, term)
        elif term.shape == total.shape and term.dtype == total.dtype == np.result_type(p, q):
            np.multiply(p, q, out=term)
            np.add(total, term, out=total)
        else:
            total = _accumulate(ws, total, ws.multiply(p, q))
    return total


def _accumulate(ws, total, term):
    """``total + term``, in place where total is large enough to hold it."""
    if total.shape == term.shape and total.dtype == np.result_type(total, term):
        return np.add(total, term, out=total)
    return ws.add(total, term)


def self_product(ws, a, k, first=0):
    """``sum_{i+j=k, i,j >= first} a_i a_j``: the coefficient of a square, each product formed once."""
    total = product_sum(ws, a, a, k, first, (k - 1) // 2)
    if total is not None:
        total = np.multiply(total, 2.0, out=total)
    if k % 2 == 0 and k // 2 >= first and a[k // 2] is not None:
        total = ws.add(total, ws.multiply(a[k // 2], a[k // 2]))
    return total
