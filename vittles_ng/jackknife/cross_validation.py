"""Cross-validation by approximate refits, over a grid of penalties too.

    CV = sum_n w_n loss_n(input without the fold of n) / sum_n w_n,

with the refits from the fit's series in the weights, the loss itself evaluated at them. Values further off than a small
part of a typical move are polished first, see :mod:`vittles_ng.jackknife.verdicts`.

Sources: Stone, J. R. Statist. Soc. B 36 (1974) 111; Allen, Technometrics 16 (1974) 125 (PRESS, to which leave-one-out
of ridge regression converges); Giordano et al., arXiv 1806.00550; Wilson, Kasy, Mackey, arXiv 2003.00617 (approximate
cross-validation and its errors).
"""

import numpy as np
from autograd import grad

from ..errors import DataError, NonFiniteError, ShapeError, VittlesError
from ..executors import progress, workers
from ..expansion import ParametricSensitivityTaylorExpansion
from ..problem import Structure, flatten_traced
from ..recursion import checked_integer
from ..taylor.tracing import traced_code
from .checks import checked_groups
from .identification import unidentified
from .parallel import distributed
from .verdicts import Approximations, approximate, settle

__all__ = ["HeldOut", "cross_validate", "held_out"]

#: Largest error of a value, as a part of a typical move, and the order of the path over hypers.
_TOL, _PATH_ORDER = 0.02, 4
_MAX_ORDER_BY_TENSORS = 3


def cross_validate(jackknife, order, folds=None, hypers=None, loss=None, verdicts="auto", executor=None):
    """Mean held-out loss: a float, or one for each hyper."""
    if hypers is None:
        return held_out(jackknife, order, folds, loss, verdicts, executor).mean()
    hypers, means = list(hypers), np.full(len(hypers), np.inf)
    with workers(executor) as some:
        for i, at_hyper in progress(_fits(jackknife, hypers), len(hypers), "hypers"):
            if at_hyper is not None:
                found = held_out(at_hyper, order, folds, loss, verdicts, some)
                means[i] = np.inf if len(found.failed) else found.mean()
    return means


def held_out(jackknife, order, folds=None, loss=None, verdicts="auto", executor=None):
    """Held-out losses of all observations; see :meth:`vittles_ng.InfinitesimalJackknife.held_out_losses`."""
    if loss is None and not jackknife.model.is_objective:
        raise TypeError("an estimating equation has no loss: pass loss(input, *rows) -> (n_rows,).")
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be a function of (input, *rows), got {type(loss).__name__}.")
    folds = _Folds(jackknife, folds)
    with distributed(jackknife, executor) as some:
        if folds.are_observations and order <= _MAX_ORDER_BY_TENSORS:
            approximations, scale = _one_by_one(jackknife, order, some)
        else:
            terms = some and some.terms
            approximations, scale = approximate(jackknife, folds.weights, len(folds), order, terms=terms)
        nothing = unidentified(jackknife, folds.weights, len(folds), fold_of=folds.group)
        looked_at = some and some.looked_at(approximations.values, folds.weights, _TOL, scale)
        settled = settle(jackknife, approximations, folds.weights, _TOL, scale, verdicts, looked_at, nothing)
    return HeldOut(jackknife, folds, settled, order, loss)


class _Folds:
    """What is held out together: ``group`` (n_obs,) numbers the folds, ``labels`` names them."""

    def __init__(self, jackknife, folds):
        n = jackknife.n_obs
        if folds is None:
            folds = np.arange(n) if jackknife.groups is None else jackknife.groups
        elif np.ndim(folds) == 0:
            n_folds = checked_integer(folds, "folds", 2)
            if n_folds > n:
                raise DataError(f"folds={n_folds} exceeds the number of observations, {n}.")
            folds = np.arange(n) % n_folds
        else:
            folds = np.asarray(folds)
            if folds.shape != (n,):
                raise ShapeError(f"folds has shape {folds.shape}: a number, or a label for each of {n} observations.")
            folds = checked_groups(folds, n)
        self.labels, self.group = np.unique(folds, return_inverse=True)
        self._weights0 = jackknife.weights0
        self.are_observations = len(self.labels) == n
        totals = np.bincount(self.group, weights=self._weights0)
        if np.sum(totals > 0.0) < 2:
            raise DataError(f"{np.sum(totals > 0.0)} fold has weight: what is left to fit is nothing.")
        self._rows = np.split(np.argsort(self.group, kind="stable"), np.cumsum(np.bincount(self.group))[:-1])

    def __len__(self):
        return len(self.labels)

    def rows(self, fold):
        """The observations of a fold."""
        return self._rows[fold]

    def weights(self, folds):
        """The weights without some folds, (n_folds, n_obs)."""
        weights = np.tile(self._weights0, (len(self.labels[folds]), 1))
        for row, fold in zip(weights, range(*folds.indices(len(self))), strict=True):
            row[self._rows[fold]] = 0.0
        return weights


