"""Patterns: no dependence is missed (by series of perturbed directions), and the usual sparse models are exact."""

import autograd
import autograd.numpy as anp
import autograd.scipy.linalg as asl
import autograd.scipy.special as asp
import autograd.scipy.stats as ast
import numpy as np
import pytest
import scipy.sparse
from autograd.extend import defvjp, primitive, vspace
from autograd.misc.flatten import flatten
from autograd.numpy import numpy_wrapper as wrapper
from problems import MODELS
from random_programs import random_program
from test_rules_arrays import CASES as ARRAYS
from test_rules_choices import OFF
from test_rules_containers import CASES as CONTAINERS
from test_rules_containers import V as ROW
from test_rules_products import CASES as PRODUCTS
from test_rules_reductions import CASES as REDUCTIONS
from test_rules_signal import CONVOLUTIONS, TRANSFORMS, convolve
from test_rules_special import ARRAYS as SPECIAL

import vittles_ng as vn
from vittles_ng.errors import SizeError
from vittles_ng.taylor import dependence, dependence_rules, index_sets
from vittles_ng.taylor.index_sets import IndexSets
from vittles_ng.taylor.recorded import Recorded

RNG = np.random.default_rng(2)


def moved(recorded, argnum=0, output=0, order=3, seed=0):
    """Which entries of an output change, in coefficients to an order, when an entry of a direction does.

    The oracle: everything found here must be in the pattern.
    """
    rng = np.random.default_rng(seed)
    tape = recorded.tapes[0]
    shape = np.shape(tape.values[tape.roots[argnum]])
    n, size = int(np.prod(shape)), np.size(recorded.values[output])
    rows = np.tile(0.3 * rng.standard_normal(n), (n + 1, 1))
    rows[np.arange(1, n + 1), np.arange(n)] += 0.3 * rng.uniform(0.5, 1.0, n)
    replay = recorded.start(n + 1)
    found = np.zeros((size, n), dtype=bool)
    for k in range(order):
        given = [None] * len(tape.roots)
        if k == 0:
            given[argnum] = rows.reshape(n + 1, *shape)
        with np.errstate(all="ignore"):
            c = replay.coefficient(given)[output]
        if c is not None:
            c = np.broadcast_to(c, (n + 1, *np.shape(recorded.values[output]))).reshape(n + 1, size)
            found |= (np.abs(c[1:] - c[0]) > 1e-9 * np.max(np.abs(c), initial=1e-300)).T
    return found


def check_contains(fun, *args):
    """The pattern of every output in every argument has what moves; returns the recording."""
    recorded = Recorded(fun, args)
    for argnum in range(len(args)):
        for output, value in enumerate(recorded.values):
            pattern = recorded.pattern(argnum, output)
            assert pattern.format == "csc" and pattern.has_sorted_indices and pattern.data.all()
            assert pattern.shape == (np.size(value), np.size(args[argnum]))
            found = moved(recorded, argnum, output)
            assert not np.any(found & ~pattern.toarray()), (
                f"argument {argnum}, output {output}: {recorded.tapes[0].names}"
            )
    return recorded


def exact(fun, *args, argnum=0):
    """The pattern, which must be exactly what moves."""
    recorded = Recorded(fun, args)
    pattern = recorded.pattern(argnum).toarray()
    assert np.array_equal(pattern, moved(recorded, argnum))
    return pattern


# ---- nothing is missed ----


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    model = MODELS[name]
    for scale in (0.0, 0.02, 0.05):
        x = model.input_val0 + scale * np.cos(np.arange(1.0, model.input_val0.size + 1.0))
        recorded = check_contains(model.equation, x, model.hyper_val0)
        jacobian = recorded.pushed(0, np.eye(x.size)).T
        assert not np.any((jacobian != 0.0) & ~recorded.pattern(0).toarray())


@pytest.mark.parametrize("seed", range(25))
def test_random_programs(seed):
    rng = np.random.default_rng(seed)
    x0 = 0.5 * rng.standard_normal(5)
    fun = random_program(rng, x0)
    check_contains(fun, x0)
    check_contains(autograd.grad(lambda x: anp.sum(fun(x) ** 2)), x0)


