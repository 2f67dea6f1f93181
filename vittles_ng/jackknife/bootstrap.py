"""The bootstrap by approximate refits: resamples are weights, and every refit has a verdict.

A resample of N observations is a multinomial vector of counts, so the refits are the fit's series in the weights at
those counts (Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, ch. 6; Giordano et al., arXiv
1806.00550); with groups, groups are drawn (Davison & Hinkley, "Bootstrap Methods and their Application", 1997,
sec. 3.8).
"""

import numpy as np
from scipy.special import ndtr, ndtri

from ..errors import DataError, ShapeError, optional_import
from ..recursion import checked_integer
from ..taylor.tracing import traced_code
from .identification import unidentified
from .influence import group_sums, influence
from .parallel import distributed
from .resamples import Resamples, generator
from .verdicts import approximate, settle

__all__ = ["Bootstrap", "bootstrap"]

_KINDS = ("percentile", "basic", "bca")
_FAILED = ("raise", "omit")
_TOL, _TIED = 0.02, 1e-12


def bootstrap(jackknife, n_resamples, rng, order, tol=_TOL, verdicts="auto", executor=None):
    """Bootstrap refits; see :meth:`vittles_ng.InfinitesimalJackknife.bootstrap`."""
    n_resamples = checked_integer(n_resamples, "n_resamples", 1)
    if verdicts is not True and verdicts is not False and verdicts != "auto":
        raise ValueError(f"verdicts={verdicts!r} is not known: use 'auto', True or False.")
    if not (np.ndim(tol) == 0 and 0.0 < tol < np.inf):
        raise ValueError(f"tol must be a positive number, in standard errors, got {tol!r}.")
    resamples = Resamples(jackknife.weights0, jackknife.groups, n_resamples, generator(rng))
    weights_of, nothing = resamples.weights, None
    with distributed(jackknife, executor) as some:
        if some is None:
            approximations, scale = approximate(jackknife, weights_of, n_resamples, order)
        else:
            approximations, scale = approximate(jackknife, resamples.to_be_drawn, n_resamples, order, terms=some.terms)
        if verdicts is not False:
            nothing = unidentified(jackknife, weights_of, n_resamples, are_resamples=True)
        looked_at = some and some.looked_at(approximations.values, weights_of, float(tol), scale)
        settled = settle(jackknife, approximations, weights_of, float(tol), scale, verdicts, looked_at, nothing)
    return Bootstrap(jackknife, resamples, settled, order)


