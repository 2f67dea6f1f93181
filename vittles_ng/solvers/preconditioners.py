"""Preconditioners of conjugate gradients: what is asked for, made into a function of rows ``(n_vectors, n)``."""

import numpy as np
import scipy.sparse

from ..errors import NonFiniteError, NotPositiveDefiniteError, ShapeError
from .arrow import Arrow, arrow
from .schur import Schur

__all__ = ["block_jacobi", "make_preconditioner"]


def make_preconditioner(options, n, matrix):
    """The function ``R -> M R`` of rows, or None, and its name.

    Parameters
    ----------
    options : CGOptions
    n : int
    matrix : csc_array or ndarray of shape (n, n), or None
        The matrix, where it is known.
    """
    chosen, named = options.preconditioner, isinstance(options.preconditioner, str)
    for name in ("diagonal", "blocks"):
        if getattr(options, name) is not None and not (named and chosen == name.removesuffix("s")):
            raise ValueError(f"{name}= is for preconditioner={name.removesuffix('s')!r} only.")
    if chosen is None:
        return None, "no preconditioner"
    if named:
        if chosen not in ("diagonal", "block"):
            raise ValueError(
                f"preconditioner {chosen!r}: expected 'diagonal', 'block', a function, or a solver with solve(rhs)."
            )
        if n == 0:
            return None, f"{chosen} preconditioner"
        return (_diagonal if chosen == "diagonal" else _block)(options, n, matrix), f"{chosen} preconditioner"
    if hasattr(chosen, "solve"):
        return _by_solver(chosen, n), f"preconditioner: {getattr(chosen, 'description', 'a solver')}"
    if callable(chosen):
        return _by_function(chosen), "preconditioner: a function"
    raise TypeError(
        f"preconditioner of type {type(chosen).__name__}: expected a function, a solver, 'diagonal' or 'block'."
    )


def _diagonal(options, n, matrix):
    if options.diagonal is None and matrix is None:
        raise ValueError(
            "preconditioner 'diagonal' needs the matrix itself, or its diagonal: pass diagonal=, of shape (n,)."
        )
    diagonal = matrix.diagonal() if options.diagonal is None else np.array(options.diagonal, dtype=float)
    if diagonal.shape != (n,):
        raise ShapeError(f"diagonal= has shape {diagonal.shape}: ({n},) is needed.")
    if not np.isfinite(diagonal).all():
        raise NonFiniteError(f"diagonal= has {np.sum(~np.isfinite(diagonal))} NaN or infinite elements.")
    worst = int(diagonal.argmin())
    if diagonal[worst] <= 0:
        raise NotPositiveDefiniteError(
            f"diagonal entry {diagonal[worst]:.1e} of input {worst}: that of a positive definite matrix is positive."
        )
    return lambda rows: rows / diagonal


def _block(options, n, matrix):
    if matrix is None:
        raise ValueError(
            "preconditioner 'block' needs the matrix itself, its blocks cannot be told from products: pass a matrix "
            "(an expansion has one with sparsity='auto' or a pattern), or preconditioner='diagonal' with diagonal=."
        )
    blocks = options.blocks
    if blocks is None:
        found = arrow(matrix)
        if found is None:
            raise ValueError(
                "preconditioner 'block': the matrix is no block arrow, so that its blocks are not known: pass blocks=, "
                "one array of indices for each."
            )
        blocks = [row for same_size in found.blocks for row in same_size] + [found.global_inputs]
    return _by_solver(block_jacobi(matrix, blocks), n)


def block_jacobi(matrix, blocks):
    """The factored diagonal blocks of a matrix, zero elsewhere.

    Parameters
    ----------
    matrix : sparse or ndarray of shape (n, n)
        Symmetric.
    blocks : sequence of index arrays
        Which inputs make a block each; inputs in none are blocks of one.

    Returns
    -------
    Schur
        Of the block diagonal matrix.

    Raises
    ------
    ValueError
        If an index is in two blocks, or is none of the matrix.
    NotPositiveDefiniteError
        If a block is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.solvers.preconditioners import block_jacobi
    >>> matrix = np.array([[2.0, 1.0, 0.5], [1.0, 2.0, 0.5], [0.5, 0.5, 4.0]])
    >>> block_jacobi(matrix, [[0, 1]]).solve(np.array([3.0, 3.0, 4.0])).round(12)
    array([1., 1., 1.])
    """
    n = matrix.shape[0]
    label = np.full(n, -1)
    by_size = {}
    for number, block in enumerate(blocks):
        block = np.asarray(block).ravel()
        if block.size == 0:
            continue
        if block.dtype.kind not in "iu" or block.min() < 0 or block.max() >= n:
            raise ValueError(f"block {number} of the preconditioner: indices from 0 to {n - 1} are needed.")
        if np.any(label[block] >= 0) or np.unique(block).size < block.size:
            raise ValueError(f"block {number} of the preconditioner has an index that is in a block already.")
        label[block] = number
        by_size.setdefault(block.size, []).append(block)
    alone = np.flatnonzero(label < 0)
    label[alone] = len(blocks) + np.arange(alone.size)
    by_size.setdefault(1, []).extend(alone[:, None])
    entries = scipy.sparse.coo_array(matrix)
    rows, columns = entries.coords
    inside = label[rows] == label[columns]
    diagonal_blocks = scipy.sparse.csc_array((entries.data[inside], (rows[inside], columns[inside])), shape=(n, n))
    structure = Arrow(n, np.zeros(0, dtype=int), tuple(np.array(b) for b in by_size.values() if len(b)))
    return Schur(diagonal_blocks, structure)


def _by_solver(solver, n):
    shape = tuple(getattr(solver, "shape", (n, n)))
    if shape != (n, n):
        raise ShapeError(f"the preconditioner has shape {shape}, the matrix has ({n}, {n}).")
    # A solver of one's own takes vectors at least.
    if not hasattr(solver, "_solve"):
        return _by_function(solver.solve)
    return lambda rows: solver.solve(rows.T).T


def _by_function(function):
    def precondition(rows):
        result = np.empty(rows.shape)
        for row, r in zip(result, rows, strict=True):
            one = np.array(function(r.copy()), dtype=float)
            if one.shape != r.shape:
                raise ShapeError(f"the preconditioner turns a vector of shape {r.shape} into one of shape {one.shape}.")
            row[:] = one
        return result

    return precondition
