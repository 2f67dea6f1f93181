"""The mode of the random effects, the Laplace approximation there, and its gradient.

Requires an objective ``f(input, hyper) = -log p(data, input | hyper)`` with a minimum ``u(hyper)`` in the input, the
random effects. They are integrated out approximately (Tierney & Kadane 1986),

    L(hyper) = -f(u, hyper) - 1/2 log det H + n/2 log(2 pi),    H = d^2 f / dinput^2 at (u, hyper),

exactly where f is quadratic in the input. With Z for ``H^{-1}`` held fixed and ``s(input, hyper) = tr(Z H)``,

    dL/dhyper = -f_h - 1/2 (s_h - f_hu lambda),    H lambda = s_u,

because ``du/dhyper = -H^{-1} f_uh`` (Skaug & Fournier 2006; Kristensen et al. 2016). Only the entries of Z in the
pattern of H matter, the selected inverse. H is found by products ``H v_k``, each entry read at one place of them; with
the entries of Z spread to the same places, ``s = sum_k w_k . H v_k``. So ``(s_u, s_h)`` is a sum of second derivatives
of the gradient ``g = (f_u, f_h)`` along pairs of directions, one series of order 3 for each product, however many
hypers there are (:meth:`vittles_ng.taylor.recorded.Recorded.mixed`).
"""

import numpy as np
import scipy.sparse
from autograd import grad

from ..base_point import descended
from ..errors import NonFiniteError, NotASolutionError, NotPositiveDefiniteError, ShapeError, VittlesError
from ..solvers import choose_solver
from ..taylor.recorded import Recorded, block_size

__all__ = ["Mode", "minimised", "square_root"]

_MAX_NEWTON, _MAX_SHIFTS = 100, 12
_LONG = 1e-4  # a Newton step from which no other than a quadratic objective comes to the target at once
#: Newton step, relative to 1 + |input|, at which the mode is reached; "at rounding" below the second.
_TARGET, _AT_ROUNDING = 1e-12, 1e-7


class Mode:
    """The minimum in the input at one hyper: a problem recorded there, and the factor of its Hessian."""

    def __init__(self, problem, factor):
        self.problem, self.factor = problem, factor
        n = problem.input.size
        half = 0.5 * (n * np.log(2.0 * np.pi) - factor.log_determinant())
        self.log_marginal = float(half - problem.objective0)
        self._gradient = None

    def sensitivity(self, direction):
        """``du/dhyper d = -H^{-1} f_uh d``, (n_input,)."""
        return -self.factor.solve(self.problem.recorded.pushed(1, direction[None, :])[0])

    def predicted(self, hyper):
        """The problem at a new hyper, at the first-order prediction or, where the objective is lower, here."""
        here = self.problem.input.flat0
        there = here + self.sensitivity(hyper - self.problem.hyper.flat0)
        found, refused = [], None
        for start in (here, there):
            try:
                found.append(self.problem.at(start, hyper))
            except (VittlesError, ArithmeticError) as error:
                refused = error
        if not found:
            raise refused
        return min(found, key=lambda problem: problem.objective0)

    def gradient(self):
        """dL/dhyper, (n_hyper,); a copy."""
        if self._gradient is None:
            problem = self.problem
            base = problem.input.flat0, problem.hyper.flat0
            recorded = Recorded(lambda x, hyper: (problem(x, hyper), _hyper_gradient(problem, x, hyper)), base)
            s_u, s_h = _trace_derivatives(recorded, *_probes(problem, self.factor))
            solved = self.factor.solve(s_u)
            _, along = recorded.start(1).coefficient([solved[None, :], None])
            s_h = s_h - (0.0 if along is None else along[0])
            self._gradient = -recorded.values[1] - 0.5 * s_h
        return self._gradient.copy()


def _hyper_gradient(problem, input_flat, hyper_flat):
    """The objective's derivative in the hyper, (n_hyper,), which may be traced."""
    value = problem.input.unflatten(input_flat)
    return grad(lambda hyper: problem.function(value, problem.hyper.unflatten(hyper)))(hyper_flat)


def _probes(problem, factor):
    """Directions v_k and weights w_k with ``tr(Z H) = sum_k w_k . H v_k``, both (n_products, n_input).

    In units of the standard errors ``d = sqrt(diag Z)``, so that v and w are of one size at every input: what rounding
    leaves of a product should not drown another. ``H v_k`` at input r reads ``d_c H_rc`` for a column c, so
    the weight there is ``Z_rc / d_c``; which of its indices is r, an entry need not know: ``Z_ij d_r / (d_i d_j)``.
    """
    n, assembly = problem.input.size, problem.assembly
    if assembly is None:
        inverse = factor.solve(np.eye(n))
        errors = np.sqrt(np.diag(inverse))
        return np.diag(errors), inverse / errors[:, None]
    inverse = factor.selected_inverse(assembly.pattern)
    errors = np.sqrt(inverse.diagonal())
    columns = np.repeat(np.arange(n), np.diff(inverse.indptr))
    directions, source = assembly.directions(), assembly.source
    entries = inverse.data * errors[source % n] / (errors[inverse.indices] * errors[columns])
    return directions * errors, np.bincount(source, entries, directions.size).reshape(directions.shape)


