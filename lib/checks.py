"""Checks of arguments: one place that turns bad input into a ValueError before any work is done.

Shapes and types are always checked. Values of tensors are checked by :func:`require`, which stands aside while a live
figure is being recorded (see ``lib.live.tracing``): there a slider's range guarantees what the check would have
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np
import torch

from lib.live import tracing

__all__ = [
    "batch",
    "callback",
    "choice",
    "describe",
    "device",
    "flag",
    "generator",
    "integer",
    "real_number",
    "require",
    "shape",
    "square",
    "tensors",
]


def describe(value) -> str:
    """Say in a few words what a value is, for an error message.

    Examples
    --------
    >>> describe(torch.zeros(2, 3))
    'a torch.float32 tensor of shape (2, 3)'
    >>> describe("three")
    "'three'"
    """
    if isinstance(value, torch.Tensor):
        if value.dim() == 0 and not tracing.active():
            return f"{value.item()}"
        return f"a {value.dtype} tensor of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def require(
    condition: torch.Tensor | bool, message: str | Callable[[], str], received: torch.Tensor | None = None
) -> None:
    """Raise ``ValueError(message)`` unless the condition holds everywhere.

    Parameters
    ----------
    condition : Tensor or bool
        What must hold; every entry of a tensor has to be true.
    message : str or callable
        The sentence for the reader. A callable is only called when the condition fails.
    received : Tensor, optional
        What the condition is about, in a shape that broadcasts with it: the message then ends with its first entry for
        which the condition fails.

    Notes
    -----
    Nothing is checked while a live figure is recorded: a recorded program may not ask for the value of a tensor.

    Examples
    --------
    >>> require(torch.tensor([0.2, 0.9]) <= 1, "survival must be at most 1")
    """
    if tracing.active():
        return
    holds = bool(condition.all()) if isinstance(condition, torch.Tensor) else bool(condition)
    if not holds:
        sentence = message() if callable(message) else message
        if received is not None:
            received, condition = torch.broadcast_tensors(received, torch.as_tensor(condition))
            sentence = f"{sentence}, got {received[~condition][0].item():g}"
        raise ValueError(sentence)


def for_torch(value):
    """Copy of an array that torch does not take as it is: read-only, running backwards or in another byte order."""
    if not isinstance(value, np.ndarray):
        return value
    usable = value.flags.writeable and value.dtype.isnative and min(value.strides, default=0) >= 0
    return value if usable else value.astype(value.dtype.newbyteorder("="), order="C")


def _joined(value, dtype: torch.dtype, device: torch.device | None) -> torch.Tensor:
    """Turn nested lists that may hold tensors into one tensor."""
    if isinstance(value, torch.Tensor):
        return value
    nested = isinstance(value, Sequence) and not isinstance(value, str)
    if nested and any(isinstance(entry, (torch.Tensor, Sequence)) for entry in value):
        return torch.stack([_joined(entry, dtype, device) for entry in value])
    return torch.as_tensor(value, dtype=dtype, device=device)


def _not_real(value) -> bool:
    """Whether a value, or an entry of its (nested) lists, is true or false, complex, or no number of numpy's."""
    if isinstance(value, torch.Tensor):
        return value.is_complex() or value.dtype == torch.bool
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind not in "iuf"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(_not_real(entry) for entry in value)
    return isinstance(value, (bool, complex))


