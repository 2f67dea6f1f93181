"""What is inferred from the fit under other weights: covariance, influence, bias, bootstrap, cross-validation."""

from .bias import bias
from .bootstrap import bootstrap
from .covariance import covariance
from .cross_validation import cross_validate, held_out
from .influence import influence

__all__ = ["Inference"]


class Inference:
    """Methods of :class:`vittles_ng.InfinitesimalJackknife`."""

    def covariance(self, groups=None, centered=False, correction=None):
        """The sandwich covariance of the fit, ``H^{-1} (sum_n w_n s_n s_n^T) H^{-T}``, robust to a wrong model.

        ``s_n`` is the gradient of an observation's loss (its row of the estimating equation), with its part in a
        penalty of ``sum(weights)``; H is the observed information.

        Parameters
        ----------
        groups : None, True or array_like of shape (n_obs,), default=None
            What is clustered: nothing (HC0), the jackknife's own groups, or other labels; sums within a group come
            first. A group of one observation is an ordinary one.
        centered : bool, default=False
            Whether to take the mean off the scores, or off the groups' sums: it is not zero where there is a penalty.
            The bootstrap's covariance is the centred one.
        correction : {None, "HC1", "stata", "HC3", "jackknife"}, default=None
            None; ``n / (n - k)``; ``G / (G - 1) (n - 1) / (n - k)`` for G groups; or outer products of the moves by
            leaving out each observation or group by one Newton step, about the fit ("HC3", of groups CV3), or about
            their mean and times ``(G - 1) / G`` ("jackknife"). n is the sum of the weights, k the number of inputs.

        Returns
        -------
        ndarray of shape (n_input, n_input)

        Raises
        ------
        ValueError
            A correction that is not known; ``groups=True`` without groups.
        DataError
            Fewer than two groups; as many inputs as observations where the correction divides by ``n - k``.
        NonFiniteError
            Leaving something out, for "HC3" or "jackknife", leaves the model unidentified.

        Notes
        -----
        statsmodels' ``cov_type="HC1"`` has its factor in linear models only, its ``"cluster"`` is "stata" here.

        References
        ----------
        H. White, Econometrica 48 (1980) 817. K.-Y. Liang and S. L. Zeger, Biometrika 73 (1986) 13. J. G. MacKinnon and
        H. White, J. Econometrics 29 (1985) 305. A. C. Cameron and D. L. Miller, J. Human Resources 50 (2015) 317.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (y,))
        >>> mean.covariance().round(4)  # sum of squares 14, over n^2
        array([[1.5556]])
        >>> mean.covariance(correction="HC1").round(4)  # over n (n - 1)
        array([[2.3333]])
        >>> mean.covariance(groups=[0, 0, 1]).round(4)
        array([[2.]])
        """
        return covariance(self, groups, centered, correction)

    def influence(self, functional=None, groups=None):
        """Derivative of a functional in the weight of each observation, its penalty's share included.

        Leaving out observation n moves the functional by about minus the influence (times its weight in the fit).

        Parameters
        ----------
        functional : callable, default=None
            ``functional(input)``, or of (input, weights), a scalar or a vector, written in ``autograd.numpy``: one
            adjoint solve each. Default: the input itself.
        groups : None, True or array_like of shape (n_obs,), default=None
            Whether to sum ``w_n influence_n`` within groups, the jackknife's own or others; leaving out a group moves
            the functional by about minus that. Rows are then in the order of the sorted labels.

        Returns
        -------
        ndarray of shape (n_obs,) for a scalar functional, (n_obs, n_functional) otherwise
            With groups (n_groups, ...).

        Raises
        ------
        SizeError
            A row for each observation would not fit in memory.

        References
        ----------
        F. R. Hampel, J. Amer. Statist. Assoc. 69 (1974) 383.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (y,))
        >>> mean.influence(lambda m: m[0] ** 2)  # 2 m (y - m) / n
        array([-4., -2.,  6.])
        """
        return influence(self, functional, groups)

    def bias(self, functional=None, groups=None):
        """Bias of the fit, or of a functional of it, to second order in the weights: what a bootstrap would find.

        Parameters
        ----------
        functional : callable, default=None
            ``functional(input)``, a scalar or a vector, written in ``autograd.numpy``. Default: the input itself.
        groups : None, True or array_like of shape (n_obs,), default=None
            Whether groups are what is sampled, the jackknife's own or others.

        Returns
        -------
        ndarray of shape (n_input,), or of the functional's
            The estimate less it is corrected for bias.

        Notes
        -----
        ``1/2 tr(d2 input Cov w)`` with multinomial weights; costs a series along at most n_input directions, whatever
        the number of observations.

        References
        ----------
        B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", SIAM 1982, ch. 6.

        Examples
        --------
        The variance with divisor n has bias ``-variance / n``:

        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0])
        >>> equations = lambda t, y: np.stack([t[0] - y, t[1] - (y - t[0]) ** 2], axis=1)
        >>> import autograd.numpy as np
        >>> moments = vn.InfinitesimalJackknife.from_estimating_equation(equations, [3.0, 14.0 / 3.0], (y,))
        >>> bool(np.allclose(moments.bias(), [0.0, -14.0 / 9.0], atol=1e-12))
        True
        """
        return bias(self, functional, groups)

    def bootstrap(self, n_resamples, rng, order=None, tol=0.02, verdicts="auto", executor=None):
        """Approximate refits of bootstrap resamples, each with a verdict.

        With groups, groups are resampled.

        Parameters
        ----------
        n_resamples : int
        rng : Generator or int
            Where randomness comes from: a generator, or the seed of one.
        order : int, default=None
            Of the series; default: the jackknife's own. From 4 on few values need polishing where there are fifty
            observations or more for each input.
        tol : float, default=0.02
            Largest error of a value, in standard errors of each input (root mean square of the first-order terms).
            Values further off are refined until they are not: counted as polished, never dropped.
        verdicts : {"auto", True, False}, default="auto"
            Whether the user's function is run at the resamples that the terms of the series, and a sample of verdicts,
            do not clear; at all; or at none, and then none is trusted.
        executor : Executor, Client or int, default=None
            What blocks of resamples are handed to, see :meth:`vittles_ng.InfinitesimalJackknife.reweight`.

        Returns
        -------
        Bootstrap
            With ``values`` (n_resamples, n_input), ``weights``, ``trusted``, ``n_polished``, ``standard_errors()``,
            ``interval()``. A resample without a refit (it separates, or leaves the model unidentified) has values of
            NaN and its reason in ``message``.

        Raises
        ------
        TypeError
            ``rng`` is neither.
        DataError
            ``weights0`` are shares rather than counts.

        Notes
        -----
        A resample has ``sum(weights0)`` draws (rounded) from the observations in proportion to ``weights0``. Whether it
        leaves the model unidentified is looked at for up to 200 inputs.

        References
        ----------
        B. Efron, Ann. Statist. 7 (1979) 1. R. Giordano et al., arXiv 1806.00550.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0, 7.0])
        >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [4.0], (y,), order=4)
        >>> resamples = mean.bootstrap(1000, rng=1)
        >>> bool(np.allclose(resamples.values[:, 0], resamples.weights @ y / 4)), resamples.n_polished
        (True, 0)
        """
        return bootstrap(self, n_resamples, rng, self._checked_order(order), tol, verdicts, executor)

    def cross_validate(self, order=None, folds=None, hypers=None, loss=None, verdicts="auto", executor=None):
        """Mean held-out loss; leave-one-out by default.

        Parameters
        ----------
        order : int, default=None
            Of the series; default: the jackknife's own.
        folds : int or array_like of shape (n_obs,), default=None
            A number k, observation i then being in fold ``i % k``: shuffle data that have an order, or pass a label for
            each observation. Default: every observation by itself, with groups every group.
        hypers : sequence, default=None
            Values of the penalty's hyper, one mean loss for each; each fit is found from its nearest neighbour's.
        loss : callable, default=None
            ``loss(input, *rows) -> (n_rows,)`` to score with; default: the model's own, without the penalty. An
            estimating equation needs one.
        verdicts : {"auto", True, False}, default="auto"
            As in :meth:`bootstrap`; the tolerance is 0.02 of a typical first-order move.
        executor : Executor, Client or int, default=None
            What blocks of folds are handed to, see :meth:`vittles_ng.InfinitesimalJackknife.reweight`.

        Returns
        -------
        float, or ndarray of shape (n_hypers,)
            Infinite for a hyper at which there is no fit, or none without some fold.

        Raises
        ------
        DataError
            Without some fold there is no refit; names the fold.
        IndependentError
            The penalty does not depend on its hyper.

        References
        ----------
        M. Stone, J. R. Statist. Soc. B 36 (1974) 111.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> y = np.array([1.0, 2.0, 6.0, 7.0])
        >>> ridge = vn.InfinitesimalJackknife(
        ...     lambda m, y: (y - m) ** 2, [3.2], (y,), penalty=lambda m, h: h * np.sum(m ** 2), hyper=1.0, order=12)
        >>> round(ridge.cross_validate(), 6)  # exact: mean of (y_n - (16 - y_n) / 4)^2
        11.15625
        >>> ridge.cross_validate(hypers=[0.1, 1.0, 10.0]).round(3)
        array([11.387, 11.156, 17.006])
        """
        return cross_validate(self, self._checked_order(order), folds, hypers, loss, verdicts, executor)

    def held_out_losses(self, order=None, folds=None, loss=None, verdicts="auto", executor=None):
        """The held-out loss of each observation; parameters of :meth:`cross_validate`.

        Returns
        -------
        HeldOut
            With ``losses`` (n_obs,), ``failed``, ``mean()``, and ``verify(n_folds)``: exact losses of a sample.
        """
        return held_out(self, self._checked_order(order), folds, loss, verdicts, executor)
