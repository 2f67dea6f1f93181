"""Expansions in a file: tensors, or series along chosen directions, without the user's function.

The file is NumPy's ``.npz`` and holds arrays of numbers and strings only, never pickled objects:

    format            version of this layout            input_val0, hyper_val0    the base point, flat
    package_version   what wrote it                     hyper_structure           how a nested hyper is built, as JSON
    kind              "tensors" or "series"             order
    tensor_1, ...     packed tensors, or
    directions, series                                  (n_directions, n_hyper), (order, n_directions, n_input)
"""

import contextlib
import json
import os
import secrets
import zipfile
import zlib

import numpy as np

from ..errors import SavedFileError, ShapeError
from ..memory import check_size
from ..problem import Structure
from ..recursion import checked_integer
from .derivatives import DerivativeTensors, derivative_tensors
from .description import described, rebuilt
from .evaluation import Evaluation
from .multi_indices import count, total

__all__ = ["SavedExpansion", "load", "save_expansion"]

FORMAT = 1
LARGEST_FILE = 2**28  # bytes of tensors or series: 256 MiB

_COSINES = 2**20  # of steps with saved directions, formed at a time
_OF_FILE = "the bound on saved files"
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, MemoryError, NotImplementedError)
_COMMON = ("format", "package_version", "kind", "order", "input_val0", "hyper_val0", "hyper_structure")


