"""Learning curves of n-grams on the text of the standard library, longer than a chapter has time for.

    taskset -c 0 python -m benchmarks.scaling_ngrams --write    # writes results/scaling-laws/ngrams-cpu.json

Three shuffles of the blocks, shards from 2^12 to 2^21 symbols, every order on every shard.
"""

from __future__ import annotations

import argparse
import platform

import torch

from benchmarks.report import Record
from lib.learning_curves import lower_envelope, shards
from lib.ngrams import WittenBellLM, block_split, encode, stdlib_text

ORDER = 6
SHUFFLES = 3


def curves(longest: int) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    """Sizes of the shards; bits per symbol and stored n-grams, (shuffles, shards, orders from 0)."""
    ids = encode(stdlib_text())
    sizes = shards(2**12, longest)
    bits = torch.empty(SHUFFLES, len(sizes), ORDER + 1, dtype=torch.float64)
    stored = torch.empty_like(bits)
    for shuffle in range(SHUFFLES):
        split = block_split(ids, seed=shuffle)
        for place, size in enumerate(sizes):
            model = WittenBellLM(ORDER).fit(split.shard(size))
            bits[shuffle, place] = model.bits_by_order(split.validation)
            stored[shuffle, place] = model.stored
    return sizes, bits, stored


def slope(sizes: list[int], values: torch.Tensor) -> torch.Tensor:
    """Least-squares slope on doubly logarithmic axes along the shards, the second dimension."""
    x = torch.tensor(sizes, dtype=torch.float64).log()
    x = x - x.mean()
    return torch.einsum("s,rs...->r...", x, values.log()) / x.square().sum()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=2**21, help="symbols of the longest shard")
    parser.add_argument("--write", action="store_true", help="write results/scaling-laws/ngrams-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("scaling_ngrams", arguments)
    sizes, bits, stored = curves(options.longest)
    orders = torch.arange(1, ORDER + 1)
    envelope, best = lower_envelope(orders, bits[..., 1:])
    chosen = best.long()[..., None]
    highest = stored.gather(-1, chosen)[..., 0]
    every = stored.cumsum(dim=-1).gather(-1, chosen)[..., 0]
    values = {
        "symbols": sizes,
        "orders": list(range(ORDER + 1)),
        "envelope_slope": slope(sizes, envelope).tolist(),
        "stored_slope_highest_order": slope(sizes, highest).tolist(),
        "stored_slope_every_order": slope(sizes, every).tolist(),
    }
    for shuffle in range(SHUFFLES):
        values[f"envelope_shuffle_{shuffle}"] = envelope[shuffle].tolist()
        values[f"best_order_shuffle_{shuffle}"] = best[shuffle].tolist()
        for order in range(ORDER + 1):
            values[f"bits_order_{order}_shuffle_{shuffle}"] = bits[shuffle, :, order].tolist()
            values[f"stored_order_{order}_shuffle_{shuffle}"] = stored[shuffle, :, order].tolist()
    for order in orders.tolist():
        values[f"stored_slope_order_{order}"] = slope(sizes, stored[..., order]).tolist()
    for name, value in values.items():
        if "slope" in name or "best" in name:
            print(f"{name:28s}", *(f"{entry:.3f}" for entry in value))
    if options.write:
        record.write(
            "scaling-laws",
            "ngrams-cpu",
            values,
            seeds=list(range(SHUFFLES)),
            note="bits per symbol on 64 validation blocks of 1024 symbols; text of the standard library of Python "
            f"{platform.python_version()}",
        )


if __name__ == "__main__":
    main()
