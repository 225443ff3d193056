"""The selective scan of Mamba-1: a diagonal recurrence whose step size, write and read vectors depend on the token.

Every channel c of the input has a state of N numbers of its own,

    h_t[c, n] = exp(dt_t[c] A[c, n]) h_{t-1}[c, n] + dt_t[c] B_t[n] x_t[c],   y_t[c] = <C_t, h_t[c]> + D[c] x_t[c].

With A constant over n this is Mamba-2 with heads of width 1 (:mod:`lib.ssm.scan`). Several ways give the same
numbers: a loop over time, doubling passes over pairs (decay, write), chunks whose states the backward computes anew,
compiled loops where numba is installed, and kernels on a GPU.

Types: all inputs share float64 or float32. Half precision (bfloat16, float16) may stand for any of them beside
float32; it is widened to float32, which is exact, the state is kept in float32, and y has the type of x.

Source: A. Gu and T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752,
algorithm 2; the discretization is the exponential Euler rule of their code.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lib import checks
from lib._compiled import loops
from lib._plain_operations import needs_plain_operations
from lib.live import tracing
from lib.ssm import _selective_autograd
from lib.ssm._autograd import first_difference, with_gradients, without_autocast

__all__ = ["selective_scan", "selective_step"]

METHODS = ("auto", "sequential", "parallel", "chunked", "numba", "triton")
MOST_CELLS = 256  # of a state that Triton keeps on the chip
HALVES = (torch.bfloat16, torch.float16)


@without_autocast
def selective_scan(
    x, dt, A, B, C, D=None, *, initial_state=None, reset=None, method: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Run the recurrence over whole sequences; differentiable in every input and through the state.

    Parameters
    ----------
    x : array_like, (batch, time, channels)
        Input.
    dt : array_like, (batch, time, channels)
        Step size of each channel at each token, above 0.
    A : array_like, (channels, state)
        Rates of decay per unit of dt, at most 0.
    B, C : array_like, (batch, time, state)
        Write and read vectors, shared by the channels.
    D : array_like, (channels,), optional
        Weight of the skip from x to y.
    initial_state : array_like, (batch, channels, state), optional
        State before the first token; zero by default.
    reset : Tensor of bool, (batch, time), optional
        True at the first token of each sequence where several are packed into one row: the state is dropped there.
    method : {"auto", "sequential", "parallel", "chunked", "numba", "triton"}
        ``"sequential"`` is the loop over time, the reference. ``"parallel"`` takes log2(time) passes over tensors of
        all states. ``"chunked"`` is plain torch with little memory, ``"numba"`` the compiled loops for a CPU,
        ``"triton"`` kernels for a GPU that compute in float32; these three can be differentiated once. ``"auto"`` takes
        numba on a CPU that has it, kernels on a GPU where they agree with plain torch, else chunks.

    Returns
    -------
    y : Tensor, (batch, time, channels)
        Output, of the type of x.
    state : Tensor, (batch, channels, state)
        State after the last token, at least float32: the ``initial_state`` of what follows.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, dt is not positive, A is positive, types are mixed, or the method
        is unknown or not available.

    Examples
    --------
    Without decay the state adds up what is written:

    >>> ones = torch.ones(1, 4, 1)
    >>> y, state = selective_scan(ones, ones, [[0.0]], ones, ones)
    >>> y[0, :, 0]
    tensor([1., 2., 3., 4.])
    """
    checks.choice("method", method, METHODS)
    x, dt, A, B, C, D, h, reset, returned = _check_scan(x, dt, A, B, C, D, initial_state, reset)
    scan = _chosen(method, x, dt, A, B, C, h)
    y, h = scan(x, dt, A, B, C, h, reset)
    if D is not None:
        y = torch.addcmul(y, D, x)
    return y.to(returned), h


def selective_step(x, dt, A, B, C, D=None, *, state=None) -> tuple[Tensor, Tensor]:
    """Take one more token: what generating text needs, at a cost that does not grow with what was read.

    Parameters
    ----------
    x, dt : array_like, (batch, channels)
        Input and step sizes of the token, dt above 0.
    A : array_like, (channels, state)
        Rates of decay, at most 0.
    B, C : array_like, (batch, state)
        Write and read vectors of the token.
    D : array_like, (channels,), optional
        Weight of the skip from x to y.
    state : array_like, (batch, channels, state), optional
        State so far; zero by default. It is not changed.

    Returns
    -------
    y : Tensor, (batch, channels)
        Output, of the type of x.
    state : Tensor, (batch, channels, state)
        State after the token.

    Raises
    ------
    ValueError
        As in :func:`selective_scan`.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> y, state = selective_step(one, one, [[0.0]], one, one)
    >>> y, state = selective_step(one, one, [[0.0]], one, one, state=state)
    >>> y
    tensor([[2.]])
    """
    quick = _compiled_step(x, dt, A, B, C, D, state)
    if quick is not None:
        return quick
    x, dt, A, B, C, D, h, returned = _check_step(x, dt, A, B, C, D, state)
    h = torch.exp(dt[..., None] * A) * h + (dt * x)[..., None] * B[:, None, :]
    y = (h * C[:, None, :]).sum(dim=-1)
    return (y if D is None else y + D * x).to(returned), h


