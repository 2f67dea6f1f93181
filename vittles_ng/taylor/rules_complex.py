"""Rules of the parts of complex numbers and of changes of type."""

import autograd.numpy as anp
import numpy as np
from autograd.numpy import numpy_wrapper as wrapper
from autograd.numpy.numpy_vjps import match_complex

from ..errors import MissingRuleError, NonSmoothError
from .primitives import plain
from .rules import Expansion, Linear, defrule
from .rules_choices import bound
from .rules_reductions import squared_modulus

__all__ = []

defrule(anp.real, lambda call: Linear(lambda ws, x: np.real(x)))
defrule(anp.imag, lambda call: Linear(lambda ws, x: np.imag(x)))
for _fun in {anp.conj, anp.conjugate}:
    defrule(_fun, lambda call: Linear(lambda ws, x: np.conj(x)))


def _check_angle(z):
    n = np.sum(np.asarray(z) == 0)
    if n:
        raise NonSmoothError(f"angle has no Taylor series at 0 ({n} entries): move the base point.")


def _angle(call):
    _check_angle(call.args[0])
    if not np.iscomplexobj(call.args[0]):
        return Linear(lambda ws, x: np.zeros(x.shape))  # 0 or pi

    def fun(value, z, deg=False):
        angle = anp.arctan2(anp.imag(z), anp.real(z))
        return angle * (180.0 / np.pi) if deg else angle

    return Expansion(fun)


def _angle_vjp(argnums, ans, args, kwargs):
    z, deg = args[0], bound(("deg",), args[1:], kwargs).get("deg", False)
    _check_angle(plain(z))
    unit = 180.0 / np.pi if deg else 1.0
    return lambda g: (match_complex(z, g * unit * anp.conj(z * 1j) / squared_modulus(z)),)


defrule(anp.angle, _angle, vjp=_angle_vjp)


def _real_if_close(call):
    if np.iscomplexobj(call.args[0]) and not np.iscomplexobj(call.value):
        raise MissingRuleError(
            "the primitive 'real_if_close' drops imaginary parts that are small at the base point only: use np.real."
        )
    return Linear(lambda ws, x: x)


defrule(anp.real_if_close, _real_if_close)


def _check_astype(args, kwargs):
    dtype = np.dtype(bound(("dtype",), args[1:], kwargs)["dtype"])
    if not np.issubdtype(dtype, np.inexact):
        raise MissingRuleError(
            f"the primitive 'astype' to {dtype} rounds, and has no Taylor series: take it of data, not of a quantity "
            "that depends on the arguments."
        )
    return dtype


def _astype(call):
    dtype = _check_astype(call.args, call.kwargs)
    if np.issubdtype(dtype, np.complexfloating) or not np.iscomplexobj(call.args[0]):
        return Linear(lambda ws, x: x.astype(np.result_type(dtype, np.float64)))
    return Linear(lambda ws, x: np.real(x))


def _astype_vjp(argnums, ans, args, kwargs):
    _check_astype(args, kwargs)
    return lambda g: (match_complex(args[0], g),)


defrule(wrapper._astype, _astype, vjp=_astype_vjp)
