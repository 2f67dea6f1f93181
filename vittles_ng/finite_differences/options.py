"""How a black box is to be differenced."""

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..recursion import checked_integer, checked_positive

__all__ = ["CentralDifferences", "RandomDirections", "checked_generator", "noise_told"]


@dataclass(frozen=True, eq=False)
class CentralDifferences:
    """Central differences, extrapolated; the steps follow the noise.

    Parameters
    ----------
    noise : float or array_like of shape (n_output,), default=None
        Standard deviation of the noise of each value of the function; default: estimated at the base point, see
        :func:`estimate_noise`.
    rtol : float, default=1e-8
        Relative accuracy of a difference that is enough; where the noise forbids it, the best that there is.

    Examples
    --------
    >>> from vittles_ng.finite_differences import CentralDifferences
    >>> CentralDifferences(noise=1e-6).rtol
    1e-08
    """

    noise: object = None
    rtol: float = 1e-8

    def __post_init__(self):
        noise = np.zeros(1) if self.noise is None else np.asarray(self.noise)
        if noise.dtype.kind not in "uif" or not np.all((noise >= 0.0) & (noise < np.inf)):
            raise ValueError(f"noise={self.noise!r}: finite numbers from zero are needed.")
        if not checked_positive(self.rtol, "rtol") < 1.0:
            raise ValueError(f"rtol={self.rtol}: a number between 0 and 1 is needed.")


@dataclass(frozen=True, eq=False)
class RandomDirections:
    """Averages over pairs of points in random directions from the base point.

    The equation is called in pairs once; then every direction, at every order, is answered from those values without
    a further call, with the error of an average: it falls as ``n_directions^(-1/2)`` and grows with the number of
    inputs and hypers and, steeply, with the order: the third is rarely worth having. For many directions of a very
    rough or costly function; a smooth one is better served by :class:`CentralDifferences`. That the function is
    averaged is not in the error of the average; the verdict of ``refit`` sees it.

    Parameters
    ----------
    n_directions : int
        Pairs of points, at least 2.
    rng : numpy.random.Generator
        Draws the directions.
    step : float, default=0.1
        Standard deviation of a point's distance from the base point in each input and hyper, in units of ``1 + |x|``:
        what is differentiated is the function averaged over such a neighbourhood.
    noise, rtol
        As of :class:`CentralDifferences`: for the Jacobian in the input, which is by central differences.

    References
    ----------
    Y. Nesterov, V. Spokoiny, "Random gradient-free minimization of convex functions", Found. Comput. Math. 17 (2017)
    527; J. C. Duchi, M. I. Jordan, M. J. Wainwright, A. Wibisono, "Optimal rates for zero-order convex optimization:
    the power of two function evaluations", IEEE Trans. Inform. Theory 61 (2015) 2788.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.finite_differences import RandomDirections
    >>> RandomDirections(1000, np.random.default_rng(0)).step
    0.1
    """

    n_directions: int
    rng: np.random.Generator
    step: float = 0.1
    noise: object = None
    rtol: float = 1e-8

    def __post_init__(self):
        CentralDifferences(self.noise, self.rtol)
        checked_integer(self.n_directions, "n_directions", 2)
        checked_generator(self.rng)
        checked_positive(self.step, "step")


def noise_told(noise, n):
    """The noise that the user gave for a function of n values, (n,)."""
    noise = np.ravel(np.asarray(noise, dtype=np.float64))
    if noise.size not in (1, n):
        raise ShapeError(f"noise of {noise.size} components for a function of {n} values: one number, or one for each.")
    return np.broadcast_to(noise, (n,))


def checked_generator(rng):
    """Raise unless this is a generator of random numbers."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}.")
