"""Learning curves measured on data: nearest neighbours in d dimensions, and two classifiers of handwritten digits.

Examples are shuffled once and shards are nested: a larger one adds to a smaller one. Test examples are in no shard.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lib import checks

__all__ = ["digits_curve", "nearest_neighbour_curve"]

DIGITS_TEST = 500


def nearest_neighbour_curve(
    dimension: int, sizes: Sequence[int], generator: torch.Generator, tests: int = 4000
) -> Tensor:
    """Squared error of the nearest neighbour's value for a smooth target in d dimensions.

    Points are uniform in the unit cube, the target is the sum of sin(2 pi x_i) over the d coordinates divided by the
    root of d, without noise. Neighbours are m^(-1/d) apart and the target is smooth, so that the error falls like
    m^(-2/d).

    Parameters
    ----------
    dimension : int
        Coordinates, d.
    sizes : sequence of int
        Examples in each shard, rising.
    generator : torch.Generator
        Source of randomness, on the CPU.
    tests : int
        New points on which the error is measured.

    Returns
    -------
    Tensor, (sizes,), float64
        Mean squared error; the target's variance is 1/2.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> nearest_neighbour_curve(1, [100, 10_000], torch.Generator().manual_seed(0))
    tensor([1.5189e-03, 1.0289e-07], dtype=torch.float64)
    """
    dimension = checks.integer("dimension", dimension, lowest=1)
    sizes = _check_sizes(sizes)
    generator = checks.generator("generator", generator)
    tests = checks.integer("tests", tests, lowest=1)
    from scipy.spatial import KDTree

    points = torch.rand(sizes[-1] + tests, dimension, generator=generator, dtype=torch.float64)
    values = (2 * math.pi * points).sin().sum(dim=1) / math.sqrt(dimension)
    examples, asked = points[: sizes[-1]].numpy(), points[sizes[-1] :].numpy()
    errors = []
    for size in sizes:
        _, nearest = KDTree(examples[:size]).query(asked)
        errors.append((values[torch.from_numpy(nearest)] - values[sizes[-1] :]).square().mean())
    return torch.stack(errors)


def digits_curve(classifier: str, sizes: Sequence[int], splits: int = 10, seed: int = 0) -> Tensor:
    """Share of handwritten digits that a classifier gets wrong, for growing shards.

    scikit-learn's 1797 digits of 8 x 8 pixels; 500 of them are the test images of a split.

    Parameters
    ----------
    classifier : {"nearest", "support"}
        One nearest neighbour, or a support vector machine with a Gaussian kernel (C = 10, gamma = 0.32 for pixels from
        0 to 1).
    sizes : sequence of int
        Examples in each shard, rising, from 20 to 1297.
    splits : int
        Independent shuffles of all the digits.
    seed : int
        Of the shuffles; both classifiers see the same ones.

    Returns
    -------
    Tensor, (splits, sizes), float64

    Raises
    ------
    ValueError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> digits_curve("nearest", [20, 160, 1280], splits=2).mean(dim=0)
    tensor([0.2900, 0.0780, 0.0170], dtype=torch.float64)
    """
    checks.choice("classifier", classifier, ("nearest", "support"))
    sizes = _check_sizes(sizes, lowest=20, highest=1797 - DIGITS_TEST)
    splits = checks.integer("splits", splits, lowest=1)
    generator = torch.Generator().manual_seed(checks.integer("seed", seed, lowest=0, highest=2**63 - 1))
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(pixels / 16)
    labels = torch.from_numpy(labels)
    # Every shard of every split looks up the same distances.
    squared_distances = torch.cdist(pixels, pixels).square()
    errors = torch.empty(splits, len(sizes), dtype=torch.float64)
    for split in range(splits):
        order = torch.randperm(len(labels), generator=generator)
        asked, examples = order[:DIGITS_TEST], order[DIGITS_TEST:]
        for place, size in enumerate(sizes):
            guess = _nearest if classifier == "nearest" else _support
            guessed = guess(squared_distances, labels, examples[:size], asked)
            errors[split, place] = (guessed != labels[asked]).double().mean()
    return errors


def _nearest(squared_distances: Tensor, labels: Tensor, examples: Tensor, asked: Tensor) -> Tensor:
    return labels[examples[squared_distances[asked][:, examples].argmin(dim=1)]]


def _support(squared_distances: Tensor, labels: Tensor, examples: Tensor, asked: Tensor) -> Tensor:
    from sklearn.svm import SVC

    kernel = (-0.32 * squared_distances[:, examples]).exp()
    machine = SVC(C=10, kernel="precomputed").fit(kernel[examples].numpy(), labels[examples].numpy())
    return torch.from_numpy(machine.predict(kernel[asked].numpy()))


def _check_sizes(sizes: Sequence[int], lowest: int = 1, highest: int | None = None) -> list[int]:
    if not isinstance(sizes, (list, tuple, range)) or not sizes:
        raise ValueError(f"sizes must be a list of at least one integer, got {checks.describe(sizes)}")
    read = [checks.integer("sizes", size, lowest=lowest, highest=highest) for size in sizes]
    if any(after <= before for before, after in itertools.pairwise(read)):
        raise ValueError(f"sizes must rise, got {checks.describe(sizes)}")
    return read
