"""Many absorbing chains at once: compiled loops against fractions, LAPACK and torch; when they run and when not."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad

from lib import absorption, results
from lib.live import tracing
from lib.site.layout import ROOT
from tests.absent import without_numba

D = torch.float64
MANY = absorption.CHAINS + 1
TIMES = ("mean", "sd", "N")


def chains(seed, *shape):
    """Random chains of which a third of the transitions never happen; all states lead to the last."""
    generator = torch.Generator().manual_seed(seed)
    P = torch.rand(*shape, shape[-1], generator=generator, dtype=D)
    P = P * (torch.rand(P.shape, generator=generator) > 0.3)
    P[..., -1] += 0.02
    return P / P.sum(dim=-1, keepdim=True)


def hardly_moving(seed, count):
    """Chains of six states in two groups; from 0, 2 and 3 the others are reached with chances of 1e-15 to 1e-8."""
    rng = np.random.default_rng(seed)
    group = np.array([0, 1, 0, 0, 1, 1])
    inside = rng.uniform(0.01, 0.3, (count, 6, 6))
    seldom = 10.0 ** -(rng.uniform(8, 14, (count, 1, 1)) + rng.uniform(0, 1, (count, 6, 6)))
    P = np.where(group == group[:, None], inside, seldom)
    P[:, range(6), range(6)] = 0
    P[:, range(6), range(6)] = 1 - P.sum(-1)
    return torch.from_numpy(P)


def exactly(P, absorbing):
    """Mean, second moment, N and chances by Gauss and Jordan in fractions; what a row leaves of 1 stays."""
    size = len(P)
    transient = [state for state in range(size) if state not in absorbing]
    chance = [[Fraction(float(P[i, j])) for j in range(size)] for i in range(size)]
    rows = []
    for place, i in enumerate(transient):
        row = [-chance[i][j] for j in transient]
        row[place] = sum(chance[i][j] for j in range(size) if j != i)
        rows.append(row + [Fraction(i == j) for j in transient])
    m = len(transient)
    for k in range(m):
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in range(m):
            if i != k:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k])]
    N = [row[m:] for row in rows]
    mean = [sum(row) for row in N]
    variance = [2 * sum(a * b for a, b in zip(row, mean)) - own - own**2 for row, own in zip(N, mean)]
    chances = [[sum(row[k] * chance[transient[k]][end] for k in range(m)) for end in absorbing] for row in N]
    return mean, variance, N, chances


def in_torch(monkeypatch):
    monkeypatch.setattr(absorption, "_kernels", lambda: None)


@pytest.fixture
def runs(monkeypatch):
    """How often the compiled loops have been asked for."""
    asked = []
    compiled = absorption._kernels
    monkeypatch.setattr(absorption, "_kernels", lambda: asked.append(1) or compiled())
    return asked


# Numbers


def test_entry_by_entry_against_fractions():
    """Chains that hardly move: every entry to a few roundings, where LAPACK's inverse keeps three digits."""
    few = hardly_moving(0, 12)
    P = few.repeat(44, 1, 1)
    absorbing = [1, 4]
    found = absorption.absorbing_times(P, absorbing)
    chances = absorption.absorption_probabilities(P, absorbing)
    transient = [0, 2, 3, 5]
    lost = 0.0
    for chain in range(len(few)):
        mean, variance, N, ends = exactly(few[chain], absorbing)
        for ours, exact in ((found.mean, mean), (found.N, N), (chances, ends)):
            np.testing.assert_allclose(ours[chain], np.array(exact, dtype=float), rtol=5e-15)
        np.testing.assert_allclose(found.sd[chain], [math.sqrt(value) for value in variance], rtol=1e-13)
        system = np.eye(4) - few[chain][transient][:, transient].numpy()
        plain = np.linalg.inv(system).sum(-1)
        lost = max(lost, float(np.abs(plain / np.array(mean, dtype=float) - 1).max()))
    assert lost > 1e-4
    for tensor in (*found, chances):
        assert torch.equal(tensor[:12], tensor[-12:])


