"""Rules of primitives that pick one of several branches: abs, max, maximum, clip, sort, remainder; and refusals.

Off a kink each is linear in the entries it picks. On one the branch is asked of :mod:`.branches`, by the rule and by
the VJP alike, and the recordings that took different branches are compared by the replay. The VJPs of autograd average
the branches there, which is no function's derivative, so all of them are replaced.

Choices between two quantities ``a`` and ``b`` are keyed by ``d = a - b``, so that ``abs(x)`` and ``maximum(x, 0)`` in
one function take the same side at ``x = 0``: a hand-written softplus ``maximum(x, 0) + log1p(exp(-abs(x)))`` is smooth.
"""

import autograd.numpy as anp
import numpy as np
from autograd.numpy.numpy_vjps import unbroadcast
from autograd.scipy import integrate

from ..errors import MissingRuleError, NonSmoothError
from .branches import current
from .primitives import plain, source
from .rules import Expansion, Linear, defrule
from .series import lift

__all__ = ["bound", "check_keywords", "refuse"]


def refuse(primitive, reason):
    """Enter a named refusal: a traced call raises :class:`~vittles_ng.errors.MissingRuleError` with the reason."""
    name = primitive.__name__

    def raise_missing(*args):
        raise MissingRuleError(f"the primitive '{name}' has no Taylor rule: {reason}")

    raise_missing.refused = True
    defrule(primitive, raise_missing, vjp=raise_missing)


def bound(names, args, kwargs):
    """Positional and keyword arguments by name, ``names`` being the primitive's signature after the operand."""
    return {**dict(zip(names, args, strict=False)), **kwargs}


def check_keywords(name, given, refused):
    """Refuse arguments by name that the rule would otherwise ignore."""
    for word in refused:
        value = given.get(word)
        if value is not None and value is not np._NoValue and not (word == "where" and value is True):
            raise MissingRuleError(f"the Taylor rule of '{name}' does not take {word}=: write it out with np.where.")


def _sides(what, on_kink, values, sources):
    """Where entries on a kink take the second branch; an entry is a choice of its own.

    A choice is known by the values it is between and by the expressions (``sources``) that they are: two quantities
    that are equal at the base point by accident may go different ways.
    """
    second = np.zeros(np.shape(on_kink), dtype=bool)
    n = int(np.sum(on_kink))
    if n:
        values = np.asarray(values) + 0.0  # -0 is 0
        sentence = f"{what} ({n} {'entry' if n == 1 else 'entries'})"
        second[on_kink] = current().others(sentence, n, values, np.array(sources))
    return second


_TIE = "abs at 0, or maximum, minimum or clip at a tie"


def _positive(d, sources):
    """Whether each entry of ``d`` is positive; on the kink the first branch says yes, the second no."""
    d = np.asarray(d)
    return (d > 0) | ((d == 0) & ~_sides(_TIE, d == 0, d, sources))


def _sources(call):
    """For every argument the source of it, 0 for a constant."""
    known = dict(zip(call.argnums, call.sources, strict=True))
    return [known.get(i, 0) for i in range(len(call.args))]


# ---- absolute value ----


def _sign(x, source):
    return np.where(_positive(x, [source]), 1.0, -1.0)


def _check_complex_zero(x):
    n = np.sum(np.asarray(x) == 0)
    if n:
        raise NonSmoothError(
            f"abs of a complex 0 ({n} entries) has no Taylor series: move the base point; "
            "for |z|**2 write np.real(z)**2 + np.imag(z)**2."
        )


def _abs(call):
    (x,) = call.traced
    if np.iscomplexobj(x):
        _check_complex_zero(x)
        return Expansion(lambda value, z: anp.sqrt(anp.square(anp.real(z)) + anp.square(anp.imag(z))))
    sign = _sign(x, call.sources[0])
    return Linear(lambda ws, x: ws.multiply(x, sign))


def _abs_vjp(argnums, ans, args, kwargs):
    (x,) = args
    x0 = plain(x)
    if np.iscomplexobj(x0):
        _check_complex_zero(x0)
        return lambda g: (g * anp.conj(x) / ans,)
    sign = _sign(x0, source(x))
    return lambda g: (g * sign,)


for _fun in {anp.abs, anp.absolute, anp.fabs}:
    defrule(_fun, _abs, vjp=_abs_vjp)


# ---- the larger or smaller of two ----


