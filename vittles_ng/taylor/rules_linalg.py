"""Rules of linear equations and of the factorizations that solve them.

Every equation that is linear in its result has one recurrence (:class:`LinearEquation`) and one factorization, made at
order 0. Nothing here differentiates an algorithm: each rule expands the equation that defines its result.

Only one triangle is read by ``cholesky`` (the lower one unless ``upper=True``), as NumPy does it: the other triangle
changes neither the value nor the series nor the gradient.

Sources: Giles, "An extended collection of matrix derivative results" (2008); Murray, arXiv 1602.07527 (Cholesky).
"""

import autograd.builtins as builtins
import autograd.numpy as anp
import numpy as np
import scipy.linalg
from autograd.numpy.numpy_vjps import unbroadcast

from ..errors import MissingRuleError, SingularError
from .primitives import antiderivative
from .rules import Expansion, Linear, Nonlinear, defrule
from .series import lift

__all__ = ["LinearEquation", "equation", "lower_symmetric", "matmul_sum", "options", "refuse_complex", "transpose"]

_EPS = np.finfo(float).eps


def transpose(x):
    """The last two axes exchanged, of arrays, boxes and None."""
    return None if x is None else x.swapaxes(-1, -2)


def lower_symmetric(a, lower=True):
    """The symmetric matrix of which one triangle is read."""
    if a is None:
        return None
    half = np.tril(a) if lower else np.triu(a)
    strict = np.tril(a, -1) if lower else np.triu(a, 1)
    return half + transpose(strict)


def matmul_sum(a, b, k, first, last):
    """``sum_{j=first..last} a_j b_{k-j}`` of matrices; None when every term is zero."""
    total = None
    for j in range(first, last + 1):
        if a[j] is not None and b[k - j] is not None:
            term = a[j] @ b[k - j]
            total = term if total is None else total + term
    return total


def options(call_args, kwargs, first, **defaults):
    """Arguments from position ``first`` on by name, in the order of ``defaults``."""
    return {**defaults, **dict(zip(defaults, call_args[first:], strict=False)), **kwargs}


def refuse_complex(call):
    """Raise where an operand or the result is complex: the rule is for real matrices."""
    values = [*call.traced, *(call.value if isinstance(call.value, tuple) else (call.value,))]
    if any(np.iscomplexobj(v) for v in values):
        raise MissingRuleError(
            f"'{call.fun.__name__}' has a Taylor rule for real matrices only: write a Hermitian n x n matrix H as the "
            "real symmetric 2n x 2n matrix [[Re H, -Im H], [Im H, Re H]]."
        )


def _singular(name, reciprocal_condition):
    return SingularError(
        f"{name}: the matrix is singular to working precision (reciprocal condition number {reciprocal_condition:.1e} "
        f"< {_EPS:.1e}): remove redundant parameters, or add a ridge."
    )


class LinearEquation(Nonlinear):
    """M(x) y = b:  y_k = M_0^{-1} (b_k - sum_{j=1..k} M_j y_{k-j}).

    Parameters
    ----------
    solve : callable
        ``solve(r) -> M_0^{-1} r`` for ``r`` with a leading step axis.
    products : sequence of (int, callable)
        For every operand that M depends on its position and ``product(m_j, y_i) -> M_j y_i``, where ``m_j`` has a
        step axis and ``y_i`` has one unless i = 0.
    rhs : int or None
        The position of ``b``; None for a constant one.
    ndim : int
        Axes of the result.
    """

    reads_result = True

    def __init__(self, solve, products, rhs, ndim):
        self.solve, self.products, self.rhs, self.ndim = solve, products, rhs, ndim

    def coefficient(self, ws, k, x, y, aux):
        total = None
        for position, product in self.products:
            for j in range(1, k + 1):
                m = x[position][j]
                if m is not None and y[k - j] is not None:
                    term = product(m, y[k - j])
                    total = term if total is None else total + term
        b = None if self.rhs is None else lift(x[self.rhs][k], self.ndim, k)
        if total is None:
            return None if b is None else self.solve(b)
        return self.solve(-total if b is None else b - total)


def equation(call, solve, operators, rhs):
    """Kernel of a call: ``operators`` maps argument numbers to products, ``rhs`` is the argument number of b."""
    products = [(i, operators[argnum]) for i, argnum in enumerate(call.argnums) if argnum in operators]
    position = call.argnums.index(rhs) if rhs in call.argnums else None
    if not products:
        ndim = call.value.ndim
        return Linear(lambda ws, b: solve(lift(b, ndim, 1)))
    return LinearEquation(solve, products, position, call.value.ndim)


# ---- solve and inv ----


def _order0_solve(a):
    """``r -> a^{-1} r`` for columns r ``(n_steps, ..., n, m)``: LU of one matrix, the inverses of a stack."""
    if a.ndim > 2:
        inverse = np.linalg.inv(a)
        _check_inverse("solve", a, inverse)
        return lambda r: inverse @ r
    lu = scipy.linalg.lu_factor(a)
    (gecon,) = scipy.linalg.get_lapack_funcs(("gecon",), (lu[0],))
    rcond, _ = gecon(lu[0], np.linalg.norm(a, 1))
    if not rcond > _EPS:
        raise _singular("solve", rcond)

    def solve(r):
        # the columns of all steps (and of a stack of right-hand sides) are one matrix
        columns = np.moveaxis(r, -2, 0)
        x = scipy.linalg.lu_solve(lu, columns.reshape(columns.shape[0], -1))
        return np.moveaxis(x.reshape(columns.shape), 0, -2)

    return solve


