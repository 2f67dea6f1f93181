"""The three estimators beside each other: their errors at the iterates of a method, and what they cost."""

from dataclasses import dataclass

import numpy as np

from ..base_point import BasePoint, polished
from ..errors import NonFiniteError, NotASolutionError
from ..recursion import checked_integer
from ..solvers import DenseCholesky
from .chain import Chain
from .estimators import ESTIMATORS, PRODUCT_COST, check_solver, forward_costs, implicit_from, reverse_costs
from .methods import StochasticGradientDescent

__all__ = ["Comparison", "compare"]

#: Errors below so many units of rounding say nothing of a rate.
_ROUNDING = 1e3 * np.finfo(float).eps
#: What the rounding of a solve with an ill-conditioned Hessian leaves of the analytic estimator's error.
_OF_SOLVE = 1e-8
#: How far a minimum that is given may be from one: Newton step relative to 1 + |input|.
_EXACT_TOL = 1e-6


@dataclass(frozen=True, eq=False)
class Comparison:
    """What :func:`compare` gives, at k iterations; of several runs, the means of their errors.

    Attributes
    ----------
    iterations : ndarray of int, shape (k,)
        From 0, the start.
    input_errors : ndarray of shape (k,)
        ``|z_t - z*|``.
    jacobian_errors : ndarray of shape (k,)
        ``|J_t - J*|`` in the Frobenius norm, of the iterate's and the minimum's derivative in the hyper.
    errors : dict of ndarray of shape (k,)
        Of the gradients, ``|g - g*|``: "analytic", "automatic", "implicit".
    gradients : dict of ndarray of shape (k, n_hyper)
        The estimates; of several runs the last one's.
    costs : dict of ndarray of shape (k,)
        Of an estimate at that iteration alone, the iterations included, in gradients of the objective, a product with
        its second derivatives counted as two: "analytic", "automatic_reverse" (all states held), "automatic_forward",
        "implicit".
    memory_bytes : dict of ndarray of shape (k,)
        What each holds at one time, beside the objective's own.
    exact_input : ndarray of shape (n_input,)
        ``z*``.
    exact_gradient : ndarray of shape (n_hyper,)
        ``g*``.
    rounding : dict of float
        Where errors are of rounding: those of "input" and of the estimators.
    """

    iterations: np.ndarray
    input_errors: np.ndarray
    jacobian_errors: np.ndarray
    errors: dict
    gradients: dict
    costs: dict
    memory_bytes: dict
    exact_input: np.ndarray
    exact_gradient: np.ndarray
    rounding: dict

    def rates(self, against="iterations", first=None, last=None):
        """How fast the errors decrease: slopes of the logarithm of each, by least squares.

        Parameters
        ----------
        against : {"iterations", "log iterations", "input"}, default="iterations"
            Exponential rates r of ``exp(-r t)``; powers p of ``t^-p``; orders q of ``|z_t - z*|^q``.
        first, last : int, default=None
            The iterations between which to measure, of those at which no error is of rounding. Both None: the later
            half of them, or three.

        Returns
        -------
        dict of float
            "input", "analytic", "automatic", "implicit". inf for an estimator that is exact to rounding at every
            iteration, as the implicit one is where the objective is quadratic.

        Raises
        ------
        ValueError
            ``against`` is unknown, or fewer than three errors are there to measure.

        Notes
        -----
        Newton's method squares the error, ``e_{t+1} ~ c e_t^2``, so that no exponential rate describes it: "twice the
        exponent" is then the order 2 in ``against="input"``, that of the automatic estimator once divided by ``2^t``.
        """
        if against not in ("iterations", "log iterations", "input"):
            raise ValueError(f"against={against!r} is not known: use 'iterations', 'log iterations' or 'input'.")
        exact = [name for name in ESTIMATORS if self._is_exact(name)]
        errors = {name: e for name, e in {"input": self.input_errors, **self.errors}.items() if name not in exact}
        usable = self.iterations >= (1 if against == "log iterations" else 0)
        for name, error in errors.items():
            usable &= error > self.rounding[name]
        # what comes after rounding has set in is not usable either
        gone = np.flatnonzero(~usable & (self.iterations > 0))
        end = gone[0] if len(gone) else len(usable)
        at = np.flatnonzero(usable[:end])
        if first is None and last is None:
            at = at[max(0, min(len(at) // 2, len(at) - 3)) :]
        if first is not None:
            at = at[self.iterations[at] >= first]
        if last is not None:
            at = at[self.iterations[at] <= last]
        if len(at) < 3:
            raise ValueError(
                f"{len(at)} iterations between {first} and {last} have errors above rounding: 3 at least are needed; "
                "compare at more iterations, or slow the method down."
            )
        if against == "input":
            along = np.log(self.input_errors[at])
        else:
            along = -np.log(self.iterations[at]) if against == "log iterations" else -1.0 * self.iterations[at]
        along = along - np.mean(along)
        rates = {name: float(along @ np.log(error[at]) / (along @ along)) for name, error in errors.items()}
        return {name: rates.get(name, np.inf) for name in ("input", *ESTIMATORS)}

    def _is_exact(self, name):
        """Whether there is nothing but rounding in an estimator's errors, that of a solve included."""
        return np.all(self.errors[name] <= np.maximum(self.rounding[name], _OF_SOLVE * self.errors["analytic"]))


def compare(
    objective,
    input_val0,
    hyper_val,
    method,
    n_iterations,
    at=None,
    solver="cholesky",
    n_steps=None,
    n_runs=1,
    exact_input=None,
):
    """Errors of the three estimators along the iterations of a method, their costs and their memory.

    Parameters
    ----------
    objective, input_val0, hyper_val, method, n_iterations
        As in :func:`automatic_gradient`.
    at : sequence of int, default=None
        Iterations at which to estimate, from 0 to ``n_iterations``; all if None.
    solver, n_steps
        Of the implicit estimator, as in :func:`implicit_gradient`; that the Hessian is positive definite is checked at
        the exact minimum.
    n_runs : int, default=1
        With :class:`StochasticGradientDescent`: how many runs, with the seeds that follow the method's, to average
        the errors of.
    exact_input : array_like of shape (n_input,), or nested, default=None
        The minimum, to 1e-6; improved by Newton's method. None: found by it from the last iterate.

    Returns
    -------
    Comparison

    Raises
    ------
    NotASolutionError
        There is no minimum near the last iterate, or the one given is not one.
    NotPositiveDefiniteError
        The Hessian is not positive definite.
    DivergenceError, MismatchError, SizeError, IndependentError, NonFiniteError, ShapeError
        As in :func:`automatic_gradient`.
    ValueError
        ``at`` is not among the iterations, or several runs are asked of a method that draws nothing.

    Notes
    -----
    The Jacobians of the automatic estimator go beside the iterates, in forward mode: ``n_hyper`` products with second
    derivatives in every iteration.

    Theory, for a minimum with a positive definite Hessian: where the iterates converge as ``exp(-r t)``, so does the
    analytic estimator, and the automatic and implicit ones as ``exp(-2 r t)``, the automatic one times
    ``|J_t - J*| / |z_t - z*|``: of order t; of order ``t^2`` for ``HeavyBall.fastest`` and ``Accelerated.fastest``,
    whose residual polynomials have a double root at the smallest eigenvalue; with Newton's method of order ``2^t``. A
    slope that is fitted over some tens of iterations has that factor in it: with momentum at its best tuning
    :meth:`Comparison.rates` gave orders from 1.5 to 2.3 of the automatic estimator, and 2 with ``t^2`` taken out. For
    stochastic gradient descent with steps ``t^-p`` the powers of t are p/2, p and p.

    References
    ----------
    P. Ablin, G. Peyre, T. Moreau, "Super-efficiency of automatic differentiation for functions defined as a minimum",
    ICML 2020 (arXiv 2002.03722).

    Examples
    --------
    >>> import autograd.numpy as np
    >>> from vittles_ng.minimum_gradients import compare
    >>> from vittles_ng.unrolling import GradientDescent
    >>> def objective(z, x):
    ...     return np.log(1.0 + np.exp(-z[0] * x[0])) + 0.5 * z[0] ** 2
    >>> run = compare(objective, np.zeros(1), np.ones(1), GradientDescent(0.2), 60)
    >>> for name, error in run.errors.items():
    ...     print(f"{name:10s} {error[0]:.0e} {error[20]:.0e} {error[40]:.0e}")
    analytic   2e-01 4e-04 1e-06
    automatic  2e-01 4e-06 1e-10
    implicit   4e-02 4e-07 4e-12
    >>> rates = run.rates(against="input")
    >>> print({name: round(rate, 1) for name, rate in rates.items()})
    {'input': 1.0, 'analytic': 1.0, 'automatic': 1.9, 'implicit': 2.0}
    """
    check_solver(solver, n_steps)
    if checked_integer(n_runs, "n_runs", 1) > 1 and not isinstance(method, StochasticGradientDescent):
        raise ValueError(f"n_runs={n_runs}: only StochasticGradientDescent has runs that differ.")
    chain = Chain(objective, input_val0, hyper_val, method, n_iterations)
    at = _iterations(at, n_iterations)
    exact = _Exact(chain, exact_input)
    chains = [chain]
    for i in range(1, n_runs):
        chains.append(Chain(objective, input_val0, hyper_val, method.with_seed(method.seed + i), n_iterations))
    runs = [_Run(one, at, exact, solver, n_steps) for one in chains]
    largest = max(float(np.max(np.linalg.norm(run.gradients["analytic"], axis=1))) for run in runs)
    rounding = dict.fromkeys(ESTIMATORS, _ROUNDING * max(largest, np.linalg.norm(exact.gradient)))
    rounding["input"] = _ROUNDING * max(np.linalg.norm(exact.input), np.linalg.norm(chain.z0))
    costs, memory_bytes = _costs(chain, at, runs)
    return Comparison(
        iterations=at,
        input_errors=np.mean([run.input_errors for run in runs], axis=0),
        jacobian_errors=np.mean([run.jacobian_errors for run in runs], axis=0),
        errors={name: np.mean([run.errors[name] for run in runs], axis=0) for name in ESTIMATORS},
        gradients=runs[-1].gradients,
        costs=costs,
        memory_bytes=memory_bytes,
        exact_input=exact.input,
        exact_gradient=exact.gradient,
        rounding={name: float(size) for name, size in rounding.items()},
    )


class _Exact:
    """The minimum, its Jacobian, and the gradient there: implicit, so that its rounding is squared away."""

    def __init__(self, chain, exact_input):
        if exact_input is None:
            z, _ = chain.last()
        else:
            z = chain.equation.input.flatten(exact_input, "exact_input")
            _check_minimum(chain, z)
        z = _polished(chain, z)
        derivatives = chain.derivatives(z)
        factor = DenseCholesky(derivatives.hessian())
        step = factor.solve(derivatives.gradient)
        self.input = z - step
        of_hyper = derivatives.pulled(np.eye(chain.n_input))[1]
        self.jacobian = -factor.solve(of_hyper)
        self.gradient = derivatives.hyper_gradient - step @ of_hyper


def _check_minimum(chain, z):
    """Raise unless an input is near a minimum."""
    derivatives = chain.derivatives(z)
    step = DenseCholesky(derivatives.hessian()).solve(derivatives.gradient)
    size = np.max(np.abs(step) / (1.0 + np.abs(z)))
    if not size <= _EXACT_TOL:
        raise NotASolutionError(
            f"Newton step {size:.1e} (relative to 1 + |input|) > {_EXACT_TOL:.0e} at exact_input: it is not the "
            "minimum; leave it out to have it found."
        )


def _polished(chain, z):
    """The minimum near an input."""
    equation = chain.equation
    x = equation.hyper.unflatten(equation.hyper.flat0)

    def objective(flat, tilt):  # the engine wants a hyper that the gradient depends on, which x need not be
        return equation.function(equation.input.unflatten(flat), x) + tilt[0] * flat[0]

    return np.array(polished(BasePoint(objective, z, np.zeros(1), is_objective=True)).input.flat0)


class _Run:
    """Estimates and errors of one run."""

    def __init__(self, chain, at, exact, solver, n_steps):
        wanted, growth = set(at.tolist()), chain.growth()
        z_errors, jacobian_errors, self.n_products, self.solver_bytes = [], [], [], 0
        self.gradients = {name: [] for name in ESTIMATORS}
        for t, (z, jacobian) in enumerate(chain.tangents(growth)):
            if t not in wanted and t < chain.n_iterations:
                continue
            there = chain.end(growth, z) if t == chain.n_iterations else chain.derivatives(z)
            if t not in wanted:
                continue
            z_errors.append(np.linalg.norm(z - exact.input))
            jacobian_errors.append(np.linalg.norm(jacobian - exact.jacobian))
            implicit, n_products, self.solver_bytes = implicit_from(there, solver, n_steps, check_definite=False)
            self.n_products.append(n_products)
            automatic = there.hyper_gradient + jacobian.T @ there.gradient
            for name, value in zip(ESTIMATORS, (there.hyper_gradient, automatic, implicit), strict=True):
                self.gradients[name].append(value)
        self.input_errors, self.jacobian_errors = np.array(z_errors), np.array(jacobian_errors)
        self.gradients = {name: np.array(values) for name, values in self.gradients.items()}
        self.errors = {name: np.linalg.norm(g - exact.gradient, axis=1) for name, g in self.gradients.items()}
        if not all(np.all(np.isfinite(error)) for error in (self.jacobian_errors, *self.errors.values())):
            raise NonFiniteError("a Jacobian or a gradient overflowed: reduce the step size.")


def _costs(chain, at, runs):
    """Costs and memory of each estimator at each iteration."""
    held = chain.state_bytes + chain.step_bytes
    steps = chain.share * (1 + PRODUCT_COST * chain.step_products)
    n_products = np.mean([run.n_products for run in runs], axis=0)
    reverse = np.array([reverse_costs(chain, int(t), max(int(t) - 1, 0), max(int(t), 1)) for t in at])
    forward = np.array([forward_costs(chain, int(t)) for t in at])
    costs = {
        "analytic": 1 + at * steps,
        "automatic_reverse": reverse[:, 0] + PRODUCT_COST * reverse[:, 1],
        "automatic_forward": forward[:, 0] + PRODUCT_COST * forward[:, 1],
        "implicit": 1 + at * steps + PRODUCT_COST * n_products,
    }
    memory_bytes = {
        "analytic": np.full(len(at), held),
        "automatic_reverse": reverse[:, 2].astype(int),
        "automatic_forward": forward[:, 2].astype(int),
        "implicit": np.full(len(at), chain.state_bytes + max(chain.step_bytes, runs[-1].solver_bytes)),
    }
    return costs, memory_bytes


def _iterations(at, n_iterations):
    if at is None:
        return np.arange(n_iterations + 1)
    at = np.unique(np.asarray(at))
    if at.size == 0 or at.dtype.kind not in "iu" or at[0] < 0 or at[-1] > n_iterations:
        raise ValueError(f"at={at}: whole numbers from 0 to n_iterations={n_iterations} are needed.")
    return at
