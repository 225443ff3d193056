"""Rewriting: the brief's examples, independent recounts, invariants, and arrays against the engine of tuples."""

import itertools
import random

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import hypergraph_arrays
from lib.hypergraph import (
    HypergraphRewriter,
    Match,
    RewriteRule,
    boundary,
    causal_classes,
    causal_layout,
    is_causally_invariant,
    sort_causal_graph,
)

SPLIT = "{x,y} -> {x,z},{z,y}"
CONTRACT = "{x,y},{y,z} -> {x,z}"
RULES = [SPLIT, CONTRACT, "{x,y},{x,z} -> {x,z},{x,w},{y,w}", "{x,x} -> {x,y},{y,y}", "{x,y,z},{z,u} -> {u,y}"]


def path(edges):
    return [(node, node + 1) for node in range(edges)]


def bindings(pattern, edges):
    """All ways to match, by trying every ordered choice of distinct edges."""
    for chosen in itertools.permutations(edges, len(pattern)):
        pairs = [
            (variable, node)
            for variables, edge in zip(pattern, chosen, strict=True)
            for variable, node in zip(variables, edges[edge], strict=False)
        ]
        lengths = all(len(variables) == len(edges[edge]) for variables, edge in zip(pattern, chosen, strict=True))
        if lengths and len(set(pairs)) == len({variable for variable, _ in pairs}):
            yield chosen


def test_brief_9_splitting_is_causally_invariant():
    engine = HypergraphRewriter([(0, 1)], SPLIT, seed=7).run(max_generation=5)
    assert len(engine.events) == 31 and len(engine.edges) == 32
    assert is_causally_invariant([(0, 1)], SPLIT, orders=20, max_generation=5) == (True, 1)


def test_brief_9_contraction_is_confluent_but_not_causally_invariant():
    graphs = []
    for seed in range(20):
        engine = HypergraphRewriter(path(8), CONTRACT, seed).run()
        assert list(engine.edges.values()) == [(0, 8)] and len(engine.events) == 7
        graphs.append(engine.causal_graph())
    assert {nx.dag_longest_path_length(graph) for graph in graphs} == {3, 4, 5, 6}
    invariant, classes = is_causally_invariant(path(8), CONTRACT, orders=20)
    assert not invariant and classes > 3
    assert classes == causal_classes(graphs)
    assert is_causally_invariant(path(3), CONTRACT) == (True, 1)


def test_brief_10_sorting():
    string = "BBABABBAABA"
    inversions = sum(a > b for a, b in itertools.combinations(string, 2))
    graphs = [sort_causal_graph(string, seed) for seed in range(20)]
    assert {graph.graph["result"] for graph in graphs} == {"AAAAABBBBBB"}
    assert {len(graph) for graph in graphs} == {inversions} == {21}
    assert {nx.dag_longest_path_length(graph) + 1 for graph in graphs} == {7}
    assert all(nx.is_isomorphic(graphs[0], other) for other in graphs)
    assert causal_classes(graphs) == 1


@given(st.text("AB", max_size=9), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_every_string_sorts_with_one_swap_per_inversion(string, seed):
    graph = sort_causal_graph(string, seed)
    assert graph.graph["result"] == "".join(sorted(string))
    assert len(graph) == sum(a > b for a, b in itertools.combinations(string, 2))
    assert causal_classes([graph, sort_causal_graph(string, seed + 1)]) == 1


def test_classes_are_isomorphism_classes():
    """Against pairwise isomorphism alone, without counts and hashes."""
    graphs = [HypergraphRewriter(path(5), CONTRACT, seed).run().causal_graph() for seed in range(30)]
    kinds = []
    for graph in graphs:
        if not any(nx.is_isomorphic(graph, other) for other in kinds):
            kinds.append(graph)
    assert causal_classes(graphs) == len(kinds) > 1


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), min_size=1, max_size=6), st.sampled_from(RULES))
@settings(max_examples=80, deadline=None)
def test_matches_are_all_there_are(edges, rule):
    engine = HypergraphRewriter(edges, rule)
    expected = sorted(bindings(engine.rule.left, engine.edges))
    assert sorted(match.edges for match in engine.matches()) == expected


