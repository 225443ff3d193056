"""Checkpoints of training: one file each, written whole or not at all."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lib import checks

__all__ = ["copied", "load_checkpoint", "save_checkpoint", "without_environments"]

FORMAT = 1
"""Version of what a file holds."""

UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)
"""What reading a damaged or foreign file may raise."""


def copied(nested: Any, device: torch.device | None = None) -> Any:
    """Copy dictionaries, lists and tensors, so that training may go on without changing them.

    Tensors go to the device, if one is given, except positions of random streams, which are bytes on the CPU.

    Examples
    --------
    >>> kept = {"mean": torch.zeros(1)}
    >>> other = copied(kept)
    >>> _ = kept["mean"].add_(1)
    >>> other["mean"]
    tensor([0.])
    """
    if isinstance(nested, torch.Tensor):
        return nested.detach().to(device=device, copy=True)
    if isinstance(nested, dict):
        return {name: copied(x, None if "streams" in name else device) for name, x in nested.items()}
    if isinstance(nested, (list, tuple)):
        return [copied(x, device) for x in nested]
    return nested


def without_environments(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What was learned, without the states of the environments: to go on with more of them, or with others.

    Parameters
    ----------
    checkpoint : dict
        From :func:`load_checkpoint`, or ``TrainingLog.checkpoint``.

    Returns
    -------
    dict
        A checkpoint that resumes with environments that start anew.

    Raises
    ------
    ValueError
        If it is no checkpoint.
    """
    if not isinstance(checkpoint, dict) or "environment" not in checkpoint:
        raise ValueError(f"checkpoint must be one of a training run, got {checks.describe(checkpoint)}")
    return checkpoint | {"environment": None}


def require_fit(checkpoint: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise a ValueError unless a checkpoint holds what a run has, in types and shapes; environments may be missing."""
    if not isinstance(checkpoint, dict) or set(checkpoint) != {*wanted, "log"}:
        raise ValueError(f"resume must be a checkpoint of a training run, got {checks.describe(checkpoint)}")
    for name, value in wanted.items():
        if name == "environment" and checkpoint[name] is None:
            continue
        for entry, found, needed in _differences(name, checkpoint[name], value):
            raise ValueError(f"resume must fit the run, but its {entry} holds {found} where the run has {needed}")


def _differences(name: str, found: Any, wanted: Any) -> Iterator[tuple[str, str, str]]:
    """Entries of another form than they should have: their names, what they hold, and what they should hold."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        for key in wanted:
            yield from _differences(f"{name}[{key!r}]", found[key], wanted[key])
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, pair in enumerate(zip(found, wanted)):
            yield from _differences(f"{name}[{number}]", *pair)
    elif _form(found) != _form(wanted):
        yield name, _form(found), _form(wanted)


def _form(entry: Any) -> str:
    """Type and shape of a tensor, names or number of what is held together, and the type of all else."""
    if isinstance(entry, torch.Tensor):
        return f"{entry.dtype} of shape {tuple(entry.shape)}"
    if isinstance(entry, dict):
        return f"entries {sorted(map(str, entry))}"
    return f"a list of {len(entry)}" if isinstance(entry, list) else type(entry).__name__


def save_checkpoint(path: str | os.PathLike, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint: the file appears when it is complete, and until then an older one stays.

    Parameters
    ----------
    path : str or path
    checkpoint : dict
        Nested dictionaries and lists of tensors, numbers and texts.

    Raises
    ------
    ValueError
        If the path is none, or its folder does not exist.
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(f"checkpoint must be a dictionary, got {checks.describe(checkpoint)}")
    target = file_to_write("path", path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": FORMAT} | checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Read a checkpoint. Only tensors, numbers and texts are read: a file cannot run code.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        With all tensors on the CPU.

    Raises
    ------
    ValueError
        If the file is missing, damaged or of another kind.
    """
    source = _file("path", path)
    try:
        with zipfile.ZipFile(source) as file:  # torch does not compare the checksums
            damaged = file.testzip()
        if damaged is not None:
            raise ValueError(f"checksum of {damaged} does not fit")
        found = torch.load(source, map_location="cpu", weights_only=True)
    except UNREADABLE as problem:
        raise ValueError(f"path must name a checkpoint that can be read, got {str(source)!r}: {problem}") from problem
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise ValueError(f"path must name a checkpoint of format {FORMAT}, got {str(source)!r}")
    return found


def file_to_write(name: str, path: Any) -> Path:
    """Check that a file can be written where its name says."""
    target = _file(name, path)
    if not target.parent.is_dir() or target.is_dir():
        raise ValueError(f"{name} must be the name of a file in a folder that exists, got {str(target)!r}")
    return target


def _file(name: str, path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ValueError(f"{name} must be the name of a file, got {checks.describe(path)}")
    return Path(path)
