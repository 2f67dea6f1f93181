"""The engine on sparse Hessians and without any: the same numbers as the dense engine."""

import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse
from problems import normal
from sparse_models import SPARSE_MODELS

import vittles_ng as vn
from vittles_ng.base_point import BasePoint
from vittles_ng.errors import (
    NotASolutionError,
    NotPositiveDefiniteError,
    PatternError,
    SizeError,
    SolveFailed,
)

engine = vn.ParametricSensitivityTaylorExpansion
OBJECTIVES = {name: model for name, model in SPARSE_MODELS.items() if model.is_objective}
EQUATIONS = {name: model for name, model in SPARSE_MODELS.items() if not model.is_objective}
ARROWS = [name for name in OBJECTIVES if not name.startswith(("grid", "chain 20"))]


def step_of(model):
    return model.hyper_val0 + 0.1 * normal(model.hyper_val0.size, start=0.6)


def assert_same(model, sparse, dense):
    for new in (step_of(model), np.stack([step_of(model), model.hyper_val0, 2.0 * model.hyper_val0 - step_of(model)])):
        expected = dense.evaluate_taylor_series(new)
        found = sparse.evaluate_taylor_series(new)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
    np.testing.assert_allclose(
        sparse.derivative_tensor(2),
        dense.derivative_tensor(2),
        rtol=1e-9,
        atol=1e-9 * abs(dense.derivative_tensor(2)).max() + 1e-13,
    )


@pytest.mark.parametrize("name", SPARSE_MODELS)
@pytest.mark.parametrize("how", ["auto", "pattern", "sparse pattern"])
def test_sparse_and_dense_agree(name, how):
    model = SPARSE_MODELS[name]
    sparsity = {"auto": "auto", "pattern": model.pattern, "sparse pattern": scipy.sparse.coo_matrix(model.pattern)}[how]
    assert_same(model, model.expand(4, sparsity=sparsity), model.expand(4))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("solver", ["cholmod", "superlu", "cholesky", "lu", "cg"])
@pytest.mark.parametrize("sparsity", ["auto", None])
def test_every_solver_agrees(name, solver, sparsity):
    model = OBJECTIVES[name]
    assert_same(model, model.expand(3, solver=solver, sparsity=sparsity), model.expand(3))


@pytest.mark.parametrize("name", ARROWS)
def test_schur_agrees(name):
    model = OBJECTIVES[name]
    expansion = model.expand(3, solver="schur", sparsity="auto")
    assert "chur" in expansion.solver.description
    assert_same(model, expansion, model.expand(3))


@pytest.mark.parametrize(
    "name, preconditioner",
    [(name, p) for name in ("arrow 12x2+3", "grid 6x7") for p in (None, "diagonal", "factor")]
    + [("arrow 12x2+3", "block")],
)
def test_preconditioned_conjugate_gradients_agree(name, preconditioner):
    model = OBJECTIVES[name]
    if preconditioner == "factor":  # of a point nearby
        near = BasePoint(model.function, model.solved() + 0.05, model.hyper_val0 + 0.1, True, "auto", "auto")
        preconditioner = near.factored()
    options = vn.solvers.cg(preconditioner=preconditioner, rtol=1e-13)
    assert_same(model, model.expand(3, solver=options, sparsity="auto"), model.expand(3))


def test_a_tolerance_that_is_not_reached_names_residual_and_iterations():
    model = OBJECTIVES["grid 6x7"]
    with pytest.raises(SolveFailed, match="relative residual .* after 2 iterations") as caught:
        model.expand(2, solver=vn.solvers.cg(maxiter=2))
    assert caught.value.iterations == 2 and caught.value.residual > 1e-12


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("solver", ["auto", "superlu", "lu"])
def test_equations_by_every_solver(name, solver):
    model = EQUATIONS[name]
    assert_same(model, model.expand(3, solver=solver, sparsity="auto"), model.expand(3))


