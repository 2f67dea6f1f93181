"""Where to keep states, so that a chain of steps is reversed with few of them and few steps done again.

With c states held and every step done at most r times, the longest chain is the binomial ``beta(c, r) = (c + r)! / (c!
r!)``; a chain of l steps, ``beta(c, r - 1) < l <= beta(c, r)``, takes ``r l - beta(c + 1, r - 1)`` steps forward, which
is the least there is (Griewank & Walther, "Revolve", ACM Trans. Math. Softw. 26 (2000) 19).
"""

from math import comb

__all__ = ["reversed_states"]


def reversed_states(state0, advance, n_steps, n_checkpoints):
    """States ``n_steps - 1`` down to 0 of a chain, with at most ``n_checkpoints`` of them held.

    Parameters
    ----------
    state0 : object
    advance : callable
        ``advance(t, state) -> state`` does step t.
    n_steps, n_checkpoints : int

    Yields
    ------
    t : int
    state : object
        Before step t.
    n_held : int
        States held.
    """
    held = [(0, state0)]
    for end in range(n_steps, 0, -1):
        t, state = held[-1]
        while t < end - 1:
            free = n_checkpoints - len(held)
            distance = _distance(end - t, free + 1) if free else end - 1 - t
            for step in range(t, t + distance):
                state = advance(step, state)
            t += distance
            if free:
                held.append((t, state))
        yield t, state, len(held)
        if held[-1][0] == t:
            held.pop()


def _repetitions(n_steps, n_checkpoints):
    """The least r with ``beta(c, r) >= l``."""
    r = 1
    while comb(n_checkpoints + r, r) < n_steps:
        r += 1
    return r


def _distance(n_steps, n_checkpoints):
    """How far to the next checkpoint, in a chain of that length that starts at one of so many."""
    r = _repetitions(n_steps, n_checkpoints)
    longest_before = comb(n_checkpoints + r - 1, r - 1)
    shortest_after = comb(n_checkpoints - 1 + r - 1, r - 1)
    return min(longest_before, n_steps - shortest_after)
