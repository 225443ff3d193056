"""Checkpoints: exact continuation, whole files or none, and what does not fit."""

import dataclasses
import os

import pytest
import torch

from lib.rl import checkpoints
from lib.rl.checkpoints import load_checkpoint, save_checkpoint, without_environments
from lib.rl.envs.cart_pole import CartPole
from lib.rl.evaluation import evaluate
from lib.rl.normalization import RunningStatistics
from lib.rl.ppo import StepCut
from tests.rl.training import DOUBLE, SMALL, curve, networks, run

EVERYTHING = dataclasses.replace(
    SMALL, normalize_observations=True, normalize_rewards=True, anchor_com=8.0, schedule="linear", max_kl=0.05
)


def equal(a, b):
    torch.testing.assert_close(curve(a), curve(b), rtol=0, atol=0, equal_nan=True)


class Stopped(Exception):
    pass


def stop_after(iteration):
    def look(state):
        if state.iteration == iteration:
            raise Stopped

    return look


@pytest.mark.parametrize("cfg", [SMALL, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("seed", [2, (2, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_a_run_goes_on_to_the_bit_after_a_crash(tmp_path, cfg, seed, dtype):
    whole, policy, value_fn = run(seed=seed, cfg=cfg, iterations=6, dtype=dtype)
    path = tmp_path / "run.pt"
    with pytest.raises(Stopped):
        # The crash comes in iteration 5, after the checkpoint of iteration 4.
        run(seed=seed, cfg=cfg, iterations=6, dtype=dtype, callback=stop_after(5), checkpoint=path, checkpoint_every=2)
    elsewhere = tmp_path / "other" / "name.checkpoint"
    elsewhere.parent.mkdir()
    os.replace(path, elsewhere)
    # Nothing is taken from the new objects: other seeds, other weights.
    other = 5 if seed == 2 else (5, 6)
    rest, again, again_value = run(seed=other, cfg=cfg, iterations=6, dtype=dtype, resume=elsewhere)
    equal(whole, rest)
    for p, q in zip((*policy.parameters(), *value_fn.parameters()), (*again.parameters(), *again_value.parameters())):
        assert torch.equal(p, q)


def test_a_finished_run_can_be_made_longer(tmp_path):
    whole, *_ = run(iterations=5)
    path = tmp_path / "run.pt"
    short, *_ = run(iterations=3, checkpoint=path, checkpoint_every=100)
    equal(run(iterations=5, resume=path)[0], whole)
    equal(run(iterations=5, resume=short.checkpoint)[0], whole)
    equal(run(iterations=3, resume=path)[0], short)


def test_training_does_not_change_a_checkpoint_that_was_taken():
    first, *_ = run(iterations=2)
    kept = checkpoints.copied(first.checkpoint)
    run(iterations=4, resume=first.checkpoint)
    assert torch.equal(kept["parameters"], first.checkpoint["parameters"])
    assert torch.equal(kept["environment"]["observation"], first.checkpoint["environment"]["observation"])


def test_a_checkpoint_goes_on_with_another_step_or_more_environments():
    start, policy, _ = run(iterations=3)
    weights = [p.detach().clone() for p in policy.parameters()]
    cut, *_ = run(iterations=6, resume=start.checkpoint, cfg=dataclasses.replace(SMALL, schedule=StepCut(at=0)))
    assert cut["learning_rate"].tolist() == pytest.approx([3e-3] * 3 + [3e-4] * 3)
    assert torch.equal(curve(cut)[:, :3].nan_to_num(-1), curve(start).nan_to_num(-1))
    started = []

    def look(state):
        started.append(state.steps)

    learned = without_environments(start.checkpoint)
    wide, *_ = run(iterations=3, n=32, resume=learned, callback=look)
    # 3 iterations of 128 steps were taken; two of 512 fit into the 1536.
    assert started == [384 + 512, 384 + 1024]
    assert len(wide) == 5
    still, policy, _ = run(iterations=3, n=32, resume=learned | {"steps": 1536})
    assert len(still) == 3
    assert all(torch.equal(p, q) for p, q in zip(policy.parameters(), weights))


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    run(iterations=1, checkpoint=path)
    before = path.read_bytes()

    def fails(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="the disk is full"):
        run(iterations=2, checkpoint=path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "run.pt"
    run(iterations=1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(ValueError, match=r"path must name a checkpoint that can be read, got '.*run\.pt'"):
        run(resume=path)


def test_one_wrong_bit_is_found(tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"parameters": torch.zeros(1000)})
    content = bytearray(path.read_bytes())
    content[content.find(bytes(4000)) + 1234] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"path must name a checkpoint that can be read.*checksum"):
        load_checkpoint(path)


def test_files_that_would_run_code_are_refused(tmp_path):
    class Sly:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    path = tmp_path / "sly.pt"
    torch.save({"format": 1, "sly": Sly()}, path)
    with pytest.raises(ValueError, match="path must name a checkpoint that can be read"):
        load_checkpoint(path)
    assert not (tmp_path / "made").exists()


def test_what_does_not_fit_is_named(tmp_path):
    log, *_ = run(iterations=1)
    with pytest.raises(ValueError, match=r"its parameters holds torch\.float64 of shape \(1, .*where the run has"):
        run(resume=log.checkpoint, nets=networks(0, hidden=(4,)))
    with pytest.raises(ValueError, match=r"its environment\['env'\]\['state'\] holds .* \(8, 4\) where .* \(16, 4\)"):
        run(resume=log.checkpoint, n=16)
    with pytest.raises(ValueError, match=r"its adam\['first'\] holds entries .* where the run has torch\.float64"):
        run(resume=log.checkpoint | {"adam": log.checkpoint["adam"] | {"first": {}}})
    with pytest.raises(ValueError, match="resume must be a checkpoint of a training run"):
        run(resume={"steps": 3})
    for table in (None, {}, {"members": None, "rows": {"steps": []}}, {**log.checkpoint["log"], "members": 1}):
        with pytest.raises(ValueError, match="resume must fit the run, but does not: saved must be a log with"):
            run(resume=log.checkpoint | {"log": table})
    save_checkpoint(tmp_path / "other.pt", {"mean": torch.zeros(3)})
    nets = networks(0)
    before = [p.detach().clone() for p in nets[0].parameters()]
    environment = checkpoints.copied(log.checkpoint["environment"])
    environment["env"]["elapsed"] = None
    with pytest.raises(ValueError, match=r"its environment\['env'\]\['elapsed'\] holds NoneType where"):
        run(nets=nets, resume=log.checkpoint | {"environment": environment})
    assert all(torch.equal(p, q) for p, q in zip(nets[0].parameters(), before))
    with pytest.raises(ValueError, match="resume must be a checkpoint of a training run"):
        run(resume=tmp_path / "other.pt")
    torch.save({"format": 99}, tmp_path / "new.pt")
    with pytest.raises(ValueError, match="path must name a checkpoint of format 1"):
        load_checkpoint(tmp_path / "new.pt")
    with pytest.raises(ValueError, match="checkpoint must be the name of a file in a folder that exists"):
        run(iterations=1, checkpoint=tmp_path / "missing" / "run.pt")


@pytest.mark.parametrize(("came", "runs"), [("float32", "float64"), ("float64", "float32")])
@pytest.mark.parametrize("prepare", [lambda checkpoint: checkpoint, without_environments])
def test_a_checkpoint_of_another_type_is_refused(prepare, came, runs):
    log, *_ = run(iterations=1, dtype=getattr(torch, came))
    nets = networks(0, getattr(torch, runs))
    before = [p.detach().clone() for p in nets[0].parameters()]
    with pytest.raises(ValueError, match=rf"its parameters holds torch\.{came} .* where the run has torch\.{runs} of"):
        run(dtype=getattr(torch, runs), nets=nets, resume=prepare(log.checkpoint))
    assert all(torch.equal(p, q) for p, q in zip(nets[0].parameters(), before))


def test_normalization_is_part_of_what_was_learned():
    cfg = dataclasses.replace(SMALL, normalize_observations=True)
    log, policy, _ = run(cfg=cfg)
    statistics = RunningStatistics((100,), (4,), DOUBLE)
    statistics.load_state_dict(log.checkpoint["observation_statistics"])
    env = CartPole(100, dtype=DOUBLE, seed=5)
    returns = evaluate(env, policy, statistics=statistics)
    env.reset()
    again = evaluate(CartPole(100, dtype=DOUBLE, seed=5), policy, statistics=statistics)
    assert torch.equal(returns, again)
    assert not torch.equal(returns, evaluate(CartPole(100, dtype=DOUBLE, seed=5), policy))
