"""What holds for every scan: causality, linearity, invariances, packed and padded sequences."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.ssm import mimo, scan
from tests.ssm.scan_inputs import random_inputs

TOLERANCE = 1e-10


@st.composite
def scans(draw):
    """A form of the scan with its options, and inputs of any shape."""
    H = draw(st.integers(1, 4))
    G = draw(st.sampled_from([g for g in range(1, H + 1) if H % g == 0]))
    N = 2 * draw(st.integers(1, 3))
    R = draw(st.sampled_from([None, None, 1, 2]))
    sizes = {"b": draw(st.integers(1, 3)), "T": draw(st.integers(2, 24)), "P": draw(st.integers(1, 3))}
    M = draw(st.integers(0, N // 2))
    inputs = random_inputs(**sizes, H=H, G=G, N=N, M=M, R=R, seed=draw(st.integers(0, 10_000)))
    if draw(st.booleans()):
        del inputs["lam"]
    chunk_length = draw(st.integers(1, 30))
    plain, ranked = [scan.scan, scan.scan_chunked], [mimo.mimo_scan_chunked]
    form = draw(st.sampled_from(plain if R is None else ranked))
    return (lambda **given: form(**{"chunk_length": chunk_length} | given)), inputs


def close(a, b):
    if isinstance(a, tuple):
        return all(close(left, right) for left, right in zip(a, b, strict=True))
    return torch.allclose(a, b, rtol=0, atol=TOLERANCE * max(1, float(b.abs().max()) if b.numel() else 1))


def same_state(a, b):
    """Whether two states mean the same: phases may differ by full turns."""
    turns = (a.phase - b.phase) / (2 * math.pi)
    return close(tuple(a[:3]), tuple(b[:3])) and close(turns, turns.round())


def at_tokens(inputs, choose):
    return {name: choose(value) for name, value in inputs.items()}


@given(scans(), st.data())
@settings(max_examples=30)
def test_no_output_sees_the_future(example, data):
    form, inputs = example
    y, _ = form(**inputs)
    time = y.shape[1]
    now = data.draw(st.integers(0, time - 1))
    later = torch.arange(time) > now
    other = random_inputs(seed=99, b=y.shape[0], T=time, H=y.shape[2], P=y.shape[3])

    def changed(name, value):
        mask = later.reshape(1, -1, *(1,) * (value.dim() - 2))
        new = -value if name in ("x", "B", "C", "theta") else value * other["lam"].reshape(value.shape)
        return torch.where(mask, new, value)

    z, _ = form(**{name: changed(name, value) for name, value in inputs.items()})
    assert close(z[:, : now + 1], y[:, : now + 1])


@given(scans(), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=30)
def test_outputs_are_linear_in_the_inputs(example, first, second):
    form, inputs = example
    other = inputs["x"].flip(0, 1)
    y, _ = form(**inputs)
    z, _ = form(**inputs | {"x": other})
    both, _ = form(**inputs | {"x": first * inputs["x"] + second * other})
    assert close(both, first * y + second * z)


@given(scans(), st.integers(-3, 3))
@settings(max_examples=30)
def test_full_turns_change_nothing(example, turns):
    form, inputs = example
    if "theta" not in inputs:
        return
    y, state = form(**inputs)
    theta = inputs["theta"] + 2 * math.pi * turns / inputs["dt"][..., None]
    z, after = form(**inputs | {"theta": theta})
    assert close(z, y)
    assert same_state(after, state)


@given(scans(), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30)
def test_the_length_of_chunks_changes_nothing(example, first, second):
    form, inputs = example
    assert close(form(**inputs, chunk_length=first), form(**inputs, chunk_length=second))


@given(scans())
@settings(max_examples=30)
def test_sequences_of_a_batch_do_not_see_each_other(example):
    form, inputs = example
    y, state = form(**inputs)
    backwards, other = form(**at_tokens(inputs, lambda value: value.flip(0)))
    assert close(backwards.flip(0), y)
    assert close(tuple(value.flip(0) for value in other), tuple(state))
    alone, last = form(**at_tokens(inputs, lambda value: value[:1]))
    assert close(alone, y[:1])
    assert close(tuple(last), tuple(value[:1] for value in state))


@given(scans())
@settings(max_examples=30)
def test_heads_with_their_groups_may_stand_in_any_order(example):
    form, inputs = example
    y, _ = form(**inputs)
    z, _ = form(**at_tokens(inputs, lambda value: value.flip(2)))
    assert close(z.flip(2), y)


@given(scans(), st.data())
@settings(max_examples=30)
def test_a_sequence_may_be_read_in_two_parts(example, data):
    form, inputs = example
    y, state = form(**inputs)
    cut = data.draw(st.integers(1, y.shape[1] - 1))
    first, between = form(**at_tokens(inputs, lambda value: value[:, :cut]))
    second, after = form(**at_tokens(inputs, lambda value: value[:, cut:]), initial_state=between)
    assert close(torch.cat([first, second], 1), y)
    assert same_state(after, state)


@given(scans(), st.data())
@settings(max_examples=30)
def test_packed_sequences_are_separate_sequences(example, data):
    form, inputs = example
    batch, time = inputs["x"].shape[:2]
    starts = sorted({0, *data.draw(st.lists(st.integers(1, time - 1), max_size=4))})
    reset = torch.zeros(batch, time, dtype=torch.bool)
    reset[:, starts] = True
    _, old = form(**inputs)  # a state that the reset at the first token has to drop
    y, state = form(**inputs, reset=reset, initial_state=old)
    apart = []
    for start, stop in zip(starts, [*starts[1:], time], strict=True):
        tokens = slice(start, stop)
        out, last = form(**at_tokens(inputs, lambda value, tokens=tokens: value[:, tokens]))
        apart.append(out)
    assert close(y, torch.cat(apart, 1))
    assert same_state(state, last)


@given(scans(), st.data())
@settings(max_examples=30)
def test_padding_is_as_good_as_nothing(example, data):
    form, inputs = example
    batch, time = inputs["x"].shape[:2]
    lengths = data.draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch))
    y, state = form(**inputs, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        out, last = form(**at_tokens(inputs, lambda value, r=row, n=length: value[r : r + 1, :n]))
        assert close(y[row, :length], out[0])
        assert not y[row, length:].any()
        assert same_state(scan.ScanState(*(value[row : row + 1] for value in state)), last)
