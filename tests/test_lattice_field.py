"""Large lattices: clocks, steps and marches against the loop in float64; invariants, memory, and what happens when an
accelerator is missing, wrong or elsewhere."""

import math
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import (
    _field_blocks,
    field_march,
    field_observables,
    field_reference,
    field_steps,
    kuramoto,
    lattice_field,
    results,
    site_clocks,
)
from lib.live import random
from lib.progress import ProgressBar
from lib.site.layout import ROOT
from tests.absent import without_numba

ENGINES = ("torch", "numba")
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6))
SEEDS = st.integers(0, 2**32 - 1)


def apart(found, wanted):
    """Largest distance of phases on the circle."""
    difference = torch.as_tensor(found, dtype=torch.float64) - torch.as_tensor(wanted, dtype=torch.float64)
    return float(torch.remainder(difference + math.pi, 2 * math.pi).sub(math.pi).abs().amax())


def fields(*shape, dtype=torch.float32, seed=0):
    """Phases and frequencies of a test's own."""
    generator = torch.Generator().manual_seed(seed)
    theta = (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1) * math.pi
    omega = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return theta.to(dtype), omega.to(dtype)


def loop(theta, omega, coupling, dt, rates, seed, steps, **options):
    rates = torch.as_tensor(rates, dtype=torch.float64).expand(theta.shape)
    tables = theta.tolist(), omega.tolist(), coupling, dt, rates.tolist()
    return field_reference.loop_kuramoto(*tables, seed, steps, **options)


def small_blocks(monkeypatch, sites):
    monkeypatch.setattr(_field_blocks, "block_sites", lambda device: sites)


# Clocks


def test_the_draws_are_those_of_live_figures():
    sides = (700, 500)  # more sites than are drawn at a time
    assert sides[0] * sides[1] > site_clocks.DRAWN_AT_ONCE
    for seed in (0, 7, 2**32 - 1):
        wanted = random.uniform(seed, *sides, stream=5)
        assert torch.equal(site_clocks.draw_uniform(sides, seed, stream=5), wanted)
        for rate in (1.0, 0.3, 1e-3):
            assert torch.equal(site_clocks.site_clocks(rate, seed, sides).mask(tick=5)[0], wanted < rate)
    wide = site_clocks.draw_normal(sides, 3, stream=8)
    radius = (-2 * random.uniform(3, *sides, stream=8).log()).sqrt()
    assert torch.allclose(wide, radius * (2 * math.pi * random.uniform(3, *sides, stream=9)).cos(), atol=1e-14)


@settings(max_examples=50)
@given(seed=SEEDS, tick=st.integers(0, 2**31 - 1), site=st.integers(0, 19))
def test_a_site_updates_exactly_below_its_rate(seed, tick, site):
    draw = site_clocks.scramble(site_clocks.scramble(site) ^ site_clocks.key(seed, tick))
    exactly = (draw + 0.5) / 2**32
    for rate, updates in ((exactly, False), (np.nextafter(exactly, 2), True), (1.0, True)):
        if rate >= site_clocks.LOWEST_RATE:
            assert bool(site_clocks.site_clocks(rate, seed, (4, 5)).mask(tick).flatten()[site]) is updates


def test_rates_are_log_uniform_and_shared_by_both_ways_to_give_them():
    rates = lattice_field.clock_rates((300, 300), ratio=50, seed=4, fastest=0.8)
    law = scipy.stats.loguniform(0.8 / 50, 0.8)
    assert scipy.stats.kstest(rates.flatten().numpy(), law.cdf).pvalue > 0.01
    given_ = site_clocks.site_clocks(rates, 4)
    drawn = site_clocks.site_clocks(0.8, 4, (300, 300), ratio=50)
    assert torch.equal(given_.limit, drawn.limit)
    several = lattice_field.clock_rates((3, 4), 10, [4, 5])
    assert torch.equal(several[1], lattice_field.clock_rates((3, 4), 10, 5))


def test_local_time_is_binomial_and_masks_are_independent():
    steps, sides = 400, (64, 64)
    rates = lattice_field.clock_rates(sides, 20, seed=1)
    clocks = site_clocks.site_clocks(rates, 2)
    masks = torch.cat([clocks.mask(tick) for tick in range(steps)]).double()
    score = (masks.sum(dim=0) - steps * rates) / (steps * rates * (1 - rates)).sqrt()
    assert abs(float(score.mean())) < 4 / 64
    assert abs(float(score.square().mean()) - 1) < 4 * math.sqrt(2) / 64
    noise = (masks - rates) / (rates * (1 - rates)).sqrt()
    for other in (noise.roll(1, 0), noise.roll(1, 1), noise.roll(1, 2), noise.flip(1)):
        assert abs(float((noise * other).mean())) < 5 / math.sqrt(noise.numel())


