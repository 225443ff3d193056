"""Lot sizing: a loop over items and machines, balances of stock, and exact costs of a small instance."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lib.rl.envs import LotSizing, LotSizingSpec
from lib.rl.envs.lot_sizing import binomial_demand, random_lot_sizing

D = torch.float64
EASY = LotSizingSpec(
    production=[[2, 2]], setup_cost=[[1, 1]], setup_loss=1, holding=0.1, lost_sales=2, capacity=3, demand=[0.5, 0.5]
)
STATES = list(itertools.product(range(4), range(4), range(3)))
DEMANDS = list(itertools.product(range(2), range(2)))


def easy_tables():
    """All decisions and demands of the easy instance: post-decision states, their rewards, and what follows."""
    env = LotSizing(1, dtype=D, params=EASY)
    states = torch.tensor(STATES, dtype=D)[:, None].expand(48, 3, 3)
    action = torch.arange(3).expand(48, 3)[..., None]
    inventory, setup, r_det = env.post_decision(states[..., :2], states[..., 2:], action)
    post = [tuple(row) for row in torch.cat([inventory, setup], -1).flatten(0, 1).int().tolist()]
    known = sorted(set(post))
    table = torch.tensor(known, dtype=D)[:, None]
    stock, r_sto = env.realise(table[..., :2], torch.tensor(DEMANDS, dtype=D))
    follows = [[STATES.index((*map(int, pair), code)) for pair in rows] for rows, (*_, code) in zip(stock.int(), known)]
    reached = torch.tensor([known.index(entry) for entry in post]).view(48, 3)
    return r_det, reached, r_sto, torch.tensor(follows)


def backward(steps, gamma=1.0, policy=None):
    """Values of states, of actions and of post-decision states with so many steps to go; optimal, or of a policy."""
    r_det, reached, r_sto, follows = easy_tables()
    V = torch.zeros(48, dtype=D)
    for _ in range(steps):
        Vx = (r_sto + gamma * V[follows]).mean(-1)
        Q = r_det + Vx[reached]
        V = Q.amax(-1) if policy is None else (Q * policy).sum(-1)
    return V, Q, Vx[reached]


def test_brief_there_are_48_states_and_56_post_decision_states():
    _, reached, _, _ = easy_tables()
    assert len(STATES) == 48
    assert int(reached.max()) + 1 == len(set(reached.flatten().tolist())) == 56
    assert reached.numel() == 144


@pytest.mark.parametrize(
    ("steps", "gamma", "cost"),
    [
        (1, 1.0, 2.0),
        (2, 1.0, 3.15),
        (3, 1.0, 4.0375),
        (5, 1.0, 5.3328125),
        (10, 1.0, 8.107630920),
        (20, 1.0, 13.664094787),
        (3, 0.9, 3.761125),
    ],
)
def test_brief_9_1_optimal_costs_of_the_easy_instance(steps, gamma, cost):
    V, Q, _ = backward(steps, gamma)
    assert float(V[0]) == pytest.approx(-cost, abs=1e-9)
    best = Q[0] >= Q[0].max() - 1e-12
    assert best.tolist() == ([True, False, False] if steps == 1 else [False, True, True])


def test_brief_9_1_never_producing_costs_6():
    idle = torch.tensor([1.0, 0.0, 0.0], dtype=D).expand(48, 3)
    assert float(backward(3, policy=idle)[0][0]) == pytest.approx(-6.0, abs=1e-12)


def test_brief_9_2_values_of_the_uniform_policy():
    V, Q, Vx = backward(3, policy=torch.full((48, 3), 1 / 3, dtype=D))
    r_det = easy_tables()[0][0]
    assert float(V[0]) == pytest.approx(-5.184259, abs=5e-7)
    assert Vx[0].tolist() == pytest.approx([-5.666667, -3.943056, -3.943056], abs=5e-7)
    assert Q[0].tolist() == pytest.approx([-5.666667, -4.943056, -4.943056], abs=5e-7)
    assert (Q[0] - V[0]).tolist() == pytest.approx([-0.482407, 0.241204, 0.241204], abs=1e-6)
    assert r_det.tolist() == [0, -1, -1]
    assert torch.maximum(Q[0] - V[0], r_det).tolist() == pytest.approx([0, 0.241204, 0.241204], abs=1e-6)


@pytest.mark.parametrize("start", [(0, 0, 0), (3, 1, 2)])
def test_simulated_costs_have_the_exact_mean(start):
    """Three steps of always making item 1, in 40 000 environments, against backward induction."""
    V = backward(3, policy=torch.tensor([0.0, 1.0, 0.0], dtype=D).expand(48, 3))[0][STATES.index(start)]
    env = LotSizing(40_000, params=EASY, max_steps=3, seed=5)
    env.reset()
    env.state = torch.tensor(start, dtype=torch.float32).expand(40_000, 3).clone()
    total = sum(env.step(torch.ones(40_000, 1, dtype=torch.int64)).reward for _ in range(3))
    assert float(total.mean()) == pytest.approx(float(V), abs=4 * float(total.std()) / 200)


def random_spec(seed):
    generator = torch.Generator().manual_seed(seed)

    def integers(high, *size):
        return torch.randint(high, size, generator=generator)

    return LotSizingSpec(
        production=integers(6, 3, 5),
        setup_cost=torch.rand(3, 5, generator=generator, dtype=D),
        setup_loss=integers(3, 3, 5),
        holding=torch.rand(5, generator=generator, dtype=D),
        lost_sales=torch.rand(5, generator=generator, dtype=D),
        capacity=4 + integers(5, 5),
        demand=torch.softmax(torch.randn(5, 4, generator=generator, dtype=D), -1),
        initial_stock=4,
        random_setups=True,
    )


def one_by_one(spec, state, action, demand):
    """One step of one environment, item by item and machine by machine, as the model is written down."""
    stock, setups = state[: spec.items], state[spec.items :]
    setup_costs = 0.0
    for m, (now, chosen) in enumerate(zip(setups, action)):
        if chosen > 0:
            made = int(spec.production[m, chosen - 1])
            if now != chosen:
                setup_costs += float(spec.setup_cost[m, chosen - 1])
                made = max(made - int(spec.setup_loss[m, chosen - 1]), 0)
            stock[chosen - 1] += made
        setups[m] = chosen
    post = list(stock)
    chance_costs = 0.0
    for i, asked in enumerate(demand):
        stock[i] -= asked
        if stock[i] < 0:
            chance_costs += float(spec.lost_sales[i]) * -stock[i]
            stock[i] = 0
        stock[i] = min(stock[i], int(spec.capacity[i]))
        chance_costs += float(spec.holding[i]) * stock[i]
    return post, [*stock, *setups], -setup_costs, -chance_costs


def test_brief_9_5_a_thousand_random_steps_equal_a_loop():
    spec = random_spec(1)
    env = LotSizing(10, dtype=D, params=spec, seed=2)
    env.reset()
    generator = torch.Generator().manual_seed(3)
    for _ in range(100):
        state, action = env.state, torch.randint(6, (10, 3), generator=generator)
        position = env.streams.blocks[0][0].get_state()
        demand = env.draw_demand((10,), env.streams.blocks[0][0])
        env.streams.blocks[0][0].set_state(position)
        moved = env.step(action)
        post, _, r_det = env.post_decision(state[:, :5], state[:, 5:], action)
        _, r_sto = env.realise(post, demand)
        for k in range(10):
            given = (state[k].int().tolist(), action[k].tolist(), demand[k].int().tolist())
            after, reached, setup_costs, chance_costs = one_by_one(spec, *given)
            assert post[k].tolist() == after
            assert moved.final_observation[k].tolist() == reached
            assert float(r_det[k]) == pytest.approx(setup_costs, abs=1e-12)
            assert float(r_sto[k]) == pytest.approx(chance_costs, abs=1e-12)
            assert float(moved.reward[k]) == pytest.approx(setup_costs + chance_costs, abs=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_brief_9_5_balances(seed):
    """Stock changes by production - demand + lost sales - overflow, costs are no gains, stock stays in its bounds."""
    spec = random_spec(seed)
    env = LotSizing(50, dtype=D, params=spec, seed=seed)
    seen = env.reset()
    generator = torch.Generator().manual_seed(seed)
    inventory, setup = seen[:, :5], seen[:, 5:]
    action = torch.randint(6, (50, 3), generator=generator)
    post, setup_x, r_det = env.post_decision(inventory, setup, action)
    demand = env.draw_demand((50,), generator)
    stock, r_sto = env.realise(post, demand)
    lost = (demand - post).clamp(min=0)
    overflow = (post - demand - spec.capacity).clamp(min=0)
    assert torch.equal(stock - inventory, (post - inventory) - demand + lost - overflow)
    assert bool((post >= inventory).all()) and torch.equal(setup_x, action.double())
    assert bool((r_det <= 0).all()) and bool((r_sto <= 0).all())
    assert bool((stock >= 0).all()) and bool((stock <= spec.capacity).all())
    assert bool(env.observation_space.contains(torch.cat([stock, setup_x], -1)).all())
    again, _, second = env.post_decision(post, setup_x, action)
    assert bool((second == 0).all())  # nothing is set up twice
    assert bool((again >= post).all())
    order = torch.randperm(50, generator=generator)
    for one, other in zip(env.post_decision(inventory[order], setup[order], action[order]), (post, setup_x, r_det)):
        assert torch.equal(one, other[order])


def test_brief_9_7_post_decision_draws_nothing():
    env = LotSizing(3, seed=1)
    seen = env.reset()
    sources = [env.streams.blocks[0][0], torch.default_generator]
    before = [source.get_state() for source in sources]
    first = env.post_decision(seen[:, :4], seen[:, 4:], torch.tensor([[1, 2], [0, 4], [3, 3]]))
    second = env.post_decision(seen[:, :4], seen[:, 4:], torch.tensor([[1, 2], [0, 4], [3, 3]]))
    assert all(torch.equal(source.get_state(), state) for source, state in zip(sources, before))
    assert all(torch.equal(one, other) for one, other in zip(first, second))


def test_a_restart_after_idling_needs_a_setup_and_production_is_floored():
    env = LotSizing(1, dtype=D)
    zero = torch.zeros(4, dtype=D)
    stock, setup, reward = env.post_decision(zero, torch.tensor([1.0, 3.0], dtype=D), torch.tensor([0, 3]))
    assert (stock.tolist(), setup.tolist(), float(reward)) == ([0, 0, 4, 0], [0, 3], 0)
    stock, setup, reward = env.post_decision(zero, setup, torch.tensor([1, 3]))
    assert (stock.tolist(), setup.tolist(), float(reward)) == ([3, 0, 4, 0], [1, 3], -1)
    stock, _, reward = env.post_decision(zero, setup, torch.tensor([3, 1]))  # neither machine makes that item
    assert (stock.tolist(), float(reward)) == ([0, 0, 0, 0], -4)


def test_demands_follow_their_laws():
    laws = torch.tensor([[0.2, 0.0, 0.8, 0.0], [0.0, 0.5, 0.25, 0.25]], dtype=D)
    spec = LotSizingSpec([[1, 1]], [[1, 1]], 1, 0.1, 1, 3, laws)
    env = LotSizing(1, params=spec)
    demand = env.draw_demand((20_000,), torch.Generator().manual_seed(6))
    assert demand.shape == (20_000, 2)
    for law, drawn in zip(laws, demand.T):
        counted = torch.bincount(drawn.long(), minlength=4)
        assert bool((counted[law == 0] == 0).all())
        assert stats.chisquare(counted[law > 0], 20_000 * law[law > 0]).pvalue > 1e-3
    independent = torch.stack([demand[:, 0] == 2, demand[:, 1] == 1]).double()
    assert float(torch.corrcoef(independent)[0, 1]) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("trials", "chance"), [(1, 0.5), (3, 0.4), (20, 0.4), (5, 0.0), (5, 1.0)])
def test_binomial_demand_is_scipys(trials, chance):
    expected = stats.binom.pmf(range(trials + 1), trials, chance)
    assert binomial_demand(trials, chance).tolist() == pytest.approx(expected.tolist(), abs=1e-14)


def test_first_states():
    env = LotSizing(20_000, seed=7)
    seen = env.reset()
    for i in range(4):
        assert stats.chisquare(torch.bincount(seen[:, i].long(), minlength=6)).pvalue > 1e-3
    for m in (4, 5):
        assert stats.chisquare(torch.bincount(seen[:, m].long(), minlength=5)).pvalue > 1e-3
    assert LotSizing(3, params=EASY).reset().tolist() == [[0.0, 0.0, 0.0]] * 3
    assert bool(env.observation_space.contains(seen).all())


def test_the_random_instance_has_the_numbers_of_the_source():
    spec = random_lot_sizing(30, 15, torch.Generator().manual_seed(1))
    assert (spec.machines, spec.items) == (15, 30)
    made = spec.production[spec.production > 0]
    assert (int(made.min()), int(made.max())) == (1, 40)
    assert 1 - made.numel() / 450 == pytest.approx(0.4, abs=0.08)
    assert 15 <= float(spec.setup_cost.min()) < 17 and 28 < float(spec.setup_cost.max()) <= 30
    assert sorted(set(spec.setup_loss.flatten().tolist())) == [1, 2, 3]
    assert float(spec.lost_sales.min()) >= 0.1 and float(spec.lost_sales.max()) <= 0.3
    assert float(spec.demand[0] @ torch.arange(21.0, dtype=D)) == pytest.approx(8.0)
    env = LotSizing(64, params=spec, seed=1)
    assert env.reset().shape == (64, 45)
    assert env.act_dim == 15
    moved = env.step(torch.randint(31, (64, 15), generator=torch.Generator().manual_seed(2)))
    assert bool(moved.reward.isfinite().all())


def test_episodes_are_only_cut():
    env = LotSizing(5, max_steps=4, seed=1)
    env.reset()
    for step in range(4):
        moved = env.step(torch.zeros(5, 2, dtype=torch.int64))
        assert not moved.terminated.any()
        assert moved.truncated.tolist() == [step == 3] * 5
    assert LotSizing(1).max_steps == 100


GOOD = {
    "production": [[2, 2]],
    "setup_cost": [[1, 1]],
    "setup_loss": 1,
    "holding": 0.1,
    "lost_sales": 2,
    "capacity": 3,
    "demand": [0.5, 0.5],
}


@pytest.mark.parametrize(
    ("name", "bad", "said"),
    [
        ("production", [2, 2], r"production must have shape \(M, I\)"),
        ("production", [[2, 0.5]], "production must be whole units, got 0.5"),
        ("production", [[2, -1]], "production must be at least 0, got -1"),
        ("setup_cost", 1.0, r"setup_cost must have shape \(1, 2\), got \(\)"),
        ("setup_cost", [[1, -1]], "setup_cost must be at least 0, got -1"),
        ("setup_loss", [[1, 1, 1]], r"setup_loss must have shape \(1, 2\) or be a number, got \(1, 3\)"),
        ("setup_loss", 0.5, "setup_loss must be whole units"),
        ("holding", [0.1] * 3, r"holding must have shape \(2,\) or be a number"),
        ("holding", -0.1, "holding must be at least 0, got -0.1"),
        ("lost_sales", float("nan"), "lost_sales must be finite"),
        ("capacity", 0, "capacity must be at least 1, got 0"),
        ("capacity", "three", "capacity must be numbers"),
        ("demand", [0.5, 0.4], "demand must have rows that sum to 1"),
        ("demand", [1.5, -0.5], "demand must have entries of at least 0"),
        ("demand", [[1.0]] * 3, r"demand must have shape \(D,\) or \(2, D\)"),
        ("initial_stock", 4, "initial_stock must be an integer from 0 to 3, got 4"),
        ("random_setups", 1, "random_setups must be True or False"),
    ],
)
def test_specs_that_fit_nothing(name, bad, said):
    with pytest.raises(ValueError, match=said):
        LotSizingSpec(**GOOD | {name: bad})


def test_decisions_and_demands_that_are_refused():
    env = LotSizing(2)
    stock, setup, action = torch.zeros(4), torch.zeros(2), torch.tensor([0, 1])
    for bad, said in (
        ({"action": torch.tensor([0, 5])}, "action must be whole numbers from 0 to 4, got 5"),
        ({"action": torch.tensor([-1, 0])}, "action must be whole numbers from 0 to 4, got -1"),
        ({"action": torch.tensor([0.5, 0])}, "action must be whole numbers from 0 to 4, got 0.5"),
        ({"action": torch.tensor([0])}, r"action must have shape \(..., 2\), got \(1,\)"),
        ({"setup": torch.tensor([0.0, 7.0])}, "setup must be whole numbers from 0 to 4, got 7"),
        ({"inventory": torch.zeros(3)}, r"inventory must have shape \(..., 4\), got \(3,\)"),
        ({"inventory": torch.zeros(2, 4), "action": action.expand(3, 2)}, "leading dimensions of inventory and setup"),
    ):
        with pytest.raises(ValueError, match=said):
            env.post_decision(**{"inventory": stock, "setup": setup, "action": action} | bad)
    with pytest.raises(ValueError, match="demand must be at least 0, got -1"):
        env.realise(stock, torch.tensor([0.0, 0, 0, -1]))
    with pytest.raises(ValueError, match=r"demand must have shape \(..., 4\)"):
        env.realise(stock, torch.zeros(3))
    checked = LotSizing(2, check_actions=True)
    checked.reset()
    with pytest.raises(ValueError, match="action must lie in MultiDiscrete"):
        checked.step(torch.tensor([[0, 5], [0, 0]]))
    with pytest.raises(ValueError, match="params must be LotSizingSpec"):
        LotSizing(2, params=GOOD)
