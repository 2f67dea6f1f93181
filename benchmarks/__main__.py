"""``python -m benchmarks``: time everything, write the results, print the tables."""

import argparse
import warnings
from pathlib import Path

from benchmarks import bootstrap, models, output, rivals
from benchmarks.orders import Options, run_model
from benchmarks.timing import load, machine

RESULTS = Path(__file__).parent / "results"
QUICK = Options(max_order=4, rounds=2, slot=0.002, budget=0.3)


def main(argv=None):
    """Run the benchmarks; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time the engine and its rivals.")
    parser.add_argument("--quick", action="store_true", help="two small models: whether it runs, not how fast")
    parser.add_argument("--output", type=Path, help="folder of the results (default: benchmarks/results, or none)")
    arguments = parser.parse_args(argv)
    options = QUICK if arguments.quick else Options()
    if not rivals.has_vittles():
        print(f"vittles {rivals.VITTLES_VERSION} is not installed and will not be timed: {rivals.INSTALL_HINT}")

    results = {"machine": machine(), "budget": options.budget, "models": {}}
    with warnings.catch_warnings():
        # What vittles and naive differentiation meet in terms that are zero.
        warnings.filterwarnings("ignore", "Output seems independent of input", UserWarning)
        for model in models.quick_models() if arguments.quick else models.all_models():
            print(f"timing {model.title} ...", flush=True)
            results["models"][model.name] = run_model(model, options)
    print("timing the bootstrap on one core ...", flush=True)
    n_resamples, rounds = (100, 2) if arguments.quick else (1000, 5)
    results["bootstrap"] = bootstrap.run_on_one_core(n_resamples, rounds)

    results["machine"]["load_after"] = load()

    print("", output.tables(results), sep="\n")
    folder = arguments.output or (None if arguments.quick else RESULTS)
    if folder:
        print("wrote", *output.write(results, folder))


if __name__ == "__main__":
    main()
