"""Rules of eigenvectors and singular vectors.

Gauge: the signs of eigenvectors and singular vectors are those NumPy chose at order 0, and the series continues them
(``V_0^T V_k`` has on its diagonal only what keeps the length of the columns 1). Where two values coincide the vectors
have no series: :class:`~vittles_ng.errors.RepeatedEigenvalueError` names the gap when it is at most 1e-10 of the
largest value. It is raised for functions of the values alone too: a value that meets another has a kink in general.
``eigh`` reads one triangle, as NumPy does: the other changes neither value nor series nor gradient.

Sources: Giles, "An extended collection of matrix derivative results" (2008), sections 3.1-3.2; Andrew & Tan, SIAM J.
Matrix Anal. Appl. 20 (1998) 78 (derivatives of eigenvectors of every order).
"""

import autograd.numpy as anp
import numpy as np

from ..errors import MissingRuleError, NonSmoothError, RepeatedEigenvalueError
from .primitives import isbox, plain
from .rules import Expansion, Nonlinear, defrule
from .rules_linalg import lower_symmetric, matmul_sum, options, refuse_complex, transpose

_SMALLEST_GAP = 1e-10  # of the largest value: at order k the coefficients grow like gap**-k
_EPS = np.finfo(float).eps


def _check_gaps(what, values):
    """Raise where two of the (sorted) values in the last axis coincide."""
    values = np.asarray(values)
    if values.shape[-1] < 2 or values.size == 0:
        return
    gaps = np.abs(np.diff(values, axis=-1))
    scale = np.max(np.abs(values), axis=-1, keepdims=True)
    where = np.unravel_index(np.argmin(gaps - _SMALLEST_GAP * scale), gaps.shape)
    if np.any(gaps <= _SMALLEST_GAP * scale):
        i = where[-1]
        raise RepeatedEigenvalueError(
            f"{what} {i} and {i + 1} coincide: the gap is {gaps[where]:.1e} where the largest is "
            f"{scale[where[:-1]].item():.1e}, and they have no Taylor series there. Move the base point, or use a "
            "symmetric function of them (trace, slogdet, sum of squares)."
        )


def _diagonal(m):
    return np.diagonal(m, axis1=-2, axis2=-1).copy()  # a view would keep all of m


def _with_diagonal(m, d):
    """``m`` with its diagonal replaced; ``m`` is overwritten."""
    n = m.shape[-1]
    m[..., np.arange(n), np.arange(n)] = d
    return m


def _column_products(series, k):
    """``1/2 diag(sum_{j=1..k-1} C_j^T C_{k-j})``, what earlier orders add to the squared length of the columns."""
    total = 0.0
    for j in range(1, k):
        if series[j] is not None and series[k - j] is not None:
            total = total + 0.5 * np.sum(series[j] * series[k - j], axis=-2)
    return total


def _entry(container, key):
    return None if container is None else container.get(key)


def _negative_scaled(m, s):
    """``-m diag(s)``; None where either is zero."""
    return None if m is None or s is None else -m * s[..., None, :]


def _plus(a, b):
    return b if a is None else a if b is None else a + b


# ---- eigh ----


class Eigh(Nonlinear):
    """A V = V diag(w), V^T V = I, in the basis of order 0: V = V_0 C, B = V_0^T A V_0, C_0 = I.

    M = sum_{j=1..k} B_j C_{k-j} - sum_{j=1..k-1} C_{k-j} diag(w_j);  w_k = diag(M);  (C_k)_il = M_il / (w_l - w_i);
    (C_k)_ii = -1/2 sum_{j=1..k-1} (C_j^T C_{k-j})_ii.
    """

    reads_result = True

    def __init__(self, w, v, lower):
        n = w.shape[-1]
        self.v, self.vt, self.lower, self.identity = v, transpose(v), lower, np.eye(n)
        off = 1.0 - self.identity
        self.inverse_gap = off / (w[..., None, :] - w[..., :, None] + self.identity)

    def start(self):
        return [None], [self.identity]  # B (whose order 0 is not read) and C

    def _turn(self, a):
        return None if a is None else self.vt @ lower_symmetric(a, self.lower) @ self.v

    def coefficient(self, ws, k, x, y, aux):
        b, c = aux
        for j in range(len(b), k):
            b.append(self._turn(x[0][j]))
            v = _entry(y[j], 1)
            c.append(None if v is None else self.vt @ v)
        m = matmul_sum([*b, self._turn(x[0][k])], [*c, None], k, 1, k)
        for j in range(1, k):
            m = _plus(m, _negative_scaled(c[k - j], _entry(y[j], 0)))
        if m is None:
            return None
        c_k = _with_diagonal(m * self.inverse_gap, -_column_products(c, k))
        return {0: _diagonal(m), 1: self.v @ c_k}

    def tangent(self, ws, dx, x0, y0):
        m = self._turn(dx[0])
        return {0: _diagonal(m), 1: self.v @ (m * self.inverse_gap)}


