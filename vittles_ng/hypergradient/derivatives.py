"""Second derivatives of the inner objective at one point: products with its Hessian H and its cross derivative.

With ``B = d2f / dinput dhyper``, (n_input, n_hyper), hypergradients need ``H v`` and ``B^T v``, their bounds ``B w``:
exact from a tape, or by centred differences of the gradient of f in both arguments, of which ``(H v, B^T v)`` is the
derivative along ``(v, 0)`` and ``(B w, .)`` that along ``(0, w)``.
"""

import copy
import warnings

import numpy as np
from autograd import grad

from ..adjoint import pulled_back
from ..errors import IndependentError, NonFiniteError, NonSmoothError
from ..finite_differences.hessian import RELATIVE_STEP, hessian_product
from ..problem import Equation
from ..solvers import choose_solver
from ..taylor.tracing import traced_code

__all__ = ["DifferenceDerivatives", "ExactDerivatives"]

#: Relative error of a difference beyond which there is no derivative.
_WORST_ACCURACY = 0.01
_EPS = np.finfo(float).eps
#: Relative step of a difference, twice that of a product, that tells the product's error.
_LONGER = 2.0 * RELATIVE_STEP


class ExactDerivatives:
    """Second derivatives from the tape.

    Parameters
    ----------
    problem : BasePoint
        The inner problem, recorded at the point.

    Attributes
    ----------
    input_val, hyper_val, gradient : ndarray
        The point, and the gradient of f in the input there.
    accuracy : float
        Relative error of ``H v``.
    n_products : int
        Made so far, of either kind.
    """

    accuracy = float(_EPS)

    def __init__(self, problem):
        self.problem, self.n_products = problem, 0
        self.structures = problem.input, problem.hyper
        self.input_val, self.hyper_val, self.gradient = problem.input.flat0, problem.hyper.flat0, problem.residual0

    def hessian(self, v):
        """``H v``."""
        self.n_products += 1
        return self.problem.jacobian_product(v)

    def pulled(self, v):
        """``B^T v``."""
        self.n_products += 1
        base = self.input_val, self.hyper_val
        return pulled_back(self.problem, self.problem.recorded, base, 1, np.asarray(v)[None, :])[0]

    def pulled_error(self, v):
        """Error of ``B^T v`` (norm), beyond that of ``H v``."""
        return 0.0

    def pushed(self, w):
        """``B w``."""
        self.n_products += 1
        return self.problem.recorded.products(1, np.asarray(w)[None, :])[0]

    def factored(self):
        """The factor of H."""
        factor = self.problem.factored()
        if not self.problem.is_matrix_free:
            assembly = self.problem.assembly
            self.n_products += self.input_val.size if assembly is None else assembly.n_products
        return factor

    def given(self, factor):
        """A solver that the user gave, checked."""
        self.n_products += 2
        return self.problem.solver_given(factor)

    def at(self, input_val):
        """The same at another input."""
        return type(self)(self.problem.at(input_val))


class DifferenceDerivatives:
    """Second derivatives by centred differences; attributes and methods of :class:`ExactDerivatives`.

    Parameters
    ----------
    objective : callable
        ``objective(input, hyper)``, which autograd must be able to differentiate once.
    input_val, hyper_val : array_like, dict, list or tuple
    """

    def __init__(self, objective, input_val, hyper_val):
        self._equation = Equation(objective, input_val, hyper_val, is_objective=True)
        self.structures = self._equation.input, self._equation.hyper
        self.hyper_val = self._equation.hyper.flat0
        self._check_dependence()
        self._place(self._equation.input.flat0)

    def _place(self, input_val):
        self.input_val, self._n_input, self.n_products = input_val, input_val.size, 0
        gradient = self._gradients(np.concatenate([input_val, self.hyper_val]))
        if not np.all(np.isfinite(gradient)):
            raise NonFiniteError(
                f"{np.sum(~np.isfinite(gradient))} elements of the objective's gradient are NaN or infinite: it is not "
                "defined at input_val and hyper_val."
            )
        self.gradient, self._hyper_gradient = gradient[: self._n_input], gradient[self._n_input :]
        self._product = hessian_product(self._gradients, np.concatenate([input_val, self.hyper_val]))
        # H v on its own too: large derivatives in the hyper would hide its error
        of_input = hessian_product(self._input_gradient, input_val)
        self.accuracy = max(self._product.accuracy, of_input.accuracy)
        if not self.accuracy <= _WORST_ACCURACY:
            raise NonSmoothError(
                f"differences of the objective's gradient at two step lengths differ by {self.accuracy:.0%}: it has no "
                "second derivatives at the point, or a gradient good to few digits; move the point, or smooth it."
            )

    def _check_dependence(self):
        """Raise where the objective ignores an argument, of which autograd warns."""
        equation = self._equation
        arguments = [structure.unflatten(structure.flat0) for structure in self.structures]
        for argnum, name in enumerate(("input", "hyper")):
            with traced_code(), np.errstate(all="ignore"), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                grad(equation.function, argnum)(*arguments)
            if any("independent of input" in str(warning.message) for warning in caught):
                raise IndependentError(
                    f"the objective does not depend on the {name}: check the order of the arguments, "
                    "objective(input, hyper), and that it uses autograd.numpy."
                )

    def _gradients(self, both):
        """The gradient of f in input and hyper."""
        function, (input, hyper) = self._equation.function, self.structures

        def objective(x, h):
            return function(input.unflatten(x), hyper.unflatten(h))

        with traced_code(), np.errstate(all="ignore"):
            parts = grad(objective, (0, 1))(both[: input.size].copy(), both[input.size :].copy())
        return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])

    def _input_gradient(self, input_val):
        return self._gradients(np.concatenate([input_val, self.hyper_val]))[: self._n_input]

    def _along(self, v, w):
        self.n_products += 1
        product = self._product(np.concatenate([v, w]))
        return product[: self._n_input], product[self._n_input :]

    def hessian(self, v):
        """``H v``."""
        return self._along(v, np.zeros(self.hyper_val.size))[0]

    def pulled(self, v):
        """``B^T v``."""
        return self._along(v, np.zeros(self.hyper_val.size))[1]

    def pulled_error(self, v):
        """Error of ``B^T v`` (norm): its change at twice the step length, or the rounding of ``df/dhyper``.

        That gradient is not zero at the solution, and may be large beside ``B^T v``.
        """
        if not v.any():
            return 0.0
        length = _LONGER / np.max(np.abs(v) / (1.0 + np.abs(self.input_val)))
        up, down = (
            self._gradients(np.concatenate([self.input_val + s * v, self.hyper_val]))[self._n_input :]
            for s in (length, -length)
        )
        difference = np.linalg.norm((up - down) / (2.0 * length) - self.pulled(v))
        return float(max(difference, 2.0 * _EPS * np.linalg.norm(self._hyper_gradient) / length))

    def pushed(self, w):
        """``B w``."""
        return self._along(np.zeros(self._n_input), w)[0]

    def factored(self):
        """The factor of H, column by column."""
        matrix = np.array([self.hessian(unit) for unit in np.eye(self._n_input)])
        return choose_solver(0.5 * (matrix + matrix.T), positive_definite=True)

    def at(self, input_val):
        """The same at another input."""
        moved = copy.copy(self)
        moved._place(np.array(input_val))
        return moved
