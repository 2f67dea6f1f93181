"""Kernels that solve a differential equation in the series' parameter, or compose a known function with a series.

A coefficient of order k follows from lower ones; the recurrence stands in each class. Source: Griewank & Walther,
"Evaluating Derivatives" (2008), section 13.2.
"""

import numpy as np

from .rules import Nonlinear
from .series import add_to, lift, product_sum

__all__ = ["Antiderivative", "Derivatives", "Integral", "LogAntiderivative", "Quotient"]


class Integral(Nonlinear):
    """``y' = w(x, y) x'``: ``k y_k = sum_{j=1..k} j x_j w_{k-j}``, elementwise in one operand.

    ``w`` is needed to order k - 1 only, when every coefficient of that order is final: it is extended lazily and never
    needs a correction.

    Parameters
    ----------
    w0 : ndarray
        Order 0 of the weight.
    weight : callable
        ``weight(ws, j, x, y, w) -> w_j`` for j >= 1, from ``x_0..x_j``, ``y_0..y_j`` and ``w_0..w_{j-1}``.
    """

    reads_result = True
    tangent_is_own = True
    in_workspace = True

    def __init__(self, w0, weight):
        self.w0, self.weight = w0, weight

    def start(self):
        return [self.w0], [None]

    def coefficient(self, ws, k, x, y, aux):
        (x,) = x
        w, slopes = aux  # slopes: j x_j
        for j in range(len(w), k):
            w.append(self.weight(ws, j, x, y, w))
            slopes.append(ws.scale(x[j], j))
        total = product_sum(ws, slopes, w, k, 1, k - 1)
        if total is not None:
            ws.run(np.multiply, total, 1.0 / k, total)
        return total if x[k] is None else add_to(ws, total, ws.multiply(x[k], self.w0))

    def tangent(self, ws, dx, x0, y0):
        return ws.multiply(dx[0], self.w0)


class Antiderivative(Nonlinear):
    """``y' = sum_i w_i(x, y) x_i'``: ``k y_k = sum_i sum_{j=1..k} j x_{i,j} w_{i,k-j}``.

    ``w`` is needed to order k - 1 only, when every coefficient of that order is final: it is extended lazily and never
    needs a correction.

    Parameters
    ----------
    w0 : tuple of ndarray
        Order 0 of the weights.
    weight : callable
        ``weight(ws, i, j, x, y, w) -> w_{i,j}`` for j >= 1, from ``x_0..x_j``, ``y_0..y_j`` and ``w_0..w_{j-1}``
        (``w`` the list of the weights' series).
    pairs : tuple of int, optional
        Which operand goes with weight i; default operand i.
    reads_result : bool
        Whether ``weight`` reads ``y``.
    """

    in_workspace = True

    def __init__(self, w0, weight, reads_result=True, pairs=None, ndim=None):
        self.w0, self.weight, self.reads_result = w0, weight, reads_result
        self.pairs = tuple(range(len(w0))) if pairs is None else pairs
        self.ndim = ndim

    def start(self):
        return [[w] for w in self.w0], [[None] for _ in self.w0]

    def coefficient(self, ws, k, x, y, aux):
        weights, slopes = aux  # slopes: j x_j
        total = None
        for i, p in enumerate(self.pairs):
            w, s = weights[i], slopes[i]
            for j in range(len(w), k):
                w.append(self.weight(ws, i, j, x, y, weights))
            for j in range(len(s), k):
                s.append(ws.scale(self._lift(x[p][j], j), j))
            total = add_to(ws, total, product_sum(ws, s, w, k, 1, k - 1))
        if total is not None:
            ws.run(np.multiply, total, 1.0 / k, total)
        return add_to(ws, total, self.tangent(ws, [xs[k] for xs in x], None, None))

    def tangent(self, ws, dx, x0, y0):
        total = None
        for w, p in zip(self.w0, self.pairs, strict=True):
            if dx[p] is not None:
                total = add_to(ws, total, ws.multiply(w, self._lift(dx[p], 1)))
        return total

    def _lift(self, c, k):
        return c if self.ndim is None else lift(c, self.ndim, k)


