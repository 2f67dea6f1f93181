"""Rules of autograd's containers (tuples, lists, dicts) and vector-space operations.

The coefficient of a container is a dict from position (or key) to coefficient; a missing entry is zero.
"""

import autograd.builtins as builtins
import numpy as np
from autograd.core import VSpace
from autograd.util import func

from .rules import Linear, bilinear, defrule


def _take(call):
    container, index = call.args
    if isinstance(index, slice):
        chosen = range(len(container))[index]
        return Linear(lambda ws, c: {i: c[j] for i, j in enumerate(chosen) if c.get(j) is not None})
    key = index % len(container) if isinstance(container, (tuple, list)) else index
    return Linear(lambda ws, c: c.get(key))


def _untake(call):
    _, index, vs = call.args
    n = len(vs.shape)
    if isinstance(index, slice):
        chosen = range(n)[index]
        return Linear(lambda ws, c: {chosen[i]: x for i, x in c.items()})
    key = index % n if isinstance(vs.shape, (tuple, list)) else index
    return Linear(lambda ws, x: {key: x})


def _gather(positions):
    """Kernel that puts operand i at ``positions[i]`` of a container."""
    return Linear(lambda ws, *xs: {p: x for p, x in zip(positions, xs, strict=True) if x is not None})


def _extend(call, offset_sequence, offset_elements):
    def apply(ws, *xs):
        out = {}
        for argnum, x in zip(call.argnums, xs, strict=True):
            if x is None:
                continue
            if argnum == 0:
                out.update({i + offset_sequence: c for i, c in x.items()})
            else:
                out[argnum - 1 + offset_elements] = x
        return out

    return Linear(apply)


defrule(builtins.container_take, _take)
defrule(builtins.container_untake, _untake)
defrule(builtins.make_sequence, lambda call: _gather([i - 1 for i in call.argnums]))
defrule(builtins.sequence_extend_right, lambda call: _extend(call, 0, len(call.args[0])))
defrule(builtins.sequence_extend_left, lambda call: _extend(call, len(call.args) - 1, 0))


def _make_dict(call):
    keys = list(call.args[0])
    return Linear(lambda ws, c: {keys[i]: x for i, x in c.items()})


defrule(builtins._make_dict, _make_dict)


# ---- vector spaces ----


def _scalar_product(call):
    """<x, y> of real arrays."""

    def product(ws, a, b, a_steps, b_steps):
        a = a.reshape(a.shape[0], -1) if a_steps else a.reshape(1, -1)
        b = b.reshape(b.shape[0], -1) if b_steps else b.reshape(1, -1)
        return np.einsum("ij,ij->i", *np.broadcast_arrays(a, b)) if a_steps or b_steps else a @ b.T

    return product


def _scalar_multiple(call):
    ndim = np.ndim(call.args[1])

    def product(ws, x, a, x_steps, a_steps):
        return ws.multiply(x, a.reshape(a.shape + (1,) * ndim) if a_steps else a)

    return product


defrule(func(VSpace.inner_prod), bilinear(_scalar_product, (1, 2)))
defrule(func(VSpace.scalar_mul), bilinear(_scalar_multiple, (1, 2)))
defrule(func(VSpace.covector), lambda call: Linear(lambda ws, x: np.conj(x)))
