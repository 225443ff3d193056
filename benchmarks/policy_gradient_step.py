"""The arithmetic of a PPO step against JAX and torch's autograd: one minibatch through policy and value network.

    taskset -c 0 python -m benchmarks.policy_gradient_step --write    # results/ppo-scaling/gradient-step-cpu.json

The gradient of 32 768 rows through two tanh networks of 64 and 64, float32, one thread, for gradients that arrive at
their outputs. Before anything is timed the gradients are compared with those of torch in float64. The contenders take
turns; the best round counts, in CPU seconds. Where JAX is not installed, it is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from benchmarks.report import Record
from benchmarks.timing import best_of
from lib.rl.networks import MLP

SEED = 0
OBSERVED, ACTIONS, WIDTH = 4, 2, 64
# Of the largest entry of a gradient; sums of 32 768 terms in float32.
ALLOWED = 2e-5


def problem(rows: int) -> tuple[list[MLP], Tensor, list[Tensor]]:
    """Both networks, the observations, and the gradients that arrive at the outputs."""
    generator = torch.Generator().manual_seed(SEED)
    networks = [
        MLP((OBSERVED, WIDTH, WIDTH, outputs), seed=SEED, role=role)
        for outputs, role in ((ACTIONS, "policy"), (1, "value"))
    ]
    obs = torch.randn(rows, OBSERVED, generator=generator)
    # As a loss sends them: rows last in memory.
    arrived = [torch.randn(network.sizes[-1], rows, generator=generator).T for network in networks]
    return networks, obs, arrived


def layers(network: MLP) -> list[Tensor]:
    """Weight and bias of each layer in turn."""
    return [p.detach() for pair in zip(network.weights, network.biases) for p in pair]


def sequential(network: MLP) -> nn.Sequential:
    """The same network as torch builds it."""
    made = []
    for weight, bias in zip(network.weights, network.biases):
        layer = nn.Linear(*reversed(weight.shape))
        layer.weight.data.copy_(weight.detach())
        layer.bias.data.copy_(bias.detach())
        made += [layer, nn.Tanh()]
    return nn.Sequential(*made[:-1])


def in_parts(modules: list[nn.Module], obs: Tensor, arrived: list[Tensor], rows: int) -> Callable[[], list[Tensor]]:
    """Gradients summed over parts of the batch, with a backward pass for each network and part."""

    def call() -> list[Tensor]:
        found = []
        for module, gradient in zip(modules, arrived):
            parameters = list(module.parameters())
            for parameter in parameters:
                parameter.grad = None
            for part, change in zip(obs.split(rows), gradient.split(rows)):
                module(part).backward(change)
            if isinstance(module, MLP):
                parameters = [p for pair in zip(module.weights, module.biases) for p in pair]
            found += [parameter.grad for parameter in parameters]
        return found

    return call


def in_jax(networks: list[MLP], obs: Tensor, arrived: list[Tensor]) -> Callable[[], list[Tensor]]:
    """One compiled gradient of both networks."""
    import jax
    from jax import numpy as jnp

    weights = [[jnp.asarray(part.numpy()) for part in layers(network)] for network in networks]
    inputs = [jnp.asarray(part.contiguous().numpy()) for part in (obs, *arrived)]

    def loss(weights, obs, *arrived):
        total = 0.0
        for (w1, b1, w2, b2, w3, b3), gradient in zip(weights, arrived):
            hidden = jnp.tanh(jnp.tanh(obs @ w1.T + b1) @ w2.T + b2)
            total += ((hidden @ w3.T + b3) * gradient).sum()
        return total

    gradient = jax.jit(jax.grad(loss))
    return lambda: [part for network in jax.block_until_ready(gradient(weights, *inputs)) for part in network]


def check(ways: dict[str, Callable], networks: list[MLP], obs: Tensor, arrived: list[Tensor]) -> dict[str, float]:
    """Largest difference of each way from float64, relative to the largest entry of each gradient."""
    exact = [sequential(network).double() for network in networks]
    expected = in_parts(exact, obs.double(), [part.double() for part in arrived], len(obs))()
    gaps = {}
    for name, call in ways.items():
        found = [torch.as_tensor(part.tolist(), dtype=torch.float64) for part in call()]
        gap = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))
        print(f"  {name:24s} off by {gap:.1e}", flush=True)
        if gap > ALLOWED:
            raise SystemExit(f"{name} is off by {gap:.1e}")
        gaps[f"gap_{name}"] = gap
    return gaps


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32_768)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write results/ppo-scaling/gradient-step-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("policy_gradient_step", arguments)
    networks, obs, arrived = problem(options.rows)
    theirs = [sequential(network) for network in networks]
    tile = networks[0].rows_per_tile
    ways = {
        "ours": in_parts(networks, obs, arrived, tile),
        "ours_at_once": in_parts(networks, obs, arrived, options.rows),
        "torch_autograd": in_parts(theirs, obs, arrived, options.rows),
        "torch_autograd_in_parts": in_parts(theirs, obs, arrived, tile // 2),
    }
    if find_spec("jax"):
        # Its threads would count as more than one core.
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        ways["jax"] = in_jax(networks, obs, arrived)
    else:
        print("without jax, which is not installed")
    values = {"rows": options.rows, "rows_in_a_part": tile} | check(ways, networks, obs, arrived)
    best = best_of({"gradient": ways}, options.rounds)["gradient"]
    for name, taken in best.items():
        values[f"seconds_{name}"] = taken
        if name != "ours":
            values[f"ratio_to_{name}"] = taken / best["ours"]
    print(json.dumps(values, indent=2))
    if options.write:
        record.write(
            "ppo-scaling",
            "gradient-step-cpu",
            values,
            seeds=[SEED],
            note=f"float32; CPU seconds, best of {options.rounds} rounds; ours in parts of one tile, as in lib.rl.ppo"
            ", and all at once, with activations computed twice; torch's autograd also in parts of half a tile",
        )


if __name__ == "__main__":
    main()
