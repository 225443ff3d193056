"""Which code runs the chunked scan: plain torch, torch.compile or Triton kernels.

``"auto"`` takes the kernels on a GPU that can run them and plain torch elsewhere. Compiled code is never taken on
trust: before its first use on a device, for a type and a size of state, its outputs and gradients are compared with
plain torch in float64 on a small example. If they differ, or it does not compile, plain torch runs instead, after one
warning.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from lib import checks
from lib.ssm import _chunks, _chunks_autograd
from lib.ssm._autograd import first_difference, with_gradients

__all__ = ["BACKENDS", "choose", "chunk_scan", "disagreement"]

BACKENDS = ("auto", "torch", "compile", "triton")

# Largest distance from float64 in units of the size of the result, for outputs and gradients of random inputs.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-2}

# Cells that fit on the chip beside the tiles of a chunk.
MOST_CELLS = 256

_verdicts: dict[tuple, str | None] = {}
_warned: set[tuple] = set()


def choose(
    backend: str,
    device: torch.device | str,
    dtype: torch.dtype = torch.float32,
    *,
    N: int = 64,
    P: int = 64,
    ranks: int = 1,
    resets: bool = True,
) -> str:
    """The backend that will run.

    Parameters
    ----------
    backend : str
        ``"torch"``; ``"compile"``, which is torch.compile around the plain form, meant for GPUs (on a CPU it works, but
        the first call takes a minute or two and little is gained); ``"triton"``; or ``"auto"``.
    device : torch.device or str
        Where the inputs are.
    dtype : torch.dtype
        Type of x, B and C.
    N, P : int
        Cells of a state and width of a head.
    ranks : int
        Inputs and outputs of a head.
    resets : bool
        Whether sequences may be packed into one row.

    Returns
    -------
    str
        ``"torch"``, ``"compile"`` or ``"triton"``; the last two only if they agree with plain torch.

    Raises
    ------
    ValueError
        If the backend is unknown or cannot run these inputs here.

    Examples
    --------
    >>> choose("auto", "cpu")
    'torch'
    """
    checks.choice("backend", backend, BACKENDS)
    device = checks.device("device", device)
    checks.choice("dtype", dtype, tuple(TOLERANCE))
    sizes = dict(N=N, P=P, ranks=ranks)
    for name, size in sizes.items():
        checks.integer(name, size, lowest=1)
    sizes["resets"] = checks.flag("resets", resets)
    if backend == "torch" or (backend == "auto" and not _worth_it(device)):
        return "torch"
    if backend == "compile":
        if ranks > 1:
            raise ValueError(f'backend = "compile" needs a rank of 1, got {ranks}; "auto" and "torch" take any')
        core = functools.partial(_compiled, chunk_length=64)
        return "compile" if _trusted("compile", core, device, dtype, sizes) else "torch"
    obstacle = _obstacle(device, dtype, N, ranks)
    if obstacle is not None:
        if backend == "triton":
            raise ValueError(f'backend = "triton" needs {obstacle}; "auto" and "torch" run everywhere')
        return "torch"
    return "triton" if _trusted("triton", _triton, device, dtype, sizes) else "torch"


def chunk_scan(
    x: Tensor,
    log_decay: Tensor,
    later: Tensor,
    now: Tensor,
    B: Tensor,
    C: Tensor,
    h: Tensor,
    chunk_length: int,
    *,
    backend: str = "auto",
    resets: bool = True,
) -> tuple[Tensor, Tensor]:
    """Outputs and final state of the scan in the frame that turns, by the chosen backend; differentiable once.

    Parameters
    ----------
    x : Tensor, (b, T, H, P) or (b, T, H, R, P)
        Inputs, half precision allowed.
    log_decay, later, now : Tensor, (b, T, H)
        Logarithm of the decay of the state, -infinity at a reset; weight of a token for later tokens and for itself.
    B, C : Tensor, (b, T, G, N) or (b, T, G, R, N)
        Write and read vectors of G groups of heads.
    h : Tensor, (b, H, N, P)
        State before the first token.
    chunk_length : int
        Tokens in a chunk; kernels choose their own.
    backend : str
        As in :func:`choose`.
    resets : bool
        Whether a log decay may be -infinity.

    Returns
    -------
    y : Tensor, the shape of x
    h : Tensor, (b, H, N, P)
        State after the last token.
    """
    ranks = x.shape[3] if x.dim() == 5 else 1
    how = choose(backend, x.device, x.dtype, N=B.shape[-1], P=x.shape[-1], ranks=ranks, resets=resets)
    arguments = (x, log_decay, later, now, B, C, h)
    if how == "triton":
        return _triton(*arguments, resets=resets)
    if how == "compile":
        return _compiled(*arguments, chunk_length=chunk_length)
    return _chunks_autograd.chunk_scan(*arguments, chunk_length)


def disagreement(
    core: Callable,
    device: torch.device | str,
    dtype: torch.dtype = torch.float32,
    *,
    N: int = 64,
    P: int = 64,
    ranks: int = 1,
    resets: bool = True,
) -> str | None:
    """Compare outputs and gradients of a chunked scan with plain torch in float64 on a small random example.

    Parameters
    ----------
    core : callable
        Called as ``core(x, log_decay, later, now, B, C, h, resets=resets)``, returns y and the final state.
    device, dtype, N, P, ranks, resets
        As in :func:`choose`.

    Returns
    -------
    str or None
        What is wrong, in a few words; None if nothing is.

    Raises
    ------
    ValueError
        If an argument is no such thing.

    Examples
    --------
    >>> disagreement(lambda x, *others, resets: (0 * x, 0 * others[-1]), "cpu", N=4, P=2)
    'y is off by 1.0e+00 of its size'
    """
    if not callable(core):
        raise ValueError(f"core must be callable, got {checks.describe(core)}")
    device = checks.device("device", device)
    checks.choice("dtype", dtype, tuple(TOLERANCE))
    for name, size in dict(N=N, P=P, ranks=ranks).items():
        checks.integer(name, size, lowest=1)
    checks.flag("resets", resets)
    autocast = torch.autocast(device.type, enabled=False)
    with torch.inference_mode(False), torch.enable_grad(), autocast:
        given, arrived = _example(device, dtype, N, P, ranks, resets)
        try:
            found = with_gradients(functools.partial(core, resets=resets), given, arrived)
        except Exception as problem:  # compilers raise whatever they like
            lines = str(problem).splitlines()
            return f"{type(problem).__name__}: {lines[0] if lines else ''}"
        precise = [value.double() for value in given]
        expected = with_gradients(
            functools.partial(_chunks_autograd.chunk_scan, chunk_length=64), precise, [d.double() for d in arrived]
        )
    names = ("y", "h", *(f"the gradient of {name}" for name in ("x", "log_decay", "later", "now", "B", "C", "h")))
    return first_difference(names, found, expected, TOLERANCE[dtype])


def _example(device, dtype, N, P, ranks, resets) -> tuple[list[Tensor], list[Tensor]]:
    """Random inputs, two heads sharing B and C, and gradients that arrive.

    On a GPU the sequence is long enough for the states that the backward keeps; it ends in a part of a chunk.
    """
    generator = torch.Generator().manual_seed(0)
    time = (600 if device.type == "cuda" else 75) // ranks + 1
    rank = (ranks,) if ranks > 1 else ()

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    x, B, C = (normal(1, time, heads, *rank, width).to(dtype) for heads, width in ((2, P), (1, N), (1, N)))
    kind = torch.promote_types(dtype, torch.float32)
    later, now = (torch.rand(1, time, 2, generator=generator, dtype=kind) for _ in range(2))
    log_decay = -0.3 * torch.rand(1, time, 2, generator=generator, dtype=kind)
    if resets:
        log_decay[:, time // 3] = -torch.inf
    h, d_h = normal(1, 2, N, P).to(kind), normal(1, 2, N, P).to(kind)
    given = [value.to(device) for value in (x, log_decay, later, now, B, C, h)]
    return given, [normal(*x.shape).to(dtype).to(device), d_h.to(device)]


def _trusted(name: str, core: Callable, device: torch.device, dtype: torch.dtype, sizes: dict) -> bool:
    """Whether compiled code agrees with plain torch; looked at once, warned of once."""
    place = (name, device, dtype)
    key = (*place, *sizes.values())
    if key not in _verdicts:
        _verdicts[key] = disagreement(core, device, dtype, **sizes)
    problem = _verdicts[key]
    if problem is not None and place not in _warned:
        _warned.add(place)
        warnings.warn(
            f'backend "{name}" cannot be trusted on {device} with {dtype} ({problem}): plain torch runs instead',
            RuntimeWarning,
            stacklevel=5,
        )
    return problem is None


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def _worth_it(device: torch.device) -> bool:
    """Whether kernels are faster than plain torch on a device: where it has matrix units for them."""
    return device.type == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def _obstacle(device: torch.device, dtype: torch.dtype, N: int, ranks: int) -> str | None:
    """What is missing for the Triton kernels, if anything."""
    if not _installed():
        return "the package triton, which is not installed"
    from lib.ssm import _triton as kernels

    if device.type != "cuda" and not kernels.INTERPRETED:
        return f"a GPU (or TRITON_INTERPRET=1 set before the start), got inputs on {device}"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"float32 or bfloat16, got {dtype}"
    if N > MOST_CELLS:
        return f"at most {MOST_CELLS} cells, got N = {N}"
    if ranks not in (1, 2, 4, 8, 16):
        return f"a rank of 1, 2, 4, 8 or 16, got {ranks}"
    return None


def _triton(*arguments: Tensor, resets: bool) -> tuple[Tensor, Tensor]:
    from lib.ssm import _triton as kernels

    return kernels.chunk_scan(*arguments, resets=resets)


@functools.cache
def _compiled_chunk() -> Callable:
    return torch.compile(_chunks.one_chunk)


def _compiled(*arguments: Tensor, chunk_length: int, resets: bool = True) -> tuple[Tensor, Tensor]:
    """The plain form with one chunk compiled; the loop over chunks stays Python's, whatever the length."""
    return _chunks.chunk_scan(*arguments, chunk_length, _compiled_chunk())
