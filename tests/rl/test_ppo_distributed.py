"""Two processes that train together do what one process does with both shards."""

import dataclasses
import time
import traceback
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from lib.rl.checkpoints import load_checkpoint
from lib.rl.distributed import Processes, join, leave
from lib.rl.envs.cart_pole import CartPole
from lib.rl.training_log import read_log
from tests.rl.training import DOUBLE, SMALL, curve, networks, run

CFG = dataclasses.replace(
    SMALL, normalize_observations=True, normalize_rewards=True, value_clip=0.2, max_kl=0.05, anchor_com=8.0
)
SEEDS = {"alone": 3, "members": (3, 8)}
PATIENCE = 120
"""Seconds after which processes that hang are ended."""


def one_rank(rank, folder):
    """What each process does; an error is left in a file."""
    torch.set_num_threads(1)
    try:
        processes = join(rank, 2, f"file://{folder}/meeting")
        options = {"cfg": CFG, "processes": processes, "iterations": 8, "n": 4}

        def part(seed):
            return CartPole(4, dtype=DOUBLE, seed=seed, max_steps=20, shards=2, shard=rank)

        with pytest.raises(ValueError, match="policy and value_fn must be equal in all processes"):
            run(env=part(0), nets=networks(rank), **options)
        for name, seed in SEEDS.items():
            path = f"{folder}/{name}.pt"
            log, policy, _ = run(env=part(seed), nets=networks(seed), checkpoint=path, **options)
            log.write(f"{folder}/{name}.{rank}.csv")
            torch.save([p.detach() for p in policy.parameters()], f"{folder}/{name}.{rank}.weights")
    except BaseException:
        Path(folder, f"{rank}.error").write_text(traceback.format_exc())
        raise
    finally:
        leave()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Folder in which two processes have left what they learned."""
    folder = tmp_path_factory.mktemp("together")
    context = torch.multiprocessing.get_context("spawn")
    ranks = [context.Process(target=one_rank, args=(rank, str(folder))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    until = time.monotonic() + PATIENCE
    for rank in ranks:
        rank.join(max(0.0, until - time.monotonic()))
    hanging = [rank for rank in ranks if rank.is_alive()]
    for rank in hanging:
        rank.kill()
        rank.join()
    assert [file.read_text() for file in sorted(folder.glob("*.error"))] == []
    assert not hanging, "processes did not end in time"
    return folder


@pytest.mark.parametrize("name", SEEDS)
def test_two_processes_learn_what_one_learns_with_both_shards(together, name):
    joint, policy, _ = run(seed=SEEDS[name], cfg=CFG, iterations=4, n=8, shards=2)
    for rank in range(2):
        log = read_log(together / f"{name}.{rank}.csv")
        assert log["steps"].flatten()[-1] == 4 * 128
        torch.testing.assert_close(curve(log), curve(joint), rtol=1e-9, atol=1e-10, equal_nan=True)
        for p, q in zip(torch.load(together / f"{name}.{rank}.weights"), policy.parameters()):
            torch.testing.assert_close(p, q.detach(), rtol=1e-9, atol=1e-10)


def test_each_process_keeps_what_it_needs_to_go_on(together):
    for rank in range(2):
        checkpoint = load_checkpoint(together / f"alone.pt.rank{rank}")
        assert checkpoint["environment"]["observation"].shape == (4, 4)
        assert checkpoint["steps"] == 512


def test_one_process_is_the_sum_of_itself():
    seen = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    alone = Processes()
    assert torch.equal(alone.sum_(seen.clone()), seen)
    variance, mean = alone.moments(seen, (0, 1))
    assert float(mean) == pytest.approx(float(seen.mean()))
    assert float(variance) == pytest.approx(float(seen.var(correction=0)))
    alone.require_equal("seen", seen)
    leave()


def test_shards_draw_other_numbers_but_learn_as_well():
    joint, *_ = run(shards=2)
    plain, *_ = run()
    assert not torch.equal(curve(joint), curve(plain))
    assert joint["steps"].tolist() == plain["steps"].tolist()
