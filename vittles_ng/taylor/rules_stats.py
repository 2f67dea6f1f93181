"""Rules of ``autograd.scipy.stats``: densities are spelled out, distribution functions are their antiderivatives.

The continuous univariate families are one table: a standard log-density, its slope in z and in each shape parameter;
``loc`` and ``scale`` act through ``z = (x - loc) / scale``. The same formulas are the VJPs while recording: autograd's
have no slope in some operands, and the one of ``chi2.logpdf`` is 0 for df that is no integer.

At an end of the support (gamma at z = 0, beta at 0 and 1) a density has no series in x, loc or a shape parameter.
"""

import math

import autograd.numpy as anp
import autograd.scipy.special as asp
import autograd.scipy.stats as ast
import numpy as np
import scipy.special as sp
from autograd.numpy.numpy_vjps import unbroadcast

from ..errors import DataError, NonSmoothError
from .primitives import antiderivative, isbox, log_antiderivative
from .rules import Expansion, defrule
from .rules_normal_tail import inverse_mills, log_ndtr
from .rules_special import check_operands, from_logarithm, slopes_vjp

_LOG_2PI = math.log(2.0 * math.pi)


# ---- continuous univariate families ----


def _left_out(c, z, end):
    """Where a constant coefficient 0 meets the singular point ``z = end``: the term is 0 there."""
    return np.zeros(()) if isbox(c) else (np.asarray(c) == 0.0) & np.asarray(z == end)


def _times_log(c, z, log=anp.log, end=0.0):
    """c log z, which is 0 for a constant c = 0 even at z = 0."""
    out = _left_out(c, z, end)
    if not np.any(out):
        return c * log(z)
    return anp.where(out, 0.0, c * log(anp.where(out, 0.5, z)))


def _ratio(c, z):
    """c / z, which is 0 for a constant c = 0 even at z = 0."""
    out = _left_out(c, z, 0.0)
    if not np.any(out):
        return c / z
    return anp.where(out, 0.0, c / anp.where(out, 0.5, z))


def _over(c, scale):
    return c if not isbox(scale) and np.ndim(scale) == 0 and scale == 1.0 else c / scale


