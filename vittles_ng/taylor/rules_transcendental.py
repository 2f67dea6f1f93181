"""Rules of exponentials, logarithms, roots and trigonometric functions.

Nearly all are ``y' = w x'`` (:class:`Antiderivative`) or ``w y' = x'`` (:class:`Quotient`) with a simple series ``w``;
Griewank & Walther (2008), section 13.2.
"""

import autograd.numpy as anp
import autograd.scipy.special as asp
import numpy as np
from autograd.numpy.numpy_vjps import unbroadcast

from ..errors import NonSmoothError
from .kernels import Integral, Quotient
from .primitives import antiderivative, isbox
from .rules import Expansion, Nonlinear, defrule, expansion
from .series import self_product

_LN2, _LN10 = np.log(2.0), np.log(10.0)


def _ode(weight0, weight):
    """Factory of y' = w x': ``weight0(x0, y0)`` and ``weight(ws, j, x, y, w)`` for j >= 1."""
    return lambda call: Integral(weight0(call.traced[0], call.value), weight)


def _quotient(weight0, weight, domain=None):
    """Factory of w y' = x': ``weight0(x0)``, ``weight(ws, j, x, w)`` for j >= 1; ``domain(x0)`` true where defined."""

    def factory(call):
        (x0,) = call.traced
        if domain is not None and not np.all(domain(x0)):
            bad = np.asarray(x0)[~domain(x0)].ravel()[0]
            raise NonSmoothError(
                f"{call.fun.__name__} has no Taylor series at {bad:g} ({np.sum(~domain(x0))} such values): "
                "move the base point into the domain."
            )
        return Quotient(weight0(x0), weight)

    return factory


# ---- exponentials and logarithms ----

# exp: w = y
defrule(anp.exp, _ode(lambda x, y: y, lambda ws, j, x, y, w: y[j]))
# expm1: w = y + 1
defrule(anp.expm1, _ode(lambda x, y: np.exp(x), lambda ws, j, x, y, w: y[j]))
# exp2: w = ln2 y
defrule(anp.exp2, _ode(lambda x, y: _LN2 * y, lambda ws, j, x, y, w: ws.scale(y[j], _LN2)))
# log: x y' = x'
defrule(anp.log, _quotient(lambda x: x, lambda ws, j, x, w: x[j], lambda x: x != 0.0))
# log1p: (1 + x) y' = x'
defrule(anp.log1p, _quotient(lambda x: 1.0 + x, lambda ws, j, x, w: x[j], lambda x: x != -1.0))
defrule(anp.log2, expansion(lambda value, x: anp.log(x) * (1.0 / _LN2)))
defrule(anp.log10, expansion(lambda value, x: anp.log(x) * (1.0 / _LN10)))


# expit: w = y (1 - y)
def _expit(call):
    y0 = call.value
    slope = 1.0 - 2.0 * y0

    def weight(ws, j, x, y, w):
        # (y - y^2)_j = (1 - 2 y_0) y_j - sum_{i=1..j-1} y_i y_{j-i}
        return _minus(ws, None if y[j] is None else ws.multiply(y[j], slope), self_product(ws, y, j, 1))

    return Integral(y0 * asp.expit(-call.args[0]), weight)  # 1 - y_0 would lose the right tail


defrule(asp.expit, _expit)
# logit: x (1 - x) y' = x'
defrule(
    asp.logit,
    _quotient(
        lambda x: x * (1.0 - x),
        lambda ws, j, x, w: _minus(ws, x[j], self_product(ws, x, j)),
        lambda x: (x > 0.0) & (x < 1.0),
    ),
)


def _minus(ws, a, b):
    """a - b, where b may be overwritten; None is zero."""
    if b is None:
        return a
    return ws.run(np.multiply, b, -1.0, b) if a is None else ws.run(np.subtract, a, b, b)


# logaddexp: y' = expit(a - b) a' + expit(b - a) b'
def _logaddexp(value, a, b):
    pairs = []
    for x, other in ((a, b), (b, a)):
        if isbox(x):
            pairs += [asp.expit(_difference(x, other)), x]
    return antiderivative(value, *pairs)


def _difference(p, q):
    return p if isinstance(q, (int, float)) and q == 0 else p - q


def _logaddexp_vjp(argnums, ans, args, kwargs):
    """The weights as expit(a - b): exact in both tails, and one node less than exp(a - logaddexp(a, b))."""
    a, b = args

    def to(argnum, g):
        weight = asp.expit(_difference(a, b) if argnum == 0 else _difference(b, a))
        return unbroadcast(g * weight, anp.metadata(args[argnum]))

    return lambda g: tuple(to(argnum, g) for argnum in argnums)


defrule(anp.logaddexp, expansion(_logaddexp), vjp=_logaddexp_vjp)
# logaddexp2: 2**y = 2**a + 2**b
defrule(anp.logaddexp2, expansion(lambda value, a, b: anp.logaddexp(a * _LN2, b * _LN2) * (1.0 / _LN2)))

# ---- roots ----


