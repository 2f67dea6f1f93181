"""First-order methods, as step sizes and momenta:

    z_{t+1} = z_t - h_t grad f(z_t, x) + m_t (z_t - z_{t-1}),    z_{-1} = z_0,

for proximal gradient with the prox of its penalty after it. Step sizes and momenta are numbers: they do not depend on
the hyper, and no derivative goes through them.
"""

import numpy as np

from ..errors import DivergenceError, ShapeError
from ..recursion import checked_integer

__all__ = [
    "Chebyshev",
    "GradientDescent",
    "HeavyBall",
    "Method",
    "ProximalGradient",
    "checked_interval",
]


class Method:
    """A first-order method; its subclasses give ``coefficients``."""

    penalty = None

    def coefficients(self, n_iterations):
        """Step sizes and momenta of the first iterations.

        Parameters
        ----------
        n_iterations : int

        Returns
        -------
        step_sizes, momenta : ndarray of shape (n_iterations,)
            In units of input squared over objective, and dimensionless.
        """
        raise NotImplementedError

    def check_spectrum(self, largest):
        """Raise where the method diverges on a quadratic with that largest eigenvalue.

        Raises
        ------
        DivergenceError
            Names the limit of the step size.
        ValueError
            The eigenvalue is not a positive number.
        """

    def __repr__(self):
        parts = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({parts})"


class GradientDescent(Method):
    """Gradient descent, ``z_{t+1} = z_t - h grad f(z_t, x)``.

    Parameters
    ----------
    step_size : float
        h. Converges for ``h < 2/L`` where the Hessian's eigenvalues are at most L.

    Raises
    ------
    ValueError
        The step size is not positive and finite.

    Examples
    --------
    >>> from vittles_ng.unrolling import GradientDescent
    >>> GradientDescent.fastest(1.0, 3.0)
    GradientDescent(step_size=0.5)
    """

    def __init__(self, step_size):
        self.step_size = _positive(step_size, "step_size")

    @classmethod
    def fastest(cls, smallest, largest):
        """Step size ``2 / (L + l)``: the best rate, ``(L - l) / (L + l)``, for eigenvalues in [l, L].

        The error of the Jacobian may rise at first, even so.
        """
        smallest, largest = checked_interval(smallest, largest)
        return cls(2.0 / (largest + smallest))

    @classmethod
    def short(cls, largest):
        """Step size ``1 / L``, at about half the rate of the fastest.

        With it the error of the Jacobian of a quadratic whose Hessian commutes with its derivative never rises, if the
        gradient at the start does not depend on the hyper (as with a ridge penalty from zero).
        """
        return cls(1.0 / _positive(largest, "largest"))

    def coefficients(self, n_iterations):
        """See :meth:`Method.coefficients`."""
        checked_integer(n_iterations, "n_iterations", 0)
        return np.full(n_iterations, self.step_size), np.zeros(n_iterations)

    def check_spectrum(self, largest):
        """See :meth:`Method.check_spectrum`."""
        _check_limit(self, 2.0, largest)


class HeavyBall(Method):
    """Momentum (Polyak's heavy ball), ``z_{t+1} = z_t - h grad f(z_t, x) + m (z_t - z_{t-1})``.

    The first step is one of gradient descent.

    Parameters
    ----------
    step_size : float
        h. Converges on quadratics for ``h < 2 (1 + m) / L``.
    momentum : float
        m, from 0 to below 1.

    Raises
    ------
    ValueError
        One of them is out of its range.

    References
    ----------
    B. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Comput. Math. Math. Phys. 4
    (1964) 1.

    Examples
    --------
    >>> from vittles_ng.unrolling import HeavyBall
    >>> HeavyBall.fastest(1.0, 9.0)
    HeavyBall(step_size=0.25, momentum=0.25)
    """

    def __init__(self, step_size, momentum):
        self.step_size = _positive(step_size, "step_size")
        self.momentum = _number(momentum, "momentum")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum={momentum}: a number from 0 to below 1 is needed.")

    @classmethod
    def fastest(cls, smallest, largest):
        """Polyak's parameters, of the best rate for eigenvalues in [l, L].

        ``h = 4 / (sqrt(L) + sqrt(l))^2`` and ``m = ((sqrt(L) - sqrt(l)) / (sqrt(L) + sqrt(l)))^2``.

        At l and L the recurrence ``z^2 - (1 + m - h lambda) z + m`` then has a double root, whose derivative in lambda
        is not finite: ``|J_t - J*| / |z_t - z*|`` grows as ``t^2``, not as t.
        """
        smallest, largest = checked_interval(smallest, largest)
        total = np.sqrt(largest) + np.sqrt(smallest)
        return cls(float(4.0 / total**2), float(((np.sqrt(largest) - np.sqrt(smallest)) / total) ** 2))

    def coefficients(self, n_iterations):
        """See :meth:`Method.coefficients`."""
        checked_integer(n_iterations, "n_iterations", 0)
        momenta = np.full(n_iterations, self.momentum)
        momenta[:1] = 0.0
        return np.full(n_iterations, self.step_size), momenta

    def check_spectrum(self, largest):
        """See :meth:`Method.check_spectrum`."""
        _check_limit(self, 2.0 * (1.0 + self.momentum), largest)


