"""The tape: what is recorded, merged and dropped, memory, threads, and that nothing of autograd's is left changed."""

import math
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import scipy.sparse
from autograd.core import primitive_vjps
from autograd.scipy import stats
from autograd.tracer import trace_stack
from jet_checks import check_gradient, check_two_pass
from random_programs import cauchy_coefficients, random_program

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError, MutationError, NonFiniteError
from vittles_ng.taylor.constants import constant_key
from vittles_ng.taylor.recorded import Recorded
from vittles_ng.taylor.structure import Accumulation
from vittles_ng.taylor.tape import record
from vittles_ng.taylor.tracing import TRACE_LOCK

X = np.array([0.3, 0.7, 1.1])
LINE = np.array([[0.3, 0.7, 1.1], [1.0, -0.5, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def names(fun, *args):
    """Names of the calls on the tape."""
    (tape,) = record(fun, *args)
    return [name for name, kernel in zip(tape.names, tape.kernels, strict=True) if kernel is not None]


def exp_series(x, d, order):
    """Coefficients of exp(x + t d)."""
    terms = [np.exp(x)]
    for k in range(1, order + 1):
        terms.append(terms[-1] * d / k)
    return np.array(terms)


# ---- what is on the tape ----


def test_equal_calls_are_merged():
    def fun(x):
        return anp.exp(x) * anp.sin(anp.exp(x)) + anp.sin(anp.exp(x))

    found = names(fun, X)
    assert found.count("exp") == 1 and found.count("sin") == 1


def test_calls_of_a_gradient_are_merged_with_those_of_the_function():
    # the gradient of sum(exp(a x)) has a factor exp(a x) of its own
    found = names(autograd.grad(lambda x: anp.sum(anp.exp(2.0 * x)) + anp.sum(anp.exp(2.0 * x) ** 2)), X)
    assert found.count("exp") == 1


DIFFERENT = {
    "constants": (lambda x: 2.0 * x * (3.0 * x), [3, 3, 3], lambda x: 6.0 * x**2),
    "arrays": (lambda x: x * np.array([1.0, 2.0, 3.0]) + x * np.array([1.0, 2.0, 4.0]), None, lambda x: x * [2, 4, 7]),
    "indices": (lambda x: anp.exp(x[0]) + anp.exp(x[1]), None, lambda x: np.exp(x[0]) + np.exp(x[1])),
    "slices": (lambda x: x[0:2] * x[1:3], None, lambda x: x[0:2] * x[1:3]),
    "index arrays": (lambda x: x[np.array([0, 1])] * x[np.array([2, 1])], None, lambda x: x[[0, 1]] * x[[2, 1]]),
    "masks": (lambda x: x[X > 0.5] - x[X < 1.0], None, lambda x: x[X > 0.5] - x[X < 1.0]),
    "order of operands": (lambda x: (x - anp.sin(x)) * (anp.sin(x) - x), None, lambda x: -((x - np.sin(x)) ** 2)),
    "powers": (lambda x: x**2 + x**3 + x**2.5, None, lambda x: x**2 + x**3 + x**2.5),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_calls_are_not_merged(name):
    fun, _, plain = DIFFERENT[name]
    series = vn.jet(fun, LINE[:2])
    h = 1e-5
    slope = (np.asarray(plain(X + h * LINE[1])) - np.asarray(plain(X - h * LINE[1]))) / (2.0 * h)
    np.testing.assert_allclose(series[0], plain(X), rtol=1e-14)
    np.testing.assert_allclose(series[1], slope, rtol=1e-8)


def test_keywords_tell_calls_apart():
    matrix = np.arange(4.0).reshape(2, 2)
    series = vn.jet(lambda x: anp.sum(x, axis=0) * anp.sum(x, axis=1), np.stack([matrix, np.ones((2, 2))]))
    np.testing.assert_allclose(series[1], 2.0 * matrix.sum(axis=0) + 2.0 * matrix.sum(axis=1))


def test_calls_that_reach_no_output_are_dropped():
    def fun(x, y):
        anp.exp(x) + anp.cos(y)
        return 3.0 * x

    assert names(fun, X, X) == ["multiply"]
    # the value of the objective is not needed for its gradient
    assert "log" not in names(autograd.grad(lambda x: anp.sum(x**2 + anp.log(np.ones(3)))), X)
    found = names(autograd.grad(lambda x: anp.sum(x) + anp.exp(anp.sum(x))), X)
    assert found.count("exp") == 1


def test_calls_of_constants_are_not_recorded():
    assert names(lambda x: x * anp.exp(anp.sum(anp.sin(np.ones(3)))), X) == ["multiply"]
    assert names(lambda x: x, X) == []
    assert names(lambda x: anp.ones(3), X) == []


def test_outputs_that_depend_on_no_argument():
    constant, dependent = vn.jet(lambda x: (anp.exp(np.ones(2)), 2.0 * x), LINE)
    np.testing.assert_array_equal(constant, [[np.e, np.e]] + [[0.0, 0.0]] * 4)
    np.testing.assert_array_equal(dependent, 2.0 * LINE)
    recorded = Recorded(lambda x, y: (x * 2.0, y * 3.0, np.ones(1)), (X, X))
    assert recorded.depends_on(0) and recorded.depends_on(1)
    assert not Recorded(lambda x, y: x * 2.0, (X, X)).depends_on(1)
    # a derivative that vanishes does not depend either
    assert not Recorded(lambda x, y: anp.floor(y) + x, (X, X)).depends_on(1)


def test_sums_become_one_accumulation():
    constants = np.linspace(0.1, 2.0, 50)

    def fun(x):
        total = x * constants[0]
        for c in constants[1:]:
            total = total + x * c
        return total

    (tape,) = record(fun, X)
    sums = [i for i, kernel in enumerate(tape.kernels) if isinstance(kernel, Accumulation)]
    assert len(sums) == 1 and len(tape.parents[sums[0]]) == 50
    np.testing.assert_allclose(vn.jet(fun, LINE), constants.sum() * LINE, rtol=1e-14)


def test_a_partial_sum_that_is_used_elsewhere_stays():
    def fun(x):
        partial = x + 2.0 * x
        return partial + anp.exp(partial) + partial

    expected = exp_series(3.0 * X, 3.0 * LINE[1], 4)
    np.testing.assert_allclose(vn.jet(fun, LINE), 6.0 * LINE + expected, rtol=1e-13)


def test_a_term_that_is_added_twice_counts_twice():
    np.testing.assert_allclose(vn.jet(lambda x: x + x + x, LINE), 3.0 * LINE, rtol=1e-15)
    np.testing.assert_allclose(vn.jet(autograd.grad(lambda x: anp.sum(x + x)), LINE)[0], [2.0] * 3)


def groups_gradient(n_groups, size):
    """Gradient of sum_g |b_g - h|^2 (1 + h^2) / 2 over groups of entries, written as a loop."""

    def objective(b, h):
        total = 0.0
        for g in range(n_groups):
            total = total + 0.5 * anp.sum((b[g * size : (g + 1) * size] - h[0]) ** 2) * (1.0 + h[0] ** 2)
        return total

    return autograd.grad(objective)


def test_a_loop_over_groups_leaves_no_full_length_arrays():
    n_groups, size = 400, 100
    n = n_groups * size
    b, h = np.linspace(-1.0, 1.0, n), np.array([0.5])
    tracemalloc.start()
    recorded = Recorded(groups_gradient(n_groups, size), (b, h), corrected=0)
    replay = recorded.start(1)
    (first,) = replay.coefficient([None, np.ones((1, 1))])
    first = np.array(first)
    replay.correct(np.ones((1, n)))
    (second,) = replay.coefficient([None, None])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.25 * n_groups * n * 8  # one full-length array for every group takes n_groups * n * 8 bytes
    # G = (b - h)(1 + h^2) along h = 0.5 + t and b = b_0 + t
    np.testing.assert_allclose(first[0], (b - 0.5) - 1.25, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(second[0], b - 0.5, rtol=1e-13, atol=1e-13)


def test_a_loop_over_groups_is_one_accumulation():
    n = 2000
    (tape,) = record(groups_gradient(n, 1), np.linspace(-1.0, 1.0, n), np.array([0.5]))
    full = [i for i, v in enumerate(tape.values) if np.shape(v) == (n,) and tape.kernels[i] is not None]
    assert len(full) == 1 and isinstance(tape.kernels[full[0]], Accumulation)
    assert len(tape.parents[full[0]]) == n


def test_overlapping_groups_accumulate():
    rows = [np.array([0, 1]), np.array([1, 2, 1]), slice(0, 2), 2, [0, 2], (Ellipsis,), np.array([True, False, True])]

    def objective(x):
        return sum(anp.sum(anp.exp(x[i])) for i in rows)

    counts = np.array([sum(np.sum(np.ravel(np.arange(3)[i]) == j) for i in rows) for j in range(3)])
    expected = counts * exp_series(X, LINE[1], 4)
    np.testing.assert_allclose(vn.jet(autograd.grad(objective), LINE), expected, rtol=1e-13)


# ---- random programs ----


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_against_cauchy_integrals(seed):
    rng = np.random.default_rng(seed)
    x0, d, order = 0.5 * rng.standard_normal(5), 0.1 * rng.standard_normal(5), 6
    fun = random_program(rng, x0)
    expected = cauchy_coefficients(lambda z: fun(x0 + z * d), order)
    got = vn.jet(fun, np.stack([x0, d] + [np.zeros(5)] * (order - 1)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(got[:3], expected[:3], rtol=1e-8, atol=1e-14)
    check_two_pass(fun, x0, order=4, rtol=1e-10)
    check_gradient(lambda x: anp.sum(anp.sin(fun(x))), x0, order=4, n_series=1, rtol=1e-10)


# ---- control flow, containers ----


def test_control_flow_is_settled_at_the_base_point():
    def branchy(x):
        y = x
        while y < 10.0:
            y = 2.0 * y
        return anp.exp(y) if x > 1.0 else anp.sin(y)

    line = np.array([0.9, 1.0, 0.0, 0.0])
    expected = [np.sin(14.4), 16 * np.cos(14.4), -128 * np.sin(14.4), -(16.0**3) / 6 * np.cos(14.4)]
    np.testing.assert_allclose(vn.jet(branchy, line), expected, rtol=1e-13)
    expansion = vn.ParametricSensitivityTaylorExpansion(
        lambda x, h: x - (h**2 if h[0] > 1.0 else h**3), [4.0], [2.0], 3
    )
    # beyond the switch the series goes on along the branch of the base point
    np.testing.assert_allclose(expansion.evaluate_taylor_series([0.5]), [0.25], rtol=1e-14)


def test_newton_iterations_inside_the_function_converge_in_the_series_too():
    def root(a):
        y = a / 2.0 + 0.5
        for _ in range(9):
            y = 0.5 * (y + a / y)
        return y

    expected = [2.0, 0.25, -1 / 64, 1 / 512]
    np.testing.assert_allclose(vn.jet(root, np.array([4.0, 1.0, 0.0, 0.0])), expected, rtol=1e-13)


def test_containers_inside_and_returned():
    def fun(x):
        parts = {"a": x[0], "b": [x[1], (x[2], x[0])]}
        return parts["a"] * parts["b"][0], anp.array([parts["b"][1][0], parts["b"][1][1]])

    product, pair = vn.jet(fun, LINE)
    np.testing.assert_allclose(product, [0.21, 0.7 - 0.15, -0.5, 0, 0], rtol=1e-14, atol=1e-16)
    np.testing.assert_array_equal(pair, LINE[:, [2, 0]])
    with pytest.raises(TypeError, match="object array"):
        vn.jet(lambda x: {"a": x}, LINE)
    with pytest.raises(TypeError, match="from NoneType"):
        vn.jet(lambda x: None, LINE)


# ---- how often the function runs; state that must be left alone ----


def test_the_function_runs_once():
    runs = []

    def fun(x):
        runs.append(1)
        return anp.exp(x)

    recorded = Recorded(fun, (X,))
    for n_steps in (1, 5, 5):
        replay = recorded.start(n_steps)
        for k in range(6):
            replay.coefficient([np.ones((n_steps, 3)) if k == 0 else None])
    assert len(runs) == 1


def test_arguments_are_copied():
    x = X.copy()
    recorded = Recorded(lambda x: anp.exp(x) * x, (x,))
    x[:] = 7.0
    np.testing.assert_array_equal(recorded.values[0], np.exp(X) * X)
    (c,) = recorded.start(1).coefficient([np.ones((1, 3))])
    np.testing.assert_allclose(c[0], np.exp(X) * (X + 1.0), rtol=1e-14)


def test_given_coefficients_are_not_written_into():
    recorded = Recorded(lambda x: (x, x + 0.0, x.T, x[:], anp.exp(x) + x), (X,), corrected=0)
    given = np.ones((2, 3))
    replay = recorded.start(2)
    for _ in range(4):
        replay.coefficient([given])
        replay.correct(given)
    np.testing.assert_array_equal(given, 1.0)


def test_two_replays_of_one_tape_are_independent():
    recorded = Recorded(lambda x: anp.exp(anp.sin(x)), (X,))

    def run(*replays_and_directions):
        found = [[] for _ in replays_and_directions]
        for k in range(5):
            for out, (replay, d) in zip(found, replays_and_directions, strict=True):
                out.append(np.array(replay.coefficient([d if k == 0 else None])[0]))
        return found

    d, e = np.array([[1.0, -0.5, 2.0]]), np.array([[0.1, 0.2, 0.3], [1.0, 1.0, 1.0]])
    together = run((recorded.start(1), d), (recorded.start(2), e))
    (alone,) = run((recorded.start(1), d))
    (other,) = run((recorded.start(2), e))
    for k in range(5):
        np.testing.assert_array_equal(together[0][k], alone[k])
        np.testing.assert_array_equal(together[1][k], other[k])


class Stop(Exception):
    pass


def raise_stop(x):
    anp.abs(x)
    raise Stop


@pytest.mark.parametrize(
    ("fun", "error"),
    [
        (raise_stop, Stop),
        (autograd.grad(raise_stop), Stop),
        (lambda x: anp.log(x - 2.0), NonFiniteError),
        (lambda x: {"a": x}, TypeError),
    ],
)
def test_nothing_of_autograds_is_left_changed(fun, error):
    before, height = dict(primitive_vjps), trace_stack.top
    with pytest.raises(error):
        record(fun, X)
    record(autograd.grad(lambda x: anp.sum(anp.abs(x) + x**3)), X)
    assert primitive_vjps == before
    assert trace_stack.top == height
    assert TRACE_LOCK.acquire(blocking=False)
    TRACE_LOCK.release()
    np.testing.assert_allclose(autograd.grad(lambda x: anp.sum(x**2))(X), 2.0 * X)


def test_the_lock_is_free_after_an_error_in_another_thread():
    with ThreadPoolExecutor(1) as pool, pytest.raises(Stop):
        pool.submit(record, raise_stop, X).result()
    assert names(lambda x: anp.exp(x), X) == ["exp"]


def test_jets_inside_of_functions_that_are_recorded():
    def fun(x):
        return x * vn.jet(anp.exp, np.array([0.0, 1.0, 0.0]))[2]

    np.testing.assert_allclose(vn.jet(fun, LINE), 0.5 * LINE, rtol=1e-15)


# ---- arrays that change while the function runs ----


def buffer_reused(n):
    rows = np.cos(np.arange(3.0 * 3 * n)).reshape(3, n, 3)

    def fun(x):
        w, total = np.empty((n, 3)), 0.0
        for r in rows:
            w[:] = r
            total = total + anp.sum(anp.sin(w @ x))
        return total

    return fun


def buffer_restored(n):
    matrix = np.zeros((n, 3))

    def fun(x):
        total = 0.0
        for i in range(3):
            matrix[i, i] = 1.0
            total = total + anp.sum(matrix @ x) ** 2
            matrix[i, i] = 0.0
        return total

    return fun


def rows_exchanged(n):
    # 0 and 1 trade places: neither the sum of all entries nor any low bit changes
    def fun(x):
        matrix = np.eye(n, 3)
        y = matrix @ x
        matrix[:] = np.roll(matrix, 1, axis=0)
        return anp.sum(y**2 * (matrix @ x))

    return fun


def index_changed(x):
    index = [0, 1]
    y = x[index]
    index[0] = 2
    return y * x[index]


def keyword_changed(x):
    axes = [0]
    y = anp.tensordot(anp.outer(x, x), x, axes=(axes, [0]))
    axes[0] = 1
    return y


def inside_a_gradient(x):
    # linear: the forward call leaves no node of the tape that the gradient needs
    w = np.ones(3)

    def linear(x):
        y = anp.sum(x * w)
        w[:] = 5.0
        return y

    return x * autograd.grad(linear)(x)


@pytest.mark.parametrize("n", [3, 100, 1000])
@pytest.mark.parametrize("make", [buffer_reused, buffer_restored, rows_exchanged])
def test_a_buffer_that_is_used_again_raises(make, n):
    with pytest.raises(MutationError, match=rf"shape \({n}, 3\) was given to 'matmul' and changed"):
        vn.jet(make(n), LINE)
    with pytest.raises(MutationError):
        vn.jet(autograd.grad(make(n)), LINE)


@pytest.mark.parametrize("fun", [index_changed, keyword_changed, inside_a_gradient])
def test_constants_of_any_kind_that_change_raise(fun):
    with pytest.raises(MutationError):
        vn.jet(fun, LINE)


@pytest.mark.parametrize("dtype", [float, np.float32, complex, np.int64, bool])
@pytest.mark.parametrize("n", [3, 1000])
@pytest.mark.parametrize("arranged", [np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]])
def test_one_changed_entry_is_seen_and_equal_arrays_are_not_told_apart(dtype, n, arranged):
    matrix = arranged((np.cos(np.arange(3.0 * n)).reshape(n, 3) > 0).astype(dtype))
    for i in (0, n - 1):
        old = constant_key(matrix), constant_key((1.0, [matrix]))
        matrix[i, 1] = 1 - matrix[i, 1].real
        assert constant_key(matrix) != old[0] and constant_key((1.0, [matrix])) != old[1]
        matrix[i, 1] = 1 - matrix[i, 1].real
        assert (constant_key(matrix), constant_key((1.0, [matrix]))) == old


@pytest.mark.parametrize("n", [5, 5000])
def test_the_last_bit_of_an_entry_is_seen(n):
    x = np.linspace(1.0, 1e8, n)
    old = constant_key(x)
    x[n // 2] = np.nextafter(x[n // 2], np.inf)
    assert constant_key(x) != old


def test_constants_may_be_shared_and_rebuilt():
    def fun(x):
        return sum(anp.sum(np.full(1000, float(i)) * x[0] + w) for i in range(3))

    w = np.ones(1000)
    np.testing.assert_allclose(vn.jet(fun, LINE), [3000.0 * 0.3 + 3000.0, 3000.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(w, 1.0)


# ---- traced values where none can be ----


@autograd.extend.primitive
def scaled(x, scale=1.0):
    return x * scale


def assigned(x):
    x[0] = 1.0


BY_OTHER_WAYS = {
    "a keyword of scipy's": (lambda x: stats.norm.logpdf(np.ones(3), 0.0, scale=x), "'scale' of 'logpdf'"),
    "one under a gradient": (
        autograd.grad(lambda x: anp.sum(stats.norm.logpdf(x, 0.0, scale=x))),
        "'scale' of 'logpdf'",
    ),
    "a keyword of numpy's": (lambda x: anp.clip(x, a_min=x, a_max=2.0), "'a_min' of 'clip'"),
    "in a list": (lambda x: anp.pad(x, 1, mode="constant", constant_values=[x[0], x[1]]), "'constant_values' of 'pad'"),
    "a user's primitive": (lambda x: scaled(x, scale=x), "'scale' of 'scaled'"),
    "a closure": (lambda x: autograd.extend.primitive(lambda y: y * x)(x), "returned a traced value"),
    "an object array": (lambda x: x * np.array([x[0], x[1], 1.0], dtype=object), "object array of shape"),
    "numpy": (lambda x: np.logaddexp(0.0, np.dot(np.eye(3), x)), "autograd.numpy"),
    "math": (lambda x: math.exp(x[0]), "autograd.numpy"),
    "assignment": (assigned, "instead of assigning"),
    "a sparse matrix": (lambda x: scipy.sparse.eye(3).tocsr() @ x, "sparse"),
}


@pytest.mark.parametrize("name", BY_OTHER_WAYS)
def test_a_traced_value_that_autograd_cannot_follow_is_named(name):
    fun, what = BY_OTHER_WAYS[name]
    with pytest.raises(TypeError, match=what):
        vn.jet(fun, LINE)


def test_errors_of_the_users_own_pass_unchanged():
    def fun(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        vn.jet(fun, LINE)


def test_missing_rules_are_named():
    @autograd.extend.primitive
    def oddity(x):
        return 2.0 * x

    with pytest.raises(MissingRuleError, match="'oddity' has no Taylor rule.*defjet"):
        record(lambda x: oddity(x), X)
    assert names(lambda x: 3.0 * x if oddity(x) is None else x, X) == []  # a call that reaches no output needs no rule


def test_paragamis_triangular_matrices_have_a_rule():
    # a vector of 6 to the lower triangle of a matrix; paragami is recognised, not imported
    def _unvectorize_ld_matrix(vec):
        assert vec.shape == (6,)
        matrix = np.zeros((3, 3))
        matrix[np.tril_indices(3)] = vec
        return matrix

    _unvectorize_ld_matrix.__module__ = "paragami.psdmatrix_patterns"
    unvectorize = autograd.extend.primitive(_unvectorize_ld_matrix)
    autograd.extend.defvjp(unvectorize, lambda ans, vec: lambda g: g[np.tril_indices(3)])
    x, d = np.linspace(0.1, 0.9, 6), np.linspace(1.0, -1.0, 6)
    line = np.stack([x, d, 0.0 * x, 0.0 * x])
    y = vn.jet(lambda v: anp.exp(unvectorize(v)), line)
    for k, coefficient in enumerate(exp_series(x, d, 3)):
        np.testing.assert_allclose(y[k][np.tril_indices(3)], coefficient, rtol=1e-14)
        np.testing.assert_array_equal(y[k][np.triu_indices(3, 1)], float(k == 0))
    gradient = vn.jet(autograd.grad(lambda v: anp.sum(anp.exp(unvectorize(v)))), line)
    np.testing.assert_allclose(gradient, exp_series(x, d, 3), rtol=1e-14)


# ---- threads ----


def test_replays_run_while_another_thread_records():
    def fun(x):
        return autograd.grad(lambda z: anp.sum(anp.exp(anp.sin(z)) * z))(x)

    recorded = Recorded(fun, (np.linspace(0.0, 1.0, 400),))

    def run(seed):
        d = np.random.default_rng(seed).standard_normal((4, 400))
        replay = recorded.start(4)
        return [np.array(replay.coefficient([d if k == 0 else None])[0]) for k in range(5)]

    expected = [run(seed) for seed in range(8)]
    cubes = autograd.grad(lambda z: anp.sum(z**3))
    with ThreadPoolExecutor(1) as recorder, ThreadPoolExecutor(3) as pool:
        made = [recorder.submit(vn.jet, cubes, LINE[:3]) for _ in range(60)]
        got = list(pool.map(run, list(range(8)) * 3))
        made = [future.result() for future in made]
    for found, wanted in zip(got, expected * 3, strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    for series in made:
        np.testing.assert_allclose(series, [3 * X**2, 6 * X * LINE[1], 3 * LINE[1] ** 2], rtol=1e-14)


def test_functions_that_call_grad_inside_are_recorded_from_several_threads():
    def fun(x):
        inner = autograd.grad(lambda z: anp.sum(anp.exp(z * x)))(anp.ones(3))
        return anp.sum(inner * x)

    # sum x^2 exp(x): the first derivative is sum (x^2 + 2 x) exp(x)
    def work(i):
        x = X + 0.01 * i
        series = vn.jet(fun, np.stack([x, np.ones(3)]))
        return abs(series[1] - np.sum((x**2 + 2.0 * x) * np.exp(x))) / series[1]

    with ThreadPoolExecutor(6) as pool:
        assert max(pool.map(work, range(200))) < 1e-13
