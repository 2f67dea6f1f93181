"""Eigenvectors, singular vectors, pseudo-inverses and norms: identities at order 6, gradients, refusals."""

import autograd
import autograd.numpy as anp
import mpmath as mp
import numpy as np
import pytest
from jet_checks import check_all, check_gradient, random_series

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError, NonSmoothError, RepeatedEigenvalueError, SingularError

ORDER = 6


def matrix(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def symmetric(*shape, seed=0):
    """Well separated eigenvalues: 0, 2, 4, ... and noise."""
    x = matrix(*shape, seed=seed)
    return 0.3 * (x + swap(x)) + np.diag(2.0 * np.arange(shape[-1]))


def tall(*shape, seed=0):
    """Well separated singular values."""
    x = 0.3 * matrix(*shape, seed=seed)
    k = min(shape[-2:])
    x[..., np.arange(k), np.arange(k)] += 1.0 + 1.5 * np.arange(k)
    return x


def swap(x):
    return np.swapaxes(x, -1, -2)


def cauchy(a, b):
    return np.stack([sum(a[j] @ b[k - j] for j in range(k + 1)) for k in range(len(a))])


def diagonal(s):
    return s[..., None] * np.eye(s.shape[-1])


def identity_like(x):
    out = np.zeros_like(x)
    out[0] = np.eye(x.shape[-1])
    return out


def assert_close(a, b, tol=1e-10):
    assert a.shape == b.shape
    assert np.max(np.abs(a - b)) <= tol * max(1.0, np.max(np.abs(b)))


def weighted(x, n):
    """A function of all results that weighs every entry differently."""
    return sum((1.0 + i) * anp.sum(weights(c) * anp.sin(c)) for i, c in enumerate(x[:n]))


def weights(c):
    shape = anp.shape(c)
    return 1.0 + np.arange(int(np.prod(shape))).reshape(shape) / 3.0


# ---- eigh ----

SYMMETRIC = {"3x3": symmetric(3, 3), "stack": symmetric(2, 3, 3, seed=2), "1x1": np.array([[-2.0]])}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_eigh(name):
    a = SYMMETRIC[name]
    (s,) = random_series(a, ORDER)
    s = 0.5 * (s + swap(s))
    w, v = vn.jet(lambda a: tuple(anp.linalg.eigh(a)), s)
    assert_close(cauchy(s, v), cauchy(v, diagonal(w)))
    assert_close(cauchy(swap(v), v), identity_like(s))
    assert np.array_equal(v[0], np.linalg.eigh(s[0])[1])
    check_all(lambda a: anp.sin(anp.linalg.eigh(a)[0]), a)
    check_all(lambda a: anp.sin(anp.linalg.eigh(a)[1]), a)
    check_gradient(lambda a: weighted(anp.linalg.eigh(a), 2), a)


@pytest.mark.parametrize("uplo", ["L", "U"])
def test_eigh_reads_one_triangle(uplo):
    (s,) = random_series(SYMMETRIC["3x3"], ORDER)
    s[:, 0, 2] += 1.0
    full = np.tril(s) + swap(np.tril(s, -1)) if uplo == "L" else np.triu(s) + swap(np.triu(s, 1))
    read = vn.jet(lambda a: tuple(anp.linalg.eigh(a, UPLO=uplo)), s)
    for a, b in zip(read, vn.jet(lambda a: tuple(anp.linalg.eigh(a, uplo)), full), strict=True):
        assert_close(a, b, 1e-13)
    gradient = vn.jet(autograd.grad(lambda a: weighted(anp.linalg.eigh(a, uplo), 2)), s)
    assert np.array_equal(gradient, np.tril(gradient) if uplo == "L" else np.triu(gradient))
    check_gradient(lambda a: weighted(anp.linalg.eigh(a, uplo), 2), s[0])


def eigenvectors_mp(a, like):
    """Eigenvectors in mpmath, with the signs of ``like``."""
    _, v = mp.eigsy(a)
    for j in range(a.rows):
        if mp.fsum(v[i, j] * mp.mpf(float(like[i, j])) for i in range(a.rows)) < 0:
            for i in range(a.rows):
                v[i, j] = -v[i, j]
    return v


def test_distance_of_eigenvectors_from_themselves():
    """sum(c (v - v0)^2) has a zero cotangent at the base point; its second derivative is not zero."""
    base, direction, c = symmetric(3, 3, seed=4), symmetric(3, 3, seed=5), 1.0 + np.arange(9.0).reshape(3, 3)
    v0 = np.linalg.eigh(base)[1]

    def fun(t):
        return anp.sum(c * (anp.linalg.eigh(base + t * direction)[1] - v0) ** 2)

    def reference(t):
        v = eigenvectors_mp(mp.matrix(base.tolist()) + t * mp.matrix(direction.tolist()), v0)
        v00 = eigenvectors_mp(mp.matrix(base.tolist()), v0)
        return mp.fsum(mp.mpf(c[i, j]) * (v[i, j] - v00[i, j]) ** 2 for i in range(3) for j in range(3))

    with mp.workdps(40):
        expected = [float(x) for x in mp.taylor(reference, 0, 5)]
    assert expected[2] > 0.1
    s = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(vn.jet(fun, s)[2:], expected[2:5], rtol=1e-10)
    slopes = vn.jet(autograd.grad(fun), s)
    np.testing.assert_allclose(slopes[1:], [(k + 1) * expected[k + 1] for k in range(1, 5)], rtol=1e-10)
    # the same through all entries of the matrix, as a Hessian sees it
    hessian_column = vn.jet(
        autograd.grad(lambda a: anp.sum(c * (anp.linalg.eigh(a)[1] - v0) ** 2)), np.stack([base, direction])
    )[1]
    assert np.sum(hessian_column * direction) == pytest.approx(2.0 * expected[2], rel=1e-10)


def test_nearly_repeated_eigenvalues_follow_the_closed_form():
    """[[a, t], [t, -a]]: w = +-sqrt(a^2 + t^2)."""
    a = 1e-3
    w, _ = vn.jet(
        lambda t: tuple(anp.linalg.eigh(anp.array([[a, 0.0], [0.0, -a]]) + t * np.array([[0.0, 1.0], [1.0, 0.0]]))),
        np.array([0.0, 1.0, 0.0, 0.0, 0.0]),
    )
    np.testing.assert_allclose(w[:, 1], [a, 0.0, 0.5 / a, 0.0, -0.125 / a**3], rtol=1e-12, atol=1e-12)


# ---- svd ----

RECTANGULAR = {
    "4x3": tall(4, 3),
    "3x4": tall(3, 4),
    "3x3": tall(3, 3),
    "stack": tall(2, 4, 2),
    "wide stack": tall(2, 2, 3),
    "1x1": np.array([[-2.0]]),
    "3x1": tall(3, 1),
    "1x3": tall(1, 3),
}


def thin(a):
    return anp.linalg.svd(a, full_matrices=False)


@pytest.mark.parametrize("name", RECTANGULAR)
def test_svd(name):
    a = RECTANGULAR[name]
    (s,) = random_series(a, ORDER)
    u, d, vt = vn.jet(lambda a: tuple(thin(a)), s)
    assert_close(cauchy(cauchy(u, diagonal(d)), vt), s)
    assert_close(cauchy(swap(u), u), identity_like(diagonal(d)))
    assert_close(cauchy(vt, swap(vt)), identity_like(diagonal(d)))
    assert_close(vn.jet(lambda a: anp.linalg.svd(a, compute_uv=False), s), d)
    check_all(lambda a: anp.sin(anp.linalg.svd(a, compute_uv=False)), a)
    for part in (0, 1, 2):
        check_gradient(lambda a, part=part: anp.sin(thin(a)[part]), a)
    check_all(lambda a: weighted(thin(a), 3), a, rtol=1e-10)


def test_svd_of_a_square_matrix_by_default():
    (s,) = random_series(RECTANGULAR["3x3"], ORDER)
    for a, b in zip(vn.jet(lambda a: tuple(anp.linalg.svd(a)), s), vn.jet(lambda a: tuple(thin(a)), s), strict=True):
        assert np.array_equal(a, b)
    check_gradient(lambda a: weighted(anp.linalg.svd(a), 3), s[0])


def test_singular_values_in_mpmath():
    base, direction = tall(3, 2), matrix(3, 2, seed=7)

    def reference(t):
        m = mp.matrix(base.tolist()) + t * mp.matrix(direction.tolist())
        return mp.svd_r(m, compute_uv=False)[0]

    with mp.workdps(40):
        expected = [float(x) for x in mp.taylor(reference, 0, ORDER)]
    s = np.array([0.0, 1.0] + [0.0] * (ORDER - 1))
    largest = vn.jet(lambda t: anp.linalg.norm(base + t * direction, 2), s)
    np.testing.assert_allclose(largest, expected, rtol=1e-10, atol=1e-12)


# ---- pinv ----


@pytest.mark.parametrize("name", RECTANGULAR)
def test_pinv(name):
    a = RECTANGULAR[name]
    (s,) = random_series(a, ORDER)
    p = vn.jet(anp.linalg.pinv, s)
    if a.shape[-2] >= a.shape[-1]:
        gram = vn.jet(lambda a: anp.linalg.solve(anp.swapaxes(a, -1, -2) @ a, anp.swapaxes(a, -1, -2)), s)
    else:
        gram = vn.jet(lambda a: anp.swapaxes(anp.linalg.solve(a @ anp.swapaxes(a, -1, -2), a), -1, -2), s)
    assert_close(p, gram)
    assert_close(cauchy(cauchy(s, p), s), s)
    assert_close(cauchy(cauchy(p, s), p), p)
    check_all(anp.linalg.pinv, a)


def test_pinv_with_a_cutoff_below_every_singular_value():
    a = RECTANGULAR["4x3"]
    check_gradient(lambda a: anp.linalg.pinv(a, rcond=1e-8), a)
    check_gradient(lambda a: anp.linalg.pinv(a, 1e-8), a)


def test_pinv_of_an_ill_conditioned_matrix():
    a = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-5], [1.0, 1.0 - 1e-5]])
    s = np.stack([a, 1e-5 * matrix(3, 2)])
    p = vn.jet(anp.linalg.pinv, s)
    with mp.workdps(40):

        def reference(t):
            m = mp.matrix(s[0].tolist()) + t * mp.matrix(s[1].tolist())
            return (m.T * m) ** -1 * m.T

        h = mp.mpf(10) ** -12
        slope = (reference(h) - reference(-h)) / (2 * h)
        slope = np.array([[float(slope[i, j]) for j in range(3)] for i in range(2)])
    np.testing.assert_allclose(p[1], slope, rtol=1e-9, atol=1e-9 * np.max(np.abs(slope)))


