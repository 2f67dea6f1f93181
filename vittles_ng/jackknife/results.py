"""Arrays of refits that know how they were made and what their rows and columns are called."""

import numpy as np

from ..errors import ShapeError, optional_import

__all__ = ["Refits"]

_LABELS = ("method", "order", "row_names", "column_names", "failed")


class Refits(np.ndarray):
    """Refits in an array, a row for each set of weights, with labels.

    An ndarray in every way. Elementwise arithmetic keeps the labels, so does choosing rows by ``refits[rows]``; what is
    reshaped, sorted or reduced has none.

    Parameters
    ----------
    values : array_like of shape (n_input,) or (n_sets, n_input)
    method : str
        "series" or "tensors", the same expansion by two ways, or "newton", one Newton step.
    order : int or None
        Of the expansion.
    row_names, column_names : sequence, default=None
        Labels of the sets and of the parameters.
    failed : array_like of bool, of shape (n_sets,), default=None
        Rows of NaN: sets for which there is no refit. Default: none.

    Attributes
    ----------
    method, order, row_names, column_names, failed
        As given; None where an array has no labels.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.jackknife import Refits
    >>> refits = Refits([[1.0, 2.0], [1.5, 2.5]], "series", 2, row_names=["a", "b"], column_names=["x", "y"])
    >>> refits - [1.0, 2.0]
    array([[0. , 0. ],
           [0.5, 0.5]])
    >>> (refits - [1.0, 2.0]).row_names, refits[1:].row_names
    (['a', 'b'], ['b'])
    """

    def __new__(cls, values, method, order=None, row_names=None, column_names=None, failed=None):
        self = np.asarray(values, dtype=np.float64).view(cls)
        row_names = None if row_names is None else list(row_names)
        column_names = None if column_names is None else list(column_names)
        failed = np.zeros(self.shape[:-1], bool) if failed is None else np.asarray(failed, dtype=bool)
        for what, n, axis in (
            ("row_names", None if row_names is None else len(row_names), 0),
            ("column_names", None if column_names is None else len(column_names), self.ndim - 1),
        ):
            if n is not None and n != self.shape[axis]:
                raise ShapeError(f"{what} has {n} names for refits of shape {self.shape}.")
        if failed.shape != self.shape[:-1]:
            raise ShapeError(f"failed has shape {failed.shape} for refits of shape {self.shape}.")
        self._label(method, order, row_names, column_names, failed)
        return self

    def __array_finalize__(self, source):
        self._label()

    def _label(self, method=None, order=None, row_names=None, column_names=None, failed=None):
        self.method, self.order, self.failed = method, order, failed
        self.row_names, self.column_names = row_names, column_names

    def __array_ufunc__(self, ufunc, how, *inputs, out=None, **options):
        plain = [np.asarray(x) if isinstance(x, Refits) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(x) if isinstance(x, Refits) else x for x in out)
        result = getattr(ufunc, how)(*plain, **options)
        if out is not None:
            return out[0] if len(out) == 1 else out
        is_like = how == "__call__" and isinstance(result, np.ndarray) and result.shape == self.shape
        if not is_like or self.method is None or result.dtype != np.float64:
            return result
        result = result.view(Refits)
        result._label(*(getattr(self, name) for name in _LABELS))
        return result

    def __getitem__(self, key):
        found = super().__getitem__(key)
        if not isinstance(found, Refits):
            return found
        is_choice = isinstance(key, (slice, list, np.ndarray)) and self.ndim == found.ndim == 2
        if not is_choice or self.method is None:
            return np.asarray(found)
        names = None if self.row_names is None else [self.row_names[i] for i in np.arange(len(self))[key]]
        found._label(self.method, self.order, names, self.column_names, self.failed[key])
        return found

    def copy(self, order="C"):
        """A copy with the labels."""
        made = super().copy(order)
        made._label(*(getattr(self, name) for name in _LABELS))
        return made

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def sort(self, *arguments, **options):
        """In place; the labels go."""
        super().sort(*arguments, **options)
        self._label()

    def partition(self, *arguments, **options):
        """In place; the labels go."""
        super().partition(*arguments, **options)
        self._label()

    def __reduce__(self):
        make, arguments, state = super().__reduce__()
        return make, arguments, (state, tuple(getattr(self, name) for name in _LABELS))

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self._label(*state[1])

    def __repr__(self):
        return repr(np.asarray(self))

    def to_frame(self):
        """The refits as a ``pandas.DataFrame``, a row for each set.

        Raises
        ------
        MissingDependencyError
            pandas is not installed.
        """
        pandas = optional_import("pandas")
        return pandas.DataFrame(np.atleast_2d(np.asarray(self)), index=self.row_names, columns=self.column_names)
