"""Markov chains and counts on maps: acceptance numbers, walkers, independent references, bad input."""

import itertools
import math

import networkx
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import markov
from tests.replays import recorded, replays

D = torch.float64
CODES = [1, 2, 4, 5, 7, 8, 11]
WATER, TREES, FLOODED, CROPS, BUILT, BARE, RANGE = range(7)
# The synthetic matrix, calibrated to the published retention and times.
MATRIX = torch.tensor(
    [
        [0.9805, 0.0004, 0.0024, 0.0075, 0.0022, 0.0030, 0.0040],
        [0.0100, 0.6007, 0.0450, 0.0800, 0.1103, 0.0040, 0.1500],
        [0.1200, 0.0200, 0.5280, 0.2300, 0.0060, 0.0060, 0.0900],
        [0.0300, 0.0040, 0.0200, 0.8233, 0.0547, 0.0080, 0.0600],
        [0.0040, 0.0004, 0.0006, 0.0180, 0.9640, 0.0060, 0.0070],
        [0.0900, 0.0010, 0.0040, 0.1200, 0.1940, 0.5010, 0.0900],
        [0.0300, 0.0120, 0.0300, 0.2600, 0.0600, 0.0200, 0.5880],
    ],
    dtype=D,
)
seeds = given(st.integers(0, 2**31 - 1))


def chains(seed, *shape):
    """Random chains with some transitions that never happen; from every state one can leave for the last."""
    generator = torch.Generator().manual_seed(seed)
    P = torch.rand(*shape, shape[-1], generator=generator, dtype=D)
    P = P * (torch.rand(P.shape, generator=generator) > 0.4)
    P[..., -1] += 0.02
    return P / P.sum(dim=-1, keepdim=True)


def test_brief_3_absorbing_chain():
    mean, sd, N = markov.absorbing_times(MATRIX, BUILT)
    # Water, trees, flooded, crops, bare, range.
    np.testing.assert_allclose(mean, [92.20, 38.09, 58.73, 45.98, 38.43, 45.41], atol=5e-3)
    np.testing.assert_allclose(sd, [84.6, 64.9, 76.1, 69.6, 67.1, 69.4], atol=5e-2)
    assert int(mean.argmax()) == WATER
    assert float(MATRIX[BUILT, BUILT]) == 0.964
    assert N.shape == (6, 6)
    law = markov.stationary_law(MATRIX)
    np.testing.assert_allclose(law[[BUILT, WATER, CROPS]], [0.3577, 0.4497, 0.1314], atol=5e-5)
    assert float(markov.spectral_gap(MATRIX)) == pytest.approx(0.0279, abs=5e-5)
    assert float(markov.mixing_time(MATRIX)) == pytest.approx(35.3, abs=5e-2)


@pytest.mark.parametrize("start", [CROPS, TREES, WATER])
def test_brief_3_walkers(start):
    steps = markov.simulate_absorption(MATRIX, BUILT, start, 20_000, torch.Generator().manual_seed(1)).double()
    mean, sd, _ = markov.absorbing_times(MATRIX, BUILT)
    place = start if start < BUILT else start - 1
    assert float(steps.mean()) == pytest.approx(float(mean[place]), rel=0.02)
    assert float(steps.std()) == pytest.approx(float(sd[place]), rel=0.03)


def test_brief_7_label_noise():
    """A map that never changes, photographed with two labels in a hundred drawn anew."""
    assert float(markov.label_noise_retention(0.02, 0.13, 7)) == pytest.approx(0.96416, abs=5e-6)
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.3, 0.02, 0.05, 0.3, 0.13, 0.1, 0.1], dtype=D)
    codes = torch.tensor(CODES, dtype=torch.uint8)
    truth = codes[torch.multinomial(shares, 400 * 400, replacement=True, generator=generator).reshape(400, 400)]
    seen = markov.relabel_at_random(truth.expand(8, 400, 400), 0.02, CODES, generator)
    counts = markov.transition_series(seen, CODES)
    P = markov.transition_matrix(counts.sum(0))
    built = float(markov.class_fractions(truth, CODES)[BUILT])
    expected = float(markov.label_noise_retention(0.02, built, 7))
    assert expected == pytest.approx(0.96416, abs=5e-4)
    # Seven dependent pairs of some 21 000 built pixels: a standard error of about 0.0005.
    assert float(P[BUILT, BUILT]) == pytest.approx(expected, abs=1.5e-3)
    ours = markov.label_noise_matrix(markov.class_fractions(truth, CODES), 0.02)
    assert float(ours[BUILT, BUILT]) == pytest.approx(expected, rel=1e-12)
    assert float((P - ours).abs().max()) < 0.02
    # It looks alive: times to "absorption" of a landscape where nothing happens.
    mean = markov.absorbing_times(ours, BUILT).mean
    assert 160 < float(mean.min()) <= float(mean.max()) < 210


