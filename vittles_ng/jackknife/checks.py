"""Checks of what a jackknife is given: weights, groups, names."""

import numpy as np

from ..errors import DataError, NonFiniteError, ShapeError

__all__ = ["checked_groups", "checked_names", "checked_weights"]


def checked_weights(weights, n_obs, name="weights"):
    """Weights as (n_sets, n_obs), not to be written into, and whether they are a batch.

    Raises
    ------
    ShapeError, NonFiniteError, DataError
        Weights of the wrong length, NaN, or negative; names the set and the observation.
    """
    array = np.asarray(weights)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} have elements of type {array.dtype}: real numbers are needed.")
    array = array.astype(np.float64, copy=False)
    if array.ndim not in (1, 2) or array.shape[-1] != n_obs:
        raise ShapeError(
            f"{name} has shape {array.shape}: ({n_obs},) or (n_sets, {n_obs}) is needed, a weight for each observation."
        )
    sets = np.atleast_2d(array)
    for is_bad, error, what in (
        (~np.isfinite(sets), NonFiniteError, "NaN or infinite"),
        (sets < 0.0, DataError, "negative: a weight is an inclusion count, 0 leaves an observation out"),
    ):
        if is_bad.any():
            i, n = np.argwhere(is_bad)[0]
            where = f"observation {n}" + (f" of set {i}" if array.ndim == 2 else "")
            raise error(f"{is_bad.sum()} of {sets.size} {name} are {what} (the first is {sets[i, n]} of {where}).")
    return sets, array.ndim == 2


def checked_groups(groups, n_obs):
    """Group labels, (n_obs,), an array of its own.

    Raises
    ------
    ShapeError, NonFiniteError, DataError
        Labels of the wrong length, missing, or all the same.
    """
    groups = np.array(groups)
    if groups.shape != (n_obs,):
        raise ShapeError(f"groups has shape {groups.shape}: ({n_obs},) is needed, a label for each observation.")
    if groups.dtype.kind == "O":
        missing = np.array([label is None or label != label for label in groups])
    else:
        missing = groups != groups
    if missing.any():
        raise NonFiniteError(
            f"{missing.sum()} group labels are missing (None or NaN), the first of observation {np.argmax(missing)}: "
            "give those observations a group."
        )
    try:
        n_groups = len(np.unique(groups))
    except TypeError:
        kinds = sorted({type(label).__name__ for label in groups})
        raise DataError(f"group labels of types {kinds} cannot be sorted: use labels of one type.") from None
    if n_groups < 2:
        raise DataError(f"all {n_obs} observations are in one group: at least two groups are needed.")
    return groups


def checked_names(names, n, what):
    """Names as a list of str, or None."""
    if names is None:
        return None
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(names) != n:
        raise ShapeError(f"{what} has {len(names)} names where {n} are needed.")
    return names