def _sequential(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor, reset) -> tuple[Tensor, Tensor]:
    """The reference: one token after the other."""
    ys = []
    # Tensors are taken apart at once: the gradient of a slice x[:, t] is as large as x.
    for t, (xt, dtt, Bt, Ct) in enumerate(zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1))):
        decay = torch.exp(dtt[..., None] * A)
        if reset is not None:
            decay = decay.masked_fill(reset[:, t, None, None], 0)
        h = decay * h + (dtt * xt)[..., None] * Bt[:, None, :]
        ys.append((h * Ct[:, None, :]).sum(dim=-1))
    return torch.stack(ys, dim=1), h


def _parallel(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor, reset) -> tuple[Tensor, Tensor]:
    """Doubling passes: (a1, v1) then (a2, v2) is (a1 a2, a2 v1 + v2), and after each pass pairs reach twice as far."""
    decay = torch.exp(dt[..., None] * A)
    if reset is not None:
        decay = decay.masked_fill(reset[..., None, None], 0)
    written = (dt * x)[..., None] * B[:, :, None, :]
    states = torch.cat([decay[:, :1] * h[:, None] + written[:, :1], written[:, 1:]], dim=1)
    reach = 1
    while reach < x.shape[1]:
        states = torch.cat([states[:, :reach], decay[:, reach:] * states[:, :-reach] + states[:, reach:]], dim=1)
        decay = torch.cat([decay[:, :reach], decay[:, reach:] * decay[:, :-reach]], dim=1)
        reach *= 2
    return (states * C[:, :, None, :]).sum(dim=-1), states[:, -1]


def _kernels():
    """The compiled loops, or None and one warning where numba is missing."""
    return loops("lib.ssm._selective_numba", "selective scans")


def _chosen(method: str, x: Tensor, *others: Tensor):
    """The function that runs the scan."""
    device, size = x.device, others[1].shape[1]
    if method == "auto":
        if needs_plain_operations(x, *others):
            method = "parallel"
        elif device.type == "cpu":
            method = "numba" if _kernels() is not None else "chunked"
        else:
            graphics = device.type == "cuda" and x.dtype == torch.float32 and size <= MOST_CELLS
            method = "triton" if graphics and _triton(device, size) is not None else "chunked"
    if method == "numba":
        if device.type != "cpu":
            raise ValueError(f"method must not be 'numba' for tensors on {device}, got 'numba'")
        if _kernels() is None:
            raise ValueError("method must not be 'numba' where numba is not installed, got 'numba'")
        return _selective_autograd.CompiledScan.apply
    if method == "triton":
        if device.type != "cuda" or x.dtype != torch.float32 or size > MOST_CELLS:
            allowed = f"float32 tensors on a GPU with a state of at most {MOST_CELLS}"
            raise ValueError(f"method may be 'triton' for {allowed}, got {x.dtype} on {device} and a state of {size}")
        return _triton(device, size) or _selective_autograd.ChunkedScan.apply
    return {"sequential": _sequential, "parallel": _parallel, "chunked": _selective_autograd.ChunkedScan.apply}[method]


@cache
def _triton(device: torch.device, size: int):
    """The Triton kernels if they agree with plain torch on a device, or None and one warning."""
    try:
        from lib.ssm._selective_triton import selective_scan_triton

        problem = _disagreement(selective_scan_triton, device, size)
    except Exception as failure:  # compilers raise whatever they like
        problem = f"{type(failure).__name__}: {failure}".splitlines()[0]
    if problem is None:
        return selective_scan_triton
    warnings.warn(
        f"Triton kernels cannot be trusted on {device} ({problem}): selective scans run in plain torch",
        RuntimeWarning,
        stacklevel=4,
    )
    return None