@given(st.floats(0, 1), st.floats(0.01, 1), st.integers(2, 9))
@settings(max_examples=40)
def test_label_noise_by_counting_every_case(error, share, classes):
    """Sum over the true class and both labels."""
    shares = [share] + [(1 - share) / (classes - 1)] * (classes - 1)
    label = [[error / classes + (1 - error) * (i == j) for j in range(classes)] for i in range(classes)]
    twice = sum(shares[k] * label[k][0] ** 2 for k in range(classes))
    once = sum(shares[k] * label[k][0] for k in range(classes))
    assert float(markov.label_noise_retention(error, share, classes)) == pytest.approx(twice / once, rel=1e-12)


def test_brief_8_counts_and_rows():
    generator = torch.Generator().manual_seed(3)
    places = torch.randint(7, (2, 60, 80), generator=generator)
    a, b = torch.tensor(CODES, dtype=torch.uint8)[places]
    with_itself = markov.transition_counts(a, a, CODES)
    assert torch.equal(with_itself, torch.diag(with_itself.diagonal()))
    assert int(with_itself.sum()) == a.numel()
    C = markov.transition_counts(a, b, CODES)
    np.testing.assert_allclose(markov.transition_matrix(C).sum(-1), 1, atol=1e-15)
    # Periods in the same proportions: nothing to test.
    G, df, p = markov.g_test(torch.stack([C, 3 * C, 2 * C]))
    assert float(G) == pytest.approx(0, abs=1e-8)
    assert int(df) == 2 * 7 * 6
    assert float(p) == pytest.approx(1, abs=1e-12)
    assert markov.frobenius_distances(torch.stack([C, 3 * C])).max() < 1e-15


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64, torch.uint32]
)
def test_counts_pixel_by_pixel(dtype, monkeypatch):
    """With codes that are not asked for, and blocks that do not divide the map."""
    monkeypatch.setattr("lib.category_maps.BLOCK", 37)
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randint(-3 if dtype.is_signed else 0, 14, (2, 11, 17), generator=generator).to(dtype)
    codes = [11, 2, 7, 5]
    expected = np.zeros((4, 4), dtype=int)
    for before, after in zip(a.flatten().tolist(), b.flatten().tolist()):
        if before in codes and after in codes:
            expected[codes.index(before), codes.index(after)] += 1
    found = markov.transition_counts(a, b, codes)
    assert found.dtype == torch.int64
    assert found.tolist() == expected.tolist()
    assert torch.equal(markov.transition_series(torch.stack([a, b, a]), codes)[0], found)
    shares = markov.class_fractions(torch.stack([a, b]), codes)
    valid = [value for value in a.flatten().tolist() if value in codes]
    np.testing.assert_allclose(shares[0], [valid.count(code) / len(valid) for code in codes], rtol=1e-14)
    assert shares.shape == (2, 4)