class DirectionalSeries(Evaluation):
    """Series along some directions; evaluates the steps that lie along one of them.

    Parameters
    ----------
    input_val0 : ndarray of shape (n_input,)
    hyper : Structure
    directions : ndarray of shape (n_directions, n_hyper)
    series : ndarray of shape (order, n_directions, n_input)
        Coefficients 1..order along each direction.
    """

    def __init__(self, input_val0, hyper, directions, series):
        super().__init__(input_val0, hyper, len(series))
        self.directions, self.series = directions, series
        self._units, self._lengths = _scaled(directions)
        self._normed = self._units / np.linalg.norm(self._units, axis=1)[:, None]

    def _terms(self, new, origin, out):
        units, lengths = _scaled(new - origin)
        which = self._nearest(units)
        nearest = self._units[which]
        largest = np.argmax(np.abs(nearest), axis=1)[:, None]
        sign = np.sign(np.take_along_axis(units, largest, 1) * np.take_along_axis(nearest, largest, 1))
        # forming a component of a step rounds it by eps times the hyper's own component
        rounding = np.abs(nearest) + np.abs(origin) / np.where(lengths > 0.0, lengths, 1.0)[:, None]
        tolerance = np.minimum(8.0 * np.finfo(float).eps * rounding, 1e-9)
        is_off = (np.abs(units - sign * nearest) > tolerance).any(axis=1) & (lengths > 0.0)
        if is_off.any():
            first = np.argmax(is_off)
            raise ShapeError(
                f"{is_off.sum()} of {len(new)} steps lie along none of the {len(self.directions)} saved directions, "
                f"the first is step {first}: save again with it among the directions, or save tensors."
            )
        ratio = np.where(lengths > 0.0, sign[:, 0] * lengths / self._lengths[which], 0.0)
        orders = np.arange(1, len(out) + 1)[:, None, None]
        np.multiply(self.series[: len(out), which], ratio[:, None] ** orders, out=out)

    def _nearest(self, units):
        """For every step the saved direction at the smallest angle."""
        which = np.empty(len(units), dtype=np.intp)
        block = max(1, _COSINES // len(self.directions))
        for start in range(0, len(units), block):
            rows = slice(start, start + block)
            which[rows] = np.argmax(np.abs(units[rows] @ self._normed.T), axis=1)
        return which


def _scaled(steps):
    """Steps with a largest component of one, and their lengths in that norm; a zero step stays zero."""
    lengths = np.max(np.abs(steps), axis=1)
    return steps / np.where(lengths > 0.0, lengths, 1.0)[:, None], lengths


class SavedExpansion(Evaluation):
    """An expansion read from a file: it evaluates steps, and knows neither data nor model.

    Made by :func:`vittles_ng.load`.

    Parameters
    ----------
    source : DerivativeTensors or DirectionalSeries
        What the file holds.
    package_version : str
        The version of the package that wrote it.

    Attributes
    ----------
    package_version : str
    directions : ndarray of shape (n_directions, n_hyper) or None
        Directions along which steps must lie; None where tensors were saved, which serve any step.
    """

    def __init__(self, source, package_version):
        super().__init__(source.input_val0, source._hyper, source.get_max_order())
        self._source = source
        self._terms, self._sum = source._terms, source._sum
        self.package_version = package_version
        self.directions = None if isinstance(source, DerivativeTensors) else source.directions.copy()

    def derivative_tensor(self, k):
        """The full derivative tensor ``d^k input / d hyper^k``; see :meth:`DerivativeTensors.tensor`.

        Parameters
        ----------
        k : int
            From 0, which gives ``input_val0``, to the order.

        Returns
        -------
        ndarray of shape (n_input, n_hyper, ..., n_hyper)

        Raises
        ------
        ValueError
            ``k`` is negative or above the order, or the file holds series along directions.
        SizeError
            It would take more than a quarter of the machine's memory.
        """
        if self.directions is not None:
            raise ValueError(
                f"the file holds series along {len(self.directions)} directions, no tensors: save without directions."
            )
        return self._source.tensor(k)

    def __repr__(self):
        how = "tensors" if self.directions is None else f"series along {len(self.directions)} directions"
        return (
            f"<Saved expansion of {self._input_val0.size} inputs in {self._hyper.size} hypers, "
            f"order {self._order}, {how}>"
        )


def save_expansion(file, recursion, input_val0, hyper_val0, order, directions=None):
    """Write an expansion to a file that :func:`load` reads.

    Without ``directions`` all derivative tensors are saved, if they take at most 256 MiB.

    Parameters
    ----------
    file : str or path-like
        Where to; used as given, written beside it first and then renamed, so that it is never half written.
    recursion : Recursion
    input_val0 : ndarray of shape (n_input,)
    hyper_val0 : array_like of shape (n_hyper,), nested, or Structure
    order : int
    directions : array_like of shape (n_hyper,) or (n_directions, n_hyper), default=None
        Save series along these directions instead of tensors; only steps along them can then be evaluated.

    Raises
    ------
    SizeError
        Tensors or series would take more than 256 MiB.
    ShapeError
        Directions of another shape, or a zero direction.
    TypeError
        A nested hyper with keys that are neither strings nor numbers.
    """
    from .. import __version__

    order = checked_integer(order, "order", 1)
    hyper = hyper_val0 if isinstance(hyper_val0, Structure) else Structure(hyper_val0, "hyper_val0")
    arrays = {
        "format": np.int64(FORMAT),
        "package_version": np.str_(__version__),
        "order": np.int64(order),
        "input_val0": np.asarray(input_val0, dtype=np.float64),
        "hyper_val0": hyper.flat0,
        "hyper_structure": np.str_(json.dumps(described(hyper))),
    }
    if directions is None:
        n_bytes = 8 * len(input_val0) * total(hyper.size, order)
        what = f"all derivatives up to order {order} of {len(input_val0)} inputs in {hyper.size} hypers"
        remedy = "pass directions=, of shape (n_directions, n_hyper), to save series along these, or use a lower order"
        check_size(n_bytes, what, LARGEST_FILE, _OF_FILE, remedy)
        tensors = derivative_tensors(recursion, input_val0, hyper, order)
        arrays["kind"] = np.str_("tensors")
        arrays.update({f"tensor_{k}": packed for k, packed in enumerate(tensors.packed, 1)})
    else:
        directions = _checked_directions(directions, hyper)
        n_bytes = 8 * len(directions) * (len(input_val0) * order + hyper.size)
        what = f"series of order {order} of {len(input_val0)} inputs along {len(directions)} directions"
        check_size(n_bytes, what, LARGEST_FILE, _OF_FILE, "save fewer directions to a file, or use a lower order")
        series = np.empty((order, len(directions), len(input_val0)))
        recursion.terms(directions, np.zeros(hyper.size), series)
        arrays.update(kind=np.str_("series"), directions=directions, series=series)
    _write(os.fspath(file), arrays)


def _checked_directions(directions, hyper):
    directions, _ = hyper.flatten_steps(directions, "directions")
    is_zero = ~directions.any(axis=1)
    if len(directions) == 0 or is_zero.any():
        which = f"direction {np.argmax(is_zero)} is zero" if len(directions) else "there are none"
        raise ShapeError(f"directions has shape {directions.shape}, and {which}: give directions that lead somewhere.")
    return directions


def _write(path, arrays):
    part = f"{path}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        with open(part, "xb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)
        raise


