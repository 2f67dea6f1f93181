"""Keys of the constants that a recorded call was given: equal for equal constants, and different after a change.

A tape keeps constants by reference. They are keyed by content, when the call is made and again when the recording ends,
so an array that the user's function writes into meanwhile is seen: autograd's gradient then reads what was written
last, and no series is right.
"""

import hashlib

import numpy as np
import scipy.sparse

from ..errors import MutationError

__all__ = ["ConstantKeys", "check_unchanged", "constant_key"]

_HASHED = 4096  # bytes up to which an array is hashed as it is
_BLOCK = 512  # words of 8 bytes in a block of a larger one
_WEIGHTS = np.random.default_rng(0).integers(1, 2**63, _BLOCK, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_FLOATS, _INTEGERS = (np.float64, np.complex128), (np.int32, np.int64)
_SPARSE_PARTS = ("data", "indices", "indptr", "row", "col", "offsets")  # of the formats that are multiplied with
_FLOAT_WEIGHTS = np.random.default_rng(1).uniform(1.0, 2.0, _BLOCK)


def constant_key(value):
    """A hashable key of a constant, by content for arrays, sparse matrices, numbers, strings and containers of
    them.

    Raises
    ------
    TypeError
        An array of objects: traced values in it would be constants.
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, type, np.dtype, np.generic)):
        return type(value).__name__, repr(value)
    if isinstance(value, slice):
        return "slice", constant_key(value.start), constant_key(value.stop), constant_key(value.step)
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, *(constant_key(v) for v in value))
    if isinstance(value, dict):
        return ("dict", *((name, constant_key(v)) for name, v in value.items()))
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError(
                f"an object array of shape {value.shape} is computed with: numpy's array made it of traced values; "
                "build it with autograd.numpy's array, stack or concatenate."
            )
        return type(value).__name__, value.shape, value.dtype.str, *_content(value)
    if scipy.sparse.issparse(value):
        return _sparse_key(value, constant_key)
    return "object", id(value)  # whoever keeps the key holds the object, so the id stays its own


class ConstantKeys:
    """Keys of constants that do not change while this lives: an array is read once, however often it is asked for."""

    def __init__(self):
        self._known = {}

    def __call__(self, value):
        if scipy.sparse.issparse(value):
            return _sparse_key(value, self)
        if not isinstance(value, np.ndarray) or value.nbytes <= _HASHED:
            return constant_key(value)
        place = _place(value), type(value), value.shape, value.dtype
        if place not in self._known:
            self._known[place] = constant_key(value)
        return self._known[place]


def check_unchanged(nodes):
    """Raise if a constant of a recorded call is no longer what it was when the call was made.

    Parameters
    ----------
    nodes : iterable of (str, sequence, sequence)
        The name of the primitive, its constants, and the keys that they had.
    """
    key = ConstantKeys()
    for name, constants, keys in nodes:
        for constant, old in zip(constants, keys, strict=True):
            if key(constant) != old:
                shape = f" of shape {constant.shape}" if isinstance(constant, np.ndarray) else ""
                raise MutationError(
                    f"a constant{shape} was given to '{name}' and changed afterwards, before the function returned: "
                    "derivatives would read the new values. Make a new array instead of writing into one that is used "
                    "again (w = ... in place of w[:] = ..., or pass w.copy())."
                )


def _sparse_key(matrix, key):
    """Of a sparse matrix; ``key`` is that of its arrays."""
    return type(matrix).__name__, matrix.shape, *(key(getattr(matrix, name, None)) for name in _SPARSE_PARTS)


def _content(array):
    """A small array's hash; a large one's place in memory and fingerprint."""
    if array.nbytes <= _HASHED:
        return (hashlib.blake2b(array.tobytes(), digest_size=16).digest(),)
    return _place(array), _fingerprint(array)


def _place(array):
    return array.__array_interface__["data"][0], array.strides


def _fingerprint(array):
    """A hash of weighted sums over blocks, read at the speed of memory.

    The words as integers, with odd weights modulo 2^64, tell any change of low bits; as numbers they tell changes of
    the exponents alone (0 and 1 trade places), which leave few bits of the integers. Arrays of integers need the first
    alone, and any other type is hashed byte by byte.
    """
    array = np.asarray(array)
    raw = np.ascontiguousarray(array.T if array.flags.f_contiguous else array).reshape(-1).view(np.uint8)
    cut = raw.size - raw.size % (8 * _BLOCK)
    digest = hashlib.blake2b(raw[cut:].tobytes(), digest_size=16)
    blocks = raw[:cut].reshape(-1, 8 * _BLOCK)
    is_float, is_integer = (array.dtype in kinds for kinds in (_FLOATS, _INTEGERS))
    if is_float or is_integer:
        digest.update(np.dot(blocks.view(np.uint64), _WEIGHTS).tobytes())
    if is_float:
        with np.errstate(all="ignore"):
            digest.update(np.dot(blocks.view(np.float64), _FLOAT_WEIGHTS).tobytes())
    if not (is_float or is_integer):
        digest.update(blocks)
    return digest.digest()