class Family:
    """Density ``f(z; shapes) / scale`` at ``z = (x - loc) / scale``.

    Parameters
    ----------
    name : str
        The module of ``autograd.scipy.stats``.
    shapes : tuple of str
    log_density, slope : callable
        ``log f(z, *shapes)`` and its derivative in z.
    shape_slopes : tuple of callable
        Its derivatives in the shape parameters.
    ends : tuple of float
        Finite ends of the support of z.
    """

    def __init__(self, name, shapes, log_density, slope, shape_slopes=(), ends=()):
        self.name, self.module, self.ends = name, getattr(ast, name), ends
        self.operands = ("x", *shapes, "loc", "scale")
        self.log_density, self.slope, self.shape_slopes = log_density, slope, shape_slopes
        defrule(self.module.logpdf, self._density_rule("logpdf", self._log_pdf), vjp=self._vjp("logpdf"))
        defrule(self.module.pdf, self._density_rule("pdf", self._pdf), vjp=self._vjp("pdf"))
        self.integral("cdf", lambda value, z, *shapes: antiderivative(value, self.module.pdf(z, *shapes), z))

    def integral(self, what, rule, slope=None):
        """Enter a distribution function: ``rule(value, z, *shapes)``, and its slope ``(ans, z, *shapes)`` in z."""

        def factory(call):
            check_operands(f"{self.name}.{what}", self.operands, call.argnums, self._shape_positions)
            return Expansion(lambda value, *args, **kwargs: rule(value, *self._standard(args, kwargs)[:-1]))

        slope = slope or (lambda ans, z, *shapes: self.module.pdf(z, *shapes))
        defrule(getattr(self.module, what), factory, vjp=self._vjp(what, slope))

    @property
    def _shape_positions(self):
        return range(1, len(self.operands) - 2)

    def _standard(self, args, kwargs):
        """z, the shapes and the scale of a call."""
        given = {"loc": 0.0, "scale": 1.0, **dict(zip(self.operands, args, strict=False)), **kwargs}
        loc, scale = given["loc"], given["scale"]
        moved = isbox(loc) or np.ndim(loc) or loc != 0.0
        z = _over(given["x"] - loc if moved else given["x"], scale)
        return z, *(given[self.operands[i]] for i in self._shape_positions), scale

    def _check_ends(self, what, argnums, z):
        moving = [i for i in argnums if self.operands[i] != "scale"]
        for end in self.ends if moving else ():
            n = int(np.sum(np.asarray(z == end)))
            if n:
                raise NonSmoothError(
                    f"{self.name}.{what} has no Taylor series in '{self.operands[moving[0]]}' at the end {end:g} "
                    f"of the support ({n} such values): move the base point, or drop those rows."
                )

    def _density_rule(self, what, fun):
        def factory(call):
            self._check_ends(what, call.argnums, self._standard(call.args, call.kwargs)[0])
            return Expansion(fun)

        return factory

    def _log_pdf(self, value, *args, **kwargs):
        *z_and_shapes, scale = self._standard(args, kwargs)
        out = self.log_density(*z_and_shapes)
        return out - anp.log(scale) if isbox(scale) or np.any(scale != 1.0) else out

    def _pdf(self, value, *args, **kwargs):
        return from_logarithm(value, self._log_pdf(None, *args, **kwargs))

    def _vjp(self, what, integral_slope=None):
        """With s the slope in z: s/scale in x, -s/scale in loc, -(z s + 1)/scale in scale (no 1 for an integral)."""

        def vjp(argnums, ans, args, kwargs):
            z, *shapes, scale = self._standard(args, kwargs)
            if integral_slope is None:
                self._check_ends(what, argnums, z)

            def partial(i):
                name = self.operands[i]
                if i in self._shape_positions:
                    return self.shape_slopes[i - 1](z, *shapes)
                s = integral_slope(ans, z, *shapes) if integral_slope else self.slope(z, *shapes)
                if name == "scale":
                    s = z * s if integral_slope else z * s + 1.0
                return _over(s if name == "x" else -s, scale)

            def to(i, g):
                if integral_slope:
                    check_operands(f"{self.name}.{what}", self.operands, (i,), self._shape_positions)
                w = ans * partial(i) if what == "pdf" else partial(i)
                return unbroadcast(g * w, anp.metadata(args[i]))

            return lambda g: tuple(to(i, g) for i in argnums)

        return vjp


# norm: log f = -z^2/2 - log(2 pi)/2
_NORM = Family("norm", (), lambda z: -0.5 * (z * z + _LOG_2PI), lambda z: -z)
_NORM.integral("sf", lambda value, z: antiderivative(value, -ast.norm.pdf(z), z), lambda ans, z: -ast.norm.pdf(z))
_NORM.integral("logcdf", lambda value, z: log_ndtr(z), lambda ans, z: inverse_mills(z))
_NORM.integral("logsf", lambda value, z: log_ndtr(-z), lambda ans, z: -inverse_mills(-z))

# gamma: log f = (a - 1) log z - z - log Gamma(a)
Family(
    "gamma",
    ("a",),
    lambda z, a: _times_log(a - 1.0, z) - z - asp.gammaln(a),
    lambda z, a: _ratio(a - 1.0, z) - 1.0,
    (lambda z, a: anp.log(z) - asp.psi(a),),
    ends=(0.0,),
)

# chi2: log f = (df/2 - 1) log z - z/2 - df/2 log 2 - log Gamma(df/2)
Family(
    "chi2",
    ("df",),
    lambda z, df: _times_log(0.5 * df - 1.0, z) - 0.5 * z - 0.5 * math.log(2.0) * df - asp.gammaln(0.5 * df),
    lambda z, df: _ratio(0.5 * df - 1.0, z) - 0.5,
    (lambda z, df: 0.5 * (anp.log(0.5 * z) - asp.psi(0.5 * df)),),
    ends=(0.0,),
)