@given(st.integers(0, 10_000), st.sampled_from(RULES))
@settings(max_examples=40, deadline=None)
def test_a_run_keeps_its_books(seed, rule):
    start = [(0, 0), (0, 1), (1, 2), (2, 3, 0), (0, 3)]
    engine = HypergraphRewriter(start, rule, seed).run(max_generation=3)
    graph = engine.causal_graph()
    assert nx.is_directed_acyclic_graph(graph)
    created = {edge: number for number, event in enumerate(engine.events) for edge in event.created}
    consumed = [edge for event in engine.events for edge in event.consumed]
    assert len(set(consumed)) == len(consumed)
    assert set(engine.edges) == set(engine.birth) - set(consumed)
    growth = len(engine.rule.right) - len(engine.rule.left)
    assert len(engine.edges) == len(start) + growth * len(engine.events)
    for number, event in enumerate(engine.events):
        parents = {created[edge] for edge in event.consumed if edge in created}
        assert set(graph.predecessors(number)) == parents
        assert event.generation == 1 + max((engine.events[parent].generation for parent in parents), default=0)
        assert event.generation <= 3
    # Nothing of an allowed generation is left to do.
    assert all(1 + max(engine.generation[edge] for edge in match.edges) > 3 for match in engine.matches())


def test_incremental_matches_are_those_of_a_fresh_search():
    engine = HypergraphRewriter([(0, 0), (0, 0)], "{x,y},{x,z} -> {x,z},{x,w},{y,w}", seed=5)
    for _ in range(25):
        event = engine.events[engine.apply(engine.matches()[len(engine.events) % 2])]
        fresh = list(engine._search(event.created))
        assert len(set(fresh)) == len(fresh)
        assert set(fresh) == {match for match in engine.matches() if set(match.edges) & set(event.created)}


def test_a_rule_may_only_consume():
    engine = HypergraphRewriter([(k,) for k in range(7)], "{x},{y} ->", seed=1).run()
    assert len(engine.events) == 3 and len(engine.edges) == 1
    assert list(engine._search(())) == []
    assert engine.causal_graph().number_of_edges() == 0


def test_equal_seeds_give_equal_runs():
    one, same, other = (HypergraphRewriter(path(12), CONTRACT, seed).run().events for seed in (4, 4, 5))
    assert one == same != other


def test_a_rule_without_end_is_stopped():
    with pytest.raises(RuntimeError, match="max_generation"):
        HypergraphRewriter([(0, 1)], SPLIT).run(max_events=50)


def test_a_match_must_be_alive_and_fit():
    engine = HypergraphRewriter(path(3), CONTRACT)
    match = engine.matches()[0]
    with pytest.raises(ValueError, match="match must fit the rule"):
        engine.apply(Match((0, 2), match.binding))
    with pytest.raises(ValueError, match="match must hold 2 distinct"):
        engine.apply(Match((0, 0), match.binding))
    with pytest.raises(ValueError, match="match must be a Match"):
        engine.apply((0, 1))
    engine.apply(match)
    with pytest.raises(ValueError, match="match must hold hyperedges that are alive, but 0 is not"):
        engine.apply(match)


NO_RULES = ["", "{x,y}", "{x,y} {y,z} -> {x}", "{x,} -> {x}", "-> {x}", "{x}->{y}->{z}", None, 3]


@pytest.mark.parametrize("text", NO_RULES)
def test_bad_rules_are_named(text):
    with pytest.raises(ValueError, match=r"rule must be text|left must hold"):
        RewriteRule.parse(text)
    with pytest.raises(ValueError, match=r"rule|left"):
        HypergraphRewriter([(0, 1)], text)


def test_rules_read_and_print():
    rule = RewriteRule.parse(" {x, y},{y,z}->{x,z} ")
    assert rule == RewriteRule((("x", "y"), ("y", "z")), (("x", "z"),))
    assert RewriteRule.parse(str(rule)) == rule
    assert RewriteRule.parse("{x} ->").right == ()
    with pytest.raises(ValueError, match="right must be a tuple of tuples"):
        RewriteRule((("x",),), ((1,),))


