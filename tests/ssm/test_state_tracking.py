"""Counting: exact counters, the page's replay of them, and training with and without rotation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.ssm import state_tracking
from lib.ssm.state_tracking import VARIANTS
from tests.replays import recorded, replays


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_brief_9_parity_is_exact():
    bits = state_tracking.random_digits(64, 1000, 2, seeded())
    signs = np.where(np.cumsum(bits.numpy(), axis=1) % 2, -1.0, 1.0)
    assert np.abs(state_tracking.parity_counter(bits).numpy() - signs).max() == 0


def test_brief_9_sums_modulo_five():
    digits = state_tracking.random_digits(8, 500, 5, seeded())
    expected = np.cumsum(digits.numpy(), axis=1) % 5
    assert (state_tracking.modular_counter(digits, 5).argmax(-1).numpy() == expected).all()
    assert (state_tracking.modular_sums(digits, 5).numpy() == expected).all()


@given(st.integers(2, 12), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_every_modulus(modulus, length, seed):
    digits = state_tracking.random_digits(3, length, modulus, seeded(seed))
    scores = state_tracking.modular_counter(digits, modulus)
    assert scores.shape == (3, length, modulus)
    assert torch.equal(scores.argmax(-1), digits.cumsum(-1) % modulus)
    torch.testing.assert_close(scores.max(-1).values, torch.ones(3, length, dtype=torch.float64))


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=20), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_the_pair_is_a_complex_power(turn, decay):
    expected = np.exp(1j * np.cumsum(turn) - decay * np.arange(1, len(turn) + 1))
    path = state_tracking.counter_state(turn, decay=decay)
    np.testing.assert_allclose(path.numpy(), np.stack([expected.real, expected.imag], -1), rtol=0, atol=1e-12)


def test_an_angle_that_is_off_goes_astray():
    """After n ones the pair is n times the error away; the sign is lost where that passes a quarter turn."""
    ones = torch.ones(400, dtype=torch.int64)
    error = 0.01
    right = state_tracking.parity_counter(ones, angle=math.pi - error).sign() == state_tracking.parity_counter(ones)
    assert int((~right).nonzero()[0]) + 1 == math.ceil(math.pi / 2 / error)


def test_decay_keeps_the_sign():
    bits = state_tracking.random_digits(4, 300, 2, seeded())
    y = state_tracking.parity_counter(bits, decay=0.1)
    assert torch.equal(y.sign(), state_tracking.parity_counter(bits))
    torch.testing.assert_close(y.abs()[0], torch.exp(-0.1 * torch.arange(1, 301, dtype=torch.float64)))


def test_batches_of_any_shape():
    digits = torch.tensor([[[0, 1], [1, 1]], [[0, 0], [1, 0]]])
    scores = state_tracking.modular_counter(digits, 3)
    assert scores.shape == (2, 2, 2, 3)
    torch.testing.assert_close(scores[1, 1], state_tracking.modular_counter(digits[1, 1], 3))


def test_counters_run_in_the_page():
    bits = torch.tensor([1, 0, 1, 1, 0, 1])

    def figure(angle, decay):
        return (
            state_tracking.parity_counter(bits, angle=angle, decay=decay),
            state_tracking.counter_state(angle * bits, decay=decay),
            state_tracking.modular_counter(bits, 3, angle=angle, decay=decay),
        )

    program = recorded(figure, {"angle": 3.0, "decay": 0.1})
    settings_ = [{"angle": angle, "decay": decay} for angle, decay in ((math.pi, 0.0), (0.0, 1.0), (1.7, 0.03))]
    for page, ours in replays(program, figure, settings_):
        np.testing.assert_allclose(np.asarray(page), ours.numpy(), rtol=0, atol=1e-12)


def test_scaled_accuracy():
    assert state_tracking.scaled_accuracy([0.2, 0.6, 1.0], classes=5).tolist() == pytest.approx([0, 50, 100])


def test_accuracy_by_position_of_known_models():
    class Says(torch.nn.Module):
        """Parity itself, or always zero."""

        def __init__(self, right):
            super().__init__()
            self.right = right

        def forward(self, bits):
            answer = state_tracking.modular_sums(bits, 2) * self.right
            return torch.nn.functional.one_hot(answer, 2).float()

    assert state_tracking.accuracy_by_position(Says(1), 20, 50, seeded()).tolist() == [1.0] * 20
    chance = state_tracking.accuracy_by_position(Says(0), 20, 2000, seeded())
    assert float((chance - 0.5).abs().max()) < 4 * math.sqrt(0.25 / 2000)


def test_variants_differ_in_their_options_only():
    sizes = {}
    for variant in VARIANTS:
        model = state_tracking.parity_model(variant)
        sizes[variant] = sum(weight.numel() for weight in model.parameters())
        assert model(torch.tensor([[0, 1, 1]])).shape == (1, 3, 2)
    assert sizes["no rotation"] == sizes["standard RoPE"] < sizes["rotation"]


def test_learned_turns_are_those_of_the_block():
    model = state_tracking.parity_model("rotation")
    bits = torch.tensor([[0, 1, 1, 0]])
    inputs = model.block_norms[0](model.embedding(bits))
    projection = model.blocks[0].project(inputs)
    turns = state_tracking.learned_turns(model)
    torch.testing.assert_close(turns[bits[0]], (projection.dt[..., None] * projection.theta)[0].detach())


def test_seeds():
    first, same, other = (state_tracking.train_parity("rotation", seed, steps=3).losses for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_brief_12_rotation_learns_parity_and_fading_alone_does_not():
    """Random strings of up to 32 bits, the last position of 128 strings of 32."""
    last = {}
    for variant in ("rotation", "no rotation"):
        told = []
        trained = state_tracking.train_parity(
            variant, seed=0, progress=lambda done, total, told=told: told.append(done)
        )
        accuracy = state_tracking.accuracy_by_position(trained.model, 32, 128, seeded(100))
        last[variant] = float(state_tracking.scaled_accuracy(accuracy)[-1])
        assert told == list(range(1, 401)) and trained.losses.shape == (400,)
    assert last["rotation"] >= 95
    assert last["no rotation"] <= 40
