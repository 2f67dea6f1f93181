"""Rules of primitives that move entries about, repeat them, or pick some: all linear.

A primitive whose result consists of entries of its argument, and zeros, is run once on the positions ``1..size``; what
comes out is the index that every coefficient is taken by, for a whole batch of steps at once.
"""

import autograd.numpy as anp
import numpy as np
from autograd.extend import vspace
from autograd.numpy import numpy_wrapper as wrapper
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.numpy.numpy_vjps import unbroadcast, untake
from autograd.util import func

from ..errors import MissingRuleError
from .primitives import plain
from .rules import Linear, defrule, linear
from .structure import SparseTerm, sparse_index


def _positions(fun, args, kwargs, argnum):
    """The primitive on positions 1..size of its traced argument (0 where it puts a zero)."""
    x = args[argnum]
    args = list(args)
    args[argnum] = np.arange(1, np.size(x) + 1).reshape(np.shape(x))
    return getattr(fun, "fun", fun)(*args, **kwargs)


def take_positions(positions, size, shape):
    """``f(x) -> x`` taken at positions (1-based, 0 a zero), for ``x`` with a step axis; a view where it can be one."""
    flat = np.asarray(positions).ravel().astype(np.intp) - 1
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
    positions = _positions(call.fun, call.args, call.kwargs, argnum)
    return take_positions(positions, np.size(call.args[argnum]), np.shape(call.value))


def _back_to_positions(fun):
    """VJP of such a primitive: the cotangents are added up at the positions that their entries came from."""

    def vjp(argnums, ans, args, kwargs):
        (argnum,) = argnums
        x = plain(args[argnum])
        plain_args = [x if i == argnum else a for i, a in enumerate(args)]
        flat = np.asarray(_positions(fun, plain_args, kwargs, argnum)).ravel().astype(np.intp) - 1
        there = np.flatnonzero(flat >= 0)
        if np.ndim(x) == 0:
            return lambda g: (anp.sum(anp.ravel(g)[there]),)
        index, space = np.unravel_index(flat[there], np.shape(x)), vspace(np.asarray(x))
        whole = there.size == flat.size
        return lambda g: (untake(anp.ravel(g) if whole else anp.ravel(g)[there], index, space),)

    return vjp


@linear
def list_rearrangement(call, argnum):
    """The same for a primitive that returns a list of arrays."""
    size = np.size(call.args[argnum])
    takes = [take_positions(p, size, np.shape(p)) for p in _positions(call.fun, call.args, call.kwargs, argnum)]
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


def _transpose_vjp(argnums, ans, args, kwargs):
    """autograd's own inverts negative axes wrongly."""
    axes = kwargs.get("axes", args[1] if len(args) > 1 else None)
    if axes is not None:
        axes = np.argsort([a % len(axes) for a in axes])
    return lambda g: (anp.transpose(g, axes),)


def _unbroadcast_vjp(argnums, ans, args, kwargs):
    """Of a primitive that only repeats its argument by broadcasting."""
    (argnum,) = argnums
    return lambda g: (unbroadcast(g, anp.metadata(args[argnum])),)


_GATHERING_PADS = ("edge", "reflect", "symmetric", "wrap", "empty")


def _pad(array, pad_width, mode="constant", **kwargs):
    """np.pad of positions: a constant is not an entry, so it counts as a zero."""
    if mode == "constant":
        return np.pad(array, pad_width)
    if mode in _GATHERING_PADS:
        if kwargs.get("reflect_type", "even") != "even":
            raise MissingRuleError(
                "the primitive 'pad' has no Taylor rule for reflect_type='odd', which is no picking of entries: "
                "concatenate what it would add."
            )
        return np.pad(array, pad_width, mode, **kwargs)
    raise MissingRuleError(f"the primitive 'pad' has no Taylor rule for mode={mode!r}: concatenate what it would add.")


def _padding(call):
    size, shape = np.size(call.args[0]), np.shape(call.value)
    take = take_positions(_positions(_pad, call.args, call.kwargs, 0), size, shape)
    return Linear(lambda ws, x: take(x))


def _concatenate(call):
    axis, arrays = call.args[0], call.args[1:]
    if axis is None:
        raise MissingRuleError("the Taylor rule of 'concatenate' does not take axis=None: np.ravel the arrays first.")
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


def _where_vjp(argnums, ans, args, kwargs):
    condition, sides = args[0], {1: (1.0, 0.0), 2: (0.0, 1.0)}

    def to(argnum, g):
        chosen = [g if side else 0.0 for side in sides[argnum]]
        return unbroadcast(anp.where(condition, *chosen), anp.metadata(args[argnum]))

    return lambda g: tuple(to(argnum, g) for argnum in argnums)


for _fun in {anp.reshape, anp.ravel, anp.squeeze, anp.atleast_1d, anp.atleast_2d, anp.atleast_3d}:
    defrule(_fun, rearrangement)  # Fortran order moves entries
defrule(anp.expand_dims, _view)
for _fun in {
    anp.flipud, anp.fliplr, anp.rot90, anp.tril, anp.triu, anp.swapaxes, anp.moveaxis, anp.rollaxis,
    wrapper.make_diagonal,
}:  # fmt: skip
    defrule(_fun, rearrangement)
for _fun in {anp.roll, anp.tile, anp.repeat, anp.diag, anp.diagonal}:
    defrule(_fun, rearrangement, vjp=_back_to_positions(_fun))
for _fun in {anp.broadcast_to, anp.full}:
    defrule(_fun, rearrangement, vjp=_unbroadcast_vjp)
defrule(anp.pad, _padding, vjp=_back_to_positions(_pad))
for _fun in {anp.split, anp.array_split, anp.vsplit, anp.hsplit, anp.dsplit}:
    defrule(_fun, list_rearrangement)
defrule(anp.transpose, _transpose, vjp=_transpose_vjp)
defrule(func(ArrayBox.__getitem__), _getitem)
defrule(untake, _untake)
defrule(wrapper.concatenate_args, _concatenate)
defrule(wrapper.array_from_args, _array_from_args)
defrule(wrapper._array_from_scalar_or_array, _view)
defrule(getattr(anp, "_original_where", anp.where), _where, vjp=_where_vjp)  # anp.where itself is a wrapper