# -- boundary and drawing ------------------------------------------------------------------------------------------
@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), max_size=12), st.sets(st.integers(0, 6)))
@settings(max_examples=60, deadline=None)
def test_the_boundary_is_that_of_the_complement(edges, interior):
    crossing = boundary(edges, interior)
    assert crossing == [tuple(e) for e in edges if set(e) & interior and not set(e) <= interior]
    assert crossing == boundary(edges, set(range(7)) - interior)


def test_the_boundary_of_a_graph_is_networkx_edge_boundary():
    graph = nx.petersen_graph()
    expected = {frozenset(edge) for edge in nx.edge_boundary(graph, [0, 1, 5])}
    assert {frozenset(edge) for edge in boundary(list(graph.edges), [0, 1, 5])} == expected


@pytest.mark.parametrize("rule", [SPLIT, "{x,y} -> {x,z},{z,y},{z,w}"])
def test_places_of_a_growing_rule(rule):
    graph = HypergraphRewriter([(0, 1)], rule, seed=1).run(max_generation=4).causal_graph()
    places = causal_layout(graph)
    assert list(places) == list(graph)
    assert len(set(places.values())) == len(graph)
    for event, (across, down) in places.items():
        assert down == -graph.nodes[event]["generation"]
        children = [places[child][0] for child in graph.successors(event)]
        if children:
            assert min(children) <= across <= max(children)


# -- arrays --------------------------------------------------------------------------------------------------------
START = [(0, 1), (1, 1), (1, 2, 0), (2, 2, 2)]


@pytest.mark.parametrize(
    "rule",
    [
        SPLIT,
        "{x,x} -> {x,y},{y,y}",
        "{x,y} -> {x,y,z},{y,z}",
        "{x,y,x} -> {y},{x,z,x},{z,z,z}",
        "{x,y} ->",
        "{a} -> {b}",
    ],
)
@pytest.mark.parametrize("generations", [0, 1, 4])
def test_arrays_grow_what_the_engine_grows(rule, generations):
    grown = hypergraph_arrays.grow(START, rule, generations)
    engine = HypergraphRewriter(START, rule, seed=2).run(max_generation=generations)
    assert grown.size == len(engine.edges)
    lengths = [len(edge) for edge in engine.edges.values()]
    assert {size: len(block) for size, block in grown.edges.items()} == {
        k: lengths.count(k) for k in sorted(set(lengths))
    }
    assert sorted(grown.generation.tolist()) == sorted(event.generation for event in engine.events)
    forest = nx.DiGraph()
    forest.add_nodes_from((k, {"generation": g}) for k, g in enumerate(grown.generation.tolist()))
    forest.add_edges_from((p, k) for k, p in enumerate(grown.parent.tolist()) if p >= 0)
    assert causal_classes([forest, engine.causal_graph()]) == 1
    ours = incidence(tuple(row) for block in grown.edges.values() for row in block.tolist())
    theirs = incidence(engine.edges.values())
    assert nx.is_isomorphic(ours, theirs, node_match=lambda a, b: a == b, edge_match=lambda a, b: a == b)


def incidence(edges):
    """Bipartite graph of hyperedges and their positions: isomorphic exactly when the hypergraphs are."""
    graph = nx.Graph()
    for number, edge in enumerate(edges):
        graph.add_node(("edge", number), kind="edge")
        for position, node in enumerate(edge):
            graph.add_node(("node", node), kind="node")
            graph.add_node(("place", number, position), kind=position)
            graph.add_edge(("edge", number), ("place", number, position))
            graph.add_edge(("place", number, position), ("node", node))
    return graph


def test_a_million_edges():
    grown = hypergraph_arrays.grow([(0, 1)], SPLIT, 20)
    assert grown.size == 2**20 and len(grown.parent) == 2**20 - 1 and grown.nodes == 2**20 + 1
    assert torch.equal(grown.generation.bincount()[1:], 2 ** torch.arange(20))
    # Still one path from 0 to 1: every node but the ends is entered once and left once.
    source, target = grown.edges[2].unbind(dim=1)
    assert torch.equal(source.sort().values, torch.cat([torch.tensor([0]), torch.arange(2, grown.nodes)]))
    assert torch.equal(target.sort().values, torch.arange(1, grown.nodes))


