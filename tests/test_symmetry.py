"""Equitable partitions, quotients, orbits: acceptance numbers, brute force, networkx, dense eigenvalues, bad input."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networkx.algorithms import isomorphism

from lib import graphs
from lib.strata import all_partitions, number_of_cells, refines
from lib.symmetry import (
    automorphisms,
    equitable_partition,
    indicator_matrix,
    is_equitable,
    orbit_partition,
    orbits,
    quotient_matrix,
)

FRUCHT = nx.frucht_graph()
GALLERY = {
    "path": (nx.path_graph(5), [1, 2, 2]),
    "star": (nx.star_graph(4), [1, 4]),
    "grid4": (nx.grid_2d_graph(4, 4), [4, 4, 8]),
    "grid5": (nx.grid_2d_graph(5, 5), [1, 4, 4, 4, 4, 8]),
    "petersen": (nx.petersen_graph(), [10]),
    "frucht": (FRUCHT, [12]),
}
# Automorphisms of these by theory: reflections, permutations of leaves, the dihedral group, S_5, none.
GROUPS = {"path": 2, "star": 24, "grid4": 8, "grid5": 8, "petersen": 120, "frucht": 1}


def sizes(labels):
    return sorted(Counter(labels.tolist()).values())


def random_graph(seed, directed=False, largest=9):
    random = np.random.default_rng(seed)
    return nx.gnp_random_graph(int(random.integers(1, largest + 1)), random.uniform(0, 1), seed, directed)


def check_quotient(A, labels):
    """A S = S Q, and every eigenvalue of Q among those of A."""
    Q, S = quotient_matrix(A, labels), indicator_matrix(labels)
    np.testing.assert_allclose(A @ S.numpy(), (S @ Q).numpy(), atol=1e-12)
    ours, theirs = np.linalg.eigvals(Q.numpy()), np.linalg.eigvals(A)
    assert np.abs(ours[:, None] - theirs[None]).min(axis=1).max() < 1e-6
    # The spectra need no tolerance for repeated eigenvalues where A is symmetric: S maps eigenvectors to eigenvectors.
    if np.array_equal(A, A.T):
        root = np.sqrt(S.sum(dim=0).numpy())
        values, vectors = np.linalg.eigh(root[:, None] * Q.numpy() / root[None])
        lifted = S.numpy() @ (vectors / root[:, None])
        np.testing.assert_allclose(A @ lifted, lifted * values, atol=1e-12)


@pytest.mark.parametrize("name", GALLERY)
def test_brief_8_coarsest_partitions(name):
    G, expected = GALLERY[name]
    labels = equitable_partition(G)
    assert sizes(labels) == expected
    assert is_equitable(G, labels)
    check_quotient(nx.to_numpy_array(G), labels)


def test_brief_8_karate_club():
    """27 cells by who knows whom; with the weights of the network everyone is told apart."""
    G = nx.karate_club_graph()
    labels = equitable_partition(G)
    assert int(number_of_cells(labels)) == 27
    check_quotient(nx.to_numpy_array(G, weight=None), labels)
    weighted = equitable_partition(G, weight="weight")
    assert int(number_of_cells(weighted)) == 34
    assert not is_equitable(G, labels, weight="weight") and is_equitable(G, labels)


@pytest.mark.parametrize("name", GALLERY)
def test_brief_8_orbits_and_groups(name):
    G, _ = GALLERY[name]
    group = automorphisms(G)
    assert len(group) == GROUPS[name]
    assert torch.equal(orbit_partition(group), orbits(G))
    assert bool(refines(orbits(G), equitable_partition(G)))


def test_brief_8_frucht_has_no_symmetry_but_one_cell():
    assert int(number_of_cells(orbits(FRUCHT))) == 12
    assert int(number_of_cells(equitable_partition(FRUCHT))) == 1
    assert automorphisms(FRUCHT).tolist() == [list(range(12))]


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=60)
def test_refinement_is_the_coarsest_by_brute_force(seed, directed):
    """Over all partitions of up to six sites, with and without colours."""
    G = random_graph(seed, directed, largest=6)
    A = nx.to_numpy_array(G).T
    colors = np.random.default_rng(seed).integers(0, 2, len(G)) if seed % 2 else np.zeros(len(G), dtype=int)
    labels = equitable_partition(A, colors)
    everything = all_partitions(len(G))
    equitable = []
    for partition in everything:
        S = indicator_matrix(partition).numpy()
        sums = A @ S
        fits = all(np.ptp(sums[S[:, cell] > 0], axis=0).max() == 0 for cell in range(S.shape[1]))
        assert fits == is_equitable(A, partition)
        if fits and bool(refines(partition, colors)):
            equitable.append(partition)
    coarsest = min(equitable, key=lambda partition: int(partition.max()))
    assert torch.equal(labels, coarsest)
    assert all(bool(refines(partition, labels)) for partition in equitable)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40)
def test_orbits_are_equitable_and_networkx_agrees(seed, directed):
    G = random_graph(seed, directed, largest=7)
    colors = ["ab"[(seed >> node) % 2] for node in G] if seed % 3 == 0 else None
    found = orbits(G, colors)
    assert is_equitable(G, found)
    assert bool(refines(found, equitable_partition(G, colors)))
    check_quotient(nx.to_numpy_array(G).T, found)
    nx.set_node_attributes(G, dict(enumerate(colors or [""] * len(G))), "kind")
    matcher = isomorphism.DiGraphMatcher if directed else isomorphism.GraphMatcher
    same = isomorphism.categorical_node_match("kind", None)
    group = [[image[node] for node in G] for image in matcher(G, G, node_match=same).isomorphisms_iter()]
    assert automorphisms(G, colors, limit=5040).tolist() == sorted(group)
    assert torch.equal(orbit_partition(group), found)


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_renaming_the_sites_renames_the_cells(seed):
    A = torch.from_numpy(nx.to_numpy_array(random_graph(seed, seed % 2 == 0, largest=12)))
    order = torch.randperm(len(A), generator=torch.Generator().manual_seed(seed))
    labels, renamed = equitable_partition(A), equitable_partition(A[order][:, order])
    assert bool(refines(labels[order], renamed)) and bool(refines(renamed, labels[order]))
    check_quotient(A.numpy(), labels)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_networkx_calls_sites_of_one_cell_alike(seed):
    """The Weisfeiler-Lehman hashes of networkx after enough rounds: the same classes."""
    G = random_graph(seed, largest=12)
    nx.set_node_attributes(G, "", "kind")
    hashes = nx.weisfeiler_lehman_subgraph_hashes(G, node_attr="kind", iterations=len(G))
    rounds = [tuple(hashes[node]) for node in G]
    classes = [rounds.index(own) for own in rounds]
    labels = equitable_partition(G)
    assert bool(refines(classes, labels)) and bool(refines(labels, classes))


def test_every_form_of_a_graph():
    G = nx.karate_club_graph()
    A = nx.to_numpy_array(G, weight=None)
    forms = [G, A, A.tolist(), torch.from_numpy(A), scipy.sparse.csr_array(A), graphs.from_adjacency(A)]
    expected = equitable_partition(G)
    for form in forms:
        assert torch.equal(equitable_partition(form), expected)
        assert is_equitable(form, expected)
        torch.testing.assert_close(quotient_matrix(form, expected), quotient_matrix(A, expected))
        assert torch.equal(orbits(form), orbits(G))


def test_direction_counts():
    """In a directed path sites differ by how much stands before them, not after."""
    path = nx.path_graph(3, create_using=nx.DiGraph)
    path.add_edge(0, 3)
    assert equitable_partition(path).tolist() == [0, 1, 2, 1]
    assert orbits(path).tolist() == [0, 1, 2, 3]
    out_of_one = nx.DiGraph([(0, 1), (0, 2), (2, 3)])
    A = nx.to_numpy_array(out_of_one).T
    assert is_equitable(A, [0, 1, 1, 2]) and not is_equitable(A.T, [0, 1, 1, 2])


def test_weights_and_loops():
    A = np.array([[0.0, 0.1, 0.2, 0.0], [0.1, 0.0, 0.0, 0.3], [0.2, 0.0, 0.0, 0.1], [0.0, 0.3, 0.1, 0.0]])
    assert equitable_partition(A).tolist() == [0, 1, 0, 1]  # sums of 0.3 and of 0.4
    third = np.array([[0.0, 0.1, 0.2], [0.3, 0.0, 0.0], [0.0, 0.3, 0.0]])
    assert 0.1 + 0.2 != 0.3  # and yet they are meant to be one sum
    for precision in (np.float32, np.float64):
        assert equitable_partition(torch.from_numpy(third.astype(precision))).tolist() == [0, 0, 0]
        assert is_equitable(torch.from_numpy(third.astype(precision)), [0, 0, 0])
    assert equitable_partition(torch.eye(3).double()).tolist() == [0, 0, 0]
    assert equitable_partition(torch.diag(torch.tensor([1.0, 1.0, 2.0]).double())).tolist() == [0, 0, 1]
    cancelling = [[0, 0, 1, -1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert equitable_partition(cancelling).tolist() == [0, 0, 0, 0]
    assert len(automorphisms(third)) == 1 and orbits(third).tolist() == [0, 1, 2]
    assert orbits(A).tolist() == [0, 1, 0, 1]
    assert automorphisms(A).tolist() == [[0, 1, 2, 3], [2, 3, 0, 1]]  # the weights leave half a turn


def test_colours_tell_apart():
    path = nx.path_graph(5)
    assert equitable_partition(path, [1, 2, 1.5, 2, 1]).tolist() == [0, 1, 2, 1, 0]
    assert equitable_partition(path, torch.tensor([1, 2, 1.5, 2, 1.2])).tolist() == [0, 1, 2, 3, 4]
    assert equitable_partition(path, {4: "fast", 0: "slow", 1: "slow", 2: "slow", 3: "slow"}).tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]
    for numbers in (np.array([1, 2, 3, 2, 1]), np.array([1, 2, 3, 2, 1], dtype=np.float32)):
        assert equitable_partition(path, list(numbers)).tolist() == [0, 1, 2, 1, 0]
    assert equitable_partition(nx.cycle_graph(6), list("ababab")).tolist() == [0, 1, 0, 1, 0, 1]
    assert orbits(nx.cycle_graph(6), list("abbbbb")).tolist() == [0, 1, 2, 3, 2, 1]


def test_named_nodes_keep_their_order():
    G = nx.Graph([("hub", "left"), ("hub", "right"), ("far", "right")])
    assert list(G) == ["hub", "left", "right", "far"]
    assert equitable_partition(G).tolist() == [0, 1, 0, 1]  # a path of four: left - hub - right - far
    assert automorphisms(G).tolist() == [[0, 1, 2, 3], [2, 3, 0, 1]]


def test_large_graphs():
    """10^5 edges, and a path on which rounds over the whole graph would never end."""
    long = graphs.from_edges(torch.stack([torch.arange(99_999), torch.arange(1, 100_000)], dim=-1), 100_000)
    labels = equitable_partition(long)
    assert torch.equal(labels, torch.minimum(torch.arange(100_000), 99_999 - torch.arange(100_000)))
    assert is_equitable(long, labels)
    torus = equitable_partition(graphs.torus(224, 224))
    assert int(torus.max()) == 0
    tree = equitable_partition(nx.balanced_tree(2, 14))
    assert sizes(tree) == [2**depth for depth in range(15)]


def test_quotient_of_a_partition_that_is_not_equitable_is_the_average():
    Q = quotient_matrix(nx.path_graph(3), [0, 0, 1])
    np.testing.assert_allclose(Q, [[1.0, 0.5], [1.0, 0.0]])
    # Interlacing: the eigenvalues of the symmetric quotient lie between those of A.
    G = nx.karate_club_graph()
    labels = torch.arange(34) % 5
    root = indicator_matrix(labels).sum(dim=0).sqrt().numpy()
    inner = np.linalg.eigvalsh(root[:, None] * quotient_matrix(G, labels).numpy() / root[None])
    outer = np.linalg.eigvalsh(nx.to_numpy_array(G, weight=None))
    assert (inner >= outer[:5] - 1e-12).all() and (inner <= outer[-5:] + 1e-12).all()


def test_labels_need_not_be_numbered_in_order():
    assert is_equitable(nx.path_graph(5), [7, 2, 9, 2, 7])
    np.testing.assert_allclose(quotient_matrix(nx.path_graph(5), [7, 2, 9, 2, 7]), [[0, 1, 1], [1, 0, 0], [2, 0, 0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equitable_partition([[0, 1, 0], [1, 0, 1]]), "G must be a square matrix"),
        (lambda: equitable_partition(torch.zeros(2, 3, 3)), "G must be a single square matrix"),
        (lambda: equitable_partition(scipy.sparse.csr_array(np.ones((2, 3)))), "G must be a square matrix"),
        (lambda: equitable_partition(scipy.sparse.csr_array([[np.nan]])), "G must hold finite real numbers"),
        (lambda: equitable_partition(nx.Graph()), "G must be a graph with at least one node"),
        (lambda: equitable_partition("path"), "G must be numbers in a rectangular array, got 'path'"),
        (lambda: equitable_partition(nx.path_graph(3), [1, 2]), "colors must be 3 numbers or texts"),
        (lambda: equitable_partition(nx.path_graph(3), "abc"), "colors must be 3 numbers or texts"),
        (lambda: equitable_partition(nx.path_graph(3), {0: 1}), "colors must be 3 numbers or texts"),
        (
            lambda: equitable_partition(nx.path_graph(2), [1.0, float("nan")]),
            "colors must be numbers or texts, got nan",
        ),
        (lambda: equitable_partition(nx.path_graph(2), [1.0, None]), "colors must be numbers or texts, got None"),
        (lambda: equitable_partition(nx.path_graph(2), weight=3), "weight must be the name of an edge attribute"),
        (lambda: quotient_matrix([[0, 1, 0], [1, 0, 1]], [0, 1]), "A must be a square matrix"),
        (lambda: quotient_matrix(np.eye(3), [0, 1]), r"labels must have one entry for each of the 3 sites.*\(2,\)"),
        (lambda: is_equitable(np.eye(3), [[0, 1, 1]]), "labels must be one partition"),
        (lambda: is_equitable(np.eye(3), [0, 1, 0.5]), "labels must be integers"),
        (lambda: indicator_matrix([-1, 0]), "labels must be at least 0, got -1"),
        (lambda: orbits(nx.path_graph(201)), "G must have at most 200 sites for its automorphisms, got 201"),
        (lambda: automorphisms(nx.complete_graph(7), limit=100), "limit must be at least.*above 100"),
        (lambda: orbit_partition([[0, 0]]), r"permutations must hold each of 0 \.\.\. 1 once"),
        (lambda: orbit_partition([0, 1]), r"permutations must have shape \(k, n\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
