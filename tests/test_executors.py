"""More than one core or machine: the same numbers as in one process, nothing left behind, errors that say why."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from operator import truediv

import autograd.numpy as anp
import numpy as np
import pytest

import vittles_ng as vn
from vittles_ng import executors, worker_process
from vittles_ng.errors import (
    DataError,
    MissingDependencyError,
    NonFiniteError,
    NotASolutionError,
    ShapeError,
    SolveFailed,
    UnsupportedOnBlocksError,
    WorkerError,
)
from vittles_ng.executors import Shared, blocks_of, progress, workers

N_OBS, N_INPUT = 48, 3


def logistic_loss(b, x, y):
    return anp.logaddexp(0.0, x @ b) - y * (x @ b)


PENALTIES = {
    "none": None,
    "of the input": lambda b: 0.3 * anp.sum(b**2),
    "of input and hyper": lambda b, h: h * anp.sum(b**2) + 0.1 * anp.sum(b**4),
    "of the weights too": lambda b, h, total: h * total * (0.1 * anp.sum(b**2) + anp.sum(b**4)),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N_OBS, N_INPUT))
    x[5] = x[4]
    return x, (rng.random(N_OBS) < 0.5).astype(float)


@pytest.fixture(scope="module")
def sets():
    weights = np.random.default_rng(4).poisson(1.0, (7, N_OBS)).astype(float)
    weights[0] = 1.0
    weights[1, :6] = 0.0
    return weights


def logistic(data, penalty="none", **options):
    options = {"order": 3, "polish_optimum": True, "weights0": 1.0 + np.arange(N_OBS) % 2} | options
    hyper = 0.02 if "hyper" in penalty or "weights" in penalty else None
    return vn.InfinitesimalJackknife(logistic_loss, np.zeros(N_INPUT), data, PENALTIES[penalty], hyper, **options)


def instruments(data, **options):
    """An estimating equation that is no gradient: its Jacobian is not symmetric."""
    x, y = data
    z = np.tanh(x) + 0.1 * np.roll(x, 1, axis=1)
    g = lambda b, z, x, y: z * (y - anp.exp(0.2 * (x @ b)))[:, None]  # noqa: E731
    start = np.zeros(N_INPUT)
    for _ in range(30):
        mean = np.exp(0.2 * x @ start)
        start = start - np.linalg.solve(-(z.T * 0.2 * mean) @ x, z.T @ (y - mean))
    return g, start, (z, x, y), options


@pytest.fixture(scope="module")
def pools():
    """Executors by name; the processes begin anew, as those of a pool of one's own do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Dask's own making
        from distributed import Client, LocalCluster

        quiet = {"dashboard_address": None, "n_workers": 2, "threads_per_worker": 1, "silence_logs": 50}
        with (
            ThreadPoolExecutor(2) as threads,
            ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes,
            LocalCluster(processes=False, **quiet) as inside,
            LocalCluster(processes=True, **quiet) as outside,
            Client(inside, set_as_default=False) as client_inside,
            Client(outside, set_as_default=False) as client_outside,
        ):
            yield {
                "threads": threads,
                "processes": processes,
                "dask, threads": client_inside,
                "dask, processes": client_outside.get_executor(),
            }


POOLS = ("threads", "processes", "dask, threads", "dask, processes")


# ---- blocks of weight vectors ----

METHODS = {
    "reweight": lambda j, w, e: j.reweight(w, executor=e),
    "order 1": lambda j, w, e: j.leave_one_out(order=1, executor=e),
    "tensors": lambda j, w, e: j.leave_one_out(order=3, by="tensors", executor=e),
    "series": lambda j, w, e: j.leave_one_out(order=4, executor=e),
    "newton": lambda j, w, e: j.leave_one_out(method="newton", executor=e),
    "sets": lambda j, w, e: j.leave_out([[0, 1], [], [7]], executor=e),
    "exact": lambda j, w, e: j.exact_refit(w, executor=e).value,
    "bootstrap": lambda j, w, e: j.bootstrap(40, 1, executor=e).values,
    "bootstrap, errors": lambda j, w, e: j.bootstrap(40, 1, verdicts=True, executor=e).error_estimates,
    "cross-validation": lambda j, w, e: j.cross_validate(order=2, executor=e),
    "folds": lambda j, w, e: j.cross_validate(folds=6, executor=e),
    "hypers": lambda j, w, e: j.cross_validate(folds=6, hypers=[0.01, 0.03], executor=e),
}


