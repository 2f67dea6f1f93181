"""Fourier transforms and convolution: NumPy's transform of every coefficient, Cauchy products, and gradients through
complex numbers against closed forms."""

import autograd
import autograd.numpy as anp
import autograd.numpy.fft as afft
import numpy as np
import pytest
from autograd.scipy.signal import convolve
from jet_checks import check_all, check_batch, random_series
from scipy import signal

import vittles_ng as vn
from vittles_ng.errors import MissingRuleError
from vittles_ng.taylor.recorded import Recorded

ORDER = 4
RNG = np.random.default_rng(2)
V, M, T = RNG.standard_normal(6), RNG.standard_normal((4, 6)), RNG.standard_normal((2, 4, 6))


def rows(x0, seed=1):
    (series,) = random_series(x0, ORDER, seed=seed)
    return series


# name, arguments, operand
TRANSFORMS = [
    ("fft", {}, V),
    ("fft", {"axis": 0}, M),
    ("fft", {"n": 3}, M),
    ("fft", {"n": 9, "axis": -2, "norm": "ortho"}, M),
    ("fft", {"norm": "forward"}, V),
    ("ifft", {"axis": 1, "norm": "backward"}, T),
    ("fft2", {}, T),
    ("fft2", {"axes": (0, -1)}, T),
    ("fft2", {"s": (3, 8)}, M),
    ("ifft2", {"axes": (0, 1)}, T),
    ("fftn", {}, T),
    ("fftn", {"axes": (1,)}, T),
    ("fftn", {"s": (4, 4), "axes": (-2, -1)}, T),
    ("ifftn", {"norm": "ortho"}, T),
    ("rfft", {}, V),
    ("rfft", {"axis": 0, "norm": "ortho"}, M),
    ("rfft", {"n": 8, "norm": "backward"}, M),
    ("rfft2", {}, T),
    ("rfftn", {}, M),
    ("rfftn", {"axes": (0, 1)}, T),
    ("irfft", {}, V),
    ("irfft", {"n": 8, "axis": 0}, M),
    ("irfft2", {}, M),
    ("irfftn", {"axes": (-1,)}, T),
    ("fftshift", {}, M),
    ("fftshift", {"axes": 0}, M),
    ("fftshift", {"axes": (-1,)}, T),
    ("ifftshift", {"axes": (0, 1)}, T),
]


