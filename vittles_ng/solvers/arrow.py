"""Block arrows: a few global inputs, and blocks of local inputs that meet each other in the globals only.

In the order blocks, globals such a matrix is ``[[B, C], [C^T, D]]`` with B block diagonal: hierarchical models have
Hessians like this, whatever the order of their inputs.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from ..errors import ShapeError
from .arrow_parts import column_chunks

__all__ = ["Arrow", "arrow", "MAX_BLOCK", "MAX_GLOBAL"]

#: Largest local block that is looked for: blocks are dense.
MAX_BLOCK = 256
#: Most global inputs that are looked for: their Schur complement is dense.
MAX_GLOBAL = 2000
#: How many steps in the sorted row counts are tried as the line between globals and locals.
N_TRIED = 6


@dataclass(frozen=True, eq=False)
class Arrow:
    """Which inputs of a block arrow are global, and which local ones make a block.

    Parameters
    ----------
    n : int
        Number of inputs.
    global_inputs : ndarray of shape (n_global,)
        Indices of the globals.
    blocks : tuple of ndarray of shape (n_blocks, size)
        Indices of the locals, one array for each size of block, one row for each block.

    Raises
    ------
    ShapeError
        If an input is in none of them, or in two.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers import Arrow
    >>> Arrow(5, np.array([4]), (np.array([[0, 1], [2, 3]]),))
    <block arrow of 5 inputs: 2 blocks of 2, 1 global>
    """

    n: int
    global_inputs: np.ndarray
    blocks: tuple

    def __post_init__(self):
        object.__setattr__(self, "global_inputs", np.array(self.global_inputs, dtype=np.intp).ravel())
        blocks = tuple(np.array(b, dtype=np.intp) for b in self.blocks)
        if any(b.ndim != 2 for b in blocks):
            raise ShapeError("the blocks of an arrow are arrays (n_blocks, size), one for each size.")
        object.__setattr__(self, "blocks", tuple(b for b in blocks if b.size))
        order = self.order
        if not np.array_equal(np.sort(order), np.arange(self.n)):
            raise ShapeError(
                f"a block arrow of {self.n} inputs whose globals and blocks hold {order.size} indices, "
                f"{np.unique(order).size} of them different: each input must be in exactly one of them."
            )
        for indices in (self.global_inputs, *self.blocks):
            indices.setflags(write=False)

    @property
    def order(self):
        """The inputs in the order blocks, globals: ndarray of shape (n,)."""
        return np.concatenate([*(b.ravel() for b in self.blocks), self.global_inputs])

    @property
    def n_global(self):
        """Number of global inputs."""
        return self.global_inputs.size

    @property
    def n_local(self):
        """Number of local inputs."""
        return self.n - self.n_global

    @property
    def flops(self):
        """About how many multiplications a factorization takes."""
        g = self.n_global
        return sum(b.shape[0] * b.shape[1] * (b.shape[1] ** 2 / 2 + b.shape[1] * g + g**2 / 2) for b in self.blocks) + (
            g**3 / 6
        )

    @property
    def full_entries(self):
        """Entries of the matrix if its blocks and its globals' rows and columns were full."""
        g = self.n_global
        return sum(b.shape[0] * b.shape[1] ** 2 for b in self.blocks) + 2 * g * self.n_local + g * g

    def __repr__(self):
        counts = ", ".join(f"{b.shape[0]} block{'s' * (b.shape[0] > 1)} of {b.shape[1]}" for b in self.blocks[:3])
        more = ", ..." if len(self.blocks) > 3 else ""
        return f"<block arrow of {self.n} inputs: {counts or 'no block'}{more}, {self.n_global} global>"


def arrow(pattern):
    """Find the block arrow in a symmetric pattern, the inputs being in any order.

    Globals are the rows with most entries, blocks the connected components of what is left of the graph without them.
    Where the line is drawn: at one of the largest steps in the row counts, that which makes the cheapest factor.

    Parameters
    ----------
    pattern : sparse or array_like of shape (n, n)
        What is stored counts as an entry, zero or not.

    Returns
    -------
    Arrow or None
        None where there is none with at most 2000 globals and half of the inputs, and blocks of at most 256.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> from vittles_ng.solvers import arrow
    >>> matrix = scipy.sparse.block_diag([np.ones((2, 2))] * 3 + [np.ones((1, 1))]).toarray()
    >>> matrix[6] = matrix[:, 6] = 1.0
    >>> arrow(matrix)
    <block arrow of 7 inputs: 3 blocks of 2, 1 global>
    """
    matrix = scipy.sparse.csc_array(pattern)
    n = matrix.shape[0]
    if matrix.shape != (n, n):
        raise ShapeError(f"pattern of shape {matrix.shape}: a square one is needed.")
    if n == 0:
        return Arrow(0, np.zeros(0), ())
    counts = np.diff(matrix.indptr)
    by_count = np.argsort(-counts, kind="stable")
    best = None
    for n_global in _candidates(counts[by_count]):
        if best is not None and n_global**3 / 6 > best.flops:
            continue
        found = _components(matrix, np.sort(by_count[:n_global]))
        if found is not None and (best is None or found.flops < best.flops):
            best = found
    return best


def _candidates(counts):
    """Numbers of globals to try, from row counts in falling order."""
    most = min(MAX_GLOBAL, counts.size // 2)
    # With g globals a local has at most MAX_BLOCK + g entries: rows with more are global themselves.
    reachable = np.flatnonzero(counts[: most + 1] <= MAX_BLOCK + np.arange(min(most + 1, counts.size)))
    if reachable.size == 0:
        return []
    fewest = int(reachable[0])
    steps = np.arange(fewest + 1, most + 1)
    ratio = counts[steps - 1] / np.maximum(counts[steps], 1)
    steps = steps[np.argsort(-ratio, kind="stable")[:N_TRIED]]
    return [fewest, *(int(g) for g in np.sort(steps) if counts[g - 1] > counts[g])]


def _components(matrix, global_inputs):
    """The arrow with given globals; None where a block is too large."""
    n = matrix.shape[0]
    number = np.full(n, -1, dtype=np.int32)
    is_local = np.ones(n, dtype=bool)
    is_local[global_inputs] = False
    local = np.flatnonzero(is_local)
    number[local] = np.arange(local.size)
    rows, counts = [], []
    for _, _, indices, _, in_column in column_chunks(matrix, local):
        found = number[indices]
        kept = np.flatnonzero(found >= 0)
        rows.append(found[kept])
        counts.append(np.diff(np.searchsorted(kept, np.cumsum(in_column)), prepend=0))
    rows = np.concatenate([np.zeros(0, dtype=np.int32), *rows])
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, dtype=np.intp), *counts]))])
    graph = scipy.sparse.csr_array((np.ones(rows.size), rows, indptr), shape=(local.size, local.size))
    n_blocks, label = connected_components(graph, directed=False)
    sizes = np.bincount(label, minlength=n_blocks)
    if sizes.size and sizes.max() > MAX_BLOCK:
        return None
    by_block = np.argsort(label, kind="stable")
    first = np.cumsum(sizes) - sizes
    blocks = []
    for size in np.unique(sizes):
        blocks.append(local[by_block[first[sizes == size][:, None] + np.arange(size)]])
    return Arrow(n, global_inputs, tuple(blocks))
