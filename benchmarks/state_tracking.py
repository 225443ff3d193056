"""Small models trained to count modulo 2, with a memory that turns and without: accuracy at every position.

    taskset -c 0 python -m benchmarks.state_tracking --write    # writes results/mamba3/parity-cpu.json

Every variant is trained on strings of up to 8, 16, 32 and 64 bits with several seeds, and read on strings of 256. Of
the models that turn, the head that counts is then looked at: by how much each bit turns its pairs, how much of its
memory each bit leaves, and what happens beyond the trained length when it is made to forget nothing, and when its turns
are made exact as well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import time

import torch
from torch import Tensor

from benchmarks.report import Record
from lib.progress import ProgressBar
from lib.ssm import state_tracking
from lib.ssm.language_model import LanguageModel

READ = 256
SLUGS = {
    "rotation": "rotation",
    "no rotation": "none",
    "standard RoPE": "rope",
    "rotation, lambda = 1": "euler",
}
# All positions near the trained lengths, every fourth one beyond; the first bit is position 1.
POSITIONS = [*range(1, 65), *range(68, READ + 1, 4)]
NEAR = 0.3  # radians within which a pair counts as making half turns


def accuracy(model: LanguageModel, strings: int) -> Tensor:
    """Scaled accuracy (percent) at every position, on the same strings for all models."""
    generator = torch.Generator().manual_seed(100)
    return state_tracking.scaled_accuracy(state_tracking.accuracy_by_position(model, READ, strings, generator))


def picked(by_position: Tensor) -> list[float]:
    return [round(float(by_position[position - 1]), 1) for position in POSITIONS]


def horizon(by_position: Tensor) -> int:
    """Last position before the scaled accuracy first falls below 90."""
    failed = (by_position < 90).nonzero()
    return int(failed[0]) if len(failed) else READ


def counting_head(turns: Tensor) -> int:
    """Head whose pairs are, on average, turned nearest to half a turn by a one."""
    return int((turns[1].abs() - math.pi).abs().mean(-1).argmin())


@contextlib.contextmanager
def edited(model: LanguageModel, head: int, exact: bool):
    """The model with a head that forgets nothing and, if asked for, whose half turns are exact."""
    block = model.blocks[0]
    project = block.project
    near = (state_tracking.learned_turns(model)[1, head].abs() - math.pi).abs() < NEAR

    def changed(u):
        given = project(u)
        A = given.A.clone()
        A[..., head] = -1e-9
        angle = (given.dt[..., None] * given.theta).clone()
        if exact:
            turn = angle[:, :, head]
            angle[:, :, head] = torch.where(near, (turn / math.pi).round() * math.pi, turn)
        return given._replace(A=A, theta=angle / given.dt[..., None])

    block.project = changed
    try:
        yield model
    finally:
        del block.project


def looked_at(model: LanguageModel, name: str, strings: int) -> dict[str, float | list[float]]:
    """What the counting head does with each bit, and without forgetting and errors of its angles."""
    turns = state_tracking.learned_turns(model)
    head = counting_head(turns)
    with torch.no_grad():
        projection = model.blocks[0].project(model.block_norms[0](model.embedding.weight)[:, None])
    kept = torch.exp(projection.dt * projection.A)[:, 0, head]
    differences = (turns[1] - turns[0])[head].abs()
    found = {
        f"{name}_turns_of_zero": turns[0, head].tolist(),
        f"{name}_turns_of_one": turns[1, head].tolist(),
        f"{name}_kept_by_zero": float(kept[0]),
        f"{name}_kept_by_one": float(kept[1]),
        f"{name}_smallest_error_of_half_turn": float((differences - math.pi).abs().min()),
    }
    for label, exact in (("remembering", False), ("remembering_and_exact", True)):
        with edited(model, head, exact):
            by_position = accuracy(model, strings)
        found[f"{name}_{label}"] = picked(by_position)
        found[f"{name}_{label}_horizon"] = horizon(by_position)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 16, 32, 64], help="longest strings of training")
    parser.add_argument("--strings", type=int, default=512, help="strings of a test")
    parser.add_argument("--write", action="store_true", help="write results/mamba3/parity-cpu.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record = Record("state_tracking", arguments)
    values: dict[str, float | list[float]] = {"positions": POSITIONS, "trained_lengths": options.lengths}
    runs = [(variant, length, seed) for variant in SLUGS for length in options.lengths for seed in range(options.seeds)]
    bar = ProgressBar("trained models")
    seconds = []
    for done, (variant, length, seed) in enumerate(runs):
        started = time.process_time()
        model = state_tracking.train_parity(variant, seed, max_length=length).model
        seconds.append(time.process_time() - started)
        name = f"{SLUGS[variant]}_{length}_seed{seed}"
        by_position = accuracy(model, options.strings)
        values[name] = picked(by_position)
        values[f"{name}_horizon"] = horizon(by_position)
        if variant == "rotation":
            values |= looked_at(model, name, options.strings)
        bar(done + 1, len(runs))
    for variant, slug in SLUGS.items():
        for length in options.lengths:
            last = POSITIONS.index(length)
            at_end = [values[f"{slug}_{length}_seed{seed}"][last] for seed in range(options.seeds)]
            values[f"{slug}_{length}_at_trained_length"] = at_end
            print(f"{variant:22s} up to {length:3d}: {at_end} at {length}")
    values["median_training_seconds"] = statistics.median(seconds)
    print(json.dumps({name: value for name, value in values.items() if not isinstance(value, list)}, indent=2))
    if options.write:
        record.write(
            "mamba3",
            "parity-cpu",
            values,
            seeds=range(options.seeds),
            note=f"scaled accuracy in percent (0 is guessing) on {options.strings} random strings, the same for all; "
            "one layer, 32 wide, 400 steps of 32 strings, float32; CPU seconds of one thread",
        )


if __name__ == "__main__":
    main()
