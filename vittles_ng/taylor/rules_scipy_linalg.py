"""Rules of ``autograd.scipy.linalg``: triangular, banded and Sylvester equations, and the square root of a matrix.

The equations are :class:`~vittles_ng.taylor.rules_linalg.LinearEquation`; each is factored once, at order 0. Only
single real matrices are taken, as by autograd.

Sources: Bartels & Stewart, Comm. ACM 15 (1972) 820; Higham, "Functions of Matrices" (2008), ch. 6.
"""

import autograd.numpy as anp
import autograd.scipy.linalg as asl
import numpy as np
import scipy.linalg

from ..errors import MissingRuleError, NonSmoothError, ShapeError, SingularError
from .rules import Nonlinear, defrule
from .rules_linalg import equation, matmul_sum, options, refuse_complex, transpose

_EPS = np.finfo(float).eps


def _single(call, *argnums):
    """Refuse complex matrices and stacks."""
    refuse_complex(call)
    for i in argnums:
        if np.ndim(call.args[i]) > 2:
            raise ShapeError(
                f"'{call.fun.__name__}' has a Taylor rule for one matrix, got shape {np.shape(call.args[i])}: "
                "call it for each matrix of the stack."
            )


def _times(m, y, is_vector):
    return (m @ y[..., None])[..., 0] if is_vector else m @ y


def _columns(solve):
    """``solve`` of an (n, m) matrix for ``(n_steps, n)`` or ``(n_steps, n, m)``: all steps are one matrix."""

    def solve_steps(r):
        columns = np.moveaxis(r, 1, 0)
        x = solve(columns.reshape(columns.shape[0], -1))
        return np.moveaxis(x.reshape(columns.shape), 0, 1)

    return solve_steps


# ---- solve_triangular ----

_TRIANGULAR = {"trans": 0, "lower": False, "unit_diagonal": False}


def _triangle(lower, unit_diagonal):
    """The part of a matrix that may change the result."""
    shift = int(bool(unit_diagonal))
    return (lambda a: np.tril(a, -shift)) if lower else (lambda a: np.triu(a, shift))


def _solve_triangular(call):
    # op(T) x = b, T the triangle of A that is read
    _single(call, 0, 1)
    a, o = call.args[0], options(call.args, call.kwargs, 2, **_TRIANGULAR)
    triangle = _triangle(o["lower"], o["unit_diagonal"])
    transposed = o["trans"] not in (0, "N")
    how = {name: o[name] for name in _TRIANGULAR}
    is_vector = call.value.ndim == 1

    def product(m, y):
        m = triangle(m)
        return _times(transpose(m) if transposed else m, y, is_vector)

    solve = _columns(lambda r: scipy.linalg.solve_triangular(a, r, **how))
    return equation(call, solve, {0: product}, 1)


def _solve_triangular_vjp(argnums, ans, args, kwargs):
    """``u = op(T)^{-T} g`` to b, the triangle of ``-u x^T`` (or its transpose) to A; autograd's own ignores
    ``unit_diagonal``."""
    a, o = args[0], options(args, kwargs, 2, **_TRIANGULAR)
    transposed = o["trans"] not in (0, "N")
    flipped = {**{name: o[name] for name in _TRIANGULAR}, "trans": 0 if transposed else 1}
    mask = _triangle(o["lower"], o["unit_diagonal"])(np.ones(anp.shape(a)))
    is_vector = anp.ndim(ans) == 1

    def vjp(g):
        u = asl.solve_triangular(a, g, **flipped)
        made = {1: u}
        if 0 in argnums:
            p, q = (ans, u) if transposed else (u, ans)
            outer = p[:, None] * q[None, :] if is_vector else anp.dot(p, transpose(q))
            made[0] = -mask * outer
        return tuple(made[i] for i in argnums)

    return vjp


defrule(asl.solve_triangular, _solve_triangular, vjp=_solve_triangular_vjp)

# ---- solve_banded ----


class _Band:
    """Storage ``ab[u + i - j, j] = a[i, j]`` of a matrix with l lower and u upper diagonals.

    ``rows[r, j]`` is the i of entry (r, j), ``inside`` tells the entries that lie in the matrix.
    """

    def __init__(self, l_and_u, n):
        self.lower, self.upper = (int(i) for i in l_and_u)
        r = np.arange(self.lower + self.upper + 1)[:, None]
        rows = np.arange(n) + r - self.upper
        self.inside = (rows >= 0) & (rows < n)
        self.rows = np.clip(rows, 0, n - 1)

    def multiply(self, ab, y):
        """``A y`` for ``ab`` (n_steps, l + u + 1, n) and ``y`` ([n_steps,] n, m)."""
        out = np.zeros(ab.shape[:1] + y.shape[-2:])
        for r, (rows, inside) in enumerate(zip(self.rows, self.inside, strict=True)):
            out[:, rows[inside]] += ab[:, r, inside, None] * y[..., inside, :]
        return out

    def transposed(self, ab):
        """The transpose in its own band storage: diagonal r becomes diagonal l + u - r."""
        flipped = _Band((self.upper, self.lower), self.rows.shape[1])
        r = np.arange(self.lower + self.upper, -1, -1)[:, None]
        return flipped.inside * ab[np.broadcast_to(r, self.rows.shape), flipped.rows]