# ---- norm ----

X = tall(3, 4)
X3 = matrix(2, 3, 4)
NORMS = {
    "vector": (X[0], {}, lambda x: mp.sqrt(mp.fsum(v**2 for v in x))),
    "p = 3": (X[0], {"ord": 3}, lambda x: mp.fsum(abs(v) ** 3 for v in x) ** (mp.mpf(1) / 3)),
    "p = 4 with a zero": (
        np.array([0.0, -2.0, 1.0]),
        {"ord": 4},
        lambda x: mp.root(mp.fsum(v**4 for v in x), 4),
    ),
    "p = 2.5": (X[0], {"ord": 2.5}, lambda x: mp.fsum(abs(v) ** mp.mpf(2.5) for v in x) ** (1 / mp.mpf(2.5))),
    "p = 1": (X[0], {"ord": 1}, lambda x: mp.fsum(abs(v) for v in x)),
    "largest": (X[0], {"ord": np.inf}, lambda x: max(abs(v) for v in x)),
    "smallest": (X[0], {"ord": -np.inf}, lambda x: min(abs(v) for v in x)),
    "1x1": (np.array([[-2.0]]), {"ord": "nuc"}, lambda x: abs(x[0])),
}


@pytest.mark.parametrize("name", NORMS)
def test_norm_in_mpmath(name):
    x, kwargs, reference = NORMS[name]
    (s,) = random_series(x, ORDER)
    flat = s.reshape(ORDER + 1, -1)

    def path(t):
        return reference([mp.fsum(mp.mpf(float(c)) * t**k for k, c in enumerate(col)) for col in flat.T])

    with mp.workdps(40):
        expected = [float(c) for c in mp.taylor(path, 0, ORDER)]
    np.testing.assert_allclose(vn.jet(lambda x: anp.linalg.norm(x, **kwargs), s), expected, rtol=1e-10, atol=1e-12)
    check_gradient(lambda x: anp.linalg.norm(x, **kwargs), x)