def _matrix(*shape):
    x = np.random.default_rng(3).standard_normal(shape)
    return x @ x.swapaxes(-1, -2) + 3.0 * np.eye(shape[-1]) + np.diag(np.arange(float(shape[-1])))


SPACE, STACK, SQUARE, VECTOR = vspace(np.ones(3)), _matrix(2, 3, 3), _matrix(3, 3), np.linspace(0.2, 0.8, 4)
LINEAR_ALGEBRA = {
    "inv": (anp.linalg.inv, STACK),
    "det": (anp.linalg.det, STACK),
    "slogdet": (lambda a: anp.linalg.slogdet(a)[1], STACK),
    "cholesky": (anp.linalg.cholesky, STACK),
    "eigh": (lambda a: anp.linalg.eigh(a)[0] + anp.sum(anp.linalg.eigh(a)[1] ** 3, axis=-1), STACK),
    "svd": (lambda a: anp.linalg.svd(a[..., :2], full_matrices=False)[2], STACK),
    "pinv": (lambda a: anp.linalg.pinv(a[..., :2]), STACK),
    "solve, stacks": (anp.linalg.solve, STACK, RNG.standard_normal((2, 3, 2))),
    "solve, one matrix": (anp.linalg.solve, SQUARE, RNG.standard_normal((2, 3, 2))),
    "solve, vector": (anp.linalg.solve, SQUARE, RNG.standard_normal(3)),
    "solve, constant matrix": (lambda b: anp.linalg.solve(STACK, b), RNG.standard_normal((2, 3, 1))),
    "solve_triangular": (lambda a, b: asl.solve_triangular(a, b, lower=True), SQUARE, RNG.standard_normal((3, 2))),
    "solve_triangular, vector": (asl.solve_triangular, SQUARE, RNG.standard_normal(3)),
    "solve_banded": (lambda a, b: asl.solve_banded((1, 1), a, b), SQUARE + 3.0, RNG.standard_normal((3, 2))),
    "solve_banded, vector": (lambda b: asl.solve_banded((1, 1), SQUARE + 3.0, b), RNG.standard_normal(3)),
    "sqrtm and others are dense": (lambda a: asl.sqrtm(a), SQUARE),
}
OTHERS = {
    "elementwise": (lambda x, y: anp.where(x > 0.4, anp.sinc(x) * y, anp.clip(y, x, 0.7)), VECTOR, VECTOR[::-1] + 0.01),
    "log_ndtr": (lambda x: ast.norm.logcdf(x) + ast.norm.logsf(2.0 * x), VECTOR),
    "t.logcdf": (lambda x: ast.t.logcdf(x, 4.0), VECTOR),
    "densities": (lambda x, y: ast.beta.logpdf(x, 2.0, y) + ast.gamma.pdf(y, 1.5), VECTOR, VECTOR),
    "logsumexp": (lambda x: asp.logsumexp(anp.reshape(x, (2, 2)), axis=1), VECTOR),
    "complex": (lambda x: anp.real(anp.exp(1j * x)) + anp.imag(anp.conj(x * 1j)) + anp.angle(x + 1j), VECTOR),
    "astype": (lambda x: anp.real_if_close(x).astype(float) ** 2, VECTOR),
    "make_diagonal": (lambda x: wrapper.make_diagonal(x, 0, -1, -2) ** 2, VECTOR),
    "vector space": (lambda x: SPACE.scalar_mul(SPACE.covector(x[:3]), x[3]) * SPACE.inner_prod(x[:3], x[1:]), VECTOR),
    "cumsum, axis": (lambda x: anp.cumsum(anp.reshape(x, (2, 2)), axis=-1) ** 2, VECTOR),
    "shifts": (lambda x: anp.real(anp.fft.ifftshift(anp.fft.fftshift(x * (1 + 0j))) ** 2), VECTOR),
    "truncate_pad": (lambda x: anp.real(anp.fft.fft(x, 6)) ** 2, VECTOR),
    "trace, offset": (lambda x: anp.trace(anp.reshape(x, (3, 4)), offset=1) ** 2, RNG.standard_normal(12)),
    "diff, twice": (lambda x: anp.diff(anp.reshape(x, (4, 2)), n=2, axis=0) ** 2, RNG.standard_normal(8)),
    "nothing": (lambda x: anp.diff(x[:1]), VECTOR),
}


