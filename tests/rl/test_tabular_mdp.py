"""The container, random problems, sampled episodes and models from counts."""

import numpy as np
import pytest
import torch

from lib.rl import _tables, tabular


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_container():
    mdp = tabular.TabularMDP([[[0.5, 0.5]], [[0.0, 1.0]]], [[1.0], [0.0]], gamma=0.9)
    assert (mdp.states, mdp.actions, mdp.batch) == (2, 1, ())
    assert mdp.P.dtype == mdp.R.dtype == mdp.gamma.dtype == mdp.start.dtype == torch.float64
    assert mdp.start.tolist() == [0.5, 0.5]
    assert mdp.horizon is None
    with pytest.raises(AttributeError):
        mdp.gamma = 0.5
    P, R = tabular.garnet(4, 3, 2, generator(), (5,))
    many = tabular.TabularMDP(P, R[0], horizon=7, start=2)
    assert many.batch == (5,)
    assert float(many.gamma) == 1
    assert many.start.tolist() == [0, 0, 1, 0]
    assert tabular.TabularMDP(P[0], R[0], horizon=7, gamma=[0.5, 1.0]).batch == (2,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": None}, "gamma must be given where there is no horizon, got None"),
        ({"gamma": 1.0}, r"gamma must lie in \[0, 1\), got 1"),
        ({"gamma": 1.5, "horizon": 3}, r"gamma must lie in \[0, 1\], got 1.5"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"start": 2}, "start must be an integer from 0 to 1, got 2"),
        ({"start": [0.5, 0.6]}, "start must have rows that sum to 1, got 1.1"),
        ({"P": [[[0.5, 0.6]], [[0.0, 1.0]]]}, "P must have rows that sum to 1, got 1.1"),
        ({"P": [[[1.5, -0.5]], [[0.0, 1.0]]]}, "P must have entries of at least 0, got -0.5"),
        ({"P": [[[0.5, 0.5]]]}, r"P must have shape \(\.\.\., S, A, S\).*\(1, 1, 2\)"),
        ({"R": [1.0, 0.0]}, r"R must have shape \(\.\.\., 2, 1\), got \(2,\)"),
        ({"R": np.ones((3, 2, 1)), "gamma": [0.5, 0.5]}, "leading dimensions of P and R and gamma must be equal or 1"),
    ],
)
def test_the_container_refuses(change, message):
    good = {"P": [[[0.5, 0.5]], [[0.0, 1.0]]], "R": [[1.0], [0.0]], "gamma": 0.9}
    with pytest.raises(ValueError, match=message):
        tabular.TabularMDP(**(good | change))


def test_random_problems():
    P, R = tabular.garnet(6, 3, 2, generator(3), (100,))
    assert P.shape == (100, 6, 3, 6)
    assert R.shape == (100, 6, 3)
    assert ((P > 0).sum(dim=-1) == 2).all()
    torch.testing.assert_close(P.sum(dim=-1), torch.ones_like(R))
    # The larger of two uniform pieces has mean 3/4, each state is reached alike, rewards are uniform.
    assert float(P.amax(dim=-1).mean()) == pytest.approx(0.75, abs=0.015)
    np.testing.assert_allclose(P.mean(dim=(0, 1, 2)), 1 / 6, atol=0.02)
    assert float(R.mean()) == pytest.approx(0.5, abs=0.03)
    again = tabular.garnet(6, 3, 2, generator(3), (100,))
    assert again[0].equal(P)
    assert again[1].equal(R)
    assert tabular.garnet(4, 1, 1, generator())[0].amax(dim=-1).tolist() == [[1.0]] * 4
    assert tabular.garnet(1, 2, 1, generator())[0].tolist() == [[[1.0], [1.0]]]


def test_episodes_follow_the_tables():
    """Frequencies of 40 000 episodes against exact occupancies, within five standard errors."""
    P, R = tabular.garnet(4, 2, 3, generator(1))
    policy = torch.softmax(torch.randn(5, 4, 2, generator=generator(2), dtype=torch.float64), dim=-1)
    start = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    played = tabular.sample_episodes(P, R, policy, 5, 40_000, generator(4), start=start, by_step=True)
    assert played.states.shape == (40_000, 6)
    exact = tabular.occupancy(P, policy, start)
    pair = played.states[:, :-1] * 2 + played.actions
    seen = torch.stack([torch.bincount(pair[:, step], minlength=8) for step in range(5)]).double() / 40_000
    error = (exact * (1 - exact) / 40_000).sqrt().flatten(1)
    assert ((seen - exact.flatten(1)).abs() <= 5 * error + 1e-12).all()
    value = tabular.finite_policy_value(P, R, 5, policy)[0] @ start
    returns = played.rewards.sum(dim=-1)
    assert abs(float(returns.mean() - value)) < 5 * float(returns.std()) / 200
    assert played.rewards.equal(R[played.states[:, :-1], played.actions])


