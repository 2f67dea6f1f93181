"""A table of unique sets of indices, and arrays of numbers of sets.

Which entries of an argument an intermediate result depends on is one set of indices for every entry of it. Models have
few different ones (one for each group, pixel or coefficient), so a result is an integer array of its own shape, each
entry the number of a set, and a table holds every set once. Set 0 is the empty set.

An array of numbers may be a broadcast view: axes that only repeat (of stride 0) are worked on once.
"""

import numpy as np
import scipy.sparse

__all__ = ["IndexSets"]

_LIMIT = 60_000_000  # indices in the table; new sets beyond it are replaced by the set of all
_BLOCK = 20_000_000  # indices that unions read at a time
_GATHERED = 1_000_000  # indices that are gathered at a time


class IndexSets:
    """Sets of indices below ``n``, each of them held once.

    Parameters
    ----------
    n : int
        How many indices there are. The sets 1, ..., n have one index each, 0, ..., n - 1.
    limit : int
        How many indices the table may hold; unions that would make more are the set of all indices instead, which
        contains them.
    """

    def __init__(self, n, limit=_LIMIT):
        self.n, self.limit = n, max(limit, 4 * n)
        self._pointer_list, self._member_list = _Growing([0, 0]), _Growing(np.zeros(0, dtype=np.int32))
        self._by_hash, self._everything = {0: 0}, None
        self._append(np.arange(n + 1), np.arange(n), _row_hashes(np.arange(n + 1), np.arange(n)))

    @property
    def _n_sets(self):
        return len(self._pointer_list.all) - 1

    @property
    def _table(self):
        return self._pointer_list.all, self._member_list.all

    def singletons(self, shape):
        """Numbers of the sets of one index, in order."""
        return np.arange(1, self.n + 1, dtype=np.int32).reshape(shape)

    def rows(self, numbers):
        """The sets with some numbers as the rows of a boolean ``csr_array`` with sorted indices."""
        return _boolean(*_gather(*self._table, numbers), self.n)

    def count(self, numbers):
        """How many indices each of the sets has."""
        pointers, _ = self._table
        return pointers[np.add(numbers, 1)] - pointers[numbers]

    def union(self, a, b):
        """Unions entry by entry of arrays that broadcast together."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        a, b = np.broadcast_arrays(_collapsed(a), _collapsed(b))
        out = np.asarray(np.maximum(a, b))  # right where the two are equal, or one is empty
        mixed = (a != b) & (a != 0) & (b != 0)
        if np.any(mixed):
            first, second = np.minimum(a[mixed], b[mixed]), out[mixed]
            keys, where = np.unique(first.astype(np.int64) * self._n_sets + second, return_inverse=True)
            pairs = np.stack(np.divmod(keys, self._n_sets), axis=1)
            out[mixed] = self._unions(2 * np.arange(len(keys) + 1), pairs.ravel())[where]
        return np.broadcast_to(out, shape)

    def union_at(self, positions, numbers, size):
        """For every position below ``size`` the union of the sets that are given with it."""
        positions, numbers = np.ravel(positions), np.ravel(numbers)
        keys = positions.astype(np.int64) * self._n_sets + numbers
        keys = keys[numbers != 0]
        if not np.all(keys[1:] > keys[:-1]):
            keys = np.unique(keys)
        positions, numbers = np.divmod(keys, self._n_sets)
        pointers = np.searchsorted(positions, np.arange(size + 1))
        out = np.zeros(size, dtype=np.int32)
        counts = np.diff(pointers)
        out[counts == 1] = numbers[pointers[:-1][counts == 1]]
        several = np.flatnonzero(counts > 1)
        if several.size:
            lists = _gather(pointers, numbers, several)
            first = _first_equal(*lists)
            kept = np.flatnonzero(first == np.arange(several.size))
            made = np.empty(several.size, dtype=np.int32)
            made[kept] = self._unions(*_gather(*lists, kept))
            out[several] = made[first]
        return out

    def union_lists(self, pointers, numbers):
        """The unions of lists of sets, given as the rows of a CSR matrix are; most lists may be repeated ones."""
        first = _first_equal(pointers, numbers)
        kept = np.flatnonzero(first == np.arange(len(first)))
        pointers, numbers = _gather(pointers, numbers, kept)
        made = np.empty(len(first), dtype=np.int32)
        made[kept] = self.union_at(np.repeat(np.arange(len(kept)), np.diff(pointers)), numbers, len(kept))
        return made[first]

    def reduced(self, numbers, axes):
        """Unions over axes, which are dropped."""
        kept = [a for a in range(numbers.ndim) if a not in axes]
        shape = tuple(numbers.shape[a] for a in kept)
        if numbers.size == 0:
            return np.zeros(shape, dtype=np.int32)
        small = _collapsed(numbers).transpose(*kept, *axes)
        small_shape = small.shape[: len(kept)]
        lists = small.reshape(int(np.prod(small_shape)), -1)
        if lists.shape[1] == 1:
            made = lists[:, 0]
        else:
            lists, where = _distinct_rows(lists)
            positions = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)
            made = self.union_at(positions, lists, len(lists))[where]
        return np.broadcast_to(made.reshape(small_shape), shape)

    def whole(self, *arrays):
        """The number of the union of all sets in all arrays."""
        numbers = np.unique(np.concatenate([np.unique(_collapsed(a)) for a in arrays]))
        return self.union_at(np.zeros(len(numbers), dtype=np.int64), numbers, 1)[0]

    def everything(self):
        """The number of the set of all indices."""
        if self._everything is None:
            everything = np.array([0, self.n]), np.arange(self.n, dtype=np.int32)
            self._everything = self._numbered(*everything)[0]
        return self._everything

    def _unions(self, pointers, numbers):
        """Numbers of the unions of lists of sets."""
        made = np.zeros(len(pointers) - 1, dtype=np.int32)
        pairs = np.flatnonzero(np.diff(pointers) == 2)
        made[pairs] = self._larger_that_contains(numbers[pointers[pairs][:, None] + np.arange(2)])
        rest = np.flatnonzero(made == 0)
        made[rest] = self._products(*_gather(pointers, numbers, rest))
        return made

    def _larger_that_contains(self, pairs):
        """For pairs of sets, one much larger than the other, its number where it contains the other; else 0."""
        counts = self.count(pairs)
        by_size = np.take_along_axis(pairs, np.argsort(counts, axis=1), axis=1)
        unequal = np.flatnonzero(4 * counts.min(axis=1) <= counts.max(axis=1))
        made = np.zeros(len(pairs), dtype=np.int32)
        if unequal.size:
            small, large = by_size[unequal].T
            used, where = np.unique(large, return_inverse=True)
            keys = _paired(*_gather(*self._table, used), np.arange(len(used)), self.n)
            pointers, members = _gather(*self._table, small)
            wanted = _paired(pointers, members, where, self.n)
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            n_missing = np.concatenate([[0], np.cumsum(keys[at] != wanted)])[pointers]
            made[unequal] = np.where(np.diff(n_missing) == 0, large, 0)
        return made

    def _products(self, pointers, numbers):
        """The unions by products of boolean matrices, a block of lists at a time."""
        read = np.concatenate([[0], np.cumsum(self.count(numbers))])[pointers]
        made, start = np.empty(len(pointers) - 1, dtype=np.int32), 0
        while start < len(made):
            stop = max(start + 1, int(np.searchsorted(read, read[start] + _BLOCK, side="right")) - 1)
            if self._pointer_list.all[-1] > self.limit:
                made[start:] = self.everything()
                return made
            block = numbers[pointers[start] : pointers[stop]]
            used, columns = np.unique(block, return_inverse=True)
            lists = _boolean(pointers[start : stop + 1] - pointers[start], columns, len(used))
            product = lists @ self.rows(used)
            product.sort_indices()
            made[start:stop] = self._numbered(product.indptr, product.indices)
            start = stop
        return made

    def _numbered(self, pointers, members):
        """Numbers of sets given by sorted members; those that are new join the table."""
        hashes = _row_hashes(pointers, members)
        first, rows = _first_equal(pointers, members, hashes), np.arange(len(hashes))
        made = np.array([self._by_hash.get(h, 0) for h in hashes.tolist()], dtype=np.int64)
        known = _equal((pointers, members, rows), (*self._table, made))
        new = np.flatnonzero(~known & (first == rows))
        made[new] = self._n_sets + np.arange(len(new))
        if len(new):
            self._append(*_gather(pointers, members, new), hashes[new])
        return np.where(known, made, made[first]).astype(np.int32)

    def _append(self, pointers, members, hashes):
        self._by_hash.update(zip(hashes.tolist(), range(self._n_sets, self._n_sets + len(hashes)), strict=True))
        self._pointer_list.append(self._pointer_list.all[-1] + pointers[1:])
        self._member_list.append(members)


class _Growing:
    """An array with room behind it, so that appending costs no copy most of the time."""

    def __init__(self, values):
        self._room = np.array(values)
        self._n = len(self._room)

    @property
    def all(self):
        return self._room[: self._n]

    def append(self, values):
        n = self._n + len(values)
        if n > len(self._room):
            room = np.empty(max(n, 3 * len(self._room) // 2), dtype=self._room.dtype)
            room[: self._n] = self.all
            self._room = room
        self._room[self._n : n] = values
        self._n = n


def _collapsed(x):
    """One entry along each axis that only repeats."""
    return x[tuple(slice(0, 1) if s == 0 and n > 1 else slice(None) for s, n in zip(x.strides, x.shape, strict=True))]


def _boolean(pointers, members, n):
    return scipy.sparse.csr_array((np.ones(len(members), dtype=bool), members, pointers), shape=(len(pointers) - 1, n))


def _gather(pointers, members, rows):
    """Some rows of a list of lists."""
    rows = np.asarray(rows)
    starts = pointers[rows]
    lengths = pointers[rows + 1] - starts
    new = np.concatenate([[0], np.cumsum(lengths)])
    gathered, begin = np.empty(new[-1], dtype=members.dtype), 0
    while begin < len(rows):  # in blocks, for the memory that positions take
        end = max(begin + 1, int(np.searchsorted(new, new[begin] + _GATHERED, side="right")) - 1)
        inside = np.repeat(starts[begin:end] - new[begin:end], lengths[begin:end])
        inside += np.arange(new[begin], new[end])
        np.take(members, inside, out=gathered[new[begin] : new[end]])
        begin = end
    return new, gathered


def _paired(pointers, members, owners, n):
    """``owner n + member`` for every member of every list."""
    return np.repeat(owners * n, np.diff(pointers)) + members


def _mixed(x):
    """A scrambled word for each integer (the finalizer of splitmix64, Steele, Lea & Flood, OOPSLA 2014)."""
    x = np.asarray(x).astype(np.uint64)  # a copy
    x += np.uint64(1)
    x *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x


def _row_hashes(pointers, members):
    """For every list the sum of its members' words, modulo 2^64."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(members), dtype=np.uint64)])
    return sums[pointers[1:]] - sums[pointers[:-1]]