SHAPES = [
    (X, {}),
    (X, {"ord": "fro"}),
    (X, {"ord": "nuc"}),
    (X, {"ord": 2}),
    (X, {"ord": -2}),
    (X, {"ord": 1}),
    (X, {"ord": -np.inf, "keepdims": True}),
    (X, {"axis": 0}),
    (X, {"axis": -1, "keepdims": True}),
    (X, {"axis": 1, "ord": 3, "keepdims": True}),
    (X3, {"axis": (0, 2)}),
    (X3, {"axis": (2, 0), "ord": "nuc", "keepdims": True}),
    (X3, {"axis": (2, 1), "ord": np.inf}),
    (X3, {"axis": (0, 1), "ord": 2}),
    (X3, {}),
]


@pytest.mark.parametrize(("x", "kwargs"), SHAPES, ids=str)
def test_norm_over_axes(x, kwargs):
    """Shapes and values along the path are NumPy's; derivatives by extrapolated differences."""
    direction = matrix(*x.shape, seed=8)

    def fun(t):
        return np.linalg.norm(x + t * direction, **kwargs)

    got = vn.jet(lambda x: anp.linalg.norm(x, **kwargs), np.stack([x, direction, 0 * x]))
    h = 1e-3
    d1, d2 = ((fun(m * h) - fun(-m * h)) / (2 * m * h) for m in (1, 2))
    np.testing.assert_allclose(got[0], fun(0.0), rtol=1e-14)
    np.testing.assert_allclose(got[1], (4 * d1 - d2) / 3, rtol=1e-7, atol=1e-8)
    check_all(lambda x: anp.sin(anp.linalg.norm(x, **kwargs)), x)


