"""Linear primitives on arrays: the series of the result is NumPy's own function of every coefficient."""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.numpy import numpy_wrapper as wrapper
from jet_checks import check_all, random_series

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError

ORDER = 4
RNG = np.random.default_rng(8)
S, V = np.float64(0.7), RNG.standard_normal(5)
M, Q, T = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 3)), RNG.standard_normal((2, 3, 4))
MASK = M > 0.1

# name -> (linear function written for a module ``np`` that is autograd's or NumPy's, base point)
CASES = {
    "reshape": (lambda np, x: np.reshape(x, (2, 6)), M),
    "reshape, order F": (lambda np, x: np.reshape(x, (2, 6), order="F"), M),
    "reshape, method, -1": (lambda np, x: x.reshape(4, -1), M),
    "ravel": (lambda np, x: np.ravel(x), T),
    "ravel, order F": (lambda np, x: np.ravel(x, order="F"), M),
    "flatten": (lambda np, x: x.flatten(), M),
    "squeeze": (lambda np, x: np.squeeze(x[:, None, :1]), M),
    "squeeze, axis": (lambda np, x: np.squeeze(x[None, :, :1], axis=-1), M),
    "expand_dims": (lambda np, x: np.expand_dims(x, -1), M),
    "expand_dims, 0": (lambda np, x: np.expand_dims(x, 0), S),
    "atleast_1d": (lambda np, x: np.atleast_1d(x), S),
    "atleast_2d": (lambda np, x: np.atleast_2d(x), V),
    "atleast_3d": (lambda np, x: np.atleast_3d(x), M),
    "transpose": (lambda np, x: np.transpose(x), T),
    "transpose, axes": (lambda np, x: np.transpose(x, (1, 2, 0)), T),
    "transpose, negative axes": (lambda np, x: np.transpose(x, (-1, 0, 1)), T),
    "transpose, negative axes of a cube": (lambda np, x: np.transpose(x[:, :2, :2], axes=(-1, 0, 1)), T),
    ".T": (lambda np, x: x.T, M),
    "swapaxes": (lambda np, x: np.swapaxes(x, 0, -1), T),
    "moveaxis": (lambda np, x: np.moveaxis(x, -1, 0), T),
    "moveaxis, tuples": (lambda np, x: np.moveaxis(x, (0, 1), (-1, 0)), T),
    "rollaxis": (lambda np, x: np.rollaxis(x, 2, 1), T),
    "roll": (lambda np, x: np.roll(x, 2), M),
    "roll, axis": (lambda np, x: np.roll(x, -1, axis=-1), T),
    "roll, several": (lambda np, x: np.roll(x, (1, 2), axis=(0, 1)), M),
    "flipud": (lambda np, x: np.flipud(x), M),
    "fliplr": (lambda np, x: np.fliplr(x), M),
    "rot90": (lambda np, x: np.rot90(x), M),
    "rot90, k": (lambda np, x: np.rot90(x, 3), M),
    "tile, number": (lambda np, x: np.tile(x, 3), V),
    "tile, number on a matrix": (lambda np, x: np.tile(x, 2), M),
    "tile, tuple": (lambda np, x: np.tile(x, (2, 3)), M),
    "tile, more reps than axes": (lambda np, x: np.tile(x, (2, 1, 3)), V),
    "tile, fewer reps than axes": (lambda np, x: np.tile(x, (1, 2)), T),
    "tile of a scalar": (lambda np, x: np.tile(x, (2, 2)), S),
    "repeat": (lambda np, x: np.repeat(x, 3), V),
    "repeat, flattened": (lambda np, x: np.repeat(x, 2), M),
    "repeat, axis": (lambda np, x: np.repeat(x, 2, axis=-1), T),
    "repeat, one each": (lambda np, x: np.repeat(x, [2, 0, 3], axis=0), M),
    "diag of a vector": (lambda np, x: np.diag(x, 1), V),
    "diag of a matrix": (lambda np, x: np.diag(x), M),
    "diag, below": (lambda np, x: np.diag(x, -1), M),
    "diagonal": (lambda np, x: np.diagonal(x, 0, -1, -2), T),
    "tril": (lambda np, x: np.tril(x, -1), M),
    "triu": (lambda np, x: np.triu(x, 1), T),
    "pad": (lambda np, x: np.pad(x, 2, "constant"), V),
    "pad, pair": (lambda np, x: np.pad(x, (1, 2), "constant"), M),
    "pad, widths": (lambda np, x: np.pad(x, ((0, 1), (2, 0)), mode="constant"), M),
    "pad, default mode": (lambda np, x: np.pad(x, 1), M),
    "broadcast_to": (lambda np, x: np.broadcast_to(x, (3, 5)), V),
    "broadcast_to, unit axis": (lambda np, x: np.broadcast_to(x, (2, 3, 4)), M[:, :1]),
    "broadcast_to, scalar": (lambda np, x: np.broadcast_to(x, (2, 3)), S),
    "full": (lambda np, x: np.full((2, 3), x), S),
    "full of an array": (lambda np, x: np.full((2, 5), x), V),
    "split": (lambda np, x: sum(np.split(x, 2, axis=1)), M),
    "split at": (lambda np, x: np.split(x, [1, 3])[1], V),
    "array_split": (lambda np, x: np.array_split(x, 3)[0], V),
    "vsplit, hsplit": (lambda np, x: np.vsplit(x, 3)[1] + np.hsplit(x, [1, 2])[1].T[0, 0], M),
    "dsplit": (lambda np, x: np.dsplit(x, 2)[1], T),
    "concatenate": (lambda np, x: np.concatenate((x, 2.0 * x[:, ::-1]), axis=0), M),
    "concatenate, negative axis, constant": (lambda np, x: np.concatenate((x, 0 * MASK, x), axis=-1), M),
    "vstack, hstack": (lambda np, x: np.vstack((x[0], np.hstack((x[1, :2], x[2, 2:])))), M),
    "column_stack": (lambda np, x: np.column_stack((x, x[::-1])), V),
    "stack": (lambda np, x: np.stack((x, 3.0 * x), axis=-1), M),
    "append": (lambda np, x: np.append(x, x[:2]), V),
    "array of scalars": (lambda np, x: np.array([x[0], 2.0 * x[3], x[0]]), V),
    "array of rows": (lambda np, x: np.array([[x[0], x[1]], [x[2], 0.0 * x[0]]]), V),
    "array of an array": (lambda np, x: np.array(x, ndmin=3), M),
    "r_": (lambda np, x: np.concatenate([x[:2], x[:1]]), V),
    "where": (lambda np, x: np.where(MASK, x, 2.0 * x), M),
    "where, broadcast": (lambda np, x: np.where(MASK, x[0], x[:, :1]), M),
    "where, number and scalar": (lambda np, x: np.where(MASK, 0.0, x[1, 1]), M),
    "real_if_close": (lambda np, x: np.real_if_close(x), M),
    "deg2rad": (lambda np, x: np.deg2rad(x) + np.radians(x) + np.rad2deg(x) + np.degrees(x), V),
    "negative": (lambda np, x: -x + np.negative(x), V),
    "add and subtract, ranks": (lambda np, x: x - x[0] + x[:, :1] - x[1, 2], M),
    "unary plus and sums": (lambda np, x: x + x + x - 2.0 * x, M),
    # indexing
    "index": (lambda np, x: x[1], M),
    "index, negative": (lambda np, x: x[-1, -2], M),
    "slices": (lambda np, x: x[::-1, 1:4:2], M),
    "ellipsis": (lambda np, x: x[..., 1], T),
    "newaxis": (lambda np, x: x[:, None, 1:], M),
    "ellipsis, newaxis and number": (lambda np, x: x[1, ..., None], T),
    "boolean": (lambda np, x: x[MASK], M),
    "boolean rows": (lambda np, x: x[np.array([True, False, True])], M),
    "integers": (lambda np, x: x[[2, 0]], M),
    "repeated integers": (lambda np, x: x[[0, 0, 1]], V),
    "integer array of two axes": (lambda np, x: x[np.array([[0, 4], [4, 4]])], V),
    "pairs": (lambda np, x: x[[0, 2, 0], [1, 3, 1]], M),
    "integers and slice": (lambda np, x: x[:, [0, 2, 2], 1:3], T),
    "integers apart": (lambda np, x: x[[0, 1, 1], :, [3, 0, 0]], T),
    "ix_": (lambda np, x: x[np.ix_([0, 2], [1, 1])], M),
    "NumPy integer": (lambda np, x: x[np.int64(1)], M),
    "loop": (lambda np, x: sum(i * x[i] for i in range(5)), V),
}  # fmt: skip


