"""Rules of statistics, products along axes, differences, small linear maps and complex parts.

Most spell the primitive in others. autograd's VJPs are replaced where they divide by an operand that may be zero,
ignore an argument, or forget that operands broadcast.
"""

import autograd.numpy as anp
import numpy as np
from autograd.core import primitive_vjps
from autograd.extend import defvjp, primitive
from autograd.numpy import numpy_wrapper as wrapper
from autograd.numpy.numpy_vjps import match_complex, unbroadcast

from ..errors import MissingRuleError, NonSmoothError
from .primitives import plain
from .rules import Derivatives, Expansion, Linear, defrule, expansion
from .rules_choices import bound, check_keywords

__all__ = []


def _axes(axis, ndim):
    return tuple(range(ndim)) if axis is None else tuple(int(a) % ndim for a in np.atleast_1d(axis))


def _kept(shape, axes):
    """The shape with the axes as unit axes."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))


def _check_dtype(name, dtype):
    if dtype is not None and np.dtype(dtype) not in (np.dtype(np.float64), np.dtype(np.complex128)):
        raise MissingRuleError(
            f"the Taylor rule of '{name}' takes dtype= float or complex only, not {np.dtype(dtype)}."
        )


# ---- sum, mean ----

_SUMS = {anp.sum: ("axis", "dtype", "out", "keepdims", "initial", "where")}
_SUMS[wrapper._primitive_mean] = ("axis", "dtype", "out", "keepdims", "where")


def _sum_given(fun, args, kwargs):
    """axis and keepdims of a sum or mean."""
    given = bound(_SUMS[fun], args[1:], kwargs)
    check_keywords(fun.__name__, given, ("out", "initial", "where"))
    _check_dtype(fun.__name__, given.get("dtype"))
    return {name: given[name] for name in ("axis", "keepdims") if name in given}


def _sum(call):
    given = _sum_given(call.fun, call.args, call.kwargs)
    x, shape = np.asarray(call.args[0]), np.shape(call.value)
    axes = _axes(given.get("axis"), x.ndim)
    n = int(np.prod([x.shape[a] for a in axes])) if call.fun is wrapper._primitive_mean else 1
    axes = tuple(a + 1 for a in axes)

    def apply(ws, x):
        total = x.sum(axis=axes) if n == 1 else x.sum(axis=axes) / n
        return total.reshape(x.shape[:1] + shape)

    return Linear(apply)


def _sum_vjp(fun):
    """autograd's VJP, told what it would ignore or mistake by position."""
    original = primitive_vjps[fun]
    return lambda argnums, ans, args, kwargs: original(argnums, ans, args[:1], _sum_given(fun, args, kwargs))


for _fun in _SUMS:
    defrule(_fun, _sum, vjp=_sum_vjp(_fun))


# ---- prod: by products, so that zeros are no exception ----

_PROD = ("axis", "dtype", "out", "keepdims", "initial", "where")


def _stacked(x, axes):
    """The entries that are multiplied together, on the first axis; the rest in order behind it."""
    shape = anp.shape(x)
    others = [a for a in range(len(shape)) if a not in axes]
    x = anp.transpose(x, [*axes, *others])
    return anp.reshape(x, (int(np.prod([shape[a] for a in axes])), *(shape[a] for a in others)))


def _tree(z):
    """Product over the first axis, in log2 of its length multiplications."""
    n = anp.shape(z)[0]
    if n == 0:
        return np.ones(anp.shape(z)[1:])
    while n > 1:
        half = n // 2
        pairs = z[:half] * z[half : 2 * half]
        z = anp.concatenate((pairs, z[2 * half :])) if n % 2 else pairs
        n = half + n % 2
    return z[0]


