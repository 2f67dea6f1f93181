"""Products with a Hessian by centred differences of a gradient, where autograd cannot differentiate twice.

``H v = (g(x + h v) - g(x - h v)) / (2 h) + O(h^2)``: the truncation falls as ``h^2``, the rounding of the gradient
grows as ``eps / h``, and their sum is least near ``h = eps^(1/3)``, where it is of order ``eps^(2/3)`` (Nocedal &
Wright, Numerical Optimization, 2nd ed., section 8.1).
"""

import numpy as np

from ..errors import NonFiniteError, ShapeError
from ..problem import Structure
from ..recursion import checked_positive
from ..taylor.tracing import traced_code
from .values import FAILURES

__all__ = ["HessianProduct", "hessian_product"]

#: Relative step that balances truncation and rounding.
RELATIVE_STEP = np.finfo(float).eps ** (1 / 3)


class HessianProduct:
    """``v -> H v`` by centred differences; made by :func:`hessian_product`.

    Attributes
    ----------
    n : int
        Number of inputs.
    accuracy : float
        Relative error of a product, estimated along two random directions; conjugate gradients read it.
    """

    def __init__(self, gradient, input_val0, step=None):
        if not callable(gradient):
            raise TypeError(f"expected a function input -> gradient, got {type(gradient).__name__}.")
        if step is not None:
            step = checked_positive(step, "step")
        self._gradient, self._step = gradient, step
        self._input = Structure(input_val0, "input_val0")
        self._scale = 1.0 + np.abs(self._input.flat0)
        self.n = self._input.size
        directions = np.random.default_rng(0).standard_normal((2, self.n)) * self._scale
        self.accuracy = max(self.error_estimate(v) for v in directions)

    def __call__(self, v):
        """``H v``.

        Parameters
        ----------
        v : ndarray of shape (n,)

        Returns
        -------
        product : ndarray of shape (n,)

        Raises
        ------
        NonFiniteError
            If the gradient is not finite at a step, or v is not.
        """
        v = self._direction(v)
        return self._difference(v, self._length(v)) if v.any() else np.zeros(self.n)

    def error_estimate(self, v):
        """Relative error of ``H v`` in the norm, from the products at step lengths h and 2 h.

        Truncation makes these differ by 3 times the error at h, rounding by about the error itself: the whole
        difference is taken, so that the estimate errs on the large side.

        Parameters
        ----------
        v : ndarray of shape (n,)

        Returns
        -------
        error : float
        """
        v = self._direction(v)
        if not v.any():
            return 0.0
        v = v / np.max(np.abs(v))
        length = self._length(v)
        one, two = self._difference(v, length), self._difference(v, 2.0 * length)
        size = max(np.linalg.norm(one), np.finfo(float).tiny)
        return float(max(np.linalg.norm(two - one) / size, np.finfo(float).eps))

    def _direction(self, v):
        return self._input.flatten(v, "the direction")

    def _length(self, v):
        """h, for which no input moves by more than the step, relative to ``1 + |input|``."""
        return (RELATIVE_STEP if self._step is None else self._step) / np.max(np.abs(v) / self._scale)

    def _difference(self, v, length):
        up, down = self._at(length * v), self._at(-length * v)
        return (up - down) / (2.0 * length)

    def _at(self, step):
        point = self._input.unflatten(self._input.flat0 + step)
        try:
            with traced_code(), np.errstate(all="ignore"):
                value = self._gradient(point)
            return self._input.flatten(value, "the gradient")
        except ShapeError:
            raise
        except FAILURES as error:
            told = (
                str(error) if isinstance(error, NonFiniteError) else f"the gradient: {type(error).__name__}: {error}."
            )
            raise NonFiniteError(
                f"{told} This is at a step of {np.max(np.abs(step)):.1e} from input_val0: pass a smaller step, or "
                "move input_val0 away from where the gradient is not defined."
            ) from error


def hessian_product(gradient, input_val0, step=None):
    """``v -> H v`` by centred differences of a gradient, two gradients a product, and eight to begin with.

    Parameters
    ----------
    gradient : callable
        ``gradient(input)``, of the structure of the input, or flat.
    input_val0 : array_like, dict, list or tuple
        Where the Hessian is wanted.
    step : float, default=None
        How far an input moves at most, relative to ``1 + |input|``; ``eps^(1/3)``, 6e-6, if None. A gradient that is
        good to fewer digits than float64 needs a larger one.

    Returns
    -------
    product : HessianProduct
        A function of ``(n,)`` with ``n``, ``accuracy`` and ``error_estimate(v)``.

    Raises
    ------
    NonFiniteError
        If the gradient has NaN or infinite elements at a step, or raises ArithmeticError or ValueError there.
    ShapeError
        If it has another shape than the input.

    Notes
    -----
    The error of a product is of order ``step**2`` times the third derivative of the gradient plus the gradient's own
    error over the step, near 1e-10 at best. For :class:`vittles_ng.solvers.ConjugateGradient` pass a ``rtol`` to match:
    1e-8 where H is well conditioned.

    References
    ----------
    J. Nocedal, S. J. Wright, Numerical Optimization, 2nd ed., Springer 2006, sections 7.1 and 8.1.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.finite_differences import hessian_product
    >>> from vittles_ng.solvers import ConjugateGradient
    >>> product = hessian_product(lambda x: np.exp(x), np.zeros(2))
    >>> product(np.array([1.0, 2.0])).round(8)
    array([1., 2.])
    >>> ConjugateGradient(product, rtol=1e-8).solve(np.array([1.0, 2.0])).round(6)
    array([1., 2.])
    """
    return HessianProduct(gradient, input_val0, step)
