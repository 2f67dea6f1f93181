"""Derivative tensors ``d^k input / d hyper^k`` from one batch of univariate series.

With ``input_k(d)`` the coefficient of t^k along the direction d and i a multi-index of degree k,

    T_i = d^i input = sum_{|j| = K} gamma_ij input_k(sigma j) / sigma^i,
    input_k(d) = sum_{|i| = k} (T_i / i!) d^i:

the C(n_hyper + K - 1, K) directions ``sigma j`` of the highest degree K serve every order k <= K (Griewank, Utke,
Walther, Math. Comp. 69 (2000) 1117; the coefficients gamma are in ``multi_indices``), so tensors of all orders cost no
more than the highest. Series along the axes come first: they need no interpolation, and their ranges of validity give
``sigma``, a power of two for each hyper: the length at which its terms reach the size of the input. Without it
derivatives in one of two hypers of different units would be lost in the rounding of the other's.
"""

import numpy as np

from ..errors import NonFiniteError, ShapeError
from ..memory import OF_MEMORY, check_size, memory_limit
from ..problem import Structure
from ..recursion import checked_integer
from .evaluation import Evaluation
from .multi_indices import count, factorials, insertions, interpolate, multi_indices, ranks, total

__all__ = ["DerivativeTensors", "derivative_tensors"]

_LONGEST_BLOCK = 2048  # steps evaluated at a time
_BLOCK_ELEMENTS = 65_536  # monomials of a block that stay in cache
_DIRECTION_ELEMENTS = 2**22  # of directions handed to the recursion at a time
_LARGEST_EXPONENT = 900  # of two, of sigma^K: leaves room for the series themselves
_ALONG = "evaluate along directions instead (evaluate_taylor_series, evaluate_input_derivs), or use a lower order"


