"""Which few observations carry a conclusion: the most influential set, and the smallest set that reverses a sign."""

from .results import ReversingSet
from .sets import most_influential_set, smallest_reversing_set
from .t_statistic import TStatistic, t_statistic

__all__ = ["ReversingSet", "TStatistic", "most_influential_set", "smallest_reversing_set", "t_statistic"]
