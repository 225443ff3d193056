"""Tokens that are vectors, sign-definite maps, and the reordering of tokens."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from lib import softsort as softsort_module
from lib import token_dynamics

SCORES = [0.3, -1.0, 2.0, 0.9]


def random_system():
    """The brief's eight dimensions: write map, step map, tokens, drawn in this order."""
    rng = np.random.default_rng(0)
    write = rng.normal(size=(16, 8)) * 0.5 / 4
    step_map = rng.normal(size=(8, 8)) * 0.3
    tokens = rng.normal(size=(6, 8))
    return torch.from_numpy(write), torch.from_numpy(step_map), torch.from_numpy(tokens)


def velocity_by_loops(x, output_map, step_map, decay):
    """The layer as it is written in Mamba: a memory of N cells per channel, here with S_B = M and S_C = 1."""
    size = x.shape[1]
    velocity = np.zeros_like(x)
    for channel in range(size):
        h = np.zeros(size)
        for place, token in enumerate(x):
            step = np.log1p(np.exp(step_map[channel] @ token))
            h = np.exp(-decay[channel] * step) * h + step * (output_map @ token) * token[channel]
            velocity[place, channel] = token @ h
    return velocity


def test_velocity_is_that_of_the_recurrent_layer():
    write, step_map, tokens = random_system()
    output_map = write.mT @ torch.flip(write, (0,))
    decay = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    velocity = token_dynamics.vector_velocity(tokens, output_map, step_map, decay)
    wanted = velocity_by_loops(tokens.numpy(), output_map.numpy(), step_map.numpy(), decay.numpy())
    np.testing.assert_allclose(velocity, wanted, rtol=1e-12, atol=1e-14)
    together = token_dynamics.vector_velocity(tokens.expand(2, 6, 8), output_map, step_map, decay)
    torch.testing.assert_close(together[1], velocity)


def test_one_channel_is_the_scalar_system():
    x = torch.tensor([1.0, -0.7, 0.4], dtype=torch.float64)
    vector = token_dynamics.vector_velocity(x[:, None], [[-0.7]], [[0.6]], [1.3])[:, 0]
    torch.testing.assert_close(vector, token_dynamics.token_velocity(x, -0.7, 0.6, 1.3), rtol=1e-13, atol=0)


def test_brief_9_signs_decide_in_eight_dimensions():
    write, step_map, tokens = random_system()
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(8)[:, None]
    ones = torch.ones(8, dtype=torch.float64)
    for output_map, lowest, highest, passed in (
        (write.mT @ write, 0.0160, 0.5761, 0.037),
        (write.mT @ (signs * write), -0.2059, 0.3116, 0.19),
    ):
        eigenvalues = torch.linalg.eigvalsh(output_map)
        np.testing.assert_allclose(eigenvalues[[0, -1]], [lowest, highest], atol=5e-5)
        path = token_dynamics.follow_vectors(tokens, output_map, step_map, ones, length=14.0)
        norms = torch.linalg.vector_norm(path.tokens, dim=-1).amax(dim=-1)
        assert float(path.times[norms > 100][0]) == pytest.approx(passed, rel=0.02)
    shrinking = token_dynamics.follow_vectors(tokens, -write.mT @ write, step_map, ones, length=18.0)
    norms = torch.linalg.vector_norm(shrinking.tokens, dim=-1)
    assert (norms.diff(dim=0) < 1e-9).all()
    near = norms[(shrinking.times - 30).abs().argmin()]
    assert float(norms[0].min()) > 2.5
    assert float(norms[0].max()) < 4.7
    assert float(near.min()) == pytest.approx(0.27, abs=0.03)
    assert float(near.max()) == pytest.approx(0.48, abs=0.03)
    spectrum = token_dynamics.output_spectrum(write, write)
    torch.testing.assert_close(spectrum.real, torch.linalg.eigvalsh(write.mT @ write))


