"""Functions that the tests of sweeps run in other processes; each leaves a file per call in the folder it is given."""

import contextlib
import fcntl
import itertools
import os
import signal
import time
from pathlib import Path

__all__ = ["appear", "calls", "draw", "endless", "fail", "linger", "same_name", "wait_for"]


def appear(path):
    """Make a file that others wait for."""
    Path(path).touch()


def wait_for(path, process=None):
    """Wait until a file is there; the process that should make it must not end before."""
    while not Path(path).exists():
        assert process is None or process.poll() is None, f"ended with {process.returncode}"
        time.sleep(0.005)


def calls(folder):
    """How often each point was begun: name -> number of files."""
    names = sorted(path.name.partition(".")[0] for path in Path(folder).glob("*.call"))
    return {name: len(list(same)) for name, same in itertools.groupby(names)}


def begin(folder, name):
    """Leave a file for this call, one of its own."""
    appear(Path(folder) / f"{name}.{os.getpid()}-{time.monotonic_ns()}.call")


def draw(width, depth, seed):
    """Numbers of a generator, in a nested result."""
    import torch  # late: the workers of the other functions need not import it

    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(depth, width, generator=generator, dtype=torch.float64)
    return {"mean": x.mean(), "curve": x.sum(0), "nested": [[width, depth], []], "note": f"{width} x {depth}"}


CLOSED = (2,)
"""Points at which `fail` fails."""


def fail(width, seed):
    """Fail at one of the points."""
    if width in CLOSED:
        raise ZeroDivisionError(f"no width {width} today")
    return 1 / width


def linger(place, folder, stop_at=None, death="", deaths=1):
    """Count the call; at one place say that it is reached, then wait for the gate or die.

    Parameters
    ----------
    place : int
        The point; the result is its square.
    folder : path
        Where files are left.
    stop_at : int, optional
        The point at which something happens.
    death : {"", "worker"}
        Wait for the file ``gate``, or kill the own process, as often as `deaths` says.
    """
    begin(folder, place)
    if place == stop_at and death == "worker" and calls(folder)[str(place)] <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    if place == stop_at and not death:
        with open(Path(folder) / "held", "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # until this process ends
            appear(Path(folder) / "reached")
            wait_for(Path(folder) / "gate")
    return place**2


def same_name(width):
    """A result with the name of a parameter, another that is not always there."""
    return {"width": -width} | ({"extra": width} if width > 1 else {})


def endless(place):
    """Does not end at one of its places, and holds on to life."""
    while place == 1:
        with contextlib.suppress(Exception):
            sum(range(100))
    if place == 2:
        raise LookupError("gone")
    return place
