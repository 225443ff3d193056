"""Selective scan of Mamba-1: four ways against each other and a scalar loop, gradients, invariants, types."""

import math
import sys
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.ssm import _selective_autograd, scan, selective
from tests.absent import without_numba

METHODS = ("sequential", "parallel", "chunked", "numba")
NAMES = ("x", "dt", "A", "B", "C", "D", "initial_state")


def example(batch=2, tokens=75, channels=3, size=5, seed=0, dtype=torch.float64):
    """Arguments in the brief's distribution, as a dictionary."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    values = {
        "x": normal(batch, tokens, channels),
        "dt": torch.nn.functional.softplus(normal(batch, tokens, channels)),
        "A": -torch.exp(normal(channels, size)),
        "B": normal(batch, tokens, size),
        "C": normal(batch, tokens, size),
        "D": normal(channels),
        "initial_state": normal(batch, channels, size),
    }
    return {name: value.to(dtype) for name, value in values.items()}


def resets(batch, tokens, seed=1):
    return torch.rand(batch, tokens, generator=torch.Generator().manual_seed(seed)) < 0.1


def by_hand(x, dt, A, B, C, D, initial_state, reset=None):
    """The formula, number by number."""
    batch, tokens, channels = x.shape
    size = A.shape[1]
    y, last = torch.zeros_like(x), initial_state.clone()
    for i in range(batch):
        for c in range(channels):
            h = initial_state[i, c].tolist()
            for t in range(tokens):
                if reset is not None and reset[i, t]:
                    h = [0.0] * size
                step, value = float(dt[i, t, c]), float(x[i, t, c])
                h = [math.exp(step * float(A[c, n])) * h[n] + step * float(B[i, t, n]) * value for n in range(size)]
                y[i, t, c] = sum(float(C[i, t, n]) * h[n] for n in range(size)) + float(D[c]) * value
            last[i, c] = torch.tensor(h, dtype=x.dtype)
    return y, last


def with_gradients(arguments, method, reset=None, seed=2):
    """Outputs and the gradients of a random combination of them."""
    leaves = {name: value.detach().requires_grad_() for name, value in arguments.items()}
    y, state = selective.selective_scan(**leaves, reset=reset, method=method)
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out) for out in (y, state)]
    gradients = torch.autograd.grad((y, state), tuple(leaves.values()), weights)
    return {"y": y.detach(), "state": state.detach(), **dict(zip(leaves, gradients))}


def gap(found, expected):
    """Largest difference, relative to the largest entry."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_every_way_follows_the_formula(method, packed):
    arguments = example(tokens=37)
    reset = resets(2, 37) if packed else None
    y, state = selective.selective_scan(**arguments, reset=reset, method=method)
    expected, last = by_hand(**arguments, reset=reset)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-11)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("tokens", [1, 31, 32, 33, 75])
@pytest.mark.parametrize("method", METHODS[1:])
def test_outputs_and_gradients_equal_those_of_the_loop(method, tokens, packed):
    arguments = example(tokens=tokens)
    reset = resets(2, tokens) if packed else None
    expected = with_gradients(arguments, "sequential", reset)
    found = with_gradients(arguments, method, reset)
    single = with_gradients({name: value.float() for name, value in arguments.items()}, method, reset)
    for name, value in expected.items():
        assert gap(found[name], value) < 1e-11, name
        assert gap(single[name], value) < 1e-5, name
        assert single[name].dtype == torch.float32


def test_gradients_of_long_float32_sequences():
    arguments = example(2, 1024, 8, 16)
    expected = with_gradients(arguments, "sequential")
    single = {name: value.float() for name, value in arguments.items()}
    for method in METHODS[1:]:
        for name, value in with_gradients(single, method).items():
            assert gap(value, expected[name]) < 1e-5, (method, name)


@pytest.mark.parametrize("method", METHODS)
def test_gradcheck(method, monkeypatch):
    monkeypatch.setattr(_selective_autograd, "CHUNK", 4)
    leaves = [value.requires_grad_() for value in example(2, 9, 2, 3).values()]
    reset = resets(2, 9, seed=3)
    assert reset.any()

    def scan(*values):
        given_values = dict(zip(NAMES, values))
        return selective.selective_scan(**given_values, reset=reset, method=method)

    assert torch.autograd.gradcheck(scan, leaves)


