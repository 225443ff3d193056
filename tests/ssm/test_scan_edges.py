"""The scan where callers are careless: memory laid out oddly, mixed precision, torch.func, padding with marks, decays
that leave nothing."""

import pytest
import torch
from torch.autograd import forward_ad

from lib.ssm import mimo, rotation, scan, selective
from tests.ssm.scan_inputs import random_inputs

FORMS = [scan.scan_sequential, scan.scan_chunked, scan.scan]
RANKED = [mimo.mimo_scan_sequential, mimo.mimo_scan_chunked]
ONCE = [(scan.scan, None), (mimo.mimo_scan_chunked, 2)]


def distance(left, right):
    return max(float((a.detach().double() - b.detach().double()).abs().max()) for a, b in zip(left, right, strict=True))


def gradients(form, inputs, **options):
    leaves = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    y, state = form(**leaves, **options)
    return torch.autograd.grad(y.square().sum() + state.h.sum(), list(leaves.values()))


def beside(value):
    """The same numbers one place to the right of where memory is aligned for pairs."""
    wider = torch.zeros(*value.shape[:-1], value.shape[-1] + 1, dtype=value.dtype)
    wider[..., 1:] = value
    return wider[..., 1:]


@pytest.mark.parametrize("form", FORMS)
def test_pairs_need_no_alignment(form):
    inputs = random_inputs(T=9)
    expected = form(**inputs)[0]
    assert distance([form(**{name: beside(value) for name, value in inputs.items()})[0]], [expected]) < 1e-12


def test_gradients_that_arrive_without_alignment_are_taken():
    inputs = random_inputs(T=9)
    weights = beside(torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    found, expected = [], []
    for form, results in ((scan.scan, found), (scan.scan_sequential, expected)):
        leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
        y, state = form(**leaves)
        results += torch.autograd.grad((state.k * weights).sum() + y.sum(), list(leaves.values()))
    assert distance(found, expected) < 1e-11


def test_vectors_that_begin_at_an_odd_place_are_turned():
    v, angle = torch.arange(9.0)[1:], torch.ones(4)
    assert torch.equal(rotation.rotate_pairs(v, angle), rotation.rotate_pairs(v.clone(), angle))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_vectors_of_half_precision_are_turned(half):
    v, angle = torch.arange(8.0), torch.linspace(-3, 3, 4)
    turned = rotation.rotate_pairs(v.to(half), angle.to(half))
    assert turned.dtype == half
    assert distance([turned], [rotation.rotate_pairs(v, angle.to(half).float())]) < 0.05


@pytest.mark.parametrize("form", FORMS + RANKED)
def test_marks_in_the_padding_start_nothing(form):
    inputs = random_inputs(T=6, R=2 if form in RANKED else None)
    lengths, reset = torch.tensor([3, 6]), torch.tensor([[0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 0, 0]], dtype=torch.bool)
    y, state = form(**inputs, lengths=lengths, reset=reset)
    alone = form(**{name: value[:1, :3] for name, value in inputs.items()}, reset=reset[:1, :3])
    assert distance([y[:1, :3]], [alone[0]]) < 1e-12
    assert distance([part[:1] for part in state], alone[1]) < 1e-12


@pytest.mark.parametrize("form", [scan.scan, scan.scan_chunked, mimo.mimo_scan_chunked])
@pytest.mark.parametrize("M", [0, 4])
def test_a_state_does_not_hold_on_to_the_tokens(form, M):
    inputs = random_inputs(T=30, M=M, R=2 if form in RANKED else None)
    for part in form(**inputs)[1]:
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


@pytest.mark.parametrize("form", FORMS + RANKED)
def test_automatic_mixed_precision_leaves_scans_alone(form):
    inputs = random_inputs(T=9, R=2 if form in RANKED else None, dtype=torch.float32)
    leaves = {name: value.requires_grad_() for name, value in inputs.items()}
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y, state = form(**leaves)
        results.append([y, *state, *torch.autograd.grad(y.square().sum() + state.h.sum(), list(leaves.values()))])
    assert distance(*results) == 0


@pytest.mark.parametrize(("step", "R"), [(scan.scan_step, None), (mimo.mimo_step, 2)])
def test_automatic_mixed_precision_leaves_steps_alone(step, R):
    token = {name: value[:, 0] for name, value in random_inputs(T=1, R=R, dtype=torch.float32).items()}
    _, state = step(**token)
    expected = step(**token, state=state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = step(**token, state=state)
    assert distance([found[0], *found[1]], [expected[0], *expected[1]]) == 0


@pytest.mark.parametrize("method", ["sequential", "parallel", "chunked"])
def test_automatic_mixed_precision_leaves_the_selective_scan_alone(method):
    generator = torch.Generator().manual_seed(0)
    x, dt = torch.randn(2, 9, 3, generator=generator), torch.rand(2, 9, 3, generator=generator) + 0.1
    A, B = -torch.rand(3, 4, generator=generator), torch.randn(2, 9, 4, generator=generator)
    expected = selective.selective_scan(x, dt, A, B, B, method=method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert distance(selective.selective_scan(x, dt, A, B, B, method=method), expected) == 0


@pytest.mark.parametrize(("form", "R"), ONCE)
def test_a_second_derivative_is_refused_before_a_part_of_it_is_lost(form, R):
    inputs = random_inputs(T=5, R=R)
    x = inputs.pop("x").requires_grad_()
    y, _ = form(x, **inputs)
    with pytest.raises(RuntimeError, match="taken once"):
        torch.autograd.grad(y.square().sum(), x, create_graph=True)


@pytest.mark.parametrize(("form", "R"), ONCE)
def test_functional_transforms(form, R):
    inputs = random_inputs(T=5, R=R)
    x = inputs.pop("x")

    def total(x):
        return form(x, **inputs, validate=False)[0].square().sum()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(total(leaf), leaf)
    assert distance([torch.func.grad(total)(x)], [expected]) < 1e-10
    several = torch.func.vmap(total)(torch.stack([x, 2 * x]))
    assert distance([several], [torch.stack([total(x), total(2 * x)])]) < 1e-10
    with forward_ad.dual_level():
        slope = forward_ad.unpack_dual(total(forward_ad.make_dual(x, x))).tangent
    assert distance([slope[None]], [(expected * x).sum()[None]]) < 1e-10


def test_cancellation_does_not_pass_for_a_gradient():
    """Where a step leaves nothing of the state, a large rate must not blow up the rounding of sums that cancel."""
    inputs = random_inputs()
    inputs |= {"A": torch.full_like(inputs["A"], -1e4), "dt": torch.full_like(inputs["dt"], 0.01)}
    expected = gradients(scan.scan_sequential, inputs)
    found = gradients(scan.scan, {name: value.float() for name, value in inputs.items()})
    for value, wanted in zip(found, expected, strict=True):
        assert distance([value], [wanted]) < 2e-6 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("form", FORMS)
def test_many_turns_in_one_step_keep_their_angle(form):
    inputs = random_inputs(T=9)
    inputs |= {"dt": 1e4 * inputs["dt"], "A": 1e-6 * inputs["A"]}
    single = {name: value.float() for name, value in inputs.items()}
    expected, _ = scan.scan_sequential(**{name: value.double() for name, value in single.items()})
    assert distance([form(**single)[0]], [expected]) < 1e-5 * float(expected.abs().max())
