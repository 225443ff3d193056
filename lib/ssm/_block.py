"""What the blocks share: checks of sequences and states, the short causal convolution, types of numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks

__all__ = [
    "SHORTEST",
    "BlockState",
    "CausalConvolution",
    "RMSNorm",
    "check_lengths",
    "check_reset",
    "check_sequence",
    "check_token",
    "padding",
    "parts",
    "single",
    "step_length",
]

# A step so short that exp(dt A) is exactly 1 and nothing is written; its inverse is still a number in single precision.
SHORTEST = 1e-30


class BlockState(NamedTuple):
    """Memory of a block with a short convolution in front of its scan.

    Attributes
    ----------
    window : Tensor, (b, width - 1, channels)
        The last inputs of the convolution, the newest one last; empty where the block has no convolution.
    scan : Tensor or ScanState
        Memory of the scan.
    """

    window: Tensor
    scan: object


def parts(state: BlockState | None) -> tuple:
    """Window and scan of a state, or None and None for the beginning."""
    if state is None:
        return None, None
    if not isinstance(state, BlockState):
        raise ValueError(f"initial_state must be a BlockState or None, got {checks.describe(state)}")
    return state


def single(value: Tensor) -> Tensor:
    """The tensor in at least single precision: decays, step lengths and angles are never rounded to half."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def step_length(raw: Tensor, bias: Tensor) -> Tensor:
    """dt = softplus(raw + bias) in at least single precision, above 0 also where softplus underflows."""
    return functional.softplus(single(raw) + single(bias)).clamp(min=SHORTEST)


def padding(lengths: Tensor, time: int) -> Tensor:
    """True (b, T) at the tokens that follow the end of their sequence."""
    return torch.arange(time, device=lengths.device) >= lengths[:, None]


def _check_input(u, wanted: str, dims: int, weight: Tensor) -> None:
    if not isinstance(u, Tensor) or u.dim() != dims or u.shape[-1] != weight.shape[-1] or 0 in u.shape:
        raise ValueError(f"u must be a tensor of shape ({wanted}, {weight.shape[-1]}), got {checks.describe(u)}")
    if u.device != weight.device:
        raise ValueError(f"u must be on {weight.device} like the block's weights, got a tensor on {u.device}")
    # Automatic mixed precision brings the types together by itself.
    if not u.is_floating_point() or (u.dtype != weight.dtype and not torch.is_autocast_enabled(u.device.type)):
        raise ValueError(f"u must be of type {weight.dtype} like the block's weights, got {u.dtype}")


def check_sequence(u, weight: Tensor, reset, lengths) -> None:
    """Check the tokens of :meth:`prefill` against the block's first weights, and what says where sequences end."""
    _check_input(u, "batch, time", 3, weight)
    check_reset(reset, u.shape[:2], u.device)
    check_lengths(lengths, u.shape[:2])


def check_token(u, weight: Tensor) -> None:
    """Check the token of :meth:`step` against the block's first weights."""
    _check_input(u, "batch", 2, weight)


def check_reset(reset, sizes: tuple[int, int], device: torch.device) -> None:
    """Check the mask of first tokens of packed sequences."""
    if reset is None:
        return
    fits = isinstance(reset, Tensor) and reset.dtype == torch.bool and tuple(reset.shape) == tuple(sizes)
    if not fits or reset.device != device:
        raise ValueError(f"reset must be a bool tensor of shape {tuple(sizes)}, got {checks.describe(reset)}")


def check_lengths(lengths, sizes: tuple[int, int]) -> None:
    """Check the numbers of tokens of padded sequences."""
    if lengths is None:
        return
    whole = isinstance(lengths, Tensor) and lengths.dtype in (torch.int64, torch.int32)
    if not whole or tuple(lengths.shape) != (sizes[0],):
        raise ValueError(f"lengths must be an integer tensor of shape ({sizes[0]},), got {checks.describe(lengths)}")
    fits = (lengths >= 1) & (lengths <= sizes[1])
    checks.require(fits, f"lengths must lie from 1 to the {sizes[1]} tokens of u", lengths)


class RMSNorm(nn.RMSNorm):
    """Torch's norm in the type of its weights, which mixed precision leaves single beside half-precision inputs."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class CausalConvolution(nn.Module):
    """A convolution over time for each channel by itself that sees the present and the last ``width - 1`` tokens.

    Width 0 stands for no convolution: the input is passed on.
    """

    def __init__(self, channels: int, width: int, generator: torch.Generator, dtype: torch.dtype):
        super().__init__()
        self.channels = channels
        self.width = width
        if width:
            drawn = torch.rand(channels, width + 1, generator=generator, dtype=dtype, device=generator.device)
            drawn = (2 * drawn - 1) * width**-0.5
            self.weight = nn.Parameter(drawn[:, :width].clone())  # the last column meets the present token
            self.bias = nn.Parameter(drawn[:, width].clone())

    def forward(
        self, x: Tensor, window: Tensor | None = None, reset: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs (b, T, channels) and the window for what follows the last token."""
        past = max(self.width - 1, 0)
        window = self.start(x) if window is None else self.check_window(window, x)
        if not self.width:
            return x, window
        time = x.shape[1]
        padded = torch.cat([window, x], dim=1)
        same = None
        if reset is not None:
            # Packed sequences are numbered; a tap that reaches into another sequence reads zero.
            number = functional.pad(reset.long().cumsum(dim=1), (past, 0))
            same = [(number[:, lag : lag + time] == number[:, past:])[..., None] for lag in range(past)]
        out = self.bias + self.weight[:, past] * x
        for lag in range(past):
            tap = self.weight[:, lag] * padded[:, lag : lag + time]
            out = out + (tap if same is None else torch.where(same[lag], tap, torch.zeros_like(tap)))
        return out, self._window_after(padded, past, None if reset is None else number, lengths)

    def _window_after(self, padded: Tensor, past: int, number: Tensor | None, lengths: Tensor | None) -> Tensor:
        """The last inputs of each sequence, zero where they belong to the sequence before."""
        batch, total = padded.shape[:2]
        if lengths is None:
            end = padded.new_full((batch,), total - past, dtype=torch.long)
        else:
            end = lengths.to(padded.device, torch.long)
        index = end[:, None] + torch.arange(past, device=padded.device)
        window = padded.gather(1, index[..., None].expand(-1, -1, self.channels))
        if number is None:
            return window
        newest = number.gather(1, (end + past - 1)[:, None])
        return torch.where((number.gather(1, index) == newest)[..., None], window, torch.zeros_like(window))

    def step(self, x: Tensor, window: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One token (b, channels)."""
        out, window = self(x[:, None], window)
        return out[:, 0], window

    def start(self, x: Tensor) -> Tensor:
        """The window before the first token: zeros."""
        return x.new_zeros(x.shape[0], max(self.width - 1, 0), self.channels)

    def check_window(self, window, x: Tensor) -> Tensor:
        """Check the window of a given state."""
        wanted = (x.shape[0], max(self.width - 1, 0), self.channels)
        if not isinstance(window, Tensor) or tuple(window.shape) != wanted:
            raise ValueError(f"initial_state.window must be a tensor of shape {wanted}, got {checks.describe(window)}")
        return window.to(x.dtype)
