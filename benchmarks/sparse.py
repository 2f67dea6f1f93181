"""Study: sparse and large. A block-arrow model of 100050 inputs and a grid of 90000, from the tape to an expansion.

The arrow is a logistic regression of 200000 observations with 5 coefficients in each of 20000 groups and 50 common
ones: 10.5 million nonzeros. The grid is a 300 x 300 surface of counts smoothed by its differences, whose Hessian is
that of a grid Laplacian plus a diagonal. Each runs in a process of its own, so that its peak memory is its own; so does
SuperLU on the arrow. Times are medians; the methods take turns. "SuperLU (COLAMD)" is SciPy's ``splu`` as one calls
it; the other factors are the package's, with all checks, beside the bare call of CHOLMOD.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import autograd.numpy as anp
import numpy as np
import scipy.sparse
from autograd import grad
from scipy.sparse.linalg import splu

import vittles_ng as vn
from vittles_ng.assembly import Assembly, checked_pattern
from vittles_ng.base_point import BasePoint
from vittles_ng.solvers import Cholmod, Schur, SuperLU

ORDER = 3
N_RHS = 100


def arrow_model(n_groups=20_000, n_local=5, n_global=50, n_per_group=10, seed=0):
    """The objective (input, hyper) and its number of inputs; hyper: log precision of the groups, penalty."""
    rng = np.random.default_rng(seed)
    n_obs, n_locals = n_groups * n_per_group, n_groups * n_local
    group = np.repeat(np.arange(n_groups), n_per_group)
    z = rng.standard_normal((n_obs, n_local))
    x = rng.standard_normal((n_obs, n_global)) / np.sqrt(n_global)
    eta = x @ rng.standard_normal(n_global) + np.sum(z * 0.5 * rng.standard_normal((n_groups, n_local))[group], axis=1)
    y = (rng.random(n_obs) < 1.0 / (1.0 + np.exp(-eta))).astype(float)

    def objective(theta, hyper):
        local, common = anp.reshape(theta[:n_locals], (n_groups, n_local)), theta[n_locals:]
        eta = anp.dot(x, common) + anp.sum(z * local[group], axis=1)
        prior = 0.5 * anp.exp(hyper[0]) * anp.sum(local**2) + 0.5 * hyper[1] * anp.sum(common**2)
        return anp.sum(anp.logaddexp(0.0, eta) - y * eta) + prior

    return objective, n_locals + n_global, np.array([np.log(4.0), 1.0]), np.array([0.1, 0.1])


def grid_model(side=300, seed=0):
    """The same of a smoothed surface of counts; hyper: log of the smoothing, level."""
    y = np.random.default_rng(seed).poisson(2.0, (side, side))

    def objective(theta, hyper):
        surface = anp.reshape(theta, (side, side))
        rough = anp.sum(anp.diff(surface, axis=0) ** 2) + anp.sum(anp.diff(surface, axis=1) ** 2)
        return anp.sum(anp.exp(surface + hyper[1]) - y * surface) + 0.5 * anp.exp(hyper[0]) * rough

    return objective, side * side, np.array([1.0, 0.0]), np.array([0.1, 0.05])


MODELS = {"arrow": arrow_model, "grid": grid_model}


def timed(run):
    """The result and its seconds."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def medians(runs, rounds):
    """Median seconds of each of several functions that take turns; the first round warms up."""
    samples = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            samples[name].append(timed(run)[1])
    return {name: statistics.median(values[1:]) for name, values in samples.items()}


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def solved(objective, n_input, hyper):
    """The optimum by the package's own Newton steps."""
    engine = vn.ParametricSensitivityTaylorExpansion
    made = engine.optimization_objective(objective, np.zeros(n_input), hyper, 1, polish_optimum=True, sparsity="auto")
    return made.input_val0


