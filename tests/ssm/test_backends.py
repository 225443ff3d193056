"""Backends of the scan: what is chosen, and that compiled code which is wrong never answers."""

import functools
import importlib.util
import re
import warnings

import pytest
import torch

from lib.ssm import _chunks, _chunks_autograd, backends
from lib.ssm.scan import scan, scan_sequential
from tests.ssm.scan_inputs import random_inputs

SMALL = {"N": 4, "P": 2}


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Nothing has been looked at before each test, and nothing that it finds stays."""
    monkeypatch.setattr(backends, "_verdicts", {})
    monkeypatch.setattr(backends, "_warned", set())


def right(*arguments, resets):
    return _chunks_autograd.chunk_scan(*arguments, 16)


def wrong_output(*arguments, resets):
    y, h = right(*arguments, resets=resets)
    return 1.01 * y, h


def wrong_state(*arguments, resets):
    y, h = right(*arguments, resets=resets)
    return y, torch.cat([h[:, :1], -h[:, 1:]], 1)


def not_a_number(*arguments, resets):
    y, h = right(*arguments, resets=resets)
    return torch.where(torch.arange(y.shape[1]).eq(7)[:, None, None], torch.nan, y), h


def wrong_gradient(x, log_decay, *others, resets):
    """Right outputs, and a gradient of the log decays that is a third too small."""
    part = log_decay.masked_fill(log_decay.isinf(), 0) / 3
    return right(x, log_decay - part + part.detach(), *others, resets=resets)


def forgets_resets(x, log_decay, *others, resets):
    return right(x, log_decay.clamp(min=-1), *others, resets=resets)


def raising(*arguments, resets):
    raise RuntimeError("out of resource: shared memory\nmore lines")


def broken(*arguments, resets):
    raise NotImplementedError


FAULTS = [
    (wrong_output, "y is off by 1.0e-02"),
    (wrong_state, "h is off by"),
    (not_a_number, "y is off by nan"),
    (wrong_gradient, "the gradient of log_decay is off by 3.3e-01"),
    (forgets_resets, "y is off by"),
    (raising, "RuntimeError: out of resource: shared memory"),
    (broken, "NotImplementedError: "),
]


@pytest.mark.parametrize(("kernel", "problem"), FAULTS, ids=[kernel.__name__ for kernel, _ in FAULTS])
def test_a_faulty_kernel_is_found_out(kernel, problem):
    assert backends.disagreement(kernel, "cpu", **SMALL).startswith(problem)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("ranks", [1, 3])
def test_a_right_kernel_is_believed(dtype, ranks):
    assert backends.disagreement(right, "cpu", dtype, **SMALL, ranks=ranks) is None


def test_without_packed_rows_resets_are_not_asked_for():
    assert backends.disagreement(forgets_resets, "cpu", **SMALL, resets=False) is None


@pytest.fixture
def install(monkeypatch):
    """Put a kernel in the place of Triton's, on a machine where it may run."""
    calls = []

    def put(kernel):
        def counted(*arguments, resets):
            calls.append(tuple(arguments[0].shape))
            return kernel(*arguments, resets=resets)

        monkeypatch.setattr(backends, "_triton", counted)
        monkeypatch.setattr(backends, "_obstacle", lambda *_: None)
        monkeypatch.setattr(backends, "_worth_it", lambda _: True)
        return calls

    return put


@pytest.mark.parametrize(("kernel", "problem"), FAULTS, ids=[kernel.__name__ for kernel, _ in FAULTS])
def test_the_scan_falls_back_with_one_warning(kernel, problem, install):
    calls = install(kernel)
    data = random_inputs(dtype=torch.float32)
    packed = torch.arange(37).eq(9).expand(2, 37)
    expected, _ = scan_sequential(**data, reset=packed)
    with pytest.warns(RuntimeWarning, match=re.escape(f"({problem}")) as caught:
        y, _ = scan(**data, reset=packed)
    assert len(caught) == 1 and "plain torch runs instead" in str(caught[0].message)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scan(**data, reset=packed)
        scan(**data | {"x": data["x"][..., :1]}, reset=packed)  # another shape is looked at again, without a warning
    assert len(calls) == 2 and data["x"].shape not in calls