def _equal(these, those):
    """Whether lists are equal one by one; each side is ``(pointers, members, rows)``."""
    (pa, ma), (pb, mb) = _gather(*these), _gather(*those)
    equal = np.diff(pa) == np.diff(pb)
    if not np.all(equal):
        rows = np.flatnonzero(equal)
        (pa, ma), (pb, mb) = _gather(pa, ma, rows), _gather(pb, mb, rows)
    n_different = np.concatenate([[0], np.cumsum(ma != mb)])
    equal[equal] = n_different[pa[1:]] == n_different[pa[:-1]]
    return equal


def _first_equal(pointers, members, hashes=None):
    """For every list the first one that is equal to it: found by hash, and compared."""
    hashes = _row_hashes(pointers, members) if hashes is None else hashes
    _, first, where = np.unique(hashes, return_index=True, return_inverse=True)
    rows, first = np.arange(len(hashes)), first[where]
    others = np.flatnonzero(first != rows)
    same = _equal((pointers, members, others), (pointers, members, first[others]))
    first[others[~same]] = others[~same]
    return first


def _distinct_rows(table):
    """The rows of a matrix without most repetitions, and where each row is among them."""
    everywhere = np.arange(len(table))
    weights = _mixed(np.arange(table.shape[1])) | np.uint64(1)
    _, first, where = np.unique(table.astype(np.uint64) @ weights, return_index=True, return_inverse=True)
    if len(first) == len(table) or not np.array_equal(table, table[first[where]]):
        return table, everywhere
    return table[first], where