@given(st.integers(0, 2**31 - 1), st.integers(2, 12), st.integers(MANY, MANY + 70), st.data())
@settings(max_examples=20)
def test_against_lapack(seed, states, count, data):
    """Any absorbing states in any order, blocks that are full and not."""
    P = chains(seed, count, states)
    others = data.draw(st.permutations(range(states - 1)))[: data.draw(st.integers(0, states - 2))]
    absorbing = [*others, states - 1]
    transient = [state for state in range(states) if state not in absorbing]
    before = P.clone()
    mean, sd, N = absorption.absorbing_times(P, absorbing)
    chances = absorption.absorption_probabilities(P, absorbing)
    assert torch.equal(P, before)
    Q = P[:, transient][:, :, transient].numpy()
    expected = np.linalg.inv(np.eye(len(transient)) - Q)
    steps = expected.sum(-1)
    square = (expected @ (2 * steps[..., None]))[..., 0] - steps
    np.testing.assert_allclose(N, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(mean, steps, rtol=1e-11)
    np.testing.assert_allclose(sd**2, square - steps**2, rtol=1e-9, atol=1e-9)
    ends = np.linalg.solve(np.eye(len(transient)) - Q, P[:, transient][:, :, absorbing].numpy())
    np.testing.assert_allclose(chances, ends, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(chances.sum(-1), 1, rtol=1e-14)


@pytest.mark.parametrize("states", [2, 17, absorption.STATES + 1])
def test_loops_and_torch_give_the_same(states, runs, monkeypatch):
    """Also where rows sum to 1 only nearly: both take what a row leaves of 1 for the chance to stay."""
    P = chains(states, 3, 200, states) * (1 + 1e-9 * torch.rand(states, 1, dtype=D))
    compiled = *absorption.absorbing_times(P, -1 + states), absorption.absorption_probabilities(P, [states - 1])
    assert len(runs) == 2
    in_torch(monkeypatch)
    plain = *absorption.absorbing_times(P, -1 + states), absorption.absorption_probabilities(P, [states - 1])
    for ours, theirs in zip(compiled, plain):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


def test_one_chain_takes_what_is_left_for_the_chance_to_stay():
    """1 - 1e-17 is 1 in float64; the time to leave is known all the same."""
    assert float(absorption.absorbing_times([[1.0, 1e-17], [0.0, 1.0]], 1).mean) == pytest.approx(1e17, rel=1e-15)
    P = torch.tensor([[1.0, 1e-17], [0.0, 1.0]], dtype=D).repeat(MANY, 1, 1)
    mean, sd, _ = absorption.absorbing_times(P, 1)
    assert mean.flatten().tolist() == pytest.approx([1e17] * MANY, rel=1e-15)
    assert sd.flatten().tolist() == pytest.approx([1e17] * MANY, rel=1e-15)


def test_many_clockworks_have_no_spread():
    P = torch.zeros(MANY, 5, 5, dtype=D)
    P[:, range(5), [1, 2, 3, 4, 4]] = 1
    mean, sd, N = absorption.absorbing_times(P, 4)
    assert mean.unique(dim=0).tolist() == [[4, 3, 2, 1]]
    assert (sd == 0).all()
    assert torch.equal(N[0], torch.ones(4, 4, dtype=D).triu())


def test_the_loops_take_fewer_chains_than_a_block():
    from lib import _markov_numba

    P = chains(3, 5, 4)
    found = np.empty((5, 3, 1))
    _markov_numba.passage(P.numpy(), np.array([0, 2, 3, 1]), 3, found)
    np.testing.assert_allclose(found, absorption.absorption_probabilities(P, [1])[:, :, :1], rtol=1e-13)


def test_no_chain_has_no_times():
    mean, sd, N = absorption.absorbing_times(torch.empty(0, 3, 3, dtype=D), 2)
    assert (mean.shape, sd.shape, N.shape) == ((0, 2), (0, 2), (0, 2, 2))
    assert absorption.absorption_probabilities(torch.empty(0, 3, 3, dtype=D), [2]).shape == (0, 2, 1)


# Refusals


@pytest.mark.parametrize("place", [0, 31, 32, 511, MANY - 1])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_trap_among_many_is_named(place, compiled, monkeypatch):
    if not compiled:
        in_torch(monkeypatch)
    P = chains(6, MANY, 7)
    P[place, 3] = torch.eye(7, dtype=D)[3]
    for function in (absorption.absorbing_times, absorption.absorption_probabilities):
        with pytest.raises(ValueError, match=r"I - Q is singular\), but the states \[3\] never reach \[0, 6\]"):
            function(P, [0, 6])
    # A class of three that is never left: whole rows, none of which is an identity's.
    P = chains(6, MANY, 7)
    P[place, 1:4] = 0
    P[place, 1:4, 1:4] = torch.tensor([[0.1, 0.3, 0.6], [0.7, 0.1, 0.2], [0.3, 0.3, 0.4]], dtype=D)
    for function in (absorption.absorbing_times, absorption.absorption_probabilities):
        with pytest.raises(ValueError, match=r"but the states \[1, 2, 3\] never reach \[0, 6\]"):
            function(P, [0, 6])


@pytest.mark.parametrize("count", [1, MANY])
def test_chances_that_underflow_are_refused(count):
    """The way out is a product of 1e-400: a path, but no number."""
    chain = [[0.0, 1.0, 1e-200], [1e-200, 1.0, 0.0], [0.0, 0.0, 1.0]]
    P = torch.tensor(chain, dtype=D).repeat(count, 1, 1)
    for function in (absorption.absorbing_times, absorption.absorption_probabilities):
        with pytest.raises(ValueError, match=r"P must lead .* to one of \[2\] by chances that torch.float64 can resol"):
            function(P, 2)


# Which engine runs


def test_loops_run_for_many_small_chains_in_float64(runs):
    P = chains(1, 3, 200, 5)
    absorption.absorbing_times(P, 4)
    absorption.absorption_probabilities(P, 4)
    absorption.absorbing_times(P.numpy(), 4)
    with torch.no_grad():
        absorption.absorbing_times(P.clone().requires_grad_(), 4)
    assert len(runs) == 4


@pytest.mark.parametrize(
    "P",
    [
        chains(1, absorption.CHAINS, 5),
        chains(1, 5),
        chains(1, MANY, 5).float(),
        chains(1, 5).expand(MANY, 5, 5),
        chains(1, 5, MANY, 5).movedim(1, 0),
        chains(1, MANY, absorption.STATES + 2),
        chains(1, MANY, 5).requires_grad_(),
    ],
    ids=["few", "one", "float32", "one for all", "not contiguous", "large", "gradient"],
)
def test_torch_runs_otherwise(P, runs):
    last = P.shape[-1] - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.absorption._compiled_times", None)
        patch.setattr("lib.absorption._compiled_passage", None)
        mean = absorption.absorbing_times(P, last).mean
        chances = absorption.absorption_probabilities(P, last)
    assert runs == []
    assert mean.dtype == P.dtype
    torch.testing.assert_close(chances, torch.ones_like(chances))
    copied = P.detach().double().contiguous()
    again = absorption.absorbing_times(copied / copied.sum(dim=-1, keepdim=True), last).mean
    torch.testing.assert_close(mean.detach().double(), again, rtol=1e-4 if P.dtype == torch.float32 else 1e-11, atol=0)


def test_derivatives_and_figures_stay_in_torch(runs):
    P = (chains(2, MANY, 4) + 0.25) / 2
    direction = torch.zeros_like(P)
    direction[:, 0, 1], direction[:, 0, 2] = 1, -1

    def total(P):
        return absorption.absorbing_times(P, 3).mean.sum()

    rates = P.clone().requires_grad_()
    slope = (torch.autograd.grad(total(rates), rates)[0] * direction).sum()
    with forward_ad.dual_level():
        forward = forward_ad.unpack_dual(total(forward_ad.make_dual(P, direction))).tangent
    pushed = torch.func.jvp(total, (P,), (direction,))[1]
    pulled = (torch.func.grad(total)(P) * direction).sum()
    for other in (forward, pushed, pulled):
        assert float(other) == pytest.approx(float(slope), rel=1e-10)
    with tracing.recording():
        absorption.absorbing_times(P, 3)
        absorption.absorption_probabilities(P, 3)
    assert runs == []
    h = 1e-6
    there, back = (float(total(P + sign * h * direction)) for sign in (1, -1))
    assert len(runs) == 2
    assert (there - back) / (2 * h) == pytest.approx(float(slope), rel=1e-6)


def test_a_missing_numba_is_said_once_and_torch_runs(monkeypatch):
    P = chains(4, MANY, 5)
    wanted = absorption.absorbing_times(P, 4)
    with without_numba(monkeypatch, "lib._markov_numba"):
        with pytest.warns(RuntimeWarning, match="numba cannot be used.*pip install numba"):
            found = absorption.absorbing_times(P, 4)
        again = absorption.absorbing_times(P, 4)  # a second warning would be an error
    for name in TIMES:
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-11, atol=1e-13)
        assert torch.equal(getattr(found, name), getattr(again, name))


def test_importing_and_few_chains_cost_no_compiler():
    code = (
        "import sys, torch; from lib import markov; P = torch.full((512, 3, 3), 1 / 3, dtype=torch.float64);"
        "markov.absorbing_times(P, 2); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# What is shipped


def test_the_shipped_measurements_meet_the_bar():
    def value(name):
        return results.measured_elsewhere("fisher-rao", "metrics-cpu", name).value

    assert value("chains") == 20_000
    assert value("absorption_ratio_to_numpy_solve") >= 1.3
    assert value("absorbing_times_ratio_to_numpy_inv") >= 1.3
