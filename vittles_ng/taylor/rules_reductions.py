"""Rules of sums, products and statistics along axes, and of differences.

autograd's VJPs are replaced where they divide by an operand that may be zero, or ignore an argument.
"""

import autograd.numpy as anp
import numpy as np
from autograd.core import primitive_vjps
from autograd.numpy import numpy_wrapper as wrapper

from ..errors import MissingRuleError, NonSmoothError
from .primitives import plain
from .rules import Expansion, Linear, defrule, expansion
from .rules_choices import bound, check_keywords

__all__ = ["axes_of", "squared_modulus"]


def axes_of(axis, ndim):
    """An argument ``axis`` as a tuple of non-negative axes."""
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
    axes = axes_of(given.get("axis"), x.ndim)
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
    return axes_of(given.get("axis"), anp.ndim(args[0]))


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


# ---- cumsum, diff, trace: linear, NumPy's own function behind the step axis ----


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

# ---- variance and standard deviation ----

_VAR = ("axis", "dtype", "out", "ddof", "keepdims", "where", "mean", "correction")


def _centred(name, args, kwargs):
    """Deviations from the mean, the axes, and ``n - ddof``."""
    given = bound(_VAR, args[1:], kwargs)
    check_keywords(name, given, ("dtype", "out", "where", "mean", "correction"))
    x = args[0]
    axes = axes_of(given.get("axis"), anp.ndim(x))
    n = int(np.prod([anp.shape(x)[a] for a in axes]))
    return x - anp.mean(x, axis=axes, keepdims=True), axes, n - given.get("ddof", 0)


def squared_modulus(d):
    """``|d|^2``, of a real or complex array."""
    return anp.square(anp.real(d)) + anp.square(anp.imag(d)) if anp.iscomplexobj(d) else anp.square(d)


def _var(value, *args, **kwargs):
    d, axes, n = _centred("var", args, kwargs)
    return anp.reshape(anp.sum(squared_modulus(d), axis=axes) / n, np.shape(value))


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
        return anp.reshape(anp.sqrt(anp.sum(squared_modulus(d), axis=axes) / n), np.shape(value))

    return Expansion(fun)


def _std_vjp(argnums, ans, args, kwargs):
    _check_spread(plain(ans))
    d, axes, n = _centred("std", args, kwargs)
    kept = _kept(anp.shape(args[0]), axes)
    return lambda g: (anp.reshape(g / ans, kept) * anp.conj(d) / n,)


defrule(wrapper._primitive_var, expansion(_var), vjp=_var_vjp)
defrule(wrapper._primitive_std, _std, vjp=_std_vjp)
