"""User code under autograd's tracer: one thread at a time, its state restored after errors, and errors explained.

autograd's trace stack is global and not thread-safe, so every trace runs under :data:`TRACE_LOCK`; and it is left
raised by an exception, so its height is put back.
"""

import threading
import traceback
from contextlib import contextmanager

import numpy as np
from autograd.numpy import add as any_primitive
from autograd.tracer import isbox, trace_stack

from ..errors import VittlesError

__all__ = ["TRACE_LOCK", "check_call", "explained", "traced_code"]

TRACE_LOCK = threading.RLock()

_SIGNS = (  # that an error is about an array of objects, or one object, where numbers are needed
    "ArrayBox",
    "dtype('O')",
    "not supported for the input types",
    "setting an array element with a sequence",
)


@contextmanager
def traced_code():
    """Hold the lock, and leave autograd's trace stack as it was found."""
    with TRACE_LOCK:
        top = trace_stack.top
        try:
            yield
        finally:
            trace_stack.top = top


def check_call(name, kwargs, value):
    """Refuse a call of a primitive that reached a traced value by other ways than its positional arguments."""
    for keyword, x in kwargs.items():
        if _has_traced(x):
            raise TypeError(_by_keyword(name, keyword))
    if isbox(value):
        raise TypeError(
            f"the primitive '{name}' returned a traced value: it reads one that is not among its arguments; "
            "pass every traced value by position."
        )


@contextmanager
def explained():
    """Say what to do about errors of NumPy and SciPy that come from a traced value where none can be."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message = _explanation(error)
        if message is None:
            raise
        raise TypeError(message) from error


def _explanation(error):
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is any_primitive.__code__:  # all primitives are one function, closed over different ones
            for keyword, x in frame.f_locals["kwargs"].items():
                if _has_traced(x):
                    return _by_keyword(getattr(frame.f_locals["f_raw"], "__name__", "a primitive"), keyword)
    if not isinstance(error, VittlesError) and any(sign in str(error) for sign in _SIGNS):
        what = str(error).splitlines()[0]
        return (
            f"{what[:120]}{'...' if len(what) > 120 else ''}: a traced array (autograd's ArrayBox) went where only "
            "plain ones can. Use the functions of autograd.numpy and autograd.scipy in place of those of numpy, scipy "
            "and math, plain arrays in place of pandas, sparse, masked or matrix objects, and build a new array instead"
            " of assigning to elements."
        )
    return None


def _by_keyword(name, keyword):
    return (
        f"the argument '{keyword}' of '{name}' depends on what is expanded in and is passed by keyword, where autograd "
        "does not follow it: pass it by position."
    )


def _has_traced(x):
    if isinstance(x, (list, tuple)):
        return any(_has_traced(v) for v in x)
    if isinstance(x, dict):
        return any(_has_traced(v) for v in x.values())
    if isinstance(x, np.ndarray) and x.dtype == object:
        return any(_has_traced(v) for v in x.flat)
    return isbox(x)