class Quotient(Nonlinear):
    """``w(x) y' = x'``: ``y_k = (x_k - 1/k sum_{j=1..k-1} j y_j w_{k-j}) / w_0``.

    Parameters
    ----------
    w0 : ndarray
        Order 0 of the weight.
    weight : callable
        ``weight(ws, j, x, w) -> w_j`` for j >= 1.
    """

    reads_result = True
    in_workspace = True

    def __init__(self, w0, weight):
        self.inverse, self.w0, self.weight = 1.0 / w0, w0, weight

    def start(self):
        return [self.w0], [None]

    def coefficient(self, ws, k, x, y, aux):
        (x,) = x
        w, slopes = aux
        for j in range(len(w), k):
            w.append(self.weight(ws, j, x, w))
            slopes.append(ws.scale(y[j], j))
        total = product_sum(ws, slopes, w, k, 1, k - 1)
        if total is not None:
            ws.run(np.multiply, total, -1.0 / k, total)
        if total is None:
            return None if x[k] is None else ws.multiply(x[k], self.inverse)
        total = add_to(ws, total, x[k])
        return ws.run(np.multiply, total, self.inverse, total)

    def tangent(self, ws, dx, x0, y0):
        return ws.multiply(dx[0], self.inverse)


class Derivatives(Nonlinear):
    """``y = f(x)`` from the derivatives of ``f`` at ``x_0``:  ``y_k = sum_{m=1..k} f^(m)(x_0)/m! [(x - x_0)^m]_k``.

    The powers of ``x - x_0`` start at order m, so those with m >= 2 need only ``x_1..x_{k-1}``.

    Parameters
    ----------
    derivative : callable
        ``derivative(m) -> f^(m)(x_0)``, elementwise, for m >= 1; called once for each m.
    """

    in_workspace = True

    def __init__(self, derivative):
        self.derivative = derivative
        self._scaled = {}

    def _factor(self, m):
        # computed once and kept: equal in every replay, so a race between threads is harmless
        if m not in self._scaled:
            factorial = 1.0
            for i in range(2, m + 1):
                factorial *= i
            self._scaled[m] = self.derivative(m) / factorial
        return self._scaled[m]

    def start(self):
        return {}

    def coefficient(self, ws, k, x, y, aux):
        (x,) = x
        total = self.tangent(ws, (x[k],), None, None)
        for m in range(2, k + 1):
            lower = x if m == 2 else aux[m - 1]
            power = aux.setdefault(m, [None] * m)  # [(x - x_0)^m]_j, zero for j < m
            # [(x - x_0)^m]_k = sum_{j=1..k-m+1} x_j [(x - x_0)^{m-1}]_{k-j}
            while len(power) <= k:
                j = len(power)
                power.append(product_sum(ws, x, lower, j, 1, j - m + 1))
            if power[k] is not None:
                total = add_to(ws, total, ws.multiply(self._factor(m), power[k]))
        return total

    def tangent(self, ws, dx, x0, y0):
        return None if dx[0] is None else ws.multiply(self._factor(1), dx[0])


class LogAntiderivative(Nonlinear):
    """``y' = exp(u - y) x'``: a logarithm of an integral, ``u`` the log-density (logcdf, logsf), safe in the tails.

    With ``e = exp(u - y)``: ``k y_k = sum_j j x_j e_{k-j}`` and ``k e_k = sum_j j (u_j - y_j) e_{k-j}``. ``sign`` is -1
    for a survival function. Operands: ``u`` and ``x``.
    """

    reads_result = True

    def __init__(self, u0, y0, sign):
        self.e0, self.sign = np.exp(u0 - y0), sign

    def start(self):
        return [self.e0], [None], [None]

    def coefficient(self, ws, k, x, y, aux):
        u, x = x
        e, slopes, rates = aux
        for j in range(len(e), k):
            slopes.append(ws.scale(x[j], j))
            minus_y = None if y[j] is None else np.negative(y[j], out=ws.empty(y[j].shape))
            rates.append(ws.scale(ws.add(u[j], minus_y), j))
            e_j = product_sum(ws, rates, e, j, 1, j)
            e.append(None if e_j is None else np.multiply(e_j, 1.0 / j, out=e_j))
        total = product_sum(ws, slopes, e, k, 1, k - 1)
        if total is not None:
            total = np.multiply(total, self.sign / k, out=total)
        return add_to(ws, total, self.tangent(ws, (None, x[k]), None, None))

    def tangent(self, ws, dx, x0, y0):
        if dx[1] is None:
            return None
        out = ws.multiply(self.e0, dx[1])
        return np.multiply(out, self.sign, out=out)
