"""The noise of a function, from differences of high order of a few values close together.

Along ``x + i h d`` the differences of order k of a smooth function fall like ``h^k``, those of noise do not: with noise
of standard deviation sigma, independent from point to point, the mean square of the differences ``T_k`` is

    E T_k^2 = sigma^2 (2k)! / (k!)^2.

The level ``sigma_k`` so found is taken at the first k from which it stays (More & Wild's algorithm ECnoise).
"""

from math import comb

import numpy as np

from ..errors import NonFiniteError, ShapeError
from ..taylor.tracing import traced_code
from .values import FAILURES, returned_array

__all__ = ["estimate_noise", "noise_level"]

_N_POINTS = 9
#: Spacings tried in turn, relative to the scale of x: at the first the smooth part of third differences is rounding.
_SPACING, _WIDER, _MAX_TRIES = 1e-7, 100.0, 4
#: Levels of three orders running that agree within this factor are noise.
_AGREE = 4.0
#: Noise below this part of the values is rounding.
_ROUNDING = 1e-14
#: Where a value is taken between two others: no simple fraction of their distance.
_BETWEEN = 0.6180339887498949


def estimate_noise(fun, x, direction=None, spacing=None):
    """Standard deviation of the noise of a function near a point; for exact arithmetic that is its rounding.

    Parameters
    ----------
    fun : callable
        ``fun(x)``, a number or an array. Called 9 times, or more often where the spacing does not suit or the
        noise is more than rounding.
    x : array_like
        The point.
    direction : array_like of the shape of x, default=None
        Along which the values are taken; default: all elements alike, in units of ``1 + |x|``.
    spacing : float, default=None
        Distance of the values in units of the direction; default: 1e-7, and more or less where that shows no noise
        or the function is not defined.

    Returns
    -------
    noise : float, or ndarray of the shape of the function's values
        One for each element. Zero where the values along the line are equal.

    Raises
    ------
    NonFiniteError
        A value is NaN or infinite.
    ValueError
        The spacing is not positive, or the direction zero.

    Notes
    -----
    Good to a factor of two or so: it comes from nine values. Where no level stays, the level of the highest order is
    taken, an upper bound. Noise that is constant over the distances tried is not seen.

    References
    ----------
    J. J. More, S. M. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33 (2011) 1292.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.finite_differences import estimate_noise
    >>> rng = np.random.default_rng(0)
    >>> noise = estimate_noise(lambda x: np.cos(x) + 1e-4 * rng.standard_normal(), 1.0)
    >>> bool(0.5e-4 < noise < 2e-4)
    True
    """
    x = np.asarray(x, dtype=np.float64)
    direction = 1.0 + np.abs(x) if direction is None else np.asarray(direction, dtype=np.float64)
    if direction.shape != x.shape:
        raise ShapeError(f"the direction has shape {direction.shape}, x has {x.shape}.")
    if not direction.any():
        raise ValueError("the direction is zero: no noise can be seen along it.")
    if spacing is not None and not (np.isfinite(spacing) and spacing > 0):
        raise ValueError(f"spacing={spacing}: a positive number is needed.")

    def at(t):
        try:
            with traced_code(), np.errstate(all="ignore"):
                value = returned_array(fun(x + t * direction))
            reason = "" if np.all(np.isfinite(value)) else f"{np.sum(~np.isfinite(value))} values NaN or infinite"
        except FAILURES as error:
            reason = f"{type(error).__name__}: {error}"
        if reason:
            raise NonFiniteError(
                f"the function is not defined {t:.1e} directions from x, {reason}: move x away from there, or pass a "
                "smaller spacing."
            )
        return value

    noise = noise_level(at, spacing)
    return float(noise) if noise.ndim == 0 else noise