def _reads_lower(args, kwargs):
    return options(args, kwargs, 1, UPLO="L")["UPLO"].upper() == "L"


def _eigh(call):
    refuse_complex(call)
    w, v = call.value
    _check_gaps("eigh: eigenvalues", w)
    return Eigh(w, v, _reads_lower(call.args, call.kwargs))


def _eigh_vjp(argnums, ans, args, kwargs):
    """``V (diag(g_w) + F * (V^T g_V)) V^T`` folded into the triangle that is read, ``F_ij = 1 / (w_j - w_i)``.

    autograd's own leaves out the part of V where g_V happens to be zero at the base point.
    """
    w, v = ans
    _check_gaps("eigh: eigenvalues", plain(w))
    n = anp.shape(w)[-1]
    identity = np.eye(n)
    strict = np.tril(np.ones((n, n)), -1) if _reads_lower(args, kwargs) else np.triu(np.ones((n, n)), 1)

    def vjp(g):
        middle = g[0][..., None, :] * identity
        if _may_vary(g[1]):
            off = (1.0 - identity) / (w[..., None, :] - w[..., :, None] + identity)
            middle = middle + off * anp.matmul(transpose(v), g[1])
        s = anp.matmul(anp.matmul(v, middle), transpose(v))
        return ((s + transpose(s)) * (strict + 0.5 * identity),)

    return vjp


def _may_vary(g):
    """False only for a cotangent that is zero and no traced value: zero wherever the function is taken."""
    return isbox(g) or bool(np.any(g))


def _refused_eig(call):
    raise MissingRuleError(
        "'eig' has no Taylor rule: its results are complex in general and NumPy's choice of phase is not smooth. "
        "Use eigh for a symmetric matrix."
    )


defrule(anp.linalg.eigh, _eigh, vjp=_eigh_vjp)
defrule(anp.linalg.eig, _refused_eig)

# ---- svd ----

_SVD = {"full_matrices": True, "compute_uv": True, "hermitian": False}


class Svd(Nonlinear):
    """A V = U S, A^T U = V S, U^T U = V^T V = I for m >= n (else of A^T), in the bases of order 0:
    U = U_0 X + Y with U_0^T Y = 0, V = V_0 Z, B = U_0^T A V_0, E = (I - U_0 U_0^T) A V_0, S = diag(s).

    P = sum_{j=1..k} B_j Z_{k-j} - sum_{j=1..k-1} X_{k-j} S_j
    Q = sum_{j=1..k} B_j^T X_{k-j} + sum_{j=1..k-1} (E_j^T Y_{k-j} - Z_{k-j} S_j)
    s_k = diag(P + Q) / 2;  Y_k S_0 = sum_{j=1..k} E_j Z_{k-j} - sum_{j=1..k-1} Y_{k-j} S_j
    (s_l^2 - s_i^2) (X_k)_il = s_l P_il + s_i Q_il;  (s_l^2 - s_i^2) (Z_k)_il = s_i P_il + s_l Q_il
    (X_k)_ii = -1/2 sum_{j=1..k-1} (X_j^T X_{k-j} + Y_j^T Y_{k-j})_ii
    (Z_k)_ii = -1/2 sum_{j=1..k-1} (Z_j^T Z_{k-j})_ii
    """

    reads_result = True

    def __init__(self, u, s, vt):
        self.flips = u.shape[-2] < vt.shape[-1]
        self.u, self.s, self.v = (transpose(vt), s, u) if self.flips else (u, s, transpose(vt))
        rows, columns = s[..., :, None], s[..., None, :]
        self.identity = np.eye(s.shape[-1])
        self.inverse_gap = (1.0 - self.identity) / ((columns - rows) * (columns + rows) + self.identity)

    def start(self):
        # B, E, S, X, Y, Z; order 0 of B, E and S is not read
        return [None], [None], [None], [self.identity], [None], [self.identity]

    def _turn(self, a):
        """B_j and E_j."""
        if a is None:
            return None, None
        av = (transpose(a) if self.flips else a) @ self.v
        b = transpose(self.u) @ av
        return b, av - self.u @ b

    def _extend(self, aux, k, x, y):
        b, e, s, xs, ys, zs = aux
        for j in range(len(b), k):
            for series, c in zip((b, e), self._turn(x[0][j]), strict=True):
                series.append(c)
            u, v = _entry(y[j], 0), transpose(_entry(y[j], 2))
            u, v = (v, u) if self.flips else (u, v)
            s.append(_entry(y[j], 1))
            xs.append(None if u is None else transpose(self.u) @ u)
            ys.append(None if u is None else u - self.u @ xs[j])
            zs.append(None if v is None else transpose(self.v) @ v)

    def coefficient(self, ws, k, x, y, aux):
        self._extend(aux, k, x, y)
        _, _, s, xs, ys, zs = aux
        b_k, e_k = self._turn(x[0][k])
        b, e = [*aux[0], b_k], [*aux[1], e_k]
        p = matmul_sum(b, [*zs, None], k, 1, k)
        q = matmul_sum([transpose(c) for c in b], [*xs, None], k, 1, k)
        q = _plus(q, matmul_sum([transpose(c) for c in e], [*ys, None], k, 1, k - 1))
        y_k = matmul_sum(e, [*zs, None], k, 1, k)
        for j in range(1, k):
            p = _plus(p, _negative_scaled(xs[k - j], s[j]))
            q = _plus(q, _negative_scaled(zs[k - j], s[j]))
            y_k = _plus(y_k, _negative_scaled(ys[k - j], s[j]))
        if p is None and q is None:
            return None
        return self._assemble(k, p, q, y_k, xs, ys, zs)

    def _assemble(self, k, p, q, y_k, xs, ys, zs):
        rows, columns = self.s[..., :, None], self.s[..., None, :]
        x_k = (columns * p + rows * q) * self.inverse_gap
        z_k = (rows * p + columns * q) * self.inverse_gap
        x_k = _with_diagonal(x_k, -(_column_products(xs, k) + _column_products(ys, k)))
        z_k = _with_diagonal(z_k, -_column_products(zs, k))
        u, v = self.u @ x_k + y_k / columns, self.v @ z_k
        s = 0.5 * (_diagonal(p) + _diagonal(q))
        return {0: v, 1: s, 2: transpose(u)} if self.flips else {0: u, 1: s, 2: transpose(v)}


