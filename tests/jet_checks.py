"""Checks that every Taylor rule must pass, shared by the tests of the rule tables.

``x0`` is an array, or a tuple of arrays for a function of several arguments. Directions are drawn from a seed.
"""

import itertools

import autograd
import mpmath as mp
import numpy as np

import vittles_ng as vn
from vittles_ng.taylor.recorded import Recorded

__all__ = [
    "check_all",
    "check_batch",
    "check_gradient",
    "check_series",
    "check_two_pass",
    "directions",
    "mp_series",
    "random_series",
]


def _tuple(x0):
    x0 = x0 if isinstance(x0, tuple) else (x0,)
    return tuple(np.asarray(x, dtype=np.result_type(x, np.float64)) for x in x0)


def directions(x0, order, n_steps=3, seed=0, scale=0.3):
    """Coefficients ``[argument][k - 1]`` of shape ``(n_steps, *shape)`` for k = 1..order."""
    rng = np.random.default_rng(seed)
    return [[scale**k * rng.standard_normal((n_steps, *x.shape)) for k in range(1, order + 1)] for x in _tuple(x0)]


def random_series(x0, order, seed=0, scale=0.3):
    """One random series ``(order + 1, *shape)`` per argument, starting at ``x0``."""
    x0 = _tuple(x0)
    made = directions(x0, order, 1, seed, scale)
    return [np.stack([x, *(c[0] for c in cs)]) for x, cs in zip(x0, made, strict=True)]


def _outputs(recorded, given, order):
    """Coefficients ``[k - 1][output]`` of one replay, zeros spelled out."""
    replay = recorded.start(given[0][0].shape[0])
    return [_dense(recorded, replay.coefficient([c[k] for c in given]), replay) for k in range(order)]


def _dense(recorded, coefficients, replay):
    n_steps = getattr(replay, "replays", [replay])[0].ws.n_steps
    return [
        np.zeros((n_steps, *np.shape(v))) if c is None else np.array(c)
        for c, v in zip(coefficients, recorded.values, strict=True)
    ]


def _close(a, b, rtol, what):
    assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
    scale = np.max(np.abs(b), initial=0.0)
    error = np.max(np.abs(a - b), initial=0.0)
    assert error <= rtol * max(scale, 1e-30), f"{what}: error {error:.2e} where the largest entry is {scale:.2e}"


def check_batch(fun, x0, order=5, n_steps=3, seed=0, scale=0.3, rtol=1e-11):
    """A batch of steps gives what the steps give one at a time."""
    x0 = _tuple(x0)
    recorded = Recorded(fun, x0)
    given = directions(x0, order, n_steps, seed, scale)
    batch = _outputs(recorded, given, order)
    for step in range(n_steps):
        single = _outputs(recorded, [[c[step : step + 1] for c in cs] for cs in given], order)
        for k in range(order):
            for a, b in zip(batch[k], single[k], strict=True):
                _close(a[step : step + 1], b, rtol, f"step {step} of the batch, order {k + 1}")


def check_two_pass(fun, x0, corrected=0, order=5, n_steps=2, seed=0, scale=0.3, rtol=1e-11):
    """Correcting an argument's coefficient afterwards leaves the later orders as if it had been given at once.

    For every k the outputs of order k with the corrected argument's coefficient zero are compared with those of a fresh
    replay that was given the true coefficients of all lower orders.
    """
    x0 = _tuple(x0)
    given = directions(x0, order, n_steps, seed, scale)
    plain, recorded = Recorded(fun, x0), Recorded(fun, x0, corrected)
    replay = recorded.start(n_steps)
    for k in range(order):
        now = [None if i == corrected else c[k] for i, c in enumerate(given)]
        late = _dense(recorded, replay.coefficient(now), replay)
        at_once = [c[:k] + [np.zeros_like(c[k]) if i == corrected else c[k]] for i, c in enumerate(given)]
        for a, b in zip(late, _outputs(plain, at_once, k + 1)[k], strict=True):
            _close(a, b, rtol, f"two passes, order {k + 1}")
        replay.correct(given[corrected][k])


