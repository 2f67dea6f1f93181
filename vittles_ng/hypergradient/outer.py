"""The outer loss: its value and its two gradients, by reverse passes."""

import autograd.numpy as anp
import numpy as np
from autograd.core import make_vjp
from autograd.extend import vspace

from ..errors import NonFiniteError, ShapeError
from ..functionals import of_input_and_hyper
from ..taylor.tracing import traced_code

__all__ = ["OuterLoss"]


class OuterLoss:
    """An outer loss on flat vectors.

    Parameters
    ----------
    function : callable
        ``function(input, hyper)`` or ``function(input)``, a scalar, in autograd.numpy.
    input, hyper : Structure
        Of its arguments.
    """

    def __init__(self, function, input, hyper):
        self._function, self._input, self._hyper = of_input_and_hyper(function), input, hyper
        self._n_input = input.size

    def __call__(self, point, hyper):
        """Value and gradients.

        Parameters
        ----------
        point : ndarray of shape (n_input,)
        hyper : ndarray of shape (n_hyper,)

        Returns
        -------
        value : float
        by_input : ndarray of shape (n_input,)
        by_hyper : ndarray of shape (n_hyper,)

        Raises
        ------
        NonFiniteError
            One of them is NaN or infinite.
        ShapeError
            The outer loss is not a scalar.
        TypeError
            It is not a real number.
        """
        with traced_code(), np.errstate(all="ignore"):
            pull, value = make_vjp(self._of_both, np.concatenate([point, hyper]))
            if np.shape(value) != ():
                raise ShapeError(
                    f"the outer loss returned an array of shape {np.shape(value)}: a scalar is needed, sum or average."
                )
            gradient = pull(vspace(value).ones())
        for what, x in (
            ("the outer loss is", value),
            ("the gradient of the outer loss has elements that are", gradient),
        ):
            if not np.all(np.isfinite(x)):
                raise NonFiniteError(
                    f"{what} NaN or infinite at the inner solution ({np.sum(~np.isfinite(x))} of {np.size(x)}): check "
                    "its data, and that it is defined there (log of a negative number, overflow)."
                )
        return float(value), gradient[: self._n_input], gradient[self._n_input :]

    def _of_both(self, both):
        value = self._function(
            self._input.unflatten(both[: self._n_input]), self._hyper.unflatten(both[self._n_input :])
        )
        kind = np.result_type(getattr(value, "dtype", type(value)))
        if kind.kind not in "buif":
            raise TypeError(f"the outer loss returned elements of type {kind}: a real number is needed.")
        # the term that is zero: autograd warns of functions that do not depend on their argument
        return value + 0.0 * anp.sum(both)
