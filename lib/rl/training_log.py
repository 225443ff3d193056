"""What a training run reports: a plain table with one row for each iteration and member."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lib import checks

__all__ = ["COLUMNS", "TIMING", "TrainingLog", "read_log"]

COLUMNS = (
    "iteration",
    "steps",
    "episode_return",
    "episode_length",
    "episodes",
    "approx_kl",
    "clip_fraction",
    "entropy",
    "explained_variance",
    "data_to_divergence",
    "policy_loss",
    "value_loss",
    "gradient_norm",
    "gradient_steps",
    "learning_rate",
)
"""Columns that the same seed repeats on the same machine.

``steps`` counts environment steps of one member. ``episode_return`` and ``episode_length`` are means over the episodes
that ended in the iteration (NaN without any), ``approx_kl`` is the divergence of the new policy from the one that
collected the data, and ``data_to_divergence`` the transitions collected per unit of it.
"""

TIMING = ("seconds", "steps_per_second")
"""Columns that depend on the machine: wall time since the start, and environment steps of all members a second."""

WHOLE = ("iteration", "steps", "episodes", "gradient_steps")


class TrainingLog:
    """Table of a run, growing by one row for each iteration (and member).

    Parameters
    ----------
    members : int, optional
        Number of seeds trained side by side.

    Attributes
    ----------
    checkpoint : dict or None
        Everything needed to go on from the end of the run; see :func:`lib.rl.ppo.train_ppo`.

    Examples
    --------
    >>> log = TrainingLog()
    >>> log.append({name: [0.5] for name in COLUMNS}, {name: 2.0 for name in TIMING})
    >>> log["approx_kl"]
    tensor([0.5000], dtype=torch.float64)
    """

    def __init__(self, members: int | None = None):
        self.members = members if members is None else checks.integer("members", members, lowest=1)
        self.rows: dict[str, list[list[float]]] = {name: [] for name in COLUMNS}
        self.timing: dict[str, list[float]] = {name: [] for name in TIMING}
        self.checkpoint: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.rows["steps"])

    def __getitem__(self, name: str) -> torch.Tensor:
        """A column, float64: (iterations,), or (iterations, members) of seeds trained side by side."""
        if name in TIMING:
            return torch.tensor(self.timing[name], dtype=torch.float64)
        checks.choice("name", name, (*COLUMNS, *TIMING))
        column = torch.tensor(self.rows[name], dtype=torch.float64).reshape(len(self), self.members or 1)
        return column[:, 0] if self.members is None else column

    def append(self, row: Mapping[str, Sequence[float]], timing: Mapping[str, float]) -> None:
        """Add an iteration: a value for each member in every column, and how long it took."""
        for name in COLUMNS:
            self.rows[name].append(list(row[name]))
        for name in TIMING:
            self.timing[name].append(timing[name])

    def write(self, path: str | os.PathLike) -> None:
        """Write the columns that the seed repeats as a CSV file, from which :func:`read_log` gives the same table."""
        self._write(path, ("member", *COLUMNS), self._lines(), "write")

    def write_timing(self, path: str | os.PathLike) -> None:
        """Write the columns that depend on the machine as a CSV file of their own."""
        self._write(path, TIMING, zip(*(self.timing[name] for name in TIMING)), "write_timing")

    def _lines(self):
        for iteration in range(len(self)):
            for member in range(self.members or 1):
                entries = ((name, self.rows[name][iteration][member]) for name in COLUMNS)
                yield (
                    "" if self.members is None else member,
                    *(int(value) if name in WHOLE else repr(float(value)) for name, value in entries),
                )

    def _write(self, path, header, lines, caller) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(f"path must be the name of a file, got {checks.describe(path)}")
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(lines)

    def state_dict(self) -> dict[str, Any]:
        """The columns that the seed repeats."""
        return {"members": self.members, "rows": {name: [list(row) for row in self.rows[name]] for name in COLUMNS}}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue a table; its timing is not known any more and stands as NaN.

        Raises
        ------
        ValueError
            If it is no table of as many members.
        """
        table = isinstance(saved, dict) and isinstance(saved.get("rows"), dict) and set(saved["rows"]) == set(COLUMNS)
        if not table or saved.get("members") != self.members:
            raise ValueError(f"saved must be a log with members={self.members}, got {checks.describe(saved)}")
        self.rows = {name: [list(row) for row in saved["rows"][name]] for name in COLUMNS}
        self.timing = {name: [float("nan")] * len(self) for name in TIMING}


def read_log(path: str | os.PathLike) -> TrainingLog:
    """Read a table that :meth:`TrainingLog.write` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    TrainingLog
        Without timing.

    Raises
    ------
    ValueError
        If the file cannot be read or is no such table.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"path must be the name of a file, got {checks.describe(path)}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"path must name a log that can be read, got {os.fspath(path)!r}: {problem}") from problem
    header, *lines = csv.reader(text.splitlines()) if text else ([],)
    if tuple(header) != ("member", *COLUMNS) or any(len(line) != len(header) for line in lines):
        raise ValueError(f"path must name a log with the columns member, {', '.join(COLUMNS)}, got {os.fspath(path)!r}")
    named = [line[0] for line in lines]
    members = len(set(named)) or 1
    alone = set(named) <= {""}
    if named != ([""] if alone else [str(member) for member in range(members)]) * (len(lines) // members):
        raise ValueError(f"path must name a log with every member once in each iteration, got {os.fspath(path)!r}")
    try:
        entries = [[float(entry) for entry in line[1:]] for line in lines]
    except ValueError as problem:
        raise ValueError(f"path must name a log of numbers, got {os.fspath(path)!r}: {problem}") from problem
    log = TrainingLog(None if alone else members)
    for start in range(0, len(lines), members):
        columns = zip(*entries[start : start + members])
        log.append(dict(zip(COLUMNS, columns)), dict.fromkeys(TIMING, float("nan")))
    return log
