"""Quantities of interest along a solution: predictions, odds ratios, held-out losses, the objective's own profile.

Requires ``G(input_val0, hyper_val0) == 0``, as the expansion does. Let q be a function of (input, hyper), recorded on a
tape of its own at the base point. Along a step d its series is the composition

    q_k = [t^k] q(input_0 + input_1 t + ... + input_k t^k, hyper_0 + t d),

which a replay of that tape gives from the solution's coefficients without further solves (Griewank & Walther,
"Evaluating Derivatives", ch. 13). At first order the order of the products can be turned round, the adjoint method:

    dq/dhyper = q_h - q_theta^T H^{-1} G_h = q_h - lambda^T G_h,    H^T lambda = q_theta,

one solve per functional instead of one per hyper (Pedregosa, arXiv 1602.02355, for a held-out loss).
"""

import inspect

import numpy as np
from autograd.builtins import isinstance as traced_isinstance

from .adjoint import pulled_back
from .errors import IndependentError, NonFiniteError
from .recursion import checked_max_order
from .taylor.recorded import Recorded, block_size

__all__ = ["FunctionalExpansion", "of_input_and_hyper"]

_NUMBERS_AT_ONCE = 4_000_000  # in the solution's terms, for a chunk of steps


class FunctionalExpansion:
    """Taylor expansion of a quantity of interest along the solution; made by the expansion's ``functional``.

    Requires ``G(input_val0, hyper_val0) == 0``. The function is run once, at the base point, and recorded.

    Parameters
    ----------
    problem : Problem
    solver : object with ``solve(rhs)`` and ``solve_transpose(rhs)``
        The factor of ``dG/dinput`` at the base point.
    recursion : Recursion
        Gives the solution's terms.
    order : int
        Highest order that may be asked for.
    fun : callable
        ``fun(input, hyper)`` or ``fun(input)``, written in ``autograd.numpy``: a scalar or an array. Input and hyper
        come in the structure of the base point. Parameters with a default value are left at it; a primitive such as
        ``autograd.numpy.exp`` is applied to the input.

    Attributes
    ----------
    value0 : ndarray of the functional's shape
        The functional at the base point; read-only.

    Raises
    ------
    IndependentError
        The functional depends on neither input nor hyper. One that depends on the hyper alone is an ordinary case.
    NonFiniteError
        The functional is NaN or infinite at the base point.
    NonSmoothError
        It is not differentiable there, and the series depends on the side taken.
    TypeError
        It takes no one or two arguments, or does not return one array of real numbers.

    References
    ----------
    A. Griewank and A. Walther, "Evaluating Derivatives", SIAM 2008, ch. 13.

    Examples
    --------
    The odds ``exp(b)`` of 3 successes in 4 trials, as the number of trials changes: ``3 / (trials - 3)``.

    >>> import numpy as np, autograd.numpy as anp
    >>> import vittles_ng as vn
    >>> loss = lambda b, trials: anp.sum(trials * anp.log1p(anp.exp(b)) - 3.0 * b)
    >>> expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
    ...     loss, np.log([3.0]), [4.0], order=6)
    >>> odds = expansion.functional(lambda b: anp.exp(b[0]))
    >>> round(float(odds.value0), 6), round(float(odds.evaluate_taylor_series([4.2])), 4)
    (3.0, 2.5)
    >>> odds.gradient().round(6)
    array([-3.])
    """

    def __init__(self, problem, solver, recursion, order, fun):
        self._problem, self._solver, self._recursion, self._order = problem, solver, recursion, order
        self._function = of_input_and_hyper(fun)
        self._base = (problem.input.flat0, problem.hyper.flat0)
        self._recorded = Recorded(self._flat, self._base)
        if not (self._recorded.depends_on(0) or self._recorded.depends_on(1)):
            raise IndependentError(
                "the functional depends on neither the input nor the hyper: check that it uses its arguments, "
                "fun(input, hyper), and autograd.numpy."
            )
        (value,) = self._recorded.values
        self.value0 = value.astype(np.float64)
        self.value0.setflags(write=False)

    def _flat(self, input_flat, hyper_flat):
        """The functional of flat vectors, which may be traced."""
        value = self._function(self._problem.input.unflatten(input_flat), self._problem.hyper.unflatten(hyper_flat))
        if traced_isinstance(value, (tuple, list, dict)):
            raise TypeError(
                f"the functional returned a {type(value).__name__}: one array is needed, "
                "autograd.numpy.array([...]) makes one of numbers."
            )
        kind = np.result_type(getattr(value, "dtype", type(value)))
        if kind.kind not in "buif":
            raise TypeError(f"the functional returned elements of type {kind}: real numbers are needed.")
        return value

    def get_max_order(self):
        """The highest order that may be asked for."""
        return self._order

    def __repr__(self):
        n_input, n_hyper = (value.size for value in self._base)
        return (
            f"<Taylor expansion of a functional of shape {self.value0.shape} "
            f"of {n_input} inputs in {n_hyper} hypers, order {self._order}>"
        )

    # ---- evaluation ----

    def evaluate_taylor_series(self, new_hyper_val, add_offset=True, max_order=None, sum_terms=True):
        """The functional at new hypers, approximately.

        Parameters
        ----------
        new_hyper_val : array_like of shape (n_hyper,) or (n_steps, n_hyper), or nested as ``hyper_val0``
            One new hyper or a batch of them.
        add_offset : bool, default=True
            Whether to add ``value0``; otherwise the change from it is returned.
        max_order : int, default=None
            Order to use, at most the expansion's; default: all.
        sum_terms : bool, default=True
            Whether to sum the terms.

        Returns
        -------
        ndarray of the functional's shape, with a leading axis (n_steps,) for a batch
            A scalar functional gives () or (n_steps,), a vector one (m,) or (n_steps, m). With ``sum_terms=False`` the
            terms, (max_order + 1, [n_steps,] [m]), ``value0`` (or zero) first.

        Raises
        ------
        NonFiniteError
            The terms overflow.
        ValueError
            ``max_order`` exceeds the expansion's order, or is below 1.
        """
        if not sum_terms:
            return self.evaluate_taylor_series_terms(new_hyper_val, add_offset, max_order)
        order = checked_max_order(max_order, self._order)
        new, is_batch = self._problem.hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        values = np.empty((len(new), *self.value0.shape))
        for rows, terms in self._terms(new, self._base[1], order):
            terms[::-1].sum(axis=0, out=values[rows])
        if add_offset:
            values += self.value0
        return values if is_batch else values[0]

    def evaluate_taylor_series_terms(self, new_hyper_val, add_offset=True, max_order=None):
        """The terms ``q_k t^k`` at t = 1; parameters of :meth:`evaluate_taylor_series`.

        Returns
        -------
        ndarray of shape (max_order + 1, [n_steps,] [m])
        """
        order = checked_max_order(max_order, self._order)
        new, is_batch = self._problem.hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        out = np.empty((order + 1, len(new), *self.value0.shape))
        out[0] = self.value0 if add_offset else 0.0
        for rows, terms in self._terms(new, self._base[1], order):
            out[1:, rows] = terms
        return out if is_batch else out[:, 0]

    def _terms(self, new, origin, order):
        """Blocks of rows with the terms of their steps ``new - origin``, (order, n_rows, *shape)."""
        if len(origin) == 1 and len(new) > 1:
            yield from self._terms_on_line(new[:, 0] - origin, order)
            return
        block, n_input = block_size(self._width), self._base[0].size
        chunk = block * max(1, _NUMBERS_AT_ONCE // (block * order * n_input))
        for start in range(0, len(new), chunk):
            some = new[start : start + chunk]
            input_terms = np.empty((order, len(some), n_input))
            self._recursion.terms(some, origin, input_terms)
            for rows in _blocks(len(some), block):
                terms = self._composed(input_terms[:, rows], some[rows] - origin)
                yield slice(start + rows.start, start + rows.stop), _finite(terms, start + rows.start)

    def _terms_on_line(self, lengths, order):
        """The same where all steps lie on one line, as with one hyper: one series serves them, ``q_k t^k``."""
        direction = np.ones(1)
        series = self._composed(self._recursion.along(direction, order)[:, None], direction[None])
        orders = np.arange(1, order + 1)[:, None]
        for rows in _blocks(len(lengths), block_size(self._width)):
            with np.errstate(all="ignore"):
                powers = lengths[rows] ** orders
                terms = series * powers.reshape(*powers.shape, *(1,) * self.value0.ndim)
            yield rows, _finite(terms, rows.start)

    def _composed(self, input_terms, steps):
        """The functional's coefficients from the input's (order, n_steps, n_input), for a block of steps."""
        replay = self._recorded.start(len(steps))
        out = np.zeros((len(input_terms), len(steps), *self.value0.shape))
        with np.errstate(all="ignore"):
            for k, input_k in enumerate(input_terms):
                (c,) = replay.coefficient([np.ascontiguousarray(input_k), steps if k == 0 else None])
                if c is not None:
                    out[k] = c
        return out

    # ---- first order, adjoint ----

    def gradient(self):
        """Gradient of the functional in the hyper at the base point, by one solve per functional.

        ``dq/dhyper = q_h - lambda^T G_h`` with ``H^T lambda = q_theta``. The product with ``G_h`` is one reverse pass
        over the user's function per functional; it is compared with the tape along one random direction, and where it
        fails or disagrees ``G_h`` is formed from the tape. A functional with more elements than there are hypers is
        cheaper forward, one solve per hyper, and then done so.

        Returns
        -------
        ndarray of shape (n_hyper,) for a scalar functional, (m, n_hyper) for a vector
            Derivatives along the flat hyper.

        Raises
        ------
        TypeError
            The solver given does not know its transpose and the equation is not an objective's.

        Examples
        --------
        The envelope theorem: the gradient of an objective's minimum is its partial derivative.

        >>> import numpy as np, autograd.numpy as anp
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> loss = lambda mean, weights: anp.sum(weights * (y - mean) ** 2)
        >>> expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(loss, [3.0], np.ones(3), order=2)
        >>> expansion.functional(loss).gradient()
        array([4., 1., 9.])
        """
        m, n_hyper = self.value0.size, self._base[1].size
        if m > n_hyper:
            blocks = self._terms(np.eye(n_hyper), np.zeros(n_hyper), order=1)
            gradient = np.concatenate([terms[0] for _, terms in blocks]).reshape(n_hyper, m).T
        else:
            gradient = pulled_back(self._flat, self._recorded, self._base, 1, np.eye(m))
            if self._recorded.depends_on(0):
                by_input = pulled_back(self._flat, self._recorded, self._base, 0, np.eye(m))
                adjoint = self._solver.solve_transpose(np.ascontiguousarray(by_input.T))
                problem = self._problem
                gradient = gradient - pulled_back(problem, problem.recorded, self._base, 1, adjoint.T)
        gradient = np.ascontiguousarray(gradient).reshape(*self.value0.shape, n_hyper)
        if not np.all(np.isfinite(gradient)):
            raise NonFiniteError(
                f"{np.sum(~np.isfinite(gradient))} of {gradient.size} derivatives of the functional are NaN or "
                "infinite: it has no derivative at the base point."
            )
        return gradient

    @property
    def _width(self):
        """Numbers that one direction needs on the functional's tape."""
        return max(self._recorded.size, self.value0.size)


def of_input_and_hyper(fun):
    """``fun`` as a function of (input, hyper); one of the input alone is told by its signature."""
    if not callable(fun):
        raise TypeError(f"expected a function fun(input, hyper) or fun(input), got {type(fun).__name__}.")
    if getattr(fun, "_is_autograd_primitive", False):  # its signature is that of a wrapper
        return lambda x, hyper: fun(x)
    try:
        parameters = inspect.signature(fun).parameters.values()
    except ValueError:  # a callable without a signature
        return fun
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p.name for p in positional if p.default is p.empty]
    if len(needed) == 2 or (takes_any and not needed):
        return fun
    if len(needed) == 1:
        return lambda x, hyper: fun(x)
    raise TypeError(f"a functional takes fun(input, hyper) or fun(input), this one needs {needed or 'no argument'}.")


def _blocks(n, block):
    return [slice(start, min(start + block, n)) for start in range(0, n, block)]


def _finite(terms, first_row):
    """The terms, or an error that names the first step whose terms overflow."""
    if not np.isfinite(np.vdot(terms, terms)) and not np.all(np.isfinite(terms)):  # the product may also overflow
        bad = ~np.isfinite(terms).reshape(*terms.shape[:2], -1).all(axis=2)
        row = int(np.argmax(bad.any(axis=0)))
        raise NonFiniteError(
            f"the functional's term of order {int(np.argmax(bad[:, row])) + 1} is NaN or infinite at step "
            f"{first_row + row}: such a step is far beyond any use of a series; leave it out or use a lower max_order."
        )
    return terms
