"""The only place that decides between CPU and GPU."""

import pytest
import torch

from lib import device as devices


def test_the_page_is_always_built_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.device({"LIVE_PAGE": "1"}) == torch.device("cpu")
    assert devices.device({}) == torch.device("cuda")
    assert devices.device({"LIVE_PAGE": "1", "LIVING_MODELS_DEVICE": "cuda:0"}) == torch.device("cuda:0")


def test_without_an_accelerator_the_cpu_is_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.device({}) == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.device({}) == torch.device("mps")


@pytest.mark.parametrize("name", ["tpu", "cuda", "cuda:7", "cuda:one", "cpu:x"])
def test_a_device_this_machine_lacks_is_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=rf"LIVING_MODELS_DEVICE must name a device of this machine.*'{name}'"):
        devices.device({"LIVING_MODELS_DEVICE": name})


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("LIVING_MODELS_DEVICE", "cpu")
    assert devices.device().type == "cpu"
    assert devices.scale() == "quick"
    assert devices.dtype() == torch.float64
    assert devices.SCALE in ("quick", "full")


def test_types_and_scale_follow_the_device():
    assert devices.dtype("mps") == torch.float32
    assert devices.dtype("cuda") == torch.float64
    assert devices.scale("cuda:1") == "full"


def test_generators_are_seeded():
    draws = [torch.rand(3, generator=devices.generator(seed, "cpu")) for seed in (5, 5, 6)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    with pytest.raises(ValueError, match="seed must be an integer from 0"):
        devices.generator(-1, "cpu")
    with pytest.raises(ValueError, match="seed must be an integer"):
        devices.generator(0.5, "cpu")
