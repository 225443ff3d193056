"""Where the points of a sweep are computed: in this process, on the cores of this machine, on a cluster.

Each backend takes tasks from an iterator only when it has room for them, so that a budget can stop the flow, and gives
back each task with its outcome as soon as it is known, in any order.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lib._sweep_points import plain

__all__ = ["Task", "attempt", "dask", "joblib", "serial"]

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

DEATHS = 3
"""A point that has taken that many workers with it is counted as failed; dask's own number of allowed failures."""


@dataclass(frozen=True)
class Task:
    """One call of the function of a sweep: arguments by name, limit in seconds or None, threads of torch or None."""

    function: Callable
    arguments: dict
    seconds: float | None
    threads: int | None


def attempt(task: Task) -> dict:
    """Compute one point, in whatever process; errors of the function become part of the outcome."""
    started = time.perf_counter()
    try:
        with _Threads(task.threads):
            value = _call(task)
        outcome = {"status": "finished", "result": plain("result", value)}
    except (Exception, SystemExit) as problem:
        outcome = failure(problem)
    return outcome | {"seconds": round(time.perf_counter() - started, 6)}


def failure(problem: BaseException) -> dict:
    """An error as part of a record: what it says, and the line that raised it."""
    outcome = {"status": "failed", "error": f"{type(problem).__name__}: {problem}"}
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        code = trace.tb_frame.f_code
        outcome["where"] = f"{Path(code.co_filename).name}, line {trace.tb_lineno}, in {code.co_name}"
    return outcome


class _Threads:
    """Threads of torch for the time of a point: as many in every process, or its sums may differ in their last bits."""

    def __init__(self, number: int | None):
        self.number = number

    def __enter__(self):
        import torch

        self.before = torch.get_num_threads()
        if self.number is not None and self.number != self.before:
            torch.set_num_threads(self.number)

    def __exit__(self, *problem):
        import torch

        if torch.get_num_threads() != self.before:
            torch.set_num_threads(self.before)


def _call(task: Task):
    """Call the function; after its time is over, stop it at the next line of Python it comes to."""
    if task.seconds is None:
        return task.function(**task.arguments)
    outcome = {}

    def work():
        try:
            outcome["value"] = task.function(**task.arguments)
        except BaseException as problem:
            outcome["problem"] = problem

    # A thread of its own can be stopped on every system and in every kind of worker; signals reach main threads only.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(task.seconds)
    late = thread.is_alive()
    if late:
        _stop(thread)
        thread.join()
    if "value" in outcome:
        return outcome["value"]
    if late and isinstance(outcome.get("problem"), SystemExit):
        raise TimeoutError(f"took more than its {task.seconds:g} s") from None
    raise outcome["problem"]


def _stop(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread: what the function catches for its own purposes does not catch this."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def serial(tasks: Iterator, workers: int | None) -> Iterator[tuple]:
    """One point after the other in this process."""
    for name, task in tasks:
        yield name, attempt(task)


def joblib(tasks: Iterator, workers: int | None) -> Iterator[tuple]:
    """On the cores of this machine, in joblib's processes (loky).

    When a worker dies, all points that were running are lost with it. They run again one at a time: so it shows which
    of them kills its worker.
    """
    from concurrent.futures import FIRST_COMPLETED, wait

    import joblib as engine
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def start():
        return ProcessPoolExecutor(max_workers=workers, env=dict.fromkeys(THREADS, "1"))

    workers = workers or engine.cpu_count()
    pool = start()
    running, suspects, deaths = {}, deque(), Counter()
    try:
        while True:
            alone = bool(suspects)
            chosen = [suspects.popleft()] if alone else islice(tasks, workers - len(running))
            for name, task in chosen:
                running[pool.submit(attempt, task)] = (name, task)
            if not running:
                return
            done = wait(running, return_when=FIRST_COMPLETED).done
            if any(isinstance(future.exception(), TerminatedWorkerError) for future in done):
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
                    raise RuntimeError(f"a worker process cannot compute a point: {problem}") from problem
                deaths[name] += 1
                if alone and deaths[name] >= DEATHS:
                    yield name, failure(problem) | {"error": f"the worker process died {DEATHS} times", "seconds": None}
                else:
                    suspects.append((name, task))
    finally:
        pool.shutdown(kill_workers=True)


def dask(tasks: Iterator, workers: int | None, client) -> Iterator[tuple]:
    """On the workers of a dask cluster, which repeats what a dying worker leaves behind."""
    from distributed import KilledWorker, wait

    running = {}
    try:
        while True:
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
                    yield name, failure(problem) | {"seconds": None}
                else:
                    raise RuntimeError(f"a worker of the cluster cannot compute a point: {problem}") from problem
    finally:
        if running:
            client.cancel(list(running))
