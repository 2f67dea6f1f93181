"""How large a result may be."""

import os

from .errors import SizeError

__all__ = ["OF_MEMORY", "check_size", "memory_limit"]

OF_MEMORY = "a quarter of this machine's memory"


def memory_limit():
    """Bytes that one result may take: a quarter of the machine's memory, 2 GiB where the system does not tell."""
    try:
        n_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):
        n_bytes = -1
    return n_bytes if n_bytes > 0 else 2**31


def check_size(n_bytes, what, limit, of_what, remedy):
    """Raise where an array would take more bytes than a limit.

    Raises
    ------
    SizeError
        Names the size.
    """
    if n_bytes > limit:
        raise SizeError(
            f"{what} takes {n_bytes} bytes ({n_bytes / 2**30:.3g} GiB), more than {limit / 2**30:.3g} GiB "
            f"({of_what}): {remedy}."
        )
