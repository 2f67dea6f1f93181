"""Models with sparse Hessians at any size, written in the ways that users write them."""

from dataclasses import dataclass

import autograd.numpy as anp
import numpy as np
import scipy.sparse
from problems import normal, uniform

import vittles_ng as vn

__all__ = ["SPARSE_MODELS", "SparseModel", "arrow_pattern", "grid_pattern"]


@dataclass(frozen=True)
class SparseModel:
    """A function of (input, hyper), where it is solved, its pattern, and the products that its pattern takes.

    Attributes
    ----------
    pattern : ndarray of bool of shape (n_input, n_input)
        Written down by hand.
    n_products : int or None
        None where the number depends on the order in which columns are coloured.
    """

    name: str
    function: object
    n_input: int
    hyper_val0: np.ndarray
    pattern: np.ndarray
    n_products: int | None
    is_objective: bool = True

    def solved(self):
        """The solution at ``hyper_val0``, by Newton steps of the dense Jacobian."""
        x = np.zeros(self.n_input)
        for _ in range(50):
            problem = vn.problem.Problem(self.function, x, self.hyper_val0, self.is_objective)
            step = np.linalg.solve(problem.jacobian(), problem.residual0)
            x = x - step
            if np.max(np.abs(step)) < 1e-14:
                return x
        return x

    def expand(self, order, **options):
        engine = vn.ParametricSensitivityTaylorExpansion
        make = engine.optimization_objective if self.is_objective else engine
        return make(self.function, self.solved(), self.hyper_val0, order, optimum_tol=1e-7, **options)


def arrow_pattern(sizes, n_global):
    """Blocks of these sizes first, then dense rows and columns."""
    blocks = scipy.sparse.block_diag([np.ones((m, m)) for m in sizes]).toarray()
    n = len(blocks) + n_global
    pattern = np.ones((n, n), bool)
    pattern[: len(blocks), : len(blocks)] = blocks
    return pattern


def grid_pattern(n_rows, n_columns):
    """A five-point stencil."""
    row, column = np.divmod(np.arange(n_rows * n_columns), n_columns)
    return np.abs(row[:, None] - row) + np.abs(column[:, None] - column) <= 1


def _poisson_groups(n_groups, m, n_global, n_per_group=6):
    """Poisson regression with coefficients of each group and common ones; hyper: precision and prior of the common."""
    n_obs = n_groups * n_per_group
    group = np.repeat(np.arange(n_groups), n_per_group)
    z, x = normal(n_obs, m, start=0.2), normal(n_obs, n_global, start=0.7)
    y = np.floor(3.0 * uniform(n_obs, start=0.5))

    def objective(theta, hyper):
        local, common = anp.reshape(theta[: n_groups * m], (n_groups, m)), theta[n_groups * m :]
        eta = anp.sum(z * local[group], axis=1) + anp.dot(x, common)
        prior = 0.5 * anp.exp(hyper[0]) * anp.sum(local**2) + 0.5 * hyper[1] * anp.sum(common**2)
        return anp.sum(anp.exp(eta) - y * eta) + prior

    pattern = arrow_pattern([m] * n_groups, n_global)
    return SparseModel(
        f"arrow {n_groups}x{m}+{n_global}",
        objective,
        n_groups * m + n_global,
        np.array([0.3, 0.7]),
        pattern,
        m + n_global,
    )


def _unequal_blocks():
    """Blocks of 1, 3 and 2, and one global input in the middle."""
    sizes, where = [1, 3, 2], [np.array([0]), np.array([1, 2, 3]), np.array([5, 6])]

    def objective(theta, hyper):
        total = 0.5 * (theta[4] - 1.0) ** 2
        for index, size in zip(where, sizes, strict=True):
            block = theta[index]
            total = total + anp.exp(0.3 * anp.sum(block) - 0.5 * theta[4]) + 0.5 * hyper[0] * anp.sum(block**2) / size
        return total

    pattern = np.zeros((7, 7), bool)
    for index in where:
        pattern[np.ix_(index, index)] = True
    pattern[4] = pattern[:, 4] = True
    return SparseModel("unequal blocks", objective, 7, np.array([1.2]), pattern, 4)


def _grid(n_rows, n_columns):
    """Smoothing of counts on a grid; hyper: log of the smoothing and a common level."""
    y = np.floor(4.0 * uniform(n_rows, n_columns, start=0.1))

    def objective(theta, hyper):
        surface = anp.reshape(theta, (n_rows, n_columns))
        rough = anp.sum(anp.diff(surface, axis=0) ** 2) + anp.sum(anp.diff(surface, axis=1) ** 2)
        fit = anp.sum(anp.exp(surface + hyper[1]) - y * surface)
        return fit + 0.5 * anp.exp(hyper[0]) * rough + 0.05 * anp.sum(theta**2)

    return SparseModel(
        f"grid {n_rows}x{n_columns}",
        objective,
        n_rows * n_columns,
        np.array([0.2, 0.1]),
        grid_pattern(n_rows, n_columns),
        None,
    )


def _chain(n):
    """A random walk observed with heavy tails (pseudo-Huber loss); hyper: weights of the observations."""
    y = 0.5 * normal(n, start=0.3)

    def objective(theta, weights):
        return anp.sum(weights * anp.sqrt(1.0 + (y - theta) ** 2)) + 5.0 * anp.sum((theta[1:] - theta[:-1]) ** 2)

    row = np.arange(n)
    return SparseModel(f"chain {n}", objective, n, np.ones(n), np.abs(row[:, None] - row) <= 1, 3 if n > 2 else n)


def _upwind(n, is_dense_row):
    """An equation that is no gradient: a nonlinear recursion, with an equation of all inputs on request."""

    def equation(theta, hyper):
        steps = theta[1:] + 0.1 * theta[1:] ** 3 - hyper[0] * theta[:-1]
        first = anp.sum(anp.sin(theta)) + 3.0 * theta[:1] if is_dense_row else theta[:1] ** 3 + theta[:1]
        return anp.concatenate([first - hyper[1], steps])

    pattern = np.eye(n, dtype=bool) | np.eye(n, k=-1, dtype=bool)
    pattern[0] |= is_dense_row
    return SparseModel(
        f"upwind {n}{' with a dense row' if is_dense_row else ''}",
        equation,
        n,
        np.array([0.5, 1.0]),
        pattern,
        3 if is_dense_row else 2,
        is_objective=False,
    )


def _separate(n):
    """No input meets another: a diagonal Hessian."""
    target = normal(n, start=0.9)

    def objective(theta, hyper):
        return anp.sum(anp.cosh(theta - target)) + hyper[0] * anp.sum(theta)

    return SparseModel(f"diagonal {n}", objective, n, np.array([0.1]), np.eye(n, dtype=bool), 1)


SPARSE_MODELS = {
    model.name: model
    for model in (
        _poisson_groups(12, 2, 3),
        _poisson_groups(1, 3, 1),
        _unequal_blocks(),
        _grid(6, 7),
        _chain(20),
        _chain(1),
        _upwind(15, False),
        _upwind(15, True),
        _separate(9),
    )
}