def noise_level(at, spacing=None):
    """Noise of ``at(t)``, an array, near t = 0, element by element; parameters as of :func:`estimate_noise`."""
    if spacing is not None:
        return _levels(_values(at, spacing))[0]
    h, values = _first(at)
    noise, is_found, is_flat = _levels(values)
    tried, spacings, rising = {h}, np.where(is_flat, 0.0, h), values
    while not is_found.all() and len(tried) < _MAX_TRIES:
        other = h * _WIDER if np.all(is_flat[~is_found]) else h / _WIDER
        if any(np.isclose(other, old, rtol=1e-6) for old in tried):
            break
        tried.add(other)
        try:
            h, values = other, _values(at, other)
        except NonFiniteError:  # a wider spacing leaves where the function is defined
            break
        level, found, is_flat = _levels(values)
        # what an earlier spacing has found stays; an upper bound gives way to a lower one, zero to anything
        better = ~is_found & (found | (noise == 0.0) | ((level > 0.0) & (level < noise)))
        noise, is_found = np.where(better, level, noise), is_found | found
        rises = (spacings == 0.0) & ~is_flat
        spacings, rising = np.where(rises, h, spacings), np.where(rises, values, rising)
    noise = _confirmed(at, h, noise, values) if is_found.all() else noise
    for h in np.unique(spacings[spacings > 0.0]):  # the closest at which an element was not flat
        noise = np.where(spacings == h, _off_grid(at, h, noise, rising), noise)
    return noise


def _first(at):
    """A spacing at which the function is defined, close to where it is not, and the values."""
    h = _SPACING
    for _ in range(_MAX_TRIES - 1):
        try:
            return h, _values(at, h)
        except NonFiniteError:
            h /= _WIDER
    return h, _values(at, h)


def _values(at, h):
    """Values on one side of zero: a kink at the point itself is not noise."""
    values = [at(h * i) for i in range(1, _N_POINTS + 1)]
    shapes = {value.shape for value in values}
    if len(shapes) > 1:
        raise ShapeError(f"the function returned arrays of shapes {', '.join(map(str, sorted(shapes)))} close to x.")
    return np.array(values)


def _confirmed(at, h, noise, values):
    """The noise, or less where closer values show less: what shrinks with the distance is a kink or a fast wave.

    Values that are equal show nothing: rounding to few digits is noise from further away.
    """
    if np.all(noise <= _ROUNDING * np.max(np.abs(values), axis=0)):
        return noise
    h = h * _BETWEEN / _WIDER  # no simple fraction, or values rounded to a grid may all lie on it
    level, found, is_flat = _levels(_values(at, h))
    return np.where(found | ~is_flat, np.minimum(noise, level), noise)


def _off_grid(at, h, noise, values):
    """The noise where it is more than rounding; else that of values at other distances if those show some.

    A function that is rounded looks smooth where its change over the distance is a multiple of what it is rounded to.
    One value between tells: it should lie on the curve through its neighbours, to their differences of high order and
    rounding.
    """
    t = 1.0 + _BETWEEN
    nodes = np.arange(1, 6)
    weights = [np.prod([(t - m) / (n - m) for m in nodes if m != n]) for n in nodes]
    expected = np.tensordot(weights, values[:5], axes=1)
    size = np.max(np.abs(values), axis=0)
    smooth = np.max(np.abs(np.diff(values, 5, axis=0)), axis=0) + _ROUNDING * size
    off = np.abs(at(t * h) - expected)
    is_off = (noise <= _ROUNDING * size) & (off > smooth)
    if not is_off.any():
        return noise
    level = _levels(_values(at, _BETWEEN * h))[0]
    return np.where(is_off, np.maximum(np.maximum(noise, level), off), noise)


def _levels(values):
    """Noise of each element from its values at equal distances, whether it is one, and whether the values are flat."""
    size = np.maximum(np.max(np.abs(values), axis=0), np.finfo(float).tiny)  # squares of large values overflow
    table = values / size
    levels, changes = [], []
    for k in range(1, len(values) - 1):
        table = np.diff(table, axis=0)
        levels.append(np.sqrt(np.mean(table**2, axis=0) / comb(2 * k, k)))
        changes.append((table.max(axis=0) > 0.0) & (table.min(axis=0) < 0.0))
    levels, changes = np.array(levels) * size, np.array(changes)
    is_flat = 2 * np.sum(np.diff(values, axis=0) == 0.0, axis=0) >= len(values) - 1
    noise, found = levels[-1].copy(), np.zeros(values.shape[1:], dtype=bool)
    for k in range(len(levels) - 2):
        three = levels[k : k + 3]
        stays = changes[k] & (three.max(axis=0) <= _AGREE * three.min(axis=0)) & ~found & ~is_flat
        noise, found = np.where(stays, levels[k], noise), found | stays
    return noise, found, is_flat