# beta: log f = (a - 1) log z + (b - 1) log(1 - z) - log B(a, b)
Family(
    "beta",
    ("a", "b"),
    lambda z, a, b: _times_log(a - 1.0, z) + _times_log(b - 1.0, z, lambda z: anp.log1p(-z), 1.0) - asp.betaln(a, b),
    lambda z, a, b: _ratio(a - 1.0, z) - _ratio(b - 1.0, 1.0 - z),
    (
        lambda z, a, b: anp.log(z) - asp.psi(a) + asp.psi(a + b),
        lambda z, a, b: anp.log1p(-z) - asp.psi(b) + asp.psi(a + b),
    ),
    ends=(0.0, 1.0),
)


# t: log f = log Gamma((df + 1)/2) - log Gamma(df/2) - log(pi df)/2 - (df + 1)/2 log(1 + z^2/df)
def _t_log_density(z, df):
    if np.any(np.asarray(df == np.inf)):
        raise NonSmoothError("t: df = inf is the normal distribution and has no series here: use norm.")
    half = 0.5 * (df + 1.0)
    constant = asp.gammaln(half) - asp.gammaln(0.5 * df) - 0.5 * anp.log(np.pi * df)
    return constant - half * anp.log1p(z * z / df)


def _t_slope_df(z, df):
    zz, half = z * z, 0.5 * df
    digammas = asp.psi(half + 0.5) - asp.psi(half)
    return 0.5 * (digammas - anp.log1p(zz / df) + (zz - 1.0) / (zz + df))


def _t_logcdf(value, z, df):
    z = z + np.zeros(np.shape(value))
    return log_antiderivative(value, ast.t.logpdf(z, df), z)


_T = Family("t", ("df",), _t_log_density, lambda z, df: -(df + 1.0) * z / (df + z * z), (_t_slope_df,))
_T.integral("logcdf", _t_logcdf, lambda ans, z, df: anp.exp(ast.t.logpdf(z, df) - ans))


# ---- poisson: log p = k log mu - mu - log k! ----

_POISSON = ("k", "mu", "loc")


def _counts(what, args, kwargs, negative):
    """The counts k - loc and mu of a call; counts that are none are refused."""
    given = {"loc": 0, **dict(zip(_POISSON, args, strict=False)), **kwargs}
    k = np.asarray(given["k"]) - given["loc"]
    bad = (k != np.floor(k)) if negative else (k != np.floor(k)) | (k < 0)
    if np.any(bad):
        raise DataError(
            f"poisson.{what}: {np.sum(bad)} of {k.size} counts are not {'' if negative else 'non-negative '}integers "
            f"(the first is {k[bad].ravel()[0]:g}): its value there is constant; drop those rows."
        )
    return np.maximum(k, 0.0), given["mu"]


def _poisson(what, fun, slope):
    """Enter ``fun(value, *args, **kwargs)``, a function of mu alone, with ``slope(ans, *args, **kwargs)``."""
    name = f"poisson.{what}"

    def factory(call):
        check_operands(name, _POISSON, call.argnums, (0, 2))
        return Expansion(fun)

    defrule(getattr(ast.poisson, what), factory, vjp=slopes_vjp(name, _POISSON, None, slope, None))


def _poisson_log(value, *args, what="logpmf", negative=False, **kwargs):
    k, mu = _counts(what, args, kwargs, negative)
    return _times_log(k, mu) - mu - sp.gammaln(k + 1.0)


def _poisson_pmf(value, *args, **kwargs):
    return from_logarithm(value, _poisson_log(None, *args, what="pmf", negative=True, **kwargs))


def _poisson_slope(ans, *args, what="logpmf", negative=False, **kwargs):
    k, mu = _counts(what, args, kwargs, negative)
    return _ratio(k, mu) - 1.0


def _poisson_cdf_slope(ans, k, mu, loc=0):
    return -ast.poisson.pmf(np.floor(np.asarray(k) - loc), mu)


_poisson("logpmf", _poisson_log, _poisson_slope)
_poisson(
    "pmf",
    _poisson_pmf,
    lambda ans, *args, **kwargs: ans * _poisson_slope(ans, *args, what="pmf", negative=True, **kwargs),
)
_poisson(
    "cdf",
    lambda value, k, mu, loc=0: antiderivative(value, _poisson_cdf_slope(None, k, mu, loc), mu),
    _poisson_cdf_slope,
)