# One step


@settings(max_examples=30)
@given(shape=SHAPES, replicas=st.integers(1, 3), seed=SEEDS, rate=st.floats(0.05, 1), coupling=st.floats(-3, 3))
def test_a_step_is_that_of_the_loop(shape, replicas, seed, rate, coupling):
    seeds = [(seed + k) % 2**32 for k in range(replicas)]
    clocks = site_clocks.site_clocks(rate, seeds, shape)
    for dtype, engine, allowed in (
        (torch.float32, "torch", 1e-6),
        (torch.float32, "numba", 1e-6),
        (torch.float64, "torch", 1e-14),
    ):
        theta, omega = fields(replicas, *shape, dtype=dtype, seed=seed)
        counts = torch.zeros(theta.shape, dtype=torch.int32)
        some = lattice_field.kuramoto_field_step(theta, omega, coupling, 0.1, clocks, 9, counts=counts, engine=engine)
        everyone = lattice_field.kuramoto_field_step(theta, omega, coupling, 0.1, engine=engine)
        for k in range(replicas):
            one = theta[k].double(), omega[k].double(), coupling, 0.1
            wanted, ticked, _ = loop(*one, rate, seeds[k], 1, first_tick=9)
            assert counts[k].tolist() == ticked
            assert apart(some[k], wanted) < allowed
            assert apart(everyone[k], loop(*one, 1.0, 0, 1)[0]) < allowed
        assert torch.equal(some[counts == 0], theta[counts == 0])


@settings(max_examples=30)
@given(shape=SHAPES, coupling=st.floats(0, 1), seed=st.integers(0, 99))
def test_diffusion_is_its_stencil_keeps_the_mean_and_mixes(shape, coupling, seed):
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rolled = sum(x.roll(by, dims) for by, dims in ((1, 1), (-1, 1), (1, 2), (-1, 2)))
    wanted = (1 - coupling) * x + coupling / 4 * rolled
    for field, engine, allowed in ((x, "torch", 1e-15), (x.float(), "torch", 2e-7), (x.float(), "numba", 2e-7)):
        found = lattice_field.diffusion_step(field, coupling, engine=engine).double()
        assert float((found - wanted).abs().amax()) <= allowed
        assert torch.allclose(found.mean(dim=(1, 2)), x.mean(dim=(1, 2)), atol=2e-7)
        assert float(found.amax()) <= float(x.amax()) + 2e-7


def test_diffusion_damps_waves_as_fourier_says():
    """To rounding: of the angle of up to 100 rad in float64, of the sum in float32."""
    rows, columns, coupling = 12, 20, 0.7
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    for p, q in ((0, 0), (1, 0), (3, 7), (6, 10)):
        wave = torch.cos(2 * math.pi * (p * i.double() / rows + q * j.double() / columns))
        factor = 1 - coupling + coupling / 2 * (math.cos(2 * math.pi * p / rows) + math.cos(2 * math.pi * q / columns))
        for field, engine, allowed in (
            (wave, "torch", 1e-14),
            (wave.float(), "torch", 3e-7),
            (wave.float(), "numba", 3e-7),
        ):
            found = lattice_field.diffusion_step(field, coupling, engine=engine)
            assert float((found.double() - factor * wave).abs().amax()) < allowed


@settings(max_examples=25)
@given(
    shape=SHAPES, by=st.tuples(st.integers(-5, 5), st.integers(-5, 5)), turn=st.floats(-7, 7), seed=st.integers(0, 99)
)
def test_a_step_commutes_with_the_symmetries_of_the_torus(shape, by, turn, seed):
    theta, omega = fields(*shape, dtype=torch.float64, seed=seed)

    def step(theta, omega):
        return lattice_field.kuramoto_field_step(theta, omega, 1.3, 0.2)

    after = step(theta, omega)
    moves = (
        lambda field: field.roll(by, (0, 1)),
        lambda field: field.flip(0),
        lambda field: field.flip(1),
        lambda field: field.T,
    )
    for move in moves:
        assert apart(step(move(theta), move(omega)), move(after)) < 1e-13
    assert apart(step(theta + turn, omega), after + turn) < 1e-13
    assert apart(step(-theta, -omega), -after) < 1e-13
    single = theta.float(), omega.float()
    moved = [field.roll(by, (0, 1)).contiguous() for field in single]
    numba = lattice_field.kuramoto_field_step(*single, 1.3, 0.2, engine="numba")
    assert apart(lattice_field.kuramoto_field_step(*moved, 1.3, 0.2, engine="numba"), numba.roll(by, (0, 1))) < 1e-6


