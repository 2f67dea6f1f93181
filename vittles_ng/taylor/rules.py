"""The rule table and the combinators that its lines are made of.

A rule gives ONE coefficient: ``y_k`` of the result from the operands' ``x_0..x_k`` and the result's ``y_0..y_{k-1}``.
The table maps an autograd primitive to a *factory*, called once per recorded call with a :class:`Call`; it returns a
*kernel*, or an :class:`Expansion` that spells the primitive in terms of others. Kernels are immutable; they may
precompute from order 0 what they like. What a replay adds lives in the replay.

Conventions (see :mod:`.series`): ``c_0`` has the shape of the value, ``c_k`` a leading step axis; None is zero; a
kernel never writes into its operands. Sources: Griewank & Walther, "Evaluating Derivatives" (2008), ch. 13.
"""

from dataclasses import dataclass, field

import numpy as np

from ..errors import MissingRuleError

__all__ = [
    "Bilinear",
    "Call",
    "Expansion",
    "Linear",
    "Nonlinear",
    "bilinear",
    "defrule",
    "elementwise_linear",
    "expansion",
    "linear",
    "lookup",
    "vjp_replacements",
]


@dataclass(frozen=True)
class Call:
    """One recorded call of a primitive.

    Attributes
    ----------
    fun : callable
        The primitive.
    args : tuple
        All positional arguments at order 0, traced or not.
    kwargs : dict
        Keyword arguments.
    argnums : tuple of int
        Positions of the traced arguments.
    value : object
        The result at order 0.
    same : tuple of int
        For each traced argument the index of the first traced argument that is the same node.
    sources : tuple of int
        For each traced argument a hash of the expression that it is, see :func:`.primitives.source`.
    """

    fun: object
    args: tuple
    kwargs: dict
    argnums: tuple
    value: object
    same: tuple = field(default=())
    sources: tuple = field(default=())

    @property
    def traced(self):
        """Order-0 values of the traced arguments."""
        return tuple(self.args[i] for i in self.argnums)


class Linear:
    """``y_k = L(x_k)``: no coefficient of lower order is read.

    Parameters
    ----------
    apply : callable
        ``apply(ws, *x_k) -> y_k``, each ``x_k`` with a leading step axis or None, at least one not None.
    in_workspace : bool
        Whether all its arithmetic goes through the workspace's methods; if not, it is compiled as one operation.
    """

    is_linear = True
    reads_result = False

    def __init__(self, apply, in_workspace=False):
        self.apply, self.in_workspace = apply, in_workspace


class Nonlinear:
    """Base of kernels that read lower coefficients.

    ``reads_result`` says whether ``y_0..y_{k-1}`` are read, ``tangent_is_own`` whether ``tangent`` returns an array
    that nothing else refers to, ``in_workspace`` whether all arithmetic on coefficients goes through the workspace's
    methods (only then is a replay logged, see :class:`vittles_ng.taylor.series.Workspace`).
    """

    is_linear = False
    reads_result = False
    tangent_is_own = False
    in_workspace = False

    def start(self):
        """Auxiliary series of one replay: whatever ``coefficient`` keeps between orders. Only final coefficients
        (of orders below the present k) may be kept there."""
        return None

    def coefficient(self, ws, k, x, y, aux):
        """``y_k`` with leading step axis, or None; ``x`` is a tuple of series, ``y`` the result's own."""
        raise NotImplementedError

    def tangent(self, ws, dx, x0, y0):
        """``dy = f'(x_0) dx``: the coefficient of order 1."""
        return self.coefficient(ws, 1, tuple([a, d] for a, d in zip(x0, dx, strict=True)), [y0], self.start())


@dataclass(frozen=True)
class Expansion:
    """A call spelled in terms of other primitives: ``fun(value, *args, **kwargs)`` is recorded in its place.

    ``value`` is the result at order 0, for an :func:`antiderivative <vittles_ng.taylor.primitives.antiderivative>`.
    """

    fun: object


