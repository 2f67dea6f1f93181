"""Which entries of an argument each entry of a recorded function's output depends on, in series of any order.

Sets of indices (:class:`~.index_sets.IndexSets`) are handed down the tape: an entry of a result depends on whatever the
entries of the operands depend on that it may be made of (:mod:`.dependence_rules`). Nothing is missed, and values are
not read, so that what is found holds at other points too, but for branches and indices that the user's function chose
from them. Only the zeros of a constant matrix in a product, dense or sparse, count as zeros.

Reference: Griewank & Walther, "Evaluating Derivatives" (2008), section 7.1 (propagation of index domains).
"""

import numpy as np
import scipy.sparse

from ..errors import SizeError
from ..memory import OF_MEMORY, memory_limit
from .dependence_rules import rule_of
from .index_sets import IndexSets
from .structure import Accumulation, SparseTerm

__all__ = ["dependence"]

_MAX_ENTRIES = 2**31 - 1  # of the result: what an int32 index counts
_ENTRY_BYTES = 12  # that an entry takes while rows are made into columns


def dependence(tape, argnum, output):
    """Pattern of one output of a tape in one argument.

    Parameters
    ----------
    tape : Tape
    argnum, output : int

    Returns
    -------
    csr_array of bool, shape (output size, argument size)
        With sorted indices; both flattened in C order.

    Raises
    ------
    SizeError
        The pattern has more entries than fit.
    """
    root, (end, value) = tape.roots[argnum], tape.outputs[output]
    argument = tape.values[root]
    sets = IndexSets(np.size(argument))
    found = [None] * len(tape.calls)
    found[root] = sets.singletons(np.shape(argument))
    for i, dying in _needed(tape, root, end):
        operands = [found[p] for p in tape.parents[i]]
        found[i] = _of_node(sets, tape.calls[i], tape.kernels[i], operands)
        for p in dying:
            found[p] = None
    numbers = None if end is None else _dense(sets, found[end], np.shape(value))
    if numbers is None:
        return scipy.sparse.csr_array((np.size(value), sets.n), dtype=bool)
    size = int(np.sum(sets.count(numbers)))
    most = min(_MAX_ENTRIES, memory_limit() // _ENTRY_BYTES)
    if size > most:
        raise SizeError(
            f"the pattern of {np.size(value)} outputs in {sets.n} arguments has {size:.1e} entries > {most:.1e} "
            f"(what fits an index, or {OF_MEMORY}): it is close to dense; use products with it instead (solver='cg')."
        )
    return sets.rows(np.ravel(numbers))


def _needed(tape, root, end):
    """The nodes between an argument and an output, each with the nodes that it is the last to read."""
    depends = tape.depends_on(tape.roots.index(root))
    wanted = [False] * len(depends)
    if end is not None:
        wanted[end] = True
    last = {}
    for i in range(len(depends) - 1, -1, -1):
        if wanted[i] and depends[i]:
            for p in tape.parents[i]:
                wanted[p] = True
                last.setdefault(p, i)
    dying = {}
    for p, i in last.items():
        if p != end:
            dying.setdefault(i, []).append(p)
    return [(i, dying.get(i, ())) for i in range(len(depends)) if wanted[i] and depends[i] and tape.parents[i]]


def _of_node(sets, call, kernel, operands):
    if all(x is None for x in operands):
        return None
    if isinstance(kernel, Accumulation):
        return _total(sets, operands, call.value)
    return rule_of(call.fun)(sets, call, kernel, operands)


def _dense(sets, found, shape):
    return _total(sets, [found], np.zeros(shape)) if isinstance(found, SparseTerm) else found


def _total(sets, terms, value):
    """The sum of terms of one shape, of which some may be sparse; of containers, part by part."""
    terms = [t for t in terms if t is not None]
    if isinstance(value, (tuple, list, dict)):
        keys = dict.fromkeys(key for t in terms for key in t)
        return {key: _total(sets, [t.get(key) for t in terms], value[key]) for key in keys}
    total, places, numbers = None, [], []
    shape = np.shape(value)
    positions = np.arange(int(np.prod(shape))).reshape(shape)
    for t in terms:
        if isinstance(t, SparseTerm):
            place = t.index.taken(positions)
            places.append(place.ravel())
            values = np.broadcast_to(t.values, place.shape) if t.index.simple else t.values
            numbers.append(values.ravel())
        else:
            total = t if total is None else sets.union(total, t)
    if places:
        made = sets.union_at(np.concatenate(places), np.concatenate(numbers), positions.size).reshape(shape)
        total = made if total is None else sets.union(total, made)
    return total