def study(name, rounds):
    """Everything but SuperLU on the arrow; one dict of seconds and counts."""
    objective, n_input, hyper, step = MODELS[name]()
    found = {"n_input": n_input, "start_bytes": peak_bytes()}
    optimum = solved(objective, n_input, hyper)
    problem, found["tape"] = timed(lambda: BasePoint(objective, optimum, hyper, True))
    pattern, found["pattern"] = timed(lambda: checked_pattern(problem.recorded.pattern(0), n_input, True))
    assembly, found["colouring"] = timed(lambda: Assembly(pattern, symmetric=True))
    hessian, found["products and assembly"] = timed(lambda: assembly.fill(problem.jacobian_products))
    found.update(nnz=pattern.nnz, n_products=assembly.n_products, n_colours=assembly.n_colours)
    factors = factor_makers(name, hessian)
    found["factor"] = medians(factors, rounds)
    rng = np.random.default_rng(1)
    rhs = rng.standard_normal((n_input, N_RHS))
    made = {key: make() for key, make in factors.items() if not key.startswith("bare") and "analysis" not in key}
    solves = {
        key: (factor.solve if not isinstance(factor, SuperLUBare) else factor.lu.solve) for key, factor in made.items()
    }
    found["1 solve"] = medians({key: lambda f=f: f(rhs[:, 0]) for key, f in solves.items()}, rounds)
    found["100 solves"] = medians({key: lambda f=f: f(rhs) for key, f in solves.items()}, max(rounds // 2, 1))
    best = made["Schur"] if "Schur" in made else made["CHOLMOD"]
    found.update(expansion(objective, optimum, hyper, step, best, rounds))
    found["peak_bytes"] = peak_bytes()
    return found


class SuperLUBare:
    """SciPy's factor with COLAMD."""

    def __init__(self, matrix):
        self.lu = splu(matrix, permc_spec="COLAMD")


def factor_makers(name, hessian):
    """The factors of a study by name; SuperLU of the arrow runs apart."""
    from sksparse import cholmod

    matrix = scipy.sparse.csc_matrix(hessian)
    first = Cholmod(hessian)
    makers = {
        "bare CHOLMOD": lambda: cholmod.cholesky(matrix),
        "CHOLMOD": lambda: Cholmod(hessian),
        "CHOLMOD, analysis reused": lambda: first.refactored(hessian),
    }
    if name == "arrow":
        schur = Schur(hessian)
        return {**makers, "Schur": lambda: Schur(hessian), "Schur, analysis reused": lambda: schur.refactored(hessian)}
    return {
        **makers,
        "SuperLU (COLAMD)": lambda: SuperLUBare(matrix),
        "SuperLU": lambda: SuperLU(hessian, positive_definite=True),
    }


def expansion(objective, optimum, hyper, step, factor, rounds):
    """An order-3 expansion along a new step against 3 gradients and 3 solves; the tape and the factor are there."""
    made = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
        objective, optimum, hyper, ORDER, hess0=factor
    )
    gradient, rng = grad(objective), np.random.default_rng(2)

    def of_new_step():
        made.evaluate_taylor_series(hyper + step * rng.uniform(0.5, 1.5, step.size))

    def gradients_and_solves():
        for _ in range(ORDER):
            factor.solve(gradient(optimum, hyper))

    seconds = medians({"expansion": of_new_step, "gradients and solves": gradients_and_solves}, rounds)
    refit = made.refit(hyper + 0.3 * step)
    exact = made.refit(hyper + 0.3 * step, polish=True)
    seconds["relative error of order 3"] = float(
        np.max(np.abs(refit.value - exact.value)) / np.max(np.abs(exact.value - optimum))
    )
    return seconds


def superlu_on_arrow(rounds):
    """SuperLU of the arrow's Hessian, in a process of its own."""
    objective, n_input, hyper, _ = arrow_model()
    problem = BasePoint(objective, solved(objective, n_input, hyper), hyper, True, sparsity="auto")
    matrix = scipy.sparse.csc_matrix(problem.matrix())
    factor, seconds = timed(lambda: SuperLUBare(matrix))
    rhs = np.random.default_rng(1).standard_normal((n_input, N_RHS))
    cholmod = Cholmod(problem.matrix())
    solves = medians({"SuperLU (COLAMD)": lambda: factor.lu.solve(rhs), "CHOLMOD": lambda: cholmod.solve(rhs)}, 1)
    one = medians({"SuperLU (COLAMD)": lambda: factor.lu.solve(rhs[:, 0])}, rounds)
    return {"factor": seconds, "100 solves": solves, "1 solve": one["SuperLU (COLAMD)"], "peak_bytes": peak_bytes()}


def in_process(name, rounds):
    """What a study found, run by a new interpreter."""
    command = [sys.executable, "-m", "benchmarks.sparse", "--study", name, "--rounds", str(rounds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def report(name, found):
    """Lines of text about one study; ratios to CHOLMOD."""
    base = found["factor"]["bare CHOLMOD"]
    lines = [
        f"{name}: {found['n_input']} inputs, {found['nnz']} nonzeros, {found['n_products']} Hessian-vector products "
        f"({found['n_colours']} colours)",
        f"  in units of one bare CHOLMOD factorization ({base:.2f} s here):",
    ]
    stages = ["tape", "pattern", "colouring", "products and assembly"]
    lines += [f"    {stage:28s}{found[stage] / base:8.2f}" for stage in stages]
    total = sum(found[stage] for stage in stages[1:]) + found["factor"]["CHOLMOD"]
    lines += [f"    {'factor: ' + key:28s}{value / base:8.2f}" for key, value in found["factor"].items()]
    lines.append(f"    pattern to factor, together {total / base:8.2f}")
    for what in ("1 solve", "100 solves"):
        unit = found[what]["CHOLMOD"]
        lines.append(f"  {what}, in units of CHOLMOD's ({1e3 * unit:.0f} ms here):")
        lines += [f"    {key:28s}{value / unit:8.2f}" for key, value in found[what].items()]
    ratio = found["expansion"] / found["gradients and solves"]
    lines.append(
        f"  order-3 expansion along a new step: {ratio:.2f} times 3 gradients and 3 solves "
        f"(relative error {found['relative error of order 3']:.1e})"
    )
    lines.append(
        f"  peak memory of the run {found['peak_bytes'] / 2**30:.2f} GiB, of which data and imports "
        f"{found['start_bytes'] / 2**30:.2f}"
    )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--study", choices=[*MODELS, "superlu"])
    options = parser.parse_args()
    if options.study == "superlu":
        print(json.dumps(superlu_on_arrow(options.rounds)))
    elif options.study:
        print(json.dumps(study(options.study, options.rounds)))
    else:
        for name in MODELS:
            print("\n".join(report(name, in_process(name, options.rounds))), flush=True)
        apart, unit = in_process("superlu", options.rounds), None
        unit = apart["100 solves"]["CHOLMOD"]
        print("arrow by SuperLU (COLAMD), apart:")
        print(f"  factor {apart['factor']:.1f} s, 1 solve {apart['1 solve']:.2f} s here")
        print(f"  100 solves: {apart['100 solves']['SuperLU (COLAMD)'] / unit:.2f} times CHOLMOD's")
        print(f"  peak memory {apart['peak_bytes'] / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
