"""Methods beside those of :mod:`vittles_ng.unrolling`: Nesterov's, Newton's, and stochastic gradient descent.

With ``y_t = z_t + b_t (z_t - z_{t-1})``, all but Newton's are

    z_{t+1} = z_t + m_t (z_t - z_{t-1}) - h_t grad f_t(y_t, x).
"""

import numpy as np

from ..errors import MismatchError
from ..recursion import checked_integer
from ..unrolling.methods import Chebyshev, GradientDescent, HeavyBall, Method, checked_interval

__all__ = ["Accelerated", "Newton", "StochasticGradientDescent", "check_method", "linear_coefficients"]


class _Named:
    __repr__ = Method.__repr__


class Accelerated(_Named):
    """Nesterov's accelerated gradient, its gradient taken at ``y_t = z_t + m (z_t - z_{t-1})``.

    ``z_{t+1} = y_t - h grad f(y_t, x)``, with momentum m from the second step on.

    Parameters
    ----------
    step_size : float
        h, at most ``1 / L`` where the Hessian's eigenvalues are at most L.
    momentum : float
        m, from 0 to below 1.

    Raises
    ------
    ValueError
        One of them is out of its range.

    References
    ----------
    Y. Nesterov, "Lectures on Convex Optimization", Springer 2018, scheme 2.2.22.

    Examples
    --------
    >>> from vittles_ng.minimum_gradients import Accelerated
    >>> Accelerated.fastest(1.0, 4.0)
    Accelerated(step_size=0.25, momentum=0.3333333333333333)
    """

    def __init__(self, step_size, momentum):
        checked = HeavyBall(step_size, momentum)
        self.step_size, self.momentum = checked.step_size, checked.momentum

    @classmethod
    def fastest(cls, smallest, largest):
        """``h = 1/L``, ``m = (sqrt(L) - sqrt(l)) / (sqrt(L) + sqrt(l))`` for eigenvalues in [l, L].

        A double root at l, with the factor ``t^2`` of :meth:`HeavyBall.fastest
        <vittles_ng.unrolling.HeavyBall.fastest>`.
        """
        smallest, largest = checked_interval(smallest, largest)
        low, high = np.sqrt(smallest), np.sqrt(largest)
        return cls(1.0 / largest, float((high - low) / (high + low)))


class Newton(_Named):
    """Newton's method, ``z_{t+1} = z_t - H(z_t, x)^{-1} grad f(z_t, x)``, by dense Cholesky; full steps.

    Examples
    --------
    >>> from vittles_ng.minimum_gradients import Newton
    >>> Newton()
    Newton()
    """


