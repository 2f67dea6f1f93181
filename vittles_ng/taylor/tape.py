"""The tape: a function recorded once at the base point as a straight list of primitive calls.

The function runs once under a :class:`TapeNode`, beside autograd's ``VJPNode`` and ``JVPNode``; a gradient taken inside
it is recorded like everything else. Control flow is settled there, which is right for the series at that point and for
nothing else. The list is then cleaned: calls that reach no output are dropped, calls that a rule spells in other
primitives are expanded, chains of additions become one sum, equal calls are merged. What is left depends on no user
code.

This module and :mod:`.tracing` are the only ones that touch autograd's tracer.
"""

from contextlib import contextmanager

import numpy as np
from autograd.core import VJPNode, VSpace, primitive_vjps, sparse_add
from autograd.numpy import add as anp_add
from autograd.tracer import Node, getval, isbox, new_box, notrace_primitives, trace_stack
from autograd.util import func

from ..errors import NonFiniteError
from . import library
from .branches import Branches
from .constants import check_unchanged, constant_key
from .rules import Call, Expansion, Linear, lookup, vjp_replacements
from .structure import Accumulation, is_ufunc
from .tracing import check_call, explained, traced_code

__all__ = ["Tape", "plain_value", "record"]

_ADDITIONS = {func(VSpace.add), func(VSpace.mut_add), sparse_add}


class TapeNode(Node):
    """One call on the way to the tape.

    ``keys`` are those of the constants (see :mod:`.constants`). ``source`` is a hash of the expression that the node
    is: equal for equal calls of equal operands.
    """

    __slots__ = ("recorder", "fun", "args", "kwargs", "argnums", "parents", "value", "merged", "kernel")
    __slots__ += ("keys", "source")

    def __init__(self, value, fun, args, kwargs, parent_argnums, parents):
        self.recorder = parents[0].recorder
        self.fun, self.args, self.kwargs = fun, args, kwargs
        self.argnums, self.parents, self.value = parent_argnums, parents, value
        self.merged = self.kernel = None
        check_call(_name(fun), kwargs, value)
        # reverse mode adds into arrays of its own, which nothing else reads
        self.keys = () if fun in _ADDITIONS else tuple(constant_key(c) for c in self.constants())
        self.source = hash(self.expression([p.source for p in parents]))
        self.recorder.append(self)

    def constants(self):
        """Arguments that are not traced, keywords last."""
        return (*(a for i, a in enumerate(self.args) if i not in self.argnums), *self.kwargs.values())

    def expression(self, operands):
        """The call with ``operands`` standing for its traced arguments, hashable; equal for calls of equal results."""
        return self.fun, self.argnums, len(self.args), tuple(operands), tuple(self.kwargs), self.keys

    def initialize_root(self, recorder, value):
        self.recorder, self.value = recorder, value
        self.fun, self.args, self.kwargs, self.argnums, self.parents = None, (), {}, (), ()
        self.merged = self.kernel = None
        self.keys = ()
        self.source = hash(id(self))


notrace_primitives[TapeNode] = notrace_primitives[VJPNode]


class Tape:
    """A recorded function. Immutable; coefficients live in a :class:`~vittles_ng.taylor.replay.Replay`.

    Attributes
    ----------
    kernels : tuple
        For every node its kernel, None for an argument.
    parents : tuple of tuple of int
        For every node the nodes it reads.
    values : tuple
        For every node its value at the base point.
    calls : tuple of Call
        For every node the call that it is, its traced arguments the values of its parents. A sum of many terms and an
        elementwise function of NumPy's have no arguments: they would only hold memory.
    roots : tuple of int
        The node of each argument of the function.
    outputs : tuple of (int or None, ndarray)
        For every output its node (None: it depends on no argument) and value.
    is_tuple : bool
        Whether the function returned a tuple (or list).
    kinks : tuple of str
        Kinks met at the base point, see :mod:`.branches`.
    """

    def __init__(self, nodes, roots, outputs, is_tuple, kinks):
        index = {node: i for i, node in enumerate(nodes)}
        self.kernels = tuple(node.kernel for node in nodes)
        self.parents = tuple(tuple(index[p] for p in node.parents) for node in nodes)
        self.values = tuple(_as_array(node.value) for node in nodes)
        self.calls = tuple(_final_call(node, value) for node, value in zip(nodes, self.values, strict=True))
        self.names = tuple("argument" if node.fun is None else _name(node.fun) for node in nodes)
        self.roots = tuple(index[r] for r in roots)
        self.outputs = tuple((None if node is None else index[node], value) for node, value in outputs)
        self.is_tuple = is_tuple
        self.kinks = tuple(kinks)

    def depends_on(self, root):
        """Which nodes depend on an argument, as a list of bool."""
        depends = [False] * len(self.kernels)
        depends[self.roots[root]] = True
        for i, parents in enumerate(self.parents):
            if any(depends[p] for p in parents):
                depends[i] = True
        return depends


