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


def _aligned(shape, dtype):
    """An uninitialised aligned array and the buffer that it is a view of."""
    raw = np.empty(int(np.prod(shape)) * dtype.itemsize + _ALIGN, np.uint8)
    return np.ndarray(shape, dtype, raw, -raw.ctypes.data % _ALIGN), raw


class _Logged:
    """An array that a log refers to, and how often."""

    __slots__ = ("array", "n")

    def __init__(self, array):
        self.array, self.n = array, 0

    def n_others(self):
        """References to the array beside those of the log and of this object.

        How many references of the caller's and of its own sys.getrefcount counts is the interpreter's affair (3.14
        borrows some), so what it says of an array that nobody else refers to is subtracted.
        """
        return sys.getrefcount(self.array) - self.n - _ALONE


class _Buffer:
    """A pooled array, the memory behind it, and the views of it that a log refers to."""

    __slots__ = ("whole", "raw", "views")

    def __init__(self, shape, dtype):
        array, raw = _aligned(shape, dtype)
        self.whole, self.raw, self.views = _Logged(array), _Logged(raw), {}
        self.raw.n = 1  # the array is a view of it

    def is_free(self):
        """Whether only the pool and the log refer to the memory."""
        return (
            self.whole.n_others() == 0
            and self.raw.n_others() == len(self.views)
            and all(view.n_others() == 0 for view in self.views.values())
        )

    def note(self, x):
        """Count a reference of the log to the array or a view of it."""
        if x is self.whole.array:
            self.whole.n += 1
            return
        view = self.views.get(id(x))  # the log keeps the view, so its id stays its own
        if view is None:
            view = self.views[id(x)] = _Logged(x)
        view.n += 1


_ALONE = 0
_ALONE = _Logged(np.empty(1)).n_others()
_FLOAT = np.dtype(np.float64)


class Workspace:
    """Aligned arrays that are used again as soon as nothing refers to them, and a log of what was done with them.

    A pooled array is free when nobody but the pool (and the log) refers to it, and nobody but itself to the memory
    behind it: NumPy makes that memory the ``base`` of every view, so a view that outlives the array keeps it from being
    handed out. One workspace belongs to one replay, in one thread.

    Arithmetic that goes through :meth:`run` (all methods here do) is written into ``log``, where that is a list, as
    ``(f, a, b, out)``: calling ``f(a, b, out)`` in the same order does it again on whatever the arrays then hold.

    Parameters
    ----------
    n_steps : int
        Length of the leading step axis of all coefficients of order >= 1.
    """

    __slots__ = ("n_steps", "log", "_pools", "_by_memory", "_scratch")

    def __init__(self, n_steps):
        self.n_steps, self.log = n_steps, None
        self._pools, self._by_memory, self._scratch = {}, {}, None

    @property
    def scratch(self):
        """A workspace for arithmetic that is logged as a whole: what it hands out, a log never holds."""
        if self._scratch is None:
            self._scratch = Workspace(self.n_steps)
        return self._scratch

    def empty(self, shape, dtype=_FLOAT):
        """An uninitialised array of the shape."""
        pool = self._pools.get((shape, dtype))
        if pool is None:
            pool = self._pools[shape, dtype] = [] if math.prod(shape) >= _SMALL else _NOT_POOLED
        if pool is _NOT_POOLED:
            return np.empty(shape, dtype)
        for i in range(len(pool) - 1, -1, -1):  # the last used first: it is the likeliest to be in cache
            buffer = pool[i]
            if buffer.is_free():
                if i + 1 < len(pool):
                    del pool[i]
                    pool.append(buffer)
                return buffer.whole.array
        buffer = _Buffer(shape, np.dtype(dtype))
        self._by_memory[id(buffer.raw.array)] = buffer
        pool.append(buffer)
        return buffer.whole.array

    def run(self, f, a, b, out):
        """``f(a, b, out)``, which writes ``out`` and nothing else; returns ``out``. ``a`` may be a list of arrays."""
        f(a, b, out)
        if self.log is not None:
            self.log.append((f, a, b, out))
            for x in (*a, b, out) if isinstance(a, list) else (a, b, out):
                buffer = self._by_memory.get(id(getattr(x, "base", None)))
                if buffer is not None:
                    buffer.note(x)
        return out

    def multiply(self, a, b):
        """``a * b`` in a buffer of the workspace."""
        return self.run(np.multiply, a, b, self.empty(*_result(a, b)))

    def scale(self, a, factor):
        """``factor * a`` for a number; ``a`` itself for a factor of one, None for None."""
        if a is None or factor == 1:
            return a
        return self.run(np.multiply, a, float(factor), self.empty(a.shape, a.dtype))

    def add(self, a, b):
        """``a + b`` in a buffer of the workspace; either may be None (zero)."""
        if a is None:
            return b
        if b is None:
            return a
        return self.run(np.add, a, b, self.empty(*_result(a, b)))

    def subtract(self, a, b):
        """``a - b`` in a buffer of the workspace."""
        return self.run(np.subtract, a, b, self.empty(*_result(a, b)))

    def reshape(self, a, shape):
        """``a`` in another shape: a view where it can be one."""
        view = a.reshape(shape)
        if np.may_share_memory(view, a):
            return view
        return self.run(_copy_reshaped, a, None, self.empty(view.shape, view.dtype))


def _copy_reshaped(a, _, out):
    np.copyto(out, a.reshape(out.shape))


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
        elif term.shape == total.shape and term.dtype is total.dtype is p.dtype is q.dtype:
            ws.run(np.multiply, p, q, term)
            ws.run(np.add, total, term, total)
        else:
            total = add_to(ws, total, ws.multiply(p, q))
    return total


def add_to(ws, total, term):
    """``total + term``, in place where ``total``, which must be the caller's own, can hold it; None is zero."""
    if total is None or term is None:
        return term if total is None else total
    if total.shape == term.shape and total.dtype is term.dtype:
        return ws.run(np.add, total, term, total)
    return ws.add(total, term)


def self_product(ws, a, k, first=0):
    """``sum_{i+j=k, i,j >= first} a_i a_j``: the coefficient of a square, each product formed once."""
    total = product_sum(ws, a, a, k, first, (k - 1) // 2)
    if total is not None:
        ws.run(np.multiply, total, 2.0, total)
    if k % 2 == 0 and k // 2 >= first and a[k // 2] is not None:
        total = add_to(ws, total, ws.multiply(a[k // 2], a[k // 2]))
    return total
