"""Products of row vectors with the Jacobian of a recorded function: reverse passes that the tape checks.

``rows @ J`` costs one reverse pass over the user's function per row, or one direction on the tape per column of J.
autograd's derivative rules are not above suspicion - some branch on values, so that the derivative of a gradient is
wrong without a word - nor do all have derivatives of their own. So what the reverse passes give must agree with the
tape along a random direction v, ``(rows @ J) v = rows @ (J v)``; where it does not, J is formed from the tape.
"""

import numpy as np
from autograd.core import make_vjp

from .taylor.recorded import block_size
from .taylor.tracing import traced_code

__all__ = ["pulled_back"]

_AGREEMENT = 1e-8  # of both sides of the check, relative to the sums of absolute values


def pulled_back(fun, recorded, base, argnum, rows):
    """``rows @ J`` at the base point, J the Jacobian in one argument.

    Parameters
    ----------
    fun : callable
        A function of flat vectors.
    recorded : Recorded
        The same, recorded at ``base``.
    base : sequence of ndarray
        Its arguments.
    argnum : int
    rows : ndarray of shape (n_rows, n_output)
        ``fun``'s outputs flattened.

    Returns
    -------
    ndarray of shape (n_rows, n)
        By reverse passes where there are fewer rows than columns, from the tape otherwise.
    """
    n = base[argnum].size
    if not len(rows) or not recorded.depends_on(argnum):
        return np.zeros((len(rows), n))
    if len(rows) < n:
        try:
            found = _by_reverse(fun, base, argnum, rows)
        except Exception:  # whatever autograd raises where a derivative rule has none itself
            found = None
        if found is not None and _agrees(found, recorded, argnum, rows):
            return found
    columns, block = np.empty((n, len(rows))), block_size(recorded.size)
    for start in range(0, n, block):
        directions = np.zeros((min(block, n - start), n))
        directions[:, start : start + block] = np.eye(len(directions))
        columns[start : start + block] = recorded.pushed(argnum, directions).reshape(len(directions), -1) @ rows.T
    return columns.T


def _by_reverse(fun, base, argnum, rows):
    arguments = [np.array(value) for value in base]

    def of_one(x):
        return fun(*arguments[:argnum], x, *arguments[argnum + 1 :])

    with traced_code(), np.errstate(all="ignore"):
        pull, value = make_vjp(of_one, arguments[argnum])
        return np.array([pull(row.reshape(np.shape(value))) for row in rows], dtype=np.float64)


def _agrees(found, recorded, argnum, rows):
    v = np.random.default_rng(3).standard_normal(found.shape[1])
    pushed = recorded.pushed(argnum, v[None, :])[0].ravel()
    scale = np.abs(found) @ np.abs(v) + np.abs(rows) @ np.abs(pushed)
    return bool(np.all(np.abs(found @ v - rows @ pushed) <= _AGREEMENT * scale))
