"""For every kind of primitive, which entries of its operands an entry of its result may be made of.

A rule is ``rule(sets, call, kernel, operands) -> numbers``: ``operands`` are, for the traced arguments in order, the
numbers of the sets of indices that their entries depend on (:class:`~.index_sets.IndexSets`), in arrays of the
arguments' shapes, None where an argument depends on nothing, and so is the result. Of a container they are a dict from
position or key. A primitive without a rule is elementwise if it is a NumPy ufunc; else every entry of its result
depends on all that its operands do, which is never wrong.
"""

import autograd.builtins as builtins
import autograd.numpy as anp
import autograd.numpy.fft as afft
import autograd.scipy.linalg as asl
import numpy as np
from autograd.core import VSpace
from autograd.numpy import numpy_wrapper as wrapper
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.numpy.numpy_vjps import untake
from autograd.util import func

from . import rules_products as products
from .contraction import diagonal_of
from .primitives import antiderivative, log_antiderivative
from .rules_choices import bound
from .rules_normal_tail import inverse_mills, log_ndtr
from .rules_reductions import axes_of
from .rules_sinc import sinc_derivative
from .rules_sparse import sparse_product
from .series import Workspace
from .structure import SparseTerm, is_ufunc

__all__ = ["declare_elementwise", "rule_of"]

# The zeros of a constant are followed for at most so many pairs of a nonzero and an entry of the other operand, where
# few entries are nonzero, and where many are: there, zeros are data more often than structure.
_FEW, _MANY_PAIRS, _FEW_PAIRS = 0.25, 20_000_000, 500_000


# ---- containers: a dict from position or key to the sets of a part ----


def _leaves(found):
    if isinstance(found, dict):
        return [leaf for part in found.values() for leaf in _leaves(part)]
    return [] if found is None else [found.values if isinstance(found, SparseTerm) else found]