def test_many_classes_and_high_codes():
    codes = list(range(0, 65_536, 201))
    a = torch.tensor(codes).repeat(3)
    b = a.roll(1)
    found = markov.transition_counts(a, b, codes)
    expected = np.zeros((len(codes),) * 2, dtype=int)
    for before, after in zip(a.tolist(), b.tolist()):
        expected[before // 201, after // 201] += 1
    assert found.tolist() == expected.tolist()
    read_only = np.broadcast_to(np.uint8(5), (3, 4))
    assert markov.transition_counts(read_only, read_only, [5, 7]).tolist() == [[12, 0], [0, 0]]


def test_errors_of_the_matrix_by_sampling():
    generator = torch.Generator().manual_seed(2)
    P, size = torch.tensor([0.2, 0.5, 0.3], dtype=D), 400
    draws = torch.multinomial(P.expand(4000, 3), size, replacement=True, generator=generator)
    shares = torch.stack([(draws == k).double().mean(-1) for k in range(3)], -1)
    C = torch.zeros(3, 3, dtype=D)
    C[0] = P * size
    C[1, 1] = C[2, 2] = 5
    np.testing.assert_allclose(markov.transition_errors(C)[0], shares.std(0), rtol=0.05)
    assert markov.transition_matrix([[0, 0], [1, 3]], empty="stay").tolist() == [[1, 0], [0.25, 0.75]]


@seeds
@settings(max_examples=25)
def test_absorption_against_sums_of_powers(seed):
    """P(T > k) summed step by step, without an inverse."""
    P = chains(seed, 5)
    mean, sd, N = markov.absorbing_times(P, 4)
    Q = P[:4, :4].numpy()
    alive, power, first, second = np.ones(4), np.eye(4), np.zeros(4), np.zeros(4)
    visits = np.zeros((4, 4))
    for k in range(3000):
        alive = power.sum(-1)
        first += alive
        second += (2 * k + 1) * alive
        visits += power
        power = power @ Q
    np.testing.assert_allclose(mean, first, rtol=1e-9)
    np.testing.assert_allclose(sd, np.sqrt(second - first**2), rtol=1e-6)
    np.testing.assert_allclose(N, visits, rtol=1e-9, atol=1e-12)


def test_absorption_in_batches_and_by_several_states():
    P = chains(4, 3, 2, 6)
    together = markov.absorbing_times(P, [1, 5])
    for i, j in itertools.product(range(3), range(2)):
        for one, all_ in zip(markov.absorbing_times(P[i, j], [1, 5]), together):
            torch.testing.assert_close(all_[i, j], one)
    chances = markov.absorption_probabilities(P, [1, 5])
    assert chances.shape == (3, 2, 4, 2)
    torch.testing.assert_close(chances.sum(-1), torch.ones(3, 2, 4, dtype=D))
    # Gambler's ruin with an unfair coin, in closed form.
    win, n = 0.6, 7
    walk = torch.zeros(n + 1, n + 1, dtype=D)
    walk[0, 0] = walk[n, n] = 1
    for k in range(1, n):
        walk[k, k + 1], walk[k, k - 1] = win, 1 - win
    k = np.arange(1, n)
    ratio = (1 - win) / win
    expected = (1 - ratio**k) / (1 - ratio**n)
    np.testing.assert_allclose(markov.absorption_probabilities(walk, [0, n])[:, 1], expected, rtol=1e-12)
    duration = (n * expected - k) / (2 * win - 1)
    np.testing.assert_allclose(markov.absorbing_times(walk, [0, n]).mean, duration, rtol=1e-12)


def test_many_chains_are_solved_in_pieces():
    """Thousands and few give the same; a trap among thousands is found."""
    P = chains(6, 1100, 9)
    together = markov.absorption_probabilities(P, [0, 8])
    apart = torch.cat([markov.absorption_probabilities(piece, [0, 8]) for piece in P.split(100)])
    torch.testing.assert_close(together, apart, rtol=1e-11, atol=1e-14)
    P = P.reshape(11, 100, 9, 9)
    torch.testing.assert_close(markov.absorption_probabilities(P, [0, 8]), together.reshape(11, 100, 7, 2))
    P[7, 50, 3] = torch.eye(9, dtype=D)[3]
    with pytest.raises(ValueError, match=r"the states \[3\] never reach \[0, 8\]"):
        markov.absorption_probabilities(P, [0, 8])


def test_a_clockwork_has_no_spread():
    P = torch.zeros(4, 4, dtype=D)
    P[range(4), [1, 2, 3, 3]] = 1
    rates = P.clone().requires_grad_()
    mean, sd, _ = markov.absorbing_times(rates, 3)
    assert mean.tolist() == [3, 2, 1]
    assert sd.tolist() == [0, 0, 0]
    assert torch.autograd.grad(sd.sum(), rates)[0].isfinite().all()


@seeds
@settings(max_examples=25)
def test_stationary_law_and_gap_against_scipy(seed):
    P = chains(seed, 6)
    law = markov.stationary_law(P)
    values, left = scipy.linalg.eig(P.numpy(), left=True, right=False)
    lead = np.argmax(values.real)
    expected = left[:, lead].real / left[:, lead].real.sum()
    np.testing.assert_allclose(law, expected, rtol=1e-8, atol=1e-10)
    second = np.sort(np.abs(values))[-2]
    assert float(markov.spectral_gap(P)) == pytest.approx(1 - second, abs=1e-9)
    assert float(markov.mixing_time(P)) == pytest.approx(-1 / math.log(second), rel=1e-6)


def test_gaps_at_their_ends():
    assert float(markov.spectral_gap([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx(0, abs=1e-12)
    assert float(markov.mixing_time(torch.eye(3))) == math.inf
    assert float(markov.spectral_gap([[0.5, 0.5], [0.5, 0.5]])) == pytest.approx(1, abs=1e-12)
    # States that are left for good have no share.
    law = markov.stationary_law([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.25, 0.75]])
    assert float(law[0]) == pytest.approx(0, abs=1e-15)
    assert float(law.min()) >= 0


@given(st.integers(0, 2**31 - 1), st.integers(2, 4), st.integers(2, 5))
@settings(max_examples=25)
def test_g_test_against_scipy_contingency(seed, periods, states):
    """The sum over rows of scipy's likelihood-ratio test of homogeneity."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 60, (periods, states, states))
    G, df, p = markov.g_test(counts)
    parts = [
        scipy.stats.chi2_contingency(counts[:, row], lambda_="log-likelihood", correction=False)
        for row in range(states)
    ]
    assert float(G) == pytest.approx(sum(part.statistic for part in parts), rel=1e-9, abs=1e-9)
    assert int(df) == sum(part.dof for part in parts)
    assert float(p) == pytest.approx(scipy.stats.chi2.sf(float(G), int(df)), rel=1e-8)
    P = counts / counts.sum(-1, keepdims=True)
    pooled = counts.sum(0) / counts.sum(0).sum(-1, keepdims=True)
    np.testing.assert_allclose(markov.frobenius_distances(counts), np.linalg.norm(P - pooled, axis=(1, 2)), rtol=1e-12)


def test_states_without_counts():
    C = torch.tensor([[5.0, 5, 0], [2, 8, 0], [0, 0, 0]], dtype=D)
    G, df, p = markov.g_test(torch.stack([C, C]))
    assert (float(G), int(df), float(p)) == (0, 2 * 2, 1)
    missing = C.clone()
    missing[1] = 0
    assert markov.frobenius_distances(torch.stack([C, missing])).tolist() == [0, 0]


def test_a_g_test_rejects_as_often_as_it_says():
    """Counts drawn from one matrix: the values of p are uniform."""
    generator = torch.Generator().manual_seed(0)
    P = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]], dtype=D)
    draws = torch.multinomial(P.repeat(1000 * 4, 1), 500, replacement=True, generator=generator)
    counts = torch.nn.functional.one_hot(draws, 3).sum(1).reshape(1000, 4, 3, 3)
    p = markov.g_test(counts).p
    assert scipy.stats.kstest(p.numpy(), "uniform").pvalue > 0.01


@seeds
@settings(max_examples=30)
def test_a_trapped_state_is_found_whatever_the_numbers(seed):
    """Sparse random chains: refused exactly when networkx finds a state with no path to the end."""
    generator = torch.Generator().manual_seed(seed)
    links = torch.rand(6, 6, generator=generator) < 0.25
    P = torch.rand(6, 6, generator=generator, dtype=D) * links
    P = torch.where(P.sum(-1, keepdim=True) > 0, P, torch.eye(6, dtype=D))
    P = P / P.sum(-1, keepdim=True)
    graph = networkx.from_numpy_array(P.numpy(), create_using=networkx.DiGraph)
    stuck = [state for state in range(5) if not networkx.has_path(graph, state, 5)]
    closed = networkx.number_attracting_components(graph)
    if stuck:
        with pytest.raises(ValueError, match=rf"P must lead .* the states \[{', '.join(map(str, stuck))}\] never"):
            markov.absorbing_times(P, 5)
        with pytest.raises(ValueError, match="never reach"):
            markov.absorption_probabilities(torch.stack([chains(1, 6), P]), [5])
    else:
        assert (markov.absorbing_times(P, 5).mean >= 1).all()
    if closed > 1:
        with pytest.raises(ValueError, match="P must have one closed class"):
            markov.stationary_law(P)
    else:
        law = markov.stationary_law(P)
        torch.testing.assert_close(law @ P, law, rtol=1e-9, atol=1e-12)
        assert float(law.sum()) == pytest.approx(1)


def test_a_very_slow_chain_is_not_a_trap():
    slow = [[1 - 1e-14, 1e-14], [0.0, 1.0]]
    assert float(markov.absorbing_times(slow, 1).mean) == pytest.approx(1e14, rel=1e-2)


def test_gradients():
    weights = chains(9, 5).log().clamp(min=-3).requires_grad_()

    def times(weights):
        P = weights.softmax(-1)
        mean, sd, N = markov.absorbing_times(P, 2)
        chances = markov.absorption_probabilities(P, [0, 2])
        return mean, sd, N, chances, markov.stationary_law(P), markov.mixing_time(P)

    assert torch.autograd.gradcheck(times, weights)


def test_the_page_computes_the_same():
    def figure(noise, retention):
        P = MATRIX.clone()
        built = torch.stack([(1 - retention) * MATRIX[BUILT, k] / 0.036 for k in range(7)])
        P = torch.cat([P[:BUILT], torch.where(torch.arange(7) == BUILT, retention, built)[None], P[BUILT + 1 :]])
        counts = torch.stack([1000 * P, 1000 * MATRIX])
        shares = markov.stationary_law(P)
        values = [
            *markov.absorbing_times(P, BUILT),
            *markov.absorbing_times(P, [BUILT, WATER]),
            markov.absorption_probabilities(P, [BUILT, WATER]),
            shares,
            markov.spectral_gap(P),
            markov.mixing_time(P),
            markov.label_noise_matrix(shares, noise),
            *markov.absorbing_times(markov.label_noise_matrix(shares, noise), BUILT),
            markov.label_noise_retention(noise, 0.13, 7),
            markov.transition_matrix(counts),
            markov.transition_errors(counts),
            markov.frobenius_distances(counts),
        ]
        return torch.cat([value.reshape(-1) for value in values])

    settings = ({"noise": 0.05, "retention": 0.9}, {"noise": 0.01, "retention": 0.99})
    for found, expected in replays(recorded(figure, {"noise": 0.02, "retention": 0.964}), figure, settings):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


GOOD = [[0.5, 0.5], [0.0, 1.0]]
SEED = torch.Generator().manual_seed(0)
CHAIN = [[0.5, 0.5, 0.0], [0.5, 0.4, 0.1], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: markov.transition_matrix([[1, 2], [0, 0]]), "C must have counts in every row, but row 1 has none"),
        (lambda: markov.transition_matrix([[1, -2], [0, 1]]), "C must have counts of at least 0, got -2"),
        (lambda: markov.transition_matrix(GOOD, empty="ignore"), "empty must be one of 'refuse', 'stay'"),
        (lambda: markov.absorbing_times([[0.5, 0.6], [0, 1]], 1), "P must have rows that sum to 1, got 1.1"),
        (lambda: markov.absorbing_times([[1.5, -0.5], [0, 1]], 1), "P must have entries of at least 0, got -0.5"),
        (lambda: markov.absorbing_times(GOOD, 2), "absorbing must be an integer from 0 to 1, got 2"),
        (lambda: markov.absorbing_times(GOOD, [0, 1]), "absorbing must name different states and leave one"),
        (lambda: markov.absorbing_times(CHAIN, [1, 1]), "absorbing must name different states"),
        (lambda: markov.absorbing_times(GOOD, 0), r"P must lead .*\(I - Q is singular\), but the states \[1\] never"),
        (lambda: markov.simulate_absorption(CHAIN, 2, 2, 9, SEED), "start must be a state that is not absorbing"),
        (lambda: markov.simulate_absorption(CHAIN, 2, 0, 9, SEED, 2), "max_steps must be enough for every walker"),
        (lambda: markov.simulate_absorption(torch.eye(3).expand(2, 3, 3), 2, 0, 9, SEED), r"P must have shape \(n, n"),
        (lambda: markov.stationary_law(np.eye(2)), "P must have one closed class of states"),
        (lambda: markov.spectral_gap([[1.0]]), "P must have at least two states"),
        (lambda: markov.g_test([[1, 2], [3, 4]]), r"counts must have shape \(\.\.\., periods, n, n\)"),
        (lambda: markov.g_test(np.zeros((2, 2, 2))), "counts must not all be 0"),
        (lambda: markov.transition_counts([[1.0]], [[1.0]], [1]), "a must be integers"),
        (lambda: markov.transition_counts([[1]], [[1, 2]], [1]), "a and b must have one shape and device"),
        (lambda: markov.transition_counts([[1]], [[1]], [1, 1]), "codes must be all different"),
        (lambda: markov.transition_counts([[1]], [[1]], [-1]), "codes must be an integer from 0 to 65535, got -1"),
        (lambda: markov.transition_counts([[1]], [[1]], []), "codes must be a list of integers"),
        (lambda: markov.transition_series([[1, 2]], [1]), "maps must hold at least two maps"),
        (lambda: markov.class_fractions([[0, 0]], [1]), "maps must each hold a pixel with one of the codes"),
        (lambda: markov.relabel_at_random([1], 1.5, [1], SEED), "error must be a finite number of at least 0 and at m"),
        (
            lambda: markov.relabel_at_random(torch.tensor([1], dtype=torch.uint8), 0.5, [300], SEED),
            r"codes must fit the type torch.uint8 of maps \(at most 255\), got 300",
        ),
        (lambda: markov.label_noise_matrix([0.0, 1.0], 0.0), "shares must be above 0 for every class unless error"),
        (lambda: markov.label_noise_matrix([0.5, 0.5], 1.1), r"error must lie in \[0, 1\], got 1.1"),
        (lambda: markov.label_noise_retention(0.1, 0.0, 3), "share must be above 0 and at most 1, got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
