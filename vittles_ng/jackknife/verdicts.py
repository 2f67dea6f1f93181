"""Verdicts on many approximate refits: which need to be looked at, and those that are not good enough polished.

What a value costs by the series is a small part of what one run of the user's function at a new point costs, so a batch
is screened first. With ``a_k`` the largest component of the term of order k, in units of a scale for each input,

    rho = (a_K / a_1)^(1 / (K - 1)),    q = a_K rho / (1 - rho)

estimates the rest of the series from its terms alone. Such estimates are often too low, by a factor that one model's
refits share; so a sample is checked at the new point by the user's function (two chord steps, see
:mod:`vittles_ng.trust`), which gives that factor, and then the batch from the largest q down, until the factor times q,
with a margin, is below the tolerance for all that are left. What is checked and found to be further off than the
tolerance takes chord steps until it is not, each with its own evidence; where those contract slowly, the refit is
exact.

Sources: Cochelin, Comput. Struct. 53 (1994) 1181 (the terms' own bound); Ortega & Rheinboldt, "Iterative Solution of
Nonlinear Equations in Several Variables" (1970) sec. 12.3 (a-posteriori bounds of contractions).
"""

from typing import NamedTuple

import numpy as np

from ..chord import evaluate
from ..errors import NonFiniteError
from ..executors import progress
from ..trust import evidence
from .identification import judge_of

__all__ = ["Approximations", "Settled", "Verdict", "approximate", "estimates_of", "look_at", "settle", "terms_of"]

#: Contraction up to which two chord steps put the error within a factor ten in every case tried.
_CONTRACTS = 0.7
_MAX_CHORD = 8
_SAMPLE, _BLOCK = 16, 16
_MARGIN = 2.0
_NUMBERS_AT_ONCE = 8_000_000
_OF_UNVERIFIED, _SEED = "accepted by its terms", 5


class Approximations(NamedTuple):
    """Values of series (n_sets, n_input), and the sizes of their terms, (order, n_sets), in units of the scale."""

    values: np.ndarray
    sizes: np.ndarray


class Verdict(NamedTuple):
    """On one approximate refit."""

    value: np.ndarray  # polished where that was needed; NaN where there is no refit
    error: float  # of the value, largest component in units of the scale
    series_error: float  # of the series' value; infinite without evidence
    trusted: bool
    polished: bool
    message: str


class Settled(NamedTuple):
    """On a batch, (n_sets, ...) each; fields as of a :class:`Verdict`."""

    values: np.ndarray
    errors: np.ndarray
    trusted: np.ndarray
    polished: np.ndarray
    verified: np.ndarray
    messages: np.ndarray


