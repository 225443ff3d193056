"""The numbers in claims/lattice.yml are those the library gives, and the stored measurements keep their bars."""

import math

import networkx
import pytest
import torch

from lib import claims, lattice

CLAIMS = claims.load("lattice")


def random_numbers(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def contraction():
    """Ticks above the bound, and the final error, against scipy's solution."""
    torus, b = lattice.torus(32, 32), random_numbers(1024, seed=10)
    solved = lattice.affine_fixed_point(0.8 * lattice.dense(lattice.row_stochastic(torus)), 0.2 * b)
    trace = lattice.async_iterate(
        lambda x: 0.8 * lattice.neighbour_mean(torus, x) + 0.2 * b,
        torch.zeros(1024, dtype=torch.float64),
        lattice.log_uniform_rates(random_numbers(1024, seed=11), 10),
        2000,
        torch.Generator().manual_seed(12),
        target=solved,
        keep_states=False,
    )
    bound = lattice.contraction_bound(0.8, trace.epochs, trace.errors[0])
    return float((trace.errors > bound + 1e-13).sum()), float(trace.errors[-1])


def stale_reads():
    A = [[0.6, -0.6], [0.6, 0.6]]
    return tuple(float(lattice.stale_read_adversary(A, bound, 400)[-1].abs().max()) for bound in (2, 4, 8))


def safe_reads():
    A = torch.full((2, 2), 0.48, dtype=torch.float64)
    A[0, 1] *= -1
    return all(float(lattice.stale_read_adversary(A, bound, 2000)[-1].abs().max()) < 1e-3 for bound in range(17))


def global_threshold():
    eps = torch.cat([torch.linspace(0.3, 0.45, 16), torch.linspace(0.52, 0.9, 20)]).double()
    start = random_numbers(100, seed=13)
    spread = lattice.spread(lattice.coupled_map_lattice(lattice.logistic_map, "mean", eps, start, 3000, keep="last"))
    return float((spread[:16] > 0.01).sum()), float((spread[16:] < 1e-12).sum())


def ring_windows():
    ends = (lattice.synchrony_window(lattice.ring(sites), math.log(2)) for sites in (3, 4, 5))
    return tuple(float(end) for pair in ends for end in pair)


def late_chaos():
    late = torch.tensor([0.3, 0.5, 0.6, 0.7, 0.8, 0.9], dtype=torch.float64)
    masks = random_numbers(6, 3000, 100, seed=14) < late[:, None, None]
    start = random_numbers(100, seed=15).expand(6, 100)
    last = lattice.coupled_map_lattice(lattice.logistic_map, "mean", 0.6, start, 3000, masks=masks, keep="last")
    return float(((last - 0.75).abs() < 1e-12).all(dim=-1).sum())


def phase_transition():
    K = torch.tensor([1.5, 2.0, 3.0], dtype=torch.float64)
    omega = lattice.frequency_quantiles(2000, "lorentz", 0.5)
    order = lattice.kuramoto(K, omega, 1200, 0.05, 2 * math.pi * random_numbers(2000, seed=16), keep="order")
    return tuple(lattice.stationary_order(order).tolist())


def evolution_metric():
    gap, omega = torch.tensor([0.2, 1.5, 3.0], dtype=torch.float64), torch.tensor([[0.3], [1.0], [2.5]]).double()
    shift = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    missing = torch.remainder(omega[..., None] * shift - gap[:, None] + math.pi, 2 * math.pi) - math.pi
    cheapest = (shift.abs() + missing.abs()).amin(dim=-1)
    return float((cheapest - lattice.phase_offset_distance(torch.zeros_like(gap), gap, omega)).abs().max())


def mirror_difference(masks=None):
    graph = lattice.from_networkx(networkx.path_graph(5))
    field = lattice.admissible_field(graph, [1, 2, 1.5, 2, 1], lambda x: x - x**3, torch.tanh, strength=0.5)
    start = [0.3, -0.2, 0.9, -0.2, 0.3]
    last = lattice.integrate(field, start, 500, 0.01, masks=masks, method="euler", keep="last")
    return float((last - last.flip(-1)).abs().max())


def random_updates():
    by_cell = lattice.cell_masks([0, 1, 2, 1, 0], 0.5, 500, torch.Generator().manual_seed(17))
    return mirror_difference(random_numbers(500, 5, seed=18) < 0.5) > 1e-4 and mirror_difference(by_cell) == 0


def balanced_quotient():
    karate = lattice.from_edges(networkx.karate_club_graph().edges, size=34)
    graphs = [networkx.path_graph(5), networkx.grid_2d_graph(4, 4), networkx.petersen_graph(), networkx.frucht_graph()]
    for graph in (*map(lattice.from_networkx, graphs), karate):
        labels = lattice.equitable_partition(graph)
        S = torch.nn.functional.one_hot(labels).double()
        if not torch.equal(lattice.dense(graph) @ S, S @ lattice.quotient_matrix(graph, labels)):
            return False
    return True


def frucht():
    graph = networkx.frucht_graph()
    return tuple(float(cells(graph).max()) + 1 for cells in (lattice.equitable_partition, lattice.orbits))


def symbolic_line():
    generator = torch.Generator().manual_seed(19)
    words = torch.randint(0, 3, (6, 20), generator=generator)
    ticks = lattice.bernoulli_schedule(torch.full((6, 20), 0.3, dtype=torch.float64), 400, generator)
    run = lattice.symbolic_line(words, 0, ticks)
    return bool((run.reached >= 0).all() and (run.epochs.gather(-1, run.reached[:, None]) <= 20).all())


def crossover():
    order = claims.measured_elsewhere("lattice", "finite-size-cpu", "order_K2_T500").value
    return order[0] > 0.8 and order[-1] < 0.2 and list(order) == sorted(order, reverse=True)


MEASURED = {
    "strata": lambda: float(len(lattice.all_partitions(4))),
    "evolution-metric": evolution_metric,
    "unique-coherent-state": contraction,
    "stale-reads": stale_reads,
    "safe-reads": safe_reads,
    "global-threshold": global_threshold,
    "ring-windows": ring_windows,
    "late-chaos-dies": late_chaos,
    "phase-transition": phase_transition,
    "lattice-crossover": crossover,
    "symmetric-subspace": lambda: mirror_difference() == 0,
    "random-updates-leave": random_updates,
    "balanced-quotient": balanced_quotient,
    "symmetry-not-needed": frucht,
    "symbolic-line": symbolic_line,
}


@pytest.mark.parametrize("claim", MEASURED)
def test_claims_hold(claim):
    assert claims.agreement(CLAIMS[claim], MEASURED[claim]()) == 1


def test_every_claim_is_measured_or_out_of_reach():
    assert set(CLAIMS) - set(MEASURED) == {"operator-topology"}
    assert CLAIMS["operator-topology"].scale == "out of reach"
    assert {claim.kind for claim in CLAIMS.values() if claim.value is not None} == {"reconstructed"}


def test_the_stored_benchmark_keeps_its_bars():
    def value(name):
        return claims.measured_elsewhere("lattice", "field-cpu", name).value

    assert value("diffusion_numba_times_copy_4096") <= 1.5
    assert value("diffusion_torch_times_copy_4096") <= 5
    assert value("kuramoto_numba_times_copy_4096") <= 6
    assert value("kuramoto_numba_speedup_over_numpy_4096") >= 10
    assert value("asynchronous_numba_speedup_over_eager_torch_4096") >= 10
