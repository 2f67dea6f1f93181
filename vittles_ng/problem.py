"""The estimating equation at its base point: flattened, recorded once, checked.

Requires ``G(input_val0, hyper_val0) == 0``. Inside the package inputs and hypers are flat vectors; a user's nested
dicts, lists and tuples of arrays are flattened here, at the boundary, in the order of ``autograd.misc.flatten`` (dict
keys sorted).
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad

from .errors import IndependentError, NonFiniteError, NotASolutionError, ShapeError
from .taylor.replay import Recorded
from .taylor.tape import TRACE_LOCK, plain_value

__all__ = ["Problem", "Structure"]


class Structure:
    """How a nested value lies in a flat vector.

    Parameters
    ----------
    value : array_like, dict, list or tuple
        Nested containers of arrays; numbers count as arrays of one element.
    name : str
        What it is, for errors.

    Attributes
    ----------
    flat0 : ndarray of shape (n,)
        A copy of the value, flattened.
    """

    def __init__(self, value, name):
        self.name = name
        self.template = value if isinstance(value, (dict, list, tuple)) and not _is_numeric(value) else None
        self.shape = np.shape(value) if self.template is None else None
        self.flat0 = self.flatten(value)
        self.size = self.flat0.size
        if self.size == 0:
            raise ShapeError(f"{name} is empty: at least one element is needed.")

    def flatten(self, value):
        """A value of the same structure as a flat float vector, a copy."""
        leaves = _leaves(value if self.template is not None else np.array(value))
        leaves = [_as_float(leaf, self.name) for leaf in leaves]
        flat = np.concatenate([leaf.ravel() for leaf in leaves]) if leaves else np.zeros(0)
        if not np.all(np.isfinite(flat)):
            bad = np.flatnonzero(~np.isfinite(flat))
            raise NonFiniteError(
                f"{bad.size} of {flat.size} elements of {self.name} are NaN or infinite, the first at {bad[0]}."
            )
        return flat

    def flatten_like(self, array):
        """An array of new values, checked as :meth:`flatten` does, its shape kept."""
        array = _as_float(array, f"the new value of {self.name}")
        if not np.all(np.isfinite(array)):
            bad = np.argwhere(~np.isfinite(array))
            raise NonFiniteError(
                f"{len(bad)} of {array.size} elements of the new value of {self.name} are NaN or infinite, "
                f"the first at {tuple(int(i) for i in bad[0])}."
            )
        return array

    def unflatten(self, flat):
        """The nested value of a flat vector, which may be traced."""
        if self.template is None:
            return flat if self.shape == (self.size,) else anp.reshape(flat, self.shape)
        value, used = _fill(self.template, flat, 0)
        return value


def _is_numeric(value):
    """Whether a list or tuple is an array written out, not a container of arrays."""
    return isinstance(value, (list, tuple)) and bool(value) and all(np.isscalar(v) for v in value)


def _as_float(leaf, name):
    leaf = np.asarray(leaf)
    if leaf.dtype.kind not in "buif":
        raise TypeError(f"{name} has elements of type {leaf.dtype}: real numbers are needed.")
    return leaf.astype(np.float64)


def _leaves(value):
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in _leaves(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for v in value for leaf in _leaves(v)]
    return [value]


def _fill(template, flat, start):
    if isinstance(template, dict):
        out = {}
        for key in sorted(template):
            out[key], start = _fill(template[key], flat, start)
        return {key: out[key] for key in template}, start
    if isinstance(template, (list, tuple)):
        out = []
        for t in template:
            v, start = _fill(t, flat, start)
            out.append(v)
        return (type(template)(out) if not hasattr(template, "_fields") else type(template)(*out)), start
    shape = np.shape(template)
    size = int(np.prod(shape))
    return anp.reshape(flat[start : start + size], shape), start + size


def _flatten_traced(value):
    """A traced result, array or container, as one vector."""
    leaves = [anp.ravel(leaf) for leaf in _leaves(value)]
    return leaves[0] if len(leaves) == 1 else anp.concatenate(leaves)


class Problem:
    """An estimating equation recorded at its base point.

    Parameters
    ----------
    function : callable
        ``function(input, hyper)``: the estimating equation, or the objective whose gradient it is.
    input_val0, hyper_val0
        The base point, of any structure.
    is_objective : bool
        Which of the two ``function`` is.

    Attributes
    ----------
    residual0 : ndarray of shape (n_input,)
        The estimating equation at the base point.
    objective0 : float or None
        The objective there.
    recorded : Recorded
        The tape.
    """

    def __init__(self, function, input_val0, hyper_val0, is_objective):
        if not callable(function):
            raise TypeError(f"expected a function of (input, hyper), got {type(function).__name__}.")
        self.function, self.is_objective = function, is_objective
        self.input = input_val0 if isinstance(input_val0, Structure) else Structure(input_val0, "input_val0")
        self.hyper = hyper_val0 if isinstance(hyper_val0, Structure) else Structure(hyper_val0, "hyper_val0")
        self._record()

    def _record(self):
        self.objective0 = None
        self.recorded = Recorded(self._equation, (self.input.flat0, self.hyper.flat0), corrected=0)
        (self.residual0,) = self.recorded.values
        what = "objective" if self.is_objective else "estimating equation"
        for argnum, structure in enumerate((self.input, self.hyper)):
            if not self.recorded.depends_on(argnum):
                raise IndependentError(
                    f"the {what}{chr(39) + 's gradient' if self.is_objective else ''} does not depend on the "
                    f"{'input' if argnum == 0 else 'hyper'} ({structure.name}): "
                    "check the order of the arguments, function(input, hyper), and that it uses autograd.numpy."
                )

    def at(self, input_flat):
        """The same problem recorded at another input: a new object."""
        moved = object.__new__(Problem)
        moved.function, moved.is_objective, moved.hyper = self.function, self.is_objective, self.hyper
        moved.input = object.__new__(Structure)
        moved.input.__dict__.update(self.input.__dict__, flat0=np.array(input_flat, dtype=np.float64))
        moved._record()
        return moved

    def _equation(self, input_flat, hyper_flat):
        """G on flat vectors."""
        hyper = self.hyper.unflatten(hyper_flat)
        if not self.is_objective:
            value = _flatten_traced(self.function(self.input.unflatten(input_flat), hyper))
            if anp.shape(value) != (self.input.size,):
                raise ShapeError(
                    f"the estimating equation returned {anp.size(value)} values for {self.input.size} inputs: "
                    "as many equations as inputs are needed."
                )
            return value

        def objective(x):
            value = self.function(self.input.unflatten(x), hyper)
            if anp.shape(value) != ():
                raise ShapeError(
                    f"the objective returned an array of shape {anp.shape(value)}: a scalar is needed, "
                    "sum or average it (or pass an estimating equation to the constructor)."
                )
            self.objective0 = float(np.real(plain_value(value)))
            return value

        return grad(objective)(input_flat)

    def residual(self, input_flat, hyper_flat):
        """``G`` at any point, by the user's function."""
        with TRACE_LOCK:
            return np.asarray(self._equation(np.array(input_flat), np.array(hyper_flat)), dtype=np.float64)

    def jacobian_product(self, v):
        """``dG/dinput v`` at the base point, from the tape; v is (n_input,)."""
        return self._product(np.asarray(v, dtype=np.float64)[None, :])[0]

    def _product(self, rows):
        with np.errstate(all="ignore"):
            (c,) = self.recorded.start(len(rows)).coefficient([np.ascontiguousarray(rows), None])
        return np.zeros_like(rows) if c is None else c

    def jacobian(self):
        """``dG/dinput`` at the base point, (n_input, n_input), column blocks through one tape."""
        n = self.input.size
        block = int(np.clip(4_000_000 // self.recorded.size, 1, n))
        jacobian = np.empty((n, n))
        for start in range(0, n, block):
            stop = min(start + block, n)
            rows = np.zeros((stop - start, n))
            rows[np.arange(stop - start), np.arange(start, stop)] = 1.0
            jacobian[:, start:stop] = self._product(rows).T
        return jacobian

    def check_solution(self, step, tol):
        """Raise unless the Newton step ``H^{-1} G`` at the base point is small.

        For an objective the Newton decrement ``sqrt(G^T H^{-1} G)``, whose half square is the decrease that is left,
        must be at most ``tol sqrt(1 + |objective|)``; it does not depend on the scaling of the inputs. For an
        estimating equation every component of the step must be, ``|step_i| <= tol (1 + |input_i|)``.
        """
        size = np.abs(step) / (1.0 + np.abs(self.input.flat0))
        worst = int(np.argmax(size))
        if self.is_objective:
            measure = float(np.sqrt(max(self.residual0 @ step, 0.0) / (1.0 + abs(self.objective0))))
            name = "Newton decrement (relative to sqrt(1 + |objective|))"
        else:
            measure, name = float(size[worst]), "Newton step (relative to 1 + |input|)"
        if not measure <= tol:
            polish = "polish_optimum=True" if self.is_objective else "a tighter solve"
            raise NotASolutionError(
                f"{name} {measure:.1e} > tol {tol:.1e} at the base point; the largest component of the Newton step is "
                f"{step[worst]:.1e} at input {worst}, the largest residual {np.max(np.abs(self.residual0)):.1e}: "
                f"re-optimise (or use {polish}), or pass a larger optimum_tol."
            )