def rows(x0):
    (series,) = random_series(x0, ORDER, seed=4)
    return series


@pytest.mark.parametrize("name", CASES)
def test_acts_on_every_coefficient(name):
    fun, x0 = CASES[name]
    series = rows(x0)
    expected = np.stack([fun(np, c) for c in series])
    got = vn.jet(lambda x: fun(anp, x), series)
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_batches_passes_and_gradient(name):
    fun, x0 = CASES[name]
    # squared, so that the gradient of the linear map is applied to a series
    check_all(lambda x: fun(anp, x) + 0.5 * fun(anp, x) ** 2, x0)


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_transpose(name):
    """grad <c, L x> = L^T c, the matrix of L formed column by column."""
    fun, x0 = CASES[name]
    c = RNG.standard_normal(np.shape(fun(np, x0)))
    units = np.eye(np.size(x0)).reshape(-1, *np.shape(x0))
    columns = [np.sum(c * (fun(np, x0 + e) - fun(np, x0))) for e in units]
    weighted = lambda x: anp.sum(c * fun(anp, x) * (1.0 + 0.0 * anp.sum(x)))  # noqa: E731
    got = vn.jet(autograd.grad(weighted), rows(x0))[0]
    assert np.allclose(got, np.reshape(columns, np.shape(x0)), rtol=1e-11, atol=1e-12)