def _first_is_larger(a, b, sources):
    """Whether ``a >= b``, the tie decided by a branch; ``sources`` are those of a and b, 0 for a constant.

    A lone traced operand counts as ``a`` in the choice's key, so that ``maximum(0, x)`` is ``maximum(x, 0)``.
    """
    a_source, b_source = sources
    if b_source and not a_source:
        return ~_positive(np.subtract(b, a), [b_source])
    return _positive(np.subtract(a, b), [s for s in sources if s])


def _picked(masks, argnums, shape):
    """``y_k`` = operand i where ``masks[i]``; an operand that is not traced counts as zero."""
    ndim = len(shape)

    def apply(ws, *xs):
        total = None
        for argnum, x in zip(argnums, xs, strict=True):
            if x is not None:
                total = ws.add(total, ws.multiply(lift(x, ndim, 1), masks[argnum]))
        return np.broadcast_to(total, (total.shape[0], *shape))

    return Linear(apply)


def _of_two(first_larger):
    """Rule and VJP of maximum (True) or minimum (False)."""

    def masks(a, b, sources):
        first = _first_is_larger(a, b, sources) == first_larger
        return first, ~first

    def factory(call):
        a, b = call.args[:2]
        return _picked(masks(a, b, _sources(call)[:2]), call.argnums, np.shape(call.value))

    def vjp(argnums, ans, args, kwargs):
        a, b = args[:2]
        chosen = masks(plain(a), plain(b), (source(a), source(b)))
        return lambda g: tuple(unbroadcast(g * chosen[i], anp.metadata(args[i])) for i in argnums)

    return factory, vjp


for _funs, _larger in (((anp.maximum, anp.fmax), True), ((anp.minimum, anp.fmin), False)):
    for _fun in _funs:
        _factory, _vjp = _of_two(_larger)
        defrule(_fun, _factory, vjp=_vjp)


# ---- clip: minimum(maximum(x, a_min), a_max) ----


def _bounds(args, kwargs):
    given = bound(("a_min", "a_max", "out"), args[1:], kwargs)
    lower, upper = (
        given.get(a) if given.get(a) is not None else given.get(b) for a, b in (("a_min", "min"), ("a_max", "max"))
    )
    check_keywords("clip", given, ("out", "dtype", "where"))
    return lower, upper


def _clip_masks(shape, x, lower, upper, sources):
    """Where the result is x, the lower and the upper bound."""
    above, below = np.ones(shape, dtype=bool), np.ones(shape, dtype=bool)
    source_x, source_lower, source_upper = sources
    if lower is not None:
        above = _first_is_larger(x, lower, (source_x, source_lower))
        x, source_x = np.maximum(x, lower), source_x or source_lower
    if upper is not None:
        below = ~_first_is_larger(x, upper, (source_x, source_upper))
    return above & below, ~above & below, ~below & np.ones(shape, dtype=bool)


def _clip(call):
    masks = _clip_masks(
        np.shape(call.value), call.args[0], *_bounds(call.args, call.kwargs), (*_sources(call), 0, 0)[:3]
    )
    return _picked(masks, call.argnums, np.shape(call.value))


def _clip_vjp(argnums, ans, args, kwargs):
    bounds = _bounds(args, kwargs)
    sources = [source(x) for x in (args[0], *bounds)]
    masks = _clip_masks(np.shape(plain(ans)), plain(args[0]), *(plain(b) for b in bounds), sources)
    return lambda g: tuple(unbroadcast(g * masks[i], anp.metadata(args[i])) for i in argnums)


defrule(anp.clip, _clip, vjp=_clip_vjp)


# ---- the largest or smallest along axes ----

_REDUCTION = ("axis", "out", "keepdims", "initial", "where")


def _winners(name, x, x_source, args, kwargs):
    """Weights of the winning entries, shaped like ``x``, and the axes reduced.

    At a tie the first branch takes the first of the winners, the second a mean of them with weights in general
    position: it agrees with the first only where it does not matter which one wins.
    """
    given = bound(_REDUCTION, args, kwargs)
    check_keywords(name, given, ("out", "initial", "where"))
    x, axis = np.asarray(x), given.get("axis")
    axes = tuple(range(x.ndim)) if axis is None else tuple(a % x.ndim for a in np.atleast_1d(axis))
    best = (np.max if "max" in name else np.min)(x, axis=axes, keepdims=True)
    won = x == best
    others = [a for a in range(x.ndim) if a not in axes]
    rows = won.transpose(*others, *axes).reshape([x.shape[a] for a in others] + [-1])
    n_tied = int(np.sum(rows.sum(axis=-1) > 1))
    first = np.zeros(rows.shape)
    np.put_along_axis(first, rows.argmax(axis=-1)[..., None], 1.0, axis=-1)
    weights = first
    if n_tied and current().other(
        f"{name} at a tie ({n_tied} {'maximum' if 'max' in name else 'minimum'} "
        f"{'is' if n_tied == 1 else 'are'} shared)",
        x,
        np.array(x_source),
    ):
        weights = rows * np.random.default_rng(0).uniform(0.1, 1.0, rows.shape)
        weights /= weights.sum(axis=-1, keepdims=True)
    back = np.argsort([*others, *axes])
    return weights.reshape([x.shape[a] for a in (*others, *axes)]).transpose(back), axes


