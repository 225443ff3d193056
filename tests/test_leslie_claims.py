"""The numbers in claims/leslie.yml are those the library gives, and the stored benchmark keeps its bar."""

import math

import numpy as np
import pytest
import torch

from lib import claims, leslie

CLAIMS = claims.load("leslie")
A = leslie.leslie_matrix([0.2, 1.1, 0.9], [0.7, 0.5])
B = 0.05 * A @ A + 0.02 * torch.eye(3, dtype=torch.float64)
M = leslie.block_matrix(A, B, A, B)
START = [10.0, 5.0, 2.0, 3.0, 1.0, 1.0]


def extinction():
    negative = (leslie.evolve(M, START, 40)[:, :3] < 0).any(dim=-1)
    return float(leslie.extinction_step(A, B, START[:3], START[3:])), float(negative.nonzero()[0])


def logistic():
    gause = leslie.gause_paramecium()
    fits = [leslie.fit_logistic(gause[name].numpy()) for name in ("aurelia_alone", "caudatum_alone")]
    return tuple(number for fit in fits for number in (fit.growth_rate, fit.capacity))


def energies():
    values = torch.linalg.eigvals(leslie.hamiltonian([[1.0, 2.0], [0.5, 0.0]]))
    values = values[values.imag.argsort(descending=True)]
    return float(values.sum().real), float(values[1].real), *values.imag.tolist()


@pytest.mark.parametrize(
    ("claim", "measure"),
    [
        ("growth-factor", lambda: float(leslie.growth_factor(M))),
        ("prey-extinction", extinction),
        ("square-law", lambda: 10 * float(leslie.tie_ratio([[1.0]], [[0.05]], [[1.0]], [[0.1]], [1.0], [1.0]))),
        ("logistic-reference", logistic),
        ("hamiltonian", energies),
    ],
)
def test_claims_hold(claim, measure):
    assert claims.agreement(CLAIMS[claim], measure()) == 1


def test_every_number_of_the_paper_that_we_could_not_see_says_so():
    assert {claim.kind for claim in CLAIMS.values() if claim.value is not None} == {"reconstructed"}
    assert CLAIMS["printed-fit"].scale == "out of reach"


def test_the_stored_ensemble_is_at_least_as_fast_as_batched_numpy():
    def value(name):
        return claims.measured_elsewhere("leslie", "ensemble-cpu", name).value

    assert value("systems") == 1_000_000
    assert value("ratio_to_numpy_batched") >= 1
    assert value("ratio_to_numpy_batched") == pytest.approx(value("seconds_numpy_batched") / value("seconds_ours"))
    small = leslie.standing_ensemble(20_000, seed=0)
    spread = 4 * math.sqrt(0.05 * 0.95 / 20_000)
    assert small.clipped_agrees / 20_000 == pytest.approx(value("clipped_agrees"), abs=spread)
    assert np.argmax(value("overturned_by_margin")) == 0
