"""The estimating equation at its base point: flattened, recorded once, checked.

Requires ``G(input_val0, hyper_val0) == 0``. Inside the package inputs and hypers are flat vectors; a user's nested
dicts, lists and tuples of arrays are flattened here, at the boundary, in the order of ``autograd.misc.flatten`` (dict
keys sorted).
"""

import copy

import autograd.numpy as anp
import numpy as np
from autograd import grad
from autograd.builtins import isinstance as traced_isinstance

from .errors import IndependentError, NonFiniteError, NotASolutionError, NotPositiveDefiniteError, ShapeError
from .memory import OF_MEMORY, check_size, memory_limit
from .taylor.recorded import Recorded
from .taylor.tape import plain_value
from .taylor.tracing import traced_code

__all__ = ["Equation", "Problem", "Structure", "flatten_traced", "real_array"]


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
        A copy of the value, flattened. Read-only, so that a user's function that writes into its argument raises.
    shape : tuple of int or None
        The value's shape where it is an array, None where it is nested.
    """

    def __init__(self, value, name):
        self.name = name
        is_nested = _is_container(value)
        leaves = _matching(value, value, name) if is_nested else [real_array(value, name)]
        self.flat0 = np.concatenate([leaf.ravel() for leaf in leaves]) if leaves else np.zeros(0)
        self.flat0.setflags(write=False)
        self.size = self.flat0.size
        if self.size == 0:
            raise ShapeError(f"{name} is empty: at least one element is needed.")
        self.shape = None if is_nested else leaves[0].shape
        # Containers of its own: those of the caller may change.
        self.template = _fill(value, self.flat0, 0)[0] if is_nested else None

    def moved(self, flat):
        """The same structure at another value."""
        other = copy.copy(self)
        other.flat0 = np.array(flat, dtype=np.float64)
        other.flat0.setflags(write=False)
        return other

    def flatten_steps(self, value, name):
        """New values as an array (n_values, n), not to be written into, and whether they are a batch.

        Parameters
        ----------
        value : array_like of shape (n,) or (n_values, n), or of this structure
        name : str
            What they are, for errors.
        """
        if self.template is not None and _is_container(value):
            if isinstance(value, (list, tuple)) and isinstance(self.template, dict):
                raise ShapeError(
                    f"{name} is a {type(value).__name__} where a dict with the parts {sorted(self.template)} is "
                    f"needed; a batch of them is an array (n_steps, {self.size}), each row as "
                    "autograd.misc.flatten(step)[0] gives it."
                )
            leaves = _matching(self.template, value, name)
            return np.concatenate([leaf.ravel() for leaf in leaves])[None, :], False
        new = real_array(value, name, copy=False)
        is_batch = new.ndim == 2 and new.shape != self.shape and new.shape[1] == self.size
        if not is_batch and new.shape not in ((self.size,), self.shape) and not new.size == self.size == 1:
            raise ShapeError(
                f"{name} has shape {new.shape}: ({self.size},), (n_steps, {self.size}) or the structure of "
                f"{self.name} is needed."
            )
        return new.reshape(-1, self.size), is_batch

    def flatten(self, value, name):
        """One new value as a flat vector (n,), a copy; parameters of :meth:`flatten_steps`."""
        flat, is_batch = self.flatten_steps(value, name)
        if is_batch:
            raise ShapeError(f"{name} has shape {np.shape(value)}: one value is needed, ({self.size},).")
        return flat[0].copy()

    def unflatten(self, flat):
        """The nested value of a flat vector, which may be traced."""
        if self.template is None:
            return flat if self.shape == (self.size,) else anp.reshape(flat, self.shape)
        value, used = _fill(self.template, flat, 0)
        return value


def _is_container(value):
    """Whether a value is a container of arrays, not an array written out as a list of numbers."""
    if isinstance(value, (list, tuple)):
        return not value or not all(np.isscalar(v) for v in value)
    return isinstance(value, dict)


def real_array(value, name, copy=True):
    """An array or number as an array of finite floats, a new one unless it need not be.

    Raises
    ------
    TypeError
        It holds something else than real numbers.
    ShapeError
        It is no array.
    NonFiniteError
        It holds NaN or infinities.
    """
    if isinstance(value, dict):
        raise ShapeError(f"{name} has another structure: an array is needed, not a dict.")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name} has another structure than an array: {error}") from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} has elements of type {array.dtype}: real numbers are needed.")
    array = array.astype(np.float64, copy=copy)
    # the sum is finite only if all elements are, and is cheaper to test
    bad = [] if np.isfinite(_quiet_sum(array)) else np.argwhere(~np.isfinite(array))
    if len(bad):
        at = ", ".join(map(str, bad[0]))
        raise NonFiniteError(
            f"{len(bad)} of {array.size} elements of {name} are NaN or infinite{f', the first at {at}' if at else ''}."
        )
    return array


def _quiet_sum(array):
    with np.errstate(all="ignore"):
        return np.sum(array)


def _parts(value):
    """The parts of a container by key, dict keys sorted; None for an array. The container may be traced."""
    if traced_isinstance(value, dict):
        return {key: value[key] for key in sorted(value.keys())}
    if traced_isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    return None


def _matching(template, value, name):
    """The leaves of a value that must be built like a template, as float arrays."""
    parts, given = _parts(template), _parts(value)
    if parts is None:
        leaf = real_array(value, name)
        if leaf.shape != np.shape(template) and not leaf.size == np.size(template) == 1:
            raise ShapeError(f"{name} has another structure: its shape is {leaf.shape}, not {np.shape(template)}.")
        return [leaf]
    if given is None or given.keys() != parts.keys():
        found = "an array" if given is None else f"the parts {list(given)}"
        raise ShapeError(f"{name} has another structure: it is {found} where the parts {list(parts)} are needed.")
    return [leaf for key, part in parts.items() for leaf in _matching(part, given[key], f"{name}[{key!r}]")]


def _leaves(value):
    parts = _parts(value)
    return [value] if parts is None else [leaf for part in parts.values() for leaf in _leaves(part)]


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


# autograd.misc.flatten gives the same order, but breaks in the second reverse derivative (autograd 1.9.1).
def flatten_traced(value):
    """A traced result, array or container, as one vector."""
    leaves = [leaf if anp.ndim(leaf) == 1 else anp.ravel(leaf) for leaf in _leaves(value)]
    return leaves[0] if len(leaves) == 1 else anp.concatenate(leaves)


def _as_number(value):
    """An objective's value as a float."""
    if np.asarray(value).dtype.kind not in "buif":
        raise TypeError(f"the objective returned a {type(value).__name__}: a real number is needed.")
    return float(value)


