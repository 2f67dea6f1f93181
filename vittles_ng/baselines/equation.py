"""An estimating equation under autograd's own derivatives: its Jacobian, and the factor of that at the base point."""

import traceback
import warnings
from contextlib import contextmanager

import autograd
import autograd.core
import numpy as np
from autograd.differential_operators import make_jvp_reversemode

from vittles_ng.errors import MissingRuleError, NonFiniteError
from vittles_ng.problem import Equation
from vittles_ng.solvers import as_solver, choose_solver
from vittles_ng.taylor.tracing import traced_code

_REMEDIES = {
    "JVP": "use NaiveTaylorExpansion(..., forward=False), or the engine, ParametricSensitivityTaylorExpansion",
    "VJP": "define it with autograd.extend.defvjp",
}


@contextmanager
def tracing():
    """Run the user's function under autograd: one thread at a time, with a remedy where a derivative is missing.

    autograd warns where an output does not depend on the argument; the derivative is then zero, which is all there is
    to say.
    """
    with traced_code(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Output seems independent of input", UserWarning)
        try:
            yield
        except (NotImplementedError, KeyError) as error:
            missing = _missing_derivative(error)
            if missing is None:
                raise
            raise MissingRuleError(f"autograd: {missing}: {_REMEDIES[missing[:3]]}.") from error


def _missing_derivative(error):
    """Which derivative of which primitive autograd misses; None if the error is about something else.

    A primitive without any derivative raises NotImplementedError. Where it has some in other arguments, autograd looks
    the missing one up in a table, closed over by what ``defjvp`` and ``defvjp`` make, and lets the KeyError go without
    the primitive's name. It is that error if autograd's own code raised it, in a function with such a table, which
    lacks the key.
    """
    if isinstance(error, NotImplementedError):
        return str(error) if str(error).startswith(("JVP of", "VJP of")) else None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames[-1].f_code.co_filename != autograd.core.__file__:
        return None
    for kind in _REMEDIES:
        table = frames[-1].f_locals.get(f"{kind.lower()}s_dict")
        if isinstance(table, dict) and error.args[0] not in table:
            primitive = next((f.f_locals["fun"] for f in reversed(frames) if "fun" in f.f_locals), None)
            name = getattr(primitive, "__name__", "a primitive")
            return f"{kind} of {name} wrt argnum {error.args[0]} not defined"
    return None


class EquationAtBasePoint(Equation):
    """An estimating equation with its value at the base point, ``residual0`` of shape (n_input,)."""

    def __init__(self, function, input_val0, hyper_val0, is_objective):
        super().__init__(function, input_val0, hyper_val0, is_objective)
        self.residual0 = np.array(self(self.input.flat0, self.hyper.flat0), dtype=float)
        n_bad = np.sum(~np.isfinite(self.residual0))
        if n_bad:
            raise NonFiniteError(
                f"{n_bad} of {self.residual0.size} estimating equations are NaN or infinite at the base point."
            )

    def jacobian(self, input_val, hyper_val):
        """dG/d input, of shape (n_input, n_input), itself differentiable."""
        return autograd.jacobian(self, 0)(input_val, hyper_val)

    def jacobian_product(self, v):
        """dG/d input v at the base point, by two reverse derivatives: every primitive has those."""
        return make_jvp_reversemode(self, 0)(self.input.flat0, self.hyper.flat0)(v)

    def solver(self, given=None):
        """The factor of dG/d input at the base point, made here or, if given, checked."""
        claims = {"symmetric": True, "positive_definite": True} if self.is_objective else {}
        if given is not None:
            return as_solver(given, self.input.size, matrix=self.jacobian_product, **claims)
        return choose_solver(self.jacobian(self.input.flat0, self.hyper.flat0), **claims)