def test_select_and_make_diagonal():
    series = rows(V)
    got = vn.jet(lambda x: anp.select([V > 0.5, V > 0.0], [x, -x], 7.0), series)
    expected = np.stack([np.select([V > 0.5, V > 0.0], [c, -c], 7.0 if k == 0 else 0.0) for k, c in enumerate(series)])
    assert np.allclose(got, expected)
    got = vn.jet(lambda x: wrapper.make_diagonal(x, 0, -1, -2), rows(M))
    assert np.allclose(got, np.stack([[np.diag(r) for r in c] for c in rows(M)]))


def test_padding_with_a_constant_adds_it_at_order_zero_only():
    series = rows(V)
    got = vn.jet(lambda x: anp.pad(x, 1, "constant", constant_values=5.0), series)
    expected = np.stack([np.pad(c, 1, constant_values=5.0 if k == 0 else 0.0) for k, c in enumerate(series)])
    assert np.array_equal(got, expected)


def test_padding_that_computes_entries_is_refused():
    with pytest.raises(MissingRuleError, match="reflect_type='odd'"):
        vn.jet(lambda x: anp.pad(x, ((2, 0),), "reflect", reflect_type="odd"), rows(V))


def test_padding_that_repeats_entries():
    for mode in ("edge", "reflect", "symmetric", "wrap"):
        expected = np.stack([np.pad(c, 2, mode) for c in rows(V)])
        assert np.array_equal(vn.jet(lambda x, mode=mode: anp.pad(x, 2, mode), rows(V)), expected)


@pytest.mark.parametrize("mode", ["mean", "linear_ramp", "maximum"])
def test_padding_that_computes_is_refused(mode):
    with pytest.raises(MissingRuleError, match=f"pad.*{mode}"):
        vn.jet(lambda x: anp.pad(x, 1, mode), rows(V))


def test_repeated_indices_add_up_in_the_gradient():
    """grad of sum(x[[0, 0, 1]]^3) is (6 x_0^2, 3 x_1^2, 0, ...)."""
    series = rows(V)
    got = vn.jet(autograd.grad(lambda x: anp.sum(x[[0, 0, 1]] ** 3)), series)
    square = np.stack([sum(series[j] * series[k - j] for j in range(k + 1)) for k in range(ORDER + 1)])
    assert np.allclose(got, square * np.array([6.0, 3.0, 0.0, 0.0, 0.0]), rtol=1e-13)


def test_a_loop_over_groups_accumulates_into_one_vector():
    n = 300
    series = rows(RNG.standard_normal(n))
    got = vn.jet(autograd.grad(lambda x: sum(x[i] * x[(i + 1) % n] for i in range(n))), series)
    assert np.allclose(got, np.roll(series, 1, axis=1) + np.roll(series, -1, axis=1), rtol=1e-13)


def test_arguments_are_not_written_into():
    series = rows(T)
    before = series.copy()
    vn.jet(autograd.grad(lambda x: anp.sum(x[[0, 0]] ** 2) + anp.sum(x[:, 1] * x[:, 2])), series)
    assert np.array_equal(series, before)