@pytest.mark.parametrize("sites", [1, 7, 12, 24, 1000])
def test_blocks_do_not_show(sites, monkeypatch):
    theta, omega = fields(5, 3, 4, dtype=torch.float64)
    clocks = site_clocks.site_clocks(0.5, range(5), (3, 4))

    def everything():
        counts = torch.zeros(theta.shape, dtype=torch.int32)
        after = lattice_field.kuramoto_field_step(theta, omega, 1.0, 0.1, clocks, 3, counts=counts)
        mixed = lattice_field.diffusion_step(theta, 0.3)
        return after, counts, mixed, *lattice_field.vortices(theta), field_observables.order(theta)

    whole = everything()
    small_blocks(monkeypatch, sites)
    covered = torch.zeros(5, 3)
    for replicas, rows in _field_blocks.blocks(theta.shape, theta.device):
        covered[replicas, rows] += 1
    assert bool((covered == 1).all())
    for found, wanted in zip(everything(), whole, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-14)


def test_a_step_reads_old_values_only():
    for engine in ENGINES:
        theta, omega = fields(6, 8)
        before = theta.clone()
        out = torch.full_like(theta, math.nan)
        assert lattice_field.kuramoto_field_step(theta, omega, 1.0, 0.1, out=out, engine=engine) is out
        assert torch.equal(theta, before)
        assert apart(out, loop(theta.double(), omega.double(), 1.0, 0.1, 1.0, 0, 1)[0]) < 1e-6
    buffer = torch.zeros(2, 6, 8)
    assert lattice_field.diffusion_step(buffer[0], 0.5, buffer[1]).data_ptr() == buffer[1].data_ptr()
    for out in (buffer[0], buffer.flatten()[24:72].view(6, 8)):
        with pytest.raises(ValueError, match="out must not share memory with x"):
            lattice_field.diffusion_step(buffer[0], 0.5, out)


def test_other_layouts_types_and_gradients_take_the_torch_path():
    theta, omega = fields(6, 8)
    wanted = lattice_field.kuramoto_field_step(theta, omega, 1.0, 0.1)
    across = theta.T.contiguous().T, omega.T.contiguous().T
    assert not across[0].is_contiguous()
    assert apart(lattice_field.kuramoto_field_step(*across, 1.0, 0.1), wanted) < 1e-6
    every_second = torch.stack([theta, theta], dim=-1)[..., 0]
    assert apart(lattice_field.kuramoto_field_step(every_second, omega, 1.0, 0.1), wanted) < 1e-6
    for shape in ((6, 8), (1, 6, 8)):
        followed = theta.reshape(shape).clone().requires_grad_()
        for engine in ENGINES:
            after = lattice_field.kuramoto_field_step(followed, omega.reshape(shape), 1.0, 0.1, engine=engine)
            assert not after.requires_grad
            assert apart(after.reshape(6, 8), wanted) < 1e-6
    for bad in (across, (theta.double(), omega.double())):
        with pytest.raises(ValueError, match="engine must be 'auto' or 'torch' unless"):
            lattice_field.kuramoto_field_step(*bad, 1.0, 0.1, engine="numba")
    far = theta + 2 * math.pi * 5
    for engine in ENGINES:
        assert apart(lattice_field.kuramoto_field_step(far, omega, 1.0, 0.1, engine=engine), wanted) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_no_replica_is_no_work(dtype, engine):
    none = torch.empty(0, 3, 4, dtype=dtype)
    assert lattice_field.kuramoto_field_step(none, none.clone(), 1.0, engine=engine).shape == none.shape
    assert lattice_field.diffusion_step(none, 0.5, engine=engine).shape == none.shape
    assert [len(found) for found in lattice_field.vortices(none)] == [0, 0]


# Vortices and order


