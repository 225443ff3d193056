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
        return padding(self.lengths, self.time)


def read(
    x,
    dt,
    A,
    B,
    C,
    lam=None,
    theta=None,
    initial_state=None,
    reset=None,
    lengths=None,
    *,
    validate=True,
    ranks=False,
    step=False,
) -> Inputs:
    """Check the arguments of a scan, or of one step of it, and bring them to one type.

    Shapes and types are always looked at, values only when `validate` is true: on a GPU that waits for the device.
    """
    steps = dict(dt=dt, A=A, lam=lam, theta=theta)
    given = {name: value for name, value in steps.items() if value is not None}
    for name, value in {"x": x, "dt": dt, "A": A, **given, "B": B, "C": C}.items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise ValueError(f"{name} must be a floating tensor, got {checks.describe(value)}")
    _one_type({"x": x, "B": B, "C": C})
    _one_type(given)
    compute = torch.promote_types(torch.promote_types(x.dtype, dt.dtype), torch.float32)
    if x.dtype != dt.dtype and compute != torch.float32:
        raise ValueError(f"x and dt must share one dtype, or x be half precision, but x is {x.dtype}, dt {dt.dtype}")
    if x.device != dt.device:
        raise ValueError(f"x and dt must be on one device, but x is on {x.device}, dt on {dt.device}")
    _shapes(x, dt, A, B, C, lam, theta, ranks, step)
    if step:  # a sequence of one token
        x, dt, A, B, C, lam, theta = (None if v is None else v[:, None] for v in (x, dt, A, B, C, lam, theta))
        steps = dict(dt=dt, A=A, lam=lam, theta=theta)
    if initial_state is not None:
        rotated = 0 if theta is None else theta.shape[-1]
        _state("state" if step else "initial_state", initial_state, x, B.shape[3], rotated, compute)
    check_marks(x, reset, lengths)
    if reset is not None and lengths is not None:  # nothing starts in the padding
        reset = reset & ~padding(lengths, x.shape[1])
    if checks.flag("validate", validate):
        _values({"x": x, **given, "B": B, "C": C}, lengths, x.shape[1])
    converted = {name: None if value is None else value.to(compute) for name, value in steps.items()}
    return Inputs(x=x, B=B, C=C, **converted, state=initial_state, reset=reset, lengths=lengths)


def padding(lengths: Tensor, time: int) -> Tensor:
    """True (b, T) at the tokens that follow the end of their sequence."""
    return torch.arange(time, device=lengths.device) >= lengths[:, None]


def _one_type(named: dict) -> None:
    """Check that tensors share one type and device."""
    if len({(value.dtype, value.device) for value in named.values()}) > 1:
        found = ", ".join(f"{name} is {value.dtype} on {value.device}" for name, value in named.items())
        raise ValueError(f"{' and '.join(named)} must share one dtype and device, but {found}")


def _shapes(x, dt, A, B, C, lam, theta, ranks: bool, step: bool) -> None:
    """Check the shapes of one token, or of sequences with a time as their second dimension."""
    time = 1 if step else 2  # how many dimensions the batch and the time are
    wanted = ["b", "H", "P"] if step else ["b", "T", "H", "P"]
    wanted += ["R"] if ranks else []
    if x.dim() != len(wanted) or 0 in x.shape:
        raise ValueError(f"x must have shape ({', '.join(wanted)}) with nothing empty, got {tuple(x.shape)}")
    heads, rank = x.shape[time], tuple(x.shape[time + 2 :])
    for name, value in dict(dt=dt, A=A, lam=lam).items():
        if value is not None and value.shape != x.shape[: time + 1]:
            raise ValueError(f"{name} must have the shape {tuple(x.shape[: time + 1])} of x, got {tuple(value.shape)}")
    fits = B.dim() == x.dim() and B.shape[:time] == x.shape[:time] and 0 not in B.shape
    leading = ", ".join(str(size) for size in x.shape[:time])
    if not fits or tuple(B.shape[time + 2 :]) != rank or heads % B.shape[time]:
        allowed = f"({leading}, G, N{''.join(f', {size}' for size in rank)}) with G dividing {heads}"
        raise ValueError(f"B must have shape {allowed}, got {tuple(B.shape)}")
    if C.shape != B.shape:
        raise ValueError(f"C must have the shape {tuple(B.shape)} of B, got {tuple(C.shape)}")
    if theta is None:
        return
    if theta.dim() != time + 2 or theta.shape[:time] != x.shape[:time] or theta.shape[time] not in (1, heads):
        raise ValueError(
            f"theta must have shape ({leading}, {heads}, M) or ({leading}, 1, M), got {tuple(theta.shape)}"
        )
    rotation.check_pairs("B", B.shape[time + 1], "theta", theta)


def _state(name: str, state, x: Tensor, N: int, rotated: int, compute: torch.dtype) -> None:
    """Check a state that a scan is to go on from."""
    if not isinstance(state, ScanState):
        raise ValueError(f"{name} must be a ScanState or None, got {checks.describe(state)}")
    batch, _, heads, width, *rank = x.shape
    wanted = ScanState(
        (batch, heads, N, width), (batch, heads, N, *rank), (batch, heads, width, *rank), (batch, heads, rotated)
    )
    for part, sizes in wanted._asdict().items():
        value = getattr(state, part)
        if not isinstance(value, torch.Tensor) or tuple(value.shape) != sizes:
            raise ValueError(f"{name}.{part} must be a tensor of shape {sizes}, got {checks.describe(value)}")
        kind = rotation.precise(x.device) if part == "phase" else compute
        if value.device != x.device or value.dtype != kind:
            raise ValueError(f"{name}.{part} must be {kind} on {x.device}, got {value.dtype} on {value.device}")


def _values(named: dict, lengths: Tensor | None, time: int) -> None:
    """Check signs and ranges, and that all is finite."""
    for name, value in named.items():
        checks.tensors(**{name: value})
    checks.require(named["dt"] > 0, "dt must be positive", named["dt"])
    checks.require(named["A"] <= 0, "A must be at most 0", named["A"])
    if "lam" in named:
        checks.require((named["lam"] >= 0) & (named["lam"] <= 1), "lam must be from 0 to 1", named["lam"])
    if lengths is not None:
        checks.require((lengths >= 1) & (lengths <= time), f"lengths must be from 1 to {time}", lengths)


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
