"""Sweeps: every point once, the same on every backend, whatever is killed on the way."""

import fcntl
import functools
import itertools
import json
import math
import signal
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import _sweep_backends as backends
from lib.site.layout import ROOT
from lib.sweep import Budget, Sweep, read_table, run
from tests import sweep_functions as functions

PLACES = {"place": list(range(6))}


def lingering(folder, **how):
    """Six points that leave a file per call in the folder."""
    return Sweep(functools.partial(functions.linger, folder=str(folder), **how), PLACES)


def without_seconds(table):
    """What must not depend on the backend."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in table.records]


def lines(path):
    """The points of a table as they stand on the disk."""
    return [json.loads(line) for line in path.read_bytes().splitlines()[1:]]


def squares(table):
    """Places and results of a table."""
    return {record["point"]["place"]: record["result"] for record in table.finished}


def errors(table):
    """Places and errors of a table."""
    return {record["point"]["place"]: record["error"] for record in table.failed}


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes under a dask scheduler, on the loopback only, without a dashboard."""
    with backends.connected("dask", workers=2) as connected:
        yield connected.cluster


@pytest.fixture
def client(cluster):
    """A client of the two workers."""
    from distributed import Client

    with Client(cluster) as connected:
        connected.wait_for_workers(2)
        yield connected


# What a sweep describes

plain_values = st.one_of(
    st.integers(-5, 5), st.booleans(), st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False)
)


def lists_of_values(**sizes):
    return st.lists(plain_values, unique_by=json.dumps, **sizes)


@given(lists_of_values(min_size=1, max_size=4), lists_of_values(min_size=1, max_size=4), st.integers(1, 3))
def test_a_grid_is_all_combinations(widths, depths, replicates):
    sweep = Sweep(functions.draw, {"width": widths, "depth": depths}, seeds=replicates)
    expected = []
    for replicate in range(replicates):
        for width in widths:
            for depth in depths:
                expected.append((replicate, json.dumps(width), json.dumps(depth)))
    found = [(p["replicate"], json.dumps(p["point"]["width"]), json.dumps(p["point"]["depth"])) for p in sweep.points()]
    assert found == expected
    assert sweep.total == len(expected)
    points = [{"depth": depth, "width": width} for width in widths for depth in depths]
    assert Sweep(functions.draw, points, seeds=replicates).points() == sweep.points()


