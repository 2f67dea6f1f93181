"""Walks: what a later block repeats from the log of the first is what a replay of its own would give."""

import threading

import autograd.numpy as anp
import numpy as np
import pytest
from problems import MODELS
from random_programs import random_program

import vittles_ng as vn
from vittles_ng.taylor.replay import Replay

Expansion = vn.ParametricSensitivityTaylorExpansion


def random_equation(rng, n_hyper=5):
    """x + f(h + x / 10) / 4 = 0 has a solution near any h, for a random f scaled to 1."""
    f = random_program(rng, np.zeros(n_hyper))
    return lambda x, h: x + 0.25 * (f(h + 0.1 * x) - f(np.zeros(n_hyper)))


def close(got, expected):
    scale = np.max(np.abs(expected), axis=(1, 2), keepdims=True)
    assert np.all(np.abs(got - expected) <= 1e-11 * scale)


def each_by_itself(make, new, order):
    """Every step from an expansion of its own, whose first direction it is: a replay, no log."""
    return np.stack([make().evaluate_taylor_series_terms(x)[: order + 1] for x in new], axis=1)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_later_directions_and_blocks(name, rng):
    model = MODELS[name]
    size = np.max(np.abs(model.step))
    new = model.hyper_val0 + 0.5 * size * rng.uniform(-1.0, 1.0, (7, model.hyper_val0.size))
    expected = each_by_itself(lambda: model.expand(4), new, 4)
    expansion = model.expand(4)
    for _ in range(2):
        close(np.stack([expansion.evaluate_taylor_series_terms(x) for x in new], axis=1), expected)
    expansion._recursion._block = 3  # blocks of 3, 3 and 1
    for _ in range(2):
        close(expansion.evaluate_taylor_series_terms(new), expected)


@pytest.mark.parametrize("seed", range(40))
def test_random_equations(seed):
    rng = np.random.default_rng(seed)
    equation = random_equation(rng)
    make = lambda: Expansion(equation, np.zeros(5), np.zeros(5), 5)  # noqa: E731
    new = 0.1 * rng.standard_normal((9, 5))
    expected = each_by_itself(make, new, 5)
    expansion = make()
    close(np.stack([expansion.evaluate_taylor_series_terms(x) for x in new], axis=1), expected)
    expansion._recursion._block = 4
    for _ in range(2):
        close(expansion.evaluate_taylor_series_terms(new), expected)


@pytest.mark.parametrize("seed", range(6))
def test_many_steps_a_block_use_pooled_buffers(seed):
    rng = np.random.default_rng(100 + seed)
    equation = random_equation(rng)
    make = lambda: Expansion(equation, np.zeros(5), np.zeros(5), 4)  # noqa: E731
    new = 0.1 * rng.standard_normal((900, 5))
    expansion = make()
    terms = expansion.evaluate_taylor_series_terms(new)
    for i in (0, 299, 300, 599, 600, 899):
        close(terms[:, i : i + 1], each_by_itself(make, new[i : i + 1], 4))
    np.testing.assert_array_equal(expansion.evaluate_taylor_series_terms(new), terms)


def test_orders_grow_along_any_direction(rng):
    model = MODELS["net"]
    size = np.max(np.abs(model.step))
    new = model.hyper_val0 + 0.3 * size * rng.uniform(-1.0, 1.0, (5, model.hyper_val0.size))
    expected = each_by_itself(lambda: model.expand(6), new, 6)
    expansion = model.expand(6)
    for i, order in [(0, 2), (1, 4), (0, 6), (2, 1), (3, 3), (2, 6), (4, 6), (1, 6), (0, 5)]:
        got = expansion.evaluate_taylor_series_terms(new[i], max_order=order)
        close(got[:, None], expected[: order + 1, i : i + 1])


def test_only_the_first_two_blocks_are_replayed(rng, monkeypatch):
    replayed = []
    coefficient = Replay.coefficient
    monkeypatch.setattr(Replay, "coefficient", lambda self, given: replayed.append(1) or coefficient(self, given))
    model = MODELS["poisson"]
    expansion = model.expand(3)
    expansion._recursion._block = 4
    start = len(replayed)
    size = np.max(np.abs(model.step))
    new = model.hyper_val0 + 0.3 * size * rng.uniform(-1.0, 1.0, (40, model.hyper_val0.size))
    if model.hyper_val0.size == 1:
        new = np.sqrt(new)  # not on a line through the base point, were there two
    expansion._recursion.batch(lambda i, j, out: np.copyto(out, new[i:j] - model.hyper_val0), 40, np.empty((3, 40, 3)))
    assert len(replayed) - start == 2 * 3


def test_memory_does_not_grow_with_the_number_of_blocks(rng):
    n = 400
    x = rng.standard_normal((n, 3))

    def objective(b, w):
        return anp.sum(w * (anp.logaddexp(0.0, x @ b) - 0.5 * x @ b)) + anp.sum(b**2)

    expansion = Expansion.optimization_objective(objective, np.zeros(3), np.ones(n), 5)
    expansion._recursion._block = 8
    weights = rng.uniform(0.5, 1.5, (80, n))
    expansion.evaluate_taylor_series(weights[:24])
    (walk,) = expansion._recursion._idle[8]
    n_buffers = {key: len(pool) for key, pool in walk._ws._pools.items()}
    assert sum(n for (shape, _), n in n_buffers.items() if shape == (8, n)) <= 3 * 5 + 6
    expansion.evaluate_taylor_series(weights)
    assert n_buffers == {key: len(pool) for key, pool in walk._ws._pools.items()}


def test_a_failed_order_leaves_no_trace():
    # exp(x) = h has no series beyond overflow: the direction fails, others go on
    expansion = Expansion(lambda x, h: x - h**3 * 1e160, 0.0, 0.0, 4)
    with pytest.raises(vn.errors.NonFiniteError):
        expansion.evaluate_taylor_series(1e80)
    assert expansion.evaluate_taylor_series(1e-100) == pytest.approx(1e-140)


def test_threads_walk_apart(rng):
    model = MODELS["logistic"]
    size = np.max(np.abs(model.step))
    new = model.hyper_val0 + 0.5 * size * rng.uniform(-1.0, 1.0, (60, model.hyper_val0.size))
    expansion = model.expand(4)
    expected = np.stack([model.expand(4).evaluate_taylor_series(x) for x in new])
    got = np.empty_like(expected)

    def work(rows):
        for i in rows:
            got[i] = expansion.evaluate_taylor_series(new[i])

    threads = [threading.Thread(target=work, args=(range(j, 60, 4),)) for j in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