def test_episodes_of_a_batch():
    P, R = tabular.garnet(5, 2, 2, generator(5), (3,))
    actions = torch.randint(2, (3, 5), generator=generator(6))
    played = tabular.sample_episodes(P, R, actions, 7, 50, generator(7), start=1)
    assert played.states.shape == (3, 50, 8)
    assert (played.states[..., 0] == 1).all()
    for one in range(3):
        here, after = played.states[one, :, :-1], played.states[one, :, 1:]
        assert played.actions[one].equal(actions[one][here])
        assert (P[one][here, played.actions[one], after] > 0).all()
        assert played.rewards[one].equal(R[one][here, played.actions[one]])
    again = tabular.sample_episodes(P, R, actions, 7, 50, generator(7), start=1)
    assert again.states.equal(played.states)


def test_counts_of_episodes():
    P, R = tabular.garnet(4, 3, 3, generator(8), (2,))
    policy = torch.full((4, 3), 1 / 3, dtype=torch.float64)
    played = tabular.sample_episodes(P, R, policy, 6, 30, generator(9))
    counts = tabular.visit_counts(played.states, played.actions, 4, 3)
    expected = np.zeros((2, 4, 3, 4), dtype=int)
    for one in range(2):
        for states, actions in zip(played.states[one].tolist(), played.actions[one].tolist(), strict=True):
            for step, action in enumerate(actions):
                expected[one, states[step], action, states[step + 1]] += 1
    np.testing.assert_array_equal(counts, expected)


def test_models_from_counts_converge():
    P, _ = tabular.garnet(4, 3, 3, generator(10), (2,))
    counts = tabular.sample_counts(P, 100_000, generator(11))
    assert (counts.sum(dim=-1) == 100_000).all()
    model = tabular.empirical_model(counts)
    error = (P * (1 - P) / 100_000).sqrt()
    assert ((model - P).abs() <= 5 * error).all()


def test_pairs_that_were_never_tried():
    counts = torch.zeros(2, 2, 2)
    counts[0, 1] = torch.tensor([1.0, 3.0])
    assert tabular.empirical_model(counts).tolist() == [[[1, 0], [0.25, 0.75]], [[0, 1], [0, 1]]]
    assert tabular.empirical_model(counts, "uniform")[1].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    table = [[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.5, 0.5]]]
    assert tabular.empirical_model(counts, table).tolist() == [[[0, 1], [0.25, 0.75]], [[1, 0], [0.5, 0.5]]]


def test_a_ladder_draws_by_inversion_and_never_the_impossible():
    """A level of almost 1 rounds up to the next row when the number of the row is added, and is not to land there."""
    rows = torch.tensor([[0.0, 0.25, 0.75, 0.0], [1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    chances = rows.repeat(1000, 1)
    steps = _tables.ladder(chances)
    for level in (0.0, 0.05, 0.2, 0.35, 0.5999, 0.9999, 1 - 2.0**-24, 1 - 2.0**-53):
        row = torch.arange(len(chances))
        drawn = _tables.drawn(steps, row, torch.full((len(chances),), level, dtype=torch.float64)) - 4 * row
        assert bool((chances[row, drawn] > 0).all())
        assert torch.equal(drawn, (_tables.cumulative(chances) <= level).sum(-1))
    assert _tables.drawn(steps, torch.tensor([3]), torch.tensor([0.25], dtype=torch.float64)).item() == 4 * 3 + 2


def test_episodes_of_problems_side_by_side_follow_their_own_tables():
    """Circles in which an action goes on by a stride, two problems and three policies, and chances that differ."""
    states = torch.arange(5)
    strides = torch.tensor([[1, 2], [3, 4]])
    reached = (states[:, None] + strides[:, None, None, :]) % 5
    P = torch.nn.functional.one_hot(reached, 5).double()  # (2, 1, S, A, S)
    policy = torch.tensor([[0] * 5, [1] * 5, [0, 1, 0, 1, 0]])
    start = torch.eye(5, dtype=torch.float64)[torch.tensor([4, 2])][:, None]
    R = torch.zeros(5, 2, dtype=torch.float64)
    for played in (policy, torch.nn.functional.one_hot(policy, 2).double()):
        path = tabular.sample_episodes(P, R, played, 6, 3, generator(), start=start).states
        assert path.shape == (2, 3, 3, 7)
        for problem in range(2):
            for which in range(3):
                expected = [(4, 2)[problem]]
                for _ in range(6):
                    here = expected[-1]
                    expected.append((here + int(strides[problem, policy[which, here]])) % 5)
                assert path[problem, which].tolist() == [expected] * 3
