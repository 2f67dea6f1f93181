"""Hypergradients: how an outer loss changes with the hypers of an inner problem, and the best hypers.

Let f be an inner objective with minimum z*(x) at the hyper x, and F an outer loss such as the loss on held-out data.
The gradient of ``F(z*(x), x)`` in all hypers at once takes one linear solve with the Hessian of f (Bengio 2000):
:func:`hypergradient`, in three ways, each with a bound of its error. :func:`optimise_hypers` minimises the outer loss
with it.
"""

from .gradient import Hypergradient, hypergradient
from .optimum import HyperOptimum, optimise_hypers
from .schedules import SCHEDULES, tolerance_schedule

__all__ = [
    "SCHEDULES",
    "HyperOptimum",
    "Hypergradient",
    "hypergradient",
    "optimise_hypers",
    "tolerance_schedule",
]
