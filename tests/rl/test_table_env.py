"""Decision processes from tables: what is drawn follows the tables, and the tables come back exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lib.rl.envs import (
    CliffWalking,
    CliffWalkingParams,
    FrozenLake,
    FrozenLakeParams,
    Outcomes,
    RiverSwim,
    TableEnv,
    table_env,
)

D = torch.float64


def random_tables(seed, states=6, actions=3, zeros=0.5):
    """Transitions of which a share is impossible, and rewards of each next state."""
    generator = torch.Generator().manual_seed(seed)
    P = torch.rand(states, actions, states, generator=generator, dtype=D)
    P = P * (torch.rand(P.shape, generator=generator) > zeros)
    P[..., 0] += 0.05
    return P / P.sum(-1, keepdim=True), torch.randn(P.shape, generator=generator, dtype=D)


def frequencies(env, draws):
    """How often each state followed each state and action: (S, A, S)."""
    states, actions = env.observation_space.n, env.n_actions
    row = torch.arange(states * actions)[:, None].expand(-1, draws)
    generator = torch.Generator().manual_seed(8)
    reached, _, _ = env.dynamics(row // actions, row % actions, generator=generator)
    return (
        torch.stack([torch.bincount(line, minlength=states) for line in reached]).view(states, actions, states).double()
    )


@pytest.mark.parametrize(
    "env",
    [
        TableEnv(1, params=Outcomes.from_tables(*random_tables(1), terminal=[2])),
        TableEnv(1, dtype=D, params=Outcomes.from_tables(*random_tables(2, states=40, actions=2), start=None)),
        FrozenLake(1, params=FrozenLakeParams("8x8", success_rate=0.6)),
        CliffWalking(1, params=CliffWalkingParams(slippery=True)),
        RiverSwim(1),
    ],
    ids=["tables", "large tables", "lake", "cliff", "river"],
)
def test_what_follows_has_the_frequencies_of_the_tables(env):
    """Chi-square of every row; the smallest of all p-values is uniform enough not to be tiny."""
    P, _ = env.tables()
    draws = 4000
    counted = frequencies(env, draws)
    assert bool((counted[P == 0] == 0).all())
    p_values = []
    for s in range(P.shape[0]):
        for a in range(P.shape[1]):
            possible = P[s, a] > 0
            if int(possible.sum()) > 1:
                expected = draws * P[s, a][possible]
                p_values.append(stats.chisquare(counted[s, a][possible], expected).pvalue)
    assert min(p_values) > 1e-3 / len(p_values)
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3 or len(p_values) < 12


def test_first_states_have_the_frequencies_of_the_start():
    start = torch.tensor([0.1, 0.0, 0.6, 0.3, 0.0, 0.0], dtype=D)
    env = TableEnv(20_000, params=Outcomes.from_tables(*random_tables(3), start=start), seed=4)
    counted = torch.bincount(env.reset(), minlength=6)
    assert counted[[1, 4, 5]].tolist() == [0, 0, 0]
    assert stats.chisquare(counted[[0, 2, 3]], 20_000 * start[[0, 2, 3]]).pvalue > 1e-3


@given(seed=st.integers(0, 10**6), states=st.integers(1, 9), actions=st.integers(1, 4), ends=st.sets(st.integers(1, 8)))
@settings(deadline=None, max_examples=40)
def test_tables_come_back(seed, states, actions, ends):
    P, R = random_tables(seed, states, actions)
    terminal = sorted(end for end in ends if end < states)
    back, earned = Outcomes.from_tables(P, R, terminal=terminal).tables()
    expected, gain = P.clone(), (P * R).sum(-1)
    expected[terminal] = torch.eye(states, dtype=D)[terminal][:, None]
    gain[terminal] = 0
    assert torch.equal(back, expected)
    assert torch.allclose(earned, gain, rtol=0, atol=1e-12)
    short, _ = Outcomes.from_tables(P, gain, terminal=terminal).tables()
    assert torch.equal(short, expected)


def test_rewards_belong_to_the_next_state():
    P, R = random_tables(5)
    env = TableEnv(1, dtype=D, params=Outcomes.from_tables(P, R, terminal=[3]))
    state, action = torch.arange(6).repeat_interleave(300), torch.arange(1800) % 3
    reached, reward, terminated = env.dynamics(state, action, generator=torch.Generator().manual_seed(1))
    expected = torch.where(state == 3, 0.0, R[state, action, reached])
    assert torch.equal(reward, expected)
    assert torch.equal(terminated, reached == 3)
    assert bool((reached[state == 3] == 3).all())


def test_equal_next_states_may_earn_different_rewards():
    """A slip over the slippery cliff leads back to the start for -100, a bump into the edge beside it for -1."""
    env = CliffWalking(1, params=CliffWalkingParams(slippery=True))
    state = torch.full((3000,), 36)
    reached, reward, _ = env.dynamics(state, torch.full((3000,), 2), generator=torch.Generator().manual_seed(2))
    back = reached == 36
    assert set(reward[back].tolist()) == {-1.0, -100.0}
    P, R = env.tables()
    assert float(P[36, 2, 36]) == pytest.approx(1.0)
    assert float(R[36, 2]) == pytest.approx(-102 / 3)


@pytest.mark.parametrize("edge", [0.0, 1 - 2.0**-53])
def test_extreme_draws_stay_in_their_row_and_reach_what_is_possible(monkeypatch, edge):
    P, R = random_tables(6, states=30, actions=4)
    P[:, :, -3:] = 0.0  # the last outcomes of a row are the impossible ones
    P /= P.sum(-1, keepdim=True)
    env = TableEnv(1, dtype=D, params=Outcomes.from_tables(P, R))
    row = torch.arange(120)
    monkeypatch.setattr(table_env, "_uniform", lambda state, dtype, generator: torch.full(state.shape, edge, dtype=D))
    reached, _, _ = env.dynamics(row // 4, row % 4)
    possible = [np.flatnonzero(line) for line in P.view(120, 30).numpy()]
    assert reached.tolist() == [line[0 if edge == 0 else -1] for line in possible]
    assert env.initial(5, None).tolist() == [0] * 5


def test_a_batch_moves_as_its_environments_do_one_by_one(monkeypatch):
    """With the same uniform numbers: a loop over cumulated sums in numpy."""
    P, R = random_tables(7)
    env = TableEnv(1, dtype=D, params=Outcomes.from_tables(P, R, terminal=[1]))
    generator = torch.Generator().manual_seed(3)
    state, action = torch.randint(6, (4, 50), generator=generator), torch.randint(3, (4, 50), generator=generator)
    drawn = torch.rand(4, 50, generator=generator, dtype=D)
    monkeypatch.setattr(table_env, "_uniform", lambda *given: drawn.clone())
    reached, reward, terminated = env.dynamics(state, action)
    for index in np.ndindex(4, 50):
        s, a = int(state[index]), int(action[index])
        follows = 1 if s == 1 else int(np.searchsorted(np.cumsum(P[s, a].numpy()), float(drawn[index]), side="right"))
        assert int(reached[index]) == follows
        assert float(reward[index]) == (0.0 if s == 1 else float(R[s, a, follows]))
        assert bool(terminated[index]) == (follows == 1)


def test_certain_outcomes_draw_nothing():
    env = FrozenLake(3, params=FrozenLakeParams(slippery=False))
    assert not env.stochastic
    env.reset()
    before = [[generator.get_state() for generator in row] for row in env.streams.blocks]
    env.step(torch.tensor([1, 2, 0]))
    assert torch.equal(before[0][0], env.streams.blocks[0][0].get_state())


def test_parameters_of_another_world_can_be_passed():
    """The pure dynamics follows the parameters it is given."""
    env = FrozenLake(2, params=FrozenLakeParams(slippery=False))
    state, action = torch.tensor([0, 0]), torch.tensor([2, 2])
    assert env.dynamics(state, action)[0].tolist() == [1, 1]
    large = FrozenLakeParams("8x8", slippery=False)
    assert env.dynamics(torch.tensor([7, 7]), torch.tensor([1, 1]), large)[0].tolist() == [15, 15]


GOOD = {
    "chance": torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]]),
    "next_state": torch.tensor([[[0, 1]], [[1, 1]]]),
    "reward": torch.zeros(2, 1, 2),
    "start": torch.tensor([1.0, 0.0]),
    "terminal": torch.tensor([False, True]),
}


@pytest.mark.parametrize(
    ("name", "bad", "said"),
    [
        ("chance", torch.ones(2, 2), r"chance must have shape \(S, A, K\)"),
        ("chance", torch.tensor([[[0.5, 0.4]], [[1.0, 0.0]]]), "chance must have rows that sum to 1, got 0.9"),
        ("chance", torch.tensor([[[1.5, -0.5]], [[1.0, 0.0]]]), "chance must have entries of at least 0, got -0.5"),
        ("next_state", torch.tensor([[[0, 2]], [[1, 1]]]), "next_state must be from 0 to 1, got 2"),
        ("next_state", torch.zeros(2, 1, 2), "next_state must be a torch.int64 tensor of shape"),
        ("reward", torch.zeros(2, 1, 3), r"reward must have shape \(2, 1, 2\), got \(2, 1, 3\)"),
        ("reward", torch.full((2, 1, 2), float("nan")), "reward must be finite"),
        ("start", torch.tensor([0.5, 0.4]), "start must have rows that sum to 1"),
        ("start", torch.tensor([0.5, 0.5]), "start must give terminal states no probability"),
        ("start", torch.tensor([1.0]), r"start must have shape \(2,\)"),
        ("terminal", torch.tensor([0, 1]), "terminal must be a list of states or a torch.bool tensor"),
    ],
)
def test_outcomes_that_fit_nothing(name, bad, said):
    with pytest.raises(ValueError, match=said):
        Outcomes(**GOOD | {name: bad})


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"P": torch.ones(2, 2, dtype=D)}, "P must have shape"),
        ({"P": torch.ones(1, 6, 3, 6, dtype=D) / 6}, r"P must have shape \(S, A, S\)"),
        ({"P": torch.ones(6, 3, 6, dtype=D)}, "P must have rows that sum to 1"),
        ({"R": torch.zeros(6, dtype=D)}, r"R must have shape \(6, 3\) or \(6, 3, 6\), got \(6,\)"),
        ({"start": 6}, "start must be an integer from 0 to 5"),
        ({"start": 2}, "start must give terminal states no probability"),
        ({"terminal": [6]}, "terminal must be an integer from 0 to 5, got 6"),
        ({"terminal": [True]}, "terminal must be a list of states"),
        ({"terminal": "12"}, "terminal must be a list of states"),
    ],
)
def test_tables_that_fit_nothing(replaced, said):
    P, R = random_tables(9)
    with pytest.raises(ValueError, match=said):
        Outcomes.from_tables(**{"P": P, "R": R, "terminal": [2]} | replaced)


def test_an_environment_needs_its_tables():
    with pytest.raises(ValueError, match="params must be Outcomes, got None"):
        TableEnv(3)
    with pytest.raises(ValueError, match="params must be FrozenLakeParams"):
        FrozenLake(3, params=CliffWalkingParams())
    env = RiverSwim(1, check_actions=True)
    env.reset()
    with pytest.raises(ValueError, match="action must lie in Discrete"):
        env.step(torch.tensor([2]))


def test_a_missing_generator_is_refused():
    with pytest.raises(ValueError, match="generator must be a torch"):
        RiverSwim(1).dynamics(torch.tensor([0]), torch.tensor([1]))


def test_outcomes_share_no_memory_with_what_they_were_made_from():
    P, R = torch.eye(3, dtype=torch.float64)[:, None], torch.ones(3, 1, dtype=torch.float64)
    start, terminal = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), torch.tensor([False, False, True])
    made = Outcomes.from_tables(P, R, start, terminal)
    before = [field.clone() for field in vars(made).values()]
    for argument in (P, R, start, terminal):
        argument.fill_(1)
    assert all(torch.equal(field, kept) for field, kept in zip(vars(made).values(), before))
