"""The character transformer and its training: loops over positions, independence of the models, and the accounts."""

import math

import numpy as np
import pytest
import torch

from lib import char_scaling, char_transformer, source_text

TEXT = source_text.encode(source_text.stdlib_text(120_000))


def by_loop(model, one, ids):
    """Logits of one of the models on one row, position by position and head by head, in float64."""
    weights = {name: value[one].detach().double().numpy() for name, value in model.named_parameters()}

    def normalised(x, gain):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * gain[0]

    stream = [weights["characters"][symbol] + weights["positions"][at] for at, symbol in enumerate(ids)]
    width = len(stream[0])
    head = width // char_transformer.HEADS
    for depth in range(len(model.blocks)):
        block = {
            name.removeprefix(f"blocks.{depth}."): value
            for name, value in weights.items()
            if name.startswith(f"blocks.{depth}.")
        }
        joined = [normalised(x, block["before_attention.gain"]) @ block["queries_keys_values.weight"] for x in stream]
        attended = []
        for at in range(len(ids)):
            parts = []
            for start in range(0, width, head):
                query = joined[at][start : start + head]
                keys = np.array([row[width + start : width + start + head] for row in joined[: at + 1]])
                values = np.array([row[2 * width + start : 2 * width + start + head] for row in joined[: at + 1]])
                score = np.exp(keys @ query / math.sqrt(head))
                parts.append(score @ values / score.sum())
            attended.append(stream[at] + np.concatenate(parts) @ block["attended.weight"])
        stream = [
            x
            + np.maximum(normalised(x, block["before_layers.gain"]) @ block["widen.weight"], 0) @ block["narrow.weight"]
            for x in attended
        ]
    return np.array([normalised(x, weights["before_logits.gain"]) @ weights["logits.weight"] for x in stream])


def test_the_model_is_the_loop():
    model = char_transformer.CharTransformer(width=16, depth=2, context=7, seeds=[3, 4])
    with torch.no_grad():
        for parameter in model.parameters():  # gains of 1 would hide where they stand
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    ids = TEXT[:28].view(2, 2, 7)
    logits = model(ids)
    assert logits.shape == (2, 2, 7, 96)
    for one in range(2):
        for row in range(2):
            expected = by_loop(model, one, ids[one, row].tolist())
            np.testing.assert_allclose(logits[one, row].detach(), expected, rtol=1e-3, atol=2e-5)


def test_nothing_is_seen_before_its_time():
    model = char_transformer.CharTransformer(width=16, context=12)
    ids = TEXT[:12].clone().view(1, 1, 12)
    before = model(ids)
    ids[..., 8:] = 5
    after = model(ids)
    torch.testing.assert_close(before[:, :, :8], after[:, :, :8])
    assert not torch.allclose(before[:, :, 8:], after[:, :, 8:])


def test_models_side_by_side_are_models_alone():
    together = char_transformer.train(TEXT, 12, 6400, seeds=[1, 7], batch=4)
    for place, seed in enumerate([1, 7]):
        alone = char_transformer.train(TEXT, 12, 6400, seeds=[seed], batch=4)
        torch.testing.assert_close(together.losses[:, place], alone.losses[:, 0], rtol=2e-4, atol=1e-4)
    assert not torch.allclose(together.losses[:, 0], together.losses[:, 1], atol=1e-3)


