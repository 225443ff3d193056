"""Lakes, cliffs, rivers and mazes: gymnasium's tables entry by entry, exact values, and walls that hold."""

from collections import defaultdict

import gymnasium
import pytest
import torch
from gymnasium.envs.toy_text.frozen_lake import generate_random_map
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.rl import planning
from lib.rl.envs import (
    CliffWalking,
    CliffWalkingParams,
    FrozenLake,
    FrozenLakeParams,
    GridWorld,
    GridWorldParams,
    NoisyGrid,
    NoisyGridParams,
    RiverSwim,
    RiverSwimParams,
    grid_map,
    grids,
    read_map,
)

D = torch.float64
MAZE = """
#################
#...#...#.......#
#.#.#.#.#.#####.#
#.#...#...#...#.#
#.#########.#.#.#
#.......#...#...#
#######.#.#####.#
#.....#.#.#...#.#
#.###.#.#.#.#.#.#
#.#...#...#.#...#
#.#.#######.###.#
#.#.........#...#
#.###########.#.#
#.............#.#
#################
"""
RANDOM_LAKE = tuple(generate_random_map(size=7, p=0.7, seed=5))

THEIRS = {
    "lake 4x4": (FrozenLake, FrozenLakeParams("4x4"), "FrozenLake-v1", {}),
    "lake 4x4, not slippery": (FrozenLake, FrozenLakeParams("4x4", False), "FrozenLake-v1", {"is_slippery": False}),
    "lake 8x8": (FrozenLake, FrozenLakeParams("8x8"), "FrozenLake8x8-v1", {"map_name": "8x8"}),
    "lake 8x8, not slippery": (
        FrozenLake,
        FrozenLakeParams("8x8", slippery=False),
        "FrozenLake8x8-v1",
        {"map_name": "8x8", "is_slippery": False},
    ),
    "random lake": (
        FrozenLake,
        FrozenLakeParams(RANDOM_LAKE, success_rate=0.7),
        "FrozenLake-v1",
        {"desc": RANDOM_LAKE, "success_rate": 0.7},
    ),
    "cliff": (CliffWalking, CliffWalkingParams(), "CliffWalking-v1", {}),
    "slippery cliff": (CliffWalking, CliffWalkingParams(slippery=True), "CliffWalkingSlippery-v1", {}),
}


def theirs_and_ours(name):
    kind, params, identifier, options = THEIRS[name]
    return gymnasium.make(identifier, **options), kind(1, params=params)


def outcomes_of(rows):
    """Chance of every next state, reward and end, with equal outcomes joined."""
    joined = defaultdict(float)
    for chance, *outcome in rows:
        joined[tuple(map(float, outcome))] += chance
    return {outcome: chance for outcome, chance in joined.items() if chance > 0}


@pytest.mark.parametrize("name", THEIRS)
def test_tables_are_gymnasiums_entry_by_entry(name):
    theirs, ours = theirs_and_ours(name)
    outcomes = ours.params.outcomes()
    P, R = ours.tables()
    inner = theirs.unwrapped
    states, actions = int(theirs.observation_space.n), int(theirs.action_space.n)
    assert (ours.observation_space.n, ours.n_actions) == (states, actions)
    assert outcomes.start.tolist() == inner.initial_state_distrib.tolist()
    ends = {end for rows in inner.P.values() for listed in rows.values() for _, end, _, over in listed if over}
    assert outcomes.terminal.nonzero().flatten().tolist() == sorted(ends)
    for s in range(states):
        for a in range(actions):
            if s in ends:  # what follows the end differs between gymnasium's tables; here nothing does
                assert P[s, a, s] == 1 and P[s, a].sum() == 1 and R[s, a] == 0
                continue
            expected = outcomes_of(inner.P[s][a])
            entry = (outcomes.chance[s, a], outcomes.next_state[s, a], outcomes.reward[s, a])
            found = outcomes_of((p, t, r, outcomes.terminal[t]) for p, t, r in zip(*(part.tolist() for part in entry)))
            assert found == pytest.approx(expected, abs=1e-15)
            dense = torch.zeros(states, dtype=D)
            for chance, state, _, _ in inner.P[s][a]:
                dense[state] += chance
            assert torch.allclose(P[s, a], dense, rtol=0, atol=1e-15)
            assert float(R[s, a]) == pytest.approx(sum(row[0] * row[2] for row in inner.P[s][a]), abs=1e-13)


