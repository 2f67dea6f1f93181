"""Study: twenty penalties chosen by hypergradients, against a grid over one penalty and random draws; distillation.

Each group of regressors has its own ridge penalty. The data are split in three: the model is fitted to the first part,
the penalties are chosen by the loss on the second (held out), and the third, which no method sees, tells what the
choice is worth. A grid over twenty penalties is impossible; a grid over one common penalty and random draws of all
twenty are what is done instead. The currency is the inner solve: one fit of the model at one set of penalties.

In the distillation the hyper is a data set of ten weighted points: the model fitted to them alone is to have the
smallest loss on the real data.
"""

import argparse
import time
from typing import NamedTuple

import autograd.numpy as anp
import numpy as np
from scipy.special import expit

import vittles_ng as vn
from vittles_ng.hypergradient import SCHEDULES, hypergradient, optimise_hypers

#: Penalties, per observation: where the optimiser starts, and the range of all ways to choose them.
START, LEAST, MOST = 1e-2, 1e-7, 10.0
N_GRID, N_DRAWS, N_SOLVES = 30, 200, 30
PARTS = ("fitted to", "held out", "test")


class Study(NamedTuple):
    """A model with penalised groups of regressors, and three parts of its data."""

    name: str
    is_logistic: bool
    x: tuple
    y: tuple
    groups: np.ndarray

    @property
    def n_groups(self):
        """Number of penalties."""
        return int(self.groups.max()) + 1

    @property
    def n_input(self):
        """Coefficients, the intercept last."""
        return self.groups.size + 1

    def loss(self, b, part):
        """Mean loss on a part of the data."""
        z, y = anp.dot(self.x[part], b[:-1]) + b[-1], self.y[part]
        return anp.mean(anp.logaddexp(0.0, z) - y * z) if self.is_logistic else 0.5 * anp.mean((y - z) ** 2)

    def objective(self, b, penalties):
        """The inner objective: fitted, with ridge penalties of the groups."""
        return self.loss(b, 0) + 0.5 * anp.sum(penalties[self.groups] * b[:-1] ** 2)

    def held_out(self, b):
        """The outer loss."""
        return self.loss(b, 1)

    def fit(self, penalties, start=None):
        """The inner solution by Newton's method in plain NumPy."""
        x, y = np.c_[self.x[0], np.ones(len(self.y[0]))], self.y[0]
        ridge = np.r_[penalties[self.groups], 0.0]
        b = np.zeros(self.n_input) if start is None else start
        for _ in range(100):
            z = x @ b
            error = (expit(z) if self.is_logistic else z) - y
            curvature = expit(z) * expit(-z) if self.is_logistic else np.ones_like(z)
            gradient = x.T @ error / len(y) + ridge * b
            step = np.linalg.solve((x.T * curvature) @ x / len(y) + np.diag(ridge), gradient)
            if np.max(np.abs(step)) <= 1e-10 * (1.0 + np.max(np.abs(b))):
                return b
            b = b - self._halved(b, step, penalties, gradient @ step) * step
        raise RuntimeError(f"Newton's method did not converge at penalties {penalties}.")

    def _halved(self, b, step, penalties, slope):
        t, value = 1.0, self.objective(b, penalties)
        while self.objective(b - t * step, penalties) > value - 1e-4 * t * slope + 1e-14 * abs(value) and t > 1e-8:
            t *= 0.5
        return t


