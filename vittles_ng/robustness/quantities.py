"""What may be pushed: a coefficient, or any function of the input (and the weights), with its first derivatives.

A quantity ``q(input, weights)`` moves with the weights directly and through the fit, ``G(input, weights) = 0``:

    dq/dw_n = q_w,n - lambda^T G_w,n,    H^T lambda = q_input,

one adjoint solve for all observations (Giordano, Jordan, Broderick, arXiv 1907.12116, sec. 2).
"""

import inspect

import numpy as np
from autograd.builtins import isinstance as traced_isinstance

from ..adjoint import pulled_back
from ..errors import NonFiniteError, ShapeError
from ..taylor.recorded import Recorded
from ..taylor.tracing import traced_code

__all__ = ["Coefficient", "Function", "as_coefficient"]


def as_coefficient(jackknife, functional):
    """A :class:`Coefficient` or :class:`Function` from an index, a name or a callable.

    Raises
    ------
    TypeError
        It is none of these.
    ValueError
        There is no such coefficient.
    """
    if isinstance(functional, str):
        names = jackknife.parameter_names
        if names is None:
            raise ValueError(
                f"functional={functional!r} is a name, and this jackknife has none: pass the coefficient's index, or "
                "parameter_names to the jackknife."
            )
        if names.count(functional) != 1:
            raise ValueError(f"functional={functional!r} is not one of the coefficients {', '.join(names)}.")
        return Coefficient(names.index(functional), jackknife)
    if isinstance(functional, (int, np.integer)) and not isinstance(functional, bool):
        n = jackknife.n_input
        if not -n <= functional < n:
            raise ValueError(f"functional={functional}: there are {n} coefficients, 0 to {n - 1}.")
        return Coefficient(int(functional) % n, jackknife)
    if not callable(functional):
        raise TypeError(
            f"functional must be the index or name of a coefficient, t_statistic(...), or a function of the input, got "
            f"{functional!r}."
        )
    return Function(functional, jackknife.model)


class Coefficient:
    """One element of the flat input."""

    def __init__(self, index, jackknife):
        self.index = index
        names = jackknife.parameter_names
        self.name = f"coefficient {index}" if names is None else names[index]

    def value(self, fit):
        """The coefficient at a fit, a float."""
        return self.value_at(fit.input, fit.weights)

    def value_at(self, flat, weights):
        """The coefficient of a flat input (n_input,)."""
        return float(flat[self.index])

    def gradients(self, fit):
        """Partial derivatives in the input (n_input,) and in the weights (n_obs,)."""
        by_input = np.zeros(fit.input.size)
        by_input[self.index] = 1.0
        return by_input, np.zeros(fit.weights.size)

    def adjoint(self, fit, by_input):
        """The adjoint of the estimate itself, of which the quantity may be a multiple."""
        return fit.solver.solve_transpose(by_input)

    def hessian_product(self, fit, v):
        """Second derivative in the input, times v (n_input,)."""
        return np.zeros(fit.input.size)


class Function:
    """A scalar function of the input, or of input and weights, as the user wrote it.

    Parameters
    ----------
    fun : callable
        ``fun(input)`` or ``fun(input, weights)``, written in ``autograd.numpy``; the input has the user's structure.
    model : WeightedModel
    """

    def __init__(self, fun, model):
        name = getattr(fun, "__name__", "<")
        self.name = "the functional" if name.startswith("<") else name
        self._fun, self._model, self._n = fun, model, _n_arguments(fun)

    def _flat(self, flat, weights):
        arguments = (self._model.input.unflatten(flat), weights)[: self._n]
        value = self._fun(*arguments)
        if traced_isinstance(value, (tuple, list, dict)):
            raise TypeError(f"the functional returned a {type(value).__name__}: one number is needed.")
        return value

    def value(self, fit):
        """The function at a fit, a float."""
        return self.value_at(fit.input, fit.weights)

    def value_at(self, flat, weights):
        """The function at a flat input (n_input,) and weights (n_obs,).

        Raises
        ------
        ShapeError
            The function gives more than one number.
        """
        with traced_code(), np.errstate(all="ignore"):
            value = np.asarray(self._flat(np.array(flat), np.array(weights)), dtype=np.float64)
        if value.size != 1:
            raise ShapeError(f"the functional has shape {value.shape}: one number is needed, pick one of them.")
        return float(value.ravel()[0])

    def gradients(self, fit):
        """Partial derivatives in the input (n_input,) and in the weights (n_obs,).

        Raises
        ------
        NonFiniteError
            They are NaN or infinite.
        """
        base = (fit.input, fit.weights)
        recorded = Recorded(self._flat, base)
        found = [pulled_back(self._flat, recorded, base, argnum, np.eye(1))[0] for argnum in (0, 1)]
        if not all(np.all(np.isfinite(g)) for g in found):
            raise NonFiniteError(f"the derivatives of {self.name} are NaN or infinite: it has none at the fit.")
        return found

    def adjoint(self, fit, by_input):
        """As :meth:`Coefficient.adjoint`."""
        return fit.solver.solve_transpose(by_input)

    def hessian_product(self, fit, v):
        """Second derivative in the input, times v (n_input,)."""
        recorded = Recorded(lambda x: self._flat(x, fit.weights), (fit.input,))
        return mixed(recorded, [v], [np.eye(v.size)]).reshape(v.size)


def mixed(recorded, first, second):
    """``D^2 f[a, b]`` of the first output for one direction a and rows b, (n_rows, *shape of f).

    Parameters
    ----------
    recorded : Recorded
    first : list of ndarray of shape (n,), or None
        The direction a, a part for each argument.
    second : list of ndarray of shape (n_rows, n), or None
        The directions b.
    """
    n_rows = next(len(part) for part in second if part is not None)
    rows = [None if part is None else np.broadcast_to(part, (n_rows, part.size)) for part in first]
    return recorded.mixed(rows, second)[0]


def _n_arguments(fun):
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):  # a primitive or another callable without a signature
        return 1
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    if len(needed) > 2 or (not positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters)):
        raise TypeError(f"a functional takes fun(input) or fun(input, weights), not {len(needed)} arguments.")
    return max(len(needed), 1)
