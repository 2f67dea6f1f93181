"""How far a series reaches, from its coefficients: radius of convergence and range of validity.

The range of validity is that of Cochelin, Comput. Struct. 53 (1994) 1181.
"""

import numpy as np

__all__ = ["convergence_radius", "range_of_validity"]

#: Coefficients below this part of the largest are rounding.
_ROUNDING = 8 * np.finfo(float).eps
#: Distance from the line, in logarithms, beyond which coefficients swing.
_SWING = 0.3


def convergence_radius(series):
    """Estimate of the radius of convergence from the coefficients of a series.

    The least-squares slope of ``log(k |c_k|)`` over k >= K/2, which suits singularities between a pole and a square
    root. A pair of complex-conjugate singularities ``r exp(+-i phi)`` makes coefficients swing,
    ``c_k = A r^-k cos(k phi + delta)``, but not ``|c_k|^2 - c_{k-1} . c_{k+1} = |A|^2 sin(phi)^2 r^-2k``, which takes
    their place then.

    Parameters
    ----------
    series : ndarray of shape (order, n_input) or (order, n_steps, n_input)
        Coefficients 1 to K in units of t.

    Returns
    -------
    float, or ndarray of shape (n_steps,)
        In units of t; NaN where it cannot be told: fewer than three orders or terms above rounding, a polynomial,
        terms that overflow.

    Notes
    -----
    Advice only: it is within a factor 1.5 of one singularity, or pair, from eight orders, and from four to six it is
    often too large.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.radius import convergence_radius
    >>> round(convergence_radius(0.5 ** np.arange(1.0, 21.0)[:, None]), 1)  # 1 / (1 - t / 2)
    1.9
    """
    series = np.asarray(series, dtype=float)
    if series.ndim == 2:
        return _radius(series)
    return np.array([_radius(series[:, i]) for i in range(series.shape[1])])


def _radius(series):
    n = len(series)
    if n < 3 or not np.all(np.isfinite(series)) or not np.any(series):
        return np.nan
    series = series / np.max(np.abs(series))
    sizes = np.linalg.norm(series, axis=1)
    rounding = _ROUNDING * np.max(sizes)
    last = int(np.flatnonzero(sizes > rounding)[-1]) + 1
    orders = np.arange(n // 2, last + 1)
    k = orders[sizes[orders - 1] > rounding]
    if len(k) < 2 or k[-1] - k[0] < 2:
        return np.nan
    slope, at_zero, swing = _fitted(k, sizes[k - 1])
    # two terms that should be there and are not: a polynomial
    if n >= last + 2 and at_zero + slope * (last + 2) > np.log(100.0 * rounding):
        return np.nan
    if swing > _SWING or len(k) < len(orders):
        k = np.arange(max(2, n // 2 - 1), min(last + 1, n))
        squared = sizes[k - 1] ** 2 - np.sum(series[k - 2] * series[k], axis=1)
        if len(k) > 2 and np.all(squared > rounding**2):
            slope, _, _ = _fitted(k, np.sqrt(squared))
    return float(np.exp(-slope))


def _fitted(k, sizes):
    """Slope and intercept of the line through ``log(k sizes)``, and its largest residual."""
    y = np.log(k * sizes)
    slope, at_zero = np.polyfit(k, y, 1)
    return slope, at_zero, np.max(np.abs(y - at_zero - slope * k))


def range_of_validity(series, tol, scale=1.0):
    """How far a series is good to a tolerance: where its last terms reach it.

    ``t = min over the last two orders of (tol scale / |c_k|)^(1/k)``, after Cochelin.

    Parameters
    ----------
    series : ndarray of shape (order, n_input)
        Coefficients 1 to K in units of t.
    tol : float
        Bound on the error, absolute where ``scale`` is one.
    scale : float, default=1.0
        What the tolerance is relative to, such as ``max|input_val0|``.

    Returns
    -------
    float
        In units of t; infinite where the last terms vanish.

    Examples
    --------
    >>> import numpy as np
    >>> from vittles_ng.radius import range_of_validity
    >>> round(range_of_validity(np.ones((8, 1)), tol=1e-8), 3)  # 1 / (1 - t)
    0.072
    """
    series = np.asarray(series, dtype=float)
    if not (tol > 0.0 and scale > 0.0):
        raise ValueError(f"tol and scale must be positive, got {tol} and {scale}.")
    orders = np.arange(1, len(series) + 1)[-2:]
    sizes = np.max(np.abs(series[-2:]), axis=-1)
    with np.errstate(divide="ignore"):
        return float(np.min((tol * scale / sizes) ** (1.0 / orders)))
