"""One Newton step from the fit towards the refit without some observations: the rival of the series.

With d = -weights0 on the set, r the estimating equation at the fit without it and H_S its Jacobian there,

    step = -H_S^{-1} r,    H_S = H + sum_n d_n H_n.

Exact for least squares; for generalised linear models the step of Pregibon (Ann. Statist. 9 (1981) 705), "ALO" in
Rahnama Rad & Maleki (J. R. Stat. Soc. B 82 (2020) 965). Where ``H_n = k_n p_n p_n^T`` with P the rows of the set,

    H_S^{-1} r = s - U^T (I + C P U^T)^{-1} C P s,    U^T = H^{-1} P^T, s = H^{-1} r, C = diag(d_n k_n)

(Sherman, Morrison, Woodbury), and H_S is positive definite if ``sign(C) + |C|^1/2 P U^T |C|^1/2`` has as many positive
eigenvalues as ``sign(C)`` (Haynsworth's inertia formula).
"""

import numpy as np
import scipy.sparse

from ..errors import NonFiniteError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..solvers import choose_solver
from ..taylor.recorded import Recorded
from .row_series import TapedRows, linear_rows
from .total_tensors import n_variables, recorded_penalty

__all__ = ["newton_without"]

_MATRIX_NUMBERS = 2**20  # of the matrices that are solved with at a time
_SINGULAR = 1e-12  # pivots and eigenvalues that are one where nothing is removed
_EPS = np.finfo(float).eps


def newton_without(jackknife, sets):
    """The fit after one Newton step without each set, (n_sets, n_input); NaN where H_S is singular or no minimum's."""
    flat, changes = jackknife.input_val0, -jackknife.weights0[sets.rows]
    scores = jackknife.model.scores(flat)
    rows = linear_rows(jackknife.model, flat, scores, 1)
    out, penalty = np.empty((len(sets), len(flat))), recorded_penalty(jackknife)
    for which, shift, added in _penalty_changes(jackknife, sets, changes, penalty):
        chosen, places = sets.chosen(which)
        try:
            step = _Steps(jackknife, rows, scores, shift, added).of(chosen, changes[places])
        except np.linalg.LinAlgError:  # the penalty alone makes the Hessian singular at this sum of the weights
            step = np.nan
        out[which] = flat - step
    return out


def _penalty_changes(jackknife, sets, changes, penalty):
    """Sets by the change of the sum of their weights, with that of the penalty's gradient and Hessian (or None)."""
    if n_variables(jackknife, penalty) == jackknife.n_input:
        yield np.arange(len(sets)), 0.0, None
        return
    flat, eye = jackknife.input_val0, np.eye(jackknife.n_input)
    before = penalty.products(0, eye)
    equation, total = jackknife.model.penalty_equation(), np.sum(jackknife.weights0)
    totals, groups = np.unique(sets.totals(changes), return_inverse=True)
    for i, change in enumerate(totals):
        try:
            there = Recorded(equation, (flat, np.array([total + change])))
        except NonFiniteError:  # the penalty is not defined there, as one divided by a sum of zero
            yield np.flatnonzero(groups == i), np.nan, None
            continue
        hessian = (there.products(0, eye) - before).T if there.depends_on(0) else -before.T
        yield np.flatnonzero(groups == i), there.values[0] - penalty.values[0], hessian


