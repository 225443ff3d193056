"""The numbers in claims/scaling-laws.yml are those the library gives, and the stored measurements keep their bars."""

import numpy as np
import pytest
import torch

from lib import claims, learning_curves, ngrams, powerlaw

CLAIMS = claims.load("scaling-laws")
SHARDS = torch.tensor(learning_curves.shards(2**12, 2**19), dtype=torch.float64)


def verdict(id, measured):
    return claims.judge(CLAIMS[id], measured)


@pytest.fixture(scope="module")
def text():
    """Bits and stored n-grams of other shuffles than the chapter's, (3, shards, orders 1 to 5)."""
    ids, bits, stored = ngrams.encode(ngrams.stdlib_text()), [], []
    for shuffle in (11, 12, 13):
        split = ngrams.block_split(ids, seed=shuffle)
        models = [ngrams.WittenBellLM(5).fit(split.shard(int(m))) for m in SHARDS]
        bits.append(torch.stack([model.bits_by_order(split.validation) for model in models])[:, 1:])
        stored.append(torch.stack([model.stored.cumsum(0) for model in models])[:, 1:].double())
    return torch.stack(bits), torch.stack(stored)


def stored(run, name):
    return np.asarray(claims.measured_elsewhere("scaling-laws", run, name).value, dtype=float)


def test_every_claim_is_looked_at_here_or_out_of_reach():
    here = {
        "power-law-region", "exponent-range", "forecast", "model-size", "fixed-size-flattens", "architecture",
        "theory-exponents", "series-simulated", "kernel-slopes", "dimension", "compute-optimal", "isoflop",
        "joint-forecast",
    }  # fmt: skip
    assert set(CLAIMS) - here == {id for id, claim in CLAIMS.items() if claim.scale == "out of reach"}


def test_the_envelope_is_a_power_law_and_one_order_is_not(text):
    bits = text[0].mean(dim=0)
    envelope, order = learning_curves.lower_envelope(torch.arange(1, 6), bits)
    law = powerlaw.fit_power_law(SHARDS, envelope)
    assert verdict("power-law-region", bool(law.r_squared > 0.99)) == "reproduced"
    assert verdict("exponent-range", bool(-0.35 <= law.beta <= -0.07)) == "reproduced"
    assert -0.20 <= law.beta <= -0.10
    assert (order.diff() >= 0).all()
    assert order[-1] >= 3
    slopes = [float(powerlaw.local_slopes(SHARDS, curve)[-1]) for curve in (bits[:, 0], envelope)]
    assert verdict("fixed-size-flattens", slopes[0] > slopes[1] / 3) == "reproduced"


def test_the_largest_shard_is_forecast_from_a_quarter_of_it(text):
    envelope = text[0].mean(dim=0).amin(dim=-1)
    law = powerlaw.fit_power_law(SHARDS[:-2], envelope[:-2])
    miss = float(law.predict(SHARDS[-1]) / envelope[-1] - 1)
    assert verdict("forecast", abs(miss) < 0.1) == "reproduced"


def test_the_best_model_grows_about_as_fast_as_the_text(text):
    bits, size = text
    best = size.gather(-1, bits.argmin(dim=-1, keepdim=True))[..., 0]
    growth = powerlaw.fit_power_law(SHARDS, best, rising=True).beta
    assert (growth > 0.85).all()
    assert (growth < 1.3).all()
    assert max(stored("ngrams-cpu", "stored_slope_every_order")) > 1
    assert verdict("model-size", False) == "contradicted"


def test_digits_contradict_one_exponent_for_all_methods():
    images = [20, 40, 80, 160, 320, 640, 1200]
    ends = []
    for name in ("nearest", "support"):
        curve = learning_curves.digits_curve(name, images, splits=10, seed=5)
        ends.append(powerlaw.bootstrap_power_law(images, curve).intervals["beta"])
    assert ends[1][1] < ends[0][0]
    assert verdict("architecture", False) == "contradicted"