def _solve_banded(call):
    # A x = b, A the matrix with the given band; the unused corners of the storage are not read
    _single(call, 1, 2)
    ab = np.asarray(call.args[1], dtype=float)
    band = _Band(call.args[0], ab.shape[1])
    is_vector = call.value.ndim == 1
    gbtrf, gbtrs = scipy.linalg.get_lapack_funcs(("gbtrf", "gbtrs"), (ab,))
    lu, pivots, info = gbtrf(np.vstack([np.zeros((band.lower, ab.shape[1])), ab]), band.lower, band.upper)
    if info > 0:
        raise SingularError(f"solve_banded: pivot {info} is zero: the matrix is singular; add a ridge.")
    solve = _columns(lambda r: gbtrs(lu, band.lower, band.upper, r, pivots)[0])

    def product(m, y):
        return band.multiply(m, y[..., None])[..., 0] if is_vector else band.multiply(m, y)

    return equation(call, solve, {1: product}, 2)


def _solve_banded_vjp(argnums, ans, args, kwargs):
    """``u = A^{-T} g`` to b, ``-u_i x_j`` to the band; autograd's own is wrong for several right-hand sides."""
    ab = args[1]
    band = _Band(args[0], anp.shape(ab)[1])
    is_vector = anp.ndim(ans) == 1

    def vjp(g):
        u = asl.solve_banded((band.upper, band.lower), band.transposed(ab), g)
        made = {2: u}
        if 1 in argnums:
            outer = u[band.rows] * ans[None]
            made[1] = band.inside * -(outer if is_vector else anp.sum(outer, axis=-1))
        return tuple(made[i] for i in argnums)

    return vjp


defrule(asl.solve_banded, _solve_banded, vjp=_solve_banded_vjp)

# ---- Sylvester equations ----


class Sylvester:
    """Solves A X + X B = Q for fixed A and B (Bartels & Stewart).

    With complex Schur forms A = U R U^*, B = V S V^* the columns of Y = U^* X V are triangular solves,
    (R + s_jj I) y_j = f_j - sum_{i<j} s_ij y_i, each for all steps at once.
    """

    def __init__(self, a, b, singular):
        self.r, self.u = scipy.linalg.schur(a, output="complex")
        self.s, self.v = (self.r, self.u) if b is a else scipy.linalg.schur(b, output="complex")
        sums = np.abs(np.diag(self.r)[:, None] + np.diag(self.s))
        scale = np.linalg.norm(self.r, 2) + np.linalg.norm(self.s, 2)
        if np.min(sums) <= len(self.r) * _EPS * scale:
            raise singular(np.min(sums))

    def __call__(self, q):
        f = np.moveaxis(self.u.conj().T @ q @ self.v, -1, 0)  # (n, n_steps, m)
        y = np.empty_like(f)
        identity = np.eye(len(self.r))
        for j, f_j in enumerate(f):
            rest = f_j - np.tensordot(self.s[:j, j], y[:j], 1)
            y[j] = scipy.linalg.solve_triangular(self.r + self.s[j, j] * identity, rest.T).T
        return (self.u @ np.moveaxis(y, 0, -1) @ self.v.conj().T).real


def _no_unique_solution(gap):
    return SingularError(
        f"solve_sylvester: A and -B share an eigenvalue (smallest |lambda_i(A) + lambda_j(B)| = {gap:.1e}): "
        "A X + X B = Q has no unique solution."
    )


def _solve_sylvester(call):
    # A X + X B = Q:  A_0 X_k + X_k B_0 = Q_k - sum_{j=1..k} (A_j X_{k-j} + X_{k-j} B_j)
    _single(call, 0, 1, 2)
    solve = Sylvester(call.args[0], call.args[1], _no_unique_solution)
    return equation(call, solve, {0: np.matmul, 1: lambda m, y: y @ m}, 2)


defrule(asl.solve_sylvester, _solve_sylvester)

# ---- sqrtm ----


class SquareRoot(Nonlinear):
    """X X = A:  X_0 X_k + X_k X_0 = A_k - sum_{j=1..k-1} X_j X_{k-j}."""

    reads_result = True

    def __init__(self, root):
        self.solve = Sylvester(root, root, _no_root)

    def coefficient(self, ws, k, x, y, aux):
        residual, lower = x[0][k], matmul_sum(y, y, k, 1, k - 1)
        if lower is not None:
            residual = -lower if residual is None else residual - lower
        return None if residual is None else self.solve(residual)

    def tangent(self, ws, dx, x0, y0):
        return self.solve(dx[0])


def _no_root(gap):
    return NonSmoothError(
        f"sqrtm: the matrix has an eigenvalue at 0 (smallest sum of eigenvalues of the root {gap:.1e}), where the root "
        "has no Taylor series: move the base point, or add a ridge."
    )


def _sqrtm(call):
    if isinstance(call.value, tuple):
        raise MissingRuleError("sqrtm(disp=False) has no Taylor rule: leave disp out.")
    if np.iscomplexobj(call.value) and not np.iscomplexobj(call.args[0]):
        raise NonSmoothError(
            "sqrtm: the matrix has an eigenvalue on the negative real axis, where the principal root is complex and "
            "jumps: use a matrix without real eigenvalues below 0."
        )
    _single(call, 0)
    return SquareRoot(call.value)


defrule(asl.sqrtm, _sqrtm)
