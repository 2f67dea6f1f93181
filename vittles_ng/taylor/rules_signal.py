"""Rules of Fourier transforms and convolution: linear and bilinear, over the complex numbers.

A transform of a batch is NumPy's own, its axes counted from the end so that the step axis stays out of it.
"""

import autograd.numpy as anp
import autograd.numpy.fft as afft
import numpy as np
from autograd.core import primitive_vjps
from autograd.scipy.signal import convolve

from ..errors import MissingRuleError
from .rules import Linear, bilinear, defrule
from .rules_choices import bound, check_keywords

__all__ = []

# ---- transforms ----


def _one_axis(name, ndim, args, kwargs):
    """n, axis (counted from the end) and norm of a transform along one axis."""
    given = bound(("n", "axis", "norm", "out"), args[1:], kwargs)
    check_keywords(name, given, ("out",))
    return given.get("n"), given.get("axis", -1) % ndim - ndim, given.get("norm")


def _many_axes(name, ndim, args, kwargs):
    """s, axes (counted from the end) and norm of a transform along several."""
    given = bound(("s", "axes", "norm", "out"), args[1:], kwargs)
    check_keywords(name, given, ("out",))
    s, axes = given.get("s"), given.get("axes", (-2, -1) if name.endswith("2") else None)
    if axes is None:
        axes = range(-(ndim if s is None else len(s)), 0)
    return s, tuple(a % ndim - ndim for a in axes), given.get("norm")


def _transform(name, arguments):
    fun = getattr(np.fft, name)

    def factory(call):
        given = arguments(name, np.ndim(call.args[0]), call.args, call.kwargs)
        return Linear(lambda ws, x: fun(x, *given))

    return factory


def _shift(fun):
    def factory(call):
        given = bound(("axes",), call.args[1:], call.kwargs)
        ndim, axes = np.ndim(call.args[0]), given.get("axes")
        axes = range(ndim) if axes is None else np.atleast_1d(axes)
        axes = tuple(int(a) % ndim - ndim for a in axes)
        return Linear(lambda ws, x: fun(x, axes=axes))

    return factory


def _real_vjp(name, arguments):
    """autograd's VJP of a real transform, told of a keyword ``n`` and of ``norm="backward"``, which it overlooks."""
    original = primitive_vjps[getattr(afft, name)]

    def vjp(argnums, ans, args, kwargs):
        size, axes, norm = arguments(name, anp.ndim(args[0]), args, kwargs)
        if norm == "forward":
            raise MissingRuleError(
                f"the gradient of '{name}' takes norm=None, 'backward' or 'ortho', not 'forward': "
                "divide by the number of points instead."
            )
        return original(argnums, ans, (args[0], size, axes, None if norm == "backward" else norm), {})

    return vjp


for _names, _arguments in (
    (("fft", "ifft", "rfft", "irfft"), _one_axis),
    (("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"), _many_axes),
):
    for _name in _names:
        _vjp = _real_vjp(_name, _arguments) if "rfft" in _name else None
        defrule(getattr(afft, _name), _transform(_name, _arguments), vjp=_vjp)
for _name in ("fftshift", "ifftshift"):
    defrule(getattr(afft, _name), _shift(getattr(np.fft, _name)))


def _truncate_pad(call):
    shape = tuple(call.args[1])
    window = tuple(slice(min(m, n)) for m, n in zip(np.shape(call.args[0]), shape, strict=True))
    window = (slice(None), *window)

    def apply(ws, x):
        out = np.zeros((x.shape[0], *shape), x.dtype)
        out[window] = x[window]
        return out

    return Linear(apply)


defrule(afft.truncate_pad, _truncate_pad)


# ---- convolution ----


def _convolution(call):
    given = bound(("axes", "dot_axes", "mode"), call.args[2:], call.kwargs)
    ndim, axes, mode = np.ndim(call.args[0]), given.get("axes"), given.get("mode", "full")
    axes, dot_axes = [list(range(ndim))] * 2 if axes is None else axes, given.get("dot_axes", [(), ()])
    n_free_a = ndim - len(axes[0]) - len(dot_axes[0])

    def shifted(pair, side):
        return [[a + 1 for a in p] if i == side else p for i, p in enumerate(pair)]

    def product(ws, a, b, a_steps, b_steps):
        if a_steps and b_steps:
            return np.stack([convolve(x, y, axes, dot_axes, mode) for x, y in zip(a, b, strict=True)])
        if not (a_steps or b_steps):
            return convolve(a, b, axes, dot_axes, mode)
        # the step axis is one more axis that is left alone: it comes out ahead of its operand's other such axes
        side = 0 if a_steps else 1
        out = convolve(a, b, shifted(axes, side), shifted(dot_axes, side), mode)
        return out if a_steps else np.moveaxis(out, n_free_a, 0)

    return product


defrule(convolve, bilinear(_convolution))