class Chebyshev(Method):
    """The Chebyshev method: after every iteration the best there is for Hessian eigenvalues in [l, L].

    Parameters
    ----------
    smallest, largest : float
        l and L, ``0 < l <= L``.

    Raises
    ------
    ValueError
        They are not an interval of positive numbers.

    References
    ----------
    G. Golub and R. Varga, "Chebyshev semi-iterative methods", Numer. Math. 3 (1961) 147.

    Examples
    --------
    >>> from vittles_ng.unrolling import Chebyshev
    >>> step_sizes, momenta = Chebyshev(1.0, 9.0).coefficients(3)
    >>> print(step_sizes.round(4), momenta.round(4))
    [0.2    0.2941 0.2615] [0.     0.4706 0.3077]
    """

    def __init__(self, smallest, largest):
        self.smallest, self.largest = checked_interval(smallest, largest)

    # With r_t = C_t(s) / C_{t+1}(s), s = (L + l) / (L - l): r_t = 1 / (2 s - r_{t-1}), h_t = 4 r_t / (L - l),
    # m_t = r_t r_{t-1}. Written in q_t = r_t / (L - l), which stays finite as l tends to L.
    def coefficients(self, n_iterations):
        """See :meth:`Method.coefficients`."""
        checked_integer(n_iterations, "n_iterations", 0)
        step_sizes, momenta = np.zeros(n_iterations), np.zeros(n_iterations)
        total, squared = self.largest + self.smallest, (self.largest - self.smallest) ** 2
        q = 1.0 / total
        for t in range(n_iterations):
            before, q = q, 1.0 / (2.0 * total - squared * q) if t else q
            step_sizes[t], momenta[t] = (4.0 * q, squared * q * before) if t else (2.0 * q, 0.0)
        return step_sizes, momenta

    def check_spectrum(self, largest):
        """See :meth:`Method.check_spectrum`."""
        largest = _positive(largest, "largest")
        # symmetric about the middle of [l, L]: stable on (0, L + l)
        if not largest < self.largest + self.smallest:
            raise DivergenceError(
                f"{self!r} diverges: the largest eigenvalue of the Hessian is {largest:.3g}, not under "
                f"{self.largest + self.smallest:.3g}: pass largest={largest:.3g}."
            )


class ProximalGradient(Method):
    """Proximal gradient for a weighted l1 penalty (ISTA), for ``f(z, x) + sum_i w_i(x) |z_i|``.

    ``z_{t+1} = S(z_t - h grad f(z_t, x), h w(x))`` with the soft threshold ``S(v, s) = sign(v) max(|v| - s, 0)``. Its
    derivative is that on the active set, ``dv - h sign(v) dw`` where ``|v| > s`` and 0 elsewhere.

    Parameters
    ----------
    step_size : float
        h, at most 1/L for a guarantee, L the largest eigenvalue of the Hessian of f in the input; diverges from 2/L.
    penalty : float or callable
        The weight w of the l1 norm: a number, or a function ``w(hyper)`` in autograd.numpy of one number or of one for
        each input; zero is no penalty.

    Raises
    ------
    ValueError
        The step size or a penalty that is a number is out of its range; that of a function is checked when it is used.

    References
    ----------
    I. Daubechies, M. Defrise, C. De Mol, Comm. Pure Appl. Math. 57 (2004) 1413. Q. Bertrand, Q. Klopfenstein,
    M. Blondel, S. Vaiter, A. Gramfort, J. Salmon, "Implicit differentiation of Lasso-type models for hyperparameter
    optimization" (arXiv 2002.08943), on the derivative.

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from vittles_ng.unrolling import ProximalGradient, unroll_forward
    >>> ista = ProximalGradient(1.0, lambda hyper: np.exp(hyper[0]))
    >>> y = np.array([3.0, -0.5, -2.0])
    >>> run = unroll_forward(lambda z, hyper: 0.5 * np.sum((z - y) ** 2), np.zeros(3), np.zeros(1), ista, 1)
    >>> print(run.input_val, run.jacobian.ravel())
    [ 2.  0. -1.] [-1.  0.  1.]
    """

    def __init__(self, step_size, penalty):
        self.step_size = _positive(step_size, "step_size")
        if np.ndim(penalty):
            raise ShapeError(
                f"penalty has shape {np.shape(penalty)}: one number, or a function of the hyper, is needed; weights w "
                "for each input are lambda hyper: w."
            )
        if not callable(penalty):
            penalty = _number(penalty, "penalty")
            if not (np.isfinite(penalty) and penalty >= 0.0):
                raise ValueError(f"penalty={penalty}: a number from 0, or a function of the hyper, is needed.")
        self.penalty = penalty

    def coefficients(self, n_iterations):
        """See :meth:`Method.coefficients`."""
        checked_integer(n_iterations, "n_iterations", 0)
        return np.full(n_iterations, self.step_size), np.zeros(n_iterations)

    def check_spectrum(self, largest):
        """See :meth:`Method.check_spectrum`."""
        _check_limit(self, 2.0, largest)


def _check_limit(method, most, largest):
    """Raise unless step size times eigenvalue is under the most that is stable."""
    limit = most / _positive(largest, "largest")
    if not method.step_size < limit:
        raise DivergenceError(
            f"{method!r} diverges: the step size is {method.step_size:.3g}, and with the Hessian's largest eigenvalue "
            f"{largest:.3g} it must be under {limit:.3g}: reduce it."
        )


def _number(value, name):
    """One real number as a float."""
    if np.ndim(value):
        raise ShapeError(f"{name} has shape {np.shape(value)}: one number is needed.")
    if np.asarray(value).dtype.kind not in "buif":
        raise TypeError(f"{name}={value!r}: a number is needed.")
    return float(value)


def _positive(value, name):
    value = _number(value, name)
    if not (np.isfinite(value) and value > 0.0):
        raise ValueError(f"{name}={value}: a positive number is needed.")
    return value


def checked_interval(smallest, largest):
    """The ends of an interval of positive eigenvalues as floats, or an error that says which is wrong."""
    smallest, largest = _positive(smallest, "smallest"), _positive(largest, "largest")
    if smallest > largest:
        raise ValueError(f"smallest={smallest} > largest={largest}: the smallest eigenvalue comes first.")
    return smallest, largest
