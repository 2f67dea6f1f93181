"""Timing in one run: the methods take turns, every call gets an argument that it has not seen, medians are kept."""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from typing import Any, NamedTuple

import numpy as np

MAX_CALLS = 50


class Cell(NamedTuple):
    """What is timed: ``run(argument)`` with a new ``argument = draw()`` at each call; drawing is not timed."""

    run: Callable[[Any], Any]
    draw: Callable[[], Any]


def time_call(run, argument):
    """Seconds that ``run(argument)`` takes."""
    start = time.perf_counter()
    run(argument)
    return time.perf_counter() - start


def interleaved_medians(cells, rounds, slot=0.02, allowance=1.2):
    """Median seconds of a call, of each cell.

    In a round every cell takes its turn, A B C ..., with as many calls as fill `slot` seconds (1 to 50); the median of
    a turn is one sample. So all methods see the same drifts of the machine. A call before the first round warms up and
    says how many calls a turn has, and in how many rounds a slow cell takes part: as many as fill `allowance` seconds.

    Parameters
    ----------
    cells : dict of Cell
    rounds : int
    slot, allowance : float
        Seconds of a turn, and of all turns of a cell.

    Returns
    -------
    dict of float
    """
    plans = {}
    for key, cell in cells.items():
        seconds = time_call(cell.run, cell.draw())
        turns, calls = np.ceil(allowance / seconds), slot / seconds
        plans[key] = (min(rounds, int(turns)), int(np.clip(calls, 1, MAX_CALLS)))
    samples = {key: [] for key in cells}
    for turn in range(rounds):
        for key, cell in cells.items():
            turns, calls = plans[key]
            if turn < turns:
                arguments = [cell.draw() for _ in range(calls)]
                samples[key].append(median(time_call(cell.run, argument) for argument in arguments))
    return {key: median(values) for key, values in samples.items()}


def _cpu_model():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load():
    """Runnable processes over the last minute, None where the system does not tell; above 1, others are at work."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def machine():
    """What the figures were measured on: processor, cores, versions, BLAS, and the load before the start."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": version("scipy"),
        "autograd": version("autograd"),
        "blas": f"{blas['name']} {blas['version']}",
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "default"),
        "load_before": load(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
