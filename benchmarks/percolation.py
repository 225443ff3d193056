"""Clusters and boxes of 4096 x 4096 pixels: scipy and the widespread recipes against ours, in one run.

    python -m benchmarks.percolation --write               # CPU, one thread: results/fisher-rao/percolation-cpu.json
    python -m benchmarks.percolation --device cuda --write # ours on the GPU, scipy on the same machine

Labels: random sites at the threshold, the hardest density. On a CPU `lib.percolation` calls scipy, which wins; the own
kernel is timed all the same. On a GPU scipy's time includes copying the mask to the host and the labels back.
Boxes: the boundary of a thresholded random field; the peer counts every size from full resolution with two `reduceat`.
Before anything is timed, results are compared exactly. The contenders then take turns; the best round counts. Memory is
the highest resident size during a call less that before it (Linux), or what the GPU allocated.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from benchmarks.report import Record
from benchmarks.timing import Clock, peak_bytes, seconds_of
from lib import percolation
from lib.components import numbered
from lib.landscape import random_field

SEED = 0
FEW = 64  # images of the batch


def scipy_labels(mask: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Image by image on the host; copies from and to a GPU are part of it."""
    labels, count = [], []
    for image in mask.cpu().numpy():
        own, clusters = ndimage.label(image)
        labels.append(torch.from_numpy(own))
        count.append(clusters)
    return torch.stack(labels).to(mask.device), count


def reduceat_boxes(image: np.ndarray, sizes: list[int]) -> list[int]:
    """The widespread recipe: every size from full resolution."""
    counts = []
    for size in sizes:
        rows = np.add.reduceat(image, np.arange(0, image.shape[0], size), axis=0)
        boxes = np.add.reduceat(rows, np.arange(0, image.shape[1], size), axis=1)
        counts.append(int((boxes > 0).sum()))
    return counts


def megabytes_of(call, device: torch.device) -> float:
    """Highest memory during a call above that before it."""
    if device.type == "cuda":
        return Clock(device).peak_megabytes(call)
    ctypes.CDLL(None).malloc_trim(0)  # give back what earlier calls left
    return peak_bytes(call) / 1e6


def check(sites: torch.Tensor, batch: torch.Tensor, shape: torch.Tensor, sizes: dict[str, list[int]]) -> None:
    """Stop unless every contender gives the same labels and counts."""
    for mask in (sites[None], batch):
        expected, clusters = scipy_labels(mask)
        labels, count = percolation.connected_components(mask)
        if count.tolist() != clusters or not torch.equal(labels, expected):
            raise SystemExit("labels differ from scipy's")
    for name, one in sizes.items():
        if percolation.box_counts(shape, one).tolist() != reduceat_boxes(shape.cpu().numpy(), one):
            raise SystemExit(f"box counts of {name} differ")
    print("labels and box counts are equal")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="write results/fisher-rao/percolation-<device>.json")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    torch.set_num_threads(1)
    record = Record("percolation", arguments, device)

    side = options.side
    sites = percolation.random_sites(percolation.SITE_THRESHOLD[4], side, 1, SEED)[0].to(device)
    batch = percolation.random_sites(percolation.SITE_THRESHOLD[4], side // 8, FEW, SEED).to(device)
    field = random_field((side, side), 3, np.random.default_rng(SEED))
    shape = percolation.boundary(torch.from_numpy(field > 0)).to(device)
    sizes = {"powers": [2**power for power in range(12)], "authors": percolation.box_sizes((side, side))}
    check(sites, batch, shape, sizes)

    host = shape.cpu().numpy()
    contenders = {
        "labels_scipy": lambda: scipy_labels(sites[None]),
        "labels_ours": lambda: numbered(sites[None], 4),
        "batch_scipy": lambda: scipy_labels(batch),
        "batch_ours": lambda: numbered(batch, 4),
        "powers_reduceat": lambda: reduceat_boxes(host, sizes["powers"]),
        "powers_ours": lambda: percolation.box_counts(shape, sizes["powers"]),
        "authors_reduceat": lambda: reduceat_boxes(host, sizes["authors"]),
        "authors_ours": lambda: percolation.box_counts(shape, sizes["authors"]),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(options.rounds):
        for name, call in contenders.items():
            seconds = seconds_of(call, device)
            times[name].append(seconds)
            print(f"round {round_ + 1} of {options.rounds}: {name:18s} {1e3 * seconds:10.1f} ms", flush=True)
    best = {name: min(one) for name, one in times.items()}
    values = {"side": side, "batch_images": FEW, "batch_side": side // 8, "occupied": float(sites.double().mean())}
    values |= {f"seconds_{name}": seconds for name, seconds in best.items()}
    values |= {
        "labels_ours_over_scipy": best["labels_scipy"] / best["labels_ours"],
        "batch_ours_over_scipy": best["batch_scipy"] / best["batch_ours"],
        "boxes_ours_over_reduceat": best["powers_reduceat"] / best["powers_ours"],
        "authors_boxes_ours_over_reduceat": best["authors_reduceat"] / best["authors_ours"],
        "mask_megabytes": sites.numel() / 1e6,
    }
    if device.type == "cuda" or Path("/proc/self/clear_refs").exists():
        for name in ("labels_scipy", "labels_ours", "powers_ours", "authors_ours"):
            values[f"megabytes_{name}"] = megabytes_of(contenders[name], device)
    print(json.dumps(values, indent=2))
    print(
        f"labels: ours is {values['labels_ours_over_scipy']:.2f} x scipy; "
        f"boxes: ours is {values['boxes_ours_over_reduceat']:.0f} x reduceat for each size, "
        f"{values['authors_boxes_ours_over_reduceat']:.1f} x with the authors' sizes"
    )
    if options.write:
        record.write(
            "fisher-rao",
            f"percolation-{device.type}",
            values,
            seeds=[SEED],
            note=f"CPU time on a CPU, wall time with a GPU; best of {options.rounds} rounds; random sites at "
            "the threshold, boundary of a random field",
        )


if __name__ == "__main__":
    main()
