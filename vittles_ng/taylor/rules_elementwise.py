"""Rules of arithmetic and elementary functions, elementwise with broadcasting.

Recurrences: Griewank & Walther (2008), table 13.2; each stands above its kernel.
"""

import autograd.numpy as anp
import numpy as np
from autograd.numpy.numpy_vjps import unbroadcast

from ..errors import NonSmoothError
from .primitives import isbox
from .rules import Expansion, Linear, Nonlinear, defrule, elementwise_linear, expansion
from .series import lift, product_sum, self_product


def _shape(call):
    return np.shape(call.value)


def _full(c, shape):
    """A coefficient with every axis of the result."""
    return c if c.shape[1:] == shape else np.broadcast_to(c, c.shape[:1] + shape)


# ---- linear ----


def _add(sign_a, sign_b):
    """y_k = s_a a_k + s_b b_k."""

    def factory(call):
        shape, signs = _shape(call), (sign_a, sign_b)
        ndim = len(shape)
        signs = [signs[i] for i in call.argnums]

        def apply(ws, *xs):
            total = None
            for sign, x in zip(signs, xs, strict=True):
                if x is None:
                    continue
                x = lift(x, ndim, 1)
                if total is not None and sign < 0:
                    total = ws.subtract(total, x)
                else:
                    total = ws.add(total, ws.scale(x, sign))
            return _full(total, shape)

        return Linear(apply, in_workspace=True)

    return factory


defrule(anp.add, _add(1, 1))
defrule(anp.subtract, _add(1, -1))
defrule(anp.negative, elementwise_linear(-1.0))
for _fun in {anp.deg2rad, anp.radians}:
    defrule(_fun, elementwise_linear(np.pi / 180.0))
for _fun in {anp.rad2deg, anp.degrees}:
    defrule(_fun, elementwise_linear(180.0 / np.pi))


# ---- products and quotients ----


class Square(Nonlinear):
    """y_k = sum_{i+j=k} x_i x_j, each product once."""

    in_workspace = True

    def coefficient(self, ws, k, x, y, aux):
        return self_product(ws, x[0], k)

    def tangent(self, ws, dx, x0, y0):
        out = ws.multiply(x0[0], dx[0])
        return ws.run(np.multiply, out, 2.0, out)


class Product(Nonlinear):
    """y_k = sum_{j=0..k} a_j b_{k-j}."""

    in_workspace = True

    def __init__(self, factors, shape):
        ndim = len(shape)
        self.ndims = tuple(ndim if f.ndim < ndim else None for f in factors)
        self.lifts = any(n is not None for n in self.ndims)
        # weights are ones at the fit as it was: half of the products with order 0 then need not be formed
        self.is_one = tuple(f.shape == shape and bool(np.all(f == 1.0)) for f in factors)

    def coefficient(self, ws, k, x, y, aux):
        a, b = x
        if self.lifts:
            a, b = (
                c if n is None else [lift(c_j, n, j) for j, c_j in enumerate(c)]
                for c, n in zip((a, b), self.ndims, strict=True)
            )
        inner = product_sum(ws, a, b, k, 1, k - 1)
        return ws.add(inner, self._ends(ws, a[k], b[k], a[0], b[0]))

    def tangent(self, ws, dx, x0, y0):
        da, db = (d if n is None else lift(d, n, 1) for d, n in zip(dx, self.ndims, strict=True))
        return self._ends(ws, da, db, *x0)

    def _ends(self, ws, da, db, a0, b0):
        """da b_0 + a_0 db."""
        left = da if da is None or self.is_one[1] else ws.multiply(da, b0)
        right = db if db is None or self.is_one[0] else ws.multiply(a0, db)
        return ws.add(left, right)


def _multiply(call):
    shape = _shape(call)
    if len(call.argnums) == 2:
        if call.same == (0, 0):
            return Square()
        return Product(call.traced, shape)
    return _scale(np.asarray(call.args[1 - call.argnums[0]]), shape)


def _scale(constant, shape):
    """y_k = c x_k for a constant array."""
    if constant.shape == shape and np.all(constant == 1.0):
        # reverse mode multiplies by the ones that it starts from; other ones broadcast
        return Linear(lambda ws, x: x if x.shape[1:] == shape else _full(lift(x, len(shape), 1), shape))
    if constant.ndim == 0:
        constant = constant[()]
    ndim = len(shape)

    def apply(ws, x):
        x = lift(x, ndim, 1)
        out_shape = np.broadcast_shapes(x.shape, np.shape(constant))
        out = ws.empty(out_shape, np.result_type(x, constant))
        return _full(ws.run(np.multiply, x, constant, out), shape)

    return Linear(apply, in_workspace=True)


defrule(anp.multiply, _multiply)


class Division(Nonlinear):
    """y_k = (a_k - sum_{j=1..k} b_j y_{k-j}) / b_0, where y = a / b; a constant when only b is traced."""

    reads_result = True
    in_workspace = True

    def __init__(self, call):
        self.with_a = call.argnums == (0, 1)
        self.ndim = len(_shape(call))
        self.shape = _shape(call)
        self.inverse = 1.0 / np.asarray(call.args[1])

    def coefficient(self, ws, k, x, y, aux):
        b = [lift(b_j, self.ndim, j) for j, b_j in enumerate(x[-1])]
        total = product_sum(ws, b, y + [None], k, 1, k)
        if total is not None:
            ws.run(np.multiply, total, -1.0, total)
        if self.with_a:
            total = ws.add(total, lift(x[0][k], self.ndim, k))
        return None if total is None else _full(ws.multiply(total, self.inverse), self.shape)

    def tangent(self, ws, dx, x0, y0):
        total = None
        if dx[-1] is not None:
            total = ws.multiply(lift(dx[-1], self.ndim, 1), y0)
            ws.run(np.multiply, total, -1.0, total)
        if self.with_a and dx[0] is not None:
            total = ws.add(total, lift(dx[0], self.ndim, 1))
        return _full(ws.multiply(total, self.inverse), self.shape)


