"""Weight vectors are independent of one another: blocks of them, handed to workers.

What a worker does with a block is what one process does with all, by the same functions; values agree to the rounding
of other block lengths.
"""

from contextlib import contextmanager
from dataclasses import fields

import numpy as np

from ..executors import Shared, blocks_of, workers
from .sets import Sets
from .verdicts import look_at, terms_of

__all__ = ["Distributed", "distributed", "shared"]

_NUMBERS_OF_BLOCK = 2**22  # of weights that are sent at a time


def shared(jackknife):
    """The jackknife as other processes get it, pickled once: loss, data, fit and weights, without tape and factor.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife

    Returns
    -------
    Shared
    """
    if "_shared" not in vars(jackknife):
        model, problem = jackknife.model, jackknife.expansion._problem
        sparsity = None if problem.assembly is None else problem.assembly.pattern
        start = model.input.unflatten(np.array(jackknife.input_val0))
        recipe = (model.is_objective, model.loss, start, model.data, model.penalty, model.hyper)
        recipe += (np.array(jackknife.weights0), jackknife.order, problem._solver, sparsity)
        jackknife._shared = Shared(jackknife, _made_again, recipe)
    return jackknife._shared


def _made_again(is_objective, loss, start, data, penalty, hyper, weights0, order, solver, sparsity):
    from .core import InfinitesimalJackknife

    make = InfinitesimalJackknife if is_objective else InfinitesimalJackknife.from_estimating_equation
    return make(
        loss,
        start,
        data,
        penalty,
        hyper,
        weights0,
        order=order,
        optimum_tol=np.inf,  # the fit was accepted before
        solver=solver,
        sparsity=sparsity,
    )


@contextmanager
def distributed(jackknife, executor):
    """A :class:`Distributed` for an argument ``executor``; None for None."""
    if executor is None:
        yield None
    else:
        with workers(executor) as some:
            yield Distributed(jackknife, some)


class Distributed:
    """A jackknife's work on many weight vectors, by workers.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    some : Workers
    """

    def __init__(self, jackknife, some):
        self.workers, self._shared = some, shared(jackknife)
        self._n_input = jackknife.n_input
        self._n_obs, self._steps = jackknife.n_obs, jackknife.expansion._recursion._block

    def _blocks(self, n):
        """Slices of weight vectors, as many in each as whole blocks of the recursion, which log their arithmetic."""
        n_workers, steps = self.workers.n_workers, self._steps
        most = max(1, _NUMBERS_OF_BLOCK // self._n_obs)
        if n < 4 * n_workers * steps or most < steps:
            return blocks_of(n, n_workers, most=most)
        return blocks_of(n, n_workers, steps, most // steps * steps, per_worker=2)  # series take all the same time

    def _map(self, function, calls, n_calls, what):
        return self.workers.map(self._shared, function, calls, n_calls, what)

    def terms_of(self, weights, order):
        """As :func:`vittles_ng.jackknife.verdicts.terms_of`."""
        return self.terms(weights.__getitem__, slice(0, len(weights)), order)

    def terms(self, weights_of, rows, order):
        """Terms of the series of the weights ``weights_of(rows)``: arrays, or functions that form them over there."""
        blocks = [slice(rows.start + b.start, rows.start + b.stop) for b in self._blocks(rows.stop - rows.start)]
        calls = ((_compact(weights_of(block)), order) for block in blocks)
        found = self._map(_terms, calls, len(blocks), "series")
        return np.concatenate(found, axis=1) if found else np.empty((order, 0, self._n_input))

    def looked_at(self, values, weights_of, tol, scale):
        """What gives verdicts on some of the values, by their indices."""

        def looked_at(indices):
            blocks = [indices[block] for block in blocks_of(len(indices), self.workers.n_workers, 4)]
            calls = (
                (values[some], _compact(np.concatenate([weights_of(slice(i, i + 1)) for i in some])), tol, scale)
                for some in blocks
            )
            return [v for some in self._map(_verdicts, calls, len(blocks), "verdicts") for v in some]

        return looked_at

    def refits(self, weights, tol):
        """As :func:`vittles_ng.jackknife.refits.refits`."""
        if len(weights) == 0:
            return _refits(self._shared.local, weights, tol)
        blocks = blocks_of(len(weights), self.workers.n_workers, most=max(1, _NUMBERS_OF_BLOCK // self._n_obs))
        found = self._map(_refits, ((_compact(weights[block]), tol) for block in blocks), len(blocks), "exact refits")
        kind = type(found[0])
        return kind(**{f.name: np.concatenate([getattr(part, f.name) for part in found]) for f in fields(kind)})

    def by_sets(self, function, sets, *arguments):
        """``function(jackknife, sets, *arguments)``, a row for each set, of blocks of sets."""
        length = -(-len(sets) // self.workers.n_workers)
        blocks = [slice(start, min(start + length, len(sets))) for start in range(0, len(sets), max(1, length))]
        calls = ((function, *_part(sets, block), *arguments) for block in blocks)
        return np.concatenate([np.empty((0, self._n_input)), *self._map(_of_sets, calls, len(blocks), "refits")])


def _part(sets, block):
    first, last = sets.starts[block.start], sets.starts[block.stop]
    return sets.rows[first:last], sets.starts[block.start : block.stop + 1] - first


def _compact(weights):
    """Weights as bytes where they are small counts, an eighth to send."""
    if callable(weights) or weights.size and not 0.0 <= weights[0].max() < 256.0:
        return weights
    with np.errstate(all="ignore"):
        small = weights.astype(np.uint8)
    return small if np.array_equal(small, weights) else weights


def _terms(jackknife, weights, order):
    weights = weights() if callable(weights) else weights.astype(np.float64)
    return terms_of(jackknife, weights, order)


def _verdicts(jackknife, values, weights, tol, scale):
    weights = weights.astype(np.float64)
    return [look_at(jackknife, value, row, tol, scale) for value, row in zip(values, weights, strict=True)]


def _refits(jackknife, weights, tol):
    from .refits import refits  # which hands work to this module

    return refits(jackknife, weights.astype(np.float64), tol)


def _of_sets(jackknife, function, rows, starts, *arguments):
    return function(jackknife, Sets(rows, starts), *arguments)
