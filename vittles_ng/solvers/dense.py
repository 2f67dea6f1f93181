"""What the dense factors share: the explicit inverse where it is good enough, and what is read off it."""

import numpy as np
import scipy.sparse

from .base import Solver

__all__ = ["Dense", "INVERSE_MAX_N", "INVERSE_MIN_RCOND", "product"]

#: A product with the explicit inverse is used up to this size ...
INVERSE_MAX_N = 512
#: ... and down to this reciprocal condition.
INVERSE_MIN_RCOND = 1e-7


def _at_pattern(inverse, pattern):
    """A copy of the inverse, or its entries at the pattern of a csc_array where there is one."""
    if pattern is None:
        return inverse.copy()
    columns = np.repeat(np.arange(pattern.shape[1]), np.diff(pattern.indptr))
    values = inverse[pattern.indices, columns]
    return scipy.sparse.csc_array((values, pattern.indices.copy(), pattern.indptr.copy()), shape=pattern.shape)


def product(matrix, rhs):
    """``matrix @ rhs`` in the memory order of ``rhs``, so that a batch ``(n_steps, n).T`` comes back as one."""
    if rhs.ndim == 2 and rhs.flags.f_contiguous:
        return (rhs.T @ matrix.T).T
    return matrix @ rhs


class Dense(Solver):
    """Base of the dense factors, which set ``_inverse`` (None where the factor is used) and ``_log_det``."""

    _inverse, _log_det = None, 0.0

    def _log_determinant(self):
        return self._log_det

    def _inverse_diagonal(self):
        return self._whole_inverse().diagonal().copy()

    def _selected_inverse(self, pattern):
        return _at_pattern(self._whole_inverse(), pattern)

    def _whole_inverse(self):
        return self._inverse if self._inverse is not None else self.solve(np.eye(self.n))

    def _refactored(self, matrix):
        return type(self)(matrix)
