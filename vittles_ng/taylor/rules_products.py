"""Rules of products that sum over axes: dot, matmul, inner, outer, tensordot, einsum and autograd's adjoints of them.

Each is labelled once and becomes a :class:`~vittles_ng.taylor.contraction.Contraction`.
"""

import string

import autograd.numpy as anp
import numpy as np
from autograd.core import primitive_vjps
from autograd.numpy.numpy_vjps import dot_adjoint_0, dot_adjoint_1, tensordot_adjoint_0, tensordot_adjoint_1
from autograd.numpy.numpy_wrapper import parse_einsum_input

from .contraction import Contraction
from .rules import Bilinear, Expansion, Linear, bilinear, defrule


def _contraction(labels):
    """Factory from ``labels(call) -> (labels_a, labels_b, labels_out)`` of the first two arguments."""
    return lambda call: contracted(Contraction(*labels(call)), call.args[0], call.args[1], call.argnums)


def contracted(contraction, a, b, argnums):
    """Kernel of a contraction of a with b, of which those in ``argnums`` are traced."""
    if argnums == (0, 1):
        return Bilinear(contraction, in_workspace=True)
    return Linear(contraction.bound(np.asarray(b if argnums == (0,) else a), 1 - argnums[0]), in_workspace=True)


def _dot_labels(na, nb):
    """np.dot: the last axis of a with the second to last (or only) axis of b."""
    a, b = list(range(na)), list(range(na, na + nb))
    if na == 0 or nb == 0:
        return a, b, a + b
    contracted = b[-2] if nb > 1 else b[-1]
    b[b.index(contracted)] = a[-1]
    return a, b, a[:-1] + [x for x in b if x != a[-1]]


def _tensordot_labels(na, nb, axes):
    a, b = list(range(na)), list(range(na, na + nb))
    if na == 0 or nb == 0:
        return a, b, a + b
    if isinstance(axes, (int, np.integer)):
        n = max(int(axes), 0)
        pairs = list(zip(range(na - n, na), range(n), strict=True))
    else:
        first, second = (np.atleast_1d(np.asarray(x, dtype=int)) for x in axes)
        pairs = [(i % na, j % nb) for i, j in zip(first, second, strict=True)]
    for i, j in pairs:
        b[j] = a[i]
    summed = {a[i] for i, _ in pairs}
    return a, b, [x for x in a + b if x not in summed]


def _dot(call):
    return _dot_labels(np.ndim(call.args[0]), np.ndim(call.args[1]))


def _tensordot(call):
    axes = call.kwargs.get("axes", call.args[2] if len(call.args) > 2 else 2)
    return _tensordot_labels(np.ndim(call.args[0]), np.ndim(call.args[1]), axes)


def _inner(call):
    na, nb = np.ndim(call.args[0]), np.ndim(call.args[1])
    axes = 0 if na == 0 or nb == 0 else ([na - 1], [nb - 1])
    return _tensordot_labels(na, nb, axes)


def _dot_adjoint_0(call):
    # A |-> dot(A, B) has adjoint G |-> contraction of G with B to the axes of A; arguments (B, G, A_meta, B_meta)
    a, b, out = _dot_labels(call.args[2][1], np.ndim(call.args[0]))
    return b, out, a


def _dot_adjoint_1(call):
    a, b, out = _dot_labels(np.ndim(call.args[0]), call.args[3][1])
    return a, out, b


def _tensordot_adjoint_0(call):
    a, b, out = _tensordot_labels(call.args[3], call.args[4], call.args[2])
    return b, out, a


def _tensordot_adjoint_1(call):
    a, b, out = _tensordot_labels(call.args[3], call.args[4], call.args[2])
    return a, out, b


#: labels of the axes of the first two arguments and of the result, by primitive
LABELS = {
    anp.dot: _dot,
    anp.inner: _inner,
    anp.tensordot: _tensordot,
    dot_adjoint_0: _dot_adjoint_0,
    dot_adjoint_1: _dot_adjoint_1,
    tensordot_adjoint_0: _tensordot_adjoint_0,
    tensordot_adjoint_1: _tensordot_adjoint_1,
}
for _fun, _labels in LABELS.items():
    defrule(_fun, _contraction(_labels))


def _matmul(call):
    a, b = call.args[:2]
    na, nb = np.ndim(a), np.ndim(b)
    if max(na, nb) <= 2:
        return _contraction(matmul_labels)(call)
    return bilinear(lambda call: _stacked_matmul(na, nb))(call)


def matmul_labels(call):
    """As :data:`LABELS`, of np.matmul; the axes of stacks, which come first, may be unit axes."""
    na, nb = np.ndim(call.args[0]), np.ndim(call.args[1])
    stack = list(range(3, max(na, nb, 2) + 1))
    a = [1] if na == 1 else [*stack[len(stack) - na + 2 :], 0, 1]
    b = [1] if nb == 1 else [*stack[len(stack) - nb + 2 :], 1, 2]
    return a, b, [*stack, *(x for x in a[-2:] + b[-2:] if x in (0, 2))]


