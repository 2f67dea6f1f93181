"""Replay of a tape: the coefficients of every node, order by order.

At order k with the solved-for argument's coefficient taken as zero, every node's ``c_k`` is formed once
(:meth:`Replay.coefficient`); the outputs give ``r_k``. After the solve, ``c_k`` is linear in the missing coefficient,
and only that linear part is added (:meth:`Replay.correct`), and only at nodes whose ``c_k`` will be read again:
operands of nonlinear rules, results that their own rule reads, and what lies on the way to them. For a model that is a
function of ``X @ theta`` this is one product with X and one with its transpose per order.
"""

from typing import NamedTuple

import numpy as np

from .series import add_coefficients
from .structure import SparseTerm

__all__ = ["Plan", "Replay", "apply"]


class Step(NamedTuple):
    """One node to form, and what is done with the result."""

    node: int
    kernel: object
    parents: tuple
    only: int  # the parent of a linear rule with one operand, else -1
    is_linear: bool
    is_kept: bool
    dying: tuple  # nodes whose coefficient is not read after this step
    values: tuple  # order 0 of the parents


class Plan:
    """What a replay of a tape does in which order; made once per tape.

    Parameters
    ----------
    tape : Tape
    corrected : int or None
        The argument whose coefficient of order k is found only after the outputs' (the solved-for input).
    """

    def __init__(self, tape, corrected=None):
        self.tape = tape
        self.kept = self._kept()
        self.root = None if corrected is None else tape.roots[corrected]
        nodes = [i for i, kernel in enumerate(tape.kernels) if kernel is not None and tape.parents[i]]
        to_correct = [] if corrected is None else self._to_correct(nodes, tape.depends_on(corrected))
        dying = self._dying(nodes, to_correct)
        steps = {i: self._step(i, dying.get(i, ())) for i in nodes}
        self.forward = list(steps.values())
        self.correction = [steps[i] for i in to_correct]
        self.read_in_correction = {p for step in self.correction for p in step.parents}
        self.later = self._later()
        formed = {step.node for step in self.later}
        self.zero_later = [i for i in nodes if self.kept[i] and i not in formed]

    def _kept(self):
        """Nodes whose coefficients are read at later orders: by a nonlinear rule, or by their own."""
        tape = self.tape
        kept = [kernel is None for kernel in tape.kernels]
        for i, kernel in enumerate(tape.kernels):
            if kernel is not None and not kernel.is_linear:
                kept[i] = kept[i] or kernel.reads_result
                for p in tape.parents[i]:
                    kept[p] = True
        return kept

    def _to_correct(self, nodes, depends):
        """Nodes to correct: kept, or read by a node to correct, and dependent on the corrected argument."""
        needed = list(self.kept)
        for i in reversed(nodes):
            if needed[i]:
                for p in self.tape.parents[i]:
                    needed[p] = True
        return [i for i in nodes if needed[i] and depends[i]]

    def _dying(self, nodes, to_correct):
        """For every node the ones that are read last by it."""
        immortal = {i for i, k in enumerate(self.kept) if k}
        immortal.update(node for node, _ in self.tape.outputs if node is not None)
        immortal.update(to_correct)
        last = {p: i for i in nodes for p in self.tape.parents[i] if p not in immortal}
        dying = {}
        for p, i in last.items():
            dying[i] = (*dying.get(i, ()), p)
        return dying

    def _step(self, i, dying):
        tape = self.tape
        kernel, parents = tape.kernels[i], tape.parents[i]
        only = parents[0] if kernel.is_linear and len(parents) == 1 else -1
        values = tuple(tape.values[p] for p in parents)
        return Step(i, kernel, parents, only, kernel.is_linear, self.kept[i], dying, values)

    def _later(self):
        """The steps that may give a coefficient when every argument's is zero: a linear rule needs an operand's."""
        moving, later = set(), []
        for step in self.forward:
            if not step.is_linear or any(p in moving for p in step.parents):
                moving.add(step.node)
                later.append(step)
        return later