def agree(found, expected, tol=1e-12):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) <= tol * np.nanmax(np.abs(expected))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("method", METHODS)
def test_numbers_are_those_of_one_process(data, sets, pools, pool, method):
    jackknife = logistic(data, "of input and hyper")
    run = METHODS[method]
    agree(run(jackknife, sets, pools[pool]), run(jackknife, sets, None))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_groups_and_weights_travel(data, sets, pools, penalty):
    jackknife = logistic(data, penalty, groups=np.arange(N_OBS) % 9)
    for run in (METHODS["reweight"], METHODS["tensors"], METHODS["exact"]):
        agree(run(jackknife, sets, pools["processes"]), run(jackknife, sets, None))


def test_estimating_equations_travel(data, sets, pools):
    g, start, rows, _ = instruments(data)
    jackknife = vn.InfinitesimalJackknife.from_estimating_equation(g, start, rows)
    for run in (METHODS["reweight"], METHODS["series"], METHODS["newton"], METHODS["exact"]):
        agree(run(jackknife, sets, pools["processes"]), run(jackknife, sets, None))


def test_names_and_marks_are_those_of_one_process(data, pools):
    jackknife = logistic(data, groups=np.arange(N_OBS) % 9, parameter_names=list("abc"))
    weights = np.stack([np.ones(N_OBS), np.zeros(N_OBS)])
    here, there = (jackknife.reweight(weights, executor=e) for e in (None, pools["processes"]))
    assert here.failed.tolist() == there.failed.tolist() == [False, True]
    assert there.column_names == list("abc")
    refit = jackknife.exact_refit(weights, executor=pools["processes"])
    assert refit.trusted.tolist() == [True, False] and "no observation" in refit.message[1]
    assert jackknife.leave_one_out(executor=pools["threads"]).row_names == list(range(9))


def test_processes_record_once(data, sets, pools, tmp_path):
    """The user's function runs when a process meets the jackknife, and never again for series."""
    calls = tmp_path / "calls"

    def counted(b, x, y):
        with open(calls, "ab") as file:
            file.write(b".")
        return logistic_loss(b, x, y)

    jackknife = vn.InfinitesimalJackknife(counted, logistic(data, weights0=None).input_val0, data)
    at_first = calls.stat().st_size
    for _ in range(10):
        jackknife.reweight(np.tile(sets, (5, 1)), executor=pools["processes"])
    # at most twice (two processes) what making it took here
    assert calls.stat().st_size <= 3 * at_first
    jackknife.reweight(sets, executor=pools["threads"])
    assert calls.stat().st_size <= 3 * at_first


def test_a_number_starts_and_ends_processes(data, sets):
    jackknife, before = logistic(data), set(multiprocessing.active_children())
    agree(jackknife.reweight(sets, executor=1), jackknife.reweight(sets))
    assert not set(multiprocessing.active_children()) - before


def test_the_rng_is_used_alike(data, pools):
    jackknife, rng1, rng2 = logistic(data), np.random.default_rng(9), np.random.default_rng(9)
    here = jackknife.bootstrap(30, rng1, verdicts=False)
    there = jackknife.bootstrap(30, rng2, verdicts=False, executor=pools["threads"])
    assert np.array_equal(here.weights, there.weights) and rng1.random() == rng2.random()


# ---- executors ----


@pytest.mark.parametrize(
    "n, n_workers, multiple, most, lengths",
    [
        (0, 2, 1, None, []),
        (1, 2, 1, None, [1]),
        (16, 2, 1, None, [2] * 8),
        (20, 2, 8, None, [8, 8, 4]),
        (1000, 2, 8, None, [120, 128, 120, 128, 128, 120, 128, 128]),
        (1000, 2, 12, 130, [108, 108, 120] * 2 + [108, 108, 112]),
        (10, 1, 1, 1, [1] * 10),
        (10, 1, 4, 3, [3, 3, 3, 1]),
    ],
)
def test_blocks_share_the_work(n, n_workers, multiple, most, lengths):
    blocks = blocks_of(n, n_workers, multiple, most)
    assert [b.stop - b.start for b in blocks] == lengths
    assert np.array_equal(np.concatenate([np.arange(n)[b] for b in blocks] or [[]]), np.arange(n))