_TABLE = {}
#: Primitives of other packages, linear in their only argument, a vector; known by where they are defined, not imported.
_LINEAR_ELSEWHERE = {("paragami.psdmatrix_patterns", "_unvectorize_ld_matrix")}
_VJPS = {}


def defrule(primitive, factory, vjp=None):
    """Enter a primitive's rule.

    Parameters
    ----------
    primitive : callable
        An autograd primitive.
    factory : callable
        ``factory(call) -> Linear, Nonlinear or Expansion``.
    vjp : callable, optional
        A VJP maker ``vjp(argnums, ans, args, kwargs)`` that takes the place of autograd's own while recording, where
        autograd's branches on values in a way that is wrong for higher derivatives.
    """
    if not getattr(primitive, "_is_autograd_primitive", False):
        raise TypeError(f"{primitive!r} is not an autograd primitive.")
    _TABLE[primitive] = factory
    if vjp is not None:
        _VJPS[primitive] = vjp


def lookup(primitive):
    """The factory of a primitive; :class:`~vittles_ng.errors.MissingRuleError` names it where there is none."""
    try:
        return _TABLE[primitive]
    except KeyError:
        name = getattr(primitive, "__name__", repr(primitive))
        function = getattr(primitive, "fun", None)
        if (getattr(function, "__module__", None), name) in _LINEAR_ELSEWHERE:
            return linear(lambda call, argnum: lambda x: np.stack([function(row) for row in x]))
        raise MissingRuleError(
            f"the primitive '{name}' has no Taylor rule: write the function with other primitives, "
            f"or give it one with vittles_ng.defjet({name}, rule)."
        ) from None


def vjp_replacements():
    """VJP makers to use while recording, by primitive."""
    return _VJPS


def expansion(fun):
    """Factory of an :class:`Expansion` by ``fun(value, *args, **kwargs)``."""
    made = Expansion(fun)
    return lambda call: made


def linear(batched):
    """Factory of a linear rule in one traced argument.

    ``batched(call, argnum)`` returns ``f(x_k) -> y_k`` on arrays with a leading step axis.
    """

    def factory(call):
        (argnum,) = call.argnums
        fun = batched(call, argnum)
        return Linear(lambda ws, x: fun(x))

    return factory


def elementwise_linear(factor):
    """Factory of ``y_k = c x_k`` with the number ``c = factor``."""
    return lambda call: Linear(lambda ws, x: ws.scale(x, factor), in_workspace=True)


class Bilinear(Nonlinear):
    """``y_k = sum_{j=0..k} f(a_j, b_{k-j})`` (Cauchy product).

    Parameters
    ----------
    product : callable
        ``product(ws, a, b, a_has_steps, b_has_steps)``, bilinear.
    in_workspace : bool
        As in :class:`Linear`, of the product.
    """

    def __init__(self, product, in_workspace=False):
        self.product, self.in_workspace = product, in_workspace

    def coefficient(self, ws, k, x, y, aux):
        a, b = x
        total = None
        for j in range(k + 1):
            if a[j] is not None and b[k - j] is not None:
                total = ws.add(total, self.product(ws, a[j], b[k - j], j > 0, j < k))
        return total


def bilinear(make_product, argnums=(0, 1)):
    """Factory of a rule that is linear in each of two arguments.

    ``make_product(call)`` returns ``product(ws, a, b, a_has_steps, b_has_steps)``; where only one argument is traced
    the rule is linear.
    """
    first, second = argnums

    def factory(call):
        product = make_product(call)
        if call.argnums == (first, second):
            return Bilinear(product)
        if call.argnums == (first,):
            b = np.asarray(call.args[second])
            return Linear(lambda ws, x: product(ws, x, b, True, False))
        a = np.asarray(call.args[first])
        return Linear(lambda ws, x: product(ws, a, x, False, True))

    return factory