class Replay:
    """The series store of one batch of steps through one tape.

    Parameters
    ----------
    plan : Plan
    ws : Workspace
        Where coefficients live; of the batch's number of steps, used by one thread at a time.
    """

    def __init__(self, plan, ws):
        self.plan = plan
        self.ws = ws
        tape = plan.tape
        self.series = [[v] if kept else None for v, kept in zip(tape.values, plan.kept, strict=True)]
        self.aux = [kernel.start() if kernel is not None and not kernel.is_linear else None for kernel in tape.kernels]
        self.now = None  # coefficients of the present order, until they are corrected
        self._pending = None
        self.order = 0

    def coefficient(self, given):
        """Coefficients of the next order.

        Parameters
        ----------
        given : sequence of (ndarray of shape (n_steps, *shape) or None)
            The coefficient of every argument, None where it is zero (or corrected later).

        Returns
        -------
        list of (ndarray, dict or None)
            The coefficient of every output.
        """
        if self._pending is not None:
            self._correct(self._pending)
        plan, ws, series, aux = self.plan, self.ws, self.series, self.aux
        tape = plan.tape
        self.order += 1
        k = self.order
        now = self.now = [None] * len(tape.kernels)
        for root, c in zip(tape.roots, given, strict=True):
            now[root] = c
            series[root].append(c)
        steps = plan.forward
        if all(c is None for c in given):
            steps = plan.later
            for i in plan.zero_later:
                series[i].append(None)
        for i, kernel, parents, only, is_linear, is_kept, dying, _ in steps:
            if not is_linear:
                c = kernel.coefficient(ws, k, [series[p] for p in parents], series[i], aux[i])
            elif only >= 0:
                c = now[only]
                if c is not None:
                    c = apply(ws, kernel, c)
            else:
                xs = [now[p] for p in parents]
                c = apply(ws, kernel, *xs) if any(x is not None for x in xs) else None
            now[i] = c
            if is_kept:
                series[i].append(c)
            for p in dying:
                now[p] = None
        return [None if node is None else now[node] for node, _ in tape.outputs]

    def correct(self, c):
        """Add the part of the present order that is linear in the corrected argument's coefficient ``c``, or None.

        Done when the next order needs it: the last order's is never formed.
        """
        self._pending = c
        if c is None:
            self.now = None

    def _correct(self, c):
        self._pending = None
        plan, ws, now, series, k = self.plan, self.ws, self.now, self.series, self.order
        delta = {plan.root: c}
        series[plan.root][k] = c
        for i, kernel, parents, only, is_linear, is_kept, _, values in plan.correction:
            if only >= 0:
                d = delta.get(only)
                if d is not None:
                    d = apply(ws, kernel, d)
            else:
                dx = [delta.get(p) for p in parents]
                if all(x is None for x in dx):
                    continue
                d = apply(ws, kernel, *dx) if is_linear else kernel.tangent(ws, dx, values, plan.tape.values[i])
            delta[i] = d
            if is_kept and d is not None:
                c = now[i]
                if c is None:
                    series[i][k] = d
                elif not is_linear and kernel.tangent_is_own and i not in plan.read_in_correction:
                    series[i][k] = ws.run(np.add, c, d, d)
                else:
                    series[i][k] = _sum(ws, c, d)
        self.now = None


def apply(ws, kernel, *xs):
    """``y_k`` of a linear kernel; where it does not write the workspace's log itself, as one operation of the log."""
    if ws.log is None or kernel.in_workspace:
        return kernel.apply(ws, *xs)
    made = kernel.apply(ws.scratch, *xs)
    operands = [x for x in map(_array_of, xs) if x is not None]

    def leaf(path, c):
        """The part of the result at a path, as an array that the log fills, or as the view that it is."""
        if isinstance(c, dict):
            return {key: leaf((*path, key), part) for key, part in c.items()}
        if isinstance(c, SparseTerm):
            return SparseTerm(c.index, leaf((*path, 1), c.values))
        if c is None or any(np.may_share_memory(c, x) for x in operands):
            return c

        def form(_, __, out):
            part = kernel.apply(ws.scratch, *xs)
            for key in path:
                part = part[key]
            np.copyto(out, part)

        return ws.run(form, operands, None, ws.empty(c.shape, c.dtype))

    return leaf((), made)


def _array_of(x):
    return x.values if isinstance(x, SparseTerm) else x if isinstance(x, np.ndarray) else None


def _sum(ws, a, b):
    if isinstance(a, SparseTerm) and isinstance(b, SparseTerm):
        return SparseTerm(a.index, ws.add(a.values, b.values))
    return add_coefficients(ws, a, b)
