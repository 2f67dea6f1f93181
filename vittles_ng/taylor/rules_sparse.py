"""Products with constant sparse matrices, inside functions that are differentiated.

The transpose of a CSR matrix is the CSC matrix of the same arrays, and SciPy multiplies with either at the same speed,
so that reverse mode neither converts nor copies the matrix.
"""

import autograd.numpy as anp
import numpy as np
import scipy.sparse
from autograd.extend import defjvp, defvjp, primitive
from autograd.numpy.numpy_vjps import match_complex

from ..errors import OperandError, ShapeError
from .primitives import isbox, plain
from .rules import Linear, defrule

__all__ = ["sparse_dot", "sparse_product"]

_KEPT_FORMATS = ("csr", "csc", "coo", "bsr", "dia")  # whose products SciPy forms without converting


@primitive
def sparse_product(matrix, x, is_transposed):
    """``matrix @ x`` or ``matrix.T @ x``."""
    return (matrix.T if is_transposed else matrix) @ x


defvjp(
    sparse_product,
    lambda ans, matrix, x, is_transposed: lambda g: match_complex(x, sparse_product(matrix, g, not is_transposed)),
    argnums=(1,),
)
defjvp(sparse_product, lambda g, ans, matrix, x, is_transposed: sparse_product(matrix, g, is_transposed), argnums=(1,))


def sparse_dot(A, x):
    """Product of a constant sparse matrix with a vector or matrix, for use inside an objective.

    autograd cannot follow ``A @ x`` for a matrix of ``scipy.sparse``; this has derivatives of every order, in reverse
    and forward mode, and in Taylor series. The rows and columns that the matrix joins are what a sparse Hessian is
    found from.

    Parameters
    ----------
    A : sparse matrix or sparse array of scipy.sparse, shape (m, n)
        A constant, in any format: CSR and CSC are used as they are. Like any constant it must not be written into
        while the function runs.
    x : array_like of shape (n,) or (n, k)

    Returns
    -------
    ndarray of shape (m,) or (m, k)

    Raises
    ------
    OperandError
        ``A`` is no sparse matrix (a dense or traced one goes to ``autograd.numpy.dot``), or entries of ``A`` or ``x``
        are no numbers.
    ShapeError
        The shapes do not fit.

    Examples
    --------
    >>> import autograd
    >>> import autograd.numpy as np
    >>> import scipy.sparse
    >>> import vittles_ng as vn
    >>> A = scipy.sparse.csr_array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    >>> vn.sparse_dot(A, np.ones(3))
    array([3., 3.])
    >>> autograd.grad(lambda x: np.sum(vn.sparse_dot(A, x) ** 2))(np.ones(3))
    array([ 6., 18., 12.])
    """
    A = _checked_matrix(A)
    if scipy.sparse.issparse(x):
        raise OperandError("sparse_dot: x is sparse: pass a dense vector or matrix, x.toarray().")
    if not isbox(x):
        x = np.asarray(x)
    if plain(x).dtype.kind not in "biufc":
        raise OperandError(
            f"sparse_dot: x has dtype {plain(x).dtype}, where numbers are needed: build it with autograd.numpy's "
            "array, stack or concatenate."
        )
    if anp.ndim(x) not in (1, 2) or anp.shape(x)[0] != A.shape[1]:
        raise ShapeError(
            f"sparse_dot: x has shape {anp.shape(x)}, where a matrix of shape {A.shape} takes ({A.shape[1]},) or "
            f"({A.shape[1]}, k)."
        )
    return sparse_product(A, x, False)


def _checked_matrix(A):
    """The matrix in a format whose products need no conversion."""
    if not scipy.sparse.issparse(A):
        kind = f"a traced value of shape {anp.shape(A)}" if isbox(A) else f"a {type(A).__name__}"
        raise OperandError(
            f"sparse_dot: A is {kind}, where a constant matrix or array of scipy.sparse is needed: "
            "use autograd.numpy's dot for a dense one."
        )
    if A.dtype.kind not in "biufc":
        raise OperandError(f"sparse_dot: A has dtype {A.dtype}, where numbers are needed: A.astype(float).")
    if A.ndim != 2:
        raise ShapeError(
            f"sparse_dot: A has {A.ndim} axis and shape {A.shape}, where a matrix is needed: A.reshape(1, -1)."
        )
    return A if A.format in _KEPT_FORMATS else A.tocsr()


def _product(call):
    matrix, _, is_transposed = call.args
    matrix = matrix.T if is_transposed else matrix
    matrix = matrix if matrix.format in ("csr", "csc") else matrix.tocsr()

    def apply(ws, x):
        if len(x) == 1:
            return (matrix @ x[0])[None]
        columns = np.moveaxis(x, 0, -1)  # steps, and columns of x, side by side
        out = matrix @ columns.reshape(columns.shape[0], -1)
        return np.ascontiguousarray(np.moveaxis(out.reshape(out.shape[:1] + columns.shape[1:]), -1, 0))

    return Linear(apply)


defrule(sparse_product, _product)
