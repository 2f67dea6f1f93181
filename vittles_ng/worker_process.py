"""What runs in another process: it makes an object from its recipe when it meets it first, and keeps it."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import OrderedDict

from .errors import WorkerError

__all__ = ["Absent", "known", "run", "run_flat", "start"]

_KEPT = 4  # objects that a process keeps
_made = OrderedDict()
_making = threading.RLock()


class Absent:
    """What a process answers that has not met the object yet."""


def start():
    """In a process of a pool of our own: Ctrl-C is for the parent, without which there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent():
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def run(key, payload, function, arguments):
    """``function(object, *arguments)``, or :class:`Absent` where the object is not known and there is no recipe.

    Parameters
    ----------
    key : str
        Of the object.
    payload : bytes or None
        Its recipe, pickled: a function and its arguments.
    function : callable
    arguments : tuple
    """
    made = known(key, payload)
    if made is Absent:
        return Absent
    try:
        return function(made, *arguments)
    except Exception as error:
        if _is_portable(error):
            raise
        raise WorkerError(f"{type(error).__name__}: {error}") from None


def run_flat(key, payload, function, *arguments):
    """As :func:`run`, with arguments that Dask sees, and so can resolve."""
    return run(key, payload, function, arguments)


def known(key, payload):
    """The object of a key, made from its recipe where it is not known; :class:`Absent` without one."""
    with _making:  # one thread of a process makes it, the others wait for it
        if key not in _made:
            if payload is None:
                return Absent
            _one_blas_thread()
            make, arguments = pickle.loads(payload)
            _made[key] = make(*arguments)
        _made.move_to_end(key)
        while len(_made) > _KEPT:
            _made.popitem(last=False)
        return _made[key]


def _one_blas_thread():
    """As many processes as cores have no cores left for more; where threadpoolctl is missing it is the user's to do."""
    if multiprocessing.parent_process() is None:
        return
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return
    threadpool_limits(1)


def _is_portable(error):
    """Whether an error survives being pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