def record(fun, *args):
    """Run ``fun`` once on ``args`` (arrays) and return its :class:`Tape`, or several where kinks were met.

    Returns
    -------
    tuple of Tape
        One tape; at a point on a kink one for each pattern of branches (the function is run again for each).
    """
    library.load()
    args = [np.array(a, dtype=np.result_type(a, np.float64)) for a in args]
    tapes, n_patterns = [], 1
    with traced_code():
        while len(tapes) < n_patterns:
            with Branches(len(tapes)) as branches:
                tapes.append(_record_once(fun, args, branches))
            n_patterns = branches.n_patterns
    return tuple(tapes)


def _record_once(fun, args, branches):
    recorder = []
    with _replaced_vjps(), trace_stack.new_trace() as trace, np.errstate(all="ignore"):
        roots = [TapeNode.new_root(recorder, a) for a in args]
        with explained():
            result = fun(*(new_box(a, trace, r) for a, r in zip(args, roots, strict=True)))
        result = _open(result)
        is_tuple = isinstance(result, (tuple, list))
        check_unchanged((_name(node.fun), node.constants(), node.keys) for node in recorder if node.keys)
        outputs = [_output(x, trace) for x in (result if is_tuple else [result])]
        nodes, outputs = _clean(roots, outputs, trace)
    tape = Tape(nodes, roots, outputs, is_tuple, branches.kinks)
    recorder.clear()  # it and its nodes refer to each other, and would outlive many recordings
    return tape


def _open(result):
    """A boxed container as a tuple of boxes, so that each element is an output."""
    if isbox(result) and isinstance(result._value, (tuple, list)):
        return tuple(result[i] for i in range(len(result._value)))
    return result


def _output(x, trace):
    """Node (None for a constant) and value of an output."""
    if isbox(x) and x._trace == trace:
        node, value = x._node, x._value
    else:
        node, value = None, getval(x)
    kind = type(value).__name__
    value = np.asarray(value)
    if value.dtype == object:
        raise TypeError(
            f"the function returned an object array of shape {value.shape} (from {kind}): numbers are needed, "
            "built with autograd.numpy's array or stack."
        )
    if not np.all(np.isfinite(value)):
        bad = int(np.sum(~np.isfinite(value)))
        raise NonFiniteError(
            f"{bad} of {value.size} values of the function are NaN or infinite at the base point: "
            "the function is not defined there (log of a negative number, division by zero, overflow)."
        )
    return node, value


@contextmanager
def _replaced_vjps():
    """autograd's table with the VJPs that branch on values replaced; the trace lock is held."""
    replaced = {p: primitive_vjps.get(p) for p in vjp_replacements()}
    primitive_vjps.update(vjp_replacements())
    try:
        yield
    finally:
        for p, vjp in replaced.items():
            if vjp is None:
                del primitive_vjps[p]
            else:
                primitive_vjps[p] = vjp


def _final(node):
    while node.merged is not None:
        node = node.merged
    return node


def _live(outputs):
    """Nodes that an output depends on."""
    live, stack = set(), [node for node, _ in outputs if node is not None]
    while stack:
        node = _final(stack.pop())
        if node not in live:
            live.add(node)
            stack.extend(node.parents)
    return live


