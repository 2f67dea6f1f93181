"""Refits under other weights, without observations, and exact: methods of the jackknife."""

from .leave_one_out import without
from .refits import exact_refit, reweight
from .sets import checked_sets, one_each

__all__ = ["Refitting"]


class Refitting:
    """Methods of :class:`vittles_ng.InfinitesimalJackknife`."""

    def reweight(self, weights, order=None, executor=None):
        """Approximate refits under other weights.

        Parameters
        ----------
        weights : array_like of shape (n_obs,) or (n_sets, n_obs)
            Inclusion counts, none negative: 1 as in the fit, 0 leaves an observation out.
        order : int, default=None
            Of the series; default: the jackknife's own.
        executor : Executor, Client or int, default=None
            What blocks of a batch are handed to: threads, processes (any ``concurrent.futures.Executor``), a
            ``dask.distributed`` Client, or a number of processes to start for this one call. Each process makes the
            jackknife anew, once; what it has stays for the next call, so keep the executor. Values are the same to
            rounding.

        Returns
        -------
        Refits
            An ndarray of shape (n_input,) or (n_sets, n_input); in a batch, sets whose weights are all zero or whose
            series overflows are rows of NaN, marked in ``.failed``.

        Raises
        ------
        ShapeError, NonFiniteError, DataError
            Weights of the wrong length, NaN, or negative (names the set and the observation); all zero where there is
            no penalty.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (y,), order=8)
        >>> mean.reweight([1.0, 1.5, 1.0]).round(5)  # exact: 20/7
        array([2.85714])
        """
        weights, is_batch = self._checked_weights(weights)
        return reweight(self, weights, is_batch, self._checked_order(order), executor)

    def leave_one_out(self, order=None, method="series", by="auto", executor=None):
        """Approximate refits without each observation; with groups, without each group.

        Parameters
        ----------
        order : int, default=None
            Of the series; default: the jackknife's own.
        method : {"series", "newton"}, default="series"
            The expansion in the weights, or one Newton step with the Hessian of the observations that are left (exact
            for least squares).
        by : {"auto", "tensors", "series"}, default="auto"
            How the expansion is evaluated, the same to rounding: through derivative tensors of the whole sum and the
            rows that are left out alone, or through the series along every direction. "auto" takes tensors for at most
            64 inputs and orders up to 3, unless that takes more directions than there are sets.
        executor : Executor, Client or int, default=None
            What blocks of the sets are handed to, see :meth:`reweight`.

        Returns
        -------
        Refits
            An ndarray of shape (n_obs, n_input), or (n_groups, n_input) in the order of the sorted labels, with the
            names of its rows and columns, ``.method`` ("tensors", "series" or "newton") and ``.failed``: rows of NaN,
            where nothing is left, the terms overflow, or what is left does not identify the input (the Hessian there,
            at the fit, is singular; "newton" also marks one that is indefinite). For the series that is looked at with
            up to 200 inputs, and up to a million second derivatives of losses that are no function of one linear
            combination of the input.

        Raises
        ------
        DataError
            No set can be left out.
        ValueError
            An unknown method or way; an order for the Newton step, or above 3 for tensors.

        References
        ----------
        D. Pregibon, Ann. Statist. 9 (1981) 705 (the Newton step); Giordano, Jordan, Broderick, arXiv 1907.12116.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (y,), order=3)
        >>> mean.leave_one_out().ravel()
        array([3.96296296, 3.48148148, 1.55555556])
        >>> mean.leave_one_out(method="newton").ravel()
        array([4. , 3.5, 1.5])
        """
        return without(self, one_each(self), order, method, by, executor)

    def leave_out(self, index_sets, order=None, method="series", by="auto", executor=None):
        """Approximate refits without sets of observations.

        Parameters
        ----------
        index_sets : sequence of array_like
            Indices of the observations of each set, or masks of shape (n_obs,); an empty set gives the fit.
        order, method, by, executor
            As in :meth:`leave_one_out`.

        Returns
        -------
        Refits
            An ndarray of shape (n_sets, n_input), see :meth:`leave_one_out`.

        Raises
        ------
        DataError
            An index out of range or twice in a set; no set can be left out.
        ShapeError, TypeError
            What is no array of indices or mask.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0, 3.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (y,))
        >>> mean.leave_out([[0, 1], [], [2]], method="newton").ravel()
        array([4.5, 3. , 2. ])
        """
        return without(self, checked_sets(index_sets, self.n_obs), order, method, by, executor)

    def exact_refit(self, weights, tol=None, executor=None):
        """Refits solved to rounding, from the series, with the factor of the fit.

        Parameters
        ----------
        weights : array_like of shape (n_obs,) or (n_sets, n_obs)
        tol : float, default=None
            As in :meth:`vittles_ng.ParametricSensitivityTaylorExpansion.refit`.
        executor : Executor, Client or int, default=None
            What blocks of a batch are handed to, see :meth:`reweight`.

        Returns
        -------
        Refit
            With a leading axis for a batch; a set that cannot be refitted - the terms run away, the observations that
            are left do not identify the input - is marked in ``trusted`` and ``message``.

        Raises
        ------
        ShapeError, NonFiniteError, DataError
            As :meth:`reweight`.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (y,))
        >>> refit = mean.exact_refit([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        >>> refit.value.ravel(), refit.trusted, refit.message[1]
        (array([1.5, nan]), array([ True, False]), 'no observation has a weight: there is nothing to fit')
        """
        weights, is_batch = self._checked_weights(weights)
        return exact_refit(self, weights, is_batch, tol, executor)
