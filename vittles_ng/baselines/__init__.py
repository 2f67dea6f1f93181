"""Taylor expansions by nested first-order automatic differentiation: rivals and oracles of the engine.

Both classes expand the solution ``input(hyper)`` of ``G(input, hyper) == 0`` along a line in hyper, as the engine does,
but by ways that share no arithmetic with it, and at a cost that is exponential in the order where the engine's is
polynomial:

* :class:`NaiveTaylorExpansion` differentiates the solution, as an autograd primitive, over and over.
* :class:`NestedJVPTaylorExpansion` sums the terms of the chain rule, each by nested Jacobian-vector products.

Use them to check the engine on a new model, and to measure it; for work, use the engine. They are as right as
autograd's nested derivatives are: some of its rules branch on values (``x**y`` at y = 0, ``eigh`` with a zero
cotangent, ties in ``max``) and may then be wrong from the second derivative on.
"""

from vittles_ng.baselines.naive import NaiveTaylorExpansion
from vittles_ng.baselines.nested import NestedJVPTaylorExpansion

__all__ = ["NaiveTaylorExpansion", "NestedJVPTaylorExpansion"]
