"""The infinitesimal jackknife: an estimator under other weights of its observations, to any order.

Requires ``input_val0`` to minimise ``sum_n weights_n loss_n(input) + penalty(input, hyper, sum(weights))`` at
``weights0``. The weights are the hyper of an expansion; a resample, a left-out fold, a case that counts twice are
steps.

Sources: Jaeckel (1972); Efron, "The Jackknife, the Bootstrap and Other Resampling Plans" (1982); Giordano et al., "A
Swiss Army Infinitesimal Jackknife", arXiv 1806.00550; Giordano, Jordan, Broderick, arXiv 1907.12116 (higher orders).
"""

import numpy as np

from ..errors import DataError, ShapeError
from ..expansion import ParametricSensitivityTaylorExpansion
from ..recursion import checked_integer
from .checks import checked_groups, checked_names, checked_weights
from .inference import Inference
from .refitting import Refitting
from .weighted import WeightedModel

__all__ = ["InfinitesimalJackknife"]


class InfinitesimalJackknife(Refitting, Inference):
    """Approximate refits of a model under other weights of its observations.

    Requires ``input_val0`` to be the minimum at ``weights0``.

    Parameters
    ----------
    loss : callable
        ``loss(input, *rows) -> (n_rows,)``, written in ``autograd.numpy``; a row's loss must depend on that row alone.
    input_val0 : array_like of shape (n_input,), or nested dict, list or tuple of arrays
        The fit.
    data : tuple of array_like
        The rows, n_obs first in each; ``loss`` gets them, or some of their rows, one by one.
    penalty : callable, default=None
        Added to the weighted sum: a function of (input), (input, hyper) or (input, hyper, sum(weights)).
    hyper : default=None
        Handed to the penalty as it is, such as the penalty's strength.
    weights0 : array_like of shape (n_obs,), default=None
        The weights that ``input_val0`` was fitted with; default: ones.
    groups : array_like of shape (n_obs,), default=None
        Labels: what is left out, resampled and clustered together.
    order : int, default=2
        Order of the series where a method is not told another.
    parameter_names, observation_names : sequence of str, default=None
        Labels of the flattened input and of the observations, for tables.
    optimum_tol, polish_optimum, solver, sparsity
        As in :meth:`vittles_ng.ParametricSensitivityTaylorExpansion.optimization_objective`.

    Raises
    ------
    DataError
        The losses mix rows; all observations are in one group; all weights are zero.
    NonFiniteError, ShapeError
        An observation's loss is NaN or infinite (names the observation), or arrays do not fit.
    NotASolutionError, NotPositiveDefiniteError
        ``input_val0`` is not the minimum.

    Examples
    --------
    The mean is an M-estimator; leaving out one of n observations moves it by a geometric series in 1/n:

    >>> import numpy as np
    >>> import vittles_ng as vn
    >>> y = np.array([1.0, 2.0, 6.0])
    >>> mean = vn.InfinitesimalJackknife(lambda m, y: 0.5 * (y - m) ** 2, [3.0], (y,), order=2)
    >>> mean.leave_one_out().ravel()  # exact: 4, 3.5, 1.5
    array([3.88888889, 3.44444444, 1.66666667])
    """

    def __init__(
        self,
        loss,
        input_val0,
        data,
        penalty=None,
        hyper=None,
        weights0=None,
        groups=None,
        order=2,
        *,
        parameter_names=None,
        observation_names=None,
        optimum_tol=1e-8,
        polish_optimum=False,
        solver="auto",
        sparsity=None,
    ):
        model = WeightedModel(loss, input_val0, data, penalty, hyper, is_objective=True)
        self._build(model, weights0, groups, order, parameter_names, observation_names)
        self.expansion = ParametricSensitivityTaylorExpansion.optimization_objective(
            model.function(),
            input_val0,
            self.weights0,
            self.order,
            optimum_tol=optimum_tol,
            polish_optimum=polish_optimum,
            solver=solver,
            sparsity=sparsity,
        )

    @classmethod
    def from_estimating_equation(
        cls,
        g,
        input_val0,
        data,
        penalty=None,
        hyper=None,
        weights0=None,
        groups=None,
        order=2,
        *,
        parameter_names=None,
        observation_names=None,
        optimum_tol=1e-8,
        solver="auto",
        sparsity=None,
    ):
        """The jackknife of an estimating equation ``sum_n weights_n g_n(input) = 0`` that need not be a gradient.

        Instrumental variables, two-stage and stacked estimating equations, M-estimators.

        Parameters
        ----------
        g : callable
            ``g(input, *rows) -> (n_rows, n_input)``, written in ``autograd.numpy``, a row from that row alone.
        penalty : callable, default=None
            A scalar function whose gradient in the input is added.

        The other parameters are the constructor's.

        Examples
        --------
        An instrument z for an endogenous x, ``sum_n z_n (y_n - x_n b) = 0``:

        >>> import autograd.numpy as np
        >>> import vittles_ng as vn
        >>> z, x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 3.0]), np.array([2.0, 1.0, 4.0])
        >>> iv = vn.InfinitesimalJackknife.from_estimating_equation(
        ...     lambda b, z, x, y: (z * (y - x * b))[:, None], [z @ y / (z @ x)], (z, x, y))
        >>> iv.leave_one_out(order=8).ravel().round(6)  # exact: 14/11, 14/10, 4/3
        array([1.272727, 1.4     , 1.333333])
        """
        self = cls.__new__(cls)
        model = WeightedModel(g, input_val0, data, penalty, hyper, is_objective=False)
        self._build(model, weights0, groups, order, parameter_names, observation_names)
        self.expansion = ParametricSensitivityTaylorExpansion(
            model.function(), input_val0, self.weights0, self.order, None, optimum_tol, solver, sparsity
        )
        return self

    @classmethod
    def from_blocks(cls, loss, input_val0, blocks, *args, **options):
        """The jackknife of data in blocks: larger than memory, or on more than one machine.

        Every pass over the data is a sum over blocks, formed where they lie. What is held here is of the size of the
        weights, and of the dense Hessian.

        Parameters
        ----------
        loss, input_val0
            As of the constructor.
        blocks : Dask array, tuple of Dask arrays, or list
            The rows. Dask arrays: those with as many rows as the first are chunked like it; persist them where they fit
            in the workers' memory. A list: for each block its tuple of arrays, or a function without arguments that
            loads it, each time that it is worked on.
        penalty, hyper, weights0, groups, order, parameter_names, observation_names, optimum_tol, polish_optimum
            As of the constructor.
        executor : Executor or Client, default=None
            Who works on the blocks; None: this process, Dask arrays their scheduler.
        estimating_equation : bool, default=False
            Whether ``loss`` is the ``g`` of :meth:`from_estimating_equation`.
        solver : {"auto", "cholesky", "lu"}

        Returns
        -------
        BlockJackknife
            With ``reweight`` (its weights may be a Dask array), ``exact_refit``, ``leave_one_out``, ``leave_out``,
            ``influence`` and ``covariance``. Other methods raise.

        Raises
        ------
        UnsupportedOnBlocksError
            A method that needs all rows in one place.

        Examples
        --------
        >>> import numpy as np
        >>> import vittles_ng as vn
        >>> blocks = [(np.array([1.0, 2.0]),), lambda: (np.array([6.0]),)]  # the second could be read from a file
        >>> mean = vn.InfinitesimalJackknife.from_blocks(lambda m, y: 0.5 * (y - m) ** 2, [3.0], blocks)
        >>> mean.leave_one_out().ravel()
        array([3.88888889, 3.44444444, 1.66666667])
        """
        from .blocks import BlockJackknife  # which is one of these itself

        return BlockJackknife(loss, input_val0, blocks, *args, **options)

    def _build(self, model, weights0, groups, order, parameter_names, observation_names):
        self.model = model
        self.order = checked_integer(order, "order", 1)
        self.weights0 = np.ones(self.n_obs) if weights0 is None else self._one_set(weights0)
        self.weights0.setflags(write=False)
        self.groups = None if groups is None else self._checked_groups(groups)
        self.parameter_names = checked_names(parameter_names, self.n_input, "parameter_names")
        self.observation_names = checked_names(observation_names, self.n_obs, "observation_names")

    def _one_set(self, weights0):
        sets, is_batch = self._checked_weights(weights0, "weights0")
        if is_batch:
            raise ShapeError(f"weights0 has shape {sets.shape}: ({self.n_obs},) is needed, those of the fit.")
        if not sets.any():
            raise DataError("all weights0 are zero: no observation took part in the fit.")
        return sets[0].copy()

    def __repr__(self):
        groups = "" if self.groups is None else f" in {len(np.unique(self.groups))} groups"
        return (
            f"<Infinitesimal jackknife of {self.n_obs} observations{groups}, {self.n_input} inputs, order {self.order}>"
        )

    n_obs = property(lambda self: self.model.n_obs, doc="Number of observations.")
    n_input = property(lambda self: self.model.input.size, doc="Number of elements of the input.")
    input_val0 = property(lambda self: self.expansion.input_val0, doc="The fit, flat, (n_input,).")

    def _checked_order(self, order):
        return self.order if order is None else checked_integer(order, "order", 1)

    def _checked_weights(self, weights, name="weights"):
        return checked_weights(weights, self.n_obs, name)

    def _checked_groups(self, groups):
        return checked_groups(groups, self.n_obs)
