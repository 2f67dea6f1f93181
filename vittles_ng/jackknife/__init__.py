"""Data weights: approximate refits under other weights of the observations, and what follows from them."""

from .core import InfinitesimalJackknife
from .results import Refits

__all__ = ["InfinitesimalJackknife", "Refits"]
