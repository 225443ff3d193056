"""The block of Mamba-3: trapezoidal steps, a rotating state, several inputs and outputs per head.

Source: Lahoti et al., "Mamba-3: Improved Sequence Modeling using State Space Principles", arXiv:2603.15569, sections 3
and 4; activations, floors and the order of the projection as in the authors' code.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.ssm import _block, _initial
from lib.ssm._block import SequenceBlock
from lib.ssm.mimo import mimo_scan_chunked, mimo_step
from lib.ssm.scan import BACKENDS, scan, scan_step
from lib.ssm.state import ScanState

__all__ = ["Mamba3Block", "Projection"]

# Slowest decay: a state that nothing is written to loses at least this share per unit of time.
SLOWEST = 1e-4


class Projection(NamedTuple):
    """What a Mamba-3 block makes of its tokens: a gate and the arguments of the scan, in its order.

    With mimo_rank > 1, x, z, B and C end with the axis of the ranks; of z it comes last, too.

    Attributes
    ----------
    z : Tensor, (b, T, H, P)
        Gate before its activation.
    x : Tensor, (b, T, H, P)
        Input of the scan.
    dt, A : Tensor, (b, T, H)
        Step lengths and rates of decay, at least float32.
    B, C : Tensor, (b, T, H, N)
        Write and read vectors, normalised and shifted, not yet rotated.
    lam : Tensor, (b, T, H), or None
        Weight of the present token; None without the trapezoidal rule.
    theta : Tensor, (b, T, 1, M) or (b, T, H, M), or None
        Angular rates (radians per unit of time); None without rotation.
    """

    z: Tensor
    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    lam: Tensor | None
    theta: Tensor | None


class Mamba3Block(SequenceBlock):
    """Mamba-3: a scalar decay per head and token, inputs of two neighbouring tokens, and a state that turns.

    One projection of width 2 d_inner + 2 N R + 3 H + M gives, in order, z, x, B, C and the raw dt, A, lambda and
    angle. Then

        dt = softplus(dt + dt_bias),   A = -f(A) <= -1e-4,   f(v) = 1 + v for v >= 0 and 1 / (1 - v) below,
        lambda = sigmoid(lambda),      theta = pi tanh(angle), shared by the heads,
        B = norm(B) + B_bias,          C = norm(C) + C_bias, with biases per head that start at 1,
        y = scan(x, dt, A, B, C, lambda, theta) + D x,   out = W (y * SiLU(z)).

    With R = mimo_rank > 1 every head has R inputs x w_x, gates z w_z and outputs, which are summed with weights w_o.

    Parameters
    ----------
    d_model : int
        Width of the tokens.
    d_state : int
        N, numbers remembered for each channel; even if they are to turn in pairs.
    head_dim : int
        P, channels of a head; has to divide expand * d_model.
    expand : int
        Inner channels per channel of the model.
    mimo_rank : int
        R, vectors written and read by a head at each token.
    rotate_fraction : float
        Share of the pairs of numbers that turn, above 0 and at most 1: M = rotate_fraction * N / 2, rounded down.
    trapezoidal : bool
        Whether a step takes in the token before as well; without, lambda = 1.
    rotary : bool
        Whether the state turns.
    rope_base : float, optional
        A control: angles of the usual rotary embedding, rope_base^(-i / M) radians at every token for pair i, in place
        of angles that depend on the token. Above 1; needs ``rotary``.
    dt_range : (float, float)
        The initial step lengths are log-uniform between these, and at least 1e-4. The angle of a token is below pi dt:
        for counting start near 1.
    chunk_length : int
        Tokens that the scan takes at once; divided by R for several inputs.
    backend : str
        As in :func:`lib.ssm.scan.scan`.
    generator : torch.Generator, optional
        Source of the initial weights; seed 0 by default. The block lives on its device.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> block = Mamba3Block(d_model=4, d_state=6, head_dim=2, rotate_fraction=1.0)
    >>> block(torch.ones(2, 7, 4)).shape
    torch.Size([2, 7, 4])
    >>> y, state = block.prefill(torch.ones(2, 7, 4))
    >>> y, state = block.step(torch.ones(2, 4), state)
    """

    no_weight_decay = ("D", "dt_bias")

    def __init__(
        self,
        d_model: int,
        d_state: int = 128,
        head_dim: int = 64,
        expand: int = 2,
        mimo_rank: int = 1,
        rotate_fraction: float = 0.5,
        trapezoidal: bool = True,
        rotary: bool = True,
        rope_base: float | None = None,
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
            mimo_rank=mimo_rank,
            chunk_length=chunk_length,
        )
        checks.choice("backend", backend, BACKENDS)
        dt_range = _initial.check_range("dt_range", dt_range)
        self.d_model, self.d_state, self.head_dim, self.d_inner = d_model, d_state, head_dim, expand * d_model
        self.heads = _initial.count_heads(self.d_inner, head_dim)
        self.mimo_rank, self.chunk_length, self.backend = mimo_rank, chunk_length, backend
        self.rope_base = rope_base
        self.trapezoidal = checks.flag("trapezoidal", trapezoidal)
        self.rotated = _rotated_pairs(d_state, rotate_fraction) if checks.flag("rotary", rotary) else 0
        if rope_base is not None:
            checks.real_number("rope_base", rope_base, lowest=1, open_below=True)
            if not rotary:
                raise ValueError(f"rope_base needs rotary to be True, got rope_base {rope_base} and rotary {rotary}")

        factory = {"dtype": dtype, "device": generator.device}
        chosen = self.rotated if rope_base is None else 0
        self.sizes = [
            *(self.d_inner, self.d_inner, d_state * mimo_rank, d_state * mimo_rank),
            *(self.heads, self.heads, self.heads if trapezoidal else 0, chosen),
        ]
        self.in_proj = _initial.linear(d_model, sum(self.sizes), generator, dtype)
        self.dt_bias = _initial.dt_bias(self.heads, dt_range, generator, dtype)
        self.B_norm, self.C_norm = (_block.RMSNorm(d_state, eps=1e-5, **factory) for _ in range(2))
        rank = () if mimo_rank == 1 else (mimo_rank,)
        self.B_bias, self.C_bias = (nn.Parameter(torch.ones(self.heads, d_state, *rank, **factory)) for _ in range(2))
        self.D = nn.Parameter(torch.ones(self.heads, **factory))
        if mimo_rank > 1:
            ones = torch.ones(self.heads, head_dim, mimo_rank, **factory)
            self.x_weight, self.z_weight = nn.Parameter(ones / mimo_rank), nn.Parameter(ones.clone())
            self.out_weight = nn.Parameter(ones / mimo_rank)
        self.out_proj = _initial.linear(self.d_inner, d_model, generator, dtype)

    def _read(self, u: Tensor, initial_state, reset, lengths) -> tuple[Tensor, ScanState]:
        z, *inputs = self.project(u)
        run = scan if self.mimo_rank == 1 else mimo_scan_chunked
        y, state = run(
            *inputs,
            initial_state=initial_state,
            reset=reset,
            lengths=lengths,
            chunk_length=max(self.chunk_length // self.mimo_rank, 1),
            backend=self.backend,
            validate=False,
        )
        return self._output(y, inputs[0], z), state

    def _read_one(self, u: Tensor, state) -> tuple[Tensor, ScanState]:
        z, *inputs = (None if part is None else part[:, 0] for part in self.project(u[:, None]))
        step = scan_step if self.mimo_rank == 1 else mimo_step
        y, state = step(*inputs, state, validate=False)
        return self._output(y, inputs[0], z), state

    def project(self, u: Tensor) -> Projection:
        """What the scan is given for some tokens: step lengths, rates, write and read vectors, weights and angles.

        Parameters
        ----------
        u : Tensor, (batch, time, d_model)

        Returns
        -------
        Projection

        Raises
        ------
        ValueError
            If the shape or type does not fit.
        """
        _block.check_input(u, "batch, time", 3, self.in_proj.weight)
        z, x, B, C, dt, A, trap, angle = self.in_proj(u).split(self.sizes, dim=-1)
        z, x = (part.unflatten(-1, (self.heads, self.head_dim)) for part in (z, x))
        if self.mimo_rank > 1:
            z, x = z[..., None] * self.z_weight, (x[..., None] * self.x_weight).to(x.dtype)
        dt = _block.step_length(dt, self.dt_bias)
        return Projection(
            z,
            x,
            dt,
            -heavy_tailed(_block.single(A)).clamp(min=SLOWEST),
            (self._normalised(B, self.B_norm) + self.B_bias).to(x.dtype),
            (self._normalised(C, self.C_norm) + self.C_bias).to(x.dtype),
            torch.sigmoid(_block.single(trap)) if self.trapezoidal else None,
            self._rates(dt, _block.single(angle)),
        )

    def _normalised(self, v: Tensor, norm: nn.Module) -> Tensor:
        """Vectors of unit mean square: (b, T, 1, N), with R > 1 (b, T, 1, N, R)."""
        if self.mimo_rank == 1:
            return norm(v)[:, :, None]
        return norm(v.unflatten(-1, (self.mimo_rank, self.d_state))).mT[:, :, None]

    def _rates(self, dt: Tensor, angle: Tensor) -> Tensor | None:
        """Angular rates, of which the scan makes angles by multiplying with the step lengths."""
        if self.rope_base is not None:
            pair = torch.arange(self.rotated, dtype=dt.dtype, device=dt.device)
            return self.rope_base ** (-pair / self.rotated) / dt[..., None]
        return math.pi * torch.tanh(angle)[:, :, None] if self.rotated else None

    def _output(self, y: Tensor, x: Tensor, z: Tensor) -> Tensor:
        skip = self.D.view(-1, 1) if self.mimo_rank == 1 else self.D.view(-1, 1, 1)
        y = (y + skip * x) * functional.silu(z)
        if self.mimo_rank > 1:
            y = (y * self.out_weight).sum(dim=-1)
        return self.out_proj(y.flatten(-2).to(z.dtype))


def heavy_tailed(v: Tensor) -> Tensor:
    """1 + v for v >= 0 and 1 / (1 - v) below: positive, smooth at 0, slow to reach 0."""
    return torch.where(v >= 0, 1 + v, 1 / (1 - v.clamp(max=0)))


def _rotated_pairs(d_state: int, rotate_fraction: float) -> int:
    checks.real_number("rotate_fraction", rotate_fraction, lowest=0, highest=1, open_below=True)
    if d_state % 2:
        raise ValueError(f"d_state must be even to turn in pairs, got {d_state}")
    rotated = int(rotate_fraction * (d_state // 2) + 1e-9)  # 15/22 of 22 pairs are 15, in floating numbers a bit less
    if not rotated:
        raise ValueError(f"rotate_fraction must turn at least one of {d_state // 2} pairs, got {rotate_fraction}")
    return rotated
