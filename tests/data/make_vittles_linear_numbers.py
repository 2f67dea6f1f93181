"""Writes vittles_linear_numbers.json: the sessions of tests/vittles_sessions.py by vittles 0.173, names and signatures.

Run from the repository with vittles 0.173 installed: ``python tests/data/make_vittles_linear_numbers.py``. vittles
works on autograd 1.9 and NumPy 2.4 once ``np.product``, which its dependency paragami uses, is put back; its
conjugate gradients do not, on current SciPy.
"""

import inspect
import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import autograd.numpy as anp
import numpy as np

HERE = Path(__file__).resolve().parent


def signatures(value):
    """Argument names by method, of a function under the empty name."""
    methods = {"": value}
    if inspect.isclass(value):
        methods = {k: m for k, m in vars(value).items() if inspect.isfunction(m) and (k == "__init__" or k[0] != "_")}
    return {name: list(inspect.signature(method).parameters) for name, method in methods.items()}


def public_names(module):
    """What a module itself defines under a public name."""
    return sorted(k for k, v in vars(module).items() if k[0] != "_" and getattr(v, "__module__", "") == module.__name__)


def main():
    anp.product = anp.prod
    import vittles
    import vittles.solver_lib

    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
    from vittles_sessions import MODULES, NAMES, SESSIONS

    modules = vittles, vittles.sensitivity_lib, vittles.bivariate_sensitivity_lib, vittles.solver_lib
    package = SimpleNamespace(**{name: value for module in reversed(modules) for name, value in vars(module).items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers = {
            session: {name: np.asarray(value).tolist() for name, value in run(package).items()}
            for session, run in SESSIONS.items()
        }
    numbers["signatures"] = {name: signatures(getattr(package, name)) for name in NAMES}
    numbers["modules"] = {name: public_names(getattr(vittles, name)) for name in MODULES}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in numbers.items()]
    (HERE / "vittles_linear_numbers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
