"""Kernels of the bookkeeping that reverse mode leaves behind: sums of many terms, and additions into a few entries."""

from typing import NamedTuple

import numpy as np

from .series import add_coefficients

__all__ = ["Accumulation", "SparseTerm", "is_ufunc", "sparse_index"]


def is_ufunc(primitive):
    """Whether a primitive is an elementwise function of NumPy's or SciPy's."""
    raw = getattr(primitive, "fun", None)
    return isinstance(raw, np.ufunc) and raw.signature is None


class SparseTerm(NamedTuple):
    """The coefficient of an ``untake``: values to be added at an index of a larger array."""

    index: object
    values: np.ndarray


class SparseIndex:
    """An index in front of which a step axis stands."""

    def __init__(self, index, shape):
        if isinstance(index, list):
            index = np.array(index, dtype=np.int64) if not index or not isinstance(index[0], slice) else tuple(index)
        self.simple = _is_basic(index)
        if self.simple:
            index = index if isinstance(index, tuple) else (index,)
            self.where = (slice(None), *index)
            return
        # advanced indices are resolved once to flat positions, by applying them to the positions themselves
        flat = np.arange(int(np.prod(shape))).reshape(shape)[index].ravel()
        self.where, self.size = flat, int(np.prod(shape))
        # values that go to one entry are summed before they are added: np.add.at is many times slower
        self.order = None if np.all(flat[1:] >= flat[:-1]) else np.argsort(flat, kind="stable")
        in_order = flat if self.order is None else flat[self.order]
        self.starts = np.flatnonzero(np.diff(in_order, prepend=-1))
        self.unique = len(self.starts) == len(flat)
        self.entries = in_order[self.starts]

    def taken(self, x):
        """The entries of ``x``, an array of the shape without steps, that values are added to."""
        return x[self.where[1:]] if self.simple else x.ravel()[self.where]

    def add(self, values, _, out):
        """``out[:, index] += values``, where ``out`` is C-contiguous; in the form that a workspace runs."""
        if self.simple:
            out[self.where] += values
            return
        n_steps = out.shape[0]
        out = out.reshape(n_steps, self.size)
        values = values.reshape(n_steps, -1)
        if self.unique:
            out[:, self.where] += values
        else:
            values = values if self.order is None else values[:, self.order]
            out[:, self.entries] += np.add.reduceat(values, self.starts, axis=1)


def sparse_index(index, shape):
    """The index of an ``untake`` into an array of the shape."""
    return SparseIndex(index, shape)


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (int, np.integer, slice)) for p in parts) and not any(
        isinstance(p, (bool, np.bool_)) for p in parts
    )


class Accumulation:
    """``y_k = sum_i x_{i,k}``; terms are arrays of the result's shape, containers or :class:`SparseTerm`."""

    is_linear = True
    reads_result = False
    in_workspace = True

    def __init__(self, value):
        self.shape = None if isinstance(value, (tuple, list, dict)) else np.shape(value)

    def apply(self, ws, *terms):
        terms = [t for t in terms if t is not None]
        if len(terms) == 1 and type(terms[0]) is np.ndarray:
            return terms[0]
        if self.shape is None:
            total = None
            for t in terms:
                total = add_coefficients(ws, total, t)
            return total
        dense = [t for t in terms if not isinstance(t, SparseTerm)]
        sparse = [t for t in terms if isinstance(t, SparseTerm)]
        if len(dense) == 1 and not sparse:
            return dense[0]
        dtype = np.result_type(*(t.values if isinstance(t, SparseTerm) else t for t in terms))
        out = ws.empty((ws.n_steps, *self.shape), dtype)
        if len(dense) > 1:
            ws.run(np.add, dense[0], dense[1], out)
            for t in dense[2:]:
                ws.run(np.add, out, t, out)
        else:
            ws.run(_fill, dense[0] if dense else 0.0, None, out)
        for t in sparse:
            ws.run(t.index.add, t.values, None, out)
        return out


def _fill(a, _, out):
    out[...] = a
