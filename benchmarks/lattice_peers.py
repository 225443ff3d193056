"""What a user of numpy or eager torch would write for the steps that ``benchmarks/lattice.py`` times."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

COUPLING, DT, UPDATED = 2.0, 0.05, 1 / 8
MIXING = 0.4
SHIFTS = ((1, 0), (-1, 0), (1, 1), (-1, 1))


def numpy_diffusion(x: np.ndarray) -> np.ndarray:
    total = sum(np.roll(x, by, axis) for by, axis in SHIFTS)
    return np.float32(1 - MIXING) * x + np.float32(MIXING / 4) * total


def numpy_kuramoto(theta: np.ndarray, omega: np.ndarray) -> np.ndarray:
    pull = np.zeros_like(theta)
    for by, axis in SHIFTS:
        pull += np.sin(np.roll(theta, by, axis) - theta)
    return theta + np.float32(DT) * (omega + np.float32(COUPLING / 4) * pull)


def eager_diffusion(x: Tensor) -> Tensor:
    total = sum(torch.roll(x, by, axis) for by, axis in SHIFTS)
    return (1 - MIXING) * x + MIXING / 4 * total


def eager_kuramoto(theta: Tensor, omega: Tensor) -> Tensor:
    pull = torch.zeros_like(theta)
    for by, axis in SHIFTS:
        pull += torch.sin(torch.roll(theta, by, axis) - theta)
    return theta + DT * (omega + COUPLING / 4 * pull)


def eager_asynchronous(theta: Tensor, omega: Tensor) -> Tensor:
    return torch.where(torch.rand_like(theta) < UPDATED, eager_kuramoto(theta, omega), theta)


def numpy_asynchronous(theta: np.ndarray, omega: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    ticks = generator.random(theta.shape, dtype=np.float32) < UPDATED
    return np.where(ticks, numpy_kuramoto(theta, omega), theta)


def python_pairs(theta: list[float], omega: list[float], K: float, some: int) -> list[float]:
    """Velocities of the first oscillators, by a loop over pairs."""
    n = len(theta)
    return [omega[i] + K / n * sum(math.sin(theta[j] - theta[i]) for j in range(n)) for i in range(some)]


def numpy_pairs(theta: np.ndarray, omega: np.ndarray, K: float) -> np.ndarray:
    return omega + K * np.sin(theta[None, :] - theta[:, None]).mean(axis=1)


def numpy_loop(theta: np.ndarray, omega: np.ndarray, K: float) -> np.ndarray:
    """One oscillator after the other, all its partners at once."""
    velocity = np.empty_like(theta)
    for i in range(len(theta)):
        velocity[i] = omega[i] + K * np.sin(theta - theta[i]).mean()
    return velocity


def numpy_mean_field(theta: np.ndarray, omega: np.ndarray, K: float) -> np.ndarray:
    cosine, sine = np.cos(theta), np.sin(theta)
    return omega + K * (sine.mean() * cosine - cosine.mean() * sine)