@pytest.mark.parametrize("executor, error", [("two", TypeError), (0, ValueError), (True, TypeError), (2.0, TypeError)])
def test_what_is_no_executor_is_refused(data, sets, executor, error):
    with pytest.raises(error, match="executor"):
        logistic(data).reweight(sets, executor=executor)


ONE = Shared(1.0, float, (1.0,))


@pytest.mark.parametrize("pool", POOLS)
def test_results_are_in_order(pools, pool):
    with workers(pools[pool]) as some:
        assert some.map(ONE, truediv, ((float(i),) for i in range(1, 30))) == [1.0 / i for i in range(1, 30)]


@pytest.mark.parametrize("pool", POOLS)
def test_an_error_is_the_functions_own(pools, pool):
    with workers(pools[pool]) as some, pytest.raises(ZeroDivisionError):
        some.map(ONE, truediv, ((i,) for i in (1, 2, 0, 4)))
    with workers(pools[pool]) as some:  # and the executor goes on
        assert some.map(ONE, truediv, [(4.0,)]) == [0.25]


def test_an_error_cancels_what_has_not_begun():
    seen = []

    def work(_, i):
        seen.append(i)
        time.sleep(0.01)
        if i == 1:
            raise ValueError("block 1")

    with ThreadPoolExecutor(1) as pool, workers(pool) as some, pytest.raises(ValueError, match="block 1"):
        some.map(ONE, work, ((i,) for i in range(100)))
    assert len(seen) < 10


def test_a_process_that_dies_is_named():
    with pytest.raises(WorkerError, match="__main__"), workers(1) as some:
        some.map(Shared(3, int, (3,)), os._exit, [()])


def test_errors_survive_the_way_back():
    error = pickle.loads(pickle.dumps(SolveFailed(1e-3, 7)))
    assert (error.residual, error.iterations, str(error)) == (1e-3, 7, str(SolveFailed(1e-3, 7)))

    class Local(Exception):
        def __init__(self, a, b):
            super().__init__(f"{a} and {b}")

    def work(_):
        raise Local(1, 2)

    with pytest.raises(WorkerError, match="Local: 1 and 2"):
        worker_process.run("test", pickle.dumps((float, (1.0,))), work, ())


def test_a_process_keeps_few_objects():
    for i in range(10):
        assert worker_process.known(f"key {i}", pickle.dumps((float, (i,)))) == i
    assert worker_process.known("key 9", None) == 9.0
    assert worker_process.known("key 0", None) is worker_process.Absent
    assert worker_process.run("key 0", None, truediv, (2.0,)) is worker_process.Absent


def test_what_cannot_be_sent_is_named(data, sets, pools, monkeypatch):
    lock = threading.Lock()

    def loss(b, x, y):
        with lock:
            return logistic_loss(b, x, y)

    start = logistic(data, weights0=None).input_val0
    jackknife = vn.InfinitesimalJackknife(loss, start, data)
    with pytest.raises(WorkerError, match="ThreadPoolExecutor"):
        jackknife.reweight(sets, executor=pools["processes"])
    agree(jackknife.reweight(sets, executor=pools["threads"]), jackknife.reweight(sets))
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(MissingDependencyError, match=r"vittles-ng\[parallel\]"):
        logistic(data).reweight(sets, executor=pools["processes"])


SLOW = """
import multiprocessing, threading, time
from vittles_ng.executors import Shared, workers

def tell():
    while sum(p.is_alive() for p in multiprocessing.active_children()) < 2:
        time.sleep(0.01)
    time.sleep(1.0)
    print(*[p.pid for p in multiprocessing.active_children()], flush=True)

if __name__ == "__main__":
    threading.Thread(target=tell, daemon=True).start()
    with workers(2) as some:
        some.map(Shared(60.0, float, (60.0,)), time.sleep, [()] * 8)
"""


def test_interrupt_leaves_no_worker(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.getcwd()
    )
    pids = [int(pid) for pid in process.stdout.readline().split()]
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert len(pids) == 2 and "KeyboardInterrupt" in said
    assert time.monotonic() - start < 30.0  # not the minute that the blocks would take
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# ---- progress ----


class FakeBar:
    made = []

    def __init__(self, **options):
        self.options, self.n, self.is_closed = options, options["initial"], False
        FakeBar.made.append(self)

    def update(self):
        self.n += 1

    def close(self):
        self.is_closed = True