# ---- what is refused ----

EYE = np.eye(2)
REFUSED = {
    "repeated": (lambda a: anp.linalg.eigh(a)[1], EYE, RepeatedEigenvalueError, r"gap is 0\.0e\+00"),
    "repeated, values only": (
        lambda a: anp.linalg.eigh(a)[0] ** 2,
        EYE,
        RepeatedEigenvalueError,
        "eigenvalues 0 and 1",
    ),
    "repeated, gradient": (
        autograd.grad(lambda a: anp.sum(anp.linalg.eigh(a)[1])),
        np.diag([1.0, 1.0 + 1e-12]),
        RepeatedEigenvalueError,
        r"gap is 1\.0e-12",
    ),
    "repeated in a stack": (
        lambda a: anp.linalg.eigh(anp.stack([a, np.diag([1.0, 2.0])]))[0],
        EYE,
        RepeatedEigenvalueError,
        "gap",
    ),
    "repeated singular values": (thin, EYE, RepeatedEigenvalueError, "singular values 0 and 1"),
    "repeated singular values, gradient": (
        autograd.grad(lambda a: anp.linalg.norm(a, "nuc")),
        EYE,
        RepeatedEigenvalueError,
        "singular values",
    ),
    "zero singular value": (thin, np.diag([1.0, 0.0]), NonSmoothError, "kink at 0"),
    "zero singular value, values only": (
        autograd.grad(lambda a: anp.sum(anp.linalg.svd(a, compute_uv=False))),
        np.diag([1.0, 0.0]),
        NonSmoothError,
        "kink at 0",
    ),
    "full matrices": (lambda a: anp.linalg.svd(a[:, :1])[1], EYE, MissingRuleError, "full_matrices=False"),
    "full matrices, gradient": (
        autograd.grad(lambda a: anp.sum(anp.linalg.svd(a[:, :1])[1])),
        EYE,
        MissingRuleError,
        "full_matrices=False",
    ),
    "hermitian svd": (
        lambda a: anp.linalg.svd(a, hermitian=True)[1],
        np.diag([2.0, 1.0]),
        MissingRuleError,
        "hermitian",
    ),
    "hermitian pinv": (lambda a: anp.linalg.pinv(a, hermitian=True), EYE, MissingRuleError, "hermitian"),
    "rank": (anp.linalg.pinv, np.ones((2, 2)), SingularError, "rank 1 of a 2 x 2"),
    "rank, gradient": (
        autograd.grad(lambda a: anp.sum(anp.linalg.pinv(a))),
        np.ones((2, 2)),
        SingularError,
        "smallest singular value",
    ),
    "rank by cutoff": (lambda a: anp.linalg.pinv(a, rcond=0.5), np.diag([4.0, 1.0]), SingularError, "rank 1"),
    "zero matrix": (anp.linalg.pinv, np.zeros((2, 3)), SingularError, "rank 0"),
    "norm at 0": (anp.linalg.norm, np.zeros(3), NonSmoothError, "1 of 1 norms"),
    "gradient of norm at 0": (
        autograd.grad(lambda x: anp.sum(anp.linalg.norm(x, axis=1))),
        np.array([[1.0, 2.0], [0.0, 0.0]]),
        NonSmoothError,
        "1 of 2 norms",
    ),
    "p-norm with a zero": (
        lambda x: anp.linalg.norm(x, 2.5),
        np.array([0.0, 1.0]),
        NonSmoothError,
        "2.5",
    ),
    "cubes with a zero": (lambda x: anp.linalg.norm(x, 3), np.array([0.0, 1.0]), NonSmoothError, "abs"),
    "count": (lambda x: anp.linalg.norm(x, 0), np.ones(2), NonSmoothError, "ord=0"),
    "eig": (lambda a: anp.real(anp.linalg.eig(a)[0]), np.diag([1.0, 2.0]), MissingRuleError, "Use eigh"),
    "gradient of eig": (
        autograd.grad(lambda a: anp.sum(anp.real(anp.linalg.eig(a)[0]))),
        np.diag([1.0, 2.0]),
        MissingRuleError,
        "Use eigh",
    ),
    "complex eigh": (lambda a: anp.linalg.eigh(a + 0j)[0], np.diag([1.0, 2.0]), MissingRuleError, "Hermitian"),
    "complex svd": (lambda a: thin(a + 0j)[1], np.diag([1.0, 2.0]), MissingRuleError, "real matrices"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    fun, x, error, match = REFUSED[name]
    direction = np.arange(1.0, 1.0 + x.size).reshape(x.shape)
    series = np.stack([x, direction, *[np.zeros_like(x)] * 3])
    with pytest.raises(error, match=match):
        vn.jet(fun, series)


def test_complex_norm():
    """|exp(i t) (1, 2 + t)| through a complex vector."""
    s = np.array([0.3, 1.0, 0.0, 0.0])
    got = vn.jet(lambda t: anp.linalg.norm(anp.exp(1j * t) * (np.array([1.0, 2.0]) + t * np.array([0.0, 1.0]))), s)
    expected = vn.jet(lambda t: anp.sqrt(1.0 + (2.0 + t) ** 2), s)
    np.testing.assert_allclose(np.real(got), expected, rtol=1e-13)
