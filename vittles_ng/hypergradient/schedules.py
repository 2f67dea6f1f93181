"""Tolerances of the inner problem that tighten as the outer one proceeds.

HOAG converges where the tolerances are summable (Pedregosa, arXiv 1602.02355, Theorem 2): early hypergradients need not
be exact, as they only have to point downhill.
"""

from ..recursion import checked_integer, checked_positive

__all__ = ["SCHEDULES", "tolerance_schedule"]

#: Names of schedules, each with its tolerance at evaluation k = 1, 2, ... relative to the first.
SCHEDULES = {
    "exponential": lambda k: 0.9 ** (k - 1),
    "quadratic": lambda k: 1.0 / k**2,
    "cubic": lambda k: 1.0 / k**3,
}


def tolerance_schedule(kind, first=0.1, least=1e-12):
    """Tolerances of HOAG.

    Parameters
    ----------
    kind : {"exponential", "quadratic", "cubic"}
        ``0.9^(k - 1)``, ``1 / k^2`` or ``1 / k^3``, k from 1: all summable.
    first : float, default=0.1
        The first tolerance.
    least : float, default=1e-12
        Where they end.

    Returns
    -------
    callable
        ``k -> tolerance``, k from 1.

    Raises
    ------
    ValueError
        The kind is not known, or an argument is not positive.

    References
    ----------
    F. Pedregosa, "Hyperparameter optimization with approximate gradient", ICML 2016 (arXiv 1602.02355), section 4.

    Examples
    --------
    >>> from vittles_ng.hypergradient import tolerance_schedule
    >>> tolerance = tolerance_schedule("quadratic")
    >>> tolerance(1), tolerance(10)
    (0.1, 0.001)
    """
    if kind not in SCHEDULES:
        raise ValueError(f"schedule {kind!r} is not known: use one of {', '.join(map(repr, SCHEDULES))}.")
    for name, value in (("first", first), ("least", least)):
        checked_positive(value, name)

    def tolerance(k):
        return max(first * SCHEDULES[kind](checked_integer(k, "k", 1)), least)

    return tolerance