class Sqrt(Nonlinear):
    """y^2 = x:  y_k = (x_k - sum_{j=1..k-1} y_j y_{k-j}) / (2 y_0)."""

    reads_result = True
    in_workspace = True

    def __init__(self, y0):
        self.inverse = 0.5 / y0

    def coefficient(self, ws, k, x, y, aux):
        total = _minus(ws, x[0][k], self_product(ws, y, k, 1))
        return None if total is None else ws.multiply(total, self.inverse)

    def tangent(self, ws, dx, x0, y0):
        return ws.multiply(dx[0], self.inverse)


def _sqrt(call):
    if np.any(call.value == 0.0):
        raise NonSmoothError(
            f"sqrt has no Taylor series at 0 ({np.sum(call.value == 0.0)} such values): "
            "move the base point, or add a small constant under the root."
        )
    return Sqrt(call.value)


defrule(anp.sqrt, _sqrt)

# ---- trigonometric and hyperbolic; the partner's series is the weight ----


def _partner(sign):
    """w_j of the pair s' = w x', w' = sign s x': j w_j = sign sum_{i=1..j} i x_i s_{j-i}."""

    def weight(ws, j, x, y, w):
        total = None
        for i in range(1, j + 1):
            if x[i] is not None and y[j - i] is not None:
                term = ws.multiply(x[i], y[j - i])
                total = ws.add(total, ws.run(np.multiply, term, sign * i / j, term))
        return total

    return weight


defrule(anp.sin, _ode(lambda x, y: np.cos(x), _partner(-1.0)))
defrule(anp.cos, _ode(lambda x, y: -np.sin(x), _partner(-1.0)))
defrule(anp.sinh, _ode(lambda x, y: np.cosh(x), _partner(1.0)))
defrule(anp.cosh, _ode(lambda x, y: np.sinh(x), _partner(1.0)))
# tan: w = 1 + y^2;  tanh: w = 1 - y^2
defrule(anp.tan, _ode(lambda x, y: 1.0 + y * y, lambda ws, j, x, y, w: self_product(ws, y, j)))
# order 0 of 1 - y^2 is 4 expit(2x) expit(-2x) where y rounds to 1; autograd's VJP divides by cosh^2, which overflows
defrule(
    anp.tanh,
    _ode(
        lambda x, y: 4.0 * asp.expit(2.0 * x) * asp.expit(-2.0 * x),
        lambda ws, j, x, y, w: _minus(ws, None, self_product(ws, y, j)),
    ),
    vjp=lambda argnums, ans, args, kwargs: lambda g: (g * (1.0 - anp.square(ans)),),
)
# arctan: (1 + x^2) y' = x';  arctanh: (1 - x^2) y' = x'
defrule(anp.arctan, _quotient(lambda x: 1.0 + x * x, lambda ws, j, x, w: self_product(ws, x, j)))
defrule(
    anp.arctanh,
    _quotient(
        lambda x: 1.0 - x * x,
        lambda ws, j, x, w: _minus(ws, None, self_product(ws, x, j)),
        lambda x: np.abs(x) != 1.0,
    ),
)


def _root_weight(sign):
    """w = sqrt(c + sign x^2): 2 w_0 w_j = sign [x^2]_j - sum_{i=1..j-1} w_i w_{j-i}, with the sign of w_0 free."""

    def weight(ws, j, x, w):
        total = ws.scale(self_product(ws, x, j), sign)
        total = _minus(ws, total, self_product(ws, w, j, 1))
        return None if total is None else ws.multiply(total, 0.5 / w[0])

    return weight


# arcsin: sqrt(1 - x^2) y' = x';  arccos: -sqrt(1 - x^2);  arcsinh: sqrt(1 + x^2);  arccosh: sqrt(x^2 - 1)
_INSIDE = lambda x: np.abs(x) < 1.0  # noqa: E731 - a domain in a table
defrule(anp.arcsin, _quotient(lambda x: np.sqrt(1.0 - x * x), _root_weight(-1.0), _INSIDE))
defrule(anp.arccos, _quotient(lambda x: -np.sqrt(1.0 - x * x), _root_weight(-1.0), _INSIDE))
defrule(anp.arcsinh, _quotient(lambda x: np.sqrt(1.0 + x * x), _root_weight(1.0)))
defrule(anp.arccosh, _quotient(lambda x: np.sqrt(x * x - 1.0), _root_weight(1.0), lambda x: x > 1.0))


# ---- two arguments ----

# hypot: y = sqrt(a^2 + b^2);  arctan2(a, b): y' = (b a' - a b') / (a^2 + b^2)
defrule(anp.hypot, expansion(lambda value, a, b: anp.sqrt(a * a + b * b)))


def _arctan2(value, a, b):
    q = a * a + b * b
    return antiderivative(value, b / q, a, -a / q, b)


def _arctan2_off_zero(call):
    n = np.sum(np.equal(call.args[0], 0.0) & np.equal(call.args[1], 0.0))
    if n:
        raise NonSmoothError(f"arctan2 has no Taylor series at (0, 0) ({n} such entries): move the base point.")
    return Expansion(_arctan2)


defrule(anp.arctan2, _arctan2_off_zero)
