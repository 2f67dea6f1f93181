"""Sums over observations as sums over blocks of them, formed where the blocks lie.

``G``, its Jacobian and the coefficients of its series are sums over rows, so over blocks of rows. A block's share is
formed by a function that keeps nothing: it gets the block, the point and the series so far. What it needs of the model
travels once, see :mod:`vittles_ng.executors`. Shares of blocks of Dask arrays are added up by Dask, on its workers.
"""

import numpy as np

from ..errors import DataError, NonFiniteError, ShapeError
from ..executors import Shared, progress, workers
from ..worker_process import run_flat
from .weighted import WeightedModel

__all__ = ["Parts", "blocks_from", "is_dask_array"]

_ADDED_AT_ONCE = 8
_LARGE = 2**20  # bytes


class _Rows(WeightedModel):
    """The rows of a block, which have been checked before."""

    def _check_rows(self):
        pass


class Parts:
    """What the rows of any block have in common: the model without its data.

    Parameters
    ----------
    loss : callable
        Or ``g`` of an estimating equation.
    input_val0
        For its structure.
    is_objective : bool
    loaders : tuple of callable
        The blocks that are loaded where they are worked on.
    """

    def __init__(self, loss, input_val0, is_objective, loaders):
        self.loss, self.input_val0, self.is_objective = loss, input_val0, is_objective
        self.loaders = loaders

    def shared(self):
        """These, as other processes get them."""
        return Shared(self, Parts, (self.loss, self.input_val0, self.is_objective, self.loaders))

    def model(self, block):
        """The rows of a block as a :class:`WeightedModel` without a penalty."""
        return self._made(_Rows, block)

    def checked_model(self, block):
        """The same, checked: shapes, finite, no mixing of rows."""
        return self._made(WeightedModel, block)

    def _made(self, kind, block):
        rows = self.loaders[block]() if isinstance(block, int) else tuple(block)
        return kind(self.loss, self.input_val0, rows, None, None, self.is_objective)


def check(parts, block, i):
    """The number of rows of the i-th block, which is looked at."""
    try:
        return parts.checked_model(block).n_obs
    except (DataError, NonFiniteError, ShapeError) as error:
        raise type(error)(f"in block {i}: {error}") from error


def is_dask_array(x):
    """Whether something is a Dask array, without importing Dask."""
    return hasattr(x, "dask") and hasattr(x, "rechunk")


def blocks_from(loss, input_val0, is_objective, blocks, executor):
    """The blocks of an argument ``blocks``, checked.

    Returns
    -------
    Blocks
    """
    if isinstance(executor, (int, np.integer)):
        raise TypeError(
            "executor is a number: blocks are worked on again and again, so pass an executor that stays, such as "
            "concurrent.futures.ProcessPoolExecutor(2)."
        )
    blocks = blocks if isinstance(blocks, (tuple, list)) else (blocks,)
    if any(is_dask_array(array) for array in blocks):
        made = _DaskBlocks(Parts(loss, input_val0, is_objective, ()), blocks, executor)
    else:
        made = _ListedBlocks(loss, input_val0, is_objective, blocks, executor)
    n_rows = made.map(check, [(i,) for i in range(made.n_blocks)])
    made.starts = np.append(0, np.cumsum(n_rows))
    return made


