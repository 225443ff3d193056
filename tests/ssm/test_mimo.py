"""Several inputs and outputs a head: against the loop, against scans with one, gradients, types."""

import pytest
import torch

from lib.ssm import mimo, scan
from tests.ssm.scan_inputs import SEQUENCE, distance, random_inputs

TOLERANCE = 1e-11


@pytest.mark.parametrize("G", [3, 1])
@pytest.mark.parametrize("chunk_length", [None, 1, 5, 21, 64])
def test_brief_4_chunks_equal_the_loop(G, chunk_length):
    inputs = random_inputs(R=3, G=G)
    found = mimo.mimo_scan_chunked(**inputs, chunk_length=chunk_length)
    assert distance(found, mimo.mimo_scan_sequential(**inputs)) < TOLERANCE


@pytest.mark.parametrize("form", [mimo.mimo_scan_chunked, mimo.mimo_scan_sequential])
def test_brief_4_it_is_the_sum_of_all_scans_with_one_input_and_output(form):
    inputs = random_inputs(R=3)
    y, _ = form(**inputs)
    for read in range(3):
        parts = []
        for write in range(3):
            one = {"x": inputs["x"][..., write], "B": inputs["B"][..., write], "C": inputs["C"][..., read]}
            parts.append(scan.scan_sequential(**inputs | one)[0])
        assert distance(y[..., read], sum(parts)) < TOLERANCE


@pytest.mark.parametrize("form", [mimo.mimo_scan_chunked, mimo.mimo_scan_sequential])
def test_brief_4_rank_one_is_the_scan(form):
    inputs = random_inputs()
    ranked = inputs | {name: inputs[name][..., None] for name in ("x", "B", "C")}
    y, state = form(**ranked)
    wanted, wanted_state = scan.scan_sequential(**inputs)
    assert distance(y[..., 0], wanted) < TOLERANCE
    found = state.h, state.k[..., 0], state.v[..., 0], state.phase
    assert distance(found, tuple(wanted_state)) < TOLERANCE


def test_step_by_step():
    inputs = random_inputs(R=3, H=4, G=2)
    y, final = mimo.mimo_scan_sequential(**inputs)
    outputs, state = [], None
    for t in range(37):
        out, state = mimo.mimo_step(**{name: value[:, t] for name, value in inputs.items()}, state=state)
        outputs.append(out)
    assert distance(torch.stack(outputs, 1), y) < TOLERANCE
    assert distance(state, final) < TOLERANCE


@pytest.mark.parametrize(("G", "M", "trapezoid"), [(4, 4, True), (2, 0, True), (1, 0, False)])
def test_gradients_equal_those_of_the_loop(G, M, trapezoid):
    inputs = random_inputs(R=2, H=4, G=G, M=M)
    if not trapezoid:
        del inputs["lam"]
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(inputs["x"].shape, generator=generator, dtype=torch.float64)
    _, state = mimo.mimo_scan_sequential(**random_inputs(R=2, H=4, G=G, M=M, seed=7))
    more = {"lengths": torch.tensor([37, 30]), "reset": torch.zeros(2, 37, dtype=torch.bool), "initial_state": state}
    more["reset"][1, 9] = True
    leaves = {name: value.requires_grad_() for name, value in inputs.items()}

    def gradients(form):
        y, after = form(**leaves, **more)
        return torch.autograd.grad((weights * y).sum() + after.h.sin().sum(), list(leaves.values()))

    wanted = gradients(mimo.mimo_scan_sequential)
    for found, right in zip(gradients(mimo.mimo_scan_chunked), wanted, strict=True):
        assert distance(found, right) < TOLERANCE * max(1, float(right.abs().max()))


def test_gradcheck():
    inputs = random_inputs(b=1, T=7, H=2, P=2, N=4, M=2, R=2)
    leaves = [inputs[name].requires_grad_() for name in SEQUENCE]
    assert torch.autograd.gradcheck(lambda *given: mimo.mimo_scan_chunked(*given, chunk_length=3)[0], leaves)


def test_single_and_half_precision():
    precise = random_inputs(b=1, T=512, R=4)
    single = {name: value.float() for name, value in precise.items()}
    wanted, _ = mimo.mimo_scan_sequential(**{name: value.double() for name, value in single.items()})
    found, _ = mimo.mimo_scan_chunked(**single)
    assert distance(found.double(), wanted) < 1e-5 * float(wanted.abs().max())
    for name in ("x", "B", "C"):
        single[name] = single[name].bfloat16()
    y, state = mimo.mimo_scan_chunked(**single)
    assert [y.dtype, *(value.dtype for value in state)] == [torch.bfloat16, *[torch.float32] * 3, torch.float64]


def test_ranks_have_to_agree():
    inputs = random_inputs(R=3)
    with pytest.raises(
        ValueError, match=r"B must have shape \(2, 37, G, N, 3\) with G dividing 3, got \(2, 37, 3, 8\)"
    ):
        mimo.mimo_scan_chunked(**inputs | {"B": inputs["B"][..., 0]})
    with pytest.raises(ValueError, match=r"x must have shape \(b, T, H, P, R\) with nothing empty"):
        mimo.mimo_scan_chunked(**random_inputs())
    with pytest.raises(ValueError, match=r"x must have shape \(b, T, H, P\) with nothing empty"):
        scan.scan(**inputs)
