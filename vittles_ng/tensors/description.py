"""How a nested hyper is built, as JSON can hold it: containers by their keys, arrays by their shapes.

{"a": array of shape (2, 3), "b": [0.0]}  ->  {"dict": [["a", {"shape": [2, 3]}], ["b", {"list": [{"shape": []}]}]]}
"""

import math

import numpy as np

from ..problem import Structure

__all__ = ["described", "rebuilt"]


def described(hyper):
    """A structure as what JSON can hold."""

    def describe(value):
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, (str, int, float)):
                    raise TypeError(f"hyper_val0 has the key {key!r}: only strings and numbers as keys can be saved.")
            return {"dict": [[key, describe(part)] for key, part in value.items()]}
        if isinstance(value, (list, tuple)):
            return {"list": [describe(part) for part in value]}
        return {"shape": list(np.shape(value))}

    return describe(np.empty(hyper.shape) if hyper.template is None else hyper.template)


def rebuilt(description, flat):
    """The structure of a description at a flat value."""
    sizes = []

    def build(node):
        ((kind, parts),) = node.items()
        if kind == "dict":
            return {key: build(part) for key, part in parts}
        if kind == "list":
            return [build(part) for part in parts]
        sizes.append(math.prod(parts))
        if kind != "shape" or sum(sizes) > flat.size:
            raise ValueError(f"the structure of hyper_val0 does not hold {flat.size} elements")
        return np.zeros(parts)

    structure = Structure(build(description), "hyper_val0")
    if structure.size != flat.size:
        raise ValueError(f"the structure of hyper_val0 holds {structure.size} elements, hyper_val0 {flat.size}")
    return structure.moved(flat)
