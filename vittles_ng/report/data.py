"""A data file and a formula, checked, as the arrays of a generalised linear model.

The covariates are put on one scale, ``Z = X T``: centred (where there is an intercept) and divided by their standard
deviation, so that condition numbers and ridge penalties do not depend on anybody's choice of units. Coefficients ``b``
on that scale are ``T b`` in the units of the file. A Gaussian response is centred and scaled too: its scale is then
part of ``T``, its centre is added to the intercept.
"""

import ast
import builtins
import keyword
import math
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import DataError, optional_import

__all__ = ["GlmData", "read_csv", "fair_data", "glm_data"]

FAIR_FORMULA = "affair ~ rate_marriage + age + yrs_married + children + religious + educ + occupation + occupation_husb"
# Smallest singular value of the unit-length columns that still counts as full rank: the Hessian squares it.
RANK_TOL = 1e-7
# patsy builds a square matrix of this size for a column of categories.
MAX_LEVELS = 1000
# The square of a larger number may overflow.
HUGE = 1e150


@dataclass(frozen=True)
class GlmData:
    """The arrays of a generalised linear model.

    Attributes
    ----------
    design : ndarray of shape (n_obs, n_input)
        Standardised covariates ``Z = X T``.
    response : ndarray of shape (n_obs,)
        Binomial: 1 where the event happened, else 0. Poisson: counts. Gaussian: centred and scaled.
    transform : ndarray of shape (n_input, n_input)
    offset : ndarray of shape (n_input,)
        Coefficients in the units of the file are ``transform @ input + offset``.
    penalised : ndarray of shape (n_input,)
        1 where a ridge penalty applies, 0 at the intercept.
    columns : tuple of str
        Names of the design's columns.
    response_name : str
        The response, with its event for the binomial family.
    response_scale : float
        What a Gaussian response was divided by, else 1.
    row_names : tuple of str
        Of the observations.
    groups : ndarray of shape (n_obs,) or None
        Labels of the clusters.
    group_name : str or None
        The column that they come from.
    """

    design: np.ndarray
    response: np.ndarray
    transform: np.ndarray
    offset: np.ndarray
    penalised: np.ndarray
    columns: tuple
    response_name: str
    response_scale: float
    row_names: tuple
    groups: np.ndarray | None = None
    group_name: str | None = None

    @cached_property
    def gram(self):
        """``Z'Z``, of shape (n_input, n_input)."""
        return self.design.T @ self.design


