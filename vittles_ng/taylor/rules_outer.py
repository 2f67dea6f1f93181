"""Rules of outer products of several kinds and of linspace, spelled in products of arrays with more axes.

autograd's VJPs of cross, kron, outer and linspace forget that operands broadcast, or take few axes only: replaced.
"""

import autograd.numpy as anp
import numpy as np
from autograd.numpy.numpy_vjps import match_complex, unbroadcast

from ..errors import MissingRuleError
from .rules import defrule, expansion
from .rules_choices import bound, check_keywords

__all__ = []

# ---- linspace ----

_LINSPACE = ("num", "endpoint", "retstep", "dtype", "axis")


def _linspace_given(args, kwargs):
    given = bound(_LINSPACE, args[2:], kwargs)
    check_keywords("linspace", {k: v or None for k, v in given.items()}, ("retstep", "dtype", "axis"))
    n = given.get("num", 50)
    return np.linspace(0.0, 1.0, n, endpoint=given.get("endpoint", True))


def _linspace(value, *args, **kwargs):
    t = _linspace_given(args, kwargs).reshape((-1,) + (1,) * (np.ndim(value) - 1))
    return args[0] * (1.0 - t) + args[1] * t


def _linspace_vjp(argnums, ans, args, kwargs):
    t = _linspace_given(args, kwargs)
    weights = (1.0 - t, t)
    return lambda g: tuple(unbroadcast(anp.tensordot(weights[i], g, 1), anp.metadata(args[i])) for i in argnums)


defrule(anp.linspace, expansion(_linspace), vjp=_linspace_vjp)


# ---- cross, kron, outer ----

_CROSS = ("axisa", "axisb", "axisc", "axis")


def _cross_axes(args, kwargs):
    given = bound(_CROSS, args[2:], kwargs)
    axis = given.get("axis")
    axes = [given.get(name, -1) if axis is None else axis for name in _CROSS[:3]]
    if any(anp.shape(x)[a] != 3 for x, a in zip(args, axes[:2], strict=False)):
        raise MissingRuleError("the Taylor rule of 'cross' takes vectors of length 3 only: append a zero component.")
    return axes


def _cross_last(a, b):
    """The cross product of vectors on the last axes."""
    a, b = ([x[..., i] for i in range(3)] for x in (a, b))
    return anp.stack([a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)], axis=-1)


def _cross(value, *args, **kwargs):
    axis_a, axis_b, axis_c = _cross_axes(args, kwargs)
    return anp.moveaxis(_cross_last(anp.moveaxis(args[0], axis_a, -1), anp.moveaxis(args[1], axis_b, -1)), -1, axis_c)


def _cross_vjp(argnums, ans, args, kwargs):
    axis_a, axis_b, axis_c = _cross_axes(args, kwargs)

    def to(argnum, g):
        a, b = anp.moveaxis(args[0], axis_a, -1), anp.moveaxis(args[1], axis_b, -1)
        g = anp.moveaxis(g, axis_c, -1)
        # <g, a x b> = <a, b x g> = <b, g x a>
        x, c, axis = (a, _cross_last(b, g), axis_a) if argnum == 0 else (b, _cross_last(g, a), axis_b)
        return anp.moveaxis(unbroadcast(c, anp.metadata(x)), -1, axis)

    return lambda g: tuple(to(i, g) for i in argnums)


defrule(anp.cross, expansion(_cross), vjp=_cross_vjp)


def _interleaved(a, b):
    """a and b with axes (a_0, 1, a_1, 1, ...) and (1, b_0, 1, b_1, ...)."""
    ndim = max(anp.ndim(a), anp.ndim(b))
    a_shape, b_shape = ((1,) * (ndim - anp.ndim(x)) + anp.shape(x) for x in (a, b))
    a_axes = [n for m in a_shape for n in (m, 1)]
    b_axes = [n for m in b_shape for n in (1, m)]
    return anp.reshape(a, a_axes), anp.reshape(b, b_axes)


def _kron_vjp(argnums, ans, args, kwargs):
    a, b = _interleaved(*args)
    shape = [max(m, n) for m, n in zip(anp.shape(a), anp.shape(b), strict=True)]
    summed = (tuple(range(1, len(shape), 2)), tuple(range(0, len(shape), 2)))

    def to(argnum, g):
        x = anp.sum(anp.reshape(g, shape) * (a, b)[1 - argnum], axis=summed[argnum])
        return match_complex(args[argnum], anp.reshape(x, anp.shape(args[argnum])))

    return lambda g: tuple(to(i, g) for i in argnums)


def _kron(value, a, b):
    a, b = _interleaved(a, b)
    return anp.reshape(a * b, np.shape(value))


def _outer_vjp(argnums, ans, args, kwargs):
    a, b = args

    def to(argnum, g):
        x = anp.dot(g, anp.ravel(b)) if argnum == 0 else anp.dot(anp.ravel(a), g)
        return match_complex(args[argnum], anp.reshape(x, anp.shape(args[argnum])))

    return lambda g: tuple(to(i, g) for i in argnums)


defrule(anp.kron, expansion(_kron), vjp=_kron_vjp)
defrule(
    anp.outer,
    expansion(lambda value, a, b: anp.reshape(a, (-1, 1)) * anp.reshape(b, (1, -1))),
    vjp=_outer_vjp,
)