def _several(x):
    return x if isinstance(x, tuple) else (x,)


CALLS = {
    **{f"array: {name}": (lambda x, f=f: f(anp, x), x) for name, (f, x) in ARRAYS.items()},
    **{f"product: {name}": (lambda a, b, f=f: f(anp, a, b), a, b) for name, (f, a, b) in PRODUCTS.items()},
    **{f"reduction: {name}": (f, *_several(x)) for name, (f, _, x) in REDUCTIONS.items()},
    **{f"choice: {name}": (f, *_several(x)) for name, (f, x, _) in OFF.items()},
    **{f"container: {name}": (f, ROW) for name, f in CONTAINERS.items()},
    **{f"special: {name}": (f, *_several(x)) for name, (f, x) in SPECIAL.items()},
    **{
        f"transform {i}": (lambda x, f=f, k=k: anp.real(getattr(anp.fft, f)(x, **k)), x)
        for i, (f, k, x) in enumerate(TRANSFORMS)
        if np.isrealobj(x)
    },
    **{
        f"convolution: {name}": (lambda a, b, k=k: convolve(a, b, **k), a, b)
        for name, (k, a, b) in CONVOLUTIONS.items()
        if a.size + b.size < 60
    },
    **LINEAR_ALGEBRA,
    **OTHERS,
}
_MET = set()


def _flat(fun, args):
    """The function and the gradient of its sum of squares, each of one real vector for each argument."""
    args = [np.asarray(x, dtype=float) for x in args]

    def gradient(*args):
        return autograd.grad(lambda args: anp.sum(anp.real(fun(*args)) ** 2))(args)

    return args, gradient


@pytest.mark.parametrize("name", CALLS)
def test_primitives(name):
    fun, *args = CALLS[name]
    if any(map(np.iscomplexobj, args)):
        check_contains(fun, *args)
        return
    args, gradient = _flat(fun, args)
    for called in (fun, lambda *args: tuple(gradient(*args))):
        recorded = check_contains(called, *args)
        _MET.update(call.fun for tape in recorded.tapes for call in tape.calls)


def test_every_rule_was_met():
    assert len(_MET) > 100, "test_primitives runs first"
    sparse = {dependence_rules.sparse_product}
    spelled_in_others = {anp.conjugate, anp.angle, anp.hsplit}
    missing = {p.__name__ for p in set(dependence_rules._RULES) - _MET - sparse - spelled_in_others}
    assert missing == set()


def test_trace_of_other_axes_and_diff_by_position():
    x = RNG.standard_normal((2, 3, 4))
    check_contains(lambda x: anp.trace(x, -1, 2, 0), x)
    assert exact(lambda x: anp.trace(x, 1, 1, 2), x).sum() == 6
    assert exact(lambda x: anp.diff(x, 2, 1), x).sum() == 2 * 1 * 4 * 3


# ---- sparse models, written in several ways ----

G, L, P, PER = 4, 3, 2, 5  # groups, their inputs, global inputs, observations of a group
N = G * PER
GROUPS = np.repeat(np.arange(G), PER)
DESIGN, LOCAL, COUNTS = RNG.standard_normal((N, P)), RNG.standard_normal((N, L)), RNG.poisson(2.0, N).astype(float)
THETA, WEIGHTS = 0.1 * RNG.standard_normal(G * L + P), np.ones(N)
ONE_HOT = np.zeros((N, G * L))
ONE_HOT[np.arange(N)[:, None], L * GROUPS[:, None] + np.arange(L)] = LOCAL
SHUFFLED = RNG.permutation(N)
Q = SQUARE


def _local(theta):
    return anp.reshape(theta[: G * L], (G, L))


def _common(theta):
    return anp.dot(DESIGN, theta[G * L :])


def _loop(theta):
    parts = []
    for g in range(G):
        rows = slice(g * PER, (g + 1) * PER)
        parts.append(anp.dot(LOCAL[rows], theta[g * L : (g + 1) * L]) + anp.dot(DESIGN[rows], theta[G * L :]))
    return anp.concatenate(parts)