class Equation:
    """An estimating equation on flat vectors.

    Parameters
    ----------
    function : callable
        ``function(input, hyper)``: the estimating equation, or the objective whose gradient it is.
    input_val0, hyper_val0
        The base point, of any structure.
    is_objective : bool
        Which of the two ``function`` is.
    """

    def __init__(self, function, input_val0, hyper_val0, is_objective):
        if not callable(function):
            raise TypeError(f"expected a function of (input, hyper), got {type(function).__name__}.")
        self.function, self.is_objective = function, is_objective
        self.input = Structure(input_val0, "input_val0")
        self.hyper = Structure(hyper_val0, "hyper_val0")

    def __call__(self, input_flat, hyper_flat, see_objective=None):
        """``G``, (n_input,), which may be traced; the objective's value is handed to ``see_objective``."""
        hyper = self.hyper.unflatten(hyper_flat)
        if not self.is_objective:
            value = flatten_traced(self.function(self.input.unflatten(input_flat), hyper))
            if anp.shape(value) != (self.input.size,):
                raise ShapeError(
                    f"the estimating equation returned {anp.size(value)} values for {self.input.size} inputs: "
                    "as many equations as inputs are needed (a scalar objective goes to optimization_objective)."
                )
            return value

        def objective(x):
            value = self.function(self.input.unflatten(x), hyper)
            if anp.shape(value) != ():
                raise ShapeError(
                    f"the objective returned an array of shape {anp.shape(value)}: a scalar is needed, "
                    "sum or average it (or pass an estimating equation to the constructor)."
                )
            if see_objective is not None:
                see_objective(_as_number(plain_value(value)))
            return value

        return grad(objective)(input_flat)


