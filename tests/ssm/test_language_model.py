"""Language models of state-space blocks: steps, generation, packed rows, parameter groups, training."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.ssm.language_model import LanguageModel, SwiGLU, parameter_groups, sample_tokens
from lib.ssm.language_training import bits_per_token, encode_characters, help_text, train_language_model
from lib.ssm.layers import Mamba1Block, Mamba2Block, Mamba3Block

MAKERS = {
    "mamba1": partial(Mamba1Block, d_state=4),
    "mamba2": partial(Mamba2Block, d_state=4, head_dim=4),
    "mamba3": partial(Mamba3Block, d_state=4, head_dim=4),
    "mamba3 mimo": partial(Mamba3Block, d_state=4, head_dim=4, mimo_rank=2),
}
every_maker = pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())


def model_of(maker, **options):
    return LanguageModel(7, 8, 2, **{"block": maker, "dtype": torch.float64, **options})


def text(*sizes, seed=0):
    return torch.randint(7, sizes, generator=torch.Generator().manual_seed(seed))


def close(ours, theirs, tolerance=1e-11):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_the_stack_layer_by_layer():
    model = model_of(MAKERS["mamba3"])
    tokens = text(2, 5)
    u = model.embedding.weight[tokens]
    for layer in range(2):
        scaled = u / (u.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        u = u + model.blocks[layer](scaled)
        scaled = u / (u.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        mlp = model.mlps[layer]
        gate = scaled @ mlp.gate.weight.T
        u = u + (gate * torch.sigmoid(gate) * (scaled @ mlp.up.weight.T)) @ mlp.down.weight.T
    scaled = u / (u.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    close(model(tokens), scaled @ model.head.weight.T)
    assert model.mlps[0].up.weight.shape == (8 * 8 // 3, 8)
    assert len(model_of(MAKERS["mamba3"], mlp_width=0).mlps) == 0
    assert SwiGLU(4, 6).down.weight.shape == (4, 6)


@every_maker
def test_steps_equal_the_full_forward(maker):
    model, tokens = model_of(maker), text(3, 11)
    expected, _ = model.prefill(tokens)
    first, state = model.prefill(tokens[:, :4])
    outputs = [first]
    for token in tokens[:, 4:].unbind(1):
        logits, state = model.step(token, state)
        outputs.append(logits[:, None])
    close(torch.cat(outputs, 1), expected)
    fresh, _ = model.step(tokens[:, 0])
    close(fresh, expected[:, 0])


@every_maker
def test_packed_and_padded_rows(maker):
    model, tokens = model_of(maker), text(2, 9)
    reset = torch.zeros(2, 9, dtype=torch.bool)
    reset[:, 0] = reset[0, 3] = reset[1, 5] = True
    y = model(tokens, reset=reset)
    close(y[0, :3], model(tokens[:1, :3])[0])
    close(y[0, 3:], model(tokens[:1, 3:])[0])
    close(y[1, 5:], model(tokens[1:, 5:])[0])
    y, state = model.prefill(tokens, lengths=torch.tensor([4, 9]))
    alone, short = model.prefill(tokens[:1, :4])
    close(y[0, :4], alone[0])
    close(model.step(tokens[:, 0], state)[0][0], model.step(tokens[:1, 0], short)[0][0])


@every_maker
def test_the_memory_of_generation_does_not_grow(maker):
    model = model_of(maker)

    def size(state):
        return state.numel() if isinstance(state, torch.Tensor) else sum(size(part) for part in state)

    _, short = model.prefill(text(1, 4))
    _, long = model.prefill(text(1, 40))
    assert size(short) == size(long)


def test_the_most_likely_text():
    """Without temperature each token is the best guess of the whole text so far, read again from its beginning."""
    model, prompt = model_of(MAKERS["mamba3"]), text(2, 3)
    whole = prompt
    for _ in range(6):
        whole = torch.cat([whole, model(whole)[:, -1:].argmax(-1)], 1)
    assert torch.equal(model.generate(prompt, 6, temperature=0.0), whole[:, 3:])


def test_generation_depends_on_its_generator_alone():
    model, prompt = model_of(MAKERS["mamba3"]), text(2, 3)
    draws = [model.generate(prompt, 12, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert draws[0].shape == (2, 12) and int(draws[0].min()) >= 0 and int(draws[0].max()) < 7


def test_frequencies_of_draws():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0], dtype=torch.float64).expand(40_000, 4)
    generator = torch.Generator().manual_seed(0)
    for temperature, top_k, kept in ((1.0, None, 4), (0.5, None, 4), (2.0, 2, 2), (1.0, 9, 4)):
        drawn = sample_tokens(logits, temperature=temperature, top_k=top_k, generator=generator)
        weights = np.exp(np.array([0.0, 1.0, 2.0, -1.0]) / temperature)
        weights[np.argsort(weights)[: 4 - kept]] = 0
        expected = weights / weights.sum()
        found = np.bincount(drawn.numpy(), minlength=4) / len(drawn)
        # Four standard errors of a share.
        assert np.abs(found - expected).max() <= 4 * math.sqrt(0.25 / len(drawn))
    assert sample_tokens(torch.zeros(2, 3, 5), generator=generator).shape == (2, 3)


@given(st.integers(1, 5), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_draws_are_among_the_most_likely(top_k, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(20, 6, generator=generator)
    drawn = sample_tokens(logits, top_k=top_k, generator=generator)
    rank = (logits > logits.gather(1, drawn[:, None])).sum(1)
    assert int(rank.max()) < top_k


@every_maker
def test_parameter_groups(maker):
    model = model_of(maker)
    decayed, free = parameter_groups(model, 0.1)
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))
    left_alone = {name for name, weight in model.named_parameters() if any(weight is other for other in free["params"])}
    assert {name.rsplit(".", 1)[1] for name in left_alone} in ({"D", "dt_bias"}, {"A_log", "D", "dt_bias"})
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=1.0)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        close(weight.detach(), before[name] * (1 if name in left_alone else 0.9))


def test_seeds_and_weights_that_are_saved():
    one, same, other = (model_of(MAKERS["mamba3"], generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    tokens = text(1, 5)
    close(one(tokens), same(tokens), 0)
    assert not torch.allclose(one(tokens), other(tokens))
    assert not torch.equal(one.blocks[0].in_proj.weight, one.blocks[1].in_proj.weight)
    other.load_state_dict(one.state_dict())
    close(one(tokens), other(tokens), 0)


def test_half_precision():
    model = model_of(MAKERS["mamba3"], dtype=torch.float32)
    tokens = text(2, 20)
    expected = model(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(tokens)
    half = model.bfloat16()(tokens)
    for logits in (mixed, half):
        assert logits.dtype == torch.bfloat16
        assert float(((logits - expected).norm() / expected.norm()).detach()) < 0.05


def test_a_text_in_characters():
    tokens, alphabet = encode_characters(help_text())
    assert "".join(alphabet[token] for token in tokens[:200].tolist()) == help_text()[:200]
    assert tokens.max() == len(alphabet) - 1 and len(tokens) > 300_000
    assert list(alphabet) == sorted(set(alphabet))


@every_maker
def test_training_learns_a_text_that_repeats(maker):
    tokens, alphabet = encode_characters("the quick brown fox jumps over the lazy dog. " * 20)
    model = LanguageModel(len(alphabet), 16, 1, block=maker, mlp_width=16)
    options = {"length": 32, "batch_size": 8}
    untrained = bits_per_token(model, tokens, length=32)
    losses = train_language_model(
        model, tokens, torch.Generator().manual_seed(0), steps=60, learning_rate=2e-2, **options
    )
    assert untrained > 4 > 1 > bits_per_token(model, tokens, length=32)
    assert float(losses[-1]) < 1 < float(losses[0])


def test_bits_against_a_sum_over_windows():
    tokens = text(50)
    model = model_of(MAKERS["mamba2"])
    total = 0.0
    for start in range(0, 48, 8):
        logs = torch.log_softmax(model(tokens[None, start : start + 8])[0], -1).detach()
        total -= sum(float(logs[t, tokens[start + t + 1]]) for t in range(8))
    assert bits_per_token(model, tokens, length=8, batch_size=4) == pytest.approx(total / 48 / math.log(2), rel=1e-12)


def test_progress_is_told():
    told = []
    model = model_of(MAKERS["mamba3"])
    options = {"length": 4, "progress": lambda done, total: told.append((done, total))}
    train_language_model(model, text(20), torch.Generator(), steps=3, **options)
    assert told == [(1, 3), (2, 3), (3, 3)]


MODEL = model_of(MAKERS["mamba3"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MODEL(torch.tensor([[7]])), "tokens must lie from 0 to 6, got 7"),
        (lambda: MODEL(torch.tensor([[-1]])), "tokens must lie from 0 to 6, got -1"),
        (lambda: MODEL(torch.tensor([1])), r"tokens must be an integer tensor of shape \(batch, time\)"),
        (lambda: MODEL(torch.ones(1, 2)), "tokens must be an integer tensor"),
        (lambda: MODEL(torch.ones(1, 0, dtype=torch.int64)), "tokens must be an integer tensor"),
        (lambda: MODEL(text(1, 3), initial_state=[None]), "state must hold one entry for each of 2 blocks"),
        (lambda: MODEL(text(1, 3), reset=torch.ones(1, 3)), "reset must be a boolean tensor"),
        (lambda: MODEL(text(1, 3), lengths=torch.tensor([4])), "lengths must be from 1 to"),
        (lambda: MODEL.step(text(1, 3)), r"tokens must be an integer tensor of shape \(batch,\)"),
        (lambda: MODEL.generate(text(3), 2), "prompt must be an integer tensor"),
        (lambda: MODEL.generate(text(1, 3), 0), "length must be an integer of at least 1"),
        (lambda: MODEL.generate(text(1, 3), 2), "generator must be a torch.Generator, got None"),
        (lambda: MODEL.generate(text(1, 3), 2, temperature=-1.0), "temperature must be a finite number"),
        (lambda: LanguageModel(7, 8, 2, block=nn.Linear(2, 2), mlp_width=-1), "mlp_width must be an integer"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