@pytest.mark.parametrize("name", ["arrow 12x2+3", "grid 6x7", "upwind 15 with a dense row"])
def test_refits_and_paths_keep_the_pattern(name, monkeypatch):
    model = SPARSE_MODELS[name]
    expansion, dense = model.expand(3, sparsity="auto"), model.expand(3)
    monkeypatch.setattr(vn.problem.Problem, "jacobian", None)  # no dense matrix is formed
    new = model.hyper_val0 + 0.5 * np.eye(1, model.hyper_val0.size)[0]
    refit = expansion.refit(new, polish=True)
    assert refit.trusted
    path = vn.follow_path(expansion, [model.hyper_val0, new, 2.0 * new - model.hyper_val0], tol=1e-9)
    np.testing.assert_allclose(path.values[1], refit.value, atol=2e-9)
    monkeypatch.undo()
    np.testing.assert_allclose(refit.value, dense.refit(new, polish=True).value, rtol=1e-10, atol=1e-11)


def test_polishing_to_the_optimum_reuses_the_pattern(monkeypatch):
    model = OBJECTIVES["arrow 12x2+3"]
    assemblies = []
    original = vn.base_point.Assembly
    monkeypatch.setattr(vn.base_point, "Assembly", lambda *a: assemblies.append(1) or original(*a))
    expansion = engine.optimization_objective(
        model.function, np.zeros(model.n_input), model.hyper_val0, 2, polish_optimum=True, sparsity="auto"
    )
    np.testing.assert_allclose(expansion.input_val0, model.solved(), atol=1e-11)
    assert len(assemblies) == 1


def test_the_symbolic_analysis_is_reused_on_a_path(monkeypatch):
    from sksparse import cholmod

    model = OBJECTIVES["grid 6x7"]
    expansion = model.expand(2, solver="cholmod", sparsity="auto")
    analysed = []
    for name in ("cholesky", "analyze"):
        original = getattr(cholmod, name)
        monkeypatch.setattr(cholmod, name, lambda *a, f=original, **k: analysed.append(1) or f(*a, **k))
    vn.follow_path(expansion, model.hyper_val0 + np.outer(np.linspace(0.0, 2.0, 9), [1.0, 0.0]), tol=1e-8)
    assert analysed == []


def test_data_weights_are_contracted_not_formed():
    """4000 weights, 4000 inputs: J d and J^T v by one solve each, checked by differences of exact refits."""
    n = 4000
    y = normal(n, start=0.3)

    def objective(theta, weights):
        return 0.5 * anp.sum(weights * (y - theta) ** 2) + 2.0 * anp.sum((theta[1:] - theta[:-1]) ** 2)

    def solved(weights):
        difference = scipy.sparse.diags_array([np.ones(n - 1), -np.ones(n - 1)], offsets=[1, 0], shape=(n - 1, n))
        hessian = scipy.sparse.diags_array(weights) + 4.0 * difference.T @ difference
        return scipy.sparse.linalg.spsolve(hessian.tocsc(), weights * y)

    expansion = engine.optimization_objective(objective, solved(np.ones(n)), np.ones(n), 4, sparsity="auto")
    left_out = np.ones(n)
    left_out[100:110] = 0.0
    exact = solved(left_out)
    errors = [np.abs(expansion.evaluate_taylor_series(left_out, max_order=k) - exact).max() for k in range(1, 5)]
    assert errors[3] < 0.5 * errors[1] < 0.25 * np.abs(exact - solved(np.ones(n))).max()
    v = np.zeros(n)
    v[105] = 1.0
    gradient = expansion.functional(lambda theta, weights: theta[105]).gradient()
    gradient = gradient[1] if isinstance(gradient, tuple) else gradient
    up, down = np.ones(n), np.ones(n)
    up[103] += 1e-5
    down[103] -= 1e-5
    np.testing.assert_allclose(np.ravel(gradient)[103], (solved(up) - solved(down))[105] / 2e-5, rtol=1e-6)


def test_the_dense_sensitivity_of_a_large_model_is_refused_with_its_size():
    n = 60_000
    expansion = engine.optimization_objective(
        lambda theta, weights: anp.sum(weights * (theta - 1.0) ** 2), np.ones(n), np.ones(n), 2, sparsity="auto"
    )
    with pytest.raises(SizeError, match=r"GiB"):
        expansion.derivative_tensor(1)
    np.testing.assert_allclose(expansion.evaluate_input_derivs(np.ones(n))[-1], np.zeros(n), atol=1e-12)


