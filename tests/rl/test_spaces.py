"""Spaces: what lies inside, and what is refused."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.rl.spaces import Box, Discrete, MultiDiscrete


@pytest.mark.parametrize("n", [1, 3, 7])
def test_discrete_is_gymnasiums(n):
    ours, theirs = Discrete(n), gymnasium.spaces.Discrete(n)
    values = np.arange(-2, 9)
    assert ours.contains(torch.tensor(values)).tolist() == [theirs.contains(value) for value in values]
    assert ours.shape == theirs.shape


def test_several_choices_are_gymnasiums():
    ours, theirs = MultiDiscrete((2, 4)), gymnasium.spaces.MultiDiscrete([2, 4])
    values = np.array([[a, b] for a in range(-1, 4) for b in range(-1, 6)])
    assert ours.contains(torch.tensor(values)).tolist() == [theirs.contains(value) for value in values]
    assert ours.shape == theirs.shape


@given(st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=6))
def test_boxes_are_gymnasiums(values):
    low, high = (-1.0, 0.0, -math.inf), (1.0, 0.5, 2.0)
    ours = Box(low, high, shape=(2, 3))
    theirs = gymnasium.spaces.Box(np.tile(np.float32(low), (2, 1)), np.tile(np.float32(high), (2, 1)))
    value = torch.tensor(values, dtype=torch.float32).view(2, 3)
    assert bool(ours.contains(value)) == theirs.contains(value.numpy())
    assert ours.contains(value.expand(5, 4, 2, 3)).shape == (5, 4)
    assert ours.size == 6


def test_a_box_of_one_number_contains_its_bounds():
    box = Box(-2.0, 2.0, shape=())
    assert box.contains(torch.tensor([-2.1, -2.0, 0.0, 2.0, math.nan])).tolist() == [False, True, True, True, False]
    assert box.contains(torch.tensor(0.0)).shape == ()
    assert box.size == 1


def test_a_box_may_be_a_single_point_somewhere():
    box = Box((0.0, -1.0), (0.0, 1.0), shape=(2,))
    assert box.contains(torch.tensor([[0.0, 0.5], [0.1, 0.5]])).tolist() == [True, False]


def test_choices_are_whole_numbers():
    assert Discrete(3).contains(torch.tensor([0.0, 0.5, 2.0, math.nan])).tolist() == [True, False, True, False]
    assert MultiDiscrete((2, 4)).contains(torch.tensor([[1.0, 3.0], [0.5, 3.0]])).tolist() == [True, False]


@pytest.mark.parametrize("space", [Box(-1.0, 1.0, shape=(2,)), MultiDiscrete((2, 2))])
@pytest.mark.parametrize("value", [torch.zeros(3, 1), torch.tensor(0.0), [0.0, 0.0]], ids=["one entry", "none", "list"])
def test_values_of_another_shape_are_refused(space, value):
    with pytest.raises(ValueError, match=r"value must be a tensor of shape \(..., 2\), got"):
        space.contains(value)


def test_bounds_are_compared_in_the_type_of_the_value():
    """0.7 in float32 lies a rounding below 0.7 in float64; a value that was clamped to a bound is inside."""
    box = Box(0.7, 12.1, shape=(1,))
    for dtype in (torch.float32, torch.float64):
        value = torch.tensor([[-1.0], [100.0]], dtype=dtype).clamp(0.7, 12.1)
        assert box.contains(value).tolist() == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, [2]), "shape must be a tuple of integers, got"),
        ((0.0, 1.0, (0,)), "shape must be an integer of at least 1, got 0"),
        (((0.0, 2.0), 1.0, (2,)), "low must be at most high, got"),
        ((math.inf, math.inf, (2,)), "low must be at most high, got inf and inf"),
        ((-math.inf, -math.inf, (2,)), "low must be at most high, got -inf and -inf"),
        (((0.0,), 1.0, (2,)), "low must be a number or 2 numbers, got"),
        ((0.0, (1.0, math.nan), (2,)), "high must be a number or 2 numbers, got"),
        ((0.0, "1", (2,)), "high must be a number or 2 numbers, got '1'"),
        ((True, 2.0, (2,)), "low must be a number or 2 numbers, got True"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Box(*arguments)
