"""Graphs against networkx and scipy: constructors, sums over neighbours, bad input."""

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import graphs, neighbours
from lib.graphs import Graph


def adjacency(G, order):
    return networkx.to_numpy_array(G, nodelist=order)


@given(st.integers(1, 3).flatmap(lambda reach: st.tuples(st.integers(2 * reach + 1, 12), st.just(reach))))
@settings(max_examples=30)
def test_a_ring_is_networkx_circulant_graph(size_and_reach):
    size, reach = size_and_reach
    expected = networkx.circulant_graph(size, range(1, reach + 1))
    np.testing.assert_array_equal(graphs.dense(graphs.ring(size, reach)), adjacency(expected, range(size)))


@pytest.mark.parametrize("sides", [(3,), (7,), (3, 4), (5, 3), (3, 4, 5), (3, 3, 3)])
def test_a_torus_is_networkx_periodic_grid_in_c_order(sides):
    grid = networkx.grid_graph(dim=list(reversed(sides)), periodic=True)
    order = [site[0] if len(sides) == 1 else site for site in np.ndindex(*sides)]
    torus = graphs.torus(*sides)
    np.testing.assert_array_equal(graphs.dense(torus), adjacency(grid, order))
    x = torch.rand(*sides, dtype=torch.float64)
    rolled = sum(x.roll(shift, axis) for axis in range(len(sides)) for shift in (1, -1))
    torch.testing.assert_close(graphs.neighbour_sum(torus, x.reshape(-1)).reshape(sides), rolled)


def test_complete_graph():
    for size in (2, 5, 20):
        expected = adjacency(networkx.complete_graph(size), range(size))
        np.testing.assert_array_equal(graphs.dense(graphs.complete(size)), expected)


@given(st.integers(1, 9), st.floats(0, 1), st.booleans(), st.integers(0, 2**31 - 1))
@settings(max_examples=60)
def test_sums_are_products_with_the_adjacency_matrix(size, density, weighted, seed):
    random = np.random.default_rng(seed)
    A = (random.random((size, size)) < density) * (random.normal(size=(size, size)) if weighted else 1.0)
    x = random.normal(size=(2, 3, size))
    graph = graphs.from_adjacency(A)
    np.testing.assert_allclose(graphs.neighbour_sum(graph, x), x @ A.T, atol=1e-12)
    np.testing.assert_allclose(graphs.degrees(graph), A.sum(axis=1), atol=1e-12)
    np.testing.assert_array_equal(graphs.dense(graph), A)
    np.testing.assert_array_equal(graphs.sparse(graph).toarray(), A)
    again = graphs.from_adjacency(scipy.sparse.coo_array(A))
    assert torch.equal(again.source, graph.source) and torch.equal(again.weight, graph.weight)
    key = graph.target * size + graph.source
    assert bool((key[1:] > key[:-1]).all())


def test_few_equal_neighbours_and_many_give_the_same_sums():
    generator = torch.Generator().manual_seed(0)
    for graph in (graphs.ring(9, 2), graphs.torus(4, 5), graphs.row_stochastic(graphs.torus(3, 4, 5))):
        x = torch.rand(4, graph.size, generator=generator, dtype=torch.float64)
        assert graph.neighbours is not None
        np.testing.assert_allclose(graphs.neighbour_sum(graph, x), (graphs.sparse(graph) @ x.numpy().T).T)
    assert graphs.from_networkx(networkx.star_graph(4)).neighbours is None
    assert graphs.complete(30).neighbours is None


def test_means_and_row_sums():
    karate = graphs.from_networkx(networkx.karate_club_graph())
    stochastic = graphs.row_stochastic(karate)
    np.testing.assert_allclose(graphs.degrees(stochastic), np.ones(34), rtol=1e-14)
    x = torch.rand(5, 34, dtype=torch.float64)
    torch.testing.assert_close(graphs.neighbour_mean(karate, x), graphs.neighbour_sum(stochastic, x))
    constant = torch.full((34,), 3.0, dtype=torch.float64)
    torch.testing.assert_close(graphs.neighbour_mean(karate, constant), constant)


