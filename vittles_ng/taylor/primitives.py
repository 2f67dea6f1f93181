"""Primitives that only expansions use, and the test for a traced value."""

from autograd.extend import Box, primitive

from .kernels import Antiderivative, LogAntiderivative
from .rules import defrule
from .series import lift

__all__ = ["antiderivative", "isbox", "log_antiderivative", "plain", "source"]


def isbox(x):
    """Whether a value is being traced (at any level)."""
    return isinstance(x, Box)


def plain(x):
    """The value at order 0 under all levels of tracing."""
    while isinstance(x, Box):
        x = x._value
    return x


def source(x):
    """A hash of the expression that a value is on the tape being recorded; 0 for one that is not on it."""
    node = None
    while isinstance(x, Box):
        node, x = x._node, x._value
    return getattr(node, "source", 0)


@primitive
def antiderivative(value, *pairs):
    """``y`` with ``y' = w_1 x_1' + w_2 x_2' + ...`` and order 0 ``value``; ``pairs`` is ``w_1, x_1, w_2, x_2, ...``."""
    return value


def _antiderivative(call):
    # the weights are nodes of their own; only x_i that are traced contribute
    position = {argnum: i for i, argnum in enumerate(call.argnums)}
    ndim = call.value.ndim
    w0, sources, operands = [], [], []
    for i in range(1, len(call.args), 2):
        if i + 1 in position:
            w0.append(call.args[i])
            sources.append(position.get(i))
            operands.append(position[i + 1])

    def weight(ws, i, j, x, y, w):
        return None if sources[i] is None else lift(x[sources[i]][j], ndim, j)

    return Antiderivative(tuple(w0), weight, reads_result=False, pairs=tuple(operands), ndim=ndim)


defrule(antiderivative, _antiderivative)


@primitive
def log_antiderivative(value, u, x, sign=1.0):
    """``y`` with ``y' = sign exp(u - y) x'`` and order 0 ``value``, all of one shape."""
    return value


def _log_antiderivative(call):
    return LogAntiderivative(call.args[1], call.value, call.kwargs.get("sign", 1.0))


defrule(log_antiderivative, _log_antiderivative)
