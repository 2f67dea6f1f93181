"""Rules of ``autograd.scipy.special``: gamma, beta and error functions, and logsumexp.

Three kinds. A function whose slope is simple is the antiderivative of it, ``y' = sum_i w_i x_i'``. One whose
derivatives are all known at the base point is composed from them. One with a simple logarithmic derivative is
``y_0 exp(log y - log y_0)``, which keeps the digits of ``y_0``. Formulas: DLMF (https://dlmf.nist.gov), sections named.

autograd gives the operand of ``polygamma`` without a VJP, n, a gradient of zero; here it is refused.
"""

import autograd.numpy as anp
import autograd.scipy.special as asp
import numpy as np
import scipy.special as sp
from autograd.numpy.numpy_vjps import unbroadcast

from ..errors import MissingRuleError, NonSmoothError
from .kernels import Derivatives
from .primitives import antiderivative
from .rules import Expansion, Linear, defrule, expansion

# ---- combinators ----


def slopes_vjp(name, operands, *slopes):
    """VJP maker of an elementwise function: ``slopes[i](ans, *args, **kwargs)`` is the partial derivative in operand i.

    None refuses the operand, when a cotangent reaches it: raised earlier, ufunc dispatch would swallow the error.
    """

    def vjp(argnums, ans, args, kwargs):
        def to(i, g):
            check_operands(name, operands, (i,), [i for i, slope in enumerate(slopes) if slope is None])
            return unbroadcast(g * slopes[i](ans, *args, **kwargs), anp.metadata(args[i]))

        return lambda g: tuple(to(i, g) for i in argnums)

    return vjp


def check_operands(name, operands, argnums, refused):
    """Raise for a traced operand in which the primitive has no derivative."""
    for i in argnums:
        if i in refused:
            raise MissingRuleError(
                f"{name} has no Taylor rule in its operand '{operands[i]}' (position {i}): "
                "keep that operand constant, or write the function with other primitives."
            )


def from_logarithm(value, log_value):
    """``y = y_0 exp(l - l_0)`` for ``l = log |y|``: exact at order 0."""
    return value * anp.exp(antiderivative(np.zeros(np.shape(value)), np.ones(()), log_value))


def _smooth(name, undefined, *args):
    """Refuse points where a function has no series in its last operand."""
    bad = np.asarray(undefined(*args))
    if np.any(bad):
        raise NonSmoothError(
            f"{name} has no Taylor series at {np.broadcast_to(args[-1], bad.shape)[bad][0]:g} ({np.sum(bad)} such "
            "values): move the base point."
        )


def composed(primitive, operands, derivative, undefined=None, vjp=None, name=None):
    """Enter a function of its last operand by ``derivative(m, *args) -> f^(m)``; the operands before it are refused.

    ``undefined(*args)`` is true where there is no series.
    """
    name, last = name or primitive.__name__, len(operands) - 1

    def factory(call):
        check_operands(name, operands, call.argnums, range(last))
        args = [np.asarray(a) for a in call.args]
        if undefined is not None:
            _smooth(name, undefined, *args)
        return _elementwise(call, lambda m: derivative(m, *args))

    defrule(primitive, factory, vjp=vjp)


def _elementwise(call, derivative):
    """Derivatives, or an expansion that first brings a smaller operand to the shape of the result."""
    x, shape = call.args[-1], np.shape(call.value)
    if np.shape(x) == shape:
        return Derivatives(derivative)
    return Expansion(lambda value, *args: call.fun(*args[:-1], args[-1] * np.ones(shape)))


def _pole(x):
    return (x <= 0.0) & (x == np.floor(x))


# ---- gamma functions, DLMF 5 ----

# psi^(m) = polygamma(m), 5.15
for _psi in (asp.psi, asp.digamma):
    composed(_psi, ("x",), lambda m, x: sp.polygamma(m, x), _pole)
composed(
    asp.polygamma,
    ("n", "x"),
    lambda m, n, x: sp.polygamma(n + m, x),
    lambda n, x: _pole(x),
    vjp=slopes_vjp("polygamma", ("n", "x"), None, lambda ans, n, x: asp.polygamma(n + 1, x)),
)
# (log |Gamma|)' = psi
defrule(asp.gammaln, expansion(lambda value, x: antiderivative(value, asp.psi(x), x)))
defrule(asp.gamma, expansion(lambda value, x: from_logarithm(value, asp.gammaln(x))))


def _rgamma(call):
    """1 / Gamma is entire: at its zeros 1/Gamma(x) = x (x+1) ... (x+n-1) / Gamma(x+n)."""
    x0 = np.asarray(call.args[0])
    if not np.any(_pole(x0)):
        return Expansion(lambda value, x: from_logarithm(value, -asp.gammaln(x)))
    n = int(1 - np.floor(np.min(x0)))

    def shifted(value, x):
        y = asp.rgamma(x + n)
        for j in range(n):
            y = y * (x + j)
        return y

    return Expansion(shifted)


defrule(asp.rgamma, _rgamma, vjp=slopes_vjp("rgamma", ("x",), lambda ans, x: -ans * asp.psi(x)))


def _gammasgn(call):
    """Constant between the poles."""
    _smooth("gammasgn", _pole, np.asarray(call.args[0]))
    return Linear(lambda ws, x: None)


defrule(asp.gammasgn, _gammasgn)


def _multigammaln(value, a, d):
    """log Gamma_d(a) = d (d-1)/4 log pi + sum_{j<d} log Gamma(a - j/2), 35.3."""
    terms = asp.gammaln(anp.expand_dims(a, -1) - np.arange(d) / 2.0)
    return anp.sum(terms, axis=-1) + d * (d - 1) / 4.0 * np.log(np.pi)