def _one_by_one(jackknife, order, some):
    """Leave-one-out by its own, faster ways, and the sizes of its terms from the differences of orders."""
    base = jackknife.input_val0.ravel()
    values = [np.broadcast_to(base, (jackknife.n_obs, base.size))]
    executor = some and some.workers
    values += [np.asarray(jackknife.leave_one_out(order=k, executor=executor)) for k in range(1, order + 1)]
    terms = np.array([after - before for before, after in zip(values[:-1], values[1:], strict=True)])
    scale = np.sqrt(np.mean(terms[0][np.isfinite(terms[0]).all(axis=1)] ** 2, axis=0))
    scale = np.maximum(scale, 1e-12 * np.maximum(1.0, np.abs(base)))
    sizes = np.max(np.abs(terms) / scale, axis=2)
    return Approximations(np.array(values[-1]), np.where(np.isfinite(sizes), sizes, np.inf)), scale


class HeldOut:
    """Losses of observations at refits without their folds.

    Attributes
    ----------
    losses : ndarray of shape (n_obs,)
        NaN where there is no refit without the fold.
    failed : ndarray
        Labels of the folds without which the model is not identified, or separates.
    n_folds, n_verified, n_polished : int
        Folds; those at which the user's function was run; those whose value was polished.
    order : int
    """

    def __init__(self, jackknife, folds, settled, order, loss):
        self._jackknife, self._folds, self._loss = jackknife, folds, loss
        self.order, self.n_folds = order, len(folds)
        self.n_verified, self.n_polished = int(np.sum(settled.verified)), int(np.sum(settled.polished))
        is_failed = ~np.isfinite(settled.values).all(axis=1)
        self.failed = folds.labels[is_failed]
        self.losses = np.full(jackknife.n_obs, np.nan)
        self._reason = str(settled.messages[np.argmax(is_failed)])
        for fold in progress(np.flatnonzero(~is_failed), what="losses"):
            rows = folds.rows(fold)
            self.losses[rows] = self._losses(settled.values[fold], rows)

    def __repr__(self):
        looked_at = f"{self.n_verified} verified, {self.n_polished} polished, {len(self.failed)} without a refit"
        return f"<Held-out losses, {self.n_folds} folds, order {self.order}: {looked_at}>"

    def mean(self):
        """Mean of the losses under the fit's weights.

        Raises
        ------
        DataError
            There is no refit without some fold.
        """
        if len(self.failed):
            raise DataError(
                f"there is no refit without fold {self.failed[0]} ({len(self.failed)} of {self.n_folds} folds; "
                f"{self._reason}): its held-out loss does not exist; add a penalty, or use other folds."
            )
        weights = self._jackknife.weights0
        return float(weights @ self.losses / np.sum(weights))

    def verify(self, n_folds, rng=0):
        """Exact refits of a sample of folds.

        Parameters
        ----------
        n_folds : int
        rng : Generator or int, default=0

        Returns
        -------
        rows : ndarray of shape (n_rows,)
            The observations of the folds drawn.
        exact : ndarray of shape (n_rows,)
            Their losses at the exact refits, to hold beside ``losses[rows]``; NaN where there is none.
        """
        n_folds = min(checked_integer(n_folds, "n_folds", 1), self.n_folds)
        drawn = np.random.default_rng(rng).choice(self.n_folds, size=n_folds, replace=False)
        rows, exact = [], []
        for fold in np.sort(drawn):
            refit = self._jackknife.exact_refit(self._folds.weights(slice(fold, fold + 1)))
            some = self._folds.rows(fold)
            rows.append(some)
            exact.append(self._losses(refit.value[0], some) if refit.trusted[0] else np.full(len(some), np.nan))
        return np.concatenate(rows), np.concatenate(exact)

    def _losses(self, value, rows):
        model = self._jackknife.model
        with traced_code(), np.errstate(all="ignore"):
            if self._loss is None:
                found = np.asarray(model.contributions(value, rows), dtype=np.float64)
            else:
                found = np.asarray(self._loss(model.input.unflatten(value), *model.rows(rows)), dtype=np.float64)
        if found.shape != (len(rows),):
            raise ShapeError(
                f"loss(input, *rows) has shape {found.shape} for {len(rows)} rows: ({len(rows)},) is needed."
            )
        if np.isnan(found).any():
            raise NonFiniteError(
                f"the held-out loss of observation {rows[np.argmax(np.isnan(found))]} is NaN at the refit without it: "
                "the refit lies where the loss is not defined; use a higher order, or another parametrisation."
            )
        return found


