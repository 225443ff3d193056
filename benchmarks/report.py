"""The record of a run: which command, on which device, from when to when, and the file with what it measured."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence

import torch

from lib import results

__all__ = ["Record"]


class Record:
    """One run of a benchmark; its clock starts here.

    Parameters
    ----------
    benchmark : str
        Name of the module in ``benchmarks``.
    arguments : list of str, optional
        What was given on the command line; by default that of this process.
    device : torch.device or str
        Where the run takes place.
    """

    def __init__(self, benchmark: str, arguments: list[str] | None = None, device: torch.device | str = "cpu"):
        given = sys.argv[1:] if arguments is None else arguments
        self.command = " ".join(["python", "-m", f"benchmarks.{benchmark}", *given])
        self.device = torch.device(device)
        self.began = time.perf_counter()

    @property
    def device_name(self) -> str:
        """The GPU, or the CPU's architecture: benchmarks take one thread of it."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{platform.machine()} CPU, one thread"

    def write(
        self,
        slug: str,
        name: str,
        values: dict[str, float | bool | list[float]],
        *,
        seeds: Sequence[int],
        note: str,
        seconds: float | None = None,
        device_name: str | None = None,
    ) -> None:
        """Write ``results/<slug>/<name>.json``; seconds are those since the start where no others are given."""
        path = results.write(
            slug,
            name,
            values,
            device=self.device_name if device_name is None else device_name,
            command=self.command,
            seconds=time.perf_counter() - self.began if seconds is None else seconds,
            seeds=seeds,
            note=note,
        )
        print(f"wrote {path.name}")