class _Steps:
    """Newton steps without sets at one sum of the weights."""

    def __init__(self, jackknife, rows, scores, shift, added):
        self._jackknife, self._rows, self._scores, self._shift = jackknife, rows, scores, shift
        self._added = added if added is not None and np.any(added) else None
        self._matrix = None
        self._is_objective = jackknife.model.is_objective
        self._solver = jackknife.expansion.solver
        if self._added is not None and rows is not None:
            claims = {"symmetric": True, "positive_definite": True} if self._is_objective else {}
            self._solver = choose_solver(self._dense(), **claims)
        # leverages are as uncertain as solves with H are
        rcond = getattr(self._solver, "rcond", None)
        self._least = _SINGULAR if not rcond else max(_SINGULAR, 10.0 * _EPS / rcond)

    def of(self, sets, changes):
        r = self._shift + sets.sums(changes, self._scores)
        sizes = np.diff(sets.starts)
        if self._rows is None:
            return self._by_matrices(sets, changes, r)
        if np.all(sizes == 1):
            return self._by_rank_one(sets, changes, r)
        out = np.empty_like(r)
        is_small = sizes < r.shape[1]
        for i in np.flatnonzero(is_small):
            rows = slice(sets.starts[i], sets.starts[i + 1])
            out[i] = self._by_few_ranks(sets.rows[rows], changes[rows], r[i])
        large = np.flatnonzero(~is_small)
        if large.size:
            chosen, places = sets.chosen(large)
            out[large] = self._by_matrices(chosen, changes[places], r[large])
        return out

    def _by_rank_one(self, sets, changes, r):
        slopes = self._rows.slopes[sets.rows]
        c = changes * self._rows.curvatures()[sets.rows]
        u, s = self._solver.solve(slopes.T).T, self._solver.solve(r.T).T
        left = 1.0 + c * np.einsum("ij,ij->i", slopes, u)
        left[~(left > self._least)] = np.nan
        return s - u * (c * np.einsum("ij,ij->i", slopes, s) / left)[:, None]

    def _by_few_ranks(self, rows, changes, r):
        slopes, c = self._rows.slopes[rows], changes * self._rows.curvatures()[rows]
        u, s = self._solver.solve(slopes.T), self._solver.solve(r)
        roots, signs = np.sqrt(np.abs(c)), np.where(c < 0.0, -1.0, 1.0)
        inner = np.diag(signs) + roots[:, None] * (slopes @ u) * roots
        eigenvalues, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
        if np.sum(eigenvalues > self._least) != np.sum(signs > 0) or np.sum(eigenvalues < -self._least) != np.sum(
            signs < 0
        ):
            return np.nan
        # C^{1/2} (sign + ...)^{-1} C^{1/2}, C = |C|^{1/2} sign |C|^{1/2}
        return s - u @ (roots * (vectors @ ((vectors.T @ (roots * (slopes @ s))) / eigenvalues)))

    def _by_matrices(self, sets, changes, r):
        n, out = r.shape[1], np.empty_like(r)
        matrix, taped = self._dense(), TapedRows(self._jackknife.model, self._jackknife.input_val0)
        most = max(1, _MATRIX_NUMBERS // n**2)
        for block in sets.blocks(most):
            chosen, places = sets.chosen(np.arange(block.start, block.stop))
            solve = _solved_minimum if self._is_objective else _solved
            out[block] = solve(matrix + taped.jacobians(chosen, changes[places]), r[block])
        return out

    def _dense(self):
        """H at this sum of the weights, as an ndarray."""
        if self._matrix is None:
            n = self._jackknife.n_input
            remedy = "use method='series'"
            check_size(16 * n * n, f"the dense Hessian of {n} inputs", memory_limit(), OF_MEMORY, remedy)
            matrix = self._jackknife.expansion._problem.matrix()
            matrix = matrix.toarray() if scipy.sparse.issparse(matrix) else matrix
            self._matrix = matrix if self._added is None else matrix + self._added
        return self._matrix


def _solved_minimum(matrices, r):
    """Solutions of symmetric systems, NaN where a matrix is not positive definite."""
    scale = 1.0 / np.sqrt(np.maximum(np.einsum("ijj->ij", matrices), np.finfo(float).tiny))
    scaled = matrices * scale[:, :, None] * scale[:, None, :]
    scaled = 0.5 * (scaled + scaled.transpose(0, 2, 1))
    try:
        pivots = np.einsum("ijj->ij", np.linalg.cholesky(scaled)) ** 2
        is_good = pivots.min(axis=1) > _SINGULAR
    except np.linalg.LinAlgError:
        is_good = np.linalg.eigvalsh(scaled)[:, 0] > _SINGULAR
    out = np.full(r.shape, np.nan)
    out[is_good] = scale[is_good] * np.linalg.solve(scaled[is_good], (scale * r)[is_good][:, :, None])[:, :, 0]
    return out


def _solved(matrices, r):
    """Solutions of systems, NaN where a matrix is singular to working precision."""
    with np.errstate(all="ignore"):
        is_good = np.linalg.svd(matrices, compute_uv=False)
        is_good = is_good[:, -1] > _SINGULAR * is_good[:, 0]
        out = np.full(r.shape, np.nan)
        out[is_good] = np.linalg.solve(matrices[is_good], r[is_good][:, :, None])[:, :, 0]
    return out
