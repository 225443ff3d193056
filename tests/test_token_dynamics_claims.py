"""The numbers in claims/token-dynamics.yml are those the library gives, and the stored measurements hold together."""

import math

import numpy as np
import pytest
import torch

from lib import claims, token_dynamics

CLAIMS = claims.load("token-dynamics")
START = [1.0, -0.7, 0.4, -1.3, 0.9]


def stored(run, name):
    return claims.measured_elsewhere("token-dynamics", run, name).value


def dichotomy():
    """Each system by itself, with the adaptive integrator instead of the chapter's."""
    draw = torch.Generator().manual_seed(21)
    right = 0
    for _ in range(40):
        mu, s, *x0 = (4 * torch.rand(6, generator=draw, dtype=torch.float64) - 2).tolist()
        regime = token_dynamics.dynamics_regime(mu, s, x0)
        end = token_dynamics.first_blow_up(x0, mu, s, 1.0).time
        if regime == "fast":
            right += end < math.inf
            continue
        x = token_dynamics.integrate_tokens(x0, mu, s, 1.0, [1e6])[0].abs()
        grown = x > torch.tensor(x0, dtype=torch.float64).abs()
        right += end == math.inf and bool(grown.all() if regime == "slow" else (~grown).all())
    return right / 40


def shrinking_rate():
    x = token_dynamics.integrate_tokens(START, -1.0, 0.8, 1.0, [1e7, 1e9])[:, 0]
    return float(torch.log10(x[1] / x[0])) / 2


def equal_shares():
    return tuple(math.sqrt(1 - 2**-decay) for decay in (0.5, 1, 2))


def log_growth():
    times = torch.tensor([1e5, 1e7], dtype=torch.float64)
    x = token_dynamics.integrate_tokens([-1, -0.7, -0.4, -1.3, -0.9], 1.0, 1.0, 1.0, times).abs()
    return bool((x < 10 * times.log()[:, None] ** torch.arange(1, 6)).all())


def frozen_ratios():
    x = token_dynamics.integrate_tokens([-1, -0.7, -0.4, -1.3, -0.9], 1.0, 1.0, 1.0, [1e7])[0]
    return tuple((x[1:] / x[0]).tolist())


def finite_time():
    return tuple(token_dynamics.blow_up_time([1.0, 0.9], [1.0, 2.0], [1.0, 0.5]).tolist())


def blow_up_exponent():
    return -1 / 3, -math.log(3) / 3


def causality():
    first = token_dynamics.first_blow_up([0.5, 1.0, 0.8, -0.6], 1.0, 1.0, 1.0)
    second = token_dynamics.first_blow_up([-0.5, -1.0, 0.8, -0.6], 1.0, 1.0, 1.0)
    return first.time, second.time, float(second.tokens[1]), float(second.tokens[3])


def thin_layers():
    exact = token_dynamics.integrate_tokens(START, -1.0, 0.8, 1.0, [2.0])[0]
    errors = [
        float((token_dynamics.residual_tokens(START, -1.0, 0.8, 1.0, [2 / K] * K)[-1] - exact).abs().max())
        for K in (20, 160)
    ]
    return math.log2(errors[0] / errors[1]) / 3


def eigenvalue_signs():
    draw = torch.Generator().manual_seed(22)
    write, step, x0 = torch.randn(3, 20, 4, 4, generator=draw, dtype=torch.float64)
    product = write.mT @ write / 4
    maps = torch.stack([product, -product])
    path = token_dynamics.follow_vectors(x0, maps, 0.3 * step, [1.0] * 4, 80, 18.0)
    lengths = torch.linalg.vector_norm(path.tokens, dim=-1)
    return bool((lengths[0, :, -1].amax(-1) > 20).all() and (lengths[1, :, -1] < lengths[1, :, 0]).all())


MEASURED = {
    "dichotomy": dichotomy,
    "shrinking-rate": shrinking_rate,
    "equal-shares": equal_shares,
    "log-growth": log_growth,
    "frozen-ratios": frozen_ratios,
    "finite-time": finite_time,
    "blow-up-exponent": blow_up_exponent,
    "causality": causality,
    "thin-layers": thin_layers,
    "eigenvalue-signs": eigenvalue_signs,
}
ELSEWHERE = {"negative-is-worst", "sorting-helps", "published-tables"}


def test_every_claim_is_measured():
    assert set(CLAIMS) == set(MEASURED) | ELSEWHERE


@pytest.mark.parametrize("name", MEASURED)
def test_the_library_gives_the_claimed_number(name):
    claim, measured = CLAIMS[name], MEASURED[name]()
    if isinstance(claim.value, bool):
        assert measured is claim.value
        return
    kind, size = claim.tolerance
    np.testing.assert_allclose(
        measured,
        claim.value,
        **{
            "atol" if kind == "abs" else "rtol": size,
        },
    )


def test_stored_verdicts_follow_from_the_stored_runs():
    bits = {kind: stored("refinements-cpu", f"{kind}_bits") for kind in ("positive", "negative", "mixed")}
    worst = all(n > max(p, m) for p, n, m in zip(*bits.values(), strict=True))
    assert worst is stored("refinements-cpu", "negative_is_worst")
    as_read, sorted_softly = (stored("refinements-cpu", f"copy_{order}") for order in ("as_read", "sorted_softly"))
    helps = all(new > old for old, new in zip(as_read, sorted_softly, strict=True))
    assert helps is stored("refinements-cpu", "sorting_helps")


def test_what_the_chapter_says_about_the_stored_runs():
    """Negative eigenvalues are best in every seed, sorting costs symbols, training prefers positive eigenvalues."""
    bits = {kind: stored("refinements-cpu", f"{kind}_bits") for kind in ("negative", "positive", "mixed", "free")}
    assert len(bits["free"]) == 3
    assert all(min(runs) == runs[0] for runs in zip(*bits.values(), strict=True))
    as_read = np.mean(stored("refinements-cpu", "copy_as_read"))
    assert as_read > np.mean(stored("refinements-cpu", "copy_sorted_softly"))
    assert as_read > np.mean(stored("refinements-cpu", "copy_sorted"))
    assert stored("refinements-cpu", "positive_share_after") > stored("refinements-cpu", "positive_share_before") + 0.1


def test_the_stored_ensemble_agrees_with_the_adaptive_integrator():
    assert stored("ensemble-cpu", "blow_up_gap_largest") < 1e-3
    assert stored("ensemble-cpu", "path_gap_largest") < 1e-3
    assert stored("ensemble-cpu", "ratio_to_lsoda") > 20
