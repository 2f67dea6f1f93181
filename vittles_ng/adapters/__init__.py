"""Jackknives of models that other packages fitted.

The adapters are imported when they are first asked for: they need ``autograd.scipy``, which loads all of SciPy's
statistics.
"""

import importlib

__all__ = ["from_sklearn", "from_statsmodels"]

_MODULES = {"from_sklearn": "sklearn", "from_statsmodels": "statsmodels"}


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
