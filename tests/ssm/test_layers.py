"""Blocks of Mamba-1, -2 and -3: loops in numpy, steps, continuation, packed and padded rows, gradients, types."""

import copy
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.ssm import layers
from lib.ssm.layers import BlockState, Mamba1Block, Mamba2Block, Mamba3Block
from tests.replays import recorded, replays

D_MODEL = 6

BLOCKS = {
    "mamba1": partial(Mamba1Block, D_MODEL, d_state=4, dt_rank=2),
    "mamba1 without convolution": partial(Mamba1Block, D_MODEL, d_state=4, conv_width=0),
    "mamba2": partial(Mamba2Block, D_MODEL, d_state=5, head_dim=4, chunk_length=4),
    "mamba2 bare": partial(Mamba2Block, D_MODEL, d_state=5, head_dim=4, conv_width=0, norm=False),
    "mamba3": partial(Mamba3Block, D_MODEL, d_state=8, head_dim=4, chunk_length=4),
    "mamba3 all turn": partial(Mamba3Block, D_MODEL, d_state=8, head_dim=4, rotate_fraction=1.0),
    "mamba3 still": partial(Mamba3Block, D_MODEL, d_state=8, head_dim=4, rotary=False),
    "mamba3 euler": partial(Mamba3Block, D_MODEL, d_state=8, head_dim=4, trapezoidal=False),
    "mamba3 rope": partial(Mamba3Block, D_MODEL, d_state=8, head_dim=4, rope_base=100.0),
    "mamba3 mimo": partial(Mamba3Block, D_MODEL, d_state=8, head_dim=4, mimo_rank=3, chunk_length=12),
}

every_block = pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS.keys())


def shaken(make, seed=0, dtype=torch.float64):
    """A block whose weights all differ from their special initial values."""
    generator = torch.Generator().manual_seed(seed)
    block = make(generator=generator, dtype=dtype)
    with torch.no_grad():
        for weight in block.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator, dtype=dtype))
    return block


def tokens(batch, time, seed=1):
    return torch.randn(batch, time, D_MODEL, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pieces(state):
    """All tensors of a state."""
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state for tensor in pieces(part)]


def close(ours, theirs, tolerance=1e-11):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def off_by(ours, theirs):
    """Difference relative to the size of all values together."""
    return float(((ours - theirs).norm() / theirs.norm()).detach())


# Loops in numpy, written from the formulas; one sequence at a time.


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def silu(v):
    return v * sigmoid(v)


def softplus(v):
    return np.log1p(np.exp(v))


def root_mean_square_norm(v, weight):
    return v / np.sqrt((v**2).mean() + 1e-5) * weight


def convolved(x, weight, bias):
    past = np.concatenate([np.zeros((weight.shape[1] - 1, x.shape[1])), x])
    return silu(np.stack([(past[t : t + weight.shape[1]].T * weight).sum(1) for t in range(len(x))]) + bias)


def mamba1_loop(w, u, N):
    inner = len(w["D"])
    x, z = np.split(u @ w["in_proj.weight"].T, 2, axis=1)
    x = convolved(x, w["conv.weight"], w["conv.bias"])
    h, out = np.zeros((inner, N)), []
    for t in range(len(u)):
        dt = softplus(w["step_map.1.weight"] @ (w["step_map.0.weight"] @ x[t]) + w["dt_bias"])
        B, C = w["input_map.weight"] @ x[t], w["output_map.weight"] @ x[t]
        for c in range(inner):
            for n in range(N):
                h[c, n] = math.exp(-dt[c] * math.exp(w["A_log"][c, n])) * h[c, n] + dt[c] * B[n] * x[t, c]
        out.append(w["out_proj.weight"] @ ((h @ C + w["D"] * x[t]) * silu(z[t])))
    return np.array(out)


