"""The facade of the lattice chapter: every name of the area, nothing heavy, nothing hidden by another."""

import importlib
import inspect
import subprocess
import sys

import pytest

from lib import lattice
from lib.site.layout import ROOT

PARTS = """admissible asynchronous automorphisms clocks contraction coupled_maps evolution_metric graphs kuramoto
lattice_field master_stability neighbours stale_reads strata symbolic symmetry"""


def test_the_names_of_the_brief_are_public():
    wanted = """async_iterate contraction_constant phase_offset_distance stratum synchrony_projection
    coupled_map_lattice transverse_multipliers lyapunov_exponent kuramoto order_parameter kuramoto_theory
    equitable_partition quotient_matrix is_equitable"""
    assert set(wanted.split()) <= set(lattice.__all__)
    assert all(hasattr(lattice, name) and getattr(lattice, name).__doc__ for name in lattice.__all__)


def test_the_signatures_of_the_brief():
    wanted = {
        "async_iterate": ["F", "x0", "rates", "steps", "generator", "delays"],
        "contraction_constant": ["A", "norm"],
        "phase_offset_distance": ["theta1", "theta2", "omega"],
        "stratum": ["x", "tol"],
        "synchrony_projection": ["x", "labels"],
        "coupled_map_lattice": ["f", "W", "eps", "x0", "steps", "update_prob"],
        "transverse_multipliers": ["W", "eps", "lyapunov"],
        "lyapunov_exponent": ["f", "df", "x0", "n"],
        "kuramoto": ["K", "omega", "steps", "dt", "theta0", "coupling"],
        "order_parameter": ["theta"],
        "kuramoto_theory": ["K", "density"],
        "equitable_partition": ["G", "colors"],
        "quotient_matrix": ["A", "labels"],
        "is_equitable": ["A", "labels"],
    }
    for name, parameters in wanted.items():
        assert list(inspect.signature(getattr(lattice, name)).parameters)[: len(parameters)] == parameters


@pytest.mark.parametrize("part", PARTS.split())
def test_every_public_name_of_the_parts_is_there_and_is_the_same(part):
    module = importlib.import_module(f"lib.{part}")
    for name in module.__all__:
        assert name in lattice.__all__ and getattr(lattice, name) is getattr(module, name)


def test_importing_it_is_cheap():
    heavy = {"numba", "networkx", "scipy", "triton", "plotly"}
    code = f"import sys; from lib import lattice; print(*{heavy!r} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [])
