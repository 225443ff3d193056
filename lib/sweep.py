"""Sweeps: one description of many runs, computed on the cores of this machine or on a cluster, kept in one table.

A sweep is a function, the values of its parameters, seeds and a budget. It runs on the local cores by default (joblib)
and on a cluster when one argument says so (dask). Every point that is done is at once a line of a table on disk
(:mod:`lib.sweep_table`): a sweep that was killed goes on where it stopped.

>>> import tempfile
>>> from pathlib import Path
>>> def halving(width, seed):
...     return {"loss": 1 / width, "starts": seed % 2}
...
>>> sweep = Sweep(halving, {"width": [2, 4, 8]}, seeds=2)
>>> with tempfile.TemporaryDirectory() as folder:
...     table = run(sweep, Path(folder) / "halving.jsonl", backend="serial")
...
>>> table.complete, table.columns()["loss"]
(True, array([0.5  , 0.25 , 0.125, 0.5  , 0.25 , 0.125]))
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lib import _sweep_backends as backends
from lib import checks
from lib._sweep_points import canonical, expand, read_grid, seed_of
from lib._sweep_worker import Task, plain
from lib.progress import ProgressBar
from lib.sweep_table import SweepTable, TableWriter, file_path, key_of, read_table

__all__ = ["Budget", "Sweep", "SweepTable", "read_table", "run"]

ADDRESS = re.compile(r"([a-z]+://)?[^\s/]+:\d+")
"""A scheduler's, such as ``tcp://host:8786``."""


@dataclass(frozen=True)
class Budget:
    """When a run of a sweep stops; the next run of it goes on. None is no limit.

    Attributes
    ----------
    points : int, optional
        Points to compute in this run, at least 1.
    seconds : float, optional
        No point is started when the run has taken that long (s); those that are running are finished.
    seconds_per_point : float, optional
        A point that takes longer (s) fails. It is stopped at the next line of Python it comes to, so a single call of
        a compiled function is waited for.

    Raises
    ------
    ValueError
        If a limit is not above zero.

    Examples
    --------
    >>> Budget(seconds=600, seconds_per_point=30)
    Budget(points=None, seconds=600, seconds_per_point=30)
    """

    points: int | None = None
    seconds: float | None = None
    seconds_per_point: float | None = None

    def __post_init__(self):
        if self.points is not None:
            checks.integer("points", self.points, lowest=1)
        for name in ("seconds", "seconds_per_point"):
            if getattr(self, name) is not None:
                checks.real_number(name, getattr(self, name), lowest=0, open_below=True)


@dataclass(frozen=True)
class Sweep:
    """What is computed: a function at every point of a grid, for every seed.

    Parameters
    ----------
    function : callable
        Called with the parameters of a point by name, and with ``seed`` if there are seeds. It has a name (no lambda)
        and returns numbers, texts, true, false, None, or lists, arrays, tensors and dictionaries of these. A
        ``functools.partial`` fixes parameters that do not vary.
    grid : dict or list of dict
        Parameter -> list of its values, all combinations of which are points; or the points themselves, each a
        dictionary parameter -> value.
    seeds : int or list of int, optional
        Replicates of every point: a list of numbers, or how many (0, 1, ...). None calls the function once per point
        and without ``seed``.
    budget : Budget, optional
        When a run stops.
    seeding : {"independent", "shared"}
        ``"independent"`` gives each point and replicate a seed of its own, below 2^32, made from the parameters and
        the replicate: it depends neither on the backend nor on the order nor on the rest of the grid. ``"shared"``
        gives the numbers in `seeds` themselves, so that all points share their random numbers.
    version : str
        Part of the description, to be changed when the function changes what it returns.

    Attributes
    ----------
    description : dict
        All but function and budget as plain data, with the function's name.
    fingerprint : str
        SHA-256 of the description: a table belongs to one sweep.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, or the function cannot be called with these parameters.

    Examples
    --------
    >>> def train(width, depth, seed):
    ...     return width * depth
    ...
    >>> Sweep(train, {"width": [8, 16], "depth": [1, 2]}, seeds=3).total
    12
    >>> Sweep(train, {"widht": [8, 16], "depth": [1, 2]}, seeds=3)
    Traceback (most recent call last):
        ...
    ValueError: grid names 'widht', which train does not take; its parameters: width, depth, seed
    """

    function: Callable
    grid: dict | list
    seeds: int | list | None = None
    budget: Budget | None = None
    seeding: str = "independent"
    version: str = ""

    def __post_init__(self):
        name = _function_name(self.function)
        grid = read_grid(self.grid)
        seeds = _read_seeds(self.seeds)
        if self.budget is not None and not isinstance(self.budget, Budget):
            raise ValueError(f"budget must be a Budget or None, got {checks.describe(self.budget)}")
        checks.choice("seeding", self.seeding, ("independent", "shared"))
        if not isinstance(self.version, str):
            raise ValueError(f"version must be a text, got {checks.describe(self.version)}")
        parameters = list(grid if isinstance(grid, dict) else grid[0])
        _check_call(self.function, parameters, seeds is not None)
        description = {"function": name, "grid": grid, "seeds": seeds, "seeding": self.seeding, "version": self.version}
        if isinstance(self.function, functools.partial):
            description["fixed"] = _fixed(self.function)
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "fingerprint", hashlib.sha256(canonical(description).encode()).hexdigest())

    def __hash__(self):
        return hash(self.fingerprint)

    @property
    def total(self) -> int:
        """Number of points, each replicate counted."""
        return len(self.points())

    def points(self) -> list[dict]:
        """All points in their order: dictionaries with ``point``, ``replicate`` and ``seed``."""
        pairs = expand(self.description["grid"], self.description["seeds"])
        return [pair | {"seed": seed_of(pair, self.seeding)} for pair in pairs]


