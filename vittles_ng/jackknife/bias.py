"""Second-order bias of the fit, from the order-two terms of its series in the weights.

Under multinomial weights w, counts of N = sum(weights0) draws, the covariance is ``Cov w = B^T B - w0 w0^T / N`` with
rows ``b_n = sqrt(w0_n) e_n`` of B, so that to second order

    E input(w) - input = 1/2 tr(d2 input Cov w) = sum_n input_2(b_n) - input_2(w0) / N,

``input_2(d)`` the coefficient of t^2 along d. With groups as units b_c is w0 within group c, and N their number. For
the sum no series along n directions is needed: ``H input_2(b) = -[t^2] G(input_0 + t input_1(b), w0 + t b)`` is
quadratic in b, and a singular value decomposition of the first-order responses, ``input_1(b_i) = sum_j P_ij v_j`` with
``P^T P = I``, turns the sum over n units into one over at most n_input directions ``(v_j, d_j = sum_i P_ij b_i)``.

Sources: Efron, "The Jackknife, the Bootstrap and Other Resampling Plans" (1982) ch. 6 (the quadratic approximation of
the bootstrap's bias); Davison & Hinkley, "Bootstrap Methods and their Application" (1997) sec. 2.7; Giordano, Jordan,
Broderick, arXiv 1907.12116 (the terms).
"""

import numpy as np

from ..taylor.recorded import block_size
from .influence import group_sums, labels_of, weight_scores

__all__ = ["bias"]


def bias(jackknife, functional=None, groups=None):
    """Estimated bias of the fit or of a functional of it, to second order in the weights."""
    units = _Units(jackknife, labels_of(jackknife, groups))
    centre = jackknife.weights0 / np.sqrt(units.n_units)
    first_centre, second_centre = _along(jackknife, centre)
    second = _sum_of_second(jackknife, units) - second_centre
    if functional is None:
        return second
    recorded = jackknife.expansion.functional(functional)._recorded
    if recorded.depends_on(1):
        raise ValueError("the bias is that of a functional of the input alone, this one depends on the weights too.")
    directions = np.concatenate([units.responses, first_centre[None]])
    quadratic = _second_coefficients(recorded, directions, np.zeros((len(directions), jackknife.n_obs)))
    return recorded.pushed(0, second[None])[0] + quadratic[:-1].sum(axis=0) - quadratic[-1]


class _Units:
    """What is resampled, in at most n_input directions.

    Attributes
    ----------
    n_units : float
        Number of draws: the sum of weights, or the number of groups that have weight.
    responses : ndarray of shape (n_directions, n_input)
        ``v_j``.
    steps : ndarray of shape (n_directions, n_obs)
        ``d_j``.
    total_squares : float
        ``sum_i (1^T b_i)^2`` over the units.
    """

    def __init__(self, jackknife, labels):
        weights, scores = jackknife.weights0, weight_scores(jackknife)
        if labels is None:
            self.n_units = float(np.sum(weights))
            self.total_squares = self.n_units
            root = np.sqrt(weights)
            rows, spread = root[:, None] * scores, lambda p: p * root
        else:
            distinct, group = np.unique(labels, return_inverse=True)
            totals = group_sums(weights, labels)[1]
            self.n_units = float(np.sum(totals > 0.0))
            self.total_squares = float(totals @ totals)
            rows, spread = group_sums(weights[:, None] * scores, labels)[1], lambda p: p[:, group] * weights
        first = -jackknife.expansion.solver.solve(np.ascontiguousarray(rows.T)).T
        p, sizes, v = np.linalg.svd(first, full_matrices=False)
        kept = sizes > 1e-14 * np.max(sizes, initial=0.0)
        self.responses = sizes[kept, None] * v[kept]
        self.steps = spread(p.T[kept])


def _sum_of_second(jackknife, units):
    """``sum_i input_2(b_i)`` over the units.

    G is linear in the weights but for a penalty of their sum; of that, the part that is quadratic in the sum is the
    same for all directions of one sum, and is put right.
    """
    expansion = jackknife.expansion
    recorded = expansion._problem.recorded
    found = _second_coefficients(recorded, units.responses, units.steps).sum(axis=0)
    unit = np.zeros((1, jackknife.n_obs))
    unit[0, 0] = 1.0
    of_total = _second_coefficients(recorded, np.zeros((1, jackknife.n_input)), unit)[0]
    sums = units.steps.sum(axis=1)
    found = found + of_total * (units.total_squares - sums @ sums)
    return -expansion.solver.solve(found)


def _along(jackknife, direction):
    """First and second coefficients of the input along one direction of the weights."""
    terms = np.zeros((2, 1, jackknife.n_input))

    def rows(start, stop, directions):
        directions[...] = direction

    if np.any(direction):
        jackknife.expansion._recursion.batch(rows, 1, terms)
    return terms[0, 0], terms[1, 0]


def _second_coefficients(recorded, inputs, hypers):
    """``[t^2] F(input_0 + t v, hyper_0 + t d)`` for rows v and d: (n_rows, *shape) of the first output."""
    found = np.zeros((len(inputs), *recorded.values[0].shape))
    block = block_size(recorded.size)
    with np.errstate(all="ignore"):
        for start in range(0, len(inputs), block):
            rows = slice(start, start + block)
            replay = recorded.start(len(inputs[rows]))
            replay.coefficient([np.ascontiguousarray(inputs[rows]), np.ascontiguousarray(hypers[rows])])
            (c,) = replay.coefficient([None, None])
            if c is not None:
                found[rows] = c
    return found
