"""The Triton kernels of the chunked scan, run by Triton's interpreter, against the recurrence in float64.

The interpreter shows what the kernels compute, not what a compiler makes of them: a test at the end compiles them for a
GPU, as far as that goes without one, and :mod:`lib.ssm.backends` compares them with plain torch where they are used.
"""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.site.layout import ROOT
from lib.ssm.mimo import mimo_scan_chunked, mimo_scan_sequential
from lib.ssm.scan import scan, scan_sequential
from tests.ssm.scan_inputs import pieces, random_inputs

pytest.importorskip("triton", reason="the kernels need the package triton, which is not installed")

from lib.ssm import _triton

# TRITON_INTERPRET=0 on a machine with a GPU tests the compiled kernels.
DEVICE = "cpu" if _triton.INTERPRETED else "cuda"
pytestmark = pytest.mark.usefixtures("poison")
TOLERANCE = 1e-5


def tile(**changes):
    return _triton.Tiles(Q=16, BN=16, BP=16, every=2, warps=4, stages=1, precision="ieee")._replace(**changes)


def normal(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def distance(value, reference):
    """Relative to the size of the reference."""
    return ((value.double() - reference).norm() / reference.norm()).item()


def largest(values, references):
    """Of the distances of pairs."""
    return max(distance(value.detach(), other.detach()) for value, other in zip(values, references, strict=True))


def gradients(outputs, inputs, seed=1):
    """Of a fixed random sum of the outputs."""
    draw = normal(seed)
    arrived = [draw(*out.shape).to(out) for out in outputs]
    return torch.autograd.grad(outputs, list(inputs), arrived)


def leaves(tensors, dtype):
    return [value.detach().to(DEVICE, dtype).requires_grad_() for value in tensors]


# --- The kernels alone -------------------------------------------------------------------------------------------


def recurrence(x, log_decay, later, now, B, C, h):
    """h_t = e^(log_decay_t) h_(t-1) + later_t B_t x_t^T, read with another weight of the token itself."""
    members = x.shape[2] // B.shape[2]
    B, C = (value.repeat_interleave(members, dim=2) for value in (B, C))
    outputs = []
    for t in range(x.shape[1]):
        forgotten = log_decay[:, t].exp()[..., None, None] * h
        written = torch.einsum("bhrn,bhrp->bhnp", B[:, t], x[:, t])
        outputs.append(torch.einsum("bhrn,bhnp->bhrp", C[:, t], forgotten + now[:, t, :, None, None] * written))
        h = forgotten + later[:, t, :, None, None] * written
    return torch.stack(outputs, 1), h


def problem(b=2, T=37, H=2, G=1, N=8, P=4, R=1, decay=1.0, reset=False):
    draw = normal(0)
    x, B, C = draw(b, T, H, R, P), draw(b, T, G, R, N), draw(b, T, G, R, N)
    log_decay, later, now = -decay * draw(b, T, H).abs(), draw(b, T, H), draw(b, T, H)
    if reset:  # twice in one chunk, at the start of one, and for one head alone
        log_decay[0, 5] = log_decay[0, 9] = log_decay[1, 16] = log_decay[1, 3, 0] = -torch.inf
    return x, log_decay, later, now, B, C, draw(b, H, N, P)


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ({}, {}),
        ({"T": 32}, {}),
        ({"T": 1}, {}),
        ({"T": 75, "b": 1}, {"Q": 32, "every": 1}),
        ({"P": 20, "N": 20, "b": 1}, {"BN": 32}),
        ({"H": 4, "G": 2, "T": 20}, {}),
        ({"H": 2, "G": 2, "T": 20, "N": 16, "P": 16}, {"every": 8}),
        ({"reset": True}, {}),
        ({"reset": True, "R": 4, "T": 20}, {}),
        ({"R": 2, "P": 20, "G": 2, "b": 1}, {}),
    ],
    ids=lambda value: "-".join(f"{name}={size}" for name, size in value.items()) or "usual",
)
def test_kernels_follow_the_recurrence_with_all_their_gradients(sizes, cut):
    data = problem(**sizes)
    single, double = leaves(data, torch.float32), leaves(data, torch.float64)
    found = _triton.chunk_scan(*single, resets=sizes.get("reset", False), cut=tile(**cut))
    expected = recurrence(*double)
    assert largest(found, expected) < TOLERANCE
    assert largest(gradients(found, single), gradients(expected, double)) < TOLERANCE