def _check_singular_values(s):
    _check_gaps("svd: singular values", s)
    s = np.asarray(s)
    if s.size and np.any(s[..., -1] <= s.shape[-1] * _EPS * s[..., 0]):
        raise NonSmoothError(
            f"svd: the smallest singular value is {np.min(s[..., -1]):.1e}: it has a kink at 0 (a singular value is "
            "never negative), so there is no Taylor series. Move the base point, or drop dependent columns."
        )


def _refuse_svd(o, shape):
    if o["hermitian"]:
        raise MissingRuleError("svd(hermitian=True) has no Taylor rule: use eigh, or leave the flag out.")
    if o["compute_uv"] and o["full_matrices"] and shape[-1] != shape[-2]:
        raise MissingRuleError(
            f"svd(full_matrices=True) of a {shape[-2]} x {shape[-1]} matrix has no Taylor rule: the additional vectors "
            "are not determined by the matrix. Pass full_matrices=False."
        )


def _svd(call):
    o = options(call.args, call.kwargs, 1, **_SVD)
    _refuse_svd(o, call.args[0].shape)
    refuse_complex(call)
    if not o["compute_uv"]:
        _check_singular_values(call.value)
        return Expansion(lambda value, a, *args, **kwargs: anp.linalg.svd(a, full_matrices=False)[1])
    _check_singular_values(call.value[1])
    return Svd(*call.value)


def _svd_vjp(argnums, ans, args, kwargs):
    """``U (diag(g_s) + K S + S J) V^T`` and what leaves the span of U or V, with ``F_ij = 1 / (s_j^2 - s_i^2)``,
    ``K = F * (U^T g_U - g_U^T U)``, ``J = F * (V^T g_V - g_V^T V)`` (Giles 2008; arXiv 1909.02659)."""
    (a,), o = args[:1], options(args, kwargs, 1, **_SVD)
    m, n = anp.shape(a)[-2:]
    _refuse_svd(o, (m, n))
    _check_singular_values(plain(ans[1] if o["compute_uv"] else ans))

    def of_values(g):
        u, _, vt = anp.linalg.svd(a, full_matrices=False)
        return (anp.matmul(u * g[..., None, :], vt),)

    def of_all(g):
        (u, s, vt), (gu, gs, gvt) = ans, (g[0], g[1], g[2])
        ut, v, gv = transpose(u), transpose(vt), transpose(gvt)
        rows, columns, identity = s[..., :, None], s[..., None, :], np.eye(min(m, n))
        f = (1.0 - identity) / (columns**2 - rows**2 + identity)
        turn_u, turn_v = anp.matmul(ut, gu), anp.matmul(vt, gv)
        middle = identity * gs[..., None, :] + f * (turn_u - transpose(turn_u)) * columns
        middle = middle + rows * f * (turn_v - transpose(turn_v))
        out = anp.matmul(anp.matmul(u, middle), vt)
        if m > n:
            out = out + anp.matmul((gu - anp.matmul(u, turn_u)) / columns, vt)
        if m < n:
            out = out + anp.matmul(u, transpose((gv - anp.matmul(v, turn_v)) / columns))
        return (out,)

    return of_all if o["compute_uv"] else of_values


defrule(anp.linalg.svd, _svd, vjp=_svd_vjp)