def test_vectors_are_followed_as_scipy_does():
    write, step_map, tokens = random_system()
    output_map, decay = -write.mT @ write, np.ones(8)
    path = token_dynamics.follow_vectors(tokens, output_map, step_map, decay, steps=60, length=6.0)
    matrices = output_map.numpy(), step_map.numpy(), decay

    def field(_, flat):
        return velocity_by_loops(flat.reshape(6, 8), *matrices).ravel()

    plain = solve_ivp(field, (0, float(path.times[-1])), tokens.numpy().ravel(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(path.tokens[-1].ravel(), plain.y[:, -1], rtol=1e-4, atol=1e-5)


def test_one_channel_explodes_when_it_should():
    path = token_dynamics.follow_vectors([[1.0]], [[1.0]], [[1.0]], [1.0], steps=160, length=20.0)
    assert float(path.times[-1]) == pytest.approx(0.28296328750768, rel=1e-4)
    still = token_dynamics.follow_vectors([[1.0, 2.0]], np.zeros((2, 2)), np.eye(2), [1.0, 1.0], steps=3)
    assert still.tokens[-1].tolist() == [[1.0, 2.0]]


@given(
    st.integers(0, 2**31 - 1), st.integers(1, 5), st.integers(0, 3), st.sampled_from(["positive", "negative", "mixed"])
)
@settings(max_examples=40, deadline=None)
def test_definite_maps_have_the_signs_they_promise(seed, cells, more, sign):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(cells, cells + more, generator=generator, dtype=torch.float64)
    diag = 3 * torch.randn(cells, generator=generator, dtype=torch.float64)
    S_B, S_C = token_dynamics.definite_output_map(raw, diag, sign)
    product = S_C.mT @ S_B
    torch.testing.assert_close(product, product.mT)
    values = torch.linalg.eigvalsh(product)
    tiny = 1e-9 * values.abs().max()
    positive = {"positive": cells, "negative": 0, "mixed": (cells + 1) // 2}[sign]
    assert int((values > tiny).sum()) == positive
    assert int((values < -tiny).sum()) == cells - positive
    spectrum = token_dynamics.output_spectrum(S_B, S_C)
    assert spectrum.shape == (cells,)
    torch.testing.assert_close(spectrum.real.sum(), product.diagonal().sum())


def test_spectrum_needs_the_smaller_product_only():
    generator = torch.Generator().manual_seed(2)
    for cells, size in ((3, 7), (7, 3)):
        S_B, S_C = torch.randn(2, cells, size, generator=generator, dtype=torch.float64)
        whole = torch.linalg.eigvals(S_C.mT @ S_B)
        kept = whole[whole.abs() > 1e-9]
        small = token_dynamics.output_spectrum(S_B, S_C)
        np.testing.assert_allclose(np.sort_complex(small.numpy()), np.sort_complex(kept.numpy()), atol=1e-9)


def test_brief_7_softsort():
    soft = token_dynamics.softsort(SCORES)
    torch.testing.assert_close(soft.sum(dim=-1), torch.ones(4, dtype=torch.float64))
    np.testing.assert_allclose(soft[0], [0.11670520, 0.03180588, 0.63883817, 0.21265075], atol=5e-9)
    cold = token_dynamics.softsort(SCORES, temperature=1e-3)
    ordered = cold @ torch.tensor(SCORES, dtype=torch.float64)
    np.testing.assert_allclose(ordered, [2, 0.9, 0.3, -1], atol=1e-12)
    rising = token_dynamics.softsort([-score for score in SCORES], temperature=1e-3)
    np.testing.assert_allclose(rising @ torch.tensor(SCORES, dtype=torch.float64), [-1, 0.3, 0.9, 2], atol=1e-12)
    scores = torch.tensor(SCORES, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: token_dynamics.softsort(s, 0.7), scores)


DISTINCT = st.lists(st.integers(-50, 50), min_size=1, max_size=7, unique=True).map(
    lambda whole: [0.1 * number for number in whole]
)


@given(DISTINCT, st.floats(0.05, 5))
@settings(max_examples=50, deadline=None)
def test_hard_sorting_is_a_permutation_with_the_soft_gradient(scores, temperature):
    scores = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    hard = token_dynamics.softsort(scores, temperature, hard=True)
    soft = token_dynamics.softsort(scores, temperature)
    for dim in (0, 1):
        torch.testing.assert_close(hard.sum(dim=dim), torch.ones(len(scores), dtype=torch.float64))
    assert torch.equal(hard.detach().round(), hard.detach().round() ** 2)
    torch.testing.assert_close(hard @ scores, scores.sort(descending=True).values)
    # The largest weight of each soft row stands where the permutation has its 1.
    assert torch.equal(soft.argmax(dim=-1), hard.argmax(dim=-1))
    weights = torch.arange(len(scores) ** 2, dtype=torch.float64).reshape(hard.shape)
    slopes = [torch.autograd.grad((weights * matrix).sum(), scores, retain_graph=True)[0] for matrix in (hard, soft)]
    torch.testing.assert_close(*slopes)


@given(DISTINCT, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_sorting_does_not_care_about_the_order_of_the_input(scores, random):
    order = list(range(len(scores)))
    random.shuffle(order)
    mixed = token_dynamics.softsort([scores[place] for place in order])
    torch.testing.assert_close(mixed, token_dynamics.softsort(scores)[:, order])
    # A shift of all scores does nothing; a scale is a temperature.
    shifted = token_dynamics.softsort([score + 3 for score in scores])
    torch.testing.assert_close(shifted, token_dynamics.softsort(scores))
    scaled = token_dynamics.softsort([2 * score for score in scores], temperature=2.0)
    torch.testing.assert_close(scaled, token_dynamics.softsort(scores))


def test_equal_scores():
    soft = token_dynamics.softsort([1.0, 1.0, 0.0])
    torch.testing.assert_close(soft[0], soft[1])
    hard = token_dynamics.softsort([1.0, 1.0, 0.0], hard=True)
    assert hard.tolist() == np.eye(3).tolist()


def test_tokens_are_read_by_rising_importance():
    x = torch.arange(24, dtype=torch.float64).reshape(2, 4, 3)
    read = token_dynamics.reorder_tokens(x, [SCORES, SCORES[::-1]], hard=True)
    torch.testing.assert_close(read[0], x[0, [1, 0, 3, 2]])
    torch.testing.assert_close(read[1], x[1, [2, 3, 0, 1]])
    mean = token_dynamics.reorder_tokens(x, [SCORES, SCORES], temperature=1e9)
    torch.testing.assert_close(mean[0], x[0].mean(dim=0).expand(4, 3), rtol=1e-6, atol=0)
    assert softsort_module.softsort is token_dynamics.softsort