def test_a_dense_matrix_that_does_not_fit_is_refused_before_it_is_formed():
    n = 200_000
    with pytest.raises(SizeError, match="dense matrix dG/dinput of 200000 inputs .* GiB.*sparsity='auto'"):
        engine.optimization_objective(lambda x, h: anp.sum((x - h[0]) ** 2), np.ones(n), [1.0], 2)


def test_a_given_sparse_matrix_lends_its_pattern_to_new_base_points(monkeypatch):
    model = OBJECTIVES["grid 6x7"]
    problem = BasePoint(model.function, model.solved(), model.hyper_val0, True, "auto", "auto")
    expansion = model.expand(2, hess0=problem.matrix())
    monkeypatch.setattr(vn.problem.Problem, "jacobian", None)
    path = vn.follow_path(expansion, [model.hyper_val0 + [1.5, 0.0]], tol=1e-8)
    assert path.n_expansions > 1


def test_a_pattern_that_misses_entries_raises():
    model = OBJECTIVES["arrow 12x2+3"]
    with pytest.raises(PatternError, match="misses entries"):
        model.expand(2, sparsity=np.eye(model.n_input))


@pytest.mark.parametrize("sparsity", ["auto", None])
@pytest.mark.parametrize("solver", ["auto", "superlu", "cg"])
def test_no_minimum_and_no_solution_raise_as_in_the_dense_engine(sparsity, solver):
    n = 12

    def saddle(x, h):
        return 0.5 * anp.sum(x[1:] ** 2) - 0.5 * x[0] ** 2 + h[0] * anp.sum(x[1:] * x[:-1]) + 0.1 * anp.sum(x**4)

    with pytest.raises(NotPositiveDefiniteError):
        engine.optimization_objective(saddle, np.zeros(n), [0.01], 2, solver=solver, sparsity=sparsity)
    with pytest.raises(NotASolutionError):
        engine.optimization_objective(
            lambda x, h: anp.sum((x - h[0]) ** 2), np.zeros(n), [1.0], 2, solver=solver, sparsity=sparsity
        )


@pytest.mark.parametrize("curvature", [-1.0, -1e-6, 0.0])
@pytest.mark.parametrize("sparsity", ["auto", None])
def test_matrix_free_finds_a_direction_that_no_hyper_excites(curvature, sparsity):
    def objective(x, h):  # h pulls along the first inputs only
        u = (x[-1] - x[-2]) / np.sqrt(2.0)
        v = (x[-1] + x[-2]) / np.sqrt(2.0)
        return 0.5 * anp.sum((x[:-2] - h[0]) ** 2) + 0.5 * v**2 + 0.5 * curvature * u**2

    with pytest.raises((NotPositiveDefiniteError, SolveFailed)):
        engine.optimization_objective(objective, np.zeros(7), [0.0], 2, solver="cg", sparsity=sparsity)


@pytest.mark.parametrize("solver", ["auto", "cg"])
@pytest.mark.parametrize("sparsity", ["auto", None])
def test_a_polished_refit_at_a_saddle_is_not_trusted(solver, sparsity):
    def objective(x, h):  # a minimum at h until h = 1.5, a maximum after it
        return 0.5 * (1.5 - h[0]) * anp.sum((x - h[0]) ** 2) + 0.1 * anp.sum((x - h[0]) ** 4)

    expansion = engine.optimization_objective(objective, np.zeros(6), [0.0], 4, solver=solver, sparsity=sparsity)
    refit = expansion.refit([1.8], polish=True)
    assert not refit.trusted and "not positive definite" in refit.message
    assert expansion.refit([1.2], polish=True).trusted


def test_matrix_free_needs_a_symmetric_matrix():
    with pytest.raises(ValueError, match="solver='cg' needs a symmetric matrix"):
        engine(lambda x, h: x - h, [1.0], [1.0], 2, solver="cg")
    with pytest.raises(ValueError, match="solver='fast' is not known"):
        engine(lambda x, h: x - h, [1.0], [1.0], 2, solver="fast")