def _clean(roots, outputs, trace):
    """Expand, merge and drop; returns the nodes in order and the outputs."""
    recorder = roots[0].recorder
    live = _live(outputs)
    n_uses = {}
    for node in live:
        for p in node.parents:
            n_uses[p] = n_uses.get(p, 0) + 1
    for node, _ in outputs:
        n_uses[node] = n_uses.get(node, 0) + 2  # an output is nobody's interior
    nodes, seen = list(roots), {}
    for node in list(recorder):
        if node in live:
            _emit(node, nodes, seen, n_uses, trace)
    outputs = [(None if node is None else _final(node), value) for node, value in outputs]
    live = _live(outputs)
    kept = [node for node in nodes if node in live or node.fun is None]
    return kept, outputs


def _emit(node, nodes, seen, n_uses, trace):
    """Append a node in its final form: expanded, flattened into a sum, or merged with an equal one."""
    node.parents = tuple(_final(p) for p in node.parents)
    if node.fun in _ADDITIONS or (node.fun is anp_add and _same_shapes(node)):
        _flatten_addition(node, n_uses)
        nodes.append(node)
        return
    key = node.expression(node.parents)
    twin = seen.get(key)
    if twin is not None:
        node.merged = twin
        return
    rule = lookup(node.fun)
    call = _call(node)
    made = rule(call)
    if isinstance(made, Expansion):
        _expand(node, made, nodes, seen, n_uses, trace)
    else:
        node.kernel = made
        nodes.append(node)
    seen[key] = node


def _expand(node, made, nodes, seen, n_uses, trace):
    """Record the expansion of a call in its place."""
    recorder = node.recorder
    start = len(recorder)
    args = list(node.args)
    for argnum, parent in zip(node.argnums, node.parents, strict=True):
        args[argnum] = new_box(parent.value, trace, parent)
    result = made.fun(node.value, *args, **node.kwargs)
    new = recorder[start:]
    del recorder[start:]
    if not isbox(result):
        node.value = result
        node.kernel = Linear(lambda ws, *xs: None)
        nodes.append(node)
        return
    for inner in new:
        for p in inner.parents:
            n_uses[p] = n_uses.get(p, 0) + 1
    n_uses[result._node] = n_uses.get(result._node, 0) + n_uses.get(node, 1)
    for inner in new:
        _emit(inner, nodes, seen, n_uses, trace)
    node.merged = _final(result._node)
    node.merged.source = node.source  # a VJP, which ran before, knows it by the call that was expanded


def _same_shapes(node):
    return all(np.shape(p.value) == np.shape(node.value) for p in node.parents)


def _flatten_addition(node, n_uses):
    """Make a node the sum of all terms of the additions that only it uses."""
    terms = []
    for p in node.parents:
        if isinstance(p.kernel, Accumulation) and n_uses.get(p, 0) == 1:
            terms = _joined(terms, p.parents)
        else:
            terms.append(p)
    node.parents = terms
    node.kernel = Accumulation(node.value)


def _joined(terms, others):
    """Both lists in one, the longer one extended: linear in the length of a chain."""
    if len(others) > len(terms):
        terms, others = others, terms
    terms.extend(others)
    return terms


def _call(node):
    return Call(
        fun=node.fun,
        args=tuple(_as_array(a) if i in node.argnums else a for i, a in enumerate(node.args)),
        kwargs=node.kwargs,
        argnums=tuple(node.argnums),
        value=_as_array(node.value),
        same=tuple(node.parents.index(p) for p in node.parents),
        sources=tuple(p.source for p in node.parents),
    )


def _final_call(node, value):
    """The call on the cleaned tape: nothing that was merged or expanded away is held by it."""
    if isinstance(node.kernel, Accumulation) or is_ufunc(node.fun):
        return Call(node.fun, (), {}, (), value)
    args = list(node.args)
    for argnum, parent in zip(node.argnums, node.parents, strict=True):
        args[argnum] = _as_array(parent.value)
    return Call(node.fun, tuple(args), node.kwargs, tuple(node.argnums), value)


def plain_value(x):
    """The number behind a traced value, at any level."""
    return getval(x)


def _name(fun):
    return getattr(fun, "__name__", "a primitive")


def _as_array(value):
    """Numbers as arrays; containers and deferred additions as they are."""
    return np.asarray(value) if np.isscalar(value) else value
