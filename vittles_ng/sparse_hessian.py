"""Sparse second derivatives of a function: pattern found from the tape, entries from few products.

The entries come from products ``H v`` with directions that :class:`~vittles_ng.assembly.Assembly` chooses: one for each
dense column, one for each colour of the rest.
"""

import numpy as np
import scipy.sparse

from .adjoint import pulled_back
from .assembly import Assembly, checked_pattern
from .errors import PatternError, ShapeError
from .problem import Equation
from .taylor.recorded import Recorded

__all__ = ["SparseBlockHessian", "SparseHessian", "SparseJacobian"]


class _SparseDerivative:
    """What the Hessian of an objective and the Jacobian of an estimating equation share."""

    _is_objective = True

    def __init__(self, function, input_val0, sparsity="auto"):
        if isinstance(sparsity, str) and sparsity != "auto":
            raise ValueError(f"sparsity={sparsity!r} is not known: use 'auto' or a pattern.")
        self._equation = Equation(lambda x, _: function(x), input_val0, 0.0, self._is_objective)
        self._finds_pattern = isinstance(sparsity, str)
        self._at(self._equation.input.flat0)
        self._find(self.recorded.pattern(0) if self._finds_pattern else sparsity)

    def _find(self, pattern):
        n = self._equation.input.size
        self.assembly = Assembly(checked_pattern(pattern, n, self._is_objective), self._is_objective)
        self._matrix = self.assembly.matrix()

    def _at(self, flat):
        self._flat = flat
        self.recorded = Recorded(self._function, (flat,))

    def _function(self, flat):
        return self._equation(flat, self._equation.hyper.flat0)

    pattern = property(lambda self: self.assembly.pattern, doc="Where entries may be, csc_array (n_input, n_input).")
    n_products = property(lambda self: self.assembly.n_products, doc="Products that one matrix takes.")
    n_colours = property(lambda self: self.assembly.n_colours, doc="Products that find more than one column each.")
    dense = property(lambda self: self.assembly.dense, doc="Inputs whose columns are found one by one.")

    def matrix(self, input_val=None):
        """The matrix at an input.

        Parameters
        ----------
        input_val : as ``input_val0``, default=None
            Default: the input of the last call, at first ``input_val0``.

        Returns
        -------
        csc_array of shape (n_input, n_input)
            The same object each time, with its ``data`` overwritten (another one only where "auto" finds that the
            function takes another branch there, with other entries); copy it to keep it, and give each thread a
            Hessian of its own.

        Raises
        ------
        PatternError
            Entries are missing from the pattern given: the product with a random direction differs.
        """
        if input_val is not None:
            flat = self._equation.input.flatten(input_val, "input_val")
            if not np.array_equal(flat, self._flat):
                self._at(flat)
        try:
            return self._fill()
        except PatternError:
            if not self._finds_pattern:
                raise
        self._find(self.recorded.pattern(0))
        return self._fill()

    def _fill(self):
        return self.assembly.fill(self._products, self._transposed, self._matrix)

    def product(self, v):
        """The product with v of shape (n_input,) at the input of the last call, from the tape."""
        v = np.asarray(v, dtype=np.float64)
        if v.shape != (self._equation.input.size,):
            raise ShapeError(f"v has shape {v.shape}: ({self._equation.input.size},) is needed.")
        return self._products(v[None, :])[0]

    def _products(self, directions):
        return self.recorded.products(0, directions)

    def _transposed(self, rows):
        return pulled_back(self._function, self.recorded, (self._flat,), 0, rows)

    def __repr__(self):
        n = self._equation.input.size
        return (
            f"<{type(self).__name__}, {n} x {n}, {self.assembly.nnz} entries from {self.n_products} products "
            f"({self.n_colours} colours)>"
        )