def test_networkx_order_weights_and_directions():
    G = networkx.DiGraph()
    G.add_nodes_from(["c", "a", "b"])
    G.add_edge("a", "b", weight=2.5)
    G.add_edge("c", "a")
    A = graphs.dense(graphs.from_networkx(G))
    assert A.tolist() == [[0, 0, 0], [1, 0, 0], [0, 2.5, 0]]
    weighted = graphs.from_networkx(networkx.karate_club_graph())
    np.testing.assert_array_equal(graphs.dense(weighted), networkx.to_numpy_array(networkx.karate_club_graph()))


def test_edges():
    undirected = graphs.dense(graphs.from_edges([(0, 1), (2, 2)], size=3))
    assert undirected.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    directed = graphs.dense(graphs.from_edges(np.array([[0, 1]]), size=2, directed=True))
    assert directed.tolist() == [[0, 0], [1, 0]]
    nobody = graphs.from_edges([], size=2)
    assert graphs.neighbour_sum(nobody, [1.0, 2.0]).tolist() == [0, 0]
    assert graphs.from_edges([(0, 1)], 2).to("cpu").size == 2


def test_entries_given_twice_are_added_in_every_sparse_form():
    parts = (np.array([1.0, 2.0, -4.0, 4.0]), np.array([1, 1, 0, 0]))
    twice = scipy.sparse.csr_array((*parts, np.array([0, 2, 4])), shape=(2, 2))
    for form in (twice, scipy.sparse.coo_array(twice), twice.tocsc()):
        graph = graphs.from_adjacency(form)
        assert graphs.dense(graph).tolist() == [[0, 3], [0, 0]]
        assert len(graph.weight) == 1
    assert twice.nnz == 4  # what was given is left as it was


def test_multiples():
    karate = graphs.from_networkx(networkx.karate_club_graph())
    torch.testing.assert_close(graphs.dense(-0.3 * karate), -0.3 * graphs.dense(karate))
    for factor in (torch.ones(2), "2", None, float("nan")):
        with pytest.raises(ValueError, match="factor must be"):
            karate.__rmul__(factor)


def test_types_are_kept():
    ring = graphs.ring(4)
    x = torch.ones(4, dtype=torch.float32)
    assert graphs.neighbour_sum(ring, x).dtype == torch.float32
    assert graphs.neighbour_mean(ring, x).dtype == torch.float32
    assert graphs.from_adjacency(torch.ones(2, 2)).weight.dtype == torch.float32


def test_gradients_pass_through():
    x = torch.rand(6, dtype=torch.float64, requires_grad=True)
    for graph in (graphs.ring(6), graphs.from_networkx(networkx.path_graph(6))):
        assert torch.autograd.gradcheck(lambda values, graph=graph: graphs.neighbour_sum(graph, values), (x,))


def test_graphs_that_are_none():
    site = torch.tensor([0])
    one = torch.ones(1)
    for arguments, word in (
        ((0, site, site, one), "size"),
        ((1, site.to(torch.int32), site, one), "source"),
        ((1, torch.tensor([1]), site, one), "source"),
        ((1, site, torch.tensor([-1]), one), "target"),
        ((1, site, torch.tensor([0, 0]), one), "target"),
        ((1, site, site, torch.ones(2)), "weight"),
        ((1, site, site, site), "weight"),
        ((1, site, site, torch.tensor([torch.nan])), "weight"),
        ((1, torch.tensor([0, 0]), torch.tensor([0, 0]), torch.ones(2)), "edge twice, got 0 -> 0"),
    ):
        with pytest.raises(ValueError, match=word):
            Graph(*arguments)
    with pytest.raises(ValueError, match="edges must not repeat"):
        graphs.from_edges([(0, 1), (1, 0)], size=2)
    with pytest.raises(ValueError, match="graph must give every site neighbours"):
        graphs.neighbour_mean(graphs.from_edges([(0, 1)], size=3), [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="x must be on the device of the graph"):
        neighbours.check_graph(graphs.ring(3), torch.zeros(3, device="meta"))


@pytest.mark.parametrize("sides", [(), (2,), (4, 0), (3, 3, 3, 3), (3.0,), ("3",), (True,), ((3, 3),)])
def test_sides_that_are_none(sides):
    with pytest.raises(ValueError, match="sides must be"):
        graphs.torus(*sides)