def _shuffled(theta):
    eta = anp.sum(LOCAL[SHUFFLED] * _local(theta)[GROUPS[SHUFFLED]], axis=1) + _common(theta)[SHUFFLED]
    return eta[np.argsort(SHUFFLED)]


def _from_dict(theta):
    parts = UNFLATTEN(theta)
    return anp.sum(LOCAL * parts["a"][GROUPS], axis=1) + anp.dot(DESIGN, parts["b"])


UNFLATTEN = flatten({"a": np.zeros((G, L)), "b": np.zeros(P)})[1]
STACKED = LOCAL.reshape(G, PER, L)
PREDICTORS = {
    "lookup": lambda t: anp.sum(LOCAL * _local(t)[GROUPS], axis=1) + _common(t),
    "lookup of rows by position": lambda t: anp.sum(
        LOCAL * t[L * GROUPS[:, None] + np.arange(L)], axis=1
    ) + _common(t),
    "lookup of columns": lambda t: sum(LOCAL[:, j] * t[j : G * L : L][GROUPS] for j in range(L)) + _common(t),
    "einsum of a stack": lambda t: anp.ravel(anp.einsum("gnl,gl->gn", STACKED, _local(t))) + _common(t),
    "einsum, summed letters": lambda t: anp.einsum("nl,nl->n", LOCAL, _local(t)[GROUPS])
    + anp.einsum("np,p->n", DESIGN, t[G * L :]),
    "matmul of a stack": lambda t: anp.ravel(anp.matmul(STACKED, _local(t)[:, :, None])) + DESIGN @ t[G * L :],
    "repeat": lambda t: anp.sum(LOCAL * anp.repeat(_local(t), PER, axis=0), axis=-1) + _common(t),
    "tile": lambda t: anp.ravel(
        anp.sum(STACKED * anp.reshape(anp.tile(_local(t), (1, PER)), (G, PER, L)), axis=2)
    ) + _common(t),
    "broadcast": lambda t: anp.ravel(anp.sum(STACKED * _local(t)[:, None, :], axis=2)) + _common(t),
    "transposed": lambda t: anp.sum(LOCAL.T * anp.transpose(_local(t))[:, GROUPS], axis=0) + _common(t),
    "design with zeros": lambda t: anp.dot(np.column_stack([ONE_HOT, DESIGN]), t),
    "design with zeros, tensordot": lambda t: anp.tensordot(t, np.column_stack([ONE_HOT, DESIGN]), axes=([0], [1])),
    "sparse design": lambda t: vn.sparse_dot(scipy.sparse.csr_array(np.column_stack([ONE_HOT, DESIGN])), t),
    "sparse columns": lambda t: anp.ravel(
        vn.sparse_dot(scipy.sparse.csc_array(ONE_HOT), anp.reshape(t[: G * L], (-1, 1)))
    ) + _common(t),
    "loop over slices": _loop,
    "loop over rows": lambda t: anp.array([anp.dot(LOCAL[n], _local(t)[GROUPS[n]]) for n in range(N)]) + _common(t),
    "stack of rows": lambda t: anp.ravel(
        anp.stack([anp.dot(STACKED[g], t[g * L : (g + 1) * L]) for g in range(G)])
    ) + _common(t),
    "split": lambda t: anp.hstack(
        [anp.dot(STACKED[g], part) for g, part in enumerate(anp.split(t[: G * L], G))]
    ) + _common(t),
    "masks": lambda t: sum(
        anp.where(GROUPS == g, anp.dot(LOCAL, t[np.arange(G * L + P) // L == g]), 0.0)[GROUPS == g] @ np.eye(
            N)[GROUPS == g] for g in range(G)
    ) + _common(t),
    "shuffled": _shuffled,
    "dict": _from_dict,
    "moved axes": lambda t: anp.sum(
        anp.swapaxes(STACKED, 0, 2) * anp.moveaxis(_local(t), 1, 0)[:, None, :], axis=0
    ).T.ravel() + _common(t),
    "normalised by group": lambda t: anp.ravel(
        anp.einsum("gnl,gl->gn", STACKED, _local(t) / (1.0 + anp.linalg.norm(_local(t), axis=1, keepdims=True)))
    ) + _common(t),
    "in a function of each group": lambda t: anp.ravel(
        anp.sum(STACKED * anp.prod(1.0 + 0.1 * _local(t), axis=1)[:, None, None], axis=2)
    ) + _common(t),
}  # fmt: skip
LIKELIHOODS = {
    "poisson": lambda eta: anp.exp(eta) - COUNTS * eta,
    "logistic": lambda eta: anp.log1p(anp.exp(eta)) - (COUNTS > 1.0) * eta,
    "softplus, logaddexp": lambda eta: anp.logaddexp(0.0, eta) - (COUNTS > 1.0) * eta,
    "student": lambda eta: 2.5 * anp.log1p((COUNTS - eta) ** 2 / 4.0),
    "normal": lambda eta: -ast.norm.logpdf(COUNTS, anp.sinh(eta), 0.5),
}
PRIORS = {
    "independent": lambda t: anp.sum(t**2),
    "quadratic": lambda t: anp.einsum("gi,ij,gj->", _local(t), Q, _local(t)) + anp.sum(t[G * L :] ** 2),
    "solve": lambda t: anp.sum(_local(t).T * anp.linalg.solve(Q, _local(t).T)) + t[G * L :] @ t[G * L :],
    "triangular": lambda t: (
        anp.sum(asl.solve_triangular(np.tril(Q), _local(t).T, lower=True) ** 2) + anp.sum(t[G * L :] ** 2)
    ),
    "quadratic by matmul": lambda t: anp.sum(_local(t) * (_local(t) @ Q)) + anp.sum(t[G * L :] ** 2),
}


def arrow():
    expected = np.kron(np.eye(G), np.ones((L, L))) != 0.0
    expected = np.pad(expected, (0, P), constant_values=True)
    return expected


def _arrow_gradient(predictor, likelihood="poisson", prior="independent"):
    def objective(theta, weights):
        return anp.sum(weights * LIKELIHOODS[likelihood](PREDICTORS[predictor](theta))) + PRIORS[prior](theta)

    return autograd.grad(objective)


@pytest.mark.parametrize("name", PREDICTORS)
def test_arrow_model_written_in_several_ways(name):
    recorded = check_contains(_arrow_gradient(name), THETA, WEIGHTS)
    assert np.array_equal(recorded.pattern(0).toarray(), arrow())
    # of the data weights: a group's inputs depend on its own observations
    of_group = np.repeat(GROUPS == np.arange(G)[:, None], L, axis=0)
    assert np.array_equal(recorded.pattern(1).toarray(), np.vstack([of_group, np.ones((P, N), dtype=bool)]))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("prior", PRIORS)
def test_arrow_model_of_other_densities(likelihood, prior):
    recorded = Recorded(_arrow_gradient("lookup", likelihood, prior), [THETA, WEIGHTS])
    assert np.array_equal(recorded.pattern(0).toarray(), arrow())


def test_groups_with_covariances_of_their_own():
    """A stack of Cholesky factors, a determinant and solves: dense within a group."""
    y = RNG.standard_normal((G, PER, 2))

    def objective(theta):
        factor = anp.reshape(theta[: 4 * G], (G, 2, 2)) * np.tril(np.ones((2, 2))) + 2.0 * np.eye(2)
        cov = anp.matmul(factor, anp.swapaxes(factor, 1, 2)) + np.eye(2)
        residual = y - anp.reshape(theta[4 * G :], (G, 1, 2))
        solved = anp.linalg.solve(cov, anp.swapaxes(residual, 1, 2))
        by_cholesky = anp.sum(anp.log(anp.diagonal(anp.linalg.cholesky(cov), axis1=-1, axis2=-2)))
        return anp.sum(anp.linalg.slogdet(cov)[1]) + anp.sum(anp.swapaxes(residual, 1, 2) * solved) + by_cholesky

    pattern = Recorded(autograd.grad(objective), [0.1 * RNG.standard_normal(6 * G)]).pattern(0).toarray()
    owner = np.concatenate([np.repeat(np.arange(G), 4), np.repeat(np.arange(G), 2)])
    free = np.concatenate([np.tile([True, False, True, True], G), np.ones(2 * G, dtype=bool)])
    same = owner[:, None] == owner
    assert not np.any(pattern & ~same)
    assert np.array_equal(pattern[np.ix_(free, free)], same[np.ix_(free, free)])


ROWS, COLUMNS = 4, 5
IMAGE = 0.1 * np.cos(np.arange(1.0, ROWS * COLUMNS + 1.0))
NUMBERS = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
FIRST = np.concatenate([NUMBERS[1:].ravel(), NUMBERS[:, 1:].ravel()])
SECOND = np.concatenate([NUMBERS[:-1].ravel(), NUMBERS[:, :-1].ravel()])
DIFFERENCES = scipy.sparse.csr_array(
    (np.tile([1.0, -1.0], len(FIRST)), np.stack([FIRST, SECOND], 1).ravel(), np.arange(0, 2 * len(FIRST) + 1, 2))
)
INSIDE = np.zeros((2, ROWS, COLUMNS), dtype=bool)
INSIDE[0, 1:], INSIDE[1, :, 1:] = True, True


def _image(x):
    return anp.reshape(x, (ROWS, COLUMNS))


GRIDS = {
    "diff along axes": lambda x: [anp.diff(_image(x), axis=0), anp.diff(_image(x))],
    "slices": lambda x: [_image(x)[1:] - _image(x)[:-1], _image(x)[:, 1:] - _image(x)[:, :-1]],
    "pairs": lambda x: [x[FIRST] - x[SECOND]],
    "sparse differences": lambda x: [vn.sparse_dot(DIFFERENCES, x)],
    "dense differences": lambda x: [DIFFERENCES.toarray() @ x],
    "roll": lambda x: [(_image(x) - anp.roll(_image(x), 1, axis=i))[INSIDE[i]] for i in (0, 1)],
    "pad": lambda x: [anp.diff(anp.pad(_image(x), ((0, 0), (1, 1)), "edge")), anp.diff(_image(x).T).T],
    "loop over rows": lambda x: [_image(x)[i + 1] - _image(x)[i] for i in range(ROWS - 1)] + [anp.diff(_image(x))],
    "columns in Fortran's order": lambda x: [
        anp.diff(anp.reshape(anp.ravel(_image(x), order="F"), (COLUMNS, ROWS))), anp.diff(_image(x), 1, -1)
    ],
    "stack of neighbours": lambda x: [
        anp.tensordot(anp.stack([x[FIRST], x[SECOND]]), np.array([1.0, -1.0]), ([0], [0]))
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_grid_written_in_several_ways(name):
    def objective(x, h):
        return h[0] * sum(anp.sum(anp.cosh(d)) for d in GRIDS[name](x)) + anp.sum((x - 1.0) ** 4)

    gradient = autograd.grad(objective)
    recorded = check_contains(gradient, IMAGE, np.ones(1))
    laplacian = (DIFFERENCES.T @ DIFFERENCES).toarray() != 0.0
    assert np.array_equal(recorded.pattern(0).toarray(), laplacian)
    assert recorded.pattern(1).toarray().all()


# ---- details ----


def test_output_independent_of_the_argument():
    recorded = Recorded(lambda x, h: (anp.exp(h), np.arange(3.0), x[:0]), [np.ones(4), np.ones(2)])
    assert [recorded.pattern(0, output).nnz for output in range(3)] == [0, 0, 0]
    assert [recorded.pattern(0, output).shape for output in range(3)] == [(2, 4), (3, 4), (0, 4)]
    assert np.array_equal(recorded.pattern(1).toarray(), np.eye(2, dtype=bool))


def test_one_input():
    assert exact(autograd.grad(lambda x: anp.sum(anp.exp(x))), np.ones(1)).tolist() == [[True]]
    assert exact(lambda x: x**2, np.float64(2.0)).tolist() == [[True]]


@pytest.mark.parametrize("index", [
    np.array([0, 2, 2, 2]), np.array([True, False, True, True]), slice(None, None, -2), 1, -1, [3, 3], (),
    np.zeros(0, dtype=int), Ellipsis, None,
])  # fmt: skip
def test_indices(index):
    pattern = exact(lambda x: x[index] ** 2, VECTOR)
    assert pattern.sum() == np.size(VECTOR[index])
    gradient = exact(autograd.grad(lambda x: anp.sum(anp.exp(x[index]))), VECTOR)
    assert np.array_equal(gradient, np.diag(np.isin(np.arange(4), np.arange(4)[index])))


def test_duplicates_join_what_they_meet():
    a, b = np.array([0, 1, 0]), np.array([2, 3, 1])
    pattern = exact(autograd.grad(lambda x: anp.sum(x[a] ** 2 * x[b] ** 3)), VECTOR)
    expected = np.eye(4, dtype=bool)
    expected[a, b] = expected[b, a] = True
    assert np.array_equal(pattern, expected)


def test_kinks_are_joined():
    """At a tie both branches count, and a point where another branch is taken has the same pattern."""
    fun = lambda x: anp.maximum(x[:2], 0.0) ** 3 * anp.abs(x[2:]) ** 2  # noqa: E731
    at_kink, off = np.array([0.0, 1.0, 2.0, 0.0]), np.array([-1.0, 1.0, 2.0, -3.0])
    recorded = Recorded(fun, [at_kink])
    assert len(recorded.tapes) > 1
    expected = np.tile(np.eye(2, dtype=bool), 2)
    assert np.array_equal(recorded.pattern(0).toarray(), expected)
    assert np.array_equal(Recorded(fun, [off]).pattern(0).toarray(), expected)


def test_values_of_a_matrix_that_is_traced_do_not_count():
    """A hyper that is zero at the base point is no structural zero; a constant is."""
    zeros = np.array([[1.0, 0.0], [0.0, 1.0]])
    traced = Recorded(lambda x, a: anp.dot(a, x), [np.ones(2), zeros])
    assert traced.pattern(0).toarray().all()
    assert np.array_equal(Recorded(lambda x: anp.dot(zeros, x), [np.ones(2)]).pattern(0).toarray(), zeros != 0.0)
    masked = Recorded(lambda x: x * np.array([0.0, 1.0]), [np.ones(2)])
    assert np.array_equal(masked.pattern(0).toarray(), np.eye(2, dtype=bool))


def test_too_many_nonzeros_count_as_none_being_zero(monkeypatch):
    fun = lambda x: anp.dot(np.eye(4) + np.eye(4, k=1), x)  # noqa: E731
    monkeypatch.setattr(dependence_rules, "_FEW_PAIRS", 3)
    assert Recorded(fun, [VECTOR]).pattern(0).toarray().all()
    monkeypatch.setattr(dependence_rules, "_FEW", 0.5)
    assert Recorded(fun, [VECTOR]).pattern(0).nnz == 7
    monkeypatch.setattr(dependence_rules, "_MANY_PAIRS", 3)
    assert Recorded(fun, [VECTOR]).pattern(0).toarray().all()


@primitive
def _mixing(x):
    return x[::-1] ** 2


@primitive
def _cube(x):
    return x**3


defvjp(_mixing, lambda ans, x: lambda g: 2.0 * x * g[::-1])
defvjp(_cube, lambda ans, x: lambda g: 3.0 * x**2 * g)


def test_a_primitive_of_ones_own_is_dense_unless_declared():
    vn.defjet(_mixing, lambda k, y, x: sum(x[j] * x[k - j] for j in range(k + 1))[..., ::-1])
    cube = lambda k, y, x: sum(x[i] * x[j] * x[k - i - j] for i in range(k + 1) for j in range(k + 1 - i))  # noqa: E731
    part = lambda x: anp.concatenate([_mixing(x[:2]), x[2:]])  # noqa: E731
    check_contains(part, VECTOR)
    expected = np.eye(4, dtype=bool)
    expected[:2, :2] = True
    assert np.array_equal(Recorded(part, [VECTOR]).pattern(0).toarray(), expected)
    for elementwise, pattern in ((False, np.ones((4, 4), dtype=bool)), (True, np.eye(4, dtype=bool))):
        vn.defjet(_cube, cube, elementwise=elementwise)
        assert np.array_equal(check_contains(_cube, VECTOR).pattern(0).toarray(), pattern)
    vn.defjet(_cube, cube)
    assert Recorded(_cube, [VECTOR]).pattern(0).toarray().all()


def test_result_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(dependence, "_MAX_ENTRIES", 15)
    with pytest.raises(SizeError, match="4 outputs in 4 arguments has 1.6e.01 entries"):
        Recorded(lambda x: anp.cumsum(x), [VECTOR]).pattern(0)
    assert Recorded(lambda x: x[:3] * anp.sum(x), [VECTOR]).pattern(0).nnz == 12
    monkeypatch.setattr(dependence, "memory_limit", lambda: 12 * 11)
    with pytest.raises(SizeError, match="1.2e.01 entries > 1.1e.01 .*memory"):
        Recorded(lambda x: x[:3] * anp.sum(x), [VECTOR]).pattern(0)


def test_the_tape_is_left_as_it_was():
    recorded = Recorded(_arrow_gradient("lookup"), [THETA, WEIGHTS])
    first = recorded.pushed(0, np.eye(THETA.size))
    pattern = recorded.pattern(0)
    assert np.array_equal(recorded.pushed(0, np.eye(THETA.size)), first)
    again = recorded.pattern(0)
    assert np.array_equal(again.indices, pattern.indices) and np.array_equal(again.indptr, pattern.indptr)


# ---- the table of sets, against Python's ----


def _as_sets(sets, numbers):
    rows = sets.rows(np.ravel(numbers))
    assert rows.has_sorted_indices
    return [set(rows.indices[rows.indptr[i] : rows.indptr[i + 1]].tolist()) for i in range(rows.shape[0])]


@pytest.mark.parametrize("collide", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_unions_against_python_sets(seed, collide, monkeypatch):
    if collide:  # equal hashes of different sets cost merging, never members
        monkeypatch.setattr(index_sets, "_mixed", lambda x: np.zeros(np.shape(x), dtype=np.uint64))
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    sets = IndexSets(n)
    known = np.concatenate([[0], sets.singletons((n,))])
    for _ in range(6):
        a, b = rng.choice(known, (5, 4)), rng.choice(known, (5, 4))
        a = np.broadcast_to(a[:, :1], (5, 4)) if rng.uniform() < 0.3 else a
        expected = [x | y for x, y in zip(_as_sets(sets, a), _as_sets(sets, b), strict=True)]
        both = sets.union(a, b)
        assert _as_sets(sets, both) == expected
        assert _as_sets(sets, sets.union(a, b[0])) == [
            x | y for x, y in zip(_as_sets(sets, a), _as_sets(sets, np.broadcast_to(b[0], (5, 4))), strict=True)
        ]
        by_row = np.reshape(np.array(expected, dtype=object), (5, 4))
        assert _as_sets(sets, sets.reduced(both, (1,))) == [set().union(*row) for row in by_row]
        assert _as_sets(sets, sets.reduced(both, (0,))) == [set().union(*row) for row in by_row.T]
        assert _as_sets(sets, sets.reduced(both, (0, 1))) == [set().union(*by_row.ravel())]
        places = rng.integers(0, 7, 20)
        assert _as_sets(sets, sets.union_at(places, both, 7)) == [
            set().union(*(x for x, p in zip(expected, places, strict=True) if p == i)) for i in range(7)
        ]
        known = np.unique(np.concatenate([known, both.ravel()]))
    assert sets.count(known).tolist() == [len(x) for x in _as_sets(sets, known)]
    assert len({frozenset(x) for x in _as_sets(sets, known)}) == len(known) or collide


def test_a_full_table_gives_the_set_of_all():
    n = 30
    exact_sets, small = IndexSets(n), IndexSets(n, limit=1)
    rng = np.random.default_rng(0)
    for sets in (exact_sets, small):
        numbers = sets.singletons((n,))
        rng = np.random.default_rng(0)
        for _ in range(8):
            numbers = sets.union(numbers, numbers[rng.permutation(n)])
        rows = sets.rows(numbers).toarray()
        if sets is exact_sets:
            expected = rows
    assert np.all(rows[expected])
    assert len(small._table[1]) < len(exact_sets._table[1])