def _disagreement(scan, device: torch.device, size: int) -> str | None:
    """What is wrong with outputs or gradients of a scan in float32, beside plain torch in float64; None if nothing."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 70, 5), (2, 70, 5), (5, size), (2, 70, size), (2, 70, size), (2, 5, size))
    drawn = [torch.randn(shape, generator=generator) for shape in shapes]
    drawn[1], drawn[2] = drawn[1].abs() + 0.01, -drawn[2].abs()
    reset = (torch.arange(70) % 30 == 9).expand(2, 70).to(device)

    def ran(way, dtype: torch.dtype) -> list[Tensor]:
        given = [value.to(device, dtype) for value in drawn]
        arrived = [torch.ones(shape, device=device) for shape in ((2, 70, 5), (2, 5, size))]
        return with_gradients(lambda *leaves: way(*leaves, reset), given, arrived)

    with torch.inference_mode(False), torch.enable_grad():
        found = ran(scan, torch.float32)
        expected = ran(_selective_autograd.ChunkedScan.apply, torch.float64)
    return first_difference(("y", "state", "dx", "ddt", "dA", "dB", "dC", "dstate"), found, expected, 1e-4)


def _compiled_step(x, dt, A, B, C, D, h) -> tuple[Tensor, Tensor] | None:
    """The step in compiled loops, which look at the values in passing; None if torch is to take it, or to complain."""
    given = [x, dt, A, B, C, *(tensor for tensor in (D, h) if tensor is not None)]
    if tracing.active() or not all(isinstance(tensor, Tensor) for tensor in given) or x.dim() != 2 or A.dim() != 2:
        return None
    batch, channels, size = *x.shape, A.shape[1]
    fits = dt.shape == x.shape and len(A) == channels and B.shape == C.shape == (batch, size) and x.numel() and size
    fits = fits and (D is None or D.shape == (channels,)) and (h is None or h.shape == (batch, channels, size))
    if not fits or x.dtype not in (torch.float32, torch.float64):
        return None
    backwards, forwards, dtype = torch.is_grad_enabled(), not torch.is_inference_mode_enabled(), x.dtype
    for tensor in given:
        plain = tensor.is_cpu and tensor.dtype == dtype and tensor.is_contiguous()
        if not plain or (backwards and tensor.requires_grad):
            return None
        if forwards and forward_ad.unpack_dual(tensor).tangent is not None:
            return None
    kernels = _kernels()
    if kernels is None:
        return None
    D = x.new_empty(0) if D is None else D
    h = x.new_zeros(batch, channels, size) if h is None else h
    y, after = torch.empty_like(x), torch.empty_like(h)
    arrays = [(t.detach() if t.requires_grad else t).numpy() for t in (x, dt, A, B, C, D, h, after, y)]
    fine = kernels.step(*arrays)
    return (y, after) if fine else None


def _widened(**named) -> tuple[list[Tensor], torch.dtype]:
    """Read arguments in one type of at least float32, and tell the type of x."""
    half = [name for name, value in named.items() if isinstance(value, Tensor) and value.dtype in HALVES]
    read = checks.tensors(**{name: value.float() if name in half else value for name, value in named.items()})
    return read, named["x"].dtype if "x" in half else read[0].dtype


def _check_tokens(x, dt, A, B, C, D, h, name: str, *sizes: str) -> tuple[list[Tensor | None], torch.dtype]:
    """Check what a scan and a step have in common; ``sizes`` names the dimensions before the last."""
    optional = {key: value for key, value in (("D", D), (name, h)) if value is not None}
    read, returned = _widened(x=x, dt=dt, A=A, B=B, C=C, **optional)
    x, dt, A, B, C = read[:5]
    optional = dict(zip(optional, read[5:]))
    if x.dim() != len(sizes) + 1 or 0 in x.shape:
        raise ValueError(f"x must have shape ({', '.join(sizes)}, channels), none of them 0, got {tuple(x.shape)}")
    channels = x.shape[-1]
    if A.dim() != 2 or A.shape[0] != channels or A.shape[1] == 0:
        raise ValueError(f"A must have shape ({channels}, state), as x has {channels} channels, got {tuple(A.shape)}")
    allowed = {
        "dt": (dt, tuple(x.shape)),
        "B": (B, (*x.shape[:-1], A.shape[1])),
        "C": (C, (*x.shape[:-1], A.shape[1])),
        "D": (optional.get("D"), (channels,)),
        name: (optional.get(name), (x.shape[0], channels, A.shape[1])),
    }
    for key, (tensor, wanted) in allowed.items():
        if tensor is not None and tuple(tensor.shape) != wanted:
            raise ValueError(f"{key} must have shape {wanted} beside x and A, got {tuple(tensor.shape)}")
    checks.require(dt > 0, "dt must be above 0", dt)
    checks.require(A <= 0, "A must be at most 0", A)
    h = optional[name] if name in optional else x.new_zeros(allowed[name][1])
    return [x, dt, A, B, C, optional.get("D"), h], returned


def _check_step(x, dt, A, B, C, D, state) -> tuple:
    read, returned = _check_tokens(x, dt, A, B, C, D, state, "state", "batch")
    return *read, returned


def _check_scan(x, dt, A, B, C, D, initial_state, reset) -> tuple:
    read, returned = _check_tokens(x, dt, A, B, C, D, initial_state, "initial_state", "batch", "time")
    if reset is not None:
        shape = tuple(read[0].shape[:2])
        if not isinstance(reset, Tensor) or reset.dtype != torch.bool or tuple(reset.shape) != shape:
            raise ValueError(f"reset must be a tensor of bool of shape {shape}, got {checks.describe(reset)}")
        reset = reset.to(read[0].device)
    return *read, reset, returned
