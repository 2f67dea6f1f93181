"""Hypergradients against closed forms, finite differences of independently solved problems, and one another."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.extend import defvjp, primitive
from scipy.special import expit

import vittles_ng as vn
from benchmarks.hypergradient import (
    by_hypergradients,
    diabetes,
    distillation,
    distilled,
    fitted_to,
    grid_search,
    random_search,
)
from vittles_ng import errors
from vittles_ng.hypergradient import SCHEDULES, hypergradient, optimise_hypers, tolerance_schedule
from vittles_ng.hypergradient.inner import InnerProblem
from vittles_ng.hypergradient.spectrum import cross_norm, extreme_eigenvalues
from vittles_ng.solvers import DenseCholesky
from vittles_ng.unrolling import GradientDescent, HeavyBall

WAYS = [
    ("factor", "exact"),
    ("factor", "differences"),
    ("cg", "exact"),
    ("cg", "differences"),
    ("unrolled", "exact"),
]


class Logistic:
    """Logistic regression with penalties of groups, solved by Newton's method in NumPy."""

    def __init__(self, seed=0, n=120, groups=(0, 0, 1, 1, 2, 2)):
        rng = np.random.default_rng(seed)
        self.groups = np.array(groups)
        d = self.groups.size
        self.x, self.x_out = rng.standard_normal((n, d)), rng.standard_normal((60, d))
        slopes = rng.standard_normal(d)
        self.y = (rng.random(n) < expit(self.x @ slopes)).astype(float)
        self.y_out = (rng.random(60) < expit(self.x_out @ slopes)).astype(float)
        self.hyper = rng.standard_normal(self.groups.max() + 1)

    def objective(self, b, h):
        z = anp.dot(self.x, b)
        return anp.sum(anp.logaddexp(0.0, z) - self.y * z) + 0.5 * anp.sum(anp.exp(h)[self.groups] * b**2)

    def outer(self, b, h):
        z = anp.dot(self.x_out, b)
        return anp.mean(anp.logaddexp(0.0, z) - self.y_out * z) + 0.01 * anp.sum(h**2)

    def solve(self, h):
        ridge, b = np.exp(h)[self.groups], np.zeros(self.groups.size)
        for _ in range(50):
            p = expit(self.x @ b)
            hessian = (self.x.T * (p * (1.0 - p))) @ self.x + np.diag(ridge)
            b = b - np.linalg.solve(hessian, self.x.T @ (p - self.y) + ridge * b)
        return b

    def exact(self, h):
        """The hypergradient by dense linear algebra."""
        b = self.solve(h)
        p, p_out, ridge = expit(self.x @ b), expit(self.x_out @ b), np.exp(h)[self.groups]
        hessian = (self.x.T * (p * (1.0 - p))) @ self.x + np.diag(ridge)
        adjoint = np.linalg.solve(hessian, self.x_out.T @ (p_out - self.y_out) / len(p_out))
        return 0.02 * h - np.bincount(self.groups, weights=ridge * b * adjoint)

    def differences(self, h, step=1e-4):
        """Fourth-order differences of the outer loss at problems solved anew."""
        weights = ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0))

        def loss(at):
            return float(self.outer(self.solve(at), at))

        return np.array([sum(w * loss(h + k * e) for k, w in weights) / (12 * step) for e in step * np.eye(h.size)])


def ridge(seed=0, n_input=4):
    """A ridge regression in the penalty: objective, solution, and the closed form of the hypergradient."""
    rng = np.random.default_rng(seed)
    x, y, c = rng.standard_normal((30, n_input)), rng.standard_normal(30), rng.standard_normal(n_input)

    def objective(b, h):
        return 0.5 * anp.sum((y - anp.dot(x, b)) ** 2) + 0.5 * h[0] * anp.sum(b**2)

    def matrix(h):
        return x.T @ x + h[0] * np.eye(n_input)

    def solve(h):
        return np.linalg.solve(matrix(h), x.T @ y)

    def exact(h):
        # b(h) = (X'X + h)^{-1} X'y, so that d(c.b)/dh = -c (X'X + h)^{-1} b
        return np.array([-c @ np.linalg.solve(matrix(h), solve(h))])

    return objective, lambda b: anp.dot(c, b), solve, exact, matrix


@pytest.fixture(scope="module")
def logistic():
    return Logistic()


# ---- values ----


