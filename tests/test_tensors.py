"""Derivative tensors and saved expansions against closed forms, mpmath and nested derivatives."""

import io
import itertools
import json
import math
import os
import zipfile
from fractions import Fraction

import autograd.numpy as anp
import mpmath
import numpy as np
import pytest
from problems import MODELS

import vittles_ng as vn
from vittles_ng import memory as memory_module
from vittles_ng.errors import NonFiniteError, SavedFileError, ShapeError, SizeError
from vittles_ng.tensors import DerivativeTensors, derivative_tensors, load, save_expansion
from vittles_ng.tensors import derivatives as derivatives_module
from vittles_ng.tensors import saved as saved_module
from vittles_ng.tensors.multi_indices import _gamma, count, factorials, insertions, multi_indices, ranks

Expansion = vn.ParametricSensitivityTaylorExpansion


def parts_of(expansion):
    """What the tensors are made from."""
    return expansion._recursion, expansion._problem.input.flat0, expansion._problem.hyper


def tensors_of(expansion, order=None):
    return derivative_tensors(*parts_of(expansion), expansion.get_max_order() if order is None else order)


def save(file, expansion, **options):
    save_expansion(file, *parts_of(expansion), expansion.get_max_order(), **options)


def assert_close(got, expected, rtol):
    """To a tolerance relative to the largest element."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * np.max(np.abs(expected)))


def exponentials(n_input, n_hyper, order, units=1.0):
    """log input = A hyper at hyper = 0: ``d^k input_n = A_n x ... x A_n``; and A."""
    a = np.random.default_rng(3).normal(size=(n_input, n_hyper)) / units

    def equation(x, hyper):
        return anp.log(x) - anp.dot(a, hyper)

    return Expansion(equation, np.ones(n_input), np.zeros(n_hyper), order), a


def powers(a, k):
    """The k-fold outer product of each row with itself."""
    tensor = np.ones(len(a))
    for _ in range(k):
        tensor = tensor[..., None] * a.reshape(len(a), *(1,) * (tensor.ndim - 1), -1)
    return tensor


# ---- multi-indices and interpolation coefficients ----


@pytest.mark.parametrize("n, degree", [(1, 1), (1, 4), (2, 3), (4, 1), (4, 2), (5, 4), (3, 6)])
def test_packed_order_of_multi_indices(n, degree):
    sequences = multi_indices(n, degree)
    every = itertools.combinations_with_replacement(range(n), degree)
    expected = sorted(every, key=lambda sequence: sequence[::-1])
    assert [tuple(row) for row in sequences.tolist()] == expected
    assert count(n, degree) == len(expected)
    assert ranks(sequences, n).tolist() == list(range(len(expected)))
    assert factorials(n, degree).tolist() == [
        math.prod(math.factorial(row.count(p)) for p in range(n)) for row in expected
    ]
    for shorter, row in zip(multi_indices(n, degree - 1).tolist(), insertions(n, degree), strict=True):
        assert [expected[rank] for rank in row] == [tuple(sorted([*shorter, p])) for p in range(n)]


def exponents(n, degree):
    return [j for j in itertools.product(range(degree + 1), repeat=n) if sum(j) == degree]


@pytest.mark.parametrize("degree, k", [(d, k) for d in range(1, 6) for k in range(1, d + 1)])
def test_interpolation_is_exact_on_monomials(degree, k):
    # f = x^b / b! has one derivative of order k, one at i = b, and F_k(j) = j^b / b!
    n = min(k, 3)
    for i in exponents(n, k):
        support = [p for p in range(n) if i[p]]
        for b in exponents(n, k):
            total = Fraction(0)
            for j in exponents(n, degree):
                if all(p in support for p in range(n) if j[p]):
                    pairs = tuple(sorted((i[p], j[p]) for p in support))
                    value = math.prod(j_p**b_p for j_p, b_p in zip(j, b, strict=True))
                    total += _gamma(pairs) * Fraction(value, math.prod(map(math.factorial, b)))
            assert total == (i == b)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_growth_of_rounding_is_the_stated_one(k):
    # all of i equal to one is the worst multi-index
    pairs = [tuple(sorted((1, j_p) for j_p in j)) for j in exponents(k, k)]
    assert sum(abs(_gamma(pair)) for pair in pairs) * Fraction(k**k, math.factorial(k)) == math.comb(2 * k - 1, k)


# ---- tensors ----


@pytest.mark.parametrize("n_input, n_hyper, order", [(50, 5, 4), (1, 1, 1), (1, 1, 6), (3, 1, 4), (1, 4, 3), (2, 3, 1)])
def test_tensors_of_exponentials(n_input, n_hyper, order):
    expansion, a = exponentials(n_input, n_hyper, order)
    tensors = tensors_of(expansion)
    np.testing.assert_array_equal(tensors.tensor(0), np.ones(n_input))
    for k in range(1, order + 1):
        assert tensors.packed[k - 1].shape == (n_input, math.comb(n_hyper + k - 1, k))
        assert tensors.tensor(k).shape == (n_input,) + (n_hyper,) * k
        assert_close(tensors.tensor(k), powers(a, k), 1e-14)


def linear_system():
    """(A + sum_p hyper_p B_p) input = m, 50 inputs, 5 hypers; and its tensors of the orders 1..4 in closed form."""
    rng = np.random.default_rng(5)
    a, b, m = np.eye(50) + rng.normal(size=(50, 50)) / 20, rng.normal(size=(5, 50, 50)) / 20, rng.normal(size=50)
    expansion = Expansion(
        lambda x, hyper: anp.dot(a, x) + anp.dot(hyper, anp.dot(b, x)) - m, np.linalg.solve(a, m), np.zeros(5), 4
    )
    inverse = np.linalg.inv(a)
    tensors, ordered = [], inverse @ m
    for k in range(1, 5):
        # one factor -A^{-1} B_p after another; the derivative sums over the orders that the hypers can come in
        ordered = -np.einsum("pij,j...->ip...", inverse @ b, ordered)
        axes = itertools.permutations(range(1, k + 1))
        tensors.append(sum(np.transpose(ordered, (0, *axis)) for axis in axes))
    return expansion, tensors


def test_tensors_of_a_linear_system_in_its_matrix():
    expansion, expected = linear_system()
    tensors = tensors_of(expansion)
    for k in range(1, 5):
        assert_close(tensors.tensor(k), expected[k - 1], 1e-13)


def test_tensors_equal_nested_derivatives():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(80, 50)), rng.normal(size=80)
    z = rng.normal(size=(80, 5))

    def objective(b, hyper):
        r = y + anp.dot(z, hyper) - anp.dot(x, b)
        return anp.sum(anp.sqrt(1.0 + r**2)) + 0.5 * anp.exp(hyper[0]) * anp.sum(b**2)

    engine = Expansion.optimization_objective(
        objective, np.zeros(50), np.zeros(5), 4, polish_optimum=True, optimum_tol=9
    )
    nested = vn.baselines.NestedJVPTaylorExpansion.optimization_objective(objective, engine.input_val0, np.zeros(5), 4)
    tensors = tensors_of(engine)
    for direction in (np.eye(5)[2], *rng.normal(size=(2, 5))):
        for k, expected in enumerate(nested.evaluate_input_derivs(direction), 1):
            got = tensors.tensor(k)
            for _ in range(k):
                got = got @ direction
            assert_close(got, expected, 1e-9)


def test_implicit_scalar_equation_against_mpmath():
    # x exp(x) = a b: x is Lambert's W of a b
    expansion = Expansion(
        lambda x, hyper: x * anp.exp(x) - hyper[0] * hyper[1], [float(mpmath.lambertw(3.0))], [1.5, 2.0], 5
    )
    tensors = tensors_of(expansion)
    with mpmath.workdps(60):
        for k in range(1, 6):
            got, expected = tensors.tensor(k)[0], np.empty((2,) * k)
            for index in np.ndindex(expected.shape):
                at = (mpmath.mpf(1.5), mpmath.mpf(2.0))
                orders = (index.count(0), index.count(1))
                expected[index] = float(mpmath.diff(lambda a, b: mpmath.lambertw(a * b).real, at, orders))
            assert_close(got, expected, 1e-12)


@pytest.mark.parametrize("name", ["ridge path", "lambert", "cubic"])
def test_one_hyper_gives_the_series(name):
    model = MODELS[name]
    tensors = tensors_of(model.expand(8))
    for k, c in enumerate(model.series(8)):
        derivative = c if k == 0 else math.factorial(k) * c / model.step[0] ** k
        assert_close(tensors.tensor(k).ravel(), derivative, 1e-11)


def test_exact_symmetry():
    tensors = tensors_of(linear_system()[0])
    for k in range(2, 5):
        tensor = tensors.tensor(k)
        for axes in itertools.permutations(range(1, k + 1)):
            np.testing.assert_array_equal(tensor, np.transpose(tensor, (0, *axes)))


def test_hypers_of_very_different_units():
    units = np.array([1e9, 1.0, 3e-8])
    expansion, a = exponentials(4, 3, 4, units)
    tensors = tensors_of(expansion)
    for k in range(1, 5):
        scale = powers(units[None, :], k)
        assert_close(tensors.tensor(k) * scale, powers(a, k) * scale, 1e-12)


def test_inputs_at_zero_that_move_only_when_two_hypers_do():
    expansion = Expansion(lambda x, hyper: x - hyper[0] * hyper[1], [0.0], [0.0, 0.0], 3)
    tensors = tensors_of(expansion)
    np.testing.assert_array_equal(tensors.tensor(1), np.zeros((1, 2)))
    np.testing.assert_array_equal(tensors.tensor(2), [[[0.0, 1.0], [1.0, 0.0]]])
    np.testing.assert_array_equal(tensors.tensor(3), np.zeros((1, 2, 2, 2)))


def test_a_lower_order_is_the_same_tensor():
    expansion, _ = linear_system()
    assert_close(tensors_of(expansion, 2).tensor(2), tensors_of(expansion).tensor(2), 1e-14)


@pytest.mark.parametrize("elements", [2**22, 70])
def test_directions_in_blocks_and_no_more_than_stated(monkeypatch, elements):
    monkeypatch.setattr(derivatives_module, "_DIRECTION_ELEMENTS", elements)
    expansion, a = exponentials(2, 5, 4)
    recursion, seen = expansion._recursion, []

    class Counting:
        def terms(self, new, origin, out):
            seen.append(len(new))
            recursion.terms(new, origin, out)

    tensors = derivative_tensors(Counting(), *parts_of(expansion)[1:], 4)
    assert_close(tensors.tensor(4), powers(a, 4), 1e-14)
    assert sum(seen) == math.comb(5 + 4 - 1, 4)


@pytest.mark.parametrize("k, error", [(-1, ValueError), (3, ValueError), (1.0, TypeError), (True, TypeError)])
def test_orders_that_are_refused(k, error):
    tensors = tensors_of(exponentials(2, 2, 2)[0])
    with pytest.raises(error):
        tensors.tensor(k)


@pytest.mark.parametrize("order, error", [(0, ValueError), (2.0, TypeError)])
def test_orders_of_tensors_that_are_refused(order, error):
    with pytest.raises(error, match="order"):
        tensors_of(exponentials(2, 2, 2)[0], order)


def test_derivatives_that_overflow():
    a = np.array([[1e200, 2e200]])
    expansion = Expansion(lambda x, hyper: anp.log(x) - anp.dot(a, hyper), [1.0], [0.0, 0.0], 2)
    with pytest.raises(NonFiniteError, match="order 2"):
        tensors_of(expansion)


# ---- sizes ----


def test_tensors_that_cannot_fit_are_refused_before_any_work():
    with pytest.raises(SizeError, match=r"bytes \(.* GiB\).*evaluate along directions") as caught:
        derivative_tensors(None, np.zeros(50), np.zeros(2000), 4)
    assert isinstance(caught.value, MemoryError)


def test_a_full_tensor_that_does_not_fit_may_be_there_packed(monkeypatch):
    tensors = tensors_of(exponentials(50, 5, 4)[0])
    full = 8 * 51 * 5**4
    monkeypatch.setattr(derivatives_module, "memory_limit", lambda: full)
    tensors.tensor(4)
    monkeypatch.setattr(derivatives_module, "memory_limit", lambda: full - 1)
    with pytest.raises(SizeError, match=f"{full} bytes.*evaluate along directions"):
        tensors.tensor(4)
    tensors.tensor(3)


@pytest.mark.parametrize("answer", [-1, ValueError("unrecognized configuration name"), None])
def test_memory_limit_where_the_system_does_not_tell(monkeypatch, answer):
    def sysconf(name):
        if isinstance(answer, Exception):
            raise answer
        return answer if name == "SC_PHYS_PAGES" else 4096

    if answer is None:
        monkeypatch.delattr(os, "sysconf")
    else:
        monkeypatch.setattr(os, "sysconf", sysconf)
    assert memory_module.memory_limit() == 2**31


def test_memory_limit_is_a_quarter(monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.get)
    assert memory_module.memory_limit() == 1_024_000


# ---- evaluation ----


@pytest.mark.parametrize("name", ["poisson", "net", "two equations", "covariance by cholesky", "ridge path", "lambert"])
def test_steps_are_those_of_the_engine(name):
    model = MODELS[name]
    engine = model.expand(4)
    tensors = tensors_of(engine)
    n_hyper = len(model.hyper_val0)
    shape = np.random.default_rng(2).uniform(-1, 1, size=(3000, n_hyper))
    steps = model.hyper_val0 + shape * np.abs(model.step)
    for options in ({}, {"add_offset": False}, {"max_order": 2}, {"sum_terms": False}):
        assert_close(
            tensors.evaluate_taylor_series(steps, **options), engine.evaluate_taylor_series(steps, **options), 1e-12
        )
    one = tensors.evaluate_taylor_series(steps[7])
    assert_close(one, tensors.evaluate_taylor_series(steps)[7], 1e-15)
    terms = tensors.evaluate_taylor_series_terms(steps[7], max_order=3)
    for got, expected in zip(terms, engine.evaluate_taylor_series_terms(steps[7], max_order=3), strict=True):
        assert_close(got, expected, 1e-12)
    derivs = tensors.evaluate_input_derivs(model.step, max_order=3)
    for got, expected in zip(derivs, engine.evaluate_input_derivs(model.step, max_order=3), strict=True):
        assert_close(got, expected, 1e-12)


def test_a_batch_of_no_steps():
    tensors = tensors_of(exponentials(3, 2, 2)[0])
    assert tensors.evaluate_taylor_series(np.zeros((0, 2))).shape == (0, 3)
    assert tensors.evaluate_taylor_series_terms(np.zeros((0, 2))).shape == (3, 0, 3)


@pytest.mark.parametrize("max_order, error", [(0, ValueError), (3, ValueError), (1.5, TypeError)])
def test_max_orders_that_are_refused(max_order, error):
    tensors = tensors_of(exponentials(3, 2, 2)[0])
    with pytest.raises(error, match="max_order"):
        tensors.evaluate_taylor_series([0.1, 0.1], max_order=max_order)


@pytest.mark.parametrize("sum_terms", [True, False])
def test_steps_that_overflow(sum_terms):
    tensors = tensors_of(exponentials(3, 2, 3)[0])
    with pytest.raises(NonFiniteError, match="1 of 2 steps, the first is step 1"):
        tensors.evaluate_taylor_series([[0.1, 0.1], [1e150, 0.1]], sum_terms=sum_terms)
    assert np.isfinite(tensors.evaluate_taylor_series([1e150, 0.1], max_order=1)).all()


def test_steps_of_another_shape():
    tensors = tensors_of(exponentials(3, 2, 2)[0])
    with pytest.raises(ShapeError):
        tensors.evaluate_taylor_series([0.1, 0.1, 0.1])
    with pytest.raises(NonFiniteError):
        tensors.evaluate_taylor_series([0.1, np.nan])


def test_tensors_do_not_change():
    packed = np.ones((2, 1))
    tensors = DerivativeTensors(np.zeros(2), [0.0], [packed])
    packed[:] = 7.0
    tensors.tensor(0)[:] = 7.0
    tensors.hyper_val0[:] = 7.0
    np.testing.assert_array_equal(tensors.evaluate_taylor_series([1.0]), [1.0, 1.0])
    with pytest.raises(ValueError, match="read-only"):
        tensors.packed[0][:] = 7.0


def test_packed_tensors_of_another_shape():
    with pytest.raises(ShapeError, match=r"order 2 has shape \(2, 4\): \(2, 3\) is needed"):
        DerivativeTensors(np.zeros(2), [0.0, 0.0], [np.ones((2, 2)), np.ones((2, 4))])


# ---- saved expansions ----


def nested_hyper(order=3):
    """An expansion in a nested hyper of 5 elements."""
    hyper0 = {"b": (np.zeros((2, 1)), [0.5]), "a": {"scale": 2.0, "none": []}, "c": np.ones(1)}

    def equation(x, hyper):
        total = anp.sum(hyper["b"][0]) + hyper["b"][1][0]
        return anp.array([x[0] ** 3 - hyper["a"]["scale"] * hyper["c"][0] * anp.exp(total), x[1] + x[0] - total])

    first = (2.0 * np.exp(0.5)) ** (1 / 3)
    return Expansion(equation, [first, 0.5 - first], hyper0, order)


def scalar_hyper(order=3):
    return Expansion(lambda x, hyper: x - anp.array([anp.exp(hyper)]), [1.0], 0.0, order)


def assert_same_evaluation(saved, source, steps):
    """Equal to the bit."""
    assert saved.get_max_order() == source.get_max_order()
    np.testing.assert_array_equal(saved.input_val0, source.input_val0)
    np.testing.assert_array_equal(saved.hyper_val0, source.hyper_val0)
    for options in ({}, {"add_offset": False}, {"max_order": 1}, {"sum_terms": False}):
        np.testing.assert_array_equal(
            saved.evaluate_taylor_series(steps, **options), source.evaluate_taylor_series(steps, **options)
        )
    np.testing.assert_array_equal(saved.evaluate_taylor_series_terms(steps), source.evaluate_taylor_series_terms(steps))
    for got, expected in zip(saved.evaluate_input_derivs(steps), source.evaluate_input_derivs(steps), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("make", [MODELS["poisson"].expand, MODELS["lambert"].expand, nested_hyper, scalar_hyper])
@pytest.mark.parametrize("order", [1, 3])
def test_tensors_come_back_to_the_bit(tmp_path, make, order):
    expansion = make(order)
    tensors = tensors_of(expansion)
    save(tmp_path / "x", expansion)
    assert os.listdir(tmp_path) == ["x"]
    saved = load(tmp_path / "x")
    assert_same_evaluation(saved, tensors, expansion.hyper_val0 + 0.1)
    for k in range(order + 1):
        np.testing.assert_array_equal(saved.derivative_tensor(k), tensors.tensor(k))
    assert saved.directions is None and saved.package_version == vn.__version__
    assert "tensors" in repr(saved)
    with pytest.raises(ValueError, match="exceeds"):
        saved.derivative_tensor(order + 1)


@pytest.mark.parametrize("directions", [None, np.diag([1.0, 2.0, 3.0, 4.0, 5.0])])
def test_a_nested_hyper_is_accepted_as_it_was_built(tmp_path, directions):
    expansion = nested_hyper()
    save(tmp_path / "x.npz", expansion, directions=directions)
    saved = load(str(tmp_path / "x.npz"))
    new = {"b": (np.zeros((2, 1)), [0.5]), "a": {"scale": 2.2, "none": []}, "c": np.ones(1)}
    assert_close(saved.evaluate_taylor_series(new), expansion.evaluate_taylor_series(new), 1e-14)
    with pytest.raises(ShapeError, match="another structure"):
        saved.evaluate_taylor_series({"b": new["b"], "a": {"scale": 2.2}, "c": np.ones(1)})


@pytest.mark.parametrize("key, is_saved", [("a", True), (3, True), (2.5, True), ((1, 2), False), (b"a", False)])
def test_keys_of_a_nested_hyper(tmp_path, key, is_saved):
    expansion = Expansion(lambda x, hyper: x - hyper[key], [1.0], {key: np.ones(1)}, 1)
    if not is_saved:
        with pytest.raises(TypeError, match="keys"):
            save(tmp_path / "x", expansion)
        assert os.listdir(tmp_path) == []
        return
    save(tmp_path / "x", expansion)
    assert load(tmp_path / "x").evaluate_taylor_series({key: np.array([3.0])}) == [3.0]


@pytest.mark.parametrize("cosines", [2**20, 7])
def test_series_along_directions(tmp_path, monkeypatch, cosines):
    monkeypatch.setattr(saved_module, "_COSINES", cosines)
    model = MODELS["logistic"]
    expansion = model.expand(4)
    directions = np.vstack([model.step, -0.3 * np.eye(31)[[4, 30]]])
    save(tmp_path / "x", expansion, directions=directions)
    saved = load(tmp_path / "x")
    np.testing.assert_array_equal(saved.directions, directions)
    assert "3 directions" in repr(saved)
    along = np.array([1.0, -0.5, 0.25, 0.9, 0.0])[:, None] * directions[[0, 0, 2, 1, 1]]
    steps = model.hyper_val0 + along
    for options in ({}, {"add_offset": False}, {"max_order": 2}, {"sum_terms": False}):
        got = saved.evaluate_taylor_series(steps, **options)
        assert_close(got, expansion.evaluate_taylor_series(steps, **options), 1e-13)
    assert saved.evaluate_taylor_series(np.zeros((0, 31))).shape == (0, 3)
    derivs = saved.evaluate_input_derivs(-2.0 * directions[1])
    for got, expected in zip(derivs, expansion.evaluate_input_derivs(-2.0 * directions[1]), strict=True):
        assert_close(got, expected, 1e-13)
    with pytest.raises(ValueError, match="save without directions"):
        saved.derivative_tensor(1)


def test_series_of_saved_directions_come_back_to_the_bit(tmp_path):
    expansion = MODELS["poisson"].expand(3)
    directions = np.array([[1.0, 0.0], [0.5, -0.25]])
    save(tmp_path / "x", expansion, directions=directions)
    saved = load(tmp_path / "x")
    expected = np.empty((3, 2, 3))
    expansion._recursion.terms(directions, np.zeros(2), expected)
    for i, direction in enumerate(directions):
        for k, derivative in enumerate(saved.evaluate_input_derivs(direction), 1):
            np.testing.assert_array_equal(derivative, math.factorial(k) * expected[k - 1, i])


def test_steps_along_no_saved_direction(tmp_path):
    expansion = MODELS["poisson"].expand(2)
    save(tmp_path / "x", expansion, directions=[1.0, 0.5])
    saved = load(tmp_path / "x")
    base = expansion.hyper_val0
    steps = base + np.array([[0.2, 0.1], [0.2, 0.1 + 1e-8], [0.1, -0.05]])
    with pytest.raises(ShapeError, match="2 of 3 steps lie along none of the 1 saved directions, the first is step 1"):
        saved.evaluate_taylor_series(steps)
    with pytest.raises(ShapeError, match="saved directions"):
        saved.evaluate_input_derivs([1.0, 0.6])


@pytest.mark.parametrize("directions", [[0.0, 0.0], np.zeros((0, 2)), [[1.0, 0.0], [0.0, 0.0]], [1.0, 2.0, 3.0]])
def test_directions_that_are_refused(tmp_path, directions):
    with pytest.raises(ShapeError, match="directions"):
        save(tmp_path / "x", MODELS["poisson"].expand(2), directions=directions)


def test_a_file_has_a_bound(tmp_path, monkeypatch):
    with pytest.raises(SizeError, match=r"bytes \(.* GiB\).*directions="):
        save_expansion(tmp_path / "x", None, np.zeros(50), np.zeros(2000), 3)
    expansion = MODELS["poisson"].expand(2)
    monkeypatch.setattr(saved_module, "LARGEST_FILE", 8 * (3 * 2 + 2))
    with pytest.raises(SizeError, match="120 bytes"):
        save(tmp_path / "x", expansion)
    with pytest.raises(SizeError, match="128 bytes.*fewer directions"):
        save(tmp_path / "x", expansion, directions=np.eye(2))
    assert os.listdir(tmp_path) == []
    save(tmp_path / "x", expansion, directions=[1.0, 0.5])


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "x"
    save(file, MODELS["poisson"].expand(2))
    old = file.read_bytes()

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save(file, MODELS["poisson"].expand(3))
    assert os.listdir(tmp_path) == ["x"] and file.read_bytes() == old


def test_nothing_of_the_user_runs_after_loading(tmp_path):
    calls = []

    def equation(x, hyper):
        calls.append(1)
        return x - anp.exp(hyper)

    expansion = Expansion(equation, [1.0], [0.0], 2)
    save(tmp_path / "x", expansion)
    n_calls = len(calls)
    load(tmp_path / "x").evaluate_taylor_series([0.1])
    assert len(calls) == n_calls


# ---- bad files ----


def entries(**changes):
    """Entries of a saved file, some of them changed; None leaves one out."""

    def change(arrays):
        new = {**arrays, **changes}
        return {name: value for name, value in new.items() if value is not None}

    return change


def with_nan(arrays):
    tensor = arrays["tensor_2"].copy()
    tensor[1, 2] = np.nan
    return {**arrays, "tensor_2": tensor}


BAD_ENTRIES = {
    "later format": (entries(format=np.int64(2)), r"format 2, written by version .*reads format 1.*save again"),
    "no format": (entries(format=None), "no saved expansion.*'format'"),
    "format no number": (entries(format=np.arange(3)), "no saved expansion"),
    "NaN": (with_nan, "1 of 9 elements of tensor_2 are NaN.*save again"),
    "NaN input": (entries(input_val0=np.full(3, np.nan)), "input_val0"),
    "other shape": (entries(tensor_1=np.zeros((3, 3))), "tensor_1 is float64"),
    "other type": (entries(tensor_1=np.zeros((3, 2), dtype=int)), "tensor_1 is int64"),
    "other kind": (entries(kind=np.str_("jets")), "kind 'jets'"),
    "order zero": (entries(order=np.int64(0)), "order 0"),
    "order too high": (entries(order=np.int64(3)), "lacks the entry 'tensor_3'"),
    "structure no JSON": (entries(hyper_structure=np.str_("{")), "damaged"),
    "structure too large": (entries(hyper_structure=np.str_('{"shape": [1000000000000]}')), "does not hold 2"),
    "structure too small": (entries(hyper_structure=np.str_('{"shape": [1]}')), "holds 1 elements, hyper_val0 2"),
    "structure of nothing known": (entries(hyper_structure=np.str_('{"set": [1]}')), "damaged"),
    "structure no object": (entries(hyper_structure=np.str_("[1, 2]")), "damaged"),
    "pickle": (entries(kind=np.array([{}], dtype=object)), "no .npz file of numbers"),
    **{
        f"no {name}": (entries(**{name: None}), f"lacks the entry '{name}'")
        for name in ("package_version", "kind", "order", "input_val0", "hyper_val0", "hyper_structure", "tensor_1")
    },
}


@pytest.mark.parametrize("change, message", BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_files_with_bad_entries(tmp_path, change, message):
    save(tmp_path / "good", MODELS["poisson"].expand(2))
    with np.load(tmp_path / "good") as arrays:
        np.savez(tmp_path / "bad.npz", **change(dict(arrays)))
    with pytest.raises(SavedFileError, match=message) as caught:
        load(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def one_array(_):
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


def flipped(good):
    """One bit of the numbers of an entry is another."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        at = archive.getinfo("tensor_1.npy").header_offset + 200
    return good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]


