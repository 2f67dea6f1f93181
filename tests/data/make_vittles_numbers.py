"""Writes vittles_numbers.json: derivatives of the models of tests/problems.py by vittles 0.173.

Run from the repository with vittles 0.173 installed: ``python tests/data/make_vittles_numbers.py``. vittles works on
autograd 1.9 and NumPy 2.4 once ``np.product``, which its dependency paragami uses, is put back.
"""

import json
import sys
from pathlib import Path

import autograd.numpy as anp

HERE = Path(__file__).resolve().parent
ORDER = 5


def main():
    anp.product = anp.prod
    import vittles

    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
    from problems import MODELS, names

    numbers = {}
    for name in names(in_vittles=True):
        model = MODELS[name]
        expansion = vittles.ParametricSensitivityTaylorExpansion.optimization_objective(
            model.function, model.input_val0, model.hyper_val0, ORDER
        )
        derivs = expansion.evaluate_input_derivs(model.step)
        numbers[name] = {"input_val0": model.input_val0.tolist(), "derivs": [d.tolist() for d in derivs]}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in numbers.items()]
    (HERE / "vittles_numbers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