class SparseHessian(_SparseDerivative):
    """The sparse Hessian of an objective.

    Parameters
    ----------
    objective_function : callable
        ``objective(input) -> scalar``, written in ``autograd.numpy``; it runs once for each input.
    input_val0 : array_like of shape (n_input,), or nested dict, list or tuple of arrays
        Where the pattern is found.
    sparsity : "auto" or pattern, default="auto"
        A sparse matrix or array (n_input, n_input) that has the entries, in one triangle or both; "auto" finds it on
        the tape: no entry is missed, some may turn out to be zero.

    Attributes
    ----------
    pattern : csc_array of shape (n_input, n_input)
    n_products, n_colours : int
        Hessian-vector products that one matrix takes, and how many of them find more than one column.
    dense : ndarray of int
        Inputs, global parameters mostly, whose columns are found one by one.

    References
    ----------
    A. R. Curtis, M. J. D. Powell, J. K. Reid, J. Inst. Maths Applics 13 (1974) 117.

    Examples
    --------
    A chain of squares, whose Hessian is tridiagonal: three products at any length.

    >>> import numpy as np, autograd.numpy as anp
    >>> import vittles_ng as vn
    >>> chain = vn.SparseHessian(lambda x: anp.sum((x[1:] - x[:-1]) ** 2) + anp.sum(x ** 4), np.ones(1000))
    >>> chain.n_products, chain.pattern.nnz
    (3, 2998)
    >>> chain.matrix().toarray()[:2, :3]
    array([[14., -2.,  0.],
           [-2., 16., -2.]])
    """

    def __init__(self, objective_function, input_val0, sparsity="auto"):
        super().__init__(objective_function, input_val0, sparsity)


class SparseJacobian(_SparseDerivative):
    """The sparse Jacobian of an estimating equation that need not be a gradient.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input) -> (n_input,)``, written in ``autograd.numpy``.
    input_val0, sparsity
        As in :class:`SparseHessian`; a pattern has both triangles, rows are equations. Dense rows are found by products
        with the transpose (reverse passes), one each.

    Examples
    --------
    >>> import numpy as np, autograd.numpy as anp
    >>> import vittles_ng as vn
    >>> upwind = vn.SparseJacobian(lambda x: x ** 2 - anp.concatenate([anp.zeros(1), x[:-1]]), np.ones(3))
    >>> upwind.matrix().toarray()
    array([[ 2.,  0.,  0.],
           [-1.,  2.,  0.],
           [ 0., -1.,  2.]])
    """

    _is_objective = False

    def __init__(self, estimating_equation, input_val0, sparsity="auto"):
        super().__init__(estimating_equation, input_val0, sparsity)