@settings(max_examples=40)
@given(shape=SHAPES, seed=st.integers(0, 10**6))
def test_vortices_are_those_of_the_loop_and_charges_cancel(shape, seed):
    theta, _ = fields(2, *shape, dtype=torch.float64, seed=seed)
    positive, negative = lattice_field.vortices(theta)
    for k in range(2):
        assert (int(positive[k]), int(negative[k])) == field_reference.loop_vortices(theta[k].tolist())
    assert torch.equal(positive, negative)
    mirrored = lattice_field.vortices(theta.flip(-1))
    assert torch.equal(mirrored[0], negative)


def test_a_pair_of_vortices_by_hand():
    """The phase is the polar angle about +, minus that about -; far away both cancel."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    theta = torch.atan2(y - 20.5, x - 12.5) - torch.atan2(y - 20.5, x - 27.5)
    inside = theta.clone()
    positive, negative = lattice_field.vortices(inside)
    assert (int(positive), int(negative)) == (1, 1)
    assert field_reference.loop_vortices(theta.tolist()) == (1, 1)
    winding = field_observables._winding(theta[None], slice(0, 40))[0]
    assert winding[20, 12] == 1
    assert winding[20, 27] == -1


def test_order_is_the_mean_of_the_phasors():
    theta, _ = fields(3, 20, 30)
    wanted = np.abs(np.exp(1j * theta.double().numpy()).mean(axis=(1, 2)))
    np.testing.assert_allclose(field_observables.order(theta).numpy(), wanted, atol=1e-7)


# Marches


@pytest.mark.parametrize("engine", ENGINES)
def test_a_march_is_that_of_the_loop(engine):
    sides, steps, seed = (9, 11), 80, 5
    run = lattice_field.simulate(
        sides, steps, coupling=1.5, clock_ratio=10, seed=seed, engine=engine, observe_every=30, progress=None
    )
    theta = lattice_field.initial_phases(sides, seed, dtype=torch.float32).double()
    omega = lattice_field.natural_frequencies(sides, seed, dtype=torch.float32).double()
    rates = lattice_field.clock_rates(sides, 10, seed)
    assert run.observed.tolist() == [0, 30, 60, 80]
    for steps_, order, defects in zip(run.observed.tolist(), run.order.tolist(), run.vortices.tolist(), strict=True):
        phases, counts, r = loop(theta, omega, 1.5, 0.05, rates, seed, steps_)
        assert order == pytest.approx(r, abs=1e-5)
        assert defects == sum(field_reference.loop_vortices(phases))
    assert run.ticks.tolist() == counts
    assert apart(run.theta, phases) < 1e-5
    assert run.ticks.dtype == torch.int32
    assert run.engine == ("numba" if engine == "numba" else "torch cpu")


def test_float64_is_the_loop_to_rounding():
    theta, omega = fields(7, 5, dtype=torch.float64)
    rates = np.linspace(0.1, 1, 35).reshape(7, 5)
    run = lattice_field.simulate(
        (7, 5), 60, coupling=2.0, dt=0.1, rates=rates, omega=omega, theta0=theta, dtype=torch.float64, progress=None
    )
    phases, counts, _ = loop(theta, omega, 2.0, 0.1, rates, 0, 60)
    assert run.ticks.tolist() == counts
    assert apart(run.theta, phases) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("clocks", [{}, {"update_probability": 0.4}, {"clock_ratio": 8, "update_probability": 0.9}])
def test_replicas_are_single_runs_and_runs_can_be_taken_up(engine, clocks, monkeypatch):
    options = {"coupling": 1.0, "engine": engine, "progress": None, **clocks}
    small_blocks(monkeypatch, 100)
    together = lattice_field.simulate((8, 6), 50, seed=[3, 9, 2**32 - 1], **options)
    for k, seed in enumerate((3, 9, 2**32 - 1)):
        alone = lattice_field.simulate((8, 6), 50, seed=seed, **options)
        assert torch.equal(alone.theta, together.theta[k])
        assert torch.equal(alone.ticks, together.ticks[k])
        assert torch.equal(alone.order, together.order[k])
        assert torch.equal(alone.vortices, together.vortices[k])
    start = lattice_field.simulate((8, 6), 20, seed=3, **options)
    rest = lattice_field.simulate((8, 6), 30, seed=3, theta0=start.theta, first_tick=20, **options)
    assert torch.equal(rest.theta, together.theta[0])
    assert torch.equal(start.ticks + rest.ticks, together.ticks[0])
    assert bool((lattice_field.simulate((8, 6), 50, seed=4, **options).theta != together.theta[0]).any())


def test_without_coupling_phases_turn_at_their_own_rate():
    _, omega = fields(6, 6)
    run = lattice_field.simulate(6, 200, coupling=0.0, update_probability=0.5, omega=omega, seed=8, progress=None)
    start = lattice_field.initial_phases(6, 8)
    assert apart(run.theta, start + 0.05 * run.ticks * omega.double()) < 2e-5
    everyone = lattice_field.simulate(6, 200, coupling=0.0, omega=omega, seed=8, progress=None)
    assert everyone.ticks.tolist() == [[200] * 6] * 6


def test_small_steps_tend_to_the_differential_equation():
    """Euler's error against Heun's method of lib.kuramoto halves with the step."""
    theta, omega = fields(8, 8, dtype=torch.float64)
    exact = kuramoto.kuramoto(1.2, omega, 400, 0.0025, theta, coupling="torus", keep="last")
    errors = []
    for steps in (20, 40):
        run = lattice_field.simulate(
            8, steps, coupling=1.2, dt=1 / steps, omega=omega, theta0=theta, dtype=torch.float64, progress=None
        )
        errors.append(apart(run.theta, exact))
    assert 1.9 < errors[0] / errors[1] < 2.1


def test_equal_oscillators_fall_into_step_whatever_the_clocks():
    run = lattice_field.simulate(
        16, 3000, coupling=4.0, clock_ratio=10, frequency_spread=0, start_width=1.0, seed=1, progress=None
    )
    assert run.order[0] < 0.9
    assert run.order[-1] > 0.999
    assert run.vortices[-1] == 0
    assert float(run.theta.std()) < 0.02


def test_order_falls_with_the_size_of_the_lattice():
    """Brief: K = 0.5, T = 100: r = .34 (L = 16), .08 (64); K = 2: .95, .65. Single runs: within the spread of ours."""
    for K, published in ((0.5, (0.34, 0.08)), (2.0, (0.95, 0.65))):
        runs = [
            lattice_field.simulate(
                side, 2000, coupling=K, start_width=0.2 * math.pi, seed=range(8), progress=None, observe_every=2000
            )
            for side in (16, 64)
        ]
        means = [float(run.order[:, -1].mean()) for run in runs]
        assert means[0] > means[1]
        for run, mean, value in zip(runs, means, published, strict=True):
            assert abs(value - mean) < 2 * float(run.order[:, -1].std())


def test_steps_zero_and_looks():
    run = lattice_field.simulate((3, 4), 0, seed=6, progress=None)
    assert torch.equal(run.theta, lattice_field.initial_phases((3, 4), 6, dtype=torch.float32))
    assert run.observed.tolist() == [0]
    seen = []
    lattice_field.simulate(4, 10, observe_every=4, progress=lambda done, steps: seen.append((done, steps)))
    assert seen == [(0, 10), (4, 10), (8, 10), (10, 10)]
    assert len(lattice_field.simulate(2, 1000, progress=None).observed) == 101


def test_what_is_given_is_not_written_to_and_refused_by_name():
    theta, omega = fields(3, 4)
    before = theta.clone()
    lattice_field.simulate((3, 4), 5, theta0=theta, omega=omega, progress=None)
    assert torch.equal(theta, before)
    with pytest.raises(ValueError, match="rates must be None when"):
        lattice_field.simulate((3, 4), 5, rates=np.ones((3, 4)), clock_ratio=2, progress=None)
    with pytest.raises(ValueError, match="ratio must be 1 when rates"):
        site_clocks.site_clocks(np.ones((3, 4)), 0, ratio=2)
    with pytest.raises(ValueError, match="sides must be given"):
        site_clocks.site_clocks(0.5, 0)
    with pytest.raises(ValueError, match=r"clocks must be for theta, 1 x \(3, 4\), got clocks for 1 x \(4, 4\)"):
        lattice_field.kuramoto_field_step(theta, omega, 1.0, clocks=site_clocks.site_clocks(0.5, 0, 4))


# Accelerators


def test_a_missing_numba_is_said_once_and_torch_runs(monkeypatch):
    wanted = lattice_field.simulate(12, 20, clock_ratio=5, progress=None)
    with without_numba(monkeypatch, "lib._lattice_numba"):
        with pytest.warns(RuntimeWarning, match="numba cannot be used.*pip install numba"):
            found = lattice_field.simulate(12, 20, clock_ratio=5, progress=None)
        again = lattice_field.simulate(12, 20, clock_ratio=5, progress=None)  # a second warning would be an error
        with pytest.raises(ValueError, match="engine must be 'auto' or 'torch' where numba is not installed"):
            lattice_field.simulate(12, 20, engine="numba", progress=None)
    assert found.engine == again.engine == "torch cpu"
    assert torch.equal(found.ticks, wanted.ticks)
    assert apart(found.theta, wanted.theta) < 1e-5


def test_every_array_of_a_step_lives_on_the_device_of_the_fields():
    """On torch's meta device, which has no memory, mixing devices is an error as it is on a GPU."""
    theta, omega = (field.to("meta") for field in fields(2, 6, 5))
    for clocks in (None, site_clocks.site_clocks(0.5, [0, 1], (6, 5), ratio=3, device="meta")):
        counts = torch.zeros(2, 6, 5, dtype=torch.int32, device="meta")
        after = lattice_field.kuramoto_field_step(theta, omega, 1.0, clocks=clocks, counts=counts)
        assert after.device.type == "meta"
    assert lattice_field.diffusion_step(theta, 0.5).device.type == "meta"
    assert lattice_field.vortices(theta)[0].device.type == "meta"
    assert field_observables.order(theta).device.type == "meta"


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device must be one that torch can use here, got 'cuda:99'"):
        lattice_field.simulate(4, 1, device="cuda:99", progress=None)
    with pytest.raises(ValueError, match=r"dtype must be torch\.float32 on mps"):
        lattice_field.simulate(4, 1, device="mps", dtype=torch.float64, progress=None)