@pytest.fixture
def bars(monkeypatch):
    """Bars at once, made by a stand-in for tqdm."""
    monkeypatch.setattr(executors, "_SECONDS_WITHOUT_BAR", -1.0)
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=FakeBar))
    FakeBar.made = []
    return FakeBar.made


def test_progress_shows_a_bar(bars):
    assert list(progress(range(5), what="refits")) == list(range(5))
    (bar,) = bars
    assert bar.n == 5 and bar.is_closed
    assert bar.options == {"desc": "refits", "total": 5, "initial": 0, "disable": None, "leave": False}


def test_progress_closes_its_bar(bars):
    with pytest.raises(ValueError):
        for i in progress(iter(range(5))):
            if i == 2:
                raise ValueError
    for i in progress(range(5)):
        if i == 2:
            break
    assert [bar.is_closed for bar in bars] == [True, True] and bars[0].options["total"] is None


def test_progress_is_silent(bars, monkeypatch, capfd):
    with ThreadPoolExecutor(1) as pool:  # the bar is that of whoever handed out the work
        assert pool.submit(lambda: list(progress(range(3)))).result() == [0, 1, 2]
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert list(progress(range(3))) == [0, 1, 2]
    monkeypatch.undo()
    monkeypatch.setattr(executors, "_SECONDS_WITHOUT_BAR", -1.0)
    assert list(progress(range(3))) == [0, 1, 2]  # stderr is no terminal
    assert not bars and capfd.readouterr().err == ""


def test_long_work_has_a_bar(bars, data, sets):
    logistic(data).exact_refit(sets)
    assert {bar.options["desc"] for bar in bars} >= {"series", "refits"} and all(bar.is_closed for bar in bars)


def test_short_work_has_no_bar(bars, monkeypatch):
    monkeypatch.setattr(executors, "_SECONDS_WITHOUT_BAR", 2.0)
    assert list(progress(range(9))) == list(range(9)) and not bars


# ---- blocks of data ----


def cut(arrays, stops=(20, 31)):
    """Blocks of rows, the second one loaded when it is worked on."""
    first, second, third = (
        tuple(a[start:stop] for a in arrays) for start, stop in zip((0, *stops), (*stops, None), strict=True)
    )
    return [first, lambda: second, third]


def as_dask(arrays):
    import dask.array as da

    return tuple(da.from_array(a, chunks=(19, 2) if a.ndim == 2 else 30) for a in arrays)


def in_blocks(jackknife, data, pools, where, **options):
    model = jackknife.model
    blocks = as_dask(data) if "dask" in where else cut(data)
    executor = None if where.endswith("here") else pools[where.split(": ")[-1]]
    options = {"weights0": jackknife.weights0, "order": jackknife.order, "groups": jackknife.groups} | options
    start = model.input.unflatten(np.array(jackknife.input_val0))
    return vn.InfinitesimalJackknife.from_blocks(
        model.loss,
        start,
        blocks,
        model.penalty,
        model.hyper,
        executor=executor,
        estimating_equation=not model.is_objective,
        **options,
    )


PLACES = (
    "here",
    "list: threads",
    "list: processes",
    "list: dask, threads",
    "dask arrays here",
    "dask arrays: dask, threads",
    "dask arrays: dask, processes",
)
GROUPS = np.arange(N_OBS) % 9

OF_BLOCKS = {
    "reweight": lambda j, w: j.reweight(w),
    "one set": lambda j, w: j.reweight(w[1], order=1),
    "exact": lambda j, w: j.exact_refit(w[:2]).value,
    "influence": lambda j, w: j.influence(),
    "influence on a functional": lambda j, w: j.influence(lambda b: anp.exp(b[0]) * b[1]),
    "influence of groups": lambda j, w: j.influence(lambda b: b**2, groups=GROUPS),
    "meat": lambda j, w: j.covariance(),
    "centred": lambda j, w: j.covariance(centered=True, correction="HC1"),
    "clusters": lambda j, w: j.covariance(groups=GROUPS, centered=True, correction="stata"),
    "order 1": lambda j, w: j.leave_one_out(order=1),
    "order 2": lambda j, w: j.leave_one_out(order=2),
    "order 3": lambda j, w: j.leave_one_out(order=3),
    "sets": lambda j, w: j.leave_out([[0, 40], [], [3]]),
}