def load(file):
    """Read an expansion saved by ``ParametricSensitivityTaylorExpansion.save``.

    Parameters
    ----------
    file : str or path-like

    Returns
    -------
    SavedExpansion
        Its values are those of the expansion that was saved, to rounding.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    SavedFileError
        The file is truncated, damaged, of another version, or no saved expansion.
    """
    path = os.fspath(file)
    arrays = _read(path)
    if "format" not in arrays or arrays["format"].shape != ():
        raise SavedFileError(f"{path} is no saved expansion: it has no entry 'format'; give a file written by save.")
    version = arrays["format"][()]
    if version != FORMAT:
        from .. import __version__

        raise SavedFileError(
            f"{path} has format {version}, written by version {arrays.get('package_version', 'unknown')}; this is "
            f"version {__version__}, which reads format {FORMAT}: load it with the other version, or save again."
        )
    try:
        return _expansion(arrays)
    except KeyError as error:
        raise SavedFileError(f"{path} lacks the entry {error}: it is damaged; save again.") from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SavedFileError(f"{path} is damaged: {error}; save again.") from None


def _read(path):
    """All arrays of a file, their checksums verified first."""
    with open(path, "rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise SavedFileError(f"{path} is damaged at its entry {damaged}: save again.")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as entries:
                return {name: np.asarray(entries[name]) for name in entries.files}
        except SavedFileError:
            raise
        except _UNREADABLE as error:
            raise SavedFileError(
                f"{path} is truncated, or no .npz file of numbers ({error}): "
                "give a file written by save, or save again."
            ) from None


def _expansion(arrays):
    """The expansion of a file's arrays; raises KeyError or ValueError where they do not fit together."""
    for name in _COMMON:
        arrays[name]
    input_val0 = _numbers(arrays, "input_val0", (arrays["input_val0"].size,))
    flat = _numbers(arrays, "hyper_val0", (arrays["hyper_val0"].size,))
    hyper = rebuilt(json.loads(str(arrays["hyper_structure"])), flat)
    order, kind = int(arrays["order"]), str(arrays["kind"])
    if order < 1 or kind not in ("tensors", "series"):
        raise ValueError(f"order {order} of kind {kind!r} is not known")
    if kind == "tensors":
        n = hyper.size
        packed = [_numbers(arrays, f"tensor_{k}", (input_val0.size, count(n, k))) for k in range(1, order + 1)]
        source = DerivativeTensors(input_val0, hyper, packed)
    else:
        n_directions = len(arrays["directions"])
        directions = _checked_directions(_numbers(arrays, "directions", (n_directions, hyper.size)), hyper)
        series = _numbers(arrays, "series", (order, n_directions, input_val0.size))
        source = DirectionalSeries(input_val0, hyper, directions, series)
    return SavedExpansion(source, str(arrays["package_version"]))


def _numbers(arrays, name, shape):
    """An array of finite floats of a shape."""
    array = arrays[name]
    if array.shape != shape or array.dtype != np.float64:
        raise ValueError(f"{name} is {array.dtype} {array.shape} where float64 {shape} is needed")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{np.sum(~np.isfinite(array))} of {array.size} elements of {name} are NaN or infinite")
    return array