def check_gradient(fun, x0, order=6, n_series=3, seed=0, scale=0.3, rtol=1e-11, argnums=None):
    """The series of the gradient obeys ``d/dt f(x(t)) = sum_i <grad_i f(x(t)), x_i'(t)>`` along random series.

    The left side comes from the series of ``fun`` itself, which is to be checked against an oracle of its own; a result
    that is no scalar is summed with random weights. ``argnums`` restricts the arguments that move.
    """
    x0 = _tuple(x0)
    argnums = tuple(range(len(x0))) if argnums is None else argnums
    out_shape = vn.jet(fun, *(x[None] for x in x0)).shape[1:]
    weights = np.random.default_rng(seed + 100).uniform(0.5, 1.5, out_shape)

    def full(moving):
        args = list(x0)
        for i, x in zip(argnums, moving, strict=True):
            args[i] = x
        return autograd.numpy.sum(weights * fun(*args))

    def scalar(*moving):
        return full(moving)

    gradients = autograd.grad(scalar, tuple(range(len(argnums))))
    for s in range(n_series):
        series = random_series(tuple(x0[i] for i in argnums), order, seed + s, scale)
        value = vn.jet(scalar, *series)
        grads = vn.jet(lambda *moving: tuple(gradients(*moving)), *series)
        for k in range(order):
            terms = [
                (j + 1) * np.sum(g[k - j] * x[j + 1])
                for (g, x), j in itertools.product(zip(grads, series, strict=True), range(k + 1))
            ]
            expected, size = (k + 1) * value[k + 1], np.sum(np.abs(terms))
            error = abs(sum(terms) - expected)
            assert error <= rtol * max(size, abs(expected)), (
                f"gradient, order {k}: {sum(terms):.15g} where d/dt f = {expected:.15g}"
            )


def check_all(fun, x0, seed=0, scale=0.3, gradient=True, rtol=1e-11):
    """Batch, two passes (each argument corrected in turn) and, unless told otherwise, the gradient's identity."""
    check_batch(fun, x0, seed=seed, scale=scale, rtol=rtol)
    for i in range(len(_tuple(x0))):
        check_two_pass(fun, x0, corrected=i, seed=seed, scale=scale, rtol=rtol)
    if not gradient:
        return
    check_gradient(fun, x0, seed=seed, scale=scale, rtol=rtol)

    def gradients(*args):
        out = autograd.grad(lambda *a: autograd.numpy.sum(fun(*a) ** 2), tuple(range(len(args))))(*args)
        return tuple(out)

    check_batch(gradients, x0, order=4, seed=seed, scale=scale, rtol=rtol)
    check_two_pass(gradients, x0, order=4, seed=seed, scale=scale, rtol=rtol)


def mp_series(reference, *series, dps=40):
    """Taylor coefficients, as mpf, of ``reference(x_1(t), x_2(t), ...)`` for scalar series, by mpmath."""
    order = len(series[0]) - 1
    with mp.workdps(dps):
        exact = [[mp.mpf(float(c)) for c in s] for s in series]
        path = lambda t: reference(*(mp.fsum(c * t**k for k, c in enumerate(s)) for s in exact))  # noqa: E731
        return mp.taylor(path, 0, order, chop=False)


def check_series(fun, reference, *x0, order=8, seed=0, scale=0.3, rtol=1e-12, dps=40, floor=1e-2, linear=False):
    """The series of a scalar function along random scalar series against mpmath, every coefficient of it.

    Parameters
    ----------
    fun : callable
        The function in autograd's primitives.
    reference : callable
        The same in mpmath.
    *x0 : float
        The base point.
    floor : float
        Errors are relative to ``max(|c_k|, floor max_{1<=j<=k} |c_j|)``: coefficients may cancel by accident.
    linear : bool
        Move along a straight line, ``x_0 + x_1 t``, so that order k holds derivatives of order k alone; ``floor`` is 0.
    """
    series = random_series(tuple(np.float64(x) for x in x0), order, seed, scale)
    if linear:
        floor = 0.0
        for s in series:
            s[2:] = 0.0
    got = vn.jet(fun, *series)
    assert got.shape == (order + 1,)
    expected = mp_series(reference, *series, dps=dps)
    largest, tiny = mp.mpf(0), mp.mpf(10) ** (-10 if floor else -300) * max(abs(c) for c in expected[1:])
    for k, (a, b) in enumerate(zip(got, expected, strict=True)):
        b = mp.re(b)
        largest = max(largest, abs(b)) if k else largest
        scale_k = max(abs(b), floor * largest, tiny, mp.mpf(10) ** -300)
        error = abs(mp.mpf(float(a)) - b) / scale_k
        assert error <= rtol, (
            f"order {k}: {a:.17g} where mpmath has {mp.nstr(b, 17)} (relative error {float(error):.1e})"
        )
