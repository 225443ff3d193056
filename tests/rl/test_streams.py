"""Random streams: members draw as alone, shards as in processes of their own, and all go on where they stood."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.rl.streams import Streams, derived_seed

DRAWS = {
    "uniform": lambda streams, n=6: streams.uniform(n, 2),
    "normal": lambda streams, n=6: streams.normal(n, dtype=torch.float64),
    "permutations": lambda streams, n=6: streams.permutations(5),
}
EVERY = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@EVERY
def test_members_draw_what_their_seeds_draw_alone(draw):
    together = draw(Streams((4, 0, 9), "action"))
    for member, seed in enumerate((4, 0, 9)):
        alone = draw(Streams(seed, "action"))
        assert torch.equal(together[member], alone if alone.dim() < together.dim() else alone[0])


@EVERY
@pytest.mark.parametrize("seed", [3, (3, 5)])
def test_shards_draw_what_processes_of_their_own_draw(draw, seed):
    joint = draw(Streams(seed, "action", shards=3))
    apart = [draw(Streams(seed, "action", shards=3, shard=shard), 2) for shard in range(3)]
    members = isinstance(seed, tuple) or joint.dtype == torch.int64
    assert torch.equal(joint, torch.cat(apart, dim=1 if members else 0))


def test_shapes_and_types():
    assert Streams(0, "a").uniform(4, 3).shape == (4, 3)
    assert Streams((0,), "a").normal(4, 3).shape == (1, 4, 3)
    assert Streams((0, 1), "a", shards=2).uniform(4).shape == (2, 4)
    assert Streams(0, "a").uniform(4, dtype=torch.float64).dtype == torch.float64
    assert Streams((0, 1), "a", shards=2).permutations(7).shape == (2, 2, 7)
    assert Streams(0, "a").permutations(7).shape == (1, 1, 7)
    assert Streams(np.int64(3), "a").members is None
    for permutation in Streams((0, 1), "a", shards=2).permutations(7).view(4, 7):
        assert sorted(permutation.tolist()) == list(range(7))


@pytest.mark.parametrize("seed", [3, (3,), (3, 5, 8)])
@pytest.mark.parametrize("options", [{}, {"shards": 3}, {"shards": 3, "shard": 1}])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_steps_at_once_are_steps_one_by_one(seed, options, default):
    """Whatever torch makes by default, odd numbers of environments, and from wherever the streams stand."""
    at_once, one_by_one = Streams(seed, "action", **options), Streams(seed, "action", **options)
    torch.set_default_dtype(default)
    try:
        for steps, n in ((1, 3), (5, 21), (17, 48), (2, 3)):
            found = at_once.uniform_steps(steps, n)
            expected = torch.stack([one_by_one.uniform(n) for _ in range(steps)])
            assert torch.equal(found, expected) and found.dtype == torch.float32
            # Joined in one piece of memory, as compiled loops read them.
            assert found.is_contiguous()
    finally:
        torch.set_default_dtype(torch.float32)
    for mine, theirs in zip(at_once.state_dict(), one_by_one.state_dict()):
        assert all(torch.equal(one, other) for one, other in zip(mine, theirs))


def test_no_steps_draw_nothing():
    streams = Streams(3, "action")
    assert streams.uniform_steps(0, 4).shape == (0, 4)
    assert torch.equal(streams.uniform(4), Streams(3, "action").uniform(4))


@EVERY
def test_streams_go_on_where_they_stood(draw):
    streams = Streams((1, 2), "action", shards=2)
    draw(streams)
    saved = streams.state_dict()
    expected = draw(streams)
    draw(streams)
    streams.load_state_dict(saved)
    assert torch.equal(draw(streams), expected)
    fresh = Streams((7, 8), "action", shards=2)
    fresh.load_state_dict(saved)
    assert torch.equal(draw(fresh), expected)


@pytest.mark.parametrize(
    "saved", [None, 3, [], [[torch.zeros(4)]], Streams((1, 2, 3), "a", shards=2).state_dict(), [["a", "b"], ["c", "d"]]]
)
def test_positions_of_other_streams_are_refused(saved):
    with pytest.raises(ValueError, match="state must hold 2 x 2 positions of generators, got"):
        Streams((1, 2), "action", shards=2).load_state_dict(saved)


@given(st.integers(0, 2**64), st.integers(0, 2**20), st.text(min_size=1, max_size=20))
@settings(max_examples=50)
def test_seeds_are_pure_and_differ(seed, shard, role):
    found = derived_seed(seed, role, shard)
    assert found == derived_seed(seed, role, shard)
    assert 0 <= found < 2**64
    assert len({found, derived_seed(seed + 1, role, shard), derived_seed(seed, role, shard + 1)}) == 3
    assert found != derived_seed(seed, role + "x", shard)


def test_close_seeds_draw_independent_numbers():
    """Means and correlations of neighbouring seeds and shards, within four standard errors."""
    count = 4000
    rows = torch.stack(
        [Streams(seed, "action", shards=2, shard=shard).normal(2 * count // 2) for seed in range(8) for shard in (0, 1)]
    )
    table = torch.corrcoef(rows) - torch.eye(len(rows))
    assert float(table.abs().max()) < 4.5 / count**0.5
    assert float(rows.mean(-1).abs().max()) < 4 / count**0.5


def test_no_global_generator_is_touched():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    DRAWS["uniform"](Streams(0, "action"))
    DRAWS["permutations"](Streams(0, "action"))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="n must be a multiple of the 4 shards held here, got 6"):
        Streams(0, "action", shards=4).uniform(6)
    with pytest.raises(ValueError, match="n must be a multiple of the 4 shards held here, got 6"):
        Streams(0, "action", shards=4).uniform_steps(2, 6)