@pytest.mark.parametrize("name", THEIRS)
def test_time_limits_are_gymnasiums(name):
    theirs, ours = theirs_and_ours(name)
    assert ours.max_steps == theirs.spec.max_episode_steps


def test_a_time_limit_of_ones_own_comes_first():
    assert FrozenLake(1, params=FrozenLakeParams("8x8"), max_steps=7).max_steps == 7
    assert CliffWalking(1, max_steps=9).max_steps == 9


@pytest.mark.parametrize("name", ["lake 4x4, not slippery", "lake 8x8, not slippery", "cliff"])
def test_deterministic_walks_follow_gymnasium(name):
    """Both get the same random actions; where an episode ends, gymnasium is reset as ours resets itself."""
    theirs, ours = theirs_and_ours(name)
    actions = torch.randint(4, (1500, 1), generator=torch.Generator().manual_seed(7))
    seen, _ = theirs.reset(seed=0)
    assert ours.reset().tolist() == [seen]
    endings = 0
    for action in actions:
        seen, reward, terminated, truncated, _ = theirs.step(int(action))
        moved = ours.step(action)
        assert moved.final_observation.tolist() == [seen]
        assert moved.reward.tolist() == [float(reward)]
        assert (moved.terminated.tolist(), moved.truncated.tolist()) == ([terminated], [truncated])
        if terminated or truncated:
            endings += 1
            seen, _ = theirs.reset()
            assert moved.observation.tolist() == [seen]
    assert endings > 5 or name == "cliff"


@pytest.mark.parametrize(("lake", "value"), [("4x4", 0.542026), ("8x8", 0.414640)])
def test_brief_9_10_values_of_frozen_lakes(lake, value):
    P, R = FrozenLake(1, params=FrozenLakeParams(lake)).tables()
    V = torch.zeros(len(P), dtype=D)
    for _ in range(3000):
        V = (R + 0.99 * P @ V).amax(-1)
    assert float(V[0]) == pytest.approx(value, abs=5e-7)
    assert torch.allclose(planning.value_iteration(P, R, 0.99).V, V, rtol=0, atol=1e-7)


def test_brief_9_10_values_of_the_noisy_grid():
    """Averages over the start: a linear solve for the uniform policy, policy iteration for the optimum."""
    env = NoisyGrid(1, params=NoisyGridParams(size=5, slip=0.3))
    P, R = env.tables()
    start = env.params.outcomes().start
    uniform = torch.linalg.solve(torch.eye(25, dtype=D) - 0.97 * P.mean(1), R.mean(1))
    assert float(uniform @ start) == pytest.approx(-23.932122, abs=5e-7)
    assert float(planning.policy_iteration(P, R, 0.97).V @ start) == pytest.approx(-5.473652, abs=5e-7)


def test_noisy_grid_earns_minus_one_plus_noise():
    env = NoisyGrid(20_000, params=NoisyGridParams(sigma=2.0), dtype=D, seed=3)
    env.reset()
    reward = torch.cat([env.step(torch.full((20_000,), 2)).reward for _ in range(5)])
    assert float(reward.mean()) == pytest.approx(-1, abs=4 * 2 / 100_000**0.5)
    assert float(reward.std()) == pytest.approx(2, rel=0.01)
    assert float((reward + 1).pow(4).mean() / 16) == pytest.approx(3, rel=0.05)  # as of a normal law
    quiet = NoisyGrid(50, params=NoisyGridParams(sigma=0.0), seed=3)
    quiet.reset()
    assert quiet.step(torch.zeros(50, dtype=torch.int64)).reward.tolist() == [-1.0] * 50


