"""The counter-based random numbers: uniform, independent of order, repeatable, and refused when asked for nonsense."""

import numpy as np
import pytest
import scipy.stats
import torch

from lib.live.random import integers, normal, permutation, uniform


def test_uniform_numbers_are_uniform_and_independent():
    u = uniform(3, 100_000).numpy()
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01
    assert u.min() > 0 and u.max() < 1


def test_normal_numbers_are_normal():
    assert scipy.stats.kstest(normal(5, 100_000).numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize(("a", "b"), [((0, 0), (1, 0)), ((0, 0), (0, 1)), ((1, 0), (0, 1)), ((7, 2), (7, 3))])
def test_seeds_and_streams_are_independent(a, b):
    x, y = (uniform(seed, 20_000, stream=stream).numpy() for seed, stream in (a, b))
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.03


def test_a_draw_does_not_depend_on_its_shape():
    assert torch.equal(uniform(9, 6).view(2, 3), uniform(9, 2, 3))
    assert torch.equal(uniform(9, 100)[:10], uniform(9, 10))


def test_seed_may_be_a_number_or_a_tensor():
    assert torch.equal(uniform(4, 5), uniform(torch.tensor(4.0, dtype=torch.float64), 5))


def test_integers_cover_their_range_evenly():
    counts = torch.bincount(integers(1, 6, 60_000), minlength=6)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_permutation_holds_every_number_once():
    assert sorted(permutation(2, 100).tolist()) == list(range(100))


def test_empty_draws():
    assert uniform(0, 0).shape == (0,) and uniform(0).shape == ()


@pytest.mark.parametrize("shape", [(-1,), (2.0,), (True,), ("3",)])
def test_bad_shape(shape):
    with pytest.raises(ValueError, match="shape must hold non-negative integers"):
        uniform(0, *shape)


@pytest.mark.parametrize("stream", [-1, 2**32, 1.0, True, None])
def test_bad_stream(stream):
    with pytest.raises(ValueError, match="stream must be an integer"):
        uniform(0, 3, stream=stream)


@pytest.mark.parametrize("high", [0, -2, 2**21, 1.5, True])
def test_bad_high(high):
    with pytest.raises(ValueError, match="high must be an integer"):
        integers(0, high, 3)