@pytest.mark.parametrize(("method", "products"), WAYS)
def test_agrees_with_finite_differences_and_dense_linear_algebra(logistic, method, products):
    h = logistic.hyper
    found = hypergradient(logistic.outer, logistic.objective, logistic.solve(h), h, method, products, tol=1e-8)
    exact = logistic.exact(h)
    assert np.max(np.abs(exact - logistic.differences(h))) < 1e-9
    assert np.max(np.abs(found.gradient - exact)) < 1e-8
    assert np.linalg.norm(found.gradient - exact) <= found.error_bound + 1e-14
    assert found.trusted
    assert found.outer_loss == pytest.approx(logistic.outer(logistic.solve(h), h), rel=1e-14)


@pytest.mark.parametrize(("method", "products"), WAYS)
@pytest.mark.parametrize("tol", [1e-2, 1e-5])
def test_ways_agree_to_the_tolerance_asked(logistic, method, products, tol):
    h = logistic.hyper
    found = hypergradient(logistic.outer, logistic.objective, logistic.solve(h), h, method, products, tol)
    error = np.linalg.norm(found.gradient - logistic.exact(h))
    assert error <= found.error_bound + 1e-14
    assert found.error_bound <= tol * (1.0 + np.linalg.norm(found.gradient))


@pytest.mark.parametrize("method", ["cg", "unrolled"])
def test_tolerance_saves_work(logistic, method):
    h = logistic.hyper
    counts = [
        hypergradient(logistic.outer, logistic.objective, logistic.solve(h), h, method, tol=tol).n_products
        for tol in (1e-2, 1e-10)
    ]
    assert counts[0] < counts[1]


@pytest.mark.parametrize(("method", "products"), WAYS)
@pytest.mark.parametrize("n_input", [1, 4])
def test_ridge_in_closed_form(method, products, n_input):
    objective, outer, solve, exact, matrix = ridge(n_input=n_input)
    h = np.array([0.7])
    found = hypergradient(outer, objective, solve(h), h, method, products, tol=1e-7)
    assert found.gradient == pytest.approx(exact(h), abs=1e-8)
    assert found.condition == pytest.approx(np.linalg.cond(matrix(h)), rel=0.25)
    assert found.condition >= np.linalg.cond(matrix(h)) * (1.0 - 1e-6)


@pytest.mark.parametrize("method", ["factor", "cg", "unrolled"])
def test_nested_input_and_hyper(method):
    def objective(z, h):
        return 0.5 * anp.sum((z["a"] - h["shift"]) ** 2) + 0.5 * anp.sum((z["b"] - 2.0 * h["scale"] * h["shift"]) ** 2)

    shift, scale = np.array([1.0, -2.0]), np.array(3.0)
    z = {"a": shift, "b": 6.0 * shift}
    hyper = {"scale": scale, "shift": shift}
    found = hypergradient(lambda z, h: anp.sum(z["a"] * z["b"]) + h["scale"], objective, z, hyper, method)
    # the outer loss is 2 scale |shift|^2 + scale along the solution
    assert found.gradient == pytest.approx(np.r_[2.0 * 5.0 + 1.0, 4.0 * 3.0 * shift], abs=1e-6)


@pytest.mark.parametrize(("method", "products"), WAYS)
def test_outer_loss_of_the_hyper_alone_or_flat(method, products):
    objective, _, solve, _, _ = ridge()
    h = np.array([0.7])
    found = hypergradient(lambda b, h: h[0] ** 2, objective, solve(h), h, method, products)
    assert found.gradient == pytest.approx([1.4], abs=1e-12)
    stationary = solve(h)
    found = hypergradient(lambda b: anp.sum((b - stationary) ** 2), objective, stationary, h, method, products)
    assert found.gradient == pytest.approx([0.0], abs=1e-12)


def test_zero_cross_derivative():
    """The penalty's derivative vanishes at a solution of zero."""

    def objective(b, h):
        return 0.5 * anp.sum(b**2) * (1.0 + h[0])

    for method, products in WAYS:
        found = hypergradient(lambda b: anp.sum(b), objective, np.zeros(3), np.ones(1), method, products)
        assert found.gradient == pytest.approx([0.0], abs=1e-12)


def test_objective_that_autograd_differentiates_once():
    """Its vector-Jacobian product is opaque to a second pass, so that only differences serve."""

    @primitive
    def log_cosh(x):
        return np.logaddexp(x, -x)

    defvjp(log_cosh, lambda ans, x: lambda g: g * np.tanh(np.asarray(x, dtype=float)))
    y = np.array([1.0, -0.5, 2.0])

    def objective(b, h):
        return anp.sum(log_cosh(b - y)) + 0.5 * h[0] * anp.sum(b**2)

    b, h = np.zeros(3), np.array([0.8])
    for _ in range(60):
        b = b - (np.tanh(b - y) + h * b) / (1.0 - np.tanh(b - y) ** 2 + h)
    exact = -np.sum(2.0 * b * b / (1.0 - np.tanh(b - y) ** 2 + h))
    for method in ("factor", "cg"):
        found = hypergradient(lambda b: anp.sum(b**2), objective, b, h, method, "differences")
        assert found.gradient == pytest.approx([exact], abs=1e-8)