def _floating(value):
    """Yield the tensors that stand in a value or inside its (nested) lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for entry in value:
            yield from _floating(entry)


def tensors(**named) -> list[torch.Tensor]:
    """Read arguments as real tensors of one type on one device.

    Floating tensors are used as they are and have to agree in type and device. Numbers, lists (also lists of
    0-dimensional tensors) and arrays take the type and device of the tensors beside them, float64 on the CPU when
    there are none. Integer tensors are counted as numbers.

    Parameters
    ----------
    **named
        The arguments under the names that error messages should use.

    Returns
    -------
    list of Tensor
        In the order given.

    Raises
    ------
    ValueError
        If an argument is not numeric, is complex or true/false, holds NaN or infinity, or if two tensors differ in type
        or device.

    Examples
    --------
    >>> fecundity, survival = tensors(fecundity=[0, 4, 3], survival=[0.5, 0.25])
    >>> fecundity.dtype
    torch.float64
    """
    kinds = {}
    for name, value in named.items():
        for tensor in _floating(value):
            if tensor.dtype.is_floating_point:
                kinds.setdefault((tensor.dtype, tensor.device), name)
    if len(kinds) > 1:
        found = ", ".join(f"{name} is {dtype} on {device}" for (dtype, device), name in kinds.items())
        raise ValueError(f"{' and '.join(named)} must share one dtype and device, but {found}")
    dtype, device = next(iter(kinds), (torch.float64, None))
    read = []
    for name, value in named.items():
        if _not_real(value):
            raise ValueError(f"{name} must be real numbers, got {describe(value)}")
        try:
            tensor = _joined(for_torch(value), dtype, device)
        except (TypeError, ValueError, RuntimeError) as problem:
            raise ValueError(f"{name} must be numbers in a rectangular array, got {describe(value)}") from problem
        tensor = tensor if tensor.dtype.is_floating_point else tensor.to(dtype=dtype, device=device)
        # A finite sum means finite entries, and is many times faster to find than each of them is to look at.
        if not tracing.active() and not bool(tensor.detach().sum().isfinite()):
            require(tensor.isfinite(), f"{name} must be finite, but holds NaN or infinity")
        read.append(tensor)
    return read


def shape(name: str, tensor: torch.Tensor, *trailing: int | None) -> None:
    """Check the trailing dimensions of a tensor; ``None`` stands for any size of at least one.

    Examples
    --------
    >>> shape("x0", torch.zeros(7, 3), 3)
    """
    sizes = tuple(tensor.shape[-len(trailing) :]) if trailing else ()
    fits = len(sizes) == len(trailing) and all(
        size >= 1 if wanted is None else size == wanted for size, wanted in zip(sizes, trailing, strict=True)
    )
    if not fits:
        allowed = ", ".join("n" if wanted is None else str(wanted) for wanted in trailing)
        raise ValueError(f"{name} must have shape (..., {allowed}), got {tuple(tensor.shape)}")


def batch(**leading: Sequence[int]) -> torch.Size:
    """Shape of the batch that arguments have in common.

    Parameters
    ----------
    **leading
        Leading dimensions of each argument, under the names that the error message should use.

    Returns
    -------
    torch.Size

    Raises
    ------
    ValueError
        If the dimensions do not broadcast.

    Examples
    --------
    >>> batch(M=(7,), z0=())
    torch.Size([7])
    """
    try:
        return torch.broadcast_shapes(*leading.values())
    except RuntimeError as problem:
        names, shapes = " and ".join(leading), " and ".join(str(tuple(sizes)) for sizes in leading.values())
        raise ValueError(f"the leading dimensions of {names} must be equal or 1, got {shapes}") from problem


def square(name: str, tensor: torch.Tensor) -> int:
    """Check that the last two dimensions are equal and return their size.

    Examples
    --------
    >>> square("L", torch.eye(3))
    3
    """
    if tensor.dim() < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] == 0:
        raise ValueError(f"{name} must be a square matrix of shape (..., n, n), got shape {tuple(tensor.shape)}")
    return tensor.shape[-1]


def integer(name: str, value, lowest: int, highest: int | None = None) -> int:
    """Check a Python integer against its range and return it.

    Examples
    --------
    >>> integer("steps", 400, lowest=0)
    400
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < lowest or (highest is not None and value > highest):
        allowed = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} must be an integer {allowed}, got {describe(value)}")
    return int(value)


def real_number(name: str, value, lowest: float, highest: float = float("inf"), *, open_below: bool = False) -> float:
    """Check a finite Python number against its range and return it as a float.

    Examples
    --------
    >>> real_number("learning_rate", 0.05, lowest=0, open_below=True)
    0.05
    """
    try:
        fits = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        fits = False
    fits = fits and (value > lowest if open_below else value >= lowest) and value <= highest
    if not fits:
        below = f"above {lowest}" if open_below else f"of at least {lowest}"
        above = "" if highest == float("inf") else f" and at most {highest}"
        raise ValueError(f"{name} must be a finite number {below}{above}, got {describe(value)}")
    return float(value)


def choice(name: str, value, options: Sequence) -> None:
    """Check that a value is one of the options.

    Examples
    --------
    >>> choice("order", 2, (1, 2))
    """
    comparable = not isinstance(value, (bool, torch.Tensor, np.ndarray))
    if not comparable or value not in options:
        allowed = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name} must be one of {allowed}, got {describe(value)}")


def flag(name: str, value) -> bool:
    """Check a true/false option and return it.

    Examples
    --------
    >>> flag("clip", True)
    True
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {describe(value)}")
    return bool(value)


def callback(name: str, value) -> None:
    """Check a function to be called on the way, such as the one that shows progress; None is allowed.

    Examples
    --------
    >>> callback("progress", print)
    """
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be callable or None, got {describe(value)}")


def generator(name: str, value) -> torch.Generator:
    """Check a source of random numbers and return it.

    Examples
    --------
    >>> generator("generator", torch.Generator().manual_seed(3)).initial_seed()
    3
    """
    if not isinstance(value, torch.Generator):
        raise ValueError(f"{name} must be a torch.Generator, got {describe(value)}")
    return value


def device(name: str, value) -> torch.device:
    """Read a device or its name.

    Examples
    --------
    >>> device("where", "cuda:1")
    device(type='cuda', index=1)
    """
    try:
        if isinstance(value, (str, torch.device)):
            return torch.device(value)
    except RuntimeError:  # torch does not know the name
        pass
    raise ValueError(f"{name} must be a device such as cpu, cuda, cuda:1 or mps, got {describe(value)}")