def _scaled(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def _study(name, is_logistic, x, y, groups, seed):
    rows = np.array_split(np.random.default_rng(seed).permutation(len(y)), [len(y) // 2, 3 * len(y) // 4])
    return Study(name, is_logistic, tuple(x[part] for part in rows), tuple(y[part] for part in rows), groups)


def digits(seed=0):
    """Odd or even, from the pixels of handwritten digits: four bands of rows times five of columns are 20 groups."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    kept = np.flatnonzero(x.std(axis=0) > 0.1)  # the rest is blank
    row, column = np.divmod(kept, 8)
    groups = 5 * (row // 2) + np.array([0, 0, 1, 2, 2, 3, 4, 4])[column]
    return _study("digits", True, _scaled(x[:, kept]), (y % 2).astype(float), groups, seed)


def diabetes(seed=0):
    """Progression of diabetes from ten variables, a group each, and their products, grouped by the first factor."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    x = _scaled(x)
    # sex has two values: its square is constant
    first, second = np.array([(i, j) for i in range(10) for j in range(i, 10) if not i == j == 1]).T
    features = np.c_[x, _scaled(x[:, first] * x[:, second])]
    return _study("diabetes", False, features, _scaled(y), np.r_[np.arange(10), 10 + first], seed)


STUDIES = {"digits": digits, "diabetes": diabetes}


class Choice(NamedTuple):
    """Penalties chosen in one way."""

    way: str
    penalties: np.ndarray
    held_out: float
    test: float
    n_solves: int


def _best(study, way, candidates):
    """The best of candidate penalties by the held-out loss; each fit starts from the last."""
    best, b = None, None
    for penalties in candidates:
        b = study.fit(penalties, b)
        if best is None or study.held_out(b) < best.held_out:
            best = Choice(way, penalties, float(study.held_out(b)), float(study.loss(b, 2)), 0)
    return best._replace(n_solves=len(candidates))


def grid_search(study, n=N_GRID):
    """The best of n common penalties."""
    grid = np.geomspace(MOST, LEAST, n)
    return _best(study, "grid, one penalty", [np.full(study.n_groups, penalty) for penalty in grid])


def random_search(study, n=N_DRAWS, seed=1):
    """The best of n draws of all penalties, each uniform in its logarithm."""
    draws = np.random.default_rng(seed).uniform(np.log(LEAST), np.log(MOST), (n, study.n_groups))
    return _best(study, "random draws", list(np.exp(draws)))


def by_hypergradients(study, n=N_SOLVES, start=START, **options):
    """Penalties by the optimiser, from one start for all: the choice, refitted by Newton's method, and the optimum."""
    found = optimise_hypers(
        study.held_out,
        study.objective,
        np.zeros(study.n_input),
        np.full(study.n_groups, start),
        log=True,
        bounds=[(LEAST, MOST)] * study.n_groups,
        max_inner_solves=n,
        **options,
    )
    b = study.fit(found.hyper)
    test = float(study.loss(b, 2))
    return Choice("hypergradients", found.hyper, float(study.held_out(b)), test, found.n_inner_solves), found


# ---- ten weighted points ----

RIDGE, N_POINTS = 1e-2, 10


class Distillation(NamedTuple):
    """Real data, and the labels of the points that stand for them."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    labels: np.ndarray

    @staticmethod
    def logistic(b, x, y):
        """Losses of a logistic model with an intercept."""
        z = anp.dot(x, b[:-1]) + b[-1]
        return anp.logaddexp(0.0, z) - y * z

    def objective(self, b, hyper):
        """Fitted to the weighted points."""
        losses = self.logistic(b, hyper["points"], self.labels)
        return anp.sum(hyper["weights"] * losses) + 0.5 * RIDGE * anp.sum(b[:-1] ** 2)

    def outer(self, b):
        """Mean loss on the real data."""
        return anp.mean(self.logistic(b, self.x, self.y))

    def accuracy(self, b):
        """Share of test data that is classified rightly."""
        return float(np.mean((self.x_test @ b[:-1] + b[-1] > 0.0) == (self.y_test > 0.5)))

    def start(self, seed=0):
        """Ten of the real points, half of each class, with equal weights."""
        rng = np.random.default_rng(seed)
        rows = [rng.choice(np.flatnonzero(self.y == label)) for label in self.labels]
        return {"points": self.x[rows], "weights": np.full(N_POINTS, 1.0 / N_POINTS)}


def distillation(n_components=5, seed=0):
    """The breast cancer data in their first principal components."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    u, s, _ = np.linalg.svd(_scaled(x), full_matrices=False)
    x, y = _scaled(u[:, :n_components] * s[:n_components]), y.astype(float)
    rows, rest = np.array_split(np.random.default_rng(seed).permutation(len(y)), 2)
    return Distillation(x[rows], y[rows], x[rest], y[rest], np.repeat([0.0, 1.0], N_POINTS // 2))


def distilled(problem, start, n_solves=60):
    """Points and weights learned from a start."""
    n_points = start["points"].size
    log = np.arange(n_points + N_POINTS) >= n_points
    zero = np.zeros(problem.x.shape[1] + 1)
    return optimise_hypers(problem.outer, problem.objective, zero, start, log=log, max_inner_solves=n_solves)


def fitted_to(problem, hyper):
    """The model fitted to weighted points, by the engine."""
    expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
        problem.objective, np.zeros(problem.x.shape[1] + 1), hyper, 1, polish_optimum=True
    )
    return expansion.input_val0


# ---- what is printed ----


def print_ways():
    """The three ways to one hypergradient, and what they cost."""
    study = digits()
    penalties = np.full(study.n_groups, START)
    b = study.fit(penalties)
    ways = [
        ("factor", "exact"),
        ("factor", "differences"),
        ("cg", "exact"),
        ("cg", "differences"),
        ("unrolled", "exact"),
    ]
    exact = hypergradient(study.held_out, study.objective, b, penalties).gradient
    print(f"one hypergradient in {study.n_groups} penalties ({study.name}), at tolerances 1e-3 and 1e-8:\n")
    print(f"{'way':22s} {'tol':>7s} {'difference':>11s} {'bound':>9s} {'products':>9s} {'iterations':>11s}")
    for method, products in ways:
        for tol in (1e-3, 1e-8):
            found = hypergradient(study.held_out, study.objective, b, penalties, method, products, tol)
            difference = np.linalg.norm(found.gradient - exact)
            print(f"{method + ', ' + products:22s} {tol:7.0e} {difference:11.1e} {found.error_bound:9.1e}", end="")
            print(f" {found.n_products:9d} {found.n_iterations:11d}")


def print_choices(name, n_seeds):
    """Held-out and test loss of each way to choose, over splits of the data."""
    print(f"\n{name}: held-out loss (chosen by), test loss (seen by none), inner solves; {n_seeds} splits\n")
    print(f"{'split':>5s}  {'way':20s} {'held out':>9s} {'test':>9s} {'solves':>7s}")
    wins, choices = 0, {}
    for seed in range(n_seeds):
        study = STUDIES[name](seed)
        ours = by_hypergradients(study)[0]
        rivals = [grid_search(study), random_search(study)]
        wins += all(ours.held_out < rival.held_out for rival in rivals)
        for choice in (ours, *rivals):
            choices.setdefault(choice.way, []).append(choice)
            print(f"{seed:5d}  {choice.way:20s} {choice.held_out:9.4f} {choice.test:9.4f} {choice.n_solves:7d}")
    print(f"\nsmallest held-out loss by hypergradients in {wins} of {n_seeds} splits; means:")
    for way, some in choices.items():
        held_out, test = (np.mean([getattr(one, field) for one in some]) for field in ("held_out", "test"))
        print(f"{'':5s}  {way:20s} {held_out:9.4f} {test:9.4f}")


def print_starts(name):
    """How the start decides: the held-out loss is flat where penalties are far too small."""
    study = STUDIES[name](0)
    print(f"\n{name}, split 0: hypergradients from other starts, {N_SOLVES} inner solves at most\n")
    print(f"{'start':>7s} {'held out':>9s} {'solves':>7s}")
    for start in (MOST, 1.0, START, 1e-4, 1e-6):
        choice = by_hypergradients(study, start=start)[0]
        print(f"{start:7.0e} {choice.held_out:9.4f} {choice.n_solves:7d}")


def print_predictions(name):
    """What the order of the predictions and a schedule of tolerances save."""
    study = STUDIES[name](0)
    print(f"\n{name}, split 0: predictions and tolerances, {N_SOLVES} inner solves each\n")
    print(f"{'order':>5s}  {'schedule':12s} {'held out':>9s} {'polished':>9s} {'objective runs':>15s} {'bound':>9s}")
    for order, schedule in [*((order, None) for order in (0, 1, 2, 3, 5)), *((3, kind) for kind in SCHEDULES)]:
        found = by_hypergradients(study, order=order, schedule=schedule)[1]
        print(f"{order:5d}  {schedule or 'exact':12s} {found.outer_loss:9.4f} {found.n_polished:9d}", end="")
        print(f" {found.n_evaluations:15d} {found.hypergradient.error_bound:9.1e}")


def print_distillation(n_random=20):
    """Ten learned points beside ten real ones and all the data."""
    problem = distillation()
    began = time.perf_counter()
    found = distilled(problem, problem.start())
    seconds = time.perf_counter() - began
    starts = [fitted_to(problem, problem.start(seed)) for seed in range(n_random)]
    weights = np.ones(len(problem.y)) / len(problem.y)
    everything = fitted_to(problem._replace(labels=problem.y), {"points": problem.x, "weights": weights})
    print(f"\ndistillation: breast cancer, 5 components, {len(problem.y)} observations\n")
    print(f"{'fitted to':32s} {'loss on them all':>17s} {'test accuracy':>14s}")
    losses, accuracies = zip(*((problem.outer(b), problem.accuracy(b)) for b in starts), strict=True)
    rows = [
        (
            f"10 learned points ({found.n_inner_solves} solves)",
            problem.outer(found.input),
            problem.accuracy(found.input),
        ),
        (f"10 real points, mean of {n_random} draws", np.mean(losses), np.mean(accuracies)),
        (f"10 real points, best of {n_random} draws", np.min(losses), np.max(accuracies)),
        (f"all {len(problem.y)} (ridge {RIDGE})", problem.outer(everything), problem.accuracy(everything)),
    ]
    for what, loss, accuracy in rows:
        print(f"{what:32s} {loss:17.4f} {accuracy:14.3f}")
    print(f"({seconds:.1f} s)")


def main(argv=None):
    """Print all tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hypergradient")
    parser.add_argument("--splits", type=int, default=5)
    n_splits = parser.parse_args(argv).splits
    print_ways()
    for name in STUDIES:
        print_choices(name, n_splits)
        print_starts(name)
    print_predictions("digits")
    print_distillation()


if __name__ == "__main__":
    main()