def _fits(jackknife, hypers):
    """The jackknife at every hyper, each from the fit at its nearest neighbour: pairs (index, jackknife or None)."""
    model = jackknife.model
    if model.penalty is None or model.hyper is None:
        raise ValueError("hypers needs a penalty of (input, hyper), and the hyper that the fit was made with.")
    if not hypers:
        raise ValueError("hypers is empty: at least one is needed.")
    structure = Structure(model.hyper, "hyper")
    flat = np.array([structure.flatten(hyper, f"hypers[{i}]") for i, hyper in enumerate(hypers)])
    places = np.concatenate([structure.flat0[None], flat])
    if np.all(places > 0.0):
        places = np.log(places)
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    known, left = {0: (jackknife.input_val0.ravel(), model.hyper)}, set(range(1, len(places)))
    while left:
        near, i = min(((a, b) for a in known for b in left), key=lambda pair: distances[pair])
        left.remove(i)
        hyper = structure.unflatten(flat[i - 1])
        found = _at_hyper(jackknife, *known[near], hyper)
        if found is not None:
            known[i] = found.input_val0.ravel(), hyper
        yield i - 1, found


def _at_hyper(jackknife, value, hyper, new):
    """The jackknife of the fit at a new hyper, from the fit at another; None where there is none."""
    model, options = jackknife.model, _options(jackknife)
    path = _path(jackknife, value, hyper, options)
    try:
        refit = path.refit(Structure(new, "hyper").flat0[None], polish=True)
        start = model.input.unflatten(refit.value[0] if refit.trusted[0] else value)
        if not model.is_objective:
            return type(jackknife).from_estimating_equation(
                model.loss, start, model.data, model.penalty, new, **options
            )
        options["polish_optimum"] = True
        return type(jackknife)(model.loss, start, model.data, model.penalty, new, **options)
    except VittlesError:
        return None


def _path(jackknife, value, hyper, options):
    """The expansion of the fit in the penalty's hyper."""
    model, weights = jackknife.model, jackknife.weights0
    total = np.sum(weights)

    def penalty(input_val, other):
        return model._penalty(input_val, other, total)

    def function(input_val, other):
        found = model._sum(input_val, weights, model.data)
        if model.is_objective:
            return found + penalty(input_val, other)
        return found + grad(lambda x: penalty(model.input.unflatten(x), other))(flatten_traced(input_val))

    kind = ParametricSensitivityTaylorExpansion
    make = kind.optimization_objective if model.is_objective else kind
    solving = {name: options[name] for name in ("solver", "sparsity")}
    # the fit was accepted before, to whatever tolerance
    return make(function, model.input.unflatten(value), hyper, _PATH_ORDER, optimum_tol=np.inf, **solving)


def _options(jackknife):
    problem = jackknife.expansion._problem
    return {
        "weights0": jackknife.weights0,
        "groups": jackknife.groups,
        "order": jackknife.order,
        "parameter_names": jackknife.parameter_names,
        "observation_names": jackknife.observation_names,
        "solver": problem._solver,
        "sparsity": None if problem.assembly is None else problem.assembly.pattern,
    }
