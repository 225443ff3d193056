"""One token at a time: the recurrence alone, whole blocks, and attention with a cache; for ``benchmarks/ssm.py``."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import ssm_peers as peers
from benchmarks.ssm_cases import SEED, random_tokens, relative
from benchmarks.timing import CPU, race
from lib.ssm import selective
from lib.ssm.mamba1 import Mamba1Block
from lib.ssm.mamba3 import Mamba3Block


def decode_cores(batch: int, channels: int, size: int, rounds: int) -> dict[str, float]:
    """Seconds of one token of Mamba-1's recurrence."""
    from lib.ssm import _selective_numba as kernels

    normal = partial(random_tokens, generator=torch.Generator().manual_seed(SEED))
    state, x, dt = normal(batch, channels, size), normal(batch, channels), functional.softplus(normal(batch, channels))
    A, D = -torch.exp(normal(channels, size)), normal(channels)
    B, C = normal(batch, size), normal(batch, size)
    wide = [value.double() for value in (x, dt, A, B, C, D)]
    wanted, _ = selective.selective_step(*wide, state=state.double())
    after, y = torch.empty_like(state), torch.empty_like(x)
    arrays = [value.numpy() for value in (x, dt, A, B, C, D, state, after, y)]
    calls = {
        "core": lambda: kernels.step(*arrays),
        "selective_step": lambda: selective.selective_step(x, dt, A, B, C, D, state=state),
    }
    calls["core"]()
    found = {"core": y, "selective_step": calls["selective_step"]()[0]}
    if find_spec("einops"):
        forgetful = state.clone()
        found["reference"] = peers.state_update(forgetful, x, dt, A, B, C, D)
        calls["reference"] = lambda: peers.state_update(forgetful, x, dt, A, B, C, D)
    for name, value in found.items():
        if relative(value, wanted) > 1e-5:
            raise SystemExit(f"decode: {name} is wrong")
    with torch.inference_mode():
        taken = race(calls, rounds, CPU)
    for name, seconds in taken.items():
        print(f"  decode, batch {batch:3d}       {name:16s} {1e6 * seconds:9.1f} us", flush=True)
    return taken


def decode_blocks(batch: int, width: int, rounds: int) -> dict[str, float]:
    """Seconds of one token of a whole block of Mamba-1, ours and mambapy's, with the same sizes."""
    block = Mamba1Block(width)
    u = torch.randn(batch, width, generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        _, state = block.step(u)
        calls = {"ours": lambda: block.step(u, state)}
        if peers.INSTALLED["mambapy"]:
            from mambapy.mamba import MambaBlock, MambaConfig

            other = MambaBlock(MambaConfig(d_model=width, n_layers=1)).eval()
            cache = (torch.zeros(batch, 2 * width, 16), torch.zeros(batch, 2 * width, 3))
            calls["mambapy"] = lambda: other.step(u, cache)
        taken = race(calls, rounds, CPU)
    for name, seconds in taken.items():
        print(f"  block, batch {batch:3d}        {name:16s} {1e6 * seconds:9.1f} us", flush=True)
    return taken


def decode_against_context(contexts: tuple[int, ...], width: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds of a token after contexts of growing length, and bytes that are carried along."""
    device = torch.device("cpu")
    generator = torch.Generator().manual_seed(SEED)
    blocks = {"mamba1": Mamba1Block(width), "mamba3": Mamba3Block(width, d_state=64, head_dim=64)}
    attention = peers.CachedAttention(width, width // 64, 1, contexts[-1] + 1, device, torch.float32)
    states: dict[str, tuple] = dict.fromkeys(blocks)
    values: dict[str, list[float]] = {"decode_contexts": list(contexts)}
    read = 0
    for context in contexts:
        with torch.inference_mode():
            for cache in (attention.keys, attention.values):
                cache[:, :, read:context] = torch.randn(cache[:, :, read:context].shape, generator=generator)
            while read < context:
                span = min(4096, context - read)
                tokens = torch.randn(1, span, width, generator=generator)
                for name, block in blocks.items():
                    _, states[name] = block.prefill(tokens, initial_state=states[name])
                read += span
            u = torch.randn(1, width, generator=generator)
            calls = {name: partial(block.step, u, states[name]) for name, block in blocks.items()}
            calls["attention"] = partial(attention.step, u, context)
            taken = race(calls, rounds, CPU)
        carried = {name: sum(part.numel() * part.element_size() for part in _tensors(states[name])) for name in blocks}
        carried["attention"] = 2 * context * width * 4
        for name, seconds in taken.items():
            values.setdefault(f"decode_microseconds_{name}", []).append(1e6 * seconds)
            values.setdefault(f"decode_carried_bytes_{name}", []).append(carried[name])
        each = ", ".join(f"{name} {1e6 * seconds:.0f} us" for name, seconds in taken.items())
        print(f"  a token after {context:6d}: {each}", flush=True)
    return values


def _tensors(state):
    for part in state:
        if isinstance(part, Tensor):
            yield part
        elif part is not None:
            yield from _tensors(part)
