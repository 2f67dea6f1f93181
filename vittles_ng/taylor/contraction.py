"""Products of two arrays that sum over shared axes, as matrix products.

Every bilinear primitive on arrays (dot, matmul, tensordot, inner, outer, kron, einsum of two operands and the adjoints
autograd adds to them) is ``out[o] = sum_c a[..] b[..]`` for labelled axes. Labels found in both operands and in the result
are shared, labels found in both and not in the result are contracted, the rest is free. The operands are brought to
``(shared, free_a, contracted) @ (shared, contracted, free_b)``, which is one GEMM, or a stack of them.
"""

import numpy as np

__all__ = ["Contraction", "STEP"]

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

    def __call__(self, a, b, a_has_steps, b_has_steps):
        """The product; the result has a leading step axis where an operand has."""
        key = (a_has_steps, b_has_steps)
        plan = self._plans.get(key)
        if plan is None:
            la, lb, lo = self.labels
            la = (STEP, *la) if a_has_steps else la
            lb = (STEP, *lb) if b_has_steps else lb
            lo = (STEP, *lo) if a_has_steps or b_has_steps else lo
            plan = self._plans[key] = _Plan(la, lb, lo)
        return plan(a, b)


class _Plan:
    """Axis permutations for one placement of the step axis."""

    def __init__(self, la, lb, lo):
        self.diagonals = [_diagonal(labels) for labels in (la, lb)]
        la, lb = _unique(la), _unique(lb)
        # an axis that only one operand has and that the result lacks is summed first
        self.sum_a = tuple(i for i, x in enumerate(la) if x not in lb and x not in lo)
        self.sum_b = tuple(i for i, x in enumerate(lb) if x not in la and x not in lo)
        la = [x for x in la if x in lb or x in lo]
        lb = [x for x in lb if x in la or x in lo]
        shared = [x for x in lo if x in la and x in lb]
        contracted = [x for x in la if x in lb and x not in lo]
        free_a = [x for x in lo if x in la and x not in lb]
        free_b = [x for x in lo if x in lb and x not in la]
        self.swap = bool(contracted and free_a and free_b) and lo.index(free_b[0]) < lo.index(free_a[0])
        self.perm_a = [la.index(x) for x in shared + free_a + contracted]
        self.perm_b = [lb.index(x) for x in shared + contracted + free_b]
        self.n = (len(shared), len(free_a), len(contracted), len(free_b))
        made = shared + (free_b + free_a if self.swap else free_a + free_b)
        perm = [made.index(x) for x in lo]
        self.perm_out = None if perm == list(range(len(perm))) else perm

    def __call__(self, a, b):
        for diagonal, which in zip(self.diagonals, (0, 1), strict=True):
            if diagonal is not None:
                if which == 0:
                    a = np.einsum(a, diagonal[0], diagonal[1])
                else:
                    b = np.einsum(b, diagonal[0], diagonal[1])
        if self.sum_a:
            a = a.sum(axis=self.sum_a)
        if self.sum_b:
            b = b.sum(axis=self.sum_b)
        a, b = a.transpose(self.perm_a), b.transpose(self.perm_b)
        s, fa, c, _ = self.n
        shared, free_a, inner = a.shape[:s], a.shape[s : s + fa], a.shape[s + fa :]
        free_b = b.shape[s + c :]
        if not inner:  # nothing is summed: a broadcast product
            out = a.reshape(shared + free_a + (1,) * len(free_b)) * b.reshape(shared + (1,) * len(free_a) + free_b)
        else:
            ns, na, nc, nb = _size(shared), _size(free_a), _size(inner), _size(free_b)
            lead = (ns,) if s else ()
            a = a.reshape(lead + (na, nc))
            b = b.reshape(lead + (nc, nb))
            if self.swap:  # (A B)^T = B^T A^T gives the order of axes that is wanted without a copy
                out = np.matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2)).reshape(shared + free_b + free_a)
            else:
                out = np.matmul(a, b).reshape(shared + free_a + free_b)
        return out if self.perm_out is None else out.transpose(self.perm_out)


def _size(shape):
    n = 1
    for m in shape:
        n *= m
    return n


def _unique(labels):
    return list(dict.fromkeys(labels))


def _diagonal(labels):
    """Arguments for einsum that take the diagonal over repeated labels, None where there are none."""
    if len(set(labels)) == len(labels):
        return None
    names = {x: i for i, x in enumerate(dict.fromkeys(labels))}
    return [names[x] for x in labels], list(names.values())
