"""Values of a user's function: real, finite, of one shape, each formed once."""

import numpy as np

from ..errors import ShapeError

__all__ = ["FAILURES", "Values", "returned_array"]

#: What a function raises where it is not defined.
FAILURES = (ArithmeticError, ValueError, np.linalg.LinAlgError)


def returned_array(value):
    """What a function returned as a new array of floats; of complex numbers or of no numbers a TypeError."""
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise TypeError(f"the function returned values of type {array.dtype}: real numbers are needed.")
    return array.astype(np.float64)


class Values:
    """Flat values of a function of one variable, each formed once.

    Parameters
    ----------
    fun : callable
        ``fun(t)``, an array.

    Attributes
    ----------
    n_evaluations : int
        Calls so far.
    shape : tuple of int
        Of the values.
    """

    def __init__(self, fun):
        self._fun, self._values, self.n_evaluations, self.shape = fun, {}, 0, None

    def __call__(self, t):
        """The value at t, flat, or a string that says why there is none."""
        if t not in self._values:
            self.n_evaluations += 1
            self._values[t] = self._formed(t)
        return self._values[t]

    def _formed(self, t):
        try:
            with np.errstate(all="ignore"):
                value = self._fun(t)
        except ShapeError:
            raise
        except FAILURES as error:
            return f"{type(error).__name__}: {error}"
        shape = np.shape(value)
        if self.shape is None:
            self.shape = shape
        elif shape != self.shape:
            raise ShapeError(f"the function returned an array of shape {self.shape} at x, of {shape} close to it.")
        value = np.ravel(value)
        if not np.all(np.isfinite(value)):
            return f"{np.sum(~np.isfinite(value))} of {value.size} values NaN or infinite"
        return value