def test_a_device_that_computes_something_else_is_not_used(monkeypatch):
    """Any other device is checked once; meta stands for one that is there."""
    checked = []
    monkeypatch.setattr(field_march, "self_check", lambda device: checked.append(device) or "other sites update")
    field_march._trusted.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match=r"meta differs .*\(other sites update\): the CPU runs instead"):
            run = lattice_field.simulate(6, 5, clock_ratio=3, device="meta", progress=None)
        again = lattice_field.simulate(6, 5, clock_ratio=3, device="meta", progress=None)
    finally:
        field_march._trusted.cache_clear()
    assert checked == [torch.device("meta")]
    assert torch.equal(run.theta, again.theta)
    assert run.theta.device.type == "cpu"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_self_check_passes_and_sees_each_kind_of_error(engine, monkeypatch):
    assert lattice_field.self_check("cpu", engine) == ""
    advance = field_steps.advance_some

    def spoil(change):
        def advanced(theta, omega, out, coupling, dt, clocks, tick, counts, kernels, work=None):
            advance(theta, omega, out, coupling, dt, clocks, tick, counts, kernels, work)
            change(out, counts)

        monkeypatch.setattr(field_steps, "advance_some", advanced)

    spoil(lambda out, counts: counts[0, 3, 3].add_(1))
    assert lattice_field.self_check("cpu", engine) == "other sites update"
    spoil(lambda out, counts: out[1, 2, 2].add_(1e-4))
    assert lattice_field.self_check("cpu", engine).startswith("phases are off by")
    spoil(lambda out, counts: out[1, 2, 2].fill_(math.nan))
    assert lattice_field.self_check("cpu", engine) == "phases are off by nan"
    spoil(lambda out, counts: None)
    monkeypatch.setattr(field_observables, "vortices", lambda theta: (torch.zeros(2), torch.zeros(2)))
    assert lattice_field.self_check("cpu", engine) == "vortices are counted differently"


