"""The mixed second derivative of a solution in two hypers.

Requires ``G(input_base, hyper1_base, hyper2_base) == 0``. Differentiating ``G(input(h1, h2), h1, h2) == 0`` along
``dh1``, then along ``dh2``, with ``di1``, ``di2`` the first derivatives of the input along them,

    0 = H d2input + G_ii[di1, di2] + G_i1[di2, dh1] + G_i2[di1, dh2] + G_12[dh1, dh2].

Each term is a mixed second derivative of ``G`` along two directions; :mod:`.mixed` has them.
"""

from ..recursion import checked_positive
from .checks import SharedParts, check_newton_step
from .mixed import Linearised

__all__ = ["CrossSensitivity"]

#: The terms, by the directions that each is made of.
_TERMS = {"ii": ("di1", "di2"), "i1": ("di2", "dh1"), "i2": ("di1", "dh2"), "12": ("dh1", "dh2")}
_ARGUMENT = {"di1": 0, "di2": 0, "dh1": 1, "dh2": 2}


class CrossSensitivity(SharedParts):
    """Mixed second derivative of the solution of an estimating equation in two hypers.

    Requires ``estimating_equation(input_base, hyper1_base, hyper2_base) == 0``.

    Parameters
    ----------
    estimating_equation : callable
        ``G(input, hyper1, hyper2) -> (n_input,)``, written in ``autograd.numpy``.
    solver : callable, solver or matrix, or None
        ``v -> H^{-1} v`` with ``H = dG/dinput`` at the base point, or ``H`` itself; checked with one random vector.
        None: formed from the tape and factored.
    input_base : array_like of shape (n_input,), or nested
    hyper1_base, hyper2_base : array_like of shape (n_hyper1,) and (n_hyper2,), or nested
    term_ii, term_i1, term_i2, term_12 : bool, default=True
        Which of the four terms to sum; leave out those that are zero by theory, or to see what each does.
    solution_tol : float, default=1e-8
        Largest Newton step ``|step_i| / (1 + |input_i|)`` that passes for a solution.

    Raises
    ------
    NotASolutionError
        The base point does not solve the equation; for one that nearly does see :class:`OptimumChecker`.
    SolveFailed, SingularError
        The solver given does not solve with ``H``; ``H`` cannot be solved with.
    NonFiniteError, ShapeError, MissingRuleError
        As for an expansion.

    References
    ----------
    A. Griewank and A. Walther, "Evaluating Derivatives", SIAM 2008, ch. 13, for the derivatives.

    Examples
    --------
    ``input = h1 h2^2`` has the mixed derivative ``2 h2``:

    >>> import numpy as np
    >>> from vittles_ng.linear import CrossSensitivity
    >>> cross = CrossSensitivity(lambda x, h1, h2: x - h1 * h2**2, None, np.array([9.0]), np.ones(1), np.array([3.0]))
    >>> cross.evaluate(np.ones(1), np.ones(1))
    array([6.])
    """

    _names = ("input_base", "hyper1_base", "hyper2_base")

    def __init__(
        self,
        estimating_equation,
        solver,
        input_base,
        hyper1_base,
        hyper2_base,
        term_ii=True,
        term_i1=True,
        term_i2=True,
        term_12=True,
        solution_tol=1e-8,
    ):
        checked_positive(solution_tol, "solution_tol", may_be_infinite=True)
        self._linearised = Linearised(estimating_equation, solver, self._names, (input_base, hyper1_base, hyper2_base))
        chosen = {"ii": term_ii, "i1": term_i1, "i2": term_i2, "12": term_12}
        self._terms = [term for term, is_in in chosen.items() if is_in]
        if not self._terms:
            raise ValueError("all four terms are switched off: the result would be zero.")
        input_val0, solver = self.arguments[0].flat0, self._linearised.solver
        check_newton_step(self.residual0, input_val0, solver, solution_tol, "solution_tol")

    def __repr__(self):
        sizes = [structure.size for structure in self.arguments]
        return f"<mixed derivative of {sizes[0]} inputs in {sizes[1]} and {sizes[2]} hypers>"

    arguments = property(lambda self: self._linearised.arguments, doc="How input and hypers lie in flat vectors.")
    residual0 = property(
        lambda self: self._linearised.residual0.copy(), doc="The estimating equation at the base point, (n_input,)."
    )

    def get_di1(self, dh1):
        """Derivative of the input along ``dh1``, ``-H^{-1} G_1 dh1``, (n_input,)."""
        return self._first(1, self._flat(dh1, 1, "dh1"))

    def get_di2(self, dh2):
        """Derivative of the input along ``dh2``, ``-H^{-1} G_2 dh2``, (n_input,)."""
        return self._first(2, self._flat(dh2, 2, "dh2"))

    def evaluate(self, dh1, dh2, di1=None, di2=None, debug=False):
        """The mixed derivative ``d^2 input / dh1 dh2`` along two directions.

        Parameters
        ----------
        dh1 : array_like of shape (n_hyper1,), or nested as ``hyper1_base``
        dh2 : array_like of shape (n_hyper2,), or nested as ``hyper2_base``
        di1, di2 : array_like of shape (n_input,), default=None
            Derivatives of the input along ``dh1`` and ``dh2``, where they are known; used as they are.
        debug : bool, default=False
            Refused: see :meth:`evaluate_terms`.

        Returns
        -------
        ndarray of shape (n_input,)

        Raises
        ------
        ShapeError, NonFiniteError
            A direction of another shape, or with NaN; the second derivatives do not exist.
        ValueError
            ``di1`` or ``di2`` is given and none of the terms chosen uses it.
        """
        if debug:
            raise TypeError("debug prints nothing here: evaluate_terms(dh1, dh2) returns the terms.")
        terms = self.evaluate_terms(dh1, dh2, di1, di2)
        return -self._linearised.solver.solve(sum(terms.values()))

    def evaluate_terms(self, dh1, dh2, di1=None, di2=None):
        """The terms of the mixed derivative of ``G`` by name, those that were chosen; parameters of :meth:`evaluate`.

        Returns
        -------
        dict of ndarray of shape (n_input,)
            ``"ii"``: ``G_ii[di1, di2]``, ``"i1"``: ``G_i1[di2, dh1]``, ``"i2"``: ``G_i2[di1, dh2]``, ``"12"``:
            ``G_12[dh1, dh2]``. Minus H^{-1} times their sum is the mixed derivative.
        """
        directions = {"dh1": self._flat(dh1, 1, "dh1"), "dh2": self._flat(dh2, 2, "dh2")}
        used = {name for term in self._terms for name in _TERMS[term]}
        for i, given in ((1, di1), (2, di2)):
            name = f"di{i}"
            if name in used:
                own = given is None
                directions[name] = self._first(i, directions[f"dh{i}"]) if own else self._flat(given, 0, name)
            elif given is not None:
                raise ValueError(f"{name} was given, but no term that uses it is switched on.")
        pairs = [tuple((_ARGUMENT[name], directions[name]) for name in _TERMS[term]) for term in self._terms]
        return dict(zip(self._terms, self._linearised.mixed(pairs), strict=True))

    def _first(self, argnum, direction):
        return -self._linearised.solver.solve(self._linearised.along(argnum, direction))

    def _flat(self, value, argnum, name):
        return self._linearised.arguments[argnum].flatten(value, name)