def run(
    sweep: Sweep,
    table,
    *,
    backend="joblib",
    workers: int | None = None,
    retry_failed: bool = False,
    threads: int | None = 1,
    progress: Callable | str | None = "bar",
    clock: Callable[[], float] = time.monotonic,
) -> SweepTable:
    """Compute the points of a sweep that its table does not hold yet.

    Parameters
    ----------
    sweep : Sweep
        What to compute.
    table : str or path
        File the points are written to as they finish; made if it does not exist. A table of another sweep is refused.
    backend : {"joblib", "serial", "dask"}, str or distributed.Client
        ``"joblib"``: processes on this machine. ``"serial"``: this process. ``"dask"``: a cluster of dask workers on
        this machine, for this run. The address of a dask scheduler (``"tcp://host:8786"``) or a client: its cluster,
        on whose workers `lib` and the function's module can be imported.
    workers : int, optional
        Points computed at once; by default one per core, or per thread of the cluster's workers.
    retry_failed : bool
        Whether points that have failed before are computed again. Their new record takes the place of the old one.
    threads : int or None
        Threads of torch inside a point. One is best where as many points as cores run at once, and makes sums the
        same on every machine; None leaves torch's own number.
    progress : callable, "bar" or None
        Called with (done, total, note) for the points of this run; a progress bar by default.
    clock : callable
        Seconds, for the budget.

    Returns
    -------
    SweepTable
        All that the table holds now, earlier runs included.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, the table belongs to another sweep, or the function cannot be sent to
        another process.
    ImportError
        If a cluster is asked for and dask is not installed.
    ConnectionError
        If no scheduler answers at the address.

    Notes
    -----
    A point whose function raises is recorded as failed, with the error, and the others go on. A point that was running
    when its worker died runs again; one that takes worker after worker with it is recorded as failed.
    """
    if not isinstance(sweep, Sweep):
        raise ValueError(f"sweep must be a Sweep, got {checks.describe(sweep)}")
    path = file_path("table", table)
    if workers is not None:
        checks.integer("workers", workers, lowest=1)
    checks.flag("retry_failed", retry_failed)
    if threads is not None:
        checks.integer("threads", threads, lowest=1)
    if progress != "bar":
        checks.callback("progress", progress)
    if not callable(clock):
        raise ValueError(f"clock must be callable, got {checks.describe(clock)}")
    compute = _backend(backend)
    function = sweep.function if compute is backends.serial else _pickled(sweep.function)
    bar = ProgressBar("points") if progress == "bar" else progress
    budget = sweep.budget or Budget()
    settled = ("finished",) if retry_failed else ("finished", "failed")
    with TableWriter(path, sweep.fingerprint, sweep.description) as writer:
        held = {key_of(row): row["status"] for row in writer.rows}
        points = [point for point in sweep.points() if held.get(key_of(point)) not in settled][: budget.points]
        if points:
            tasks = _tasks(function, points, budget, threads, clock)
            failed = 0
            with contextlib.closing(compute(tasks, workers, threads)) as outcomes:  # no worker outlives an error
                for done, (place, outcome) in enumerate(outcomes, start=1):
                    writer.append(points[place] | outcome)
                    failed += outcome["status"] == "failed"
                    if bar is not None:
                        bar(done, len(points), f"{failed} failed" if failed else "")
    return read_table(path)