def _stacked_matmul(na, nb):
    """np.matmul over stacks, whose leading axes broadcast: unit axes go between the step axis and the stack."""
    ndim = max(na, nb, 2)

    def padded(x, n, has_steps, row):
        if n == 1:
            x = x[..., None, :] if row else x[..., :, None]
            n = 2
        if has_steps and n < ndim:
            x = x.reshape(x.shape[:1] + (1,) * (ndim - n) + x.shape[1:])
        return x

    def product(ws, a, b, a_steps, b_steps):
        out = np.matmul(padded(a, na, a_steps, True), padded(b, nb, b_steps, False))
        if na == 1:
            out = out[..., 0, :]
        return out[..., 0] if nb == 1 else out

    return product


def _matmul_vjp(argnums, ans, args, kwargs):
    """As autograd's, without the unit axes that it puts around vectors: one call a product instead of three."""
    a, b = args
    na, nb = anp.ndim(a), anp.ndim(b)
    if max(na, nb) > 2 or anp.iscomplexobj(a) or anp.iscomplexobj(b):
        return _AUTOGRAD_MATMUL_VJP(argnums, ans, args, kwargs)

    def of_a(g):
        if na == 1:
            return g * b if nb == 1 else anp.matmul(b, g)
        return anp.outer(g, b) if nb == 1 else anp.matmul(g, b.T)

    def of_b(g):
        if nb == 1:
            return g * a if na == 1 else anp.matmul(g, a)
        return anp.outer(a, g) if na == 1 else anp.matmul(a.T, g)

    makers = (of_a, of_b)
    return lambda g: tuple(makers[i](g) for i in argnums)


_AUTOGRAD_MATMUL_VJP = primitive_vjps[anp.matmul]
defrule(anp.matmul, _matmul, vjp=_matmul_vjp)


# ---- einsum ----


def parsed_einsum(call):
    """The subscripts of the operands and of the result, the operands, and which of them are traced."""
    inputs, output, operands = parse_einsum_input(*call.args)
    is_string = isinstance(call.args[0], str)
    return inputs.split(","), output, operands, [n - 1 if is_string else n // 2 for n in call.argnums]


def _einsum(call):
    inputs, output, operands, traced = parsed_einsum(call)
    if len(operands) > 2:
        return Expansion(lambda value, *args, **kwargs: _pairwise(inputs, output, _operands(args)))
    step = next(c for c in string.ascii_letters if c not in set("".join(inputs) + output))
    if len(operands) == 1:
        subscripts = f"{step}{inputs[0]}->{step}{output}"
        return Linear(lambda ws, x: np.einsum(subscripts, x))
    operands = [np.asarray(x) for x in operands]
    if all(len(sizes) == 1 for sizes in _sizes(inputs, operands).values()):
        return contracted(Contraction(*([ord(c) for c in s] for s in (*inputs, output))), *operands, tuple(traced))
    return _broadcast_einsum(inputs, output, operands, traced, step)


def _sizes(inputs, operands):
    """Every size that a letter has among the operands."""
    sizes = {}
    for subscripts, x in zip(inputs, operands, strict=True):
        for c, n in zip(subscripts, x.shape, strict=True):
            sizes.setdefault(c, set()).add(n)
    return sizes


def _broadcast_einsum(inputs, output, operands, traced, step):
    """A product of two operands in which a unit axis is broadcast: by einsum itself."""

    def product(ws, a, b, a_steps, b_steps):
        sa, sb = step * a_steps + inputs[0], step * b_steps + inputs[1]
        return np.einsum(f"{sa},{sb}->{step * (a_steps or b_steps)}{output}", a, b)

    if len(traced) == 2:
        return Bilinear(product)
    if traced[0] == 0:
        return Linear(lambda ws, x: product(ws, x, operands[1], True, False))
    return Linear(lambda ws, x: product(ws, operands[0], x, False, True))


def _operands(args):
    """The operands themselves: parse_einsum_input takes the traced ones apart."""
    return args[1:] if isinstance(args[0], str) else args[: len(args) // 2 * 2 : 2]


def _pairwise(inputs, output, operands):
    """einsum of many operands as a chain of products of two."""
    subscripts, result = inputs[0], operands[0]
    for i in range(1, len(operands)):
        later = set("".join(inputs[i + 1 :]) + output)
        made = (
            output
            if i == len(operands) - 1
            else "".join(c for c in dict.fromkeys(subscripts + inputs[i]) if c in later)
        )
        result = anp.einsum(f"{subscripts},{inputs[i]}->{made}", result, operands[i])
        subscripts = made
    return result


defrule(anp.einsum, _einsum)