class Problem(Equation):
    """An estimating equation recorded at its base point; parameters of :class:`Equation`.

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
        super().__init__(function, input_val0, hyper_val0, is_objective)
        self._record()

    def _record(self):
        objectives = []
        self.recorded = Recorded(
            lambda x, hyper: self(x, hyper, objectives.append), (self.input.flat0, self.hyper.flat0), corrected=0
        )
        self.objective0 = objectives[0] if self.is_objective else None
        if self.is_objective and not np.isfinite(self.objective0):
            raise NonFiniteError(
                f"the objective is {self.objective0} at the base point: it is not defined there "
                "(log of a negative number, division by zero, overflow)."
            )
        (self.residual0,) = self.recorded.values
        what = "objective" if self.is_objective else "estimating equation"
        if np.iscomplexobj(self.residual0):
            raise TypeError(
                f"the {what} has complex values (imaginary parts up to {np.max(np.abs(self.residual0.imag)):.1e}): "
                "real ones are needed, take np.real, or stack real and imaginary parts."
            )
        for argnum, structure in enumerate((self.input, self.hyper)):
            if not self.recorded.depends_on(argnum):
                raise IndependentError(
                    f"the {what}{chr(39) + 's gradient' if self.is_objective else ''} does not depend on the "
                    f"{'input' if argnum == 0 else 'hyper'} ({structure.name}): "
                    "check the order of the arguments, function(input, hyper), and that it uses autograd.numpy."
                )

    def at(self, input_flat, hyper_flat=None):
        """The same problem recorded at another input, and hyper where one is given: a new object."""
        moved = copy.copy(self)
        moved.input = self.input.moved(input_flat)
        if hyper_flat is not None:
            moved.hyper = self.hyper.moved(hyper_flat)
        moved._record()
        return moved

    def residual(self, input_flat, hyper_flat, see_objective=None):
        """``G`` at any point, by the user's function; the objective's value is handed to ``see_objective``."""
        with traced_code():
            return np.asarray(self(np.array(input_flat), np.array(hyper_flat), see_objective), dtype=np.float64)

    def jacobian_product(self, v):
        """``dG/dinput v`` at the base point, from the tape; v is (n_input,)."""
        return self.jacobian_products(np.asarray(v, dtype=np.float64)[None, :])[0]

    def jacobian_products(self, directions):
        """``dG/dinput v`` for rows v of ``directions`` (n_directions, n_input), through one tape."""
        return self.recorded.products(0, directions)

    def jacobian(self):
        """``dG/dinput`` at the base point as an ndarray (n_input, n_input).

        Raises
        ------
        SizeError
            It would not fit in memory.
        """
        n = self.input.size
        what = f"the dense matrix dG/dinput of {n} inputs"
        remedy = "pass sparsity='auto' or a pattern, or solver='cg'"
        check_size(8 * n * n, what, memory_limit(), OF_MEMORY, remedy)
        jacobian, wide = np.empty((n, n)), 1024
        for start in range(0, n, wide):
            columns = np.arange(start, min(start + wide, n))
            rows = np.zeros((len(columns), n))
            rows[columns - start, columns] = 1.0
            jacobian[:, columns] = self.jacobian_products(rows).T
        return jacobian

    def check_solution(self, step, tol):
        """Raise unless the Newton step ``H^{-1} G`` at the base point is small.

        For an objective the Newton decrement ``sqrt(G^T H^{-1} G)``, whose half square is the decrease that is left,
        must be at most ``tol sqrt(1 + |objective|)``; it does not depend on the scaling of the inputs. For an
        estimating equation every component of the step must be, ``|step_i| <= tol (1 + |input_i|)``. A step of a few
        roundings of the input is small: nobody can do better.
        """
        size = np.abs(step) / (1.0 + np.abs(self.input.flat0))
        worst = int(np.argmax(size))
        if self.is_objective:
            decrement = float(self.residual0 @ step)
            if decrement < -1e-8 * np.linalg.norm(self.residual0) * np.linalg.norm(step):
                raise NotPositiveDefiniteError(
                    f"the Hessian is not positive definite: along the Newton step g^T H^-1 g = {decrement:.1e}: "
                    "saddle or not identified; move the base point to a minimum."
                )
            measure = float(np.sqrt(max(decrement, 0.0) / (1.0 + abs(self.objective0))))
            name = "Newton decrement (relative to sqrt(1 + |objective|))"
        else:
            measure, name = float(size[worst]), "Newton step (relative to 1 + |input|)"
        if not measure <= tol and not size[worst] <= 4.0 * np.finfo(float).eps:
            if self.is_objective:
                remedy = "pass polish_optimum=True, or re-optimise to a tighter tolerance"
            else:
                remedy = "solve it to a tighter tolerance"
            raise NotASolutionError(
                f"{name} {measure:.1e} > tol {tol:.1e} at the base point; the largest component of the Newton step is "
                f"{step[worst]:.1e} at input {worst}, the largest residual {np.max(np.abs(self.residual0)):.1e}: "
                f"{remedy}; a larger optimum_tol accepts an error of that size."
            )
