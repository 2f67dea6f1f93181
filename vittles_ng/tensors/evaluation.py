"""What every expansion can do, computed or stored: evaluate steps.

Along a step d the terms are ``input_k(d)``, homogeneous of degree k in d; the approximate solution is their sum.
"""

import math

import numpy as np

from ..errors import NonFiniteError
from ..recursion import checked_max_order

__all__ = ["Evaluation"]


class Evaluation:
    """Evaluation of an expansion; a subclass gives ``_terms`` and may give ``_sum``.

    Parameters
    ----------
    input_val0 : ndarray of shape (n_input,)
    hyper : Structure
        The base point's hyper.
    order : int
    """

    def __init__(self, input_val0, hyper, order):
        self._input_val0 = np.array(input_val0, dtype=np.float64)
        self._hyper, self._order = hyper, order

    @property
    def input_val0(self):
        """The base point's input, flat, (n_input,): a copy."""
        return self._input_val0.copy()

    @property
    def hyper_val0(self):
        """The base point's hyper, flat, (n_hyper,): a copy."""
        return self._hyper.flat0.copy()

    def get_max_order(self):
        """The highest order that may be asked for."""
        return self._order

    def evaluate_taylor_series(self, new_hyper_val, add_offset=True, max_order=None, sum_terms=True):
        """The approximate solution at new hypers.

        Parameters
        ----------
        new_hyper_val : array_like of shape (n_hyper,) or (n_steps, n_hyper), or nested as ``hyper_val0``
            One new hyper or a batch of them. A batch of nested ones is an array, each row flattened with
            ``autograd.misc.flatten``.
        add_offset : bool, default=True
            Whether to add the base point; otherwise the change from it is returned.
        max_order : int, default=None
            Order to use, at most the expansion's; default: all.
        sum_terms : bool, default=True
            Whether to sum the terms.

        Returns
        -------
        ndarray of shape (n_input,) or (n_steps, n_input)
            Flat also where the input is nested: ``autograd.misc.flatten(input_val0)[1]`` nests a row again. With
            ``sum_terms=False`` the terms, (max_order + 1, [n_steps,] n_input), the base point (or zero) first.

        Raises
        ------
        ShapeError, NonFiniteError
            A hyper of another shape or with NaN; a step so long that its terms overflow.
        ValueError
            ``max_order`` is below 1 or above the expansion's.
        """
        if not sum_terms:
            return self.evaluate_taylor_series_terms(new_hyper_val, add_offset, max_order)
        max_order = self._checked_max_order(max_order)
        new, is_batch = self._hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        with np.errstate(all="ignore"):
            value = self._sum(new, self._hyper.flat0, max_order)
        _check_no_overflow(value[None])
        if add_offset:
            value += self._input_val0
        return value if is_batch else value[0]

    def evaluate_taylor_series_terms(self, new_hyper_val, add_offset=True, max_order=None):
        """The terms of the series; parameters of :meth:`evaluate_taylor_series`.

        Returns
        -------
        ndarray of shape (max_order + 1, [n_steps,] n_input)
        """
        max_order = self._checked_max_order(max_order)
        new, is_batch = self._hyper.flatten_steps(new_hyper_val, "new_hyper_val")
        terms = np.empty((max_order + 1, len(new), self._input_val0.size))
        terms[0] = self._input_val0 if add_offset else 0.0
        with np.errstate(all="ignore"):
            self._terms(new, self._hyper.flat0, terms[1:])
        _check_no_overflow(terms)
        return terms if is_batch else terms[:, 0]

    def evaluate_input_derivs(self, dhyper, max_order=None):
        """Directional derivatives ``d^k input(hyper_val0 + t dhyper) / dt^k`` at t = 0.

        Parameters
        ----------
        dhyper : array_like of shape (n_hyper,), or nested as ``hyper_val0``
            The direction.
        max_order : int, default=None
            Highest order; default: all.

        Returns
        -------
        list of ndarray of shape (n_input,)
            Orders 1 to ``max_order``, k!-scaled.
        """
        max_order = self._checked_max_order(max_order)
        direction = self._hyper.flatten(dhyper, "dhyper")
        terms = np.empty((max_order, 1, self._input_val0.size))
        with np.errstate(all="ignore"):
            self._terms(direction[None, :], np.zeros_like(direction), terms)
        _check_no_overflow(terms)
        return [math.factorial(k) * terms[k - 1, 0] for k in range(1, max_order + 1)]

    def _terms(self, new, origin, out):
        """Write the terms of the orders 1..len(out) of the steps ``new - origin``."""
        raise NotImplementedError

    def _sum(self, new, origin, max_order):
        """The sum of the terms of the orders 1..max_order, (n_steps, n_input), an array of its own."""
        terms = np.empty((max_order, len(new), self._input_val0.size))
        self._terms(new, origin, terms)
        return terms[::-1].sum(axis=0)

    def _checked_max_order(self, max_order):
        return checked_max_order(max_order, self._order)


def _check_no_overflow(terms):
    if np.isfinite(np.vdot(terms, terms)):  # may itself overflow
        return
    is_bad = ~np.isfinite(terms).all(axis=(0, 2))
    if is_bad.any():
        raise NonFiniteError(
            f"terms overflow for {is_bad.sum()} of {is_bad.size} steps, the first is step {np.argmax(is_bad)}: "
            "such a step is far beyond any use of a series; leave it out or use a lower max_order."
        )
