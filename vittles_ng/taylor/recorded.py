"""A function recorded at a point, and what can be asked of it: derivatives along directions, series, the pattern.

At a kink there are several recordings, one for each side; the series must agree between them.
"""

import numpy as np

from ..errors import NonSmoothError
from .replay import Plan, Replay
from .series import Workspace
from .tape import record

__all__ = ["Recorded", "block_size"]

#: So small that its cube is zero, and its square nothing beside one in whatever units.
_SMALL = 2.0**-400


def block_size(size):
    """Steps to replay together on a tape whose largest value has a size.

    Coefficients of a block stay in cache, or at least share each pass over a large matrix.
    """
    size = max(size, 1)
    return int(np.clip(24_000 // size, min(8, 1 + 20_000_000 // size), 512))


class Recorded:
    """A function recorded at a point, ready to be replayed in any direction.

    Parameters
    ----------
    fun : callable
    args : sequence of ndarray
        The base point.
    corrected : int, optional
        The argument that :meth:`Replay.correct` will supply.
    """

    def __init__(self, fun, args, corrected=None):
        self.tapes = record(fun, *args)
        self._plans = [Plan(tape, corrected) for tape in self.tapes]
        tape = self.tapes[0]
        self.values = [value for _, value in tape.outputs]
        for other in self.tapes[1:]:  # a gradient's own value has a side at a kink
            if not all(_agree(a, b, 0.0) for a, (_, b) in zip(self.values, other.outputs, strict=True)):
                raise _kinked(tape, 0)
        self.is_tuple = tape.is_tuple
        self.size = max((np.size(v) for v in tape.values if isinstance(v, np.ndarray)), default=1)
        kernels = [kernel for kernel in tape.kernels if kernel is not None]
        #: whether a replay's arithmetic can be logged and repeated without the replay
        self.can_log = len(self.tapes) == 1 and all(kernel.is_linear or kernel.in_workspace for kernel in kernels)

    def depends_on(self, argnum):
        """Whether any output depends on an argument."""
        tape = self.tapes[0]
        depends = tape.depends_on(argnum)
        return any(node is not None and depends[node] for node, _ in tape.outputs)

    def pattern(self, argnum, output=0):
        """Which entries of an argument each entry of an output depends on, in the series of any order.

        Found from the calls on the tape, whatever the values are, so that it holds at any base point where the
        function takes the same branches; no dependence is missed, some may be reported that there are not. A constant
        matrix in a product counts with its nonzeros.

        Parameters
        ----------
        argnum : int
            The argument.
        output : int, default=0
            The output, where the function returns several.

        Returns
        -------
        csc_array of bool, shape (output size, argument size)
            With sorted indices, every stored entry True. Both are flattened in C order.

        Raises
        ------
        SizeError
            The pattern has too many entries to be held.

        References
        ----------
        A. Griewank and A. Walther, "Evaluating Derivatives", SIAM 2008, sec. 7.1.

        Examples
        --------
        >>> import autograd
        >>> import autograd.numpy as np
        >>> chain = Recorded(autograd.grad(lambda x: np.sum(np.diff(x) ** 4)), [np.arange(4.0) ** 2])
        >>> chain.pattern(0).toarray().astype(int)
        array([[1, 1, 0, 0],
               [1, 1, 1, 0],
               [0, 1, 1, 1],
               [0, 0, 1, 1]])
        """
        from .dependence import dependence  # with the rule tables: not before the first recording

        found = None
        for tape in self.tapes:
            pattern = dependence(tape, argnum, output)
            found = pattern if found is None else found + pattern
        return found.tocsc()

    def pushed(self, argnum, directions, ws=None):
        """Derivatives of the first output along directions (n_directions, n) of an argument: (n_directions, *shape).

        ``ws`` is a workspace to use again, of as many steps; the result may lie in it.
        """
        given = [None] * len(self.tapes[0].roots)
        given[argnum] = np.ascontiguousarray(directions)
        with np.errstate(all="ignore"):
            c = self.start(len(directions), ws).coefficient(given)[0]
        return np.zeros((len(directions), *self.values[0].shape)) if c is None else c

    def products(self, argnum, directions):
        """As :meth:`pushed`, in blocks that fit in memory."""
        n_directions = len(directions)
        block = int(np.clip(4_000_000 // max(self.size, 1), 1, max(n_directions, 1)))
        products, ws = np.empty((n_directions, *self.values[0].shape)), Workspace(block)
        for start in range(0, n_directions, block):
            rows = directions[start : start + block]
            products[start : start + block] = self.pushed(argnum, rows, ws if len(rows) == block else None)
        return products

    # With c_3 the coefficient of t^3 of F along e a t + b t^2: c_3 = e D^2F[a, b] + e^3 D^3F[a, a, a] / 6 (Taylor
    # arithmetic: Griewank & Walther, "Evaluating Derivatives", ch. 13). Nothing is subtracted, whatever the units, and
    # second derivatives along a alone or b alone, which may be far larger, are in other coefficients.
    def mixed(self, first, second):
        """Mixed second derivatives ``D^2 F[a, b]`` of all outputs, for pairs of directions.

        Parameters
        ----------
        first, second : sequence of (ndarray of shape (n_pairs, *shape) or None)
            a and b: the part of every argument, None where it is zero; not in all of them. In whatever units, if steps
            of a's size times 1e-100 and 1e100 are small and large ones.

        Returns
        -------
        list of ndarray of shape (n_pairs, *output shape)
            One for each output; not checked for being finite.

        Raises
        ------
        NonSmoothError
            At a kink, where a first derivative along a or b or the mixed one depends on the side taken.

        Examples
        --------
        >>> import autograd.numpy as np
        >>> product = Recorded(lambda x, y: 1e20 * x**2 + x * y, [np.ones(1), np.ones(1)])
        >>> product.mixed([np.ones((1, 1)), None], [None, np.ones((1, 1))])
        [array([[1.]])]
        """
        first, second = ([None if c is None else np.ascontiguousarray(c) for c in given] for given in (first, second))
        n_pairs = next(len(c) for c in first + second if c is not None)
        small, nothing = [None if c is None else _SMALL * c for c in first], [None] * len(first)
        if len(self.tapes) > 1:  # what is so small would hide that the sides differ
            with np.errstate(all="ignore"):
                for given in (first, second):
                    self.start(n_pairs).coefficient(given)
        found = []
        for plan in self._plans:
            replay = Replay(plan, Workspace(n_pairs))
            with np.errstate(all="ignore"):
                for given in (small, second):
                    replay.coefficient(given)
                c3 = replay.coefficient(nothing)
            found.append(
                [
                    np.zeros((n_pairs, *np.shape(value))) if c is None else c / _SMALL
                    for c, value in zip(c3, self.values, strict=True)
                ]
            )
        for other in found[1:]:
            if not all(_agree(a, b, 0.0) for a, b in zip(found[0], other, strict=True)):
                raise _kinked(self.tapes[0], 2)
        return found[0]

    def start(self, n_steps, ws=None):
        """A fresh replay for a batch of steps; ``ws`` is a workspace of that size to use again."""
        ws = Workspace(n_steps) if ws is None else ws
        replays = [Replay(plan, ws) for plan in self._plans]
        return replays[0] if len(replays) == 1 else _Compared(replays, self)


class _Compared:
    """Replays of the recordings made at a kink, which must agree."""

    def __init__(self, replays, recorded):
        self.replays = replays
        self.recorded = recorded
        self.ws = replays[0].ws

    def coefficient(self, given):
        """As :meth:`Replay.coefficient`; raises where the choice of branch changes the series."""
        first, *rest = [replay.coefficient(given) for replay in self.replays]
        for other in rest:
            for a, b, value in zip(first, other, self.recorded.values, strict=True):
                if not _agree(a, b, np.max(np.abs(value), initial=0.0)):
                    raise _kinked(self.recorded.tapes[0], self.replays[0].order)
        return first

    def correct(self, c):
        """As :meth:`Replay.correct`."""
        for replay in self.replays:
            replay.correct(c)

    @property
    def order(self):
        """Orders formed so far."""
        return self.replays[0].order


def _kinked(tape, order):
    kinks = list(dict.fromkeys(tape.kinks))
    return NonSmoothError(
        f"not differentiable at the base point: {'; '.join(kinks[:3])}, and the series of order {order} depends on the "
        "side taken. Move the base point off the kink, or smooth the function there."
    )


def _agree(a, b, scale):
    """Whether two coefficients are equal to rounding."""
    if a is None and b is None:
        return True
    a, b = (0.0 if c is None else c for c in (a, b))
    size = max(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0))
    return bool(np.max(np.abs(np.subtract(a, b)), initial=0.0) <= 1e-8 * size + 1e-13 * scale)
