"""Series through a function, and rules for primitives of one's own."""

import numpy as np

from ..errors import NonFiniteError, ShapeError
from . import library
from .recorded import Recorded
from .rules import Nonlinear, defrule

__all__ = ["defjet", "jet"]


def jet(fun, *series):
    """Push truncated Taylor series through a function.

    With arguments ``x_i(t) = sum_k x_{i,k} t^k`` the result is the series of ``fun(x_1(t), x_2(t), ...)`` to the same
    order. Coefficients are normalised, ``c[k] = (1/k!) d^k x / dt^k``, not scaled by k!.

    Parameters
    ----------
    fun : callable
        A function of arrays written in ``autograd.numpy``; gradients may be taken inside. It is run once, at the
        arguments' order 0.
    *series : array_like of shape (order + 1, ...)
        One series per argument, all of one order.

    Returns
    -------
    ndarray of shape (order + 1, ...), or a tuple of them
        A tuple where ``fun`` returns a tuple or list. An output that does not depend on the arguments has zeros from
        order 1 on.

    Raises
    ------
    MissingRuleError
        ``fun`` uses a primitive without a rule.
    NonSmoothError
        ``fun`` is not differentiable at order 0, and the series depends on the side taken.

    References
    ----------
    A. Griewank and A. Walther, "Evaluating Derivatives", SIAM 2008, ch. 13.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> import vittles_ng as vn
    >>> vn.jet(np.exp, np.array([0.0, 1.0, 0.0, 0.0]))  # exp(t) = 1 + t + t^2/2 + t^3/6
    array([1.        , 1.        , 0.5       , 0.16666667])
    """
    series = [_checked(s) for s in series]
    if not series:
        raise ShapeError("jet needs at least one series.")
    order = len(series[0]) - 1
    if any(len(s) != order + 1 for s in series):
        raise ShapeError(f"series of different orders: lengths {[len(s) for s in series]}; pad the shorter with zeros.")
    recorded = Recorded(fun, [s[0] for s in series])
    results = [np.zeros((order + 1, *v.shape), np.result_type(v, np.float64)) for v in recorded.values]
    for out, value in zip(results, recorded.values, strict=True):
        out[0] = value
    replay = recorded.start(1)
    for k in range(1, order + 1):
        coefficients = replay.coefficient([s[k : k + 1] if np.any(s[k]) else None for s in series])
        for i, c in enumerate(coefficients):
            if c is not None:
                if np.iscomplexobj(c) and not np.iscomplexobj(results[i]):
                    results[i] = results[i].astype(complex)
                results[i][k] = c[0]
    return tuple(results) if recorded.is_tuple else results[0]


def _checked(series):
    series = np.asarray(series)
    if series.ndim == 0:
        raise ShapeError("a series has shape (order + 1, ...), got a scalar.")
    if not np.issubdtype(series.dtype, np.inexact):
        series = series.astype(np.float64)
    if not np.all(np.isfinite(series)):
        raise NonFiniteError(f"{np.sum(~np.isfinite(series))} coefficients of a series are NaN or infinite.")
    return series


class _UserRule(Nonlinear):
    """A rule given as a function of whole series; zeros are spelled out for it."""

    reads_result = True

    def __init__(self, rule, call):
        self.rule, self.call = rule, call

    def coefficient(self, ws, k, x, y, aux):
        if all(c is None for s in x for c in s[1 : k + 1]):
            return None
        args = list(self.call.args)
        for argnum, s in zip(self.call.argnums, x, strict=True):
            args[argnum] = [_spelled(ws, c, s[0]) for c in s[: k + 1]]
        shape = (ws.n_steps, *np.shape(self.call.value))
        c = np.asarray(self.rule(k, [_spelled(ws, c, y[0]) for c in y[:k]], *args, **self.call.kwargs))
        try:
            return np.broadcast_to(c, shape)
        except ValueError:
            raise ShapeError(
                f"the rule of '{self.call.fun.__name__}' gave a coefficient of shape {c.shape} at order {k}, "
                f"where {shape} (steps first) is needed."
            ) from None


def _spelled(ws, c, value):
    return np.zeros((ws.n_steps, *np.shape(value))) if c is None else c


def defjet(primitive, rule, elementwise=False):
    """Give an autograd primitive its Taylor rule.

    Parameters
    ----------
    primitive : callable
        Made with ``autograd.extend.primitive``. For use in an objective it also needs autograd's ``defvjp``.
    rule : callable
        ``rule(k, y, *args, **kwargs) -> y_k``, called for k = 1, 2, .... ``y`` is the list ``[y_0, ..., y_{k-1}]`` of
        the result's coefficients; a traced argument arrives as the list ``[x_0, ..., x_k]`` of its coefficients, any
        other as it was passed. ``x_0`` and ``y_0`` have the shape of the value, all others a leading step axis:
        elementwise arithmetic between them broadcasts. ``y_k`` may read ``x_k`` only linearly, as Taylor arithmetic
        does. The arrays must not be written into.
    elementwise : bool, default=False
        Whether every entry of the result is made of the entries at its place alone, in arguments that broadcast. If
        not, a sparse Hessian counts on every entry of the result depending on all of the arguments. It must not be said
        of a primitive that mixes entries: entries of the Hessian would be missed.

    Examples
    --------
    A primitive for ``exp``, whose series obeys ``k y_k = sum_{j=1..k} j x_j y_{k-j}``:

    >>> import autograd.numpy as np
    >>> from autograd.extend import primitive
    >>> import vittles_ng as vn
    >>> @primitive
    ... def my_exp(x):
    ...     return np.exp(x)
    >>> vn.defjet(my_exp, lambda k, y, x: sum(j * x[j] * y[k - j] for j in range(1, k + 1)) / k)
    >>> vn.jet(my_exp, np.array([0.0, 1.0, 0.0]))
    array([1. , 1. , 0.5])
    """
    if not getattr(primitive, "_is_autograd_primitive", False):
        raise TypeError(f"{primitive!r} is not an autograd primitive: decorate it with autograd.extend.primitive.")
    if not callable(rule):
        raise TypeError("rule must be callable: rule(k, y, *args, **kwargs) -> y_k.")
    library.load()  # so that the user's rule comes last
    from .dependence_rules import declare_elementwise  # reads the rule tables

    defrule(primitive, lambda call: _UserRule(rule, call))
    declare_elementwise(primitive, elementwise)