def test_cutting_otherwise_changes_nothing():
    data = leaves(problem(T=50, P=20, b=1), torch.float32)
    y, h = _triton.chunk_scan(*data, resets=False, cut=tile())
    for other in (tile(Q=32), tile(BP=32), tile(BN=32), tile(every=100)):
        z, g = _triton.chunk_scan(*data, resets=True, cut=other)
        assert largest([z, g], [y.double(), h.double()]) < 1e-6


def test_strong_and_weak_decays_in_one_chunk_keep_their_digits():
    """Differences of running sums of some hundreds are as exact as the decays themselves."""
    data = problem(T=32, b=1)
    data[1][:, ::2] = -60.0
    data[1][:, 1::2] = -1e-3
    y, _ = _triton.chunk_scan(*leaves(data, torch.float32), cut=tile(Q=32))
    expected, _ = recurrence(*leaves(data, torch.float64))
    assert largest([y], [expected]) < 1e-6


def test_no_gradient_of_a_log_decay_that_leaves_nothing():
    """There the sums, which cancel, hold nothing but their rounding."""
    data = problem(T=20, b=1, decay=0.1)
    data[1][:, ::2] = -60.0
    single, double = leaves(data, torch.float32), leaves(data, torch.float64)
    _, found, *_ = gradients(_triton.chunk_scan(*single, cut=tile()), single)
    _, expected, *_ = gradients(recurrence(*double), double)
    assert (found[:, ::2] == 0).all()
    assert largest([found], [expected]) < TOLERANCE


def test_half_precision_comes_and_goes_and_the_state_stays_single():
    """bfloat16 has 8 binary digits: numbers are off by up to 2^-9, and what the interpreter rounds by 2^-8."""
    halves = [torch.bfloat16 if name in (0, 4, 5) else torch.float32 for name in range(7)]  # x, B and C
    single = [value.to(DEVICE, kind).requires_grad_() for value, kind in zip(problem(), halves, strict=True)]
    double = leaves(single, torch.float64)
    found, expected = _triton.chunk_scan(*single, cut=tile()), recurrence(*double)
    assert [out.dtype for out in found] == [torch.bfloat16, torch.float32]
    assert largest(found, expected) < 1e-2
    slopes = gradients(found, single)
    assert [slope.dtype for slope in slopes] == halves
    assert largest(slopes, gradients(expected, double)) < 1e-2


def test_the_future_does_not_reach_the_past():
    data = [value.to(DEVICE) for value in problem(b=1, T=40)]
    y, _ = _triton.chunk_scan(*data, cut=tile())
    for value in data[:6]:
        value[:, 21:] = torch.randn(1, generator=torch.Generator().manual_seed(3))
    z, _ = _triton.chunk_scan(*data, cut=tile())
    assert torch.equal(y[:, :21], z[:, :21])


@settings(max_examples=200)
@given(
    heads=st.integers(1, 4096),
    time=st.integers(1, 100_000),
    N=st.integers(1, 256),
    P=st.integers(1, 256),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    capability=st.sampled_from([(7, 5), (8, 0), (9, 0), (10, 0), (12, 0)]),
)
def test_tiles_fit_the_chip(heads, time, N, P, dtype, capability):
    """Powers of two from 16 on, a state in a third of the registers, one pipeline stage where more went wrong."""
    cut = _triton.tiles(heads, time, N, P, dtype, capability)
    for side in (cut.Q, cut.BN, cut.BP):
        assert side >= 16 and side & (side - 1) == 0
    assert cut.BN >= N
    registers = 32 * cut.warps * 255
    assert registers / 3 >= cut.BN * cut.BP
    assert dtype.itemsize * cut.stages * cut.Q * (2 * cut.BN + 2 * cut.BP) <= 100 * 1024
    assert cut.stages == 1 or capability in ((8, 0), (9, 0))
    assert cut.Q * cut.every <= 512


# --- Through the scan --------------------------------------------------------------------------------------------