def _check_inverse(name, a, inverse):
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(a, 1, axis=(-2, -1)) * np.linalg.norm(inverse, 1, axis=(-2, -1))
        rcond = np.min(1.0 / norms, initial=1.0)
    if not rcond > _EPS:
        raise _singular(name, rcond)


def _solve(call):
    # A x = b
    a = np.asarray(call.args[0])
    ndim = max(a.ndim, call.value.ndim)
    solve_columns = _order0_solve(a)
    if call.value.ndim < a.ndim:  # b is a vector
        return equation(
            call,
            lambda r: solve_columns(r[..., None])[..., 0],
            {0: lambda m, y: (lift(m, ndim, 1) @ y[..., None])[..., 0]},
            1,
        )
    return equation(call, solve_columns, {0: lambda m, y: lift(m, ndim, 1) @ y}, 1)


def _solve_vjp(argnums, ans, args, kwargs):
    """``u = A^{-T} g`` to b, ``-u x^T`` to A; autograd's own does not sum over a stack that b or A is broadcast to."""
    a, b = args
    is_vector = anp.ndim(ans) < anp.ndim(a)

    def column(x):
        return x[..., None] if is_vector else x

    def vjp(g):
        u = anp.linalg.solve(transpose(a), column(g))
        made = {1: u[..., 0] if is_vector else u}
        if 0 in argnums:
            made[0] = -anp.matmul(u, transpose(column(ans)))
        return tuple(unbroadcast(made[i], anp.metadata(args[i])) for i in argnums)

    return vjp


def _inv(call):
    # A X = I:  X_k = -X_0 sum_{j=1..k} A_j X_{k-j}
    inverse = call.value
    _check_inverse("inv", call.args[0], inverse)
    return equation(call, lambda r: inverse @ r, {0: np.matmul}, None)


defrule(anp.linalg.solve, _solve, vjp=_solve_vjp)
defrule(anp.linalg.inv, _inv)

# ---- determinants ----


def _log_ratio(a):
    """log |det A(t) / det A_0|, by (log det A)' = tr(A^{-1} A')."""
    return anp.sum(antiderivative(np.zeros(anp.shape(a)), transpose(anp.linalg.inv(a)), a), axis=(-2, -1))


def _nonsingular(call):
    sign, _ = np.linalg.slogdet(call.args[0])
    if np.any(sign == 0):
        raise _singular(call.fun.__name__, 0.0)


def _det(call):
    # det A = det A_0 exp(tr int A^{-1} A'), of either sign
    _nonsingular(call)
    return Expansion(lambda value, a: value * anp.exp(_log_ratio(a)))


def _slogdet(call):
    # the sign is constant around a nonsingular matrix
    refuse_complex(call)
    _nonsingular(call)
    return Expansion(lambda value, a: builtins.tuple((value[0], value[1] + _log_ratio(a))))


def _inverse_transpose(name, a):
    try:
        return transpose(anp.linalg.inv(a))
    except np.linalg.LinAlgError:
        raise _singular(name, 0.0) from None


def _det_vjp(argnums, ans, args, kwargs):
    """autograd's formula; a singular matrix, where it would need the adjugate, is named."""
    return lambda g: ((g * ans)[..., None, None] * _inverse_transpose("det", args[0]),)


def _slogdet_vjp(argnums, ans, args, kwargs):
    return lambda g: (g[1][..., None, None] * _inverse_transpose("slogdet", args[0]),)


defrule(anp.linalg.det, _det, vjp=_det_vjp)
defrule(anp.linalg.slogdet, _slogdet, vjp=_slogdet_vjp)

# ---- cholesky ----


class Cholesky(Nonlinear):
    """L L^T = A:  L_k = L_0 Phi(L_0^{-1} (A_k - sum_{j=1..k-1} L_j L_{k-j}^T) L_0^{-T}), Phi the lower triangle with
    half the diagonal. A's lower triangle stands for the matrix."""

    reads_result = True

    def __init__(self, factor):
        n = factor.shape[-1]
        self.factor, self.inverse = factor, np.tril(np.linalg.inv(factor))
        self.phi = np.tril(np.ones((n, n))) - 0.5 * np.eye(n)

    def coefficient(self, ws, k, x, y, aux):
        residual = lower_symmetric(x[0][k])
        lower = matmul_sum(y, [transpose(c) for c in y], k, 1, k - 1)
        if lower is not None:
            residual = -lower if residual is None else residual - lower
        return None if residual is None else self._factor_change(residual)

    def tangent(self, ws, dx, x0, y0):
        return self._factor_change(lower_symmetric(dx[0]))

    def _factor_change(self, residual):
        return self.factor @ (self.phi * (self.inverse @ residual @ transpose(self.inverse)))


def _cholesky(call):
    refuse_complex(call)
    if options(call.args, call.kwargs, 1, upper=False)["upper"]:
        return Expansion(lambda value, a, **_: transpose(anp.linalg.cholesky(transpose(a))))
    return Cholesky(call.value)


def _cholesky_vjp(argnums, ans, args, kwargs):
    """The gradient in the triangle that is read; autograd's own is spread over both, which a series of A that is not
    symmetric would make the gradient of another function."""
    upper = options(args, kwargs, 1, upper=False)["upper"]
    factor = transpose(ans) if upper else ans
    n = anp.shape(ans)[-1]
    phi = np.tril(np.ones((n, n))) - 0.5 * np.eye(n)

    def vjp(g):
        g = transpose(g) if upper else g
        inverse = anp.linalg.inv(factor)
        middle = phi * anp.matmul(transpose(factor), g)
        s = anp.matmul(anp.matmul(transpose(inverse), middle), inverse)
        made = phi * (s + transpose(s))
        return (transpose(made) if upper else made,)

    return vjp


defrule(anp.linalg.cholesky, _cholesky, vjp=_cholesky_vjp)