class DerivativeTensors(Evaluation):
    """All derivatives of the input in the hyper up to an order; a new step is a contraction.

    Parameters
    ----------
    input_val0 : ndarray of shape (n_input,)
        The base point's input, flat.
    hyper_val0 : array_like of shape (n_hyper,), nested, or Structure
        The base point's hyper.
    packed : sequence of ndarray of shape (n_input, n_packed)
        ``d^k input / d hyper^k`` for k = 1, 2, ...: one column for each multi-index, ``n_packed = C(n_hyper + k - 1,
        k)`` of them, in colexicographic order of the non-decreasing hyper axes: 00 01 11 02 12 22 for k = 2.

    Attributes
    ----------
    packed : tuple of ndarray
        As given, read-only.

    Raises
    ------
    ShapeError
        A packed tensor of another shape.

    References
    ----------
    A. Griewank, J. Utke, A. Walther, "Evaluating higher derivative tensors by forward propagation of univariate
    Taylor series", Math. Comp. 69 (2000) 1117.

    Examples
    --------
    ``input = exp(eps_0) eps_1`` at (0, 2): the second derivatives are [[2, 1], [1, 0]].

    >>> import numpy as np
    >>> from vittles_ng.tensors import DerivativeTensors
    >>> tensors = DerivativeTensors(
    ...     np.array([2.0]), [0.0, 2.0], [np.array([[2.0, 1.0]]), np.array([[2.0, 1.0, 0.0]])])
    >>> tensors.tensor(2)
    array([[[2., 1.],
            [1., 0.]]])
    >>> tensors.evaluate_taylor_series([[0.1, 2.0], [0.1, 2.1]]).round(3)
    array([[2.21],
           [2.32]])
    """

    def __init__(self, input_val0, hyper_val0, packed):
        hyper = hyper_val0 if isinstance(hyper_val0, Structure) else Structure(hyper_val0, "hyper_val0")
        super().__init__(input_val0, hyper, len(packed))
        n = hyper.size
        self.packed = tuple(np.array(p, dtype=np.float64, order="C") for p in packed)
        for k, p in enumerate(self.packed, 1):
            if p.shape != (self._input_val0.size, count(n, k)):
                raise ShapeError(
                    f"the packed tensor of order {k} has shape {p.shape}: ({self._input_val0.size}, {count(n, k)}) is "
                    f"needed for {self._input_val0.size} inputs in {n} hypers."
                )
            p.setflags(write=False)
        # row i: T_i / i!, all orders below one another
        self._coefficients = np.concatenate([(p / factorials(n, k)).T for k, p in enumerate(self.packed, 1)])
        self._starts = [total(n, k) for k in range(self._order + 1)]
        self._prefixes = [[count(p + 1, k) for p in range(n)] for k in range(self._order)]

    def tensor(self, k):
        """The full derivative tensor ``d^k input / d hyper^k``.

        Parameters
        ----------
        k : int
            From 0, which gives ``input_val0``, to the order.

        Returns
        -------
        ndarray of shape (n_input, n_hyper, ..., n_hyper)
            k hyper axes; permuted elements are the same float.

        Raises
        ------
        ValueError
            ``k`` is negative or above the order.
        SizeError
            It would take more than a quarter of the machine's memory.
        """
        k = checked_integer(k, "k", 0)
        if k > self._order:
            raise ValueError(f"derivative tensor {k} exceeds the expansion's order {self._order}: expand to more.")
        if k == 0:
            return self.input_val0
        n, n_input = self._hyper.size, self._input_val0.size
        what = f"the full tensor of order {k} of {n_input} inputs in {n} hypers"
        check_size(8 * (n_input + 1) * n**k, what, memory_limit(), OF_MEMORY, _ALONG)
        index = np.arange(n)
        for degree in range(2, k + 1):
            index = insertions(n, degree)[index]
        return self.packed[k - 1][:, index]

    def _sum(self, new, origin, max_order):
        n_rows = self._starts[max_order]
        out = np.empty((len(new), self._input_val0.size))
        for block, monomials in self._monomials(new, origin, max_order):
            np.matmul(monomials.T, self._coefficients[:n_rows], out=out[block])
        return out

    def _terms(self, new, origin, out):
        for block, monomials in self._monomials(new, origin, len(out)):
            for k in range(1, len(out) + 1):
                rows = slice(self._starts[k - 1], self._starts[k])
                np.matmul(monomials[rows].T, self._coefficients[rows], out=out[k - 1, block])

    def _monomials(self, new, origin, order):
        """Blocks of steps with their monomials ``d^i``, (n_monomials, block), each order from the one below it."""
        n_rows = self._starts[order]
        longest = int(np.clip(_BLOCK_ELEMENTS // n_rows, min(16, 1 + 64 * _BLOCK_ELEMENTS // n_rows), _LONGEST_BLOCK))
        buffer = np.empty((n_rows, min(longest, len(new))))
        for start in range(0, len(new), longest):
            block = slice(start, min(start + longest, len(new)))
            monomials = buffer[:, : block.stop - start]
            steps = monomials[: self._hyper.size]
            np.subtract(new[block].T, origin[:, None], out=steps)
            row = len(steps)
            for k in range(2, order + 1):
                lower = monomials[self._starts[k - 2] : self._starts[k - 1]]
                for step, n_prefix in zip(steps, self._prefixes[k - 1], strict=True):
                    np.multiply(lower[:n_prefix], step, out=monomials[row : row + n_prefix])
                    row += n_prefix
            yield block, monomials


def derivative_tensors(recursion, input_val0, hyper_val0, order):
    """All derivative tensors up to an order, from one batch of series along C(n_hyper + order - 1, order) directions.

    Parameters
    ----------
    recursion : Recursion
        Of an expansion at the base point.
    input_val0 : ndarray of shape (n_input,)
    hyper_val0 : array_like of shape (n_hyper,), nested, or Structure
    order : int
        From 1.

    Returns
    -------
    DerivativeTensors

    Raises
    ------
    SizeError
        The series that the tensors are made from would take more than a quarter of the machine's memory.
    NonFiniteError
        A derivative overflows, or a series along one of the directions does.

    Notes
    -----
    Rounding grows by at most C(2 order - 1, order), 35 at order 4, relative to the largest derivative of the same order
    in units that make the series along all axes equally long.
    """
    order = checked_integer(order, "order", 1)
    hyper = hyper_val0 if isinstance(hyper_val0, Structure) else Structure(hyper_val0, "hyper_val0")
    n, n_input = hyper.size, len(input_val0)
    n_directions = count(n, order)
    what = f"forming the derivatives up to order {order} of {n_input} inputs in {n} hypers ({n_directions} directions)"
    n_bytes = 8 * (n_input * (order * n_directions + 2 * total(n, order)) + order * n_directions)
    check_size(n_bytes, what, memory_limit(), OF_MEMORY, _ALONG)
    packed = []
    with np.errstate(all="ignore"):
        series, position, exponents = _series(recursion, n, input_val0, order)
        for k in range(1, order + 1):
            scaled = interpolate(series[k - 1], n, k, order, position)
            packed.append(np.ldexp(scaled, -exponents[multi_indices(n, k)].sum(axis=1)[:, None]).T)
    for k, tensor in enumerate(packed, 1):
        if not np.all(np.isfinite(tensor)):
            raise NonFiniteError(f"derivatives of order {k} overflow: rescale the hyper, or use order={k - 1}.")
    return DerivativeTensors(input_val0, hyper, packed)


def _series(recursion, n, input_val0, order):
    """Series along all directions ``sigma j``, (order, n_directions, n_input), the axes last.

    Returns
    -------
    series : ndarray
    position : ndarray of int, of shape (n_directions,)
        Where the direction of each rank is.
    exponents : ndarray of int, of shape (n,)
        ``log2 sigma``.
    """
    size = float(np.max(np.abs(input_val0))) or 1.0
    orders = np.arange(1, order + 1)[:, None]
    on_axis = ranks(np.repeat(np.arange(n)[:, None], order, axis=1), n)
    mixed = np.setdiff1d(np.arange(count(n, order)), on_axis)
    position = np.empty(len(mixed) + n, dtype=np.intp)
    position[np.append(mixed, on_axis)] = np.arange(len(position))
    series = np.empty((order, len(position), len(input_val0)))
    axes = series[:, len(mixed) :]
    recursion.terms(np.eye(n), np.zeros(n), axes)
    exponents = _exponents(axes, size)
    axes *= (np.ldexp(1.0, orders * exponents) * float(order) ** orders)[:, :, None]
    sequences = multi_indices(n, order)[mixed]
    block = max(1, _DIRECTION_ELEMENTS // n)
    for start in range(0, len(mixed), block):
        rows = slice(start, min(start + block, len(mixed)))
        variables = sequences[rows]
        top = exponents[variables].max(axis=1)  # a direction near one in size keeps its series from over- and underflow
        directions = np.zeros((len(variables), n))
        lengths = np.ldexp(1.0, exponents[variables] - top[:, None])
        np.add.at(directions, (np.arange(len(variables))[:, None], variables), lengths)
        recursion.terms(directions, np.zeros(n), series[:, rows])
        series[:, rows] *= np.ldexp(1.0, orders * top)[:, :, None]
    return series, position, exponents


def _exponents(axes, size):
    """``log2 sigma`` of each hyper: sigma is the length at which a term of the axis' series first reaches a size."""
    order, n, _ = axes.shape
    logs = np.log2(size / np.max(np.abs(axes), axis=2)) / np.arange(1, order + 1)[:, None]
    lengths = np.min(logs, axis=0)
    lengths[~np.isfinite(lengths)] = 0.0  # the input does not move along this axis
    largest = _LARGEST_EXPONENT // order
    return np.clip(np.round(lengths), -largest, largest).astype(np.int64)