def _tasks(function, points: list, budget: Budget, threads: int | None, clock) -> Iterator[tuple]:
    """Places of points and what to do there, as long as the run has time."""
    started = clock()
    for place, point in enumerate(points):
        if budget.seconds is not None and clock() - started >= budget.seconds:
            return
        seed = {} if point["seed"] is None else {"seed": point["seed"]}
        yield place, Task(function, point["point"] | seed, budget.seconds_per_point, threads)


def _backend(backend) -> Callable:
    """The function that computes tasks, for the argument of `run`."""
    if isinstance(backend, str) and backend in ("joblib", "serial"):
        return getattr(backends, backend)
    named = isinstance(backend, str) and (backend == "dask" or ADDRESS.fullmatch(backend))
    if named:
        try:
            import distributed  # noqa: F401
        except ImportError as problem:
            raise ImportError(
                f'backend={backend!r} needs dask: pip install "living-models[cluster]" ({problem})'
            ) from problem
    if named or _is_client(backend):
        return functools.partial(backends.dask, where=backend)
    raise ValueError(
        "backend must be 'joblib', 'serial', 'dask', the address of a dask scheduler such as 'tcp://host:8786', "
        f"or a dask client that is connected and not asynchronous, got {checks.describe(backend)}"
    )


def _is_client(backend) -> bool:
    """Whether it is a client of dask that can be used; who has one has imported dask."""
    distributed = sys.modules.get("distributed")
    known = distributed is not None and isinstance(backend, distributed.Client)
    return known and backend.status == "running" and not backend.asynchronous


def _function_name(function) -> str:
    """Module and name of a function, by which a table knows it."""
    while isinstance(function, functools.partial):
        function = function.func
    if not callable(function):
        raise ValueError(f"function must be callable, got {checks.describe(function)}")
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if name.endswith("<lambda>"):
        raise ValueError("function must have a name that its table can record; write def instead of lambda")
    module = getattr(function, "__module__", None) or type(function).__module__
    if module == "__main__":  # the same function whether its file is run or imported
        module = Path(getattr(sys.modules["__main__"], "__file__", None) or module).stem
    return f"{module.rpartition('.')[2]}.{name}"


def _fixed(function: functools.partial) -> dict:
    """Parameters fixed by a partial, nested ones too, as plain data."""
    names = [f"function's fixed argument {place}" for place in range(len(function.args))]
    fixed = {
        "arguments": [plain(name, value, finite=True) for name, value in zip(names, function.args)],
        "keywords": {
            name: plain(f"function's fixed argument {name}", value, finite=True)
            for name, value in function.keywords.items()
        },
    }
    if isinstance(function.func, functools.partial):
        fixed["inside"] = _fixed(function.func)
    return fixed


def _read_seeds(seeds) -> list | None:
    """Replicates as a list of different numbers from 0 on."""
    if seeds is None:
        return None
    if not isinstance(seeds, (list, tuple, range)):
        return list(range(checks.integer("seeds", seeds, lowest=1)))
    read = [checks.integer("seeds", seed, lowest=0, highest=2**32 - 1) for seed in seeds]
    if not read or len(set(read)) < len(read):
        raise ValueError(f"seeds must be different numbers, at least one, got {checks.describe(seeds)}")
    return read


def _check_call(function, parameters: list, seeded: bool) -> None:
    """Refuse a grid that the function cannot be called with."""
    if seeded and "seed" in parameters:
        raise ValueError("grid names 'seed', which is given by seeds; leave one of them out")
    given = [*parameters, "seed"] if seeded else parameters
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C do not say what they take
        return
    try:
        signature.bind(**dict.fromkeys(given))
    except TypeError as problem:
        name = _function_name(function).rpartition(".")[2]
        takes = ", ".join(signature.parameters) or "none"
        for parameter in given:
            if parameter not in signature.parameters:
                source = "seeds give" if parameter == "seed" and seeded else "grid names"
                raise ValueError(
                    f"{source} {parameter!r}, which {name} does not take; its parameters: {takes}"
                ) from None
        if not seeded and "'seed'" in str(problem):
            raise ValueError(f"seeds must be given, as {name} takes a seed, got None") from None
        raise ValueError(f"grid does not fit {name} ({problem}); its parameters: {takes}") from None


def _pickled(function) -> bytes:
    """The function as it goes to other processes; refused if it holds what cannot leave this one."""
    from joblib.externals.loky.backend.reduction import dumps

    try:
        return bytes(dumps(function))
    except Exception as problem:
        raise ValueError(
            f"function cannot be sent to another process ({problem}); define it at the top of a module, without open "
            'files, locks or generators around it, or use backend="serial"'
        ) from None
