"""The block of Mamba-1: a short convolution, the selective scan and a gate.

Source: A. Gu and T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752,
section 3.4 and algorithm 2; initial values and the order of operations as in their code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook

from lib import checks
from lib._plain_operations import needs_plain_operations
from lib.ssm import _block, _initial, selective
from lib.ssm._block import BlockState, SequenceBlock
from lib.ssm.selective import selective_scan, selective_step
from lib.ssm.state import padding

__all__ = ["Mamba1Block"]


class Mamba1Block(SequenceBlock):
    """Mamba-1: every channel has a state of its own; write, read and step size depend on the token.

    With x the convolved and activated half of the projected input, of ``d_inner = expand * d_model`` channels,

        B_t = S_B x_t,   C_t = S_C x_t,   dt_t = softplus(S_Delta x_t + dt_bias),
        y = selective_scan(x, dt, A, B, C, D),   out = W (y * SiLU(z)).

    Parameters
    ----------
    d_model : int
        Width of the tokens.
    d_state : int
        N, numbers remembered by each channel.
    expand : int
        Inner channels per channel of the model.
    conv_width : int
        Tokens seen by the convolution; 0 leaves it out, together with the activation that follows it.
    dt_rank : int, optional
        Rank of S_Delta; d_model / 16, rounded up, by default.
    dt_range : (float, float)
        The initial step sizes are log-uniform between these, and at least 1e-4.
    input_map, output_map : nn.Module, optional
        Linear maps from d_inner to d_state that stand for S_B and S_C: a place for constrained matrices. They may share
        parameters. By default free linear maps.
    generator : torch.Generator, optional
        Source of the initial weights; seed 0 by default. The block lives on its device.
    dtype : torch.dtype
        float32 or float64.

    Attributes
    ----------
    input_map, output_map, step_map : nn.Module
        S_B, S_C and S_Delta as maps; the properties ``S_B``, ``S_C`` and ``S_Delta`` are their matrices.
    A_log : nn.Parameter, (d_inner, N)
        A = -exp(A_log), initially A[c, n] = -(n + 1).
    D, dt_bias : nn.Parameter, (d_inner,)

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> block = Mamba1Block(d_model=4, d_state=3)
    >>> block(torch.ones(2, 7, 4)).shape
    torch.Size([2, 7, 4])
    >>> block.S_B.shape
    torch.Size([3, 8])
    """

    no_weight_decay = ("A_log", "D", "dt_bias")

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        expand: int = 2,
        conv_width: int = 4,
        dt_rank: int | None = None,
        dt_range: tuple[float, float] = (1e-3, 1e-1),
        input_map: nn.Module | None = None,
        output_map: nn.Module | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        generator = _initial.check_options(generator, dtype, d_model=d_model, d_state=d_state, expand=expand)
        checks.integer("conv_width", conv_width, lowest=0)
        dt_rank = -(-d_model // 16) if dt_rank is None else checks.integer("dt_rank", dt_rank, lowest=1)
        dt_range = _initial.check_range("dt_range", dt_range)
        self.d_model, self.d_state, self.d_inner = d_model, d_state, expand * d_model
        given = {"input_map": input_map, "output_map": output_map}
        for name, linear_map in given.items():
            if linear_map is not None:
                self._check_map(name, linear_map, dtype, generator.device)

        self.in_proj = _initial.linear(d_model, 2 * self.d_inner, generator, dtype)
        self.conv = _block.CausalConvolution(self.d_inner, conv_width, generator, dtype)
        for name, linear_map in given.items():
            free = _initial.linear(self.d_inner, d_state, generator, dtype)
            setattr(self, name, free if linear_map is None else linear_map)
        self.step_map = nn.Sequential(
            _initial.linear(self.d_inner, dt_rank, generator, dtype),
            _initial.linear(dt_rank, self.d_inner, generator, dtype),
        )
        self.dt_bias = _initial.dt_bias(self.d_inner, dt_range, generator, dtype)
        rates = torch.arange(1, d_state + 1, dtype=dtype, device=generator.device)
        self.A_log = nn.Parameter(rates.log().repeat(self.d_inner, 1))
        self.D = nn.Parameter(torch.ones(self.d_inner, dtype=dtype, device=generator.device))
        self.out_proj = _initial.linear(self.d_inner, d_model, generator, dtype)

    @property
    def S_B(self) -> Tensor:
        """Matrix of the write map, (N, d_inner)."""
        return self._matrix(self.input_map)

    @property
    def S_C(self) -> Tensor:
        """Matrix of the read map, (N, d_inner)."""
        return self._matrix(self.output_map)

    @property
    def S_Delta(self) -> Tensor:
        """Matrix of the step map, (d_inner, d_inner), of rank dt_rank at most."""
        return self._matrix(self.step_map)

    def _read(self, u: Tensor, initial_state, reset, lengths) -> tuple[Tensor, BlockState]:
        window, h = _block.parts(initial_state)
        x, z = self.in_proj(u).chunk(2, dim=-1)
        x, window = self.conv(x, window, reset, lengths)
        x = functional.silu(x) if self.conv.width else x
        dt, B, C = self._selected(x)
        if lengths is not None:
            # A token of no length that writes nothing leaves the state as it is, to the last bit.
            over = padding(lengths, u.shape[1])
            dt = dt.masked_fill(over[..., None], _block.SHORTEST)
            x = x.masked_fill(over[..., None], 0)
            reset = None if reset is None else reset & ~over
        y, h = selective_scan(x, dt, self._rates(), B, C, _block.single(self.D), initial_state=h, reset=reset)
        return self.out_proj(y * functional.silu(z)), BlockState(window, h)

    def _read_one(self, u: Tensor, state) -> tuple[Tensor, BlockState]:
        window, h = _block.parts(state, "state")
        quick = None if torch.is_grad_enabled() else self._read_one_compiled(u, window, h)
        if quick is not None:
            return quick
        x, z = self.in_proj(u).chunk(2, dim=-1)
        x, window = self.conv.step(x, window)
        x = functional.silu(x) if self.conv.width else x
        dt, B, C = self._selected(x)
        y, h = selective_step(x, dt, self._rates(), B, C, _block.single(self.D), state=h)
        return self.out_proj(y * functional.silu(z)), BlockState(window, h)

    def _read_one_compiled(self, u: Tensor, window, h) -> tuple[Tensor, BlockState] | None:
        """One token with compiled loops between the linear maps; None if torch is to take it, or to complain.

        Small operations cost more than their arithmetic: this is for generating, where nothing is differentiated.
        """
        if not isinstance(window, Tensor) or not isinstance(h, Tensor) or not _compiles(u, window, h):
            return None
        conv, batch, channels = self.conv, len(u), self.d_inner
        fits = window.shape == (batch, conv.width - 1, channels) and h.shape == (batch, channels, self.d_state)
        if not conv.width or not fits:
            return None
        from lib.ssm import _selective_numba as kernels

        after = BlockState(u.new_empty(window.shape), u.new_empty(h.shape))
        matrices = self._matrices(u) if batch == 1 else None
        if matrices is not None:
            in_proj, down, up, S_B, S_C, out_proj = matrices
            before = (u, in_proj, window, conv.weight, conv.bias, down, up, self.dt_bias, self.A_log, S_B, S_C, self.D)
            out = u.new_empty(1, len(out_proj))
            fine = kernels.token(_block.SHORTEST, *_arrays(*before, h, out_proj, *after, out))
            return (out, after) if fine else None
        xz = self.in_proj(u)
        xy = torch.empty_like(xz)
        x, y = xy.chunk(2, dim=-1)
        kernels.convolve(*_arrays(xz, window, conv.weight, conv.bias, after.window, xy))
        raw, B, C = self.step_map(x), self.input_map(x), self.output_map(x)
        if B.shape != C.shape or C.shape != (batch, self.d_state):
            return None
        given = _arrays(xz, raw, self.dt_bias, self.A_log, B, C, self.D, h, after.scan, xy)
        return (self.out_proj(y), after) if kernels.read(_block.SHORTEST, *given) else None

    def _matrices(self, u: Tensor) -> list[Tensor] | None:
        """What the linear maps multiply with, in the order of the token; None if a map is more than its matrix."""
        steps = self.step_map
        if type(steps) is not nn.Sequential or len(steps) != 2 or _is_watched(steps) or _has_any_global_hook():
            return None
        matrices = []
        for linear in (self.in_proj, *steps, self.input_map, self.output_map, self.out_proj):
            if type(linear) is not nn.Linear or linear.bias is not None or _is_watched(linear):
                return None
            matrices.append(linear.weight)
        inner, rank = self.d_inner, len(matrices[1])
        wanted = [(2 * inner, u.shape[1]), (rank, inner), (inner, rank), *2 * [(self.d_state, inner)]]
        fits = [matrix.shape for matrix in matrices[:-1]] == wanted and matrices[-1].shape[1] == inner
        return matrices if fits and _compiles(u, *matrices) else None

    def _selected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _block.step_length(self.step_map(x), self.dt_bias), self.input_map(x), self.output_map(x)

    def _rates(self) -> Tensor:
        return -torch.exp(_block.single(self.A_log))

    def _matrix(self, linear_map: nn.Module) -> Tensor:
        weight = self.in_proj.weight
        return linear_map(torch.eye(self.d_inner, dtype=weight.dtype, device=weight.device)).mT

    def _check_map(self, name: str, linear_map, dtype: torch.dtype, device: torch.device) -> None:
        wanted = f"a module from {self.d_inner} inner channels to {self.d_state} numbers"
        if not isinstance(linear_map, nn.Module):
            raise ValueError(f"{name} must be {wanted}, got {checks.describe(linear_map)}")
        try:
            with torch.no_grad():
                out = linear_map(torch.zeros(1, self.d_inner, dtype=dtype, device=device))
        except RuntimeError as problem:
            raise ValueError(f"{name} must be {wanted} of type {dtype}, but fails: {problem}") from problem
        if tuple(out.shape) != (1, self.d_state) or bool(out.any()):
            raise ValueError(f"{name} must be {wanted} that is linear, got outputs of shape {tuple(out.shape)}")


def _compiles(*tensors: Tensor) -> bool:
    """Whether compiled loops can take these tensors, of which nothing is recorded or differentiated."""
    kind = tensors[0].dtype
    if kind not in (torch.float32, torch.float64) or torch.is_autocast_enabled("cpu"):
        return False
    alike = all(tensor.is_cpu and tensor.dtype == kind for tensor in tensors)
    return alike and not needs_plain_operations(*tensors) and selective._kernels() is not None


def _is_watched(module: nn.Module) -> bool:
    """Whether a call of the module may do more than its class says."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _arrays(*tensors: Tensor) -> list:
    return [(tensor.detach() if tensor.requires_grad else tensor).contiguous().numpy() for tensor in tensors]
