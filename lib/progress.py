"""A progress bar of one line for long runs, in a terminal or a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from lib import checks

__all__ = ["ProgressBar"]

WIDTH = 24


class ProgressBar:
    """Called with (done, total), it keeps one line up to date: share done, time left, and a note.

    Nothing is written before a run has taken ``patience`` seconds, or where nobody looks: to a file, a pipe or the log
    of a test.

    Parameters
    ----------
    what : str
        What is counted, in the plural.
    stream : file, optional
        Where to write; ``sys.stderr`` by default.
    patience : float
        Seconds before the first line and at least between any two, at least 0.
    clock : callable, optional
        Seconds; ``time.monotonic`` by default.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> class Terminal:
    ...     def isatty(self):
    ...         return True
    ...
    ...     def write(self, text):
    ...         print(text.strip())
    ...
    ...     def flush(self):
    ...         pass
    >>> bar = ProgressBar("steps", Terminal(), patience=0, clock=iter(range(0, 100, 10)).__next__)
    >>> bar(25, 100, "r = 0.42")
    [######..................] 25 of 100 steps, 30 s left, r = 0.42
    """

    def __init__(
        self, what: str = "steps", stream=None, patience: float = 0.5, clock: Callable[[], float] = time.monotonic
    ):
        if not isinstance(what, str) or not what.strip():
            raise ValueError(f"what must be a non-empty text, got {checks.describe(what)}")
        stream = sys.stderr if stream is None else stream
        if not hasattr(stream, "write") or not hasattr(stream, "flush"):
            raise ValueError(f"stream must be a file to write to or None, got {checks.describe(stream)}")
        self.patience = checks.real_number("patience", patience, lowest=0)
        if not callable(clock):
            raise ValueError(f"clock must be callable, got {checks.describe(clock)}")
        self.what = what
        self.stream = stream
        self.clock = clock
        self.watched = _watched(stream)
        self.started = clock()
        self.shown = self.started
        self.length = 0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Bring the line up to date; the last call ends it."""
        if not self.watched:
            return
        now = self.clock()
        last = done >= total
        if now - self.shown < self.patience and not (last and self.length):
            return
        self.shown = now
        filled = WIDTH * done // total if total else WIDTH
        left = (now - self.started) * (total - done) / max(done, 1)
        spent = f"{_duration(now - self.started)}" if last else f"{_duration(left)} left"
        line = f"[{'#' * filled:.<{WIDTH}}] {done} of {total} {self.what}, {spent}{', ' + note if note else ''}"
        self.stream.write("\r" + line.ljust(self.length) + ("\n" if last else ""))
        self.stream.flush()
        self.length = len(line)


def _watched(stream) -> bool:
    """Whether somebody sees the line change: a terminal, or the output of a notebook's cell."""
    terminal = getattr(stream, "isatty", None)
    return bool(terminal and terminal()) or type(stream).__module__.startswith("ipykernel")


def _duration(seconds: float) -> str:
    """Seconds in words.

    >>> _duration(7.3), _duration(430), _duration(8000)
    ('7 s', '7 min 10 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
