"""Study: planted sets that flip a sign, and what each method finds of them.

Clean data have a positive slope. To them k observations are added (k = 1..20) that make it negative: scattered, in one
tight cluster of high leverage whose members mask one another, or in two clusters on opposite sides. Removing the k
flips the sign back; a method passes where the set that it reports flips it too, by an exact refit, and is no larger.
"""

import argparse
import time
from typing import NamedTuple

import autograd.numpy as anp
import numpy as np

import vittles_ng as vn
from vittles_ng.robustness import smallest_reversing_set

METHODS = ("greedy", "second-order", "additive")
KINDS = ("scattered", "cluster", "two clusters")
MODELS = ("least squares", "logistic")
N_CLEAN, N_INPUT = 200, 4


class Planted(NamedTuple):
    """Data with a planted set, fitted."""

    jackknife: vn.InfinitesimalJackknife
    planted: np.ndarray
    model: str
    kind: str


def squares(b, x, y):
    """Half the squared residuals."""
    return 0.5 * (y - anp.dot(x, b)) ** 2


def logistic(b, x, y):
    """Negative log likelihoods of labels 0 and 1."""
    z = anp.dot(x, b)
    return anp.logaddexp(0.0, z) - y * z


def fitted(model, x, y):
    """The jackknife of a model, at its fit."""
    loss = squares if model == "least squares" else logistic
    start = np.linalg.lstsq(x, y, rcond=None)[0] if model == "least squares" else np.zeros(x.shape[1])
    return vn.InfinitesimalJackknife(loss, start, (x, y), order=2, polish_optimum=True)


def clean_data(rng, model):
    """Regressors with an intercept, and responses that grow with the first of them."""
    x = np.c_[rng.standard_normal((N_CLEAN, N_INPUT - 1)), np.ones(N_CLEAN)]
    z = x @ np.r_[0.6, rng.standard_normal(N_INPUT - 2), 0.3]
    if model == "least squares":
        return x, z + rng.standard_normal(N_CLEAN)
    return x, (rng.random(N_CLEAN) < 1.0 / (1.0 + np.exp(-z))).astype(float)


def planted_rows(rng, model, kind, k, reach):
    """k observations at a distance in the first regressor, and responses against its slope."""
    x = np.c_[rng.standard_normal((k, N_INPUT - 1)), np.ones(k)]
    side = rng.choice([-1.0, 1.0], k) if kind == "scattered" else np.ones(k)
    if kind == "two clusters":
        side[k // 2 :] = -1.0
    spread = rng.uniform(0.5, 1.0, k) if kind == "scattered" else 1.0 + 0.01 * rng.standard_normal(k)
    if kind != "scattered":
        x[:, 1:-1] = 0.1 * rng.standard_normal((k, N_INPUT - 2)) + rng.standard_normal(N_INPUT - 2)
    x[:, 0] = side * spread * reach
    if model == "least squares":
        return x, -0.5 * x[:, 0] + 0.3 * rng.standard_normal(k)
    return x, (x[:, 0] < 0.0).astype(float)


def planted(seed, n_planted=None):
    """A planted set by seed: the number, the kind and the model run through all combinations.

    The planted observations are moved out until the slope stays negative even if all of them but the weakest are left
    out, so that the whole set is needed; the fit then goes through the clusters.
    """
    rng = np.random.default_rng(seed)
    k = 1 + seed % 20 if n_planted is None else n_planted
    kind, model = KINDS[(seed // 20) % 3], MODELS[(seed // 60 + seed) % 2]
    x, y = clean_data(rng, model)
    rows, reach = rng.integers(2**32), 1.0
    while True:
        more_x, more_y = planted_rows(np.random.default_rng(rows), model, kind, k, reach)
        weakest = np.argmin(np.abs(more_x[:, 0]))
        one = fitted(model, np.r_[x, more_x[weakest : weakest + 1]], np.r_[y, more_y[weakest]])
        if one.input_val0[0] * reach < -0.1:
            jackknife = fitted(model, np.r_[x, more_x], np.r_[y, more_y])
            if jackknife.input_val0[0] < 0.0:
                return Planted(jackknife, np.arange(N_CLEAN, N_CLEAN + k), model, kind)
        reach *= 1.15


class Outcome(NamedTuple):
    """What one method made of one planted set."""

    kind: str
    is_small: bool
    is_vain: bool
    is_false: bool
    surplus: int
    n_refits: int
    seconds: float


def outcome(case, method):
    """Search, and refit the reduced data from nothing."""
    began = time.perf_counter()
    result = smallest_reversing_set(case.jackknife, 0, method=method)
    seconds = time.perf_counter() - began
    kept = np.delete(np.arange(case.jackknife.n_obs), result.indices)
    try:
        flips = bool(fitted(case.model, *(array[kept] for array in case.jackknife.model.data)).input_val0[0] > 0.0)
    except vn.errors.VittlesError:  # separated
        flips = False
    surplus = len(result) - len(case.planted)
    is_small, is_vain = result.reversed and surplus <= 0, result.predicted > 0.0 and not result.reversed
    return Outcome(case.kind, is_small, is_vain, flips != result.reversed, surplus, result.n_refits, seconds)


def main(argv=None):
    """Print how often each method finds a set no larger than the planted one, and how often it promised one in vain."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness")
    parser.add_argument("--seeds", type=int, default=200)
    n_seeds = parser.parse_args(argv).seeds
    found = {method: [] for method in METHODS}
    for seed in range(n_seeds):
        case = planted(seed)
        for method, outcomes in found.items():
            outcomes.append(outcome(case, method))
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in found["greedy"])]
    print(f"{n_seeds} data sets of {N_CLEAN} clean observations and 1 to 20 planted ones, {N_INPUT} inputs:")
    print("the share in which a set is found that flips the sign and is no larger than the planted one;")
    print("'in vain': a flip was predicted that the refit does not show;")
    print("'false': a refit of the reduced data from nothing contradicts what is reported\n")
    print(f"{'method':14s} {'all':>7s}" + "".join(f"{kind:>14s}" for kind in kinds), end="")
    print(f" {'in vain':>9s} {'false':>7s} {'refits':>7s} {'time / greedy':>14s}")
    total = sum(one.seconds for one in found["greedy"])
    for method, outcomes in found.items():
        shares = [np.mean([one.is_small for one in outcomes if kind in (None, one.kind)]) for kind in (None, *kinds)]
        vain, false, refits = (np.mean([one[i] for one in outcomes]) for i in (2, 3, 5))
        print(f"{method:14s} {shares[0]:7.1%}" + "".join(f"{share:14.1%}" for share in shares[1:]), end="")
        print(f" {vain:9.1%} {false:7.1%} {refits:7.1f} {sum(one.seconds for one in outcomes) / total:14.3f}")
    smaller = np.mean([one.surplus < 0 for one in found["greedy"]])
    print(f"\ngreedy: smaller than the planted set in {smaller:.1%}")


if __name__ == "__main__":
    main()
