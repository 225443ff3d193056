"""Mamba-2, Mamba-3 and Mamba-3 with several inputs and outputs as small models of characters, at equal steps and size.

    taskset -c 0 python -m benchmarks.character_models --write    # writes results/mamba3/char-lm-cpu.json

Two blocks, 64 wide, 32 numbers per channel, on the help texts of Python; the last tenth is held out. All have the same
number of parameters up to half a percent: the SwiGLU layers are made narrower where a block needs more, as in the
paper. Mamba-2 is run without its short convolution as well, which Mamba-3 does not have. All see the same windows in
the same order. Of several learning rates each model keeps its best on average over the seeds; all are written down.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from functools import partial

import torch

from benchmarks.report import Record
from lib.progress import ProgressBar
from lib.ssm.language_model import LanguageModel
from lib.ssm.language_training import bits_per_token, encode_characters, help_text, train_language_model
from lib.ssm.layers import Mamba2Block, Mamba3Block

WIDTH = 64
STATE = {"d_state": 32, "head_dim": 32}
BLOCKS = {
    "mamba2": partial(Mamba2Block, **STATE),
    "mamba2_without_convolution": partial(Mamba2Block, conv_width=0, **STATE),
    "mamba3": partial(Mamba3Block, **STATE),
    "mamba3_mimo": partial(Mamba3Block, mimo_rank=4, **STATE),
}


def size(model: LanguageModel) -> int:
    return sum(weight.numel() for weight in model.parameters())


def built(name: str, vocabulary: int, seed: int, mlp_width: int) -> LanguageModel:
    generator = torch.Generator().manual_seed(seed)
    return LanguageModel(vocabulary, WIDTH, 2, block=BLOCKS[name], mlp_width=mlp_width, generator=generator)


def widths(vocabulary: int) -> dict[str, int]:
    """Inner widths of the SwiGLU layers with which all models are as large as Mamba-3 with its default."""
    usual = 8 * WIDTH // 3
    wanted = size(built("mamba3", vocabulary, 0, usual))
    found = {}
    for name in BLOCKS:
        one, two = (size(built(name, vocabulary, 0, width)) for width in (1, 2))
        found[name] = 1 + round((wanted - one) / (two - one))
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--length", type=int, default=128, help="characters of a window")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-2, 2e-2], help="largest learning rates")
    parser.add_argument("--write", action="store_true", help="write results/mamba3/char-lm-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("character_models", arguments)
    tokens, alphabet = encode_characters(help_text())
    cut = 9 * len(tokens) // 10
    values: dict[str, float | list[float]] = {
        "characters": len(tokens),
        "alphabet": len(alphabet),
        "steps": options.steps,
        "tokens_per_step": options.batch_size * options.length,
        "rates": options.rates,
    }
    chosen = widths(len(alphabet))
    runs = [(name, rate, seed) for name in BLOCKS for rate in options.rates for seed in range(options.seeds)]
    bar = ProgressBar("trained models")
    bits, losses, seconds = {}, {}, {name: [] for name in BLOCKS}
    for done, (name, rate, seed) in enumerate(runs):
        model = built(name, len(alphabet), seed, chosen[name])
        started = time.process_time()
        losses[name, rate, seed] = train_language_model(
            model,
            tokens[:cut],
            torch.Generator().manual_seed(seed),
            steps=options.steps,
            batch_size=options.batch_size,
            length=options.length,
            learning_rate=rate,
        )
        seconds[name].append(time.process_time() - started)
        found = bits_per_token(model, tokens[cut:], length=options.length)
        bits.setdefault((name, rate), []).append(round(found, 4))
        values[f"{name}_parameters"] = size(model)
        print(f"{name:26s} rate {rate:g}, seed {seed}: {found:.4f} bits per character, {seconds[name][-1]:.0f} s")
        bar(done + 1, len(runs))
    for name in BLOCKS:
        means = [statistics.mean(bits[name, rate]) for rate in options.rates]
        best = options.rates[means.index(min(means))]
        values[f"{name}_mean_bits_at_rates"] = means
        values[f"{name}_best_rate"] = best
        values[f"{name}_bits_per_character"] = bits[name, best]
        values[f"{name}_mean_bits"] = min(means)
        values[f"{name}_spread_bits"] = max(bits[name, best]) - min(bits[name, best])
        values[f"{name}_training_seconds"] = statistics.mean(seconds[name])
        values[f"{name}_mlp_width"] = chosen[name]
        for seed in range(options.seeds):
            means = [round(float(part.mean()), 4) for part in losses[name, best, seed].split(20)]
            values[f"{name}_losses_seed{seed}"] = means
    print(json.dumps({name: value for name, value in values.items() if not isinstance(value, list)}, indent=2))
    if options.write:
        record.write(
            "mamba3",
            "char-lm-cpu",
            values,
            seeds=range(options.seeds),
            note=f"help texts of Python {platform.python_version()}, last tenth held out; two layers, {WIDTH} wide, "
            "float32; losses at the best rate are means over 20 steps, nats per character; CPU seconds of one thread",
        )


if __name__ == "__main__":
    main()