def _others(z):
    """For each entry of the first axis the product of all the others: 1 for a lone one, else ``b * others(a b)``."""
    n = anp.shape(z)[0]
    if n <= 1:
        return np.ones(anp.shape(z))
    if n % 2:
        return _others(anp.concatenate((z, np.ones((1, *anp.shape(z)[1:])))))[:n]
    a, b = z[: n // 2], z[n // 2 :]
    up = _others(a * b)
    return anp.concatenate((up * b, up * a))


def _prod_given(args, kwargs):
    given = bound(_PROD, args[1:], kwargs)
    check_keywords("prod", given, ("out", "initial", "where"))
    _check_dtype("prod", given.get("dtype"))
    return _axes(given.get("axis"), anp.ndim(args[0]))


def _prod(value, *args, **kwargs):
    return anp.reshape(_tree(_stacked(args[0], _prod_given(args, kwargs))), np.shape(value))


def _prod_vjp(argnums, ans, args, kwargs):
    x, axes = args[0], _prod_given(args, kwargs)
    shape = anp.shape(x)
    order = [*axes, *(a for a in range(len(shape)) if a not in axes)]

    def vjp(g):
        others = anp.reshape(_others(_stacked(x, axes)), tuple(shape[a] for a in order))
        return (anp.reshape(g, _kept(shape, axes)) * anp.transpose(others, np.argsort(order)),)

    return vjp


defrule(anp.prod, expansion(_prod), vjp=_prod_vjp)


# ---- cumsum, diff, trace, linspace: linear, NumPy's own function behind the step axis ----


def _cumsum(call):
    given = bound(("axis", "dtype", "out"), call.args[1:], call.kwargs)
    check_keywords("cumsum", given, ("dtype", "out"))
    axis, ndim = given.get("axis"), np.ndim(call.args[0])
    if axis is None:
        return Linear(lambda ws, x: np.cumsum(x.reshape(x.shape[0], -1), axis=1))
    return Linear(lambda ws, x: np.cumsum(x, axis=axis % ndim + 1))


defrule(anp.cumsum, _cumsum)


def _diff(call):
    given = bound(("n", "axis", "prepend", "append"), call.args[1:], call.kwargs)
    check_keywords("diff", given, ("prepend", "append"))
    n, axis = given.get("n", 1), given.get("axis", -1) % np.ndim(call.args[0]) + 1
    return Linear(lambda ws, x: np.diff(x, n, axis))


defrule(anp.diff, _diff)


def _trace(call):
    given = bound(("offset", "axis1", "axis2", "dtype", "out"), call.args[1:], call.kwargs)
    check_keywords("trace", given, ("dtype", "out"))
    offset, ndim = given.get("offset", 0), np.ndim(call.args[0])
    axis1, axis2 = (given.get(name, i) % ndim + 1 for i, name in enumerate(("axis1", "axis2")))
    return Linear(lambda ws, x: np.trace(x, offset, axis1, axis2))


defrule(anp.trace, _trace)

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


# ---- variance and standard deviation ----

_VAR = ("axis", "dtype", "out", "ddof", "keepdims", "where", "mean", "correction")


def _centred(name, args, kwargs):
    """Deviations from the mean, the axes, and ``n - ddof``."""
    given = bound(_VAR, args[1:], kwargs)
    check_keywords(name, given, ("dtype", "out", "where", "mean", "correction"))
    x = args[0]
    axes = _axes(given.get("axis"), anp.ndim(x))
    n = int(np.prod([anp.shape(x)[a] for a in axes]))
    return x - anp.mean(x, axis=axes, keepdims=True), axes, n - given.get("ddof", 0)


def _squared(d):
    return anp.square(anp.real(d)) + anp.square(anp.imag(d)) if anp.iscomplexobj(d) else anp.square(d)


def _var(value, *args, **kwargs):
    d, axes, n = _centred("var", args, kwargs)
    return anp.reshape(anp.sum(_squared(d), axis=axes) / n, np.shape(value))


def _var_vjp(argnums, ans, args, kwargs):
    d, axes, n = _centred("var", args, kwargs)
    kept = _kept(anp.shape(args[0]), axes)
    return lambda g: (anp.reshape(g, kept) * anp.conj(d) * (2.0 / n),)


def _check_spread(value):
    n = np.sum(np.asarray(value) == 0.0)
    if n:
        raise NonSmoothError(
            f"std has no Taylor series where all entries are equal ({n} standard deviations are 0): "
            "use var, or move the base point."
        )


def _std(call):
    _check_spread(call.value)

    def fun(value, *args, **kwargs):
        d, axes, n = _centred("std", args, kwargs)
        return anp.reshape(anp.sqrt(anp.sum(_squared(d), axis=axes) / n), np.shape(value))

    return Expansion(fun)


def _std_vjp(argnums, ans, args, kwargs):
    _check_spread(plain(ans))
    d, axes, n = _centred("std", args, kwargs)
    kept = _kept(anp.shape(args[0]), axes)
    return lambda g: (anp.reshape(g / ans, kept) * anp.conj(d) / n,)


defrule(wrapper._primitive_var, expansion(_var), vjp=_var_vjp)
defrule(wrapper._primitive_std, _std, vjp=_std_vjp)


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


# ---- sinc(x) = sin(pi x) / (pi x) = int_0^1 cos(pi x u) du ----

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
_FAR = 12.0  # up to here 64 nodes integrate cos(pi x u) to rounding


def _turned_cosine(x, m):
    """``cos(x + m pi / 2)``, by quarter turns that are exact."""
    turned = np.sin(x) if m % 2 else np.cos(x)
    return -turned if m % 4 in (1, 2) else turned


@primitive
def sinc_derivative(x, m):
    """The m-th derivative of sinc: ``int_0^1 (pi u)^m cos(pi x u + m pi / 2) du``; for large x the recurrence
    ``x d_m = pi^(m-1) sin(pi x + m pi / 2) - m d_(m-1)``, from the m-th derivative of ``x sinc(x)``."""
    x = np.asarray(x, dtype=float)
    near = np.where(np.abs(x) <= _FAR, x, 0.0)
    u = np.pi * _NODES
    value = (_turned_cosine(near[..., None] * u, m) * u**m) @ _WEIGHTS
    far = np.where(np.abs(x) <= _FAR, _FAR, x)
    d = np.sinc(far)
    for i in range(1, m + 1):
        d = (np.pi ** (i - 1) * _turned_cosine(np.pi * far, i - 1) - i * d) / far
    return np.where(np.abs(x) <= _FAR, value, d)


def _sinc_derivative(call):
    x, m = call.args
    return Derivatives(lambda j: sinc_derivative(x, m + j))


defvjp(sinc_derivative, lambda ans, x, m: lambda g: g * sinc_derivative(x, m + 1), argnums=(0,))
defrule(sinc_derivative, _sinc_derivative)


def _sinc(call):
    (x,) = call.args
    return Derivatives(lambda j: sinc_derivative(x, j))


defrule(anp.sinc, _sinc, vjp=lambda argnums, ans, args, kwargs: lambda g: (g * sinc_derivative(args[0], 1),))


# ---- parts of complex numbers ----

defrule(anp.real, lambda call: Linear(lambda ws, x: np.real(x)))
defrule(anp.imag, lambda call: Linear(lambda ws, x: np.imag(x)))
for _fun in {anp.conj, anp.conjugate}:
    defrule(_fun, lambda call: Linear(lambda ws, x: np.conj(x)))


def _check_angle(z):
    n = np.sum(np.asarray(z) == 0)
    if n:
        raise NonSmoothError(f"angle has no Taylor series at 0 ({n} entries): move the base point.")


def _angle(call):
    _check_angle(call.args[0])
    if not np.iscomplexobj(call.args[0]):
        return Linear(lambda ws, x: np.zeros(x.shape))  # 0 or pi

    def fun(value, z, deg=False):
        angle = anp.arctan2(anp.imag(z), anp.real(z))
        return angle * (180.0 / np.pi) if deg else angle

    return Expansion(fun)


def _angle_vjp(argnums, ans, args, kwargs):
    z, deg = args[0], bound(("deg",), args[1:], kwargs).get("deg", False)
    _check_angle(plain(z))
    unit = 180.0 / np.pi if deg else 1.0
    return lambda g: (match_complex(z, g * unit * anp.conj(z * 1j) / _squared(z)),)


defrule(anp.angle, _angle, vjp=_angle_vjp)


def _real_if_close(call):
    if np.iscomplexobj(call.args[0]) and not np.iscomplexobj(call.value):
        raise MissingRuleError(
            "the primitive 'real_if_close' drops imaginary parts that are small at the base point only: use np.real."
        )
    return Linear(lambda ws, x: x)


defrule(anp.real_if_close, _real_if_close)


def _check_astype(args, kwargs):
    dtype = np.dtype(bound(("dtype",), args[1:], kwargs)["dtype"])
    if not np.issubdtype(dtype, np.inexact):
        raise MissingRuleError(
            f"the primitive 'astype' to {dtype} rounds, and has no Taylor series: take it of data, not of a quantity "
            "that depends on the arguments."
        )
    return dtype


def _astype(call):
    dtype = _check_astype(call.args, call.kwargs)
    if np.issubdtype(dtype, np.complexfloating) or not np.iscomplexobj(call.args[0]):
        return Linear(lambda ws, x: x.astype(np.result_type(dtype, np.float64)))
    return Linear(lambda ws, x: np.real(x))


def _astype_vjp(argnums, ans, args, kwargs):
    _check_astype(args, kwargs)
    return lambda g: (match_complex(args[0], g),)


defrule(wrapper._astype, _astype, vjp=_astype_vjp)
