"""The scan: its forms against each other and against loops in numpy, worked numbers, gradients, types, failures."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from lib.ssm import rotation, scan
from lib.ssm._chunks import chunk_scan
from tests.ssm.scan_inputs import SEQUENCE, distance, random_inputs

TOLERANCE = 1e-11
FORMS = [scan.scan_sequential, scan.scan_chunked, scan.scan]


def at(inputs, t):
    return {name: value[:, t] for name, value in inputs.items()}


def between(inputs, start, stop):
    return {name: value[:, start:stop] for name, value in inputs.items()}


def complex_recurrence(x, dt, A, B, C, lam, theta):
    """N / 2 complex cells, in numpy: what the rotation of pairs stands for."""
    x, dt, A, B, C, lam, theta = (value.numpy() for value in (x, dt, A, B, C, lam, theta))
    write, read = B[..., 0::2] + 1j * B[..., 1::2], C[..., 0::2] + 1j * C[..., 1::2]
    rates = np.zeros((*dt.shape, write.shape[-1]))
    rates[..., : theta.shape[-1]] = theta
    h = np.zeros((*dt.shape[:1], dt.shape[2], write.shape[-1], x.shape[-1]), dtype=complex)
    outputs = []
    for t in range(x.shape[1]):
        transition = np.exp(dt[:, t, :, None] * (A[:, t, :, None] + 1j * rates[:, t]))
        if t:
            missed = ((1 - lam[:, t]) * dt[:, t])[..., None] * write[:, t - 1]
            h = h + missed[..., None] * x[:, t - 1, :, None, :]
        h = transition[..., None] * h + ((lam * dt)[:, t, :, None] * write[:, t])[..., None] * x[:, t, :, None, :]
        outputs.append((read[:, t, :, :, None].conj() * h).sum(2).real)
    return torch.as_tensor(np.stack(outputs, 1))


def test_brief_1_all_forms_agree():
    inputs = random_inputs()
    y, state = scan.scan_sequential(**inputs)
    assert float(y.abs().max()) > 10
    assert distance(scan.scan_matrix(**inputs), y) < TOLERANCE
    assert distance(complex_recurrence(**inputs), y) < TOLERANCE
    for form in (scan.scan_chunked, scan.scan):
        for chunk_length in (1, 5, 16, 37, 64):
            assert distance(form(**inputs, chunk_length=chunk_length), (y, state)) < TOLERANCE


def test_brief_1_step_by_step():
    inputs = random_inputs()
    y, final = scan.scan_sequential(**inputs)
    outputs, state = [], None
    for t in range(37):
        out, state = scan.scan_step(**at(inputs, t), state=state)
        outputs.append(out)
    assert distance(torch.stack(outputs, 1), y) < TOLERANCE
    assert distance(state, final) < TOLERANCE


@pytest.mark.parametrize("form", FORMS)
def test_brief_1_a_scan_goes_on_from_a_state(form):
    inputs = random_inputs()
    y, final = scan.scan_sequential(**inputs)
    first, state = form(**between(inputs, 0, 20))
    second, state = form(**between(inputs, 20, 37), initial_state=state)
    assert distance(torch.cat([first, second], 1), y) < TOLERANCE
    assert distance(state, final) < TOLERANCE


def test_brief_2_worked_example():
    def numbers(*values):
        return torch.tensor(values, dtype=torch.float64).reshape(1, 4, 1, -1)

    given = {
        "x": numbers(1, 2, -1, 0.5),
        "dt": numbers(0.5, 1, 0.25, 2)[..., 0],
        "A": numbers(-1, -0.5, -2, -0.1)[..., 0],
        "B": numbers(1, 0, 0, 1, 1, 1, 2, -1),
        "C": numbers(1, 1, 1, -1, 0, 2, 0.5, 0.5),
    }
    lam, theta = numbers(0.5, 0.25, 0.75, 1)[..., 0], numbers(0.3, -0.7, 1.1, 0.2)
    turning = [0.25, 0.354638015268538, 0.0513068100096093, 0.529570573169140]
    still = [0.25, 0.106530659712633, 0.383163324640792, 0.652267997188795]
    euler = [0.5, -1.696734670143683, 1.926122638850534, 0.867201168499965]
    for form in FORMS:
        np.testing.assert_allclose(form(**given, lam=lam, theta=theta)[0].flatten(), turning, atol=1e-14)
        np.testing.assert_allclose(form(**given, lam=lam)[0].flatten(), still, atol=1e-14)
        np.testing.assert_allclose(form(**given)[0].flatten(), euler, atol=1e-14)


@pytest.mark.parametrize("form", [scan.scan_chunked, scan.scan])
def test_brief_3_gradients_of_all_seven_inputs(form):
    inputs = random_inputs(b=1, T=9, H=2, P=2, N=4, M=2)
    leaves = [inputs[name].requires_grad_() for name in SEQUENCE]
    assert torch.autograd.gradcheck(lambda *given: form(*given, chunk_length=4)[0], leaves)

    def with_state(*given):
        y, state = form(*given, chunk_length=4)
        return y, state.h, state.k, state.phase

    assert torch.autograd.gradcheck(with_state, leaves)


def test_the_readable_form_can_be_differentiated_twice():
    inputs = random_inputs(b=1, T=5, H=1, P=1, N=2, M=1)
    leaves = [inputs[name].requires_grad_() for name in SEQUENCE]
    assert torch.autograd.gradgradcheck(lambda *given: scan.scan_chunked(*given, chunk_length=2)[0], leaves)


@pytest.mark.parametrize(("G", "M"), [(4, 3), (2, 4), (1, 0)])
@pytest.mark.parametrize("trapezoid", [True, False])
def test_brief_3_gradients_equal_those_of_the_loop(G, M, trapezoid):
    inputs = random_inputs(H=4, G=G, M=M)
    if not trapezoid:
        del inputs["lam"]
    weights = torch.randn(2, 37, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    reset = torch.zeros(2, 37, dtype=torch.bool)
    reset[0, 11] = reset[1, 30] = True
    more = {"reset": reset, "lengths": torch.tensor([37, 33])}
    _, state = scan.scan(**random_inputs(H=4, G=G, M=M, seed=5))
    start = scan.ScanState(*(value.requires_grad_() for value in state))
    leaves = {name: value.requires_grad_() for name, value in inputs.items()}

    def gradients(form, **options):
        y, after = form(**leaves, initial_state=start, **more, **options)
        loss = (weights * y).sum() + after.h.sin().sum() + after.k.sum()
        return torch.autograd.grad(loss, [*leaves.values(), *start], allow_unused=True)

    wanted = gradients(scan.scan_sequential)
    for form, length in ((scan.scan, 16), (scan.scan, 64), (scan.scan_chunked, 16)):
        for found, right in zip(gradients(form, chunk_length=length), wanted, strict=True):
            if found is None or right is None:  # one form does not touch what has no effect, another does
                assert all(value is None or not value.abs().max() > 0 for value in (found, right) if value is not None)
            else:
                assert distance(found, right) < 1e-11 * max(1, float(right.abs().max()) if right.numel() else 1)


def test_brief_5_width_one_is_the_recurrence_of_mamba_1():
    """Channels as heads of width one, a rate per channel, B and C shared by all: a loop in numpy."""
    inputs = random_inputs(H=5, P=1, G=1, M=0)
    del inputs["lam"]
    x, dt, A, B, C = (inputs[name].numpy() for name in SEQUENCE[:5])
    h, outputs = np.zeros((2, 5, 8)), []
    for t in range(37):
        h = np.exp(dt[:, t] * A[:, t])[..., None] * h + (dt[:, t] * x[:, t, :, 0])[..., None] * B[:, t]
        outputs.append((C[:, t] * h).sum(-1))
    assert distance(scan.scan(**inputs)[0][..., 0], torch.as_tensor(np.stack(outputs, 1))) < TOLERANCE


def test_brief_5_the_trapezoid_is_a_convolution_of_width_two():
    """A plain recurrence, driven by a mix of what the current and the previous token write."""
    inputs = random_inputs(M=0)
    x, dt, A, B, C, lam = (inputs[name] for name in SEQUENCE[:6])
    alpha = torch.exp(dt * A)[..., None, None]
    outer = B[..., None] * x[..., None, :]
    before = torch.cat([torch.zeros_like(outer[:, :1]), outer[:, :-1]], 1)
    mixed = (lam * dt)[..., None, None] * outer + ((1 - lam) * dt)[..., None, None] * alpha * before
    h, outputs = torch.zeros_like(outer[:, 0]), []
    for t in range(37):
        h = alpha[:, t] * h + mixed[:, t]
        outputs.append((C[:, t, ..., None] * h).sum(-2))
    assert distance(scan.scan(**inputs)[0], torch.stack(outputs, 1)) < TOLERANCE


def test_without_decay_it_is_linear_attention():
    inputs = random_inputs(M=0)
    x, B, C = (inputs[name] for name in "xBC")
    ones = torch.ones_like(inputs["dt"])
    scores = torch.einsum("bthn,bshn->bhts", C, B).tril()
    wanted = torch.einsum("bhts,bshp->bthp", scores, x)
    assert distance(scan.scan(x, ones, 0 * ones, B, C)[0], wanted) < TOLERANCE


@pytest.mark.parametrize("form", FORMS)
def test_brief_9_parity_is_exact(form):
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (64, 1000 if form is scan.scan else 100), generator=generator).double()
    bits[:, 0] = 0
    one, zero = torch.ones_like(bits)[..., None], torch.zeros_like(bits)[..., None]
    first = torch.zeros_like(bits)[..., None, None]
    first[:, 0] = 1
    axis = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(*bits.shape, 1, 2)
    y, _ = form(first, one, zero, axis, axis, theta=math.pi * bits[..., None, None])
    parity = 1 - 2 * (bits.cumsum(1) % 2)
    assert torch.equal(y[..., 0, 0], parity)


def test_brief_9_a_counter_modulo_five():
    generator = torch.Generator().manual_seed(0)
    digits = torch.randint(5, (8, 500), generator=generator)
    digits[:, 0] = 0
    one = torch.ones(8, 500, 1, dtype=torch.float64)
    first = torch.zeros(8, 500, 1, 1, dtype=torch.float64)
    first[:, 0] = 1
    write = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(8, 500, 1, 2)
    theta = (2 * math.pi / 5 * digits.double())[..., None, None]
    votes = []
    for k in range(5):
        angle = 2 * math.pi * k / 5
        read = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64).expand(8, 500, 1, 2)
        votes.append(scan.scan(first, one, 0 * one, write, read, theta=theta)[0][..., 0, 0])
    assert torch.equal(torch.stack(votes, -1).argmax(-1), digits.cumsum(1) % 5)


def test_brief_13_single_precision():
    precise = random_inputs(b=1, T=1024)
    single = {name: value.float() for name, value in precise.items()}
    weights = torch.randn(1, 1024, 3, 4, generator=torch.Generator().manual_seed(1))

    def run(form, inputs):
        leaves = [value.clone().requires_grad_() for value in inputs.values()]
        y, _ = form(**dict(zip(inputs, leaves, strict=True)))
        return [y.detach(), *torch.autograd.grad((weights * y).sum(), leaves)]

    # Both see the same numbers: those of single precision.
    wanted = run(scan.scan_sequential, {name: value.double() for name, value in single.items()})
    for found, right in zip(run(scan.scan, single), wanted, strict=True):
        assert found.dtype == torch.float32
        assert distance(found.double(), right) < 1e-5 * float(right.abs().max())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("M", [0, 4])
def test_half_precision_comes_and_goes_but_does_not_stay(half, M):
    inputs = random_inputs(M=M, dtype=torch.float32)
    for name in "xBC":
        inputs[name] = inputs[name].to(half)
    widened = {name: value.float() for name, value in inputs.items()}
    for form in FORMS:
        y, state = form(**inputs)
        wide, wide_state = form(**widened)
        assert y.dtype == half
        assert torch.equal(y, wide.to(half))
        assert [value.dtype for value in state] == [torch.float32] * 3 + [torch.float64]
        assert distance(state, wide_state) == 0
    y, state = scan.scan_step(**at(inputs, 0))
    assert (y.dtype, state.h.dtype) == (half, torch.float32)


def test_all_arguments_may_be_half_precision():
    inputs = random_inputs(dtype=torch.bfloat16)
    y, state = scan.scan(**inputs)
    assert (y.dtype, state.h.dtype) == (torch.bfloat16, torch.float32)
    wide, _ = scan.scan_sequential(**{name: value.double() for name, value in inputs.items()})
    assert distance(y.double(), wide) < 0.01 * float(wide.abs().max())


def test_angles_are_summed_in_double_precision():
    steps = 100_000
    generator = torch.Generator().manual_seed(0)
    theta = 2 * torch.rand(1, steps, 1, 1, generator=generator)
    total = rotation.phases(torch.ones(1, steps, 1), theta)
    exact = math.fsum(theta.flatten().tolist())
    assert total.dtype == torch.float64
    assert float(total[0, -1]) == pytest.approx(exact, abs=1e-9)
    assert abs(float(theta.flatten().cumsum(0)[-1]) - exact) > 1e-3  # what single precision would have lost
    assert abs(math.remainder(float(rotation.wrap(total[0, -1])) - exact, 2 * math.pi)) < 1e-9


def test_strong_decay_gives_no_nan():
    inputs = random_inputs(T=130)
    inputs["A"] = torch.where(inputs["lam"] > 0.6, -1e5, inputs["A"])
    wanted = scan.scan_sequential(**inputs)
    for form in (scan.scan_chunked, scan.scan):
        assert distance(form(**inputs), wanted) < TOLERANCE
    single = {name: value.float().requires_grad_() for name, value in inputs.items()}
    y, _ = scan.scan(**single)
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(y.sum(), list(single.values())))


def test_a_weight_of_zero_has_its_gradient():
    """lam = 0 everywhere: a token writes nothing until the next one, and the last never."""
    inputs = random_inputs(M=0)
    inputs["lam"] = torch.zeros_like(inputs["lam"]).requires_grad_()
    found = [torch.autograd.grad(form(**inputs)[0].sin().sum(), inputs["lam"])[0] for form in FORMS]
    assert distance(found[0], found[1]) < TOLERANCE
    assert distance(found[0], found[2]) < TOLERANCE


def test_shared_angles_and_groups_are_those_written_out():
    inputs = random_inputs(H=4, G=2)
    inputs["theta"] = inputs["theta"][:, :, :1]
    written = inputs | {name: inputs[name].repeat_interleave(2, dim=2) for name in "BC"}
    written["theta"] = inputs["theta"].expand(-1, -1, 4, -1)
    for form in FORMS:
        assert distance(form(**inputs), form(**written)) < TOLERANCE
    assert distance(scan.scan_matrix(**inputs), scan.scan_matrix(**written)) < TOLERANCE
    assert distance(scan.scan_step(**at(inputs, 3)), scan.scan_step(**at(written, 3))) < TOLERANCE


def test_the_core_takes_half_precision_as_it_comes():
    """Backends receive x, B and C in the type of the caller."""
    inputs = random_inputs(M=0, dtype=torch.float32)
    x, B, C = (inputs[name].bfloat16() for name in "xBC")
    h = torch.zeros(2, 3, 8, 4)
    y, _ = chunk_scan(x, inputs["dt"] * inputs["A"], inputs["dt"], inputs["dt"], B, C, h, 16)
    assert y.dtype == torch.float32
    assert torch.equal(y.bfloat16(), scan.scan_chunked(x, inputs["dt"], inputs["A"], B, C, chunk_length=16)[0])


def test_the_gradient_is_taken_where_memory_is_not_contiguous():
    inputs = random_inputs()
    turned = {name: value.transpose(0, 1).contiguous().transpose(0, 1) for name, value in inputs.items()}
    assert not turned["x"].is_contiguous()
    leaves = [value.requires_grad_() for value in turned.values()]
    y, state = scan.scan(**turned)
    found = torch.autograd.grad(y.sum() + state.h.sum(), leaves)
    y, state = scan.scan_sequential(**turned)
    for one, other in zip(found, torch.autograd.grad(y.sum() + state.h.sum(), leaves), strict=True):
        assert distance(one, other) < TOLERANCE


def test_skipping_the_look_at_values_changes_nothing_else():
    inputs = random_inputs()
    assert distance(scan.scan(**inputs, validate=False), scan.scan(**inputs)) == 0
    backwards = inputs | {"dt": -inputs["dt"]}
    with pytest.raises(ValueError, match=r"dt must be positive, got -"):
        scan.scan(**backwards)
    scan.scan(**backwards, validate=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"B": torch.ones(2, 37, 3, 7).double(), "C": torch.ones(2, 37, 3, 7).double()}, "B must have an even number"),
        ({"theta": torch.ones(2, 37, 3, 5).double()}, "theta must have at most N / 2 = 4 angles"),
        ({"theta": torch.ones(2, 37, 2, 4).double()}, "theta must have shape"),
        ({"B": torch.ones(2, 37, 2, 8).double()}, "G dividing 3"),
        ({"C": torch.ones(2, 37, 1, 8).double()}, r"C must have the shape \(2, 37, 3, 8\) of B"),
        ({"x": torch.ones(2, 0, 3, 4).double()}, "x must have shape .* with nothing empty"),
        ({"dt": torch.ones(2, 36, 3).double()}, r"dt must have the shape \(2, 37, 3\) of x"),
        (
            {"x": torch.ones(2, 37, 3, 4), "B": torch.ones(2, 37, 3, 8), "C": torch.ones(2, 37, 3, 8)},
            "x and dt must share",
        ),
        ({"B": torch.ones(2, 37, 3, 8)}, "x and B and C must share one dtype"),
        ({"lengths": torch.tensor([0, 37])}, "lengths must be from 1 to 37, got 0"),
    ],
)
def test_failures_say_what_is_allowed(changes, message):
    with pytest.raises(ValueError, match=message):
        scan.scan(**random_inputs() | changes)


def test_a_state_of_another_shape_is_refused():
    inputs = random_inputs()
    _, state = scan.scan(**inputs)
    with pytest.raises(ValueError, match=r"initial_state.phase must be a tensor of shape \(2, 3, 0\)"):
        scan.scan(**{**inputs, "theta": None}, initial_state=state)
    with pytest.raises(ValueError, match=r"initial_state.h must be torch.float64 on cpu, got torch.float32"):
        scan.scan(**inputs, initial_state=state._replace(h=state.h.float()))


def test_a_step_length_from_softplus_may_be_small():
    inputs = random_inputs()
    inputs["dt"] = softplus(torch.full_like(inputs["dt"], -30.0))
    assert distance(scan.scan(**inputs)[0], scan.scan_sequential(**inputs)[0]) < 1e-20