def test_nodes_must_leave_room_for_fresh_ones():
    with pytest.raises(ValueError, match=f"edges must have nodes below {2**62}, got {2**63 - 1} among them"):
        hypergraph_arrays.grow([(0, 2**63 - 1)], SPLIT, 1)
    assert hypergraph_arrays.grow([(0, 2**62 - 1)], SPLIT, 1).edges[2].tolist() == [[0, 2**62], [2**62, 2**62 - 1]]


def test_nothing_to_rewrite():
    assert hypergraph_arrays.grow([], SPLIT, 3).edges == {}
    assert HypergraphRewriter([], CONTRACT).run().events == []
    assert is_causally_invariant([], SPLIT) == (True, 1)


def random_rule(draw, left, right):
    def side(names, least, most):
        return tuple(
            tuple(draw.choice(names) for _ in range(draw.randint(1, 3))) for _ in range(draw.randint(least, most))
        )

    return RewriteRule(side("xyz", 1, left), side("xyzwv", 0, right))


@given(st.integers(0, 2**31))
@settings(max_examples=120, deadline=None)
def test_random_rules_match_as_every_choice_of_edges(seed):
    """Repeated variables, hyperedges of one node, loops, copies, empty right sides; also after events."""
    draw = random.Random(seed)
    start = [tuple(draw.randint(0, 2) for _ in range(draw.randint(1, 3))) for _ in range(draw.randint(0, 6))]
    engine = HypergraphRewriter(start, random_rule(draw, 3, 3), seed)
    for _ in range(3):
        matches = engine.matches()
        assert sorted(match.edges for match in matches) == sorted(bindings(engine.rule.left, engine.edges))
        if not matches or len(engine.edges) > 9:
            break
        event = engine.events[engine.apply(draw.choice(matches))]
        fresh = list(engine._search(event.created))
        assert len(set(fresh)) == len(fresh)
        assert set(fresh) == {match for match in engine.matches() if set(match.edges) & set(event.created)}


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_random_rules_grow_alike_in_both_engines(seed):
    draw = random.Random(seed)
    start = [tuple(draw.randint(0, 2) for _ in range(draw.randint(1, 3))) for _ in range(draw.randint(0, 4))]
    rule = random_rule(draw, 1, 2)
    grown, engine = hypergraph_arrays.grow(start, rule, 3), HypergraphRewriter(start, rule, seed).run(3)
    assert sorted(grown.generation.tolist()) == sorted(event.generation for event in engine.events)
    assert sorted(len(edge) for edge in engine.edges.values()) == [
        size for size, block in grown.edges.items() for _ in range(len(block))
    ]
    codes = [
        nx.weisfeiler_lehman_graph_hash(incidence(edges), node_attr="kind")
        for edges in ([tuple(row) for block in grown.edges.values() for row in block.tolist()], engine.edges.values())
    ]
    assert codes[0] == codes[1]


def test_causal_graphs_have_generations_that_rise():
    falling, words = nx.DiGraph([(0, 1)]), nx.DiGraph()
    falling.add_nodes_from([(0, {"generation": 2}), (1, {"generation": 1})])
    words.add_node(0, generation="first")
    for graph in (falling, words):
        with pytest.raises(ValueError, match=r"graph must be a networkx.DiGraph whose nodes have a generation, an int"):
            causal_layout(graph)
        with pytest.raises(
            ValueError, match=r"graphs must be a networkx.DiGraph whose nodes have a generation, an int"
        ):
            causal_classes([graph])


def test_growth_is_refused_before_it_is_too_large():
    with pytest.raises(ValueError, match=r"generations must leave at most 1000 .* generation 10 of 12 would have 1024"):
        hypergraph_arrays.grow([(0, 1)], SPLIT, 12, max_edges=1000)
    with pytest.raises(ValueError, match="rule must have one hyperedge on the left"):
        hypergraph_arrays.grow([(0, 1)], CONTRACT, 2)
