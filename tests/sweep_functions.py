"""Functions that the tests of sweeps run in other processes; each leaves a file per call in the folder it is given."""

import itertools
import os
import signal
import time
from pathlib import Path

import torch

__all__ = ["appear", "calls", "draw", "fail", "linger", "wait_for"]


def appear(path):
    """Make a file that others wait for."""
    Path(path).touch()


def wait_for(path):
    """Wait until a file is there."""
    while not Path(path).exists():
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
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(depth, width, generator=generator, dtype=torch.float64)
    return {"mean": x.mean(), "curve": x.sum(0), "nested": [[width, depth], []], "note": f"{width} x {depth}"}


def fail(width, seed):
    """Fail at one of the points."""
    if width == 2:
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
        appear(Path(folder) / "reached")
        wait_for(Path(folder) / "gate")
    return place**2