# ---- arguments ----


def test_factor_given_is_used(logistic):
    h = logistic.hyper
    b = logistic.solve(h)
    p = expit(logistic.x @ b)
    matrix = (logistic.x.T * (p * (1 - p))) @ logistic.x + np.diag(np.exp(h)[logistic.groups])
    plain = hypergradient(logistic.outer, logistic.objective, b, h)
    given = hypergradient(logistic.outer, logistic.objective, b, h, factor=DenseCholesky(matrix))
    assert given.gradient == pytest.approx(plain.gradient, abs=1e-12)
    assert given.n_products < plain.n_products
    with pytest.raises(errors.SolveFailed, match="does not solve with the matrix"):
        hypergradient(logistic.outer, logistic.objective, b, h, factor=DenseCholesky(2.0 * matrix))


def test_preconditioner_saves_products():
    scales = np.geomspace(1.0, 1e4, 40)

    def objective(b, h):
        return 0.5 * anp.sum(scales * b**2) - anp.sum(b) * h[0] + 0.05 * anp.sum(b) ** 2

    matrix = np.diag(scales) + 0.1
    b, h = np.linalg.solve(matrix, np.ones(40)), np.ones(1)
    arguments = (lambda b: anp.sum(anp.sin(b)), objective, b, h, "cg")
    plain, preconditioned = hypergradient(*arguments), hypergradient(*arguments, factor=DenseCholesky(np.diag(scales)))
    assert preconditioned.n_products < 0.7 * plain.n_products
    exact = np.cos(b) @ np.linalg.solve(matrix, np.ones(40))
    for found in (plain, preconditioned):
        assert found.gradient == pytest.approx([exact], abs=1e-6)


@pytest.mark.parametrize("unrolling", [GradientDescent(0.02), HeavyBall(0.02, 0.3)])
def test_method_to_unroll_may_be_chosen(unrolling):
    objective, outer, solve, exact, _ = ridge()
    h = np.array([0.7])
    found = hypergradient(outer, objective, solve(h), h, "unrolled", unrolling=unrolling)
    default = hypergradient(outer, objective, solve(h), h, "unrolled")
    assert found.gradient == pytest.approx(exact(h), abs=1e-6)
    assert found.n_iterations > default.n_iterations


def test_sparse_hessian_by_its_pattern():
    n = 200
    y = np.sin(np.arange(n) / 9.0)

    def objective(b, h):
        return 0.5 * anp.sum((y - b) ** 2) + 0.5 * anp.exp(h[0]) * anp.sum((b[1:] - b[:-1]) ** 2)

    d = np.diff(np.eye(n), axis=0)
    h = np.array([0.5])
    b = np.linalg.solve(np.eye(n) + np.exp(h) * d.T @ d, y)
    exact = -(2.0 * b) @ np.linalg.solve(np.eye(n) + np.exp(h) * d.T @ d, np.exp(h) * d.T @ (d @ b))
    found = hypergradient(lambda b: anp.sum(b**2), objective, b, h, solver="superlu", sparsity="auto")
    assert found.gradient == pytest.approx([exact], rel=1e-10)
    assert found.n_products < 100  # where a dense Hessian takes 200


# ---- error bounds ----


def poisson(seed):
    rng = np.random.default_rng(seed)
    x, t = rng.standard_normal((40, 4)), 0.5 * rng.standard_normal(4)
    y = rng.poisson(np.exp(x @ t)).astype(float)

    def objective(b, h):
        z = anp.dot(x, b)
        return anp.sum(anp.exp(z) - y * z) + 0.5 * anp.sum(anp.exp(h) * b**2)

    return objective, rng


@pytest.mark.parametrize("seed", range(12))
def test_error_bound_holds_for_inexact_inner_solutions(seed):
    objective, rng = poisson(seed)
    h, x_out = rng.standard_normal(4), rng.standard_normal((20, 4))

    def outer(b, h):
        return anp.mean(anp.log(anp.cosh(1.0 - anp.dot(x_out, b)))) + 0.01 * anp.sum(h * b)

    start = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
        objective, np.zeros(4), h, 1, polish_optimum=True
    )
    solution = start.input_val0
    exact = hypergradient(outer, objective, solution, h).gradient
    for scale in (0.05, 0.02, 1e-2, 1e-4, 1e-6):
        inexact = solution + scale * rng.standard_normal(4)
        found = hypergradient(outer, objective, inexact, h, tol=np.inf)
        error = np.linalg.norm(found.gradient - exact)
        assert error <= found.error_bound * (1.0 + 1e-6) + 1e-13
        assert found.error_bound <= 50.0 * error + 1e-12
        assert np.linalg.norm(inexact - solution) <= found.input_error_bound * (1.0 + 1e-6) + 1e-13