def test_exponents_of_the_series():
    m = 2.0 ** torch.arange(11, 19, dtype=torch.float64)
    slopes = [
        float(powerlaw.log_log_line(m, learning_curves.series_risk(s, 1.0, m)[1])[1]) for s in (0.25, 0.5, 1.0, 2.0)
    ]
    assert verdict("theory-exponents", slopes) == "reconstructed"
    sizes = 2.0 ** torch.arange(7, 15, dtype=torch.float64)
    draw = torch.Generator().manual_seed(31)
    errors = learning_curves.simulate_series(0.5, 1.0, sizes, draw, repeats=200)
    risk, grown = errors.reshape(5, 40, 8, -1).mean(dim=1).min(dim=-1)
    inside = []
    for runs, theory in ((grown, 0.5), (risk, -0.5)):
        low, high = powerlaw.bootstrap_power_law(sizes, runs, ci=0.99).intervals["beta"]
        inside.append(bool(low <= theory <= high))
    assert verdict("series-simulated", all(inside)) == "reconstructed"


def test_exponents_of_kernels_and_neighbours():
    shown = torch.tensor([64.0, 128.0], dtype=torch.float64)
    slopes = []
    for a, b in ((1.5, 1.5), (1.5, 1.3), (1.2, 2.0), (1.5, 5.0)):
        lam, w2 = learning_curves.power_law_spectrum(a, b, modes=1_000_000)
        slopes.append(float(powerlaw.local_slopes(shown, learning_curves.ridge_learning_curve(lam, w2, shown))))
    assert verdict("kernel-slopes", slopes) == "reproduced"
    points = [2**k for k in range(9, 15)]
    slopes = []
    for d in (1, 2, 3, 4):
        curve = learning_curves.nearest_neighbour_curve(d, points, torch.Generator().manual_seed(20 + d))
        slopes.append(float(powerlaw.fit_power_law(points, curve).beta))
    assert verdict("dimension", slopes) == "reproduced"


def test_plans_of_the_published_constants():
    ratios = []
    for law in (powerlaw.HOFFMANN, powerlaw.BESIROGLU):
        N, D = powerlaw.compute_optimal(5.76e23, law)
        ratios.append(float(D / N))
    assert verdict("compute-optimal", ratios) == "reproduced"


def test_stored_transformers_have_a_best_size_at_every_budget():
    C, N, D, L = (stored("char-lm-cpu", name) for name in ("budget", "parameters", "tokens", "loss"))
    np.testing.assert_allclose(6 * N * D, C, rtol=0.02)
    best = []
    for budget in np.unique(C):
        found = powerlaw.isoflop_minima(budget, N[budget == C], L[budget == C])
        assert bool(found.inside)
        best.append(float(found.N))
    growth = float(np.polyfit(np.log(np.unique(C)), np.log(best), 1)[0])
    assert verdict("isoflop", 0 < growth < 1) == "reproduced"
    held_N, held_D, held_L = (stored("char-lm-cpu", f"held_out_{name}") for name in ("parameters", "tokens", "loss"))
    law = powerlaw.fit_joint_law(N, D, L)
    miss = np.abs(law.predict(held_N, held_D).numpy() / held_L - 1)
    assert verdict("joint-forecast", bool(miss[held_L.argmin()] < 0.05)) == "reproduced"


def test_stored_fits_keep_their_bars():
    assert stored("fits-cpu", "floor_ratio_to_scipy") >= 10
    assert stored("fits-cpu", "floor_largest_gap") <= 1e-4
    assert stored("fits-cpu", "tail_ratio_to_powerlaw") >= 40
    assert stored("fits-cpu", "tail_alpha_gap") <= 0.01
    for name in ("E", "A", "B", "alpha", "beta"):
        assert stored("fits-cpu", f"joint_coverage_{name}") >= 0.9
