"""One step of a method at one state, and its derivatives forwards and backwards.

A state is ``(z_t, z_{t-1})``. With ``y = z + b (z - p)``, p the one before, ``F = grad f(y)``, ``F' = H dy + B dx``,

    z' = z + m (z - p) - h F,              p' = z
    dz' = dz + m (dz - dp) - h (H dy + B dx)

and backwards, for the adjoints ``a'`` of z' and ``c'`` of p', with ``u = -h a'``:

    a = (1 + m) a' + (1 + b) H u + c',     c = -m a' - b H u,     gradient in x: B^T u.

Newton's step s, ``H s = F``, has ``H ds = F' - D^2F[(dz, dx), (s, 0)]``; backwards, with ``w = H^{-1} a'``,

    a = a' - H w + D^2F[(w, 0), (s, 0)] in z,    gradient in x: -B^T w + the same in x.
"""

import numpy as np

from ..solvers import DenseCholesky
from ..taylor.recorded import block_size
from ..unrolling.products import SecondDerivatives

__all__ = ["Derivatives", "GradientStep", "NewtonStep"]

#: Products of second derivatives that a mixed third derivative is counted as: two series of order 2.
_MIXED_COST = 4


class Derivatives(SecondDerivatives):
    """Derivatives of an objective at one point, to third order along pairs of directions.

    Attributes
    ----------
    gradient : ndarray of shape (n_input,)
    hyper_gradient : ndarray of shape (n_hyper,), or None
        Where ``transposed``.
    """

    def __init__(self, equation, z, transposed=False):
        super().__init__(equation, z, transposed)
        self.hyper_gradient = np.asarray(self._recorded.values[1], dtype=np.float64) if transposed else None

    def depends_on_input(self):
        """Whether the objective depends on the input."""
        return self._recorded.depends_on(0) or bool(np.any(self.gradient))

    def mixed(self, of_input, of_hyper, step):
        """``D^2 F[(u, v), (step, 0)]`` for rows (u, v), F the gradient: in z, and in x where ``transposed``.

        With ``c_2(w)`` the coefficient of t^2 of F along w, ``D^2F[u, s] = (c_2(u + s) - c_2(u - s)) / 2`` (Griewank,
        Utke, Walther, Math. Comp. 69 (2000) 1117), s scaled to the size of u.
        """
        n_rows, length = len(of_input), np.max(np.abs(step))
        found = [np.zeros((n_rows, self._n_input)), np.zeros((n_rows, self._n_hyper))]
        if length == 0.0:
            return found
        sizes = np.max(np.abs(of_input), axis=1)
        sizes = sizes if of_hyper is None else np.maximum(sizes, np.max(np.abs(of_hyper), axis=1))
        scales = np.where(sizes > 0.0, sizes, 1.0)[:, None] / length
        block = max(1, block_size(self._recorded.size) // 2)
        for start in range(0, n_rows, block):
            part = slice(start, start + block)
            both = np.concatenate([of_input[part] + scales[part] * step, of_input[part] - scales[part] * step])
            replay = self._recorded.start(len(both))
            with np.errstate(all="ignore"):
                replay.coefficient([both, None if of_hyper is None else np.tile(of_hyper[part], (2, 1))])
                for out, c in zip(found, replay.coefficient([None, None]), strict=False):
                    if c is not None:
                        plus, minus = np.split(c, 2)
                        out[part] = (plus - minus) / (2.0 * scales[part])
        return found


class GradientStep:
    """A step with the gradient at one point; parameters as in the module's formulas."""

    def __init__(self, equation, state, step_size, momentum, extrapolation, transposed=False):
        self._z, self._previous = state
        self._h, self._m, self._b = step_size, momentum, extrapolation
        self._derivatives = Derivatives(equation, self.at(state, extrapolation), transposed)
        self.gradient = self._derivatives.gradient

    @staticmethod
    def at(state, extrapolation):
        """Where the gradient is taken."""
        z, previous = state
        return z + extrapolation * (z - previous) if extrapolation else z

    @staticmethod
    def moved(state, gradient, step_size, momentum):
        """The next iterate."""
        z, previous = state
        after = z - step_size * gradient
        return after + momentum * (z - previous) if momentum else after

    def after(self):
        """The next iterate."""
        return self.moved((self._z, self._previous), self.gradient, self._h, self._m)

    def pushed(self, jacobian, previous):
        """Jacobian of the next iterate, from those of this one and the one before."""
        along = self.at((jacobian, previous), self._b)
        return self.moved((jacobian, previous), self._derivatives.pushed(along), self._h, self._m)

    def pulled(self, adjoint, adjoint_previous):
        """Adjoints of this iterate and the one before, and the gradient in the hyper."""
        of_input, of_hyper = self._derivatives.pulled(-self._h * adjoint[None, :])
        before = (1.0 + self._m) * adjoint + (1.0 + self._b) * of_input[0] + adjoint_previous
        return before, -self._m * adjoint - self._b * of_input[0], of_hyper[0]


class NewtonStep:
    """A full Newton step.

    Raises
    ------
    NotPositiveDefiniteError
        The Hessian is not positive definite.
    """

    #: of a step's derivative along one direction, in products with second derivatives
    n_products = 1 + _MIXED_COST

    def __init__(self, equation, state, transposed=False):
        self._z = state[0]
        self._derivatives = Derivatives(equation, self._z, transposed)
        self.gradient = self._derivatives.gradient
        self._factor = DenseCholesky(self._derivatives.hessian())
        self._step = self._factor.solve(self.gradient)

    def after(self):
        """The next iterate."""
        return self._z - self._step

    def pushed(self, jacobian, previous):
        """Jacobian of the next iterate."""
        right = self._derivatives.pushed(jacobian)
        right -= self._derivatives.mixed(jacobian.T, np.eye(jacobian.shape[1]), self._step)[0].T
        return jacobian - self._factor.solve(right)

    def pulled(self, adjoint, adjoint_previous):
        """Adjoints of this iterate and the one before, and the gradient in the hyper."""
        rows = self._factor.solve(adjoint)[None, :]
        (of_input,), (of_hyper,) = self._derivatives.pulled(rows)
        (mixed_input,), (mixed_hyper,) = self._derivatives.mixed(rows, None, self._step)
        return adjoint - of_input + mixed_input + adjoint_previous, np.zeros_like(adjoint), mixed_hyper - of_hyper