def mamba2_loop(w, u, N):
    heads, inner = len(w["D"]), w["out_proj.weight"].shape[1]
    P = inner // heads
    z, x, raw = np.split(u @ w["in_proj.weight"].T, [inner, 2 * inner + 2 * N], axis=1)
    x, B, C = np.split(convolved(x, w["conv.weight"], w["conv.bias"]), [inner, inner + N], axis=1)
    h, out = np.zeros((heads, N, P)), []
    for t in range(len(u)):
        y = np.zeros((heads, P))
        for head in range(heads):
            dt = softplus(raw[t, head] + w["dt_bias"][head])
            own = x[t].reshape(heads, P)[head]
            h[head] = math.exp(-dt * math.exp(w["A_log"][head])) * h[head] + dt * np.outer(B[t], own)
            y[head] = C[t] @ h[head] + w["D"][head] * own
        gated = y.ravel() * silu(z[t])
        out.append(w["out_proj.weight"] @ root_mean_square_norm(gated, w["norm.weight"]))
    return np.array(out)


def mamba3_loop(w, u, N, M, R):
    """The recurrence with the state that turns, not the vectors."""
    heads, inner = len(w["D"]), w["out_proj.weight"].shape[1]
    P = inner // heads
    ranked = {name: w[name].reshape(heads, -1, R) for name in ("B_bias", "C_bias")}
    one = np.ones((heads, P, 1))
    x_weight, z_weight, out_weight = (w.get(f"{name}_weight", one) for name in ("x", "z", "out"))
    sizes = [inner, inner, N * R, N * R, heads, heads, heads, M]
    parts = np.split(u @ w["in_proj.weight"].T, np.cumsum(sizes)[:-1], axis=1)
    h, out = np.zeros((heads, N, P)), []
    B_before, x_before = np.zeros((heads, N, R)), np.zeros((heads, P, R))
    for t in range(len(u)):
        z, x, B, C, dt, rate, trap, angle = (part[t] for part in parts)
        dt, lam, theta = softplus(dt + w["dt_bias"]), sigmoid(trap), math.pi * np.tanh(angle)
        A = -np.maximum(np.where(rate >= 0, 1 + rate, 1 / (1 - np.minimum(rate, 0))), 1e-4)
        B, C = (
            np.stack([root_mean_square_norm(row, w[f"{name}_norm.weight"]) for row in v.reshape(R, N)], 1)
            for name, v in (("B", B), ("C", C))
        )
        y = np.zeros((heads, P))
        for k in range(heads):
            write, read = B + ranked["B_bias"][k], C + ranked["C_bias"][k]
            own = x.reshape(heads, P)[k][:, None] * x_weight[k]
            turn = np.eye(N)
            for pair in range(M):
                c, s = math.cos(dt[k] * theta[pair]), math.sin(dt[k] * theta[pair])
                turn[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = [[c, -s], [s, c]]
            alpha = math.exp(dt[k] * A[k])
            before = h[k] + (1 - lam[k]) * dt[k] * B_before[k] @ x_before[k].T
            h[k] = alpha * turn @ before + lam[k] * dt[k] * write @ own.T
            gate = silu(z.reshape(heads, P)[k][:, None] * z_weight[k])
            y[k] = ((h[k].T @ read + w["D"][k] * own) * gate * out_weight[k]).sum(1)
            B_before[k], x_before[k] = write, own
        out.append(w["out_proj.weight"] @ y.ravel())
    return np.array(out)


LOOPS = {
    "mamba1": partial(mamba1_loop, N=4),
    "mamba2": partial(mamba2_loop, N=5),
    "mamba3": partial(mamba3_loop, N=8, M=2, R=1),
    "mamba3 all turn": partial(mamba3_loop, N=8, M=4, R=1),
    "mamba3 mimo": partial(mamba3_loop, N=8, M=2, R=3),
}


@pytest.mark.parametrize("name", LOOPS)
def test_the_formulas_in_a_loop(name):
    block, u = shaken(BLOCKS[name]), tokens(2, 9)
    weights = {key: value.numpy() for key, value in block.state_dict().items()}
    expected = np.stack([LOOPS[name](weights, row.numpy()) for row in u])
    np.testing.assert_allclose(block(u).detach().numpy(), expected, rtol=0, atol=1e-12)


def test_brief_11_width_of_the_projection():
    assert Mamba3Block(2048).in_proj.weight.shape == (8672, 2048)
    assert Mamba3Block(2048, mimo_rank=4).in_proj.weight.shape == (9440, 2048)


def test_initial_values():
    block = Mamba3Block(256, d_state=8, head_dim=1, mimo_rank=2, rotate_fraction=1.0)
    dt = nn.functional.softplus(block.dt_bias).detach()
    assert 1e-3 < dt.min() < 1.2e-3 and 0.09 < dt.max() < 0.1
    # Log-uniform: the logarithm has mean (log 0.001 + log 0.1) / 2 and the standard deviation of a uniform law.
    assert float(dt.log().mean()) == pytest.approx(math.log(0.01), abs=0.2)
    assert float(dt.log().std()) == pytest.approx(math.log(100) / math.sqrt(12), rel=0.1)
    assert {float(value) for value in block.B_bias.detach().unique()} == {1.0}
    assert {float(value) for value in block.x_weight.detach().unique()} == {0.5}
    assert {float(value) for value in block.z_weight.detach().unique()} == {1.0}
    assert {float(value) for value in block.out_weight.detach().unique()} == {0.5}
    assert {float(value) for value in block.D.detach().unique()} == {1.0}
    assert float(Mamba3Block(4, 4, 1, dt_range=(1e-6, 1e-5)).dt_bias.detach().exp().max()) == pytest.approx(
        1e-4, rel=1e-3
    )
    first = Mamba1Block(4, d_state=3)
    torch.testing.assert_close(first.A_log.exp().detach(), torch.tensor([1.0, 2, 3]).expand(8, 3))
    rates = Mamba2Block(256, d_state=3, head_dim=1).A_log.detach().exp()
    assert 1 <= rates.min() < 1.2 and 15.8 < rates.max() <= 16


def test_the_rates_of_decay_have_their_ceiling():
    block = shaken(BLOCKS["mamba3"])
    rate = slice(2 * block.d_inner + 16 + block.heads, 2 * block.d_inner + 16 + 2 * block.heads)
    with torch.no_grad():
        block.in_proj.weight[rate] = -1e6
    assert block.project(torch.ones(1, 1, D_MODEL, dtype=torch.float64)).A.tolist() == [[[-1e-4] * block.heads]]


def test_seeds():
    for make in BLOCKS.values():
        first, same = make(), make(generator=torch.Generator().manual_seed(0))
        other = make(generator=torch.Generator().manual_seed(1))
        for name, weight in first.state_dict().items():
            torch.testing.assert_close(weight, same.state_dict()[name], rtol=0, atol=0)
        assert not torch.equal(first.in_proj.weight, other.in_proj.weight)
    before = torch.random.get_rng_state()
    make()
    assert torch.equal(before, torch.random.get_rng_state())


@every_block
def test_steps_equal_the_full_forward(make):
    block, u = shaken(make), tokens(3, 13)
    expected, final = block.prefill(u)
    state, outputs = None, []
    for token in u.unbind(1):
        y, state = block.step(token, state)
        outputs.append(y)
    close(torch.stack(outputs, 1), expected)
    for ours, theirs in zip(pieces(state), pieces(final), strict=True):
        close(ours, theirs)
    close(block(u), expected, 0)


def stepped(block, u, state=None):
    """Outputs and the state after tokens read one by one."""
    outputs = []
    for token in u.unbind(1):
        y, state = block.step(token, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def switched_rows(values):
    """The same numbers with the rows of each sequence side by side in memory."""
    return values.mT.contiguous().mT


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_compiled_steps_of_mamba_1_equal_the_full_forward(context, dtype, tolerance, width, batch):
    """Step lengths, rates and activations of both signs, far beyond where softplus is the identity."""
    block, u = shaken(partial(BLOCKS["mamba1"], conv_width=width), dtype=dtype), 9 * tokens(batch, 13).to(dtype)
    with torch.no_grad():
        block.dt_bias += torch.linspace(-40, 25, len(block.dt_bias), dtype=dtype)
    expected, final = block.prefill(u)
    with context():
        first, state = stepped(block, u[:, :6])
        state = BlockState(*(switched_rows(part) for part in state))
        assert block._read_one_compiled(u[:, 6], *state) is not None
        second, state = stepped(block, u[:, 6:], state)
    for ours, theirs in zip([torch.cat([first, second], 1), *pieces(state)], [expected, *pieces(final)], strict=True):
        if theirs.numel():
            close(ours, theirs.detach(), tolerance * theirs.abs().max().item())


@pytest.mark.parametrize("batch", [1, 2])
def test_compiled_steps_leave_the_state_and_recorded_activations_alone(batch):
    block, u, seen = shaken(BLOCKS["mamba1"]), tokens(batch, 3), []
    block.in_proj.register_forward_hook(lambda module, given, out: seen.append((out, out.clone())))
    with torch.inference_mode():
        _, state = block.prefill(u)
        kept = [part.clone() for part in pieces(state)]
        block.step(u[:, 0], state)
    assert len(seen) == 2
    for now, before in [*seen, *zip(pieces(state), kept)]:
        close(now, before, 0)


def with_bias(block):
    block.out_proj.bias = nn.Parameter(torch.ones(D_MODEL, dtype=torch.float64))


def with_own_forward(block):
    block.step_map.forward = lambda x: -block.step_map[1](block.step_map[0](x))


CHANGES = {
    "hook": lambda block: block.step_map[0].register_forward_hook(lambda module, given, out: 2 * out),
    "hook before": lambda block: block.output_map.register_forward_pre_hook(lambda module, given: (3 * given[0],)),
    "hook of several": lambda block: block.step_map.register_forward_hook(lambda module, given, out: -out),
    "bias": with_bias,
    "own forward": with_own_forward,
    "one more map": lambda block: block.step_map.append(nn.Tanh()),
    "parametrization": lambda block: nn.utils.parametrizations.weight_norm(block.input_map),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_compiled_steps_of_one_sequence_ask_maps_that_are_more_than_a_matrix(change):
    block, u = shaken(BLOCKS["mamba1"]), tokens(1, 5)
    assert block._matrices(u[:, 0]) is not None
    change(block)
    with torch.no_grad():
        assert block._matrices(u[:, 0]) is None
        close(stepped(block, u)[0], block(u))


def test_compiled_steps_of_one_sequence_follow_their_weights():
    """Changed in place, replaced, in another order in memory, or not a number."""
    block, u = shaken(BLOCKS["mamba1"]), tokens(1, 5)
    with torch.no_grad():
        for weight in block.parameters():
            weight.mul_(1.1)
            close(stepped(block, u)[0], block(u))
            weight.data = (weight.data + 0.1).mT.contiguous().mT if weight.dim() == 2 else weight.data + 0.1
            close(stepped(block, u)[0], block(u))
        _, state = block.step(u[:, 0])
        with pytest.raises(ValueError, match="finite"):
            block.step(torch.full_like(u[:, 0], torch.nan), state)
        block.input_map.weight = nn.Parameter(torch.ones(3, 2 * D_MODEL, dtype=torch.float64))
        with pytest.raises(ValueError, match=r"B must have shape \(1, 4\)"):
            block.step(u[:, 0], state)


def test_a_hook_of_all_modules_hears_compiled_steps_of_one_sequence():
    block, u, heard = shaken(BLOCKS["mamba1"]), tokens(1, 2), []
    with torch.no_grad():
        _, state = block.step(u[:, 0])
        handle = nn.modules.module.register_module_forward_hook(lambda module, given, out: heard.append(module))
        try:
            block.step(u[:, 1], state)
        finally:
            handle.remove()
    assert {block.in_proj, block.input_map, block.output_map, block.out_proj} <= set(heard)


def test_compiled_steps_take_any_maps_and_leave_what_does_not_fit_to_torch():
    class Mirrored(nn.Module):
        """A map with its numbers in another order in memory, and one of a shape to complain of."""

        def __init__(self):
            super().__init__()
            self.inner, self.cells = nn.Linear(2 * D_MODEL, 4, bias=False, dtype=torch.float64), 4

        def forward(self, x):
            return self.inner(x).mT.contiguous().mT[..., : self.cells]

    mirrored = Mirrored()
    block = shaken(partial(BLOCKS["mamba1"], input_map=mirrored, output_map=nn.Sequential(mirrored)))
    u = tokens(3, 5)
    expected = block(u).detach()
    with torch.inference_mode():
        y, state = stepped(block, u)
        close(y, expected)
        mirrored.cells = 3
        with pytest.raises(ValueError, match=r"B must have shape \(3, 4\)"):
            block.step(u[:, 0], state)
        mirrored.cells = 4
        with pytest.raises(ValueError, match="finite"):
            block.step(torch.full_like(u[:, 0], torch.nan), state)


@every_block
def test_going_on_from_a_state(make):
    block, u = shaken(make), tokens(2, 14)
    expected, final = block.prefill(u)
    first, state = block.prefill(u[:, :5])
    second, state = block.prefill(u[:, 5:6], initial_state=state)
    third, state = block.prefill(u[:, 6:], initial_state=state)
    close(torch.cat([first, second, third], 1), expected)
    for ours, theirs in zip(pieces(state), pieces(final), strict=True):
        close(ours, theirs)


@every_block
def test_packed_sequences_do_not_see_each_other(make):
    block, u = shaken(make), tokens(2, 15)
    starts = [[0, 4, 5, 11], [3, 7]]
    reset = torch.zeros(2, 15, dtype=torch.bool)
    for row, first in enumerate(starts):
        reset[row, first] = True
    _, earlier = block.prefill(tokens(2, 6, seed=2))
    y, final = block.prefill(u, reset=reset, initial_state=earlier)
    for row, first in enumerate(starts):
        bounds = [0, *first, 15] if first[0] else [*first, 15]
        for start, end in itertools.pairwise(bounds):
            fresh = start in first
            alone, state = block.prefill(u[:, start:end], initial_state=None if fresh else earlier)
            close(y[row, start:end], alone[row])
        for ours, theirs in zip(pieces(final), pieces(state), strict=True):
            close(ours[row], theirs[row])


@every_block
def test_packed_and_padded_rows_read_token_by_token(make):
    """Marks at the first token, side by side and in the padding; the state is that after the last real token."""
    block, u, lengths = shaken(make), tokens(3, 9), torch.tensor([1, 9, 5])
    reset = torch.tensor([[1, 0, 1, 1, 0, 0, 1, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1, 0, 0, 0]]).bool()
    y, after = block.prefill(u, reset=reset, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        state = None
        for t in range(length):
            out, state = block.step(u[row : row + 1, t], None if reset[row, t] else state)
            close(out[0], y[row, t])
        for alone, together in zip(pieces(state), pieces(after), strict=True):
            close(alone[0], together[row])


@every_block
def test_padded_sequences(make):
    block, u = shaken(make), tokens(4, 9)
    lengths = torch.tensor([9, 1, 4, 2])
    _, earlier = block.prefill(tokens(4, 6, seed=2))
    y, final = block.prefill(u, lengths=lengths, initial_state=earlier)
    for row, length in enumerate(lengths.tolist()):
        alone, state = block.prefill(u[:, :length], initial_state=earlier)
        close(y[row, :length], alone[row])
        for ours, theirs in zip(pieces(final), pieces(state), strict=True):
            close(ours[row], theirs[row])


@every_block
def test_gradients(make):
    block = shaken(make)
    names, weights = zip(*block.named_parameters())
    free = [weight.detach().clone().requires_grad_() for weight in weights]
    u = tokens(1, 5).requires_grad_()
    reset = torch.tensor([[False, False, False, True, False]])

    def outputs(u, *free):
        call = partial(torch.func.functional_call, block, dict(zip(names, free)))
        return call((u,)), call((u,), {"reset": reset})

    assert torch.autograd.gradcheck(outputs, (u, *free), atol=1e-6, fast_mode=True)


@every_block
def test_gradients_reach_through_the_state(make):
    """Half the sequence at a time, with the state in between, has the gradients of the whole."""
    block, u = shaken(make), tokens(2, 10)
    whole = torch.autograd.grad(block(u).square().sum(), list(block.parameters()))
    first, state = block.prefill(u[:, :6])
    second, _ = block.prefill(u[:, 6:], initial_state=state)
    loss = first.square().sum() + second.square().sum()
    for ours, theirs in zip(torch.autograd.grad(loss, list(block.parameters())), whole, strict=True):
        close(ours, theirs, 1e-10)


@every_block
def test_single_precision(make):
    block, u = shaken(make), tokens(2, 40)
    expected = block(u)
    y, state = copy.deepcopy(block).float().prefill(u.float())
    assert y.dtype == torch.float32
    assert {part.dtype for part in pieces(state)} <= {torch.float32, torch.float64}
    assert off_by(y, expected) < 1e-5


@every_block
def test_half_precision_keeps_states_and_steps_single(make):
    block, u = shaken(make), tokens(2, 40)
    expected = block(u)
    half = copy.deepcopy(block).bfloat16()
    y, state = half.prefill(u.bfloat16())
    again, state = half.step(u[:, 0].bfloat16(), state)
    assert y.dtype == again.dtype == torch.bfloat16
    memory = state.scan if isinstance(state, BlockState) else state
    assert {part.dtype for part in pieces(memory)} <= {torch.float32, torch.float64}
    # bfloat16 has eight bits: each rounding is off by up to 2^-9, and a few dozen of them follow one another.
    assert off_by(y, expected) < 0.05


@every_block
def test_automatic_mixed_precision(make):
    block, u = shaken(make, dtype=torch.float32), tokens(2, 40).float()
    expected = block(u)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = block.prefill(u)
        again, _ = block.step(u[:, 0], state)
    assert y.dtype == again.dtype == torch.bfloat16
    assert off_by(y, expected) < 0.05


def test_mamba_2_is_a_special_case_of_mamba_3():
    """Take from Mamba-3 its norms, biases, rotation and trapezoid, and hold the rate of decay at 1."""
    plain = shaken(BLOCKS["mamba2 bare"])
    with torch.no_grad():
        plain.A_log.zero_()
    special = Mamba3Block(
        D_MODEL, d_state=5, head_dim=4, trapezoidal=False, rotary=False, dtype=torch.float64, chunk_length=3
    )
    special.B_norm, special.C_norm = nn.Identity(), nn.Identity()
    with torch.no_grad():
        special.B_bias.zero_()
        special.C_bias.zero_()
        rate = torch.zeros(special.heads, D_MODEL, dtype=torch.float64)  # f(0) = 1
        special.in_proj.weight.copy_(torch.cat([plain.in_proj.weight, rate]))
        for name in ("dt_bias", "D"):
            getattr(special, name).copy_(getattr(plain, name))
        special.out_proj.weight.copy_(plain.out_proj.weight)
    u = tokens(2, 11)
    close(special(u), plain(u))


def test_mamba_1_with_equal_decays_is_mamba_2_with_heads_of_one_channel():
    first = shaken(partial(Mamba1Block, D_MODEL, d_state=4, dt_rank=12, conv_width=0))
    with torch.no_grad():
        first.A_log.copy_(first.A_log[:, :1].expand(-1, 4))
        first.in_proj.weight[:12] = torch.eye(12, D_MODEL, dtype=torch.float64)  # x holds the token itself
    second = Mamba2Block(D_MODEL, d_state=4, head_dim=1, conv_width=0, norm=False, dtype=torch.float64)
    with torch.no_grad():
        x, z = first.in_proj.weight.chunk(2)
        maps = [first.S_B @ x, first.S_C @ x, first.S_Delta @ x]
        second.in_proj.weight.copy_(torch.cat([z, x, *maps]))
        second.A_log.copy_(first.A_log[:, 0])
        for name in ("dt_bias", "D"):
            getattr(second, name).copy_(getattr(first, name))
        second.out_proj.weight.copy_(first.out_proj.weight)
    u = tokens(2, 11)
    close(second(u), first(u))


def test_without_the_trapezoid_lambda_is_one():
    """A Mamba-3 whose lambda saturates at 1 is the one that has none."""
    block = shaken(BLOCKS["mamba3"])
    without = BLOCKS["mamba3 euler"](dtype=torch.float64)
    kept = torch.ones(len(block.in_proj.weight), dtype=torch.bool)
    kept[-2 - block.heads : -2] = False
    with torch.no_grad():
        block.in_proj.weight[~kept] = torch.tensor([1e3, 0, 0, 0, 0, 0], dtype=torch.float64)
    weights = block.state_dict()
    weights["in_proj.weight"] = weights["in_proj.weight"][kept]
    without.load_state_dict(weights)
    u = tokens(2, 11)
    u[..., 0] = 1
    close(without(u), block(u))


def test_standard_rotary_angles_do_not_depend_on_the_token():
    block = shaken(BLOCKS["mamba3 rope"])
    projection = block.project(tokens(2, 5))
    angle = projection.dt[..., None] * projection.theta
    torch.testing.assert_close(angle, torch.tensor([1.0, 0.1], dtype=torch.float64).expand(2, 5, 3, 2))
    assert block.in_proj.weight.shape[0] == BLOCKS["mamba3 still"]().in_proj.weight.shape[0]


@every_block
def test_weights_saved_and_loaded(make):
    block, fresh, u = shaken(make), make(dtype=torch.float64), tokens(2, 7)
    assert not torch.allclose(fresh(u), block(u))
    fresh.load_state_dict(block.state_dict())
    close(fresh(u), block(u), 0)


@given(st.sampled_from(sorted(BLOCKS)), st.integers(1, 12), st.data())
@settings(max_examples=40, deadline=None)
def test_causality_and_independence_of_the_batch(name, time, data):
    block, u = shaken(BLOCKS[name]), tokens(3, time, seed=time)
    changed, row = data.draw(st.integers(0, time - 1)), data.draw(st.integers(0, 2))
    other = u.clone()
    other[row, changed] = 5 * other[row, changed] + 1
    before, after = block(u), block(other)
    close(after[:, :changed], before[:, :changed], 1e-13)
    others = [index for index in range(3) if index != row]
    close(after[others], before[others], 1e-13)
    assert not torch.allclose(after[row, changed], before[row, changed])
    close(block(u[row : row + 1]), before[row : row + 1])


@given(st.integers(1, 20), st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_the_length_of_chunks_does_not_matter(time, chunk_length):
    for make in (BLOCKS["mamba2"], BLOCKS["mamba3"], BLOCKS["mamba3 mimo"]):
        block, u = shaken(make), tokens(1, time)
        expected = block(u)
        block.chunk_length = chunk_length
        close(block(u), expected)


class Definite(nn.Module):
    """A positive diagonal times a matrix that write and read map share."""

    def __init__(self, shared, sign):
        super().__init__()
        self.shared = shared
        self.sign = sign
        self.raw = nn.Parameter(torch.zeros(shared.shape[0], dtype=shared.dtype))

    def forward(self, x):
        return self.sign * (nn.functional.softplus(self.raw) + 0.7) * (x @ self.shared.mT)


def test_maps_with_a_constraint():
    shared = nn.Parameter(torch.randn(4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    maps = {"input_map": Definite(shared, 1.0), "output_map": Definite(shared, -1.0)}
    block = Mamba1Block(D_MODEL, d_state=4, dtype=torch.float64, **maps)
    assert sum(weight is shared for weight in block.parameters()) == 1
    close(block.S_B, (math.log(2) + 0.7) * shared)
    close(block.S_C, -block.S_B)
    assert float(torch.linalg.eigvalsh((block.S_C.mT @ block.S_B).detach()).max()) < 1e-12
    step = block.step_map[1].weight @ block.step_map[0].weight
    close(block.S_Delta, step)
    block(tokens(1, 3)).sum().backward()
    assert bool(shared.grad.any())


@every_block
def test_steps_that_underflow(make):
    block = shaken(make, dtype=torch.float32)
    with torch.no_grad():
        block.dt_bias.fill_(-500)
    y, state = block.prefill(tokens(1, 5).float())
    assert bool(y.isfinite().all()) and all(bool(part.isfinite().all()) for part in pieces(state))


CALLS = {
    "no tensor": (lambda b: b([[1.0]]), "u must be a tensor of shape"),
    "no batch": (lambda b: b(torch.zeros(3, D_MODEL)), r"u must be a tensor of shape \(batch, time, 6\), got"),
    "no time": (lambda b: b(torch.zeros(1, 0, D_MODEL)), "u must be a tensor of shape"),
    "width": (lambda b: b(torch.zeros(1, 3, 5)), r"u must be a tensor of shape \(batch, time, 6\)"),
    "type": (lambda b: b(torch.zeros(1, 3, D_MODEL, dtype=torch.float64)), "u must be of type torch.float32"),
    "integers": (lambda b: b(torch.zeros(1, 3, D_MODEL, dtype=torch.int64)), "u must be of type"),
    "step": (lambda b: b.step(torch.zeros(1, 3, D_MODEL)), r"u must be a tensor of shape \(batch, 6\)"),
    "reset": (lambda b: b(torch.zeros(1, 3, D_MODEL), reset=torch.ones(1, 3)), "reset must be a boolean tensor"),
    "reset shape": (
        lambda b: b(torch.zeros(1, 3, D_MODEL), reset=torch.ones(1, 2, dtype=torch.bool)),
        r"reset must be a boolean tensor of shape \(1, 3\)",
    ),
    "lengths": (lambda b: b(torch.zeros(1, 3, D_MODEL), lengths=torch.ones(1)), "lengths must be an integer tensor"),
    "short": (lambda b: b(torch.zeros(1, 3, D_MODEL), lengths=torch.tensor([0])), "lengths must be from 1 to.*got 0"),
    "long": (lambda b: b(torch.zeros(1, 3, D_MODEL), lengths=torch.tensor([4])), "lengths must be from 1 to.*got 4"),
    "state": (lambda b: b(torch.zeros(1, 3, D_MODEL), initial_state=3), "initial_state must be"),
    "state of another batch": (
        lambda b: b(torch.zeros(1, 3, D_MODEL), initial_state=b.prefill(torch.zeros(2, 3, D_MODEL))[1]),
        "initial_state|state must have shape",
    ),
}


@pytest.mark.parametrize("name", ["mamba1", "mamba2", "mamba3", "mamba3 mimo"])
@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS.keys())
def test_bad_input(name, call, message):
    with pytest.raises(ValueError, match=message):
        call(BLOCKS[name]())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(Mamba3Block, 6, 8, 5), "head_dim must divide the 12 inner channels, got 5"),
        (partial(Mamba2Block, 6, 8, 5), "head_dim must divide the 12 inner channels, got 5"),
        (partial(Mamba3Block, 6, 7, 4), "d_state must be even to turn in pairs, got 7"),
        (partial(Mamba3Block, 6, 2, 4), "rotate_fraction must turn at least one of 1 pairs, got 0.5"),
        (partial(Mamba3Block, 6, 8, 4, rotary=False, rope_base=10.0), "rope_base needs rotary to be True"),
        (partial(Mamba3Block, 6, 8, 4, dt_range=(0.1, 0.01)), "dt_range must be in rising order"),
        (partial(Mamba1Block, 6, input_map=nn.Linear(5, 16)), "input_map must be a module from 12 .* but fails"),
        (partial(Mamba1Block, 6, output_map=nn.Linear(12, 3)), "output_map must be a module from 12 .* to 16"),
        (partial(Mamba1Block, 6, output_map=nn.Linear(12, 16)), "output_map must be .* that is linear"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_all_blocks_stand_in_one_place():
    assert {"Mamba1Block", "Mamba2Block", "Mamba3Block"} <= set(layers.__all__)


@pytest.mark.parametrize("name", ["mamba1", "mamba2", "mamba3"])
def test_blocks_run_in_the_page(name):
    """A trained block may stand behind a control: its forward and its step are recorded and replayed."""
    block, u = shaken(BLOCKS[name]).requires_grad_(False), tokens(1, 6)

    def figure(size):
        y, state = block.prefill(size * u)
        return y, block.step(size * u[:, 0], state)[0]

    program = recorded(figure, {"size": 1.0})
    for page, ours in replays(program, figure, [{"size": 0.3}, {"size": -2.0}]):
        np.testing.assert_allclose(np.asarray(page), ours.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pairs", [15, 22])
def test_a_share_of_pairs_is_not_rounded_away(pairs):
    block = Mamba3Block(D_MODEL, d_state=44, head_dim=4, rotate_fraction=pairs / 22)
    assert block.rotated == pairs