def test_the_same_seed_gives_the_same_model():
    once, again = (char_transformer.train(TEXT, 8, 4096, seeds=[2]) for _ in range(2))
    assert torch.equal(once.losses, again.losses)
    state = torch.random.get_rng_state()
    char_transformer.train(TEXT, 8, 1024)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_text_is_read_once():
    """As many characters as there are, and every window in one batch: the target of one is the start of the next."""
    ids = TEXT[: 64 * 32 + 1]
    windows = char_transformer._windows(ids, 64)
    assert torch.equal(windows[:, :-1].flatten(), ids[:-1])
    assert torch.equal(windows[:, 1:].flatten(), ids[1:])
    trained = char_transformer.train(ids, 8, 64 * 32, seeds=[0], batch=8)
    assert trained.tokens == 64 * 32
    assert trained.losses.shape == (4, 1)
    with pytest.raises(
        ValueError, match=r"tokens must be at most the 2048 characters that ids can give once, got 2049"
    ):
        char_transformer.train(ids, 8, 64 * 32 + 1)
    assert char_transformer.train(ids, 8, 64 * 10 + 5, batch=4).tokens == 64 * 8


def test_parameters_are_counted():
    for width, depth in ((8, 1), (32, 2), (48, 3)):
        model = char_transformer.CharTransformer(width, depth)
        matrices = sum(weights.numel() for name, weights in model.blocks.named_parameters() if name.endswith("weight"))
        assert char_transformer.non_embedding_parameters(width, depth) == matrices == 12 * depth * width**2
    assert char_transformer.training_flops(2, 3) == 36


def test_the_loss_is_the_mean_over_all_characters():
    model = char_transformer.CharTransformer(width=8, context=16, seeds=[0, 1])
    ids = TEXT[:161]
    found = char_transformer.validation_loss(model, ids, batch=3)
    windows = torch.stack([ids[start : start + 17] for start in range(0, 160, 16)])
    log_shares = model(windows[:, :-1].expand(2, 10, 16)).double().log_softmax(dim=-1)
    expected = -log_shares.gather(-1, windows[:, 1:, None].expand(2, 10, 16, 1)).mean(dim=(1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    # Untrained, every character is about equally likely.
    assert (found - math.log(96)).abs().max() < 0.1


def test_the_learning_rate_rises_and_falls_to_zero():
    rates = [char_transformer._rate(step, 50, 5) for step in range(51)]
    assert rates[5] == 1
    assert np.diff(rates[:6]).min() > 0
    assert np.diff(rates[5:]).max() < 0
    assert rates[50] == 0
    assert char_transformer._rate(0, 1, 0) == 1


def test_training_learns_more_than_the_frequencies():
    """5 s of training go below the entropy of single characters, which needs the context."""
    split = source_text.block_split(TEXT, validation=16)
    trained = char_transformer.train(split.train, 32, 80_000, batch=8)
    frequencies = torch.bincount(split.validation.flatten(), minlength=96).double()
    shares = frequencies / frequencies.sum()
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
    loss = char_transformer.validation_loss(trained.model, split.validation)
    assert float(loss) < float(entropy) - 0.5


def test_progress_is_told():
    told = []
    char_transformer.train(TEXT, 8, 64 * 8 * 3, progress=lambda *at: told.append(at))
    assert told == [(1, 3, ""), (2, 3, ""), (3, 3, "")]


def test_a_point_of_the_sweep():
    split = char_scaling.source_split()
    point = char_scaling.char_model(width=12, budget=6 * 3456 * 10_000, seed=5)
    trained = char_transformer.train(split.train, 12, 10_000, seeds=[5])
    assert point["parameters"] == 3456
    assert point["tokens"] == trained.tokens == 9728
    assert point["flops"] == 6 * 3456 * 9728
    assert point["all_parameters"] == 3456 + 12 * (96 + 64 + 96) + 12 * 5
    assert point["loss"] == float(char_transformer.validation_loss(trained.model, split.validation))


@pytest.mark.parametrize("budget", [1e6, 1e14])
def test_a_budget_that_does_not_fit_the_text(budget):
    with pytest.raises(ValueError, match=r"budget must be from .* for 24576 parameters and a text read once, got"):
        char_scaling.char_model(width=32, budget=budget)


def test_widths_are_whole_heads():
    with pytest.raises(ValueError, match=r"width must be a multiple of 4, got 18"):
        char_transformer.CharTransformer(18)