def test_a_kernel_is_looked_at_once_and_then_runs(install):
    calls = install(right)
    data = random_inputs(dtype=torch.float32)
    for _ in range(3):
        y, _ = scan(**data)
    assert calls.count(data["x"].shape) == 3 and len(calls) == 4
    torch.testing.assert_close(y, scan_sequential(**data)[0], rtol=1e-4, atol=1e-4)
    scan(**random_inputs())
    assert len(calls) == 6  # another type is looked at, too


def test_it_is_looked_at_in_inference_and_under_autocast(install):
    calls = install(right)
    data = random_inputs(dtype=torch.float32)
    with torch.inference_mode(), torch.autocast("cpu"):
        scan(**data)
    assert len(calls) == 2


def test_on_the_cpu_plain_torch_is_best():
    assert backends.choose("auto", "cpu") == "torch"
    assert backends._verdicts == {}


NEEDS = [
    ({"dtype": torch.float64}, "float32 or bfloat16, got torch.float64"),
    ({"N": 300}, "at most 256 cells, got N = 300"),
    ({"ranks": 3}, "a rank of 1, 2, 4, 8 or 16, got 3"),
]


@pytest.mark.parametrize(("inputs", "need"), NEEDS)
def test_kernels_say_what_they_need(inputs, need, monkeypatch):
    _triton = pytest.importorskip("lib.ssm._triton", reason="the kernels need the package triton", exc_type=ImportError)
    monkeypatch.setattr(_triton, "INTERPRETED", True)
    with pytest.raises(ValueError, match=f'backend = "triton" needs {re.escape(need)}; "auto"'):
        backends.choose("triton", "cpu", **inputs)
    monkeypatch.setattr(backends, "_worth_it", lambda _: True)
    assert backends.choose("auto", "cpu", **inputs) == "torch"


def test_kernels_need_triton(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    backends._installed.cache_clear()
    with pytest.raises(ValueError, match="the package triton, which is not installed"):
        backends.choose("triton", "cpu")
    backends._installed.cache_clear()


def test_kernels_need_a_gpu(monkeypatch):
    _triton = pytest.importorskip("lib.ssm._triton", reason="the kernels need the package triton", exc_type=ImportError)
    monkeypatch.setattr(_triton, "INTERPRETED", False)
    with pytest.raises(ValueError, match=r"a GPU .*, got inputs on cpu"):
        backends.choose("triton", "cpu")


def test_compiled_chunks_run_the_plain_form(monkeypatch):
    """Compiling takes a minute or two on a CPU: here the compiler gives back what it was given."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    monkeypatch.setattr(backends, "_compiled_chunk", functools.cache(backends._compiled_chunk.__wrapped__))
    data = random_inputs()
    y, _ = scan(**data, backend="compile", chunk_length=5)
    assert compiled == [_chunks.one_chunk]
    torch.testing.assert_close(y, scan_sequential(**data)[0], rtol=1e-11, atol=1e-11)


def test_a_compiler_that_fails_is_warned_of(monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(backends, "_compiled_chunk", lambda: fails)
    data = random_inputs()
    with pytest.warns(RuntimeWarning, match=r'backend "compile" .*RuntimeError: no C\+\+ compiler'):
        y, _ = scan(**data, backend="compile")
    torch.testing.assert_close(y, scan_sequential(**data)[0], rtol=1e-11, atol=1e-11)


def test_compiled_chunks_have_one_rank():
    with pytest.raises(ValueError, match='backend = "compile" needs a rank of 1, got 2'):
        backends.choose("compile", "cpu", ranks=2)
