"""The Triton kernels of the selective scan, run by Triton's interpreter, against the loop in float64."""

import pytest
import torch

from lib.ssm.selective import selective_scan

pytest.importorskip("triton", reason="the kernels need the package triton, which is not installed")

from lib.ssm import _triton
from lib.ssm._selective_triton import SPAN, selective_scan_triton

# TRITON_INTERPRET=0 on a machine with a GPU tests the compiled kernels.
DEVICE = "cpu" if _triton.INTERPRETED else "cuda"
pytestmark = pytest.mark.usefixtures("poison")


def inputs(b, T, D, N):
    generator = torch.Generator().manual_seed(0)
    sizes = [(b, T, D), (b, T, D), (D, N), (b, T, N), (b, T, N), (b, D, N)]
    x, dt, A, B, C, h = (torch.randn(*size, generator=generator) for size in sizes)
    return x, torch.nn.functional.softplus(dt), -A.exp(), B, C, h


def compare(data, reset, tolerance):
    """Largest relative distance of outputs and gradients from those of the loop in float64."""
    single = [value.to(DEVICE).requires_grad_() for value in data]
    double = [value.detach().double().requires_grad_() for value in single]
    reset = None if reset is None else reset.to(DEVICE)
    found = selective_scan_triton(*single, reset)
    expected = selective_scan(*double[:5], initial_state=double[5], reset=reset, method="sequential")
    generator = torch.Generator().manual_seed(1)
    arrived = [torch.randn(out.shape, generator=generator).to(out) for out in found]
    slopes = torch.autograd.grad(found, single, arrived)
    wanted = torch.autograd.grad(expected, double, [value.double() for value in arrived])
    assert [slope.dtype for slope in slopes] == [value.dtype for value in data]
    pairs = zip((*found, *slopes), (*expected, *wanted), strict=True)
    assert max(((value.double() - other).norm() / other.norm()).item() for value, other in pairs) < tolerance


@pytest.mark.parametrize(
    ("b", "T", "D", "N"), [(2, SPAN + 5, 3, 5), (1, SPAN, 40, 16), (1, 1, 2, 1)], ids=["ragged", "two blocks", "one"]
)
def test_kernels_follow_the_recurrence_with_all_their_gradients(b, T, D, N):
    compare(inputs(b, T, D, N), None, 1e-5)


def test_packed_sequences_forget():
    reset = torch.zeros(2, SPAN + 5, dtype=torch.bool)
    reset[0, 5] = reset[0, SPAN] = reset[1, SPAN - 1] = True
    compare(inputs(2, SPAN + 5, 3, 5), reset, 1e-5)


def test_half_precision_comes_and_goes():
    """bfloat16 outputs are off by up to 2^-9; what is summed is float32."""
    x, dt, A, B, C, h = inputs(1, 20, 3, 5)
    compare((x.bfloat16(), dt.bfloat16(), A, B.bfloat16(), C.bfloat16(), h), None, 5e-3)


def test_without_gradients_no_states_are_kept():
    data = [value.to(DEVICE) for value in inputs(1, 20, 3, 5)]
    y, h = selective_scan_triton(*data, None)
    with_gradients = selective_scan_triton(*(value.requires_grad_() for value in data), None)
    assert torch.equal(y, with_gradients[0]) and torch.equal(h, with_gradients[1])
