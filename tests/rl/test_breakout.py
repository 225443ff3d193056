"""MiniBreakout against the package minatar: every field of the state, every reward, every end."""

import numpy as np
import pytest
import torch
from minatar.environments.breakout import Env as MinAtar

from lib.rl.envs import MiniBreakout
from lib.rl.envs.breakout import FIELDS

THEIR_ACTIONS = (0, 1, 3)  # nothing, left, right among MinAtar's six
FULL = (1 << 30) - 1


def their_row(game):
    """State of MinAtar's game in the fields of ours."""
    bricks = sum(1 << i for i, there in enumerate(game.brick_map[1:4].flatten()) if there)
    assert game.brick_map.sum() == bricks.bit_count()  # nowhere else
    fields = (game.pos, game.ball_x, game.ball_y, game.last_x, game.last_y, game.ball_dir, int(game.strike), bricks)
    return list(map(int, fields))


def put(game, row):
    """Set MinAtar's game to a state of ours."""
    paddle, x, y, last_x, last_y, direction, strike, bricks = row
    game.pos, game.ball_x, game.ball_y, game.last_x, game.last_y = paddle, x, y, last_x, last_y
    game.ball_dir, game.strike, game.terminal = direction, bool(strike), False
    game.brick_map = np.zeros((10, 10))
    game.brick_map[1:4] = np.array([bricks >> i & 1 for i in range(30)]).reshape(3, 10)


def following(state, generator):
    """Actions towards the ball, replaced by random ones in 15 of 100 cases."""
    towards = torch.sign(state[:, FIELDS.index("x")] - state[:, FIELDS.index("paddle")])
    action = torch.where(towards == 0, 0, torch.where(towards < 0, 1, 2))
    random = torch.randint(3, action.shape, generator=generator)
    return torch.where(torch.rand(action.shape, generator=generator) < 0.85, action, random)


def test_brief_9_1_thirty_thousand_steps_equal_those_of_minatar():
    """A hundred games side by side, 300 steps each; where one ends, theirs starts where ours does."""
    games = [MinAtar() for _ in range(100)]
    env = MiniBreakout(100, seed=11)
    env.reset()
    for game, row in zip(games, env.state.tolist()):
        put(game, row)
    generator = torch.Generator().manual_seed(12)
    episodes = bricks = 0
    for _ in range(300):
        action = following(env.state, generator)
        before = env.state
        theirs = [game.act(THEIR_ACTIONS[a]) for game, a in zip(games, action.tolist())]
        arrived, _, _ = env.dynamics(before, action)
        moved = env.step(action)
        assert arrived.tolist() == [their_row(game) for game in games]
        assert moved.reward.tolist() == [float(reward) for reward, _ in theirs]
        assert moved.terminated.tolist() == [over for _, over in theirs]
        assert not moved.truncated.any()
        shown = moved.final_observation.numpy()
        assert (shown == np.stack([game.state() for game in games])).all()
        for game, row, over in zip(games, env.state.tolist(), moved.terminated.tolist()):
            if over:
                put(game, row)
        episodes += int(moved.terminated.sum())
        bricks += int(moved.reward.sum())
    # The brief counts about 1 260 episodes and 2 160 bricks.
    assert 1000 < episodes < 1500
    assert 1800 < bricks < 2500


def test_one_step_from_any_state_equals_minatars():
    """States that play seldom reaches, among them a last brick, no brick, and a ball that passes through bricks."""
    count = 4000
    generator = torch.Generator().manual_seed(3)

    def draw(high, *rest):
        return torch.randint(high, (count, *rest), generator=generator)

    thinned = (draw(4, 30) < draw(4)[:, None]).long() << torch.arange(30)
    bricks = torch.where(draw(3) == 0, torch.where(draw(2) == 0, 0, 1 << draw(30)), thinned.sum(-1))
    parts = (draw(10), draw(10), draw(9), draw(10), draw(10), draw(4), draw(2), bricks)
    state = torch.stack(parts, dim=-1).int()
    action = draw(3)
    arrived, reward, terminated = MiniBreakout(count).dynamics(state, action)
    game = MinAtar()
    ends = refills = 0
    for k in range(count):
        put(game, state[k].tolist())
        gained, over = game.act(THEIR_ACTIONS[action[k]])
        assert (arrived[k].tolist(), float(reward[k]), bool(terminated[k])) == (their_row(game), gained, over)
        ends += over
        refills += state[k, -1] == 0 and arrived[k, -1] == FULL
    assert ends > 100
    assert refills > 20


@pytest.mark.parametrize(("x", "lasts"), [(0, 6), (9, 16)])
def test_brief_9_1_a_paddle_that_never_moves(x, lasts):
    env = MiniBreakout(64, seed=2)
    env.reset()
    mine = env.state[:, 1] == x
    assert 15 < int(mine.sum()) < 49
    for step in range(1, lasts + 1):
        moved = env.step(torch.zeros(64, dtype=torch.int64))
        assert bool(moved.terminated[mine].all()) == bool(moved.terminated[mine].any()) == (step == lasts)


def test_first_states_are_minatars():
    env = MiniBreakout(2000, seed=4)
    seen = env.reset()
    starts = {tuple(row) for row in env.state.tolist()}
    theirs = set()
    for _ in range(40):
        game = MinAtar()
        theirs.add(tuple(their_row(game)))
        match = [k for k, row in enumerate(env.state[:64].tolist()) if row == their_row(game)]
        assert (seen[match[0]].numpy() == game.state()).all()
    assert starts == theirs
    assert float((env.state[:, 1] == 0).float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 2000**0.5)


def test_spaces_types_and_time_limit():
    env = MiniBreakout(3, seed=1, max_steps=5)
    seen = env.reset()
    assert (seen.dtype, tuple(seen.shape), env.obs_dim, env.n_actions) == (torch.bool, (3, 10, 10, 4), 400, 3)
    assert env.state.dtype == torch.int32
    assert env.observation_space.contains(seen).all()
    for step in range(5):
        moved = env.step(torch.zeros(3, dtype=torch.int64))
        assert moved.truncated.tolist() == [step == 4] * 3
        assert moved.reward.dtype == torch.float32
    assert env.elapsed.tolist() == [0, 0, 0]
    assert MiniBreakout(1).max_steps == 1000


def test_any_leading_dimensions():
    env = MiniBreakout(6, seed=3)
    env.reset()
    state, action = env.state, torch.tensor([0, 1, 2, 2, 1, 0])
    flat = env.dynamics(state, action)
    folded = env.dynamics(state.reshape(2, 3, 8), action.reshape(2, 3))
    for mine, theirs in zip(folded, flat):
        assert torch.equal(mine.reshape(theirs.shape), theirs)
    one, reward, _ = env.dynamics(state[4], action[4])
    assert torch.equal(one, flat[0][4]) and reward.shape == ()
    assert torch.equal(env.observe(one), env.observe(flat[0])[4])
    assert torch.equal(env.observe(folded[0]).reshape(6, 10, 10, 4), env.observe(flat[0]))


def test_what_is_refused():
    env = MiniBreakout(2, check_actions=True)
    with pytest.raises(ValueError, match="reset the environment"):
        env.step(torch.tensor([0, 1]))
    env.reset()
    with pytest.raises(ValueError, match=r"action must lie in .*got 3"):
        env.step(torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"generator must be a torch\.Generator, got None"):
        env.initial(2, None)