# Memory and progress

PEAK = """
import torch
from pathlib import Path
from lib import lattice_field
torch.set_num_threads(1)

def resident(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry)) * 1024

def run(side, **options):
    lattice_field.simulate(side, 2, progress=None, observe_every=1, **options)

for engine in ("numba", "torch"):
    for options in ({"clock_ratio": 10}, {}):
        run(32, engine=engine, **options)
        Path("/proc/self/clear_refs").write_text("5")
        rest = resident("VmRSS")
        run(1500, engine=engine, **options)
        print(engine, int(bool(options)), resident("VmHWM") - rest)
"""


def test_memory_is_what_is_stated():
    """Peak of a fresh process (Linux), within 5 % and the few megabytes that the allocator keeps."""
    # Freed arrays go back to the system at once, so that the next run starts from rest.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == 4
    for line in lines:
        engine, clocks, measured = line.split()
        options = {"asynchronous": clocks == "1", "own_rates": clocks == "1", "engine": engine}
        stated = lattice_field.memory(1500, **options)
        assert abs(int(measured) - stated) < 0.05 * stated + 4e6, (engine, clocks, int(measured), stated)


def test_memory_adds_up():
    sites = 4096**2
    numba = lattice_field.memory(4096, own_rates=True)
    assert 5 * 4 * sites < numba < 5.2 * 4 * sites
    gpu = lattice_field.memory(4096, own_rates=True, device="cuda")
    assert 6 * 4 * sites < gpu < 1e9
    assert lattice_field.memory(64, replicas=1000) > 1000 * 64**2 * 16
    double = lattice_field.memory(2048, dtype=torch.float64, asynchronous=False)
    assert 3 * 8 * 2048**2 < double < 3.2 * 8 * 2048**2


