"""What a worker of a sweep does: call the function at one point and bring home what JSON can hold.

Workers import this module only, and it imports no library: what a point needs comes with its function.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LoadError", "Task", "attempt", "follow", "plain"]

ALLOWED = "numbers, texts, true, false, None, and lists, arrays, tensors and dictionaries of these"


class LoadError(Exception):
    """A function arrived that cannot be loaded here, because its module is missing for example."""


@dataclass(frozen=True)
class Task:
    """One call of the function of a sweep.

    Attributes
    ----------
    function : callable or bytes
        The function, pickled where it goes to another process.
    arguments : dict
        By name.
    seconds : float or None
        How long it may take.
    threads : int or None
        Threads of torch.
    """

    function: Callable | bytes
    arguments: dict
    seconds: float | None
    threads: int | None


def plain(name: str, value, *, finite: bool = False):
    """A value as JSON gives it back: arrays, tensors and tuples become lists, numpy's numbers Python's.

    Raises
    ------
    ValueError
        If JSON cannot hold it, or if it holds NaN or infinity although they are not allowed.

    Examples
    --------
    >>> import torch
    >>> plain("result", {"loss": torch.tensor(0.5), "curve": (1, 2)})
    {'loss': 0.5, 'curve': [1, 2]}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if finite and not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{name} must have texts for names, got {key!r}")
        return {key: plain(f"{name}[{key!r}]", entry, finite=finite) for key, entry in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain(f"{name}[{place}]", entry, finite=finite) for place, entry in enumerate(value)]
    from lib import checks  # brings torch along

    raise ValueError(f"{name} must be made of {ALLOWED}, got {checks.describe(value)} ({type(value).__name__})")


def attempt(task: Task) -> dict:
    """Compute one point, in whatever process; errors of the function become part of the outcome.

    Raises
    ------
    LoadError
        If the function cannot be loaded in this process.
    """
    function = task.function
    if isinstance(function, bytes):
        try:
            function = pickle.loads(function)
        except Exception as problem:
            raise LoadError(f"{type(problem).__name__}: {problem}") from problem
    started = time.perf_counter()
    try:
        with _Threads(task.threads):
            value = _call(function, task.arguments, task.seconds)
        outcome = {"status": "finished", "result": plain("result", value)}
    except (Exception, SystemExit) as problem:
        outcome = _failure(problem)
    return outcome | {"seconds": round(time.perf_counter() - started, 6)}


def follow(parent: int) -> None:
    """End this process soon after its parent has ended, as a killed sweep cannot tell its workers to stop."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _failure(problem: BaseException) -> dict:
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
    """Threads of torch for the time of a point: as many in every process, or its sums may differ in their last bits.

    A process that has not imported torch yet takes the number from its environment.
    """

    def __init__(self, number: int | None):
        self.torch = sys.modules.get("torch")
        self.number = number

    def __enter__(self):
        if self.torch is not None:
            self.before = self.torch.get_num_threads()
            if self.number is not None:
                self.torch.set_num_threads(self.number)

    def __exit__(self, *problem):
        if self.torch is not None:
            self.torch.set_num_threads(self.before)


def _call(function: Callable, arguments: dict, seconds: float | None):
    """Call the function; after its time is over, stop it at the next line of Python it comes to."""
    if seconds is None:
        return function(**arguments)
    outcome = {}

    def work():
        try:
            outcome["value"] = function(**arguments)
        except BaseException as problem:
            outcome["problem"] = problem

    # A thread of its own can be stopped on every system and in every kind of worker; signals reach main threads only.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    late = thread.is_alive()
    if late:
        _stop(thread)
        thread.join()
    if "value" in outcome:
        return outcome["value"]
    if late and isinstance(outcome.get("problem"), SystemExit):
        raise TimeoutError(f"took more than its {seconds:g} s")
    raise outcome["problem"]


def _stop(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread: what the function catches for its own purposes does not catch this."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
