"""Paths of solutions: one expansion as far as it is good, then another from a polished point further on.

Requires ``G(input_val0, hyper_val0) == 0``. A sequence of hypers is walked along straight legs in a changed variable of
the hyper; :mod:`.pieces` has one re-expansion and its mathematics. The next base point lies beyond the edge of the
last one's range, because a series is good on both sides; it is kept only if its range reaches back to that edge and
both series agree there, so a path neither has gaps nor jumps to another solution (Cochelin, Comput. Struct. 53 (1994)
1181: the asymptotic numerical method).
"""

from .follow import follow_path
from .path import BasePoint, Path

__all__ = ["BasePoint", "Path", "follow_path"]