class Blocks:
    """Blocks of rows, and functions of them.

    Attributes
    ----------
    n_blocks : int
    starts : ndarray of int, shape (n_blocks + 1,)
        First row of each, and the number of rows.
    are_chunks : bool
        Whether they are chunks of Dask arrays.
    """

    are_chunks = False

    def split(self, values):
        """Values per row, rows last, as those of every block: a list."""
        if is_dask_array(values):
            n_sets = values.shape[0]
            by_block = values.rechunk((n_sets, tuple(int(n) for n in np.diff(self.starts))))
            return list(by_block.to_delayed().ravel())
        return [values[..., start:stop] for start, stop in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def map(self, function, by_block=None, common=()):
        """``function(parts, block, *by_block[i], *common)`` of every block: a list."""
        raise NotImplementedError

    def sum(self, function, by_block=None, common=()):
        """The sum of what :meth:`map` gives, a tuple of arrays."""
        raise NotImplementedError

    def _arguments(self, by_block, common):
        return [(*own, *common) for own in ([()] * self.n_blocks if by_block is None else by_block)]


class _ListedBlocks(Blocks):
    """Tuples of arrays, or functions that load them."""

    def __init__(self, loss, input_val0, is_objective, blocks, executor):
        if not blocks:
            raise ShapeError("blocks is empty: a list of tuples of arrays is needed, one tuple for each block of rows.")
        loaders = tuple(block for block in blocks if callable(block))
        numbers = iter(range(len(loaders)))
        self._blocks = [next(numbers) if callable(b) else b if isinstance(b, tuple) else (b,) for b in blocks]
        self.n_blocks = len(blocks)
        self._shared = Parts(loss, input_val0, is_objective, loaders).shared()
        self._executor = executor

    def map(self, function, by_block=None, common=()):
        arguments = self._arguments(by_block, common)
        calls = ((function, block, *own) for block, own in zip(self._blocks, arguments, strict=True))
        if self._executor is None:
            return [_apply(self._shared.local, *call) for call in progress(calls, self.n_blocks, "blocks")]
        with workers(self._executor) as some:
            return some.map(self._shared, _apply, calls, self.n_blocks, "blocks")

    def sum(self, function, by_block=None, common=()):
        return _added(self.map(function, by_block, common))


def _apply(parts, function, block, *arguments):
    return function(parts, block, *arguments)


def _added(shares):
    """Sums of tuples of arrays, pairwise, so that rounding errors grow slowly."""
    while len(shares) > 1:
        pairs = [shares[i : i + 2] for i in range(0, len(shares), 2)]
        shares = [pair[0] if len(pair) == 1 else tuple(a + b for a, b in zip(*pair, strict=True)) for pair in pairs]
    return shares[0]


class _DaskBlocks(Blocks):
    """Chunks of Dask arrays."""

    are_chunks = True

    def __init__(self, parts, arrays, executor):
        import dask
        import dask.array

        self._delayed, self._compute = dask.delayed, dask.compute
        self._client = executor if hasattr(executor, "scatter") else getattr(executor, "_client", None)
        if executor is not None and not hasattr(self._client, "scatter"):
            raise TypeError(
                f"executor is a {type(executor).__name__}, but the data are Dask arrays: pass a dask.distributed "
                "Client, or None for Dask's own scheduler."
            )
        first = next(array for array in arrays if is_dask_array(array))
        shapes = [np.shape(array) for array in arrays]
        if any(len(shape) == 0 for shape in shapes) or np.isnan(first.chunks[0]).any():
            raise ShapeError(
                f"arrays of shapes {shapes}: as many rows in each are needed, with known chunks (see Dask's "
                "compute_chunk_sizes())."
            )
        if len({shape[0] for shape in shapes}) != 1:
            raise ShapeError(f"data has shapes {shapes}: arrays with one row per observation each are needed.")
        self._arrays = arrays  # what is persisted lives as long as they do
        self._chunks = list(zip(*(self._rows(dask.array.asarray(a), first.chunks[0]) for a in arrays), strict=True))
        self.n_blocks = len(self._chunks)
        self._key, payload = parts.shared().pickled
        self._payload = dask.delayed(payload)

    @staticmethod
    def _rows(array, lengths):
        chunks = (lengths, *((n,) for n in array.shape[1:]))
        array = array if array.chunks == chunks else array.rechunk(chunks)
        return array.to_delayed().ravel()

    def _shares(self, function, by_block, common):
        apply = self._delayed(_on_chunks, pure=False)
        arguments, common = self._arguments(by_block, ()), [self._sent(a) for a in common]
        return [
            apply(self._key, self._payload, function, list(chunks), *map(self._sent, own), *common)
            for chunks, own in zip(self._chunks, arguments, strict=True)
        ]

    def _sent(self, argument):
        is_large = isinstance(argument, np.ndarray) and argument.nbytes > _LARGE
        return self._client.scatter(argument, hash=False) if is_large and self._client is not None else argument

    def map(self, function, by_block=None, common=()):
        return self._computed(self._shares(function, by_block, common))

    def sum(self, function, by_block=None, common=()):
        shares = self._shares(function, by_block, common)
        add = self._delayed(_added, pure=False)
        while len(shares) > 1:
            shares = [add(shares[i : i + _ADDED_AT_ONCE]) for i in range(0, len(shares), _ADDED_AT_ONCE)]
        return self._computed(shares)[0]

    def _computed(self, lazy):
        if self._client is None:
            return list(self._compute(*lazy))
        futures = self._client.compute(lazy)
        try:
            return self._client.gather(futures)
        finally:
            self._client.cancel([f for f in futures if not f.done()])


def _on_chunks(key, payload, function, chunks, *arguments):
    return run_flat(key, payload, function, chunks, *arguments)