class SparseBlockHessian:
    """The Hessian of an objective that splits into terms of disjoint blocks of the input, up to a few global inputs.

    Parameters
    ----------
    objective_function : callable
        ``objective(opt_par) -> scalar`` of a vector (n,).
    sparsity_array : array_like of int of shape (n_blocks, block_size)
        The indices of each block, none of them twice.

    Raises
    ------
    ValueError
        Indices are repeated, negative, or not integers.

    Notes
    -----
    The matrices are csc_matrix (vittles' were coo_matrix). The block structure is checked: :class:`PatternError` says
    where inputs of different blocks interact.

    Examples
    --------
    >>> import numpy as np, autograd.numpy as anp
    >>> import vittles_ng as vn
    >>> hessian = vn.SparseBlockHessian(lambda x: (x[0] * x[1]) ** 2 + (x[2] * x[3]) ** 2, [[0, 1], [2, 3]])
    >>> hessian.get_block_hessian(np.ones(4)).toarray()
    array([[2., 4., 0., 0.],
           [4., 2., 0., 0.],
           [0., 0., 2., 4.],
           [0., 0., 4., 2.]])
    """

    def __init__(self, objective_function, sparsity_array):
        blocks = np.asarray(sparsity_array)
        if blocks.ndim != 2 or blocks.dtype.kind not in "iu" or np.any(blocks < 0):
            raise ShapeError(
                f"sparsity_array has shape {blocks.shape} and type {blocks.dtype}: indices (n_blocks, block_size) of "
                "the inputs in each block are needed."
            )
        if len(np.unique(blocks)) != blocks.size:
            raise ValueError("sparsity_array names an input twice: blocks must be disjoint.")
        self._function, self._blocks = objective_function, blocks.astype(np.int64)
        self._last = None, None

    def get_block_hessian(self, opt_par, print_every=0):
        """The entries within the blocks, csc_matrix (n, n), from ``block_size`` products.

        Parameters
        ----------
        opt_par : array_like of shape (n,)
        print_every : int, default=0
            A line of progress is printed after so many products; 0 for none.
        """
        recorded, n = self._recorded(opt_par)
        n_blocks, size = self._blocks.shape
        rows = np.repeat(self._blocks, size, axis=1).ravel()
        columns = np.tile(self._blocks, (1, size)).ravel()
        pattern = scipy.sparse.csc_array((np.ones(rows.size, np.int8), (rows, columns)), shape=(n, n))
        is_local = np.zeros(n)
        is_local[self._blocks] = 1.0

        def product(directions, print_every=print_every):  # of the part between local inputs
            return _products(recorded, directions * is_local, print_every) * is_local

        assembly = Assembly(pattern, symmetric=True)
        return scipy.sparse.csc_matrix(assembly.fill(product, check=lambda probe: product(probe, print_every=0)))

    def get_global_hessian(self, opt_par, global_inds=None, print_every=0):
        """The entries in rows and columns of global inputs, csc_matrix (n, n), from a product each.

        Parameters
        ----------
        opt_par : array_like of shape (n,)
        global_inds : array_like of int, default=None
            The global inputs; default: those in no block.
        print_every : int, default=0
            A line of progress is printed after so many products; 0 for none.
        """
        recorded, n = self._recorded(opt_par)
        others = np.setdiff1d(np.arange(n), self._blocks)
        chosen = others if global_inds is None else _indices(global_inds, n)
        both = np.intersect1d(chosen, self._blocks)
        if both.size:
            raise ValueError(f"global_inds has inputs that are in a block ({both[:5]}): they must be in none.")
        directions = np.zeros((len(chosen), n))
        directions[np.arange(len(chosen)), chosen] = 1.0
        found = _products(recorded, directions, print_every)
        local = np.sort(self._blocks.ravel())
        across, within = found[:, local], found[:, chosen]
        index = np.meshgrid(chosen, local, indexing="ij"), np.meshgrid(chosen, chosen, indexing="ij")
        rows = np.concatenate([part.ravel() for part in (index[0][0], index[0][1], index[1][0])])
        columns = np.concatenate([part.ravel() for part in (index[0][1], index[0][0], index[1][1])])
        values = np.concatenate([part.ravel() for part in (across, across, 0.5 * (within + within.T))])
        return scipy.sparse.csc_matrix((values, (rows, columns)), shape=(n, n))

    def get_hessian(self, opt_par, print_every=0):
        """The whole Hessian, csc_matrix (n, n): blocks and global inputs."""
        local = self.get_block_hessian(opt_par, print_every=print_every)
        return local + self.get_global_hessian(opt_par, print_every=print_every)

    def _recorded(self, opt_par):
        """The gradient recorded at a vector, and its length."""
        flat = np.atleast_1d(np.asarray(opt_par, dtype=np.float64))
        if flat.ndim != 1 or flat.size <= self._blocks.max(initial=-1):
            raise ShapeError(
                f"opt_par has shape {flat.shape}: a vector of more than {self._blocks.max(initial=-1)} elements is "
                "needed, which the blocks index."
            )
        key, recorded = self._last
        if key != flat.tobytes():
            equation = Equation(lambda x, _: self._function(x), flat, 0.0, is_objective=True)
            recorded = Recorded(lambda x: equation(x, equation.hyper.flat0), (flat,))
            self._last = flat.tobytes(), recorded
        return recorded, flat.size


def _indices(given, n):
    """Indices of inputs, sorted and each once."""
    given = np.asarray(given)
    if given.size and (given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= n):
        raise ValueError(f"global_inds has other elements than indices from 0 to {n - 1}: {given.ravel()[:5]}.")
    return np.unique(given.astype(np.int64))


def _products(recorded, directions, print_every):
    """Products with rows, with a line of progress after every few."""
    if not print_every > 0:
        return recorded.products(0, directions)
    parts = []
    for start in range(0, len(directions), print_every):
        parts.append(recorded.products(0, directions[start : start + print_every]))
        print(f"{min(start + print_every, len(directions))} of {len(directions)} products")
    return np.concatenate(parts) if parts else np.zeros_like(directions)
