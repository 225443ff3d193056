"""What the blocks share: checks of sequences and states, the short causal convolution, types of numbers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.ssm import state as scan_state

__all__ = [
    "SHORTEST",
    "BlockState",
    "CausalConvolution",
    "RMSNorm",
    "SequenceBlock",
    "check_input",
    "check_integers",
    "check_marks",
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


def parts(state: BlockState | None, name: str = "initial_state") -> tuple:
    """Window and scan of a state, or None and None for the beginning."""
    if state is None:
        return None, None
    if not isinstance(state, BlockState):
        raise ValueError(f"{name} must be a BlockState or None, got {checks.describe(state)}")
    return state


def single(value: Tensor) -> Tensor:
    """The tensor in at least single precision: decays, step lengths and angles are never rounded to half."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def step_length(raw: Tensor, bias: Tensor) -> Tensor:
    """dt = softplus(raw + bias) in at least single precision, above 0 also where softplus underflows."""
    return functional.softplus(single(raw) + single(bias)).clamp(min=SHORTEST)


def check_input(u, wanted: str, dims: int, weight: Tensor) -> None:
    """Check tokens against the first weights that they meet."""
    if not isinstance(u, Tensor) or u.dim() != dims or u.shape[-1] != weight.shape[-1] or 0 in u.shape:
        raise ValueError(f"u must be a tensor of shape ({wanted}, {weight.shape[-1]}), got {checks.describe(u)}")
    if u.device != weight.device:
        raise ValueError(f"u must be on {weight.device} like the block's weights, got a tensor on {u.device}")
    # Automatic mixed precision brings the types together by itself.
    if not u.is_floating_point() or (u.dtype != weight.dtype and not torch.is_autocast_enabled(u.device.type)):
        raise ValueError(f"u must be of type {weight.dtype} like the block's weights, got {u.dtype}")


def check_marks(x: Tensor, reset, lengths) -> None:
    """Check the mask of first tokens of packed rows (b, T) and the lengths of padded ones, values included."""
    scan_state.check_marks(x, reset, lengths)
    if lengths is not None:
        fits = (lengths >= 1) & (lengths <= x.shape[1])
        checks.require(fits, f"lengths must be from 1 to {x.shape[1]}", lengths)


def check_integers(name: str, value, shape: str, dims: int | None, below: int) -> Tensor:
    """Check a tensor of integers from 0 to below - 1, with so many dimensions, at least one, and nothing empty."""
    whole = isinstance(value, Tensor) and value.dtype in (torch.int64, torch.int32) and value.dim() > 0
    if not whole or dims not in (None, value.dim()) or 0 in value.shape:
        raise ValueError(f"{name} must be an integer tensor of shape {shape}, not empty, got {checks.describe(value)}")
    checks.require((value >= 0) & (value < below), f"{name} must lie from 0 to {below - 1}", value)
    return value


class SequenceBlock(nn.Module):
    """What all blocks offer: whole sequences, with or without what is remembered, and one token at a time.

    A block has weights ``in_proj``, the first that tokens meet, and defines ``_read`` and ``_read_one``.
    """

    def forward(self, u: Tensor, *, initial_state=None, reset=None, lengths=None) -> Tensor:
        """Outputs for whole sequences; :meth:`prefill` without the state.

        Parameters
        ----------
        u, initial_state, reset, lengths
            As in :meth:`prefill`.

        Returns
        -------
        Tensor, (batch, time, d_model)
        """
        return self.prefill(u, initial_state=initial_state, reset=reset, lengths=lengths)[0]

    def prefill(self, u: Tensor, *, initial_state=None, reset=None, lengths=None) -> tuple[Tensor, tuple]:
        """Read whole sequences and return what the block remembers.

        Parameters
        ----------
        u : Tensor, (batch, time, d_model)
            Tokens, of the type of the block's weights.
        initial_state : BlockState or ScanState, optional
            What the block remembers of the tokens before; nothing by default.
        reset : Tensor of bool, (batch, time), optional
            True at the first token of each sequence where several are packed into one row.
        lengths : Tensor of int, (batch,), optional
            Number of tokens of each sequence where shorter ones are padded at the end. Outputs beyond are without
            meaning; the state is that after the last token that counts.

        Returns
        -------
        y : Tensor, (batch, time, d_model)
        state : BlockState, or ScanState of a block without convolution
            To go on from.

        Raises
        ------
        ValueError
            If a shape or type does not fit.
        """
        check_input(u, "batch, time", 3, self.in_proj.weight)
        check_marks(u, reset, lengths)
        return self._read(u, initial_state, reset, lengths)

    def step(self, u: Tensor, state: tuple | None = None) -> tuple[Tensor, tuple]:
        """Read one token; time and memory do not grow with what was read before.

        Parameters
        ----------
        u : Tensor, (batch, d_model)
        state : BlockState or ScanState, optional
            As returned by :meth:`prefill` or the last call; nothing read before by default.

        Returns
        -------
        y : Tensor, (batch, d_model)
        state : BlockState or ScanState

        Raises
        ------
        ValueError
            If a shape or type does not fit.
        """
        check_input(u, "batch", 2, self.in_proj.weight)
        return self._read_one(u, state)

    def _read(self, u: Tensor, initial_state, reset, lengths) -> tuple[Tensor, tuple]:
        raise NotImplementedError

    def _read_one(self, u: Tensor, state) -> tuple[Tensor, tuple]:
        raise NotImplementedError


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
        time = x.shape[1]
        if time == 1 and reset is None and lengths is None:
            out, window = self.step(x[:, 0], window)
            return out[:, None], window
        past = max(self.width - 1, 0)
        window = self.start(x) if window is None else self.check_window(window, x)
        if not self.width:
            return x, window
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
        """One token (b, channels), in few operations."""
        window = self.start(x) if window is None else self.check_window(window, x)
        if not self.width:
            return x, window
        padded = torch.cat([window, x[:, None]], dim=1)
        return self.bias + (padded * self.weight.mT).sum(dim=1), padded[:, 1:]

    def start(self, x: Tensor) -> Tensor:
        """The window before the first token: zeros."""
        return x.new_zeros(x.shape[0], max(self.width - 1, 0), self.channels)

    def check_window(self, window, x: Tensor) -> Tensor:
        """Check the window of a given state."""
        wanted = (x.shape[0], max(self.width - 1, 0), self.channels)
        if not isinstance(window, Tensor) or tuple(window.shape) != wanted:
            raise ValueError(f"initial_state.window must be a tensor of shape {wanted}, got {checks.describe(window)}")
        return window.to(x.dtype)