@pytest.mark.parametrize("where", PLACES)
def test_sums_over_blocks_are_sums(data, sets, pools, where):
    jackknife = logistic(data, "of the weights too")
    blocks = in_blocks(jackknife, data, pools, where)
    some = ("reweight", "clusters", "order 3") if "dask" in where or "processes" in where else OF_BLOCKS
    for name in some:
        agree(OF_BLOCKS[name](blocks, sets), OF_BLOCKS[name](jackknife, sets))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_of_blocks(data, sets, pools, penalty):
    jackknife = logistic(data, penalty)
    blocks = in_blocks(jackknife, data, pools, "here")
    for run in OF_BLOCKS.values():
        agree(run(blocks, sets), run(jackknife, sets))
    if penalty != "of the weights too":
        agree(blocks.leave_one_out(method="newton"), jackknife.leave_one_out(method="newton"))
    grouped = logistic(data, penalty, groups=GROUPS)
    grouped_blocks = in_blocks(grouped, data, pools, "here")
    found, expected = grouped_blocks.leave_one_out(), grouped.leave_one_out()
    agree(found, expected)
    assert found.row_names == expected.row_names


def test_estimating_equations_of_blocks(data, sets, pools):
    g, start, rows, _ = instruments(data)
    jackknife = vn.InfinitesimalJackknife.from_estimating_equation(g, start, rows, order=3)
    blocks = in_blocks(jackknife, rows, pools, "here")
    for run in (*OF_BLOCKS.values(), lambda j, w: j.leave_one_out(method="newton")):
        agree(run(blocks, sets), run(jackknife, sets))


def test_rows_that_are_no_function_of_one_combination(pools):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(30) * 2.0 + 1.0
    loss = lambda p, y: p["log scale"] + 0.5 * ((y - p["mean"]) / anp.exp(p["log scale"])) ** 2  # noqa: E731
    start = {"mean": 0.9, "log scale": 0.6}
    jackknife = vn.InfinitesimalJackknife(loss, start, (y,), order=3, polish_optimum=True)
    blocks = vn.InfinitesimalJackknife.from_blocks(
        loss, start, [(y[:7],), lambda: (y[7:],)], order=3, polish_optimum=True, parameter_names=["s", "m"]
    )
    agree(blocks.input_val0, jackknife.input_val0)
    found = blocks.leave_one_out()
    agree(found, jackknife.leave_one_out())
    assert found.column_names == ["s", "m"] and found.method == "tensors"
    agree(blocks.leave_one_out(by="series"), jackknife.leave_one_out(by="series"))


def test_least_squares_in_blocks_is_geometric_in_the_leverage(data):
    """Leaving out n moves its residual by ``e_n sum_{j=1..K} h_n^j``."""
    x, _ = data
    y = x @ [1.0, -2.0, 0.5] + np.random.default_rng(1).standard_normal(N_OBS)
    fit = np.linalg.lstsq(x, y, rcond=None)[0]
    blocks = vn.InfinitesimalJackknife.from_blocks(lambda b, x, y: 0.5 * (y - x @ b) ** 2, fit, cut((x, y)))
    leverage, residuals = np.sum(x * np.linalg.solve(x.T @ x, x.T).T, axis=1), y - x @ fit
    for order in (1, 2, 3):
        moved = y - np.sum(x * blocks.leave_one_out(order=order), axis=1)
        expected = residuals * sum(leverage**j for j in range(order + 1))
        assert np.max(np.abs(moved - expected)) < 1e-12
    moved = y - np.sum(x * blocks.leave_one_out(method="newton"), axis=1)
    assert np.max(np.abs(moved - residuals / (1.0 - leverage))) < 1e-12


@pytest.mark.parametrize("pool", ["threads", "dask, threads"])
def test_no_sets_are_no_work(data, pools, pool):
    jackknife, none = logistic(data), np.zeros((0, N_OBS))
    assert jackknife.reweight(none, executor=pools[pool]).shape == (0, N_INPUT)
    assert jackknife.exact_refit(none, executor=pools[pool]).value.shape == (0, N_INPUT)
    assert jackknife.leave_out([], executor=pools[pool]).shape == jackknife.leave_out([]).shape == (0, N_INPUT)