def read_csv(path):
    """Read a comma-separated file with a header line.

    Raises
    ------
    DataError
        The file is missing, unreadable, empty or not CSV.
    """
    pandas = optional_import("pandas")
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file")
    try:
        frame = pandas.read_csv(path, skipinitialspace=True)
    except pandas.errors.EmptyDataError:
        raise DataError(
            f"{path} is empty: a header line with column names and one line per observation are needed"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.object[error.start]:#x}): save it as UTF-8") from None
    except (ValueError, pandas.errors.ParserError) as error:
        raise DataError(f"{path} is not a comma-separated text file: {' '.join(str(error).split())}") from None
    if frame.empty:
        raise DataError(f"{path} has a header line but no rows")
    separator = {";": "semicolons", "\t": "tabs"}.get(next((sign for sign in ";\t" if sign in frame.columns[0]), None))
    if frame.shape[1] == 1 and separator:
        raise DataError(f"the columns of {path} are separated by {separator}: save it separated by commas")
    return frame


def fair_data():
    """The built-in data: Fair's survey of 6366 married women, with ``affair = 1`` where ``affairs > 0``."""
    datasets = optional_import("statsmodels.api").datasets
    frame = datasets.fair.load_pandas().data
    return frame.assign(affair=(frame["affairs"] > 0).astype(float))


def glm_data(frame, formula, family, groups=None, labels=None):
    """Evaluate a formula on a data frame and check everything that a fit depends on.

    Parameters
    ----------
    frame : pandas.DataFrame
    formula : str
        In patsy's language, such as ``"y ~ x1 + C(x2)"``.
    family : {"binomial", "poisson", "gaussian"}
    groups : str, optional
        A column: rows with the same value in it are a cluster.
    labels : str, optional
        A column with the names of the rows; default: ``row 1``, ``row 2``, ....

    Returns
    -------
    GlmData

    Raises
    ------
    DataError
        A formula that cannot be read, an unknown column, missing or infinite values, a response that does not fit the
        family, a constant response, too few rows, linearly dependent columns, or all rows in one group.

    Examples
    --------
    >>> import pandas
    >>> frame = pandas.DataFrame({"smoker": ["no", "yes", "no", "yes"], "age": [30, 40, 50, 60]})
    >>> data = glm_data(frame, "smoker ~ age", "binomial")
    >>> data.columns, data.response_name
    (('Intercept', 'age'), 'smoker[yes]')
    >>> data.design[:, 1].round(2)
    array([-1.34, -0.45,  0.45,  1.34])
    """
    clusters = None if groups is None else _clusters(frame, groups)
    row_names = [f"row {i}" for i in range(1, len(frame) + 1)] if labels is None else _labels(frame, labels, "--labels")
    outcome, covariates = _matrices(frame, formula)
    response, response_name = _response(outcome, family)
    columns = tuple(covariates.columns)
    if not set(columns) - {"Intercept"}:
        raise DataError(f"the formula {formula!r} has no covariates: name at least one to the right of '~'")
    raw = covariates.to_numpy(dtype=float)
    transform = _standardisation(raw, columns)
    design = raw @ transform
    _check_rank(design, columns)
    intercept = np.array([float(name == "Intercept") for name in columns])
    offset, scale = np.zeros(len(columns)), 1.0
    if family == "gaussian":
        # Without this the optimum could not be told from rounding errors where the response is large.
        centre = response.mean() if intercept.any() else 0.0
        scale = math.sqrt(np.mean((response - centre) ** 2))
        response, transform, offset = (response - centre) / scale, transform * scale, centre * intercept
    arrays = design, response, transform, offset, 1.0 - intercept
    return GlmData(*arrays, columns, response_name, scale, tuple(map(str, row_names)), clusters, groups)


def _clusters(frame, name):
    clusters = _labels(frame, name, "--groups")
    if len(np.unique(clusters)) < 2:
        raise DataError(f"--groups {name}: all {len(frame)} rows have the same value, at least two groups are needed")
    return clusters


def _labels(frame, name, option):
    """A column of labels, complete; numbers stay numbers, so that they are sorted as such."""
    if name not in frame.columns:
        raise DataError(f"{option}: no column {name!r} in the data ({_listed(frame)})")
    values = frame[name]
    n_missing = int(values.isna().sum())
    if n_missing:
        raise DataError(f"{option} {name}: {n_missing} of {len(frame)} rows have no value: fill them in or drop them")
    array = values.to_numpy()
    return array if array.dtype.kind in "biuf" else array.astype(str)


def _listed(frame):
    return "columns: " + ", ".join(map(str, frame.columns[:12])) + (", ..." if len(frame.columns) > 12 else "")


def _matrices(frame, formula):
    """The response's and the covariates' data frames, free of missing and infinite values."""
    patsy = optional_import("patsy")
    try:
        description = patsy.ModelDesc.from_formula(formula)
        _check_columns(frame, formula, description, set(patsy.builtins.__all__))
        # Only the file's columns and NumPy are in scope; a row that turns into NaN must be seen, not dropped.
        scope = patsy.EvalEnvironment([{"np": np, "numpy": np}])
        keep_all = patsy.NAAction(NA_types=[])
        sides = [description.lhs_termlist, description.rhs_termlist]
        with np.errstate(all="ignore"):
            infos = patsy.design_matrix_builders(sides, lambda: iter([frame]), scope, keep_all)
            _check_size(len(frame), len(infos[1].column_names))
            outcome, covariates = patsy.build_design_matrices(infos, frame, keep_all, return_type="dataframe")
    except DataError:
        raise
    except patsy.PatsyError as error:
        raise DataError(f"the formula {formula!r} cannot be used: {error.message.splitlines()[0]}") from None
    except SyntaxError as error:
        advice = _quoting_advice(frame, formula)
        raise DataError(f"the formula {formula!r} cannot be read: {error.msg}{advice}") from None
    except (TypeError, ValueError) as error:
        raise DataError(f"the formula {formula!r} does not give numbers: {error}") from None
    for part in (outcome, covariates):
        bad = ~(np.abs(part.to_numpy(dtype=float)) < HUGE)
        for name, count in zip(part.columns, bad.sum(axis=0), strict=True):
            if count:
                raise DataError(f"{name} is infinite, above {HUGE:.0e} or not a number in {count} of {len(part)} rows")
    return outcome, covariates


def _check_size(n_obs, n_input):
    """Asked before the columns are made: interactions multiply."""
    if n_obs <= n_input:
        raise DataError(
            f"{n_obs} rows cannot determine {n_input} coefficients: drop covariates (text is read as categories)"
        )


def _check_columns(frame, formula, description, patsy_names):
    """Every name in the formula is a column or a function; no column has missing values or too many levels."""
    if not description.lhs_termlist:
        raise DataError(f"the formula {description.describe()!r} has no response: write 'response ~ covariates'")
    factors = [factor for term in description.lhs_termlist + description.rhs_termlist for factor in term.factors]
    names, called = set(), set()
    for factor in factors:
        for found, more in zip((names, called), _names_in(factor.code), strict=True):
            found |= more
    in_scope = set(frame.columns) | patsy_names | {"np", "numpy"}
    no_function = sorted(called - in_scope - set(dir(builtins)))
    if no_function:
        raise DataError(f"no function {', '.join(map(repr, no_function))}: NumPy's are at hand, such as np.log(x)")
    unknown = sorted(names - in_scope)
    if unknown:
        raise DataError(
            f"no column {', '.join(map(repr, unknown))} in the data ({_listed(frame)}){_quoting_advice(frame, formula)}"
        )
    used = [name for name in frame.columns if name in names]
    missing = frame[used].isna()
    if missing.to_numpy().any():
        where = ", ".join(f"{name}: {count}" for name, count in missing.sum().items() if count)
        n_rows = int(missing.any(axis=1).sum())
        raise DataError(f"{n_rows} of {len(frame)} rows have missing values ({where}): fill them in or drop these rows")
    categories = set(frame[used].select_dtypes(exclude="number").columns)
    for factor in factors:
        if factor.code.startswith("C("):
            categories |= _names_in(factor.code)[0] & set(used)
    for name in sorted(categories):
        n_levels = frame[name].nunique()
        if n_levels > MAX_LEVELS:
            raise DataError(f"{name} has {n_levels} different values: too many for categories (at most {MAX_LEVELS})")


def _quoting_advice(frame, formula):
    """How to write the columns in a formula whose names cannot stand there as they are; empty where there are none."""
    names = [name for name in map(str, frame.columns) if not name.isidentifier() or keyword.iskeyword(name)]
    quoted = [f"Q({name!r})" for name in names if name in formula]
    return f"; names that Python cannot read are quoted: {', '.join(quoted)}" if quoted else ""


def _names_in(code):
    """Names that a factor's Python code reads, ``Q("a name")`` included, and those that it calls."""
    names, called = set(), set()
    nodes = list(ast.walk(ast.parse(code.strip(), mode="eval")))
    functions = [node.func for node in nodes if isinstance(node, ast.Call)]
    for node in nodes:
        if isinstance(node, ast.Name):
            (called if node in functions else names).add(node.id)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Q":
            names |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return names, called


def _response(outcome, family):
    """The response as numbers and its name, or an error if the family cannot have produced it."""
    info = outcome.design_info
    name = " + ".join(info.term_names)
    text = any(factor.type == "categorical" for factor in info.factor_infos.values())
    n_columns = outcome.shape[1]
    if len(info.terms) > 1 or (n_columns > 1 and not text):
        raise DataError(f"the response {name!r} has {n_columns} columns: one is needed")
    values = outcome.iloc[:, -1].to_numpy(dtype=float)
    levels = np.unique(values)
    if len(levels) == 1:
        raise DataError(f"the response {name!r} is constant: there is nothing to explain")
    if family == "binomial":
        n_levels = n_columns if text else len(levels)
        if n_levels > 2:
            raise DataError(
                f"the response {name!r} takes {n_levels} values, binomial needs two: choose another --family"
            )
        event = outcome.columns[-1] if text else f"{name} = {levels[-1]:g}"
        return (values == levels[-1]).astype(float), event
    if text:
        raise DataError(
            f"the response {name!r} is not numeric: {family} needs numbers (--family binomial takes two levels)"
        )
    if family == "poisson" and (values.min() < 0 or np.any(values != np.floor(values))):
        wrong = int(np.sum((values < 0) | (values != np.floor(values))))
        raise DataError(f"the response {name!r} is negative or not an integer in {wrong} rows: poisson needs counts")
    return values, name


def _standardisation(raw, columns):
    """``T`` with ``X T`` centred (given an intercept) and scaled; constant columns are left to the rank check."""
    mean, spread = raw.mean(axis=0), raw.std(axis=0)
    if "Intercept" not in columns:
        size = np.sqrt(np.mean(raw**2, axis=0))
        return np.diag(1.0 / np.where(size > 0, size, 1.0))
    varies = spread > 1e-12 * np.abs(mean)
    scale = np.where(varies, spread, 1.0)
    transform = np.diag(1.0 / scale)
    transform[columns.index("Intercept")] -= np.where(varies, mean / scale, 0.0)
    return transform


def _check_rank(design, columns):
    """Name the columns of every linear dependence: the null vectors of the unit-length columns."""
    length = np.linalg.norm(design, axis=0)
    _, singular, vectors = np.linalg.svd(design / np.where(length > 0, length, 1.0), full_matrices=False)
    null = vectors[singular < RANK_TOL * singular[0]]
    if len(null):
        named = [name for name, size in zip(columns, np.abs(null).max(axis=0), strict=True) if size > 1e-4]
        fault = f"{', '.join(named)} are linearly dependent, drop one" if len(named) > 1 else f"{named[0]} is constant"
        raise DataError(f"rank {len(columns) - len(null)} of {len(columns)} columns: {fault}")
