"""The block of Mamba-2: heads with one scalar decay each, a short convolution before and a norm after the gate.

Source: T. Dao and A. Gu, "Transformers are SSMs", arXiv:2405.21060, sections 5 and 7; initial values and the order of
operations as in their code. The scan is that of Mamba-3 with lambda = 1 and without rotation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.ssm import _block, _initial
from lib.ssm._block import BlockState, SequenceBlock
from lib.ssm.scan import BACKENDS, scan, scan_step

__all__ = ["Mamba2Block"]


class Mamba2Block(SequenceBlock):
    """Mamba-2: a scalar decay per head and token; write and read vectors shared by the heads.

    One projection gives, in order, z, x, B, C and dt; x, B and C pass through the convolution. With
    dt = softplus(dt + dt_bias) and A = -exp(A_log) of each head,

        y = scan(x, dt, A, B, C) + D x,   out = W norm(y * SiLU(z)).

    Parameters
    ----------
    d_model : int
        Width of the tokens.
    d_state : int
        N, numbers remembered for each channel.
    head_dim : int
        P, channels of a head; has to divide expand * d_model.
    expand : int
        Inner channels per channel of the model.
    conv_width : int
        Tokens seen by the convolution; 0 leaves it out, together with the activation that follows it.
    norm : bool
        Whether what has passed the gate is divided by its root mean square over all inner channels.
    dt_range : (float, float)
        The initial step lengths are log-uniform between these, and at least 1e-4.
    chunk_length : int
        Tokens that the scan takes at once.
    backend : str
        As in :func:`lib.ssm.scan.scan`.
    generator : torch.Generator, optional
        Source of the initial weights; seed 0 by default. The block lives on its device.
    dtype : torch.dtype
        float32 or float64.

    Attributes
    ----------
    A_log : nn.Parameter, (H,)
        A = -exp(A_log), initially uniform between -16 and -1.
    D, dt_bias : nn.Parameter, (H,)

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> block = Mamba2Block(d_model=4, d_state=6, head_dim=2)
    >>> block(torch.ones(2, 7, 4)).shape
    torch.Size([2, 7, 4])
    """

    no_weight_decay = ("A_log", "D", "dt_bias")

    def __init__(
        self,
        d_model: int,
        d_state: int = 128,
        head_dim: int = 64,
        expand: int = 2,
        conv_width: int = 4,
        norm: bool = True,
        dt_range: tuple[float, float] = (1e-3, 1e-1),
        chunk_length: int = 64,
        backend: str = "auto",
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        generator = _initial.check_options(
            generator,
            dtype,
            d_model=d_model,
            d_state=d_state,
            head_dim=head_dim,
            expand=expand,
            chunk_length=chunk_length,
        )
        checks.integer("conv_width", conv_width, lowest=0)
        checks.flag("norm", norm)
        checks.choice("backend", backend, BACKENDS)
        dt_range = _initial.check_range("dt_range", dt_range)
        self.d_model, self.d_state, self.head_dim, self.d_inner = d_model, d_state, head_dim, expand * d_model
        self.heads = _initial.count_heads(self.d_inner, head_dim)
        self.chunk_length, self.backend = chunk_length, backend

        factory = {"dtype": dtype, "device": generator.device}
        self.in_proj = _initial.linear(d_model, 2 * self.d_inner + 2 * d_state + self.heads, generator, dtype)
        self.conv = _block.CausalConvolution(self.d_inner + 2 * d_state, conv_width, generator, dtype)
        self.dt_bias = _initial.dt_bias(self.heads, dt_range, generator, dtype)
        self.A_log = nn.Parameter(torch.log(1 + 15 * torch.rand(self.heads, generator=generator, **factory)))
        self.D = nn.Parameter(torch.ones(self.heads, **factory))
        self.norm = _block.RMSNorm(self.d_inner, eps=1e-5, **factory) if norm else nn.Identity()
        self.out_proj = _initial.linear(self.d_inner, d_model, generator, dtype)

    def _read(self, u: Tensor, initial_state, reset, lengths) -> tuple[Tensor, BlockState]:
        window, memory = _block.parts(initial_state)
        z, inputs, window = self._projected(u, window, reset, lengths)
        y, memory = scan(
            *inputs,
            initial_state=memory,
            reset=reset,
            lengths=lengths,
            chunk_length=self.chunk_length,
            backend=self.backend,
            validate=False,
        )
        return self._output(y, inputs[0], z), BlockState(window, memory)

    def _read_one(self, u: Tensor, state) -> tuple[Tensor, BlockState]:
        window, memory = _block.parts(state, "state")
        z, inputs, window = self._projected(u[:, None], window)
        x, dt, A, B, C = (part[:, 0] for part in inputs)
        y, memory = scan_step(x, dt, A, B, C, state=memory, validate=False)
        return self._output(y, x, z[:, 0]), BlockState(window, memory)

    def _projected(self, u: Tensor, window, reset=None, lengths=None) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """The gate, the arguments of the scan and the window."""
        sizes = [self.d_inner, self.d_inner + 2 * self.d_state, self.heads]
        z, x, dt = self.in_proj(u).split(sizes, dim=-1)
        x, window = self.conv(x, window, reset, lengths)
        x = functional.silu(x) if self.conv.width else x
        x, B, C = x.split([self.d_inner, self.d_state, self.d_state], dim=-1)
        dt = _block.step_length(dt, self.dt_bias)
        A = -torch.exp(_block.single(self.A_log)).expand_as(dt)
        return z, (x.unflatten(-1, (self.heads, self.head_dim)), dt, A, B[..., None, :], C[..., None, :]), window

    def _output(self, y: Tensor, x: Tensor, z: Tensor) -> Tensor:
        y = (y + self.D[:, None] * x).flatten(-2)
        return self.out_proj(self.norm(y * functional.silu(z)))