defrule(asp.multigammaln, expansion(_multigammaln))


# ---- beta functions, DLMF 5.12 ----


def _betaln(value, a, b):
    """d log B = (psi(a) - psi(a+b)) da + (psi(b) - psi(a+b)) db."""
    both = asp.psi(a + b)
    return antiderivative(value, asp.psi(a) - both, a, asp.psi(b) - both, b)


defrule(asp.betaln, expansion(_betaln))
defrule(asp.beta, expansion(lambda value, a, b: value * anp.exp(_betaln(np.zeros(np.shape(value)), a, b))))


# ---- incomplete gamma and beta functions, DLMF 8.2, 8.17: slopes are the densities ----


def gamma_density(a, x):
    """x^(a-1) e^-x / Gamma(a) for a constant a; a power where some x are 0, which integer a allow."""
    if np.any(x == 0.0):
        return anp.power(x, a - 1.0) * anp.exp(-x) * sp.rgamma(a)
    return anp.exp((a - 1.0) * anp.log(x) - x - sp.gammaln(a))


def beta_density(a, b, x):
    """x^(a-1) (1-x)^(b-1) / B(a, b) for constant a and b; powers where some x are 0 or 1, which integers allow."""
    if np.any((x == 0.0) | (x == 1.0)):
        return anp.power(x, a - 1.0) * anp.power(1.0 - x, b - 1.0) / sp.beta(a, b)
    return anp.exp((a - 1.0) * anp.log(x) + (b - 1.0) * anp.log1p(-x) - sp.betaln(a, b))


def _incomplete(primitive, operands, density):
    """A function of its last operand with slope ``density(*args)``; the parameters are refused."""
    last = len(operands) - 1

    def factory(call):
        check_operands(primitive.__name__, operands, call.argnums, range(last))
        return Expansion(lambda value, *args: antiderivative(value, density(*args), args[last]))

    slopes = [None] * last + [lambda ans, *args: density(*args)]
    defrule(primitive, factory, vjp=slopes_vjp(primitive.__name__, operands, *slopes))


_incomplete(asp.gammainc, ("a", "x"), gamma_density)
_incomplete(asp.gammaincc, ("a", "x"), lambda a, x: -gamma_density(a, x))
_incomplete(asp.betainc, ("a", "b", "x"), beta_density)


# ---- error functions, DLMF 7.2, 7.17 ----

_TWO_OVER_ROOT_PI = 2.0 / np.sqrt(np.pi)
defrule(asp.erf, expansion(lambda value, x: antiderivative(value, _TWO_OVER_ROOT_PI * anp.exp(-(x**2)), x)))
defrule(asp.erfc, expansion(lambda value, x: antiderivative(value, -_TWO_OVER_ROOT_PI * anp.exp(-(x**2)), x)))


def _inverse_erf_derivative(m, y, sign):
    """y^(m) = (sign sqrt(pi)/2)^m P_m(y) exp(m y^2) with P_1 = 1, P_{m+1} = P_m' + 2 m y P_m."""
    p = np.polynomial.Polynomial([1.0])
    for i in range(1, m):
        p = p.deriv() + np.polynomial.Polynomial([0.0, 2.0 * i]) * p
    return (sign / _TWO_OVER_ROOT_PI) ** m * p(y) * np.exp(m * y**2)


composed(asp.erfinv, ("x",), lambda m, x: _inverse_erf_derivative(m, sp.erfinv(x), 1.0), lambda x: ~(np.abs(x) < 1.0))
composed(
    asp.erfcinv,
    ("x",),
    lambda m, x: _inverse_erf_derivative(m, sp.erfcinv(x), -1.0),
    lambda x: ~((x > 0.0) & (x < 2.0)),
)


# ---- logsumexp ----


def _shifted_exp(y, x, axis, b, keepdims):
    """``b exp(x - c)``, whose terms sum to about 1, and the constant c: a whole number near y."""
    c = np.asarray(anp.floor(y))  # a step function, which no trace follows
    c = np.where(np.isfinite(c), c, 0.0)
    p = anp.exp(x - (c if keepdims or axis is None else np.expand_dims(c, axis)))
    return p if b is None else b * p, c


def _logsumexp(value, x, axis=None, b=None, keepdims=False):
    """y = c + log sum b exp(x - c)."""
    p, c = _shifted_exp(value, x, axis, b, keepdims)
    return c + anp.log(anp.sum(p, axis=axis, keepdims=keepdims))


_LOGSUMEXP = ("a", "axis", "b", "keepdims")


def _logsumexp_vjp(argnums, ans, args, kwargs):
    """The weights as ratios: exp(x - y) would need the series of y, a logarithm and a second exponential."""
    given = {**dict(zip(_LOGSUMEXP, args, strict=False)), **kwargs}
    x, axis, b, keepdims = given["a"], given.get("axis"), given.get("b"), given.get("keepdims", False)

    def vjp(g):
        check_operands("logsumexp", _LOGSUMEXP, argnums, (1, 3))
        p, _ = _shifted_exp(ans, x, axis, None, keepdims)
        terms = p if b is None else b * p
        total = anp.sum(terms, axis=axis, keepdims=True)
        spread = g if keepdims or axis is None else anp.expand_dims(g, axis)
        return tuple(unbroadcast(spread * (p if i == 2 else terms) / total, anp.metadata(args[i])) for i in argnums)

    return vjp


def _logsumexp_rule(call):
    check_operands("logsumexp", _LOGSUMEXP, call.argnums, (1, 3))
    return Expansion(_logsumexp)


defrule(asp.logsumexp, _logsumexp_rule, vjp=_logsumexp_vjp)
