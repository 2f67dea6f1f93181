"""One step of a first-order method at one state, and its derivatives forwards and backwards.

A state is ``(z_t, z_{t-1})``, or ``(z_t, z_t)`` where the method has no momentum. With p the one before, ``y = z + b (z
- p)``, ``F = grad f(y)``, ``H = d2f/dz2`` and ``B = d2f/dz dx`` at y,

    z' = z + m (z - p) - h F,    dz' = dz + m (dz - dp) - h (H dy + B dx),    p' = z

and backwards, for the adjoints ``a'`` of z' and ``c'`` of p', with ``u = -h a'``:

    a = (1 + m) a' + (1 + b) H u + c',    c = -m a' - b H u,    gradient in x: B^T u.

A penalty's threshold comes after it, and its adjoint first.
"""

from .products import SecondDerivatives, gradient_at

__all__ = ["GradientStep"]


class GradientStep:
    """A step with the gradient at one point. What an :class:`Iteration` asks of a step are its attributes and methods.

    Parameters
    ----------
    equation : Equation
        Of the step's objective.
    t : int
    state : tuple of ndarray
    coefficients : tuple of float
        h, m and b.
    mode : {"forward", "reverse"} or None
        Whether :meth:`pushed` or :meth:`pulled` is wanted, or only where the step leads.
    penalty : L1Penalty, default=None

    Attributes
    ----------
    at : ndarray of shape (n_input,)
        Where the gradient was taken.
    gradient : ndarray of shape (n_input,)
    derivatives : SecondDerivatives, or None
    """

    def __init__(self, equation, t, state, coefficients, mode, penalty=None):
        z, previous = state
        self._t, self._penalty = t, penalty
        self._h, self._m, self._b = coefficients
        self.at = z + self._b * (z - previous) if self._b else z
        if mode is None:
            self.derivatives, self.gradient = None, gradient_at(equation, self.at)
        else:
            self.derivatives = SecondDerivatives(equation, self.at, mode == "reverse")
            self.gradient = self.derivatives.gradient
        self._moved = z - self._h * self.gradient
        if self._m:
            self._moved += self._m * (z - previous)

    def after(self):
        """The next iterate."""
        return self._moved if self._penalty is None else self._penalty.threshold(self._moved, self._h)

    def pushed(self, jacobian, previous):
        """Jacobian of the next iterate, from those of this one and the one before."""
        along = jacobian + self._b * (jacobian - previous) if self._b else jacobian
        after = self.derivatives.pushed(along)
        after *= -self._h  # in place: Jacobians are what takes memory
        after += jacobian
        if self._m:
            after += self._m * jacobian
            after -= self._m * previous
        return after if self._penalty is None else self._penalty.pushed(after, self._signs(), self._h)

    def pulled(self, rows, carried):
        """Adjoints one step back.

        Parameters
        ----------
        rows, carried : ndarray of shape (n_rows, n_input)
            Of the next iterate, and of this one as the one before that; the second None for zeros.

        Returns
        -------
        rows, carried
            Of this iterate, and of the one before.
        of_hyper : ndarray of shape (n_rows, n_hyper)
        of_weights : ndarray of shape (n_rows, n_weights), or None
            Adjoints of the penalty's weights.
        """
        of_weights = None
        if self._penalty is not None:
            rows, of_weights = self._penalty.pulled(rows, self._signs(), self._h)
        of_input, of_hyper = self.derivatives.pulled(-self._h * rows)
        before, of_previous = rows + of_input, None
        if self._m or self._b:
            of_previous = -self._m * rows
            if self._b:
                of_previous -= self._b * of_input
            before -= of_previous
        if carried is not None:
            before += carried
        return before, of_previous, of_hyper, of_weights

    def _signs(self):
        return self._penalty.signs(self._moved, self._h, self._t)