def test_noisy_grid_is_cut_after_64_steps_and_starts_anywhere_else():
    env = NoisyGrid(5000, seed=1, params=NoisyGridParams(slip=0.0))
    seen = env.reset()
    counts = torch.bincount(seen, minlength=25)
    assert counts[24] == 0 and counts[:24].min() > 130 and counts[:24].max() < 290
    for step in range(64):
        moved = env.step(torch.zeros(5000, dtype=torch.int64))  # to the left, where the goal is not
        assert not moved.terminated.any()
        assert bool(moved.truncated.all()) == bool(moved.truncated.any()) == (step == 63)


def test_river_swim_has_the_value_of_another_brief():
    """Twenty steps from the first place are worth 3.3972640 (backward induction there)."""
    P, R = RiverSwim(1).tables()
    V = torch.zeros(6, dtype=D)
    for _ in range(20):
        V = (R + P @ V).amax(-1)
    assert float(V[0]) == pytest.approx(3.3972640, abs=5e-8)


def test_river_swim_has_the_usual_numbers():
    P, R = RiverSwim(1, params=RiverSwimParams(length=4)).tables()
    right = [[0.4, 0.6, 0, 0], [0.05, 0.6, 0.35, 0], [0, 0.05, 0.6, 0.35], [0, 0, 0.4, 0.6]]
    left = [[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert torch.allclose(P, torch.stack([torch.tensor(left), torch.tensor(right)], dim=1).double(), atol=1e-7)
    assert R.tolist() == [[0.005, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]


# Maps.

maps = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.text("....S#GHC", min_size=width, max_size=width), min_size=1, max_size=6)
)


@given(rows=maps)
@settings(deadline=None, max_examples=80)
def test_moves_reach_neighbours_and_never_walls(rows):
    if set("".join(rows)) == {"#"}:
        rows = [*rows, "." * len(rows[0])]
    grid = read_map(rows)
    moved = grid.next_state()
    for state, (row, column) in enumerate(grid.cells.tolist()):
        assert rows[row][column] != "#"
        for move, (down, right) in enumerate(grid_map.MOVES.values()):
            i, j = row + down, column + right
            inside = 0 <= i < len(rows) and 0 <= j < len(rows[0])
            free = inside and rows[i][j] != "#"
            assert grid.cells[moved[state, move]].tolist() == ([i, j] if free else [row, column])
    assert bool((grid.state_at[grid.cells[:, 0], grid.cells[:, 1]] == torch.arange(grid.states)).all())
    assert int((grid.state_at < 0).sum()) == "".join(rows).count("#")


@given(rows=maps, slip=st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_tables_of_any_map_are_markov_chains_that_rest_at_their_ends(rows, slip):
    text = "".join(rows)
    starts = text.count("S")
    possible = (starts == 1) if "C" in text else (starts or "." in text)
    if not possible:
        with pytest.raises(ValueError, match="map"):
            GridWorldParams(rows, slip=slip)
        return
    env = GridWorld(1, params=GridWorldParams(rows, slip=slip))
    P, R = env.tables()
    assert bool((P >= 0).all())
    assert torch.allclose(P.sum(-1), torch.ones(P.shape[:2], dtype=D), rtol=0, atol=1e-12)
    ends = env.grid.holds("GH")
    assert bool((P.diagonal(dim1=0, dim2=2)[:, ends] == 1).all())
    assert bool((R[ends] == 0).all())
    assert bool((P[..., env.grid.holds("C")][~env.grid.holds("CGH")] == 0).all())
    # With slip, every move is made with chance slip / 4 at least.
    entered = env.grid.next_state()[~env.grid.holds("CGH")]
    kept = ~env.grid.holds("C")[entered]
    reached = P[~env.grid.holds("CGH")].gather(2, entered[:, None].expand(-1, 4, -1))
    assert bool((reached[kept[:, None].expand(reached.shape)] >= slip / 4 - 1e-12).all())


def test_a_walk_in_a_maze_never_leaves_the_free_cells():
    params = GridWorldParams(MAZE, slip=0.2)
    env = GridWorld(400, params=params, seed=5)
    assert env.grid.states == 113
    seen = env.reset()
    generator = torch.Generator().manual_seed(1)
    for _ in range(60):
        moved = env.step(torch.randint(4, (400,), generator=generator))
        stride = (env.grid.cells[moved.final_observation] - env.grid.cells[seen]).abs().sum(-1)
        assert int(stride.max()) <= 1
        assert all(params.map[row][column] == "." for row, column in env.grid.cells[moved.final_observation].tolist())
        seen = moved.observation


def test_distances_in_the_maze_are_symmetric_and_its_diameter_is_58():
    grid = read_map(MAZE)
    distance = torch.full((grid.states, grid.states), 10**6)
    distance.fill_diagonal_(0)
    for _ in range(grid.states):
        shorter = torch.minimum(distance, distance[grid.next_state()].amin(1) + 1)
        if torch.equal(shorter, distance):
            break
        distance = shorter
    assert int(distance.max()) == 58
    assert torch.equal(distance, distance.T)


def test_four_rooms_by_default():
    env = GridWorld(3, seed=1)
    assert env.grid.states == 104
    P, R = env.tables()
    V = planning.value_iteration(P, R, 0.999).V
    # Twenty moves lead from one corner to the other; all but the last earn -1.
    assert float(V[0]) == pytest.approx(-(1 - 0.999**19) / 0.001, abs=1e-6)


def test_letters_earn_their_rewards_and_end_episodes():
    params = GridWorldParams("S.G\n.CH", step_reward=-1, goal_reward=5, hole_reward=-7, cliff_reward=-9)
    env = GridWorld(4, params=params)
    env.reset()
    env.state = torch.tensor([1, 1, 3, 1])
    moved = env.step(torch.tensor([2, 1, 2, 0]))  # to the goal, over the cliff twice, to the start
    assert moved.reward.tolist() == [5, -9, -9, -1]
    assert moved.terminated.tolist() == [True, False, False, False]
    assert moved.final_observation.tolist() == [2, 0, 0, 0]
    env.state = torch.tensor([2, 2, 1, 0])
    assert params.outcomes().terminal.tolist() == [False, False, True, False, False, True]


def test_slips_are_distributions_over_moves():
    for made in (grids.slips_anywhere(0.3), grids.slips_sideways(1 / 3)):
        assert torch.allclose(made.sum(-1), torch.ones(4, dtype=D), rtol=0, atol=1e-15)
    assert grids.slips_anywhere(0.3)[2].tolist() == pytest.approx([0.075, 0.075, 0.775, 0.075])
    assert grids.slips_sideways(0.8)[0].tolist() == pytest.approx([0.8, 0.1, 0, 0.1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("S.\n.", "equally long"),
        ("S?", r"got \?"),
        ("##\n##", "no wall"),
        ([], "rows of a map"),
        (["S", 3], "rows of a map"),
        (7, "rows of a map"),
        ("", "rows of a map"),
    ],
)
def test_maps_that_cannot_be_read(text, said):
    with pytest.raises(ValueError, match=said):
        read_map(text)
    with pytest.raises(ValueError, match=f"map: .*{said}"):
        GridWorldParams(text)


def test_worlds_that_cannot_start():
    with pytest.raises(ValueError, match="cell to start from"):
        GridWorldParams("GH")
    with pytest.raises(ValueError, match="one S where a cliff throws back"):
        GridWorldParams("SS.C")
    with pytest.raises(ValueError, match="one S where a cliff throws back"):
        GridWorldParams("..C")
    with pytest.raises(ValueError, match="moves must be one of 'left'"):
        read_map("S.").next_state(("left", "jump"))
