"""Rules of the pseudo-inverse and of norms.

Sources: Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413 (pseudo-inverse of constant rank).
"""

import autograd.numpy as anp
import numpy as np
from autograd.core import make_vjp
from autograd.numpy import linalg as anp_linalg

from ..errors import MissingRuleError, NonSmoothError, SingularError
from .primitives import plain
from .rules import Expansion, Nonlinear, defrule
from .rules_linalg import matmul_sum, options, refuse_complex, transpose

_EPS = np.finfo(float).eps

# ---- pinv ----

_PINV = {"rcond": None, "hermitian": False, "rtol": None}


class PseudoInverse(Nonlinear):
    """A^T A P = A^T for A of full column rank (else of A^T), with G_0 = (A_0^T A_0)^{-1} = P_0 P_0^T:

    P_k = G_0 A_k^T - sum_{j=1..k} W_j P_{k-j},  W_j = P_0 A_j + G_0 sum_{i=1..j} A_i^T A_{j-i},

    which is the normal equations with G_0 A_0^T replaced by P_0, so that the condition number is not squared.
    """

    reads_result = True

    def __init__(self, a, p):
        self.flips = a.shape[-2] < a.shape[-1]
        self.a, self.p = (transpose(a), transpose(p)) if self.flips else (a, p)
        self.gram = self.p @ transpose(self.p)

    def start(self):
        return [None]  # W; order 0 is not read

    def _weight(self, a, j):
        """W_j."""
        inner = matmul_sum([transpose(c) for c in a], a, j, 1, j)
        if a[j] is None:
            return None if inner is None else self.gram @ inner
        return self.p @ a[j] + self.gram @ inner

    def coefficient(self, ws, k, x, y, aux):
        a, p = x[0], [*y, None]
        if self.flips:
            a, p = [transpose(c) for c in a], [transpose(c) for c in p]
        for j in range(len(aux), k):
            aux.append(self._weight(a, j))
        total = matmul_sum([*aux, self._weight(a, k)], p, k, 1, k)
        if total is not None:
            total = -total
        if a[k] is not None:
            total = self.gram @ transpose(a[k]) + (0.0 if total is None else total)
        return transpose(total) if self.flips else total


def _check_full_rank(a, o):
    """Raise where the rank is deficient, or is made so by a cutoff."""
    if o["hermitian"]:
        raise MissingRuleError("pinv(hermitian=True) has no Taylor rule: leave the flag out.")
    s = np.linalg.svd(a, compute_uv=False)
    rounding = max(a.shape[-2:]) * _EPS
    given = [np.max(o[name]) for name in ("rcond", "rtol") if isinstance(o[name], (int, float, np.number, np.ndarray))]
    cutoff = max([rounding, *given])
    kept = np.sum(s > cutoff * np.max(s, axis=-1, keepdims=True, initial=0.0), axis=-1)
    if np.any(kept < s.shape[-1]):
        raise SingularError(
            f"pinv: rank {np.min(kept)} of a {a.shape[-2]} x {a.shape[-1]} matrix (smallest singular value "
            f"{np.min(s):.1e}, largest {np.max(s):.1e}): the pseudo-inverse jumps where the rank changes. "
            "Drop dependent columns or rows."
        )


def _pinv(call):
    refuse_complex(call)
    _check_full_rank(call.args[0], options(call.args, call.kwargs, 1, **_PINV))
    return PseudoInverse(call.args[0], call.value)


def _pinv_vjp(argnums, ans, args, kwargs):
    """``-P^T g P^T`` and, for full column rank, ``(I - A P) g^T P P^T``; for full row rank ``P^T P g^T (I - P A)``.

    autograd's own, equal where it applies, takes no ``rcond`` and forms both projectors.
    """
    a, p = args[0], ans
    _check_full_rank(plain(a), options(args, kwargs, 1, **_PINV))
    m, n = anp.shape(a)[-2:]

    def vjp(g):
        pt, gt = transpose(p), transpose(g)
        out = -anp.matmul(anp.matmul(pt, g), pt)
        if m > n:
            rest = gt - anp.matmul(a, anp.matmul(p, gt))
            out = out + anp.matmul(anp.matmul(rest, p), pt)
        if m < n:
            rest = gt - anp.matmul(anp.matmul(gt, p), a)
            out = out + anp.matmul(pt, anp.matmul(p, rest))
        return (out,)

    return vjp


defrule(anp.linalg.pinv, _pinv, vjp=_pinv_vjp)

# ---- norm ----

_NORM = {"ord": None, "axis": None, "keepdims": False}


def _norm(x, ord=None, axis=None, keepdims=False):
    """A norm in terms of other primitives; all of NumPy's but ``ord=0``."""
    ndim = anp.ndim(x)
    axes = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(int(i) % ndim for i in axes)
    if ord is None or ord in ("fro", "f") or (ord == 2 and len(axes) == 1):
        square = anp.real(x) ** 2 + anp.imag(x) ** 2 if anp.iscomplexobj(x) else anp.square(x)
        return anp.sqrt(anp.sum(square, axis=axes, keepdims=keepdims))
    made = _vector_norm(x, ord, axes[0]) if len(axes) == 1 else _matrix_norm(x, ord, *axes)
    if keepdims:
        made = anp.reshape(made, tuple(1 if i in axes else n for i, n in enumerate(anp.shape(x))))
    return made


def _vector_norm(x, ord, axis):
    if ord == np.inf:
        return anp.max(anp.abs(x), axis=axis)
    if ord == -np.inf:
        return anp.min(anp.abs(x), axis=axis)
    if ord == 1:
        return anp.sum(anp.abs(x), axis=axis)
    # an even power has no kink at entries that are zero
    base = x if ord % 2 == 0 else anp.abs(x)
    return anp.sum(base**ord, axis=axis) ** (1.0 / ord)


def _matrix_norm(x, ord, rows, columns):
    if ord in ("nuc", 2, -2):
        s = anp_linalg.svd(anp.moveaxis(x, (rows, columns), (-2, -1)), compute_uv=False)
        return anp.sum(s, axis=-1) if ord == "nuc" else s[..., 0 if ord == 2 else -1]
    summed, left = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = anp.sum(anp.abs(x), axis=summed)
    left -= int(summed < left)
    return anp.max(sums, axis=left) if ord > 0 else anp.min(sums, axis=left)


def _check_norm(value, ord):
    if ord == 0:
        raise NonSmoothError("norm(ord=0) counts entries: it is not differentiable. Use another norm.")
    if np.any(value == 0.0):
        raise NonSmoothError(
            f"norm: {np.sum(value == 0.0)} of {np.size(value)} norms are 0, where a norm has a kink: move the base "
            "point, or use the sum of squares."
        )


def _norm_rule(call):
    o = options(call.args, call.kwargs, 1, **_NORM)
    _check_norm(call.value, o["ord"])
    if o["ord"] not in (None, "fro", "f"):
        refuse_complex(call)
    return Expansion(lambda value, x, *args, **kwargs: _norm(x, **o))


def _norm_vjp(argnums, ans, args, kwargs):
    """The VJP of the norm as it is spelled for the series: autograd's own ignores ``keepdims``, takes ``ord=inf`` for a
    power and divides by entries that are zero."""
    o = options(args, kwargs, 1, **_NORM)
    _check_norm(plain(ans), o["ord"])
    vjp, _ = make_vjp(lambda x: _norm(x, **o), args[0])
    return lambda g: (vjp(g),)


defrule(anp_linalg._primitive_norm, _norm_rule, vjp=_norm_vjp)