def _trace_derivatives(recorded, directions, weights):
    """``sum_k g''[v_k, w_k]`` for both parts of the gradient, (n_input,) and (n_hyper,)."""
    sums = [np.zeros(value.shape) for value in recorded.values]
    block = block_size(recorded.size)
    for start in range(0, len(directions), block):
        pair = ([part[start : start + block], None] for part in (directions, weights))
        for total, c in zip(sums, recorded.mixed(*pair), strict=True):
            total += c.sum(axis=0)
    return sums


def minimised(problem, like):
    """The :class:`Mode` reached from a problem's base point by Newton steps, each halved until the objective falls.

    Where the Hessian is not positive definite on the way, a multiple of the unit matrix is added.

    Parameters
    ----------
    problem : BasePoint
    like : Solver or None
        A factor at another point, whose symbolic work is used again.
    """
    last, came = np.inf, None
    with np.errstate(all="ignore"):
        for _ in range(_MAX_NEWTON):
            factor, refused = _factored(problem, like)
            step = factor.solve(problem.residual0)
            size = float(np.max(np.abs(step) / (1.0 + np.abs(problem.input.flat0))))
            if size <= _TARGET or (size <= _AT_ROUNDING and size >= 0.5 * last):
                if refused is not None:
                    raise refused
                if _LONG < last < np.inf:
                    _check_curvature(problem, *came)
                return Mode(problem, factor)
            came, like = (problem, step), factor if refused is None else like
            problem, last = descended(problem, step), size
        if problem is None:
            raise NotASolutionError(
                f"no step length decreases the objective at hyper {_shown(came[0])}: it has no minimum in the input "
                "there, or is not smooth."
            )
    raise NotASolutionError(
        f"no minimum in the input after {_MAX_NEWTON} Newton steps (the last was {size:.1e} relative) at hyper "
        f"{_shown(problem)}: start closer, or check that the objective has one there."
    )


def _check_curvature(problem, before, step):
    """Raise unless the curvature along the last step is that before it, where a long step led to a gradient of zero.

    A single Newton step leads there if the objective is quadratic; or if it falls for ever, ever more slowly, until its
    gradient is lost in rounding.
    """
    step = step / np.linalg.norm(step)
    was, now = (float(step @ at.jacobian_product(step)) for at in (before, problem))
    if not abs(now - was) <= 0.1 * abs(was):
        worst = int(np.argmax(np.abs(step)))
        raise NotASolutionError(
            f"the objective flattens out along input {worst}, which ran off to {problem.input.flat0[worst]:.1e}, at "
            f"hyper {_shown(problem)}: no minimum there (separable data, or an effect without a prior)."
        )


def _factored(problem, like):
    """A factor of the Hessian, or of one that is shifted to be positive definite and why it had to be."""
    try:
        return problem.factored(like), None
    except NotPositiveDefiniteError as error:
        refused = error
    matrix = problem.matrix()
    unit = np.eye(matrix.shape[0]) if problem.assembly is None else scipy.sparse.eye_array(matrix.shape[0])
    shift = 1e-3 * float(np.mean(np.abs(matrix.diagonal()))) or 1.0
    for _ in range(_MAX_SHIFTS):
        try:
            return choose_solver(matrix + shift * unit, positive_definite=True), refused
        except NotPositiveDefiniteError:
            shift *= 10.0
    raise refused


def _shown(problem):
    return np.array2string(problem.hyper.flat0, precision=4, threshold=6)


def square_root(covariance, n):
    """Rows R with ``covariance = R^T R``, at most n.

    Raises
    ------
    ShapeError, NonFiniteError, NotPositiveDefiniteError
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    if covariance.shape != (n, n):
        raise ShapeError(f"covariance has shape {covariance.shape}: ({n}, {n}), of the hyper, is needed.")
    if not np.all(np.isfinite(covariance)):
        raise NonFiniteError("covariance has NaN or infinite entries.")
    eigenvalues, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    if not eigenvalues[0] >= -1e-12 * max(abs(eigenvalues[-1]), abs(eigenvalues[0])):
        raise NotPositiveDefiniteError(
            f"covariance has the eigenvalue {eigenvalues[0]:.1e}: a variance is never negative."
        )
    return (np.sqrt(np.maximum(eigenvalues, 0.0)) * vectors).T
