"""Products of two arrays that sum over shared axes, as matrix products.

Every bilinear primitive on arrays (dot, matmul, tensordot, inner, outer, kron, einsum of two operands and the adjoints
autograd adds to them) is ``out[o] = sum_c a[..] b[..]`` for labelled axes. Labels found in both operands and in the
result are shared, labels found in both and not in the result are contracted, the rest is free. The operands are brought
to ``(shared, free_a, contracted) @ (shared, contracted, free_b)``, which is one GEMM, or a stack of them.
"""

import math

import numpy as np

__all__ = ["Contraction", "STEP", "diagonal_of"]

STEP = -1  # label of the step axis


class Contraction:
    """``out = sum a * b`` over labelled axes, each operand with or without a leading step axis.

    Parameters
    ----------
    labels_a, labels_b, labels_out : sequence of int
        One non-negative label per axis. A label of the result must be in an operand.
    """

    def __init__(self, labels_a, labels_b, labels_out):
        self.labels = (tuple(labels_a), tuple(labels_b), tuple(labels_out))
        self._plans = {}

    def __call__(self, ws, a, b, a_has_steps, b_has_steps):
        """The product; the result has a leading step axis where an operand has."""
        plan = self._plan(a_has_steps, b_has_steps)
        a = plan.arranged(ws if a_has_steps else None, a, 0)
        return plan.join(ws, a, plan.arranged(ws if b_has_steps else None, b, 1))

    def bound(self, constant, position):
        """``f(ws, x)`` with the operand at ``position`` a constant, arranged once, and x with a step axis."""
        plan = self._plan(position == 1, position == 0)
        fixed = plan.arranged(None, constant, position)
        if position == 0:
            return lambda ws, x: plan.join(ws, fixed, plan.arranged(ws, x, 1))
        return lambda ws, x: plan.join(ws, plan.arranged(ws, x, 0), fixed)

    def _plan(self, a_has_steps, b_has_steps):
        key = (a_has_steps, b_has_steps)
        plan = self._plans.get(key)
        if plan is None:
            la, lb, lo = self.labels
            la = (STEP, *la) if a_has_steps else la
            lb = (STEP, *lb) if b_has_steps else lb
            lo = (STEP, *lo) if a_has_steps or b_has_steps else lo
            plan = self._plans[key] = _Plan(la, lb, lo)
        return plan


class _Plan:
    """Axis permutations for one placement of the step axis."""

    def __init__(self, la, lb, lo):
        self.diagonals = [diagonal_of(labels) for labels in (la, lb)]
        la, lb = _unique(la), _unique(lb)
        # an axis that only one operand has and that the result lacks is summed first
        self.sums = [
            tuple(i for i, x in enumerate(mine) if x not in other and x not in lo)
            for mine, other in ((la, lb), (lb, la))
        ]
        la = [x for x in la if x in lb or x in lo]
        lb = [x for x in lb if x in la or x in lo]
        shared = [x for x in lo if x in la and x in lb]
        contracted = [x for x in la if x in lb and x not in lo]
        free_a = [x for x in lo if x in la and x not in lb]
        free_b = [x for x in lo if x in lb and x not in la]
        self.swap = bool(contracted and free_a and free_b) and lo.index(free_b[0]) < lo.index(free_a[0])
        self.perms = (
            [la.index(x) for x in shared + free_a + contracted],
            [lb.index(x) for x in shared + contracted + free_b],
        )
        self.n_shared, self.n_free_a, self.n_contracted = len(shared), len(free_a), len(contracted)
        made = shared + (free_b + free_a if self.swap else free_a + free_b)
        perm = [made.index(x) for x in lo]
        self.perm_out = None if perm == list(range(len(perm))) else perm

    def arranged(self, ws, x, position):
        """An operand as the stack of matrices that is multiplied, and the shapes of its parts.

        ``ws`` is None for a constant.
        """
        if self.diagonals[position] is not None:
            x = np.einsum(x, *self.diagonals[position])  # a view
        if self.sums[position]:
            axes = self.sums[position]
            x = x.sum(axis=axes) if ws is None else _sum(ws, x, axes)
        x = x.transpose(self.perms[position])
        s = self.n_shared
        middle = s + (self.n_free_a if position == 0 else self.n_contracted)
        shared, left, right = x.shape[:s], x.shape[s:middle], x.shape[middle:]
        if self.n_contracted:
            shape = ((math.prod(shared),) if s else ()) + (math.prod(left), math.prod(right))
            x = x.reshape(shape) if ws is None else ws.reshape(x, shape)
        return x, shared, left, right

    def join(self, ws, a, b):
        """The product of two arranged operands, in a buffer of the workspace."""
        (a, shared, free_a, _), (b, _, _, free_b) = a, b
        if not self.n_contracted:  # nothing is summed: a broadcast product
            a = a.reshape(shared + free_a + (1,) * len(free_b))
            b = b.reshape(shared + (1,) * len(free_a) + free_b)
            out = ws.multiply(a, b)
        elif self.swap:  # (A B)^T = B^T A^T gives the order of axes that is wanted without a copy
            out = _matmul(ws, b.swapaxes(-1, -2), a.swapaxes(-1, -2)).reshape(shared + free_b + free_a)
        else:
            out = _matmul(ws, a, b).reshape(shared + free_a + free_b)
        return out if self.perm_out is None else out.transpose(self.perm_out)


def _matmul(ws, a, b):
    dtype = a.dtype if a.dtype is b.dtype else np.result_type(a, b)
    return ws.run(np.matmul, a, b, ws.empty(a.shape[:-1] + b.shape[-1:], dtype))


def _sum(ws, x, axes):
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return ws.run(lambda x, _, out: np.sum(x, axis=axes, out=out), x, None, ws.empty(shape, x.dtype))


def _unique(labels):
    return list(dict.fromkeys(labels))


def diagonal_of(labels):
    """Arguments for einsum that take the diagonal over repeated labels, None where there are none."""
    if len(set(labels)) == len(labels):
        return None
    names = {x: i for i, x in enumerate(dict.fromkeys(labels))}
    return [names[x] for x in labels], list(names.values())
