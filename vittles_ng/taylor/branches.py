"""Which branch a kinked primitive takes where its argument lies on the kink.

``abs`` at 0 and ``max`` at a tie have no series of their own, but a function built from them may: the shift by the
largest entry in a hand-written log-sum-exp cancels whichever entry is called the largest. So a kink is not refused when
it is met; the function is recorded again with the other branch there, and the series of the recordings are compared.
They agree exactly where the choice does not matter.

With T kinks met, ``1 + min(T, 24)`` recordings are made: the first takes branch 0 everywhere, recording b >= 1 takes
branch 1 at kink number b - 1 alone of the first 24, and at a random half of the kinks after them. To first order the
difference from recording 0 is a sum of one term per flipped kink: a term of the first 24 stands alone or with random
company, so terms that cancel one another, as of ``|x| + |y| + |z|`` in the direction (1, 1, -2), are seen; that a
dependence escapes every recording has probability 2**-24.
"""

import hashlib

import numpy as np

__all__ = ["Branches", "current"]

_ALONE = 24  # kinks that are flipped one at a time


class Branches:
    """The branches taken in one recording; a context manager that makes itself :func:`current`.

    Attributes
    ----------
    kinks : list of str
        What was met, in order: a sentence each.
    """

    _stack = []  # recordings under way; guarded by the lock under which every recording runs

    def __init__(self, pattern=0):
        self.pattern = pattern
        self.kinks = []
        self._numbers = {}

    def __enter__(self):
        self._stack.append(self)
        return self

    def __exit__(self, *exc):
        self._stack.pop()

    @property
    def n_patterns(self):
        """How many recordings tell all kinks apart."""
        return 1 + min(len(self.kinks), _ALONE)

    def other(self, what, *operands):
        """Whether the kink ``what`` with these operand values takes its second branch.

        The same primitive on equal values is the same kink, so that a maximum formed twice is one choice.
        """
        return bool(self.others(what, 1, *operands)[0])

    def others(self, what, n, *operands):
        """As :meth:`other` for ``n`` kinks in a row, the entries of one array say; a boolean array."""
        digest = hashlib.blake2b(repr((what, n)).encode(), digest_size=16)
        for x in operands:
            x = np.ascontiguousarray(x)
            digest.update(repr((x.shape, x.dtype.str)).encode())
            digest.update(x.tobytes())
        key = digest.digest()
        first = self._numbers.get(key)
        if first is None:
            first = self._numbers[key] = len(self.kinks)
            self.kinks.extend([what] * n)
        if self.pattern == 0:
            return np.zeros(n, dtype=bool)
        numbers = first + np.arange(n)
        noise = hashlib.shake_128(repr((first, self.pattern)).encode()).digest(-(-n // 8))
        coins = np.unpackbits(np.frombuffer(noise, np.uint8))[:n].astype(bool)
        return np.where(numbers < _ALONE, numbers == self.pattern - 1, coins)


def current():
    """The branches of the recording under way; branch 0 everywhere outside one."""
    return Branches._stack[-1] if Branches._stack else Branches()