class Screen:
    """What a terminal shows."""

    def __init__(self, terminal=True):
        self.terminal = terminal
        self.text = ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_the_progress_bar_is_one_line_that_ends():
    screen, now = Screen(), [0.0]
    bar = ProgressBar("steps", screen, patience=1, clock=lambda: now[0])
    for done, at in ((0, 0.0), (10, 0.5), (25, 2.0), (26, 2.1), (50, 4.0), (100, 8.0)):
        now[0] = at
        bar(done, 100, f"r = {done / 100}")
    lines = screen.text.split("\r")[1:]
    assert [line.split("]")[1].strip() for line in lines] == [
        "25 of 100 steps, 6 s left, r = 0.25",
        "50 of 100 steps, 4 s left, r = 0.5",
        "100 of 100 steps, 8 s, r = 1.0",
    ]
    assert screen.text.endswith("\n")
    shown = ""
    for line in lines:
        shown = line + shown[len(line) :]
        assert shown.rstrip() == line.rstrip()


def test_the_progress_bar_is_silent_where_nobody_looks():
    screen = Screen(terminal=False)
    bar = ProgressBar("steps", screen, patience=0)
    bar(1, 2)
    bar(2, 2)
    assert screen.text == ""
    quick = Screen()
    ProgressBar("steps", quick, patience=100)(2, 2)
    assert quick.text == ""


def test_the_default_bar_says_what_the_lattice_does(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(ProgressBar.__init__, "__defaults__", ("steps", None, 0, ProgressBar.__init__.__defaults__[3]))
    run = lattice_field.simulate(8, 4, seed=[0, 1], observe_every=2)
    last = screen.text.split("\r")[-1]
    assert "4 of 4 steps" in last
    assert f"r = {run.order[:, -1].mean():.3f}, {run.vortices[:, -1].double().mean():g} vortices" in last


# What is shipped


def test_the_shipped_measurements_meet_the_bars():
    def value(name):
        return results.measured_elsewhere("lattice", "field-cpu", name).value

    assert value("diffusion_numba_times_copy_4096") <= 1.5
    assert value("diffusion_torch_times_copy_4096") <= 5
    assert value("kuramoto_numba_times_copy_4096") <= 6
    assert value("kuramoto_numba_speedup_over_numpy_4096") >= 10
    assert value("asynchronous_numba_speedup_over_eager_torch_4096") >= 10
    for engine in ENGINES:
        stated = value(f"stated_megabytes_run_{engine}_4096")
        assert value(f"peak_megabytes_run_{engine}_4096") == pytest.approx(stated, rel=0.05)


def test_the_shipped_sizes_lose_their_order():
    def value(name):
        return results.measured_elsewhere("lattice", "finite-size-cpu", name).value

    assert value("sides") == (16, 64, 256, 1024)
    weak = value("order_K0.5_T100")
    assert all(small > large for small, large in pairwise(weak))
    strong = value("order_K2_T500")
    assert strong[0] > 0.9 and strong[-1] < 0.15
    for label, published in (("K0.5", (0.34, 0.08, 0.02)), ("K2", (0.95, 0.65, 0.67))):
        means, spreads = value(f"order_{label}_T100"), value(f"order_spread_{label}_T100")
        for mean, spread, one in zip(means, spreads, published, strict=False):
            assert abs(one - mean) < 2 * spread