@given(lists_of_values(min_size=2, max_size=4), lists_of_values(min_size=1, max_size=4))
def test_the_fingerprint_is_the_description(widths, depths):
    sweep = Sweep(functions.draw, {"width": widths, "depth": depths}, seeds=2)
    same = Sweep(functions.draw, {"depth": tuple(depths), "width": widths}, seeds=(0, 1), budget=Budget(points=1))
    assert same.fingerprint == sweep.fingerprint
    others = [
        Sweep(functions.draw, {"width": widths[1:], "depth": depths}, seeds=2),
        Sweep(functions.draw, {"width": widths[::-1], "depth": depths}, seeds=3),
        Sweep(functions.draw, {"width": widths, "depth": depths}, seeds=2, seeding="shared"),
        Sweep(functions.draw, {"width": widths, "depth": depths}, seeds=2, version="2"),
        Sweep(functools.partial(functions.draw, depth=1), {"width": widths}, seeds=2),
        Sweep(functools.partial(functions.draw, depth=2), {"width": widths}, seeds=2),
        Sweep(functools.partial(functools.partial(functions.draw, depth=2)), {"width": widths}, seeds=2, version="2"),
    ]
    assert len({sweep.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


@given(lists_of_values(min_size=2, max_size=5), st.integers(1, 4))
def test_a_point_keeps_its_seed_in_every_grid(widths, replicates):
    def seeds(grid, replicates):
        points = Sweep(functions.draw, grid, seeds=replicates).points()
        return {(json.dumps(p["point"], sort_keys=True), p["replicate"]): p["seed"] for p in points}

    whole = seeds({"width": widths, "depth": [1, 2]}, replicates)
    part = seeds({"depth": [2], "width": widths[::-1][:1]}, [replicates - 1])
    assert part.items() <= whole.items()
    assert len(set(whole.values())) == len(whole)
    assert all(0 <= seed < 2**32 for seed in whole.values())


def test_values_of_other_libraries_are_read_as_plain_numbers():
    grid = {"width": np.array([8, 16]), "depth": torch.tensor([0.5, 1.0], dtype=torch.float64)}
    assert Sweep(functions.draw, grid, seeds=1).description["grid"] == {"width": [8, 16], "depth": [0.5, 1.0]}
    assert (
        Sweep(functions.draw, grid, seeds=1).fingerprint
        == Sweep(
            functions.draw, {"width": [np.int64(8), 16], "depth": (np.float64(0.5), 1.0)}, seeds=[np.int64(0)]
        ).fingerprint
    )


def test_shared_seeds_are_those_listed():
    sweep = Sweep(functions.draw, {"width": [1, 2], "depth": [1]}, seeds=[5, 3], seeding="shared")
    assert [point["seed"] for point in sweep.points()] == [5, 5, 3, 3]


def test_the_name_of_a_function_does_not_depend_on_how_its_file_is_run(monkeypatch):
    there = Sweep(functions.draw, {"width": [1], "depth": [1]}, seeds=1)
    assert there.description["function"] == "sweep_functions.draw"
    monkeypatch.setattr(functions.draw, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", functions.__file__, raising=False)
    assert Sweep(functions.draw, {"width": [1], "depth": [1]}, seeds=1).fingerprint == there.fingerprint


@pytest.mark.parametrize(
    ("function", "grid", "seeds", "message"),
    [
        (
            functions.draw,
            {"widht": [1], "depth": [1]},
            1,
            "grid names 'widht', which draw does not take; .* depth",
        ),
        (functions.draw, {"width": [1]}, 1, "grid does not fit draw .*'depth'"),
        (functions.draw, {"width": [1], "depth": [1]}, None, "seeds must be given, as draw takes a seed, got None"),
        (functions.linger, PLACES, 2, "seeds give 'seed', which linger does not take"),
        (functions.draw, {"width": [1], "depth": [1], "seed": [1]}, 2, "grid names 'seed', which is given by seeds"),
        (lambda width: width, {"width": [1]}, None, "function must have a name .* def instead of lambda"),
        (
            functools.partial(functions.draw, depth=object()),
            {"width": [1]},
            1,
            "fixed argument depth must be",
        ),
        (math.exp, {"x": [1]}, None, "grid does not fit exp"),
        (
            functions.draw,
            {"width": [1, 1.0, 1], "depth": [1]},
            1,
            "must hold each value once, got 1 twice",
        ),
    ],
)
def test_what_a_sweep_refuses(function, grid, seeds, message):
    with pytest.raises(ValueError, match=message):
        Sweep(function, grid, seeds)


# Where it is computed

DRAWS = Sweep(functions.draw, {"width": [2, 3], "depth": [1, 4]}, seeds=2)


def test_the_same_table_on_every_backend(tmp_path, cluster, client):
    tables = {
        "serial": run(DRAWS, tmp_path / "serial.jsonl", backend="serial"),
        "joblib": run(DRAWS, tmp_path / "joblib.jsonl", workers=2),
        "client": run(DRAWS, tmp_path / "client.jsonl", backend=client),
        "address": run(DRAWS, tmp_path / "address.jsonl", backend=cluster.scheduler_address),
        "dask": run(DRAWS, tmp_path / "dask.jsonl", backend="dask", workers=1),
    }
    assert all(table.complete for table in tables.values())
    expected = without_seconds(tables["serial"])
    for name, table in tables.items():
        assert without_seconds(table) == expected, name
        unordered = sorted(json.dumps({**line, "seconds": 0}) for line in lines(tmp_path / f"{name}.jsonl"))
        assert unordered == sorted(json.dumps({**record, "seconds": 0}) for record in tables["serial"].records)
    assert client.status == "running"  # it is its owner's


def test_a_result_is_what_the_function_gives(tmp_path):
    table = run(DRAWS, tmp_path / "t.jsonl", backend="serial")
    for record in table.records:
        value = functions.draw(**record["point"], seed=record["seed"])
        assert record["result"]["mean"] == value["mean"].item()
        assert record["result"]["curve"] == value["curve"].tolist()
        assert record["result"]["nested"] == value["nested"]
    assert run(DRAWS, tmp_path / "t.jsonl", backend="serial") == table == read_table(str(tmp_path / "t.jsonl"))


def test_columns(tmp_path):
    table = run(Sweep(functions.draw, {"width": [3], "depth": [1, 4]}, seeds=2), tmp_path / "t.jsonl", backend="serial")
    columns = table.columns()
    assert list(columns) == ["width", "depth", "replicate", "seed", "seconds", "mean", "curve", "nested", "note"]
    assert columns["depth"].tolist() == [1, 4, 1, 4]
    assert columns["replicate"].tolist() == [0, 0, 1, 1]
    assert columns["curve"].shape == (4, 3) and columns["curve"].dtype == np.float64
    assert columns["nested"].dtype == object and columns["nested"][1] == [[3, 4], []]
    assert columns["note"].tolist() == ["3 x 1", "3 x 4"] * 2


def test_columns_whose_names_are_taken_or_missing(tmp_path):
    columns = run(Sweep(functions.same_name, {"width": [1, 2]}), tmp_path / "t.jsonl", backend="serial").columns()
    assert columns["width"].tolist() == [1, 2]
    assert columns["result.width"].tolist() == [-1, -2]
    assert columns["extra"].tolist() == [None, 2]
    assert set(columns) == {"width", "seconds", "result.width", "extra"}


def test_columns_before_anything_is_finished(tmp_path):
    table = run(Sweep(functions.fail, [{"width": 2}], seeds=1), tmp_path / "t.jsonl", backend="serial")
    assert {name: column.shape for name, column in table.columns().items()} == {
        "width": (0,),
        "replicate": (0,),
        "seed": (0,),
        "seconds": (0,),
    }


def not_finite():
    """A run that diverged."""
    return [math.nan, math.inf, torch.tensor(-math.inf)]


def test_numbers_that_are_not_finite_are_kept(tmp_path):
    table = run(Sweep(not_finite, {}), tmp_path / "t.jsonl", backend="serial")
    np.testing.assert_array_equal(table.columns()["result"], [[math.nan, math.inf, -math.inf]])


def threads_of_torch(seed):
    """Threads inside a point."""
    return torch.get_num_threads()


@pytest.mark.parametrize(("threads", "inside"), [(1, 1), (2, 2), (None, 1)])
def test_threads_inside_a_point(tmp_path, threads, inside):
    table = run(Sweep(threads_of_torch, {}, seeds=1), tmp_path / "t.jsonl", backend="serial", threads=threads)
    assert table.finished[0]["result"] == inside
    assert torch.get_num_threads() == 1


# What can be killed


def test_a_worker_of_the_cluster_is_killed_in_the_middle(tmp_path, client):
    table = run(lingering(tmp_path, stop_at=3, death="worker"), tmp_path / "t.jsonl", backend=client)
    assert squares(table) == {place: place**2 for place in range(6)}
    assert len(lines(tmp_path / "t.jsonl")) == 6
    assert functions.calls(tmp_path)["3"] == 2


def test_a_point_that_kills_every_worker_of_the_cluster(tmp_path, cluster, client, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    table = run(lingering(tmp_path, stop_at=3, death="worker"), tmp_path / "t.jsonl", backend=client, workers=1)
    assert [(record["point"], record["error"]) for record in table.failed] == [
        ({"place": 3}, "its worker died 1 times")
    ]
    assert squares(table) == {place: place**2 for place in range(6) if place != 3}
    assert len(lines(tmp_path / "t.jsonl")) == 6


def test_a_process_of_joblib_is_killed_in_the_middle(tmp_path):
    table = run(lingering(tmp_path, stop_at=3, death="worker"), tmp_path / "t.jsonl", workers=2)
    assert squares(table) == {place: place**2 for place in range(6)}
    assert len(lines(tmp_path / "t.jsonl")) == 6
    assert functions.calls(tmp_path)["3"] == 2


def test_a_point_that_kills_every_process_of_joblib(tmp_path):
    table = run(lingering(tmp_path, stop_at=0, death="worker", deaths=9), tmp_path / "t.jsonl", workers=2)
    assert [(record["point"], record["error"]) for record in table.failed] == [
        ({"place": 0}, "its worker died 3 times")
    ]
    assert squares(table) == {place: place**2 for place in range(1, 6)}
    assert functions.calls(tmp_path)["0"] == backends.DEATHS


@pytest.mark.parametrize("backend", ["serial", "joblib"])
def test_a_sweep_is_killed_and_goes_on(tmp_path, backend):
    program = (
        "import sys; from tests import test_sweep as t; from lib.sweep import run; "
        "run(t.lingering(sys.argv[1], stop_at=3), sys.argv[1] + '/t.jsonl', backend=sys.argv[2], workers=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), backend], cwd=ROOT)
    functions.wait_for(tmp_path / "reached", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open(tmp_path / "held") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # waits for the process that computes: it ends with the sweep
    before = (tmp_path / "t.jsonl").read_bytes()
    assert squares(read_table(tmp_path / "t.jsonl")) == {0: 0, 1: 1, 2: 4}
    functions.appear(tmp_path / "gate")
    table = run(lingering(tmp_path, stop_at=3), tmp_path / "t.jsonl", backend="serial")
    assert squares(table) == {place: place**2 for place in range(6)}
    assert (tmp_path / "t.jsonl").read_bytes().startswith(before)
    assert functions.calls(tmp_path) == {"0": 1, "1": 1, "2": 1, "3": 2, "4": 1, "5": 1}


def interrupted(place):
    """The reader presses Ctrl-C at the third point."""
    if place == 2:
        raise KeyboardInterrupt
    return place


def test_an_interrupt_keeps_what_is_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Sweep(interrupted, PLACES), tmp_path / "t.jsonl", backend="serial")
    assert squares(read_table(tmp_path / "t.jsonl")) == {0: 0, 1: 1}


@pytest.fixture(scope="module")
def whole_table(tmp_path_factory):
    """A finished table, byte for byte."""
    path = tmp_path_factory.mktemp("whole") / "t.jsonl"
    run(Sweep(functions.same_name, {"width": [1, 2, 3]}), path, backend="serial")
    return path.read_bytes()


@given(data=st.data())
@settings(max_examples=40)
def test_a_table_torn_anywhere_is_repaired(data, whole_table, tmp_path_factory):
    cut = data.draw(st.integers(0, len(whole_table)))
    path = tmp_path_factory.mktemp("torn") / "t.jsonl"
    path.write_bytes(whole_table[:cut])
    if b"\n" in whole_table[:cut]:
        assert len(read_table(path).records) == whole_table[:cut].count(b"\n") - 1
    kept = whole_table[: whole_table.rfind(b"\n", 0, cut) + 1]
    table = run(Sweep(functions.same_name, {"width": [1, 2, 3]}), path, backend="serial")
    assert table.complete
    assert path.read_bytes().startswith(kept)
    assert [line["point"]["width"] for line in lines(path)] == [1, 2, 3]


# What can fail


def test_failures_are_recorded_and_repeated_when_asked(tmp_path, monkeypatch):
    sweep = Sweep(functions.fail, {"width": [1, 2, 4]}, seeds=1)
    table = run(sweep, tmp_path / "t.jsonl", backend="serial")
    assert table.columns()["result"].tolist() == [1.0, 0.25]
    assert not table.complete
    (failed,) = table.failed
    assert failed["point"] == {"width": 2}
    assert failed["error"] == "ZeroDivisionError: no width 2 today"
    assert failed["where"].startswith("sweep_functions.py, line ") and failed["where"].endswith(", in fail")

    monkeypatch.setattr(functions, "CLOSED", ())
    assert run(sweep, tmp_path / "t.jsonl", backend="serial") == table
    table = run(sweep, tmp_path / "t.jsonl", backend="serial", retry_failed=True)
    assert table.columns()["result"].tolist() == [1.0, 0.5, 0.25]
    assert table.complete and table.failed == ()
    assert [line["point"]["width"] for line in lines(tmp_path / "t.jsonl")] == [1, 2, 4, 2]


def odd(kind):
    """Results that no table holds, and other ways to go."""
    if kind == "exit":
        raise SystemExit(3)
    return {"complex": 1j, "set": {"loss": {1, 2}}, "numbers for names": {1: 2}, "fine": None}[kind]


def test_results_that_no_table_holds(tmp_path):
    kinds = ["complex", "set", "numbers for names", "exit", "fine"]
    table = run(Sweep(odd, {"kind": kinds}), tmp_path / "t.jsonl", backend="serial")
    errors = [record["error"] for record in table.failed]
    assert errors[0].startswith("ValueError: result must be made of numbers, texts,") and "1j (complex)" in errors[0]
    assert errors[1].startswith("ValueError: result['loss'] must be made of") and errors[1].endswith("{1, 2} (set)")
    assert errors[2] == "ValueError: result must have texts for names, got 1"
    assert errors[3] == "SystemExit: 3"
    assert [record["result"] for record in table.finished] == [None]


def test_functions_that_cannot_leave_the_process(tmp_path, client):
    lock = threading.Lock()

    def held(place):
        with lock:
            return place

    sweep = Sweep(held, PLACES)
    for backend in ("joblib", client):
        with pytest.raises(ValueError, match=r'function cannot be sent to another process .* backend="serial"'):
            run(sweep, tmp_path / "t.jsonl", backend=backend)
    assert not (tmp_path / "t.jsonl").exists()
    assert run(sweep, tmp_path / "t.jsonl", backend="serial").complete


def test_functions_that_no_worker_can_import(tmp_path, client, monkeypatch):
    module = types.ModuleType("only_here")
    exec("def square(place):\n    return place**2", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    for backend, message in (("joblib", "worker process"), (client, "worker of the cluster")):
        with pytest.raises(
            RuntimeError, match=f"a {message} cannot load the function: ModuleNotFoundError: No module named"
        ):
            run(Sweep(module.square, PLACES), tmp_path / "t.jsonl", backend=backend, workers=1)
    assert read_table(tmp_path / "t.jsonl").records == ()


def test_without_dask(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for backend in ("dask", "tcp://127.0.0.1:8786"):
        with pytest.raises(ImportError, match=r"backend='.*' needs dask: pip install \"living-models\[cluster\]\""):
            run(DRAWS, tmp_path / "t.jsonl", backend=backend)


def test_without_a_scheduler(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "PATIENCE", "50ms")
    with pytest.raises(
        ConnectionError, match=r"backend is 'tcp://127\.0\.0\.1:1', but no dask scheduler answers there"
    ):
        run(DRAWS, tmp_path / "t.jsonl", backend="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"sweep": functions.draw}, "sweep must be a Sweep"),
        ({"table": 3}, "table must be the path of a file, got 3"),
        ({"table": ""}, "table must be the path of a file, got ''"),
        ({"table": ROOT}, "table must be the path of a file, got the folder"),
        ({"backend": "ray"}, "backend must be 'joblib', 'serial', 'dask', the address .* got 'ray'"),
        ({"backend": None}, "backend must be"),
        ({"workers": 0}, "workers must be an integer of at least 1"),
        ({"retry_failed": "yes"}, "retry_failed must be True or False"),
        ({"threads": 0}, "threads must be an integer of at least 1"),
        ({"progress": "print"}, "progress must be callable or None"),
        ({"clock": 3}, "clock must be callable"),
    ],
)
def test_bad_arguments_of_run(tmp_path, replaced, message):
    with pytest.raises(ValueError, match=message):
        run(**{"sweep": DRAWS, "table": tmp_path / "t.jsonl", "backend": "serial"} | replaced)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"width,loss\n8,0.5\n", b'{"sweep": 1}\n', b"notes", b"[]\n", b"\xff\xfe\n", b"\n"]
)
def test_other_files_are_left_alone(tmp_path, content):
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="table must be the table of a sweep or a new file"):
        run(DRAWS, path, backend="serial")
    assert path.read_bytes() == content


def test_a_table_of_another_sweep_is_refused(tmp_path, whole_table):
    path = tmp_path / "t.jsonl"
    path.write_bytes(whole_table + b'{"torn')
    sweep = Sweep(functions.same_name, {"width": [1, 2, 4]}, version="2")
    message = r"grid is {'width': \[1, 2, 3\]} there and {'width': \[1, 2, 4\]} here; version is '' there and '2' here"
    with pytest.raises(ValueError, match=f"table belongs to another sweep: in .*t.jsonl {message}"):
        run(sweep, path, backend="serial")
    assert path.read_bytes() == whole_table + b'{"torn'


def test_a_damaged_table_names_the_line(tmp_path, whole_table):
    path = tmp_path / "t.jsonl"
    path.write_bytes(whole_table.replace(b'{"point": {"width": 2}', b'{"width": 2'))
    with pytest.raises(ValueError, match="table is damaged: line 3 of"):
        run(Sweep(functions.same_name, {"width": [1, 2, 3]}), path, backend="serial")
    with pytest.raises(ValueError, match="table is damaged: line 3 of"):
        read_table(path)
    path.write_bytes(whole_table.replace(b'{"sweep": 1', b'{"sweep": 2'))
    with pytest.raises(ValueError, match=r"table must be of format 1, but .* is of format 2"):
        read_table(path)


def test_bad_paths_of_tables_to_read(tmp_path):
    for path, message in ((3, "got 3"), (tmp_path, "got the folder"), (tmp_path / "none", "there is no file")):
        with pytest.raises(ValueError, match=f"path must be .*{message}"):
            read_table(path)
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=r"path must be the table of a sweep, but .* is empty"):
        read_table(tmp_path / "empty")


def test_two_runs_do_not_write_one_table(tmp_path):
    path = tmp_path / "t.jsonl"

    def second(done, total, note):
        with pytest.raises(ValueError, match="table is being written by another run of the sweep"):
            run(DRAWS, path, backend="serial")

    assert run(DRAWS, path, backend="serial", progress=second).complete


# What limits a run


def test_a_budget_of_points(tmp_path):
    sweep = Sweep(functions.same_name, {"width": [1, 2, 3, 4, 5]}, budget=Budget(points=2))
    found = [len(run(sweep, tmp_path / "t.jsonl", backend="serial").finished) for _ in range(3)]
    assert found == [2, 4, 5]


@pytest.mark.parametrize("backend", ["serial", "joblib"])
def test_a_budget_of_seconds(tmp_path, backend):
    sweep = Sweep(functions.same_name, {"width": [1, 2, 3, 4, 5]}, budget=Budget(seconds=3))
    clock = itertools.count().__next__  # asked once at the start and once before every point
    assert len(run(sweep, tmp_path / "t.jsonl", backend=backend, workers=2, clock=clock).finished) == 2
    assert len(run(sweep, tmp_path / "t.jsonl", backend="serial", clock=lambda: 0).finished) == 5


def test_a_budget_of_seconds_per_point(tmp_path, client):
    sweep = Sweep(functions.endless, {"place": [0, 1, 2, 3]}, budget=Budget(seconds_per_point=0.2))
    for backend in ("serial", client):
        table = run(sweep, tmp_path / f"{type(backend).__name__}.jsonl", backend=backend)
        assert [record["error"] for record in table.failed] == [
            "TimeoutError: took more than its 0.2 s",
            "LookupError: gone",
        ]
        assert table.columns()["result"].tolist() == [0, 3]


def test_progress_counts_the_points_of_this_run(tmp_path):
    seen = []
    sweep = Sweep(functions.fail, {"width": [1, 2, 4]}, seeds=2, budget=Budget(points=4))
    run(sweep, tmp_path / "t.jsonl", backend="serial", progress=lambda *now: seen.append(now))
    assert seen == [(1, 4, ""), (2, 4, "1 failed"), (3, 4, "1 failed"), (4, 4, "1 failed")]
    run(sweep, tmp_path / "t.jsonl", backend="serial", progress=lambda *now: seen.append(now))
    assert seen[4:] == [(1, 2, "1 failed"), (2, 2, "1 failed")]
    run(sweep, tmp_path / "t.jsonl", backend="serial", progress=lambda *now: seen.append(now))
    assert len(seen) == 6


def test_importing_sweeps_starts_no_engine():
    code = "import sys, lib.sweep; print(*(name for name in ('joblib', 'dask', 'distributed') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