@pytest.mark.parametrize("where", ["list: threads", "dask arrays here", "dask arrays: dask, threads"])
def test_weights_may_be_dask_arrays(data, sets, pools, where):
    import dask.array as da

    jackknife = logistic(data, "of the weights too")
    blocks = in_blocks(jackknife, data, pools, where)
    agree(blocks.reweight(da.from_array(sets, chunks=(2, 11))), jackknife.reweight(sets))
    agree(blocks.reweight(da.from_array(sets[2], chunks=48), order=1), jackknife.reweight(sets[2], order=1))
    for bad, error in ((np.nan, NonFiniteError), (-1.0, DataError)):
        spoilt = sets.copy()
        spoilt[2, 40] = bad
        with pytest.raises(error, match="1 of 336 "):
            blocks.reweight(da.from_array(spoilt))
    with pytest.raises(ShapeError, match="48"):
        blocks.reweight(da.ones((2, 5)))


def test_sets_of_no_weight_in_blocks(data, sets, pools):
    import dask.array as da

    blocks = in_blocks(logistic(data), data, pools, "dask arrays here")
    weights = np.stack([np.zeros(N_OBS), np.ones(N_OBS)])
    for some in (weights, da.from_array(weights)):
        found = blocks.reweight(some)
        assert found.failed.tolist() == [True, False] and np.isnan(found[0]).all()
        with pytest.raises(DataError, match="nothing to fit"):
            blocks.reweight(some[0])


UNSUPPORTED = {
    "bias": lambda j: j.bias(),
    "bootstrap": lambda j: j.bootstrap(10, 1),
    "cross-validation": lambda j: j.cross_validate(),
    "held-out losses": lambda j: j.held_out_losses(),
    "high order": lambda j: j.leave_one_out(order=5),
    "newton without sets": lambda j: j.leave_out([[1, 2]], method="newton"),
    "tensors without sets": lambda j: j.leave_out([[1, 2]], by="tensors"),
    "newton, weights in the penalty": lambda j: j.leave_one_out(method="newton"),
    "another executor": lambda j: j.reweight(np.ones(N_OBS), executor=2),
    "the data": lambda j: j.model.data,
    "the tape": lambda j: j.expansion.functional(lambda b: b[0]).gradient(),
    "robustness": lambda j: vn.robustness.most_influential_set(j, lambda b: b[0], 2),
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_what_needs_all_rows_is_refused(data, pools, what):
    blocks = in_blocks(logistic(data, "of the weights too"), data, pools, "here")
    with pytest.raises(UnsupportedOnBlocksError):
        UNSUPPORTED[what](blocks)


def test_bad_blocks_are_named(data, pools):
    import dask.array as da

    make, start = vn.InfinitesimalJackknife.from_blocks, logistic(data, weights0=None).input_val0
    x, y = data
    spoilt = x.copy()
    spoilt[25, 1] = np.nan
    with pytest.raises(NonFiniteError, match="in block 1.*observation 5"):
        make(logistic_loss, start, cut((spoilt, y)))
    with pytest.raises(DataError, match="in block 0.*mixes rows"):
        make(lambda b, x, y: logistic_loss(b, x - x.mean(axis=0), y), start, cut(data))
    with pytest.raises(ShapeError, match="in block 0"):
        make(logistic_loss, start, [(x, y[:-1])])
    with pytest.raises(ShapeError, match="empty"):
        make(logistic_loss, start, [])
    with pytest.raises(NotASolutionError, match="polish_optimum"):
        make(logistic_loss, start + 0.1, cut(data))
    with pytest.raises(UnsupportedOnBlocksError, match="dense"):
        make(logistic_loss, start, cut(data), solver="cg")
    with pytest.raises(TypeError, match="ProcessPoolExecutor"):
        make(logistic_loss, start, cut(data), executor=2)
    with pytest.raises(TypeError, match="Client"):
        make(logistic_loss, start, as_dask(data), executor=pools["threads"])
    with pytest.raises(ShapeError, match="one row per observation"):
        make(logistic_loss, start, (da.from_array(x), da.from_array(y[:-1])))
    unknown = da.from_array(x, chunks=10)
    with pytest.raises(ShapeError, match="compute_chunk_sizes"):
        make(logistic_loss, start, (unknown[unknown[:, 0] > 0.0], da.from_array(y)))
    with pytest.raises(TypeError, match="polish_optimum"):
        make(logistic_loss, start, cut(data), estimating_equation=True, polish_optimum=True)
