"""What a scan carries from one token to the next, and the checks that all forms of the scan share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lib import checks
from lib.ssm import rotation

__all__ = ["ScanState"]


class ScanState(NamedTuple):
    """Memory after the last token: all that is needed to go on.

    Attributes
    ----------
    h : Tensor, (b, H, N, P)
        State, in the frame that turns with the phase.
    k : Tensor, (b, H, N) or (b, H, N, R)
        Write vector of the last token, in the same frame.
    v : Tensor, (b, H, P) or (b, H, P, R)
        Input of the last token.
    phase : Tensor, (b, H, M)
        Sum of all angles so far (radians, between -pi and pi), in float64; M = 0 without rotation.
    """

    h: Tensor
    k: Tensor
    v: Tensor
    phase: Tensor


@dataclass(frozen=True)
class Inputs:
    """Checked arguments of a scan: dt, A, lam and theta in the type it computes in, x, B and C as they came."""

    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    lam: Tensor | None
    theta: Tensor | None
    state: ScanState | None
    reset: Tensor | None
    lengths: Tensor | None

    @property
    def heads(self) -> int:
        return self.x.shape[2]

    @property
    def compute(self) -> torch.dtype:
        """The type of decays, states and sums, at least float32."""
        return self.dt.dtype

    @property
    def time(self) -> int:
        return self.x.shape[1]

    def padded(self) -> Tensor | None:
        """Which tokens are padding, (b, T)."""
        if self.lengths is None:
            return None
        return torch.arange(self.time, device=self.x.device) >= self.lengths[:, None]


def read(
    x, dt, A, B, C, lam=None, theta=None, initial_state=None, reset=None, lengths=None, *, validate=True, ranks=False
) -> Inputs:
    """Check the arguments of a scan and bring them to one type.

    Shapes and types are always looked at, values only when `validate` is true: on a GPU that waits for the device.
    """
    steps = dict(dt=dt, A=A, lam=lam, theta=theta)
    given = {name: value for name, value in steps.items() if value is not None}
    for name, value in {"x": x, **given, "B": B, "C": C}.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise ValueError(f"{name} must be a floating tensor, got {checks.describe(value)}")
    _one_type({"x": x, "B": B, "C": C})
    _one_type(given)
    compute = torch.promote_types(torch.promote_types(x.dtype, dt.dtype), torch.float32)
    if x.dtype != dt.dtype and compute != torch.float32:
        raise ValueError(f"x and dt must share one dtype, or x be half precision, but x is {x.dtype}, dt {dt.dtype}")
    if x.device != dt.device:
        raise ValueError(f"x and dt must be on one device, but x is on {x.device}, dt on {dt.device}")
    _shapes(x, dt, A, B, C, lam, theta, ranks)
    rank = x.shape[4:]
    if initial_state is not None:
        rotated = 0 if theta is None else theta.shape[-1]
        _state(initial_state, x.shape, B.shape[3], rank, rotated, compute, x.device)
    check_marks(x, reset, lengths)
    if checks.flag("validate", validate):
        for name, value in {"x": x, **given, "B": B, "C": C}.items():
            checks.tensors(**{name: value})
        checks.require(dt > 0, "dt must be positive", dt)
        checks.require(A <= 0, "A must be at most 0", A)
        if lam is not None:
            checks.require((lam >= 0) & (lam <= 1), "lam must be from 0 to 1", lam)
        if lengths is not None:
            time = x.shape[1]
            checks.require((lengths >= 1) & (lengths <= time), f"lengths must be from 1 to {time}", lengths)
    converted = {name: None if value is None else value.to(compute) for name, value in steps.items()}
    return Inputs(x=x, B=B, C=C, **converted, state=initial_state, reset=reset, lengths=lengths)


def _one_type(named: dict) -> None:
    """Check that tensors share one type and device."""
    if len({(value.dtype, value.device) for value in named.values()}) > 1:
        found = ", ".join(f"{name} is {value.dtype} on {value.device}" for name, value in named.items())
        raise ValueError(f"{' and '.join(named)} must share one dtype and device, but {found}")


def _shapes(x, dt, A, B, C, lam, theta, ranks: bool) -> None:
    wanted = "(b, T, H, P, R)" if ranks else "(b, T, H, P)"
    if x.dim() != (5 if ranks else 4) or 0 in x.shape:
        raise ValueError(f"x must have shape {wanted} with nothing empty, got {tuple(x.shape)}")
    batch, time, heads = x.shape[:3]
    for name, value in dict(dt=dt, A=A, lam=lam).items():
        if value is not None and value.shape != (batch, time, heads):
            raise ValueError(f"{name} must have the shape {(batch, time, heads)} of x, got {tuple(value.shape)}")
    rank = tuple(x.shape[4:])
    fits = B.dim() == x.dim() and B.shape[:2] == x.shape[:2] and 0 not in B.shape and tuple(B.shape[4:]) == rank
    if not fits or heads % B.shape[2]:
        allowed = f"({batch}, {time}, G, N{''.join(f', {size}' for size in rank)}) with G dividing {heads}"
        raise ValueError(f"B must have shape {allowed}, got {tuple(B.shape)}")
    if C.shape != B.shape:
        raise ValueError(f"C must have the shape {tuple(B.shape)} of B, got {tuple(C.shape)}")
    if theta is None:
        return
    if theta.dim() != 4 or theta.shape[:2] != (batch, time) or theta.shape[2] not in (1, heads):
        allowed = f"({batch}, {time}, {heads}, M) or ({batch}, {time}, 1, M)"
        raise ValueError(f"theta must have shape {allowed}, got {tuple(theta.shape)}")
    rotation.check_pairs("B", B.shape[3], "theta", theta)


def _state(state, shape, N: int, rank, rotated: int, compute, device) -> None:
    """Check a state that a scan is to go on from."""
    if not isinstance(state, ScanState):
        raise ValueError(f"initial_state must be a ScanState or None, got {checks.describe(state)}")
    batch, _, heads, width = shape[:4]
    wanted = dict(h=(batch, heads, N, width), k=(batch, heads, N, *rank), v=(batch, heads, width, *rank), phase=None)
    wanted["phase"] = (batch, heads, rotated)
    for name, sizes in wanted.items():
        value = getattr(state, name)
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != sizes:
            raise ValueError(f"initial_state.{name} must be a tensor of shape {sizes}, got {checks.describe(value)}")
        if value.device != device or (name != "phase" and value.dtype != compute):
            raise ValueError(f"initial_state.{name} must be {compute} on {device}, got {value.dtype} on {value.device}")


def check_marks(x: Tensor, reset, lengths) -> None:
    """Check the marks of packed sequences and the lengths of padded ones."""
    if reset is not None:
        good = isinstance(reset, torch.Tensor) and reset.dtype == torch.bool and reset.shape == x.shape[:2]
        if not good or reset.device != x.device:
            wanted = f"a boolean tensor of shape {tuple(x.shape[:2])} on {x.device}"
            raise ValueError(f"reset must be {wanted} or None, got {checks.describe(reset)}")
    if lengths is not None:
        whole = isinstance(lengths, torch.Tensor) and lengths.dtype in (torch.int32, torch.int64)
        if not whole or lengths.shape != x.shape[:1] or lengths.device != x.device:
            wanted = f"an integer tensor of shape {tuple(x.shape[:1])} on {x.device}"
            raise ValueError(f"lengths must be {wanted} or None, got {checks.describe(lengths)}")
