"""What a report says: one record, from which the text, the page and the JSON are written."""

import math
from dataclasses import asdict, dataclass

__all__ = ["SCHEMA", "Contents", "as_json", "warnings_of"]

#: Raised whenever a key of the JSON is renamed, dropped or given another meaning.
SCHEMA = 1
# A share of the observations that a conclusion should not hang on; labels that a warning lists.
FEW = 0.01
# Errors above this many standard errors are pointed out.
USELESS = 0.1
MAX_LABELS = 8


@dataclass(frozen=True)
class Contents:
    """Everything that a report says.

    Attributes
    ----------
    version : str
        Of this package.
    source, formula, family, response : str
    n_obs, n_coefficients : int
    groups : str or None
        The column of the groups.
    n_groups : int or None
    order, n_resamples, seed, max_refits : int
        As asked for.
    level : float
        Confidence level of the intervals.
    critical : float
        Value of a t-statistic from which an estimate counts as significant.
    df : int or None
        Degrees of freedom that it has, None for the normal distribution.
    seconds : float
        That the report took.
    warnings : list of str
    coefficients : list of Coefficient
    bootstrap : Resampled
    held_out : HeldOutLoss
    influential, influential_groups : list of Influential
    reversals : list of Reversal
    approximations : list of Line
    """

    version: str
    source: str
    formula: str
    family: str
    response: str
    n_obs: int
    n_coefficients: int
    groups: str | None
    n_groups: int | None
    order: int
    n_resamples: int
    seed: int
    max_refits: int
    level: float
    critical: float
    df: int | None
    seconds: float
    warnings: list
    coefficients: list
    bootstrap: object
    held_out: object
    influential: list
    influential_groups: list
    reversals: list
    approximations: list


def as_json(contents):
    """The record as dictionaries, lists, strings and numbers, None where a number is NaN or infinite.

    Examples
    --------
    >>> plain({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    return {"schema": SCHEMA, **plain(asdict(contents))}


def plain(value):
    """Numbers that JSON does not have replaced by None, all through."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def warnings_of(bootstrap, held_out, influential, reversals, unit):
    """What a reader should know before anything else.

    Parameters
    ----------
    bootstrap : Resampled
    held_out : HeldOutLoss
    influential : list of Influential
    reversals : list of Reversal
    unit : str
        What is left out: "observation" or "group".

    Returns
    -------
    list of str
    """
    told = []
    if bootstrap.largest_error is not None and not bootstrap.largest_error < USELESS:
        told.append(
            f"The bootstrap's refits are off by up to {bootstrap.largest_error:.2g} standard errors where they were "
            "verified: its intervals are not to be relied on."
        )
    if held_out.n_failed:
        told.append(
            f"There is no finite fit without {_few(held_out.n_failed, unit)}, one at a time (separable, or a "
            "coefficient not identified): the held-out loss is that of the others."
        )
    alone = [one.label for one in influential if one.exact_change is None]
    if alone:
        told.append(f"There is no finite fit without {_listed(alone)}: a coefficient hangs on it alone.")
    return told + [_fragile(one) for one in reversals if _is_fragile(one)]


def _is_fragile(one):
    """A significant estimate that few observations make insignificant."""
    return one.found and one.question == "significance lost" and (one.n_dropped == 1 or one.share <= FEW)


def _fragile(one):
    return (
        f"{one.coefficient} is significant (t = {one.initial:.2f}), but not without "
        f"{_few(one.n_dropped, 'observation')} ({100 * one.share:.2g} % of them; t = {one.refitted:.2f}): "
        f"{_listed(one.labels)}."
    )


def _few(n, unit):
    return f"{n} {unit}" + ("s" if n != 1 else "")


def _listed(labels):
    more = len(labels) - MAX_LABELS
    return ", ".join(labels[:MAX_LABELS]) + (f" and {more} more" if more > 0 else "")
