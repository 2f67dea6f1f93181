"""The entry: arguments checked, the walk made, the path or a named error returned."""

import math

import numpy as np

from ..errors import NonFiniteError, PathError, ShapeError
from ..expansion import ParametricSensitivityTaylorExpansion
from .legs import legs_through
from .path import Path
from .pieces import CHANGES_OF_VARIABLE, largest
from .walk import Stopped, Walk, weakness

__all__ = ["follow_path"]

_MIN_ORDER, _MAX_ORDER = 8, 24
_EPS = np.finfo(float).eps


def follow_path(expansion, hypers, tol, change_of_variable="auto", order=None, max_expansions=1000):
    """Solutions at a sequence of hypers, or along a line of them, each to a tolerance.

    One expansion serves as far as it is good to ``tol``; then the problem is expanded again at a polished point.

    Parameters
    ----------
    expansion : ParametricSensitivityTaylorExpansion
        Where the path starts. Only its base point, its tape and its factor are used.
    hypers : array_like of shape (n, n_hyper), or (n,) for a scalar hyper
        Where solutions are wanted, in any order, with repetitions or not. If they lie on one line with the base point,
        the path is that line; if they lie on another line, it goes to the nearer end of that first; otherwise it goes
        from one to the next in the order given, leg by leg.
    tol : float
        Absolute bound on the largest error of a component of each value.
    change_of_variable : {"auto", "log", None}, default="auto"
        The hyper's variable in which legs are straight and series are taken: its logarithm, or itself. "auto" is the
        logarithm where the hyper is a single number and it and all that are asked for are positive, as penalties are.
    order : int, default=None
        Order of the series, from 2; the expansion's own order does not matter. Default: ``ln(scale / tol)`` between 8
        and 24, with ``scale`` the largest input: with a range in proportion to ``tol^(1/order)`` this makes ``order /
        range`` least.
    max_expansions : int, default=1000
        Series that may be made.

    Returns
    -------
    Path

    Raises
    ------
    PathError
        The path cannot be followed further: a fold, a singular Jacobian, or for an objective a Hessian that is not
        positive definite any more. Says where; ``error.path`` is the :class:`Path` so far.
    ValueError
        ``tol`` not positive or below rounding; hypers that are not positive with "log".
    ShapeError, NonFiniteError
        Hypers that are empty, of another shape, NaN or infinite.

    References
    ----------
    B. Cochelin, "A path-following technique via an asymptotic-numerical method", Comput. Struct. 53 (1994) 1181.

    Examples
    --------
    A ridge path over eight decades of the penalty:

    >>> import numpy as np, autograd.numpy as anp
    >>> import vittles_ng as vn
    >>> from vittles_ng.continuation import follow_path
    >>> x = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]); y = np.array([1.0, 2.0, 4.0])
    >>> ridge = lambda b, penalty: anp.sum((y - x @ b) ** 2) + penalty * anp.sum(b ** 2)
    >>> solve = lambda penalty: np.linalg.solve(x.T @ x + penalty * np.eye(2), x.T @ y)
    >>> expansion = vn.ParametricSensitivityTaylorExpansion.optimization_objective(
    ...     ridge, solve(1.0), 1.0, order=2)
    >>> penalties = np.geomspace(1e-4, 1e4, 200)
    >>> path = follow_path(expansion, penalties, tol=1e-9)
    >>> bool(max(abs(path.values - [solve(p) for p in penalties]).max(axis=1)) < 1e-9)
    True
    >>> bool(abs(path(3.21) - solve(3.21)).max() < 1e-9)
    True
    """
    if not isinstance(expansion, ParametricSensitivityTaylorExpansion):
        raise TypeError(
            f"follow_path needs an expansion with its function, not a {type(expansion).__name__}: make one of the "
            "problem first."
        )
    problem = expansion._problem
    hypers = _checked_hypers(problem, hypers)
    scale = largest(problem.input.flat0)
    _check_tol(tol, scale)
    name = _chosen_change(change_of_variable, problem.hyper.flat0, hypers)
    if order is None:
        order = int(np.clip(math.ceil(math.log(max(scale, tol) / tol)), _MIN_ORDER, _MAX_ORDER))
    elif isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 2:
        raise ValueError(f"order must be an integer from 2, got {order!r}.")
    change = CHANGES_OF_VARIABLE[name]
    lines = legs_through(change, change.to(problem.hyper.flat0), change.to(hypers))
    walk = Walk(expansion, lines, float(tol), int(order), name, max_expansions)
    try:
        walk.run()
    except Stopped as stop:
        what = f"the path stops at hyper {stop.base.hyper}: {stop}"
        if stop.is_fold:
            what += f"; {weakness(stop.base)}: a fold, a singular Jacobian, or the end of where the function is defined"
        remedy = "ask for hypers on this side of it" if stop.is_fold else "allow more, or ask for a larger tol"
        error = PathError(f"{what}; {remedy}; the path so far is error.path.")
        error.path = Path(walk, hypers, what)
        raise error from stop
    return Path(walk, hypers, f"followed to {len(hypers)} hypers by {walk.n_expansions} series of order {order}")


def _checked_hypers(problem, hypers):
    n_hyper = problem.hyper.size
    array = np.asarray(hypers)
    if array.size == 0:
        raise ShapeError(f"hypers has shape {array.shape}: at least one hyper is needed, (n, {n_hyper}).")
    if n_hyper == 1 and array.ndim <= 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != n_hyper:
        raise ShapeError(f"hypers has shape {np.shape(hypers)}: (n, {n_hyper}) is needed, one hyper a row.")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise NonFiniteError(f"{bad.size} of {len(array)} hypers are NaN or infinite, the first is hypers[{bad[0]}].")
    return array


def _check_tol(tol, scale):
    if not 0.0 < tol < np.inf:
        raise ValueError(f"tol must be positive and finite, got {tol}.")
    if tol < 64.0 * _EPS * scale:
        raise ValueError(
            f"tol {tol:.1e} is below rounding: inputs of {scale:.1e} need {64.0 * _EPS * scale:.1e} or more."
        )


def _chosen_change(name, hyper0, hypers):
    if name == "auto":
        return "log" if hyper0.size == 1 and hyper0[0] > 0.0 and np.all(hypers > 0.0) else None
    if name not in CHANGES_OF_VARIABLE:
        raise ValueError(f"change_of_variable={name!r} is not known: use 'auto', 'log' or None.")
    if name == "log":
        for what, h in (("the expansion's hyper", hyper0), ("hypers", hypers)):
            if not np.all(h > 0.0):
                raise ValueError(
                    f"change_of_variable='log' needs positive hypers: the least of {what} is {np.min(h)}; use None."
                )
    return name