@pytest.mark.parametrize("name, kwargs, x0", TRANSFORMS, ids=lambda p: str(p) if not isinstance(p, np.ndarray) else "")
def test_a_transform_acts_on_every_coefficient(name, kwargs, x0):
    series = rows(x0)
    expected = np.stack([getattr(np.fft, name)(c, **kwargs) for c in series])
    got = vn.jet(lambda x: getattr(afft, name)(x, **kwargs), series)
    assert got.shape == expected.shape
    assert np.allclose(got, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name, kwargs, x0", TRANSFORMS, ids=lambda p: str(p) if not isinstance(p, np.ndarray) else "")
def test_real_functions_of_a_transform(name, kwargs, x0):
    def energy(x):
        z = getattr(afft, name)(x + 0.3 * x**2, **kwargs)
        weights = np.arange(1.0, z.size + 1).reshape(z.shape)
        return anp.sum(weights * (anp.real(z) ** 3 + anp.imag(z) ** 2))

    check_all(energy, x0, rtol=1e-10)


@pytest.mark.parametrize("args, kwargs", [((3,), {}), ((8, 0), {}), ((None, -2, "ortho"), {})])
def test_positional_arguments(args, kwargs):
    series = rows(M)
    expected = np.stack([np.fft.fft(c, *args) for c in series])
    assert np.allclose(vn.jet(lambda x: afft.fft(x, *args), series), expected, rtol=1e-13, atol=1e-14)


def test_parseval():
    """sum |fft(x)|^2 = n sum x^2, and its gradient 2 n x: complex series inside a real function."""
    power = lambda x: anp.sum(anp.abs(afft.fft(x)) ** 2)  # noqa: E731
    series = rows(V)
    cauchy = lambda k: sum(np.sum(series[j] * series[k - j]) for j in range(k + 1))  # noqa: E731
    got = vn.jet(power, series)
    assert got.dtype == np.float64
    assert np.allclose(got, [6 * cauchy(k) for k in range(ORDER + 1)], rtol=1e-12)
    gradient = vn.jet(autograd.grad(power), series)
    assert gradient.dtype == np.float64
    assert np.allclose(gradient, 12 * series, rtol=1e-11, atol=1e-13)
    check_batch(autograd.grad(power), V)


def test_large_complex_coefficients_share_buffers_with_real_ones():
    """Above the size where buffers are used again: circular convolution by transforms against sums over shifts."""
    n = 600
    kernel = np.exp(-np.arange(n) / 5.0)

    def smooth(x):
        return anp.real(afft.ifft(afft.fft(x**2) * afft.fft(kernel)))

    series = rows(RNG.standard_normal(n))
    for k, got in enumerate(vn.jet(smooth, series)):
        square = sum(series[j] * series[k - j] for j in range(k + 1))
        wrapped = np.convolve(np.r_[square, square], kernel)[n : 2 * n]
        assert np.allclose(got, wrapped, rtol=1e-9, atol=1e-10)


def test_a_complex_result_keeps_its_imaginary_part():
    series = rows(V)
    got = vn.jet(lambda x: (x + 1j) * (x - 2j), series)
    expected = vn.jet(lambda x: x * x + 2.0, series) - 1j * np.r_[series[:1], series[1:]]
    assert np.allclose(got, expected, rtol=1e-14)


def test_truncate_pad_shortens_and_lengthens():
    series = rows(M)
    for shape in ((3, 8), (5, 2), (4, 6)):
        expected = np.stack([afft.truncate_pad(c, shape) for c in series])
        assert np.array_equal(vn.jet(lambda x, shape=shape: afft.truncate_pad(x, shape), series), expected)


def test_forward_norm_of_a_real_transform_has_no_gradient():
    fun = lambda x: anp.sum(anp.real(afft.rfft(x, norm="forward")))  # noqa: E731
    assert np.allclose(vn.jet(fun, rows(V)), [np.sum(np.fft.rfft(c, norm="forward").real) for c in rows(V)])
    with pytest.raises(MissingRuleError, match="norm=None"):
        vn.jet(autograd.grad(fun), rows(V))


# ---- convolution: (arguments, a, b) ----

A2, B2 = RNG.standard_normal((3, 7)), RNG.standard_normal((3, 4))
CONVOLUTIONS = {
    "vectors": ({}, V, RNG.standard_normal(3)),
    "vectors, longer second": ({}, RNG.standard_normal(3), V),
    "valid": ({"mode": "valid"}, V, RNG.standard_normal(3)),
    "valid, longer second": ({"mode": "valid"}, RNG.standard_normal(3), V),
    "same": ({"mode": "same"}, V, RNG.standard_normal(3)),
    "same, even kernel": ({"mode": "same"}, V, RNG.standard_normal(4)),
    "planes": ({}, RNG.standard_normal((4, 5)), RNG.standard_normal((2, 3))),
    "planes, valid": ({"mode": "valid"}, RNG.standard_normal((4, 5)), RNG.standard_normal((2, 3))),
    "one axis, the rest left alone": ({"axes": ([1], [0])}, A2, RNG.standard_normal((3, 2))),
    "one axis, the rest left alone, valid": ({"axes": ([1], [1]), "mode": "valid"}, A2, B2),
    "one axis, summed over the other": ({"axes": ([1], [1]), "dot_axes": ([0], [0])}, A2, B2),
    "longer second, left alone": ({"axes": ([1], [1]), "mode": "valid"}, B2, A2),
    "channels": (
        {"axes": ([2, 3], [2, 3]), "dot_axes": ([1], [0]), "mode": "valid"},
        RNG.standard_normal((2, 3, 5, 4)), RNG.standard_normal((3, 2, 2, 3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_is_a_cauchy_product(name):
    kwargs, a0, b0 = CONVOLUTIONS[name]
    a, b = rows(a0, 1), rows(b0, 2)
    fun = lambda x, y: convolve(x, y, **kwargs)  # noqa: E731
    expected = np.stack([sum(convolve(a[j], b[k - j], **kwargs) for j in range(k + 1)) for k in range(ORDER + 1)])
    assert np.allclose(vn.jet(fun, a, b), expected, rtol=1e-13, atol=1e-13)
    assert np.allclose(
        vn.jet(lambda x: fun(x, b0), a), np.stack([convolve(c, b0, **kwargs) for c in a]), rtol=1e-13, atol=1e-13
    )
    assert np.allclose(
        vn.jet(lambda y: fun(a0, y), b), np.stack([convolve(a0, c, **kwargs) for c in b]), rtol=1e-13, atol=1e-13
    )


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_in_batches_passes_and_gradient(name):
    kwargs, a0, b0 = CONVOLUTIONS[name]
    check_all(lambda x, y: convolve(x, y, **kwargs), (a0, b0))
    check_batch(lambda x: convolve(x, b0, **kwargs), a0)
    check_batch(lambda y: convolve(a0, y, **kwargs), b0)


@pytest.mark.parametrize("mode", ["full", "valid", "same"])
def test_convolution_is_scipys(mode):
    a, b = rows(V, 1), RNG.standard_normal(3)
    expected = np.stack([signal.convolve(c, b, mode=mode) for c in a])
    assert np.allclose(vn.jet(lambda x: convolve(x, b, mode=mode), a), expected, rtol=1e-12, atol=1e-14)


def test_a_batch_of_one_kernel_is_recorded_once():
    calls = []

    def fun(x):
        calls.append(1)
        return anp.sum(convolve(x, x[:2]) ** 2)

    recorded = Recorded(autograd.grad(fun), (V,))
    recorded.start(3).coefficient([RNG.standard_normal((3, 6))])
    recorded.start(1).coefficient([RNG.standard_normal((1, 6))])
    assert len(calls) == 1