def _extreme(call):
    weights, axes = _winners(call.fun.__name__, call.args[0], call.sources[0], call.args[1:], call.kwargs)
    summed, shape = tuple(a + 1 for a in axes), np.shape(call.value)
    return Linear(lambda ws, x: ws.multiply(x, weights).sum(axis=summed).reshape(x.shape[:1] + shape))


def _extreme_vjp(name):
    def vjp(argnums, ans, args, kwargs):
        x = plain(args[0])
        weights, axes = _winners(name, x, source(args[0]), args[1:], kwargs)
        kept = tuple(1 if a in axes else n for a, n in enumerate(np.shape(x)))
        return lambda g: (anp.reshape(g, kept) * weights,)

    return vjp


for _fun in {anp.max, anp.amax, anp.min, anp.amin}:
    defrule(_fun, _extreme, vjp=_extreme_vjp(_fun.__name__))


# ---- order ----


def _permutation(name, x, value, x_source):
    """``value = x[permutation]``; entries that are tied may change places."""
    x, value = np.asarray(x), np.asarray(value)
    if x.ndim > 1:
        raise MissingRuleError(
            f"the primitive '{name}' has a Taylor rule for one-dimensional arrays only, not for shape {x.shape}: "
            f"index with x[np.argsort(...)], or {name} row by row and stack."
        )
    order = np.argsort(x, kind="stable")
    tied = np.zeros(x.shape, dtype=bool)
    equal = x[order[1:]] == x[order[:-1]]
    tied[order[1:][equal]] = tied[order[:-1][equal]] = True
    second = _sides(f"{name} at a tie", tied, x, [x_source])
    permutation = np.empty(x.size, dtype=np.intp)
    permutation[np.argsort(value, kind="stable")] = np.lexsort((second, x))
    return permutation


def _reorder(call):
    permutation = _permutation(call.fun.__name__, call.args[0], call.value, call.sources[0])
    return Linear(lambda ws, x: x[:, permutation])


def _reorder_vjp(name):
    def vjp(argnums, ans, args, kwargs):
        back = np.argsort(_permutation(name, plain(args[0]), plain(ans), source(args[0])))
        return lambda g: (g[back],)

    return vjp


for _fun in (anp.sort, anp.partition):
    defrule(_fun, _reorder, vjp=_reorder_vjp(_fun.__name__))


# ---- remainder: x - q y with the whole number q = floor(x / y) ----


def _quotient(x, y, value):
    x, y, value = np.broadcast_arrays(x, y, value)
    jumps = np.sum(value == 0)
    if jumps:
        raise NonSmoothError(
            f"remainder jumps at a multiple of the divisor ({jumps} entries are one): move the base point."
        )
    return np.rint((x - value) / y)


def _remainder(call):
    quotient = _quotient(*call.args[:2], call.value)
    return Expansion(lambda value, x, y: x - quotient * y)


def _remainder_vjp(argnums, ans, args, kwargs):
    quotient = _quotient(plain(args[0]), plain(args[1]), plain(ans))
    slopes = (np.ones(quotient.shape), -quotient)
    return lambda g: tuple(unbroadcast(g * slopes[i], anp.metadata(args[i])) for i in argnums)


for _fun in {anp.mod, anp.remainder}:
    defrule(_fun, _remainder, vjp=_remainder_vjp)


# ---- refusals ----

refuse(anp.nan_to_num, "it hides NaN and infinity, where no series exists; use np.where with a condition on the data.")
refuse(anp.gradient, "write the finite differences out with np.diff or slices.")
refuse(
    integrate.odeint,
    "the solver's adaptive steps have no series; write a fixed-step integrator with autograd.numpy in its place.",
)