class StochasticGradientDescent(_Named):
    """Stochastic gradient descent with decaying steps, for objectives that are means over observations.

    ``z_{t+1} = z_t - h (1 + t / delay)^{-power} grad f(z_t, x, indices_t)``, with ``batch_size`` indices drawn
    independently and uniformly. The objective takes the indices as its third argument, and must be the mean over them
    of what one index gives.

    Parameters
    ----------
    step_size : float
        h.
    n_obs : int
    power : float, default=1.0
        From 0, constant steps, to 1. At 1 the rate of 1 is reached if ``h delay > 1 / l``, l the smallest eigenvalue of
        the Hessian at the minimum; below 1 there is no such limit.
    delay : float, default=1.0
        Iterations until the decay begins.
    batch_size : int, default=1
    seed : int, default=0

    Raises
    ------
    ValueError
        One of them is out of its range.

    References
    ----------
    F. Bach and E. Moulines, "Non-asymptotic analysis of stochastic approximation algorithms", NeurIPS 2011.

    Examples
    --------
    The mean of (1, 2, 3) as a minimum; a step of size 1 / (t + 1) makes the iterate the mean of what was drawn:

    >>> import autograd.numpy as np
    >>> from vittles_ng.minimum_gradients import StochasticGradientDescent, automatic_gradient
    >>> y = np.array([1.0, 2.0, 3.0])
    >>> def objective(z, x, indices):
    ...     return 0.5 * np.mean((z[0] - x[0] * y[indices]) ** 2)
    >>> sgd = StochasticGradientDescent(1.0, n_obs=3, seed=1)
    >>> result = automatic_gradient(objective, np.zeros(1), np.ones(1), sgd, 300)
    >>> print(result.input_val.round(2), result.gradient.round(2))  # exact: [2.] and [0.67]
    [2.04] [0.67]
    """

    def __init__(self, step_size, n_obs, power=1.0, delay=1.0, batch_size=1, seed=0):
        self.step_size = GradientDescent(step_size).step_size
        self.n_obs, self.batch_size = checked_integer(n_obs, "n_obs", 1), checked_integer(batch_size, "batch_size", 1)
        self.power, self.delay, self.seed = float(power), float(delay), checked_integer(seed, "seed", 0)
        if not 0.0 <= self.power <= 1.0:
            raise ValueError(f"power={power}: a number from 0 to 1 is needed.")
        if not (np.isfinite(self.delay) and self.delay > 0.0):
            raise ValueError(f"delay={delay}: a positive number is needed.")

    def step_sizes(self, n_iterations):
        """Step sizes of the first iterations, (n_iterations,)."""
        checked_integer(n_iterations, "n_iterations", 0)
        return self.step_size * (1.0 + np.arange(n_iterations) / self.delay) ** -self.power

    def indices(self, n_iterations):
        """Indices of the first iterations, (n_iterations, batch_size)."""
        checked_integer(n_iterations, "n_iterations", 0)
        return np.random.default_rng(self.seed).integers(self.n_obs, size=(n_iterations, self.batch_size))

    def with_seed(self, seed):
        """The same method with other draws."""
        return type(self)(self.step_size, self.n_obs, self.power, self.delay, self.batch_size, seed)

    def check_objective(self, value):
        """Raise unless an objective is the mean over its indices.

        Parameters
        ----------
        value : callable
            ``value(indices) -> float``, the objective at one point.

        Raises
        ------
        MismatchError
        """
        # of a single observation: that one twice
        everything = np.arange(self.n_obs) if self.n_obs > 1 else np.zeros(2, dtype=int)
        parts = np.array_split(everything, 2)
        total, halves = value(everything), [value(part) for part in parts]
        mean = np.average(halves, weights=[len(part) for part in parts])
        if np.isfinite(total) and not abs(total - mean) <= 1e-8 * (abs(total) + np.max(np.abs(halves))):
            raise MismatchError(
                f"the objective is {total:.6g} of all {self.n_obs} observations and {mean:.6g} as the mean of its two "
                "halves: it must be the mean over the indices that it is given, not their sum, so that its expectation "
                "over drawn indices is its value for all."
            )


def check_method(method):
    """Raise unless it is a method whose gradients can be estimated."""
    known = (GradientDescent, HeavyBall, Chebyshev, Accelerated, Newton, StochasticGradientDescent)
    if not isinstance(method, known):
        names = ", ".join(kind.__name__ for kind in known)
        raise TypeError(f"method is a {type(method).__name__}: one of {names} is needed.")


def linear_coefficients(method, n_iterations):
    """Step sizes h, momenta m and extrapolations b, each (n_iterations,).

    Parameters
    ----------
    method : GradientDescent, HeavyBall, Chebyshev, Accelerated, Newton or StochasticGradientDescent
    n_iterations : int
    """
    zeros = np.zeros(n_iterations)
    if isinstance(method, Newton):
        return np.ones(n_iterations), zeros, zeros
    if isinstance(method, StochasticGradientDescent):
        return method.step_sizes(n_iterations), zeros, zeros
    if isinstance(method, Accelerated):
        step_sizes, momenta = HeavyBall(method.step_size, method.momentum).coefficients(n_iterations)
        return step_sizes, momenta, momenta
    return (*method.coefficients(n_iterations), zeros)
