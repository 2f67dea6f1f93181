"""Blocks of independent work on more than one core or machine, and progress bars.

Blocks go to any ``concurrent.futures.Executor``. Threads share the object that the blocks are about. Other processes
get it as a recipe, pickled once by cloudpickle, which also takes lambdas and closures; a process makes the object when
it meets it first and keeps it under a hash of the recipe (see :mod:`vittles_ng.worker_process`). So the recipe travels
about once to each process, whatever the number of blocks, and each process has one tape and one factor.
"""

import hashlib
import multiprocessing
import os
import pickle
import threading
import time
import warnings
import weakref
from collections import deque
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.context import SpawnContext

import numpy as np

from .errors import MissingDependencyError, WorkerError
from .worker_process import Absent, run, run_flat, start

__all__ = ["Shared", "Workers", "blocks_of", "progress", "workers"]

_SECONDS_WITHOUT_BAR = 2.0
_IN_FLIGHT = 2  # blocks for each worker: the next is there when one is done
_LARGE = 2**20  # bytes; dask warns of tasks that carry much


def progress(iterable, total=None, what=""):
    """The same items, with a progress bar on a terminal or in a notebook from the second second on.

    Parameters
    ----------
    iterable : iterable
    total : int, default=None
        Number of items; default: its length, where it has one.
    what : str
        Stands before the bar.

    Notes
    -----
    Silent where tqdm is not installed or stderr is not a terminal.

    Examples
    --------
    >>> list(progress(range(3), what="refits"))
    [0, 1, 2]
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    start, bar = time.monotonic(), None
    try:
        for n, item in enumerate(iterable):
            if bar is None and time.monotonic() - start > _SECONDS_WITHOUT_BAR:
                bar = _bar(n, total, what)
            yield item
            if bar:
                bar.update()
    finally:
        if bar:
            bar.close()


def _bar(n, total, what):
    """A bar at its n-th item, or False: it is imported where it is needed, which takes longer than most loops."""
    is_worker = multiprocessing.parent_process() is not None
    if is_worker or threading.current_thread() is not threading.main_thread():
        return False  # the bar is that of whoever handed out the work
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of notebooks without widgets, where the bar is text
            from tqdm.auto import tqdm

            return tqdm(desc=what or None, total=total, initial=n, disable=None, leave=False)
    except ImportError:
        return False


def blocks_of(n, n_workers, multiple=1, most=None, per_worker=4):
    """Slices that share n items evenly among workers, a few blocks for each.

    Parameters
    ----------
    n, n_workers : int
    multiple : int
        Of which the blocks' lengths are multiples, the last one's excepted.
    most : int, default=None
        Longest block; default: any.
    per_worker : int
        Blocks for each worker, if they need not be shorter. The more there are, the more evenly uneven work is spread;
        each costs some half a millisecond of waiting for the next.

    Examples
    --------
    >>> [(b.start, b.stop) for b in blocks_of(20, 2, multiple=8)]
    [(0, 8), (8, 16), (16, 20)]
    """
    multiple = multiple if most is None else min(multiple, max(1, most))
    units = -(-n // multiple)
    n_blocks = min(units, per_worker * n_workers)
    if most is not None:
        n_blocks = max(n_blocks, -(-units // (most // multiple or 1)))
    ends = [min(n, i * units // max(1, n_blocks) * multiple) for i in range(n_blocks + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


class Shared:
    """An object that blocks of work are about, here and in other processes.

    Parameters
    ----------
    local : object
        Itself.
    make : callable
        A function of a module, which makes it in another process.
    arguments : tuple
        Of ``make``.
    """

    def __init__(self, local, make, arguments):
        self.local, self._recipe, self._pickled = local, (make, arguments), None
        #: executors that have been sent it
        self.met = weakref.WeakSet()

    @property
    def pickled(self):
        """Key and bytes of the recipe.

        Raises
        ------
        MissingDependencyError
            cloudpickle is not installed.
        WorkerError
            Something in it cannot be pickled.
        """
        if self._pickled is None:
            dumps = _cloudpickle().dumps
            try:
                payload = dumps(self._recipe, protocol=pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                raise WorkerError(
                    f"the functions or the data cannot be sent to another process, {type(error).__name__}: {error}; "
                    "use a ThreadPoolExecutor, or keep what cannot be pickled (locks, open files) out of the functions."
                ) from error
            self._pickled = hashlib.blake2b(payload, digest_size=16).hexdigest(), payload
        return self._pickled


def _cloudpickle():
    try:
        import cloudpickle
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "sending functions to other processes needs cloudpickle: pip install 'vittles-ng[parallel]'; threads "
            "(a ThreadPoolExecutor) do without."
        ) from error
    return cloudpickle


@contextmanager
def workers(executor):
    """What an argument ``executor`` stands for, as :class:`Workers`.

    Parameters
    ----------
    executor : Executor, Client of dask.distributed, int, Workers or None
        An executor stays open; None and workers are what they are. For a number as many processes are started, and
        ended on leaving: after Ctrl-C or an error at once, with the blocks that they are at. They import the main
        script, which must start its work under ``if __name__ == "__main__":``.

    Raises
    ------
    TypeError, ValueError
        It is none of these.

    Notes
    -----
    BLAS keeps to one thread in other processes, if threadpoolctl is installed there; otherwise set
    ``OPENBLAS_NUM_THREADS=1`` (``MKL_NUM_THREADS``) before they start, or as many processes as there are cores get in
    one another's way.
    """
    from concurrent.futures import Executor, ProcessPoolExecutor

    if executor is None or isinstance(executor, Workers):
        yield executor
        return
    if isinstance(executor, (int, np.integer)) and not isinstance(executor, bool):
        if executor < 1:
            raise ValueError(f"executor={executor}: a number of processes is needed, from 1.")
        context = _Context()
        pool = ProcessPoolExecutor(int(executor), mp_context=context, initializer=start)
        try:
            yield Workers(pool, int(executor))
        except BaseException:
            for process in context.started:
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return
    client = executor if hasattr(executor, "scatter") else getattr(executor, "_client", None)
    if client is not None and hasattr(client, "scatter"):
        yield _DaskWorkers(client)
    elif isinstance(executor, Executor):
        yield Workers(executor, getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
    else:
        raise TypeError(
            f"executor is a {type(executor).__name__}: a concurrent.futures.Executor, a dask.distributed Client or a "
            "number of processes is needed."
        )


class _Context(SpawnContext):
    """Processes that begin anew (a fork would copy held locks and BLAS threads), and which they are."""

    def __init__(self):
        super().__init__()
        self.started = []

    def Process(self, *args, **kwargs):  # noqa: N802, the name that multiprocessing asks for
        process = super().Process(*args, **kwargs)
        self.started.append(process)
        return process


class Workers:
    """An executor that blocks of work are handed to.

    Parameters
    ----------
    executor : Executor
    n_workers : int
    """

    def __init__(self, executor, n_workers):
        self.n_workers = n_workers
        self._executor = executor
        from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

        self._is_here, self._broken = isinstance(executor, ThreadPoolExecutor), BrokenExecutor

    def map(self, shared, function, calls, n_calls=None, what=""):
        """``function(object, *arguments)`` for every ``arguments`` of ``calls``: a list in their order.

        Calls are drawn as workers get free. After an error, or Ctrl-C, those not begun are cancelled.

        Parameters
        ----------
        shared : Shared
        function : callable
            Of a module.
        calls : iterable of tuple
        n_calls : int, default=None
        what : str
            For the progress bar.

        Raises
        ------
        WorkerError
            A process ended, or something could not be sent; other errors are the function's own.
        """
        results, pending = [], deque()
        n_to_tell = 0 if self._executor in shared.met else self.n_workers

        def take():
            arguments, future = pending[0]
            found = self._result(future)
            if found is Absent:
                found = self._result(self._submit(shared, function, arguments, True))
            pending.popleft()
            results.append(found)

        try:
            for n_sent, arguments in enumerate(progress(calls, n_calls, what)):
                pending.append((arguments, self._submit(shared, function, arguments, n_sent < n_to_tell)))
                if len(pending) >= _IN_FLIGHT * self.n_workers:
                    take()
            while pending:
                take()
        finally:
            for _, future in pending:
                future.cancel()
        shared.met.add(self._executor)
        return results

    def _submit(self, shared, function, arguments, with_payload):
        if self._is_here:
            return self._executor.submit(function, shared.local, *arguments)
        key, payload = shared.pickled
        try:
            return self._executor.submit(run, key, payload if with_payload else None, function, arguments)
        except self._broken as error:
            raise _ended() from error

    def _result(self, future):
        try:
            return future.result()
        except self._broken as error:
            raise _ended() from error


def _ended():
    return WorkerError(
        "a worker process ended before it was done: it ran out of memory, was killed, or could not start; a script "
        "that starts processes must do so under `if __name__ == '__main__':`."
    )


class _DaskWorkers(Workers):
    """Workers of a dask.distributed client: the recipe is broadcast to them, large arguments are scattered."""

    def __init__(self, client):
        super().__init__(client, max(1, sum(client.nthreads().values())))
        self._broadcast = {}

    def _submit(self, shared, function, arguments, with_payload):
        key, payload = shared.pickled
        if key not in self._broadcast:
            self._broadcast[key] = self._executor.scatter(payload, broadcast=True, hash=False)
        arguments = [self._sent(a) for a in arguments]
        return self._executor.submit(run_flat, key, self._broadcast[key], function, *arguments, pure=False)

    def _sent(self, argument):
        is_large = isinstance(argument, np.ndarray) and argument.nbytes > _LARGE
        return self._executor.scatter(argument, hash=False) if is_large else argument