def approximate(jackknife, weights_of, n_sets, order, scale=None, terms=None):
    """Values by the series, with the sizes of their terms.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    weights_of : callable
        ``weights_of(rows) -> (n_rows, n_obs)`` for a slice of sets.
    n_sets, order : int
    scale : ndarray of shape (n_input,), default=None
        Unit of each input; default: the root mean square of the first-order terms.
    terms : callable, default=None
        ``terms(weights_of, rows, order)``, where they are to be formed elsewhere; default: :func:`terms_of`, here.

    Returns
    -------
    Approximations
        A set along which the series overflows has values of NaN and sizes of infinity.
    scale : ndarray of shape (n_input,)
    """
    values, sizes = np.empty((n_sets, jackknife.n_input)), np.empty((order, n_sets))
    base = jackknife.input_val0.ravel()
    chunk = max(1, _NUMBERS_AT_ONCE // max(jackknife.n_obs, order * jackknife.n_input))
    for start in range(0, n_sets, chunk):
        rows = slice(start, min(start + chunk, n_sets))
        found = terms_of(jackknife, weights_of(rows), order) if terms is None else terms(weights_of, rows, order)
        scale = _scale(found[0], base) if scale is None else scale
        values[rows] = base + found[::-1].sum(axis=0)
        with np.errstate(all="ignore"):
            sizes[:, rows] = np.max(np.abs(found) / scale, axis=2)
    sizes[~np.isfinite(sizes)] = np.inf
    return Approximations(values, sizes), scale


def terms_of(jackknife, weights, order):
    """Terms of the series of many weights, (order, n_sets, n_input); NaN where one overflows."""
    expansion, terms = jackknife.expansion, np.empty((order, len(weights), jackknife.n_input))
    try:
        expansion._terms(weights, jackknife.weights0, terms)
    except NonFiniteError:  # of one set at least: the others have series
        expansion._terms_row_by_row(weights, terms)
    return terms


def _scale(first, base):
    """A standard error of each input, or near it; rounding where nothing moves."""
    rounding = 1e-9 * np.maximum(1.0, np.abs(base))
    finite = first[np.isfinite(first).all(axis=1)]
    return np.maximum(np.sqrt(np.mean(finite**2, axis=0)), rounding) if len(finite) else rounding


def estimates_of(sizes):
    """``q`` of every set from the sizes of its terms, (n_sets,); at order one the size of the only term."""
    order = len(sizes)
    if order == 1:
        return sizes[0].copy()
    with np.errstate(all="ignore"):
        last = sizes[-1]
        if order > 2:  # not one that is small by chance
            last = np.maximum(last, sizes[-2] * (sizes[-2] / sizes[0]) ** (1.0 / (order - 2)))
        # the steepest since any order but the one before: a series may fall first and then grow
        rho = np.max([(last / sizes[k - 1]) ** (1.0 / (order - k)) for k in range(1, max(order - 1, 2))], axis=0)
        q = np.where(rho < 0.95, last * rho / (1.0 - rho), np.inf)
    q[~np.isfinite(q)] = np.inf  # a first order that vanishes is no evidence of a small second
    return np.where(np.any(sizes, axis=0), q, 0.0)


def look_at(jackknife, value, weights, tol, scale):
    """The verdict on one value, which is polished where its error is above the tolerance."""
    problem, solver = jackknife.expansion._problem, jackknife.expansion.solver
    point = evaluate(problem, solver, value, weights) if np.all(np.isfinite(value)) else None
    series_error, error = np.inf, np.inf
    with np.errstate(all="ignore"):
        for n in range(_MAX_CHORD):
            if point is None or point.reason:
                break
            following = evaluate(problem, solver, point.input - point.step, weights)
            contraction, errors = evidence(problem, solver, [point, following], weights)
            error = float(np.max(errors / scale)) if contraction < _CONTRACTS else np.inf
            series_error = error if n == 0 else series_error
            if error <= tol * (1.0 - contraction):  # the tail is known the less the slower it falls
                message = f"contraction {contraction:.2g}, error estimate {error:.1e}"
                return Verdict(point.input, error, series_error, True, n > 0, message)
            if not contraction < _CONTRACTS:
                break
            point = following
    return _exact(jackknife, weights, series_error, scale)


def _exact(jackknife, weights, series_error, scale):
    refit = jackknife.expansion._refit(weights[None], None, True, judge=judge_of(jackknife))
    value, error = refit.value[0], float(np.max(refit.error_estimate[0] / scale))
    converged, message = bool(refit.trusted[0]), str(refit.message[0])
    if not converged:
        value, error = np.full(value.size, np.nan), np.inf
    return Verdict(value, error, series_error, converged, converged, message)


def _unidentified(n_input):
    reason = "these weights leave the model unidentified"
    return Verdict(np.full(n_input, np.nan), np.inf, 0.0, False, False, reason)


def settle(jackknife, approximations, weights_of, tol, scale, verdicts="auto", looked_at=None, without_refit=None):
    """Verdicts on a batch.

    Parameters
    ----------
    jackknife : InfinitesimalJackknife
    approximations : Approximations
    weights_of : callable
        As in :func:`approximate`.
    tol : float
        Largest error, in units of the scale, that a value may have.
    scale : ndarray of shape (n_input,)
    verdicts : "auto", True or False
        Look at as many as needed, at all, or at none.
    looked_at : callable, default=None
        ``looked_at(indices) -> list of Verdict``, where they are to be found elsewhere; default: here, one by one.
    without_refit : ndarray of bool, shape (n_sets,), default=None
        Sets known to leave the model unidentified: they are marked, not looked at.

    Returns
    -------
    Settled
        Of a set that was not looked at the error is the estimate from its terms, times the factor found.
    """
    q = estimates_of(approximations.sizes)
    found = _Found(approximations.values.copy(), q, tol)
    if verdicts is not False and without_refit is not None:
        found.put(np.flatnonzero(without_refit), [_unidentified(jackknife.n_input)] * int(np.sum(without_refit)))
    left = np.flatnonzero(~found.verified)
    if looked_at is None:

        def looked_at(indices):
            weights = [weights_of(slice(i, i + 1))[0] for i in indices]
            return [
                look_at(jackknife, approximations.values[i], w, tol, scale)
                for i, w in progress(zip(indices, weights, strict=True), len(indices), "verdicts")
            ]

    if verdicts is True:
        found.put(left, looked_at(left))
    elif verdicts is not False and len(left):
        sample = np.sort(np.random.default_rng(_SEED).choice(left, size=min(len(left), _SAMPLE), replace=False))
        found.put(sample, looked_at(sample))
        while len(some := found.next_to_look_at()):
            found.put(some, looked_at(some))
    return found.settled(is_screened=verdicts is not False)


class _Found:
    """Verdicts as they come in, and what they say about the sets not looked at."""

    def __init__(self, values, q, tol):
        n = len(values)
        self.values, self.q, self.tol = values, q, tol
        self.errors, self.trusted, self.polished = q.copy(), np.zeros(n, bool), np.zeros(n, bool)
        self.verified, self.messages = np.zeros(n, bool), np.full(n, "", dtype=object)
        self.order = np.argsort(-q, kind="stable")
        self.factor = 1.0

    def put(self, indices, verdicts):
        for i, verdict in zip(indices, verdicts, strict=True):
            self.values[i], self.errors[i], self.messages[i] = verdict.value, verdict.error, verdict.message
            self.trusted[i], self.polished[i], self.verified[i] = verdict.trusted, verdict.polished, True
            # errors at rounding, and estimates that have no end, say nothing of the factor
            if verdict.series_error > 1e-3 * self.tol and np.isfinite(self.q[i]):
                self.factor = max(self.factor, verdict.series_error / max(self.q[i], 1e-300))

    def next_to_look_at(self):
        left = self.order[~self.verified[self.order]][:_BLOCK]
        return left[~(self._bound(self.q[left]) <= self.tol)]

    def _bound(self, q):
        with np.errstate(all="ignore"):
            return np.where(q == 0.0, 0.0, _MARGIN * self.factor * q)

    def settled(self, is_screened):
        unseen = ~self.verified
        self.errors[unseen] = self._bound(self.q[unseen]) if is_screened else np.nan
        self.trusted[unseen] = is_screened
        self.messages[unseen] = _OF_UNVERIFIED if is_screened else "not looked at"
        return Settled(self.values, self.errors, self.trusted, self.polished, self.verified, self.messages)