def _divide(call):
    if call.argnums == (0,):
        return _scale(1.0 / np.asarray(call.args[1]), _shape(call))
    return Division(call)


for _fun in {anp.divide, anp.true_divide}:
    defrule(_fun, _divide)
defrule(anp.reciprocal, expansion(lambda value, x: 1.0 / x))
defrule(anp.square, lambda call: Square())


# ---- powers ----


class Power(Nonlinear):
    """x y' = p y x':  k x_0 y_k = sum_{j=1..k} ((p + 1) j - k) x_j y_{k-j}, for x_0 != 0."""

    reads_result = True
    in_workspace = True

    def __init__(self, p, x0, y0):
        self.p, self.inverse, self.slope = p, 1.0 / x0, p * y0 / x0

    def coefficient(self, ws, k, x, y, aux):
        (x,) = x
        total = None
        for j in range(1, k):
            if x[j] is not None and y[k - j] is not None:
                term = ws.multiply(x[j], y[k - j])
                total = ws.add(total, ws.run(np.multiply, term, ((self.p + 1.0) * j - k) / k, term))
        if total is not None:
            total = ws.multiply(total, self.inverse)
        return total if x[k] is None else ws.add(total, ws.multiply(x[k], self.slope))

    def tangent(self, ws, dx, x0, y0):
        return ws.multiply(dx[0], self.slope)


def _integer_power(x, p):
    """x**p for an integer p >= 0 by squaring: a polynomial, no division by x_0."""
    result, square = None, x
    while p:
        if p & 1:
            result = square if result is None else result * square
        p >>= 1
        if p:
            square = anp.square(square)
    return result


def _power(call):
    base, exponent = call.args[:2]
    if 1 in call.argnums:
        return _traced_exponent(call)
    exponent = np.asarray(exponent, dtype=float)
    exponents = np.unique(exponent)
    if exponents.size == 1:
        p = exponents[0]
        if p == 2.0:
            return Square() if _shape(call) == np.shape(base) else Expansion(lambda v, x, e: anp.square(x) + 0.0 * e)
        if p == 1.0 or p == 0.0:
            return Expansion(lambda value, x, e: x * np.ones(np.shape(e)) if p else np.ones(np.shape(value)))
        if p == -1.0:
            return Expansion(lambda value, x, e: np.ones(np.shape(e)) / x)
    if not np.any(base == 0.0):
        if exponent.ndim == 0 or exponent.shape == np.shape(base):
            return Power(exponent[()] if exponent.ndim == 0 else exponent, base, call.value)
        return Expansion(lambda value, x, e: anp.power(x * np.ones(np.shape(e)), e * np.ones(np.shape(value))))
    at_zero = np.broadcast_to(exponent, _shape(call))[np.broadcast_to(base == 0.0, _shape(call))]
    if np.any((at_zero != np.floor(at_zero)) | (at_zero < 0)):
        raise NonSmoothError(
            f"power: x ** {at_zero[0]:g} at x = 0 has no Taylor series: move the base point, or add a small constant."
        )
    return Expansion(_power_with_zeros)


def _power_with_zeros(value, x, exponent):
    """Integer powers by squaring, the rest by the recurrence, where some x_0 are zero."""
    result = np.zeros(np.shape(value))
    for p in np.unique(exponent):
        here = np.asarray(exponent) == p
        if p == np.floor(p) and p >= 0:
            part = _integer_power(x, int(p)) if p else np.ones(np.shape(value))
        else:
            part = anp.power(anp.where(here & (x != 0.0), x, 1.0), p)
        result = anp.where(here, part, result)
    return result


def _traced_exponent(call):
    """x**y = exp(y log x) for x > 0; 0**y = 0 for y > 0 and a constant 0."""
    x0, y0 = np.broadcast_arrays(*call.args[:2])
    zero = x0 == 0.0
    if np.any(x0 < 0.0):
        raise NonSmoothError(
            f"power: {np.min(x0):.3g} ** y with a traced exponent is not real around the base point: "
            "use a positive base."
        )
    if not np.any(zero):
        return Expansion(lambda value, x, y: anp.exp(y * anp.log(x)))
    if 0 in call.argnums or np.any(y0[zero] <= 0.0):
        raise NonSmoothError("power: x ** y at x = 0 has no Taylor series in both: move the base point.")
    log_x = np.log(np.where(zero, 1.0, x0))
    return Expansion(lambda value, x, y: anp.where(zero, 0.0, anp.exp(y * log_x)))


def _power_vjp(argnums, ans, args, kwargs):
    """d x**y = y x**(y-1) dx + log(x) x**y dy; autograd's own tests y == 0, which fixes a traced y there."""
    x, y = args

    def of_base(g):
        exponent = y - 1.0 if isbox(y) else np.where(np.asarray(y) != 0.0, np.asarray(y, dtype=float) - 1.0, 1.0)
        return unbroadcast(g * y * x**exponent, anp.metadata(x))

    def of_exponent(g):
        # a constant zero base gives a constant zero; a traced one is refused by the rule of the power
        safe = x if isbox(x) else np.where(np.asarray(x) == 0.0, 1.0, x)
        return unbroadcast(g * anp.log(safe) * ans, anp.metadata(y))

    makers = (of_base, of_exponent)
    return lambda g: tuple(makers[i](g) for i in argnums)


defrule(anp.power, _power, vjp=_power_vjp)
