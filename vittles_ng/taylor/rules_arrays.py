"""Rules of primitives that move entries about, sum them, or pick some: all linear.

A primitive whose result consists of entries of its argument, and zeros, is run once on the positions ``1..size``; what
comes out is the index that every coefficient is taken by, for a whole batch of steps at once.
"""

import autograd.numpy as anp
import numpy as np
from autograd.numpy import numpy_wrapper as wrapper
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.numpy.numpy_vjps import untake
from autograd.util import func

from .rules import Linear, defrule, linear
from .structure import SparseTerm, sparse_index


def _positions(call, argnum):
    """The primitive on positions 1..size of its traced argument (0 where it puts a zero)."""
    x = call.args[argnum]
    positions = np.arange(1, np.size(x) + 1).reshape(np.shape(x))
    args = list(call.args)
    args[argnum] = positions
    return getattr(call.fun, "fun", call.fun)(*args, **call.kwargs)


def take_positions(positions, size, shape):
    """``f(x) -> x`` taken at positions (1-based, 0 a zero), for ``x`` with a step axis; a view where it can be one."""
    flat = np.asarray(positions).ravel() - 1
    n = flat.size
    if n == size and np.array_equal(flat, np.arange(size)):
        return lambda x: x.reshape(x.shape[:1] + shape)
    if n > 1 and flat[0] >= 0:
        step = int(flat[1] - flat[0])
        if step > 0 and np.array_equal(flat, flat[0] + step * np.arange(n)):
            window = slice(int(flat[0]), int(flat[-1]) + 1, step)
            return lambda x: x.reshape(x.shape[0], size)[:, window].reshape(x.shape[:1] + shape)
    zeros = np.flatnonzero(flat < 0)
    if zeros.size == 0:
        return lambda x: np.take(x.reshape(x.shape[0], size), flat, axis=1).reshape(x.shape[:1] + shape)
    there = np.flatnonzero(flat >= 0)
    source = flat[there]

    def scatter(x):
        out = np.zeros((x.shape[0], n), x.dtype)
        out[:, there] = x.reshape(x.shape[0], size)[:, source]
        return out.reshape(x.shape[:1] + shape)

    return scatter


@linear
def rearrangement(call, argnum):
    """Rule of a primitive that moves entries about and fills with zeros."""
    return take_positions(_positions(call, argnum), np.size(call.args[argnum]), np.shape(call.value))


@linear
def list_rearrangement(call, argnum):
    """The same for a primitive that returns a list of arrays."""
    size = np.size(call.args[argnum])
    takes = [take_positions(p, size, np.shape(p)) for p in _positions(call, argnum)]
    return lambda x: {i: take(x) for i, take in enumerate(takes)}


@linear
def _view(call, argnum):
    """Rule of a primitive that keeps entries in order: only the shape changes."""
    shape = np.shape(call.value)
    return lambda x: x.reshape(x.shape[:1] + shape)


def _getitem(call):
    index = call.args[1]
    parts = index if isinstance(index, tuple) else (index,)
    if all(p is None or p is Ellipsis or isinstance(p, (int, np.integer, slice)) for p in parts) and not any(
        isinstance(p, bool) for p in parts
    ):
        where = (slice(None), *parts)
        return Linear(lambda ws, x: x[where])
    return rearrangement(call)


def _untake(call):
    index = sparse_index(call.args[1], call.args[2].shape)
    return Linear(lambda ws, x: SparseTerm(index, x))


@linear
def _transpose(call, argnum):
    ndim = np.ndim(call.args[argnum])
    axes = call.kwargs.get("axes", call.args[1] if len(call.args) > 1 else None)
    axes = range(ndim - 1, -1, -1) if axes is None else [a % ndim for a in axes]
    perm = (0, *(a + 1 for a in axes))
    return lambda x: x.transpose(perm)


@linear
def _expand_dims(call, argnum):
    shape = np.shape(call.value)
    return lambda x: x.reshape(x.shape[:1] + shape)