@pytest.mark.parametrize("seed", range(20, 32))
def test_error_bound_holds_in_every_way(seed):
    objective, rng = poisson(seed)
    h, x_out = rng.standard_normal(4), rng.standard_normal((20, 4))

    def outer(b):
        return anp.mean(anp.log(anp.cosh(1.0 - anp.dot(x_out, b))))

    solution = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
        objective, np.zeros(4), h, 1, polish_optimum=True
    ).input_val0
    exact = hypergradient(outer, objective, solution, h).gradient
    for scale, tol in ((1e-2, 1.0), (1e-4, 1e-2)):
        inexact = solution + scale * rng.standard_normal(4)
        for method, products in WAYS[1:]:
            found = hypergradient(outer, objective, inexact, h, method, products, tol)
            assert np.linalg.norm(found.gradient - exact) <= found.error_bound


@pytest.mark.parametrize(("method", "products"), [("factor", "exact"), ("cg", "exact"), ("cg", "differences")])
@pytest.mark.parametrize("seed", [3, 5, 26, 55])
def test_error_bound_holds_where_the_hessian_is_ill_conditioned(method, products, seed):
    """A solve to a small residual misses what is along the eigenvectors of small eigenvalues."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    matrix = (q * np.geomspace(1.0, 1e-4, 5)) @ q.T
    cross, c, h = rng.standard_normal((5, 3)), rng.standard_normal(5), rng.standard_normal(3)

    def objective(z, h):
        return 0.5 * anp.dot(z, anp.dot(matrix, z)) - anp.dot(z, anp.dot(cross, h**2))

    solution = np.linalg.solve(matrix, cross @ h**2)
    exact = (solution - c) @ np.linalg.solve(matrix, cross * 2.0 * h)
    inexact = solution + 1e-3 * rng.standard_normal(5)
    found = hypergradient(lambda z: 0.5 * anp.sum((z - c) ** 2), objective, inexact, h, method, products, tol=1e9)
    assert np.linalg.norm(found.gradient - exact) <= 1.01 * found.error_bound
    assert np.linalg.norm(inexact - solution) <= 1.01 * found.input_error_bound


@pytest.mark.parametrize("method", ["factor", "cg"])
def test_large_terms_of_the_hyper_alone_spoil_differences_and_are_told(method):
    objective, outer, solve, exact, _ = ridge()
    h = np.array([1.0])

    def large(b, h):
        return objective(b, h) + 1e10 * h[0] ** 2

    found = hypergradient(outer, large, solve(h), h, method, "differences")
    assert np.linalg.norm(found.gradient - exact(h)) <= found.error_bound
    assert not found.trusted
    assert hypergradient(outer, large, solve(h), h, method).gradient == pytest.approx(exact(h), abs=1e-8)

    def rough(b, h):
        return anp.sum(anp.abs(b) ** 1.5) * h[0] + 1e10 * h[0] ** 2

    with pytest.raises(errors.NonSmoothError):
        hypergradient(outer, rough, np.zeros(4), h, method, "differences")


@pytest.mark.parametrize("loss", [lambda b: None, lambda b: anp.sum(b) * 1j, lambda b: [1.0, 2.0]])
def test_outer_loss_that_is_no_real_number(loss):
    objective, _, solve, _, _ = ridge()
    with pytest.raises(TypeError, match="a real number is needed"):
        hypergradient(loss, objective, solve(np.ones(1)), np.ones(1))


@pytest.mark.parametrize(("method", "products"), WAYS)
def test_inner_problem_that_is_not_solved(logistic, method, products):
    h = logistic.hyper
    b = logistic.solve(h)
    arguments = (logistic.outer, logistic.objective)
    with pytest.raises(errors.NotASolutionError, match="not solved"):
        hypergradient(*arguments, b + 1e-3, h, method, products)
    with pytest.raises(errors.NotASolutionError, match="solve the inner problem first"):
        hypergradient(*arguments, b + 5.0, h, method, products, tol=1e9)
    found = hypergradient(*arguments, b + 1e-3, h, method, products, tol=0.1)
    assert np.linalg.norm(found.gradient - logistic.exact(h)) <= found.error_bound <= 0.2


@pytest.mark.parametrize("smallest", [1e-8, 1e-10, 1e-12])
def test_a_minimum_to_rounding_is_taken_whatever_the_condition(smallest):
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    matrix = (q * np.geomspace(smallest, 1.0, 8)) @ q.T
    matrix = 0.5 * (matrix + matrix.T)

    def objective(b, h):  # the minimum is h
        return 0.5 * anp.dot(b, anp.dot(matrix, b)) - anp.dot(b, anp.dot(matrix, h))

    for h in rng.normal(size=(10, 8)):
        found = hypergradient(lambda b: 0.5 * anp.sum((b - 1.0) ** 2), objective, h, h, tol=np.inf)
        assert np.linalg.norm(found.gradient - (h - 1.0)) <= found.error_bound
        assert found.condition == pytest.approx(1.0 / smallest, rel=0.2)


def test_conditioning_is_reported():
    scales = np.array([1.0, 1e-7])

    def objective(b, h):
        return 0.5 * anp.sum(scales * (b - h[0]) ** 2)

    found = hypergradient(lambda b: anp.sum(b), objective, np.ones(2), np.ones(1), tol=1e-12)
    assert found.condition == pytest.approx(1e7, rel=1e-6)
    assert found.rounding_error > 1e-12
    assert not found.trusted
    assert "conditioning" in found.message


def test_smallest_eigenvalue_that_cannot_be_told():
    scales = np.geomspace(1e-4, 1e4, 300)

    def objective(b, h):
        return 0.5 * anp.sum(scales * (b - h[0]) ** 2)

    arguments = (lambda b: b[-1] ** 2, objective, np.ones(300), np.ones(1))
    found = hypergradient(*arguments, "cg", tol=1e-2)
    assert found.gradient == pytest.approx([2.0], abs=1e-6)
    assert found.condition == np.inf and not found.trusted
    assert "could not be told" in found.message
    with pytest.raises(errors.NotPositiveDefiniteError, match="use method='factor'"):
        hypergradient(*arguments, "unrolled", tol=1e-2)
    assert hypergradient(*arguments, "factor").condition == pytest.approx(1e8, rel=0.3)


# ---- bad input ----


def indefinite(b, h):
    return 0.5 * (b[0] - h[0]) ** 2 - 0.5 * (b[1] - h[0]) ** 2


def singular(b, h):
    return 0.5 * (b[0] + b[1] - h[0]) ** 2


@pytest.mark.parametrize(("method", "products"), WAYS)
@pytest.mark.parametrize("objective", [indefinite, singular])
def test_hessian_that_is_not_positive_definite(method, products, objective):
    b = np.ones(2) if objective is indefinite else np.full(2, 0.5)
    with pytest.raises(errors.NotPositiveDefiniteError):
        hypergradient(lambda b: anp.sum(b), objective, b, np.ones(1), method, products)


@pytest.mark.parametrize(("method", "products"), WAYS)
def test_values_that_are_not_finite(method, products):
    objective, outer, solve, _, _ = ridge()
    h = np.array([0.7])
    cases = [
        (lambda b: outer(b) * np.nan, objective, "the outer loss is"),
        (lambda b: anp.sum(anp.sqrt(anp.abs(b) * 0.0)), objective, "gradient of the outer loss"),
        (outer, lambda b, h: objective(b, h) * np.inf, "NaN or infinite|is inf|is nan"),
    ]
    for loss, inner, message in cases:
        with pytest.raises(errors.NonFiniteError, match=message):
            hypergradient(loss, inner, solve(h), h, method, products)
    with pytest.raises(errors.NonFiniteError):
        hypergradient(outer, objective, solve(h) * np.nan, h, method, products)


@pytest.mark.parametrize(("method", "products"), WAYS)
def test_objective_that_ignores_the_hyper(method, products):
    with pytest.raises(errors.IndependentError):
        hypergradient(lambda b: anp.sum(b), lambda b, h: anp.sum(b**2), np.zeros(2), np.ones(1), method, products)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "newton"}, ValueError, "method='newton'"),
        ({"products": "jet"}, ValueError, "products='jet'"),
        ({"tol": 0.0}, ValueError, "tol must be a positive number"),
        ({"tol": np.nan}, ValueError, "tol must be a positive number"),
        ({"tol": True}, ValueError, "tol must be a positive number"),
        ({"tol": None}, ValueError, "tol must be a positive number"),
        ({"method": "unrolled", "unrolling": 0.1}, TypeError, "unrolling=0.1"),
        ({"method": "unrolled", "products": "differences"}, ValueError, "exact products"),
        ({"unrolling": GradientDescent(0.1)}, ValueError, "unrolling="),
        ({"method": "unrolled", "factor": np.eye(4)}, ValueError, "factor="),
        ({"products": "differences", "factor": np.eye(4)}, ValueError, "factor="),
        ({"method": "cg", "solver": "cholesky"}, ValueError, "solver="),
        ({"method": "unrolled", "sparsity": "auto"}, ValueError, "sparsity="),
        ({"method": "unrolled", "unrolling": GradientDescent(10.0)}, errors.DivergenceError, "reduce it"),
        ({"method": "unrolled", "unrolling": GradientDescent(1e-7)}, errors.SolveFailed, "too slowly"),
    ],
)
def test_bad_arguments(options, error, message):
    objective, outer, solve, _, _ = ridge()
    h = np.array([0.7])
    with pytest.raises(error, match=message):
        hypergradient(outer, objective, solve(h), h, **options)


def test_objective_without_second_derivatives():
    def objective(b, h):
        return anp.sum(anp.abs(b) ** 1.5) * h[0]

    for method, products in WAYS:
        with pytest.raises(errors.VittlesError):
            hypergradient(lambda b: anp.sum(b), objective, np.zeros(2), np.ones(1), method, products)


def test_outer_loss_must_be_a_scalar_and_arguments_stay():
    objective, _, solve, _, _ = ridge()
    h, b = np.array([0.7]), solve(np.array([0.7]))
    kept = b.copy(), h.copy()
    with pytest.raises(errors.ShapeError, match=r"shape \(4,\)"):
        hypergradient(lambda b: b, objective, b, h)
    for method in ("factor", "cg", "unrolled"):
        hypergradient(lambda b: anp.sum(b), objective, b, h, method)
    assert np.array_equal(b, kept[0]) and np.array_equal(h, kept[1])


# ---- spectrum ----


@pytest.mark.parametrize("eigenvalues", [[2.0], [3.0, 3.0, 3.0], [1.0, 1.0, 7.0], np.geomspace(1e-3, 1e3, 400)])
def test_extreme_eigenvalues(eigenvalues):
    eigenvalues = np.array(eigenvalues)
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((eigenvalues.size,) * 2))[0]
    matrix = (q * eigenvalues) @ q.T
    found = extreme_eigenvalues(lambda v: matrix @ v, eigenvalues.size)
    assert found.smallest <= eigenvalues[0] * (1.0 + 1e-10) <= found.smallest_at_most * (1.0 + 1e-9)
    assert found.largest >= eigenvalues[-1] * (1.0 - 1e-10)
    assert found.largest <= 1.2 * eigenvalues[-1]


@pytest.mark.parametrize("n", [2, 4, 10, 60, 200])
def test_extreme_eigenvalues_are_not_missed(n):
    """A random start may have little of the outermost eigenvectors: no early stop at others."""
    for seed in range(30):
        eigenvalues = np.sort(np.random.default_rng(seed).uniform(1.0, 10.0, n))
        for which in ("both", "largest"):
            found = extreme_eigenvalues(lambda v, e=eigenvalues: e * v, n, which)
            assert eigenvalues[-1] * (1.0 - 1e-12) <= found.largest <= 1.12 * eigenvalues[-1]
            if which == "both":
                assert 0.8 * eigenvalues[0] <= found.smallest <= eigenvalues[0] * (1.0 + 1e-12)


def test_cross_norm():
    matrix = np.random.default_rng(0).standard_normal((7, 5))
    found = cross_norm(lambda w: matrix @ w, lambda v: matrix.T @ v, 5)
    exact = np.linalg.norm(matrix, 2)
    assert 0.8 * exact <= found <= exact * (1.0 + 1e-12)
    assert cross_norm(lambda w: 0.0 * w, lambda v: 0.0 * v, 3) == 0.0


# ---- optimiser ----


def test_one_penalty_against_a_fine_grid():
    rng = np.random.default_rng(5)
    x, x_out = rng.standard_normal((2, 25, 5))
    slopes = 0.3 * rng.standard_normal(5)
    y, y_out = x @ slopes + rng.standard_normal(25), x_out @ slopes + rng.standard_normal(25)

    def objective(b, h):
        return 0.5 * anp.sum((y - anp.dot(x, b)) ** 2) + 0.5 * h * anp.sum(b**2)

    def outer(b):
        return 0.5 * anp.mean((y_out - anp.dot(x_out, b)) ** 2)

    found = optimise_hypers(outer, objective, np.zeros(5), 1.0, log=True, tol=1e-8)
    grid = np.exp(np.linspace(-3.0, 5.0, 4001))
    losses = [outer(np.linalg.solve(x.T @ x + h * np.eye(5), x.T @ y)) for h in grid]
    assert found.converged
    assert found.outer_loss <= min(losses)
    assert found.hyper[0] == pytest.approx(grid[np.argmin(losses)], rel=3e-3)
    assert found.input == pytest.approx(np.linalg.solve(x.T @ x + found.hyper * np.eye(5), x.T @ y), abs=1e-9)
    assert found.hypergradient.gradient == pytest.approx([0.0], abs=1e-8)
    assert len(found.hypers) == len(found.outer_losses) == found.n_inner_solves <= 30
    assert min(found.outer_losses) == found.outer_loss


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("schedule", [None, "quadratic", lambda k: 0.1**k])
def test_same_optimum_whatever_the_prediction_and_schedule(logistic, order, schedule):
    options = {"order": order, "schedule": schedule, "tol": 1e-6}
    found = optimise_hypers(logistic.outer, logistic.objective, np.zeros(6), logistic.hyper, **options)
    assert found.converged
    assert np.max(np.abs(logistic.exact(found.hyper))) < (2e-3 if schedule else 2e-6)
    if schedule is None:
        assert found.n_polished == found.n_inner_solves - 1


def test_predictions_and_schedules_save_work(logistic):
    start = (logistic.outer, logistic.objective, np.zeros(6), logistic.hyper)
    constant, cubic, scheduled = (
        optimise_hypers(*start, order=order, schedule=schedule, max_inner_solves=8)
        for order, schedule in ((0, None), (3, None), (3, "exponential"))
    )
    assert cubic.n_evaluations < constant.n_evaluations
    assert scheduled.n_polished < cubic.n_polished


def test_bounds_and_mixed_logarithms():
    """Shifts are free, the scale is positive; the best scale lies beyond its bound."""

    def objective(z, h):
        return 0.5 * anp.sum((z - h["shift"]) ** 2) + 0.5 * h["weight"] * anp.sum(z**2)

    target = np.array([1.0, -3.0])
    hyper = {"shift": np.zeros(2), "weight": np.array(1.0)}
    bounds = [(-np.inf, np.inf), (-4.0, np.inf), (0.5, 2.0)]
    log = [False, False, True]
    found = optimise_hypers(
        lambda z: anp.sum((z - target) ** 2), objective, np.zeros(2), hyper, log=log, bounds=bounds, tol=1e-7
    )
    # shift / (1 + weight) = target; the second shift ends at -4 unless the weight is small enough
    assert np.all(found.hyper >= [-np.inf, -4.0, 0.5]) and found.hyper[2] <= 2.0
    assert found.hyper == pytest.approx([1.5, -4.0, 0.5], abs=1e-5)


def test_sparse_inner_problem():
    n = 60
    y = np.sin(np.arange(n) / 9.0) + 0.3 * np.random.default_rng(0).standard_normal(n)

    def objective(b, h):
        return 0.5 * anp.sum((y - b) ** 2) + 0.5 * h[0] * anp.sum((b[1:] - b[:-1]) ** 2)

    def outer(b):
        return anp.sum((b - np.sin(np.arange(n) / 9.0)) ** 2)

    start = (outer, objective, np.zeros(n), np.ones(1), True)
    dense, sparse = optimise_hypers(*start), optimise_hypers(*start, solver="superlu", sparsity="auto")
    assert sparse.converged
    assert sparse.hyper == pytest.approx(dense.hyper, rel=1e-6)
    with pytest.raises(ValueError, match="solver='qr'"):
        optimise_hypers(*start, solver="qr")
    with pytest.raises(ValueError, match="sparsity='dense'"):
        optimise_hypers(*start, sparsity="dense")


def test_budget_is_kept(logistic):
    found = optimise_hypers(logistic.outer, logistic.objective, np.zeros(6), logistic.hyper, max_inner_solves=3)
    assert found.n_inner_solves == 3 and not found.converged
    assert "3 inner solves are spent" in found.message
    found = optimise_hypers(logistic.outer, logistic.objective, np.zeros(6), logistic.hyper, max_inner_solves=1)
    assert found.n_inner_solves == 1 and found.hyper == pytest.approx(logistic.hyper)
    for n in (1, 2, 3):
        found = optimise_hypers(
            logistic.outer, logistic.objective, np.zeros(6), logistic.hyper, max_inner_solves=n, schedule="cubic"
        )
        assert found.n_inner_solves == len(found.hypers) == n and f"all {n} inner solves" in found.message


def test_failure_on_the_way_keeps_the_best_point():
    def objective(z, h):
        return 0.5 * anp.sum((z - anp.sqrt(h)) ** 2)

    found = optimise_hypers(lambda z: anp.sum(z) ** 2, objective, np.ones(1), np.ones(1))  # runs to h < 0
    assert not found.converged
    assert "stopped at hyper" in found.message and "bounds" in found.message
    assert found.outer_loss <= 1.0
    assert len(found.hypers) == len(found.outer_losses) == found.n_inner_solves
    assert np.isnan(found.outer_losses[-1])


def test_loose_schedule_ends_at_what_is_there():
    """Inexact inner solutions may pretend a smaller outer loss: the end is solved for, and is among the best met."""
    study = Logistic(seed=3, n=60, groups=tuple(range(8)))

    def objective(b, penalties):
        return study.objective(b, anp.log(penalties))

    def outer(b):
        return study.outer(b, 0.0)

    for start in (1e-3, 100.0):
        for kind in ("exponential", lambda k: 0.5):
            found = optimise_hypers(outer, objective, np.zeros(8), np.full(8, start), log=True, schedule=kind)
            exact = study.solve(np.log(found.hyper))
            assert found.outer_loss == pytest.approx(outer(exact), abs=1e-12)
            assert found.input == pytest.approx(exact, abs=1e-8)
            assert found.n_inner_solves <= 30
            if found.converged:
                assert found.outer_loss <= outer(study.solve(np.log(found.hypers[0])))


def test_prediction_at_a_saddle_is_polished():
    """Near a fold a prediction may be close to the minimum, and the Hessian there not positive definite."""

    def well(z, v):
        return anp.sum((z**2 - 1.0) ** 2) + v[0] * anp.sum(z)

    problem = InnerProblem(well, np.ones(1), 2, "auto", None)
    problem.solve(np.array([1.4]))
    problem.solve(np.array([0.61]), 0.5)
    z = problem.expansion.input_val0
    assert 4.0 * z * (z**2 - 1.0) + 0.61 == pytest.approx([0.0], abs=1e-9)
    assert problem.n_polished == 1


def test_flat_start_is_told():
    objective, outer, _, _, _ = ridge()
    found = optimise_hypers(lambda b: outer(b) ** 2, objective, np.zeros(4), np.full(1, 1e-12), log=True)
    assert found.n_inner_solves == 1 and "start elsewhere" in found.message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"log": "all"}, ValueError),
        ({"log": [True, False]}, ValueError),
        ({"log": True, "hyper": -1.0}, ValueError),
        ({"bounds": [(2.0, 3.0)]}, ValueError),
        ({"bounds": [1.0, 2.0]}, errors.ShapeError),
        ({"log": True, "bounds": [(-1.0, 3.0)]}, ValueError),
        ({"max_inner_solves": 0}, ValueError),
        ({"max_inner_solves": 2.5}, TypeError),
        ({"tol": -1.0}, ValueError),
        ({"order": -1}, ValueError),
        ({"schedule": "linear"}, ValueError),
        ({"schedule": lambda k: -1.0}, ValueError),
        ({"schedule": lambda k: "tight"}, ValueError),
        ({"bounds": [(None, 2.0)]}, ValueError),
        ({"outer": lambda b: anp.sum(b) * np.nan}, errors.NonFiniteError),
        ({"objective": lambda b, h: h[0] * anp.sum(b)}, errors.VittlesError),
    ],
)
def test_bad_arguments_of_the_optimiser(options, error):
    objective, outer, _, _, _ = ridge()
    options = dict(options)
    inner, loss = options.pop("objective", objective), options.pop("outer", outer)
    with pytest.raises(error):
        optimise_hypers(loss, inner, np.zeros(4), np.array([options.pop("hyper", 1.0)]), **options)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_are_summable_and_end_somewhere(kind):
    tolerance = tolerance_schedule(kind, first=0.5, least=1e-9)
    values = [tolerance(k) for k in range(1, 400)]
    assert values[0] == 0.5 and np.all(np.diff(values) <= 0.0) and min(values) >= 1e-9
    assert sum(values) < 11.0 * values[0]
    for first in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="first must be"):
            tolerance_schedule(kind, first)


# ---- studies ----


def test_twenty_penalties_beat_grid_and_random_search():
    study = diabetes(seed=0)
    choice, found = by_hypergradients(study, n=15)
    assert study.n_groups == 20 and found.n_inner_solves <= 15
    assert choice.held_out == pytest.approx(found.outer_loss, rel=1e-8)  # refitted by Newton's method in NumPy
    assert choice.held_out < min(grid_search(study).held_out, random_search(study).held_out)


def test_distilled_points_train_the_model():
    problem = distillation(n_components=2)
    start = problem.start()
    found = distilled(problem, start, n_solves=20)
    before = problem.outer(fitted_to(problem, start))
    assert found.outer_loss < 0.7 * before
    points = {"points": found.hyper[:20].reshape(10, 2), "weights": found.hyper[20:]}
    assert np.all(points["weights"] > 0.0)
    assert problem.outer(fitted_to(problem, points)) == pytest.approx(found.outer_loss, rel=1e-8)