def _like(value, make):
    """``make(shape)`` for every array of a value."""
    if isinstance(value, dict):
        return {key: _like(part, make) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return {i: _like(part, make) for i, part in enumerate(value)}
    return make(np.shape(value))


def _mapped(found, change):
    if isinstance(found, dict):
        return {key: _mapped(part, change) for key, part in found.items()}
    if isinstance(found, SparseTerm):
        return SparseTerm(found.index, change(found.values))
    return None if found is None else change(found)


# ---- kinds of primitives ----


def _everything(sets, call, kernel, operands):
    """Every entry of the result depends on all that the operands depend on."""
    arrays = _leaves(dict(enumerate(operands)))
    number = sets.whole(*arrays) if arrays else 0
    return _like(call.value, lambda shape: np.broadcast_to(np.int32(number), shape))


def _elementwise(sets, call, kernel, operands):
    """An entry of the result is made of the entries of the operands at its place, which broadcast."""
    if any(isinstance(x, dict) for x in operands):
        return _everything(sets, call, kernel, operands)
    total = None
    for x in operands:
        if x is not None:
            total = x if total is None else sets.union(total, x)
    return np.broadcast_to(total, np.shape(call.value))


def _moved(sets, call, kernel, operands):
    """The entries of the result are entries of the operands, or constant: the kernel moves numbers of sets as well."""
    return _mapped(kernel.apply(Workspace(1), *(_mapped(x, lambda a: a[None]) for x in operands)), lambda a: a[0])


def _reduced(sets, call, kernel, operands):
    """A statistic along axes."""
    (x,) = operands
    axes = axes_of(bound(("axis",), call.args[1:], call.kwargs).get("axis"), x.ndim)
    return sets.reduced(x, axes).reshape(np.shape(call.value))


def _along_axis(sets, call, kernel, operands):
    """Each entry along an axis made of all of them."""
    (x,) = operands
    axis = bound(("axis",), call.args[1:], call.kwargs).get("axis")
    if axis is None or x.ndim == 1:
        return _everything(sets, call, kernel, operands)
    return np.broadcast_to(np.expand_dims(sets.reduced(x, (axis % x.ndim,)), axis), np.shape(call.value))


def _diff(sets, call, kernel, operands):
    (x,) = operands
    given = bound(("n", "axis"), call.args[1:], call.kwargs)
    x = np.moveaxis(x, given.get("axis", -1), 0)
    for _ in range(given.get("n", 1)):
        x = sets.union(x[1:], x[:-1])
    return np.moveaxis(x, 0, given.get("axis", -1))


def _trace(sets, call, kernel, operands):
    given = bound(("offset", "axis1", "axis2"), call.args[1:], call.kwargs)
    where = {"offset": 0, "axis1": 0, "axis2": 1, **given}
    diagonals = np.diagonal(operands[0], where["offset"], where["axis1"], where["axis2"])
    return sets.reduced(diagonals, (diagonals.ndim - 1,))


def _stacked(sets, call, kernel, operands):
    """Of one stack of matrices: dense within an entry of the stack."""
    (x,) = operands
    stack = sets.reduced(x, (x.ndim - 2, x.ndim - 1))
    return _like(call.value, lambda shape: _spread_over_core(stack, len(shape) - stack.ndim, shape))


def _spread_over_core(stack, n_core, shape):
    return np.broadcast_to(stack.reshape(stack.shape + (1,) * n_core), shape)


def _solved(matrix, rhs):
    """Linear equations: a column of the result is made of the column of the right-hand side and of the whole matrix.

    ``matrix`` and ``rhs`` are their positions among the arguments.
    """

    def rule(sets, call, kernel, operands):
        found = dict(zip(call.argnums, operands, strict=True))
        shape = np.shape(call.value)
        n_core = 1 if len(shape) < np.ndim(call.args[matrix]) else 2
        parts = []
        if found.get(rhs) is not None:
            b = found[rhs]
            rows = b.ndim - n_core
            parts.append(np.expand_dims(sets.reduced(b, (rows,)), rows))
        if found.get(matrix) is not None:
            a = found[matrix]
            parts.append(_spread_over_core(sets.reduced(a, (a.ndim - 2, a.ndim - 1)), n_core, shape))
        return _elementwise(sets, call, kernel, parts)

    return rule


# ---- products that sum over axes ----


def _contracted(labels):
    """From ``labels(call) -> (labels_a, labels_b, labels_out)`` of the first two arguments."""

    def rule(sets, call, kernel, operands):
        found = dict(zip(call.argnums, operands, strict=True))
        pairs = [(call.args[i], found.get(i), i in found) for i in (0, 1)]
        return _contraction(sets, *labels(call), pairs, np.shape(call.value))

    return rule


def _contraction(sets, labels_a, labels_b, labels_out, pairs, shape):
    """``pairs`` holds for each operand its value, its sets, and whether it is traced."""
    operands = []
    for labels, (value, x, is_traced) in zip((labels_a, labels_b), pairs, strict=True):
        order = diagonal_of(labels)
        if order is not None:
            value, x = (None if v is None else np.einsum(v, *order) for v in (np.asarray(value), x))
        operands.append((tuple(dict.fromkeys(labels)), np.asarray(value), x, is_traced))
    total = None
    for mine, other in (operands, operands[::-1]):
        if mine[2] is not None:
            made = None if other[3] else _through_zeros(sets, mine, other, labels_out, shape)
            made = _spread(sets, mine[0], mine[2], labels_out, shape) if made is None else made
            total = made if total is None else sets.union(total, made)
    return total


def _spread(sets, labels, x, labels_out, shape):
    """The sets of an operand in the result: reduced over what is summed, repeated over what the other one has."""
    x = sets.reduced(x, tuple(i for i, label in enumerate(labels) if label not in labels_out))
    labels = [label for label in labels if label in labels_out]
    x = x.transpose([labels.index(label) for label in labels_out if label in labels])
    return np.broadcast_to(x[tuple(slice(None) if label in labels else None for label in labels_out)], shape)


def _through_zeros(sets, mine, other, labels_out, shape):
    """The same where the other operand is a constant with zeros; None where it has none, or too many pairs."""
    (labels, value, x, _), (labels_c, constant, _, _) = mine, other
    if np.all(constant):
        return None
    sizes = dict(zip(labels, value.shape, strict=True))
    if any(sizes.get(label, n) != n for label, n in zip(labels_c, constant.shape, strict=True)):
        return None  # a unit axis is broadcast
    x = sets.reduced(x, tuple(i for i, label in enumerate(labels) if label not in (*labels_c, *labels_out)))
    labels = [label for label in labels if label in labels_c or label in labels_out]
    free = [label for label in labels if label not in labels_c]
    where = dict(zip(labels_c, np.nonzero(constant), strict=True))
    n = np.count_nonzero(constant)
    n_pairs = n * int(np.prod([sizes[label] for label in free]))
    if n_pairs > (_MANY_PAIRS if n < _FEW * constant.size else _FEW_PAIRS):
        return None
    shared = [label for label in labels if label in labels_c]
    x = x.transpose([labels.index(label) for label in shared + free])
    numbers = x[tuple(where[label] for label in shared)] if shared else np.broadcast_to(x, (n, *x.shape))
    steps = dict(zip(labels_out, _strides(shape), strict=True))
    positions = np.zeros(n, dtype=np.int64)
    for label in labels_out:
        if label in where:
            positions = positions + where[label] * steps[label]
    for label in free:
        positions = positions[..., None] + np.arange(sizes[label]) * steps[label]
    return sets.union_at(positions, numbers, int(np.prod(shape))).reshape(shape)


def _strides(shape):
    """How far apart neighbours along each axis lie in C order."""
    return [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]


def _einsum(sets, call, kernel, operands):
    inputs, output, values, traced = products.parsed_einsum(call)
    found = dict(zip(traced, operands, strict=True))
    inputs = [[ord(c) for c in subscripts] for subscripts in inputs]
    pairs = [(v, found.get(i), i in found) for i, v in enumerate(values)]
    if len(pairs) == 1:
        inputs.append([])
        pairs.append((np.ones(()), None, False))
    return _contraction(sets, *inputs, [ord(c) for c in output], pairs, np.shape(call.value))


def _sparse_product(sets, call, kernel, operands):
    (x,) = operands
    matrix, _, is_transposed = call.args
    matrix = (matrix.T if is_transposed else matrix).tocsr()
    columns = x.reshape(len(x), -1).T
    made = [sets.union_lists(matrix.indptr, column[matrix.indices]) for column in columns]
    return np.array(made, dtype=np.int32).T.reshape(np.shape(call.value))


# ---- the table ----

_ELEMENTWISE = {
    anp.clip, anp.real, anp.imag, anp.conj, anp.conjugate, anp.angle, anp.real_if_close, wrapper._astype,
    getattr(anp, "_original_where", anp.where), anp.sinc, sinc_derivative, log_ndtr, inverse_mills, antiderivative,
    log_antiderivative, func(VSpace.scalar_mul), func(VSpace.covector),
}  # fmt: skip
_MOVES = {
    anp.reshape, anp.ravel, anp.squeeze, anp.atleast_1d, anp.atleast_2d, anp.atleast_3d, anp.expand_dims, anp.flipud,
    anp.fliplr, anp.rot90, anp.tril, anp.triu, anp.swapaxes, anp.moveaxis, anp.rollaxis, anp.roll, anp.tile,
    anp.repeat, anp.diag, anp.diagonal, anp.broadcast_to, anp.full, anp.pad, anp.split, anp.array_split, anp.vsplit,
    anp.hsplit, anp.dsplit, anp.transpose, func(ArrayBox.__getitem__), untake, wrapper.make_diagonal,
    wrapper.concatenate_args, wrapper.array_from_args, wrapper._array_from_scalar_or_array, afft.fftshift,
    afft.ifftshift, afft.truncate_pad, builtins.container_take, builtins.container_untake, builtins.make_sequence,
    builtins.sequence_extend_right, builtins.sequence_extend_left, builtins._make_dict,
}  # fmt: skip
_RULES = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_MOVES, _moved),
    **dict.fromkeys((anp.sum, wrapper._primitive_mean, anp.max, anp.amax, anp.min, anp.amin), _reduced),
    **{primitive: _contracted(labels) for primitive, labels in products.LABELS.items()},
    anp.matmul: _contracted(products.matmul_labels),
    anp.einsum: _einsum,
    sparse_product: _sparse_product,
    anp.cumsum: _along_axis,
    anp.diff: _diff,
    anp.trace: _trace,
    **dict.fromkeys((anp.linalg.solve, asl.solve_triangular), _solved(0, 1)),
    asl.solve_banded: _solved(1, 2),
    **dict.fromkeys((anp.linalg.inv, anp.linalg.cholesky, anp.linalg.eigh, anp.linalg.svd, anp.linalg.pinv), _stacked),
}


def rule_of(primitive):
    """The rule of a primitive."""
    rule = _RULES.get(primitive)
    if rule is None:
        return _elementwise if is_ufunc(primitive) else _everything
    return rule


def declare_elementwise(primitive, is_elementwise):
    """Say that an entry of a primitive's result depends on the entries at its place alone, or take it back."""
    if is_elementwise:
        _RULES[primitive] = _elementwise
    else:
        _RULES.pop(primitive, None)