def axes_of(call, ndim, position=1):
    """The normalised axes an ``axis`` argument names, for an array without the step axis."""
    axis = call.kwargs.get("axis", call.args[position] if len(call.args) > position else None)
    if axis is None:
        return tuple(range(ndim))
    axis = axis if isinstance(axis, tuple) else (axis,)
    return tuple(int(a) % ndim for a in axis)


def _sum(call):
    x = call.args[0]
    axes = tuple(a + 1 for a in axes_of(call, np.ndim(x)))
    shape = np.shape(call.value)
    return Linear(lambda ws, x: x.sum(axis=axes).reshape(x.shape[:1] + shape))


def _mean(call):
    x = call.args[0]
    axes = tuple(a + 1 for a in axes_of(call, np.ndim(x)))
    shape = np.shape(call.value)
    return Linear(lambda ws, x: x.mean(axis=axes).reshape(x.shape[:1] + shape))


def _concatenate(call):
    axis, arrays = call.args[0], call.args[1:]
    ndim, shape = call.value.ndim, call.value.shape
    axis = axis % ndim
    starts = np.cumsum([0] + [np.shape(a)[axis] for a in arrays])
    slots = [(slice(None),) * (axis + 1) + (slice(starts[i - 1], starts[i]),) for i in call.argnums]
    whole = len(slots) == len(arrays)

    def apply(ws, *xs):
        out = ws.empty((ws.n_steps, *shape), np.result_type(*(x for x in xs if x is not None)))
        if not whole:
            out[...] = 0.0
        for slot, x in zip(slots, xs, strict=True):
            out[slot] = 0.0 if x is None else x
        return out

    return Linear(apply)


def _array_from_args(call):
    shape = np.shape(call.value)
    slots = [i - 2 for i in call.argnums]

    def apply(ws, *xs):
        out = np.zeros((ws.n_steps, *shape), np.result_type(*(x for x in xs if x is not None)))
        for slot, x in zip(slots, xs, strict=True):
            if x is not None:
                out[:, slot] = x
        return out

    return Linear(apply)


def _where(call):
    condition = np.asarray(call.args[0], dtype=bool)
    shape = np.shape(call.value)
    ndim = len(shape)
    sides = [i for i in call.argnums if i > 0]

    def apply(ws, *xs):
        chosen = [0.0, 0.0]
        for side, x in zip(sides, xs, strict=True):
            if x is not None:
                chosen[side - 1] = x.reshape(x.shape[:1] + (1,) * (ndim + 1 - x.ndim) + x.shape[1:])
        return np.broadcast_to(np.where(condition, *chosen), (ws.n_steps, *shape))

    return Linear(apply)


for _fun in {anp.reshape, anp.ravel, anp.squeeze, anp.atleast_1d, anp.atleast_2d, anp.atleast_3d}:
    defrule(_fun, rearrangement)  # Fortran order moves entries
defrule(anp.expand_dims, _view)
for _fun in {
    anp.roll, anp.flipud, anp.fliplr, anp.rot90, anp.tile, anp.repeat, anp.diag, anp.tril, anp.triu, anp.swapaxes,
    anp.moveaxis, anp.rollaxis, anp.pad, anp.diagonal, wrapper.make_diagonal, anp.broadcast_to, anp.full,
}:  # fmt: skip
    defrule(_fun, rearrangement)
for _fun in {anp.split, anp.array_split, anp.vsplit, anp.hsplit, anp.dsplit}:
    defrule(_fun, list_rearrangement)
defrule(anp.transpose, _transpose)
defrule(func(ArrayBox.__getitem__), _getitem)
defrule(untake, _untake)
defrule(anp.sum, _sum)
defrule(wrapper._primitive_mean, _mean)
defrule(wrapper.concatenate_args, _concatenate)
defrule(wrapper.array_from_args, _array_from_args)
defrule(wrapper._array_from_scalar_or_array, _view)
defrule(getattr(anp, "_original_where", anp.where), _where)  # anp.where itself is a wrapper
