"""Measurements made outside the build: too long, too large, or on hardware the build does not have.

Each run is one file, ``results/<slug>/<run>.json``, written by the command that made it and never edited by hand::

    {
      "values": {"share_overturned": 0.0312, "seconds_per_step": [0.011, 0.012]},
      "device": "NVIDIA H100",
      "date": "2026-11-22",
      "commit": "3f2a9c1",
      "command": "python benchmarks/leslie.py --systems 1000000",
      "seconds": 41.5,
      "seeds": [0, 1, 2],
      "note": "float32"
    }

A `Measurement` carries one of the values together with the circumstances of its run, so that a page cannot show the one
without the other.
"""

import datetime
import json
import math
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Measurement", "measured_elsewhere", "shipped", "write"]

REQUIRED = ("values", "device", "date", "commit", "command", "seconds", "seeds")
OPTIONAL = ("note",)


def shipped(folder):
    """Find a folder of the book's records (``"claims"`` or ``"results"``).

    Three places are tried in order: the book that is being built (``LIVING_MODELS_ROOT``, set by the Sphinx extension),
    the copy inside an installed package, and the repository that `lib` is imported from.

    Parameters
    ----------
    folder : str
        Name of the folder.

    Returns
    -------
    pathlib.Path
        The folder. It need not exist.
    """
    package = Path(__file__).resolve().parent
    book = os.environ.get("LIVING_MODELS_ROOT")
    if book:
        return Path(book) / folder
    installed = package / "shipped" / folder
    if installed.is_dir():
        return installed
    return package.parent / folder


@dataclass(frozen=True)
class Measurement:
    """One value and the circumstances of the run that produced it.

    Attributes
    ----------
    value : float, bool or tuple of float
        What was measured.
    device, date, commit, command : str
        Where, when (ISO date), from which commit and by which command.
    seconds : float
        Wall time of the whole run in seconds.
    seeds : tuple of int
        Seeds of the run.
    source : str
        The file, relative to the repository.
    note : str
        What else a reader should know.
    """

    value: object
    device: str
    date: str
    commit: str
    command: str
    seconds: float
    seeds: tuple
    source: str
    note: str = ""

    def circumstances(self):
        """Say in one line where the number comes from.

        Examples
        --------
        >>> run = Measurement(0.03, "NVIDIA H100", "2026-11-22", "3f2a9c1", "make gpu", 41.5, (0,), "results/a/b.json")
        >>> run.circumstances()
        'NVIDIA H100, 2026-11-22, commit 3f2a9c1, 41.5 s'
        """
        return f"{self.device}, {self.date}, commit {self.commit}, {self.seconds:g} s"


def _refuse(source, field, got, allowed):
    raise ValueError(f"{source}: field '{field}' is {got!r}; allowed: {allowed}")


def _finite(number):
    return isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)


def _check_value(source, name, value):
    if isinstance(value, bool) or _finite(value):
        return value
    if isinstance(value, list) and value and all(_finite(entry) for entry in value):
        return tuple(value)
    return _refuse(source, f"values.{name}", value, "a finite number, true or false, or a list of finite numbers")


def _check_run(source, run):
    if not isinstance(run, dict):
        raise ValueError(f"{source}: holds {type(run).__name__}; allowed: one JSON object")
    for field in REQUIRED:
        if field not in run:
            raise ValueError(f"{source}: field '{field}' is missing; required: {', '.join(REQUIRED)}")
    for field in run:
        if field not in REQUIRED + OPTIONAL:
            raise ValueError(f"{source}: field '{field}' is unknown; allowed: {', '.join(REQUIRED + OPTIONAL)}")
    for field in ("device", "commit", "command"):
        if not isinstance(run[field], str) or not run[field].strip():
            _refuse(source, field, run[field], "a non-empty text")
    try:
        datetime.date.fromisoformat(run["date"])
    except (TypeError, ValueError):
        _refuse(source, "date", run["date"], "a date such as 2026-11-22")
    if not _finite(run["seconds"]) or run["seconds"] < 0:
        _refuse(source, "seconds", run["seconds"], "a number of seconds, zero or more")
    seeds = run["seeds"]
    if not isinstance(seeds, list) or any(isinstance(seed, bool) or not isinstance(seed, int) for seed in seeds):
        _refuse(source, "seeds", seeds, "a list of integers")
    if not isinstance(run["values"], dict) or not run["values"]:
        _refuse(source, "values", run["values"], "an object that names at least one value")
    for name, value in run["values"].items():
        _check_value(source, name, value)


def measured_elsewhere(slug, run, name):
    """Read one value that was measured outside the build.

    Parameters
    ----------
    slug : str
        Chapter, such as ``"leslie"``.
    run : str
        Name of the file in ``results/<slug>/`` without its suffix.
    name : str
        Name of the value inside the file.

    Returns
    -------
    Measurement
        The value with its device, date, commit, command, seconds and seeds.

    Raises
    ------
    ValueError
        If there is no such file or value, or the file lacks a field or holds a bad one.
    """
    source = f"results/{slug}/{run}.json"
    path = shipped("results") / slug / f"{run}.json"
    if not path.is_file():
        known = sorted(entry.stem for entry in path.parent.glob("*.json")) or ["none"]
        raise ValueError(f"run is {run!r} but there is no {source}; runs of this chapter: {', '.join(known)}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: is not JSON ({error})") from None
    _check_run(source, content)
    values = content["values"]
    if name not in values:
        raise ValueError(f"{source}: name is {name!r}; allowed: {', '.join(values)}")
    return Measurement(
        value=_check_value(source, name, values[name]),
        device=content["device"],
        date=content["date"],
        commit=content["commit"],
        command=content["command"],
        seconds=float(content["seconds"]),
        seeds=tuple(content["seeds"]),
        source=source,
        note=content.get("note", ""),
    )


def _checked_out():
    """The commit this code comes from; empty where there is no git or no history."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        answer = subprocess.run(
            command, cwd=Path(__file__).resolve().parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return answer.stdout.strip()


def write(slug, run, values, *, device, command, seconds, seeds, note="", commit=None, date=None):
    """Write a run to ``results/<slug>/<run>.json`` of the repository.

    Parameters
    ----------
    slug, run : str
        Chapter and name of the run (letters, digits, ``-`` and ``_``).
    values : dict of str to float, bool or list of float
        What was measured.
    device, command, note : str
        Where, by which command, and what else a reader should know.
    seconds : float
        Wall time in seconds.
    seeds : sequence of int
        Seeds used.
    commit, date : str, optional
        Default: the commit checked out here and today. Where there is no git history the commit has to be given.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ValueError
        If a field is missing or not allowed; nothing is written then.
    """
    for argument, text in (("slug", slug), ("run", run)):
        if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
            raise ValueError(f"{argument} is {text!r}; allowed: letters, digits, '-' and '_'")
    if not isinstance(values, dict):
        raise ValueError(f"values is {values!r}; allowed: a dictionary that names at least one value")
    if not isinstance(seeds, (list, tuple, range)):
        raise ValueError(f"seeds is {seeds!r}; allowed: a list of integers")
    folder = shipped("results") / slug
    if commit is None:
        commit = _checked_out()
    content = {
        "values": {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()},
        "device": device,
        "date": date if date is not None else datetime.date.today().isoformat(),
        "commit": commit,
        "command": command,
        "seconds": seconds,
        "seeds": list(seeds),
    }
    if note:
        content["note"] = note
    _check_run(f"results/{slug}/{run}.json", content)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run}.json"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
