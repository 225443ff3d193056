"""Where the points of a sweep are computed: in this process, on the cores of this machine, on a cluster.

Each backend takes tasks from an iterator only when it has room for them, so that a budget can stop the flow, and gives
back each task with its outcome as soon as it is known, in any order.
"""

from __future__ import annotations

import importlib
import os
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from lib import _sweep_worker
from lib._sweep_worker import LoadError, attempt, follow

__all__ = ["connected", "dask", "joblib", "serial"]

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

PATIENCE = "10s"
"""How long the scheduler of a cluster may take to answer."""

DEATHS = 3
"""A point that has taken that many workers with it is counted as failed."""


def cores() -> int:
    """Processors that this process may use, as joblib counts them."""
    from joblib import cpu_count

    return cpu_count()


def _died(times: int) -> dict:
    """The outcome of a point that kills its workers."""
    return {"status": "failed", "error": f"its worker died {times} times", "seconds": None}


def _unusable(where: str, problem: BaseException) -> RuntimeError:
    """What ends a sweep because it would befall every point."""
    what = "load the function" if isinstance(problem, LoadError) else "compute a point"
    error = RuntimeError(f"a {where} cannot {what}: {problem}")
    error.__cause__ = problem
    return error


def serial(tasks: Iterator, workers: int | None, threads: int | None) -> Iterator[tuple]:
    """One point after the other in this process."""
    for name, task in tasks:
        yield name, attempt(task)


def joblib(tasks: Iterator, workers: int | None, threads: int | None) -> Iterator[tuple]:
    """On the cores of this machine, in joblib's processes (loky).

    When a worker dies, all points that were running are lost with it. They run again one at a time: so it shows which
    of them kills its worker.
    """
    from concurrent.futures import FIRST_COMPLETED, wait

    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def start():
        env = {} if threads is None else dict.fromkeys(THREADS, str(threads))
        return ProcessPoolExecutor(max_workers=workers, env=env, initializer=follow, initargs=(os.getpid(),))

    workers = workers or cores()
    pool = start()
    running, suspects, deaths = {}, deque(), Counter()
    try:
        while True:
            alone = bool(suspects)
            broken = False
            for name, task in [suspects.popleft()] if alone else islice(tasks, workers - len(running)):
                try:
                    running[pool.submit(attempt, task)] = (name, task)
                except TerminatedWorkerError:  # by a point submitted a moment ago
                    suspects.append((name, task))
                    broken = True
                    break
            if not running and not broken:
                return
            done = wait(running, return_when=FIRST_COMPLETED).done
            if broken or any(isinstance(future.exception(), TerminatedWorkerError) for future in done):
                done = wait(running).done
                pool.shutdown(kill_workers=True)
                pool = start()
            for future in done:
                name, task = running.pop(future)
                problem = future.exception()
                if problem is None:
                    yield name, future.result()
                    continue
                if not isinstance(problem, TerminatedWorkerError):
                    raise _unusable("worker process", problem)
                deaths[name] += 1
                if alone and deaths[name] >= DEATHS:
                    yield name, _died(DEATHS)
                else:
                    suspects.append((name, task))
    finally:
        pool.shutdown(kill_workers=True)


def dask(tasks: Iterator, workers: int | None, threads: int | None, where) -> Iterator[tuple]:
    """On the workers of a dask cluster, which repeats what a dying worker leaves behind."""
    with connected(where, workers) as client:
        yield from _on_cluster(tasks, workers, client)


def _on_cluster(tasks: Iterator, workers: int | None, client) -> Iterator[tuple]:
    from distributed import KilledWorker, wait

    try:  # a task whose code a worker cannot import would never come back
        client.run(importlib.import_module, _sweep_worker.__name__)
    except ImportError as problem:
        raise RuntimeError(
            f"backend is a cluster whose workers cannot import lib; install it there ({problem})"
        ) from problem
    running = {}
    try:
        while True:
            # Asked anew each time: a cluster may grow. Before its first worker has come, one point waits for it.
            room = workers or max(1, sum(client.nthreads().values()))
            for name, task in islice(tasks, max(0, room - len(running))):
                running[client.submit(attempt, task, pure=False)] = name
            if not running:
                return
            for future in wait(list(running), return_when="FIRST_COMPLETED").done:
                name = running.pop(future)
                problem = future.exception()
                if problem is None:
                    yield name, future.result()
                elif isinstance(problem, KilledWorker):
                    yield name, _died(problem.allowed_failures + 1)
                else:
                    raise _unusable("worker of the cluster", problem)
    finally:
        if running:
            client.cancel(list(running))


@contextmanager
def connected(where, workers: int | None):
    """A client of a cluster: one of this machine's own for ``"dask"``, else that of an address, or the one given.

    Raises
    ------
    ConnectionError
        If nothing answers at the address.
    """
    from distributed import Client, LocalCluster

    if not isinstance(where, str):
        yield where
    elif where == "dask":
        # On the loopback; the scheduler's web server, which has one port for all clusters, takes a free one.
        local = LocalCluster(
            n_workers=workers or cores(),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        )
        with local, Client(local) as client:
            yield client
    else:
        try:
            client = Client(where, timeout=PATIENCE)
        except OSError as problem:
            raise ConnectionError(f"backend is {where!r}, but no dask scheduler answers there ({problem})") from problem
        with client:
            yield client
