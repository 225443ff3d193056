"""Where the numbers are computed: the only place that decides between CPU and GPU.

``SCALE`` is the book's single switch: ``"quick"`` on a CPU, ``"full"`` on a GPU. A chapter reads it to choose how many
systems to simulate, never to choose another method. While the static site is built (``LIVE_PAGE`` is set) everything
runs on the CPU, so that every build gives the same numbers. ``LIVING_MODELS_DEVICE`` (``cpu``, ``cuda``, ``cuda:1``,
``mps``) overrides the choice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from lib import checks

__all__ = ["SCALE", "device", "dtype", "generator", "scale"]


def _available(name: str) -> bool:
    kind = name.split(":")[0]
    if kind == "cuda":
        index = int(name.partition(":")[2] or 0)
        return torch.cuda.is_available() and index < torch.cuda.device_count()
    return kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available())


def device(environment: Mapping[str, str] | None = None) -> torch.device:
    """The device that models run on.

    Parameters
    ----------
    environment : mapping, optional
        Environment variables to read; the process's own by default.

    Returns
    -------
    torch.device
        What ``LIVING_MODELS_DEVICE`` names; else the CPU while a page is built; else the first of cuda, mps and cpu
        that works.

    Raises
    ------
    ValueError
        If ``LIVING_MODELS_DEVICE`` names a device that this machine does not have.

    Examples
    --------
    >>> device({"LIVING_MODELS_DEVICE": "cpu"})
    device(type='cpu')
    """
    environment = os.environ if environment is None else environment
    wanted = environment.get("LIVING_MODELS_DEVICE", "")
    if wanted:
        kind, _, index = wanted.partition(":")
        known = kind in ("cpu", "cuda", "mps") and (not index or index.isdigit())
        if not known or not _available(wanted):
            raise ValueError(
                f"LIVING_MODELS_DEVICE must name a device of this machine (cpu, cuda, cuda:N or mps), got {wanted!r}"
            )
        return torch.device(wanted)
    if environment.get("LIVE_PAGE"):
        return torch.device("cpu")
    return torch.device(next(name for name in ("cuda", "mps", "cpu") if _available(name)))


def _chosen(where: torch.device | str | None) -> torch.device:
    return device() if where is None else checks.device("where", where)


def dtype(where: torch.device | str | None = None) -> torch.dtype:
    """The floating type of a device: float64, except on Apple's ``mps``, which has none.

    Parameters
    ----------
    where : torch.device or str, optional
        The device; :func:`device` by default.

    Raises
    ------
    ValueError
        If ``where`` is no device.

    Examples
    --------
    >>> dtype("cpu")
    torch.float64
    """
    where = _chosen(where)
    return torch.float32 if where.type == "mps" else torch.float64


def generator(seed: int, where: torch.device | str | None = None) -> torch.Generator:
    """A seeded source of random numbers on a device.

    Parameters
    ----------
    seed : int
        From 0 to 2**63 - 1.
    where : torch.device or str, optional
        The device; :func:`device` by default.

    Raises
    ------
    ValueError
        If the seed is not an integer in range, or ``where`` is no device.

    Examples
    --------
    >>> a = torch.rand(2, generator=generator(7, "cpu"))
    >>> b = torch.rand(2, generator=generator(7, "cpu"))
    >>> bool((a == b).all())
    True
    """
    seed = checks.integer("seed", seed, lowest=0, highest=2**63 - 1)
    return torch.Generator(_chosen(where)).manual_seed(seed)


def scale(where: torch.device | str | None = None) -> str:
    """``"full"`` on a GPU, ``"quick"`` on a CPU.

    Parameters
    ----------
    where : torch.device or str, optional
        The device; :func:`device` by default.

    Raises
    ------
    ValueError
        If ``where`` is no device.

    Examples
    --------
    >>> scale("cpu")
    'quick'
    """
    return "quick" if _chosen(where).type == "cpu" else "full"


SCALE: str = scale()
