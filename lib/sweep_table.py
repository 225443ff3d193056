"""The table a sweep streams into: one file of JSON lines, written so that nothing finished is ever lost.

The first line describes the sweep, every further line is one point that has finished or failed::

    {"sweep": 1, "fingerprint": "5d41...", "description": {"function": "curves.train", "grid": {"width": [8, 16]}, ...}}
    {"point": {"width": 8}, "replicate": 0, "seed": 3229768414, "status": "finished", "result": 0.52, "seconds": 1.7}
    {"point": {"width": 16}, "replicate": 0, "seed": 2187712054, "status": "failed", "error": "...", ...}

Lines are only ever appended, each in one write that reaches the disk before the next point is counted as finished. What
a killed process left of its last line is cut off when the sweep goes on. Numbers that are not finite stand as ``NaN``
and ``Infinity``, as Python's own ``json`` reads and writes them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import checks
from lib._sweep_points import canonical, expand

__all__ = ["SweepTable", "read_table"]

FORMAT = 1


@dataclass(frozen=True)
class SweepTable:
    """What a sweep has found so far.

    Attributes
    ----------
    path : Path
        The file.
    description : dict
        Function, grid, seeds, seeding and version of the sweep.
    records : tuple of dict
        One per point that has finished or failed, in the order of the description whatever the order of completion:
        ``point``, ``replicate``, ``seed``, ``status``, ``seconds`` (s), and ``result`` or ``error`` and ``where``.
    """

    path: Path
    description: dict
    records: tuple

    @property
    def finished(self) -> tuple:
        """Records with a result."""
        return tuple(record for record in self.records if record["status"] == "finished")

    @property
    def failed(self) -> tuple:
        """Records with an error."""
        return tuple(record for record in self.records if record["status"] == "failed")

    @property
    def total(self) -> int:
        """Number of points of the whole sweep, each replicate counted."""
        return len(expand(self.description["grid"], self.description["seeds"]))

    @property
    def complete(self) -> bool:
        """Whether every point has a result."""
        return len(self.finished) == self.total

    def columns(self) -> dict[str, np.ndarray]:
        """Finished points as columns: the parameters, ``replicate``, ``seed``, ``seconds``, and the results.

        Returns
        -------
        dict of str to ndarray
            All of one length, in the order of `records`. A result that is a dictionary gives one column per name,
            another one the column ``result``; a name that is taken already becomes ``result.name``. Numbers and lists
            of one shape become numeric arrays, everything else arrays of objects, with None where a name is missing.

        Examples
        --------
        >>> row = {"replicate": 0, "seed": 7, "status": "finished", "seconds": 0.1}
        >>> rows = [{**row, "point": {"width": w}, "result": {"loss": 1 / w}} for w in (2, 4)]
        >>> table = SweepTable(Path("widths.jsonl"), {"grid": {"width": [2, 4]}, "seeds": [0]}, tuple(rows))
        >>> table.columns()["width"], table.columns()["loss"]
        (array([2, 4]), array([0.5 , 0.25]))
        """
        rows = self.finished
        grid = self.description["grid"]
        columns = {name: [row["point"][name] for row in rows] for name in (grid if isinstance(grid, dict) else grid[0])}
        if self.description["seeds"] is not None:
            columns |= {name: [row[name] for row in rows] for name in ("replicate", "seed")}
        columns["seconds"] = [row["seconds"] for row in rows]
        results = [row["result"] if isinstance(row["result"], dict) else {"result": row["result"]} for row in rows]
        for name in dict.fromkeys(name for result in results for name in result):
            columns[f"result.{name}" if name in columns else name] = [result.get(name) for result in results]
        return {name: _column(entries) for name, entries in columns.items()}


def _column(entries: list) -> np.ndarray:
    """Numbers and lists of one shape as a numeric array, everything else as an array of objects."""
    try:
        column = np.array(entries)
    except ValueError:  # lists of unequal length
        column = None
    if column is None or column.dtype.kind not in "biuf":
        column = np.empty(len(entries), dtype=object)
        for place, entry in enumerate(entries):
            column[place] = entry
    return column


def read_table(path) -> SweepTable:
    """Read the table of a sweep, running or not; a last line that is still being written is left out.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    SweepTable

    Raises
    ------
    ValueError
        If there is no such file, or it is not the table of a sweep, or a line of it is damaged.
    """
    path = file_path("path", path)
    if not path.is_file():
        raise ValueError(f"path must be the table of a sweep, but there is no file {path}")
    whole, _ = _split(path.read_bytes())
    if not whole:
        raise ValueError(f"path must be the table of a sweep, but {path} is empty")
    description = _description(path, whole[0])["description"]
    rows = {key_of(row): row for row in _rows(path, whole)}
    order = [canonical(pair) for pair in expand(description["grid"], description["seeds"])]
    return SweepTable(path, description, tuple(rows[key] for key in order if key in rows))


def file_path(name: str, value) -> Path:
    """Check the path of a table and return it."""
    if not isinstance(value, (str, os.PathLike)) or not str(value).strip():
        raise ValueError(f"{name} must be the path of a file, got {checks.describe(value)}")
    path = Path(value)
    if path.is_dir():
        raise ValueError(f"{name} must be the path of a file, got the folder {path}")
    return path


def key_of(row: dict) -> str:
    """The name under which a point is known: its parameters and its replicate."""
    return canonical({"point": row["point"], "replicate": row["replicate"]})


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    """Whole lines of a file, and what a killed writer left of its last one."""
    *whole, rest = content.split(b"\n")
    return whole, rest


def _description(path: Path, line: bytes) -> dict:
    """The first line of a table."""
    try:
        head = json.loads(line)
        known = isinstance(head, dict) and {"sweep", "fingerprint", "description"} <= set(head)
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"table must be the table of a sweep or a new file, but {path} begins with something else")
    if head["sweep"] != FORMAT:
        raise ValueError(f"table must be of format {FORMAT}, but {path} is of format {head['sweep']}")
    return head


def _rows(path: Path, whole: list[bytes]):
    """The points in the whole lines of a table, in the order in which they came."""
    for number, line in enumerate(whole[1:], start=2):
        try:
            row = json.loads(line)
            key_of(row)
        except (ValueError, TypeError, KeyError) as problem:
            raise ValueError(f"table is damaged: line {number} of {path} is no point of a sweep ({problem})") from None
        yield row


class TableWriter:
    """Appends points to a table; the only one that does so while it is open.

    Parameters
    ----------
    path : Path
        The file; it is made if it does not exist.
    fingerprint : str
        Of the sweep.
    description : dict
        Of the sweep.

    Raises
    ------
    ValueError
        If the file holds another sweep or something else, or another process is writing it. It is left as it is.
    """

    def __init__(self, path: Path, fingerprint: str, description: dict):
        self.path = path
        head = {"sweep": FORMAT, "fingerprint": fingerprint, "description": description}
        first = _line(head)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(path, self.file)
            self.rows = self._resume(first, head)
        except BaseException:
            self.close()
            raise

    def _resume(self, first: bytes, head: dict) -> list[dict]:
        content = self.path.read_bytes()
        whole, rest = _split(content)
        if not whole:
            # Only the beginning of our own first line may be written over: anything else is somebody's file.
            if not first.startswith(rest):
                raise ValueError(f"table must be the table of a sweep or a new file, but {self.path} is something else")
            os.ftruncate(self.file, 0)
            self._write(first)
            return []
        found = _description(self.path, whole[0])
        if found["fingerprint"] != head["fingerprint"]:
            differs = [
                f"{name} is {checks.describe(found['description'].get(name))} there and {checks.describe(value)} here"
                for name, value in head["description"].items()
                if found["description"].get(name) != value
            ]
            raise ValueError(f"table belongs to another sweep: in {self.path} {'; '.join(differs)}")
        rows = list(_rows(self.path, whole))
        if rest:
            os.ftruncate(self.file, len(content) - len(rest))
        return rows

    def append(self, row: dict) -> None:
        """Add one point; it is on the disk when this returns."""
        self._write(_line(row))

    def _write(self, line: bytes) -> None:
        while line:  # a disk that is nearly full takes a part, and the next call says why
            line = line[os.write(self.file, line) :]
        os.fsync(self.file)

    def close(self) -> None:
        """Let others write."""
        os.close(self.file)

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.close()


def _line(content: dict) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _lock(path: Path, file: int) -> None:
    """Keep other processes from writing; the system lifts the lock when this one ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing keeps two sweeps apart there
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"table is being written by another run of the sweep: {path}") from None
