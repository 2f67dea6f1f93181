"""Buffers that are used again, and the elementary sums over coefficients."""

import numpy as np
import pytest

from vittles_ng.taylor.series import Workspace, add_coefficients, lift, product_sum, self_product

SHAPES = [(3, 100), (1, 257), (2, 16, 16), (300,), (2, 3, 5, 40)]

VIEWS = {
    "the array": lambda a: a,
    "a slice": lambda a: a[..., ::2],
    "a view of a view": lambda a: a[1:].T[:1],
    "a reshape": lambda a: a.reshape(-1)[:3],
    "a broadcast": lambda a: np.broadcast_to(a, (4, *a.shape)),
    "another type": lambda a: a.view(np.int64),
    "the base alone": lambda a: a.base,
    "a memoryview": memoryview,
}


def overlaps(a, b):
    return np.shares_memory(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("view", VIEWS)
def test_a_buffer_that_is_referred_to_is_not_handed_out(view):
    ws = Workspace(2)
    held = VIEWS[view](ws.empty((2, 400)))
    later = [ws.empty((2, 400)) for _ in range(3)]
    assert not any(overlaps(held, a) for a in later)
    assert not any(overlaps(a, b) for i, a in enumerate(later) for b in later[:i])


@pytest.mark.parametrize("hold", [lambda a: [a], lambda a: {"x": (a[1],)}, lambda a: lambda: a, lambda a: iter(a)])
def test_a_buffer_in_a_container_closure_or_iterator_is_not_handed_out(hold):
    ws = Workspace(2)
    a = ws.empty((2, 400))
    address = a.ctypes.data
    keeper = hold(a)
    del a
    assert ws.empty((2, 400)).ctypes.data != address
    del keeper


def test_a_buffer_is_used_again_once_nothing_refers_to_it():
    ws = Workspace(2)
    a = ws.empty((2, 400))
    address = a.ctypes.data
    view = a[1, ::3]
    del a
    b = ws.empty((2, 400))
    assert b.ctypes.data != address
    del view
    assert ws.empty((2, 400)).ctypes.data == address


def test_workspaces_share_nothing():
    one, other = Workspace(1), Workspace(1)
    address = one.empty((1, 500)).ctypes.data
    kept = one.empty((1, 500))
    assert kept.ctypes.data == address
    assert not overlaps(kept, other.empty((1, 500)))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_type_and_alignment(shape, dtype):
    ws = Workspace(shape[0])
    arrays = [ws.empty(shape, dtype) for _ in range(5)]
    for a in arrays:
        assert (a.shape, a.dtype) == (shape, dtype)
        assert a.flags.c_contiguous and a.flags.writeable
        assert a.ctypes.data % 64 == 0


@pytest.mark.parametrize("shape", [(1,), (2, 3), (2, 0), (0, 500), (1, 255)])
def test_small_and_empty_arrays(shape):
    ws = Workspace(shape[0])
    a, b = ws.empty(shape), ws.empty(shape)
    assert a.shape == b.shape == shape
    assert not overlaps(a, b)


def test_random_use_never_writes_into_what_is_held(rng):
    ws = Workspace(1)
    held = []
    for i in range(2000):
        shape = SHAPES[rng.integers(len(SHAPES))]
        a = ws.empty(shape)
        a[...] = i
        held.append((i, a[..., :7] if rng.random() < 0.5 else a))
        del a
        if len(held) > 12:
            del held[rng.integers(len(held))]
        for number, array in held:
            assert array.flat[0] == number and array.flat[array.size - 1] == number


def test_sums_and_products_broadcast_and_leave_operands_alone(rng):
    ws = Workspace(3)
    a, b = rng.standard_normal((3, 1, 40)), rng.standard_normal((10, 1))
    kept = a.copy(), b.copy()
    np.testing.assert_array_equal(ws.multiply(a, b), a * b)
    np.testing.assert_array_equal(ws.add(a, b), a + b)
    np.testing.assert_array_equal((a, b)[0], kept[0])
    np.testing.assert_array_equal((a, b)[1], kept[1])
    assert ws.add(None, b) is b and ws.add(a, None) is a and ws.add(None, None) is None
    assert ws.add(a, 1j * a).dtype == np.complex128


def test_containers_are_added_key_by_key(rng):
    ws = Workspace(1)
    x, y, z = rng.standard_normal((3, 1, 4))
    total = add_coefficients(ws, {0: x, "a": {1: y}}, {"a": {1: z, 2: x}})
    np.testing.assert_array_equal(total[0], x)
    np.testing.assert_array_equal(total["a"][1], y + z)
    np.testing.assert_array_equal(total["a"][2], x)
    assert add_coefficients(ws, None, total) is total and add_coefficients(ws, total, None) is total


def test_lift_puts_axes_behind_the_steps():
    c = np.arange(6.0).reshape(2, 3)
    assert lift(c, 3, 1).shape == (2, 1, 1, 3)
    assert lift(c, 1, 1) is c
    assert lift(c, 3, 0) is c  # order 0 has no step axis and broadcasts as it is
    assert lift(None, 3, 1) is None


def random_series(rng, order, zeros):
    series = [rng.standard_normal(5)] + [rng.standard_normal((2, 5)) for _ in range(order)]
    return [None if k in zeros else c for k, c in enumerate(series)]


@pytest.mark.parametrize("zeros", [(), (0,), (1, 3), (2,), (0, 1, 2, 3, 4, 5)])
@pytest.mark.parametrize("first", [0, 1])
def test_products_of_series(zeros, first, rng):
    ws, order = Workspace(2), 5
    a, b = random_series(rng, order, zeros), random_series(rng, order, ())

    def dense(c):
        return np.zeros((2, 5)) if c is None else c

    for k in range(1, order + 1):
        expected = sum((dense(a[j]) * dense(b[k - j]) for j in range(first, k + 1)), np.zeros((2, 5)))
        np.testing.assert_allclose(dense(product_sum(ws, a, b, k, first, k)), expected, rtol=1e-13, atol=1e-15)
        expected = sum((dense(a[j]) * dense(a[k - j]) for j in range(first, k + 1 - first)), np.zeros((2, 5)))
        np.testing.assert_allclose(dense(self_product(ws, a, k, first)), expected, rtol=1e-13, atol=1e-15)
    if len(zeros) > order:
        assert product_sum(ws, a, b, order, 0, order) is None
        assert self_product(ws, a, order) is None