@pytest.mark.parametrize("method", ["sequential", "parallel", "auto"])
def test_second_derivatives_and_forward_mode(method):
    arguments = {name: value.requires_grad_() for name, value in example(1, 4, 1, 2).items()}
    names, leaves = tuple(arguments), tuple(arguments.values())

    def scan(*values):
        return selective.selective_scan(**dict(zip(names, values)), method=method)

    if method == "auto":
        # Compiled loops know no tangents: what is differentiated forwards is left to torch's own operations.
        torch.autograd.gradcheck(scan, leaves, check_forward_ad=True, check_backward_ad=False)
    else:
        assert torch.autograd.gradgradcheck(scan, leaves)


@pytest.mark.parametrize("method", ["chunked", "numba"])
def test_no_second_derivative_of_a_backward_by_hand(method):
    x = example(1, 4, 1, 2)
    x["x"].requires_grad_()
    y, _ = selective.selective_scan(**x, method=method)
    with pytest.raises(RuntimeError, match="taken once"):
        torch.autograd.grad(y.square().sum(), x["x"], create_graph=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_sequence_read_in_two_parts(method):
    arguments = example(tokens=50)
    whole, last = selective.selective_scan(**arguments, method=method)
    timed = {name: arguments[name] for name in ("x", "dt", "B", "C")}
    fixed = {name: arguments[name] for name in ("A", "D")}
    first, state = selective.selective_scan(
        **{name: value[:, :20] for name, value in timed.items()},
        **fixed,
        initial_state=arguments["initial_state"],
        method=method,
    )
    second, state = selective.selective_scan(
        **{name: value[:, 20:] for name, value in timed.items()}, **fixed, initial_state=state, method=method
    )
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=0, atol=1e-11)
    torch.testing.assert_close(state, last, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("recorded", [False, True])
def test_steps_equal_the_scan(dtype, recorded):
    # With gradients recorded the step runs in torch, without in compiled loops.
    arguments = example(tokens=12, dtype=dtype)
    arguments["x"].requires_grad_(recorded)
    expected, last = selective.selective_scan(**example(tokens=12))
    state = arguments["initial_state"]
    kept = state.clone()
    for t in range(12):
        now = {name: arguments[name][:, t] for name in ("x", "dt", "B", "C")}
        now = {name: value if recorded else value.contiguous() for name, value in now.items()}
        y, state = selective.selective_step(**now, A=arguments["A"], D=arguments["D"], state=state)
        assert y.requires_grad == recorded
        torch.testing.assert_close(y.double(), expected[:, t], rtol=0, atol=1e-11 if dtype == torch.float64 else 2e-5)
    torch.testing.assert_close(state.double(), last, rtol=0, atol=1e-11 if dtype == torch.float64 else 2e-5)
    assert torch.equal(kept, arguments["initial_state"])


def test_a_step_from_nothing_without_skip():
    now = {name: example(tokens=1)[name] for name in ("x", "dt", "B", "C")}
    A = example()["A"]
    expected, last = selective.selective_scan(**now, A=A)
    for dtype in (torch.float64, torch.bfloat16):
        y, state = selective.selective_step(**{name: v[:, 0].to(dtype) for name, v in now.items()}, A=A.to(dtype))
        assert y.dtype == dtype
        tolerance = 1e-12 if dtype == torch.float64 else 0.1
        torch.testing.assert_close(y.double(), expected[:, 0], rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(state.double(), last, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_and_y_narrowed(method, half):
    arguments = example(tokens=40, dtype=torch.float32)
    narrow = {name: arguments[name].to(half) for name in ("x", "B", "C")}
    y, state = selective.selective_scan(**(arguments | narrow), method=method)
    assert (y.dtype, state.dtype) == (half, torch.float32)
    wide = {name: value.float() for name, value in narrow.items()}
    expected, last = selective.selective_scan(**(arguments | wide), method=method)
    torch.testing.assert_close(y, expected.to(half), rtol=0, atol=0)
    torch.testing.assert_close(state, last, rtol=0, atol=0)
    # Gradients come back in the type of what they belong to.
    leaves = {name: value.requires_grad_() for name, value in (arguments | narrow).items()}
    selective.selective_scan(**leaves, method=method)[0].float().sum().backward()
    assert all(leaf.grad.dtype == leaf.dtype for leaf in leaves.values())


def test_packed_sequences_do_not_see_each_other():
    first, second = example(1, 20, seed=3), example(1, 30, seed=4)
    shared = {name: first[name] for name in ("A", "D")}
    timed = ("x", "dt", "B", "C")
    packed = {name: torch.cat([first[name], second[name]], dim=1) for name in timed}
    reset = torch.zeros(1, 50, dtype=torch.bool)
    reset[0, 20] = True
    for method in METHODS:
        y, last = selective.selective_scan(**packed, **shared, reset=reset, method=method)
        alone = [selective.selective_scan(**{name: one[name] for name in timed}, **shared) for one in (first, second)]
        torch.testing.assert_close(y, torch.cat([alone[0][0], alone[1][0]], dim=1), rtol=0, atol=1e-11)
        torch.testing.assert_close(last, alone[1][1], rtol=0, atol=1e-11)


@given(
    st.integers(1, 3),
    st.integers(1, 70),
    st.integers(1, 9),
    st.integers(1, 17),
    st.sampled_from(METHODS),
    st.integers(0, 2**31 - 1),
)
@settings(max_examples=40, deadline=None)
def test_causal_linear_and_blind_to_the_batch(batch, tokens, channels, size, method, seed):
    arguments = example(batch, tokens, channels, size, seed)
    start = arguments.pop("initial_state")

    def scan(**changed):
        return selective.selective_scan(**(arguments | changed), method=method)[0]

    y = scan()
    scale = float(y.abs().max()) + 1
    # What comes later does not change what was read before.
    cut = tokens // 2
    later = {name: arguments[name].clone() for name in ("x", "dt", "B", "C")}
    for value in later.values():
        value[:, cut:] = value[:, cut:].flip(1) * 1.5
    torch.testing.assert_close(scan(**later)[:, :cut], y[:, :cut], rtol=0, atol=1e-11 * scale)
    # Linear in the input, and in input and state together.
    other = arguments["x"].flip(1).cos()
    together = scan(x=2 * arguments["x"] + other, initial_state=start)
    apart = 2 * y + scan(x=other, initial_state=start)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-11 * (scale + float(apart.abs().max())))
    # Each row of the batch is on its own.
    last = {name: value[-1:] for name, value in arguments.items() if name in ("x", "dt", "B", "C")}
    torch.testing.assert_close(scan(**last)[0], y[-1], rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("method", METHODS)
def test_fast_decays_and_long_steps_stay_finite(method):
    arguments = example(1, 40, 2, 3, dtype=torch.float32)
    arguments["dt"] = arguments["dt"] * 1e4
    arguments["A"] = arguments["A"] * 1e4
    found = with_gradients(arguments, method)
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.parametrize("method", METHODS)
def test_inputs_in_any_layout(method):
    arguments = example()
    turned = {name: value.mT.contiguous().mT if value.dim() > 1 else value for name, value in arguments.items()}
    expected = with_gradients(arguments, "sequential")
    for name, value in with_gradients(turned, method).items():
        assert gap(value, expected[name]) < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_mamba_2_with_heads_of_width_one(method):
    """With A constant over the state the scan is that of Mamba-2, without rotation and with lam = 1."""
    arguments = example(channels=4)
    rate = -torch.exp(arguments["D"])
    y, last = selective.selective_scan(
        **{name: arguments[name] for name in ("x", "dt", "B", "C")}, A=rate[:, None].expand(4, 5), method=method
    )
    # Heads of width 1 are the channels; a state is (heads, state, width) there.
    x, dt = arguments["x"][..., None], arguments["dt"]
    B, C = arguments["B"][:, :, None], arguments["C"][:, :, None]
    # Rotation goes by pairs of cells, so there is one more cell, which is not written to.
    B, C = (torch.nn.functional.pad(value, (0, 1)) for value in (B, C))
    for form in (scan.scan_sequential, scan.scan_chunked):
        expected, state = form(x, dt, rate.expand_as(dt), B, C, torch.ones_like(dt), torch.zeros(2, 75, 1, 3).to(x))
        torch.testing.assert_close(y, expected[..., 0], rtol=0, atol=1e-11)
        torch.testing.assert_close(last, state.h[:, :, :5, 0], rtol=0, atol=1e-11)


def test_the_default_agrees_with_the_loop_and_takes_lists():
    arguments = example(1, 3, 1, 2)
    expected = selective.selective_scan(**arguments, method="sequential")
    found = selective.selective_scan(**{name: value.tolist() for name, value in arguments.items()})
    torch.testing.assert_close(found, expected)


def test_without_numba(monkeypatch):
    """One warning, then plain torch; nothing of the compiled loops is imported."""
    arguments = example()
    with without_numba(monkeypatch, "lib.ssm._selective_numba"):
        with pytest.warns(RuntimeWarning, match="numba cannot be used"):
            y, _ = selective.selective_scan(**arguments)
        y, state = selective.selective_scan(**arguments)  # no second warning: it would be an error here
        now = {name: arguments[name][:, 0].contiguous() for name in ("x", "dt", "B", "C")}
        first, _ = selective.selective_step(**now, A=arguments["A"], D=arguments["D"], state=arguments["initial_state"])
        with pytest.raises(ValueError, match="method must not be 'numba' where numba is not installed"):
            selective.selective_scan(**arguments, method="numba")
    expected, last = selective.selective_scan(**arguments, method="sequential")
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state, last)
    torch.testing.assert_close(first, expected[:, 0])


def test_kernels_are_looked_at_before_they_are_used(monkeypatch):
    """A kernel that is right passes, one that is wrong or does not compile is replaced, with one warning."""
    cpu = torch.device("cpu")
    kernels = types.ModuleType("lib.ssm._selective_triton")
    monkeypatch.setitem(sys.modules, "lib.ssm._selective_triton", kernels)
    right = _selective_autograd.ChunkedScan.apply

    def slightly_wrong(x, dt, A, B, C, h, reset):
        y, state = right(x, dt, A, B, C, h, reset)
        return y * (1 + 1e-3 * x.detach()), state

    def broken(*arguments):
        raise RuntimeError("no such instruction")

    for scan_of_kernels, message in (
        (right, None),
        (slightly_wrong, "y is off by"),
        (broken, "RuntimeError: no such instruction"),
        (lambda *arguments: tuple(value * math.nan for value in right(*arguments)), "y is off by nan"),
    ):
        kernels.selective_scan_triton = scan_of_kernels
        selective._triton.cache_clear()
        try:
            if message is None:
                assert selective._triton(cpu, 4) is right
            else:
                with pytest.warns(RuntimeWarning, match=message):
                    assert selective._triton(cpu, 4) is None
                assert selective._triton(cpu, 4) is None  # no second warning: it would be an error here
        finally:
            selective._triton.cache_clear()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "triton"}, "method may be 'triton' for float32 tensors on a GPU.*got torch.float32 on cpu"),
        ({"x": torch.ones(2, 4)}, r"x must have shape \(batch, time, channels\).*got \(2, 4\)"),
        ({"x": torch.ones(2, 0, 3)}, r"none of them 0, got \(2, 0, 3\)"),
        ({"dt": torch.ones(2, 75, 2)}, r"dt must have shape \(2, 75, 3\).*got \(2, 75, 2\)"),
        ({"dt": torch.zeros(2, 75, 3)}, "dt must be above 0, got 0"),
        ({"A": torch.ones(3, 5)}, "A must be at most 0, got 1"),
        ({"A": -torch.ones(4, 5)}, r"A must have shape \(3, state\).*got \(4, 5\)"),
        ({"B": torch.ones(2, 75, 4)}, r"B must have shape \(2, 75, 5\)"),
        ({"C": torch.full((2, 75, 5), math.inf)}, "C must be finite"),
        ({"D": torch.ones(5)}, r"D must have shape \(3,\)"),
        ({"initial_state": torch.ones(2, 5, 3)}, r"initial_state must have shape \(2, 3, 5\)"),
        ({"reset": torch.zeros(2, 75)}, "reset must be a tensor of bool"),
        ({"reset": torch.zeros(2, 7, dtype=torch.bool)}, r"reset must be a tensor of bool of shape \(2, 75\)"),
        ({"x": torch.ones(2, 75, 3).double()}, "must share one dtype and device, but x is torch.float64"),
        ({"method": "fast"}, "method must be one of 'auto'.*'fast'"),
    ],
)
def test_bad_input(changed, message):
    with pytest.raises(ValueError, match=message):
        selective.selective_scan(**(example(dtype=torch.float32) | changed))


@pytest.mark.parametrize("name", ["x", "dt", "A", "B", "C", "D", "state"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_step_looks_at_every_value(name, value):
    """Also where the compiled loops take it: a value that is not finite reaches what they sum up."""
    arguments = example(tokens=1, dtype=torch.float32)
    now = {key: arguments[key][:, 0].clone() for key in ("x", "dt", "B", "C")}
    now |= {"A": arguments["A"], "D": arguments["D"], "state": arguments["initial_state"]}
    selective.selective_step(**now)
    now[name].view(-1)[-1] = value
    with pytest.raises(ValueError, match=f"{name} must be"):
        selective.selective_step(**now)


def test_a_step_refuses_growth_and_backward_steps():
    arguments = example(tokens=1, dtype=torch.float32)
    now = {key: arguments[key][:, 0].clone() for key in ("x", "dt", "B", "C")}
    with pytest.raises(ValueError, match="A must be at most 0"):
        selective.selective_step(**now, A=arguments["A"].abs())
    with pytest.raises(ValueError, match="dt must be above 0"):
        selective.selective_step(**(now | {"dt": -now["dt"]}), A=arguments["A"])
