"""Loads the rule tables: importing a ``rules_*`` module enters its rules.

They are loaded at the first recording, because ``autograd.scipy`` imports half of SciPy and whatever that finds.
"""

from importlib import import_module

__all__ = ["load"]

_TABLES = (
    "rules_elementwise",
    "rules_transcendental",
    "rules_arrays",
    "rules_products",
    "rules_sparse",
    "rules_containers",
    "rules_choices",
    "rules_reductions",
    "rules_outer",
    "rules_sinc",
    "rules_complex",
    "rules_signal",
    "rules_special",
    "rules_bessel",
    "rules_stats",
    "rules_multivariate",
    "rules_linalg",
    "rules_scipy_linalg",
    "rules_spectral",
    "rules_norms",
)


def load():
    """Import every rule table, once."""
    for name in _TABLES:
        import_module(f".{name}", __package__)