class Bootstrap:
    """Refits of bootstrap resamples; made by :meth:`vittles_ng.InfinitesimalJackknife.bootstrap`.

    Attributes
    ----------
    values : ndarray of shape (n_resamples, n_input)
        The refits. NaN where there is none: the resample leaves the model unidentified, or separates.
    estimate : ndarray of shape (n_input,)
        The fit.
    trusted : ndarray of bool, shape (n_resamples,)
        Whether the value is within the tolerance, as far as can be told; False also where nothing was looked at.
    error_estimates : ndarray of shape (n_resamples,)
        Largest component of the estimated error of the values, in standard errors (of the first-order bootstrap).
    polished : ndarray of bool, shape (n_resamples,)
        Values that the series alone did not give well enough, refined until they were.
    verified : ndarray of bool, shape (n_resamples,)
        Resamples at which the user's function was run; the others were accepted by the terms of their series.
    message : ndarray of str, shape (n_resamples,)
        What speaks for or against each.
    order : int
        Of the series.
    names : list of str or None
        Of the columns of ``values``.
    """

    def __init__(self, jackknife, resamples, settled, order):
        self._jackknife, self._resamples, self._functional = jackknife, resamples, None
        self.values, self.trusted, self.polished = settled.values, settled.trusted, settled.polished
        self.error_estimates, self.verified, self.message = settled.errors, settled.verified, settled.messages
        self.estimate, self.order = jackknife.input_val0.ravel(), order
        self.names = jackknife.parameter_names

    n_resamples = property(lambda self: len(self.values), doc="Number of resamples.")
    n_polished = property(lambda self: int(np.sum(self.polished)), doc="Number of values that were polished.")
    n_failed = property(
        lambda self: int(np.sum(~np.isfinite(self._rows()).all(axis=1))), doc="Number of resamples without a refit."
    )

    @property
    def weights(self):
        """The resamples' weights, (n_resamples, n_obs), drawn again whenever they are asked for."""
        return self._resamples.weights(slice(None))

    def __repr__(self):
        looked_at = f"{np.sum(self.verified)} verified, {self.n_polished} polished, {self.n_failed} without a refit"
        return f"<Bootstrap of {self.n_resamples} resamples, order {self.order}: {looked_at}>"

    def functional(self, fun):
        """The same resamples of a functional of the input.

        Parameters
        ----------
        fun : callable
            ``fun(input)``, a scalar or a vector; for BCa intervals written in ``autograd.numpy``.

        Returns
        -------
        Bootstrap
            Of values (n_resamples,) or (n_resamples, n_functional).

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0, 7.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [4.0], (y,), order=4)
        >>> square = mean.bootstrap(200, rng=1).functional(lambda m: m[0] ** 2)
        >>> square.values.shape, float(square.estimate)
        ((200,), 16.0)
        """
        if self._functional is not None:
            raise TypeError("a functional takes the input, not another functional: take it of the first bootstrap.")
        unflatten = self._jackknife.model.input.unflatten
        made = object.__new__(Bootstrap)
        made.__dict__.update(self.__dict__)
        with traced_code():
            made.estimate = np.asarray(fun(unflatten(self.estimate.copy())), dtype=np.float64)
            if made.estimate.ndim > 1:
                raise ShapeError(f"the functional has shape {made.estimate.shape}: a scalar or a vector is needed.")
            made.values = np.full((self.n_resamples, *made.estimate.shape), np.nan)
            for i in np.flatnonzero(np.isfinite(self.values).all(axis=1)):
                made.values[i] = fun(unflatten(self.values[i].copy()))
        made._functional, made.names = fun, None
        return made

    def standard_errors(self, failed="raise"):
        """Standard deviations of the values.

        Parameters
        ----------
        failed : {"raise", "omit"}, default="raise"
            What to do where resamples have no refit: to leave them out is to condition on the data not being separable
            or singular, and understates the spread.

        Returns
        -------
        ndarray of shape (n_input,), or () for a scalar functional

        Raises
        ------
        DataError
            Resamples without a refit; or fewer than two with one.
        """
        values = self._usable(failed, 2)
        return values.std(axis=0, ddof=1).reshape(self.estimate.shape)

    def bias(self, failed="raise"):
        """Mean of the values less the estimate; parameters and errors as of :meth:`standard_errors`."""
        return self._usable(failed, 1).mean(axis=0).reshape(self.estimate.shape) - self.estimate

    def interval(self, level=0.95, kind="percentile", failed="raise"):
        """Confidence intervals.

        Parameters
        ----------
        level : float, default=0.95
        kind : {"percentile", "basic", "bca"}, default="percentile"
            Quantiles of the values; twice the estimate less them; or quantiles corrected for bias and acceleration.
        failed : {"raise", "omit"}, default="raise"
            As in :meth:`standard_errors`.

        Returns
        -------
        ndarray of shape (n_input, 2), or (2,) for a scalar functional
            Lower and upper ends.

        Raises
        ------
        ValueError
            ``level`` is not between 0 and 1, the kind is not known, or the resamples are too few for the level.
        DataError
            Resamples without a refit; or for BCa all values on one side of the estimate, or an acceleration too large.

        Notes
        -----
        BCa: ``alpha' = Phi(z0 + (z0 + z_alpha) / (1 - a (z0 + z_alpha)))``, ``z0`` from the part of the values below
        the estimate, ``a = sum_n l_n^3 / (6 (sum_n l_n^2)^(3/2))`` with the centred influences ``l_n``.

        References
        ----------
        B. Efron, J. Amer. Statist. Assoc. 82 (1987) 171.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0, 7.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [4.0], (y,), order=4)
        >>> mean.bootstrap(2000, rng=1).interval(0.9)
        array([[1.75, 6.25]])
        """
        if kind not in _KINDS:
            raise ValueError(f"kind={kind!r} is not known: use one of {', '.join(map(repr, _KINDS))}.")
        if not (np.ndim(level) == 0 and 0.0 < level < 1.0):
            raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
        values, tails = self._usable(failed, 1), np.array([0.5 - level / 2.0, 0.5 + level / 2.0])
        if len(values) * tails[0] < 1.0 - 1e-9:
            raise ValueError(
                f"{len(values)} resamples are too few for an interval of level {level}: at least "
                f"{int(np.ceil(1.0 / tails[0] - 1e-9))} are needed, of which one lies outside at each end."
            )
        if kind == "bca":
            ends = np.array([np.quantile(v, t) for v, t in zip(values.T, self._bca_tails(values, tails), strict=True)])
        else:
            ends = np.quantile(values, tails, axis=0).T
        if kind == "basic":
            ends = 2.0 * self.estimate.reshape(-1, 1) - ends[:, ::-1]
        return ends.reshape(*self.estimate.shape, 2)

    def _bca_tails(self, values, tails):
        above = values - self.estimate.ravel()
        above[np.abs(above) <= _TIED * np.maximum(1.0, np.abs(self.estimate.ravel()))] = 0.0
        below = np.mean(above < 0.0, axis=0) + 0.5 * np.mean(above == 0.0, axis=0)
        one_sided = np.flatnonzero((below == 0.0) | (below == 1.0))
        if one_sided.size:
            raise DataError(
                f"all {len(values)} values of {self._name(one_sided[0])} lie on one side of the estimate: its bias "
                "correction is infinite; use more resamples or kind='percentile'."
            )
        z0 = ndtri(below)[:, None]
        z = z0 + ndtri(tails)
        room = 1.0 - self.acceleration().reshape(-1, 1) * z
        if np.any(room <= 0.0):
            raise DataError(
                f"the acceleration of {self._name(np.argmin(room.min(axis=1)))} is too large for an interval of this "
                "level: one observation outweighs the others; use a lower level or kind='percentile'."
            )
        return ndtr(z0 + z / room)

    def acceleration(self):
        """Efron's acceleration, a sixth of the influences' skewness; (n_input,), or () for a scalar functional."""
        jackknife = self._jackknife
        found = influence(jackknife, self._functional, groups=jackknife.groups)
        if jackknife.groups is None:
            weights = jackknife.weights0
        else:
            weights = (group_sums(jackknife.weights0, jackknife.groups)[1] > 0.0).astype(float)
        found = found.reshape(len(found), -1)
        centred = found - weights @ found / np.sum(weights)
        second, third = weights @ centred**2, weights @ centred**3
        with np.errstate(all="ignore"):
            skewness = np.where(second > 0.0, third / second**1.5, 0.0)
        return (skewness / 6.0).reshape(self.estimate.shape)

    def to_frame(self):
        """The values as a ``pandas.DataFrame``, a row for each resample.

        Raises
        ------
        MissingDependencyError
            pandas is not installed.
        """
        return optional_import("pandas").DataFrame(self._rows(), columns=self.names)

    def _rows(self):
        return self.values.reshape(self.n_resamples, -1)

    def _name(self, i):
        return f"component {i}" if self.names is None else self.names[i]

    def _usable(self, failed, least):
        if failed not in _FAILED:
            raise ValueError(f"failed={failed!r} is not known: use 'raise' or 'omit'.")
        rows = self._rows()
        is_bad = ~np.isfinite(rows).all(axis=1)
        if is_bad.any() and failed == "raise":
            raise DataError(
                f"{is_bad.sum()} of {len(rows)} resamples have no refit ({self.message[np.argmax(is_bad)]}): add a "
                "penalty, or pass failed='omit' to leave them out, which understates the spread."
            )
        rows = rows[~is_bad]
        if len(rows) < least:
            raise DataError(f"{len(rows)} resamples with a refit: at least {least} are needed.")
        return rows