def parameters(inputs, dtype):
    return dict(zip(inputs, leaves(inputs.values(), dtype), strict=True))


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({}, {}),
        ({"M": 0}, {}),
        ({}, {"reset": torch.arange(37).eq(11).expand(2, 37)}),
        ({}, {"lengths": torch.tensor([37, 20])}),
    ],
    ids=["all", "no rotation", "packed", "padded"],
)
def test_the_scan_by_kernels_is_the_sequential_one(sizes, options):
    inputs = random_inputs(H=4, G=2, P=6, **sizes)
    options = {name: value.to(DEVICE) for name, value in options.items()}
    single, double = parameters(inputs, torch.float32), parameters(inputs, torch.float64)
    y, state = scan(**single, backend="triton", **options)
    expected, final = scan_sequential(**double, **options)
    found, wanted = (y, state.h, state.k, state.v), (expected, final.h, final.k, final.v)
    assert largest(found, wanted) < TOLERANCE
    assert largest(gradients(found, single.values()), gradients(wanted, double.values())) < TOLERANCE


def test_the_rule_of_mamba_2_needs_no_trapezoid():
    inputs = random_inputs(M=0)
    del inputs["lam"]
    y, _ = scan(**parameters(inputs, torch.float32), backend="triton")
    expected, _ = scan_sequential(**parameters(inputs, torch.float64))
    assert largest([y], [expected]) < TOLERANCE


def test_going_on_from_a_state_is_one_long_scan():
    inputs = parameters(random_inputs(b=1, G=1), torch.float32)
    whole, last = scan(**inputs, backend="triton")
    _, middle = scan(**pieces(inputs, slice(None), slice(20)), backend="triton")
    rest, state = scan(**pieces(inputs, slice(None), slice(20, None)), backend="triton", initial_state=middle)
    assert largest([rest, state.h], [whole[:, 20:].double(), last.h.double()]) < TOLERANCE
    through, once = gradients([rest], inputs.values()), gradients([whole[:, 20:]], inputs.values())
    assert largest(through, [value.double() for value in once]) < TOLERANCE


def test_several_inputs_and_outputs_are_rows_of_a_chunk():
    inputs = random_inputs(b=1, T=20, G=1, R=4)
    single, double = parameters(inputs, torch.float32), parameters(inputs, torch.float64)
    y, state = mimo_scan_chunked(**single, backend="triton")
    expected, final = mimo_scan_sequential(**double)
    assert largest([y, state.h], [expected, final.h]) < TOLERANCE
    found, wanted = gradients([y, state.h], single.values()), gradients([expected, final.h], double.values())
    assert largest(found, wanted) < TOLERANCE


# --- Compiled without a GPU --------------------------------------------------------------------------------------

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import torch
from lib.ssm import _triton, _triton_kernels

cut = _triton.tiles(256, 4096, 128, 64, torch.bfloat16)
fixed = dict(N=128, P=64, R=1, Q=cut.Q, BN=cut.BN, BP=cut.BP, HAS_RESET=True, PRECISION=cut.precision)
half = ("x", "B", "C", "y", "d_y", "d_x", "d_B", "d_C")
whole = ("T", "H", "G", "chunks", "every", "batches")
for name in _triton_kernels.__all__:
    kernel = getattr(_triton_kernels, name)
    kinds = {a: "constexpr" if a in fixed else "i32" if a in whole else "*bf16" if a in half else "*fp32"
             for a in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, a in enumerate(kernel.arg_names) if a not in fixed}
    source = ASTSource(kernel, kinds, fixed, aligned)
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(num_warps=4, num_stages=cut.stages))
    print(name, built.metadata.shared, built.asm["ptx"].count("wgmma.mma_async"))
"""


def test_kernels_compile_for_a_gpu_and_fit_its_shared_memory(tmp_path):
    """For compute capability 9.0: two programs share the 227 KiB of a multiprocessor and use its matrix units."""
    environment = dict(os.environ, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path), TRITON_DEFAULT_FP_FUSION="1")
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _, _ in lines] == ["forward", "read_gradient", "write_gradient"]
    assert all(0 < int(shared) <= 227 * 1024 // 2 and int(products) > 0 for _, shared, products in lines)