def too_large(_):
    """An array whose header claims 8 petabytes."""
    header, stream = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("format.npy", header.getvalue())
    return stream.getvalue()


BAD_BYTES = {
    "empty": lambda good: b"",
    "truncated": lambda good: good[: len(good) // 2],
    "last byte missing": lambda good: good[:-1],
    "text": lambda good: b"hyper,input\n1,2\n",
    "one array": one_array,
    "a bit flipped": flipped,
    "too large": too_large,
}


@pytest.mark.parametrize("make", BAD_BYTES.values(), ids=BAD_BYTES)
def test_files_of_bad_bytes(tmp_path, make):
    save(tmp_path / "good", MODELS["poisson"].expand(2))
    (tmp_path / "bad").write_bytes(make((tmp_path / "good").read_bytes()))
    with pytest.raises(SavedFileError, match="bad .*save again"):
        load(tmp_path / "bad")


def test_a_directions_file_with_bad_entries(tmp_path):
    save(tmp_path / "good", MODELS["poisson"].expand(2), directions=np.eye(2))
    with np.load(tmp_path / "good") as arrays:
        arrays = dict(arrays)
    assert json.loads(str(arrays["hyper_structure"])) == {"shape": [2]}
    for change, message in (
        (entries(series=None), "'series'"),
        (entries(series=np.zeros((2, 1, 3))), "series is float64"),
        (entries(directions=np.zeros((2, 2))), "direction 0 is zero"),
        (entries(directions=np.float64(1.0)), "damaged"),
    ):
        np.savez(tmp_path / "bad.npz", **change(arrays))
        with pytest.raises(SavedFileError, match=message):
            load(tmp_path / "bad.npz")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
